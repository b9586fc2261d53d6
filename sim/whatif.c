/* SPDX-License-Identifier: Apache-2.0 */
#include "whatif.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "workload.h"

#define STEP_BYTES 8u     /* a region's start is aligned to this */
#define LEAST_BYTES 1024u /* a heap smaller than this is none */

struct ask {
    const struct trace *base;
    const struct whatif_options *options;
    struct trace_error *error;
    uint8_t *must;      /* by event: does it have to succeed? */
    uint32_t *pointers; /* by event: what it returned in the run */
    uint32_t *freed;    /* by event: a freeaddr frees the block of this one, +1 */
    size_t runs;
};

/* One run, and what is noted during it. */
struct run {
    struct ask *ask;
    const struct heap_build *build;
    const struct trace *trace;
    struct whatif_failure failure;
    struct whatif_result *result; /* NULL: only whether it fits */
};

/* --- as the trace stands ---------------------------------------------------------------------- */

struct base_run {
    struct ask *ask;
    uint32_t *owner; /* by 8 bytes of memory: the event whose block begins there, +1 */
};

#define ONCHIP_BYTES (W800_DRAM_END - W800_SRAM_START)
#define OWNERS ((ONCHIP_BYTES + W800_PSRAM_BYTES_MAX) / 8u)

static uint32_t owner_index(uint32_t address) {
    if (address - W800_SRAM_START < ONCHIP_BYTES) {
        return (address - W800_SRAM_START) / 8u;
    }
    if (address - W800_PSRAM_START < W800_PSRAM_BYTES_MAX) {
        return (ONCHIP_BYTES + (address - W800_PSRAM_START)) / 8u;
    }
    return OWNERS;
}

/* Which requests must succeed, and whose block an address in a freeaddr means: on another
 * heap it lies elsewhere. */
static bool base_note(void *context, size_t index, uint32_t pointer) {
    struct base_run *run = context;
    const struct trace_event *event = &run->ask->base->events[index];
    if (workload_allocates(event)) {
        bool said = (event->has & TRACE_HAS_ADDRESS) != 0;
        run->ask->must[index] = said ? event->address != 0 : pointer != 0;
        /* later frees speak of the recorded address, if there is one */
        uint32_t place = owner_index(said ? event->address : pointer);
        if (place < OWNERS) {
            run->owner[place] = (uint32_t)index + 1;
        }
    } else if (event->kind == TRACE_FREEADDR && event->caps % 8 == 0) {
        uint32_t place = owner_index(event->caps);
        run->ask->freed[index] = place < OWNERS ? run->owner[place] : 0;
    }
    return true;
}

static bool base_run(struct ask *ask) {
    struct base_run run = {ask, calloc(OWNERS, sizeof *run.owner)};
    struct workload workload = {.trace = ask->base,
                                .psram_bytes = REPLAY_PSRAM_AS_TRACED,
                                .after = base_note,
                                .context = &run};
    bool good = run.owner != NULL;
    if (good) {
        good = workload_run(&workload, ask->error);
    } else {
        strcpy(ask->error->text, "out of memory");
    }
    free(run.owner);
    return good;
}

/* --- as it would be ------------------------------------------------------------------------------
 */

static void free_same_block(void *context, size_t index, struct trace_event *event) {
    const struct run *run = context;
    uint32_t owner = run->ask->freed[index];
    if (event->kind == TRACE_FREEADDR && owner != 0) {
        event->caps = run->ask->pointers[owner - 1];
    }
}

static void low_note(struct whatif_low *low, uint32_t free_bytes, size_t event) {
    if (free_bytes != low->free_bytes) {
        *low = (struct whatif_low){free_bytes, event};
    }
}

static bool is_served(const struct run *run, uint32_t caps) {
    const struct wm_heap_state *state = run->build->state;
    for (uint32_t i = 0; i < state->region_count; i++) {
        if (state->regions[i].state == WM_HEAP_REGION_OPEN &&
            (state->regions[i].lacks & caps) == 0) {
            return true;
        }
    }
    return false;
}

