/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules that no golden trace reaches: alignment, realloc in place, contents. They
 * are checked by literal heaps, by brute force, and at the end by a random walk whose
 * properties are taken from model_walk alone. A failure of the walk prints its seed:
 * W800_SEED=SEED runs that walk again.
 */
#include "model_fixture.h"

#include <stdlib.h>
#include <string.h>

/* Alignment. */

static bool lowest_lead(const struct model_config *config, uint32_t start, uint32_t alignment,
                        uint32_t *lead) {
    uint32_t header = model_header_size(config);
    for (*lead = 0; *lead < 2 * 4096; *lead += 8) {
        if ((start + *lead + header) % alignment == 0 &&
            (*lead == 0 || *lead >= block_bytes(config, 1))) {
            return true;
        }
    }
    return false;
}

static void check_aligned(uint32_t c, uint32_t alignment, uint32_t start, uint32_t surplus) {
    const struct model_config *config = &configs[c];
    uint32_t header = model_header_size(config);
    uint32_t want = block_bytes(config, 100);
    uint32_t enough = want + (alignment > 8 ? alignment + block_bytes(config, 1) : 0);
    struct model *model = one_region(config, start, enough - 8 + surplus);
    uint32_t pointer = model_aligned_alloc(model, alignment, 100, 0);
    struct text after = layout(model, 0);
    if (surplus < 8) {
        cr_assert_eq(pointer, 0, "config %u alignment %u start 0x%x: too small", c, alignment,
                     start);
    } else {
        uint32_t lead;
        cr_assert(lowest_lead(config, start, alignment, &lead));
        uint32_t rest = enough - 8 + surplus - lead - want;
        uint32_t split = rest > 2 * header ? rest : 0;
        char expected[80] = "";
        size_t at = 0;
        at += lead != 0 ? (size_t)snprintf(expected, sizeof expected, "f%u ", lead) : 0;
        at += (size_t)snprintf(expected + at, sizeof expected - at, "l%u", want + rest - split);
        if (split != 0) {
            snprintf(expected + at, sizeof expected - at, " f%u", split);
        }
        cr_assert_eq(pointer, start + lead + header, "config %u alignment %u start 0x%x: 0x%x", c,
                     alignment, start, pointer);
        cr_assert_str_eq(after.bytes, expected, "config %u alignment %u start 0x%x", c, alignment,
                         start);
        cr_assert_eq(model_minimum_free_size(model), lead + split);
        cr_assert_eq(model_free(model, pointer), MODEL_FREED);
    }
    cr_assert_eq(model_caps_largest_free_block(model, 0), enough - 8 + surplus);
    model_destroy(model);
}

Test(model_rules, places_aligned_blocks_at_the_lowest_position_that_leaves_no_splinter) {
    for (uint32_t c = 0; c < CONFIGS; c++) {
        for (uint32_t alignment = 8; alignment <= 4096; alignment *= 2) {
            for (uint32_t step = 0; step < 20; step++) {
                uint32_t start = 0x20003f90 + step * 8;
                for (uint32_t surplus = 0; surplus <= 120; surplus += 8) {
                    check_aligned(c, alignment, start, surplus);
                }
            }
        }
    }
}

Test(model_rules, refuses_alignments_outside_the_powers_of_two_from_8_to_4096) {
    struct model *model = one_region(&configs[0], BASE, 65536);
    for (uint64_t alignment = 0; alignment <= 8192; alignment++) {
        bool good = alignment >= 8 && alignment <= 4096 && (alignment & (alignment - 1)) == 0;
        uint32_t pointer = model_aligned_alloc(model, (uint32_t)alignment, 40, 0);
        cr_assert_eq(pointer != 0, good, "alignment %" PRIu64, alignment);
        model_free(model, pointer);
    }
    cr_assert_eq(model_aligned_alloc(model, 1u << 31, 40, 0), 0);
    model_destroy(model);
}

/* Realloc. */

