/* SPDX-License-Identifier: Apache-2.0
 *
 * Dumps of our own core, recognised by the magic in its state. The state says all that the
 * SDK's has to be guessed for: build, bounds, and the first fault that the core reported. A
 * live header carries a seal over its size and a mark over its other words (core/layout.h), which
 * tell a changed one; which word changed is told by what of it is still plausible.
 *
 * The layout is decoded here for any build, where the core knows only the one it is compiled
 * for. On the chip the state's last two words are 4 bytes wide; nothing behind the first
 * fault is read.
 */
#include "ramdump.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/wm_heap_state.h"

#define STATE_BYTES offsetof(struct wm_heap_state, failed_callback)
#define ALLOCATED 1u
#define PREVIOUS_FREE 2u
#define FLAGS 7u
#define NODE_BYTES 24u
#define CANARY 0xa5a5a5a5u
#define GUARD_BYTE 0x5au
#define OWNER_WORDS 0xffffu
#define FINDINGS_MAX 100u /* then it is no heap any more, and nobody reads on */

struct own {
    const struct ramdump_memory *memory;
    struct firmware *firmware;
    struct wm_heap_state state;
    uint32_t header_size;
    bool tracing, poisoning, comprehensive;
    struct image *image;
    struct findings *findings;
};

/* --- The state -------------------------------------------------------------------------- */

/* The words that every version has. */
static bool head_is_plausible(const struct wm_heap_state *state) {
    return state->magic == WM_HEAP_STATE_MAGIC && state->region_count != 0 &&
           state->region_count <= WM_HEAP_REGIONS_MAX &&
           (state->header_size == 16 || state->header_size == 24 || state->header_size == 32);
}

static bool regions_are_plausible(const struct wm_heap_state *state) {
    for (uint32_t i = 0; i < state->region_count; ++i) {
        const struct wm_heap_region *region = &state->regions[i];
        if (region->state > WM_HEAP_REGION_CLOSED ||
            (region->state != WM_HEAP_REGION_ABSENT &&
             (region->start > region->tail || region->tail > region->end ||
              ((region->start | region->tail) & 7u) != 0))) {
            return false;
        }
    }
    return true;
}

uint32_t ramdump_find_own(const struct ramdump_memory *memory) {
    uint32_t other = 0;
    uint32_t at = memory->base;
    for (; (at = ramdump_find_word(memory, at, WM_HEAP_STATE_MAGIC)) != 0; at += 4) {
        struct wm_heap_state state = {0};
        if (!ramdump_holds(memory, at, STATE_BYTES)) {
            break;
        }
        memcpy(&state, memory->bytes + (at - memory->base), STATE_BYTES);
        if (!head_is_plausible(&state)) {
            continue;
        }
        if (state.version != WM_HEAP_STATE_VERSION) {
            other = at;
        } else if (regions_are_plausible(&state)) {
            return at;
        }
    }
    return other;
}

bool ramdump_own_is_readable(const struct ramdump_memory *memory, uint32_t state) {
    return (ramdump_word(memory, state + 4) & 0xffffu) == WM_HEAP_STATE_VERSION;
}

/* --- Headers ---------------------------------------------------------------------------- */

static uint32_t word(const struct own *own, uint32_t address) {
    return ramdump_word(own->memory, address);
}

static uint32_t size_at(const struct own *own, uint32_t address) {
    return word(own, address) & ~FLAGS;
}

/* Of a header's or a node's first word. */
static uint32_t seal_of(const struct own *own, uint32_t address) {
    return word(own, address) - address;
}

/* The owner word that belongs to a header's other words. */
static uint32_t owner_of(const struct own *own, uint32_t address) {
    const uint32_t words = word(own, address + 4) & OWNER_WORDS;
    const uint32_t site = own->tracing ? word(own, address + 16) : 0;
    const uint32_t line = own->tracing ? word(own, address + 20) : 0;
    const uint32_t mixed = words ^ word(own, address + 8) ^ site ^ (line << 8 | line >> 24);
    return words | ~(mixed ^ mixed >> 16) << 16;
}

