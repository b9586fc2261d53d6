/* SPDX-License-Identifier: Apache-2.0
 *
 * Hooks the recorder into a firmware by the linker, the heap's sources staying as they are:
 *
 *     -Wl,--wrap=wm_heap_caps_alloc,--wrap=wm_heap_caps_alloc_tracing
 *     -Wl,--wrap=wm_heap_caps_realloc,--wrap=wm_heap_caps_realloc_tracing
 *     -Wl,--wrap=wm_heap_caps_free,--wrap=wm_heap_append_to_heap
 *     -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free   (WM_HEAP_RECORDER_LIBC)
 *     -Wl,--wrap=wm_heap_port_fault                                (beside this core)
 *
 * Compile it with WM_HEAP_RECORDER_BESIDE_SDK beside the SDK's heap, which it then asks
 * nothing but what stands in a header; without it beside this core.
 *
 * malloc and its kind are taken over whole: they do what the SDK's do (ask for DEFAULT), and
 * only here is it known who called them. Their call site is then "malloc", line 0, in place
 * of the one line of the SDK's that all of them have in common.
 */
#define WM_HEAP_CORE /* the functions, not the macros */
#include "../product.h"
#include "../wm_heap_port.h"
#include "../wm_heap_recorder.h"

/* Hooks with the same body (free's) must stay two: folded into one by the compiler, one would
 * call the other, and be the caller that is recorded. */
#if defined(__GNUC__) && !defined(__clang__)
#define HOOK __attribute__((no_icf))
#else
#define HOOK
#endif

#define REAL(type, name, ...)                                                                      \
    type __real_##name(__VA_ARGS__);                                                               \
    HOOK type __wrap_##name(__VA_ARGS__)

/* The function above this one: on the chip 32 bits, on a host as many of them. */
#define CALLER ((uint32_t)(uintptr_t)__builtin_return_address(0))

REAL(void *, wm_heap_caps_alloc_tracing, size_t size, wm_heap_cap_type_t caps, const char *file,
     int line);
REAL(void *, wm_heap_caps_alloc, size_t size, wm_heap_cap_type_t caps);
REAL(void *, wm_heap_caps_realloc_tracing, void *old_mem, size_t new_size, wm_heap_cap_type_t caps,
     const char *file, int line);
REAL(void *, wm_heap_caps_realloc, void *old_mem, size_t new_size, wm_heap_cap_type_t caps);
REAL(void, wm_heap_caps_free, void *ptr);
REAL(int, wm_heap_append_to_heap, const char *name);

static void *alloc_recorded(size_t size, uint32_t caps, const char *file, int line,
                            uint32_t caller) {
    void *result = __real_wm_heap_caps_alloc_tracing(size, (wm_heap_cap_type_t)caps, file, line);
    wm_heap_record_alloc(result, size, caps, file, line, caller);
    return result;
}

static void *realloc_recorded(void *old, size_t size, uint32_t caps, const char *file, int line,
                              uint32_t caller) {
    if (old == NULL) {
        return alloc_recorded(size, caps, file, line, caller);
    }
    uint32_t old_size = wm_heap_record_realloc_old(old, caps, file, line, caller);
    void *result =
        __real_wm_heap_caps_realloc_tracing(old, size, (wm_heap_cap_type_t)caps, file, line);
    wm_heap_record_realloc_new(result, size, old, caps, line, old_size);
    return result;
}

static void free_recorded(void *ptr, uint32_t caller) {
    wm_heap_record_free(ptr, caller);
    __real_wm_heap_caps_free(ptr);
}

void *__wrap_wm_heap_caps_alloc_tracing(size_t size, wm_heap_cap_type_t caps, const char *file,
                                        int line) {
    return alloc_recorded(size, (uint32_t)caps, file, line, CALLER);
}

void *__wrap_wm_heap_caps_alloc(size_t size, wm_heap_cap_type_t caps) {
    return alloc_recorded(size, (uint32_t)caps, NULL, 0, CALLER);
}

void *__wrap_wm_heap_caps_realloc_tracing(void *old_mem, size_t new_size, wm_heap_cap_type_t caps,
                                          const char *file, int line) {
    return realloc_recorded(old_mem, new_size, (uint32_t)caps, file, line, CALLER);
}

void *__wrap_wm_heap_caps_realloc(void *old_mem, size_t new_size, wm_heap_cap_type_t caps) {
    return realloc_recorded(old_mem, new_size, (uint32_t)caps, NULL, 0, CALLER);
}

void __wrap_wm_heap_caps_free(void *ptr) { free_recorded(ptr, CALLER); }

int __wrap_wm_heap_append_to_heap(const char *name) {
    int result = __real_wm_heap_append_to_heap(name);
    wm_heap_record_append(name, result == WM_ERR_SUCCESS, CALLER);
    return result;
}

#ifdef WM_HEAP_RECORDER_LIBC
HOOK void *__wrap_malloc(size_t size);
HOOK void *__wrap_calloc(size_t count, size_t size);
HOOK void *__wrap_realloc(void *old_mem, size_t new_size);
HOOK void __wrap_free(void *ptr);

