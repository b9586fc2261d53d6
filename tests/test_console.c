/* SPDX-License-Identifier: Apache-2.0
 *
 * The console reader: each print of the SDK is read, whatever a terminal program put around
 * it; what was torn is joined or counted, never misread.
 */
#include "../sim/console.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "field_variants.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* --- one text, its records ------------------------------------------------------------------ */

#define RECORDS_MAX 64

struct reading {
    struct console_record records[RECORDS_MAX]; /* without OTHER; texts are copies */
    size_t count;
    uint64_t lines;
    uint64_t damaged;
    char texts[RECORDS_MAX][3][256];
};

static struct console_text keep(char *room, struct console_text text) {
    size_t length = text.length < 255 ? text.length : 255;
    if (length > 0) {
        memcpy(room, text.at, length);
    }
    room[length] = '\0';
    return (struct console_text){room, length};
}

static void reading_make(struct reading *reading, const char *text, size_t length) {
    char nothing[1] = "";
    char *copy = nothing;
    if (length > 0) {
        copy = malloc(length); /* no byte behind the text may be read */
        cr_assert_not_null(copy);
        memcpy(copy, text, length);
    }
    FILE *file = length > 0 ? fmemopen(copy, length, "r") : fopen("/dev/null", "r");
    cr_assert_not_null(file);
    struct console *console = console_open(file);
    cr_assert_not_null(console);
    struct console_record record;
    memset(reading, 0, sizeof *reading);
    while (console_next(console, &record)) {
        if (record.kind == CONSOLE_OTHER || reading->count == RECORDS_MAX) {
            continue;
        }
        char(*room)[256] = reading->texts[reading->count];
        record.text = keep(room[0], record.text);
        record.expression = keep(room[1], record.expression);
        record.function = keep(room[2], record.function);
        reading->records[reading->count++] = record;
    }
    reading->lines = console_lines(console);
    reading->damaged = console_damaged(console);
    console_close(console);
    fclose(file);
    if (length > 0) {
        free(copy);
    }
}

static struct reading read_text(const char *text) {
    static struct reading reading; /* one test, one process, one reading at a time */
    reading_make(&reading, text, strlen(text));
    return reading;
}

/* The records as text, so that two readings compare and an expected one is a literal. */
static void describe(const struct console_record *record, char *out, size_t room) {
    const char *text = record->text.at != NULL ? record->text.at : "";
    switch (record->kind) {
    case CONSOLE_LOG:
        snprintf(out, room, "log %c %" PRId64 " %s", record->level, (int64_t)record->ms, text);
        break;
    case CONSOLE_BOOT:
        snprintf(out, room, "boot");
        break;
    case CONSOLE_HEAP_SIZE:
        snprintf(out, room, "heap size %" PRIu32, record->size);
        break;
    case CONSOLE_STATS:
        snprintf(out, room, "stats");
        break;
    case CONSOLE_STATS_ROW:
        snprintf(out, room, "row %s %" PRIu32 " %d %" PRIu32, text, record->size,
                 record->has_minimum, record->minimum);
        break;
    case CONSOLE_BLOCK:
        snprintf(out, room, "block %" PRIu32 " %08" PRIx32 " %s:%" PRIu32 " %" PRIu32,
                 record->index, record->pointer, text, record->site_line, record->size);
        break;
    case CONSOLE_SUMMARY:
        snprintf(out, room, "summary %" PRIu32 " %" PRIu32, record->size, record->index);
        break;
    case CONSOLE_CORRUPTION:
        snprintf(out, room, "corruption %d %08" PRIx32 " %s:%" PRIu32 " %" PRIu32,
                 record->has_pointer, record->pointer, text, record->site_line, record->size);
        break;
    case CONSOLE_ASSERTION:
        snprintf(out, room, "assertion %s | %s:%" PRIu32 " | %s", record->expression.at, text,
                 record->site_line, record->function.at);
        break;
    case CONSOLE_EXCEPTION:
        snprintf(out, room, "exception %" PRIu32, record->number);
        break;
    case CONSOLE_EXCEPTION_NAME:
        snprintf(out, room, "name %s", text);
        break;
    case CONSOLE_REGISTERS:
    case CONSOLE_ADDR2LINE: {
        size_t length = (size_t)snprintf(
            out, room, "%s", record->kind == CONSOLE_REGISTERS ? "registers" : "addr2line");
        for (size_t i = 0; i < record->count && length < room; i++) {
            length +=
                (size_t)snprintf(out + length, room - length, " %u=%08" PRIx32,
                                 (unsigned)record->registers[i].index, record->registers[i].value);
        }
        break;
    }
    case CONSOLE_STACK_OVERFLOW:
        snprintf(out, room, "stack overflow %s", text);
        break;
    case CONSOLE_OTHER:
    default:
        snprintf(out, room, "?");
        break;
    }
}

