/* SPDX-License-Identifier: Apache-2.0
 *
 * What the heap has beyond the SDK, for the people who debug: sizes by capability, aligned
 * allocation, usable sizes, the walker, the check, the in-place option; and that none of it
 * moves an address of an ordinary call.
 */
#include "heap_fixture.h"

/* ---- sizes by capability ------------------------------------------------------------- */

static void track_sizes(const struct heap_build *build) {
    struct twin twin;
    struct w800_config config = layout_config(build, &heap_layouts[0]);
    twin_start(&twin, &config);
    uint32_t header = build->header_size;
    size_t sram = ((0x20028000u - header) & ~7u) - 0x20004120u;
    size_t dram = ((0x20047ffcu - header) & ~7u) - 0x20028c00u;
    CHECK_EQ(wm_heap_caps_get_free_size(EXEC), sram, "SRAM");
    CHECK_EQ(wm_heap_caps_get_free_size(SHARED), dram, "DRAM");
    CHECK_EQ(wm_heap_caps_get_free_size(INTERNAL), sram + dram, "both");
    CHECK_EQ(wm_heap_caps_get_largest_free_block(DEFAULT), sram, "the larger one");
    CHECK_EQ(wm_heap_caps_get_free_size(SPIRAM), 0, "PSRAM before its append");
    void *a = twin_alloc(&twin, 100000, EXEC);
    twin_free(&twin, a);
    void *b = twin_alloc(&twin, 90000, SHARED);
    /* low at different times: the minimum of the sum is not the sum of the minima */
    CHECK_EQ(wm_heap_caps_get_minimum_free_size(EXEC), sram - block_bytes(build, 100000), "SRAM");
    CHECK_EQ(wm_heap_caps_get_minimum_free_size(SHARED), dram - block_bytes(build, 90000), "DRAM");
    CHECK_EQ(wm_heap_caps_get_minimum_free_size(caps_of(0)),
             sram + dram - block_bytes(build, 100000), "both");
    twin_compare(&twin);
    twin_append(&twin);
    twin_compare(&twin);
    CHECK_EQ(wm_heap_caps_get_minimum_free_size(SPIRAM), 2 * MIB - header, "PSRAM");
    CHECK_EQ(wm_heap_caps_get_minimum_free_size(INTERNAL),
             sram - block_bytes(build, 100000) + dram - block_bytes(build, 90000),
             "with others beside them the sum of their minima");
    twin_free(&twin, twin_alloc(&twin, 1000000, SPIRAM));
    twin_free(&twin, b);
    twin_compare(&twin);
    twin_stop(&twin);
}

Test(debug, sizes_by_capability_are_those_of_the_regions_that_serve) {
    in_every_build(track_sizes);
}

/* Another board may let DRAM join late: then the sum over both starts anew. */
static void track_sizes_of_late_region(const struct heap_build *build) {
    struct twin twin;
    struct w800_config config = layout_config(build, &heap_layouts[1]);
    config.regions[1].deferred = true;
    twin_start(&twin, &config);
    twin_free(&twin, twin_alloc(&twin, 50000, DEFAULT));
    CHECK_EQ(wm_heap_append_to_heap("DRAM"), WM_ERR_SUCCESS, "append");
    CHECK(model_append(twin.model, "DRAM"), "the model refuses the append");
    twin_compare(&twin);
    twin_alloc(&twin, 60000, SHARED);
    twin_compare(&twin);
    twin_stop(&twin);
}

Test(debug, minima_by_capability_restart_when_a_region_of_theirs_joins) {
    in_every_build(track_sizes_of_late_region);
}

static void follow_largest_block(const struct heap_build *build) {
    struct twin twin;
    struct w800_config config = small_config(build, 32768);
    void *blocks[20];
    twin_start(&twin, &config);
    for (uint32_t i = 0; i < COUNT(blocks); i++) {
        blocks[i] = twin_alloc(&twin, 100 + 64 * (i * 7 % 20), DEFAULT);
    }
    for (uint32_t i = 0; i < COUNT(blocks); i++) {
        twin_free(&twin, blocks[i * 3 % 20]);
        size_t largest = wm_heap_caps_get_largest_free_block(DEFAULT);
        twin_compare(&twin);
        /* what it says fits, fits; a byte more does not */
        CHECK(!twin_alloc(&twin, payload_bytes(build, (uint32_t)largest) + 1, DEFAULT), "too much");
        twin_free(&twin, twin_alloc(&twin, payload_bytes(build, (uint32_t)largest), DEFAULT));
    }
    twin_stop(&twin);
}

