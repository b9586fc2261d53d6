/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of reading a RAM dump, in the order in which they run:
 *
 *   ramdump.c           what kind of dump it is, its registers
 *   ramdump_find.c      where the SDK's heap lies and which build it is
 *   ramdump_check.c     is this the header of a live block, of a free one?
 *   ramdump_walk.c      the blocks of a region, around smashed headers
 *   ramdump_judge.c     what smashed them
 *   ramdump_own.c       instead of the last four: a dump of our own core
 *   ramdump_recorder.c  the ring of the firmware's recorder, if there is one
 *
 * Headers of the SDK's heap are little-endian words: next 0, size with bit 31 set if live 4,
 * heap pointer (the region's descriptor + 16) 8, capabilities 12, with tracing file 16 and
 * line 20, with poisoning a canary word and 4 bytes of padding at the end.
 */
#ifndef RAMDUMP_H
#define RAMDUMP_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "diagnose.h"

struct ramdump_memory {
    const uint8_t *bytes;
    uint32_t base;
    uint32_t size; /* base + size does not wrap */
};

/* Words of a header, as bits of a set: those that cannot be right. */
enum ramdump_bad {
    RAMDUMP_BAD_NEXT = 1,
    RAMDUMP_BAD_SIZE = 2,
    RAMDUMP_BAD_HEAP = 4,
    RAMDUMP_BAD_CAPS = 8,
    RAMDUMP_BAD_FILE = 16,
    RAMDUMP_BAD_LINE = 32,
    RAMDUMP_BAD_CANARY = 64,
    RAMDUMP_BAD_ALL = 127
};

struct ramdump_block {
    uint32_t address; /* of the header */
    uint32_t size;    /* of SMASHED with lost_size: of the header */
    uint32_t order;   /* 0 the newest; UINT32_MAX if not known */
    uint8_t state;    /* enum image_state */
    uint8_t bad;      /* of SMASHED */
    bool lost_size;   /* its size was found by searching for the next header, or not at all */
    bool was_free;    /* a smashed one: the free list leads to it, or its flag says so */
    bool followed;    /* a newer live block links to it */
    bool unlisted;    /* a free one that the free list leaves out */
};

struct ramdump_region {
    bool present;
    bool end_known;
    uint32_t heap_pointer; /* what live headers hold at 8; 0 if not known */
    uint32_t start;        /* 0 if not known */
    uint32_t end;          /* the end marker's header; if not known, where it is at most */
    uint32_t caps;
    uint32_t first_free; /* what the list head holds; 0 if not known */
    bool has_counters;
    uint32_t free_bytes, min_free_bytes, allocs, frees;
    /* by the walk */
    struct ramdump_block *blocks;
    size_t block_count, block_room;
    uint32_t *free_nodes; /* ascending */
    size_t free_count, free_room;
    bool free_complete;              /* the list leads to the end marker */
    uint32_t free_stop;              /* where it breaks off otherwise */
    uint32_t anchor_from, anchor_at; /* no confirmed header from here to there: not again */
};

struct ramdump_heap {
    struct ramdump_memory memory;
    struct firmware *firmware; /* NULL: none */
    bool tracing, poisoning, comprehensive;
    uint32_t header_size;
    const char *found_by;
    struct ramdump_region regions[IMAGE_REGIONS_MAX];
    uint32_t *links; /* where live headers' next words lead, ascending, with tracing */
    size_t link_count, link_room;
};

/* --- memory: here, because every word of a dump is looked at several times */
static inline bool ramdump_holds(const struct ramdump_memory *memory, uint32_t address,
                                 uint32_t size) {
    const uint32_t offset = address - memory->base;
    return address >= memory->base && offset <= memory->size && size <= memory->size - offset;
}

/* 0 if it is not there. */
static inline uint32_t ramdump_word(const struct ramdump_memory *memory, uint32_t address) {
    uint32_t word;
    if (!ramdump_holds(memory, address, sizeof(word))) {
        return 0;
    }
    memcpy(&word, memory->bytes + (address - memory->base), sizeof(word));
    return le32toh(word);
}

static inline uint8_t ramdump_byte(const struct ramdump_memory *memory, uint32_t address) {
    return ramdump_holds(memory, address, 1) ? memory->bytes[address - memory->base] : 0;
}

/* The first 4-aligned address at or behind `from` that holds a word; 0 if there is none. */
uint32_t ramdump_find_word(const struct ramdump_memory *memory, uint32_t from, uint32_t word);

/* --- headers (ramdump_check.c) */
/* The words that keep this from being a live block's header, a free block's. */
unsigned ramdump_check_live(const struct ramdump_heap *heap, const struct ramdump_region *region,
                            uint32_t address);
unsigned ramdump_check_free(const struct ramdump_heap *heap, const struct ramdump_region *region,
                            uint32_t address);
/* Can it be a live block's header? Asked of every 8 bytes, of which hardly any can. */
static inline bool ramdump_is_live(const struct ramdump_heap *heap,
                                   const struct ramdump_region *region, uint32_t address) {
    return ramdump_word(&heap->memory, address + 4) >> 31 != 0 &&
           ramdump_check_live(heap, region, address) == 0;
}
/* May the region's end marker stand there? It has next 0 and size 0. */
bool ramdump_may_end(const struct ramdump_heap *heap, const struct ramdump_region *region,
                     uint32_t address);
/* Offset of the word of one bad bit, and its name. */
struct ramdump_field {
    uint8_t bit;
    const char *name;
};
#define RAMDUMP_FIELDS 7
extern const struct ramdump_field ramdump_fields[RAMDUMP_FIELDS];
bool ramdump_field_offset(const struct ramdump_heap *heap, unsigned bit, uint32_t *offset);
/* Bytes from a live block's payload to its tail word; false if there is none. */
bool ramdump_find_tail(const struct ramdump_heap *heap, const struct ramdump_block *block,
                       uint32_t *requested);

/* --- finding (ramdump_find.c) */
bool ramdump_find(struct ramdump_heap *heap);

/* --- walking (ramdump_walk.c); false: out of memory */
bool ramdump_walk(struct ramdump_heap *heap);
void ramdump_free(struct ramdump_heap *heap);
/* The block that holds an address, of all regions; NULL if none. */
const struct ramdump_block *ramdump_block_at(const struct ramdump_heap *heap, uint32_t address);

/* --- judging (ramdump_judge.c); false: out of memory */
bool ramdump_judge(const struct ramdump_heap *heap, struct findings *findings);
/* "path:line" of a block, "" if it is not known. */
void ramdump_site(const struct ramdump_heap *heap, const struct ramdump_block *block, char *site,
                  size_t size);
/* A line of evidence for each 16 bytes from `from` to `to`, hex and ASCII. */
bool ramdump_evidence_bytes(const struct ramdump_memory *memory, uint32_t from, uint32_t to,
                            struct finding *finding);

/* --- our own core (ramdump_own.c) */
/* Address of its state, 0 if there is none. */
uint32_t ramdump_find_own(const struct ramdump_memory *memory);
bool ramdump_own_is_readable(const struct ramdump_memory *memory, uint32_t state);
bool ramdump_read_own(const struct ramdump_memory *memory, uint32_t state,
                      const struct diagnose_options *options, struct diagnosis *diagnosis);

/* --- the recorder (ramdump_recorder.c); false: out of memory */
bool ramdump_read_recorder(const struct ramdump_memory *memory,
                           const struct diagnose_options *options, struct diagnosis *diagnosis);

#endif
