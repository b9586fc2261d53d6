/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes to lines to records: reads the file in large chunks, and mends what was torn.
 *
 * Two things tear a line. A heap print does not wait for a buffered log line to end: then the
 * log line's head stands before the print, and its tail is a line of its own further down.
 * And a log line, or a lost carriage return, may come into the middle of a print. Both are
 * joined again only if what results is complete and correct in its form; a print that stays
 * torn counts as damaged.
 */
#include "console.h"

#include <stdlib.h>
#include <string.h>

#include "console_internal.h"

#define CHUNK_BYTES (1u << 16)
#define BROKEN_AGE_MAX 4u /* log lines that may stand in the middle of a torn print */

/* The beginning of something whose end has not come yet. */
struct piece {
    bool held;
    unsigned age; /* lines that came in between */
    size_t length;
    enum console_kind kind;
    unsigned triggers;
    char text[CONSOLE_LINE_MAX];
};

struct console {
    FILE *file;
    char *chunk;
    size_t begin, end; /* of the unread bytes */
    bool file_ended;
    uint64_t lines;
    uint64_t damaged;
    struct console_record queue[4]; /* of the line at work */
    size_t queue_first, queue_count;
    struct piece print; /* torn */
    struct piece other; /* the line before, if it was a log line or unknown */
    char joined_print[2 * CONSOLE_LINE_MAX];
    char joined_other[2 * CONSOLE_LINE_MAX];
    struct console_triggers triggers;
};

struct console *console_open(FILE *file) {
    struct console *console = calloc(1, sizeof *console);
    if (console == NULL) {
        return NULL;
    }
    console->file = file;
    console->chunk = malloc(CHUNK_BYTES);
    if (console->chunk == NULL) {
        free(console);
        return NULL;
    }
    console_triggers_init(&console->triggers);
    return console;
}

void console_close(struct console *console) {
    if (console != NULL) {
        free(console->chunk);
        free(console);
    }
}

uint64_t console_lines(const struct console *console) { return console->lines; }

uint64_t console_damaged(const struct console *console) { return console->damaged; }

static void push(struct console *console, const struct console_record *record) {
    struct console_record *queued = &console->queue[console->queue_count++];
    *queued = *record;
    queued->line = console->lines;
}

/* --- mending -------------------------------------------------------------------------------- */

static void hold(struct piece *piece, const char *text, size_t length, enum console_kind kind,
                 unsigned triggers) {
    piece->held = true;
    piece->age = 0;
    piece->length = length < sizeof piece->text ? length : sizeof piece->text;
    piece->kind = kind;
    piece->triggers = triggers;
    memcpy(piece->text, text, piece->length);
}

static size_t join(char *joined, const struct piece *piece, const char *text, size_t length) {
    length = length < CONSOLE_LINE_MAX ? length : CONSOLE_LINE_MAX;
    memcpy(joined, piece->text, piece->length);
    memcpy(joined + piece->length, text, length);
    return piece->length + length;
}

/* The torn print's end will not come. What it says with certainty all the same is kept. */
static void give_up_print(struct console *console) {
    if (!console->print.held) {
        return;
    }
    console->print.held = false;
    if (console->print.kind == CONSOLE_OTHER) {
        return; /* it was none */
    }
    console->damaged++;
    size_t length = join(console->joined_print, &console->print, "", 0);
    struct console_record record = {.ms = CONSOLE_NO_MS};
    if (console_parse_remains(console->joined_print, length, &record)) {
        push(console, &record);
    }
}

/* True if this line is the torn print's end. */
static bool mend_print(struct console *console, const char *text, size_t length) {
    if (!console->print.held) {
        return false;
    }
    size_t begin = 0;
    struct console_record record = {.ms = CONSOLE_NO_MS};
    length = join(console->joined_print, &console->print, text, length);
    unsigned triggers = console_triggers_of(&console->triggers, console->joined_print, length);
    if (console_parse_print(console->joined_print, length, triggers, &record, &begin) !=
            CONSOLE_PARSED ||
        begin >= console->print.length ||
        (record.kind != console->print.kind && console->print.kind != CONSOLE_OTHER)) {
        return false;
    }
    console->print.held = false;
    push(console, &record);
    return true;
}

