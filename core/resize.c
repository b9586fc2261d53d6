/* SPDX-License-Identifier: Apache-2.0
 *
 * Realloc where the block stands: off unless it is switched on, because it moves addresses
 * away from the SDK's. A firmware that never switches it on does not link it.
 */
#include "block.h"

/* Takes what a block lacks to become `want` bytes from the free memory right behind it.
 * Sets *size to what it is then; 0: there is not enough. False: damage. */
static bool block_grow(struct wm_heap_region *region, uint32_t block, uint32_t old, uint32_t want,
                       uint32_t *size) {
    uint32_t next = block + old;
    uint32_t missing = want - old;
    struct piece piece;
    *size = 0;
    if (next == region->tail) {
        if (region->end - next < missing) {
            return true;
        }
        piece = tail_cut(region, missing);
    } else {
        if ((header_at(next)->size_flags & ALLOCATED) != 0) {
            return true;
        }
        uint32_t node = hole_at(region, next);
        if (node == 0) {
            return false;
        }
        if (node_at(node)->size < missing) {
            return true;
        }
        struct tree_path path;
        struct wm_heap_link **end = hole_path(region, node, &path);
        if (end == NULL) {
            return false;
        }
        piece = hole_cut(region, &path, end, missing);
    }
    *size = old + piece.bytes;
    return piece.block != 0;
}

/* What became of an attempt. */
enum resize_result { RESIZE_DONE, RESIZE_MOVE, RESIZE_DAMAGE };

/* Resizes the block, whose header is intact, if its region serves the capabilities and has the
 * room. */
static enum resize_result block_resize(struct wm_heap_region *region, uint32_t block,
                                       struct block_origin *origin) {
    struct wm_heap_header *header = header_at(block);
    uint32_t old = header_size(header);
    uint32_t flags = header->size_flags & FLAGS;
    uint32_t want = block_bytes(origin->requested);
    uint32_t size = old;
    if (origin->caps == 0) {
        origin->caps = header_caps(header);
    }
    if (region_refuses(region, origin->caps)) {
        return RESIZE_MOVE;
    }
    if (want > old) {
        if (!block_grow(region, block, old, want, &size)) {
            return RESIZE_DAMAGE;
        }
        if (size == 0) {
            return RESIZE_MOVE;
        }
        account_take(region, size - old);
    } else if (old - want > SPLIT_OVER) {
        if (!block_release(region, block + want, old - want, false)) {
            return RESIZE_DAMAGE;
        }
        size = want;
        account_give(region, old - want);
    }
    origin->sequence = header->sequence;
    header_write(block, size, flags, origin);
    return RESIZE_DONE;
}

/* A bad pointer is left to the realloc that moves. */
static bool resize_in_place(void *old_mem, size_t new_size, uint32_t caps, const char *file,
                            int line) {
    uint32_t block = address_of(old_mem) - HEADER_BYTES;
    struct block_origin origin = {.requested = (uint32_t)new_size, .caps = caps};
    origin_site(&origin, file, line);
    uint32_t key = wm_heap_port_lock();
    struct wm_heap_region *region = block_region(block);
    enum resize_result result = RESIZE_MOVE;
    if (new_size <= LARGEST_REQUEST && region != NULL) {
        result = block_resize(region, block, &origin);
    }
    if (result == RESIZE_DAMAGE) {
        fault_region(region, key);
    } else {
        wm_heap_port_unlock(key);
    }
    return result == RESIZE_DONE;
}

void wm_heap_set_realloc_in_place(bool on) {
    uint32_t key = wm_heap_port_lock();
    uint32_t others = wm_heap_state.options & ~WM_HEAP_OPTION_REALLOC_IN_PLACE;
    wm_heap_state.options = (uint8_t)(others | (on ? WM_HEAP_OPTION_REALLOC_IN_PLACE : 0));
    wm_heap_state.resize = on ? resize_in_place : NULL;
    wm_heap_port_unlock(key);
}
