/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots: the heap at a moment, to return to as often as wanted. A snapshot holds what
 * an allocation can change or depend on: every byte of the chip's memory, the core's state,
 * the failure countdown, the transfers at work. Not in it: statistics of the lock, the
 * numbers given to call sites (they only grow), callbacks of the observer.
 */
#include <stdlib.h>
#include <string.h>

#include "w800_internal.h"

/* Compared by memcmp, hence allocated zeroed and filled member by member. */
struct w800_snapshot {
    const struct heap_build *build;
    uint32_t psram_bytes;
    uint32_t psram_transfers;
    uint32_t countdown;
    uint32_t from_then_on;
    uint32_t failed;
    struct w800_transfer transfers[W800_DMA_MASTERS];
    struct wm_heap_state state;
    uint8_t memory[]; /* SRAM and DRAM, then PSRAM */
};

static size_t snapshot_bytes(uint32_t psram_bytes) {
    return sizeof(struct w800_snapshot) + W800_ONCHIP_BYTES + psram_bytes;
}

struct w800_snapshot *w800_snapshot_take(void) {
    const struct w800_machine *machine = &w800_machine;
    if (!machine->running)
        w800_abort("w800_snapshot_take: no machine runs, call w800_start first");
    uint32_t psram_bytes = machine->config.psram_bytes;
    struct w800_snapshot *snapshot = calloc(1, snapshot_bytes(psram_bytes));
    if (!snapshot)
        return NULL;
    snapshot->build = machine->config.build;
    snapshot->psram_bytes = psram_bytes;
    snapshot->psram_transfers = machine->psram_transfers;
    snapshot->countdown = atomic_load(&machine->injection.countdown);
    snapshot->from_then_on = atomic_load(&machine->injection.from_then_on);
    snapshot->failed = atomic_load(&machine->injection.failed);
    memcpy(snapshot->transfers, machine->transfers, sizeof snapshot->transfers);
    memcpy(&snapshot->state, snapshot->build->state, sizeof snapshot->state);
    memcpy(snapshot->memory, w800_pointer(W800_SRAM_START), W800_ONCHIP_BYTES);
    w800_psram_open();
    if (psram_bytes > 0)
        memcpy(snapshot->memory + W800_ONCHIP_BYTES, w800_pointer(W800_PSRAM_START), psram_bytes);
    w800_psram_close();
    return snapshot;
}

void w800_snapshot_restore(const struct w800_snapshot *snapshot) {
    struct w800_machine *machine = &w800_machine;
    if (!machine->running || machine->config.build != snapshot->build ||
        machine->config.psram_bytes != snapshot->psram_bytes)
        w800_abort("w800_snapshot_restore: the snapshot is of another machine");
    w800_psram_open();
    memcpy(w800_pointer(W800_SRAM_START), snapshot->memory, W800_ONCHIP_BYTES);
    if (snapshot->psram_bytes > 0)
        memcpy(w800_pointer(W800_PSRAM_START), snapshot->memory + W800_ONCHIP_BYTES,
               snapshot->psram_bytes);
    /* PSRAM is open now, if it ever was closed: it stays so unless the snapshot's transfers
     * close it. */
    memcpy(machine->transfers, snapshot->transfers, sizeof machine->transfers);
    machine->psram_transfers = snapshot->psram_transfers;
    w800_psram_close();
    memcpy(snapshot->build->state, &snapshot->state, sizeof snapshot->state);
    atomic_store(&machine->injection.from_then_on, snapshot->from_then_on != 0);
    atomic_store(&machine->injection.countdown, snapshot->countdown);
    atomic_store(&machine->injection.failed, snapshot->failed);
}

bool w800_snapshot_equal(const struct w800_snapshot *a, const struct w800_snapshot *b) {
    return a->psram_bytes == b->psram_bytes && memcmp(a, b, snapshot_bytes(a->psram_bytes)) == 0;
}

void w800_snapshot_free(struct w800_snapshot *snapshot) { free(snapshot); }
