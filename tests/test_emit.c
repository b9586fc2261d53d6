/* SPDX-License-Identifier: Apache-2.0
 *
 * `wmheap emit`: what it writes compiles with the project's own flags, fails if and only if
 * the trace does, and stands beside others in one file. Compiling is slow, so all traces
 * become one program, which says of each test how it ended.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../sim/emit.h"
#include "../sim/replay.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

TestSuite(emit, .timeout = 120);

#define REGIONS                                                                                    \
    "region SRAM 0x20004120 0x20028000 DEFAULT|INTERNAL|EXEC\n"                                    \
    "region DRAM 0x20028c00 0x20047ffc DEFAULT|INTERNAL|SHARED\n"
#define HEAD "wmtrace 1\nconfig tracing=y poisoning=none\n" REGIONS
#define GUARDED "wmtrace 1\nconfig tracing=n poisoning=comprehensive\n" REGIONS
#define PSRAM HEAD "region PSRAM 0x30000000 0x30200000 SPIRAM deferred\nappend PSRAM\n"

static const struct {
    const char *name;
    const char *text;
    bool fails;
} rows[] = {
    {"good",
     HEAD "alloc 1 100 DEFAULT = 0x20004138 @ a.c:7\nrealloc 1 300 0 @ b.c:8\n"
          "calloc 2 4 8 DEFAULT|SHARED\naligned 3 64 100 INTERNAL\ncheck\ncheck DRAM\n"
          "write 1 0 300 0x55\nreadaddr 0x20004200 8\nstats\ntracing\nfree 1\nfree 9\n"
          "realloc 2 0 0\nexpect free=274984\n",
     false},
    {"nothing", HEAD, false},
    {"psram",
     PSRAM "alloc 1 100 SPIRAM = 0x30000018\ndma ch0 0x30000020 64\ndma ch0 stop\n"
           "alloc 2 3000000 SPIRAM = 0x00000000\nfree 1\n",
     false},
    {"injected",
     HEAD "fail 2\nalloc 1 8 DEFAULT\nalloc 2 8 DEFAULT = 0x00000000\n"
          "fail 1 on\nalloc 3 8 0 = 0x00000000\n",
     false},
    {"caps", HEAD "alloc 1 8 INVALID|0x80 = 0x00000000\nalloc 2 8 0\n", false},
    {"expected_fault",
     HEAD "alloc 1 64 DEFAULT\nfreeaddr 0x20004140\n"
          "expect fault=interior-pointer\nfree 1\n",
     false},
    {"expected_damage",
     HEAD "alloc 1 8 DEFAULT\nalloc 2 8 DEFAULT\nwrite 1 8 4 0x41\nfree 2\n"
          "expect fault=smashed-header\nfree 1\n",
     false},
    {"expected_trap",
     PSRAM "alloc 1 64 SPIRAM\ndma ch1 0x30000018 64\nwrite 1 0 4 0x41\n"
           "expect fault=bus-conflict\nfree 1\n",
     false},
    {"odd_site", HEAD "alloc 1 8 DEFAULT @ C:\\odd \"x\" ?\?/ */ \xc3\xa4.c:1\n", false},
    {"overflow", GUARDED "alloc 1 60 DEFAULT @ a.c:1\nwrite 1 60 1 0x41\nfree 1\n", true},
    {"smashed", HEAD "alloc 1 8 DEFAULT\nalloc 2 8 DEFAULT\nwrite 1 8 4 0x41\n", true},
    {"use_after_free",
     GUARDED "alloc 1 60 DEFAULT\nalloc 2 8 DEFAULT\nfree 1\n"
             "writeaddr 0x20004150 4 0x41\nalloc 3 60 DEFAULT\n",
     true},
    {"double_free", HEAD "alloc 1 60 DEFAULT\nfree 1\nfreeaddr 0x20004138\n", true},
    {"null", HEAD "alloc 1 300000 DEFAULT\nwrite 1 0 4 0x41\n", true},
    {"conflict", PSRAM "alloc 1 64 SPIRAM\ndma ch1 0x30000018 64\nreadaddr 0x30000018 4\n", true},
    {"unreachable", HEAD "dma wifi 0x20004138 64\n", true},
    {"flip", HEAD "alloc 1 60 DEFAULT\nflip 0x20004124 3\nfree 1\n", true},
    {"address", HEAD "alloc 1 60 DEFAULT\nalloc 2 60 DEFAULT = 0x20004138\nfree 1\n", true},
    {"moved", HEAD "alloc 1 60 DEFAULT\nrealloc 1 90 0 = 0x20004138\n", true},
    {"counter", HEAD "alloc 1 60 DEFAULT\nexpect free=1\n", true},
    {"minimum", HEAD "alloc 1 60 DEFAULT\nexpect min_free=1\n", true},
    {"no_fault", HEAD "alloc 1 60 DEFAULT\nfree 1\nexpect fault=double-free\n", true},
    {"contents", HEAD "alloc 1 60 DEFAULT\nalloc 2 60 DEFAULT\nwrite 1 96 4 0x41\nfree 2\n", true},
    {"contents_at_the_end", HEAD "alloc 1 60 DEFAULT\ncalloc 2 2 60 DEFAULT\nwrite 1 150 4 0x41\n",
     true},
};

