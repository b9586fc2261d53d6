/* SPDX-License-Identifier: Apache-2.0
 *
 * Core and model side by side. Each kind of call is one function that makes it in both, says
 * what it expects of the counters, and leaves the comparison to the end of twin_call.
 */
#include "twin.h"

#include <inttypes.h>
#include <string.h>

#include "fuzz.h"
#include "twin_check.h"
#include "twin_print.h"
#include "twin_trace.h"

#define COSTLY_MAX 3u /* whole checks and prints in a program: each takes as long as 20 calls */
#define COUNT(array) ((uint32_t)(sizeof(array) / sizeof *(array)))

const char twin_site[] = "fuzz.c";

/* File scope for the reason that the machine is: one in a process. */
static struct model *models[PROGRAM_BUILDS * PROGRAM_LAYOUTS];

#define CHECK TWIN_CHECK

void *twin_alloc(const struct twin *twin, uint64_t size, uint32_t caps) {
    return twin->head.untraced
               ? (wm_heap_caps_alloc)(size, caps_of(caps))
               : wm_heap_caps_alloc_tracing(size, caps_of(caps), twin_site, twin_line(twin));
}

void *twin_realloc(const struct twin *twin, void *old, uint64_t size, uint32_t caps) {
    return twin->head.untraced
               ? (wm_heap_caps_realloc)(old, size, caps_of(caps))
               : wm_heap_caps_realloc_tracing(old, size, caps_of(caps), twin_site, twin_line(twin));
}

/* ---- life ---- */

void twin_open(void) {
    arena_open();
    for (uint32_t i = 0; i < COUNT(models); i++) {
        const struct heap_build *build = heap_builds[i % PROGRAM_BUILDS];
        const struct wm_heap_region_config *rows = arena_regions(i / PROGRAM_BUILDS);
        struct model_config config = {.tracing = build->tracing,
                                      .poisoned = build->poisoned,
                                      .comprehensive = build->comprehensive};
        struct model_region regions[WM_HEAP_REGIONS_MAX];
        for (uint32_t r = 0; r < WM_HEAP_REGIONS_MAX; r++) {
            regions[r] = (struct model_region){rows[r].name, rows[r].start, rows[r].end,
                                               rows[r].caps, rows[r].deferred};
        }
        models[i] = model_create(&config, regions, WM_HEAP_REGIONS_MAX);
        FUZZ_CHECK(models[i] != NULL, "the model refuses layout %u", i / PROGRAM_BUILDS);
    }
    (void)wm_heap_port_site(twin_site); /* so that its number never depends on the input */
}

static void on_event(void *context, const struct w800_event *event) {
    struct twin *twin = context;
    if (event->kind != W800_EVENT_REALLOC_MOVED) { /* as it should be: tests/test_inject.c */
        twin->events++;
        twin->last = *event;
    }
}

static void on_failure(void *context, size_t size, wm_heap_cap_type_t caps, const char *file,
                       int line) {
    struct twin *twin = context;
    twin->failures++;
    twin->failed_size = size;
    CHECK(twin,
          caps != 0 && file == twin_file(twin) && line == twin_line(twin) &&
              arena_lock_depth() == 0,
          "the failure's callback gets caps 0x%x, %s:%d, the lock held %u times", (unsigned)caps,
          file != NULL ? file : "(null)", line, arena_lock_depth());
}

static void on_print(void *context, const char *text, size_t length) {
    twin_print_take(context, text, length);
}

void twin_start(struct twin *twin, const struct program_head *head, FILE *trace) {
    *twin = (struct twin){.head = *head,
                          .build = heap_builds[head->build],
                          .regions = arena_regions(head->layout),
                          .model = models[head->layout * PROGRAM_BUILDS + head->build],
                          .trace = trace};
    arena_reset(head);
    model_reset(twin->model);
    w800_on_event(on_event, twin);
    w800_on_print(on_print, twin);
    wm_heap_set_failed_callback(head->silent ? NULL : on_failure, twin);
    if (head->in_place) {
        wm_heap_set_realloc_in_place(true);
        model_set_realloc_in_place(twin->model, true);
    }
    twin_trace_head(twin);
}

/* ---- what is expected ---- */

/* The simulator's countdown, counted once more. */
static uint32_t caps_or_failure(struct twin *twin, uint64_t size, uint32_t caps) {
    if (size == 0 || twin->fail_in == 0) {
        return caps;
    }
    bool now = twin->fail_in == 1;
    twin->fail_in = now ? (twin->fail_on ? 1u : 0u) : twin->fail_in - 1u;
    return now ? caps | (uint32_t)WM_HEAP_CAP_INVALID : caps;
}

