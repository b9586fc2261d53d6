/* SPDX-License-Identifier: Apache-2.0
 *
 * The grammar of what the SDK prints. Each print has a marker, which says what it is, and a
 * parser, which reads from there. A print may begin anywhere in a line, because the heap's
 * prints do not wait for a buffered log line to end.
 *
 * Numbers that are printed twice, in bytes and in kilobytes, must agree: that is the only
 * check digit a console has.
 */
#include <string.h>

#include "console_internal.h"

struct cursor {
    const char *at;
    const char *end;
};

/* --- words and numbers -------------------------------------------------------------------- */

static bool skip_text(struct cursor *cursor, const char *text) {
    size_t length = strlen(text);
    if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, text, length) != 0) {
        return false;
    }
    cursor->at += length;
    return true;
}

static void skip_blanks(struct cursor *cursor) {
    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\t')) {
        cursor->at++;
    }
}

static bool at_end(struct cursor *cursor) {
    skip_blanks(cursor);
    return cursor->at == cursor->end;
}

static bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }

static bool read_number64(struct cursor *cursor, uint64_t *value) {
    const char *from = cursor->at;
    *value = 0;
    while (cursor->at < cursor->end && is_digit(*cursor->at)) {
        *value = *value * 10 + (uint64_t)(*cursor->at++ - '0');
    }
    return cursor->at > from && cursor->at - from <= 18;
}

static bool read_number(struct cursor *cursor, uint32_t *value) {
    uint64_t wide;
    bool ok = read_number64(cursor, &wide) && wide <= UINT32_MAX;
    *value = ok ? (uint32_t)wide : 0;
    return ok;
}

static int hex_digit(char byte) {
    if (is_digit(byte)) {
        return byte - '0';
    }
    char low = (char)(byte | 0x20);
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* Hexadecimal, with or without 0x. Registers are printed with eight digits, and an address of
 * the chip's memory has eight: fewer mean that some are lost. */
static bool read_hex(struct cursor *cursor, uint32_t *value) {
    if (!skip_text(cursor, "0x")) {
        skip_text(cursor, "0X");
    }
    int count = 0;
    *value = 0;
    for (; cursor->at < cursor->end && hex_digit(*cursor->at) >= 0; count++, cursor->at++) {
        *value = *value << 4 | (uint32_t)hex_digit(*cursor->at);
    }
    return count == 8;
}

static bool read_pointer(struct cursor *cursor, uint32_t *value) {
    return read_hex(cursor, value) && *value >= 0x10000000u;
}

static const char *find(const char *from, const char *end, const char *what) {
    return from < end ? memmem(from, (size_t)(end - from), what, strlen(what)) : NULL;
}

/* Text up to `what`, which is skipped. */
static bool read_until(struct cursor *cursor, const char *what, struct console_text *text) {
    const char *found = find(cursor->at, cursor->end, what);
    if (found == NULL) {
        return false;
    }
    *text = (struct console_text){cursor->at, (size_t)(found - cursor->at)};
    cursor->at = found + strlen(what);
    return true;
}

/* FILE:LINE up to `end`; a Windows path has a colon of its own, so the last one counts. */
static bool read_site(struct cursor *cursor, const char *end, struct console_record *record) {
    const char *colon =
        end > cursor->at ? memrchr(cursor->at, ':', (size_t)(end - cursor->at)) : NULL;
    if (colon == NULL || colon == cursor->at) {
        return false;
    }
    for (const char *at = cursor->at; at < colon; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            return false; /* no file is called so, and text that holds it would end there */
        }
    }
    struct cursor line = {colon + 1, end};
    record->text = (struct console_text){cursor->at, (size_t)(colon - cursor->at)};
    if (record->text.length > 1023 || !read_number(&line, &record->site_line) || line.at != end) {
        return false;
    }
    cursor->at = end;
    return true;
}

/* "(233.66KB)" must be what the bytes before it come to; the last digit may be rounded either
 * way. SDK v2.3 prints two decimals; v2.2 also megabytes, and not always a unit. */
