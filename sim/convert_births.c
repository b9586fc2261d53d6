/* SPDX-License-Identifier: Apache-2.0
 *
 * One pass over the events: which pointers are live, and when each piece of memory was last
 * in use by a block that is known.
 */
#include "convert_births.h"

#include <stdlib.h>
#include <string.h>

#include "../core/wm_heap_recorder.h"

/* Memory in pieces as small as blocks' alignment: blocks that do not touch share none. */
#define INTERNAL_START 0x20000000u
#define INTERNAL_BYTES 0x48000u
#define PIECE 8u
#define PSRAM_START 0x30000000u
#define PSRAM_BYTES 0x800000u
#define INTERNAL_PIECES (INTERNAL_BYTES / PIECE)
#define PIECES (INTERNAL_PIECES + PSRAM_BYTES / PIECE)
/* Kept by pages, made when they are first needed: a recording touches few. */
#define PAGE_PIECES 4096u
#define PAGES ((PIECES + PAGE_PIECES - 1u) / PAGE_PIECES)

/* A recording of a million blocks of a megabyte is nobody's: after so many pieces looked at,
 * nothing is asked any more, and blocks come as late as they can. */
#define WORK_MAX 1000000000u

struct history {
    const struct convert *convert;
    const struct recorder_boot *boot;
    struct births *births;
    uint32_t *live; /* hash table of pointers; 0 is empty */
    size_t live_mask;
    uint32_t *touched[PAGES]; /* per piece: 1 + index of the last event whose block lay there */
    uint32_t *gaps;           /* indexes of the events with a gap before them, ascending */
    size_t gap_count;
    uint64_t work;
    bool failed;
};

/* --- live pointers -------------------------------------------------------------------- */

static uint32_t *live_slot(const struct history *history, uint32_t pointer) {
    size_t at = (size_t)(pointer * 0x9e3779b1u) & history->live_mask;
    while (history->live[at] != 0 && history->live[at] != pointer) {
        at = (at + 1) & history->live_mask;
    }
    return &history->live[at];
}

static bool is_live(const struct history *history, uint32_t pointer) {
    return *live_slot(history, pointer) == pointer;
}

/* Takes a pointer out, and moves what it may have pushed aside. */
static void live_remove(struct history *history, uint32_t pointer) {
    uint32_t *slot = live_slot(history, pointer);
    if (*slot == 0) {
        return;
    }
    *slot = 0;
    size_t at = (size_t)(slot - history->live);
    for (at = (at + 1) & history->live_mask; history->live[at] != 0;
         at = (at + 1) & history->live_mask) {
        uint32_t moved = history->live[at];
        history->live[at] = 0;
        *live_slot(history, moved) = moved;
    }
}

/* --- memory --------------------------------------------------------------------------- */

/* The pieces of a block; false if it is in no memory. */
static bool pieces_of(const struct history *history, uint32_t pointer, uint32_t size,
                      uint32_t *first, uint32_t *last) {
    uint32_t address = pointer - history->convert->header;
    if (size == 0 || address + size - 1 < address) {
        return false;
    }
    if (address - INTERNAL_START < INTERNAL_BYTES && size <= INTERNAL_BYTES) {
        *first = (address - INTERNAL_START) / PIECE;
        *last = (address + size - 1 - INTERNAL_START) / PIECE;
        return *last < INTERNAL_PIECES;
    }
    if (address - PSRAM_START < PSRAM_BYTES && size <= PSRAM_BYTES) {
        *first = INTERNAL_PIECES + (address - PSRAM_START) / PIECE;
        *last = INTERNAL_PIECES + (address + size - 1 - PSRAM_START) / PIECE;
        return *last < PIECES;
    }
    return false;
}

/* The last piece up to `last` on the same page as `i`. */
static uint32_t page_end(uint32_t i, uint32_t last) {
    uint32_t end = i | (PAGE_PIECES - 1u);
    return end < last ? end : last;
}

static void touch(struct history *history, uint32_t pointer, uint32_t size, size_t index) {
    uint32_t first;
    uint32_t last;
    if (!pieces_of(history, pointer, size, &first, &last) || history->work >= WORK_MAX) {
        return;
    }
    history->work += last - first;
    while (first <= last) {
        uint32_t **page = &history->touched[first / PAGE_PIECES];
        if (*page == NULL && (*page = calloc(PAGE_PIECES, sizeof **page)) == NULL) {
            history->failed = true;
            return;
        }
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) the page is freed with all that are touched */
        for (uint32_t end = page_end(first, last); first <= end; first++) {
            (*page)[first % PAGE_PIECES] = (uint32_t)index + 1;
        }
    }
}

