/* SPDX-License-Identifier: Apache-2.0
 *
 * The target `smash`: as `heap`, but in between bytes of the arenas are overwritten. Until
 * something is hit that the core keeps, the model goes on to agree. What is hit must be
 * noticed by the integrity check at once; from then on the core must behave: at most one
 * report for a damaged region and none for another, good calls never called bad, no memory
 * handed out twice or outside, no byte of a live block changed, nothing written or read
 * outside (closed pages trap), and every call ends. Where a size was forged together with its
 * seal, blocks may well lie over each other: what stays is that the core keeps to its regions,
 * reports a region once, and ends.
 */
#include <string.h>

#include "damage.h"
#include "fuzz.h"
#include "twin_check.h"
#include "twin_trace.h"

#define LIVE_MAX (2u * PROGRAM_SLOTS) /* a block whose free was refused stays live */
#define NO_SLOT PROGRAM_SLOTS
/* core/layout.h: where a header's seal stands, and the flag of a live one */
#define SEAL 12u
#define ALLOCATED 1u
#define COUNT(array) ((uint32_t)(sizeof(array) / sizeof *(array)))

const char fuzz_name[] = "smash";

struct live {
    uint32_t pointer;
    uint32_t size;
    uint32_t slot;
    uint32_t caps; /* 0 resolved */
};

/* After the first hit: what the program knows without a model. */
struct survivor {
    struct twin *twin;
    struct damages damages;
    bool damaged[WM_HEAP_REGIONS_MAX];
    bool reported[WM_HEAP_REGIONS_MAX];
    bool closed[WM_HEAP_REGIONS_MAX]; /* reported before this call */
    bool bad_call;                    /* this one may be called bad */
    bool forged;                      /* blocks may be handed out twice */
    struct live live[LIVE_MAX];
    uint32_t live_count;
    uint8_t shadow[ARENA_BYTES]; /* bytes of live blocks */
    bool known[ARENA_BYTES];     /* no stray write has changed it since */
};

#define CHECK(survivor, condition, format, ...)                                                    \
    FUZZ_CHECK(condition, "build %s, layout %u, call %u: " format, (survivor)->twin->build->name,  \
               (survivor)->twin->head.layout, (survivor)->twin->call, __VA_ARGS__)

/* ---- events ---- */

static void on_event(void *context, const struct w800_event *event) {
    struct survivor *survivor = context;
    const struct wm_heap_fault *fault = &event->fault;
    if (event->kind == W800_EVENT_REALLOC_MOVED) {
        return;
    }
    CHECK(survivor, event->kind == W800_EVENT_HEAP_FAULT, "%s at 0x%08x",
          w800_event_name(event->kind), event->address);
    if (fault->kind < WM_HEAP_FAULT_SMASHED_HEADER) {
        CHECK(survivor, survivor->bad_call || survivor->forged,
              "a good call is called %s, pointer 0x%08x", wm_heap_fault_name(fault->kind),
              fault->pointer);
        survivor->bad_call = false;
        return;
    }
    CHECK(survivor, fault->region < WM_HEAP_REGIONS_MAX && survivor->damaged[fault->region],
          "%s (%s) in region %u, block 0x%08x, where nothing is damaged",
          wm_heap_fault_name(fault->kind), wm_heap_check_name(fault->check), fault->region,
          fault->block);
    CHECK(survivor, !survivor->reported[fault->region], "%s: a second report for region %u",
          wm_heap_fault_name(fault->kind), fault->region);
    survivor->reported[fault->region] = true;
}

static void on_failure(void *context, size_t size, wm_heap_cap_type_t caps, const char *file,
                       int line) {
    (void)context;
    (void)size;
    (void)caps;
    (void)file;
    (void)line;
}

static void on_print(void *context, const char *text, size_t length) {
    const struct survivor *survivor = context;
    CHECK(survivor, memchr(text, 0, length) == NULL, "%zu bytes are printed with a NUL", length);
    CHECK(survivor, arena_lock_depth() == 0, "printed with the lock held%s", "");
}

/* ---- live blocks ---- */

static void bytes_note(struct survivor *survivor, const struct live *live) {
    uint32_t index = arena_index(live->pointer);
    memcpy(&survivor->shadow[index], w800_pointer(live->pointer), live->size);
    memset(&survivor->known[index], true, live->size);
}

static void bytes_check(const struct survivor *survivor, const struct live *live) {
    if (survivor->forged) {
        return;
    }
    const uint8_t *bytes = w800_pointer(live->pointer);
    uint32_t index = arena_index(live->pointer);
    if (memcmp(bytes, &survivor->shadow[index], live->size) == 0) {
        return;
    }
    for (uint32_t i = 0; i < live->size; i++) {
        CHECK(survivor, bytes[i] == survivor->shadow[index + i] || !survivor->known[index + i],
              "byte %u of the live block of 0x%08x was changed", i, live->pointer);
    }
}

