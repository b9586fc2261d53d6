/* SPDX-License-Identifier: Apache-2.0
 *
 * csky-run: runs one C-SKY program, and says what it did.
 */
#include <argp.h> /* argument parsing: in glibc, so nothing to install */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "csky.h"
#include "csky_report.h"

#define STATUS_EXHAUSTED 124
#define STATUS_FAULTED 125

struct arguments {
    bool stats;
    bool json;
    bool trace;
    uint64_t limit;
    const char *program;
};

enum { OPTION_STATS = 256, OPTION_JSON, OPTION_LIMIT, OPTION_TRACE };

static const struct argp_option option_table[] = {
    {"stats", OPTION_STATS, NULL, 0, "Then print instructions per function to standard error", 0},
    {"json", OPTION_JSON, NULL, 0, "... as one JSON object", 0},
    {"max-insns", OPTION_LIMIT, "N", 0, "Stop after N instructions, with status 124", 0},
    {"trace", OPTION_TRACE, NULL, 0, "Print every instruction to standard error", 0},
    {0}};

static const char help_text[] =
    "Runs a static C-SKY V2 program (CK803, CK804; little-endian ELF) in an interpreter. It reads "
    "standard input and writes standard output by Linux's system calls read, write, exit and "
    "exit_group.\v"
    "Example:\n"
    "  csky-run --stats hello.elf\n\n"
    "Exit status: the program's own; 2 unusable program or usage; 124 --max-insns reached; 125 "
    "the program faulted: an access to no memory or without right, a misaligned one, an unknown "
    "instruction, a division by zero, a trap or system call that is not served.";

static error_t parse_option(int key, char *value, struct argp_state *state) {
    struct arguments *arguments = state->input;
    char *end = NULL;
    switch (key) {
    case OPTION_STATS:
        arguments->stats = true;
        return 0;
    case OPTION_JSON:
        arguments->json = true;
        return 0;
    case OPTION_TRACE:
        arguments->trace = true;
        return 0;
    case OPTION_LIMIT:
        errno = 0;
        arguments->limit = strtoull(value, &end, 10);
        if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0) {
            argp_error(state, "--max-insns=%s: a number is needed", value);
        }
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) {
            argp_error(state, "one program is all that is taken");
        }
        arguments->program = value;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "a program is needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static enum csky_end run(struct csky_machine *machine, const struct arguments *arguments) {
    if (!arguments->trace) {
        return csky_run(machine, arguments->limit);
    }
    enum csky_end end = CSKY_EXHAUSTED;
    for (uint64_t i = 0; i < arguments->limit && end == CSKY_EXHAUSTED; ++i) {
        end = csky_trace_step(machine, stderr);
    }
    return end;
}

int main(int argc, char **argv) {
    static const struct argp parser = {option_table, parse_option, "PROGRAM", help_text,
                                       NULL,         NULL,         NULL};
    struct arguments arguments = {.limit = CSKY_UNLIMITED};
    char message[512];
    argp_err_exit_status = STATUS_UNUSABLE;
    if (argp_parse(&parser, argc, argv, ARGP_IN_ORDER, NULL, &arguments) != 0) {
        return STATUS_UNUSABLE;
    }
    struct csky_machine *machine = csky_open(arguments.program, message, sizeof(message));
    if (machine == NULL) {
        char *plain = name_printable(message);
        fprintf(stderr, "csky-run: %s\n", plain != NULL ? plain : message);
        free(plain);
        return STATUS_UNUSABLE;
    }
    const enum csky_end end = run(machine, &arguments);
    int status = csky_status(machine);
    if (end == CSKY_FAULTED) {
        csky_report_fault(machine, arguments.program, stderr);
        status = STATUS_FAULTED;
    } else if (end == CSKY_EXHAUSTED) {
        fprintf(stderr, "csky-run: stopped after %" PRIu64 " instructions (--max-insns)\n",
                csky_instructions(machine));
        status = STATUS_EXHAUSTED;
    }
    if (arguments.json) {
        csky_report_json(machine, stderr);
    } else if (arguments.stats) {
        csky_report_stats(machine, stderr);
    }
    csky_close(machine);
    return status;
}
