/* SPDX-License-Identifier: Apache-2.0
 *
 * Any instructions on the emulated CK804. They are decoded and disassembled, which must agree,
 * and run: once in one go, once in slices, which must come out the same to the last register and
 * byte, whatever the code does to itself. The guest's memory lies between pages that nobody may
 * touch, so that an access of the emulator beside it ends the process.
 *
 * The input: a byte that says where to begin (bit 0: the copy in SRAM), a byte for the length of
 * the slices (1 to 64 instructions), then the code, which lies in flash and, writable, in SRAM.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../sim/csky_internal.h"
#include "fuzz.h"

const char fuzz_name[] = "csky";

#define FLASH 0x08010000u
#define SRAM 0x20000000u
#define PIECE_BYTES 0x1000u
#define CODE_MAX (PIECE_BYTES / 2)
#define DATA (SRAM + CODE_MAX) /* the registers point here */
#define INPUT_HEADER 2u
#define INSTRUCTIONS 512u
#define CHECKED_MAX 128u /* bytes of code whose text is looked at, too */
#define STACK_BYTES 0x1000u
#define TRANSFER_MAX 64u /* of one system call */

enum { PIECE_FLASH = 1, PIECE_SRAM, PIECE_STACK };

/* What the guest reads is made up, what it writes is added up. */
struct console {
    uint32_t given;
    uint32_t digest;
};

static long console_read(void *context, int descriptor, void *bytes, size_t count) {
    struct console *console = context;
    uint8_t *to = bytes;
    count = count < TRANSFER_MAX ? count : TRANSFER_MAX;
    for (size_t i = 0; i < count; i++) {
        to[i] = (uint8_t)(0x3du * ++console->given);
    }
    return descriptor == STDIN_FILENO ? (long)count : -1;
}

static long console_write(void *context, int descriptor, const void *bytes, size_t count) {
    struct console *console = context;
    const uint8_t *from = bytes;
    count = count < TRANSFER_MAX ? count : TRANSFER_MAX;
    for (size_t i = 0; i < count; i++) {
        console->digest = (console->digest ^ from[i]) * 0x01000193u;
    }
    return descriptor != STDIN_FILENO ? (long)count : -1;
}

/* All that a program can see or change. */
struct state {
    enum csky_end end;
    uint32_t r[CSKY_REGISTERS];
    uint32_t fr[16];
    uint32_t pc, carry, psr, fcr, fesr;
    uint64_t accumulator, instructions;
    struct csky_fault fault;
    bool exited;
    int status;
    struct console console;
    uint8_t sram[PIECE_BYTES];
    uint8_t stack[STACK_BYTES];
};

/* One machine for all inputs: to open one takes longer than to run it. */
static struct csky_machine *machine;
static struct console console;
static struct state fresh, whole, sliced; /* large */

/* --- a machine ---------------------------------------------------------------------------- */

/* A program of 4 KiB of flash and 4 KiB of SRAM, as a file that has a name. */
static void write_program(char path[32]) {
    const struct {
        Elf32_Ehdr header;
        Elf32_Phdr segments[2];
    } file = {
        .header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
                   .e_type = ET_EXEC,
                   .e_machine = 252,
                   .e_version = EV_CURRENT,
                   .e_entry = FLASH,
                   .e_flags = 0x20000000u,
                   .e_ehsize = sizeof(Elf32_Ehdr),
                   .e_phoff = sizeof(Elf32_Ehdr),
                   .e_phentsize = sizeof(Elf32_Phdr),
                   .e_phnum = 2},
        .segments =
            {{.p_type = PT_LOAD, .p_vaddr = FLASH, .p_memsz = PIECE_BYTES, .p_flags = PF_R | PF_X},
             {.p_type = PT_LOAD,
              .p_vaddr = SRAM,
              .p_memsz = PIECE_BYTES,
              .p_flags = PF_R | PF_W | PF_X}},
    };
    const int descriptor = memfd_create("program", 0);
    FUZZ_CHECK(descriptor >= 0 && write(descriptor, &file, sizeof file) == (ssize_t)sizeof file,
               "no file in memory");
    snprintf(path, 32, "/proc/self/fd/%d", descriptor);
}

