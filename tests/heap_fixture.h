/* SPDX-License-Identifier: Apache-2.0
 *
 * What the suites of the core share: a loop over the six builds, the memory layouts, and
 * a twin: the core on its machine and the reference model side by side, each call made in
 * both and each answer compared at once. A failure names the build, since a suite runs the
 * same body in all six.
 */
#ifndef TESTS_HEAP_FIXTURE_H
#define TESTS_HEAP_FIXTURE_H

#include "../sim/model.h"
#include "machine.h"

#include <inttypes.h>
#include <stdarg.h>

#define DEFAULT WM_HEAP_CAP_DEFAULT
#define INTERNAL WM_HEAP_CAP_INTERNAL
#define SPIRAM WM_HEAP_CAP_SPIRAM
#define EXEC WM_HEAP_CAP_EXEC
#define SHARED WM_HEAP_CAP_SHARED
#define INVALID WM_HEAP_CAP_INVALID
#define SRAM_CAPS (DEFAULT | INTERNAL | EXEC)
#define DRAM_CAPS (DEFAULT | INTERNAL | SHARED)

static inline wm_heap_cap_type_t caps_of(uint32_t bits) { return (wm_heap_cap_type_t)bits; }

static inline const char *build_name(void) {
    return w800_running() ? w800_config()->build->name : "(none)";
}

/* A function and not Criterion's macros in place: they are long, and a test has many. */
__attribute__((format(printf, 3, 4))) static inline void fail_at(const char *file, int line,
                                                                 const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cr_assert_fail("%s:%d, build %s: %s", file, line, build_name(), text);
}

static inline void check_equal(const char *file, int line, uint64_t actual, uint64_t expected,
                               const char *what) {
    if (actual != expected) {
        fail_at(file, line, "%s: 0x%" PRIx64 " (%" PRIu64 "), expected 0x%" PRIx64 " (%" PRIu64 ")",
                what, actual, actual, expected, expected);
    }
}

/* Cheap while all is well, so that they may stand in a loop of a million. */
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_at(__FILE__, __LINE__, __VA_ARGS__);                                              \
        }                                                                                          \
    } while (0)
#define CHECK_EQ(actual, expected, what)                                                           \
    check_equal(__FILE__, __LINE__, (uint64_t)(actual), (uint64_t)(expected), what)

typedef void in_build_fn(const struct heap_build *build);

static inline void in_every_build(in_build_fn *body) {
    for (size_t b = 0; b < HEAP_BUILDS; b++) {
        body(heap_builds[b]);
    }
    w800_stop();
}

static inline uint32_t guard_bytes(const struct heap_build *build) {
    return build->comprehensive ? 4u : 0u;
}

/* Block = align8(size + header [+ 4 for the tail word of comprehensive poisoning]). */
static inline uint32_t block_bytes(const struct heap_build *build, uint32_t size) {
    return (size + build->header_size + guard_bytes(build) + 7u) & ~7u;
}

/* The largest request that a block of so many bytes serves. */
static inline uint32_t payload_bytes(const struct heap_build *build, uint32_t block) {
    return block - build->header_size - guard_bytes(build);
}

#define NODE_BYTES 24u /* of a free block, at its end: size, two links, seal */

static inline uint32_t *word_at(uint32_t address) { return w800_pointer(address); }

/* A block of so many bytes: where it begins; 0 if there is none. */
static inline uint32_t alloc_of(const struct heap_build *build, uint32_t block) {
    void *pointer = build->alloc(payload_bytes(build, block), EXEC, NULL, 0);
    return pointer == NULL ? 0 : w800_address(pointer) - build->header_size;
}

/* ---- machines ---------------------------------------------------------------- */

/* The three memory layouts that the golden traces have, and one whose PSRAM is small:
 * starts that are not 8-aligned, heaps that are full sooner. */
