/* SPDX-License-Identifier: Apache-2.0
 *
 * `wmheap crosscheck`: traces times builds times engines, one comparison each.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "crosscheck.h"
#include "csky_programs.h"
#include "json.h"
#include "options.h"

struct arguments {
    bool use_engine[2];
    const struct heap_build *build; /* NULL: all */
    bool json;
    size_t stop_at;
    size_t patience;
    const char *program_dir; /* as given, or NULL */
    char *programs;          /* the folder that was found */
    struct inputs inputs;
};

static const char *const engine_names[] = {"interpreter", "qemu"};

enum {
    OPTION_ENGINE = 256,
    OPTION_BUILD,
    OPTION_JSON,
    OPTION_STOP_AT,
    OPTION_PATIENCE,
    OPTION_PROGRAMS
};

static const struct argp_option option_table[] = {
    {"engine", OPTION_ENGINE, "NAME", 0,
     "What runs the C-SKY core: interpreter (default), qemu (QEMU_CSKY, or qemu-cskyv2 on the "
     "PATH) or both",
     0},
    {"build", OPTION_BUILD, "NAME", 0, CSKY_BUILD_HELP, 0},
    {"json", OPTION_JSON, NULL, 0, "One JSON object a trace, build and engine", 0},
    {"stop-at", OPTION_STOP_AT, "N", 0, "End after event N", 0},
    {"patience", OPTION_PATIENCE, "N", 0,
     "Take the C-SKY core for hung after N million instructions in one event (default: 4000)", 0},
    {"program-dir", OPTION_PROGRAMS, "FOLDER", 0, CSKY_PROGRAMS_HELP, 0},
    {0}};

static const char help_text[] =
    "Runs traces on the host's core and on the same core compiled for C-SKY, in all six builds, "
    "and compares them event by event: results, faults, console text, the headers and tree nodes "
    "that a call writes, the core's state; every 1,000 events the memory's digest, and at the end "
    "all of the memory. Of a difference the first event and the first byte are shown, with both "
    "sides decoded. A trace runs in each build, whatever its config line says. TRACE `-` is "
    "standard input.\v"
    "Example:\n"
    "  wmheap crosscheck --build=trace tests/golden/boot_iot-trace.trace\n\n"
    "Exit status: 0 equal, 1 a difference, 2 unusable input or usage, or no C-SKY programs; over "
    "several files the highest.";

static error_t parse_option(int key, char *value, struct argp_state *state) {
    struct arguments *arguments = state->input;
    switch (key) {
    case OPTION_ENGINE:
        arguments->use_engine[CROSSCHECK_INTERPRETER] =
            strcmp(value, "interpreter") == 0 || strcmp(value, "both") == 0;
        arguments->use_engine[CROSSCHECK_QEMU] =
            strcmp(value, "qemu") == 0 || strcmp(value, "both") == 0;
        if (!arguments->use_engine[0] && !arguments->use_engine[1]) {
            argp_error(state, "--engine=%s: one of interpreter, qemu, both is needed", value);
        }
        return 0;
    case OPTION_BUILD:
        arguments->build = option_build(state, value);
        return 0;
    case OPTION_JSON:
        arguments->json = true;
        return 0;
    case OPTION_STOP_AT:
        if (!number_parse(value, &arguments->stop_at)) {
            argp_error(state, "--stop-at=%s: the number of an event from 1 is needed", value);
        }
        return 0;
    case OPTION_PATIENCE:
        if (!number_parse(value, &arguments->patience)) {
            argp_error(state, "--patience=%s: a number of millions from 1 is needed", value);
        }
        return 0;
    case OPTION_PROGRAMS:
        arguments->program_dir = value;
        return 0;
    default:
        return inputs_parse(key, state, &arguments->inputs, "a trace file");
    }
}

/* --- one comparison --------------------------------------------------------------------------- */

/* One trace as it is worked on. */
struct job {
    const struct arguments *arguments;
    const char *file;
    const char *shown;
    struct trace trace;
    size_t done; /* comparisons, for progress */
    size_t all;
};

static void print_json(const struct job *job, const char *build, const char *engine,
                       const struct crosscheck_result *result) {
    json_t *object = json_object();
    json_object_set_new(object, "file", json_text(job->shown));
    json_object_set_new(object, "build", json_string(build));
    json_object_set_new(object, "engine", json_string(engine));
    json_object_set_new(object, "events", json_integer((json_int_t)result->events));
    json_object_set_new(object, "equal", json_boolean(result->equal));
    if (!result->equal) {
        json_t *first = json_object();
        json_object_set_new(first, "event", json_integer((json_int_t)result->event));
        json_object_set_new(first, "what", json_string(result->what));
        if (result->address != 0) {
            json_object_set_new(first, "address", json_address(result->address));
        }
        json_object_set_new(first, "host", json_integer(result->host));
        json_object_set_new(first, "csky", json_integer(result->csky));
        json_object_set_new(object, "first_difference", first);
    }
    json_print(object, stdout);
}

