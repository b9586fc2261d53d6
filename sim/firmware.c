/* SPDX-License-Identifier: Apache-2.0
 *
 * The firmware's ELF file through elfutils: libelf for symbols and contents, libdw for debug
 * information. A dump's addresses are those of the running program, so contents are looked
 * up by virtual address, in the loadable segments (an object file without any has its
 * sections instead).
 *
 * Both machine numbers of C-SKY are taken: 252 is the registered one, 39 is what the older
 * tool chains write, the vendor's among them.
 */
#include "firmware.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "elf_symbols.h"

#define MACHINE_CSKY 252
#define MACHINE_CSKY_OLD 39
#define STRING_MAX 1023u

struct chunk {
    uint32_t address;
    uint32_t size;
    const uint8_t *bytes;
};

struct firmware {
    int descriptor;
    Elf *elf;
    Dwarf *dwarf; /* NULL: no debug information */
    struct chunk *chunks;
    size_t chunk_count;
    struct elf_symbols symbols;
};

static const char *unusable(Elf *elf) {
    if (elf == NULL || elf_kind(elf) != ELF_K_ELF) {
        return "no ELF file";
    }
    GElf_Ehdr header;
    if (gelf_getehdr(elf, &header) == NULL) {
        return "its ELF header cannot be read";
    }
    if (gelf_getclass(elf) != ELFCLASS32) {
        return "a 64-bit ELF file, the W800 has 32 bits";
    }
    if (header.e_ident[EI_DATA] != ELFDATA2LSB) {
        return "a big-endian ELF file, the W800 is little-endian";
    }
    return header.e_machine == MACHINE_CSKY || header.e_machine == MACHINE_CSKY_OLD
               ? NULL
               : "an ELF file for another processor than C-SKY (machine 252 or 39)";
}

static bool add_chunk(struct firmware *firmware, uint64_t address, const Elf_Data *data) {
    if (data == NULL || data->d_buf == NULL || data->d_size == 0 || address > UINT32_MAX ||
        data->d_size > UINT32_MAX - address) {
        return true;
    }
    struct chunk *chunks = realloc(firmware->chunks, (firmware->chunk_count + 1) * sizeof(*chunks));
    if (chunks == NULL) {
        return false;
    }
    firmware->chunks = chunks;
    chunks[firmware->chunk_count++] =
        (struct chunk){(uint32_t)address, (uint32_t)data->d_size, data->d_buf};
    return true;
}

static bool read_segments(struct firmware *firmware) {
    size_t count = 0;
    if (elf_getphdrnum(firmware->elf, &count) != 0) {
        return true;
    }
    for (size_t i = 0; i < count && i < INT32_MAX; ++i) {
        GElf_Phdr segment;
        if (gelf_getphdr(firmware->elf, (int)i, &segment) == NULL) {
            break;
        }
        if (segment.p_type == PT_LOAD && segment.p_filesz > 0 &&
            !add_chunk(firmware, segment.p_vaddr,
                       elf_getdata_rawchunk(firmware->elf, (int64_t)segment.p_offset,
                                            segment.p_filesz, ELF_T_BYTE))) {
            return false;
        }
    }
    return true;
}

static bool read_sections(struct firmware *firmware) {
    for (Elf_Scn *at = NULL; (at = elf_nextscn(firmware->elf, at)) != NULL;) {
        GElf_Shdr section;
        if (gelf_getshdr(at, &section) != NULL && section.sh_type == SHT_PROGBITS &&
            (section.sh_flags & SHF_ALLOC) != 0 &&
            !add_chunk(firmware, section.sh_addr, elf_rawdata(at, NULL))) {
            return false;
        }
    }
    return true;
}

static bool read_contents(struct firmware *firmware) {
    return read_segments(firmware) && (firmware->chunk_count > 0 || read_sections(firmware)) &&
           elf_symbols_read(firmware->elf, &firmware->symbols);
}

struct firmware *firmware_open(const char *path, char *error, size_t error_size) {
    struct firmware *firmware = calloc(1, sizeof(*firmware));
    if (firmware == NULL) {
        snprintf(error, error_size, "%s: out of memory", path);
        return NULL;
    }
    firmware->descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (firmware->descriptor < 0) {
        snprintf(error, error_size, "%s: %s", path, strerror(errno));
        free(firmware);
        return NULL;
    }
    elf_version(EV_CURRENT);
    firmware->elf = elf_begin(firmware->descriptor, ELF_C_READ, NULL);
    const char *reason = unusable(firmware->elf);
    if (reason == NULL && !read_contents(firmware)) {
        reason = "out of memory";
    }
    if (reason != NULL) {
        snprintf(error, error_size, "%s: %s", path, reason);
        firmware_close(firmware);
        return NULL;
    }
    firmware->dwarf = dwarf_begin_elf(firmware->elf, DWARF_C_READ, NULL);
    return firmware;
}