Test(debug, the_largest_free_block_is_the_largest_that_can_be_had) {
    in_every_build(follow_largest_block);
}

/* ---- aligned allocation ---------------------------------------------------------------- */

/* In a heap with holes, whose starts shift by 8 from round to round. */
static void align_in_holes(const struct heap_build *build) {
    static const uint32_t sizes[] = {1, 8, 13, 40, 100, 777, 1000, 4096};
    for (uint32_t round = 0; round < 16; round++) {
        struct twin twin;
        struct w800_config config = layout_config(build, &heap_layouts[0]);
        void *holes[4];
        twin_start(&twin, &config);
        twin_alloc(&twin, 8 + 8 * round, DEFAULT);
        for (uint32_t i = 0; i < COUNT(holes); i++) {
            holes[i] = twin_alloc(&twin, 300u << i, DEFAULT);
            twin_alloc(&twin, 50, DEFAULT);
        }
        for (uint32_t i = 0; i < COUNT(holes); i++) {
            twin_free(&twin, holes[i]);
        }
        for (uint32_t alignment = 8; alignment <= 4096; alignment *= 2) {
            for (uint32_t s = 0; s < COUNT(sizes); s++) {
                char *ptr = twin_aligned(&twin, alignment, sizes[s], DEFAULT);
                CHECK(ptr && ((uintptr_t)ptr & (alignment - 1)) == 0, "%u bytes at %u: %p",
                      sizes[s], alignment, (void *)ptr);
                memset(ptr, 0xff, sizes[s]);
                twin_compare(&twin);
                if (s % 2 == round % 2) {
                    twin_free(&twin, ptr);
                }
            }
        }
        twin_compare(&twin);
        twin_stop(&twin);
    }
}

Test(debug, aligned_blocks_stand_where_the_model_says) { in_every_build(align_in_holes); }

/* Regions in which the request just fits, or fails by up to 16 bytes. */
static void align_at_the_end(const struct heap_build *build) {
    for (uint32_t alignment = 8; alignment <= 4096; alignment *= 2) {
        uint32_t room = block_bytes(build, 100) + alignment + block_bytes(build, 1);
        for (uint32_t bytes = room - 16; bytes <= room + 2 * build->header_size + 16; bytes += 8) {
            struct twin twin;
            struct w800_config config = small_config(build, bytes);
            twin_start(&twin, &config);
            void *ptr = twin_aligned(&twin, alignment, 100, DEFAULT);
            CHECK((ptr != NULL) == (bytes >= room || alignment == 8), "alignment %u in %u bytes",
                  alignment, bytes);
            twin_compare(&twin);
            twin_free(&twin, ptr);
            CHECK_EQ(wm_heap_caps_get_largest_free_block(DEFAULT), bytes, "healed heap");
            twin_stop(&twin);
        }
    }
}

Test(debug, an_aligned_request_fits_with_its_alignment_and_a_smallest_block) {
    in_every_build(align_at_the_end);
}

static void refuse_alignments(const struct heap_build *build) {
    struct recorder seen;
    struct wm_heap_counters counters;
    struct w800_config config = machine_config(build, 0);
    heap_start(&config, &seen);
    uint32_t refused = 0;
    for (size_t i = 0; i <= 8192 + 64; i++) {
        size_t alignment = i <= 8192 ? i : (size_t)1 << (i - 8193) | (i % 2 ? 0x200000000 : 0);
        bool good = alignment >= 8 && alignment <= 4096 && (alignment & (alignment - 1)) == 0;
        struct still still = {0};
        if (!good && i > 8100) {
            still = still_take();
        }
        void *ptr = wm_heap_caps_aligned_alloc(alignment, 40, DEFAULT);
        CHECK((ptr != NULL) == good, "alignment %zu: %p", alignment, ptr);
        if (still.snapshot) {
            still_check(&still, "a bad alignment");
        }
        refused += !good;
        wm_heap_caps_free(ptr);
    }
    wm_heap_get_counters(&counters);
    CHECK_EQ(counters.failed, refused, "failures counted");
    CHECK_EQ(wm_heap_get_free_size(), wm_heap_get_minimum_ever_free_size() + block_bytes(build, 40),
             "free bytes");
    check_no_event(&seen, "alignments");
}

