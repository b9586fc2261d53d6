/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of shrinking, its beginning (what fails?) and its end (a trace again).
 */
#include "shrink.h"

#include <stdlib.h>
#include <string.h>

#include "shrink_internal.h"
#include "workload.h"

/* Work is counted in events replayed, about five million a second. The first pass must not
 * spend all of it: where it gets nowhere, something else may. */
#define LIMIT_FIRST(events) (500000u + 100u * (uint64_t)(events))
#define LIMIT_PASSES(events) (LIMIT_FIRST(events) + 20000000u)
#define LIMIT_NUMBERS(events) (LIMIT_FIRST(events) + 25000000u)

#define FEW_EVENTS 20u     /* a person sees them all at once */
#define MANY_EVENTS 50000u /* a replay of these takes a while */

/* --- the beginning ---------------------------------------------------------------------- */

static enum shrink_outcome first_replay(struct shrink *shrink) {
    struct replay_options options = {.check = REPLAY_CHECK_FULL,
                                     .psram_bytes = REPLAY_PSRAM_AS_TRACED};
    struct replay_result result;
    if (!replay_run(shrink->trace, &options, &result, shrink->error)) {
        return SHRINK_UNUSABLE;
    }
    shrink->replays = 1;
    bool fails = shrink_failure_find(&result, &shrink->failure);
    replay_result_free(&result);
    return fails ? SHRINK_DONE : SHRINK_NOTHING;
}

static bool reserve(struct shrink *shrink) {
    size_t room = shrink->trace->event_count + 1;
    shrink->room = room;
    shrink->origins_room = (uint32_t)(3 * room + 1024);
    shrink->items = calloc(room, sizeof *shrink->items);
    shrink->scratch = calloc(room, sizeof *shrink->scratch);
    shrink->events = calloc(room, sizeof *shrink->events);
    shrink->pointers = calloc(shrink->origins_room, sizeof *shrink->pointers);
    shrink->kept = calloc(shrink->origins_room, sizeof *shrink->kept);
    if (shrink->items != NULL && shrink->scratch != NULL && shrink->events != NULL &&
        shrink->pointers != NULL && shrink->kept != NULL) {
        return true;
    }
    strcpy(shrink->error->text, "out of memory");
    return false;
}

static bool is_traced(const struct shrink_failure *failure) {
    return failure->mismatch && strcmp(failure->judge, "trace") == 0;
}

static void items_begin(struct shrink *shrink) {
    const struct trace *trace = shrink->trace;
    for (size_t i = 0; i < trace->event_count; i++) {
        shrink->items[i] = (struct shrink_item){.event = trace->events[i],
                                                .origin = (uint32_t)i,
                                                .lifetime = SHRINK_NONE,
                                                .bound = SHRINK_NONE,
                                                .before = SHRINK_NONE};
        if (i > 0 && (trace->events[i].has & TRACE_HAS_FAULT) != 0) {
            shrink->items[i].before = (uint32_t)i - 1;
        }
    }
    shrink->count = trace->event_count;
    shrink->origins = (uint32_t)trace->event_count;
    shrink->slots = trace->id_count;
    shrink->failing =
        is_traced(&shrink->failure) ? (uint32_t)shrink->failure.event - 1 : SHRINK_NONE;
}

/* Leaves of what the events expect only what fails, and that a fault comes: a fault that is
 * expected is not what fails. */
static size_t strip(const struct shrink *shrink, struct shrink_item *items) {
    size_t count = 0;
    for (size_t i = 0; i < shrink->count; i++) {
        struct shrink_item item = shrink->items[i];
        struct trace_event *event = &item.event;
        if (item.origin != shrink->failing) {
            event->has &= (uint8_t) ~(TRACE_HAS_ADDRESS | TRACE_HAS_FREE | TRACE_HAS_MIN_FREE);
            event->address = 0;
            if (event->kind == TRACE_EXPECT) {
                event->size = 0;
                event->caps = 0;
            }
        }
        if (event->kind != TRACE_EXPECT || event->has != 0) {
            items[count++] = item;
        }
    }
    return count;
}

/* Of an `expect free= min_free= fault=` only the key that fails first. */
static void strip_failing(const struct shrink *shrink, struct shrink_item *items, size_t count) {
    static const struct {
        const char *what;
        uint8_t has;
    } keys[] = {
        {"free", TRACE_HAS_FREE}, {"min_free", TRACE_HAS_MIN_FREE}, {"fault", TRACE_HAS_FAULT}};
    for (size_t i = 0; i < count; i++) {
        struct trace_event *event = &items[i].event;
        if (items[i].origin != shrink->failing || event->kind != TRACE_EXPECT) {
            continue;
        }
        for (size_t key = 0; key < sizeof keys / sizeof keys[0]; key++) {
            if (strcmp(shrink->failure.what, keys[key].what) == 0 &&
                (event->has & TRACE_HAS_FAULT) == 0) {
                event->has &= keys[key].has;
            }
        }
        event->size = (event->has & TRACE_HAS_FREE) != 0 ? event->size : 0;
        event->caps = (event->has & TRACE_HAS_MIN_FREE) != 0 ? event->caps : 0;
    }
}

/* --- the order of it all ---------------------------------------------------------------- */

/* The checks of a replay find damage wherever the trace ends: often long before the board
 * noticed. So a shorter beginning may fail the same way. */
