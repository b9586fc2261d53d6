/* SPDX-License-Identifier: Apache-2.0
 *
 * `wmheap replay`: arguments in, one line or one JSON object a file out.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "json.h"
#include "options.h"
#include "replay.h"

struct arguments {
    struct replay_options options;
    bool json;
    struct settings settings;
    struct inputs inputs;
};

/* One file's console text: shown as it comes, or kept for the JSON object. */
struct console {
    bool keep;
    FILE *kept;
};

enum { OPTION_CHECK = 256, OPTION_JSON, OPTION_STOP_AT, OPTION_PRINT, OPTION_SET, OPTION_PSRAM };

static const struct argp_option option_table[] = {
    {"check", OPTION_CHECK, "DEPTH", 0,
     "off, addresses, model or full (default): what is checked after each event", 0},
    {"json", OPTION_JSON, NULL, 0, "One JSON object a line", 0},
    {"stop-at", OPTION_STOP_AT, "N", 0, "End after event N", 0},
    {"print", OPTION_PRINT, "WHAT", 0,
     "stats, tracing or both with a comma: console text at the trace's stats and tracing "
     "events, at corruptions, and at the end",
     0},
    {"set", OPTION_SET, "KEY=VALUE", 0,
     "Override the trace's config: tracing=y|n, poisoning=none|light|comprehensive, "
     "realloc=move|inplace",
     0},
    {"psram", OPTION_PSRAM, "SIZE", 0,
     "Fit 2M, 4M or 8M of PSRAM, or none (default: what the trace's region needs)", 0},
    {0}};

static const char help_text[] =
    "Runs traces on a simulated W800 and checks every address, every expectation, and the "
    "heap itself. FILE `-` is standard input.\v"
    "Example:\n"
    "  wmheap replay --check=full tests/golden/boot_iot-trace.trace\n\n"
    "Exit status: 0 all as expected, 1 a mismatch or a fault, 2 unusable input or usage; "
    "over several files the highest.";

