/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes: every one from 0 to 4,200 bytes, and the borders where a byte more changes what
 * happens: a remainder just too small to stand alone, a hole or a region that just holds
 * the request, and the numbers at which 31, 32 and 64 bits end.
 */
#include "heap_fixture.h"

#define SIZE_LAST 4200u

/* ---- every size ------------------------------------------------------------------- */

static void measure_block(const void *ptr, uint32_t size) {
    const struct heap_build *build = w800_config()->build;
    struct wm_heap_block block;
    CHECK(wm_heap_get_block(ptr, &block), "size %u: no block", size);
    CHECK(block.size == block_bytes(build, size) && block.requested == size &&
              block.pointer == block.address + build->header_size,
          "size %u: block of %u bytes (expected %u), %u requested, header of %u", size, block.size,
          block_bytes(build, size), block.requested, block.pointer - block.address);
    uint32_t usable = build->comprehensive ? size : block.size - build->header_size;
    CHECK_EQ(wm_heap_get_usable_size(ptr), usable, "usable size");
}

/* One after the other, as many as the memory holds at a time: the address is the model's,
 * the block has the formula's size and all its bytes are the caller's. */
static void allocate_every_size(const struct heap_build *build) {
    struct twin twin;
    struct w800_config config = layout_config(build, &heap_layouts[0]);
    void *live[32] = {NULL};
    twin_start(&twin, &config);
    for (uint32_t size = 0; size <= SIZE_LAST; size++) {
        void **slot = &live[size % COUNT(live)];
        twin_free(&twin, *slot);
        *slot = twin_alloc(&twin, size, size % 3 ? DEFAULT : INTERNAL);
        CHECK((*slot == NULL) == (size == 0), "size %u: %p", size, *slot);
        if (*slot) {
            struct wm_heap_block block;
            CHECK(wm_heap_get_block(*slot, &block), "size %u: no block", size);
            uint32_t slack = block.size - block_bytes(build, size);
            CHECK(slack <= 2 * build->header_size && slack % 8 == 0, "size %u: %u bytes of slack",
                  size, slack);
            memset(*slot, (int)size, size);
        }
        if (size % 256 == 0) {
            twin_compare(&twin);
        }
    }
    twin_compare(&twin);
    twin_stop(&twin);
}

Test(sizes, every_size_to_4200_lands_where_the_model_says) { in_every_build(allocate_every_size); }

static void measure_every_size(const struct heap_build *build) {
    struct recorder seen;
    struct w800_config config = small_config(build, 64u << 10);
    heap_start(&config, &seen);
    for (uint32_t size = 1; size <= SIZE_LAST; size++) {
        void *ptr = wm_heap_caps_alloc(size, DEFAULT);
        CHECK_EQ(w800_address(ptr), SMALL_HEAP + build->header_size, "address");
        measure_block(ptr, size);
        CHECK_EQ(wm_heap_get_free_size(), (64u << 10) - block_bytes(build, size), "free bytes");
        memset(ptr, (int)size, wm_heap_get_usable_size(ptr));
        wm_heap_caps_free(ptr);
        CHECK_EQ(wm_heap_get_free_size(), 64u << 10, "free bytes after the free");
    }
    check_intact("after all sizes");
    check_no_event(&seen, "all sizes");
}

Test(sizes, a_block_is_the_size_and_the_header_rounded_up_to_8) {
    in_every_build(measure_every_size);
}

static void reallocate_every_size(const struct heap_build *build) {
    for (int in_place = 0; in_place <= 1; in_place++) {
        struct twin twin;
        struct w800_config config = layout_config(build, &heap_layouts[1]);
        config.realloc_in_place = in_place != 0;
        twin_start(&twin, &config);
        void *wall = NULL;
        void *ptr = NULL;
        for (uint32_t size = 1; size <= SIZE_LAST; size += 3) {
            ptr = twin_realloc(&twin, ptr, size, DEFAULT);
            if (size % 64 == 1) { /* something in the way now and then */
                twin_free(&twin, wall);
                wall = twin_alloc(&twin, 24, DEFAULT);
            }
        }
        twin_compare(&twin);
        for (uint32_t size = SIZE_LAST; size > 0; size--) {
            ptr = twin_realloc(&twin, ptr, size, 0);
        }
        twin_compare(&twin);
        twin_stop(&twin);
    }
}

Test(sizes, realloc_through_every_size_follows_the_model) { in_every_build(reallocate_every_size); }

/* ---- borders of a split --------------------------------------------------------------- */

static bool next_block(void *context, const struct wm_heap_block *block) {
    struct wm_heap_block *after = context; /* the first behind after->address */
    if (block->address <= after->address) {
        return true;
    }
    *after = *block;
    return false;
}

/* A request that leaves `rest` bytes of a hole: over two headers they become a free
 * block, else the caller gets them. The hole lies between blocks, or at the end. */
