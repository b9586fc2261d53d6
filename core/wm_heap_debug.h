/* SPDX-License-Identifier: Apache-2.0
 *
 * Beyond the SDK, for the people who debug: faults, sizes per capability, a walker,
 * an integrity check, counters. Nothing here moves an address of the SDK's calls.
 */
#ifndef WM_HEAP_DEBUG_H
#define WM_HEAP_DEBUG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wm_heap.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One row a kind: enumerator, name in reports and traces. "Damage" closes the
 * region it was found in: the region serves and frees nothing more and reports
 * nothing more, so that one smashed heap gives one fault and the evidence stays.
 * A bad call closes nothing. */
#define WM_HEAP_FAULTS(X)                                                                          \
    X(NONE, "none")                                                                                \
    /* bad calls */                                                                                \
    X(DOUBLE_FREE, "double-free")                                                                  \
    X(FOREIGN_POINTER, "foreign-pointer")   /* outside every region, or misaligned */              \
    X(INTERIOR_POINTER, "interior-pointer") /* inside a live block */                              \
    X(BAD_APPEND, "bad-append")                                                                    \
    X(NOT_INITIALIZED, "not-initialized")                                                          \
    X(INITIALIZED_TWICE, "initialized-twice")                                                      \
    X(BAD_REGION, "bad-region") /* the port's table: too small, overlapping, too many */           \
    /* damage */                                                                                   \
    X(SMASHED_HEADER, "smashed-header")                                                            \
    X(OVERFLOW, "overflow")   /* guard bytes behind a payload (comprehensive poisoning) */         \
    X(UNDERFLOW, "underflow") /* canary before a payload (poisoning) */                            \
    X(SMASHED_FREE_BLOCK, "smashed-free-block")                                                    \
    X(SMASHED_END_MARKER, "smashed-end-marker")                                                    \
    X(USE_AFTER_FREE, "use-after-free") /* pattern of free memory (comprehensive poisoning) */

enum wm_heap_fault_kind {
#define WM_HEAP_FAULT_ENUMERATOR(name, text) WM_HEAP_FAULT_##name,
    WM_HEAP_FAULTS(WM_HEAP_FAULT_ENUMERATOR)
#undef WM_HEAP_FAULT_ENUMERATOR
        WM_HEAP_FAULT_KINDS
};

/* The check that failed, by what was compared. */
#define WM_HEAP_CHECKS(X)                                                                          \
    X(NONE, "none")                                                                                \
    X(POINTER, "pointer is a live block's")                                                        \
    X(CALL, "call is allowed now")                                                                 \
    X(SEAL, "header's seal matches its words")                                                     \
    X(SIZE, "size is possible here")                                                               \
    X(PREVIOUS_FREE, "flag for a free block before")                                               \
    X(CANARY, "canary before the payload")                                                         \
    X(GUARD, "guard bytes behind the payload")                                                     \
    X(LINK, "tree link leads to a free block")                                                     \
    X(LARGEST, "largest size below a tree node")                                                   \
    X(PATTERN, "pattern of free memory")                                                           \
    X(TOTAL, "free bytes of the region")

enum wm_heap_check_kind {
#define WM_HEAP_CHECK_ENUMERATOR(name, text) WM_HEAP_CHECK_##name,
    WM_HEAP_CHECKS(WM_HEAP_CHECK_ENUMERATOR)
#undef WM_HEAP_CHECK_ENUMERATOR
        WM_HEAP_CHECK_KINDS
};

#define WM_HEAP_NO_REGION 0xffffffffu

/* What is wrong, where, and what was expected there. Fixed width: it is also kept
 * in the state, for a RAM dump to show. Addresses are W800 addresses. */
struct wm_heap_fault {
    uint32_t kind;     /* enum wm_heap_fault_kind */
    uint32_t check;    /* enum wm_heap_check_kind */
    uint32_t region;   /* index, or WM_HEAP_NO_REGION */
    uint32_t block;    /* header of the block concerned, 0 if there is none */
    uint32_t pointer;  /* the caller's pointer, 0 if the call had none */
    uint32_t address;  /* of the first word that is wrong */
    uint32_t expected; /* value of that word; for SIZE and POINTER as far as known */
    uint32_t actual;
    uint32_t site; /* the block's call site: the port's handle, 0 if unknown */
    uint32_t line;
};

/* Names as in the tables above; "unknown" outside them. */
const char *wm_heap_fault_name(uint32_t kind) WM_HEAP_LINK("wm_heap_fault_name");
const char *wm_heap_check_name(uint32_t check) WM_HEAP_LINK("wm_heap_check_name");

/* Free bytes, least free bytes ever, and largest free block of the regions that
 * serve `caps` (0 means DEFAULT): whole blocks, headers included. A request fits
 * in the largest block if its size, rounded, header and guard fit. The minimum is that
 * of the total if all regions that have joined serve `caps`; else the sum of theirs, each
 * since it joined, below which their sum never was: each may have been low at another time.
 * 0 if no region serves `caps`. Cost: O(1). */
size_t wm_heap_caps_get_free_size(wm_heap_cap_type_t caps)
    WM_HEAP_LINK("wm_heap_caps_get_free_size");
size_t wm_heap_caps_get_minimum_free_size(wm_heap_cap_type_t caps)
    WM_HEAP_LINK("wm_heap_caps_get_minimum_free_size");
size_t wm_heap_caps_get_largest_free_block(wm_heap_cap_type_t caps)
    WM_HEAP_LINK("wm_heap_caps_get_largest_free_block");

