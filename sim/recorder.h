/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads the lines of the firmware's recorder (core/recorder.c) out of a console text that
 * has come a long way: other lines between and inside them, lines missing, cut, garbled. A
 * line counts only if its checksum is right; what is missing is counted by sequence number.
 * The format is described in sim/recorder-format.md.
 */
#ifndef RECORDER_H
#define RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "trace.h"

#define RECORDER_LINE_MAX 4096      /* longer lines of a console are read in pieces */
#define RECORDER_EVENTS_MAX 4000000 /* of one boot; what comes after is not kept */
#define RECORDER_NAMES_MAX 4096
#define RECORDER_MEMORY_MAX 64

/* As recorded; fields as in core/wm_heap_recorder.h. */
struct recorder_event {
    uint32_t number;
    uint32_t kind; /* enum wm_heap_record_kind */
    uint32_t caps;
    uint32_t task;
    uint32_t line;
    uint32_t pointer;
    uint32_t size;
    uint32_t caller;
    uint32_t site; /* handle */
};

/* A live block of a snapshot. */
struct recorder_block {
    uint32_t as_of; /* it was live after so many events */
    uint32_t pointer;
    uint32_t size; /* whole block */
    uint32_t caps; /* 0 if not known */
    uint32_t site; /* handle */
    uint32_t line;
};

struct recorder_name {
    uint32_t handle;
    uint32_t length;
    uint32_t got; /* bytes received; complete if it equals length */
    char *text;
};

struct recorder_fault {
    bool known;
    uint32_t total; /* events before it */
    uint32_t kind;  /* enum wm_heap_fault_kind */
    uint32_t check;
    uint32_t block;
    uint32_t pointer;
    uint32_t address;
    uint32_t expected;
    uint32_t actual;
    uint32_t memory_address; /* of the bytes that were found there */
    uint32_t memory_length;
    uint8_t memory[RECORDER_MEMORY_MAX];
};

/* What one boot of the board told. */
struct recorder_boot {
    bool has_header;
    uint32_t options; /* WM_HEAP_OPTION_ and WM_HEAP_RECORDER_ bits */
    uint32_t header_size;
    uint32_t total; /* events so far, as far as any line tells */
    struct trace_region regions[TRACE_REGIONS_MAX];
    bool region_known[TRACE_REGIONS_MAX];
    struct recorder_event *events; /* ascending numbers */
    size_t event_count, event_room;
    struct recorder_block *blocks; /* as they came */
    size_t block_count, block_room;
    struct recorder_name *names; /* ascending handles */
    size_t name_count, name_room;
    struct recorder_fault fault;
    uint32_t next_sequence;
    uint32_t snapshots;
    uint64_t lines;      /* read and intact */
    uint64_t lines_lost; /* by sequence number, damaged ones included */
    uint64_t damaged;    /* began like a recorder's line, but are not intact */
};

struct recording {
    struct recorder_boot boot; /* the one to look at: the last with a fault, else the last with
                                * events, else the last */
    uint32_t boots;            /* seen; the others are dropped */
    uint64_t lines;            /* of the console, recorder's or not */
    uint64_t damaged;          /* over all boots */
    bool out_of_memory;
    struct recorder_boot current; /* while reading */
    bool in_list;                 /* the SDK's tracing list is coming */
    uint32_t list_as_of;
    bool list_empty;
};

void recording_init(struct recording *recording);
void recording_free(struct recording *recording);

/* Takes one line of the console, without its newline. True if there was an intact line of
 * the recorder in it. */
bool recording_line(struct recording *recording, const char *line, size_t length);

/* After the last line. */
void recording_end(struct recording *recording);

/* Reads a whole console text. False: a read error or memory is short (errno). */
bool recording_read(struct recording *recording, FILE *console);

/* The text of a handle, NULL if it did not arrive whole. */
const char *recorder_name(const struct recorder_boot *boot, uint32_t handle);

/* Is this how one of the recorder's lines looks? For programs that read consoles. */
bool recorder_line_is(const char *line, size_t length);

#endif
