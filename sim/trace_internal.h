/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the trace reader and writer share. The reader and the writer walk
 * the same table of event shapes, so that they cannot disagree about a line; the
 * parser is one struct, fed with whole lines, so that a file, a pipe and a buffer in
 * memory take the same way.
 *
 * The scanner never asks where the text ends: the parser is given complete lines only,
 * and every scanning loop stops at a newline at the latest. Looking one character
 * ahead is fine as long as the present one is not the newline.
 */
#ifndef TRACE_INTERNAL_H
#define TRACE_INTERNAL_H

#include "trace.h"

/* The fields of a line. The first block is plain numbers: kind, label, member of
 * struct trace_event, largest value, and how the writer shows it. */
#define TRACE_NUMBER_FIELDS(X)                                                                     \
    X(SIZE, "SIZE", size, UINT32_MAX, DECIMAL)                                                     \
    X(COUNT, "COUNT", extra, UINT32_MAX, DECIMAL)                                                  \
    X(ALIGNMENT, "ALIGNMENT", extra, UINT32_MAX, DECIMAL)                                          \
    X(ADDRESS, "ADDR", caps, UINT32_MAX, HEX_WORD)                                                 \
    X(LENGTH, "LENGTH", size, UINT32_MAX, DECIMAL)                                                 \
    X(BYTE, "BYTE", extra, UINT8_MAX, HEX_BYTE)                                                    \
    X(BIT, "BIT", extra, 7, DECIMAL)                                                               \
    X(NTH, "N", size, UINT32_MAX, DECIMAL)

enum trace_field_kind {
    TRACE_FIELD_NONE,
#define TRACE_ENUMERATOR(name, label, member, max, style) TRACE_FIELD_##name,
    TRACE_NUMBER_FIELDS(TRACE_ENUMERATOR)
#undef TRACE_ENUMERATOR
        TRACE_FIELD_NUMBERS,
    TRACE_FIELD_ID = TRACE_FIELD_NUMBERS,
    TRACE_FIELD_CAPS,
    TRACE_FIELD_OFFSET,   /* signed */
    TRACE_FIELD_NAME,     /* a word */
    TRACE_FIELD_REGION,   /* optional: a declared region */
    TRACE_FIELD_ON,       /* optional: the word `on` */
    TRACE_FIELD_MASTER,   /* DMA master */
    TRACE_FIELD_TRANSFER, /* `stop`, or ADDR LENGTH */
    TRACE_FIELD_KEYS      /* KEY=VALUE ... of expect */
};

enum trace_number_style { TRACE_STYLE_DECIMAL, TRACE_STYLE_HEX_WORD, TRACE_STYLE_HEX_BYTE };

struct trace_number_field {
    const char *label;
    uint32_t max;
    uint16_t offset; /* of the member in struct trace_event */
    uint16_t style;
};
extern const struct trace_number_field trace_number_fields[TRACE_FIELD_NUMBERS];

#define TRACE_FIELDS_MAX 4
struct trace_shape {
    uint8_t fields[TRACE_FIELDS_MAX]; /* enum trace_field_kind, TRACE_FIELD_NONE ends them */
    bool result;                      /* `= ADDR` may follow */
};
extern const struct trace_shape trace_shapes[TRACE_EVENT_KINDS];

struct trace_word {
    const char *text;
    uint32_t length;
};
extern const struct trace_word trace_keywords[TRACE_EVENT_KINDS];

#define TRACE_CAPS_NAMED 6
struct trace_cap {
    struct trace_word name;
    uint32_t bit;
};
extern const struct trace_cap trace_caps[TRACE_CAPS_NAMED]; /* by bit */

/* The chip's memories in the regions' index order. */
struct trace_memory {
    const char *name;
    uint32_t first; /* byte */
    uint32_t end;   /* first byte after it */
    bool deferrable;
};
extern const struct trace_memory trace_memories[TRACE_REGIONS_MAX];

#define TRACE_CONFIG_KEYS 3
#define TRACE_CONFIG_VALUES_MAX 3
struct trace_config_key {
    const char *name;
    const char *values[TRACE_CONFIG_VALUES_MAX]; /* NULL: no more */
};
extern const struct trace_config_key trace_config_keys[TRACE_CONFIG_KEYS];
extern const struct trace_config trace_config_default;

/* The index of the value that `config` has for a key. */
unsigned trace_config_get(const struct trace_config *config, unsigned key);

/* Sets what `setting` (length bytes) says and returns its key's index, or
 * TRACE_CONFIG_UNKNOWN_KEY or TRACE_CONFIG_UNKNOWN_VALUE. */
#define TRACE_CONFIG_UNKNOWN_KEY (-1)
#define TRACE_CONFIG_UNKNOWN_VALUE (-2)
int trace_config_parse(struct trace_config *config, const char *setting, size_t length);

/* ID -> slot. The IDs of the first `dense` slots count upwards and need no table: that is
 * all of them in a recorded trace. An entry is the ID below and the slot + 1 above; 0 is
 * empty. */
struct trace_id_table {
    uint32_t dense;
    uint64_t *entries;
    unsigned bits; /* log2 of the number of entries */
    uint32_t multiplier;
    uint32_t probes_max;
};

