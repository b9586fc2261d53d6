/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocations the SDK does not have: zeroed and aligned.
 */
#include "block.h"
#include "product.h"

#define ALIGNMENT_MAX 4096u

void *wm_heap_caps_calloc_tracing(size_t count, size_t size, wm_heap_cap_type_t caps,
                                  const char *file, int line) {
    size_t bytes = calloc_bytes(count, size);
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

/* The free memory that holds `want` bytes wherever the aligned address falls. */
static uint32_t aligned_room(uint32_t want, uint32_t alignment) {
    return want + alignment + SMALLEST_BLOCK;
}

/* Takes an aligned block of `want` bytes from the region's first free memory that has that room, a
 * hole or that behind all blocks, and gives back what lies before it: *lead bytes. Block 0:
 * damage. */
static struct piece aligned_take(struct wm_heap_region *region, bool from_hole, uint32_t want,
                                 uint32_t alignment, uint32_t *lead) {
    const struct piece damage = {0, 0};
    struct tree_path path;
    struct wm_heap_link **end = NULL;
    uint32_t hole = region->tail;
    if (from_hole) {
        end = hole_find(region, aligned_room(want, alignment), &path);
        if (end == NULL) {
            return damage;
        }
        hole = (*end)->node + NODE_BYTES - node_at((*end)->node)->size;
    }
    uint32_t block = aligned_block(hole, alignment);
    *lead = block - hole;
    struct piece piece =
        end == NULL ? tail_cut(region, *lead + want) : hole_cut(region, &path, end, *lead + want);
    if (piece.block == 0 || *lead == 0) {
        return piece;
    }
    return hole_put(region, hole, block) /* what it tells the block is overwritten */
               ? (struct piece){block, piece.bytes - *lead}
               : damage;
}

void *wm_heap_caps_aligned_alloc_tracing(size_t alignment, size_t size,
                                         wm_heap_cap_type_t caps_wanted, const char *file,
                                         int line) {
    uint32_t caps = caps_asked(caps_wanted);
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
    uint32_t want = block_bytes((uint32_t)size);
    uint32_t room = aligned_room(want, (uint32_t)alignment);
    struct block_origin origin = {.requested = (uint32_t)size, .caps = caps};
    origin_site(&origin, file, line);
    uint32_t lead;
    uint32_t key = wm_heap_port_lock();
    bool hole;
    struct wm_heap_region *region = region_for(caps, room, &hole);
    if (region == NULL) {
        wm_heap_port_unlock(key);
        return allocation_failed(size, caps, file, line);
    }
    struct piece piece = aligned_take(region, hole, want, (uint32_t)alignment, &lead);
    if (piece.block == 0) {
        fault_region(region, key);
        return allocation_failed(size, caps, file, line);
    }
    origin.sequence = ++wm_heap_state.counters.allocs;
    header_write(piece.block, piece.bytes, lead != 0 ? ALLOCATED | PREVIOUS_FREE : ALLOCATED,
                 &origin);
    account_take(region, piece.bytes);
    wm_heap_port_unlock(key);
    return bytes_at(piece.block + HEADER_BYTES);
}
