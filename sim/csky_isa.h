/* SPDX-License-Identifier: Apache-2.0
 *
 * An instruction as csky_isa.def describes it: decoded once, then executed many times.
 */
#ifndef CSKY_ISA_H
#define CSKY_ISA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum csky_operation {
#define OPERATION(name, ...) CSKY_OP_##name,
#include "csky_isa.def"
#undef OPERATION
    CSKY_OPERATIONS
};

enum csky_format {
#define FORMAT(name, ...) CSKY_FORMAT_##name,
#include "csky_format.def"
#undef FORMAT
    CSKY_FORMATS
};

/* What is executed after an instruction. */
enum csky_flow {
    CSKY_FLOW_NEXT,   /* the next one */
    CSKY_FLOW_GO,     /* the one at its target */
    CSKY_FLOW_CHOOSE, /* one of these two */
    CSKY_FLOW_LEAVE,  /* one that only the run shows */
    CSKY_FLOW_TRAP,   /* the next one, if the machine goes on at all */
};

struct csky_instruction {
    enum csky_operation operation;
    enum csky_format format;
    uint8_t bytes; /* 2 or 4 */
    uint8_t x, y, z;
    uint32_t immediate; /* as the operation wants it: a target or a constant's address is whole,
                           a list of registers has a bit for each (and y counts them) */
};

/* False if it is no instruction of these CPUs. `second` counts only if `first` says that the
 * instruction has 32 bits. */
bool csky_decode(uint32_t pc, uint16_t first, uint16_t second, struct csky_instruction *to);

static inline bool csky_is_wide(uint16_t first) { return first >> 14 == 3; }

enum csky_flow csky_flow_of(enum csky_operation operation);

#endif
