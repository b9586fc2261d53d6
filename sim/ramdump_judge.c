/* SPDX-License-Identifier: Apache-2.0
 *
 * What smashed a header, told from which of its words are wrong. A block that writes past its
 * end reaches the next header from its low end; a block that writes before its beginning
 * reaches its own from the high end. A smashed header whose both ends are right, or with no
 * live block before it, says only that it is smashed.
 */
#include "ramdump.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FINDINGS_MAX 100u /* then it is no heap any more, and nobody reads on */
#define LOW_END (RAMDUMP_BAD_NEXT | RAMDUMP_BAD_SIZE)

void ramdump_site(const struct ramdump_heap *heap, const struct ramdump_block *block, char *site,
                  size_t size) {
    const unsigned lost = RAMDUMP_BAD_FILE | RAMDUMP_BAD_LINE;
    site[0] = '\0';
    if (heap->firmware == NULL || !heap->tracing || (block->bad & lost) != 0) {
        return;
    }
    const char *file =
        firmware_string(heap->firmware, ramdump_word(&heap->memory, block->address + 16));
    if (file != NULL) {
        snprintf(site, size, "%s:%" PRIu32, file, ramdump_word(&heap->memory, block->address + 20));
    }
}

static uint32_t pointer_of(const struct ramdump_heap *heap, const struct ramdump_block *block) {
    return block->address + heap->header_size;
}

/* --- Evidence --------------------------------------------------------------------------- */

bool ramdump_evidence_bytes(const struct ramdump_memory *memory, uint32_t from, uint32_t to,
                            struct finding *finding) {
    for (uint32_t line = from; line < to && ramdump_holds(memory, line, 1); line += 16) {
        char hex[16 * 3 + 1] = "";
        char text[16 + 1] = "";
        for (uint32_t i = 0; i < 16 && line + i < to && ramdump_holds(memory, line + i, 1); ++i) {
            const uint8_t byte = ramdump_byte(memory, line + i);
            snprintf(hex + (size_t)3 * i, 4, " %02x", byte);
            text[i] = '.';
            if (byte >= ' ' && byte < 0x7f) {
                memcpy(&text[i], &byte, 1);
            }
        }
        if (!finding_evidence(finding, "  0x%08" PRIx32 " %-48s  |%s|\n", line, hex, text)) {
            return false;
        }
    }
    return true;
}

static bool evidence_block(const struct ramdump_heap *heap, const struct ramdump_block *block,
                           const char *what, struct finding *finding) {
    static const char *const states[] = {"live", "free", "smashed", "unknown"};
    char site[1100];
    ramdump_site(heap, block, site, sizeof(site));
    if (block->state == IMAGE_UNKNOWN || block->lost_size) {
        return finding_evidence(finding, "%s: 0x%08" PRIx32 ", %s\n", what, block->address,
                                block->state == IMAGE_UNKNOWN ? "bytes of no known block"
                                                              : "smashed, size lost");
    }
    const uint32_t file = ramdump_word(&heap->memory, block->address + 16);
    if (block->state == IMAGE_LIVE && heap->tracing && site[0] == '\0') {
        snprintf(site, sizeof(site), "a file named at 0x%08" PRIx32 ", line %" PRIu32, file,
                 ramdump_word(&heap->memory, block->address + 20));
    }
    const bool has_site = block->state != IMAGE_FREE && site[0] != '\0';
    return finding_evidence(finding, "%s: 0x%08" PRIx32 ", block of %" PRIu32 " bytes, %s%s%s\n",
                            what, pointer_of(heap, block), block->size, states[block->state],
                            has_site ? ", allocated at " : "", has_site ? site : "");
}

static bool evidence_fields(const struct ramdump_heap *heap, const struct ramdump_block *block,
                            struct finding *finding) {
    for (size_t i = 0; i < RAMDUMP_FIELDS; ++i) {
        uint32_t offset = 0;
        const struct ramdump_field *field = &ramdump_fields[i];
        if ((block->bad & field->bit) != 0 && ramdump_field_offset(heap, field->bit, &offset) &&
            !finding_evidence(finding,
                              "0x%08" PRIx32 ": its header's %s cannot be 0x%08" PRIx32 "\n",
                              block->address + offset, field->name,
                              ramdump_word(&heap->memory, block->address + offset))) {
            return false;
        }
    }
    return true;
}

static bool evidence_counters(const struct ramdump_region *region, struct finding *finding) {
    uint32_t free_bytes = 0;
    uint32_t live_blocks = 0;
    for (size_t i = 0; i < region->block_count; ++i) {
        const struct ramdump_block *block = &region->blocks[i];
        free_bytes += block->state == IMAGE_FREE ? block->size : 0;
        live_blocks += block->state == IMAGE_LIVE || block->state == IMAGE_SMASHED;
    }
    return !region->has_counters || free_bytes == region->free_bytes ||
           finding_evidence(
               finding,
               "the region counts %" PRIu32 " free bytes, its free blocks have %" PRIu32
               "; %" PRIu32 " allocations less %" PRIu32 " frees, %" PRIu32 " live blocks found\n",
               region->free_bytes, free_bytes, region->allocs, region->frees, live_blocks);
}

