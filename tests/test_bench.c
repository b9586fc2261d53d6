/* SPDX-License-Identifier: Apache-2.0
 *
 * What measures: the linear lists must return the SDK's addresses, or their times say nothing;
 * and figures are checked on allocators of whose times and addresses all is known.
 */
#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../bench/calls.h"
#include "../bench/counter.h"
#include "../bench/footprint.h"
#include "../bench/measure.h"
#include "../bench/statistics.h"
#include "../bench/ticks.h"
#include "w800.h"

TestSuite(bench, .timeout = 120);

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct calls read_file(const char *path, size_t last) {
    struct calls calls;
    struct trace_error error;
    cr_assert(calls_read(&calls, path, last, &error), "%s", error.text);
    return calls;
}

/* --- addresses -------------------------------------------------------------------------------- */

/* Returns the digest of the addresses. */
static uint64_t check_addresses(const char *path, const char *name) {
    struct calls calls = read_file(path, 0);
    const struct allocator *allocator = allocator_find(name);
    struct footprint footprint;
    struct trace_error error;
    const char *lack;
    cr_assert(allocator_machine_start(&calls.trace, &error), "%s", error.text);
    cr_assert(allocator->open(&lack));
    cr_assert(footprint_take(&calls, allocator, &footprint, &error), "%s", error.text);
    cr_expect_eq(footprint.mismatches, 0, "%s: %s returns %zu other addresses", path, name,
                 footprint.mismatches);
    w800_stop();
    calls_free(&calls);
    return footprint.digest;
}

Test(bench, core_and_lists_return_the_addresses_of_the_sdk) {
    static const char *const patterns[] = {W800_SOURCE_DIR "/tests/golden/*.trace",
                                           W800_SOURCE_DIR "/bench/traces/*.trace"};
    size_t files = 0;
    for (size_t i = 0; i < COUNT(patterns); i++) {
        glob_t found;
        cr_assert_eq(glob(patterns[i], 0, NULL, &found), 0);
        for (size_t file = 0; file < found.gl_pathc; file++) {
            const char *path = found.gl_pathv[file];
            uint64_t core = check_addresses(path, "core");
            cr_expect_eq(check_addresses(path, "list"), core, "%s", path);
            cr_expect_eq(check_addresses(path, "list-plain"), core, "%s", path);
        }
        files += found.gl_pathc;
        globfree(&found);
    }
    cr_assert_geq(files, 63);
}

/* --- allocators of which all is known --------------------------------------------------------- */

/* Returns what it is told to, and takes as long as the size says, in nanoseconds. */
static struct {
    uintptr_t addresses[8];
    size_t next;
    uint64_t busy_ns; /* 0: takes no time */
    size_t frees;
} scripted;

static void scripted_reset(void) { scripted.next = 0; }

static void *scripted_alloc(size_t size, uint32_t caps) {
    (void)caps;
    uint64_t began = ticks_ns();
    while (scripted.busy_ns != 0 && ticks_ns() - began < size) {
    }
    uintptr_t address = scripted.addresses[scripted.next++ % COUNT(scripted.addresses)];
    return (void *)address; /* NOLINT(performance-no-int-to-ptr) never looked at */
}

static void *scripted_realloc(void *old, size_t size, uint32_t caps) {
    return size > 100000 ? NULL : scripted_alloc(old != NULL ? size : 1, caps);
}

static void scripted_free(void *pointer) { scripted.frees += pointer != NULL; }

static size_t scripted_block_bytes(const void *pointer) {
    (void)pointer;
    return 64;
}

static void scripted_holes(allocator_hole_fn *visit, void *context) {
    visit(context, 300);
    visit(context, 400);
}

static const struct allocator scripted_allocator = {
    .name = "scripted",
    .reset = scripted_reset,
    .alloc = scripted_alloc,
    .realloc = scripted_realloc,
    .free = scripted_free,
    .block_bytes = scripted_block_bytes,
    .holes = scripted_holes,
};

/* A workload from text. */
static struct calls read_text(const char *events, size_t last) {
    char path[] = "/tmp/test_bench.XXXXXX";
    int descriptor = mkstemp(path);
    FILE *file = fdopen(descriptor, "w");
    cr_assert_not_null(file);
    fprintf(file, "wmtrace 1\nregion SRAM 0x20004120 0x20028000 DEFAULT\n%s", events);
    fclose(file);
    struct calls calls;
    struct trace_error error;
    bool good = calls_read(&calls, path, last, &error);
    remove(path);
    cr_assert(good, "%s", error.text);
    return calls;
}

/* --- memory ----------------------------------------------------------------------------------- */

