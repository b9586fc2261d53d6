/* SPDX-License-Identifier: Apache-2.0
 *
 * The free blocks of a region below its tail, as a digital tree inside
 * themselves.
 *
 * Key of a block is its *end* (a split leaves it alone, and so does a merge
 * with the block behind). Each level of the tree halves the range of ends by
 * one address bit; of the blocks in a range the one with the lowest address
 * stands at the range's root, the others below it in the two half ranges:
 *
 *                 A                 addresses A < B < C < D < E
 *               /   \
 *              B     D              preorder is address order, so the first
 * node met \     \             in preorder that is large enough is the first
 * fit C     E
 *
 * Each link holds the largest size from its node downwards, so the search goes
 * straight down: take the node if it fits, else left if something there fits,
 * else right. No balancing, no rotations; the depth is bounded by the number of
 * address bits in which the region's blocks differ, 15 for SRAM, 16 for DRAM,
 * 20 for 8 MiB of PSRAM.
 *
 * The path from the root is kept on the stack, not as parent links in memory.
 * Every descent is bounded by its path and checks each node's seal before it
 * believes it. A function that returns false has met a smashed node; what it
 * had changed until then stays changed (the caller closes the region).
 */
#ifndef TREE_H
#define TREE_H

#include "layout.h"

/* Links on the longest path, root included: address bits 31 to 3, and the
 * root's. */
#define TREE_PATH_MAX 30u

struct tree_path {
    struct wm_heap_link *link[TREE_PATH_MAX]; /* link[0] is the region's root */
    uint32_t depth;                           /* links in use */
    uint32_t bit; /* the address bit that parts the last node's children */
};

static inline uint32_t tree_max(uint32_t a, uint32_t b) { return a > b ? a : b; }

static inline struct wm_heap_link *tree_last(const struct tree_path *path) {
    return path->link[path->depth - 1u];
}

/* Brings a link's `largest` up to date with its node; false if it was. */
static inline bool tree_measure(struct wm_heap_link *link) {
    const struct wm_heap_node *node = node_at(link->node);
    uint32_t largest =
        tree_max(node->size, tree_max(node->child[0].largest, node->child[1].largest));
    bool changed = largest != link->largest;
    link->largest = largest;
    return changed;
}

/* The same for the path's first `depth` links, upwards until one is right
 * already. */
static inline void tree_update(const struct tree_path *path, uint32_t depth) {
    while (depth > 0 && tree_measure(path->link[depth - 1u])) {
        depth--;
    }
}

/* May this node stand below the one at `above` (0: at the root)? Addresses rise
 * on the way down, so smashed links make no circle and no two nodes of a path
 * overlap. */
static inline bool tree_descends(const struct wm_heap_region *region, uint32_t above,
                                 uint32_t node) {
    return node >= above + SMALLEST_BLOCK && node_is_sound(region, node);
}

/* Finds the first block in address order of at least `want` bytes. Requires
 * that the root says there is one. */
static inline bool tree_first_fit(struct wm_heap_region *region, uint32_t want,
                                  struct tree_path *path) {
    struct wm_heap_link *link = &region->root;
    uint32_t bit = region->top_bit;
    uint32_t above = 0;
    path->depth = 0;
    for (;;) {
        if (!tree_descends(region, above, link->node) || bit < 4u) {
            return false;
        }
        above = link->node;
        struct wm_heap_node *node = node_at(above);
        path->link[path->depth++] = link;
        path->bit = bit;
        if (node->size >= want) {
            return true;
        }
        bit >>= 1;
        link = &node->child[node->child[0].largest >= want ? 0 : 1];
    }
}

/* Finds the block that ends at `end`. */
static inline bool tree_find(struct wm_heap_region *region, uint32_t end, struct tree_path *path) {
    struct wm_heap_link *link = &region->root;
    uint32_t bit = region->top_bit;
    uint32_t above = 0;
    path->depth = 0;
    for (;;) {
        if (!tree_descends(region, above, link->node) || bit < 4u) {
            return false;
        }
        above = link->node;
        struct wm_heap_node *node = node_at(above);
        path->link[path->depth++] = link;
        path->bit = bit;
        if (above + node->size == end) {
            return true;
        }
        link = &node->child[(end & bit) != 0];
        bit >>= 1;
    }
}

/* Do these ends lie in the same range, that which `bit` parts? */
static inline bool tree_same_range(uint32_t a, uint32_t b, uint32_t bit) {
    return (a ^ b) >> 1 < bit;
}

/* Puts a block into the tree: down its key's path, and where it meets a block
 * with a higher address it takes that one's place and that one goes on
 * downwards. */
static inline bool tree_insert(struct wm_heap_region *region, uint32_t address, uint32_t size) {
    struct wm_heap_link *link = &region->root;
    uint32_t bit = region->top_bit;
    uint32_t above = 0;
    while (link->node != 0) {
        uint32_t other = link->node;
        if (!tree_descends(region, above, other) || other == address || bit < 8u) {
            return false;
        }
        struct wm_heap_node *node = node_at(other);
        link->largest = tree_max(link->largest, size);
        if (address < other) {
            struct wm_heap_node *lower = node_at(address);
            uint32_t other_size = node->size;
            if (!tree_same_range(other + other_size, address + size, bit)) {
                return false;
            }
            lower->size = size;
            lower->seal = node_seal(address, size);
            lower->child[0] = node->child[0];
            lower->child[1] = node->child[1];
            link->node = address;
            node = lower;
            above = address;
            address = other;
            size = other_size;
        } else {
            above = other;
        }
        link = &node->child[((address + size) & bit) != 0];
        bit >>= 1;
    }
    struct wm_heap_node *leaf = node_at(address);
    *leaf = (struct wm_heap_node){.size = size, .seal = node_seal(address, size)};
    link->node = address;
    link->largest = size;
    return true;
}

