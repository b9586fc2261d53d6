/* SPDX-License-Identifier: Apache-2.0
 *
 * Some failures need a full heap, or a block at its very address: a request that finds no
 * room, an address that differs from the recording's. Leaving out events cannot shrink
 * these, since each block that goes moves all behind it. So the heap is built anew as it
 * stood before the last few events: first fit fills an empty region in address order, hence
 * neighbouring blocks that nobody names can be one stand-in of their joint size, and a hole
 * is a block that is freed when all stand. From the bravest candidate, all that lives in one
 * block a region and the rest free, to the exact one, all blocks and holes as they were.
 */
#include <stdlib.h>
#include <string.h>

#include "shrink_internal.h"
#include "workload.h"

enum {
    LEVEL_COMPACT, /* one stand-in a region, for all that is allocated there */
    LEVEL_FILLED,  /* holes between blocks are filled */
    LEVEL_FITTING, /* only holes stay that the failing request fits into */
    LEVEL_EXACT,   /* all holes stay where they are */
    LEVEL_BLOCKS,  /* and each block is one of its own, with its call site */
    LEVELS
};

struct rebuild {
    struct shrink *shrink;
    const struct heap_build *build;
    size_t moment;    /* the heap before this item is built */
    size_t rest;      /* the items from here on stay */
    unsigned level;   /* LEVEL_ */
    uint64_t fitting; /* LEVEL_FITTING: bytes of the block that the failing request needs */
    uint32_t region;  /* that is built */
    uint32_t run;     /* bytes of blocks to stand in for */
    struct shrink_item *made;
    size_t count;
    struct shrink_item *holes; /* the stand-ins to free when all stand */
    size_t hole_count;
    uint32_t *values; /* by slot: what its variable holds at the moment */
    uint32_t *given;  /* by slot: index of the item that gave it */
    uint32_t *named;  /* slots that the rest uses */
    size_t named_count;
    uint32_t slots; /* used, the stand-ins' included */
    uint32_t origins;
    bool failed; /* it would not become smaller */
};

static struct shrink_item *item_make(struct rebuild *rebuild) {
    static struct shrink_item nowhere; /* written and never read, so that callers need not look */
    if (rebuild->count + 1 >= rebuild->shrink->count ||
        rebuild->origins + 1 >= rebuild->shrink->origins_room) {
        rebuild->failed = true;
        return &nowhere;
    }
    return &rebuild->made[rebuild->count++];
}

/* One allocation whose block has exactly these bytes, in the region that is built: no other
 * has all its capabilities. */
static struct shrink_item *stand_in(struct rebuild *rebuild, uint32_t bytes) {
    struct shrink_item *item = item_make(rebuild);
    *item = (struct shrink_item){.origin = rebuild->origins,
                                 .lifetime = rebuild->origins,
                                 .bound = SHRINK_NONE,
                                 .before = SHRINK_NONE};
    item->event.kind = TRACE_ALLOC;
    item->event.slot = rebuild->slots++;
    item->event.size = workload_payload_bytes(rebuild->build, bytes);
    item->event.caps = rebuild->shrink->trace->regions[rebuild->region].caps;
    rebuild->origins++;
    return item;
}

static void run_end(struct rebuild *rebuild) {
    if (rebuild->run > 0) {
        stand_in(rebuild, rebuild->run);
        rebuild->run = 0;
    }
}

/* What a block was asked for with, if that leads into the region that is built; else what
 * leads there. */
static uint32_t caps_for(const struct rebuild *rebuild, uint32_t caps) {
    const struct trace_region *regions = rebuild->shrink->trace->regions;
    uint32_t first = 0;
    while (first < rebuild->region && (regions[first].caps & caps) != caps) {
        first++;
    }
    return first == rebuild->region ? caps : regions[rebuild->region].caps;
}

/* A block that the rest uses comes back as it was asked for last. */
static void block_again(struct rebuild *rebuild, uint32_t slot, const struct wm_heap_block *block) {
    run_end(rebuild);
    struct shrink_item *item = item_make(rebuild);
    *item = rebuild->shrink->items[rebuild->given[slot]];
    item->origin = item->lifetime; /* what the rest refers to */
    item->event.has &= TRACE_HAS_SITE;
    item->event.kind = TRACE_ALLOC;
    item->event.extra = 0;
    item->event.caps = caps_for(rebuild, block->caps);
    item->event.size = block->requested;
    if (workload_block_bytes(rebuild->build, block->requested) != block->size) {
        item->event.size = workload_payload_bytes(rebuild->build, block->size); /* unsplit */
    }
}

static bool hole_stays(const struct rebuild *rebuild, uint32_t bytes) {
    return rebuild->level >= LEVEL_EXACT ||
           (rebuild->level == LEVEL_FITTING && bytes >= rebuild->fitting);
}

