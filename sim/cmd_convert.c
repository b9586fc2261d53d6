/* SPDX-License-Identifier: Apache-2.0
 *
 * `wmheap convert`: what came back from the field in, a trace out. What it is, is told from
 * its content: a recorder's lines, else what `wmheap diagnose` can read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "command.h"
#include "convert.h"
#include "diagnose.h"
#include "json.h"
#include "options.h"
#include "output.h"

struct arguments {
    const char *elf;
    bool json;
    bool has_base;
    uint32_t base;
    struct in_out files;
};

enum { OPTION_ELF = 256, OPTION_JSON, OPTION_BASE };

static const struct argp_option option_table[] = {
    {"elf", OPTION_ELF, "FIRMWARE", 0, "The firmware's ELF file: symbols, strings, lines", 0},
    {"base", OPTION_BASE, "ADDR", 0, "IN is raw memory that begins at this address", 0},
    {"json", OPTION_JSON, NULL, 0, "Say what became of it as one JSON object, on standard error",
     0},
    {0}};

static const char help_text[] =
    "Makes a trace, for `wmheap replay`, of what came back from a board: a console text with the "
    "recorder's lines, a console log (its last tracing list), a RAM dump or raw memory. "
    "IN and OUT `-` are standard input and output; without OUT the trace goes there.\v"
    "Recorded events are replayed at the addresses that they had, whatever was lost between "
    "them; a heap at one moment becomes calls that rebuild each block at its address. What was "
    "lost is said on standard error and in the trace's comments.\n\n"
    "Example:\n"
    "  wmheap convert tests/field/clean-11.log clean.trace && wmheap replay clean.trace\n\n"
    "Exit status: 0 converted, 2 unusable input or usage.";

static error_t parse_option(int key, char *value, struct argp_state *state) {
    struct arguments *arguments = state->input;
    switch (key) {
    case OPTION_ELF:
        arguments->elf = value;
        return 0;
    case OPTION_JSON:
        arguments->json = true;
        return 0;
    case OPTION_BASE:
        arguments->has_base = true;
        arguments->base = option_base(state, value);
        return 0;
    default:
        return in_out_parse(key, value, state, &arguments->files);
    }
}

/* --- in ------------------------------------------------------------------------------- */

/* One conversion. */
struct job {
    const struct arguments *arguments;
    const char *shown; /* IN for messages */
    struct firmware *firmware;
    struct trace trace;
    struct convert_report report;
    const char *kind;
    char path[64]; /* of a copy of standard input, which is read twice */
    char error[1024];
};

static bool fail(struct job *job, const char *reason) {
    snprintf(job->error, sizeof job->error, "%s: %s", job->shown, reason);
    return false;
}

/* Standard input as a file in memory that has a name. */
static FILE *stdin_copy(struct job *job) {
    char buffer[1 << 16];
    int copy = memfd_create("stdin", 0);
    FILE *file = copy >= 0 ? fdopen(copy, "w+b") : NULL;
    size_t got = 1;
    while (file != NULL && got > 0) {
        got = fread(buffer, 1, sizeof buffer, stdin);
        if (fwrite(buffer, 1, got, file) != got) {
            break;
        }
    }
    if (file == NULL || ferror(stdin) || fflush(file) != 0 || ferror(file)) {
        fail(job, strerror(errno));
        return NULL; /* the process ends soon */
    }
    snprintf(job->path, sizeof job->path, "/proc/self/fd/%d", copy);
    rewind(file);
    return file;
}

static FILE *input_open(struct job *job) {
    const char *name = job->arguments->files.in;
    struct stat status;
    if (strcmp(name, "-") == 0) {
        return stdin_copy(job);
    }
    FILE *file = fopen(name, "rb");
    if (file == NULL || fstat(fileno(file), &status) != 0) {
        fail(job, strerror(errno));
    } else if (S_ISDIR(status.st_mode)) {
        fail(job, "a directory");
    } else {
        return file;
    }
    if (file != NULL) {
        fclose(file);
    }
    return NULL;
}

static bool from_recording(struct job *job, const struct recording *recording, const char *kind) {
    char reason[512];
    job->kind = kind;
    if (!convert_recording(&recording->boot, job->firmware, &job->trace, &job->report, reason,
                           sizeof reason)) {
        return fail(job, reason);
    }
    return true;
}

/* A log without a recorder's lines, or a dump. */
static bool from_heap(struct job *job, const char *path, struct recording *recording) {
    struct diagnose_options options = {
        .firmware = job->firmware,
        .recording = recording,
        .has_base = job->arguments->has_base,
        .base = job->arguments->base,
    };
    struct diagnosis diagnosis;
    char reason[512];
    if (!diagnose_file(path, &options, &diagnosis, reason, sizeof reason)) {
        size_t bytes = strlen(path); /* its own message begins with the name it was given */
        const char *rest = reason;
        if (strncmp(reason, path, bytes) == 0 && strncmp(reason + bytes, ": ", 2) == 0) {
            rest += bytes + 2;
        }
        return fail(job, rest);
    }
    if (recording->boot.event_count > 0) {
        diagnosis_free(&diagnosis);
        return from_recording(job, recording, "dump with a recording");
    }
    job->kind = diagnosis.lines > 0 ? "log" : "dump";
    job->report.damaged = diagnosis.damaged;
    snprintf(reason, sizeof reason, "out of memory");
    bool done = convert_restore_block(&diagnosis.image, &diagnosis.findings) &&
                convert_image(&diagnosis.image, &diagnosis.findings, &job->trace, &job->report,
                              reason, sizeof reason);
    if (!done) {
        fail(job, reason);
    }
    diagnosis_free(&diagnosis);
    return done;
}

