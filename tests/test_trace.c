/* SPDX-License-Identifier: Apache-2.0
 *
 * The text trace: what is read, what is refused and in which words, and that writing
 * gives back what was read. Spellings, fields and refusals are literal tables; random,
 * cut and garbled text is test_trace_hostile's.
 */
#include "../sim/trace.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trace_text.h"

#define EVERY_LENGTH strlen(trace_text_every_event)
/* The first event stands on line 3. */
#define HEAD "wmtrace 1\nregion SRAM 0x20004000 0x20028000 DEFAULT\n"

static char *load(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s: %s", path, strerror(errno));
    enum { ROOM = 1 << 20 };
    char *text = calloc(1, ROOM);
    *length = fread(text, 1, ROOM - 1, file);
    fclose(file);
    return text;
}

Test(trace, golden_traces_come_back_byte_for_byte) {
    glob_t found;
    cr_assert_eq(glob(W800_SOURCE_DIR "/tests/golden/*.trace", 0, NULL, &found), 0);
    cr_assert_geq(found.gl_pathc, 60);
    for (size_t i = 0; i < found.gl_pathc; ++i) {
        struct trace trace;
        struct trace_error error;
        cr_assert(trace_read_file(&trace, found.gl_pathv[i], &error), "%s", error.text);
        size_t length = 0;
        size_t want_length = 0;
        char *got = trace_text_of(&trace, &length);
        char *want = load(found.gl_pathv[i], &want_length);
        trace_text_assert_same(got, length, want, want_length, found.gl_pathv[i]);
        free(got);
        free(want);
        trace_free(&trace);
    }
    globfree(&found);
}

Test(trace, canonical_text_with_every_event_comes_back_byte_for_byte) {
    const size_t length = EVERY_LENGTH;
    trace_text_assert_reads_as(trace_text_every_event, length, trace_text_every_event, length,
                               "every_event");
}