static struct live *live_of(struct survivor *survivor, uint32_t slot) {
    for (uint32_t i = 0; i < survivor->live_count; i++) {
        if (survivor->live[i].slot == slot) {
            return &survivor->live[i];
        }
    }
    return NULL;
}

static void live_remove(struct survivor *survivor, struct live *live) {
    survivor->twin->stale[live->slot % PROGRAM_SLOTS] = live->pointer;
    *live = survivor->live[--survivor->live_count];
}

/* What was handed out: aligned, in an open region that serves the capabilities, nobody's. */
static void live_check_place(const struct survivor *survivor, const struct live *live,
                             const struct live *except) {
    const struct twin *twin = survivor->twin;
    uint32_t r = damage_region(twin, live->pointer);
    CHECK(survivor,
          live->pointer % 8u == 0 && r < WM_HEAP_REGIONS_MAX &&
              live->size <= twin->regions[r].end - live->pointer &&
              (twin->regions[r].caps & live->caps) == live->caps && !survivor->closed[r],
          "0x%08x with %u bytes, caps 0x%x, is in no open region that serves them", live->pointer,
          live->size, live->caps);
    for (uint32_t i = 0; i < survivor->live_count && !survivor->forged; i++) {
        const struct live *other = &survivor->live[i];
        CHECK(survivor,
              other == except || live->pointer >= other->pointer + other->size ||
                  other->pointer >= live->pointer + live->size,
              "0x%08x, %u bytes, lies over the live block of 0x%08x, %u bytes", live->pointer,
              live->size, other->pointer, other->size);
    }
}

static void live_add(struct survivor *survivor, const struct live *live) {
    memset(w800_pointer(live->pointer), (int)(0x80u + survivor->twin->call % 64u), live->size);
    bytes_note(survivor, live);
    if (survivor->live_count < LIVE_MAX) {
        survivor->live[survivor->live_count++] = *live;
    }
}

/* ---- calls ---- */

static uint32_t freed_or_faulted(const struct survivor *survivor) {
    const struct wm_heap_counters *counters = &survivor->twin->build->state->counters;
    return counters->frees + counters->faults;
}

/* Is the first thing that is wrong in its region in this very block? Then no call may take it for a
 * good one. Its flag for a free block before it may be right, and what lies there wrong. */
static bool live_is_broken(const struct survivor *survivor, const struct live *live,
                           struct wm_heap_fault *fault) {
    uint32_t r = damage_region(survivor->twin, live->pointer);
    return !survivor->forged && survivor->damaged[r] && !wm_heap_check(r, fault) &&
           fault->check != WM_HEAP_CHECK_PREVIOUS_FREE &&
           fault->block == live->pointer - survivor->twin->build->header_size;
}

/* The same of what its free looks at in the block behind: size and seal of a live one, both ends of
 * a free one. */
static bool live_is_stuck(const struct survivor *survivor, const struct live *live) {
    struct wm_heap_fault fault = {0};
    struct wm_heap_block block;
    if (live_is_broken(survivor, live, &fault)) {
        return true;
    }
    if (fault.kind == WM_HEAP_FAULT_NONE ||
        !wm_heap_get_block(w800_pointer(live->pointer), &block) ||
        fault.block != block.address + block.size) {
        return false;
    }
    uint32_t size_flags;
    memcpy(&size_flags, w800_pointer(fault.block), sizeof size_flags);
    return (size_flags & ALLOCATED) != 0
               ? fault.kind == WM_HEAP_FAULT_SMASHED_HEADER && fault.address == fault.block + SEAL
               : fault.kind == WM_HEAP_FAULT_SMASHED_FREE_BLOCK &&
                     (fault.check == WM_HEAP_CHECK_SEAL || fault.check == WM_HEAP_CHECK_SIZE);
}

/* A block whose own free meets the damage is the program's no more, nor anybody else's; what a
 * closed region refuses stays, and is counted. */
