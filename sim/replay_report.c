/* SPDX-License-Identifier: Apache-2.0
 *
 * Findings of a replay: what was seen, kept so that it can be told after the machine has
 * stopped.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay_internal.h"

/* The user's pointer that a fault is about, else the place. */
static uint32_t fault_address(const struct replay *replay, const struct wm_heap_fault *fault) {
    if (fault->pointer != 0) {
        return fault->pointer;
    }
    return fault->block != 0 ? fault->block + replay->build->header_size : fault->address;
}

/* Where the trace allocated what stands at `pointer` now: a smashed header cannot tell.
 * Looks for the variable that holds the pointer, then for its latest allocation. */
static const struct trace_event *trace_origin(const struct replay *replay, uint32_t pointer) {
    const struct trace *trace = replay->trace;
    uint32_t slot = 0;
    while (slot < trace->id_count && replay->pointers[slot] != pointer) {
        slot++;
    }
    size_t last = replay->index < trace->event_count ? replay->index + 1 : trace->event_count;
    for (size_t i = last; slot < trace->id_count && i-- > 0;) {
        const struct trace_event *event = &trace->events[i];
        bool allocates = event->kind == TRACE_ALLOC || event->kind == TRACE_REALLOC ||
                         event->kind == TRACE_CALLOC || event->kind == TRACE_ALIGNED;
        if (event->slot == slot && allocates) {
            return event;
        }
    }
    return NULL;
}

/* Call site of the block at `header`, "" if nobody knows it. */
static void site_name(const struct replay *replay, uint32_t header, char *text, size_t size) {
    uint32_t pointer = header + replay->build->header_size;
    struct wm_heap_block block;
    const char *name = NULL;
    uint32_t line = 0;
    text[0] = '\0';
    if (header == 0) {
        return;
    }
    if (replay_can_look(header) && replay->build->get_block(w800_pointer(pointer), &block)) {
        name = wm_heap_port_site_name(block.site);
        line = block.line;
    }
    const struct trace_event *origin = name == NULL ? trace_origin(replay, pointer) : NULL;
    if (origin != NULL && (origin->has & TRACE_HAS_SITE) != 0) {
        name = replay->trace->names[origin->site];
        line = origin->site_line;
    }
    if (name != NULL) {
        snprintf(text, size, "%s:%" PRIu32, name, line);
    }
}

/* The block right before a smashed one: whoever wrote past its end. */
struct before {
    uint32_t address; /* of the smashed block */
    struct wm_heap_block block;
};

static bool before_visit(void *context, const struct wm_heap_block *block) {
    struct before *before = context;
    if (block->address >= before->address) {
        return false;
    }
    before->block = *block;
    return true;
}

static void fault_before(const struct replay *replay, const struct wm_heap_fault *fault,
                         struct replay_fault *found) {
    struct before before = {.address = fault->block};
    if (!replay_can_look(fault->block)) {
        return;
    }
    replay->build->walk(fault->region, before_visit, &before);
    if (before.block.live && before.block.address + before.block.size == fault->block) {
        found->before = before.block.pointer;
        site_name(replay, before.block.address, found->before_site, sizeof found->before_site);
    }
}

struct replay_fault *replay_fault_recent(struct replay *replay, size_t number) {
    size_t first = replay->result->fault_count - replay->recent_count;
    return number >= first && number - first < replay->recent_count
               ? &replay->recent[number - first]
               : NULL;
}

void replay_fault_expected(struct replay *replay, size_t number) {
    struct replay_result *result = replay->result;
    struct replay_fault *fault = replay_fault_recent(replay, number);
    if (fault == NULL) {
        return;
    }
    fault->expected = true;
    if (number < result->faults_kept) {
        result->faults[number].expected = true;
    }
    result->unexpected_faults--;
}

void replay_faults_settle(struct replay *replay) {
    struct replay_result *result = replay->result;
    for (size_t i = 0; i < replay->recent_count && result->unexpected.kind == NULL; i++) {
        if (!replay->recent[i].expected) {
            result->unexpected = replay->recent[i];
        }
    }
    replay->recent_count = 0;
}

