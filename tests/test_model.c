/* SPDX-License-Identifier: Apache-2.0
 *
 * Who judges the judge? The golden traces do: each holds the addresses that the SDK's
 * own allocator returned, and the model must return every one of them. The little
 * trace interpreter below is this file's own, so that a fault of the trace reader
 * cannot hide one of the model. What the traces do not reach (wrong frees, alignment,
 * realloc in place, contents) is checked by literal tables and by a random walk whose
 * properties are taken from model_walk alone. A random failure prints its seed:
 * W800_TEST_SEED=SEED runs that walk again.
 */
#include "../sim/model.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAP_DEFAULT 0x01u
#define CAP_INTERNAL 0x02u
#define CAP_SPIRAM 0x04u
#define CAP_EXEC 0x08u
#define CAP_SHARED 0x10u
#define CAP_INVALID 0x100000u
#define SRAM_CAPS (CAP_DEFAULT | CAP_INTERNAL | CAP_EXEC)
#define DRAM_CAPS (CAP_DEFAULT | CAP_INTERNAL | CAP_SHARED)
#define BASE 0x20004120u
#define COUNT(array) ((uint32_t)(sizeof(array) / sizeof *(array)))

#define CONFIGS 6
static const struct model_config configs[CONFIGS] = {
    {.tracing = false},
    {.tracing = true},
    {.tracing = false, .poisoned = true},
    {.tracing = false, .poisoned = true, .comprehensive = true},
    {.tracing = true, .poisoned = true},
    {.tracing = true, .poisoned = true, .comprehensive = true},
};

static uint32_t align8(uint32_t size) { return (size + 7u) & ~7u; }

static uint32_t block_bytes(const struct model_config *config, uint32_t size) {
    return align8(size + model_header_size(config) + (config->comprehensive ? 4 : 0));
}

/* One region at `start` whose blocks have exactly `bytes` bytes in all. */
static struct model *one_region(const struct model_config *config, uint32_t start, uint32_t bytes) {
    struct model_region region = {.name = "SRAM",
                                  .start = start,
                                  .end = start + bytes + model_header_size(config),
                                  .caps = SRAM_CAPS};
    return model_create(config, &region, 1);
}

static struct model *three_regions(const struct model_config *config) {
    const struct model_region regions[] = {
        {.name = "SRAM", .start = 0x20027000, .end = 0x20028000, .caps = SRAM_CAPS},
        {.name = "DRAM", .start = 0x20028000, .end = 0x2002a000, .caps = DRAM_CAPS | 0x80},
        /* An older attribute list promises too much of PSRAM. */
        {.name = "PSRAM",
         .start = 0x30000000,
         .end = 0x30003000,
         .caps = 0x10001f,
         .deferred = true},
    };
    return model_create(config, regions, COUNT(regions));
}

struct text {
    char bytes[4096];
    size_t length;
};

static bool append_block(void *context, const struct model_block *block) {
    struct text *text = context;
    size_t room = sizeof text->bytes - text->length;
    const char *blank = text->length != 0 ? " " : "";
    int written = snprintf(text->bytes + text->length, room, "%s%c%" PRIu32, blank,
                           block->live ? 'l' : 'f', block->size);
    cr_assert(written > 0 && (size_t)written < room, "layout too long");
    text->length += (size_t)written;
    return true;
}

/* The blocks of a region as text: "l24 f104" is a live block and a hole. */
static struct text layout(const struct model *model, uint32_t region) {
    struct text text = {.length = 0};
    model_walk(model, region, append_block, &text);
    return text;
}

#define ASSERT_LAYOUT(model, expected, ...)                                                        \
    do {                                                                                           \
        struct text layout_text = layout(model, 0);                                                \
        cr_assert_str_eq(layout_text.bytes, expected, __VA_ARGS__);                                \
    } while (0)

/* Golden traces. */

#define IDS_MAX 65536u

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

static void golden_region(struct golden *golden, char *line) {
    uint32_t i = golden->region_count++;
    struct model_region *region = &golden->regions[i];
    char caps[64];
    int taken = 0;
    int fields = sscanf(line, "region %15s %" SCNx32 " %" SCNx32 " %63s%n", golden->names[i],
                        &region->start, &region->end, caps, &taken);
    cr_assert_eq(fields, 4, "%s:%u: region", golden->path, golden->line);
    region->name = golden->names[i];
    region->caps = golden_caps(caps);
    region->deferred = strstr(line + taken, "deferred") != NULL;
}

static void golden_expect(struct golden *golden, const char *line) {
    uint32_t free_bytes;
    uint32_t minimum;
    int fields = sscanf(line, "expect free=%" SCNu32 " min_free=%" SCNu32, &free_bytes, &minimum);
    cr_assert_eq(fields, 2, "%s:%u: expect", golden->path, golden->line);
    cr_assert_eq(model_free_size(golden->model), free_bytes, "%s:%u: free %u, model %u",
                 golden->path, golden->line, free_bytes, model_free_size(golden->model));
    cr_assert_eq(model_minimum_free_size(golden->model), minimum, "%s:%u: min_free %u, model %u",
                 golden->path, golden->line, minimum, model_minimum_free_size(golden->model));
    golden->expects++;
}

