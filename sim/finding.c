/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of findings. A finding's evidence grows line by line while a rule looks further,
 * so it is text that is appended to; the order of the list is fixed at the end, by the order
 * of the verdicts.
 */
#include "finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/wm_heap_debug.h"

const char *verdict_name(enum verdict verdict) {
    static const char *const names[VERDICT_COUNT] = {
#define VERDICT_NAME(name, text) [VERDICT_##name] = (text),
        VERDICTS(VERDICT_NAME)
#undef VERDICT_NAME
    };
    return (unsigned)verdict < VERDICT_COUNT ? names[verdict] : "unknown";
}

enum verdict verdict_of_fault(uint32_t kind) {
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

struct finding *findings_add(struct findings *findings, enum verdict verdict, bool certain) {
    struct finding *list = findings->list;
    if ((findings->count & (findings->count - 1)) == 0) { /* full at the powers of two */
        const size_t room = findings->count != 0 ? findings->count * 2 : 1;
        list = realloc(list, room * sizeof(*list));
    }
    if (list == NULL) {
        return NULL;
    }
    findings->list = list;
    struct finding *finding = &list[findings->count++];
    memset(finding, 0, sizeof(*finding));
    finding->verdict = verdict;
    finding->certain = certain;
    return finding;
}

bool finding_evidence(struct finding *finding, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *added = NULL;
    const int added_length = vasprintf(&added, format, arguments);
    va_end(arguments);
    if (added_length < 0) {
        return false;
    }
    const size_t old_length = finding->evidence != NULL ? strlen(finding->evidence) : 0;
    char *evidence = realloc(finding->evidence, old_length + (size_t)added_length + 1);
    if (evidence != NULL) {
        memcpy(evidence + old_length, added, (size_t)added_length + 1);
        finding->evidence = evidence;
    }
    free(added);
    return evidence != NULL;
}

/* A pass for each rank: stable, and each finding, which is large, moves once. */
void findings_sort(struct findings *findings) {
    size_t room = 1; /* as findings_add keeps it */
    while (room < findings->count) {
        room *= 2;
    }
    struct finding *sorted = calloc(room, sizeof(*sorted));
    if (sorted == NULL) {
        return; /* in the order in which they were added, then */
    }
    size_t to = 0;
    for (unsigned rank = 0; rank < 2 * VERDICT_COUNT; ++rank) {
        for (size_t i = 0; i < findings->count; ++i) {
            const struct finding *finding = &findings->list[i];
            if (2u * finding->verdict + (finding->certain ? 0 : 1) == rank) {
                sorted[to++] = *finding;
            }
        }
    }
    free(findings->list);
    findings->list = sorted;
}

void findings_free(struct findings *findings) {
    for (size_t i = 0; i < findings->count; ++i) {
        free(findings->list[i].evidence);
    }
    free(findings->list);
    *findings = (struct findings){0};
}
