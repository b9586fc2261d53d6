/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference model's knowledge of blocks and bytes. Each region has a shadow, a byte
 * for a byte; of a live block's requested bytes those from its start up to `defined`
 * are known to the last bit, the rest is whatever the memory held before.
 */
#include "model_state.h"

#include <assert.h>
#include <string.h>

#define NO_UNIT UINT32_MAX

static uint32_t region_units(const struct model_heap_region *region) {
    return (region->limit - region->base) / UNIT_BYTES;
}

/* The last live start at or before a unit; NO_UNIT: none. */
static uint32_t start_before(const struct model_heap_region *region, uint32_t unit) {
    uint32_t word = unit / 64;
    uint64_t bits = region->starts[word] & (UINT64_MAX >> (63 - unit % 64));
    while (bits == 0 && word > 0) {
        bits = region->starts[--word];
    }
    return bits != 0 ? word * 64 + 63 - (uint32_t)__builtin_clzll(bits) : NO_UNIT;
}

/* The first live start at or after a unit; NO_UNIT: none. */
static uint32_t start_after(const struct model_heap_region *region, uint32_t unit) {
    uint32_t words = region_units(region) / 64 + 1;
    uint32_t word = unit / 64;
    uint64_t bits = region->starts[word] & (UINT64_MAX << unit % 64);
    while (bits == 0 && ++word < words) {
        bits = region->starts[word];
    }
    return bits != 0 ? word * 64 + (uint32_t)__builtin_ctzll(bits) : NO_UNIT;
}

static struct model_block describe_hole(const struct model_hole *hole) {
    return (struct model_block){.address = hole->start, .size = hole->size};
}

static struct model_block describe_live(const struct model *model, struct model_place place) {
    const struct model_live *live = model_cell(model, place);
    uint32_t address = model_unit_address(&model->regions[place.region], place.unit);
    return (struct model_block){.address = address,
                                .size = live->size,
                                .pointer = address + model->header,
                                .requested = live->requested,
                                .caps = live->caps,
                                .live = true};
}

bool model_find(const struct model *model, uint32_t address, struct model_block *block) {
    uint32_t index = model_region_at(model, address);
    if (index == model->region_count) {
        return false;
    }
    const struct model_heap_region *region = &model->regions[index];
    const struct model_hole *hole = model_hole_around(region, address);
    if (hole != NULL) {
        *block = describe_hole(hole);
        return true;
    }
    /* What is not in a hole is in the live block that starts last before it. */
    uint32_t unit = start_before(region, model_unit(region, address));
    assert(unit != NO_UNIT);
    *block = describe_live(model, (struct model_place){.region = index, .unit = unit});
    return true;
}

void model_walk(const struct model *model, uint32_t region, model_visit_fn *visit, void *context) {
    if (region >= model->region_count || !model->regions[region].joined) {
        return;
    }
    const struct model_heap_region *walked = &model->regions[region];
    uint32_t hole = 0;
    uint32_t unit = start_after(walked, 0);
    while (hole < walked->hole_count || unit != NO_UNIT) {
        struct model_block block;
        if (unit == NO_UNIT || (hole < walked->hole_count &&
                                walked->holes[hole].start < model_unit_address(walked, unit))) {
            block = describe_hole(&walked->holes[hole++]);
        } else {
            block = describe_live(model, (struct model_place){.region = region, .unit = unit});
            unit = start_after(walked, unit + 1);
        }
        if (!visit(context, &block)) {
            return;
        }
    }
}

/* Bytes [from, to) of a payload are known now. `defined` is one length, not a set: what
 * lies behind a gap does not count. */
static void define_bytes(struct model_live *live, uint32_t from, uint32_t to) {
    if (from <= live->defined && to > live->defined) {
        live->defined = to;
    }
}

/* A number that looks random and differs for different inputs: multiplying by an odd
 * number and folding the high half into the low one can both be undone. */
static uint64_t scramble(uint64_t value) {
    value *= UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
    return value ^ value >> 32;
}

static void fill_bytes(uint8_t *bytes, uint32_t length, uint64_t seed) {
    uint32_t done = 0;
    for (; length - done >= sizeof seed; done += (uint32_t)sizeof seed) {
        uint64_t word = scramble(seed + done);
        memcpy(bytes + done, &word, sizeof word);
    }
    uint64_t word = scramble(seed + done);
    memcpy(bytes + done, &word, length - done);
}

const uint8_t *model_fill(struct model *model, uint32_t pointer, uint32_t offset, uint32_t length) {
    struct model_place place;
    if (!model_live_find(model, pointer, &place)) {
        return NULL;
    }
    struct model_live *live = model_cell(model, place);
    if (offset > live->requested || length > live->requested - offset) {
        return NULL;
    }
    uint8_t *bytes = model_payload(model, place) + offset;
    model->fills++;
    fill_bytes(bytes, length, scramble(model->fills << 32 | pointer));
    define_bytes(live, offset, offset + length);
    return bytes;
}

/* The part of [from, to) that lies in one block's requested bytes. */
static void store_in_block(struct model *model, struct model_place place, uint64_t from,
                           uint64_t to, uint8_t byte) {
    struct model_live *live = model_cell(model, place);
    uint64_t first =
        (uint64_t)model_unit_address(&model->regions[place.region], place.unit) + model->header;
    uint64_t low = from > first ? from : first;
    uint64_t high = to < first + live->requested ? to : first + live->requested;
    if (low < high) {
        memset(model_payload(model, place) + (low - first), byte, high - low);
        define_bytes(live, (uint32_t)(low - first), (uint32_t)(high - first));
    }
}

void model_store(struct model *model, uint32_t address, uint32_t length, uint8_t byte) {
    uint64_t end = (uint64_t)address + length;
    for (uint32_t i = 0; i < model->region_count; i++) {
        const struct model_heap_region *region = &model->regions[i];
        uint64_t from = address > region->base ? address : region->base;
        uint64_t to = end < region->limit ? end : region->limit;
        if (!region->joined || from >= to) {
            continue;
        }
        uint32_t unit = start_before(region, model_unit(region, (uint32_t)from));
        for (unit = start_after(region, unit == NO_UNIT ? 0 : unit);
             unit != NO_UNIT && model_unit_address(region, unit) < to;
             unit = start_after(region, unit + 1)) {
            store_in_block(model, (struct model_place){.region = i, .unit = unit}, from, to, byte);
        }
    }
}

const uint8_t *model_contents(const struct model *model, uint32_t pointer, uint32_t *length) {
    struct model_place place;
    if (!model_live_find(model, pointer, &place)) {
        *length = 0;
        return NULL;
    }
    *length = model_cell(model, place)->defined;
    return model_payload(model, place);
}
