/* SPDX-License-Identifier: Apache-2.0
 *
 * The knobs of the simulated machine: allocations that fail, bits that flip, overruns,
 * snapshots; and the event for what libc's realloc does to special blocks.
 */
#include "machine.h"

#include <stdlib.h>

static struct recorder seen;

static void start(const struct heap_build *build, uint32_t psram_bytes) {
    machine_start_heap(build, psram_bytes);
    seen = (struct recorder){0};
    w800_on_event(record_event, &seen);
}

Test(builds, are_the_ones_their_names_say) {
    for (size_t b = 0; b < HEAP_BUILDS; b++) {
        const struct heap_build *build = heap_builds[b];
        unsigned poisoning = build->comprehensive ? 2u : build->poisoned ? 1u : 0u;
        cr_expect_eq(heap_build_find(build->tracing, poisoning), build);
        start(build, 0);
        /* the header the core uses, not only the one the table claims */
        uint32_t first = w800_address(wm_heap_caps_alloc(1, WM_HEAP_CAP_DEFAULT));
        cr_expect_eq(first, SRAM_HEAP + build->header_size, "%s", build->name);
        cr_expect_eq(build->state->header_size, build->header_size);
        /* as whoever reads a dump of it finds them */
        cr_expect_eq(build->state->magic, 0x48303857u);
        cr_expect_eq(build->state->options, (build->tracing ? 1 : 0) | (poisoning == 2   ? 4
                                                                        : poisoning == 1 ? 2
                                                                                         : 0));
        uint32_t options = build->state->options;
        wm_heap_set_realloc_in_place(true);
        cr_expect_eq(build->state->options, options | 8);
        wm_heap_set_realloc_in_place(false);
        cr_expect_eq(build->state->options, options);
    }
    cr_expect_null(heap_build_find(false, 3));
}

Test(builds, realloc_in_place_is_the_machines_option) {
    for (int in_place = 0; in_place <= 1; in_place++) {
        struct w800_config config = machine_config(heap_builds[0], 0);
        config.realloc_in_place = in_place != 0;
        machine_start(&config);
        wm_heap_init();
        void *ptr = wm_heap_caps_alloc(100, WM_HEAP_CAP_DEFAULT);
        cr_expect_eq(wm_heap_caps_realloc(ptr, 200, 0) == ptr, in_place);
    }
}

/* ---- failing allocations -------------------------------------------------------------- */

#define CALLS 6 /* of work that count */

struct failures {
    uint32_t failed[CALLS];
    uint32_t callbacks;
};

static void count_callback(void *context, size_t size, wm_heap_cap_type_t caps, const char *file,
                           int line) {
    struct failures *failures = context;
    (void)size, (void)caps, (void)file, (void)line;
    failures->callbacks++;
}

/* Six calls that count, among them each kind, and some that do not. */
static void work(struct failures *failures) {
    uint8_t *p[CALLS] = {NULL};
    *failures = (struct failures){0};
    wm_heap_set_failed_callback(count_callback, failures);
    p[0] = wm_heap_caps_alloc(40, WM_HEAP_CAP_DEFAULT);
    cr_expect_null(wm_heap_caps_alloc(0, WM_HEAP_CAP_DEFAULT));
    p[1] = wm_heap_caps_calloc(5, 8, WM_HEAP_CAP_DEFAULT);
    cr_expect_null(wm_heap_caps_calloc(0, 8, WM_HEAP_CAP_DEFAULT));
    cr_expect_null(wm_heap_caps_calloc(8, 0, WM_HEAP_CAP_DEFAULT));
    p[2] = wm_heap_caps_aligned_alloc(64, 40, WM_HEAP_CAP_DEFAULT);
    p[3] = wm_heap_caps_realloc(NULL, 40, WM_HEAP_CAP_DEFAULT);
    if (p[0]) {
        memset(p[0], 0xa7, 40);
    }
    p[4] = wm_heap_caps_realloc(p[0], 100, WM_HEAP_CAP_DEFAULT);
    if (p[0] && !p[4]) { /* the old block is as it was */
        cr_expect(p[0][0] == 0xa7 && memcmp(p[0], p[0] + 1, 39) == 0);
        wm_heap_caps_free(p[0]);
    }
    p[5] = wm_heap_caps_alloc(40, WM_HEAP_CAP_SHARED);
    for (int i = 0; i < CALLS; i++) {
        failures->failed[i] = p[i] == NULL;
    }
    for (int i = 1; i < CALLS; i++) {
        cr_expect_null(wm_heap_caps_realloc(p[i], 0, WM_HEAP_CAP_DEFAULT));
    }
}

