/* SPDX-License-Identifier: Apache-2.0
 *
 * What the targets of parsers hold every outcome to: a refusal is one line, and a trace that
 * anything here makes is one that the reader takes back unchanged.
 */
#ifndef FUZZ_OUTCOME_H
#define FUZZ_OUTCOME_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../sim/diagnose.h"
#include "../sim/trace.h"

/* A reason for people: something, and one line. */
void outcome_check_reason(const char *reason);

/* Written and read, the trace is the same, comments included, and its text is final: written
 * again it does not change. */
void outcome_check_trace(const struct trace *trace);

/* The findings are in order and say what they rest on; the heap that was found becomes a trace,
 * which is checked, or is refused with a reason. Frees the diagnosis. */
void outcome_check_diagnosis(struct diagnosis *diagnosis);

struct recorder_boot;
/* The same of what a recorder told. */
void outcome_check_boot(const struct recorder_boot *boot);

/* The bytes as a file, at least one of them. */
FILE *outcome_open(const uint8_t *data, size_t size);

#endif