Test(model_rules, reallocates_in_place_or_by_moving_as_configured) {
    /* Block of 120 bytes (100 asked for), then a block of 120, then a live block of 24. */
    static const struct {
        bool in_place;
        bool next_free;
        uint32_t size;
        const char *after;
    } rows[] = {
        {true, true, 100, "l120 f120 l24 f4096"},
        {true, true, 104, "l120 f120 l24 f4096"}, /* same block size */
        {true, true, 72, "l120 f120 l24 f4096"},  /* remainder 32: two headers, kept */
        {true, true, 64, "l80 f160 l24 f4096"},   /* 40: split, merged */
        {true, false, 72, "l120 l120 l24 f4096"},
        {true, false, 64, "l80 f40 l120 l24 f4096"},
        {true, true, 105, "l128 f112 l24 f4096"},
        {true, true, 184, "l200 f40 l24 f4096"},
        {true, true, 192, "l240 l24 f4096"},            /* 32 would be left: absorbed */
        {true, true, 224, "l240 l24 f4096"},            /* exactly the two */
        {true, true, 225, "f240 l24 l248 f3848"},       /* does not fit: moves */
        {true, false, 105, "f120 l120 l24 l128 f3968"}, /* neighbour lives: moves */
        {true, true, 5000, "l120 f120 l24 f4096"},      /* fits nowhere: stays */
        {false, true, 5000, "l120 f120 l24 f4096"},
        {false, true, 100, "f120 l120 l24 f4096"}, /* the SDK moves always */
        {false, true, 64, "f120 l80 f40 l24 f4096"},
        {false, true, 105, "f240 l24 l128 f3968"},
        {false, false, 64, "f120 l120 l24 l80 f4016"},
    };
    for (uint32_t i = 0; i < COUNT(rows); i++) {
        struct model_config config = {.realloc_in_place = rows[i].in_place};
        struct model *model = one_region(&config, BASE, 120 + 120 + 24 + 4096);
        uint32_t pointer = model_alloc(model, 100, 0);
        uint32_t next = model_alloc(model, 100, 0);
        model_alloc(model, 8, 0);
        if (rows[i].next_free) {
            model_free(model, next);
        }
        uint32_t got = model_realloc(model, pointer, rows[i].size, CAP_INTERNAL);
        ASSERT_LAYOUT(model, rows[i].after, "row %u", i);
        cr_assert_eq(got == 0, rows[i].size == 5000, "row %u", i);
        struct model_block block;
        cr_assert(model_find(model, got != 0 ? got : pointer, &block));
        cr_assert_eq(block.requested, got != 0 ? rows[i].size : 100, "row %u", i);
        cr_assert_eq(block.caps, got != 0 ? CAP_INTERNAL : CAP_DEFAULT, "row %u", i);
        model_destroy(model);
    }
}

Test(model_rules, counts_a_growth_in_place_in_the_minimum) {
    struct model_config config = {.realloc_in_place = true};
    struct model *model = one_region(&config, BASE, 4096);
    uint32_t pointer = model_alloc(model, 104, 0);
    cr_assert_eq(model_realloc(model, pointer, 1104, 0), pointer);
    cr_assert_eq(model_minimum_free_size(model), 4096 - 1120);
    cr_assert_eq(model_realloc(model, pointer, 104, 0), pointer);
    cr_assert_eq(model_minimum_free_size(model), 4096 - 1120);
    cr_assert_eq(model_free_size(model), 4096 - 120);
    model_destroy(model);
}

Test(model_rules, takes_the_capabilities_of_the_latest_call_for_realloc_with_0) {
    for (uint32_t in_place = 0; in_place < 2; in_place++) {
        struct model_config config = {.realloc_in_place = in_place != 0};
        struct model *model = three_regions(&config);
        uint32_t fill = model_alloc(model, 0x1000 - 32, CAP_EXEC); /* SRAM is full */
        uint32_t pointer = model_alloc(model, 100, 0);
        cr_assert_eq(pointer, 0x20028010);
        pointer = model_realloc(model, pointer, 50, CAP_SHARED);
        cr_assert(pointer >= 0x20028010);
        model_free(model, fill);
        /* SHARED is remembered: it stays in DRAM although SRAM is free now. */
        pointer = model_realloc(model, pointer, 200, 0);
        cr_assert(pointer >= 0x20028010, "in place %u: 0x%x", in_place, pointer);
        struct model_block block;
        cr_assert(model_find(model, pointer, &block) && block.caps == CAP_SHARED);
        /* What does not serve the new capabilities moves; a refusal keeps the old. */
        cr_assert_eq(model_realloc(model, pointer, 200, CAP_SPIRAM), 0);
        cr_assert(model_find(model, pointer, &block) && block.caps == CAP_SHARED);
        cr_assert_eq(model_realloc(model, pointer, 200, CAP_EXEC), 0x20027010);
        cr_assert(model_find(model, 0x20027010, &block) && block.caps == CAP_EXEC);
        cr_assert_eq(model_classify(model, pointer), MODEL_DOUBLE);
        cr_assert_eq(model_realloc(model, 0x20027010, 0, 0), 0);
        cr_assert_eq(model_free_size(model), 0x3000 - 32);
        cr_assert_eq(model_realloc(model, 0, 8, CAP_SHARED), 0x20028010);
        model_destroy(model);
    }
}

