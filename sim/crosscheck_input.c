/* SPDX-License-Identifier: Apache-2.0
 *
 * From a trace to what both sides of a cross-check run. What is the simulator's own (injected
 * failures, DMA) is resolved here, so that neither side knows of it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crosscheck_internal.h"

/* The trace's injected failures, as the simulated machine counts them (sim/w800_heap.c). */
struct countdown {
    uint32_t next; /* allocations up to the failing one; 0: none fails */
    bool from_then_on;
};

static bool this_one_fails(struct countdown *countdown, bool counts) {
    if (!counts || countdown->next == 0) {
        return false;
    }
    bool fails = countdown->next == 1;
    countdown->next = fails ? countdown->from_then_on : countdown->next - 1;
    return fails;
}

static uint32_t region_index(const struct trace *trace, uint32_t name) {
    for (uint32_t i = 0; name != TRACE_NO_SLOT && i < trace->region_count; i++) {
        if (strcmp(trace->regions[i].name, trace->names[name]) == 0) {
            return i;
        }
    }
    return WM_HEAP_NO_REGION;
}

static const uint8_t op_kinds[TRACE_EVENT_KINDS] = {
    [TRACE_APPEND] = CROSSCHECK_APPEND,       [TRACE_ALLOC] = CROSSCHECK_ALLOC,
    [TRACE_REALLOC] = CROSSCHECK_REALLOC,     [TRACE_FREE] = CROSSCHECK_FREE,
    [TRACE_FREEADDR] = CROSSCHECK_FREEADDR,   [TRACE_EXPECT] = CROSSCHECK_QUERY,
    [TRACE_CALLOC] = CROSSCHECK_CALLOC,       [TRACE_ALIGNED] = CROSSCHECK_ALIGNED,
    [TRACE_INIT] = CROSSCHECK_INIT,           [TRACE_WRITE] = CROSSCHECK_WRITE,
    [TRACE_WRITEADDR] = CROSSCHECK_WRITEADDR, [TRACE_READADDR] = CROSSCHECK_READADDR,
    [TRACE_FLIP] = CROSSCHECK_FLIP,           [TRACE_FAIL] = CROSSCHECK_NOTHING,
    [TRACE_DMA] = CROSSCHECK_NOTHING,         [TRACE_CHECK] = CROSSCHECK_CHECK,
    [TRACE_STATS] = CROSSCHECK_STATS,         [TRACE_TRACING] = CROSSCHECK_TRACING,
};

/* The machine numbers names in the order of their first use; it does so anew, with the same
 * result, whenever it is started. */
static uint32_t handle_of(struct crosscheck_input *input, const char *name) {
    uint32_t handle = wm_heap_port_site(name);
    input->starved |= handle == 0;
    if (handle > input->header->name_count && handle <= CROSSCHECK_NAMES_MAX) {
        input->header->name_count = handle;
        input->header->name_bytes += (uint32_t)strlen(name) + 1u;
        input->names[handle - 1u] = name;
    }
    return handle;
}

static void op_make(struct crosscheck_input *input, const struct trace *trace, size_t index,
                    struct countdown *countdown) {
    const struct trace_event *event = &trace->events[index];
    struct crosscheck_op *op = &input->ops[index];
    *op = (struct crosscheck_op){
        .kind = op_kinds[event->kind],
        .slot = event->slot == TRACE_NO_SLOT ? 0 : event->slot,
        .size = event->size,
        .caps = event->caps,
        .extra = event->extra,
        .line = event->site_line,
        .event = (uint32_t)index + 1u,
    };
    if ((event->has & TRACE_HAS_SITE) != 0) {
        op->site = handle_of(input, trace->names[event->site]);
    }
    switch (event->kind) {
    case TRACE_ALLOC:
    case TRACE_REALLOC:
    case TRACE_ALIGNED:
    case TRACE_CALLOC:
        if (this_one_fails(countdown, event->size != 0 &&
                                          (event->kind != TRACE_CALLOC || event->extra != 0))) {
            op->caps |= WM_HEAP_CAP_INVALID;
        }
        break;
    case TRACE_FAIL:
        *countdown = (struct countdown){event->size, (event->has & TRACE_HAS_ON) != 0};
        break;
    case TRACE_APPEND:
        op->site = handle_of(input, trace->names[event->extra]);
        break;
    case TRACE_CHECK:
        op->extra = region_index(trace, event->extra);
        break;
    default:
        break;
    }
}

