/* SPDX-License-Identifier: Apache-2.0
 *
 * What the arguments of several commands have in common: how they are parsed, and what is
 * said when they are wrong. A message of argp_error ends the program with STATUS_UNUSABLE.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <argp.h> /* argument parsing: in glibc, so nothing to install */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trace.h"

/* Parses the arguments of `wmheap NAME`. */
void options_parse(const struct argp *parser, const char *name, int argc, char **argv,
                   void *arguments);

/* --set KEY=VALUE, as often as one likes: overrides a trace's config. */
struct settings {
    char *list[16];
    size_t count;
};
void settings_add(struct argp_state *state, struct settings *settings, char *value);
void settings_apply(const struct settings *settings, struct trace_config *config);

/* --psram SIZE: none, 2M, 4M, 8M. */
uint32_t option_psram(struct argp_state *state, const char *value);
/* --base ADDR. */
uint32_t option_base(struct argp_state *state, const char *value);

/* Reads a decimal number from 1. False if the text is none. */
bool number_parse(const char *text, size_t *value);

/* One file to read, and one to write or NULL. */
struct in_out {
    const char *in;
    const char *out;
};
/* To be called for the keys that a command does not know itself. */
error_t in_out_parse(int key, const char *value, struct argp_state *state, struct in_out *files);

/* The files that a command reads, one after the other. */
struct inputs {
    char **files;
    size_t count;
};
/* To be called for the keys that a command does not know itself. `wanted`: what is to be given,
 * for the message when nothing is. */
error_t inputs_parse(int key, struct argp_state *state, struct inputs *inputs, const char *wanted);
/* Runs the command's work on each file; `shown` is its name for messages. Then finishes the
 * output. Returns the highest status. */
int inputs_each(const struct inputs *inputs,
                int (*work)(const void *arguments, const char *file, const char *shown),
                const void *arguments);

/* A file's name for messages: fit for one line, and <stdin> for `-`. The caller frees it. */
char *name_shown(const char *name);

#endif
