/* SPDX-License-Identifier: Apache-2.0
 *
 * The SDK's allocator has fourteen known defects. One test for each, named by its number,
 * shows that this core does not have it, although it returns the same addresses. Number 10
 * alone stays, because its cure would change an address: the simulator reports it instead.
 * Number 14, linear time, is in test_bounds.c, where the headers are counted.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "heap_fixture.h"

TestSuite(defects, .timeout = 60);

#define FILLED 0x77

/* A heap with all three memories. */
static void heap_open(const struct heap_build *build, struct recorder *seen) {
    struct w800_config config = machine_config(build, 2 * MIB);
    heap_start(&config, seen);
    CHECK_EQ(wm_heap_append_to_heap("PSRAM"), WM_ERR_SUCCESS, "append");
}

/* --- 1: realloc copied up to a header more than the payload -------------------------------- */

/* The new block's memory has known bytes before; what realloc stores there ends with the old
 * payload. */
static void d01(const struct heap_build *build) {
    struct recorder seen;
    for (uint32_t size = 1; size <= 80; size++) {
        struct w800_config config = small_config(build, 4096);
        heap_start(&config, &seen);
        uint8_t *old = wm_heap_caps_alloc(size, EXEC);
        uint8_t *neighbour = wm_heap_caps_alloc(8, EXEC);
        memset(old, 0x11, size);
        memset(neighbour, 0x22, 8);
        uint32_t usable = (uint32_t)wm_heap_get_usable_size(old);
        memset(old + size, 0x33, usable - size); /* slack is the owner's, too */
        uint8_t *before = wm_heap_caps_alloc(600, EXEC);
        memset(before, FILLED, 600);
        wm_heap_caps_free(before);
        uint8_t *moved = wm_heap_caps_realloc(old, 600, EXEC);
        CHECK(moved == before, "realloc went to %p, not to %p", (void *)moved, (void *)before);
        uint8_t rest = build->comprehensive ? 0xfe : FILLED; /* free memory is filled again */
        uint32_t node =
            24u; /* that a tree node stood in the first bytes is none of a neighbour's */
        for (uint32_t i = usable > node ? usable : node; i < 600; i++) {
            CHECK(moved[i] == rest, "realloc of %u bytes wrote 0x%02x at %u", size, moved[i], i);
        }
        check_no_event(&seen, "realloc");
    }
}

Test(defects, d01_realloc_reads_no_byte_beyond_the_payload) { in_every_build(d01); }

/* --- 2: comprehensive poisoning guarded one place and checked another ----------------------- */

/* Allocates `size` bytes from a hole that is `more` bytes too large, so that the block is not
 * split and the slack is the caller's. */
static uint8_t *alloc_in_larger_hole(uint32_t size, uint32_t more) {
    void *hole = wm_heap_caps_alloc(size + more, EXEC);
    void *behind = wm_heap_caps_alloc(1, EXEC);
    wm_heap_caps_free(hole);
    uint8_t *memory = wm_heap_caps_alloc(size, EXEC);
    CHECK(memory == hole && behind != NULL, "%p is not the hole at %p", (void *)memory, hole);
    return memory;
}

static void d02(const struct heap_build *build) {
    struct recorder seen;
    struct w800_config config = small_config(build, 4096);
    for (uint32_t size = 1; build->comprehensive && size <= 48; size++) {
        for (uint32_t more = 0; more <= 2u * build->header_size; more += 8) {
            heap_start(&config, &seen);
            uint8_t *memory = alloc_in_larger_hole(size, more);
            struct wm_heap_block block;
            memset(memory, 0, size); /* all that was asked for, and nothing happens */
            CHECK(wm_heap_get_block(memory, &block), "no block");
            check_intact("a full payload");
            uint32_t end = block.address + block.size - block.pointer;
            for (uint32_t at = size; at < end; at++) { /* one more, and it is noticed */
                struct wm_heap_fault fault;
                uint8_t guard = memory[at];
                memory[at] ^= 1;
                CHECK(!wm_heap_check(WM_HEAP_NO_REGION, &fault) &&
                          fault.kind == WM_HEAP_FAULT_OVERFLOW && fault.block == block.address,
                      "%u bytes in a block of %u: byte %u is not guarded", size, block.size, at);
                memory[at] = guard;
            }
            wm_heap_caps_free(memory);
            check_no_event(&seen, "free of a full payload");
        }
    }
}

