/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks are cut off free memory, and become free memory again: what alloc, free and their
 * relatives have in common. All of it is inlined where it is used, because most of an
 * ordinary call is spent here. The lock is held.
 */
#ifndef BLOCK_H
#define BLOCK_H

#include "internal.h"

/* A piece cut off free memory: where it begins, and its bytes. Block 0: damage. */
struct piece {
    uint32_t block;
    uint32_t bytes;
};

static inline void region_set_tail(struct wm_heap_region *region, uint32_t tail) {
    region->tail = tail;
    region->eighths = (tail - region->start) >> 3;
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

/* The same from the free block to whose node, at a possible address, the path's link at `end`
 * leads; what it says of its size is enough. */
static inline struct piece hole_cut(struct wm_heap_region *region, struct wm_heap_link **path,
                                    struct wm_heap_link **end, uint32_t want) {
    const struct piece damage = {0, 0};
    struct span span = span_of(region);
    uint32_t address = (*end)->node;
    struct wm_heap_node *node = node_at(address);
    uint32_t size = node->size;
    uint32_t block = address + NODE_BYTES - size;
    if (node->seal != node_seal(address, size) || !span_holds(span, block) ||
        header_at(block)->size_flags != size) {
        return damage;
    }
    uint32_t rest = size - want;
    if (rest > SPLIT_OVER) {
        if (hole_pattern_broken(block, size, want) != 0) {
            return damage;
        }
        node->size = rest;
        node->seal = node_seal(address, rest);
        front_write(block + want, rest);
        tree_settle(path, end + 1, size);
        return (struct piece){block, want};
    }
    struct wm_heap_header *behind = header_at(address + NODE_BYTES);
    if (address + NODE_BYTES >= region->tail || (behind->size_flags & PREVIOUS_FREE) == 0 ||
        !header_is_sealed(address + NODE_BYTES) || hole_pattern_broken(block, size, size) != 0 ||
        !tree_remove(span, path, end)) {
        return damage;
    }
    header_toggle_previous_free(behind);
    return (struct piece){block, size};
}

/* Takes the free block whose node stands at `node` out of the tree. */
static inline bool hole_remove(struct wm_heap_region *region, uint32_t node) {
    struct wm_heap_link *path[TREE_PATH_MAX];
    struct wm_heap_link **end = tree_find(span_of(region), &region->root, node, path);
    return end != NULL && tree_remove(span_of(region), path, end);
}

/* Gives a block's memory back. False: a smashed neighbour or node. Four neighbourhoods, # live,
 * . free, [ ] the block:
 *
 *     #[ ]#   becomes a free block of its own
 *     .[ ]#   the block before reaches further
 *     #[ ].   the block behind begins earlier
 *     .[ ].   the same, and the block before is no more
 *
 * and before the tail the same, the tail taking all that is free. */
static inline bool block_release(struct wm_heap_region *region, uint32_t block, uint32_t size,
                                 bool previous_free) {
    struct span span = span_of(region);
    uint32_t next = block + size;
    uint32_t previous = block - NODE_BYTES; /* its node */
    uint32_t front = block;
    if (previous_free) {
        front = node_front(span, previous);
        if (front == 0) {
            return false;
        }
    }
    uint32_t unpatterned = previous_free ? previous : block + 4u;
    if (next == region->tail) {
        if (previous_free && !hole_remove(region, previous)) {
            return false;
        }
        header_erase(block);
        region_set_tail(region, front);
        pattern_fill(front, front + 4u);
        pattern_fill(unpatterned, next);
        return true;
    }
    uint32_t node = next - NODE_BYTES;
    uint32_t from = previous_free ? previous : 0;
    uint32_t behind_flags = header_at(next)->size_flags & (ALLOCATED | PREVIOUS_FREE);
    if ((behind_flags & ALLOCATED) == 0) {
        node = from = front_node(span, next);
        if (node == 0 || (previous_free && !hole_remove(region, previous))) {
            return false;
        }
    } else if (behind_flags != ALLOCATED || !header_is_sealed(next)) {
        return false;
    }
    size = node + NODE_BYTES - front;
    for (;; from = 0) {
        struct tree_place place;
        if (!tree_place(span, &region->root, node, from, size, &place)) {
            return false;
        }
        if (from == 0) {
            if (!tree_insert(span, node, size, &place)) {
                return false;
            }
            break;
        }
        if (place.other == from && (from == node || tree_can_move(span, &place, node))) {
            tree_move(&place, node, size);
            break;
        }
        if (!hole_remove(region, from)) {
            return false;
        }
    }
    if (front != block && block != node) {
        header_erase(block);
    }
    if (behind_flags != 0) {
        header_toggle_previous_free(header_at(next));
    }
    front_write(front, size);
    pattern_fill(unpatterned, behind_flags != 0 ? node : tree_min(next + 4u, node));
    return true;
}

/* Is this block, in the only region where it can be, live, with all around its payload as it
 * must be? Not if the region is closed. */
static inline bool block_accept(const struct wm_heap_region *region, uint32_t block) {
    return (region->lacks & CLOSED_BIT) == 0 && span_holds(span_of(region), block) &&
           header_is_intact(region, block) && poison_is_intact(block, header_at(block));
}

#endif
