/* SPDX-License-Identifier: Apache-2.0 */
#include "workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay.h"

/* The SDK's functions by name, not its macros: call sites come from the trace. */
#undef wm_heap_caps_alloc
#undef wm_heap_caps_realloc

/* The smallest PSRAM that holds the trace's region; if the size is given, the region ends
 * where the chip does, as it does on a board, where the size is found at run time. */
static uint32_t fit_psram(struct w800_config *config, uint32_t psram_bytes) {
    uint32_t fitted = psram_bytes == REPLAY_PSRAM_AS_TRACED ? 0 : psram_bytes;
    for (uint32_t i = 0; i < config->region_count; i++) {
        struct wm_heap_region_config *region = &config->regions[i];
        if (region->start < W800_PSRAM_START) {
            continue;
        }
        if (psram_bytes == REPLAY_PSRAM_AS_TRACED) {
            for (fitted = 2u << 20; W800_PSRAM_START + fitted < region->end;) {
                fitted *= 2;
            }
        } else {
            uint32_t end = W800_PSRAM_START + fitted;
            region->end = region->start < end ? end : region->start;
            region->deferred |= region->start == region->end; /* it never joins */
        }
    }
    return fitted;
}

struct w800_config workload_machine(const struct trace *trace, uint32_t psram_bytes) {
    struct w800_config config = {
        .build = heap_build_find(trace->config.tracing, trace->config.poisoning),
        .region_count = trace->region_count,
        .realloc_in_place = trace->config.realloc_in_place,
    };
    for (uint32_t i = 0; i < trace->region_count; i++) {
        const struct trace_region *region = &trace->regions[i];
        config.regions[i] = (struct wm_heap_region_config){region->name, region->start, region->end,
                                                           region->caps, region->deferred};
    }
    config.psram_bytes = fit_psram(&config, psram_bytes);
    return config;
}

struct run {
    const struct workload *workload;
    uint32_t *pointers; /* of each variable */
    bool bad_region;    /* the core refused the table of regions */
};

static uint32_t run_allocation(struct run *run, const struct trace_event *event) {
    const struct trace *trace = run->workload->trace;
    const char *file = (event->has & TRACE_HAS_SITE) != 0 ? trace->names[event->site] : NULL;
    int line = (int)event->site_line;
    wm_heap_cap_type_t caps = (wm_heap_cap_type_t)event->caps;
    uint32_t *variable = &run->pointers[event->slot];
    uint32_t got = 0;
    switch (event->kind) {
    case TRACE_ALLOC:
        got = w800_address(wm_heap_caps_alloc_tracing(event->size, caps, file, line));
        break;
    case TRACE_CALLOC:
        got =
            w800_address(wm_heap_caps_calloc_tracing(event->extra, event->size, caps, file, line));
        break;
    case TRACE_ALIGNED:
        got = w800_address(
            wm_heap_caps_aligned_alloc_tracing(event->extra, event->size, caps, file, line));
        break;
    default:
        got = w800_address(
            wm_heap_caps_realloc_tracing(w800_pointer(*variable), event->size, caps, file, line));
        if (got == 0 && event->size != 0) {
            return 0; /* the old block stays */
        }
        break;
    }
    *variable = got;
    return got;
}

static uint32_t run_event(struct run *run, const struct trace_event *event) {
    const struct trace *trace = run->workload->trace;
    switch (event->kind) {
    case TRACE_ALLOC:
    case TRACE_CALLOC:
    case TRACE_ALIGNED:
    case TRACE_REALLOC:
        return run_allocation(run, event);
    case TRACE_FREE:
        wm_heap_caps_free(w800_pointer(run->pointers[event->slot]));
        run->pointers[event->slot] = 0;
        break;
    case TRACE_FREEADDR:
        wm_heap_caps_free(w800_pointer(event->caps));
        break;
    case TRACE_APPEND:
        wm_heap_append_to_heap(trace->names[event->extra]);
        break;
    case TRACE_FAIL:
        w800_fail_allocation(event->size, (event->has & TRACE_HAS_ON) != 0);
        break;
    default:
        break;
    }
    return 0;
}

static void run_all(struct run *run) {
    const struct workload *workload = run->workload;
    for (size_t i = 0; i < workload->trace->event_count; i++) {
        struct trace_event event = workload->trace->events[i];
        if (workload->before != NULL) {
            workload->before(workload->context, i, &event);
        }
        uint32_t got = run_event(run, &event);
        if (workload->after != NULL && !workload->after(workload->context, i, got)) {
            return;
        }
    }
}

/* Bad frees are part of the demand and change nothing; a refused region is the end. */
static void on_event(void *context, const struct w800_event *event) {
    struct run *run = context;
    if (event->kind == W800_EVENT_HEAP_FAULT && event->fault.kind == WM_HEAP_FAULT_BAD_REGION) {
        run->bad_region = true;
    }
}

bool workload_run(const struct workload *workload, struct trace_error *error) {
    struct run run = {.workload = workload,
                      .pointers = calloc(workload->trace->id_count + 1u, sizeof(uint32_t))};
    struct w800_config config = workload_machine(workload->trace, workload->psram_bytes);
    struct w800_error reason;
    if (run.pointers == NULL) {
        snprintf(error->text, sizeof error->text, "out of memory for %" PRIu32 " IDs",
                 workload->trace->id_count);
        return false;
    }
    if (!w800_start(&config, &reason)) {
        snprintf(error->text, sizeof error->text, "%s", reason.text);
        free(run.pointers);
        return false;
    }
    w800_on_event(on_event, &run);
    w800_on_print(NULL, NULL);
    wm_heap_init();
    if (run.bad_region) {
        snprintf(error->text, sizeof error->text,
                 "a region is too small for a block and the end marker, or overlaps another");
    } else {
        run_all(&run);
    }
    w800_stop();
    w800_on_event(NULL, NULL);
    free(run.pointers);
    return !run.bad_region;
}
