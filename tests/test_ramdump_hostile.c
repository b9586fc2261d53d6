/* SPDX-License-Identifier: Apache-2.0
 *
 * RAM dumps that are not what they should be: without descriptors, pieces of memory, cut,
 * garbled; and dumps of our own core. W800_SEED=N in the environment garbles otherwise.
 */
#include "../sim/diagnose.h"
#include "heap_fixture.h"
#include "sdk_dump.h"
#include "trace_text.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

TestSuite(ramdump_hostile, .timeout = 120);

/* Reads exactly these bytes, so that a sanitizer sees one too many. */
static bool diagnose(const uint8_t *bytes, size_t size, uint32_t base, struct diagnosis *diagnosis,
                     char error[256]) {
    const struct diagnose_options options = {.has_base = base != 0, .base = base};
    uint8_t *exact = malloc(size + (size == 0));
    memcpy(exact, bytes, size);
    *diagnosis = (struct diagnosis){0};
    cr_assert(image_init(&diagnosis->image));
    error[0] = '\0';
    const bool done = diagnose_memory(exact, size, "dump", &options, diagnosis, error, 256);
    cr_assert(done || (error[0] != '\0' && strchr(error, '\n') == NULL), "no reason in one line");
    free(exact);
    return done;
}

static void release(struct diagnosis *diagnosis) {
    findings_free(&diagnosis->findings);
    image_free(&diagnosis->image);
}

/* Writes 40 bytes over the end of a live block of the first region. */
static const struct sdk_block *smash(struct sdk_dump *dump, size_t from) {
    while (!dump->blocks[from].live) {
        ++from;
    }
    const struct sdk_block *block = &dump->blocks[from];
    const uint32_t start = sdk_pointer(dump, block) + block->requested;
    memset(sdk_at(dump, start), 'A', block->address + block->size + 40 - start);
    return block;
}

static void assert_overflow(const struct sdk_dump *dump, const struct sdk_block *block,
                            const struct finding *finding, const char *what) {
    cr_assert_eq(finding->verdict, VERDICT_OVERFLOW, "%s: %s\n%s", what,
                 verdict_name(finding->verdict), finding->evidence);
    cr_assert_eq(finding->address, sdk_pointer(dump, block), "%s: 0x%08" PRIx32, what,
                 finding->address);
    cr_assert_eq(finding->victim, block->address + block->size + dump->build->header,
                 "%s: victim 0x%08" PRIx32, what, finding->victim);
}

Test(ramdump_hostile, one_smashed_header_does_not_hide_another) {
    for (size_t build = 0; build < 6; ++build) {
        struct sdk_dump *dump = sdk_dump_make(&sdk_builds[build], trace_text_seed());
        const struct sdk_block *first = smash(dump, 5);
        const struct sdk_block *second = smash(dump, 20);
        struct diagnosis diagnosis;
        char error[256];
        cr_assert(diagnose(dump->bytes, SDK_DUMP_BYTES, 0, &diagnosis, error), "%s", error);
        cr_assert_eq(diagnosis.findings.count, 2, "%s: %zu findings", dump->build->name,
                     diagnosis.findings.count);
        assert_overflow(dump, first, &diagnosis.findings.list[0], dump->build->name);
        assert_overflow(dump, second, &diagnosis.findings.list[1], dump->build->name);
        release(&diagnosis);
        sdk_dump_free(dump);
    }
}

