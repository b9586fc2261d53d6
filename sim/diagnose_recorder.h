/* SPDX-License-Identifier: Apache-2.0
 *
 * Judging what a firmware's recorder kept, be it from the lines of a log or from the ring in
 * a RAM dump. Functions return false if memory is short.
 */
#ifndef DIAGNOSE_RECORDER_H
#define DIAGNOSE_RECORDER_H

#include "finding.h"
#include "firmware.h"
#include "recorder.h"

struct recorder_case {
    const struct recorder_boot *boot;
    struct firmware *firmware; /* NULL: none given */
    struct findings *findings; /* are added to */
};

/* The fault that the heap reported, or the call that the board did not survive, and blocks
 * that left DMA's reach. */
bool recorder_judge(const struct recorder_case *judged);

/* diagnose_reach.c */
bool recorder_judge_reach(const struct recorder_case *judged);

/* Who allocated the block of a pointer last before the event of index `end`, and who freed it
 * then, as far as those events survived: evidence for the finding. */
bool recorder_tell_history(const struct recorder_case *judged, struct finding *finding,
                           uint32_t pointer, size_t end);

/* ", called from ADDRESS FUNCTION at FILE:LINE" and a newline, as far as it is known. */
bool recorder_tell_caller(const struct recorder_case *judged, struct finding *finding,
                          uint32_t caller);
/* "PATH:LINE" of an event's call site, "" if its name did not arrive. */
void recorder_site(const struct recorder_boot *boot, uint32_t handle, uint32_t line, char *site,
                   size_t size);
/* The newest event before `end` (an index) that did this with the pointer. */
const struct recorder_event *
recorder_find_event(const struct recorder_boot *boot, size_t end, uint32_t pointer,
                    bool (*matches)(const struct recorder_event *event, uint32_t pointer));
bool recorder_is_allocation(const struct recorder_event *event, uint32_t pointer);

#endif
