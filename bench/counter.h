/* SPDX-License-Identifier: Apache-2.0
 *
 * The processor's counter of executed instructions, where the kernel grants one.
 */
#ifndef BENCH_COUNTER_H
#define BENCH_COUNTER_H

#include <stdbool.h>
#include <stdint.h>

struct counter {
    int descriptor;
};

/* Counts this thread's instructions in user mode. False where there is no such counter (many
 * virtual machines have none) or it may not be used (/proc/sys/kernel/perf_event_paranoid). */
bool counter_open(struct counter *counter);
void counter_close(struct counter *counter);

void counter_start(const struct counter *counter);
/* Instructions since the start. False if they were not all counted. */
bool counter_stop(const struct counter *counter, uint64_t *instructions);

#endif