/* The memory from `base` on, the descriptors wiped if they are in it. */
static void assert_piece(const struct sdk_build *build, uint32_t base, bool smashed) {
    struct sdk_dump *dump = sdk_dump_make(build, trace_text_seed());
    struct diagnosis diagnosis;
    char error[256];
    char what[64];
    snprintf(what, sizeof(what), "build %s from 0x%08" PRIx32, build->name, base);
    memset(sdk_at(dump, SDK_DESCRIPTORS), 0, (size_t)3 * 68);
    const struct sdk_block *block = smashed ? smash(dump, 30) : NULL;
    cr_assert(diagnose(sdk_at(dump, base), SDK_BASE + SDK_BYTES - base, base, &diagnosis, error),
              "%s: %s", what, error);
    cr_assert_eq(diagnosis.findings.count, smashed ? 1 : 0, "%s: %zu findings:\n%s", what,
                 diagnosis.findings.count, diagnosis.findings.list[0].evidence);
    if (smashed) {
        assert_overflow(dump, block, &diagnosis.findings.list[0], what);
    }
    cr_assert_eq(diagnosis.image.header_size, build->header, "%s", what);
    cr_assert_eq(diagnosis.image.tracing, build->tracing, "%s", what);
    release(&diagnosis);
    sdk_dump_free(dump);
}

Test(ramdump_hostile, without_descriptors_the_headers_tell_build_and_blocks) {
    for (size_t build = 0; build < 6; ++build) {
        assert_piece(&sdk_builds[build], SDK_BASE, false);
        assert_piece(&sdk_builds[build], SDK_BASE, true);
        assert_piece(&sdk_builds[build], 0x20005124u, false);
        assert_piece(&sdk_builds[build], 0x20005124u, true);
    }
}

/* DRAM's blocks moved to where PSRAM is, the rest of 2 MiB free. */
static void assert_psram(const struct sdk_build *build, bool smashed) {
    enum { PSRAM_BYTES = 2 << 20 };
    struct sdk_dump *dump = sdk_dump_make(build, 1);
    for (uint64_t seed = 2; dump->live[1] < 5; ++seed) {
        sdk_dump_free(dump);
        dump = sdk_dump_make(build, seed);
    }
    const uint32_t end = (0x30000000u + PSRAM_BYTES - build->header) & ~7u;
    uint8_t *bytes = calloc(1, PSRAM_BYTES);
    struct diagnosis diagnosis;
    char error[256];
    struct sdk_block *last = &dump->blocks[dump->count - 1];
    const uint32_t used = last->address - dump->starts[1];
    for (size_t i = 0; i < dump->count; ++i) {
        const struct sdk_block *block = &dump->blocks[i];
        if (block->region != 1) {
            continue;
        }
        if (block->live) {
            sdk_put(dump, block->address, 0);
            sdk_put(dump, block->address + 12, 4);
        } else if (block == last) {
            sdk_put(dump, block->address, end);
            sdk_put(dump, block->address + 4, end - 0x30000000u - used);
        } else {
            sdk_put(dump, block->address,
                    sdk_get(dump, block->address) - dump->starts[1] + 0x30000000u);
        }
    }
    if (smashed) {
        size_t at = 0;
        while (dump->blocks[at].region != 1 || !dump->blocks[at].live) {
            ++at;
        }
        smash(dump, at);
    }
    memcpy(bytes, sdk_at(dump, dump->starts[1]), used + 64);
    cr_assert(diagnose(bytes, PSRAM_BYTES, 0x30000000u, &diagnosis, error), "%s: %s", build->name,
              error);
    cr_assert_eq(diagnosis.findings.count, smashed, "%s: %zu findings:\n%s", build->name,
                 diagnosis.findings.count, diagnosis.findings.list[0].evidence);
    cr_assert(smashed || diagnosis.image.regions[2].end == end, "%s: end 0x%08" PRIx32, build->name,
              diagnosis.image.regions[2].end);
    release(&diagnosis);
    free(bytes);
    sdk_dump_free(dump);
}

Test(ramdump_hostile, psram_alone_is_read) {
    for (size_t build = 0; build < 6; ++build) {
        assert_psram(&sdk_builds[build], false);
        assert_psram(&sdk_builds[build], true);
    }
}

/* --- Cut and garbled -------------------------------------------------------------------- */

