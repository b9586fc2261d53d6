/* SPDX-License-Identifier: Apache-2.0
 *
 * A mutator that knows calls (program.h): it inserts, deletes, repeats, swaps and splices
 * whole calls, aims several at one pointer variable, and moves sizes towards the borders
 * where something changes. What it makes follows from its arguments alone, so a run with a
 * given seed makes the same inputs.
 *
 * For libFuzzer and seeded runs it is linked into the target; for afl-fuzz it is a library of
 * its own (AFL_CUSTOM_MUTATOR_LIBRARY), whose blind stages go on beside it.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "program.h"

#define STEPS_MAX 8u
#define CALLS_AT_ONCE 12u

struct edit {
    uint8_t *data;
    size_t size;
    size_t room;
    const uint8_t *other;
    size_t other_size;
    uint64_t random;
    uint32_t calls;                          /* before this step, those that a program can have */
    uint32_t starts[PROGRAM_CALLS_MAX + 1u]; /* where each begins, and where the last one ends */
};

static uint32_t below(struct edit *edit, size_t bound) {
    return fuzz_random_below(&edit->random, (uint32_t)bound);
}

/* Bytes before the first call: the target's own word where it is linked in, the build's in a
 * library. */
static size_t head_bytes(void) {
#ifdef FUZZ_HEAD_BYTES
    return FUZZ_HEAD_BYTES;
#else
    return &fuzz_head_bytes != NULL ? fuzz_head_bytes : PROGRAM_HEAD_BYTES;
#endif
}

/* ---- where calls begin ---- */

/* program_call_bytes as a table: every step of every mutation asks for each call. */
static uint8_t lengths[256];

static void lengths_fill(void) {
    for (uint32_t i = 0; i < sizeof lengths && lengths[sizeof lengths - 1] == 0; i++) {
        lengths[i] = (uint8_t)program_call_bytes((uint8_t)i);
    }
}

static size_t next_call(const uint8_t *data, size_t size, size_t at) {
    size_t next = at + lengths[data[at]];
    return next < size ? next : size;
}

/* Fills `starts` (PROGRAM_CALLS_MAX + 1), returns the number of calls. */
static uint32_t find_calls(const uint8_t *data, size_t size, uint32_t *starts) {
    uint32_t calls = 0;
    size_t at = head_bytes();
    lengths_fill();
    for (; at < size && calls < PROGRAM_CALLS_MAX; at = next_call(data, size, at)) {
        starts[calls++] = (uint32_t)at;
    }
    starts[calls] = (uint32_t)(at < size ? at : size);
    return calls;
}

/* Before each step. */
static void edit_look(struct edit *edit) {
    edit->calls = find_calls(edit->data, edit->size, edit->starts);
}

/* ---- edits: each does nothing where there is no room or nothing to edit ---- */

static void insert_bytes(struct edit *edit, size_t at, const uint8_t *bytes, size_t length) {
    if (edit->size + length <= edit->room) {
        memmove(edit->data + at + length, edit->data + at, edit->size - at);
        memcpy(edit->data + at, bytes, length);
        edit->size += length;
    }
}

static size_t any_place(struct edit *edit) { return edit->starts[below(edit, edit->calls + 1u)]; }

static size_t make_call(struct edit *edit, uint8_t *call, uint8_t operation) {
    call[0] = operation;
    for (uint32_t i = 1; i < PROGRAM_CALL_BYTES_MAX; i++) {
        call[i] = (uint8_t)fuzz_random(&edit->random);
    }
    return program_call_bytes(operation);
}

static void insert_call(struct edit *edit) {
    uint8_t call[PROGRAM_CALL_BYTES_MAX];
    size_t length = make_call(edit, call, (uint8_t)fuzz_random(&edit->random));
    insert_bytes(edit, any_place(edit), call, length);
}

/* What is freed between two that stay makes a hole: three allocations and a free. */
static void insert_hole(struct edit *edit) {
    uint8_t first = (uint8_t)below(edit, PROGRAM_SLOTS);
    uint8_t caps = (uint8_t)(below(edit, 7) << 4);
    size_t at = any_place(edit);
    uint8_t calls[4u * PROGRAM_CALL_BYTES_MAX];
    size_t length = 0;
    for (uint8_t i = 0; i < 3; i++) {
        uint8_t *call = calls + length;
        length += make_call(edit, call, program_operation(PROGRAM_ALLOC) | caps);
        call[1] = (uint8_t)((first + i) % PROGRAM_SLOTS);
        call[3] = 0;
    }
    length += make_call(edit, calls + length, program_operation(PROGRAM_FREE));
    calls[length - 1] = (uint8_t)((first + 1u) % PROGRAM_SLOTS);
    insert_bytes(edit, at, calls, length);
}

