/* SPDX-License-Identifier: Apache-2.0
 *
 * Instructions of C-SKY one by one: how they read, and what each does to registers, memory and
 * the program counter. W800_SEED=N in the environment samples other patterns.
 */
#include "csky_program.h"
#include "trace_text.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(csky_isa, .timeout = 60);

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BASE 20 /* a register that points to data */

static unsigned text_of(uint32_t pc, uint32_t code, char text[64]) {
    const bool wide = code > UINT16_MAX;
    return csky_disassemble(pc, (uint16_t)(wide ? code >> 16 : code), (uint16_t)code, text, 64);
}

/* --- Registers ------------------------------------------------------------------------------- */

struct values {
    uint32_t r1, r2, r3, c;
};

struct row {
    uint32_t code;
    const char *text;
    struct values before, after;
    bool is_float;
};

#define VALUES(...)                                                                                \
    { __VA_ARGS__ }
static const struct row rows[] = {
#define ROW(code, text, before, after) {code, text, VALUES before, VALUES after, false},
#define FLOAT_ROW(code, text, before, after) {code, text, VALUES before, VALUES after, true},
#include "csky_meanings.def"
};

/* Sets the registers, executes it once, and brings C to r29. */
static struct csky_machine *machine_of(const struct row *row) {
    struct program *program =
        PROGRAM(MOVIH(BASE, PROGRAM_DATA >> 16), 0xd0341c24 /* ldm r1-r5, (r20) */);
    program->data[0] = row->before.r1;
    program->data[1] = row->before.r2;
    program->data[2] = row->before.r3;
    program->data[3] = strncmp(row->text, "mul", 3) == 0 ? UINT32_MAX : 7;
    program->data[4] = 3;
    if (row->is_float) {
        program_put(program, 0xf4543001); /* fldms fr1-fr3, (r20) */
    }
    program_put(program, row->before.c != 0 ? 0x6400 : 0x6402); /* cmphs or cmpne r0, r0 */
    program_put(program, row->code);
    program_put(program, 0xc400051d); /* mvc r29 */
    if (row->is_float) {
        program_put(program, 0xf4543401); /* fstms fr1-fr3, (r20) */
        program_put(program, 0xd0341c22); /* ldm r1-r3, (r20) */
    }
    program_put(program, 0); /* bkpt */
    return program_open(program);
}

Test(csky_isa, each_instruction_does_what_the_table_says) {
    for (size_t i = 0; i < COUNT(rows); ++i) {
        const struct row *row = &rows[i];
        struct csky_machine *machine = machine_of(row);
        const enum csky_end end = csky_run(machine, 100);
        cr_expect(end == CSKY_FAULTED && csky_fault(machine)->kind == CSKY_FAULT_TRAP,
                  "row %zu: %s did not come to its end", i, row->text);
        const struct values got = {csky_register(machine, 1), csky_register(machine, 2),
                                   csky_register(machine, 3), csky_register(machine, 29)};
        cr_expect(memcmp(&got, &row->after, sizeof(got)) == 0,
                  "row %zu: %s: r1 %#" PRIx32 " r2 %#" PRIx32 " r3 %#" PRIx32 " c %" PRIu32
                  ", not %#" PRIx32 " %#" PRIx32 " %#" PRIx32 " %" PRIu32,
                  i, row->text, got.r1, got.r2, got.r3, got.c, row->after.r1, row->after.r2,
                  row->after.r3, row->after.c);
        csky_close(machine);
    }
}

Test(csky_isa, each_instruction_reads_as_the_table_says) {
    char text[64];
    for (size_t i = 0; i < COUNT(rows); ++i) {
        const unsigned bytes = text_of(0, rows[i].code, text);
        cr_expect_str_eq(text, rows[i].text, "row %zu: %s, not %s", i, text, rows[i].text);
        cr_expect_eq(bytes, rows[i].code > UINT16_MAX ? 4 : 2, "%s", rows[i].text);
    }
}

