/* SPDX-License-Identifier: Apache-2.0
 *
 * Tracing lists of a log: collecting them line by line, and turning the last one into an
 * image of the heap.
 *
 * A list says where each live block is and how long; what no block covers is free, once the
 * regions' bounds and the header's size are known. A list does not say those, but they follow:
 * the end markers lie at fixed places, DRAM's heap begins at 0x20028000, and live plus free
 * bytes make up the region. A list with lines missing would show holes where blocks are, so
 * it claims no largest hole.
 */
#include <stdlib.h>
#include <string.h>

#include "diagnose_log.h"
#include "trace.h"

#define LIST_BLOCKS_MAX 300000u /* more than fit into 8 MiB of PSRAM */
#define NEAR_LINES 400u         /* stats this far from a list are of another moment */
#define HEADER_MIN 24u          /* lists exist only with tracing: 24 bytes, 32 with poisoning */
#define HEADER_MAX 32u

#define SRAM 0
#define DRAM 1
#define PSRAM 2
static const uint32_t memory_start[] = {0x20000000u, 0x20028000u, 0x30000000u};
/* The last word of DRAM is kept out of the heap. */
static const uint32_t memory_end[] = {0x20028000u, 0x20047ffcu, 0x30800000u};

/* --- collecting ----------------------------------------------------------------------------- */

static bool list_append(struct log_list *list, const struct log_block *block) {
    if (list->count == list->room) {
        size_t room = list->room != 0 ? 2 * list->room : 256;
        struct log_block *blocks = realloc(list->blocks, room * sizeof *blocks);
        if (blocks == NULL) {
            return false;
        }
        list->blocks = blocks;
        list->room = room;
    }
    list->blocks[list->count++] = *block;
    list->bytes += block->size;
    return true;
}

/* Blocks are multiples of 8 bytes at multiples of 8, and end in the memory they begin in. */
static bool is_plausible(const struct console_record *record) {
    int memory = image_region_of(record->pointer);
    return memory >= 0 && record->pointer % 8 == 0 && record->size % 8 == 0 &&
           record->size > HEADER_MIN &&
           record->size - HEADER_MIN <= memory_end[memory] - record->pointer;
}

static uint32_t site_of(struct log_state *state, const struct console_text *file) {
    struct image *image = &state->diagnosis->image;
    const char *last = image->sites[state->last_site];
    if (strlen(last) == file->length && memcmp(last, file->at, file->length) == 0) {
        return state->last_site; /* neighbours in a list often share it */
    }
    uint32_t site = image_site(image, file->at, file->length);
    if (site == UINT32_MAX) {
        state->out_of_memory = true;
        return 0;
    }
    state->last_site = site;
    return site;
}

static void list_open(struct log_state *state) {
    struct log_list *list = &state->list;
    log_list_close(state);
    if (list->count != 0) {
        struct log_list old = state->previous;
        state->previous = *list;
        *list = (struct log_list){.blocks = old.blocks, .room = old.room};
    }
    list->next_index = 0;
    list->doubtful = false;
    list->begin_line = state->line;
    list->damaged_before = console_damaged(state->console) + state->implausible;
    list->expected = 0;
    list->missing_bytes = 0;
    list->missing_lines = 0;
    list->log_lines = state->log_lines;
    list->open = true;
}

/* The block that was appended last begins a list of its own. */
static void list_split(struct log_state *state) {
    struct log_list *list = &state->list;
    struct log_block last = {0};
    bool has_last = list->count > 0 && list->doubt_appended;
    if (has_last) {
        last = list->blocks[--list->count];
        list->bytes -= last.size;
    }
    list_open(state);
    if (has_last) {
        last.order = 0;
        state->out_of_memory = !list_append(list, &last) || state->out_of_memory;
    }
}

/* Follows the index. One that does not fit is a wrong digit, or lines are lost before it, or a
 * list begins whose predecessor lost its end: the index after it tells. So do the digits of a
 * log line in front of a list's: "rssi -6" and "0" make 60, and then comes 1. */
static void follow_index(struct log_state *state, uint32_t index) {
    struct log_list *list = &state->list;
    if (list->doubtful) {
        list->doubtful = false;
        if (index == list->doubt_index + 1) {
            if (list->doubt_index < list->next_index) {
                list_split(state);
            }
            list->next_index = index;
        } else {
            list->next_index++;
        }
    }
    if (index == list->next_index) {
        list->next_index++;
    } else {
        list->doubtful = true;
        list->doubt_index = index;
        list->doubt_appended = false;
    }
}