/* Text -> index of its name. An entry is the index + 1 below and the hash above. */
struct trace_name_table {
    uint64_t *entries;
    unsigned bits;
};

enum trace_section { TRACE_SECTION_START, TRACE_SECTION_CONFIG, TRACE_SECTION_BODY };

struct trace_parser {
    struct trace *trace;
    struct trace_error *error;
    const char *name;           /* of the file, for errors */
    uint32_t line_number;       /* of the line at hand, from 1 */
    enum trace_section section; /* what may come next: wmtrace; config; regions and events */
    uint32_t last_memory;       /* index + 1 of the last region in trace_memories */
    size_t events_capacity;
    size_t ids_capacity;
    size_t names_capacity;
    size_t comments_capacity;
    size_t comment_bytes;
    size_t comment_bytes_capacity;
    struct trace_id_table id_table;
    struct trace_name_table name_table;
};

/* trace_refuse.c: refusals. Each fills parser->error and returns NULL, which the parsing
 * functions pass on: they return where they stopped reading, or NULL. */
const char *trace_refuse(struct trace_parser *parser, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
const char *trace_refuse_number(struct trace_parser *parser, const char *at, const char *label,
                                uint32_t max);
/* The same for a file of which no line could be read. */
bool trace_refuse_file(struct trace_error *error, const char *name, const char *reason);
/* After a refusal of the line at `line`: if the line is too long or no text at all, that is
 * the better reason, and replaces the other. */
void trace_refuse_line(struct trace_parser *parser, const char *line, const char *end);

/* A piece of the file as it may be shown: printable, and cut if it is long. */
struct trace_quote {
    char text[56];
};
struct trace_quote trace_quote(const char *text, size_t length);
struct trace_quote trace_quote_word(const char *word);

/* trace_intern.c. Both return TRACE_NO_SLOT after a refusal (out of memory). */
uint32_t trace_intern_id(struct trace_parser *parser, uint32_t id);
uint32_t trace_intern_name(struct trace_parser *parser, const char *text, size_t length);
/* Room for `needed` items, or NULL: then the array is as it was. */
void *trace_grow(void *array, size_t *capacity, size_t needed, size_t item_bytes);

/* trace_header.c: the lines before the first event. `at` is behind the keyword. */
const char *trace_parse_first(struct trace_parser *parser, const char *at);
const char *trace_parse_config(struct trace_parser *parser, const char *at);
const char *trace_parse_region(struct trace_parser *parser, const char *at);
const char *trace_parse_caps(struct trace_parser *parser, const char *at, uint32_t *caps);
/* A first line that does not begin with `wmtrace`. */
const char *trace_refuse_first(struct trace_parser *parser, const char *line, size_t length);

/* trace_parse.c: whole lines, each with its newline. False after a refusal. */
bool trace_parse_lines(struct trace_parser *parser, const char *text, const char *end);
/* After the last line; `rest` is what follows the last newline. */
bool trace_parse_end(struct trace_parser *parser, const char *rest, size_t rest_length);

/* The scanner. */
#define TRACE_CLASS_BLANK 0x10u     /* between fields */
#define TRACE_CLASS_DELIMITER 0x20u /* ends a field: blank, end of line, comment */
#define TRACE_CLASS_CONTROL 0x40u   /* allowed nowhere; the return of \r\n excepted */
#define TRACE_CLASS_HEX 0x80u       /* digit, its value in the low 4 bits */
extern const uint8_t trace_classes[256];

static inline uint8_t trace_class(char c) { return trace_classes[(uint8_t)c]; }
static inline bool trace_is_delimiter(char c) {
    return (trace_class(c) & TRACE_CLASS_DELIMITER) != 0;
}
static inline const char *trace_skip_blanks(const char *at) {
    while ((trace_class(*at) & TRACE_CLASS_BLANK) != 0)
        ++at;
    return at;
}
static inline const char *trace_skip_word(const char *at) {
    while (!trace_is_delimiter(*at))
        ++at;
    return at;
}
/* True if no field follows. */
static inline bool trace_at_end(const char *at) { return *at == '\n' || *at == '\r' || *at == '#'; }
static inline bool trace_word_is(const char *word, size_t length, const char *text,
                                 size_t text_length) {
    return length == text_length && __builtin_memcmp(word, text, length) == 0;
}

/* A decimal or 0x number up to 2^32 - 1; NULL if there is none or it is larger. What
 * follows it is not looked at. */
static inline const char *trace_scan_number(const char *at, uint32_t *value) {
    uint64_t sum = 0;
    if (at[0] == '0' && at[1] == 'x') {
        at += 2;
        if ((trace_class(*at) & TRACE_CLASS_HEX) == 0)
            return NULL;
        for (uint8_t class; ((class = trace_class(*at)) & TRACE_CLASS_HEX) != 0; ++at) {
            sum = sum << 4 | (class & 15u);
            if (sum > UINT32_MAX)
                return NULL;
        }
    } else {
        unsigned digit = (unsigned)*at - '0';
        if (digit > 9)
            return NULL;
        do {
            sum = sum * 10 + digit;
            if (sum > UINT32_MAX)
                return NULL;
            ++at;
            digit = (unsigned)*at - '0';
        } while (digit <= 9);
    }
    *value = (uint32_t)sum;
    return at;
}

#endif
