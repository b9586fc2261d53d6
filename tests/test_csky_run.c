/* SPDX-License-Identifier: Apache-2.0
 *
 * csky-run as a person or a script meets it: arguments, exit statuses, and what it says on
 * standard error. The program is $CSKY_RUN.
 */
#include "csky_program.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(csky_run, .timeout = 60);

struct outcome {
    int status;
    char out[8192]; /* both streams */
};

static char path[] = "/tmp/test_csky_run_XXXXXX"; /* one test, one process */

static bool saved(void) { return strstr(path, "XXXXXX") == NULL; }

static void save(struct program *program) {
    static uint8_t file[PROGRAM_FILE_MAX];
    program_save(file, program_file(program, file), path);
    free(program);
}

/* Runs $CSKY_RUN with these arguments; %s is the program saved last. */
static struct outcome run(const char *arguments, const char *streams) {
    struct outcome outcome = {0};
    char command[1024];
    const char *program = getenv("CSKY_RUN");
    cr_assert_not_null(program, "CSKY_RUN=PATH/bin/csky-run must say which program is meant");
    const int length = snprintf(command, sizeof(command), "%s %s %s %s", program, arguments,
                                saved() ? path : "", streams);
    cr_assert_lt(length, (int)sizeof(command));
    FILE *from = popen(command, "r");
    cr_assert_not_null(from);
    outcome.out[fread(outcome.out, 1, sizeof(outcome.out) - 1, from)] = '\0';
    const int status = pclose(from);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 256;
    if (saved()) {
        unlink(path);
        strcpy(path, "/tmp/test_csky_run_XXXXXX");
    }
    return outcome;
}

static void expect(const struct outcome *outcome, int status, const char *const *parts) {
    cr_expect_eq(outcome->status, status, "status %d, not %d:\n%s", outcome->status, status,
                 outcome->out);
    for (; *parts != NULL; ++parts) {
        cr_expect_not_null(strstr(outcome->out, *parts), "no \"%s\" in:\n%s", *parts, outcome->out);
    }
}
#define EXPECT(outcome, status, ...)                                                               \
    expect(outcome, status, (const char *const[]){__VA_ARGS__, NULL})

/* Writes "hello\n", exits 7. */
static struct program *hello(void) {
    struct program *program =
        PROGRAM(MOVI(0, 1), MOVIH(1, PROGRAM_DATA >> 16), MOVI(2, 6), SYSTEM(64), EXIT(7));
    memcpy(program->data, "hello\n", 6);
    program->symbols[0] = (struct program_symbol){"_start", PROGRAM_CODE, 10};
    program->symbols[1] = (struct program_symbol){"the\033end", PROGRAM_CODE + 10, 32};
    program->symbol_count = 2;
    return program;
}

Test(csky_run, a_program_runs_with_its_own_output_and_status) {
    save(hello());
    const struct outcome outcome = run("", "2>&1");
    cr_expect_eq(outcome.status, 7);
    cr_expect_str_eq(outcome.out, "hello\n");
}

Test(csky_run, stats_list_what_each_function_executed) {
    save(hello());
    const struct outcome outcome = run("--stats", "2>&1 >/dev/null");
    EXPECT(&outcome, 7, "   instructions   share      entries  function\n",
           "              4  50.00%            1  _start\n",
           "              4  50.00%            1  the?end\n",
           "              8 100.00%               in all\n");
}

Test(csky_run, stats_are_also_one_json_object) {
    save(hello());
    const struct outcome outcome = run("--json", "2>&1 >/dev/null");
    json_t *object = json_loads(outcome.out, 0, NULL);
    cr_assert_not_null(object, "%s", outcome.out);
    cr_expect_eq(json_integer_value(json_object_get(object, "instructions")), 8);
    const json_t *functions = json_object_get(object, "functions");
    cr_assert_eq(json_array_size(functions), 2);
    const json_t *first = json_array_get(functions, 0);
    cr_expect_str_eq(json_string_value(json_object_get(first, "name")), "_start");
    cr_expect_eq(json_integer_value(json_object_get(first, "instructions")), 4);
    cr_expect_eq(json_integer_value(json_object_get(first, "entries")), 1);
    json_decref(object);
}

Test(csky_run, a_trace_shows_each_instruction_and_what_it_changed) {
    save(hello());
    const struct outcome outcome = run("--trace", "2>&1 >/dev/null");
    EXPECT(&outcome, 7, "08010400  _start+0x0  movi r0, 1  r0=0x1\n",
           "08010402  _start+0x2  movih r1, 8192  r1=0x20000000\n",
           "the?end+0x0  trap 0  r0=0x6\n");
}

Test(csky_run, a_limit_ends_it_with_124_and_one_line) {
    save(PROGRAM(BR(0)));
    const struct outcome outcome = run("--max-insns 1000", "2>&1");
    EXPECT(&outcome, 124, "csky-run: stopped after 1000 instructions (--max-insns)\n");
}

Test(csky_run, a_limited_trace_stops_there_too) {
    save(PROGRAM(BR(0)));
    const struct outcome outcome = run("--trace --max-insns 2", "2>&1");
    EXPECT(&outcome, 124, "br 0x8010400\n08010400  ", "stopped after 2 instructions");
}

Test(csky_run, a_fault_ends_it_with_125_and_a_report) {
    struct program *program = PROGRAM(MOVIH(3, 0x3000), MOVI(2, 5), ST_W(2, 3, 12));
    program->symbols[0] = (struct program_symbol){"broken", PROGRAM_CODE, 10};
    program->symbol_count = 1;
    save(program);
    const struct outcome outcome = run("", "2>&1");
    EXPECT(&outcome, 125, ": fault: a store of 4 bytes at 0x3000000c, where it may not\n",
           "pc  0x08010406  broken+0x6  dc432003  st.w r2, (r3, 0xc)\n", "after 2 instructions",
           " r2 0x00000005 ", " r3 0x30000000\n", "r31 0x00000000\n");
}

Test(csky_run, what_cannot_be_run_ends_it_with_2_and_one_line) {
    const struct outcome missing = run("/nowhere/x.elf", "2>&1");
    EXPECT(&missing, 2, "csky-run: /nowhere/x.elf: No such file or directory\n");
    const struct outcome none = run("/etc/passwd", "2>&1");
    EXPECT(&none, 2, "csky-run: /etc/passwd: no ELF file\n");
    const struct outcome two = run("a b", "2>&1");
    EXPECT(&two, 2, "one program is all that is taken");
    const struct outcome no = run("", "2>&1");
    EXPECT(&no, 2, "a program is needed");
    const struct outcome limit = run("--max-insns=-1 x", "2>&1");
    EXPECT(&limit, 2, "a number is needed");
}

Test(csky_run, help_has_an_example_and_the_statuses) {
    const struct outcome outcome = run("--help", "2>&1");
    EXPECT(&outcome, 0, "Usage: csky-run [OPTION...] PROGRAM", "csky-run --stats hello.elf",
           "124 --max-insns", "125");
}