/* The block, both sides of its header, its neighbours. */
static bool evidence_smashed(const struct ramdump_heap *heap, const struct ramdump_region *region,
                             size_t index, struct finding *finding) {
    const struct ramdump_block *block = &region->blocks[index];
    const uint32_t before = block->address - region->blocks[0].address;
    const uint32_t from = block->address - (before < 32 ? before : 32);
    if (!finding_evidence(
            finding, "0x%08" PRIx32 ": smashed header of the %s block 0x%08" PRIx32 "\n",
            block->address, block->was_free ? "free" : "live", pointer_of(heap, block)) ||
        !evidence_fields(heap, block, finding) ||
        !ramdump_evidence_bytes(&heap->memory, from, block->address, finding) ||
        !finding_evidence(finding, "  -- header --\n") ||
        !ramdump_evidence_bytes(&heap->memory, block->address,
                                block->address + heap->header_size + 16, finding)) {
        return false;
    }
    if (index > 0 &&
        !evidence_block(heap, &region->blocks[index - 1], "right before it", finding)) {
        return false;
    }
    size_t behind = index + 1;
    while (behind < region->block_count && region->blocks[behind].state == IMAGE_UNKNOWN) {
        ++behind;
    }
    return behind >= region->block_count ||
           evidence_block(heap, &region->blocks[behind],
                          behind == index + 1 ? "right behind it" : "the next known header",
                          finding);
}

/* --- Who did it ------------------------------------------------------------------------- */

static bool is_text(uint8_t byte) { return byte >= ' ' && byte < 0x7f; }

/* Do the bytes before an address look like those behind it: text on both sides, or the same
 * byte? */
static bool runs_across(const struct ramdump_memory *memory, uint32_t address) {
    bool text = true;
    bool same = true;
    const uint8_t first = ramdump_byte(memory, address);
    for (uint32_t i = 0; i < 4; ++i) {
        const uint8_t before = ramdump_byte(memory, address - 1 - i);
        const uint8_t behind = ramdump_byte(memory, address + i);
        text = text && is_text(before) && is_text(behind);
        same = same && before == first && behind == first;
    }
    return text || (same && first != 0);
}

/* The highest word that a header of this build has before the payload. */
static unsigned high_end(const struct ramdump_heap *heap) {
    if (heap->poisoning) {
        return RAMDUMP_BAD_CANARY;
    }
    return heap->tracing ? RAMDUMP_BAD_LINE : RAMDUMP_BAD_CAPS;
}

static bool tail_is_lost(const struct ramdump_heap *heap, const struct ramdump_block *block) {
    uint32_t requested = 0;
    return heap->comprehensive && block->state == IMAGE_LIVE &&
           ramdump_holds(&heap->memory, block->address, block->size) &&
           !ramdump_find_tail(heap, block, &requested);
}

static bool name_site(const struct ramdump_heap *heap, const struct ramdump_block *block,
                      struct finding *finding) {
    finding->address = pointer_of(heap, block);
    ramdump_site(heap, block, finding->site, sizeof(finding->site));
    return true;
}

/* The verdict on a smashed header; *culprit is the block that the finding is about. */
static enum verdict classify(const struct ramdump_heap *heap, const struct ramdump_block *before,
                             const struct ramdump_block *block,
                             const struct ramdump_block **culprit, bool *certain) {
    const bool across = runs_across(&heap->memory, block->address) ||
                        (before != NULL && tail_is_lost(heap, before));
    *culprit = block;
    *certain = false;
    if (block->was_free && (block->bad & RAMDUMP_BAD_NEXT) != 0 &&
        ramdump_word(&heap->memory, block->address) == block->address) {
        return VERDICT_DOUBLE_FREE;
    }
    if ((block->bad & LOW_END) != 0) {
        if (before == NULL || before->state != IMAGE_LIVE) {
            return block->was_free ? VERDICT_USE_AFTER_FREE : VERDICT_SMASHED_HEADER;
        }
        if (block->was_free && !across && (block->bad & RAMDUMP_BAD_SIZE) == 0) {
            return VERDICT_USE_AFTER_FREE;
        }
        *culprit = before;
        *certain = across || (!block->was_free && (block->bad & LOW_END) == LOW_END);
        return VERDICT_OVERFLOW;
    }
    if ((block->bad & high_end(heap)) != 0) {
        *certain = heap->poisoning;
        return VERDICT_UNDERFLOW;
    }
    return VERDICT_SMASHED_HEADER;
}

