/* SPDX-License-Identifier: Apache-2.0
 *
 * `wmheap shrink`: a failing trace in, the smallest that fails the same way out.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "json.h"
#include "options.h"
#include "output.h"
#include "shrink.h"

struct arguments {
    bool json;
    struct settings settings;
    struct in_out files;
};

enum { OPTION_JSON = 256, OPTION_SET };

static const struct argp_option option_table[] = {
    {"json", OPTION_JSON, NULL, 0,
     "Report as one JSON object on standard output; without OUT it holds the trace", 0},
    {"set", OPTION_SET, "KEY=VALUE", 0,
     "Override the trace's config, also in the result: tracing=y|n, "
     "poisoning=none|light|comprehensive, realloc=move|inplace",
     0},
    {0}};

static const char help_text[] =
    "Finds the smallest trace that still fails the same way: the same kind of fault at a block "
    "of the same call site, or the same mismatch at the same event. TRACE `-` is standard "
    "input; without OUT the result goes to standard output.\v"
    "Example:\n"
    "  wmheap shrink field.trace small.trace && wmheap replay small.trace\n\n"
    "Exit status: 0 a smaller trace was written, 2 unusable input or usage, or a trace that "
    "replays as expected, so that there is nothing to shrink.";

static error_t parse_option(int key, char *value, struct argp_state *state) {
    struct arguments *arguments = state->input;
    switch (key) {
    case OPTION_JSON:
        arguments->json = true;
        return 0;
    case OPTION_SET:
        settings_add(state, &arguments->settings, value);
        return 0;
    default:
        return in_out_parse(key, value, state, &arguments->files);
    }
}

static void on_progress(void *context, size_t done, size_t all) {
    (void)context;
    progress_show(done, all);
}

/* --- the failure in words ------------------------------------------------------------------ */

static char *failure_words(const struct shrink_failure *failure) {
    char *words = NULL;
    int length;
    if (failure->mismatch && strcmp(failure->what, "fault") == 0) {
        length = asprintf(&words, "an expected fault did not come");
    } else if (failure->mismatch && strcmp(failure->what, "address") == 0) {
        length = asprintf(&words, "address expected 0x%08" PRIx32 " (%s), got 0x%08" PRIx32,
                          failure->expected, failure->judge, failure->got);
    } else if (failure->mismatch) {
        length = asprintf(&words, "%s expected %" PRIu32 " (%s), got %" PRIu32, failure->what,
                          failure->expected, failure->judge, failure->got);
    } else {
        length = asprintf(&words, "%s%s%s%s%s", failure->what,
                          failure->site[0] != '\0' ? ", allocated at " : "", failure->site,
                          failure->before_site[0] != '\0' ? ", right behind " : "",
                          failure->before_site);
    }
    return length < 0 ? NULL : words;
}

static json_t *json_failure(const struct shrink_failure *failure) {
    json_t *object = json_object();
    json_object_set_new(object, "kind", json_string(failure->mismatch ? "mismatch" : "fault"));
    json_object_set_new(object, "what", json_string(failure->what));
    json_object_set_new(object, "event", json_integer((json_int_t)failure->event));
    if (failure->mismatch) {
        json_object_set_new(object, "by", json_string(failure->judge));
        json_object_set_new(object, "expected", json_integer(failure->expected));
        json_object_set_new(object, "got", json_integer(failure->got));
        return object;
    }
    json_object_set_new(object, "address", json_address(failure->address));
    if (failure->site[0] != '\0') {
        json_object_set_new(object, "site", json_text(failure->site));
    }
    if (failure->before_site[0] != '\0') {
        json_object_set_new(object, "before_site", json_text(failure->before_site));
    }
    return object;
}

static void print_json(const struct arguments *arguments, const struct shrink_report *report,
                       const char *text) {
    json_t *object = json_object();
    json_object_set_new(object, "file", json_text(arguments->files.in));
    if (arguments->files.out != NULL) {
        json_object_set_new(object, "out", json_text(arguments->files.out));
    }
    json_object_set_new(object, "events_before", json_integer((json_int_t)report->events_before));
    json_object_set_new(object, "events", json_integer((json_int_t)report->events_after));
    json_object_set_new(object, "replays", json_integer((json_int_t)report->replays));
    json_object_set_new(object, "failure", json_failure(&report->after));
    if (text != NULL) {
        json_object_set_new(object, "trace", json_text(text));
    }
    json_print(object, stdout);
}

