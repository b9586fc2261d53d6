/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the cross-check and of the cost share among themselves.
 */
#ifndef CROSSCHECK_INTERNAL_H
#define CROSSCHECK_INTERNAL_H

#include "crosscheck.h"
#include "crosscheck_run.h"

/* A trace ready to be run. */
struct crosscheck_input {
    struct crosscheck_header *header; /* begins the piece that the C-SKY program reads */
    size_t bytes;                     /* of that piece */
    struct crosscheck_op *ops;
    const char **names; /* by handle - 1, the trace's own text */
    struct w800_config config;
    bool starved; /* a name found no memory */
};

/* Prepares a trace's first `events` events for a build, on a machine that it starts. False
 * with a reason if it cannot be run. */
bool crosscheck_input_make(struct crosscheck_input *input, const struct trace *trace,
                           const struct heap_build *build, size_t events,
                           struct trace_error *error);
void crosscheck_input_free(struct crosscheck_input *input);

/* What one side wrote, and how it ended if not as it should. */
struct crosscheck_output {
    uint8_t *bytes;
    size_t count;
    size_t room;
    char end[256]; /* "": well */
};

/* Where the parts of a complete output stand: records, then the memory. */
struct crosscheck_parts {
    size_t onchip;
    size_t psram;
    size_t state;
    size_t reports;
    size_t end;
};

/* Runs `op_count` operations on the host's core; the machine is left running for those who
 * want to look into it. The output's room must be reserved. False with a reason if the machine
 * cannot be started. */
bool crosscheck_run_host(const struct crosscheck_input *input, uint32_t op_count, uint32_t interval,
                         struct crosscheck_output *output, struct trace_error *error);

/* Can the program be read? False with a reason that says how to have it. */
bool crosscheck_program_there(const char *program, struct trace_error *error);

/* The same on a C-SKY program. False with a reason if the engine cannot run it at all; a
 * program that crashes or hangs is a result. */
bool crosscheck_run_csky(const struct crosscheck_input *input, uint32_t op_count, uint32_t interval,
                         const struct crosscheck_options *options, const char *program,
                         struct crosscheck_output *output, struct trace_error *error);

/* Where the memory begins in a host's complete output, and its parts. */
struct crosscheck_parts crosscheck_parts(const struct crosscheck_input *input, size_t count);

/* Fills the result from two outputs that differ after the same number of operations, on the
 * host's machine as it stands then. */
void crosscheck_explain(const struct crosscheck_input *input, const struct heap_build *build,
                        const struct crosscheck_output *host, const struct crosscheck_output *csky,
                        struct crosscheck_result *result);

#endif
