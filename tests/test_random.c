/* SPDX-License-Identifier: Apache-2.0
 *
 * Random programs against the reference model: every kind of call, with sensible and
 * impossible arguments, in all builds and layouts, with realloc in place and without;
 * PSRAM joins somewhere on the way. After each call the address is the model's and the
 * contents are what the program wrote; every few calls so are all counters, and every
 * block; and the heap passes its own check.
 *
 * A failure names the seed and the command that runs it again: W800_SEED=N takes the
 * place of the fixed list.
 */
#include "heap_fixture.h"

#include <stdlib.h>

#define SLOTS 384u
#define STEPS 8000u
#define STEPS_OF_A_MOOD 250u

static const uint64_t seeds_fixed[] = {1, 2, 3, 4, 0x5eed, 0xc0ffee, 20260131, 0xffffffffffffffff};

struct run {
    struct twin twin;
    uint64_t seed;
    uint64_t random;
    uint32_t step;
    void *slots[SLOTS];
    struct wm_heap_counters expected;
    uint32_t successes;
    char where[400];
};

/* splitmix64: 64 good bits from a counter. */
static uint64_t random_next(struct run *run) {
    uint64_t z = run->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint32_t random_below(struct run *run, uint32_t bound) {
    return (uint32_t)((random_next(run) >> 32) * bound >> 32);
}

static uint32_t random_between(struct run *run, uint32_t low, uint32_t high) {
    return low + random_below(run, high - low + 1);
}

static uint32_t random_caps(struct run *run) {
    static const uint32_t caps[] = {
        DEFAULT, DEFAULT, DEFAULT,          DEFAULT, 0,      0,      SPIRAM, INTERNAL,
        SHARED,  EXEC,    SPIRAM | DEFAULT, INVALID, SPIRAM, SHARED, EXEC,   INTERNAL | SHARED,
    };
    return caps[random_below(run, COUNT(caps))];
}

/* Sizes at which something changes: the largest block, to the byte and a few bytes over
 * or under, and what no heap has. */
static size_t random_border_size(struct run *run, uint32_t caps) {
    static const size_t giants[] = {0x7fffffff,  0x80000000,  0xffffffff, 0xfffffff0,
                                    0x100000000, 0x100000010, SIZE_MAX};
    size_t largest = wm_heap_caps_get_largest_free_block(caps_of(caps));
    size_t header = run->twin.config.build->header_size;
    switch (random_below(run, 4)) {
    case 0:
        return 0;
    case 1:
        return giants[random_below(run, COUNT(giants))];
    default:
        if (largest < header + 64 || largest > 200000) {
            return random_between(run, 1, 100);
        }
        return largest - header - random_below(run, 64) + random_below(run, 32);
    }
}

static size_t random_size(struct run *run, uint32_t caps) {
    uint32_t kind = random_below(run, 32);
    if (kind < 16) {
        return random_between(run, 1, 64);
    }
    if (kind < 24) {
        return random_between(run, 65, 600);
    }
    if (kind < 29) {
        return random_between(run, 601, 4200);
    }
    return kind < 31 ? random_between(run, 4201, 24000) : random_border_size(run, caps);
}

/* ---- contents --------------------------------------------------------------------- */

static void check_contents(const struct run *run, const void *ptr) {
    uint32_t length;
    const uint8_t *expected = model_contents(run->twin.model, w800_address(ptr), &length);
    CHECK(expected != NULL, "%p is no block of the model's%s", ptr, run->where);
    CHECK(length == 0 || memcmp(ptr, expected, length) == 0, "contents of %p, %u bytes%s", ptr,
          length, run->where);
}

/* The program writes what the model says, from the first byte that is not yet defined. */
static void write_contents(const struct run *run, uint8_t *ptr, size_t size) {
    uint32_t defined;
    (void)model_contents(run->twin.model, w800_address(ptr), &defined);
    if (defined < size) {
        uint32_t length = (uint32_t)size - defined;
        const uint8_t *bytes = model_fill(run->twin.model, w800_address(ptr), defined, length);
        CHECK(bytes != NULL, "the model fills nothing at %p%s", (void *)ptr, run->where);
        memcpy(ptr + defined, bytes, length);
    }
}

/* ---- calls -------------------------------------------------------------------------- */

static void count_failure(struct run *run, size_t size) {
    uint32_t shown = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
    if (size != 0) {
        run->expected.failed++;
        run->expected.largest_failed =
            shown > run->expected.largest_failed ? shown : run->expected.largest_failed;
    }
}

/* A calloc of more than a block can have counts as the largest of all. */
static size_t calloc_shown(size_t size) { return size > 0x7fffffff ? SIZE_MAX : size; }

static void *call_calloc(struct run *run, size_t size, uint32_t caps) {
    uint8_t *got = wm_heap_caps_calloc(size, 1, caps_of(caps));
    uint32_t expected = model_alloc(run->twin.model, size, caps);
    twin_result(&run->twin, got, expected, "calloc", size);
    for (size_t i = 0; got && i < size; i++) {
        CHECK(got[i] == 0, "calloc of %zu: byte %zu is 0x%02x%s", size, i, got[i], run->where);
    }
    return got;
}

static void step_alloc(struct run *run, void **slot) {
    uint32_t caps = random_caps(run);
    size_t size = random_size(run, caps);
    uint32_t kind = random_below(run, 8);
    void *ptr;
    if (kind == 0) {
        ptr = call_calloc(run, size, caps);
        size = ptr == NULL ? calloc_shown(size) : size;
    } else if (kind == 1) {
        uint32_t alignment = 8u << random_below(run, 10);
        ptr = twin_aligned(&run->twin, alignment, size, caps);
    } else if (kind == 2) {
        ptr = twin_realloc(&run->twin, NULL, size, caps);
    } else {
        ptr = twin_alloc(&run->twin, size, caps);
    }
    *slot = ptr;
    if (ptr) {
        run->expected.allocs++;
        run->successes++;
        write_contents(run, ptr, size);
    } else {
        count_failure(run, size);
    }
}

static void step_free(struct run *run, void **slot) {
    check_contents(run, *slot);
    if (random_below(run, 16) == 0) {
        CHECK(!twin_realloc(&run->twin, *slot, 0, random_caps(run)), "realloc to 0%s", run->where);
    } else {
        twin_free(&run->twin, *slot);
    }
    run->expected.frees++;
    *slot = NULL;
}

static void step_realloc(struct run *run, void **slot) {
    uint32_t caps = random_below(run, 2) ? 0 : random_caps(run);
    size_t size = random_size(run, caps);
    void *old = *slot;
    check_contents(run, old);
    void *ptr = twin_realloc(&run->twin, old, size, caps);
    if (size == 0) {
        run->expected.frees++;
        *slot = NULL;
        return;
    }
    if (!ptr) {
        count_failure(run, size);
        check_contents(run, old);
        return;
    }
    if (ptr != old) {
        run->expected.allocs++;
        run->expected.frees++;
    }
    *slot = ptr;
    check_contents(run, ptr);
    write_contents(run, ptr, size);
}

/* A pointer that is nobody's: near a block, anywhere in a region, or anywhere at all. */
static uint32_t random_bad_pointer(struct run *run) {
    const struct wm_heap_region_config *row = &run->twin.config.regions[random_below(run, 3)];
    switch (random_below(run, 4)) {
    case 0:
        return (uint32_t)random_next(run);
    case 1:
        return row->start - 64 + 8 * random_below(run, 16);
    case 2:
        return (uint32_t)(w800_address(run->slots[random_below(run, SLOTS)]) - 64 +
                          8 * random_below(run, 16));
    default:
        return row->start + 8 * random_below(run, (row->end - row->start) / 8);
    }
}

static void step_bad_free(struct run *run) {
    static const enum wm_heap_fault_kind kinds[] = {
        [MODEL_DOUBLE] = WM_HEAP_FAULT_DOUBLE_FREE,
        [MODEL_INTERIOR] = WM_HEAP_FAULT_INTERIOR_POINTER,
        [MODEL_FOREIGN] = WM_HEAP_FAULT_FOREIGN_POINTER,
    };
    uint32_t pointer = random_bad_pointer(run);
    enum model_free_result result = model_classify(run->twin.model, pointer);
    if (result == MODEL_FREED || result == MODEL_NOTHING) {
        return;
    }
    char when[480];
    snprintf(when, sizeof when, "free of 0x%08x%s", pointer, run->where);
    wm_heap_caps_free(w800_pointer(pointer));
    check_one_fault(&run->twin.seen, kinds[result], when);
    run->expected.faults++;
}

/* ---- a run ---------------------------------------------------------------------------- */

static void compare_all(struct run *run) {
    struct wm_heap_counters now;
    twin_compare(&run->twin);
    wm_heap_get_counters(&now);
    CHECK(memcmp(&now, &run->expected, sizeof now) == 0,
          "counters: %u allocs, %u frees, %u failed, largest %u, %u faults, %u refused; expected "
          "%u, %u, %u, %u, %u, %u%s",
          now.allocs, now.frees, now.failed, now.largest_failed, now.faults, now.refused,
          run->expected.allocs, run->expected.frees, run->expected.failed,
          run->expected.largest_failed, run->expected.faults, run->expected.refused, run->where);
}

static void describe(struct run *run) {
    char program[160];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = 0;
    snprintf(run->where, sizeof run->where,
             " (realloc in place %s, regions from 0x%08x, step %u; to repeat: W800_SEED=%" PRIu64
             " %s)",
             run->twin.config.realloc_in_place ? "on" : "off", run->twin.config.regions[0].start,
             run->step, run->seed, program);
}

/* The step's number is all that changes in the description. */
static void note_step(struct run *run) {
    char *at = strstr(run->where, "step ");
    if (at) {
        uint32_t step = run->step;
        for (int digit = 5; digit >= 0; digit--, step /= 10) {
            at[5 + digit] = (char)('0' + step % 10);
        }
    }
}

/* Moods alternate: in one the heap fills until requests fail, in the other it empties. */
static void make_step(struct run *run) {
    bool filling = run->step / STEPS_OF_A_MOOD % 2 == 0;
    void **slot = &run->slots[random_below(run, SLOTS)];
    if (random_below(run, 128) == 0) {
        step_bad_free(run);
    } else if (*slot == NULL) {
        if (filling || random_below(run, 4) == 0) {
            step_alloc(run, slot);
        }
    } else if (random_below(run, 4) == 0) {
        step_realloc(run, slot);
    } else if (!filling || random_below(run, 3) == 0) {
        step_free(run, slot);
    }
    if (run->twin.seen.count > 0 && run->twin.seen.last.kind == W800_EVENT_REALLOC_MOVED) {
        run->twin.seen = (struct recorder){0}; /* as it should be: tests/test_inject.c */
    }
    check_no_event(&run->twin.seen, run->where);
}

static void finish(struct run *run) {
    compare_all(run);
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (run->slots[i]) {
            step_free(run, &run->slots[i]);
        }
    }
    compare_all(run);
    CHECK(run->successes > STEPS / 8, "%u allocations only%s", run->successes, run->where);
    twin_stop(&run->twin);
}

