/* SPDX-License-Identifier: Apache-2.0
 *
 * `wmheap emit`: a trace in, a test case in C out.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "emit.h"
#include "options.h"
#include "output.h"

struct arguments {
    const char *name;
    struct in_out files;
};

enum { OPTION_NAME = 256 };

static const struct argp_option option_table[] = {
    {"name", OPTION_NAME, "NAME", 0, "The test's name (default: the file's)", 0}, {0}};

static const char help_text[] =
    "Writes a trace as a test case in C for Criterion and w800::sim, ready to paste: the same "
    "calls, with the claim that no fault comes that was not expected and that every recorded "
    "address comes back. It fails until the bug is fixed. TRACE `-` is standard input; without "
    "OUT the test goes to standard output.\v"
    "Example:\n"
    "  wmheap shrink field.trace | wmheap emit --name=overrun - tests/test_overrun.c\n\n"
    "Exit status: 0 a test was written, 2 unusable input or usage.";

static bool is_identifier(const char *name) {
    size_t length = strlen(name);
    bool good = length > 0 && length < EMIT_NAME_MAX && isdigit((unsigned char)*name) == 0;
    for (; good && *name != '\0'; name++) {
        good = (unsigned char)*name < 0x80 && (isalnum((unsigned char)*name) != 0 || *name == '_');
    }
    return good;
}

static error_t parse_option(int key, char *value, struct argp_state *state) {
    struct arguments *arguments = state->input;
    switch (key) {
    case OPTION_NAME:
        if (!is_identifier(value)) {
            argp_error(state, "--name=%s: a C identifier of at most %d characters is needed", value,
                       EMIT_NAME_MAX - 1);
        }
        arguments->name = value;
        return 0;
    default:
        return in_out_parse(key, value, state, &arguments->files);
    }
}

static int run(const struct arguments *arguments, const char *shown) {
    struct trace trace;
    struct trace_error error;
    struct output output;
    char name[EMIT_NAME_MAX];
    char *text = NULL;
    size_t size = 0;
    if (!trace_read_file(&trace, arguments->files.in, &error)) {
        fprintf(stderr, "wmheap: %s\n", error.text);
        return STATUS_UNUSABLE;
    }
    emit_name(strcmp(arguments->files.in, "-") == 0 ? "stdin" : arguments->files.in, name);
    FILE *out = open_memstream(&text, &size);
    bool good = out != NULL;
    snprintf(error.text, sizeof error.text, "out of memory");
    good = good &&
           emit_test(&trace, arguments->name != NULL ? arguments->name : name, shown, out, &error);
    good = out != NULL && fclose(out) == 0 && good;
    trace_free(&trace);
    int status = STATUS_UNUSABLE;
    if (!good) {
        fprintf(stderr, "wmheap: %s: %s\n", shown, error.text);
    } else if (output_begin(&output, arguments->files.out)) {
        fwrite(text, 1, size, output.file);
        status = output_end(&output, true) ? STATUS_OK : STATUS_UNUSABLE;
    }
    free(text);
    return status;
}

int command_emit(int argc, char **argv) {
    static const struct argp parser = {option_table, parse_option, "TRACE [OUT]", help_text,
                                       NULL,         NULL,         NULL};
    struct arguments arguments = {0};
    options_parse(&parser, "emit", argc, argv, &arguments);
    char *shown = name_shown(arguments.files.in);
    int status = run(&arguments, shown != NULL ? shown : "?");
    free(shown);
    return status;
}
