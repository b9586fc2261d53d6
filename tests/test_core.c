/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of the SDK's calls, clause by clause, in all six builds: what each call
 * returns, what it leaves alone, what it counts and reports.
 */
#include "heap_fixture.h"

/* SRAM, DRAM and 2 MiB of PSRAM that has not joined yet. */
static void start(const struct heap_build *build, struct recorder *seen) {
    struct w800_config config = machine_config(build, 2 * MIB);
    heap_start(&config, seen);
}

static uint32_t alloc_at(size_t size, uint32_t caps) {
    return w800_address(wm_heap_caps_alloc(size, caps_of(caps)));
}

static void fill(void *ptr, uint32_t length, uint32_t seed) {
    uint8_t *bytes = ptr;
    for (uint32_t i = 0; i < length; i++) {
        bytes[i] = (uint8_t)(seed + i * 7u + (i >> 8));
    }
}

static bool filled(const void *ptr, uint32_t length, uint32_t seed) {
    const uint8_t *bytes = ptr;
    for (uint32_t i = 0; i < length; i++) {
        if (bytes[i] != (uint8_t)(seed + i * 7u + (i >> 8))) {
            return false;
        }
    }
    return true;
}

/* ---- numbers ------------------------------------------------------------------ */

/* Compiled into other people's firmware. */
Test(core, capabilities_and_results_are_the_sdks_numbers) {
    CHECK_EQ(DEFAULT, 0x01, "default");
    CHECK_EQ(INTERNAL, 0x02, "internal");
    CHECK_EQ(SPIRAM, 0x04, "PSRAM");
    CHECK_EQ(EXEC, 0x08, "code");
    CHECK_EQ(SHARED, 0x10, "DMA");
    CHECK_EQ(INVALID, 0x100000, "none");
    CHECK_EQ(WM_ERR_SUCCESS, 0, "success");
    CHECK_EQ(WM_ERR_FAILED, -1, "failed");
    CHECK_EQ(WM_ERR_INVALID_PARAM, -3, "invalid parameter");
}

/* ---- alloc -------------------------------------------------------------------- */

Test(core, headers_have_the_sdks_sizes) {
    static const struct {
        bool tracing;
        unsigned poisoning;
        uint32_t header;
        uint32_t block_of_100;
    } rows[] = {
        {false, 0, 16, 120}, {true, 0, 24, 128}, {false, 1, 24, 128},
        {false, 2, 24, 128}, {true, 1, 32, 136}, {true, 2, 32, 136},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct recorder seen;
        start(heap_build_find(rows[i].tracing, rows[i].poisoning), &seen);
        CHECK_EQ(alloc_at(100, DEFAULT), 0x20004120u + rows[i].header, "first block");
        CHECK_EQ(alloc_at(1, DEFAULT), 0x20004120u + rows[i].header + rows[i].block_of_100,
                 "second block");
        check_no_event(&seen, "two allocations");
    }
}

static void align_every_result(const struct heap_build *build) {
    struct recorder seen;
    for (uint32_t shift = 0; shift < 8; shift++) { /* of the region's bounds */
        struct w800_config config = small_config(build, 140u << 10);
        config.regions[0].start += shift;
        config.regions[0].end += 2 * shift;
        heap_start(&config, &seen);
        uint32_t first = SMALL_HEAP + (shift ? 8 : 0);
        uint32_t end = (config.regions[0].end - build->header_size) & ~7u;
        CHECK_EQ(wm_heap_get_free_size(), end - first, "free bytes of a shifted region");
        CHECK_EQ(alloc_at(1, DEFAULT), first + build->header_size, "first block");
        for (uint32_t size = 1; size < 300; size++) {
            void *a = wm_heap_caps_alloc(size, DEFAULT);
            void *b = wm_heap_caps_calloc(1, size, DEFAULT);
            void *c = wm_heap_caps_realloc(NULL, size, DEFAULT);
            a = wm_heap_caps_realloc(a, size + 13, DEFAULT);
            uintptr_t all = (uintptr_t)a | (uintptr_t)b | (uintptr_t)c;
            CHECK(a && b && c && (all & 7u) == 0, "size %u: %p %p %p", size, a, b, c);
            wm_heap_caps_free(b);
            wm_heap_caps_free(size % 2 ? a : c);
        }
        check_intact("after all sizes");
    }
}

