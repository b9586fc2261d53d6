/* SPDX-License-Identifier: Apache-2.0
 *
 * A flight recorder for the heap: a ring of the latest calls in RAM, printed on request as
 * lines that survive a console (sim/recorder-format.md), from which a host rebuilds the
 * heap and replays it.
 *
 * It stands beside a heap, not in it: recorder_wrap.c hooks the calls by the linker, be the
 * heap the SDK's own, unmodified, or this core.
 *
 * An event costs 20 bytes (a realloc two events) and a few dozen instructions under the
 * port's lock, so it may be recorded wherever that lock may be taken, interrupts included.
 * A free is recorded before the heap sees it, so that the one that crashes is there; an
 * allocation after, as its address is wanted. Two tasks that preempt each other in an
 * allocation may thus appear in the other order; a reader goes by the addresses.
 */
#ifndef WM_HEAP_RECORDER_H
#define WM_HEAP_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wm_heap_debug.h"

#ifdef __cplusplus
extern "C" {
#endif

enum wm_heap_record_kind {
    WM_HEAP_RECORD_NONE,
    WM_HEAP_RECORD_ALLOC,       /* pointer: result, 0 failed; size: asked for */
    WM_HEAP_RECORD_FREE,        /* pointer: freed; size: whole block, 0: no live block's */
    WM_HEAP_RECORD_REALLOC_OLD, /* before the call: pointer: old; size: whole old block */
    WM_HEAP_RECORD_REALLOC_NEW, /* after it: pointer: result; size: asked for; site: old
                                 * pointer; caller: whole old block */
    WM_HEAP_RECORD_APPEND,      /* pointer: 1 if it joined; site: its name */
};

/* One event. `what` is kind | caps << 3 | task << 8 | line << 16. Capabilities are the five
 * that regions can have; a request for any other has all five, which fails as surely. A
 * line beyond 65535 is 65535. */
struct wm_heap_record {
    uint32_t what;
    uint32_t pointer;
    uint32_t size;
    uint32_t caller; /* return address: who called malloc cannot be told from its site */
    uint32_t site;   /* the port's handle of the call site's file, 0 if unknown */
};

#define WM_HEAP_RECORDER_MAGIC 0x43523857u /* "W8RC" in memory */
#define WM_HEAP_RECORDER_VERSION 1u

/* What the heap is that is recorded: WM_HEAP_OPTION_ bits of the build (1 tracing, 2 light
 * and 4 comprehensive poisoning, 8 realloc in place) and these. */
#define WM_HEAP_RECORDER_FROM_START 0x10u /* the heap was empty when recording began */
#define WM_HEAP_RECORDER_SDK 0x20u        /* the SDK's heap: its list stands for a snapshot */

/* Begins recording into `ring`, whose `count` records are a power of two. Best called right
 * after wm_heap_init. Starting again empties the ring. */
void wm_heap_recorder_start(struct wm_heap_record *ring, uint32_t count, uint32_t options);

/* Stops: no event is recorded, nothing is printed. */
void wm_heap_recorder_stop(void);

/* The hooks. Nothing happens while no recording runs. */
void wm_heap_record_alloc(const void *result, size_t size, uint32_t caps, const char *file,
                          int line, uint32_t caller);
void wm_heap_record_free(const void *ptr, uint32_t caller);
/* The first half of a realloc returns what the second wants to know. */
uint32_t wm_heap_record_realloc_old(const void *old, uint32_t caps, const char *file, int line,
                                    uint32_t caller);
void wm_heap_record_realloc_new(const void *result, size_t size, const void *old, uint32_t caps,
                                int line, uint32_t old_size);
void wm_heap_record_append(const char *name, bool joined, uint32_t caller);

/* Keeps the first fault, with the bytes around it, until the next start. For the port's
 * fault hook. */
void wm_heap_record_fault(const struct wm_heap_fault *fault);

/* Prints through the port what was recorded since the last flush, and a snapshot of the
 * live blocks if `snapshot` or if events were overwritten before they were printed. Never
 * under the lock: a line takes milliseconds. Not from interrupts; one task at a time. */
void wm_heap_recorder_flush(bool snapshot);

/* Asked of the surroundings; recorder_wrap.c has both. */
uint32_t wm_heap_recorder_task(void);                  /* small number of the task, or 0 */
uint32_t wm_heap_recorder_block_size(const void *ptr); /* whole live block, 0 if none is seen */

#ifdef __cplusplus
}
#endif

#endif
