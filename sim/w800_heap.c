/* SPDX-License-Identifier: Apache-2.0
 *
 * The SDK's API and its debugging companion under their own names: a component compiled
 * against core/wm_heap.h links with the simulator, unchanged, and runs on the build that
 * w800_start was given. Here too are the injected faults, because they sit between the
 * program and the core.
 */
#define WM_HEAP_CORE /* the functions themselves, not the macros that add a call site */
#include <stdio.h>

#include "w800_internal.h"

static const struct heap_build *build_of(const char *function) {
    if (!w800_machine.running) {
        char reason[96];
        snprintf(reason, sizeof reason, "%s: no machine runs, call w800_start first", function);
        w800_abort(reason);
    }
    return w800_machine.config.build;
}
#define BUILD() build_of(__func__)

/* ---- injected failures ---------------------------------------------------------- */

void w800_fail_allocation(uint32_t nth, bool from_then_on) {
    struct w800_injection *injection = &w800_machine.injection;
    atomic_store(&injection->countdown, 0);
    atomic_store(&injection->from_then_on, from_then_on);
    atomic_store(&injection->countdown, nth);
}

uint32_t w800_failed_allocations(void) { return atomic_load(&w800_machine.injection.failed); }

static bool this_one_fails(void) {
    struct w800_injection *injection = &w800_machine.injection;
    uint32_t now = atomic_load(&injection->countdown);
    while (now > 0) {
        uint32_t last = atomic_load(&injection->from_then_on) ? 1u : 0u;
        uint32_t next = now > 1 ? now - 1 : last;
        if (atomic_compare_exchange_weak(&injection->countdown, &now, next)) {
            if (now == 1)
                atomic_fetch_add(&injection->failed, 1);
            return now == 1;
        }
    }
    return false;
}

/* A failure is made by asking for memory that no region has: the core then fails by its own
 * rules, counts it, calls the failed-allocation callback, and leaves realloc's old block.
 * Requests for nothing do not count, for they return NULL anyhow. */
static wm_heap_cap_type_t caps_or_failure(size_t size, wm_heap_cap_type_t caps) {
    if (size == 0 || !this_one_fails())
        return caps;
    return caps | WM_HEAP_CAP_INVALID;
}

/* ---- allocation ----------------------------------------------------------------- */

void *wm_heap_caps_alloc_tracing(size_t size, wm_heap_cap_type_t caps, const char *file, int line) {
    return BUILD()->alloc(size, caps_or_failure(size, caps), file, line);
}

void *wm_heap_caps_alloc(size_t size, wm_heap_cap_type_t caps) {
    return BUILD()->alloc_untraced(size, caps_or_failure(size, caps));
}

void *wm_heap_caps_calloc_tracing(size_t count, size_t size, wm_heap_cap_type_t caps,
                                  const char *file, int line) {
    size_t least = count > 0 ? size : 0; /* 0 if and only if the product is */
    return BUILD()->calloc(count, size, caps_or_failure(least, caps), file, line);
}

void *wm_heap_caps_aligned_alloc_tracing(size_t alignment, size_t size, wm_heap_cap_type_t caps,
                                         const char *file, int line) {
    return BUILD()->aligned_alloc(alignment, size, caps_or_failure(size, caps), file, line);
}

/* ---- realloc, and the SDK's defect 10 --------------------------------------------- */

static uint32_t caps_of_memory(const void *ptr) {
    const struct w800_config *config = &w800_machine.config;
    uintptr_t address = (uintptr_t)ptr;
    for (uint32_t i = 0; i < config->region_count; i++)
        if (address >= config->regions[i].start && address < config->regions[i].end)
            return config->regions[i].caps;
    return 0;
}

/* What the block was promised and realloc can silently take away: memory in PSRAM, or
 * within the reach of Wi-Fi, SDIO and HSPI. libc's realloc passes DEFAULT, whatever the
 * block had. Only blocks in memory that has such a capability are looked up. */
struct promise {
    uint32_t caps; /* 0: nothing */
    struct wm_heap_block block;
};

static struct promise promise_of(const void *old, size_t size, wm_heap_cap_type_t caps) {
    struct promise promise = {.caps = 0};
    uint32_t special = caps_of_memory(old) & (WM_HEAP_CAP_SHARED | WM_HEAP_CAP_SPIRAM);
    /* caps 0 keeps the old ones, and freeing moves nothing */
    if (special != 0 && size > 0 && caps != 0 && BUILD()->get_block(old, &promise.block))
        promise.caps = promise.block.caps & special;
    return promise;
}