Test(defects, d02_guard_bytes_begin_behind_the_request_and_end_with_the_block) {
    in_every_build(d02);
}

/* --- 3: an underflow of up to four bytes fell into padding ---------------------------------- */

static void d03(const struct heap_build *build) {
    struct recorder seen;
    struct w800_config config = small_config(build, 4096);
    for (uint32_t bytes = 1; build->poisoned && bytes <= 8; bytes++) {
        heap_start(&config, &seen);
        int line = __LINE__ + 1;
        uint8_t *memory = wm_heap_caps_alloc(20, EXEC);
        memset(memory - bytes, 0, bytes);
        wm_heap_caps_free(memory);
        CHECK(seen.last.fault.line == (build->tracing ? (uint32_t)line : 0), "call site lost");
        CHECK_EQ(seen.last.fault.block, w800_address(memory) - build->header_size, "block");
        check_one_fault(&seen, WM_HEAP_FAULT_UNDERFLOW, "underflow");
    }
}

Test(defects, d03_an_underflow_of_one_byte_is_noticed) { in_every_build(d03); }

/* --- 4: free trusted the header before any check --------------------------------------------- */

static void free_it(void *pointer) { wm_heap_caps_free(pointer); }

/* Every 4-byte step in and around a heap, and pointers from elsewhere. */
static void d04(const struct heap_build *build) {
    static int outside;
    static uint8_t image[512];
    struct recorder seen;
    struct w800_config config = small_config(build, sizeof image);
    heap_start(&config, &seen);
    uint32_t live[3];
    for (uint32_t i = 0; i < COUNT(live); i++) {
        live[i] = w800_address(wm_heap_caps_alloc(40 + 8 * i, EXEC));
    }
    wm_heap_caps_free(w800_pointer(live[1]));
    struct wm_heap_state state = *build->state;
    memcpy(image, w800_pointer(SMALL_HEAP), sizeof image);
    for (uint32_t at = SMALL_HEAP - 64; at < SMALL_HEAP + sizeof image + 64; at += 4) {
        if (at == live[0] || at == live[2]) {
            continue;
        }
        seen.count = 0;
        CHECK(w800_guard(free_it, w800_pointer(at)), "0x%08x: a trap", at);
        CHECK(seen.count == 1 && seen.last.fault.kind < WM_HEAP_FAULT_SMASHED_HEADER,
              "0x%08x: %u events, the last %s", at, seen.count,
              wm_heap_fault_name(seen.last.fault.kind));
        state.counters = build->state->counters;
        state.first_fault = build->state->first_fault;
        /* NOLINTNEXTLINE(*-exp42-c,*-flp37-c,*-suspicious-memory-comparison): copies */
        bool same_state = memcmp(&state, build->state, sizeof state) == 0;
        CHECK(memcmp(image, w800_pointer(SMALL_HEAP), sizeof image) == 0 && same_state,
              "0x%08x: the heap was changed", at);
    }
    const uintptr_t foreign[] = {(uintptr_t)&outside,
                                 (uintptr_t)&seen,
                                 (uintptr_t)live[0] | (uintptr_t)1 << 32,
                                 1,
                                 8,
                                 UINT32_MAX,
                                 UINTPTR_MAX,
                                 0x10000000,
                                 W800_PSRAM_START,
                                 W800_DRAM_END};
    for (size_t i = 0; i < COUNT(foreign); i++) {
        seen.count = 0;
        void *pointer;
        memcpy(&pointer, &foreign[i], sizeof pointer);
        CHECK(w800_guard(free_it, pointer), "%p: a trap", pointer);
        check_one_fault(&seen, WM_HEAP_FAULT_FOREIGN_POINTER, "foreign pointer");
    }
    check_intact("after all");
}

