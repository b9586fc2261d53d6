/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks in a growing array, file names once each in a hash table. A log of a day prints the
 * same hundred names a million times, so names outlive the lists that brought them.
 */
#include "image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A garbled log has as many names as lines, and a hostile one names that all fall on the same
 * slot. Beyond these bounds a name is unknown: memory and time stay bounded. */
#define SITES_MAX 65536u
#define PROBES_MAX 512u

/* The chip's memories, and the names and capabilities that the SDK gives them: SRAM is
 * DEFAULT, INTERNAL, EXEC (bits 0, 1, 3), DRAM is DEFAULT, INTERNAL, SHARED (0, 1, 4), PSRAM,
 * of which at most 8 MiB are fitted, is SPIRAM (2). */
static const struct {
    const char *name;
    uint32_t start, end;
    uint32_t caps;
} memories[IMAGE_REGIONS_MAX] = {
    {"SRAM", 0x20000000u, 0x20028000u, 0x0bu},
    {"DRAM", 0x20028000u, 0x20048000u, 0x13u},
    {"PSRAM", 0x30000000u, 0x30800000u, 0x04u},
};

int image_region_of(uint32_t address) {
    for (int i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        if (address >= memories[i].start && address < memories[i].end) {
            return i;
        }
    }
    return -1;
}

bool image_init(struct image *image) {
    *image = (struct image){0};
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        snprintf(image->regions[i].name, sizeof(image->regions[i].name), "%s", memories[i].name);
        image->regions[i].caps = memories[i].caps;
    }
    return image_site(image, "", 0) == 0;
}

void image_free(struct image *image) {
    for (uint32_t i = 0; i < image->site_count; ++i) {
        free(image->sites[i]);
    }
    free(image->sites);
    free(image->site_table);
    free(image->blocks);
    *image = (struct image){0};
}

void image_clear_blocks(struct image *image) {
    image->block_count = 0;
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        struct image_region *region = &image->regions[i];
        region->largest_free = region->live_blocks = region->live_bytes = 0;
        region->has_blocks = false;
    }
}

/* FNV-1a. */
static uint32_t hash_text(const char *text, size_t length) {
    uint32_t hash = 0x811c9dc5u;
    for (size_t i = 0; i < length; ++i) {
        hash = (hash ^ (uint8_t)text[i]) * 0x01000193u;
    }
    return hash;
}

/* The table's slot of a name: its own, or the empty one where it belongs, or NULL if that is
 * too far off. Slots hold the index plus 1. */
static uint32_t *site_slot(const struct image *image, const char *file, size_t length) {
    const uint32_t mask = image->site_table_size - 1;
    const uint32_t hash = hash_text(file, length);
    for (uint32_t probe = 0; probe < PROBES_MAX; ++probe) {
        uint32_t *slot = &image->site_table[(hash + probe) & mask];
        if (*slot == 0) {
            return slot;
        }
        const char *name = image->sites[*slot - 1];
        if (strncmp(name, file, length) == 0 && name[length] == '\0') {
            return slot;
        }
    }
    return NULL;
}

/* Room for one more name, the table at most half full. */
static bool grow_sites(struct image *image) {
    if (image->site_count < image->site_room || image->site_room >= SITES_MAX) {
        return true;
    }
    const uint32_t room = image->site_room != 0 ? image->site_room * 2 : 32;
    char **sites = realloc(image->sites, room * sizeof(*sites));
    if (sites == NULL) {
        return false;
    }
    image->sites = sites;
    uint32_t *table = calloc((size_t)room * 2, sizeof(*table));
    if (table == NULL) {
        return false;
    }
    free(image->site_table);
    image->site_table = table;
    image->site_table_size = room * 2;
    image->site_room = room;
    for (uint32_t i = 0; i < image->site_count; ++i) {
        uint32_t *slot = site_slot(image, sites[i], strlen(sites[i]));
        if (slot != NULL) {
            *slot = i + 1;
        }
    }
    return true;
}

uint32_t image_site(struct image *image, const char *file, size_t length) {
    length = strnlen(file, length);
    if (!grow_sites(image)) {
        return UINT32_MAX;
    }
    uint32_t *slot = site_slot(image, file, length);
    if (slot != NULL && *slot != 0) {
        return *slot - 1;
    }
    if (slot == NULL || image->site_count >= SITES_MAX) {
        return 0;
    }
    char *name = strndup(file, length);
    if (name == NULL) {
        return UINT32_MAX;
    }
    image->sites[image->site_count++] = name;
    *slot = image->site_count;
    return image->site_count - 1;
}

