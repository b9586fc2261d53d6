/* SPDX-License-Identifier: Apache-2.0
 *
 * The floating-point unit for single precision (FPUv2), on the host's: a sum, product, quotient
 * or root of single numbers that is computed in double and then rounded is rounded right, as
 * double has more than twice the bits. Looking at it in double also shows what is too small for
 * a normal number: that counts as zero, going in and coming out, unless FCR bit 27 is set. FCR
 * has the rounding mode as well (bits 24 and 25); FESR collects exceptions, its low byte those
 * of the last operation. None of them traps, enabled or not.
 */
#include "csky_internal.h"

#include <fenv.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define SIGN 0x80000000u
#define INFINITE 0x7f800000u
#define QUIET 0x00400000u
#define DEFAULT_NAN 0x7fc00000u

#define FCR_DENORMAL (1u << 27)
#define FCR_MODE(fcr) ((fcr) >> 24 & 3u)

/* Exceptions as FCR enables them, and FESR has them: in bits 0 to 5 the last operation's, in
 * bits 8 to 13 the collected ones; bits 7 and 15 say that there is any. */
enum { INVALID = 1, BY_ZERO = 2, TOO_LARGE = 4, TOO_SMALL = 8, INEXACT = 16, SUBNORMAL = 32 };

static bool is_nan(uint32_t x) { return (x & ~SIGN) > INFINITE; }
static bool is_signaling(uint32_t x) { return is_nan(x) && (x & QUIET) == 0; }

float csky_fpu_value(uint32_t x) {
    float value;
    memcpy(&value, &x, sizeof(value));
    return value;
}

static void begin(struct csky_machine *machine, unsigned mode) {
    static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_UPWARD, FE_DOWNWARD};
    machine->fesr &= ~0xffu;
    feclearexcept(FE_ALL_EXCEPT);
    if (modes[mode] != FE_TONEAREST) {
        fesetround(modes[mode]);
    }
}

static void raise_flags(struct csky_machine *machine, uint32_t flags) {
    if (flags != 0) {
        const uint32_t collected = flags & ~machine->fcr;
        machine->fesr |= 0x80u | flags | (collected != 0 ? 0x8000u | collected << 8 : 0);
    }
}

static void end(struct csky_machine *machine, uint32_t flags) {
    flags |=
        (fetestexcept(FE_INVALID) ? INVALID : 0u) | (fetestexcept(FE_DIVBYZERO) ? BY_ZERO : 0u) |
        (fetestexcept(FE_OVERFLOW) ? TOO_LARGE : 0u) |
        (fetestexcept(FE_UNDERFLOW) ? TOO_SMALL : 0u) | (fetestexcept(FE_INEXACT) ? INEXACT : 0u);
    fesetround(FE_TONEAREST);
    raise_flags(machine, flags);
}

/* The number that goes in; a subnormal one does so as zero. */
static double number(struct csky_machine *machine, uint32_t x) {
    if ((x & INFINITE) == 0 && (x & ~SIGN) != 0 && (machine->fcr & FCR_DENORMAL) == 0) {
        raise_flags(machine, SUBNORMAL);
        x &= SIGN;
    }
    return (double)csky_fpu_value(x);
}

/* What comes out. The volatile numbers keep the compiler from computing before the rounding
 * mode is set, or after it is put back. */
static uint32_t rounded(struct csky_machine *machine, double from) {
    volatile double value = from;
    uint32_t flags = 0;
    uint32_t bits;
    if (value != 0.0 && fabs(value) < (double)FLT_MIN && (machine->fcr & FCR_DENORMAL) == 0) {
        value = copysign(0.0, value);
        flags = TOO_SMALL | INEXACT;
    }
    volatile float result = (float)value;
    const float plain = result;
    memcpy(&bits, &plain, sizeof(bits));
    end(machine, flags);
    return is_nan(bits) ? DEFAULT_NAN : bits;
}

/* Where a NaN goes in, the one default NaN comes out. */
static bool passes_nan(struct csky_machine *machine, uint32_t x, uint32_t y, uint32_t *result) {
    if (!is_nan(x) && !is_nan(y)) {
        return false;
    }
    machine->fesr &= ~0xffu;
    raise_flags(machine, is_signaling(x) || is_signaling(y) ? INVALID : 0);
    *result = DEFAULT_NAN;
    return true;
}

