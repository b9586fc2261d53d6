/* SPDX-License-Identifier: Apache-2.0
 *
 * What the SDK prints, in the SDK's format, without printf: statistics, the list of live
 * blocks, the line about a corrupted one. Lines end in CR LF.
 */
#include "internal.h"

#include <stdarg.h>

/* Bytes as hundredths of a kilobyte, rounded as printf's "%0.2f" does: halves to even. Right up to
 * 171 MB; all memory of a W800 is 8.3 MB at most. */
static uint32_t hundredths_of_kilobytes(uint32_t bytes) {
    uint32_t parts = bytes * 25u; /* bytes * 100 / 1024 is bytes * 25 / 256 */
    return (parts + 127u + (parts >> 8 & 1u)) >> 8;
}

/* Writes a number's digits, and a NUL, right before `end`, as `code` wants them: x, k or u, see
 * print_line. Returns the first. */
COLD static char *digits_write(char *end, uint32_t value, char code) {
    uint32_t base = code == 'x' ? 16u : 10u;
    uint32_t places = 2; /* digits written; without a point as if it were behind us */
    if (code == 'k') {
        value = hundredths_of_kilobytes(value);
        places = 0;
    }
    *--end = '\0';
    do {
        uint32_t digit = value % base;
        value /= base;
        if (digit > 9u) {
            digit += 'a' - '9' - 1u;
        }
        *--end = (char)('0' + digit);
        if (++places == 2u) {
            *--end = '.';
        }
    } while (value != 0 || places < 3u);
    return end;
}

/* Prints a line, in one call of the port unless it is long. A printf that knows what this file
 * needs: %u and %x, a uint32_t; %k, bytes as kilobytes with two decimals; %s, text, "(null)" for
 * NULL. A digit before the letter is a width, which blanks behind the value fill. */
static void print_line(const char *format, ...) {
    char line[96];
    char digits[12];
    uint32_t length = 0;
    const char *text = ""; /* what is left of the latest value */
    int width = 0;
    va_list values;
    va_start(values, format);
    for (;;) {
        char next = *text;
        if (next != '\0') {
            text++;
        } else if (width > 0) {
            next = ' ';
        } else if ((next = *format++) == '\0') {
            break;
        } else if (next == '%') {
            next = *format++;
            if (next <= '9') {
                width = next - '0';
                next = *format++;
            }
            if (next == 's') {
                text = va_arg(values, const char *);
                if (text == NULL) {
                    text = "(null)";
                }
            } else {
                text = digits_write(digits + sizeof digits, va_arg(values, uint32_t), next);
            }
            continue;
        }
        width--;
        if (length == sizeof line) {
            wm_heap_port_print(line, length);
            length = 0;
        }
        line[length++] = next;
    }
    va_end(values);
    wm_heap_port_print(line, length);
}

void wm_heap_print_stats(void) {
    struct row {
        const char *name;
        struct wm_heap_level level;
    } rows[1u + WM_HEAP_REGIONS_MAX];
    struct row *end = rows;
    uint32_t count;
    const struct wm_heap_region_config *config = wm_heap_port_regions(&count);
    uint32_t key = wm_heap_port_lock();
    *end++ = (struct row){"Total", wm_heap_state.total};
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        const struct wm_heap_region *region = &wm_heap_state.regions[i];
        if (region->state >= WM_HEAP_REGION_OPEN) {
            *end++ = (struct row){config[i].name, region->level};
        }
    }
    wm_heap_port_unlock(key);
    print_line("    Type     Current Size       \tMinimum Size\r\n");
    for (const struct row *row = rows; row < end; row++) {
        uint32_t now = wm_heap_level_free(&row->level);
        uint32_t least = wm_heap_level_minimum(&row->level);
        print_line("    %8s %7u (%kKB)\t\t%7u (%kKB)\r\n", row->name, now, now, least, least);
    }
}

#if HAS_TRACING
/* Looks for the newest live block that is older than *age (in allocations since `newest`), in
 * the regions without a capability of `closed`. Copies its header, and sets *age to its age; 0:
 * there is none. */
__attribute__((always_inline)) static inline uint32_t
find_older(uint32_t newest, uint32_t *age, uint32_t closed, struct wm_heap_header *copy) {
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
            if ((header->size_flags & ALLOCATED) != 0 && its_age > *age && its_age < found_age) {
                found = at;
                found_age = its_age;
                *copy = *header;
            }
        }
    }
    wm_heap_port_unlock(key);
    *age = found_age;
    return found;
}

/* The list, newest first, without a list in memory: each line is looked for. The lock is held
 * for the search, not for the printing, which takes milliseconds; blocks that come meanwhile
 * are missing. The block of `hidden` is left out. */
static void print_list(uint32_t hidden, uint32_t closed) {
    struct wm_heap_header header;
    uint32_t newest = wm_heap_state.counters.allocs + 1u;
    uint32_t age = 0;
    uint32_t index = 0;
    uint32_t bytes = 0;
    uint32_t block;
    while ((block = find_older(newest, &age, closed, &header)) != 0) {
        uint32_t pointer = block + HEADER_BYTES;
        if (pointer != hidden) {
            print_line("%u\t0x%x\t%s:%u\t%u\r\n", index++, pointer,
                       wm_heap_port_site_name(header.site), header.line, header_size(&header));
            bytes += header_size(&header);
        }
    }
    print_line("summary: malloc size %u, malloc count %u\r\n", bytes, index);
}
#endif

/* The line about the block that was found corrupted. Its header may be smashed too: then
 * its size and site are not shown. */
static void print_corruption(uint32_t pointer) {
#if HAS_TRACING
    uint32_t block = pointer - HEADER_BYTES;
    const struct wm_heap_region *region = region_at(block);
    print_line("corruption detected 0x%x", pointer);
    if (region != NULL && block_size(region, block) != 0 &&
        (header_at(block)->size_flags & ALLOCATED) != 0) {
        const struct wm_heap_header *header = header_at(block);
        print_line(" in %s:%u size %u", wm_heap_port_site_name(header->site), header->line,
                   header_size(header));
    }
    print_line("\r\n");
#else
    print_line("corruption detected in 0x%x\r\n", pointer);
#endif
}

/* The list without the regions that have one of the capabilities `closed`, then the line
 * about the block of `pointer` if that is not 0. */
static void print_report(uint32_t pointer, uint32_t closed) {
#if HAS_TRACING
    print_list(pointer, closed);
#else
    (void)closed;
#endif
    if (pointer != 0) {
        print_corruption(pointer);
    }
}

void wm_heap_print_tracing(void *ptr) { print_report(ptr == NULL ? 0 : address_of(ptr), 0); }

#if HAS_POISONING
void print_corrupted_block(uint32_t pointer, uint32_t caps) {
    print_report(pointer, ~caps & WM_HEAP_CAP_SPIRAM);
    wm_heap_print_stats();
}
#endif
