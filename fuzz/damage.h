/* SPDX-License-Identifier: Apache-2.0
 *
 * Stray writes of an application: what a SMASH call does to the arenas.
 *
 * A stray write changes one word or one run of equal bytes, and two of them never come near
 * each other. The core's headers are sealed, not signed: whoever changes two words of a header
 * so that the seal fits again has forged a block, and no allocator can know. A fuzzer that
 * sees the comparison would learn that at once, and find nothing else; so forging is an action
 * of its own, after which less is asked of the core (damage_is_forged).
 */
#ifndef DAMAGE_H
#define DAMAGE_H

#include "program.h"
#include "twin.h"

#define DAMAGES_MAX 16u
#define DAMAGE_DISTANCE 64u /* more than a header and a tree node */
#define DAMAGE_BYTES_MAX 64u

struct damage {
    uint32_t address;
    uint32_t length;
    uint8_t bytes[DAMAGE_BYTES_MAX]; /* what will stand there */
    /* words that make a forged size look right: the seal, and where a free block begins */
    uint32_t forged_count;
    struct {
        uint32_t address;
        uint32_t word;
    } forged[2];
};

struct damages {
    uint32_t count;
    uint32_t address[DAMAGES_MAX];
    uint32_t length[DAMAGES_MAX];
};

/* What the call is to change. False: nothing, or too near to what was changed before. Bytes
 * outside the regions that have joined are left out. */
bool damage_plan(const struct twin *twin, const struct damages *before,
                 const struct program_call *call, struct damage *damage);

static inline bool damage_is_forged(const struct damage *damage) {
    return damage->forged_count > 0;
}

/* Would what it hits pass for a header afterwards? A program's own bytes may be anything; with such
 * ones it has forged a block. */
bool damage_makes_header(const struct twin *twin, const struct damage *damage);

/* Writes it and remembers it. */
void damage_do(const struct twin *twin, struct damages *before, const struct damage *damage);

/* Does the core keep something in this byte, by the model and the state's word on where the
 * last block ends? Valid as long as the model is. */
bool damage_is_protected(const struct twin *twin, uint32_t address);

/* The joined region whose row holds the address; WM_HEAP_REGIONS_MAX: none. */
uint32_t damage_region(const struct twin *twin, uint32_t address);

/* After it: does the mark in the live block's header (core/layout.h), which has 16 bits, happen to
 * be right still? No damage of one byte leaves it so. */
bool damage_leaves_mark(const struct twin *twin, const struct damage *damage);

#endif
