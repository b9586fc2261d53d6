/* SPDX-License-Identifier: Apache-2.0
 *
 * One build's entry points as a table. Compiled six times, each time with the very
 * definitions its build of the core got, so that the names below link to that build:
 *   -DWM_HEAP_SUFFIX='"_tlight"'  renames the core's symbols for the linker
 *   -DWM_HEAP_BUILD=tlight        names the table
 *   -DCONFIG_HEAP_USE_TRACING, -DCONFIG_HEAP_POISONING_LIGHT or _COMPREHENSIVE
 */
#define WM_HEAP_CORE /* the functions themselves, not the macros that add a call site */
#include "builds.h"

#ifdef CONFIG_HEAP_USE_TRACING
#define BUILD_TRACING true
#else
#define BUILD_TRACING false
#endif

#ifdef CONFIG_HEAP_POISONING_COMPREHENSIVE
#define BUILD_COMPREHENSIVE true
#else
#define BUILD_COMPREHENSIVE false
#endif

#if defined(CONFIG_HEAP_POISONING_LIGHT) || defined(CONFIG_HEAP_POISONING_COMPREHENSIVE)
#define BUILD_POISONED true
#else
#define BUILD_POISONED false
#endif

/* Through a second macro, so that WM_HEAP_BUILD is replaced before it is pasted. */
#define BUILD_PASTE(name) heap_build_##name
#define BUILD_TABLE(name) BUILD_PASTE(name)
#define BUILD_QUOTE(name) #name
#define BUILD_NAME(name) BUILD_QUOTE(name)

extern const struct heap_build BUILD_TABLE(WM_HEAP_BUILD);

const struct heap_build BUILD_TABLE(WM_HEAP_BUILD) = {
    .name = BUILD_NAME(WM_HEAP_BUILD),
    .tracing = BUILD_TRACING,
    .poisoned = BUILD_POISONED,
    .comprehensive = BUILD_COMPREHENSIVE,
    /* The SDK's header: 16 bytes, 8 more for a call site, 8 more for a canary. */
    .header_size = 16u + (BUILD_TRACING ? 8u : 0u) + (BUILD_POISONED ? 8u : 0u),
    .state = &wm_heap_state,
    .init = wm_heap_init,
    .append = wm_heap_append_to_heap,
    .alloc = wm_heap_caps_alloc_tracing,
    .realloc = wm_heap_caps_realloc_tracing,
    .alloc_untraced = wm_heap_caps_alloc,
    .realloc_untraced = wm_heap_caps_realloc,
    .calloc = wm_heap_caps_calloc_tracing,
    .aligned_alloc = wm_heap_caps_aligned_alloc_tracing,
    .free = wm_heap_caps_free,
    .free_size = wm_heap_get_free_size,
    .minimum_free_size = wm_heap_get_minimum_ever_free_size,
    .caps_free_size = wm_heap_caps_get_free_size,
    .caps_minimum_free_size = wm_heap_caps_get_minimum_free_size,
    .caps_largest_free_block = wm_heap_caps_get_largest_free_block,
    .usable_size = wm_heap_get_usable_size,
    .print_stats = wm_heap_print_stats,
    .print_tracing = wm_heap_print_tracing,
    .set_realloc_in_place = wm_heap_set_realloc_in_place,
    .set_failed_callback = wm_heap_set_failed_callback,
    .counters = wm_heap_get_counters,
    .walk = wm_heap_walk,
    .get_block = wm_heap_get_block,
    .check = wm_heap_check,
    .check_block = wm_heap_check_block,
    .fault_name = wm_heap_fault_name,
    .check_name = wm_heap_check_name,
};
