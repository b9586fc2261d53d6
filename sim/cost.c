/* SPDX-License-Identifier: Apache-2.0 */
#include "cost.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crosscheck_internal.h"
#include "csky.h"

/* A single call that takes longer is lost: filling 8 MiB takes 3 million instructions. */
#define CALL_LIMIT 1000000000u

/* The program's functions that are called, and what they are for. */
#define FUNCTIONS(X)                                                                               \
    X(PREPARE, "crosscheck_prepare")                                                               \
    X(INIT, "wm_heap_init")                                                                        \
    X(IN_PLACE, "wm_heap_set_realloc_in_place")                                                    \
    X(APPEND, "wm_heap_append_to_heap")                                                            \
    X(ALLOC, "wm_heap_caps_alloc_tracing")                                                         \
    X(FREE, "wm_heap_caps_free")                                                                   \
    X(REALLOC, "crosscheck_realloc")                                                               \
    X(CALLOC, "crosscheck_calloc")                                                                 \
    X(ALIGNED, "crosscheck_aligned")                                                               \
    X(LOCK, "wm_heap_port_lock")                                                                   \
    X(UNLOCK, "wm_heap_port_unlock")                                                               \
    X(HEADER, "crosscheck_header")

enum function {
#define FUNCTION_ENUMERATOR(name, symbol) FUNCTION_##name,
    FUNCTIONS(FUNCTION_ENUMERATOR)
#undef FUNCTION_ENUMERATOR
        FUNCTION_COUNT
};

static const char *const symbols[FUNCTION_COUNT] = {
#define FUNCTION_SYMBOL(name, symbol) symbol,
    FUNCTIONS(FUNCTION_SYMBOL)
#undef FUNCTION_SYMBOL
};

/* Counts of one kind of call, in the order of the calls. */
struct tally {
    uint32_t *counts;
    size_t calls;
    uint64_t sum;
    uint32_t max;
    size_t max_event;
    uint32_t lock_max;
};

struct meter {
    struct csky_machine *machine;
    uint32_t functions[FUNCTION_COUNT];
    struct crosscheck_input input;
    uint32_t *pointers; /* by slot */
    struct tally alloc;
    struct tally free;
    /* the lock */
    uint64_t lock_instructions; /* of the lock function itself */
    uint64_t held_since;
    uint32_t depth;
    uint32_t longest;   /* in the call that runs */
    size_t first_event; /* that counts, from 1 */
    char *crash;        /* of the result */
};

/* --- calls ------------------------------------------------------------------------------------ */

static const char *const end_names[] = {
    [CSKY_EXITED] = "the program ends itself",
    [CSKY_RETURNED] = "",
    [CSKY_FAULTED] = "the CPU stops",
    [CSKY_EXHAUSTED] = "it does not return",
};

/* Calls a function with four words. False if it did not return. */
static bool call(struct meter *meter, enum function function, const uint32_t arguments[4],
                 uint32_t *result) {
    uint32_t ignored;
    enum csky_end end = csky_call(meter->machine, meter->functions[function], arguments, 4,
                                  result != NULL ? result : &ignored, CALL_LIMIT);
    if (end == CSKY_RETURNED) {
        return true;
    }
    const char *at = csky_function_at(meter->machine, csky_pc(meter->machine));
    snprintf(meter->crash, sizeof((struct cost_result *)0)->crash,
             "%s: %s at pc 0x%08" PRIx32 " in %.64s", symbols[function], end_names[end],
             csky_pc(meter->machine), at != NULL ? at : "no function");
    return false;
}
#define CALL(meter, function, result, ...)                                                         \
    call(meter, function, (const uint32_t[4]){__VA_ARGS__}, result)

/* The same, counted. */
static bool call_counted(struct meter *meter, enum function function, const uint32_t arguments[4],
                         uint32_t *result, struct tally *tally, size_t event) {
    uint64_t before = csky_instructions(meter->machine);
    meter->longest = 0;
    meter->depth = 0;
    if (!call(meter, function, arguments, result)) {
        return false;
    }
    if (event < meter->first_event) {
        return true;
    }
    uint64_t count = csky_instructions(meter->machine) - before;
    tally->counts[tally->calls++] = (uint32_t)count; /* CALL_LIMIT fits */
    tally->sum += count;
    if (count > tally->max) {
        tally->max = (uint32_t)count;
        tally->max_event = event;
    }
    if (meter->longest > tally->lock_max) {
        tally->lock_max = meter->longest;
    }
    return true;
}

/* The watches are called before the functions' first instructions. */
static void on_lock(void *context, struct csky_machine *machine) {
    struct meter *meter = context;
    if (meter->depth++ == 0) {
        meter->held_since = csky_instructions(machine) + meter->lock_instructions;
    }
}

static void on_unlock(void *context, struct csky_machine *machine) {
    struct meter *meter = context;
    if (meter->depth == 0 || --meter->depth != 0) {
        return;
    }
    uint64_t held = csky_instructions(machine) - meter->held_since;
    if (held > meter->longest) {
        meter->longest = (uint32_t)held;
    }
}

/* --- operations ------------------------------------------------------------------------------- */

