/* SPDX-License-Identifier: Apache-2.0
 *
 * The program's ELF file through libelf: its segments become pieces of memory, its symbols the
 * functions that instructions are counted for. A file may say anything; what does not add up is
 * refused with a reason.
 */
#include "csky_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MACHINE_CSKY 252
#define MACHINE_CSKY_OLD 39   /* of older tool chains */
#define FLAGS_ABI 0xf0000000u /* e_flags: the version of the ABI */
#define FLAGS_ABI_2 0x20000000u

static const char *unusable(Elf *elf, GElf_Ehdr *header) {
    if (elf == NULL || elf_kind(elf) != ELF_K_ELF) {
        return "no ELF file";
    }
    if (gelf_getehdr(elf, header) == NULL) {
        return "its ELF header cannot be read";
    }
    if (gelf_getclass(elf) != ELFCLASS32 || header->e_ident[EI_DATA] != ELFDATA2LSB) {
        return "no ELF file of 32 bits, little-endian";
    }
    if (header->e_machine != MACHINE_CSKY && header->e_machine != MACHINE_CSKY_OLD) {
        return "an ELF file for another processor than C-SKY (machine 252 or 39)";
    }
    if ((header->e_flags & FLAGS_ABI) != FLAGS_ABI_2 && (header->e_flags & FLAGS_ABI) != 0) {
        return "for another version of C-SKY than 2";
    }
    return header->e_type == ET_EXEC ? NULL : "no static program, linked to run where it is";
}

static const char *add_segment(struct csky_machine *machine, const GElf_Phdr *segment) {
    if (segment->p_memsz == 0) {
        return NULL;
    }
    if (segment->p_filesz > segment->p_memsz) {
        return "a segment that is larger in the file than in memory";
    }
    if (segment->p_vaddr > UINT32_MAX || segment->p_memsz > UINT32_MAX) {
        return "a segment that reaches beyond 0xffff0000";
    }
    Elf_Data *data = NULL;
    if (segment->p_filesz > 0) {
        data = elf_getdata_rawchunk(machine->elf, (int64_t)segment->p_offset, segment->p_filesz,
                                    ELF_T_BYTE);
        if (data == NULL || data->d_buf == NULL || data->d_size < segment->p_filesz) {
            return "a segment that does not lie in the file";
        }
    }
    const char *reason = csky_memory_add(machine, (uint32_t)segment->p_vaddr,
                                         (uint32_t)segment->p_memsz, segment->p_flags & 7u);
    if (reason == NULL && data != NULL) {
        memcpy(machine->pieces[machine->piece_count - 1].host, data->d_buf, segment->p_filesz);
    }
    return reason;
}

/* Unless the file says otherwise, the stack may hold code. */
static const char *add_segments(struct csky_machine *machine) {
    unsigned stack_rights = CSKY_RIGHT_READ | CSKY_RIGHT_WRITE | CSKY_RIGHT_EXECUTE;
    size_t count = 0;
    if (elf_getphdrnum(machine->elf, &count) != 0) {
        return "its segments cannot be read";
    }
    for (size_t i = 0; i < count && i < INT32_MAX; ++i) {
        GElf_Phdr segment;
        const char *reason = NULL;
        if (gelf_getphdr(machine->elf, (int)i, &segment) == NULL) {
            return "its segments cannot be read";
        }
        if (segment.p_type == PT_LOAD) {
            reason = add_segment(machine, &segment);
        } else if (segment.p_type == PT_INTERP) {
            reason = "no static program";
        } else if (segment.p_type == PT_GNU_STACK) {
            stack_rights = (segment.p_flags & PF_X) | CSKY_RIGHT_READ | CSKY_RIGHT_WRITE;
        }
        if (reason != NULL) {
            return reason;
        }
    }
    return machine->piece_count == 1 ? "nothing to load"
                                     : csky_memory_add(machine, CSKY_STACK_TOP - CSKY_STACK_BYTES,
                                                       CSKY_STACK_BYTES, stack_rights);
}

/* --- Symbols ------------------------------------------------------------------------------- */

/* By address; of several at one, the largest first. */
static int compare_functions(const void *left, const void *right) {
    const struct csky_function *a = left;
    const struct csky_function *b = right;
    if (a->start != b->start) {
        return a->start < b->start ? -1 : 1;
    }
    if (a->size != b->size) {
        return a->size > b->size ? -1 : 1;
    }
    return strcmp(a->name, b->name);
}

/* One function per address, and none reaches into the next. */
static void settle_functions(struct csky_machine *machine) {
    struct csky_function *functions = machine->functions;
    qsort(functions + 1, machine->function_count - 1, sizeof(*functions), compare_functions);
    size_t kept = 1;
    for (size_t i = 1; i < machine->function_count; ++i) {
        if (kept == 1 || functions[i].start != functions[kept - 1].start) {
            functions[kept++] = functions[i];
        }
    }
    machine->function_count = kept;
    for (size_t i = 1; i < kept; ++i) {
        const uint32_t end = i + 1 < kept ? functions[i + 1].start : CSKY_MEMORY_END;
        const uint32_t room = end - functions[i].start;
        if (functions[i].size == 0 || functions[i].size > room) {
            functions[i].size = room;
        }
    }
}

/* Number 0 is all that is no function. */
static bool add_symbols(struct csky_machine *machine) {
    if (!elf_symbols_read(machine->elf, &machine->symbols)) {
        return false;
    }
    machine->functions = malloc((machine->symbols.count + 1) * sizeof(*machine->functions));
    if (machine->functions == NULL) {
        return false;
    }
    machine->functions[machine->function_count++] = (struct csky_function){.start = UINT32_MAX};
    for (size_t i = 0; i < machine->symbols.count; ++i) {
        const struct elf_symbol *symbol = &machine->symbols.list[i];
        if (symbol->function) {
            machine->functions[machine->function_count++] = (struct csky_function){
                .start = symbol->value & ~1u, .size = symbol->size, .name = symbol->name};
        }
    }
    settle_functions(machine);
    return true;
}

const char *csky_load(struct csky_machine *machine, const char *path) {
    GElf_Ehdr header;
    machine->piece_count = 1; /* piece 0 is empty */
    machine->descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (machine->descriptor < 0) {
        return strerror(errno);
    }
    elf_version(EV_CURRENT);
    machine->elf = elf_begin(machine->descriptor, ELF_C_READ, NULL);
    const char *reason = unusable(machine->elf, &header);
    if (reason == NULL) {
        reason = add_segments(machine);
    }
    if (reason != NULL) {
        return reason;
    }
    machine->pc = (uint32_t)header.e_entry & ~1u;
    return add_symbols(machine) ? NULL : "out of memory";
}

void csky_unload(struct csky_machine *machine) {
    csky_memory_free(machine);
    elf_end(machine->elf);
    if (machine->descriptor >= 0) {
        close(machine->descriptor);
    }
    elf_symbols_free(&machine->symbols);
    free(machine->functions);
}
