/* SPDX-License-Identifier: Apache-2.0
 *
 * A heap as a field report shows it at one moment: from a tracing list of a console log, a
 * RAM dump, or a recorder's snapshot. What the report does not say is 0 or empty; nothing
 * here is guessed without a flag that says so.
 */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_REGIONS_MAX 3

enum image_state {
    IMAGE_LIVE,
    IMAGE_FREE,
    IMAGE_SMASHED, /* a block starts here, its header cannot be believed */
    IMAGE_UNKNOWN, /* bytes between a smashed header and the next plausible one */
};

struct image_block {
    uint32_t address;   /* of the header; 0 if the header size is not known */
    uint32_t pointer;   /* the user's; 0 for FREE and UNKNOWN */
    uint32_t size;      /* whole block, bytes */
    uint32_t requested; /* 0 if not known */
    uint32_t caps;      /* 0 if not known */
    uint32_t order;     /* 0 the newest; UINT32_MAX if not known */
    uint32_t site;      /* index into the image's sites; 0 is "" */
    uint32_t line;
    uint8_t region; /* index */
    uint8_t state;  /* enum image_state */
};

struct image_region {
    char name[8];
    uint32_t start; /* first byte of the heap in it, 8-aligned; 0 if not known */
    uint32_t end;   /* the end marker's address */
    uint32_t caps;
    uint32_t free_bytes;
    uint32_t min_free_bytes;
    uint32_t largest_free;
    uint32_t live_blocks;
    uint32_t live_bytes;
    bool present;    /* it is part of the heap */
    bool has_free;   /* free_bytes and min_free_bytes are the report's */
    bool has_blocks; /* largest_free and the live sums follow from known blocks and bounds */
};

struct image {
    bool tracing_known, poisoning_known;
    bool tracing;
    uint8_t poisoning;                              /* enum trace_poisoning */
    uint32_t header_size;                           /* 0 if not known */
    struct image_region regions[IMAGE_REGIONS_MAX]; /* SRAM, DRAM, PSRAM */
    struct image_block *blocks;                     /* in address order */
    size_t block_count;
    size_t block_room;
    char **sites; /* file names; sites[0] is "" */
    uint32_t site_count;
    uint32_t site_room;
    uint32_t *site_table; /* hash of the names, for image_site */
    uint32_t site_table_size;
};

/* An empty image with the chip's three regions by name, none of them present. False: out
 * of memory, here and below. */
bool image_init(struct image *image);
void image_free(struct image *image);

/* Forgets blocks and sums, keeps regions, options and sites. */
void image_clear_blocks(struct image *image);

/* Index of a file name, added if it is new; 0 once there are 65,536 of them. UINT32_MAX: out
 * of memory. */
uint32_t image_site(struct image *image, const char *file, size_t length);

/* Appends a block (any order; image_finish sorts). The region follows from the address; a
 * block outside the chip's memory is left out. */
bool image_add(struct image *image, const struct image_block *block);

/* Sorts the blocks, and where region bounds and header size are known fills the holes
 * between live blocks with FREE ones and computes each region's sums; free_bytes too, unless
 * has_free says that it is the report's. */
bool image_finish(struct image *image);

/* The block that holds `address`, or the nearest one below it; NULL if there is none. */
const struct image_block *image_find(const struct image *image, uint32_t address);

/* Index of the chip's memory that holds `address`, or -1. */
int image_region_of(uint32_t address);

#endif
