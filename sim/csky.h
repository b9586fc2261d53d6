/* SPDX-License-Identifier: Apache-2.0
 *
 * An emulated CK804 (C-SKY V2, little-endian) that runs one static ELF program: whole, from
 * its entry to its exit, or function by function. Its memory is its own and lies at no
 * particular place of the host, so that a simulated W800 may live in the same process.
 */
#ifndef CSKY_H
#define CSKY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct csky_machine;

#define CSKY_REGISTERS 32
#define CSKY_STACK_POINTER 14
#define CSKY_LINK_REGISTER 15
#define CSKY_UNLIMITED UINT64_MAX

enum csky_end {
    CSKY_EXITED,    /* the program ended itself: csky_status */
    CSKY_RETURNED,  /* a function called by csky_call came back */
    CSKY_FAULTED,   /* csky_fault says why */
    CSKY_EXHAUSTED, /* the limit of instructions was reached; may be run on */
};

enum csky_fault_kind {
    CSKY_FAULT_ACCESS,     /* no memory there, or memory without that right */
    CSKY_FAULT_MISALIGNED, /* where the chip traps */
    CSKY_FAULT_ENCODING,   /* no instruction of this CPU */
    CSKY_FAULT_DIVIDE,     /* by zero */
    CSKY_FAULT_TRAP,       /* bkpt, or a trap that is no system call */
    CSKY_FAULT_SYSTEM_CALL /* one that is not served */
};

/* What ended the run. The instruction did not take effect. */
struct csky_fault {
    enum csky_fault_kind kind;
    uint32_t pc;
    uint32_t instruction; /* 16 or 32 bits; the first halfword is the upper one */
    uint32_t bytes;       /* of the instruction: 2 or 4; 0 if it could not be read */
    uint32_t address;     /* of the access */
    uint32_t access;      /* bytes of it; 0 if it was none */
    bool write;
};

/* Loads an ELF program. NULL if it cannot be, with one line in `message` that names the file
 * and the reason. */
struct csky_machine *csky_open(const char *path, char *message, size_t room);
void csky_close(struct csky_machine *machine);

/* What the program reads and writes by system calls: bytes done, 0 at the end of the input,
 * negative for an error. Without this call the host's own descriptors 0, 1 and 2. */
struct csky_console {
    void *context;
    long (*read)(void *context, int descriptor, void *bytes, size_t count);
    long (*write)(void *context, int descriptor, const void *bytes, size_t count);
};
void csky_set_console(struct csky_machine *machine, const struct csky_console *console);

/* Runs from where it stands until it ends or `limit` more instructions have been executed. */
enum csky_end csky_run(struct csky_machine *machine, uint64_t limit);

/* Calls one function as the C-SKY ABI does: up to four words in r0 to r3, the result from r0,
 * on the program's stack. Registers are put back. CSKY_RETURNED, or what else ended it. */
enum csky_end csky_call(struct csky_machine *machine, uint32_t function, const uint32_t *arguments,
                        unsigned argument_count, uint32_t *result, uint64_t limit);

int csky_status(const struct csky_machine *machine);
const struct csky_fault *csky_fault(const struct csky_machine *machine);

/* Instructions executed since it was opened, each counted once, whatever csky_end. */
uint64_t csky_instructions(const struct csky_machine *machine);

uint32_t csky_register(const struct csky_machine *machine, unsigned index);
uint32_t csky_pc(const struct csky_machine *machine);

/* The memory behind `count` guest bytes, readable and writable whatever the guest's rights;
 * NULL if they do not all lie in one piece of it. */
void *csky_memory(struct csky_machine *machine, uint32_t address, uint32_t count);

/* A symbol's value and size from the program's table; false if there is none. */
bool csky_symbol(const struct csky_machine *machine, const char *name, uint32_t *address,
                 uint32_t *size);
/* The function that holds an address; NULL if none. */
const char *csky_function_at(const struct csky_machine *machine, uint32_t address);

/* Calls `watch` each time before the instruction at `address` is executed; csky_instructions
 * is exact then. The watch must not run the machine. */
typedef void csky_watch_fn(void *context, struct csky_machine *machine);
void csky_watch(struct csky_machine *machine, uint32_t address, csky_watch_fn *watch,
                void *context);

/* Writes one instruction as text; returns its bytes, 2 or 4, or 0 if it is none (then the
 * text is ".short 0x...."). */
unsigned csky_disassemble(uint32_t pc, uint16_t first, uint16_t second, char *text, size_t room);

#endif