Test(debug, alignments_other_than_powers_of_two_from_8_to_4096_fail) {
    in_every_build(refuse_alignments);
}

/* ---- blocks ----------------------------------------------------------------------------- */

static void describe_blocks(const struct heap_build *build) {
    struct recorder seen;
    struct wm_heap_block block;
    struct w800_config config = machine_config(build, 0);
    heap_start(&config, &seen);
    wm_heap_caps_alloc(8, DEFAULT);
    void *ptr = wm_heap_caps_alloc_tracing(101, SHARED, "x.c", 42);
    CHECK(wm_heap_get_block(ptr, &block), "no block");
    CHECK(block.address == DRAM_HEAP && block.pointer == w800_address(ptr) && block.live &&
              block.size == block_bytes(build, 101) && block.requested == 101 &&
              block.caps == SHARED && block.sequence == 2,
          "block 0x%08x, pointer 0x%08x, %u bytes, %u requested, caps 0x%x, sequence %u",
          block.address, block.pointer, block.size, block.requested, block.caps, block.sequence);
    const char *site = wm_heap_port_site_name(block.site);
    CHECK(build->tracing ? site && strcmp(site, "x.c") == 0 && block.line == 42
                         : block.site == 0 && block.line == 0,
          "site %s:%u", site ? site : "(null)", block.line);
    uint32_t payload = w800_address(ptr);
    const uint32_t wrong[] = {0,           1,           payload - 8, payload + 8,
                              payload + 4, payload + 1, DRAM_HEAP,   SRAM_HEAP,
                              0x20000000,  0x30000000,  0xffffffff,  payload + 4096};
    struct still still = still_take();
    for (size_t i = 0; i < COUNT(wrong); i++) {
        CHECK(!wm_heap_get_block(w800_pointer(wrong[i]), &block), "0x%08x is a block", wrong[i]);
    }
    uint64_t high = 0x100000000u + payload; /* the same in its lower half */
    void *foreign = NULL;
    memcpy(&foreign, &high, sizeof foreign);
    CHECK(!wm_heap_get_block(foreign, &block), "a pointer over 4 GiB is a block");
    still_check(&still, "questions about blocks");
    wm_heap_caps_free(ptr);
    CHECK(!wm_heap_get_block(ptr, &block), "a freed block is a live one");
    check_no_event(&seen, "questions about blocks");
}

Test(debug, a_block_is_described_and_what_is_none_is_not) { in_every_build(describe_blocks); }

static void measure_usable(const struct heap_build *build) {
    struct recorder seen;
    struct w800_config config = small_config(build, 8192);
    heap_start(&config, &seen);
    CHECK_EQ(wm_heap_get_usable_size(NULL), 0, "of NULL");
    for (uint32_t size = 1; size <= 200; size++) {
        uint8_t *ptr = wm_heap_caps_alloc(size, DEFAULT);
        size_t usable = wm_heap_get_usable_size(ptr);
        CHECK_EQ(usable,
                 build->comprehensive
                     ? size
                     : ((size + build->header_size + 7u) & ~7u) - build->header_size,
                 "usable size");
        memset(ptr, 0xff, usable);
        check_intact("all that is usable was used");
        wm_heap_caps_free(ptr);
    }
    uint8_t *live = wm_heap_caps_alloc(64, DEFAULT);
    void *freed = wm_heap_caps_alloc(64, DEFAULT);
    wm_heap_caps_free(freed);
    CHECK_EQ(wm_heap_get_usable_size(live + 8), 0, "of an interior pointer");
    check_one_fault(&seen, WM_HEAP_FAULT_INTERIOR_POINTER, "interior pointer");
    CHECK_EQ(wm_heap_get_usable_size(freed), 0, "of a freed pointer");
    check_one_fault(&seen, WM_HEAP_FAULT_DOUBLE_FREE, "freed pointer");
    CHECK_EQ(wm_heap_get_usable_size(&seen), 0, "of a foreign pointer");
    check_one_fault(&seen, WM_HEAP_FAULT_FOREIGN_POINTER, "foreign pointer");
    CHECK_EQ(wm_heap_get_usable_size(live), wm_heap_get_usable_size(live), "still works");
    wm_heap_caps_free(live);
    check_no_event(&seen, "free");
}

