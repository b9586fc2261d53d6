/* SPDX-License-Identifier: Apache-2.0
 *
 * A trace grown event by event. Memory that runs short is noticed once, by the caller, at
 * the end.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "convert_internal.h"

static void *grown(struct convert *convert, void *array, size_t *room, size_t count, size_t item) {
    if (convert->failed || count < *room) {
        return array;
    }
    size_t more = *room == 0 ? 64 : *room * 2;
    void *bigger = more <= UINT32_MAX ? realloc(array, more * item) : NULL;
    if (bigger == NULL) {
        convert->failed = true;
        return array;
    }
    *room = more;
    return bigger;
}

void build_event(struct convert *convert, const struct trace_event *event) {
    struct trace *trace = convert->trace;
    trace->events = grown(convert, trace->events, &convert->event_room, trace->event_count,
                          sizeof *trace->events);
    if (!convert->failed) {
        trace->events[trace->event_count++] = *event;
    }
}

uint32_t build_slot(struct convert *convert) {
    struct trace *trace = convert->trace;
    size_t room = convert->id_room;
    trace->ids = grown(convert, trace->ids, &room, trace->id_count, sizeof *trace->ids);
    convert->id_room = (uint32_t)room;
    if (convert->failed) {
        return 0;
    }
    trace->ids[trace->id_count] = trace->id_count + 1;
    return trace->id_count++;
}

uint32_t build_name(struct convert *convert, const char *text) {
    struct trace *trace = convert->trace;
    size_t room = convert->name_room;
    trace->names = grown(convert, trace->names, &room, trace->name_count, sizeof *trace->names);
    convert->name_room = (uint32_t)room;
    char *copy = convert->failed ? NULL : strdup(text);
    if (copy == NULL) {
        convert->failed = true;
        return TRACE_NO_SLOT;
    }
    trace->names[trace->name_count] = copy;
    return trace->name_count++;
}

void build_comment(struct convert *convert, const char *format, ...) {
    struct trace *trace = convert->trace;
    char line[TRACE_COMMENT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line - 4, format, arguments);
    va_end(arguments);
    size_t length = strlen(line) + 3; /* "# ", newline */
    for (char *at = line; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            *at = '?';
        }
    }
    trace->comments = grown(convert, trace->comments, &convert->comment_room, trace->comment_count,
                            sizeof *trace->comments);
    while (!convert->failed && convert->comment_text_room < convert->comment_length + length) {
        trace->comment_text = grown(convert, trace->comment_text, &convert->comment_text_room,
                                    convert->comment_text_room, 1);
    }
    if (convert->failed) {
        return;
    }
    char *text = trace->comment_text + convert->comment_length;
    text[0] = '#';
    text[1] = ' ';
    memcpy(text + 2, line, length - 3);
    text[length - 1] = '\n';
    trace->comments[trace->comment_count++] = (struct trace_comment){
        .place = (uint32_t)(2 + trace->region_count + trace->event_count),
        .offset = (uint32_t)convert->comment_length,
        .length = (uint32_t)length,
    };
    convert->comment_length += length;
}

void build_bytes(struct convert *convert, uint32_t address, const uint8_t *bytes, uint32_t length) {
    for (uint32_t at = 0, run; at < length; at += run) {
        for (run = 1; at + run < length && bytes[at + run] == bytes[at]; run++) {
        }
        build_event(convert, &(struct trace_event){.kind = TRACE_WRITEADDR,
                                                   .slot = TRACE_NO_SLOT,
                                                   .caps = address + at,
                                                   .size = run,
                                                   .extra = bytes[at]});
    }
}
