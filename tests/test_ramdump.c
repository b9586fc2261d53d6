/* SPDX-License-Identifier: Apache-2.0
 *
 * RAM dumps to causes: the bundled field dumps, and dumps laid out here for all six builds of
 * the SDK's heap, with one thing wrong in each. W800_SEED=N in the environment lays them out
 * with another seed.
 */
#include "../sim/diagnose.h"
#include "sdk_dump.h"
#include "trace_text.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

TestSuite(ramdump, .timeout = 120);

#define FIELD W800_SOURCE_DIR "/tests/field/"
#define ROUNDS 12

static uint8_t *load(const char *name, size_t *size) {
    char path[512];
    snprintf(path, sizeof(path), FIELD "%s", name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    uint8_t *bytes = malloc(SDK_DUMP_BYTES + 1);
    *size = fread(bytes, 1, SDK_DUMP_BYTES + 1, file);
    fclose(file);
    return bytes;
}

/* Reads exactly these bytes, so that a sanitizer sees one too many. */
static bool diagnose(const uint8_t *bytes, size_t size, const struct diagnose_options *options,
                     struct diagnosis *diagnosis, char error[256]) {
    uint8_t *exact = malloc(size + (size == 0));
    memcpy(exact, bytes, size);
    *diagnosis = (struct diagnosis){0};
    cr_assert(image_init(&diagnosis->image));
    error[0] = '\0';
    const bool done = diagnose_memory(exact, size, "dump", options, diagnosis, error, 256);
    free(exact);
    return done;
}

static void release(struct diagnosis *diagnosis) {
    findings_free(&diagnosis->findings);
    image_free(&diagnosis->image);
}

/* "VERDICT ADDRESS VICTIM SITE" of the worst finding, "clean" if there is none. */
static void summarize(const struct diagnosis *diagnosis, char *text, size_t size) {
    snprintf(text, size, "clean");
    if (diagnosis->findings.count > 0) {
        const struct finding *worst = &diagnosis->findings.list[0];
        snprintf(text, size, "%s 0x%08" PRIx32 " 0x%08" PRIx32 " %s", verdict_name(worst->verdict),
                 worst->address, worst->victim, worst->site);
    }
}

#define HTTP "/home/dev/wm_iot_sdk/components/http_client/src/wm_http_client.c:481"
static const struct {
    const char *dump, *firmware, *expected, *expected_without;
} field[] = {
    {"clean-11.ram", "firmware-trace.elf", "clean", "clean"},
    {"clean-11-untraced.ram", "firmware-none.elf", "clean", "clean"},
    {"overrun-11.ram", "firmware-trace.elf", "overflow 0x200096d8 0x200097a0 " HTTP,
     "overflow 0x200096d8 0x200097a0 "},
    {"overrun-11-untraced.ram", "firmware-none.elf", "overflow 0x20009848 0x200098b8 ",
     "overflow 0x20009848 0x200098b8 "},
};
#define FIELDS (sizeof(field) / sizeof(field[0]))

static void assert_field(size_t row, bool with_firmware) {
    char error[256];
    char got[1200];
    size_t size = 0;
    struct diagnosis diagnosis;
    struct diagnose_options options = {0};
    char path[512];
    snprintf(path, sizeof(path), FIELD "%s", field[row].firmware);
    if (with_firmware) {
        options.firmware = firmware_open(path, error, sizeof(error));
        cr_assert_not_null(options.firmware, "%s", error);
    }
    uint8_t *bytes = load(field[row].dump, &size);
    cr_assert(diagnose(bytes, size, &options, &diagnosis, error), "%s", error);
    summarize(&diagnosis, got, sizeof(got));
    cr_assert_str_eq(got, with_firmware ? field[row].expected : field[row].expected_without,
                     "%s: %s", field[row].dump, got);
    release(&diagnosis);
    firmware_close(options.firmware);
    free(bytes);
}

Test(ramdump, field_dumps_are_diagnosed_with_and_without_their_firmware) {
    for (size_t i = 0; i < FIELDS; ++i) {
        assert_field(i, true);
        assert_field(i, false);
    }
}

Test(ramdump, registers_alone_are_an_exception) {
    struct sdk_dump *dump = sdk_dump_make(&sdk_builds[1], 1);
    struct diagnose_options options = {0};
    struct diagnosis diagnosis;
    char error[256];
    const uint8_t pc[4] = {0x3a, 0x9f, 0x01, 0x08};
    dump->bytes[66] = 2; /* psr: exception 2 */
    memcpy(dump->bytes + 68, pc, 4);
    cr_assert(diagnose(dump->bytes, SDK_DUMP_BYTES, &options, &diagnosis, error), "%s", error);
    cr_assert_eq(diagnosis.findings.count, 1);
    cr_assert_eq(diagnosis.findings.list[0].verdict, VERDICT_EXCEPTION);
    cr_assert_eq(diagnosis.exception, 2);
    cr_assert_eq(diagnosis.pc, 0x08019f3au);
    release(&diagnosis);
    sdk_dump_free(dump);
}

/* --- Dumps laid out here ---------------------------------------------------------------- */

/* The one thing that is wrong; `at` is the block it is about. */
typedef void damage_fn(struct sdk_dump *dump, size_t at, char *expected, size_t size);

static void expect(char *text, size_t size, enum verdict verdict, uint32_t address,
                   uint32_t victim) {
    snprintf(text, size, "%s 0x%08" PRIx32 " 0x%08" PRIx32 " ", verdict_name(verdict), address,
             victim);
}

static void no_damage(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    (void)dump;
    (void)at;
    snprintf(expected, size, "clean");
}

static void overrun(struct sdk_dump *dump, size_t at, uint32_t bytes, char *expected, size_t size) {
    const struct sdk_block *block = &dump->blocks[at];
    const uint32_t from = sdk_pointer(dump, block) + block->requested;
    const uint32_t behind = block->address + block->size;
    memset(sdk_at(dump, from), 'A', behind - from + bytes);
    expect(expected, size, VERDICT_OVERFLOW, sdk_pointer(dump, block),
           behind + dump->build->header);
}

static void overrun_1(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    overrun(dump, at, 1, expected, size);
}

static void overrun_5(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    overrun(dump, at, 5, expected, size);
}

static void overrun_12(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    overrun(dump, at, 12, expected, size);
}

static void overrun_40(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    overrun(dump, at, 40, expected, size);
}

/* Over all of the next block and the header of the one behind it. */
static void overrun_far(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    overrun(dump, at, dump->blocks[at + 1].size + 20, expected, size);
}

/* Not text, and nothing of the kind in front of it. */
static void zeros_over(struct sdk_dump *dump, size_t at, uint32_t bytes, char *expected,
                       size_t size) {
    const struct sdk_block *block = &dump->blocks[at];
    memset(sdk_at(dump, block->address + block->size), 0, bytes);
    expect(expected, size, VERDICT_OVERFLOW, sdk_pointer(dump, block),
           block->address + block->size + dump->build->header);
}

static void zeros_over_size(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    /* 5 clear the link and the size's low byte: seen if there is a link and a low byte. */
    const bool seen = dump->build->tracing && (dump->blocks[at + 1].size & 0xffu) != 0;
    zeros_over(dump, at, seen ? 5 : 8, expected, size);
}

static void zeros_over_30(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    zeros_over(dump, at, 30, expected, size);
}

static void zeros_under(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    const uint32_t pointer = sdk_pointer(dump, &dump->blocks[at]);
    memset(sdk_at(dump, pointer - 7), 0, 7);
    expect(expected, size, VERDICT_UNDERFLOW, pointer, 0);
}

/* A free block's link alone, by someone who still had the memory. */
static void used_after_free(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    while (dump->blocks[at].live) {
        ++at;
    }
    const struct sdk_block *block = &dump->blocks[at];
    sdk_put(dump, block->address, 0x01020304);
    memset(sdk_at(dump, block->address - 4), 0, 4);
    if (dump->build->comprehensive) { /* that was no guard byte */
        sdk_put(dump, sdk_pointer(dump, block - 1) + dump->blocks[at - 1].requested, 0x5a5a5a5a);
    }
    expect(expected, size, VERDICT_USE_AFTER_FREE, sdk_pointer(dump, block),
           sdk_pointer(dump, block));
}

static void underflow(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    const uint32_t pointer = sdk_pointer(dump, &dump->blocks[at]);
    memset(sdk_at(dump, pointer - 7), 'B', 7);
    expect(expected, size, VERDICT_UNDERFLOW, pointer, 0);
}

static void tail(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    const struct sdk_block *block = &dump->blocks[at];
    no_damage(dump, at, expected, size);
    if (dump->build->comprehensive) {
        memset(sdk_at(dump, sdk_pointer(dump, block) + block->requested), 'C', 3);
        expect(expected, size, VERDICT_OVERFLOW, sdk_pointer(dump, block), 0);
    }
}

static void end_marker(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    (void)at;
    const uint32_t end = dump->ends[1];
    memset(sdk_at(dump, end), 'D', 8);
    expect(expected, size, VERDICT_SMASHED_HEADER, end + dump->build->header,
           end + dump->build->header);
}

static void middle_of_header(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    const struct sdk_block *block = &dump->blocks[at];
    sdk_put(dump, block->address + 8, 0x41414141);
    expect(expected, size, VERDICT_SMASHED_HEADER, sdk_pointer(dump, block),
           sdk_pointer(dump, block));
}

static void freed_twice(struct sdk_dump *dump, size_t at, char *expected, size_t size) {
    while (dump->blocks[at].live) {
        ++at;
    }
    const struct sdk_block *block = &dump->blocks[at];
    sdk_put(dump, block->address, block->address);
    expect(expected, size, VERDICT_DOUBLE_FREE, sdk_pointer(dump, block), sdk_pointer(dump, block));
}

static const struct {
    const char *name;
    damage_fn *damage;
    bool live_behind; /* the block behind must be live: else it may be free */
    int lost;         /* live blocks that are no longer live */
} damages[] = {
    {"no damage", no_damage, false, 0},
    {"1 byte over", overrun_1, true, 1},
    {"5 bytes over", overrun_5, true, 1},
    {"12 bytes over", overrun_12, false, -1},
    {"40 bytes over", overrun_40, false, -1},
    {"over a whole block", overrun_far, false, -1},
    {"zeros over the size", zeros_over_size, true, 1},
    {"30 zeros over", zeros_over_30, true, -1},
    {"7 zeros under", zeros_under, false, 1},
    {"free link", used_after_free, false, 0},
    {"7 bytes under", underflow, false, 1},
    {"tail word", tail, false, 0},
    {"end marker", end_marker, false, 0},
    {"heap pointer", middle_of_header, false, 1},
    {"freed twice", freed_twice, false, 0},
};
#define DAMAGES (sizeof(damages) / sizeof(damages[0]))

/* A live block in the first region's middle, of whose neighbours behind one is live. */
static size_t choose_block(struct sdk_dump *dump, bool live_behind) {
    for (;;) {
        const size_t at = 5 + sdk_random(dump, 25);
        const struct sdk_block *block = &dump->blocks[at];
        if (block[0].live && block[0].requested >= 8 && (!live_behind || block[1].live)) {
            return at;
        }
    }
}

static void assert_region(const struct sdk_dump *dump, unsigned index, int lost,
                          const struct diagnosis *diagnosis, const char *what) {
    const struct image_region *region = &diagnosis->image.regions[index];
    cr_assert_eq(region->start, dump->starts[index], "%s: start", what);
    cr_assert_eq(region->end, dump->ends[index], "%s: end", what);
    cr_assert_eq(region->free_bytes, dump->free_bytes[index], "%s: free", what);
    cr_assert(region->has_blocks, "%s: has_blocks", what);
    if (lost >= 0) {
        cr_assert_eq(region->largest_free, dump->largest[index], "%s: largest free", what);
        cr_assert_eq(region->live_blocks + (uint32_t)lost, dump->live[index],
                     "%s: %" PRIu32 " of %" PRIu32 " live blocks", what, region->live_blocks,
                     dump->live[index]);
    }
}

/* The live list's places are all there, from 0 on. */
static void assert_order(const struct diagnosis *diagnosis, const char *what) {
    static bool seen[SDK_BLOCKS_MAX];
    size_t count = 0;
    memset(seen, 0, sizeof(seen));
    for (size_t i = 0; i < diagnosis->image.block_count; ++i) {
        const struct image_block *block = &diagnosis->image.blocks[i];
        if (block->state != IMAGE_LIVE && block->order == UINT32_MAX) {
            continue;
        }
        cr_assert_lt(block->order, SDK_BLOCKS_MAX, "%s: order of 0x%08" PRIx32, what,
                     block->pointer);
        cr_assert_not(seen[block->order], "%s: order %" PRIu32 " twice", what, block->order);
        seen[block->order] = true;
        ++count;
    }
    for (size_t i = 0; i < count; ++i) {
        cr_assert(seen[i], "%s: nobody is number %zu", what, i);
    }
}

static void assert_damage(size_t row, const struct sdk_build *build, uint64_t seed) {
    char expected[256];
    char got[1200];
    char error[256];
    char what[300];
    struct sdk_dump *dump = sdk_dump_make(build, seed);
    const size_t at = choose_block(dump, damages[row].live_behind);
    damages[row].damage(dump, at, expected, sizeof(expected));
    struct diagnose_options options = {0};
    struct diagnosis diagnosis;
    cr_assert(diagnose(dump->bytes, SDK_DUMP_BYTES, &options, &diagnosis, error), "%s", error);
    summarize(&diagnosis, got, sizeof(got));
    snprintf(what, sizeof(what), "%s, build %s, W800_SEED=%" PRIu64 ", block %zu",
             damages[row].name, build->name, seed, at);
    cr_assert_str_eq(got, expected, "%s: %s, expected %s\n%s", what, got, expected,
                     diagnosis.findings.count > 0 ? diagnosis.findings.list[0].evidence : "");
    cr_assert_leq(diagnosis.findings.count, 1, "%s: %zu findings, second:\n%s", what,
                  diagnosis.findings.count, diagnosis.findings.list[1].evidence);
    cr_assert_eq(diagnosis.image.tracing, build->tracing, "%s: tracing", what);
    cr_assert_eq(diagnosis.image.poisoning, build->comprehensive ? 2 : build->poisoning, "%s",
                 what);
    assert_region(dump, 0, damages[row].lost, &diagnosis, what);
    assert_region(dump, 1, 0, &diagnosis, what);
    if (damages[row].lost >= 0 && build->tracing) {
        assert_order(&diagnosis, what);
    }
    release(&diagnosis);
    sdk_dump_free(dump);
}

Test(ramdump, damage_is_told_by_its_kind_and_block_in_every_build) {
    for (uint64_t round = 0; round < ROUNDS; ++round) {
        for (size_t build = 0; build < 6; ++build) {
            for (size_t row = 0; row < DAMAGES; ++row) {
                assert_damage(row, &sdk_builds[build], trace_text_seed() * 1000 + round);
            }
        }
    }
}

/* --- The recorder's ring ---------------------------------------------------------------- */

#define ALLOC(pointer, caps)                                                                       \
    { 0x00070001u | (caps) << 3, pointer, 64, 0x08012346u, SDK_FILE }
#define FREE(pointer, size)                                                                        \
    { 0x2u, pointer, size, 0x08012abcu, 0 }
#define LONE 0x20002ff8u /* no block's pointer: below the heap */

static const struct ring_case {
    const char *what;
    uint32_t records; /* of the ring */
    uint32_t events[6][5];
    uint32_t count;
    uint32_t spoil, value; /* this word of the head is another; 0: none */
    const char *expected;  /* as summarize says */
    const char *evidence;
} rings[] = {
    {"a pointer of nobody's",
     8,
     {ALLOC(LONE - 64, 1), FREE(LONE, 0)},
     2,
     0,
     0,
     "invalid-free 0x20002ff8 0x00000000 ",
     "event 1, the last: free of 0x20002ff8"},
    {"freed twice",
     8,
     {ALLOC(LONE, 1), FREE(LONE, 88), FREE(LONE, 0)},
     3,
     0,
     0,
     "double-free 0x20002ff8 0x00000000 ",
     "event 1: 0x20002ff8 freed, called from 0x08012abc"},
    {"nothing", 8, {ALLOC(LONE, 1), FREE(LONE, 88)}, 2, 0, 0, "clean", ""},
    {"no events", 8, {{0}}, 0, 0, 0, "clean", ""},
    {"older events overwritten",
     2,
     {ALLOC(LONE, 1), FREE(LONE, 88), ALLOC(LONE - 64, 1), FREE(LONE, 0)},
     4,
     0,
     0,
     "invalid-free 0x20002ff8 0x00000000 ",
     "event 3, the last"},
    {"moved out of reach",
     8,
     {ALLOC(0x20028018u, 0x10),
      {0x3u | 1 << 3, 0x20028018u, 88, 0x08012aaa, SDK_FILE},
      {0x4u | 1 << 3, LONE, 100, 88, 0x20028018u}},
     3,
     0,
     0,
     "unreachable-for-dma 0x20028018 0x00000000 ",
     "from 0x20028018 in DRAM"},
    {"another version", 8, {FREE(LONE, 0)}, 1, 1, 2, "clean", ""},
    {"no power of two", 8, {FREE(LONE, 0)}, 1, 2, 6, "clean", ""},
    {"a ring outside the dump", 8, {FREE(LONE, 0)}, 1, 6, 0x20047ff0, "clean", ""},
    {"more printed than recorded", 8, {FREE(LONE, 0)}, 1, 4, 2, "clean", ""},
};

Test(ramdump, the_ring_of_a_recorder_tells_the_call_that_crashed) {
    for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); ++i) {
        const struct ring_case *ring = &rings[i];
        struct sdk_dump *dump = sdk_dump_make(&sdk_builds[i % 6], trace_text_seed());
        struct diagnose_options options = {0};
        struct diagnosis diagnosis;
        char error[256];
        char got[1200];
        sdk_put_recorder(dump, ring->records, ring->events, ring->count);
        if (ring->spoil != 0) {
            sdk_put(dump, SDK_RECORDER + 4 * ring->spoil, ring->value);
        }
        cr_assert(diagnose(dump->bytes, SDK_DUMP_BYTES, &options, &diagnosis, error), "%s: %s",
                  ring->what, error);
        summarize(&diagnosis, got, sizeof(got));
        cr_expect_str_eq(got, ring->expected, "%s: %s", ring->what, got);
        cr_expect(diagnosis.findings.count == 0 ||
                      strstr(diagnosis.findings.list[0].evidence, ring->evidence) != NULL,
                  "%s: %s", ring->what, diagnosis.findings.list[0].evidence);
        release(&diagnosis);
        sdk_dump_free(dump);
    }
}

/* The heap shows what is smashed, the ring who had the blocks. */
Test(ramdump, the_ring_of_a_recorder_says_who_allocated_a_smashed_block) {
    struct sdk_dump *dump = sdk_dump_make(&sdk_builds[1], trace_text_seed());
    const size_t at = choose_block(dump, true);
    struct diagnose_options options = {0};
    struct diagnosis diagnosis;
    char error[256];
    char expected[256];
    char got[1200];
    const uint32_t events[][5] = {ALLOC(sdk_pointer(dump, &dump->blocks[at]), 1), FREE(LONE, 88)};
    overrun_12(dump, at, expected, sizeof(expected));
    sdk_put_recorder(dump, 8, events, 2);
    cr_assert(diagnose(dump->bytes, SDK_DUMP_BYTES, &options, &diagnosis, error), "%s", error);
    summarize(&diagnosis, got, sizeof(got));
    cr_expect_eq(strncmp(got, "overflow ", 9), 0, "%s", got);
    cr_expect_not_null(strstr(diagnosis.findings.list[0].evidence, "called from 0x08012346"), "%s",
                       diagnosis.findings.list[0].evidence);
    release(&diagnosis);
    sdk_dump_free(dump);
}
