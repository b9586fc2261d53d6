/* SPDX-License-Identifier: Apache-2.0
 *
 * System calls of a bare C-SKY program, as qemu-cskyv2 and csky-run serve them: number in r7,
 * arguments in r0 to r2, `trap 0`, result in r0.
 */
#ifndef CSKY_SYSTEM_H
#define CSKY_SYSTEM_H

enum system_number { SYSTEM_READ = 63, SYSTEM_WRITE = 64, SYSTEM_EXIT = 93 };

static inline long system_call(long number, long first, long second, long third) {
    register long r7 __asm__("r7") = number;
    register long r0 __asm__("r0") = first;
    register long r1 __asm__("r1") = second;
    register long r2 __asm__("r2") = third;

    __asm__ volatile("trap 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2) : "memory");
    return r0;
}

static inline long system_read(int descriptor, void *bytes, long count) {
    return system_call(SYSTEM_READ, descriptor, (long)bytes, count);
}

static inline long system_write(int descriptor, const void *bytes, long count) {
    return system_call(SYSTEM_WRITE, descriptor, (long)bytes, count);
}

static inline _Noreturn void system_exit(int status) {
    for (;;) {
        system_call(SYSTEM_EXIT, status, 0, 0);
    }
}

#endif
