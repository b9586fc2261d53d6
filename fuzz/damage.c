/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a stray write goes and what it leaves; see damage.h.
 */
#include "damage.h"

#include <string.h>

#include "twin_trace.h"

/* core/layout.h: of a free block, at its end; and where the seals stand: the size less the
 * address, so that what is added to the one is added to the other. */
#define NODE_BYTES 24u
#define NODE_LEFT 4u
#define NODE_RIGHT 12u
#define NODE_SEAL 20u
#define HEADER_SEAL 12u

enum action { FLIP, BYTE, WORD, ADD, COPY, LINK, RUN, FORGE };

static const uint8_t actions[16] = {FLIP, FLIP, FLIP, FLIP, BYTE, BYTE, WORD,  WORD,
                                    WORD, LINK, ADD,  ADD,  COPY, LINK, FORGE, RUN};

uint32_t damage_region(const struct twin *twin, uint32_t address) {
    uint32_t r = 0;
    while (r < WM_HEAP_REGIONS_MAX &&
           (twin->build->state->regions[r].state < WM_HEAP_REGION_OPEN ||
            address < twin->regions[r].start || address >= twin->regions[r].end)) {
        r++;
    }
    return r;
}

/* In or around a block's header, behind its payload, right before it (a tree node, perhaps),
 * or anywhere in a region. */
static uint32_t target(const struct twin *twin, const struct program_call *call) {
    uint32_t pointer =
        twin->pointers[call->slot] != 0 ? twin->pointers[call->slot] : twin->stale[call->slot];
    uint32_t header = twin->build->header_size;
    const struct wm_heap_region_config *row = &twin->regions[call->slot % WM_HEAP_REGIONS_MAX];
    struct model_block block;
    switch (call->mode) {
    case 0:
        return pointer - header + call->argument % (header + 8u);
    case 1:
        return model_find(twin->model, pointer, &block)
                   ? block.address + block.size - 8u + call->argument % 48u
                   : pointer;
    case 2:
        return pointer - header - NODE_BYTES + call->argument % NODE_BYTES;
    default:
        return row->start + call->argument % (row->end - row->start);
    }
}

static uint32_t word_at(uint32_t address) {
    uint32_t word;
    memcpy(&word, w800_pointer(address), sizeof word);
    return word;
}

static void forge_word(const struct twin *twin, struct damage *damage, uint32_t address,
                       uint32_t word) {
    if (damage_region(twin, address) < WM_HEAP_REGIONS_MAX &&
        damage_region(twin, address + 3u) < WM_HEAP_REGIONS_MAX) {
        damage->forged[damage->forged_count].address = address;
        damage->forged[damage->forged_count++].word = word;
    }
}

/* Another size of the slot's block, or of the free block before it, and all that belongs to it. */
static void plan_forgery(const struct twin *twin, const struct program_call *call,
                         struct damage *damage) {
    uint32_t change = call->bytes[0] | (call->bytes[1] & 0x1fu) << 8;
    uint32_t seal = HEADER_SEAL;
    damage->address = twin->pointers[call->slot] - twin->build->header_size;
    if ((call->argument & 1u) != 0) {
        damage->address -= NODE_BYTES;
        seal = NODE_SEAL;
    }
    damage->length = sizeof(uint32_t);
    if (damage_region(twin, damage->address) == WM_HEAP_REGIONS_MAX ||
        damage_region(twin, damage->address + seal + 3u) == WM_HEAP_REGIONS_MAX) {
        damage->length = 0;
        return;
    }
    uint32_t old = word_at(damage->address);
    uint32_t size = old ^ change;
    memcpy(damage->bytes, &size, sizeof size);
    forge_word(twin, damage, damage->address + seal,
               word_at(damage->address + seal) + (size - old));
    if (seal == NODE_SEAL) {
        forge_word(twin, damage, (damage->address + NODE_BYTES - size) & ~3u, size);
    }
}

