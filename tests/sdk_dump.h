/* SPDX-License-Identifier: Apache-2.0
 *
 * RAM dumps of the SDK's heap, laid out word by word for each of its six builds: a row of live
 * and free blocks, the lists, the region descriptors. The reader of dumps has never seen this
 * code, and a test can damage any word of what it made and knows what must be found.
 */
#ifndef TESTS_SDK_DUMP_H
#define TESTS_SDK_DUMP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SDK_BASE 0x20000000u
#define SDK_BYTES 0x48000u
#define SDK_REGISTER_BYTES 72u
#define SDK_DUMP_BYTES (SDK_REGISTER_BYTES + SDK_BYTES)
#define SDK_DESCRIPTORS 0x20001020u
#define SDK_FILE 0x08012340u /* of all call sites; line is the block's number */
#define SDK_BLOCKS_MAX 400u

struct sdk_build {
    const char *name;
    bool tracing, poisoning, comprehensive;
    uint32_t header;
};
static const struct sdk_build sdk_builds[6] = {
    {"none", false, false, false, 16}, {"trace", true, false, false, 24},
    {"light", false, true, false, 24}, {"comp", false, true, true, 24},
    {"tlight", true, true, false, 32}, {"tcomp", true, true, true, 32},
};

struct sdk_block {
    uint32_t address, size, requested;
    bool live;
    unsigned region;
};

struct sdk_dump {
    const struct sdk_build *build;
    uint8_t *bytes; /* SDK_DUMP_BYTES: registers, then memory */
    struct sdk_block blocks[SDK_BLOCKS_MAX];
    size_t count;
    uint32_t starts[2], ends[2];
    uint32_t free_bytes[2], largest[2], live[2];
    uint64_t random;
};

static inline uint32_t sdk_random(struct sdk_dump *dump, uint32_t limit) {
    dump->random = dump->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(dump->random >> 33) % limit;
}

static inline uint8_t *sdk_at(struct sdk_dump *dump, uint32_t address) {
    return dump->bytes + SDK_REGISTER_BYTES + (address - SDK_BASE);
}

static inline void sdk_put(struct sdk_dump *dump, uint32_t address, uint32_t value) {
    for (unsigned i = 0; i < 4; ++i) {
        sdk_at(dump, address)[i] = (uint8_t)(value >> 8 * i);
    }
}

static inline uint32_t sdk_get(struct sdk_dump *dump, uint32_t address) {
    uint32_t value = 0;
    for (unsigned i = 0; i < 4; ++i) {
        value |= (uint32_t)sdk_at(dump, address)[i] << 8 * i;
    }
    return value;
}

static inline uint32_t sdk_pointer(const struct sdk_dump *dump, const struct sdk_block *block) {
    return block->address + dump->build->header;
}

static inline uint32_t sdk_descriptor_size(const struct sdk_build *build) {
    return 56u + (build->tracing ? 8u : 0u) + (build->poisoning ? 4u : 0u);
}

static inline void sdk_write_live(struct sdk_dump *dump, const struct sdk_block *block,
                                  uint32_t next, uint32_t line) {
    const struct sdk_build *build = dump->build;
    const uint32_t at = block->address;
    const uint32_t payload = at + build->header;
    memset(sdk_at(dump, at), 0, build->header);
    for (uint32_t i = 0; i < block->requested; ++i) {
        *sdk_at(dump, payload + i) = (uint8_t)sdk_random(dump, 256);
    }
    sdk_put(dump, at, build->tracing ? next : 0);
    sdk_put(dump, at + 4, block->size | 0x80000000u);
    sdk_put(dump, at + 8, SDK_DESCRIPTORS + block->region * sdk_descriptor_size(build) + 16);
    sdk_put(dump, at + 12, block->region == 0 ? 1 + sdk_random(dump, 2) : 0x10);
    if (build->tracing) {
        sdk_put(dump, at + 16, SDK_FILE);
        sdk_put(dump, at + 20, line);
    }
    if (build->poisoning) {
        sdk_put(dump, at + build->header - 8, 0xa5a5a5a5u);
    }
    if (build->comprehensive) {
        sdk_put(dump, payload + block->requested, 0x5a5a5a5au);
    }
}

/* Blocks of 1 to 600 bytes from the region's start, a third of them free but no two in a row,
 * then one free block up to the end marker. */
static inline void sdk_fill_region(struct sdk_dump *dump, unsigned region, unsigned blocks) {
    const struct sdk_build *build = dump->build;
    uint32_t at = dump->starts[region];
    bool free_before = false;
    for (unsigned i = 0; i < blocks; ++i) {
        struct sdk_block *block = &dump->blocks[dump->count++];
        const uint32_t wanted = 1 + sdk_random(dump, 600);
        const uint32_t size = wanted + build->header + (build->comprehensive ? 4u : 0u);
        *block = (struct sdk_block){at, (size + 7u) & ~7u, wanted, true, region};
        block->live = free_before || i + 1 == blocks || sdk_random(dump, 3) != 0;
        free_before = !block->live;
        at += block->size;
    }
    dump->blocks[dump->count++] = (struct sdk_block){at, dump->ends[region] - at, 0, false, region};
}

