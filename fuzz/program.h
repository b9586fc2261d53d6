/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs of heap calls as bytes: what `heap`, `smash` and `threads` read and what the
 * mutator edits. Every byte string is a program, so that no effort is lost on syntax:
 *
 *     head  call call call ...
 *
 * The head chooses build, layout, realloc in place, and now and then calls without a call site or
 * a heap that tells no failures. A call is an operation byte (low
 * four bits: what; high four: capabilities, or a variant) and as many bytes as the operation
 * byte says, missing ones being 0. A call's length thus hangs on its first byte alone: calls
 * can be cut out, moved and joined without a parser. 64 calls have about 200 bytes.
 *
 * Sizes near a border are written relative to it ("what the largest hole holds, and one
 * more"), because a border moves with every call before and an absolute size would not.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PROGRAM_SLOTS 64u       /* pointer variables of a program */
#define PROGRAM_CALLS_MAX 1024u /* what comes after is not looked at: inputs stay fast */
#define PROGRAM_CALL_BYTES_MAX 9u
#define PROGRAM_HEAD_BYTES 1u

/* kind, bytes after the operation byte */
#define PROGRAM_KINDS(X)                                                                           \
    X(ALLOC, 3)   /* slot and size class, size */                                                  \
    X(FREE, 1)    /* slot */                                                                       \
    X(REALLOC, 3) /* as alloc */                                                                   \
    X(CALLOC, 4)  /* as alloc, count */                                                            \
    X(ALIGNED, 4) /* as alloc, alignment */                                                        \
    X(BAD, 3)     /* slot and mode, offset: a pointer that is nobody's */                          \
    X(APPEND, 1)  /* name */                                                                       \
    X(FAIL, 1)    /* nth, and whether all after it */                                              \
    X(QUERY, 1)   /* slot */                                                                       \
    X(OTHER, 1)   /* the rare ones, by variant: program_other_of */                                \
    X(SMASH, 7)   /* slot and mode, offset, four bytes */

enum program_kind {
#define PROGRAM_ENUMERATOR(name, bytes) PROGRAM_##name,
    PROGRAM_KINDS(PROGRAM_ENUMERATOR)
#undef PROGRAM_ENUMERATOR
        PROGRAM_KIND_COUNT
};

enum program_other {
    PROGRAM_IN_PLACE,
    PROGRAM_CHECK,
    PROGRAM_STATS,
    PROGRAM_TRACING,
    PROGRAM_INIT,
};

/* Size classes, the two highest bits of the slot byte. */
enum program_size { PROGRAM_SMALL, PROGRAM_ANY, PROGRAM_BORDER, PROGRAM_GIANT };

struct program_head {
    uint32_t build;
    uint32_t layout;
    bool in_place;
    bool untraced; /* alloc and realloc without a call site */
    bool silent;   /* nobody is told of failures */
};

struct program_call {
    enum program_kind kind;
    uint32_t variant; /* high four bits of the operation byte */
    uint32_t slot;
    uint32_t mode; /* two bits: the size class, or where a pointer or damage lies */
    uint32_t caps;
    uint32_t argument; /* 16 bits: size or offset */
    uint32_t extra;    /* count, alignment byte, name, nth */
    uint8_t bytes[4];  /* of a smash */
};

#define PROGRAM_BUILDS 6u
#define PROGRAM_LAYOUTS 3u
#define PROGRAM_CAPS_RAW 15u /* this variant has one more byte: any combination of bits */

/* The operation byte that such a call begins with, variant 0. */
uint8_t program_operation(enum program_kind kind);
/* Bytes of the call that begins with this operation byte. */
uint32_t program_call_bytes(uint8_t operation);

/* A reading position. */
struct program {
    const uint8_t *data;
    size_t size;
    size_t at;
    uint32_t calls;
};

struct program_head program_begin(struct program *program, const uint8_t *data, size_t size);
bool program_next(struct program *program, struct program_call *call); /* false: the end */

/* The size of an alloc, realloc, calloc or aligned call. `border` is the payload that the
 * largest hole for its capabilities holds. */
uint64_t program_size(const struct program_call *call, uint32_t border);
uint32_t program_alignment(const struct program_call *call);
uint64_t program_count(const struct program_call *call);
enum program_other program_other_of(const struct program_call *call);
const char *program_region_name(const struct program_call *call); /* of append; may be NULL */

#endif
