/* SPDX-License-Identifier: Apache-2.0
 *
 * Regions join the heap: at init, or later by append.
 */
#include "block.h"

struct wm_heap_state wm_heap_state;

#define REGION_CAPS                                                                                \
    ((uint32_t)(WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_INTERNAL | WM_HEAP_CAP_SPIRAM |                  \
                WM_HEAP_CAP_EXEC | WM_HEAP_CAP_SHARED))

/* What memory can do, whatever an older table says: PSRAM is off limits while DMA works on
 * it, and runs no code, so it is never given to those who did not ask for it by name. */
static uint32_t caps_sane(uint32_t caps) {
    return (caps & WM_HEAP_CAP_SPIRAM) != 0 ? (uint32_t)WM_HEAP_CAP_SPIRAM : caps & REGION_CAPS;
}

/* The start of regions that have not joined: behind all memory. */
#define NOWHERE 0xfffffff8u

static bool names_equal(const char *a, const char *b) {
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static bool has_joined(const struct wm_heap_region *region) {
    return region->state >= WM_HEAP_REGION_OPEN;
}

/* Does what lies from `start` to `row_end` lie behind the regions of the rows before, and before
 * the others? */
static bool is_in_order(const struct wm_heap_region *region, uint32_t start, uint32_t row_end) {
    const struct wm_heap_region *other = wm_heap_state.regions;
    for (; other < &wm_heap_state.regions[WM_HEAP_REGIONS_MAX]; other++) {
        if (has_joined(other) &&
            (other < region ? start < other->end + HEADER_BYTES : other->start < row_end)) {
            return false;
        }
    }
    return true;
}

/* Bytes join; the least there were counts from now. */
static void level_open(struct wm_heap_level *level, uint32_t bytes) {
    level->free_bytes += bytes;
    level->lowest = level->free_bytes;
}

/* Opens a region. Returns false if its row does not hold at least one block and the end marker, or
 * is not where it is its turn. */
static bool region_open(struct wm_heap_region *region, const struct wm_heap_region_config *row) {
    uint32_t start = align8(row->start);
    uint32_t end = (row->end - HEADER_BYTES) & ~7u;
    uint32_t last = row->end - HEADER_BYTES - SMALLEST_BLOCK; /* chance for a block to begin */
    /* a start of 0, and what went below 0, are the largest numbers here: they do not pass */
    if (start - 1u >= last || last >= row->end || !is_in_order(region, start, row->end)) {
        return false;
    }
    region->state = WM_HEAP_REGION_OPEN;
    region->lacks = ~(region->table_caps | CLOSED_BIT);
    region->start = start;
    region->end = end;
    region_set_tail(region, start);
    level_open(&region->level, end - start);
    level_open(&wm_heap_state.total, end - start);
    if ((region->table_caps & WM_HEAP_CAP_DEFAULT) != 0) {
        level_open(&wm_heap_state.internal, end - start);
    }
    pattern_fill(start, end);
    /* the end marker: the header of a live block of no bytes, not even its own */
    header_write(region, end, 0, ALLOCATED, &(struct block_origin){.requested = 0u - HEADER_BYTES});
    return true;
}

/* Takes a row of the port's table over, and opens its region unless that waits for its append.
 * Returns false if the row cannot be used. */
static bool row_read(struct wm_heap_region *region, const struct wm_heap_region_config *row) {
    for (uint32_t i = 0; i < sizeof region->name - 1u && row->name[i] != '\0'; i++) {
        region->name[i] = row->name[i];
    }
    region->table_caps = caps_sane(row->caps);
    if (row->deferred) {
        region->state = WM_HEAP_REGION_DEFERRED;
        return true;
    }
    return region_open(region, row);
}

/* Takes the port's table over. Returns what is wrong with it; the rows that can be used are. Sets
 * *bad to the index of the last one that cannot. */
static enum wm_heap_fault_kind table_read(uint32_t *bad) {
    struct wm_heap_state *state = &wm_heap_state;
    uint32_t count;
    const struct wm_heap_region_config *row = wm_heap_port_regions(&count);
    enum wm_heap_fault_kind kind = WM_HEAP_FAULT_NONE;
    if (count > WM_HEAP_REGIONS_MAX) {
        count = WM_HEAP_REGIONS_MAX;
        kind = WM_HEAP_FAULT_BAD_REGION;
    }
    state->region_count = count;
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        struct wm_heap_region *region = &state->regions[i];
        region->start = region->tail = region->end = NOWHERE;
        region->lacks = LACKS_ALL;
        region->owner = OWNER_TAG | i << OWNER_REGION_SHIFT;
        if (i < count && !row_read(region, row++)) {
            kind = WM_HEAP_FAULT_BAD_REGION;
            *bad = i;
        }
    }
    return kind;
}

/* Unlocks, and tells if there is a fault. */
static void unlock_and_tell(enum wm_heap_fault_kind kind, uint32_t region, uint32_t key) {
    if (kind == WM_HEAP_FAULT_NONE) {
        wm_heap_port_unlock(key);
    } else {
        fault_call(kind, region, key);
    }
}

void wm_heap_init(void) {
    struct wm_heap_state *state = &wm_heap_state;
    enum wm_heap_fault_kind kind = WM_HEAP_FAULT_INITIALIZED_TWICE;
    uint32_t bad = WM_HEAP_NO_REGION;
    uint32_t key = wm_heap_port_lock();
    if (state->magic != WM_HEAP_STATE_MAGIC) {
        __builtin_memset(state, 0, offsetof(struct wm_heap_state, failed_callback));
        state->magic = WM_HEAP_STATE_MAGIC;
        state->version = WM_HEAP_STATE_VERSION;
        state->header_size = HEADER_BYTES;
        state->options = (HAS_TRACING ? WM_HEAP_OPTION_TRACING : 0) |
                         (HAS_COMPREHENSIVE ? WM_HEAP_OPTION_COMPREHENSIVE
                          : HAS_POISONING   ? WM_HEAP_OPTION_LIGHT
                                            : 0);
        kind = table_read(&bad);
    }
    unlock_and_tell(kind, bad, key);
}

/* Finds the row of that name, NULL if there is none; sets *index if there is one. */
static const struct wm_heap_region_config *row_find(const char *name, uint32_t *index) {
    uint32_t count;
    const struct wm_heap_region_config *row = wm_heap_port_regions(&count);
    for (uint32_t i = 0; name != NULL && i < wm_heap_state.region_count; i++, row++) {
        if (names_equal(row->name, name)) {
            *index = i;
            return row;
        }
    }
    return NULL;
}

int wm_heap_append_to_heap(const char *name) {
    struct wm_heap_state *state = &wm_heap_state;
    enum wm_heap_fault_kind kind = WM_HEAP_FAULT_NOT_INITIALIZED;
    int result = WM_ERR_FAILED;
    uint32_t index = WM_HEAP_NO_REGION;
    uint32_t key = wm_heap_port_lock();
    if (state->magic == WM_HEAP_STATE_MAGIC) {
        const struct wm_heap_region_config *row = row_find(name, &index);
        kind = WM_HEAP_FAULT_BAD_APPEND;
        if (row == NULL || !row->deferred) {
            result = WM_ERR_INVALID_PARAM;
        } else if (state->regions[index].state == WM_HEAP_REGION_DEFERRED &&
                   region_open(&state->regions[index], row)) {
            kind = WM_HEAP_FAULT_NONE;
            result = WM_ERR_SUCCESS;
        }
    }
    unlock_and_tell(kind, index, key);
    return result;
}
