/* SPDX-License-Identifier: Apache-2.0
 *
 * Small worlds, whole: heaps of a few hundred bytes, and every state that calls over a handful of
 * sizes can reach with at most four live pointers, in all six builds. Breadth first, so that the
 * way to a failure is a shortest one. Each call from each state is judged by the model: address,
 * sizes, every block; and the heap's own check, the live bytes and the memory around the heap are
 * looked at. From each state every wrong free of an address in the heap is tried, too: one fault,
 * of the right kind, and nothing else changes.
 *
 * What only counts (calls, sequence numbers, minima) is set back before each call: with it every
 * way would lead to a state of its own.
 *
 * small_worlds [--states N]: no more than N states of each world, for runs that are slow for some
 * other reason. A failure prints the way as a trace for `wmheap replay`.
 */
#include "small_worlds.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZES_MAX 6u
#define ALIGNMENT 32u
#define AROUND_BYTES 64u /* kept an eye on, before and behind each region */
#define AROUND 0x3c

/* What there is to choose from. */
struct world {
    const char *name;
    bool in_place;
    bool relatives; /* calloc and aligned_alloc, too */
    uint32_t regions;
    uint32_t blocks; /* so many of the smallest fit into a region */
    uint32_t size_count;
    uint32_t more[SIZES_MAX]; /* a block's bytes beyond those of the smallest */
};

static const struct world worlds[] = {
    {"alloc, realloc, free", false, false, 1, 7, 5, {0, 8, 24, 72, 4096}},
    {"realloc in place", true, false, 1, 6, 5, {0, 8, 24, 72, 4096}},
    {"calloc, aligned_alloc", false, true, 1, 6, 4, {0, 16, 40, 4096}},
    {"two regions", false, false, 2, 4, 3, {0, 16, 40}},
};

static struct {
    const struct world *world;
    struct w800_config config;
    struct heap heap;
    struct model *model;
    uint32_t sizes[SIZES_MAX];
    uint64_t steps;
    uint32_t now; /* the state from which calls are tried */
    const struct call *trying;
    uint32_t faults;
    uint32_t fault; /* its kind */
} run;

/* --- failing ---------------------------------------------------------------------------------- */

static uint32_t model_call(const struct call *call) {
    switch (call->kind) {
    case ALLOC:
    case CALLOC:
        return model_alloc(run.model, call->size, call->caps);
    case ALIGNED:
        return model_aligned_alloc(run.model, ALIGNMENT, call->size, call->caps);
    case REALLOC:
        return model_realloc(run.model, call->pointer, call->size, call->caps);
    case FREE:
    default:
        model_free(run.model, call->pointer);
        return 0;
    }
}

static void print_call(const struct call *call, uint32_t id) {
    switch (call->kind) {
    case ALLOC:
        printf("alloc %" PRIu32 " %" PRIu32 " 0x%" PRIx32 "\n", id, call->size, call->caps);
        break;
    case CALLOC:
        printf("calloc %" PRIu32 " 1 %" PRIu32 " 0x%" PRIx32 "\n", id, call->size, call->caps);
        break;
    case ALIGNED:
        printf("aligned %" PRIu32 " %u %" PRIu32 " 0x%" PRIx32 "\n", id, ALIGNMENT, call->size,
               call->caps);
        break;
    case REALLOC:
        printf("realloc %" PRIu32 " %" PRIu32 " 0x%" PRIx32 "\n", id, call->size, call->caps);
        break;
    case FREE:
    default:
        if (id != UINT32_MAX) {
            printf("free %" PRIu32 "\n", id);
        } else {
            printf("freeaddr 0x%08" PRIx32 "\n", call->pointer);
        }
    }
}

