/* SPDX-License-Identifier: Apache-2.0
 *
 * DMA: who reaches what, which lengths, and what the CPU may not touch meanwhile.
 */
#include "machine.h"

#define OK NO_EVENT
#define UNREACHABLE W800_EVENT_DMA_UNREACHABLE
#define LENGTH W800_EVENT_DMA_LENGTH
#define BUSY W800_EVENT_DMA_BUSY
#define CONFLICT W800_EVENT_BUS_CONFLICT

static struct recorder seen;

static void start(const struct heap_build *build) {
    machine_start_heap(build, 2 * MIB);
    seen = (struct recorder){0};
    w800_on_event(record_event, &seen);
}

/* The event of a start or stop, and whether its result fits. */
static enum w800_event_kind outcome(bool result) {
    enum w800_event_kind kind = seen.count > 0 ? seen.last.kind : OK;
    cr_expect_eq(result, seen.count == 0);
    cr_expect_leq(seen.count, 1);
    seen.count = 0;
    return kind;
}

/* Rows cross 11 masters. Channels reach all memory and want multiples of 4 in PSRAM; the
 * high-speed masters reach 0x20028000 to 0x20047FFF only. */
Test(dma, masters_reach_what_the_chip_lets_them_reach) {
    static const struct {
        uint32_t address;
        uint32_t length;
        enum w800_event_kind channel;
        enum w800_event_kind high_speed;
    } rows[] = {
        {0x20000000, 1, OK, UNREACHABLE},
        {0x20004120, 100, OK, UNREACHABLE},
        {0x20000000, 0x28000, OK, UNREACHABLE},
        {0x20027fff, 1, OK, UNREACHABLE},
        {0x20027fff, 2, OK, UNREACHABLE}, /* over the border */
        {0x20028000, 1, OK, OK},
        {0x20028000, 0x20000, OK, OK},
        {0x20028000, 0x20001, UNREACHABLE, UNREACHABLE},
        {0x20047fff, 1, OK, OK},
        {0x20047fff, 2, UNREACHABLE, UNREACHABLE},
        {0x20048000, 4, UNREACHABLE, UNREACHABLE},
        {0x1fffffff, 2, UNREACHABLE, UNREACHABLE},
        {0x08000000, 4, UNREACHABLE, UNREACHABLE}, /* flash */
        {0x00000000, 4, UNREACHABLE, UNREACHABLE},
        {0x30000000, 4, OK, UNREACHABLE},
        {0x30000001, 4, OK, UNREACHABLE},
        {0x30000000, 1, LENGTH, UNREACHABLE},
        {0x30000000, 6, LENGTH, UNREACHABLE},
        {0x30000000, 1023, LENGTH, UNREACHABLE},
        {0x30000000, 0x200000, OK, UNREACHABLE},
        {0x30000000, 0x200004, UNREACHABLE, UNREACHABLE},
        {0x301ffffc, 4, OK, UNREACHABLE},
        {0x301ffffc, 8, UNREACHABLE, UNREACHABLE},
        {0x30200000, 4, UNREACHABLE, UNREACHABLE}, /* not fitted */
        {0x20028000, 0xffffffff, UNREACHABLE, UNREACHABLE},
        {0x20028000, 0, LENGTH, LENGTH},
        {0x00000000, 0, LENGTH, LENGTH},
        {0xffffffff, 1, UNREACHABLE, UNREACHABLE},
    };
    start(heap_builds[0]);
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (uint32_t master = 0; master < W800_DMA_MASTERS; master++) {
            enum w800_event_kind expected =
                master < W800_DMA_SDIO ? rows[i].channel : rows[i].high_speed;
            bool psram = expected == OK && rows[i].address >= W800_PSRAM_START;
            enum w800_event_kind kind =
                outcome(w800_dma_start(master, rows[i].address, rows[i].length));
            cr_expect_eq(kind, expected, "master %u, 0x%08x, %u bytes: %s, expected %s", master,
                         rows[i].address, rows[i].length, kind_name(kind), kind_name(expected));
            cr_expect_eq(w800_dma_on_psram(), psram);
            if (expected != OK) {
                cr_expect_eq(seen.last.master, master);
                cr_expect_eq(seen.last.address, rows[i].address);
                cr_expect_eq(seen.last.length, rows[i].length);
            }
            /* nothing was started if it was refused */
            cr_expect_eq(outcome(w800_dma_stop(master)), kind == OK ? OK : BUSY);
            cr_expect_not(w800_dma_on_psram());
        }
    }
}

