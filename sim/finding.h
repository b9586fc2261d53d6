/* SPDX-License-Identifier: Apache-2.0
 *
 * What a diagnosis says: findings, the worst first, each with evidence that a person can
 * check.
 */
#ifndef FINDING_H
#define FINDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Worst first: what names a culprit before what only shows that something is wrong. */
#define VERDICTS(X)                                                                                \
    X(OVERFLOW, "overflow")                                                                        \
    X(UNDERFLOW, "underflow")                                                                      \
    X(DOUBLE_FREE, "double-free")                                                                  \
    X(INVALID_FREE, "invalid-free")                                                                \
    X(USE_AFTER_FREE, "use-after-free")                                                            \
    X(SMASHED_HEADER, "smashed-header")                                                            \
    X(BUS_CONFLICT, "bus-conflict")                                                                \
    X(UNREACHABLE_FOR_DMA, "unreachable-for-dma")                                                  \
    X(ASSERT, "assert")                                                                            \
    X(FRAGMENTATION, "fragmentation")                                                              \
    X(EXHAUSTION, "exhaustion")                                                                    \
    X(LEAK, "leak")                                                                                \
    X(EXCEPTION, "exception")                                                                      \
    X(CLEAN, "clean")

enum verdict {
#define VERDICT_ENUMERATOR(name, text) VERDICT_##name,
    VERDICTS(VERDICT_ENUMERATOR)
#undef VERDICT_ENUMERATOR
        VERDICT_COUNT
};
const char *verdict_name(enum verdict verdict);

/* What a fault that the core reported (enum wm_heap_fault_kind) comes to. */
enum verdict verdict_of_fault(uint32_t kind);

struct finding {
    enum verdict verdict;
    bool certain;     /* else likely */
    char site[1100];  /* "path:line" of the block it is about; "" if not known */
    uint32_t address; /* the user's pointer of that block; 0 if not known */
    uint32_t size;    /* of that block, whole; 0 if not known */
    uint32_t request; /* bytes that could not be had; 0 if it is not about a request */
    uint32_t victim;  /* the smashed block's pointer; 0 if there is none */
    char *evidence;   /* lines of text, each ending in a newline; owned */
};

struct findings {
    struct finding *list;
    size_t count;
};

/* Adds a finding; evidence is printf-style and may be appended to. NULL: out of memory. */
struct finding *findings_add(struct findings *findings, enum verdict verdict, bool certain);
bool finding_evidence(struct finding *finding, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Sorts: worst first, certain before likely, then in the order they were added. */
void findings_sort(struct findings *findings);
void findings_free(struct findings *findings);

#endif
