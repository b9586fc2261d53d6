/* SPDX-License-Identifier: Apache-2.0
 *
 * mimalloc, loaded when it is asked for: linked, it would take malloc's place for glibc's
 * figures, too.
 */
#include "allocator.h"

#include <dlfcn.h>
/* Debian's libmimalloc-dev: the fast allocator that people compare with. */
#include <stdio.h>

/* As mimalloc.h declares them; not included, so that building needs no mimalloc. */
static struct {
    void *(*alloc)(size_t size);
    void *(*realloc)(void *old, size_t size);
    void (*free)(void *pointer);
    size_t (*usable_size)(const void *pointer);
    int (*version)(void);
} mimalloc;

/* dlsym's result is data to the compiler and a function to the linker. */
static bool find(void *library, const char *name, void *place) {
    void **function = place;
    *function = dlsym(library, name);
    return *function != NULL;
}

static bool mimalloc_open(const char **lack) {
    void *library = dlopen("libmimalloc.so.2", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        library = dlopen("libmimalloc.so", RTLD_NOW | RTLD_LOCAL);
    }
    *lack = "libmimalloc cannot be loaded";
    return library != NULL && find(library, "mi_malloc", &mimalloc.alloc) &&
           find(library, "mi_realloc", &mimalloc.realloc) &&
           find(library, "mi_free", &mimalloc.free) &&
           find(library, "mi_usable_size", &mimalloc.usable_size) &&
           find(library, "mi_version", &mimalloc.version);
}

static void *mimalloc_alloc(size_t size, uint32_t caps) {
    (void)caps;
    return mimalloc.alloc(size);
}

static void *mimalloc_realloc(void *old, size_t size, uint32_t caps) {
    (void)caps;
    return mimalloc.realloc(old, size);
}

static void mimalloc_free(void *pointer) { mimalloc.free(pointer); }

/* Blocks have no headers of their own. */
static size_t mimalloc_block_bytes(const void *pointer) { return mimalloc.usable_size(pointer); }

/* 209 is 2.0.9. */
static void mimalloc_version(char *text, size_t size) {
    int version = mimalloc.version();
    snprintf(text, size, "%d.%d.%d", version / 100, version / 10 % 10, version % 10);
}

const struct allocator allocator_mimalloc = {
    .name = "mimalloc",
    .open = mimalloc_open,
    .alloc = mimalloc_alloc,
    .realloc = mimalloc_realloc,
    .free = mimalloc_free,
    .block_bytes = mimalloc_block_bytes,
    .version = mimalloc_version,
};
