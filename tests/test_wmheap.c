/* SPDX-License-Identifier: Apache-2.0
 *
 * `wmheap replay` as a person or a script meets it: arguments, exit statuses, what stands on
 * standard output and standard error, JSON. The program is $WMHEAP; each test writes its
 * traces into a folder of its own. What the replay finds in which trace is test_replay's.
 */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define ARGUMENTS_MAX 10

/* --- running it ---------------------------------------------------------------------------- */

static char folder[] = "/tmp/wmheap-test-XXXXXX"; /* one test, one process */

static void folder_make(void) {
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}

static void folder_remove(void) {
    cr_assert_eq(chdir("/"), 0);
    char command[sizeof folder + 16];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(wmheap, .init = folder_make, .fini = folder_remove, .timeout = 60);

static void file_write(const char *name, const char *text, size_t length) {
    FILE *file = fopen(name, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(text, 1, length, file), length);
    cr_assert_eq(fclose(file), 0);
}

static char *file_read(const char *name) {
    FILE *file = fopen(name, "rb");
    cr_assert_not_null(file, "%s", name);
    char *text = calloc(1, 1u << 20);
    cr_assert_not_null(text);
    cr_assert_lt(fread(text, 1, 1u << 20, file), 1u << 20);
    fclose(file);
    return text;
}

struct outcome {
    int status; /* exit status; 256 and more: a signal */
    char *out;
    char *err;
};

/* Runs $WMHEAP with the arguments, a list that ends with NULL, and `input` on standard input. */
static struct outcome run(const char *const *arguments, const char *input) {
    const char *program = getenv("WMHEAP");
    cr_assert_not_null(program, "WMHEAP=PATH/bin/wmheap must say which program is meant");
    char *argv[ARGUMENTS_MAX + 2] = {strdup(program)};
    int argc = 1;
    for (; arguments[argc - 1] != NULL; argc++) {
        cr_assert_leq(argc, ARGUMENTS_MAX);
        argv[argc] = strdup(arguments[argc - 1]);
    }
    file_write("in", input, strlen(input));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "in", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, "err", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t child;
    int status;
    cr_assert_eq(posix_spawn(&child, program, &actions, NULL, argv, environ), 0, "%s", program);
    cr_assert_eq(waitpid(child, &status, 0), child);
    posix_spawn_file_actions_destroy(&actions);
    for (int i = 0; i < argc; i++) {
        free(argv[i]);
    }
    return (struct outcome){WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status),
                            file_read("out"), file_read("err")};
}
#define RUN(...) run((const char *const[]){"replay", __VA_ARGS__, NULL}, "")

static void outcome_free(struct outcome *outcome) {
    free(outcome->out);
    free(outcome->err);
}

static size_t lines(const char *text) {
    size_t count = 0;
    for (; *text != '\0'; text++) {
        count += *text == '\n';
    }
    return count;
}

static bool contains(const char *text, const char *part) { return strstr(text, part) != NULL; }

/* Runs, compares the status, and looks for a text on standard output. */
static void expect(const char *const *arguments, int status, const char *part) {
    struct outcome outcome = run(arguments, "");
    cr_expect(outcome.status == status && contains(outcome.out, part),
              "wmheap %s %s ...: status %d, not %d, or no \"%s\" in:\n%s%s", arguments[0],
              arguments[1], outcome.status, status, part, outcome.out, outcome.err);
    outcome_free(&outcome);
}
#define EXPECT(status, part, ...)                                                                  \
    expect((const char *const[]){"replay", __VA_ARGS__, NULL}, status, part)

/* --- traces --------------------------------------------------------------------------------- */

#define HEAD                                                                                       \
    "wmtrace 1\nconfig tracing=y poisoning=none\n"                                                 \
    "region SRAM 0x20004120 0x20028000 DEFAULT|INTERNAL|EXEC\n"                                    \
    "region DRAM 0x20028c00 0x20047ffc DEFAULT|INTERNAL|SHARED\n"                                  \
    "region PSRAM 0x30000000 0x30800000 SPIRAM deferred\n"

static const char good[] = HEAD "append PSRAM\nalloc 1 100 DEFAULT = 0x20004138 @ a.c:7\n"
                                "stats\nfree 1\nexpect free=8663696\n";
static const char mismatch[] = HEAD "alloc 1 100 DEFAULT = 0x20004138\n"
                                    "alloc 2 100 DEFAULT = 0x20004138 @ b.c:8\nfree 1\n";