struct heap_layout {
    const char *name;
    uint32_t sram;
    uint32_t dram;
    uint32_t psram;
    uint32_t psram_end;
};
static const struct heap_layout heap_layouts[] = {
    {"simple", 0x20004120, 0x20028c00, 0x30000000, 0x30200000},
    {"large", 0x20012348, 0x20028000, 0x30001234, 0x30200000},
    {"tight", 0x2000a1b4, 0x20029004, 0x301f0000, 0x30200000},
};

static inline struct w800_config layout_config(const struct heap_build *build,
                                               const struct heap_layout *layout) {
    struct w800_config config = machine_config(build, 2 * MIB);
    config.regions[0].start = layout->sram;
    config.regions[1].start = layout->dram;
    config.regions[2].start = layout->psram;
    config.regions[2].end = layout->psram_end;
    return config;
}

/* A machine with one region, whose blocks have exactly `bytes` bytes in all. */
#define SMALL_HEAP 0x20004000u
static inline struct w800_config small_config(const struct heap_build *build, uint32_t bytes) {
    struct w800_config config = {
        .build = build,
        .regions = {{"SRAM", SMALL_HEAP, SMALL_HEAP + bytes + build->header_size, SRAM_CAPS,
                     false}},
        .region_count = 1,
    };
    return config;
}

/* Starts a machine with an initialised heap whose events go to the recorder. */
static inline void heap_start(const struct w800_config *config, struct recorder *seen) {
    machine_start(config);
    *seen = (struct recorder){0};
    w800_on_event(record_event, seen);
    wm_heap_init();
}

/* ---- checks ------------------------------------------------------------------ */

static inline void check_intact(const char *when) {
    struct wm_heap_fault fault;
    CHECK(wm_heap_check(WM_HEAP_NO_REGION, &fault),
          "%s: %s (%s) in region %u, block 0x%08x, at 0x%08x: 0x%08x, expected 0x%08x", when,
          wm_heap_fault_name(fault.kind), wm_heap_check_name(fault.check), fault.region,
          fault.block, fault.address, fault.actual, fault.expected);
}

static inline void check_no_event(const struct recorder *seen, const char *when) {
    CHECK(seen->count == 0, "%s: %u events, the last is %s %s", when, seen->count,
          w800_event_name(seen->last.kind),
          seen->last.kind == W800_EVENT_HEAP_FAULT ? wm_heap_fault_name(seen->last.fault.kind)
                                                   : "");
}

/* What a call that is not allowed says of itself: its pointer, if it has one, and nothing else. */
static inline bool fault_of_call(const struct wm_heap_fault *fault) {
    const struct wm_heap_fault all = {.kind = fault->kind,
                                      .check = WM_HEAP_CHECK_CALL,
                                      .region = fault->region,
                                      .pointer = fault->pointer,
                                      .address = fault->pointer};
    return memcmp(fault, &all, sizeof all) == 0;
}

/* Exactly one event, that fault; forgets it. */
static inline void check_one_fault(struct recorder *seen, enum wm_heap_fault_kind kind,
                                   const char *when) {
    CHECK(seen->count == 1 && seen->last.kind == W800_EVENT_HEAP_FAULT &&
              seen->last.fault.kind == (uint32_t)kind,
          "%s: %u events, the last is %s %s, expected one %s", when, seen->count,
          seen->count ? w800_event_name(seen->last.kind) : "none",
          seen->count ? wm_heap_fault_name(seen->last.fault.kind) : "", wm_heap_fault_name(kind));
    CHECK(kind < WM_HEAP_FAULT_BAD_APPEND || kind >= WM_HEAP_FAULT_SMASHED_HEADER ||
              fault_of_call(&seen->last.fault),
          "%s: %s says more than the call", when, wm_heap_fault_name(kind));
    *seen = (struct recorder){0};
}

/* The whole heap as it was, to show that a call changed nothing. Counters, the first fault and what
 * was asked for excepted: a refused call leaves its mark there. */
struct still {
    struct w800_snapshot *snapshot;
    struct wm_heap_latest latest;
    struct wm_heap_counters counters;
    struct wm_heap_fault first_fault;
};

