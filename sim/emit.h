/* SPDX-License-Identifier: Apache-2.0
 *
 * A trace as a test case in C for Criterion and w800::sim: the same calls on the same
 * machine, and the claim that no fault comes that was not expected, that each recorded
 * address comes back, and that the heap is whole at the end. It fails as long as the trace
 * fails, and passes from the day on that the bug is fixed.
 *
 * All names in it begin with the test's, so that several can be pasted into one file.
 */
#ifndef EMIT_H
#define EMIT_H

#include <stdio.h>

#include "replay.h"

#define EMIT_NAME_MAX 64

/* The name for a test that a file's name suggests: its last part without its ending, as a C
 * identifier. */
void emit_name(const char *path, char name[EMIT_NAME_MAX]);

/* Writes the test to `out`. False with a line in *error if the trace cannot be run, or if
 * what fails is nothing that a program could see: core and model disagreeing about a block. */
bool emit_test(const struct trace *trace, const char *name, const char *shown, FILE *out,
               struct trace_error *error);

#endif