static void lows_note(const struct run *run, size_t event) {
    const struct wm_heap_state *state = run->build->state;
    struct whatif_result *result = run->result;
    low_note(&result->total, wm_heap_level_minimum(&state->total), event);
    for (uint32_t i = 0; i < run->trace->region_count; i++) {
        result->region_open[i] = state->regions[i].state == WM_HEAP_REGION_OPEN;
        low_note(&result->regions[i], wm_heap_level_minimum(&state->regions[i].level), event);
    }
    for (unsigned i = 0; i < WHATIF_PEAKS; i++) {
        struct whatif_peak *peak = &result->peaks[i];
        if (!is_served(run, peak->caps)) {
            continue;
        }
        wm_heap_cap_type_t caps = (wm_heap_cap_type_t)peak->caps;
        uint32_t free_bytes = (uint32_t)wm_heap_caps_get_free_size(caps);
        if (!peak->served || free_bytes < peak->low.free_bytes) {
            peak->served = true;
            peak->low = (struct whatif_low){free_bytes, event};
            peak->largest_request = workload_payload_bytes(
                run->build, (uint32_t)wm_heap_caps_get_largest_free_block(caps));
        }
    }
}

static bool run_note(void *context, size_t index, uint32_t pointer) {
    struct run *run = context;
    const struct trace_event *event = &run->trace->events[index];
    run->ask->pointers[index] = pointer;
    if (run->result != NULL) {
        lows_note(run, index + 1);
    }
    if (pointer != 0 || run->ask->must[index] == 0) {
        return true;
    }
    wm_heap_cap_type_t caps = (wm_heap_cap_type_t)event->caps;
    uint64_t size = event->size;
    run->failure = (struct whatif_failure){
        .event = index + 1,
        .size = event->kind == TRACE_CALLOC ? size * event->extra : size,
        .free_bytes = (uint32_t)wm_heap_caps_get_free_size(caps),
        .largest_request = workload_payload_bytes(
            run->build, (uint32_t)wm_heap_caps_get_largest_free_block(caps))};
    return false;
}

/* The trace on the heap asked about, with SRAM's heap from `sram_start` on. */
static bool run_once(struct ask *ask, uint32_t sram_start, struct run *run) {
    struct trace trace = *ask->base;
    trace.config = ask->options->config;
    for (uint32_t i = 0; i < trace.region_count; i++) {
        uint32_t start = ask->options->heap_start[i];
        if (strcmp(ask->base->regions[i].name, "SRAM") == 0) {
            trace.regions[i].start = sram_start;
        } else if (start != 0) {
            trace.regions[i].start = start;
        }
    }
    run->ask = ask;
    run->trace = &trace;
    run->build = heap_build_find(trace.config.tracing, trace.config.poisoning);
    run->failure = (struct whatif_failure){0};
    struct workload workload = {.trace = &trace,
                                .psram_bytes = ask->options->psram_bytes,
                                .before = free_same_block,
                                .after = run_note,
                                .context = run};
    memset(ask->pointers, 0, trace.event_count * sizeof *ask->pointers);
    if (ask->options->on_progress != NULL) {
        ask->options->on_progress(ask->options->context, ask->runs, 20);
    }
    ask->runs++;
    return workload_run(&workload, ask->error);
}

/* --- bisection
 * ------------------------------------------------------------------------------------- */

/* Both directions are one search: the highest start of SRAM's heap that fits, between one
 * that does and one that does not. First fit is no monotonous thing, so this is a border, and
 * usually the only one. */
static bool search(struct ask *ask, uint32_t good, uint32_t bad, uint32_t *highest,
                   struct whatif_failure *beyond) {
    while (bad - good > STEP_BYTES) {
        uint32_t middle = good + (bad - good) / 2 / STEP_BYTES * STEP_BYTES;
        struct run run = {0};
        if (!run_once(ask, middle, &run)) {
            return false;
        }
        if (run.failure.event == 0) {
            good = middle;
        } else {
            bad = middle;
            *beyond = run.failure;
        }
    }
    *highest = good;
    return true;
}

static bool headroom_find(struct ask *ask, uint32_t start, uint32_t end,
                          struct whatif_result *result) {
    uint32_t last = start;
    struct run run = {0};
    if (end - start > LEAST_BYTES) {
        last = start + (end - start - LEAST_BYTES) / STEP_BYTES * STEP_BYTES;
        if (!run_once(ask, last, &run)) {
            return false;
        }
    }
    uint32_t highest = last;
    result->beyond = run.failure;
    if (run.failure.event != 0 && !search(ask, start, last, &highest, &result->beyond)) {
        return false;
    }
    result->headroom = highest - start;
    return true;
}