static char folder[] = "/tmp/wmheap-emit-XXXXXX";

/* The replay is the judge: the table must not be wrong either. */
static bool trace_fails(const struct trace *trace) {
    struct replay_options options = {.check = REPLAY_CHECK_FULL,
                                     .psram_bytes = REPLAY_PSRAM_AS_TRACED};
    struct replay_result result;
    struct trace_error error;
    cr_assert(replay_run(trace, &options, &result, &error), "%s", error.text);
    bool fails = replay_status(&result) != 0;
    replay_result_free(&result);
    return fails;
}

static void emit_all(FILE *out) {
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trace trace;
        struct trace_error error;
        cr_assert(
            trace_read_memory(&trace, rows[i].text, strlen(rows[i].text), rows[i].name, &error),
            "%s", error.text);
        cr_expect_eq(trace_fails(&trace), rows[i].fails, "%s", rows[i].name);
        cr_expect(emit_test(&trace, rows[i].name, rows[i].name, out, &error), "%s: %s",
                  rows[i].name, error.text);
        trace_free(&trace);
    }
}

/* Runs a command, returns its status and what it said. */
static int run(const char *command, char *text, size_t size) {
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    size_t length = fread(text, 1, size - 1, pipe);
    text[length] = '\0';
    return pclose(pipe);
}

Test(emit, a_test_compiles_and_fails_if_and_only_if_the_trace_does) {
    static char said[1 << 20];
    char command[4096];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(command, sizeof command, "%s/test.c", folder);
    FILE *out = fopen(command, "w");
    cr_assert_not_null(out);
    emit_all(out);
    fclose(out);
    snprintf(command, sizeof command, "%s @%s %s/test.c -o %s/test %s 2>&1", EMIT_COMPILER,
             EMIT_FLAGS, folder, folder, EMIT_LIBRARIES);
    cr_assert_eq(run(command, said, sizeof said), 0, "%s:\n%.8000s", command, said);
    /* in an environment of its own: Criterion tells its children by it what they are */
    snprintf(command, sizeof command, "env -i %s%s/test --tap=- 2>&1", EMIT_LAUNCHER, folder);
    run(command, said, sizeof said);
    for (size_t i = 0; i < COUNT(rows); i++) {
        char line[128];
        snprintf(line, sizeof line, "\n%s - trace::%s ", rows[i].fails ? "not ok" : "ok",
                 rows[i].name);
        cr_expect(strstr(said, line) != NULL, "%s: not \"%s\":\n%.20000s", rows[i].name, line + 1,
                  said);
    }
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

Test(emit, a_files_name_becomes_a_tests_name) {
    static const char *const names[][2] = {
        {"overrun.trace", "overrun"},   {"a/b/boot-iot.v2.trace", "boot_iot"},
        {"7up.trace", "trace_7up"},     {"/", "trace_"},
        {"\xc3\xa4.trace", "trace___"}, {"_x", "_x"},
    };
    for (size_t i = 0; i < COUNT(names); i++) {
        char name[EMIT_NAME_MAX];
        emit_name(names[i][0], name);
        cr_expect_str_eq(name, names[i][1]);
    }
    char name[EMIT_NAME_MAX];
    char longest[500];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    emit_name(longest, name);
    cr_expect_eq(strlen(name), EMIT_NAME_MAX - 1);
}
