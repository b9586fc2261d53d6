/* SPDX-License-Identifier: Apache-2.0
 *
 * DMA as a question of who may touch which memory when. No bytes move: a transfer is an
 * interval of time, opened by start and closed by stop, in which a master occupies a range.
 * That is enough to show the two mistakes that firmware makes with the heap: handing a
 * master memory it cannot reach, and touching PSRAM while a transfer works on it.
 *
 * The chip's rules:
 * - The eight channels of the generic DMA reach SRAM, DRAM and PSRAM. Transfers on PSRAM
 *   have lengths that are multiples of 4.
 * - The high-speed masters (SDIO slave, HSPI slave, Wi-Fi) reach 0x20028000 to 0x20047FFF
 *   only: DRAM.
 * - The CPU must not touch PSRAM while a transfer works there: a bus conflict, and the
 *   system crashes. Here PSRAM's pages have no rights meanwhile, all of them, because the
 *   bus is occupied and not an address.
 */
#include <sys/mman.h>

#include "w800_internal.h"

static void set_psram_rights(int rights) {
    uint32_t bytes = w800_machine.config.psram_bytes;
    if (bytes > 0 && mprotect(w800_pointer(W800_PSRAM_START), bytes, rights) != 0)
        w800_abort("the system refuses to change the rights of PSRAM's pages");
}

void w800_psram_open(void) {
    if (w800_machine.psram_transfers > 0)
        set_psram_rights(PROT_READ | PROT_WRITE);
}

void w800_psram_close(void) {
    if (w800_machine.psram_transfers > 0)
        set_psram_rights(PROT_NONE);
}

bool w800_dma_on_psram(void) { return w800_machine.psram_transfers > 0; }

static bool refuse(enum w800_event_kind kind, uint32_t master, uint32_t address, uint32_t length) {
    struct w800_event event = {
        .kind = kind, .address = address, .length = length, .master = master};
    w800_event_locate(&event);
    w800_event_deliver(&event);
    return false;
}

static bool reaches(uint32_t master, uint32_t address, uint32_t length) {
    if (!w800_is_memory(address, length))
        return false;
    if (master < W800_DMA_CHANNELS)
        return true;
    return address >= W800_DRAM_START && address < W800_DRAM_END;
}

bool w800_dma_start(uint32_t master, uint32_t address, uint32_t length) {
    struct w800_machine *machine = &w800_machine;
    if (!machine->running)
        w800_abort("w800_dma_start: no machine runs, call w800_start first");
    if (master >= W800_DMA_MASTERS || machine->transfers[master].busy)
        return refuse(W800_EVENT_DMA_BUSY, master, address, length);
    if (length == 0)
        return refuse(W800_EVENT_DMA_LENGTH, master, address, length);
    if (!reaches(master, address, length))
        return refuse(W800_EVENT_DMA_UNREACHABLE, master, address, length);
    bool on_psram = address >= W800_PSRAM_START;
    if (on_psram && length % 4 != 0)
        return refuse(W800_EVENT_DMA_LENGTH, master, address, length);

    machine->transfers[master] = (struct w800_transfer){true, on_psram, address, length};
    if (on_psram && machine->psram_transfers++ == 0)
        set_psram_rights(PROT_NONE);
    return true;
}

bool w800_dma_stop(uint32_t master) {
    struct w800_machine *machine = &w800_machine;
    if (!machine->running)
        w800_abort("w800_dma_stop: no machine runs, call w800_start first");
    if (master >= W800_DMA_MASTERS || !machine->transfers[master].busy)
        return refuse(W800_EVENT_DMA_BUSY, master, 0, 0);
    bool on_psram = machine->transfers[master].on_psram;
    machine->transfers[master] = (struct w800_transfer){0};
    if (on_psram && --machine->psram_transfers == 0)
        set_psram_rights(PROT_READ | PROT_WRITE);
    return true;
}
