/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes to calls; see program.h for the form.
 */
#include "program.h"

#include "../core/wm_heap.h"

#define DEFAULT WM_HEAP_CAP_DEFAULT
#define INTERNAL WM_HEAP_CAP_INTERNAL
#define SPIRAM WM_HEAP_CAP_SPIRAM
#define EXEC WM_HEAP_CAP_EXEC
#define SHARED WM_HEAP_CAP_SHARED
#define INVALID WM_HEAP_CAP_INVALID
#define COUNT(array) ((uint32_t)(sizeof(array) / sizeof *(array)))

/* The usual calls have several of the sixteen operation codes, so that random bytes make
 * programs that do something. */
static const uint8_t kinds[16] = {
    PROGRAM_ALLOC,   PROGRAM_ALLOC,   PROGRAM_ALLOC,  PROGRAM_FREE,  PROGRAM_FREE, PROGRAM_FREE,
    PROGRAM_REALLOC, PROGRAM_REALLOC, PROGRAM_CALLOC, PROGRAM_BAD,   PROGRAM_FAIL, PROGRAM_APPEND,
    PROGRAM_ALIGNED, PROGRAM_QUERY,   PROGRAM_OTHER,  PROGRAM_SMASH,
};

static const uint8_t argument_bytes[PROGRAM_KIND_COUNT] = {
#define PROGRAM_BYTES(name, bytes) bytes,
    PROGRAM_KINDS(PROGRAM_BYTES)
#undef PROGRAM_BYTES
};

static const uint32_t caps_table[PROGRAM_CAPS_RAW] = {
    DEFAULT,
    0,
    INTERNAL,
    SPIRAM,
    EXEC,
    SHARED,
    DEFAULT | INTERNAL,
    DEFAULT | SHARED,
    INTERNAL | EXEC,
    DEFAULT | INTERNAL | EXEC,
    INTERNAL | SHARED,
    SPIRAM | DEFAULT,
    SPIRAM | INTERNAL,
    EXEC | SHARED,
    INVALID,
};

/* Kinds of calls that ask for capabilities. */
#define WITH_CAPS                                                                                  \
    (1u << PROGRAM_ALLOC | 1u << PROGRAM_REALLOC | 1u << PROGRAM_CALLOC | 1u << PROGRAM_ALIGNED |  \
     1u << PROGRAM_QUERY)

static bool has_caps(enum program_kind kind) { return (WITH_CAPS >> kind & 1u) != 0; }

uint8_t program_operation(enum program_kind kind) {
    uint8_t code = 0;
    while (kinds[code] != kind) {
        code++;
    }
    return code;
}

uint32_t program_call_bytes(uint8_t operation) {
    enum program_kind kind = kinds[operation & 15u];
    bool raw = has_caps(kind) && operation >> 4 == PROGRAM_CAPS_RAW;
    return 1u + argument_bytes[kind] + (raw ? 1u : 0u);
}

static uint8_t take(struct program *program) {
    return program->at < program->size ? program->data[program->at++] : 0;
}

struct program_head program_begin(struct program *program, const uint8_t *data, size_t size) {
    *program = (struct program){.data = data, .size = size};
    uint32_t head = take(program);
    uint32_t rest = head / (PROGRAM_BUILDS * PROGRAM_LAYOUTS);
    return (struct program_head){.build = head % PROGRAM_BUILDS,
                                 .layout = head / PROGRAM_BUILDS % PROGRAM_LAYOUTS,
                                 .in_place = rest % 2u != 0,
                                 .untraced = rest / 2u == 5u,
                                 .silent = rest / 2u == 6u};
}

/* Every bit that a region can have, and three that none has. */
static uint32_t raw_caps(uint8_t byte) {
    return (byte & 0x1fu) | ((byte & 0x20u) != 0 ? (uint32_t)INVALID : 0) |
           ((byte & 0x40u) != 0 ? 0x80000000u : 0) | ((byte & 0x80u) != 0 ? 0x20u : 0);
}

