/* SPDX-License-Identifier: Apache-2.0
 *
 * Decoded code. A block is decoded when it is first jumped to, and then found through the
 * block that was before it. It ends at a branch, where a watched instruction or another
 * function begins, and where no instruction can be fetched: that shall fault only if it is
 * reached. Blocks count how often they run; what their functions executed is added up from
 * that, so that counting costs nothing per instruction.
 *
 * Code that is written to is decoded again (GCC builds trampolines on the stack): the piece of
 * memory where it lies is guarded as soon as a block is made of it, and all blocks go when a
 * write hits decoded bytes.
 */
#include "csky_internal.h"

#include <stdlib.h>
#include <string.h>

#define OPS_MAX (CSKY_BLOCK_MAX + 2) /* the watches', and the way on */
#define BLOCK_BYTES_MAX ((size_t)64 << 20)

/* --- Functions ----------------------------------------------------------------------------- */

struct csky_function *csky_function_find(const struct csky_machine *machine, uint32_t address) {
    size_t low = 1; /* the first that might begin behind the address */
    size_t high = machine->function_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (machine->functions[middle].start <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    struct csky_function *function = &machine->functions[low - 1];
    return low > 1 && address - function->start < function->size ? function : machine->functions;
}

static void tally(struct csky_machine *machine, struct csky_block *block) {
    struct csky_function *function = &machine->functions[block->function];
    function->instructions += block->runs * block->count - block->missing;
    if (block->pc == function->start) {
        function->entries += block->runs;
    }
    block->runs = 0;
    block->missing = 0;
}

void csky_blocks_tally(struct csky_machine *machine) {
    for (struct csky_block *block = machine->blocks; block != NULL; block = block->older) {
        tally(machine, block);
    }
    tally(machine, machine->partial);
}

/* --- Making a block ------------------------------------------------------------------------ */

static bool is_watched(const struct csky_machine *machine, uint32_t pc) {
    for (size_t i = 0; i < machine->watch_count; ++i) {
        if (machine->watches[i].address == pc) {
            return true;
        }
    }
    return false;
}

/* The instruction at pc, if it can be fetched and is one. */
static bool decode_at(struct csky_machine *machine, uint32_t pc, struct csky_instruction *to) {
    uint16_t first = 0;
    uint16_t second = 0;
    if (!csky_fetch(machine, pc, &first)) {
        csky_fault_set(machine, CSKY_FAULT_ACCESS, pc, 2, false);
    } else if (csky_is_wide(first) && !csky_fetch(machine, pc + 2, &second)) {
        csky_fault_set(machine, CSKY_FAULT_ACCESS, pc + 2, 2, false);
    } else if (!csky_decode(pc, first, second, to)) {
        csky_fault_set(machine, CSKY_FAULT_ENCODING, 0, 0, false);
    } else {
        return true;
    }
    csky_fault_place(machine, pc);
    return false;
}

/* A comparison and the bt or bf behind it as one. */
static unsigned fused(enum csky_operation compare, enum csky_operation branch) {
    if (branch != CSKY_OP_BT && branch != CSKY_OP_BF) {
        return CSKY_LABELS;
    }
    switch ((int)compare) {
#define COMPARISON(name, ...)                                                                      \
    case CSKY_OP_##name:                                                                           \
        return branch == CSKY_OP_BT ? CSKY_PSEUDO_##name##_BT : CSKY_PSEUDO_##name##_BF;
#include "csky_isa.def"
#undef COMPARISON
    default:
        return CSKY_LABELS;
    }
}

static struct csky_op op_of(const struct csky_instruction *it, const void *const *labels) {
    return (struct csky_op){.handler = labels[it->operation],
                            .immediate = it->immediate,
                            .x = it->x,
                            .y = it->y,
                            .z = it->z};
}

/* A block being made, in a place that is large enough for any. */
struct draft {
    struct csky_block *block;
    unsigned op_count;
};

/* Appends an instruction; false if it is the block's last. */
static bool append(struct draft *draft, const struct csky_instruction *it,
                   enum csky_operation before, const void *const *labels) {
    struct csky_block *block = draft->block;
    const enum csky_flow flow = csky_flow_of(it->operation);
    const unsigned pair = block->count > 0 ? fused(before, it->operation) : CSKY_LABELS;
    if (pair != CSKY_LABELS) {
        draft->block->ops[draft->op_count - 1].handler = labels[pair];
    } else {
        draft->block->ops[draft->op_count++] = op_of(it, labels);
    }
    block->wide |= (uint64_t)(it->bytes == 4) << block->count;
    block->count++;
    block->after += it->bytes;
    if (flow == CSKY_FLOW_GO || flow == CSKY_FLOW_CHOOSE) {
        block->target = it->immediate;
    }
    return flow == CSKY_FLOW_NEXT;
}

/* At most `most` instructions from pc on; false with the fault recorded if there is none. */
static bool make(struct csky_machine *machine, uint32_t pc, uint64_t most,
                 const void *const *labels, struct draft *draft) {
    struct csky_instruction it;
    enum csky_operation before = CSKY_OP_SYNC;
    const struct csky_function *function = csky_function_find(machine, pc);
    struct csky_block *block = draft->block;
    *block = (struct csky_block){
        .pc = pc, .after = pc, .function = (uint32_t)(function - machine->functions)};
    draft->op_count = 0;
    if (is_watched(machine, pc)) {
        block->lead = 1;
        block->ops[draft->op_count++].handler = labels[CSKY_PSEUDO_WATCH];
    }
    for (uint64_t i = 0; i < most && i < CSKY_BLOCK_MAX; ++i) {
        const uint32_t at = block->after;
        if (i > 0 && (is_watched(machine, at) || csky_function_find(machine, at) != function)) {
            break;
        }
        if (!decode_at(machine, at, &it)) {
            if (i == 0) {
                return false;
            }
            break;
        }
        if (!append(draft, &it, before, labels)) {
            return true;
        }
        before = it.operation;
    }
    block->ops[draft->op_count++].handler = labels[CSKY_PSEUDO_GO_ON];
    return true;
}

/* From now on writes to this code are noticed. */
static void guard_code(struct csky_machine *machine, const struct csky_block *block) {
    struct csky_piece *piece = csky_piece_at(machine, block->pc);
    if ((piece->rights & CSKY_RIGHT_WRITE) != 0) {
        piece->code_low = block->pc < piece->code_low ? block->pc : piece->code_low;
        piece->code_high = block->after > piece->code_high ? block->after : piece->code_high;
        csky_rooms_set(piece, true);
    }
}

static size_t bytes_of(unsigned op_count) {
    return sizeof(struct csky_block) + op_count * sizeof(struct csky_op);
}

bool csky_blocks_begin(struct csky_machine *machine) {
    machine->draft = calloc(1, bytes_of(OPS_MAX));
    machine->partial = calloc(1, bytes_of(OPS_MAX));
    return machine->draft != NULL && machine->partial != NULL;
}

/* The draft of a limited run is lent out as it is. */
static struct csky_block *lend(struct csky_machine *machine) {
    struct csky_block *block = machine->draft;
    tally(machine, machine->partial);
    machine->draft = machine->partial;
    machine->partial = block;
    guard_code(machine, block);
    return block;
}

static struct csky_block *keep(struct csky_machine *machine, const struct draft *draft) {
    const size_t bytes = bytes_of(draft->op_count);
    struct csky_block *block = malloc(bytes);
    if (block == NULL) {
        return lend(machine);
    }
    memcpy(block, draft->block, bytes);
    struct csky_block **same = &machine->hash[csky_hash(block->pc)];
    block->same_hash = *same;
    *same = block;
    block->older = machine->blocks;
    machine->blocks = block;
    guard_code(machine, block);
    machine->block_bytes += bytes;
    machine->stale |= machine->block_bytes > BLOCK_BYTES_MAX;
    return block;
}

struct csky_block *csky_block_at(struct csky_machine *machine, uint32_t pc,
                                 const void *const *labels) {
    struct csky_block *block = machine->hash[csky_hash(pc)];
    while (block != NULL && block->pc != pc) {
        block = block->same_hash;
    }
    if (block != NULL) {
        return block;
    }
    struct draft draft = {.block = machine->draft};
    return make(machine, pc, CSKY_BLOCK_MAX, labels, &draft) ? keep(machine, &draft) : NULL;
}

struct csky_block *csky_block_partial(struct csky_machine *machine, uint32_t pc, uint64_t count,
                                      const void *const *labels) {
    struct draft draft = {.block = machine->draft};
    return make(machine, pc, count, labels, &draft) ? lend(machine) : NULL;
}

void csky_blocks_flush(struct csky_machine *machine) {
    csky_blocks_tally(machine);
    while (machine->blocks != NULL) {
        struct csky_block *block = machine->blocks;
        machine->blocks = block->older;
        free(block);
    }
    memset(machine->hash, 0, sizeof(machine->hash));
    for (uint32_t i = 1; i < machine->piece_count; ++i) {
        machine->pieces[i].code_low = UINT32_MAX;
        machine->pieces[i].code_high = 0;
        csky_rooms_set(&machine->pieces[i], false);
    }
    machine->block_bytes = 0;
    machine->stale = false;
}

/* Where its instruction of that number is. */
uint32_t csky_block_pc(const struct csky_block *block, uint32_t index) {
    const uint64_t before = index < 64 ? block->wide & ((UINT64_C(1) << index) - 1) : block->wide;
    return block->pc + 2 * index + 2 * (uint32_t)__builtin_popcountll(before);
}

void csky_blocks_end(struct csky_machine *machine) {
    while (machine->blocks != NULL) {
        struct csky_block *block = machine->blocks;
        machine->blocks = block->older;
        free(block);
    }
    free(machine->draft);
    free(machine->partial);
}
