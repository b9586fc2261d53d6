/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

void options_parse(const struct argp *parser, const char *name, int argc, char **argv,
                   void *arguments) {
    char shown[64];
    char *own = argv[0];
    snprintf(shown, sizeof shown, "wmheap %s", name);
    argv[0] = shown; /* argp's messages begin with it */
    argp_err_exit_status = STATUS_UNUSABLE;
    argp_parse(parser, argc, argv, 0, NULL, arguments);
    argv[0] = own;
}

void settings_add(struct argp_state *state, struct settings *settings, char *value) {
    struct trace_config scratch = {0};
    if (!trace_config_set(&scratch, value)) {
        argp_error(state,
                   "--set=%s: tracing=y|n, poisoning=none|light|comprehensive or "
                   "realloc=move|inplace is needed",
                   value);
    } else if (settings->count == sizeof settings->list / sizeof *settings->list) {
        argp_error(state, "--set=%s: no more than %zu settings can be given", value,
                   settings->count);
    } else {
        settings->list[settings->count++] = value;
    }
}

void settings_apply(const struct settings *settings, struct trace_config *config) {
    for (size_t i = 0; i < settings->count; i++) {
        trace_config_set(config, settings->list[i]);
    }
}

uint32_t option_psram(struct argp_state *state, const char *value) {
    static const char *const sizes[] = {"none", "2M", "4M", "8M"};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (strcmp(value, sizes[i]) == 0) {
            return i == 0 ? 0 : 1u << (20 + i);
        }
    }
    argp_error(state, "--psram=%s: one of none, 2M, 4M, 8M is needed", value);
    return 0;
}

uint32_t option_base(struct argp_state *state, const char *value) {
    char *end = NULL;
    errno = 0;
    unsigned long long base = strtoull(value, &end, 0);
    if (*value < '0' || *value > '9' || *end != '\0' || errno != 0 || base > UINT32_MAX) {
        argp_error(state, "--base=%s: an address such as 0x20000000 is needed", value);
    }
    return (uint32_t)base;
}

bool number_parse(const char *text, size_t *value) {
    char *end;
    if (*text < '0' || *text > '9') {
        return false;
    }
    unsigned long long number = strtoull(text, &end, 10);
    *value = (size_t)number;
    return *end == '\0' && number > 0 && number < UINT32_MAX;
}

error_t in_out_parse(int key, const char *value, struct argp_state *state, struct in_out *files) {
    switch (key) {
    case ARGP_KEY_ARG:
        if (state->arg_num >= 2) {
            argp_error(state, "one file to read and one to write are all that is taken");
        } else if (state->arg_num == 0) {
            files->in = value;
        } else {
            files->out = value;
        }
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "a file is needed, or - for standard input");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

error_t inputs_parse(int key, struct argp_state *state, struct inputs *inputs, const char *wanted) {
    switch (key) {
    case ARGP_KEY_ARGS:
        inputs->files = state->argv + state->next;
        inputs->count = (size_t)(state->argc - state->next);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "%s is needed, or - for standard input", wanted);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int inputs_each(const struct inputs *inputs,
                int (*work)(const void *arguments, const char *file, const char *shown),
                const void *arguments) {
    int status = STATUS_OK;
    for (size_t i = 0; i < inputs->count; i++) {
        char *shown = name_shown(inputs->files[i]);
        int one = work(arguments, inputs->files[i], shown != NULL ? shown : "?");
        free(shown);
        status = one > status ? one : status;
    }
    return output_finish() ? status : STATUS_UNUSABLE;
}

char *name_shown(const char *name) {
    return strcmp(name, "-") == 0 ? strdup("<stdin>") : name_printable(name);
}
