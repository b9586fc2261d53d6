/* SPDX-License-Identifier: Apache-2.0
 *
 * The core's port for the W800: with it, the core takes the place of the heap component of
 * the SDK v2.3 and v2.4. README.md says how it gets into a firmware.
 *
 * Options, beside the core's: CONFIG_HEAP_USE_PSRAM and CONFIG_HEAP_USE_ASSERT as in the SDK;
 * W800_PORT_DRAM_END, W800_PORT_REALLOC_KEEPS_CAPS below.
 */
#define WM_HEAP_CORE /* the functions, not the macros */
#include "w800_port.h"

#include "../wm_heap_port.h"
#include "../wm_heap_state.h"

#define WEAK __attribute__((weak))

/* --- lock ------------------------------------------------------------------------------- */

#define PSR_IE (1u << 6) /* interrupts are enabled */

/* Interrupts off, and afterwards as they were found, so it nests, and works in an interrupt
 * handler and before the scheduler runs. FreeRTOS's own critical section does not: when its
 * counter is back at 0 it enables interrupts, whatever they were. Only IE is put back: the
 * PSR holds the compiler's condition bit, too. An interrupt between the two instructions
 * leaves the PSR as it was. */
uint32_t wm_heap_port_lock(void) {
    uint32_t psr;
    __asm__ volatile("mfcr %0, psr\n\tpsrclr ie" : "=r"(psr) : : "memory");
    return psr & PSR_IE;
}

void wm_heap_port_unlock(uint32_t key) {
    if (key != 0) {
        __asm__ volatile("psrset ie" : : : "memory");
    }
}

/* --- memory ----------------------------------------------------------------------------- */

/* The SDK keeps the last word of DRAM out of the heap, for the reason of a reboot, but its
 * functions then read and write the word at 0x20047efc, inside: in whatever block lies there.
 * To be rid of that, let DRAM end at that word; blocks at DRAM's very end then lie elsewhere
 * than the SDK puts them, so it is not the default. */
#ifndef W800_PORT_DRAM_END
#define W800_PORT_DRAM_END 0x20047ffcu
#endif

#define SRAM_END 0x20028000u
#define PSRAM_START 0x30000000u

#ifdef CONFIG_HEAP_USE_PSRAM
#define TABLE /* in RAM: PSRAM's end is found out */
#else
#define TABLE const
#endif

static TABLE struct wm_heap_region_config regions[] = {
    {"SRAM", (uint32_t)__bss_end__, SRAM_END,
     WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_INTERNAL | WM_HEAP_CAP_EXEC, false},
    {"DRAM", (uint32_t)_eshram, W800_PORT_DRAM_END,
     WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_INTERNAL | WM_HEAP_CAP_SHARED, false},
#ifdef CONFIG_HEAP_USE_PSRAM
    {"PSRAM", (uint32_t)_epsram, 0, WM_HEAP_CAP_SPIRAM, true},
#endif
};

const struct wm_heap_region_config *wm_heap_port_regions(uint32_t *count) {
    *count = sizeof regions / sizeof regions[0];
    return regions;
}

#ifdef CONFIG_HEAP_USE_PSRAM
#define PSRAM (sizeof regions / sizeof regions[0] - 1u)

void w800_port_set_psram(uint32_t bytes) {
    uint32_t end = PSRAM_START + bytes;
    regions[PSRAM].end = end > regions[PSRAM].start ? end : 0;
}

/* The driver may allocate and wait: not under the lock. */
static void psram_detect(void) {
    uint32_t bytes;
    struct wm_device *device = wm_drv_psram_init("psram");
    if (device != NULL && wm_drv_psram_get_size(device, &bytes) == WM_ERR_SUCCESS) {
        w800_port_set_psram(bytes);
    }
}

static bool is_fitted(void) {
    if (regions[PSRAM].end == 0) {
        psram_detect();
    }
    return regions[PSRAM].end != 0;
}
#else
void w800_port_set_psram(uint32_t bytes) { (void)bytes; }

static bool is_fitted(void) { return false; }
#endif

int w800_port_append(const char *name) {
    bool is_psram = name != NULL && name[0] == 'P'; /* as no other region's name begins */
    return is_psram && !is_fitted() ? WM_ERR_FAILED : wm_heap_append_to_heap(name);
}

/* --- call sites ------------------------------------------------------------------------- */

/* String literals lie in flash. A smashed header's handle may be anything, and outside of
 * memory a read would be an exception. */
#define FLASH_START 0x08000000u
#define FLASH_BYTES 0x02000000u

uint32_t wm_heap_port_site(const char *file) { return (uint32_t)file; }

const char *wm_heap_port_site_name(uint32_t site) {
    return site - FLASH_START < FLASH_BYTES ? (const char *)site : NULL;
}

/* --- the console ------------------------------------------------------------------------ */