void log_list_block(struct log_state *state, const struct console_record *record) {
    struct log_list *list = &state->list;
    if (!list->open) {
        list_open(state);
    }
    follow_index(state, record->index);
    list->end_line = state->line;
    if (!is_plausible(record) || list->count >= LIST_BLOCKS_MAX) {
        state->implausible++;
        return;
    }
    struct log_block block = {record->pointer, record->size, site_of(state, &record->text),
                              record->site_line, (uint32_t)list->count};
    list->doubt_appended = list->doubtful;
    if (!list_append(list, &block)) {
        state->out_of_memory = true;
    }
}

static void count_missing(struct log_state *state, uint64_t all) {
    struct log_list *list = &state->list;
    uint64_t damaged = console_damaged(state->console) + state->implausible - list->damaged_before;
    uint64_t seen = list->count + damaged;
    if (all > seen && all <= LIST_BLOCKS_MAX) {
        list->missing_lines = all - seen;
        state->missing += list->missing_lines;
    }
}

void log_list_summary(struct log_state *state, const struct console_record *record) {
    struct log_list *list = &state->list;
    if (!list->open) {
        return;
    }
    list->end_line = state->line;
    list->complete = list->count == record->index && list->bytes == record->size;
    list->missing_bytes = record->size > list->bytes ? record->size - list->bytes : 0;
    count_missing(state, record->index);
    list->next_index = 0;
    list->expected = record->index;
    log_list_close(state);
}

static int by_address(const void *left, const void *right) {
    const struct log_block *a = left;
    const struct log_block *b = right;
    return (a->pointer > b->pointer) - (a->pointer < b->pointer);
}

void log_list_close(struct log_state *state) {
    struct log_list *list = &state->list;
    if (!list->open) {
        return;
    }
    list->open = false;
    if (list->next_index != 0) { /* its summary never came */
        count_missing(state, list->next_index);
    }
    if (list->count > 0) {
        qsort(list->blocks, list->count, sizeof *list->blocks, by_address);
    }
    size_t overlaps = 0;
    for (size_t i = 1; i < list->count; i++) {
        const struct log_block *before = &list->blocks[i - 1];
        overlaps += before->pointer + before->size > list->blocks[i].pointer;
    }
    if (overlaps != 0) { /* wrong digits, or a list that ran through smashed headers */
        list->complete = false;
        state->implausible += overlaps;
    } else {
        log_balance_list(state);
    }
    const struct log_list *previous = state->previous.count != 0 ? &state->previous : NULL;
    /* A list that broke off, at a reset for example, says nothing about growth. */
    if (4 * list->count < 3 * (size_t)list->expected ||
        (list->expected == 0 && previous != NULL && 4 * list->count < 3 * previous->count)) {
        return;
    }
    if (!growth_add_list(&state->growth, list, previous)) {
        state->out_of_memory = true;
    }
}

void log_list_forget(struct log_state *state) {
    log_list_close(state);
    state->list.count = 0;
    state->list.bytes = 0;
    state->list.complete = false;
    state->previous.count = 0;
}

const struct log_block *log_list_find(const struct log_list *list, uint32_t pointer) {
    struct log_block key = {.pointer = pointer};
    return list->count == 0 ? NULL
                            : bsearch(&key, list->blocks, list->count, sizeof key, by_address);
}

/* --- what a list says about the build ------------------------------------------------------- */

struct bounds {
    uint64_t live[IMAGE_REGIONS_MAX]; /* bytes */
    uint32_t lowest[IMAGE_REGIONS_MAX];
    uint32_t highest[IMAGE_REGIONS_MAX]; /* end of the last block */
    bool whole; /* every block counted, and the stats are of the same moment */
};

static void count_block(struct bounds *bounds, uint32_t pointer, uint32_t size) {
    int region = image_region_of(pointer);
    if (region >= 0) {
        bounds->live[region] += size;
        if (bounds->lowest[region] == 0 || pointer < bounds->lowest[region]) {
            bounds->lowest[region] = pointer;
        }
        if (pointer + size > bounds->highest[region]) {
            bounds->highest[region] = pointer + size;
        }
    }
}

