/* SPDX-License-Identifier: Apache-2.0
 *
 * Poisoning: known bytes where nobody may write, and their check.
 *
 * Light: two canary words before each payload. Comprehensive: also guard bytes from the
 * last requested byte to the block's end (at least four; the SDK writes one word behind
 * the request and checks it at the block's end), and a pattern in all free memory, which
 * is checked when it is handed out again. In builds without it each check is a constant.
 */
#ifndef POISON_H
#define POISON_H

#include "layout.h"

/* Address of the first canary word that is wrong, 0 if none. */
static inline uint32_t canary_broken(uint32_t block, const struct wm_heap_header *header) {
#if HAS_POISONING
    uint32_t canary = block + HEADER_BYTES - (uint32_t)sizeof header->canary;
    if (header->canary[0] != CANARY) {
        return canary;
    }
    if (header->canary[1] != CANARY) {
        return canary + 4u;
    }
#else
    (void)block;
    (void)header;
#endif
    return 0;
}

/* Address of the first guard byte that is wrong, 0 if none. The header is intact. */
static inline uint32_t guard_broken(uint32_t block, const struct wm_heap_header *header) {
#if HAS_COMPREHENSIVE
    uint32_t end = block + header_size(header);
    for (uint32_t at = end - header_slack(header); at < end; at++) {
        if (*(const uint8_t *)bytes_at(at) != GUARD_BYTE) {
            return at;
        }
    }
#else
    (void)block;
    (void)header;
#endif
    return 0;
}

/* Address of the first word of free memory that was written to, 0 if none. */
static inline uint32_t pattern_broken(uint32_t from, uint32_t end) {
#if HAS_COMPREHENSIVE
    for (; from < end; from += 4u) {
        uint32_t word;
        __builtin_memcpy(&word, bytes_at(from), sizeof word);
        if (word != FREE_PATTERN) {
            return from;
        }
    }
#else
    (void)from;
    (void)end;
#endif
    return 0;
}

/* The same for the first `taken` bytes of a free block of `size`, which are about to be handed
 * out: neither its first word nor its node is free of content. */
static inline uint32_t hole_pattern_broken(uint32_t hole, uint32_t size, uint32_t taken) {
    uint32_t node = hole + size - NODE_BYTES;
    uint32_t end = hole + taken;
    return pattern_broken(hole + 4u, end < node ? end : node);
}

static inline void pattern_fill(uint32_t from, uint32_t end) {
#if HAS_COMPREHENSIVE
    __builtin_memset(bytes_at(from), FREE_PATTERN & 0xffu, end - from);
#else
    (void)from;
    (void)end;
#endif
}

/* A fresh hole's node (hole.h) has no links yet, but free memory. */
#define LINKS_OFFSET 4u
#define LINKS_BYTES 16u

static inline void fresh_pattern_fill(uint32_t node) {
    pattern_fill(node + LINKS_OFFSET, node + LINKS_OFFSET + LINKS_BYTES);
}

static inline uint32_t fresh_pattern_broken(uint32_t node) {
    return pattern_broken(node + LINKS_OFFSET, node + LINKS_OFFSET + LINKS_BYTES);
}

static inline bool poison_is_intact(uint32_t block, const struct wm_heap_header *header) {
    return canary_broken(block, header) == 0 && guard_broken(block, header) == 0;
}

#endif
