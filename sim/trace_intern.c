/* SPDX-License-Identifier: Apache-2.0
 *
 * IDs and names become small numbers while a trace is read, so that a replay indexes
 * arrays and never searches. Both tables are open addressing with linear probing. A
 * trace may be hostile, and a hash function whose constants stand here can be led to
 * collide; so the number of probes is bounded, and what happens at the bound differs:
 *
 * - IDs must be exact. The table is rebuilt with a random multiplier, and for safety's
 *   sake with twice the bound. Nothing that is read depends on the multiplier, and an
 *   ordinary trace never gets there: reading stays deterministic.
 * - Names are shared only to save memory. At the bound a name is simply stored again.
 */
#include "trace_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define FIRST_BITS 10u
#define FIRST_PROBES_MAX 128u
#define NAME_PROBES_MAX 64u
#define GOLDEN_RATIO_32 0x9e3779b1u         /* spreads runs of numbers evenly */
#define GOLDEN_RATIO_64 0x9e3779b97f4a7c15u /* the same, odd as well */

#define LARGE_BYTES ((size_t)4 << 20)

/* A million events fill 9,000 pages of 4 KiB, and the kernel's work for each is a third of the
 * time that reading takes. Where it has no large pages, nothing changes. The whole mapping is
 * asked for, malloc's words before the array too: a part could not be moved by realloc. */
static void prefer_huge_pages(void *array, size_t bytes) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t before = (uintptr_t)array % page;
    madvise((char *)array - before, before + bytes, MADV_HUGEPAGE);
}

void *trace_grow(void *array, size_t *capacity, size_t needed, size_t item_bytes) {
    size_t grown = *capacity < 64 ? 64 : *capacity;
    while (grown < needed)
        grown *= 2;
    if (grown == *capacity)
        return array;
    void *moved = realloc(array, grown * item_bytes);
    if (moved != NULL)
        *capacity = grown;
    if (moved != NULL && grown * item_bytes >= LARGE_BYTES)
        prefer_huge_pages(moved, grown * item_bytes);
    return moved;
}

/* Eight neighbours share a cache line: IDs mostly count upwards. */
static uint32_t id_place(const struct trace_id_table *table, uint32_t id) {
    const uint32_t group = ((id >> 3) * table->multiplier) >> (32u - (table->bits - 3u));
    return group << 3 | (id & 7u);
}

/* Where `id` is or belongs; false if that takes too many probes: then it is not there,
 * since nothing is ever inserted further away than the bound, or removed. */
static bool id_find(const struct trace_id_table *table, uint32_t id, uint32_t *place) {
    const uint32_t mask = (uint32_t)((UINT64_C(1) << table->bits) - 1u);
    uint32_t at = id_place(table, id);
    for (uint32_t probes = 0; probes < table->probes_max; ++probes) {
        const uint64_t entry = table->entries[at];
        if (entry == 0 || (uint32_t)entry == id) {
            *place = at;
            return true;
        }
        at = (at + 1) & mask;
    }
    return false;
}

static bool ids_insert_all(struct trace_id_table *table, const uint32_t *ids, uint32_t count) {
    for (uint32_t slot = table->dense; slot < count; ++slot) {
        uint32_t place = 0;
        if (!id_find(table, ids[slot], &place))
            return false;
        table->entries[place] = (uint64_t)(slot + 1) << 32 | ids[slot];
    }
    return true;
}

static uint32_t random_odd(void) {
    uint32_t number = GOLDEN_RATIO_32;
    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != (ssize_t)sizeof(number))
        number = (uint32_t)(uintptr_t)&number; /* still not known beforehand */
    return number | 1u;
}

/* A table of 2^bits entries with all the IDs that need it. False: out of memory. */
static bool ids_rebuild(struct trace_parser *parser, unsigned bits) {
    struct trace_id_table *table = &parser->id_table;
    free(table->entries);
    table->entries = calloc((size_t)1 << bits, sizeof(*table->entries));
    if (table->entries == NULL)
        return false;
    table->bits = bits;
    while (!ids_insert_all(table, parser->trace->ids, parser->trace->id_count)) {
        memset(table->entries, 0, sizeof(*table->entries) << bits);
        table->multiplier = random_odd();
        table->probes_max *= 2;
    }
    return true;
}

static bool ids_begin(struct trace_parser *parser) {
    parser->id_table.multiplier = GOLDEN_RATIO_32;
    parser->id_table.probes_max = FIRST_PROBES_MAX;
    return ids_rebuild(parser, FIRST_BITS);
}

/* A place for `id` in a table that is at most half full, whatever it takes. */
static bool id_make_room(struct trace_parser *parser, uint32_t id, uint32_t *place) {
    struct trace_id_table *table = &parser->id_table;
    if (table->entries == NULL && !ids_begin(parser))
        return false;
    const uint64_t used = parser->trace->id_count - table->dense;
    if (used * 2 >= UINT64_C(1) << table->bits && !ids_rebuild(parser, table->bits + 1))
        return false;
    while (!id_find(table, id, place)) {
        table->multiplier = random_odd();
        table->probes_max *= 2;
        if (!ids_rebuild(parser, table->bits))
            return false;
    }
    return true;
}

