/* SPDX-License-Identifier: Apache-2.0
 *
 * The cold side: what exactly is wrong? A hot path that meets something impossible only
 * says so; here a walk over the region finds the first thing in address order that is
 * wrong and names it. The integrity check is the same walk. It believes nothing it has not
 * checked, and ends after at most one step for each 8 bytes of the region.
 */
#include "internal.h"

/* A node whose right subtree the walk is in, or has not come to the end of. */
struct spine {
    uint32_t node;
    uint32_t rank;  /* its highest bit counts (core/tree.h) */
    uint32_t right; /* where its right link must lead */
};

/* One check over one region: where it is, what it has seen, what it found. The tree that the
 * free blocks seen so far must form is known at each step by its right edge. */
struct survey {
    struct wm_heap_region *region;
    struct wm_heap_fault *fault;
    uint32_t free_bytes;
    uint32_t last; /* node of the latest free block; before the first the region's start */
    uint32_t depth;
    struct spine spine[TREE_PATH_MAX];
};

static bool fault_set(struct wm_heap_fault *fault, const struct wm_heap_fault *what) {
    *fault = *what;
    return false;
}

/* Says what is wrong with a block. */
static bool survey_fault(const struct survey *survey, enum wm_heap_fault_kind kind,
                         enum wm_heap_check_kind check, uint32_t block, uint32_t address,
                         uint32_t expected, uint32_t actual) {
    return fault_set(survey->fault, &(struct wm_heap_fault){
                                        .kind = kind,
                                        .check = check,
                                        .region = region_index(survey->region),
                                        .block = block,
                                        .address = address,
                                        .expected = expected,
                                        .actual = actual,
                                    });
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
static bool header_fault(const struct survey *survey, uint32_t block) {
    const struct wm_heap_header *header = header_at(block);
    const struct wm_heap_region *region = survey->region;
    uint32_t node = tree_holds(region, block);
    if (node != 0) {
        uint32_t size = node + NODE_BYTES - block;
        bool front = tree_sound(node) && node_at(node)->size == size;
        return front ? survey_fault(survey, WM_HEAP_FAULT_SMASHED_FREE_BLOCK, WM_HEAP_CHECK_SIZE,
                                    block, block, size, header->size_flags)
                     : survey_fault(survey, WM_HEAP_FAULT_SMASHED_FREE_BLOCK, WM_HEAP_CHECK_SEAL,
                                    block, node + 20u, node_seal(node, size), node_at(node)->seal);
    }
    uint32_t broken = canary_broken(block, header);
    uint32_t next = block + header_size(header);
    bool next_is_there = next == region->tail || header_is_live(region, next) ||
                         (span_holds(span_of(region), next) && tree_holds(region, next) != 0);
    if (broken != 0 && header_size(header) != 0 && next_is_there) {
        return survey_fault(survey, WM_HEAP_FAULT_UNDERFLOW, WM_HEAP_CHECK_CANARY, block, broken,
                            CANARY, *(const uint32_t *)bytes_at(broken));
    }
    return survey_fault(survey, WM_HEAP_FAULT_SMASHED_HEADER, WM_HEAP_CHECK_SEAL, block,
                        block + 12u, header_seal(block, header), header->seal);
}

/* A block that says it is live. */
static bool check_live(struct survey *survey, uint32_t block, bool previous_free) {
    const struct wm_heap_header *header = header_at(block);
    if (!header_is_live(survey->region, block)) {
        return header_fault(survey, block);
    }
    uint32_t flag = previous_free ? PREVIOUS_FREE : 0;
    if ((header->size_flags & (FLAGS & ~ALLOCATED)) != flag) {
        return survey_fault(survey, WM_HEAP_FAULT_SMASHED_HEADER, WM_HEAP_CHECK_PREVIOUS_FREE,
                            block, block, (header->size_flags & ~FLAGS) | ALLOCATED | flag,
                            header->size_flags);
    }
    uint32_t broken = canary_broken(block, header);
    if (broken != 0) {
        survey_fault(survey, WM_HEAP_FAULT_UNDERFLOW, WM_HEAP_CHECK_CANARY, block, broken, CANARY,
                     *(const uint32_t *)bytes_at(broken));
    } else {
        broken = guard_broken(block, header);
        if (broken == 0) {
            return true;
        }
        survey_fault(survey, WM_HEAP_FAULT_OVERFLOW, WM_HEAP_CHECK_GUARD, block, broken, GUARD_BYTE,
                     *(const uint8_t *)bytes_at(broken));
    }
    survey->fault->site = header_site(header);
    survey->fault->line = header_line(header);
    return false;
}

/* A link in a free block's node: does it lead where it must, and say of it what is so? What
 * lies below has been found right. */
static bool check_link(const struct survey *survey, uint32_t node, const struct wm_heap_link *link,
                       uint32_t address, uint32_t leads_to) {
    uint32_t block = node == 0 ? 0 : node + NODE_BYTES - node_at(node)->size;
    uint32_t largest = leads_to == 0 ? 0 : tree_largest(node_at(leads_to));
    if (link->node != leads_to) {
        return survey_fault(survey, WM_HEAP_FAULT_SMASHED_FREE_BLOCK, WM_HEAP_CHECK_LINK, block,
                            address, leads_to, link->node);
    }
    if (link->largest != largest) {
        return survey_fault(survey, WM_HEAP_FAULT_SMASHED_FREE_BLOCK, WM_HEAP_CHECK_LARGEST, block,
                            address + 4u, largest, link->largest);
    }
    return true;
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
        if (!check_link(survey, last->node, &node_at(last->node)->child[1], last->node + 12u,
                        last->right)) {
            return false;
        }
    }
    return true;
}

