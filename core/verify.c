/* SPDX-License-Identifier: Apache-2.0
 *
 * The cold side: what exactly is wrong? A hot path that meets something impossible only
 * says so; here a walk over the region finds the first thing in address order that is
 * wrong and names it. The integrity check is the same walk. It believes nothing it has not
 * checked, and ends after at most one step for each 8 bytes of the region.
 */
#include "internal.h"
#include "tree.h"

/* A fault's kind and check in one number; in a byte, which an instruction holds. */
#define WHAT(kind, check) (WM_HEAP_FAULT_##kind + 16u * WM_HEAP_CHECK_##check)
_Static_assert(WM_HEAP_FAULT_KINDS <= 16 && WM_HEAP_CHECK_KINDS <= 16, "half a byte each");

/* One check over one region: where it is, what it has seen, what it found. The tree that the
 * free blocks seen so far must form is known at each step by its right edge, the nodes from the
 * root always to the right; the last of them is the latest free block's. A node's rank is the
 * highest bit in which it differs from the one before it here (core/tree.h), and the number after
 * the last says where its right link must lead. */
struct survey {
    const struct wm_heap_region *region;
    struct wm_heap_fault *fault;
    uint32_t block; /* the one that is looked at */
    uint32_t free_bytes;
    uint32_t *last; /* in `edge` */
    /* [0] differs from the region's start in the highest bit, [1] is the start, [2] the root */
    uint32_t edge[2u + TREE_PATH_MAX];
};

struct wm_heap_region *region_at(uint32_t address) {
    struct wm_heap_region *region = wm_heap_state.regions;
    for (uint32_t left = WM_HEAP_REGIONS_MAX; left > 0; left--, region++) {
        if (region->start <= address && address < region->end) {
            return region;
        }
    }
    return NULL;
}

/* The first word of a header that does not match the others; 0 if all do. Sets *expected to what
 * it must be. */
static uint32_t header_broken(uint32_t address, uint32_t *expected) {
    const struct wm_heap_header *header = header_at(address);
    *expected = size_seal(address, header->size_flags);
    if (header->seal != *expected) {
        return address + 12u;
    }
    *expected = header_owner(header, header->owner & OWNER_WORDS);
    return header->owner == *expected ? 0 : address + 4u;
}

uint32_t block_size(const struct wm_heap_region *region, uint32_t address) {
    if (!span_holds(span_whole(region), address)) {
        return 0;
    }
    const struct wm_heap_header *header = header_at(address);
    uint32_t size = header_size(header);
    uint32_t node = address + size - NODE_BYTES;
    uint32_t expected;
    if (size > region->tail - address || size < SMALLEST_BLOCK) {
        return 0;
    }
    bool sound = (header->size_flags & ALLOCATED) != 0
                     ? header_broken(address, &expected) == 0 && header_has_payload(header)
                     : header->size_flags == size && node_at(node)->size == size &&
                           node_at(node)->seal == size_seal(node, size);
    return sound ? size : 0;
}

/* Begins a fault; what is not known yet is 0. */
static COLD void fault_begin(struct wm_heap_fault *fault, uint32_t what, uint32_t region,
                             uint32_t pointer) {
    *fault = (struct wm_heap_fault){
        .kind = what % 16u, .check = what / 16u, .region = region, .pointer = pointer};
}

/* Says that the word at `address` (with guard bytes the byte) is not what it must be. */
static void survey_note(const struct survey *survey, uint32_t what, uint32_t address,
                        uint32_t expected) {
    struct wm_heap_fault *fault = survey->fault;
    uint32_t block = survey->block;
    fault->kind = what % 16u;
    fault->check = what / 16u;
    fault->block = block;
    fault->address = address;
    fault->expected = expected;
    fault->actual = HAS_COMPREHENSIVE && what == WHAT(OVERFLOW, GUARD)
                        ? *(const uint8_t *)bytes_at(address)
                        : *(const uint32_t *)bytes_at(address);
    if (block_size(survey->region, block) != 0 && (header_at(block)->size_flags & ALLOCATED) != 0) {
        fault->site = header_site(header_at(block));
        fault->line = header_line(header_at(block));
    }
}

/* The same as the answer of a check. */
static inline bool survey_fault(const struct survey *survey, uint32_t what, uint32_t address,
                                uint32_t expected) {
    survey_note(survey, what, address, expected);
    return false;
}

