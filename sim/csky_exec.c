/* SPDX-License-Identifier: Apache-2.0
 *
 * The interpreter: direct-threaded code. Each operation of csky_isa.def becomes a piece of code
 * with a label, and each decoded instruction holds the label's address, so that one indirect
 * jump leads from an instruction to the next. What is left to do per block is to count: the
 * instructions that may still be executed, and the block's runs.
 */
#include "csky_internal.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "guest memory is read as it stands");

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

void csky_fault_set(struct csky_machine *machine, enum csky_fault_kind kind, uint32_t address,
                    uint32_t access, bool write) {
    machine->fault =
        (struct csky_fault){.kind = kind, .address = address, .access = access, .write = write};
}

void csky_fault_place(struct csky_machine *machine, uint32_t pc) {
    struct csky_fault *fault = &machine->fault;
    uint16_t first = 0;
    uint16_t second = 0;
    fault->pc = pc;
    fault->bytes = 0;
    if (csky_fetch(machine, pc, &first) &&
        (!csky_is_wide(first) || csky_fetch(machine, pc + 2, &second))) {
        fault->bytes = csky_is_wide(first) ? 4 : 2;
        fault->instruction = fault->bytes == 4 ? (uint32_t)first << 16 | second : first;
    }
}

/* --- What the meanings of csky_isa.def are made of ------------------------------------------ */

static uint32_t csky_leading_zeros(uint32_t value) {
    return value != 0 ? (uint32_t)__builtin_clz(value) : 32;
}

static uint32_t csky_bits_reversed(uint32_t value) {
    value = (value & 0x55555555u) << 1 | (value >> 1 & 0x55555555u);
    value = (value & 0x33333333u) << 2 | (value >> 2 & 0x33333333u);
    value = (value & 0x0f0f0f0fu) << 4 | (value >> 4 & 0x0f0f0f0fu);
    return __builtin_bswap32(value);
}

static uint32_t csky_bits_inserted(uint32_t into, uint32_t bits, uint32_t low, uint32_t width) {
    const uint32_t mask = UINT32_MAX >> (32 - width) << low;
    return (into & ~mask) | (bits << low & mask);
}

static uint32_t csky_saturated(int64_t value) {
    return (uint32_t)(value > INT32_MAX   ? INT32_MAX
                      : value < INT32_MIN ? INT32_MIN
                                          : (int32_t)value);
}

/* A quotient that does not fit wraps. */
static uint64_t csky_divide(uint64_t dividend, uint32_t divisor) {
    return divisor == UINT32_MAX ? 0 - dividend : (uint64_t)((int64_t)dividend / (int32_t)divisor);
}

/* psrset's and psrclr's AF, FE, IE, EE where the PSR has them */
static uint32_t csky_psr_bits(uint32_t named) {
    return (named & 1u) << 1 | (named & 2u) << 3 | (named & 4u) << 4 | (named & 8u) << 5;
}

/* The control registers of a program that has the CPU for itself: PSR, and the floating-point
 * unit's. */
static uint32_t *control_register(struct csky_machine *m, uint32_t number, uint32_t bank) {
    return bank == 0 && number == 0   ? &m->psr
           : bank == 2 && number == 1 ? &m->fcr
           : bank == 2 && number == 2 ? &m->fesr
                                      : NULL;
}

#define X r[op->x]
#define Y r[op->y]
#define Z r[op->z]
#define FX m->fr[op->x]
#define FY m->fr[op->y]
#define FZ m->fr[op->z]
#define I op->immediate
#define C carry
#define N block->after
#define SP r[CSKY_STACK_POINTER]
#define LINK r[CSKY_LINK_REGISTER]
#define NUMBER_Y ((uint32_t)op->y)
#define X_NUMBER op->x
#define Z_NUMBER op->z
#define FLOAT_SIGN 0x80000000u
#define FLOAT_ONE 0x3f800000u

#define SIGNED(value) ((int32_t)(value))
#define UNSIGNED(value) ((uint32_t)(int32_t)(value))
#define SHIFT_LEFT(value, by) (((by)&63u) > 31 ? 0 : (value) << ((by)&31u))
#define SHIFT_RIGHT(value, by) (((by)&63u) > 31 ? 0 : (value) >> ((by)&31u))
#define ROTATE(value, by) ((value) << (by) | (value) >> (-(by)&31u))
#define PRODUCT_U(a, b) ((uint64_t)(a) * (b))
#define PRODUCT_S(a, b) ((uint64_t)((int64_t)SIGNED(a) * SIGNED(b)))
/* two registers as one of 64 bits; the one behind r31 is r0 */
#define PAIR(low) (r[low] | (uint64_t)r[((low) + 1) % CSKY_REGISTERS] << 32)
#define SET_PAIR(value)                                                                            \
    do {                                                                                           \
        const uint64_t pair = (value);                                                             \
        Z = (uint32_t)pair;                                                                        \
        r[(op->z + 1) % CSKY_REGISTERS] = (uint32_t)(pair >> 32);                                  \
    } while (0)