Test(debug, all_of_the_usable_size_may_be_used) { in_every_build(measure_usable); }

struct visits {
    uint32_t count;
    uint32_t stop_after; /* 0: never */
    uint32_t last;
    uint32_t bytes;
};

static bool count_visit(void *context, const struct wm_heap_block *block) {
    struct visits *visits = context;
    CHECK(visits->count == 0 || block->address > visits->last, "0x%08x after 0x%08x",
          block->address, visits->last);
    visits->count++;
    visits->last = block->address;
    visits->bytes += block->size;
    return visits->count != visits->stop_after;
}

static void walk_regions(const struct heap_build *build) {
    struct recorder seen;
    struct w800_config config = machine_config(build, 2 * MIB);
    heap_start(&config, &seen);
    void *blocks[9];
    for (size_t i = 0; i < COUNT(blocks); i++) {
        blocks[i] = wm_heap_caps_alloc(100, DEFAULT);
    }
    wm_heap_caps_free(blocks[2]);
    wm_heap_caps_free(blocks[3]);
    wm_heap_caps_free(blocks[6]);
    /* 6 live, 2 holes, and the rest */
    for (uint32_t stop = 0; stop <= 9; stop++) {
        struct visits visits = {.stop_after = stop};
        CHECK(wm_heap_walk(0, count_visit, &visits), "walk that stops after %u", stop);
        CHECK_EQ(visits.count, stop == 0 ? 9 : stop, "visits");
        CHECK(stop != 0 || visits.bytes == ((0x20028000 - build->header_size) & ~7u) - SRAM_HEAP,
              "%u bytes", visits.bytes);
    }
    const uint32_t none[] = {2, 3, 4, 1000, 0x7fffffff, 0x80000000, WM_HEAP_NO_REGION};
    for (size_t i = 0; i < COUNT(none); i++) { /* 2 has not joined */
        struct visits visits = {0};
        CHECK(!wm_heap_walk(none[i], count_visit, &visits) && visits.count == 0,
              "region %u: %u visits", none[i], visits.count);
    }
    struct visits visits = {0};
    CHECK(wm_heap_walk(1, count_visit, &visits) && visits.count == 1, "DRAM: %u blocks",
          visits.count);
    check_no_event(&seen, "walks");
}

Test(debug, the_walker_visits_all_blocks_and_stops_when_told) { in_every_build(walk_regions); }

static void check_healthy_heaps(const struct heap_build *build) {
    struct recorder seen;
    struct wm_heap_fault fault = {.kind = WM_HEAP_FAULT_NONE};
    struct w800_config config = machine_config(build, 2 * MIB);
    heap_start(&config, &seen);
    void *blocks[40];
    for (uint32_t i = 0; i < COUNT(blocks); i++) {
        blocks[i] = wm_heap_caps_alloc(10 + 13 * i, DEFAULT);
    }
    for (uint32_t i = 0; i < COUNT(blocks); i += 3) {
        wm_heap_caps_free(blocks[i]);
        blocks[i] = NULL;
    }
    struct still still = still_take();
    for (uint32_t region = 0; region < WM_HEAP_REGIONS_MAX; region++) {
        CHECK(wm_heap_check(region, &fault), "region %u: %s", region,
              wm_heap_fault_name(fault.kind));
    }
    for (uint32_t i = 0; i < COUNT(blocks); i++) {
        CHECK(!blocks[i] || wm_heap_check_block(blocks[i], &fault), "block %u: %s", i,
              wm_heap_fault_name(fault.kind));
    }
    check_intact("all regions");
    still_check(&still, "checks");
    /* bad pointers: told in words, and nothing reported */
    CHECK(!wm_heap_check_block(NULL, &fault) && fault.kind == WM_HEAP_FAULT_FOREIGN_POINTER,
          "NULL: %s", wm_heap_fault_name(fault.kind));
    char *live = blocks[1];
    CHECK(!wm_heap_check_block(live + 8, &fault) && fault.kind == WM_HEAP_FAULT_INTERIOR_POINTER &&
              fault.expected == w800_address(live),
          "interior: %s, expected 0x%08x", wm_heap_fault_name(fault.kind), fault.expected);
    wm_heap_caps_free(live);
    CHECK(!wm_heap_check_block(live, &fault) && fault.kind == WM_HEAP_FAULT_DOUBLE_FREE,
          "freed: %s", wm_heap_fault_name(fault.kind));
    check_no_event(&seen, "checks");
}