static void expect_failure(struct twin *twin, uint64_t size) {
    uint32_t size_32 = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
    if (size == 0) {
        return;
    }
    twin->expected.failed++;
    if (size_32 > twin->expected.largest_failed) {
        twin->expected.largest_failed = size_32;
    }
    CHECK(twin, twin->head.silent || (twin->failures == 1 && twin->failed_size == size),
          "%u failures are told, the last of %zu bytes, not one of %" PRIu64, twin->failures,
          twin->failed_size, size);
    twin->failures = 0;
}

/* Exactly one event, that fault. */
static void expect_fault(struct twin *twin, enum wm_heap_fault_kind kind, uint32_t pointer) {
    twin_trace(twin, "expect fault=%s", wm_heap_fault_name(kind));
    CHECK(twin,
          twin->events == 1 && twin->last.kind == W800_EVENT_HEAP_FAULT &&
              twin->last.fault.kind == (uint32_t)kind,
          "0x%08x: %u events, the last is %s, expected one %s", pointer, twin->events,
          twin->events > 0 ? wm_heap_fault_name(twin->last.fault.kind) : "none",
          wm_heap_fault_name(kind));
    twin->expected.faults++;
    twin->events = 0;
}

uint32_t twin_border(const struct twin *twin, uint32_t caps) {
    uint32_t largest = model_caps_largest_free_block(twin->model, caps);
    uint32_t around = twin->build->header_size + (twin->build->comprehensive ? 4u : 0u);
    return largest > around ? largest - around : 0;
}

/* ---- contents ---- */

/* The program writes what the model says, from the first byte that is not yet defined. */
static void contents_write(struct twin *twin, uint32_t pointer, uint32_t size) {
    uint32_t defined;
    (void)model_contents(twin->model, pointer, &defined);
    if (defined < size) {
        const uint8_t *bytes = model_fill(twin->model, pointer, defined, size - defined);
        memcpy(w800_pointer(pointer + defined), bytes, size - defined);
    }
}

/* ---- allocation ---- */

/* A trace's numbers have 32 bits; what has more fails as the largest does. */
static uint64_t shown(uint64_t size) { return size > UINT32_MAX ? UINT32_MAX : size; }

/* Whatever the model says: aligned, and in memory that can do what was asked for. */
static void result_check(struct twin *twin, uint32_t got, uint32_t expected, uint64_t size,
                         uint32_t caps) {
    CHECK(twin, got == expected, "%" PRIu64 " bytes, caps 0x%x: 0x%08x, the model says 0x%08x",
          size, caps, got, expected);
    if (got == 0) {
        return;
    }
    uint32_t wanted = caps != 0 ? caps : (uint32_t)WM_HEAP_CAP_DEFAULT;
    uint32_t r = 0;
    while (r < WM_HEAP_REGIONS_MAX &&
           (got < twin->regions[r].start || got + size > twin->regions[r].end)) {
        r++;
    }
    CHECK(twin,
          (got & 7u) == 0 && r < WM_HEAP_REGIONS_MAX && (twin->regions[r].caps & wanted) == wanted,
          "0x%08x does not serve %" PRIu64 " bytes, caps 0x%x", got, size, caps);
}

static uint32_t result_address(struct twin *twin, const void *result) {
    CHECK(twin, (uintptr_t)result <= UINT32_MAX, "%p is no address of the chip", result);
    return w800_address(result);
}

static void slot_set(struct twin *twin, uint32_t slot, uint32_t pointer) {
    if (twin->pointers[slot] != 0) {
        twin->stale[slot] = twin->pointers[slot];
    }
    twin->pointers[slot] = pointer;
    twin->line[slot] = (uint32_t)twin_line(twin);
}

/* A block elsewhere can be freed while DMA works on PSRAM. */
static void free_without_psram(uint32_t pointer) {
    bool elsewhere = pointer < ARENA_PSRAM_START;
    if (elsewhere) {
        arena_busy_psram(true);
    }
    wm_heap_caps_free(w800_pointer(pointer));
    if (elsewhere) {
        arena_busy_psram(false);
    }
}

static void slot_free(struct twin *twin, uint32_t slot, bool psram_busy) {
    uint32_t pointer = twin->pointers[slot];
    twin_trace(twin, "free %u", slot);
    if (pointer != 0) {
        twin_check_contents(twin, pointer);
        if (psram_busy) {
            free_without_psram(pointer);
        } else {
            wm_heap_caps_free(w800_pointer(pointer));
        }
        CHECK(twin, model_free(twin->model, pointer) == MODEL_FREED, "0x%08x is not the model's",
              pointer);
        twin->expected.frees++;
        slot_set(twin, slot, 0);
    } else {
        wm_heap_caps_free(NULL);
    }
}