static void fault_keep(struct replay *replay, const struct replay_fault *found) {
    struct replay_result *result = replay->result;
    size_t kept = result->faults_kept;
    if ((kept & (kept - 1)) == 0 && kept < REPLAY_FAULTS_KEPT) { /* full at powers of two */
        size_t room = kept == 0 ? 1 : kept * 2;
        struct replay_fault *grown = realloc(result->faults, room * sizeof *grown);
        if (grown == NULL) {
            replay->out_of_memory = true;
            result->stopped = true;
            return;
        }
        result->faults = grown;
    }
    if (kept < REPLAY_FAULTS_KEPT) {
        result->faults[result->faults_kept++] = *found;
    }
    if (replay->recent_count == REPLAY_RECENT ||
        (replay->recent_count > 0 && replay->recent[0].event != found->event)) {
        replay_faults_settle(replay);
    }
    replay->recent[replay->recent_count++] = *found;
    result->fault_count++;
    result->unexpected_faults++;
}

static void heap_fault(struct replay *replay, const struct wm_heap_fault *fault,
                       struct replay_fault *found) {
    found->kind = replay->build->fault_name(fault->kind);
    found->address = fault_address(replay, fault);
    found->block = fault->block;
    site_name(replay, fault->block, found->site, sizeof found->site);
    if (fault->kind == WM_HEAP_FAULT_SMASHED_HEADER ||
        fault->kind == WM_HEAP_FAULT_SMASHED_FREE_BLOCK) {
        fault_before(replay, fault, found);
    }
    if (fault->kind >= WM_HEAP_FAULT_SMASHED_HEADER) {
        const char *check = replay->build->check_name(fault->check);
        if (fault->check == WM_HEAP_CHECK_SEAL) { /* the numbers would tell nobody anything */
            snprintf(found->reason, sizeof found->reason, "failed: %s", check);
        } else {
            snprintf(found->reason, sizeof found->reason,
                     "failed: %s, at 0x%08" PRIx32 " expected 0x%08" PRIx32 ", found 0x%08" PRIx32,
                     check, fault->address, fault->expected, fault->actual);
        }
        replay->result->stopped = true;
    } else if (fault->kind == WM_HEAP_FAULT_INTERIOR_POINTER) {
        snprintf(found->reason, sizeof found->reason, "inside the block of 0x%08" PRIx32,
                 fault->expected);
    }
}

void replay_fault_found(struct replay *replay, const struct wm_heap_fault *fault) {
    struct replay_fault found = {.event = replay->index + 1, .by_check = true};
    heap_fault(replay, fault, &found);
    fault_keep(replay, &found);
}

void replay_fault_add(struct replay *replay, const struct w800_event *event) {
    struct replay_result *result = replay->result;
    if (event->kind == W800_EVENT_REALLOC_MOVED) {
        if (result->moved++ == 0) {
            result->first_moved = replay->index + 1;
        }
        return;
    }
    struct replay_fault found = {
        .kind = w800_event_name(event->kind),
        .event = replay->index + 1,
        .address = event->address,
        .block = event->near_block,
    };
    switch (event->kind) {
    case W800_EVENT_HEAP_FAULT:
        heap_fault(replay, &event->fault, &found);
        break;
    case W800_EVENT_STRAY_ACCESS:
    case W800_EVENT_EXEC_DENIED:
    case W800_EVENT_BUS_CONFLICT:
        snprintf(found.reason, sizeof found.reason, "%s at 0x%08" PRIx32,
                 event->write ? "write" : "read", event->address);
        if (event->near_size != 0) { /* nothing lies before SRAM's heap */
            size_t used = strlen(found.reason);
            snprintf(found.reason + used, sizeof found.reason - used,
                     ", nearest block 0x%08" PRIx32 " of %" PRIu32 " bytes", event->near_block,
                     event->near_size);
        }
        site_name(replay, event->near_block, found.site, sizeof found.site);
        result->stopped = true; /* the chip has crashed */
        break;
    default:
        snprintf(found.reason, sizeof found.reason, "%s: 0x%08" PRIx32 " and %" PRIu32 " bytes",
                 event->master < TRACE_DMA_MASTERS ? trace_dma_names[event->master] : "?",
                 event->address, event->length);
        break;
    }
    fault_keep(replay, &found);
}

