/* SPDX-License-Identifier: Apache-2.0
 *
 * What the heap prints, to the byte: field logs are read by programs that expect the
 * SDK's formats. Statistics as of SDK v2.3, the list of live blocks newest first, the
 * line about a corrupted block; lines end in CR LF; nothing is printed under the lock,
 * because a console line takes milliseconds.
 */
#include "heap_fixture.h"

#include <stdlib.h>

/* What was printed so far. */
struct console {
    char text[1 << 17];
    size_t length;
};

static void console_take(void *context, const char *text, size_t length) {
    struct console *console = context;
    CHECK(w800_lock_report().depth_now == 0, "text is printed under the lock");
    CHECK(console->length + length < sizeof console->text, "too much text");
    memcpy(console->text + console->length, text, length);
    console->length += length;
    console->text[console->length] = 0;
}

static void console_clear(struct console *console) {
    console->length = 0;
    console->text[0] = 0;
}

/* Compares and clears. */
static void console_check(struct console *console, const char *expected, const char *what) {
    CHECK(strcmp(console->text, expected) == 0, "%s: printed\n%s\nexpected\n%s", what,
          console->text, expected);
    CHECK(strlen(expected) == console->length, "%s: a NUL in the text", what);
    console_clear(console);
}

__attribute__((format(printf, 3, 4))) static size_t add_text(char *text, size_t at,
                                                             const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(text + at, sizeof(struct console) - at, format, arguments);
    va_end(arguments);
    return at + (size_t)written;
}

/* Large, and one is enough at a time. */
static struct console *console_new(void) {
    struct console *console = calloc(1, sizeof *console);
    cr_assert_not_null(console);
    w800_on_print(console_take, console);
    return console;
}

static void start(const struct heap_build *build, struct console *console, struct recorder *seen) {
    struct w800_config config = machine_config(build, 2 * MIB);
    heap_start(&config, seen);
    console_clear(console);
}

/* ---- statistics -------------------------------------------------------------------- */

#define STATS_HEAD "    Type     Current Size       \tMinimum Size\r\n"

Test(print, stats_are_the_sdks_text) {
    struct recorder seen;
    struct console *console = console_new();
    start(heap_build_find(true, 0), console, &seen);
    wm_heap_print_stats();
    console_check(console,
                  STATS_HEAD "    Total    275112  (268.66KB)\t\t275112  (268.66KB)\r\n"
                             "    SRAM     147144  (143.70KB)\t\t147144  (143.70KB)\r\n"
                             "    DRAM     127968  (124.97KB)\t\t127968  (124.97KB)\r\n",
                  "stats of an empty heap");
    wm_heap_append_to_heap("PSRAM");
    wm_heap_caps_free(wm_heap_caps_alloc(140000, DEFAULT));
    void *buffer = wm_heap_caps_alloc(127800, SHARED);
    wm_heap_caps_free(wm_heap_caps_alloc(1 << 20, SPIRAM));
    wm_heap_print_stats();
    console_check(console,
                  STATS_HEAD "    Total    2244416 (2191.81KB)\t\t1195816 (1167.79KB)\r\n"
                             "    SRAM     147144  (143.70KB)\t\t7120    (6.95KB)\r\n"
                             "    DRAM     144     (0.14KB)\t\t144     (0.14KB)\r\n"
                             "    PSRAM    2097128 (2047.98KB)\t\t1048528 (1023.95KB)\r\n",
                  "stats of a heap that was used");
    wm_heap_caps_free(buffer);
    wm_heap_print_tracing(NULL);
    console_check(console, "summary: malloc size 0, malloc count 0\r\n", "empty list");
    check_no_event(&seen, "printing");
    free(console);
}

static size_t expect_row(char *text, size_t at, const char *name, uint32_t now, uint32_t least) {
    return add_text(text, at, "    %-8s %-7u (%0.2fKB)\t\t%-7u (%0.2fKB)\r\n", name, now,
                    now / 1024.0, least, least / 1024.0);
}

static struct wm_heap_level level_of(uint32_t free_bytes, uint32_t lowest) {
    return (struct wm_heap_level){lowest, (int32_t)(free_bytes - lowest)};
}