static void slot_store(struct twin *twin, uint32_t slot, uint32_t pointer, uint64_t size) {
    if (pointer == 0) {
        expect_failure(twin, size);
        return;
    }
    twin->expected.allocs++;
    slot_set(twin, slot, pointer);
    twin->born[slot] = twin->expected.allocs;
    contents_write(twin, pointer, (uint32_t)size);
}

/* The border is looked up only where a size is relative to it. */
static uint64_t size_of(const struct twin *twin, const struct program_call *call) {
    return program_size(call, call->mode == PROGRAM_BORDER ? twin_border(twin, call->caps) : 0);
}

/* A variable that still owns a block gives it back first: leaks would end a program early. */
static uint64_t request_prepare(struct twin *twin, const struct program_call *call) {
    if (twin->pointers[call->slot] != 0) {
        slot_free(twin, call->slot, false);
    }
    return size_of(twin, call);
}

static void call_alloc(struct twin *twin, const struct program_call *call) {
    uint64_t size = request_prepare(twin, call);
    twin_trace(twin, "alloc %u %" PRIu64 " 0x%x", call->slot, shown(size), call->caps);
    void *result = twin_alloc(twin, size, call->caps);
    uint32_t caps = caps_or_failure(twin, size, call->caps);
    uint32_t got = result_address(twin, result);
    result_check(twin, got, model_alloc(twin->model, size, caps), size, call->caps);
    CHECK(twin, twin_is_fresh(twin, got, size), "0x%08x is not as free memory was left", got);
    slot_store(twin, call->slot, got, size);
}

static void call_aligned(struct twin *twin, const struct program_call *call) {
    uint64_t size = request_prepare(twin, call);
    uint32_t alignment = program_alignment(call);
    twin_trace(twin, "aligned %u %u %" PRIu64 " 0x%x", call->slot, alignment, shown(size),
               call->caps);
    void *result = wm_heap_caps_aligned_alloc_tracing(alignment, size, caps_of(call->caps),
                                                      twin_file(twin), twin_line(twin));
    uint32_t caps = caps_or_failure(twin, size, call->caps);
    uint32_t got = result_address(twin, result);
    result_check(twin, got, model_aligned_alloc(twin->model, alignment, size, caps), size,
                 call->caps);
    CHECK(twin, got % alignment == 0, "0x%08x is not %u-aligned", got, alignment);
    CHECK(twin, twin_is_fresh(twin, got, size), "0x%08x is not as free memory was left", got);
    slot_store(twin, call->slot, got, size);
}

static void call_calloc(struct twin *twin, const struct program_call *call) {
    uint64_t size = request_prepare(twin, call);
    uint64_t count = program_count(call);
    uint64_t total;
    if (__builtin_mul_overflow(count, size, &total) || total > 0x7fffffff) {
        total = UINT64_MAX; /* counts as the largest of all */
    }
    twin_trace(twin, "calloc %u %" PRIu64 " %" PRIu64 " 0x%x", call->slot, shown(count),
               shown(size), call->caps);
    void *result = wm_heap_caps_calloc_tracing(count, size, caps_of(call->caps), twin_file(twin),
                                               twin_line(twin));
    uint32_t caps = caps_or_failure(twin, total, call->caps);
    uint32_t got = result_address(twin, result);
    result_check(twin, got, model_alloc(twin->model, total, caps), total, call->caps);
    const uint8_t *bytes = result; /* 0, and each like the one before */
    CHECK(twin, got == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, total - 1) == 0),
          "the calloc of 0x%08x is not all 0", got);
    slot_store(twin, call->slot, got, total);
}

/* A realloc of a block from which `known` bytes were to be copied. */
static void realloc_moved(struct twin *twin, const struct program_call *call, uint32_t got,
                          uint64_t size, uint32_t known) {
    uint32_t old = twin->pointers[call->slot];
    if (size == 0) {
        twin->expected.frees++;
        slot_set(twin, call->slot, 0);
    } else if (got == 0) {
        expect_failure(twin, size);
        twin_check_contents(twin, old);
    } else {
        twin->expected.allocs += got != old;
        twin->expected.frees += got != old;
        slot_set(twin, call->slot, got);
        twin->born[call->slot] = got != old ? twin->expected.allocs : twin->born[call->slot];
        twin_check_contents(twin, got);
        CHECK(twin, got == old || size < known || twin_is_fresh(twin, got + known, size - known),
              "0x%08x has more than the %u bytes of the old block", got, known);
        contents_write(twin, got, (uint32_t)size);
    }
}

