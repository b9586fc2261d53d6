/* SPDX-License-Identifier: Apache-2.0
 *
 * For scripts/size: refers to exactly the functions of the SDK's API, so that a link that
 * drops what nobody refers to keeps what a firmware would. All of this file, the port and the
 * functions that compilers want included, lies in a section of its own, which is not counted.
 */
#define WM_HEAP_CORE /* the functions, not the macros */
#include "wm_heap.h"
#include "wm_heap_port.h"

#define STUB __attribute__((section("api_stub"), noinline))

void _start(void);

STUB uint32_t wm_heap_port_lock(void) { return 0; }
STUB void wm_heap_port_unlock(uint32_t key) { (void)key; }
STUB void wm_heap_port_fault(const struct wm_heap_fault *fault) { (void)fault; }
STUB uint32_t wm_heap_port_site(const char *file) { return (uint32_t)(uintptr_t)file; }
STUB const char *wm_heap_port_site_name(uint32_t site) { return (const char *)(uintptr_t)site; }

STUB void wm_heap_port_print(const char *text, uint32_t length) {
    (void)text;
    (void)length;
}

STUB const struct wm_heap_region_config *wm_heap_port_regions(uint32_t *count) {
    *count = 0;
    return NULL;
}

STUB void *memcpy(void *to, const void *from, size_t count) {
    (void)from;
    (void)count;
    return to;
}

STUB void *memmove(void *to, const void *from, size_t count) {
    (void)from;
    (void)count;
    return to;
}

STUB void *memset(void *to, int value, size_t count) {
    (void)value;
    (void)count;
    return to;
}

STUB int memcmp(const void *left, const void *right, size_t count) {
    (void)left;
    (void)right;
    return count != 0;
}

STUB void _start(void) {
    static void *volatile block __attribute__((section("api_stub_data")));

    wm_heap_init();
    (void)wm_heap_append_to_heap(block);
    block = wm_heap_caps_alloc(1, WM_HEAP_CAP_DEFAULT);
    block = wm_heap_caps_alloc_tracing(1, WM_HEAP_CAP_DEFAULT, block, 1);
    block = wm_heap_caps_realloc(block, 1, WM_HEAP_CAP_DEFAULT);
    block = wm_heap_caps_realloc_tracing(block, 1, WM_HEAP_CAP_DEFAULT, block, 1);
    wm_heap_caps_free(block);
    block = (char *)block + wm_heap_get_free_size();
    block = (char *)block + wm_heap_get_minimum_ever_free_size();
    wm_heap_print_stats();
    wm_heap_print_tracing(block);
}
