/* SPDX-License-Identifier: Apache-2.0
 *
 * What the core's sources share among themselves.
 */
#ifndef INTERNAL_H
#define INTERNAL_H

#include "layout.h"
#include "poison.h"

/* verify.c: the cold side. The lock is held; `key` is its key. */

/* Checks a region (pointer 0), or all that is known of a pointer up to the block it points into:
 * is it a live block's? `region` is the one in which it lies, NULL if none. Sets *fault and
 * returns false if not; it is of no kind if all is well. O(blocks). */
bool region_check(const struct wm_heap_region *region, uint32_t pointer,
                  struct wm_heap_fault *fault) WM_HEAP_LINK("wm_heap_region_check");

/* The region in which an address lies, joined regions only; NULL for any other. */
struct wm_heap_region *region_at(uint32_t address) WM_HEAP_LINK("wm_heap_region_at");

/* Find out what is wrong, count it, close the region if it is damage, unlock, and tell the port:
 * a call that is not allowed now; an operation met something in this region that cannot be; a
 * pointer that is not an intact live block's (nothing is told if its region is closed). */
void fault_call(enum wm_heap_fault_kind kind, uint32_t region, uint32_t key)
    WM_HEAP_LINK("wm_heap_fault_call");
/* The last two in one: pointer 0 means the region, any other says which region is meant. */
void fault_find(const struct wm_heap_region *region, uint32_t pointer, uint32_t key)
    WM_HEAP_LINK("wm_heap_fault_find");

static inline void fault_region(const struct wm_heap_region *region, uint32_t key) {
    fault_find(region, 0, key);
}

static inline void fault_pointer(uint32_t pointer, uint32_t key) { fault_find(NULL, pointer, key); }

/* print.c: the SDK's text about a block found corrupted: list, the block's line, statistics. `caps`
 * are its region's: for a block elsewhere the list leaves PSRAM out, since DMA may own it. */
void print_corrupted_block(uint32_t pointer, uint32_t caps)
    WM_HEAP_LINK("wm_heap_print_corrupted_block");

/* heap.c: an allocation failed: counts it and tells. Returns NULL. */
void *allocation_failed(size_t size, uint32_t caps, const char *file, int line)
    WM_HEAP_LINK("wm_heap_allocation_failed");

/* Has it been initialised, and with at least one region? */
static inline bool heap_is_up(void) { return wm_heap_state.region_count != 0; }

/* The only region in which an address can lie: the table's rows rise. Written out: every free
 * passes here. */
_Static_assert(WM_HEAP_REGIONS_MAX == 3u, "one line each");

static inline struct wm_heap_region *region_below(uint32_t address) {
    struct wm_heap_region *region = wm_heap_state.regions;
    return address >= region[2].start   ? &region[2]
           : address >= region[1].start ? &region[1]
                                        : &region[0];
}

/* Can this region not serve these capabilities? */
static inline bool region_refuses(const struct wm_heap_region *region, uint32_t caps) {
    return (caps & region->lacks) != 0;
}

static inline uint32_t region_index(const struct wm_heap_region *region) {
    return (uint32_t)(region - wm_heap_state.regions);
}

INLINE_FOR_SPEED void level_give(struct wm_heap_level *level, uint32_t bytes) {
    int32_t above = level->above;
    if (above < 0) {
        level->lowest += (uint32_t)above;
        above = 0;
    }
    level->above = above + (int32_t)bytes;
}

/* Free bytes count whole blocks, headers included. */
static inline void account_take(struct wm_heap_region *region, uint32_t bytes) {
    region->level.above -= (int32_t)bytes;
    wm_heap_state.total.above -= (int32_t)bytes;
}

static inline void account_give(struct wm_heap_region *region, uint32_t bytes) {
    level_give(&region->level, bytes);
    level_give(&wm_heap_state.total, bytes);
}

/* What the caller asks for: the default if nothing is named. */
static inline uint32_t caps_asked(wm_heap_cap_type_t caps) {
    _Static_assert(WM_HEAP_CAP_DEFAULT == 1, "what a comparison with 0 yields");
    return (uint32_t)caps + (caps == 0);
}

/* What a header says besides the block's size. */
struct block_origin {
    uint32_t requested;
    uint32_t caps;
    uint32_t sequence;
    uint32_t site;
    uint32_t line;
};

static inline void origin_site(struct block_origin *origin, const char *file, int line) {
    if (HAS_TRACING) {
        origin->site = sizeof file == sizeof origin->site ? (uint32_t)(uintptr_t)file
                       : file == NULL                     ? 0
                                                          : wm_heap_port_site(file);
        origin->line = (uint32_t)line;
    }
}

/* Writes the header of a live block of `bytes`, and what poisoning puts around the payload. */
static inline void header_write(uint32_t block, uint32_t bytes, uint32_t flags,
                                const struct block_origin *origin) {
    struct wm_heap_header *header = header_at(block);
    uint32_t words = origin->caps << OWNER_CAPS_SHIFT | (bytes - origin->requested);
    header_seal(block, bytes | flags);
    header->sequence = origin->sequence;
#if HAS_TRACING
    header->site = origin->site;
    header->line = origin->line;
#endif
    header->owner = header_owner(header, words);
#if HAS_POISONING
    header->canary[0] = CANARY;
    header->canary[1] = CANARY;
#endif
#if HAS_COMPREHENSIVE
    __builtin_memset(bytes_at(block + HEADER_BYTES + origin->requested), GUARD_BYTE,
                     bytes - HEADER_BYTES - origin->requested);
#endif
}

#endif
