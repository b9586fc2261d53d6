/* SPDX-License-Identifier: Apache-2.0
 *
 * What the recorder kept: the fault that the heap reported, which block it is
 * about, and who allocated and freed that.
 *
 * Beside the SDK's heap there is no fault line; there the last event before the silence is the
 * call that crashed, and a free of what no live block has as its pointer crashes well.
 */
#include <inttypes.h>
#include <string.h>

#include "diagnose_recorder.h"
#include "wm_heap_debug.h"
#include "wm_heap_recorder.h"

bool recorder_is_allocation(const struct recorder_event *event, uint32_t pointer) {
    return event->pointer == pointer &&
           (event->kind == WM_HEAP_RECORD_ALLOC || event->kind == WM_HEAP_RECORD_REALLOC_NEW);
}

static bool is_release(const struct recorder_event *event, uint32_t pointer) {
    return event->pointer == pointer &&
           (event->kind == WM_HEAP_RECORD_FREE || event->kind == WM_HEAP_RECORD_REALLOC_OLD);
}

const struct recorder_event *
recorder_find_event(const struct recorder_boot *boot, size_t end, uint32_t pointer,
                    bool (*matches)(const struct recorder_event *event, uint32_t pointer)) {
    while (end > 0) {
        if (matches(&boot->events[--end], pointer)) {
            return &boot->events[end];
        }
    }
    return NULL;
}

bool recorder_tell_caller(const struct recorder_case *judged, struct finding *finding,
                          uint32_t caller) {
    struct firmware_place place;
    bool ok = finding_evidence(finding, ", called from 0x%08" PRIx32, caller);
    if (ok && judged->firmware != NULL && firmware_locate(judged->firmware, caller, &place)) {
        ok = finding_evidence(finding, " %s", place.function) &&
             (place.file[0] == '\0' ||
              finding_evidence(finding, " at %s:%" PRIu32, place.file, place.line));
    }
    return ok && finding_evidence(finding, "\n");
}

void recorder_site(const struct recorder_boot *boot, uint32_t handle, uint32_t line, char *site,
                   size_t size) {
    const char *name = recorder_name(boot, handle);
    site[0] = '\0';
    if (name != NULL && *name != '\0') {
        snprintf(site, size, "%s:%" PRIu32, name, line);
    }
}

bool recorder_tell_history(const struct recorder_case *judged, struct finding *finding,
                           uint32_t pointer, size_t end) {
    const struct recorder_boot *boot = judged->boot;
    const struct recorder_event *made =
        recorder_find_event(boot, end, pointer, recorder_is_allocation);
    const struct recorder_event *gone = recorder_find_event(boot, end, pointer, is_release);
    bool ok = true;
    if (made != NULL) {
        ok = finding_evidence(finding,
                              "event %" PRIu32 ": %" PRIu32 " bytes allocated at 0x%08" PRIx32,
                              made->number, made->size, pointer) &&
             (made->kind != WM_HEAP_RECORD_ALLOC
                  ? finding_evidence(finding, " by realloc\n")
                  : recorder_tell_caller(judged, finding, made->caller));
    }
    if (ok && gone != NULL && (made == NULL || made->number < gone->number)) {
        ok = finding_evidence(finding, "event %" PRIu32 ": 0x%08" PRIx32 " freed", gone->number,
                              pointer) &&
             recorder_tell_caller(judged, finding, gone->caller);
    }
    return ok;
}

/* The call site of the block that the finding is about, and its history. */
static bool tell_block(const struct recorder_case *judged, struct finding *finding, size_t end) {
    const struct recorder_boot *boot = judged->boot;
    const struct recorder_event *made =
        recorder_find_event(boot, end, finding->address, recorder_is_allocation);
    uint32_t handle = made != NULL ? made->site : 0;
    uint32_t line = made != NULL ? made->line : 0;
    for (size_t i = 0; made == NULL && i < boot->block_count; i++) {
        if (boot->blocks[i].pointer == finding->address) {
            handle = boot->blocks[i].site;
            line = boot->blocks[i].line;
        }
    }
    recorder_site(boot, handle, line, finding->site, sizeof finding->site);
    return recorder_tell_history(judged, finding, finding->address, end);
}

static bool report_fault(const struct recorder_case *judged) {
    static const char *const checks[] = {
#define CHECK_TEXT(name, text) (text),
        WM_HEAP_CHECKS(CHECK_TEXT)
#undef CHECK_TEXT
    };
    const struct recorder_boot *boot = judged->boot;
    const struct recorder_fault *fault = &boot->fault;
    struct finding *finding = findings_add(judged->findings, verdict_of_fault(fault->kind), true);
    if (finding == NULL) {
        return false;
    }
    finding->address = fault->pointer;
    if (finding->verdict == VERDICT_SMASHED_HEADER) {
        finding->victim = fault->pointer;
    }
    const char *check = fault->check < sizeof checks / sizeof *checks ? checks[fault->check] : "?";
    return finding_evidence(finding,
                            "the heap reported, after %" PRIu32 " events: %s: at 0x%08" PRIx32
                            " expected 0x%08" PRIx32 ", found 0x%08" PRIx32 "\n",
                            fault->total, check, fault->address, fault->expected, fault->actual) &&
           tell_block(judged, finding, boot->event_count);
}

/* The event that the board did not survive. */
static bool report_last_event(const struct recorder_case *judged) {
    const struct recorder_boot *boot = judged->boot;
    size_t last = boot->event_count - 1;
    const struct recorder_event *event = &boot->events[last];
    if (event->kind != WM_HEAP_RECORD_FREE || event->size != 0 || event->pointer == 0) {
        return true;
    }
    const struct recorder_event *gone = recorder_find_event(boot, last, event->pointer, is_release);
    const struct recorder_event *made =
        recorder_find_event(boot, last, event->pointer, recorder_is_allocation);
    bool twice = gone != NULL && (made == NULL || made->number < gone->number);
    struct finding *finding =
        findings_add(judged->findings, twice ? VERDICT_DOUBLE_FREE : VERDICT_INVALID_FREE, false);
    if (finding == NULL) {
        return false;
    }
    finding->address = event->pointer;
    return finding_evidence(finding,
                            "event %" PRIu32 ", the last: free of 0x%08" PRIx32
                            ", which is no live block's pointer",
                            event->number, event->pointer) &&
           recorder_tell_caller(judged, finding, event->caller) &&
           tell_block(judged, finding, last);
}

bool recorder_judge(const struct recorder_case *judged) {
    bool ok = true;
    if (judged->boot->fault.known) {
        ok = report_fault(judged);
    } else if (judged->boot->event_count > 0) {
        ok = report_last_event(judged);
    }
    return ok && recorder_judge_reach(judged);
}
