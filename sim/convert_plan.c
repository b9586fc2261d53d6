/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts blocks where they are wanted with nothing but alloc and free of a first-fit heap.
 *
 * Blocks in address order, holes between them filled by a block of their own and freed in
 * the end: each request then finds all that is lower taken, and gets the lower end of the
 * region's rest.
 *
 *     | A | hole | B |          alloc A, alloc filler, alloc B, free filler
 *
 * A block ends exactly where it is wanted to if what is left behind it can stand alone
 * (more than two headers) or is nothing. Behind it is the whole rest of the region, so this
 * fails only within two headers of the end marker, where no heap can have such a border
 * either: a border comes into being only while more than two headers are free behind it.
 *
 * The same works in a heap that has blocks already: free what lies from that address on,
 * put it back with the newcomer among it.
 */
#include <stdlib.h>
#include <string.h>

#include "convert_internal.h"

#define MOVES_FREE 200000u /* blocks that may be moved aside, whatever the report's length */

static uint32_t align_up(uint32_t value) { return (value + 7u) & ~7u; }

void plan_begin(struct convert *convert) {
    const struct trace *trace = convert->trace;
    bool poisoned = trace->config.poisoning != TRACE_POISONING_NONE;
    convert->header = 16u + (trace->config.tracing ? 8u : 0u) + (poisoned ? 8u : 0u);
    convert->guard = trace->config.poisoning == TRACE_POISONING_COMPREHENSIVE ? 4u : 0u;
    convert->split = 2u * convert->header;
    convert->smallest = align_up(1u + convert->header + convert->guard);
    convert->budget = MOVES_FREE;
    convert->area_count = trace->region_count;
    for (uint32_t i = 0; i < trace->region_count; i++) {
        const struct trace_region *region = &trace->regions[i];
        convert->areas[i] = (struct area){
            .start = align_up(region->start),
            .end = (region->end - convert->header) & ~7u,
            .caps = region->caps,
            .region = i,
            .open = !region->deferred,
        };
    }
}

void plan_end(struct convert *convert) {
    for (uint32_t i = 0; i < convert->area_count; i++) {
        free(convert->areas[i].spans);
    }
}

struct area *plan_area(struct convert *convert, uint32_t address) {
    for (uint32_t i = 0; i < convert->area_count; i++) {
        struct area *area = &convert->areas[i];
        if (address >= area->start && address < area->end) {
            return area;
        }
    }
    return NULL;
}

uint32_t plan_want(const struct convert *convert, uint32_t request) {
    uint32_t most = 0x40000000u; /* more than there is of any memory */
    return request < most ? align_up(request + convert->header + convert->guard) : most;
}

void plan_open(struct convert *convert, struct area *area) {
    if (!area->open) {
        area->open = true;
        uint32_t name = build_name(convert, convert->trace->regions[area->region].name);
        build_event(convert, &(struct trace_event){
                                 .kind = TRACE_APPEND, .slot = TRACE_NO_SLOT, .extra = name});
    }
}

/* --- the spans of an area ------------------------------------------------------------- */

