/* SPDX-License-Identifier: Apache-2.0
 *
 * What the console reader's parts share: console.c splits the file into lines and mends
 * them, console_stamp.c strips what terminal programs added, console_parse.c knows the SDK's
 * prints.
 */
#ifndef CONSOLE_INTERNAL_H
#define CONSOLE_INTERNAL_H

#include "console.h"

/* How many bytes of a terminal program's time stamp, separator included, open the line. */
size_t console_stamp_length(const char *text, size_t length);

/* Removes escape sequences in place; the new length. */
size_t console_strip_escapes(char *text, size_t length);

/* Pairs of bytes, of which each of the SDK's prints, and each way to speak of a failed
 * request, holds one, and few other lines do. The cheap test comes before any parsing: a long
 * log is nearly all log lines that say nothing about the heap. */
struct console_triggers {
    uint8_t bits[65536 / 8];
};
void console_triggers_init(struct console_triggers *triggers);
bool console_has_trigger(const struct console_triggers *triggers, const char *text, size_t length);

enum console_parsed {
    CONSOLE_NOTHING, /* none of the SDK's prints in here */
    CONSOLE_BROKEN,  /* one begins, but does not go on as it should */
    CONSOLE_PARSED,
};

/* Finds the SDK's print in a line that may begin with something else, and fills in the
 * record's fields. *begin is where the print begins. */
enum console_parsed console_parse_print(const char *text, size_t length,
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