Test(dma, an_unreachable_buffer_is_named_by_its_block) {
    start(heap_builds[1]);
    void *ptr = wm_heap_caps_alloc(64, WM_HEAP_CAP_DEFAULT);
    cr_expect_eq(outcome(w800_dma_start(W800_DMA_WIFI, w800_address(ptr), 64)), UNREACHABLE);
    cr_expect_eq(seen.last.near_block, w800_address(ptr) - heap_builds[1]->header_size);
}

Test(dma, each_master_does_one_thing_at_a_time) {
    start(heap_builds[0]);
    for (uint32_t master = 0; master < W800_DMA_MASTERS; master++) {
        cr_expect_eq(outcome(w800_dma_stop(master)), BUSY, "master %u", master);
        cr_expect_eq(outcome(w800_dma_start(master, 0x20028000, 64)), OK, "master %u", master);
        cr_expect_eq(outcome(w800_dma_start(master, 0x20028000, 64)), BUSY, "master %u", master);
    }
    for (uint32_t master = 0; master < W800_DMA_MASTERS; master++) {
        cr_expect_eq(outcome(w800_dma_stop(master)), OK, "master %u", master);
        cr_expect_eq(outcome(w800_dma_stop(master)), BUSY, "master %u", master);
    }
}

Test(dma, a_master_that_does_not_exist_is_refused) {
    static const uint32_t masters[] = {W800_DMA_MASTERS, 12, 0x80000000, 0xffffffff};
    start(heap_builds[0]);
    for (size_t i = 0; i < COUNT(masters); i++) {
        cr_expect_eq(outcome(w800_dma_start(masters[i], 0x20028000, 64)), BUSY);
        cr_expect_eq(outcome(w800_dma_stop(masters[i])), BUSY);
    }
}

/* All of PSRAM is closed, not only the transfer's range: the bus is what is busy. */
Test(dma, the_cpu_meets_a_bus_conflict_all_over_psram) {
    static const uint32_t addresses[] = {0x30000000, 0x30000004, 0x30100000, 0x301fffff};
    start(heap_builds[0]);
    for (size_t i = 0; i < COUNT(addresses); i++) {
        for (enum access access = 0; access < ACCESS_KINDS; access++) {
            struct recorder trap;
            cr_assert(w800_dma_start(3, 0x30000000, 4));
            enum w800_event_kind kind = try_access(access, addresses[i], &trap);
            cr_expect_eq(kind, CONFLICT, "%s at 0x%08x: %s", access_names[access], addresses[i],
                         kind_name(kind));
            cr_expect_eq(trap.last.write, access == ACCESS_WRITE);
            /* and a second time: looking for the block has not opened PSRAM for good */
            cr_expect_eq(try_access(access, addresses[i], &trap), CONFLICT);
            cr_assert(w800_dma_stop(3));
            if (access != ACCESS_EXECUTE) {
                cr_expect_eq(try_access(access, addresses[i], &trap), OK);
            }
        }
    }
}

Test(dma, psram_stays_closed_until_its_last_transfer_stops) {
    struct recorder trap;
    start(heap_builds[0]);
    cr_assert(w800_dma_start(0, 0x30000000, 64));
    cr_assert(w800_dma_start(7, 0x30000000, 64));
    cr_assert(w800_dma_start(1, 0x20000000, 64));
    cr_expect_eq(try_access(ACCESS_READ, 0x30000000, &trap), CONFLICT);
    cr_assert(w800_dma_stop(0));
    cr_expect_eq(try_access(ACCESS_READ, 0x30000000, &trap), CONFLICT);
    cr_assert(w800_dma_stop(7));
    cr_expect_eq(try_access(ACCESS_READ, 0x30000000, &trap), OK);
}

Test(dma, transfers_elsewhere_leave_the_cpu_alone) {
    struct recorder trap;
    start(heap_builds[0]);
    cr_assert(w800_dma_start(0, 0x20000000, 0x48000));
    cr_assert(w800_dma_start(W800_DMA_WIFI, 0x20028000, 0x20000));
    cr_expect_eq(try_access(ACCESS_WRITE, 0x20004120, &trap), OK);
    cr_expect_eq(try_access(ACCESS_WRITE, 0x20028000, &trap), OK);
    cr_expect_eq(try_access(ACCESS_WRITE, 0x30000000, &trap), OK);
}

/* ---- the heap during DMA ------------------------------------------------------------- */

#define SLOTS 64

