/* SPDX-License-Identifier: Apache-2.0 */
#include "csky_program.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void program_put(struct program *program, uint32_t instruction) {
    cr_assert_lt(program->code_count, 1023);
    if (instruction > UINT16_MAX) {
        program->code[program->code_count++] = (uint16_t)(instruction >> 16);
    }
    program->code[program->code_count++] = (uint16_t)instruction;
}

struct program *program_of(const uint32_t *instructions, size_t bytes) {
    struct program *program = calloc(1, sizeof(*program));
    cr_assert_not_null(program);
    for (size_t i = 0; i < bytes / sizeof(*instructions); ++i) {
        program_put(program, instructions[i]);
    }
    return program;
}

struct file {
    uint8_t *bytes;
    size_t size;
};

static void put(struct file *file, const void *bytes, size_t size) {
    cr_assert_leq(file->size + size, PROGRAM_FILE_MAX);
    if (size > 0) {
        memcpy(file->bytes + file->size, bytes, size);
    }
    file->size += size;
}

static Elf32_Phdr segment_of(const struct file *file, const struct program_segment *segment) {
    return (Elf32_Phdr){.p_type = PT_LOAD,
                        .p_offset = (uint32_t)file->size,
                        .p_vaddr = segment->address,
                        .p_filesz = segment->file_bytes,
                        .p_memsz = segment->memory_bytes,
                        .p_flags = segment->flags};
}

static void put_symbols(struct file *file, const struct program *program, Elf32_Shdr headers[3]) {
    char names[256] = "";
    size_t names_size = 1;
    headers[1] =
        (Elf32_Shdr){.sh_type = SHT_SYMTAB,
                     .sh_offset = (uint32_t)file->size,
                     .sh_size = (uint32_t)((1 + program->symbol_count) * sizeof(Elf32_Sym)),
                     .sh_link = 2,
                     .sh_info = 1,
                     .sh_entsize = sizeof(Elf32_Sym)};
    put(file, &(Elf32_Sym){0}, sizeof(Elf32_Sym));
    for (size_t i = 0; i < program->symbol_count; ++i) {
        const struct program_symbol *from = &program->symbols[i];
        put(file,
            &(Elf32_Sym){.st_name = (uint32_t)names_size,
                         .st_value = from->value,
                         .st_size = from->size,
                         .st_info = ELF32_ST_INFO(STB_GLOBAL, STT_FUNC),
                         .st_shndx = SHN_ABS},
            sizeof(Elf32_Sym));
        strcpy(names + names_size, from->name);
        names_size += strlen(from->name) + 1;
    }
    headers[2] = (Elf32_Shdr){
        .sh_type = SHT_STRTAB, .sh_offset = (uint32_t)file->size, .sh_size = (uint32_t)names_size};
    put(file, names, names_size);
}

size_t program_file(const struct program *program, uint8_t bytes[PROGRAM_FILE_MAX]) {
    struct file file = {bytes, 0};
    struct program_segment segments[10] = {
        {PROGRAM_CODE, PROGRAM_READ | PROGRAM_EXECUTE, (uint32_t)program->code_count * 2,
         program->code, (uint32_t)program->code_count * 2},
        {PROGRAM_DATA, PROGRAM_READ | PROGRAM_WRITE, 4096, program->data, sizeof(program->data)}};
    memcpy(segments + 2, program->segments, sizeof(program->segments));
    const size_t count = 2 + program->segment_count;
    Elf32_Phdr headers[10];
    Elf32_Shdr sections[3] = {{0}};
    Elf32_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
                         .e_type = ET_EXEC,
                         .e_machine = 252,
                         .e_version = EV_CURRENT,
                         .e_entry = PROGRAM_CODE,
                         .e_flags = 0x20000000,
                         .e_ehsize = sizeof(header),
                         .e_phoff = sizeof(header),
                         .e_phentsize = sizeof(headers[0]),
                         .e_phnum = (uint16_t)count,
                         .e_shentsize = sizeof(sections[0]),
                         .e_shnum = 3};
    file.size = sizeof(header) + count * sizeof(headers[0]);
    for (size_t i = 0; i < count; ++i) {
        headers[i] = segment_of(&file, &segments[i]);
        put(&file, segments[i].bytes, segments[i].file_bytes);
    }
    file.size = (file.size + 3u) & ~(size_t)3u;
    put_symbols(&file, program, sections);
    file.size = (file.size + 3u) & ~(size_t)3u;
    header.e_shoff = (uint32_t)file.size;
    put(&file, sections, sizeof(sections));
    memcpy(bytes, &header, sizeof(header));
    memcpy(bytes + sizeof(header), headers, count * sizeof(headers[0]));
    return file.size;
}

void program_save(const void *bytes, size_t size, char *path_template) {
    const int descriptor = mkstemp(path_template);
    cr_assert_geq(descriptor, 0);
    cr_assert_eq(write(descriptor, bytes, size), (ssize_t)size);
    close(descriptor);
}

struct csky_machine *program_open_bytes(const void *bytes, size_t size, char message[256]) {
    char path[] = "/tmp/test_csky_XXXXXX";
    program_save(bytes, size, path);
    struct csky_machine *machine = csky_open(path, message, 256);
    unlink(path);
    return machine;
}

struct csky_machine *program_open(struct program *program) {
    static uint8_t file[PROGRAM_FILE_MAX];
    char message[256] = "";
    struct csky_machine *machine = program_open_bytes(file, program_file(program, file), message);
    cr_assert_not_null(machine, "%s", message);
    free(program);
    return machine;
}
