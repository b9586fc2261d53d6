/* SPDX-License-Identifier: Apache-2.0
 *
 * Who judges the judge? The golden traces do: each holds the addresses that the SDK's
 * own allocator returned, and the model must return every one of them. The little
 * trace interpreter below is this file's own, so that a fault of the trace reader
 * cannot hide one of the model. Literal tables pin the single rules, so that a failure
 * says which one is broken. What the SDK does not have is in test_model_rules.c.
 */
#include "model_fixture.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

/* Golden traces. */

#define IDS_MAX 65536u
#define WORDS_MAX 6 /* in a line */

struct golden {
    const char *path;
    unsigned line;
    struct model_config config;
    struct model_region regions[MODEL_REGIONS_MAX];
    char names[MODEL_REGIONS_MAX][16];
    uint32_t region_count;
    struct model *model; /* from the first event on */
    uint32_t pointers[IDS_MAX];
    unsigned addresses; /* checked */
    unsigned expects;
};

static uint32_t golden_caps(char *list) {
    static const char *const names[] = {"DEFAULT", "INTERNAL", "SPIRAM", "EXEC", "SHARED"};
    uint32_t caps = 0;
    char *rest = NULL;
    for (char *word = strtok_r(list, "|", &rest); word != NULL; word = strtok_r(NULL, "|", &rest)) {
        uint32_t bit = 0;
        for (uint32_t i = 0; i < COUNT(names); i++) {
            bit |= strcmp(word, names[i]) == 0 ? 1u << i : 0u;
        }
        bit = strcmp(word, "INVALID") == 0 ? CAP_INVALID : bit;
        caps |= bit != 0 ? bit : (uint32_t)strtoul(word, NULL, 0);
    }
    return caps;
}

static uint64_t golden_number(const struct golden *golden, const char *text, uint64_t limit) {
    char *end = NULL;
    uint64_t value = text != NULL ? strtoull(text, &end, 0) : 0;
    cr_assert(end != NULL && end != text && *end == '\0' && value <= limit, "%s:%u: number %s",
              golden->path, golden->line, text != NULL ? text : "missing");
    return value;
}

static uint32_t golden_word(const struct golden *golden, const char *text) {
    return (uint32_t)golden_number(golden, text, UINT32_MAX);
}

/* region NAME START END CAPS [deferred] */
static void golden_region(struct golden *golden, char *words[WORDS_MAX]) {
    uint32_t i = golden->region_count++;
    cr_assert(i < MODEL_REGIONS_MAX && words[4] != NULL, "%s:%u", golden->path, golden->line);
    snprintf(golden->names[i], sizeof golden->names[i], "%s", words[1]);
    golden->regions[i] = (struct model_region){.name = golden->names[i],
                                               .start = golden_word(golden, words[2]),
                                               .end = golden_word(golden, words[3]),
                                               .caps = golden_caps(words[4]),
                                               .deferred = words[5] != NULL};
}

/* expect free=N min_free=N */
static void golden_expect(struct golden *golden, char *words[WORDS_MAX]) {
    cr_assert(words[2] != NULL && strncmp(words[1], "free=", 5) == 0 &&
                  strncmp(words[2], "min_free=", 9) == 0,
              "%s:%u: expect", golden->path, golden->line);
    uint32_t free_bytes = golden_word(golden, words[1] + 5);
    uint32_t minimum = golden_word(golden, words[2] + 9);
    cr_assert_eq(model_free_size(golden->model), free_bytes, "%s:%u: free %u, model %u",
                 golden->path, golden->line, free_bytes, model_free_size(golden->model));
    cr_assert_eq(model_minimum_free_size(golden->model), minimum, "%s:%u: min_free %u, model %u",
                 golden->path, golden->line, minimum, model_minimum_free_size(golden->model));
    golden->expects++;
}