/* The core has no printf. Numbers that no heap gets to by 8 bytes come from its state,
 * written here: all of six digits and more, ties of the rounding (multiples of 128 that
 * are not of 256) among them. */
Test(print, kilobytes_round_as_printf_does) {
    struct recorder seen;
    struct console *console = console_new();
    const struct heap_build *build = heap_builds[0];
    struct w800_config config = small_config(build, 1024);
    struct console *expected = calloc(1, sizeof *expected);
    heap_start(&config, &seen);
    struct wm_heap_level *total = &build->state->total;
    struct wm_heap_level *region = &build->state->regions[0].level;
    uint32_t now = 0;
    for (uint32_t i = 0; i < 120000; i++) {
        now += i == 0 ? 0 : i < 70000 ? 1 : i % 5 == 0 ? 129 : 128;
        *total = level_of(now, now < 5000000 ? now / 3 : 9999999 - now);
        *region = level_of(now / 2, i);
        wm_heap_print_stats();
        size_t at = add_text(expected->text, 0, STATS_HEAD);
        at = expect_row(expected->text, at, "Total", now, wm_heap_level_minimum(total));
        expect_row(expected->text, at, "SRAM", now / 2, wm_heap_level_minimum(region));
        console_check(console, expected->text, "stats");
    }
    CHECK(now > 6000000, "%u bytes at the end", now);
    free(expected);
    free(console);
}

/* ---- the list ------------------------------------------------------------------------ */

Test(print, the_list_is_the_sdks_text) {
    struct recorder seen;
    struct console *console = console_new();
    start(heap_build_find(true, 0), console, &seen);
    wm_heap_append_to_heap("PSRAM");
    void *a = wm_heap_caps_alloc_tracing(100, DEFAULT, "src/main.c", 17);
    void *b = wm_heap_caps_calloc_tracing(2, 8, SHARED, "C:\\sdk\\lwip\\pbuf.c", 2147483647);
    wm_heap_caps_alloc_tracing(5000, SPIRAM, "psram.c", 0);
    wm_heap_caps_alloc_tracing(1, DEFAULT, NULL, 0);
    wm_heap_print_tracing(NULL);
    console_check(console,
                  "0\t0x200041b8\t(null):0\t32\r\n"
                  "1\t0x30000018\tpsram.c:0\t5024\r\n"
                  "2\t0x20028c18\tC:\\sdk\\lwip\\pbuf.c:2147483647\t40\r\n"
                  "3\t0x20004138\tsrc/main.c:17\t128\r\n"
                  "summary: malloc size 5224, malloc count 4\r\n",
                  "four blocks");
    a = wm_heap_caps_realloc_tracing(a, 20, caps_of(0), "src/main.c", 20);
    wm_heap_caps_free(b);
    wm_heap_print_tracing(NULL);
    console_check(console,
                  "0\t0x200041d8\tsrc/main.c:20\t48\r\n"
                  "1\t0x200041b8\t(null):0\t32\r\n"
                  "2\t0x30000018\tpsram.c:0\t5024\r\n"
                  "summary: malloc size 5104, malloc count 3\r\n",
                  "after a realloc, which makes the newest block, and a free");
    wm_heap_caps_alloc_tracing(40, DEFAULT, "src/main.c", 21);
    wm_heap_print_tracing(a); /* the block that is complained of is left out */
    console_check(console,
                  "0\t0x20004138\tsrc/main.c:21\t64\r\n"
                  "1\t0x200041b8\t(null):0\t32\r\n"
                  "2\t0x30000018\tpsram.c:0\t5024\r\n"
                  "summary: malloc size 5120, malloc count 3\r\n"
                  "corruption detected 0x200041d8 in src/main.c:20 size 48\r\n",
                  "with a block complained of");
    check_no_event(&seen, "printing");
    free(console);
}

#define LIST_MAX 1000u

struct entry {
    void *ptr;
    const char *file;
    int line;
};

static const char deep_file[] =
    "components/driver/src/very/deep/in/a/tree/of/folders/that/nobody/would/want/to/type/twice/"
    "or/see/in/a/log/but/that/a/build/system/makes/when/it/is/left/alone/with/relative/paths/"
    "../../../../../../../../../../../../../../../../../../../../../../../../src/file.c";
