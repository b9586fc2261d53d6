/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks that realloc took out of the reach for which they were asked: libc's realloc passes
 * DEFAULT, whatever the block was, so one with SHARED (Wi-Fi, SDIO and HSPI reach DRAM only)
 * or in PSRAM moves to internal memory, silently. A known defect of the SDK, the tenth in
 * tests/test_defects.c; its addresses are kept, so it is told.
 *
 * Only a recording shows it. What stands in DRAM need not have been asked for there: DEFAULT
 * goes to DRAM when SRAM is full. So the capabilities of the block's allocation decide, from
 * its event or from a snapshot; what stands in PSRAM was asked for there. A tracing list has
 * neither capabilities nor a former address (the site of each block that libc's realloc made
 * is the same line of the SDK), and a RAM dump has capabilities that fit the new place. From
 * those nothing can be told, not even as likely.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "../core/wm_heap.h"
#include "../core/wm_heap_recorder.h"
#include "diagnose_recorder.h"
#include "image.h"

#define DRAM 1
#define PSRAM 2
#define DRAM_START 0x20028000u
#define DRAM_SLOTS 0x4000u /* one for each 8 bytes */
#define MOVES_MAX 16u      /* kinds of them; nobody reads on */

static const char *const names[] = {"SRAM", "DRAM", "PSRAM"};

/* What is known of the block at a place in DRAM. */
struct promise {
    bool known;
    bool shared;
    uint32_t number;  /* events before that was known */
    uint32_t missing; /* events that were lost before it */
};

/* Moves of one allocation site. */
struct moves {
    uint32_t site, line;
    uint8_t from, to;
    size_t finding;
    uint32_t more; /* after the first */
};

struct reach {
    const struct recorder_case *judged;
    struct promise *dram;
    size_t block; /* of the snapshots: the next one */
    struct moves moves[MOVES_MAX];
    uint32_t move_count;
    uint32_t others; /* beyond those */
};

static struct promise *promise_at(const struct reach *reach, uint32_t pointer) {
    const uint32_t slot = (pointer - DRAM_START) / 8;
    return pointer >= DRAM_START && slot < DRAM_SLOTS ? &reach->dram[slot] : NULL;
}

static void promise_set(const struct reach *reach, uint32_t pointer, bool known, uint32_t caps,
                        uint32_t number, uint32_t missing) {
    struct promise *promise = promise_at(reach, pointer);
    if (promise != NULL) {
        *promise = (struct promise){known, (caps & WM_HEAP_CAP_SHARED) != 0, number, missing};
    }
}

/* Blocks of snapshots that were taken up to this event. */
static void take_snapshots(struct reach *reach, uint32_t number, uint32_t missing) {
    const struct recorder_boot *boot = reach->judged->boot;
    for (; reach->block < boot->block_count; reach->block++) {
        const struct recorder_block *block = &boot->blocks[reach->block];
        const struct promise *before = promise_at(reach, block->pointer);
        if (block->as_of > number) {
            return;
        }
        if (before != NULL && block->caps != 0 && block->as_of >= before->number) {
            promise_set(reach, block->pointer, true, block->caps, block->as_of, missing);
        }
    }
}

static const char *purpose(uint8_t from) {
    return from == DRAM ? "which was asked for with SHARED, for Wi-Fi, SDIO or HSPI"
                        : "which was asked for in PSRAM";
}

static bool is_old_half(const struct recorder_event *event, uint32_t pointer) {
    return event->kind == WM_HEAP_RECORD_REALLOC_OLD && event->pointer == pointer;
}

static bool tell_call(const struct recorder_case *judged, struct finding *finding, const char *what,
                      const struct recorder_event *event) {
    char site[1100];
    recorder_site(judged->boot, event->site, event->line, site, sizeof site);
    return finding_evidence(finding, "event %" PRIu32 ": %s%s%s", event->number, what,
                            site[0] != '\0' ? " at " : "", site) &&
           recorder_tell_caller(judged, finding, event->caller);
}

/* `index`: of the realloc's second half. */
static bool tell_move(const struct reach *reach, struct finding *finding, size_t index,
                      const struct recorder_event *made, const struct moves *move) {
    const struct recorder_case *judged = reach->judged;
    const struct recorder_event *moved = &judged->boot->events[index];
    const struct recorder_event *call =
        recorder_find_event(judged->boot, index, moved->site, is_old_half);
    bool ok = made == NULL || made->kind != WM_HEAP_RECORD_ALLOC ||
              tell_call(judged, finding, "allocated", made);
    ok = ok && (call == NULL || tell_call(judged, finding, "realloc", call)) &&
         finding_evidence(finding,
                          "event %" PRIu32 ": it moved from 0x%08" PRIx32
                          " in %s, %s, to 0x%08" PRIx32 " in %s\n",
                          moved->number, moved->site, names[move->from], purpose(move->from),
                          moved->pointer, names[move->to]);
    if (ok && moved->caps == WM_HEAP_CAP_DEFAULT) {
        ok = finding_evidence(finding, "libc's realloc asks for DEFAULT memory, whatever the block "
                                       "was: known defect 10 of the SDK\n");
    }
    return ok && finding_evidence(
                     finding, "wm_heap_caps_realloc with capabilities 0 keeps the block's own\n");
}