static inline void sdk_write_descriptor(struct sdk_dump *dump, unsigned region,
                                        uint32_t first_free) {
    static const uint32_t caps[2] = {0x0b, 0x13};
    static const uint32_t ends[2] = {0x20028000u, 0x20047ffcu};
    const uint32_t size = sdk_descriptor_size(dump->build);
    const uint32_t at = SDK_DESCRIPTORS + region * size;
    const uint32_t tail = at + size - 24;
    sdk_put(dump, at, 0x08011000u + 5 * region);
    sdk_put(dump, at + 4, dump->starts[region]);
    sdk_put(dump, at + 8, ends[region] - dump->starts[region]);
    sdk_put(dump, at + 12, caps[region]);
    sdk_put(dump, at + 16, first_free);
    sdk_put(dump, tail, dump->ends[region]);
    sdk_put(dump, tail + 4, dump->free_bytes[region]);
    sdk_put(dump, tail + 8, dump->free_bytes[region] / 2);
    sdk_put(dump, tail + 12, 100 + dump->live[region]);
    sdk_put(dump, tail + 16, 100);
    sdk_put(dump, tail + 20, 0x80000000u);
}

/* Newest first: the live list runs through the blocks in a random order. */
static inline void sdk_write_blocks(struct sdk_dump *dump) {
    uint32_t order[SDK_BLOCKS_MAX];
    uint32_t live = 0;
    uint32_t older = 0;
    for (uint32_t i = 0; i < dump->count; ++i) {
        if (dump->blocks[i].live) {
            const uint32_t other = sdk_random(dump, live + 1);
            order[live] = order[other];
            order[other] = i;
            ++live;
        }
    }
    for (uint32_t i = 0; i < live; ++i) {
        const struct sdk_block *block = &dump->blocks[order[i]];
        sdk_write_live(dump, block, older, order[i] + 1);
        older = block->address;
    }
    uint32_t next[2] = {dump->ends[0], dump->ends[1]};
    for (size_t i = dump->count; i-- > 0;) {
        const struct sdk_block *block = &dump->blocks[i];
        const unsigned region = block->region;
        dump->live[region] += block->live;
        if (!block->live) {
            sdk_put(dump, block->address, next[region]);
            sdk_put(dump, block->address + 4, block->size);
            next[region] = block->address;
            dump->free_bytes[region] += block->size;
            dump->largest[region] =
                block->size > dump->largest[region] ? block->size : dump->largest[region];
        }
    }
    sdk_write_descriptor(dump, 0, next[0]);
    sdk_write_descriptor(dump, 1, next[1]);
}

static inline struct sdk_dump *sdk_dump_make(const struct sdk_build *build, uint64_t seed) {
    struct sdk_dump *dump = calloc(1, sizeof(*dump));
    dump->build = build;
    dump->bytes = calloc(1, SDK_DUMP_BYTES);
    dump->random = seed * 0x9e3779b97f4a7c15u + 1;
    dump->starts[0] = 0x20003000u + 8 * sdk_random(dump, 1000);
    dump->starts[1] = 0x20028000u;
    dump->ends[0] = (0x20028000u - build->header) & ~7u;
    dump->ends[1] = (0x20047ffcu - build->header) & ~7u;
    sdk_fill_region(dump, 0, 40 + sdk_random(dump, 100));
    sdk_fill_region(dump, 1, 1 + sdk_random(dump, 10));
    sdk_write_blocks(dump);
    return dump;
}

/* The firmware's recorder as core/recorder.c has it, below the heap: a ring of `records` (a
 * power of two), with the latest of `count` events of five words each. */
#define SDK_RECORDER 0x20001800u
#define SDK_RING 0x20001840u

static inline void sdk_put_recorder(struct sdk_dump *dump, uint32_t records,
                                    const uint32_t (*events)[5], uint32_t count) {
    const uint32_t head[7] = {0x43523857u, 1, records - 1, count, 0, 0x20, SDK_RING};
    for (uint32_t i = 0; i < 7; ++i) {
        sdk_put(dump, SDK_RECORDER + 4 * i, head[i]);
    }
    for (uint32_t i = 0; i < count; ++i) {
        for (uint32_t j = 0; j < 5; ++j) {
            sdk_put(dump, SDK_RING + (i & (records - 1)) * 20 + 4 * j, events[i][j]);
        }
    }
}

static inline void sdk_dump_free(struct sdk_dump *dump) {
    free(dump->bytes);
    free(dump);
}

#endif