/* The node to which a link leads of a free block that begins at `block`, by what its first
 * word or its node says; 0 if there is none. In the tree it would lie at `block` or above, and no
 * other one between: the way to it is the way to `block`. */
static uint32_t hole_known(const struct wm_heap_region *region, uint32_t block) {
    uint32_t says = block + header_at(block)->size_flags - NODE_BYTES;
    if (region->fresh.node + NODE_BYTES - region->fresh.largest == block) {
        return region->fresh.node;
    }
    uint32_t node = region->root.node;
    for (uint32_t left = TREE_PATH_MAX; left > 0 && span_holds(span_whole(region), node); left--) {
        if (node >= block && (node == says || node + NODE_BYTES - node_at(node)->size == block)) {
            return node;
        }
        node = node_at(node)->child[node < block].node;
    }
    return 0;
}

/* What stands here is neither the intact header of a live block nor a free block. Where the
 * tree still leads here it was a free one, with either its node or its first word smashed.
 * Else it was a header: with a smashed canary and a size that is still right the writer came
 * from the payload, from below otherwise. */
static bool header_fault(const struct survey *survey) {
    const struct wm_heap_region *region = survey->region;
    uint32_t block = survey->block;
    uint32_t node = hole_known(region, block);
    if (node != 0) {
        uint32_t size = node + NODE_BYTES - block;
        uint32_t seal = size_seal(node, size);
        return node_at(node)->size == size && node_at(node)->seal == seal
                   ? survey_fault(survey, WHAT(SMASHED_FREE_BLOCK, SIZE), block, size)
                   : survey_fault(survey, WHAT(SMASHED_FREE_BLOCK, SEAL), node + 20u, seal);
    }
#if HAS_POISONING
    const struct wm_heap_header *header = header_at(block);
    uint32_t broken = canary_broken(block, header);
    uint32_t next = block + header_size(header);
    if (broken != 0 && (next == region->tail || block_size(region, next) != 0 ||
                        (span_holds(span_whole(region), next) && hole_known(region, next) != 0))) {
        return survey_fault(survey, WHAT(UNDERFLOW, CANARY), broken, CANARY);
    }
#endif
    uint32_t expected;
    uint32_t word = header_broken(block, &expected);
    return word != 0 ? survey_fault(survey, WHAT(SMASHED_HEADER, SEAL), word, expected)
                     : survey_fault(survey, WHAT(SMASHED_HEADER, SIZE), block, 0);
}

/* A block with an intact header, in which `flags` must be set. */
static bool check_live(const struct survey *survey, uint32_t flags) {
    uint32_t block = survey->block;
    const struct wm_heap_header *header = header_at(block);
    if ((header->size_flags & FLAGS) != flags) {
        return survey_fault(survey, WHAT(SMASHED_HEADER, PREVIOUS_FREE), block,
                            header_size(header) | flags);
    }
    uint32_t broken = canary_broken(block, header);
    if (broken != 0) {
        return survey_fault(survey, WHAT(UNDERFLOW, CANARY), broken, CANARY);
    }
    broken = guard_broken(block, header);
    if (broken != 0) {
        return survey_fault(survey, WHAT(OVERFLOW, GUARD), broken, GUARD_BYTE);
    }
    return true;
}

/* The first word of a link that is wrong: it must lead to the node at *expected (0: nowhere), and
 * say of it what is so. *expected becomes what that word must be. NULL if both are right. */
static COLD const uint32_t *link_wrong(const struct wm_heap_link *link, uint32_t *expected) {
    uint32_t node = *expected;
    if (link->node != node) {
        return &link->node;
    }
    *expected = node == 0 ? 0 : tree_largest(node_at(node));
    return link->largest == *expected ? NULL : &link->largest;
}

/* Is the link of a sound node right, as link_wrong says? */
static bool check_link(struct survey *survey, uint32_t holder, const struct wm_heap_link *link,
                       uint32_t *expected) {
    const uint32_t *wrong = link_wrong(link, expected);
    if (wrong == NULL) {
        return true;
    }
    survey->block = holder + NODE_BYTES - node_at(holder)->size;
    return survey_fault(survey,
                        wrong == &link->node ? WHAT(SMASHED_FREE_BLOCK, LINK)
                                             : WHAT(SMASHED_FREE_BLOCK, LARGEST),
                        address_of(wrong), *expected);
}