void *__wrap_malloc(size_t size) {
    return alloc_recorded(size, WM_HEAP_CAP_DEFAULT, "malloc", 0, CALLER);
}

void *__wrap_calloc(size_t count, size_t size) {
    size_t bytes = calloc_bytes(count, size);
    void *result = alloc_recorded(bytes, WM_HEAP_CAP_DEFAULT, "calloc", 0, CALLER);
    if (result != NULL) {
        __builtin_memset(result, 0, bytes);
    }
    return result;
}

void *__wrap_realloc(void *old_mem, size_t new_size) {
    return realloc_recorded(old_mem, new_size, WM_HEAP_CAP_DEFAULT, "realloc", 0, CALLER);
}

void __wrap_free(void *ptr) { free_recorded(ptr, CALLER); }
#endif

__attribute__((weak)) uint32_t wm_heap_recorder_task(void) { return 0; }

#ifdef WM_HEAP_RECORDER_BESIDE_SDK

#if defined(CONFIG_HEAP_POISONING_LIGHT) || defined(CONFIG_HEAP_POISONING_COMPREHENSIVE)
#define POISONING_BYTES 8u
#else
#define POISONING_BYTES 0u
#endif
#ifdef CONFIG_HEAP_USE_TRACING
#define TRACING_BYTES 8u
#else
#define TRACING_BYTES 0u
#endif
#define SDK_HEADER_BYTES (16u + TRACING_BYTES + POISONING_BYTES)

/* The SDK's header has the size as its second word, bit 31 set while the block is live. A
 * wild pointer must not be followed, and PSRAM not be touched, as DMA may work on it. */
uint32_t wm_heap_recorder_block_size(const void *ptr) {
    uintptr_t address = (uintptr_t)ptr;
    if (address - 0x20000000u - SDK_HEADER_BYTES >= 0x48000u - SDK_HEADER_BYTES ||
        address % 8u != 0) {
        return 0;
    }
    uint32_t word;
    __builtin_memcpy(&word, (const uint8_t *)ptr - SDK_HEADER_BYTES + 4u, sizeof word);
    return (word & 0x80000000u) != 0 ? word & 0x7fffffffu : 0;
}

/* What this core's port would be. A firmware that has its own says so: all are weak. */
#define WEAK __attribute__((weak))

/* Interrupts off, and afterwards as they were: unlike the SDK's own critical section, whose
 * nesting counter turns them on in an interrupt handler. */
WEAK uint32_t wm_heap_port_lock(void) {
    uint32_t psr = 0;
#ifdef __csky__
    __asm__ volatile("mfcr %0, psr\n\tpsrclr ie" : "=r"(psr) : : "memory");
#endif
    return psr;
}

WEAK void wm_heap_port_unlock(uint32_t key) {
#ifdef __csky__
    __asm__ volatile("mtcr %0, psr" : : "r"(key) : "memory");
#else
    (void)key;
#endif
}

int putchar(int character);

WEAK void wm_heap_port_print(const char *text, uint32_t length) {
    for (uint32_t i = 0; i < length; i++) {
        putchar((unsigned char)text[i]);
    }
}

WEAK uint32_t wm_heap_port_site(const char *file) { return (uint32_t)(uintptr_t)file; }

WEAK const char *wm_heap_port_site_name(uint32_t site) {
    return (const char *)(uintptr_t)site; /* NOLINT(performance-no-int-to-ptr) a literal's */
}

/* The SDK's link map has the heap's beginnings. How much PSRAM there is it finds out at run
 * time; its upper end is that of the largest chip. */
extern char __bss_end__[];
extern char _eshram[];

WEAK const struct wm_heap_region_config *wm_heap_port_regions(uint32_t *count) {
    static struct wm_heap_region_config regions[] = {
        {"SRAM", 0, 0x20028000u, WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_INTERNAL | WM_HEAP_CAP_EXEC,
         false},
        {"DRAM", 0, 0x20047ffcu, WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_INTERNAL | WM_HEAP_CAP_SHARED,
         false},
        {"PSRAM", 0x30000000u, 0x30800000u, WM_HEAP_CAP_SPIRAM, true},
    };
    regions[0].start = (uint32_t)(uintptr_t)__bss_end__;
    regions[1].start = (uint32_t)(uintptr_t)_eshram;
    *count = sizeof regions / sizeof regions[0];
    return regions;
}

/* The SDK's heap has no walker; the recorder does not call it there. */
bool wm_heap_walk(uint32_t region, wm_heap_visit_fn *visit, void *context) {
    (void)region;
    (void)visit;
    (void)context;
    return false;
}

#else

uint32_t wm_heap_recorder_block_size(const void *ptr) {
    struct wm_heap_block block;
    return wm_heap_get_block(ptr, &block) ? block.size : 0;
}

REAL(void, wm_heap_port_fault, const struct wm_heap_fault *fault);

void __wrap_wm_heap_port_fault(const struct wm_heap_fault *fault) {
    wm_heap_record_fault(fault);
    __real_wm_heap_port_fault(fault);
}

#endif
