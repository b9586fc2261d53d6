/* SPDX-License-Identifier: Apache-2.0
 *
 * C-SKY programs that are none: refused with a reason, and cut or garbled ones do no harm.
 * W800_SEED=N in the environment garbles otherwise.
 */
#include "csky_program.h"
#include "trace_text.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(csky_hostile, .timeout = 60);

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HEADER(member) offsetof(Elf32_Ehdr, member)
#define SEGMENT(number, member)                                                                    \
    (sizeof(Elf32_Ehdr) + (number) * sizeof(Elf32_Phdr) + offsetof(Elf32_Phdr, member))

static size_t whole_file(uint8_t bytes[PROGRAM_FILE_MAX]) {
    struct program *program = PROGRAM(MOVIH(1, PROGRAM_DATA >> 16), LD_W(2, 1, 4), ADDI(2, 3),
                                      ST_W(2, 1, 8), BNEZ(2, -6), EXIT(0));
    program->symbols[0] = (struct program_symbol){"_start", PROGRAM_CODE, 12};
    program->symbols[1] = (struct program_symbol){"rest", PROGRAM_CODE + 12, 0};
    program->symbol_count = 2;
    const size_t size = program_file(program, bytes);
    free(program);
    return size;
}

Test(csky_hostile, what_is_no_program_is_refused_with_the_reason) {
    static const struct {
        size_t offset;
        uint32_t value, bytes;
        const char *reason;
    } rows[] = {
        {0, 'x', 1, "no ELF file"},
        {4, ELFCLASS64, 1, "32 bits"},
        {5, ELFDATA2MSB, 1, "little-endian"},
        {HEADER(e_machine), EM_ARM, 2, "another processor"},
        {HEADER(e_flags), 0x10000000, 4, "another version"},
        {HEADER(e_type), ET_DYN, 2, "no static program"},
        {HEADER(e_type), ET_REL, 2, "no static program"},
        {HEADER(e_phnum), 0, 2, "nothing to load"},
        {HEADER(e_phoff), 0x7fffffff, 4, "cannot be read"},
        {SEGMENT(0, p_type), PT_INTERP, 4, "no static program"},
        {SEGMENT(0, p_offset), 0x7fffffff, 4, "does not lie in the file"},
        {SEGMENT(0, p_memsz), 1, 4, "larger in the file"},
        {SEGMENT(1, p_vaddr), 0xfffff000, 4, "beyond"},
        {SEGMENT(1, p_memsz), 0xffffffff, 4, "beyond"},
        {SEGMENT(1, p_vaddr), PROGRAM_CODE - 8, 4, "overlap"},
        {SEGMENT(1, p_vaddr), 0x7fff0000, 4, "overlap"},
    };
    static uint8_t bytes[PROGRAM_FILE_MAX];
    char message[256];
    for (size_t i = 0; i < COUNT(rows); ++i) {
        const size_t size = whole_file(bytes);
        memcpy(bytes + rows[i].offset, &rows[i].value, rows[i].bytes);
        struct csky_machine *machine = program_open_bytes(bytes, size, message);
        cr_expect_null(machine, "row %zu: %s", i, rows[i].reason);
        cr_expect(strstr(message, rows[i].reason) != NULL && strchr(message, '\n') == NULL,
                  "row %zu: %s, not %s", i, message, rows[i].reason);
        csky_close(machine);
    }
    cr_expect_null(csky_open("/nowhere/program.elf", message, sizeof(message)));
    cr_expect_str_eq(message, "/nowhere/program.elf: No such file or directory");
    cr_expect_null(csky_open("/", message, sizeof(message)));
}

Test(csky_hostile, too_many_segments_are_refused) {
    static uint8_t bytes[PROGRAM_FILE_MAX];
    static Elf32_Phdr segments[70];
    char message[256];
    whole_file(bytes);
    for (unsigned i = 0; i < COUNT(segments); ++i) {
        segments[i] = (Elf32_Phdr){
            .p_type = PT_LOAD, .p_vaddr = 0x10000 * (i + 1), .p_memsz = 4096, .p_flags = PF_R};
    }
    Elf32_Ehdr header;
    memcpy(&header, bytes, sizeof(header));
    header.e_phnum = COUNT(segments);
    header.e_shoff = 0;
    header.e_shnum = 0;
    memcpy(bytes, &header, sizeof(header));
    memcpy(bytes + sizeof(header), segments, sizeof(segments));
    cr_expect_null(program_open_bytes(bytes, sizeof(header) + sizeof(segments), message));
    cr_expect_not_null(strstr(message, "more than"), "%s", message);
}

static void use(const uint8_t *bytes, size_t size, const char *what) {
    char message[256] = "";
    char text[64];
    struct csky_machine *machine = program_open_bytes(bytes, size, message);
    cr_assert(machine != NULL || message[0] != '\0', "%s: refused without a reason", what);
    if (machine != NULL) {
        const enum csky_end end = csky_run(machine, 300);
        cr_assert(end == CSKY_EXITED || end == CSKY_FAULTED || end == CSKY_EXHAUSTED, "%s", what);
        csky_function_at(machine, csky_pc(machine));
        csky_disassemble(csky_pc(machine), (uint16_t)(csky_fault(machine)->instruction >> 16),
                         (uint16_t)csky_fault(machine)->instruction, text, sizeof(text));
    }
    csky_close(machine);
}

Test(csky_hostile, cut_programs_do_no_harm) {
    static uint8_t bytes[PROGRAM_FILE_MAX];
    char what[64];
    const size_t size = whole_file(bytes);
    for (size_t cut = 0; cut < size; ++cut) {
        snprintf(what, sizeof(what), "cut to %zu bytes", cut);
        use(bytes, cut, what);
    }
}

Test(csky_hostile, garbled_programs_do_no_harm) {
    static uint8_t bytes[PROGRAM_FILE_MAX];
    const uint64_t seed = trace_text_seed();
    struct trace_text_random random = {seed};
    char what[64];
    for (unsigned round = 0; round < 3000; ++round) {
        const size_t size = whole_file(bytes);
        const uint32_t changes = 1 + trace_text_below(&random, 4);
        snprintf(what, sizeof(what), "W800_SEED=%llu, round %u", (unsigned long long)seed, round);
        for (uint32_t i = 0; i < changes; ++i) {
            /* mostly in the headers, which say where all else is */
            const uint32_t limit = trace_text_below(&random, 2) == 0 ? (uint32_t)size : 200;
            const uint32_t at = trace_text_below(&random, limit);
            bytes[at] =
                trace_text_below(&random, 3) == 0 ? 0xff : (uint8_t)trace_text_below(&random, 256);
        }
        use(bytes, size, what);
    }
}