Test(debug, the_check_finds_healthy_heaps_healthy_and_reports_nothing) {
    in_every_build(check_healthy_heaps);
}

/* ---- realloc in place ---------------------------------------------------------------------- */

/* In units of 128 bytes: the block, what lies behind it (free units, then a live block or
 * nothing up to the region's end), the new size, and whether it stays. */
static const struct {
    uint32_t block;
    uint32_t behind;
    bool wall;
    uint32_t size;
    bool stays;
} resizes[] = {
    {4, 0, true, 4, true},   {4, 0, true, 2, true},    {4, 2, true, 1, true},
    {4, 0, true, 5, false},  {4, 2, true, 5, true},    {4, 2, true, 6, true},
    {4, 2, true, 7, false},  {4, 6, false, 2, true},   {4, 6, false, 5, true},
    {4, 6, false, 10, true}, {4, 6, false, 11, false}, {4, 0, false, 5, false},
    {4, 0, false, 3, true},
};

static void resize_in_pictures(const struct heap_build *build) {
    for (size_t i = 0; i < COUNT(resizes); i++) {
        struct twin twin;
        uint32_t bytes = (1 + resizes[i].block + resizes[i].behind + resizes[i].wall) * 128;
        struct w800_config config = small_config(build, bytes);
        config.realloc_in_place = true;
        twin_start(&twin, &config);
        uint32_t old = payload_bytes(build, resizes[i].block * 128);
        uint32_t size = payload_bytes(build, resizes[i].size * 128);
        twin_alloc(&twin, payload_bytes(build, 128), DEFAULT);
        uint8_t *ptr = twin_alloc(&twin, old, DEFAULT);
        void *gap = NULL;
        if (resizes[i].behind) {
            gap = twin_alloc(&twin, payload_bytes(build, resizes[i].behind * 128), DEFAULT);
        }
        uint8_t *wall = resizes[i].wall ? twin_alloc(&twin, payload_bytes(build, 128), 0) : NULL;
        CHECK_EQ(wm_heap_get_free_size(), 0, "free bytes of the full heap");
        if (gap) {
            twin_free(&twin, gap);
        }
        memset(ptr, 0x3c, old);
        void *now = twin_realloc(&twin, ptr, size, 0);
        CHECK((now == ptr) == resizes[i].stays, "row %zu: %p, was %p", i, now, (void *)ptr);
        const uint8_t *kept = now ? now : ptr;
        for (uint32_t k = 0; k < (now && size < old ? size : old); k++) {
            CHECK(kept[k] == 0x3c, "row %zu: byte %u is 0x%02x", i, k, kept[k]);
        }
        twin_compare(&twin);
        twin_free(&twin, now ? now : ptr);
        twin_free(&twin, wall);
        twin_compare(&twin);
        twin_stop(&twin);
    }
}

Test(debug, realloc_in_place_stays_exactly_where_it_can) { in_every_build(resize_in_pictures); }

/* The same by bytes: every size around one block with a hole behind it. */
static void resize_by_bytes(const struct heap_build *build) {
    for (uint32_t size = 1; size < 700; size++) {
        struct twin twin;
        struct w800_config config = small_config(build, 4096);
        config.realloc_in_place = true;
        twin_start(&twin, &config);
        uint8_t *ptr = twin_alloc(&twin, 300, DEFAULT);
        void *gap = twin_alloc(&twin, 200, DEFAULT);
        uint8_t *wall = twin_alloc(&twin, 20, DEFAULT);
        memset(wall, 0x77, 20);
        twin_free(&twin, gap);
        ptr = twin_realloc(&twin, ptr, size, 0);
        memset(ptr, 0xff, wm_heap_get_usable_size(ptr));
        CHECK(wall[0] == 0x77 && memcmp(wall, wall + 1, 19) == 0, "size %u: the wall", size);
        twin_compare(&twin);
        ptr = twin_realloc(&twin, ptr, 260, 0); /* from there to a common size */
        twin_compare(&twin);
        twin_stop(&twin);
    }
}