/* The accumulator, which no row can hold: each operation on HI:LO = 1:2 with 3 and -1. */
Test(csky_isa, products_gather_in_hi_and_lo) {
    static const struct {
        uint32_t code;
        const char *text;
        uint64_t after;
    } products[] = {
        {0xc4628820, "mulu r2, r3", 0x2fffffffdu},
        {0xc4628840, "mulua r2, r3", 0x3ffffffffu},
        {0xc4628880, "mulus r2, r3", UINT64_C(0x100000002) - 0x2fffffffdu},
        {0xc4628c20, "muls r2, r3", (uint64_t)-3},
        {0xc4628c40, "mulsa r2, r3", UINT64_C(0x100000002) - 3},
        {0xc4628c80, "mulss r2, r3", UINT64_C(0x100000002) + 3},
    };
    char text[64];
    for (size_t i = 0; i < COUNT(products); ++i) {
        struct csky_machine *machine = program_open(
            PROGRAM(MOVI(1, 1), MOVI(2, 2), 0xc4019c40 /* mthi r1 */, 0xc4029d00 /* mtlo r2 */,
                    MOVI(2, 3), MOVI(3, 0), 0x2b00 /* subi r3, 1 */, products[i].code,
                    0xc4009c25 /* mfhi r5 */, 0xc4009c86 /* mflo r6 */, 0));
        csky_run(machine, 100);
        const uint64_t got = (uint64_t)csky_register(machine, 5) << 32 | csky_register(machine, 6);
        text_of(0, products[i].code, text);
        cr_expect_str_eq(text, products[i].text);
        cr_expect_eq(got, products[i].after, "%s: %#" PRIx64, text, got);
        csky_close(machine);
    }
}

/* --- Memory ------------------------------------------------------------------------------------
 */

/* r20 and r28 point to the words 0x8899aabb, 0x01020384, r21 is 1, r22 is 4, r1 is 0x12345678,
 * r0 0x11; word 2 is zero, and seen afterwards in r2; r20 in r3. */