/* A live block has the number of the call that made it. */
static void print_calls(const struct call *calls, uint32_t count) {
    uint32_t owned[DEPTH_MAX + 1];
    model_reset(run.model);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = calls[i].kind < REALLOC ? i : UINT32_MAX;
        for (uint32_t k = 0; id == UINT32_MAX && k < i; k++) {
            id = owned[k] == calls[i].pointer ? k : UINT32_MAX;
        }
        print_call(&calls[i], id);
        owned[i] = 0;
        uint32_t result = model_call(&calls[i]);
        if (id != UINT32_MAX && (result != 0 || calls[i].kind == FREE)) {
            owned[id] = result;
        }
    }
}

static void print_trace(void) {
    const struct heap_build *build = run.config.build;
    struct call calls[DEPTH_MAX + 1];
    uint32_t count = state_path(run.now, calls);
    calls[count++] = *run.trying;
    printf("wmtrace 1\nconfig tracing=%c poisoning=%s%s\n", build->tracing ? 'y' : 'n',
           build->comprehensive ? "comprehensive"
           : build->poisoned    ? "light"
                                : "none",
           run.world->in_place ? " realloc=inplace" : "");
    for (uint32_t r = 0; r < run.world->regions; r++) {
        const struct wm_heap_region_config *row = &run.config.regions[r];
        printf("region %s 0x%08" PRIx32 " 0x%08" PRIx32 " 0x%" PRIx32 "\n", row->name, row->start,
               row->end, row->caps);
    }
    print_calls(calls, count);
    printf("check\n");
}

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("[FAIL] build %s, %s: ", run.config.build->name, run.world->name);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\nThe way there, for `wmheap replay -`:\n");
    print_trace();
    exit(1);
}

static void on_event(void *context, const struct w800_event *event) {
    (void)context;
    if (event->kind != W800_EVENT_HEAP_FAULT) {
        fail("%s at 0x%08" PRIx32, w800_event_name(event->kind), event->address);
    }
    run.faults++;
    run.fault = event->fault.kind;
}

/* --- judging a call ----------------------------------------------------------------------------
 */

static bool compare_block(void *context, const struct wm_heap_block *block) {
    struct model_block expected = {0};
    uint32_t *next = context;
    bool found = model_find(run.model, block->address, &expected);
    if (!found || block->address != *next || block->address != expected.address ||
        block->size != expected.size || block->live != expected.live ||
        block->pointer != expected.pointer || block->requested != expected.requested ||
        block->caps != expected.caps) {
        fail("block 0x%08" PRIx32 " of %" PRIu32 " bytes, %s; the model has 0x%08" PRIx32
             " of %" PRIu32 ", %s",
             block->address, block->size, block->live ? "live" : "free", expected.address,
             expected.size, expected.live ? "live" : "free");
    }
    *next += block->size;
    return true;
}

static void compare_sizes(uint32_t lowest) {
    const struct heap_build *build = run.config.build;
    static const uint32_t caps[] = {WM_HEAP_CAP_DEFAULT, WM_HEAP_CAP_EXEC, WM_HEAP_CAP_SHARED};
    if (build->free_size() != model_free_size(run.model) || build->minimum_free_size() != lowest) {
        fail("free %zu, minimum %zu; the model says %" PRIu32 ", %" PRIu32, build->free_size(),
             build->minimum_free_size(), model_free_size(run.model), lowest);
    }
    for (uint32_t i = 0; i < COUNT(caps); i++) {
        size_t free_size = build->caps_free_size((wm_heap_cap_type_t)caps[i]);
        size_t largest = build->caps_largest_free_block((wm_heap_cap_type_t)caps[i]);
        if (free_size != model_caps_free_size(run.model, caps[i]) ||
            largest != model_caps_largest_free_block(run.model, caps[i])) {
            fail("caps 0x%" PRIx32 ": free %zu, largest %zu; the model says %" PRIu32 ", %" PRIu32,
                 caps[i], free_size, largest, model_caps_free_size(run.model, caps[i]),
                 model_caps_largest_free_block(run.model, caps[i]));
        }
    }
}

