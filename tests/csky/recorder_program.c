/* SPDX-License-Identifier: Apache-2.0
 *
 * The recorder as a firmware has it beside the SDK's heap, on the emulated processor: hooked
 * in by the linker, malloc and its kind included. The heap is a stand-in (sdk_heap.c). A block
 * is freed twice at the end: what comes out of the console must say so, and replay at the
 * same addresses.
 */
#include <stddef.h>
#include <stdint.h>

#include "system.h"
#define WM_HEAP_CORE /* the functions, not the macros */
#include "wm_heap_recorder.h"
#include "wm_heap_state.h"

#define AT(name) __attribute__((section(name ",\"aw\",@nobits#"), used))

static uint32_t ram[0x48000 / 4] AT(".sram");

void _start(void);
int putchar(int character);
void *malloc(size_t size);
void *realloc(void *old_mem, size_t new_size);
void free(void *ptr);

int putchar(int character) {
    char byte = (char)character;
    system_write(1, &byte, 1);
    return character;
}

static struct wm_heap_record ring[32];

static const char log_line[] = "[I] (100) app: working\r\n";

void _start(void) {
    if ((uintptr_t)ram != 0x20000000u) {
        system_exit(1);
    }
    wm_heap_recorder_start(
        ring, 32, WM_HEAP_OPTION_TRACING | WM_HEAP_RECORDER_FROM_START | WM_HEAP_RECORDER_SDK);
    void *first = malloc(1000);
    void *second = wm_heap_caps_alloc_tracing(200, WM_HEAP_CAP_INTERNAL, "src/task.c", 17);
    void *shared = wm_heap_caps_alloc_tracing(64, WM_HEAP_CAP_SHARED, "src/wifi.c", 5);
    void *grown = realloc(second, 1200);
    wm_heap_recorder_flush(true);
    system_write(1, log_line, sizeof log_line - 1);
    free(shared);
    free(first);
    (void)grown;
    free(first); /* again */
    wm_heap_recorder_flush(false);
    system_exit(0);
}
