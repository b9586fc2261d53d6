/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocate, free, reallocate: the way of an ordinary call. Everything that is found wrong
 * leaves this file at once for verify.c.
 */
#include "block.h"

/* Takes a block of `want` bytes from the first free memory of the region that holds it; there
 * is some. */
static inline struct piece block_take(struct wm_heap_region *region, uint32_t want) {
    if (region->root.largest < want) {
        return tail_cut(region, want);
    }
    struct wm_heap_link *path[TREE_PATH_MAX];
    struct wm_heap_link **end = tree_first_fit(span_of(region), &region->root, want, path);
    return end == NULL ? (struct piece){0, 0} : hole_cut(region, path, end, want);
}

COLD void *allocation_failed(size_t size, uint32_t caps, const char *file, int line) {
    uint32_t shown = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
    struct wm_heap_state *state = &wm_heap_state;
    uint32_t key = wm_heap_port_lock();
    if (state->magic != WM_HEAP_STATE_MAGIC) {
        fault_call(WM_HEAP_FAULT_NOT_INITIALIZED, WM_HEAP_NO_REGION, key);
        return NULL;
    }
    state->counters.failed++;
    if (shown > state->counters.largest_failed) {
        state->counters.largest_failed = shown;
    }
    wm_heap_failed_callback_fn *callback = state->failed_callback;
    void *context = state->failed_context;
    wm_heap_port_unlock(key);
    if (callback != NULL) {
        callback(context, size, (wm_heap_cap_type_t)caps, file, line);
    }
    return NULL;
}

void *wm_heap_caps_alloc_tracing(size_t size, wm_heap_cap_type_t caps_wanted, const char *file,
                                 int line) {
    uint32_t caps = caps_wanted == 0 ? (uint32_t)WM_HEAP_CAP_DEFAULT : (uint32_t)caps_wanted;
    if (size - 1u >= LARGEST_REQUEST || (caps & CLOSED_BIT) != 0) {
        return size == 0 ? NULL : allocation_failed(size, caps, file, line);
    }
    uint32_t want = block_bytes((uint32_t)size);
    struct block_origin origin = {.requested = (uint32_t)size, .caps = caps};
    origin_site(&origin, file, line);
    uint32_t key = wm_heap_port_lock();
    struct wm_heap_region *region = region_for(caps, want);
    if (region == NULL) {
        wm_heap_port_unlock(key);
        return allocation_failed(size, caps, file, line);
    }
    struct piece piece = block_take(region, want);
    if (piece.block == 0) {
        fault_region(region, key);
        return allocation_failed(size, caps, file, line);
    }
    origin.sequence = ++wm_heap_state.counters.allocs;
    header_write(region, piece.block, piece.bytes, ALLOCATED, &origin);
    account_take(region, piece.bytes);
    wm_heap_port_unlock(key);
    return bytes_at(piece.block + HEADER_BYTES);
}

void *wm_heap_caps_alloc(size_t size, wm_heap_cap_type_t caps) {
    return wm_heap_caps_alloc_tracing(size, caps, NULL, 0);
}

void wm_heap_caps_free(void *ptr) {
    if (ptr == NULL) {
        return;
    }
    uint32_t pointer = address_of(ptr);
    uint32_t block = pointer - HEADER_BYTES;
    uint32_t key = wm_heap_port_lock();
    struct wm_heap_region *region = region_below(block);
    if (!block_accept(region, block)) {
        fault_pointer(pointer, key);
        return;
    }
    uint32_t size_flags = header_at(block)->size_flags;
    uint32_t size = size_flags & ~FLAGS;
    if (!block_release(region, block, size, (size_flags & PREVIOUS_FREE) != 0)) {
        fault_region(region, key);
        return;
    }
    wm_heap_state.counters.frees++;
    account_give(region, size);
    wm_heap_port_unlock(key);
}

void *wm_heap_caps_realloc_tracing(void *old_mem, size_t new_size, wm_heap_cap_type_t caps,
                                   const char *file, int line) {
    if (old_mem == NULL) {
        return wm_heap_caps_alloc_tracing(new_size, caps, file, line);
    }
    if (new_size == 0) {
        wm_heap_caps_free(old_mem);
        return NULL;
    }
    uint32_t pointer = address_of(old_mem);
    uint32_t block = pointer - HEADER_BYTES;
    uint32_t key = wm_heap_port_lock();
    struct wm_heap_region *region = region_below(block);
    if (!block_accept(region, block)) {
        fault_pointer(pointer, key);
        return NULL;
    }
    uint32_t usable = header_usable(header_at(block));
    if (caps == 0) {
        caps = (wm_heap_cap_type_t)header_caps(header_at(block));
    }
    if (wm_heap_state.resize != NULL && new_size <= LARGEST_REQUEST) {
        struct block_origin origin = {.requested = (uint32_t)new_size, .caps = (uint32_t)caps};
        origin_site(&origin, file, line);
        enum resize_result result = wm_heap_state.resize(region, block, &origin);
        if (result == RESIZE_DAMAGE) {
            fault_region(region, key);
            return NULL;
        }
        if (result == RESIZE_DONE) {
            wm_heap_port_unlock(key);
            return old_mem;
        }
    }
    wm_heap_port_unlock(key);
    void *new_mem = wm_heap_caps_alloc_tracing(new_size, caps, file, line);
    if (new_mem != NULL) {
        __builtin_memcpy(new_mem, old_mem, usable < new_size ? usable : new_size);
        wm_heap_caps_free(old_mem);
    }
    return new_mem;
}

void *wm_heap_caps_realloc(void *old_mem, size_t new_size, wm_heap_cap_type_t caps) {
    return wm_heap_caps_realloc_tracing(old_mem, new_size, caps, NULL, 0);
}
