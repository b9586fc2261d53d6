/* SPDX-License-Identifier: Apache-2.0
 *
 * The core's port on the simulated machine: a lock that stands for disabled interrupts,
 * faults as events, console text, the table of regions, and call sites as small numbers.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "w800_internal.h"

/* ---- lock ------------------------------------------------------------------- */

/* On the chip the critical section disables interrupts; threads of the host stand for the
 * tasks it shuts out. Sections nest, as the chip's do: a thread keeps its own depth and
 * takes the mutex at the outermost level only. The statistics are written under the mutex.
 * File scope, because the port's functions have no argument to carry them. */
static pthread_mutex_t lock_mutex = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local uint32_t lock_depth;
static struct w800_lock_report lock_report;
static uint64_t lock_taken_ns;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint32_t wm_heap_port_lock(void) {
    uint32_t depth = lock_depth;
    if (depth == 0) {
        pthread_mutex_lock(&lock_mutex);
        lock_report.holds++;
        if (w800_machine.config.measure_lock)
            lock_taken_ns = now_ns();
    }
    lock_depth = depth + 1;
    if (lock_depth > lock_report.depth_max)
        lock_report.depth_max = lock_depth;
    return depth;
}

/* The key is the depth that lock found. Another one means that two sections were left in
 * the wrong order: on the chip, interrupts would be on inside a critical section. */
void wm_heap_port_unlock(uint32_t key) {
    uint32_t depth = lock_depth;
    if (depth == 0 || key != depth - 1) {
        char reason[96];
        snprintf(reason, sizeof reason,
                 "unlock with key %u at depth %u: sections left out of order", key, depth);
        w800_abort(reason);
    }
    lock_depth = depth - 1;
    if (key > 0)
        return;
    if (w800_machine.config.measure_lock) {
        uint64_t held_ns = now_ns() - lock_taken_ns;
        if (held_ns > lock_report.longest_ns)
            lock_report.longest_ns = held_ns;
    }
    pthread_mutex_unlock(&lock_mutex);
}

uint32_t w800_lock_depth(void) { return lock_depth; }

void w800_lock_release(uint32_t depth) {
    while (lock_depth > depth)
        wm_heap_port_unlock(lock_depth - 1);
}

void w800_lock_reset(void) {
    w800_lock_release(0);
    pthread_mutex_lock(&lock_mutex);
    memset(&lock_report, 0, sizeof lock_report);
    pthread_mutex_unlock(&lock_mutex);
}

struct w800_lock_report w800_lock_report(void) {
    bool take = lock_depth == 0;
    if (take)
        pthread_mutex_lock(&lock_mutex);
    struct w800_lock_report report = lock_report;
    if (take)
        pthread_mutex_unlock(&lock_mutex);
    report.depth_now = lock_depth;
    return report;
}

/* ---- faults, console, regions ------------------------------------------------ */

void wm_heap_port_fault(const struct wm_heap_fault *fault) {
    struct w800_event event = {
        .kind = W800_EVENT_HEAP_FAULT,
        .address = fault->block,
        .near_block = fault->block,
        .fault = *fault,
    };
    if (fault->block) {
        struct wm_heap_block block;
        const struct heap_build *build = w800_machine.config.build;
        w800_psram_open();
        if (build->get_block(w800_pointer(fault->block + build->header_size), &block))
            event.near_size = block.size;
        w800_psram_close();
    }
    w800_event_deliver(&event);
}

void wm_heap_port_print(const char *text, uint32_t length) {
    if (w800_machine.print)
        w800_machine.print(w800_machine.print_context, text, length);
}

const struct wm_heap_region_config *wm_heap_port_regions(uint32_t *count) {
    *count = w800_machine.config.region_count;
    return w800_machine.config.regions;
}

/* ---- call sites --------------------------------------------------------------- */

/* On the chip a call site's handle is the value of its file name's pointer, which a host
 * cannot fit into 32 bits and which would differ from run to run. Here names are numbered
 * from 1 in the order of their first use, equal texts sharing a number: a heap image is
 * then the same in each run.
 *
 * Every allocation asks for a handle, so a cache keyed by the pointer answers without a
 * lock: a reader that finds the pointer (acquire) sees the handle that was written before
 * it (release). Writers hold the mutex. A cache that fills up is replaced by a larger one
 * and kept until the next start, since a reader may still be looking into it. */
struct site_entry {
    const char *_Atomic file;
    uint32_t handle;
};

struct site_cache {
    struct site_cache *older;
    uint32_t used;
    uint32_t mask; /* entries - 1, a power of two */
    struct site_entry entries[];
};

#define SITE_CACHE_ENTRIES_FIRST 256u

/* File scope for the same reason as the lock. */
static pthread_mutex_t site_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct site_cache *_Atomic site_cache;
static const char **site_names; /* by handle - 1 */
static uint32_t site_count;
static uint32_t *site_index; /* open addressing by text: handles, 0 is empty */
static uint32_t site_index_mask;