struct access {
    uint32_t code;
    const char *text;
    uint32_t r1, word2, moved;
    uint32_t word0; /* 0: as it was */
};
static const struct access accesses[] = {
    {0xd8340003, "ld.b r1, (r20, 0x3)", 0x88, 0, 0, 0},
    {0xd8344003, "ld.bs r1, (r20, 0x3)", 0xffffff88, 0, 0, 0},
    {0xd8341001, "ld.h r1, (r20, 0x2)", 0x8899, 0, 0, 0},
    {0xd8345001, "ld.hs r1, (r20, 0x2)", 0xffff8899, 0, 0, 0},
    {0xd8342001, "ld.w r1, (r20, 0x4)", 0x01020384, 0, 0, 0},
    {0xdc340009, "st.b r1, (r20, 0x9)", 0x12345678, 0x7800, 0, 0},
    {0xdc341005, "st.h r1, (r20, 0xa)", 0x12345678, 0x56780000, 0, 0},
    {0xdc342002, "st.w r1, (r20, 0x8)", 0x12345678, 0x12345678, 0, 0},
    {0xd2b40021, "ldr.b r1, (r20, r21 << 0)", 0xaa, 0, 0, 0},
    {0xd2b41041, "ldr.bs r1, (r20, r21 << 1)", 0xffffff99, 0, 0, 0},
    {0xd2b40441, "ldr.h r1, (r20, r21 << 1)", 0x8899, 0, 0, 0},
    {0xd2b41441, "ldr.hs r1, (r20, r21 << 1)", 0xffff8899, 0, 0, 0},
    {0xd2b40881, "ldr.w r1, (r20, r21 << 2)", 0x01020384, 0, 0, 0},
    {0xd6b40101, "str.b r1, (r20, r21 << 3)", 0x12345678, 0x78, 0, 0},
    {0xd6b40501, "str.h r1, (r20, r21 << 3)", 0x12345678, 0x5678, 0, 0},
    {0xd6b40901, "str.w r1, (r20, r21 << 3)", 0x12345678, 0x12345678, 0, 0},
    {0xcc200003, "lrs.b r1, (r28, 0x3)", 0x88, 0, 0, 0},
    {0xcc240001, "lrs.h r1, (r28, 0x2)", 0x8899, 0, 0, 0},
    {0xcc280001, "lrs.w r1, (r28, 0x4)", 0x01020384, 0, 0, 0},
    {0xcc300009, "srs.b r1, (r28, 0x9)", 0x12345678, 0x7800, 0, 0},
    {0xcc340005, "srs.h r1, (r28, 0xa)", 0x12345678, 0x56780000, 0, 0},
    {0xcc380002, "srs.w r1, (r28, 0x8)", 0x12345678, 0x12345678, 0, 0},
    {0xd0148001, "ldbi.b r1, (r20)", 0xbb, 0, 1, 0},
    {0xd0149401, "ldbi.bs r1, (r20)", 0xffffffbb, 0, 1, 0},
    {0xd0148401, "ldbi.h r1, (r20)", 0xaabb, 0, 2, 0},
    {0xd0149001, "ldbi.hs r1, (r20)", 0xffffaabb, 0, 2, 0},
    {0xd0148801, "ldbi.w r1, (r20)", 0x8899aabb, 0, 4, 0},
    {0xd2d4a001, "ldbir.b r1, (r20), r22", 0xbb, 0, 4, 0},
    {0xd2d4b001, "ldbir.bs r1, (r20), r22", 0xffffffbb, 0, 4, 0},
    {0xd2d4a401, "ldbir.h r1, (r20), r22", 0xaabb, 0, 4, 0},
    {0xd2d4b401, "ldbir.hs r1, (r20), r22", 0xffffaabb, 0, 4, 0},
    {0xd2d4a801, "ldbir.w r1, (r20), r22", 0x8899aabb, 0, 4, 0},
    {0xd0148c00, "pldbi.d r0, (r20)", 0x01020384, 0, 8, 0},
    {0xd2d4ac00, "pldbir.d r0, (r20), r22", 0x01020384, 0, 8, 0},
    {0xd4148001, "stbi.b r1, (r20)", 0x12345678, 0, 1, 0x8899aa78},
    {0xd4148401, "stbi.h r1, (r20)", 0x12345678, 0, 2, 0x88995678},
    {0xd4148801, "stbi.w r1, (r20)", 0x12345678, 0, 4, 0x12345678},
    {0xd6d4a001, "stbir.b r1, (r20), r22", 0x12345678, 0, 4, 0x8899aa78},
    {0xd6d4a401, "stbir.h r1, (r20), r22", 0x12345678, 0, 4, 0x88995678},
    {0xd6d4a801, "stbir.w r1, (r20), r22", 0x12345678, 0, 4, 0x12345678},
    {0xd0141c21, "ldm r0-r1, (r20)", 0x01020384, 0, 0, 0},
    {0xd4141c22, "stm r0-r2, (r20)", 0x12345678, 0x77, 0, 0x11},
};

