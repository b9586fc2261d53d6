/* SPDX-License-Identifier: Apache-2.0
 *
 * Which region serves which capabilities. A region serves a request if it has all the
 * bits that were asked for; regions are tried in index order:
 *
 *   S  SRAM   DEFAULT, INTERNAL, EXEC
 *   D  DRAM   DEFAULT, INTERNAL, SHARED
 *   P  PSRAM  SPIRAM, and nothing else whatever the table of regions promises: the CPU
 *             must not touch it while DMA works on it, and no code runs from it
 *
 * The table below is the whole truth, row by row; every test walks it in all six builds.
 */
#include "heap_fixture.h"

static const struct routing_row {
    uint32_t caps;
    const char *serve; /* regions in the order in which they are tried */
} rows[] = {
    /* every combination of the five bits; 0 stands for DEFAULT */
    {0, "SD"},
    {DEFAULT, "SD"},
    {INTERNAL, "SD"},
    {INTERNAL | DEFAULT, "SD"},
    {SPIRAM, "P"},
    {SPIRAM | DEFAULT, ""},
    {SPIRAM | INTERNAL, ""},
    {SPIRAM | INTERNAL | DEFAULT, ""},
    {EXEC, "S"},
    {EXEC | DEFAULT, "S"},
    {EXEC | INTERNAL, "S"},
    {EXEC | INTERNAL | DEFAULT, "S"},
    {EXEC | SPIRAM, ""},
    {EXEC | SPIRAM | DEFAULT, ""},
    {EXEC | SPIRAM | INTERNAL, ""},
    {EXEC | SPIRAM | INTERNAL | DEFAULT, ""},
    {SHARED, "D"},
    {SHARED | DEFAULT, "D"},
    {SHARED | INTERNAL, "D"},
    {SHARED | INTERNAL | DEFAULT, "D"},
    {SHARED | SPIRAM, ""},
    {SHARED | SPIRAM | DEFAULT, ""},
    {SHARED | SPIRAM | INTERNAL, ""},
    {SHARED | SPIRAM | INTERNAL | DEFAULT, ""},
    {SHARED | EXEC, ""},
    {SHARED | EXEC | DEFAULT, ""},
    {SHARED | EXEC | INTERNAL, ""},
    {SHARED | EXEC | INTERNAL | DEFAULT, ""},
    {SHARED | EXEC | SPIRAM, ""},
    {SHARED | EXEC | SPIRAM | DEFAULT, ""},
    {SHARED | EXEC | SPIRAM | INTERNAL, ""},
    {SHARED | EXEC | SPIRAM | INTERNAL | DEFAULT, ""},
    /* INVALID, and bits that have no name */
    {INVALID, ""},
    {INVALID | DEFAULT, ""},
    {INVALID | SPIRAM, ""},
    {1u << 5, ""},
    {1u << 5 | DEFAULT, ""},
    {1u << 7 | INTERNAL, ""},
    {1u << 8, ""},
    {1u << 8 | SPIRAM, ""},
    {1u << 19 | DEFAULT, ""},
    {1u << 21, ""},
    {1u << 24 | DEFAULT, ""}, /* bits that a header has no room for */
    {1u << 31, ""},
    {1u << 31 | DEFAULT, ""},
    {0xffffffffu, ""},
};

#define NAMES "SDP"
#define REGIONS 3

static char region_of(const void *ptr) {
    const struct w800_config *config = w800_config();
    uintptr_t address = (uintptr_t)ptr;
    for (uint32_t i = 0; i < config->region_count; i++) {
        if (address >= config->regions[i].start && address < config->regions[i].end) {
            return NAMES[i];
        }
    }
    return ptr ? '?' : '-';
}

/* The first of the regions of a row that is in the set of those that can serve now. */
static char expected_region(const struct routing_row *row, const char *available) {
    for (const char *region = row->serve; *region; region++) {
        if (strchr(available, *region)) {
            return *region;
        }
    }
    return '-';
}

static void check_row(const struct routing_row *row, const char *available, const char *when) {
    wm_heap_cap_type_t caps = caps_of(row->caps);
    char expected = expected_region(row, available);
    void *results[] = {
        wm_heap_caps_alloc(40, caps),
        wm_heap_caps_calloc(5, 8, caps),
        wm_heap_caps_aligned_alloc(64, 40, caps),
        wm_heap_caps_realloc(NULL, 40, caps),
    };
    for (size_t i = 0; i < COUNT(results); i++) {
        char got = region_of(results[i]);
        CHECK(got == expected, "%s, caps 0x%x, call %zu: served by %c, expected %c", when,
              row->caps, i, got, expected);
        wm_heap_caps_free(results[i]);
    }
}

static void check_rows(const char *available, const char *when) {
    for (size_t i = 0; i < COUNT(rows); i++) {
        check_row(&rows[i], available, when);
    }
    check_intact(when);
}