static bool read_kilobytes(struct cursor *cursor, uint32_t bytes) {
    uint64_t shown;
    uint64_t scale = 1;
    if (!skip_text(cursor, "(") || !read_number64(cursor, &shown) || shown > UINT32_MAX) {
        return false;
    }
    if (skip_text(cursor, ".")) {
        const char *from = cursor->at;
        uint64_t decimals;
        if (!read_number64(cursor, &decimals) || cursor->at - from > 3) {
            return false;
        }
        for (; from < cursor->at; from++) {
            scale *= 10;
        }
        shown = shown * scale + decimals;
    }
    bool kilo = skip_text(cursor, "KB)");
    bool mega = !kilo && skip_text(cursor, "MB)");
    if (!kilo && !mega && !skip_text(cursor, ")")) {
        return false;
    }
    uint64_t as_kilo = bytes * scale / 1024;
    uint64_t as_mega = as_kilo / 1024;
    return (!mega && shown <= as_kilo + 1 && shown + 1 >= as_kilo) ||
           (!kilo && shown <= as_mega + 1 && shown + 1 >= as_mega);
}

/* --- the prints ----------------------------------------------------------------------------- */

/* All of these find the cursor behind the marker. */

static bool parse_summary(struct cursor *cursor, struct console_record *record) {
    record->kind = CONSOLE_SUMMARY;
    return read_number(cursor, &record->size) && skip_text(cursor, ", malloc count ") &&
           read_number(cursor, &record->index) && at_end(cursor);
}

static bool parse_corruption(struct cursor *cursor, struct console_record *record) {
    record->kind = CONSOLE_CORRUPTION;
    record->text = (struct console_text){NULL, 0};
    skip_text(cursor, "in ");
    record->has_pointer = read_pointer(cursor, &record->pointer);
    if (!record->has_pointer || at_end(cursor)) {
        return record->has_pointer;
    }
    const char *size = skip_text(cursor, "in ") ? find(cursor->at, cursor->end, " size ") : NULL;
    return size != NULL && read_site(cursor, size, record) && skip_text(cursor, " size ") &&
           read_number(cursor, &record->size) && at_end(cursor);
}

static bool parse_assertion(struct cursor *cursor, struct console_record *record) {
    record->kind = CONSOLE_ASSERTION;
    if (!read_until(cursor, "\" failed: file \"", &record->expression) ||
        !read_until(cursor, "\", line ", &record->text) ||
        !read_number(cursor, &record->site_line)) {
        return false;
    }
    if (!skip_text(cursor, ", function: ")) {
        return at_end(cursor); /* newlib without function names */
    }
    record->function = (struct console_text){cursor->at, (size_t)(cursor->end - cursor->at)};
    return record->function.length > 0;
}

static bool parse_exception(struct cursor *cursor, struct console_record *record) {
    record->kind = CONSOLE_EXCEPTION;
    return read_number(cursor, &record->number) && record->number < 256 && at_end(cursor);
}

static bool parse_exception_name(struct cursor *cursor, struct console_record *record) {
    record->kind = CONSOLE_EXCEPTION_NAME;
    record->text = (struct console_text){cursor->at, (size_t)(cursor->end - cursor->at)};
    return record->text.length > 0;
}

static bool parse_addr2line(struct cursor *cursor, struct console_record *record) {
    record->kind = CONSOLE_ADDR2LINE;
    const char *found = find(cursor->at, cursor->end, " -a ");
    if (found == NULL) {
        return false;
    }
    cursor->at = found + 4;
    bool ok = read_hex(cursor, &record->registers[0].value);
    skip_blanks(cursor);
    record->registers[0].index = CONSOLE_REGISTER_PC;
    record->registers[1].index = 15;
    record->count = 2;
    return ok && read_hex(cursor, &record->registers[1].value) && at_end(cursor);
}

static bool parse_special(struct cursor *cursor, struct console_record *record, uint8_t index) {
    record->kind = CONSOLE_REGISTERS;
    record->registers[0].index = index;
    record->count = 1;
    return read_hex(cursor, &record->registers[0].value) && at_end(cursor);
}

static bool parse_psr(struct cursor *cursor, struct console_record *record) {
    return parse_special(cursor, record, CONSOLE_REGISTER_PSR);
}

static bool parse_pc(struct cursor *cursor, struct console_record *record) {
    return parse_special(cursor, record, CONSOLE_REGISTER_PC);
}