/* Returns `moved`. */
static void *promise_check(const struct promise *promise, const void *old, void *moved) {
    if (moved && (promise->caps & ~caps_of_memory(moved)) != 0) {
        struct w800_event event = {
            .kind = W800_EVENT_REALLOC_MOVED,
            .address = w800_address(old),
            .near_block = promise->block.address,
            .near_size = promise->block.size,
        };
        w800_event_deliver(&event);
    }
    return moved;
}

void *wm_heap_caps_realloc_tracing(void *old_mem, size_t new_size, wm_heap_cap_type_t caps,
                                   const char *file, int line) {
    const struct heap_build *build = BUILD();
    struct promise promise = promise_of(old_mem, new_size, caps);
    return promise_check(
        &promise, old_mem,
        build->realloc(old_mem, new_size, caps_or_failure(new_size, caps), file, line));
}

void *wm_heap_caps_realloc(void *old_mem, size_t new_size, wm_heap_cap_type_t caps) {
    const struct heap_build *build = BUILD();
    struct promise promise = promise_of(old_mem, new_size, caps);
    return promise_check(
        &promise, old_mem,
        build->realloc_untraced(old_mem, new_size, caps_or_failure(new_size, caps)));
}

/* ---- the rest passes through ------------------------------------------------------ */

void wm_heap_init(void) {
    BUILD()->init();
    if (w800_machine.config.realloc_in_place)
        w800_machine.config.build->set_realloc_in_place(true);
}

int wm_heap_append_to_heap(const char *name) { return BUILD()->append(name); }

void wm_heap_caps_free(void *ptr) { BUILD()->free(ptr); }

size_t wm_heap_get_free_size(void) { return BUILD()->free_size(); }

size_t wm_heap_get_minimum_ever_free_size(void) { return BUILD()->minimum_free_size(); }

size_t wm_heap_caps_get_free_size(wm_heap_cap_type_t caps) { return BUILD()->caps_free_size(caps); }

size_t wm_heap_caps_get_minimum_free_size(wm_heap_cap_type_t caps) {
    return BUILD()->caps_minimum_free_size(caps);
}

size_t wm_heap_caps_get_largest_free_block(wm_heap_cap_type_t caps) {
    return BUILD()->caps_largest_free_block(caps);
}

size_t wm_heap_get_usable_size(const void *ptr) { return BUILD()->usable_size(ptr); }

void wm_heap_print_stats(void) { BUILD()->print_stats(); }

void wm_heap_print_tracing(void *ptr) { BUILD()->print_tracing(ptr); }

void wm_heap_set_realloc_in_place(bool on) { BUILD()->set_realloc_in_place(on); }

void wm_heap_set_failed_callback(wm_heap_failed_callback_fn *callback, void *context) {
    BUILD()->set_failed_callback(callback, context);
}

void wm_heap_get_counters(struct wm_heap_counters *counters) { BUILD()->counters(counters); }

bool wm_heap_walk(uint32_t region, wm_heap_visit_fn *visit, void *context) {
    return BUILD()->walk(region, visit, context);
}

bool wm_heap_get_block(const void *ptr, struct wm_heap_block *block) {
    return BUILD()->get_block(ptr, block);
}

bool wm_heap_check(uint32_t region, struct wm_heap_fault *fault) {
    return BUILD()->check(region, fault);
}

bool wm_heap_check_block(const void *ptr, struct wm_heap_fault *fault) {
    return BUILD()->check_block(ptr, fault);
}

/* Names are the same in each build and need no machine. */
const char *wm_heap_fault_name(uint32_t kind) { return heap_builds[0]->fault_name(kind); }

const char *wm_heap_check_name(uint32_t check) { return heap_builds[0]->check_name(check); }

/* ---- damage ------------------------------------------------------------------------ */

/* Radiation, a brown-out, somebody's DMA: memory changes and no CPU access did it. Hence it
 * works while DMA occupies PSRAM. Outside the chip's memory there is no bit to flip. */
void w800_flip_bit(uint32_t address, uint32_t bit) {
    if (!w800_is_memory(address, 1))
        return;
    w800_psram_open();
    volatile uint8_t *byte = w800_pointer(address);
    *byte = (uint8_t)(*byte ^ (1u << (bit & 7u)));
    w800_psram_close();
}

/* An overrun: stores of the program, so they trap like any other. */
void w800_write_past(const void *ptr, uint32_t bytes, uint8_t value) {
    uint32_t usable = (uint32_t)BUILD()->usable_size(ptr);
    if (usable == 0) /* no live block's pointer: the core has reported that */
        return;
    volatile uint8_t *end = w800_pointer(w800_address(ptr) + usable);
    for (uint32_t i = 0; i < bytes; i++)
        end[i] = value;
}
