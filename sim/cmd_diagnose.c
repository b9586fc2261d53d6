/* SPDX-License-Identifier: Apache-2.0
 *
 * `wmheap diagnose`: says what a console log or a RAM dump shows, for a person or, a JSON
 * object a file, for a script.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "diagnose.h"
#include "json.h"
#include "options.h"

#define SCHEMA "wmheap-diagnosis/1"

struct arguments {
    struct diagnose_options options;
    const char *elf;
    bool json;
    struct inputs inputs;
};

enum { OPTION_ELF = 256, OPTION_JSON, OPTION_BASE };

static const struct argp_option option_table[] = {
    {"elf", OPTION_ELF, "FIRMWARE.elf", 0,
     "The firmware that ran: names call sites of a dump, and functions and lines of code", 0},
    {"base", OPTION_BASE, "ADDR", 0,
     "FILE is a raw memory image that begins at this address, 0x20000000 for example", 0},
    {"json", OPTION_JSON, NULL, 0, "One JSON object a line", 0},
    {0}};

static const char help_text[] =
    "Says what happened to the heap of a board that failed, from its console log or from its "
    "RAM dump; which of them FILE is, is told from its content. FILE `-` is standard input.\v"
    "Example:\n"
    "  wmheap diagnose tests/field/leak-11.log\n"
    "  wmheap diagnose --elf tests/field/firmware-trace.elf tests/field/overrun-11.ram\n\n"
    "Exit status: 0 clean, 1 a finding, 2 unusable input or usage; over several files the "
    "highest.";

static error_t parse_option(int key, char *value, struct argp_state *state) {
    struct arguments *arguments = state->input;
    switch (key) {
    case OPTION_ELF:
        arguments->elf = value;
        return 0;
    case OPTION_BASE:
        arguments->options.has_base = true;
        arguments->options.base = option_base(state, value);
        return 0;
    case OPTION_JSON:
        arguments->json = true;
        return 0;
    default:
        return inputs_parse(key, state, &arguments->inputs, "a console log or a RAM dump");
    }
}

/* --- JSON ----------------------------------------------------------------------------------- */

static void set_text(json_t *object, const char *key, const char *text) {
    json_object_set_new(object, key, json_text(text));
}

static void set_address(json_t *object, const char *key, uint32_t address) {
    if (address != 0) {
        json_object_set_new(object, key, json_address(address));
    }
}

static void set_number(json_t *object, const char *key, uint64_t number) {
    json_object_set_new(object, key, json_integer((json_int_t)number));
}

/* The fields that a file and each of its findings share. */
static void set_finding(json_t *object, const struct finding *finding) {
    set_text(object, "verdict", verdict_name(finding->verdict));
    set_text(object, "confidence", finding->certain ? "certain" : "likely");
    if (finding->site[0] != '\0') {
        set_text(object, "site", finding->site);
    }
    set_address(object, "address", finding->address);
    set_address(object, "victim", finding->victim);
}

static json_t *json_evidence(const char *evidence) {
    json_t *lines = json_array();
    while (evidence != NULL && *evidence != '\0') {
        size_t length = strcspn(evidence, "\n");
        json_array_append_new(lines, json_text_part(evidence, length));
        evidence += length + (evidence[length] == '\n');
    }
    return lines;
}

static json_t *json_region(const struct image_region *region) {
    json_t *object = json_object();
    set_text(object, "name", region->name);
    set_address(object, "start", region->start);
    set_address(object, "end", region->end);
    if (region->has_free || region->has_blocks) {
        set_number(object, "free", region->free_bytes);
    }
    if (region->has_blocks) {
        set_number(object, "largest_free", region->largest_free);
        set_number(object, "live_blocks", region->live_blocks);
        set_number(object, "live_bytes", region->live_bytes);
    }
    return object;
}