static void split_hole(const struct heap_build *build, uint32_t rest, bool at_end) {
    struct recorder seen;
    uint32_t want = block_bytes(build, 200);
    uint32_t wall_bytes = at_end ? 0 : 256;
    struct w800_config config = small_config(build, want + rest + wall_bytes);
    heap_start(&config, &seen);
    void *hole = wm_heap_caps_alloc(payload_bytes(build, want + rest), DEFAULT);
    void *wall = at_end ? NULL : wm_heap_caps_alloc(payload_bytes(build, wall_bytes), DEFAULT);
    CHECK_EQ(wm_heap_get_free_size(), 0, "free bytes of the full heap");
    wm_heap_caps_free(hole);
    void *ptr = wm_heap_caps_alloc(200, DEFAULT);
    CHECK_EQ(w800_address(ptr), SMALL_HEAP + build->header_size, "address");
    bool split = rest > 2 * build->header_size;
    struct wm_heap_block block;
    CHECK(wm_heap_get_block(ptr, &block), "no block");
    CHECK_EQ(block.size, split ? want : want + rest, "block");
    CHECK_EQ(block.requested, 200, "requested bytes");
    CHECK_EQ(wm_heap_get_free_size(), split ? rest : 0, "free bytes");
    CHECK_EQ(wm_heap_get_minimum_ever_free_size(), 0, "minimum");
    if (split) {
        struct wm_heap_block after = {.address = SMALL_HEAP};
        CHECK(wm_heap_walk(0, next_block, &after), "walk");
        CHECK(after.address == SMALL_HEAP + want && after.size == rest && !after.live,
              "remainder of %u bytes at 0x%08x", after.size, after.address);
    }
    memset(ptr, 0xff, wm_heap_get_usable_size(ptr));
    check_intact("after the split");
    wm_heap_caps_free(ptr);
    wm_heap_caps_free(wall);
    CHECK_EQ(wm_heap_caps_get_largest_free_block(DEFAULT), want + rest + wall_bytes, "healed heap");
    check_no_event(&seen, "split");
}

static void split_at_every_border(const struct heap_build *build) {
    for (uint32_t rest = 0; rest <= 2 * build->header_size + 64; rest += 8) {
        split_hole(build, rest, false);
        split_hole(build, rest, true);
    }
}

Test(sizes, a_remainder_of_more_than_two_headers_becomes_a_free_block) {
    cr_assert_eq(heap_build_find(true, 2)->header_size, 32);
    in_every_build(split_at_every_border);
}

/* The same by bytes: requests of every size into one hole, which is 128 bytes larger than
 * the smallest of them. */
static void fit_into_hole(const struct heap_build *build) {
    uint32_t hole_bytes = block_bytes(build, 300) + 128;
    for (uint32_t size = 300; size < 300 + 140; size++) {
        struct twin twin;
        struct w800_config config = small_config(build, 4096);
        twin_start(&twin, &config);
        void *hole = twin_alloc(&twin, payload_bytes(build, hole_bytes), DEFAULT);
        twin_alloc(&twin, 40, DEFAULT);
        twin_free(&twin, hole);
        bool fits = block_bytes(build, size) <= hole_bytes;
        CHECK((twin_alloc(&twin, size, DEFAULT) == hole) == fits, "size %u, hole of %u", size,
              hole_bytes);
        twin_compare(&twin);
        twin_stop(&twin);
    }
}

Test(sizes, a_hole_serves_exactly_what_fits_into_it) { in_every_build(fit_into_hole); }

/* ---- borders of a region ---------------------------------------------------------------- */

/* `room` bytes are free at the region's end, behind `before` bytes that are taken. */
static void fill_to_the_end(const struct heap_build *build, struct w800_config *config,
                            uint32_t before) {
    struct recorder seen;
    heap_start(config, &seen);
    uint32_t room = (uint32_t)wm_heap_get_free_size();
    if (before > 0) {
        CHECK(wm_heap_caps_alloc(payload_bytes(build, before), DEFAULT), "%u bytes", before);
        room -= before;
    }
    uint32_t largest = payload_bytes(build, room);
    struct still still = still_take();
    for (uint32_t over = 1; over <= 8; over++) {
        CHECK(!wm_heap_caps_alloc(largest + over, DEFAULT), "%u bytes over", over);
    }
    still_check(&still, "requests over the region's end");
    uint8_t *ptr = wm_heap_caps_alloc(largest, DEFAULT);
    CHECK(ptr != NULL, "%u bytes, which just fit", largest);
    measure_block(ptr, largest);
    CHECK_EQ(wm_heap_get_free_size(), 0, "free bytes");
    CHECK_EQ(wm_heap_caps_get_largest_free_block(DEFAULT), 0, "largest free block");
    CHECK(!wm_heap_caps_alloc(1, DEFAULT), "a byte of a full heap");
    memset(ptr, 0xff, largest);
    check_intact("a full heap");
    wm_heap_caps_free(ptr);
    CHECK_EQ(wm_heap_get_free_size(), room, "free bytes at the end");
    check_intact("at the end");
    check_no_event(&seen, "filling a region");
}