static const char *const files[] = {
    "a.c", deep_file, "C:/Users/w/Documents/sdk/wm_osal.c", "name with blanks.c", "",
};

/* The text of a list, oldest entry first in the array. */
static void expect_list(struct console *expected, const struct entry *entries, uint32_t count,
                        const struct heap_build *build) {
    uint32_t bytes = 0;
    size_t at = 0;
    expected->text[0] = 0;
    for (uint32_t i = 0; build->tracing && i < count; i++) {
        const struct entry *entry = &entries[count - 1 - i];
        struct wm_heap_block block;
        CHECK(wm_heap_get_block(entry->ptr, &block), "entry %u is no block", i);
        at = add_text(expected->text, at, "%u\t0x%x\t%s:%d\t%u\r\n", i, w800_address(entry->ptr),
                      entry->file, entry->line, block.size);
        bytes += block.size;
    }
    if (build->tracing) {
        add_text(expected->text, at, "summary: malloc size %u, malloc count %u\r\n", bytes, count);
    }
}

static struct entry make_entry(uint32_t i) {
    static const uint32_t caps[] = {DEFAULT, SHARED, SPIRAM};
    struct entry entry = {.file = files[i % COUNT(files)], .line = (int)(i * 7919u % 100003u)};
    entry.ptr = wm_heap_caps_alloc_tracing(8 + i % 50, caps_of(caps[i % COUNT(caps)]), entry.file,
                                           entry.line);
    CHECK(entry.ptr != NULL, "no room for block %u", i);
    return entry;
}

/* `count` blocks over all regions, whose ages are no order of their addresses: each third
 * is freed again, and the next one takes its place. */
static void print_blocks(const struct heap_build *build, uint32_t count, struct console *console,
                         struct console *expected) {
    static struct entry entries[LIST_MAX];
    struct recorder seen;
    start(build, console, &seen);
    wm_heap_append_to_heap("PSRAM");
    uint32_t made = 0;
    for (uint32_t i = 0; made < count; i++) {
        entries[made++] = make_entry(i);
        if (i % 3 == 2) {
            uint32_t gone = i * 5 % made;
            wm_heap_caps_free(entries[gone].ptr);
            memmove(&entries[gone], &entries[gone + 1], (--made - gone) * sizeof *entries);
        }
    }
    expect_list(expected, entries, count, build);
    wm_heap_print_tracing(NULL);
    console_check(console, expected->text, "list");
    for (uint32_t i = 0; i < count; i += 1 + count / 8) { /* make some of them the newest */
        struct entry moved = entries[i];
        moved.line += 1;
        moved.ptr = wm_heap_caps_realloc_tracing(moved.ptr, 30, caps_of(0), moved.file, moved.line);
        CHECK(moved.ptr != NULL, "no room for a realloc");
        memmove(&entries[i], &entries[i + 1], (count - 1 - i) * sizeof *entries);
        entries[count - 1] = moved;
    }
    expect_list(expected, entries, count, build);
    wm_heap_print_tracing(NULL);
    console_check(console, expected->text, "list after reallocs");
    check_no_event(&seen, "printing");
}

static void print_lists(const struct heap_build *build) {
    static const uint32_t counts[] = {0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, LIST_MAX};
    struct console *console = console_new();
    struct console *expected = calloc(1, sizeof *expected);
    for (size_t i = 0; i < COUNT(counts); i++) {
        print_blocks(build, counts[i], console, expected);
    }
    free(expected);
    free(console);
}

/* The core collects 16 blocks a pass. */
Test(print, the_list_is_complete_and_newest_first_for_any_number_of_blocks) {
    in_every_build(print_lists);
}