/* --- every print ---------------------------------------------------------------------------- */

#define TAIL_ASSERT                                                                                \
    "*(uint32_t *)(puc + (link->block_size & (~heap->block_allocated_bit)) - sizeof(uint32_t)) "   \
    "== 0x5A5A5A5A"

static const struct {
    const char *line;
    const char *record;
} prints[] = {
    {"[I] (178) wifi: connected, ip 192.168.1.45", "log I 178 wifi: connected, ip 192.168.1.45"},
    {"[E] (189) app: malloc(2048) failed", "log E 189 app: malloc(2048) failed"},
    {"    Type     Current Size       \tMinimum Size", "stats"},
    {"    Total    239264  (233.66KB)\t\t235352  (229.84KB)", "row Total 239264 1 235352"},
    {"    SRAM     400     (0.39KB)\t\t0       (0.00KB)", "row SRAM 400 1 0"},
    {"    PSRAM    8388584 (8191.98KB)\t\t8388584 (8191.98KB)", "row PSRAM 8388584 1 8388584"},
    {"heap remain 239264 (233.66KB):", "row Total 239264 0 0"},
    {"heap remain 8388608 (8.00MB):", "row Total 8388608 0 0"},
    {"    DRAM remain 117536 (114.78KB)", "row DRAM 117536 0 0"},
    {"heap remain 239264 (233KB):", "row Total 239264 0 0"},
    {"    PSRAM remain 8388584 (8.0MB)", "row PSRAM 8388584 0 0"},
    {"    DRAM remain 117536 (114)", "row DRAM 117536 0 0"},
    {"0\t0x20009128\t/home/dev/a b.c:174\t112", "block 0 20009128 /home/dev/a b.c:174 112"},
    {"47\t20004138\tC:\\sdk\\port.c:203\t4120", "block 47 20004138 C:\\sdk\\port.c:203 4120"},
    {"summary: malloc size 38920, malloc count 48", "summary 38920 48"},
    {"corruption detected 2000ad70 in /a/mqtt in.c:332 size 352",
     "corruption 1 2000ad70 /a/mqtt in.c:332 352"},
    {"corruption detected in 0x2000ad70", "corruption 1 2000ad70 :0 0"},
    {"assertion \"" TAIL_ASSERT "\" failed: file \"/c/wm_heap.c\", line 270, function: heap_free",
     "assertion " TAIL_ASSERT " | /c/wm_heap.c:270 | heap_free"},
    {"CPU Exception : 16", "exception 16"},
    {"Exception name: Trap instruction exception", "name Trap instruction exception"},
    {"r0 : 0x20c85108\tr1 : 0x2094d22e\tr2 : 0x2026c940\tr3 : 0x20c82ae6\t",
     "registers 0=20c85108 1=2094d22e 2=2026c940 3=20c82ae6"},
    {"r12: 0x2058c6c6\tr13: 0x2063b19c\tr14: 0x200012f0\tr15: 0x0801a2a6\t",
     "registers 12=2058c6c6 13=2063b19c 14=200012f0 15=0801a2a6"},
    {"psr: 0x80100140", "registers 16=80100140"},
    {"pc : 0x0801a2c4", "registers 17=0801a2c4"},
    {"Show pc info by run: csky-elfabiv2-addr2line -p -f -e ./build/app.elf -a 0x0801a2c4 "
     "0x0801a2a6",
     "addr2line 17=0801a2c4 15=0801a2a6"},
    {"task[wifi] stack over flow", "stack overflow wifi"},
};