/* A block that does not say it is live: it must be a free one's. */
static bool check_free(struct survey *survey, uint32_t block, bool previous_free) {
    struct wm_heap_region *region = survey->region;
    uint32_t node = front_node(span_of(region), block);
    if (previous_free || node == 0 || node + NODE_BYTES >= region->tail) {
        return header_fault(survey, block);
    }
    uint32_t size = node_at(node)->size;
    uint32_t broken = hole_pattern_broken(block, size, size);
    if (broken != 0) {
        return survey_fault(survey, WM_HEAP_FAULT_USE_AFTER_FREE, WM_HEAP_CHECK_PATTERN, block,
                            broken, FREE_PATTERN, *(const uint32_t *)bytes_at(broken));
    }
    uint32_t rank = node ^ survey->last;
    uint32_t left;
    if (!check_spine(survey, rank, &left) ||
        !check_link(survey, node, &node_at(node)->child[0], node + 4u, left)) {
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

/* Blocks from the region's start; stops at the first fault. Sets *block to the last one
 * looked at. With `until`, the walk ends at the block that holds that address. */
static bool check_blocks(struct survey *survey, uint32_t until, uint32_t *block) {
    const struct wm_heap_region *region = survey->region;
    bool previous_free = false;
    for (uint32_t at = region->start; at < region->tail;) {
        *block = at;
        uint32_t size_flags = header_at(at)->size_flags;
        bool live = (size_flags & ALLOCATED) != 0;
        if (!(live ? check_live(survey, at, previous_free)
                   : check_free(survey, at, previous_free))) {
            return false;
        }
        previous_free = !live;
        at += size_flags & ~FLAGS;
        if (at > until) {
            return true;
        }
    }
    *block = region->tail;
    return true;
}

/* The end marker: all its words are known. */
static bool check_marker(const struct survey *survey) {
    uint32_t end = survey->region->end;
    const struct wm_heap_header *header = header_at(end);
    uint32_t broken = canary_broken(end, header);
    if (header->size_flags != ALLOCATED || header->seal != header_seal(end, header)) {
        return survey_fault(survey, WM_HEAP_FAULT_SMASHED_END_MARKER, WM_HEAP_CHECK_SEAL, end,
                            end + 12u, header_seal(end, header), header->seal);
    }
    if (broken != 0) {
        return survey_fault(survey, WM_HEAP_FAULT_SMASHED_END_MARKER, WM_HEAP_CHECK_CANARY, end,
                            broken, CANARY, *(const uint32_t *)bytes_at(broken));
    }
    return true;
}

bool region_check(struct wm_heap_region *region, struct wm_heap_fault *fault) {
    struct survey survey = {.region = region, .fault = fault, .last = region->start};
    uint32_t block;
    uint32_t root;
    if (!check_blocks(&survey, region->end, &block) || !check_spine(&survey, UINT32_MAX, &root) ||
        !check_link(&survey, root, &region->root, root, root)) {
        return false;
    }
    uint32_t broken = pattern_broken(region->tail, region->end);
    if (broken != 0) {
        return survey_fault(&survey, WM_HEAP_FAULT_USE_AFTER_FREE, WM_HEAP_CHECK_PATTERN,
                            region->tail, broken, FREE_PATTERN,
                            *(const uint32_t *)bytes_at(broken));
    }
    if (!check_marker(&survey)) {
        return false;
    }
    uint32_t free_bytes = survey.free_bytes + (region->end - region->tail);
    if (free_bytes != region->level.free_bytes) {
        return survey_fault(&survey, WM_HEAP_FAULT_SMASHED_HEADER, WM_HEAP_CHECK_TOTAL, 0, 0,
                            region->level.free_bytes, free_bytes);
    }
    return true;
}

bool fault_from_call(enum wm_heap_fault_kind kind, uint32_t region, struct wm_heap_fault *fault) {
    return fault_set(fault, &(struct wm_heap_fault){
                                .kind = kind, .check = WM_HEAP_CHECK_CALL, .region = region});
}

COLD bool fault_from_region(struct wm_heap_region *region, struct wm_heap_fault *fault) {
    /* stands if the walk finds all in order after all */
    *fault = (struct wm_heap_fault){
        .kind = WM_HEAP_FAULT_SMASHED_FREE_BLOCK,
        .check = WM_HEAP_CHECK_LINK,
        .region = region_index(region),
    };
    region_check(region, fault);
    return false;
}

COLD bool fault_from_pointer(uint32_t pointer, struct wm_heap_fault *fault) {
    struct wm_heap_region *region = region_at(pointer);
    *fault = (struct wm_heap_fault){
        .kind = WM_HEAP_FAULT_FOREIGN_POINTER,
        .check = WM_HEAP_CHECK_POINTER,
        .region = WM_HEAP_NO_REGION,
        .pointer = pointer,
        .address = pointer,
    };
    if (wm_heap_state.magic != WM_HEAP_STATE_MAGIC) {
        fault->kind = WM_HEAP_FAULT_NOT_INITIALIZED;
        fault->check = WM_HEAP_CHECK_CALL;
        return false;
    }
    if (region == NULL || (pointer & 7u) != 0) {
        return false;
    }
    fault->region = region_index(region);
    struct survey survey = {.region = region, .fault = fault, .last = region->start};
    uint32_t block = region->tail;
    if (!check_blocks(&survey, pointer, &block)) {
        fault->pointer = pointer;
        return false;
    }
    bool is_free = block >= region->tail || (header_at(block)->size_flags & ALLOCATED) == 0;
    fault->kind = is_free ? WM_HEAP_FAULT_DOUBLE_FREE : WM_HEAP_FAULT_INTERIOR_POINTER;
    fault->block = block;
    fault->expected = is_free ? 0 : block + HEADER_BYTES;
    fault->actual = pointer;
    if (!is_free) {
        fault->site = header_site(header_at(block));
        fault->line = header_line(header_at(block));
    }
    return false;
}

void fault_record(const struct wm_heap_fault *fault) {
    struct wm_heap_state *state = &wm_heap_state;
    if (state->counters.faults++ == 0) {
        state->first_fault = *fault;
    }
    if (fault->kind >= WM_HEAP_FAULT_SMASHED_HEADER && fault->region < WM_HEAP_REGIONS_MAX) {
        state->regions[fault->region].state = WM_HEAP_REGION_CLOSED;
        state->regions[fault->region].lacks = LACKS_ALL;
    }
}

void fault_report(const struct wm_heap_fault *fault) {
    if (fault->kind == WM_HEAP_FAULT_UNDERFLOW || fault->kind == WM_HEAP_FAULT_OVERFLOW) {
        print_corrupted_block(fault->block + HEADER_BYTES);
    }
    wm_heap_port_fault(fault);
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