Test(trace, other_spellings_are_written_canonically) {
    static const struct {
        const char *given;
        const char *canonical;
    } rows[] = {
        {"alloc 0x10 0x64 1|DEFAULT|0x2 = 536887608", "alloc 16 100 DEFAULT|INTERNAL = 0x20004138"},
        {"\t alloc  007\t1  0   ", "alloc 7 1 0"},
        {"alloc 1 1 0|0", "alloc 1 1 0"},
        {"alloc 1 1 0x100020", "alloc 1 1 INVALID|0x20"},
        {"free 1#c", "free 1 #c"},
        {"free 1 @   f.c:0x10   # c", "free 1 @ f.c:16 # c"},
        {"free 1 @ a b \tc :2", "free 1 @ a b \tc :2"},
        {"free 1 @ @ = :3:4", "free 1 @ @ = :3:4"},
        {"expect fault=overflow min_free=0xA free=1", "expect free=1 min_free=10 fault=overflow"},
        {"write 1 -0 1 9", "write 1 0 1 0x09"},
        {"write 1 0x10 1 0xaB", "write 1 16 1 0xab"},
        {"write 1 -0x10 1 255", "write 1 -16 1 0xff"},
        {"freeaddr 0", "freeaddr 0x00000000"},
        {"  # indented", "# indented"},
        {" \t ", ""},
        {"stats\r", "stats"},
        {"stats # c\r", "stats # c"},
        {"\r", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        char given[512];
        char want[512];
        const int length = snprintf(given, sizeof(given), HEAD "%s\n", rows[i].given);
        const int want_length = snprintf(want, sizeof(want),
                                         "wmtrace 1\nconfig tracing=y poisoning=none\n"
                                         "region SRAM 0x20004000 0x20028000 DEFAULT\n%s\n",
                                         rows[i].canonical);
        trace_text_assert_reads_as(given, (size_t)length, want, (size_t)want_length, rows[i].given);
    }
}

Test(trace, fields_arrive_where_the_header_says) {
    struct trace trace;
    struct trace_error error;
    const char text[] = HEAD "alloc 9 100 DEFAULT|SHARED = 0x20004138 @ a.c:7\n"
                             "calloc 5 6 7 EXEC\naligned 9 64 8 2\nwrite 5 -3 4 0x5a\n"
                             "writeaddr 0x11 2 3\nflip 0x12 6\nfail 3 on\ndma hspi 0x13 4\n"
                             "expect min_free=2 fault=overflow\ncheck\ncheck SRAM\nappend DRAM\n";
    static const struct trace_event want[] = {
        {TRACE_ALLOC, TRACE_HAS_ADDRESS | TRACE_HAS_SITE, 3, 0, 100, 17, 0, 0x20004138u, 0, 7},
        {TRACE_CALLOC, 0, 4, 1, 7, 8, 6, 0, 0, 0},
        {TRACE_ALIGNED, 0, 5, 0, 8, 2, 64, 0, 0, 0},
        {TRACE_WRITE, 0, 6, 1, 4, 0xfffffffdu, 0x5a, 0, 0, 0},
        {TRACE_WRITEADDR, 0, 7, TRACE_NO_SLOT, 2, 0x11, 3, 0, 0, 0},
        {TRACE_FLIP, 0, 8, TRACE_NO_SLOT, 0, 0x12, 6, 0, 0, 0},
        {TRACE_FAIL, TRACE_HAS_ON, 9, TRACE_NO_SLOT, 3, 0, 0, 0, 0, 0},
        {TRACE_DMA, 0, 10, TRACE_NO_SLOT, 4, 0x13, TRACE_DMA_HSPI, 0, 0, 0},
        {TRACE_EXPECT, TRACE_HAS_MIN_FREE | TRACE_HAS_FAULT, 11, TRACE_NO_SLOT, 0, 2, 1, 0, 0, 0},
        {TRACE_CHECK, 0, 12, TRACE_NO_SLOT, 0, 0, TRACE_NO_SLOT, 0, 0, 0},
        {TRACE_CHECK, 0, 13, TRACE_NO_SLOT, 0, 0, 2, 0, 0, 0},
        {TRACE_APPEND, 0, 14, TRACE_NO_SLOT, 0, 0, 3, 0, 0, 0},
    };
    static const char *const names[] = {"a.c", "overflow", "SRAM", "DRAM"};
    cr_assert(trace_read_memory(&trace, text, sizeof(text) - 1, "t", &error), "%s", error.text);
    cr_assert_eq(trace.event_count, sizeof(want) / sizeof(want[0]));
    for (size_t i = 0; i < trace.event_count; ++i) {
        const struct trace_event *got = &trace.events[i];
        cr_expect(got->kind == want[i].kind && got->has == want[i].has &&
                      got->line_number == want[i].line_number && got->slot == want[i].slot &&
                      got->size == want[i].size && got->caps == want[i].caps &&
                      got->extra == want[i].extra && got->address == want[i].address &&
                      got->site == want[i].site && got->site_line == want[i].site_line,
                  "event %zu", i);
    }
    cr_assert_eq(trace.name_count, 4);
    for (uint32_t i = 0; i < 4; ++i)
        cr_expect_str_eq(trace.names[i], names[i]);
    cr_assert_eq(trace.id_count, 2);
    cr_expect(trace.ids[0] == 9 && trace.ids[1] == 5);
    cr_expect(trace.config.tracing && trace.config.poisoning == TRACE_POISONING_NONE &&
              !trace.config.realloc_in_place);
    trace_free(&trace);
    trace_free(&trace); /* an empty one */
}

#define REGION(line) "wmtrace 1\nregion " line "\n"
#define TEN(x) x x x x x x x x x x
static const struct {
    const char *text;
    const char *reason;
} refusals[] = {
    {"", "1: the file is empty: expected `wmtrace 1`"},
    {"\n", "1: not a trace: expected `wmtrace 1`, but the first line is empty"},
    {"# hi\nwmtrace 1\n", "1: not a trace: expected `wmtrace 1`, but the first line is a comment"},
    {"\x7f"
     "ELF\x02\x01",
     "1: not a trace: expected `wmtrace 1`, but the file starts with "
     "\"\\x7fELF\\x02\\x01\""},
    {"{\"a\": 1}\n",
     "1: not a trace: expected `wmtrace 1`, but the file starts with \"{\"a\": 1}\""},
    {"wmtrac", "1: truncated: the last line does not end with a newline"},
    {"wmtrace 1", "1: truncated: the last line does not end with a newline"},
    {"wmtrace\n", "1: missing version: expected `wmtrace 1`"},
    {"wmtrace 2\n", "1: this file is wmtrace 2; this program reads wmtrace 1"},
    {"wmtrace 1.1\n", "1: this file is wmtrace 1.1; this program reads wmtrace 1"},
    {"wmtrace 1 2\n", "1: surplus field \"2\""},
    {"wmtrace 1\n\n", "2: truncated: no region line up to the file's end"},
    {"wmtrace 1\ninit\n", "2: init: no region line stands before the first event"},
    {"wmtrace 1\nwmtrace 1\n", "2: unknown event \"wmtrace\""},
    {"wmtrace 1\nconfig\n", "2: config: missing field KEY=VALUE"},
    {"wmtrace 1\nconfig color=y\n", "2: config: unknown key: \"color=y\""},
    {"wmtrace 1\nconfig tracing\n", "2: config: unknown value: \"tracing\""},
    {"wmtrace 1\nconfig tracing=yes\n", "2: config: unknown value: \"tracing=yes\""},
    {"wmtrace 1\nconfig tracing=y tracing=y\n", "2: config: tracing is given twice"},
    {"wmtrace 1\nconfig tracing=y\nconfig poisoning=none\n",
     "3: config must come once, before the first region and the first event"},
    {HEAD "config tracing=y\n",
     "3: config must come once, before the first region and the first event"},
    {HEAD "init\nregion DRAM 0x20028000 0x20047ffc 0\n",
     "4: region must come before the first event"},
    {HEAD "region SRAM 0x20004000 0x20028000 0\n",
     "3: region SRAM is given twice: the order is SRAM, DRAM, PSRAM"},
    {REGION("DRAM 0x20028000 0x20047ffc 0\nregion SRAM 0x20004000 0x20028000 0"),
     "3: region SRAM comes too late: the order is SRAM, DRAM, PSRAM"},
    {REGION(""), "2: region: missing field NAME"},
    {REGION("FLASH 0 1 0"), "2: unknown region \"FLASH\""},
    {REGION("SRAM"), "2: missing field first byte"},
    {REGION("SRAM 0x20004000"), "2: missing field byte after the last"},
    {REGION("SRAM 0x20004000 0x20028000"), "2: missing field CAPS, or a part of its list"},
    {REGION("SRAM 0x20004000 0x20028000 0 deferred"),
     "2: region SRAM cannot be deferred, only PSRAM can"},
    {REGION("PSRAM 0x30000000 0x30800000 SPIRAM later"), "2: surplus field \"later\""},
    {REGION("SRAM 0x1ffffff8 0x20028000 0"),
     "2: region SRAM: first byte 0x1ffffff8 is outside 0x20000000 to 0x20027fff"},
    {REGION("SRAM 0x20028000 0x20028000 0"),
     "2: region SRAM: first byte 0x20028000 is outside 0x20000000 to 0x20027fff"},
    {REGION("DRAM 0x20028000 0x20048001 0"),
     "2: region DRAM: the byte after it, 0x20048001, is beyond 0x20048000"},
    {REGION("PSRAM 0x30000010 0x30000010 0"),
     "2: region PSRAM: no byte from 0x30000010 to before 0x30000010"},
    {HEAD "alloc", "3: truncated: the last line does not end with a newline"},
    {HEAD "malloc 1 2 3\n", "3: unknown event \"malloc\""},
    {HEAD "alloc\n", "3: missing field ID"},
    {HEAD "alloc 1 # 2\n", "3: missing field SIZE"},
    {HEAD "alloc 1 2\n", "3: missing field CAPS, or a part of its list"},
    {HEAD "alloc x 2 0\n", "3: ID is not a number: \"x\""},
    {HEAD "alloc 1x 2 0\n", "3: ID is not a number: \"1x\""},
    {HEAD "alloc -1 2 0\n", "3: ID is not a number: \"-1\""},
    {HEAD "alloc 1 0x 0\n", "3: SIZE is not a number: \"0x\""},
    {HEAD "alloc 1 0X10 0\n", "3: SIZE is not a number: \"0X10\""},
    {HEAD "alloc 4294967296 2 0\n", "3: ID is out of range (0 to 4294967295): \"4294967296\""},
    {HEAD "alloc 1 99999999999999999999999999 0\n",
     "3: SIZE is out of range (0 to 4294967295): \"99999999999999999999999999\""},
    {HEAD "alloc 1 0x100000000 0\n", "3: SIZE is out of range (0 to 4294967295): \"0x100000000\""},
    {HEAD "alloc 1 2 DEFAULT|\n", "3: missing field CAPS, or a part of its list"},
    {HEAD "alloc 1 2 DEFAULT||EXEC\n", "3: missing field CAPS, or a part of its list"},
    {HEAD "alloc 1 2 default\n", "3: unknown capability \"default\""},
    {HEAD "alloc 1 2 EXEC|0x1ffffffff\n",
     "3: CAPS is not a number up to 4294967295: \"0x1ffffffff\""},
    {HEAD "alloc 1 2 0 3\n", "3: surplus field \"3\""},
    {HEAD "alloc 1 2 0 =\n", "3: missing field ADDR"},
    {HEAD "alloc 1 2 0 =0x1\n", "3: no blank behind the = in \"=0x1\""},
    {HEAD "alloc 1 2 0 = y\n", "3: ADDR is not a number: \"y\""},
    {HEAD "alloc 1 2 0 @ f:1 = 0x1\n", "3: surplus field \"=\""},
    {HEAD "free 1 = 0x1\n", "3: surplus field \"=\""},
    {HEAD "free 1 @\n", "3: missing field FILE:LINE"},
    {HEAD "free 1 @f.c:1\n", "3: no blank behind the @ in \"@f.c:1\""},
    {HEAD "free 1 @ f.c\n", "3: missing field FILE:LINE"},
    {HEAD "free 1 @ :1\n", "3: missing field FILE:LINE"},
    {HEAD "free 1 @ f.c:\n", "3: missing field LINE"},
    {HEAD "free 1 @ a#b.c:1\n", "3: missing field FILE:LINE"},
    {HEAD "free 1 @ C:\\x.c\n", "3: LINE is not a number: \"\\x.c\""},
    {HEAD "free 1 @ f.c:1 2\n", "3: surplus field \"2\""},
    {HEAD "append\n", "3: missing field NAME"},
    {HEAD "append PS|RAM\n",
     "3: NAME is not up to 64 letters, digits, underscores and hyphens: \"PS|RAM\""},
    {HEAD "append " TEN("1234567") "\n",
     "3: NAME is not up to 64 letters, digits, underscores and "
     "hyphens: \"1234567123456712345671234567123456712345...\""},
    {HEAD "expect\n", "3: expect: missing field KEY=VALUE"},
    {HEAD "expect used=1\n", "3: expect: unknown key in \"used=1\""},
    {HEAD "expect free=1 free=1\n", "3: expect: free= is given twice"},
    {HEAD "expect free=\n", "3: missing field free="},
    {HEAD "expect fault=Double\n",
     "3: fault= wants up to 64 letters a to z and hyphens: \"Double\""},
    {HEAD "expect fault=\n", "3: fault= wants up to 64 letters a to z and hyphens: \"\""},
    {HEAD "calloc 1 2 3\n", "3: missing field CAPS, or a part of its list"},
    {HEAD "aligned 1\n", "3: missing field ALIGNMENT"},
    {HEAD "init 1\n", "3: surplus field \"1\""},
    {HEAD "write 1\n", "3: missing field OFFSET"},
    {HEAD "write 1 --1 1 1\n", "3: OFFSET is not a number from -2147483648 to 2147483647: \"--1\""},
    {HEAD "write 1 2147483648 1 1\n",
     "3: OFFSET is not a number from -2147483648 to 2147483647: \"2147483648\""},
    {HEAD "write 1 -2147483649 1 1\n",
     "3: OFFSET is not a number from -2147483648 to 2147483647: \"-2147483649\""},
    {HEAD "write 1 0 1 256\n", "3: BYTE is out of range (0 to 255): \"256\""},
    {HEAD "flip 0x20004000 8\n", "3: BIT is out of range (0 to 7): \"8\""},
    {HEAD "fail\n", "3: missing field N"},
    {HEAD "fail 1 off\n", "3: surplus field \"off\""},
    {HEAD "dma\n", "3: missing field MASTER"},
    {HEAD "dma ch8 stop\n", "3: unknown DMA master \"ch8\""},
    {HEAD "dma ch1 0x20028000\n", "3: missing field LENGTH"},
    {HEAD "check DRAM\n", "3: check: this trace has no region \"DRAM\""},
    {HEAD "init\rinit\n", "3: control byte \\x0d in column 5: this is not text"},
    {HEAD "init # \x1b[31m\n", "3: control byte \\x1b in column 8: this is not text"},
    {HEAD "free 1 @ \x7f:3\n", "3: control byte \\x7f in column 10: this is not text"},
    {HEAD "fr\xc3\xa9"
          "e\n",
     "3: unknown event \"fr\\xc3\\xa9e\""},
    {HEAD TEN(TEN("x")) "\n", "3: unknown event \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\""},
    {HEAD TEN(TEN("\xff")) "\n",
     "3: unknown event \"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff...\""},
};

Test(trace, refusals_name_file_line_and_reason) {
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); ++i) {
        struct trace trace;
        struct trace_error error;
        char want[512];
        snprintf(want, sizeof(want), "t:%s", refusals[i].reason);
        cr_expect_not(
            trace_read_memory(&trace, refusals[i].text, strlen(refusals[i].text), "t", &error),
            "accepted instead of %s", want);
        cr_expect_str_eq(error.text, want, "got  %s\nwant %s", error.text, want);
        trace_text_assert_refusal(&trace, &error, want);
        trace_free(&trace);
    }
}

