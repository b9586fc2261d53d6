/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a trace on the host's core and on the same core compiled for C-SKY, and compares what
 * the two did, event by event and byte by byte (sim/crosscheck_run.h says what is compared).
 */
#ifndef CROSSCHECK_H
#define CROSSCHECK_H

#include "trace.h"
#include "w800.h"

enum crosscheck_engine { CROSSCHECK_INTERPRETER, CROSSCHECK_QEMU };

/* The dearest event is a print of all live blocks, whose cost grows with their square. */
#define CROSSCHECK_PATIENCE 4000u

struct crosscheck_options {
    const struct heap_build *build;
    enum crosscheck_engine engine;
    const char *programs; /* folder that holds crosscheck-none, crosscheck-trace, ... */
    size_t stop_at;       /* last event to run, from 1; 0: all */
    uint32_t patience;    /* millions of instructions that one event may take */
};

struct crosscheck_result {
    bool equal;
    size_t events;    /* run, or up to the first one that differs */
    size_t event;     /* first difference: after this one, the two were not equal; 0: after init */
    const char *what; /* "result", "reports", "memory", "state", "end": the first of them */
    uint32_t address; /* of the word of memory that differs first, if any does; else 0 */
    uint32_t host;    /* that word, or result */
    uint32_t csky;
    char *text; /* both sides decoded, in lines; NULL if equal */
};

/* False with one line in *error if it cannot be run: no program, no emulator, impossible
 * regions. Cost: two runs of the trace, and some twenty more to find a difference. */
bool crosscheck_trace(const struct trace *trace, const struct crosscheck_options *options,
                      struct crosscheck_result *result, struct trace_error *error);
void crosscheck_result_free(struct crosscheck_result *result);

/* The emulator's program for QEMU: $QEMU_CSKY, or qemu-cskyv2 on the PATH; the caller frees
 * it. NULL if there is none. */
char *crosscheck_find_qemu(void);

#endif
