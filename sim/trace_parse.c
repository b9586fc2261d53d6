/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines into events. A replay is meant to run at millions of events a second and reads
 * its trace first, so this scans every byte once, by hand, and allocates nothing per
 * line; only a refusal takes its time to say what is wrong.
 *
 * Every parsing function gets the place of its first character and returns the place of
 * the next field (blanks skipped), or NULL after a refusal.
 */
#include "trace_internal.h"

#include <stdlib.h>
#include <string.h>

/* The number of lines so far that count for trace_comment.place. */
static uint32_t next_place(const struct trace_parser *parser) {
    switch (parser->section) {
    case TRACE_SECTION_START:
        return 0;
    case TRACE_SECTION_CONFIG:
        return 1;
    default:
        return 2 + parser->trace->region_count + (uint32_t)parser->trace->event_count;
    }
}

static struct trace_comment *add_comment(struct trace_parser *parser, uint32_t place, bool behind) {
    struct trace *trace = parser->trace;
    struct trace_comment *comments = trace_grow(trace->comments, &parser->comments_capacity,
                                                trace->comment_count + 1, sizeof(*comments));
    if (comments == NULL)
        return NULL;
    trace->comments = comments;
    struct trace_comment *comment = &comments[trace->comment_count++];
    *comment = (struct trace_comment){
        .place = place, .offset = (uint32_t)parser->comment_bytes, .behind = behind};
    return comment;
}

/* Keeps text as the comment behind the latest line, or as one more line, with a newline,
 * of the block of lines before the next one. False: out of memory. */
static bool keep_text(struct trace_parser *parser, const char *text, size_t length, bool behind) {
    struct trace *trace = parser->trace;
    const uint32_t place = next_place(parser) - (behind ? 1u : 0u);
    char *bytes = trace_grow(trace->comment_text, &parser->comment_bytes_capacity,
                             parser->comment_bytes + length + 1, 1);
    if (bytes == NULL)
        return false;
    trace->comment_text = bytes;
    struct trace_comment *comment =
        trace->comment_count != 0 ? &trace->comments[trace->comment_count - 1] : NULL;
    if (comment == NULL || behind || comment->place != place)
        comment = add_comment(parser, place, behind);
    if (comment == NULL)
        return false;
    memcpy(bytes + parser->comment_bytes, text, length);
    parser->comment_bytes += length;
    if (!behind)
        bytes[parser->comment_bytes++] = '\n';
    comment->length = (uint32_t)(parser->comment_bytes - comment->offset);
    return true;
}

/* `at` is at a `#` or at the line's end; returns the next line. */
static const char *parse_comment(struct trace_parser *parser, const char *at, bool behind) {
    const char *newline = rawmemchr(at, '\n');
    const char *end = newline > at && newline[-1] == '\r' ? newline - 1 : newline;
    for (const char *c = at; c < end; ++c) {
        if ((trace_class(*c) & TRACE_CLASS_CONTROL) != 0)
            return trace_refuse(parser, "control byte \\x%02x in the comment", (uint8_t)*c);
    }
    const size_t length = (size_t)(end - at);
    if (length > TRACE_COMMENT_MAX)
        return trace_refuse(parser, "comment is longer than %d bytes", TRACE_COMMENT_MAX);
    if (!keep_text(parser, at, length, behind))
        return trace_refuse(parser, "out of memory");
    return newline + 1;
}

static const char *parse_line_end(struct trace_parser *parser, const char *at) {
    if (*at == '\n')
        return at + 1;
    if (*at == '\r' && at[1] == '\n')
        return at + 2;
    if (*at == '#')
        return parse_comment(parser, at, true);
    return trace_refuse(parser, "surplus field \"%s\"", trace_quote_word(at).text);
}

static const char *parse_number(struct trace_parser *parser, const char *at, const char *label,
                                uint32_t max, uint32_t *value) {
    const char *after = trace_scan_number(at, value);
    if (after == NULL || *value > max || !trace_is_delimiter(*after))
        return trace_refuse_number(parser, at, label, max);
    return trace_skip_blanks(after);
}

static const char *parse_id(struct trace_parser *parser, const char *at,
                            struct trace_event *event) {
    uint32_t id = 0;
    at = parse_number(parser, at, "ID", UINT32_MAX, &id);
    if (at == NULL)
        return NULL;
    event->slot = trace_intern_id(parser, id);
    return event->slot != TRACE_NO_SLOT ? at : NULL;
}