static struct footprint footprint_of(const char *events) {
    struct calls calls = read_text(events, 0);
    struct footprint footprint;
    struct trace_error error;
    cr_assert(footprint_take(&calls, &scripted_allocator, &footprint, &error), "%s", error.text);
    calls_free(&calls);
    return footprint;
}

static void expect_sample(const struct footprint_sample *sample, size_t call, uint64_t blocks,
                          uint64_t bytes, uint64_t pages) {
    cr_expect(sample->call == call && sample->live_blocks == blocks &&
                  sample->live_bytes == bytes && sample->block_bytes == 64 * blocks &&
                  sample->page_bytes == 4096 * pages,
              "call %zu: %lu blocks, %lu bytes, %lu pages", sample->call, sample->live_blocks,
              sample->live_bytes, sample->page_bytes / 4096);
}

Test(bench, memory_is_counted_block_by_block_and_page_by_page) {
    static const uintptr_t addresses[] = {0x10000, 0x10ff0, 0x11100, 0x40000, 0x50000};
    memcpy(scripted.addresses, addresses, sizeof addresses);
    struct footprint got = footprint_of("alloc 1 100 0\n"      /* one page */
                                        "alloc 2 17 0\n"       /* across to the next */
                                        "alloc 3 4096 0\n"     /* the second and a third */
                                        "free 1\n"             /* its page still has a byte of 2 */
                                        "free 2\n"             /* now it has none */
                                        "realloc 3 50 0\n"     /* moves */
                                        "realloc 3 200000 0\n" /* fails: the block stays */
                                        "free 9\n");           /* of nothing */
    static const struct {
        uint64_t blocks;
        uint64_t bytes;
        uint64_t pages;
    } wanted[] = {{1, 100, 1},  {2, 117, 2}, {3, 4213, 3}, {2, 4113, 3},
                  {1, 4096, 2}, {1, 50, 1},  {1, 50, 1},   {1, 50, 1}};
    cr_assert_eq(got.sample_count, COUNT(wanted));
    for (size_t i = 0; i < COUNT(wanted); i++) {
        expect_sample(&got.samples[i], i + 1, wanted[i].blocks, wanted[i].bytes, wanted[i].pages);
    }
    expect_sample(&got.peak, 3, 3, 4213, 3);
    cr_expect_eq(got.failures, 1);
    cr_expect_float_eq(footprint_fragmentation(&got.peak), 100.0 * (1.0 - 4213.0 / 12288.0), 1e-9);
    cr_expect_float_eq(got.peak.umm, 100.0 * (1.0 - 500.0 / 700.0), 1e-9, "%f", got.peak.umm);
    cr_expect_eq(got.peak.holes, 2);
}

Test(bench, more_pages_than_can_be_told_apart_are_refused) {
    static const struct {
        const char *events;
        bool taken;
    } rows[] = {{"alloc 1 268431360 0\nfree 1\n", true}, /* 65,535 pages */
                {"alloc 1 268431361 0\nfree 1\n", false},
                {"alloc 1 268431360 0\nalloc 2 1 0\nfree 1\nfree 2\n", false}};
    static const uintptr_t addresses[] = {0x10000, 0x50000000};
    for (size_t i = 0; i < COUNT(rows); i++) {
        memcpy(scripted.addresses, addresses, sizeof addresses);
        scripted.next = 0;
        struct calls calls = read_text(rows[i].events, 0);
        struct footprint footprint;
        struct trace_error error = {.text = ""};
        cr_expect_eq(footprint_take(&calls, &scripted_allocator, &footprint, &error), rows[i].taken,
                     "row %zu: %s", i, error.text);
        cr_expect(rows[i].taken || strstr(error.text, "65535 pages") != NULL, "row %zu", i);
        calls_free(&calls);
    }
}

Test(bench, free_memory_is_scattered_the_more_the_smaller_its_holes_are) {
    cr_expect_float_eq(footprint_umm(0.0, 0.0), 0.0, 1e-9);
    cr_expect_float_eq(footprint_umm(700.0, 700.0 * 700.0), 0.0, 1e-9);
    cr_expect_float_eq(footprint_umm(100 * 24.0, 100 * 24.0 * 24.0), 90.0, 1e-9);
}

/* --- time ------------------------------------------------------------------------------------- */