Test(defects, d04_a_wrong_pointer_is_one_message_and_changes_nothing) { in_every_build(d04); }

/* --- 5: free walked the headers of other regions --------------------------------------------- */

#define D05_BLOCKS 600u

struct d05_blocks {
    void *onchip[D05_BLOCKS];
    void *psram[D05_BLOCKS];
};

static void d05_work(void *context) {
    struct d05_blocks *blocks = context;
    for (uint32_t i = 0; i < D05_BLOCKS; i++) {
        uint32_t at = i * 7u % D05_BLOCKS;
        wm_heap_caps_free(blocks->onchip[at]);
        blocks->onchip[at] = wm_heap_caps_alloc(20 + i % 90, DEFAULT);
        blocks->onchip[at] = wm_heap_caps_realloc(blocks->onchip[at], 30 + i % 50, INTERNAL);
    }
    for (uint32_t i = 0; i < D05_BLOCKS; i++) {
        wm_heap_caps_free(blocks->onchip[i]);
    }
    wm_heap_print_stats();
}

/* PSRAM's pages have no rights while DMA works there, and its blocks are the neighbours, in
 * the order of allocation, of all that is freed meanwhile. One of their headers is smashed,
 * too: on the SDK the next free would have run into it. */
static void d05(const struct heap_build *build) {
    static struct d05_blocks blocks;
    struct recorder seen;
    heap_open(build, &seen);
    for (uint32_t i = 0; i < D05_BLOCKS; i++) {
        blocks.onchip[i] = wm_heap_caps_alloc(16 + i % 100, i % 3 == 0 ? SHARED : DEFAULT);
        blocks.psram[i] = wm_heap_caps_alloc(16 + i % 100, SPIRAM);
        CHECK(blocks.onchip[i] != NULL && blocks.psram[i] != NULL, "out of memory at %u", i);
    }
    uint32_t smashed = w800_address(blocks.psram[D05_BLOCKS / 2]) - build->header_size;
    memset(w800_pointer(smashed), 0xff, build->header_size);
    CHECK(w800_dma_start(0, W800_PSRAM_START, 64), "no transfer");
    CHECK(w800_guard(d05_work, &blocks), "a trap");
    check_no_event(&seen, "work on SRAM and DRAM while DMA works on PSRAM");
    CHECK(w800_dma_stop(0), "no stop");
    CHECK_EQ(wm_heap_caps_get_free_size(DEFAULT),
             build->state->regions[0].end - build->state->regions[0].start +
                 build->state->regions[1].end - build->state->regions[1].start,
             "on-chip memory, all free");
    wm_heap_caps_free(blocks.psram[D05_BLOCKS / 2]);
    check_one_fault(&seen, WM_HEAP_FAULT_SMASHED_HEADER, "the smashed block's own free");
}

Test(defects, d05_free_touches_its_own_region_only) { in_every_build(d05); }

/* --- 6: the checks in free were outside the critical section --------------------------------- */

#define D06_ROUNDS 12u
#define D06_ENTER_MICROSECONDS 2000u

struct d06 {
    pthread_barrier_t start;
    void *pointer;
    atomic_uint entered;
    atomic_uint double_frees;
    atomic_uint other_events;
};

static void d06_event(void *context, const struct w800_event *event) {
    struct d06 *race = context;
    bool wanted = event->kind == W800_EVENT_HEAP_FAULT &&
                  event->fault.kind == (uint32_t)WM_HEAP_FAULT_DOUBLE_FREE;
    atomic_fetch_add(wanted ? &race->double_frees : &race->other_events, 1);
}

static void *d06_racer(void *context) {
    struct d06 *race = context;
    for (uint32_t round = 0; round < D06_ROUNDS; round++) {
        pthread_barrier_wait(&race->start);
        atomic_fetch_add(&race->entered, 1);
        wm_heap_caps_free(race->pointer);
        pthread_barrier_wait(&race->start);
    }
    return NULL;
}

/* Two contexts free the same block while a third one holds the lock. Whatever they look at
 * before they take the lock themselves, they look at before either has freed: both would find
 * the block alive. Checked under the lock, one frees it and the other is told. */
