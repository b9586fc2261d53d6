/* SPDX-License-Identifier: Apache-2.0
 *
 * `bench-measure`: one allocator, one workload, one JSON object.
 */
#include <argp.h> /* argument parsing: in glibc, so nothing to install */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "footprint.h"
#include "json.h"
#include "measure.h"
#include "statistics.h"

#define STATUS_FINDING 1
#define STATUS_UNUSABLE 2

struct arguments {
    const struct allocator *allocator;
    const char *trace;
    const char *name;
    size_t last;
    double seconds;
    bool once;
};

enum { OPTION_LAST = 256, OPTION_NAME, OPTION_ONCE, OPTION_SECONDS };

static const struct argp_option option_table[] = {
    {"allocator", 'a', "NAME", 0,
     "core, list, list-plain, glibc, mimalloc or nothing (default: core)", 0},
    {"last", OPTION_LAST, "N", 0, "Measure the last N calls only: those before build a heap up", 0},
    {"name", OPTION_NAME, "NAME", 0, "The workload's, for the output (default: the file's)", 0},
    {"once", OPTION_ONCE, NULL, 0,
     "Make the calls once and print nothing: for a profiler, which counts in the function "
     "calls_make_measured",
     0},
    {"seconds", OPTION_SECONDS, "N", 0, "How long to repeat each kind of pass (default: 0.3)", 0},
    {0}};

static const char help_text[] =
    "Measures what an allocator takes for the calls of a trace, and what memory it needs, and "
    "prints one JSON object. TRACE `-` is standard input.\v"
    "core is this project's heap, list a linear first fit as the SDK's, list-plain the same "
    "without its list of live blocks, as FreeRTOS's heap_4 is, nothing the cost of the loop.\n\n"
    "Example:\n"
    "  bench-measure --allocator=core bench/traces/boot.trace\n\n"
    "Exit status: 0 done, 1 an address differs from the trace's, 2 unusable input or usage.";

static double number(struct argp_state *state, const char *value, const char *option) {
    char *end;
    double parsed = strtod(value, &end);
    if (*value == '\0' || *end != '\0' || !(parsed > 0.0 && parsed < 1e9)) {
        argp_error(state, "--%s=%s: a number above 0 is needed", option, value);
    }
    return parsed;
}

static error_t parse_option(int key, char *value, struct argp_state *state) {
    struct arguments *arguments = state->input;
    switch (key) {
    case 'a':
        arguments->allocator = allocator_find(value);
        if (arguments->allocator == NULL) {
            argp_error(state, "--allocator=%s: one of %s is needed", value, allocator_names());
        }
        return 0;
    case OPTION_LAST:
        arguments->last = (size_t)number(state, value, "last");
        return 0;
    case OPTION_NAME:
        arguments->name = value;
        return 0;
    case OPTION_ONCE:
        arguments->once = true;
        return 0;
    case OPTION_SECONDS:
        arguments->seconds = number(state, value, "seconds");
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->trace != NULL) {
            argp_error(state, "one trace is needed, and %s is another", value);
        }
        arguments->trace = value;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "a trace file is needed, or - for standard input");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* --- output ----------------------------------------------------------------------------------- */

/* Two decimals: more would be noise. */
static json_t *rounded(double figure) { return json_real(round(figure * 100.0) / 100.0); }

static json_t *json_count(uint64_t count) { return json_integer((json_int_t)count); }

/* The latencies' distribution as [share of the calls that took no longer, ns], denser towards
 * the end: eight steps for each factor of ten in the calls that took longer. */
static json_t *json_distribution(const struct measurement *measurement) {
    json_t *points = json_array();
    double calls = (double)measurement->calls;
    for (int step = 0; pow(10.0, step / 8.0) <= calls; step++) {
        double share = 1.0 - pow(10.0, -step / 8.0);
        double ns = figures_percentile(measurement->latencies_ns, measurement->calls, share);
        json_array_append_new(
            points, json_pack("[o, o]", json_real(round(share * 1e6) / 1e6), rounded(ns)));
    }
    json_array_append_new(points, json_pack("[f, o]", 1.0,
                                            rounded(figures_percentile(measurement->latencies_ns,
                                                                       measurement->calls, 1.0))));
    return points;
}

static json_t *json_measurement(const struct measurement *measurement) {
    static const struct {
        const char *name;
        double share;
    } percentiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1.0}};
    json_t *object = json_pack("{s: o}", "mean", rounded(measurement->mean_ns));
    for (size_t i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++) {
        double ns =
            figures_percentile(measurement->latencies_ns, measurement->calls, percentiles[i].share);
        json_object_set_new(object, percentiles[i].name, rounded(ns));
    }
    json_object_set_new(object, "repetitions", json_count(measurement->repetitions));
    json_object_set_new(object, "distribution", json_distribution(measurement));
    return object;
}

