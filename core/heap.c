/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocate, free, reallocate: the way of an ordinary call. Everything that is found wrong
 * leaves this file at once for verify.c.
 */
#include "internal.h"
#include "poison.h"

/* How much of `room` free bytes a block of `want` takes: all if the rest would be too small to
 * stand alone. */
static inline uint32_t bytes_taken(uint32_t room, uint32_t want) {
    return room - want > SPLIT_OVER ? want : room;
}

uint32_t tail_cut(struct wm_heap_region *region, uint32_t want, uint32_t *taken) {
    uint32_t block = region->tail;
    *taken = bytes_taken(region->end - block, want);
    if (pattern_broken(block, block + *taken) != 0) {
        return 0;
    }
    region->tail = block + *taken;
    return block;
}

uint32_t hole_cut(struct wm_heap_region *region, struct wm_heap_link **path,
                  struct wm_heap_link **end, uint32_t want, uint32_t *taken) {
    uint32_t address = (*end)->node;
    if (!node_is_sound(region, address)) {
        return 0;
    }
    struct wm_heap_node *node = node_at(address);
    uint32_t size = node->size;
    uint32_t block = address + NODE_BYTES - size;
    uint32_t rest = size - want;
    if (rest > SPLIT_OVER) {
        *taken = want;
        if (hole_pattern_broken(block, size, want) != 0) {
            return 0;
        }
        node->size = rest;
        node->seal = node_seal(address, rest);
        front_write(block + want, rest);
        return tree_settle(path, end + 1, size) ? block : 0;
    }
    *taken = size;
    uint32_t behind = address + NODE_BYTES;
    if (!header_is_live(region, behind) || (header_at(behind)->size_flags & PREVIOUS_FREE) == 0 ||
        hole_pattern_broken(block, size, size) != 0 || !tree_remove(region, path, end)) {
        return 0;
    }
    header_toggle_previous_free(header_at(behind));
    return block;
}

/* Takes a block of `want` bytes from the first free memory of the region that holds it; there
 * is some. Returns the block and sets *taken to its bytes; 0: damage. */
static uint32_t block_take(struct wm_heap_region *region, uint32_t want, uint32_t *taken) {
    if (region->root.largest < want) {
        return tail_cut(region, want, taken);
    }
    struct wm_heap_link *path[TREE_PATH_MAX];
    struct wm_heap_link **end = tree_first_fit(region, want, path);
    return end == NULL ? 0 : hole_cut(region, path, end, want, taken);
}

COLD void *allocation_failed(size_t size, uint32_t caps, const char *file, int line) {
    uint32_t shown = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
    struct wm_heap_fault fault;
    uint32_t key = wm_heap_port_lock();
    struct wm_heap_state *state = &wm_heap_state;
    bool initialized = state->magic == WM_HEAP_STATE_MAGIC;
    if (initialized) {
        state->counters.failed++;
        if (shown > state->counters.largest_failed) {
            state->counters.largest_failed = shown;
        }
    } else {
        fault_from_call(WM_HEAP_FAULT_NOT_INITIALIZED, WM_HEAP_NO_REGION, &fault);
        fault_record(&fault);
    }
    wm_heap_failed_callback_fn *callback = state->failed_callback;
    void *context = state->failed_context;
    wm_heap_port_unlock(key);
    if (!initialized) {
        fault_report(&fault);
    } else if (callback != NULL) {
        callback(context, size, (wm_heap_cap_type_t)caps, file, line);
    }
    return NULL;
}

/* An operation in this region met damage. */
COLD static void region_failed(struct wm_heap_region *region, uint32_t key) {
    struct wm_heap_fault fault;
    fault_from_region(region, &fault);
    fault_record(&fault);
    wm_heap_port_unlock(key);
    fault_report(&fault);
}