/* A stack that can be emptied between two runs without asking the system: its last bytes. */
static void shorten_stack(struct csky_piece *stack) {
    const uint32_t less = stack->size - STACK_BYTES;
    munmap(stack->host, less);
    stack->base += less;
    stack->host += less;
    stack->size = STACK_BYTES;
    csky_rooms_set(stack, false);
}

/* Moves a piece between two pages without rights. */
static void fence(struct csky_piece *piece) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t bytes = (piece->size + page - 1) & ~(page - 1);
    uint8_t *between =
        mmap(NULL, bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    FUZZ_CHECK(between != MAP_FAILED &&
                   mprotect(between + page, bytes, PROT_READ | PROT_WRITE) == 0,
               "no memory for the guest");
    munmap(piece->host, piece->size);
    piece->host = between + page + (bytes - piece->size); /* the end is at a page's end */
}

void fuzz_open(void) {
    char path[32];
    char message[256] = "";
    const struct csky_console calls = {&console, console_read, console_write};
    write_program(path);
    machine = csky_open(path, message, sizeof message);
    FUZZ_CHECK(machine != NULL && machine->piece_count == PIECE_STACK + 1, "%s", message);
    csky_set_console(machine, &calls);
    shorten_stack(&machine->pieces[PIECE_STACK]);
    for (uint32_t i = PIECE_FLASH; i <= PIECE_STACK; i++) {
        fence(&machine->pieces[i]);
    }
    for (uint32_t i = 0; i < CSKY_REGISTERS; i++) {
        machine->r[i] = i % 2 != 0 ? DATA + 64 * i : 0x01010101u * i;
    }
    machine->r[CSKY_STACK_POINTER] = CSKY_STACK_TOP - 64;
    machine->r[CSKY_LINK_REGISTER] = FLASH;
    memcpy(fresh.r, machine->r, sizeof fresh.r);
    memcpy(fresh.fr, machine->fr, sizeof fresh.fr);
    fresh.psr = machine->psr;
    fresh.fcr = machine->fcr;
    fresh.fesr = machine->fesr;
}

static void reset(const uint8_t *code, size_t size, uint32_t pc) {
    uint8_t *flash = machine->pieces[PIECE_FLASH].host;
    uint8_t *sram = machine->pieces[PIECE_SRAM].host;
    memcpy(machine->r, fresh.r, sizeof fresh.r);
    memcpy(machine->fr, fresh.fr, sizeof fresh.fr);
    machine->pc = pc;
    machine->carry = 0;
    machine->psr = fresh.psr;
    machine->fcr = fresh.fcr;
    machine->fesr = fresh.fesr;
    machine->accumulator = 0;
    machine->instructions = 0;
    machine->fault = (struct csky_fault){0};
    machine->exited = false;
    machine->status = 0;
    console = (struct console){0};
    memset(flash, 0, PIECE_BYTES);
    memset(sram, 0, PIECE_BYTES);
    memcpy(flash, code, size);
    memcpy(sram, code, size);
    memset(machine->pieces[PIECE_STACK].host, 0, STACK_BYTES);
}

/* What was decoded goes with the run that needed it: the next one takes the same way whatever
 * this one was. */
static void save(struct state *to, enum csky_end end) {
    csky_blocks_flush(machine);
    *to = (struct state){.end = end,
                         .pc = machine->pc,
                         .carry = machine->carry,
                         .psr = machine->psr,
                         .fcr = machine->fcr,
                         .fesr = machine->fesr,
                         .accumulator = machine->accumulator,
                         .instructions = machine->instructions,
                         .fault = end == CSKY_FAULTED ? machine->fault : (struct csky_fault){0},
                         .exited = machine->exited,
                         .status = machine->status,
                         .console = console};
    memcpy(to->r, machine->r, sizeof to->r);
    memcpy(to->fr, machine->fr, sizeof to->fr);
    memcpy(to->sram, machine->pieces[PIECE_SRAM].host, PIECE_BYTES);
    memcpy(to->stack, machine->pieces[PIECE_STACK].host, STACK_BYTES);
}

/* --- judging ------------------------------------------------------------------------------ */