Test(inject, the_nth_allocation_fails_once_or_from_then_on) {
    for (uint32_t b = 0; b < HEAP_BUILDS; b++) {
        for (uint32_t n = 0; n <= CALLS + 1; n++) {
            for (int on = 0; on <= 1; on++) {
                struct failures failures;
                uint32_t expected = 0;
                start(heap_builds[b], 0);
                size_t free_before = wm_heap_get_free_size();
                w800_fail_allocation(n, on != 0);
                work(&failures);
                for (uint32_t i = 1; i <= CALLS; i++) {
                    uint32_t fails = n > 0 && (i == n || (on && i > n));
                    expected += fails;
                    cr_expect_eq(failures.failed[i - 1], fails, "%s, n %u, on %d: call %u",
                                 heap_builds[b]->name, n, on, i);
                }
                struct wm_heap_counters counters;
                wm_heap_get_counters(&counters);
                cr_expect_eq(w800_failed_allocations(), expected);
                cr_expect_eq(failures.callbacks, expected);
                cr_expect_eq(counters.failed, expected);
                cr_expect_eq(wm_heap_get_free_size(), free_before, "a block was lost");
                w800_fail_allocation(0, false);
                cr_expect_not_null(wm_heap_caps_alloc(1, WM_HEAP_CAP_DEFAULT), "no recovery");
                cr_expect_eq(seen.count, 0);
            }
        }
    }
}

Test(inject, a_failing_realloc_in_place_keeps_its_block) {
    static const uint32_t sizes[] = {50, 100, 200};
    struct w800_config config = machine_config(heap_builds[0], 0);
    config.realloc_in_place = true;
    machine_start(&config);
    wm_heap_init();
    void *ptr = wm_heap_caps_alloc(100, WM_HEAP_CAP_DEFAULT);
    size_t usable = wm_heap_get_usable_size(ptr);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        w800_fail_allocation(1, false);
        cr_expect_null(wm_heap_caps_realloc(ptr, sizes[i], 0), "to %u bytes", sizes[i]);
        cr_expect_eq(wm_heap_get_usable_size(ptr), usable);
    }
}

/* ---- realloc and special memory -------------------------------------------------------- */

#define D WM_HEAP_CAP_DEFAULT
#define S (WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_SHARED)
#define P WM_HEAP_CAP_SPIRAM

Test(realloc, tells_when_a_block_silently_leaves_special_memory) {
    static const struct {
        wm_heap_cap_type_t from;
        wm_heap_cap_type_t to;
        bool told;
    } rows[] = {
        {D, D, false},
        {D, 0, false},
        {D, S, false},
        {D, P, false},
        {S, D, true},
        {S, 0, false},
        {S, S, false},
        {S, P, true},
        {P, D, true},
        {P, 0, false},
        {P, S, true},
        {P, P, false},
        {WM_HEAP_CAP_SHARED, WM_HEAP_CAP_INTERNAL, true},
    };
    for (uint32_t b = 0; b < HEAP_BUILDS; b++) {
        for (size_t i = 0; i < COUNT(rows); i++) {
            start(heap_builds[b], 2 * MIB);
            void *ptr = wm_heap_caps_alloc(100, rows[i].from);
            void *moved = wm_heap_caps_realloc(ptr, 200, rows[i].to);
            cr_expect_not_null(moved);
            cr_expect_eq(seen.count, rows[i].told, "%s, row %zu", heap_builds[b]->name, i);
            if (rows[i].told) {
                cr_expect_eq(seen.last.kind, W800_EVENT_REALLOC_MOVED);
                cr_expect_eq(seen.last.address, w800_address(ptr));
                cr_expect_eq(seen.last.near_block, w800_address(ptr) - heap_builds[b]->header_size);
                cr_expect_geq(seen.last.near_size, 100);
            }
        }
    }
}

