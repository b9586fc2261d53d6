/* SPDX-License-Identifier: Apache-2.0
 *
 * A console log as a stream of records: what the SDK prints about its heap, its crashes and
 * its boots, and the log lines in between.
 *
 * Serial consoles are poor witnesses. Terminal programs put time stamps and colours into the
 * text, bytes get lost, and the heap prints past the buffer of ordinary log lines, so that a
 * list may begin in the middle of one. The reader undoes what it can undo with certainty, and
 * counts the rest as damaged; it never guesses at a digit. It holds one chunk of the file and
 * at most two unfinished lines, however long the log is.
 */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONSOLE_LINE_MAX 4096u /* a longer line is read in pieces of this size */

enum console_kind {
    CONSOLE_OTHER,          /* text of unknown origin */
    CONSOLE_LOG,            /* [L] (ms) tag: text */
    CONSOLE_BOOT,           /* the boot banner */
    CONSOLE_HEAP_SIZE,      /* main: heap size N(x.xxKB) */
    CONSOLE_STATS,          /* the head of the stats */
    CONSOLE_STATS_ROW,      /* one region, or Total */
    CONSOLE_BLOCK,          /* a line of a tracing list */
    CONSOLE_SUMMARY,        /* the line that ends a tracing list */
    CONSOLE_CORRUPTION,     /* corruption detected */
    CONSOLE_ASSERTION,      /* assertion "..." failed */
    CONSOLE_EXCEPTION,      /* CPU Exception : N */
    CONSOLE_EXCEPTION_NAME, /* Exception name: S */
    CONSOLE_REGISTERS,      /* up to four of r0 to r15; psr; pc */
    CONSOLE_ADDR2LINE,      /* Show pc info by run: ... pc r15 */
    CONSOLE_STACK_OVERFLOW, /* task[NAME] stack over flow */
    CONSOLE_RECORDER,       /* a line of the recorder, from its prefix on */
};

/* Bytes of the line, not terminated; valid until the next call of console_next. */
struct console_text {
    const char *at;
    size_t length;
};

#define CONSOLE_REGISTER_PSR 16u
#define CONSOLE_REGISTER_PC 17u
#define CONSOLE_NO_MS UINT64_MAX

struct console_record {
    enum console_kind kind;
    char level;               /* of a log line: E W I D V, else 0 */
    bool worth_a_look;        /* LOG, OTHER: the text may speak of failed requests; cheap test */
    bool has_minimum;         /* STATS_ROW */
    bool has_pointer;         /* CORRUPTION */
    uint8_t count;            /* REGISTERS: pairs in use */
    uint64_t line;            /* number in the file, from 1 */
    uint64_t ms;              /* since boot; CONSOLE_NO_MS if the line has no time */
    struct console_text text; /* LOG, OTHER, RECORDER: message; BLOCK, CORRUPTION, ASSERTION: file
                                 name; STATS_ROW: region; EXCEPTION_NAME, STACK_OVERFLOW: name */
    struct console_text expression; /* ASSERTION */
    struct console_text function;   /* ASSERTION */
    uint32_t index;                 /* BLOCK: position in the list; SUMMARY: number of blocks */
    uint32_t pointer;               /* BLOCK, CORRUPTION */
    uint32_t site_line;             /* BLOCK, CORRUPTION, ASSERTION */
    uint32_t size;                  /* BLOCK, CORRUPTION, SUMMARY, HEAP_SIZE, STATS_ROW: bytes */
    uint32_t minimum;               /* STATS_ROW */
    uint32_t number;                /* EXCEPTION */
    struct {
        uint8_t index; /* 0 to 15, CONSOLE_REGISTER_PSR, CONSOLE_REGISTER_PC */
        uint32_t value;
    } registers[4]; /* REGISTERS; ADDR2LINE: pc, then r15 */
};

struct console;

/* NULL: out of memory. The file stays the caller's. */
struct console *console_open(FILE *file);
void console_close(struct console *console);

/* The next record; false at the end of the file, or if it could not be read further (then
 * ferror is set). Records come in the order of the lines' ends. */
bool console_next(struct console *console, struct console_record *record);

uint64_t console_lines(const struct console *console);
/* Lines that begin like known ones, but cannot be read. */
uint64_t console_damaged(const struct console *console);

#endif