Test(core, every_result_is_aligned_to_8) { in_every_build(align_every_result); }

static const size_t impossible_sizes[] = {
    0x80000000u,  0x80000001u,    0xffffffffu,   0x100000000u, 0x100000001u, 0x100000008u,
    0x180000000u, 0x10000000000u, SIZE_MAX - 7u, SIZE_MAX,     0x7fffffffu, /* possible, but no
                                                                               region has it */
};

static void refuse_impossible_sizes(const struct heap_build *build) {
    struct recorder seen;
    struct wm_heap_counters counters;
    start(build, &seen);
    char *block = wm_heap_caps_alloc(64, DEFAULT);
    fill(block, 64, 3);
    for (size_t i = 0; i < COUNT(impossible_sizes); i++) {
        size_t size = impossible_sizes[i];
        struct still still = still_take();
        CHECK(!wm_heap_caps_alloc(size, DEFAULT), "alloc of %zu", size);
        CHECK(!wm_heap_caps_calloc(1, size, DEFAULT), "calloc of 1 x %zu", size);
        CHECK(!wm_heap_caps_calloc(size, 1, DEFAULT), "calloc of %zu x 1", size);
        CHECK(!wm_heap_caps_aligned_alloc(64, size, DEFAULT), "aligned alloc of %zu", size);
        CHECK(!wm_heap_caps_realloc(NULL, size, DEFAULT), "realloc of NULL to %zu", size);
        CHECK(!wm_heap_caps_realloc(block, size, DEFAULT), "realloc to %zu", size);
        still_check(&still, "an impossible size");
    }
    CHECK(filled(block, 64, 3), "a failed realloc changed the block");
    wm_heap_get_counters(&counters);
    CHECK_EQ(counters.failed, 6 * COUNT(impossible_sizes), "failures counted");
    CHECK_EQ(counters.largest_failed, 0xffffffffu, "largest failure, in 32 bits");
    check_no_event(&seen, "impossible sizes");
}

Test(core, sizes_no_block_can_hold_give_null_and_change_nothing) {
    in_every_build(refuse_impossible_sizes);
}

static void give_nothing_for_nothing(const struct heap_build *build) {
    struct recorder seen;
    struct wm_heap_counters counters;
    start(build, &seen);
    struct still still = still_take();
    CHECK(!wm_heap_caps_alloc(0, DEFAULT) && !wm_heap_caps_alloc(0, INVALID) &&
              !wm_heap_caps_calloc(0, 8, DEFAULT) && !wm_heap_caps_calloc(8, 0, DEFAULT) &&
              !wm_heap_caps_calloc(0, SIZE_MAX, DEFAULT) &&
              !wm_heap_caps_aligned_alloc(64, 0, DEFAULT) &&
              !wm_heap_caps_realloc(NULL, 0, DEFAULT),
          "something for nothing");
    wm_heap_caps_free(NULL);
    still_check(&still, "size 0");
    wm_heap_get_counters(&counters);
    CHECK_EQ(counters.failed + counters.allocs + counters.frees, 0, "counted");
    check_no_event(&seen, "size 0 and NULL");
}

Test(core, size_0_gives_null_and_is_no_failure) { in_every_build(give_nothing_for_nothing); }

static void take_caps_0_for_default(const struct heap_build *build) {
    struct recorder seen;
    struct wm_heap_block block;
    start(build, &seen);
    void *ptr = wm_heap_caps_alloc(40, caps_of(0));
    CHECK(wm_heap_get_block(ptr, &block), "no block");
    CHECK_EQ(block.caps, DEFAULT, "caps of a block asked for with 0");
    ptr = wm_heap_caps_realloc(NULL, 40, caps_of(0));
    CHECK(wm_heap_get_block(ptr, &block), "no block");
    CHECK_EQ(block.caps, DEFAULT, "caps of a block made by realloc with 0");
}