Test(realloc, says_nothing_of_blocks_that_stay_fail_or_were_never_special) {
    start(heap_builds[1], 2 * MIB);
    void *shared = wm_heap_caps_alloc(100, S);
    w800_fail_allocation(1, false);
    cr_expect_null(wm_heap_caps_realloc(shared, 200, D));
    cr_expect_null(wm_heap_caps_realloc(shared, 0, D)); /* frees */
    /* SRAM is full: a DEFAULT block lies in DRAM by chance, and leaves it */
    size_t room = wm_heap_caps_get_largest_free_block(WM_HEAP_CAP_EXEC);
    void *fill = wm_heap_caps_alloc(room - 100, D);
    void *chance = wm_heap_caps_alloc(200, D);
    cr_assert_geq(w800_address(chance), W800_DRAM_START);
    wm_heap_caps_free(fill);
    cr_expect_lt(w800_address(wm_heap_caps_realloc(chance, 300, D)), W800_DRAM_START);
    /* SRAM is full: a SHARED block stays in reach although nobody asked for it */
    room = wm_heap_caps_get_largest_free_block(WM_HEAP_CAP_EXEC);
    cr_assert_not_null(wm_heap_caps_alloc(room - 100, D));
    shared = wm_heap_caps_alloc(500, S);
    cr_expect_geq(w800_address(wm_heap_caps_realloc(shared, 600, D)), W800_DRAM_START);
    cr_expect_eq(seen.count, 0);
}

/* ---- damage ------------------------------------------------------------------------------ */

Test(damage, a_flipped_bit_is_that_bit_and_no_other) {
    static const uint32_t addresses[] = {0x20000000, 0x20027fff, 0x20028000,
                                         0x20047fff, 0x30000000, 0x301fffff};
    start(heap_builds[0], 2 * MIB);
    for (size_t i = 0; i < COUNT(addresses); i++) {
        for (uint32_t bit = 0; bit < 8; bit++) {
            struct w800_snapshot *before = w800_snapshot_take();
            const volatile uint8_t *byte = w800_pointer(addresses[i]);
            uint8_t old = *byte;
            w800_flip_bit(addresses[i], bit);
            cr_expect_eq(*byte ^ old, 1 << bit);
            w800_flip_bit(addresses[i], bit);
            struct w800_snapshot *after = w800_snapshot_take();
            cr_expect(w800_snapshot_equal(before, after));
            w800_snapshot_free(before);
            w800_snapshot_free(after);
        }
    }
}

Test(damage, bits_flip_under_dma_and_nowhere_outside_memory) {
    static const uint32_t outside[] = {0, 0x1fffffff, 0x20048000, 0x30200000, 0xffffffff};
    struct recorder trap;
    start(heap_builds[0], 2 * MIB);
    volatile uint8_t *byte = w800_pointer(0x30001000);
    *byte = 0;
    cr_assert(w800_dma_start(0, 0x30000000, 64));
    w800_flip_bit(0x30001000, 5);
    cr_expect_eq(try_access(ACCESS_READ, 0x30001000, &trap), W800_EVENT_BUS_CONFLICT);
    for (size_t i = 0; i < COUNT(outside); i++) {
        w800_flip_bit(outside[i], 0);
    }
    cr_assert(w800_dma_stop(0));
    cr_expect_eq(*byte, 0x20);
    cr_expect_eq(seen.count, 0);
}

