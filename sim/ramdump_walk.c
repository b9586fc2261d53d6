/* SPDX-License-Identifier: Apache-2.0
 *
 * From header to header through a region, as the sizes lead. Where a header cannot be right
 * its size is believed only if a sound header stands behind it; else the walk looks for the
 * next one that is sound and confirmed: by the free list, by a live block's link, or by the
 * header behind it. One confirmation is needed because payloads hold copies of headers: the
 * SDK's realloc copies up to a header too much, from the neighbour.
 */
#include "ramdump.h"

#include <stdlib.h>
#include <string.h>

#define ALLOCATED 0x80000000u
#define SPLITS_MAX 256u /* a heap with more lost headers than that is no heap */

static bool grow(void **array, size_t *room, size_t count, size_t item_size) {
    if (count < *room) {
        return true;
    }
    const size_t larger = *room != 0 ? *room * 2 : 64;
    void *moved = realloc(*array, larger * item_size);
    if (moved == NULL) {
        return false;
    }
    *array = moved;
    *room = larger;
    return true;
}

static bool add_number(uint32_t **numbers, size_t *count, size_t *room, uint32_t number) {
    void *array = *numbers;
    if (!grow(&array, room, *count, sizeof(**numbers))) {
        return false;
    }
    *numbers = array;
    (*numbers)[(*count)++] = number;
    return true;
}