static void plan_word(struct damage *damage, uint32_t word) {
    damage->length = sizeof word;
    memcpy(damage->bytes, &word, sizeof word);
}

/* The address of the tree node that stands right before a slot's block, if a free one does. */
static uint32_t node_of(const struct twin *twin, uint32_t slot) {
    uint32_t pointer = twin->pointers[slot] != 0 ? twin->pointers[slot] : twin->stale[slot];
    return pointer - twin->build->header_size - NODE_BYTES;
}

static void plan_bytes(const struct twin *twin, const struct program_call *call,
                       struct damage *damage) {
    enum action action = (enum action)actions[call->variant];
    uint8_t old = *(const uint8_t *)w800_pointer(damage->address);
    uint32_t word;
    if (action == WORD || action == ADD || action == COPY) {
        damage->address &= ~3u;
    }
    switch (action) {
    case FLIP:
        damage->length = 1;
        damage->bytes[0] = (uint8_t)(old ^ 1u << call->bytes[0] % 8u);
        return;
    case BYTE:
        damage->length = 1;
        damage->bytes[0] = call->bytes[0];
        return;
    case WORD:
        memcpy(&word, call->bytes, sizeof word);
        plan_word(damage, word);
        return;
    case ADD:
        plan_word(damage, word_at(damage->address) + 8u * (uint32_t)(int8_t)call->bytes[0]);
        return;
    case LINK: { /* leads to another node, or back to its own */
        bool own = (call->bytes[1] & 2u) != 0;
        damage->address =
            node_of(twin, call->slot) + ((call->bytes[1] & 1u) != 0 ? NODE_LEFT : NODE_RIGHT);
        damage->length = 0;
        if (damage_region(twin, damage->address) < WM_HEAP_REGIONS_MAX &&
            damage_region(twin, damage->address + 3u) < WM_HEAP_REGIONS_MAX) {
            plan_word(damage, node_of(twin, own ? call->slot : call->bytes[0] % PROGRAM_SLOTS));
        }
        return;
    }
    case COPY: {
        const struct wm_heap_region_config *row = &twin->regions[call->slot % 2u];
        uint32_t offset = call->bytes[0] | (uint32_t)call->bytes[1] << 8;
        plan_word(damage, word_at((row->start + offset % (row->end - row->start - 4u)) & ~3u));
        return;
    }
    case FORGE:
        plan_forgery(twin, call, damage);
        return;
    case RUN:
    default:
        damage->length = 1u + call->bytes[1] % DAMAGE_BYTES_MAX;
        memset(damage->bytes, call->bytes[0], damage->length);
        return;
    }
}

bool damage_plan(const struct twin *twin, const struct damages *before,
                 const struct program_call *call, struct damage *damage) {
    *damage = (struct damage){.address = target(twin, call)};
    if (before->count == DAMAGES_MAX ||
        damage_region(twin, damage->address & ~3u) == WM_HEAP_REGIONS_MAX ||
        damage_region(twin, damage->address | 3u) == WM_HEAP_REGIONS_MAX) {
        return false;
    }
    plan_bytes(twin, call, damage);
    if (damage->length == 0) {
        return false;
    }
    for (uint32_t i = 0; i < before->count && !damage_is_forged(damage); i++) {
        if (damage->address < before->address[i] + before->length[i] + DAMAGE_DISTANCE &&
            before->address[i] < damage->address + damage->length + DAMAGE_DISTANCE) {
            return false;
        }
    }
    while (damage_region(twin, damage->address + damage->length - 1u) == WM_HEAP_REGIONS_MAX) {
        damage->length--;
    }
    return memcmp(w800_pointer(damage->address), damage->bytes, damage->length) != 0;
}

