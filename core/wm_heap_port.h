/* SPDX-License-Identifier: Apache-2.0
 *
 * All that the core asks of the system it runs on. Freestanding compilers also
 * want memcpy, memmove, memset and memcmp from it.
 */
#ifndef WM_HEAP_PORT_H
#define WM_HEAP_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "wm_heap_debug.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Enters and leaves the critical section. Sections nest; `key` is what lock
 * returned, so that a port can restore the interrupt state it found. */
uint32_t wm_heap_port_lock(void);
void wm_heap_port_unlock(uint32_t key);

/* A fault was found; the lock is not held. The port decides whether to stop the
 * system (CONFIG_HEAP_USE_ASSERT); if it returns, the call fails. */
void wm_heap_port_fault(const struct wm_heap_fault *fault);

/* Writes console text; the lock is not held. */
void wm_heap_port_print(const char *text, uint32_t length);

/* A region of memory. Rows stand in the order in which they are tried, which is that of
 * their addresses. */
struct wm_heap_region_config {
    const char *name; /* at most 7 characters */
    uint32_t start;   /* first byte of the heap in it */
    uint32_t end;     /* first byte after it */
    uint32_t caps;    /* wm_heap_cap_type_t bits */
    bool deferred;    /* joins by wm_heap_append_to_heap */
};
#define WM_HEAP_REGIONS_MAX 3u

/* The table of the system's regions; sets *count. Asked at init, by append, and for printing. */
const struct wm_heap_region_config *wm_heap_port_regions(uint32_t *count);

/* A call site's file name as 32 bits and back: on the chip a pointer's value. NULL
 * is 0 and 0 is NULL; an unknown handle (a smashed header's) gives NULL or text. */
uint32_t wm_heap_port_site(const char *file);
const char *wm_heap_port_site_name(uint32_t site);

#ifdef __cplusplus
}
#endif

#endif