static void make_run(uint64_t seed, const struct heap_build *build,
                     const struct heap_layout *layout, bool in_place) {
    struct w800_config config = layout_config(build, layout);
    struct run run = {.seed = seed, .random = seed ^ layout->sram ^ (in_place ? 0x100000 : 0)};
    config.realloc_in_place = in_place;
    twin_start(&run.twin, &config);
    run.step = 100000; /* six digits for the place of the number */
    describe(&run);
    run.twin.where = run.where;
    uint32_t join_at = random_below(&run, STEPS);
    for (run.step = 0; run.step < STEPS; run.step++) {
        note_step(&run);
        if (run.step == join_at) {
            twin_append(&run.twin);
        }
        make_step(&run);
        if (run.step % 32 == 0) {
            twin_compare_sizes(&run.twin);
        }
        if (run.step % 128 == 0) {
            compare_all(&run);
        }
    }
    finish(&run);
}

static void make_runs(const struct heap_layout *layout) {
    const char *given = getenv("W800_SEED");
    uint64_t one = given ? strtoull(given, NULL, 0) : 0;
    const uint64_t *seeds = given ? &one : seeds_fixed;
    size_t seed_count = given ? 1 : COUNT(seeds_fixed);
    for (size_t s = 0; s < seed_count; s++) {
        for (size_t b = 0; b < HEAP_BUILDS; b++) {
            make_run(seeds[s], heap_builds[b], layout, false);
            make_run(seeds[s], heap_builds[b], layout, true);
        }
    }
    w800_stop();
}

Test(random, programs_on_a_small_application_match_the_model) { make_runs(&heap_layouts[0]); }

Test(random, programs_on_a_large_application_match_the_model) { make_runs(&heap_layouts[1]); }

Test(random, programs_in_tight_memory_match_the_model) { make_runs(&heap_layouts[2]); }