Test(trace, nul_bytes_are_refused_wherever_they_stand) {
    for (size_t at = 0; at < EVERY_LENGTH; ++at) {
        char *text = strdup(trace_text_every_event);
        text[at] = '\0';
        struct trace trace;
        struct trace_error error;
        cr_assert_not(trace_read_memory(&trace, text, EVERY_LENGTH, "t", &error),
                      "accepted a NUL at byte %zu", at);
        trace_text_assert_refusal(&trace, &error, "NUL");
        free(text);
    }
}

/* `filler` times the needed number of bytes between `before` and `after`. */
static char *long_line(const char *before, char filler, const char *after, size_t length) {
    const size_t fill = length - strlen(before) - strlen(after);
    char *text = malloc(strlen(HEAD) + length + 2);
    char *at = stpcpy(stpcpy(text, HEAD), before);
    memset(at, filler, fill);
    stpcpy(stpcpy(at + fill, after), "\n");
    return text;
}

Test(trace, lines_comments_and_files_have_a_greatest_length) {
    static const struct {
        const char *before;
        char filler;
        const char *after;
        size_t longest;
        const char *reason;
    } rows[] = {
        {"free ", ' ', "1", TRACE_LINE_MAX, "t:3: line is longer than 4096 bytes"},
        {"free ", ' ', "1\r", TRACE_LINE_MAX, "t:3: line is longer than 4096 bytes"},
        {"#", 'c', "", TRACE_COMMENT_MAX, "t:3: comment is longer than 2048 bytes"},
        {"free 1 #", 'c', "", TRACE_COMMENT_MAX + 7, "t:3: comment is longer than 2048 bytes"},
        {"free 1 @ ", 'f', ":1", TRACE_FILE_MAX + 11, "t:3: FILE is longer than 1024 bytes"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        char *text = long_line(rows[i].before, rows[i].filler, rows[i].after, rows[i].longest);
        cr_expect(trace_text_assert_judged(text, strlen(text), rows[i].reason),
                  "row %zu: the longest is refused", i);
        free(text);
        struct trace trace;
        struct trace_error error;
        text = long_line(rows[i].before, rows[i].filler, rows[i].after, rows[i].longest + 1);
        cr_expect_not(trace_read_memory(&trace, text, strlen(text), "t", &error));
        cr_expect_str_eq(error.text, rows[i].reason);
        trace_free(&trace);
        free(text);
    }
}

static void read_text(struct trace *trace, const char *text, size_t length) {
    struct trace_error error;
    cr_assert(trace_read_memory(trace, text, length, "t", &error), "%s", error.text);
}

Test(trace, slots_are_ids_in_order_of_first_use) {
    struct trace_text_random random = {trace_text_seed()};
    uint32_t ids[3000];
    uint32_t known = 0;
    size_t length = 0;
    char *text = NULL;
    FILE *out = open_memstream(&text, &length);
    fputs(HEAD, out);
    uint32_t uses[20000];
    for (int i = 0; i < 20000; ++i) {
        uint32_t slot = known == 0 ? 0 : trace_text_below(&random, known + 1);
        if (slot == known && known < 3000) {
            /* runs that count up through 2^32, numbers below the first one, far ones */
            ids[known] = known < 100 ? 0xffffffc0u + known : 0x7000u - 3 * known;
            ++known;
        } else if (slot == known) {
            slot = 0;
        }
        uses[i] = slot;
        fprintf(out, "free %u\n", ids[slot]);
    }
    fclose(out);
    struct trace trace;
    read_text(&trace, text, length);
    cr_assert_eq(trace.id_count, known);
    cr_assert_eq(memcmp(trace.ids, ids, known * sizeof(*ids)), 0);
    for (int i = 0; i < 20000; ++i)
        cr_assert_eq(trace.events[i].slot, uses[i], "event %d", i);
    trace_free(&trace);
    free(text);
}

Test(trace, equal_files_share_a_name) {
    size_t length = 0;
    char *text = NULL;
    FILE *out = open_memstream(&text, &length);
    fputs(HEAD, out);
    for (uint32_t i = 0; i < 60000; ++i)
        fprintf(out, "free 1 @ dir/file%u.c:%u\n", i % 20000, i);
    fclose(out);
    struct trace trace;
    read_text(&trace, text, length);
    cr_assert_eq(trace.name_count, 20000);
    for (uint32_t i = 0; i < 60000; ++i)
        cr_assert_eq(trace.events[i].site, i % 20000);
    trace_free(&trace);
    free(text);
}

Test(trace, settings_are_those_of_a_config_line) {
    struct trace_config config = {.tracing = true};
    cr_assert(trace_config_set(&config, "tracing=n"));
    cr_assert(trace_config_set(&config, "poisoning=comprehensive"));
    cr_assert(trace_config_set(&config, "realloc=inplace"));
    cr_expect(!config.tracing && config.poisoning == TRACE_POISONING_COMPREHENSIVE &&
              config.realloc_in_place);
    cr_assert(trace_config_set(&config, "tracing=y"));
    cr_assert(trace_config_set(&config, "poisoning=light"));
    cr_assert(trace_config_set(&config, "realloc=move"));
    cr_expect(config.tracing && config.poisoning == TRACE_POISONING_LIGHT &&
              !config.realloc_in_place);
    static const char *const wrong[] = {
        "", "=", "tracing", "tracing=", "tracing=yy", "Tracing=y", "poisoning=y", "realloc=move "};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); ++i)
        cr_expect_not(trace_config_set(&config, wrong[i]), "\"%s\"", wrong[i]);
}

