/* SPDX-License-Identifier: Apache-2.0
 *
 * One console log as other boards, SDKs, terminal programs and cables would have delivered
 * it. A variant says the same as its original: what a diagnosis makes of the one, it must
 * make of the other.
 *
 * Lost and garbled bytes keep off the few lines that alone carry the answer (is_key_line);
 * every other line may go.
 */
#ifndef FIELD_VARIANTS_H
#define FIELD_VARIANTS_H

#include <stddef.h>
#include <stdint.h>

#define FIELD_DIALECTS(X)                                                                          \
    X(NO_0X, "pointers without 0x")                                                                \
    X(WITH_0X, "pointers with 0x")                                                                 \
    X(V22, "stats of SDK v2.2")                                                                    \
    X(WINDOWS, "file names with a drive's colon")                                                  \
    X(DROP, "5% of the lines lost")                                                                \
    X(GARBLE, "a wrong byte in 5% of the lines")                                                   \
    X(SPLIT, "5% of the lines cut in two")                                                         \
    X(OVERTAKE, "lists and stats that begin in the middle of a log line")                          \
    X(INSERT, "log lines in the middle of list lines")                                             \
    X(NOISE, "binary bytes between the lines")                                                     \
    X(BOOT_BEFORE, "a clean boot before it")                                                       \
    X(BOOT_AFTER, "a clean boot after it")                                                         \
    X(COLOUR, "ANSI colours")                                                                      \
    X(STAMP, "a terminal program's time stamps")                                                   \
    X(LF, "lines end with LF alone")

enum field_dialect {
#define FIELD_DIALECT_ENUMERATOR(name, what) FIELD_##name,
    FIELD_DIALECTS(FIELD_DIALECT_ENUMERATOR)
#undef FIELD_DIALECT_ENUMERATOR
        FIELD_DIALECT_COUNT
};
extern const char *const field_dialect_names[FIELD_DIALECT_COUNT];

/* Styles of time stamps; STAMP picks one by the seed. */
#define FIELD_STAMPS 14u
/* The stamp that stands in front of a line, `seconds` after midnight, terminated. */
size_t field_stamp(unsigned style, double seconds, char *out, size_t room);

/* The variant of a log by the bits of `dialects`, in the order above; the same seed gives the
 * same bytes. `clean` is the log that BOOT_BEFORE and BOOT_AFTER add. The caller frees it. */
char *field_variant(const char *log, const char *clean, unsigned dialects, uint64_t seed,
                    size_t *length);

/* splitmix64. */
uint64_t field_random(uint64_t *seed);

/* A whole file, terminated; fails the test if it cannot be read. The caller frees it. */
char *field_read(const char *path, size_t *length);

#endif