static void check_line(const char *prefix, const char *line, const char *suffix,
                       const char *expected) {
    char text[1024];
    char got[512] = "nothing";
    snprintf(text, sizeof text, "%s%s%s", prefix, line, suffix);
    struct reading reading = read_text(text);
    if (reading.count > 0) {
        describe(&reading.records[reading.count - 1], got, sizeof got);
    }
    cr_expect(reading.count == 1 && strcmp(got, expected) == 0 && reading.damaged == 0,
              "\"%s\": %zu records, %" PRIu64 " damaged, got \"%s\", expected \"%s\"", text,
              reading.count, reading.damaged, got, expected);
}

Test(console, reads_every_print_of_the_sdk) {
    for (size_t i = 0; i < COUNT(prints); i++) {
        check_line("", prints[i].line, "\r\n", prints[i].record);
        check_line("", prints[i].line, "\n", prints[i].record);
        check_line("", prints[i].line, "", prints[i].record);
        check_line("\r", prints[i].line, "\r\r\n", prints[i].record);
    }
}

Test(console, strips_time_stamps_of_all_styles_from_all_prints) {
    for (unsigned style = 0; style < FIELD_STAMPS; style++) {
        for (size_t i = 0; i < COUNT(prints); i++) {
            char stamp[64];
            field_stamp(style, 32400.618 + style, stamp, sizeof stamp);
            check_line(stamp, prints[i].line, "\r\n", prints[i].record);
        }
    }
}

Test(console, strips_colours_before_and_behind_stamps) {
    for (size_t i = 0; i < COUNT(prints); i++) {
        check_line("\033[0;31m", prints[i].line, "\033[0m\r\n", prints[i].record);
        check_line("[09:00:00.618] \033[1;32m", prints[i].line, "\033[0m\r\n", prints[i].record);
        check_line("\033[2K\033]0;ttyUSB0\a\033[32m09:00:00 ", prints[i].line, "\033[m\n",
                   prints[i].record);
    }
}

Test(console, a_stamp_is_not_seen_where_none_is) {
    check_line("", "0\t0x20009128\t12:34:56 a.c:174\t112", "\n",
               "block 0 20009128 12:34:56 a.c:174 112");
    check_line("", "[I] (12) app: 12:34:56 ok", "\n", "log I 12 app: 12:34:56 ok");
}

Test(console, boot_lines_keep_their_log_time) {
    struct reading reading = read_text(
        "[I] (138) main: wm iot sdk v2.4\r\n[I] (150) main: heap size 244424(238.70KB)\r\n"
        "[I] (151) main: heap size 8388584(8.00MB)\n");
    static const enum console_kind kinds[] = {CONSOLE_LOG,       CONSOLE_BOOT, CONSOLE_LOG,
                                              CONSOLE_HEAP_SIZE, CONSOLE_LOG,  CONSOLE_HEAP_SIZE};
    cr_assert_eq(reading.count, COUNT(kinds));
    for (size_t i = 0; i < COUNT(kinds); i++) {
        cr_expect_eq(reading.records[i].kind, kinds[i], "record %zu", i);
    }
    cr_expect_eq(reading.records[0].ms, 138);
    cr_expect_eq(reading.records[3].size, 244424);
    cr_expect_eq(reading.records[5].line, 3);
}

/* --- what cannot be read -------------------------------------------------------------------- */