Test(csky_isa, loads_and_stores_reach_the_bytes_that_they_name) {
    char text[64];
    for (size_t i = 0; i < COUNT(accesses); ++i) {
        const struct access *row = &accesses[i];
        struct program *program =
            PROGRAM(MOVI(0, 0x11), MOVIH(BASE, PROGRAM_DATA >> 16), MOVIH(28, PROGRAM_DATA >> 16),
                    MOVI16(21, 1), MOVI16(22, 4), MOVIH(1, 0x1234), ORI(1, 1, 0x5678),
                    MOVI(2, 0x77), row->code, MOVIH(19, PROGRAM_DATA >> 16), LD_W(2, 19, 8),
                    0xc4134883 /* asri r3, r19, 4 */, 0xc6740083 /* subu r3, r20, r19 */, 0);
        program->data[0] = 0x8899aabb;
        program->data[1] = 0x01020384;
        struct csky_machine *machine = program_open(program);
        csky_run(machine, 100);
        cr_expect_eq(csky_fault(machine)->kind, CSKY_FAULT_TRAP, "%s", row->text);
        text_of(0, row->code, text);
        cr_expect_str_eq(text, row->text);
        cr_expect_eq(csky_register(machine, 1), row->r1, "%s: r1 %#" PRIx32, row->text,
                     csky_register(machine, 1));
        cr_expect_eq(csky_register(machine, 2), row->word2, "%s: word 2 %#" PRIx32, row->text,
                     csky_register(machine, 2));
        cr_expect_eq(csky_register(machine, 3), row->moved, "%s: moved %#" PRIx32, row->text,
                     csky_register(machine, 3));
        const uint32_t *word0 = csky_memory(machine, PROGRAM_DATA, 4);
        cr_expect_eq(*word0, row->word0 != 0 ? row->word0 : 0x8899aabbu, "%s: word 0 %#" PRIx32,
                     row->text, *word0);
        csky_close(machine);
    }
}

Test(csky_isa, pushed_registers_lie_in_order_and_come_back) {
    struct program *program =
        PROGRAM(MOVI(4, 44), MOVI(5, 55), MOVI16(15, 15), MOVI16(16, 16), MOVI16(28, 28),
                MOV(1, 14), 0xebe00132 /* push r4-r5, r15, r16, r28 */, MOV(2, 14), MOVI(4, 0),
                MOVI(5, 0), MOVI16(16, 0), MOVI16(28, 0), MOVIH(15, 0x0801), ORI(15, 15, 0x0440),
                ST_W(15, 14, 8), 0xebc00132 /* pop r4-r5, r15, r16, r28 */);
    program->code_count = 0x20; /* to 0x08010440 */
    program_put(program, MOV(3, 14));
    program_put(program, 0);
    struct csky_machine *machine = program_open(program);
    csky_run(machine, 100);
    cr_expect_eq(csky_pc(machine), 0x08010442u, "pop returns, to %#" PRIx32, csky_pc(machine));
    cr_expect_eq(csky_register(machine, 1) - csky_register(machine, 2), 20);
    cr_expect_eq(csky_register(machine, 3), csky_register(machine, 1));
    static const uint32_t expected[][2] = {{4, 44}, {5, 55}, {15, 0x08010440}, {16, 16}, {28, 28}};
    for (size_t i = 0; i < COUNT(expected); ++i) {
        cr_expect_eq(csky_register(machine, expected[i][0]), expected[i][1], "r%" PRIu32,
                     expected[i][0]);
        const uint32_t *word = csky_memory(machine, csky_register(machine, 2) + 4 * (uint32_t)i, 4);
        cr_expect_eq(*word, expected[i][1], "pushed word %zu", i);
    }
    csky_close(machine);
}

/* --- The program counter -----------------------------------------------------------------------
 */