static void survive_free(struct survivor *survivor, struct live *live) {
    const struct wm_heap_counters before = survivor->twin->build->state->counters;
    const struct wm_heap_counters *after = &survivor->twin->build->state->counters;
    uint32_t r = damage_region(survivor->twin, live->pointer);
    bool stuck = live_is_stuck(survivor, live);
    bool closed = survivor->reported[r];
    bytes_check(survivor, live);
    twin_trace(survivor->twin, "free %u", live->slot);
    wm_heap_caps_free(w800_pointer(live->pointer));
    CHECK(survivor, !stuck || after->frees == before.frees, "0x%08x is broken, and freed",
          live->pointer);
    CHECK(survivor,
          after->frees - before.frees + after->faults - before.faults + after->refused -
                      before.refused ==
                  1u &&
              (after->refused != before.refused) == closed,
          "free of 0x%08x: %u frees, %u faults, %u refused", live->pointer,
          after->frees - before.frees, after->faults - before.faults,
          after->refused - before.refused);
    if (after->refused == before.refused) {
        live_remove(survivor, live);
    } else {
        live->slot = NO_SLOT;
    }
}

static uint64_t survive_size(const struct survivor *survivor, const struct program_call *call) {
    uint32_t largest = (uint32_t)wm_heap_caps_get_largest_free_block(caps_of(call->caps));
    uint32_t around = survivor->twin->build->header_size + 4u;
    return program_size(call, largest > around ? largest - around : 0);
}

static void survive_alloc(struct survivor *survivor, const struct program_call *call) {
    struct live *old = live_of(survivor, call->slot);
    if (old != NULL) {
        survive_free(survivor, old);
    }
    uint64_t size = survive_size(survivor, call);
    void *result;
    if (call->kind == PROGRAM_ALIGNED) {
        uint32_t alignment = program_alignment(call);
        twin_trace(survivor->twin, "aligned %u %u %zu 0x%x", call->slot, alignment, (size_t)size,
                   call->caps);
        result = wm_heap_caps_aligned_alloc_tracing(alignment, size, caps_of(call->caps),
                                                    twin_file(survivor->twin),
                                                    twin_line(survivor->twin));
    } else if (call->kind == PROGRAM_CALLOC) {
        twin_trace(survivor->twin, "calloc %u 1 %zu 0x%x", call->slot, (size_t)size, call->caps);
        result = wm_heap_caps_calloc_tracing(1, size, caps_of(call->caps),
                                             twin_file(survivor->twin), twin_line(survivor->twin));
    } else {
        twin_trace(survivor->twin, "alloc %u %zu 0x%x", call->slot, (size_t)size, call->caps);
        result = twin_alloc(survivor->twin, size, call->caps);
    }
    if (result != NULL) {
        uint32_t caps = call->caps != 0 ? call->caps : (uint32_t)WM_HEAP_CAP_DEFAULT;
        struct live live = {w800_address(result), (uint32_t)size, call->slot, caps};
        live_check_place(survivor, &live, NULL);
        CHECK(survivor,
              survivor->forged || call->kind == PROGRAM_CALLOC ||
                  twin_is_fresh(survivor->twin, live.pointer, size),
              "0x%08x is not as free memory was left", live.pointer);
        live_add(survivor, &live);
    }
}

/* What was the program's and is still known must be in the new place. */
static void survive_copied(const struct survivor *survivor, const struct live *old,
                           const struct live *new) {
    const uint8_t *bytes = w800_pointer(new->pointer);
    uint32_t index = arena_index(old->pointer);
    for (uint32_t i = 0; i < old->size && i < new->size && !survivor->forged; i++) {
        CHECK(survivor, bytes[i] == survivor->shadow[index + i] || !survivor->known[index + i],
              "realloc: byte %u of 0x%08x is not that of 0x%08x", i, new->pointer, old->pointer);
    }
}

static void survive_realloc(struct survivor *survivor, const struct program_call *call) {
    struct live *old = live_of(survivor, call->slot);
    uint64_t size = survive_size(survivor, call);
    if (old == NULL) {
        survive_alloc(survivor, call);
        return;
    }
    if (size == 0) {
        survive_free(survivor, old);
        return;
    }
    uint32_t before = freed_or_faulted(survivor);
    struct wm_heap_fault fault;
    bool broken = live_is_broken(survivor, old, &fault);
    twin_trace(survivor->twin, "realloc %u %zu 0x%x", call->slot, (size_t)size, call->caps);
    void *result = twin_realloc(survivor->twin, w800_pointer(old->pointer), size, call->caps);
    if (result == NULL) {
        return;
    }
    CHECK(survivor, !broken, "0x%08x is broken, and realloc takes it", old->pointer);
    struct live live = {w800_address(result), (uint32_t)size, call->slot,
                        call->caps != 0 ? call->caps : old->caps};
    bool stays = live.pointer == old->pointer;
    live_check_place(survivor, &live, stays ? old : NULL);
    survive_copied(survivor, old, &live);
    if (stays || freed_or_faulted(survivor) != before) {
        live_remove(survivor, old);
    } else {
        old->slot = NO_SLOT;
    }
    live_add(survivor, &live);
}

