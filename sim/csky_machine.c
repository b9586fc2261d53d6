/* SPDX-License-Identifier: Apache-2.0
 *
 * What csky.h promises: the machine from outside, and the few system calls that a program
 * without an operating system needs to talk and to end. They are those of Linux for C-SKY:
 * `trap 0` with the number in r7, arguments from r0 on, the result in r0.
 */
#include "csky_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* argc, argv's end, the environment's end, the auxiliary vector's end: all of them zero */
#define STACK_BEGIN_BYTES 64u

/* --- Open and close ------------------------------------------------------------------------ */

static long host_read(void *context, int descriptor, void *bytes, size_t count) {
    (void)context;
    const ssize_t got = descriptor == STDIN_FILENO ? read(descriptor, bytes, count) : -1;
    return got >= 0 ? got : descriptor == STDIN_FILENO ? -errno : -EBADF;
}

static long host_write(void *context, int descriptor, const void *bytes, size_t count) {
    (void)context;
    const bool is_ours = descriptor == STDOUT_FILENO || descriptor == STDERR_FILENO;
    const ssize_t put = is_ours ? write(descriptor, bytes, count) : -1;
    return put >= 0 ? put : is_ours ? -errno : -EBADF;
}

struct csky_machine *csky_open(const char *path, char *message, size_t room) {
    struct csky_machine *machine = calloc(1, sizeof(*machine));
    const char *reason = "out of memory";
    if (machine != NULL) {
        machine->descriptor = -1;
        if (csky_blocks_begin(machine)) {
            reason = csky_load(machine, path);
        }
    }
    if (reason != NULL) {
        snprintf(message, room, "%s: %s", path, reason);
        csky_close(machine);
        return NULL;
    }
    machine->console = (struct csky_console){NULL, host_read, host_write};
    machine->r[CSKY_STACK_POINTER] = CSKY_STACK_TOP - STACK_BEGIN_BYTES;
    return machine;
}

void csky_close(struct csky_machine *machine) {
    if (machine == NULL) {
        return;
    }
    csky_blocks_end(machine);
    csky_unload(machine);
    free(machine->watches);
    free(machine);
}

void csky_set_console(struct csky_machine *machine, const struct csky_console *console) {
    machine->console = *console;
}

/* --- System calls -------------------------------------------------------------------------- */

enum { CALL_READ = 63, CALL_WRITE = 64, CALL_EXIT = 93, CALL_EXIT_GROUP = 94 };
#define CALL_NUMBER_REGISTER 7
#define COUNT_MAX 0x7ffff000u /* as Linux has it */

static long transfer(struct csky_machine *machine, bool write) {
    const struct csky_console *console = &machine->console;
    const int descriptor = (int)machine->r[0];
    const uint32_t count = machine->r[2] < COUNT_MAX ? machine->r[2] : COUNT_MAX;
    if (count == 0) {
        return 0;
    }
    void *bytes =
        csky_buffer(machine, machine->r[1], count, write ? CSKY_RIGHT_READ : CSKY_RIGHT_WRITE);
    if (bytes == NULL) {
        return -EFAULT;
    }
    return write ? console->write(console->context, descriptor, bytes, count)
                 : console->read(console->context, descriptor, bytes, count);
}

bool csky_system_call(struct csky_machine *machine) {
    switch (machine->r[CALL_NUMBER_REGISTER]) {
    case CALL_READ:
    case CALL_WRITE:
        machine->r[0] = (uint32_t)transfer(machine, machine->r[CALL_NUMBER_REGISTER] == CALL_WRITE);
        return true;
    case CALL_EXIT:
    case CALL_EXIT_GROUP:
        machine->status = (int)(machine->r[0] & 255u);
        machine->exited = true;
        return false;
    default:
        csky_fault_set(machine, CSKY_FAULT_SYSTEM_CALL, 0, 0, false);
        return false;
    }
}

/* --- Running ------------------------------------------------------------------------------- */

enum csky_end csky_run(struct csky_machine *machine, uint64_t limit) {
    return machine->exited ? CSKY_EXITED : csky_execute(machine, limit);
}

enum csky_end csky_call(struct csky_machine *machine, uint32_t function, const uint32_t *arguments,
                        unsigned argument_count, uint32_t *result, uint64_t limit) {
    uint32_t r[CSKY_REGISTERS];
    uint32_t fr[sizeof(machine->fr) / sizeof(machine->fr[0])];
    const uint32_t pc = machine->pc;
    const uint32_t carry = machine->carry;
    const uint64_t accumulator = machine->accumulator;
    const bool exited = machine->exited;
    memcpy(r, machine->r, sizeof(r));
    memcpy(fr, machine->fr, sizeof(fr));
    for (unsigned i = 0; i < argument_count && i < 4; ++i) {
        machine->r[i] = arguments[i];
    }
    machine->r[CSKY_STACK_POINTER] &= ~7u;
    machine->r[CSKY_LINK_REGISTER] = CSKY_RETURN_ADDRESS;
    machine->pc = function & ~1u;
    machine->called = true;
    machine->exited = false;
    const enum csky_end end = csky_execute(machine, limit);
    if (end == CSKY_RETURNED && result != NULL) {
        *result = machine->r[0];
    }
    memcpy(machine->r, r, sizeof(r));
    memcpy(machine->fr, fr, sizeof(fr));
    machine->pc = pc;
    machine->carry = carry;
    machine->accumulator = accumulator;
    machine->called = false;
    machine->exited |= exited;
    return end;
}

int csky_status(const struct csky_machine *machine) { return machine->status; }

const struct csky_fault *csky_fault(const struct csky_machine *machine) { return &machine->fault; }

uint64_t csky_instructions(const struct csky_machine *machine) { return machine->instructions; }

/* --- Looking at it ------------------------------------------------------------------------- */

uint32_t csky_register(const struct csky_machine *machine, unsigned index) {
    return index < CSKY_REGISTERS ? machine->r[index] : 0;
}

uint32_t csky_pc(const struct csky_machine *machine) { return machine->pc; }

void *csky_memory(struct csky_machine *machine, uint32_t address, uint32_t count) {
    return csky_buffer(machine, address, count, 0);
}

bool csky_symbol(const struct csky_machine *machine, const char *name, uint32_t *address,
                 uint32_t *size) {
    const struct elf_symbol *symbol = elf_symbols_find(&machine->symbols, name);
    if (symbol == NULL) {
        return false;
    }
    if (address != NULL) {
        *address = symbol->value;
    }
    if (size != NULL) {
        *size = symbol->size;
    }
    return true;
}

const char *csky_function_at(const struct csky_machine *machine, uint32_t address) {
    return csky_function_find(machine, address)->name;
}

/* Blocks that hold the instruction somewhere inside must go; those that run do so as soon as
 * they can. */
void csky_watch(struct csky_machine *machine, uint32_t address, csky_watch_fn *watch,
                void *context) {
    struct csky_watch *watches =
        realloc(machine->watches, (machine->watch_count + 1) * sizeof(*watches));
    if (watches == NULL) {
        fputs("csky: out of memory\n", stderr); /* a watch never called would be a wrong result */
        exit(2);
    }
    machine->watches = watches;
    watches[machine->watch_count++] = (struct csky_watch){address & ~1u, watch, context};
    machine->stale = true;
}

void csky_counts(struct csky_machine *machine, csky_count_fn *each, void *context) {
    csky_blocks_tally(machine);
    for (size_t i = 0; i < machine->function_count; ++i) {
        const struct csky_function *function = &machine->functions[i];
        if (function->instructions > 0) {
            each(context, function->name, function->instructions, function->entries);
        }
    }
}