/* alloc|realloc ID SIZE CAPS = ADDRESS */
static void golden_request(struct golden *golden, char *words[WORDS_MAX]) {
    uint64_t id = golden_number(golden, words[1], IDS_MAX - 1);
    uint64_t size = golden_number(golden, words[2], UINT64_MAX);
    uint32_t expected = golden_word(golden, words[5]);
    uint32_t caps = golden_caps(words[3]);
    bool is_realloc = strcmp(words[0], "realloc") == 0;
    uint32_t *pointer = &golden->pointers[id];
    uint32_t got = is_realloc ? model_realloc(golden->model, *pointer, size, caps)
                              : model_alloc(golden->model, size, caps);
    cr_assert_eq(got, expected, "%s:%u: SDK 0x%08x, model 0x%08x", golden->path, golden->line,
                 expected, got);
    if (!is_realloc || got != 0 || size == 0) {
        *pointer = got;
    }
    golden->addresses++;
}

static void golden_free(struct golden *golden, char *words[WORDS_MAX]) {
    uint64_t id = golden_number(golden, words[1], IDS_MAX - 1);
    enum model_free_result expected = golden->pointers[id] != 0 ? MODEL_FREED : MODEL_NOTHING;
    enum model_free_result got = model_free(golden->model, golden->pointers[id]);
    cr_assert_eq(got, expected, "%s:%u: result %d", golden->path, golden->line, got);
    golden->pointers[id] = 0;
}

static void golden_append(struct golden *golden, char *words[WORDS_MAX]) {
    cr_assert(model_append(golden->model, words[1]), "%s:%u", golden->path, golden->line);
}

static void golden_event(struct golden *golden, char *words[WORDS_MAX]) {
    static const struct {
        const char *word;
        void (*run)(struct golden *golden, char *words[WORDS_MAX]);
    } events[] = {
        {"alloc", golden_request}, {"realloc", golden_request}, {"free", golden_free},
        {"append", golden_append}, {"expect", golden_expect},
    };
    if (golden->model == NULL) {
        golden->model = model_create(&golden->config, golden->regions, golden->region_count);
        cr_assert_not_null(golden->model, "%s: no model", golden->path);
    }
    uint32_t i = 0;
    while (i < COUNT(events) && strcmp(events[i].word, words[0]) != 0) {
        i++;
    }
    cr_assert(i < COUNT(events), "%s:%u: event %s", golden->path, golden->line, words[0]);
    events[i].run(golden, words);
}

static void golden_line(struct golden *golden, char *line) {
    char *words[WORDS_MAX] = {NULL};
    char *rest = NULL;
    line[strcspn(line, "#\n")] = '\0';
    for (uint32_t i = 0; i < WORDS_MAX && (i == 0 || words[i - 1] != NULL); i++) {
        words[i] = strtok_r(i == 0 ? line : NULL, " ", &rest);
    }
    if (words[0] == NULL || strcmp(words[0], "wmtrace") == 0) {
        return;
    }
    if (strcmp(words[0], "config") == 0) {
        golden->config.tracing = strcmp(words[1], "tracing=y") == 0;
        golden->config.comprehensive = strcmp(words[2], "poisoning=comprehensive") == 0;
        golden->config.poisoned = strcmp(words[2], "poisoning=none") != 0;
    } else if (strcmp(words[0], "region") == 0) {
        golden_region(golden, words);
    } else {
        golden_event(golden, words);
    }
}

Test(model, returns_every_address_of_the_golden_traces) {
    glob_t files;
    cr_assert_eq(glob(W800_SOURCE_DIR "/tests/golden/*.trace", 0, NULL, &files), 0, "no traces");
    cr_assert_geq(files.gl_pathc, 60, "%zu golden traces only", files.gl_pathc);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        struct golden *golden = calloc(1, sizeof *golden);
        cr_assert_not_null(golden);
        golden->path = files.gl_pathv[i];
        FILE *file = fopen(golden->path, "r");
        cr_assert_not_null(file, "%s", golden->path);
        char line[256];
        while (fgets(line, sizeof line, file) != NULL) {
            golden->line++;
            golden_line(golden, line);
        }
        fclose(file);
        cr_assert(golden->addresses > 100 && golden->expects > 0, "%s: %u addresses, %u expects",
                  golden->path, golden->addresses, golden->expects);
        model_destroy(golden->model);
        free(golden);
    }
    globfree(&files);
}

/* Creation and sizes. */

