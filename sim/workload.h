/* SPDX-License-Identifier: Apache-2.0
 *
 * A trace as mere demand: its allocations and frees run on the simulated W800, its stores,
 * flips and transfers do not. What remains is where each block lies, which is what shrinking
 * needs (addresses follow their blocks when events vanish) and what `whatif` asks (would it
 * still fit?). Nothing is judged here; that is the replay's.
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trace.h"
#include "w800.h"

struct workload {
    const struct trace *trace;
    uint32_t psram_bytes; /* fitted; REPLAY_PSRAM_AS_TRACED: what the trace's region needs */
    /* Called before an event that runs; may change its copy. May be NULL. */
    void (*before)(void *context, size_t index, struct trace_event *event);
    /* Called after every event, also of those that do not run here. `pointer` is what an
     * allocation returned, 0 for NULL. May ask the heap. False ends the run. May be NULL. */
    bool (*after)(void *context, size_t index, uint32_t pointer);
    void *context;
};

/* Runs it from power-on. False with a line in *error if it cannot be run. The machine is
 * stopped again. O(log) an event. */
bool workload_run(const struct workload *workload, struct trace_error *error);

/* The machine on which a trace runs; the configuration points into *trace. */
struct w800_config workload_machine(const struct trace *trace, uint32_t psram_bytes);

/* Does this event ask for memory through its variable? */
static inline bool workload_allocates(const struct trace_event *event) {
    return event->kind == TRACE_ALLOC || event->kind == TRACE_CALLOC ||
           event->kind == TRACE_ALIGNED || event->kind == TRACE_REALLOC;
}

/* Does it name an address outright? That one stands in event.caps. */
static inline bool workload_names_address(const struct trace_event *event) {
    return event->kind == TRACE_FREEADDR || event->kind == TRACE_WRITEADDR ||
           event->kind == TRACE_READADDR || event->kind == TRACE_FLIP ||
           (event->kind == TRACE_DMA && (event->has & TRACE_HAS_STOP) == 0);
}

/* Bytes of the block that serves a request of `size` on an empty heap; 64 bits, since a
 * request may be anything. */
static inline uint64_t workload_block_bytes(const struct heap_build *build, uint64_t size) {
    uint64_t bytes = size + build->header_size + (build->comprehensive ? 4u : 0u);
    return (bytes + 7u) & ~(uint64_t)7u;
}

/* The largest request that a block of these bytes serves, 0 if none. */
static inline uint32_t workload_payload_bytes(const struct heap_build *build, uint32_t bytes) {
    uint32_t lost = build->header_size + (build->comprehensive ? 4u : 0u);
    return bytes > lost ? bytes - lost : 0;
}

#endif