void *wm_heap_caps_alloc_tracing(size_t size, wm_heap_cap_type_t caps_wanted, const char *file,
                                 int line) {
    uint32_t caps = caps_wanted == 0 ? (uint32_t)WM_HEAP_CAP_DEFAULT : (uint32_t)caps_wanted;
    if (size - 1u >= LARGEST_REQUEST) {
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
    uint32_t taken;
    uint32_t block = block_take(region, want, &taken);
    if (block == 0) {
        region_failed(region, key);
        return allocation_failed(size, caps, file, line);
    }
    origin.sequence = ++wm_heap_state.counters.allocs;
    header_write(region, block, taken | ALLOCATED, &origin);
    account_take(region, taken);
    wm_heap_port_unlock(key);
    return bytes_at(block + HEADER_BYTES);
}

void *wm_heap_caps_alloc(size_t size, wm_heap_cap_type_t caps) {
    return wm_heap_caps_alloc_tracing(size, caps, NULL, 0);
}

/* Takes the free block whose node stands at `node` out of the tree. */
static bool hole_remove(struct wm_heap_region *region, uint32_t node) {
    struct wm_heap_link *path[TREE_PATH_MAX];
    struct wm_heap_link **end = tree_find(region, node, path);
    return end != NULL && tree_remove(region, path, end);
}

/* Four neighbourhoods, # live, . free, [ ] the block:
 *
 *     #[ ]#   becomes a free block of its own
 *     .[ ]#   the block before reaches further
 *     #[ ].   the block behind begins earlier
 *     .[ ].   the same, and the block before is no more
 *
 * and before the tail the same, the tail taking all that is free. */
bool block_release(struct wm_heap_region *region, uint32_t block, uint32_t size,
                   bool previous_free) {
    uint32_t next = block + size;
    uint32_t previous = block - NODE_BYTES; /* its node */
    uint32_t behind = 0;                    /* its node */
    uint32_t front = block;
    bool to_tail = next == region->tail;
    if (previous_free) {
        if (!node_is_sound(region, previous)) {
            return false;
        }
        front -= node_at(previous)->size;
    }
    if (!to_tail) {
        uint32_t size_flags = header_at(next)->size_flags;
        if ((size_flags & ALLOCATED) == 0) {
            behind = node_of_front(region, next);
            if (behind == 0) {
                return false;
            }
        } else if ((size_flags & PREVIOUS_FREE) != 0 || !header_is_live(region, next)) {
            return false;
        }
    }
    uint32_t size_flags = header_at(block)->size_flags;
    header_erase(block);
    bool moved = false;
    bool good = true;
    if (previous_free) {
        if (!to_tail && behind == 0) {
            good = tree_extend(region, previous, next - NODE_BYTES, next - front, &moved);
        }
        good = good && (moved || hole_remove(region, previous));
    }
    if (to_tail) {
        region->tail = front;
        pattern_fill(front, front + 4u);
        behind = next;
    } else if (behind != 0) {
        front_write(front, behind + NODE_BYTES - front);
        good = good && tree_grow(region, behind, behind + NODE_BYTES - front);
        behind = tree_min(next + 4u, behind);
    } else {
        behind = next - NODE_BYTES;
        header_toggle_previous_free(header_at(next));
        front_write(front, next - front);
        good = good && (moved || tree_insert(region, behind, next - front));
    }
    if (!good) {
        header_at(block)->size_flags = size_flags; /* it still stands */
        return false;
    }
    pattern_fill(previous_free ? previous : to_tail ? block : block + 4u, behind);
    return true;
}

/* Is `pointer` a live block's, with all around the payload as it must be? Sets *region
 * (NULL: closed, nobody is to be told). */
static bool pointer_accept(uint32_t pointer, struct wm_heap_region **region,
                           struct wm_heap_fault *fault) {
    uint32_t block = pointer - HEADER_BYTES;
    struct wm_heap_region *found = region_at(pointer);
    *region = found;
    if (found != NULL && found->caps == 0) {
        wm_heap_state.counters.refused++;
        *region = NULL;
        return true;
    }
    if (found == NULL || !header_is_live(found, block) ||
        !poison_is_intact(block, header_at(block))) {
        return fault_from_pointer(pointer, fault);
    }
    return true;
}

/* Frees under the lock. */
static bool free_locked(uint32_t pointer, struct wm_heap_fault *fault) {
    struct wm_heap_region *region;
    if (!pointer_accept(pointer, &region, fault)) {
        return false;
    }
    if (region == NULL) {
        return true;
    }
    uint32_t block = pointer - HEADER_BYTES;
    uint32_t size_flags = header_at(block)->size_flags;
    uint32_t size = size_flags & ~FLAGS;
    if (!block_release(region, block, size, (size_flags & PREVIOUS_FREE) != 0)) {
        return fault_from_region(region, fault);
    }
    wm_heap_state.counters.frees++;
    account_give(region, size);
    return true;
}

void wm_heap_caps_free(void *ptr) {
    if (ptr == NULL) {
        return;
    }
    struct wm_heap_fault fault;
    uint32_t key = wm_heap_port_lock();
    bool ok = free_locked(address_of(ptr), &fault);
    if (!ok) {
        fault_record(&fault);
    }
    wm_heap_port_unlock(key);
    if (!ok) {
        fault_report(&fault);
    }
}

/* Takes what a block lacks to become `want` bytes from the free memory right behind it.
 * Sets *size to what it is then; 0: there is not enough. False: damage. */
static bool block_grow(struct wm_heap_region *region, uint32_t block, uint32_t old, uint32_t want,
                       uint32_t *size) {
    uint32_t next = block + old;
    uint32_t missing = want - old;
    uint32_t taken;
    *size = 0;
    if (next == region->tail) {
        if (region->end - next < missing) {
            return true;
        }
        if (tail_cut(region, missing, &taken) == 0) {
            return false;
        }
    } else {
        if ((header_at(next)->size_flags & ALLOCATED) != 0) {
            return true;
        }
        uint32_t node = node_of_front(region, next);
        if (node == 0) {
            return false;
        }
        if (node_at(node)->size < missing) {
            return true;
        }
        struct wm_heap_link *path[TREE_PATH_MAX];
        struct wm_heap_link **end = tree_find(region, node, path);
        if (end == NULL || hole_cut(region, path, end, missing, &taken) == 0) {
            return false;
        }
        header_erase(next);
    }
    *size = old + taken;
    return true;
}

/* Resizes where the block stands, if the option is on and its region serves `caps`.
 * Returns false on damage; *done says whether it worked. */
static bool resize_in_place(struct wm_heap_region *region, uint32_t block,
                            struct block_origin *origin, bool *done) {
    struct wm_heap_header *header = header_at(block);
    uint32_t old = header_size(header);
    uint32_t flags = header->size_flags & FLAGS;
    uint32_t want = block_bytes(origin->requested);
    uint32_t size = old;
    *done = false;
    if ((wm_heap_state.options & WM_HEAP_OPTION_REALLOC_IN_PLACE) == 0 ||
        (region->caps & origin->caps) != origin->caps) {
        return true;
    }
    if (want > old) {
        if (!block_grow(region, block, old, want, &size)) {
            return false;
        }
        if (size == 0) {
            return true;
        }
        account_take(region, size - old);
    } else if (old - want > SPLIT_OVER) {
        if (!block_release(region, block + want, old - want, false)) {
            return false;
        }
        size = want;
        account_give(region, old - want);
    }
    origin->sequence = header->sequence;
    header_write(region, block, size | flags, origin);
    *done = true;
    return true;
}

/* The first half of realloc, under the lock: looks at the old block, and resizes it where
 * it stands if that is allowed. Sets *usable to the old payload (0: closed region). */
static bool realloc_begin(uint32_t pointer, struct block_origin *origin, uint32_t *usable,
                          bool *done, struct wm_heap_fault *fault) {
    struct wm_heap_region *region;
    *usable = 0;
    *done = false;
    if (!pointer_accept(pointer, &region, fault)) {
        return false;
    }
    if (region == NULL) {
        return true;
    }
    uint32_t block = pointer - HEADER_BYTES;
    *usable = header_usable(header_at(block));
    if (origin->caps == 0) {
        origin->caps = header_caps(header_at(block));
    }
    if (origin->requested != 0 && !resize_in_place(region, block, origin, done)) {
        return fault_from_region(region, fault);
    }
    return true;
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
    struct block_origin origin = {.caps = (uint32_t)caps};
    origin.requested = new_size <= LARGEST_REQUEST ? (uint32_t)new_size : 0;
    origin_site(&origin, file, line);
    struct wm_heap_fault fault;
    uint32_t usable;
    bool done;
    uint32_t key = wm_heap_port_lock();
    bool ok = realloc_begin(address_of(old_mem), &origin, &usable, &done, &fault);
    if (!ok) {
        fault_record(&fault);
    }
    wm_heap_port_unlock(key);
    if (!ok) {
        fault_report(&fault);
        return NULL;
    }
    if (done) {
        return old_mem;
    }
    if (usable == 0) {
        return NULL;
    }
    void *new_mem =
        wm_heap_caps_alloc_tracing(new_size, (wm_heap_cap_type_t)origin.caps, file, line);
    if (new_mem != NULL) {
        __builtin_memcpy(new_mem, old_mem, usable < new_size ? usable : new_size);
        wm_heap_caps_free(old_mem);
    }
    return new_mem;
}

void *wm_heap_caps_realloc(void *old_mem, size_t new_size, wm_heap_cap_type_t caps) {
    return wm_heap_caps_realloc_tracing(old_mem, new_size, caps, NULL, 0);
}