/* Allocations, frees and reallocs on chip while PSRAM is full of live and freed blocks. */
static void work_on_chip(void *context) {
    (void)context;
    void *slots[SLOTS] = {NULL};
    uint32_t seed = 1;
    for (int i = 0; i < 5000; i++) {
        seed = seed * 1664525u + 1013904223u;
        void **slot = &slots[seed >> 8 & (SLOTS - 1)];
        wm_heap_cap_type_t caps =
            seed >> 14 & 1 ? WM_HEAP_CAP_DEFAULT : WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_SHARED;
        uint32_t size = 1 + (seed >> 16) % 3000;
        if (seed >> 30 == 0) {
            wm_heap_caps_free(*slot);
            *slot = NULL;
        } else {
            void *moved = wm_heap_caps_realloc(*slot, size, caps);
            *slot = moved ? moved : *slot;
        }
    }
    for (int i = 0; i < SLOTS; i++) {
        wm_heap_caps_free(slots[i]);
    }
}

static void leave_blocks_in_psram(void) {
    void *slots[SLOTS];
    for (int i = 0; i < SLOTS; i++) {
        slots[i] = wm_heap_caps_alloc(1000, WM_HEAP_CAP_SPIRAM);
        cr_assert_not_null(slots[i]);
    }
    for (int i = 0; i < SLOTS; i += 2) {
        wm_heap_caps_free(slots[i]);
    }
}

Test(dma, the_heap_on_chip_never_touches_psram) {
    for (size_t b = 0; b < HEAP_BUILDS; b++) {
        start(heap_builds[b]);
        leave_blocks_in_psram();
        cr_assert(w800_dma_start(0, 0x30000000, 1024));
        bool ended = w800_guard(work_on_chip, NULL);
        cr_expect(ended, "%s: %s at 0x%08x", heap_builds[b]->name, kind_name(seen.last.kind),
                  seen.last.address);
        cr_assert(w800_dma_stop(0));
        struct wm_heap_fault fault;
        cr_expect(wm_heap_check(WM_HEAP_NO_REGION, &fault), "%s", heap_builds[b]->name);
    }
}

static void *psram_block;

static void alloc_in_psram(void *context) {
    (void)context;
    (void)wm_heap_caps_alloc(100, WM_HEAP_CAP_SPIRAM);
}

static void free_in_psram(void *context) {
    (void)context;
    wm_heap_caps_free(psram_block);
}

static void realloc_out_of_psram(void *context) {
    (void)context;
    psram_block = wm_heap_caps_realloc(psram_block, 100, WM_HEAP_CAP_DEFAULT);
}

Test(dma, the_heap_in_psram_meets_the_conflict_and_lets_the_lock_go) {
    static void (*const bodies[])(void *) = {alloc_in_psram, free_in_psram, realloc_out_of_psram};
    for (size_t b = 0; b < HEAP_BUILDS; b++) {
        for (size_t i = 0; i < COUNT(bodies); i++) {
            start(heap_builds[b]);
            psram_block = wm_heap_caps_alloc(100, WM_HEAP_CAP_SPIRAM);
            uint32_t block = w800_address(psram_block) - heap_builds[b]->header_size;
            cr_assert(w800_dma_start(0, 0x30000000, 1024));
            cr_expect_not(w800_guard(bodies[i], NULL), "%s, body %zu", heap_builds[b]->name, i);
            cr_expect_eq(seen.last.kind, CONFLICT);
            cr_expect(i == 0 || seen.last.near_block == block, "%s, body %zu: 0x%08x",
                      heap_builds[b]->name, i, seen.last.near_block);
            cr_expect_eq(w800_lock_report().depth_now, 0);
            /* the rest of the heap lives */
            cr_expect_not_null(wm_heap_caps_alloc(100, WM_HEAP_CAP_DEFAULT));
        }
    }
}

static void *sram_block;

/* The first free meets the damage; the others find the region closed. */
static void free_damaged(void *context) {
    const struct heap_build *build = w800_config()->build;
    (void)context;
    for (uint32_t i = 0; i < 5; i++) {
        wm_heap_caps_free(sram_block);
        wm_heap_caps_free(w800_pointer(build->state->regions[0].start + 8u));
        (void)wm_heap_get_usable_size(sram_block);
    }
}

Test(dma, damage_on_chip_is_told_once_and_without_looking_at_psram) {
    for (size_t b = 0; b < HEAP_BUILDS; b++) {
        const struct heap_build *build = heap_builds[b];
        start(build);
        leave_blocks_in_psram();
        sram_block = wm_heap_caps_alloc(100, WM_HEAP_CAP_DEFAULT);
        /* from below: a canary alone, where there is one, makes the core print its list */
        memset((char *)sram_block - 8, 0xee, 8);
        cr_assert(w800_dma_start(0, 0x30000000, 1024));
        seen.count = 0;
        cr_expect(w800_guard(free_damaged, NULL));
        cr_expect_eq(seen.count, 1, "%s: %u events", build->name, seen.count);
        cr_expect_eq(seen.last.kind, W800_EVENT_HEAP_FAULT, "%s", build->name);
        cr_assert(w800_dma_stop(0));
    }
}
