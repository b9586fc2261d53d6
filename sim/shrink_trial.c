/* SPDX-License-Identifier: Apache-2.0
 *
 * One candidate: addresses moved with their blocks, a replay, and the question whether it
 * fails the same way.
 */
#include <stdlib.h>
#include <string.h>

#include "shrink_internal.h"
#include "workload.h"

/* --- what fails ------------------------------------------------------------------------- */

static void failure_from_fault(const struct replay_fault *fault, struct shrink_failure *failure) {
    *failure = (struct shrink_failure){.what = fault->kind,
                                       .event = fault->event,
                                       .address = fault->address,
                                       .by_check = fault->by_check};
    memcpy(failure->site, fault->site, sizeof failure->site);
    memcpy(failure->before_site, fault->before_site, sizeof failure->before_site);
}

bool shrink_failure_find(const struct replay_result *result, struct shrink_failure *failure) {
    const struct replay_fault *first = result->unexpected_faults != 0 ? &result->unexpected : NULL;
    if (first != NULL && (result->mismatches == 0 || first->event <= result->first.event)) {
        failure_from_fault(first, failure);
        return true;
    }
    if (result->mismatches == 0) {
        return false;
    }
    *failure = (struct shrink_failure){.mismatch = true,
                                       .what = result->first.what,
                                       .judge = result->first.judge,
                                       .event = result->first.event,
                                       .expected = result->first.expected,
                                       .got = result->first.got};
    return true;
}

static bool fails_alike(const struct shrink_failure *a, const struct shrink_failure *b) {
    if (a->mismatch != b->mismatch || strcmp(a->what, b->what) != 0) {
        return false;
    }
    if (!a->mismatch) {
        return strcmp(a->site, b->site) == 0 && strcmp(a->before_site, b->before_site) == 0;
    }
    bool traced = strcmp(a->judge, "trace") == 0;
    return strcmp(a->judge, b->judge) == 0 &&
           (!traced || (a->expected == b->expected && a->got == b->got));
}

/* --- moving addresses ------------------------------------------------------------------- */

struct layout {
    struct shrink *shrink;
    const struct shrink_item *items;
};

/* An address that belongs to a block goes where its block goes. */
static void address_move(void *context, size_t index, struct trace_event *event) {
    const struct layout *layout = context;
    const struct shrink_item *item = &layout->items[index];
    uint32_t pointer = item->bound != SHRINK_NONE ? layout->shrink->pointers[item->bound] : 0;
    if (pointer != 0) {
        event->caps = pointer + item->offset;
        layout->shrink->events[index].caps = event->caps;
    }
}

static bool pointer_keep(void *context, size_t index, uint32_t pointer) {
    const struct layout *layout = context;
    layout->shrink->pointers[layout->items[index].origin] = pointer;
    return true;
}

static bool addresses_move(struct shrink *shrink, const struct trace *candidate,
                           const struct shrink_item *items) {
    bool any = false;
    for (size_t i = 0; i < candidate->event_count; i++) {
        any |= items[i].bound != SHRINK_NONE;
        shrink->pointers[items[i].origin] = 0;
        if (items[i].bound != SHRINK_NONE) {
            shrink->pointers[items[i].bound] = 0;
        }
    }
    struct layout layout = {shrink, items};
    struct workload workload = {.trace = candidate,
                                .psram_bytes = REPLAY_PSRAM_AS_TRACED,
                                .before = address_move,
                                .after = pointer_keep,
                                .context = &layout};
    return !any || workload_run(&workload, shrink->error);
}

/* --- judging ---------------------------------------------------------------------------- */

/* What would make no sense, whatever a replay says of it: a store through a variable that
 * was never given a value, an `expect fault=` behind another event than it was written for,
 * and a comparison that fails without the thing compared. */
static bool makes_sense(struct shrink *shrink, const struct shrink_item *items, size_t count) {
    bool sense = true;
    for (size_t i = 0; i < count; i++) {
        shrink->kept[items[i].origin] = 1;
    }
    for (size_t i = 0; i < count && sense; i++) {
        const struct shrink_item *item = &items[i];
        bool stores = item->event.kind == TRACE_WRITE;
        if (stores && item->lifetime != SHRINK_NONE && shrink->kept[item->lifetime] == 0) {
            sense = false;
        }
        if (item->before != SHRINK_NONE) {
            const struct shrink_item *cause = i > 0 ? &items[i - 1] : NULL;
            sense = cause != NULL && cause->origin == item->before &&
                    (cause->lifetime == SHRINK_NONE || shrink->kept[cause->lifetime] != 0);
        }
    }
    if (shrink->failing != SHRINK_NONE && shrink->kept[shrink->failing] == 0) {
        sense = false;
    }
    for (size_t i = 0; i < count; i++) {
        shrink->kept[items[i].origin] = 0;
    }
    return sense;
}

/* Roughly what a replay costs, in events: starting the machine, and filling free memory with
 * comprehensive poisoning's pattern, weigh as much as these. */
#define START_EVENTS 300u
#define PATTERN_BYTES_PER_EVENT 400u

static uint64_t cost_of(const struct trace *candidate) {
    uint64_t cost = START_EVENTS + candidate->event_count;
    if (candidate->config.poisoning == TRACE_POISONING_COMPREHENSIVE) {
        uint64_t bytes = W800_DRAM_END - W800_SRAM_START;
        for (size_t i = 0; i < candidate->event_count; i++) {
            if (candidate->events[i].kind == TRACE_APPEND) {
                bytes += W800_PSRAM_BYTES_MAX;
                break;
            }
        }
        cost += bytes / PATTERN_BYTES_PER_EVENT;
    }
    return cost;
}

