/* SPDX-License-Identifier: Apache-2.0 */
#include "statistics.h"

#include <math.h>
#include <stdlib.h>

static int compare(const void *left, const void *right) {
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

void figures_sort(double *figures, size_t count) {
    qsort(figures, count, sizeof *figures, compare);
}

double figures_percentile(const double *figures, size_t count, double share) {
    /* a product that should be whole may come out a little above */
    double rank = ceil(share * (double)count - 1e-9);
    size_t index = rank < 1.0 ? 0 : (size_t)rank - 1u;
    return figures[index < count ? index : count - 1u];
}