/* At 0x08010418, with r2 and C as given; r3 is 0x08010421, and r15 0x08010431. */
struct branch {
    uint32_t code;
    const char *text;
    uint32_t r2, c, to, link; /* 0: r15 as it was */
};
#define HERE (PROGRAM_CODE + 24)
static const struct branch branches[] = {
    {0x0404, "br 0x8010420", 0, 0, HERE + 8, 0},
    {0x07fc, "br 0x8010410", 0, 0, HERE - 8, 0},
    {0xe8000004, "br 0x8010420", 0, 0, HERE + 8, 0},
    {0xe800fffc, "br 0x8010410", 0, 0, HERE - 8, 0},
    {0x0804, "bt 0x8010420", 0, 1, HERE + 8, 0},
    {0x0804, "bt 0x8010420", 0, 0, HERE + 2, 0},
    {0xe8600004, "bt 0x8010420", 0, 1, HERE + 8, 0},
    {0xe8600004, "bt 0x8010420", 0, 0, HERE + 4, 0},
    {0x0c04, "bf 0x8010420", 0, 0, HERE + 8, 0},
    {0x0c04, "bf 0x8010420", 0, 1, HERE + 2, 0},
    {0xe8400004, "bf 0x8010420", 0, 0, HERE + 8, 0},
    {0xe9020004, "bez r2, 0x8010420", 0, 0, HERE + 8, 0},
    {0xe9020004, "bez r2, 0x8010420", 1, 0, HERE + 4, 0},
    {0xe9220004, "bnez r2, 0x8010420", 1, 0, HERE + 8, 0},
    {0xe9220004, "bnez r2, 0x8010420", 0, 0, HERE + 4, 0},
    {0xe9420004, "bhz r2, 0x8010420", 1, 0, HERE + 8, 0},
    {0xe9420004, "bhz r2, 0x8010420", 0, 0, HERE + 4, 0},
    {0xe9620004, "blsz r2, 0x8010420", 0, 0, HERE + 8, 0},
    {0xe9620004, "blsz r2, 0x8010420", 1, 0, HERE + 4, 0},
    {0xe9820004, "blz r2, 0x8010420", UINT32_MAX, 0, HERE + 8, 0},
    {0xe9820004, "blz r2, 0x8010420", 0, 0, HERE + 4, 0},
    {0xe9a20004, "bhsz r2, 0x8010420", 0, 0, HERE + 8, 0},
    {0xe9a20004, "bhsz r2, 0x8010420", UINT32_MAX, 0, HERE + 4, 0},
    {0xe8220004, "bnezad r2, 0x8010420", 2, 0, HERE + 8, 0},
    {0xe8220004, "bnezad r2, 0x8010420", 1, 0, HERE + 4, 0},
    {0xe9c2effc, "bloop r2, 0x8010410, 0x8010414", 2, 0, HERE - 8, 0},
    {0xe9c2effc, "bloop r2, 0x8010410, 0x8010414", 1, 0, HERE + 4, 0},
    {0xe0000004, "bsr 0x8010420", 0, 0, HERE + 8, HERE + 4},
    {0xe3fffffc, "bsr 0x8010410", 0, 0, HERE - 8, HERE + 4},
    {0x780c, "jmp r3", 0, 0, HERE + 8, 0},
    {0xe8c30000, "jmp r3", 0, 0, HERE + 8, 0},
    {0x7bcd, "jsr r3", 0, 0, HERE + 8, HERE + 2},
    {0xe8e30000, "jsr r3", 0, 0, HERE + 8, HERE + 4},
    {0x7bfd, "jsr r15", 0, 0, HERE + 24, HERE + 2},
    {0x783c, "rts", 0, 0, HERE + 24, 0},
    {0xe8cf0000, "rts", 0, 0, HERE + 24, 0},
    {0xeac00004, "jmpi [0x8010428]", 0, 0, PROGRAM_CODE + 0x100, 0},
    {0xeae00004, "jsri [0x8010428]", 0, 0, PROGRAM_CODE + 0x100, HERE + 4},
};

Test(csky_isa, branches_go_where_they_point) {
    char text[64];
    for (size_t i = 0; i < COUNT(branches); ++i) {
        const struct branch *row = &branches[i];
        struct program *program =
            PROGRAM(MOVIH(3, 0x0801), ORI(3, 3, 0x0421), MOVIH(15, 0x0801), ORI(15, 15, 0x0431),
                    row->r2 == UINT32_MAX ? 0xc400248eu /* nor r14, r0, r0 */
                                          : MOVI16(14, row->r2 & 255u),
                    MOV(2, 14), row->c != 0 ? 0x6400 : 0x6402);
        cr_assert_eq(program->code_count, 12);
        program_put(program, row->code);
        program->code_count = 20; /* 0x08010428, the constant of jmpi */
        program_put(program, (PROGRAM_CODE + 0x100) & 0xffffu);
        program_put(program, PROGRAM_CODE >> 16);
        struct csky_machine *machine = program_open(program);
        cr_expect_eq(csky_run(machine, 8), CSKY_EXHAUSTED, "row %zu: %s", i, row->text);
        text_of(HERE, row->code, text);
        cr_expect_str_eq(text, row->text);
        cr_expect_eq(csky_pc(machine), row->to, "row %zu: %s: to %#" PRIx32 ", not %#" PRIx32, i,
                     row->text, csky_pc(machine), row->to);
        cr_expect_eq(csky_register(machine, 15), row->link != 0 ? row->link : 0x08010431u,
                     "row %zu: %s: link %#" PRIx32, i, row->text, csky_register(machine, 15));
        csky_close(machine);
    }
}

