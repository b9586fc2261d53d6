/* SPDX-License-Identifier: Apache-2.0 */
#include "elf_symbols.h"

#include <gelf.h>
#include <stdlib.h>
#include <string.h>

/* Room for one more in an array that doubles at the powers of two. */
static bool grow(struct elf_symbols *symbols) {
    size_t count = symbols->count;
    if (count != 0 && (count & (count - 1)) != 0) {
        return true;
    }
    struct elf_symbol *list =
        realloc(symbols->list, (count != 0 ? count * 2 : 1) * sizeof(*symbols->list));
    if (list != NULL) {
        symbols->list = list;
    }
    return list != NULL;
}

static bool is_function(Elf *elf, const GElf_Sym *symbol, const char *name) {
    const unsigned type = GELF_ST_TYPE(symbol->st_info);
    GElf_Shdr section;
    return type == STT_FUNC ||
           (type == STT_NOTYPE && GELF_ST_BIND(symbol->st_info) != STB_LOCAL && name[0] != '$' &&
            gelf_getshdr(elf_getscn(elf, symbol->st_shndx), &section) != NULL &&
            (section.sh_flags & SHF_EXECINSTR) != 0);
}

static bool add(struct elf_symbols *symbols, Elf *elf, const GElf_Sym *symbol, const char *name) {
    const unsigned type = GELF_ST_TYPE(symbol->st_info);
    if (symbol->st_shndx == SHN_UNDEF || name == NULL || name[0] == '\0' || type == STT_FILE ||
        type == STT_SECTION || symbol->st_value > UINT32_MAX) {
        return true;
    }
    if (!grow(symbols)) {
        return false;
    }
    symbols->list[symbols->count++] = (struct elf_symbol){
        .name = name,
        .value = (uint32_t)symbol->st_value,
        .size = symbol->st_size <= UINT32_MAX ? (uint32_t)symbol->st_size : 0,
        .global = GELF_ST_BIND(symbol->st_info) != STB_LOCAL,
        .function = is_function(elf, symbol, name),
    };
    return true;
}

static bool add_table(struct elf_symbols *symbols, Elf *elf, Elf_Scn *at,
                      const GElf_Shdr *section) {
    Elf_Data *data = elf_getdata(at, NULL);
    if (data == NULL || section->sh_entsize == 0) {
        return true;
    }
    const size_t count = data->d_size / section->sh_entsize;
    for (size_t i = 0; i < count && i < INT32_MAX; ++i) {
        GElf_Sym symbol;
        if (gelf_getsym(data, (int)i, &symbol) == NULL) {
            break;
        }
        if (!add(symbols, elf, &symbol, elf_strptr(elf, section->sh_link, symbol.st_name))) {
            return false;
        }
    }
    return true;
}

static int compare(const void *left, const void *right) {
    const struct elf_symbol *a = left;
    const struct elf_symbol *b = right;
    const int by_name = strcmp(a->name, b->name);
    if (by_name != 0) {
        return by_name;
    }
    if (a->global != b->global) {
        return a->global ? -1 : 1;
    }
    return (a->value > b->value) - (a->value < b->value);
}

bool elf_symbols_read(Elf *elf, struct elf_symbols *symbols) {
    *symbols = (struct elf_symbols){NULL, 0};
    for (Elf_Scn *at = NULL; (at = elf_nextscn(elf, at)) != NULL;) {
        GElf_Shdr section;
        if (gelf_getshdr(at, &section) != NULL && section.sh_type == SHT_SYMTAB &&
            !add_table(symbols, elf, at, &section)) {
            return false;
        }
    }
    if (symbols->count > 0) {
        qsort(symbols->list, symbols->count, sizeof(*symbols->list), compare);
    }
    return true;
}

const struct elf_symbol *elf_symbols_find(const struct elf_symbols *symbols, const char *name) {
    size_t low = 0;
    size_t high = symbols->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(symbols->list[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < symbols->count && strcmp(symbols->list[low].name, name) == 0 ? &symbols->list[low]
                                                                              : NULL;
}

void elf_symbols_free(struct elf_symbols *symbols) {
    free(symbols->list);
    *symbols = (struct elf_symbols){NULL, 0};
}
