/* SPDX-License-Identifier: Apache-2.0
 *
 * For the tests of the trace reader: assertions, well-formed random traces in two
 * spellings, and text with something wrong. It knows the format by itself and shares nothing
 * with the reader's tables.
 */
#ifndef TRACE_TEXT_H
#define TRACE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../sim/trace.h"

/* Canonical text with every event, every option, and a comment at every place where one
 * can stand. */
extern const char trace_text_every_event[];

/* What trace_write writes; for the caller to free. */
char *trace_text_of(const struct trace *trace, size_t *length);

/* Assertions of the suites; `what` tells how to repeat the case. The file's name in
 * errors is "t". */
void trace_text_assert_same(const char *got, size_t got_length, const char *want,
                            size_t want_length, const char *what);
void trace_text_assert_reads_as(const char *text, size_t length, const char *want,
                                size_t want_length, const char *what);
void trace_text_assert_refusal(const struct trace *trace, const struct trace_error *error,
                               const char *what);
/* Accepted text has a canonical form that comes back byte for byte, other text a reason.
 * Returns whether it was accepted. */
bool trace_text_assert_judged(const char *text, size_t length, const char *what);

/* W800_SEED of the environment, else a fixed number. */
uint64_t trace_text_seed(void);

struct trace_text_random {
    uint64_t state;
};
uint32_t trace_text_below(struct trace_text_random *random, uint32_t limit);

/* The same trace as canonical text and in other spellings. */
struct trace_text_pair {
    char *clean;
    size_t clean_length;
    char *messy;
    size_t messy_length;
};
struct trace_text_pair trace_text_generate(uint64_t seed, uint64_t events);
void trace_text_free(struct trace_text_pair *pair);

/* A copy with one to three changes: bytes flipped, inserted or deleted, lines swapped or
 * doubled, the rest cut off. */
char *trace_text_garble(struct trace_text_random *random, const char *text, size_t length,
                        size_t *new_length);

#endif
