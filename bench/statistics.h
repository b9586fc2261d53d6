/* SPDX-License-Identifier: Apache-2.0
 *
 * What is made of many figures.
 */
#ifndef BENCH_STATISTICS_H
#define BENCH_STATISTICS_H

#include <stddef.h>

/* Sorts, smallest first. */
void figures_sort(double *figures, size_t count);

/* The smallest figure that `share` (0 to 1) of all do not exceed: the nearest rank, so it is one
 * of them, and with share 1 the largest. They must be sorted, at least one. */
double figures_percentile(const double *figures, size_t count, double share);

#endif