/* A line of unknown origin may be the tail of the line before: of a log line that a print
 * overtook, or of anything that was cut in two before it could be told what it is. */
static void mend_other(struct console *console, const char *text, size_t length,
                       unsigned triggers) {
    struct console_record record = {.kind = CONSOLE_OTHER, .ms = CONSOLE_NO_MS};
    struct piece *piece = &console->other;
    if (piece->held) {
        size_t begin = 0;
        struct console_record print = {.ms = CONSOLE_NO_MS};
        size_t joined = join(console->joined_other, piece, text, length);
        unsigned all =
            triggers | piece->triggers |
            console_triggers_of(&console->triggers, console->joined_other + piece->length - 1, 2);
        if (console_parse_print(console->joined_other, joined, all, &print, &begin) ==
                CONSOLE_PARSED &&
            begin < piece->length) {
            piece->held = false;
            push(console, &print);
            return;
        }
        if (console_parse_log(console->joined_other, joined, &record)) {
            record.ms = CONSOLE_NO_MS; /* it was told with the head */
            record.worth_a_look = (all & CONSOLE_TRIGGER_COMPLAINT) != 0;
            push(console, &record);
            hold(piece, text, length, CONSOLE_OTHER, triggers); /* or something else's head */
            return;
        }
    }
    record.text = (struct console_text){text, length};
    record.worth_a_look = (triggers & CONSOLE_TRIGGER_COMPLAINT) != 0;
    push(console, &record);
    hold(piece, text, length, CONSOLE_OTHER, triggers);
}

/* --- one line ------------------------------------------------------------------------------- */

static bool take_log(struct console *console, const char *text, size_t length, unsigned triggers) {
    struct console_record record = {0};
    if (!console_parse_log(text, length, &record)) {
        return false;
    }
    hold(&console->other, text, length, CONSOLE_LOG, triggers); /* its tail may be the next line */
    if (console->print.held && console->print.age++ >= BROKEN_AGE_MAX) {
        give_up_print(console);
    }
    record.worth_a_look = (triggers & CONSOLE_TRIGGER_COMPLAINT) != 0;
    push(console, &record);
    return true;
}

/* The head of a log line that a print overtook. Its text says nothing before it is whole. */
static void take_head(struct console *console, const char *text, size_t length, unsigned triggers) {
    struct console_record record = {0};
    if (length > 0 && console_parse_log(text, length, &record)) {
        push(console, &record);
        hold(&console->other, text, length, CONSOLE_LOG, triggers);
    }
}

/* A print that is torn in this line: by a log line, whose own tail comes with it, or by the
 * line's end. */
static void take_broken(struct console *console, const char *text, size_t length,
                        enum console_kind kind, unsigned triggers) {
    give_up_print(console);
    size_t log = console_find_log(text, length);
    hold(&console->print, text, log, kind, triggers);
    if (log < length) {
        take_log(console, text + log, length - log, triggers);
    }
}

/* A list is printed without a pause, so behind a log line's head it can only begin: its index
 * is 0, and digits before that are the log line's. */
static size_t surplus_digits(const char *text, size_t begin, struct console_record *record) {
    struct console_record log;
    size_t digits = strspn(text + begin, "0123456789");
    if (record->index % 10 != 0 || digits < 2 || !console_parse_log(text, begin, &log)) {
        return 0;
    }
    record->index = 0;
    return digits - 1;
}

/* A line of the recorder has a checksum of its own: whoever reads it knows if it is whole. */
static bool take_recorder(struct console *console, const char *text, size_t length,
                          unsigned triggers) {
    static const char prefix[] = "@wmrec";
    const char *found = (triggers & CONSOLE_TRIGGER_RECORDER) != 0
                            ? memmem(text, length, prefix, sizeof prefix - 1)
                            : NULL;
    if (found == NULL) {
        return false;
    }
    take_head(console, text, (size_t)(found - text), triggers);
    struct console_record record = {.kind = CONSOLE_RECORDER, .ms = CONSOLE_NO_MS};
    record.text = (struct console_text){found, (size_t)(text + length - found)};
    push(console, &record);
    return true;
}

