/* SPDX-License-Identifier: Apache-2.0
 *
 * The golden traces: their addresses were returned by the SDK's own allocator, in all six
 * builds and several memory layouts. They decide: whatever else holds, a core that returns
 * one other address is wrong.
 */
#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>

#include "../sim/replay.h"
#include "../sim/trace.h"
#include "machine.h"

TestSuite(golden, .timeout = 60);

#define GOLDEN_TRACES 60u /* a missing one would go unnoticed otherwise */
#define FOLDER W800_SOURCE_DIR "/tests/golden/"

static glob_t golden_find(void) {
    glob_t found;
    cr_assert_eq(glob(FOLDER "*.trace", 0, NULL, &found), 0, "no traces in " FOLDER);
    return found;
}

static void trace_open(struct trace *trace, const char *path) {
    struct trace_error error;
    cr_assert(trace_read_file(trace, path, &error), "%s", error.text);
}

static struct replay_result run(const char *path, const struct trace *trace,
                                enum replay_check check) {
    struct replay_options options = {.check = check, .psram_bytes = REPLAY_PSRAM_AS_TRACED};
    struct replay_result result;
    struct trace_error error;
    cr_assert(replay_run(trace, &options, &result, &error), "%s: %s", path, error.text);
    return result;
}

Test(golden, all_sixty_are_here) {
    glob_t found = golden_find();
    cr_assert_geq(found.gl_pathc, GOLDEN_TRACES, "%zu traces in " FOLDER, found.gl_pathc);
    globfree(&found);
}

static bool has_append(const struct trace *trace) {
    for (size_t i = 0; i < trace->event_count; i++) {
        if (trace->events[i].kind == TRACE_APPEND) {
            return true;
        }
    }
    return false;
}

#define LAYOUTS 3u

Test(golden, every_build_and_three_layouts_with_and_without_psram_are_among_them) {
    bool seen[2][3] = {{false}};
    uint32_t starts[LAYOUTS] = {0};
    uint32_t layouts = 0;
    bool psram[2] = {false};
    glob_t found = golden_find();
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct trace trace;
        trace_open(&trace, found.gl_pathv[i]);
        seen[trace.config.tracing][trace.config.poisoning] = true;
        psram[has_append(&trace)] = true;
        uint32_t known = 0;
        while (known < layouts && starts[known] != trace.regions[0].start) {
            known++;
        }
        if (known == layouts && layouts < LAYOUTS) {
            starts[layouts++] = trace.regions[0].start;
        }
        trace_free(&trace);
    }
    globfree(&found);
    for (unsigned build = 0; build < HEAP_BUILDS; build++) {
        cr_expect(seen[build / 3][build % 3], "no trace with tracing %u, poisoning %u", build / 3,
                  build % 3);
    }
    cr_expect_eq(layouts, LAYOUTS);
    cr_expect(psram[false] && psram[true]);
}

Test(golden, every_address_and_every_expectation_matches) {
    glob_t found = golden_find();
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i];
        struct trace trace;
        trace_open(&trace, path);
        struct replay_result result = run(path, &trace, REPLAY_CHECK_FULL);
        const char *kind = result.fault_count > 0 ? result.faults[0].kind : "none";
        cr_expect(result.mismatches == 0 && result.fault_count == 0 &&
                      result.events == trace.event_count,
                  "%s: %zu of %zu events, %zu mismatches, the first at event %zu, %zu faults, the "
                  "first %s; wmheap replay %s",
                  path, result.events, trace.event_count, result.mismatches,
                  result.mismatches > 0 ? result.first.event : 0, result.fault_count, kind, path);
        replay_result_free(&result);
        trace_free(&trace);
    }
    globfree(&found);
}

Test(golden, reading_and_writing_gives_the_same_bytes) {
    glob_t found = golden_find();
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i];
        struct trace trace;
        trace_open(&trace, path);
        char *written = NULL;
        size_t written_bytes = 0;
        FILE *out = open_memstream(&written, &written_bytes);
        cr_assert(out != NULL && trace_write(&trace, out));
        fclose(out);
        FILE *in = fopen(path, "rb");
        cr_assert_not_null(in);
        char *original = malloc(written_bytes + 1);
        cr_assert_not_null(original);
        size_t original_bytes = fread(original, 1, written_bytes + 1, in);
        fclose(in);
        cr_expect(original_bytes == written_bytes && memcmp(original, written, written_bytes) == 0,
                  "%s comes back with other bytes", path);
        free(original);
        free(written);
        trace_free(&trace);
    }
    globfree(&found);
}

/* The judge is judged: one address of one event, off by the least that an address can be off,
 * is one mismatch at that event, at every depth that compares. */
Test(golden, one_wrong_address_is_one_mismatch_at_its_event) {
    static const enum replay_check depths[] = {REPLAY_CHECK_ADDRESSES, REPLAY_CHECK_MODEL,
                                               REPLAY_CHECK_FULL};
    glob_t found = golden_find();
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i];
        struct trace trace;
        trace_open(&trace, path);
        size_t event = i * 997 % trace.event_count;
        while ((trace.events[event].has & TRACE_HAS_ADDRESS) == 0) {
            event = (event + 1) % trace.event_count;
        }
        trace.events[event].address ^= 8;
        for (size_t d = 0; d < COUNT(depths); d++) {
            struct replay_result result = run(path, &trace, depths[d]);
            cr_expect(result.mismatches == 1 && result.first.event == event + 1 &&
                          replay_status(&result) == 1,
                      "%s: event %zu was made wrong; depth %u found %zu mismatches, the first at "
                      "event %zu",
                      path, event + 1, depths[d], result.mismatches, result.first.event);
            replay_result_free(&result);
        }
        trace_free(&trace);
    }
    globfree(&found);
}

/* Neither depth nor an early end changes what the core does. */
Test(golden, all_depths_end_with_the_same_heap) {
    glob_t found = golden_find();
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i];
        struct trace trace;
        trace_open(&trace, path);
        struct replay_result off = run(path, &trace, REPLAY_CHECK_OFF);
        struct replay_result full = run(path, &trace, REPLAY_CHECK_FULL);
        cr_expect(off.free_bytes == full.free_bytes && off.min_free_bytes == full.min_free_bytes &&
                      off.events == full.events,
                  "%s: free %" PRIu32 " unchecked, %" PRIu32 " checked", path, off.free_bytes,
                  full.free_bytes);
        replay_result_free(&off);
        replay_result_free(&full);
        trace_free(&trace);
    }
    globfree(&found);
}
