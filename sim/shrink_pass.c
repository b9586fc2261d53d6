/* SPDX-License-Identifier: Apache-2.0
 *
 * Making candidates smaller. Events: delta debugging, that is, leave out ever smaller chunks
 * as long as the rest still fails. The first pass leaves out whole lifetimes of variables,
 * an allocation together with all that is done through it: half an allocation's events
 * rarely make sense without the other half. Numbers: bisection towards the smallest.
 */
#include <stdlib.h>
#include <string.h>

#include "shrink_internal.h"
#include "workload.h"

/* --- events ----------------------------------------------------------------------------- */

/* Numbers the units from 0 in the order in which they first appear; returns how many. */
static uint32_t units_number(struct shrink *shrink, uint32_t *numbers) {
    uint32_t units = 0;
    for (size_t i = 0; i < shrink->count; i++) {
        numbers[shrink->items[i].unit] = SHRINK_NONE;
    }
    for (size_t i = 0; i < shrink->count; i++) {
        uint32_t *number = &numbers[shrink->items[i].unit];
        if (*number == SHRINK_NONE) {
            *number = units++;
        }
        shrink->items[i].unit = *number;
    }
    return units;
}

/* Tries without the units from `first` to before `end`. */
static bool without_units(struct shrink *shrink, uint32_t first, uint32_t end) {
    size_t count = 0;
    for (size_t i = 0; i < shrink->count; i++) {
        const struct shrink_item *item = &shrink->items[i];
        if (item->unit < first || item->unit >= end) {
            shrink->scratch[count++] = *item;
        }
    }
    return count < shrink->count && count > 0 && shrink_try(shrink, shrink->scratch, count);
}

/* One pass with chunks of this many units, from the end, where removal moves least. */
static bool pass(struct shrink *shrink, uint32_t units, uint32_t chunk) {
    bool any = false;
    for (uint32_t end = units; end > 0 && shrink_may_go_on(shrink);) {
        uint32_t first = end > chunk ? end - chunk : 0;
        any |= without_units(shrink, first, end);
        end = first;
    }
    return any;
}

static void reduce(struct shrink *shrink) {
    uint32_t *numbers = malloc(shrink->origins * sizeof *numbers);
    if (numbers == NULL) {
        shrink->failed = true;
        strcpy(shrink->error->text, "out of memory");
        return;
    }
    uint32_t units = units_number(shrink, numbers);
    uint32_t chunk = units;
    while (shrink_may_go_on(shrink)) {
        chunk = chunk > 1 ? chunk / 2 : 1;
        bool any = pass(shrink, units, chunk);
        units = units_number(shrink, numbers);
        if (chunk == 1 && !any) {
            break;
        }
        chunk = chunk > units ? units : chunk;
    }
    free(numbers);
}

/* An `expect fault=` goes with the event that it looks at, and only with it. */
static void unit_with_cause(struct shrink_item *items, size_t i) {
    if (items[i].before != SHRINK_NONE && i > 0) {
        items[i].unit = items[i - 1].unit;
    }
}

void shrink_events(struct shrink *shrink) {
    for (size_t i = 0; i < shrink->count; i++) {
        shrink->items[i].unit = shrink->items[i].origin;
        unit_with_cause(shrink->items, i);
    }
    reduce(shrink);
}

void shrink_lifetimes(struct shrink *shrink) {
    uint32_t transfers[TRACE_DMA_MASTERS];
    memset(transfers, 0xff, sizeof transfers);
    for (size_t i = 0; i < shrink->count; i++) {
        struct shrink_item *item = &shrink->items[i];
        item->unit = item->lifetime != SHRINK_NONE ? item->lifetime
                     : item->bound != SHRINK_NONE  ? item->bound
                                                   : item->origin;
        if (item->event.kind == TRACE_DMA) {
            uint32_t *started = &transfers[item->event.extra];
            if ((item->event.has & TRACE_HAS_STOP) == 0) {
                *started = item->unit;
            } else if (*started != SHRINK_NONE) {
                item->unit = *started;
            }
        }
        unit_with_cause(shrink->items, i);
    }
    reduce(shrink);
}

/* --- numbers ---------------------------------------------------------------------------- */

/* A number of an event that may become smaller. 0 bytes are another thing than a few, and
 * transfers on PSRAM have lengths that are multiples of 4. */
enum number { NUMBER_SIZE, NUMBER_COUNT, NUMBER_OFFSET, NUMBERS };