static inline struct still still_take(void) {
    const struct wm_heap_state *state = w800_config()->build->state;
    struct still still = {w800_snapshot_take(), state->latest, state->counters, state->first_fault};
    CHECK(still.snapshot != NULL, "no memory for a snapshot");
    return still;
}

static inline void still_check(struct still *still, const char *when) {
    struct wm_heap_state *state = w800_config()->build->state;
    struct wm_heap_latest latest = state->latest;
    struct wm_heap_counters counters = state->counters;
    struct wm_heap_fault first_fault = state->first_fault;
    state->latest = still->latest;
    state->counters = still->counters;
    state->first_fault = still->first_fault;
    struct w800_snapshot *now = w800_snapshot_take();
    CHECK(now != NULL, "no memory for a snapshot");
    CHECK(w800_snapshot_equal(now, still->snapshot), "%s: changed the heap", when);
    state->latest = latest;
    state->counters = counters;
    state->first_fault = first_fault;
    w800_snapshot_free(now);
    w800_snapshot_free(still->snapshot);
    still->snapshot = NULL;
}

/* ---- core and model side by side ----------------------------------------------- */

struct twin {
    struct w800_config config;
    struct model *model;
    struct recorder seen;
    const char *where; /* for messages: how to reproduce, or "" */
};

static inline void twin_start(struct twin *twin, const struct w800_config *config) {
    const struct heap_build *build = config->build;
    struct model_config options = {.tracing = build->tracing,
                                   .poisoned = build->poisoned,
                                   .comprehensive = build->comprehensive,
                                   .realloc_in_place = config->realloc_in_place};
    struct model_region regions[WM_HEAP_REGIONS_MAX];
    for (uint32_t i = 0; i < config->region_count; i++) {
        const struct wm_heap_region_config *row = &config->regions[i];
        regions[i] =
            (struct model_region){row->name, row->start, row->end, row->caps, row->deferred};
    }
    *twin = (struct twin){.config = *config, .where = ""};
    twin->model = model_create(&options, regions, config->region_count);
    CHECK(twin->model != NULL, "the model refuses the regions");
    heap_start(config, &twin->seen);
}

static inline void twin_stop(struct twin *twin) {
    check_no_event(&twin->seen, "at the end");
    model_destroy(twin->model);
    twin->model = NULL;
}

static inline void *twin_result(const struct twin *twin, void *got, uint32_t expected,
                                const char *call, size_t size) {
    CHECK((uintptr_t)got == expected, "%s of %zu: 0x%" PRIxPTR ", the model says 0x%08x%s", call,
          size, (uintptr_t)got, expected, twin->where);
    CHECK(((uintptr_t)got & 7u) == 0, "%s of %zu: %p is not 8-aligned%s", call, size, got,
          twin->where);
    return got;
}

static inline void *twin_alloc(struct twin *twin, size_t size, uint32_t caps) {
    void *got = wm_heap_caps_alloc(size, caps_of(caps));
    return twin_result(twin, got, model_alloc(twin->model, size, caps), "alloc", size);
}

static inline void *twin_aligned(struct twin *twin, uint32_t alignment, size_t size,
                                 uint32_t caps) {
    void *got = wm_heap_caps_aligned_alloc(alignment, size, caps_of(caps));
    uint32_t expected = model_aligned_alloc(twin->model, alignment, size, caps);
    return twin_result(twin, got, expected, "aligned alloc", size);
}

static inline void *twin_realloc(struct twin *twin, void *old, size_t size, uint32_t caps) {
    uint32_t expected = model_realloc(twin->model, w800_address(old), size, caps);
    void *got = wm_heap_caps_realloc(old, size, caps_of(caps));
    return twin_result(twin, got, expected, "realloc", size);
}

static inline void twin_free(struct twin *twin, void *ptr) {
    wm_heap_caps_free(ptr);
    CHECK(ptr == NULL || model_free(twin->model, w800_address(ptr)) == MODEL_FREED,
          "%p is no live block's%s", ptr, twin->where);
}