static void print_json(const char *file, const struct diagnosis *diagnosis) {
    json_t *object = json_object();
    json_t *findings = json_array();
    json_t *regions = json_array();
    const struct finding clean = {.verdict = VERDICT_CLEAN, .certain = diagnosis->damaged == 0};
    const struct findings *all = &diagnosis->findings;
    set_text(object, "schema", SCHEMA);
    set_text(object, "file", file);
    set_finding(object, all->count > 0 ? &all->list[0] : &clean);
    for (size_t i = 0; i < all->count; i++) {
        json_t *finding = json_object();
        set_finding(finding, &all->list[i]);
        json_object_set_new(finding, "evidence", json_evidence(all->list[i].evidence));
        json_array_append_new(findings, finding);
    }
    json_object_set_new(object, "findings", findings);
    if (diagnosis->exception != DIAGNOSE_NO_EXCEPTION) {
        set_number(object, "exception", diagnosis->exception);
    }
    set_address(object, "pc", diagnosis->pc);
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; i++) {
        if (diagnosis->image.regions[i].present) {
            json_array_append_new(regions, json_region(&diagnosis->image.regions[i]));
        }
    }
    json_object_set_new(object, "regions", regions);
    if (diagnosis->lines != 0) {
        set_number(object, "lines", diagnosis->lines);
        set_number(object, "damaged", diagnosis->damaged);
    }
    json_print(object, stdout);
}

/* --- text ----------------------------------------------------------------------------------- */

/* Names and texts of a file, fit for a terminal. */
static void print_plain(const char *text) {
    char *plain = name_printable(text);
    fputs(plain != NULL ? plain : "?", stdout);
    free(plain);
}

static void print_head(const struct finding *finding) {
    printf("%s%s", verdict_name(finding->verdict), finding->certain ? "" : ", likely");
    if (finding->address != 0) {
        printf(": block 0x%08" PRIx32, finding->address);
    }
    if (finding->site[0] != '\0') {
        fputs(finding->address != 0 ? " allocated at " : ": ", stdout);
        print_plain(finding->site);
    }
    if (finding->victim != 0) {
        printf(", smashed block 0x%08" PRIx32, finding->victim);
    }
    putchar('\n');
}

static void print_evidence(const char *evidence) {
    while (evidence != NULL && *evidence != '\0') {
        size_t length = strcspn(evidence, "\n");
        char *line = strndup(evidence, length);
        fputs("    ", stdout);
        print_plain(line != NULL ? line : "?");
        putchar('\n');
        free(line);
        evidence += length + (evidence[length] == '\n');
    }
}

static void print_regions(const struct image *image) {
    bool any = false;
    for (size_t i = 0; i < IMAGE_REGIONS_MAX; i++) {
        const struct image_region *region = &image->regions[i];
        if (!region->present) {
            continue;
        }
        if (!any) {
            printf("  %-6s %-10s %-10s %9s %9s %7s %9s\n", "region", "start", "end", "free",
                   "largest", "blocks", "bytes");
            any = true;
        }
        printf("  %-6s ", region->name);
        if (region->start != 0 && region->end != 0) {
            printf("0x%08" PRIx32 " 0x%08" PRIx32, region->start, region->end);
        } else {
            printf("%-10s %-10s", "-", "-");
        }
        if (region->has_free || region->has_blocks) {
            printf(" %9" PRIu32, region->free_bytes);
        } else {
            printf(" %9s", "-");
        }
        if (region->has_blocks) {
            printf(" %9" PRIu32 " %7" PRIu32 " %9" PRIu32 "\n", region->largest_free,
                   region->live_blocks, region->live_bytes);
        } else {
            printf(" %9s %7s %9s\n", "-", "-", "-");
        }
    }
}

/* What to do next: one line a verdict, for a log and for a dump. A recording has all that a
 * reproduction needs. */