/* Where a block begins, as far as is known. */
static uint32_t block_start(const struct image_block *block) {
    return block->address != 0 ? block->address : block->pointer;
}

bool image_add(struct image *image, const struct image_block *block) {
    const int region = image_region_of(block_start(block));
    if (region < 0) {
        return true;
    }
    if (image->block_count == image->block_room) {
        const size_t room = image->block_room != 0 ? image->block_room * 2 : 256;
        struct image_block *blocks = realloc(image->blocks, room * sizeof(*blocks));
        if (blocks == NULL) {
            return false;
        }
        image->blocks = blocks;
        image->block_room = room;
    }
    struct image_block *added = &image->blocks[image->block_count++];
    *added = *block;
    added->region = (uint8_t)region;
    return true;
}

static int compare_numbers(uint32_t a, uint32_t b) { return (a > b) - (a < b); }

static int compare_blocks(const void *left, const void *right) {
    const struct image_block *a = left;
    const struct image_block *b = right;
    const int by_start = compare_numbers(block_start(a), block_start(b));
    return by_start != 0 ? by_start : compare_numbers(a->order, b->order);
}

static void sort_blocks(struct image *image) {
    if (image->block_count > 0) {
        qsort(image->blocks, image->block_count, sizeof(*image->blocks), compare_blocks);
    }
}

static bool bounds_are_known(const struct image *image, const struct image_region *region) {
    return image->header_size != 0 && region->start != 0 && region->end > region->start;
}

static bool add_hole(struct image *image, uint32_t from, uint32_t to) {
    const struct image_block hole = {
        .address = from, .size = to - from, .order = UINT32_MAX, .state = IMAGE_FREE};
    return from >= to || image_add(image, &hole);
}

/* What no block holds between a region's bounds is free. The holes are appended behind the
 * `count` sorted blocks; a block that reaches into the next one makes no hole. */
static bool fill_holes(struct image *image, unsigned index, size_t count) {
    const struct image_region *region = &image->regions[index];
    uint64_t reached = region->start;
    for (size_t i = 0; i < count; ++i) {
        const struct image_block block = image->blocks[i];
        if (block.region != index || block.address < region->start ||
            block.address >= region->end) {
            continue;
        }
        if (block.address > reached && !add_hole(image, (uint32_t)reached, block.address)) {
            return false;
        }
        const uint64_t end = (uint64_t)block.address + block.size;
        reached = end > reached ? end : reached;
    }
    return reached >= region->end || add_hole(image, (uint32_t)reached, region->end);
}

static void sum_blocks(struct image *image) {
    uint32_t free_bytes[IMAGE_REGIONS_MAX] = {0};
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        struct image_region *region = &image->regions[i];
        region->largest_free = region->live_blocks = region->live_bytes = 0;
    }
    for (size_t i = 0; i < image->block_count; ++i) {
        const struct image_block *block = &image->blocks[i];
        struct image_region *region = &image->regions[block->region];
        if (block->state == IMAGE_LIVE) {
            ++region->live_blocks;
            region->live_bytes += block->size;
        } else if (block->state == IMAGE_FREE) {
            free_bytes[block->region] += block->size;
            region->largest_free =
                block->size > region->largest_free ? block->size : region->largest_free;
        }
    }
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        struct image_region *region = &image->regions[i];
        region->has_blocks = bounds_are_known(image, region);
        if (region->has_blocks && !region->has_free) {
            region->free_bytes = free_bytes[i];
        }
    }
}

bool image_finish(struct image *image) {
    for (size_t i = 0; i < image->block_count; ++i) {
        struct image_block *block = &image->blocks[i];
        if (block->address == 0 && image->header_size != 0 && block->pointer > image->header_size) {
            block->address = block->pointer - image->header_size;
        }
    }
    sort_blocks(image);
    const size_t count = image->block_count;
    for (unsigned i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        if (bounds_are_known(image, &image->regions[i]) && !fill_holes(image, i, count)) {
            return false;
        }
    }
    sort_blocks(image);
    sum_blocks(image);
    return true;
}

const struct image_block *image_find(const struct image *image, uint32_t address) {
    size_t low = 0;
    size_t high = image->block_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (block_start(&image->blocks[middle]) <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? &image->blocks[low - 1] : NULL;
}