static void compare_heaps(uint32_t lowest) {
    const struct heap_build *build = run.config.build;
    compare_sizes(lowest);
    for (uint32_t r = 0; r < run.heap.regions; r++) {
        uint32_t next = run.heap.start[r];
        uint32_t end = next + run.heap.region_bytes - build->header_size;
        if (!build->walk(r, compare_block, &next) || next != end) {
            fail("the walk of region %" PRIu32 " ends at 0x%08" PRIx32, r, next);
        }
    }
    struct wm_heap_fault fault;
    if (!build->check(WM_HEAP_NO_REGION, &fault)) {
        fail("the check finds %s, %s at 0x%08" PRIx32, build->fault_name(fault.kind),
             build->check_name(fault.check), fault.address);
    }
}

static void check_around(void) {
    for (uint32_t r = 0; r < run.heap.regions; r++) {
        const uint8_t *before = w800_pointer(run.heap.start[r] - AROUND_BYTES);
        const uint8_t *behind = w800_pointer(run.heap.start[r] + run.heap.region_bytes);
        for (uint32_t i = 0; i < AROUND_BYTES; i++) {
            if (before[i] != AROUND || behind[i] != AROUND) {
                fail("memory around region %" PRIu32 " was written", r);
            }
        }
    }
}

/* The first bytes at `pointer` are those that the block of `filled_at` had, or zero if none. */
static void check_bytes(uint32_t pointer, uint32_t filled_at, uint32_t length) {
    const uint8_t *bytes = w800_pointer(pointer);
    for (uint32_t i = 0; i < length; i++) {
        uint8_t expected = filled_at != 0 ? live_pattern(filled_at, i) : 0;
        if (bytes[i] != expected) {
            fail("byte %" PRIu32 " of the block of 0x%08" PRIx32 " is 0x%02x, not 0x%02x", i,
                 pointer, bytes[i], expected);
        }
    }
}

static void add_live(struct state *state, uint32_t pointer, uint32_t size) {
    uint32_t place = state->live_count++;
    for (; place > 0 && state->live[place - 1].pointer > pointer; place--) {
        state->live[place] = state->live[place - 1];
    }
    state->live[place] = (struct live){pointer, size};
}

/* The state that the call led to; bytes that it had to keep, or to clear, are looked at. */
static struct state next_state(const struct call *call, uint32_t result) {
    const struct state *from = state_at(run.now);
    struct state to = {.parent = run.now, .call = *call};
    for (uint32_t i = 0; i < from->live_count; i++) {
        const struct live *live = &from->live[i];
        if (live->pointer != call->pointer || (result == 0 && call->size != 0)) {
            check_bytes(live->pointer, live->pointer, live->size);
            add_live(&to, live->pointer, live->size);
        } else if (result != 0) {
            check_bytes(result, live->pointer, live->size < call->size ? live->size : call->size);
        }
    }
    if (result != 0) {
        if (call->kind == CALLOC) {
            check_bytes(result, 0, call->size);
        }
        add_live(&to, result, call->size);
    }
    return to;
}

/* --- making a call -----------------------------------------------------------------------------
 */

static uint32_t core_call(const struct call *call) {
    const struct heap_build *build = run.config.build;
    wm_heap_cap_type_t caps = (wm_heap_cap_type_t)call->caps;
    void *old = w800_pointer(call->pointer);
    switch (call->kind) {
    case ALLOC:
        return w800_address(build->alloc(call->size, caps, NULL, 0));
    case CALLOC:
        return w800_address(build->calloc(1, call->size, caps, NULL, 0));
    case ALIGNED:
        return w800_address(build->aligned_alloc(ALIGNMENT, call->size, caps, NULL, 0));
    case REALLOC:
        return w800_address(build->realloc(old, call->size, caps, NULL, 0));
    case FREE:
    default:
        build->free(old);
        return 0;
    }
}