/* -2^31 to 2^31 - 1. */
static const char *parse_offset(struct trace_parser *parser, const char *at,
                                struct trace_event *event) {
    const bool negative = *at == '-';
    uint32_t size = 0;
    const char *after = trace_scan_number(at + negative, &size);
    const uint32_t max = negative ? 0x80000000u : 0x7fffffffu;
    if (after == NULL || !trace_is_delimiter(*after) || size > max) {
        if (trace_at_end(at))
            return trace_refuse(parser, "missing field OFFSET");
        return trace_refuse(parser, "OFFSET is not a number from -2147483648 to 2147483647: \"%s\"",
                            trace_quote_word(at).text);
    }
    event->caps = negative ? 0u - size : size;
    return trace_skip_blanks(after);
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* [A-Za-z0-9_-]+, or with `lower` [a-z-]+. */
static bool is_plain_word(const char *text, size_t length, bool lower) {
    for (size_t i = 0; i < length; ++i) {
        const char c = text[i];
        const bool good = lower ? (c >= 'a' && c <= 'z') || c == '-'
                                : is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!good)
            return false;
    }
    return length != 0 && length <= TRACE_WORD_MAX;
}

static const char *parse_name(struct trace_parser *parser, const char *at,
                              struct trace_event *event) {
    if (trace_at_end(at))
        return trace_refuse(parser, "missing field NAME");
    const char *end = trace_skip_word(at);
    if (!is_plain_word(at, (size_t)(end - at), false))
        return trace_refuse(parser,
                            "NAME is not up to %d letters, digits, underscores and hyphens: \"%s\"",
                            TRACE_WORD_MAX, trace_quote_word(at).text);
    event->extra = trace_intern_name(parser, at, (size_t)(end - at));
    return event->extra != TRACE_NO_SLOT ? trace_skip_blanks(end) : NULL;
}

/* Optional: what follows may also be the call site. */
static const char *parse_region_name(struct trace_parser *parser, const char *at,
                                     struct trace_event *event) {
    event->extra = TRACE_NO_SLOT;
    if (trace_at_end(at) || *at == '@')
        return at;
    const char *end = trace_skip_word(at);
    for (uint32_t i = 0; i < parser->trace->region_count; ++i) {
        const char *name = parser->trace->regions[i].name;
        if (trace_word_is(at, (size_t)(end - at), name, strlen(name)))
            return parse_name(parser, at, event);
    }
    return trace_refuse(parser, "check: this trace has no region \"%s\"",
                        trace_quote_word(at).text);
}

static bool take_word(const char **at, const char *text) {
    const char *end = trace_skip_word(*at);
    if (!trace_word_is(*at, (size_t)(end - *at), text, strlen(text)))
        return false;
    *at = trace_skip_blanks(end);
    return true;
}

static const char *parse_on(const char *at, struct trace_event *event) {
    if (take_word(&at, "on"))
        event->has |= TRACE_HAS_ON;
    return at;
}

static const char *parse_master(struct trace_parser *parser, const char *at,
                                struct trace_event *event) {
    if (trace_at_end(at))
        return trace_refuse(parser, "missing field MASTER");
    for (uint32_t i = 0; i < TRACE_DMA_MASTERS; ++i) {
        if (take_word(&at, trace_dma_names[i])) {
            event->extra = i;
            return at;
        }
    }
    return trace_refuse(parser, "unknown DMA master \"%s\"", trace_quote_word(at).text);
}

static const char *parse_transfer(struct trace_parser *parser, const char *at,
                                  struct trace_event *event) {
    if (take_word(&at, "stop")) {
        event->has |= TRACE_HAS_STOP;
        return at;
    }
    at = parse_number(parser, at, "ADDR", UINT32_MAX, &event->caps);
    return at == NULL ? NULL : parse_number(parser, at, "LENGTH", UINT32_MAX, &event->size);
}

static const char *parse_fault(struct trace_parser *parser, const char *at,
                               struct trace_event *event) {
    const char *end = trace_skip_word(at);
    if (!is_plain_word(at, (size_t)(end - at), true))
        return trace_refuse(parser, "fault= wants up to %d letters a to z and hyphens: \"%s\"",
                            TRACE_WORD_MAX, trace_quote_word(at).text);
    event->extra = trace_intern_name(parser, at, (size_t)(end - at));
    return event->extra != TRACE_NO_SLOT ? trace_skip_blanks(end) : NULL;
}

