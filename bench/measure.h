/* SPDX-License-Identifier: Apache-2.0
 *
 * How long an allocator takes for the measured calls of a workload.
 *
 * The work is the same at each repetition, so what a repetition takes longer than the fastest is
 * the machine's doing: a mean is that of the fastest repetition, and a call's latency that of the
 * repetitions in which it was fast, which leaves the calls that are dear by themselves: where there
 * are several repetitions. What the loop and the clock cost is measured in the same run and taken
 * off.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "calls.h"

struct measurement {
    size_t calls;         /* measured */
    double mean_ns;       /* of a call */
    double *latencies_ns; /* of each, sorted, smallest first; measurement_free frees them */
    unsigned repetitions; /* of the kind of pass that had fewer */
    bool counted;         /* by the processor: */
    double instructions;  /* of a call, mean */
};

/* Spends about `seconds`; one repetition of each kind however long that takes, and at least five
 * if they fit into four times as many seconds. False with a line in *error if memory is short. */
bool measure(struct calls *calls, const struct allocator *allocator, double seconds,
             struct measurement *measurement, struct trace_error *error);
void measurement_free(struct measurement *measurement);

#endif
