/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two halves of the reference model share: model.c decides where blocks lie,
 * model_contents.c describes them and knows their bytes. For nobody else.
 */
#ifndef MODEL_STATE_H
#define MODEL_STATE_H

#include "model.h"

#define UNIT_BYTES 8u /* blocks start and end at multiples of it */

struct model_hole {
    uint32_t start;
    uint32_t size;
};

/* Valid in the cell of the first unit of a live block. */
struct model_live {
    uint32_t size;      /* whole block */
    uint32_t requested; /* bytes asked for */
    uint32_t caps;      /* of the latest alloc or realloc, 0 resolved */
    uint32_t defined;   /* so many bytes of the payload are known in the shadow */
};

struct model_heap_region {
    char name[16];
    uint32_t base;  /* first block */
    uint32_t limit; /* the end marker: behind the last block */
    uint32_t caps;
    uint32_t free_bytes; /* 0 until it joins */
    bool deferred;
    bool joined;
    uint32_t hole_count;
    uint32_t hole_capacity;
    struct model_hole *holes; /* by address; never two that touch */
    struct model_live *cells; /* one for each unit */
    uint64_t *starts;         /* bit for each unit: a live block starts here */
    uint8_t *shadow;          /* one byte for each byte of the region */
    size_t starts_bytes;
    void *mapping; /* holds the four arrays */
    size_t mapping_bytes;
};

struct model {
    struct model_config config;
    uint32_t header;
    uint32_t tail;
    uint32_t smallest; /* block that can exist: one byte was asked for */
    uint32_t region_count;
    struct model_heap_region regions[MODEL_REGIONS_MAX];
    /* Least sum of free bytes for each set of regions; bit i stands for region i. The
     * full set is the total, the set that serves some capabilities is their minimum. */
    uint32_t minimum[1u << MODEL_REGIONS_MAX];
    uint64_t fills;
    bool created_in_place;
};

/* A live block: where its record is. */
struct model_place {
    uint32_t region;
    uint32_t unit;
};

static inline uint32_t model_unit(const struct model_heap_region *region, uint32_t address) {
    return (address - region->base) / UNIT_BYTES;
}

static inline uint32_t model_unit_address(const struct model_heap_region *region, uint32_t unit) {
    return region->base + unit * UNIT_BYTES;
}

static inline struct model_live *model_cell(const struct model *model, struct model_place place) {
    return &model->regions[place.region].cells[place.unit];
}

/* The shadow of a live block's first byte after the header. */
static inline uint8_t *model_payload(const struct model *model, struct model_place place) {
    return model->regions[place.region].shadow + (size_t)place.unit * UNIT_BYTES + model->header;
}

/* Index of the joined region whose blocks hold the address; region_count: none. */
uint32_t model_region_at(const struct model *model, uint32_t address);

/* The hole that contains the address, or NULL. */
const struct model_hole *model_hole_around(const struct model_heap_region *region,
                                           uint32_t address);

/* True if the pointer is a live block's. */
bool model_live_find(const struct model *model, uint32_t pointer, struct model_place *place);

#endif
