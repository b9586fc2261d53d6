/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands of wmheap, and what they share. Exit status of all of them: 0 all as
 * expected, 1 a finding, 2 unusable input or usage; over several files the highest.
 */
#ifndef COMMAND_H
#define COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#define STATUS_OK 0
#define STATUS_FINDING 1
#define STATUS_UNUSABLE 2

int command_diagnose(int argc, char **argv);
int command_replay(int argc, char **argv);
int command_convert(int argc, char **argv);
int command_shrink(int argc, char **argv);
int command_emit(int argc, char **argv);
int command_whatif(int argc, char **argv);
int command_crosscheck(int argc, char **argv);
int command_cost(int argc, char **argv);

/* A file's name fit for a terminal and for one line: control bytes as \xNN. The caller frees
 * it; NULL if memory is short. */
char *name_printable(const char *name);

/* Prints a word to standard output so that bash reads it as this one word. */
void shell_word_print(const char *word);

/* Progress on standard error: shown if that is a terminal and the work has taken more
 * than a second; wiped before anything else is written. */
void progress_begin(const char *name);
void progress_show(size_t done, size_t all);
void progress_end(void);

/* Flushes standard output; false, with a message, if it could not be written. */
bool output_finish(void);

#endif