/* Bytes of a block that were not asked for; the header's among them. */
static uint32_t surplus_at(const struct own *own, uint32_t address) {
    return word(own, address + 4) & 0xffu;
}

static bool is_live(const struct own *own, const struct wm_heap_region *region, uint32_t at) {
    const uint32_t size = size_at(own, at);
    return at < region->tail && ramdump_holds(own->memory, at, own->header_size) &&
           (word(own, at) & ALLOCATED) != 0 && word(own, at + 12) == seal_of(own, at) &&
           word(own, at + 4) == owner_of(own, at) && size <= region->tail - at &&
           size > own->header_size && size > surplus_at(own, at);
}

/* A free block begins with its size and ends with its node. */
static bool front_is_plausible(const struct own *own, const struct wm_heap_region *region,
                               uint32_t at) {
    const uint32_t size = word(own, at);
    return at < region->tail && (size & FLAGS) == 0 && size >= NODE_BYTES &&
           size < region->tail - at && ramdump_holds(own->memory, at, size);
}

static bool is_free(const struct own *own, const struct wm_heap_region *region, uint32_t at) {
    const uint32_t size = word(own, at);
    const uint32_t node = at + size - NODE_BYTES;
    return front_is_plausible(own, region, at) && word(own, node) == size &&
           word(own, node + 20) == seal_of(own, node);
}

static uint32_t next_sound(const struct own *own, const struct wm_heap_region *region,
                           uint32_t at) {
    while (at < region->tail && ramdump_holds(own->memory, at, own->header_size) &&
           !is_live(own, region, at) && !is_free(own, region, at)) {
        at += 8;
    }
    return at < region->tail ? at : region->tail;
}

static uint32_t broken_canary(const struct own *own, uint32_t at) {
    for (uint32_t offset = 8; own->poisoning && offset >= 4; offset -= 4) {
        if (word(own, at + own->header_size - offset) != CANARY) {
            return at + own->header_size - offset;
        }
    }
    return 0;
}

static uint32_t broken_guard(const struct own *own, uint32_t at) {
    const uint32_t end = at + size_at(own, at);
    for (uint32_t byte = end - surplus_at(own, at) + own->header_size;
         own->comprehensive && byte < end; ++byte) {
        if (ramdump_byte(own->memory, byte) != GUARD_BYTE) {
            return byte;
        }
    }
    return 0;
}

/* --- Findings --------------------------------------------------------------------------- */

static void site_of(const struct own *own, uint32_t handle, uint32_t line, char *site,
                    size_t size) {
    const char *file = own->firmware != NULL && own->tracing && handle != 0
                           ? firmware_string(own->firmware, handle)
                           : NULL;
    site[0] = '\0';
    if (file != NULL) {
        snprintf(site, size, "%s:%" PRIu32, file, line);
    }
}

static struct finding *add_finding(const struct own *own, enum verdict verdict, bool certain,
                                   uint32_t block, bool site_is_sound) {
    struct finding *finding = findings_add(own->findings, verdict, certain);
    if (finding != NULL) {
        finding->address = block + own->header_size;
        if (site_is_sound && own->tracing) {
            site_of(own, word(own, block + 16), word(own, block + 20), finding->site,
                    sizeof(finding->site));
        }
    }
    return finding;
}

static bool evidence_around(const struct own *own, uint32_t at, const char *what,
                            struct finding *finding) {
    return finding_evidence(finding, "0x%08" PRIx32 ": %s\n", at, what) &&
           ramdump_evidence_bytes(own->memory, (at & ~15u) - 16, (at & ~15u) + 32, finding);
}