static const char fault[] = HEAD "alloc 1 32 DEFAULT @ a.c:7\nalloc 2 32 DEFAULT @ b.c:8\n"
                                 "freeaddr 0x20004140\nwrite 1 32 4 0x41\nfree 2\nfree 1\n";
static const char expected[] = HEAD "alloc 1 32 DEFAULT\nfreeaddr 0x20004140\n"
                                    "expect fault=interior-pointer\nfree 1\n";
static const char unusable[] = HEAD "alloc x\n";
static const char underflow[] = HEAD "alloc 1 32 DEFAULT @ a.c:7\nwrite 1 -1 1 0\nfree 1\n";
static const char cut[] = HEAD "alloc 1 32 DEFAULT";

static void write_traces(void) {
#define WRITE(name) file_write(#name, name, sizeof(name) - 1)
    WRITE(good);
    WRITE(mismatch);
    WRITE(fault);
    WRITE(expected);
    WRITE(unusable);
    WRITE(cut);
    WRITE(underflow);
#undef WRITE
}

/* --- exit statuses ---------------------------------------------------------------------------- */

Test(wmheap, the_exit_status_says_good_found_or_unusable) {
    static const struct {
        const char *file;
        int status;
    } rows[] = {{"good", 0}, {"mismatch", 1},     {"fault", 1}, {"expected", 0}, {"unusable", 2},
                {"cut", 2},  {"no such file", 2}, {".", 2},     {"/dev/null", 2}};
    write_traces();
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct outcome outcome = RUN(rows[i].file);
        cr_expect(outcome.status == rows[i].status, "%s: status %d, not %d", rows[i].file,
                  outcome.status, rows[i].status);
        bool refused = rows[i].status == 2;
        cr_expect(lines(outcome.err) == refused && (outcome.out[0] == '\0') == refused, "%s:\n%s%s",
                  rows[i].file, outcome.out, outcome.err);
        cr_expect(!refused || contains(outcome.err, rows[i].file), "%s is not named: %s",
                  rows[i].file, outcome.err);
        outcome_free(&outcome);
    }
}

Test(wmheap, all_files_are_worked_on_and_the_highest_status_wins) {
    static const struct {
        const char *files[3];
        int status;
        size_t files_run;
    } rows[] = {{{"good", "good", "good"}, 0, 3},
                {{"good", "mismatch", "good"}, 1, 3},
                {{"unusable", "good", "fault"}, 2, 2},
                {{"fault", "cut", "good"}, 2, 2},
                {{"mismatch", "good", "good"}, 1, 3}};
    write_traces();
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct outcome outcome = RUN(rows[i].files[0], rows[i].files[1], rows[i].files[2]);
        size_t run = 0;
        for (const char *at = outcome.out; (at = strstr(at, " events, ")) != NULL; at++) {
            run++;
        }
        cr_expect(outcome.status == rows[i].status && run == rows[i].files_run,
                  "%s %s %s: status %d, not %d; %zu files run, not %zu", rows[i].files[0],
                  rows[i].files[1], rows[i].files[2], outcome.status, rows[i].status, run,
                  rows[i].files_run);
        outcome_free(&outcome);
    }
}

Test(wmheap, standard_input_is_a_file_named_dash) {
    static const struct {
        const char *text;
        int status;
    } rows[] = {{good, 0}, {mismatch, 1}, {unusable, 2}, {"", 2}, {"wmtrace 1\nalloc x\n", 2}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct outcome outcome = run((const char *const[]){"replay", "-", NULL}, rows[i].text);
        cr_expect_eq(outcome.status, rows[i].status, "row %zu: %d\n%s", i, outcome.status,
                     outcome.err);
        cr_expect_eq(lines(outcome.err), rows[i].status == 2, "row %zu: %s", i, outcome.err);
        outcome_free(&outcome);
    }
}

