/* SPDX-License-Identifier: Apache-2.0
 *
 * The text trace, version 1: what a program asked of the heap, line by line, and
 * what it got. Read whole before anything runs, so that a refused file changes
 * nothing. The format is described in sim/trace-format.md.
 */
#ifndef TRACE_H
#define TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TRACE_VERSION 1
#define TRACE_REGIONS_MAX 3
#define TRACE_BYTES_MAX (1u << 30) /* a larger file is refused */
#define TRACE_LINE_MAX 4096        /* a longer line is refused; so that the canonical form of a */
#define TRACE_COMMENT_MAX 2048     /* line that was read never is one, its comment, ... */
#define TRACE_FILE_MAX 1024        /* ... the FILE of its call site ... */
#define TRACE_WORD_MAX 64          /* ... and its NAME or KIND are limited too */

enum trace_poisoning { TRACE_POISONING_NONE, TRACE_POISONING_LIGHT, TRACE_POISONING_COMPREHENSIVE };

struct trace_config {
    bool tracing;
    enum trace_poisoning poisoning;
    bool realloc_in_place; /* `realloc=inplace`; the SDK's way is `realloc=move` */
};

struct trace_region {
    char name[8];
    uint32_t start; /* first byte of the heap */
    uint32_t end;   /* first byte after it */
    uint32_t caps;
    bool deferred;
};

/* kind, keyword. The first six are the format's own, the others ours. */
#define TRACE_EVENTS(X)                                                                            \
    X(APPEND, "append")       /* NAME */                                                           \
    X(ALLOC, "alloc")         /* ID SIZE CAPS */                                                   \
    X(REALLOC, "realloc")     /* ID SIZE CAPS */                                                   \
    X(FREE, "free")           /* ID */                                                             \
    X(FREEADDR, "freeaddr")   /* ADDR */                                                           \
    X(EXPECT, "expect")       /* KEY=VALUE ...: free, min_free, fault */                           \
    X(CALLOC, "calloc")       /* ID COUNT SIZE CAPS */                                             \
    X(ALIGNED, "aligned")     /* ID ALIGNMENT SIZE CAPS */                                         \
    X(INIT, "init")           /* a second wm_heap_init */                                          \
    X(WRITE, "write")         /* ID OFFSET LENGTH BYTE: the program stores, also past its block */ \
    X(WRITEADDR, "writeaddr") /* ADDR LENGTH BYTE */                                               \
    X(READADDR, "readaddr")   /* ADDR LENGTH: the program loads */                                 \
    X(FLIP, "flip")           /* ADDR BIT: bit 0 to 7 of that byte flips, whatever the cause */    \
    X(FAIL, "fail")           /* N [on]: the Nth allocation from here fails [and all after it] */  \
    X(DMA, "dma")             /* MASTER ADDR LENGTH: starts; `dma MASTER stop` */                  \
    X(CHECK, "check")         /* [REGION]: the integrity check */                                  \
    X(STATS, "stats")         /* wm_heap_print_stats */                                            \
    X(TRACING, "tracing")     /* wm_heap_print_tracing(NULL) */

enum trace_event_kind {
#define TRACE_ENUMERATOR(name, keyword) TRACE_##name,
    TRACE_EVENTS(TRACE_ENUMERATOR)
#undef TRACE_ENUMERATOR
        TRACE_EVENT_KINDS
};

/* Which optional parts an event has. */
#define TRACE_HAS_ADDRESS 0x01u  /* `= ADDR`: result */
#define TRACE_HAS_SITE 0x02u     /* `@ FILE:LINE` */
#define TRACE_HAS_FREE 0x04u     /* expect free= */
#define TRACE_HAS_MIN_FREE 0x08u /* expect min_free= */
#define TRACE_HAS_FAULT 0x10u    /* expect fault=KIND: the event before reported it */
#define TRACE_HAS_ON 0x20u       /* fail N on */
#define TRACE_HAS_STOP 0x40u     /* dma MASTER stop */

#define TRACE_NO_SLOT 0xffffffffu

