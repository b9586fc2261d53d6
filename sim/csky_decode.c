/* SPDX-License-Identifier: Apache-2.0
 *
 * The decoder: the first encoding of csky_isa.def whose fixed bits fit. It looks at them one
 * by one, as it decodes an instruction of a program only once (csky_block.c keeps the result).
 */
#include "csky_isa.h"

enum csky_operand { Z, X, Y, I, CSKY_OPERANDS };

struct field {
    uint8_t operand;
    uint8_t low;   /* lowest bit */
    uint8_t width; /* bits; 0: a constant */
    uint8_t left;  /* scaled by so many bits */
    uint8_t plus;
};

enum rule {
    PLAIN,
    POOL,
    POOL_FAR,
    LIST,
    RANGE,
    FLOAT_RANGE,
    POWER,
    EXTRACT,
    INSERT,
    TARGET_11 = 32 + 11, /* 32 and the bits of the distance */
    TARGET_13 = 32 + 13,
    TARGET_17 = 32 + 17,
    TARGET_19 = 32 + 19,
    TARGET_27 = 32 + 27,
};

#define FIELDS_MAX 4
struct format {
    uint8_t rule;
    struct field fields[FIELDS_MAX];
};

#define F(operand, low, width)                                                                     \
    { operand, low, width, 0, 0 }
#define SHIFTED(operand, low, width, left)                                                         \
    { operand, low, width, left, 0 }
#define PLUS(operand, plus)                                                                        \
    { operand, 0, 0, 0, plus }
#define NO_FIELD PLUS(I, 0)
static const struct format formats[] = {
#define FORMAT(name, text, rule, ...) {rule, __VA_ARGS__},
#include "csky_format.def"
#undef FORMAT
};

struct encoding {
    uint32_t code;
    uint8_t operation;
    uint8_t format;
    bool wide;
};

static const struct encoding encodings[] = {
#define ENCODING(operation, bits, code, format)                                                    \
    {code, CSKY_OP_##operation, CSKY_FORMAT_##format, (bits) == 32},
#include "csky_isa.def"
#undef ENCODING
};
_Static_assert(CSKY_OPERATIONS <= 256, "an encoding names its operation in a byte");

static const uint8_t flows[] = {
#define OPERATION(name, text, flow, ...) CSKY_FLOW_##flow,
#include "csky_isa.def"
#undef OPERATION
};

enum csky_flow csky_flow_of(enum csky_operation operation) {
    return (enum csky_flow)flows[operation];
}

static uint32_t bits_mask(unsigned width) { return (1u << width) - 1u; }

static uint32_t varying_bits(const struct format *format) {
    uint32_t bits = 0;
    for (unsigned i = 0; i < FIELDS_MAX; ++i) {
        bits |= bits_mask(format->fields[i].width) << format->fields[i].low;
    }
    return bits;
}

/* Registers of push and pop: r4 and up to seven more, r15, r16 and r17, r28. */
static bool take_list(struct csky_instruction *to) {
    const uint32_t low = to->immediate & 15u;
    const uint32_t high = to->immediate >> 5 & 7u;
    if (low > 8 || high > 2) {
        return false;
    }
    to->immediate = bits_mask(low) << 4 | (to->immediate >> 4 & 1u) << 15 | bits_mask(high) << 16 |
                    (to->immediate >> 8 & 1u) << 28;
    to->y = (uint8_t)__builtin_popcount(to->immediate);
    return true;
}

static bool take_range(struct csky_instruction *to, unsigned registers) {
    const unsigned count = to->immediate + 1u;
    if (to->y + count > registers) {
        return false;
    }
    to->immediate = (UINT32_MAX >> (32 - count)) << to->y;
    to->y = (uint8_t)count;
    return true;
}

static bool apply(enum rule rule, uint32_t pc, struct csky_instruction *to) {
    const uint32_t immediate = to->immediate;
    switch (rule) {
    case PLAIN:
        return true;
    case POOL:
        to->immediate = (pc + immediate) & ~3u;
        return true;
    case POOL_FAR:
        to->immediate = (pc + ((~immediate & 0x1fcu) | 0x200u)) & ~3u;
        return true;
    case LIST:
        return take_list(to);
    case RANGE:
        return take_range(to, 32);
    case FLOAT_RANGE:
        return take_range(to, 16);
    case POWER:
        if (immediate == 0 || (immediate & (immediate - 1)) != 0) {
            return false;
        }
        to->immediate = (uint32_t)__builtin_ctz(immediate);
        return to->immediate < 4;
    case EXTRACT:
        return immediate >= to->y;
    case INSERT:
        return immediate + to->y < 32;
    case TARGET_11:
    case TARGET_13:
    case TARGET_17:
    case TARGET_19:
    case TARGET_27: {
        const uint32_t sign = 1u << (rule - 33);
        to->immediate = pc + ((immediate ^ sign) - sign);
        return true;
    }
    }
    return false;
}

static bool take_operands(const struct format *format, uint32_t pc, uint32_t code,
                          struct csky_instruction *to) {
    uint32_t operands[CSKY_OPERANDS] = {0};
    for (unsigned i = 0; i < FIELDS_MAX; ++i) {
        const struct field *field = &format->fields[i];
        operands[field->operand] +=
            ((code >> field->low & bits_mask(field->width)) << field->left) + field->plus;
    }
    to->z = (uint8_t)operands[Z];
    to->x = (uint8_t)operands[X];
    to->y = (uint8_t)operands[Y];
    to->immediate = operands[I];
    return apply((enum rule)format->rule, pc, to);
}

bool csky_decode(uint32_t pc, uint16_t first, uint16_t second, struct csky_instruction *to) {
    const bool wide = csky_is_wide(first);
    const uint32_t code = wide ? (uint32_t)first << 16 | second : first;
    for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); ++i) {
        const struct encoding *encoding = &encodings[i];
        const struct format *format = &formats[encoding->format];
        if (encoding->wide == wide && ((code ^ encoding->code) & ~varying_bits(format)) == 0) {
            to->operation = (enum csky_operation)encoding->operation;
            to->format = (enum csky_format)encoding->format;
            to->bytes = wide ? 4 : 2;
            return take_operands(format, pc, code, to);
        }
    }
    return false;
}