Test(ramdump_hostile, cut_dumps_are_read_or_refused) {
    for (size_t build = 0; build < 6; ++build) {
        struct sdk_dump *dump = sdk_dump_make(&sdk_builds[build], trace_text_seed());
        unsigned read = 0;
        for (uint32_t size = 0; size < SDK_DUMP_BYTES; size += size < 100 ? 1 : 9973) {
            struct diagnosis diagnosis;
            char error[256];
            if (diagnose(dump->bytes, size, 0, &diagnosis, error)) {
                ++read;
                cr_assert_eq(diagnosis.findings.count, 0, "%s cut to %" PRIu32 " bytes:\n%s",
                             dump->build->name, size, diagnosis.findings.list[0].evidence);
            }
            release(&diagnosis);
        }
        cr_assert_geq(read, 20, "%s: %u", dump->build->name, read);
        sdk_dump_free(dump);
    }
}

/* Changes bytes, most of them where descriptors and headers are. */
static void garble(struct sdk_dump *dump, uint64_t seed) {
    dump->random = seed * 0x9e3779b97f4a7c15u + 7;
    const uint32_t changes = 1 + sdk_random(dump, 8);
    for (uint32_t i = 0; i < changes; ++i) {
        const struct sdk_block *block = &dump->blocks[sdk_random(dump, (uint32_t)dump->count)];
        uint32_t at = block->address + sdk_random(dump, dump->build->header);
        if (sdk_random(dump, 4) == 0) {
            at = SDK_DESCRIPTORS + sdk_random(dump, 136);
        }
        const uint8_t flipped = (uint8_t)(*sdk_at(dump, at) ^ 1u << i);
        const uint8_t other = (uint8_t)sdk_random(dump, 256);
        *sdk_at(dump, at) = sdk_random(dump, 2) != 0 ? other : flipped;
    }
}

Test(ramdump_hostile, garbled_dumps_are_read_or_refused) {
    const uint64_t seed = trace_text_seed() * 1000;
    for (uint64_t round = 0; round < 300; ++round) {
        struct sdk_dump *dump = sdk_dump_make(&sdk_builds[round % 6], seed + round);
        struct diagnosis diagnosis;
        char error[256];
        const uint32_t events[][5] = {{1, 0x20028018, 40, 0x08012345, SDK_FILE},
                                      {3, 0x20028018, 64, 0x08012345, SDK_FILE},
                                      {0x0c, 0x20004000, 80, 64, 0x20028018},
                                      {2, sdk_random(dump, 0x20010000), 0, 0x08012345, 0}};
        sdk_put_recorder(dump, 4, events, 4);
        sdk_put(dump, SDK_RECORDER + 4 * sdk_random(dump, 7), sdk_random(dump, 0x20048000));
        garble(dump, seed + round);
        diagnose(dump->bytes, SDK_DUMP_BYTES, 0, &diagnosis, error);
        release(&diagnosis);
        sdk_dump_free(dump);
    }
}

Test(ramdump_hostile, memory_without_a_heap_is_refused) {
    static uint8_t bytes[SDK_DUMP_BYTES];
    struct diagnosis diagnosis;
    char error[256];
    cr_assert_not(diagnose(bytes, sizeof(bytes), 0, &diagnosis, error));
    release(&diagnosis);
    cr_assert_not(diagnose(bytes, 5000, 0xfffff000u, &diagnosis, error));
    release(&diagnosis);
    for (size_t i = 0; i < sizeof(bytes); ++i) {
        bytes[i] = (uint8_t)(i * i >> 7);
    }
    cr_assert_not(diagnose(bytes, sizeof(bytes) - 72, 0, &diagnosis, error));
    release(&diagnosis);
}

/* --- Our own core ----------------------------------------------------------------------- */

/* The machine's memory with the core's state where a firmware would have it. */
static uint8_t *own_dump(const struct heap_build *build) {
    uint8_t *bytes = calloc(1, SDK_DUMP_BYTES);
    memcpy(bytes + SDK_REGISTER_BYTES, w800_pointer(SDK_BASE), SDK_BYTES);
    memcpy(bytes + SDK_REGISTER_BYTES + 0x1000, build->state, sizeof(*build->state));
    return bytes;
}

