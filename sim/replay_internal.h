/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the replay share: replay.c runs events, replay_check.c judges states,
 * replay_report.c puts findings into words.
 */
#ifndef REPLAY_INTERNAL_H
#define REPLAY_INTERNAL_H

#include "model.h"
#include "replay.h"

#define REPLAY_RECENT 4u /* faults of one event that can be expected */

struct replay {
    const struct trace *trace;
    const struct replay_options *options;
    struct replay_result *result;
    const struct heap_build *build;
    struct model *model; /* NULL below REPLAY_CHECK_MODEL */
    uint32_t *pointers;  /* of each slot: what the program's variable holds */
    size_t index;        /* of the event that runs, from 0 */
    bool full;
    bool may_fail; /* a `fail` event was met: allocations are made to fail */
    bool out_of_memory;
    struct replay_fault recent[REPLAY_RECENT]; /* of one event; the last is the latest of all */
    size_t recent_count;
    size_t mismatch_event; /* last one counted, from 1, so that one event counts once */
};

/* replay_report.c */
void replay_fault_add(struct replay *replay, const struct w800_event *event);
/* The fault of a number from 0, if it is a recent one; NULL otherwise. */
struct replay_fault *replay_fault_recent(struct replay *replay, size_t number);
/* Marks the fault as expected: an event asked for it. */
void replay_fault_expected(struct replay *replay, size_t number);
/* No event will ask for the recent faults any more. */
void replay_faults_settle(struct replay *replay);
void replay_fault_found(struct replay *replay, const struct wm_heap_fault *fault);
void replay_mismatch_add(struct replay *replay, const struct replay_mismatch *mismatch);

/* replay_check.c; each may add a mismatch or a fault. */
void replay_check_counters(struct replay *replay);
void replay_check_block(struct replay *replay, uint32_t pointer);
void replay_check_freed(struct replay *replay, uint32_t pointer);
void replay_check_contents(struct replay *replay, uint32_t pointer);
void replay_check_all(struct replay *replay);

/* Can the processor look at this address without harm? Not at PSRAM while DMA works there. */
bool replay_can_look(uint32_t address);

#endif
