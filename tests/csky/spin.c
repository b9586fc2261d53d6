/* SPDX-License-Identifier: Apache-2.0
 *
 * A loop of what a program does most: integer arithmetic, loads, stores and branches. Reads
 * the number of rounds, in decimal, from standard input (none: 100,000) and prints a sum that
 * depends on all of them. For comparing counts of instructions, and for measuring speed.
 */
#include <stdint.h>

#include "system.h"

#define WORDS 1024u

void _start(void);

static uint32_t words[WORDS];

static uint32_t read_rounds(void) {
    char text[16];
    uint32_t rounds = 0;
    long count = system_read(0, text, sizeof text);

    for (long i = 0; i < count && text[i] >= '0' && text[i] <= '9'; i++) {
        rounds = rounds * 10 + (uint32_t)(text[i] - '0');
    }
    return rounds ? rounds : 100000;
}

/* One round is some twenty instructions, a third of them to memory, with two branches: the
 * one that ends the loop, and one that goes either way. */
static uint32_t spin(uint32_t rounds) {
    uint32_t state = 1, sum = 0;

    for (uint32_t i = 0; i < rounds; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        uint32_t *word = &words[state % WORDS];
        if (*word & 1) {
            sum += *word * 3;
        } else {
            sum ^= i;
        }
        *word += state + words[i % WORDS];
    }
    return sum;
}

void _start(void) {
    char text[9];
    uint32_t sum = spin(read_rounds());

    for (unsigned i = 0; i < 8; i++) {
        text[i] = "0123456789abcdef"[sum >> (28 - 4 * i) & 15];
    }
    text[8] = '\n';
    system_exit(system_write(1, text, sizeof text) == sizeof text ? 0 : 1);
}
