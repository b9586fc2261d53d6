/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the simulated machine share among themselves. The machine is one
 * global struct, since it stands for the one set of addresses that the process has: the
 * core's port has no argument through which a second one could be named.
 *
 * Threads: the heap API, the port and the failure countdown may be used from several
 * threads at once. Starting, stopping, DMA, snapshots and bit flips are for one thread at
 * a time, as on a bench where one person turns the knobs.
 */
#ifndef W800_INTERNAL_H
#define W800_INTERNAL_H

#include <stdatomic.h>

#include "w800.h"

#define W800_GUARD_BYTES (1u << 20) /* reserved around the memory, so that strays trap */
#define W800_GUARDED_START (W800_SRAM_START - W800_GUARD_BYTES)
#define W800_GUARDED_END (W800_PSRAM_START + W800_PSRAM_BYTES_MAX + W800_GUARD_BYTES)
#define W800_ONCHIP_BYTES (W800_DRAM_END - W800_SRAM_START)

struct w800_mapping {
    uint32_t start;
    uint32_t end;
};
#define W800_MAPPINGS_MAX 6 /* two memories, four guards */

/* Without padding: snapshots are compared by memcmp. */
struct w800_transfer {
    uint32_t busy;
    uint32_t on_psram;
    uint32_t address;
    uint32_t length;
};

/* The failure countdown. Atomic, because any thread's allocation counts. */
struct w800_injection {
    _Atomic uint32_t countdown; /* allocations up to the failing one, 0: none fails */
    _Atomic bool from_then_on;
    _Atomic uint32_t failed;
};

struct w800_machine {
    bool running;
    struct w800_config config;
    struct w800_mapping mappings[W800_MAPPINGS_MAX];
    uint32_t mapping_count;
    struct w800_transfer transfers[W800_DMA_MASTERS];
    uint32_t psram_transfers; /* how many of them work on PSRAM */
    struct w800_injection injection;
    /* the observer's, not the machine's: they outlive a stop */
    w800_event_fn *event;
    void *event_context;
    w800_print_fn *print;
    void *print_context;
};

extern struct w800_machine w800_machine;

/* Fills near_block and near_size, and delivers. Without a callback the event becomes one
 * line on standard error: nothing is lost silently. */
void w800_event_locate(struct w800_event *event);
void w800_event_deliver(const struct w800_event *event);

/* Prints one line to standard error and aborts: the program that uses the simulator is
 * wrong, not the firmware in it. */
_Noreturn void w800_abort(const char *reason);

/* Makes PSRAM accessible for the simulator's own reading, whatever DMA does, and gives it
 * back the rights that DMA leaves it. They do not nest. */
void w800_psram_open(void);
void w800_psram_close(void);

/* Signal handlers: installed by start, removed by stop. */
bool w800_trap_install(struct w800_error *error);
void w800_trap_remove(void);

/* The lock, seen by the machine: forget the statistics; the caller's nesting depth; let go
 * until that depth is reached again. */
void w800_lock_reset(void);
uint32_t w800_lock_depth(void);
void w800_lock_release(uint32_t depth);

/* Forgets all call sites. */
void w800_sites_reset(void);

#endif
