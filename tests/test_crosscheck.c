/* SPDX-License-Identifier: Apache-2.0
 *
 * The cross-check itself: that it finds what is wrong, at its event and byte (C-SKY programs
 * with one flaw each, tests/csky/flaws.c), and that it finds nothing where nothing is wrong,
 * whatever a trace does to the heap.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "../sim/crosscheck.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define GOLDEN W800_SOURCE_DIR "/tests/golden/"

TestSuite(crosscheck, .timeout = 120);

static struct crosscheck_result compare(const struct trace *trace, const struct heap_build *build,
                                        const char *programs) {
    struct crosscheck_options options = {
        .build = build,
        .engine = CROSSCHECK_INTERPRETER,
        .programs = programs,
        .patience = 50,
    };
    struct crosscheck_result result;
    struct trace_error error;
    cr_assert(crosscheck_trace(trace, &options, &result, &error), "%s: %s", build->name,
              error.text);
    return result;
}

static void trace_of(const char *text, struct trace *trace) {
    struct trace_error error;
    cr_assert(trace_read_memory(trace, text, strlen(text), "text", &error), "%s\n%s", error.text,
              text);
}

/* --- what is wrong is found ------------------------------------------------------------------- */

#define HEAD                                                                                       \
    "wmtrace 1\nregion SRAM 0x20004120 0x20028000 DEFAULT|INTERNAL|EXEC\n"                         \
    "region DRAM 0x20028c00 0x20047ffc DEFAULT|INTERNAL|SHARED\n"                                  \
    "region PSRAM 0x30000000 0x30800000 SPIRAM deferred\n"

/* The event of a trace's nth allocation, from 1. */
static size_t event_of_allocation(const struct trace *trace, size_t nth) {
    for (size_t i = 0; i < trace->event_count; i++) {
        if (trace->events[i].kind == TRACE_ALLOC && --nth == 0) {
            return i + 1;
        }
    }
    return 0;
}

#define ALLOCATION_40 SIZE_MAX /* the event of the trace's 40th allocation */

