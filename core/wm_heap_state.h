/* SPDX-License-Identifier: Apache-2.0
 *
 * All mutable state of the core, in one struct of fixed-width words: a simulator can
 * save and restore it, and a RAM dump's reader finds it by its magic. Only the core
 * writes it.
 */
#ifndef WM_HEAP_STATE_H
#define WM_HEAP_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "wm_heap_debug.h"
#include "wm_heap_port.h"

#define WM_HEAP_STATE_MAGIC 0x48303857u /* "W80H" in memory */
#define WM_HEAP_STATE_VERSION 4u

/* A free block's place in the tree: whose node stands there, and the largest block from there
 * downwards. Node 0 is nobody; then largest is 0. */
struct __attribute__((may_alias)) wm_heap_link {
    uint32_t node; /* its address, 24 bytes before the free block's end */
    uint32_t largest;
};

enum wm_heap_region_state {
    WM_HEAP_REGION_ABSENT, /* waits for its append, or was refused */
    WM_HEAP_REGION_OPEN,
    WM_HEAP_REGION_CLOSED, /* by a fault: serves nothing, frees nothing */
};

/* Free bytes of one or several regions, less than 2 GiB. What is kept costs least to update: the
 * least they were before bytes came back, and how far they are above that (below: a new least). */
struct wm_heap_level {
    uint32_t lowest;
    int32_t above;
};

static inline uint32_t wm_heap_level_free(const struct wm_heap_level *level) {
    return level->lowest + (uint32_t)level->above;
}

static inline uint32_t wm_heap_level_minimum(const struct wm_heap_level *level) {
    return level->above < 0 ? wm_heap_level_free(level) : level->lowest;
}

/* start <= tail <= end. Blocks fill start to tail; from tail to end lies free memory
 * without any header (none if they are equal); the end marker stands at end. Regions that
 * have not joined lie behind all others and hold nothing. */
struct wm_heap_region {
    uint32_t start;            /* first block */
    uint32_t eighths;          /* places for a block to begin, 8 bytes apart; 0 when closed */
    uint32_t tail;             /* first byte that no block holds */
    uint32_t end;              /* the end marker's header */
    uint32_t lacks;            /* capabilities that it does not serve: all when closed */
    struct wm_heap_link root;  /* of the tree of the free blocks below tail */
    struct wm_heap_link fresh; /* to the one that came last: it is not in the tree */
    struct wm_heap_level level;
    uint32_t table_caps; /* what the port's table says it has */
    uint32_t state;      /* enum wm_heap_region_state */
};

/* Realloc where the block stands. False: it has to move. */
typedef bool wm_heap_resize_fn(void *old_mem, size_t new_size, uint32_t caps, const char *file,
                               int line);

/* What an allocation asked for after the latest region opened or closed: the next one, which mostly
 * asks for the same, need not look for it. */
struct wm_heap_latest {
    uint32_t caps;
    uint32_t region; /* the first that has them: its place in wm_heap_state, in bytes */
};

struct wm_heap_state {
    uint32_t magic; /* WM_HEAP_STATE_MAGIC once initialised */
    uint16_t version;
    uint8_t header_size; /* bytes; tells the build, together with the options */
    uint8_t options;     /* WM_HEAP_OPTION_ bits */
    uint32_t region_count;
    struct wm_heap_latest latest;
    struct wm_heap_level total;
    struct wm_heap_counters counters; /* allocs is also the latest sequence number */
    struct wm_heap_region regions[WM_HEAP_REGIONS_MAX];
    struct wm_heap_fault first_fault; /* since init; kept for the RAM dump */
    /* last, because their width is the host's */
    wm_heap_resize_fn *resize; /* NULL: never */
    /* from here on, what may be set before init and outlives it */
    wm_heap_failed_callback_fn *failed_callback;
    void *failed_context;
};

#define WM_HEAP_OPTION_TRACING 1u
#define WM_HEAP_OPTION_LIGHT 2u
#define WM_HEAP_OPTION_COMPREHENSIVE 4u
#define WM_HEAP_OPTION_REALLOC_IN_PLACE 8u

#ifdef __cplusplus
extern "C" {
#endif
extern struct wm_heap_state wm_heap_state WM_HEAP_LINK("wm_heap_state");
#ifdef __cplusplus
}
#endif

#endif