static int compare_numbers(const void *left, const void *right) {
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static bool contains(const uint32_t *numbers, size_t count, uint32_t number) {
    return count > 0 && bsearch(&number, numbers, count, sizeof(*numbers), compare_numbers) != NULL;
}

static uint32_t size_at(const struct ramdump_heap *heap, uint32_t address) {
    return ramdump_word(&heap->memory, address + 4) & ~ALLOCATED;
}

/* The part of a region that the dump covers. */
static uint32_t first_covered(const struct ramdump_heap *heap,
                              const struct ramdump_region *region) {
    static const uint32_t starts[IMAGE_REGIONS_MAX] = {0x20000000u, 0x20028000u, 0x30000000u};
    const uint32_t start = region->start != 0 ? region->start : starts[region - heap->regions];
    const uint32_t base = (heap->memory.base + 7u) & ~7u;
    return base > start ? base : start;
}

/* --- The lists -------------------------------------------------------------------------- */

/* Follows the free list as far as it rises: each node lies above the one before, so this
 * ends whatever the list holds. */
static bool follow_free_list(struct ramdump_heap *heap, struct ramdump_region *region) {
    uint32_t at = region->first_free;
    uint32_t least = region->start;
    while (at != region->end) {
        region->free_stop = at;
        if (at < least || at > region->end || (at & 7u) != 0) {
            return true;
        }
        if (!add_number(&region->free_nodes, &region->free_count, &region->free_room, at)) {
            return false;
        }
        if (!ramdump_holds(&heap->memory, at, 8)) {
            return true;
        }
        least = at + 8;
        at = ramdump_word(&heap->memory, at);
    }
    region->free_complete = region->end_known;
    return true;
}

/* Where the next words of all sound live headers lead. */
static bool collect_links(struct ramdump_heap *heap) {
    for (size_t i = 0; heap->tracing && i < IMAGE_REGIONS_MAX; ++i) {
        const struct ramdump_region *region = &heap->regions[i];
        if (!region->present) {
            continue;
        }
        for (uint32_t at = first_covered(heap, region);
             at < region->end && ramdump_holds(&heap->memory, at, heap->header_size); at += 8) {
            const uint32_t next = ramdump_word(&heap->memory, at);
            if (next != 0 && ramdump_is_live(heap, region, at) &&
                !add_number(&heap->links, &heap->link_count, &heap->link_room, next)) {
                return false;
            }
        }
    }
    if (heap->link_count > 0) {
        qsort(heap->links, heap->link_count, sizeof(*heap->links), compare_numbers);
    }
    return true;
}

/* --- Which headers to believe ----------------------------------------------------------- */

static bool is_free_node(const struct ramdump_region *region, uint32_t address) {
    return contains(region->free_nodes, region->free_count, address);
}

static bool is_free(const struct ramdump_heap *heap, const struct ramdump_region *region,
                    uint32_t address) {
    return ramdump_check_free(heap, region, address) == 0 &&
           (!region->free_complete || is_free_node(region, address));
}

/* A header that can be right, the end marker's place, or the end of what the dump holds. */
static bool is_sound(const struct ramdump_heap *heap, const struct ramdump_region *region,
                     uint32_t address) {
    return address == region->end || !ramdump_holds(&heap->memory, address, heap->header_size) ||
           ramdump_is_live(heap, region, address) || is_free(heap, region, address) ||
           (!region->end_known && ramdump_may_end(heap, region, address));
}

/* A sound header that something else confirms. */
static bool is_anchor(const struct ramdump_heap *heap, const struct ramdump_region *region,
                      uint32_t address) {
    if (!ramdump_is_live(heap, region, address) && !is_free(heap, region, address)) {
        return false;
    }
    return is_free_node(region, address) || contains(heap->links, heap->link_count, address) ||
           is_sound(heap, region, address + size_at(heap, address));
}

/* The first anchor at or behind an address; the region's end if there is none, or the end of
 * what the dump holds. Remembered, so that all searches together take one pass. */
static uint32_t next_anchor(const struct ramdump_heap *heap, struct ramdump_region *region,
                            uint32_t address) {
    if (address >= region->anchor_from && address <= region->anchor_at) {
        return region->anchor_at;
    }
    region->anchor_from = address;
    while (address < region->end && ramdump_holds(&heap->memory, address, heap->header_size) &&
           !is_anchor(heap, region, address)) {
        address += 8;
    }
    region->anchor_at = address < region->end ? address : region->end;
    return region->anchor_at;
}

/* --- The walk --------------------------------------------------------------------------- */

static bool add_block(struct ramdump_region *region, const struct ramdump_block *block) {
    void *array = region->blocks;
    if (!grow(&array, &region->block_room, region->block_count, sizeof(*region->blocks))) {
        return false;
    }
    region->blocks = array;
    region->blocks[region->block_count++] = *block;
    return true;
}

static bool add_unknown(struct ramdump_region *region, uint32_t from, uint32_t to) {
    const struct ramdump_block gap = {
        .address = from, .size = to - from, .order = UINT32_MAX, .state = IMAGE_UNKNOWN};
    return from >= to || add_block(region, &gap);
}

/* A header that cannot be right: what can be told of the block anyway. Sets *next to where
 * the walk goes on. */
static bool add_smashed(const struct ramdump_heap *heap, struct ramdump_region *region,
                        struct ramdump_block block, uint32_t *next) {
    const unsigned live_bad = ramdump_check_live(heap, region, block.address);
    const unsigned free_bad = ramdump_check_free(heap, region, block.address);
    const bool flag = (ramdump_word(&heap->memory, block.address + 4) & ALLOCATED) != 0;
    const unsigned size_bad = (flag ? live_bad : free_bad) & RAMDUMP_BAD_SIZE;
    const uint32_t behind = block.address + size_at(heap, block.address);
    block.state = IMAGE_SMASHED;
    block.was_free = is_free_node(region, block.address) ||
                     (!flag && size_bad == 0 && is_sound(heap, region, behind));
    block.bad = (uint8_t)(block.was_free ? free_bad : live_bad);
    if (size_bad == 0 && (block.bad & RAMDUMP_BAD_SIZE) == 0 &&
        (is_sound(heap, region, behind) || (live_bad & RAMDUMP_BAD_HEAP) == 0)) {
        block.size = behind - block.address;
        *next = behind;
        return add_block(region, &block);
    }
    block.lost_size = true;
    block.bad |= RAMDUMP_BAD_SIZE;
    *next = next_anchor(heap, region, block.address + heap->header_size + 8);
    const uint32_t room = *next - block.address;
    block.size = room < heap->header_size ? room : heap->header_size;
    return add_block(region, &block) && add_unknown(region, block.address + block.size, *next);
}

/* The first byte of a live block's size may have been cleared together with its next word, by
 * a run of zeros: the header still looks sound. Then its size leads to bytes that nothing
 * says are a header. Without tracing nothing would say so of a header either. */
static bool size_may_be_cut(const struct ramdump_heap *heap, const struct ramdump_region *region,
                            uint32_t address, uint32_t behind) {
    const unsigned all = RAMDUMP_BAD_SIZE | RAMDUMP_BAD_HEAP | RAMDUMP_BAD_CAPS;
    return heap->tracing && (size_at(heap, address) & 0xffu) == 0 &&
           ramdump_word(&heap->memory, address) == 0 &&
           (ramdump_check_live(heap, region, behind) & all) == all &&
           !is_free_node(region, behind) && !contains(heap->links, heap->link_count, behind);
}

/* A live or free header whose size leads nowhere although a confirmed header stands before
 * that: the size is what is wrong. */
static bool size_leads_astray(const struct ramdump_heap *heap, struct ramdump_region *region,
                              uint32_t address) {
    const uint32_t behind = address + size_at(heap, address);
    return !is_sound(heap, region, behind) &&
           (next_anchor(heap, region, address + heap->header_size + 8) < behind ||
            size_may_be_cut(heap, region, address, behind));
}

static bool add_astray(const struct ramdump_heap *heap, struct ramdump_region *region,
                       struct ramdump_block block, uint32_t *next) {
    block.state = IMAGE_SMASHED;
    block.bad = RAMDUMP_BAD_SIZE;
    block.lost_size = true;
    block.size = heap->header_size;
    *next = next_anchor(heap, region, block.address + heap->header_size + 8);
    return add_block(region, &block) && add_unknown(region, block.address + block.size, *next);
}

/* The block at an address; sets *next to the one behind. */
static bool step(const struct ramdump_heap *heap, struct ramdump_region *region, uint32_t address,
                 uint32_t *next) {
    struct ramdump_block block = {.address = address, .order = UINT32_MAX};
    const unsigned live_bad = ramdump_check_live(heap, region, address);
    const bool listed = is_free(heap, region, address);
    /* free() clears the flag before it enters the block in the list: a crash in between
     * leaves a header whose next word is still 0 or a live block's. */
    const bool between = live_bad == RAMDUMP_BAD_SIZE && !is_free_node(region, address) &&
                         (ramdump_check_free(heap, region, address) & RAMDUMP_BAD_SIZE) == 0 &&
                         is_sound(heap, region, address + size_at(heap, address));
    if (live_bad != 0 && !listed && !between) {
        return add_smashed(heap, region, block, next);
    }
    if (size_leads_astray(heap, region, address)) {
        block.was_free = live_bad != 0;
        return add_astray(heap, region, block, next);
    }
    block.state = live_bad == 0 ? IMAGE_LIVE : IMAGE_FREE;
    block.unlisted = live_bad != 0 && !listed;
    block.size = size_at(heap, address);
    *next = address + block.size;
    return add_block(region, &block);
}

/* The end of a region whose bounds are not known: an end marker with nothing behind it. */
static bool ends_here(const struct ramdump_heap *heap, struct ramdump_region *region,
                      uint32_t address) {
    if (region->end_known || !ramdump_may_end(heap, region, address)) {
        return false;
    }
    const uint32_t anchor = next_anchor(heap, region, address + 8);
    if (anchor != region->end && ramdump_holds(&heap->memory, anchor, heap->header_size)) {
        return false;
    }
    region->end = address;
    region->end_known = true;
    return true;
}

/* The first header in a piece of memory: a sound live one, though what stands behind it may be
 * smashed, or a confirmed one. */
static uint32_t first_header(const struct ramdump_heap *heap, struct ramdump_region *region,
                             uint32_t address) {
    const uint32_t anchor = next_anchor(heap, region, address);
    while (address < anchor && !ramdump_is_live(heap, region, address)) {
        address += 8;
    }
    return address;
}

static bool walk_region(const struct ramdump_heap *heap, struct ramdump_region *region) {
    const uint32_t first = first_covered(heap, region);
    uint32_t at = first;
    if (region->start != first) {
        at = first_header(heap, region, first);
        if (region->start != 0 && !add_unknown(region, first, at)) {
            return false;
        }
    }
    while (at < region->end && ramdump_holds(&heap->memory, at, heap->header_size) &&
           !ends_here(heap, region, at)) {
        uint32_t next = 0;
        if (!step(heap, region, at, &next)) {
            return false;
        }
        at = next > at ? next : region->end;
    }
    return true;
}

/* --- What the links say of it ----------------------------------------------------------- */

const struct ramdump_block *ramdump_block_at(const struct ramdump_heap *heap, uint32_t address) {
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        const struct ramdump_region *region = &heap->regions[i];
        size_t low = 0;
        size_t high = region->block_count;
        while (low < high) {
            const size_t middle = low + (high - low) / 2;
            if (region->blocks[middle].address <= address) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if (low > 0 && address - region->blocks[low - 1].address < region->blocks[low - 1].size) {
            return &region->blocks[low - 1];
        }
    }
    return NULL;
}

static bool region_is_in_dump(const struct ramdump_heap *heap, uint32_t address) {
    const int index = image_region_of(address);
    return index >= 0 && heap->regions[index].present &&
           ramdump_holds(&heap->memory, address, heap->header_size);
}

static int compare_blocks(const void *left, const void *right) {
    const struct ramdump_block *a = left;
    const struct ramdump_block *b = right;
    return (a->address > b->address) - (a->address < b->address);
}

/* A live link into bytes whose header was lost shows a header there: splits the gap. */
static bool split_unknown(struct ramdump_heap *heap, uint32_t address) {
    struct ramdump_region *region = &heap->regions[image_region_of(address)];
    const size_t at = (size_t)(ramdump_block_at(heap, address) - region->blocks);
    const uint32_t end = region->blocks[at].address + region->blocks[at].size;
    struct ramdump_block found = {.address = address,
                                  .order = UINT32_MAX,
                                  .state = IMAGE_SMASHED,
                                  .lost_size = true,
                                  .bad = (uint8_t)ramdump_check_live(heap, region, address)};
    found.size = end - address < heap->header_size ? end - address : heap->header_size;
    region->blocks[at].size = address - region->blocks[at].address;
    if (!add_block(region, &found) || !add_unknown(region, address + found.size, end)) {
        return false;
    }
    qsort(region->blocks, region->block_count, sizeof(*region->blocks), compare_blocks);
    return true;
}

/* Judges the link of one live block; it may lead to a header that the walk passed over. */
static bool check_link(struct ramdump_heap *heap, struct ramdump_block *block, unsigned *splits) {
    const uint32_t next = ramdump_word(&heap->memory, block->address);
    if (next == 0 || !region_is_in_dump(heap, next)) {
        return true;
    }
    const struct ramdump_block *target = ramdump_block_at(heap, next);
    if (target != NULL && target->state == IMAGE_UNKNOWN && *splits < SPLITS_MAX) {
        ++*splits;
        return split_unknown(heap, next);
    }
    if (target == NULL || target->address != next ||
        (target->state != IMAGE_LIVE && target->state != IMAGE_SMASHED)) {
        block->state = IMAGE_SMASHED;
        block->bad = RAMDUMP_BAD_NEXT;
    }
    return true;
}

static bool check_links(struct ramdump_heap *heap) {
    unsigned splits = 0;
    for (size_t i = 0; heap->tracing && i < IMAGE_REGIONS_MAX; ++i) {
        struct ramdump_region *region = &heap->regions[i];
        for (size_t j = 0; j < region->block_count; ++j) {
            if (region->blocks[j].state == IMAGE_LIVE &&
                !check_link(heap, &region->blocks[j], &splits)) {
                return false;
            }
        }
    }
    return true;
}

/* --- The order of the live blocks ------------------------------------------------------- */

/* The block that a live header's next word leads to. */
static struct ramdump_block *older_block(const struct ramdump_heap *heap,
                                         const struct ramdump_block *block) {
    const uint32_t next = ramdump_word(&heap->memory, block->address);
    const struct ramdump_block *older =
        (block->bad & RAMDUMP_BAD_NEXT) == 0 ? ramdump_block_at(heap, next) : NULL;
    if (older == NULL || older->address != next) {
        return NULL;
    }
    const struct ramdump_region *region = &heap->regions[image_region_of(next)];
    return &region->blocks[older - region->blocks];
}

struct chains {
    struct ramdump_block *heads[2];
    size_t count;
};

/* Where the list begins, and where it begins again behind a smashed link. */
static void find_heads(struct ramdump_heap *heap, struct chains *chains) {
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        for (size_t j = 0; j < heap->regions[i].block_count; ++j) {
            struct ramdump_block *block = &heap->regions[i].blocks[j];
            struct ramdump_block *older =
                block->state == IMAGE_LIVE ? older_block(heap, block) : NULL;
            if (older != NULL) {
                older->followed = true;
            }
        }
    }
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        for (size_t j = 0; j < heap->regions[i].block_count; ++j) {
            struct ramdump_block *block = &heap->regions[i].blocks[j];
            if ((block->state == IMAGE_LIVE || block->state == IMAGE_SMASHED) && !block->was_free &&
                !block->followed) {
                chains->heads[chains->count < 2 ? chains->count : 1] = block;
                ++chains->count;
            }
        }
    }
}

