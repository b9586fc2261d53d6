/* SPDX-License-Identifier: Apache-2.0
 *
 * The replay's engine: one function an event, each a call on the simulated machine, the
 * same call on the model, and a comparison. What the trace says is done even where it is
 * wrong, since that is what is to be reproduced.
 */
#include "replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay_internal.h"
#include "workload.h"

/* The SDK's functions by name, not its macros: call sites come from the trace. */
#undef wm_heap_caps_alloc
#undef wm_heap_caps_realloc

static const char *name_of(const struct replay *replay, uint32_t index) {
    return index == TRACE_NO_SLOT ? NULL : replay->trace->names[index];
}

static const char *site_of(const struct replay *replay, const struct trace_event *event) {
    return (event->has & TRACE_HAS_SITE) != 0 ? replay->trace->names[event->site] : NULL;
}

static void mismatch(struct replay *replay, const char *what, const char *judge, uint32_t expected,
                     uint32_t got, uint32_t place) {
    struct replay_mismatch found = {replay->index + 1, what, judge, expected, got, place};
    replay_mismatch_add(replay, &found);
}

/* Compares the pointer that a call returned with the trace's and the model's. */
static void judge_pointer(struct replay *replay, const struct trace_event *event, uint32_t got,
                          uint32_t predicted) {
    if (replay->options->check >= REPLAY_CHECK_ADDRESSES && (event->has & TRACE_HAS_ADDRESS) != 0 &&
        event->address != got) {
        mismatch(replay, "address", "trace", event->address, got, 0);
    }
    /* of a call that met damage nobody predicts the result */
    if (replay->model != NULL && predicted != got && !replay->result->stopped) {
        mismatch(replay, "address", "model", predicted, got, 0);
    }
}

/* Was the allocation that just ran made to fail? Then the model must not see it. */
static bool was_injected(const struct replay *replay, uint32_t failed_before) {
    return replay->may_fail && w800_failed_allocations() != failed_before;
}

/* The program fills its new bytes, so that each block's contents are known. */
static void fill(struct replay *replay, uint32_t pointer, uint32_t from, uint32_t size) {
    if (!replay->full || pointer == 0 || from >= size || !replay_can_look(pointer)) {
        return;
    }
    const uint8_t *bytes = model_fill(replay->model, pointer, from, size - from);
    if (bytes != NULL) {
        memcpy(w800_pointer(pointer + from), bytes, size - from);
    }
}

static void run_alloc(struct replay *replay, const struct trace_event *event) {
    uint32_t failed = w800_failed_allocations();
    void *memory = wm_heap_caps_alloc_tracing(event->size, (wm_heap_cap_type_t)event->caps,
                                              site_of(replay, event), (int)event->site_line);
    uint32_t got = w800_address(memory);
    uint32_t predicted = 0;
    if (replay->model != NULL && !was_injected(replay, failed)) {
        predicted = model_alloc(replay->model, event->size, event->caps);
    }
    replay->pointers[event->slot] = got;
    judge_pointer(replay, event, got, predicted);
    fill(replay, got, 0, event->size);
    replay_check_block(replay, got);
}

static void run_calloc(struct replay *replay, const struct trace_event *event) {
    uint32_t failed = w800_failed_allocations();
    uint64_t bytes = (uint64_t)event->extra * event->size;
    void *memory =
        wm_heap_caps_calloc_tracing(event->extra, event->size, (wm_heap_cap_type_t)event->caps,
                                    site_of(replay, event), (int)event->site_line);
    uint32_t got = w800_address(memory);
    uint32_t predicted = 0;
    if (replay->model != NULL && !was_injected(replay, failed)) {
        predicted = model_alloc(replay->model, bytes, event->caps);
        if (predicted != 0) {
            model_store(replay->model, predicted, (uint32_t)bytes, 0);
        }
    }
    replay->pointers[event->slot] = got;
    judge_pointer(replay, event, got, predicted);
    replay_check_block(replay, got);
}