/* Index of `word` in a list, or -1. */
static int choice(const char *word, const char *const *words, int count) {
    for (int i = 0; i < count; i++) {
        if (strcmp(word, words[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static bool parse_print(char *list, unsigned *print) {
    char *rest = list;
    for (char *word; (word = strsep(&rest, ",")) != NULL;) {
        if (strcmp(word, "stats") == 0) {
            *print |= REPLAY_PRINT_STATS;
        } else if (strcmp(word, "tracing") == 0) {
            *print |= REPLAY_PRINT_TRACING;
        } else {
            return false;
        }
    }
    return true;
}

static error_t parse_option(int key, char *value, struct argp_state *state) {
    static const char *const depths[] = {"off", "addresses", "model", "full"};
    struct arguments *arguments = state->input;
    int index;
    switch (key) {
    case OPTION_CHECK:
        index = choice(value, depths, 4);
        if (index < 0) {
            argp_error(state, "--check=%s: one of off, addresses, model, full is needed", value);
        }
        arguments->options.check = (enum replay_check)index;
        return 0;
    case OPTION_JSON:
        arguments->json = true;
        return 0;
    case OPTION_STOP_AT:
        if (!number_parse(value, &arguments->options.stop_at)) {
            argp_error(state, "--stop-at=%s: the number of an event from 1 is needed", value);
        }
        return 0;
    case OPTION_PRINT:
        if (!parse_print(value, &arguments->options.print)) {
            argp_error(state, "--print: stats, tracing or both with a comma are needed");
        }
        return 0;
    case OPTION_SET:
        settings_add(state, &arguments->settings, value);
        return 0;
    case OPTION_PSRAM:
        arguments->options.psram_bytes = option_psram(state, value);
        return 0;
    default:
        return inputs_parse(key, state, &arguments->inputs, "a trace file");
    }
}

/* --- one file --------------------------------------------------------------------------- */

static void on_print(void *context, const char *text, size_t length) {
    struct console *console = context;
    fwrite(text, 1, length, console->keep ? console->kept : stdout);
}

static void on_progress(void *context, size_t done, size_t all) {
    (void)context;
    progress_show(done, all);
}

static json_t *json_fault(const struct replay_fault *fault) {
    json_t *object = json_object();
    json_object_set_new(object, "kind", json_string(fault->kind));
    json_object_set_new(object, "event", json_integer((json_int_t)fault->event));
    json_object_set_new(object, "address", json_address(fault->address));
    json_object_set_new(object, "site",
                        fault->site[0] != '\0' ? json_text(fault->site) : json_null());
    if (fault->reason[0] != '\0') {
        json_object_set_new(object, "reason", json_text(fault->reason));
    }
    if (fault->before != 0) {
        json_object_set_new(object, "before", json_address(fault->before));
    }
    if (fault->before_site[0] != '\0') {
        json_object_set_new(object, "before_site", json_text(fault->before_site));
    }
    if (fault->expected) {
        json_object_set_new(object, "expected", json_true());
    }
    return object;
}

static void print_json(const char *file, const struct replay_result *result, const char *console) {
    json_t *object = json_object();
    json_t *faults = json_array();
    for (size_t i = 0; i < result->faults_kept; i++) {
        json_array_append_new(faults, json_fault(&result->faults[i]));
    }
    json_object_set_new(object, "file", json_text(file));
    json_object_set_new(object, "events", json_integer((json_int_t)result->events));
    json_object_set_new(object, "mismatches", json_integer((json_int_t)result->mismatches));
    json_object_set_new(object, "faults", faults);
    if (result->fault_count > result->faults_kept) {
        json_int_t more = (json_int_t)(result->fault_count - result->faults_kept);
        json_object_set_new(object, "more_faults", json_integer(more));
    }
    json_object_set_new(object, "free", json_integer(result->free_bytes));
    json_object_set_new(object, "min_free", json_integer(result->min_free_bytes));
    if (result->mismatches != 0) {
        json_t *first = json_object();
        json_object_set_new(first, "event", json_integer((json_int_t)result->first.event));
        json_object_set_new(first, "what", json_string(result->first.what));
        json_object_set_new(first, "by", json_string(result->first.judge));
        json_object_set_new(first, "expected", json_integer(result->first.expected));
        json_object_set_new(first, "got", json_integer(result->first.got));
        json_object_set_new(object, "first_mismatch", first);
    }
    if (result->moved != 0) {
        json_object_set_new(object, "moved", json_integer((json_int_t)result->moved));
    }
    if (console != NULL && *console != '\0') {
        json_object_set_new(object, "console", json_text(console));
    }
    json_print(object, stdout);
}

/* The line of the file that holds an event, for messages. */
static uint32_t line_of(const struct trace *trace, size_t event) {
    return event > 0 && event <= trace->event_count ? trace->events[event - 1].line_number : 0;
}

static void print_where(const char *file, const struct trace *trace, size_t event) {
    char text[256] = "the end";
    if (event > 0 && event <= trace->event_count) {
        trace_format_event(trace, &trace->events[event - 1], text, sizeof text);
        printf("%s:%" PRIu32 ": event %zu: %s\n", file, line_of(trace, event), event, text);
    } else {
        printf("%s: %s\n", file, text);
    }
}

/* The command that shows this event again, for a shell. */
static void print_again(const struct arguments *arguments, const char *file, size_t event) {
    printf("  again: wmheap replay");
    for (size_t i = 0; i < arguments->settings.count; i++) {
        printf(" --set=%s", arguments->settings.list[i]);
    }
    uint32_t psram = arguments->options.psram_bytes;
    if (psram == 0) {
        printf(" --psram=none");
    } else if (psram != REPLAY_PSRAM_AS_TRACED) {
        printf(" --psram=%" PRIu32 "M", psram >> 20);
    }
    printf(" --stop-at %zu ", event);
    shell_word_print(file);
    putchar('\n');
}

static void print_mismatch(const char *file, const struct trace *trace,
                           const struct replay_result *result) {
    const struct replay_mismatch *first = &result->first;
    bool address = strcmp(first->what, "address") == 0;
    print_where(file, trace, first->event);
    if (strcmp(first->what, "fault") == 0) {
        printf("  the event before it reported no such fault\n");
    } else {
        printf(address ? "  %s: expected 0x%08" PRIx32 " (%s), got 0x%08" PRIx32 "\n"
                       : "  %s: expected %" PRIu32 " (%s), got %" PRIu32 "\n",
               first->what, first->expected, first->judge, first->got);
    }
    if (result->picture != NULL) {
        fputs(result->picture, stdout);
    }
}

static void print_fault(const char *file, const struct trace *trace,
                        const struct replay_fault *fault) {
    print_where(file, trace, fault->event);
    printf("  %s%s: 0x%08" PRIx32 "%s%s%s%s%s\n", fault->kind,
           fault->by_check ? ", found by a check" : "", fault->address,
           fault->site[0] != '\0' ? ", allocated at " : "", fault->site,
           fault->reason[0] != '\0' ? "; " : "", fault->reason,
           fault->expected ? " (expected)" : "");
    if (fault->before != 0) {
        printf("  right before it: 0x%08" PRIx32 "%s%s, which may have written past its end\n",
               fault->before, fault->before_site[0] != '\0' ? ", allocated at " : "",
               fault->before_site);
    }
}

#define FAULTS_SHOWN 10u

static void print_text(const struct arguments *arguments, const char *file, const char *shown,
                       const struct trace *trace, const struct replay_result *result) {
    printf("%s: %zu events, %zu mismatches, %zu faults, free %" PRIu32 ", minimum %" PRIu32, shown,
           result->events, result->mismatches, result->fault_count, result->free_bytes,
           result->min_free_bytes);
    if (result->moved != 0) {
        printf("; realloc moved %zu SHARED or PSRAM blocks elsewhere, first at event %zu",
               result->moved, result->first_moved);
    }
    putchar('\n');
    if (result->mismatches != 0) {
        print_mismatch(shown, trace, result);
        print_again(arguments, file, result->first.event);
    }
    for (size_t i = 0; i < result->fault_count && i < FAULTS_SHOWN; i++) {
        print_fault(shown, trace, &result->faults[i]);
    }
    if (result->fault_count > FAULTS_SHOWN) {
        printf("  and %zu faults more; --json lists %s\n", result->fault_count - FAULTS_SHOWN,
               result->fault_count == result->faults_kept ? "all" : "thousands");
    }
    if (result->stopped && result->events < trace->event_count) {
        printf("  the board stops here: %zu events were not run\n",
               trace->event_count - result->events);
    }
}

static int run_file(const void *context, const char *file, const char *shown) {
    const struct arguments *arguments = context;
    struct trace trace;
    struct trace_error error;
    progress_begin(shown); /* reading a long trace is part of the wait */
    if (!trace_read_file(&trace, file, &error)) {
        fprintf(stderr, "wmheap: %s\n", error.text);
        return STATUS_UNUSABLE;
    }
    settings_apply(&arguments->settings, &trace.config);
    struct replay_result result;
    struct replay_options options = arguments->options;
    struct console console = {.keep = arguments->json};
    char *kept = NULL;
    size_t kept_length = 0;
    if (options.print != 0) {
        options.on_print = on_print;
        console.kept = open_memstream(&kept, &kept_length);
    }
    options.on_progress = on_progress;
    options.context = &console;
    bool ran = replay_run(&trace, &options, &result, &error);
    progress_end();
    if (console.kept != NULL) {
        fclose(console.kept);
    }
    int status = ran ? replay_status(&result) : STATUS_UNUSABLE;
    if (!ran) {
        fprintf(stderr, "wmheap: %s: %s\n", shown, error.text);
    } else if (arguments->json) {
        print_json(file, &result, kept);
    } else {
        print_text(arguments, file, shown, &trace, &result);
    }
    free(kept);
    replay_result_free(&result);
    trace_free(&trace);
    return status;
}

int command_replay(int argc, char **argv) {
    static const struct argp parser = {option_table, parse_option, "FILE...", help_text,
                                       NULL,         NULL,         NULL};
    struct arguments arguments = {
        .options = {.check = REPLAY_CHECK_FULL, .psram_bytes = REPLAY_PSRAM_AS_TRACED}};
    options_parse(&parser, "replay", argc, argv, &arguments);
    return inputs_each(&arguments.inputs, run_file, &arguments);
}
