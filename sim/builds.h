/* SPDX-License-Identifier: Apache-2.0
 *
 * The six builds of the core as tables of entry points, so that one program can choose
 * at run time: tracing or not, crossed with no, light and comprehensive poisoning.
 */
#ifndef BUILDS_H
#define BUILDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/wm_heap_debug.h"
#include "../core/wm_heap_state.h"

#define HEAP_BUILDS 6

struct heap_build {
    const char *name; /* none, trace, light, comp, tlight, tcomp */
    bool tracing;
    bool poisoned;
    bool comprehensive;
    uint32_t header_size;
    struct wm_heap_state *state;
    void (*init)(void);
    int (*append)(const char *name);
    void *(*alloc)(size_t size, wm_heap_cap_type_t caps, const char *file, int line);
    void *(*realloc)(void *ptr, size_t size, wm_heap_cap_type_t caps, const char *file, int line);
    void *(*alloc_untraced)(size_t size, wm_heap_cap_type_t caps); /* without a call site */
    void *(*realloc_untraced)(void *ptr, size_t size, wm_heap_cap_type_t caps);
    void *(*calloc)(size_t count, size_t size, wm_heap_cap_type_t caps, const char *file, int line);
    void *(*aligned_alloc)(size_t alignment, size_t size, wm_heap_cap_type_t caps, const char *file,
                           int line);
    void (*free)(void *ptr);
    size_t (*free_size)(void);
    size_t (*minimum_free_size)(void);
    size_t (*caps_free_size)(wm_heap_cap_type_t caps);
    size_t (*caps_minimum_free_size)(wm_heap_cap_type_t caps);
    size_t (*caps_largest_free_block)(wm_heap_cap_type_t caps);
    size_t (*usable_size)(const void *ptr);
    void (*print_stats)(void);
    void (*print_tracing)(void *ptr);
    void (*set_realloc_in_place)(bool on);
    void (*set_failed_callback)(wm_heap_failed_callback_fn *callback, void *context);
    void (*counters)(struct wm_heap_counters *counters);
    bool (*walk)(uint32_t region, wm_heap_visit_fn *visit, void *context);
    bool (*get_block)(const void *ptr, struct wm_heap_block *block);
    bool (*check)(uint32_t region, struct wm_heap_fault *fault);
    bool (*check_block)(const void *ptr, struct wm_heap_fault *fault);
    const char *(*fault_name)(uint32_t kind);
    const char *(*check_name)(uint32_t check);
};

extern const struct heap_build *const heap_builds[HEAP_BUILDS];

/* The build of a configuration: poisoning 0 (none), 1 (light) or 2 (comprehensive); NULL
 * for another. */
const struct heap_build *heap_build_find(bool tracing, unsigned poisoning);

#endif