static void take_print(struct console *console, const char *text, size_t length,
                       unsigned triggers) {
    size_t begin = 0;
    if (take_recorder(console, text, length, triggers)) {
        return;
    }
    struct console_record record = {.ms = CONSOLE_NO_MS};
    switch (console_parse_print(text, length, triggers, &record, &begin)) {
    case CONSOLE_PARSED:
        give_up_print(console);
        if (record.kind == CONSOLE_BLOCK) {
            begin += surplus_digits(text, begin, &record);
        }
        take_head(console, text, begin, triggers);
        if (record.kind == CONSOLE_HEAP_SIZE || record.kind == CONSOLE_BOOT) {
            console->other.held = false; /* they are log lines themselves */
        }
        push(console, &record);
        return;
    case CONSOLE_BROKEN:
        if (!mend_print(console, text, length)) {
            /* A log line may just speak of such things: all of it counts as its text. */
            take_log(console, text, length, triggers);
            take_broken(console, text + begin, length - begin, record.kind, triggers);
        }
        return;
    case CONSOLE_NOTHING:
    default:
        break;
    }
    if (take_log(console, text, length, triggers)) {
        return;
    }
    if (!mend_print(console, text, length)) {
        size_t log = console_find_log(text, length);
        if (log < length) {
            take_broken(console, text, length, CONSOLE_OTHER, triggers);
            return;
        }
        give_up_print(console);
        console->damaged += console_resembles(text, length);
        mend_other(console, text, length, triggers);
    }
}

static bool is_log_line(const char *text, size_t length) {
    return length > 8 && text[0] == '[' && text[2] == ']';
}

static void take_line(struct console *console, char *text, size_t length) {
    while (length > 0 && text[length - 1] == '\r') {
        length--;
    }
    length = console_strip_escapes(text, length);
    while (length > 0 && *text == '\r') {
        text++;
        length--;
    }
    if (!is_log_line(text, length)) {
        size_t stamp = console_stamp_length(text, length);
        text += stamp;
        length -= stamp;
    }
    if (length == 0) {
        return;
    }
    unsigned triggers = console_triggers_of(&console->triggers, text, length);
    bool plain = triggers == 0 && is_log_line(text, length) && take_log(console, text, length, 0);
    if (!plain) {
        take_print(console, text, length, triggers);
    }
}

/* --- the file ------------------------------------------------------------------------------- */

static void fill(struct console *console) {
    memmove(console->chunk, console->chunk + console->begin, console->end - console->begin);
    console->end -= console->begin;
    console->begin = 0;
    size_t got = fread(console->chunk + console->end, 1, CHUNK_BYTES - console->end, console->file);
    console->end += got;
    console->file_ended = got == 0;
}

/* The next line, or piece of an overlong one; false at the end. */
static bool next_line(struct console *console, char **text, size_t *length) {
    for (;;) {
        size_t left = console->end - console->begin;
        *text = console->chunk + console->begin;
        *length = left < CONSOLE_LINE_MAX ? left : CONSOLE_LINE_MAX;
        const char *newline = memchr(*text, '\n', *length);
        if (newline != NULL) {
            *length = (size_t)(newline - *text);
            console->begin += *length + 1;
            console->lines++;
            return true;
        }
        if (left >= CONSOLE_LINE_MAX || console->file_ended) {
            console->begin += *length;
            console->lines += left > 0 && console->file_ended && left <= CONSOLE_LINE_MAX;
            return left > 0;
        }
        fill(console);
    }
}

bool console_next(struct console *console, struct console_record *record) {
    while (console->queue_first == console->queue_count) {
        char *text;
        size_t length;
        console->queue_first = console->queue_count = 0;
        if (next_line(console, &text, &length)) {
            take_line(console, text, length);
        } else if (console->print.held) {
            give_up_print(console);
        } else {
            return false;
        }
    }
    *record = console->queue[console->queue_first++];
    return true;
}