/* Contents. */

static void check_defined(const struct model *model, uint32_t pointer, uint32_t expected_length,
                          const uint8_t *expected) {
    uint32_t length;
    const uint8_t *bytes = model_contents(model, pointer, &length);
    cr_assert_eq(length, expected_length, "0x%x: %u bytes defined, not %u", pointer, length,
                 expected_length);
    cr_assert(expected_length == 0 || memcmp(bytes, expected, expected_length) == 0, "0x%x",
              pointer);
}

Test(model_rules, carries_the_common_part_over_a_realloc) {
    for (uint32_t in_place = 0; in_place < 2; in_place++) {
        struct model_config config = configs[3];
        config.realloc_in_place = in_place != 0;
        struct model *model = three_regions(&config);
        cr_assert(model_append(model, "PSRAM"));
        uint32_t pointer = model_alloc(model, 101, 0);
        check_defined(model, pointer, 0, NULL);
        uint8_t copy[101];
        memcpy(copy, model_fill(model, pointer, 0, 101), 101);
        pointer = model_realloc(model, pointer, 301, 0);
        check_defined(model, pointer, 101, copy);
        pointer = model_realloc(model, pointer, 301, CAP_SPIRAM);
        check_defined(model, pointer, 101, copy);
        pointer = model_realloc(model, pointer, 33, 0);
        check_defined(model, pointer, 33, copy);
        pointer = model_realloc(model, pointer, 101, CAP_DEFAULT);
        check_defined(model, pointer, 33, copy);
        cr_assert_not_null(model_fill(model, pointer, 34, 67)); /* leaves a gap */
        check_defined(model, pointer, 33, copy);
        memcpy(copy + 33, model_fill(model, pointer, 33, 68), 68);
        check_defined(model, pointer, 101, copy);
        model_free(model, pointer);
        uint32_t length = 1;
        cr_assert_null(model_contents(model, pointer, &length));
        cr_assert_eq(length, 0);
        cr_assert_null(model_fill(model, pointer, 0, 1));
        model_destroy(model);
    }
}

Test(model_rules, fills_no_byte_outside_the_requested_ones_and_never_alike) {
    struct model *model = one_region(&configs[0], BASE, 4096);
    uint32_t pointer = model_alloc(model, 24, 0);
    cr_assert_not_null(model_fill(model, pointer, 24, 0));
    cr_assert_null(model_fill(model, pointer, 0, 25));
    cr_assert_null(model_fill(model, pointer, 25, 0));
    cr_assert_null(model_fill(model, pointer, 1, UINT32_MAX));
    cr_assert_null(model_fill(model, pointer + 8, 0, 1));
    uint64_t words[300];
    for (uint32_t i = 0; i < COUNT(words); i += 3) {
        memcpy(&words[i], model_fill(model, pointer, 0, 24), 24);
    }
    for (uint32_t i = 0; i < COUNT(words); i++) {
        for (uint32_t k = 0; k < i; k++) {
            cr_assert_neq(words[i], words[k], "words %u and %u are alike", i, k);
        }
    }
    model_destroy(model);
}

Test(model_rules, stores_only_into_requested_bytes_of_live_blocks) {
    enum { BLOCKS = 4, SIZE = 21, STRIDE = 40 };
    for (uint32_t from = 0; from <= BLOCKS * STRIDE; from++) {
        for (uint32_t length = 0; length <= BLOCKS * STRIDE; length += 7) {
            struct model *model = one_region(&configs[0], BASE, BLOCKS * STRIDE + 64);
            uint8_t expected[BLOCKS][SIZE];
            for (uint32_t k = 0; k < BLOCKS; k++) {
                uint32_t pointer = model_alloc(model, SIZE, 0);
                cr_assert_eq(pointer, BASE + k * STRIDE + 16);
                memcpy(expected[k], model_fill(model, pointer, 0, SIZE), SIZE);
                for (uint32_t i = 0; i < SIZE; i++) {
                    uint32_t at = k * STRIDE + 16 + i;
                    expected[k][i] = at >= from && at < from + length ? 0x5c : expected[k][i];
                }
            }
            model_free(model, BASE + STRIDE + 16);
            model_store(model, BASE + from, length, 0x5c);
            for (uint32_t k = 0; k < BLOCKS; k++) {
                if (k != 1) {
                    check_defined(model, BASE + k * STRIDE + 16, SIZE, expected[k]);
                }
            }
            /* Handed out again the bytes are undefined; storing all of them is a calloc. */
            uint32_t again = model_alloc(model, SIZE, 0);
            check_defined(model, again, 0, NULL);
            model_store(model, again, SIZE, 0);
            check_defined(model, again, SIZE, (const uint8_t[SIZE]){0});
            model_store(model, 0, UINT32_MAX, 1); /* everywhere */
            uint8_t ones[SIZE];
            memset(ones, 1, sizeof ones);
            check_defined(model, again, SIZE, ones);
            model_destroy(model);
        }
    }
}

