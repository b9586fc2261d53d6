/* SPDX-License-Identifier: Apache-2.0
 *
 * A program as a text trace (sim/trace-format.md), written line by line before each call, so
 * that a call that ends the process has its line too. What a trace has no event for becomes
 * a comment.
 */
#ifndef TWIN_TRACE_H
#define TWIN_TRACE_H

#include "twin.h"

/* Configuration and regions. */
void twin_trace_head(const struct twin *twin);
void twin_trace_line(const struct twin *twin, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Nothing but a comparison while no trace is written. */
#define twin_trace(twin, ...)                                                                      \
    do {                                                                                           \
        if ((twin)->trace != NULL) {                                                               \
            twin_trace_line(twin, __VA_ARGS__);                                                    \
        }                                                                                          \
    } while (0)

#endif