/* One event; 36 bytes, since a trace may have millions. Fields by kind:
 *   size        bytes of alloc, calloc (each), realloc, aligned; LENGTH; N of fail;
 *               free= of expect
 *   caps        bits; OFFSET of write (signed); ADDR of freeaddr, writeaddr, readaddr,
 *               flip, dma; min_free= of expect
 *   extra       COUNT of calloc; ALIGNMENT; BYTE; BIT; dma master; name index of
 *               append and check (TRACE_NO_SLOT: none); fault name index of expect
 * What a kind does not use is 0. */
struct trace_event {
    uint8_t kind;
    uint8_t has;
    uint32_t line_number; /* in the file, from 1 */
    uint32_t slot;        /* index into trace.ids, TRACE_NO_SLOT if the kind has no ID */
    uint32_t size;
    uint32_t caps;
    uint32_t extra;
    uint32_t address;   /* expected result, 0 is NULL */
    uint32_t site;      /* index into trace.names */
    uint32_t site_line; /* line of the call site */
};

/* Text that is kept for the next writer but means nothing. Lines are counted as they are
 * written: 0 the `wmtrace` line, 1 the config line, then the regions, then the events.
 * In the order of the file; whoever drops events drops the comments or renumbers them. */
struct trace_comment {
    uint32_t place;  /* the line it precedes or shares; past the last one: the file's end */
    uint32_t offset; /* into trace.comment_text */
    uint32_t length;
    bool behind; /* `# ...` on that line; else whole lines before it, each with its newline,
                  * blank ones too */
};

/* A whole trace. Owned by the caller, freed by trace_free. */
struct trace {
    struct trace_config config;
    struct trace_region regions[TRACE_REGIONS_MAX];
    uint32_t region_count;
    struct trace_event *events;
    size_t event_count;
    uint32_t *ids; /* the program's ID of each slot, in order of first use */
    uint32_t id_count;
    char **names; /* region, fault and file names, hardly ever one of them twice */
    uint32_t name_count;
    struct trace_comment *comments;
    size_t comment_count;
    char *comment_text;
};

/* Why a trace was refused. */
struct trace_error {
    char text[512]; /* "FILE:LINE: reason", one line, without newline; "FILE: reason" if the
                     * file could not be read at all */
};

/* Reads a trace from a file ("-": standard input). Returns true and fills *trace, or
 * false, fills *error and leaves *trace empty; nothing else happens. Refused: what is no
 * `wmtrace 1`, a missing last newline, an unknown event, config key or region, a missing
 * or surplus field, a number out of range, regions outside the chip's memory or out of
 * order, a trace without regions, control bytes (NUL too), overlong lines, a file over
 * TRACE_BYTES_MAX. O(bytes), whatever the IDs and names. */
bool trace_read_file(struct trace *trace, const char *path, struct trace_error *error);

/* The same from memory; `name` stands for the file in errors. */
bool trace_read_memory(struct trace *trace, const char *text, size_t length, const char *name,
                       struct trace_error *error);

/* Frees what *trace owns and empties it. An empty or partly filled one is fine. */
void trace_free(struct trace *trace);

/* Writes canonical text: reading it back gives the same trace, comments included, and
 * canonical text (that of the golden traces) comes back byte for byte. Flushes `out`;
 * returns false on a write error. */
bool trace_write(const struct trace *trace, FILE *out);

/* One event as its canonical line, without newline and comment, cut to `size`. */
void trace_format_event(const struct trace *trace, const struct trace_event *event, char *text,
                        size_t size);

/* `tracing=y`, `poisoning=light`, `realloc=inplace`: sets one config key as a config
 * line does. False if the key or the value is unknown. */
bool trace_config_set(struct trace_config *config, const char *setting);

/* Capability bits as a `|`-list, "0" for none; unknown bits as one hexadecimal. */
void trace_format_caps(uint32_t caps, char *text, size_t size);

/* DMA masters: channels 0 to 7, then the high-speed peripherals. */
enum trace_dma_master {
    TRACE_DMA_CHANNELS = 8,
    TRACE_DMA_SDIO = TRACE_DMA_CHANNELS,
    TRACE_DMA_HSPI,
    TRACE_DMA_WIFI,
    TRACE_DMA_MASTERS
};
extern const char *const trace_dma_names[TRACE_DMA_MASTERS]; /* "ch0".."ch7", "sdio", ... */

#endif
