/* SPDX-License-Identifier: Apache-2.0 */
#include "calls.h"

#include <stdio.h>
#include <stdlib.h>

/* False: no event of a workload. */
static bool call_of(const struct trace_event *event, struct call *call) {
    *call = (struct call){.slot = event->slot, .size = event->size, .caps = event->caps};
    switch (event->kind) {
    case TRACE_ALLOC:
        call->kind = CALL_ALLOC;
        return true;
    case TRACE_REALLOC:
        call->kind = CALL_REALLOC;
        return true;
    case TRACE_FREE:
        call->kind = CALL_FREE;
        return true;
    case TRACE_APPEND:
        call->kind = CALL_APPEND;
        call->slot = event->extra;
        return true;
    default:
        return false;
    }
}

static bool calls_take(struct calls *calls, const char *path, struct trace_error *error) {
    for (size_t i = 0; i < calls->trace.event_count; i++) {
        const struct trace_event *event = &calls->trace.events[i];
        if (event->kind == TRACE_EXPECT) {
            continue;
        }
        if (!call_of(event, &calls->list[calls->count])) {
            char text[128];
            trace_format_event(&calls->trace, event, text, sizeof text);
            snprintf(error->text, sizeof error->text,
                     "%.200s:%u: %s: no allocator but ours knows it", path, event->line_number,
                     text);
            return false;
        }
        calls->events[calls->count++] = i;
    }
    if (calls->count == 0 || calls->list[calls->count - 1u].kind == CALL_APPEND) {
        snprintf(error->text, sizeof error->text, "%.200s: no calls, or none at the end", path);
        return false;
    }
    return true;
}

bool calls_read(struct calls *calls, const char *path, size_t last, struct trace_error *error) {
    *calls = (struct calls){.count = 0};
    if (!trace_read_file(&calls->trace, path, error)) {
        return false;
    }
    calls->list = calloc(calls->trace.event_count + 1u, sizeof *calls->list);
    calls->events = calloc(calls->trace.event_count + 1u, sizeof *calls->events);
    /* an append's "pointer" is none, but its slot is looked at */
    calls->pointers = calloc(calls->trace.id_count + calls->trace.name_count + 1u, sizeof(void *));
    if (calls->list == NULL || calls->events == NULL || calls->pointers == NULL) {
        snprintf(error->text, sizeof error->text, "%.200s: out of memory", path);
        calls_free(calls);
        return false;
    }
    if (!calls_take(calls, path, error)) {
        calls_free(calls);
        return false;
    }
    for (; calls->list[calls->first].kind == CALL_APPEND; calls->first++) {
    }
    if (last != 0 && last < calls->count - calls->first) {
        calls->first = calls->count - last;
    }
    return true;
}

void calls_free(struct calls *calls) {
    free(calls->list);
    free(calls->events);
    free(calls->pointers);
    trace_free(&calls->trace);
    *calls = (struct calls){.count = 0};
}

void calls_begin(const struct allocator *allocator) {
    if (allocator->reset != NULL) {
        allocator->reset();
    }
}

void calls_end(struct calls *calls, const struct allocator *allocator) {
    for (uint32_t slot = 0; slot < calls->trace.id_count; slot++) {
        if (calls->pointers[slot] != NULL && allocator->reset == NULL) {
            allocator->free(calls->pointers[slot]);
        }
        calls->pointers[slot] = NULL;
    }
}

__attribute__((noinline)) void calls_make(struct calls *calls, const struct allocator *allocator,
                                          size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        call_make(allocator, &calls->list[i], calls);
    }
}

__attribute__((noinline)) void calls_make_measured(struct calls *calls,
                                                   const struct allocator *allocator) {
    calls_make(calls, allocator, calls->first, calls->count);
}