Test(debug, realloc_in_place_follows_the_model_for_every_size) { in_every_build(resize_by_bytes); }

static void switch_in_place(const struct heap_build *build) {
    struct recorder seen;
    struct wm_heap_counters counters;
    struct wm_heap_block block;
    struct w800_config config = machine_config(build, 0);
    heap_start(&config, &seen);
    void *ptr = wm_heap_caps_alloc_tracing(100, DEFAULT, "old.c", 1);
    CHECK(wm_heap_caps_realloc(ptr, 50, DEFAULT) != ptr, "in place right after init");
    ptr = wm_heap_caps_alloc_tracing(500, SHARED, "old.c", 1);
    wm_heap_set_realloc_in_place(true);
    wm_heap_get_counters(&counters);
    CHECK(wm_heap_caps_realloc_tracing(ptr, 400, INTERNAL, "new.c", 2) == ptr, "it moved");
    CHECK(wm_heap_get_block(ptr, &block) && block.requested == 400 && block.caps == INTERNAL &&
              block.sequence == counters.allocs,
          "%u requested, caps 0x%x, allocation %u", block.requested, block.caps, block.sequence);
    CHECK(!build->tracing ||
              (block.line == 2 && strcmp(wm_heap_port_site_name(block.site), "new.c") == 0),
          "the call site is the old one");
    struct wm_heap_counters after;
    wm_heap_get_counters(&after);
    CHECK(memcmp(&after, &counters, sizeof after) == 0, "an allocation or a free was counted");
    void *moved = wm_heap_caps_realloc(ptr, 400, EXEC); /* DRAM is not EXEC */
    CHECK(moved && moved != ptr, "a block stays in memory that has not the caps");
    wm_heap_set_realloc_in_place(false);
    CHECK(wm_heap_caps_realloc(moved, 300, 0) != moved, "in place though it is off again");
    check_intact("after all reallocs");
    check_no_event(&seen, "reallocs");
}

Test(debug, realloc_in_place_is_off_after_init_and_can_be_switched) {
    in_every_build(switch_in_place);
}

/* ---- no address moves --------------------------------------------------------------------- */

#define SEQUENCE 400

static bool visit_all(void *context, const struct wm_heap_block *block) {
    uint32_t *blocks = context;
    *blocks += block->live;
    return true;
}

/* Every question there is. */
static void ask_everything(void *ptr) {
    struct wm_heap_counters counters;
    struct wm_heap_block block;
    struct wm_heap_fault fault;
    uint32_t blocks = 0;
    for (uint32_t caps = 0; caps <= SHARED; caps++) {
        (void)wm_heap_caps_get_free_size(caps_of(caps));
        (void)wm_heap_caps_get_minimum_free_size(caps_of(caps));
        (void)wm_heap_caps_get_largest_free_block(caps_of(caps));
    }
    (void)wm_heap_get_usable_size(ptr);
    wm_heap_get_counters(&counters);
    for (uint32_t region = 0; region < WM_HEAP_REGIONS_MAX; region++) {
        (void)wm_heap_walk(region, visit_all, &blocks);
        (void)wm_heap_check(region, &fault);
    }
    (void)wm_heap_get_block(ptr, &block);
    (void)wm_heap_check_block(ptr, &fault);
    wm_heap_set_failed_callback(NULL, NULL);
    wm_heap_set_realloc_in_place(false);
    wm_heap_print_stats();
    wm_heap_print_tracing(NULL);
    (void)wm_heap_fault_name(fault.kind % WM_HEAP_FAULT_KINDS);
}

/* Takes and gives back what the ordinary calls do not have. */
static void borrow_and_return(uint32_t i) {
    void *zeroed = wm_heap_caps_calloc(i, 3, DEFAULT);
    void *aligned =
        wm_heap_caps_aligned_alloc((size_t)16 << i % 8, 10 + i, i % 2 ? DEFAULT : SHARED);
    wm_heap_caps_free(zeroed);
    wm_heap_caps_free(aligned);
}

