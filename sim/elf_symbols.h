/* SPDX-License-Identifier: Apache-2.0
 *
 * The symbols of an ELF file, through libelf.
 */
#ifndef ELF_SYMBOLS_H
#define ELF_SYMBOLS_H

#include <libelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct elf_symbol {
    const char *name; /* in the file: gone when that is closed */
    uint32_t value;
    uint32_t size; /* bytes; 0: unknown */
    bool global;
    bool function; /* by its type, or a global one without a type in executable code, as those
                      written in assembler often are */
};

/* By name, of one name the global ones first, then by value. */
struct elf_symbols {
    struct elf_symbol *list;
    size_t count;
};

/* Those that are defined, named and of 32 bits. False: out of memory; `symbols` is to be freed in
 * either case. O(n log n). */
bool elf_symbols_read(Elf *elf, struct elf_symbols *symbols);

/* The first of that name, or NULL. O(log n). */
const struct elf_symbol *elf_symbols_find(const struct elf_symbols *symbols, const char *name);

void elf_symbols_free(struct elf_symbols *symbols);

#endif
