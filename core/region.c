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

/* Takes the port's table over. Returns false, with the fault, if a row cannot be used; the
 * others are. */
static bool table_read(struct wm_heap_fault *fault) {
    struct wm_heap_state *state = &wm_heap_state;
    uint32_t count;
    const struct wm_heap_region_config *row = wm_heap_port_regions(&count);
    bool good = count <= WM_HEAP_REGIONS_MAX;
    uint32_t bad_row = WM_HEAP_NO_REGION;
    if (!good) {
        count = WM_HEAP_REGIONS_MAX;
    }
    state->region_count = count;
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        struct wm_heap_region *region = &state->regions[i];
        region->start = region->tail = region->end = NOWHERE;
        region->lacks = LACKS_ALL;
    }
    for (uint32_t i = 0; i < count; i++, row++) {
        struct wm_heap_region *region = &state->regions[i];
        for (uint32_t c = 0; c < sizeof region->name - 1u && row->name[c] != '\0'; c++) {
            region->name[c] = row->name[c];
        }
        region->table_caps = caps_sane(row->caps);
        region->state = WM_HEAP_REGION_ABSENT;
        if (row->deferred) {
            region->state = WM_HEAP_REGION_DEFERRED;
        } else if (!region_open(region, row)) {
            good = false;
            bad_row = i;
        }
    }
    return good || fault_from_call(WM_HEAP_FAULT_BAD_REGION, bad_row, fault);
}

void wm_heap_init(void) {
    struct wm_heap_fault fault;
    struct wm_heap_state *state = &wm_heap_state;
    uint32_t key = wm_heap_port_lock();
    bool ok;
    if (state->magic == WM_HEAP_STATE_MAGIC) {
        ok = fault_from_call(WM_HEAP_FAULT_INITIALIZED_TWICE, WM_HEAP_NO_REGION, &fault);
    } else {
        *state = (struct wm_heap_state){
            .magic = WM_HEAP_STATE_MAGIC,
            .version = WM_HEAP_STATE_VERSION,
            .header_size = HEADER_BYTES,
            .options = (HAS_TRACING ? WM_HEAP_OPTION_TRACING : 0) |
                       (HAS_COMPREHENSIVE ? WM_HEAP_OPTION_COMPREHENSIVE
                        : HAS_POISONING   ? WM_HEAP_OPTION_LIGHT
                                          : 0),
            .failed_callback = state->failed_callback,
            .failed_context = state->failed_context,
        };
        ok = table_read(&fault);
        state->total.lowest = state->total.free_bytes;
        state->internal.lowest = state->internal.free_bytes;
    }
    if (!ok) {
        fault_record(&fault);
    }
    wm_heap_port_unlock(key);
    if (!ok) {
        fault_report(&fault);
    }
}

/* Finds the row of that name. Returns its index, or WM_HEAP_NO_REGION. */
static uint32_t row_find(const char *name, const struct wm_heap_region_config **row) {
    uint32_t count;
    *row = wm_heap_port_regions(&count);
    if (name != NULL) {
        for (uint32_t i = 0; i < count && i < wm_heap_state.region_count; i++, (*row)++) {
            if (names_equal((*row)->name, name)) {
                return i;
            }
        }
    }
    return WM_HEAP_NO_REGION;
}

/* Appends under the lock. */
static int append_locked(const char *name, struct wm_heap_fault *fault) {
    struct wm_heap_state *state = &wm_heap_state;
    if (state->magic != WM_HEAP_STATE_MAGIC) {
        fault_from_call(WM_HEAP_FAULT_NOT_INITIALIZED, WM_HEAP_NO_REGION, fault);
        return WM_ERR_FAILED;
    }
    const struct wm_heap_region_config *row;
    uint32_t index = row_find(name, &row);
    if (index == WM_HEAP_NO_REGION || !row->deferred) {
        fault_from_call(WM_HEAP_FAULT_BAD_APPEND, index, fault);
        return WM_ERR_INVALID_PARAM;
    }
    struct wm_heap_region *region = &state->regions[index];
    if (region->state != WM_HEAP_REGION_DEFERRED || !region_open(region, row)) {
        fault_from_call(WM_HEAP_FAULT_BAD_APPEND, index, fault);
        return WM_ERR_FAILED;
    }
    state->total.lowest = state->total.free_bytes;
    if ((region->table_caps & WM_HEAP_CAP_DEFAULT) != 0) {
        state->internal.lowest = state->internal.free_bytes;
    }
    return WM_ERR_SUCCESS;
}

int wm_heap_append_to_heap(const char *name) {
    struct wm_heap_fault fault;
    uint32_t key = wm_heap_port_lock();
    int result = append_locked(name, &fault);
    if (result != WM_ERR_SUCCESS) {
        fault_record(&fault);
    }
    wm_heap_port_unlock(key);
    if (result != WM_ERR_SUCCESS) {
        fault_report(&fault);
    }
    return result;
}
