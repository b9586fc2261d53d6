/* SPDX-License-Identifier: Apache-2.0
 *
 * A RAM dump as the board sends it after an exception is 18 little-endian words, r0 to r15,
 * psr and pc, and then the 0x48000 bytes from 0x20000000: 294,984 bytes without any framing.
 * The same without the registers, a part of it (the line broke), and raw memory at a base that
 * the caller knows are taken too. PSRAM is never in the board's dump: pointers into it lead
 * nowhere then, and that is no error.
 */
#include "ramdump.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../core/wm_heap_state.h"

#define BOARD_BASE 0x20000000u
#define BOARD_MEMORY 0x48000u
#define REGISTERS 18u
#define REGISTER_BYTES ((size_t)72)
#define R15 15u
#define PSR 16u
#define PC 17u

struct registers {
    bool present; /* not all of them are 0 */
    uint32_t words[REGISTERS];
};

/* --- Registers -------------------------------------------------------------------------- */

static void read_registers(const uint8_t *bytes, struct registers *registers) {
    const struct ramdump_memory memory = {bytes, 0, (uint32_t)REGISTER_BYTES};
    for (uint32_t i = 0; i < REGISTERS; ++i) {
        registers->words[i] = ramdump_word(&memory, 4 * i);
        registers->present = registers->present || registers->words[i] != 0;
    }
}

/* psr's bits 16 to 23 hold the number of the exception that was taken last. */
static uint32_t exception_of(uint32_t psr) {
    const uint32_t number = psr >> 16 & 0xffu;
    return number != 0 ? number : DIAGNOSE_NO_EXCEPTION;
}

/* A return address is that of the instruction behind the call. */
static bool evidence_place(struct firmware *firmware, const char *name, uint32_t address,
                           uint32_t back, struct finding *finding) {
    struct firmware_place place;
    if (firmware == NULL || address < back || !firmware_locate(firmware, address - back, &place)) {
        return finding_evidence(finding, "%s 0x%08" PRIx32 "\n", name, address);
    }
    if (place.file[0] == '\0') {
        return finding_evidence(finding, "%s 0x%08" PRIx32 ": %s\n", name, address, place.function);
    }
    return finding_evidence(finding, "%s 0x%08" PRIx32 ": %s at %s:%" PRIu32 "\n", name, address,
                            place.function[0] != '\0' ? place.function : "?", place.file,
                            place.line);
}

static bool evidence_exception(const struct registers *registers,
                               const struct diagnose_options *options, struct finding *finding) {
    const uint32_t number = exception_of(registers->words[PSR]);
    if (number != DIAGNOSE_NO_EXCEPTION &&
        !finding_evidence(finding, "the processor took exception %" PRIu32 "\n", number)) {
        return false;
    }
    return evidence_place(options->firmware, "pc ", registers->words[PC], 0, finding) &&
           evidence_place(options->firmware, "r15", registers->words[R15], 1, finding);
}

/* The crash is told with what explains it; it is a finding of its own only if nothing does. */
static bool judge_registers(const struct registers *registers,
                            const struct diagnose_options *options, struct diagnosis *diagnosis) {
    if (!registers->present) {
        return true;
    }
    diagnosis->exception = exception_of(registers->words[PSR]);
    diagnosis->pc = registers->words[PC];
    diagnosis->r15 = registers->words[R15];
    struct finding *finding = diagnosis->findings.count > 0
                                  ? &diagnosis->findings.list[0]
                                  : findings_add(&diagnosis->findings, VERDICT_EXCEPTION, true);
    return finding != NULL && evidence_exception(registers, options, finding);
}

/* --- The image -------------------------------------------------------------------------- */

static bool add_site(const struct ramdump_heap *heap, const struct ramdump_block *block,
                     struct image *image, struct image_block *to) {
    char site[1100];
    ramdump_site(heap, block, site, sizeof(site));
    const char *colon = strrchr(site, ':');
    if (colon == NULL) {
        return true;
    }
    to->site = image_site(image, site, (size_t)(colon - site));
    to->line = ramdump_word(&heap->memory, block->address + 20);
    return to->site != UINT32_MAX;
}

static bool add_block(const struct ramdump_heap *heap, const struct ramdump_block *block,
                      struct image *image) {
    struct image_block added = {
        .address = block->address,
        .size = block->size,
        .order = block->order,
        .state = block->state,
    };
    if (block->state == IMAGE_LIVE || block->state == IMAGE_SMASHED) {
        added.pointer = block->address + heap->header_size;
    }
    if (block->state == IMAGE_LIVE) {
        added.caps = ramdump_word(&heap->memory, block->address + 12);
        if (heap->comprehensive) {
            ramdump_find_tail(heap, block, &added.requested);
        }
        if (!add_site(heap, block, image, &added)) {
            return false;
        }
    }
    return image_add(image, &added);
}

/* Bounds are entered after the image is finished: the walk has left no holes to fill, and
 * what the dump does not hold is not free. */
static void set_region(const struct ramdump_heap *heap, const struct ramdump_region *region,
                       struct image_region *to) {
    if (!region->present) {
        return;
    }
    to->present = true;
    to->start = region->start;
    to->end = region->end_known ? region->end : 0;
    to->caps = region->caps;
    to->has_free = region->has_counters;
    if (region->has_counters) {
        to->free_bytes = region->free_bytes;
        to->min_free_bytes = region->min_free_bytes;
    }
    to->has_blocks = region->block_count > 0 && region->start != 0 && region->end_known &&
                     ramdump_holds(&heap->memory, region->start, region->end - region->start);
}