WEAK void wm_heap_port_print(const char *text, uint32_t length) {
    char chunk[64];
    while (length != 0) {
        uint32_t bytes = 0;
        while (bytes < length && bytes < sizeof chunk - 1u) {
            chunk[bytes] = text[bytes];
            bytes++;
        }
        chunk[bytes] = '\0';
        wm_printf_direct("%s", chunk);
        text += bytes;
        length -= bytes;
    }
}

/* --- faults ----------------------------------------------------------------------------- */

WEAK void w800_port_stop(void) {
    for (;;) {
        __asm__ volatile("trap 0"); /* as the SDK's own assertions and hooks end */
    }
}

/* One line, in the form of the SDK's assertions, so that whatever looks for those finds it;
 * its file and line are those of the block. */
static void print_fault(const struct wm_heap_fault *fault) {
    const char *file = wm_heap_port_site_name(fault->site);
    uint32_t pointer = fault->pointer;
    if (pointer == 0 && fault->block != 0) {
        pointer = fault->block + wm_heap_state.header_size;
    }
    wm_printf_direct("assertion \"heap: %s of 0x%08x: %s, at 0x%08x expected 0x%08x, found "
                     "0x%08x\" failed: file \"%s\", line %u, function: wm_heap\r\n",
                     wm_heap_fault_name(fault->kind), (unsigned)pointer,
                     wm_heap_check_name(fault->check), (unsigned)fault->address,
                     (unsigned)fault->expected, (unsigned)fault->actual, file != NULL ? file : "",
                     (unsigned)fault->line);
}

WEAK void wm_heap_port_fault(const struct wm_heap_fault *fault) {
    print_fault(fault);
#ifdef CONFIG_HEAP_USE_ASSERT
    w800_port_stop();
#endif
}

/* --- malloc and FreeRTOS ---------------------------------------------------------------- */

/* As the SDK's wm_osal.c and its FreeRTOS port have them, and weak, because there they are;
 * theirs may be dropped, whose calloc does not check its multiplication. libc's own functions
 * that allocate (strdup) call malloc in its build for one thread only; else they call
 * _malloc_r and its kind, which are here too: without them they would take memory from
 * _sbrk, which is this heap's. */
struct _reent;
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *old_mem, size_t new_size);
void free(void *ptr);
void *_malloc_r(struct _reent *reent, size_t size);
void *_calloc_r(struct _reent *reent, size_t count, size_t size);
void *_realloc_r(struct _reent *reent, void *old_mem, size_t new_size);
void _free_r(struct _reent *reent, void *ptr);
void *pvPortMalloc(size_t size);
void *pvPortMallocTracing(size_t size, const char *file, int line);
void vPortFree(void *ptr);

/* The SDK asks for DEFAULT memory whatever the block was, so that one in DRAM with SHARED
 * leaves the reach of Wi-Fi, SDIO and HSPI, silently; 0 keeps the block's capabilities. */
#ifdef W800_PORT_REALLOC_KEEPS_CAPS
#define REALLOC_CAPS ((wm_heap_cap_type_t)0)
#else
#define REALLOC_CAPS WM_HEAP_CAP_DEFAULT
#endif

WEAK void *malloc(size_t size) {
    return wm_heap_caps_alloc_tracing(size, WM_HEAP_CAP_DEFAULT, "malloc", 0);
}

WEAK void *calloc(size_t count, size_t size) {
    return wm_heap_caps_calloc_tracing(count, size, WM_HEAP_CAP_DEFAULT, "calloc", 0);
}

WEAK void *realloc(void *old_mem, size_t new_size) {
    wm_heap_cap_type_t caps = old_mem != NULL ? REALLOC_CAPS : WM_HEAP_CAP_DEFAULT;
    return wm_heap_caps_realloc_tracing(old_mem, new_size, caps, "realloc", 0);
}

WEAK void free(void *ptr) { wm_heap_caps_free(ptr); }

WEAK void *_malloc_r(struct _reent *reent, size_t size) {
    (void)reent;
    return malloc(size);
}

WEAK void *_calloc_r(struct _reent *reent, size_t count, size_t size) {
    (void)reent;
    return calloc(count, size);
}

WEAK void *_realloc_r(struct _reent *reent, void *old_mem, size_t new_size) {
    (void)reent;
    return realloc(old_mem, new_size);
}

WEAK void _free_r(struct _reent *reent, void *ptr) {
    (void)reent;
    free(ptr);
}

/* Task stacks, control blocks and queues: on-chip memory. */
WEAK void *pvPortMalloc(size_t size) {
    return wm_heap_caps_alloc_tracing(size, WM_HEAP_CAP_INTERNAL, "pvPortMalloc", 0);
}

WEAK void *pvPortMallocTracing(size_t size, const char *file, int line) {
    return wm_heap_caps_alloc_tracing(size, WM_HEAP_CAP_INTERNAL, file, line);
}

WEAK void vPortFree(void *ptr) { wm_heap_caps_free(ptr); }