static inline void twin_append(struct twin *twin) {
    CHECK_EQ(wm_heap_append_to_heap("PSRAM"), WM_ERR_SUCCESS, "append");
    CHECK(model_append(twin->model, "PSRAM"), "the model refuses the append%s", twin->where);
}

struct twin_walk {
    const struct twin *twin;
    uint32_t next; /* where the next block must begin */
    uint32_t blocks;
    uint32_t live;
};

static inline bool twin_visit(void *context, const struct wm_heap_block *block) {
    struct twin_walk *walk = context;
    struct model_block expected = {0};
    bool found = model_find(walk->twin->model, block->address, &expected);
    CHECK(found && block->address == walk->next && block->address == expected.address &&
              block->size == expected.size && block->live == expected.live &&
              block->pointer == expected.pointer && block->requested == expected.requested &&
              block->caps == expected.caps,
          "block 0x%08x, %u bytes, %s, %u requested, caps 0x%x; the model has 0x%08x, %u bytes, "
          "%s, %u requested, caps 0x%x; the block before ends at 0x%08x%s",
          block->address, block->size, block->live ? "live" : "free", block->requested, block->caps,
          expected.address, expected.size, expected.live ? "live" : "free", expected.requested,
          expected.caps, walk->next, walk->twin->where);
    walk->next += block->size;
    walk->blocks++;
    walk->live += block->live;
    return true;
}

/* Free bytes, minima and largest blocks, of all and by capability. */
static inline void twin_compare_sizes(const struct twin *twin) {
    static const uint32_t caps[] = {0,      DEFAULT,       INTERNAL,          EXEC,   SHARED,
                                    SPIRAM, EXEC | SHARED, SPIRAM | INTERNAL, INVALID};
    const struct model *model = twin->model;
    CHECK(wm_heap_get_free_size() == model_free_size(model) &&
              wm_heap_get_minimum_ever_free_size() == model_minimum_free_size(model),
          "free %zu, minimum %zu; the model says %u, %u%s", wm_heap_get_free_size(),
          wm_heap_get_minimum_ever_free_size(), model_free_size(model),
          model_minimum_free_size(model), twin->where);
    for (size_t i = 0; i < COUNT(caps); i++) {
        size_t now = wm_heap_caps_get_free_size(caps_of(caps[i]));
        size_t minimum = wm_heap_caps_get_minimum_free_size(caps_of(caps[i]));
        size_t largest = wm_heap_caps_get_largest_free_block(caps_of(caps[i]));
        CHECK(now == model_caps_free_size(model, caps[i]) &&
                  minimum == model_caps_minimum_free_size(model, caps[i]) &&
                  largest == model_caps_largest_free_block(model, caps[i]),
              "caps 0x%x: free %zu, minimum %zu, largest %zu; the model says %u, %u, %u%s", caps[i],
              now, minimum, largest, model_caps_free_size(model, caps[i]),
              model_caps_minimum_free_size(model, caps[i]),
              model_caps_largest_free_block(model, caps[i]), twin->where);
    }
}

/* Every block of every region, from the region's start to its end marker. */
static inline void twin_compare_blocks(const struct twin *twin) {
    const struct heap_build *build = twin->config.build;
    for (uint32_t i = 0; i < twin->config.region_count; i++) {
        const struct wm_heap_region_config *row = &twin->config.regions[i];
        struct twin_walk walk = {.twin = twin, .next = (row->start + 7u) & ~7u};
        bool joined = build->state->regions[i].state == WM_HEAP_REGION_OPEN;
        CHECK(wm_heap_walk(i, twin_visit, &walk) == joined, "region %u: the walk fails%s", i,
              twin->where);
        CHECK(!joined || walk.next == ((row->end - build->header_size) & ~7u),
              "region %u: the walk ends at 0x%08x%s", i, walk.next, twin->where);
    }
}

static inline void twin_compare(const struct twin *twin) {
    twin_compare_sizes(twin);
    twin_compare_blocks(twin);
    check_intact(twin->where);
}

#endif
