/* SPDX-License-Identifier: Apache-2.0
 *
 * What csky-run prints about a machine.
 */
#ifndef CSKY_REPORT_H
#define CSKY_REPORT_H

#include <stdio.h>

#include "csky.h"

/* What ended the run, the instruction, where it was, and all registers. */
void csky_report_fault(const struct csky_machine *machine, const char *program, FILE *out);

/* Functions by the number of instructions executed in them. */
void csky_report_stats(struct csky_machine *machine, FILE *out);
void csky_report_json(struct csky_machine *machine, FILE *out);

/* Executes one instruction and prints it, with the registers that it changed. */
enum csky_end csky_trace_step(struct csky_machine *machine, FILE *out);

#endif
