/* SPDX-License-Identifier: Apache-2.0
 *
 * What the suites of the trace reader share, see trace_text.h. Every piece of a random
 * trace is emitted twice: canonically to one stream, to the other in a random spelling
 * that means the same.
 */
#include "trace_text.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every event, every option, and a comment at every place where one can stand. */
const char trace_text_every_event[] =
    "wmtrace 1 # behind the first line\n"
    "# before config\n"
    "\n"
    "config tracing=n poisoning=light realloc=inplace # behind config\n"
    "# before SRAM\n"
    "region SRAM 0x20000000 0x20028000 DEFAULT|INTERNAL|EXEC #\n"
    "region DRAM 0x20028000 0x20048000 0\n"
    "\n"
    "\n"
    "region PSRAM 0x30000000 0x30800000 SPIRAM|0x80 deferred # behind PSRAM\n"
    "# before the first event #2\n"
    "append PSRAM\n"
    "append no-such_Region1 @ main.c:0\n"
    "alloc 4294967295 4294967295 DEFAULT|INTERNAL|SPIRAM|EXEC|SHARED|INVALID|0xffefffe0 = "
    "0x00000000 @ C:\\my src\\a:b.c:4294967295 # \xc3\xa9  \n"
    "realloc 0 0 0\n"
    "free 17 @ f:1\n"
    "freeaddr 0x00000010\n"
    "expect free=0 min_free=4294967295 fault=double-free\n"
    "expect fault=none @ x.c:3\n"
    "calloc 3 4 5 DEFAULT = 0x20004138\n"
    "aligned 3 64 100 SPIRAM\n"
    "init\n"
    "write 3 -2147483648 4 0xff\n"
    "write 3 2147483647 4 0x00\n"
    "writeaddr 0xffffffff 1 0x5a\n"
    "readaddr 0x20000000 4\n"
    "flip 0x20004000 7\n"
    "fail 1\n"
    "fail 2 on # from here on\n"
    "dma ch0 0x20028000 64\n"
    "dma wifi stop\n"
    "dma hspi 0x30000000 1024\n"
    "dma sdio stop\n"
    "check\n"
    "check DRAM @ y.c:9\n"
    "stats\n"
    "tracing\n"
    "# at the end\n"
    "\n";

char *trace_text_of(const struct trace *trace, size_t *length) {
    char *text = NULL;
    FILE *out = open_memstream(&text, length);
    cr_assert(trace_write(trace, out));
    fclose(out);
    return text;
}

/* What was read, written again; fails the test if it is refused. */
static char *rewritten(const char *text, size_t length, size_t *new_length, const char *what) {
    struct trace trace;
    struct trace_error error;
    cr_assert(trace_read_memory(&trace, text, length, "t", &error), "%s: refused: %s\n%.*s", what,
              error.text, (int)length, text);
    char *again = trace_text_of(&trace, new_length);
    trace_free(&trace);
    return again;
}

void trace_text_assert_same(const char *got, size_t got_length, const char *want,
                            size_t want_length, const char *what) {
    size_t at = 0;
    size_t line = 1;
    while (at < got_length && at < want_length && got[at] == want[at])
        line += got[at++] == '\n';
    cr_assert(got_length == want_length && at == got_length,
              "%s: differs at byte %zu in line %zu: got ...%.60s want ...%.60s", what, at, line,
              got + at, want + at);
}

void trace_text_assert_reads_as(const char *text, size_t length, const char *want,
                                size_t want_length, const char *what) {
    size_t got_length = 0;
    char *got = rewritten(text, length, &got_length, what);
    trace_text_assert_same(got, got_length, want, want_length, what);
    free(got);
}

