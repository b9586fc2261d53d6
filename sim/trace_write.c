/* SPDX-License-Identifier: Apache-2.0
 *
 * The canonical form of a trace: one blank between fields, decimal sizes, addresses of
 * eight digits, names where there are names. Reading it back gives the same trace, and
 * writing that gives the same bytes.
 */
#include "trace_internal.h"

#include <string.h>

/* Text that is cut where the room ends; always NUL-terminated. */
struct text {
    char *bytes;
    size_t size; /* with the NUL */
    size_t length;
};

static void text_begin(struct text *out, char *bytes, size_t size) {
    out->bytes = bytes;
    out->size = size;
    out->length = 0;
    bytes[0] = '\0';
}

static void put_bytes(struct text *out, const char *bytes, size_t length) {
    const size_t room = out->size - 1 - out->length;
    const size_t fitting = length < room ? length : room;
    memcpy(out->bytes + out->length, bytes, fitting);
    out->length += fitting;
    out->bytes[out->length] = '\0';
}

static void put_string(struct text *out, const char *string) {
    put_bytes(out, string, strlen(string));
}

static void put_decimal(struct text *out, uint32_t number) {
    char digits[10];
    size_t first = sizeof(digits);
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    put_bytes(out, digits + first, sizeof(digits) - first);
}

static void put_hex(struct text *out, uint32_t number, unsigned digits) {
    char text[10] = "0x";
    for (unsigned i = 0; i < digits; ++i)
        text[2 + i] = "0123456789abcdef"[number >> 4 * (digits - 1 - i) & 15u];
    put_bytes(out, text, 2 + digits);
}

static void put_caps(struct text *out, uint32_t caps) {
    const char *separator = "";
    for (unsigned i = 0; i < TRACE_CAPS_NAMED; ++i) {
        if ((caps & trace_caps[i].bit) == 0)
            continue;
        put_string(out, separator);
        put_bytes(out, trace_caps[i].name.text, trace_caps[i].name.length);
        separator = "|";
        caps &= ~trace_caps[i].bit;
    }
    if (caps != 0) {
        unsigned digits = 1;
        while (digits < 8 && caps >> 4 * digits != 0)
            ++digits;
        put_string(out, separator);
        put_hex(out, caps, digits);
    } else if (*separator == '\0') {
        put_string(out, "0");
    }
}

void trace_format_caps(uint32_t caps, char *text, size_t size) {
    if (size == 0)
        return;
    struct text out;
    text_begin(&out, text, size);
    put_caps(&out, caps);
}

static void put_number(struct text *out, const struct trace_event *event, unsigned field) {
    const struct trace_number_field *number = &trace_number_fields[field];
    uint32_t value = 0;
    memcpy(&value, (const char *)event + number->offset, sizeof(value));
    if (number->style == TRACE_STYLE_DECIMAL)
        put_decimal(out, value);
    else
        put_hex(out, value, number->style == TRACE_STYLE_HEX_BYTE ? 2 : 8);
}

static void put_offset(struct text *out, uint32_t bits) {
    if ((bits & 0x80000000u) != 0) {
        put_string(out, "-");
        bits = 0u - bits;
    }
    put_decimal(out, bits);
}

static void put_keys(struct text *out, const struct trace *trace, const struct trace_event *event) {
    if ((event->has & TRACE_HAS_FREE) != 0) {
        put_string(out, " free=");
        put_decimal(out, event->size);
    }
    if ((event->has & TRACE_HAS_MIN_FREE) != 0) {
        put_string(out, " min_free=");
        put_decimal(out, event->caps);
    }
    if ((event->has & TRACE_HAS_FAULT) != 0) {
        put_string(out, " fault=");
        put_string(out, trace->names[event->extra]);
    }
}

static void put_transfer(struct text *out, const struct trace_event *event) {
    if ((event->has & TRACE_HAS_STOP) != 0) {
        put_string(out, " stop");
        return;
    }
    put_string(out, " ");
    put_hex(out, event->caps, 8);
    put_string(out, " ");
    put_decimal(out, event->size);
}

/* A field with the blank before it; an optional one that is absent is nothing at all. */
static void put_field(struct text *out, const struct trace *trace, const struct trace_event *event,
                      unsigned field) {
    switch (field) {
    case TRACE_FIELD_KEYS:
        put_keys(out, trace, event);
        return;
    case TRACE_FIELD_TRANSFER:
        put_transfer(out, event);
        return;
    case TRACE_FIELD_ON:
        put_string(out, (event->has & TRACE_HAS_ON) != 0 ? " on" : "");
        return;
    case TRACE_FIELD_REGION:
        if (event->extra == TRACE_NO_SLOT)
            return;
        break;
    default:
        break;
    }
    put_string(out, " ");
    switch (field) {
    case TRACE_FIELD_ID:
        put_decimal(out, trace->ids[event->slot]);
        break;
    case TRACE_FIELD_CAPS:
        put_caps(out, event->caps);
        break;
    case TRACE_FIELD_OFFSET:
        put_offset(out, event->caps);
        break;
    case TRACE_FIELD_NAME:
    case TRACE_FIELD_REGION:
        put_string(out, trace->names[event->extra]);
        break;
    case TRACE_FIELD_MASTER:
        put_string(out, trace_dma_names[event->extra]);
        break;
    default:
        put_number(out, event, field);
        break;
    }
}

