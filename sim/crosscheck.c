/* SPDX-License-Identifier: Apache-2.0
 *
 * The cross-check: a run on each side, a comparison of what they wrote, and if that differs a
 * search for the first operation after which anything does, memory included: the digests of
 * one event see what the call should have written, not what it wrote elsewhere.
 */
#include "crosscheck.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crosscheck_internal.h"

/* --- the host's side -------------------------------------------------------------------------- */

/* One run on the simulated machine. */
struct host {
    const struct crosscheck_input *input;
    const struct crosscheck_header *header;
    struct crosscheck_output *output;
    struct crosscheck_run run;
    bool finished;
};

static void host_emit(void *context, const void *bytes, uint32_t count) {
    struct crosscheck_output *output = ((struct host *)context)->output;
    if (count <= output->room - output->count) { /* always: the room is what a run needs */
        memcpy(output->bytes + output->count, bytes, count);
        output->count += count;
    }
}

static const char *host_site(void *context, uint32_t handle) {
    return ((struct host *)context)->input->names[handle - 1u];
}

static void host_event(void *context, const struct w800_event *event) {
    struct host *host = context;
    if (event->kind == W800_EVENT_HEAP_FAULT) {
        crosscheck_saw_fault(&host->run, &event->fault);
        return;
    }
    snprintf(host->output->end, sizeof host->output->end, "%s at 0x%08" PRIx32,
             w800_event_name(event->kind), event->address);
}

static void host_print(void *context, const char *text, size_t length) {
    struct host *host = context;
    crosscheck_saw_text(&host->run, text, (uint32_t)length);
}

static void host_body(void *context) {
    struct host *host = context;
    crosscheck_begin(&host->run);
    for (uint32_t i = 0; i < host->header->op_count; i++) {
        crosscheck_step(&host->run, &host->input->ops[i]);
    }
    crosscheck_end(&host->run);
    host->finished = true;
}

bool crosscheck_run_host(const struct crosscheck_input *input, uint32_t op_count, uint32_t interval,
                         struct crosscheck_output *output, struct trace_error *error) {
    struct crosscheck_header header = *input->header;
    header.op_count = op_count;
    header.interval = interval;
    struct host host = {.input = input, .header = &header, .output = output};
    host.run = (struct crosscheck_run){
        .build = input->config.build,
        .header = &header,
        .slots = calloc(header.slot_count, sizeof *host.run.slots),
        .site = host_site,
        .text = host_site,
        .emit = host_emit,
        .context = &host,
    };
    output->count = 0;
    output->end[0] = '\0';
    struct w800_error reason = {"out of memory"};
    if (host.run.slots == NULL || !w800_start(&input->config, &reason)) {
        snprintf(error->text, sizeof error->text, "%.*s", (int)sizeof reason.text - 1, reason.text);
        free(host.run.slots);
        return false;
    }
    for (uint32_t i = 0; i < header.name_count; i++) {
        (void)wm_heap_port_site(input->names[i]);
    }
    w800_on_event(host_event, &host);
    w800_on_print(host_print, &host);
    w800_guard(host_body, &host);
    w800_on_event(NULL, NULL);
    w800_on_print(NULL, NULL);
    free(host.run.slots);
    return true;
}

/* --- comparison ------------------------------------------------------------------------------- */

struct crosscheck_parts crosscheck_parts(const struct crosscheck_input *input, size_t count) {
    struct crosscheck_parts parts = {.end = count};
    parts.reports = parts.end - sizeof(struct crosscheck_reports);
    parts.state = parts.reports - crosscheck_state_bytes();
    parts.psram = parts.state - input->header->psram_bytes;
    parts.onchip = parts.psram - CROSSCHECK_ONCHIP_BYTES;
    return parts;
}

/* What lies behind the counts of a report is left from earlier events. */
static bool reports_equal(const uint8_t *host, const uint8_t *csky) {
    return memcmp(host, csky, offsetof(struct crosscheck_reports, faults)) == 0;
}

static bool outputs_equal(const struct crosscheck_output *host,
                          const struct crosscheck_output *csky) {
    size_t reports = sizeof(struct crosscheck_reports);
    return host->end[0] == '\0' && csky->end[0] == '\0' && host->count == csky->count &&
           memcmp(host->bytes, csky->bytes, host->count - reports) == 0 &&
           reports_equal(host->bytes + host->count - reports, csky->bytes + host->count - reports);
}

/* What all runs of one trace share. */
struct session {
    const struct crosscheck_options *options;
    struct crosscheck_input input;
    char *program;
    struct crosscheck_output host;
    struct crosscheck_output csky;
};

static bool output_reserve(struct crosscheck_output *output,
                           const struct crosscheck_header *header) {
    size_t records = 8u + header->op_count + header->op_count / header->interval;
    output->room = records * sizeof(struct crosscheck_record) + CROSSCHECK_ONCHIP_BYTES +
                   header->psram_bytes + crosscheck_state_bytes() +
                   sizeof(struct crosscheck_reports);
    output->bytes = malloc(output->room);
    return output->bytes != NULL;
}