/* Does each link whose subtree ends before the free block's node at `node` lead where it must,
 * and say of it what is so? These are the right links at the edge's end whose holders have a
 * highest bit lower than `rank`'s, then the node's own left link (none if `node` is 0). What lies
 * below has been found right. */
static bool check_links(struct survey *survey, uint32_t node, uint32_t rank) {
    for (uint32_t *last = survey->last;; last--) {
        /* NOLINTNEXTLINE(clang-analyzer-core.*) check_blocks has set what `last` points to */
        uint32_t its = last[0] ^ last[-1];
        bool done = its >= (rank & ~its); /* its highest bit is not lower */
        uint32_t holder = done ? node : last[0];
        if (holder == 0) {
            return true;
        }
        const struct wm_heap_link *link = &node_at(holder)->child[done ? 0 : 1];
        if (!check_link(survey, holder, link, &last[1])) {
            return false;
        }
        if (done) {
            survey->last = last;
            return true;
        }
    }
}

/* A sound free block of `size` bytes, with another block behind it. */
static bool check_free(struct survey *survey, uint32_t size) {
    uint32_t block = survey->block;
    uint32_t node = block + size - NODE_BYTES;
    bool fresh = node == survey->region->fresh.node;
    uint32_t broken = hole_pattern_broken(block, size, size);
    if (broken == 0 && fresh) {
        broken = fresh_pattern_broken(node);
    }
    if (broken != 0) {
        return survey_fault(survey, WHAT(USE_AFTER_FREE, PATTERN), broken, FREE_PATTERN);
    }
    survey->free_bytes += size;
    if (fresh) {
        survey->free_bytes -= survey->region->fresh.largest; /* counted in advance */
        return true;
    }
    if (!check_links(survey, node, node ^ *survey->last)) {
        return false;
    }
    *++survey->last = node;
    survey->last[1] = 0;
    return true;
}

/* Looks at the blocks from the region's start to the one that holds `pointer`, or all if none
 * does. Stops at the first fault. survey->block is then the last one looked at, or the tail. */