Test(model, refuses_impossible_regions_and_accepts_the_smallest) {
    for (uint32_t c = 0; c < CONFIGS; c++) {
        uint32_t header = model_header_size(&configs[c]);
        uint32_t smallest = block_bytes(&configs[c], 1);
        struct model *model = one_region(&configs[c], BASE, smallest);
        cr_assert_not_null(model, "config %u", c);
        cr_assert_eq(model_alloc(model, 1, 0), BASE + header);
        cr_assert_eq(model_alloc(model, 1, 0), 0);
        model_destroy(model);
        cr_assert_null(one_region(&configs[c], BASE, smallest - 8), "config %u", c);
        cr_assert_null(one_region(&configs[c], BASE, smallest - 1), "config %u", c);
        cr_assert_null(one_region(&configs[c], BASE + 1, smallest + 6), "config %u", c);
        cr_assert_null(one_region(&configs[c], 0, 0xfffffff0u - header), "config %u", c);
    }
    static const struct {
        uint32_t count;
        struct model_region regions[2];
    } bad[] = {
        {0, {{.name = "SRAM", .start = BASE, .end = BASE + 4096}}},
        {MODEL_REGIONS_MAX + 1, {{.name = "SRAM", .start = BASE, .end = BASE + 4096}}},
        {1, {{.name = "SRAM", .start = BASE, .end = BASE}}},
        {1, {{.name = "SRAM", .start = BASE, .end = BASE - 4096}}},
        {1, {{.name = "SRAM", .start = 0xfffffffcu, .end = 0xffffffffu}}},
        {1, {{.name = "SRAM", .start = 0, .end = 8}}},
        {1, {{.name = NULL, .start = BASE, .end = BASE + 4096}}},
        {1, {{.name = "SIXTEEN_BYTES_AT", .start = BASE, .end = BASE + 4096}}},
        {2,
         {{.name = "A", .start = BASE, .end = BASE + 4096},
          {.name = "B", .start = BASE + 4095, .end = BASE + 8192}}},
    };
    for (uint32_t i = 0; i < COUNT(bad); i++) {
        cr_assert_null(model_create(&configs[0], bad[i].regions, bad[i].count), "row %u", i);
    }
}

Test(model, aligns_the_ends_of_a_region_inwards) {
    for (uint32_t c = 0; c < CONFIGS; c++) {
        uint32_t header = model_header_size(&configs[c]);
        for (uint32_t skew = 0; skew < 64; skew++) {
            struct model_region region = {
                .name = "SRAM", .start = BASE + skew % 8, .end = BASE + 4096 + skew / 8, .caps = 1};
            struct model *model = model_create(&configs[c], &region, 1);
            cr_assert_not_null(model);
            uint32_t bytes = 4096 - header - (skew % 8 != 0 ? 8 : 0);
            cr_assert_eq(model_free_size(model), bytes, "config %u skew %u", c, skew);
            cr_assert_eq(model_alloc(model, 1, 0), align8(region.start) + header);
            model_destroy(model);
        }
    }
}

Test(model, answers_null_to_sizes_that_no_block_can_hold) {
    static const uint64_t sizes[] = {
        0,          0x7fffffff,  0x80000000,  0x80000001,         0xffffffe0,
        0xffffffff, 0x100000000, 0x100000001, UINT64_MAX / 2 + 2, UINT64_MAX};
    for (uint32_t c = 0; c < 2 * CONFIGS; c++) {
        struct model_config config = configs[c % CONFIGS];
        config.realloc_in_place = c >= CONFIGS;
        struct model *model = one_region(&config, BASE, 4096);
        uint32_t keep = model_alloc(model, 100, 0);
        struct text before = layout(model, 0);
        for (uint32_t i = 0; i < COUNT(sizes); i++) {
            cr_assert_eq(model_alloc(model, sizes[i], 0), 0, "size %" PRIu64, sizes[i]);
            cr_assert_eq(model_aligned_alloc(model, 64, sizes[i], 0), 0, "size %" PRIu64, sizes[i]);
            if (sizes[i] != 0) {
                cr_assert_eq(model_realloc(model, keep, sizes[i], 0), 0, "size %" PRIu64, sizes[i]);
            }
            ASSERT_LAYOUT(model, before.bytes, "size %" PRIu64, sizes[i]);
        }
        model_destroy(model);
    }
}

