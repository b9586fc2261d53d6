/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest trace that still fails the same way. A trace from the field has tens of
 * thousands of events, of which a handful matter; whoever fixes the bug wants the handful.
 *
 * What fails is what `wmheap replay` says first: the first fault that no `expect` asked for,
 * or the first mismatch. "The same way" means:
 * - a fault: the same kind, and the same call sites of the block concerned and of the live
 *   block right before it (who wrote too far); where none was known, none is;
 * - a wrong address or counter: at the same event, the same value expected and the same
 *   value got. Otherwise any trace would do, since without the events before it nothing
 *   lies where the recording has it;
 * - an expected fault that did not come: the same `expect`, behind the same event;
 * - a disagreement of core and model: the same thing disagrees.
 * Every candidate is judged by a whole replay at full depth, so the result is right by
 * construction, whatever the strategy.
 */
#ifndef SHRINK_H
#define SHRINK_H

#include "replay.h"

struct shrink_failure {
    bool mismatch;     /* else a fault */
    const char *what;  /* kind of fault, or "address", "free", ... */
    const char *judge; /* of a mismatch; NULL of a fault */
    size_t event;      /* number, from 1; one past the last: found at the end */
    uint32_t address;  /* of a fault */
    char site[128];    /* of a fault's block, "" if unknown */
    char before_site[128];
    uint32_t expected; /* of a mismatch */
    uint32_t got;
    bool by_check;
};

struct shrink_options {
    void (*on_progress)(void *context, size_t done, size_t all); /* events gone; may be NULL */
    void *context;
};

struct shrink_report {
    size_t events_before;
    size_t events_after;
    size_t replays;                /* it took this many */
    struct shrink_failure failure; /* of the trace as it came */
    struct shrink_failure after;   /* of the result */
};

enum shrink_outcome {
    SHRINK_DONE,
    SHRINK_NOTHING, /* it replays as expected */
    SHRINK_UNUSABLE /* with a line in *error */
};

/* What a replay shows first; false if all is as expected. */
bool shrink_failure_find(const struct replay_result *result, struct shrink_failure *failure);

/* Shrinks *trace: events go, sizes, counts, lengths and offsets become smaller, the rest of
 * the events keep their order. Expectations that are not what fails go, since they speak of
 * another heap now. Addresses in freeaddr, writeaddr, readaddr, flip and dma follow the block
 * that they hit. Where only the full heap makes the failure, blocks and holes that nobody
 * names are replaced by stand-ins, one allocation for many blocks. IDs are numbered anew;
 * comments stay with what they stand at or behind. The same input gives the same output.
 * Cost: 20,000 events take about a second; the work is bounded. */
enum shrink_outcome shrink_trace(struct trace *trace, const struct shrink_options *options,
                                 struct shrink_report *report, struct trace_error *error);

#endif