static void fill_regions(const struct heap_build *build) {
    for (uint32_t shift = 0; shift < 64; shift++) {
        struct w800_config config = small_config(build, 8192);
        config.regions[0].start += shift & 7u;
        config.regions[0].end += shift >> 3;
        fill_to_the_end(build, &config, 0);
        fill_to_the_end(build, &config, 1024);
    }
    struct w800_config sram = small_config(build, 0);
    sram.regions[0].end = W800_DRAM_START;
    fill_to_the_end(build, &sram, 0);
    fill_to_the_end(build, &sram, 1024);
}

Test(sizes, a_region_serves_its_last_byte_and_not_one_more) { in_every_build(fill_regions); }

static void serve_one_smallest_block(const struct heap_build *build) {
    struct recorder seen;
    struct w800_config config = small_config(build, block_bytes(build, 1));
    heap_start(&config, &seen);
    uint32_t largest = payload_bytes(build, block_bytes(build, 1));
    for (uint32_t size = 1; size <= largest; size++) {
        void *ptr = wm_heap_caps_alloc(size, DEFAULT);
        CHECK(ptr && !wm_heap_caps_alloc(1, DEFAULT), "size %u", size);
        check_intact("one block");
        wm_heap_caps_free(ptr);
    }
    CHECK(!wm_heap_caps_alloc(largest + 1, DEFAULT), "size %u", largest + 1);
    check_intact("at the end");
    check_no_event(&seen, "one block");
}

Test(sizes, a_region_of_one_smallest_block_serves_it) { in_every_build(serve_one_smallest_block); }

/* ---- borders of numbers ------------------------------------------------------------------ */

/* 200 sizes on both sides of each border: a sum or a rounding that wraps would find a
 * small block for some of them. */
static void refuse_giants(const struct heap_build *build) {
    static const uint64_t borders[] = {
        0x20000000u,  0x40000000u,        0x7fffffffu,        0x80000000u,
        0xc0000000u,  0xffffffffu,        0x100000000u,       0x180000000u,
        0x1ffffffffu, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffff00,
    };
    struct twin twin;
    struct w800_config config = layout_config(build, &heap_layouts[0]);
    twin_start(&twin, &config);
    twin_append(&twin);
    void *block = twin_alloc(&twin, 100, DEFAULT);
    twin_free(&twin, twin_alloc(&twin, 100, DEFAULT));
    struct still still = still_take();
    uint32_t calls = 0;
    for (size_t b = 0; b < COUNT(borders); b++) {
        for (uint32_t step = 0; step <= 400; step++) {
            size_t size = (size_t)(borders[b] - 200 + step);
            for (uint32_t caps = DEFAULT; caps <= SPIRAM; caps *= 2) {
                calls++;
                CHECK(!twin_alloc(&twin, size, caps), "alloc of %zu", size);
                CHECK(!twin_aligned(&twin, 8u << step % 10, size, caps), "aligned, %zu", size);
                CHECK(!wm_heap_caps_realloc(block, size, caps_of(caps)), "realloc to %zu", size);
                CHECK(!wm_heap_caps_calloc(size, 1, caps_of(caps)), "calloc of %zu", size);
            }
        }
    }
    still_check(&still, "giants");
    struct wm_heap_counters counters;
    wm_heap_get_counters(&counters);
    CHECK_EQ(counters.failed, 4 * calls, "failures counted");
    CHECK_EQ(counters.largest_failed, 0xffffffffu, "largest failure");
    twin_compare(&twin);
    twin_stop(&twin);
}

Test(sizes, sizes_around_2_31_and_2_32_and_2_64_give_null) { in_every_build(refuse_giants); }

/* Products that are small, or just right, when they are cut to 32 or 64 bits. */
static void refuse_overflowing_products(const struct heap_build *build) {
    static const size_t factors[][2] = {
        {2, SIZE_MAX / 2 + 1},
        {SIZE_MAX / 2 + 1, 2},
        {SIZE_MAX, SIZE_MAX},
        {SIZE_MAX, 2},
        {0x100000000, 0x100000000},
        {0x100000001, 0x100000000},
        {SIZE_MAX / 24 + 2, 24},
        {0x10000, 0x10000},
        {0x20000, 0x8000},
        {0x4000000000000001, 4},
        {3, 0x5555555555555560},
        {0x10001, 0x10000},
        {0xffffffffffffffffu, 0xffffffffffffff00u},
    };
    struct recorder seen;
    struct w800_config config = machine_config(build, 0);
    heap_start(&config, &seen);
    struct still still = still_take();
    for (size_t i = 0; i < COUNT(factors); i++) {
        CHECK(!wm_heap_caps_calloc(factors[i][0], factors[i][1], DEFAULT), "calloc of %zu x %zu",
              factors[i][0], factors[i][1]);
    }
    still_check(&still, "products");
    struct wm_heap_counters counters;
    wm_heap_get_counters(&counters);
    CHECK_EQ(counters.failed, COUNT(factors), "failures counted");
    CHECK_EQ(counters.largest_failed, 0xffffffffu, "largest failure");
    check_no_event(&seen, "products");
}

Test(sizes, calloc_refuses_products_that_overflow) { in_every_build(refuse_overflowing_products); }