static bool add_move(struct reach *reach, size_t index, const struct moves *move, bool certain) {
    const struct recorder_case *judged = reach->judged;
    const struct recorder_event *moved = &judged->boot->events[index];
    const struct recorder_event *made =
        recorder_find_event(judged->boot, index, moved->site, recorder_is_allocation);
    struct moves found = *move;
    found.site = made != NULL && made->kind == WM_HEAP_RECORD_ALLOC ? made->site : 0;
    found.line = found.site != 0 ? made->line : 0;
    for (uint32_t i = 0; i < reach->move_count; i++) {
        struct moves *same = &reach->moves[i];
        if (same->site == found.site && same->line == found.line && same->from == found.from &&
            same->to == found.to) {
            same->more++;
            return true;
        }
    }
    if (reach->move_count == MOVES_MAX) {
        reach->others++;
        return true;
    }
    struct finding *finding = findings_add(judged->findings, VERDICT_UNREACHABLE_FOR_DMA, certain);
    if (finding == NULL) {
        return false;
    }
    found.finding = judged->findings->count - 1;
    reach->moves[reach->move_count++] = found;
    finding->address = moved->site;
    finding->size = moved->caller; /* whole old block */
    recorder_site(judged->boot, found.site, found.line, finding->site, sizeof finding->site);
    return tell_move(reach, finding, index, made, &found);
}

/* The second half of a realloc: its `site` is the old pointer. */
static bool see_realloc(struct reach *reach, size_t index, uint32_t missing) {
    const struct recorder_event *event = &reach->judged->boot->events[index];
    const uint32_t old = event->site;
    const int from = image_region_of(old);
    const int to = image_region_of(event->pointer);
    const struct promise *at = promise_at(reach, old);
    const struct promise promise = at != NULL ? *at : (struct promise){0};
    if (event->pointer == 0 && event->size != 0) {
        return true; /* it failed: the old block stays */
    }
    promise_set(reach, old, false, 0, event->number, missing);
    if (to == DRAM) {
        bool same = event->caps == 0;
        promise_set(reach, event->pointer, !same || promise.known,
                    same ? (promise.shared ? WM_HEAP_CAP_SHARED : 0) : event->caps, event->number,
                    missing);
    }
    bool lost = from != to && to >= 0 && (from == PSRAM || (from == DRAM && promise.shared));
    if (!lost) {
        return true;
    }
    const struct moves move = {.from = (uint8_t)from, .to = (uint8_t)to};
    return add_move(reach, index, &move,
                    from == PSRAM || (promise.known && promise.missing == missing));
}

static bool see_event(struct reach *reach, size_t index) {
    const struct recorder_event *event = &reach->judged->boot->events[index];
    const uint32_t missing = event->number - (uint32_t)index;
    take_snapshots(reach, event->number, missing);
    switch (event->kind) {
    case WM_HEAP_RECORD_ALLOC:
        promise_set(reach, event->pointer, true, event->caps, event->number, missing);
        return true;
    case WM_HEAP_RECORD_FREE:
        promise_set(reach, event->pointer, false, 0, event->number, missing);
        return true;
    case WM_HEAP_RECORD_REALLOC_NEW:
        return see_realloc(reach, index, missing);
    default:
        return true;
    }
}

static bool tell_more(const struct reach *reach) {
    struct finding *list = reach->judged->findings->list;
    bool ok = true;
    for (uint32_t i = 0; i < reach->move_count && ok; i++) {
        const struct moves *moves = &reach->moves[i];
        ok = moves->more == 0 ||
             finding_evidence(&list[moves->finding],
                              "%" PRIu32 " more blocks of that site moved so\n", moves->more);
    }
    return ok && (reach->others == 0 ||
                  finding_evidence(&list[reach->moves[0].finding],
                                   "%" PRIu32 " blocks of other sites moved so\n", reach->others));
}

bool recorder_judge_reach(const struct recorder_case *judged) {
    struct reach reach = {.judged = judged, .dram = calloc(DRAM_SLOTS, sizeof(struct promise))};
    bool ok = reach.dram != NULL;
    for (size_t i = 0; i < judged->boot->event_count && ok; i++) {
        ok = see_event(&reach, i);
    }
    ok = ok && tell_more(&reach);
    free(reach.dram);
    return ok;
}