Test(trace, formatted_text_is_cut_to_its_room) {
    struct trace trace;
    struct trace_error error;
    const char line[] = "alloc 1 2 DEFAULT|EXEC = 0x20004138 @ f.c:3";
    char text[256];
    snprintf(text, sizeof(text), HEAD "%s\n", line);
    cr_assert(trace_read_memory(&trace, text, strlen(text), "t", &error));
    for (size_t size = 1; size <= sizeof(line) + 1; ++size) {
        char cut[sizeof(line) + 2];
        memset(cut, '!', sizeof(cut));
        trace_format_event(&trace, &trace.events[0], cut, size);
        const size_t want = size <= strlen(line) ? size - 1 : strlen(line);
        cr_assert(strlen(cut) == want && strncmp(cut, line, want) == 0, "%zu: %s", size, cut);
        cr_assert_eq(cut[sizeof(cut) - 1], size == sizeof(cut) ? cut[sizeof(cut) - 1] : '!');
    }
    char caps[8];
    trace_format_caps(0x1000001u, caps, sizeof(caps));
    cr_expect_str_eq(caps, "DEFAULT");
    trace_free(&trace);
}

/* Names need not come from a reader: a log's or a program's may hold anything. */
Test(trace, any_file_name_is_written_so_that_it_can_be_read) {
    static const char *const rows[][2] = {
        {"a#b.c", "a?b.c"}, {" a.c", "?a.c"}, {"", "?"}, {"a\nb\r.c", "a?b?.c"}, {"\t", "?"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        struct trace_event event = {.kind = TRACE_STATS, .has = TRACE_HAS_SITE, .site_line = 5};
        char *name = strdup(rows[i][0]);
        struct trace trace = {.names = &name, .name_count = 1, .events = &event, .event_count = 1};
        char got[64];
        char want[64];
        trace_format_event(&trace, &event, got, sizeof(got));
        snprintf(want, sizeof(want), "stats @ %s:5", rows[i][1]);
        cr_expect_str_eq(got, want);
        char text[256];
        const int length = snprintf(text, sizeof(text), HEAD "%s\n", got);
        cr_expect(trace_text_assert_judged(text, (size_t)length, got));
        free(name);
    }
}

/* Whoever drops events, as a reduction of a failing trace does, may keep the comments. */
Test(trace, comments_of_dropped_events_become_lines) {
    struct trace trace;
    struct trace_error error;
    const char text[] = HEAD "# one\ninit # two\n# three\nstats # four\n";
    const char want[] =
        "wmtrace 1\nconfig tracing=y poisoning=none\n"
        "region SRAM 0x20004000 0x20028000 DEFAULT\n# one\n# two\n# three\n# four\n";
    cr_assert(trace_read_memory(&trace, text, sizeof(text) - 1, "t", &error));
    trace.event_count = 0;
    size_t length = 0;
    char *got = trace_text_of(&trace, &length);
    trace_text_assert_same(got, length, want, sizeof(want) - 1, "dropped");
    free(got);
    trace_free(&trace);
}

Test(trace, a_full_disk_is_a_write_error) {
    struct trace trace;
    struct trace_error error;
    cr_assert(trace_read_memory(&trace, trace_text_every_event, EVERY_LENGTH, "t", &error));
    FILE *full = fopen("/dev/full", "w");
    cr_assert_not_null(full);
    cr_expect_not(trace_write(&trace, full));
    fclose(full);
    trace_free(&trace);
}
