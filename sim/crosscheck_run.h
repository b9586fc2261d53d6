/* SPDX-License-Identifier: Apache-2.0
 *
 * A trace as a cross-check runs it: the same list of operations on the host's core and on
 * the core compiled for C-SKY, by the same source, compiled once for each. Both sides write
 * the same stream of records; whatever differs in it, the two cores did.
 *
 *     in:   header, names (each with its NUL), operations
 *     out:  HELLO, an EVENT for each operation (0: wm_heap_init), a CHECKPOINT every `interval`
 *           operations and after the last, END; then the memory itself: on-chip, PSRAM, the
 *           core's state up to its host-width pointers, and what the last event reported
 *
 * Everything consists of little-endian 32-bit words, so either side writes its structs as they
 * are. Freestanding: the C-SKY program has no library.
 */
#ifndef CROSSCHECK_RUN_H
#define CROSSCHECK_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "builds.h"

#define CROSSCHECK_MAGIC 0x4b484358u /* "XCHK" in memory */
#define CROSSCHECK_VERSION 1u
#define CROSSCHECK_SLOTS_MAX (1u << 20)
#define CROSSCHECK_NAMES_MAX (1u << 16)
#define CROSSCHECK_NAME_BYTES_MAX (1u << 20)
#define CROSSCHECK_INTERVAL 1000u

#define CROSSCHECK_ONCHIP_START 0x20000000u
#define CROSSCHECK_ONCHIP_BYTES 0x48000u
#define CROSSCHECK_PSRAM_START 0x30000000u
#define CROSSCHECK_PSRAM_BYTES_MAX (8u << 20)

/* What an operation does, and which of its words mean what. An address or a number that the
 * call returns is the event's result. */
enum crosscheck_op_kind {
    CROSSCHECK_NOTHING, /* of the simulator, not of the core: dma, fail */
    CROSSCHECK_APPEND,  /* site: the name */
    CROSSCHECK_ALLOC,   /* slot, size, caps; site and line of these four */
    CROSSCHECK_REALLOC,
    CROSSCHECK_CALLOC,    /* extra: count */
    CROSSCHECK_ALIGNED,   /* extra: alignment */
    CROSSCHECK_FREE,      /* slot */
    CROSSCHECK_FREEADDR,  /* caps: address */
    CROSSCHECK_QUERY,     /* totals, and sizes by capability */
    CROSSCHECK_INIT,      /* a second wm_heap_init */
    CROSSCHECK_WRITE,     /* slot, caps: offset, size, extra: byte */
    CROSSCHECK_WRITEADDR, /* caps: address, size, extra: byte */
    CROSSCHECK_READADDR,  /* caps: address, size */
    CROSSCHECK_FLIP,      /* caps: address, extra: bit */
    CROSSCHECK_CHECK,     /* extra: region, or WM_HEAP_NO_REGION */
    CROSSCHECK_STATS,
    CROSSCHECK_TRACING,
    CROSSCHECK_OP_KINDS
};

struct crosscheck_op {
    uint32_t kind;
    uint32_t slot;
    uint32_t size;
    uint32_t caps;
    uint32_t extra;
    uint32_t site; /* handle: number of the name, from 1; 0 is NULL */
    uint32_t line;
    uint32_t event; /* number in the trace, from 1 */
};

struct crosscheck_region {
    char name[8];
    uint32_t start;
    uint32_t end;
    uint32_t caps;
    uint32_t deferred;
};

struct crosscheck_header {
    uint32_t magic;
    uint32_t version;
    uint32_t interval; /* operations between two checkpoints */
    uint32_t realloc_in_place;
    uint32_t psram_bytes; /* fitted */
    uint32_t region_count;
    struct crosscheck_region regions[WM_HEAP_REGIONS_MAX];
    uint32_t slot_count;
    uint32_t name_count;
    uint32_t name_bytes;
    uint32_t op_count;
};

enum crosscheck_tag {
    CROSSCHECK_HELLO = 0x4f4c4c48, /* version, header size, options, bytes of the state */
    CROSSCHECK_EVENT = 0x544e5645,
    CROSSCHECK_CHECKPOINT = 0x4b504843,
    CROSSCHECK_END = 0x20444e45, /* did the run stop before its last operation? */
};

/* Words of an EVENT and of a CHECKPOINT. */
enum crosscheck_event_word {
    CROSSCHECK_RESULT,
    CROSSCHECK_REPORTS, /* faults, failed allocations, console text */
    CROSSCHECK_HEADERS, /* around the block concerned, and the nodes on its paths */
    CROSSCHECK_STATE,
    CROSSCHECK_PAYLOAD, /* what realloc copied, calloc cleared */
    CROSSCHECK_EVENT_WORDS
};
enum crosscheck_checkpoint_word {
    CROSSCHECK_ONCHIP,  /* all of SRAM and DRAM */
    CROSSCHECK_PSRAM,   /* up to the highest byte in use yet, and the end marker */
    CROSSCHECK_REACHED, /* that byte's address */
    CROSSCHECK_CHECKPOINT_WORDS
};

struct crosscheck_record {
    uint32_t tag;
    uint32_t event;
    uint32_t word[6]; /* not used: 0 */
};

/* What the latest event reported: the first faults and the beginning of the text as they were,
 * all of it in the digest. */
#define CROSSCHECK_FAULTS 4u
#define CROSSCHECK_TEXT 1024u
struct crosscheck_reports {
    uint32_t digest;
    uint32_t fault_count;
    uint32_t failed_count; /* calls of the failed-allocation callback */
    uint32_t text_length;
    struct wm_heap_fault faults[CROSSCHECK_FAULTS];
    char text[CROSSCHECK_TEXT];
};

struct crosscheck_slot {
    uint32_t pointer;
    uint32_t bytes;
};

struct crosscheck_run {
    const struct heap_build *build;
    const struct crosscheck_header *header;
    struct crosscheck_slot *slots;                       /* all zero at first */
    const char *(*site)(void *context, uint32_t handle); /* as the `file` of a call */
    const char *(*text)(void *context, uint32_t handle); /* the name itself */
    void (*emit)(void *context, const void *bytes, uint32_t count);
    void *context;
    uint32_t done;          /* operations */
    uint32_t psram_reached; /* highest byte in use until now, plus one */
    bool stopped;           /* by a stray access of the program: nothing more is run */
    struct crosscheck_reports reports;
};

/* Initialises the heap and says HELLO. The run's first seven fields are set, the others 0. */
void crosscheck_begin(struct crosscheck_run *run);
/* Runs one operation; nothing once the run has stopped. */
void crosscheck_step(struct crosscheck_run *run, const struct crosscheck_op *op);
/* The last checkpoint, END, and the memory. */
void crosscheck_end(struct crosscheck_run *run);

/* Of the state: the words before the pointers, whose width is the host's. */
uint32_t crosscheck_state_bytes(void);

/* For the port. */
void crosscheck_saw_fault(struct crosscheck_run *run, const struct wm_heap_fault *fault);
void crosscheck_saw_text(struct crosscheck_run *run, const char *text, uint32_t length);

#endif
