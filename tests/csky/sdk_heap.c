/* SPDX-License-Identifier: Apache-2.0
 *
 * A stand-in for the SDK's heap: its headers, its addresses as long as nothing is freed that a
 * later request fits in, with tracing its list. All that the recorder beside it may look at.
 */
#include <stddef.h>
#include <stdint.h>

#define WM_HEAP_CORE /* the functions, not the macros */
#include "wm_heap.h"

int putchar(int character);

struct header {
    struct header *next;
    uint32_t size; /* bit 31: live */
    uint32_t heap;
    uint32_t caps;
#ifdef CONFIG_HEAP_USE_TRACING
    const char *file;
    int line;
#endif
#ifdef CONFIG_HEAP_POISONING_LIGHT
    uint32_t canary[2];
#endif
};

/* In a build without tracing a header has no site. */
static void set_site(struct header *header, const char *file, int line) {
#ifdef CONFIG_HEAP_USE_TRACING
    header->file = file;
    header->line = line;
#else
    (void)header;
    (void)file;
    (void)line;
#endif
}

#define SRAM_HEAP 0x20004120u /* as the symbols of the link map say */
#define DRAM_HEAP 0x20028c00u
#define LIVE 0x80000000u

static struct {
    uint32_t used[2];
    struct header *newest;
} sdk;

/* Nothing is used again, which is what first fit does, too, as long as nothing is freed that
 * a later request fits in. */
void *wm_heap_caps_alloc_tracing(size_t size, wm_heap_cap_type_t caps, const char *file, int line) {
    uint32_t region = (caps & WM_HEAP_CAP_SHARED) != 0;
    if (size > 0x10000) {
        return NULL;
    }
    struct header *header =
        (struct header *)(uintptr_t)((region == 0 ? SRAM_HEAP : DRAM_HEAP) + sdk.used[region]);
    uint32_t bytes = ((uint32_t)size + (uint32_t)sizeof *header + 7u) & ~7u;
    header->next = sdk.newest;
    header->size = bytes | LIVE;
    header->heap = 0x20001030u + 64 * region;
    header->caps = caps;
    set_site(header, file, line);
    sdk.used[region] += bytes;
    sdk.newest = header;
    return header + 1;
}

void *wm_heap_caps_alloc(size_t size, wm_heap_cap_type_t caps) {
    return wm_heap_caps_alloc_tracing(size, caps, NULL, 0);
}

void wm_heap_caps_free(void *ptr) {
    struct header *header = (struct header *)ptr - 1;
    for (struct header **at = &sdk.newest; *at != NULL; at = &(*at)->next) {
        if (*at == header) {
            *at = header->next;
            break;
        }
    }
    header->size &= ~LIVE;
    set_site(header, NULL, -1);
}

void *wm_heap_caps_realloc_tracing(void *old_mem, size_t new_size, wm_heap_cap_type_t caps,
                                   const char *file, int line) {
    void *memory = wm_heap_caps_alloc_tracing(new_size, caps, file, line);
    wm_heap_caps_free(old_mem);
    return memory;
}

void *wm_heap_caps_realloc(void *old_mem, size_t new_size, wm_heap_cap_type_t caps) {
    return wm_heap_caps_realloc_tracing(old_mem, new_size, caps, NULL, 0);
}

int wm_heap_append_to_heap(const char *name) {
    (void)name;
    return WM_ERR_FAILED;
}

#ifdef CONFIG_HEAP_USE_TRACING
static void put_text(const char *text) {
    while (*text != '\0') {
        putchar(*text++);
    }
}

static void put_number(uint32_t value, uint32_t base) {
    char digits[12];
    uint32_t count = 0;
    do {
        digits[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (count > 0) {
        putchar(digits[--count]);
    }
}

void wm_heap_print_tracing(void *ptr) {
    uint32_t index = 0;
    uint32_t bytes = 0;
    (void)ptr;
    for (struct header *at = sdk.newest; at != NULL; at = at->next) {
        put_number(index++, 10);
        put_text("\t0x");
        put_number((uint32_t)(uintptr_t)(at + 1), 16);
        putchar('\t');
        put_text(at->file != NULL ? at->file : "");
        putchar(':');
        put_number((uint32_t)at->line, 10);
        putchar('\t');
        put_number(at->size & ~LIVE, 10);
        put_text("\r\n");
        bytes += at->size & ~LIVE;
    }
    put_text("summary: malloc size ");
    put_number(bytes, 10);
    put_text(", malloc count ");
    put_number(index, 10);
    put_text("\r\n");
}
#else
void wm_heap_print_tracing(void *ptr) { (void)ptr; }
#endif
