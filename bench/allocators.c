/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of allocators, and those that are a line each.
 */
#include "allocator.h"

#include <gnu/libc-version.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay.h"
#include "workload.h"

static const struct allocator *const allocators[] = {
    &allocator_core,  &allocator_list,     &allocator_list_plain,
    &allocator_glibc, &allocator_mimalloc, &allocator_nothing,
};
#define ALLOCATORS (sizeof allocators / sizeof allocators[0])

const struct allocator *allocator_find(const char *name) {
    for (size_t i = 0; i < ALLOCATORS; i++) {
        if (strcmp(allocators[i]->name, name) == 0) {
            return allocators[i];
        }
    }
    return NULL;
}

const char *allocator_names(void) {
    static char names[128];
    for (size_t i = 0, at = 0; i < ALLOCATORS && at < sizeof names; i++) {
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i == 0 ? "" : " ",
                               allocators[i]->name);
    }
    return names;
}

bool allocator_machine_start(const struct trace *trace, struct trace_error *error) {
    struct w800_config config = workload_machine(trace, REPLAY_PSRAM_AS_TRACED);
    struct w800_error reason;
    if (!w800_start(&config, &reason)) {
        snprintf(error->text, sizeof error->text, "%s", reason.text);
        return false;
    }
    return true;
}

static bool open_nothing(const char **lack) {
    (void)lack;
    return true;
}

/* --- glibc's malloc: it is linked anyway ------------------------------------------------------ */

static void *glibc_alloc(size_t size, uint32_t caps) {
    (void)caps;
    return malloc(size);
}

static void *glibc_realloc(void *old, size_t size, uint32_t caps) {
    (void)caps;
    return realloc(old, size);
}

/* A chunk is what may be used and one word, its size; malloc(3) names no function for that. */
static size_t glibc_block_bytes(const void *pointer) {
    union {
        const void *in;
        void *out;
    } usable = {.in = pointer}; /* malloc_usable_size only reads, but does not say so */
    return malloc_usable_size(usable.out) + sizeof(size_t);
}

static void glibc_version(char *text, size_t size) {
    snprintf(text, size, "%s", gnu_get_libc_version());
}

const struct allocator allocator_glibc = {
    .name = "glibc",
    .open = open_nothing,
    .alloc = glibc_alloc,
    .realloc = glibc_realloc,
    .free = free,
    .block_bytes = glibc_block_bytes,
    .version = glibc_version,
};

/* --- no allocator at all ---------------------------------------------------------------------- */

static char somewhere[1];

static void *nothing_alloc(size_t size, uint32_t caps) {
    (void)size;
    (void)caps;
    return somewhere;
}

static void *nothing_realloc(void *old, size_t size, uint32_t caps) {
    (void)old;
    (void)caps;
    return size != 0 ? somewhere : NULL;
}

static void nothing_free(void *pointer) { (void)pointer; }
static void nothing_reset(void) {}

static size_t nothing_block_bytes(const void *pointer) {
    (void)pointer;
    return 0;
}

const struct allocator allocator_nothing = {
    .name = "nothing",
    .open = open_nothing,
    .reset = nothing_reset,
    .alloc = nothing_alloc,
    .realloc = nothing_realloc,
    .free = nothing_free,
    .block_bytes = nothing_block_bytes,
};