Test(model, splits_only_if_the_remainder_exceeds_two_headers) {
    for (uint32_t c = 0; c < CONFIGS; c++) {
        uint32_t header = model_header_size(&configs[c]);
        for (uint32_t rest = 0; rest <= 4 * header; rest += 8) {
            uint32_t want = block_bytes(&configs[c], 100);
            struct model *model = one_region(&configs[c], BASE, want + rest);
            cr_assert_eq(model_alloc(model, 100, 0), BASE + header);
            bool split = rest > 2 * header;
            cr_assert_eq(model_free_size(model), split ? rest : 0, "config %u rest %u", c, rest);
            struct model_block block;
            cr_assert(model_find(model, BASE + want - 1, &block));
            cr_assert_eq(block.size, split ? want : want + rest, "config %u rest %u", c, rest);
            cr_assert_eq(block.requested, 100);
            model_destroy(model);
        }
    }
}

Test(model, merges_a_freed_block_with_each_kind_of_neighbour) {
    /* One letter a block of 96 bytes: l live, f freed before, B freed now. */
    static const struct {
        const char *blocks;
        const char *after;
    } rows[] = {
        {"B", "f96"},
        {"Bl", "f96 l96"},
        {"Bf", "f192"},
        {"lB", "l96 f96"},
        {"fB", "f192"},
        {"lBl", "l96 f96 l96"},
        {"lBf", "l96 f192"},
        {"fBl", "f192 l96"},
        {"fBf", "f288"},
        {"flBlf", "f96 l96 f96 l96 f96"},
        {"lfBfl", "l96 f288 l96"},
    };
    for (uint32_t c = 0; c < CONFIGS; c++) {
        uint32_t payload = 96 - model_header_size(&configs[c]) - 4;
        for (uint32_t i = 0; i < COUNT(rows); i++) {
            uint32_t count = (uint32_t)strlen(rows[i].blocks);
            struct model *model = one_region(&configs[c], BASE, 96 * count);
            uint32_t pointers[8];
            for (uint32_t k = 0; k < count; k++) {
                pointers[k] = model_alloc(model, payload, 0);
            }
            for (uint32_t pass = 0; pass < 3; pass++) {
                for (uint32_t k = 0; k < count; k++) {
                    if (rows[i].blocks[k] == "fBl"[pass]) {
                        cr_assert_eq(model_free(model, pointers[k]), MODEL_FREED);
                    }
                }
                if (pass == 1) {
                    ASSERT_LAYOUT(model, rows[i].after, "config %u, %s", c, rows[i].blocks);
                }
            }
            cr_assert_eq(model_caps_largest_free_block(model, 0), 96 * count);
            model_destroy(model);
        }
    }
}

/* Capabilities. */

static uint32_t region_start(char letter) {
    return letter == 'S' ? 0x20027000 : letter == 'D' ? 0x20028000 : 0x30000000;
}

static uint32_t region_bytes(uint32_t c, char letter) {
    uint32_t bytes = letter == 'S' ? 0x1000 : letter == 'D' ? 0x2000 : 0x3000;
    return bytes - model_header_size(&configs[c]);
}

/* A request that fills a region whole must go to each of `regions` in turn, and then
 * nothing may be left for these capabilities. */
static void check_exhaustion(struct model *model, uint32_t c, uint32_t caps, const char *regions) {
    uint32_t header = model_header_size(&configs[c]);
    for (const char *at = regions; *at != '\0'; at++) {
        uint32_t tail = configs[c].comprehensive ? 4 : 0;
        uint32_t pointer = model_alloc(model, region_bytes(c, *at) - header - tail, caps);
        cr_assert_eq(pointer, region_start(*at) + header, "config %u caps 0x%x: 0x%x", c, caps,
                     pointer);
    }
    cr_assert_eq(model_alloc(model, 1, caps), 0, "config %u caps 0x%x", c, caps);
    cr_assert_eq(model_aligned_alloc(model, 16, 1, caps), 0, "config %u caps 0x%x", c, caps);
    cr_assert_eq(model_caps_free_size(model, caps), 0, "caps 0x%x", caps);
    cr_assert_eq(model_caps_minimum_free_size(model, caps), 0, "caps 0x%x", caps);
}