static void delete_calls(struct edit *edit) {
    uint32_t first = below(edit, edit->calls + 1u);
    uint32_t last = first + 1u + below(edit, CALLS_AT_ONCE);
    size_t from = edit->starts[first];
    size_t to = edit->starts[last < edit->calls ? last : edit->calls];
    memmove(edit->data + from, edit->data + to, edit->size - to);
    edit->size -= to - from;
}

/* A few calls come again somewhere: of this program, or of the other if there is one. */
static void copy_calls(struct edit *edit, bool of_other) {
    uint8_t calls[CALLS_AT_ONCE * PROGRAM_CALL_BYTES_MAX];
    uint32_t starts_of_other[PROGRAM_CALLS_MAX + 1u];
    const uint32_t *starts = edit->starts;
    const uint8_t *data = edit->data;
    uint32_t count = edit->calls;
    if (of_other && edit->other_size > 0) {
        data = edit->other;
        count = find_calls(data, edit->other_size, starts_of_other);
        starts = starts_of_other;
    }
    uint32_t from = below(edit, count + 1u);
    uint32_t to = from + 1u + below(edit, CALLS_AT_ONCE);
    size_t length = starts[to < count ? to : count] - starts[from];
    memcpy(calls, data + starts[from], length);
    insert_bytes(edit, any_place(edit), calls, length);
}

static void swap_calls(struct edit *edit) {
    uint8_t calls[2u * PROGRAM_CALL_BYTES_MAX];
    size_t first = any_place(edit);
    if (first == edit->size) {
        return;
    }
    size_t second = next_call(edit->data, edit->size, first);
    size_t end = second < edit->size ? next_call(edit->data, edit->size, second) : second;
    memcpy(calls, edit->data + second, end - second);
    memcpy(calls + (end - second), edit->data + first, second - first);
    memcpy(edit->data + first, calls, end - first);
}

/* This program's beginning, the other's end. */
static void splice(struct edit *edit) {
    if (edit->other_size <= head_bytes()) {
        return;
    }
    uint32_t starts[PROGRAM_CALLS_MAX + 1u];
    size_t keep = any_place(edit);
    size_t from = starts[below(edit, find_calls(edit->other, edit->other_size, starts) + 1u)];
    size_t length = edit->other_size - from;
    if (keep + length <= edit->room) {
        memcpy(edit->data + keep, edit->other + from, length);
        edit->size = keep + length;
    }
}

/* Towards a border: what the largest hole holds, or a part of it, and a little more or less;
 * or a few bytes up and down from where it is. */
static void perturb_size(struct edit *edit) {
    static const int8_t deltas[] = {0,   1,  -1,  8,  -8,  16, -16, 24,
                                    -24, 32, -32, 48, -48, 64, -64, 4};
    size_t at = any_place(edit);
    if (edit->size - at < 4 || program_call_bytes(edit->data[at]) < 4) {
        return;
    }
    uint8_t *call = edit->data + at;
    int8_t delta = deltas[below(edit, sizeof deltas)];
    if (below(edit, 2) == 0) {
        call[1] = (uint8_t)(call[1] % PROGRAM_SLOTS + PROGRAM_BORDER * PROGRAM_SLOTS);
        call[2] = (uint8_t)delta;
        call[3] = (uint8_t)below(edit, 4);
    } else {
        call[2] = (uint8_t)(call[2] + (uint8_t)delta);
    }
}

/* The same variable as another call: reallocs and frees meet what was allocated. */
static void share_slot(struct edit *edit) {
    size_t at = any_place(edit);
    size_t from = any_place(edit);
    if (edit->size - at >= 2 && edit->size - from >= 2) {
        uint8_t slot = edit->data[from + 1] % PROGRAM_SLOTS;
        edit->data[at + 1] = (uint8_t)(edit->data[at + 1] / PROGRAM_SLOTS * PROGRAM_SLOTS + slot);
    }
}

