/* SPDX-License-Identifier: Apache-2.0
 *
 * A recorder's events as a trace. Where all events are there, the first-fit rule gives the
 * recorded addresses by itself. Where some are lost, each surviving block is put where the
 * board had it, and everything else is made to fit: what lies in its way was freed unseen,
 * what should have served it was taken by something unseen.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../core/wm_heap_recorder.h"
#include "../core/wm_heap_state.h"
#include "convert_births.h"

struct player {
    struct convert *convert;
    const struct recorder_boot *boot;
    struct firmware *firmware;
    uint32_t *names;                  /* of each recorded name; TRACE_NO_SLOT: not yet */
    const struct recorder_event *old; /* REALLOC_OLD that waits for its NEW */
    struct {
        uint32_t address, name;
    } places[64]; /* resolved callers, kept by address */
    bool over;    /* damage was acted out: a replay ends here */
};

/* --- call sites ----------------------------------------------------------------------- */

static uint32_t name_from_firmware(struct player *player, uint32_t handle) {
    const char *text = player->firmware != NULL ? firmware_string(player->firmware, handle) : NULL;
    return text != NULL ? build_name(player->convert, text) : TRACE_NO_SLOT;
}

static uint32_t name_of(struct player *player, uint32_t handle) {
    const struct recorder_boot *boot = player->boot;
    const char *text = recorder_name(boot, handle);
    if (text == NULL) {
        return handle != 0 ? name_from_firmware(player, handle) : TRACE_NO_SLOT;
    }
    size_t low = 0;
    for (size_t high = boot->name_count; low + 1 < high;) {
        size_t middle = low + (high - low) / 2;
        if (boot->names[middle].handle <= handle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    if (player->names[low] == TRACE_NO_SLOT) {
        player->names[low] = build_name(player->convert, text);
    }
    return player->names[low];
}

/* A site that says nothing (malloc's) gives way to the place that the call returns to. */
static void site_set(struct player *player, const struct recorder_event *event, struct span *span) {
    span->name = event != NULL ? name_of(player, event->site) : TRACE_NO_SLOT;
    span->line = event != NULL ? event->line : 0;
    struct firmware_place place;
    if (event == NULL || player->firmware == NULL || event->caller == 0 || span->line != 0) {
        return;
    }
    if (firmware_locate(player->firmware, event->caller, &place) && place.file[0] != '\0') {
        uint32_t index = event->caller % 64u;
        if (player->places[index].address != event->caller) {
            player->places[index].address = event->caller;
            player->places[index].name = build_name(player->convert, place.file);
        }
        span->name = player->places[index].name;
        span->line = place.line;
    }
}

static void site_put(const struct span *span, struct trace_event *event) {
    if (span->name != TRACE_NO_SLOT) {
        event->has |= TRACE_HAS_SITE;
        event->site = span->name;
        event->site_line = span->line;
    }
}

/* --- one event ------------------------------------------------------------------------ */

/* The board's request failed; here it would not, as blocks are missing. */
static void emit_fail(struct convert *convert) {
    convert->report->forced++;
    build_event(convert,
                &(struct trace_event){.kind = TRACE_FAIL, .slot = TRACE_NO_SLOT, .size = 1});
}

static void play_alloc(struct player *player, const struct recorder_event *event) {
    struct convert *convert = player->convert;
    struct span span = {
        .address = event->pointer - convert->header,
        .want = plan_want(convert, event->size),
        .request = event->size,
        .caps = event->caps,
    };
    site_set(player, event, &span);
    if (event->pointer != 0) {
        plan_place(convert, &span, true);
        return;
    }
    if (event->size != 0 && plan_predict(convert, event->caps, span.want) != 0) {
        emit_fail(convert);
    }
    struct trace_event failed = {
        .kind = TRACE_ALLOC,
        .has = TRACE_HAS_ADDRESS,
        .slot = build_slot(convert),
        .size = event->size,
        .caps = event->caps,
    };
    site_put(&span, &failed);
    build_event(convert, &failed);
}

/* A free of what is no live block's pointer; if the plan thinks that it is, it is wrong. */
static void emit_freeaddr(struct convert *convert, uint32_t pointer) {
    struct span *span = plan_find(convert, pointer - convert->header);
    if (span != NULL) {
        plan_free(convert, span);
    }
    build_event(convert, &(struct trace_event){
                             .kind = TRACE_FREEADDR, .slot = TRACE_NO_SLOT, .caps = pointer});
}

static bool sizes_are_known(const struct player *player, uint32_t pointer) {
    return (player->boot->options & WM_HEAP_RECORDER_SDK) == 0 || pointer < 0x30000000u;
}

/* A pointer that the recorder itself saw to be no live block's is freed by its address. */
static void play_free(struct player *player, const struct recorder_event *event) {
    struct convert *convert = player->convert;
    struct span *span = plan_find(convert, event->pointer - convert->header);
    if (span != NULL && !span->supposed) {
        plan_free(convert, span);
    } else if (event->size == 0 && sizes_are_known(player, event->pointer)) {
        emit_freeaddr(convert, event->pointer);
    }
}

/* A realloc of a block that is there, which comes to lie where first fit wants it. */
static bool realloc_simply(struct player *player, const struct recorder_event *event,
                           struct span *old, struct span *span) {
    struct convert *convert = player->convert;
    struct trace_event emitted = {
        .kind = TRACE_REALLOC,
        .has = TRACE_HAS_ADDRESS,
        .slot = old->slot,
        .size = event->size,
        .caps = event->caps,
        .address = event->pointer,
    };
    uint32_t caps = event->caps != 0 ? event->caps : old->caps;
    uint32_t predicted = event->size != 0 ? plan_predict(convert, caps, span->want) : 0;
    uint32_t resized = event->size != 0 && convert->trace->config.realloc_in_place
                           ? plan_resized(convert, old, caps, span->want)
                           : 0;
    bool stays = event->pointer != 0 && resized != 0;
    if (stays ? span->address != old->address
              : event->pointer != 0 && (predicted == 0 || span->address != predicted)) {
        return false;
    }
    if (event->pointer == 0 && (predicted | resized) != 0) {
        emit_fail(convert);
    }
    site_put(span, &emitted);
    build_event(convert, &emitted);
    span->slot = old->slot;
    span->caps = caps;
    span->size = stays                 ? resized
                 : event->pointer != 0 ? plan_size(convert, span->address, span->want)
                                       : 0;
    if (event->pointer != 0 || event->size == 0) {
        plan_remove(convert, old);
    }
    if (event->pointer != 0) {
        plan_add(convert, span);
    }
    return true;
}

/* The second half of a realloc; what the first half knew, if it is there. */
static void play_realloc(struct player *player, const struct recorder_event *event) {
    struct convert *convert = player->convert;
    uint32_t old_pointer = event->site;
    const struct recorder_event *first = player->old;
    player->old = NULL;
    if (first != NULL && first->pointer != old_pointer) {
        first = NULL;
    }
    struct span span = {
        .address = event->pointer - convert->header,
        .want = plan_want(convert, event->size),
        .request = event->size,
        .caps = event->caps,
    };
    site_set(player, first, &span);
    struct span *old = plan_find(convert, old_pointer - convert->header);
    if (old != NULL && old->supposed) {
        old = NULL;
    }
    if (old != NULL && realloc_simply(player, event, old, &span)) {
        return;
    }
    if (old == NULL && event->pointer == 0) { /* of a bad pointer, or of a block nobody saw */
        if (first != NULL && first->size == 0 && sizes_are_known(player, old_pointer)) {
            emit_freeaddr(convert, old_pointer);
        }
        return;
    }
    if (old != NULL && event->pointer == old_pointer) { /* resized in place */
        span.caps = event->caps != 0 ? event->caps : old->caps;
        plan_free(convert, old);
        old = NULL;
    }
    plan_place(convert, &span, true);
    old = old_pointer != event->pointer ? plan_find(convert, old_pointer - convert->header) : NULL;
    if (old != NULL && !old->supposed) {
        plan_free(convert, old);
    }
}

static void play_append(struct player *player, const struct recorder_event *event) {
    struct convert *convert = player->convert;
    for (uint32_t i = 0; event->pointer != 0 && i < convert->area_count; i++) {
        plan_open(convert, &convert->areas[i]); /* only one region ever waits */
    }
}

static void play(struct player *player, const struct recorder_event *event) {
    player->convert->report->events++;
    switch (event->kind) {
    case WM_HEAP_RECORD_ALLOC:
        play_alloc(player, event);
        break;
    case WM_HEAP_RECORD_FREE:
        play_free(player, event);
        break;
    case WM_HEAP_RECORD_REALLOC_OLD:
        player->old = event;
        break;
    case WM_HEAP_RECORD_REALLOC_NEW:
        play_realloc(player, event);
        break;
    case WM_HEAP_RECORD_APPEND:
        play_append(player, event);
        break;
    default:
        break;
    }
}

/* --- the fault ------------------------------------------------------------------------ */

static bool is_damage(const struct recorder_fault *fault) {
    return fault->known && fault->kind >= WM_HEAP_FAULT_SMASHED_HEADER &&
           fault->kind < WM_HEAP_FAULT_KINDS;
}

/* Puts a block where the fault says that one was, if all that told of it is lost. */
static void fault_block(struct player *player, uint32_t want, uint32_t request) {
    struct convert *convert = player->convert;
    const struct recorder_fault *fault = &player->boot->fault;
    build_comment(convert, "of the block at 0x%08" PRIx32 " the allocation is lost, or its size",
                  fault->block + convert->header);
    struct span *there = plan_find(convert, fault->block);
    struct span span = {.address = fault->block, .want = want, .request = request};
    span.name = there != NULL ? there->name : TRACE_NO_SLOT;
    span.line = there != NULL ? there->line : 0;
    if (there != NULL) {
        plan_free(convert, there);
    } else {
        convert->report->supposed++;
    }
    plan_place(convert, &span, false);
}

/* A guard is where the request ends, which only an intact alloc event tells. */
static void fault_guard(struct player *player) {
    struct convert *convert = player->convert;
    const struct recorder_fault *fault = &player->boot->fault;
    const struct span *span = plan_find(convert, fault->block);
    uint32_t request = fault->address - fault->block - convert->header;
    uint32_t holds = span == NULL ? UINT32_MAX : span->want - convert->header - convert->guard;
    if (span != NULL && span->request != 0 && plan_want(convert, span->request) == span->want) {
        holds = span->request;
    }
    bool outside = span != NULL && fault->address - fault->block >= span->size;
    if ((request < holds || outside) && request != 0) {
        fault_block(player, plan_want(convert, request), request);
    }
}

/* The heap as the fault needs it, whatever was lost: a block where it found one, a hole where
 * it found one. */
static void fault_prepare(struct player *player) {
    struct convert *convert = player->convert;
    const struct recorder_fault *fault = &player->boot->fault;
    uint32_t pointer = fault->pointer;
    switch (fault->kind) {
    case WM_HEAP_FAULT_DOUBLE_FREE:
        if (plan_cover(convert, pointer) != NULL) {
            convert->report->stale += !plan_cover(convert, pointer)->supposed;
            plan_free(convert, plan_cover(convert, pointer));
        }
        break;
    case WM_HEAP_FAULT_INTERIOR_POINTER:
        if (plan_find(convert, fault->block) == NULL ||
            plan_cover(convert, pointer) != plan_find(convert, fault->block)) {
            uint32_t want = pointer - fault->block + 8u;
            fault_block(player, want < convert->smallest ? convert->smallest : want, 0);
        }
        break;
    case WM_HEAP_FAULT_OVERFLOW:
        fault_guard(player);
        break;
    case WM_HEAP_FAULT_SMASHED_HEADER:
    case WM_HEAP_FAULT_UNDERFLOW:
        if (plan_find(convert, fault->block) == NULL && plan_area(convert, fault->block) != NULL) {
            fault_block(player, convert->smallest, 0);
        }
        break;
    case WM_HEAP_FAULT_SMASHED_FREE_BLOCK:
        plan_hole(convert, fault->block);
        break;
    case WM_HEAP_FAULT_USE_AFTER_FREE:
        if (plan_cover(convert, fault->address) != NULL) {
            plan_free(convert, plan_cover(convert, fault->address));
        }
        break;
    default:
        break;
    }
}

/* The bytes that the board found, where it found them. */
static void damage_act(struct player *player) {
    struct convert *convert = player->convert;
    const struct recorder_fault *fault = &player->boot->fault;
    if (fault->memory_length != 0) {
        build_comment(convert, "what a stray write left at 0x%08" PRIx32, fault->memory_address);
        build_bytes(convert, fault->memory_address, fault->memory, fault->memory_length);
        return;
    }
    build_comment(convert, "of the bytes at 0x%08" PRIx32 " only a word is known", fault->address);
    uint8_t bytes[4] = {(uint8_t)fault->actual, (uint8_t)(fault->actual >> 8),
                        (uint8_t)(fault->actual >> 16), (uint8_t)(fault->actual >> 24)};
    switch (fault->kind) {
    case WM_HEAP_FAULT_OVERFLOW:
        build_bytes(convert, fault->address, bytes, 1);
        break;
    case WM_HEAP_FAULT_UNDERFLOW:
    case WM_HEAP_FAULT_USE_AFTER_FREE:
        build_bytes(convert, fault->address, bytes, 4);
        break;
    default: /* of a header; any other value will do */
        bytes[0] = 0x41;
        build_bytes(convert, fault->block, bytes, 1);
        break;
    }
}

/* The call that met the fault did not survive. */
static void fault_call(struct player *player) {
    struct convert *convert = player->convert;
    const struct recorder_fault *fault = &player->boot->fault;
    struct span *span = plan_find(convert, fault->pointer - convert->header);
    build_comment(convert, "the call that met the fault is lost");
    if (is_damage(fault) && (fault->pointer == 0 || span == NULL)) {
        build_event(convert, &(struct trace_event){.kind = TRACE_CHECK,
                                                   .slot = TRACE_NO_SLOT,
                                                   .extra = TRACE_NO_SLOT});
    } else if (span != NULL && is_damage(fault)) {
        plan_free(convert, span);
    } else if (fault->pointer != 0) {
        emit_freeaddr(convert, fault->pointer);
    }
}

/* Which event met the fault: a free is recorded before the heap sees it, an allocation after.
 * The index of the event itself, or of the first one behind its place. */
static size_t fault_index(const struct recorder_boot *boot, bool *found) {
    *found = false;
    if (!boot->fault.known) {
        return SIZE_MAX;
    }
    size_t i = 0;
    while (i < boot->event_count && (uint64_t)boot->events[i].number + 1 < boot->fault.total) {
        i++;
    }
    if (i < boot->event_count && boot->events[i].number + 1 == boot->fault.total) {
        bool before = boot->events[i].kind == WM_HEAP_RECORD_FREE ||
                      boot->events[i].kind == WM_HEAP_RECORD_REALLOC_OLD;
        if (boot->events[i].kind == WM_HEAP_RECORD_FREE) {
            *found = true;
            return i;
        }
        i++;
        if (before) { /* a realloc: its second half */
            *found = i < boot->event_count && boot->events[i].number == boot->fault.total;
            return i;
        }
    }
    *found = i < boot->event_count && boot->events[i].number == boot->fault.total;
    return i;
}

/* The event that met the fault; NULL: it is lost. */
static void play_fault(struct player *player, const struct recorder_event *event) {
    fault_prepare(player);
    if (is_damage(&player->boot->fault)) {
        damage_act(player);
    }
    if (event != NULL) {
        play(player, event);
    } else {
        fault_call(player);
    }
    if (is_damage(&player->boot->fault) && player->convert->report->lost != 0) {
        build_event(player->convert, /* in case that call does not meet it here */
                    &(struct trace_event){
                        .kind = TRACE_CHECK, .slot = TRACE_NO_SLOT, .extra = TRACE_NO_SLOT});
    }
}

/* --- all of them ---------------------------------------------------------------------- */

static void say_gap(struct player *player, size_t index) {
    const struct recorder_event *events = player->boot->events;
    uint32_t expected = index == 0 ? 0 : events[index - 1].number + 1;
    uint32_t number = events[index].number;
    if (number > expected) {
        player->convert->report->lost += number - expected;
        player->old = NULL;
        build_comment(player->convert,
                      index == 0 ? "events %" PRIu32 " to %" PRIu32 " were overwritten or are lost"
                                 : "events %" PRIu32 " to %" PRIu32 " are lost",
                      expected, number - 1);
    }
}

/* The blocks whose allocations nobody saw, at the time at which they can have come. */
static size_t play_births(struct player *player, const struct births *births, size_t next,
                          size_t index) {
    struct convert *convert = player->convert;
    size_t end = next;
    while (end < births->count && births->list[end].at <= index) {
        struct birth *birth = &births->list[end++];
        birth->span.name = name_of(player, birth->site);
    }
    if (index > 0 || next > 0) {
        for (; next < end; next++) {
            plan_place(convert, &births->list[next].span, false);
        }
        return end;
    }
    for (uint32_t i = 0; i < convert->area_count; i++) {
        struct span *wanted = malloc((end + 1) * sizeof *wanted);
        size_t count = 0;
        for (size_t k = 0; wanted != NULL && k < end; k++) {
            if (plan_area(convert, births->list[k].span.address) == &convert->areas[i]) {
                wanted[count++] = births->list[k].span;
            }
        }
        if (wanted == NULL) {
            convert->failed = true;
            return end;
        }
        plan_build(convert, &convert->areas[i], wanted, count);
        free(wanted);
    }
    convert->report->blocks += end;
    return end;
}

static void play_all(struct player *player, const struct births *births) {
    const struct recorder_boot *boot = player->boot;
    bool found;
    size_t faulty = fault_index(boot, &found);
    size_t born = 0;
    for (size_t i = 0; i <= boot->event_count && !player->convert->failed; i++) {
        if (player->over) {
            player->convert->report->after_fault = boot->event_count - i;
            return;
        }
        if (i < boot->event_count) {
            say_gap(player, i);
        }
        born = play_births(player, births, born, i);
        if (i == faulty) {
            play_fault(player, found ? &boot->events[i] : NULL);
            player->over = is_damage(&boot->fault);
        } else if (i < boot->event_count) {
            play(player, &boot->events[i]);
        }
    }
}

static void say_report(struct player *player) {
    struct convert *convert = player->convert;
    const struct convert_report *report = convert->report;
    const struct recorder_boot *boot = player->boot;
    uint32_t last = boot->event_count > 0 ? boot->events[boot->event_count - 1].number + 1 : 0;
    if (boot->total > last) {
        convert->report->lost += boot->total - last;
        build_comment(convert, "events %" PRIu32 " to %" PRIu32 " are lost", last, boot->total - 1);
    }
    build_comment(convert,
                  "%" PRIu64 " recorded events, %" PRIu64 " lost; %" PRIu64 " lines, %" PRIu64
                  " lost (%" PRIu64 " of them arrived damaged)",
                  report->events, report->lost, report->lines, report->lines_lost, report->damaged);
    if (report->supposed + report->stale + report->forced + report->unplaced + report->inexact !=
        0) {
        build_comment(convert,
                      "so that the rest lies where it lay: %" PRIu64 " blocks supposed, %" PRIu64
                      " freed, %" PRIu64 " failures forced; %" PRIu64 " blocks of another size, "
                      "%" PRIu64 " left out",
                      report->supposed, report->stale, report->forced, report->inexact,
                      report->unplaced);
    }
    if (report->after_fault != 0) {
        build_comment(convert, "%" PRIu64 " events after the damage are left out",
                      report->after_fault);
    }
}

/* What lies in memory as the trace format wants it; the rest is a firmware's mistake. */
static bool region_is_possible(const struct trace_region *region, uint32_t index) {
    static const char *const names[] = {"SRAM", "DRAM", "PSRAM"};
    return index < 3 && strcmp(region->name, names[index]) == 0 &&
           image_region_of(region->start) == (int)index && region->end > region->start + 64 &&
           image_region_of(region->end - 1) == (int)index && (!region->deferred || index == 2);
}

static bool header_take(const struct recorder_boot *boot, struct trace *trace, char *error,
                        size_t error_size) {
    uint32_t options = boot->options;
    trace->config.tracing = (options & WM_HEAP_OPTION_TRACING) != 0;
    trace->config.realloc_in_place = (options & WM_HEAP_OPTION_REALLOC_IN_PLACE) != 0;
    trace->config.poisoning = (options & WM_HEAP_OPTION_COMPREHENSIVE) != 0
                                  ? TRACE_POISONING_COMPREHENSIVE
                              : (options & WM_HEAP_OPTION_LIGHT) != 0 ? TRACE_POISONING_LIGHT
                                                                      : TRACE_POISONING_NONE;
    for (uint32_t i = 0; i < TRACE_REGIONS_MAX; i++) {
        if (boot->region_known[i] && region_is_possible(&boot->regions[i], i)) {
            trace->regions[trace->region_count++] = boot->regions[i];
        }
    }
    if (!boot->has_header || trace->region_count == 0) {
        snprintf(error, error_size,
                 "the recorder's table of regions is lost, with %" PRIu64 " lines of %" PRIu64,
                 boot->lines_lost, boot->lines_lost + boot->lines);
        return false;
    }
    return true;
}

bool convert_recording(const struct recorder_boot *boot, struct firmware *firmware,
                       struct trace *trace, struct convert_report *report, char *error,
                       size_t error_size) {
    struct convert convert = {.trace = trace, .report = report};
    struct player player = {.convert = &convert, .boot = boot, .firmware = firmware};
    *trace = (struct trace){0};
    report->lines = boot->lines;
    report->lines_lost = boot->lines_lost;
    report->damaged = boot->damaged;
    report->has_fault = boot->fault.known;
    if (!header_take(boot, trace, error, error_size)) {
        return false;
    }
    plan_begin(&convert);
    convert.budget += 50u * (uint64_t)boot->event_count;
    player.names = malloc((boot->name_count + 1) * sizeof *player.names);
    struct births births = {0};
    if (player.names != NULL && births_find(&births, &convert, boot)) {
        memset(player.names, 0xff, (boot->name_count + 1) * sizeof *player.names);
        play_all(&player, &births);
        say_report(&player);
    } else {
        convert.failed = true;
    }
    free(births.list);
    free(player.names);
    plan_end(&convert);
    if (convert.failed) {
        snprintf(error, error_size, "out of memory");
        trace_free(trace);
    }
    return !convert.failed;
}