/* Sequence numbers wrap after 2^32 allocations; the list does not mind. */
Test(print, the_list_stays_newest_first_when_the_sequence_wraps) {
    struct recorder seen;
    struct console *console = console_new();
    struct console *expected = calloc(1, sizeof *expected);
    const struct heap_build *build = heap_build_find(true, 1);
    struct entry entries[70];
    start(build, console, &seen);
    wm_heap_append_to_heap("PSRAM");
    build->state->counters.allocs = 0u - 40u;
    for (uint32_t i = 0; i < COUNT(entries); i++) {
        entries[i] = make_entry(i);
    }
    CHECK_EQ(build->state->counters.allocs, 30, "sequence");
    expect_list(expected, entries, COUNT(entries), build);
    wm_heap_print_tracing(NULL);
    console_check(console, expected->text, "list");
    free(expected);
    free(console);
}

static void print_nothing_without_tracing(const struct heap_build *build) {
    struct recorder seen;
    struct console *console = console_new();
    start(build, console, &seen);
    wm_heap_caps_alloc(10, DEFAULT);
    wm_heap_print_tracing(NULL);
    CHECK((console->length == 0) == !build->tracing, "printed %s", console->text);
    free(console);
}

Test(print, builds_without_tracing_have_no_list) { in_every_build(print_nothing_without_tracing); }

/* ---- corruption ------------------------------------------------------------------------ */

/* Three blocks; the canary of the middle one is hit, and it is freed. */
static void corrupt_canary(const struct heap_build *build, struct console *console) {
    struct recorder seen;
    start(build, console, &seen);
    wm_heap_caps_alloc_tracing(100, DEFAULT, "first.c", 1);
    uint8_t *middle = wm_heap_caps_alloc_tracing(200, DEFAULT, "middle.c", 22);
    wm_heap_caps_alloc_tracing(300, SHARED, "last.c", 333);
    middle[-1] = 0;
    wm_heap_caps_free(middle);
    check_one_fault(&seen, WM_HEAP_FAULT_UNDERFLOW, "free");
    wm_heap_caps_free(middle); /* the region is closed: nothing more is said */
    check_no_event(&seen, "second free");
}

Test(print, a_corrupted_block_is_named_between_list_and_stats) {
    struct console *console = console_new();
    corrupt_canary(heap_build_find(true, 1), console);
    console_check(console,
                  "0\t0x20028c20\tlast.c:333\t336\r\n"
                  "1\t0x20004140\tfirst.c:1\t136\r\n"
                  "summary: malloc size 472, malloc count 2\r\n"
                  "corruption detected 0x200041c8 in middle.c:22 size 232\r\n" STATS_HEAD
                  "    Total    274392  (267.96KB)\t\t274392  (267.96KB)\r\n"
                  "    SRAM     146768  (143.33KB)\t\t146768  (143.33KB)\r\n"
                  "    DRAM     127624  (124.63KB)\t\t127624  (124.63KB)\r\n",
                  "tlight");
    corrupt_canary(heap_build_find(false, 1), console);
    console_check(console,
                  "corruption detected in 0x200041b8\r\n" STATS_HEAD
                  "    Total    274432  (268.00KB)\t\t274432  (268.00KB)\r\n"
                  "    SRAM     146792  (143.35KB)\t\t146792  (143.35KB)\r\n"
                  "    DRAM     127640  (124.65KB)\t\t127640  (124.65KB)\r\n",
                  "light");
    free(console);
}

/* One byte behind what was asked for: comprehensive poisoning guards it. */
static void corrupt_guard(const struct heap_build *build, struct console *console) {
    struct recorder seen;
    start(build, console, &seen);
    char *block = wm_heap_caps_alloc_tracing(101, DEFAULT, "over.c", 7);
    wm_heap_caps_alloc_tracing(100, DEFAULT, "next.c", 8);
    block[101] = 0;
    CHECK(!wm_heap_caps_realloc_tracing(block, 200, DEFAULT, "over.c", 9), "realloc succeeds");
    check_one_fault(&seen, WM_HEAP_FAULT_OVERFLOW, "realloc");
}