static void shorten(struct shrink *shrink) {
    size_t high = shrink->count;
    for (size_t low = 0; low + 1 < high && shrink_may_go_on(shrink);) {
        size_t middle = low + (high - low) / 2;
        if (shrink_try(shrink, shrink->items, middle)) {
            high = shrink->count;
        } else {
            low = middle;
        }
    }
}

/* 8 MiB more of memory cost more than thousands of events. */
static void without_appends(struct shrink *shrink) {
    size_t count = 0;
    for (size_t i = 0; i < shrink->count; i++) {
        if (shrink->items[i].event.kind != TRACE_APPEND) {
            shrink->scratch[count++] = shrink->items[i];
        }
    }
    if (count < shrink->count) {
        shrink_try(shrink, shrink->scratch, count);
    }
}

static void passes(struct shrink *shrink, uint64_t limit) {
    shrink->limit = limit;
    shrink_lifetimes(shrink);
    shrink_events(shrink);
}

static void reduce(struct shrink *shrink) {
    size_t events = shrink->events_before;
    shrink->limit = LIMIT_FIRST(events);
    shorten(shrink);
    without_appends(shrink);
    /* where each block has its place nothing can just go; and a long past is long to replay */
    if (is_traced(&shrink->failure) || shrink->count > MANY_EVENTS) {
        shrink_rebuild(shrink);
    }
    passes(shrink, LIMIT_FIRST(events));
    for (int round = 0; round < 2 && shrink->count > FEW_EVENTS; round++) {
        shrink->limit = LIMIT_PASSES(events);
        shrink_rebuild(shrink);
        passes(shrink, LIMIT_PASSES(events));
    }
    shrink->limit = LIMIT_NUMBERS(events);
    for (int round = 0; round < 3 && shrink_numbers(shrink); round++) {
        shrink_events(shrink);
    }
}

/* --- the end ---------------------------------------------------------------------------- */

/* Comments go on standing where their event went; those of events that are gone go too. */
static void comments_follow(const struct shrink *shrink, uint32_t *place_of) {
    struct trace *trace = shrink->trace;
    uint32_t first = 2 + trace->region_count;
    size_t kept = 0;
    memset(place_of, 0xff, shrink->events_before * sizeof *place_of);
    for (size_t i = 0; i < shrink->count; i++) {
        if (shrink->items[i].origin < shrink->events_before) {
            place_of[shrink->items[i].origin] = first + (uint32_t)i;
        }
    }
    for (size_t i = 0; i < trace->comment_count; i++) {
        struct trace_comment comment = trace->comments[i];
        if (comment.place >= first) {
            uint32_t origin = comment.place - first;
            comment.place = origin < shrink->events_before ? place_of[origin] : SHRINK_NONE;
        }
        if (comment.place != SHRINK_NONE) {
            trace->comments[kept++] = comment;
        }
    }
    trace->comment_count = kept;
}

/* IDs from 1 in the order of their use. */
static bool finish(struct shrink *shrink) {
    struct trace *trace = shrink->trace;
    uint32_t *ids = malloc((shrink->count + 1) * sizeof *ids);
    uint32_t *number = malloc((shrink->slots + 1u) * sizeof *number);
    uint32_t *place_of = malloc((shrink->events_before + 1) * sizeof *place_of);
    bool good = ids != NULL && number != NULL && place_of != NULL;
    if (good) {
        uint32_t used = 0;
        memset(number, 0xff, shrink->slots * sizeof *number);
        for (size_t i = 0; i < shrink->count; i++) {
            struct trace_event *event = &shrink->items[i].event;
            if (event->slot != TRACE_NO_SLOT) {
                if (number[event->slot] == SHRINK_NONE) {
                    number[event->slot] = used++;
                    ids[used - 1] = used;
                }
                event->slot = number[event->slot];
            }
            event->line_number = 0; /* it stands in no file yet */
            trace->events[i] = *event;
        }
        comments_follow(shrink, place_of);
        trace->event_count = shrink->count;
        trace->id_count = used;
        free(trace->ids);
        trace->ids = ids;
    } else {
        free(ids);
        strcpy(shrink->error->text, "out of memory");
    }
    free(number);
    free(place_of);
    return good;
}

static bool shrink_all(struct shrink *shrink) {
    items_begin(shrink);
    if (!shrink_relate(shrink)) {
        return false;
    }
    shrink->limit = UINT64_MAX;
    size_t count = strip(shrink, shrink->scratch);
    strip_failing(shrink, shrink->scratch, count);
    if (!shrink_try(shrink, shrink->scratch, count)) {
        /* it is the expectations themselves that stand in each other's way: all stay */
        shrink_try(shrink, shrink->items, shrink->count);
    }
    if (!shrink->failed) {
        reduce(shrink);
    }
    return !shrink->failed && finish(shrink);
}

enum shrink_outcome shrink_trace(struct trace *trace, const struct shrink_options *options,
                                 struct shrink_report *report, struct trace_error *error) {
    struct shrink shrink = {
        .trace = trace, .options = options, .events_before = trace->event_count, .error = error};
    enum shrink_outcome outcome = first_replay(&shrink);
    if (outcome == SHRINK_DONE && (!reserve(&shrink) || !shrink_all(&shrink))) {
        outcome = SHRINK_UNUSABLE;
    }
    *report = (struct shrink_report){.events_before = shrink.events_before,
                                     .events_after = shrink.count,
                                     .replays = shrink.replays,
                                     .failure = shrink.failure,
                                     .after = shrink.after};
    free(shrink.items);
    free(shrink.scratch);
    free(shrink.events);
    free(shrink.pointers);
    free(shrink.kept);
    return outcome;
}