Test(wmheap, wrong_usage_is_status_2_one_line_and_a_hint) {
    static const char *const rows[][4] = {
        {"replay", NULL},
        {"replay", "--check=deep", "good", NULL},
        {"replay", "--check", NULL},
        {"replay", "--stop-at=0", "good", NULL},
        {"replay", "--stop-at=-1", "good", NULL},
        {"replay", "--stop-at=99999999999999999999", "good", NULL},
        {"replay", "--stop-at=1x", "good", NULL},
        {"replay", "--print=stat", "good", NULL},
        {"replay", "--print=", "good", NULL},
        {"replay", "--set", "tracing=maybe", "good"},
        {"replay", "--set=speed=fast", "good", NULL},
        {"replay", "--set=", "good", NULL},
        {"replay", "--psram=3M", "good", NULL},
        {"replay", "--psram=", "good", NULL},
        {"replay", "--jsom", "good", NULL},
        {"replay", "-x", "good", NULL},
        {"play", "good", NULL},
        {"--version?", NULL},
    };
    write_traces();
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *arguments[5] = {rows[i][0], rows[i][1], rows[i][1] ? rows[i][2] : NULL,
                                    rows[i][1] && rows[i][2] ? rows[i][3] : NULL, NULL};
        struct outcome outcome = run(arguments, good);
        cr_expect(outcome.status == 2 && outcome.out[0] == '\0' && lines(outcome.err) >= 1 &&
                      lines(outcome.err) <= 2 && contains(outcome.err, "--help"),
                  "row %zu: status %d\n%s%s", i, outcome.status, outcome.out, outcome.err);
        outcome_free(&outcome);
    }
}

Test(wmheap, help_names_every_option_and_the_statuses) {
    static const char *const words[] = {"--check", "--json",  "--stop-at",   "--print",
                                        "--set",   "--psram", "Exit status", "FILE"};
    struct outcome outcome = RUN("--help");
    cr_expect_eq(outcome.status, 0);
    for (size_t i = 0; i < COUNT(words); i++) {
        cr_expect(contains(outcome.out, words[i]), "no %s in\n%s", words[i], outcome.out);
    }
    outcome_free(&outcome);
    outcome = run((const char *const[]){"--help", NULL}, "");
    cr_expect(outcome.status == 0 && contains(outcome.out, "replay"), "%s", outcome.out);
    outcome_free(&outcome);
}

Test(wmheap, a_full_disk_is_an_error) {
    write_traces();
    char command[4096];
    snprintf(command, sizeof command, "%s replay good >/dev/full 2>err", getenv("WMHEAP"));
    int status = system(command);
    char *err = file_read("err");
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 2 && lines(err) == 1, "%d: %s", status,
              err);
    free(err);
}

/* --- what it prints ----------------------------------------------------------------------------
 */

Test(wmheap, one_line_a_file_says_it_all_if_all_is_well) {
    write_traces();
    struct outcome outcome = RUN("good");
    cr_expect_str_eq(outcome.out,
                     "good: 5 events, 0 mismatches, 0 faults, free 8663696, minimum "
                     "8663568\n",
                     "%s", outcome.out);
    cr_expect_str_eq(outcome.err, "");
    outcome_free(&outcome);
}

Test(wmheap, a_mismatch_is_shown_with_a_picture_and_a_command_that_repeats_it) {
    static const char *const parts[] = {"mismatch:7: event 2: alloc 2 100 DEFAULT",
                                        "expected 0x20004138", "got 0x200041b8", "> 0x200041a0",
                                        "b.c:8"};
    write_traces();
    struct outcome outcome = RUN("mismatch");
    for (size_t i = 0; i < COUNT(parts); i++) {
        cr_expect(contains(outcome.out, parts[i]), "no \"%s\" in\n%s", parts[i], outcome.out);
    }
    const char *again = strstr(outcome.out, "again: wmheap ");
    cr_assert_not_null(again, "%s", outcome.out);
    char command[4096];
    snprintf(command, sizeof command, "%s %.*s >again", getenv("WMHEAP"),
             (int)strcspn(again + 14, "\n"), again + 14);
    int status = system(command);
    char *repeated = file_read("again");
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1 && contains(repeated, "got 0x200041b8"),
              "%s: %d\n%s", command, status, repeated);
    free(repeated);
    outcome_free(&outcome);
}

Test(wmheap, a_fault_is_shown_with_its_event_block_and_call_sites) {
    static const char *const parts[] = {"6 events, 0 mismatches, 2 faults",
                                        "fault:8: event 3: freeaddr 0x20004140",
                                        "interior-pointer",
                                        "allocated at a.c:7",
                                        "fault:10: event 5: free 2",
                                        "smashed-header",
                                        "allocated at b.c:8",
                                        "right before it: 0x20004138, allocated at a.c:7"};
    write_traces();
    struct outcome outcome = RUN("fault");
    for (size_t i = 1; i < COUNT(parts); i++) {
        cr_expect(contains(outcome.out, parts[i]), "no \"%s\" in\n%s", parts[i], outcome.out);
    }
    outcome_free(&outcome);
}

