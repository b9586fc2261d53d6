/* SPDX-License-Identifier: Apache-2.0
 *
 * The core that ships, compiled for C-SKY, at the W800's own addresses: reads operations from
 * standard input, runs them as sim/crosscheck_run.c says, and writes its records to standard
 * output (sim/crosscheck_run.h). One program a build of the core.
 *
 * `wmheap cost` uses the same program in another way: it fills crosscheck_header, calls
 * crosscheck_prepare, then the core's own entry points one by one, and counts instructions. So
 * the port does next to nothing and makes no system call. Names' texts are not there then.
 */
#include "../../sim/crosscheck_run.h"
#include "system.h"

#define AT(name) __attribute__((section(name ",\"aw\",@nobits#"), used))

/* The heap's memory. Only the linker has it at its place, so nothing here refers to it. */
static uint32_t onchip[CROSSCHECK_ONCHIP_BYTES / 4u] AT(".sram");
static uint32_t psram[CROSSCHECK_PSRAM_BYTES_MAX / 4u] AT(".psram");

/* What the host's side keeps, too: pointers of the program by ID, names by handle. */
static struct crosscheck_slot slots[CROSSCHECK_SLOTS_MAX];
static char name_text[CROSSCHECK_NAME_BYTES_MAX];
static const char *names[CROSSCHECK_NAMES_MAX];
static struct wm_heap_region_config regions[WM_HEAP_REGIONS_MAX];

extern const struct heap_build heap_build_csky;
struct crosscheck_header crosscheck_header;
void crosscheck_prepare(void);
void *crosscheck_realloc(void *old, size_t size, wm_heap_cap_type_t caps, const char *file);
void *crosscheck_calloc(size_t count, size_t size, wm_heap_cap_type_t caps, const char *file);
void *crosscheck_aligned(size_t alignment, size_t size, wm_heap_cap_type_t caps, const char *file);
void _start(void);

static struct crosscheck_run run;

enum { STATUS_UNUSABLE = 2 };

/* --- the port --------------------------------------------------------------------------------- */

/* There is one thread and no interrupt. */
uint32_t wm_heap_port_lock(void) { return 0; }

void wm_heap_port_unlock(uint32_t key) { (void)key; }

void wm_heap_port_fault(const struct wm_heap_fault *fault) { crosscheck_saw_fault(&run, fault); }

void wm_heap_port_print(const char *text, uint32_t length) {
    crosscheck_saw_text(&run, text, length);
}

const struct wm_heap_region_config *wm_heap_port_regions(uint32_t *count) {
    *count = crosscheck_header.region_count;
    return regions;
}

/* As on the chip, a call site's handle is its pointer; here those are the host's handles, so
 * that headers and seals are the host's byte for byte. */
uint32_t wm_heap_port_site(const char *file) { return (uint32_t)(uintptr_t)file; }

const char *wm_heap_port_site_name(uint32_t site) {
    return site - 1u < crosscheck_header.name_count ? names[site - 1u] : NULL;
}

/* --- the run ---------------------------------------------------------------------------------- */

static const char *site_of(void *context, uint32_t handle) {
    (void)context;
    return (const char *)(uintptr_t)handle; /* NOLINT(performance-no-int-to-ptr) see above */
}

/* The one call that takes a name's text. */
static const char *text_of(void *context, uint32_t handle) {
    (void)context;
    return wm_heap_port_site_name(handle);
}

static void write_all(void *context, const void *bytes, uint32_t count) {
    (void)context;
    for (const char *at = bytes; count > 0;) {
        long written = system_write(1, at, (long)count);
        if (written <= 0) {
            system_exit(STATUS_UNUSABLE);
        }
        at += written;
        count -= (uint32_t)written;
    }
}

static void read_all(void *bytes, uint32_t count) {
    for (char *at = bytes; count > 0;) {
        long got = system_read(0, at, (long)count);
        if (got <= 0) {
            system_exit(STATUS_UNUSABLE);
        }
        at += got;
        count -= (uint32_t)got;
    }
}

/* Calls with more arguments than registers, for those who can only fill registers. */
void *crosscheck_realloc(void *old, size_t size, wm_heap_cap_type_t caps, const char *file) {
    return heap_build_csky.realloc(old, size, caps, file, 0);
}

void *crosscheck_calloc(size_t count, size_t size, wm_heap_cap_type_t caps, const char *file) {
    return heap_build_csky.calloc(count, size, caps, file, 0);
}

void *crosscheck_aligned(size_t alignment, size_t size, wm_heap_cap_type_t caps, const char *file) {
    return heap_build_csky.aligned_alloc(alignment, size, caps, file, 0);
}

/* Takes the header over. */
void crosscheck_prepare(void) {
    for (uint32_t i = 0; i < crosscheck_header.region_count; i++) {
        const struct crosscheck_region *region = &crosscheck_header.regions[i];
        regions[i] = (struct wm_heap_region_config){region->name, region->start, region->end,
                                                    region->caps, region->deferred != 0};
    }
}

static void read_header(void) {
    const struct crosscheck_header *header = &crosscheck_header;
    read_all(&crosscheck_header, sizeof crosscheck_header);
    if (header->magic != CROSSCHECK_MAGIC || header->version != CROSSCHECK_VERSION ||
        header->interval == 0 || header->psram_bytes > CROSSCHECK_PSRAM_BYTES_MAX ||
        header->region_count > WM_HEAP_REGIONS_MAX || header->slot_count > CROSSCHECK_SLOTS_MAX ||
        header->name_count > CROSSCHECK_NAMES_MAX ||
        header->name_bytes > CROSSCHECK_NAME_BYTES_MAX) {
        system_exit(STATUS_UNUSABLE);
    }
    read_all(name_text, header->name_bytes);
    const char *at = name_text;
    for (uint32_t i = 0; i < header->name_count; i++) {
        names[i] = at;
        while (*at++ != '\0') {
        }
    }
    crosscheck_prepare();
}

void _start(void) {
    static struct crosscheck_op ops[256];
    read_header();
    run = (struct crosscheck_run){
        .build = &heap_build_csky,
        .header = &crosscheck_header,
        .slots = slots,
        .site = site_of,
        .text = text_of,
        .emit = write_all,
    };
    crosscheck_begin(&run);
    for (uint32_t left = crosscheck_header.op_count; left > 0;) {
        uint32_t count = left < sizeof ops / sizeof *ops ? left : sizeof ops / sizeof *ops;
        read_all(ops, count * (uint32_t)sizeof *ops);
        for (uint32_t i = 0; i < count; i++) {
            crosscheck_step(&run, &ops[i]);
        }
        left -= count;
    }
    crosscheck_end(&run);
    system_exit(0);
}
