/* SPDX-License-Identifier: Apache-2.0
 *
 * How the heap lies in memory, and the only functions that read or write it there.
 *
 * A region is a row of blocks without gaps, then untouched free memory, then the end
 * marker:
 *
 *     start                              tail                       end
 *     | live | free | live | live | free | live |  free, no header  | end marker |
 *
 * The free memory behind the last block has no header at all: its bounds are in the
 * state, where no stray write of an application reaches. So the commonest case, a heap
 * that only grows, writes one header a call, and every free block that does have a
 * header has a live block behind it.
 *
 * A live block's header has the size of the SDK's, because addresses depend on it:
 *
 *     offset  word
 *      0      size       bytes of the whole block, multiple of 8 | ALLOCATED | PREVIOUS_FREE
 *      4      owner      bytes more than were asked for, capabilities, and a mark over both and
 *                        the three words of the allocation
 *      8      sequence   number of its allocation: larger is newer
 *     12      seal       size and the block's address
 *     16      site       \ with tracing: where it was allocated
 *     20      line       /
 *     16/24   canary     \ with poisoning: two words 0xA5A5A5A5, right before the payload,
 *     20/28   canary     / so that an underflow of one byte hits them
 *
 * Size stands first because an overrun of the block before hits it first, and the seal
 * then no longer matches; a header copied elsewhere does not match either. Size and seal are
 * what merging depends on, and looked at by every call that meets the block. The mark is
 * looked at where the block itself is concerned, and before anything else of the header is used
 * or shown. It has 16 bits: a change of one byte always breaks it; of others, some do not.
 *
 * A free block begins with its size, a multiple of 8 without flags, and ends with a tree node
 * (core/tree.h), 24 bytes; in the smallest block there is, of 24 bytes, the two sizes are one:
 *
 *      0      size       bytes of the whole block
 *      4      left       node, and the largest size from there downwards
 *     12      right      the same
 *     20      seal       size and the node's address
 *
 * The node stands at the end because a block is cut at its start: so its address, and with it
 * the links to it, stay. The seal makes that no size a stray write left there is believed; the
 * links need none: each must lead to a sealed node before anything is written there. What is
 * no node any more has no seal any more. The block behind has PREVIOUS_FREE set and finds the
 * node right before itself; without the flag, what stands there is payload and not looked at.
 *
 * All words are little-endian 32-bit values, links are W800 addresses: the same bytes
 * on the chip and on a 64-bit host. Nothing read from memory is believed: an address is
 * used after span_holds has accepted it, a size after its seal and its bounds.
 */
#ifndef LAYOUT_H
#define LAYOUT_H

#ifndef WM_HEAP_CORE
#define WM_HEAP_CORE
#endif

#include "wm_heap_state.h"

#if defined(CONFIG_HEAP_USE_TRACING)
#define HAS_TRACING 1
#else
#define HAS_TRACING 0
#endif
#if defined(CONFIG_HEAP_POISONING_COMPREHENSIVE)
#define HAS_COMPREHENSIVE 1
#else
#define HAS_COMPREHENSIVE 0
#endif
#if defined(CONFIG_HEAP_POISONING_LIGHT) || HAS_COMPREHENSIVE
#define HAS_POISONING 1
#else
#define HAS_POISONING 0
#endif

/* may_alias: the same memory holds headers, nodes and the application's objects. */
struct __attribute__((may_alias)) wm_heap_header {
    uint32_t size_flags;
    uint32_t owner;
    uint32_t sequence;
    uint32_t seal;
#if HAS_TRACING
    uint32_t site;
    uint32_t line;
#endif
#if HAS_POISONING
    uint32_t canary[2];
#endif
};

struct __attribute__((may_alias)) wm_heap_node {
    uint32_t size;
    struct wm_heap_link child[2];
    uint32_t seal;
};

#define HEADER_BYTES ((uint32_t)sizeof(struct wm_heap_header))
#define GUARD_BYTES (HAS_COMPREHENSIVE ? 4u : 0u)
#define SMALLEST_BLOCK ((1u + HEADER_BYTES + GUARD_BYTES + 7u) & ~7u)
#define SPLIT_OVER (2u * HEADER_BYTES) /* a larger remainder becomes a free block */
#define LARGEST_REQUEST 0x7fffffffu
#define LACKS_ALL UINT32_MAX /* of a region that serves nothing */

#define ALLOCATED 1u
#define PREVIOUS_FREE 2u
#define FLAGS 7u
#define NODE_BYTES ((uint32_t)sizeof(struct wm_heap_node))