/* The model as it is in the present state, by the way there. */
static void model_follow(void) {
    struct call path[DEPTH_MAX];
    uint32_t length = state_path(run.now, path);
    model_reset(run.model);
    for (uint32_t i = 0; i < length; i++) {
        model_call(&path[i]);
    }
}

/* What the call does to the model; the least free bytes on the way. */
static uint32_t model_step(const struct call *call, uint32_t *lowest) {
    uint32_t before = model_free_size(run.model);
    uint32_t result = model_call(call);
    uint32_t after = model_free_size(run.model);
    struct model_block moved;
    *lowest = after < before ? after : before;
    if (call->kind == REALLOC && result != 0 && result != call->pointer &&
        model_find(run.model, result, &moved)) {
        *lowest = before - moved.size; /* it allocates before it frees */
    }
    return result;
}

static void try_call(const struct call *call) {
    uint32_t lowest;
    run.trying = call;
    model_follow();
    uint32_t expected = model_step(call, &lowest);
    state_restore(run.now);
    run.faults = 0;
    uint32_t got = core_call(call);
    run.steps++;
    if (run.faults != 0) {
        fail("%s", run.config.build->fault_name(run.fault));
    }
    if (got != expected) {
        fail("0x%08" PRIx32 ", the model says 0x%08" PRIx32, got, expected);
    }
    compare_heaps(lowest);
    check_around();
    struct state to = next_state(call, got);
    state_keep(&to);
}

/* A free of an address that is no live block's pointer. */
static void try_wrong_free(uint32_t address) {
    static const enum wm_heap_fault_kind kinds[] = {
        [MODEL_DOUBLE] = WM_HEAP_FAULT_DOUBLE_FREE,
        [MODEL_INTERIOR] = WM_HEAP_FAULT_INTERIOR_POINTER,
        [MODEL_FOREIGN] = WM_HEAP_FAULT_FOREIGN_POINTER};
    enum model_free_result expected = model_classify(run.model, address);
    if (expected == MODEL_FREED) {
        return;
    }
    const struct call call = {FREE, address, 0, 0};
    run.trying = &call;
    run.faults = 0;
    core_call(&call);
    run.steps++;
    if (run.faults != 1 || run.fault != (uint32_t)kinds[expected]) {
        fail("%" PRIu32 " faults, the last %s; expected one, %s", run.faults,
             run.faults != 0 ? run.config.build->fault_name(run.fault) : "none",
             run.config.build->fault_name(kinds[expected]));
    }
}

static void try_wrong_frees(void) {
    const struct call none = {FREE, 0, 0, 0};
    model_follow();
    state_restore(run.now);
    for (uint32_t r = 0; r < run.heap.regions; r++) {
        for (uint32_t at = 0; at <= run.heap.region_bytes; at += 8) {
            try_wrong_free(run.heap.start[r] + at);
        }
        try_wrong_free(run.heap.start[r] + 4);
    }
    run.trying = &none;
    check_around();
    if (!state_is(run.now)) {
        fail("a free of what is not live has changed the heap");
    }
}

static void try_calls(void) {
    static const uint32_t caps[] = {WM_HEAP_CAP_DEFAULT, WM_HEAP_CAP_SHARED};
    const struct state from = *state_at(run.now);
    const enum kind last = run.world->relatives ? ALIGNED : ALLOC;
    for (uint32_t s = 0; s < run.world->size_count; s++) {
        for (uint32_t c = 0; c < run.world->regions; c++) {
            for (enum kind kind = ALLOC; kind <= last && from.live_count < LIVE_MAX; kind++) {
                try_call(&(struct call){kind, 0, run.sizes[s], caps[c]});
            }
            for (uint32_t i = 0; i < from.live_count; i++) {
                try_call(&(struct call){REALLOC, from.live[i].pointer, run.sizes[s], caps[c]});
            }
        }
    }
    for (uint32_t i = 0; i < from.live_count; i++) {
        try_call(&(struct call){FREE, from.live[i].pointer, 0, 0});
    }
    try_wrong_frees();
}