static uint32_t *number_of(struct trace_event *event, enum number which) {
    switch (which) {
    case NUMBER_SIZE:
        return &event->size;
    case NUMBER_COUNT:
        return &event->extra;
    default:
        return &event->caps;
    }
}

static uint32_t number_step(const struct trace_event *event, enum number which) {
    return event->kind == TRACE_DMA && which == NUMBER_SIZE ? 4 : 1;
}

static bool number_may_shrink(const struct trace_event *event, enum number which) {
    switch (which) {
    case NUMBER_SIZE:
        return event->kind != TRACE_EXPECT && event->size > number_step(event, which);
    case NUMBER_COUNT:
        return event->kind == TRACE_CALLOC && event->extra > 1;
    default: /* a negative offset stays: it says before what it stores */
        return event->kind == TRACE_WRITE && (int32_t)event->caps > 0;
    }
}

static bool number_try(struct shrink *shrink, size_t index, enum number which, uint32_t value) {
    memcpy(shrink->scratch, shrink->items, shrink->count * sizeof *shrink->items);
    *number_of(&shrink->scratch[index].event, which) = value;
    return shrink_try(shrink, shrink->scratch, shrink->count);
}

/* The smallest first, then halfway between what failed to fail and what fails. */
static bool number_reduce(struct shrink *shrink, size_t index, enum number which) {
    struct trace_event *event = &shrink->items[index].event;
    uint32_t step = number_step(event, which);
    uint32_t least = which == NUMBER_OFFSET ? 0 : step;
    uint32_t high = *number_of(event, which);
    if (number_try(shrink, index, which, least)) {
        return true;
    }
    bool any = false;
    for (uint32_t low = least; high - low > step && shrink_may_go_on(shrink);) {
        uint32_t middle = low + (high - low) / 2 / step * step;
        if (index < shrink->count && number_try(shrink, index, which, middle)) {
            high = middle;
            any = true;
        } else {
            low = middle;
        }
    }
    return any;
}

/* --- a block and the store past its end, together ----------------------------------------- */

static bool pair_try(struct shrink *shrink, size_t block, size_t store, enum number which,
                     uint32_t less) {
    memcpy(shrink->scratch, shrink->items, shrink->count * sizeof *shrink->items);
    shrink->scratch[block].event.size -= less;
    *number_of(&shrink->scratch[store].event, which) -= less;
    return shrink_try(shrink, shrink->scratch, shrink->count);
}

/* By multiples of 8 first, the blocks' own step: then the store keeps its distance from the
 * block's end exactly. */
static bool pair_reduce(struct shrink *shrink, size_t block, size_t store, enum number which) {
    const struct trace_event *write = &shrink->items[store].event;
    uint32_t most = shrink->items[block].event.size - 1;
    uint32_t value = *number_of(&shrink->items[store].event, which);
    uint32_t least = which == NUMBER_SIZE ? 1 : 0;
    if (write->kind != TRACE_WRITE || (int32_t)write->caps < 0 || value <= least) {
        return false;
    }
    most = value - least < most ? value - least : most;
    bool any = false;
    for (uint32_t low = 0, high = most / 8; low < high && shrink_may_go_on(shrink);) {
        uint32_t middle = high - (high - low) / 2;
        if (store < shrink->count && pair_try(shrink, block, store, which, 8 * middle)) {
            any = true;
            high -= middle; /* the block is smaller now by what went */
            low = 0;
        } else {
            high = middle - 1;
        }
    }
    return any;
}

static bool pairs_reduce(struct shrink *shrink) {
    bool any = false;
    for (size_t store = 0; store < shrink->count; store++) {
        if (shrink->items[store].event.kind != TRACE_WRITE) {
            continue;
        }
        for (size_t block = 0; block < store && store < shrink->count; block++) {
            const struct shrink_item *item = &shrink->items[block];
            if (item->origin == shrink->items[store].lifetime && item->event.size > 8) {
                any |= pair_reduce(shrink, block, store, NUMBER_OFFSET);
                any |= store < shrink->count && pair_reduce(shrink, block, store, NUMBER_SIZE);
            }
        }
    }
    return any;
}

bool shrink_numbers(struct shrink *shrink) {
    bool any = pairs_reduce(shrink);
    for (size_t i = 0; i < shrink->count && shrink_may_go_on(shrink); i++) {
        for (enum number which = NUMBER_SIZE; which < NUMBERS; which++) {
            if (i < shrink->count && number_may_shrink(&shrink->items[i].event, which)) {
                any |= number_reduce(shrink, i, which);
            }
        }
    }
    return any;
}
