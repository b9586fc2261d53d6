/* SPDX-License-Identifier: Apache-2.0
 *
 * The emulated machine: how programs end, what they may not do, and that it counts exactly.
 */
#include "csky_program.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(csky, .timeout = 60);

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- Ends ---------------------------------------------------------------------------------- */

Test(csky, the_program_s_status_is_passed_on) {
    struct csky_machine *machine = program_open(PROGRAM(EXIT(7), EXIT(8)));
    cr_expect_eq(csky_run(machine, CSKY_UNLIMITED), CSKY_EXITED);
    cr_expect_eq(csky_status(machine), 7);
    cr_expect_eq(csky_instructions(machine), 3);
    cr_expect_eq(csky_run(machine, CSKY_UNLIMITED), CSKY_EXITED, "it is over");
    cr_expect_eq(csky_instructions(machine), 3);
    csky_close(machine);
}

struct talk {
    const char *input;
    char output[64];
    size_t output_size;
};

static long talk_read(void *context, int descriptor, void *bytes, size_t count) {
    struct talk *talk = context;
    const size_t length = strlen(talk->input);
    cr_expect_eq(descriptor, 0);
    count = count < length ? count : length;
    memcpy(bytes, talk->input, count);
    talk->input += count;
    return (long)count;
}

static long talk_write(void *context, int descriptor, const void *bytes, size_t count) {
    struct talk *talk = context;
    cr_expect_eq(descriptor, 1);
    memcpy(talk->output + talk->output_size, bytes, count);
    talk->output_size += count;
    return (long)count;
}

/* Reads three bytes at a time and writes them, until a read gives none or an error. */
Test(csky, a_program_talks_through_its_console) {
    struct talk talk = {.input = "abcdefgh"};
    struct csky_machine *machine = program_open(
        PROGRAM(MOVI(0, 0), MOVIH(1, PROGRAM_DATA >> 16), MOVI(2, 3), SYSTEM(63), MOV(2, 0),
                0xe9620007 /* blsz r2, the end */, MOVI(0, 1), SYSTEM(64), BR(-14), EXIT(0)));
    csky_set_console(machine, &(struct csky_console){&talk, talk_read, talk_write});
    cr_expect_eq(csky_run(machine, 1000), CSKY_EXITED);
    cr_expect_eq(talk.output_size, 8);
    cr_expect_eq(memcmp(talk.output, "abcdefgh", 8), 0);
    csky_close(machine);
}

Test(csky, a_buffer_that_is_not_the_program_s_is_an_error_for_it) {
    static const struct {
        uint32_t number, address, count, result;
    } calls[] = {
        {64, 0x30000000, 1, (uint32_t)-14},      /* nothing there */
        {64, PROGRAM_DATA, 4097, (uint32_t)-14}, /* partly */
        {63, PROGRAM_CODE, 1, (uint32_t)-14},    /* not to be written */
        {64, 0x30000000, 0, 0},                  /* no byte of it */
        {64, PROGRAM_DATA + 4095, 1, 1},
    };
    for (size_t i = 0; i < COUNT(calls); ++i) {
        struct talk talk = {.input = "abc"};
        struct csky_machine *machine = program_open(PROGRAM(
            MOVI(0, 1), MOVIH(1, calls[i].address >> 16), ORI(1, 1, calls[i].address & 0xffff),
            MOVI16(2, calls[i].count), SYSTEM(calls[i].number), 0));
        csky_set_console(machine, &(struct csky_console){&talk, talk_read, talk_write});
        csky_run(machine, 100);
        cr_expect_eq(csky_register(machine, 0), calls[i].result, "row %zu: %" PRIi32, i,
                     (int32_t)csky_register(machine, 0));
        csky_close(machine);
    }
}

Test(csky, the_stack_begins_empty_with_no_arguments) {
    struct csky_machine *machine = program_open(PROGRAM(0));
    const uint32_t top = csky_register(machine, CSKY_STACK_POINTER);
    const uint32_t *words = csky_memory(machine, top, 32);
    cr_assert_not_null(words);
    cr_expect_eq(top % 8, 0);
    for (unsigned i = 0; i < 8; ++i) {
        cr_expect_eq(words[i], 0, "word %u", i);
    }
    cr_expect_not_null(csky_memory(machine, top - (1u << 20), 1u << 20), "a megabyte of it");
    csky_close(machine);
}