static void run_aligned(struct replay *replay, const struct trace_event *event) {
    uint32_t failed = w800_failed_allocations();
    void *memory = wm_heap_caps_aligned_alloc_tracing(
        event->extra, event->size, (wm_heap_cap_type_t)event->caps, site_of(replay, event),
        (int)event->site_line);
    uint32_t got = w800_address(memory);
    uint32_t predicted = 0;
    if (replay->model != NULL && !was_injected(replay, failed)) {
        predicted = model_aligned_alloc(replay->model, event->extra, event->size, event->caps);
    }
    replay->pointers[event->slot] = got;
    judge_pointer(replay, event, got, predicted);
    fill(replay, got, 0, event->size);
    replay_check_block(replay, got);
}

static void run_realloc(struct replay *replay, const struct trace_event *event) {
    uint32_t old = replay->pointers[event->slot];
    uint32_t failed = w800_failed_allocations();
    if (old != 0) {
        replay_check_contents(replay, old);
    }
    void *memory = wm_heap_caps_realloc_tracing(w800_pointer(old), event->size,
                                                (wm_heap_cap_type_t)event->caps,
                                                site_of(replay, event), (int)event->site_line);
    uint32_t got = w800_address(memory);
    uint32_t predicted = 0;
    if (replay->model != NULL && !was_injected(replay, failed)) {
        predicted = model_realloc(replay->model, old, event->size, event->caps);
    }
    if (got != 0 || event->size == 0) {
        replay->pointers[event->slot] = got;
    }
    judge_pointer(replay, event, got, predicted);
    if (replay->full && got != 0) {
        uint32_t kept;
        replay_check_contents(replay, got);
        model_contents(replay->model, got, &kept);
        fill(replay, got, kept, event->size);
        replay_check_block(replay, got);
    }
    if (got != old && (got != 0 || event->size == 0)) {
        replay_check_freed(replay, old);
    }
}

/* The fault that freeing this pointer must give; NULL for none. */
static const char *predicted_fault(struct replay *replay, uint32_t pointer) {
    switch (model_free(replay->model, pointer)) {
    case MODEL_DOUBLE:
        return replay->build->fault_name(WM_HEAP_FAULT_DOUBLE_FREE);
    case MODEL_INTERIOR:
        return replay->build->fault_name(WM_HEAP_FAULT_INTERIOR_POINTER);
    case MODEL_FOREIGN:
        return replay->build->fault_name(WM_HEAP_FAULT_FOREIGN_POINTER);
    case MODEL_FREED:
    case MODEL_NOTHING:
        break;
    }
    return NULL;
}

static void free_pointer(struct replay *replay, uint32_t pointer) {
    size_t faults = replay->result->fault_count;
    replay_check_contents(replay, pointer);
    wm_heap_caps_free(w800_pointer(pointer));
    if (replay->model == NULL) {
        return;
    }
    const char *predicted = predicted_fault(replay, pointer);
    bool faulted = replay->result->fault_count != faults;
    if (replay->result->stopped) {
        return; /* damage: nobody predicts how it shows */
    }
    const struct replay_fault *fault = faulted ? replay_fault_recent(replay, faults) : NULL;
    if (faulted != (predicted != NULL) || (fault != NULL && strcmp(fault->kind, predicted) != 0)) {
        mismatch(replay, "outcome of free", "model", predicted != NULL, faulted, pointer);
    }
    replay_check_freed(replay, pointer);
}

static void run_free(struct replay *replay, const struct trace_event *event) {
    uint32_t pointer = replay->pointers[event->slot];
    if (pointer != 0) {
        free_pointer(replay, pointer);
    }
    replay->pointers[event->slot] = 0;
}

static void run_freeaddr(struct replay *replay, const struct trace_event *event) {
    free_pointer(replay, event->caps);
}

