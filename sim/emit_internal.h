/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two halves of emit share: emit_judge.c finds what fails, emit.c writes C.
 */
#ifndef EMIT_INTERNAL_H
#define EMIT_INTERNAL_H

#include <stdio.h>

#include "shrink.h"

#define STAND_IN_BYTE 0xa5u /* fills a block whose contents are watched */

struct emit {
    const struct trace *trace;
    const char *name;
    FILE *out;
    bool fails;
    struct shrink_failure failure;
    uint32_t place;    /* of contents that differ */
    size_t ends_at;    /* events that the test has */
    bool ends_damaged; /* an expected fault closes the heap: no check at the end */
    size_t origin;     /* contents: the event that allocated their block, from 0 */
    uint32_t offset;   /* of them in it */
    uint32_t slot;     /* the variable that holds it */
    bool *starved;     /* set where memory runs out */
};

/* Runs the trace to see what fails, if anything, and whether a test can show it: fills in
 * what follows `fails`. */
bool emit_judge(struct emit *emit, struct trace_error *error);

#endif
