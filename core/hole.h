/* SPDX-License-Identifier: Apache-2.0
 *
 * A hole is a free block with others behind it. It is found through the links of the region's tree
 * (tree.h), but for the one that came last: that is fresh, and has a link of its own in the state,
 * whose words are never taken from the heap. The next hole sends it into the tree. Many a hole
 * never gets there, because it is taken again soon, or the next block that is freed lies right
 * behind it.
 *
 * The lock is held. What returns false, or block 0, has met damage; what it had changed until then
 * stays changed (the caller closes the region).
 */
#ifndef HOLE_H
#define HOLE_H

#include "internal.h"
#include "tree.h"

/* A piece cut off free memory: where it begins, and its bytes. Block 0: damage. */
struct piece {
    uint32_t block;
    uint32_t bytes;
};

/* Has some hole `want` bytes? */
static inline bool hole_fits(const struct wm_heap_region *region, uint32_t want) {
    return region->root.largest >= want || region->fresh.largest >= want;
}

/* Takes `want` bytes, or all if the remainder would be too small to stand alone, from the lower end
 * of the first hole in address order that has as many; there is one. */
struct piece hole_take(struct wm_heap_region *region, uint32_t want)
    WM_HEAP_LINK("wm_heap_hole_take");

/* The way to that hole, which is sound: the place in `path` of the last link, which leads to it.
 * NULL: damage. */
struct wm_heap_link **hole_find(struct wm_heap_region *region, uint32_t want,
                                struct tree_path *path) WM_HEAP_LINK("wm_heap_hole_find");

/* The way to the hole with this node. NULL if none leads there. */
struct wm_heap_link **hole_path(struct wm_heap_region *region, uint32_t node,
                                struct tree_path *path) WM_HEAP_LINK("wm_heap_hole_path");

/* Takes a piece as hole_take does from the sound hole to which the path's link at `end` leads. */
struct piece hole_cut(struct wm_heap_region *region, struct tree_path *path,
                      struct wm_heap_link **end, uint32_t want) WM_HEAP_LINK("wm_heap_hole_cut");

/* Puts the fresh hole, which there is, into the tree. */
bool hole_age(struct wm_heap_region *region) WM_HEAP_LINK("wm_heap_hole_age");

/* Writes what says where a hole begins, and its size. */
static inline void hole_write(uint32_t address, uint32_t front, uint32_t size) {
    struct wm_heap_node *node = node_at(address);
    node->size = size;
    node->seal = size_seal(address, size);
    front_write(front, size);
}

/* Makes a hole of the memory from `front` to `end`, and tells the block behind. */
INLINE_FOR_SPEED bool hole_put(struct wm_heap_region *region, uint32_t front, uint32_t end) {
    uint32_t address = end - NODE_BYTES;
    uint32_t size = end - front;
    if (region->fresh.node != 0 && !hole_age(region)) {
        return false;
    }
    region->fresh = (struct wm_heap_link){address, size};
    hole_write(address, front, size);
    fresh_pattern_fill(address);
    header_seal(end, header_at(end)->size_flags | PREVIOUS_FREE);
    return true;
}

/* The node of the hole that begins at a possible address; 0 if none does. */
uint32_t hole_at(const struct wm_heap_region *region, uint32_t front)
    WM_HEAP_LINK("wm_heap_hole_at");

/* Makes the hole with this node, which has been found sound, begin at `front`. */
bool hole_grow(struct wm_heap_region *region, uint32_t node, uint32_t front)
    WM_HEAP_LINK("wm_heap_hole_grow");

/* The hole that has this node, if one has, is none any more. Returns where it began; 0 after
 * damage. */
uint32_t hole_out(struct wm_heap_region *region, uint32_t node) WM_HEAP_LINK("wm_heap_hole_out");

#endif
