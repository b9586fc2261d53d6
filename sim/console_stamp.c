/* SPDX-License-Identifier: Apache-2.0
 *
 * What terminal programs add to a line: time stamps in front, and colours anywhere.
 *
 * A stamp is recognised by its form alone, so that a log may mix several: a date, a time, both
 * or seconds, in brackets or not, then a separator. One space of the separator is the
 * stamp's, the others may be the line's: the stats begin with four.
 */
#include <string.h>

#include "console_internal.h"

#define ESCAPE '\033'

static bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }

static bool is_letter(char byte) { return (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z'; }

/* Number of digits at `at`. */
static size_t digits(const char *at, const char *end) {
    const char *from = at;
    while (at < end && is_digit(*at)) {
        at++;
    }
    return (size_t)(at - from);
}

/* Each of these returns the end of what it matched, or NULL. */

static const char *match_fraction(const char *at, const char *end) {
    if (at < end && (*at == '.' || *at == ',' || *at == ':')) {
        size_t count = digits(at + 1, end);
        return count >= 1 && count <= 9 ? at + 1 + count : at;
    }
    return at;
}

/* 9:00:00, 09:00:00.618, 09:00:00,618 */
static const char *match_time(const char *at, const char *end) {
    size_t hours = digits(at, end);
    if (hours < 1 || hours > 2) {
        return NULL;
    }
    at += hours;
    for (int i = 0; i < 2; i++) {
        if (at >= end || *at != ':' || digits(at + 1, end) != 2) {
            return NULL;
        }
        at += 3;
    }
    return match_fraction(at, end);
}

/* Z, +02:00, +0200 */
static const char *match_zone(const char *at, const char *end) {
    if (at < end && *at == 'Z') {
        return at + 1;
    }
    if (at < end && (*at == '+' || *at == '-') && digits(at + 1, end) >= 2) {
        const char *next = at + 1 + digits(at + 1, end);
        return next < end && *next == ':' && digits(next + 1, end) == 2 ? next + 3 : next;
    }
    return at;
}

/* 2026-10-01, 01.10.2026, 10/01/26 */
static const char *match_date(const char *at, const char *end) {
    size_t first = digits(at, end);
    if (first < 1 || first > 4 || at + first >= end || strchr("-/.", at[first]) == NULL ||
        at[first] == '\0') {
        return NULL;
    }
    char mark = at[first];
    at += first + 1;
    size_t second = digits(at, end);
    if (second < 1 || second > 2 || at + second >= end || at[second] != mark) {
        return NULL;
    }
    at += second + 1;
    size_t third = digits(at, end);
    return third >= 1 && third <= 4 && first + third >= 3 ? at + third : NULL;
}

/* Oct 01, Thu Oct  1 */
static const char *match_month(const char *at, const char *end) {
    for (int words = 0; words < 2; words++) {
        if (end - at < 5 || !is_letter(at[0]) || !is_letter(at[1]) || !is_letter(at[2]) ||
            at[3] != ' ') {
            return NULL;
        }
        at += 4;
        if (at < end && *at == ' ') {
            at++;
        }
        size_t day = digits(at, end);
        if (day == 1 || day == 2) {
            return at + day;
        }
    }
    return NULL;
}

/* A date and time, or a time, or seconds since 1970; in square brackets a date alone or seconds
 * since whenever will do. */
static const char *match_moment(const char *at, const char *end, bool square) {
    const char *date = match_date(at, end);
    if (date == NULL && is_letter(*at)) {
        date = match_month(at, end);
    }
    const char *from = at;
    if (date != NULL) {
        from = date;
        if (from < end && *from == ',') {
            from++;
        }
        if (from < end && (*from == ' ' || *from == 'T' || *from == '_' || *from == '-')) {
            from++;
        }
    }
    const char *time = match_time(from, end);
    if (time != NULL) {
        return match_zone(time, end);
    }
    if (date != NULL) {
        return square ? date : NULL;
    }
    while (square && at < end && *at == ' ') {
        at++; /* [   12.345678] */
    }
    size_t seconds = digits(at, end);
    if (seconds < (square ? 1u : 10u) || seconds > 13) {
        return NULL;
    }
    return match_fraction(at + seconds, end);
}

/* The separator behind a stamp without brackets: at least a space, a tab or a mark. */
static const char *match_separator(const char *at, const char *end) {
    static const char *const separators[] = {" -> ", " > ", " | ", " - ", ": ", "> ", "| ", " : "};
    for (size_t i = 0; i < sizeof separators / sizeof *separators; i++) {
        size_t length = strlen(separators[i]);
        if ((size_t)(end - at) >= length && memcmp(at, separators[i], length) == 0) {
            return at + length;
        }
    }
    if (at < end && (*at == ' ' || *at == '\t' || *at == '>' || *at == '|')) {
        return at + 1;
    }
    return at == end ? at : NULL;
}

static size_t one_stamp(const char *text, size_t length) {
    static const char opening[] = "[(<{";
    static const char closing[] = "])>}";
    const char *end = text + length;
    const char *bracket = length > 2 && *text != '\0' ? strchr(opening, *text) : NULL;
    if (bracket == NULL) {
        if (length < 8 || (!is_digit(*text) && !is_letter(*text))) {
            return 0;
        }
        const char *at = match_moment(text, end, false);
        at = at != NULL ? match_separator(at, end) : NULL;
        return at != NULL ? (size_t)(at - text) : 0;
    }
    const char *at = match_moment(text + 1, end, *bracket == '[');
    if (at == NULL || at >= end || *at != closing[bracket - opening]) {
        return 0;
    }
    at++;
    if (at < end && *at == ':') {
        at++;
    }
    if (at < end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    return (size_t)(at - text);
}

size_t console_stamp_length(const char *text, size_t length) {
    size_t first = one_stamp(text, length);
    /* A terminal's stamp may be followed by a logging server's. */
    return first != 0 ? first + one_stamp(text + first, length - first) : 0;
}

/* End of the escape sequence that begins at `at`: ESC [ parameters letter, ESC ] text BEL, or
 * ESC and one more byte. */
static const char *escape_end(const char *at, const char *end) {
    const char *next = at + 1;
    if (next >= end) {
        return end;
    }
    if (*next == '[') {
        for (next++; next < end && *next >= 0x20 && *next < 0x40; next++) {
        }
        return next < end ? next + 1 : end;
    }
    if (*next == ']') {
        const char *bell = memchr(next, '\a', (size_t)(end - next));
        return bell != NULL ? bell + 1 : next + 1;
    }
    return next + 1;
}

size_t console_strip_escapes(char *text, size_t length) {
    const char *end = text + length;
    char *to = memchr(text, ESCAPE, length);
    if (to == NULL) {
        return length;
    }
    for (const char *at = to; at < end;) {
        if (*at == ESCAPE) {
            at = escape_end(at, end);
        } else {
            *to++ = *at++;
        }
    }
    return (size_t)(to - text);
}