/* Refused in one line that says where, and nothing left behind. */
void trace_text_assert_refusal(const struct trace *trace, const struct trace_error *error,
                               const char *what) {
    const char *colon = strncmp(error->text, "t:", 2) == 0 ? error->text + 2 : "";
    char *end = NULL;
    const unsigned long line = strtoul(colon, &end, 10);
    cr_assert(line > 0 && strncmp(end, ": ", 2) == 0 && end[2] != '\0',
              "%s: no FILE:LINE: reason: %s", what, error->text);
    for (const char *c = error->text; *c != '\0'; ++c)
        cr_assert(*c >= 0x20 && *c < 0x7f, "%s: unprintable: %s", what, error->text);
    cr_assert(trace->events == NULL && trace->event_count == 0 && trace->ids == NULL &&
                  trace->names == NULL && trace->comments == NULL && trace->region_count == 0,
              "%s: refused, but the trace is not empty", what);
}

/* Accepted text has a canonical form that comes back byte for byte; other text has a
 * reason. Returns whether it was accepted. */
bool trace_text_assert_judged(const char *text, size_t length, const char *what) {
    struct trace trace;
    struct trace_error error;
    if (!trace_read_memory(&trace, text, length, "t", &error)) {
        trace_text_assert_refusal(&trace, &error, what);
        trace_free(&trace);
        return false;
    }
    size_t once_length = 0;
    char *once = trace_text_of(&trace, &once_length);
    trace_free(&trace);
    trace_text_assert_reads_as(once, once_length, once, once_length, what);
    free(once);
    return true;
}

uint64_t trace_text_seed(void) {
    const char *given = getenv("W800_SEED");
    return given != NULL ? strtoull(given, NULL, 0) : 20240229;
}

