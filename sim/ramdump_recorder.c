/* SPDX-License-Identifier: Apache-2.0
 *
 * The firmware's recorder in a RAM dump: a board that crashed before it printed its ring still
 * has it in memory. The ring's head is found by its magic (core/recorder.c: magic, version,
 * records less 1, events so far, events printed, options, address of the ring); its events
 * are those of the console's lines, the call that crashed the last of them. Call sites are
 * resolved through the ELF file.
 */
#include <stdlib.h>
#include <string.h>

#include "../core/wm_heap_recorder.h"
#include "diagnose_recorder.h"
#include "ramdump.h"

#define HEAD_BYTES 28u
#define EVENT_BYTES 20u
_Static_assert(IMAGE_REGIONS_MAX <= TRACE_REGIONS_MAX, "each region has a row");

#define RING_MAX 0x10000u /* more would not fit into the chip */

struct ring {
    uint32_t mask, total, options, address;
};

static bool ring_at(const struct ramdump_memory *memory, uint32_t at, struct ring *ring) {
    const uint32_t printed = ramdump_word(memory, at + 16);
    *ring = (struct ring){.mask = ramdump_word(memory, at + 8),
                          .total = ramdump_word(memory, at + 12),
                          .options = ramdump_word(memory, at + 20),
                          .address = ramdump_word(memory, at + 24)};
    return ramdump_holds(memory, at, HEAD_BYTES) &&
           ramdump_word(memory, at + 4) == WM_HEAP_RECORDER_VERSION && ring->mask < RING_MAX &&
           (ring->mask & (ring->mask + 1)) == 0 && printed <= ring->total &&
           ring->address % 4 == 0 &&
           ramdump_holds(memory, ring->address, (ring->mask + 1) * EVENT_BYTES);
}

static bool ring_find(const struct ramdump_memory *memory, struct ring *ring) {
    uint32_t at = memory->base;
    for (; (at = ramdump_find_word(memory, at, WM_HEAP_RECORDER_MAGIC)) != 0; at += 4) {
        if (ring_at(memory, at, ring)) {
            return true;
        }
    }
    return false;
}

static struct recorder_event event_at(const struct ramdump_memory *memory, const struct ring *ring,
                                      uint32_t number) {
    const uint32_t at = ring->address + (number & ring->mask) * EVENT_BYTES;
    const uint32_t what = ramdump_word(memory, at);
    return (struct recorder_event){.number = number,
                                   .kind = what & 7u,
                                   .caps = what >> 3 & 31u,
                                   .task = what >> 8 & 0xffu,
                                   .line = what >> 16,
                                   .pointer = ramdump_word(memory, at + 4),
                                   .size = ramdump_word(memory, at + 8),
                                   .caller = ramdump_word(memory, at + 12),
                                   .site = ramdump_word(memory, at + 16)};
}

static int compare_names(const void *left, const void *right) {
    const struct recorder_name *a = left;
    const struct recorder_name *b = right;
    return (a->handle > b->handle) - (a->handle < b->handle);
}

/* The names that the ELF file has for the events' handles, each once. */
static bool read_names(struct recorder_boot *boot, const struct firmware *firmware) {
    size_t count = 0;
    boot->names = calloc(boot->event_count + 1, sizeof *boot->names);
    if (boot->names == NULL) {
        return false;
    }
    boot->name_room = boot->event_count + 1;
    struct recorder_name *names = boot->names;
    for (size_t i = 0; i < boot->event_count && firmware != NULL; i++) {
        const struct recorder_event *event = &boot->events[i];
        if (event->site != 0 && event->kind != WM_HEAP_RECORD_REALLOC_NEW) {
            names[count++].handle = event->site;
        }
    }
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        const uint32_t handle = names[i].handle;
        const bool again = boot->name_count > 0 && names[boot->name_count - 1].handle == handle;
        const char *text = again ? NULL : firmware_string(firmware, handle);
        if (text == NULL) {
            continue;
        }
        const uint32_t length = (uint32_t)strlen(text);
        char *copy = strdup(text);
        if (copy == NULL) {
            return false;
        }
        names[boot->name_count++] = (struct recorder_name){handle, length, length, copy};
    }
    return true;
}