/* Overruns beginning at the first byte that is not the program's. */
Test(damage, an_overrun_begins_where_the_block_may_not_be_used) {
    for (uint32_t b = 0; b < HEAP_BUILDS; b++) {
        const struct heap_build *build = heap_builds[b];
        start(build, 0);
        uint8_t *ptr = wm_heap_caps_alloc(21, D);
        (void)wm_heap_caps_alloc(100, D);
        size_t usable = wm_heap_get_usable_size(ptr);
        memset(ptr, 0x11, usable);
        uint8_t expected[64];
        memcpy(expected, ptr, sizeof expected);
        memset(expected + usable, 0x22, 5);
        w800_write_past(ptr, 5, 0x22);
        cr_expect_eq(memcmp(ptr, expected, sizeof expected), 0, "%s", build->name);
        struct wm_heap_fault fault;
        cr_expect_not(wm_heap_check(0, &fault), "%s: the overrun goes unnoticed", build->name);
    }
}

Test(damage, an_overrun_of_no_block_stores_nothing) {
    start(heap_builds[0], 0);
    (void)wm_heap_caps_alloc(100, D);
    struct w800_snapshot *before = w800_snapshot_take();
    w800_write_past(NULL, 100, 0x22);
    cr_expect_eq(seen.count, 0);
    struct w800_snapshot *after = w800_snapshot_take();
    cr_expect(w800_snapshot_equal(before, after));
    w800_write_past(w800_pointer(0x20100000), 100, 0x22);
    cr_expect_eq(seen.last.kind, W800_EVENT_HEAP_FAULT);
    cr_expect_eq(seen.last.fault.kind, WM_HEAP_FAULT_FOREIGN_POINTER);
    w800_snapshot_free(before);
    w800_snapshot_free(after);
}

static void overrun_the_machine(void *context) { w800_write_past(context, 64, 0x22); }

Test(damage, an_overrun_off_the_end_of_memory_traps) {
    start(heap_builds[0], 2 * MIB);
    size_t room = wm_heap_caps_get_largest_free_block(P);
    void *ptr = wm_heap_caps_alloc(room - heap_builds[0]->header_size, P);
    /* over the end marker, whose header is the region's last, and beyond */
    cr_expect_not(w800_guard(overrun_the_machine, ptr));
    cr_expect_eq(seen.last.kind, W800_EVENT_STRAY_ACCESS);
    cr_expect_eq(seen.last.address, 0x30200000);
    cr_expect(seen.last.write);
}

/* ---- snapshots --------------------------------------------------------------------------- */

#define SLOTS 32

/* A reproducible mix; returns a digest of every address it got. */
static uint32_t mix(void **slots, uint32_t seed) {
    static const wm_heap_cap_type_t caps[] = {D, S, P, WM_HEAP_CAP_INTERNAL};
    uint32_t digest = 0;
    for (int i = 0; i < 500; i++) {
        seed = seed * 1664525u + 1013904223u;
        void **slot = &slots[seed >> 8 & (SLOTS - 1)];
        if (*slot) {
            wm_heap_caps_free(*slot);
            *slot = NULL;
        } else {
            uint32_t size = 1 + (seed >> 16) % 5000;
            *slot = wm_heap_caps_alloc(size, caps[seed >> 30]);
            if (*slot) {
                memset(*slot, (int)(seed >> 24), size);
            }
        }
        digest = digest * 31 + w800_address(*slot);
    }
    return digest;
}

