/* SPDX-License-Identifier: Apache-2.0
 *
 * What a firmware's ELF file knows: symbols, strings in its read-only data, and with debug
 * information the function, file and line of an address. Read by elfutils' libdw.
 */
#ifndef FIRMWARE_H
#define FIRMWARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct firmware;

/* NULL with one line in error (what, where, why) if the file is no usable ELF file for a
 * 32-bit little-endian machine. */
struct firmware *firmware_open(const char *path, char *error, size_t error_size);
void firmware_close(struct firmware *firmware);

/* Value of a symbol; false if there is none of that name. O(log symbols). */
bool firmware_symbol(const struct firmware *firmware, const char *name, uint32_t *value);

/* The text at an address of a loaded section, NUL-terminated there, printable, at most 1023
 * bytes; NULL if there is none. Valid until firmware_close. */
const char *firmware_string(const struct firmware *firmware, uint32_t address);

/* Bytes at an address of a loaded section with contents; false if not all are there. */
bool firmware_read(const struct firmware *firmware, uint32_t address, void *bytes, size_t size);

struct firmware_place {
    char function[128]; /* "" if not known */
    char file[512];
    uint32_t line;
};
/* Where an address of code lies; false if neither debug information nor a symbol says. */
bool firmware_locate(struct firmware *firmware, uint32_t address, struct firmware_place *place);

#endif
