/* SPDX-License-Identifier: Apache-2.0
 *
 * The cold side: what exactly is wrong? A hot path that meets something impossible only
 * says so; here a walk over the region finds the first thing in address order that is
 * wrong and names it. The integrity check is the same walk. It believes nothing it has not
 * checked, and ends after at most one step for each 8 bytes of the region.
 */
#include "internal.h"

/* A fault's kind and check in one number. */
#define WHAT(kind, check) ((uint32_t)WM_HEAP_FAULT_##kind | (uint32_t)WM_HEAP_CHECK_##check << 8)

/* A node whose right subtree the walk is in, or has not come to the end of. */
struct spine {
    uint32_t node;
    uint32_t rank;  /* its highest bit counts (core/tree.h) */
    uint32_t right; /* where its right link must lead */
};

/* One check over one region: where it is, what it has seen, what it found. The tree that the
 * free blocks seen so far must form is known at each step by its right edge. */
struct survey {
    const struct wm_heap_region *region;
    struct wm_heap_fault *fault;
    uint32_t block; /* the one that is looked at */
    uint32_t free_bytes;
    uint32_t last; /* node of the latest free block; before the first the region's start */
    uint32_t depth;
    struct spine spine[TREE_PATH_MAX];
};

uint32_t block_size(const struct wm_heap_region *region, uint32_t address) {
    if (!span_holds(span_of(region), address)) {
        return 0;
    }
    const struct wm_heap_header *header = header_at(address);
    bool sound = (header->size_flags & ALLOCATED) != 0 ? header_is_intact(region, address)
                                                       : front_node(span_of(region), address) != 0;
    return sound ? header_size(header) : 0;
}

static void fault_fill(struct wm_heap_fault *fault, uint32_t what, uint32_t region, uint32_t block,
                       uint32_t address) {
    *fault = (struct wm_heap_fault){.kind = what & 0xffu,
                                    .check = what >> 8,
                                    .region = region,
                                    .block = block,
                                    .address = address};
}

/* Says that the word at `address` (with guard bytes the byte) is not what it must be. */
static bool survey_fault(const struct survey *survey, uint32_t what, uint32_t address,
                         uint32_t expected) {
    struct wm_heap_fault *fault = survey->fault;
    uint32_t block = survey->block;
    fault_fill(fault, what, region_index(survey->region), block, address);
    fault->expected = expected;
    fault->actual = HAS_COMPREHENSIVE && what == WHAT(OVERFLOW, GUARD)
                        ? *(const uint8_t *)bytes_at(address)
                        : *(const uint32_t *)bytes_at(address);
    if (header_is_live(survey->region, block)) {
        fault->site = header_site(header_at(block));
        fault->line = header_line(header_at(block));
    }
    return false;
}

/* The node to which the tree leads of a free block that begins at `block`, by what its first
 * word or its node says; 0 if there is none. Visits the nodes in order, which is address order;
 * anything out of order ends the search. */
static uint32_t tree_holds(const struct wm_heap_region *region, uint32_t block) {
    uint32_t waiting[TREE_PATH_MAX];
    uint32_t count = 0;
    uint32_t last = 0;
    uint32_t says = block + header_at(block)->size_flags - NODE_BYTES;
    uint32_t node = region->root.node;
    for (;;) {
        for (; node != 0; node = node_at(node)->child[0].node) {
            if (count == TREE_PATH_MAX || !span_holds(span_of(region), node)) {
                return 0;
            }
            waiting[count++] = node;
        }
        if (count == 0 || waiting[count - 1u] <= last) {
            return 0;
        }
        node = last = waiting[--count];
        if (node == says || node + NODE_BYTES - node_at(node)->size == block) {
            return node;
        }
        node = node_at(node)->child[1].node;
    }
}

/* What stands here is neither the intact header of a live block nor a free block. Where the
 * tree still leads here it was a free one, with either its node or its first word smashed.
 * Else it was a header: with a smashed canary and a size that is still right the writer came
 * from the payload, from below otherwise. */
static bool header_fault(const struct survey *survey) {
    const struct wm_heap_region *region = survey->region;
    uint32_t block = survey->block;
    const struct wm_heap_header *header = header_at(block);
    uint32_t node = tree_holds(region, block);
    if (node != 0) {
        uint32_t size = node + NODE_BYTES - block;
        return tree_sound(node) && node_at(node)->size == size
                   ? survey_fault(survey, WHAT(SMASHED_FREE_BLOCK, SIZE), block, size)
                   : survey_fault(survey, WHAT(SMASHED_FREE_BLOCK, SEAL), node + 20u,
                                  node_seal(node, size));
    }
#if HAS_POISONING
    uint32_t broken = canary_broken(block, header);
    uint32_t next = block + header_size(header);
    if (broken != 0 && header_size(header) != 0 &&
        (next == region->tail || block_size(region, next) != 0 ||
         (span_holds(span_of(region), next) && tree_holds(region, next) != 0))) {
        return survey_fault(survey, WHAT(UNDERFLOW, CANARY), broken, CANARY);
    }
#endif
    return survey_fault(survey, WHAT(SMASHED_HEADER, SEAL), block + 12u,
                        header_seal(block, header));
}

