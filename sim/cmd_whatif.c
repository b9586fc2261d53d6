/* SPDX-License-Identifier: Apache-2.0
 *
 * `wmheap whatif`: would this workload fit on another board or with other options?
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "json.h"
#include "options.h"
#include "whatif.h"

#define STARTS_MAX 8

struct arguments {
    bool json;
    char *tracing; /* settings of the config, NULL: as traced */
    char *poisoning;
    uint32_t psram_bytes;
    struct {
        char region[8];
        uint32_t start;
    } starts[STARTS_MAX];
    size_t start_count;
    const char *file;
};

enum { OPTION_JSON = 256, OPTION_TRACING, OPTION_POISONING, OPTION_PSRAM, OPTION_HEAP_START };

static const struct argp_option option_table[] = {
    {"tracing", OPTION_TRACING, "y|n", 0, "Call sites in the headers, or none", 0},
    {"poisoning", OPTION_POISONING, "DEPTH", 0, "none, light or comprehensive", 0},
    {"psram", OPTION_PSRAM, "SIZE", 0, "Fit 2M, 4M or 8M of PSRAM, or none", 0},
    {"heap-start", OPTION_HEAP_START, "REGION=ADDR", 0,
     "First byte of a region's heap, such as SRAM=0x20011000", 0},
    {"json", OPTION_JSON, NULL, 0, "One JSON object", 0},
    {0}};

static const char help_text[] =
    "Says whether a trace's allocations would still fit with other options, less PSRAM, or a "
    "larger .bss; how low free memory goes, the largest request that would be served then, and "
    "how far SRAM's heap may move until something fails. Addresses are not compared. TRACE `-` "
    "is standard input.\v"
    "Example:\n"
    "  wmheap whatif --poisoning=light --heap-start SRAM=0x20011000 field.trace\n\n"
    "Exit status: 0 it fits, 1 a request fails, 2 unusable input or usage.";

static char *setting_of(struct argp_state *state, const char *key, const char *value) {
    struct trace_config scratch = {0};
    char *setting = NULL;
    if (asprintf(&setting, "%s=%s", key, value) < 0 || !trace_config_set(&scratch, setting)) {
        argp_error(state, "--%s=%s: no such value", key, value);
    }
    return setting;
}

static void parse_start(struct argp_state *state, struct arguments *arguments, const char *text) {
    const char *equals = strchr(text, '=');
    size_t length = equals != NULL ? (size_t)(equals - text) : 0;
    char *end = NULL;
    unsigned long long start = equals != NULL ? strtoull(equals + 1, &end, 0) : 0;
    bool digits = equals != NULL && equals[1] >= '0' && equals[1] <= '9' && *end == '\0';
    if (!digits || length == 0 || length >= sizeof arguments->starts[0].region || start == 0 ||
        start > UINT32_MAX || arguments->start_count == STARTS_MAX) {
        argp_error(state, "--heap-start=%s: REGION=ADDR is needed, such as SRAM=0x20011000", text);
        return;
    }
    memcpy(arguments->starts[arguments->start_count].region, text, length);
    arguments->starts[arguments->start_count++].start = (uint32_t)start;
}

static error_t parse_option(int key, char *value, struct argp_state *state) {
    struct arguments *arguments = state->input;
    switch (key) {
    case OPTION_JSON:
        arguments->json = true;
        return 0;
    case OPTION_TRACING:
        free(arguments->tracing);
        arguments->tracing = setting_of(state, "tracing", value);
        return 0;
    case OPTION_POISONING:
        free(arguments->poisoning);
        arguments->poisoning = setting_of(state, "poisoning", value);
        return 0;
    case OPTION_PSRAM:
        arguments->psram_bytes = option_psram(state, value);
        return 0;
    case OPTION_HEAP_START:
        parse_start(state, arguments, value);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) {
            argp_error(state, "one trace is all that is taken");
        }
        arguments->file = value;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "a trace file is needed, or - for standard input");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* --- text ------------------------------------------------------------------------------------- */

static void print_event(const struct trace *trace, const char *shown, size_t event) {
    char text[256];
    trace_format_event(trace, &trace->events[event - 1], text, sizeof text);
    printf("%s:%" PRIu32 ": event %zu: %s", shown, trace->events[event - 1].line_number, event,
           text);
}

