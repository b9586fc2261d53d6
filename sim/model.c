/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference model. It is written to be believed: each rule of the SDK's allocator
 * is one short function, and nothing is clever where the answer is decided. A region
 * is a sorted array of holes; the first one that is large enough wins. What is not a
 * hole belongs to exactly one live block, so live blocks need no order of their own:
 * a block's record lies in a table with one cell for every 8 bytes of the region, and
 * a bitmap says in which cells a block starts. That makes every call O(1) but for the
 * walk along the holes, fast enough to judge a replay event by event.
 *
 * All memory is reserved when the model is created, untouched pages cost nothing, and
 * therefore no call can fail for a reason that the allocator does not have.
 */
#include "model_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* The SDK's capability bits; 1 << 20 (INVALID) and all others belong to no region. */
#define CAP_DEFAULT (1u << 0)
#define CAP_SPIRAM (1u << 2)
#define CAPS_KNOWN 0x1fu

#define REQUEST_MAX_BYTES 0x7fffffffu /* bit 31 of the size word marks a live block */
#define ALIGNMENT_MIN 8u
#define ALIGNMENT_MAX 4096u

static uint64_t align_up(uint64_t value, uint64_t alignment) {
    return (value + alignment - 1) & ~(alignment - 1);
}

static uint32_t min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }

uint32_t model_header_size(const struct model_config *config) {
    return 16u + (config->tracing ? 8u : 0u) + (config->poisoned ? 8u : 0u);
}

/* 0: no block can hold it. */
static uint32_t block_size_for(const struct model *model, uint64_t size) {
    if (size == 0 || size > REQUEST_MAX_BYTES) {
        return 0;
    }
    return (uint32_t)align_up(size + model->header + model->tail, UNIT_BYTES);
}

/* Regions and sets of regions. */

uint32_t model_region_at(const struct model *model, uint32_t address) {
    uint32_t index = 0;
    for (; index < model->region_count; index++) {
        const struct model_heap_region *region = &model->regions[index];
        if (region->joined && address >= region->base && address < region->limit) {
            break;
        }
    }
    return index;
}

/* A region serves a request only if it has all the requested bits. */
static bool region_serves(const struct model_heap_region *region, uint32_t caps) {
    return region->joined && (region->caps & caps) == caps;
}

static uint32_t regions_serving(const struct model *model, uint32_t caps) {
    uint32_t wanted = caps != 0 ? caps : CAP_DEFAULT;
    uint32_t set = 0;
    for (uint32_t i = 0; i < model->region_count; i++) {
        set |= region_serves(&model->regions[i], wanted) ? 1u << i : 0u;
    }
    return set;
}

static uint32_t all_regions(const struct model *model) { return (1u << model->region_count) - 1u; }

static uint32_t free_sum(const struct model *model, uint32_t set) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < model->region_count; i++) {
        sum += (set >> i & 1u) != 0 ? model->regions[i].free_bytes : 0;
    }
    return sum;
}

/* The minima that concern this region: `reset` starts them again at the present. */
static void note_minimum(struct model *model, uint32_t region, bool reset) {
    for (uint32_t set = 1; set <= all_regions(model); set++) {
        if ((set >> region & 1u) != 0) {
            uint32_t sum = free_sum(model, set);
            model->minimum[set] = reset ? sum : min_u32(sum, model->minimum[set]);
        }
    }
}

/* Holes. */