Test(print, an_overrun_found_by_realloc_is_printed_like_one_found_by_free) {
    struct console *console = console_new();
    corrupt_guard(heap_build_find(true, 2), console);
    console_check(console,
                  "0\t0x200041d0\tnext.c:8\t136\r\n"
                  "summary: malloc size 136, malloc count 1\r\n"
                  "corruption detected 0x20004140 in over.c:7 size 144\r\n" STATS_HEAD
                  "    Total    274816  (268.38KB)\t\t274816  (268.38KB)\r\n"
                  "    SRAM     146856  (143.41KB)\t\t146856  (143.41KB)\r\n"
                  "    DRAM     127960  (124.96KB)\t\t127960  (124.96KB)\r\n",
                  "tcomp");
    corrupt_guard(heap_build_find(false, 2), console);
    console_check(console,
                  "corruption detected in 0x20004138\r\n" STATS_HEAD
                  "    Total    274848  (268.41KB)\t\t274848  (268.41KB)\r\n"
                  "    SRAM     146880  (143.44KB)\t\t146880  (143.44KB)\r\n"
                  "    DRAM     127968  (124.97KB)\t\t127968  (124.97KB)\r\n",
                  "comp");
    free(console);
}

/* A pointer that is no live block's has neither site nor size. */
Test(print, a_pointer_that_is_nobodys_is_only_a_number) {
    struct recorder seen;
    struct console *console = console_new();
    start(heap_build_find(true, 0), console, &seen);
    void *hole = wm_heap_caps_alloc_tracing(100, DEFAULT, "hole.c", 1);
    void *live = wm_heap_caps_alloc_tracing(100, DEFAULT, "live.c", 2);
    wm_heap_caps_free(hole);
#define LIVE_LINE "0\t0x200041b8\tlive.c:2\t128\r\nsummary: malloc size 128, malloc count 1\r\n"
    wm_heap_print_tracing(hole);
    console_check(console, LIVE_LINE "corruption detected 0x20004138\r\n", "a hole");
    wm_heap_print_tracing((char *)hole + 8);
    console_check(console, LIVE_LINE "corruption detected 0x20004140\r\n", "within a hole");
    wm_heap_print_tracing(w800_pointer(0x08010400));
    console_check(console, LIVE_LINE "corruption detected 0x8010400\r\n", "flash");
    wm_heap_print_tracing(live);
    console_check(console,
                  "summary: malloc size 0, malloc count 0\r\n"
                  "corruption detected 0x200041b8 in live.c:2 size 128\r\n",
                  "a live block");
    check_no_event(&seen, "printing");
    free(console);
}

/* DMA may own PSRAM: only when a block there is found corrupted is it looked at. */
static void corrupt_beside_psram(struct console *console, bool in_psram) {
    struct recorder seen;
    start(heap_build_find(true, 1), console, &seen);
    CHECK_EQ(wm_heap_append_to_heap("PSRAM"), WM_ERR_SUCCESS, "append");
    uint8_t *inner = wm_heap_caps_alloc_tracing(100, DEFAULT, "inner.c", 1);
    uint8_t *outer = wm_heap_caps_alloc_tracing(100, SPIRAM, "outer.c", 2);
    uint8_t *other = wm_heap_caps_alloc_tracing(8, SPIRAM, "other.c", 3);
    uint8_t *hit = in_psram ? outer : inner;
    hit[-1] = 0;
    wm_heap_caps_free(hit);
    check_one_fault(&seen, WM_HEAP_FAULT_UNDERFLOW, "free");
    CHECK(other != NULL, "no memory");
    char *stats = strstr(console->text, STATS_HEAD);
    CHECK(stats != NULL, "no statistics in %s", console->text);
    console->length = (size_t)(stats - console->text);
    *stats = '\0';
}

Test(print, psram_is_listed_only_if_the_corrupted_block_is_there) {
    struct console *console = console_new();
    corrupt_beside_psram(console, false);
    console_check(console,
                  "summary: malloc size 0, malloc count 0\r\n"
                  "corruption detected 0x20004140 in inner.c:1 size 136\r\n",
                  "in SRAM");
    corrupt_beside_psram(console, true);
    console_check(console,
                  "0\t0x300000a8\tother.c:3\t40\r\n"
                  "1\t0x20004140\tinner.c:1\t136\r\n"
                  "summary: malloc size 176, malloc count 2\r\n"
                  "corruption detected 0x30000020 in outer.c:2 size 136\r\n",
                  "in PSRAM");
    free(console);
}
