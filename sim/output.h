/* SPDX-License-Identifier: Apache-2.0
 *
 * A file that a command writes: all of it or none. It grows under a temporary name beside
 * its place and takes its name when it is complete; what stood there stays until then.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

struct output {
    FILE *file;       /* to write to */
    const char *path; /* NULL: standard output */
    char *temporary;  /* its name until it is complete; NULL: written in place (a pipe, a device) */
};

/* Begins the file; NULL or "-" is standard output. False after a message. */
bool output_begin(struct output *output, const char *path);
/* Completes it, or if not `good` removes it. False after a message, and if not good. */
bool output_end(struct output *output, bool good);

#endif