/* An intact header whose payload was left at one of its ends. */
static bool judge_payload(const struct own *own, uint32_t at) {
    if (own->findings->count >= FINDINGS_MAX) {
        return true;
    }
    const uint32_t canary = broken_canary(own, at);
    const uint32_t guard = broken_guard(own, at);
    if (canary != 0) {
        struct finding *finding = add_finding(own, VERDICT_UNDERFLOW, true, at, true);
        if (finding == NULL ||
            !evidence_around(own, canary, "canary before the payload is broken", finding)) {
            return false;
        }
    }
    if (guard != 0) {
        struct finding *finding = add_finding(own, VERDICT_OVERFLOW, true, at, true);
        return finding != NULL &&
               evidence_around(own, guard, "guard bytes behind the payload are broken", finding);
    }
    return true;
}

/* Size stands first: an overrun of the block before cannot leave it plausible and change what
 * stands behind it. */
static bool low_end_is_intact(const struct own *own, const struct wm_heap_region *region,
                              uint32_t at) {
    const uint32_t behind = at + size_at(own, at);
    return (word(own, at) & ALLOCATED) != 0 && size_at(own, at) <= region->tail - at &&
           size_at(own, at) > own->header_size &&
           (behind == region->tail || is_live(own, region, behind) || is_free(own, region, behind));
}

/* The node at a free block's end is smashed, though where the block begins all is well: the
 * block behind wrote before its start, if the last word is what changed, or somebody wrote to
 * memory that he had freed. */
static bool judge_node(const struct own *own, uint32_t at) {
    const uint32_t size = word(own, at);
    const uint32_t node = at + size - NODE_BYTES;
    const bool last_word = word(own, node + 20) != size - node && word(own, node) == size;
    struct finding *finding =
        add_finding(own, last_word ? VERDICT_UNDERFLOW : VERDICT_USE_AFTER_FREE, false,
                    last_word ? at + size : at, last_word);
    return finding != NULL &&
           finding_evidence(finding,
                            "0x%08" PRIx32 ": the node of the free block 0x%08" PRIx32
                            " is smashed, its seal is 0x%08" PRIx32 ", not 0x%08" PRIx32 "\n",
                            node, at, word(own, node + 20), size - node) &&
           ramdump_evidence_bytes(own->memory, node - 16, node + NODE_BYTES + 16, finding);
}

static bool judge_smashed(const struct own *own, const struct wm_heap_region *region, uint32_t at,
                          uint32_t live_before) {
    if (own->findings->count >= FINDINGS_MAX) {
        return true;
    }
    if (front_is_plausible(own, region, at) && is_live(own, region, at + word(own, at)) &&
        (word(own, at + word(own, at)) & PREVIOUS_FREE) != 0) {
        return judge_node(own, at);
    }
    const bool underflow =
        low_end_is_intact(own, region, at) && (!own->poisoning || broken_canary(own, at) != 0);
    struct finding *finding = NULL;
    if (underflow) {
        finding = add_finding(own, VERDICT_UNDERFLOW, own->poisoning, at, false);
    } else if (live_before != 0) {
        const bool guard = broken_guard(own, live_before) != 0;
        finding = add_finding(own, VERDICT_OVERFLOW, guard || !low_end_is_intact(own, region, at),
                              live_before, true);
    } else {
        finding = add_finding(own, VERDICT_SMASHED_HEADER, true, at, false);
    }
    if (finding == NULL) {
        return false;
    }
    finding->victim = underflow ? 0 : at + own->header_size;
    const bool sealed = word(own, at + 12) == seal_of(own, at);
    return finding_evidence(finding,
                            "0x%08" PRIx32 ": header of 0x%08" PRIx32
                            " is smashed, its %s 0x%08" PRIx32
                            " does not match its words (0x%08" PRIx32 ")\n",
                            at, at + own->header_size, sealed ? "mark" : "seal",
                            word(own, sealed ? at + 4 : at + 12),
                            sealed ? owner_of(own, at) : seal_of(own, at)) &&
           ramdump_evidence_bytes(own->memory, at - 16, at + own->header_size + 16, finding);
}

