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

/* Whose block is it? Its header may be smashed: then the newest live block below does. */
static void fault_site(const struct replay *replay, uint32_t block, struct replay_fault *found) {
    struct wm_heap_block described;
    if (block != 0 && replay_can_look(block) &&
        replay->build->get_block(w800_pointer(block + replay->build->header_size), &described)) {
        const char *name = wm_heap_port_site_name(described.site);
        if (name != NULL) {
            snprintf(found->site, sizeof found->site, "%s:%" PRIu32, name, described.line);
        }
    }
}

static void fault_keep(struct replay *replay, const struct replay_fault *found) {
    struct replay_result *result = replay->result;
    if ((result->fault_count & (result->fault_count - 1)) == 0) { /* full at powers of two */
        size_t room = result->fault_count == 0 ? 1 : result->fault_count * 2;
        struct replay_fault *grown = realloc(result->faults, room * sizeof *grown);
        if (grown == NULL) {
            replay->out_of_memory = true;
            result->stopped = true;
            return;
        }
        result->faults = grown;
    }
    result->faults[result->fault_count++] = *found;
    result->unexpected_faults++;
}

static void heap_fault(struct replay *replay, const struct wm_heap_fault *fault,
                       struct replay_fault *found) {
    found->kind = replay->build->fault_name(fault->kind);
    found->address = fault_address(replay, fault);
    found->block = fault->block;
    fault_site(replay, fault->block, found);
    if (fault->kind >= WM_HEAP_FAULT_SMASHED_HEADER) {
        snprintf(found->reason, sizeof found->reason,
                 "%s: at 0x%08" PRIx32 " expected 0x%08" PRIx32 ", found 0x%08" PRIx32,
                 replay->build->check_name(fault->check), fault->address, fault->expected,
                 fault->actual);
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
        snprintf(found.reason, sizeof found.reason, "%s at 0x%08" PRIx32 ", nearest block 0x%08" PRIx32
                 " of %" PRIu32 " bytes", event->write ? "write" : "read", event->address,
                 event->near_block, event->near_size);
        fault_site(replay, event->near_block, &found);
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
        fprintf(out, "  %s\n", region->name);
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
