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

bool figures_exponent(const double *x, const double *y, size_t count, double *exponent) {
    double mean_x = 0.0;
    double mean_y = 0.0;
    double covariance = 0.0;
    double variance = 0.0;
    for (size_t i = 0; i < count; i++) {
        if (!(x[i] > 0.0 && y[i] > 0.0)) {
            return false;
        }
        mean_x += log(x[i]) / (double)count;
        mean_y += log(y[i]) / (double)count;
    }
    for (size_t i = 0; i < count; i++) {
        double distance = log(x[i]) - mean_x;
        covariance += distance * (log(y[i]) - mean_y);
        variance += distance * distance;
    }
    if (!(variance > 1e-12)) {
        return false;
    }
    *exponent = covariance / variance;
    return true;
}