static bool read_ring(const struct ramdump_memory *memory, const struct ring *ring,
                      const struct firmware *firmware, struct recorder_boot *boot) {
    const uint32_t kept = ring->total <= ring->mask ? ring->total : ring->mask + 1;
    boot->has_header = true;
    boot->options = ring->options;
    boot->total = ring->total;
    boot->events = calloc((size_t)kept + 1, sizeof *boot->events);
    if (boot->events == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < kept; i++) {
        boot->events[boot->event_count++] = event_at(memory, ring, ring->total - kept + i);
    }
    return read_names(boot, firmware);
}

/* What the heap itself shows comes first; the ring says who had those blocks. */
static bool judge(const struct recorder_case *judged) {
    const size_t found = judged->findings->count;
    if (found == 0) {
        return recorder_judge(judged);
    }
    for (size_t i = 0; i < found; i++) {
        struct finding *finding = &judged->findings->list[i];
        const size_t end = judged->boot->event_count;
        if (!recorder_tell_history(judged, finding, finding->address, end) ||
            (finding->victim != finding->address &&
             !recorder_tell_history(judged, finding, finding->victim, end))) {
            return false;
        }
    }
    return recorder_judge_reach(judged);
}

/* --- the heap that the calls led to, as a snapshot after the last of them ------------------ */

/* The image's names get the handles 1, 2, ...: below all addresses of literals. */
static bool add_names(struct recorder_boot *boot, const struct image *image) {
    const size_t added = image->site_count - 1;
    struct recorder_name *names =
        realloc(boot->names, (boot->name_count + added + 1) * sizeof *names);
    if (names == NULL) {
        return false;
    }
    boot->names = names;
    memmove(names + added, names, boot->name_count * sizeof *names);
    memset(names, 0, added * sizeof *names);
    boot->name_count += added;
    for (uint32_t i = 1; i < image->site_count; i++) {
        const uint32_t length = (uint32_t)strlen(image->sites[i]);
        char *copy = strdup(image->sites[i]);
        names[i - 1] = (struct recorder_name){i, length, copy != NULL ? length : 0, copy};
        if (copy == NULL) {
            return false;
        }
    }
    return true;
}

static bool add_blocks(struct recorder_boot *boot, const struct image *image) {
    boot->blocks = calloc(image->block_count + 1, sizeof *boot->blocks);
    if (boot->blocks == NULL) {
        return false;
    }
    for (size_t i = 0; i < image->block_count; i++) {
        const struct image_block *block = &image->blocks[i];
        if (block->state == IMAGE_LIVE) {
            boot->blocks[boot->block_count++] = (struct recorder_block){
                boot->total, block->pointer, block->size, block->caps, block->site, block->line};
        }
    }
    return true;
}

static bool add_heap(struct recorder_boot *boot, const struct image *image) {
    boot->header_size = image->header_size;
    for (uint32_t i = 0; i < IMAGE_REGIONS_MAX; i++) {
        const struct image_region *region = &image->regions[i];
        boot->region_known[i] = region->present && region->start != 0 && region->end != 0;
        if (boot->region_known[i]) {
            boot->regions[i] = (struct trace_region){.start = region->start,
                                                     .end = region->end + image->header_size,
                                                     .caps = region->caps,
                                                     .deferred = i == 2};
            memcpy(boot->regions[i].name, region->name, sizeof region->name);
        }
    }
    return add_names(boot, image) && add_blocks(boot, image);
}

bool ramdump_read_recorder(const struct ramdump_memory *memory,
                           const struct diagnose_options *options, struct diagnosis *diagnosis) {
    struct ring ring;
    struct recording recording;
    if (!ring_find(memory, &ring)) {
        return true;
    }
    recording_init(&recording);
    const struct recorder_case judged = {
        .boot = &recording.boot, .firmware = options->firmware, .findings = &diagnosis->findings};
    const bool wanted = options->recording != NULL && diagnosis->findings.count == 0;
    bool ok = read_ring(memory, &ring, options->firmware, &recording.boot) && judge(&judged);
    diagnosis->recorded = recording.boot.event_count > 0;
    if (ok && wanted) {
        ok = add_heap(&recording.boot, &diagnosis->image);
        options->recording->boot = recording.boot;
        recording.boot = (struct recorder_boot){0};
    }
    recording_free(&recording);
    return ok;
}