void firmware_close(struct firmware *firmware) {
    if (firmware == NULL) {
        return;
    }
    dwarf_end(firmware->dwarf);
    elf_end(firmware->elf);
    close(firmware->descriptor);
    free(firmware->chunks);
    elf_symbols_free(&firmware->symbols);
    free(firmware);
}

bool firmware_symbol(const struct firmware *firmware, const char *name, uint32_t *value) {
    const struct elf_symbol *symbol = elf_symbols_find(&firmware->symbols, name);
    if (symbol != NULL) {
        *value = symbol->value;
    }
    return symbol != NULL;
}

/* The bytes from an address to the end of what is loaded there. */
static const uint8_t *bytes_at(const struct firmware *firmware, uint32_t address, uint32_t *size) {
    for (size_t i = 0; i < firmware->chunk_count; ++i) {
        const struct chunk *chunk = &firmware->chunks[i];
        if (address - chunk->address < chunk->size) {
            *size = chunk->size - (address - chunk->address);
            return chunk->bytes + (address - chunk->address);
        }
    }
    return NULL;
}

const char *firmware_string(const struct firmware *firmware, uint32_t address) {
    uint32_t size = 0;
    const uint8_t *text = bytes_at(firmware, address, &size);
    if (text == NULL) {
        return NULL;
    }
    const size_t length = strnlen((const char *)text, size);
    if (length == 0 || length == size || length > STRING_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < length; ++i) {
        if (text[i] < ' ' || text[i] == 0x7f) {
            return NULL;
        }
    }
    return (const char *)text;
}

bool firmware_read(const struct firmware *firmware, uint32_t address, void *bytes, size_t size) {
    uint32_t there = 0;
    const uint8_t *from = bytes_at(firmware, address, &there);
    if (from == NULL || size > there) {
        return false;
    }
    memcpy(bytes, from, size);
    return true;
}

/* --- Code ------------------------------------------------------------------------------- */

/* Compilers write a table of the address ranges of their units, but need not. */
static bool find_unit(Dwarf *dwarf, uint32_t address, Dwarf_Die *unit) {
    if (dwarf_addrdie(dwarf, address, unit) != NULL) {
        return true;
    }
    Dwarf_Off at = 0;
    Dwarf_Off next = 0;
    size_t header_size = 0;
    while (dwarf_nextcu(dwarf, at, &next, &header_size, NULL, NULL, NULL) == 0 && next > at) {
        if (dwarf_offdie(dwarf, at + header_size, unit) != NULL &&
            dwarf_haspc(unit, address) == 1) {
            return true;
        }
        at = next;
    }
    return false;
}

static void find_function(Dwarf_Die *unit, uint32_t address, struct firmware_place *place) {
    Dwarf_Die *scopes = NULL;
    const int count = dwarf_getscopes(unit, address, &scopes);
    for (int i = 0; i < count; ++i) {
        const int tag = dwarf_tag(&scopes[i]);
        const char *name = tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine
                               ? dwarf_diename(&scopes[i])
                               : NULL;
        if (name != NULL) {
            snprintf(place->function, sizeof(place->function), "%s", name);
            break;
        }
    }
    free(scopes);
}

static void find_line(Dwarf_Die *unit, uint32_t address, struct firmware_place *place) {
    Dwarf_Line *line = dwarf_getsrc_die(unit, address);
    const char *file = line != NULL ? dwarf_linesrc(line, NULL, NULL) : NULL;
    int number = 0;
    if (file != NULL && dwarf_lineno(line, &number) == 0 && number > 0) {
        snprintf(place->file, sizeof(place->file), "%s", file);
        place->line = (uint32_t)number;
    }
}

/* The last function that begins at or before the address and does not end before it. */
static void find_symbol(const struct firmware *firmware, uint32_t address,
                        struct firmware_place *place) {
    const struct elf_symbol *best = NULL;
    for (size_t i = 0; i < firmware->symbols.count; ++i) {
        const struct elf_symbol *symbol = &firmware->symbols.list[i];
        if (symbol->function && symbol->value <= address &&
            (symbol->size == 0 || address - symbol->value < symbol->size) &&
            (best == NULL || symbol->value >= best->value)) {
            best = symbol;
        }
    }
    if (best != NULL) {
        snprintf(place->function, sizeof(place->function), "%s", best->name);
    }
}

bool firmware_locate(struct firmware *firmware, uint32_t address, struct firmware_place *place) {
    *place = (struct firmware_place){0};
    Dwarf_Die unit;
    if (firmware->dwarf != NULL && find_unit(firmware->dwarf, address, &unit)) {
        find_function(&unit, address, place);
        find_line(&unit, address, place);
    }
    if (place->function[0] == '\0') {
        find_symbol(firmware, address, place);
    }
    return place->function[0] != '\0' || place->file[0] != '\0';
}