/* --- The walk --------------------------------------------------------------------------- */

static bool add_block(const struct own *own, uint32_t at, uint32_t size, enum image_state state) {
    struct image_block block = {
        .address = at, .size = size, .order = UINT32_MAX, .state = (uint8_t)state};
    if (state == IMAGE_LIVE) {
        char site[1100];
        block.pointer = at + own->header_size;
        block.requested = size - surplus_at(own, at);
        block.caps = word(own, at + 4) >> 8 & 0xffu;
        block.order = word(own, at + 8); /* for now the sequence number */
        if (own->tracing) {
            site_of(own, word(own, at + 16), word(own, at + 20), site, sizeof(site));
            const char *colon = strrchr(site, ':');
            block.site = colon != NULL ? image_site(own->image, site, (size_t)(colon - site)) : 0;
            block.line = colon != NULL ? word(own, at + 20) : 0;
        }
    } else if (state == IMAGE_SMASHED) {
        block.pointer = at + own->header_size;
    }
    return size == 0 || (block.site != UINT32_MAX && image_add(own->image, &block));
}

static bool walk_region(const struct own *own, const struct wm_heap_region *region) {
    uint32_t live_before = 0;
    uint32_t at = region->start;
    while (at < region->tail && ramdump_holds(own->memory, at, own->header_size)) {
        if (is_live(own, region, at)) {
            const bool smashed_behind = !is_live(own, region, at + size_at(own, at)) &&
                                        !is_free(own, region, at + size_at(own, at)) &&
                                        at + size_at(own, at) < region->tail;
            if (!add_block(own, at, size_at(own, at), IMAGE_LIVE) ||
                (!smashed_behind && !judge_payload(own, at))) {
                return false;
            }
            live_before = at;
            at += size_at(own, at);
        } else if (is_free(own, region, at)) {
            if (!add_block(own, at, word(own, at), IMAGE_FREE)) {
                return false;
            }
            live_before = 0;
            at += word(own, at);
        } else {
            const uint32_t next = next_sound(own, region, at + 8);
            const uint32_t header = next - at < own->header_size ? next - at : own->header_size;
            if (!judge_smashed(own, region, at, live_before) ||
                !add_block(own, at, header, IMAGE_SMASHED) ||
                !add_block(own, at + header, next - at - header, IMAGE_UNKNOWN)) {
                return false;
            }
            live_before = 0;
            at = next;
        }
    }
    return add_block(own, region->tail, region->end - region->tail, IMAGE_FREE);
}

/* --- The fault that the core itself reported -------------------------------------------- */

static struct finding *finding_about(const struct own *own, uint32_t pointer) {
    for (size_t i = 0; i < own->findings->count; ++i) {
        struct finding *finding = &own->findings->list[i];
        if (pointer != 0 && (finding->address == pointer || finding->victim == pointer)) {
            return finding;
        }
    }
    return NULL;
}

static const char *fault_name(uint32_t kind) {
    static const char *const names[WM_HEAP_FAULT_KINDS] = {
#define FAULT_NAME(name, text) [WM_HEAP_FAULT_##name] = (text),
        WM_HEAP_FAULTS(FAULT_NAME)
#undef FAULT_NAME
    };
    return kind < WM_HEAP_FAULT_KINDS ? names[kind] : "unknown";
}

/* It is told with the finding that it belongs to, and is a finding of its own if the heap
 * shows nothing of it. */
