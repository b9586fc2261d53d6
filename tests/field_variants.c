/* SPDX-License-Identifier: Apache-2.0 */
#include "field_variants.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const field_dialect_names[FIELD_DIALECT_COUNT] = {
#define FIELD_DIALECT_NAME(name, what) what,
    FIELD_DIALECTS(FIELD_DIALECT_NAME)
#undef FIELD_DIALECT_NAME
};

struct line {
    char *text;
    size_t length;
};

struct lines {
    struct line *list;
    size_t count;
    size_t room;
};

uint64_t field_random(uint64_t *seed) {
    uint64_t mixed = *seed += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

static size_t below(uint64_t *seed, size_t bound) { return field_random(seed) % bound; }

static bool one_in(uint64_t *seed, size_t times) { return below(seed, times) == 0; }

char *field_read(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    size_t room = 1u << 20;
    char *text = malloc(room);
    cr_assert_not_null(text);
    *length = fread(text, 1, room - 1, file);
    cr_assert_lt(*length, room - 1);
    text[*length] = '\0';
    fclose(file);
    return text;
}

/* --- lines ---------------------------------------------------------------------------------- */

static void add(struct lines *lines, const char *text, size_t length) {
    if (lines->count == lines->room) {
        lines->room = lines->room != 0 ? 2 * lines->room : 256;
        lines->list = realloc(lines->list, lines->room * sizeof *lines->list);
        cr_assert_not_null(lines->list);
    }
    char *copy = malloc(length + 1);
    cr_assert_not_null(copy);
    memcpy(copy, text, length);
    copy[length] = '\0';
    lines->list[lines->count++] = (struct line){copy, length};
}

__attribute__((format(printf, 2, 3))) static void addf(struct lines *lines, const char *format,
                                                       ...) {
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    cr_assert_geq(length, 0);
    add(lines, text, (size_t)length);
    free(text);
}

static void lines_free(struct lines *lines) {
    for (size_t i = 0; i < lines->count; i++) {
        free(lines->list[i].text);
    }
    free(lines->list);
    *lines = (struct lines){0};
}

static bool begins(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

/* Splits a log; the stamps that the bundled logs carry are taken off. */
static void add_log(struct lines *lines, const char *log) {
    while (*log != '\0') {
        size_t length = strcspn(log, "\n");
        const char *end = log + length;
        const char *text = log;
        if (begins(text, "[2026-") && length >= 26) {
            text += 26;
        }
        size_t kept = (size_t)(end - text);
        kept -= kept > 0 && text[kept - 1] == '\r';
        add(lines, text, kept);
        log = end + (*end == '\n');
    }
}

static bool is_block(const char *text) {
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && text[digits] == '\t';
}

static bool is_heap_print(const char *text) {
    return is_block(text) || begins(text, "    ") || begins(text, "summary");
}

static bool is_key_line(const char *text) {
    static const char *const words[] = {"corruption", "assertion", "CPU Exc",
                                        "malloc(",    "wm iot",    "heap size"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strstr(text, words[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* --- dialects ------------------------------------------------------------------------------- */

/* Each takes a line and adds what becomes of it. */
struct change {
    struct lines *out;
    uint64_t *seed;
    unsigned style; /* of stamps */
    double seconds;
    unsigned ms; /* log time of the line before */
};

static void change_no_0x(struct change *change, const char *text, size_t length) {
    const char *prefix = is_block(text) || begins(text, "corruption") ? strstr(text, "0x") : NULL;
    if (prefix == NULL) {
        add(change->out, text, length);
    } else {
        addf(change->out, "%.*s%s", (int)(prefix - text), text, prefix + 2);
    }
}

static void change_with_0x(struct change *change, const char *text, size_t length) {
    size_t at = is_block(text) ? strcspn(text, "\t") + 1 : 0;
    if (at == 0 || begins(text + at, "0x")) {
        add(change->out, text, length);
    } else {
        addf(change->out, "%.*s0x%s", (int)at, text, text + at);
    }
}

static void change_v22(struct change *change, const char *text, size_t length) {
    char name[8];
    unsigned bytes;
    double kilobytes;
    if (begins(text, "    Type")) {
        return;
    }
    /* NOLINTNEXTLINE(cert-err34-c): what a program printed with %u */
    if (sscanf(text, "    %7s %u (%lfKB)", name, &bytes, &kilobytes) != 3) {
        add(change->out, text, length);
    } else if (strcmp(name, "Total") == 0) {
        addf(change->out, "heap remain %u (%.2fKB):", bytes, kilobytes);
    } else {
        addf(change->out, "    %s remain %u (%.2fKB)", name, bytes, kilobytes);
    }
}

static void change_windows(struct change *change, const char *text, size_t length) {
    const char *home = strstr(text, "/home/dev/");
    if (home == NULL) {
        add(change->out, text, length);
    } else {
        addf(change->out, "%.*sC:/home/dev/%s", (int)(home - text), text, home + 10);
    }
}

static void change_drop(struct change *change, const char *text, size_t length) {
    if (is_key_line(text) || !one_in(change->seed, 20)) {
        add(change->out, text, length);
    }
}

static void change_garble(struct change *change, const char *text, size_t length) {
    add(change->out, text, length);
    if (length > 0 && !is_key_line(text) && one_in(change->seed, 20)) {
        char *garbled = change->out->list[change->out->count - 1].text;
        garbled[below(change->seed, length)] = (char)(33 + below(change->seed, 94));
    }
}

static void change_split(struct change *change, const char *text, size_t length) {
    if (length < 12 || !one_in(change->seed, 20)) {
        add(change->out, text, length);
        return;
    }
    size_t at = 1 + below(change->seed, length - 1);
    add(change->out, text, at);
    add(change->out, text + at, length - at);
}

/* A log line that the buffer held back while the heap printed. */
static void change_overtake(struct change *change, const char *text, size_t length) {
    bool first = begins(text, "0\t") || begins(text, "    Type") || begins(text, "corruption");
    if (!first || one_in(change->seed, 4)) {
        add(change->out, text, length);
        return;
    }
    char log[64];
    int all = snprintf(log, sizeof log, "[I] (%u) app: publish ok", change->ms);
    size_t at = 1 + below(change->seed, (size_t)all - 1);
    addf(change->out, "%.*s%s", (int)at, log, text);
    add(change->out, log + at, (size_t)all - at);
}

static void change_insert(struct change *change, const char *text, size_t length) {
    if (!is_heap_print(text) || length < 2 || !one_in(change->seed, 20)) {
        add(change->out, text, length);
        return;
    }
    size_t at = 1 + below(change->seed, length - 1);
    addf(change->out, "%.*s[D] (%u) wifi: poll", (int)at, text, change->ms);
    add(change->out, text + at, length - at);
}

static void change_noise(struct change *change, const char *text, size_t length) {
    add(change->out, text, length);
    if (one_in(change->seed, 30)) {
        char noise[64];
        size_t count = 1 + below(change->seed, sizeof noise - 1);
        for (size_t i = 0; i < count; i++) {
            char byte = (char)field_random(change->seed);
            noise[i] = byte;
            if (byte == '\n') {
                noise[i] = '\0';
            }
        }
        add(change->out, noise, count);
    }
}

static void change_colour(struct change *change, const char *text, size_t length) {
    if (length > 3 && text[0] == '[' && text[2] == ']') {
        addf(change->out, "\033[0;3%um%s\033[0m", (unsigned)below(change->seed, 8), text);
    } else {
        add(change->out, text, length);
    }
}

size_t field_stamp(unsigned style, double seconds, char *out, size_t room) {
    unsigned whole = (unsigned)seconds;
    unsigned ms = (unsigned)((seconds - whole) * 1000);
    char clock[16];
    snprintf(clock, sizeof clock, "%02u:%02u:%02u", whole / 3600 % 24, whole / 60 % 60, whole % 60);
    static const char *const forms[FIELD_STAMPS][3] = {
        {"[2026-10-01 ", ".", "] "},
        {"[", ".", "] "},
        {"", ".", " > "},
        {"2026-10-01T", NULL, " "},
        {"", NULL, " "},
        {"[", NULL, "] "},
        {"Oct 01 ", NULL, " "},
        {"", ".", " -> "},
        {"2026-10-01T", ".", "Z "},
        {"", ".", ": "},
        {"2026-10-01 ", ",", " | "},
        {"[", ":", "] "},
        {"", ".", "\t"},
        {NULL, NULL, NULL},
    };
    const char *const *form = forms[style % FIELD_STAMPS];
    int length;
    if (form[0] == NULL) {
        length = snprintf(out, room, "%u.%03u ", 1790812800 + whole, ms);
    } else if (form[1] == NULL) {
        length = snprintf(out, room, "%s%s%s", form[0], clock, form[2]);
    } else {
        length = snprintf(out, room, "%s%s%s%03u%s", form[0], clock, form[1], ms, form[2]);
    }
    return (size_t)length;
}

static void change_stamp(struct change *change, const char *text, size_t length) {
    char whole[1024];
    change->seconds += (double)below(change->seed, 2000) / 1000;
    size_t stamp = field_stamp(change->style, change->seconds, whole, sizeof whole);
    cr_assert_lt(stamp + length, sizeof whole);
    memcpy(whole + stamp, text, length);
    add(change->out, whole, stamp + length);
}

typedef void change_function(struct change *change, const char *text, size_t length);

static void apply(struct lines *lines, change_function *function, uint64_t *seed) {
    struct lines out = {0};
    struct change change = {.out = &out, .seed = seed, .seconds = 32400, .ms = 138};
    change.style = (unsigned)below(seed, FIELD_STAMPS);
    for (size_t i = 0; i < lines->count; i++) {
        const char *text = lines->list[i].text;
        if (text[0] == '[' && text[1] != '\0' && begins(text + 2, "] (")) {
            change.ms = (unsigned)strtoul(text + 5, NULL, 10);
        }
        function(&change, text, lines->list[i].length);
    }
    lines_free(lines);
    *lines = out;
}

char *field_variant(const char *log, const char *clean, unsigned dialects, uint64_t seed,
                    size_t *length) {
    static change_function *const functions[FIELD_DIALECT_COUNT] = {
        [FIELD_NO_0X] = change_no_0x,   [FIELD_WITH_0X] = change_with_0x,
        [FIELD_V22] = change_v22,       [FIELD_WINDOWS] = change_windows,
        [FIELD_DROP] = change_drop,     [FIELD_GARBLE] = change_garble,
        [FIELD_SPLIT] = change_split,   [FIELD_OVERTAKE] = change_overtake,
        [FIELD_INSERT] = change_insert, [FIELD_NOISE] = change_noise,
        [FIELD_COLOUR] = change_colour, [FIELD_STAMP] = change_stamp,
    };
    struct lines lines = {0};
    if ((dialects >> FIELD_BOOT_BEFORE & 1) != 0) {
        add_log(&lines, clean);
    }
    add_log(&lines, log);
    if ((dialects >> FIELD_BOOT_AFTER & 1) != 0) {
        add_log(&lines, clean);
    }
    size_t room = 1;
    for (unsigned i = 0; i < FIELD_DIALECT_COUNT; i++) {
        if ((dialects >> i & 1) != 0 && functions[i] != NULL) {
            apply(&lines, functions[i], &seed);
        }
    }
    for (size_t i = 0; i < lines.count; i++) {
        room += lines.list[i].length + 2;
    }
    char *text = malloc(room);
    cr_assert_not_null(text);
    char *end = text;
    for (size_t i = 0; i < lines.count; i++) {
        memcpy(end, lines.list[i].text, lines.list[i].length);
        end += lines.list[i].length;
        if ((dialects >> FIELD_LF & 1) == 0) {
            *end++ = '\r';
        }
        *end++ = '\n';
    }
    *end = '\0';
    *length = (size_t)(end - text);
    lines_free(&lines);
    return text;
}