static void print_failure(const struct trace *trace, const char *shown,
                          const struct whatif_failure *failure) {
    printf("  ");
    print_event(trace, shown, failure->event);
    printf("\n    finds no room: %" PRIu32 " bytes are free for it, the largest request that would "
           "be served is %" PRIu32 "\n",
           failure->free_bytes, failure->largest_request);
}

static void print_lows(const struct trace *trace, const struct whatif_result *result) {
    printf("  lowest free: total %" PRIu32 " (event %zu)", result->total.free_bytes,
           result->total.event);
    for (uint32_t i = 0; i < trace->region_count; i++) {
        if (result->region_open[i]) {
            printf(", %s %" PRIu32 " (event %zu)", trace->regions[i].name,
                   result->regions[i].free_bytes, result->regions[i].event);
        }
    }
    printf("\n  largest request at the peak:");
    const char *between = "";
    for (unsigned i = 0; i < WHATIF_PEAKS; i++) {
        const struct whatif_peak *peak = &result->peaks[i];
        if (peak->served) {
            printf("%s %s %" PRIu32 " of %" PRIu32 " free (event %zu)", between, peak->name,
                   peak->largest_request, peak->low.free_bytes, peak->low.event);
            between = ",";
        }
    }
    putchar('\n');
}

static void print_text(const struct trace *trace, const char *shown, uint32_t sram_start,
                       const struct whatif_result *result) {
    printf("%s: %s\n", shown, result->fits ? "fits" : "does not fit");
    if (!result->fits) {
        print_failure(trace, shown, &result->failure);
    }
    print_lows(trace, result);
    if (!result->has_sram) {
        return;
    }
    if (!result->fits && result->curable) {
        printf("  lacking: it would fit if SRAM's heap began %" PRIu32 " bytes earlier, at "
               "0x%08" PRIx32 "\n",
               result->lacking, sram_start - result->lacking);
    } else if (!result->fits) {
        printf("  lacking: an earlier start of SRAM's heap does not help\n");
    } else if (result->beyond.event == 0) {
        printf("  headroom: all of SRAM, %" PRIu32 " bytes\n", result->headroom);
    } else {
        printf("  headroom: SRAM's heap may begin %" PRIu32 " bytes later, at 0x%08" PRIx32
               "; 8 bytes more, and\n",
               result->headroom, sram_start + result->headroom);
        print_failure(trace, shown, &result->beyond);
    }
}

/* --- JSON ------------------------------------------------------------------------------------ */

static json_t *json_low(const struct whatif_low *low) {
    json_t *object = json_object();
    json_object_set_new(object, "free", json_integer(low->free_bytes));
    json_object_set_new(object, "event", json_integer((json_int_t)low->event));
    return object;
}

static json_t *json_failure(const struct trace *trace, const struct whatif_failure *failure) {
    const struct trace_event *event = &trace->events[failure->event - 1];
    json_t *object = json_object();
    json_object_set_new(object, "event", json_integer((json_int_t)failure->event));
    json_object_set_new(object, "line", json_integer(event->line_number));
    json_object_set_new(object, "size", json_integer((json_int_t)failure->size));
    json_object_set_new(object, "free", json_integer(failure->free_bytes));
    json_object_set_new(object, "largest_request", json_integer(failure->largest_request));
    if ((event->has & TRACE_HAS_SITE) != 0) {
        char *site = NULL;
        if (asprintf(&site, "%s:%" PRIu32, trace->names[event->site], event->site_line) >= 0) {
            json_object_set_new(object, "site", json_text(site));
            free(site);
        }
    }
    return object;
}

static void print_json(const struct trace *trace, const char *file,
                       const struct whatif_result *result) {
    json_t *object = json_object();
    json_t *low = json_object();
    json_t *peaks = json_object();
    json_object_set_new(object, "file", json_text(file));
    json_object_set_new(object, "fits", json_boolean(result->fits));
    json_object_set_new(low, "total", json_low(&result->total));
    for (uint32_t i = 0; i < trace->region_count; i++) {
        if (result->region_open[i]) {
            json_object_set_new(low, trace->regions[i].name, json_low(&result->regions[i]));
        }
    }
    json_object_set_new(object, "lowest_free", low);
    for (unsigned i = 0; i < WHATIF_PEAKS; i++) {
        const struct whatif_peak *peak = &result->peaks[i];
        if (peak->served) {
            json_t *row = json_low(&peak->low);
            json_object_set_new(row, "largest_request", json_integer(peak->largest_request));
            json_object_set_new(peaks, peak->name, row);
        }
    }
    json_object_set_new(object, "peaks", peaks);
    if (!result->fits) {
        json_object_set_new(object, "failure", json_failure(trace, &result->failure));
        if (result->curable) {
            json_object_set_new(object, "lacking", json_integer(result->lacking));
        }
    } else if (result->has_sram) {
        json_object_set_new(object, "headroom", json_integer(result->headroom));
        if (result->beyond.event != 0) {
            json_object_set_new(object, "beyond", json_failure(trace, &result->beyond));
        }
    }
    json_print(object, stdout);
}