static const char *next_step(enum verdict verdict, bool is_log, bool is_recorded) {
    switch (verdict) {
    case VERDICT_CLEAN:
        return NULL;
    case VERDICT_LEAK:
        return "look for the path on which that call site's block is not freed";
    case VERDICT_FRAGMENTATION:
        return "let those blocks live in a pool, or be allocated before the short-lived ones";
    case VERDICT_EXHAUSTION:
        return "bound what that call site may hold, or move it to PSRAM";
    case VERDICT_EXCEPTION:
    case VERDICT_SMASHED_HEADER:
        return is_log ? "send `ramdump` to the board after the crash and diagnose the dump: it "
                        "holds the headers"
                      : "diagnose the dump with --elf, or link the recorder into the firmware";
    case VERDICT_DOUBLE_FREE:
    case VERDICT_INVALID_FREE:
    case VERDICT_USE_AFTER_FREE:
        if (is_recorded) {
            return "reproduce it: convert the recorded calls to a trace and replay that";
        }
        return "link the recorder into the firmware: it keeps who freed what";
    default:
        return is_log ? "reproduce it: convert the log to a trace and replay that"
                      : "reproduce it: convert the dump to a trace and replay that";
    }
}

static void print_next(const char *file, const struct diagnosis *diagnosis) {
    enum verdict verdict = diagnosis_verdict(diagnosis);
    const char *step = next_step(verdict, diagnosis->lines != 0, diagnosis->recorded);
    if (step == NULL) {
        return;
    }
    printf("  next: %s\n", step);
    if (strcmp(file, "-") != 0 && diagnosis->image.block_count != 0) {
        printf("        wmheap convert ");
        shell_word_print(file);
        printf(" heap.trace && wmheap replay heap.trace\n");
    }
}

static void print_text(const char *file, const char *shown, const struct diagnosis *diagnosis) {
    const struct findings *findings = &diagnosis->findings;
    printf("%s: ", shown);
    if (findings->count == 0) {
        printf("clean\n");
    }
    for (size_t i = 0; i < findings->count; i++) {
        if (i > 0) {
            printf("  also ");
        }
        print_head(&findings->list[i]);
        print_evidence(findings->list[i].evidence);
    }
    print_regions(&diagnosis->image);
    if (diagnosis->lines != 0) {
        printf("  %" PRIu64 " lines, %" PRIu64 " of them damaged or missing\n", diagnosis->lines,
               diagnosis->damaged);
    }
    print_next(file, diagnosis);
}

/* --- one file ------------------------------------------------------------------------------- */

static int run_file(const void *context, const char *file, const char *shown) {
    const struct arguments *arguments = context;
    struct diagnosis diagnosis;
    char error[1536];
    if (!diagnose_file(file, &arguments->options, &diagnosis, error, sizeof error)) {
        char *plain = name_printable(error);
        fprintf(stderr, "wmheap: %s\n", plain != NULL ? plain : "out of memory");
        free(plain);
        return STATUS_UNUSABLE;
    }
    if (arguments->json) {
        print_json(file, &diagnosis);
    } else {
        print_text(file, shown, &diagnosis);
    }
    int status = diagnosis_verdict(&diagnosis) == VERDICT_CLEAN ? STATUS_OK : STATUS_FINDING;
    diagnosis_free(&diagnosis);
    return status;
}

int command_diagnose(int argc, char **argv) {
    static const struct argp parser = {option_table, parse_option, "FILE...", help_text,
                                       NULL,         NULL,         NULL};
    struct arguments arguments = {0};
    char error[1536];
    options_parse(&parser, "diagnose", argc, argv, &arguments);
    if (arguments.elf != NULL) {
        arguments.options.firmware = firmware_open(arguments.elf, error, sizeof error);
        if (arguments.options.firmware == NULL) {
            char *plain = name_printable(error);
            fprintf(stderr, "wmheap: %s\n", plain != NULL ? plain : "out of memory");
            free(plain);
            return STATUS_UNUSABLE;
        }
    }
    int status = inputs_each(&arguments.inputs, run_file, &arguments);
    firmware_close(arguments.options.firmware);
    return status;
}