static uint32_t header_member(const struct meter *meter, size_t offset) {
    return meter->functions[FUNCTION_HEADER] + (uint32_t)offset;
}

/* An append of a name that no region has changes nothing and is left out. */
static bool run_append(struct meter *meter, const struct crosscheck_op *op) {
    const struct crosscheck_header *header = meter->input.header;
    for (uint32_t i = 0; i < header->region_count; i++) {
        if (strcmp(header->regions[i].name, meter->input.names[op->site - 1u]) == 0) {
            size_t name = offsetof(struct crosscheck_header, regions) +
                          i * sizeof *header->regions + offsetof(struct crosscheck_region, name);
            return CALL(meter, FUNCTION_APPEND, NULL, header_member(meter, name));
        }
    }
    return true;
}

static bool run_free(struct meter *meter, const struct crosscheck_op *op, uint32_t pointer) {
    if (pointer == 0) {
        return true; /* no program would call it, and its few instructions are no free's */
    }
    const uint32_t arguments[4] = {pointer};
    return call_counted(meter, FUNCTION_FREE, arguments, NULL, &meter->free, op->event);
}

static bool run_realloc(struct meter *meter, const struct crosscheck_op *op, uint32_t *result) {
    uint32_t *pointer = &meter->pointers[op->slot];
    if (!CALL(meter, FUNCTION_REALLOC, result, *pointer, op->size, op->caps, op->site)) {
        return false;
    }
    if (*result != 0 || op->size == 0) {
        *pointer = *result;
    }
    return true;
}

static void run_store(const struct meter *meter, uint32_t address, const struct crosscheck_op *op) {
    void *memory = csky_memory(meter->machine, address, op->size);
    if (memory != NULL) {
        memset(memory, (int)op->extra, op->size);
    }
}

static void run_flip(const struct meter *meter, const struct crosscheck_op *op) {
    uint8_t *byte = csky_memory(meter->machine, op->caps, 1);
    if (byte != NULL) {
        *byte = (uint8_t)(*byte ^ 1u << (op->extra & 7u));
    }
}

/* Sets *result to the address that the call returned. Queries, checks and prints change
 * nothing and are left out. */
static bool run_op(struct meter *meter, const struct crosscheck_op *op, uint32_t *result) {
    const uint32_t asked[4] = {op->size, op->caps, op->site, op->line};
    uint32_t *pointer = &meter->pointers[op->slot];
    bool ok = true;
    switch (op->kind) {
    case CROSSCHECK_APPEND:
        return run_append(meter, op);
    case CROSSCHECK_ALLOC:
        ok = call_counted(meter, FUNCTION_ALLOC, asked, result, &meter->alloc, op->event);
        *pointer = *result;
        return ok;
    case CROSSCHECK_CALLOC:
        ok = CALL(meter, FUNCTION_CALLOC, result, op->extra, op->size, op->caps, op->site);
        *pointer = *result;
        return ok;
    case CROSSCHECK_ALIGNED:
        ok = CALL(meter, FUNCTION_ALIGNED, result, op->extra, op->size, op->caps, op->site);
        *pointer = *result;
        return ok;
    case CROSSCHECK_REALLOC:
        return run_realloc(meter, op, result);
    case CROSSCHECK_FREE:
        ok = run_free(meter, op, *pointer);
        *pointer = 0;
        return ok;
    case CROSSCHECK_FREEADDR:
        return run_free(meter, op, op->caps);
    case CROSSCHECK_INIT:
        return CALL(meter, FUNCTION_INIT, NULL, 0);
    case CROSSCHECK_WRITE:
        run_store(meter, *pointer + op->caps, op);
        return true;
    case CROSSCHECK_WRITEADDR:
        run_store(meter, op->caps, op);
        return true;
    case CROSSCHECK_FLIP:
        run_flip(meter, op);
        return true;
    default:
        return true;
    }
}

/* Is this the build that the trace's addresses are from? */
static bool is_own_build(const struct trace *trace, const struct heap_build *build) {
    return heap_build_find(trace->config.tracing, trace->config.poisoning) == build;
}

/* Where the last so many allocs and frees begin. */
static size_t first_event_of(const struct crosscheck_input *input, size_t last) {
    uint32_t i = input->header->op_count;
    while (i > 0 && last > 0) {
        enum crosscheck_op_kind kind = (enum crosscheck_op_kind)input->ops[--i].kind;
        last -= kind == CROSSCHECK_ALLOC || kind == CROSSCHECK_FREE || kind == CROSSCHECK_FREEADDR;
    }
    return i + 1u;
}

static bool run_trace(struct meter *meter, const struct trace *trace, bool judge,
                      struct cost_result *result) {
    const struct crosscheck_header *header = meter->input.header;
    for (uint32_t i = 0; i < header->op_count; i++) {
        const struct trace_event *event = &trace->events[i];
        uint32_t got = 0;
        if (!run_op(meter, &meter->input.ops[i], &got)) {
            return false;
        }
        if (judge && (event->has & TRACE_HAS_ADDRESS) != 0 && event->address != got &&
            result->mismatches++ == 0) {
            result->first_event = i + 1u;
            result->first_expected = event->address;
            result->first_got = got;
        }
    }
    return true;
}