/* Number of holes that start at or before the address. */
static uint32_t holes_up_to(const struct model_heap_region *region, uint32_t address) {
    uint32_t low = 0;
    uint32_t high = region->hole_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (region->holes[middle].start <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct model_hole *model_hole_around(const struct model_heap_region *region,
                                           uint32_t address) {
    uint32_t count = holes_up_to(region, address);
    if (count == 0) {
        return NULL;
    }
    const struct model_hole *hole = &region->holes[count - 1];
    return address - hole->start < hole->size ? hole : NULL;
}

static void hole_insert(struct model_heap_region *region, uint32_t index, uint32_t start,
                        uint32_t size) {
    struct model_hole *at = &region->holes[index];
    assert(region->hole_count < region->hole_capacity);
    memmove(at + 1, at, (region->hole_count - index) * sizeof *at);
    *at = (struct model_hole){.start = start, .size = size};
    region->hole_count++;
}

static void hole_remove(struct model_heap_region *region, uint32_t index) {
    struct model_hole *at = &region->holes[index];
    region->hole_count--;
    memmove(at, at + 1, (region->hole_count - index) * sizeof *at);
}

/* Takes `want` bytes that begin `lead` bytes into a hole; the lead stays free. What is
 * left behind is split off only if it is greater than twice the header, else it goes
 * with the block. Returns the bytes taken. */
static uint32_t hole_carve(struct model *model, uint32_t region_index, uint32_t hole_index,
                           uint32_t lead, uint32_t want) {
    struct model_heap_region *region = &model->regions[region_index];
    struct model_hole *hole = &region->holes[hole_index];
    uint32_t end = hole->start + hole->size;
    uint32_t rest = hole->size - lead - want;
    if (rest <= 2 * model->header) {
        rest = 0;
    }
    uint32_t taken = hole->size - lead - rest;
    if (lead != 0) {
        hole->size = lead;
        if (rest != 0) {
            hole_insert(region, hole_index + 1, end - rest, rest);
        }
    } else if (rest != 0) {
        *hole = (struct model_hole){.start = end - rest, .size = rest};
    } else {
        hole_remove(region, hole_index);
    }
    region->free_bytes -= taken;
    note_minimum(model, region_index, false);
    return taken;
}

/* Gives bytes back; they merge with the holes on both sides. */
static void hole_release(struct model_heap_region *region, uint32_t start, uint32_t size) {
    struct model_hole *holes = region->holes;
    uint32_t next = holes_up_to(region, start); /* index of the first hole behind it */
    bool left = next > 0 && holes[next - 1].start + holes[next - 1].size == start;
    bool right = next < region->hole_count && start + size == holes[next].start;
    assert(next == 0 || holes[next - 1].start + holes[next - 1].size <= start);
    assert(start + size <= (next < region->hole_count ? holes[next].start : region->limit));
    if (left && right) {
        holes[next - 1].size += size + holes[next].size;
        hole_remove(region, next);
    } else if (left) {
        holes[next - 1].size += size;
    } else if (right) {
        holes[next] = (struct model_hole){.start = start, .size = size + holes[next].size};
    } else {
        hole_insert(region, next, start, size);
    }
    region->free_bytes += size;
}

/* Live blocks. */

static bool is_start(const struct model_heap_region *region, uint32_t unit) {
    return (region->starts[unit / 64] >> unit % 64 & 1u) != 0;
}

bool model_live_find(const struct model *model, uint32_t pointer, struct model_place *place) {
    uint32_t address = pointer - model->header;
    uint32_t index = model_region_at(model, address);
    if (pointer % UNIT_BYTES != 0 || index == model->region_count) {
        return false;
    }
    *place =
        (struct model_place){.region = index, .unit = model_unit(&model->regions[index], address)};
    return is_start(&model->regions[index], place->unit);
}

static void live_remove(struct model *model, struct model_place place) {
    struct model_heap_region *region = &model->regions[place.region];
    region->starts[place.unit / 64] &= ~(UINT64_C(1) << place.unit % 64);
    hole_release(region, model_unit_address(region, place.unit), model_cell(model, place)->size);
}

/* Creation. */

static char *take_bytes(char **cursor, size_t bytes) {
    char *taken = *cursor;
    *cursor += align_up(bytes, 16);
    return taken;
}

/* Reserves the arrays for the worst case. Holes never touch and no block is smaller
 * than `smallest`, so two of them are needed for each hole but the last. */
static bool region_map(struct model_heap_region *region, uint32_t smallest) {
    size_t bytes = region->limit - region->base;
    size_t cells = bytes / UNIT_BYTES * sizeof *region->cells;
    size_t starts = (bytes / UNIT_BYTES / 64 + 1) * sizeof *region->starts;
    region->hole_capacity = (uint32_t)(bytes / (2 * (size_t)smallest)) + 1;
    size_t holes = region->hole_capacity * sizeof *region->holes;
    region->starts_bytes = starts;
    region->mapping_bytes = cells + starts + holes + bytes + UINT64_C(4) * 16;
    void *mapping = mmap(NULL, region->mapping_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) {
        return false;
    }
    char *cursor = mapping;
    region->mapping = mapping;
    region->cells = (void *)take_bytes(&cursor, cells);
    region->starts = (void *)take_bytes(&cursor, starts);
    region->holes = (void *)take_bytes(&cursor, holes);
    region->shadow = (void *)take_bytes(&cursor, bytes);
    return true;
}

static void region_join(struct model *model, uint32_t index) {
    struct model_heap_region *region = &model->regions[index];
    region->joined = true;
    hole_release(region, region->base, region->limit - region->base);
    note_minimum(model, index, true);
}

/* The region starts at the next multiple of 8, and the end marker, one header, sits at
 * the last one that leaves room for it. */
static bool region_init(struct model *model, struct model_heap_region *region,
                        const struct model_region *wanted) {
    uint64_t base = align_up(wanted->start, UNIT_BYTES);
    if (wanted->name == NULL || strlen(wanted->name) >= sizeof region->name ||
        wanted->end < model->header) {
        return false;
    }
    uint32_t limit = (wanted->end - model->header) / UNIT_BYTES * UNIT_BYTES;
    if (limit < base + model->smallest || limit - base > REQUEST_MAX_BYTES) {
        return false;
    }
    memcpy(region->name, wanted->name, strlen(wanted->name) + 1);
    region->base = (uint32_t)base;
    region->limit = limit;
    /* The CPU must not touch PSRAM while DMA works on it, and cannot run code there:
     * PSRAM serves those who ask for PSRAM, whatever else the table promises. */
    region->deferred = wanted->deferred;
    region->caps = (wanted->caps & CAP_SPIRAM) != 0 ? CAP_SPIRAM : wanted->caps & CAPS_KNOWN;
    return region_map(region, model->smallest);
}

static bool regions_overlap(const struct model_region *regions, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (regions[i].start < regions[k].end && regions[k].start < regions[i].end) {
                return true;
            }
        }
    }
    return false;
}

