/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest program that uses all a test program needs: memory of the W800 at its own
 * addresses that the file does not hold (sections without bits), a write, an exit status.
 */
#include <stdint.h>

#include "system.h"

#define AT(name) __attribute__((section(name ",\"aw\",@nobits#"), used))

static uint32_t sram[0x28000 / 4] AT(".sram");
static uint32_t psram[0x800000 / 4] AT(".psram");

void _start(void);

static int is_zero_and_keeps(volatile uint32_t *word, uint32_t value) {
    uint32_t found = *word;

    *word = value;
    return found == 0 && *word == value;
}

void _start(void) {
    static const char text[] = "hello\n";
    uint32_t last_sram = sizeof sram / 4 - 1, last_psram = sizeof psram / 4 - 1;

    if ((uintptr_t)sram != 0x20000000u || (uintptr_t)psram != 0x30000000u ||
        !is_zero_and_keeps(sram, 1) || !is_zero_and_keeps(sram + last_sram, 2) ||
        !is_zero_and_keeps(psram, 3) || !is_zero_and_keeps(psram + last_psram, 4)) {
        system_exit(1);
    }
    system_exit(system_write(1, text, sizeof text - 1) == sizeof text - 1 ? 0 : 2);
}
