/* SPDX-License-Identifier: Apache-2.0
 *
 * Two tasks on one heap, without chance: while one makes a call, the other makes one right before a
 * lock is taken or right after it was given back, at each such moment in turn, for all pairs of
 * calls. (lock_threads does it with threads, the fuzz target `threads` with any two programs.)
 */
#include "heap_fixture.h"

TestSuite(preempt, .timeout = 60);

#define BLOCKS 6u
#define MOMENTS_MAX 64u
#define REGION_BYTES 2048u

struct held {
    void *pointer; /* NULL: none */
    uint32_t size;
    uint8_t fill;
};

/* What a task does, with the block that is its own. */
typedef void act_fn(struct held *own);

/* File scope: the port's functions have no argument to carry it. */
static struct scene {
    struct held held[BLOCKS];
    act_fn *intrude; /* NULL: it has happened */
    struct held *of_intruder;
    uint32_t moment;
    uint32_t intrude_at;
    uint32_t depth;
    struct recorder seen;
} scene;

static void moment(void) {
    if (scene.depth == 0 && scene.intrude != NULL && scene.moment++ == scene.intrude_at) {
        act_fn *act = scene.intrude;
        scene.intrude = NULL;
        act(scene.of_intruder);
    }
}

uint32_t __real_wm_heap_port_lock(void);
uint32_t __wrap_wm_heap_port_lock(void);
uint32_t __wrap_wm_heap_port_lock(void) {
    moment();
    scene.depth++;
    return __real_wm_heap_port_lock();
}

void __real_wm_heap_port_unlock(uint32_t key);
void __wrap_wm_heap_port_unlock(uint32_t key);
void __wrap_wm_heap_port_unlock(uint32_t key) {
    __real_wm_heap_port_unlock(key);
    scene.depth--;
    moment();
}

/* ---- calls ---- */

static void hold(struct held *held, void *pointer, uint32_t size) {
    held->pointer = pointer;
    held->size = size;
    if (pointer != NULL) {
        memset(pointer, held->fill, size);
    }
}

static void take_hole(struct held *own) { hold(own, wm_heap_caps_alloc(60, EXEC), 60); }
static void take_much(struct held *own) { hold(own, wm_heap_caps_alloc(1100, EXEC), 1100); }
static void take_zeroed(struct held *own) { hold(own, wm_heap_caps_calloc(15, 4, EXEC), 60); }
static void take_aligned(struct held *own) {
    hold(own, wm_heap_caps_aligned_alloc(64, 40, EXEC), 40);
}
static void give(struct held *own) {
    void *pointer = own->pointer;
    own->pointer = NULL;
    wm_heap_caps_free(pointer);
}
static void resize_to(struct held *own, uint32_t size) {
    void *pointer = wm_heap_caps_realloc(own->pointer, size, 0);
    if (pointer != NULL) {
        hold(own, pointer, size);
    }
}
static void grow(struct held *own) { resize_to(own, 150); }
static void shrink(struct held *own) { resize_to(own, 8); }
static void ask(struct held *own) {
    CHECK(wm_heap_get_usable_size(own->pointer) >= own->size, "usable size");
}

/* The first of these, so many, begin without a block. */
#define TAKERS 4u
static act_fn *const acts[] = {take_hole, take_much, take_zeroed, take_aligned,
                               give,      grow,      shrink,      ask};

/* ---- the scene ---- */

/* Two blocks of the tasks' own, a hole before each and one more behind the second, free memory at
 * the end:
 *
 *     | 0 | hole | 1 | 2 | hole | 3 | free ... | end marker |
 */