/* Takes the path's last node out: the lowest block below it rises into its
 * place, the lowest below that one into the next, down to a leaf. The path is
 * used up. */
static inline bool tree_remove(const struct wm_heap_region *region, struct tree_path *path) {
    struct wm_heap_link **end = &path->link[path->depth - 1u];
    struct wm_heap_link **first = end;
    struct wm_heap_link *link = *first;
    uint32_t last = link->node;
    struct wm_heap_link left = node_at(last)->child[0];
    struct wm_heap_link right = node_at(last)->child[1];
    uint32_t bit = path->bit;
    for (;;) {
        uint32_t rising = left.node;
        if (rising == 0) {
            rising = right.node;
        }
        if (rising == 0) {
            break;
        }
        bit >>= 1;
        if (!tree_descends(region, last, rising) || bit < 4u) {
            return false;
        }
        struct wm_heap_node *node = node_at(rising);
        struct wm_heap_link below_left = node->child[0];
        struct wm_heap_link below_right = node->child[1];
        node->child[0] = left;
        node->child[1] = right;
        link->node = rising;
        *end++ = link;
        link = &node->child[left.node == 0];
        left = below_left;
        right = below_right;
        last = rising;
    }
    *link = (struct wm_heap_link){0, 0};
    while (end > first) { /* every range on the chain lost a block of its own */
        tree_measure(*--end);
    }
    tree_update(path, (uint32_t)(first - path->link));
    return true;
}

/* Gives the path's last node another address or size; its end stays in its
 * range and its rank among the addresses stays the same. The two nodes may
 * overlap. */
static inline void tree_move(const struct tree_path *path, uint32_t address, uint32_t size) {
    struct wm_heap_link *link = tree_last(path);
    struct wm_heap_node node = *node_at(link->node);
    node.size = size;
    node.seal = node_seal(address, size);
    *node_at(address) = node;
    link->node = address;
    tree_update(path, path->depth);
}

/* The same to a lower address; false if a node above it on the path stands in
 * the way. */
static inline bool tree_lower(const struct tree_path *path, uint32_t address, uint32_t size) {
    if (path->depth > 1u && address < path->link[path->depth - 2u]->node + SMALLEST_BLOCK) {
        return false;
    }
    tree_move(path, address, size);
    return true;
}

/* Lets the path's last node, which ends at `end`, reach up to `new_end`; no
 * other free block lies between the two. */
static inline bool tree_extend(struct wm_heap_region *region, struct tree_path *path, uint32_t end,
                               uint32_t new_end) {
    uint32_t address = tree_last(path)->node;
    uint32_t size = new_end - address;
    if (tree_same_range(end, new_end, path->bit)) {
        tree_move(path, address, size);
        return true;
    }
    return tree_remove(region, path) && tree_insert(region, address, size);
}

/* The link of the node that follows the path's last one in address order. Sets
 * *depth to the number of the path's links that lead to it. NULL: the last node
 * is the highest, or a node is smashed. */
static inline struct wm_heap_link *tree_after(const struct tree_path *path, uint32_t *depth) {
    struct wm_heap_link *link = tree_last(path);
    struct wm_heap_node *node = node_at(link->node);
    *depth = path->depth;
    if (node->child[0].node != 0) {
        return &node->child[0];
    }
    if (node->child[1].node != 0) {
        return &node->child[1];
    }
    for (uint32_t i = path->depth - 1u; i > 0; link = path->link[--i]) {
        node = node_at(path->link[i - 1u]->node);
        if (link == &node->child[0] && node->child[1].node != 0) {
            *depth = i;
            return &node->child[1];
        }
    }
    return NULL;
}

/* Joins the path's last node and the node after it in address order, which must
 * stand at `next`, with what lies between them, into one block that ends where
 * `next` ends. */
static inline bool tree_join(struct wm_heap_region *region, struct tree_path *path, uint32_t next,
                             uint32_t new_end) {
    uint32_t depth;
    struct wm_heap_link *link = tree_after(path, &depth);
    if (link == NULL || link->node != next) {
        return false;
    }
    uint32_t address = tree_last(path)->node;
    if (depth == path->depth) { /* below it: its range holds the new end already */
        uint32_t bit = path->bit;
        if (bit < 8u) { /* its range holds no other end */
            return false;
        }
        path->link[path->depth++] = link;
        path->bit = bit >> 1;
        if (!tree_remove(region, path)) {
            return false;
        }
        path->depth = depth;
        path->bit = bit;
        tree_move(path, address, new_end - address);
        return true;
    }
    /* a leaf: it leaves, and the next one takes its address */
    *tree_last(path) = (struct wm_heap_link){0, 0};
    tree_update(path, path->depth - 1u);
    path->link[depth] = link;
    path->depth = depth + 1u;
    tree_move(path, address, new_end - address);
    return true;
}

#endif