/* --- Faults -------------------------------------------------------------------------------- */

/* With r0 = 0, r1 = PROGRAM_DATA, r2 = PROGRAM_CODE, r3 = 0x30000000, r4 and r6 = 2 and 8 below
 * the data's end, r5 = 1, r7 = 1 and r14 = 0. */
struct fault_row {
    const char *what;
    uint32_t code;
    enum csky_fault_kind kind;
    uint32_t address, access;
    bool write;
};
#define END (PROGRAM_DATA + 4096)
static const struct fault_row faults[] = {
    {"load from nowhere", 0xd8032001, CSKY_FAULT_ACCESS, 0x30000004, 4, false},
    {"store to nowhere", 0xdc030003, CSKY_FAULT_ACCESS, 0x30000003, 1, true},
    {"store to code", 0xdc021001, CSKY_FAULT_ACCESS, PROGRAM_CODE + 2, 2, true},
    {"load behind the data", 0xd8012400, CSKY_FAULT_ACCESS, END, 4, false},
    {"load from 0", 0xd8000000, CSKY_FAULT_ACCESS, 0, 1, false},
    {"load a word at 2", 0xd8042000, CSKY_FAULT_MISALIGNED, END - 2, 4, false},
    {"store a word at 2", 0xdc042000, CSKY_FAULT_MISALIGNED, END - 2, 4, true},
    {"load a halfword at 1", 0xd0a10421, CSKY_FAULT_MISALIGNED, PROGRAM_DATA + 1, 2, false},
    {"load several from 2", 0xd0041c21, CSKY_FAULT_MISALIGNED, END - 2, 4, false},
    {"load several across the end", 0xd0c61c23, CSKY_FAULT_ACCESS, END, 4, false},
    {"store several across the end", 0xd4c61c23, CSKY_FAULT_ACCESS, END, 4, true},
    {"push to nowhere", 0x14d3, CSKY_FAULT_ACCESS, 0xfffffff0, 4, true},
    {"an unknown instruction", 0xc4000000, CSKY_FAULT_ENCODING, 0, 0, false},
    {"an unknown short one", 0x14e0, CSKY_FAULT_ENCODING, 0, 0, false},
    {"division by zero", 0xc4018020, CSKY_FAULT_DIVIDE, 0, 0, false},
    {"signed division by zero", 0xc4018040, CSKY_FAULT_DIVIDE, 0, 0, false},
    {"long division by zero", 0xf801e260, CSKY_FAULT_DIVIDE, 0, 0, false},
    {"a breakpoint", 0x0000, CSKY_FAULT_TRAP, 0, 0, false},
    {"another trap", 0xc0002420, CSKY_FAULT_TRAP, 0, 0, false},
    {"sleep", 0xc0004c20, CSKY_FAULT_TRAP, 0, 0, false},
    {"an unknown control register", 0xc0206020, CSKY_FAULT_ENCODING, 0, 0, false},
    {"an unknown system call", TRAP0, CSKY_FAULT_SYSTEM_CALL, 0, 0, false},
};
#define FAULT_AFTER 10u /* instructions */
#define FAULT_AT (PROGRAM_CODE + 36)

static struct csky_machine *machine_about_to(uint32_t code) {
    struct program *program =
        PROGRAM(MOVIH(1, PROGRAM_DATA >> 16), MOVIH(2, PROGRAM_CODE >> 16),
                ORI(2, 2, PROGRAM_CODE & 0xffff), MOVIH(3, 0x3000), ORI(4, 1, 4094), MOVI16(5, 1),
                ORI(6, 1, 4088), MOVI(7, 1), MOVI16(14, 0), MOVI(0, 0));
    cr_assert_eq(program->code_count * 2, FAULT_AT - PROGRAM_CODE);
    program_put(program, code);
    program_put(program, MOVI(0, 1));
    program_put(program, 0);
    return program_open(program);
}