/* --- a world -----------------------------------------------------------------------------------
 */

static void world_open(const struct heap_build *build, const struct world *world) {
    static const char *const names[] = {"SRAM", "DRAM"};
    static const uint32_t starts[] = {0x20010000u, 0x20030000u};
    static const uint32_t caps[] = {WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_INTERNAL | WM_HEAP_CAP_EXEC,
                                    WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_INTERNAL |
                                        WM_HEAP_CAP_SHARED};
    const uint32_t guard = build->comprehensive ? 4 : 0;
    const uint32_t smallest = (build->header_size + guard + 8u) & ~7u;
    const uint32_t bytes = smallest * world->blocks + build->header_size;
    const struct model_config options = {build->tracing, build->poisoned, build->comprehensive,
                                         world->in_place};
    struct model_region rows[WORLD_REGIONS_MAX];
    struct w800_error error;
    memset(&run, 0, sizeof run);
    run.world = world;
    run.config.build = build;
    run.config.realloc_in_place = world->in_place;
    run.config.region_count = world->regions;
    run.heap = (struct heap){build, world->regions, bytes, {starts[0], starts[1]}};
    for (uint32_t r = 0; r < world->regions; r++) {
        run.config.regions[r] =
            (struct wm_heap_region_config){names[r], starts[r], starts[r] + bytes, caps[r], false};
        rows[r] = (struct model_region){names[r], starts[r], starts[r] + bytes, caps[r], false};
    }
    for (uint32_t s = 0; s < world->size_count; s++) {
        run.sizes[s] = smallest + world->more[s] - build->header_size - guard;
    }
    run.model = model_create(&options, rows, world->regions);
    if (run.model == NULL || !w800_start(&run.config, &error)) {
        printf("small_worlds: %s\n", run.model == NULL ? "no model" : error.text);
        exit(2);
    }
    w800_on_event(on_event, NULL);
    for (uint32_t r = 0; r < world->regions; r++) {
        memset(w800_pointer(starts[r] - AROUND_BYTES), AROUND, AROUND_BYTES);
        memset(w800_pointer(starts[r] + bytes), AROUND, AROUND_BYTES);
    }
    wm_heap_init();
    states_open(&run.heap);
}

/* Every state's calls, until no new state comes. */
static void world_explore(uint32_t states_max, uint64_t *states, uint64_t *steps) {
    struct call path[DEPTH_MAX];
    for (run.now = 0; run.now < states_count() && run.now < states_max; run.now++) {
        try_calls();
    }
    printf("%-6s  %-22s  %8" PRIu32 " states  %9" PRIu64 " steps, the farthest %" PRIu32
           " calls away%s\n",
           run.config.build->name, run.world->name, states_count(), run.steps,
           state_path(states_count() - 1, path), run.now < states_count() ? "; cut short" : "");
    fflush(stdout);
    *states += states_count();
    *steps += run.steps;
    states_close();
    model_destroy(run.model);
    w800_stop();
}

int main(int argc, char **argv) {
    uint32_t states_max = UINT32_MAX;
    uint64_t states = 0;
    uint64_t steps = 0;
    if (argc == 3 && strcmp(argv[1], "--states") == 0) {
        states_max = (uint32_t)strtoul(argv[2], NULL, 10);
    }
    if (states_max == 0 || (argc != 1 && states_max == UINT32_MAX)) {
        fprintf(stderr, "usage: small_worlds [--states N]\n");
        return 2;
    }
    for (uint32_t b = 0; b < HEAP_BUILDS; b++) {
        for (uint32_t w = 0; w < COUNT(worlds); w++) {
            world_open(heap_builds[b], &worlds[w]);
            world_explore(states_max, &states, &steps);
        }
    }
    printf("%" PRIu64 " states, %" PRIu64 " steps\n", states, steps);
    return 0;
}
