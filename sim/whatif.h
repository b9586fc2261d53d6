/* SPDX-License-Identifier: Apache-2.0
 *
 * Would this workload still fit on another board, or with other options? Headers that carry
 * call sites or canaries are larger, a chip may have less PSRAM, and SRAM's heap begins where
 * .bss ends, so each new variable of the firmware moves it.
 *
 * A workload fits if no request fails that must succeed: one that the recording says was
 * served, or, where it says nothing, one that is served as the trace stands. Addresses are
 * not compared, stores and transfers do not run; a failure that the trace itself injects is
 * none. The allocator that answers is the real one.
 */
#ifndef WHATIF_H
#define WHATIF_H

#include "replay.h"

#define WHATIF_PEAKS 3 /* DEFAULT, SHARED, SPIRAM */

struct whatif_options {
    struct trace_config config;             /* of the heap asked about */
    uint32_t psram_bytes;                   /* or REPLAY_PSRAM_AS_TRACED */
    uint32_t heap_start[TRACE_REGIONS_MAX]; /* of the trace's regions, 0: as traced */
    void (*on_progress)(void *context, size_t done, size_t all); /* runs; may be NULL */
    void *context;
};

/* How low it went, and at which event (number, from 1; 0: before the first). */
struct whatif_low {
    uint32_t free_bytes;
    size_t event;
};

/* At the moment when the regions that serve these capabilities had least. */
struct whatif_peak {
    uint32_t caps;
    const char *name;
    bool served; /* by any region */
    struct whatif_low low;
    uint32_t largest_request; /* that would have been served then */
};

struct whatif_failure {
    size_t event; /* number, from 1; 0: none */
    uint64_t size;
    uint32_t free_bytes; /* of the regions that serve it, at that moment */
    uint32_t largest_request;
};

struct whatif_result {
    bool fits;
    struct whatif_failure failure; /* if it does not */
    struct whatif_low total;       /* since the last append, as the SDK counts */
    struct whatif_low regions[TRACE_REGIONS_MAX];
    bool region_open[TRACE_REGIONS_MAX];
    struct whatif_peak peaks[WHATIF_PEAKS];
    /* Bisection over the start of SRAM's heap: if it fits, by how much it may move up, and
     * what fails 8 bytes further; if not, by how much it must move down. */
    bool has_sram;
    uint32_t headroom;
    struct whatif_failure beyond; /* event 0: nothing fails, however small SRAM becomes */
    bool curable;
    uint32_t lacking;
};

/* False with a line in *error if the question makes no sense or cannot be run. About twenty
 * runs of the trace. */
bool whatif_ask(const struct trace *trace, const struct whatif_options *options,
                struct whatif_result *result, struct trace_error *error);

#endif
