/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks are cut off free memory, and become free memory again: what alloc, free and their
 * relatives have in common. All of it is inlined where it is used, because most of an
 * ordinary call is spent here. The lock is held.
 */
#ifndef BLOCK_H
#define BLOCK_H

#include "hole.h"

/* Blocks begin anywhere up to one of the smallest size that ends at the tail. */
static inline void region_set_tail(struct wm_heap_region *region, uint32_t tail) {
    uint32_t bytes = tail - region->start;
    region->tail = tail;
    region->eighths = bytes == 0 ? 0 : (bytes - SMALLEST_BLOCK + 8u) >> 3;
}

/* Takes `want` bytes, or all if the remainder would be too small to stand alone, from the
 * lower end of the free memory behind all blocks, which has as many. */
static inline struct piece tail_cut(struct wm_heap_region *region, uint32_t want) {
    uint32_t block = region->tail;
    uint32_t room = region->end - block;
    struct piece piece = {block, room - want > SPLIT_OVER ? want : room};
    if (pattern_broken(block, block + piece.bytes) != 0) {
        piece.block = 0;
    } else {
        region_set_tail(region, block + piece.bytes);
    }
    return piece;
}

/* The first region from this one on that has all of `caps`; NULL if none has. */
INLINE_FOR_SPEED struct wm_heap_region *region_with(struct wm_heap_region *region, uint32_t caps) {
    for (; region < &wm_heap_state.regions[WM_HEAP_REGIONS_MAX]; region++) {
        if (!region_refuses(region, caps)) {
            return region;
        }
    }
    return NULL;
}

/* The same from the first on. Every allocation passes here, and asks for what the one before asked
 * for, most of the time: so the answer is kept. */
static inline struct wm_heap_region *region_first(uint32_t caps) {
    struct wm_heap_state *state = &wm_heap_state;
    if (state->latest.caps != caps) {
        struct wm_heap_region *region = region_with(state->regions, caps);
        if (region == NULL) {
            return NULL;
        }
        state->latest.caps = caps;
        state->latest.region = (uint32_t)((uintptr_t)region - (uintptr_t)state);
    }
    return (void *)((char *)state + state->latest.region);
}

/* The first region that has all of `caps` and free memory for `want` bytes; NULL if there is none.
 * Sets *hole: is that a hole, or the memory behind all blocks? */
static inline struct wm_heap_region *region_for(uint32_t caps, uint32_t want, bool *hole) {
    struct wm_heap_region *region = region_first(caps);
    for (; region != NULL; region = region_with(region + 1, caps)) {
        if (hole_fits(region, want)) {
            *hole = true;
            return region;
        }
        if (region->end - region->tail >= want) {
            *hole = false;
            return region;
        }
    }
    return NULL;
}

/* Gives a block's memory back. False: a smashed neighbour or node. Four neighbourhoods, # live,
 * . free, [ ] the block:
 *
 *     #[ ]#   becomes a hole
 *     .[ ]#   the hole before is no more, a larger one begins where it did
 *     #[ ].   the hole behind begins earlier
 *     .[ ].   the same, and the hole before is no more
 *
 * and before the tail the same, the tail taking all that is free. */
static inline bool block_release(struct wm_heap_region *region, uint32_t block, uint32_t size,
                                 bool previous_free) {
    uint32_t next = block + size;
    uint32_t front = block;
    uint32_t before = block - NODE_BYTES;
    if (next == region->tail) {
        if (previous_free && (front = hole_out(region, before)) == 0) {
            return false;
        }
        header_erase(block);
        region_set_tail(region, front);
        pattern_fill(front, front + 4u);
        pattern_fill(previous_free ? before : block + 4u, next);
        return true;
    }
    uint32_t size_flags = header_at(next)->size_flags;
    uint32_t node = next - NODE_BYTES;
    uint32_t patterned = node;
    bool joins = (size_flags & (ALLOCATED | PREVIOUS_FREE)) != ALLOCATED;
    if (joins) {
        node = (size_flags & ALLOCATED) != 0 ? 0 : hole_at(region, next);
        patterned = min_of(next + 4u, node);
    }
    if (joins ? node == 0 : !header_is_sealed(next)) {
        return false;
    }
    if (previous_free) {
        front = hole_out(region, before);
        if (front == 0) {
            return false;
        }
    }
    bool done = joins ? hole_grow(region, node, front) : hole_put(region, front, next);
    if (done) {
        header_erase(block); /* in the smallest block, a link of a fresh hole, which has none */
        pattern_fill(previous_free ? before : block + 4u, patterned);
    }
    return done;
}

/* The region of this block, if it is live, with all around its payload as it must be; NULL if
 * not, or if the region is closed. */
INLINE_FOR_SPEED struct wm_heap_region *block_region(uint32_t block) {
    struct wm_heap_region *region = region_below(block);
    return span_holds(span_of(region), block) && header_is_intact(region, block) &&
                   poison_is_intact(block, header_at(block))
               ? region
               : NULL;
}

#endif
