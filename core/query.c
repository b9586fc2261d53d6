/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions: sizes, counters, what a block is, a walk over all of them.
 */
#include "hole.h"

const char *wm_heap_fault_name(uint32_t kind) {
    static const char *const names[] = {
#define FAULT_NAME(name, text) text,
        WM_HEAP_FAULTS(FAULT_NAME)
#undef FAULT_NAME
    };
    return kind < WM_HEAP_FAULT_KINDS ? names[kind] : "unknown";
}

const char *wm_heap_check_name(uint32_t check) {
    static const char *const names[] = {
#define CHECK_NAME(name, text) text,
        WM_HEAP_CHECKS(CHECK_NAME)
#undef CHECK_NAME
    };
    return check < WM_HEAP_CHECK_KINDS ? names[check] : "unknown";
}

COLD static struct wm_heap_level total_read(void) {
    uint32_t key = wm_heap_port_lock();
    struct wm_heap_level total = wm_heap_state.total;
    wm_heap_port_unlock(key);
    return total;
}

size_t wm_heap_get_free_size(void) {
    struct wm_heap_level total = total_read();
    return wm_heap_level_free(&total);
}

size_t wm_heap_get_minimum_ever_free_size(void) {
    struct wm_heap_level total = total_read();
    return wm_heap_level_minimum(&total);
}

/* Free bytes over the regions that serve a capability, and their minimum. */
struct caps_sizes {
    uint32_t free_bytes;
    uint32_t minimum;
    uint32_t largest;
};

static uint32_t region_largest(const struct wm_heap_region *region) {
    uint32_t hole = max_of(region->root.largest, region->fresh.largest);
    return max_of(hole, region->end - region->tail);
}

static struct caps_sizes caps_measure(wm_heap_cap_type_t caps_wanted) {
    uint32_t caps = caps_asked(caps_wanted);
    struct caps_sizes sizes = {0, 0, 0};
    uint32_t regions = 0;
    uint32_t joined = 0;
    uint32_t key = wm_heap_port_lock();
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        const struct wm_heap_region *region = &wm_heap_state.regions[i];
        if (!region_refuses(region, caps)) {
            regions++;
            sizes.free_bytes += wm_heap_level_free(&region->level);
            sizes.minimum += wm_heap_level_minimum(&region->level);
            sizes.largest = max_of(sizes.largest, region_largest(region));
        }
        joined += region->state >= WM_HEAP_REGION_OPEN;
    }
    if (regions == joined) {
        sizes.minimum = wm_heap_level_minimum(&wm_heap_state.total);
    }
    wm_heap_port_unlock(key);
    return sizes;
}

size_t wm_heap_caps_get_free_size(wm_heap_cap_type_t caps) { return caps_measure(caps).free_bytes; }

size_t wm_heap_caps_get_minimum_free_size(wm_heap_cap_type_t caps) {
    return caps_measure(caps).minimum;
}

size_t wm_heap_caps_get_largest_free_block(wm_heap_cap_type_t caps) {
    return caps_measure(caps).largest;
}

void wm_heap_get_counters(struct wm_heap_counters *counters) {
    uint32_t key = wm_heap_port_lock();
    *counters = wm_heap_state.counters;
    wm_heap_port_unlock(key);
}

void wm_heap_set_failed_callback(wm_heap_failed_callback_fn *callback, void *context) {
    uint32_t key = wm_heap_port_lock();
    wm_heap_state.failed_callback = callback;
    wm_heap_state.failed_context = context;
    wm_heap_port_unlock(key);
}

static void block_describe(uint32_t address, struct wm_heap_block *block) {
    const struct wm_heap_header *header = header_at(address);
    if ((header->size_flags & ALLOCATED) == 0) {
        *block = (struct wm_heap_block){.address = address, .size = header->size_flags};
        return;
    }
    uint32_t size = header_size(header);
    *block = (struct wm_heap_block){
        .address = address,
        .size = size,
        .pointer = address + HEADER_BYTES,
        .requested = size - HEADER_BYTES - header_slack(header),
        .caps = header_caps(header),
        .sequence = header->sequence,
        .site = header_site(header),
        .line = header_line(header),
        .live = true,
    };
}

/* The walk, under the lock. */
static bool region_walk(const struct wm_heap_region *region, wm_heap_visit_fn *visit,
                        void *context) {
    struct wm_heap_block block;
    for (uint32_t at = region->start; at < region->tail; at += block.size) {
        if (block_size(region, at) == 0) {
            return false;
        }
        block_describe(at, &block);
        if (!visit(context, &block)) {
            return true;
        }
    }
    if (region->tail < region->end) {
        block = (struct wm_heap_block){.address = region->tail, .size = region->end - region->tail};
        visit(context, &block);
    }
    return true;
}

bool wm_heap_walk(uint32_t region, wm_heap_visit_fn *visit, void *context) {
    if (region >= WM_HEAP_REGIONS_MAX) {
        return false;
    }
    uint32_t key = wm_heap_port_lock();
    const struct wm_heap_region *at = &wm_heap_state.regions[region];
    bool good = at->state >= WM_HEAP_REGION_OPEN && region_walk(at, visit, context);
    wm_heap_port_unlock(key);
    return good;
}

/* The live block of a user's pointer and its region; NULL if there is none. */
static const struct wm_heap_region *block_of(const void *ptr, uint32_t *block) {
    *block = address_of(ptr) - HEADER_BYTES;
    const struct wm_heap_region *region = region_at(*block);
    return region != NULL && header_is_live(region, *block) ? region : NULL;
}

bool wm_heap_get_block(const void *ptr, struct wm_heap_block *block) {
    uint32_t address;
    uint32_t key = wm_heap_port_lock();
    bool found = block_of(ptr, &address) != NULL;
    if (found) {
        block_describe(address, block);
    }
    wm_heap_port_unlock(key);
    return found;
}

size_t wm_heap_get_usable_size(const void *ptr) {
    if (ptr == NULL) {
        return 0;
    }
    uint32_t block;
    uint32_t key = wm_heap_port_lock();
    if (block_of(ptr, &block) == NULL) {
        fault_pointer(address_of(ptr), key);
        return 0;
    }
    size_t bytes = header_usable(header_at(block));
    wm_heap_port_unlock(key);
    return bytes;
}

/* The block and its neighbours; anything wrong is then named by the whole check. */
static bool block_check(uint32_t pointer, struct wm_heap_fault *fault) {
    uint32_t block = pointer - HEADER_BYTES;
    struct wm_heap_region *region = region_at(block);
    if (region == NULL || !header_is_live(region, block) ||
        !poison_is_intact(block, header_at(block))) {
        return region_check(region_at(pointer), pointer, fault);
    }
    struct tree_path path;
    uint32_t next = block + header_size(header_at(block));
    if ((next < region->tail && block_size(region, next) == 0) ||
        ((header_at(block)->size_flags & PREVIOUS_FREE) != 0 &&
         hole_path(region, block - NODE_BYTES, &path) == NULL)) {
        return region_check(region, 0, fault);
    }
    return true;
}

bool wm_heap_check_block(const void *ptr, struct wm_heap_fault *fault) {
    uint32_t key = wm_heap_port_lock();
    bool good = block_check(address_of(ptr), fault);
    wm_heap_port_unlock(key);
    return good;
}