static void print_difference(const struct job *job, const char *build, const char *engine,
                             const struct crosscheck_result *result) {
    char text[256] = "wm_heap_init";
    if (result->event > 0) {
        const struct trace_event *event = &job->trace.events[result->event - 1];
        trace_format_event(&job->trace, event, text, sizeof text);
        printf("%s:%" PRIu32 ": event %zu: %s\n", job->shown, event->line_number, result->event,
               text);
    } else {
        printf("%s: before the first event: %s\n", job->shown, text);
    }
    printf("  build %s, %s: the two cores differ from here on\n", build, engine);
    fputs(result->text != NULL ? result->text : "  out of memory\n", stdout);
    printf("  again: wmheap crosscheck --build=%s --engine=%s", build, engine);
    if (job->arguments->program_dir != NULL) {
        printf(" --program-dir=");
        shell_word_print(job->arguments->program_dir);
    }
    if (job->arguments->patience != CROSSCHECK_PATIENCE) {
        printf(" --patience=%zu", job->arguments->patience);
    }
    if (result->event > 0) {
        printf(" --stop-at %zu", result->event);
    }
    putchar(' ');
    shell_word_print(job->file);
    putchar('\n');
}

static int compare(struct job *job, const struct heap_build *build, enum crosscheck_engine engine) {
    struct crosscheck_options options = {
        .build = build,
        .engine = engine,
        .programs = job->arguments->programs,
        .stop_at = job->arguments->stop_at,
        .patience = (uint32_t)job->arguments->patience,
    };
    struct crosscheck_result result;
    struct trace_error error;
    if (!crosscheck_trace(&job->trace, &options, &result, &error)) {
        progress_end();
        fprintf(stderr, "wmheap: %s: %s\n", job->shown, error.text);
        return STATUS_UNUSABLE;
    }
    progress_show(++job->done, job->all);
    if (job->arguments->json || !result.equal) {
        progress_end();
    }
    if (job->arguments->json) {
        print_json(job, build->name, engine_names[engine], &result);
    } else if (!result.equal) {
        print_difference(job, build->name, engine_names[engine], &result);
    }
    int status = result.equal ? STATUS_OK : STATUS_FINDING;
    crosscheck_result_free(&result);
    return status;
}

/* All builds and engines that are wanted. What cannot be run ends it: the next one could not
 * either. */
static int compare_all(struct job *job) {
    const struct arguments *arguments = job->arguments;
    int status = STATUS_OK;
    for (size_t i = 0; i < HEAP_BUILDS && status != STATUS_UNUSABLE; i++) {
        const struct heap_build *build = heap_builds[i];
        for (int engine = 0; engine < 2 && status != STATUS_UNUSABLE; engine++) {
            if (arguments->use_engine[engine] &&
                (arguments->build == NULL || arguments->build == build)) {
                int one = compare(job, build, (enum crosscheck_engine)engine);
                status = one > status ? one : status;
            }
        }
    }
    return status;
}

static int run_file(const void *context, const char *file, const char *shown) {
    const struct arguments *arguments = context;
    struct job job = {.arguments = arguments, .file = file, .shown = shown};
    struct trace_error error;
    job.all = (arguments->build != NULL ? 1u : HEAP_BUILDS) *
              (size_t)(arguments->use_engine[0] + arguments->use_engine[1]);
    progress_begin(shown);
    if (!trace_read_file(&job.trace, file, &error)) {
        fprintf(stderr, "wmheap: %s\n", error.text);
        return STATUS_UNUSABLE;
    }
    int status = compare_all(&job);
    progress_end();
    if (status == STATUS_OK && !arguments->json) {
        size_t events = arguments->stop_at != 0 && arguments->stop_at < job.trace.event_count
                            ? arguments->stop_at
                            : job.trace.event_count;
        printf("%s: %zu events, %s%s, %s: equal\n", shown, events,
               arguments->build != NULL ? "build " : "six builds",
               arguments->build != NULL ? arguments->build->name : "",
               arguments->use_engine[0] && arguments->use_engine[1]
                   ? "interpreter and qemu"
                   : engine_names[arguments->use_engine[CROSSCHECK_QEMU]]);
    }
    trace_free(&job.trace);
    return status;
}

int command_crosscheck(int argc, char **argv) {
    static const struct argp parser = {option_table, parse_option, "TRACE...", help_text,
                                       NULL,         NULL,         NULL};
    struct arguments arguments = {.use_engine = {true, false}, .patience = CROSSCHECK_PATIENCE};
    options_parse(&parser, "crosscheck", argc, argv, &arguments);
    arguments.programs = csky_programs_find(arguments.program_dir);
    if (arguments.programs == NULL) {
        return STATUS_UNUSABLE;
    }
    int status = inputs_each(&arguments.inputs, run_file, &arguments);
    free(arguments.programs);
    return status;
}