static void golden_request(struct golden *golden, const char *line, bool is_realloc) {
    uint32_t id;
    uint32_t expected;
    uint64_t size;
    char caps[64];
    int fields =
        sscanf(line, "%*s %" SCNu32 " %" SCNu64 " %63s = %" SCNx32, &id, &size, caps, &expected);
    cr_assert(fields == 4 && id < IDS_MAX, "%s:%u: %s", golden->path, golden->line, line);
    uint32_t *pointer = &golden->pointers[id];
    uint32_t bits = golden_caps(caps);
    uint32_t got = is_realloc ? model_realloc(golden->model, *pointer, size, bits)
                              : model_alloc(golden->model, size, bits);
    cr_assert_eq(got, expected, "%s:%u: SDK 0x%08x, model 0x%08x", golden->path, golden->line,
                 expected, got);
    if (!is_realloc || got != 0 || size == 0) {
        *pointer = got;
    }
    golden->addresses++;
}

static void golden_free(struct golden *golden, const char *line) {
    uint32_t id;
    cr_assert(sscanf(line, "free %" SCNu32, &id) == 1 && id < IDS_MAX, "%s:%u: free", golden->path,
              golden->line);
    enum model_free_result expected = golden->pointers[id] != 0 ? MODEL_FREED : MODEL_NOTHING;
    enum model_free_result got = model_free(golden->model, golden->pointers[id]);
    cr_assert_eq(got, expected, "%s:%u: result %d", golden->path, golden->line, got);
    golden->pointers[id] = 0;
}

static void golden_line(struct golden *golden, char *line) {
    char word[16] = "";
    char name[16] = "";
    line[strcspn(line, "#\n")] = '\0';
    sscanf(line, "%15s %15s", word, name);
    if (strcmp(word, "config") == 0) {
        golden->config.tracing = strstr(line, "tracing=y") != NULL;
        golden->config.comprehensive = strstr(line, "poisoning=comprehensive") != NULL;
        golden->config.poisoned = strstr(line, "poisoning=none") == NULL;
    } else if (strcmp(word, "region") == 0) {
        golden_region(golden, line);
    } else if (word[0] != '\0' && strcmp(word, "wmtrace") != 0) {
        if (golden->model == NULL) {
            golden->model = model_create(&golden->config, golden->regions, golden->region_count);
            cr_assert_not_null(golden->model, "%s: no model", golden->path);
        }
        if (strcmp(word, "append") == 0) {
            cr_assert(model_append(golden->model, name), "%s:%u", golden->path, golden->line);
        } else if (strcmp(word, "expect") == 0) {
            golden_expect(golden, line);
        } else if (strcmp(word, "free") == 0) {
            golden_free(golden, line);
        } else {
            bool is_realloc = strcmp(word, "realloc") == 0;
            cr_assert(is_realloc || strcmp(word, "alloc") == 0, "%s:%u: event %s", golden->path,
                      golden->line, word);
            golden_request(golden, line, is_realloc);
        }
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

/* A request that fills a region whole must go to each of `regions` in turn, and then
 * nothing may be left for these capabilities. */
static void check_route(uint32_t c, bool appended, uint32_t caps, const char *regions) {
    const struct model_config *config = &configs[c];
    uint32_t header = model_header_size(config);
    struct model *model = three_regions(config);
    cr_assert(!appended || model_append(model, "PSRAM"));
    uint32_t sum = 0;
    uint32_t largest = 0;
    for (const char *at = regions; *at != '\0'; at++) {
        largest = (*at == 'S' ? 0x1000 : *at == 'D' ? 0x2000 : 0x3000) - header;
        sum += largest;
    }
    cr_assert_eq(model_caps_free_size(model, caps), sum, "caps 0x%x", caps);
    cr_assert_eq(model_caps_minimum_free_size(model, caps), sum, "caps 0x%x", caps);
    cr_assert_eq(model_caps_largest_free_block(model, caps), largest, "caps 0x%x", caps);
    for (const char *at = regions; *at != '\0'; at++) {
        uint32_t start = *at == 'S' ? 0x20027000 : *at == 'D' ? 0x20028000 : 0x30000000;
        uint32_t bytes = (*at == 'S' ? 0x1000 : *at == 'D' ? 0x2000 : 0x3000) - header;
        uint32_t size = bytes - header - (config->comprehensive ? 4 : 0);
        uint32_t pointer = model_alloc(model, size, caps);
        cr_assert_eq(pointer, start + header, "config %u caps 0x%x: 0x%x", c, caps, pointer);
    }
    cr_assert_eq(model_alloc(model, 1, caps), 0, "config %u caps 0x%x", c, caps);
    cr_assert_eq(model_aligned_alloc(model, 16, 1, caps), 0, "config %u caps 0x%x", c, caps);
    cr_assert_eq(model_caps_free_size(model, caps), 0, "caps 0x%x", caps);
    cr_assert_eq(model_caps_minimum_free_size(model, caps), 0, "caps 0x%x", caps);
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
    cr_assert_eq(model_caps_minimum_free_size(model, CAP_INTERNAL), dram);
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

Test(model, places_aligned_blocks_at_the_lowest_position_that_leaves_no_splinter) {
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

Test(model, refuses_alignments_outside_the_powers_of_two_from_8_to_4096) {
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

Test(model, reallocates_in_place_or_by_moving_as_configured) {
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

Test(model, counts_a_growth_in_place_in_the_minimum) {
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

Test(model, takes_the_capabilities_of_the_latest_call_for_realloc_with_0) {
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

Test(model, carries_the_common_part_over_a_realloc) {
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

Test(model, fills_no_byte_outside_the_requested_ones_and_never_alike) {
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

Test(model, stores_only_into_requested_bytes_of_live_blocks) {
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
        cr_assert(model_find(walk->model, block->address + at, &found) &&
                      same_block(&found, block),
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

Test(model, keeps_every_region_partitioned_on_a_random_walk) {
    const char *given = getenv("W800_TEST_SEED");
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
