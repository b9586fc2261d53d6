/* SPDX-License-Identifier: Apache-2.0
 *
 * What fails in a trace, as far as a test must know it.
 */
#include <string.h>

#include "emit_internal.h"
#include "workload.h"

struct owner {
    struct emit *emit;
    const struct trace *trace;
    const struct heap_build *build;
};

/* The block in which the place lies when the failing event comes. */
static bool owner_note(void *context, size_t index, uint32_t pointer) {
    struct owner *owner = context;
    struct emit *emit = owner->emit;
    struct wm_heap_block block;
    const struct trace_event *event = &owner->trace->events[index];
    if (pointer != 0 && owner->build->get_block(w800_pointer(pointer), &block) &&
        emit->place - pointer < block.size) {
        bool same = event->kind == TRACE_REALLOC && emit->slot == event->slot;
        emit->origin = same ? emit->origin : index;
        emit->slot = event->slot;
        emit->offset = emit->place - pointer;
    }
    return index + 2 < emit->failure.event;
}

/* Unless the program stored there itself, the test's own filling is what must be there. */
static void contents_expected(struct emit *emit) {
    bool zeroed = emit->trace->events[emit->origin].kind == TRACE_CALLOC;
    uint32_t expected = zeroed ? 0 : STAND_IN_BYTE;
    for (size_t i = emit->origin + 1; i + 1 < emit->failure.event; i++) {
        const struct trace_event *event = &emit->trace->events[i];
        bool in_block = event->kind == TRACE_WRITE && event->slot == emit->slot &&
                        emit->offset - event->caps < event->size;
        bool by_address = event->kind == TRACE_WRITEADDR && emit->place - event->caps < event->size;
        expected = in_block || by_address ? event->extra : expected;
    }
    emit->failure.expected = expected;
}

bool emit_judge(struct emit *emit, struct trace_error *error) {
    const struct trace *trace = emit->trace;
    struct replay_options options = {.check = REPLAY_CHECK_FULL,
                                     .psram_bytes = REPLAY_PSRAM_AS_TRACED};
    struct replay_result result;
    if (!replay_run(trace, &options, &result, error)) {
        return false;
    }
    emit->fails = shrink_failure_find(&result, &emit->failure);
    emit->ends_damaged = result.stopped && !emit->fails;
    emit->ends_at = emit->ends_damaged ? result.events : trace->event_count;
    emit->place = result.first.place;
    replay_result_free(&result);
    if (!emit->fails || !emit->failure.mismatch || strcmp(emit->failure.judge, "trace") == 0) {
        return true;
    }
    const char *what = emit->failure.what;
    if (strcmp(what, "contents") == 0) {
        struct owner owner = {emit, trace,
                              heap_build_find(trace->config.tracing, trace->config.poisoning)};
        struct workload workload = {.trace = trace,
                                    .psram_bytes = REPLAY_PSRAM_AS_TRACED,
                                    .after = owner_note,
                                    .context = &owner};
        emit->slot = TRACE_NO_SLOT;
        if (!workload_run(&workload, error)) {
            return false;
        }
        if (emit->slot != TRACE_NO_SLOT) {
            contents_expected(emit);
            return true;
        }
    }
    if (strcmp(what, "address") == 0 || strcmp(what, "free") == 0 ||
        strcmp(what, "min_free") == 0) {
        return true;
    }
    snprintf(error->text, sizeof error->text,
             "core and model disagree at event %zu about: %s; no call would show it",
             emit->failure.event, what);
    return false;
}