/* operand, operation, operand */
#define COMPUTE(name, operation)                                                                   \
    uint32_t csky_fpu_##name(struct csky_machine *machine, uint32_t x, uint32_t y) {               \
        uint32_t result;                                                                           \
        if (passes_nan(machine, x, y, &result)) {                                                  \
            return result;                                                                         \
        }                                                                                          \
        begin(machine, FCR_MODE(machine->fcr));                                                    \
        volatile double a = number(machine, x);                                                    \
        volatile double b = number(machine, y);                                                    \
        volatile double exact = a operation b;                                                     \
        return rounded(machine, exact);                                                            \
    }

COMPUTE(add, +)
COMPUTE(subtract, -)
COMPUTE(multiply, *)
COMPUTE(divide, /)

uint32_t csky_fpu_root(struct csky_machine *machine, uint32_t x) {
    uint32_t result;
    if (passes_nan(machine, x, x, &result)) {
        return result;
    }
    begin(machine, FCR_MODE(machine->fcr));
    volatile double a = number(machine, x);
    volatile double exact = sqrt(a);
    return rounded(machine, exact);
}

uint32_t csky_fpu_accumulate(struct csky_machine *machine, uint32_t x, uint32_t y, uint32_t z,
                             uint32_t product, uint32_t addend) {
    const uint32_t xy = csky_fpu_multiply(machine, x, y);
    return csky_fpu_add(machine, is_nan(xy) ? xy : xy ^ product, is_nan(z) ? z : z ^ addend);
}

int csky_fpu_compare(struct csky_machine *machine, uint32_t x, uint32_t y) {
    machine->fesr &= ~0xffu;
    if (is_nan(x) || is_nan(y)) {
        raise_flags(machine, INVALID);
        return CSKY_FPU_UNORDERED;
    }
    const double a = number(machine, x);
    const double b = number(machine, y);
    return a < b ? CSKY_FPU_LESS : a > b;
}

bool csky_fpu_differ(struct csky_machine *machine, uint32_t x, uint32_t y) {
    return csky_fpu_unordered(machine, x, y) || csky_fpu_compare(machine, x, y) != 0;
}

bool csky_fpu_unordered(struct csky_machine *machine, uint32_t x, uint32_t y) {
    machine->fesr &= ~0xffu;
    raise_flags(machine, is_signaling(x) || is_signaling(y) ? INVALID : 0);
    return is_nan(x) || is_nan(y);
}

bool csky_fpu_at_most_zero(struct csky_machine *machine, uint32_t x) {
    const int compared = csky_fpu_compare(machine, x, 0);
    return compared == 0 || compared == CSKY_FPU_LESS;
}

/* To the integer that the mode says, or the nearest one that there is; NaN becomes 0. */
static int64_t integer(struct csky_machine *machine, uint32_t x, unsigned mode, int64_t least,
                       int64_t largest) {
    begin(machine, mode);
    if (is_nan(x)) {
        end(machine, INVALID);
        return 0;
    }
    volatile double value = number(machine, x);
    volatile double whole = nearbyint(value);
    if (whole < (double)least || whole > (double)largest) {
        end(machine, INVALID);
        return whole < 0.0 ? least : largest;
    }
    end(machine, whole != value ? INEXACT : 0);
    return (int64_t)whole;
}

uint32_t csky_fpu_to_signed(struct csky_machine *machine, uint32_t x, unsigned mode) {
    return (uint32_t)integer(machine, x, mode, INT32_MIN, INT32_MAX);
}

uint32_t csky_fpu_to_unsigned(struct csky_machine *machine, uint32_t x, unsigned mode) {
    return (uint32_t)integer(machine, x, mode, 0, UINT32_MAX);
}

uint32_t csky_fpu_from_integer(struct csky_machine *machine, int64_t x) {
    begin(machine, FCR_MODE(machine->fcr));
    volatile double exact = (double)x;
    return rounded(machine, exact);
}

/* fmovis: a sign, eight bits of a significand that begins with a one, and how far it is shifted
 * right from 1 << 11. */
uint32_t csky_fpu_immediate(uint32_t operand) {
    const uint32_t significand = 0x800u | (operand >> 9 & 15u) << 7 | (operand & 15u) << 3;
    const float value = ldexpf((float)significand, -(int)(operand >> 4 & 15u));
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits | (operand >> 8 & 1u) << 31;
}
