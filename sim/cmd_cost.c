/* SPDX-License-Identifier: Apache-2.0
 *
 * `wmheap cost`: a table a trace, or one JSON object a build.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "cost.h"
#include "csky_programs.h"
#include "json.h"
#include "options.h"

struct arguments {
    const struct heap_build *build; /* NULL: all */
    size_t last;                    /* calls that count */
    bool json;
    const char *programs;
    struct inputs inputs;
};

enum { OPTION_BUILD = 256, OPTION_JSON, OPTION_LAST, OPTION_PROGRAMS };

static const struct argp_option option_table[] = {
    {"build", OPTION_BUILD, "NAME", 0, CSKY_BUILD_HELP, 0},
    {"json", OPTION_JSON, NULL, 0, "One JSON object a build", 0},
    {"last", OPTION_LAST, "N", 0,
     "Count the last N calls of alloc and free only: those before build a heap up", 0},
    {"program-dir", OPTION_PROGRAMS, "FOLDER", 0, CSKY_PROGRAMS_HELP, 0},
    {0}};

static const char help_text[] =
    "Counts what a trace's calls cost on the chip's CPU: C-SKY instructions of each alloc and each "
    "free, from the function's first instruction through its return, and the longest time that "
    "the lock was held in one, all with a port whose functions are empty. Other calls (realloc, "
    "calloc, aligned, append) are executed and not counted; prints, checks and expectations are "
    "left out. In the build that the trace's config line names its addresses are verified. TRACE "
    "`-` is standard input.\v"
    "Example:\n"
    "  wmheap cost tests/golden/real-lua-trace.trace\n\n"
    "Exit status: 0 done, 1 an address differs or the program crashed, 2 unusable input or usage, "
    "or no C-SKY programs.";

static error_t parse_option(int key, char *value, struct argp_state *state) {
    struct arguments *arguments = state->input;
    switch (key) {
    case OPTION_BUILD:
        arguments->build = option_build(state, value);
        return 0;
    case OPTION_JSON:
        arguments->json = true;
        return 0;
    case OPTION_LAST:
        if (!number_parse(value, &arguments->last)) {
            argp_error(state, "--last=%s: a number of calls from 1 is needed", value);
        }
        return 0;
    case OPTION_PROGRAMS:
        arguments->programs = value;
        return 0;
    default:
        return inputs_parse(key, state, &arguments->inputs, "a trace file");
    }
}

/* --- output ----------------------------------------------------------------------------------- */

/* Two decimals: more would only show how binary fractions print. */
static void set_figures(json_t *object, const struct cost_figures *figures) {
    double hundredths = (double)(uint64_t)(figures->mean * 100.0 + 0.5);
    json_object_set_new(object, "calls", json_integer((json_int_t)figures->calls));
    json_object_set_new(object, "mean", json_real(hundredths / 100.0));
    json_object_set_new(object, "p99", json_integer(figures->p99));
    json_object_set_new(object, "max", json_integer(figures->max));
    json_object_set_new(object, "lock_max", json_integer(figures->lock_max));
}

static void print_json(const char *shown, const char *build, const struct cost_result *result) {
    json_t *object = json_object();
    json_t *alloc = json_object();
    json_t *release = json_object();
    json_object_set_new(object, "file", json_text(shown));
    json_object_set_new(object, "build", json_string(build));
    set_figures(object, &result->all);
    set_figures(alloc, &result->alloc);
    set_figures(release, &result->free);
    json_object_set_new(object, "alloc", alloc);
    json_object_set_new(object, "free", release);
    if (result->mismatches != 0) {
        json_object_set_new(object, "mismatches", json_integer((json_int_t)result->mismatches));
    }
    if (result->crash[0] != '\0') {
        json_object_set_new(object, "crash", json_text(result->crash));
    }
    json_print(object, stdout);
}

static void print_row(const char *build, const char *calls, const struct cost_figures *figures) {
    printf("  %-7s %-6s %8zu %9.1f %9" PRIu32 " %9" PRIu32 " %10zu %9" PRIu32 "\n", build, calls,
           figures->calls, figures->mean, figures->p99, figures->max, figures->max_event,
           figures->lock_max);
}

static void print_rows(const char *build, const struct cost_result *result) {
    print_row(build, "all", &result->all);
    print_row("", "alloc", &result->alloc);
    print_row("", "free", &result->free);
}

static void print_findings(const char *shown, const struct trace *trace, const char *build,
                           const struct cost_result *result) {
    char text[256];
    if (result->crash[0] != '\0') {
        printf("%s: build %s: %s\n", shown, build, result->crash);
    }
    if (result->mismatches != 0) {
        const struct trace_event *event = &trace->events[result->first_event - 1];
        trace_format_event(trace, event, text, sizeof text);
        printf("%s:%" PRIu32 ": event %zu: %s\n  build %s: got 0x%08" PRIx32 "; %zu addresses of "
               "the trace differ\n",
               shown, event->line_number, result->first_event, text, build, result->first_got,
               result->mismatches);
    }
}

/* --- one file --------------------------------------------------------------------------------- */

static int run_build(const struct arguments *arguments, const char *shown,
                     const struct trace *trace, const struct heap_build *build) {
    struct cost_result result;
    struct trace_error error;
    bool ran = cost_trace(trace, build, arguments->programs, arguments->last, &result, &error);
    progress_end();
    if (!ran) {
        fprintf(stderr, "wmheap: %s: %s\n", shown, error.text);
        return STATUS_UNUSABLE;
    }
    if (arguments->json) {
        print_json(shown, build->name, &result);
    } else {
        print_rows(build->name, &result);
        print_findings(shown, trace, build->name, &result);
    }
    return result.mismatches != 0 || result.crash[0] != '\0' ? STATUS_FINDING : STATUS_OK;
}

static int run_file(const void *context, const char *file, const char *shown) {
    const struct arguments *arguments = context;
    struct trace trace;
    struct trace_error error;
    progress_begin(shown);
    if (!trace_read_file(&trace, file, &error)) {
        fprintf(stderr, "wmheap: %s\n", error.text);
        return STATUS_UNUSABLE;
    }
    if (!arguments->json) {
        printf("%s: C-SKY instructions a call\n  %-7s %-6s %8s %9s %9s %9s %10s %9s\n", shown,
               "build", "of", "calls", "mean", "p99", "max", "at event", "lock max");
    }
    int status = STATUS_OK;
    for (size_t i = 0; i < HEAP_BUILDS && status != STATUS_UNUSABLE; i++) {
        if (arguments->build == NULL || arguments->build == heap_builds[i]) {
            int one = run_build(arguments, shown, &trace, heap_builds[i]);
            status = one > status ? one : status;
        }
        progress_show(i + 1, HEAP_BUILDS);
    }
    progress_end();
    trace_free(&trace);
    return status;
}

int command_cost(int argc, char **argv) {
    static const struct argp parser = {option_table, parse_option, "TRACE...", help_text,
                                       NULL,         NULL,         NULL};
    struct arguments arguments = {.build = NULL, .last = SIZE_MAX};
    options_parse(&parser, "cost", argc, argv, &arguments);
    char *programs = csky_programs_find(arguments.programs);
    if (programs == NULL) {
        return STATUS_UNUSABLE;
    }
    arguments.programs = programs;
    int status = inputs_each(&arguments.inputs, run_file, &arguments);
    free(programs);
    return status;
}