static bool same_file(const char *a, const char *b) { return b == NULL || strcmp(b, a) == 0; }

/* --- writing --------------------------------------------------------------------------------- */

/* The trace's text, with a line on where it comes from. That of an earlier shrinking stays
 * out: it would tell of a trace that nobody has. */
static char *trace_text(const struct trace *trace, const char *shown,
                        const struct shrink_report *report) {
    static const char mark[] = "# shrunk from ";
    char *plain = NULL;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&plain, &size);
    bool good = out != NULL && trace_write(trace, out);
    if (out != NULL) {
        good = fclose(out) == 0 && good;
    }
    out = good ? open_memstream(&text, &size) : NULL;
    char *words = failure_words(&report->after);
    if (out != NULL && words != NULL) {
        const char *rest = strchr(plain, '\n') + 1;
        fprintf(out, "%.*s%s%.400s, %zu events: %.800s\n", (int)(rest - plain), plain, mark, shown,
                report->events_before, words);
        if (strncmp(rest, mark, sizeof mark - 1) == 0) {
            rest = strchr(rest, '\n') + 1;
        }
        fputs(rest, out);
    }
    if (out != NULL && (fclose(out) != 0 || words == NULL)) {
        free(text);
        text = NULL;
    }
    free(words);
    free(plain);
    return text;
}

static int write_result(const struct arguments *arguments, const char *shown,
                        const struct trace *trace, const struct shrink_report *report) {
    bool to_stdout = same_file("-", arguments->files.out);
    char *text = trace_text(trace, shown, report);
    struct output output = {0};
    if (text == NULL) {
        fprintf(stderr, "wmheap: %s: out of memory\n", shown);
        return STATUS_UNUSABLE;
    }
    bool good = true;
    if (!to_stdout || !arguments->json) {
        good = output_begin(&output, arguments->files.out);
        if (good) {
            fputs(text, output.file);
            good = output_end(&output, true);
        }
    }
    if (good && arguments->json) {
        print_json(arguments, report, to_stdout ? text : NULL);
    } else if (good && !to_stdout) {
        char *words = failure_words(&report->after);
        printf("%s: %zu events, of %zu: %s\n", shown, report->events_after, report->events_before,
               words != NULL ? words : "?");
        free(words);
    }
    free(text);
    return good && output_finish() ? STATUS_OK : STATUS_UNUSABLE;
}

static int run(const struct arguments *arguments, const char *shown) {
    struct trace trace;
    struct trace_error error;
    struct shrink_report report;
    struct shrink_options options = {.on_progress = on_progress};
    progress_begin(shown);
    if (!trace_read_file(&trace, arguments->files.in, &error)) {
        fprintf(stderr, "wmheap: %s\n", error.text);
        return STATUS_UNUSABLE;
    }
    settings_apply(&arguments->settings, &trace.config);
    enum shrink_outcome outcome = shrink_trace(&trace, &options, &report, &error);
    progress_end();
    int status = STATUS_UNUSABLE;
    if (outcome == SHRINK_DONE) {
        status = write_result(arguments, shown, &trace, &report);
    } else if (outcome == SHRINK_NOTHING) {
        fprintf(stderr, "wmheap: %s: it replays as expected; there is nothing to shrink\n", shown);
    } else {
        fprintf(stderr, "wmheap: %s: %s\n", shown, error.text);
    }
    trace_free(&trace);
    return status;
}

int command_shrink(int argc, char **argv) {
    static const struct argp parser = {option_table, parse_option, "TRACE [OUT]", help_text,
                                       NULL,         NULL,         NULL};
    struct arguments arguments = {0};
    options_parse(&parser, "shrink", argc, argv, &arguments);
    char *shown = name_shown(arguments.files.in);
    int status = run(&arguments, shown != NULL ? shown : "?");
    free(shown);
    return status;
}