#define CANARY 0xa5a5a5a5u
#define GUARD_BYTE 0x5au
#define FREE_PATTERN 0xfefefefeu

/* owner: what is not size. */
#define OWNER_CAPS_SHIFT 8
#define OWNER_BYTE 0xffu
#define OWNER_WORDS 0xffffu /* of it without the mark */

_Static_assert(sizeof(struct wm_heap_header) == 16 + 8 * HAS_TRACING + 8 * HAS_POISONING,
               "the SDK's header sizes");
_Static_assert(NODE_BYTES <= SMALLEST_BLOCK, "a node fits any free block");
_Static_assert(SPLIT_OVER + 7u + GUARD_BYTES <= OWNER_BYTE, "slack fits its byte");

#define COLD __attribute__((cold, noinline))

/* Inlined where speed counts, called where size does: the compiler's own guess is worse for both.
 */
#ifdef __OPTIMIZE_SIZE__
#define INLINE_FOR_SPEED __attribute__((noinline, unused)) static
#else
#define INLINE_FOR_SPEED __attribute__((always_inline)) static inline
#endif

#ifdef WM_HEAP_COUNT_ACCESSES
/* A test's build reports every header it is about to read or write. */
void wm_heap_test_accessed(uint32_t address);
#define ACCESSED(address) wm_heap_test_accessed(address)
#else
#define ACCESSED(address) ((void)0)
#endif

/* The accessors: addresses become pointers here and nowhere else. */
static inline void *bytes_at(uint32_t address) {
    return (void *)(uintptr_t)address; /* NOLINT(performance-no-int-to-ptr) that is the point */
}

static inline struct wm_heap_header *header_at(uint32_t address) {
    ACCESSED(address);
    return bytes_at(address);
}

static inline struct wm_heap_node *node_at(uint32_t address) {
    ACCESSED(address);
    return bytes_at(address);
}

/* Only arena pointers may be truncated; a caller's foreign pointer must not become one
 * by losing its upper half, so that becomes 1, which no arena holds. */
static inline uint32_t address_of(const void *pointer) {
    uintptr_t value = (uintptr_t)pointer;
    return (uint32_t)value == value ? (uint32_t)value : 1u;
}

static inline uint32_t max_of(uint32_t a, uint32_t b) { return a > b ? a : b; }

static inline uint32_t min_of(uint32_t a, uint32_t b) { return a < b ? a : b; }

static inline uint32_t align8(uint32_t value) { return (value + 7u) & ~7u; }

/* Bytes of the block that serves a request of 1 to LARGEST_REQUEST bytes. */
static inline uint32_t block_bytes(uint32_t size) {
    return align8(size + HEADER_BYTES + GUARD_BYTES);
}

/* Of the size word at an address, a header's or a node's: one instruction, and no program keeps
 * the negative of a pointer. */
static inline uint32_t size_seal(uint32_t address, uint32_t size) { return size - address; }

/* What the words of a header that the seal leaves out are together. The line is turned, so that it
 * and the site, when both are overwritten with the same bytes, do not cancel. */
static inline uint32_t header_mixed(const struct wm_heap_header *header, uint32_t owner) {
    uint32_t mixed = owner ^ header->sequence;
#if HAS_TRACING
    mixed ^= header->site ^ (header->line << 8 | header->line >> 24);
#endif
    return mixed;
}

/* The owner word that belongs to the other words: its lower half is `words`, its upper half makes
 * each bit of the mixture's lower half the opposite of that in the upper one, which no words of
 * zeros, ones or other equal halves do. */
static inline uint32_t header_owner(const struct wm_heap_header *header, uint32_t words) {
    uint32_t mixed = header_mixed(header, words);
    return words | ~(mixed ^ mixed >> 16) << 16;
}

static inline bool header_is_marked(const struct wm_heap_header *header) {
    uint32_t mixed = header_mixed(header, header->owner);
    return mixed == ~(mixed << 16 | mixed >> 16);
}

static inline uint32_t header_size(const struct wm_heap_header *header) {
    return header->size_flags & ~FLAGS;
}

static inline uint32_t header_slack(const struct wm_heap_header *header) {
    return (header->owner & OWNER_BYTE) - HEADER_BYTES;
}

/* What the caller may use: with guard bytes behind it what was asked for, else all that is
 * there. */
static inline uint32_t header_usable(const struct wm_heap_header *header) {
    return header_size(header) - HEADER_BYTES - (HAS_COMPREHENSIVE ? header_slack(header) : 0u);
}

