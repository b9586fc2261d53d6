/* SPDX-License-Identifier: Apache-2.0
 *
 * `wmheap emit`: a trace in, a test case in C out.
 */
#include <argp.h> /* argument parsing: in glibc, so nothing to install */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "emit.h"
#include "output.h"

struct arguments {
    const char *name;
    const char *in;
    const char *out;
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
    case ARGP_KEY_ARG:
        if (state->arg_num >= 2) {
            argp_error(state, "one trace and one output file are all that is taken");
        } else if (state->arg_num == 0) {
            arguments->in = value;
        } else {
            arguments->out = value;
        }
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "a trace file is needed, or - for standard input");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int run(const struct arguments *arguments, const char *shown) {
    struct trace trace;
    struct trace_error error;
    struct output output;
    char name[EMIT_NAME_MAX];
    char *text = NULL;
    size_t size = 0;
    if (!trace_read_file(&trace, arguments->in, &error)) {
        fprintf(stderr, "wmheap: %s\n", error.text);
        return STATUS_UNUSABLE;
    }
    emit_name(strcmp(arguments->in, "-") == 0 ? "stdin" : arguments->in, name);
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
    } else if (output_begin(&output, arguments->out)) {
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
    char name[] = "wmheap emit";
    argv[0] = name;
    argp_err_exit_status = STATUS_UNUSABLE;
    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    char *shown = strcmp(arguments.in, "-") == 0 ? strdup("<stdin>") : name_printable(arguments.in);
    int status = run(&arguments, shown != NULL ? shown : "?");
    free(shown);
    return status;
}