struct model *model_create(const struct model_config *config, const struct model_region *regions,
                           uint32_t region_count) {
    if (region_count == 0 || region_count > MODEL_REGIONS_MAX ||
        regions_overlap(regions, region_count)) {
        return NULL;
    }
    struct model *model = calloc(1, sizeof *model);
    if (model == NULL) {
        return NULL;
    }
    model->config = *config;
    model->created_in_place = config->realloc_in_place;
    model->header = model_header_size(config);
    model->tail = config->comprehensive ? 4 : 0;
    model->smallest = block_size_for(model, 1);
    model->region_count = region_count;
    for (uint32_t i = 0; i < region_count; i++) {
        if (!region_init(model, &model->regions[i], &regions[i])) {
            model_destroy(model);
            return NULL;
        }
    }
    model_reset(model);
    return model;
}

void model_reset(struct model *model) {
    memset(model->minimum, 0, sizeof model->minimum);
    model->fills = 0;
    model->config.realloc_in_place = model->created_in_place;
    for (uint32_t i = 0; i < model->region_count; i++) {
        struct model_heap_region *region = &model->regions[i];
        memset(region->starts, 0, region->starts_bytes);
        region->hole_count = 0;
        region->free_bytes = 0;
        region->joined = false;
    }
    for (uint32_t i = 0; i < model->region_count; i++) {
        if (!model->regions[i].deferred) {
            region_join(model, i);
        }
    }
}

