/* SPDX-License-Identifier: Apache-2.0
 *
 * What the converters share: a trace under construction (convert_trace.c), and a plan of the
 * heap that the trace has built so far (convert_plan.c).
 */
#ifndef CONVERT_INTERNAL_H
#define CONVERT_INTERNAL_H

#include "convert.h"

/* A block in the plan. */
struct span {
    uint32_t address; /* of the header */
    uint32_t want;    /* whole block as asked for */
    uint32_t size;    /* with the slack that it got */
    uint32_t request; /* bytes asked for; 0: all that the block holds */
    uint32_t caps;    /* 0: not known */
    uint32_t name;    /* index into trace.names; TRACE_NO_SLOT: not known */
    uint32_t line;
    uint32_t slot;
    bool supposed; /* stands for blocks nobody saw */
    bool passing;  /* a filler that goes when the block it is for has its place */
};

struct area {
    uint32_t start; /* 8-aligned */
    uint32_t end;   /* the end marker */
    uint32_t caps;
    uint32_t region; /* index into trace.regions */
    bool open;
    struct span *spans; /* by address */
    size_t count;
    size_t room;
};

struct convert {
    struct trace *trace;
    size_t event_room, comment_room, comment_length, comment_text_room;
    uint32_t id_room, name_room;
    struct convert_report *report;
    uint32_t header;
    uint32_t guard;
    uint32_t split; /* a larger remainder becomes a block of its own */
    uint32_t smallest;
    struct area areas[TRACE_REGIONS_MAX];
    uint32_t area_count;
    uint64_t budget; /* blocks that may still be moved out of the way and put back */
    bool failed;     /* memory is short: everything else does nothing from then on */
};

/* --- convert_trace.c: appends to the trace ---------------------------------------------------- */

/* Config and regions must be in the trace before the first event or comment. */
void build_event(struct convert *convert, const struct trace_event *event);
uint32_t build_slot(struct convert *convert);
uint32_t build_name(struct convert *convert, const char *text); /* a new one each time */
/* One line, without newline; `# ` is put before it, and what a trace cannot hold replaced. */
void build_comment(struct convert *convert, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Stores of the program: runs of equal bytes become one event each. */
void build_bytes(struct convert *convert, uint32_t address, const uint8_t *bytes, uint32_t length);

/* --- convert_plan.c ----------------------------------------------------------------------------
 */

/* Takes config and regions from the trace. */
void plan_begin(struct convert *convert);
void plan_end(struct convert *convert);

struct area *plan_area(struct convert *convert, uint32_t address);
uint32_t plan_want(const struct convert *convert, uint32_t request); /* whole block's bytes */
void plan_open(struct convert *convert, struct area *area); /* `append`, unless it is open */

/* The block that lies exactly at, or NULL. Valid until the plan changes. */
struct span *plan_find(struct convert *convert, uint32_t address);
/* The block in which an address lies, or NULL. */
struct span *plan_cover(struct convert *convert, uint32_t address);
/* Lets a hole begin at `address`: frees what covers it, fills the hole up to there. */
void plan_hole(struct convert *convert, uint32_t address);
/* Where a request would be served now; 0: nowhere. */
uint32_t plan_predict(const struct convert *convert, uint32_t caps, uint32_t want);

/* Puts sorted blocks into an area in which nothing lies from the first of them on. */
void plan_build(struct convert *convert, struct area *area, const struct span *wanted,
                size_t count);

/* Puts one block at its address, whatever must go or come before. With `evidence` an
 * allocator chose this address: lower holes that would have served it cannot have been free,
 * and stay filled. Returns its slot; TRACE_NO_SLOT if it cannot lie there. */
uint32_t plan_place(struct convert *convert, const struct span *wanted, bool evidence);

/* What becomes of a block that is resized where it lies; 0: it cannot be. */
uint32_t plan_resized(const struct convert *convert, const struct span *span, uint32_t caps,
                      uint32_t want);

void plan_free(struct convert *convert, struct span *span);   /* with an event */
void plan_remove(struct convert *convert, struct span *span); /* without one */
/* A block that an event of the caller's has just made. */
void plan_add(struct convert *convert, const struct span *span);

/* What the hole that holds `address` leaves behind a block of `want` bytes there decides. */
uint32_t plan_size(const struct convert *convert, uint32_t address, uint32_t want);

#endif
