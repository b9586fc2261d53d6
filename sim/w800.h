/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated W800: memory at the chip's own addresses with the chip's rights, DMA
 * masters that reach what the chip lets them reach, a lock that stands for disabled
 * interrupts, injected faults, snapshots. One machine per process, because the
 * addresses exist once; every rule cites the fact it enforces (sim/README.md).
 */
#ifndef W800_H
#define W800_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/wm_heap_debug.h"
#include "../core/wm_heap_port.h"
#include "builds.h"

#define W800_SRAM_START 0x20000000u
#define W800_DRAM_START 0x20028000u
#define W800_DRAM_END 0x20048000u
#define W800_PSRAM_START 0x30000000u
#define W800_PSRAM_BYTES_MAX (8u << 20)

/* What the machine noticed. The core's own faults come as W800_EVENT_HEAP_FAULT. */
#define W800_EVENTS(X)                                                                             \
    X(HEAP_FAULT, "heap-fault")                                                                    \
    X(STRAY_ACCESS, "stray-access")       /* CPU: nothing is there */                              \
    X(EXEC_DENIED, "exec-denied")         /* CPU: code outside SRAM */                             \
    X(BUS_CONFLICT, "bus-conflict")       /* CPU on PSRAM while DMA works on it */                 \
    X(DMA_UNREACHABLE, "dma-unreachable") /* the master cannot reach that memory */                \
    X(DMA_LENGTH, "dma-length")           /* PSRAM transfers: multiples of 4 */                    \
    X(DMA_BUSY, "dma-busy")               /* the master is at work, or stopped when idle */        \
    X(REALLOC_MOVED, "realloc-moved")     /* SDK defect 10: SHARED or PSRAM block left its memory */

enum w800_event_kind {
#define W800_ENUMERATOR(name, text) W800_EVENT_##name,
    W800_EVENTS(W800_ENUMERATOR)
#undef W800_ENUMERATOR
        W800_EVENT_KINDS
};
const char *w800_event_name(enum w800_event_kind kind);

struct w800_event {
    enum w800_event_kind kind;
    uint32_t address;           /* what was touched; a heap fault's block; realloc's old pointer */
    uint32_t length;            /* of a transfer */
    uint32_t near_block;        /* header of the block at or before address, 0 if none */
    uint32_t near_size;         /* its size */
    uint32_t master;            /* DMA */
    bool write;                 /* CPU access */
    struct wm_heap_fault fault; /* HEAP_FAULT */
};

#define W800_DMA_CHANNELS 8
enum w800_dma_master {
    W800_DMA_CHANNEL_0 = 0,
    W800_DMA_SDIO = W800_DMA_CHANNELS,
    W800_DMA_HSPI,
    W800_DMA_WIFI,
    W800_DMA_MASTERS
};

struct w800_config {
    const struct heap_build *build;
    struct wm_heap_region_config regions[WM_HEAP_REGIONS_MAX];
    uint32_t region_count;
    uint32_t psram_bytes; /* 0, 2, 4 or 8 MiB are fitted */
    bool realloc_in_place;
    bool measure_lock; /* time the lock's holds */
};

/* Called at each event, outside the lock. CPU traps (STRAY_ACCESS, EXEC_DENIED,
 * BUS_CONFLICT) arrive from w800_guard, after its body was left; outside a guard they end
 * the process like any segmentation fault, after one line on standard error. Without a
 * callback an event is one line on standard error. */
typedef void w800_event_fn(void *context, const struct w800_event *event);
/* Console text. */
typedef void w800_print_fn(void *context, const char *text, size_t length);

struct w800_error {
    char text[512]; /* one line */
};

/* Maps the memory (all zero), clears the build's state, and makes this the process's
 * machine, stopping the one before; the heap is not initialised yet. *config is copied. False with
 * a reason if the addresses are taken (naming the mapping that is there), the configuration is
 * impossible or memory is short. */
bool w800_start(const struct w800_config *config, struct w800_error *error);
/* Another configuration for the running machine, whose memory keeps its bytes; the build's state
 * stays as it was left, too. A hundredth of the price of a start. The same PSRAM must be fitted. */
void w800_reconfigure(const struct w800_config *config);
void w800_stop(void); /* unmaps; a stopped machine may be stopped again */
bool w800_running(void);
const struct w800_config *w800_config(void); /* NULL if none runs */

/* Callbacks stay until replaced, over stops and starts. */
void w800_on_event(w800_event_fn *callback, void *context);
void w800_on_print(w800_print_fn *callback, void *context);

/* Runs `body`; a CPU trap in it (stray access, denied execution, bus conflict) is
 * delivered as an event and ends it. True if it ran to its end. A lock taken in the body is
 * let go then; the heap may be half changed, as after a crash. Guards do not nest, and the
 * body is not left by a jump. In the body every address below 4 GiB counts as the chip's;
 * what the host has mapped there beyond a mebibyte around the memory is not protected. */
bool w800_guard(void (*body)(void *context), void *context);

/* Address conversion; w800_pointer does not touch memory. */
static inline void *w800_pointer(uint32_t address) {
    return (void *)(uintptr_t)address; /* NOLINT(performance-no-int-to-ptr) the machine's */
}
static inline uint32_t w800_address(const void *pointer) { return (uint32_t)(uintptr_t)pointer; }
/* True if all the bytes are the chip's memory (PSRAM as fitted). */
bool w800_is_memory(uint32_t address, uint32_t length);

/* Starts and stops a transfer. False, after an event, if the chip would not do it. While
 * a transfer works on PSRAM, PSRAM pages are inaccessible to the process. */
bool w800_dma_start(uint32_t master, uint32_t address, uint32_t length);
bool w800_dma_stop(uint32_t master);
bool w800_dma_on_psram(void);

/* Fault injection. The nth call from here (1: the next, 0: none) of the SDK's alloc, calloc,
 * aligned_alloc or realloc for more than 0 bytes fails, and all after it if from_then_on;
 * calls through a build's own table are not counted. */
void w800_fail_allocation(uint32_t nth, bool from_then_on);
uint32_t w800_failed_allocations(void); /* how many were made to fail since w800_start */
/* Flips a bit behind the CPU's back; outside the chip's memory nothing happens. */
void w800_flip_bit(uint32_t address, uint32_t bit);
/* Stores `bytes` times `value` from the end of what may be used at `ptr`. */
void w800_write_past(const void *ptr, uint32_t bytes, uint8_t value);

/* The lock: the calling thread's nesting, deepest nesting, number of outermost holds, longest hold
 * in nanoseconds (0 unless config.measure_lock). */
struct w800_lock_report {
    uint32_t depth_now;
    uint32_t depth_max;
    uint64_t holds;
    uint64_t longest_ns;
};
struct w800_lock_report w800_lock_report(void);

/* The whole heap: memory of all regions, SRAM below the heap too, the core's state, the
 * failure countdown and the transfers at work. Taken and given back, as often as wanted, at
 * any moment outside a call. Giving one back to a machine with another build or other PSRAM
 * aborts. */
struct w800_snapshot;
struct w800_snapshot *w800_snapshot_take(void); /* NULL: out of memory */
void w800_snapshot_restore(const struct w800_snapshot *snapshot);
bool w800_snapshot_equal(const struct w800_snapshot *a, const struct w800_snapshot *b);
void w800_snapshot_free(struct w800_snapshot *snapshot);

#endif