Test(console, counts_prints_with_impossible_numbers_as_damaged) {
    static const char *const lines[] = {
        "    SRAM     121728  (118.98KB)\t\t117816  (115.05KB)", /* kilobytes disagree */
        "    SRAM     121728  (118.88KB)\t\t117x16  (115.05KB)",
        "    SRAM     121728  (118.88KB)",
        "heap remain 239264 (23.66KB):",
        "12\t0x20x09bc8\t/a.c:174\t120",
        "12\t0x20009bc8\t/a.c;174\t120",
        "12\t0x20009bc8\t/a\a.c:174\t120",
        "12\t0x20009bc8\t/a.c:174\t12o",
        "1z\t0x20009bc8\t/a.c:174\t120",
        "12\t0x120009bc8\t/a.c:174\t120",
        "12\t0x20009bc8\t/a.c:99999999999\t120",
        "summary: malloc size 389x0, malloc count 48",
        "sumXary: malloc size 38920, malloc count 48",
        "CPU Exception : x",
        "psr: 0x8010o140",
        "[I (218) mqtt: rssi -61",
        "[Q] (218) mqtt: rssi -61",
    };
    for (size_t i = 0; i < COUNT(lines); i++) {
        char text[256];
        snprintf(text, sizeof text, "%s\r\n[I] (1) a: b\r\n", lines[i]);
        struct reading reading = read_text(text);
        bool expected = strncmp(lines[i], "heap remain", 11) == 0; /* ordinary words */
        cr_expect_eq(reading.count, 1, "\"%s\": %zu records", lines[i], reading.count);
        cr_expect_eq(reading.damaged, expected ? 0 : 1, "\"%s\": %" PRIu64 " damaged", lines[i],
                     reading.damaged);
    }
}

Test(console, keeps_what_a_damaged_crash_line_still_says) {
    struct reading reading = read_text(
        "corruption detected 2000ad70 in /a/mqtt_client.c#332 size 352\r\n"
        "[I] (1) a: b\r\n[I] (2) a: b\r\n[I] (3) a: b\r\n[I] (4) a: b\r\n[I] (5) a: b\r\n"
        "assertion \"link->corruption_magic == 0xA5A5A5A5\" faXled: file \"/wm_heap.c\", line 262, "
        "function: heap_free\r\n\r\nCPU Exception : 16\r\n");
    size_t found = 0;
    for (size_t i = 0; i < reading.count; i++) {
        const struct console_record *record = &reading.records[i];
        if (record->kind == CONSOLE_CORRUPTION) {
            cr_expect(record->has_pointer && record->pointer == 0x2000ad70);
            cr_expect_eq(record->text.length, 0);
            found++;
        }
        if (record->kind == CONSOLE_ASSERTION) {
            cr_expect_eq(record->site_line, 262);
            cr_expect_not_null(strstr(record->expression.at, "corruption_magic"));
            found++;
        }
    }
    cr_expect_eq(found, 2);
    cr_expect_eq(reading.damaged, 2);
}

/* --- what was torn -------------------------------------------------------------------------- */

static size_t count_kind(const struct reading *reading, enum console_kind kind) {
    size_t count = 0;
    for (size_t i = 0; i < reading->count; i++) {
        count += reading->records[i].kind == kind;
    }
    return count;
}

static const struct console_record *first_of(const struct reading *reading,
                                             enum console_kind kind) {
    for (size_t i = 0; i < reading->count; i++) {
        if (reading->records[i].kind == kind) {
            return &reading->records[i];
        }
    }
    return NULL;
}

Test(console, joins_a_log_line_that_a_list_overtook_at_any_byte) {
    const char log[] = "[E] (189) app: malloc(2048) failed";
    const char list[] = "0\t0x20009128\t/a.c:174\t112\r\n1\t0x20009200\t/a.c:175\t40\r\n"
                        "summary: malloc size 152, malloc count 2\r\n";
    for (size_t at = 15; at < sizeof log - 1; at++) {
        char text[512];
        snprintf(text, sizeof text, "%.*s%s%s\r\n", (int)at, log, list, log + at);
        struct reading reading = read_text(text);
        const struct console_record *last = &reading.records[reading.count - 1];
        cr_expect_eq(count_kind(&reading, CONSOLE_BLOCK), 2, "cut at %zu", at);
        cr_expect_eq(reading.damaged, 0, "cut at %zu", at);
        cr_expect(last->kind == CONSOLE_LOG && last->worth_a_look &&
                      strcmp(last->text.at, "app: malloc(2048) failed") == 0,
                  "cut at %zu: \"%s\"", at, last->text.at);
    }
}

Test(console, a_list_in_the_middle_of_a_number_keeps_its_addresses) {
    struct reading reading = read_text("[I] (9) app: rssi -60\t0x20009128\t/a.c:174\t112\r\n1\r\n");
    const struct console_record *block = first_of(&reading, CONSOLE_BLOCK);
    cr_assert_not_null(block);
    cr_expect_eq(block->pointer, 0x20009128);
    cr_expect_eq(block->size, 112);
}