/* Numbers a chain from `order` on; returns its last block. */
static struct ramdump_block *number_chain(const struct ramdump_heap *heap,
                                          struct ramdump_block *block, uint32_t *order) {
    struct ramdump_block *last = block;
    for (; block != NULL && block->order == UINT32_MAX; block = older_block(heap, block)) {
        block->order = (*order)++;
        last = block;
    }
    return last;
}

/* One smashed link breaks the list in two, whose order is still certain: the part that ends
 * in the smashed block is the newer one. With more breaks it is not. */
static void number_blocks(struct ramdump_heap *heap) {
    struct chains chains = {{NULL, NULL}, 0};
    uint32_t order = 0;
    find_heads(heap, &chains);
    if (!heap->tracing || chains.count == 0 || chains.count > 2) {
        return;
    }
    if (chains.count == 1) {
        number_chain(heap, chains.heads[0], &order);
        return;
    }
    for (size_t first = 0; first < 2; ++first) {
        const struct ramdump_block *at = chains.heads[first];
        for (size_t steps = 0; at->state == IMAGE_LIVE && steps < heap->link_count; ++steps) {
            const struct ramdump_block *older = older_block(heap, at);
            if (older == NULL) {
                break;
            }
            at = older;
        }
        if (at->state == IMAGE_SMASHED) {
            number_chain(heap, chains.heads[first], &order);
            number_chain(heap, chains.heads[1 - first], &order);
            return;
        }
    }
}

bool ramdump_walk(struct ramdump_heap *heap) {
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        if (heap->regions[i].present && heap->regions[i].first_free != 0 &&
            !follow_free_list(heap, &heap->regions[i])) {
            return false;
        }
    }
    if (!collect_links(heap)) {
        return false;
    }
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        if (heap->regions[i].present && !walk_region(heap, &heap->regions[i])) {
            return false;
        }
    }
    if (!check_links(heap)) {
        return false;
    }
    number_blocks(heap);
    return true;
}

void ramdump_free(struct ramdump_heap *heap) {
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; ++i) {
        free(heap->regions[i].blocks);
        free(heap->regions[i].free_nodes);
    }
    free(heap->links);
}