Test(core, caps_0_means_default) { in_every_build(take_caps_0_for_default); }

static void zero_what_calloc_returns(const struct heap_build *build) {
    static const uint8_t zeros[3000];
    struct recorder seen;
    start(build, &seen);
    for (uint32_t size = 1; size <= sizeof zeros; size += 37) {
        void *dirty = wm_heap_caps_alloc(size, DEFAULT);
        memset(dirty, 0xee, size);
        wm_heap_caps_free(dirty);
        void *clean = wm_heap_caps_calloc(size, 1, DEFAULT);
        CHECK(clean == dirty, "size %u: not the memory that was dirtied", size);
        CHECK(memcmp(clean, zeros, size) == 0, "size %u: not zero", size);
        wm_heap_caps_free(clean);
    }
    check_no_event(&seen, "calloc");
}

Test(core, calloc_zeroes_memory_that_was_used) { in_every_build(zero_what_calloc_returns); }

/* The macros pass the call site on; firmware without tracing links to these. */
#define CORE_FUNCTIONS(build)                                                                      \
    void *alloc_##build(size_t, wm_heap_cap_type_t) __asm__("wm_heap_caps_alloc_" #build);         \
    void *realloc_##build(void *, size_t,                                                          \
                          wm_heap_cap_type_t) __asm__("wm_heap_caps_realloc_" #build)
CORE_FUNCTIONS(none);
CORE_FUNCTIONS(trace);
CORE_FUNCTIONS(light);
CORE_FUNCTIONS(comp);
CORE_FUNCTIONS(tlight);
CORE_FUNCTIONS(tcomp);

Test(core, the_functions_behind_the_macros_do_the_same_without_a_call_site) {
    static const struct {
        void *(*alloc)(size_t, wm_heap_cap_type_t);
        void *(*realloc)(void *, size_t, wm_heap_cap_type_t);
        const char *build;
    } rows[] = {
        {alloc_none, realloc_none, "none"},       {alloc_trace, realloc_trace, "trace"},
        {alloc_light, realloc_light, "light"},    {alloc_comp, realloc_comp, "comp"},
        {alloc_tlight, realloc_tlight, "tlight"}, {alloc_tcomp, realloc_tcomp, "tcomp"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct recorder seen;
        struct wm_heap_block block;
        start(heap_builds[0], &seen);
        for (size_t b = 0; strcmp(build_name(), rows[i].build) != 0; b++) {
            start(heap_builds[b], &seen);
        }
        const struct heap_build *build = w800_config()->build;
        void *ptr = rows[i].alloc(100, SHARED);
        CHECK_EQ(w800_address(ptr), DRAM_HEAP + build->header_size, "alloc");
        ptr = rows[i].realloc(ptr, 50, caps_of(0));
        CHECK_EQ(w800_address(ptr), DRAM_HEAP + block_bytes(build, 100) + build->header_size,
                 "realloc");
        CHECK(wm_heap_get_block(ptr, &block) && block.requested == 50 && block.site == 0 &&
                  block.line == 0 && block.sequence == 2,
              "%u requested, site %u:%u, sequence %u", block.requested, block.site, block.line,
              block.sequence);
    }
}

/* ---- realloc ------------------------------------------------------------------ */

static void keep_contents(const struct heap_build *build) {
    static const uint32_t sizes[] = {1, 3, 4, 8, 15, 16, 17, 24, 31, 100, 255, 1000, 4096, 20000};
    struct recorder seen;
    start(build, &seen);
    for (size_t i = 0; i < COUNT(sizes) * COUNT(sizes); i++) {
        uint32_t from = sizes[i / COUNT(sizes)];
        uint32_t to = sizes[i % COUNT(sizes)];
        void *old = wm_heap_caps_alloc(from, DEFAULT);
        void *wall = wm_heap_caps_alloc(8, DEFAULT);
        fill(old, from, from);
        fill(wall, 8, 1);
        void *moved = wm_heap_caps_realloc(old, to, DEFAULT);
        CHECK(moved && moved != old, "from %u to %u: %p, was %p", from, to, moved, old);
        CHECK(filled(moved, from < to ? from : to, from), "from %u to %u: contents", from, to);
        CHECK(filled(wall, 8, 1), "from %u to %u: wrote into the neighbour", from, to);
        wm_heap_caps_free(moved);
        wm_heap_caps_free(wall);
    }
    check_intact("after all reallocs");
    check_no_event(&seen, "realloc");
}

Test(core, realloc_keeps_the_contents) { in_every_build(keep_contents); }

/* Even to shrink: allocate first, then free. In 2,048 bytes a block of 1,200 leaves no
 * room for one of 1,000. */
static void keep_block_when_realloc_fails(const struct heap_build *build) {
    struct recorder seen;
    struct w800_config config = small_config(build, 2048);
    heap_start(&config, &seen);
    void *block = wm_heap_caps_alloc(1200, DEFAULT);
    fill(block, 1200, 9);
    static const struct {
        size_t size;
        uint32_t caps;
    } rows[] = {{1000, 0}, {1000, DEFAULT}, {8, SHARED}, {8, INVALID}, {8, SPIRAM}, {SIZE_MAX, 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct still still = still_take();
        CHECK(!wm_heap_caps_realloc(block, rows[i].size, caps_of(rows[i].caps)), "row %zu", i);
        still_check(&still, "a realloc that fails");
    }
    CHECK(filled(block, 1200, 9), "contents");
    uint32_t moved = w800_address(wm_heap_caps_realloc(block, 500, caps_of(0)));
    CHECK_EQ(moved, w800_address(block) + block_bytes(build, 1200), "shrunk block");
    CHECK(filled(w800_pointer(moved), 500, 9), "contents after the move");
    check_no_event(&seen, "realloc");
}

Test(core, a_realloc_that_fails_keeps_the_block_even_one_that_shrinks) {
    in_every_build(keep_block_when_realloc_fails);
}

static void follow_caps_of_latest_call(const struct heap_build *build) {
    static const struct {
        uint32_t caps;  /* of the call */
        uint32_t after; /* of the block */
        uint32_t region;
    } rows[] = {
        {SHARED, SHARED, 1},       {0, SHARED, 1},      {DEFAULT, DEFAULT, 0},
        {0, DEFAULT, 0},           {SPIRAM, SPIRAM, 2}, {0, SPIRAM, 2},
        {EXEC, EXEC, 0},           {0, EXEC, 0},        {INTERNAL | SHARED, INTERNAL | SHARED, 1},
        {0, INTERNAL | SHARED, 1},
    };
    struct recorder seen;
    start(build, &seen);
    CHECK_EQ(wm_heap_append_to_heap("PSRAM"), WM_ERR_SUCCESS, "append");
    void *ptr = NULL;
    for (uint32_t i = 0; i < COUNT(rows); i++) {
        ptr = wm_heap_caps_realloc(ptr, 100 + 8 * i, caps_of(rows[i].caps));
        struct wm_heap_block block;
        CHECK(wm_heap_get_block(ptr, &block), "row %u: no block", i);
        CHECK_EQ(block.caps, rows[i].after, "caps of the block");
        const struct wm_heap_region_config *region = &w800_config()->regions[rows[i].region];
        CHECK(block.address >= region->start && block.address < region->end,
              "row %u: 0x%08x is not in %s", i, block.address, region->name);
    }
}

Test(core, realloc_with_caps_0_keeps_those_of_the_latest_call) {
    in_every_build(follow_caps_of_latest_call);
}

static void free_by_realloc_to_0(const struct heap_build *build) {
    struct recorder seen;
    start(build, &seen);
    size_t before = wm_heap_get_free_size();
    void *ptr = wm_heap_caps_realloc(NULL, 700, DEFAULT);
    CHECK_EQ(before - wm_heap_get_free_size(), block_bytes(build, 700), "taken by realloc(NULL)");
    CHECK(!wm_heap_caps_realloc(ptr, 0, DEFAULT), "realloc to 0 returns something");
    CHECK_EQ(wm_heap_get_free_size(), before, "free bytes after realloc to 0");
    struct wm_heap_counters counters;
    wm_heap_get_counters(&counters);
    CHECK(counters.allocs == 1 && counters.frees == 1 && counters.failed == 0,
          "%u allocs, %u frees, %u failed", counters.allocs, counters.frees, counters.failed);
    check_no_event(&seen, "realloc");
}

Test(core, realloc_of_null_allocates_and_to_0_frees) { in_every_build(free_by_realloc_to_0); }

/* ---- counters ------------------------------------------------------------------ */

static void count_calls(const struct heap_build *build) {
    struct recorder seen;
    struct wm_heap_counters counters;
    start(build, &seen);
    void *a = wm_heap_caps_alloc(10, DEFAULT);
    void *b = wm_heap_caps_calloc(2, 10, DEFAULT);
    void *c = wm_heap_caps_aligned_alloc(128, 10, DEFAULT);
    a = wm_heap_caps_realloc(a, 50, DEFAULT); /* one alloc, one free */
    wm_heap_caps_free(b);
    (void)!wm_heap_caps_alloc(300000, DEFAULT);
    (void)!wm_heap_caps_realloc(a, 200000, DEFAULT);
    (void)!wm_heap_caps_alloc(10, INVALID);
    wm_heap_caps_free(a);
    wm_heap_caps_free(c);
    wm_heap_get_counters(&counters);
    CHECK_EQ(counters.allocs, 4, "allocs");
    CHECK_EQ(counters.frees, 4, "frees");
    CHECK_EQ(counters.failed, 3, "failed");
    CHECK_EQ(counters.largest_failed, 300000, "largest failed");
    CHECK_EQ(counters.faults + counters.refused, 0, "faults and refusals");
}

Test(core, counters_count_what_happened) { in_every_build(count_calls); }

static void track_minimum(const struct heap_build *build) {
    struct recorder seen;
    start(build, &seen);
    size_t all = wm_heap_get_free_size();
    CHECK_EQ(wm_heap_get_minimum_ever_free_size(), all, "minimum at the start");
    void *a = wm_heap_caps_alloc(1000, DEFAULT);
    void *b = wm_heap_caps_alloc(2000, DEFAULT);
    size_t low = all - block_bytes(build, 1000) - block_bytes(build, 2000);
    wm_heap_caps_free(a);
    CHECK_EQ(wm_heap_get_minimum_ever_free_size(), low, "minimum after a free");
    (void)!wm_heap_caps_alloc(0x7fffffff, DEFAULT);
    CHECK_EQ(wm_heap_get_minimum_ever_free_size(), low, "minimum after a failure");
    b = wm_heap_caps_realloc(b, 3000, DEFAULT); /* both blocks exist for a moment */
    low = all - block_bytes(build, 2000) - block_bytes(build, 3000);
    CHECK_EQ(wm_heap_get_minimum_ever_free_size(), low, "minimum after a realloc");
    size_t psram = 2 * MIB - build->header_size;
    CHECK_EQ(wm_heap_append_to_heap("PSRAM"), WM_ERR_SUCCESS, "append");
    CHECK_EQ(wm_heap_get_minimum_ever_free_size(), all - block_bytes(build, 3000) + psram,
             "minimum after the append: the total then");
    CHECK_EQ(wm_heap_get_free_size(), all - block_bytes(build, 3000) + psram, "free bytes");
    wm_heap_caps_free(b);
    CHECK_EQ(wm_heap_get_free_size(), all + psram, "free bytes at the end");
}

Test(core, the_minimum_moves_on_allocation_and_restarts_at_the_append) {
    in_every_build(track_minimum);
}

/* ---- append and init ----------------------------------------------------------- */

static void refuse_bad_appends(const struct heap_build *build) {
    static const char *const bad[] = {NULL,   "",       "SRAM",   "DRAM",      "psram",
                                      "PSRA", "PSRAM ", "PSRAM2", "SRAM\nDRAM"};
    struct recorder seen;
    start(build, &seen);
    CHECK(!wm_heap_caps_alloc(8, SPIRAM), "PSRAM serves before its append");
    for (int joined = 0; joined <= 1; joined++) {
        for (size_t i = 0; i < COUNT(bad); i++) {
            struct still still = still_take();
            CHECK_EQ(wm_heap_append_to_heap(bad[i]), WM_ERR_INVALID_PARAM, "bad append");
            still_check(&still, "a bad append");
            CHECK_EQ(seen.last.fault.region,
                     i == 2   ? 0
                     : i == 3 ? 1
                              : WM_HEAP_NO_REGION,
                     "its region");
            check_one_fault(&seen, WM_HEAP_FAULT_BAD_APPEND, "a bad append");
        }
        if (!joined) {
            CHECK_EQ(wm_heap_append_to_heap("PSRAM"), WM_ERR_SUCCESS, "append");
            check_no_event(&seen, "append");
        }
    }
    CHECK_EQ(alloc_at(8, SPIRAM), W800_PSRAM_START + build->header_size, "first block of PSRAM");
    struct still still = still_take();
    CHECK_EQ(wm_heap_append_to_heap("PSRAM"), WM_ERR_FAILED, "second append");
    still_check(&still, "a second append");
    CHECK_EQ(seen.last.fault.region, 2, "its region");
    check_one_fault(&seen, WM_HEAP_FAULT_BAD_APPEND, "a second append");
    wm_heap_caps_free(w800_pointer(W800_PSRAM_START + build->header_size));
    check_intact("after all appends");
    check_no_event(&seen, "free of an older block of PSRAM");
}

Test(core, bad_appends_say_so_and_change_nothing) { in_every_build(refuse_bad_appends); }

static void fail_to_append_what_is_not_fitted(const struct heap_build *build) {
    struct recorder seen;
    struct w800_config config = machine_config(build, 0);
    heap_start(&config, &seen);
    struct still still = still_take();
    CHECK_EQ(wm_heap_append_to_heap("PSRAM"), WM_ERR_FAILED, "append of no PSRAM");
    still_check(&still, "append of no PSRAM");
    check_one_fault(&seen, WM_HEAP_FAULT_BAD_APPEND, "append of no PSRAM");
    CHECK(!wm_heap_caps_alloc(8, SPIRAM), "PSRAM that is not there serves");
}

Test(core, psram_that_is_not_fitted_does_not_join) {
    in_every_build(fail_to_append_what_is_not_fitted);
}

static void refuse_second_init(const struct heap_build *build) {
    struct recorder seen;
    start(build, &seen);
    void *block = wm_heap_caps_alloc(500, DEFAULT);
    fill(block, 500, 5);
    struct still still = still_take();
    wm_heap_init();
    still_check(&still, "a second init");
    check_one_fault(&seen, WM_HEAP_FAULT_INITIALIZED_TWICE, "a second init");
    wm_heap_caps_free(block);
    check_no_event(&seen, "free after a second init");
}

Test(core, a_second_init_is_a_fault_and_changes_nothing) { in_every_build(refuse_second_init); }

static void call_too_early(uint32_t call) {
    void *ptr = w800_pointer(SRAM_HEAP + 64);
    void *got = NULL;
    switch (call) {
    case 0:
        got = wm_heap_caps_alloc(8, DEFAULT);
        break;
    case 1:
        got = wm_heap_caps_calloc(1, 8, DEFAULT);
        break;
    case 2:
        got = wm_heap_caps_aligned_alloc(64, 8, DEFAULT);
        break;
    case 3:
        got = wm_heap_caps_realloc(NULL, 8, DEFAULT);
        break;
    case 4:
        got = wm_heap_caps_realloc(ptr, 8, DEFAULT);
        break;
    case 5:
        wm_heap_caps_free(ptr);
        break;
    case 6:
        CHECK_EQ(wm_heap_append_to_heap("PSRAM"), WM_ERR_FAILED, "append before init");
        break;
    default:
        CHECK_EQ(wm_heap_get_usable_size(ptr), 0, "usable size before init");
        break;
    }
    CHECK(got == NULL, "call %u returned %p before init", call, got);
}

static void report_early_calls(const struct heap_build *build) {
    for (uint32_t call = 0; call <= 7; call++) {
        struct recorder seen = {0};
        struct w800_config config = machine_config(build, 2 * MIB);
        machine_start(&config);
        w800_on_event(record_event, &seen);
        call_too_early(call);
        check_one_fault(&seen, WM_HEAP_FAULT_NOT_INITIALIZED, "a call before init");
        CHECK_EQ(wm_heap_get_free_size() + wm_heap_get_minimum_ever_free_size(), 0,
                 "bytes before init");
        wm_heap_init();
        CHECK_EQ(alloc_at(8, DEFAULT), SRAM_HEAP + build->header_size, "first block");
        check_no_event(&seen, "init after an early call");
        check_intact("init after an early call");
    }
}

Test(core, a_call_before_init_is_a_fault_and_does_no_harm) { in_every_build(report_early_calls); }

/* ---- the port's table ----------------------------------------------------------- */

static void refuse_bad_regions(const struct heap_build *build) {
    /* The second row is bad; the first serves all the same. */
    const uint32_t header = build->header_size;
    const uint32_t least = block_bytes(build, 1);
    const struct {
        uint32_t start;
        uint32_t end;
        bool good;
    } rows[] = {
        {0x20030000, 0x20030000, false},                      /* empty */
        {0x20030000, 0x20030000 + header, false},             /* end marker only */
        {0x20030000, 0x20030000 + header + least - 1, false}, /* a byte short */
        {0x20030000, 0x20030000 + header + least, true},      /* one block */
        {0x20030008, 0x20030000, false},                      /* inside out */
        {0, 0, false},                                        /* nowhere */
        {8, 0, false},                                        /* ends where numbers begin */
        {0x20020000, 0x20021000, false},                      /* inside the first */
        {0x20003000, 0x20005000, false},                      /* over its start */
        {0x20027000, 0x20029000, false},                      /* over its end */
        {0x20003000, 0x2002a000, false},                      /* around it */
        {0x20027ff8, 0x20029000, false},                      /* over its end marker */
        {0x20028000, 0x20029000, true},                       /* touches it */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct recorder seen;
        struct w800_config config = machine_config(build, 0);
        config.regions[1].start = rows[i].start;
        config.regions[1].end = rows[i].end;
        config.region_count = 2;
        heap_start(&config, &seen);
        if (rows[i].good) {
            check_no_event(&seen, "a good region");
        } else {
            CHECK_EQ(seen.last.fault.region, 1, "the bad region");
            check_one_fault(&seen, WM_HEAP_FAULT_BAD_REGION, "a bad region");
        }
        CHECK((wm_heap_caps_alloc(1, SHARED) != NULL) == rows[i].good, "row %zu: serves", i);
        CHECK_EQ(alloc_at(8, DEFAULT), SRAM_HEAP + header, "first block of the other region");
        check_intact("a table of regions");
    }
}

Test(core, a_region_that_cannot_be_is_a_fault_and_the_others_serve) {
    in_every_build(refuse_bad_regions);
}

/* A port whose table has a row too many: the first three are the heap's. */
static void refuse_fourth_row(const struct heap_build *build) {
    struct recorder seen = {0};
    struct w800_config config = machine_config(build, 0);
    struct w800_config *running;
    machine_start(&config);
    w800_on_event(record_event, &seen);
    const struct w800_config *inside = w800_config();
    memcpy(&running, &inside, sizeof running);
    running->region_count = WM_HEAP_REGIONS_MAX + 1;
    wm_heap_init();
    running->region_count = WM_HEAP_REGIONS_MAX;
    CHECK_EQ(seen.last.fault.region, WM_HEAP_NO_REGION, "the region");
    check_one_fault(&seen, WM_HEAP_FAULT_BAD_REGION, "four rows");
    CHECK_EQ(build->state->region_count, WM_HEAP_REGIONS_MAX, "regions");
    CHECK_EQ(alloc_at(8, SHARED), DRAM_HEAP + build->header_size, "first block of DRAM");
    check_intact("a table of four rows");
}

Test(core, a_row_too_many_is_a_fault_and_the_others_serve) { in_every_build(refuse_fourth_row); }
