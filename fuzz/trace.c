/* SPDX-License-Identifier: Apache-2.0
 *
 * The text trace: any bytes are a trace or are refused in one line, and a trace that was read is
 * what its canonical text says. The input is the file.
 */
#include "../sim/trace.h"

#include <string.h>

#include "fuzz.h"
#include "outcome.h"

const char fuzz_name[] = "trace";

/* A reader's names are a writer's: byte for byte. */
static void check_names(const struct trace *trace) {
    for (uint32_t i = 0; i < trace->name_count; i++) {
        const char *name = trace->names[i];
        const size_t length = strnlen(name, TRACE_FILE_MAX + 1u);
        FUZZ_CHECK(length > 0 && length <= TRACE_FILE_MAX && name[0] != ' ' && name[0] != '\t' &&
                       strchr(name, '#') == NULL,
                   "\"%.1024s\" was read as a name", name);
    }
}

/* An event's line never leaves its room, and is cut, not changed, where it has too little. */
static void check_lines(const struct trace *trace) {
    char whole[TRACE_LINE_MAX];
    char cut[24];
    for (size_t i = 0; i < trace->event_count; i++) {
        trace_format_event(trace, &trace->events[i], whole, sizeof whole);
        trace_format_event(trace, &trace->events[i], cut, sizeof cut);
        FUZZ_CHECK(strnlen(cut, sizeof cut) < sizeof cut &&
                       strncmp(whole, cut, sizeof cut - 1) == 0,
                   "event %zu is \"%s\", and in little room \"%s\"", i, whole, cut);
    }
}

int fuzz_one(const uint8_t *data, size_t size) {
    struct trace trace;
    struct trace_error error = {""};
    if (!trace_read_memory(&trace, (const char *)data, size, "input", &error)) {
        outcome_check_reason(error.text);
        FUZZ_CHECK(strncmp(error.text, "input", 5) == 0, "a reason that names no file: %s",
                   error.text);
        FUZZ_CHECK(trace.event_count == 0 && trace.events == NULL && trace.names == NULL &&
                       trace.comments == NULL && trace.region_count == 0,
                   "a refused trace is not empty");
        return 0;
    }
    outcome_check_trace(&trace);
    check_names(&trace);
    check_lines(&trace);
    trace_free(&trace);
    return 0;
}
