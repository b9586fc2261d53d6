/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine's state, shared by the files csky_*.c, and how they divide the work: csky_load.c
 * fills the memory from an ELF file, csky_memory.c guards it, csky_block.c keeps decoded code,
 * csky_exec.c runs it, csky_fpu.c computes, csky_machine.c is what csky.h shows of it all.
 */
#ifndef CSKY_INTERNAL_H
#define CSKY_INTERNAL_H

#include "csky.h"
#include "csky_isa.h"
#include "elf_symbols.h"

#include <libelf.h>

/* --- Memory ------------------------------------------------------------------------------ */

enum { CSKY_RIGHT_EXECUTE = 1, CSKY_RIGHT_WRITE = 2, CSKY_RIGHT_READ = 4 }; /* as ELF has them */

/* One piece of guest memory. An access of 1 << n bytes is allowed at an offset below room[n]:
 * one comparison checks address, size and right. Piece 0 is empty. */
struct csky_piece {
    uint32_t base;
    uint32_t read_room[3];
    uint32_t write_room[3]; /* 0 while blocks are made of it: see csky_reach_write */
    uint32_t size;
    uint8_t *host;
    uint8_t rights;
    uint32_t code_low, code_high; /* of the code that blocks are made of */
    uint32_t unused[2];           /* 64 bytes in all: a piece is found by a shift */
};
#define CSKY_PIECES_MAX 64u

/* The stack: between flash, SRAM, PSRAM and the peripherals of a W800, nothing lies there.
 * It ends where the upper half of the address space begins. */
#define CSKY_STACK_TOP 0x80000000u
#define CSKY_STACK_BYTES 0x00800000u

/* No memory is at or above this address; a function that csky_call calls returns there. */
#define CSKY_MEMORY_END 0xffff0000u
#define CSKY_RETURN_ADDRESS 0xfffffff0u

/* --- Decoded code ------------------------------------------------------------------------ */

/* An instruction to execute. The piece of memory that it used last will be the first to be
 * looked at when it is executed again: an instruction mostly stays in one. */
struct csky_op {
    const void *handler; /* a label of csky_execute */
    uint32_t immediate;
    uint8_t x, y, z;
    uint8_t piece;
};

#define CSKY_BLOCK_MAX 64u

/* Instructions that are executed in a row, from one that is jumped to up to one that jumps. */
struct csky_block {
    uint32_t pc;
    uint32_t count;  /* of instructions */
    uint32_t after;  /* address of the instruction behind the last */
    uint32_t target; /* of the last, if it branches */
    uint64_t wide;   /* bit i: instruction i has 32 bits */
    uint64_t runs;
    uint64_t missing; /* instructions that were not executed in runs that were cut short */
    struct csky_block *next, *taken; /* once known: the blocks at after and target */
    struct csky_block *older;        /* in the list of all blocks */
    struct csky_block *same_hash;
    uint32_t function;
    uint32_t lead;        /* 1 if ops[0] calls the watches, else 0 */
    struct csky_op ops[]; /* lead, then the instructions (two of which may be one op), then
                             the way to the next block unless the last one branches */
};

#define CSKY_HASH_SIZE 4096u
static inline uint32_t csky_hash(uint32_t pc) { return (pc >> 1 ^ pc >> 13) % CSKY_HASH_SIZE; }

/* A function, or what lies between functions. */
struct csky_function {
    uint32_t start;
    uint32_t size;
    const char *name; /* NULL between functions */
    uint64_t instructions;
    uint64_t entries;
};

struct csky_watch {
    uint32_t address;
    csky_watch_fn *call;
    void *context;
};

/* --- The machine --------------------------------------------------------------------------- */

struct csky_machine {
    uint32_t r[CSKY_REGISTERS];
    uint32_t pc;
    uint32_t carry; /* PSR.C, 0 or 1 */
    uint32_t psr;   /* its other bits */
    uint64_t accumulator;
    uint32_t fr[16];
    uint32_t fcr, fesr; /* of the floating-point unit */
    uint64_t instructions;

    uint32_t piece_count;
    struct csky_piece pieces[CSKY_PIECES_MAX];

    struct csky_block *blocks; /* all of them, the newest first */
    struct csky_block *hash[CSKY_HASH_SIZE];
    struct csky_block *draft, *partial; /* being made; made for the end of a limited run */
    size_t block_bytes;
    bool stale; /* blocks no longer are what memory or the watches say */

    struct csky_watch *watches;
    size_t watch_count;
    struct elf_symbols symbols;
    struct csky_function *functions; /* by address; number 0 is all that is no function */
    size_t function_count;
    int descriptor; /* of the file, open as long as its names are used */
    Elf *elf;

    struct csky_console console;
    struct csky_fault fault;
    bool exited;
    bool called; /* by csky_call */
    int status;
};

/* csky_load.c: the program's memory, symbols and entry. NULL, or why it cannot be had. */
const char *csky_load(struct csky_machine *machine, const char *path);
void csky_unload(struct csky_machine *machine);

/* csky_memory.c */
const char *csky_memory_add(struct csky_machine *machine, uint32_t base, uint32_t size,
                            unsigned rights);
