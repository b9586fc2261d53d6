/* SPDX-License-Identifier: Apache-2.0
 *
 * `whatif`: small workloads whose answer can be counted by hand, and for the golden traces
 * the border itself: at the headroom everything fits, eight bytes further it does not.
 */
#include <criterion/criterion.h>
#include <glob.h>
#include <inttypes.h>
#include <string.h>

#include "../sim/whatif.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

TestSuite(whatif, .timeout = 60);

/* SRAM holds 8,192 bytes, DRAM 4,096; without tracing a header has 16 bytes. */
#define HEAD                                                                                       \
    "wmtrace 1\nconfig tracing=n poisoning=none\n"                                                 \
    "region SRAM 0x20026000 0x20028000 DEFAULT|INTERNAL|EXEC\n"                                    \
    "region DRAM 0x20028000 0x20029000 DEFAULT|INTERNAL|SHARED\n"
#define PSRAM "region PSRAM 0x30000000 0x30800000 SPIRAM deferred\n"

static struct whatif_options options_of(const struct trace *trace) {
    return (struct whatif_options){.config = trace->config, .psram_bytes = REPLAY_PSRAM_AS_TRACED};
}

static void trace_of(const char *text, struct trace *trace) {
    struct trace_error error;
    cr_assert(trace_read_memory(trace, text, strlen(text), "text", &error), "%s", error.text);
}

static struct whatif_result ask(const struct trace *trace, const struct whatif_options *options) {
    struct whatif_result result;
    struct trace_error error;
    cr_assert(whatif_ask(trace, options, &result, &error), "%s", error.text);
    return result;
}

