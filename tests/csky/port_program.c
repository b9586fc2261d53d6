/* SPDX-License-Identifier: Apache-2.0
 *
 * The W800's port on the emulated processor, the SDK's few functions acted: the lock puts
 * interrupts back as it found them, the SDK's start-up sequence works with and without PSRAM,
 * malloc and FreeRTOS get the SDK's addresses, the heap prints, a fault prints its line and
 * stops.
 *
 * It includes what a source of the SDK includes. Built once for each build of the core. Not
 * for QEMU: as an ordinary program it may not touch the PSR there.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "system.h"
#include "wm_heap.h"
#include "wm_heap_debug.h"

#define AT(name) __attribute__((section(name ",\"aw\",@nobits#"), used))

static uint32_t ram[0x48000 / 4] AT(".sram");
static uint32_t psram[0x200000 / 4] AT(".psram");

void _start(void);
void *malloc(size_t size); /* there is no C library here */
void *calloc(size_t count, size_t size);
void *realloc(void *old_mem, size_t new_size);
void free(void *ptr);
void *pvPortMalloc(size_t size);
void vPortFree(void *ptr);

#define TRACING_BYTES (WITH_TRACING ? 8u : 0u)
#if defined(CONFIG_HEAP_POISONING_LIGHT) || defined(CONFIG_HEAP_POISONING_COMPREHENSIVE)
#define POISONING_BYTES 8u
#else
#define POISONING_BYTES 0u
#endif
#ifdef CONFIG_HEAP_USE_TRACING
#define WITH_TRACING 1
#else
#define WITH_TRACING 0
#endif
#ifdef CONFIG_HEAP_USE_ASSERT
#define STOPS 1u
#else
#define STOPS 0u
#endif
#define HEADER_BYTES (16u + TRACING_BYTES + POISONING_BYTES)

/* --- the SDK, acted --------------------------------------------------------------------- */

static struct {
    char printed[8192];
    uint32_t length;
    uint32_t stops;
    uint32_t drivers; /* PSRAM's was started so often */
    bool fitted;
} seen;

static void put_char(char character) {
    if (seen.length < sizeof seen.printed - 1) {
        seen.printed[seen.length++] = character;
    }
}