/* subc is an addc of the complement. */
#define ADD_CARRY(a, b)                                                                            \
    do {                                                                                           \
        const uint64_t sum = (uint64_t)(a) + (uint32_t)(b) + C;                                    \
        Z = (uint32_t)sum;                                                                         \
        C = (uint32_t)(sum >> 32);                                                                 \
    } while (0)

#define REFUSE(kind)                                                                               \
    do {                                                                                           \
        csky_fault_set(m, kind, 0, 0, false);                                                      \
        goto faulted;                                                                              \
    } while (0)

#define DIVIDE(divisor, then)                                                                      \
    if (unlikely((divisor) == 0)) {                                                                \
        REFUSE(CSKY_FAULT_DIVIDE);                                                                 \
    }                                                                                              \
    then

#define READ_CONTROL()                                                                             \
    do {                                                                                           \
        const uint32_t *from = control_register(m, I, op->y);                                      \
        if (from == NULL) {                                                                        \
            REFUSE(CSKY_FAULT_ENCODING);                                                           \
        }                                                                                          \
        Z = from == &m->psr ? m->psr | C : *from;                                                  \
    } while (0)

#define WRITE_CONTROL()                                                                            \
    do {                                                                                           \
        uint32_t *to = control_register(m, I, op->y);                                              \
        if (to == NULL) {                                                                          \
            REFUSE(CSKY_FAULT_ENCODING);                                                           \
        }                                                                                          \
        *to = X;                                                                                   \
        if (to == &m->psr) {                                                                       \
            m->psr &= ~1u;                                                                         \
            C = X & 1u;                                                                            \
        }                                                                                          \
    } while (0)

#define DISPATCH()                                                                                 \
    do {                                                                                           \
        goto *(op->handler);                                                                       \
    } while (0)

/* --- Memory: 1 << n bytes at an address ------------------------------------------------------ */

/* An access that its piece of memory does not allow is tried again in the right piece: the
 * instruction has changed nothing yet. */
#define LOAD(n, address)                                                                           \
    ({                                                                                             \
        const uint32_t at = (address);                                                             \
        const struct csky_piece *piece = &m->pieces[op->piece];                                    \
        const uint32_t offset = at - piece->base;                                                  \
        if (unlikely(offset >= piece->read_room[n] || (at & ((1u << (n)) - 1)) != 0)) {            \
            if (!csky_reach_read(m, op, at, 1u << (n), 1u << (n))) {                               \
                goto faulted;                                                                      \
            }                                                                                      \
            DISPATCH();                                                                            \
        }                                                                                          \
        uint32_t value = 0;                                                                        \
        memcpy(&value, piece->host + offset, 1u << (n));                                           \
        value;                                                                                     \
    })

#define STORE_THEN(n, address, from, then)                                                         \
    do {                                                                                           \
        const uint32_t at = (address);                                                             \
        const uint32_t value = (from);                                                             \
        const struct csky_piece *piece = &m->pieces[op->piece];                                    \
        const uint32_t offset = at - piece->base;                                                  \
        if (likely(offset < piece->write_room[n] && (at & ((1u << (n)) - 1)) == 0)) {              \
            memcpy(piece->host + offset, &value, 1u << (n));                                       \
            (then);                                                                                \
        } else {                                                                                   \
            uint8_t *bytes = csky_reach_write(m, op, at, 1u << (n), 1u << (n));                    \
            if (bytes == NULL) {                                                                   \
                goto faulted;                                                                      \
            }                                                                                      \
            memcpy(bytes, &value, 1u << (n));                                                      \
            (then);                                                                                \
            if (m->stale) {                                                                        \
                goto stale;                                                                        \
            }                                                                                      \
        }                                                                                          \
    } while (0)
#define STORE(n, address, from) STORE_THEN(n, address, from, (void)0)

#define LOAD_ON(from, step)                                                                        \
    do {                                                                                           \
        const uint32_t by = (step);                                                                \
        Z = (from);                                                                                \
        X += by;                                                                                   \
    } while (0)
