/* SPDX-License-Identifier: Apache-2.0 */
#include "first_fit.h"

#include <stdlib.h>
#include <string.h>

#include "wm_heap_port.h"

/* The first four words of a block, live or free; as many bytes as the build's header has. */
struct __attribute__((may_alias)) header {
    uint32_t next; /* free: address of the next hole, the last one's is the end marker; live:
                    * 0, or the block that is older */
    uint32_t size; /* of the whole block | ALLOCATED */
    uint32_t region;
    uint32_t caps;
};
/* With tracing, right behind. */
struct __attribute__((may_alias)) call_site {
    uint32_t file;
    uint32_t line;
};

#define ALLOCATED 0x80000000u

struct region {
    const char *name;
    struct header head; /* its next is the first hole */
    uint32_t end;       /* of the end marker's header, which is free and of 0 bytes */
    uint32_t caps;
    uint32_t free_bytes;
    uint32_t minimum_free_bytes;
    bool joined;
};

/* All of the heap's state; file scope, because the API has no argument for it. */
static struct {
    struct region regions[WM_HEAP_REGIONS_MAX];
    uint32_t region_count;
    uint32_t header_bytes;
    uint32_t guard_bytes;
    bool tracing;
    bool live_list;
    uint32_t newest; /* live block */
} heap;

static struct header *header_at(uint32_t address) { return w800_pointer(address); }

/* What heap_4's configASSERT is. */
static void require(bool condition) {
    if (!condition) {
        abort();
    }
}

/* --- regions ---------------------------------------------------------------------------------- */

static void region_join(struct region *region, uint32_t start, uint32_t end) {
    uint32_t first = (start + 7u) & ~7u;
    region->end = (end - heap.header_bytes) & ~7u;
    region->head.next = first;
    region->free_bytes = region->end - first;
    region->minimum_free_bytes = region->free_bytes;
    region->joined = true;
    *header_at(first) = (struct header){.next = region->end, .size = region->free_bytes};
    *header_at(region->end) = (struct header){.next = 0};
}

void first_fit_init(const struct w800_config *machine, bool live_list) {
    memset(&heap, 0, sizeof heap);
    heap.header_bytes = machine->build->header_size;
    heap.guard_bytes = machine->build->comprehensive ? 4u : 0u;
    heap.tracing = machine->build->tracing;
    heap.live_list = live_list && heap.tracing;
    heap.region_count = machine->region_count;
    for (uint32_t i = 0; i < machine->region_count; i++) {
        const struct wm_heap_region_config *config = &machine->regions[i];
        heap.regions[i].name = config->name;
        heap.regions[i].caps = config->caps;
        if (!config->deferred) {
            region_join(&heap.regions[i], config->start, config->end);
        }
    }
}

void first_fit_append(const char *name) {
    const struct w800_config *machine = w800_config();
    for (uint32_t i = 0; i < heap.region_count; i++) {
        if (strcmp(heap.regions[i].name, name) == 0 && !heap.regions[i].joined) {
            region_join(&heap.regions[i], machine->regions[i].start, machine->regions[i].end);
        }
    }
}

/* --- alloc ------------------------------------------------------------------------------------ */

static void live_link(uint32_t address) {
    if (heap.live_list) {
        header_at(address)->next = heap.newest;
        heap.newest = address;
    }
}

/* The address of the block, 0 if no hole of the region is large enough. */
static uint32_t region_alloc(uint32_t index, uint32_t want, uint32_t caps) {
    struct region *region = &heap.regions[index];
    struct header *previous = &region->head;
    uint32_t address = previous->next;
    while (header_at(address)->size < want) {
        if (address == region->end) {
            return 0;
        }
        previous = header_at(address);
        address = previous->next;
    }
    struct header *block = header_at(address);
    uint32_t rest = block->size - want;
    previous->next = block->next;
    if (rest > 2u * heap.header_bytes) {
        *header_at(address + want) = (struct header){.next = block->next, .size = rest};
        previous->next = address + want;
        block->size = want;
    }
    region->free_bytes -= block->size;
    if (region->free_bytes < region->minimum_free_bytes) {
        region->minimum_free_bytes = region->free_bytes;
    }
    *block = (struct header){.size = block->size | ALLOCATED, .region = index, .caps = caps};
    live_link(address);
    return address;
}

