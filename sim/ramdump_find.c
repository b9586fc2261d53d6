/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the SDK's heap lies. Its regions are described by an array in .data, wm_soc_memory:
 *
 *     name pointer, start, size, capabilities, list head, end pointer, free bytes,
 *     minimum free, successful allocations, successful frees, allocated bit
 *
 * The list head is a header without its alignment padding, 16 bytes, with tracing 8 more,
 * with poisoning 4 more: so the descriptor's size, 56, 60, 64 or 68, tells the build. A
 * descriptor needs no symbol to be recognised: start, size, end and allocated bit confirm
 * each other. Where no descriptor is in the dump (a piece of memory, or PSRAM alone), the
 * live headers themselves vote on the build and on the heap pointer that they share.
 */
#include "ramdump.h"

#include <string.h>

#define ALLOCATED 0x80000000u
#define CANARY 0xa5a5a5a5u
#define CAP_INVALID 0x00100000u
#define DESCRIPTOR_HEAD 16u /* offset of the list head: what a heap pointer points to */
#define DRAM_RESERVED 4u    /* the last word of DRAM, for a reboot reason */

static const struct {
    bool tracing, poisoning;
    uint32_t header_size;
    uint32_t descriptor_size;
} builds[] = {
    {false, false, 16, 56}, {false, true, 24, 60}, {true, false, 24, 64}, {true, true, 32, 68}};
#define BUILDS (sizeof(builds) / sizeof(builds[0]))

static const struct {
    uint32_t start, end; /* of the chip's memory */
    uint32_t caps;
    const char *symbol; /* where the heap starts in it */
} memories[IMAGE_REGIONS_MAX] = {
    {0x20000000u, 0x20028000u, 0x0bu, "__bss_end__"},
    {0x20028000u, 0x20048000u - DRAM_RESERVED, 0x13u, "_eshram"},
    {0x30000000u, 0x30800000u, 0x04u, "_epsram"},
};

static uint32_t align8_down(uint32_t value) { return value & ~7u; }

/* Reads the descriptor of the region `index` at an address; false if it is none. An end
 * marker of one header stands at the region's aligned end; a start that was aligned up may
 * or may not have shortened the size. */
static bool read_descriptor(const struct ramdump_memory *memory, size_t build, size_t index,
                            uint32_t at, struct ramdump_region *region) {
    const uint32_t tail = at + builds[build].descriptor_size - 24u;
    const uint32_t start = ramdump_word(memory, at + 4);
    const uint32_t size = ramdump_word(memory, at + 8);
    const uint32_t end = ramdump_word(memory, tail);
    if (!ramdump_holds(memory, at, builds[build].descriptor_size) ||
        start < memories[index].start || start > memories[index].end ||
        size > memories[index].end + DRAM_RESERVED - start || size < 64 ||
        ramdump_word(memory, tail + 20) != ALLOCATED || (end & 7u) != 0) {
        return false;
    }
    const uint32_t expected = align8_down(start + size - builds[build].header_size);
    const uint32_t caps = ramdump_word(memory, at + 12);
    if (end > expected + 8 || end + 8 < expected || end <= start ||
        (caps & ~(memories[index].caps | CAP_INVALID)) != 0) {
        return false;
    }
    *region = (struct ramdump_region){.present = true,
                                      .end_known = true,
                                      .heap_pointer = at + DESCRIPTOR_HEAD,
                                      .start = (start + 7u) & ~7u,
                                      .end = end,
                                      .caps = memories[index].caps,
                                      .first_free = ramdump_word(memory, at + DESCRIPTOR_HEAD),
                                      .has_counters = true,
                                      .free_bytes = ramdump_word(memory, tail + 4),
                                      .min_free_bytes = ramdump_word(memory, tail + 8),
                                      .allocs = ramdump_word(memory, tail + 12),
                                      .frees = ramdump_word(memory, tail + 16)};
    return true;
}

static void use_build(struct ramdump_heap *heap, size_t build) {
    heap->tracing = builds[build].tracing;
    heap->poisoning = builds[build].poisoning;
    heap->header_size = builds[build].header_size;
}