void model_set_realloc_in_place(struct model *model, bool on) {
    model->config.realloc_in_place = on;
}

void model_destroy(struct model *model) {
    if (model == NULL) {
        return;
    }
    for (uint32_t i = 0; i < model->region_count; i++) {
        if (model->regions[i].mapping != NULL) {
            munmap(model->regions[i].mapping, model->regions[i].mapping_bytes);
        }
    }
    free(model);
}

bool model_append(struct model *model, const char *name) {
    for (uint32_t i = 0; name != NULL && i < model->region_count; i++) {
        if (strcmp(model->regions[i].name, name) == 0 && !model->regions[i].joined) {
            region_join(model, i);
            return true;
        }
    }
    return false;
}

/* The calls. */

/* The first hole, in the order of regions and addresses, of at least `enough` bytes. */
static bool first_fit(const struct model *model, uint32_t caps, uint32_t enough,
                      uint32_t *region_index, uint32_t *hole_index) {
    for (uint32_t i = 0; i < model->region_count; i++) {
        const struct model_heap_region *region = &model->regions[i];
        if (!region_serves(region, caps)) {
            continue;
        }
        for (uint32_t k = 0; k < region->hole_count; k++) {
            if (region->holes[k].size >= enough) {
                *region_index = i;
                *hole_index = k;
                return true;
            }
        }
    }
    return false;
}

/* Free bytes before an aligned block: none, or enough for a block of their own. */
static uint32_t lead_for(const struct model *model, uint32_t start, uint32_t alignment) {
    uint64_t lowest = (uint64_t)start + model->header;
    uint64_t aligned = align_up(lowest, alignment);
    if (aligned != lowest && aligned - lowest < model->smallest) {
        aligned = align_up(lowest + model->smallest, alignment);
    }
    return (uint32_t)(aligned - lowest);
}

uint32_t model_aligned_alloc(struct model *model, uint32_t alignment, uint64_t size,
                             uint32_t caps) {
    uint32_t want = block_size_for(model, size);
    if (want == 0 || alignment < ALIGNMENT_MIN || alignment > ALIGNMENT_MAX ||
        (alignment & (alignment - 1)) != 0) {
        return 0;
    }
    /* Every block is 8-aligned as it is; other alignments are only served by a hole that
     * is large enough wherever the aligned address falls in it. */
    uint32_t enough = alignment == ALIGNMENT_MIN ? want : want + alignment + model->smallest;
    uint32_t wanted_caps = caps != 0 ? caps : CAP_DEFAULT;
    uint32_t index;
    uint32_t hole;
    if (!first_fit(model, wanted_caps, enough, &index, &hole)) {
        return 0;
    }
    struct model_heap_region *region = &model->regions[index];
    uint32_t lead = lead_for(model, region->holes[hole].start, alignment);
    uint32_t start = region->holes[hole].start + lead;
    uint32_t unit = model_unit(region, start);
    region->cells[unit] = (struct model_live){.size = hole_carve(model, index, hole, lead, want),
                                              .requested = (uint32_t)size,
                                              .caps = wanted_caps};
    region->starts[unit / 64] |= UINT64_C(1) << unit % 64;
    return start + model->header;
}

uint32_t model_alloc(struct model *model, uint64_t size, uint32_t caps) {
    return model_aligned_alloc(model, ALIGNMENT_MIN, size, caps);
}

/* The core's option: shrink where the block is, or grow into the hole behind it. */
static bool resize_in_place(struct model *model, struct model_place place, uint32_t want) {
    struct model_heap_region *region = &model->regions[place.region];
    struct model_live *block = model_cell(model, place);
    uint32_t start = model_unit_address(region, place.unit);
    if (want <= block->size) {
        uint32_t rest = block->size - want;
        if (rest > 2 * model->header) {
            block->size = want;
            hole_release(region, start + want, rest);
        }
        return true;
    }
    uint32_t missing = want - block->size;
    uint32_t count = holes_up_to(region, start + block->size);
    if (count == 0 || region->holes[count - 1].start != start + block->size ||
        region->holes[count - 1].size < missing) {
        return false;
    }
    block->size += hole_carve(model, place.region, count - 1, 0, missing);
    return true;
}

