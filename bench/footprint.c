/* SPDX-License-Identifier: Apache-2.0 */
#include "footprint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE_SHIFT 12u
#define PAGE_TABLE 65536u /* pages told apart: 256 MiB, of which 8 MiB can be live at once */

/* How many live blocks touch each page; open addressing, pages never leave. */
struct pages {
    uint64_t number[PAGE_TABLE]; /* + 1; 0: empty */
    uint32_t blocks[PAGE_TABLE];
    uint32_t used;
    uint64_t touched;
    bool full; /* one place must stay empty, or a search would not end: nothing more is counted */
};

/* What the program knows of a pointer. */
struct live {
    uint32_t size;
    uint32_t block_bytes;
};

struct taker {
    struct calls *calls;
    const struct allocator *allocator;
    struct footprint *footprint;
    struct footprint_sample now;
    struct live *live; /* by slot */
    struct pages pages;
};

/* NULL if it is a page too many. */
static uint32_t *page_blocks(struct pages *pages, uint64_t number) {
    uint32_t at = (uint32_t)(number * 0x9e3779b97f4a7c15u >> 48);
    while (pages->number[at] != 0 && pages->number[at] != number + 1u) {
        at = (at + 1u) % PAGE_TABLE;
    }
    if (pages->number[at] == 0) {
        pages->full = pages->full || pages->used == PAGE_TABLE - 1u;
        if (pages->full) {
            return NULL;
        }
        pages->number[at] = number + 1u;
        pages->used++;
    }
    return &pages->blocks[at];
}

static uint64_t page_of(const void *pointer, uint32_t offset) {
    return ((uint64_t)(uintptr_t)pointer + offset) >> PAGE_SHIFT;
}

static void pages_add(struct pages *pages, const void *pointer, uint32_t bytes) {
    uint64_t last = page_of(pointer, bytes - 1u);
    for (uint64_t page = page_of(pointer, 0); page <= last && !pages->full; page++) {
        uint32_t *blocks = page_blocks(pages, page);
        if (blocks != NULL) {
            pages->touched += (*blocks)++ == 0;
        }
    }
}

static void pages_remove(struct pages *pages, const void *pointer, uint32_t bytes) {
    uint64_t last = page_of(pointer, bytes - 1u);
    for (uint64_t page = page_of(pointer, 0); page <= last && !pages->full; page++) {
        uint32_t *blocks = page_blocks(pages, page);
        if (blocks != NULL) {
            pages->touched -= --*blocks == 0;
        }
    }
}

double footprint_umm(double sum, double sum_of_squares) {
    return sum > 0.0 ? 100.0 * (1.0 - sqrt(sum_of_squares) / sum) : 0.0;
}

double footprint_fragmentation(const struct footprint_sample *sample) {
    return sample->page_bytes != 0
               ? 100.0 * (1.0 - (double)sample->live_bytes / (double)sample->page_bytes)
               : 0.0;
}

struct hole_sums {
    uint64_t holes;
    double sum;
    double squares;
};

static void hole_add(void *context, uint32_t bytes) {
    struct hole_sums *sums = context;
    sums->holes++;
    sums->sum += bytes;
    sums->squares += (double)bytes * bytes;
}

static struct footprint_sample sample_now(const struct taker *taker) {
    struct footprint_sample sample = taker->now;
    sample.page_bytes = taker->pages.touched << PAGE_SHIFT;
    return sample;
}

/* Asks the allocator for its holes; not at every call, since that walks them. */
static void sample_holes(const struct taker *taker, struct footprint_sample *sample) {
    struct hole_sums sums = {0, 0.0, 0.0};
    sample->umm = -1.0;
    if (taker->allocator->holes != NULL) {
        taker->allocator->holes(hole_add, &sums);
        sample->holes = sums.holes;
        sample->umm = footprint_umm(sums.sum, sums.squares);
    }
}

static void block_gone(struct taker *taker, uint32_t slot, const void *pointer) {
    struct live *live = &taker->live[slot];
    pages_remove(&taker->pages, pointer, live->size);
    taker->now.live_blocks--;
    taker->now.live_bytes -= live->size;
    taker->now.block_bytes -= live->block_bytes;
}