static void check_same(const struct state *one, const struct state *other, uint32_t slice) {
#define SAME(member)                                                                               \
    FUZZ_CHECK(one->member == other->member, #member " is %llx in one go, %llx in slices of %u",   \
               (unsigned long long)one->member, (unsigned long long)other->member, slice)
    SAME(end);
    SAME(pc);
    SAME(instructions);
    SAME(carry);
    SAME(psr);
    SAME(fcr);
    SAME(fesr);
    SAME(accumulator);
    SAME(exited);
    SAME(status);
    SAME(fault.kind);
    SAME(fault.pc);
    SAME(fault.instruction);
    SAME(fault.bytes);
    SAME(fault.address);
    SAME(fault.access);
    SAME(fault.write);
    SAME(console.given);
    SAME(console.digest);
    for (uint32_t i = 0; i < CSKY_REGISTERS; i++) {
        FUZZ_CHECK(one->r[i] == other->r[i], "r%u is %x in one go, %x in slices of %u", i,
                   one->r[i], other->r[i], slice);
    }
    FUZZ_CHECK(memcmp(one->fr, other->fr, sizeof one->fr) == 0, "fr, in slices of %u", slice);
    FUZZ_CHECK(memcmp(one->sram, other->sram, PIECE_BYTES) == 0, "SRAM, in slices of %u", slice);
    FUZZ_CHECK(memcmp(one->stack, other->stack, STACK_BYTES) == 0, "stack, in slices of %u", slice);
}

static uint16_t halfword(const uint8_t *bytes) {
    uint32_t low = bytes[0];
    uint32_t high = bytes[1];
    return (uint16_t)(high << 8 | low);
}

/* Decoder and disassembler are made of one table, and must say the same. */
static void check_decoding(const uint8_t *code, size_t size) {
    char text[96];
    char cut[8];
    for (size_t at = 0; at + 2 <= size; at += 2) {
        struct csky_instruction it = {0};
        const uint32_t pc = FLASH + (uint32_t)at;
        const uint16_t first = halfword(code + at);
        const uint16_t second = at + 4 <= size ? halfword(code + at + 2) : 0;
        const bool good = csky_decode(pc, first, second, &it);
        const unsigned bytes = csky_disassemble(pc, first, second, text, sizeof text);
        FUZZ_CHECK(bytes == (good ? it.bytes : 0), "%04x %04x has %u bytes, disassembled %u", first,
                   second, it.bytes, bytes);
        FUZZ_CHECK(strnlen(text, sizeof text) - 1 < sizeof text - 2, "%04x %04x is \"%.95s\"",
                   first, second, text);
        csky_disassemble(pc, first, second, cut, sizeof cut);
        FUZZ_CHECK(strncmp(cut, text, sizeof cut - 1) == 0 && cut[sizeof cut - 1] == '\0',
                   "%04x %04x is \"%s\", and in little room \"%.8s\"", first, second, text, cut);
        if (good) {
            FUZZ_CHECK(it.operation < CSKY_OPERATIONS && it.format < CSKY_FORMATS && it.x < 32 &&
                           it.y <= 32 && it.z < 32 && it.bytes == (csky_is_wide(first) ? 4 : 2),
                       "%04x %04x is decoded wrong", first, second);
        }
    }
}

static enum csky_end run_sliced(uint32_t slice) {
    enum csky_end end = CSKY_EXHAUSTED;
    for (uint32_t left = INSTRUCTIONS; left > 0 && end == CSKY_EXHAUSTED;) {
        const uint32_t count = slice < left ? slice : left;
        const uint64_t before = machine->instructions;
        end = csky_run(machine, count);
        FUZZ_CHECK(machine->instructions - before <= count, "%llu instructions of %u",
                   (unsigned long long)(machine->instructions - before), count);
        left -= count;
    }
    return end;
}

int fuzz_one(const uint8_t *data, size_t size) {
    if (size < INPUT_HEADER + 2 || size > INPUT_HEADER + CODE_MAX) {
        return -1;
    }
    const uint32_t pc = (data[0] & 1u) != 0 ? SRAM : FLASH;
    const uint32_t slice = 1 + data[1] % 64;
    const uint8_t *code = data + INPUT_HEADER;
    size -= INPUT_HEADER;
    check_decoding(code, size < CHECKED_MAX ? size : CHECKED_MAX);
    reset(code, size, pc);
    save(&whole, csky_run(machine, INSTRUCTIONS));
    reset(code, size, pc);
    save(&sliced, run_sliced(slice));
    check_same(&whole, &sliced, slice);
    return 0;
}