Test(csky, a_fault_is_described_and_undone) {
    for (size_t i = 0; i < COUNT(faults); ++i) {
        const struct fault_row *row = &faults[i];
        const uint32_t code = row->code;
        struct csky_machine *machine = machine_about_to(code);
        uint32_t before[CSKY_REGISTERS];
        cr_assert_eq(csky_run(machine, FAULT_AFTER), CSKY_EXHAUSTED, "%s", row->what);
        for (unsigned r = 0; r < CSKY_REGISTERS; ++r) {
            before[r] = csky_register(machine, r);
        }
        for (unsigned again = 0; again < 2; ++again) {
            cr_expect_eq(csky_run(machine, 10), CSKY_FAULTED, "%s", row->what);
            const struct csky_fault *fault = csky_fault(machine);
            cr_expect(fault->kind == row->kind && fault->pc == FAULT_AT &&
                          fault->instruction == code &&
                          fault->bytes == (code > UINT16_MAX ? 4u : 2u) &&
                          fault->address == row->address && fault->access == row->access &&
                          fault->write == row->write,
                      "%s: kind %d, pc %#" PRIx32 ", %#" PRIx32 " (%" PRIu32 "), %#" PRIx32
                      " (%" PRIu32 "), write %d",
                      row->what, (int)fault->kind, fault->pc, fault->instruction, fault->bytes,
                      fault->address, fault->access, (int)fault->write);
            cr_expect_eq(csky_pc(machine), FAULT_AT, "%s", row->what);
            cr_expect_eq(csky_instructions(machine), FAULT_AFTER, "%s", row->what);
        }
        for (unsigned r = 0; r < CSKY_REGISTERS; ++r) {
            cr_expect_eq(csky_register(machine, r), before[r], "%s: r%u", row->what, r);
        }
        csky_close(machine);
    }
}

/* Sets a register to an address. */
#define ADDRESS(z, address)                                                                        \
    MOVIH(z, (uint32_t)(address) >> 16), ORI(z, z, (uint32_t)(address)&0xffffu)

/* An instruction twice where it may access memory, so that it knows the place, and then at r1, or
 * r28, where it may not. */
static void check_access(const char *what, uint32_t code, uint32_t at, enum csky_fault_kind kind,
                         uint32_t address) {
    struct csky_machine *machine =
        program_open(PROGRAM(ADDRESS(1, END - 16), ADDRESS(28, END - 16), BSR(15), BSR(13),
                             ADDRESS(1, at), ADDRESS(28, at), BSR(3), 0, code, RTS));
    cr_expect_eq(csky_run(machine, 100), CSKY_FAULTED, "%s", what);
    const struct csky_fault *fault = csky_fault(machine);
    cr_expect(fault->kind == kind && fault->pc == PROGRAM_CODE + 46 && fault->address == address,
              "%s at %#" PRIx32 ": kind %d, pc %#" PRIx32 ", %#" PRIx32, what, at, (int)fault->kind,
              fault->pc, fault->address);
    cr_expect_eq(csky_register(machine, 1), at, "%s at %#" PRIx32 ": r1 %#" PRIx32, what, at,
                 csky_register(machine, 1));
    cr_expect_eq(csky_instructions(machine), 15, "%s at %#" PRIx32, what, at);
    csky_close(machine);
}

/* The instructions that access memory once, as `code`, at r1 or r28, and some that go on from
 * there. Register 2 or fr2 is loaded or stored, r5 is 0. */
