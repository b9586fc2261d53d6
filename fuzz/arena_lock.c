/* SPDX-License-Identifier: Apache-2.0
 *
 * The core's critical section for a target with one thread: a number. Sections must be left in
 * the reverse order, as the simulator's (sim/w800_port.c).
 */
#include "arena.h"
#include "fuzz.h"

static uint32_t lock_depth;

uint32_t __wrap_wm_heap_port_lock(void);
uint32_t __wrap_wm_heap_port_lock(void) { return lock_depth++; }

void __wrap_wm_heap_port_unlock(uint32_t key);
void __wrap_wm_heap_port_unlock(uint32_t key) {
    FUZZ_CHECK(lock_depth > 0 && key == lock_depth - 1u, "unlock with key %u at depth %u", key,
               lock_depth);
    lock_depth--;
}

uint32_t arena_lock_depth(void) { return lock_depth; }
