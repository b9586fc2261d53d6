/* SPDX-License-Identifier: Apache-2.0
 *
 * A workload: the calls of a trace, ready to be made as fast as an allocator takes them.
 */
#ifndef BENCH_CALLS_H
#define BENCH_CALLS_H

#include "allocator.h"
#include "trace.h"

enum call_kind { CALL_ALLOC, CALL_REALLOC, CALL_FREE, CALL_APPEND, CALL_KINDS };

struct call {
    enum call_kind kind;
    uint32_t slot; /* of the program's pointer; of an append the name's index */
    uint32_t size;
    uint32_t caps;
};

struct calls {
    struct trace trace;
    struct call *list;
    size_t count;
    size_t *events;  /* of each call its index in the trace */
    size_t first;    /* from here on calls are measured; those before build the heap up */
    void **pointers; /* of the program, by slot */
};

/* Reads a trace ("-": standard input); what it expects is left out. `last` calls are measured, 0:
 * all but the appends in front. False with one line in *error; other events than alloc, realloc,
 * free and append are refused, for most allocators have no answer to them. */
bool calls_read(struct calls *calls, const char *path, size_t last, struct trace_error *error);
void calls_free(struct calls *calls);

/* An empty heap, before the first call; and no pointers, after the last. */
void calls_begin(const struct allocator *allocator);
void calls_end(struct calls *calls, const struct allocator *allocator);

/* Makes the calls from `from` up to and without `to`. Not inlined, so that a profiler can
 * count from its first instruction to its last. */
void calls_make(struct calls *calls, const struct allocator *allocator, size_t from, size_t to);
/* The measured ones: a function of its own, for callgrind's --toggle-collect. */
void calls_make_measured(struct calls *calls, const struct allocator *allocator);

/* One call. A free of no pointer, and an append where there are no regions, is none. */
static inline void call_make(const struct allocator *allocator, const struct call *call,
                             const struct calls *calls) {
    void **pointer = &calls->pointers[call->slot];
    switch (call->kind) {
    case CALL_ALLOC:
        *pointer = allocator->alloc(call->size, call->caps);
        break;
    case CALL_FREE:
        if (*pointer != NULL) {
            allocator->free(*pointer);
            *pointer = NULL;
        }
        break;
    case CALL_REALLOC: {
        void *resized = allocator->realloc(*pointer, call->size, call->caps);
        if (resized != NULL || call->size == 0) {
            *pointer = resized;
        }
        break;
    }
    case CALL_APPEND:
    default:
        if (allocator->append != NULL) {
            allocator->append(calls->trace.names[call->slot]);
        }
        break;
    }
}

#endif