/* A block that says it is live. */
static bool check_live(struct survey *survey, bool previous_free) {
    uint32_t block = survey->block;
    const struct wm_heap_header *header = header_at(block);
    if (block_size(survey->region, block) == 0) {
        return header_fault(survey);
    }
    uint32_t flags = previous_free ? ALLOCATED | PREVIOUS_FREE : ALLOCATED;
    if ((header->size_flags & FLAGS) != flags) {
        return survey_fault(survey, WHAT(SMASHED_HEADER, PREVIOUS_FREE), block,
                            header_size(header) | flags);
    }
    uint32_t broken = canary_broken(block, header);
    if (broken != 0) {
        return survey_fault(survey, WHAT(UNDERFLOW, CANARY), broken, CANARY);
    }
    broken = guard_broken(block, header);
    return broken == 0 || survey_fault(survey, WHAT(OVERFLOW, GUARD), broken, GUARD_BYTE);
}

/* A link in the node at `node`: does it lead where it must, and say of it what is so? What
 * lies below has been found right. */
static bool check_link(struct survey *survey, uint32_t node, uint32_t side, uint32_t leads_to) {
    const struct wm_heap_link *link = &node_at(node)->child[side];
    uint32_t largest = leads_to == 0 ? 0 : tree_largest(node_at(leads_to));
    if (link->node == leads_to && link->largest == largest) {
        return true;
    }
    uint32_t address = node + 4u + 8u * side;
    survey->block = node_front(span_of(survey->region), node);
    return link->node != leads_to
               ? survey_fault(survey, WHAT(SMASHED_FREE_BLOCK, LINK), address, leads_to)
               : survey_fault(survey, WHAT(SMASHED_FREE_BLOCK, LARGEST), address + 4u, largest);
}

/* Ends the right edge's subtrees in which the highest bit is lower than `rank`'s. Sets *top to
 * the highest of them, 0 if there are none. */
static bool check_spine(struct survey *survey, uint32_t rank, uint32_t *top) {
    for (*top = 0; survey->depth > 0; survey->depth--) {
        const struct spine *last = &survey->spine[survey->depth - 1u];
        if (last->rank >= rank || last->rank >= (last->rank ^ rank)) {
            break;
        }
        *top = last->node;
        if (!check_link(survey, last->node, 1, last->right)) {
            return false;
        }
    }
    return true;
}

/* A block that does not say it is live: it must be a free one's. */
static bool check_free(struct survey *survey, bool previous_free) {
    uint32_t block = survey->block;
    uint32_t size = block_size(survey->region, block);
    if (previous_free || size == 0 || block + size >= survey->region->tail) {
        return header_fault(survey);
    }
    uint32_t broken = hole_pattern_broken(block, size, size);
    if (broken != 0) {
        return survey_fault(survey, WHAT(USE_AFTER_FREE, PATTERN), broken, FREE_PATTERN);
    }
    uint32_t node = block + size - NODE_BYTES;
    uint32_t rank = node ^ survey->last;
    uint32_t left;
    if (!check_spine(survey, rank, &left) || !check_link(survey, node, 0, left)) {
        return false;
    }
    if (survey->depth > 0) {
        survey->spine[survey->depth - 1u].right = node;
    }
    survey->spine[survey->depth++] = (struct spine){node, rank, 0};
    survey->last = node;
    survey->free_bytes += size;
    return true;
}

/* Looks at the blocks from the region's start to the one that holds `until`, or all. Stops at
 * the first fault. survey->block is then the last one looked at, or the tail. */
static bool check_blocks(struct survey *survey, const struct wm_heap_region *region, uint32_t until,
                         struct wm_heap_fault *fault) {
    bool previous_free = false;
    survey->region = region;
    survey->fault = fault;
    survey->free_bytes = region->end - region->tail;
    survey->last = region->start;
    survey->depth = 0;
    for (survey->block = region->start; survey->block < region->tail;) {
        uint32_t size_flags = header_at(survey->block)->size_flags;
        bool live = (size_flags & ALLOCATED) != 0;
        if (!(live ? check_live(survey, previous_free) : check_free(survey, previous_free))) {
            return false;
        }
        previous_free = !live;
        if (until - survey->block < (size_flags & ~FLAGS)) {
            return true;
        }
        survey->block += size_flags & ~FLAGS;
    }
    return true;
}