#define MEM(code) ((code) | 2u << 21 | 1u << 16)
#define R28(code) ((code) | 2u << 21)
#define AT(code) ((code) | 1u << 16 | 2u)
#define AT_Y(code) (AT(code) | 5u << 21)
#define INDEXED(code) (AT_Y(code) | 1u << 5)
static const struct {
    const char *what;
    uint32_t code;
    uint32_t bytes;
    bool write;
} accesses[] = {
    {"ld.b", MEM(0xd8000000), 1, false},         {"ld.bs", MEM(0xd8004000), 1, false},
    {"ld.h", MEM(0xd8001000), 2, false},         {"ld.hs", MEM(0xd8005000), 2, false},
    {"ld.w", MEM(0xd8002000), 4, false},         {"st.b", MEM(0xdc000000), 1, true},
    {"st.h", MEM(0xdc001000), 2, true},          {"st.w", MEM(0xdc002000), 4, true},
    {"ldr.b", INDEXED(0xd0000000), 1, false},    {"ldr.bs", INDEXED(0xd0001000), 1, false},
    {"ldr.h", INDEXED(0xd0000400), 2, false},    {"ldr.hs", INDEXED(0xd0001400), 2, false},
    {"ldr.w", INDEXED(0xd0000800), 4, false},    {"str.b", INDEXED(0xd4000000), 1, true},
    {"str.h", INDEXED(0xd4000400), 2, true},     {"str.w", INDEXED(0xd4000800), 4, true},
    {"lrs.b", R28(0xcc000000), 1, false},        {"lrs.h", R28(0xcc040000), 2, false},
    {"lrs.w", R28(0xcc080000), 4, false},        {"srs.b", R28(0xcc100000), 1, true},
    {"srs.h", R28(0xcc140000), 2, true},         {"srs.w", R28(0xcc180000), 4, true},
    {"ldbi.b", AT(0xd0008000), 1, false},        {"ldbi.bs", AT(0xd0009400), 1, false},
    {"ldbi.h", AT(0xd0008400), 2, false},        {"ldbi.hs", AT(0xd0009000), 2, false},
    {"ldbi.w", AT(0xd0008800), 4, false},        {"pldbi.d", AT(0xd0008c00), 4, false},
    {"stbi.b", AT(0xd4008000), 1, true},         {"stbi.h", AT(0xd4008400), 2, true},
    {"stbi.w", AT(0xd4008800), 4, true},         {"ldbir.b", AT_Y(0xd000a000), 1, false},
    {"ldbir.bs", AT_Y(0xd000b000), 1, false},    {"ldbir.h", AT_Y(0xd000a400), 2, false},
    {"ldbir.hs", AT_Y(0xd000b400), 2, false},    {"ldbir.w", AT_Y(0xd000a800), 4, false},
    {"pldbir.d", AT_Y(0xd000ac00), 4, false},    {"stbir.b", AT_Y(0xd400a000), 1, true},
    {"stbir.h", AT_Y(0xd400a400), 2, true},      {"stbir.w", AT_Y(0xd400a800), 4, true},
    {"flds", AT(0xf4002000), 4, false},          {"fsts", AT(0xf4002400), 4, true},
    {"fldrs", AT_Y(0xf4002800), 4, false},       {"fstrs", AT_Y(0xf4002c00), 4, true},
    {"fldms", AT(0xf4003000), 4, false},         {"fstms", AT(0xf4003400), 4, true},
    {"ldm r2", AT(0xd0001c20) & ~31u, 4, false}, {"stm r2", AT(0xd4001c20) & ~31u, 4, true},
};

Test(csky, an_access_is_checked_each_time) {
    for (size_t i = 0; i < COUNT(accesses); ++i) {
        const char *what = accesses[i].what;
        const uint32_t code = accesses[i].code;
        static const uint32_t nowhere[] = {END, PROGRAM_DATA - 4, 0x30000000, 0, 0xfffffffc};
        for (size_t j = 0; j < COUNT(nowhere); ++j) {
            check_access(what, code, nowhere[j], CSKY_FAULT_ACCESS, nowhere[j]);
        }
        if (accesses[i].write) {
            check_access(what, code, PROGRAM_CODE, CSKY_FAULT_ACCESS, PROGRAM_CODE);
        }
        for (uint32_t odd = 1; odd < accesses[i].bytes; ++odd) {
            check_access(what, code, END - 16 + odd, CSKY_FAULT_MISALIGNED, END - 16 + odd);
        }
    }
    /* the second one of two registers */
    check_access("ldm r2-r3", 0xd0411c21, END - 4, CSKY_FAULT_ACCESS, END);
    check_access("stm r2-r3", 0xd4411c21, END - 4, CSKY_FAULT_ACCESS, END);
    check_access("pldbi.d r2", AT(0xd0008c00), END - 4, CSKY_FAULT_ACCESS, END);
    check_access("fldms fr2-fr3", AT(0xf4003000) | 1u << 21, END - 4, CSKY_FAULT_ACCESS, END);
    check_access("fstms fr2-fr3", AT(0xf4003400) | 1u << 21, END - 4, CSKY_FAULT_ACCESS, END);
}

