/* SPDX-License-Identifier: Apache-2.0
 *
 * The check is checked: linked around the core that ships (--wrap), each FLAW below makes one
 * thing wrong once, at the core's 40th allocation, as a compiler or an emulator might. The
 * cross-check must find each, at that event and that byte.
 */
#include "../../core/wm_heap_port.h"
#define WM_HEAP_CORE
#include "../../core/wm_heap_state.h"

#undef wm_heap_caps_alloc
#undef wm_heap_caps_realloc

enum flaw {
    FLAW_RESULT, /* another pointer is returned */
    FLAW_HEADER, /* one bit of the block's header */
    FLAW_BELOW,  /* one byte of SRAM below the heap: seen by a checkpoint only */
    FLAW_FAR,    /* one byte of PSRAM that was never in use: seen at the end only */
    FLAW_STATE,  /* one counter */
    FLAW_COPY,   /* a copy lacks its last byte */
    FLAW_FAULT,  /* a fault names another line */
    FLAW_TEXT,   /* one letter on the console */
    FLAW_CRASH,  /* a load from nowhere */
    FLAW_HANG,
};

#define FLAW_ALLOCATION 40u

void *__real_wm_heap_caps_alloc_tracing(size_t size, wm_heap_cap_type_t caps, const char *file,
                                        int line);
void *__wrap_wm_heap_caps_alloc_tracing(size_t size, wm_heap_cap_type_t caps, const char *file,
                                        int line);
void *__real_memmove(void *to, const void *from, size_t count);
void *__wrap_memmove(void *to, const void *from, size_t count);
void __real_wm_heap_port_fault(const struct wm_heap_fault *fault);
void __wrap_wm_heap_port_fault(const struct wm_heap_fault *fault);
void __real_wm_heap_port_print(const char *text, uint32_t length);
void __wrap_wm_heap_port_print(const char *text, uint32_t length);

/* No constant expression: the compiler must not take the places below for its own objects. */
static volatile uint8_t *byte_at(uint32_t address) {
    volatile uint32_t hidden = address;
    return (volatile uint8_t *)(uintptr_t)hidden;
}

void *__wrap_wm_heap_caps_alloc_tracing(size_t size, wm_heap_cap_type_t caps, const char *file,
                                        int line) {
    static uint32_t allocations;
    char *memory = __real_wm_heap_caps_alloc_tracing(size, caps, file, line);
    if (++allocations != FLAW_ALLOCATION) {
        return memory;
    }
    switch (FLAW) {
    case FLAW_RESULT:
        return memory + 8;
    case FLAW_HEADER:
        *byte_at((uint32_t)(uintptr_t)memory - wm_heap_state.header_size + 9u) ^= 0x10u;
        return memory;
    case FLAW_BELOW:
        *byte_at(0x20000123u) = 1;
        return memory;
    case FLAW_FAR:
        *byte_at(0x30100007u) = 1;
        return memory;
    case FLAW_STATE:
        wm_heap_state.counters.failed++;
        return memory;
    case FLAW_CRASH:
        return (void *)(uintptr_t)*byte_at(0x40u);
    case FLAW_HANG:
        for (;;) {
            (void)*byte_at(0x20000000u);
        }
    default:
        return memory;
    }
}

void *__wrap_memmove(void *to, const void *from, size_t count) {
    return __real_memmove(to, from, count - (FLAW == FLAW_COPY && count > 0));
}

void __wrap_wm_heap_port_fault(const struct wm_heap_fault *fault) {
    struct wm_heap_fault told = *fault;
    told.line += FLAW == FLAW_FAULT;
    __real_wm_heap_port_fault(&told);
}

void __wrap_wm_heap_port_print(const char *text, uint32_t length) {
    char told[128];
    if (length > sizeof told) {
        length = sizeof told;
    }
    for (uint32_t i = 0; i < length; i++) {
        told[i] = FLAW == FLAW_TEXT && text[i] == 'K' ? 'k' : text[i];
    }
    __real_wm_heap_port_print(told, length);
}
