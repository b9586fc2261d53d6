/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocate, free, reallocate: the way of an ordinary call. Everything that is found wrong
 * leaves this file at once for verify.c.
 */
#include "internal.h"

struct piece hole_cut(struct wm_heap_region *region, struct wm_heap_link **path,
                      struct wm_heap_link **end, uint32_t want) {
    const struct piece damage = {0, 0};
    uint32_t address = (*end)->node;
    uint32_t block = node_front(span_of(region), address);
    if (block == 0) {
        return damage;
    }
    struct wm_heap_node *node = node_at(address);
    uint32_t size = node->size;
    uint32_t rest = size - want;
    if (rest > SPLIT_OVER) {
        if (hole_pattern_broken(block, size, want) != 0) {
            return damage;
        }
        node->size = rest;
        node->seal = node_seal(address, rest);
        front_write(block + want, rest);
        return tree_settle(path, end + 1, size) ? (struct piece){block, want} : damage;
    }
    uint32_t behind = address + NODE_BYTES;
    if (behind >= region->tail || (header_at(behind)->size_flags & PREVIOUS_FREE) == 0 ||
        !header_is_sealed(behind) || hole_pattern_broken(block, size, size) != 0 ||
        !tree_remove(region, path, end)) {
        return damage;
    }
    header_toggle_previous_free(header_at(behind));
    return (struct piece){block, size};
}

/* Takes a block of `want` bytes from the first free memory of the region that holds it; there
 * is some. */
static inline struct piece block_take(struct wm_heap_region *region, uint32_t want) {
    if (region->root.largest < want) {
        return tail_cut(region, want);
    }
    struct wm_heap_link *path[TREE_PATH_MAX];
    struct wm_heap_link **end = tree_first_fit(region, want, path);
    return end == NULL ? (struct piece){0, 0} : hole_cut(region, path, end, want);
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
    struct piece piece = block_take(region, want);
    if (piece.block == 0) {
        region_failed(region, key);
        return allocation_failed(size, caps, file, line);
    }
    origin.sequence = ++wm_heap_state.counters.allocs;
    header_write(region, piece.block, piece.bytes | ALLOCATED, &origin);
    account_take(region, piece.bytes);
    wm_heap_port_unlock(key);
    return bytes_at(piece.block + HEADER_BYTES);
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
    uint32_t previous = block - NODE_BYTES;          /* its node */
    uint32_t pattern = block + 4u;                   /* from where there was no pattern */
    uint32_t front = block;
    struct span span = span_of(region);
    if (previous_free) {
        front = node_front(span, previous);
        pattern = previous;
        if (front == 0) {
            return false;
        }
    }
    if (next == region->tail) {
        if (previous_free && !hole_remove(region, previous)) {
            return false;
        }
        header_erase(block);
        region_set_tail(region, front);
        pattern_fill(front, front + 4u);
        pattern_fill(pattern, next);
        return true;
    }
    uint32_t node = next - NODE_BYTES;
    uint32_t behind_flags = header_at(next)->size_flags;
    if ((behind_flags & ALLOCATED) != 0) {
        bool moved = false;
        if ((behind_flags & PREVIOUS_FREE) != 0 || !header_is_sealed(next) ||
            (previous_free && (!tree_extend(region, previous, node, next - front, &moved) ||
                               (!moved && !hole_remove(region, previous)))) ||
            (!moved && !tree_insert(region, node, next - front))) {
            return false;
        }
        if (block != node) {
            header_erase(block);
        }
        header_toggle_previous_free(header_at(next));
        pattern_fill(pattern, node);
    } else {
        node = front_node(span, next);
        if (node == 0 || (previous_free && !hole_remove(region, previous)) ||
            !tree_grow(region, node, node + NODE_BYTES - front)) {
            return false;
        }
        header_erase(block);
        pattern_fill(pattern, tree_min(next + 4u, node));
    }
    front_write(front, node + NODE_BYTES - front);
    return true;
}

/* Is this block, in the only region where it can be, live, with all around its payload as it
 * must be? Not if the region is closed. */
static inline bool block_accept(const struct wm_heap_region *region, uint32_t block) {
    return region->lacks != LACKS_ALL && span_holds(span_of(region), block) &&
           header_is_intact(region, block) && poison_is_intact(block, header_at(block));
}

/* The pointer given to free or realloc was not accepted. */
COLD static void pointer_refused(uint32_t pointer, uint32_t key) {
    struct wm_heap_fault fault;
    const struct wm_heap_region *region = region_at(pointer);
    bool closed = region != NULL && region->state == WM_HEAP_REGION_CLOSED;
    if (closed) { /* it has been reported */
        wm_heap_state.counters.refused++;
    } else {
        fault_from_pointer(pointer, &fault);
        fault_record(&fault);
    }
    wm_heap_port_unlock(key);
    if (!closed) {
        fault_report(&fault);
    }
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
        pointer_refused(pointer, key);
        return;
    }
    uint32_t size_flags = header_at(block)->size_flags;
    uint32_t size = size_flags & ~FLAGS;
    if (!block_release(region, block, size, (size_flags & PREVIOUS_FREE) != 0)) {
        region_failed(region, key);
        return;
    }
    wm_heap_state.counters.frees++;
    account_give(region, size);
    wm_heap_port_unlock(key);
}

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
        uint32_t node = front_node(span_of(region), next);
        if (node == 0) {
            return false;
        }
        if (node_at(node)->size < missing) {
            return true;
        }
        struct wm_heap_link *path[TREE_PATH_MAX];
        struct wm_heap_link **end = tree_find(region, node, path);
        if (end == NULL) {
            return false;
        }
        piece = hole_cut(region, path, end, missing);
        header_erase(next);
    }
    *size = old + piece.bytes;
    return piece.block != 0;
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
        (region->lacks & origin->caps) != 0) {
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

/* The first half of realloc: looks at the old block, and resizes it where it stands if that
 * is allowed. Returns the old payload's bytes, 0 if it is refused; sets *done if there is
 * nothing more to do. */
static uint32_t realloc_begin(uint32_t pointer, struct block_origin *origin, bool *done) {
    uint32_t block = pointer - HEADER_BYTES;
    uint32_t key = wm_heap_port_lock();
    struct wm_heap_region *region = region_below(block);
    *done = false;
    if (!block_accept(region, block)) {
        pointer_refused(pointer, key);
        return 0;
    }
    uint32_t usable = header_usable(header_at(block));
    if (origin->caps == 0) {
        origin->caps = header_caps(header_at(block));
    }
    if (origin->requested != 0 && !resize_in_place(region, block, origin, done)) {
        region_failed(region, key);
        return 0;
    }
    wm_heap_port_unlock(key);
    return usable;
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
    bool done;
    uint32_t usable = realloc_begin(address_of(old_mem), &origin, &done);
    if (usable == 0 || done) {
        return done ? old_mem : NULL;
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
