/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads on one heap, as tasks are on the chip: each allocates, fills, checks, resizes and
 * frees its own blocks, and looks around. For ThreadSanitizer, which must stay silent; but
 * also without it a block given out twice or a heap left smashed fails the program.
 *
 * On kernels that scatter mappings widely (vm.mmap_rnd_bits over 28) gcc 12's and clang 14's
 * ThreadSanitizer finds its shadow's place taken: run the program by `setarch -R`.
 */
#include "../sim/w800.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define THREADS 2
#define ROUNDS 20000
#define SLOTS 16

static _Atomic uint32_t events;

static void count_event(void *context, const struct w800_event *event) {
    (void)context;
    fprintf(stderr, "lock_threads: %s, %s at 0x%08x\n", w800_event_name(event->kind),
            wm_heap_fault_name(event->fault.kind), event->address);
    atomic_fetch_add(&events, 1);
}

struct slot {
    uint8_t *ptr;
    uint32_t size;
    uint8_t fill;
};

static bool slot_is_intact(const struct slot *slot) {
    for (uint32_t i = 0; i < slot->size; i++) {
        if (slot->ptr[i] != slot->fill) {
            return false;
        }
    }
    return true;
}

static void slot_fill(struct slot *slot, uint8_t *ptr, uint32_t size, uint8_t fill) {
    *slot = (struct slot){.ptr = ptr, .size = ptr ? size : 0, .fill = fill};
    if (ptr) {
        memset(ptr, fill, size);
    }
}

/* One step on one slot: false if its contents are not what this thread stored. */
static bool step(struct slot *slot, uint32_t random) {
    uint32_t size = 1 + (random >> 8) % 600;
    uint8_t fill = (uint8_t)(random >> 24);
    if (!slot_is_intact(slot)) {
        return false;
    }
    if (slot->ptr == NULL) {
        slot_fill(slot, wm_heap_caps_alloc_tracing(size, 0, random & 1 ? "a.c" : "b.c", 1), size,
                  fill);
    } else if (random >> 30 != 0) {
        wm_heap_caps_free(slot->ptr);
        *slot = (struct slot){0};
    } else {
        uint8_t *ptr = wm_heap_caps_realloc(slot->ptr, size, 0);
        if (ptr) {
            slot->size = slot->size < size ? slot->size : size;
            slot->ptr = ptr;
            if (!slot_is_intact(slot)) {
                return false;
            }
            slot_fill(slot, ptr, size, fill);
        }
    }
    return true;
}

struct worker {
    pthread_t thread;
    uint32_t seed;
    const char *wrong; /* what went wrong, NULL if nothing */
};

static const char *hammer(uint32_t random) {
    struct slot slots[SLOTS] = {{0}};
    for (uint32_t round = 0; round < ROUNDS; round++) {
        random = random * 1664525u + 1013904223u;
        if (!step(&slots[random >> 4 & (SLOTS - 1)], random)) {
            return "a block's contents changed under its owner";
        }
        if (round % 256 == 0) {
            struct wm_heap_fault fault;
            if (!wm_heap_check(WM_HEAP_NO_REGION, &fault)) {
                return "the integrity check failed";
            }
            (void)wm_heap_get_free_size();
            (void)w800_lock_report();
        }
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (!slot_is_intact(&slots[i])) {
            return "a block's contents changed under its owner";
        }
        wm_heap_caps_free(slots[i].ptr);
    }
    return NULL;
}

static void *work(void *context) {
    struct worker *worker = context;
    worker->wrong = hammer(worker->seed);
    return NULL;
}

/* Runs the threads on one build; returns what went wrong, or NULL. */
static const char *run(const struct heap_build *build) {
    struct worker workers[THREADS] = {{.seed = 1}, {.seed = 2}};
    struct w800_config config = {
        .build = build,
        .regions = {{"SRAM", 0x20026000, 0x20028000, WM_HEAP_CAP_DEFAULT, false},
                    {"DRAM", 0x20028000, 0x2002a000, WM_HEAP_CAP_DEFAULT, false}},
        .region_count = 2,
        .measure_lock = true,
    };
    struct w800_error error;
    if (!w800_start(&config, &error)) {
        fprintf(stderr, "lock_threads: %s\n", error.text);
        return "the machine does not start";
    }
    w800_on_event(count_event, NULL);
    wm_heap_init();
    size_t free_before = wm_heap_get_free_size();
    w800_fail_allocation(1000, false); /* the countdown is shared, too */

    const char *wrong = NULL;
    for (uint32_t i = 0; i < THREADS; i++) {
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            return "cannot create a thread";
        }
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        wrong = workers[i].wrong ? workers[i].wrong : wrong;
    }
    if (!wrong && wm_heap_get_free_size() != free_before) {
        wrong = "free bytes differ once all is freed";
    }
    if (!wrong && w800_failed_allocations() != 1) {
        wrong = "the injected failure did not come exactly once";
    }
    w800_stop();
    return wrong;
}

int main(void) {
    for (size_t b = 0; b < HEAP_BUILDS; b++) {
        const char *wrong = run(heap_builds[b]);
        if (wrong || atomic_load(&events) > 0) {
            fprintf(stderr, "lock_threads: build %s: %s\n", heap_builds[b]->name,
                    wrong ? wrong : "events were reported");
            return 1;
        }
    }
    return 0;
}