static void assert_own_clean(const struct heap_build *build, const struct diagnosis *diagnosis) {
    const struct image_region *region = &diagnosis->image.regions[0];
    cr_assert_eq(diagnosis->findings.count, 0, "%s:\n%s", build->name,
                 diagnosis->findings.list[0].evidence);
    cr_assert_eq(region->free_bytes + region->live_bytes, region->end - region->start);
    cr_assert_eq(region->live_blocks, 40, "%s: %" PRIu32, build->name, region->live_blocks);
    cr_assert_eq(region->largest_free, build->caps_largest_free_block(EXEC), "%s", build->name);
}

static void in_own_build(const struct heap_build *build) {
    const struct w800_config config = layout_config(build, &heap_layouts[0]);
    struct w800_error start_error;
    struct diagnosis diagnosis;
    char error[256];
    void *blocks[60];
    cr_assert(w800_start(&config, &start_error), "%s", start_error.text);
    build->init();
    for (size_t i = 0; i < 60; ++i) {
        blocks[i] = build->alloc(40 + 8 * i, INTERNAL, "a.c", 7);
    }
    for (size_t i = 0; i < 60; i += 3) {
        build->free(blocks[i]);
    }
    uint8_t *bytes = own_dump(build);
    cr_assert(diagnose(bytes, SDK_DUMP_BYTES, 0, &diagnosis, error), "%s", error);
    assert_own_clean(build, &diagnosis);
    release(&diagnosis);
    free(bytes);

    /* 31 and 32 are live */
    w800_write_past(blocks[31], 40, 'A');
    bytes = own_dump(build);
    cr_assert(diagnose(bytes, SDK_DUMP_BYTES, 0, &diagnosis, error), "%s", error);
    cr_assert_eq(diagnosis.findings.count, 1, "%s: %zu", build->name, diagnosis.findings.count);
    cr_assert_eq(diagnosis.findings.list[0].verdict, VERDICT_OVERFLOW, "%s", build->name);
    cr_assert_eq(diagnosis.findings.list[0].address, w800_address(blocks[31]), "%s", build->name);
    cr_assert_eq(diagnosis.findings.list[0].victim, w800_address(blocks[32]), "%s", build->name);
    release(&diagnosis);
    bytes[SDK_REGISTER_BYTES + 0x1004] =
        99; /* version: what is behind the first words may be anything */
    memset(bytes + SDK_REGISTER_BYTES + 0x100c, 0xff, sizeof(*build->state) - 12);
    cr_assert_not(diagnose(bytes, SDK_DUMP_BYTES, 0, &diagnosis, error));
    cr_assert_not_null(strstr(error, "version"), "%s", error);
    release(&diagnosis);
    free(bytes);
    w800_stop();
}

Test(ramdump_hostile, dumps_of_our_own_core_are_read_in_every_build) {
    in_every_build(in_own_build);
}

/* --- What was done to a heap of our own core ---------------------------------------------- */

#define OWN_BLOCKS 60u

/* Every third block was freed: 30 is a hole, 31 and 32 are live. */
struct own_heap {
    const struct heap_build *build;
    uint8_t *blocks[OWN_BLOCKS];
};

static uint32_t own_size(size_t i) { return (uint32_t)(40 + 8 * i); }

static void own_start(struct own_heap *own, const struct heap_build *build) {
    const struct w800_config config = layout_config(build, &heap_layouts[0]);
    struct recorder seen;
    heap_start(&config, &seen);
    w800_on_event(NULL, NULL);
    own->build = build;
    for (size_t i = 0; i < OWN_BLOCKS; ++i) {
        own->blocks[i] = build->alloc(own_size(i), INTERNAL, "a.c", (int)i);
    }
    for (size_t i = 0; i < OWN_BLOCKS; i += 3) {
        build->free(own->blocks[i]);
    }
}