static bool parse_registers(struct cursor *cursor, struct console_record *record) {
    record->kind = CONSOLE_REGISTERS;
    cursor->at--; /* the marker is "r" */
    for (record->count = 0; record->count < 4; record->count++) {
        uint32_t index;
        if (at_end(cursor)) {
            break;
        }
        if (!skip_text(cursor, "r") || !read_number(cursor, &index) || index > 15) {
            return false;
        }
        skip_blanks(cursor);
        if (!skip_text(cursor, ": ") ||
            !read_hex(cursor, &record->registers[record->count].value)) {
            return false;
        }
        record->registers[record->count].index = (uint8_t)index;
    }
    return record->count > 0 && at_end(cursor);
}

static bool parse_stack_overflow(struct cursor *cursor, struct console_record *record) {
    record->kind = CONSOLE_STACK_OVERFLOW;
    return read_until(cursor, "] stack over flow", &record->text) && at_end(cursor);
}

static bool parse_stats(struct cursor *cursor, struct console_record *record) {
    record->kind = CONSOLE_STATS;
    skip_blanks(cursor);
    return skip_text(cursor, "Minimum Size") && at_end(cursor);
}

/* SDK v2.2's head line, which is its Total row too. */
static bool parse_remain(struct cursor *cursor, struct console_record *record) {
    record->kind = CONSOLE_STATS_ROW;
    record->text = (struct console_text){"Total", 5};
    if (!read_number(cursor, &record->size)) {
        return false;
    }
    skip_blanks(cursor);
    return read_kilobytes(cursor, record->size) && skip_text(cursor, ":") && at_end(cursor);
}

static bool parse_heap_size(struct cursor *cursor, struct console_record *record) {
    record->kind = CONSOLE_HEAP_SIZE;
    return read_number(cursor, &record->size) && read_kilobytes(cursor, record->size) &&
           at_end(cursor);
}

static bool parse_boot(struct cursor *cursor, struct console_record *record) {
    record->kind = CONSOLE_BOOT;
    record->text = (struct console_text){cursor->at, (size_t)(cursor->end - cursor->at)};
    return true;
}

static bool parse_row(struct cursor *cursor, struct console_record *record) {
    record->kind = CONSOLE_STATS_ROW;
    skip_blanks(cursor);
    bool v22 = skip_text(cursor, "remain ");
    if (!read_number(cursor, &record->size)) {
        return false;
    }
    skip_blanks(cursor);
    if (!read_kilobytes(cursor, record->size)) {
        return false;
    }
    if (at_end(cursor)) {
        return v22;
    }
    record->has_minimum = read_number(cursor, &record->minimum);
    skip_blanks(cursor);
    return record->has_minimum && read_kilobytes(cursor, record->minimum) && at_end(cursor);
}

/* INDEX TAB POINTER TAB FILE:LINE TAB SIZE. Its marker is a tab behind a digit and before an
 * address; the cursor stands on the first digit. */
static bool parse_block(struct cursor *cursor, struct console_record *record) {
    record->kind = CONSOLE_BLOCK;
    while (cursor->end > cursor->at && cursor->end[-1] == ' ') {
        cursor->end--;
    }
    if (!read_number(cursor, &record->index) || !skip_text(cursor, "\t") ||
        !read_pointer(cursor, &record->pointer) || !skip_text(cursor, "\t")) {
        return false;
    }
    const char *tab = memrchr(cursor->at, '\t', (size_t)(cursor->end - cursor->at));
    if (tab == NULL || !read_site(cursor, tab, record)) {
        return false;
    }
    cursor->at++;
    return read_number(cursor, &record->size) && cursor->at == cursor->end;
}

/* --- finding them --------------------------------------------------------------------------- */

