/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocations the SDK does not have: zeroed and aligned.
 */
#include "internal.h"
#include "poison.h"

#define ALIGNMENT_MAX 4096u

void *wm_heap_caps_calloc_tracing(size_t count, size_t size, wm_heap_cap_type_t caps,
                                  const char *file, int line) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        bytes = SIZE_MAX; /* which no region has */
    }
    void *memory = wm_heap_caps_alloc_tracing(bytes, caps, file, line);
    if (memory != NULL) {
        __builtin_memset(memory, 0, bytes);
    }
    return memory;
}

/* Where the aligned block comes to lie in a hole: at the hole's start, or far enough behind
 * it that what lies before can stand alone. */
static uint32_t aligned_block(uint32_t hole, uint32_t alignment) {
    uint32_t pointer = (hole + HEADER_BYTES + alignment - 1u) & ~(alignment - 1u);
    while (pointer - HEADER_BYTES != hole && pointer - HEADER_BYTES - hole < SMALLEST_BLOCK) {
        pointer += alignment;
    }
    return pointer - HEADER_BYTES;
}

/* An aligned block cut out of a hole: what lies before it and a large enough remainder
 * stay free. */
struct aligned_cut {
    uint32_t block;
    uint32_t taken;
    uint32_t rest;
};

static struct aligned_cut aligned_cut(uint32_t hole, uint32_t end, uint32_t want,
                                      uint32_t alignment) {
    uint32_t block = aligned_block(hole, alignment);
    uint32_t rest = end - block - want;
    return (struct aligned_cut){
        .block = block,
        .taken = rest > SPLIT_OVER ? want : want + rest,
        .rest = rest > SPLIT_OVER ? rest : 0,
    };
}

/* From the free memory behind all blocks. False: damage. */
static bool aligned_from_tail(struct wm_heap_region *region, uint32_t want, uint32_t alignment,
                              struct aligned_cut *cut) {
    uint32_t hole = region->tail;
    *cut = aligned_cut(hole, region->end, want, alignment);
    if (pattern_broken(hole, cut->block + cut->taken) != 0) {
        return false;
    }
    region->tail = cut->block + cut->taken;
    return cut->block == hole || tree_insert(region, hole, cut->block - hole);
}

/* From the first hole of `room` bytes among the blocks, which exists. Sets *hole. */
static bool aligned_from_tree(struct wm_heap_region *region, uint32_t want, uint32_t room,
                              uint32_t alignment, uint32_t *hole, struct aligned_cut *cut) {
    struct tree_path path;
    if (!tree_first_fit(region, room, &path)) {
        return false;
    }
    *hole = tree_last(&path)->node;
    uint32_t end = hole_end(region, *hole);
    if (end == 0 || pattern_broken(*hole + (uint32_t)sizeof(struct wm_heap_node), end) != 0) {
        return false;
    }
    *cut = aligned_cut(*hole, end, want, alignment);
    if (cut->rest != 0) {
        tree_move(&path, cut->block + want, cut->rest);
    } else if (tree_remove(region, &path)) {
        header_toggle_previous_free(header_at(end));
    } else {
        return false;
    }
    return cut->block == *hole || tree_insert(region, *hole, cut->block - *hole);
}

/* Under the lock: returns the block, 0 if there is no room or, with *damaged, a fault. */
static uint32_t aligned_locked(uint32_t room, uint32_t alignment, const struct block_origin *origin,
                               bool *damaged, struct wm_heap_fault *fault) {
    uint32_t want = block_bytes(origin->requested);
    struct wm_heap_region *region = region_for(origin->caps, room);
    *damaged = false;
    if (region == NULL) {
        return 0;
    }
    struct aligned_cut cut;
    uint32_t hole = region->tail;
    bool ok = region->root.largest < room
                  ? aligned_from_tail(region, want, alignment, &cut)
                  : aligned_from_tree(region, want, room, alignment, &hole, &cut);
    if (!ok) {
        *damaged = true;
        fault_from_region(region, fault);
        fault_record(fault);
        return 0;
    }
    struct block_origin numbered = *origin;
    numbered.sequence = ++wm_heap_state.counters.allocs;
    uint32_t flags = cut.block == hole ? ALLOCATED : ALLOCATED | PREVIOUS_FREE;
    header_write(region, cut.block, cut.taken | flags, &numbered);
    account_take(region, cut.taken);
    return cut.block;
}

void *wm_heap_caps_aligned_alloc_tracing(size_t alignment, size_t size,
                                         wm_heap_cap_type_t caps_wanted, const char *file,
                                         int line) {
    uint32_t caps = caps_wanted == 0 ? (uint32_t)WM_HEAP_CAP_DEFAULT : (uint32_t)caps_wanted;
    if (alignment == 8u) {
        return wm_heap_caps_alloc_tracing(size, caps_wanted, file, line);
    }
    if (size == 0) {
        return NULL;
    }
    if (size > LARGEST_REQUEST || alignment < 8u || alignment > ALIGNMENT_MAX ||
        (alignment & (alignment - 1u)) != 0) {
        return allocation_failed(size, caps, file, line);
    }
    uint32_t room = block_bytes((uint32_t)size) + (uint32_t)alignment + SMALLEST_BLOCK;
    struct block_origin origin = {.requested = (uint32_t)size, .caps = caps};
    origin_site(&origin, file, line);
    struct wm_heap_fault fault;
    bool damaged;
    uint32_t key = wm_heap_port_lock();
    uint32_t block = aligned_locked(room, (uint32_t)alignment, &origin, &damaged, &fault);
    wm_heap_port_unlock(key);
    if (damaged) {
        fault_report(&fault);
    }
    return block != 0 ? bytes_at(block + HEADER_BYTES) : allocation_failed(size, caps, file, line);
}