Test(bench, a_percentile_is_the_smallest_figure_that_so_many_do_not_exceed) {
    double figures[1000];
    for (size_t i = 0; i < COUNT(figures); i++) {
        figures[i] = (double)(i * 7 % 1000 + 1); /* 1 to 1000, in no order */
    }
    figures_sort(figures, COUNT(figures));
    static const double wanted[][2] = {{0.0, 1.0},    {0.001, 1.0},   {0.0011, 2.0}, {0.5, 500.0},
                                       {0.99, 990.0}, {0.999, 999.0}, {1.0, 1000.0}};
    for (size_t i = 0; i < COUNT(wanted); i++) {
        double got = figures_percentile(figures, COUNT(figures), wanted[i][0]);
        cr_expect_float_eq(got, wanted[i][1], 1e-9, "%g: %g", wanted[i][0], got);
    }
    cr_expect_float_eq(figures_percentile(figures, 1, 0.5), 1.0, 1e-9);
}

/* Calls of 0 and of 20,000 ns. Bounds are wide: the machine may be busy with other things. */
Test(bench, a_dear_call_is_seen_among_cheap_ones) {
    struct calls calls = read_text("alloc 1 1 0\nalloc 1 1 0\nalloc 1 20000 0\nalloc 1 1 0\n", 0);
    struct measurement got;
    struct trace_error error;
    scripted.busy_ns = 1;
    cr_assert(measure(&calls, &scripted_allocator, 0.02, &got, &error), "%s", error.text);
    cr_expect_eq(got.calls, 4);
    cr_expect(got.latencies_ns[3] > 19000.0 && got.latencies_ns[3] < 200000.0, "%f",
              got.latencies_ns[3]);
    cr_expect_lt(got.latencies_ns[2], 5000.0, "%f", got.latencies_ns[2]);
    cr_expect(got.mean_ns > 4750.0 && got.mean_ns < 50000.0, "%f", got.mean_ns);
    measurement_free(&got);
    calls_free(&calls);
}

Test(bench, calls_that_only_build_the_heap_up_are_made_and_not_measured) {
    struct calls calls = read_text("alloc 1 20000 0\nalloc 2 20000 0\nalloc 3 1 0\nfree 2\n", 2);
    struct measurement got;
    struct trace_error error;
    scripted.busy_ns = 1;
    memset(scripted.addresses, 1, sizeof scripted.addresses);
    cr_assert(measure(&calls, &scripted_allocator, 0.02, &got, &error), "%s", error.text);
    cr_expect_eq(got.calls, 2);
    cr_expect_lt(got.mean_ns, 5000.0, "%f", got.mean_ns);
    cr_expect_geq(scripted.frees, got.repetitions, "the block to free was never made");
    measurement_free(&got);
    calls_free(&calls);
}

Test(bench, nothing_takes_no_time_and_no_instructions) {
    struct calls calls = read_file(W800_SOURCE_DIR "/bench/traces/holes-2k.trace", 0);
    struct measurement got;
    struct trace_error error;
    cr_assert(measure(&calls, &allocator_nothing, 0.02, &got, &error), "%s", error.text);
    cr_expect_eq(got.calls, 7000, "the append is none");
    cr_expect_lt(got.mean_ns, 2.0, "%f", got.mean_ns);
    cr_expect(!got.counted || (got.instructions > -1.0 && got.instructions < 1.0));
    measurement_free(&got);
    calls_free(&calls);
}

Test(bench, the_processors_counter_counts_what_runs_between_start_and_stop) {
    struct counter counter;
    if (!counter_open(&counter)) {
        cr_skip("there is no counter here");
    }
    uint64_t counts[2] = {0};
    for (unsigned i = 0; i < 2; i++) {
        counter_start(&counter);
        for (volatile unsigned loop = 0; loop < 1000000u * (i + 1u); loop++) {
        }
        if (!counter_stop(&counter, &counts[i])) {
            cr_skip("the counter is shared");
        }
    }
    counter_close(&counter);
    cr_expect(counts[0] > 1000000u && counts[1] > counts[0] + 1000000u);
}

/* --- workloads -------------------------------------------------------------------------------- */

Test(bench, what_no_other_allocator_knows_is_refused_with_its_line) {
    static const char text[] =
        "wmtrace 1\nregion SRAM 0x20004120 0x20028000 DEFAULT\nalloc 1 8 0\ncalloc 2 3 8 0\n";
    char path[] = "/tmp/test_bench.XXXXXX";
    int descriptor = mkstemp(path);
    cr_assert_eq(write(descriptor, text, sizeof text - 1), (ssize_t)(sizeof text - 1));
    close(descriptor);
    struct calls calls;
    struct trace_error error;
    cr_expect_not(calls_read(&calls, path, 0, &error));
    remove(path);
    cr_expect_not_null(strstr(error.text, ":4: calloc 2 3 8 0"), "%s", error.text);
}