#define STORE_ON(n, step)                                                                          \
    do {                                                                                           \
        const uint32_t by = (step);                                                                \
        STORE_THEN(n, X, Z, X += by);                                                              \
    } while (0)
#define LOAD_PAIR_ON(step)                                                                         \
    do {                                                                                           \
        const uint32_t by = (step);                                                                \
        const uint32_t low = LOAD(2, X);                                                           \
        const uint32_t high = LOAD(2, X + by);                                                     \
        Z = low;                                                                                   \
        r[(op->z + 1) % CSKY_REGISTERS] = high;                                                    \
        X += 2 * by;                                                                               \
    } while (0)

/* NUMBER_Y words for the registers in I, in order. All of them can be accessed, or none is. */
#define LIST_FITS(room) (offset < (room) && (room)-offset > 4 * (NUMBER_Y - 1) && (at & 3u) == 0)
#define LOAD_LIST(registers, address)                                                              \
    do {                                                                                           \
        const uint32_t at = (address);                                                             \
        const struct csky_piece *piece = &m->pieces[op->piece];                                    \
        const uint32_t offset = at - piece->base;                                                  \
        if (NUMBER_Y == 0) {                                                                       \
            break;                                                                                 \
        }                                                                                          \
        if (unlikely(!LIST_FITS(piece->read_room[2]))) {                                           \
            if (!csky_reach_read(m, op, at, 4 * NUMBER_Y, 4)) {                                    \
                goto faulted;                                                                      \
            }                                                                                      \
            DISPATCH();                                                                            \
        }                                                                                          \
        const uint8_t *word = piece->host + offset;                                                \
        for (uint32_t list = I; list != 0; list &= list - 1, word += 4) {                          \
            memcpy(&(registers)[__builtin_ctz(list)], word, 4);                                    \
        }                                                                                          \
    } while (0)
#define STORE_LIST(registers, address, then)                                                       \
    do {                                                                                           \
        const uint32_t at = (address);                                                             \
        const struct csky_piece *piece = &m->pieces[op->piece];                                    \
        const uint32_t offset = at - piece->base;                                                  \
        if (NUMBER_Y == 0) {                                                                       \
            break;                                                                                 \
        }                                                                                          \
        uint8_t *word = likely(LIST_FITS(piece->write_room[2]))                                    \
                            ? piece->host + offset                                                 \
                            : csky_reach_write(m, op, at, 4 * NUMBER_Y, 4);                        \
        if (unlikely(word == NULL)) {                                                              \
            goto faulted;                                                                          \
        }                                                                                          \
        for (uint32_t list = I; list != 0; list &= list - 1, word += 4) {                          \
            memcpy(word, &(registers)[__builtin_ctz(list)], 4);                                    \
        }                                                                                          \
        (then);                                                                                    \
        if (unlikely(m->stale)) {                                                                  \
            goto stale;                                                                            \
        }                                                                                          \
    } while (0)

/* --- From block to block ---------------------------------------------------------------------- */

/* Begins `block`. */
#define ENTER()                                                                                    \
    do {                                                                                           \
        if (unlikely(left < block->count)) {                                                       \
            goto last_instructions;                                                                \
        }                                                                                          \
        left -= block->count;                                                                      \
        block->runs++;                                                                             \
        op = block->ops;                                                                           \
        DISPATCH();                                                                                \
    } while (0)

#define FOLLOW(way, address)                                                                       \
    do {                                                                                           \
        if (unlikely(block->way == NULL)) {                                                        \
            pc = (address);                                                                        \
            way_there = &block->way;                                                               \
            goto find;                                                                             \
        }                                                                                          \
        block = block->way;                                                                        \
        ENTER();                                                                                   \
    } while (0)

#define BRANCH() FOLLOW(taken, block->target)
#define BRANCH_IF(condition)                                                                       \
    if (condition) {                                                                               \
        FOLLOW(taken, block->target);                                                              \
    }                                                                                              \
    FOLLOW(next, block->after)

/* Bit 0 of an address to jump to does not count. */
#define JUMP_TO(address)                                                                           \
    do {                                                                                           \
        pc = (address) & ~1u;                                                                      \
        struct csky_block *there = m->hash[csky_hash(pc)];                                         \
        if (unlikely(there == NULL || there->pc != pc)) {                                          \
            way_there = NULL;                                                                      \
            goto find;                                                                             \
        }                                                                                          \
        block = there;                                                                             \
        ENTER();                                                                                   \
    } while (0)

