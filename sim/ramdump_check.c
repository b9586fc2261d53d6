/* SPDX-License-Identifier: Apache-2.0
 *
 * The dump's bytes by address, and what makes them a header. A live header is recognised by
 * its heap pointer, which is one fixed value for each region, its flag, size and capabilities;
 * so 16 bytes of anything else are not taken for one by chance.
 */
#include "ramdump.h"

#define ALLOCATED 0x80000000u
#define CANARY 0xa5a5a5a5u
#define TAIL 0x5a5a5a5au
#define LINE_MAX_PLAUSIBLE 1000000u
#define LINE_NONE 0xffffffffu
#define FLASH_START 0x08000000u
#define FLASH_END 0x0a000000u

uint32_t ramdump_find_word(const struct ramdump_memory *memory, uint32_t from, uint32_t word) {
    const uint32_t little = htole32(word);
    uint8_t first;
    memcpy(&first, &little, 1);
    while (ramdump_holds(memory, from, sizeof(word))) {
        const uint8_t *rest = memory->bytes + (from - memory->base);
        const size_t room = memory->size - (from - memory->base) - (sizeof(word) - 1);
        const uint8_t *at = memchr(rest, first, room);
        if (at == NULL) {
            return 0;
        }
        from += (uint32_t)(at - rest);
        if (from % 4 == 0 && ramdump_word(memory, from) == word) {
            return from;
        }
        ++from;
    }
    return 0;
}

const struct ramdump_field ramdump_fields[RAMDUMP_FIELDS] = {
    {RAMDUMP_BAD_NEXT, "next"},         {RAMDUMP_BAD_SIZE, "size"},
    {RAMDUMP_BAD_HEAP, "heap pointer"}, {RAMDUMP_BAD_CAPS, "capabilities"},
    {RAMDUMP_BAD_FILE, "file"},         {RAMDUMP_BAD_LINE, "line"},
    {RAMDUMP_BAD_CANARY, "canary"},
};

bool ramdump_field_offset(const struct ramdump_heap *heap, unsigned bit, uint32_t *offset) {
    switch (bit) {
    case RAMDUMP_BAD_NEXT:
    case RAMDUMP_BAD_SIZE:
    case RAMDUMP_BAD_HEAP:
    case RAMDUMP_BAD_CAPS:
        *offset = 4u * (uint32_t)__builtin_ctz(bit);
        return true;
    case RAMDUMP_BAD_FILE:
        *offset = 16;
        return heap->tracing;
    case RAMDUMP_BAD_LINE:
        *offset = 20;
        return heap->tracing;
    default:
        *offset = heap->header_size - 8u;
        return heap->poisoning;
    }
}

static bool in_chip(uint32_t address) { return image_region_of(address) >= 0; }

/* The next word of a live block: with tracing the next older live block of any region,
 * without nothing. */
static bool live_next_is_plausible(const struct ramdump_heap *heap, uint32_t next) {
    return next == 0 || (heap->tracing && (next & 7u) == 0 && in_chip(next));
}

static unsigned check_site(const struct ramdump_memory *memory, uint32_t address) {
    const uint32_t file = ramdump_word(memory, address + 16);
    const uint32_t line = ramdump_word(memory, address + 20);
    unsigned bad = 0;
    if (file != 0 && !(file >= FLASH_START && file < FLASH_END) && !in_chip(file)) {
        bad |= RAMDUMP_BAD_FILE;
    }
    if ((line > LINE_MAX_PLAUSIBLE && line != LINE_NONE) || (line == 0 && bad != 0)) {
        bad |= RAMDUMP_BAD_LINE;
    }
    return bad;
}

unsigned ramdump_check_live(const struct ramdump_heap *heap, const struct ramdump_region *region,
                            uint32_t address) {
    const struct ramdump_memory *memory = &heap->memory;
    if (!ramdump_holds(memory, address, heap->header_size) || address >= region->end) {
        return RAMDUMP_BAD_ALL;
    }
    const uint32_t size_word = ramdump_word(memory, address + 4);
    const uint32_t size = size_word & ~ALLOCATED;
    const uint32_t heap_pointer = ramdump_word(memory, address + 8);
    const uint32_t caps = ramdump_word(memory, address + 12);
    unsigned bad = 0;
    if (!live_next_is_plausible(heap, ramdump_word(memory, address))) {
        bad |= RAMDUMP_BAD_NEXT;
    }
    if ((size_word & ALLOCATED) == 0 || (size & 7u) != 0 || size <= heap->header_size ||
        size > region->end - address) {
        bad |= RAMDUMP_BAD_SIZE;
    }
    if (region->heap_pointer != 0 ? heap_pointer != region->heap_pointer
                                  : (heap_pointer & 3u) != 0 || !in_chip(heap_pointer)) {
        bad |= RAMDUMP_BAD_HEAP;
    }
    if ((caps & ~region->caps) != 0 || (caps == 0 && (bad & RAMDUMP_BAD_HEAP) != 0)) {
        bad |= RAMDUMP_BAD_CAPS;
    }
    if (heap->tracing) {
        bad |= check_site(memory, address);
    }
    if (heap->poisoning && ramdump_word(memory, address + heap->header_size - 8u) != CANARY) {
        bad |= RAMDUMP_BAD_CANARY;
    }
    return bad;
}

bool ramdump_may_end(const struct ramdump_heap *heap, const struct ramdump_region *region,
                     uint32_t address) {
    if (region->end_known) {
        return address == region->end;
    }
    return address == region->end || (ramdump_word(&heap->memory, address) == 0 &&
                                      ramdump_word(&heap->memory, address + 4) == 0);
}

/* Of a freed block's header only next and size are kept up; the rest is what was there. Free
 * neighbours are merged, so the next free block does not touch this one. */
unsigned ramdump_check_free(const struct ramdump_heap *heap, const struct ramdump_region *region,
                            uint32_t address) {
    const struct ramdump_memory *memory = &heap->memory;
    if (!ramdump_holds(memory, address, 8) || address >= region->end) {
        return RAMDUMP_BAD_ALL;
    }
    const uint32_t next = ramdump_word(memory, address);
    const uint32_t size = ramdump_word(memory, address + 4);
    const bool size_is_plausible =
        (size & 7u) == 0 && size > heap->header_size && size <= region->end - address;
    const uint32_t behind = address + (size_is_plausible ? size : heap->header_size);
    unsigned bad = size_is_plausible ? 0 : RAMDUMP_BAD_SIZE;
    if ((next & 7u) != 0 || next < behind || next > region->end ||
        (next == behind && !ramdump_may_end(heap, region, next))) {
        bad |= RAMDUMP_BAD_NEXT;
    }
    return bad;
}

bool ramdump_find_tail(const struct ramdump_heap *heap, const struct ramdump_block *block,
                       uint32_t *requested) {
    /* A block is rounded up to 8, and keeps a remainder of up to two headers unsplit. */
    const uint32_t slack_max = 7u + 2u * heap->header_size;
    const uint32_t payload = block->address + heap->header_size;
    const uint32_t last = block->address + block->size - 4u;
    for (uint32_t slack = 0; slack <= slack_max && last - slack > payload; ++slack) {
        if (ramdump_word(&heap->memory, last - slack) == TAIL) {
            *requested = last - slack - payload;
            return true;
        }
    }
    return false;
}