static void d06_round(struct d06 *race, uint32_t round) {
    void *behind = round % 2 == 0 ? wm_heap_caps_alloc(8, EXEC) : NULL;
    uint32_t key = wm_heap_port_lock();
    pthread_barrier_wait(&race->start);
    while (atomic_load(&race->entered) < 2u * (round + 1)) {
        usleep(100);
    }
    usleep(D06_ENTER_MICROSECONDS);
    wm_heap_port_unlock(key);
    pthread_barrier_wait(&race->start);
    CHECK(atomic_load(&race->double_frees) == round + 1 && atomic_load(&race->other_events) == 0,
          "round %u: %u double frees, %u other events", round, atomic_load(&race->double_frees),
          atomic_load(&race->other_events));
    wm_heap_caps_free(behind);
    check_intact("after the race");
}

static void d06(const struct heap_build *build) {
    struct recorder seen;
    struct w800_config config = small_config(build, 2048);
    struct d06 race = {.pointer = NULL};
    pthread_t racers[2];
    heap_start(&config, &seen);
    w800_on_event(d06_event, &race);
    pthread_barrier_init(&race.start, NULL, 3);
    for (uint32_t i = 0; i < COUNT(racers); i++) {
        cr_assert_eq(pthread_create(&racers[i], NULL, d06_racer, &race), 0);
    }
    size_t all = wm_heap_get_free_size();
    for (uint32_t round = 0; round < D06_ROUNDS; round++) {
        race.pointer = wm_heap_caps_alloc(40, EXEC);
        d06_round(&race, round);
        CHECK_EQ(wm_heap_get_free_size(), all, "free bytes");
    }
    for (uint32_t i = 0; i < COUNT(racers); i++) {
        pthread_join(racers[i], NULL);
    }
    pthread_barrier_destroy(&race.start);
    CHECK_EQ(build->state->counters.frees, D06_ROUNDS + D06_ROUNDS / 2, "blocks freed");
}

Test(defects, d06_of_two_frees_at_once_one_is_told) { in_every_build(d06); }

/* --- 7: a double free was silent ----------------------------------------------------------------
 */

/* Not only at once, but also after the memory went to others: as the middle of a larger block,
 * merged with its neighbours, or behind all blocks. (The same address handed out again cannot
 * be told from a good free: so says the contract.) */
static void d07(const struct heap_build *build) {
    struct recorder seen;
    struct w800_config config = small_config(build, 2048);
    heap_start(&config, &seen);
    void *first = wm_heap_caps_alloc(40, EXEC);
    void *second = wm_heap_caps_alloc(40, EXEC);
    void *third = wm_heap_caps_alloc(40, EXEC);
    wm_heap_caps_free(second);
    wm_heap_caps_free(second);
    check_one_fault(&seen, WM_HEAP_FAULT_DOUBLE_FREE, "at once");
    wm_heap_caps_free(first);
    wm_heap_caps_free(second);
    check_one_fault(&seen, WM_HEAP_FAULT_DOUBLE_FREE, "merged with the block before");
    void *owner = wm_heap_caps_alloc(80, EXEC);
    CHECK(owner == first, "the new owner is elsewhere");
    struct still still = still_take();
    wm_heap_caps_free(second);
    check_one_fault(&seen, WM_HEAP_FAULT_INTERIOR_POINTER, "inside the new owner's block");
    still_check(&still, "a double free inside the new owner's block");
    wm_heap_caps_free(third);
    wm_heap_caps_free(third);
    check_one_fault(&seen, WM_HEAP_FAULT_DOUBLE_FREE, "behind all blocks");
    check_intact("after double frees");
}

Test(defects, d07_a_double_free_is_a_fault_and_frees_nobody_elses_block) { in_every_build(d07); }

/* --- 8: append -----------------------------------------------------------------------------------
 */

