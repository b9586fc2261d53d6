/* SPDX-License-Identifier: Apache-2.0
 *
 * The lines of a trace before its first event: which format this is, how the heap was
 * built, where its regions lie. Also the capability list, which events use too.
 */
#include "trace_internal.h"

#include <string.h>

const char *trace_refuse_first(struct trace_parser *parser, const char *line, size_t length) {
    if (length == 0 || trace_at_end(line))
        return trace_refuse(parser, "not a trace: expected `wmtrace %d`, but the first line %s",
                            TRACE_VERSION,
                            length != 0 && *line == '#' ? "is a comment" : "is empty");
    return trace_refuse(parser,
                        "not a trace: expected `wmtrace %d`, but the file starts with \"%s\"",
                        TRACE_VERSION, trace_quote(line, length).text);
}

const char *trace_parse_first(struct trace_parser *parser, const char *at) {
    if (trace_at_end(at))
        return trace_refuse(parser, "missing version: expected `wmtrace %d`", TRACE_VERSION);
    uint32_t version = 0;
    const char *after = trace_scan_number(at, &version);
    if (after == NULL || !trace_is_delimiter(*after) || version != TRACE_VERSION)
        return trace_refuse(parser, "this file is wmtrace %s; this program reads wmtrace %d",
                            trace_quote_word(at).text, TRACE_VERSION);
    return trace_skip_blanks(after);
}

const char *trace_parse_config(struct trace_parser *parser, const char *at) {
    if (trace_at_end(at))
        return trace_refuse(parser, "config: missing field KEY=VALUE");
    unsigned seen = 0;
    while (!trace_at_end(at)) {
        const char *end = trace_skip_word(at);
        const int key = trace_config_parse(&parser->trace->config, at, (size_t)(end - at));
        if (key < 0)
            return trace_refuse(parser, "config: unknown %s: \"%s\"",
                                key == TRACE_CONFIG_UNKNOWN_KEY ? "key" : "value",
                                trace_quote_word(at).text);
        if ((seen & 1u << key) != 0)
            return trace_refuse(parser, "config: %s is given twice", trace_config_keys[key].name);
        seen |= 1u << key;
        at = trace_skip_blanks(end);
    }
    return at;
}

/* One name or number of a list. */
static const char *parse_cap(struct trace_parser *parser, const char *at, uint32_t *bits) {
    const char *end = at;
    while (!trace_is_delimiter(*end) && *end != '|')
        ++end;
    const size_t length = (size_t)(end - at);
    for (unsigned i = 0; i < TRACE_CAPS_NAMED; ++i) {
        const struct trace_cap *cap = &trace_caps[i];
        if (trace_word_is(at, length, cap->name.text, cap->name.length)) {
            *bits = cap->bit;
            return end;
        }
    }
    if (length == 0)
        return trace_refuse(parser, "missing field CAPS, or a part of its list");
    if (trace_scan_number(at, bits) == end)
        return end;
    if (*at >= '0' && *at <= '9')
        return trace_refuse(parser, "CAPS is not a number up to 4294967295: \"%s\"",
                            trace_quote(at, length).text);
    return trace_refuse(parser, "unknown capability \"%s\"", trace_quote(at, length).text);
}

const char *trace_parse_caps(struct trace_parser *parser, const char *at, uint32_t *caps) {
    uint32_t all = 0;
    for (;;) {
        uint32_t bits = 0;
        at = parse_cap(parser, at, &bits);
        if (at == NULL)
            return NULL;
        all |= bits;
        if (*at != '|')
            break;
        ++at;
    }
    *caps = all;
    return trace_skip_blanks(at);
}

static const char *parse_bound(struct trace_parser *parser, const char *at, const char *label,
                               uint32_t *value) {
    const char *after = trace_scan_number(at, value);
    if (after == NULL || !trace_is_delimiter(*after))
        return trace_refuse_number(parser, at, label, UINT32_MAX);
    return trace_skip_blanks(after);
}

/* The row of trace_memories that a region line may name now, or NULL. */
static const struct trace_memory *find_memory(struct trace_parser *parser, const char *name,
                                              size_t length) {
    for (uint32_t i = 0; i < TRACE_REGIONS_MAX; ++i) {
        const struct trace_memory *memory = &trace_memories[i];
        if (!trace_word_is(name, length, memory->name, strlen(memory->name)))
            continue;
        if (i < parser->last_memory) {
            trace_refuse(parser, "region %s %s: the order is SRAM, DRAM, PSRAM", memory->name,
                         i + 1 == parser->last_memory ? "is given twice" : "comes too late");
            return NULL;
        }
        parser->last_memory = i + 1;
        return memory;
    }
    trace_refuse(parser, "unknown region \"%s\"", trace_quote(name, length).text);
    return NULL;
}

static bool check_bounds(struct trace_parser *parser, const struct trace_memory *memory,
                         const struct trace_region *region) {
    if (region->start < memory->first || region->start >= memory->end)
        trace_refuse(parser, "region %s: first byte 0x%08x is outside 0x%08x to 0x%08x",
                     memory->name, region->start, memory->first, memory->end - 1);
    else if (region->end > memory->end)
        trace_refuse(parser, "region %s: the byte after it, 0x%08x, is beyond 0x%08x", memory->name,
                     region->end, memory->end);
    else if (region->end <= region->start)
        trace_refuse(parser, "region %s: no byte from 0x%08x to before 0x%08x", memory->name,
                     region->start, region->end);
    else
        return true;
    return false;
}

const char *trace_parse_region(struct trace_parser *parser, const char *at) {
    if (trace_at_end(at))
        return trace_refuse(parser, "region: missing field NAME");
    const char *end = trace_skip_word(at);
    const struct trace_memory *memory = find_memory(parser, at, (size_t)(end - at));
    if (memory == NULL)
        return NULL;
    struct trace_region region = {.name = ""};
    memcpy(region.name, memory->name, strlen(memory->name));
    if ((at = parse_bound(parser, trace_skip_blanks(end), "first byte", &region.start)) == NULL ||
        (at = parse_bound(parser, at, "byte after the last", &region.end)) == NULL ||
        (at = trace_parse_caps(parser, at, &region.caps)) == NULL ||
        !check_bounds(parser, memory, &region))
        return NULL;
    end = trace_skip_word(at);
    if (trace_word_is(at, (size_t)(end - at), "deferred", strlen("deferred"))) {
        if (!memory->deferrable)
            return trace_refuse(parser, "region %s cannot be deferred, only PSRAM can",
                                memory->name);
        region.deferred = true;
        at = trace_skip_blanks(end);
    }
    parser->trace->regions[parser->trace->region_count++] = region;
    return at;
}