static inline uint32_t header_caps(const struct wm_heap_header *header) {
    return header->owner >> OWNER_CAPS_SHIFT & OWNER_BYTE;
}

static inline uint32_t header_site(const struct wm_heap_header *header) {
#if HAS_TRACING
    return header->site;
#else
    (void)header;
    return 0;
#endif
}

static inline uint32_t header_line(const struct wm_heap_header *header) {
#if HAS_TRACING
    return header->line;
#else
    (void)header;
    return 0;
#endif
}

/* The addresses at which blocks can begin; kept in registers. As each node has a block behind it,
 * nodes, too, stand only there. */
struct span {
    uint32_t start;
    uint32_t eighths;
};

/* None if the region is closed. */
static inline struct span span_of(const struct wm_heap_region *region) {
    return (struct span){region->start, region->eighths};
}

/* For those who look and touch nothing: the same whatever its state. */
static inline struct span span_whole(const struct wm_heap_region *region) {
    return (struct span){region->start, (region->tail - region->start) >> 3};
}

/* One comparison for range and alignment: a number that is no multiple of 8 turns into a huge
 * one. */
static inline bool span_holds(struct span span, uint32_t address) {
    uint32_t offset = address - span.start;
    return (offset >> 3 | offset << 29) < span.eighths;
}

/* Has this header, at a possible address, the seal of its size? */
static inline bool header_is_sealed(uint32_t address) {
    const struct wm_heap_header *header = header_at(address);
    return header->seal == size_seal(address, header->size_flags);
}

/* And is it a size that leaves a byte of payload and ends at or before the tail? A seal can be
 * forged, bounds cannot. */
static inline bool header_has_size(const struct wm_heap_region *region, uint32_t address) {
    uint32_t size = header_size(header_at(address));
    return header_is_sealed(address) && size <= region->tail - address && size >= SMALLEST_BLOCK;
}

/* Guard bytes begin behind at least one of payload. */
static inline bool header_has_payload(const struct wm_heap_header *header) {
    return !HAS_COMPREHENSIVE || header_size(header) > HEADER_BYTES + header_slack(header);
}

/* And all the other words? */
static inline bool header_is_intact(const struct wm_heap_region *region, uint32_t address) {
    const struct wm_heap_header *header = header_at(address);
    return header_has_size(region, address) && header_is_marked(header) &&
           header_has_payload(header);
}

/* Is this the intact header of a live block? `address` may be any number. Accepts
 * neither the end marker nor anything at or behind the tail. */
static inline bool header_is_live(const struct wm_heap_region *region, uint32_t address) {
    return span_holds(span_whole(region), address) &&
           (header_at(address)->size_flags & ALLOCATED) != 0 && header_is_intact(region, address);
}

/* Writes the size word of a header, and its seal. */
static inline void header_seal(uint32_t address, uint32_t size_flags) {
    struct wm_heap_header *header = header_at(address);
    header->size_flags = size_flags;
    header->seal = size_seal(address, size_flags);
}

/* A freed header must not look sound: not when its memory is handed out again as the middle of a
 * larger block, not when its first word is written to. Its seal goes, which takes four right bytes
 * to come back. Where free memory has a pattern, that overwrites it. */
static inline void header_erase(uint32_t address) {
    if (!HAS_COMPREHENSIVE) {
        header_at(address)->seal = 0;
    }
}

/* Where a free block begins says its size too. */
static inline void front_write(uint32_t address, uint32_t size) {
    header_at(address)->size_flags = size;
}

/* Where the free block begins whose node stands at this address; 0 if none stands there.
 * `node` may be any number. */
INLINE_FOR_SPEED uint32_t node_front(const struct wm_heap_region *region, uint32_t node) {
    struct span span = span_of(region);
    if (!span_holds(span, node)) {
        return 0;
    }
    uint32_t size = node_at(node)->size;
    uint32_t front = node + NODE_BYTES - size;
    return node_at(node)->seal == size_seal(node, size) && size >= SMALLEST_BLOCK &&
                   span_holds(span, front) && header_at(front)->size_flags == size
               ? front
               : 0;
}

/* Bytes of the sound block that begins at a possible address or at the tail: live, with an
 * intact header, or free. 0 at the tail, and where no such block begins. */
uint32_t block_size(const struct wm_heap_region *region, uint32_t address)
    WM_HEAP_LINK("wm_heap_block_size");

#endif
