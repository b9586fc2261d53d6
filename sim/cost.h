/* SPDX-License-Identifier: Apache-2.0
 *
 * What a trace's calls cost on the chip's CPU, in instructions: the core compiled for C-SKY,
 * called function by function on the interpreter, each call counted from its first instruction
 * through its return. Nothing but the core and its port runs; the port's functions are empty.
 */
#ifndef COST_H
#define COST_H

#include "builds.h"
#include "trace.h"

/* Figures are instructions a call; the locks' are those between lock's return and the unlock
 * that ends the outermost section, both excluded. */
struct cost_figures {
    size_t calls;
    double mean;
    uint32_t p99; /* 99 of 100 calls took no more */
    uint32_t max;
    size_t max_event; /* the first event that took so much */
    uint32_t lock_max;
};

struct cost_result {
    struct cost_figures all;
    struct cost_figures alloc;
    struct cost_figures free;
    size_t mismatches; /* addresses other than the trace's; looked for in its own build only */
    size_t first_event;
    uint32_t first_expected;
    uint32_t first_got;
    char crash[256]; /* how the program crashed, or "" */
};

/* Counts the last so many allocs and frees of the trace; SIZE_MAX: all. False with one line in
 * *error if it cannot be run. Cost: the instructions, at the
 * interpreter's speed. */
bool cost_trace(const struct trace *trace, const struct heap_build *build, const char *programs,
                size_t last, struct cost_result *result, struct trace_error *error);

#endif