Test(snapshot, brings_the_heap_back_as_often_as_wanted) {
    for (uint32_t b = 0; b < HEAP_BUILDS; b++) {
        void *slots[SLOTS] = {NULL};
        void *kept[SLOTS];
        start(heap_builds[b], 2 * MIB);
        mix(slots, b);
        struct w800_snapshot *snapshot = w800_snapshot_take();
        cr_assert_not_null(snapshot);
        memcpy(kept, slots, sizeof kept);
        uint32_t digest = mix(slots, 1000);
        for (uint32_t round = 0; round < 3; round++) {
            mix(slots, round);
            w800_snapshot_restore(snapshot);
            struct w800_snapshot *again = w800_snapshot_take();
            cr_expect(w800_snapshot_equal(snapshot, again));
            w800_snapshot_free(again);
            memcpy(slots, kept, sizeof slots);
            cr_expect_eq(mix(slots, 1000), digest, "%s, round %u", heap_builds[b]->name, round);
        }
        w800_snapshot_free(snapshot);
        struct wm_heap_fault fault;
        cr_expect(wm_heap_check(WM_HEAP_NO_REGION, &fault));
        cr_expect_eq(seen.count, 0);
    }
}

Test(snapshot, brings_transfers_and_the_failure_countdown_back) {
    struct recorder trap;
    start(heap_builds[0], 2 * MIB);
    struct w800_snapshot *idle = w800_snapshot_take();
    cr_assert(w800_dma_start(2, 0x30000000, 64));
    w800_fail_allocation(2, false);
    struct w800_snapshot *busy = w800_snapshot_take();
    for (int round = 0; round < 2; round++) {
        w800_snapshot_restore(idle);
        cr_expect_not(w800_dma_on_psram());
        cr_expect_eq(try_access(ACCESS_WRITE, 0x30000000, &trap), NO_EVENT);
        cr_expect_not_null(wm_heap_caps_alloc(1, D));
        cr_expect_not_null(wm_heap_caps_alloc(1, D));
        cr_expect(w800_dma_start(2, 0x20000000, 64));

        w800_snapshot_restore(busy);
        cr_expect(w800_dma_on_psram());
        cr_expect_eq(try_access(ACCESS_WRITE, 0x30000000, &trap), W800_EVENT_BUS_CONFLICT);
        cr_expect_not_null(wm_heap_caps_alloc(1, D));
        cr_expect_null(wm_heap_caps_alloc(1, D));
        cr_expect_eq(w800_failed_allocations(), 1);
        cr_expect(w800_dma_stop(2));
        cr_expect_eq(try_access(ACCESS_WRITE, 0x30000000, &trap), NO_EVENT);
    }
    w800_snapshot_free(idle);
    w800_snapshot_free(busy);
}

static void flip_first(void) { w800_flip_bit(0x20000000, 0); }
static void flip_last_on_chip(void) { w800_flip_bit(0x20047fff, 7); }
static void flip_last_of_psram(void) { w800_flip_bit(0x301fffff, 7); }
static void change_state(void) { w800_config()->build->state->counters.failed++; }
static void start_transfer(void) { w800_dma_start(W800_DMA_SDIO, 0x20028000, 4); }
static void start_psram_transfer(void) { w800_dma_start(7, 0x30000000, 4); }
static void arm_failure(void) { w800_fail_allocation(1, false); }

Test(snapshot, differs_if_anything_in_it_differs) {
    static void (*const changes[])(void) = {flip_first,   flip_last_on_chip, flip_last_of_psram,
                                            change_state, start_transfer,    start_psram_transfer,
                                            arm_failure};
    start(heap_builds[0], 2 * MIB);
    struct w800_snapshot *before = w800_snapshot_take();
    for (size_t i = 0; i < COUNT(changes); i++) {
        changes[i]();
        struct w800_snapshot *after = w800_snapshot_take();
        cr_expect_not(w800_snapshot_equal(before, after), "change %zu", i);
        w800_snapshot_free(after);
        w800_snapshot_restore(before);
        after = w800_snapshot_take();
        cr_expect(w800_snapshot_equal(before, after), "change %zu", i);
        w800_snapshot_free(after);
    }
    w800_snapshot_free(before);
}