static void change_byte(struct edit *edit) {
    size_t at = any_place(edit);
    if (at < edit->size) {
        at += below(edit, next_call(edit->data, edit->size, at) - at);
        uint32_t byte = edit->data[at] ^ 1u << below(edit, 8);
        edit->data[at] = (uint8_t)(below(edit, 2) == 0 ? fuzz_random(&edit->random) : byte);
    }
}

static void change_head(struct edit *edit) {
    edit->data[below(edit, head_bytes())] = (uint8_t)fuzz_random(&edit->random);
}

static void step(struct edit *edit) {
    edit_look(edit);
    switch (below(edit, 16)) {
    case 0:
    case 1:
    case 2:
        insert_call(edit);
        break;
    case 3:
        insert_hole(edit);
        break;
    case 4:
    case 5:
        delete_calls(edit);
        break;
    case 6:
        copy_calls(edit, false);
        break;
    case 7:
        copy_calls(edit, true);
        break;
    case 8:
        swap_calls(edit);
        break;
    case 9:
        splice(edit);
        break;
    case 10:
    case 11:
        perturb_size(edit);
        break;
    case 12:
        share_slot(edit);
        break;
    case 13:
        if (below(edit, 4) == 0) {
            change_head(edit);
        }
        break;
    default:
        change_byte(edit);
        break;
    }
}

size_t fuzz_mutate(uint8_t *data, size_t size, size_t room, const uint8_t *other, size_t other_size,
                   uint64_t seed) {
    struct edit edit;
    edit.data = data;
    edit.size = size;
    edit.room = room;
    edit.other = other;
    edit.other_size = other_size;
    edit.random = seed;
    while (edit.size < head_bytes() && edit.size < room) {
        edit.data[edit.size++] = (uint8_t)fuzz_random(&edit.random);
    }
    if (edit.size < head_bytes()) {
        return edit.size;
    }
    for (uint32_t left = 1u + below(&edit, STEPS_MAX); left > 0; left--) {
        step(&edit);
    }
    return edit.size;
}

size_t fuzz_calls(const uint8_t *data, size_t size) {
    uint32_t starts[PROGRAM_CALLS_MAX + 1u];
    return find_calls(data, size, starts);
}

/* ---- libFuzzer ---- */

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    return fuzz_mutate(data, size, room, NULL, 0, seed);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t first_size, const uint8_t *second,
                                 size_t second_size, uint8_t *out, size_t room, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t first_size, const uint8_t *second,
                                 size_t second_size, uint8_t *out, size_t room, unsigned seed) {
    size_t size = first_size < room ? first_size : room;
    memcpy(out, first, size);
    if (size <= head_bytes()) {
        return size;
    }
    struct edit edit = {.data = out,
                        .size = size,
                        .room = room,
                        .other = second,
                        .other_size = second_size,
                        .random = seed};
    edit_look(&edit);
    splice(&edit);
    return edit.size;
}

/* ---- AFL++ ---- */

struct afl_mutator {
    uint64_t random;
    uint8_t *buffer;
    size_t room;
};

void *afl_custom_init(void *afl, unsigned seed);
void *afl_custom_init(void *afl, unsigned seed) {
    (void)afl;
    struct afl_mutator *mutator = calloc(1, sizeof *mutator);
    if (mutator != NULL) {
        mutator->random = seed;
    }
    return mutator;
}

void afl_custom_deinit(void *data);
void afl_custom_deinit(void *data) {
    struct afl_mutator *mutator = data;
    free(mutator->buffer);
    free(mutator);
}

size_t afl_custom_fuzz(void *data, const uint8_t *input, size_t size, uint8_t **out,
                       const uint8_t *other, size_t other_size, size_t room);
size_t afl_custom_fuzz(void *data, const uint8_t *input, size_t size, uint8_t **out,
                       const uint8_t *other, size_t other_size, size_t room) {
    struct afl_mutator *mutator = data;
    if (mutator->room < room) {
        free(mutator->buffer);
        mutator->buffer = malloc(room);
        mutator->room = mutator->buffer != NULL ? room : 0;
    }
    *out = mutator->buffer;
    if (mutator->room < room || size > room) {
        return 0; /* afl-fuzz goes on to the next */
    }
    memcpy(mutator->buffer, input, size);
    return fuzz_mutate(mutator->buffer, size, room, other, other != NULL ? other_size : 0,
                       fuzz_random(&mutator->random));
}