static void scene_open(const struct heap_build *build, bool in_place) {
    struct w800_config config = {
        .build = build,
        .regions = {{"SRAM", SRAM_HEAP, SRAM_HEAP + REGION_BYTES, SRAM_CAPS, false}},
        .region_count = 1,
    };
    machine_start(&config);
    wm_heap_init();
    memset(&scene, 0, sizeof scene);
    w800_on_event(record_event, &scene.seen);
    wm_heap_set_realloc_in_place(in_place);
    void *holes[2];
    for (uint32_t i = 0; i < BLOCKS; i++) {
        scene.held[i].fill = (uint8_t)(0x11u * (i + 1u));
    }
    for (uint32_t i = 0; i < 4; i++) {
        hold(&scene.held[i], wm_heap_caps_alloc(40, EXEC), 40);
        if (i % 2u == 0) {
            holes[i / 2u] = wm_heap_caps_alloc(60, EXEC);
        }
    }
    wm_heap_caps_free(holes[0]);
    wm_heap_caps_free(holes[1]);
}

/* Nobody has lost a byte or a block, and no two have the same. */
static void scene_check(void) {
    struct wm_heap_fault fault;
    uint32_t live = 0;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        const struct held *held = &scene.held[i];
        const uint8_t *bytes = held->pointer;
        struct wm_heap_block block;
        if (held->pointer == NULL) {
            continue;
        }
        live++;
        CHECK(wm_heap_get_block(held->pointer, &block), "block %u is none", i);
        CHECK_EQ(block.requested, held->size, "size");
        for (uint32_t k = 0; k < held->size; k++) {
            CHECK_EQ(bytes[k], held->fill, "a byte of a block");
        }
    }
    struct wm_heap_counters counters;
    wm_heap_get_counters(&counters);
    CHECK_EQ(counters.allocs - counters.frees, live, "blocks by the counters");
    CHECK(wm_heap_check(0, &fault), "%s at 0x%08x", wm_heap_fault_name(fault.kind), fault.address);
    CHECK_EQ(scene.depth, 0, "depth of the lock");
}

/* ---- tests ---- */

/* Returns false if the call has fewer moments. */
static bool try_pair(const struct heap_build *build, bool in_place, act_fn *act, act_fn *intrude,
                     uint32_t at) {
    scene_open(build, in_place);
    scene.intrude = intrude;
    scene.intrude_at = at;
    struct held *own = &scene.held[1];
    scene.of_intruder = &scene.held[2];
    for (uint32_t i = 0; i < TAKERS; i++) {
        own = act == acts[i] ? &scene.held[4] : own;
        scene.of_intruder = intrude == acts[i] ? &scene.held[5] : scene.of_intruder;
    }
    act(own);
    bool happened = scene.intrude == NULL;
    scene.intrude = NULL;
    CHECK_EQ(scene.seen.count, 0, "events");
    scene_check();
    return happened;
}

static void interleave(const struct heap_build *build) {
    for (size_t a = 0; a < COUNT(acts); a++) {
        for (size_t b = 0; b < COUNT(acts); b++) {
            for (uint32_t in_place = 0; in_place < 2; in_place++) {
                uint32_t at = 0;
                while (try_pair(build, in_place != 0, acts[a], acts[b], at)) {
                    CHECK(++at < MOMENTS_MAX, "a call does not end");
                }
                CHECK(at >= 2, "a call has no moments, so nothing was tried");
            }
        }
    }
}

Test(preempt, calls_of_two_tasks_do_not_disturb_each_other) { in_every_build(interleave); }

/* Both free block 1, and the second is told. */
static void free_twice(const struct heap_build *build) {
    for (uint32_t at = 0;; at++) {
        scene_open(build, false);
        struct held again = scene.held[1];
        scene.intrude = give;
        scene.intrude_at = at;
        scene.of_intruder = &again;
        give(&scene.held[1]);
        if (scene.intrude != NULL) {
            CHECK(at >= 2, "the call has no moments, so nothing was tried");
            return;
        }
        CHECK_EQ(scene.seen.count, 1, "events");
        CHECK_EQ(scene.seen.last.fault.kind, WM_HEAP_FAULT_DOUBLE_FREE, "fault");
        scene_check();
    }
}

Test(preempt, of_two_frees_of_a_block_one_is_told) { in_every_build(free_twice); }
