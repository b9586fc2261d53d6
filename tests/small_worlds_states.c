/* SPDX-License-Identifier: Apache-2.0
 *
 * The states of a small world, each with its image, found by the image. Two images are the same
 * state if they differ only in bytes of free memory in which the heap's own check sees no meaning:
 * what was left there does not matter to a call, and if it did, the call would be judged with what
 * the first way left there.
 */
#include "small_worlds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Which bytes of a free block mean something. */
#define EDGE_BYTES 32u
struct meaning {
    bool first[EDGE_BYTES]; /* from its start */
    bool last[EDGE_BYTES];  /* [0] is its last byte */
    bool between;
};

static struct {
    struct heap heap;
    struct meaning hole;
    struct meaning tail; /* of free memory behind all blocks */
    size_t image_bytes;
    size_t state_bytes;
    uint8_t *states;
    uint8_t *scratch;
    uint32_t count;
    uint32_t room;
    uint32_t *table; /* open addressing, indices of states */
    uint32_t table_size;
} all;

static void *need(void *memory) {
    if (memory == NULL) {
        printf("small_worlds: out of memory\n");
        exit(2);
    }
    return memory;
}

struct state *state_at(uint32_t index) {
    return (struct state *)(void *)(all.states + index * all.state_bytes);
}

uint32_t states_count(void) { return all.count; }

static uint8_t *image_of(struct state *state) { return (uint8_t *)(state + 1); }

/* --- what of an image means something ------------------------------------------------------- */

static bool is_seen(uint32_t address) {
    uint8_t *byte = w800_pointer(address);
    struct wm_heap_fault fault;
    *byte ^= 0xff;
    bool good = all.heap.build->check(WM_HEAP_NO_REGION, &fault);
    *byte ^= 0xff;
    return !good;
}

static struct meaning learn(uint32_t start, uint32_t size) {
    struct meaning meaning;
    for (uint32_t i = 0; i < EDGE_BYTES; i++) {
        meaning.first[i] = is_seen(start + i);
        meaning.last[i] = is_seen(start + size - 1 - i);
    }
    meaning.between = is_seen(start + size / 2);
    return meaning;
}

static uint32_t alloc_block(uint32_t bytes) {
    const struct heap_build *build = all.heap.build;
    uint32_t request = bytes - build->header_size - (build->comprehensive ? 4 : 0);
    return w800_address(build->alloc(request, WM_HEAP_CAP_DEFAULT, NULL, 0));
}

/* On a hole between two blocks, and on what is behind them. */
static void learn_all(void) {
    const uint32_t block = 40;
    const uint32_t hole = 3 * EDGE_BYTES;
    const uint32_t start = all.heap.start[0];
    const uint32_t end = start + all.heap.region_bytes - all.heap.build->header_size;
    uint32_t first = alloc_block(block);
    all.tail = learn(start + block, end - start - block);
    uint32_t second = alloc_block(hole);
    uint32_t third = alloc_block(block);
    all.heap.build->free(w800_pointer(second));
    all.hole = learn(start + block, hole);
    all.heap.build->free(w800_pointer(third));
    all.heap.build->free(w800_pointer(first));
}

static bool mask_free(void *context, const struct wm_heap_block *block) {
    const uint32_t region = *(const uint32_t *)context;
    const uint32_t start = all.heap.start[region];
    const uint32_t end = start + all.heap.region_bytes - all.heap.build->header_size;
    const struct meaning *meaning = block->address + block->size == end ? &all.tail : &all.hole;
    uint8_t *bytes =
        all.scratch + (size_t)region * all.heap.region_bytes + (block->address - start);
    for (uint32_t i = 0; !block->live && !meaning->between && i < block->size; i++) {
        uint32_t back = block->size - 1 - i;
        if (!(i < EDGE_BYTES && meaning->first[i]) && !(back < EDGE_BYTES && meaning->last[back])) {
            bytes[i] = 0;
        }
    }
    return true;
}

/* --- images ----------------------------------------------------------------------------------- */

static void copy_image(uint8_t *image) {
    for (uint32_t r = 0; r < all.heap.regions; r++, image += all.heap.region_bytes) {
        memcpy(image, w800_pointer(all.heap.start[r]), all.heap.region_bytes);
    }
    memcpy(image, all.heap.build->state, sizeof(struct wm_heap_state));
}