static bool judge_smashed(const struct ramdump_heap *heap, const struct ramdump_region *region,
                          size_t index, struct findings *findings) {
    const struct ramdump_block *block = &region->blocks[index];
    const struct ramdump_block *before = index > 0 ? &region->blocks[index - 1] : NULL;
    const struct ramdump_block *culprit = NULL;
    bool certain = false;
    const enum verdict verdict = classify(heap, before, block, &culprit, &certain);
    struct finding *finding = findings_add(findings, verdict, certain);
    if (finding == NULL) {
        return false;
    }
    finding->victim = verdict == VERDICT_UNDERFLOW ? 0 : pointer_of(heap, block);
    if (verdict == VERDICT_DOUBLE_FREE &&
        !finding_evidence(finding, "a free block that follows itself in the free list: it was "
                                   "freed twice (the SDK's asserts off, or two contexts in "
                                   "free at once)\n")) {
        return false;
    }
    return name_site(heap, culprit, finding) && evidence_smashed(heap, region, index, finding) &&
           evidence_counters(region, finding);
}

/* A run that went on over further headers is the same deed. */
static bool continues(const struct ramdump_region *region, size_t index) {
    const struct ramdump_block *before = index > 0 ? &region->blocks[index - 1] : NULL;
    return before != NULL && (before->state == IMAGE_UNKNOWN || before->state == IMAGE_SMASHED) &&
           region->blocks[index].lost_size;
}

/* The SDK writes the tail word behind the bytes that were asked for, but looks for it at the
 * block's end; here it is looked for at both places and between them. */
static bool judge_tail(const struct ramdump_heap *heap, const struct ramdump_region *region,
                       size_t index, struct findings *findings) {
    const struct ramdump_block *block = &region->blocks[index];
    struct finding *finding = findings_add(findings, VERDICT_OVERFLOW, false);
    if (finding == NULL) {
        return false;
    }
    const uint32_t end = block->address + block->size;
    return name_site(heap, block, finding) &&
           evidence_block(heap, block, "no tail word 0x5a5a5a5a at the end of", finding) &&
           ramdump_evidence_bytes(&heap->memory, end - (block->size < 48 ? block->size : 48), end,
                                  finding) &&
           finding_evidence(finding, "the SDK itself checks that word at the wrong place if the "
                                     "block is larger than was asked for, and may not have "
                                     "reported this\n");
}

static bool judge_end(const struct ramdump_heap *heap, const struct ramdump_region *region,
                      struct findings *findings) {
    const struct ramdump_memory *memory = &heap->memory;
    if (!region->end_known || !ramdump_holds(memory, region->end, 8) || region->block_count == 0 ||
        (ramdump_word(memory, region->end) == 0 && ramdump_word(memory, region->end + 4) == 0)) {
        return true;
    }
    const struct ramdump_block *last = &region->blocks[region->block_count - 1];
    const bool live = last->state == IMAGE_LIVE;
    struct finding *finding =
        findings_add(findings, live ? VERDICT_OVERFLOW : VERDICT_SMASHED_HEADER,
                     live && runs_across(memory, region->end));
    if (finding == NULL) {
        return false;
    }
    finding->victim = region->end + heap->header_size;
    finding->address = finding->victim;
    if (live) {
        name_site(heap, last, finding);
    }
    return finding_evidence(finding, "0x%08" PRIx32 ": the region's end marker is smashed\n",
                            region->end) &&
           ramdump_evidence_bytes(memory, region->end - 32, region->end + heap->header_size,
                                  finding) &&
           evidence_block(heap, last, "right before it", finding);
}

static bool judge_region(const struct ramdump_heap *heap, const struct ramdump_region *region,
                         struct findings *findings) {
    for (size_t i = 0; i < region->block_count && findings->count < FINDINGS_MAX; ++i) {
        const struct ramdump_block *block = &region->blocks[i];
        if (block->state == IMAGE_SMASHED && continues(region, i) && findings->count > 0) {
            if (!evidence_block(heap, block, "smashed too", &findings->list[findings->count - 1])) {
                return false;
            }
        } else if (block->state == IMAGE_SMASHED && !judge_smashed(heap, region, i, findings)) {
            return false;
        }
        const bool followed_by_smashed =
            i + 1 < region->block_count && region->blocks[i + 1].state == IMAGE_SMASHED;
        if (tail_is_lost(heap, block) && !followed_by_smashed &&
            !judge_tail(heap, region, i, findings)) {
            return false;
        }
    }
    return judge_end(heap, region, findings);
}

bool ramdump_judge(const struct ramdump_heap *heap, struct findings *findings) {
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        if (heap->regions[i].present && !judge_region(heap, &heap->regions[i], findings)) {
            return false;
        }
    }
    return true;
}
