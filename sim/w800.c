/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of the simulated W800: SRAM, DRAM and PSRAM at the chip's own addresses with
 * the chip's own rights, and the machine's life from start to stop.
 *
 *   0x20000000  SRAM   160 KiB   read, write, execute
 *   0x20028000  DRAM   128 KiB   read, write; touches SRAM, so an overrun crosses over
 *   0x30000000  PSRAM  0, 2, 4 or 8 MiB, read, write
 *
 * The rights are those of the pages, so a forbidden access traps in the very instruction
 * that makes it (w800_trap.c). Between and around these ranges the chip has nothing; the
 * nearest mebibyte on each side is reserved without rights, lest the host map something of
 * its own there and a stray access succeed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "w800_internal.h"

struct w800_machine w800_machine;

static const char *const event_names[W800_EVENT_KINDS] = {
#define W800_NAME(name, text) text,
    W800_EVENTS(W800_NAME)
#undef W800_NAME
};

const char *w800_event_name(enum w800_event_kind kind) {
    return (unsigned)kind < W800_EVENT_KINDS ? event_names[kind] : "unknown";
}

void w800_abort(const char *reason) {
    fprintf(stderr, "w800: %s\n", reason);
    abort();
}

__attribute__((format(printf, 2, 3))) static bool refuse(struct w800_error *error,
                                                         const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- mapping ---------------------------------------------------------------- */

/* Pages have 4, 16 or 64 KiB (arm64). With 64 KiB neither the border of SRAM and DRAM nor
 * DRAM's end is a page's: the page they cut through gets the union of the rights, so 32 KiB
 * of DRAM are executable there and 32 KiB behind it are memory. Traps are then missed in
 * these two places; no access that the chip allows is denied anywhere. */
static uint32_t page_up(uint32_t address) {
    uint32_t mask = (uint32_t)sysconf(_SC_PAGESIZE) - 1;
    return (address + mask) & ~mask;
}

/* One line of /proc/self/maps: "low-high rights offset device inode path". */
struct maps_line {
    uint64_t low;
    uint64_t high; /* first byte after it */
    const char *rights;
    const char *path;
};

static struct maps_line maps_line_read(char *text) {
    struct maps_line line;
    char *rest;
    text[strcspn(text, "\n")] = 0;
    line.low = strtoull(text, &rest, 16);
    line.high = strtoull(rest + (*rest == '-'), &rest, 16);
    line.rights = rest + strspn(rest, " ");
    line.path = line.rights;
    for (int field = 0; field < 4; field++) {
        line.path += strcspn(line.path, " ");
        line.path += strspn(line.path, " ");
    }
    return line;
}

/* Describes the first of this process's mappings that overlaps [start, end). */
static bool describe_occupant(uint32_t start, uint32_t end, char *text, size_t size) {
    FILE *maps = fopen("/proc/self/maps", "re");
    if (!maps)
        return false;
    char *buffer = NULL;
    size_t capacity = 0;
    bool found = false;
    while (!found && getline(&buffer, &capacity, maps) > 0) {
        struct maps_line line = maps_line_read(buffer);
        if (line.high <= start || line.low >= end)
            continue;
        snprintf(text, size, "0x%" PRIx64 "-0x%" PRIx64 " %.4s %.200s", line.low, line.high - 1,
                 line.rights, *line.path ? line.path : "(anonymous)");
        found = true;
    }
    free(buffer);
    fclose(maps);
    return found;
}

/* Kernels before 4.17 do not know NOREPLACE and take the address as a hint only: hence the
 * comparison. */
static bool map_at(uint32_t start, uint32_t end, int rights) {
    void *wanted = w800_pointer(start);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    void *got = mmap(wanted, end - start, rights, flags, -1, 0);
    if (got == MAP_FAILED)
        return false;
    if (got != wanted) {
        munmap(got, end - start);
        errno = EEXIST;
        return false;
    }
    struct w800_machine *machine = &w800_machine;
    machine->mappings[machine->mapping_count++] = (struct w800_mapping){start, end};
    return true;
}

static bool map_memory(uint32_t start, uint32_t end, struct w800_error *error) {
    if (map_at(start, end, PROT_READ | PROT_WRITE))
        return true;
    int cause = errno;
    char occupant[300];
    if (cause == EEXIST && describe_occupant(start, end, occupant, sizeof occupant))
        return refuse(error,
                      "0x%08x-0x%08x is the W800's memory, but this process has %s there: link "
                      "the program with -pie, or keep that mapping away (setarch -R fixes where "
                      "the system places things)",
                      start, end - 1, occupant);
    return refuse(error, "cannot map the W800's memory at 0x%08x-0x%08x: %s", start, end - 1,
                  strerror(cause));
}

/* A program without the right to have such pages cannot be the chip: code from SRAM would
 * be denied where the chip runs it. So this is an error, not a silent loss of a right. */
static bool make_executable(uint32_t start, uint32_t end, struct w800_error *error) {
    if (mprotect(w800_pointer(start), end - start, PROT_READ | PROT_WRITE | PROT_EXEC) == 0)
        return true;
    return refuse(error,
                  "SRAM must be writable and executable as on the chip, but the system refuses "
                  "such memory (%s): a policy such as SELinux's execmem, PaX or systemd's "
                  "MemoryDenyWriteExecute forbids it; allow it for this program",
                  strerror(errno));
}

/* Best effort: where the host has something of its own, a stray access goes unseen. */
static void map_guards(uint32_t psram_bytes) {
    uint32_t onchip_end = page_up(W800_DRAM_END);
    const struct w800_mapping guards[] = {
        {W800_GUARDED_START, W800_SRAM_START},
        {onchip_end, onchip_end + W800_GUARD_BYTES},
        {W800_PSRAM_START - W800_GUARD_BYTES, W800_PSRAM_START},
        {W800_PSRAM_START + psram_bytes, W800_GUARDED_END},
    };
    for (size_t i = 0; i < sizeof guards / sizeof *guards; i++)
        (void)map_at(guards[i].start, guards[i].end, PROT_NONE);
}

static void unmap_all(void) {
    struct w800_machine *machine = &w800_machine;
    for (; machine->mapping_count > 0; machine->mapping_count--) {
        const struct w800_mapping *mapping = &machine->mappings[machine->mapping_count - 1];
        munmap(w800_pointer(mapping->start), mapping->end - mapping->start);
    }
}

static bool map_all(uint32_t psram_bytes, struct w800_error *error) {
    if (!map_memory(W800_SRAM_START, page_up(W800_DRAM_END), error) ||
        !make_executable(W800_SRAM_START, page_up(W800_DRAM_START), error))
        return false;
    if (psram_bytes > 0 && !map_memory(W800_PSRAM_START, W800_PSRAM_START + psram_bytes, error))
        return false;
    map_guards(psram_bytes);
    return true;
}

static bool inside(uint32_t address, uint32_t length, uint32_t start, uint32_t bytes) {
    return address >= start && address - start <= bytes && length <= bytes - (address - start);
}

bool w800_is_memory(uint32_t address, uint32_t length) {
    return inside(address, length, W800_SRAM_START, W800_ONCHIP_BYTES) ||
           inside(address, length, W800_PSRAM_START, w800_machine.config.psram_bytes);
}

/* ---- life ------------------------------------------------------------------- */

/* Tables that the core itself must judge (too small, overlapping) pass; those that would
 * send it outside the chip's memory do not. */
static bool check_config(const struct w800_config *config, struct w800_error *error) {
    if (!config->build)
        return refuse(error, "no build of the core is chosen");
    uint32_t psram = config->psram_bytes;
    if (psram != 0 && psram != 2u << 20 && psram != 4u << 20 && psram != 8u << 20)
        return refuse(error, "PSRAM of %u bytes: 0, 2, 4 or 8 MiB can be fitted", psram);
    if (config->region_count > WM_HEAP_REGIONS_MAX)
        return refuse(error, "%u regions: there can be %u", config->region_count,
                      WM_HEAP_REGIONS_MAX);
    for (uint32_t i = 0; i < config->region_count; i++) {
        const struct wm_heap_region_config *region = &config->regions[i];
        if (region->start >= region->end)
            continue;
        uint32_t bytes = region->end - region->start;
        if (!inside(region->start, bytes, W800_SRAM_START, W800_ONCHIP_BYTES) &&
            !inside(region->start, bytes, W800_PSRAM_START, psram))
            return refuse(error,
                          "region %u (%.7s), 0x%08x-0x%08x, leaves the chip's memory: "
                          "0x20000000-0x20047fff and %u MiB of PSRAM from 0x30000000",
                          i, region->name ? region->name : "no name", region->start,
                          region->end - 1, psram >> 20);
    }
    return true;
}

static void reset(const struct w800_config *config) {
    struct w800_machine *machine = &w800_machine;
    machine->config = *config;
    memset(machine->transfers, 0, sizeof machine->transfers);
    machine->psram_transfers = 0;
    atomic_store(&machine->injection.countdown, 0);
    atomic_store(&machine->injection.from_then_on, false);
    atomic_store(&machine->injection.failed, 0);
    memset(config->build->state, 0, sizeof *config->build->state);
    w800_lock_reset();
    w800_sites_reset();
}

bool w800_start(const struct w800_config *config, struct w800_error *error) {
    if (!check_config(config, error))
        return false;
    struct w800_config wanted = *config; /* may be the running machine's own */
    w800_stop();
    if (!map_all(wanted.psram_bytes, error) || !w800_trap_install(error)) {
        unmap_all();
        return false;
    }
    reset(&wanted);
    w800_machine.running = true;
    return true;
}

void w800_reconfigure(const struct w800_config *config) {
    struct w800_error error;
    if (!w800_machine.running || config->psram_bytes != w800_machine.config.psram_bytes)
        w800_abort("w800_reconfigure: no machine with that PSRAM runs");
    if (!check_config(config, &error))
        w800_abort(error.text);
    w800_machine.config = *config;
    w800_fail_allocation(0, false);
}

void w800_stop(void) {
    if (!w800_machine.running)
        return;
    w800_machine.running = false;
    w800_trap_remove();
    unmap_all();
    w800_machine.config.psram_bytes = 0;
}

bool w800_running(void) { return w800_machine.running; }

const struct w800_config *w800_config(void) {
    return w800_machine.running ? &w800_machine.config : NULL;
}

/* ---- events and console ----------------------------------------------------- */

void w800_on_event(w800_event_fn *callback, void *context) {
    w800_machine.event = callback;
    w800_machine.event_context = context;
}

void w800_on_print(w800_print_fn *callback, void *context) {
    w800_machine.print = callback;
    w800_machine.print_context = context;
}

void w800_event_deliver(const struct w800_event *event) {
    if (w800_machine.event) {
        w800_machine.event(w800_machine.event_context, event);
        return;
    }
    bool heap = event->kind == W800_EVENT_HEAP_FAULT;
    fprintf(stderr, "w800: %s%s%s at 0x%08x, nearest block 0x%08x\n", w800_event_name(event->kind),
            heap ? " " : "", heap ? heap_builds[0]->fault_name(event->fault.kind) : "",
            event->address, event->near_block);
}

struct search {
    uint32_t address;
    uint32_t block;
    uint32_t size;
};

static bool keep_last_before(void *context, const struct wm_heap_block *block) {
    struct search *search = context;
    if (block->address > search->address)
        return false;
    if (block->address >= search->block) {
        search->block = block->address;
        search->size = block->size;
    }
    return true;
}

/* All regions are walked and the highest block at or below the address wins, so an address
 * behind a region names the last block there. The walk is the core's, which believes no
 * header; it reads PSRAM, hence the opening. */
void w800_event_locate(struct w800_event *event) {
    const struct w800_config *config = &w800_machine.config;
    struct search search = {.address = event->address};
    w800_psram_open();
    for (uint32_t i = 0; i < config->region_count; i++)
        if (config->regions[i].start <= event->address)
            (void)config->build->walk(i, keep_last_before, &search);
    w800_psram_close();
    event->near_block = search.block;
    event->near_size = search.size;
}