static void survive_bad(struct survivor *survivor, const struct program_call *call) {
    const struct twin *twin = survivor->twin;
    uint32_t pointer = twin->stale[call->slot];
    if (call->mode == 2u) {
        pointer += 4u * (call->argument % 64u) - 128u;
    } else if (call->mode != 0) {
        const struct wm_heap_region_config *row = &twin->regions[call->slot % WM_HEAP_REGIONS_MAX];
        pointer = row->start + call->argument % (row->end - row->start);
    }
    for (uint32_t i = 0; i < survivor->live_count; i++) {
        if (survivor->live[i].pointer == pointer) {
            return;
        }
    }
    survivor->bad_call = true;
    twin_trace(twin, "freeaddr 0x%08x", pointer);
    wm_heap_caps_free(w800_pointer(pointer));
}

static void survive_append(struct survivor *survivor, const struct program_call *call) {
    const char *name = program_region_name(call);
    survivor->bad_call = true;
    twin_trace(survivor->twin, "append %s", name != NULL ? name : "none");
    if (wm_heap_append_to_heap(name) == WM_ERR_SUCCESS) {
        CHECK(survivor, survivor->bad_call && !survivor->damaged[2], "append of %s", name);
    }
}

static bool visit_counts(void *context, const struct wm_heap_block *block) {
    uint32_t *bytes = context;
    *bytes += block->size;
    return true;
}

static void survive_other(struct survivor *survivor, const struct program_call *call) {
    const struct live *live = live_of(survivor, call->slot);
    struct wm_heap_block block;
    struct wm_heap_fault fault;
    void *pointer = live != NULL ? w800_pointer(live->pointer) : NULL;
    switch (call->kind == PROGRAM_OTHER ? program_other_of(call) : PROGRAM_CHECK) {
    case PROGRAM_IN_PLACE:
        wm_heap_set_realloc_in_place(call->slot % 2u != 0);
        break;
    case PROGRAM_STATS:
        wm_heap_print_stats();
        break;
    case PROGRAM_TRACING:
        wm_heap_print_tracing(call->slot % 2u != 0 ? pointer : NULL);
        break;
    case PROGRAM_INIT:
        survivor->bad_call = true;
        wm_heap_init();
        break;
    default:
        (void)wm_heap_get_usable_size(pointer);
        (void)wm_heap_get_block(pointer, &block);
        (void)wm_heap_check_block(pointer, &fault);
        for (uint32_t r = 0; r < WM_HEAP_REGIONS_MAX; r++) {
            uint32_t bytes = 0;
            (void)wm_heap_walk(r, visit_counts, &bytes);
            CHECK(survivor,
                  bytes <= survivor->twin->regions[r].end - survivor->twin->regions[r].start,
                  "the walk of region %u sees %u bytes", r, bytes);
        }
        break;
    }
}

static void survive_smash(struct survivor *survivor, const struct program_call *call) {
    struct damage damage;
    if (!damage_plan(survivor->twin, &survivor->damages, call, &damage)) {
        return;
    }
    for (uint32_t i = 0; i < damage.length; i++) {
        uint32_t index = arena_index(damage.address + i);
        uint32_t r = damage_region(survivor->twin, damage.address + i);
        if (r < WM_HEAP_REGIONS_MAX) {
            survivor->damaged[r] = true;
        }
        survivor->known[index] = false;
    }
    for (uint32_t i = 0; i < damage.forged_count; i++) {
        survivor->damaged[damage_region(survivor->twin, damage.forged[i].address)] = true;
    }
    survivor->forged |= damage_is_forged(&damage);
    damage_do(survivor->twin, &survivor->damages, &damage);
}

static void survive(struct survivor *survivor, const struct program_call *call) {
    struct live *live = live_of(survivor, call->slot);
    survivor->twin->call++;
    survivor->bad_call = false;
    memcpy(survivor->closed, survivor->reported, sizeof survivor->closed);
    switch (call->kind) {
    case PROGRAM_ALLOC:
    case PROGRAM_CALLOC:
    case PROGRAM_ALIGNED:
        survive_alloc(survivor, call);
        break;
    case PROGRAM_FREE:
        if (live != NULL) {
            survive_free(survivor, live);
        }
        break;
    case PROGRAM_REALLOC:
        survive_realloc(survivor, call);
        break;
    case PROGRAM_BAD:
        survive_bad(survivor, call);
        break;
    case PROGRAM_APPEND:
        survive_append(survivor, call);
        break;
    case PROGRAM_SMASH:
        survive_smash(survivor, call);
        break;
    default:
        survive_other(survivor, call);
        break;
    }
    live = live_of(survivor, call->slot); /* where damage aims at */
    survivor->twin->pointers[call->slot] = live != NULL ? live->pointer : 0;
    CHECK(survivor, arena_lock_depth() == 0, "the lock is held %s", "");
}

