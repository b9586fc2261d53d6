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
 * The block that became free last is not in the tree (hole.h), so many of those that are taken
 * again soon never were.
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

/* The links on the way from a root, written from the last place of the array to lower ones, so
 * that the index counts the steps that are left; [0] stays empty. */
struct tree_path {
    struct wm_heap_link *link[TREE_PATH_MAX + 1u];
};
#define TREE_PATH_ROOT(path) (&(path)->link[TREE_PATH_MAX])

/* Is the node at a possible address intact? */
__attribute__((always_inline)) static inline bool tree_sound(uint32_t node) {
    return node_at(node)->seal == size_seal(node, node_at(node)->size);
}

static inline uint32_t tree_largest(const struct wm_heap_node *node) {
    return max_of(node->size, max_of(node->child[0].largest, node->child[1].largest));
}

/* Below the link at `end` of a path, a block of at most `size` bytes, before and now, is gone or
 * has another size: the links behind, up to the root's, follow, until one says more, which speaks
 * of another. What led to a sealed node is taken for nodes here. */
INLINE_FOR_SPEED void tree_settle(struct wm_heap_link *const *end, struct wm_heap_link *const *root,
                                  uint32_t size) {
    while (end != root) {
        struct wm_heap_link *link = *++end;
        if (link->largest > size) {
            return;
        }
        link->largest = tree_largest(node_at(link->node));
    }
}

/* Finds the first block in address order of at least `want` bytes. Requires that the root
 * says there is one. Returns the place in `path` of the last link, which leads to it; NULL after
 * damage. */
static inline struct wm_heap_link **tree_first_fit(struct span span, struct wm_heap_link *root,
                                                   uint32_t want, struct tree_path *path) {
    struct wm_heap_link *link = root;
    struct wm_heap_link **end = TREE_PATH_ROOT(path);
    while (span_holds(span, link->node)) {
        struct wm_heap_node *node = node_at(link->node);
        *end = link;
        link = &node->child[0];
        if (link->largest < want) {
            if (node->size >= want) {
                return end;
            }
            link = &node->child[1];
        }
        if (--end == path->link) {
            break;
        }
    }
    return NULL;
}

/* Finds the way to a node. Returns the place in `path` of the link to it; NULL if the tree
 * does not lead there. */
INLINE_FOR_SPEED struct wm_heap_link **tree_find(struct wm_heap_region *region, uint32_t wanted,
                                                 struct tree_path *path) {
    struct span span = span_of(region);
    struct wm_heap_link *link = &region->root;
    for (struct wm_heap_link **end = TREE_PATH_ROOT(path); end != path->link; end--) {
        uint32_t node = link->node;
        *end = link;
        if (node == wanted) {
            return end;
        }
        if (!span_holds(span, node)) {
            break;
        }
        link = &node_at(node)->child[wanted > node];
    }
    return NULL;
}

/* On the way down to a node of `size` bytes: the link, in the node `holder`, says no less. */
__attribute__((always_inline)) static inline bool tree_raise_link(struct wm_heap_link *link,
                                                                  uint32_t holder, uint32_t size) {
    if (link->largest < size) {
        if (!tree_sound(holder)) {
            return false;
        }
        link->largest = size;
    }
    return true;
}

/* The block of the node at `wanted`, a sealed one, is about to grow to `size` bytes: the links on
 * the way to it go ahead. False, too, if the tree does not lead there. */
static inline bool tree_raise(struct wm_heap_region *region, uint32_t wanted, uint32_t size) {
    struct span span = span_of(region);
    struct wm_heap_link *link = &region->root;
    uint32_t holder = wanted; /* of the root nobody is: the seal of this one stands in */
    for (uint32_t left = TREE_PATH_MAX; left > 0; left--) {
        uint32_t node = link->node;
        if (!tree_raise_link(link, holder, size)) {
            return false;
        }
        if (node == wanted) {
            return true;
        }
        if (!span_holds(span, node)) {
            return false;
        }
        link = &node_at(node)->child[wanted > node];
        holder = node;
    }
    return false;
}

/* The last step of an insertion: a link in the node `holder` leads to the one at `address` now, and
 * what was below it goes to that node's `side`. */