/* count * size bytes, zeroed. Also fails if the product does not fit size_t. Cost:
 * alloc + O(bytes), the clearing outside the lock. */
void *wm_heap_caps_calloc_tracing(size_t count, size_t size, wm_heap_cap_type_t caps,
                                  const char *file, int line)
    WM_HEAP_LINK("wm_heap_caps_calloc_tracing");

/* As alloc, at a multiple of `alignment`: a power of two from 8 to 4096, or it
 * fails. Freed by the ordinary free. It takes the first hole that holds the request
 * wherever the aligned address falls in it (size + alignment + smallest block), so
 * it can fail where a luckier hole exists. Cost: O(log region size). */
void *wm_heap_caps_aligned_alloc_tracing(size_t alignment, size_t size, wm_heap_cap_type_t caps,
                                         const char *file, int line)
    WM_HEAP_LINK("wm_heap_caps_aligned_alloc_tracing");

/* With the call site where the build keeps it, as the SDK's own macros do. */
#ifdef CONFIG_HEAP_USE_TRACING
#define wm_heap_caps_calloc(count, size, caps)                                                     \
    wm_heap_caps_calloc_tracing(count, size, caps, __FILE__, __LINE__)
#define wm_heap_caps_aligned_alloc(alignment, size, caps)                                          \
    wm_heap_caps_aligned_alloc_tracing(alignment, size, caps, __FILE__, __LINE__)
#else
#define wm_heap_caps_calloc(count, size, caps)                                                     \
    wm_heap_caps_calloc_tracing(count, size, caps, NULL, 0)
#define wm_heap_caps_aligned_alloc(alignment, size, caps)                                          \
    wm_heap_caps_aligned_alloc_tracing(alignment, size, caps, NULL, 0)
#endif

/* Bytes that may be used at `ptr`: what was asked for with comprehensive poisoning,
 * else up to the block's end. 0 for NULL; a bad pointer is a fault, as for free. */
size_t wm_heap_get_usable_size(const void *ptr) WM_HEAP_LINK("wm_heap_get_usable_size");

/* Lets realloc stay in place where it can (shrinking, or growing into a free
 * neighbour). Off after init, because it moves addresses away from the SDK's. */
void wm_heap_set_realloc_in_place(bool on) WM_HEAP_LINK("wm_heap_set_realloc_in_place");

/* Called after an allocation failed, outside the lock, with what was asked for and
 * the call site (NULL, 0 if unknown). One callback; NULL removes it. */
typedef void wm_heap_failed_callback_fn(void *context, size_t size, wm_heap_cap_type_t caps,
                                        const char *file, int line);
void wm_heap_set_failed_callback(wm_heap_failed_callback_fn *callback, void *context)
    WM_HEAP_LINK("wm_heap_set_failed_callback");

/* Events since init; they wrap at 2^32. */
struct wm_heap_counters {
    uint32_t allocs;         /* allocations that succeeded, moving reallocs' included */
    uint32_t frees;          /* blocks freed, moving reallocs' included */
    uint32_t failed;         /* allocations that returned NULL, size 0 excepted */
    uint32_t largest_failed; /* the largest size among them, 0xffffffff if larger, and for a
                                calloc of more than 2^31 - 1 bytes */
    uint32_t faults;         /* reported */
    uint32_t refused;        /* frees and reallocs in a region closed by a fault */
};
void wm_heap_get_counters(struct wm_heap_counters *counters) WM_HEAP_LINK("wm_heap_get_counters");

/* A block as the walker sees it. */
struct wm_heap_block {
    uint32_t address;   /* of the header */
    uint32_t size;      /* whole block, bytes */
    uint32_t pointer;   /* the user's; of a free block 0 */
    uint32_t requested; /* bytes asked for; of a free block 0 */
    uint32_t caps;      /* of the latest alloc or realloc, 0 resolved */
    uint32_t sequence;  /* number of the allocation: larger is newer */
    uint32_t site;      /* port's handle, 0 if unknown */
    uint32_t line;
    bool live;
};

/* Calls `visit` for each block of a region in address order, live and free, until
 * it returns false. Stops before the first header that is not intact; returns true
 * if the end was reached or `visit` stopped it, false otherwise or if there is no
 * such region. The lock is held throughout: O(blocks). `visit` must not call the
 * heap. */
typedef bool wm_heap_visit_fn(void *context, const struct wm_heap_block *block);
bool wm_heap_walk(uint32_t region, wm_heap_visit_fn *visit, void *context)
    WM_HEAP_LINK("wm_heap_walk");

/* Describes the live block of `ptr`; false, and nothing is reported, if there is none.
 * O(1). */
bool wm_heap_get_block(const void *ptr, struct wm_heap_block *block)
    WM_HEAP_LINK("wm_heap_get_block");

/* Checks every header, tree node, canary, guard byte, end marker and counter of a
 * region (WM_HEAP_NO_REGION: of all), and with comprehensive poisoning every free
 * byte. Returns true if all is well or there is no such region, else false and the
 * first fault in address order. Reports nothing and changes nothing. O(blocks), the
 * lock held region by region. */
bool wm_heap_check(uint32_t region, struct wm_heap_fault *fault) WM_HEAP_LINK("wm_heap_check");

/* The same for one live block and the headers of its neighbours. O(log). */
bool wm_heap_check_block(const void *ptr, struct wm_heap_fault *fault)
    WM_HEAP_LINK("wm_heap_check_block");

#ifdef __cplusplus
}
#endif

#endif
