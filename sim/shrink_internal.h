/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of shrinking share: shrink_trial.c judges a candidate, shrink_pass.c makes
 * smaller ones, shrink_rebuild.c puts stand-ins for what only fills the heap, shrink.c has
 * the order of it all.
 */
#ifndef SHRINK_INTERNAL_H
#define SHRINK_INTERNAL_H

#include "shrink.h"

#define SHRINK_NONE 0xffffffffu

/* An event, and where it comes from. Relations name origins, not places, because places
 * change with each event that goes. */
struct shrink_item {
    struct trace_event event;
    uint32_t origin;   /* its number in the trace as it came, from 0; stand-ins: after those */
    uint32_t lifetime; /* origin of the allocation that gave its variable the value, or NONE */
    uint32_t bound;    /* origin of the allocation whose block event.caps points at, or NONE */
    uint32_t offset;   /* of event.caps from that block's pointer */
    uint32_t before;   /* of `expect fault=`: origin of the event that it looks at, or NONE */
    uint32_t unit;     /* what goes together in the pass that runs */
};

struct shrink {
    struct trace *trace; /* whose regions, names and configuration the candidates have */
    const struct shrink_options *options;
    struct shrink_failure failure;
    uint32_t failing; /* origin of the event that must fail, NONE: any */
    size_t events_before;

    struct shrink_item *items; /* the smallest that fails */
    size_t count;
    struct shrink_item *scratch; /* for candidates; as many */
    struct trace_event *events;  /* of the candidate that runs */
    size_t room;                 /* of the three */
    uint32_t *pointers;          /* by origin: where its block lies in the candidate */
    uint8_t *kept;               /* by origin: is it in the candidate? */
    uint32_t origins;            /* used so far */
    uint32_t origins_room;
    uint32_t slots; /* variables, those of stand-ins included */

    struct shrink_failure after;
    size_t replays;
    uint64_t spent; /* in events replayed, so that the same input gives the same output */
    uint64_t limit;
    bool failed; /* a replay could not be run: *error says why */
    struct trace_error *error;
};

/* shrink_trial.c */

/* Judges the candidate; if it fails the same way it becomes shrink->items, what comes after
 * the failing event left out. `items` may be shrink->scratch or shrink->items. */
bool shrink_try(struct shrink *shrink, const struct shrink_item *items, size_t count);
/* True if there is work left to spend. */
static inline bool shrink_may_go_on(const struct shrink *shrink) {
    return !shrink->failed && shrink->spent < shrink->limit;
}
/* Finds each item's relations; once, in the trace as it came. */
bool shrink_relate(struct shrink *shrink);

/* shrink_pass.c */

/* Leaves out what can be left out: whole lifetimes of variables, or single events. */
void shrink_lifetimes(struct shrink *shrink);
void shrink_events(struct shrink *shrink);
/* Makes numbers smaller; true if any became so. */
bool shrink_numbers(struct shrink *shrink);

/* shrink_rebuild.c */

/* Replaces what fills the heap by stand-ins; true if the result is smaller. */
bool shrink_rebuild(struct shrink *shrink);

#endif
