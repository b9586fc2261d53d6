/* SPDX-License-Identifier: Apache-2.0
 *
 * How a trace is refused: one line, `FILE:LINE: reason`. A trace may come from anywhere,
 * and the reason is printed on a terminal and into logs, so whatever it quotes is made
 * printable and short first, the file's name included.
 */
#include "trace_internal.h"

#include <stdarg.h>
#include <string.h>

#define NAME_SHOWN_MAX 200 /* of a file's name; its end is what tells files apart */

/* Appends `text`, unprintable bytes as \xNN, while it fits; returns the new length. */
static size_t put_printable(char *out, size_t size, const char *text, size_t length) {
    size_t used = 0;
    for (size_t i = 0; i < length; ++i) {
        const uint8_t byte = (uint8_t)text[i];
        const bool plain = byte >= 0x20 && byte < 0x7f;
        if (used + (plain ? 1u : 4u) >= size)
            break;
        if (plain)
            out[used++] = text[i];
        else
            used += (size_t)snprintf(out + used, size - used, "\\x%02x", byte);
    }
    out[used] = '\0';
    return used;
}

struct trace_quote trace_quote(const char *text, size_t length) {
    enum { SHOWN_MAX = 40 };
    struct trace_quote quote;
    const size_t shown = length < SHOWN_MAX ? length : SHOWN_MAX;
    const size_t used = put_printable(quote.text, sizeof(quote.text) - 4, text, shown);
    /* Cut by its own length, or because its bytes took four characters each. */
    size_t needed = 0;
    for (size_t i = 0; i < shown; ++i)
        needed += (uint8_t)text[i] >= 0x20 && (uint8_t)text[i] < 0x7f ? 1 : 4;
    if (shown < length || used < needed)
        memcpy(quote.text + used, "...", sizeof("..."));
    return quote;
}

struct trace_quote trace_quote_word(const char *word) {
    return trace_quote(word, (size_t)(trace_skip_word(word) - word));
}

static size_t put_name(char *out, size_t size, const char *name) {
    const size_t length = strlen(name);
    if (length <= NAME_SHOWN_MAX)
        return put_printable(out, size, name, length);
    const size_t used = put_printable(out, size, "...", 3);
    return used +
           put_printable(out + used, size - used, name + length - NAME_SHOWN_MAX, NAME_SHOWN_MAX);
}

const char *trace_refuse(struct trace_parser *parser, const char *format, ...) {
    char *text = parser->error->text;
    const size_t size = sizeof(parser->error->text);
    /* Half of the room, so that the reason always fits. */
    size_t used = put_name(text, size / 2, parser->name);
    used += (size_t)snprintf(text + used, size - used, ":%u: ", parser->line_number);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
    return NULL;
}

bool trace_refuse_file(struct trace_error *error, const char *name, const char *reason) {
    const size_t used = put_name(error->text, sizeof(error->text) / 2, name);
    snprintf(error->text + used, sizeof(error->text) - used, ": %s", reason);
    return false;
}

const char *trace_refuse_number(struct trace_parser *parser, const char *at, const char *label,
                                uint32_t max) {
    if (trace_at_end(at))
        return trace_refuse(parser, "missing field %s", label);
    const bool hex = at[0] == '0' && at[1] == 'x';
    const char *digits = hex ? at + 2 : at;
    const char *end = digits;
    while ((trace_class(*end) & TRACE_CLASS_HEX) != 0 && (hex || (*end >= '0' && *end <= '9')))
        ++end;
    if (end == digits || !trace_is_delimiter(*end))
        return trace_refuse(parser, "%s is not a number: \"%s\"", label, trace_quote_word(at).text);
    return trace_refuse(parser, "%s is out of range (0 to %u): \"%s\"", label, max,
                        trace_quote_word(at).text);
}

void trace_refuse_line(struct trace_parser *parser, const char *line, const char *end) {
    const char *newline = memchr(line, '\n', (size_t)(end - line));
    size_t length = (size_t)((newline != NULL ? newline : end) - line);
    if (length > TRACE_LINE_MAX) {
        trace_refuse(parser, "line is longer than %d bytes", TRACE_LINE_MAX);
        return;
    }
    if (newline != NULL && length != 0 && newline[-1] == '\r')
        --length;
    for (size_t i = 0; i < length; ++i) {
        if ((trace_class(line[i]) & TRACE_CLASS_CONTROL) != 0) {
            trace_refuse(parser, "control byte \\x%02x in column %zu: this is not text",
                         (uint8_t)line[i], i + 1);
            return;
        }
    }
}