/* The smallest chip that holds the trace's region. */
static uint32_t psram_fitted(const struct trace *trace) {
    uint32_t fitted = 0;
    for (uint32_t i = 0; i < trace->region_count; i++) {
        uint32_t end = trace->regions[i].end;
        if (trace->regions[i].start >= W800_PSRAM_START) {
            for (fitted = 2u << 20; W800_PSRAM_START + fitted < end;) {
                fitted *= 2;
            }
        }
    }
    return fitted;
}

static void regions_make(struct crosscheck_input *input, const struct trace *trace) {
    struct crosscheck_header *header = input->header;
    struct w800_config *config = &input->config;
    header->region_count = config->region_count = trace->region_count;
    header->psram_bytes = config->psram_bytes = psram_fitted(trace);
    for (uint32_t i = 0; i < trace->region_count; i++) {
        const struct trace_region *region = &trace->regions[i];
        config->regions[i] = (struct wm_heap_region_config){
            region->name, region->start, region->end, region->caps, region->deferred};
        header->regions[i] = (struct crosscheck_region){.start = region->start,
                                                        .end = region->end,
                                                        .caps = region->caps,
                                                        .deferred = region->deferred};
        memcpy(header->regions[i].name, region->name, sizeof region->name);
    }
}

/* Brings header, names and operations, which have room of their own so far, into one piece. */
static bool input_join(struct crosscheck_input *input) {
    struct crosscheck_header *header = input->header;
    size_t op_bytes = header->op_count * sizeof *input->ops;
    input->bytes = sizeof *header + header->name_bytes + op_bytes;
    char *piece = malloc(input->bytes);
    if (piece == NULL) {
        return false;
    }
    header->name_bytes = 0;
    for (uint32_t i = 0; i < header->name_count; i++) {
        size_t length = strlen(input->names[i]) + 1;
        memcpy(piece + sizeof *header + header->name_bytes, input->names[i], length);
        header->name_bytes += (uint32_t)length;
    }
    memcpy(piece, header, sizeof *header);
    memcpy(piece + input->bytes - op_bytes, input->ops, op_bytes);
    free(header);
    input->header = (struct crosscheck_header *)(void *)piece;
    return true;
}

static bool refuse(struct crosscheck_input *input, struct trace_error *error, const char *reason) {
    snprintf(error->text, sizeof error->text, "%s", reason);
    crosscheck_input_free(input);
    return false;
}

bool crosscheck_input_make(struct crosscheck_input *input, const struct trace *trace,
                           const struct heap_build *build, size_t events,
                           struct trace_error *error) {
    size_t count = events != 0 && events < trace->event_count ? events : trace->event_count;
    struct w800_error reason;
    struct countdown countdown = {0, false};
    *input = (struct crosscheck_input){
        .header = calloc(1, sizeof *input->header),
        .ops = calloc(count + 1, sizeof *input->ops),
        .names = calloc(CROSSCHECK_NAMES_MAX, sizeof *input->names),
        .config = {.build = build, .realloc_in_place = trace->config.realloc_in_place},
    };
    if (input->header == NULL || input->ops == NULL || input->names == NULL) {
        return refuse(input, error, "out of memory");
    }
    *input->header = (struct crosscheck_header){
        .magic = CROSSCHECK_MAGIC,
        .version = CROSSCHECK_VERSION,
        .interval = CROSSCHECK_INTERVAL,
        .realloc_in_place = trace->config.realloc_in_place,
        .slot_count = trace->id_count + 1u,
        .op_count = (uint32_t)count,
    };
    regions_make(input, trace);
    if (!w800_start(&input->config, &reason)) {
        return refuse(input, error, reason.text);
    }
    for (size_t i = 0; i < count; i++) {
        op_make(input, trace, i, &countdown);
    }
    w800_stop();
    if (input->starved) {
        return refuse(input, error, "out of memory");
    }
    const struct crosscheck_header *header = input->header;
    if (header->slot_count > CROSSCHECK_SLOTS_MAX || header->name_count >= CROSSCHECK_NAMES_MAX ||
        header->name_bytes > CROSSCHECK_NAME_BYTES_MAX) {
        return refuse(input, error,
                      "the C-SKY program has room for 1,048,575 IDs, 65,535 names of call sites "
                      "and 1 MiB of their text");
    }
    return input_join(input) || refuse(input, error, "out of memory");
}

void crosscheck_input_free(struct crosscheck_input *input) {
    free(input->header);
    free(input->ops);
    free(input->names);
    *input = (struct crosscheck_input){0};
}