/* The array of descriptors at an address, in any build; of the rows at least one must be
 * valid, and rows stand for SRAM, DRAM, PSRAM in this order. */
static bool read_descriptors(struct ramdump_heap *heap, uint32_t at) {
    for (size_t build = 0; build < BUILDS; ++build) {
        unsigned found = 0;
        for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
            const uint32_t row = at + (uint32_t)i * builds[build].descriptor_size;
            heap->regions[i] = (struct ramdump_region){0};
            found += read_descriptor(&heap->memory, build, i, row, &heap->regions[i]);
        }
        if (found > 0) {
            use_build(heap, build);
            return true;
        }
    }
    return false;
}

/* Looks for the descriptor of SRAM, or of DRAM alone, whose row then is the second. */
static bool scan_for_descriptors(struct ramdump_heap *heap) {
    const struct ramdump_memory *memory = &heap->memory;
    for (size_t index = 0; index < 2; ++index) {
        for (uint32_t at = (memory->base + 3u) & ~3u; ramdump_holds(memory, at, 56); at += 4) {
            const uint32_t start = ramdump_word(memory, at + 4);
            if (start < memories[index].start || start > memories[index].end) {
                continue;
            }
            for (size_t build = 0; build < BUILDS; ++build) {
                struct ramdump_region region;
                const uint32_t before = (uint32_t)index * builds[build].descriptor_size;
                if (read_descriptor(memory, build, index, at, &region) &&
                    read_descriptors(heap, at - before)) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* --- Without descriptors ---------------------------------------------------------------- */

struct votes {
    uint32_t heap_pointer;
    size_t headers, sites, canaries16, canaries24;
};

/* Looks like a live header in any build: flag, size, a heap pointer into .data, capabilities,
 * and behind the block something that is no live header with another heap pointer. */
static bool may_be_live(const struct ramdump_memory *memory, size_t index, uint32_t at,
                        uint32_t *heap_pointer) {
    const uint32_t size = ramdump_word(memory, at + 4);
    const uint32_t caps = ramdump_word(memory, at + 12);
    *heap_pointer = ramdump_word(memory, at + 8);
    return (size & ALLOCATED) != 0 && (size & 7u) == 0 &&
           (size & ~ALLOCATED) <= memories[index].end - at && (size & ~ALLOCATED) > 16 &&
           (*heap_pointer & 3u) == 0 && image_region_of(*heap_pointer) == 0 && caps != 0 &&
           (caps & ~memories[index].caps) == 0;
}

/* The part of a chip's memory that the dump covers, 8-aligned; empty if from >= to. A base at the
 * end of the address space is not aligned, which would make it 0. */
static void covered_part(const struct ramdump_memory *memory, size_t index, uint32_t *from,
                         uint32_t *to) {
    const uint32_t dump_end = memory->base + memory->size;
    *from = memory->base > memories[index].start ? memory->base : memories[index].start;
    *to = dump_end < memories[index].end ? dump_end : memories[index].end;
    *from = *from < *to ? (*from + 7u) & ~7u : *to;
}

/* The heap pointer that most headers share, by Boyer and Moore's vote. */
static uint32_t elect_heap_pointer(const struct ramdump_memory *memory, size_t index) {
    uint32_t from = 0;
    uint32_t to = 0;
    uint32_t elected = 0;
    size_t lead = 0;
    covered_part(memory, index, &from, &to);
    for (uint32_t at = from; at < to && to - at >= 16; at += 8) {
        uint32_t heap_pointer = 0;
        if (!may_be_live(memory, index, at, &heap_pointer)) {
            continue;
        }
        if (lead == 0) {
            elected = heap_pointer;
        }
        lead = heap_pointer == elected ? lead + 1 : lead - 1;
    }
    return elected;
}

static void count_votes(const struct ramdump_memory *memory, size_t index, struct votes *votes) {
    uint32_t from = 0;
    uint32_t to = 0;
    covered_part(memory, index, &from, &to);
    for (uint32_t at = from; at < to && to - at >= 32; at += 8) {
        uint32_t heap_pointer = 0;
        if (!may_be_live(memory, index, at, &heap_pointer) || heap_pointer != votes->heap_pointer) {
            continue;
        }
        const uint32_t file = ramdump_word(memory, at + 16);
        const uint32_t line = ramdump_word(memory, at + 20);
        ++votes->headers;
        votes->sites += file >= 0x08000000u && file < 0x0a000000u && line > 0 && line < 1000000;
        votes->canaries16 += ramdump_word(memory, at + 16) == CANARY;
        votes->canaries24 += ramdump_word(memory, at + 24) == CANARY;
    }
}

static void place_region(struct ramdump_heap *heap, size_t index, uint32_t heap_pointer) {
    uint32_t from = 0;
    uint32_t to = 0;
    uint32_t start = 0;
    covered_part(&heap->memory, index, &from, &to);
    const uint32_t end = align8_down(memories[index].end - heap->header_size);
    struct ramdump_region *region = &heap->regions[index];
    if (from >= to || heap_pointer == 0) {
        return;
    }
    *region = (struct ramdump_region){.present = true,
                                      .end_known = index != 2 && to > end,
                                      .heap_pointer = heap_pointer,
                                      .end = end,
                                      .caps = memories[index].caps};
    if (heap->firmware != NULL && firmware_symbol(heap->firmware, memories[index].symbol, &start) &&
        image_region_of(start) == (int)index) {
        region->start = (start + 7u) & ~7u;
    }
}

static bool vote(struct ramdump_heap *heap) {
    struct votes regions[IMAGE_REGIONS_MAX] = {{0}};
    struct votes sum = {0};
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        regions[i].heap_pointer = elect_heap_pointer(&heap->memory, i);
        count_votes(&heap->memory, i, &regions[i]);
        sum.headers += regions[i].headers;
        sum.sites += regions[i].sites;
        sum.canaries16 += regions[i].canaries16;
        sum.canaries24 += regions[i].canaries24;
    }
    if (sum.headers < 3) {
        return false; /* could be chance */
    }
    const bool tracing = sum.sites * 2 > sum.headers;
    const size_t canaries = tracing ? sum.canaries24 : sum.canaries16;
    const bool poisoning = canaries * 2 > sum.headers;
    use_build(heap, (tracing ? 2u : 0u) + (poisoning ? 1u : 0u));
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        if (regions[i].headers > 0) {
            place_region(heap, i, regions[i].heap_pointer);
        }
    }
    return true;
}

/* Most live blocks of a build with comprehensive poisoning have their tail word. */
static bool tails_are_there(const struct ramdump_heap *heap) {
    size_t live = 0;
    size_t tails = 0;
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        const struct ramdump_region *region = &heap->regions[i];
        uint32_t from = 0;
        uint32_t to = 0;
        covered_part(&heap->memory, i, &from, &to);
        for (uint32_t at = from; region->present && at < to; at += 8) {
            if (ramdump_is_live(heap, region, at)) {
                const struct ramdump_block block = {
                    .address = at, .size = ramdump_word(&heap->memory, at + 4) & ~ALLOCATED};
                uint32_t requested = 0;
                ++live;
                tails += ramdump_find_tail(heap, &block, &requested);
            }
        }
    }
    return tails * 2 > live;
}

bool ramdump_find(struct ramdump_heap *heap) {
    uint32_t symbol = 0;
    if (heap->firmware != NULL && firmware_symbol(heap->firmware, "wm_soc_memory", &symbol) &&
        read_descriptors(heap, symbol)) {
        heap->found_by = "the symbol wm_soc_memory";
    } else if (scan_for_descriptors(heap)) {
        heap->found_by = "region descriptors found by scanning";
    } else if (vote(heap)) {
        heap->found_by = "the headers of live blocks";
    } else {
        return false;
    }
    heap->comprehensive = heap->poisoning && tails_are_there(heap);
    return true;
}
