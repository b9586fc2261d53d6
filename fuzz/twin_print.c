/* SPDX-License-Identifier: Apache-2.0
 *
 * See twin_print.h. The formats are those of the SDK, written for printf.
 */
#include "twin_print.h"

#include <stdarg.h>
#include <string.h>

#include "twin_check.h"

/* File scope: large, and written before it is read. */
static char printed[TWIN_PRINT_MAX];
static char expected[TWIN_PRINT_MAX];

void twin_print_take(struct twin *twin, const char *text, size_t length) {
    TWIN_CHECK(twin, length <= sizeof printed - twin->printed, "the print does not end%s", "");
    memcpy(printed + twin->printed, text, length);
    twin->printed += (uint32_t)length;
}

__attribute__((format(printf, 2, 3))) static void expect(uint32_t *length, const char *format,
                                                         ...) {
    va_list values;
    va_start(values, format);
    *length += (uint32_t)vsnprintf(expected + *length, sizeof expected - *length, format, values);
    va_end(values);
}

static void compare(struct twin *twin, uint32_t length) {
    TWIN_CHECK(twin, twin->printed == length && memcmp(printed, expected, length) == 0,
               "printed is\n%.*s\nexpected\n%.*s", (int)twin->printed, printed, (int)length,
               expected);
    twin->printed = 0;
}

static void expect_row(uint32_t *length, const char *name, uint32_t now, uint32_t least) {
    expect(length, "    %-8s %-7u (%0.2fKB)\t\t%-7u (%0.2fKB)\r\n", name, now, now / 1024.0, least,
           least / 1024.0);
}

void twin_print_is_stats(struct twin *twin) {
    uint32_t length = 0;
    expect(&length, "    Type     Current Size       \tMinimum Size\r\n");
    expect_row(&length, "Total", model_free_size(twin->model),
               model_minimum_free_size(twin->model));
    for (uint32_t r = 0; r < WM_HEAP_REGIONS_MAX; r++) {
        const struct wm_heap_region_config *row = &twin->regions[r];
        struct model_block first; /* of a region that has joined */
        if (model_find(twin->model, (row->start + 7u) & ~7u, &first)) {
            expect_row(&length, row->name, model_caps_free_size(twin->model, row->caps),
                       model_caps_minimum_free_size(twin->model, row->caps));
        }
    }
    compare(twin, length);
}

/* The slot with the newest block that is older than `born`; PROGRAM_SLOTS: none. */
static uint32_t next_older(const struct twin *twin, uint32_t born) {
    uint32_t found = PROGRAM_SLOTS;
    for (uint32_t slot = 0; slot < PROGRAM_SLOTS; slot++) {
        if (twin->pointers[slot] != 0 && twin->born[slot] < born &&
            (found == PROGRAM_SLOTS || twin->born[slot] > twin->born[found])) {
            found = slot;
        }
    }
    return found;
}

static uint32_t size_of(const struct twin *twin, uint32_t slot) {
    struct model_block block = {0};
    (void)model_find(twin->model, twin->pointers[slot], &block);
    return block.size;
}

static void expect_list(const struct twin *twin, uint32_t hidden, uint32_t *length) {
    const char *file = twin->head.untraced ? "(null)" : twin_site;
    uint32_t count = 0;
    uint32_t bytes = 0;
    uint32_t slot;
    for (uint32_t born = UINT32_MAX; (slot = next_older(twin, born)) < PROGRAM_SLOTS;
         born = twin->born[slot]) {
        if (slot != hidden) {
            expect(length, "%u\t0x%x\t%s:%u\t%u\r\n", count, twin->pointers[slot], file,
                   twin->line[slot], size_of(twin, slot));
            count++;
            bytes += size_of(twin, slot);
        }
    }
    expect(length, "summary: malloc size %u, malloc count %u\r\n", bytes, count);
}

void twin_print_is_tracing(struct twin *twin, uint32_t hidden) {
    const char *file = twin->head.untraced ? "(null)" : twin_site;
    uint32_t length = 0;
    if (twin->build->tracing) {
        expect_list(twin, hidden, &length);
    }
    if (hidden < PROGRAM_SLOTS && twin->build->tracing) {
        expect(&length, "corruption detected 0x%x in %s:%u size %u\r\n", twin->pointers[hidden],
               file, twin->line[hidden], size_of(twin, hidden));
    } else if (hidden < PROGRAM_SLOTS) {
        expect(&length, "corruption detected in 0x%x\r\n", twin->pointers[hidden]);
    }
    compare(twin, length);
}

void twin_print_is_nothing(struct twin *twin) { compare(twin, 0); }