static uint32_t hash_pointer(const char *file) {
    return (uint32_t)(((uint64_t)(uintptr_t)file * 0x9e3779b97f4a7c15u) >> 32);
}

static uint32_t hash_text(const char *text) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash;
}

static uint32_t cache_find(const struct site_cache *cache, const char *file) {
    if (!cache)
        return 0;
    for (uint32_t i = hash_pointer(file);; i++) {
        const struct site_entry *entry = &cache->entries[i & cache->mask];
        const char *found = atomic_load_explicit(&entry->file, memory_order_acquire);
        if (found == file)
            return entry->handle;
        if (!found)
            return 0;
    }
}

static void cache_put(struct site_cache *cache, const char *file, uint32_t handle) {
    uint32_t i = hash_pointer(file) & cache->mask;
    while (atomic_load_explicit(&cache->entries[i].file, memory_order_relaxed))
        i = (i + 1) & cache->mask;
    cache->entries[i].handle = handle;
    atomic_store_explicit(&cache->entries[i].file, file, memory_order_release);
    cache->used++;
}

/* The cache with room for one more; NULL if memory is short. Never more than half full,
 * so that a search always meets an empty entry. */
static struct site_cache *cache_with_room(void) {
    struct site_cache *old = atomic_load_explicit(&site_cache, memory_order_relaxed);
    if (old && old->used <= old->mask / 2)
        return old;
    uint32_t entries = old ? (old->mask + 1) * 2 : SITE_CACHE_ENTRIES_FIRST;
    struct site_cache *grown = calloc(1, sizeof *grown + entries * sizeof grown->entries[0]);
    if (!grown)
        return NULL;
    grown->mask = entries - 1;
    grown->older = old;
    for (uint32_t i = 0; old && i <= old->mask; i++) {
        const char *file = atomic_load_explicit(&old->entries[i].file, memory_order_relaxed);
        if (file)
            cache_put(grown, file, old->entries[i].handle);
    }
    atomic_store_explicit(&site_cache, grown, memory_order_release);
    return grown;
}

static uint32_t index_slot(const uint32_t *index, uint32_t mask, const char *file) {
    uint32_t i = hash_text(file) & mask;
    while (index[i] && strcmp(site_names[index[i] - 1], file) != 0)
        i = (i + 1) & mask;
    return i;
}

/* Doubles the names' array and their index; false if memory is short. */
static bool names_grow(void) {
    uint32_t entries = site_index ? (site_index_mask + 1) * 2 : SITE_CACHE_ENTRIES_FIRST;
    const char **names = realloc(site_names, entries / 2 * sizeof *names);
    if (!names)
        return false;
    site_names = names;
    uint32_t *index = calloc(entries, sizeof *index);
    if (!index)
        return false;
    for (uint32_t i = 0; i < site_count; i++)
        index[index_slot(index, entries - 1, site_names[i])] = i + 1;
    free(site_index);
    site_index = index;
    site_index_mask = entries - 1;
    return true;
}

static uint32_t names_find_or_add(const char *file) {
    bool full = !site_index || site_count >= (site_index_mask + 1) / 2;
    if (full && !names_grow())
        return 0;
    uint32_t slot = index_slot(site_index, site_index_mask, file);
    if (site_index[slot] == 0) {
        site_names[site_count++] = file;
        site_index[slot] = site_count;
    }
    return site_index[slot];
}

static uint32_t site_add(const char *file) {
    pthread_mutex_lock(&site_mutex);
    /* Another thread may have been faster. */
    uint32_t handle = cache_find(atomic_load_explicit(&site_cache, memory_order_relaxed), file);
    if (handle == 0) {
        handle = names_find_or_add(file);
        struct site_cache *cache = handle ? cache_with_room() : NULL;
        if (cache)
            cache_put(cache, file, handle);
    }
    pthread_mutex_unlock(&site_mutex);
    return handle;
}

/* A name must stay as it is until the machine is started anew. */
uint32_t wm_heap_port_site(const char *file) {
    if (!file)
        return 0;
    uint32_t handle = cache_find(atomic_load_explicit(&site_cache, memory_order_acquire), file);
    return handle ? handle : site_add(file);
}

const char *wm_heap_port_site_name(uint32_t site) {
    pthread_mutex_lock(&site_mutex);
    const char *name = site > 0 && site <= site_count ? site_names[site - 1] : NULL;
    pthread_mutex_unlock(&site_mutex);
    return name;
}

void w800_sites_reset(void) {
    pthread_mutex_lock(&site_mutex);
    struct site_cache *cache = atomic_exchange(&site_cache, NULL);
    while (cache) {
        struct site_cache *older = cache->older;
        free(cache);
        cache = older;
    }
    free(site_names);
    free(site_index);
    site_names = NULL;
    site_index = NULL;
    site_count = 0;
    pthread_mutex_unlock(&site_mutex);
}