Test(crosscheck, each_flaw_is_found_at_its_event_and_its_byte) {
    static const struct {
        const char *flaw;
        const char *trace; /* NULL: one that does a little of all */
        size_t event;
        const char *what;
        uint32_t address; /* 0: none; 1: any */
        const char *text; /* in the report */
    } rows[] = {
        {"result", NULL, ALLOCATION_40, "result", 1, "result: host 0x"},
        {"header", NULL, ALLOCATION_40, "headers", 1, "the sequence of its header"},
        {"below", NULL, ALLOCATION_40, "memory", 0x20000120, "is at 0x20000123"},
        {"far", NULL, ALLOCATION_40, "memory", 0x30100004, "is at 0x30100007"},
        {"state", NULL, ALLOCATION_40, "state", 0, "counters.failed: host"},
        {"crash", NULL, ALLOCATION_40, "end", 0, "a load of 1 bytes at 0x00000040"},
        {"hang", NULL, ALLOCATION_40, "end", 0, "it hangs"},
        {"copy", HEAD "alloc 1 40 DEFAULT\nrealloc 1 50 DEFAULT\nfree 1\n", 2, "payload",
         0x2000419c, "36 bytes behind its header"},
        {"fault", HEAD "alloc 1 40 DEFAULT\nalloc 2 8 DEFAULT\nfreeaddr 0x20004150\nfree 1\n", 3,
         "reports", 0, "interior-pointer"},
        {"text", HEAD "alloc 1 40 DEFAULT\nfree 1\nstats\nfree 1\n", 3, "reports", 0,
         "C-SKY text, there: \"kB)"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trace trace;
        struct trace_error error;
        char programs[512];
        snprintf(programs, sizeof programs, CSKY_PROGRAMS "/flaw-%s", rows[i].flaw);
        if (rows[i].trace != NULL) {
            trace_of(rows[i].trace, &trace);
        } else {
            cr_assert(trace_read_file(&trace, GOLDEN "mixed_caps-trace.trace", &error), "%s",
                      error.text);
        }
        struct crosscheck_result result = compare(&trace, heap_build_find(true, 0), programs);
        size_t event =
            rows[i].event == ALLOCATION_40 ? event_of_allocation(&trace, 40) : rows[i].event;
        cr_expect(!result.equal && result.event == event, "flaw %s: found at event %zu, not %zu",
                  rows[i].flaw, result.event, event);
        cr_expect(result.what != NULL && strcmp(result.what, rows[i].what) == 0,
                  "flaw %s: %s differs, not %s", rows[i].flaw, result.what, rows[i].what);
        cr_expect(rows[i].address == 1 ? result.address != 0 : result.address == rows[i].address,
                  "flaw %s: at 0x%08" PRIx32 ", not 0x%08" PRIx32, rows[i].flaw, result.address,
                  rows[i].address);
        cr_expect(result.text != NULL && strstr(result.text, rows[i].text) != NULL,
                  "flaw %s: no \"%s\" in\n%s", rows[i].flaw, rows[i].text, result.text);
        crosscheck_result_free(&result);
        trace_free(&trace);
    }
}

/* --- what is right is equal ------------------------------------------------------------------- */

static void expect_equal(const char *text, const char *name) {
    struct trace trace;
    trace_of(text, &trace);
    for (size_t i = 0; i < HEAP_BUILDS; i++) {
        struct crosscheck_result result = compare(&trace, heap_builds[i], CSKY_PROGRAMS);
        cr_expect(result.equal && result.events == trace.event_count,
                  "%s, build %s: event %zu differs:\n%s\nin this trace:\n%s", name,
                  heap_builds[i]->name, result.event, result.text, text);
        crosscheck_result_free(&result);
    }
    trace_free(&trace);
}

Test(crosscheck, every_kind_of_event_good_or_bad_is_the_same_on_both) {
    expect_equal(HEAD "append PSRAM\nappend PSRAM\nappend SRAM\nappend NOWHERE\n"
                      "alloc 1 100 DEFAULT @ a.c:7\ncalloc 2 10 20 SHARED @ b c.c:9\n"
                      "calloc 3 65536 65537 SHARED\ncalloc 3 0 7 0\naligned 4 256 1000 SPIRAM\n"
                      "aligned 5 24 8 0\nalloc 5 0x90000000 SPIRAM\nalloc 5 0 0\n"
                      "freeaddr 0x20004140\nfreeaddr 3\nfreeaddr 0xffffffff\nfreeaddr 0x30000001\n"
                      "fail 2 on\nalloc 6 100 0\nalloc 7 100 0\nrealloc 1 300 0\nfail 0\n"
                      "realloc 1 300 0\nrealloc 1 301 SPIRAM\nfree 4\nfree 4\ninit\ntracing\n"
                      "expect free=12\ndma ch0 0x30000000 64\ndma ch0 stop\n"
                      "write 1 -1 1 0x55\ncheck\nfree 1\nstats\ncheck DRAM\nwrite 2 200 4 0\n"
                      "check DRAM\nfree 2\nalloc 8 70 0\nflip 0x30000004 3\nalloc 9 70 SPIRAM\n"
                      "tracing\nreadaddr 0x20000000 100\nwriteaddr 0x20000000 0 1\n",
                 "all kinds");
}

/* The program dies of it on both sides; what comes after is not run on either. */
Test(crosscheck, a_stray_access_ends_both) {
    expect_equal(HEAD "alloc 1 8 0\nwriteaddr 0x30800000 1 0\nalloc 2 8 0\n", "behind PSRAM");
    expect_equal(HEAD "readaddr 0x20047fff 2\nalloc 2 8 0\n", "behind DRAM");
    expect_equal(HEAD "write 1 0 4 7\nalloc 2 8 0\n", "null");
}

Test(crosscheck, layouts_and_options_are_the_same_on_both) {
    expect_equal("wmtrace 1\nconfig realloc=inplace\n"
                 "region SRAM 0x20026000 0x20028000 DEFAULT|INTERNAL|EXEC\n"
                 "alloc 1 100 0\nrealloc 1 50 0\nrealloc 1 200 0\nalloc 2 8 0\nrealloc 1 400 0\n",
                 "in place");
    expect_equal("wmtrace 1\nregion PSRAM 0x30000004 0x30200000 SPIRAM\n"
                 "alloc 1 100 SPIRAM\nalloc 2 100 0\nfree 1\n",
                 "PSRAM alone");
    expect_equal("wmtrace 1\nregion SRAM 0x20027ff0 0x20028000 DEFAULT|INTERNAL|EXEC\n"
                 "region DRAM 0x20028000 0x20028100 DEFAULT|INTERNAL|SHARED\n"
                 "alloc 1 8 EXEC\nalloc 2 8 0\n",
                 "a region that is too small");
}

/* A random trace: mostly sound, now and then an overrun, a flipped bit, a wild free. */
static uint32_t next(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

#define RANDOM_EVENTS 300u
#define RANDOM_BYTES 65536u

struct text {
    char *at;
    char *end;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    text->at += vsnprintf(text->at, (size_t)(text->end - text->at), format, arguments);
    va_end(arguments);
    cr_assert(text->at < text->end);
}

static void say_random(struct text *text, uint32_t *state, bool hostile) {
    static const char *const caps[] = {"0", "DEFAULT", "SHARED", "EXEC", "SPIRAM", "INTERNAL"};
    const char *cap = caps[next(state) % COUNT(caps)];
    uint32_t id = next(state) % 40u;
    uint32_t size = next(state) % (next(state) % 8u == 0 ? 6000u : 200u);
    uint32_t place = (next(state) % 2u ? 0x20004120u : 0x30000000u) + next(state) % 4000u;
    switch (next(state) % (hostile ? 14u : 10u)) {
    case 0:
    case 1:
    case 2:
        say(text, "alloc %" PRIu32 " %" PRIu32 " %s @ f%" PRIu32 ".c:%" PRIu32 "\n", id, size, cap,
            id % 7u, id);
        return;
    case 3:
        say(text, "calloc %" PRIu32 " 3 %" PRIu32 " %s\n", id, size / 3u, cap);
        return;
    case 4:
        say(text, "aligned %" PRIu32 " %u %" PRIu32 " %s\n", id, 8u << size % 8u, size, cap);
        return;
    case 5:
    case 6:
        say(text, "realloc %" PRIu32 " %" PRIu32 " %s\n", id, size, cap);
        return;
    case 10:
        say(text, "write %" PRIu32 " %" PRIu32 " %" PRIu32 " 0x%02" PRIx32 "\n", id, size % 64u,
            size % 9u, place & 0xffu);
        return;
    case 11:
        say(text, "flip 0x%08" PRIx32 " %" PRIu32 "\n", place, size % 8u);
        return;
    case 12:
        say(text, "freeaddr 0x%08" PRIx32 "\n", place);
        return;
    case 13:
        say(text, size % 3u == 0 ? "check\n" : size % 3u == 1 ? "stats\n" : "tracing\n");
        return;
    default:
        say(text, "free %" PRIu32 "\n", id);
    }
}

static void expect_random_equal(uint32_t seed, bool hostile) {
    char *room = malloc(RANDOM_BYTES);
    char name[64];
    uint32_t state = seed;
    cr_assert_not_null(room);
    struct text text = {room, room + RANDOM_BYTES};
    say(&text, HEAD "append PSRAM\n");
    for (uint32_t i = 0; i < RANDOM_EVENTS; i++) {
        say_random(&text, &state, hostile);
    }
    snprintf(name, sizeof name, "seed %" PRIu32 "%s", seed, hostile ? ", hostile" : "");
    expect_equal(room, name);
    free(room);
}

Test(crosscheck, random_traces_are_the_same_on_both) {
    for (uint32_t seed = 1; seed <= 6; seed++) {
        expect_random_equal(seed, false);
    }
}

Test(crosscheck, random_damage_is_the_same_on_both) {
    for (uint32_t seed = 100; seed <= 112; seed++) {
        expect_random_equal(seed, true);
    }
}

/* --- the command ------------------------------------------------------------------------------ */

/* Runs a shell command; its output, both kinds together, is cut to `size`. */
static int shell(const char *command, char *text, size_t size) {
    FILE *pipe = popen(command, "r"); /* NOLINT(cert-env33-c) a test's own commands */
    cr_assert_not_null(pipe);
    size_t length = fread(text, 1, size - 1, pipe);
    text[length] = '\0';
    while (fgetc(pipe) != EOF) {
    }
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256;
}

Test(crosscheck, the_command_that_is_printed_shows_the_difference_again) {
    static char first[16384];
    static char again[16384];
    static const char run[] = "cd " W800_SOURCE_DIR " && \"$WMHEAP\" crosscheck --build=trace "
                              "--program-dir=" CSKY_PROGRAMS "/flaw-header "
                              "tests/golden/mixed_caps-trace.trace 2>&1";
    cr_assert_eq(shell(run, first, sizeof first), 1, "%s", first);
    char *command = strstr(first, "again: wmheap ");
    cr_assert_not_null(command, "%s", first);
    char *printed = NULL;
    cr_assert_gt(asprintf(&printed, "cd " W800_SOURCE_DIR " && \"$WMHEAP\" %s",
                          command + strlen("again: wmheap ")),
                 0);
    cr_expect_eq(shell(printed, again, sizeof again), 1);
    cr_expect_str_eq(first, again);
    free(printed);
}

Test(crosscheck, json_says_what_and_where) {
    static char text[16384];
    cr_expect_eq(shell("cd " W800_SOURCE_DIR " && \"$WMHEAP\" crosscheck --json --build=trace "
                       "--program-dir=" CSKY_PROGRAMS "/flaw-below "
                       "tests/golden/mixed_caps-trace.trace 2>&1",
                       text, sizeof text),
                 1);
    cr_expect_str_eq(text, "{\"file\":\"tests/golden/mixed_caps-trace.trace\",\"build\":\"trace\","
                           "\"engine\":\"interpreter\",\"events\":74,\"equal\":false,"
                           "\"first_difference\":{\"event\":74,\"what\":\"memory\",\"address\":"
                           "\"0x20000120\",\"host\":0,\"csky\":16777216}}\n");
}

Test(crosscheck, what_cannot_be_run_is_one_line_and_status_2) {
    static const struct {
        const char *arguments;
        const char *part;
    } rows[] = {
        {"--program-dir=/nowhere tests/golden/boot_iot-none.trace", "scripts/setup-csky"},
        {"--program-dir=$folder --build=trace tests/golden/boot_iot-none.trace", "another build"},
        {"--program-dir=$folder --build=comp tests/golden/boot_iot-none.trace", "crosscheck-comp"},
        {"--engine=qemu tests/golden/boot_iot-none.trace", "/no/qemu"},
        {"tests/golden/no-such.trace", "no-such.trace"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        static char text[4096];
        char *command = NULL;
        cr_assert_gt(asprintf(&command,
                              "cd " W800_SOURCE_DIR " && folder=$(mktemp -d) && "
                              "cp " CSKY_PROGRAMS "/crosscheck-none $folder/crosscheck-trace && "
                              "cp README.md $folder/crosscheck-comp && "
                              "QEMU_CSKY=/no/qemu \"$WMHEAP\" crosscheck %s 2>&1; status=$?; "
                              "rm -r $folder; exit $status",
                              rows[i].arguments),
                     0);
        cr_expect_eq(shell(command, text, sizeof text), 2, "%s: %s", rows[i].arguments, text);
        const char *newline = strchr(text, '\n');
        cr_expect(strstr(text, rows[i].part) != NULL && newline != NULL && newline[1] == '\0',
                  "%s: %s", rows[i].arguments, text);
        free(command);
    }
}

Test(crosscheck, a_program_in_a_build_finds_that_builds_own) {
    static char text[4096];
    cr_expect_eq(shell("cd " W800_SOURCE_DIR " && folder=$(mktemp -d) && mkdir $folder/bin && "
                       "cp \"$WMHEAP\" $folder/bin && ln -s " CSKY_PROGRAMS " $folder/csky && "
                       "WMHEAP_CSKY_PROGRAMS= $folder/bin/wmheap crosscheck --build=none "
                       "tests/golden/boot_iot-none.trace 2>&1; status=$?; rm -r $folder; "
                       "exit $status",
                       text, sizeof text),
                 0, "%s", text);
}

/* A real one is tried by qemu_crosscheck_*, where it is. */
Test(crosscheck, qemu_is_told_and_answers_through_pipes_and_its_end_is_named) {
    static const struct {
        const char *prefix;
        int status;
        const char *part;
    } rows[] = {
        {"QEMU_CSKY=tests/csky/qemu-stand-in", 0, "six builds, qemu: equal"},
        {"QEMU_CSKY= PATH=$folder:/no/folder:$PATH", 0, "six builds, qemu: equal"},
        {"QEMU_CSKY= PATH=/no/folder", 2, "qemu-cskyv2"},
        {"STAND_IN=dies QEMU_CSKY=tests/csky/qemu-stand-in", 2, "it crashes: Killed"},
        {"STAND_IN=fails QEMU_CSKY=tests/csky/qemu-stand-in", 2, "it exits with status 3"},
        {"STAND_IN=babbles QEMU_CSKY=tests/csky/qemu-stand-in", 2, "of another build"},
        {"STAND_IN=hangs QEMU_CSKY=tests/csky/qemu-stand-in", 2, "it hangs: 1 seconds"},
        {"STAND_IN=breaks QEMU_CSKY=tests/csky/qemu-stand-in", 1, "event"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        static char text[16384];
        char *command = NULL;
        cr_assert_gt(asprintf(&command,
                              "cd " W800_SOURCE_DIR " && folder=$(mktemp -d) && ln -s "
                              "$PWD/tests/csky/qemu-stand-in $folder/qemu-cskyv2 && "
                              "%s \"$WMHEAP\" crosscheck --engine=qemu --patience=1 "
                              "tests/golden/boot_iot-none.trace 2>&1; status=$?; "
                              "/bin/rm -r $folder; exit $status",
                              rows[i].prefix),
                     0);
        cr_expect_eq(shell(command, text, sizeof text), rows[i].status, "%s: %s", rows[i].prefix,
                     text);
        cr_expect(strstr(text, rows[i].part) != NULL, "%s: %s", rows[i].prefix, text);
        free(command);
    }
}
