/* SPDX-License-Identifier: Apache-2.0 */
#include "outcome.h"

#include <stdlib.h>
#include <string.h>

#include "../sim/convert.h"
#include "fuzz.h"

#define REASON_MAX 1024u

FILE *outcome_open(const uint8_t *data, size_t size) {
    /* opened for reading, it is not written to */
    FILE *file = fmemopen((void *)(uintptr_t)data, size, "r");
    FUZZ_CHECK(file != NULL, "no memory for a stream of %zu bytes", size);
    return file;
}

void outcome_check_reason(const char *reason) {
    size_t length = strnlen(reason, REASON_MAX);
    FUZZ_CHECK(length > 0, "refused without a reason");
    FUZZ_CHECK(length < REASON_MAX, "the reason does not end");
    FUZZ_CHECK(memchr(reason, '\n', length) == NULL, "the reason is more than one line: %s",
               reason);
}

/* --- traces ----------------------------------------------------------------------------------- */

struct text {
    char *bytes;
    size_t length;
};

static struct text text_of(const struct trace *trace) {
    struct text text = {0};
    FILE *out = open_memstream(&text.bytes, &text.length);
    FUZZ_CHECK(out != NULL, "no memory for a trace's text");
    FUZZ_CHECK(trace_write(trace, out), "a trace cannot be written");
    fclose(out);
    return text;
}

static const char *name_of(const struct trace *trace, uint32_t index) {
    FUZZ_CHECK(index < trace->name_count, "name %u of %u", index, trace->name_count);
    return trace->names[index];
}

static bool has_name(const struct trace_event *event) {
    return event->kind == TRACE_APPEND ||
           (event->kind == TRACE_CHECK && event->extra != TRACE_NO_SLOT) ||
           (event->kind == TRACE_EXPECT && (event->has & TRACE_HAS_FAULT) != 0);
}

/* What a FILE of any bytes is once it was written: its end, with question marks for what a trace
 * cannot hold. */
static bool same_file(const char *given, const char *read) {
    const size_t length = strlen(given);
    given += length > TRACE_FILE_MAX ? length - TRACE_FILE_MAX : 0;
    if (*given == '\0') {
        return strcmp(read, "?") == 0;
    }
    for (; *given != '\0' && (*read == *given || *read == '?'); given++) {
        read++;
    }
    return *given == '\0' && *read == '\0';
}

/* Names and IDs may have other numbers: what counts is what they stand for. */
static void check_event(const struct trace *one, const struct trace *other, size_t index) {
    const struct trace_event *a = &one->events[index];
    const struct trace_event *b = &other->events[index];
    FUZZ_CHECK(a->kind == b->kind && a->has == b->has && a->size == b->size && a->caps == b->caps &&
                   a->address == b->address && a->site_line == b->site_line,
               "event %zu is written and read otherwise", index);
    FUZZ_CHECK((a->slot == TRACE_NO_SLOT) == (b->slot == TRACE_NO_SLOT),
               "event %zu has an ID before or after only", index);
    if (a->slot != TRACE_NO_SLOT) {
        FUZZ_CHECK(a->slot < one->id_count && b->slot < other->id_count &&
                       one->ids[a->slot] == other->ids[b->slot],
                   "event %zu has another ID", index);
    }
    if ((a->has & TRACE_HAS_SITE) != 0) {
        FUZZ_CHECK(same_file(name_of(one, a->site), name_of(other, b->site)),
                   "event %zu has another call site: \"%s\", not \"%s\"", index,
                   name_of(other, b->site), name_of(one, a->site));
    }
    if (has_name(a)) {
        FUZZ_CHECK(strcmp(name_of(one, a->extra), name_of(other, b->extra)) == 0,
                   "event %zu has another name", index);
    } else {
        FUZZ_CHECK(a->extra == b->extra, "event %zu has another number", index);
    }
}

/* The comments' bytes, one after the other: neighbours become one when they are read. */
struct reader {
    const struct trace *trace;
    size_t comment;
    uint32_t at;
};

static const struct trace_comment *next_byte(struct reader *reader, char *byte) {
    const struct trace *trace = reader->trace;
    while (reader->comment < trace->comment_count &&
           reader->at == trace->comments[reader->comment].length) {
        reader->comment++;
        reader->at = 0;
    }
    if (reader->comment == trace->comment_count) {
        return NULL;
    }
    const struct trace_comment *comment = &trace->comments[reader->comment];
    *byte = trace->comment_text[comment->offset + reader->at++];
    return comment;
}

