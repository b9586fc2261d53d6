/* SPDX-License-Identifier: Apache-2.0
 *
 * The allocators that are compared, behind one interface: each call of a workload costs all
 * of them the same indirect call, so what differs is the allocators' own.
 */
#ifndef BENCH_ALLOCATOR_H
#define BENCH_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trace.h"

/* Told the bytes of a hole. */
typedef void allocator_hole_fn(void *context, uint32_t bytes);

struct allocator {
    const char *name;
    bool exact;                       /* returns the SDK's addresses */
    bool (*open)(const char **lack);  /* once; false, and what is lacking, if it is not here */
    void (*reset)(void);              /* an empty heap again; NULL: blocks are to be freed singly */
    void (*append)(const char *name); /* a region joins; NULL: knows no regions */
    void *(*alloc)(size_t size, uint32_t caps); /* caps: as wm_heap_caps_alloc's */
    void *(*realloc)(void *old, size_t size, uint32_t caps);
    void (*free)(void *pointer);
    size_t (*block_bytes)(const void *pointer); /* what the live block takes, header included */
    void (*holes)(allocator_hole_fn *visit, void *context); /* NULL: cannot tell */
    void (*version)(char *text, size_t size);               /* NULL: this project's */
};

extern const struct allocator allocator_core; /* this project's, in the trace's build */
extern const struct allocator allocator_list; /* linear first fit: the cost of the SDK's way */
extern const struct allocator allocator_list_plain; /* without the SDK's list of live blocks */
extern const struct allocator allocator_glibc;
extern const struct allocator allocator_mimalloc;
extern const struct allocator allocator_nothing; /* what the loop around the calls costs */

/* The allocator of that name; NULL if there is none. */
const struct allocator *allocator_find(const char *name);
/* The names, with blanks between. */
const char *allocator_names(void);

/* Starts the simulated W800 that core and lists live in, as the trace's config and region lines
 * want it. Once, before any open. False with one line in *error. */
bool allocator_machine_start(const struct trace *trace, struct trace_error *error);

#endif