Test(csky, code_is_executed_only_where_it_may_be) {
    static const struct {
        const char *what;
        uint32_t to, bytes;
    } jumps[] = {{"data", PROGRAM_DATA, 0},
                 {"nothing", 0x30000000, 0},
                 {"the return of a call that was not", 0xfffffff0, 0}};
    for (size_t i = 0; i < COUNT(jumps); ++i) {
        struct csky_machine *machine = program_open(PROGRAM(
            MOVIH(1, jumps[i].to >> 16), ORI(1, 1, jumps[i].to & 0xffff), 0x7804 /* jmp r1 */));
        cr_expect_eq(csky_run(machine, 10), CSKY_FAULTED, "%s", jumps[i].what);
        cr_expect_eq(csky_fault(machine)->kind, CSKY_FAULT_ACCESS, "%s", jumps[i].what);
        cr_expect_eq(csky_fault(machine)->pc, jumps[i].to, "%s", jumps[i].what);
        cr_expect_eq(csky_fault(machine)->bytes, 0, "%s", jumps[i].what);
        cr_expect_eq(csky_instructions(machine), 3, "%s", jumps[i].what);
        csky_close(machine);
    }
}

Test(csky, running_off_the_end_of_code_faults_there) {
    struct csky_machine *machine = program_open(PROGRAM(NOP, NOP));
    cr_expect_eq(csky_run(machine, 10), CSKY_FAULTED);
    cr_expect_eq(csky_fault(machine)->pc, PROGRAM_CODE + 4);
    cr_expect_eq(csky_instructions(machine), 2);
    csky_close(machine);
}

/* --- Limits -------------------------------------------------------------------------------- */

/* r1 and r2 count the rounds, of three instructions each. */
static struct program *counting(void) {
    return PROGRAM(MOVI(2, 0), ADDI(1, 1), ADDI(2, 1), BNEZ(1, -2));
}

Test(csky, any_division_of_a_run_is_the_same_run) {
    for (uint64_t step = 1; step < 12; ++step) {
        struct csky_machine *machine = program_open(counting());
        uint64_t done = 0;
        while (done < 500) {
            cr_assert_eq(csky_run(machine, step), CSKY_EXHAUSTED);
            done += step;
            cr_assert_eq(csky_instructions(machine), done, "steps of %" PRIu64, step);
        }
        struct csky_machine *whole = program_open(counting());
        csky_run(whole, done);
        cr_expect_eq(csky_pc(machine), csky_pc(whole), "steps of %" PRIu64, step);
        cr_expect_eq(csky_register(machine, 2), csky_register(whole, 2));
        csky_close(machine);
        csky_close(whole);
    }
}

Test(csky, the_condition_bit_lasts_from_run_to_run) {
    struct csky_machine *machine =
        program_open(PROGRAM(0x6400 /* setc */, 0xc4000501 /* mvc r1 */, 0));
    csky_run(machine, 1);
    csky_run(machine, 1);
    cr_expect_eq(csky_register(machine, 1), 1);
    csky_close(machine);
}

Test(csky, a_run_of_nothing_does_nothing) {
    struct csky_machine *machine = program_open(PROGRAM(0));
    cr_expect_eq(csky_run(machine, 0), CSKY_EXHAUSTED);
    cr_expect_eq(csky_pc(machine), PROGRAM_CODE);
    csky_close(machine);
}

/* --- Watches ------------------------------------------------------------------------------- */

struct seen {
    size_t count;
    uint64_t instructions[8];
    uint32_t r2[8], pc[8];
};

static void see(void *context, struct csky_machine *machine) {
    struct seen *seen = context;
    if (seen->count < COUNT(seen->r2)) {
        seen->instructions[seen->count] = csky_instructions(machine);
        seen->r2[seen->count] = csky_register(machine, 2);
        seen->pc[seen->count] = csky_pc(machine);
    }
    seen->count++;
}

