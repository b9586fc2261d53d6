/* SPDX-License-Identifier: Apache-2.0
 *
 * From what a board reported to a trace that `replay` runs: a heap at one moment becomes
 * calls that rebuild the same blocks at the same addresses, a recorder's events become
 * themselves, each block at the address where the board had it.
 */
#ifndef CONVERT_H
#define CONVERT_H

#include <stdbool.h>
#include <stdint.h>

#include "finding.h"
#include "firmware.h"
#include "image.h"
#include "recorder.h"
#include "trace.h"

/* What became of the report. */
struct convert_report {
    uint64_t events;      /* of the recorder, converted */
    uint64_t lost;        /* of the recorder, missing: overwritten, or their lines lost */
    uint64_t after_fault; /* came after damage that stops a replay, left out */
    uint64_t lines;       /* of the recorder, intact */
    uint64_t lines_lost;  /* by sequence number, damaged ones included */
    uint64_t damaged;     /* lines that were recognised but not intact */
    uint64_t blocks;      /* of a heap at one moment: rebuilt */
    uint64_t inexact;     /* of those, at the right address with another size */
    uint64_t unplaced;    /* blocks no calls can put there; they are left out */
    uint64_t supposed;    /* blocks nobody saw, without which others would lie elsewhere */
    uint64_t stale;       /* blocks freed because another lay there later: their frees are lost */
    uint64_t forced;      /* failures that are made to happen, as the board had them */
    bool has_fault;       /* the recorder saw one */
};

/* The block that a corruption line is about has left the printed list: puts it back, from the
 * worst finding. False: out of memory. */
bool convert_restore_block(struct image *image, const struct findings *findings);

/* A heap at one moment. The worst of `findings`, which may be NULL, is acted out at its end: a
 * store past or before the block and its free, or the request that failed. False with a reason if
 * it cannot be converted. */
bool convert_image(const struct image *image, const struct findings *findings, struct trace *trace,
                   struct convert_report *report, char *error, size_t error_size);

/* A recorder's boot. With `firmware`, which may be NULL, names that are missing are looked up
 * there, and calls whose site says nothing get the place they return to. */
bool convert_recording(const struct recorder_boot *boot, struct firmware *firmware,
                       struct trace *trace, struct convert_report *report, char *error,
                       size_t error_size);

#endif