static bool stats_are_near(const struct log_state *state) {
    uint64_t stats = state->stats.line;
    return state->stats.has_total &&
           (state->list.count == 0 || (stats + NEAR_LINES >= state->list.begin_line &&
                                       stats <= state->list.end_line + NEAR_LINES));
}

static struct bounds measure(const struct log_state *state) {
    struct bounds bounds = {.whole = state->list.complete && stats_are_near(state)};
    for (size_t i = 0; i < state->list.count; i++) {
        count_block(&bounds, state->list.blocks[i].pointer, state->list.blocks[i].size);
    }
    if (state->crash.corruption && state->crash.size != 0) {
        count_block(&bounds, state->crash.pointer, state->crash.size); /* left the list */
    }
    return bounds;
}

static uint32_t end_marker(int region, uint32_t header) {
    return (memory_end[region] - header) & ~7u;
}

/* Task stacks and buffers are asked for in round sizes: what remains of a block over a
 * multiple of 64 bytes is its header, 40 with the tail word of comprehensive poisoning. */
static uint32_t vote_overhead(const struct log_list *list) {
    uint32_t votes[3] = {0};
    for (size_t i = 0; i < list->count; i++) {
        for (uint32_t k = 0; k < 3 && list->blocks[i].size >= 256; k++) {
            votes[k] += (list->blocks[i].size - (24 + 8 * k)) % 64 == 0;
        }
    }
    for (uint32_t k = 0; k < 3; k++) {
        uint32_t others =
            votes[(k + 1) % 3] > votes[(k + 2) % 3] ? votes[(k + 1) % 3] : votes[(k + 2) % 3];
        if (votes[k] >= 4 && votes[k] >= 2 * others) {
            return 24 + 8 * k;
        }
    }
    return 0;
}

static uint32_t infer_header(const struct log_state *state, const struct bounds *bounds,
                             uint32_t overhead) {
    uint64_t dram = state->stats.free_bytes[DRAM] + bounds->live[DRAM];
    for (uint32_t header = HEADER_MIN; header <= HEADER_MAX; header += 8) {
        if (bounds->whole && state->stats.has_region[DRAM] &&
            dram == end_marker(DRAM, header) - memory_start[DRAM]) {
            return header;
        }
        if (bounds->lowest[DRAM] == memory_start[DRAM] + header ||
            bounds->lowest[PSRAM] == memory_start[PSRAM] + header) {
            return header;
        }
    }
    if (state->poisoning_seen || overhead > HEADER_MIN) {
        return HEADER_MAX;
    }
    return HEADER_MIN;
}

static void set_options(struct log_state *state, const struct bounds *bounds) {
    struct image *image = &state->diagnosis->image;
    uint32_t overhead = vote_overhead(&state->list);
    image->tracing_known = image->tracing = true;
    image->header_size = infer_header(state, bounds, overhead);
    image->poisoning_known = true;
    image->poisoning = TRACE_POISONING_NONE;
    if (image->header_size == HEADER_MAX) {
        image->poisoning_known = state->tail_seen || overhead > HEADER_MIN;
        image->poisoning = state->tail_seen || overhead > HEADER_MAX ? TRACE_POISONING_COMPREHENSIVE
                                                                     : TRACE_POISONING_LIGHT;
    }
}

/* --- the image ------------------------------------------------------------------------------ */

/* PSRAM has 2, 4 or 8 MiB: the size that the bytes add up to, or the smallest that holds
 * them. */
static uint32_t psram_end(const struct log_state *state, const struct bounds *bounds,
                          uint32_t header) {
    uint64_t all = bounds->live[PSRAM] + state->stats.free_bytes[PSRAM];
    for (uint32_t size = 2u << 20; size < 8u << 20; size *= 2) {
        if (all <= size - header && bounds->highest[PSRAM] <= memory_start[PSRAM] + size) {
            return memory_start[PSRAM] + size - header;
        }
    }
    return end_marker(PSRAM, header);
}

