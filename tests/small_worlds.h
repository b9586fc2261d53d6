/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two halves of small_worlds share: small_worlds.c makes calls and judges them,
 * small_worlds_states.c keeps the states that they lead to.
 */
#ifndef SMALL_WORLDS_H
#define SMALL_WORLDS_H

#include "../core/wm_heap_state.h"
#include "../sim/model.h"
#include "../sim/w800.h"

#define COUNT(array) ((uint32_t)(sizeof(array) / sizeof *(array)))
#define LIVE_MAX 4u
#define WORLD_REGIONS_MAX 2u
#define DEPTH_MAX 64u
#define NO_STATE UINT32_MAX

enum kind { ALLOC, CALLOC, ALIGNED, REALLOC, FREE, KINDS };

struct call {
    enum kind kind;
    uint32_t pointer; /* of what is freed or resized */
    uint32_t size;
    uint32_t caps;
};

struct live {
    uint32_t pointer;
    uint32_t size;
};

/* Followed by its image: each region's bytes, and the core's state. */
struct state {
    uint64_t key[2]; /* hashes of the image, but for bytes that mean nothing */
    uint32_t parent;
    struct call call; /* that led here from it */
    uint32_t live_count;
    struct live live[LIVE_MAX]; /* by address */
};

/* A heap, and where it lies. */
struct heap {
    const struct heap_build *build;
    uint32_t regions;
    uint32_t region_bytes; /* of each, the end marker included */
    uint32_t start[WORLD_REGIONS_MAX];
};

/* All that can be reached; `heap` has been initialised and has no live block. Its present state
 * is state 0. */
void states_open(const struct heap *heap);
void states_close(void);
uint32_t states_count(void);
struct state *state_at(uint32_t index); /* until the next state_keep */

/* The heap becomes what it was then; live bytes have their pattern. */
void state_restore(uint32_t index);

/* The heap as it is now, which a call led to, is kept unless it is known. Bytes of live blocks
 * are lost. */
void state_keep(const struct state *state);

/* The calls that led to a state, the first first; returns how many. */
uint32_t state_path(uint32_t index, struct call path[DEPTH_MAX]);

/* Is the heap what it was then, whatever a refused call has counted? */
bool state_is(uint32_t index);

/* What a live block's bytes are while a call runs. */
static inline uint8_t live_pattern(uint32_t pointer, uint32_t offset) {
    return (uint8_t)(1u + (pointer / 8u * 37u + offset * 11u) % 255u);
}

#endif