Test(wmheap, the_same_input_gives_the_same_bytes) {
    static const char *const formats[] = {"--json", "--check=full"};
    write_traces();
    for (size_t i = 0; i < COUNT(formats); i++) {
        struct outcome first =
            RUN(formats[i], "--print=stats,tracing", "good", "mismatch", "fault");
        struct outcome second =
            RUN(formats[i], "--print=stats,tracing", "good", "mismatch", "fault");
        cr_expect_str_eq(first.out, second.out);
        outcome_free(&first);
        outcome_free(&second);
    }
}

/* --- options
 * --------------------------------------------------------------------------------------- */

Test(wmheap, options_do_what_their_names_say) {
    write_traces();
    EXPECT(0, "3 events, 0 mismatches", "--check=off", "mismatch");
    EXPECT(1, "1 mismatches", "--check=addresses", "mismatch");
    EXPECT(1, "1 mismatches", "--check=model", "mismatch");
    EXPECT(0, "1 events, 0 mismatches", "--stop-at=1", "mismatch");
    EXPECT(1, "2 events, 1 mismatches", "--stop-at", "2", "mismatch");
    EXPECT(1, "got 0x20004130", "--set", "tracing=n", "good");
    EXPECT(1, "got 0x20004140", "--set=poisoning=light", "good");
    EXPECT(0, "0 mismatches", "--set=poisoning=light", "--set=tracing=n", "good");
    EXPECT(1, "--set=poisoning=light --psram=4M --stop-at 2 good", "--psram=4M",
           "--set=poisoning=light", "good");
    EXPECT(1, "free: expected 8663696 (trace), got 2372240", "--psram=2M", "good");
    EXPECT(1, "got 4469392", "--psram=4M", "good");
    EXPECT(0, "free 8663696", "--psram=8M", "good");
    EXPECT(1, "bad-append", "--psram=none", "good");
    EXPECT(0, "Total    8663568 (8460.52KB)\t\t8663568 (8460.52KB)\r\n", "--print=stats", "good");
    EXPECT(0, "summary: malloc size 0, malloc count 0\r\n", "--print=tracing", "good");
    EXPECT(1, "corruption detected 0x20004140 in a.c:7 size 64\r\n", "--set=poisoning=light",
           "--print=tracing", "underflow");
}

/* --- JSON
 * ------------------------------------------------------------------------------------------- */

static json_t *json_line(char **rest) {
    char *line = strsep(rest, "\n");
    cr_assert(line != NULL && *rest != NULL, "a line is missing");
    json_error_t error;
    json_t *object = json_loads(line, 0, &error);
    cr_assert(json_is_object(object), "%s: %s", error.text, line);
    return object;
}

static long long json_number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    cr_assert(json_is_integer(value), "no number %s", key);
    return json_integer_value(value);
}

static void expect_text(const json_t *object, const char *key, const char *text) {
    const char *value = json_string_value(json_object_get(object, key));
    cr_expect_str_eq(value != NULL ? value : "(none)", text, "%s: %s, not %s", key,
                     value != NULL ? value : "(none)", text);
}