static void check_comments(const struct trace *one, const struct trace *other) {
    struct reader left = {.trace = one};
    struct reader right = {.trace = other};
    const struct trace_comment *a;
    const struct trace_comment *b;
    do {
        char byte_a = 0;
        char byte_b = 0;
        a = next_byte(&left, &byte_a);
        b = next_byte(&right, &byte_b);
        FUZZ_CHECK((a == NULL) == (b == NULL) && byte_a == byte_b &&
                       (a == NULL || (a->place == b->place && a->behind == b->behind)),
                   "comment %zu is written and read otherwise", left.comment);
    } while (a != NULL);
}

static void check_same(const struct trace *one, const struct trace *other) {
    FUZZ_CHECK(one->config.tracing == other->config.tracing &&
                   one->config.poisoning == other->config.poisoning &&
                   one->config.realloc_in_place == other->config.realloc_in_place,
               "the configuration is written and read otherwise");
    FUZZ_CHECK(one->region_count == other->region_count, "%u regions become %u", one->region_count,
               other->region_count);
    for (uint32_t i = 0; i < one->region_count; i++) {
        const struct trace_region *a = &one->regions[i];
        const struct trace_region *b = &other->regions[i];
        FUZZ_CHECK(strcmp(a->name, b->name) == 0 && a->start == b->start && a->end == b->end &&
                       a->caps == b->caps && a->deferred == b->deferred,
                   "region %u is written and read otherwise", i);
    }
    FUZZ_CHECK(one->event_count == other->event_count, "%zu events become %zu", one->event_count,
               other->event_count);
    for (size_t i = 0; i < one->event_count; i++) {
        check_event(one, other, i);
    }
    check_comments(one, other);
}

void outcome_check_trace(const struct trace *trace) {
    struct trace_error error = {""};
    struct trace back;
    struct text text = text_of(trace);
    FUZZ_CHECK(trace_read_memory(&back, text.bytes, text.length, "written", &error),
               "what was written is refused: %s", error.text);
    check_same(trace, &back);
    struct text again = text_of(&back);
    FUZZ_CHECK(text.length == again.length && memcmp(text.bytes, again.bytes, text.length) == 0,
               "written twice, the trace is two texts");
    trace_free(&back);
    free(text.bytes);
    free(again.bytes);
}

/* --- diagnoses -------------------------------------------------------------------------------- */

static void check_findings(const struct findings *findings) {
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];
        FUZZ_CHECK(finding->verdict < VERDICT_COUNT, "finding %zu has no verdict", i);
        FUZZ_CHECK(i == 0 || findings->list[i - 1].verdict <= finding->verdict,
                   "finding %zu is worse than the one before it", i);
        FUZZ_CHECK(strnlen(finding->site, sizeof finding->site) < sizeof finding->site,
                   "the site of finding %zu does not end", i);
        size_t length = finding->evidence != NULL ? strlen(finding->evidence) : 0;
        FUZZ_CHECK(length == 0 || finding->evidence[length - 1] == '\n',
                   "the evidence of finding %zu ends within a line", i);
    }
}

void outcome_check_diagnosis(struct diagnosis *diagnosis) {
    struct trace trace = {0};
    struct convert_report report = {0};
    char reason[REASON_MAX] = "";
    check_findings(&diagnosis->findings);
    FUZZ_CHECK(convert_restore_block(&diagnosis->image, &diagnosis->findings), "out of memory");
    if (convert_image(&diagnosis->image, &diagnosis->findings, &trace, &report, reason,
                      sizeof reason)) {
        outcome_check_trace(&trace);
    } else {
        outcome_check_reason(reason);
    }
    trace_free(&trace);
    diagnosis_free(diagnosis);
}

void outcome_check_boot(const struct recorder_boot *boot) {
    struct trace trace = {0};
    struct convert_report report = {0};
    char reason[REASON_MAX] = "";
    if (convert_recording(boot, NULL, &trace, &report, reason, sizeof reason)) {
        FUZZ_CHECK(report.events <= boot->event_count, "of %zu events %llu were converted",
                   boot->event_count, (unsigned long long)report.events);
        outcome_check_trace(&trace);
    } else {
        outcome_check_reason(reason);
    }
    trace_free(&trace);
}