static bool replay_candidate(struct shrink *shrink, const struct trace *candidate,
                             struct shrink_failure *failure) {
    struct replay_options options = {.check = REPLAY_CHECK_FULL,
                                     .psram_bytes = REPLAY_PSRAM_AS_TRACED};
    struct replay_result result;
    shrink->replays++;
    shrink->spent += cost_of(candidate);
    if (!replay_run(candidate, &options, &result, shrink->error)) {
        shrink->failed = true;
        return false;
    }
    bool fails = shrink_failure_find(&result, failure);
    replay_result_free(&result);
    return fails;
}

static void adopt(struct shrink *shrink, const struct shrink_item *items, size_t count,
                  const struct shrink_failure *failure) {
    if (failure->event < count) {
        count = failure->event;
    }
    memmove(shrink->items, items, count * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        shrink->items[i].event.caps = shrink->events[i].caps; /* where addresses were moved to */
    }
    shrink->count = count;
    shrink->after = *failure;
}

bool shrink_try(struct shrink *shrink, const struct shrink_item *items, size_t count) {
    struct trace candidate = *shrink->trace;
    struct shrink_failure failure;
    if (shrink->failed || !makes_sense(shrink, items, count)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        shrink->events[i] = items[i].event;
    }
    candidate.events = shrink->events;
    candidate.event_count = count;
    candidate.id_count = shrink->slots;
    if (!addresses_move(shrink, &candidate, items)) {
        shrink->failed = true;
        return false;
    }
    bool alike = replay_candidate(shrink, &candidate, &failure) &&
                 fails_alike(&shrink->failure, &failure) &&
                 (shrink->failing == SHRINK_NONE ||
                  (failure.event <= count && items[failure.event - 1].origin == shrink->failing));
    if (alike) {
        adopt(shrink, items, count, &failure);
    }
    if (shrink->options->on_progress != NULL) {
        shrink->options->on_progress(shrink->options->context,
                                     shrink->events_before - shrink->count, shrink->events_before);
    }
    return alike;
}

/* --- relations -------------------------------------------------------------------------- */

/* Who owned each granule of memory last, by origin + 1: an address is bound to that block
 * whether it still lives or not, so that a double free stays one. Blocks are 8-aligned. */
#define GRANULE_BYTES 8u
#define ONCHIP_GRANULES ((W800_DRAM_END - W800_SRAM_START) / GRANULE_BYTES)
#define GRANULES (ONCHIP_GRANULES + W800_PSRAM_BYTES_MAX / GRANULE_BYTES)

struct owners {
    struct shrink *shrink;
    const struct heap_build *build;
    uint32_t *granules;
};

static uint32_t granule_of(uint32_t address) {
    if (address - W800_SRAM_START < W800_DRAM_END - W800_SRAM_START) {
        return (address - W800_SRAM_START) / GRANULE_BYTES;
    }
    if (address - W800_PSRAM_START < W800_PSRAM_BYTES_MAX) {
        return ONCHIP_GRANULES + (address - W800_PSRAM_START) / GRANULE_BYTES;
    }
    return GRANULES;
}

static bool owner_note(void *context, size_t index, uint32_t pointer) {
    struct owners *owners = context;
    struct shrink_item *item = &owners->shrink->items[index];
    struct wm_heap_block block;
    owners->shrink->pointers[index] = pointer;
    if (workload_names_address(&item->event)) {
        uint32_t granule = granule_of(item->event.caps);
        uint32_t owner = granule < GRANULES ? owners->granules[granule] : 0;
        if (owner != 0) {
            item->bound = owner - 1;
            item->offset = item->event.caps - owners->shrink->pointers[owner - 1];
        }
    }
    if (pointer != 0 && owners->build->get_block(w800_pointer(pointer), &block)) {
        uint32_t first = granule_of(block.address);
        uint32_t count = block.size / GRANULE_BYTES;
        for (uint32_t i = 0; i < count && first + i < GRANULES; i++) {
            owners->granules[first + i] = (uint32_t)index + 1;
        }
    }
    return true;
}

/* A variable's value begins with an allocation and lasts until it is freed. */
static void lifetimes_find(struct shrink *shrink, uint32_t *begun) {
    for (size_t i = 0; i < shrink->count; i++) {
        struct shrink_item *item = &shrink->items[i];
        const struct trace_event *event = &item->event;
        if (event->slot == TRACE_NO_SLOT) {
            continue;
        }
        uint32_t *began = &begun[event->slot];
        bool grows = event->kind == TRACE_REALLOC && *began != SHRINK_NONE;
        if (workload_allocates(event) && !grows) {
            *began = item->origin;
        }
        item->lifetime = *began;
        if (event->kind == TRACE_FREE) {
            *began = SHRINK_NONE;
        }
    }
}

bool shrink_relate(struct shrink *shrink) {
    uint32_t ids = shrink->trace->id_count;
    struct owners owners = {
        .shrink = shrink,
        .build = heap_build_find(shrink->trace->config.tracing, shrink->trace->config.poisoning),
        .granules = calloc(GRANULES, sizeof(uint32_t))};
    uint32_t *begun = malloc((ids + 1u) * sizeof *begun);
    bool good = owners.granules != NULL && begun != NULL;
    if (good) {
        memset(begun, 0xff, (ids + 1u) * sizeof *begun);
        lifetimes_find(shrink, begun);
        struct workload workload = {.trace = shrink->trace,
                                    .psram_bytes = REPLAY_PSRAM_AS_TRACED,
                                    .after = owner_note,
                                    .context = &owners};
        good = workload_run(&workload, shrink->error);
    } else {
        strcpy(shrink->error->text, "out of memory");
    }
    free(owners.granules);
    free(begun);
    return good;
}