static uint32_t id_store(struct trace_parser *parser, uint32_t id) {
    struct trace *trace = parser->trace;
    uint32_t *ids =
        trace_grow(trace->ids, &parser->ids_capacity, (size_t)trace->id_count + 1, sizeof(*ids));
    if (ids == NULL) {
        trace_refuse(parser, "out of memory");
        return TRACE_NO_SLOT;
    }
    trace->ids = ids;
    ids[trace->id_count] = id;
    return trace->id_count++;
}

uint32_t trace_intern_id(struct trace_parser *parser, uint32_t id) {
    struct trace_id_table *table = &parser->id_table;
    const uint32_t step = parser->trace->id_count != 0 ? id - parser->trace->ids[0] : 0;
    if (step < table->dense)
        return step;
    if (step == table->dense && step == parser->trace->id_count) {
        ++table->dense;
        return id_store(parser, id);
    }
    uint32_t place = 0;
    if (table->entries != NULL && id_find(table, id, &place) && table->entries[place] != 0)
        return (uint32_t)(table->entries[place] >> 32) - 1;
    if (!id_make_room(parser, id, &place)) {
        trace_refuse(parser, "out of memory");
        return TRACE_NO_SLOT;
    }
    const uint32_t slot = id_store(parser, id);
    if (slot != TRACE_NO_SLOT)
        table->entries[place] = (uint64_t)(slot + 1) << 32 | id;
    return slot;
}

/* Eight bytes a step: paths are long, and there may be one on every line. */
static uint32_t name_hash(const char *text, size_t length) {
    uint64_t hash = length;
    uint64_t word = 0;
    for (; length >= sizeof(word); text += sizeof(word), length -= sizeof(word)) {
        memcpy(&word, text, sizeof(word));
        hash = (hash ^ word) * GOLDEN_RATIO_64;
        hash ^= hash >> 29;
    }
    for (word = 0; length != 0; --length)
        word = word << 8 | (uint8_t)text[length - 1];
    hash = (hash ^ word) * GOLDEN_RATIO_64;
    hash ^= hash >> 29;
    return (uint32_t)((hash * GOLDEN_RATIO_64) >> 32);
}

/* Doubles the table; the entries carry their hashes. False: out of memory. */
static bool names_grow(struct trace_name_table *table) {
    const unsigned bits = table->entries == NULL ? FIRST_BITS : table->bits + 1;
    uint64_t *entries = calloc((size_t)1 << bits, sizeof(*entries));
    if (entries == NULL)
        return false;
    const uint32_t mask = (uint32_t)((UINT64_C(1) << bits) - 1u);
    const size_t old = table->entries == NULL ? 0 : (size_t)1 << table->bits;
    for (size_t i = 0; i < old; ++i) {
        uint32_t at = (uint32_t)(table->entries[i] >> 32) >> (32u - bits);
        uint32_t probes = 0;
        while (entries[at] != 0 && probes++ < NAME_PROBES_MAX)
            at = (at + 1) & mask;
        if (entries[at] == 0) /* else forgotten: the name will be stored again */
            entries[at] = table->entries[i];
    }
    free(table->entries);
    table->entries = entries;
    table->bits = bits;
    return true;
}

/* gcc 12's analyzer loses a pointer that is stored at an index it does not know and calls
 * it leaked. trace_free frees the names; the tests run under LeakSanitizer. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

/* One more name; false: out of memory. */
static bool name_add(struct trace *trace, size_t *capacity, const char *text, size_t length) {
    char **names =
        trace_grow(trace->names, capacity, (size_t)trace->name_count + 1, sizeof(*names));
    if (names == NULL)
        return false;
    trace->names = names;
    char *copy = strndup(text, length); /* there is no NUL in it */
    if (copy == NULL)
        return false;
    trace->names[trace->name_count++] = copy;
    return true;
}

static uint32_t name_store(struct trace_parser *parser, const char *text, size_t length) {
    if (!name_add(parser->trace, &parser->names_capacity, text, length)) {
        trace_refuse(parser, "out of memory");
        return TRACE_NO_SLOT;
    }
    return parser->trace->name_count - 1;
}

uint32_t trace_intern_name(struct trace_parser *parser, const char *text, size_t length) {
    struct trace_name_table *table = &parser->name_table;
    /* A quarter full at most: then an honest name is always found within the bound. */
    if ((table->entries == NULL || (uint64_t)parser->trace->name_count * 4 >= UINT64_C(1)
                                                                                  << table->bits) &&
        !names_grow(table)) {
        trace_refuse(parser, "out of memory");
        return TRACE_NO_SLOT;
    }
    const uint32_t hash = name_hash(text, length);
    const uint32_t mask = (uint32_t)((UINT64_C(1) << table->bits) - 1u);
    uint32_t at = hash >> (32u - table->bits);
    for (uint32_t probes = 0; probes < NAME_PROBES_MAX; ++probes) {
        const uint64_t entry = table->entries[at];
        if (entry == 0) {
            const uint32_t index = name_store(parser, text, length);
            if (index != TRACE_NO_SLOT)
                table->entries[at] = (uint64_t)hash << 32 | (index + 1);
            return index;
        }
        const char *name = parser->trace->names[(uint32_t)entry - 1];
        if (entry >> 32 == hash && strncmp(name, text, length) == 0 && name[length] == '\0')
            return (uint32_t)entry - 1;
        at = (at + 1) & mask;
    }
    return name_store(parser, text, length);
}