/* Takes all memory of a region but for what cannot serve 40 bytes. */
static void exhaust(uint32_t caps) {
    uint32_t index = caps == EXEC ? 0 : caps == SHARED ? 1 : 2;
    for (size_t size = 1u << 20; size >= 8; size /= 2) {
        void *ptr;
        while ((ptr = wm_heap_caps_alloc(size, caps_of(caps))) != NULL) {
            CHECK(region_of(ptr) == NAMES[index], "caps 0x%x served by %c", caps, region_of(ptr));
        }
    }
}

static void start(const struct heap_build *build, struct recorder *seen, bool old_table) {
    struct w800_config config = machine_config(build, 2 * MIB);
    if (old_table) {
        config.regions[0].caps |= INVALID | 1u << 5 | 1u << 31;
        config.regions[1].caps |= INVALID | 1u << 8;
        config.regions[2].caps = 0xffffffffu;
    }
    heap_start(&config, seen);
}

static void append(void) { CHECK_EQ(wm_heap_append_to_heap("PSRAM"), WM_ERR_SUCCESS, "append"); }

static void route_while_all_have_room(const struct heap_build *build) {
    struct recorder seen;
    start(build, &seen, false);
    check_rows("SD", "before the append");
    append();
    check_rows("SDP", "after the append");
    check_no_event(&seen, "routing");
}

Test(routing, the_first_region_with_all_bits_serves) {
    cr_assert_geq(COUNT(rows), 34);
    in_every_build(route_while_all_have_room);
}

/* An older attribute list gives PSRAM DEFAULT, and a careless one bits without a name. */
static void route_with_old_table(const struct heap_build *build) {
    struct recorder seen;
    start(build, &seen, true);
    check_rows("SD", "old table, before the append");
    append();
    check_rows("SDP", "old table, after the append");
    exhaust(EXEC);
    exhaust(SHARED);
    check_rows("P", "old table, on-chip memory is full");
    check_no_event(&seen, "routing");
}

Test(routing, psram_is_never_default_whatever_the_table_says) {
    in_every_build(route_with_old_table);
}

static void route_around_full_regions(const struct heap_build *build) {
    static const struct {
        uint32_t caps[REGIONS];
        const char *left;
    } full[] = {
        {{EXEC}, "DP"},
        {{SHARED}, "SP"},
        {{SPIRAM}, "SD"},
        {{EXEC, SHARED}, "P"},
        {{SHARED, SPIRAM}, "S"},
        {{EXEC, SPIRAM}, "D"},
        {{EXEC, SHARED, SPIRAM}, ""},
    };
    for (size_t i = 0; i < COUNT(full); i++) {
        struct recorder seen;
        start(build, &seen, false);
        append();
        for (size_t k = 0; k < REGIONS && full[i].caps[k]; k++) {
            exhaust(full[i].caps[k]);
        }
        check_rows(full[i].left, full[i].left);
        check_no_event(&seen, "routing");
    }
}

Test(routing, requests_spill_over_when_a_region_is_full) {
    in_every_build(route_around_full_regions);
}

/* Full is a matter of the size asked for: what SRAM cannot hold goes to DRAM, what it can
 * still goes to SRAM. */
static void spill_by_size(const struct heap_build *build) {
    struct recorder seen;
    start(build, &seen, false);
    size_t sram = wm_heap_caps_get_free_size(EXEC);
    CHECK_EQ(region_of(wm_heap_caps_alloc(sram - 1000, DEFAULT)), 'S', "most of SRAM");
    CHECK_EQ(region_of(wm_heap_caps_alloc(1000, DEFAULT)), 'D', "1,000 bytes");
    CHECK_EQ(region_of(wm_heap_caps_alloc(500, DEFAULT)), 'S', "500 bytes");
    CHECK_EQ(region_of(wm_heap_caps_alloc(500, INTERNAL)), 'D', "500 bytes again");
    CHECK_EQ(region_of(wm_heap_caps_alloc(500, EXEC)), '-', "500 bytes of SRAM");
    CHECK_EQ(region_of(wm_heap_caps_alloc(100000, DEFAULT)), 'D', "100,000 bytes");
    CHECK_EQ(region_of(wm_heap_caps_alloc(100000, DEFAULT)), '-', "100,000 bytes again");
    check_intact("after all");
    check_no_event(&seen, "routing");
}

Test(routing, each_size_spills_for_itself) { in_every_build(spill_by_size); }

/* From every region to every row: the block moves where the row says, with its contents;
 * where no region serves, it stays. */