void *first_fit_alloc(size_t size, uint32_t caps, const char *file, int line) {
    uint32_t wanted_caps = caps != 0 ? caps : (uint32_t)WM_HEAP_CAP_DEFAULT;
    if (size == 0 || size >= ALLOCATED - 64u) {
        return NULL;
    }
    uint32_t want = ((uint32_t)size + heap.header_bytes + heap.guard_bytes + 7u) & ~7u;
    uint32_t address = 0;
    uint32_t key = wm_heap_port_lock();
    for (uint32_t i = 0; i < heap.region_count && address == 0; i++) {
        if (heap.regions[i].joined && (heap.regions[i].caps & wanted_caps) == wanted_caps) {
            address = region_alloc(i, want, wanted_caps);
        }
    }
    wm_heap_port_unlock(key);
    if (address == 0) {
        return NULL;
    }
    if (heap.tracing) {
        struct call_site *site = w800_pointer(address + (uint32_t)sizeof(struct header));
        *site = (struct call_site){wm_heap_port_site(file), (uint32_t)line};
    }
    return w800_pointer(address + heap.header_bytes);
}

/* --- free ------------------------------------------------------------------------------------- */

static void live_unlink(uint32_t address) {
    uint32_t *link = &heap.newest;
    while (*link != address) {
        require(*link != 0);
        link = &header_at(*link)->next;
    }
    *link = header_at(address)->next;
}

static void region_free(struct region *region, uint32_t address) {
    struct header *block = header_at(address);
    struct header *previous = &region->head;
    uint32_t before = 0;
    region->free_bytes += block->size;
    while (previous->next < address) {
        before = previous->next;
        previous = header_at(before);
    }
    block->next = previous->next;
    if (address + block->size == block->next && block->next != region->end) {
        block->size += header_at(block->next)->size;
        block->next = header_at(block->next)->next;
    }
    if (before != 0 && before + previous->size == address) {
        previous->size += block->size;
        previous->next = block->next;
    } else {
        previous->next = address;
    }
}

void first_fit_free(void *pointer) {
    if (pointer == NULL) {
        return;
    }
    uint32_t address = w800_address(pointer) - heap.header_bytes;
    struct header *block = header_at(address);
    require((block->size & ALLOCATED) != 0);
    require(block->region < heap.region_count);
    uint32_t key = wm_heap_port_lock();
    if (heap.live_list) {
        live_unlink(address);
    }
    block->size &= ~ALLOCATED;
    region_free(&heap.regions[block->region], address);
    wm_heap_port_unlock(key);
}

/* --- the rest --------------------------------------------------------------------------------- */

void *first_fit_realloc(void *old, size_t size, uint32_t caps, const char *file, int line) {
    if (old == NULL) {
        return first_fit_alloc(size, caps, file, line);
    }
    if (size == 0) {
        first_fit_free(old);
        return NULL;
    }
    uint32_t old_caps = header_at(w800_address(old) - heap.header_bytes)->caps;
    void *new = first_fit_alloc(size, caps != 0 ? caps : old_caps, file, line);
    if (new != NULL) {
        size_t payload = first_fit_block_bytes(old) - heap.header_bytes;
        memcpy(new, old, payload < size ? payload : size);
        first_fit_free(old);
    }
    return new;
}

size_t first_fit_block_bytes(const void *pointer) {
    return header_at(w800_address(pointer) - heap.header_bytes)->size & ~ALLOCATED;
}

void first_fit_holes(allocator_hole_fn *visit, void *context) {
    for (uint32_t i = 0; i < heap.region_count; i++) {
        const struct region *region = &heap.regions[i];
        uint32_t address = region->joined ? region->head.next : region->end;
        for (; address != region->end; address = header_at(address)->next) {
            visit(context, header_at(address)->size);
        }
    }
}
