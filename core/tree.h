/* SPDX-License-Identifier: Apache-2.0
 *
 * The free blocks of a region below its tail, as a search tree inside themselves.
 *
 * A node lies in the last bytes of its block, so its address is known from where the block
 * ends: it stays where it is when the block is cut at its lower end, and the block behind
 * finds it without a search. In order, the nodes' addresses rise.
 *
 * No balancing, no rotations, no priorities in memory: the shape follows from the addresses.
 * Two neighbours in address order differ first in some address bit; that bit is the rank of
 * the higher one, and ranks fall on the way down. So of any range of addresses that holds
 * free blocks on both sides of its middle, the lowest block of the upper half is the root:
 *
 *                    D                  A B C | D E        differ in a high bit
 *                 /     \               A | B C            in a lower one
 *                B       E              B | C
 *              /   \
 *             A     C
 *
 * All below one link lies above `low`, the last node that was left to the right; the rank of
 * the node at the link is the highest bit of its address ^ low. Ranks are never worked out:
 * of a < b, both above low, `(a ^ b) < (a ^ low)` says that they share the bit in which b's
 * rank lies. The depth is bounded by the address bits in which the region's nodes differ: 16
 * for SRAM, 17 for DRAM, 21 for 8 MiB of PSRAM, however the blocks came about.
 *
 * Each link holds the largest size from its node downwards, so that the search goes straight
 * down: left if something there fits, else the node, else right.
 *
 * The path from the root is kept on the stack, not as parent links in memory. Every descent
 * is bounded and stays among the region's addresses whatever stands there; before a link is
 * written, the seal of its node is checked, or that of the node to which it led. A function that
 * returns false (or NULL) has met a smashed node; what it had changed until then stays changed
 * (the caller closes the region).
 */
#ifndef TREE_H
#define TREE_H

#include "layout.h"

/* Links on the longest path: one for each address bit from 31 to 3, one for a node at the
 * region's very start, one that leads nowhere. */
#define TREE_PATH_MAX 31u

static inline uint32_t tree_max(uint32_t a, uint32_t b) { return a > b ? a : b; }

/* Is the node at the end of this link, whose address has been found possible, intact? The
 * root's link stands in none: 0. */
static inline bool tree_sound(uint32_t node) {
    return node == 0 || node_at(node)->seal == node_seal(node, node_at(node)->size);
}

static inline uint32_t tree_min(uint32_t a, uint32_t b) { return a < b ? a : b; }

static inline uint32_t tree_largest(const struct wm_heap_node *node) {
    return tree_max(node->size, tree_max(node->child[0].largest, node->child[1].largest));
}

/* Below the links of the path up to and without `end`, a block of `old` bytes is gone or has
 * become smaller: their sizes follow, upwards until one does not change. What led to a sealed
 * node is taken for nodes here. */
static inline void tree_settle(struct wm_heap_link *const *path, struct wm_heap_link *const *end,
                               uint32_t old) {
    while (end != path) {
        struct wm_heap_link *link = *--end;
        if (link->largest != old) {
            return;
        }
        const struct wm_heap_node *node = node_at(link->node);
        uint32_t largest = tree_max(node->child[0].largest, node->child[1].largest);
        largest = tree_max(node->size, largest);
        if (largest == old) {
            return;
        }
        link->largest = largest;
    }
}

/* Finds the first block in address order of at least `want` bytes. Requires that the root
 * says there is one. Returns the place in `path` of the last link, which leads to it. */
static inline struct wm_heap_link **tree_first_fit(struct span span, struct wm_heap_link *root,
                                                   uint32_t want, struct wm_heap_link **path) {
    struct wm_heap_link *link = root;
    for (uint32_t left = TREE_PATH_MAX; left > 0; left--) {
        if (!span_holds(span, link->node)) {
            break;
        }
        struct wm_heap_node *node = node_at(link->node);
        *path = link;
        link = &node->child[0];
        if (link->largest < want) {
            if (node->size >= want) {
                return path;
            }
            link = &node->child[1];
        }
        path++;
    }
    return NULL;
}

/* Finds the way to a node. Returns the place in `path` of the link to it; NULL if the tree
 * does not lead there. */
static inline struct wm_heap_link **tree_find(struct span span, struct wm_heap_link *root,
                                              uint32_t wanted, struct wm_heap_link **path) {
    struct wm_heap_link *link = root;
    for (struct wm_heap_link **end = path; end < path + TREE_PATH_MAX; end++) {
        uint32_t node = link->node;
        *end = link;
        if (node == wanted) {
            return end;
        }
        if (!span_holds(span, node)) {
            return NULL;
        }
        link = &node_at(node)->child[wanted > node];
    }
    return NULL;
}

/* A link in `holder` is about to be told of a block of `size` bytes below it. */
static inline bool tree_raise(struct wm_heap_link *link, uint32_t holder, uint32_t size) {
    if (link->largest < size) {
        if (!tree_sound(holder)) {
            return false;
        }
        link->largest = size;
    }
    return true;
}

/* Puts a node under a link that leads only to higher addresses, without a block of its own
 * between `low` and it. */
