/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a trace on a simulated W800 and judges it: each result against the trace, each
 * state against the independent model, the heap against its own rules.
 */
#ifndef REPLAY_H
#define REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trace.h"
#include "w800.h"

enum replay_check {
    REPLAY_CHECK_OFF,       /* only run */
    REPLAY_CHECK_ADDRESSES, /* `= ADDR` and `expect` */
    REPLAY_CHECK_MODEL,     /* and each address and counter that the model predicts */
    REPLAY_CHECK_FULL,      /* and contents, touched blocks, regular walks over all */
};

#define REPLAY_PSRAM_AS_TRACED UINT32_MAX
#define REPLAY_WALK_EVENTS 4096u /* at full depth the whole heap is checked this often */

#define REPLAY_PRINT_STATS 1u
#define REPLAY_PRINT_TRACING 2u

struct replay_options {
    enum replay_check check;
    size_t stop_at;       /* last event to run, from 1; 0: all */
    unsigned print;       /* REPLAY_PRINT_ bits: console text that is wanted */
    uint32_t psram_bytes; /* fitted; REPLAY_PSRAM_AS_TRACED: what the trace's region needs */
    w800_print_fn *on_print;
    void (*on_progress)(void *context, size_t done, size_t all); /* now and then; may be NULL */
    void *context;                                               /* for both */
};

/* A fault: of the heap, of the machine, or found by an integrity check. */
struct replay_fault {
    const char *kind;
    size_t event;     /* number, from 1; event_count + 1: after the last */
    uint32_t address; /* the pointer or the place concerned */
    uint32_t block;   /* header of the block concerned or nearest, 0 if none */
    char site[128];   /* call site of that block, "" if unknown */
    uint32_t before;  /* pointer of the live block right before a smashed one: the likely
                       * culprit; 0 if there is none */
    char before_site[128];
    char reason[160]; /* which check failed, expected and found; "" if the kind says it all */
    bool by_check;    /* found by a check, not by a call */
    bool expected;    /* an `expect fault=` asked for it */
};

/* The first thing that is not as it must be. */
struct replay_mismatch {
    size_t event;
    const char *what;  /* "address", "free", ... */
    const char *judge; /* "trace", "model", "contents": who says so */
    uint32_t expected;
    uint32_t got;
    uint32_t place; /* address around which to look; 0: expected and got are addresses */
};

#define REPLAY_FAULTS_KEPT 4096u /* a trace may have a fault an event */

struct replay_result {
    size_t events; /* run */
    size_t mismatches;
    struct replay_mismatch first; /* valid if there are mismatches */
    struct replay_fault *faults;  /* the first of them */
    size_t faults_kept;
    size_t fault_count; /* all */
    size_t unexpected_faults;
    struct replay_fault unexpected; /* the first of those, if there are any */
    size_t moved;       /* blocks that realloc took out of DMA's reach (SDK defect 10) */
    size_t first_moved; /* event */
    bool stopped;       /* damage or a crash ended the run before the last event */
    uint32_t free_bytes;
    uint32_t min_free_bytes;
    char *picture; /* blocks around the first mismatch, or NULL */
};

/* Runs a trace from power-on to its last event. False with one line in *error if it cannot
 * be run: impossible regions, memory or addresses not to be had. The machine is stopped
 * again. Cost: O(log) an event, with the model O(holes); see the README for speeds. */
bool replay_run(const struct trace *trace, const struct replay_options *options,
                struct replay_result *result, struct trace_error *error);
void replay_result_free(struct replay_result *result);

/* 0: all as expected, 1: not. */
int replay_status(const struct replay_result *result);

#endif