static void check_undamaged(struct survivor *survivor) {
    struct wm_heap_fault fault;
    for (uint32_t r = 0; r < WM_HEAP_REGIONS_MAX; r++) {
        CHECK(survivor, survivor->damaged[r] || wm_heap_check(r, &fault),
              "region %u, where nothing is damaged: %s (%s) at 0x%08x", r,
              wm_heap_fault_name(fault.kind), wm_heap_check_name(fault.check), fault.address);
    }
    for (uint32_t i = 0; i < survivor->live_count; i++) {
        bytes_check(survivor, &survivor->live[i]);
    }
}

static void survivor_finish(struct survivor *survivor) {
    uint32_t outside = 0;
    check_undamaged(survivor);
    for (uint32_t slot = 0; slot < PROGRAM_SLOTS; slot++) {
        struct live *live = live_of(survivor, slot);
        if (live != NULL) {
            survive_free(survivor, live);
        }
    }
    check_undamaged(survivor);
    CHECK(survivor, arena_outside_is_intact(survivor->twin->head.layout, &outside),
          "0x%08x, outside the regions, was written", outside);
}

/* ---- before the first hit ---- */

/* File scope: too large for a stack, and cleared by each use. */
static struct survivor survivor;

static void survivor_start(struct twin *twin, const struct damages *damages) {
    memset(&survivor, 0, offsetof(struct survivor, shadow));
    survivor.twin = twin;
    survivor.damages = *damages;
    for (uint32_t slot = 0; slot < PROGRAM_SLOTS; slot++) {
        struct model_block block;
        if (twin->pointers[slot] != 0 && model_find(twin->model, twin->pointers[slot], &block)) {
            struct live live = {block.pointer, block.requested, slot, block.caps};
            survivor.live[survivor.live_count++] = live;
            bytes_note(&survivor, &live);
        }
    }
    w800_on_event(on_event, &survivor);
    w800_on_print(on_print, &survivor);
    wm_heap_set_failed_callback(twin->head.silent ? NULL : on_failure, NULL);
}

/* Returns true if something was hit that the core keeps. */
static bool smash(struct twin *twin, struct damages *damages, const struct program_call *call) {
    struct damage damage;
    struct wm_heap_fault fault;
    bool hit;
    twin->call++;
    if (!damage_plan(twin, damages, call, &damage)) {
        return false;
    }
    const uint8_t *bytes = w800_pointer(damage.address);
    hit = damage_is_forged(&damage);
    for (uint32_t i = 0; i < damage.length; i++) {
        hit = hit || (bytes[i] != damage.bytes[i] && damage_is_protected(twin, damage.address + i));
    }
    if (!hit && damage_makes_header(twin, &damage)) {
        return false;
    }
    if (!hit) { /* the program's own memory: the model is told */
        damage_do(twin, &(struct damages){0}, &damage);
        for (uint32_t i = 0; i < damage.length; i++) {
            model_store(twin->model, damage.address + i, 1, damage.bytes[i]);
        }
        return false;
    }
    survivor_start(twin, damages);
    survive_smash(&survivor, call);
    CHECK(&survivor,
          survivor.forged || !wm_heap_check(WM_HEAP_NO_REGION, &fault) ||
              damage_leaves_mark(twin, &damage),
          "%u bytes changed from 0x%08x, and the check notices nothing", damage.length,
          damage.address);
    return true;
}

void fuzz_open(void) { twin_open(); }

static void run(const uint8_t *data, size_t size, FILE *trace) {
    struct program program;
    struct program_call call;
    struct twin twin;
    struct damages damages = {0};
    struct program_head head = program_begin(&program, data, size);
    bool hit = false;
    twin_start(&twin, &head, trace);
    while (!hit && program_next(&program, &call)) {
        if (call.kind == PROGRAM_SMASH) {
            hit = smash(&twin, &damages, &call);
        } else {
            twin_call(&twin, &call);
        }
    }
    if (!hit) {
        twin_finish(&twin);
        return;
    }
    while (program_next(&program, &call)) {
        survive(&survivor, &call);
    }
    survivor_finish(&survivor);
}

int fuzz_one(const uint8_t *data, size_t size) {
    run(data, size, NULL);
    return 0;
}

bool fuzz_explain(const uint8_t *data, size_t size, FILE *out) {
    run(data, size, out);
    return true;
}