static inline bool tree_insert_lowest(struct span span, struct wm_heap_link *link, uint32_t low,
                                      uint32_t address) {
    struct wm_heap_node *node = node_at(address);
    uint32_t holder = 0;
    for (uint32_t left = TREE_PATH_MAX; left > 0; left--) {
        uint32_t other = link->node;
        if (other == 0 || (address ^ other) < (address ^ low)) {
            if (!tree_sound(holder)) {
                return false;
            }
            node->child[0] = (struct wm_heap_link){0, 0};
            node->child[1] = *link;
            *link = (struct wm_heap_link){address, tree_max(link->largest, node->size)};
            return true;
        }
        if (!span_holds(span, other) || !tree_raise(link, holder, node->size)) {
            return false;
        }
        link = &node_at(other)->child[0];
        holder = other;
    }
    return false;
}

/* A place in the tree: the link, what it leads to now, the node that the link stands in (0: the
 * root's), and the last node that was left to the right on the way. */
struct tree_place {
    struct wm_heap_link *link;
    uint32_t other;
    uint32_t holder;
    uint32_t low;
};

/* Finds the place of a node at `address`: where it must stand above `other`, or there is no
 * other; or that of the node at `from`, if that is the same. Tells the links above that place
 * of a block of `size` bytes. */
static inline bool tree_place(struct span span, struct wm_heap_link *root, uint32_t address,
                              uint32_t from, uint32_t size, struct tree_place *place) {
    struct wm_heap_link *link = root;
    uint32_t low = span.start;
    uint32_t holder = 0;
    uint32_t other;
    for (uint32_t left = TREE_PATH_MAX; (other = link->node) != from; left--) {
        if (!span_holds(span, other)) {
            if (other == 0) {
                break;
            }
            return false;
        }
        struct wm_heap_link *below;
        if (address < other) {
            if ((address ^ other) < (address ^ low)) {
                break;
            }
            below = &node_at(other)->child[0];
        } else {
            if ((address ^ other) >= (other ^ low)) {
                break;
            }
            below = &node_at(other)->child[1];
            low = other;
        }
        if (!tree_raise(link, holder, size) || left == 0) {
            return false;
        }
        link = below;
        holder = other;
    }
    *place = (struct tree_place){link, other, holder, low};
    return tree_sound(holder);
}

/* Puts the node at `address` into the tree. */
static inline bool tree_insert(struct span span, uint32_t address, uint32_t size,
                               const struct tree_place *place) {
    struct wm_heap_link *link = place->link;
    uint32_t other = place->other;
    struct wm_heap_node *node = node_at(address);
    node->size = size;
    node->seal = node_seal(address, size);
    node->child[0] = *link; /* all that is below lies to the left */
    node->child[1] = (struct wm_heap_link){0, 0};
    *link = (struct wm_heap_link){address, tree_max(link->largest, size)};
    if (other > address) { /* gives up its place and moves down to the right */
        if (!tree_sound(other)) {
            return false;
        }
        node->child[0] = node_at(other)->child[0];
        node->child[1] = node_at(other)->child[1];
        return tree_insert_lowest(span, &node->child[1], address, other);
    }
    return true;
}

/* Can the node at `place` move up to `address` and keep its place? Its own rank, and that of the
 * next node in address order, must stay what they are. */
static inline bool tree_can_move(struct span span, const struct tree_place *place,
                                 uint32_t address) {
    uint32_t from = place->other;
    uint32_t next = node_at(from)->child[1].node;
    if ((from ^ address) >= (from ^ place->low)) {
        return false;
    }
    for (uint32_t left = TREE_PATH_MAX; next != 0; left--) {
        if (left == 0 || !span_holds(span, next)) {
            return false;
        }
        uint32_t below = node_at(next)->child[0].node;
        if (below == 0 && (from ^ address) >= (address ^ next)) {
            return false;
        }
        next = below;
    }
    return true;
}

/* Moves the node at `place` up to `address`, or leaves it there, with a new, larger size. */
static inline void tree_move(const struct tree_place *place, uint32_t address, uint32_t size) {
    struct wm_heap_node *node = node_at(place->other);
    struct wm_heap_node *there = node_at(address);
    struct wm_heap_link left = node->child[0];
    struct wm_heap_link right = node->child[1];
    node->seal = 0;
    there->size = size;
    there->child[0] = left;
    there->child[1] = right;
    there->seal = node_seal(address, size);
    *place->link = (struct wm_heap_link){address, tree_max(place->link->largest, size)};
}

/* Takes the node out to which the path's link at `end` leads; the next one in address order
 * rises from below into its place. The path is used up. */
static inline bool tree_remove(struct span span, struct wm_heap_link **path,
                               struct wm_heap_link **end) {
    struct wm_heap_link *link = *end;
    struct wm_heap_node *node = node_at(link->node);
    uint32_t size = node->size;
    if (end > path && !tree_sound(end[-1]->node)) {
        return false;
    }
    if (node->child[1].node == 0) {
        *link = node->child[0];
    } else {
        struct wm_heap_link **lowest = end + 1;
        struct wm_heap_link *below = &node->child[1];
        struct wm_heap_node *next;
        for (;;) {
            if (lowest == path + TREE_PATH_MAX || !span_holds(span, below->node)) {
                return false;
            }
            next = node_at(below->node);
            *lowest = below;
            if (next->child[0].node == 0) {
                break;
            }
            below = &next->child[0];
            lowest++;
        }
        uint32_t rising = below->node;
        if (!tree_sound(rising) || (lowest > end + 1 && !tree_sound(lowest[-1]->node))) {
            return false;
        }
        *below = next->child[1];
        tree_settle(end + 1, lowest, next->size);
        next->child[0] = node->child[0];
        next->child[1] = node->child[1];
        *link = (struct wm_heap_link){rising, tree_largest(next)};
    }
    node->seal = 0;
    tree_settle(path, end, size);
    return true;
}

#endif