static bool fill_image(const struct ramdump_heap *heap, struct image *image) {
    image->tracing_known = image->poisoning_known = true;
    image->tracing = heap->tracing;
    image->poisoning = (uint8_t)(!heap->poisoning ? 0 : heap->comprehensive ? 2 : 1);
    image->header_size = heap->header_size;
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        const struct ramdump_region *region = &heap->regions[i];
        for (size_t j = 0; j < region->block_count; ++j) {
            if (!add_block(heap, &region->blocks[j], image)) {
                return false;
            }
        }
    }
    if (!image_finish(image)) {
        return false;
    }
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        set_region(heap, &heap->regions[i], &image->regions[i]);
    }
    return true;
}

/* --- The kinds of dumps ----------------------------------------------------------------- */

enum outcome { FOUND, NO_HEAP, NO_MEMORY, OTHER_VERSION };

static enum outcome read_sdk(const struct ramdump_memory *memory,
                             const struct diagnose_options *options, struct diagnosis *diagnosis) {
    struct ramdump_heap heap = {.memory = *memory, .firmware = options->firmware};
    if (!ramdump_find(&heap)) {
        return NO_HEAP;
    }
    const bool done = ramdump_walk(&heap) && ramdump_judge(&heap, &diagnosis->findings) &&
                      fill_image(&heap, &diagnosis->image);
    ramdump_free(&heap);
    return done ? FOUND : NO_MEMORY;
}

static enum outcome read_memory(const struct ramdump_memory *memory,
                                const struct diagnose_options *options,
                                struct diagnosis *diagnosis) {
    const uint32_t own = ramdump_find_own(memory);
    enum outcome outcome = NO_MEMORY;
    if (own == 0) {
        outcome = read_sdk(memory, options, diagnosis);
    } else if (!ramdump_own_is_readable(memory, own)) {
        outcome = OTHER_VERSION;
    } else if (ramdump_read_own(memory, own, options, diagnosis)) {
        outcome = FOUND;
    }
    return outcome != FOUND || ramdump_read_recorder(memory, options, diagnosis) ? outcome
                                                                                 : NO_MEMORY;
}

/* What of the bytes is memory, and where; a cut dump is tried with registers first. */
static enum outcome read_dump(const uint8_t *bytes, size_t size,
                              const struct diagnose_options *options, struct diagnosis *diagnosis,
                              struct registers *registers) {
    if (options->has_base) {
        const uint64_t room = (UINT64_C(1) << 32) - options->base - 1;
        const struct ramdump_memory memory = {bytes, options->base,
                                              (uint32_t)(size < room ? size : room)};
        return read_memory(&memory, options, diagnosis);
    }
    if (size > REGISTER_BYTES && size != BOARD_MEMORY) {
        const struct ramdump_memory memory = {bytes + REGISTER_BYTES, BOARD_BASE,
                                              (uint32_t)(size - REGISTER_BYTES)};
        const enum outcome outcome = read_memory(&memory, options, diagnosis);
        if (outcome != NO_HEAP || size == REGISTER_BYTES + BOARD_MEMORY) {
            read_registers(bytes, registers);
            return outcome;
        }
    }
    const struct ramdump_memory memory = {bytes, BOARD_BASE, (uint32_t)size};
    return read_memory(&memory, options, diagnosis);
}

static void explain(const char *name, size_t size, const struct diagnose_options *options,
                    char *error, size_t error_size) {
    if (options->has_base) {
        snprintf(error, error_size,
                 "%s: no heap in its %zu bytes at 0x%08" PRIx32
                 ": neither region descriptors nor headers of live blocks",
                 name, size, options->base);
    } else {
        snprintf(error, error_size,
                 "%s: no heap in its %zu bytes, taken as the board's RAM (a dump of it has %zu, "
                 "other memory needs --base)",
                 name, size, REGISTER_BYTES + BOARD_MEMORY);
    }
}

bool diagnose_memory(const uint8_t *bytes, size_t size, const char *name,
                     const struct diagnose_options *options, struct diagnosis *diagnosis,
                     char *error, size_t error_size) {
    struct registers registers = {0};
    enum outcome outcome = NO_HEAP;
    diagnosis->exception = DIAGNOSE_NO_EXCEPTION;
    if (options->has_base || size <= REGISTER_BYTES + BOARD_MEMORY) {
        outcome = read_dump(bytes, size, options, diagnosis, &registers);
    }
    if (outcome == NO_HEAP && !registers.present) {
        explain(name, size, options, error, error_size);
        return false;
    }
    if (outcome == OTHER_VERSION) {
        snprintf(error, error_size,
                 "%s: a heap of the core whose state has another version than %u, the one this "
                 "program reads: take the wmheap that came with the firmware's core",
                 name, WM_HEAP_STATE_VERSION);
        return false;
    }
    findings_sort(&diagnosis->findings);
    if (outcome == NO_MEMORY || !judge_registers(&registers, options, diagnosis)) {
        snprintf(error, error_size, "%s: out of memory", name);
        return false;
    }
    return true;
}
