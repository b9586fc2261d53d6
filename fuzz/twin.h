/* SPDX-License-Identifier: Apache-2.0
 *
 * A program's calls made on the core and on the reference model at once, and every answer
 * compared: the address, the counters and the free bytes after each call; block sizes, all
 * sums, contents and integrity when asked. The first difference ends the process.
 */
#ifndef TWIN_H
#define TWIN_H

#include "../sim/model.h"
#include "arena.h"
#include "program.h"

struct twin {
    struct program_head head;
    const struct heap_build *build;
    const struct wm_heap_region_config *regions;
    struct model *model;
    struct wm_heap_counters expected;
    uint32_t pointers[PROGRAM_SLOTS]; /* 0: null */
    uint32_t stale[PROGRAM_SLOTS];    /* what stood there last */
    uint32_t born[PROGRAM_SLOTS];     /* number of the block's allocation */
    uint32_t line[PROGRAM_SLOTS];     /* of its latest call site */
    uint32_t call;                    /* number, from 1: also the line of its call site */
    uint32_t fail_in;                 /* allocations up to the failing one, 0: none */
    bool fail_on;
    uint32_t events; /* seen in this call, reallocs that left their memory excepted */
    struct w800_event last;
    uint32_t failures; /* told to the callback in this call */
    size_t failed_size;
    uint32_t printed; /* bytes of console text in this call */
    uint32_t costly;  /* whole checks and prints, so far */
    FILE *trace;      /* NULL: none is written */
};

/* The models are made once, for all builds and layouts. */
void twin_open(void);

/* Resets machine and model. The callbacks are the twin's until the next start. */
void twin_start(struct twin *twin, const struct program_head *head, FILE *trace);

/* One call. A SMASH looks at its block: this heap is never smashed. */
void twin_call(struct twin *twin, const struct program_call *call);

/* Everything: sizes for all capabilities, every block, all contents, integrity. */
void twin_check(struct twin *twin);

/* The end: the same, before and after all blocks are freed, and nothing was written outside. */
void twin_finish(struct twin *twin);

/* What the largest hole for these capabilities holds, by the model. */
uint32_t twin_border(const struct twin *twin, uint32_t caps);

/* The file of all call sites, and what is passed for this call: NULL and 0 if it is untraced. */
extern const char twin_site[];
static inline const char *twin_file(const struct twin *twin) {
    return twin->head.untraced ? NULL : twin_site;
}
static inline int twin_line(const struct twin *twin) {
    return twin->head.untraced ? 0 : (int)twin->call;
}

/* The core's calls, with or without a call site. */
void *twin_alloc(const struct twin *twin, uint64_t size, uint32_t caps);
void *twin_realloc(const struct twin *twin, void *old, uint64_t size, uint32_t caps);

#endif