static void run_append(struct replay *replay, const struct trace_event *event) {
    const char *name = name_of(replay, event->extra);
    bool joined = wm_heap_append_to_heap(name) == WM_ERR_SUCCESS;
    if (replay->model != NULL && model_append(replay->model, name) != joined) {
        mismatch(replay, "outcome of append", "model", !joined, joined, 0);
    }
}

/* `expect fault=KIND` looks at what the event before it reported. */
static void expect_fault(struct replay *replay, const char *kind) {
    const struct replay_fault *fault;
    for (size_t i = replay->result->fault_count;
         i > 0 && (fault = replay_fault_recent(replay, i - 1)) != NULL; i--) {
        if (fault->event == replay->index && !fault->expected && strcmp(fault->kind, kind) == 0) {
            replay_fault_expected(replay, i - 1);
            return;
        }
    }
    mismatch(replay, "fault", "trace", 1, 0, 0);
}

static void run_expect(struct replay *replay, const struct trace_event *event) {
    if (replay->options->check < REPLAY_CHECK_ADDRESSES) {
        return;
    }
    uint32_t free_bytes = (uint32_t)wm_heap_get_free_size();
    uint32_t min_free = (uint32_t)wm_heap_get_minimum_ever_free_size();
    if ((event->has & TRACE_HAS_FREE) != 0 && event->size != free_bytes) {
        mismatch(replay, "free", "trace", event->size, free_bytes, 0);
    }
    if ((event->has & TRACE_HAS_MIN_FREE) != 0 && event->caps != min_free) {
        mismatch(replay, "min_free", "trace", event->caps, min_free, 0);
    }
    if ((event->has & TRACE_HAS_FAULT) != 0) {
        expect_fault(replay, replay->trace->names[event->extra]);
    }
}

/* The program may use a null pointer: a trap on the chip, and nothing for a sanitizer of ours. */
#define AS_THE_PROGRAM __attribute__((no_sanitize("undefined")))

/* Where a store may trap it goes upwards byte by byte, so that on every host the same bytes
 * are stored before the same address traps; memset has an order of its own. Addresses wrap
 * at 4 GiB, as the chip's do. */
AS_THE_PROGRAM static void store(uint32_t address, uint32_t length, uint8_t byte) {
    if (w800_is_memory(address, length) && replay_can_look(address)) {
        memset(w800_pointer(address), byte, length);
        return;
    }
    for (uint32_t i = 0; i < length; i++) {
        volatile uint8_t *at = w800_pointer(address + i);
        *at = byte;
    }
}

/* The program's stores. Those through a pointer belong to its block as far as they stay in
 * it; what they hit behind it is somebody else's loss, so the model does not learn of it. */
static void run_write(struct replay *replay, const struct trace_event *event) {
    uint32_t pointer = replay->pointers[event->slot];
    int64_t offset = (int32_t)event->caps;
    uint32_t address = pointer + event->caps;
    struct model_block block;
    store(address, event->size, (uint8_t)event->extra);
    if (replay->full && model_find(replay->model, pointer, &block) && block.live && offset >= 0 &&
        offset < block.requested) {
        uint32_t room = block.requested - (uint32_t)offset;
        model_store(replay->model, address, event->size < room ? event->size : room,
                    (uint8_t)event->extra);
    }
}

static void run_writeaddr(struct replay *replay, const struct trace_event *event) {
    store(event->caps, event->size, (uint8_t)event->extra);
    if (replay->full) {
        model_store(replay->model, event->caps, event->size, (uint8_t)event->extra);
    }
}

AS_THE_PROGRAM static void run_readaddr(struct replay *replay, const struct trace_event *event) {
    (void)replay;
    for (uint32_t i = 0; i < event->size; i++) {
        const volatile uint8_t *at = w800_pointer(event->caps + i);
        (void)*at;
    }
}

static void run_flip(struct replay *replay, const struct trace_event *event) {
    (void)replay;
    w800_flip_bit(event->caps, event->extra);
}

static void run_fail(struct replay *replay, const struct trace_event *event) {
    replay->may_fail = true;
    w800_fail_allocation(event->size, (event->has & TRACE_HAS_ON) != 0);
}