static bool check_blocks(struct survey *survey, uint32_t pointer) {
    const struct wm_heap_region *region = survey->region;
    uint32_t flags = ALLOCATED; /* of a live block here */
    uint32_t size;
    survey->free_bytes = region->end - region->tail + region->fresh.largest;
    survey->edge[0] = ~region->start;
    survey->edge[1] = region->start;
    survey->edge[2] = 0;
    survey->last = &survey->edge[1];
    for (survey->block = region->start; survey->block < region->tail; survey->block += size) {
        bool live = (header_at(survey->block)->size_flags & ALLOCATED) != 0;
        size = block_size(region, survey->block);
        if (size == 0 || (!live && (flags != ALLOCATED || survey->block + size >= region->tail))) {
            return header_fault(survey);
        }
        if (!(live ? check_live(survey, flags) : check_free(survey, size))) {
            return false;
        }
        flags = live ? ALLOCATED : ALLOCATED | PREVIOUS_FREE;
        if (pointer - survey->block < size) {
            break;
        }
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
    uint32_t expected = ALLOCATED;
    broken = marker->size_flags == expected ? header_broken(end, &expected) : end;
    if (broken != 0) {
        return survey_fault(survey, WHAT(SMASHED_END_MARKER, SEAL), broken, expected);
    }
    broken = canary_broken(end, marker);
    if (broken != 0) {
        return survey_fault(survey, WHAT(SMASHED_END_MARKER, CANARY), broken, CANARY);
    }
    return true;
}

/* What the state says of the free blocks: their sum, and the way to the root. */
static bool check_state(struct survey *survey) {
    const struct wm_heap_region *region = survey->region;
    if (survey->free_bytes == wm_heap_level_free(&region->level) &&
        link_wrong(&region->root, &survey->edge[2]) == NULL) {
        return true;
    }
    survey->fault->kind = WM_HEAP_FAULT_SMASHED_HEADER;
    survey->fault->check = WM_HEAP_CHECK_TOTAL;
    survey->fault->expected = wm_heap_level_free(&region->level);
    survey->fault->actual = survey->free_bytes;
    return false;
}

/* Does a live block's payload begin at `pointer`, which the latest block holds? */
static bool check_pointer(const struct survey *survey, uint32_t pointer) {
    uint32_t block = survey->block;
    bool live = block < survey->region->tail && (header_at(block)->size_flags & ALLOCATED) != 0;
    uint32_t payload = live ? block + HEADER_BYTES : 0;
    if (payload == pointer) { /* and the call found it wrong: memory has changed since */
        return true;          /* NO_CALL_EXCL: under the lock, by DMA or a failing chip alone */
    }
    survey_note(survey, live ? WHAT(INTERIOR_POINTER, POINTER) : WHAT(DOUBLE_FREE, POINTER),
                pointer, payload);
    survey->fault->actual = pointer;
    return false;
}

bool region_check(const struct wm_heap_region *region, uint32_t pointer,
                  struct wm_heap_fault *fault) {
    if (region == NULL || (pointer & 7u) != 0) {
        fault_begin(fault,
                    heap_is_up() ? WHAT(FOREIGN_POINTER, POINTER) : WHAT(NOT_INITIALIZED, CALL),
                    WM_HEAP_NO_REGION, pointer);
        fault->address = pointer;
        return false;
    }
    struct survey survey;
    survey.region = region;
    survey.fault = fault;
    fault_begin(fault, WHAT(NONE, NONE), region_index(region), pointer);
    if (!check_blocks(&survey, pointer)) {
        return false;
    }
    return pointer != 0
               ? check_pointer(&survey, pointer)
               : check_links(&survey, 0, UINT32_MAX) && check_end(&survey) && check_state(&survey);
}

/* Counts the fault, keeps the first one, closes the region that is damaged, and tells the
 * port, after the SDK's console text for a corrupted block, outside the lock. */
static void fault_raise(const struct wm_heap_fault *fault, uint32_t key) {
    struct wm_heap_state *state = &wm_heap_state;
    if (state->counters.faults++ == 0) {
        state->first_fault = *fault;
    }
    if (fault->kind >= WM_HEAP_FAULT_SMASHED_HEADER) {
        struct wm_heap_region *region = &state->regions[fault->region];
        region->state = WM_HEAP_REGION_CLOSED;
        region->lacks = LACKS_ALL;
        state->latest.caps = 0;
        region->eighths = 0;
    }
    wm_heap_port_unlock(key);
    if (HAS_POISONING &&
        (fault->kind == WM_HEAP_FAULT_UNDERFLOW || fault->kind == WM_HEAP_FAULT_OVERFLOW)) {
        print_corrupted_block(fault->block + HEADER_BYTES,
                              state->regions[fault->region].table_caps);
    }
    wm_heap_port_fault(fault);
}

COLD void fault_call(enum wm_heap_fault_kind kind, uint32_t region, uint32_t key) {
    struct wm_heap_fault fault;
    fault_begin(&fault, (uint32_t)kind + WHAT(NONE, CALL), region, 0);
    fault_raise(&fault, key);
}

COLD void fault_find(const struct wm_heap_region *region, uint32_t pointer, uint32_t key) {
    struct wm_heap_fault fault;
    if (pointer != 0) {
        region = region_at(pointer);
    } else if (region == NULL) { /* free(NULL) */
        wm_heap_port_unlock(key);
        return;
    }
    if (region != NULL && region->state == WM_HEAP_REGION_CLOSED) { /* it has been reported */
        wm_heap_state.counters.refused++;
        wm_heap_port_unlock(key);
        return;
    }
    if (region_check(region, pointer, &fault)) { /* something that only an operation meets */
        fault.kind = WM_HEAP_FAULT_SMASHED_FREE_BLOCK;
        fault.check = WM_HEAP_CHECK_LINK;
    }
    fault_raise(&fault, key);
}

bool wm_heap_check(uint32_t region, struct wm_heap_fault *fault) {
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        const struct wm_heap_region *at = &wm_heap_state.regions[i];
        if ((region == i || region == WM_HEAP_NO_REGION) && at->state >= WM_HEAP_REGION_OPEN) {
            uint32_t key = wm_heap_port_lock();
            bool good = region_check(at, 0, fault);
            wm_heap_port_unlock(key);
            if (!good) {
                return false;
            }
        }
    }
    return true;
}