static const struct {
    const char *marker;
    bool (*parse)(struct cursor *cursor, struct console_record *record);
    unsigned trigger; /* 0: only as the first word of a line */
    bool vague;       /* ordinary text may hold the marker: what does not go on is not torn */
} prints[] = {
    {"summary: malloc size ", parse_summary, CONSOLE_TRIGGER_SUMMARY, false},
    {"corruption detected ", parse_corruption, CONSOLE_TRIGGER_CORRUPTION, false},
    {"assertion \"", parse_assertion, CONSOLE_TRIGGER_ASSERTION, false},
    {"CPU Exception : ", parse_exception, CONSOLE_TRIGGER_EXCEPTION, false},
    {"Exception name: ", parse_exception_name, CONSOLE_TRIGGER_EXCEPTION, false},
    {"Show pc info by run:", parse_addr2line, CONSOLE_TRIGGER_ADDR2LINE, false},
    {"psr: ", parse_psr, 0, false},
    {"pc : ", parse_pc, 0, false},
    {"Type     Current Size ", parse_stats, CONSOLE_TRIGGER_STATS, false},
    {"heap remain ", parse_remain, CONSOLE_TRIGGER_COMPLAINT, true},
    {"heap size ", parse_heap_size, CONSOLE_TRIGGER_HEAP_SIZE, true},
    {"wm iot sdk", parse_boot, CONSOLE_TRIGGER_BOOT, true},
    {"task[", parse_stack_overflow, CONSOLE_TRIGGER_TASK, true},
};

/* Where the digits of a list line's index begin, or NULL. */
static const char *find_block(const char *text, const char *end) {
    for (const char *tab = text; (tab = memchr(tab, '\t', (size_t)(end - tab))) != NULL; tab++) {
        if (tab > text && is_digit(tab[-1]) && end - tab > 2 && hex_digit(tab[1]) >= 0) {
            const char *from = tab;
            while (from > text && is_digit(from[-1]) && tab - from < 7) {
                from--;
            }
            return from;
        }
    }
    return NULL;
}

/* A row of the stats: the region's name behind four spaces. */
#define ROW_INDENT 4

static const char *find_row(const char *text, const char *end, struct console_text *name) {
    static const char *const names[] = {"Total", "SRAM", "DRAM", "PSRAM"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i]);
        const char *found = find(text, end, names[i]);
        while (found != NULL &&
               (found - text < ROW_INDENT || memcmp(found - ROW_INDENT, "    ", ROW_INDENT) != 0)) {
            found = find(found + 1, end, names[i]);
        }
        struct cursor after = {found != NULL ? found + length : end, end};
        if (found != NULL && skip_text(&after, " ")) {
            skip_blanks(&after);
            skip_text(&after, "remain ");
            if (after.at < end && is_digit(*after.at)) {
                *name = (struct console_text){found, length};
                return found;
            }
        }
    }
    return NULL;
}

static bool is_register_line(const struct cursor *line) {
    return line->end - line->at > 4 && line->at[0] == 'r' && is_digit(line->at[1]) &&
           (line->at[2] == ':' || line->at[3] == ':');
}

static enum console_parsed finish(bool parsed) { return parsed ? CONSOLE_PARSED : CONSOLE_BROKEN; }

static enum console_parsed parse_marked(const char *text, const char *end, unsigned triggers,
                                        struct console_record *record, size_t *begin) {
    struct cursor first = {text, end};
    skip_blanks(&first);
    for (size_t i = 0; i < sizeof prints / sizeof *prints; i++) {
        size_t length = strlen(prints[i].marker);
        const char *from = first.at;
        if (prints[i].trigger != 0) {
            from = (triggers & prints[i].trigger) != 0 ? find(text, end, prints[i].marker) : NULL;
        } else if ((size_t)(end - from) < length || memcmp(from, prints[i].marker, length) != 0) {
            from = NULL;
        }
        if (from != NULL) {
            struct cursor cursor = {from + length, end};
            *begin = (size_t)(from - text);
            bool parsed = prints[i].parse(&cursor, record);
            if (parsed || !prints[i].vague) {
                return finish(parsed);
            }
        }
    }
    if (is_register_line(&first)) {
        *begin = (size_t)(first.at - text);
        first.at++;
        return finish(parse_registers(&first, record));
    }
    return CONSOLE_NOTHING;
}

