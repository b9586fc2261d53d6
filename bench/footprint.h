/* SPDX-License-Identifier: Apache-2.0
 *
 * What memory a workload's blocks lie on: of any allocator, by the addresses that it returned.
 *
 * The blocks' pages of 4 KiB are what an operating system would have to back; what of them is
 * not the program's own bytes is lost to headers, rounding and fragmentation.
 */
#ifndef BENCH_FOOTPRINT_H
#define BENCH_FOOTPRINT_H

#include "calls.h"

/* At one moment. */
struct footprint_sample {
    size_t call; /* so many calls were made */
    uint64_t live_blocks;
    uint64_t live_bytes;  /* that the program asked for */
    uint64_t block_bytes; /* of those blocks, headers and rounding included */
    uint64_t page_bytes;  /* of the pages on which at least a byte of them lies */
    uint64_t holes;       /* if the allocator tells; else 0 */
    double umm;           /* percent, footprint_umm of them; below 0: it does not tell */
};

#define FOOTPRINT_SAMPLES 200u

struct footprint {
    struct footprint_sample samples[FOOTPRINT_SAMPLES + 1u]; /* over the whole workload, evenly */
    size_t sample_count;
    struct footprint_sample peak; /* when live_bytes was largest, at the first time */
    uint64_t digest;              /* of all addresses returned, in order */
    size_t mismatches;            /* addresses other than the trace's */
    size_t failures;              /* requests that failed */
};

/* Makes all calls once. False with a line in *error if memory is short, or the blocks lie on more
 * than 65,535 pages (256 MiB, where a W800 has 8). O(calls), and at each sample what
 * allocator->holes takes. */
bool footprint_take(struct calls *calls, const struct allocator *allocator,
                    struct footprint *footprint, struct trace_error *error);

/* umm_malloc's measure of scattered free memory: 0 for one hole, towards 100 the more and the
 * smaller they are: 100 * (1 - root of the sum of squares / sum). 0 if there is none. */
double footprint_umm(double sum, double sum_of_squares);

/* Percent of the pages' bytes that the program did not ask for. */
double footprint_fragmentation(const struct footprint_sample *sample);

#endif