static void block_came(struct taker *taker, const struct call *call, const void *pointer) {
    struct live *live = &taker->live[call->slot];
    live->size = call->size;
    live->block_bytes = (uint32_t)taker->allocator->block_bytes(pointer);
    pages_add(&taker->pages, pointer, live->size);
    taker->now.live_blocks++;
    taker->now.live_bytes += live->size;
    taker->now.block_bytes += live->block_bytes;
}

/* FNV-1a over the 32-bit addresses. */
static void digest_add(struct footprint *footprint, uint32_t address) {
    footprint->digest = (footprint->digest ^ address) * 0x100000001b3u;
}

static void address_judge(struct taker *taker, size_t index, const void *pointer) {
    const struct trace_event *event = &taker->calls->trace.events[taker->calls->events[index]];
    uint32_t address = (uint32_t)(uintptr_t)pointer;
    digest_add(taker->footprint, address);
    taker->footprint->failures += pointer == NULL && event->size != 0;
    if (taker->allocator->exact && (event->has & TRACE_HAS_ADDRESS) != 0 &&
        event->address != address) {
        taker->footprint->mismatches++;
    }
}

/* A realloc that fails leaves the old block, and the same pointer may be a success. */
static void take_realloc(struct taker *taker, const struct call *call, size_t index) {
    void **pointer = &taker->calls->pointers[call->slot];
    void *old = *pointer;
    void *resized = taker->allocator->realloc(old, call->size, call->caps);
    address_judge(taker, index, resized);
    if (resized == NULL && call->size != 0) {
        return;
    }
    *pointer = resized;
    if (old != NULL) {
        block_gone(taker, call->slot, old);
    }
    if (resized != NULL) {
        block_came(taker, call, resized);
    }
}

static void take_call(struct taker *taker, size_t index) {
    const struct call *call = &taker->calls->list[index];
    void **pointer = &taker->calls->pointers[call->slot];
    if (call->kind == CALL_REALLOC) {
        take_realloc(taker, call, index);
        return;
    }
    if (call->kind == CALL_FREE && *pointer != NULL) {
        block_gone(taker, call->slot, *pointer);
    }
    call_make(taker->allocator, call, taker->calls);
    if (call->kind == CALL_ALLOC) {
        address_judge(taker, index, *pointer);
        if (*pointer != NULL) {
            block_came(taker, call, *pointer);
        }
    }
}

static void take_all(struct taker *taker) {
    struct footprint *footprint = taker->footprint;
    size_t count = taker->calls->count;
    for (size_t i = 0; i < count; i++) {
        take_call(taker, i);
        taker->now.call = i + 1u;
        if (taker->now.live_bytes > footprint->peak.live_bytes) {
            footprint->peak = sample_now(taker);
        }
        if (i + 1u == count ||
            (i + 1u) * FOOTPRINT_SAMPLES / count != i * FOOTPRINT_SAMPLES / count) {
            struct footprint_sample *sample = &footprint->samples[footprint->sample_count++];
            *sample = sample_now(taker);
            sample_holes(taker, sample);
        }
    }
}

bool footprint_take(struct calls *calls, const struct allocator *allocator,
                    struct footprint *footprint, struct trace_error *error) {
    struct taker *taker = calloc(1, sizeof *taker);
    *footprint = (struct footprint){.digest = 0xcbf29ce484222325u};
    if (taker != NULL) {
        taker->live = calloc(calls->trace.id_count + 1u, sizeof *taker->live);
    }
    if (taker == NULL || taker->live == NULL) {
        snprintf(error->text, sizeof error->text, "out of memory");
        free(taker);
        return false;
    }
    taker->calls = calls;
    taker->allocator = allocator;
    taker->footprint = footprint;
    calls_begin(allocator);
    take_all(taker);
    calls_end(calls, allocator);
    bool full = taker->pages.full;
    calls_begin(allocator);
    calls_make(calls, allocator, 0, footprint->peak.call);
    sample_holes(taker, &footprint->peak);
    calls_end(calls, allocator);
    free(taker->live);
    free(taker);
    if (full) {
        snprintf(error->text, sizeof error->text,
                 "the blocks lie on more than %u pages of 4 KiB: too many to tell apart",
                 PAGE_TABLE - 1u);
    }
    return !full;
}