/* One KEY=VALUE of expect. */
static const char *parse_key(struct trace_parser *parser, const char *at,
                             struct trace_event *event) {
    static const struct {
        struct trace_word key;
        uint8_t has;
    } keys[] = {{{"free=", 5}, TRACE_HAS_FREE},
                {{"min_free=", 9}, TRACE_HAS_MIN_FREE},
                {{"fault=", 6}, TRACE_HAS_FAULT}};
    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); ++i) {
        if (strncmp(at, keys[i].key.text, keys[i].key.length) != 0)
            continue;
        if ((event->has & keys[i].has) != 0)
            return trace_refuse(parser, "expect: %s is given twice", keys[i].key.text);
        event->has |= keys[i].has;
        at += keys[i].key.length;
        if (keys[i].has == TRACE_HAS_FAULT)
            return parse_fault(parser, at, event);
        return parse_number(parser, at, keys[i].key.text, UINT32_MAX,
                            keys[i].has == TRACE_HAS_FREE ? &event->size : &event->caps);
    }
    return trace_refuse(parser, "expect: unknown key in \"%s\"", trace_quote_word(at).text);
}

static const char *parse_keys(struct trace_parser *parser, const char *at,
                              struct trace_event *event) {
    if (trace_at_end(at) || *at == '@')
        return trace_refuse(parser, "expect: missing field KEY=VALUE");
    while (at != NULL && !trace_at_end(at) && *at != '@')
        at = parse_key(parser, at, event);
    return at;
}

static const char *parse_field(struct trace_parser *parser, const char *at, unsigned field,
                               struct trace_event *event) {
    switch (field) {
    case TRACE_FIELD_ID:
        return parse_id(parser, at, event);
    case TRACE_FIELD_CAPS:
        return trace_parse_caps(parser, at, &event->caps);
    case TRACE_FIELD_OFFSET:
        return parse_offset(parser, at, event);
    case TRACE_FIELD_NAME:
        return parse_name(parser, at, event);
    case TRACE_FIELD_REGION:
        return parse_region_name(parser, at, event);
    case TRACE_FIELD_ON:
        return parse_on(at, event);
    case TRACE_FIELD_MASTER:
        return parse_master(parser, at, event);
    case TRACE_FIELD_TRANSFER:
        return parse_transfer(parser, at, event);
    case TRACE_FIELD_KEYS:
        return parse_keys(parser, at, event);
    default:
        break;
    }
    const struct trace_number_field *number = &trace_number_fields[field];
    uint32_t value = 0;
    at = parse_number(parser, at, number->label, number->max, &value);
    memcpy((char *)event + number->offset, &value, sizeof(value));
    return at;
}

/* `= ADDR`; `at` is at the `=`. */
static const char *parse_result(struct trace_parser *parser, const char *at,
                                struct trace_event *event) {
    if (!trace_is_delimiter(at[1]))
        return trace_refuse(parser, "no blank behind the = in \"%s\"", trace_quote_word(at).text);
    event->has |= TRACE_HAS_ADDRESS;
    return parse_number(parser, trace_skip_blanks(at + 1), "ADDR", UINT32_MAX, &event->address);
}

/* `@ FILE:LINE`; `at` is at the `@`. FILE may hold colons and blanks: it is all from the
 * first character that is no blank to the line's last colon. */
static const char *parse_site(struct trace_parser *parser, const char *at,
                              struct trace_event *event) {
    if (!trace_is_delimiter(at[1]))
        return trace_refuse(parser, "no blank behind the @ in \"%s\"", trace_quote_word(at).text);
    const char *file = trace_skip_blanks(at + 1);
    const char *colon = NULL;
    const char *end = file;
    for (; !trace_at_end(end); ++end) {
        if (*end == ':')
            colon = end;
        else if ((trace_class(*end) & TRACE_CLASS_CONTROL) != 0)
            return trace_refuse(parser, "control byte \\x%02x in FILE", (uint8_t)*end);
    }
    if (colon == NULL || colon == file)
        return trace_refuse(parser, "missing field FILE:LINE");
    if ((size_t)(colon - file) > TRACE_FILE_MAX)
        return trace_refuse(parser, "FILE is longer than %d bytes", TRACE_FILE_MAX);
    event->has |= TRACE_HAS_SITE;
    event->site = trace_intern_name(parser, file, (size_t)(colon - file));
    if (event->site == TRACE_NO_SLOT)
        return NULL;
    return parse_number(parser, colon + 1, "LINE", UINT32_MAX, &event->site_line);
}