enum console_parsed console_parse_print(const char *text, size_t length, unsigned triggers,
                                        struct console_record *record, size_t *begin) {
    const char *end = text + length;
    struct cursor cursor = {NULL, end};
    if ((triggers & CONSOLE_TRIGGER_TAB) != 0) {
        cursor.at = find_block(text, end);
    }
    if (cursor.at != NULL) {
        *begin = (size_t)(cursor.at - text);
        return finish(parse_block(&cursor, record));
    }
    if ((triggers & (CONSOLE_TRIGGER_ROW | CONSOLE_TRIGGER_COMPLAINT)) != 0) {
        cursor.at = find_row(text, end, &record->text);
    }
    if (cursor.at != NULL) {
        *begin = (size_t)(cursor.at - text) - ROW_INDENT;
        cursor.at += record->text.length;
        return finish(parse_row(&cursor, record));
    }
    return parse_marked(text, end, triggers, record, begin);
}

/* An assertion tells its line and its expression each on its own, a corruption its pointer. */
bool console_parse_remains(const char *text, size_t length, struct console_record *record) {
    const char *end = text + length;
    const char *found = find(text, end, "corruption detected ");
    if (found != NULL) {
        struct cursor cursor = {found + strlen("corruption detected "), end};
        record->kind = CONSOLE_CORRUPTION;
        record->text = (struct console_text){NULL, 0};
        skip_text(&cursor, "in ");
        record->has_pointer = read_pointer(&cursor, &record->pointer) && skip_text(&cursor, " ");
        record->size = 0;
        return true;
    }
    found = find(text, end, "assertion \"");
    if (found == NULL) {
        return false;
    }
    struct cursor cursor = {found + strlen("assertion \""), end};
    record->kind = CONSOLE_ASSERTION;
    record->function = (struct console_text){NULL, 0};
    record->expression = (struct console_text){cursor.at, (size_t)(end - cursor.at)};
    record->text = (struct console_text){NULL, 0};
    found = find(cursor.at, end, ", line ");
    record->site_line = 0;
    if (found != NULL) {
        cursor.at = found + strlen(", line ");
        if (!read_number(&cursor, &record->site_line) || !skip_text(&cursor, ",")) {
            record->site_line = 0;
        }
    }
    return true;
}

/* --- log lines ------------------------------------------------------------------------------ */

static bool is_level(char byte) {
    return byte == 'I' || byte == 'D' || byte == 'W' || byte == 'E' || byte == 'V';
}

bool console_parse_log(const char *text, size_t length, struct console_record *record) {
    struct cursor cursor = {text + 3, text + length};
    if (length < 8 || text[0] != '[' || text[2] != ']' || !is_level(text[1]) ||
        !skip_text(&cursor, " (") || !read_number64(&cursor, &record->ms) ||
        !skip_text(&cursor, ") ")) {
        return false;
    }
    record->kind = CONSOLE_LOG;
    record->level = text[1];
    record->text = (struct console_text){cursor.at, (size_t)(cursor.end - cursor.at)};
    return true;
}

size_t console_find_log(const char *text, size_t length) {
    const char *end = text + length;
    for (const char *at = text; (at = memchr(at, '[', (size_t)(end - at))) != NULL; at++) {
        struct console_record scratch;
        if (end - at >= 8 && is_level(at[1]) && at[2] == ']' &&
            console_parse_log(at, (size_t)(end - at), &scratch)) {
            return (size_t)(at - text);
        }
    }
    return length;
}

/* --- what a line might be ------------------------------------------------------------------- */

bool console_resembles(const char *text, size_t length) {
    static const char *const known[] = {
        "summary: malloc size ", "corruption detected ", "assertion \"",  "CPU Exception : ",
        "Exception name: ",      "    Type     Current", "    Total    ", "    SRAM     ",
        "    DRAM     ",         "Show pc info by run",  "    PSRAM    ",
    };
    if (length >= 6 && text[0] == '[' && (text[2] == ']' || is_level(text[1])) &&
        memchr(text, '(', 6) != NULL) {
        return true; /* a log line with a wrong level or time */
    }
    size_t tabs = 0;
    const char *end = text + length;
    for (const char *at = text; (at = memchr(at, '\t', (size_t)(end - at))) != NULL; at++) {
        tabs++;
    }
    if (tabs >= 2 && is_digit(text[length - 1])) {
        return true; /* a line of a list */
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t all = strlen(known[i]);
        size_t wrong = 0;
        for (size_t j = 0; length >= all && j < all && wrong <= 2; j++) {
            wrong += text[j] != known[i][j];
        }
        if (length >= all && wrong <= 2) {
            return true;
        }
    }
    return false;
}
