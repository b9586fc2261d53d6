/* SPDX-License-Identifier: Apache-2.0
 *
 * The SDK's heap API: names, types and meaning are the contract of the W800's
 * SDK v2.3 to v2.4, so that firmware sources compile unchanged.
 *
 * Options, under the SDK's names (defined means y):
 *   CONFIG_HEAP_USE_TRACING             call sites in the headers (+8 bytes)
 *   CONFIG_HEAP_POISONING_LIGHT         canary words between header and payload
 *   CONFIG_HEAP_POISONING_COMPREHENSIVE also guard bytes behind the payload and
 *                                       a pattern in free memory
 *   CONFIG_HEAP_USE_ASSERT              read by a port: a fault stops the system
 *
 * Every entry point takes the port's lock for a bounded time and may be called
 * from wherever that lock may be taken. "Fails" below means: returns the value
 * named, changes nothing else, and counts the failure.
 */
#ifndef WM_HEAP_H
#define WM_HEAP_H

#include <stddef.h>

/* Six builds of the core live in one host program: each is compiled with its own
 * WM_HEAP_SUFFIX, which renames the symbols for the linker and leaves the C names
 * alone. Firmware does not define it. */
#ifdef WM_HEAP_SUFFIX
#define WM_HEAP_LINK(name) __asm__(name WM_HEAP_SUFFIX)
#else
#define WM_HEAP_LINK(name)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What memory must be able to do. Bits combine with `|`; a region serves a
 * request only if it has all the bits asked for. 0 stands for DEFAULT. */
typedef enum {
    WM_HEAP_CAP_DEFAULT = 1 << 0,  /* any on-chip memory */
    WM_HEAP_CAP_INTERNAL = 1 << 1, /* on-chip */
    WM_HEAP_CAP_SPIRAM = 1 << 2,   /* PSRAM, and nothing else */
    WM_HEAP_CAP_EXEC = 1 << 3,     /* SRAM: code may run there */
    WM_HEAP_CAP_SHARED = 1 << 4,   /* DRAM: Wi-Fi, SDIO and HSPI masters reach it */
    WM_HEAP_CAP_INVALID = 1 << 20, /* no region has it */
} wm_heap_cap_type_t;

#define WM_ERR_SUCCESS 0
#define WM_ERR_FAILED (-1)
#define WM_ERR_INVALID_PARAM (-3)

/* Sets the heap up over the port's regions, those that join later excepted.
 * Call once, before all else; a second call is a fault and changes nothing.
 * Cost: O(1); with comprehensive poisoning O(bytes of the regions). */
void wm_heap_init(void) WM_HEAP_LINK("wm_heap_init");

/* Joins a region that waits for it ("PSRAM") to the heap. Returns WM_ERR_SUCCESS;
 * WM_ERR_INVALID_PARAM for NULL, an unknown name, or a region that joined at init;
 * WM_ERR_FAILED for a region that has joined already or is not fitted. Every
 * refusal is also a bad-append fault. On success the total's minimum restarts at
 * the current total, as the SDK does. Cost: as wm_heap_init. */
int wm_heap_append_to_heap(const char *name) WM_HEAP_LINK("wm_heap_append_to_heap");

/* Allocates `size` bytes, 8-aligned, uninitialised, first fit in address order in
 * the first region that has all of `caps`. NULL if and only if size is 0 or over
 * 2^31 - 1, no region serves `caps`, none of them has a hole large enough, or the
 * regions concerned are closed by a fault. Cost: O(log region size) worst case; with
 * comprehensive poisoning also O(bytes of the block). */
void *wm_heap_caps_alloc(size_t size, wm_heap_cap_type_t caps) WM_HEAP_LINK("wm_heap_caps_alloc");

/* Resizes by allocating `new_size` bytes with `caps`, copying the smaller of old
 * payload and new size, and freeing `old_mem`, even to shrink: the SDK's addresses
 * depend on it. caps 0 means those of the block's latest alloc or realloc. NULL
 * old_mem allocates, new_size 0 frees. NULL leaves the old block as it was.
 * Note: other caps move the block to other memory; libc's realloc passes DEFAULT.
 * Cost: alloc + free + O(bytes copied), the copy outside the lock. */
void *wm_heap_caps_realloc(void *old_mem, size_t new_size, wm_heap_cap_type_t caps)
    WM_HEAP_LINK("wm_heap_caps_realloc");

/* The same with the call site: `file` must outlive the block (a literal). In builds
 * without tracing the site reaches the failed-allocation callback only. */
void *wm_heap_caps_alloc_tracing(size_t size, wm_heap_cap_type_t caps, const char *file, int line)
    WM_HEAP_LINK("wm_heap_caps_alloc_tracing");
void *wm_heap_caps_realloc_tracing(void *old_mem, size_t new_size, wm_heap_cap_type_t caps,
                                   const char *file, int line)
    WM_HEAP_LINK("wm_heap_caps_realloc_tracing");

/* Frees and merges with both neighbours. NULL does nothing. A pointer that is not
 * a live block's, or a block whose surroundings are smashed, is a fault and nothing
 * is freed. A pointer whose block was freed and handed out again at the same
 * address is that block's pointer: this cannot be told from a good free.
 * Cost: O(log region size) worst case; with comprehensive poisoning also O(bytes of the
 * block); O(blocks of the region) to find out what to report. */
void wm_heap_caps_free(void *ptr) WM_HEAP_LINK("wm_heap_caps_free");

/* Free bytes of all regions, whole blocks with their headers. Cost: O(1). */
size_t wm_heap_get_free_size(void) WM_HEAP_LINK("wm_heap_get_free_size");

/* The least that wm_heap_get_free_size would ever have returned since init or the
 * last append. Cost: O(1). */
size_t wm_heap_get_minimum_ever_free_size(void) WM_HEAP_LINK("wm_heap_get_minimum_ever_free_size");

/* Prints, through the port, free and minimum of the total and of each region, in
 * the format of SDK v2.3 and later. */
void wm_heap_print_stats(void) WM_HEAP_LINK("wm_heap_print_stats");

/* Prints, through the port, the live blocks, newest first, and their summary (with
 * tracing; nothing otherwise). With `ptr` not NULL the corruption line for that block
 * follows, and the list leaves out the block itself.
 * Cost: O(blocks^2); takes the lock for O(blocks) once a line. */
void wm_heap_print_tracing(void *ptr) WM_HEAP_LINK("wm_heap_print_tracing");

/* The core's own sources define the functions themselves; everybody else's calls
 * carry their site, as in the SDK. */
#if defined(CONFIG_HEAP_USE_TRACING) && !defined(WM_HEAP_CORE)
#define wm_heap_caps_alloc(size, caps) wm_heap_caps_alloc_tracing(size, caps, __FILE__, __LINE__)
#define wm_heap_caps_realloc(old_mem, new_size, caps)                                              \
    wm_heap_caps_realloc_tracing(old_mem, new_size, caps, __FILE__, __LINE__)
#endif

#ifdef __cplusplus
}
#endif

#endif