/* The first gap since anything else lay there; `index` if there is none. */
static size_t birth_time(struct history *history, uint32_t pointer, uint32_t size, size_t index) {
    uint32_t first;
    uint32_t last;
    uint32_t since = 0;
    if (!pieces_of(history, pointer, size, &first, &last) || history->work >= WORK_MAX) {
        return index;
    }
    history->work += last - first;
    while (first <= last) {
        const uint32_t *page = history->touched[first / PAGE_PIECES];
        uint32_t end = page_end(first, last);
        for (; page != NULL && first <= end; first++) {
            uint32_t touched = page[first % PAGE_PIECES];
            since = touched > since ? touched : since;
        }
        first = end + 1;
    }
    size_t low = 0;
    for (size_t high = history->gap_count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (history->gaps[middle] < since) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < history->gap_count && history->gaps[low] < index ? history->gaps[low] : index;
}

/* --- births --------------------------------------------------------------------------- */

static void born(struct history *history, const struct recorder_block *block, size_t index) {
    struct births *births = history->births;
    if (births->count == births->room) {
        size_t room = births->room == 0 ? 64 : births->room * 2;
        struct birth *list = realloc(births->list, room * sizeof *list);
        if (list == NULL) {
            history->failed = true;
            return;
        }
        births->list = list;
        births->room = room;
    }
    births->list[births->count++] = (struct birth){
        .at = birth_time(history, block->pointer, block->size, index),
        .span = {.address = block->pointer - history->convert->header,
                 .want = block->size,
                 .caps = block->caps,
                 .name = TRACE_NO_SLOT,
                 .line = block->line},
        .site = block->site,
    };
    *live_slot(history, block->pointer) = block->pointer;
}

/* A block whose size an event tells that ends it. */
static void known_live(struct history *history, const struct recorder_event *event, size_t index) {
    if (event->pointer > 1 && event->size != 0 && !is_live(history, event->pointer)) {
        born(history, &(struct recorder_block){.pointer = event->pointer, .size = event->size},
             index);
    }
}

static void came(struct history *history, const struct recorder_event *event, size_t index) {
    if (event->pointer > 1) {
        *live_slot(history, event->pointer) = event->pointer;
        touch(history, event->pointer, plan_want(history->convert, event->size), index);
    }
}

static void event_look(struct history *history, const struct recorder_event *event, size_t index) {
    switch (event->kind) {
    case WM_HEAP_RECORD_ALLOC:
        came(history, event, index);
        break;
    case WM_HEAP_RECORD_FREE:
        known_live(history, event, index);
        touch(history, event->pointer, event->size, index);
        live_remove(history, event->pointer);
        break;
    case WM_HEAP_RECORD_REALLOC_OLD:
        known_live(history, event, index);
        touch(history, event->pointer, event->size, index);
        break;
    case WM_HEAP_RECORD_REALLOC_NEW: /* it knows the old block too, in case the first half is lost
                                      */
        known_live(history, &(struct recorder_event){.pointer = event->site, .size = event->caller},
                   index);
        touch(history, event->site, event->caller, index);
        if (event->pointer != 0 || event->size == 0) {
            live_remove(history, event->site);
        }
        came(history, event, index);
        break;
    default:
        break;
    }
}

static void events_look(struct history *history, const struct recorder_block *blocks,
                        size_t block_count) {
    const struct recorder_boot *boot = history->boot;
    size_t next = 0;
    for (size_t i = 0; i <= boot->event_count && !history->failed; i++) {
        while (next < block_count &&
               (i == boot->event_count || blocks[next].as_of <= boot->events[i].number)) {
            const struct recorder_block *block = &blocks[next++];
            if (block->pointer > 1 && !is_live(history, block->pointer)) {
                born(history, block, i);
            }
        }
        if (i < boot->event_count) {
            event_look(history, &boot->events[i], i);
        }
    }
}

/* --- in order ------------------------------------------------------------------------- */

static int by_time_of_snapshot(const void *left, const void *right) {
    const struct recorder_block *a = left;
    const struct recorder_block *b = right;
    if (a->as_of != b->as_of) {
        return a->as_of < b->as_of ? -1 : 1;
    }
    return (a->pointer > b->pointer) - (a->pointer < b->pointer);
}

static int by_time(const void *left, const void *right) {
    const struct birth *a = left;
    const struct birth *b = right;
    if (a->at != b->at) {
        return a->at < b->at ? -1 : 1;
    }
    return (a->span.address > b->span.address) - (a->span.address < b->span.address);
}

/* An event is behind a gap if its number does not follow; the first one also if the heap may
 * have had blocks before. */
static void gaps_find(struct history *history) {
    const struct recorder_boot *boot = history->boot;
    for (size_t i = 0; i < boot->event_count; i++) {
        uint32_t expected = i == 0 ? 0 : boot->events[i - 1].number + 1;
        bool first = i == 0 && (boot->options & WM_HEAP_RECORDER_FROM_START) == 0;
        if (boot->events[i].number != expected || first) {
            history->gaps[history->gap_count++] = (uint32_t)i;
        }
    }
}

bool births_find(struct births *births, const struct convert *convert,
                 const struct recorder_boot *boot) {
    size_t pointers = 2 * (boot->event_count + boot->block_count) + 16;
    size_t table = 64;
    while (table < 2 * pointers) {
        table *= 2;
    }
    struct history history = {
        .convert = convert,
        .boot = boot,
        .births = births,
        .live = calloc(table, sizeof(uint32_t)),
        .live_mask = table - 1,
        .gaps = malloc((boot->event_count + 1) * sizeof(uint32_t)),
    };
    struct recorder_block *blocks = malloc((boot->block_count + 1) * sizeof *blocks);
    bool enough = history.live != NULL && history.gaps != NULL && blocks != NULL;
    if (enough) {
        if (boot->block_count > 0) {
            memcpy(blocks, boot->blocks, boot->block_count * sizeof *blocks);
            qsort(blocks, boot->block_count, sizeof *blocks, by_time_of_snapshot);
        }
        gaps_find(&history);
        events_look(&history, blocks, boot->block_count);
        if (births->count > 0) {
            qsort(births->list, births->count, sizeof *births->list, by_time);
        }
    }
    free(blocks);
    free(history.live);
    for (uint32_t i = 0; i < PAGES; i++) {
        free(history.touched[i]);
    }
    free(history.gaps);
    return enough && !history.failed;
}