static void d08(const struct heap_build *build) {
    static const struct {
        const char *name;
        int result;
    } bad[] = {
        {NULL, WM_ERR_INVALID_PARAM},     {"", WM_ERR_INVALID_PARAM},
        {"FLASH", WM_ERR_INVALID_PARAM},  {"psram", WM_ERR_INVALID_PARAM},
        {"PSRAM2", WM_ERR_INVALID_PARAM}, {"PSRA", WM_ERR_INVALID_PARAM},
        {"SRAM", WM_ERR_INVALID_PARAM},   {"DRAM", WM_ERR_INVALID_PARAM},
        {"PSRAM", WM_ERR_FAILED}, /* the second time */
    };
    struct recorder seen;
    heap_open(build, &seen);
    void *old = wm_heap_caps_alloc(100, SPIRAM);
    void *onchip = wm_heap_caps_alloc(100, DEFAULT);
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct still still = still_take();
        const char *name = bad[i].name != NULL ? bad[i].name : "NULL";
        CHECK(wm_heap_append_to_heap(bad[i].name) == bad[i].result, "append of %s", name);
        check_one_fault(&seen, WM_HEAP_FAULT_BAD_APPEND, name);
        still_check(&still, name);
    }
    void *more = wm_heap_caps_alloc(100, SPIRAM);
    CHECK(more != NULL, "PSRAM is dead");
    wm_heap_caps_free(old);
    wm_heap_caps_free(more);
    wm_heap_caps_free(onchip);
    check_no_event(&seen, "frees after bad appends");
    check_intact("after bad appends");
}

Test(defects, d08_a_bad_append_says_so_and_changes_nothing) { in_every_build(d08); }

/* --- 9: a second init
 * ----------------------------------------------------------------------------- */

static void d09(const struct heap_build *build) {
    struct recorder seen;
    heap_open(build, &seen);
    void *block = wm_heap_caps_alloc(100, SHARED);
    for (uint32_t i = 0; i < 3; i++) {
        struct still still = still_take();
        wm_heap_init();
        check_one_fault(&seen, WM_HEAP_FAULT_INITIALIZED_TWICE, "init");
        still_check(&still, "a second init");
    }
    wm_heap_caps_free(block);
    check_no_event(&seen, "free after a second init");
}

Test(defects, d09_a_second_init_is_a_fault_and_changes_nothing) { in_every_build(d09); }

/* --- 10: realloc with DEFAULT moves a block out of DMA's reach: reported
 * ---------------------------- */

static void d10(const struct heap_build *build) {
    static const struct {
        uint32_t caps;
        uint32_t resize_caps;
        bool moves;
    } rows[] = {
        {SHARED, DEFAULT, true},  {SPIRAM, DEFAULT, true},   {SPIRAM, INTERNAL, true},
        {SHARED, 0, false},       {SPIRAM, 0, false},        {SHARED, SHARED, false},
        {SPIRAM, SPIRAM, false},  {DEFAULT, DEFAULT, false}, {EXEC, DEFAULT, false},
        {DEFAULT, SHARED, false},
    };
    struct recorder seen;
    heap_open(build, &seen);
    for (size_t i = 0; i < COUNT(rows); i++) {
        void *old = wm_heap_caps_alloc(40, caps_of(rows[i].caps));
        void *moved = wm_heap_caps_realloc(old, 80, caps_of(rows[i].resize_caps));
        CHECK(moved != NULL && seen.count == rows[i].moves &&
                  (seen.count == 0 || (seen.last.kind == W800_EVENT_REALLOC_MOVED &&
                                       seen.last.address == w800_address(old))),
              "a block with caps 0x%x resized with 0x%x: %u events", rows[i].caps,
              rows[i].resize_caps, seen.count);
        seen = (struct recorder){0};
        wm_heap_caps_free(moved);
    }
}

Test(defects, d10_a_realloc_that_leaves_the_reach_of_dma_is_reported) { in_every_build(d10); }

/* --- 11: counters
 * -------------------------------------------------------------------------------------- */