static void set_bounds(struct log_state *state, const struct bounds *bounds, int index) {
    struct image *image = &state->diagnosis->image;
    struct image_region *region = &image->regions[index];
    uint32_t header = image->header_size;
    uint32_t lowest = bounds->lowest[index];
    region->end = end_marker(index, header);
    region->start = memory_start[index];
    if (index == PSRAM) {
        region->end = psram_end(state, bounds, header);
    }
    if (index == SRAM) {
        uint64_t all = bounds->live[SRAM] + state->stats.free_bytes[SRAM];
        uint32_t start = all < region->end - memory_start[SRAM] ? region->end - (uint32_t)all : 0;
        bool known = bounds->whole && state->stats.has_region[SRAM] && start % 8 == 0 &&
                     start != 0 && (lowest == 0 || start <= lowest - header);
        /* The first block of all is hardly ever freed: it is the first task's stack. */
        region->start = known ? start : lowest != 0 ? lowest - header : 0;
    }
}

static bool add_blocks(struct log_state *state) {
    struct image *image = &state->diagnosis->image;
    bool ok = true;
    for (size_t i = 0; i < state->list.count && ok; i++) {
        const struct log_block *block = &state->list.blocks[i];
        struct image_block added = {.address = block->pointer - image->header_size,
                                    .pointer = block->pointer,
                                    .size = block->size,
                                    .order = block->order,
                                    .site = block->site,
                                    .line = block->site_line,
                                    .state = IMAGE_LIVE};
        ok = image_add(image, &added);
    }
    const struct log_crash *crash = &state->crash;
    if (ok && crash->corruption && crash->size != 0 && image_region_of(crash->pointer) >= 0 &&
        log_list_find(&state->list, crash->pointer) == NULL) {
        struct image_block smashed = {.address = crash->pointer - image->header_size,
                                      .pointer = crash->pointer,
                                      .size = crash->size,
                                      .order = UINT32_MAX,
                                      .site = crash->site,
                                      .line = crash->site_line,
                                      .state = IMAGE_SMASHED};
        ok = image_add(image, &smashed);
    }
    return ok;
}

/* Free bytes of a region whose row is lost: what the total has besides the others. */
static void restore_row(struct log_state *state) {
    struct log_stats *stats = &state->stats;
    uint64_t others = 0;
    int lost = -1;
    for (int i = 0; i < IMAGE_REGIONS_MAX; i++) {
        others += stats->has_region[i] ? stats->free_bytes[i] : 0;
        if (!stats->has_region[i] && i != PSRAM) { /* the others are always there */
            lost = lost < 0 ? i : IMAGE_REGIONS_MAX;
        }
    }
    if (stats->has_total && lost >= 0 && lost < IMAGE_REGIONS_MAX && others <= stats->total) {
        stats->has_region[lost] = true;
        stats->free_bytes[lost] = stats->total - (uint32_t)others;
    }
}

/* A list with lines missing shows holes where blocks are. How many bytes those have, its
 * summary says, but not where: so no region counts them as free. */
static void discount_missing(struct log_state *state) {
    struct image *image = &state->diagnosis->image;
    for (int i = 0; i < IMAGE_REGIONS_MAX; i++) {
        struct image_region *region = &image->regions[i];
        region->has_blocks = region->has_blocks && state->list.complete;
        if (!region->has_free && state->list.missing_bytes != 0) {
            uint64_t missing = state->list.missing_bytes;
            region->free_bytes -=
                missing < region->free_bytes ? (uint32_t)missing : region->free_bytes;
        }
    }
}

bool log_image_build(struct log_state *state) {
    struct image *image = &state->diagnosis->image;
    restore_row(state);
    struct bounds bounds = measure(state);
    bool near = stats_are_near(state);
    image_clear_blocks(image);
    if (state->list.count != 0) {
        set_options(state, &bounds);
    }
    for (int i = 0; i < IMAGE_REGIONS_MAX; i++) {
        struct image_region *region = &image->regions[i];
        region->has_free = near && state->stats.has_region[i];
        region->free_bytes = region->has_free ? state->stats.free_bytes[i] : 0;
        region->min_free_bytes = region->has_free ? state->stats.minimum[i] : 0;
        region->present = region->has_free || bounds.lowest[i] != 0;
        region->start = region->end = 0;
        if (region->present && state->list.count != 0) {
            set_bounds(state, &bounds, i);
        }
    }
    if (!add_blocks(state) || !image_finish(image)) {
        return false;
    }
    discount_missing(state);
    return true;
}
