/* SPDX-License-Identifier: Apache-2.0
 *
 * What the console reader's parts share: console.c splits the file into lines and mends
 * them, console_stamp.c strips what terminal programs added, console_trigger.c
 * tells at a glance what a line may hold, console_parse.c knows the SDK's prints.
 */
#ifndef CONSOLE_INTERNAL_H
#define CONSOLE_INTERNAL_H

#include "console.h"

/* How many bytes of a terminal program's time stamp, separator included, open the line. */
size_t console_stamp_length(const char *text, size_t length);

/* Removes escape sequences in place; the new length. */
size_t console_strip_escapes(char *text, size_t length);

/* What a line may hold, told by pairs of bytes: each of the SDK's prints, and each way to speak
 * of a failed request, holds a certain pair, and few other lines do. One look a byte comes
 * before any parsing, because a long log is nearly all lines that say nothing about the heap.
 * console_parse_print looks only for what the triggers allow. */
#define CONSOLE_TRIGGER_TAB (1u << 0) /* lists, stats, registers */
#define CONSOLE_TRIGGER_ROW (1u << 1) /* of stats */
#define CONSOLE_TRIGGER_COMPLAINT (1u << 2)
#define CONSOLE_TRIGGER_RECORDER (1u << 3)
#define CONSOLE_TRIGGER_SUMMARY (1u << 4)
#define CONSOLE_TRIGGER_CORRUPTION (1u << 5)
#define CONSOLE_TRIGGER_ASSERTION (1u << 6)
#define CONSOLE_TRIGGER_EXCEPTION (1u << 7)
#define CONSOLE_TRIGGER_ADDR2LINE (1u << 8)
#define CONSOLE_TRIGGER_STATS (1u << 9)
#define CONSOLE_TRIGGER_HEAP_SIZE (1u << 10)
#define CONSOLE_TRIGGER_BOOT (1u << 11)
#define CONSOLE_TRIGGER_TASK (1u << 12)

struct console_triggers {
    uint8_t pairs[65536 / 8]; /* a bit for each pair that triggers something */
};
void console_triggers_init(struct console_triggers *triggers);
unsigned console_triggers_of(const struct console_triggers *triggers, const char *text,
                             size_t length);

enum console_parsed {
    CONSOLE_NOTHING, /* none of the SDK's prints in here */
    CONSOLE_BROKEN,  /* one begins, but does not go on as it should */
    CONSOLE_PARSED,
};

/* Finds the SDK's print in a line that may begin with something else, and fills in the
 * record's fields. *begin is where the print begins. */
enum console_parsed console_parse_print(const char *text, size_t length, unsigned triggers,
                                        struct console_record *record, size_t *begin);

/* What can still be said with certainty of a broken print: true if that is anything. */
bool console_parse_remains(const char *text, size_t length, struct console_record *record);

/* A log line from its first byte on. */
bool console_parse_log(const char *text, size_t length, struct console_record *record);

/* Where a log line begins in a text, or `length`. */
size_t console_find_log(const char *text, size_t length);

/* True if a line that is nothing known resembles something known. */
bool console_resembles(const char *text, size_t length);

#endif
