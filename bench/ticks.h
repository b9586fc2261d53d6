/* SPDX-License-Identifier: Apache-2.0
 *
 * A clock that is fine enough for single calls: the processor's counter, read in order with
 * what stands before and after it.
 */
#ifndef BENCH_TICKS_H
#define BENCH_TICKS_H

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

static inline uint64_t ticks_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t ticks_now(void) {
#if defined(__x86_64__)
    _mm_lfence();
    uint64_t now = __rdtsc();
    _mm_lfence();
    return now;
#elif defined(__aarch64__)
    uint64_t now;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(now)::"memory");
    return now;
#else
    return ticks_ns();
#endif
}

/* Nanoseconds of a tick, found out by waiting for 5 ms. */
static inline double ticks_length_ns(void) {
    uint64_t began_ns = ticks_ns();
    uint64_t began = ticks_now();
    uint64_t ns;
    do {
        ns = ticks_ns() - began_ns;
    } while (ns < 5000000u);
    return (double)ns / (double)(ticks_now() - began);
}

#endif
