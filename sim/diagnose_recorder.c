/* SPDX-License-Identifier: Apache-2.0
 *
 * What the recorder's lines in a log say: the fault that the heap reported, which block it is
 * about, and who allocated and freed that.
 *
 * Beside the SDK's heap there is no fault line; there the last event before the silence is the
 * call that crashed, and a free of what no live block has as its pointer crashes well.
 */
#include <inttypes.h>
#include <string.h>

#include "diagnose_log.h"
#include "recorder.h"
#include "wm_heap_debug.h"
#include "wm_heap_recorder.h"

static enum verdict verdict_of(uint32_t kind) {
    switch (kind) {
    case WM_HEAP_FAULT_DOUBLE_FREE:
        return VERDICT_DOUBLE_FREE;
    case WM_HEAP_FAULT_FOREIGN_POINTER:
    case WM_HEAP_FAULT_INTERIOR_POINTER:
        return VERDICT_INVALID_FREE;
    case WM_HEAP_FAULT_SMASHED_HEADER:
    case WM_HEAP_FAULT_SMASHED_FREE_BLOCK:
    case WM_HEAP_FAULT_SMASHED_END_MARKER:
        return VERDICT_SMASHED_HEADER;
    case WM_HEAP_FAULT_OVERFLOW:
        return VERDICT_OVERFLOW;
    case WM_HEAP_FAULT_UNDERFLOW:
        return VERDICT_UNDERFLOW;
    case WM_HEAP_FAULT_USE_AFTER_FREE:
        return VERDICT_USE_AFTER_FREE;
    default:
        return VERDICT_ASSERT;
    }
}

static bool is_allocation(const struct recorder_event *event, uint32_t pointer) {
    return event->pointer == pointer &&
           (event->kind == WM_HEAP_RECORD_ALLOC || event->kind == WM_HEAP_RECORD_REALLOC_NEW);
}

static bool is_release(const struct recorder_event *event, uint32_t pointer) {
    return event->pointer == pointer &&
           (event->kind == WM_HEAP_RECORD_FREE || event->kind == WM_HEAP_RECORD_REALLOC_OLD);
}

/* The newest event before `end` (an index) that did this with the pointer. */
static const struct recorder_event *
find_event(const struct recorder_boot *boot, size_t end, uint32_t pointer,
           bool (*matches)(const struct recorder_event *event, uint32_t pointer)) {
    while (end > 0) {
        if (matches(&boot->events[--end], pointer)) {
            return &boot->events[end];
        }
    }
    return NULL;
}

static bool tell_caller(const struct log_state *state, struct finding *finding, uint32_t caller) {
    struct firmware_place place;
    bool ok = finding_evidence(finding, ", called from 0x%08" PRIx32, caller);
    if (ok && state->options->firmware != NULL &&
        firmware_locate(state->options->firmware, caller, &place)) {
        ok = finding_evidence(finding, " %s", place.function) &&
             (place.file[0] == '\0' ||
              finding_evidence(finding, " at %s:%" PRIu32, place.file, place.line));
    }
    return ok && finding_evidence(finding, "\n");
}

/* Who allocated the block last, and who freed it, as far as those events survived. */
static bool tell_history(const struct log_state *state, struct finding *finding, size_t end) {
    const struct recorder_boot *boot = &state->recording.boot;
    uint32_t pointer = finding->address;
    const struct recorder_event *made = find_event(boot, end, pointer, is_allocation);
    const struct recorder_event *gone = find_event(boot, end, pointer, is_release);
    uint32_t handle = made != NULL ? made->site : 0;
    uint32_t line = made != NULL ? made->line : 0;
    for (size_t i = 0; made == NULL && i < boot->block_count; i++) {
        if (boot->blocks[i].pointer == pointer) {
            handle = boot->blocks[i].site;
            line = boot->blocks[i].line;
        }
    }
    const char *name = recorder_name(boot, handle);
    bool ok = true;
    if (name != NULL && *name != '\0') {
        snprintf(finding->site, sizeof finding->site, "%s:%" PRIu32, name, line);
    }
    if (made != NULL) {
        ok = finding_evidence(finding,
                              "event %" PRIu32 ": %" PRIu32 " bytes allocated at 0x%08" PRIx32,
                              made->number, made->size, pointer) &&
             (made->kind != WM_HEAP_RECORD_ALLOC ? finding_evidence(finding, " by realloc\n")
                                                 : tell_caller(state, finding, made->caller));
    }
    if (ok && gone != NULL) {
        ok = finding_evidence(finding, "event %" PRIu32 ": 0x%08" PRIx32 " freed", gone->number,
                              pointer) &&
             tell_caller(state, finding, gone->caller);
    }
    return ok;
}

static bool report_fault(struct log_state *state) {
    static const char *const checks[] = {
#define CHECK_TEXT(name, text) (text),
        WM_HEAP_CHECKS(CHECK_TEXT)
#undef CHECK_TEXT
    };
    const struct recorder_boot *boot = &state->recording.boot;
    const struct recorder_fault *fault = &boot->fault;
    struct finding *finding =
        findings_add(&state->diagnosis->findings, verdict_of(fault->kind), true);
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
           tell_history(state, finding, boot->event_count);
}

/* The event that the board did not survive. */
static bool report_last_event(struct log_state *state) {
    const struct recorder_boot *boot = &state->recording.boot;
    size_t last = boot->event_count - 1;
    const struct recorder_event *event = &boot->events[last];
    if (event->kind != WM_HEAP_RECORD_FREE || event->size != 0 || event->pointer == 0) {
        return true;
    }
    const struct recorder_event *gone = find_event(boot, last, event->pointer, is_release);
    const struct recorder_event *made = find_event(boot, last, event->pointer, is_allocation);
    bool twice = gone != NULL && (made == NULL || made->number < gone->number);
    struct finding *finding = findings_add(
        &state->diagnosis->findings, twice ? VERDICT_DOUBLE_FREE : VERDICT_INVALID_FREE, false);
    if (finding == NULL) {
        return false;
    }
    finding->address = event->pointer;
    return finding_evidence(finding,
                            "event %" PRIu32 ", the last: free of 0x%08" PRIx32
                            ", which is no live block's pointer",
                            event->number, event->pointer) &&
           tell_caller(state, finding, event->caller) && tell_history(state, finding, last);
}

void log_recorder_judge(struct log_state *state) {
    struct recording *recording = &state->recording;
    const struct recorder_boot *boot = &recording->boot;
    recording_end(recording);
    bool ok = !recording->out_of_memory;
    if (ok && boot->fault.known) {
        ok = report_fault(state);
    } else if (ok && boot->event_count > 0) {
        ok = report_last_event(state);
    }
    state->out_of_memory = state->out_of_memory || !ok;
}
