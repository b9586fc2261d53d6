/* SPDX-License-Identifier: Apache-2.0
 *
 * `wmheap cost`: what is counted and what is not, figures against each other and against a
 * count made another way, and the command's output.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "../sim/cost.h"
#include "../sim/crosscheck_run.h"
#include "../sim/csky.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

TestSuite(cost, .timeout = 60);

#define HEAD                                                                                       \
    "wmtrace 1\nconfig tracing=y poisoning=none\n"                                                 \
    "region SRAM 0x20004120 0x20028000 DEFAULT|INTERNAL|EXEC\n"                                    \
    "region DRAM 0x20028c00 0x20047ffc DEFAULT|INTERNAL|SHARED\n"                                  \
    "region PSRAM 0x30000000 0x30800000 SPIRAM deferred\n"

static struct cost_result cost_of(const char *text, const struct heap_build *build) {
    struct trace trace;
    struct trace_error error;
    struct cost_result result;
    cr_assert(trace_read_memory(&trace, text, strlen(text), "text", &error), "%s", error.text);
    cr_assert(cost_trace(&trace, build, CSKY_PROGRAMS, SIZE_MAX, &result, &error), "%s",
              error.text);
    cr_assert_str_empty(result.crash);
    trace_free(&trace);
    return result;
}

static const struct heap_build *own(void) { return heap_build_find(true, 0); }

Test(cost, allocs_and_frees_are_counted_and_nothing_else) {
    static const struct {
        const char *text;
        size_t allocs;
        size_t frees;
    } rows[] = {
        {HEAD "alloc 1 8 0\n", 1, 0},
        {HEAD "alloc 1 8 0\nfree 1\n", 1, 1},
        {HEAD "free 1\nalloc 1 8 0\nfree 1\nfree 1\n", 1, 1}, /* of null: no program calls it */
        {HEAD "alloc 1 8 0\nfreeaddr 0x20004138\n", 1, 1},
        {HEAD "alloc 1 0 0\nalloc 2 8 EXEC|SHARED\n", 2, 0}, /* a failure is a call, too */
        {HEAD "append PSRAM\nappend NOWHERE\ncalloc 1 2 3 0\naligned 2 64 9 SPIRAM\n"
              "realloc 1 100 0\nstats\ntracing\ncheck\nexpect free=1\ninit\n"
              "writeaddr 0x20000000 4 1\nflip 0x20000000 1\nfail 1\nalloc 3 8 0\nfree 2\n",
         1, 1},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct cost_result result = cost_of(rows[i].text, own());
        cr_expect(result.alloc.calls == rows[i].allocs && result.free.calls == rows[i].frees &&
                      result.all.calls == rows[i].allocs + rows[i].frees,
                  "row %zu: %zu allocs, %zu frees", i, result.alloc.calls, result.free.calls);
    }
}

Test(cost, only_the_last_calls_count_if_so_many_are_asked_for) {
    static const char text[] =
        HEAD "alloc 1 8 0\nalloc 2 24 0\nappend PSRAM\nfree 1\nalloc 3 300 0\n"
             "realloc 3 100 0\nfree 2\nexpect free=1\n";
    static const size_t allocs[] = {0, 1, 1, 2, 3, 3}; /* of the last 1, 2, ... */
    struct trace trace;
    struct trace_error error;
    cr_assert(trace_read_memory(&trace, text, strlen(text), "text", &error), "%s", error.text);
    for (size_t last = 1; last <= COUNT(allocs); last++) {
        struct cost_result result;
        cr_assert(cost_trace(&trace, own(), CSKY_PROGRAMS, last, &result, &error), "%s",
                  error.text);
        size_t counted = last < 5 ? last : 5;
        cr_expect(result.all.calls == counted && result.alloc.calls == allocs[last - 1],
                  "the last %zu: %zu calls, %zu allocs", last, result.all.calls,
                  result.alloc.calls);
    }
    trace_free(&trace);
}

/* Cheap calls that are all the same, and a dear one behind them: of a hundred calls the 99th
 * percentile leaves out one, of fewer none. A calloc, which does not count, makes the first look
 * for the region. */
Test(cost, figures_are_those_of_the_counts) {
    char text[16384];
    for (size_t cheap = 98; cheap <= 100; cheap++) {
        size_t at = (size_t)snprintf(text, sizeof text, HEAD "calloc 100 1 24 EXEC\n");
        for (size_t i = 0; i < cheap; i++) { /* from the tail */
            at += (size_t)snprintf(text + at, sizeof text - at, "alloc %zu 24 EXEC\n", i);
        }
        struct cost_figures even = cost_of(text, own()).all;
        cr_expect(even.max == even.p99 && even.mean > even.max - 2.0 && even.mean <= even.max);
        snprintf(text + at, sizeof text - at, "freeaddr 0x20004140\n"); /* whose is it? */
        struct cost_figures odd = cost_of(text, own()).all;
        cr_expect_eq(odd.max_event, cheap + 2, "event %zu", odd.max_event);
        cr_expect_gt(odd.max, even.max);
        cr_expect_eq(odd.p99, cheap + 1 < 100 ? odd.max : even.max);
        cr_expect_float_eq(odd.mean * (double)(cheap + 1), even.mean * (double)cheap + odd.max,
                           0.01);
    }
}

static uint32_t symbol(struct csky_machine *machine, const char *name) {
    uint32_t address = 0;
    uint32_t size;
    cr_assert(csky_symbol(machine, name, &address, &size), "%s", name);
    return address;
}

static uint64_t count_of(struct csky_machine *machine, const char *name,
                         const uint32_t arguments[4]) {
    uint32_t ignored;
    uint64_t before = csky_instructions(machine);
    cr_assert_eq(csky_call(machine, symbol(machine, name), arguments, 4, &ignored, CSKY_UNLIMITED),
                 CSKY_RETURNED);
    return csky_instructions(machine) - before;
}