/* The tail's pattern and the end marker. */
static bool check_end(struct survey *survey) {
    const struct wm_heap_region *region = survey->region;
    uint32_t end = region->end;
    uint32_t broken = pattern_broken(region->tail, end);
    if (broken != 0) {
        return survey_fault(survey, WHAT(USE_AFTER_FREE, PATTERN), broken, FREE_PATTERN);
    }
    const struct wm_heap_header *marker = header_at(end);
    survey->block = end;
    if (marker->size_flags != ALLOCATED || !header_is_sealed(end)) {
        return survey_fault(survey, WHAT(SMASHED_END_MARKER, SEAL), end + 12u,
                            header_seal(end, marker));
    }
    broken = canary_broken(end, marker);
    return broken == 0 || survey_fault(survey, WHAT(SMASHED_END_MARKER, CANARY), broken, CANARY);
}

bool region_check(struct wm_heap_region *region, struct wm_heap_fault *fault) {
    struct survey survey;
    uint32_t root;
    if (!check_blocks(&survey, region, region->end, fault) ||
        !check_spine(&survey, UINT32_MAX, &root) || !check_end(&survey)) {
        return false;
    }
    if (survey.free_bytes == region->level.free_bytes && region->root.node == root &&
        region->root.largest == (root == 0 ? 0 : tree_largest(node_at(root)))) {
        return true;
    }
    fault_fill(fault, WHAT(SMASHED_HEADER, TOTAL), region_index(region), 0, 0);
    fault->expected = region->level.free_bytes;
    fault->actual = survey.free_bytes;
    return false;
}

bool pointer_check(uint32_t pointer, struct wm_heap_fault *fault) {
    struct survey survey;
    struct wm_heap_region *region = region_at(pointer);
    uint32_t what = wm_heap_state.magic != WM_HEAP_STATE_MAGIC ? WHAT(NOT_INITIALIZED, CALL)
                                                               : WHAT(FOREIGN_POINTER, POINTER);
    fault_fill(fault, what, WM_HEAP_NO_REGION, 0, pointer);
    if (region != NULL && (pointer & 7u) == 0 && check_blocks(&survey, region, pointer, fault)) {
        uint32_t block = survey.block;
        bool live = block < region->tail && (header_at(block)->size_flags & ALLOCATED) != 0;
        if (live && pointer == block + HEADER_BYTES) {
            return true;
        }
        what = live ? WHAT(INTERIOR_POINTER, POINTER) : WHAT(DOUBLE_FREE, POINTER);
        survey_fault(&survey, what, pointer, live ? block + HEADER_BYTES : 0);
        fault->actual = pointer;
    }
    fault->pointer = pointer;
    return false;
}

/* Counts the fault, keeps the first one, closes the region that is damaged, and tells the
 * port, after the SDK's console text for a corrupted block, outside the lock. */
static void fault_raise(const struct wm_heap_fault *fault, uint32_t key) {
    struct wm_heap_state *state = &wm_heap_state;
    if (state->counters.faults++ == 0) {
        state->first_fault = *fault;
    }
    if (fault->kind >= WM_HEAP_FAULT_SMASHED_HEADER && fault->region < WM_HEAP_REGIONS_MAX) {
        state->regions[fault->region].state = WM_HEAP_REGION_CLOSED;
        state->regions[fault->region].lacks = LACKS_ALL;
    }
    wm_heap_port_unlock(key);
    if (HAS_POISONING &&
        (fault->kind == WM_HEAP_FAULT_UNDERFLOW || fault->kind == WM_HEAP_FAULT_OVERFLOW)) {
        print_corrupted_block(fault->block + HEADER_BYTES);
    }
    wm_heap_port_fault(fault);
}

COLD void fault_call(enum wm_heap_fault_kind kind, uint32_t region, uint32_t key) {
    struct wm_heap_fault fault;
    fault_fill(&fault, (uint32_t)kind | WM_HEAP_CHECK_CALL << 8, region, 0, 0);
    fault_raise(&fault, key);
}

COLD void fault_region(struct wm_heap_region *region, uint32_t key) {
    struct wm_heap_fault fault;
    if (region_check(region, &fault)) { /* then it was something that only an operation meets */
        fault_fill(&fault, WHAT(SMASHED_FREE_BLOCK, LINK), region_index(region), 0, 0);
    }
    fault_raise(&fault, key);
}

COLD void fault_pointer(uint32_t pointer, uint32_t key) {
    struct wm_heap_fault fault;
    const struct wm_heap_region *region = region_at(pointer);
    if (region != NULL && region->state == WM_HEAP_REGION_CLOSED) { /* it has been reported */
        wm_heap_state.counters.refused++;
        wm_heap_port_unlock(key);
        return;
    }
    pointer_check(pointer, &fault);
    fault_raise(&fault, key);
}

bool wm_heap_check(uint32_t region, struct wm_heap_fault *fault) {
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        struct wm_heap_region *at = &wm_heap_state.regions[i];
        if ((region == i || region == WM_HEAP_NO_REGION) && at->state >= WM_HEAP_REGION_OPEN) {
            uint32_t key = wm_heap_port_lock();
            bool good = region_check(at, fault);
            wm_heap_port_unlock(key);
            if (!good) {
                return false;
            }
        }
    }
    return true;
}
