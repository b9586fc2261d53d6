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

/* Does row `index` hold at least one block and the end marker, behind the regions of the rows
 * before and before the others? Sets *start and *end as the region will have them. */
static bool row_is_usable(uint32_t index, const struct wm_heap_region_config *row, uint32_t *start,
                          uint32_t *end) {
    if (row->start == 0 || row->start > row->end || row->end - row->start < HEADER_BYTES + 16u) {
        return false; /* so that aligning below cannot cross over */
    }
    *start = align8(row->start);
    *end = (row->end - HEADER_BYTES) & ~7u;
    if (*end - *start < SMALLEST_BLOCK) {
        return false;
    }
    const struct wm_heap_region *region = wm_heap_state.regions;
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++, region++) {
        if (region->start != NOWHERE &&
            (i < index ? *start < region->end + HEADER_BYTES : region->start < row->end)) {
            return false;
        }
    }
    return true;
}

/* Opens a region. False if its row is not usable. */
static bool region_open(struct wm_heap_region *region, const struct wm_heap_region_config *row) {
    uint32_t start;
    uint32_t end;
    if (!row_is_usable(region_index(region), row, &start, &end)) {
        return false;
    }
    region->state = WM_HEAP_REGION_OPEN;
    region->lacks = ~(region->table_caps | CLOSED_BIT);
    region->start = start;
    region->end = end;
    region_set_tail(region, start);
    region->owner = OWNER_TAG | region_index(region) << OWNER_REGION_SHIFT;
    account_give(region, end - start);
    region->level.lowest = end - start;
    pattern_fill(start, end);
    struct wm_heap_header *marker = header_at(end);
    *marker = (struct wm_heap_header){
        .size_flags = ALLOCATED,
        .owner = region->owner,
    };
#if HAS_POISONING
    marker->canary[0] = CANARY;
    marker->canary[1] = CANARY;
#endif
    marker->seal = header_seal(end, marker);
    return true;
}

static void minimum_reset(struct wm_heap_level *level) { level->lowest = level->free_bytes; }

/* Takes the port's table over. Returns false if a row cannot be used; the others are. Sets *bad
 * to its index. */
static bool table_read(uint32_t *bad) {
    struct wm_heap_state *state = &wm_heap_state;
    uint32_t count;
    const struct wm_heap_region_config *row = wm_heap_port_regions(&count);
    bool good = count <= WM_HEAP_REGIONS_MAX;
    *bad = WM_HEAP_NO_REGION;
    state->region_count = good ? count : WM_HEAP_REGIONS_MAX;
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        struct wm_heap_region *region = &state->regions[i];
        region->start = region->tail = region->end = NOWHERE;
        region->lacks = LACKS_ALL;
    }
    for (uint32_t i = 0; i < state->region_count; i++, row++) {
        struct wm_heap_region *region = &state->regions[i];
        for (uint32_t c = 0; c < sizeof region->name - 1u && row->name[c] != '\0'; c++) {
            region->name[c] = row->name[c];
        }
        region->table_caps = caps_sane(row->caps);
        if (row->deferred) {
            region->state = WM_HEAP_REGION_DEFERRED;
        } else if (!region_open(region, row)) {
            good = false;
            *bad = i;
        }
    }
    return good;
}

void wm_heap_init(void) {
    struct wm_heap_state *state = &wm_heap_state;
    uint32_t bad;
    uint32_t key = wm_heap_port_lock();
    if (state->magic == WM_HEAP_STATE_MAGIC) {
        fault_call(WM_HEAP_FAULT_INITIALIZED_TWICE, WM_HEAP_NO_REGION, key);
        return;
    }
    wm_heap_failed_callback_fn *callback = state->failed_callback;
    void *context = state->failed_context;
    __builtin_memset(state, 0, sizeof *state);
    state->magic = WM_HEAP_STATE_MAGIC;
    state->version = WM_HEAP_STATE_VERSION;
    state->header_size = HEADER_BYTES;
    state->options = (HAS_TRACING ? WM_HEAP_OPTION_TRACING : 0) |
                     (HAS_COMPREHENSIVE ? WM_HEAP_OPTION_COMPREHENSIVE
                      : HAS_POISONING   ? WM_HEAP_OPTION_LIGHT
                                        : 0);
    state->failed_callback = callback;
    state->failed_context = context;
    bool good = table_read(&bad);
    minimum_reset(&state->total);
    minimum_reset(&state->internal);
    if (good) {
        wm_heap_port_unlock(key);
    } else {
        fault_call(WM_HEAP_FAULT_BAD_REGION, bad, key);
    }
}

/* Finds the row of that name. Returns its index, or WM_HEAP_NO_REGION. */
static uint32_t row_find(const char *name, const struct wm_heap_region_config **row) {
    uint32_t count;
    *row = wm_heap_port_regions(&count);
    for (uint32_t i = 0; name != NULL && i < wm_heap_state.region_count; i++, (*row)++) {
        if (names_equal((*row)->name, name)) {
            return i;
        }
    }
    return WM_HEAP_NO_REGION;
}

int wm_heap_append_to_heap(const char *name) {
    const struct wm_heap_region_config *row;
    uint32_t key = wm_heap_port_lock();
    if (wm_heap_state.magic != WM_HEAP_STATE_MAGIC) {
        fault_call(WM_HEAP_FAULT_NOT_INITIALIZED, WM_HEAP_NO_REGION, key);
        return WM_ERR_FAILED;
    }
    uint32_t index = row_find(name, &row);
    bool known = index != WM_HEAP_NO_REGION && row->deferred;
    struct wm_heap_region *region = &wm_heap_state.regions[known ? index : 0];
    if (!known || region->state != WM_HEAP_REGION_DEFERRED || !region_open(region, row)) {
        fault_call(WM_HEAP_FAULT_BAD_APPEND, index, key);
        return known ? WM_ERR_FAILED : WM_ERR_INVALID_PARAM;
    }
    minimum_reset(&wm_heap_state.total);
    if ((region->table_caps & WM_HEAP_CAP_DEFAULT) != 0) {
        minimum_reset(&wm_heap_state.internal);
    }
    wm_heap_port_unlock(key);
    return WM_ERR_SUCCESS;
}