static void hurt_canary(struct own_heap *own) { own->blocks[32][-1] ^= 1; }
static void hurt_first_canary(struct own_heap *own) { own->blocks[32][-5] ^= 1; }
static void hurt_guard(struct own_heap *own) { own->blocks[31][own_size(31)] ^= 1; }
static void hurt_long(struct own_heap *own) {
    memset(own->blocks[31] + own_size(31), 'A', 24 + own->build->header_size);
}
static void hurt_before_hole(struct own_heap *own) {
    own->blocks[31][-(int)own->build->header_size - 1] ^= 1;
}
static void hurt_node(struct own_heap *own) {
    memset(own->blocks[31] - own->build->header_size - 24, 'A', 24);
}
static void hurt_hole_start(struct own_heap *own) {
    memset(own->blocks[30] - own->build->header_size, 'A', 4);
}
static void hurt_first_header(struct own_heap *own) {
    memset(own->blocks[1] - own->build->header_size, 'A', 16);
}
static void hurt_mark(struct own_heap *own) {
    own->blocks[31][-(int)own->build->header_size + 6] ^= 1;
}

#define TELLS(a, b, c)                                                                             \
    { VERDICT_##a, VERDICT_##b, VERDICT_##c }

static const struct {
    const char *name;
    void (*hurt)(struct own_heap *own);
    enum verdict verdict[3]; /* no, light, comprehensive poisoning */
    size_t block[3];         /* whose pointer is named */
} own_damages[] = {
    {"a byte before a payload", hurt_canary, TELLS(UNDERFLOW, UNDERFLOW, UNDERFLOW), {32, 32, 32}},
    {"a byte four before it",
     hurt_first_canary,
     TELLS(UNDERFLOW, UNDERFLOW, UNDERFLOW),
     {32, 32, 32}},
    {"a byte behind it", hurt_guard, TELLS(OVERFLOW, OVERFLOW, OVERFLOW), {31, 31, 31}},
    {"many bytes behind it", hurt_long, TELLS(OVERFLOW, OVERFLOW, OVERFLOW), {31, 31, 31}},
    {"the last byte of a hole",
     hurt_before_hole,
     TELLS(UNDERFLOW, UNDERFLOW, UNDERFLOW),
     {31, 31, 31}},
    {"a hole's node",
     hurt_node,
     TELLS(USE_AFTER_FREE, USE_AFTER_FREE, USE_AFTER_FREE),
     {30, 30, 30}},
    {"a hole's first word", hurt_hole_start, TELLS(OVERFLOW, OVERFLOW, OVERFLOW), {29, 29, 29}},
    {"a header behind a hole",
     hurt_first_header,
     TELLS(SMASHED_HEADER, SMASHED_HEADER, SMASHED_HEADER),
     {1, 1, 1}},
    {"a header's mark", hurt_mark, TELLS(UNDERFLOW, SMASHED_HEADER, SMASHED_HEADER), {31, 31, 31}},
};

static void judge_own(const struct heap_build *build) {
    const size_t poisoning = build->comprehensive ? 2 : build->poisoned ? 1 : 0;
    for (size_t i = 0; i < COUNT(own_damages); ++i) {
        struct own_heap own;
        struct diagnosis diagnosis;
        char error[256];
        own_start(&own, build);
        own_damages[i].hurt(&own);
        uint8_t *bytes = own_dump(build);
        cr_assert(diagnose(bytes, SDK_DUMP_BYTES, 0, &diagnosis, error), "%s", error);
        const struct finding *finding = &diagnosis.findings.list[0];
        CHECK(diagnosis.findings.count == 1, "%s: %zu findings", own_damages[i].name,
              diagnosis.findings.count);
        CHECK(finding->verdict == own_damages[i].verdict[poisoning] &&
                  finding->address == w800_address(own.blocks[own_damages[i].block[poisoning]]),
              "%s: %s of 0x%08x: %s", own_damages[i].name, verdict_name(finding->verdict),
              finding->address, finding->evidence);
        release(&diagnosis);
        free(bytes);
    }
}

Test(ramdump_hostile, what_was_done_to_our_own_core_s_heap_is_told) { in_every_build(judge_own); }

/* Every other header smashed: a hundred findings say it. */
static void smash_all(const struct heap_build *build) {
    struct own_heap own;
    struct diagnosis diagnosis;
    char error[256];
    own_start(&own, build);
    for (size_t i = 0; i < 250; ++i) {
        build->alloc(40, INTERNAL, "b.c", 1); /* between two, so that they are two */
        void *block = build->alloc(40, INTERNAL, "b.c", 2);
        *word_at(w800_address(block) - build->header_size + 12) ^= 0x10;
    }
    uint8_t *bytes = own_dump(build);
    cr_assert(diagnose(bytes, SDK_DUMP_BYTES, 0, &diagnosis, error), "%s", error);
    CHECK_EQ(diagnosis.findings.count, 100, "findings");
    release(&diagnosis);
    free(bytes);
}

Test(ramdump_hostile, a_heap_smashed_all_over_has_a_hundred_findings) { in_every_build(smash_all); }

/* A fault that the core told of is shown, with what was found or by itself. */
static void report_own(const struct heap_build *build) {
    for (int smashed = 0; smashed < 2; ++smashed) {
        struct own_heap own;
        struct diagnosis diagnosis;
        struct recorder seen = {0};
        char error[256];
        own_start(&own, build);
        w800_on_event(record_event, &seen);
        if (smashed != 0) {
            hurt_first_header(&own);
        }
        build->free(own.blocks[smashed != 0 ? 1 : 30]);
        CHECK_EQ(seen.count, 1, "faults");
        uint8_t *bytes = own_dump(build);
        cr_assert(diagnose(bytes, SDK_DUMP_BYTES, 0, &diagnosis, error), "%s", error);
        CHECK_EQ(diagnosis.findings.count, 1, "findings");
        const struct finding *finding = &diagnosis.findings.list[0];
        CHECK(finding->verdict == (smashed != 0 ? VERDICT_SMASHED_HEADER : VERDICT_DOUBLE_FREE),
              "%s", verdict_name(finding->verdict));
        CHECK(strstr(finding->evidence, "the heap reported: ") != NULL, "%s", finding->evidence);
        release(&diagnosis);
        free(bytes);
    }
}

Test(ramdump_hostile, the_fault_that_our_own_core_reported_is_shown) { in_every_build(report_own); }

/* Words that are no state of ours, though its magic stands there. */
static void doubt_state(const struct heap_build *build) {
    struct own_heap own;
    own_start(&own, build);
    for (size_t row = 0; row < 8; ++row) {
        struct diagnosis diagnosis;
        char error[256];
        uint8_t *bytes = own_dump(build);
        struct wm_heap_state state;
        memcpy(&state, build->state, sizeof state);
        state.region_count = row == 0 ? 0 : row == 1 ? 4 : state.region_count;
        state.header_size = row == 2 ? 20 : state.header_size;
        state.regions[0].state = row == 3 ? 3 : state.regions[0].state;
        state.regions[0].start += row == 4 ? 4 : row == 5 ? 0x100000 : 0;
        state.regions[0].tail += row == 6 ? 0x100000 : row == 7 ? 4 : 0;
        memcpy(bytes + SDK_REGISTER_BYTES + 0x1000, &state, sizeof state);
        CHECK(!diagnose(bytes, SDK_DUMP_BYTES, 0, &diagnosis, error), "row %zu is believed", row);
        release(&diagnosis);
        free(bytes);
    }
}

Test(ramdump_hostile, a_state_that_cannot_be_is_not_believed) { in_every_build(doubt_state); }