void csky_memory_free(struct csky_machine *machine);
struct csky_piece *csky_piece_at(struct csky_machine *machine, uint32_t address);
/* `guarded`: writes take the slow way. */
void csky_rooms_set(struct csky_piece *piece, bool guarded);
/* The slow way of an access that the op's piece does not allow at once. The op learns the
 * piece to try again in; false: a fault, which is recorded. */
bool csky_reach_read(struct csky_machine *machine, struct csky_op *op, uint32_t address,
                     uint32_t bytes, uint32_t alignment);
/* The bytes to write to. If code was decoded from them, the machine is stale afterwards. */
uint8_t *csky_reach_write(struct csky_machine *machine, struct csky_op *op, uint32_t address,
                          uint32_t bytes, uint32_t alignment);
/* The host's bytes behind a guest buffer that has this right; NULL if not all have it. */
void *csky_buffer(struct csky_machine *machine, uint32_t address, uint32_t count, unsigned right);
/* A halfword of code; false if there is none to execute. */
bool csky_fetch(struct csky_machine *machine, uint32_t pc, uint16_t *halfword);

/* csky_block.c */
bool csky_blocks_begin(struct csky_machine *machine);
void csky_blocks_end(struct csky_machine *machine);
/* The labels are csky_execute's, by operation and then by pseudo operation. */
enum csky_pseudo {
    CSKY_PSEUDO_GO_ON = CSKY_OPERATIONS, /* to the block behind this one */
    CSKY_PSEUDO_WATCH,
#define COMPARISON(name, ...) CSKY_PSEUDO_##name##_BT, CSKY_PSEUDO_##name##_BF,
#include "csky_isa.def"
#undef COMPARISON
    CSKY_LABELS
};
/* The block that begins at pc; NULL with the fault recorded if no instruction is there. */
struct csky_block *csky_block_at(struct csky_machine *machine, uint32_t pc,
                                 const void *const *labels);
/* The same, of at most `count` instructions; it is lent until the next call. */
struct csky_block *csky_block_partial(struct csky_machine *machine, uint32_t pc, uint64_t count,
                                      const void *const *labels);
void csky_blocks_flush(struct csky_machine *machine);
uint32_t csky_block_pc(const struct csky_block *block, uint32_t index);
/* Adds up what the blocks counted; they begin anew. */
void csky_blocks_tally(struct csky_machine *machine);
struct csky_function *csky_function_find(const struct csky_machine *machine, uint32_t address);

/* csky_exec.c */
enum csky_end csky_execute(struct csky_machine *machine, uint64_t limit);
/* A fault is recorded as it is found, and placed by whoever knows which instruction it was. */
void csky_fault_set(struct csky_machine *machine, enum csky_fault_kind kind, uint32_t address,
                    uint32_t access, bool write);
void csky_fault_place(struct csky_machine *machine, uint32_t pc);

/* csky_machine.c: trap 0. True if the run goes on; else it exited or is refused. */
bool csky_system_call(struct csky_machine *machine);

/* csky_run.c's: calls `each` for every function that was executed, in address order. */
typedef void csky_count_fn(void *context, const char *name, uint64_t instructions,
                           uint64_t entries);
void csky_counts(struct csky_machine *machine, csky_count_fn *each, void *context);

/* csky_fpu.c: single precision, on the bits of numbers */
#define CSKY_FPU_LESS (-1)
#define CSKY_FPU_UNORDERED (-2)
uint32_t csky_fpu_add(struct csky_machine *machine, uint32_t x, uint32_t y);
uint32_t csky_fpu_subtract(struct csky_machine *machine, uint32_t x, uint32_t y);
uint32_t csky_fpu_multiply(struct csky_machine *machine, uint32_t x, uint32_t y);
uint32_t csky_fpu_divide(struct csky_machine *machine, uint32_t x, uint32_t y);
uint32_t csky_fpu_root(struct csky_machine *machine, uint32_t x);
/* (x * y with the bits of `product` flipped) + (z with those of `addend` flipped) */
uint32_t csky_fpu_accumulate(struct csky_machine *machine, uint32_t x, uint32_t y, uint32_t z,
                             uint32_t product, uint32_t addend);
int csky_fpu_compare(struct csky_machine *machine, uint32_t x, uint32_t y);
bool csky_fpu_unordered(struct csky_machine *machine, uint32_t x, uint32_t y);
bool csky_fpu_differ(struct csky_machine *machine, uint32_t x, uint32_t y);
bool csky_fpu_at_most_zero(struct csky_machine *machine, uint32_t x);
/* Rounding modes as in FCR: to nearest, to zero, up, down. */
uint32_t csky_fpu_to_signed(struct csky_machine *machine, uint32_t x, unsigned mode);
uint32_t csky_fpu_to_unsigned(struct csky_machine *machine, uint32_t x, unsigned mode);
uint32_t csky_fpu_from_integer(struct csky_machine *machine, int64_t x);
uint32_t csky_fpu_immediate(uint32_t operand);
float csky_fpu_value(uint32_t x);

#endif