/* --- the question ---------------------------------------------------------------------------- */

static void on_progress(void *context, size_t done, size_t all) {
    (void)context;
    progress_show(done, all);
}

/* The options in terms of this trace; false after a message. */
static bool options_make(const struct arguments *arguments, const struct trace *trace,
                         const char *shown, struct whatif_options *options) {
    *options = (struct whatif_options){
        .config = trace->config, .psram_bytes = arguments->psram_bytes, .on_progress = on_progress};
    if (arguments->tracing != NULL) {
        trace_config_set(&options->config, arguments->tracing);
    }
    if (arguments->poisoning != NULL) {
        trace_config_set(&options->config, arguments->poisoning);
    }
    bool psram = false;
    for (uint32_t i = 0; i < trace->region_count; i++) {
        psram |= strcmp(trace->regions[i].name, "PSRAM") == 0;
    }
    if (!psram && arguments->psram_bytes != REPLAY_PSRAM_AS_TRACED && arguments->psram_bytes != 0) {
        fprintf(stderr, "wmheap: %s: --psram: the trace has no PSRAM region\n", shown);
        return false;
    }
    for (size_t j = 0; j < arguments->start_count; j++) {
        uint32_t i = 0;
        while (i < trace->region_count &&
               strcmp(trace->regions[i].name, arguments->starts[j].region) != 0) {
            i++;
        }
        if (i == trace->region_count) {
            fprintf(stderr, "wmheap: %s: --heap-start: the trace has no region %s\n", shown,
                    arguments->starts[j].region);
            return false;
        }
        options->heap_start[i] = arguments->starts[j].start;
    }
    return true;
}

static uint32_t sram_start(const struct trace *trace, const struct whatif_options *options) {
    for (uint32_t i = 0; i < trace->region_count; i++) {
        if (strcmp(trace->regions[i].name, "SRAM") == 0) {
            return options->heap_start[i] != 0 ? options->heap_start[i] : trace->regions[i].start;
        }
    }
    return 0;
}

static int run(const struct arguments *arguments, const char *shown) {
    struct trace trace;
    struct trace_error error;
    struct whatif_options options;
    struct whatif_result result;
    progress_begin(shown);
    if (!trace_read_file(&trace, arguments->file, &error)) {
        fprintf(stderr, "wmheap: %s\n", error.text);
        return STATUS_UNUSABLE;
    }
    int status = STATUS_UNUSABLE;
    if (options_make(arguments, &trace, shown, &options)) {
        bool answered = whatif_ask(&trace, &options, &result, &error);
        progress_end();
        if (!answered) {
            fprintf(stderr, "wmheap: %s: %s\n", shown, error.text);
        } else {
            status = result.fits ? STATUS_OK : STATUS_FINDING;
            if (arguments->json) {
                print_json(&trace, arguments->file, &result);
            } else {
                print_text(&trace, shown, sram_start(&trace, &options), &result);
            }
        }
    }
    trace_free(&trace);
    return status;
}

int command_whatif(int argc, char **argv) {
    static const struct argp parser = {option_table, parse_option, "TRACE", help_text,
                                       NULL,         NULL,         NULL};
    struct arguments arguments = {.psram_bytes = REPLAY_PSRAM_AS_TRACED};
    options_parse(&parser, "whatif", argc, argv, &arguments);
    char *shown = name_shown(arguments.file);
    int status = run(&arguments, shown != NULL ? shown : "?");
    free(shown);
    free(arguments.tracing);
    free(arguments.poisoning);
    return output_finish() ? status : STATUS_UNUSABLE;
}