/* From the lowest start that there is, or from the trace's own: more memory is not always
 * better for first fit. */
static bool lacking_find(struct ask *ask, uint32_t start, uint32_t traced,
                         struct whatif_result *result) {
    const uint32_t starts[] = {W800_SRAM_START + start % STEP_BYTES,
                               traced - traced % STEP_BYTES + start % STEP_BYTES};
    struct whatif_failure beyond;
    for (size_t i = 0; i < 2 && !result->curable; i++) {
        struct run run = {0};
        uint32_t highest = start;
        if (starts[i] >= start) {
            continue;
        }
        if (!run_once(ask, starts[i], &run)) {
            return false;
        }
        result->curable = run.failure.event == 0;
        if (result->curable && !search(ask, starts[i], start, &highest, &beyond)) {
            return false;
        }
        result->lacking = start - highest;
    }
    return true;
}

/* --- the question --------------------------------------------------------------------------------
 */

static bool starts_are_possible(const struct trace *trace, const struct whatif_options *options,
                                struct trace_error *error) {
    static const uint32_t memory_start[] = {W800_SRAM_START, W800_DRAM_START, W800_PSRAM_START};
    static const char *const names[] = {"SRAM", "DRAM", "PSRAM"};
    for (uint32_t i = 0; i < trace->region_count; i++) {
        const struct trace_region *region = &trace->regions[i];
        uint32_t start = options->heap_start[i];
        unsigned memory = 0;
        while (memory < 2 && strcmp(region->name, names[memory]) != 0) {
            memory++;
        }
        if (start != 0 && (start < memory_start[memory] || start >= region->end ||
                           region->end - start < LEAST_BYTES)) {
            snprintf(error->text, sizeof error->text,
                     "%s's heap cannot start at 0x%08" PRIx32 ": from 0x%08" PRIx32 " to %" PRIu32
                     " bytes before its end, 0x%08" PRIx32 ", it can",
                     region->name, start, memory_start[memory], LEAST_BYTES, region->end);
            return false;
        }
    }
    return true;
}

static bool ask_all(struct ask *ask, struct whatif_result *result) {
    const struct trace *trace = ask->base;
    uint32_t start = 0;
    uint32_t traced = 0;
    uint32_t end = 0;
    for (uint32_t i = 0; i < trace->region_count; i++) {
        if (strcmp(trace->regions[i].name, "SRAM") == 0) {
            traced = trace->regions[i].start;
            start = ask->options->heap_start[i];
            start = start != 0 ? start : traced;
            end = trace->regions[i].end;
            result->has_sram = true;
        }
    }
    struct run run = {.result = result};
    if (!run_once(ask, start, &run)) {
        return false;
    }
    result->failure = run.failure;
    result->fits = run.failure.event == 0;
    if (!result->has_sram) {
        return true;
    }
    return result->fits ? headroom_find(ask, start, end, result)
                        : lacking_find(ask, start, traced, result);
}

bool whatif_ask(const struct trace *trace, const struct whatif_options *options,
                struct whatif_result *result, struct trace_error *error) {
    size_t room = trace->event_count + 1;
    struct ask ask = {.base = trace,
                      .options = options,
                      .error = error,
                      .must = calloc(room, sizeof *ask.must),
                      .pointers = calloc(room, sizeof *ask.pointers),
                      .freed = calloc(room, sizeof *ask.freed)};
    *result = (struct whatif_result){.peaks = {{.caps = WM_HEAP_CAP_DEFAULT, .name = "DEFAULT"},
                                               {.caps = WM_HEAP_CAP_SHARED, .name = "SHARED"},
                                               {.caps = WM_HEAP_CAP_SPIRAM, .name = "SPIRAM"}}};
    bool good = starts_are_possible(trace, options, error);
    if (good && (ask.must == NULL || ask.pointers == NULL || ask.freed == NULL)) {
        strcpy(error->text, "out of memory");
        good = false;
    }
    good = good && base_run(&ask) && ask_all(&ask, result);
    free(ask.must);
    free(ask.pointers);
    free(ask.freed);
    return good;
}
