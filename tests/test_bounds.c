/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounded time, shown: how many distinct headers does one call read or write? Two builds of
 * the core, with the largest and the smallest blocks there are, tell this suite of each header
 * they are about to touch. In an 8 MiB PSRAM with 100,000 holes it may be 64 at most, and the
 * worst case is searched for, not guessed:
 *
 * - patterns of a few dozen blocks, some made to be nasty, are mutated towards the call that
 *   touches most (the tree's shape depends on the holes alone, not on history);
 * - the worst of them are then embedded in a heap filled up to 100,000 holes and more, and
 *   every call is counted there, too;
 * - all frees and a long random walk in heaps of 10 to 100,000 holes show the growth.
 *
 * W800_SEED=N starts the searches elsewhere, W800_CASES=N makes them longer.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "heap_fixture.h"

TestSuite(bounds, .timeout = 120);

#define HEADERS_ALLOWED 64u
#define HOLES 100000u
#define PSRAM_BYTES (8u * MIB)
#define BLOCKS_MAX 96u

extern const struct heap_build heap_build_counted;      /* with call sites: 24-byte headers */
extern const struct heap_build heap_build_counted_none; /* 16-byte headers */

/* The core calls a function without a context: hence file scope. */
static struct {
    bool on;
    uint32_t count;
    uint32_t address[512];
} touched;

void wm_heap_test_accessed(uint32_t address);

void wm_heap_test_accessed(uint32_t address) {
    if (!touched.on) {
        return;
    }
    for (uint32_t i = touched.count; i > 0; i--) {
        if (touched.address[i - 1] == address) {
            return;
        }
    }
    cr_assert(touched.count < COUNT(touched.address), "one call touches 512 headers");
    touched.address[touched.count++] = address;
}

static void counting_start(void) {
    touched.on = true;
    touched.count = 0;
}

static uint32_t counting_stop(void) {
    touched.on = false;
    return touched.count;
}

/* The results, for people: they are no warnings, which would fail the suite. */
#define SAY(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr))

/* --- calls --------------------------------------------------------------------------------- */

enum call { CALL_FREE, CALL_ALLOC, CALL_ALIGNED, CALL_REALLOC, CALLS };
static const char *const call_names[CALLS] = {"free", "alloc", "aligned alloc", "realloc"};

/* The most headers that one call of each kind was seen to touch. */
struct worst {
    uint32_t headers[CALLS];
};

static void worst_note(struct worst *worst, enum call call, uint32_t headers) {
    if (headers > worst->headers[call]) {
        worst->headers[call] = headers;
    }
}

static void worst_show(const struct worst *worst, const char *build, const char *where) {
    SAY("%s, %s: at most %u headers a free, %u an alloc, %u an aligned alloc, %u a realloc", build,
        where, worst->headers[CALL_FREE], worst->headers[CALL_ALLOC], worst->headers[CALL_ALIGNED],
        worst->headers[CALL_REALLOC]);
    for (enum call call = 0; call < CALLS; call++) {
        cr_assert(worst->headers[call] <= HEADERS_ALLOWED, "%s, %s: %s touches %u headers", build,
                  where, call_names[call], worst->headers[call]);
    }
}

/* An empty heap of 8 MiB. A fault in the one before would have counted a walk. */
static void heap_reset(const struct heap_build *build) {
    cr_assert_eq(build->state->counters.faults, 0);
    memset(build->state, 0, sizeof *build->state);
    build->init();
}

static void machine_open(const struct heap_build *build) {
    struct w800_config config = {
        .build = build,
        .regions = {{"PSRAM", W800_PSRAM_START, W800_PSRAM_START + PSRAM_BYTES, WM_HEAP_CAP_SPIRAM,
                     false}},
        .region_count = 1,
        .psram_bytes = PSRAM_BYTES,
    };
    machine_start(&config);
    heap_reset(build);
}

/* A block of exactly `bytes` bytes behind all others; NULL at the end of the memory. */
static void *block_append(const struct heap_build *build, uint32_t bytes) {
    return build->alloc(bytes - build->header_size, WM_HEAP_CAP_SPIRAM, NULL, 0);
}

static uint32_t smallest(const struct heap_build *build) { return build->header_size + 8u; }

static uint32_t count_call(const struct heap_build *build, enum call call, void *pointer,
                           uint32_t size) {
    counting_start();
    switch (call) {
    case CALL_FREE:
        build->free(pointer);
        break;
    case CALL_ALLOC:
        build->alloc(size, WM_HEAP_CAP_SPIRAM, NULL, 0);
        break;
    case CALL_ALIGNED:
        build->aligned_alloc(16u << size % 9u, size, WM_HEAP_CAP_SPIRAM, NULL, 0);
        break;
    case CALL_REALLOC:
    default:
        build->realloc(pointer, size, WM_HEAP_CAP_SPIRAM, NULL, 0);
        break;
    }
    return counting_stop();
}

/* --- patterns ------------------------------------------------------------------------------ */

/* Blocks from the region's start on, and the call that is counted. */
struct pattern {
    uint32_t count;
    uint32_t bytes[BLOCKS_MAX]; /* of the whole block */
    bool hole[BLOCKS_MAX];
    enum call call;
    uint32_t target; /* block that is freed or resized */
    uint32_t size;   /* that is asked for */
};

static uint64_t random_next(uint64_t *state) { /* xorshift64 */
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint32_t random_below(uint64_t *state, uint32_t limit) {
    return (uint32_t)((random_next(state) >> 16) % limit);
}

static uint64_t environment_number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

/* Makes the pattern's heap. With `dense`, live blocks other than the target are cut into live
 * and free pieces of the smallest size. Returns the number of holes; sets *target. */
static uint32_t pattern_build(const struct heap_build *build, const struct pattern *pattern,
                              bool dense, void **target) {
    static void *to_free[2u * HOLES];
    uint32_t holes = 0;
    uint32_t piece = smallest(build);
    heap_reset(build);
    *target = NULL;
    for (uint32_t i = 0; i < pattern->count; i++) {
        uint32_t bytes = pattern->bytes[i];
        while (dense && !pattern->hole[i] && i != pattern->target && bytes >= 3u * piece) {
            block_append(build, piece);
            to_free[holes++] = block_append(build, piece);
            bytes -= 2u * piece;
        }
        void *block = block_append(build, bytes);
        if (block == NULL) {
            break; /* the memory is full: what is there is the pattern */
        }
        if (pattern->hole[i]) {
            to_free[holes++] = block;
        } else if (i == pattern->target) {
            *target = block;
        }
    }
    while (dense && build->state->regions[0].end - build->state->regions[0].tail > 8u * piece) {
        to_free[holes++] = block_append(build, piece);
        block_append(build, piece);
    }
    block_append(build, piece);
    for (uint32_t i = 0; i < holes; i++) {
        build->free(to_free[i]);
    }
    return holes;
}

static bool needs_target(const struct pattern *pattern) {
    return pattern->call == CALL_FREE || pattern->call == CALL_REALLOC;
}

/* A large one would take the room that 100,000 holes need. */
static bool target_is_large(const struct heap_build *build, const struct pattern *pattern) {
    return pattern->bytes[pattern->target] > 64u * smallest(build);
}

static uint32_t pattern_count(const struct heap_build *build, const struct pattern *pattern) {
    void *target;
    pattern_build(build, pattern, false, &target);
    if (needs_target(pattern) && (target == NULL || target_is_large(build, pattern))) {
        return 0;
    }
    return count_call(build, pattern->call, target, pattern->size);
}

/* The nasty one: `middle` is a multiple of a large power of two. Holes end just below it, at
 * distances that halve, and just above it, at distances that double, so that both sides of the
 * tree are as deep as can be next to it; the target lies across the middle. Freeing it takes
 * the hole before it out at the bottom of one side, and puts the merged one, whose end now
 * lies across, in at the top of the other, where it pushes one block a level down. */
static void pattern_nasty(const struct heap_build *build, struct pattern *pattern, uint32_t middle,
                          bool double_up) {
    uint32_t piece = smallest(build);
    uint32_t at = 0;
    *pattern = (struct pattern){.call = CALL_FREE};
    for (uint32_t distance = middle / 2u; distance > 4u * piece; distance /= 2u) {
        uint32_t end = middle - distance - 8u; /* of a hole */
        if (end < at + 2u * piece || pattern->count + 2u > BLOCKS_MAX / 2u) {
            continue;
        }
        pattern->bytes[pattern->count++] = end - piece - at;
        pattern->hole[pattern->count] = true;
        pattern->bytes[pattern->count++] = piece;
        at = end;
    }
    pattern->bytes[pattern->count++] = middle - 2u * piece - at;
    pattern->hole[pattern->count] = true;
    pattern->bytes[pattern->count++] = piece + piece / 2u / 8u * 8u;
    pattern->target = pattern->count;
    pattern->bytes[pattern->count++] = piece;
    for (uint32_t gap = piece; pattern->count + 2u < BLOCKS_MAX && gap < PSRAM_BYTES / 4u;
         gap *= double_up ? 2u : 1u) {
        pattern->bytes[pattern->count++] = gap;
        pattern->hole[pattern->count] = true;
        pattern->bytes[pattern->count++] = piece;
    }
}

static void pattern_random(const struct heap_build *build, struct pattern *pattern,
                           uint64_t *state) {
    uint32_t piece = smallest(build);
    *pattern = (struct pattern){.count = 40u + random_below(state, BLOCKS_MAX - 48u)};
    for (uint32_t i = 0; i < pattern->count; i++) {
        pattern->hole[i] = i % 2u == 1u;
        uint32_t spread = 8u << random_below(state, pattern->hole[i] ? 4 : 16);
        pattern->bytes[i] = piece + (random_below(state, spread) & ~7u);
    }
    pattern->call = (enum call)random_below(state, CALLS);
    pattern->target = random_below(state, pattern->count / 2u) * 2u;
    pattern->size = 1u + random_below(state, 200);
}

static void pattern_insert(struct pattern *pattern, uint32_t at, uint32_t bytes, bool hole) {
    if (pattern->count == BLOCKS_MAX) {
        return;
    }
    for (uint32_t i = pattern->count++; i > at; i--) {
        pattern->bytes[i] = pattern->bytes[i - 1u];
        pattern->hole[i] = pattern->hole[i - 1u];
    }
    pattern->bytes[at] = bytes;
    pattern->hole[at] = hole;
    pattern->target += pattern->target >= at;
}

static void pattern_delete(struct pattern *pattern, uint32_t at) {
    if (pattern->count < 8u || at == pattern->target) {
        return;
    }
    pattern->count--;
    for (uint32_t i = at; i < pattern->count; i++) {
        pattern->bytes[i] = pattern->bytes[i + 1u];
        pattern->hole[i] = pattern->hole[i + 1u];
    }
    pattern->target -= pattern->target > at;
}

/* Moves the border between two blocks, what lies behind stays where it is. */
static void pattern_shift(struct pattern *pattern, uint32_t at, uint32_t by, uint32_t piece) {
    if (at + 1u < pattern->count && pattern->bytes[at + 1u] >= by + piece) {
        pattern->bytes[at] += by;
        pattern->bytes[at + 1u] -= by;
    } else if (at > 0 && pattern->bytes[at - 1u] >= by + piece) {
        pattern->bytes[at] += by;
        pattern->bytes[at - 1u] -= by;
    }
}

static void pattern_mutate(const struct heap_build *build, struct pattern *pattern,
                           uint64_t *state) {
    uint32_t piece = smallest(build);
    uint32_t at = random_below(state, pattern->count);
    uint32_t by = 8u << random_below(state, 18);
    switch (random_below(state, 8)) {
    case 0:
        pattern->bytes[at] += by;
        break;
    case 1:
        pattern->bytes[at] -= pattern->bytes[at] >= by + piece ? by : 0;
        break;
    case 2:
    case 3:
        pattern_shift(pattern, at, by, piece);
        break;
    case 4:
        pattern_insert(pattern, at, piece, true);
        pattern_insert(pattern, at, piece + random_below(state, 8) * 8u, false);
        break;
    case 5:
        pattern_delete(pattern, at);
        break;
    case 6:
        pattern->target = at;
        pattern->hole[at] = false;
        break;
    default:
        pattern->size = 1u + random_below(state, 200);
        pattern->hole[at] = !pattern->hole[at] && at != pattern->target;
        break;
    }
}

/* Climbs from where the pattern is; sideways steps are taken, too. */
static uint32_t pattern_climb(const struct heap_build *build, struct pattern *pattern,
                              uint32_t steps, uint64_t *state) {
    uint32_t best = pattern_count(build, pattern);
    for (uint32_t step = 0; step < steps; step++) {
        struct pattern next = *pattern;
        for (uint32_t many = 1u + random_below(state, 3); many > 0; many--) {
            pattern_mutate(build, &next, state);
        }
        uint32_t headers = pattern_count(build, &next);
        if (headers >= best) {
            best = headers;
            *pattern = next;
        }
    }
    return best;
}

/* --- the searches -------------------------------------------------------------------------- */

#define STARTS 24u

/* Start number `start` of a search: the first few are nasty, with each call in turn. */
static void pattern_start(const struct heap_build *build, struct pattern *pattern, uint32_t start,
                          uint64_t *state) {
    static const uint32_t middles[] = {PSRAM_BYTES / 2u, PSRAM_BYTES / 4u, PSRAM_BYTES / 8u,
                                       3u * PSRAM_BYTES / 4u};
    if (start < 2u * COUNT(middles)) {
        pattern_nasty(build, pattern, middles[start / 2u], start % 2u == 0);
    } else {
        pattern_random(build, pattern, state);
        pattern->call = (enum call)(start % CALLS);
    }
}

/* False: what the pattern itself takes leaves no room for so many holes. */
static bool embed_and_count(const struct heap_build *build, const struct pattern *pattern,
                            struct worst *worst) {
    void *target;
    uint32_t holes = pattern_build(build, pattern, true, &target);
    if (holes < HOLES) {
        return false;
    }
    if (target != NULL || !needs_target(pattern)) {
        worst_note(worst, pattern->call, count_call(build, pattern->call, target, pattern->size));
    }
    return true;
}

static void search(const struct heap_build *build) {
    uint64_t seed = environment_number("W800_SEED", 1);
    uint32_t steps = (uint32_t)environment_number("W800_CASES", 4000);
    struct worst sparse = {{0}};
    struct worst dense = {{0}};
    SAY("W800_SEED=%" PRIu64 " W800_CASES=%" PRIu32, seed, steps);
    uint32_t embedded = 0;
    machine_open(build);
    for (uint32_t start = 0; start < STARTS; start++) {
        uint64_t state = (seed * STARTS + start) * 0x9e3779b97f4a7c15u | 1u;
        struct pattern pattern;
        pattern_start(build, &pattern, start, &state);
        embedded += embed_and_count(build, &pattern, &dense);
        uint32_t headers = pattern_climb(build, &pattern, steps, &state);
        worst_note(&sparse, pattern.call, headers);
        embedded += embed_and_count(build, &pattern, &dense);
    }
    w800_stop();
    worst_show(&sparse, build->name, "patterns alone");
    worst_show(&dense, build->name, "patterns among 100,000 holes");
    cr_assert_geq(embedded, STARTS);
    cr_assert(sparse.headers[CALL_FREE] >= 24u, "the search for bad frees finds nothing");
}

Test(bounds, a_search_finds_no_call_that_reads_too_many_headers_with_call_sites) {
    search(&heap_build_counted);
}

Test(bounds, a_search_finds_no_call_that_reads_too_many_headers_without_call_sites) {
    search(&heap_build_counted_none);
}

/* --- growth -------------------------------------------------------------------------------- */

#define SPARE (HOLES / 8u + 1u) /* holes that may merge away before a heap is made anew */

/* `holes` holes and as many live blocks, spread over all of the memory; live[] gets these. */
static void heap_spread(const struct heap_build *build, uint32_t holes, uint64_t *state,
                        void **live) {
    static void *to_free[HOLES + SPARE];
    uint32_t room = (PSRAM_BYTES - 64u) / holes & ~7u;
    uint32_t piece = smallest(build);
    heap_reset(build);
    for (uint32_t i = 0; i < holes; i++) {
        uint32_t bytes =
            piece + random_below(state, room > 200u ? 12u : (room - 2u * piece) / 8u + 1u) * 8u;
        to_free[i] = block_append(build, bytes);
        live[i] = block_append(build, room - bytes);
        cr_assert(to_free[i] != NULL && live[i] != NULL);
    }
    for (uint32_t i = 0; i < holes; i++) {
        build->free(to_free[i]);
    }
}

/* Every live block is freed once, in heaps that keep at least `holes` holes; now and then
 * something is allocated or resized in between. */
static void spread_count(const struct heap_build *build, uint32_t holes, uint64_t *state,
                         struct worst *worst) {
    static void *live[HOLES + SPARE];
    uint32_t made = holes + holes / 8u + 1u;
    uint32_t rounds = 10u;
    for (uint32_t round = 0; round < rounds; round++) {
        heap_spread(build, made, state, live);
        for (uint32_t i = round; i < made; i += rounds) {
            uint32_t size = 1u + random_below(state, 40);
            enum call call = i % 40u == round ? CALL_REALLOC : CALL_FREE;
            worst_note(worst, call, count_call(build, call, live[i], size));
            if (i % 50u == round) {
                worst_note(worst, CALL_ALLOC, count_call(build, CALL_ALLOC, NULL, size));
                worst_note(worst, CALL_ALIGNED, count_call(build, CALL_ALIGNED, NULL, size));
            }
        }
    }
}

Test(bounds, headers_read_grow_with_the_address_bits_and_not_with_the_holes) {
    uint64_t seed = environment_number("W800_SEED", 1);
    uint64_t state = seed * 0x9e3779b97f4a7c15u | 1u;
    machine_open(&heap_build_counted);
    uint32_t bits = 2;
    for (uint32_t holes = 10; holes <= HOLES; holes *= 10u) {
        struct worst worst = {{0}};
        char where[64];
        snprintf(where, sizeof where, "%" PRIu32 " holes, W800_SEED=%" PRIu64, holes, seed);
        spread_count(&heap_build_counted, holes, &state, &worst);
        worst_show(&worst, heap_build_counted.name, where);
        for (; 1u << bits < holes; bits++) {
        }
        /* two ways down the tree, an eighth more holes, and the block and its neighbours */
        cr_assert(worst.headers[CALL_FREE] <= 2u * (bits + 3u) + 3u, "%s: %u", where,
                  worst.headers[CALL_FREE]);
    }
    w800_stop();
}

/* SDK defect 14: search and insertion were linear in the number of free blocks. Here the worst
 * of them: the hole that fits is the last of 100,000, and a block is freed behind them all. */
Test(defects, d14_neither_search_nor_insertion_walks_the_holes) {
    static void *live[HOLES];
    const struct heap_build *build = &heap_build_counted;
    uint64_t state = 1;
    machine_open(build);
    heap_spread(build, HOLES, &state, live);
    void *large = build->alloc(100, WM_HEAP_CAP_SPIRAM, NULL, 0);
    cr_assert_gt(w800_address(large), w800_address(live[HOLES - 1u]));
    void *end = build->alloc(1, WM_HEAP_CAP_SPIRAM, NULL, 0);
    cr_assert_not_null(end);
    cr_assert_leq(count_call(build, CALL_FREE, live[HOLES - 1u], 0), HEADERS_ALLOWED);
    cr_assert_leq(count_call(build, CALL_ALLOC, NULL, 101), HEADERS_ALLOWED);
    w800_stop();
}