#define TRAP()                                                                                     \
    do {                                                                                           \
        if (I != 0) {                                                                              \
            REFUSE(CSKY_FAULT_TRAP);                                                               \
        }                                                                                          \
        m->instructions = limit_at - left;                                                         \
        if (!csky_system_call(m)) {                                                                \
            goto refused;                                                                          \
        }                                                                                          \
        pc = block->after;                                                                         \
        way_there = NULL;                                                                          \
        goto find;                                                                                 \
    } while (0)

/* Only what does not jump has an instruction behind it. */
#define AFTER_NEXT                                                                                 \
    ++op;                                                                                          \
    DISPATCH();
#define AFTER_GO
#define AFTER_CHOOSE
#define AFTER_LEAVE
#define AFTER_TRAP

static void call_watches(struct csky_machine *m, uint32_t pc) {
    for (size_t i = 0; i < m->watch_count; ++i) {
        if (m->watches[i].address == pc) {
            m->watches[i].call(m->watches[i].context, m);
        }
    }
}

/* NOLINTNEXTLINE(readability-function-size): labels to jump to are those of one function */
enum csky_end csky_execute(struct csky_machine *m, uint64_t limit) {
    static const void *const labels[] = {
#define OPERATION(name, ...) &&do_##name,
#include "csky_isa.def"
#undef OPERATION
        &&do_go_on,
        &&do_watch,
#define COMPARISON(name, ...) &&do_##name##_BT, &&do_##name##_BF,
#include "csky_isa.def"
#undef COMPARISON
    };
    uint32_t *const r = m->r;
    uint32_t carry = m->carry;
    uint64_t left = limit;
    const uint64_t limit_at = m->instructions + limit; /* wraps, and so does what is taken off */
    uint32_t pc = m->pc;
    struct csky_block *block = NULL;
    struct csky_block **way_there = NULL; /* where the block to find shall be noted */
    struct csky_op *op = NULL;
    bool watched = false; /* the watches at pc have been called */
    uint32_t done = 0;    /* instructions of a block that is left early */
    enum csky_end end = CSKY_FAULTED;

find:
    if (unlikely(m->stale)) {
        csky_blocks_flush(m);
        way_there = NULL;
    }
    if (unlikely(pc == CSKY_RETURN_ADDRESS && m->called)) {
        end = CSKY_RETURNED;
        goto out;
    }
    block = csky_block_at(m, pc, labels);
    if (unlikely(block == NULL)) {
        end = left == 0 ? CSKY_EXHAUSTED : CSKY_FAULTED;
        goto out;
    }
    if (way_there != NULL && block != m->partial) {
        *way_there = block;
    }
    ENTER();

last_instructions:
    pc = block->pc;
    if (left == 0) {
        end = CSKY_EXHAUSTED;
        goto out;
    }
    block = csky_block_partial(m, pc, left, labels);
    if (block == NULL) {
        goto out;
    }
    ENTER();

#define OPERATION(name, text, flow, ...)                                                           \
    do_##name : { __VA_ARGS__; }                                                                   \
    AFTER_##flow
#include "csky_isa.def"
#undef OPERATION

#define COMPARISON(name, text, ...)                                                                \
    do_##name##_BT : __VA_ARGS__;                                                                  \
    BRANCH_IF(C);                                                                                  \
    do_##name##_BF : __VA_ARGS__;                                                                  \
    BRANCH_IF(!C);
#include "csky_isa.def"
#undef COMPARISON

do_go_on:
    FOLLOW(next, block->after);

do_watch:
    pc = block->pc;
    if (!watched) {
        m->instructions = limit_at - left - block->count;
        m->pc = pc;
        m->carry = carry;
        call_watches(m, pc);
    }
    watched = !watched && m->stale;
    if (watched) { /* a new watch: find the block again */
        left += block->count;
        block->runs--;
        way_there = NULL;
        goto find;
    }
    ++op;
    DISPATCH();

stale: /* the instruction has been executed, the others of the block may be other ones now */
    done = (uint32_t)(op - block->ops) - block->lead + 1;
    left += block->count - done;
    block->missing += block->count - done;
    pc = csky_block_pc(block, done);
    way_there = NULL;
    goto find;

refused:
    if (m->exited) {
        pc = block->after;
        end = CSKY_EXITED;
        goto out;
    }
faulted:
    done = (uint32_t)(op - block->ops) - block->lead;
    left += block->count - done;
    block->missing += block->count - done;
    pc = csky_block_pc(block, done);
    csky_fault_place(m, pc);
out:
    m->pc = pc;
    m->carry = carry;
    m->instructions = limit_at - left;
    return end;
}
