/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest memory: few pieces, each a mapping of the host that costs nothing until it is used.
 *
 * A halfword or a word at an odd place is a fault. The CPU traps there too, unless PSR.MM hides
 * it, as the W800's start-up code lets it do; a compiler never counts on that (GCC aligns
 * everything), so an allocator that made such an access would be wrong.
 */
#include "csky_internal.h"

#include <sys/mman.h>

static uint32_t room_for(uint32_t size, uint32_t bytes) {
    return size >= bytes ? size - bytes + 1 : 0;
}

void csky_rooms_set(struct csky_piece *piece, bool guarded) {
    for (unsigned i = 0; i < 3; ++i) {
        const uint32_t room = room_for(piece->size, 1u << i);
        piece->read_room[i] = (piece->rights & CSKY_RIGHT_READ) != 0 ? room : 0;
        piece->write_room[i] = (piece->rights & CSKY_RIGHT_WRITE) != 0 && !guarded ? room : 0;
    }
}

const char *csky_memory_add(struct csky_machine *machine, uint32_t base, uint32_t size,
                            unsigned rights) {
    if (base > CSKY_MEMORY_END || size > CSKY_MEMORY_END - base) {
        return "a segment that reaches beyond 0xffff0000";
    }
    for (uint32_t i = 1; i < machine->piece_count; ++i) {
        const struct csky_piece *other = &machine->pieces[i];
        if (base - other->base < other->size || other->base - base < size) {
            return "segments that overlap each other or the stack (0x7f800000 to 0x7fffffff)";
        }
    }
    if (machine->piece_count == CSKY_PIECES_MAX) {
        return "more than 62 segments";
    }
    void *host = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (host == MAP_FAILED) {
        return "too little memory for its segments";
    }
    struct csky_piece *piece = &machine->pieces[machine->piece_count++];
    *piece = (struct csky_piece){.base = base,
                                 .size = size,
                                 .host = host,
                                 .rights = (uint8_t)rights,
                                 .code_low = UINT32_MAX};
    csky_rooms_set(piece, false);
    return NULL;
}

void csky_memory_free(struct csky_machine *machine) {
    for (uint32_t i = 1; i < machine->piece_count; ++i) {
        munmap(machine->pieces[i].host, machine->pieces[i].size);
    }
}

struct csky_piece *csky_piece_at(struct csky_machine *machine, uint32_t address) {
    for (uint32_t i = 1; i < machine->piece_count; ++i) {
        if (address - machine->pieces[i].base < machine->pieces[i].size) {
            return &machine->pieces[i];
        }
    }
    return NULL;
}

/* The piece of all `bytes` from an address on; the first byte that has no such piece, or not
 * this right, is the fault's address. */
static struct csky_piece *reach(struct csky_machine *machine, uint32_t address, uint32_t bytes,
                                uint32_t alignment, unsigned right) {
    struct csky_piece *piece = csky_piece_at(machine, address);
    const bool write = right == CSKY_RIGHT_WRITE;
    if ((address & (alignment - 1)) != 0) {
        csky_fault_set(machine, CSKY_FAULT_MISALIGNED, address, alignment, write);
        return NULL;
    }
    if (piece == NULL || (piece->rights & right) == 0) {
        csky_fault_set(machine, CSKY_FAULT_ACCESS, address, alignment, write);
        return NULL;
    }
    const uint32_t there = piece->size - (address - piece->base);
    if (there < bytes) {
        csky_fault_set(machine, CSKY_FAULT_ACCESS, address + there / alignment * alignment,
                       alignment, write);
        return NULL;
    }
    return piece;
}

bool csky_reach_read(struct csky_machine *machine, struct csky_op *op, uint32_t address,
                     uint32_t bytes, uint32_t alignment) {
    const struct csky_piece *piece = reach(machine, address, bytes, alignment, CSKY_RIGHT_READ);
    if (piece != NULL) {
        op->piece = (uint8_t)(piece - machine->pieces);
    }
    return piece != NULL;
}

uint8_t *csky_reach_write(struct csky_machine *machine, struct csky_op *op, uint32_t address,
                          uint32_t bytes, uint32_t alignment) {
    const struct csky_piece *piece = reach(machine, address, bytes, alignment, CSKY_RIGHT_WRITE);
    if (piece == NULL) {
        return NULL;
    }
    op->piece = (uint8_t)(piece - machine->pieces);
    if (address < piece->code_high && address + bytes > piece->code_low) {
        machine->stale = true;
    }
    return piece->host + (address - piece->base);
}

void *csky_buffer(struct csky_machine *machine, uint32_t address, uint32_t count, unsigned right) {
    const struct csky_piece *piece = csky_piece_at(machine, address);
    if (piece == NULL || (piece->rights & right) != right ||
        count > piece->size - (address - piece->base)) {
        return NULL;
    }
    if ((right & CSKY_RIGHT_WRITE) != 0 && address < piece->code_high &&
        address + count > piece->code_low) {
        machine->stale = true;
    }
    return piece->host + (address - piece->base);
}

bool csky_fetch(struct csky_machine *machine, uint32_t pc, uint16_t *halfword) {
    const struct csky_piece *piece = csky_piece_at(machine, pc);
    if (piece == NULL || (piece->rights & CSKY_RIGHT_EXECUTE) == 0 ||
        piece->size - (pc - piece->base) < 2) {
        return false;
    }
    const uint8_t *bytes = piece->host + (pc - piece->base);
    *halfword = (uint16_t)(bytes[0] | bytes[1] << 8);
    return true;
}