static inline bool tree_hang(struct wm_heap_link *link, uint32_t holder, uint32_t address,
                             struct wm_heap_link below, uint32_t side) {
    struct wm_heap_node *node = node_at(address);
    if (!tree_sound(holder)) {
        return false;
    }
    link->node = address;
    node->child[side] = below;
    node->child[side ^ 1u] = (struct wm_heap_link){0, 0};
    return true;
}

/* Puts a node that moves down to the right, and is the lowest there, under a link in the node
 * `holder`: all below it lies above that. */
static inline bool tree_insert_lowest(struct span span, struct wm_heap_link *link, uint32_t holder,
                                      uint32_t address) {
    uint32_t size = node_at(address)->size;
    uint32_t differs = address ^ holder;
    for (uint32_t left = TREE_PATH_MAX; left > 0; left--) {
        struct wm_heap_link below = *link;
        if (!tree_raise_link(link, holder, size)) {
            return false;
        }
        if (!span_holds(span, below.node) || (address ^ below.node) < differs) {
            return tree_hang(link, holder, address, below, 1);
        }
        link = &node_at(below.node)->child[0];
        holder = below.node;
    }
    return false;
}

/* Puts the node at `address`, of a block of `size` bytes, into the tree. A node above it that is in
 * its way moves down to the right. */
static inline bool tree_insert(struct wm_heap_region *region, uint32_t address, uint32_t size) {
    struct span span = span_of(region);
    struct wm_heap_link *link = &region->root;
    uint32_t holder = address;             /* of the root nobody is: its own seal stands in */
    uint32_t above = address ^ span.start; /* address ^ low; other ^ low is above ^ differs */
    uint32_t left = TREE_PATH_MAX;
    uint32_t other;
    uint32_t largest;
    for (;;) {
        other = link->node;
        largest = link->largest;
        if (!tree_raise_link(link, holder, size)) {
            return false;
        }
        if (!span_holds(span, other)) {
            break;
        }
        uint32_t differs = address ^ other;
        if (address < other) {
            if (differs < above) {
                break;
            }
            link = &node_at(other)->child[0];
        } else {
            if (differs >= (above ^ differs)) {
                break;
            }
            link = &node_at(other)->child[1];
            above = differs;
        }
        holder = other;
        if (--left == 0) {
            return false;
        }
    }
    if (!tree_hang(link, holder, address, (struct wm_heap_link){other, largest}, 0)) {
        return false;
    }
    if (other < address) {
        return true;
    }
    struct wm_heap_node *node = node_at(address);
    if (!span_holds(span, other) || !tree_sound(other)) {
        return false;
    }
    node->child[0] = node_at(other)->child[0];
    node->child[1] = node_at(other)->child[1];
    return tree_insert_lowest(span, &node->child[1], address, other);
}

/* Takes the node out to which the path's link at `end` leads; the next one in address order
 * rises from below into its place. The path is used up. */
INLINE_FOR_SPEED bool tree_remove(const struct wm_heap_region *region, struct tree_path *path,
                                  struct wm_heap_link **end) {
    struct span span = span_of(region);
    struct wm_heap_link *link = *end;
    struct wm_heap_node *node = node_at(link->node);
    if (end != TREE_PATH_ROOT(path) && !tree_sound(end[1]->node)) {
        return false;
    }
    if (node->child[1].node == 0) {
        *link = node->child[0];
    } else {
        struct wm_heap_link **lowest = end;
        struct wm_heap_link *below = &node->child[1];
        struct wm_heap_node *next;
        for (;;) {
            if (lowest == path->link || !span_holds(span, below->node)) {
                return false;
            }
            next = node_at(below->node);
            *--lowest = below;
            if (next->child[0].node == 0) {
                break;
            }
            below = &next->child[0];
        }
        uint32_t rising = below->node;
        if (!tree_sound(rising) || (lowest + 1 < end && !tree_sound(lowest[1]->node))) {
            return false;
        }
        *below = next->child[1];
        tree_settle(lowest, end - 1, next->size);
        next->child[0] = node->child[0];
        next->child[1] = node->child[1];
        *link = (struct wm_heap_link){rising, tree_largest(next)};
    }
    node->seal = 0;
    tree_settle(end, TREE_PATH_ROOT(path), node->size);
    return true;
}

#endif