static void call_realloc(struct twin *twin, const struct program_call *call) {
    uint32_t old = twin->pointers[call->slot];
    struct model_block block = {.caps = call->caps};
    if (old != 0) {
        twin_check_contents(twin, old);
        (void)model_find(twin->model, old, &block);
    }
    uint64_t size = size_of(twin, call);
    twin_trace(twin, "realloc %u %" PRIu64 " 0x%x", call->slot, shown(size), call->caps);
    uint32_t caps = caps_or_failure(twin, size, call->caps);
    uint32_t expected = model_realloc(twin->model, old, size, caps);
    void *result = twin_realloc(twin, w800_pointer(old), size, call->caps);
    uint32_t got = result_address(twin, result);
    result_check(twin, got, expected, size, call->caps != 0 ? call->caps : block.caps);
    if (old == 0) {
        slot_store(twin, call->slot, got, size);
    } else {
        realloc_moved(twin, call, got, size, block.requested);
    }
}

/* ---- pointers that are nobody's ---- */

/* A block of before, near one, near a block of now, near a region's start, or anywhere. */
static uint32_t bad_pointer(const struct twin *twin, const struct program_call *call) {
    const struct wm_heap_region_config *row = &twin->regions[call->slot % WM_HEAP_REGIONS_MAX];
    switch (call->mode) {
    case 0:
        if (call->argument >> 8 < 128u) {
            return twin->stale[call->slot];
        }
        return twin->stale[call->slot] + 8u * (call->argument >> 8) + (call->argument & 7u) -
               8u * (call->argument >> 3 & 31u);
    case 1:
        return row->start - 64u + 4u * call->argument % (row->end - row->start + 128u);
    case 2:
        return call->argument << 16 | call->slot << 10 | call->argument >> 12;
    default:
        return twin->pointers[call->slot] + call->argument % 512u - 256u;
    }
}

static void call_bad(struct twin *twin, const struct program_call *call) {
    static const enum wm_heap_fault_kind kinds[] = {
        [MODEL_DOUBLE] = WM_HEAP_FAULT_DOUBLE_FREE,
        [MODEL_INTERIOR] = WM_HEAP_FAULT_INTERIOR_POINTER,
        [MODEL_FOREIGN] = WM_HEAP_FAULT_FOREIGN_POINTER,
    };
    uint32_t pointer = bad_pointer(twin, call);
    enum model_free_result result = model_classify(twin->model, pointer);
    void *memory = w800_pointer(pointer);
    struct wm_heap_block block;
    struct wm_heap_fault fault;
    if (result == MODEL_FREED || result == MODEL_NOTHING) {
        return;
    }
    CHECK(twin, !wm_heap_get_block(memory, &block), "0x%08x passes for a block", pointer);
    CHECK(twin, call->variant % 4u != 0 || !wm_heap_check_block(memory, &fault),
          "the check takes 0x%08x for a block", pointer);
    if (call->variant < 10) {
        twin_trace(twin, "freeaddr 0x%08x", pointer);
        wm_heap_caps_free(memory);
    } else if (call->variant < 14) {
        twin_trace(twin, "# realloc of 0x%08x; no event for it, hence:\nfreeaddr 0x%08x", pointer,
                   pointer);
        (void)caps_or_failure(twin, 16, 0);
        CHECK(twin, twin_realloc(twin, memory, 16, 0) == NULL, "realloc of 0x%08x succeeds",
              pointer);
    } else {
        twin_trace(twin, "# usable size of 0x%08x; no event for it, hence:\nfreeaddr 0x%08x",
                   pointer, pointer);
        CHECK(twin, wm_heap_get_usable_size(memory) == 0, "0x%08x has a usable size", pointer);
    }
    expect_fault(twin, kinds[result], pointer);
}

/* ---- the rest ---- */

static void call_append(struct twin *twin, const struct program_call *call) {
    const char *name = program_region_name(call);
    twin_trace(twin, "append %s", name != NULL ? name : "none");
    int got = wm_heap_append_to_heap(name);
    bool joined = model_append(twin->model, name);
    bool known = name != NULL && strcmp(name, "PSRAM") == 0;
    int expected = joined ? WM_ERR_SUCCESS : known ? WM_ERR_FAILED : WM_ERR_INVALID_PARAM;
    CHECK(twin, got == expected, "append of %s: %d, expected %d", name != NULL ? name : "NULL", got,
          expected);
    if (!joined) {
        expect_fault(twin, WM_HEAP_FAULT_BAD_APPEND, 0);
    }
}