/* splitmix64 */
static uint64_t next(struct trace_text_random *random) {
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint32_t trace_text_below(struct trace_text_random *random, uint32_t limit) {
    return (uint32_t)((next(random) >> 32) * limit >> 32);
}

struct emitter {
    struct trace_text_random random;
    FILE *clean;
    FILE *messy;
    const char *regions[3]; /* those declared */
    uint32_t region_count;
};

static uint32_t below(struct emitter *e, uint32_t limit) {
    return trace_text_below(&e->random, limit);
}

static bool one_in(struct emitter *e, uint32_t n) { return below(e, n) == 0; }

static void emit(struct emitter *e, const char *text) {
    fputs(text, e->clean);
    fputs(text, e->messy);
}

static void emit_blanks(struct emitter *e, uint32_t least) {
    for (uint32_t n = least + (one_in(e, 4) ? below(e, 4) : 0); n != 0; --n)
        fputc(one_in(e, 3) ? '\t' : ' ', e->messy);
}

static void emit_gap(struct emitter *e) {
    fputc(' ', e->clean);
    emit_blanks(e, 1);
}

/* In the messy text a number of either base, with zeros before it. */
static void emit_number(struct emitter *e, const char *canonical, uint32_t number) {
    static const char *const spellings[] = {"%u", "0x%x", "0x%X", "00%u", "0x%012x"};
    fprintf(e->clean, canonical, number);
    fprintf(e->messy, spellings[below(e, 5)], number);
}

/* Small, large and special ones. */
static uint32_t any_number(struct emitter *e) {
    static const uint32_t special[] = {0, 1, 0x7fffffffu, 0x80000000u, 0xffffffffu, 0x20004138u};
    switch (below(e, 3)) {
    case 0:
        return below(e, 300);
    case 1:
        return special[below(e, 6)];
    default:
        return (uint32_t)next(&e->random);
    }
}

static void emit_caps(struct emitter *e) {
    static const char *const names[] = {"DEFAULT", "INTERNAL", "SPIRAM",
                                        "EXEC",    "SHARED",   "INVALID"};
    static const uint32_t bits[] = {1, 2, 4, 8, 16, 1u << 20};
    const uint32_t named = below(e, 64);
    const uint32_t other = one_in(e, 4) ? (any_number(e) & 0xffefffe0u) : 0;
    const char *clean_separator = "";
    const char *messy_separator = "";
    for (uint32_t i = 0; i < 6; ++i) {
        if ((named >> i & 1) != 0) {
            fprintf(e->clean, "%s%s", clean_separator, names[i]);
            clean_separator = "|";
        }
        const uint32_t j = 5 - i; /* the other way round, and some twice */
        for (uint32_t n = (named >> j & 1) * (1 + below(e, 2)); n != 0; --n) {
            if (one_in(e, 2))
                fprintf(e->messy, "%s%s", messy_separator, names[j]);
            else
                fprintf(e->messy, "%s0x%x", messy_separator, bits[j]);
            messy_separator = "|";
        }
    }
    if (other != 0 || *clean_separator == '\0')
        fprintf(e->clean, other != 0 ? "%s0x%x" : "%s0", clean_separator, other);
    if (other != 0 || *messy_separator == '\0' || one_in(e, 8))
        fprintf(e->messy, "%s%u", messy_separator, other);
}

static void emit_offset(struct emitter *e) {
    const uint32_t size = any_number(e) & 0x7fffffffu;
    if (size != 0 && one_in(e, 2))
        emit(e, "-");
    emit_number(e, "%u", size);
}

static void emit_keys(struct emitter *e) {
    static const char *const faults[] = {"double-free", "overflow", "none", "x", "-"};
    const uint32_t keys = 1 + below(e, 7);
    const uint32_t free_bytes = any_number(e);
    const uint32_t min_free = any_number(e);
    const char *fault = faults[below(e, 5)];
    const char *separator = "";
    if ((keys & 1) != 0) {
        fprintf(e->clean, "free=%u", free_bytes);
        separator = " ";
    }
    if ((keys & 2) != 0) {
        fprintf(e->clean, "%smin_free=%u", separator, min_free);
        separator = " ";
    }
    if ((keys & 4) != 0)
        fprintf(e->clean, "%sfault=%s", separator, fault);
    separator = "";
    if ((keys & 4) != 0) {
        fprintf(e->messy, "fault=%s", fault);
        separator = " \t";
    }
    if ((keys & 2) != 0) {
        fprintf(e->messy, "%smin_free=0x%x", separator, min_free);
        separator = "  ";
    }
    if ((keys & 1) != 0)
        fprintf(e->messy, "%sfree=0%u", separator, free_bytes);
}

static const char *any_of(struct emitter *e, const char *const *words, uint32_t count) {
    return words[below(e, count)];
}

static void emit_field(struct emitter *e, char field) {
    static const char *const names[] = {"PSRAM", "SRAM", "no-such_region", "0", "stop"};
    static const char *const masters[] = {"ch0", "ch1", "ch7", "sdio", "hspi", "wifi"};
    switch (field) {
    case 'i':
        emit_number(e, "%u", one_in(e, 3) ? any_number(e) : below(e, 40));
        break;
    case 'd':
        emit_number(e, "%u", any_number(e));
        break;
    case 'a':
        emit_number(e, "0x%08x", any_number(e));
        break;
    case 'b':
        emit_number(e, "0x%02x", below(e, 256));
        break;
    case 'B':
        emit_number(e, "%u", below(e, 8));
        break;
    case 'c':
        emit_caps(e);
        break;
    case 'o':
        emit_offset(e);
        break;
    case 'k':
        emit_keys(e);
        break;
    case 'n':
        emit(e, any_of(e, names, 5));
        break;
    case 'r':
        emit(e, any_of(e, e->regions, e->region_count));
        break;
    case 'm':
        emit(e, any_of(e, masters, 6));
        break;
    case 'S':
        emit(e, "stop");
        break;
    case 'O':
        emit(e, "on");
        break;
    default:
        abort();
    }
}

static void emit_site(struct emitter *e) {
    static const char *const files[] = {
        "main.c", "../src/wm_osal.c", "C:\\a b\\c d.c", "x:y:z", "a\tb ", "= 5", "@", "\xc3\xa9.c"};
    emit_gap(e);
    emit(e, "@");
    emit_gap(e);
    emit(e, any_of(e, files, 8));
    if (one_in(e, 20)) {
        for (uint32_t n = below(e, 900); n != 0; --n)
            emit(e, n % 7 == 0 ? "/" : "f");
    }
    emit(e, ":");
    emit_number(e, "%u", any_number(e));
}

static void emit_line_end(struct emitter *e) {
    static const char *const comments[] = {"#", "# c", "## x = 0x1 @ f:2  ", "#\t\xe2\x82\xac"};
    if (one_in(e, 8)) {
        fputc(' ', e->clean);
        emit_blanks(e, 0);
        emit(e, any_of(e, comments, 4));
    } else {
        emit_blanks(e, 0);
    }
    fputc('\n', e->clean);
    fputs(one_in(e, 8) ? "\r\n" : "\n", e->messy);
}

static void emit_comment_lines(struct emitter *e) {
    while (one_in(e, 8)) {
        if (one_in(e, 2)) {
            emit_blanks(e, 0);
            emit(e, "# a line of its own");
        }
        fputc('\n', e->clean);
        if (one_in(e, 4))
            fputs("\r", e->messy);
        fputc('\n', e->messy);
    }
}

/* One letter a field as in emit_field; `=` says that a result may follow. */
static const char *const shapes[] = {
    "append n",     "alloc idc=",    "realloc idc=", "free i",     "freeaddr a",    "expect k",
    "calloc iddc=", "aligned iddc=", "init ",        "write iodb", "writeaddr adb", "readaddr ad",
    "flip aB",      "fail d",        "fail dO",      "dma mad",    "dma mS",        "check ",
    "check r",      "stats ",        "tracing ",
};

static void emit_event(struct emitter *e) {
    const char *shape = shapes[below(e, sizeof(shapes) / sizeof(shapes[0]))];
    const char *fields = strchr(shape, ' ');
    emit_blanks(e, 0);
    fwrite(shape, 1, (size_t)(fields - shape), e->clean);
    fwrite(shape, 1, (size_t)(fields - shape), e->messy);
    for (++fields; *fields != '\0' && *fields != '='; ++fields) {
        emit_gap(e);
        emit_field(e, *fields);
    }
    if (*fields == '=' && one_in(e, 2)) {
        emit_gap(e);
        emit(e, "=");
        emit_gap(e);
        emit_number(e, "0x%08x", any_number(e));
    }
    if (one_in(e, 4))
        emit_site(e);
    emit_line_end(e);
}

static void emit_config(struct emitter *e) {
    static const char *const poisonings[] = {"none", "light", "comprehensive"};
    const char *tracing = one_in(e, 2) ? "y" : "n";
    const char *poisoning = any_of(e, poisonings, 3);
    const bool in_place = one_in(e, 3);
    fprintf(e->clean, "config tracing=%s poisoning=%s%s", tracing, poisoning,
            in_place ? " realloc=inplace" : "");
    fprintf(e->messy, "config realloc=%s  poisoning=%s\ttracing=%s", in_place ? "inplace" : "move",
            poisoning, tracing);
    emit_line_end(e);
    emit_comment_lines(e);
}

static void emit_regions(struct emitter *e) {
    static const struct {
        const char *name;
        uint32_t first, size;
    } memories[] = {{"SRAM", 0x20000000u, 0x28000u},
                    {"DRAM", 0x20028000u, 0x20000u},
                    {"PSRAM", 0x30000000u, 0x800000u}};
    const uint32_t chosen = 1 + below(e, 7);
    for (uint32_t i = 0; i < 3; ++i) {
        if ((chosen >> i & 1) == 0)
            continue;
        const uint32_t start = below(e, memories[i].size);
        const uint32_t size = 1 + below(e, memories[i].size - start);
        emit(e, "region");
        emit_gap(e);
        emit(e, memories[i].name);
        emit_gap(e);
        emit_number(e, "0x%08x", memories[i].first + start);
        emit_gap(e);
        emit_number(e, "0x%08x", memories[i].first + start + size);
        emit_gap(e);
        emit_caps(e);
        if (i == 2 && one_in(e, 2)) {
            emit_gap(e);
            emit(e, "deferred");
        }
        emit_line_end(e);
        emit_comment_lines(e);
        e->regions[e->region_count++] = memories[i].name;
    }
}

struct trace_text_pair trace_text_generate(uint64_t seed, uint64_t events) {
    struct trace_text_pair pair = {NULL, 0, NULL, 0};
    struct emitter e = {.random = {seed}};
    e.clean = open_memstream(&pair.clean, &pair.clean_length);
    e.messy = open_memstream(&pair.messy, &pair.messy_length);
    emit_blanks(&e, 0);
    emit(&e, "wmtrace");
    emit_gap(&e);
    emit_number(&e, "%u", 1);
    emit_line_end(&e);
    emit_comment_lines(&e);
    if (one_in(&e, 4)) /* the defaults, said and unsaid */
        fputs("config tracing=y poisoning=none\n", e.clean);
    else
        emit_config(&e);
    emit_regions(&e);
    for (; events != 0; --events) {
        emit_event(&e);
        emit_comment_lines(&e);
    }
    fclose(e.clean);
    fclose(e.messy);
    return pair;
}

void trace_text_free(struct trace_text_pair *pair) {
    free(pair->clean);
    free(pair->messy);
}

/* Replaces `cut` bytes at `at` by `length` others. */
static void splice(char **text, size_t *text_length, size_t at, size_t cut, const char *bytes,
                   size_t length) {
    char *changed = malloc(*text_length - cut + length + 1);
    memcpy(changed, *text, at);
    memcpy(changed + at, bytes, length);
    memcpy(changed + at + length, *text + at + cut, *text_length - at - cut);
    free(*text);
    *text = changed;
    *text_length += length - cut;
}

/* The line that holds byte `at`, with its newline. */
static size_t line_at(const char *text, size_t text_length, size_t at, size_t *length) {
    size_t first = at;
    while (first != 0 && text[first - 1] != '\n')
        --first;
    const char *newline = memchr(text + first, '\n', text_length - first);
    *length = newline != NULL ? (size_t)(newline + 1 - text) - first : text_length - first;
    return first;
}

static void garble_lines(struct trace_text_random *random, char **text, size_t *length, size_t at,
                         bool swap) {
    size_t line_length = 0;
    const size_t line = line_at(*text, *length, at, &line_length);
    char *copy = malloc(line_length + 1);
    memcpy(copy, *text + line, line_length);
    if (swap)
        splice(text, length, line, line_length, "", 0);
    size_t other_length = 0;
    size_t other = 0;
    if (*length != 0)
        other = line_at(*text, *length, trace_text_below(random, (uint32_t)*length), &other_length);
    splice(text, length, other, 0, copy, line_length);
    free(copy);
}

static void garble_once(struct trace_text_random *random, char **text, size_t *length) {
    static const char *const pieces[] = {"\n", " ",        "#",  "\r\n",        "0",
                                         "|",  "=",        "@",  "99999999999", "0x",
                                         "-",  "free 1\n", "\t", ":",           "alloc "};
    if (*length == 0)
        return;
    const size_t at = trace_text_below(random, (uint32_t)*length);
    const char byte = (char)trace_text_below(random, 256);
    const char *piece = pieces[trace_text_below(random, 15)];
    const char flipped = (char)((*text)[at] ^ 1 << trace_text_below(random, 8));
    switch (trace_text_below(random, 8)) {
    case 0:
        splice(text, length, at, 1, &flipped, 1);
        break;
    case 1:
        splice(text, length, at, 1, &byte, 1);
        break;
    case 2:
        splice(text, length, at, 0, &byte, 1);
        break;
    case 3:
        splice(text, length, at, 0, piece, strlen(piece));
        break;
    case 4:
        splice(text, length, at, 1, "", 0);
        break;
    case 5:
        if (trace_text_below(random, 8) == 0)
            splice(text, length, at, *length - at, "", 0);
        break;
    default:
        garble_lines(random, text, length, at, trace_text_below(random, 2) == 0);
        break;
    }
}

char *trace_text_garble(struct trace_text_random *random, const char *text, size_t length,
                        size_t *new_length) {
    char *copy = malloc(length + 1);
    memcpy(copy, text, length);
    *new_length = length;
    for (uint32_t n = 1 + trace_text_below(random, 3); n != 0; --n)
        garble_once(random, &copy, new_length);
    /* Exactly as large as the text, so that a sanitizer sees reading beyond it. */
    char *exact = realloc(copy, *new_length != 0 ? *new_length : 1);
    return exact;
}