static bool add_fault(const struct own *own) {
    const struct wm_heap_fault *fault = &own->state.first_fault;
    const uint32_t pointer = fault->block != 0 ? fault->block + own->header_size : fault->pointer;
    if (fault->kind == WM_HEAP_FAULT_NONE) {
        return true;
    }
    struct finding *finding = finding_about(own, pointer);
    if (finding == NULL) {
        finding = findings_add(own->findings, verdict_of_fault(fault->kind), true);
        if (finding == NULL) {
            return false;
        }
        finding->address = pointer;
        site_of(own, fault->site, fault->line, finding->site, sizeof(finding->site));
    }
    return finding_evidence(finding,
                            "the heap reported: %s, block 0x%08" PRIx32 ", pointer 0x%08" PRIx32
                            "; at 0x%08" PRIx32 " expected 0x%08" PRIx32 ", found 0x%08" PRIx32
                            "\n",
                            fault_name(fault->kind), fault->block, fault->pointer, fault->address,
                            fault->expected, fault->actual);
}

/* --- All of it -------------------------------------------------------------------------- */

static int compare_numbers(const void *left, const void *right) {
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* Sequence numbers become places in the order, 0 the newest. */
static bool number_blocks(struct image *image) {
    uint32_t *numbers = malloc((image->block_count + 1) * sizeof(*numbers));
    size_t count = 0;
    if (numbers == NULL) {
        return false;
    }
    for (size_t i = 0; i < image->block_count; ++i) {
        if (image->blocks[i].state == IMAGE_LIVE) {
            numbers[count++] = image->blocks[i].order;
        }
    }
    qsort(numbers, count, sizeof(*numbers), compare_numbers);
    for (size_t i = 0; i < image->block_count; ++i) {
        struct image_block *block = &image->blocks[i];
        if (block->state == IMAGE_LIVE) {
            const uint32_t *at =
                bsearch(&block->order, numbers, count, sizeof(*numbers), compare_numbers);
            block->order = (uint32_t)(count - 1 - (size_t)(at - numbers));
        }
    }
    free(numbers);
    return true;
}

static void set_region(const struct own *own, uint32_t index) {
    const struct wm_heap_region *from = &own->state.regions[index];
    const int place = image_region_of(from->start);
    if (place < 0 || from->state < WM_HEAP_REGION_OPEN) {
        return;
    }
    struct image_region *to = &own->image->regions[place];
    to->present = true;
    to->start = from->start;
    to->end = from->end;
    to->caps = from->table_caps;
    to->has_free = true;
    to->free_bytes = wm_heap_level_free(&from->level);
    to->min_free_bytes = wm_heap_level_minimum(&from->level);
    to->has_blocks = ramdump_holds(own->memory, from->start, from->tail - from->start);
}

static void set_options(struct own *own) {
    const uint8_t options = own->state.options;
    own->header_size = own->state.header_size;
    own->tracing = (options & WM_HEAP_OPTION_TRACING) != 0;
    own->comprehensive = (options & WM_HEAP_OPTION_COMPREHENSIVE) != 0;
    own->poisoning = own->comprehensive || (options & WM_HEAP_OPTION_LIGHT) != 0;
    own->image->tracing_known = own->image->poisoning_known = true;
    own->image->tracing = own->tracing;
    own->image->poisoning = (uint8_t)(own->comprehensive ? 2 : own->poisoning ? 1 : 0);
    own->image->header_size = own->header_size;
}

bool ramdump_read_own(const struct ramdump_memory *memory, uint32_t state,
                      const struct diagnose_options *options, struct diagnosis *diagnosis) {
    struct own own = {.memory = memory,
                      .firmware = options->firmware,
                      .image = &diagnosis->image,
                      .findings = &diagnosis->findings};
    memcpy(&own.state, memory->bytes + (state - memory->base), STATE_BYTES);
    set_options(&own);
    for (uint32_t i = 0; i < own.state.region_count; ++i) {
        const struct wm_heap_region *region = &own.state.regions[i];
        if (region->state >= WM_HEAP_REGION_OPEN &&
            ramdump_holds(memory, region->start, own.header_size) && !walk_region(&own, region)) {
            return false;
        }
    }
    if (!add_fault(&own) || !number_blocks(own.image) || !image_finish(own.image)) {
        return false;
    }
    for (uint32_t i = 0; i < own.state.region_count; ++i) {
        set_region(&own, i);
    }
    return true;
}