static void run_dma(struct replay *replay, const struct trace_event *event) {
    (void)replay;
    if ((event->has & TRACE_HAS_STOP) != 0) {
        w800_dma_stop(event->extra);
    } else {
        w800_dma_start(event->extra, event->caps, event->size);
    }
}

static void run_init(struct replay *replay, const struct trace_event *event) {
    (void)replay;
    (void)event;
    wm_heap_init();
}

static void run_check(struct replay *replay, const struct trace_event *event) {
    const char *name = name_of(replay, event->extra);
    struct wm_heap_fault fault;
    for (uint32_t i = 0; i < replay->trace->region_count; i++) {
        const struct trace_region *region = &replay->trace->regions[i];
        if ((name == NULL || strcmp(name, region->name) == 0) && replay_can_look(region->start) &&
            !replay->build->check(i, &fault)) {
            replay_fault_found(replay, &fault);
        }
    }
}

static void run_stats(struct replay *replay, const struct trace_event *event) {
    (void)event;
    if ((replay->options->print & REPLAY_PRINT_STATS) != 0) {
        wm_heap_print_stats();
    }
}

static void run_tracing(struct replay *replay, const struct trace_event *event) {
    (void)event;
    if ((replay->options->print & REPLAY_PRINT_TRACING) != 0) {
        wm_heap_print_tracing(NULL);
    }
}

typedef void run_fn(struct replay *replay, const struct trace_event *event);
static run_fn *const run_event[TRACE_EVENT_KINDS] = {
    [TRACE_APPEND] = run_append, [TRACE_ALLOC] = run_alloc,         [TRACE_REALLOC] = run_realloc,
    [TRACE_FREE] = run_free,     [TRACE_FREEADDR] = run_freeaddr,   [TRACE_EXPECT] = run_expect,
    [TRACE_CALLOC] = run_calloc, [TRACE_ALIGNED] = run_aligned,     [TRACE_INIT] = run_init,
    [TRACE_WRITE] = run_write,   [TRACE_WRITEADDR] = run_writeaddr, [TRACE_READADDR] = run_readaddr,
    [TRACE_FLIP] = run_flip,     [TRACE_FAIL] = run_fail,           [TRACE_DMA] = run_dma,
    [TRACE_CHECK] = run_check,   [TRACE_STATS] = run_stats,         [TRACE_TRACING] = run_tracing,
};

/* After damage or a crash only what the trace expects of it is still looked at: the board
 * would not run on either. */
static void run_expectation(struct replay *replay) {
    const struct trace *trace = replay->trace;
    if (replay->index + 1 < trace->event_count) {
        const struct trace_event *event = &trace->events[replay->index + 1];
        if (event->kind == TRACE_EXPECT && (event->has & TRACE_HAS_FAULT) != 0) {
            replay->index++;
            expect_fault(replay, replay->trace->names[event->extra]);
            replay->result->events++;
        }
    }
}

/* How often progress is told: one event may take milliseconds (a store of 8 MiB, a check of
 * 100,000 blocks), and asking the clock this often costs nothing beside the events. */
#define PROGRESS_EVENTS 64u

static void run_events(void *context) {
    struct replay *replay = context;
    size_t last = replay->trace->event_count;
    if (replay->options->stop_at != 0 && replay->options->stop_at < last) {
        last = replay->options->stop_at;
    }
    for (; replay->index < last; replay->index++) {
        const struct trace_event *event = &replay->trace->events[replay->index];
        replay->result->events++;
        run_event[event->kind](replay, event);
        if (replay->result->stopped) {
            return;
        }
        replay_check_counters(replay);
        if (replay->full && (replay->index + 1) % REPLAY_WALK_EVENTS == 0) {
            replay_check_all(replay);
        }
        if ((replay->index + 1) % PROGRESS_EVENTS == 0 && replay->options->on_progress != NULL) {
            replay->options->on_progress(replay->options->context, replay->index + 1, last);
        }
    }
}