uint32_t model_realloc(struct model *model, uint32_t pointer, uint64_t size, uint32_t caps) {
    if (pointer == 0) {
        return model_alloc(model, size, caps);
    }
    struct model_place old_place;
    if (!model_live_find(model, pointer, &old_place)) {
        return 0;
    }
    if (size == 0) {
        live_remove(model, old_place);
        return 0;
    }
    struct model_live *old = model_cell(model, old_place);
    uint32_t wanted_caps = caps != 0 ? caps : old->caps;
    uint32_t want = block_size_for(model, size);
    if (model->config.realloc_in_place && want != 0 &&
        region_serves(&model->regions[old_place.region], wanted_caps) &&
        resize_in_place(model, old_place, want)) {
        old->requested = (uint32_t)size;
        old->caps = wanted_caps;
        old->defined = min_u32(old->defined, old->requested);
        return pointer;
    }
    /* The SDK allocates first, copies, then frees, even to shrink. */
    uint32_t moved = model_alloc(model, size, wanted_caps);
    struct model_place new_place;
    if (moved == 0 || !model_live_find(model, moved, &new_place)) {
        return 0;
    }
    struct model_live *new_block = model_cell(model, new_place);
    new_block->defined = min_u32(old->defined, new_block->requested);
    memcpy(model_payload(model, new_place), model_payload(model, old_place), new_block->defined);
    live_remove(model, old_place);
    return moved;
}

enum model_free_result model_classify(const struct model *model, uint32_t pointer) {
    if (pointer == 0) {
        return MODEL_NOTHING;
    }
    uint32_t index = model_region_at(model, pointer);
    if (pointer % UNIT_BYTES != 0 || index == model->region_count) {
        return MODEL_FOREIGN;
    }
    struct model_place place;
    if (model_live_find(model, pointer, &place)) {
        return MODEL_FREED;
    }
    return model_hole_around(&model->regions[index], pointer) != NULL ? MODEL_DOUBLE
                                                                      : MODEL_INTERIOR;
}

enum model_free_result model_free(struct model *model, uint32_t pointer) {
    struct model_place place;
    if (model_live_find(model, pointer, &place)) {
        live_remove(model, place);
        return MODEL_FREED;
    }
    return model_classify(model, pointer);
}

/* Sums. */

uint32_t model_free_size(const struct model *model) { return free_sum(model, all_regions(model)); }

uint32_t model_minimum_free_size(const struct model *model) {
    return model->minimum[all_regions(model)];
}

uint32_t model_caps_free_size(const struct model *model, uint32_t caps) {
    return free_sum(model, regions_serving(model, caps));
}

uint32_t model_caps_minimum_free_size(const struct model *model, uint32_t caps) {
    uint32_t set = regions_serving(model, caps);
    uint32_t others = 0;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < model->region_count; i++) {
        bool serves = (set >> i & 1u) != 0;
        others += model->regions[i].joined && !serves;
        sum += serves ? model->minimum[1u << i] : 0;
    }
    return others == 0 ? model->minimum[all_regions(model)] : sum;
}

uint32_t model_caps_largest_free_block(const struct model *model, uint32_t caps) {
    uint32_t set = regions_serving(model, caps);
    uint32_t largest = 0;
    for (uint32_t i = 0; i < model->region_count; i++) {
        const struct model_heap_region *region = &model->regions[i];
        for (uint32_t k = 0; (set >> i & 1u) != 0 && k < region->hole_count; k++) {
            largest = region->holes[k].size > largest ? region->holes[k].size : largest;
        }
    }
    return largest;
}
