/* SPDX-License-Identifier: Apache-2.0
 *
 * What the SDK prints, in the SDK's format, without printf: statistics, the list of live
 * blocks, the line about a corrupted one. Lines end in CR LF.
 */
#include "internal.h"

/* Text on its way to the port, so that a line is a call or two. */
struct printer {
    uint32_t length;
    char text[96];
};

static void print_flush(struct printer *printer) {
    if (printer->length != 0) {
        wm_heap_port_print(printer->text, printer->length);
    }
    printer->length = 0;
}

/* Text, and blanks up to `width` characters. */
static void print_padded(struct printer *printer, const char *text, uint32_t width) {
    for (uint32_t i = 0; *text != '\0' || i < width; i++) {
        if (printer->length == sizeof printer->text) {
            print_flush(printer);
        }
        printer->text[printer->length++] = *text != '\0' ? *text++ : ' ';
    }
}

static void print_text(struct printer *printer, const char *text) {
    print_padded(printer, text, 0);
}

/* A number, and blanks up to `width` characters. */
static void print_number(struct printer *printer, uint32_t value, uint32_t base, uint32_t width) {
    char digits[12];
    char *at = &digits[sizeof digits - 1u];
    *at = '\0';
    do {
        *--at = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    print_padded(printer, at, width);
}

/* "240284  (234.65KB)": as printf's "%-7u (%0.2fKB)", halves to even. */
static void print_bytes(struct printer *printer, uint32_t bytes) {
    uint32_t scaled = (bytes & 0xffu) * 25u; /* bytes * 100 / 1024 is bytes * 25 / 256 */
    uint32_t hundredths = (bytes >> 8) * 25u + (scaled >> 8);
    uint32_t rest = scaled & 0xffu;
    hundredths += rest + (hundredths & 1u) > 128u;
    print_number(printer, bytes, 10u, 7u);
    print_text(printer, " (");
    print_number(printer, hundredths / 100u, 10u, 0);
    print_text(printer, hundredths % 100u < 10u ? ".0" : ".");
    print_number(printer, hundredths % 100u, 10u, 0);
    print_text(printer, "KB)");
}

static void print_level(struct printer *printer, const char *name,
                        const struct wm_heap_level *level) {
    print_text(printer, "    ");
    print_padded(printer, name, 9u);
    print_bytes(printer, level->free_bytes);
    print_text(printer, "\t\t");
    print_bytes(printer, wm_heap_level_minimum(level));
    print_text(printer, "\r\n");
}

void wm_heap_print_stats(void) {
    struct printer printer = {.length = 0};
    struct wm_heap_level levels[1u + WM_HEAP_REGIONS_MAX];
    uint32_t key = wm_heap_port_lock();
    levels[0] = wm_heap_state.total;
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        levels[1u + i] = wm_heap_state.regions[i].level;
    }
    wm_heap_port_unlock(key);
    print_text(&printer, "    Type     Current Size       \tMinimum Size\r\n");
    print_level(&printer, "Total", &levels[0]);
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        const struct wm_heap_region *region = &wm_heap_state.regions[i];
        if (region->state >= WM_HEAP_REGION_OPEN) {
            print_level(&printer, region->name, &levels[1u + i]);
        }
    }
    print_flush(&printer);
}

#if HAS_TRACING
static void print_pair(struct printer *printer, const char *text, uint32_t value) {
    print_text(printer, text);
    print_number(printer, value, 10u, 0);
}

static void print_site(struct printer *printer, const struct wm_heap_header *header) {
    const char *name = wm_heap_port_site_name(header->site);
    print_text(printer, name != NULL ? name : "(null)");
    print_pair(printer, ":", header->line);
}

/* Looks for the newest live block that is older than `age` (in allocations since `newest`), in
 * the regions without a capability of `closed`. Copies its header; 0: there is none. */
static uint32_t find_older(uint32_t newest, uint32_t age, uint32_t closed,
                           struct wm_heap_header *copy) {
    uint32_t found = 0;
    uint32_t found_age = UINT32_MAX;
    uint32_t key = wm_heap_port_lock();
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        const struct wm_heap_region *region = &wm_heap_state.regions[i];
        uint32_t size;
        if ((region->table_caps & closed) != 0) {
            continue;
        }
        for (uint32_t at = region->start; (size = block_size(region, at)) != 0; at += size) {
            const struct wm_heap_header *header = header_at(at);
            uint32_t its_age = newest - header->sequence;
            if ((header->size_flags & ALLOCATED) != 0 && its_age > age && its_age < found_age) {
                found = at;
                found_age = its_age;
                *copy = *header;
            }
        }
    }
    wm_heap_port_unlock(key);
    return found;
}

/* The list, newest first, without a list in memory: each line is looked for. The lock is held
 * for the search, not for the printing, which takes milliseconds; blocks that come meanwhile
 * are missing. */
static void print_list(struct printer *printer, uint32_t hidden, uint32_t closed) {
    struct wm_heap_header header;
    uint32_t newest = wm_heap_state.counters.allocs + 1u;
    uint32_t age = 0;
    uint32_t index = 0;
    uint32_t bytes = 0;
    uint32_t block;
    while ((block = find_older(newest, age, closed, &header)) != 0) {
        age = newest - header.sequence;
        if (block == hidden) {
            continue;
        }
        print_pair(printer, "", index++);
        print_text(printer, "\t0x");
        print_number(printer, block + HEADER_BYTES, 16u, 0);
        print_text(printer, "\t");
        print_site(printer, &header);
        print_pair(printer, "\t", header_size(&header));
        print_text(printer, "\r\n");
        bytes += header_size(&header);
    }
    print_pair(printer, "summary: malloc size ", bytes);
    print_pair(printer, ", malloc count ", index);
    print_text(printer, "\r\n");
}
#endif

/* The line about the block that was found corrupted. Its header may be smashed too: then
 * its size and site are not shown. */
static void print_corruption(struct printer *printer, uint32_t pointer) {
    uint32_t block = pointer - HEADER_BYTES;
    const struct wm_heap_region *region = region_at(block);
    bool intact = region != NULL && header_is_live(region, block);
    print_text(printer, "corruption detected ");
    print_text(printer, HAS_TRACING ? "0x" : "in 0x");
    print_number(printer, pointer, 16u, 0);
#if HAS_TRACING
    if (intact) {
        print_text(printer, " in ");
        print_site(printer, header_at(block));
        print_pair(printer, " size ", header_size(header_at(block)));
    }
#else
    (void)intact;
#endif
    print_text(printer, "\r\n");
}

/* The list without the regions that have one of the capabilities `closed`, then the line
 * about the block of `pointer` if that is not 0. */
static void print_report(uint32_t pointer, uint32_t closed) {
    struct printer printer = {.length = 0};
#if HAS_TRACING
    print_list(&printer, pointer == 0 ? 0 : pointer - HEADER_BYTES, closed);
#else
    (void)closed;
#endif
    if (pointer != 0) {
        print_corruption(&printer, pointer);
    }
    print_flush(&printer);
}

void wm_heap_print_tracing(void *ptr) { print_report(ptr == NULL ? 0 : address_of(ptr), 0); }

void print_corrupted_block(uint32_t pointer) {
    const struct wm_heap_region *region = region_at(pointer);
    bool in_psram = region != NULL && (region->table_caps & WM_HEAP_CAP_SPIRAM) != 0;
    print_report(pointer, in_psram ? 0 : (uint32_t)WM_HEAP_CAP_SPIRAM);
    wm_heap_print_stats();
}
