/* SPDX-License-Identifier: Apache-2.0
 *
 * The core, as firmware would call it, on the simulated W800's memory. The port's lock does
 * nothing and the call site is a constant, here and in the lists: what is measured is the heap,
 * not the host's stand-in for disabled interrupts.
 */
#include <string.h>

#include "allocator.h"
#include "first_fit.h"
#include "w800.h"

/* The linker's --wrap puts these in the place of the simulator's (sim/w800_port.c). */
uint32_t __wrap_wm_heap_port_lock(void);             /* NOLINT(bugprone-reserved-identifier) */
void __wrap_wm_heap_port_unlock(uint32_t key);       /* NOLINT(bugprone-reserved-identifier) */
uint32_t __wrap_wm_heap_port_site(const char *file); /* NOLINT(bugprone-reserved-identifier) */

uint32_t __wrap_wm_heap_port_lock(void) { return 0; }
void __wrap_wm_heap_port_unlock(uint32_t key) { (void)key; }
uint32_t __wrap_wm_heap_port_site(const char *file) { return w800_address(file); }

/* Set by open: a table has no room for them, and there is one heap a process anyway. */
static const struct heap_build *build;

static bool core_open(const char **lack) {
    (void)lack;
    build = w800_config()->build;
    return true;
}

static void core_reset(void) {
    memset(build->state, 0, sizeof *build->state);
    build->init();
}

static void core_append(const char *name) { build->append(name); }

static void *core_alloc(size_t size, uint32_t caps) {
    return build->alloc(size, (wm_heap_cap_type_t)caps, __FILE__, __LINE__);
}

static void *core_realloc(void *old, size_t size, uint32_t caps) {
    return build->realloc(old, size, (wm_heap_cap_type_t)caps, __FILE__, __LINE__);
}

static void core_free(void *pointer) { build->free(pointer); }

static size_t core_block_bytes(const void *pointer) {
    struct wm_heap_block block = {.size = 0};
    build->get_block(pointer, &block);
    return block.size;
}

struct visit {
    allocator_hole_fn *hole;
    void *context;
};

static bool core_visit(void *context, const struct wm_heap_block *block) {
    const struct visit *visit = context;
    if (!block->live) {
        visit->hole(visit->context, block->size);
    }
    return true;
}

static void core_holes(allocator_hole_fn *hole, void *context) {
    struct visit visit = {hole, context};
    for (uint32_t i = 0; i < build->state->region_count; i++) {
        build->walk(i, core_visit, &visit);
    }
}

const struct allocator allocator_core = {
    .name = "core",
    .exact = true,
    .open = core_open,
    .reset = core_reset,
    .append = core_append,
    .alloc = core_alloc,
    .realloc = core_realloc,
    .free = core_free,
    .block_bytes = core_block_bytes,
    .holes = core_holes,
};

/* --- the lists -------------------------------------------------------------------------------- */

static bool list_open(const char **lack) {
    (void)lack;
    return true;
}

static void list_reset(void) { first_fit_init(w800_config(), true); }
static void list_plain_reset(void) { first_fit_init(w800_config(), false); }

static void *list_alloc(size_t size, uint32_t caps) {
    return first_fit_alloc(size, caps, __FILE__, __LINE__);
}

static void *list_realloc(void *old, size_t size, uint32_t caps) {
    return first_fit_realloc(old, size, caps, __FILE__, __LINE__);
}

const struct allocator allocator_list = {
    .name = "list",
    .exact = true,
    .open = list_open,
    .reset = list_reset,
    .append = first_fit_append,
    .alloc = list_alloc,
    .realloc = list_realloc,
    .free = first_fit_free,
    .block_bytes = first_fit_block_bytes,
    .holes = first_fit_holes,
};

const struct allocator allocator_list_plain = {
    .name = "list-plain",
    .exact = true,
    .open = list_open,
    .reset = list_plain_reset,
    .append = first_fit_append,
    .alloc = list_alloc,
    .realloc = list_realloc,
    .free = first_fit_free,
    .block_bytes = first_fit_block_bytes,
    .holes = first_fit_holes,
};