/* A print cut in two, by a line's end or by a log line: read as it was, or not at all. */
Test(console, joins_a_print_that_was_cut_at_any_byte_or_counts_it) {
    static const char *const between[] = {"\r\n", "\r\n[09:00:00.618] ", "[W] (7) mqtt: poll\r\n",
                                          "[W] (7) mqtt: poll\r\n[I] (8) app: poll\r\n"};
    size_t joined = 0;
    size_t all = 0;
    for (size_t i = 2; i < COUNT(prints); i++) {
        for (size_t k = 0; k < COUNT(between); k++) {
            for (size_t at = 1; at < strlen(prints[i].line); at++) {
                char text[1024];
                char got[512] = "nothing";
                snprintf(text, sizeof text, "%.*s%s%s\r\n[I] (9) a: b\r\n[I] (9) a: b\r\n", (int)at,
                         prints[i].line, between[k], prints[i].line + at);
                struct reading reading = read_text(text);
                for (size_t r = 0; r < reading.count && strcmp(got, prints[i].record) != 0; r++) {
                    if (reading.records[r].kind != CONSOLE_LOG) {
                        describe(&reading.records[r], got, sizeof got);
                    }
                }
                all++;
                joined += strcmp(got, prints[i].record) == 0;
            }
        }
    }
    cr_expect_geq(100 * joined, 85 * all, "%zu of %zu were read", joined, all);
}

Test(console, gives_up_a_torn_print_when_the_next_print_comes) {
    struct reading reading =
        read_text("12\t0x20009bc8\t/home/de\r\n13\t0x20009c40\t/a.c:7\t40\r\n");
    cr_expect_eq(count_kind(&reading, CONSOLE_BLOCK), 1);
    cr_expect_eq(reading.records[0].pointer, 0x20009c40);
    cr_expect_eq(reading.damaged, 1);
}

/* --- what is no text ------------------------------------------------------------------------ */

Test(console, reads_on_behind_binary_bytes_and_endless_lines) {
    size_t noise = 3u << 20;
    const char print[] = "\n12\t0x20009bc8\t/a.c:174\t120\n";
    char *text = malloc(noise + sizeof print);
    cr_assert_not_null(text);
    uint64_t seed = 7;
    for (size_t i = 0; i < noise; i++) {
        text[i] = (char)field_random(&seed);
        if (text[i] == '\n' || text[i] == '\t') {
            text[i] = '\0';
        }
    }
    memcpy(text + noise, print, sizeof print);
    struct reading reading;
    reading_make(&reading, text, noise + sizeof print - 1);
    cr_expect_eq(count_kind(&reading, CONSOLE_BLOCK), 1);
    cr_expect_eq(reading.lines, 2);
    free(text);
}

Test(console, counts_lines_like_wc) {
    static const struct {
        const char *text;
        uint64_t lines;
    } texts[] = {{"", 0}, {"a", 1}, {"a\n", 1}, {"\n\n", 2}, {"\r\n\r\na", 3}};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct reading reading = read_text(texts[i].text);
        cr_expect_eq(reading.lines, texts[i].lines, "text %zu: %" PRIu64, i, reading.lines);
    }
}

/* A line that lies across two chunks is one line. */
Test(console, chunks_leave_no_seam) {
    static const char line[] = "12\t0x20009bc8\t/home/dev/a.c:174\t120\r\n";
    size_t count = (3u << 20) / (sizeof line - 1);
    char *text = malloc(count * (sizeof line - 1));
    cr_assert_not_null(text);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + i * (sizeof line - 1), line, sizeof line - 1);
    }
    FILE *file = fmemopen(text, count * (sizeof line - 1), "r");
    struct console *console = console_open(file);
    struct console_record record;
    size_t blocks = 0;
    while (console_next(console, &record)) {
        blocks += record.kind == CONSOLE_BLOCK && record.size == 120;
    }
    cr_expect_eq(blocks, count);
    cr_expect_eq(console_lines(console), count);
    cr_expect_eq(console_damaged(console), 0);
    console_close(console);
    fclose(file);
    free(text);
}
