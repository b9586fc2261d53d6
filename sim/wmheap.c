/* SPDX-License-Identifier: Apache-2.0
 *
 * wmheap: the program. Its commands are in files of their own, cmd_*.c.
 */
#include <stdio.h>
#include <string.h>

#include "command.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"diagnose", command_diagnose, "say what a console log or a RAM dump shows"},
    {"replay", command_replay, "run traces on a simulated W800 and check every address"},
    {"convert", command_convert, "make a trace of a recording, a log or a RAM dump"},
    {"shrink", command_shrink, "find the smallest trace that fails the same way"},
    {"emit", command_emit, "write a trace as a test case in C"},
    {"crosscheck", command_crosscheck, "compare the core with itself compiled for C-SKY"},
    {"cost", command_cost, "count C-SKY instructions of alloc and free"},
    {"whatif", command_whatif, "say whether a workload would still fit"},
};

static void print_help(FILE *out) {
    fputs("Usage: wmheap COMMAND [OPTION...] FILE...\n"
          "The W800's heap on a host: real allocator, real addresses.\n\nCommands:\n",
          out);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].what);
    }
    fputs("\n`wmheap COMMAND --help` says more. Example:\n"
          "  wmheap replay tests/golden/real-lua-trace.trace\n\n"
          "Exit status: 0 all as expected, 1 a finding, 2 unusable input or usage.\n",
          out);
}

int main(int argc, char **argv) {
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
                     strcmp(argv[1], "help") == 0)) {
        print_help(stdout);
        return output_finish() ? STATUS_OK : STATUS_UNUSABLE;
    }
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    if (argc > 1) {
        fprintf(stderr, "wmheap: %.64s: no such command; `wmheap --help` lists them\n", argv[1]);
    } else {
        print_help(stderr);
    }
    return STATUS_UNUSABLE;
}