static bool input_convert(struct job *job) {
    struct recording recording;
    FILE *file = input_open(job);
    if (file == NULL) {
        return false;
    }
    recording_init(&recording);
    bool done = recording_read(&recording, file) || fail(job, strerror(errno));
    if (done) {
        const char *path = job->path[0] != '\0' ? job->path : job->arguments->files.in;
        done = recording.boot.lines > 0 ? from_recording(job, &recording, "recording")
                                        : from_heap(job, path, &recording);
    }
    recording_free(&recording);
    fclose(file);
    return done;
}

/* --- what became of it ---------------------------------------------------------------- */

static void report_json(const struct job *job) {
    const struct convert_report *report = &job->report;
    const bool recorded = report->events + report->lost != 0;
    const struct {
        const char *key;
        uint64_t value;
        bool shown;
    } rows[] = {
        {"events", report->events, true},
        {"lost", report->lost, true},
        {"after_fault", report->after_fault, report->after_fault != 0},
        {"lines", report->lines, report->lines != 0},
        {"lines_lost", report->lines_lost, report->lines != 0},
        {"damaged", report->damaged, true},
        {"blocks", report->blocks, true},
        {"inexact", report->inexact, true},
        {"unplaced", report->unplaced, true},
        {"supposed", report->supposed, recorded},
        {"stale", report->stale, recorded},
        {"forced", report->forced, recorded},
    };
    json_t *object = json_object();
    json_object_set_new(object, "schema", json_string("wmheap-convert/1"));
    json_object_set_new(object, "file", json_text(job->shown));
    json_object_set_new(object, "kind", json_string(job->kind));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].shown) {
            json_object_set_new(object, rows[i].key, json_integer((json_int_t)rows[i].value));
        }
    }
    json_object_set_new(object, "fault", json_boolean(report->has_fault));
    json_print(object, stderr);
}

static void report_text(const struct job *job) {
    const struct convert_report *report = &job->report;
    fprintf(stderr, "%s: a %s: ", job->shown, job->kind);
    if (report->lines != 0) {
        fprintf(stderr,
                "%" PRIu64 " events, %" PRIu64 " lost; %" PRIu64 " lines lost, %" PRIu64
                " of them arrived damaged",
                report->events, report->lost, report->lines_lost, report->damaged);
    } else if (report->events + report->lost != 0) {
        fprintf(stderr, "%" PRIu64 " events, %" PRIu64 " overwritten", report->events,
                report->lost);
    } else {
        fprintf(stderr, "%" PRIu64 " blocks", report->blocks);
        if (report->damaged != 0) {
            fprintf(stderr, "; %" PRIu64 " lines damaged", report->damaged);
        }
    }
    if (report->supposed + report->stale + report->forced != 0) {
        fprintf(stderr,
                "; to fit: %" PRIu64 " blocks supposed, %" PRIu64 " freed, %" PRIu64
                " failures forced",
                report->supposed, report->stale, report->forced);
    }
    if (report->unplaced != 0) {
        fprintf(stderr, "; %" PRIu64 " blocks left out, no calls lead to them", report->unplaced);
    }
    if (report->inexact != 0) {
        fprintf(stderr, "; %" PRIu64 " blocks larger than reported", report->inexact);
    }
    fputc('\n', stderr);
}

static bool run(struct job *job) {
    const struct arguments *arguments = job->arguments;
    char reason[512];
    if (arguments->elf != NULL) {
        job->firmware = firmware_open(arguments->elf, reason, sizeof reason);
        if (job->firmware == NULL) {
            snprintf(job->error, sizeof job->error, "%s", reason);
            return false;
        }
    }
    return input_convert(job);
}

int command_convert(int argc, char **argv) {
    static const struct argp parser = {option_table, parse_option, "IN [OUT]", help_text,
                                       NULL,         NULL,         NULL};
    struct arguments arguments = {0};
    options_parse(&parser, "convert", argc, argv, &arguments);
    char *shown = name_shown(arguments.files.in);
    struct job job = {.arguments = &arguments, .shown = shown != NULL ? shown : "?"};
    bool done = run(&job);
    struct output output;
    if (!done) {
        fprintf(stderr, "wmheap: %s\n", job.error);
    } else if (!output_begin(&output, arguments.files.out) ||
               !output_end(&output, trace_write(&job.trace, output.file))) {
        done = false; /* it has said so */
    } else if (arguments.json) {
        report_json(&job);
    } else {
        report_text(&job);
    }
    trace_free(&job.trace);
    if (job.firmware != NULL) {
        firmware_close(job.firmware);
    }
    free(shown);
    return done ? STATUS_OK : STATUS_UNUSABLE;
}