/* The random walk. */

#define WALK_STEPS 4000u
#define WALK_SLOTS 64u

struct walk {
    struct model *model;
    struct model_config config;
    uint64_t random;
    uint64_t seed;
    uint32_t step;
    uint32_t pointers[WALK_SLOTS];
    uint32_t sizes[WALK_SLOTS];
    uint8_t *copies[WALK_SLOTS]; /* what the program wrote */
};

static uint32_t walk_random(struct walk *walk, uint32_t below) {
    walk->random = walk->random * UINT64_C(6364136223846793005) + 1;
    return (uint32_t)((walk->random >> 33) % below);
}

/* One pass over a region's blocks. */
struct survey {
    uint32_t next; /* where the next block must start */
    uint32_t free_bytes;
    uint32_t largest;
    uint32_t live;
    uint32_t enough;    /* for the first fit */
    uint32_t first_fit; /* header of the first hole of at least `enough` bytes, 0: none */
    bool after_hole;
    const struct walk *walk;
};

static bool same_block(const struct model_block *a, const struct model_block *b) {
    return a->address == b->address && a->size == b->size && a->pointer == b->pointer &&
           a->requested == b->requested && a->caps == b->caps && a->live == b->live;
}

static bool survey_block(void *context, const struct model_block *block) {
    struct survey *survey = context;
    const struct walk *walk = survey->walk;
    uint32_t header = model_header_size(&walk->config);
    struct model_block found;
    cr_assert(block->address == survey->next && block->size >= block_bytes(&walk->config, 1) &&
                  block->size % 8 == 0 && !(survey->after_hole && !block->live),
              "seed %" PRIu64 " step %u: block 0x%x size %u", walk->seed, walk->step,
              block->address, block->size);
    for (uint32_t at = 0; at < block->size; at += block->size - 1) {
        cr_assert(model_find(walk->model, block->address + at, &found) && same_block(&found, block),
                  "seed %" PRIu64 " step %u: find 0x%x", walk->seed, walk->step,
                  block->address + at);
    }
    if (block->live) {
        cr_assert(block->pointer == block->address + header &&
                      block_bytes(&walk->config, block->requested) <= block->size &&
                      model_classify(walk->model, block->pointer) == MODEL_FREED,
                  "seed %" PRIu64 " step %u: live 0x%x", walk->seed, walk->step, block->address);
        survey->live++;
    } else {
        survey->free_bytes += block->size;
        survey->largest = block->size > survey->largest ? block->size : survey->largest;
        if (survey->first_fit == 0 && block->size >= survey->enough) {
            survey->first_fit = block->address;
        }
    }
    survey->after_hole = !block->live;
    survey->next += block->size;
    return true;
}

/* The header of the first fit in SRAM, then DRAM, by walking; 0: none. */
static uint32_t walk_check(const struct walk *walk, uint32_t enough) {
    uint32_t header = model_header_size(&walk->config);
    uint32_t free_bytes = 0;
    uint32_t largest = 0;
    uint32_t first_fit = 0;
    for (uint32_t region = 0; region < 2; region++) {
        uint32_t start = region == 0 ? 0x20027000 : 0x20028000;
        struct survey survey = {.next = start, .enough = enough, .walk = walk};
        model_walk(walk->model, region, survey_block, &survey);
        cr_assert_eq(survey.next, (region == 0 ? 0x20028000 : 0x2002a000) - header,
                     "seed %" PRIu64 " step %u: region %u ends at 0x%x", walk->seed, walk->step,
                     region, survey.next);
        free_bytes += survey.free_bytes;
        largest = survey.largest > largest ? survey.largest : largest;
        first_fit = first_fit != 0 ? first_fit : survey.first_fit;
    }
    cr_assert(free_bytes == model_free_size(walk->model) &&
                  free_bytes == model_caps_free_size(walk->model, CAP_INTERNAL) &&
                  largest == model_caps_largest_free_block(walk->model, 0) &&
                  model_minimum_free_size(walk->model) <= free_bytes,
              "seed %" PRIu64 " step %u: sums", walk->seed, walk->step);
    return first_fit;
}

