/* SPDX-License-Identifier: Apache-2.0
 *
 * See twin_print.h. The formats are those of the SDK, written for printf.
 */
#include "twin_print.h"

#include <string.h>

#include "twin_check.h"

/* File scope: large, and written before it is read. */
static char printed[TWIN_PRINT_MAX];
static char expected[TWIN_PRINT_MAX];

void twin_print_take(struct twin *twin, const char *text, size_t length) {
    TWIN_CHECK(twin, length <= sizeof printed - twin->printed, "the print does not end%s", "");
    TWIN_CHECK(twin, arena_lock_depth() == 0, "printed with the lock held%s", "");
    memcpy(printed + twin->printed, text, length);
    twin->printed += (uint32_t)length;
}

/* Where the next byte of what is expected goes; no printf, whose way through a format takes longer
 * than what it is compared with. */
static char *expect_text(char *at, const char *text) {
    size_t length = strlen(text);
    memcpy(at, text, length); /* NOLINT(bugprone-not-null-terminated-result) more text follows */
    return at + length;
}

static char *expect_number(char *at, uint32_t number, uint32_t base) {
    char digits[10];
    uint32_t count = 0;
    do {
        digits[count++] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number > 0);
    while (count > 0) {
        *at++ = digits[--count];
    }
    return at;
}

/* Blanks from `at` on until `width` bytes are behind `from`. */
static char *expect_width(char *at, const char *from, ptrdiff_t width) {
    while (at - from < width) {
        *at++ = ' ';
    }
    return at;
}

static void compare(struct twin *twin, const char *end) {
    uint32_t length = (uint32_t)(end - expected);
    TWIN_CHECK(twin, twin->printed == length && memcmp(printed, expected, length) == 0,
               "printed is\n%.*s\nexpected\n%.*s", (int)twin->printed, printed, (int)length,
               expected);
    twin->printed = 0;
}

/* As "%0.2f" of bytes / 1024.0, halves to even, in a tenth of its time. */
static uint32_t hundredths(uint32_t bytes) {
    uint32_t whole = bytes * 100u / 1024u;
    uint32_t rest = bytes * 100u % 1024u;
    return whole + (rest > 512u || (rest == 512u && whole % 2u != 0) ? 1u : 0u);
}

/* "%-7u (%0.2fKB)" */
static char *expect_bytes(char *at, uint32_t bytes) {
    uint32_t parts = hundredths(bytes);
    at = expect_width(expect_number(at, bytes, 10), at, 7);
    at = expect_number(expect_text(at, " ("), parts / 100u, 10);
    at = expect_number(expect_text(at, parts % 100u < 10u ? ".0" : "."), parts % 100u, 10);
    return expect_text(at, "KB)");
}

/* "    %-8s %-7u (%0.2fKB)\t\t%-7u (%0.2fKB)\r\n" */
static char *expect_row(char *at, const char *name, uint32_t now, uint32_t least) {
    char *first = expect_text(at, "    ");
    at = expect_text(expect_width(expect_text(first, name), first, 8), " ");
    at = expect_bytes(expect_text(expect_bytes(at, now), "\t\t"), least);
    return expect_text(at, "\r\n");
}

void twin_print_is_stats(struct twin *twin) {
    char *at = expect_text(expected, "    Type     Current Size       \tMinimum Size\r\n");
    at =
        expect_row(at, "Total", model_free_size(twin->model), model_minimum_free_size(twin->model));
    for (uint32_t r = 0; r < WM_HEAP_REGIONS_MAX; r++) {
        const struct wm_heap_region_config *row = &twin->regions[r];
        struct model_block first; /* of a region that has joined */
        if (model_find(twin->model, (row->start + 7u) & ~7u, &first)) {
            at = expect_row(at, row->name, model_caps_free_size(twin->model, row->caps),
                            model_caps_minimum_free_size(twin->model, row->caps));
        }
    }
    compare(twin, at);
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

/* "%s:%u" */
static char *expect_site(const struct twin *twin, char *at, uint32_t slot) {
    at = expect_text(at, twin->head.untraced ? "(null)" : twin_site);
    return expect_number(expect_text(at, ":"), twin->line[slot], 10);
}

/* "%u\t0x%x\t%s:%u\t%u\r\n" for each block, and the sum of all. */
static char *expect_list(const struct twin *twin, char *at, uint32_t hidden) {
    uint32_t count = 0;
    uint32_t bytes = 0;
    uint32_t slot;
    for (uint32_t born = UINT32_MAX; (slot = next_older(twin, born)) < PROGRAM_SLOTS;
         born = twin->born[slot]) {
        if (slot != hidden) {
            at = expect_text(expect_number(at, count, 10), "\t0x");
            at = expect_text(expect_number(at, twin->pointers[slot], 16), "\t");
            at = expect_text(expect_site(twin, at, slot), "\t");
            at = expect_text(expect_number(at, size_of(twin, slot), 10), "\r\n");
            count++;
            bytes += size_of(twin, slot);
        }
    }
    at = expect_number(expect_text(at, "summary: malloc size "), bytes, 10);
    at = expect_number(expect_text(at, ", malloc count "), count, 10);
    return expect_text(at, "\r\n");
}

void twin_print_is_tracing(struct twin *twin, uint32_t hidden) {
    bool tracing = twin->build->tracing;
    char *at = tracing ? expect_list(twin, expected, hidden) : expected;
    if (hidden < PROGRAM_SLOTS) {
        at = expect_text(at, tracing ? "corruption detected 0x" : "corruption detected in 0x");
        at = expect_number(at, twin->pointers[hidden], 16);
        if (tracing) {
            at = expect_site(twin, expect_text(at, " in "), hidden);
            at = expect_number(expect_text(at, " size "), size_of(twin, hidden), 10);
        }
        at = expect_text(at, "\r\n");
    }
    compare(twin, at);
}

void twin_print_is_nothing(struct twin *twin) { compare(twin, expected); }
