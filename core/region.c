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

COLD static bool names_equal(const char *a, const char *b) {
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* Regions that have not joined lie behind all memory, and end before it. */
#define START_NOWHERE 0xfffffff8u
#define END_NOWHERE (0u - HEADER_BYTES)

/* Does what lies from `start` to `row_end` lie behind the regions of the rows before, and before
 * the others? */
static bool is_in_order(const struct wm_heap_region *region, uint32_t start, uint32_t row_end) {
    const struct wm_heap_region *other = wm_heap_state.regions;
    for (; other < &wm_heap_state.regions[WM_HEAP_REGIONS_MAX]; other++) {
        if (other < region ? start < other->end + HEADER_BYTES : other->start < row_end) {
            return false;
        }
    }
    return true;
}

/* Bytes join; the least there were counts from now. */
static void level_open(struct wm_heap_level *level, uint32_t bytes) {
    level->lowest = wm_heap_level_free(level) + bytes;
    level->above = 0;
}

/* Opens a region. Returns false if it is open, if its row does not hold at least one block and the
 * end marker, or if that is not where it is its turn. */
static bool region_open(struct wm_heap_region *region, const struct wm_heap_region_config *row) {
    uint32_t start = align8(row->start);
    uint32_t end = (row->end - HEADER_BYTES) & ~7u;
    uint32_t last = row->end - HEADER_BYTES - SMALLEST_BLOCK; /* chance for a block to begin */
    /* a start of 0, and what went below 0, are the largest numbers here: they do not pass */
    if (region->state != WM_HEAP_REGION_ABSENT || start - 1u >= last || last >= row->end ||
        !is_in_order(region, start, row->end)) {
        return false;
    }
    region->state = WM_HEAP_REGION_OPEN;
    region->table_caps = caps_sane(row->caps);
    region->lacks = ~region->table_caps;
    wm_heap_state.latest.caps = 0; /* nobody asks for that */
    region->start = start;
    region->tail = start;
    region->end = end;
    level_open(&region->level, end - start);
    level_open(&wm_heap_state.total, end - start);
    pattern_fill(start, end);
    /* the end marker: the header of a live block of no bytes, not even its own */
    header_write(end, 0, ALLOCATED, &(struct block_origin){.requested = 0u - HEADER_BYTES});
    return true;
}

/* An empty heap without regions. */
static void state_clear(void) {
    struct wm_heap_state *state = &wm_heap_state;
    __builtin_memset(state, 0, offsetof(struct wm_heap_state, failed_callback));
    state->magic = WM_HEAP_STATE_MAGIC;
    state->version = WM_HEAP_STATE_VERSION;
    state->header_size = HEADER_BYTES;
    state->options = (HAS_TRACING ? WM_HEAP_OPTION_TRACING : 0) |
                     (HAS_COMPREHENSIVE ? WM_HEAP_OPTION_COMPREHENSIVE
                      : HAS_POISONING   ? WM_HEAP_OPTION_LIGHT
                                        : 0);
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        struct wm_heap_region *region = &state->regions[i];
        region->start = region->tail = START_NOWHERE;
        region->end = END_NOWHERE;
        region->lacks = LACKS_ALL;
    }
}

/* Opens the regions of the port's table: without a name, at init, those that do not wait; else the
 * waiting one of that name. The rows that can be used are. */
static int regions_join(const char *name) {
    struct wm_heap_state *state = &wm_heap_state;
    enum wm_heap_fault_kind kind =
        name == NULL ? WM_HEAP_FAULT_INITIALIZED_TWICE : WM_HEAP_FAULT_NOT_INITIALIZED;
    uint32_t bad = WM_HEAP_NO_REGION;
    int result = WM_ERR_FAILED;
    uint32_t key = wm_heap_port_lock();
    if (heap_is_up() == (name != NULL)) {
        uint32_t count;
        const struct wm_heap_region_config *row = wm_heap_port_regions(&count);
        kind = WM_HEAP_FAULT_BAD_APPEND;
        result = WM_ERR_INVALID_PARAM;
        if (name == NULL) {
            state_clear();
            kind = WM_HEAP_FAULT_NONE;
            if (count > WM_HEAP_REGIONS_MAX) {
                count = WM_HEAP_REGIONS_MAX;
                kind = WM_HEAP_FAULT_BAD_REGION;
            }
            state->region_count = count;
        }
        for (uint32_t i = 0; i < state->region_count; i++, row++) {
            if (name == NULL ? row->deferred : !names_equal(row->name, name)) {
                continue;
            }
            bool opened = row->deferred == (name != NULL) && region_open(&state->regions[i], row);
            if (name != NULL) {
                bad = i;
                kind = opened ? WM_HEAP_FAULT_NONE : WM_HEAP_FAULT_BAD_APPEND;
                result = opened          ? WM_ERR_SUCCESS
                         : row->deferred ? WM_ERR_FAILED
                                         : WM_ERR_INVALID_PARAM;
            } else if (!opened) {
                kind = WM_HEAP_FAULT_BAD_REGION;
                bad = i;
            }
        }
    }
    if (kind == WM_HEAP_FAULT_NONE) {
        wm_heap_port_unlock(key);
    } else {
        fault_call(kind, bad, key);
    }
    return result;
}

void wm_heap_init(void) { (void)regions_join(NULL); }

int wm_heap_append_to_heap(const char *name) { return regions_join(name == NULL ? "" : name); }