static void d11(const struct heap_build *build) {
    struct recorder seen;
    struct wm_heap_counters counters;
    struct w800_config config = small_config(build, 2048);
    for (uint32_t bit = 0; bit < 32; bit++) { /* of the size, smashed */
        heap_start(&config, &seen);
        void *block = wm_heap_caps_alloc(40, EXEC);
        void *behind = wm_heap_caps_alloc(40, EXEC);
        size_t free_bytes = wm_heap_get_free_size();
        w800_flip_bit(w800_address(block) - build->header_size + bit / 8, bit % 8);
        wm_heap_caps_free(block);
        wm_heap_caps_free(behind);
        CHECK_EQ(wm_heap_get_free_size(), free_bytes, "free bytes after a smashed size");
        check_one_fault(&seen, WM_HEAP_FAULT_SMASHED_HEADER, "smashed size");
        CHECK(wm_heap_caps_realloc(behind, 100, EXEC) == NULL, "a closed region serves");
        wm_heap_get_counters(&counters);
        CHECK_EQ(counters.refused, 2, "refused in a closed region");
        CHECK_EQ(counters.frees, 0, "frees");
    }
    heap_start(&config, &seen);
    size_t largest = wm_heap_caps_get_largest_free_block(EXEC);
    CHECK(wm_heap_caps_alloc(largest - build->header_size + 1, EXEC) == NULL, "too much");
    CHECK(wm_heap_caps_alloc(7, SPIRAM) == NULL, "memory that is not there");
    CHECK(wm_heap_caps_alloc(0, EXEC) == NULL, "nothing");
    void *all = wm_heap_caps_alloc(payload_bytes(build, (uint32_t)largest), EXEC);
    CHECK(all != NULL, "the largest free block does not serve what it holds");
    CHECK_EQ(wm_heap_caps_get_largest_free_block(EXEC), 0, "largest free block");
    wm_heap_get_counters(&counters);
    CHECK_EQ(counters.failed, 2, "failed allocations");
    CHECK_EQ(counters.largest_failed, largest - build->header_size + 1, "the largest of them");
    CHECK_EQ(counters.allocs, 1, "allocations");
}

Test(defects, d11_no_smashed_size_is_counted_and_every_failure_is) { in_every_build(d11); }

/* --- 12: calloc's product, and a minimum that never moved
 * ------------------------------------------------ */

static void d12(const struct heap_build *build) {
    static const size_t pairs[][2] = {
        {SIZE_MAX, 2},
        {SIZE_MAX / 2 + 1, 2},
        {(size_t)1 << 32, (size_t)1 << 32},
        {0x10001, 0x10000},
        {0x80000000u, 2},
        {0x10000, 0x10000},
        {0xffffffffu, 0xffffffffu},
        {SIZE_MAX / 8 + 2, 8},
        {3, SIZE_MAX / 3 + 1},
    };
    struct recorder seen;
    heap_open(build, &seen);
    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct still still = still_take();
        CHECK(wm_heap_caps_calloc(pairs[i][0], pairs[i][1], DEFAULT) == NULL,
              "calloc of %zu times %zu bytes", pairs[i][0], pairs[i][1]);
        CHECK_EQ(build->state->counters.failed, i + 1, "failed allocations");
        still_check(&still, "a calloc that cannot be");
    }
    size_t minimum = wm_heap_get_minimum_ever_free_size();
    uint8_t *zeroed = wm_heap_caps_calloc(10, 10, DEFAULT);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK(zeroed[i] == 0, "byte %u is 0x%02x", i, zeroed[i]);
    }
    CHECK_EQ(minimum - wm_heap_get_minimum_ever_free_size(), block_bytes(build, 100), "minimum");
    wm_heap_caps_free(zeroed);
    CHECK_EQ(minimum - wm_heap_get_minimum_ever_free_size(), block_bytes(build, 100), "minimum");
    check_no_event(&seen, "calloc");
}

Test(defects, d12_calloc_does_not_wrap_and_the_minimum_moves) { in_every_build(d12); }

/* --- 13: leaving the critical section enabled interrupts
 * ---------------------------------------------------- */

struct d13 {
    uint32_t depth; /* that each call must leave, and that faults and prints must find */
    uint32_t told;
    uint32_t wrong;
};