Test(whatif, options_and_boards_change_the_answer) {
    static const struct {
        const char *name, *text;
        bool tracing;
        enum trace_poisoning poisoning;
        uint32_t psram_bytes, sram_start;
        size_t fails_at;
    } rows[] = {
        {"as it stands", HEAD "alloc 1 8160 EXEC\n", false, TRACE_POISONING_NONE,
         REPLAY_PSRAM_AS_TRACED, 0, 0},
        {"headers with call sites", HEAD "alloc 1 8160 EXEC\n", true, TRACE_POISONING_NONE,
         REPLAY_PSRAM_AS_TRACED, 0, 1},
        {"canaries", HEAD "alloc 1 8 EXEC\nalloc 2 8120 EXEC\n", false, TRACE_POISONING_LIGHT,
         REPLAY_PSRAM_AS_TRACED, 0, 2},
        {"a larger .bss", HEAD "alloc 1 4000 EXEC\nfree 1\nalloc 2 4096 EXEC\n", false,
         TRACE_POISONING_NONE, REPLAY_PSRAM_AS_TRACED, 0x20027008, 3},
        {"a .bss that just fits", HEAD "alloc 1 4000 EXEC\nfree 1\nalloc 2 4056 EXEC\n", false,
         TRACE_POISONING_NONE, REPLAY_PSRAM_AS_TRACED, 0x20027008, 0},
        {"no PSRAM", HEAD PSRAM "append PSRAM\nalloc 1 1 SPIRAM\n", false, TRACE_POISONING_NONE, 0,
         0, 2},
        {"less PSRAM", HEAD PSRAM "append PSRAM\nalloc 1 3000000 SPIRAM\n", false,
         TRACE_POISONING_NONE, 2u << 20, 0, 2},
        {"enough PSRAM", HEAD PSRAM "append PSRAM\nalloc 1 3000000 SPIRAM\n", false,
         TRACE_POISONING_NONE, 4u << 20, 0, 0},
        {"a failure that was always there", HEAD "alloc 1 9000 DEFAULT\nalloc 2 8 DEFAULT\n", true,
         TRACE_POISONING_NONE, REPLAY_PSRAM_AS_TRACED, 0, 0},
        {"a failure that was recorded", HEAD "alloc 1 8160 EXEC = 0x00000000\n", true,
         TRACE_POISONING_NONE, REPLAY_PSRAM_AS_TRACED, 0, 0},
        {"what was recorded as served", HEAD "alloc 1 9000 DEFAULT = 0x20026010\n", false,
         TRACE_POISONING_NONE, REPLAY_PSRAM_AS_TRACED, 0, 1},
        {"an injected failure", HEAD "fail 1\nalloc 1 8 EXEC\nalloc 2 8 EXEC\n", true,
         TRACE_POISONING_NONE, REPLAY_PSRAM_AS_TRACED, 0, 0},
        {"other addresses", HEAD "alloc 1 8 EXEC = 0x20026010\nexpect free=5\nwrite 1 0 99 0\n",
         true, TRACE_POISONING_LIGHT, REPLAY_PSRAM_AS_TRACED, 0, 0},
        {"a free by address",
         HEAD "alloc 1 8 EXEC\nalloc 2 5000 EXEC\nfreeaddr 0x20026028\nalloc 3 5000 EXEC\n", true,
         TRACE_POISONING_NONE, REPLAY_PSRAM_AS_TRACED, 0, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trace trace;
        trace_of(rows[i].text, &trace);
        struct whatif_options options = options_of(&trace);
        options.config.tracing = rows[i].tracing;
        options.config.poisoning = rows[i].poisoning;
        options.psram_bytes = rows[i].psram_bytes;
        options.heap_start[0] = rows[i].sram_start;
        struct whatif_result result = ask(&trace, &options);
        cr_expect(
            result.failure.event == rows[i].fails_at && result.fits == (rows[i].fails_at == 0),
            "%s: fails at %zu, not %zu", rows[i].name, result.failure.event, rows[i].fails_at);
        trace_free(&trace);
    }
}

Test(whatif, the_lowest_moments_are_told_with_what_could_still_be_had) {
    struct trace trace;
    trace_of(HEAD PSRAM "alloc 1 1000 DEFAULT\nalloc 2 4000 DEFAULT\nfree 1\n"
                        "alloc 3 2000 SHARED\nfree 2\nappend PSRAM\nalloc 4 8 SPIRAM\n",
             &trace);
    struct whatif_options options = options_of(&trace);
    struct whatif_result result = ask(&trace, &options);
    cr_assert(result.fits);
    /* SRAM: 8,192 - 16 of the end marker - 1,016 - 4,016; the hole is smaller than the rest */
    cr_expect_eq(result.regions[0].free_bytes, 3144);
    cr_expect_eq(result.regions[0].event, 2);
    cr_expect_eq(result.regions[1].free_bytes, 4096 - 16 - 2016);
    cr_expect_eq(result.regions[1].event, 4);
    const struct whatif_peak *all = &result.peaks[0];
    cr_expect(all->low.free_bytes == 3144 + 1016 + 4080 - 2016 && all->low.event == 4 &&
                  all->largest_request == 3144 - 16,
              "%" PRIu32 " at %zu, %" PRIu32, all->low.free_bytes, all->low.event,
              all->largest_request);
    cr_expect_eq(result.peaks[1].largest_request, 4080 - 2016 - 16);
    cr_expect(result.peaks[2].served && result.peaks[2].low.event == 7);
    trace_free(&trace);
}

Test(whatif, what_lacks_is_counted) {
    struct trace trace;
    trace_of(HEAD "alloc 1 8160 EXEC\n", &trace);
    struct whatif_options options = options_of(&trace);
    struct whatif_result result = ask(&trace, &options);
    cr_expect(result.fits && result.headroom == 0 && result.beyond.event == 1, "%" PRIu32,
              result.headroom);
    options.heap_start[0] = 0x20026808;
    result = ask(&trace, &options);
    cr_expect(!result.fits && result.curable && result.lacking == 0x808, "%" PRIu32,
              result.lacking);
    cr_expect_eq(result.failure.largest_request, 8160 - 0x808);
    trace_free(&trace);
    trace_of(HEAD "alloc 1 200000 EXEC = 0x20026010\n", &trace);
    options = options_of(&trace);
    result = ask(&trace, &options);
    cr_expect(!result.fits && !result.curable);
    trace_free(&trace);
}

Test(whatif, questions_without_sense_are_refused) {
    static const uint32_t starts[] = {0x20000000 - 8, 0x20028000, 0x20027fff, 1};
    struct trace trace;
    trace_of(HEAD "alloc 1 8 EXEC\n", &trace);
    for (size_t i = 0; i < COUNT(starts); i++) {
        struct whatif_options options = options_of(&trace);
        struct whatif_result result;
        struct trace_error error;
        options.heap_start[0] = starts[i];
        cr_expect_not(whatif_ask(&trace, &options, &result, &error));
        cr_expect(strchr(error.text, '\n') == NULL && strstr(error.text, "SRAM") != NULL);
    }
    trace_free(&trace);
}

Test(whatif, the_headroom_is_the_border) {
    glob_t found;
    cr_assert_eq(glob(W800_SOURCE_DIR "/tests/golden/*-trace.trace", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct trace trace;
        struct trace_error error;
        cr_assert(trace_read_file(&trace, found.gl_pathv[i], &error), "%s", error.text);
        struct whatif_options options = options_of(&trace);
        struct whatif_result result = ask(&trace, &options);
        cr_expect(result.fits, "%s: as recorded it fits", found.gl_pathv[i]);
        options.heap_start[0] = trace.regions[0].start + result.headroom;
        struct whatif_result border = ask(&trace, &options);
        cr_expect(border.fits && (border.headroom == 0 || result.beyond.event == 0), "%s: %" PRIu32,
                  found.gl_pathv[i], border.headroom);
        if (result.beyond.event != 0) {
            options.heap_start[0] += 8;
            border = ask(&trace, &options);
            cr_expect(border.failure.event == result.beyond.event && border.curable,
                      "%s: event %zu, not %zu", found.gl_pathv[i], border.failure.event,
                      result.beyond.event);
            options.heap_start[0] -= border.lacking;
            cr_expect(ask(&trace, &options).fits, "%s: %" PRIu32, found.gl_pathv[i],
                      border.lacking);
        }
        trace_free(&trace);
    }
    globfree(&found);
}