static void walk_keep(struct walk *walk, uint32_t slot, uint32_t pointer, uint32_t size) {
    uint32_t old = walk->sizes[slot] < size ? walk->sizes[slot] : size;
    check_defined(walk->model, pointer, old, walk->copies[slot]);
    const uint8_t *bytes = model_fill(walk->model, pointer, old, size - old);
    walk->copies[slot] = realloc(walk->copies[slot], size);
    cr_assert(bytes != NULL && walk->copies[slot] != NULL);
    memcpy(walk->copies[slot] + old, bytes, size - old);
    walk->pointers[slot] = pointer;
    walk->sizes[slot] = size;
}

static void walk_drop(struct walk *walk, uint32_t slot) {
    check_defined(walk->model, walk->pointers[slot], walk->sizes[slot], walk->copies[slot]);
    cr_assert_eq(model_free(walk->model, walk->pointers[slot]), MODEL_FREED,
                 "seed %" PRIu64 " step %u", walk->seed, walk->step);
    free(walk->copies[slot]);
    walk->copies[slot] = NULL;
    walk->pointers[slot] = 0;
    walk->sizes[slot] = 0;
}

static void walk_step(struct walk *walk) {
    uint32_t slot = walk_random(walk, WALK_SLOTS);
    uint32_t size = 1 + walk_random(walk, walk_random(walk, 16) != 0 ? 300 : 3000);
    uint32_t want = block_bytes(&walk->config, size);
    uint32_t alignment = 16u << walk_random(walk, 9);
    uint32_t enough = want + alignment + block_bytes(&walk->config, 1);
    uint32_t header = model_header_size(&walk->config);
    uint32_t action = walk_random(walk, 8);
    uint32_t pointer = walk->pointers[slot];
    if (pointer == 0 && action < 2) {
        uint32_t hole = walk_check(walk, enough);
        pointer = model_aligned_alloc(walk->model, alignment, size, 0);
        cr_assert(pointer % alignment == 0 && (pointer == 0) == (hole == 0) &&
                      (pointer == 0 || pointer - hole - header < alignment + want),
                  "seed %" PRIu64 " step %u: aligned 0x%x", walk->seed, walk->step, pointer);
    } else if (pointer == 0 || action < 3) {
        uint32_t hole = walk_check(walk, want);
        bool in_place = pointer != 0 && walk->config.realloc_in_place;
        uint32_t old = pointer;
        pointer = model_realloc(walk->model, pointer, size, 0);
        cr_assert(pointer == (hole != 0 ? hole + header : 0) || (in_place && pointer == old),
                  "seed %" PRIu64 " step %u: 0x%x, hole 0x%x", walk->seed, walk->step, pointer,
                  hole);
    } else {
        walk_drop(walk, slot);
        pointer = 0;
    }
    if (pointer != 0) {
        walk_keep(walk, slot, pointer, size);
    }
}

Test(model_rules, keeps_every_region_partitioned_on_a_random_walk) {
    const char *given = getenv("W800_SEED");
    for (uint32_t c = 0; c < 2 * CONFIGS; c++) {
        struct walk walk = {.config = configs[c % CONFIGS]};
        walk.config.realloc_in_place = c >= CONFIGS;
        walk.seed = given != NULL ? strtoull(given, NULL, 0) : 1;
        walk.random = walk.seed * 16 + c;
        walk.model = three_regions(&walk.config);
        for (walk.step = 0; walk.step < WALK_STEPS; walk.step++) {
            walk_step(&walk);
        }
        walk_check(&walk, 1);
        for (uint32_t slot = 0; slot < WALK_SLOTS; slot++) {
            if (walk.pointers[slot] != 0) {
                walk_drop(&walk, slot);
            }
        }
        cr_assert_eq(model_free_size(walk.model), 0x3000 - 2 * model_header_size(&walk.config),
                     "seed %" PRIu64 ": not whole again", walk.seed);
        model_destroy(walk.model);
    }
}