static void check_route(uint32_t c, bool appended, uint32_t caps, const char *regions) {
    struct model *model = three_regions(&configs[c]);
    cr_assert(!appended || model_append(model, "PSRAM"));
    uint32_t sum = 0;
    uint32_t largest = 0;
    for (const char *at = regions; *at != '\0'; at++) {
        largest = region_bytes(c, *at); /* the later, the larger */
        sum += largest;
    }
    cr_assert_eq(model_caps_free_size(model, caps), sum, "caps 0x%x", caps);
    cr_assert_eq(model_caps_minimum_free_size(model, caps), sum, "caps 0x%x", caps);
    cr_assert_eq(model_caps_largest_free_block(model, caps), largest, "caps 0x%x", caps);
    check_exhaustion(model, c, caps, regions);
    model_destroy(model);
}

Test(model, routes_every_combination_of_capabilities) {
    /* By EXEC (8) and SHARED (16); DEFAULT (1) and INTERNAL (2) change nothing, and
     * SPIRAM (4) serves alone. */
    static const char *const internal[] = {"SD", "S", "D", ""};
    static const uint32_t impossible[] = {CAP_INVALID, 0x20, 0x80, 1u << 31};
    for (uint32_t c = 0; c < CONFIGS; c++) {
        for (uint32_t caps = 0; caps < 32; caps++) {
            const char *regions = (caps & CAP_SPIRAM) == 0 ? internal[caps >> 3] : "";
            check_route(c, false, caps, regions);
            check_route(c, true, caps, caps == CAP_SPIRAM ? "P" : regions);
            for (uint32_t i = 0; i < COUNT(impossible); i++) {
                check_route(c, true, caps | impossible[i], "");
            }
        }
    }
}

Test(model, appends_a_waiting_region_once) {
    struct model *model = three_regions(&configs[0]);
    static const char *const wrong[] = {NULL, "", "psram", "PSRAM2", "SRAM", "DRAM"};
    for (uint32_t i = 0; i < COUNT(wrong); i++) {
        cr_assert_not(model_append(model, wrong[i]), "row %u", i);
    }
    cr_assert_eq(layout(model, 2).length, 0);
    cr_assert(model_append(model, "PSRAM"));
    cr_assert_str_eq(layout(model, 2).bytes, "f12272");
    cr_assert_not(model_append(model, "PSRAM"));
    model_destroy(model);
}

/* Counters. */

Test(model, keeps_the_minimum_of_the_sum_and_restarts_it_at_an_append) {
    struct model *model = three_regions(&configs[0]);
    uint32_t sram = 0x1000 - 16;
    uint32_t dram = 0x2000 - 16;
    uint32_t psram = 0x3000 - 16;
    uint32_t pointer = model_alloc(model, sram - 16, CAP_EXEC);
    model_free(model, pointer);
    cr_assert_eq(model_alloc(model, 0x10000, 0), 0);
    cr_assert_eq(model_minimum_free_size(model), dram);
    pointer = model_alloc(model, 984, CAP_SHARED);
    /* Not the sum of the regions' own minima: they were not low at the same time. */
    cr_assert_eq(model_caps_minimum_free_size(model, 0), dram);
    cr_assert_eq(model_caps_minimum_free_size(model, CAP_EXEC), 0);
    cr_assert_eq(model_caps_minimum_free_size(model, CAP_SHARED), dram - 1000);
    cr_assert_eq(model_caps_minimum_free_size(model, CAP_SPIRAM), 0);
    cr_assert(model_append(model, "PSRAM"));
    cr_assert_eq(model_minimum_free_size(model), sram + dram - 1000 + psram);
    /* With others beside them it is that sum: SRAM's was 0. */
    cr_assert_eq(model_caps_minimum_free_size(model, CAP_INTERNAL), dram - 1000);
    cr_assert_eq(model_caps_minimum_free_size(model, CAP_SPIRAM), psram);
    /* realloc holds both blocks for a moment; the free alone does not raise the minimum. */
    pointer = model_realloc(model, pointer, 984, CAP_SPIRAM);
    cr_assert_eq(model_minimum_free_size(model), sram + dram - 2000 + psram);
    model_free(model, pointer);
    cr_assert_eq(model_caps_minimum_free_size(model, CAP_SPIRAM), psram - 1000);
    cr_assert_eq(model_free_size(model), sram + dram + psram);
    model_destroy(model);
}

