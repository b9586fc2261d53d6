/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two suites of the reference model share: the six configurations, small
 * regions whose sizes are easy to reckon with, and a region's blocks as text, so that
 * an expected heap is a literal.
 */
#ifndef MODEL_FIXTURE_H
#define MODEL_FIXTURE_H

#include "../sim/model.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

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

static inline uint32_t align8(uint32_t size) { return (size + 7u) & ~7u; }

static inline uint32_t block_bytes(const struct model_config *config, uint32_t size) {
    return align8(size + model_header_size(config) + (config->comprehensive ? 4 : 0));
}

/* One region at `start` whose blocks have exactly `bytes` bytes in all. */
static inline struct model *one_region(const struct model_config *config, uint32_t start,
                                       uint32_t bytes) {
    struct model_region region = {.name = "SRAM",
                                  .start = start,
                                  .end = start + bytes + model_header_size(config),
                                  .caps = SRAM_CAPS};
    return model_create(config, &region, 1);
}

static inline struct model *three_regions(const struct model_config *config) {
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

static inline bool append_block(void *context, const struct model_block *block) {
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
static inline struct text layout(const struct model *model, uint32_t region) {
    struct text text = {.length = 0};
    model_walk(model, region, append_block, &text);
    return text;
}

#define ASSERT_LAYOUT(model, expected, ...)                                                        \
    do {                                                                                           \
        struct text layout_text = layout(model, 0);                                                \
        cr_assert_str_eq(layout_text.bytes, expected, __VA_ARGS__);                                \
    } while (0)

#endif