/* --- figures ---------------------------------------------------------------------------------- */

static int compare_counts(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static struct cost_figures figures_of(struct tally *tally) {
    struct cost_figures figures = {.calls = tally->calls};
    if (tally->calls != 0) {
        qsort(tally->counts, tally->calls, sizeof *tally->counts, compare_counts);
        figures.mean = (double)tally->sum / (double)tally->calls;
        figures.p99 = tally->counts[(tally->calls * 99u + 99u) / 100u - 1u];
        figures.max = tally->max;
        figures.max_event = tally->max_event;
        figures.lock_max = tally->lock_max;
    }
    return figures;
}

/* Both kinds together: their counts stand in one array, alloc's first. */
static void figures_make(struct meter *meter, size_t room, struct cost_result *result) {
    struct tally all = {.counts = meter->alloc.counts, .calls = meter->alloc.calls};
    const struct tally *most = meter->alloc.max >= meter->free.max ? &meter->alloc : &meter->free;
    result->alloc = figures_of(&meter->alloc);
    result->free = figures_of(&meter->free);
    memmove(all.counts + all.calls, all.counts + room, meter->free.calls * sizeof *all.counts);
    all.calls += meter->free.calls;
    all.sum = meter->alloc.sum + meter->free.sum;
    all.max = most->max;
    all.max_event = most->max_event;
    all.lock_max =
        meter->alloc.lock_max > meter->free.lock_max ? meter->alloc.lock_max : meter->free.lock_max;
    result->all = figures_of(&all);
}

/* --- the program ------------------------------------------------------------------------------ */

static bool refuse(struct trace_error *error, const char *program, const char *reason) {
    snprintf(error->text, sizeof error->text, "%.200s: %s", program, reason);
    return false;
}

/* Fills the program's header and initialises its heap. */
static bool meter_begin(struct meter *meter, const char *program, struct trace_error *error) {
    uint32_t size = 0;
    for (int i = 0; i < FUNCTION_COUNT; i++) {
        if (!csky_symbol(meter->machine, symbols[i], &meter->functions[i], &size)) {
            return refuse(error, program, "not one of the programs that crosscheck runs");
        }
    }
    const struct crosscheck_header *header = meter->input.header;
    void *place = csky_memory(meter->machine, meter->functions[FUNCTION_HEADER], sizeof *header);
    if (place == NULL || size != sizeof *header) { /* the last symbol is the header's */
        return refuse(error, program, "of another version: build it anew");
    }
    memcpy(place, header, sizeof *header);
    uint64_t before = csky_instructions(meter->machine);
    bool called = CALL(meter, FUNCTION_LOCK, NULL, 0);
    meter->lock_instructions = csky_instructions(meter->machine) - before;
    if (!called || !CALL(meter, FUNCTION_PREPARE, NULL, 0) ||
        !CALL(meter, FUNCTION_INIT, NULL, 0) ||
        !CALL(meter, FUNCTION_IN_PLACE, NULL, header->realloc_in_place)) {
        return refuse(error, program, meter->crash);
    }
    csky_watch(meter->machine, meter->functions[FUNCTION_LOCK], on_lock, meter);
    csky_watch(meter->machine, meter->functions[FUNCTION_UNLOCK], on_unlock, meter);
    return true;
}

static bool measure(struct meter *meter, const struct trace *trace, const char *program,
                    struct cost_result *result, struct trace_error *error) {
    size_t room = trace->event_count + 1u;
    if (!meter_begin(meter, program, error)) {
        return false;
    }
    meter->pointers = calloc(trace->id_count + 1u, sizeof *meter->pointers);
    meter->alloc.counts = calloc(2u * room, sizeof *meter->alloc.counts);
    if (meter->pointers == NULL || meter->alloc.counts == NULL) {
        return refuse(error, program, "out of memory");
    }
    meter->free.counts = meter->alloc.counts + room;
    if (run_trace(meter, trace, is_own_build(trace, meter->input.config.build), result)) {
        figures_make(meter, room, result);
    }
    return true;
}

bool cost_trace(const struct trace *trace, const struct heap_build *build, const char *programs,
                size_t last, struct cost_result *result, struct trace_error *error) {
    struct meter meter = {.crash = result->crash};
    char *program = NULL;
    *result = (struct cost_result){.mismatches = 0};
    if (!crosscheck_input_make(&meter.input, trace, build, 0, error)) {
        return false;
    }
    meter.first_event = first_event_of(&meter.input, last);
    bool good = false;
    if (asprintf(&program, "%s/crosscheck-%s", programs, build->name) < 0) {
        program = NULL;
        refuse(error, programs, "out of memory");
    } else if (crosscheck_program_there(program, error)) {
        meter.machine = csky_open(program, error->text, sizeof error->text);
        good = meter.machine != NULL && measure(&meter, trace, program, result, error);
    }
    if (meter.machine != NULL) {
        csky_close(meter.machine);
    }
    free(meter.pointers);
    free(meter.alloc.counts);
    free(program);
    crosscheck_input_free(&meter.input);
    return good;
}
