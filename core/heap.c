/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocate, free, reallocate: the way of an ordinary call. Everything that is found wrong
 * leaves this file at once for verify.c.
 */
#include "block.h"

COLD void *allocation_failed(size_t size, uint32_t caps, const char *file, int line) {
    uint32_t shown = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
    struct wm_heap_state *state = &wm_heap_state;
    uint32_t key = wm_heap_port_lock();
    if (!heap_is_up()) {
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
    uint32_t caps = caps_asked(caps_wanted);
    if (size - 1u >= LARGEST_REQUEST) {
        return size == 0 ? NULL : allocation_failed(size, caps, file, line);
    }
    struct block_origin origin = {.requested = (uint32_t)size, .caps = caps};
    origin_site(&origin, file, line);
    uint32_t key = wm_heap_port_lock();
    uint32_t want = block_bytes((uint32_t)size); /* not before the call: it would be kept over it */
    bool hole;
    struct wm_heap_region *region = region_for(caps, want, &hole);
    if (region == NULL) {
        wm_heap_port_unlock(key);
        return allocation_failed(size, caps, file, line);
    }
    struct piece piece = hole ? hole_take(region, want) : tail_cut(region, want);
    if ((hole || HAS_COMPREHENSIVE) && piece.block == 0) {
        fault_region(region, key);
        return allocation_failed(size, caps, file, line);
    }
    origin.sequence = ++wm_heap_state.counters.allocs;
    header_write(piece.block, piece.bytes, ALLOCATED, &origin);
    account_take(region, piece.bytes);
    wm_heap_port_unlock(key);
    return bytes_at(piece.block + HEADER_BYTES);
}

void *wm_heap_caps_alloc(size_t size, wm_heap_cap_type_t caps) {
    return wm_heap_caps_alloc_tracing(size, caps, NULL, 0);
}

void wm_heap_caps_free(void *ptr) {
    uint32_t pointer = address_of(ptr); /* NULL is told from a bad one where it costs nothing */
    uint32_t block = pointer - HEADER_BYTES;
    uint32_t key = wm_heap_port_lock();
    struct wm_heap_region *region = block_region(block);
    if (region == NULL) {
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
    if (wm_heap_state.resize != NULL &&
        wm_heap_state.resize(old_mem, new_size, (uint32_t)caps, file, line)) {
        return old_mem;
    }
    uint32_t pointer = address_of(old_mem);
    uint32_t block = pointer - HEADER_BYTES;
    uint32_t key = wm_heap_port_lock();
    struct wm_heap_region *region = block_region(block);
    if (region == NULL) {
        fault_pointer(pointer, key);
        return NULL;
    }
    uint32_t usable = header_usable(header_at(block));
    if (caps == 0) {
        caps = (wm_heap_cap_type_t)header_caps(header_at(block));
    }
    wm_heap_port_unlock(key);
    void *new_mem = wm_heap_caps_alloc_tracing(new_size, caps, file, line);
    if (new_mem != NULL) {
        /* not memcpy: where a forged size went unnoticed, the new block may lie over the old one */
        __builtin_memmove(new_mem, old_mem, usable < new_size ? usable : new_size);
        wm_heap_caps_free(old_mem);
    }
    return new_mem;
}

void *wm_heap_caps_realloc(void *old_mem, size_t new_size, wm_heap_cap_type_t caps) {
    return wm_heap_caps_realloc_tracing(old_mem, new_size, caps, NULL, 0);
}