/* A file's name can come from anywhere, not only from the reader: what a reader would
 * refuse or take for something else becomes a question mark. */
static void put_file(struct text *out, const char *file) {
    const size_t length = strlen(file);
    /* The end of a path tells more than its beginning. */
    const char *at = length > TRACE_FILE_MAX ? file + length - TRACE_FILE_MAX : file;
    if (*at == '\0' || *at == ' ' || *at == '\t') {
        put_string(out, "?");
        at += *at != '\0';
    }
    for (; *at != '\0'; ++at) {
        const bool bad = *at == '#' || (trace_class(*at) & TRACE_CLASS_CONTROL) != 0;
        put_bytes(out, bad ? "?" : at, 1);
    }
}

static void put_event(struct text *out, const struct trace *trace,
                      const struct trace_event *event) {
    const struct trace_shape *shape = &trace_shapes[event->kind];
    put_bytes(out, trace_keywords[event->kind].text, trace_keywords[event->kind].length);
    for (unsigned i = 0; i < TRACE_FIELDS_MAX && shape->fields[i] != TRACE_FIELD_NONE; ++i)
        put_field(out, trace, event, shape->fields[i]);
    if (shape->result && (event->has & TRACE_HAS_ADDRESS) != 0) {
        put_string(out, " = ");
        put_hex(out, event->address, 8);
    }
    if ((event->has & TRACE_HAS_SITE) != 0) {
        put_string(out, " @ ");
        put_file(out, trace->names[event->site]);
        put_string(out, ":");
        put_decimal(out, event->site_line);
    }
}

void trace_format_event(const struct trace *trace, const struct trace_event *event, char *text,
                        size_t size) {
    if (size == 0)
        return;
    struct text out;
    text_begin(&out, text, size);
    put_event(&out, trace, event);
}

static void put_config(struct text *out, const struct trace_config *config) {
    put_string(out, "config");
    for (unsigned key = 0; key < TRACE_CONFIG_KEYS; ++key) {
        /* The format's own keys are always written, ours only if it says something. */
        const unsigned value = trace_config_get(config, key);
        if (key >= 2 && value == trace_config_get(&trace_config_default, key))
            continue;
        put_string(out, " ");
        put_string(out, trace_config_keys[key].name);
        put_string(out, "=");
        put_string(out, trace_config_keys[key].values[value]);
    }
}

static void put_region(struct text *out, const struct trace_region *region) {
    put_string(out, "region ");
    put_string(out, region->name);
    put_string(out, " ");
    put_hex(out, region->start, 8);
    put_string(out, " ");
    put_hex(out, region->end, 8);
    put_string(out, " ");
    put_caps(out, region->caps);
    put_string(out, region->deferred ? " deferred" : "");
}

/* The line that stands at a place, see struct trace_comment. */
static void put_place(struct text *out, const struct trace *trace, uint64_t place) {
    if (place == 0) {
        put_string(out, "wmtrace ");
        put_decimal(out, TRACE_VERSION);
    } else if (place == 1) {
        put_config(out, &trace->config);
    } else if (place < 2 + (uint64_t)trace->region_count) {
        put_region(out, &trace->regions[place - 2]);
    } else {
        put_event(out, trace, &trace->events[place - 2 - trace->region_count]);
    }
}

/* The comment lines before the line of this place. A comment that stood behind a line
 * which is no longer there becomes a line of its own. Returns the next comment. */
static size_t write_comments_before(const struct trace *trace, size_t next, uint64_t place,
                                    FILE *out) {
    for (; next < trace->comment_count; ++next) {
        const struct trace_comment *comment = &trace->comments[next];
        if (comment->place > place || (comment->place == place && comment->behind))
            break;
        fwrite(trace->comment_text + comment->offset, 1, comment->length, out);
        if (comment->behind)
            fputc('\n', out);
    }
    return next;
}

static size_t write_comment_behind(const struct trace *trace, size_t next, uint64_t place,
                                   FILE *out) {
    if (next == trace->comment_count || trace->comments[next].place != place ||
        !trace->comments[next].behind)
        return next;
    fputc(' ', out);
    fwrite(trace->comment_text + trace->comments[next].offset, 1, trace->comments[next].length,
           out);
    return next + 1;
}

bool trace_write(const struct trace *trace, FILE *out) {
    const uint64_t places = 2 + (uint64_t)trace->region_count + trace->event_count;
    char line[TRACE_LINE_MAX + 1];
    size_t comment = 0;
    for (uint64_t place = 0; place < places; ++place) {
        struct text text;
        text_begin(&text, line, sizeof(line));
        put_place(&text, trace, place);
        comment = write_comments_before(trace, comment, place, out);
        fwrite(line, 1, text.length, out);
        comment = write_comment_behind(trace, comment, place, out);
        fputc('\n', out);
    }
    write_comments_before(trace, comment, UINT64_MAX, out);
    return fflush(out) == 0 && ferror(out) == 0;
}