static void call_fail(struct twin *twin, const struct program_call *call) {
    twin->fail_in = call->extra % 16u;
    twin->fail_on = call->extra / 16u % 4u == 3u;
    twin_trace(twin, "fail %u%s", twin->fail_in, twin->fail_on ? " on" : "");
    w800_fail_allocation(twin->fail_in, twin->fail_on);
}

static void call_query(struct twin *twin, const struct program_call *call) {
    twin_check_caps(twin, call->caps);
    twin_check_walk(twin, call->slot % (WM_HEAP_REGIONS_MAX + 1u), 1u + call->slot / 8u);
    if (twin->pointers[call->slot] != 0) {
        twin_check_block(twin, twin->pointers[call->slot]);
    }
}

static void call_print(struct twin *twin, const struct program_call *call) {
    bool one = call->slot % 2u != 0 && twin->pointers[call->slot] != 0;
    if (program_other_of(call) == PROGRAM_STATS) {
        twin_trace(twin, "stats");
        wm_heap_print_stats();
        twin_print_is_stats(twin);
    } else {
        twin_trace(twin, "tracing");
        wm_heap_print_tracing(one ? w800_pointer(twin->pointers[call->slot]) : NULL);
        twin_print_is_tracing(twin, one ? call->slot : PROGRAM_SLOTS);
    }
}

static void call_other(struct twin *twin, const struct program_call *call) {
    bool on = call->slot % 2u != 0;
    switch (program_other_of(call)) {
    case PROGRAM_IN_PLACE:
        twin_trace(twin, "# realloc in place: %s; no event for it", on ? "on" : "off");
        wm_heap_set_realloc_in_place(on);
        model_set_realloc_in_place(twin->model, on);
        break;
    case PROGRAM_STATS:
    case PROGRAM_TRACING:
        if (twin->costly++ < COSTLY_MAX) {
            call_print(twin, call);
        }
        break;
    case PROGRAM_INIT:
        twin_trace(twin, "init");
        wm_heap_init();
        expect_fault(twin, WM_HEAP_FAULT_INITIALIZED_TWICE, 0);
        break;
    case PROGRAM_CHECK:
    default:
        if (twin->costly++ < COSTLY_MAX) {
            twin_check(twin);
        }
        break;
    }
}

typedef void call_fn(struct twin *twin, const struct program_call *call);

/* Nothing is smashed here: the block that would be is looked at. */
static void call_look(struct twin *twin, const struct program_call *call) {
    if (twin->pointers[call->slot] != 0) {
        twin_check_block(twin, twin->pointers[call->slot]);
        twin_check_contents(twin, twin->pointers[call->slot]);
    }
}

/* Now and then, because the rights of a page cost as much as 20 calls. */
static void call_free(struct twin *twin, const struct program_call *call) {
    slot_free(twin, call->slot, call->variant == 15u && call->mode == 3u);
}

/* ---- after a call, and at the end ---- */

void twin_call(struct twin *twin, const struct program_call *call) {
    static call_fn *const calls[PROGRAM_KIND_COUNT] = {
        [PROGRAM_ALLOC] = call_alloc,     [PROGRAM_FREE] = call_free,
        [PROGRAM_REALLOC] = call_realloc, [PROGRAM_CALLOC] = call_calloc,
        [PROGRAM_ALIGNED] = call_aligned, [PROGRAM_BAD] = call_bad,
        [PROGRAM_APPEND] = call_append,   [PROGRAM_FAIL] = call_fail,
        [PROGRAM_QUERY] = call_query,     [PROGRAM_OTHER] = call_other,
        [PROGRAM_SMASH] = call_look,
    };
    twin->call++;
    calls[call->kind](twin, call);
    CHECK(twin, twin->events == 0, "%u events, the last is %s %s", twin->events,
          w800_event_name(twin->last.kind), wm_heap_fault_name(twin->last.fault.kind));
    CHECK(twin, twin->failures == 0, "a failure of %zu bytes is told that was none",
          twin->failed_size);
    twin_print_is_nothing(twin);
    twin_check_counters(twin);
}

void twin_finish(struct twin *twin) {
    uint32_t outside = 0;
    twin_check(twin);
    for (uint32_t slot = 0; slot < PROGRAM_SLOTS; slot++) {
        struct program_call call = {.kind = PROGRAM_FREE, .slot = slot};
        if (twin->pointers[slot] != 0) {
            twin_call(twin, &call);
        }
    }
    twin_check(twin);
    CHECK(twin, arena_outside_is_intact(twin->head.layout, &outside),
          "0x%08x, outside the regions, was written", outside);
}