static void move_by_realloc(const struct heap_build *build) {
    static const uint32_t from[REGIONS] = {EXEC, SHARED, SPIRAM};
    struct recorder seen;
    start(build, &seen, false);
    append();
    for (size_t i = 0; i < REGIONS * COUNT(rows); i++) {
        const struct routing_row *row = &rows[i / REGIONS];
        if (row->caps == 0) {
            continue; /* the block's own caps: test_core */
        }
        void *old = wm_heap_caps_alloc(64, caps_of(from[i % REGIONS]));
        memset(old, (int)i, 64);
        uint8_t *moved = wm_heap_caps_realloc(old, 80, caps_of(row->caps));
        char expected = expected_region(row, "SDP");
        CHECK(region_of(moved) == expected, "from %c, caps 0x%x: %c, expected %c",
              NAMES[i % REGIONS], row->caps, region_of(moved), expected);
        const uint8_t *kept = moved ? moved : old;
        for (size_t k = 0; k < 64; k++) {
            CHECK(kept[k] == (uint8_t)i, "from %c, caps 0x%x: byte %zu", NAMES[i % REGIONS],
                  row->caps, k);
        }
        wm_heap_caps_free(moved ? (void *)moved : old);
    }
    check_intact("after all reallocs");
}

Test(routing, realloc_moves_a_block_to_the_region_that_serves) { in_every_build(move_by_realloc); }

/* A block stays in place exactly where its region serves the new capabilities. */
static void resize_by_row(const struct heap_build *build) {
    struct recorder seen;
    start(build, &seen, false);
    append();
    wm_heap_set_realloc_in_place(true);
    for (size_t i = 0; i < COUNT(rows); i++) {
        void *ptr = wm_heap_caps_alloc(100, EXEC);
        void *now = wm_heap_caps_realloc(ptr, 90, caps_of(rows[i].caps));
        bool stays = rows[i].caps == 0 || strchr(rows[i].serve, 'S') != NULL;
        CHECK((now == ptr) == stays && (now == NULL) == (rows[i].serve[0] == '\0'),
              "caps 0x%x: %p became %p", rows[i].caps, ptr, now);
        wm_heap_caps_free(now != NULL ? now : ptr);
    }
}

Test(routing, a_block_stays_where_its_region_serves) { in_every_build(resize_by_row); }

/* SRAM joins late here, and is closed after damage: the same request goes to the first region that
 * serves at the time. */
static void route_as_regions_come_and_go(const struct heap_build *build) {
    struct recorder seen;
    struct w800_config config = machine_config(build, 2 * MIB);
    config.regions[0].deferred = true;
    heap_start(&config, &seen);
    CHECK(region_of(wm_heap_caps_alloc(100, DEFAULT)) == 'D', "only DRAM is there");
    CHECK_EQ(wm_heap_append_to_heap("SRAM"), WM_ERR_SUCCESS, "append");
    uint8_t *first = wm_heap_caps_alloc(100, DEFAULT);
    CHECK(region_of(first) == 'S', "SRAM has joined");
    memset(first - build->header_size, 0x41, build->header_size);
    wm_heap_caps_free(first);
    CHECK_EQ(seen.count, 1, "faults");
    CHECK(region_of(wm_heap_caps_alloc(100, DEFAULT)) == 'D', "SRAM is closed");
}

Test(routing, the_same_request_follows_regions_that_open_and_close) {
    in_every_build(route_as_regions_come_and_go);
}

/* Sums and maxima over exactly the regions of the row. */
static void measure_by_row(const struct heap_build *build) {
    static const uint32_t own[REGIONS] = {EXEC, SHARED, SPIRAM};
    struct recorder seen;
    start(build, &seen, false);
    append();
    (void)!wm_heap_caps_alloc(1000, EXEC);
    (void)!wm_heap_caps_alloc(2000, SHARED);
    (void)!wm_heap_caps_alloc(3000, SPIRAM);
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t sum = 0;
        size_t largest = 0;
        for (uint32_t r = 0; r < REGIONS; r++) {
            if (strchr(rows[i].serve, NAMES[r])) {
                size_t bytes = wm_heap_caps_get_free_size(caps_of(own[r]));
                sum += bytes;
                largest = bytes > largest ? bytes : largest; /* one hole a region */
            }
        }
        wm_heap_cap_type_t caps = caps_of(rows[i].caps);
        CHECK(wm_heap_caps_get_free_size(caps) == sum &&
                  wm_heap_caps_get_minimum_free_size(caps) == sum &&
                  wm_heap_caps_get_largest_free_block(caps) == largest,
              "caps 0x%x: free %zu, minimum %zu, largest %zu, expected %zu, %zu, %zu", rows[i].caps,
              wm_heap_caps_get_free_size(caps), wm_heap_caps_get_minimum_free_size(caps),
              wm_heap_caps_get_largest_free_block(caps), sum, sum, largest);
    }
}

Test(routing, sizes_by_capability_count_the_regions_that_serve) { in_every_build(measure_by_row); }