/* A comparison of r2 with r3, or with a constant, and the branch behind it, which are one piece of
 * the interpreter's code: each comparison with both outcomes, under both branches. */
Test(csky_isa, a_comparison_decides_the_branch_behind_it) {
    static const struct {
        const char *what;
        uint32_t code, r2, r3;
        bool holds;
    } comparisons[] = {
        {"cmphs r2, r3", 0xc4620420, 3, 3, true}, {"cmphs r2, r3", 0xc4620420, 2, 3, false},
        {"cmplt r2, r3", 0xc4620440, 2, 3, true}, {"cmplt r2, r3", 0xc4620440, 3, 3, false},
        {"cmpne r2, r3", 0xc4620480, 2, 3, true}, {"cmpne r2, r3", 0xc4620480, 3, 3, false},
        {"cmphsi r2, 32", 0x3a1f, 32, 0, true},   {"cmphsi r2, 32", 0x3a1f, 31, 0, false},
        {"cmplti r2, 32", 0x3a3f, 31, 0, true},   {"cmplti r2, 32", 0x3a3f, 32, 0, false},
        {"cmpnei r2, 31", 0x3a5f, 32, 0, true},   {"cmpnei r2, 31", 0x3a5f, 31, 0, false},
        {"btsti r2, 5", 0x3ac5, 32, 0, true},     {"btsti r2, 5", 0x3ac5, 31, 0, false},
    };
    static const uint32_t branches_if[] = {0x0c02, 0x0802}; /* bf, bt over one instruction */
    for (size_t i = 0; i < COUNT(comparisons) * 2; ++i) {
        bool wanted = i % 2 != 0;
        bool holds = comparisons[i / 2].holds;
        uint32_t code = comparisons[i / 2].code;
        struct csky_machine *machine =
            program_open(PROGRAM(MOVI(2, comparisons[i / 2].r2), MOVI(3, comparisons[i / 2].r3),
                                 MOVI(4, 0), code, branches_if[wanted], MOVI(4, 1), 0));
        char text[64];
        text_of(0, code, text);
        cr_expect_str_eq(text, comparisons[i / 2].what);
        cr_expect_eq(csky_run(machine, 100), CSKY_FAULTED);
        cr_expect_eq(csky_register(machine, 4), holds != wanted, "%s, %s", text,
                     wanted ? "bt" : "bf");
        cr_expect_eq(csky_instructions(machine), holds == wanted ? 5u : 6u, "%s, %s", text,
                     wanted ? "bt" : "bf");
        csky_close(machine);
    }
}

/* --- Other texts, and any pattern ---------------------------------------------------------------
 */