static void visit_hole(struct rebuild *rebuild, const struct wm_heap_block *block) {
    if (hole_stays(rebuild, block->size)) {
        run_end(rebuild);
        rebuild->holes[rebuild->hole_count++] = *stand_in(rebuild, block->size);
    } else if (rebuild->level != LEVEL_COMPACT) {
        rebuild->run += block->size;
    }
}

static bool visit(void *context, const struct wm_heap_block *block) {
    struct rebuild *rebuild = context;
    const struct wm_heap_region *region = &rebuild->build->state->regions[rebuild->region];
    if (!block->live) {
        /* what is behind the last block is free by itself */
        if (block->address + block->size < region->end) {
            visit_hole(rebuild, block);
        }
        return !rebuild->failed;
    }
    for (size_t i = 0; i < rebuild->named_count; i++) {
        uint32_t slot = rebuild->named[i];
        if (rebuild->values[slot] == block->pointer) {
            block_again(rebuild, slot, block);
            return !rebuild->failed;
        }
    }
    rebuild->run += block->size;
    return !rebuild->failed;
}

/* What went before and is no block: PSRAM's append comes first, transfers last. */
static void keep_kind(struct rebuild *rebuild, enum trace_event_kind kind) {
    const struct shrink *shrink = rebuild->shrink;
    for (size_t i = 0; i < rebuild->rest && !rebuild->failed; i++) {
        if (shrink->items[i].event.kind == kind) {
            *item_make(rebuild) = shrink->items[i];
        }
    }
}

static void build(struct rebuild *rebuild) {
    for (uint32_t slot = 0; rebuild->level == LEVEL_BLOCKS && slot < rebuild->shrink->slots;
         slot++) {
        if (rebuild->values[slot] != 0) {
            rebuild->named[rebuild->named_count++] = slot;
        }
    }
    keep_kind(rebuild, TRACE_APPEND);
    for (uint32_t i = 0; i < rebuild->shrink->trace->region_count; i++) {
        rebuild->region = i;
        rebuild->build->walk(i, visit, rebuild);
        run_end(rebuild);
    }
    for (size_t i = 0; i < rebuild->hole_count; i++) {
        struct shrink_item *item = item_make(rebuild);
        *item = rebuild->holes[i];
        item->origin = rebuild->origins++;
        item->event.kind = TRACE_FREE;
        item->event.size = 0;
        item->event.caps = 0;
    }
    keep_kind(rebuild, TRACE_DMA);
    for (size_t i = rebuild->rest; i < rebuild->shrink->count && !rebuild->failed; i++) {
        *item_make(rebuild) = rebuild->shrink->items[i];
    }
}

static void build_at_moment(void *context, size_t index, struct trace_event *event) {
    struct rebuild *rebuild = context;
    (void)event;
    if (index == rebuild->moment) {
        build(rebuild);
    }
}

static bool value_keep(void *context, size_t index, uint32_t pointer) {
    struct rebuild *rebuild = context;
    const struct trace_event *event = &rebuild->shrink->items[index].event;
    bool kept = event->kind == TRACE_REALLOC && pointer == 0 && event->size != 0;
    if ((workload_allocates(event) && !kept) || event->kind == TRACE_FREE) {
        rebuild->values[event->slot] = pointer;
        rebuild->given[event->slot] = (uint32_t)index;
    }
    return index < rebuild->moment;
}

static void named_find(struct rebuild *rebuild) {
    const struct shrink *shrink = rebuild->shrink;
    rebuild->named_count = 0;
    for (size_t i = rebuild->rest; i < shrink->count; i++) {
        const struct shrink_item *item = &shrink->items[i];
        if (item->event.slot != TRACE_NO_SLOT) {
            rebuild->named[rebuild->named_count++] = item->event.slot;
        }
        for (size_t j = 0; item->bound != SHRINK_NONE && j < rebuild->rest; j++) {
            if (shrink->items[j].origin == item->bound) {
                rebuild->named[rebuild->named_count++] = shrink->items[j].event.slot;
            }
        }
    }
}

/* The request that fails, as a block. */
static uint64_t fitting_bytes(const struct rebuild *rebuild) {
    const struct trace_event *event = &rebuild->shrink->items[rebuild->shrink->count - 1].event;
    uint64_t size = event->size;
    if (event->kind == TRACE_CALLOC) {
        size *= event->extra;
    }
    return workload_block_bytes(rebuild->build, size);
}

