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

static void print_text(struct printer *printer, const char *text) {
    for (; *text != '\0'; text++) {
        if (printer->length == sizeof printer->text) {
            print_flush(printer);
        }
        printer->text[printer->length++] = *text;
    }
}

/* A number, at least `width` characters with the blanks behind it. */
static void print_number(struct printer *printer, uint32_t value, uint32_t base, uint32_t width) {
    char digits[12];
    uint32_t at = sizeof digits - 1u;
    digits[at] = '\0';
    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    print_text(printer, &digits[at]);
    for (uint32_t shown = (uint32_t)sizeof digits - 1u - at; shown < width; shown++) {
        print_text(printer, " ");
    }
}

/* "(234.30KB)": as printf's %0.2f, halves to even. */
static void print_kilobytes(struct printer *printer, uint32_t bytes) {
    uint32_t scaled = (bytes & 0xffu) * 25u; /* bytes * 100 / 1024 is bytes * 25 / 256 */
    uint32_t hundredths = (bytes >> 8) * 25u + (scaled >> 8);
    uint32_t rest = scaled & 0xffu;
    hundredths += rest > 128u || (rest == 128u && (hundredths & 1u) != 0);
    print_text(printer, "(");
    print_number(printer, hundredths / 100u, 10u, 0);
    print_text(printer, hundredths % 100u < 10u ? ".0" : ".");
    print_number(printer, hundredths % 100u, 10u, 0);
    print_text(printer, "KB)");
}

static void print_level(struct printer *printer, const char *name,
                        const struct wm_heap_level *level) {
    print_text(printer, "    ");
    print_text(printer, name);
    for (uint32_t shown = 0; shown < 9u; shown++) { /* "%-8s " */
        if (*name != '\0') {
            name++;
        } else {
            print_text(printer, " ");
        }
    }
    print_number(printer, level->free_bytes, 10u, 7u);
    print_text(printer, " ");
    print_kilobytes(printer, level->free_bytes);
    print_text(printer, "\t\t");
    print_number(printer, wm_heap_level_minimum(level), 10u, 7u);
    print_text(printer, " ");
    print_kilobytes(printer, wm_heap_level_minimum(level));
    print_text(printer, "\r\n");
}

void wm_heap_print_stats(void) {
    struct printer printer = {.length = 0};
    struct wm_heap_level total;
    struct wm_heap_level levels[WM_HEAP_REGIONS_MAX];
    uint32_t key = wm_heap_port_lock();
    total = wm_heap_state.total;
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        levels[i] = wm_heap_state.regions[i].level;
    }
    wm_heap_port_unlock(key);
    print_text(&printer, "    Type     Current Size       \tMinimum Size\r\n");
    print_level(&printer, "Total", &total);
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        const struct wm_heap_region *region = &wm_heap_state.regions[i];
        if (region->state >= WM_HEAP_REGION_OPEN) {
            print_level(&printer, region->name, &levels[i]);
        }
    }
    print_flush(&printer);
}

#if HAS_TRACING
/* The list, newest first, without a list in memory: each pass over the regions collects the
 * newest blocks older than the last one printed. The lock is held for a pass, not for the
 * printing: a console line takes milliseconds. Blocks that come meanwhile may be missing. */
#define PASS_BLOCKS 16u /* the pass lies on the caller's stack */

struct pass {
    uint32_t count;
    uint32_t newest;  /* sequence number against which ages count */
    uint32_t printed; /* age up to which all is printed, 0 before the first */
    uint32_t hidden;  /* block that is left out, 0 for none */
    uint32_t closed;  /* capabilities of regions that are left out */
    struct wm_heap_block blocks[PASS_BLOCKS];
};

static bool pass_visit(void *context, const struct wm_heap_block *block) {
    struct pass *pass = context;
    uint32_t age = pass->newest - block->sequence + 1u;
    if (!block->live || block->address == pass->hidden || age <= pass->printed) {
        return true;
    }
    uint32_t at = pass->count;
    while (at > 0 && pass->newest - pass->blocks[at - 1u].sequence + 1u > age) {
        at--;
    }
    if (at < PASS_BLOCKS) {
        uint32_t last = pass->count < PASS_BLOCKS ? pass->count++ : PASS_BLOCKS - 1u;
        for (; last > at; last--) {
            pass->blocks[last] = pass->blocks[last - 1u];
        }
        pass->blocks[at] = *block;
    }
    return true;
}

static void pass_collect(struct pass *pass) {
    pass->count = 0;
    uint32_t key = wm_heap_port_lock();
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        const struct wm_heap_region *region = &wm_heap_state.regions[i];
        if ((region->table_caps & pass->closed) == 0) {
            region_walk(region, pass_visit, pass);
        }
    }
    wm_heap_port_unlock(key);
}

static void print_site(struct printer *printer, uint32_t site, uint32_t line) {
    const char *name = wm_heap_port_site_name(site);
    print_text(printer, name != NULL ? name : "(null)");
    print_text(printer, ":");
    print_number(printer, line, 10u, 0);
}

static void print_list(struct printer *printer, uint32_t hidden, uint32_t closed) {
    struct pass pass = {
        .newest = wm_heap_state.counters.allocs, .hidden = hidden, .closed = closed};
    uint32_t index = 0;
    uint32_t bytes = 0;
    for (pass_collect(&pass); pass.count != 0; pass_collect(&pass)) {
        for (uint32_t i = 0; i < pass.count; i++, index++) {
            const struct wm_heap_block *block = &pass.blocks[i];
            print_number(printer, index, 10u, 0);
            print_text(printer, "\t0x");
            print_number(printer, block->pointer, 16u, 0);
            print_text(printer, "\t");
            print_site(printer, block->site, block->line);
            print_text(printer, "\t");
            print_number(printer, block->size, 10u, 0);
            print_text(printer, "\r\n");
            bytes += block->size;
        }
        pass.printed = pass.newest - pass.blocks[pass.count - 1u].sequence + 1u;
    }
    print_text(printer, "summary: malloc size ");
    print_number(printer, bytes, 10u, 0);
    print_text(printer, ", malloc count ");
    print_number(printer, index, 10u, 0);
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
        print_site(printer, header_site(header_at(block)), header_line(header_at(block)));
        print_text(printer, " size ");
        print_number(printer, header_size(header_at(block)), 10u, 0);
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
