/* SPDX-License-Identifier: Apache-2.0
 *
 * Holes come and go. These are functions, not inlined, because that leaves each of them registers
 * enough: less time than one large function that spills them, and less code.
 */
#include "hole.h"

/* The way to the first hole whose node says that it has as many bytes. */
__attribute__((always_inline)) static inline struct wm_heap_link **
lowest(struct wm_heap_region *region, struct span span, uint32_t want, struct tree_path *path) {
    struct wm_heap_link **end = TREE_PATH_ROOT(path);
    if (region->root.largest >= want) {
        end = tree_first_fit(span, &region->root, want, path);
        if (end == NULL || region->fresh.largest < want || region->fresh.node > (*end)->node) {
            return end;
        }
        end = TREE_PATH_ROOT(path);
    }
    *end = &region->fresh;
    return node_at(region->fresh.node)->size >= want ? end : NULL;
}

/* The way to it, if it says the same at both ends. */
__attribute__((always_inline)) static inline struct wm_heap_link **
find(struct wm_heap_region *region, uint32_t want, struct tree_path *path) {
    struct span span = span_of(region);
    struct wm_heap_link **end = lowest(region, span, want, path);
    if (end == NULL) {
        return NULL;
    }
    uint32_t address = (*end)->node;
    const struct wm_heap_node *node = node_at(address);
    uint32_t size = node->size;
    uint32_t block = address + NODE_BYTES - size;
    return node->seal == size_seal(address, size) && span_holds(span, block) &&
                   header_at(block)->size_flags == size
               ? end
               : NULL;
}

struct wm_heap_link **hole_path(struct wm_heap_region *region, uint32_t node,
                                struct tree_path *path) {
    if (region->fresh.node == node) {
        struct wm_heap_link **end = TREE_PATH_ROOT(path);
        *end = &region->fresh;
        return end;
    }
    return tree_find(region, node, path);
}

/* The fresh hole is none any more. Returns where it began. */
static inline uint32_t fresh_out(struct wm_heap_region *region) {
    uint32_t node = region->fresh.node;
    uint32_t front = node + NODE_BYTES - region->fresh.largest;
    node_at(node)->seal = 0;
    region->fresh = (struct wm_heap_link){0, 0};
    return front;
}

__attribute__((always_inline)) static inline struct piece cut(struct wm_heap_region *region,
                                                              struct tree_path *path,
                                                              struct wm_heap_link **end,
                                                              uint32_t want) {
    const struct piece damage = {0, 0};
    struct wm_heap_link *link = *end;
    uint32_t address = link->node;
    uint32_t size = node_at(address)->size;
    uint32_t block = address + NODE_BYTES - size;
    uint32_t rest = size - want;
    if (rest > SPLIT_OVER) {
        if (hole_pattern_broken(block, size, want) != 0) {
            return damage;
        }
        hole_write(address, block + want, rest);
        if (link == &region->fresh) {
            link->largest = rest;
        } else {
            tree_settle(end - 1, TREE_PATH_ROOT(path), size);
        }
        return (struct piece){block, want};
    }
    uint32_t next = address + NODE_BYTES;
    uint32_t behind = header_at(next)->size_flags; /* the span of nodes leaves it room */
    if ((behind & PREVIOUS_FREE) == 0 || !header_is_sealed(next) ||
        hole_pattern_broken(block, size, size) != 0 ||
        (link == &region->fresh && fresh_pattern_broken(address) != 0)) {
        return damage;
    }
    if (link == &region->fresh) {
        (void)fresh_out(region);
    } else if (!tree_remove(region, path, end)) {
        return damage;
    }
    header_seal(next, behind ^ PREVIOUS_FREE);
    return (struct piece){block, size};
}

struct piece hole_take(struct wm_heap_region *region, uint32_t want) {
    struct tree_path path;
    struct wm_heap_link **end = find(region, want, &path);
    return end != NULL ? cut(region, &path, end, want) : (struct piece){0, 0};
}

struct wm_heap_link **hole_find(struct wm_heap_region *region, uint32_t want,
                                struct tree_path *path) {
    return find(region, want, path);
}

struct piece hole_cut(struct wm_heap_region *region, struct tree_path *path,
                      struct wm_heap_link **end, uint32_t want) {
    return cut(region, path, end, want);
}

uint32_t hole_at(const struct wm_heap_region *region, uint32_t front) {
    uint32_t node = front + header_at(front)->size_flags - NODE_BYTES;
    return node_front(region, node) == front ? node : 0;
}

bool hole_age(struct wm_heap_region *region) {
    return tree_insert(region, region->fresh.node, region->fresh.largest);
}

bool hole_grow(struct wm_heap_region *region, uint32_t node, uint32_t front) {
    uint32_t size = node + NODE_BYTES - front;
    if (node == region->fresh.node) {
        region->fresh.largest = size;
    } else if (!tree_raise(region, node, size)) {
        return false;
    }
    hole_write(node, front, size);
    return true;
}

uint32_t hole_out(struct wm_heap_region *region, uint32_t node) {
    if (node == region->fresh.node) {
        return fresh_out(region);
    }
    struct tree_path path;
    uint32_t front = node_front(region, node);
    struct wm_heap_link **end = tree_find(region, node, &path);
    return front != 0 && end != NULL && tree_remove(region, &path, end) ? front : 0;
}