/* The end of a run that was not cut short by damage. */
static void run_end(void *context) {
    struct replay *replay = context;
    if (replay->full) {
        replay_check_all(replay);
    }
    if ((replay->options->print & REPLAY_PRINT_STATS) != 0) {
        wm_heap_print_stats();
    }
    if ((replay->options->print & REPLAY_PRINT_TRACING) != 0) {
        wm_heap_print_tracing(NULL);
    }
}

static void on_event(void *context, const struct w800_event *event) {
    replay_fault_add(context, event);
}

static bool start_machine(struct replay *replay, struct trace_error *error) {
    struct w800_config config = workload_machine(replay->trace, replay->options->psram_bytes);
    struct w800_error reason;
    if (!w800_start(&config, &reason)) {
        snprintf(error->text, sizeof error->text, "%.*s", (int)sizeof reason.text, reason.text);
        return false;
    }
    if (replay->options->check < REPLAY_CHECK_MODEL) {
        return true;
    }
    struct model_region regions[MODEL_REGIONS_MAX];
    uint32_t region_count = 0;
    for (uint32_t i = 0; i < config.region_count; i++) {
        const struct wm_heap_region_config *row = &config.regions[i];
        if (row->start < row->end || !row->deferred) { /* no PSRAM is fitted there */
            regions[region_count++] =
                (struct model_region){row->name, row->start, row->end, row->caps, row->deferred};
        }
    }
    struct model_config model = {
        .tracing = replay->build->tracing,
        .poisoned = replay->build->poisoned,
        .comprehensive = replay->build->comprehensive,
        .realloc_in_place = config.realloc_in_place,
    };
    replay->model = model_create(&model, regions, region_count);
    if (replay->model == NULL) {
        snprintf(error->text, sizeof error->text,
                 "a region is too small for a block and the end marker, PSRAM is the only one and "
                 "not fitted, or memory is short");
        w800_stop();
        return false;
    }
    return true;
}

bool replay_run(const struct trace *trace, const struct replay_options *options,
                struct replay_result *result, struct trace_error *error) {
    struct replay replay = {
        .trace = trace,
        .options = options,
        .result = result,
        .build = heap_build_find(trace->config.tracing, trace->config.poisoning),
        .full = options->check == REPLAY_CHECK_FULL,
        .pointers = calloc(trace->id_count + 1u, sizeof(uint32_t)),
    };
    *result = (struct replay_result){0};
    if (replay.pointers == NULL) {
        snprintf(error->text, sizeof error->text, "out of memory for %" PRIu32 " IDs",
                 trace->id_count);
        return false;
    }
    if (!start_machine(&replay, error)) {
        free(replay.pointers);
        return false;
    }
    w800_on_event(on_event, &replay);
    w800_on_print(options->on_print, options->context);
    wm_heap_init();
    bool usable = result->fault_count == 0;
    if (usable) {
        w800_guard(run_events, &replay);
        if (result->stopped) {
            run_expectation(&replay);
        } else {
            w800_guard(run_end, &replay);
        }
        result->free_bytes = (uint32_t)wm_heap_get_free_size();
        result->min_free_bytes = (uint32_t)wm_heap_get_minimum_ever_free_size();
    } else {
        snprintf(error->text, sizeof error->text,
                 "a region is too small for a block and the end marker, or overlaps another");
    }
    replay_faults_settle(&replay);
    w800_stop();
    w800_on_event(NULL, NULL);
    w800_on_print(NULL, NULL);
    model_destroy(replay.model);
    free(replay.pointers);
    if (usable && replay.out_of_memory) {
        snprintf(error->text, sizeof error->text, "out of memory");
        usable = false;
    }
    return usable;
}

void replay_result_free(struct replay_result *result) {
    free(result->faults);
    free(result->picture);
    *result = (struct replay_result){0};
}

int replay_status(const struct replay_result *result) {
    return result->mismatches != 0 || result->unexpected_faults != 0;
}