/* The first span at `address` or behind it. */
static size_t span_place(const struct area *area, uint32_t address) {
    size_t low = 0;
    for (size_t high = area->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (area->spans[middle].address < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint32_t span_end(const struct span *span) { return span->address + span->size; }

struct span *plan_find(struct convert *convert, uint32_t address) {
    struct area *area = plan_area(convert, address);
    size_t place = area != NULL ? span_place(area, address) : 0;
    bool found = area != NULL && place < area->count && area->spans[place].address == address;
    return found ? &area->spans[place] : NULL;
}

struct span *plan_cover(struct convert *convert, uint32_t address) {
    struct area *area = plan_area(convert, address);
    size_t place = area != NULL ? span_place(area, address + 1u) : 0;
    if (area == NULL || place == 0) {
        return NULL;
    }
    struct span *span = &area->spans[place - 1];
    return address - span->address < span->size ? span : NULL;
}

uint32_t plan_predict(const struct convert *convert, uint32_t caps, uint32_t want) {
    caps = caps == 0 ? 1u : caps; /* DEFAULT */
    for (uint32_t i = 0; i < convert->area_count; i++) {
        const struct area *area = &convert->areas[i];
        if (!area->open || (area->caps & caps) != caps) {
            continue;
        }
        uint32_t hole = area->start;
        for (size_t k = 0; k < area->count; k++) {
            if (area->spans[k].address - hole >= want) {
                return hole;
            }
            hole = span_end(&area->spans[k]);
        }
        if (area->end - hole >= want) {
            return hole;
        }
    }
    return 0;
}

/* The hole around `address`, which no span holds. */
static void hole_around(const struct area *area, uint32_t address, uint32_t *from, uint32_t *to) {
    size_t place = span_place(area, address);
    *from = place > 0 ? span_end(&area->spans[place - 1]) : area->start;
    *to = place < area->count ? area->spans[place].address : area->end;
}

uint32_t plan_size(const struct convert *convert, uint32_t address, uint32_t want) {
    for (uint32_t i = 0; i < convert->area_count; i++) {
        const struct area *area = &convert->areas[i];
        if (address >= area->start && address < area->end) {
            uint32_t from;
            uint32_t to;
            hole_around(area, address, &from, &to);
            uint32_t rest = to - address - want;
            return rest > convert->split ? want : want + rest;
        }
    }
    return want;
}

uint32_t plan_resized(const struct convert *convert, const struct span *span, uint32_t caps,
                      uint32_t want) {
    const struct area *area = &convert->areas[0];
    while (span->address < area->start || span->address >= area->end) {
        area++; /* the block lies in one of them */
    }
    size_t behind = span_place(area, span->address) + 1u;
    uint32_t end = behind < area->count ? area->spans[behind].address : area->end;
    uint32_t room = end - span->address;
    if ((area->caps & caps) != caps) {
        return 0;
    }
    if (want > span->size) {
        return room < want ? 0 : room - want > convert->split ? want : room;
    }
    return span->size - want > convert->split ? want : span->size;
}

void plan_add(struct convert *convert, const struct span *span) {
    struct area *area = plan_area(convert, span->address);
    if (area == NULL || convert->failed) {
        return;
    }
    if (area->count == area->room) {
        size_t room = area->room == 0 ? 64 : area->room * 2;
        struct span *spans = realloc(area->spans, room * sizeof *spans);
        if (spans == NULL) {
            convert->failed = true;
            return;
        }
        area->spans = spans;
        area->room = room;
    }
    size_t place = span_place(area, span->address);
    memmove(&area->spans[place + 1], &area->spans[place],
            (area->count++ - place) * sizeof *area->spans);
    area->spans[place] = *span;
}

void plan_remove(struct convert *convert, struct span *span) {
    struct area *area = plan_area(convert, span->address);
    if (area != NULL) {
        size_t place = (size_t)(span - area->spans);
        memmove(span, span + 1, (--area->count - place) * sizeof *span);
    }
}

/* --- events --------------------------------------------------------------------------- */

static void emit_free(struct convert *convert, const struct span *span) {
    build_event(convert, &(struct trace_event){.kind = TRACE_FREE, .slot = span->slot});
}

void plan_free(struct convert *convert, struct span *span) {
    emit_free(convert, span);
    plan_remove(convert, span);
}

/* The block's own capabilities, if a request with them is tried here first of all. */
static uint32_t caps_for(const struct convert *convert, const struct area *area,
                         const struct span *span) {
    for (uint32_t i = 0; span->caps != 0 && i < convert->area_count; i++) {
        const struct area *tried = &convert->areas[i];
        if (tried->open && (tried->caps & span->caps) == span->caps) {
            return tried == area ? span->caps : area->caps;
        }
    }
    return area->caps;
}

/* Emits the alloc of a block that the heap will put at its address, and notes it. */
static uint32_t emit_alloc(struct convert *convert, const struct span *wanted, uint32_t caps) {
    struct span span = *wanted;
    uint32_t whole = span.want - convert->header - convert->guard;
    bool known = span.request != 0 && plan_want(convert, span.request) == span.want;
    span.size = plan_size(convert, span.address, span.want);
    span.slot = build_slot(convert);
    struct trace_event event = {
        .kind = TRACE_ALLOC,
        .has = TRACE_HAS_ADDRESS,
        .slot = span.slot,
        .size = known ? span.request : whole,
        .caps = caps,
        .address = span.address + convert->header,
    };
    if (span.name != TRACE_NO_SLOT) {
        event.has |= TRACE_HAS_SITE;
        event.site = span.name;
        event.site_line = span.line;
    }
    build_event(convert, &event);
    plan_add(convert, &span);
    return span.slot;
}

static void emit_filler(struct convert *convert, struct area *area, uint32_t from, uint32_t to,
                        bool passing) {
    struct span filler = {
        .address = from,
        .want = to - from,
        .name = TRACE_NO_SLOT,
        .supposed = !passing,
        .passing = passing,
    };
    convert->report->supposed += !passing;
    emit_alloc(convert, &filler, area->caps);
}

/* Fills the holes below `below` that a request of `least` bytes would take. */
static void fill_below(struct convert *convert, struct area *area, uint32_t below, uint32_t least,
                       bool passing) {
    uint32_t hole = area->start;
    for (size_t i = 0; !convert->failed && i <= area->count && hole < below; i++) {
        uint32_t end = i < area->count ? area->spans[i].address : area->end;
        if (end <= below && end - hole >= least) {
            emit_filler(convert, area, hole, end, passing); /* now it is span i */
        }
        if (i < area->count) {
            hole = span_end(&area->spans[i]);
        }
    }
}

/* Frees the fillers that were for a time only. */
static void fillers_free(struct convert *convert, struct area *area) {
    size_t kept = 0;
    for (size_t i = 0; i < area->count; i++) {
        if (area->spans[i].passing) {
            emit_free(convert, &area->spans[i]);
        } else {
            area->spans[kept++] = area->spans[i];
        }
    }
    area->count = kept;
}

/* --- placing -------------------------------------------------------------------------- */

/* May the region be cut at `border`? */
static bool border_is_possible(const struct convert *convert, const struct area *area,
                               uint32_t border) {
    return border == area->end || (border < area->end && area->end - border > convert->split);
}

/* Puts the next block behind all others; `cursor` is where they end. Returns where it ends. */
static uint32_t build_one(struct convert *convert, struct area *area, const struct span *wanted,
                          const struct span *next, uint32_t cursor) {
    struct span span = *wanted;
    uint32_t gap = span.address - cursor;
    uint32_t end = span.address + span.want;
    if (span.address < cursor || span.address % 8u != 0 || span.want % 8u != 0 ||
        span.want < convert->smallest || end > area->end || end < span.address ||
        (gap != 0 && gap < convert->smallest) || !border_is_possible(convert, area, span.address)) {
        convert->report->unplaced++;
        return cursor;
    }
    /* What is too small for a block of its own was this one's slack. */
    uint32_t behind = (next != NULL ? next->address : area->end) - end;
    if (behind < convert->smallest && behind % 8u == 0 && next != NULL && next->address >= end) {
        span.want += behind;
    } else if (!border_is_possible(convert, area, end)) {
        span.want = area->end - span.address;
    }
    convert->report->inexact += span.want != wanted->want;
    if (gap != 0) {
        emit_filler(convert, area, cursor, span.address, true);
    }
    emit_alloc(convert, &span, caps_for(convert, area, &span));
    return span.address + span.want;
}

void plan_build(struct convert *convert, struct area *area, const struct span *wanted,
                size_t count) {
    if (count == 0) {
        return;
    }
    plan_open(convert, area);
    uint32_t cursor = area->count > 0 ? span_end(&area->spans[area->count - 1]) : area->start;
    fill_below(convert, area, cursor, convert->smallest, true);
    for (size_t i = 0; i < count && !convert->failed; i++) {
        cursor =
            build_one(convert, area, &wanted[i], i + 1 < count ? &wanted[i + 1] : NULL, cursor);
    }
    fillers_free(convert, area);
}

/* Frees what overlaps the wanted block; it must have gone unseen. A block that reaches into it
 * with its slack only is alive: false, as others must move. */
static bool clear_way(struct convert *convert, struct area *area, const struct span *wanted) {
    size_t place = span_place(area, wanted->address);
    bool clear = true;
    if (place > 0 && span_end(&area->spans[place - 1]) > wanted->address) {
        const struct span *before = &area->spans[place - 1];
        if (before->supposed || before->address + before->want > wanted->address) {
            place--;
        } else {
            clear = false;
        }
    }
    while (place < area->count && area->spans[place].address < wanted->address + wanted->want) {
        convert->report->stale += !area->spans[place].supposed;
        plan_free(convert, &area->spans[place]);
    }
    return clear;
}

/* Takes everything from the block before `wanted` on out, and puts it back with it. */
static void rebuild(struct convert *convert, struct area *area, const struct span *wanted) {
    size_t first = span_place(area, wanted->address);
    first -= first > 0;
    size_t moved = area->count - first;
    struct span *all = moved < convert->budget ? malloc((moved + 1) * sizeof *all) : NULL;
    if (all == NULL) {
        convert->report->unplaced++;
        return;
    }
    convert->budget -= moved;
    size_t count = 0;
    bool inserted = false;
    for (size_t i = first; i < area->count; i++) {
        if (!inserted && area->spans[i].address > wanted->address) {
            all[count++] = *wanted;
            inserted = true;
        }
        all[count++] = area->spans[i];
        emit_free(convert, &area->spans[i]);
    }
    if (!inserted) {
        all[count++] = *wanted;
    }
    area->count = first;
    plan_build(convert, area, all, count);
    free(all);
}

static bool fits_area(const struct convert *convert, const struct area *area,
                      const struct span *span) {
    return area != NULL && span->address % 8u == 0 && span->want % 8u == 0 &&
           span->want <= area->end - span->address && span->want >= convert->smallest;
}

uint32_t plan_place(struct convert *convert, const struct span *wanted, bool evidence) {
    struct area *area = plan_area(convert, wanted->address);
    if (convert->failed || !fits_area(convert, area, wanted)) {
        convert->report->unplaced++;
        return TRACE_NO_SLOT;
    }
    plan_open(convert, area);
    bool clear = clear_way(convert, area, wanted);
    if (clear && plan_predict(convert, wanted->caps, wanted->want) == wanted->address) {
        return emit_alloc(convert, wanted, wanted->caps);
    }
    uint32_t from;
    uint32_t to;
    hole_around(area, wanted->address, &from, &to);
    uint32_t gap = wanted->address - from;
    if (!clear ||
        (gap != 0 && (gap < convert->smallest || to - wanted->address <= convert->split))) {
        rebuild(convert, area, wanted);
    } else {
        fill_below(convert, area, from, gap != 0 && gap < wanted->want ? gap : wanted->want,
                   !evidence);
        if (gap != 0) {
            emit_filler(convert, area, from, wanted->address, !evidence);
        }
        emit_alloc(convert, wanted, caps_for(convert, area, wanted));
        if (!evidence) {
            fillers_free(convert, area);
        }
    }
    const struct span *placed = plan_find(convert, wanted->address);
    return placed != NULL ? placed->slot : TRACE_NO_SLOT;
}

void plan_hole(struct convert *convert, uint32_t address) {
    struct area *area = plan_area(convert, address);
    struct span *span = plan_cover(convert, address);
    uint32_t from;
    uint32_t to;
    if (span != NULL) {
        convert->report->stale += !span->supposed;
        plan_free(convert, span);
    }
    if (area == NULL || address % 8u != 0) {
        return; /* no block can begin there */
    }
    hole_around(area, address, &from, &to);
    if (address - from >= convert->smallest && to - address > convert->split) {
        fill_below(convert, area, from, address - from, true);
        emit_filler(convert, area, from, address, false);
        fillers_free(convert, area);
    }
}
