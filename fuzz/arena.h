/* SPDX-License-Identifier: Apache-2.0
 *
 * A W800 for thousands of runs a second. The heaps are small (12 KiB of pages in all) and
 * lie at three pieces of the chip's memory; everything else is closed, so that a step out of
 * the arenas traps by itself. The machine starts once; between two runs the pages and the
 * core's state are copied back to what they were after init, which takes half a microsecond.
 */
#ifndef ARENA_H
#define ARENA_H

#include "../sim/w800.h"
#include "program.h"

/* SRAM's last page and DRAM's first one, which touch, and PSRAM's first one. */
#define ARENA_ONCHIP_START 0x20027000u
#define ARENA_ONCHIP_END 0x20029000u
#define ARENA_PSRAM_START 0x30000000u
#define ARENA_PSRAM_END 0x30001000u
#define ARENA_BYTES (ARENA_ONCHIP_END - ARENA_ONCHIP_START + ARENA_PSRAM_END - ARENA_PSRAM_START)
#define ARENA_OUTSIDE 0x3cu /* what lies around the heaps */

/* Once, before the first run. */
void arena_open(void);

/* A heap right after init, of this build and layout; realloc moves. */
void arena_reset(const struct program_head *head);

/* Memory and state of this build as before init. */
void arena_clear(uint32_t build);

/* The regions' table of a layout, deferred PSRAM included. */
const struct wm_heap_region_config *arena_regions(uint32_t layout);

/* Has nothing between the regions been written? Sets *address to the first such byte. */
bool arena_outside_is_intact(uint32_t layout, uint32_t *address);

/* Is PSRAM busy, as while DMA works on it? Then whoever touches it traps. */
void arena_busy_psram(bool busy);

/* How often the lock is held now. Targets that link the core's port with --wrap (CMakeLists.txt)
 * count in arena_lock.c instead of taking a mutex, which is an eighth of a run's time and shuts
 * nobody out: they have one thread. */
uint32_t arena_lock_depth(void);

/* A byte of the arenas as an index from 0 to ARENA_BYTES - 1; ARENA_BYTES: no such byte. */
static inline uint32_t arena_index(uint32_t address) {
    if (address >= ARENA_ONCHIP_START && address < ARENA_ONCHIP_END) {
        return address - ARENA_ONCHIP_START;
    }
    if (address >= ARENA_PSRAM_START && address < ARENA_PSRAM_END) {
        return address - ARENA_PSRAM_START + ARENA_ONCHIP_END - ARENA_ONCHIP_START;
    }
    return ARENA_BYTES;
}

#endif