Test(csky, a_watch_is_called_before_its_instruction_with_the_exact_count) {
    for (unsigned begun = 0; begun < 2; ++begun) { /* the blocks are there already */
        struct seen seen = {0};
        struct csky_machine *machine = program_open(counting());
        cr_assert_eq(csky_run(machine, begun), CSKY_EXHAUSTED);
        csky_watch(machine, PROGRAM_CODE + 4, see, &seen); /* the middle of the loop */
        csky_run(machine, 30);
        cr_assert_geq(seen.count, 9);
        for (unsigned i = 0; i < COUNT(seen.r2); ++i) {
            cr_expect_eq(seen.instructions[i], 2 + 3 * i);
            cr_expect_eq(seen.r2[i], i);
            cr_expect_eq(seen.pc[i], PROGRAM_CODE + 4);
        }
        csky_close(machine);
    }
}

Test(csky, a_stepped_run_calls_its_watches_once_each) {
    struct seen seen = {0};
    struct csky_machine *machine = program_open(counting());
    csky_watch(machine, PROGRAM_CODE, see, &seen);
    csky_watch(machine, PROGRAM_CODE + 2, see, &seen);
    csky_watch(machine, PROGRAM_CODE + 2, see, &seen);
    for (unsigned i = 0; i < 10; ++i) {
        csky_run(machine, 1);
    }
    cr_expect_eq(seen.count, 1 + 3 * 2);
    csky_close(machine);
}

static void watch_more(void *context, struct csky_machine *machine) {
    csky_watch(machine, PROGRAM_CODE + 4, see, context);
}

Test(csky, a_watch_may_add_one_for_the_next_instruction) {
    struct seen seen = {0};
    struct csky_machine *machine = program_open(counting());
    csky_watch(machine, PROGRAM_CODE + 2, watch_more, &seen);
    csky_run(machine, 3);
    cr_expect_eq(seen.count, 1);
    cr_expect_eq(seen.instructions[0], 2);
    csky_close(machine);
}

/* --- Calls --------------------------------------------------------------------------------- */

/* add(a, b, c, d); twice(a), which calls it; forever() */
static struct csky_machine *functions(void) {
    struct program *program =
        PROGRAM(EXIT(3) /* 8 bytes */, 0x6004 /* addu r0, r1 */, 0x6008, 0x600c, RTS /* 16 */,
                0x14d0 /* push r15 */, MOV(1, 0), MOVI(2, 0), MOVI(3, 0), BSR(-8),
                0x1490 /* pop r15 */, BR(0) /* 32 */);
    program->symbols[0] = (struct program_symbol){"_start", PROGRAM_CODE, 8};
    program->symbols[1] = (struct program_symbol){"add", PROGRAM_CODE + 8, 8};
    program->symbols[2] = (struct program_symbol){"twice", PROGRAM_CODE + 16, 14};
    program->symbols[3] = (struct program_symbol){"forever", PROGRAM_CODE + 30, 2};
    program->symbol_count = 4;
    return program_open(program);
}

static uint32_t address_of(struct csky_machine *machine, const char *name) {
    uint32_t address = 0;
    uint32_t size = 0;
    cr_assert(csky_symbol(machine, name, &address, &size), "%s", name);
    return address;
}

Test(csky, a_function_is_called_and_everything_put_back) {
    struct csky_machine *machine = functions();
    uint32_t result = 0;
    const uint32_t stack = csky_register(machine, CSKY_STACK_POINTER);
    cr_expect_eq(csky_call(machine, address_of(machine, "add"), (uint32_t[]){1, 20, 300, 4000}, 4,
                           &result, 100),
                 CSKY_RETURNED);
    cr_expect_eq(result, 4321);
    cr_expect_eq(csky_instructions(machine), 4);
    cr_expect_eq(
        csky_call(machine, address_of(machine, "twice"), (uint32_t[]){21}, 1, &result, 100),
        CSKY_RETURNED);
    cr_expect_eq(result, 42);
    cr_expect_eq(csky_instructions(machine), 4 + 10);
    cr_expect_eq(csky_register(machine, 0), 0);
    cr_expect_eq(csky_register(machine, CSKY_STACK_POINTER), stack);
    cr_expect_eq(csky_pc(machine), PROGRAM_CODE);
    cr_expect_eq(csky_run(machine, 100), CSKY_EXITED, "and the program itself can run");
    cr_expect_eq(csky_status(machine), 3);
    cr_expect_eq(csky_call(machine, address_of(machine, "twice"), (uint32_t[]){4}, 1, &result, 100),
                 CSKY_RETURNED, "even after its end");
    cr_expect_eq(result, 8);
    csky_close(machine);
}