/* Frees. */

Test(model, classifies_every_kind_of_pointer) {
    /* SRAM: a live [0, 64), hole [64, 192), live [192, 256), hole to 0xff0. */
    enum { SRAM = 0x20027000, END = 0x20027ff0 };
    static const struct {
        uint32_t pointer;
        enum model_free_result result;
    } rows[] = {
        {0, MODEL_NOTHING},
        {SRAM + 16, MODEL_FREED},
        {SRAM, MODEL_INTERIOR}, /* a header */
        {SRAM + 8, MODEL_INTERIOR},
        {SRAM + 24, MODEL_INTERIOR},
        {SRAM + 56, MODEL_INTERIOR}, /* last word */
        {SRAM + 17, MODEL_FOREIGN},  /* misaligned */
        {SRAM + 20, MODEL_FOREIGN},
        {SRAM + 68, MODEL_FOREIGN},
        {SRAM + 64, MODEL_DOUBLE},  /* start of the hole */
        {SRAM + 80, MODEL_DOUBLE},  /* pointer of the first block freed there */
        {SRAM + 144, MODEL_DOUBLE}, /* of the second, merged */
        {SRAM + 184, MODEL_DOUBLE},
        {SRAM + 192, MODEL_INTERIOR}, /* header in the live block, its header in the hole */
        {SRAM + 200, MODEL_INTERIOR},
        {SRAM + 208, MODEL_FREED},
        {SRAM + 256, MODEL_DOUBLE},
        {END - 8, MODEL_DOUBLE},
        {END, MODEL_FOREIGN}, /* end marker */
        {END + 8, MODEL_FOREIGN},
        {SRAM - 8, MODEL_FOREIGN},
        {8, MODEL_FOREIGN},
        {0x08010400, MODEL_FOREIGN}, /* program text */
        {0x20028010, MODEL_DOUBLE},  /* DRAM */
        {0x20029ff0, MODEL_FOREIGN}, /* its end marker */
        {0x30000010, MODEL_FOREIGN}, /* PSRAM has not joined */
        {0xfffffff8, MODEL_FOREIGN},
    };
    for (uint32_t i = 0; i < COUNT(rows); i++) {
        struct model *model = three_regions(&configs[0]);
        uint32_t pointers[4];
        for (uint32_t k = 0; k < COUNT(pointers); k++) {
            pointers[k] = model_alloc(model, 48, 0);
        }
        model_free(model, pointers[1]);
        model_free(model, pointers[2]);
        struct text before = layout(model, 0);
        cr_assert_str_eq(before.bytes, "l64 f128 l64 f3824");
        cr_assert_eq(model_classify(model, rows[i].pointer), rows[i].result, "0x%x: %d, not %d",
                     rows[i].pointer, model_classify(model, rows[i].pointer), rows[i].result);
        ASSERT_LAYOUT(model, before.bytes, "classify changed the model");
        bool refused = rows[i].result != MODEL_FREED;
        if (refused) {
            cr_assert_eq(model_realloc(model, rows[i].pointer, rows[i].pointer != 0 ? 8 : 0, 0), 0);
        }
        cr_assert_eq(model_free(model, rows[i].pointer), rows[i].result, "0x%x", rows[i].pointer);
        cr_assert_eq(strcmp(layout(model, 0).bytes, before.bytes) == 0, refused, "row %u", i);
        model_destroy(model);
    }
}

Test(model, calls_a_stale_pointer_interior_once_its_memory_has_a_new_owner) {
    struct model *model = one_region(&configs[0], BASE, 4096);
    uint32_t a = model_alloc(model, 48, 0);
    uint32_t b = model_alloc(model, 48, 0);
    model_free(model, a);
    cr_assert_eq(model_classify(model, a), MODEL_DOUBLE);
    model_free(model, b);
    cr_assert_eq(model_classify(model, b), MODEL_DOUBLE);
    cr_assert_eq(model_alloc(model, 200, 0), a);
    cr_assert_eq(model_classify(model, b), MODEL_INTERIOR);
    model_destroy(model);
}