enum between { NOTHING, QUESTIONS, LOANS };

static struct w800_snapshot *make_sequence(const struct heap_build *build, enum between between,
                                           uint32_t *addresses) {
    static const uint32_t caps[] = {DEFAULT, INTERNAL, SHARED, SPIRAM, EXEC};
    struct recorder seen;
    void *slots[50] = {NULL};
    struct w800_config config = machine_config(build, 2 * MIB);
    heap_start(&config, &seen);
    CHECK_EQ(wm_heap_append_to_heap("PSRAM"), WM_ERR_SUCCESS, "append");
    for (uint32_t i = 0; i < SEQUENCE; i++) {
        void **slot = &slots[(size_t)i * 7919 % COUNT(slots)];
        uint32_t size = i * 2654435761u >> 21; /* to 2,047 */
        if (i % 3 == 1) {
            wm_heap_caps_free(*slot);
            *slot = NULL;
        } else if (*slot) {
            *slot = wm_heap_caps_realloc_tracing(*slot, size, caps_of(0), "s.c", (int)i);
        } else {
            wm_heap_cap_type_t wanted = caps_of(caps[i % COUNT(caps)]);
            *slot = wm_heap_caps_alloc_tracing(size, wanted, "s.c", (int)i);
        }
        addresses[i] = w800_address(*slot);
        if (between == QUESTIONS) {
            ask_everything(*slot);
        } else if (between == LOANS) {
            borrow_and_return(i);
        }
    }
    check_no_event(&seen, "sequence");
    return w800_snapshot_take();
}

static void move_no_address(const struct heap_build *build) {
    static uint32_t addresses[3][SEQUENCE];
    struct w800_snapshot *plain = make_sequence(build, NOTHING, addresses[NOTHING]);
    struct w800_snapshot *asked = make_sequence(build, QUESTIONS, addresses[QUESTIONS]);
    struct w800_snapshot *lent = make_sequence(build, LOANS, addresses[LOANS]);
    uint32_t given = 0;
    for (uint32_t i = 0; i < SEQUENCE; i++) {
        CHECK_EQ(addresses[QUESTIONS][i], addresses[NOTHING][i], "address after questions");
        CHECK_EQ(addresses[LOANS][i], addresses[NOTHING][i], "address after loans");
        given += addresses[NOTHING][i] != 0;
    }
    CHECK(given > SEQUENCE / 2, "%u addresses only", given);
    CHECK(plain && asked && w800_snapshot_equal(plain, asked), "questions left a trace in memory");
    w800_snapshot_free(plain);
    w800_snapshot_free(asked);
    w800_snapshot_free(lent);
}

Test(debug, no_question_and_no_loan_moves_an_address) { in_every_build(move_no_address); }

/* ---- names -------------------------------------------------------------------------------- */

Test(debug, every_fault_and_check_has_its_own_name) {
    for (size_t b = 0; b < HEAP_BUILDS; b++) {
        const struct heap_build *build = heap_builds[b];
        for (uint32_t i = 0; i < WM_HEAP_FAULT_KINDS; i++) {
            cr_assert_str_not_empty(build->fault_name(i));
            for (uint32_t k = 0; k < i; k++) {
                cr_assert_str_neq(build->fault_name(i), build->fault_name(k));
            }
        }
        for (uint32_t i = 0; i < WM_HEAP_CHECK_KINDS; i++) {
            cr_assert_str_not_empty(build->check_name(i));
            for (uint32_t k = 0; k < i; k++) {
                cr_assert_str_neq(build->check_name(i), build->check_name(k));
            }
        }
        cr_assert_str_eq(build->fault_name(WM_HEAP_FAULT_KINDS), "unknown");
        cr_assert_str_eq(build->fault_name(0xffffffffu), "unknown");
        cr_assert_str_eq(build->check_name(WM_HEAP_CHECK_KINDS), "unknown");
        cr_assert_str_eq(build->fault_name(WM_HEAP_FAULT_DOUBLE_FREE), "double-free");
        cr_assert_str_eq(build->fault_name(WM_HEAP_FAULT_USE_AFTER_FREE), "use-after-free");
    }
}