/* --- the picture ------------------------------------------------------------------------ */

#define PICTURE_AROUND 2 /* blocks shown before and behind the one in question */

struct picture {
    const struct replay *replay;
    FILE *out;
    uint32_t address; /* in question */
    const char *label;
    struct wm_heap_block last[PICTURE_AROUND];
    unsigned held;
    int behind; /* blocks still to show; -1: not reached */
};

static void picture_line(const struct picture *picture, const struct wm_heap_block *block,
                         bool here) {
    fprintf(picture->out, "  %s 0x%08" PRIx32 " %8" PRIu32 "  ", here ? ">" : " ", block->address,
            block->size);
    if (block->live) {
        const char *site = wm_heap_port_site_name(block->site);
        fprintf(picture->out, "live  0x%08" PRIx32 ", %" PRIu32 " asked for", block->pointer,
                block->requested);
        if (site != NULL) {
            fprintf(picture->out, ", %s:%" PRIu32, site, block->line);
        }
    } else {
        fprintf(picture->out, "free");
    }
    if (here) {
        fprintf(picture->out, "   <- %s 0x%08" PRIx32, picture->label, picture->address);
    }
    fputc('\n', picture->out);
}

static bool picture_visit(void *context, const struct wm_heap_block *block) {
    struct picture *picture = context;
    if (picture->behind >= 0) {
        picture_line(picture, block, false);
        return --picture->behind > 0;
    }
    if (picture->address - block->address >= block->size) {
        if (picture->held == PICTURE_AROUND) {
            memmove(picture->last, picture->last + 1,
                    (PICTURE_AROUND - 1) * sizeof picture->last[0]);
            picture->held--;
        }
        picture->last[picture->held++] = *block;
        return true;
    }
    for (unsigned i = 0; i < picture->held; i++) {
        picture_line(picture, &picture->last[i], false);
    }
    picture_line(picture, block, true);
    picture->behind = PICTURE_AROUND;
    return true;
}

static void picture_draw(const struct replay *replay, FILE *out, const char *label,
                         uint32_t address) {
    for (uint32_t i = 0; i < replay->trace->region_count; i++) {
        const struct wm_heap_region *region = &replay->build->state->regions[i];
        if (region->state < WM_HEAP_REGION_OPEN || address < region->start ||
            address >= region->end || !replay_can_look(address)) {
            continue;
        }
        struct picture picture = {
            .replay = replay, .out = out, .address = address, .label = label, .behind = -1};
        fprintf(out, "  %s\n", replay->trace->regions[i].name);
        if (!replay->build->walk(i, picture_visit, &picture)) {
            fprintf(out, "    (a smashed header ends the picture here)\n");
        }
    }
}

void replay_mismatch_add(struct replay *replay, const struct replay_mismatch *mismatch) {
    struct replay_result *result = replay->result;
    if (replay->mismatch_event == mismatch->event) {
        return;
    }
    replay->mismatch_event = mismatch->event;
    if (result->mismatches++ != 0) {
        return;
    }
    result->first = *mismatch;
    size_t length;
    FILE *out = open_memstream(&result->picture, &length);
    if (out == NULL) {
        return;
    }
    bool addresses = strcmp(mismatch->what, "address") == 0;
    if (mismatch->place != 0) {
        picture_draw(replay, out, mismatch->what, mismatch->place);
    } else if (addresses) {
        picture_draw(replay, out, "expected", mismatch->expected);
        picture_draw(replay, out, "got", mismatch->got);
    }
    fclose(out);
}