/* Tries the heap before item `moment`, and behind it the items from `rest` on. */
static bool rebuild_try(struct rebuild *rebuild, size_t moment, size_t rest, unsigned level) {
    struct shrink *shrink = rebuild->shrink;
    struct trace trace = *shrink->trace;
    rebuild->moment = moment;
    rebuild->rest = rest;
    rebuild->level = level;
    rebuild->fitting = fitting_bytes(rebuild);
    rebuild->run = 0;
    rebuild->count = 0;
    rebuild->hole_count = 0;
    rebuild->slots = shrink->slots;
    rebuild->origins = shrink->origins;
    rebuild->failed = false;
    named_find(rebuild);
    memset(rebuild->values, 0, shrink->slots * sizeof *rebuild->values);
    for (size_t i = 0; i < shrink->count; i++) {
        shrink->events[i] = shrink->items[i].event;
    }
    trace.events = shrink->events;
    trace.event_count = shrink->count;
    trace.id_count = shrink->slots;
    struct workload workload = {.trace = &trace,
                                .psram_bytes = REPLAY_PSRAM_AS_TRACED,
                                .before = build_at_moment,
                                .after = value_keep,
                                .context = rebuild};
    shrink->spent += moment;
    if (!workload_run(&workload, shrink->error)) {
        shrink->failed = true;
        return false;
    }
    uint32_t slots = shrink->slots;
    uint32_t origins = shrink->origins;
    shrink->slots = rebuild->slots;
    shrink->origins = rebuild->origins;
    if (!rebuild->failed && rebuild->count < shrink->count &&
        shrink_try(shrink, rebuild->made, rebuild->count)) {
        return true;
    }
    shrink->slots = slots;
    shrink->origins = origins;
    return false;
}

/* The item at which the total's minimum moved last. */
struct lowest {
    uint32_t minimum;
    size_t index;
};

static bool lowest_note(void *context, size_t index, uint32_t pointer) {
    struct lowest *lowest = context;
    uint32_t now = (uint32_t)wm_heap_get_minimum_ever_free_size();
    (void)pointer;
    if (now != lowest->minimum) {
        *lowest = (struct lowest){now, index};
    }
    return true;
}

static size_t lowest_find(struct shrink *shrink) {
    struct lowest lowest = {0};
    struct trace trace = *shrink->trace;
    for (size_t i = 0; i < shrink->count; i++) {
        shrink->events[i] = shrink->items[i].event;
    }
    trace.events = shrink->events;
    trace.event_count = shrink->count;
    trace.id_count = shrink->slots;
    struct workload workload = {.trace = &trace,
                                .psram_bytes = REPLAY_PSRAM_AS_TRACED,
                                .after = lowest_note,
                                .context = &lowest};
    shrink->failed |= !workload_run(&workload, shrink->error);
    return lowest.index + 1;
}

#define REST_MAX 512u /* more events than these are not few */

static bool rebuild_best(struct rebuild *rebuild) {
    struct shrink *shrink = rebuild->shrink;
    size_t last = shrink->count - 1;
    if (shrink->failure.mismatch && strcmp(shrink->failure.what, "min_free") == 0) {
        size_t moment = lowest_find(shrink);
        if (moment <= last && rebuild_try(rebuild, moment, last, LEVEL_COMPACT)) {
            return true;
        }
    }
    for (size_t rest = 0; rest <= REST_MAX && rest <= last; rest = rest == 0 ? 1 : rest * 2) {
        for (unsigned level = 0; level < LEVELS && shrink_may_go_on(shrink); level++) {
            if (rebuild_try(rebuild, last - rest, last - rest, level)) {
                return true;
            }
        }
    }
    return false;
}

bool shrink_rebuild(struct shrink *shrink) {
    struct rebuild rebuild = {
        .shrink = shrink,
        .build = heap_build_find(shrink->trace->config.tracing, shrink->trace->config.poisoning),
        .made = malloc((shrink->count + 1) * sizeof *rebuild.made),
        .holes = malloc((shrink->count + 1) * sizeof *rebuild.holes),
        .values = malloc((shrink->slots + 1u) * sizeof *rebuild.values),
        .given = malloc((shrink->slots + 1u) * sizeof *rebuild.given),
        .named = malloc(sizeof *rebuild.named * (2 * (REST_MAX + 1) + shrink->slots)),
    };
    bool smaller = false;
    if (rebuild.made == NULL || rebuild.holes == NULL || rebuild.values == NULL ||
        rebuild.given == NULL || rebuild.named == NULL) {
        shrink->failed = true;
        strcpy(shrink->error->text, "out of memory");
    } else if (shrink->count > 0) {
        smaller = rebuild_best(&rebuild);
    }
    free(rebuild.made);
    free(rebuild.holes);
    free(rebuild.values);
    free(rebuild.given);
    free(rebuild.named);
    return smaller;
}