static json_t *json_umm(const struct footprint_sample *sample) {
    return sample->umm >= 0.0 ? rounded(sample->umm) : json_null();
}

static json_t *json_peak(const struct footprint_sample *peak) {
    double lost = (double)peak->block_bytes - (double)peak->live_bytes;
    json_t *object = json_object();
    json_object_set_new(object, "call", json_count(peak->call));
    json_object_set_new(object, "live_blocks", json_count(peak->live_blocks));
    json_object_set_new(object, "live_bytes", json_count(peak->live_bytes));
    json_object_set_new(object, "page_bytes", json_count(peak->page_bytes));
    json_object_set_new(object, "overhead_per_block",
                        rounded(peak->live_blocks != 0 ? lost / (double)peak->live_blocks : 0.0));
    json_object_set_new(object, "fragmentation", rounded(footprint_fragmentation(peak)));
    json_object_set_new(object, "umm", json_umm(peak));
    return object;
}

/* [calls made, bytes asked for, bytes of their pages, umm's measure or null, holes] */
static json_t *json_over_time(const struct footprint *footprint) {
    json_t *samples = json_array();
    for (size_t i = 0; i < footprint->sample_count; i++) {
        const struct footprint_sample *sample = &footprint->samples[i];
        json_array_append_new(samples, json_pack("[o, o, o, o, o]", json_count(sample->call),
                                                 json_count(sample->live_bytes),
                                                 json_count(sample->page_bytes), json_umm(sample),
                                                 json_count(sample->holes)));
    }
    return samples;
}

static void print_result(const struct arguments *arguments, const struct measurement *measurement,
                         const struct footprint *footprint) {
    char digest[32];
    char version[32];
    json_t *object = json_object();
    snprintf(digest, sizeof digest, "%016" PRIx64, footprint->digest);
    json_object_set_new(object, "workload",
                        json_text(arguments->name != NULL ? arguments->name : arguments->trace));
    json_object_set_new(object, "allocator", json_string(arguments->allocator->name));
    if (arguments->allocator->version != NULL) {
        arguments->allocator->version(version, sizeof version);
        json_object_set_new(object, "version", json_string(version));
    }
    json_object_set_new(object, "calls", json_count(measurement->calls));
    json_object_set_new(object, "ns", json_measurement(measurement));
    json_object_set_new(object, "instructions",
                        measurement->counted ? rounded(measurement->instructions) : json_null());
    if (arguments->allocator->exact) {
        json_object_set_new(object, "addresses", json_string(digest));
        json_object_set_new(object, "mismatches", json_count(footprint->mismatches));
    }
    json_object_set_new(object, "failures", json_count(footprint->failures));
    json_object_set_new(object, "peak", json_peak(&footprint->peak));
    json_object_set_new(object, "over_time", json_over_time(footprint));
    json_print(object, stdout);
}

/* --- the run ---------------------------------------------------------------------------------- */

static int unusable(const char *reason) {
    fprintf(stderr, "bench-measure: %s\n", reason);
    return STATUS_UNUSABLE;
}

static int run(const struct arguments *arguments, struct calls *calls) {
    static struct footprint footprint; /* large for a stack */
    struct measurement measurement;
    struct trace_error error;
    const char *lack = "";
    if (!allocator_machine_start(&calls->trace, &error)) {
        return unusable(error.text);
    }
    if (!arguments->allocator->open(&lack)) {
        return unusable(lack);
    }
    if (arguments->once) {
        calls_begin(arguments->allocator);
        calls_make(calls, arguments->allocator, 0, calls->first);
        calls_make_measured(calls, arguments->allocator);
        return 0;
    }
    if (!footprint_take(calls, arguments->allocator, &footprint, &error) ||
        !measure(calls, arguments->allocator, arguments->seconds, &measurement, &error)) {
        return unusable(error.text);
    }
    print_result(arguments, &measurement, &footprint);
    measurement_free(&measurement);
    if (footprint.mismatches != 0) {
        fprintf(stderr, "bench-measure: %s: %zu addresses differ from the trace's\n",
                arguments->trace, footprint.mismatches);
        return STATUS_FINDING;
    }
    return fflush(stdout) == 0 ? 0 : unusable("standard output cannot be written");
}

int main(int argc, char **argv) {
    static const struct argp parser = {option_table, parse_option, "TRACE", help_text,
                                       NULL,         NULL,         NULL};
    struct arguments arguments = {.allocator = &allocator_core, .seconds = 0.3};
    struct calls calls;
    struct trace_error error;
    argp_err_exit_status = STATUS_UNUSABLE;
    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    if (!calls_read(&calls, arguments.trace, arguments.last, &error)) {
        return unusable(error.text);
    }
    int status = run(&arguments, &calls);
    calls_free(&calls);
    return status;
}