static void d13_look(struct d13 *expected) {
    expected->told++;
    expected->wrong += w800_lock_report().depth_now != expected->depth;
}

static void d13_event(void *context, const struct w800_event *event) {
    (void)event;
    d13_look(context);
}

static void d13_print(void *context, const char *text, size_t length) {
    (void)text;
    (void)length;
    d13_look(context);
}

static bool d13_visit(void *context, const struct wm_heap_block *block) {
    (void)context;
    (void)block;
    return true;
}

/* Every entry point once, well used and badly. */
static void d13_calls(struct d13 *expected) {
    struct wm_heap_counters counters;
    struct wm_heap_fault fault;
    struct wm_heap_block block;
    void *pointer = NULL;
#define D13(call)                                                                                  \
    do {                                                                                           \
        call;                                                                                      \
        CHECK(w800_lock_report().depth_now == expected->depth, "%s: depth %u, found %u", #call,    \
              w800_lock_report().depth_now, expected->depth);                                      \
    } while (0)
    D13(wm_heap_append_to_heap("NO"));
    D13(wm_heap_init());
    D13(pointer = wm_heap_caps_alloc(10, DEFAULT));
    D13(pointer = wm_heap_caps_realloc(pointer, 90, DEFAULT));
    D13(wm_heap_caps_realloc(pointer, SIZE_MAX, DEFAULT));
    D13(wm_heap_caps_alloc(SIZE_MAX, DEFAULT));
    D13(wm_heap_caps_alloc(8, INVALID));
    D13(wm_heap_get_usable_size(pointer));
    D13(wm_heap_get_block(pointer, &block));
    D13(wm_heap_check(WM_HEAP_NO_REGION, &fault));
    D13(wm_heap_check_block(pointer, &fault));
    D13(wm_heap_walk(0, d13_visit, NULL));
    D13(wm_heap_print_stats());
    D13(wm_heap_print_tracing(NULL));
    D13(wm_heap_print_tracing(pointer));
    D13(wm_heap_caps_free(pointer));
    D13(wm_heap_caps_free(pointer));
    D13(wm_heap_caps_realloc(pointer, 5, DEFAULT));
    D13(wm_heap_get_usable_size(pointer));
    D13(wm_heap_check_block(pointer, &fault));
    D13(wm_heap_caps_free(NULL));
    D13(wm_heap_caps_free(&counters));
    D13(wm_heap_caps_free(wm_heap_caps_calloc(3, 3, DEFAULT)));
    D13(wm_heap_caps_calloc(SIZE_MAX, 3, DEFAULT));
    D13(wm_heap_caps_free(wm_heap_caps_aligned_alloc(64, 3, DEFAULT)));
    D13(wm_heap_caps_aligned_alloc(3, 3, DEFAULT));
    D13(wm_heap_get_counters(&counters));
    D13(wm_heap_get_free_size());
    D13(wm_heap_caps_get_largest_free_block(DEFAULT));
    D13(wm_heap_set_realloc_in_place(false));
    D13(wm_heap_set_failed_callback(NULL, NULL));
#undef D13
    CHECK(expected->wrong == 0, "%u faults or prints came at another depth", expected->wrong);
    CHECK(expected->told >= 8, "faults and prints were not told");
}

/* A caller that holds the lock, an interrupt handler for instance, still holds it after each
 * call; one that does not, does not; and nobody is told anything inside. */
static void d13(const struct heap_build *build) {
    for (uint32_t depth = 0; depth <= 2; depth++) {
        struct recorder seen;
        struct d13 expected = {.depth = depth};
        uint32_t keys[2] = {0};
        heap_open(build, &seen);
        w800_on_event(d13_event, &expected);
        w800_on_print(d13_print, &expected);
        for (uint32_t i = 0; i < depth; i++) {
            keys[i] = wm_heap_port_lock();
        }
        d13_calls(&expected);
        for (uint32_t i = depth; i > 0; i--) {
            wm_heap_port_unlock(keys[i - 1]);
        }
        w800_on_print(NULL, NULL);
    }
}

Test(defects, d13_unlocking_restores_the_state_that_was_found) { in_every_build(d13); }