/* The word at an address, once the damage is done. */
static uint32_t word_after(const struct damage *damage, uint32_t address) {
    uint32_t word = 0;
    for (uint32_t i = 0; i < sizeof word; i++) {
        uint32_t offset = address + i - damage->address;
        uint32_t byte = offset < damage->length ? damage->bytes[offset]
                                                : *(const uint8_t *)w800_pointer(address + i);
        word |= byte << (8u * i);
    }
    return word;
}

bool damage_makes_header(const struct twin *twin, const struct damage *damage) {
    uint32_t end = damage->address + damage->length;
    for (uint32_t at = (damage->address & ~7u) - 8u; at < end; at += 8u) {
        if (damage_region(twin, at) < WM_HEAP_REGIONS_MAX &&
            damage_region(twin, at + HEADER_SEAL + 3u) < WM_HEAP_REGIONS_MAX) {
            uint32_t size_flags = word_after(damage, at);
            if (word_after(damage, at + HEADER_SEAL) == size_flags - at) {
                return true;
            }
        }
    }
    return false;
}

void damage_do(const struct twin *twin, struct damages *before, const struct damage *damage) {
    before->address[before->count] = damage->address;
    before->length[before->count++] = damage->length;
    for (uint32_t i = 0; twin->trace != NULL && i < damage->length; i++) {
        twin_trace(twin, "writeaddr 0x%08x 1 0x%02x", damage->address + i, damage->bytes[i]);
    }
    memcpy(w800_pointer(damage->address), damage->bytes, damage->length);
    for (uint32_t i = 0; i < damage->forged_count; i++) {
        twin_trace(twin, "writeaddr 0x%08x 4 0x%08x", damage->forged[i].address,
                   damage->forged[i].word);
        memcpy(w800_pointer(damage->forged[i].address), &damage->forged[i].word,
               sizeof damage->forged[i].word);
    }
}

bool damage_is_protected(const struct twin *twin, uint32_t address) {
    uint32_t r = damage_region(twin, address);
    struct model_block block;
    if (r == WM_HEAP_REGIONS_MAX) {
        return false;
    }
    const struct wm_heap_region *region = &twin->build->state->regions[r];
    bool comprehensive = twin->build->comprehensive;
    if (!model_find(twin->model, address, &block)) { /* the end marker, or what alignment cost */
        return address >= region->end && address < region->end + twin->build->header_size;
    }
    if (block.live) {
        return address < block.pointer ||
               (comprehensive && address >= block.pointer + block.requested);
    }
    if (comprehensive || block.address == region->tail) {
        return comprehensive;
    }
    uint32_t node = block.address + block.size - NODE_BYTES;
    if (node == region->fresh.node && address - node - 4u < 16u) {
        return false; /* its links are not used yet */
    }
    return address - block.address < 4u || address >= node;
}

/* Was the header of the live block that holds this address hit, and is its mark right? */
static bool mark_holds(const struct twin *twin, const struct damage *damage, uint32_t address) {
    struct model_block block = {0};
    uint32_t r = damage_region(twin, address);
    if (r == WM_HEAP_REGIONS_MAX) {
        return false;
    }
    uint32_t header = twin->build->state->regions[r].end;
    if (address < header) {
        if (!model_find(twin->model, address, &block) || !block.live) {
            return false;
        }
        header = block.address;
    }
    if (damage->address >= header + twin->build->header_size) {
        return false;
    }
    uint32_t mixed = word_at(header + 4u) ^ word_at(header + 8u);
    if (twin->build->tracing) {
        uint32_t line = word_at(header + 20u);
        mixed ^= word_at(header + 16u) ^ (line << 8 | line >> 24);
    }
    return mixed == ~(mixed << 16 | mixed >> 16);
}

/* A header that it covers whole has no right seal: only where it begins and ends can it leave a
 * right one. */
bool damage_leaves_mark(const struct twin *twin, const struct damage *damage) {
    return damage->length > 1u && (mark_holds(twin, damage, damage->address) ||
                                   mark_holds(twin, damage, damage->address + damage->length - 1u));
}