Test(cost, a_call_costs_what_it_takes_by_hand) {
    const struct crosscheck_header header = {
        .region_count = 1,
        .regions = {{"SRAM", 0x20004120u, 0x20028000u, WM_HEAP_CAP_DEFAULT, 0}},
    };
    static const uint32_t none[4] = {0};
    static const uint32_t arguments[4] = {100, WM_HEAP_CAP_DEFAULT};
    for (size_t i = 0; i < HEAP_BUILDS; i++) {
        char message[256];
        char path[512];
        snprintf(path, sizeof path, CSKY_PROGRAMS "/crosscheck-%s", heap_builds[i]->name);
        struct csky_machine *machine = csky_open(path, message, sizeof message);
        cr_assert_not_null(machine, "%s", message);
        memcpy(csky_memory(machine, symbol(machine, "crosscheck_header"), sizeof header), &header,
               sizeof header);
        count_of(machine, "crosscheck_prepare", none);
        count_of(machine, "wm_heap_init", none);
        uint64_t by_hand = count_of(machine, "wm_heap_caps_alloc_tracing", arguments);
        csky_close(machine);
        struct cost_result result =
            cost_of("wmtrace 1\nregion SRAM 0x20004120 0x20028000 DEFAULT\nalloc 1 100 DEFAULT\n",
                    heap_builds[i]);
        cr_expect_eq(result.alloc.max, by_hand, "build %s: %u, by hand %lu", heap_builds[i]->name,
                     result.alloc.max, (unsigned long)by_hand);
    }
}

Test(cost, the_lock_is_held_for_less_than_the_call_takes) {
    for (size_t i = 0; i < HEAP_BUILDS; i++) {
        struct cost_result result = cost_of(
            HEAD "alloc 1 8 0\nalloc 2 8 0\nfree 1\nalloc 3 80 0\nfree 2\n", heap_builds[i]);
        const struct cost_figures figures[] = {result.all, result.alloc, result.free};
        for (size_t j = 0; j < COUNT(figures); j++) {
            cr_expect(figures[j].lock_max > 10 && figures[j].lock_max < figures[j].max,
                      "build %s: %u of %u", heap_builds[i]->name, figures[j].lock_max,
                      figures[j].max);
        }
    }
}

Test(cost, an_address_is_judged_in_the_traces_own_build_only) {
    static const char text[] = HEAD "alloc 1 100 DEFAULT = 0x20004138\n"
                                    "alloc 2 100 DEFAULT = 0x20004138\nfree 1\n";
    for (size_t i = 0; i < HEAP_BUILDS; i++) {
        struct cost_result result = cost_of(text, heap_builds[i]);
        cr_expect_eq(result.mismatches, heap_builds[i] == own(), "build %s", heap_builds[i]->name);
        cr_expect(result.mismatches == 0 ||
                  (result.first_event == 2 && result.first_expected == 0x20004138u &&
                   result.first_got == 0x200041b8u));
    }
}

/* --- the command ------------------------------------------------------------------------------ */

static int shell(const char *command, char *text, size_t size) {
    FILE *pipe = popen(command, "r"); /* NOLINT(cert-env33-c) a test's own commands */
    cr_assert_not_null(pipe);
    size_t length = fread(text, 1, size - 1, pipe);
    text[length] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256;
}

Test(cost, json_is_one_object_a_build_with_the_keys_promised) {
    static const char *const keys[] = {"\"calls\":",    "\"mean\":",   "\"p99\":",  "\"max\":",
                                       "\"lock_max\":", "\"alloc\":{", "\"free\":{"};
    static char text[16384];
    cr_assert_eq(shell("cd " W800_SOURCE_DIR " && \"$WMHEAP\" cost --json "
                       "tests/golden/boot_iot-trace.trace",
                       text, sizeof text),
                 0);
    char *rest = text;
    for (size_t i = 0; i < HEAP_BUILDS; i++) {
        char build[32];
        char *line = strsep(&rest, "\n");
        cr_assert_not_null(line);
        snprintf(build, sizeof build, "\"build\":\"%s\"", heap_builds[i]->name);
        cr_expect_not_null(strstr(line, build), "%s", line);
        for (size_t j = 0; j < COUNT(keys); j++) {
            cr_expect_not_null(strstr(line, keys[j]), "no %s in %s", keys[j], line);
        }
    }
    cr_expect_str_empty(rest);
}

Test(cost, the_exit_status_says_done_found_or_unusable) {
    static const struct {
        const char *text;
        const char *arguments;
        int status;
    } rows[] = {
        {HEAD "alloc 1 100 DEFAULT = 0x20004138\n", "-", 0},
        {HEAD "alloc 1 100 DEFAULT = 0x20004130\n", "-", 1},
        {HEAD "alloc 1 100 DEFAULT = 0x20004130\n", "--build=none -", 0},
        {HEAD "alloc 1 100\n", "-", 2},
        {HEAD "alloc 1 100 0\n", "--build=nonsense -", 2},
        {HEAD "alloc 1 100 0\n", "--program-dir=/nowhere -", 2},
        {HEAD "alloc 1 100 0\n", "", 2},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        static char said[8192];
        char *command = NULL;
        cr_assert_gt(asprintf(&command, "printf '%s' | \"$WMHEAP\" cost %s 2>&1", rows[i].text,
                              rows[i].arguments),
                     0);
        int status = shell(command, said, sizeof said);
        cr_expect_eq(status, rows[i].status, "row %zu: status %d\n%s", i, status, said);
        free(command);
    }
}