void state_restore(uint32_t index) {
    struct state *state = state_at(index);
    const uint8_t *image = image_of(state);
    for (uint32_t r = 0; r < all.heap.regions; r++, image += all.heap.region_bytes) {
        memcpy(w800_pointer(all.heap.start[r]), image, all.heap.region_bytes);
    }
    memcpy(all.heap.build->state, image, sizeof(struct wm_heap_state));
    for (uint32_t i = 0; i < state->live_count; i++) {
        uint8_t *bytes = w800_pointer(state->live[i].pointer);
        for (uint32_t at = 0; at < state->live[i].size; at++) {
            bytes[at] = live_pattern(state->live[i].pointer, at);
        }
    }
}

static void zero_live(const struct state *state) {
    for (uint32_t i = 0; i < state->live_count; i++) {
        void *pointer = w800_pointer(state->live[i].pointer);
        memset(pointer, 0, all.heap.build->usable_size(pointer));
    }
}

static void forget_level(struct wm_heap_level *level) {
    *level = (struct wm_heap_level){wm_heap_level_free(level), 0};
}

static void forget_counts(void) {
    struct wm_heap_state *core = all.heap.build->state;
    core->counters = (struct wm_heap_counters){0};
    core->first_fault = (struct wm_heap_fault){0};
    core->latest = (struct wm_heap_latest){0, 0};
    forget_level(&core->total);
    for (uint32_t r = 0; r < WM_HEAP_REGIONS_MAX; r++) {
        forget_level(&core->regions[r].level);
    }
}

bool state_is(uint32_t index) {
    struct state *state = state_at(index);
    zero_live(state);
    forget_counts();
    copy_image(all.scratch);
    return memcmp(all.scratch, image_of(state), all.image_bytes) == 0;
}

/* --- the states that are known -----------------------------------------------------------------
 */

static uint64_t hash_of(const uint8_t *bytes, size_t length, uint64_t hash) {
    for (uint64_t word; length >= sizeof word; bytes += sizeof word, length -= sizeof word) {
        memcpy(&word, bytes, sizeof word);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    return hash;
}

static void make_key(struct state *state) {
    memcpy(all.scratch, image_of(state), all.image_bytes);
    for (uint32_t r = 0; r < all.heap.regions; r++) {
        all.heap.build->walk(r, mask_free, &r);
    }
    state->key[0] = hash_of(all.scratch, all.image_bytes, 1);
    state->key[1] = hash_of(all.scratch, all.image_bytes, 0xcbf29ce484222325u);
}

static uint32_t *table_place(const struct state *state) {
    uint32_t place = (uint32_t)state->key[0] & (all.table_size - 1);
    while (all.table[place] != NO_STATE &&
           memcmp(state_at(all.table[place])->key, state->key, sizeof state->key) != 0) {
        place = (place + 1) & (all.table_size - 1);
    }
    return &all.table[place];
}

static void make_room(void) {
    if (all.count + 1 < all.room) {
        return;
    }
    all.room = all.room == 0 ? 1024 : all.room * 2;
    all.states = need(realloc(all.states, all.room * all.state_bytes));
    free(all.table);
    all.table_size = all.room * 2;
    all.table = need(malloc(all.table_size * sizeof *all.table));
    memset(all.table, 0xff, all.table_size * sizeof *all.table);
    for (uint32_t i = 0; i < all.count; i++) {
        *table_place(state_at(i)) = i;
    }
}

void state_keep(const struct state *state) {
    make_room();
    struct state *kept = state_at(all.count); /* for good, if it is not known */
    *kept = *state;
    zero_live(kept);
    forget_counts();
    copy_image(image_of(kept));
    make_key(kept);
    uint32_t *place = table_place(kept);
    if (*place == NO_STATE) {
        *place = all.count++;
    }
}

uint32_t state_path(uint32_t index, struct call path[DEPTH_MAX]) {
    uint32_t length = 0;
    for (uint32_t at = index; state_at(at)->parent != NO_STATE; at = state_at(at)->parent) {
        length++;
    }
    if (length > DEPTH_MAX) {
        printf("small_worlds: a state is over %u calls away\n", DEPTH_MAX);
        exit(2);
    }
    uint32_t place = length;
    for (uint32_t at = index; place > 0; at = state_at(at)->parent) {
        path[--place] = state_at(at)->call;
    }
    return length;
}

void states_open(const struct heap *heap) {
    memset(&all, 0, sizeof all);
    all.heap = *heap;
    all.image_bytes = (size_t)heap->regions * heap->region_bytes + sizeof(struct wm_heap_state);
    all.state_bytes = (sizeof(struct state) + all.image_bytes + 7u) & ~(size_t)7;
    all.scratch = need(malloc(all.state_bytes));
    learn_all();
    state_keep(&(struct state){.parent = NO_STATE});
}

void states_close(void) {
    free(all.states);
    free(all.scratch);
    free(all.table);
}