static const char *parse_event(struct trace_parser *parser, const char *at, unsigned kind) {
    struct trace *trace = parser->trace;
    const struct trace_shape *shape = &trace_shapes[kind];
    struct trace_event *events = trace_grow(trace->events, &parser->events_capacity,
                                            trace->event_count + 1, sizeof(*events));
    if (events == NULL)
        return trace_refuse(parser, "out of memory");
    trace->events = events;
    struct trace_event *event = &events[trace->event_count];
    *event = (struct trace_event){
        .kind = (uint8_t)kind, .line_number = parser->line_number, .slot = TRACE_NO_SLOT};
    for (unsigned i = 0; i < TRACE_FIELDS_MAX && shape->fields[i] != TRACE_FIELD_NONE; ++i) {
        at = parse_field(parser, at, shape->fields[i], event);
        if (at == NULL)
            return NULL;
    }
    if (*at == '=' && shape->result && (at = parse_result(parser, at, event)) == NULL)
        return NULL;
    if (*at == '@' && (at = parse_site(parser, at, event)) == NULL)
        return NULL;
    ++trace->event_count;
    return at;
}

static unsigned find_keyword(const char *word, size_t length) {
    unsigned kind = 0;
    while (kind < TRACE_EVENT_KINDS &&
           !trace_word_is(word, length, trace_keywords[kind].text, trace_keywords[kind].length))
        ++kind;
    return kind;
}

/* A line that is neither an event nor a region: `word` is its first. */
static const char *parse_other(struct trace_parser *parser, const char *word, size_t length,
                               const char *at) {
    if (!trace_word_is(word, length, "config", strlen("config")))
        return trace_refuse(parser, "unknown event \"%s\"", trace_quote(word, length).text);
    if (parser->section != TRACE_SECTION_CONFIG)
        return trace_refuse(parser,
                            "config must come once, before the first region and the first event");
    parser->section = TRACE_SECTION_BODY;
    return trace_parse_config(parser, at);
}

/* A line with something on it; `at` is at its first word. */
static const char *parse_statement(struct trace_parser *parser, const char *word) {
    const char *end = trace_skip_word(word);
    const size_t length = (size_t)(end - word);
    const char *at = trace_skip_blanks(end);
    const unsigned kind = find_keyword(word, length);
    if (kind != TRACE_EVENT_KINDS) {
        if (parser->trace->region_count == 0)
            return trace_refuse(parser, "%s: no region line stands before the first event",
                                trace_keywords[kind].text);
        return parse_event(parser, at, kind);
    }
    if (!trace_word_is(word, length, "region", strlen("region")))
        return parse_other(parser, word, length, at);
    if (parser->trace->event_count != 0)
        return trace_refuse(parser, "region must come before the first event");
    parser->section = TRACE_SECTION_BODY;
    return trace_parse_region(parser, at);
}

static const char *parse_first_line(struct trace_parser *parser, const char *line,
                                    const char *word) {
    const char *end = trace_skip_word(word);
    if (!trace_word_is(word, (size_t)(end - word), "wmtrace", strlen("wmtrace")))
        return trace_refuse_first(parser, line,
                                  (size_t)((const char *)rawmemchr(line, '\n') - line));
    parser->section = TRACE_SECTION_CONFIG;
    return trace_parse_first(parser, trace_skip_blanks(end));
}

static const char *parse_line(struct trace_parser *parser, const char *line) {
    const char *at = trace_skip_blanks(line);
    if (parser->section == TRACE_SECTION_START)
        at = parse_first_line(parser, line, at);
    else if (trace_at_end(at))
        return parse_comment(parser, at, false);
    else
        at = parse_statement(parser, at);
    return at == NULL ? NULL : parse_line_end(parser, at);
}

bool trace_parse_lines(struct trace_parser *parser, const char *text, const char *end) {
    while (text < end) {
        const char *next = parse_line(parser, text);
        if (next == NULL || next - text > TRACE_LINE_MAX + 1) {
            if (parser->section != TRACE_SECTION_START)
                trace_refuse_line(parser, text, end);
            return false;
        }
        ++parser->line_number;
        text = next;
    }
    return true;
}

bool trace_parse_end(struct trace_parser *parser, const char *rest, size_t rest_length) {
    if (rest_length != 0) {
        const size_t shown = rest_length < strlen("wmtrace") ? rest_length : strlen("wmtrace");
        if (parser->section == TRACE_SECTION_START && memcmp(rest, "wmtrace", shown) != 0)
            return trace_refuse_first(parser, rest, rest_length) != NULL;
        trace_refuse(parser, "truncated: the last line does not end with a newline");
        trace_refuse_line(parser, rest, rest + rest_length);
        return false;
    }
    if (parser->section == TRACE_SECTION_START)
        return trace_refuse(parser, "the file is empty: expected `wmtrace %d`", TRACE_VERSION) !=
               NULL;
    if (parser->trace->region_count == 0) {
        --parser->line_number;
        return trace_refuse(parser, "truncated: no region line up to the file's end") != NULL;
    }
    return true;
}