bool program_next(struct program *program, struct program_call *call) {
    if (program->at >= program->size || program->calls >= PROGRAM_CALLS_MAX) {
        return false;
    }
    program->calls++;
    uint8_t operation = take(program);
    const uint32_t length = program_call_bytes(operation);
    uint8_t bytes[PROGRAM_CALL_BYTES_MAX] = {0};
    for (uint32_t i = 1; i < length; i++) {
        bytes[i - 1] = take(program);
    }
    enum program_kind kind = kinds[operation & 15u];
    uint32_t variant = operation >> 4;
    *call = (struct program_call){
        .kind = kind,
        .variant = variant,
        .slot = bytes[0] % PROGRAM_SLOTS,
        .mode = bytes[0] / PROGRAM_SLOTS,
        .argument = bytes[1] | (uint32_t)bytes[2] << 8,
        .extra = argument_bytes[kind] == 1 ? bytes[0] : bytes[3],
        .bytes = {bytes[3], bytes[4], bytes[5], bytes[6]},
    };
    if (has_caps(kind)) {
        call->caps = variant == PROGRAM_CAPS_RAW ? raw_caps(bytes[argument_bytes[kind]])
                                                 : caps_table[variant];
    }
    return true;
}

/* What no heap has, and what a careless sum of it wraps to. */
static uint64_t giant_size(uint32_t argument) {
    static const uint64_t giants[] = {0,          0x7fffffff,      0x7ffffff0,  0x80000000,
                                      0xffffffff, 0xffffffe0,      0x100000000, 0x100000020,
                                      UINT64_MAX, 0x10000,         0x20000,     0x200000,
                                      0xfffffff8, UINT64_MAX - 31, 0x3fffffff,  0};
    uint64_t giant = giants[argument % COUNT(giants)];
    return giant != 0 ? giant + (argument >> 8 & 7u) : 0;
}

uint64_t program_size(const struct program_call *call, uint32_t border) {
    int32_t delta = (int32_t)(call->argument & 0x7fu) - (int32_t)(call->argument & 0x80u);
    int64_t near = (int64_t)(border / (1u + (call->argument >> 8 & 3u))) + delta;
    switch ((enum program_size)call->mode) {
    case PROGRAM_SMALL:
        return call->argument % 200u;
    case PROGRAM_ANY:
        return call->argument % 0x800u;
    case PROGRAM_BORDER:
        return near > 0 ? (uint64_t)near : 1u;
    case PROGRAM_GIANT:
    default:
        return giant_size(call->argument);
    }
}

/* Powers of two from 1 to 32,768, and numbers that are none. */
uint32_t program_alignment(const struct program_call *call) {
    return (1u << (call->extra & 15u)) + (call->extra >> 4 == 15u ? 4u : 0u);
}

uint64_t program_count(const struct program_call *call) {
    static const uint64_t counts[] = {1, 1, 2, 3, 0, 7, 0x10000, 0x80000000, UINT64_MAX, 1};
    return counts[call->extra % COUNT(counts)];
}

enum program_other program_other_of(const struct program_call *call) {
    static const uint8_t others[16] = {
        PROGRAM_IN_PLACE, PROGRAM_IN_PLACE, PROGRAM_IN_PLACE, PROGRAM_IN_PLACE,
        PROGRAM_CHECK,    PROGRAM_CHECK,    PROGRAM_CHECK,    PROGRAM_CHECK,
        PROGRAM_CHECK,    PROGRAM_CHECK,    PROGRAM_STATS,    PROGRAM_STATS,
        PROGRAM_TRACING,  PROGRAM_TRACING,  PROGRAM_INIT,     PROGRAM_INIT,
    };
    return (enum program_other)others[call->variant & 15u];
}

const char *program_region_name(const struct program_call *call) {
    static const char *const names[] = {"PSRAM", "PSRAM", "PSRAM",  "SRAM",
                                        "DRAM",  "PSRA",  "PSRAMX", NULL};
    return names[call->extra % COUNT(names)];
}