Test(csky, a_called_function_has_an_aligned_stack) {
    struct csky_machine *machine = program_open(PROGRAM(0x1421 /* subi r14, 4 */, MOV(0, 14), RTS));
    uint32_t result = 1;
    csky_run(machine, 1);
    cr_expect_eq(csky_call(machine, PROGRAM_CODE + 2, NULL, 0, &result, 10), CSKY_RETURNED);
    cr_expect_eq(result % 8, 0);
    csky_close(machine);
}

Test(csky, a_call_ends_as_a_run_does) {
    struct csky_machine *machine = functions();
    uint32_t result = 77;
    cr_expect_eq(csky_call(machine, address_of(machine, "forever"), NULL, 0, &result, 1000),
                 CSKY_EXHAUSTED);
    cr_expect_eq(csky_instructions(machine), 1000);
    cr_expect_eq(csky_call(machine, 0x30000000, NULL, 0, &result, 10), CSKY_FAULTED);
    cr_expect_eq(csky_call(machine, PROGRAM_CODE, NULL, 0, &result, 10), CSKY_EXITED);
    cr_expect_eq(result, 77, "there is none");
    cr_expect_eq(csky_call(machine, address_of(machine, "add"), (uint32_t[]){1, 2}, 2, &result, 4),
                 CSKY_RETURNED, "as many instructions as it needs");
    csky_close(machine);
}

/* --- Symbols and memory --------------------------------------------------------------------- */

Test(csky, symbols_name_functions_and_their_addresses) {
    struct csky_machine *machine = functions();
    uint32_t address = 1;
    uint32_t size = 1;
    cr_expect(csky_symbol(machine, "twice", &address, &size));
    cr_expect_eq(address, PROGRAM_CODE + 16);
    cr_expect_eq(size, 14);
    cr_expect_not(csky_symbol(machine, "thrice", &address, &size));
    cr_expect_str_eq(csky_function_at(machine, PROGRAM_CODE + 29), "twice");
    cr_expect_str_eq(csky_function_at(machine, PROGRAM_CODE + 30), "forever");
    cr_expect_null(csky_function_at(machine, PROGRAM_CODE + 32));
    cr_expect_null(csky_function_at(machine, 0));
    csky_close(machine);
}

Test(csky, memory_is_reached_only_as_far_as_one_piece_goes) {
    struct csky_machine *machine = program_open(PROGRAM(0));
    cr_expect_not_null(csky_memory(machine, PROGRAM_DATA, 4096));
    cr_expect_not_null(csky_memory(machine, PROGRAM_DATA + 4095, 1));
    cr_expect_null(csky_memory(machine, PROGRAM_DATA, 4097));
    cr_expect_null(csky_memory(machine, PROGRAM_DATA + 4096, 0));
    cr_expect_null(csky_memory(machine, PROGRAM_DATA - 1, 2));
    cr_expect_null(csky_memory(machine, PROGRAM_DATA, UINT32_MAX));
    csky_close(machine);
}

/* Segments without contents, at the W800's places and sizes. */
Test(csky, large_empty_segments_are_memory) {
    struct program *program = PROGRAM(MOVIH(1, 0x3080), 0x2903 /* subi r1, 4 */, LD_W(2, 1, 0),
                                      ADDI(2, 7), ST_W(2, 1, 0), 0);
    program->segments[0] =
        (struct program_segment){0x30000000, PROGRAM_READ | PROGRAM_WRITE, 8u << 20, NULL, 0};
    program->segment_count = 1;
    struct csky_machine *machine = program_open(program);
    csky_run(machine, 100);
    cr_expect_eq(csky_fault(machine)->kind, CSKY_FAULT_TRAP);
    const uint32_t *last = csky_memory(machine, 0x307ffffc, 4);
    cr_assert_not_null(last);
    cr_expect_eq(*last, 7);
    csky_close(machine);
}

/* --- Code that changes ----------------------------------------------------------------------- */