static void put_number(unsigned value, unsigned base, unsigned width) {
    char digits[12];
    unsigned count = 0;
    do {
        digits[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0 || count < width);
    while (count > 0) {
        put_char(digits[--count]);
    }
}

/* %s, %u and %08x are what the port may use. */
int wm_printf_direct(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    for (; *format != '\0'; format++) {
        if (*format != '%') {
            put_char(*format);
        } else if (*++format == 's') {
            for (const char *text = va_arg(arguments, const char *); *text != '\0'; text++) {
                put_char(*text);
            }
        } else if (*format == 'u') {
            put_number(va_arg(arguments, unsigned), 10, 1);
        } else {
            format += 2;
            put_number(va_arg(arguments, unsigned), 16, 8);
        }
    }
    va_end(arguments);
    return 0;
}

struct wm_device *wm_drv_psram_init(const char *name) {
    static char device;
    seen.drivers += name[0] == 'p';
    return seen.fitted ? (struct wm_device *)(void *)&device : NULL;
}

int wm_drv_psram_get_size(struct wm_device *device, uint32_t *bytes) {
    (void)device;
    *bytes = sizeof psram;
    return WM_ERR_SUCCESS;
}

void w800_port_stop(void) { seen.stops++; }

/* --- checks ----------------------------------------------------------------------------- */

static void say(const char *text) {
    uint32_t length = 0;
    while (text[length] != '\0') {
        length++;
    }
    system_write(1, text, (long)length);
}

static _Noreturn void failed(const char *what, unsigned line) {
    seen.length = 0;
    wm_printf_direct("line %u: %s\n", line, what);
    system_write(1, seen.printed, (long)seen.length);
    system_exit(1);
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            failed(#condition, __LINE__);                                                          \
        }                                                                                          \
    } while (false)

static bool has_printed(const char *text) {
    seen.printed[seen.length] = '\0';
    for (const char *at = seen.printed; *at != '\0'; at++) {
        uint32_t same = 0;
        while (text[same] != '\0' && at[same] == text[same]) {
            same++;
        }
        if (text[same] == '\0') {
            return true;
        }
    }
    return false;
}

static uint32_t address(const void *pointer) { return (uint32_t)(uintptr_t)pointer; }

/* --- interrupts ------------------------------------------------------------------------- */

static bool interrupts_are_on(void) {
    uint32_t psr;
    __asm__ volatile("mfcr %0, psr" : "=r"(psr));
    return (psr >> 6 & 1u) != 0;
}

static void set_interrupts(bool on) {
    if (on) {
        __asm__ volatile("psrset ie" : : : "memory");
    } else {
        __asm__ volatile("psrclr ie" : : : "memory");
    }
}

uint32_t wm_heap_port_lock(void);
void wm_heap_port_unlock(uint32_t key);

/* In a task they are on, in an interrupt handler and before the scheduler off. */
static void check_lock(bool on) {
    set_interrupts(on);
    uint32_t outer = wm_heap_port_lock();
    CHECK(!interrupts_are_on());
    uint32_t inner = wm_heap_port_lock();
    CHECK(!interrupts_are_on());
    wm_heap_port_unlock(inner);
    CHECK(!interrupts_are_on());
    wm_heap_port_unlock(outer);
    CHECK(interrupts_are_on() == on);
    free(malloc(40));
    CHECK(interrupts_are_on() == on);
    wm_heap_print_stats();
    CHECK(interrupts_are_on() == on);
}

/* --- the heap --------------------------------------------------------------------------- */

/* As the SDK's start-up code calls it: PSRAM is appended whether there is any or not. */
static void check_append(void) {
#ifdef CONFIG_HEAP_USE_PSRAM
    seen.fitted = false;
    CHECK(wm_heap_append_to_heap(WM_HEAP_PSRAM_NAME) == WM_ERR_FAILED);
    CHECK(wm_heap_caps_alloc(8, WM_HEAP_CAP_SPIRAM) == NULL);
    seen.fitted = true;
    CHECK(wm_heap_append_to_heap(WM_HEAP_PSRAM_NAME) == WM_ERR_SUCCESS);
    CHECK(seen.drivers == 2);
    CHECK(wm_heap_caps_get_free_size(WM_HEAP_CAP_SPIRAM) == sizeof psram - HEADER_BYTES);
    void *block = wm_heap_caps_alloc(8, WM_HEAP_CAP_SPIRAM);
    CHECK(address(block) == 0x30000000u + HEADER_BYTES);
    wm_heap_caps_free(block);
#else
    CHECK(wm_heap_append_to_heap(WM_HEAP_PSRAM_NAME) == WM_ERR_FAILED);
    CHECK(seen.drivers == 0);
#endif
    CHECK(seen.stops == 0);
}

static void check_allocation(void) {
    char *first = malloc(100);
    CHECK(address(first) == 0x20004120u + HEADER_BYTES);
    unsigned char *zeroed = calloc(10, 10);
    for (unsigned i = 0; i < 100; i++) {
        CHECK(zeroed[i] == 0);
    }
    CHECK(calloc(0x10001, 0x10001) == NULL);
    first[99] = 'x';
    char *moved = realloc(first, 200);
    CHECK(moved != NULL && moved != first && moved[99] == 'x');
    CHECK(realloc(moved, 0) == NULL);
    free(zeroed);
    void *stack = pvPortMalloc(1024);
    CHECK(address(stack) == 0x20004120u + HEADER_BYTES);
    void *shared = wm_heap_caps_alloc(64, WM_HEAP_CAP_SHARED);
    CHECK(address(shared) == 0x20028c00u + HEADER_BYTES);
    void *gone = realloc(shared, 64); /* where the SDK puts it, too: out of Wi-Fi's reach */
    CHECK(gone != NULL && address(gone) < 0x20028000u);
    free(gone);
    vPortFree(stack);
}

static void check_printing(void) {
    void *block = wm_heap_caps_alloc(100, WM_HEAP_CAP_DEFAULT);
    seen.length = 0;
    wm_heap_print_stats();
    CHECK(has_printed("    Type     Current Size       \tMinimum Size\r\n    Total    "));
    CHECK(has_printed("\r\n    DRAM     "));
    seen.length = 0;
    wm_heap_print_tracing(NULL);
    CHECK(has_printed("port_program.c:") == WITH_TRACING);
    CHECK(has_printed("malloc count 1\r\n") == WITH_TRACING);
    wm_heap_caps_free(block);
}

static void check_fault(void) {
    char *block = malloc(24);
    CHECK(seen.stops == 0);
    free(block);
    seen.length = 0;
    free(block);
    CHECK(has_printed("assertion \"heap: double-free of 0x"));
    CHECK(has_printed(", function: wm_heap\r\n"));
    CHECK(seen.stops == STOPS);
}

/* Everything is freed again, and nothing was lost. */
static void check_end(void) {
    struct wm_heap_fault fault;
    CHECK(wm_heap_caps_get_free_size(WM_HEAP_CAP_INTERNAL) ==
          (0x20028000u - 0x20004120u) + (0x20047ffcu - 0x20028c00u) / 8u * 8u - 2u * HEADER_BYTES);
    CHECK(wm_heap_check(WM_HEAP_NO_REGION, &fault));
}

void _start(void) {
    CHECK(address(ram) == 0x20000000u && address(psram) == 0x30000000u);
    set_interrupts(false);
    wm_heap_init();
    CHECK(!interrupts_are_on());
    check_append();
    check_lock(false);
    check_lock(true);
    check_allocation();
    check_printing();
    check_fault();
    check_end();
    say("the port works\n");
    system_exit(0);
}
