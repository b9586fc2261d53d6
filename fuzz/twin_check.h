/* SPDX-License-Identifier: Apache-2.0
 *
 * The comparisons of a twin. Each ends the process at the first difference.
 */
#ifndef TWIN_CHECK_H
#define TWIN_CHECK_H

#include "fuzz.h"
#include "twin.h"

#define TWIN_CHECK(twin, condition, format, ...)                                                   \
    FUZZ_CHECK(condition, "build %s, layout %u, call %u: " format, (twin)->build->name,            \
               (twin)->head.layout, (twin)->call, __VA_ARGS__)

static inline wm_heap_cap_type_t caps_of(uint32_t bits) { return (wm_heap_cap_type_t)bits; }

/* The counters, and the free bytes of everything together: after each call. */
void twin_check_counters(const struct twin *twin);

/* The bytes of a live block, as far as they are known. */
void twin_check_contents(const struct twin *twin, uint32_t pointer);

/* Has what an allocation has just returned the pattern of free memory, where poisoning fills that?
 * A tree node may have stood in the last bytes. */
bool twin_is_fresh(const struct twin *twin, uint32_t pointer, uint64_t size);

/* The three sizes of what serves these capabilities. */
void twin_check_caps(const struct twin *twin, uint32_t caps);

/* What the core says of a live block; what may be used behind what was asked for is written. */
void twin_check_block(const struct twin *twin, uint32_t pointer);

/* A walk that stops after so many blocks, perhaps of no region at all. */
void twin_check_walk(const struct twin *twin, uint32_t region, uint32_t blocks);

#endif
