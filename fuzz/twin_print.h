/* SPDX-License-Identifier: Apache-2.0
 *
 * What the core prints, against what the SDK's format makes of the model's numbers.
 */
#ifndef TWIN_PRINT_H
#define TWIN_PRINT_H

#include "twin.h"

#define TWIN_PRINT_MAX 8192u

/* Console text since the last comparison. */
void twin_print_take(struct twin *twin, const char *text, size_t length);

/* It must be the statistics; the list of live blocks without that of slot `hidden` (PROGRAM_SLOTS:
 * with all), and the line about that one; nothing. */
void twin_print_is_stats(struct twin *twin);
void twin_print_is_tracing(struct twin *twin, uint32_t hidden);
void twin_print_is_nothing(struct twin *twin);

#endif