Test(csky_isa, operands_of_all_kinds_read_well) {
    static const struct {
        uint32_t code;
        const char *text;
    } texts[] = {
        {0x0000, "bkpt"},
        {0x14d3, "push r4-r6, r15"},
        {0x1490, "pop r15"},
        {0xebe00158, "push r4-r11, r15, r16-r17, r28"},
        {0xd0801c22, "ldm r4-r6, (r0)"},
        {0xd4801c20, "stm r4-r4, (r0)"},
        {0x1035, "lrw r1, [0x1054]"},
        {0x03ff, "lrw r7, [0x1200]"},
        {0xea8d001b, "lrw r13, [0x106c]"},
        {0xcc2c0002, "grs r1, 0x1004"},
        {0xcc200004, "lrs.b r1, (r28, 0x4)"},
        {0xcc380004, "srs.w r1, (r28, 0x10)"},
        {0xc0006021, "mfcr r1, cr<0, 0>"},
        {0xc0416421, "mtcr r1, cr<1, 2>"},
        {0xc1807020, "psrclr ee, ie"},
        {0xc0807420, "psrset ie"},
        {0xc0002420, "trap 1"},
        {0xc0601c20, "idly 4"},
        {0xc0000420, "sync"},
        {0xf4022021, "flds fr1, (r2, 0x8)"},
        {0xf4622841, "fldrs fr1, (r2, r3 << 2)"},
        {0xf4423001, "fldms fr1-fr3, (r2)"},
        {0xf4021b21, "fmfvrl r1, fr2"},
        {0xf5281c58, "fmovis fr8, 12.65625"},
        {0x14c9, ".short 0x14c9"},
        {0xf7ffffff, ".short 0xf7ff, 0xffff"},
        {0xc4025f10, ".short 0xc402, 0x5f10"},
        {0xd0620201, ".short 0xd062, 0x0201"},
    };
    char text[64];
    for (size_t i = 0; i < COUNT(texts); ++i) {
        text_of(0x1000, texts[i].code, text);
        cr_expect_str_eq(text, texts[i].text, "%#" PRIx32 ": %s, not %s", texts[i].code, text,
                         texts[i].text);
    }
}

static void assert_text(uint16_t first, uint16_t second) {
    char text[64];
    char small[8];
    const unsigned bytes = csky_disassemble(PROGRAM_CODE, first, second, text, sizeof(text));
    const unsigned expected = first >> 14 == 3 ? 4 : 2;
    cr_assert(bytes == 0 || bytes == expected, "%04x %04x: %u bytes", first, second, bytes);
    cr_assert_eq(bytes == 0, strncmp(text, ".short", 6) == 0, "%04x %04x: %s", first, second, text);
    cr_assert(strlen(text) >= 2 && strlen(text) < sizeof(text) - 1, "%04x %04x: %s", first, second,
              text);
    csky_disassemble(PROGRAM_CODE, first, second, small, sizeof(small));
    cr_assert_eq(strncmp(small, text, sizeof(small) - 1), 0, "%s cut to %s", text, small);
}

Test(csky_isa, any_pattern_has_a_text_and_a_length) {
    struct trace_text_random random = {trace_text_seed()};
    for (uint32_t first = 0; first < 0xc000; ++first) {
        assert_text((uint16_t)first, 0);
    }
    for (unsigned i = 0; i < 200000; ++i) {
        assert_text((uint16_t)(0xc000 | trace_text_below(&random, 0x4000)),
                    (uint16_t)trace_text_below(&random, 0x10000));
    }
}

/* Executes words of any kind; whatever they do, the machine says how it ended, and where. */
Test(csky_isa, any_code_ends_in_one_of_the_known_ways) {
    struct trace_text_random random = {trace_text_seed()};
    for (unsigned round = 0; round < 1000; ++round) {
        struct program *program = PROGRAM(MOVIH(BASE, PROGRAM_DATA >> 16), MOV(4, 14));
        for (unsigned i = 0; i < 200; ++i) {
            program_put(
                program,
                rows[trace_text_below(&random, COUNT(rows))].code ^
                    (trace_text_below(&random, 3) != 0 ? 0 : 1u << trace_text_below(&random, 16)));
        }
        struct csky_machine *machine = program_open(program);
        const enum csky_end end = csky_run(machine, 5000);
        cr_assert(end == CSKY_FAULTED || end == CSKY_EXHAUSTED || end == CSKY_EXITED);
        cr_assert_leq(csky_instructions(machine), 5000);
        cr_assert(end != CSKY_FAULTED || csky_fault(machine)->pc == csky_pc(machine));
        csky_close(machine);
    }
}