/* Writes `movi r0, n; rts` onto the stack and calls it, for n = 1 to 3; adds up what it says. */
Test(csky, code_that_is_written_is_what_is_executed) {
    struct csky_machine *machine = program_open(
        PROGRAM(MOVI(4, 0), MOVI(5, 0), 0x1424 /* subi r14, 16 */, MOVIH(3, 0x783c), ADDI(4, 1),
                MOVI16(2, 0x3000), 0x6090 /* addu r2, r4 */, 0x6c8c /* or r2, r3 */, ST_W(2, 14, 0),
                0x7bf9 /* jsr r14 */, 0x6140 /* addu r5, r0 */, 0x3c43 /* cmpnei r4, 3 */,
                0x0bf6 /* bt, to addi */, 0));
    csky_run(machine, 200);
    cr_expect_eq(csky_fault(machine)->kind, CSKY_FAULT_TRAP);
    cr_expect_eq(csky_fault(machine)->pc, PROGRAM_CODE + 32, "pc %#" PRIx32, csky_pc(machine));
    cr_expect_eq(csky_register(machine, 5), 1 + 2 + 3);
    cr_expect_eq(csky_instructions(machine), 4 + 3 * 11);
    csky_close(machine);
}

/* One store, executed first beside the code on the stack and then, when that code has been
 * executed, into it. */
Test(csky, a_store_that_missed_code_before_may_hit_it) {
    struct csky_machine *machine = program_open(
        PROGRAM(0x1424 /* subi r14, 16 */, MOVIH(2, 0x783c),
                ORI(2, 2, 0x3001) /* movi r0, 1; rts */, ST_W(2, 14, 0), MOV(1, 14), ADDI(1, 8),
                BSR(11) /* the store, at +40 */, 0x7bf9 /* jsr r14 */, MOV(3, 0), ADDI(2, 1),
                MOV(1, 14), BSR(5), 0x7bf9, 0, NOP, ST_W(2, 1, 0), RTS));
    csky_run(machine, 100);
    cr_expect_eq(csky_fault(machine)->kind, CSKY_FAULT_TRAP);
    cr_expect_eq(csky_register(machine, 3), 1);
    cr_expect_eq(csky_register(machine, 0), 2, "the code as it is now");
    csky_close(machine);
}

/* The store hits an instruction behind itself, in the block that is being executed. */
Test(csky, a_store_into_the_code_just_ahead_takes_effect) {
    struct program *program = PROGRAM(0);
    static const uint16_t code[] = {0x3205 /* movi r2, 5 */,
                                    0xdc61,
                                    0x1004 /* st.h r3, (r1, 8) */,
                                    0x2200 /* addi r2, 1 */,
                                    0x2200,
                                    0x2200,
                                    0x0000};
    program->code_count = 0;
    program->segments[0] = (struct program_segment){
        0x20010000, PROGRAM_READ | PROGRAM_WRITE | PROGRAM_EXECUTE, 4096, code, sizeof(code)};
    program->segment_count = 1;
    program_put(program, MOVIH(1, 0x2001));
    program_put(program, MOVI16(3, 0x2a00)); /* subi r2, 1 */
    program_put(program, 0x7804);            /* jmp r1 */
    struct csky_machine *machine = program_open(program);
    csky_run(machine, 100);
    cr_expect_eq(csky_fault(machine)->pc, 0x2001000c);
    cr_expect_eq(csky_register(machine, 2), 5 + 1 - 1 + 1);
    cr_expect_eq(csky_instructions(machine), 3 + 5);
    csky_close(machine);
}

Test(csky, the_control_registers_of_a_program_alone_are_there) {
    struct csky_machine *machine = program_open(
        PROGRAM(0xc1807420 /* psrset ee, ie */, 0x6400 /* setc */, 0xc0006021 /* mfcr r1, psr */,
                0xc0807020 /* psrclr ie */, 0x6402 /* clrc */, 0xc0006022 /* mfcr r2, psr */,
                0xc0016420 /* mtcr r1, psr */, 0xc0006023, 0));
    csky_run(machine, 100);
    cr_expect_eq(csky_register(machine, 1), 0x141);
    cr_expect_eq(csky_register(machine, 2), 0x100);
    cr_expect_eq(csky_register(machine, 3), 0x141);
    csky_close(machine);
}
