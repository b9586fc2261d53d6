/* SPDX-License-Identifier: Apache-2.0
 *
 * The arenas: layouts, images of the heap after init, and the closed memory around them.
 */
#include "arena.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

#define PSRAM_FITTED (2u << 20)
#define REGIONS 3u
#define SRAM_CAPS (WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_INTERNAL | WM_HEAP_CAP_EXEC)
#define DRAM_CAPS (WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_INTERNAL | WM_HEAP_CAP_SHARED)

/* As on the chip, SRAM touching DRAM; starts and ends that are not 8-aligned, with gaps; and
 * heaps that are full after a few calls. */
static const struct wm_heap_region_config layouts[PROGRAM_LAYOUTS][REGIONS] = {
    {{"SRAM", 0x20027820, 0x20028000, SRAM_CAPS, false},
     {"DRAM", 0x20028000, 0x200287fc, DRAM_CAPS, false},
     {"PSRAM", 0x30000000, 0x30000800, WM_HEAP_CAP_SPIRAM, true}},
    {{"SRAM", 0x20027234, 0x20027a04, SRAM_CAPS, false},
     {"DRAM", 0x20028404, 0x20028a0b, DRAM_CAPS, false},
     {"PSRAM", 0x30000834, 0x30000ff1, WM_HEAP_CAP_SPIRAM, true}},
    {{"SRAM", 0x20027c14, 0x20027e00, SRAM_CAPS, false},
     {"DRAM", 0x20028004, 0x20028404, DRAM_CAPS, false},
     {"PSRAM", 0x30000400, 0x30000700, WM_HEAP_CAP_SPIRAM, true}},
};

/* Memory and state after init. File scope, since there is one machine in a process and a
 * target's entry has no argument to carry it. */
static struct image {
    struct w800_config config;
    struct wm_heap_state state;
    uint8_t memory[ARENA_BYTES];
} * images;

static struct image *image_of(const struct program_head *head) {
    return &images[head->layout * PROGRAM_BUILDS + head->build];
}

const struct wm_heap_region_config *arena_regions(uint32_t layout) { return layouts[layout]; }

#define ONCHIP_BYTES (ARENA_ONCHIP_END - ARENA_ONCHIP_START)

static void memory_fill(void) {
    memset(w800_pointer(ARENA_ONCHIP_START), ARENA_OUTSIDE, ONCHIP_BYTES);
    memset(w800_pointer(ARENA_PSRAM_START), ARENA_OUTSIDE, ARENA_BYTES - ONCHIP_BYTES);
}

static void memory_save(uint8_t *memory) {
    memcpy(memory, w800_pointer(ARENA_ONCHIP_START), ONCHIP_BYTES);
    memcpy(memory + ONCHIP_BYTES, w800_pointer(ARENA_PSRAM_START), ARENA_BYTES - ONCHIP_BYTES);
}

static void memory_restore(const uint8_t *memory) {
    memcpy(w800_pointer(ARENA_ONCHIP_START), memory, ONCHIP_BYTES);
    memcpy(w800_pointer(ARENA_PSRAM_START), memory + ONCHIP_BYTES, ARENA_BYTES - ONCHIP_BYTES);
}

/* Whole pages only: where they have 64 KiB, a little more stays open. */
static void close_memory(uint32_t start, uint32_t end) {
    uint32_t mask = (uint32_t)sysconf(_SC_PAGESIZE) - 1u;
    start = (start + mask) & ~mask;
    end &= ~mask;
    if (start < end) {
        FUZZ_CHECK(mprotect(w800_pointer(start), end - start, PROT_NONE) == 0,
                   "cannot close 0x%08x-0x%08x", start, end - 1);
    }
}

static void start_machine(void) {
    struct w800_error error;
    struct w800_config config = {
        .build = heap_builds[0], .region_count = REGIONS, .psram_bytes = PSRAM_FITTED};
    memcpy(config.regions, layouts[0], sizeof layouts[0]);
    FUZZ_CHECK(w800_start(&config, &error), "%s", error.text);
    close_memory(W800_SRAM_START, ARENA_ONCHIP_START);
    close_memory(ARENA_ONCHIP_END, W800_DRAM_END);
    close_memory(ARENA_PSRAM_END, W800_PSRAM_START + PSRAM_FITTED);
}

static void image_clear(const struct image *image) {
    w800_reconfigure(&image->config);
    memset(image->config.build->state, 0, sizeof image->state);
    memory_fill();
}

void arena_clear(uint32_t build) { image_clear(&images[build]); }

void arena_open(void) {
    images = calloc((size_t)PROGRAM_BUILDS * PROGRAM_LAYOUTS, sizeof *images);
    FUZZ_CHECK(images != NULL, "no memory");
    start_machine();
    for (uint32_t i = 0; i < PROGRAM_BUILDS * PROGRAM_LAYOUTS; i++) {
        struct image *image = &images[i];
        image->config = *w800_config();
        image->config.build = heap_builds[i % PROGRAM_BUILDS];
        memcpy(image->config.regions, layouts[i / PROGRAM_BUILDS], sizeof layouts[0]);
        image_clear(image);
        wm_heap_init();
        memory_save(image->memory);
        memcpy(&image->state, image->config.build->state, sizeof image->state);
    }
}

void arena_reset(const struct program_head *head) {
    const struct image *image = image_of(head);
    w800_reconfigure(&image->config);
    memory_restore(image->memory);
    memcpy(image->config.build->state, &image->state, sizeof image->state);
}

void arena_busy_psram(bool busy) {
    FUZZ_CHECK(mprotect(w800_pointer(ARENA_PSRAM_START), ARENA_PSRAM_END - ARENA_PSRAM_START,
                        busy ? PROT_NONE : PROT_READ | PROT_WRITE) == 0,
               "cannot change the rights of PSRAM's page%s", "");
}

/* The bytes from `start` to `end` are as they were filled: the first one, and each like the one
 * before, which is the fastest way to ask. */
static bool stretch_is_intact(uint32_t start, uint32_t end, uint32_t *address) {
    const uint8_t *bytes = w800_pointer(start);
    if (start == end ||
        (bytes[0] == ARENA_OUTSIDE && memcmp(bytes, bytes + 1, end - start - 1) == 0)) {
        return true;
    }
    while (*(const uint8_t *)w800_pointer(start) == ARENA_OUTSIDE) {
        start++;
    }
    *address = start;
    return false;
}

bool arena_outside_is_intact(uint32_t layout, uint32_t *address) {
    const struct wm_heap_region_config *row = layouts[layout];
    return stretch_is_intact(ARENA_ONCHIP_START, row[0].start, address) &&
           stretch_is_intact(row[0].end, row[1].start, address) &&
           stretch_is_intact(row[1].end, ARENA_ONCHIP_END, address) &&
           stretch_is_intact(ARENA_PSRAM_START, row[2].start, address) &&
           stretch_is_intact(row[2].end, ARENA_PSRAM_END, address);
}
