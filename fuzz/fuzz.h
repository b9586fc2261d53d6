/* SPDX-License-Identifier: Apache-2.0
 *
 * What every fuzz target is: a name and one function from bytes to nothing. Whoever runs it
 * (AFL++, libFuzzer, a file, a seed: fuzz_main.c) is none of its business, so that a finding of
 * one tool is reproduced by any other.
 *
 * A target judges by itself and ends with fuzz_fail on the first thing that is wrong; a crash
 * and a hang are findings too. It must forget everything between two inputs: the same bytes
 * take the same way, whatever ran before.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- what a target defines ---- */

extern const char fuzz_name[];

/* Runs one input. Returns 0, or -1 if the input says nothing and need not be kept. */
int fuzz_one(const uint8_t *data, size_t size);

/* For targets whose inputs are programs: bytes before the first call, if not one. */
__attribute__((weak)) extern const size_t fuzz_head_bytes;

/* Optional, hence weak. fuzz_open runs once, before the first input: what it does costs no
 * time and no stability later. */
__attribute__((weak)) void fuzz_open(void);

/* Changes `size` bytes at `data`, in place, to a neighbouring input of at most `room` bytes;
 * returns its size. `other` (its size may be 0) is another input to splice from. The same
 * arguments give the same result. */
__attribute__((weak)) size_t fuzz_mutate(uint8_t *data, size_t size, size_t room,
                                         const uint8_t *other, size_t other_size, uint64_t seed);

/* Writes what the input means, in the form that reproduces it best: a text trace. */
__attribute__((weak)) bool fuzz_explain(const uint8_t *data, size_t size, FILE *out);

/* Calls that an input makes. */
__attribute__((weak)) size_t fuzz_calls(const uint8_t *data, size_t size);

/* ---- what it may use ---- */

/* One line on standard error, "fuzz NAME: FILE:LINE: ...", and abort. */
__attribute__((format(printf, 3, 4))) _Noreturn void fuzz_fail(const char *file, int line,
                                                               const char *format, ...);

/* Cheap while all is well. */
#define FUZZ_CHECK(condition, ...)                                                                 \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) {                                                   \
            fuzz_fail(__FILE__, __LINE__, __VA_ARGS__);                                            \
        }                                                                                          \
    } while (0)

/* splitmix64: 64 good bits from a counter. */
static inline uint64_t fuzz_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline uint32_t fuzz_random_below(uint64_t *state, uint32_t bound) {
    return (uint32_t)((fuzz_random(state) >> 32) * bound >> 32);
}

#endif
