/* SPDX-License-Identifier: Apache-2.0
 *
 * The recorder as a firmware has it beside the SDK's heap, on the emulated processor: hooked
 * in by the linker, malloc and its kind included. The heap is a stand-in (sdk_heap.c), with the
 * headers that the SDK's has in four builds. A block is freed twice at the end: what comes out of
 * the console must say so, and replay at the same addresses.
 */
#include <stddef.h>
#include <stdint.h>

#include "system.h"
#define WM_HEAP_CORE /* the functions, not the macros */
#include "wm_heap_recorder.h"
#include "wm_heap_state.h"

#define AT(name) __attribute__((section(name ",\"aw\",@nobits#"), used))

#ifdef CONFIG_HEAP_USE_TRACING
#define TRACING_OPTION WM_HEAP_OPTION_TRACING
#define TRACING_BYTES 8u
#else
#define TRACING_OPTION 0u
#define TRACING_BYTES 0u
#endif
#ifdef CONFIG_HEAP_POISONING_LIGHT
#define POISONING_OPTION WM_HEAP_OPTION_LIGHT
#define POISONING_BYTES 8u
#else
#define POISONING_OPTION 0u
#define POISONING_BYTES 0u
#endif
#define HEADER_BYTES (16u + TRACING_BYTES + POISONING_BYTES)
#define RAM 0x20000000u
#define RAM_END 0x20048000u
#define LIVE 0x80000000u

static uint32_t ram[0x48000 / 4] AT(".sram");

void _start(void);
int putchar(int character);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *old_mem, size_t new_size);
void free(void *ptr);

int putchar(int character) {
    char byte = (char)character;
    system_write(1, &byte, 1);
    return character;
}

static struct wm_heap_record ring[32];

/* A pointer, the second word of the header that would belong to it, and the block's size as the
 * recorder sees it. Nothing but RAM may be read, and there is nothing right before it. */
static const struct {
    uint32_t pointer;
    uint32_t word;
    uint32_t size;
} sizes[] = {
    {0, 0, 0},
    {8, 0, 0},
    {RAM, 0, 0},
    {RAM + HEADER_BYTES - 8u, 0, 0},
    {RAM + HEADER_BYTES, LIVE | 0x1238u, 0x1238u},
    {RAM + HEADER_BYTES + 8u, LIVE | 0x40u, 0x40u},
    {0x20005000u, 0xffffffffu, 0x7fffffffu},
    {0x20005000u, 0x7fffffffu, 0},
    {0x20005000u, LIVE | 1u, 1},
    {0x20005001u, LIVE | 0x40u, 0},
    {0x20005002u, LIVE | 0x40u, 0},
    {0x20005004u, LIVE | 0x40u, 0},
    {RAM_END - 8u, LIVE | 0x40u, 0x40u},
    {RAM_END - 1u, LIVE | 0x40u, 0},
    {RAM_END, LIVE | 0x40u, 0},
    {RAM_END + 8u, LIVE | 0x40u, 0},
    {0x30000040u, 0, 0},
    {0xfffffff8u, 0, 0},
};

static void check_sizes(void) {
    for (uint32_t i = 0; i < sizeof ram / sizeof *ram; i++) {
        ram[i] = 0x5aa55aa5u;
    }
    for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *pointer = (uint8_t *)(uintptr_t)sizes[i].pointer;
        uint32_t kept = 0;
        uint8_t *word = pointer - HEADER_BYTES + 4;
        if (sizes[i].word != 0) {
            __builtin_memcpy(&kept, word, sizeof kept);
            __builtin_memcpy(word, &sizes[i].word, sizeof sizes[i].word);
        }
        if (wm_heap_recorder_block_size(pointer) != sizes[i].size) {
            system_exit(2 + (int)i);
        }
        if (sizes[i].word != 0) {
            __builtin_memcpy(word, &kept, sizeof kept);
        }
    }
}

static const char log_line[] = "[I] (100) app: working\r\n";

void _start(void) {
    if ((uintptr_t)ram != 0x20000000u) {
        system_exit(1);
    }
    check_sizes();
    wm_heap_recorder_start(ring, 32,
                           TRACING_OPTION | POISONING_OPTION | WM_HEAP_RECORDER_FROM_START |
                               WM_HEAP_RECORDER_SDK);
    void *first = malloc(1000);
    const uint8_t *zeroed = calloc(20, 10);
    for (uint32_t i = 0; i < 200; i++) {
        if (zeroed[i] != 0) {
            system_exit(1);
        }
    }
    if (calloc(0x10000, 0x10001) != NULL) {
        system_exit(1);
    }
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
