/* SPDX-License-Identifier: Apache-2.0
 *
 * From a field report to a cause. A report is a console log, a RAM dump as the board sends
 * it, or a raw memory image; which one is told from its content, not its name.
 */
#ifndef DIAGNOSE_H
#define DIAGNOSE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "finding.h"
#include "firmware.h"
#include "image.h"

#define DIAGNOSE_NO_EXCEPTION UINT32_MAX

struct diagnosis {
    struct findings findings;
    struct image image; /* the last heap seen, as far as it is known */
    uint64_t lines;     /* of a log; 0 for dumps */
    uint64_t damaged;   /* lines that could not be read although they began like known ones */
    bool recorded;      /* a firmware's recorder has told of its calls */
    uint32_t exception; /* number, or DIAGNOSE_NO_EXCEPTION */
    uint32_t pc;        /* of the exception; 0 if not known */
    uint32_t r15;       /* return address at the exception */
};

struct recording;

struct diagnose_options {
    struct firmware *firmware;   /* NULL: none given */
    struct recording *recording; /* if not NULL: takes a dump's recorded calls, together with
                                  * the heap they led to, unless that heap is smashed */
    bool has_base;               /* a raw memory image: its first byte's address follows */
    uint32_t base;
};

/* Reads and judges one file. False with one line in error if it is unusable (not readable,
 * empty, neither a log nor a dump). Bounded memory whatever the size of a log. */
bool diagnose_file(const char *path, const struct diagnose_options *options,
                   struct diagnosis *diagnosis, char *error, size_t error_size);
void diagnosis_free(struct diagnosis *diagnosis);

/* The verdict of the worst finding; CLEAN if there is none. */
enum verdict diagnosis_verdict(const struct diagnosis *diagnosis);

/* The two kinds of reports; called by diagnose_file. */
bool diagnose_log(FILE *log, const char *name, const struct diagnose_options *options,
                  struct diagnosis *diagnosis, char *error, size_t error_size);
bool diagnose_memory(const uint8_t *bytes, size_t size, const char *name,
                     const struct diagnose_options *options, struct diagnosis *diagnosis,
                     char *error, size_t error_size);

/* Rules over one reconstructed heap, for both kinds: is a request of `size` bytes with
 * `caps` refused for want of memory or for want of a large enough hole? Adds exhaustion or
 * fragmentation with the sites that hold or pin most. */
bool diagnose_failed_request(const struct image *image, uint32_t size, uint32_t caps,
                             struct findings *findings);

#endif