Test(wmheap, json_is_one_object_a_file_with_the_documented_keys) {
    write_traces();
    struct outcome outcome = RUN("--json", "good", "expected", "unusable", "mismatch", "fault");
    char *rest = outcome.out;
    json_t *first = json_line(&rest);
    expect_text(first, "file", "good");
    cr_expect_eq(json_number(first, "events"), 5);
    cr_expect_eq(json_number(first, "mismatches"), 0);
    cr_expect_eq(json_array_size(json_object_get(first, "faults")), 0);
    cr_expect_eq(json_number(first, "free"), 8663696);
    cr_expect_eq(json_number(first, "min_free"), 8663568);
    json_t *second = json_line(&rest);
    expect_text(second, "file", "expected");
    const json_t *known = json_array_get(json_object_get(second, "faults"), 0);
    cr_expect(json_is_null(json_object_get(known, "site")), "no call site is null");
    cr_expect(json_is_true(json_object_get(known, "expected")));
    json_decref(second);
    second = json_line(&rest);
    expect_text(second, "file", "mismatch");
    cr_expect_eq(json_number(second, "mismatches"), 1);
    json_t *third = json_line(&rest);
    const json_t *faults = json_object_get(third, "faults");
    cr_assert_eq(json_array_size(faults), 2);
    const json_t *interior = json_array_get(faults, 0);
    expect_text(interior, "kind", "interior-pointer");
    cr_expect_eq(json_number(interior, "event"), 3);
    expect_text(interior, "address", "0x20004140");
    expect_text(interior, "site", "a.c:7");
    const json_t *smashed = json_array_get(faults, 1);
    expect_text(smashed, "kind", "smashed-header");
    cr_expect_eq(json_number(smashed, "event"), 5);
    expect_text(smashed, "address", "0x20004170");
    expect_text(smashed, "site", "b.c:8");
    cr_expect_str_eq(rest, "", "more than a line a file: %s", rest);
    cr_expect_eq(outcome.status, 2);
    cr_expect_eq(lines(outcome.err), 1);
    json_decref(first);
    json_decref(second);
    json_decref(third);
    free(outcome.out); /* strsep has moved `rest` only */
    free(outcome.err);
}

/* Names of files and call sites may hold anything; JSON is UTF-8 all the same. */
Test(wmheap, json_stays_json_whatever_names_hold) {
    static const char odd[] = HEAD "alloc 1 32 DEFAULT @ a\"\\b\xff\xfe\xc3.c:7\n"
                                   "freeaddr 0x20004140\ntracing\n";
    static const char *const names[] = {"quote\".trace", "back\\slash", "new\nline", "\xff\xfe",
                                        "\xc3\xa9"};
    for (size_t i = 0; i < COUNT(names); i++) {
        file_write(names[i], odd, sizeof odd - 1);
        struct outcome outcome = RUN("--json", "--print=tracing", names[i]);
        char *rest = outcome.out;
        json_t *object = json_line(&rest);
        cr_expect(json_is_string(json_object_get(object, "file")));
        cr_expect_eq(json_array_size(json_object_get(object, "faults")), 1);
        cr_expect_eq(outcome.status, 1);
        json_decref(object);
        outcome_free(&outcome);
    }
}

/* --- hostile input
 * ------------------------------------------------------------------------------------ */

/* The bar for the program itself; the thousands of cases are in test_replay. */
Test(wmheap, garbage_gives_one_line_and_status_2) {
    static const char *const rows[] = {"\n",
                                       "wmtrace 2\n",
                                       "wmtrace\n",
                                       "WMTRACE 1\n",
                                       "wmtrace 1",
                                       "wmtrace 1\n",
                                       "\x7f"
                                       "ELF\n",
                                       "wmtrace 1\nalloc x\n",
                                       "wmtrace 1\nregion SRAM 0x20004120 0x20004121 DEFAULT\n",
                                       HEAD "alloc 1 4294967296 DEFAULT\n",
                                       HEAD "alloc 1 1 DEFAULT = 0x\n",
                                       HEAD "frobnicate\n",
                                       HEAD "free 1 2\n",
                                       HEAD "append\n",
                                       HEAD "check FLASH\n",
                                       HEAD "config tracing=y\n"};
    for (size_t i = 0; i < COUNT(rows); i++) {
        file_write("garbage", rows[i], strlen(rows[i]));
        struct outcome outcome = RUN("garbage");
        cr_expect(outcome.status == 2 && lines(outcome.err) == 1 && outcome.out[0] == '\0' &&
                      contains(outcome.err, "garbage"),
                  "row %zu: status %d, %s%s", i, outcome.status, outcome.out, outcome.err);
        outcome_free(&outcome);
    }
}

Test(wmheap, a_trace_cut_off_anywhere_gives_one_line_or_runs) {
    for (size_t length = 0; length < sizeof fault; length += 5) {
        file_write("piece", fault, length);
        struct outcome outcome = RUN("piece");
        bool whole = length > 0 && fault[length - 1] == '\n' && length > sizeof HEAD - 1;
        cr_expect(whole ? outcome.status <= 1 : outcome.status == 2 && lines(outcome.err) == 1,
                  "%zu bytes of `fault`: status %d, %s", length, outcome.status, outcome.err);
        outcome_free(&outcome);
    }
}