/* Runs both sides up to an operation. Sets *equal. */
static bool session_run(struct session *session, uint32_t op_count, uint32_t interval, bool *equal,
                        struct trace_error *error) {
    if (!crosscheck_run_host(&session->input, op_count, interval, &session->host, error)) {
        return false;
    }
    if (!crosscheck_run_csky(&session->input, op_count, interval, session->options,
                             session->program, &session->csky, error)) {
        w800_stop();
        return false;
    }
    *equal = outputs_equal(&session->host, &session->csky);
    return true;
}

/* From a run that differed: the operations after which the two were equal for certain (0: not
 * even that), and those after which they were not. */
static void narrow(const struct session *session, uint32_t *equal, uint32_t *different) {
    size_t shorter =
        session->host.count < session->csky.count ? session->host.count : session->csky.count;
    const struct crosscheck_record *host = (const void *)session->host.bytes;
    const struct crosscheck_record *csky = (const void *)session->csky.bytes;
    uint32_t done = 0;
    for (size_t i = 0; (i + 1) * sizeof *host <= shorter; i++) {
        bool same = memcmp(&host[i], &csky[i], sizeof *host) == 0;
        done = host[i].tag == CROSSCHECK_EVENT ? host[i].event : done;
        if (!same) {
            *different = done;
            return;
        }
        if (host[i].tag == CROSSCHECK_CHECKPOINT) {
            *equal = done;
        } else if (host[i].tag == CROSSCHECK_END) {
            *equal = 0; /* memory differs where no digest looks: at any time */
            *different = done;
            return;
        }
    }
    if (done < *different) {
        *different = done + 1u; /* one side ended in it */
    }
}

/* Runs up to an operation and keeps what is known about the first difference. */
static bool try_at(struct session *session, uint32_t op_count, uint32_t *equal, uint32_t *different,
                   struct trace_error *error) {
    bool same;
    if (!session_run(session, op_count, session->input.header->op_count + 1u, &same, error)) {
        return false;
    }
    *(same ? equal : different) = op_count;
    return true;
}

/* Finds the first operation after which the two differ, and leaves both outputs as they are
 * then. Most often it is the one whose record differs; else something went wrong before it
 * where its digests do not look, and the runs' ends, which compare all of the memory, tell
 * where. `low` is equal for certain only once it was tried. */
static bool search(struct session *session, uint32_t *first, struct trace_error *error) {
    uint32_t low = 0;
    uint32_t high = session->input.header->op_count;
    narrow(session, &low, &high);
    uint32_t checkpoint = low;
    if (high > 0 && !try_at(session, high - 1u, &low, &high, error)) {
        return false;
    }
    if (low == checkpoint && high > low && !try_at(session, low, &low, &high, error)) {
        return false;
    }
    if (high <= low) { /* not even equal there */
        low = 0;
        if (!try_at(session, 0, &low, &high, error)) {
            return false;
        }
    }
    while (high > low && high - low > 1u) {
        if (!try_at(session, low + (high - low) / 2u, &low, &high, error)) {
            return false;
        }
    }
    *first = high;
    uint32_t ignored;
    return try_at(session, high, &ignored, &ignored, error);
}

/* Is it the program of this build, made of these sources, and does it run at all? */
static bool programs_match(const struct session *session, struct trace_error *error) {
    const struct crosscheck_output *csky = &session->csky;
    size_t hello = sizeof(struct crosscheck_record);
    if (csky->count < hello) {
        snprintf(error->text, sizeof error->text, "%.200s does not begin: %.200s", session->program,
                 csky->end);
        return false;
    }
    if (memcmp(csky->bytes, session->host.bytes, hello) != 0) {
        snprintf(error->text, sizeof error->text,
                 "%.300s is of another build or version: build it anew", session->program);
        return false;
    }
    return true;
}

static bool session_compare(struct session *session, struct crosscheck_result *result,
                            struct trace_error *error) {
    const struct crosscheck_header *header = session->input.header;
    uint32_t first;
    if (!output_reserve(&session->host, header) || !output_reserve(&session->csky, header)) {
        snprintf(error->text, sizeof error->text, "out of memory");
        return false;
    }
    if (!session_run(session, header->op_count, header->interval, &result->equal, error)) {
        return false;
    }
    result->events = header->op_count;
    if (result->equal) {
        return true;
    }
    if (!programs_match(session, error) || !search(session, &first, error)) {
        return false;
    }
    result->event = first;
    result->events = first;
    crosscheck_explain(&session->input, session->options->build, &session->host, &session->csky,
                       result);
    return true;
}

bool crosscheck_trace(const struct trace *trace, const struct crosscheck_options *options,
                      struct crosscheck_result *result, struct trace_error *error) {
    struct session session = {.options = options};
    *result = (struct crosscheck_result){.equal = false};
    if (!crosscheck_input_make(&session.input, trace, options->build, options->stop_at, error)) {
        return false;
    }
    bool ran = asprintf(&session.program, "%s/crosscheck-%s", options->programs,
                        options->build->name) > 0 &&
               session_compare(&session, result, error);
    w800_stop();
    free(session.program);
    free(session.host.bytes);
    free(session.csky.bytes);
    crosscheck_input_free(&session.input);
    return ran;
}

void crosscheck_result_free(struct crosscheck_result *result) {
    free(result->text);
    *result = (struct crosscheck_result){0};
}
