/* SPDX-License-Identifier: Apache-2.0
 *
 * The disassembler: the operation's name, and its format's text filled in. It reads like the
 * GNU one, save that a constant is named by the address where it lies, as its value is not in
 * the instruction.
 */
#include "csky_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const names[] = {
#define OPERATION(name, text, ...) text,
#include "csky_isa.def"
#undef OPERATION
};

static const char *const texts[] = {
#define FORMAT(name, text, ...) text,
#include "csky_format.def"
#undef FORMAT
};

struct line {
    char *text;
    size_t room;
    size_t length;
};

__attribute__((format(printf, 2, 3))) static void put(struct line *line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const size_t room = line->length < line->room ? line->room - line->length : 0;
    const int length =
        vsnprintf(room > 0 ? line->text + line->length : NULL, room, format, arguments);
    va_end(arguments);
    if (length > 0) {
        line->length += (size_t)length;
    }
}

/* r4-r7, r15: runs of registers, as the assembler writes them: pushed ones from r16 on begin a
 * run of their own, and of those loaded and stored even one is a run. */
static void put_list(struct line *line, uint32_t list, const char *prefix, bool stacked) {
    const char *comma = "";
    for (unsigned i = 0; i < 32; ++i) {
        if ((list >> i & 1u) == 0) {
            continue;
        }
        unsigned last = i;
        while (last < 31 && (list >> (last + 1) & 1u) != 0 && !(stacked && last == 15)) {
            ++last;
        }
        put(line, "%s%s%u", comma, prefix, i);
        if (last > i || !stacked) {
            put(line, "-%s%u", prefix, last);
        }
        comma = ", ";
        i = last;
    }
}

static void put_psr_bits(struct line *line, uint32_t bits) {
    static const struct {
        uint32_t bit;
        const char *name;
    } rows[] = {{8, "ee"}, {4, "ie"}, {2, "fe"}, {1, "af"}, {16, "sie"}};
    const char *comma = "";
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        if ((bits & rows[i].bit) != 0) {
            put(line, "%s%s", comma, rows[i].name);
            comma = ", ";
        }
    }
}

static void put_operand(struct line *line, char kind, uint32_t pc,
                        const struct csky_instruction *it) {
    switch (kind) {
    case 'z':
    case 'x':
    case 'y':
        put(line, "r%u", kind == 'z' ? it->z : kind == 'x' ? it->x : it->y);
        break;
    case 'a':
    case 'b':
    case 'c':
        put(line, "fr%u", kind == 'a' ? it->z : kind == 'b' ? it->x : it->y);
        break;
    case 'i':
        put(line, "%" PRIu32, it->immediate);
        break;
    case 'h':
    case 't':
        put(line, "0x%" PRIx32, it->immediate);
        break;
    case 'j':
        put(line, "%u", it->y);
        break;
    case 'm':
        put(line, "%" PRIu32, it->immediate + it->y);
        break;
    case 'u': /* a four-bit distance in halfwords */
        put(line, "0x%" PRIx32, pc + (((it->y ^ 8u) - 8u) << 1));
        break;
    case 'p':
        put(line, "[0x%" PRIx32 "]", it->immediate);
        break;
    case 'l':
        put_list(line, it->immediate, "r",
                 it->operation == CSKY_OP_PUSH || it->operation == CSKY_OP_POP);
        break;
    case 'v':
        put_list(line, it->immediate, "fr", false);
        break;
    case 'g':
        put(line, "%.7g", (double)csky_fpu_value(csky_fpu_immediate(it->immediate)));
        break;
    case 'k':
        put(line, "cr<%" PRIu32 ", %u>", it->immediate, it->y);
        break;
    default:
        put_psr_bits(line, it->immediate);
        break;
    }
}

unsigned csky_disassemble(uint32_t pc, uint16_t first, uint16_t second, char *text, size_t room) {
    struct line line = {text, room, 0};
    struct csky_instruction it;
    if (!csky_decode(pc, first, second, &it)) {
        put(&line, ".short 0x%04x", first);
        if (csky_is_wide(first)) {
            put(&line, ", 0x%04x", second);
        }
        return 0;
    }
    put(&line, "%s ", names[it.operation]);
    const size_t name_length = line.length;
    for (const char *from = texts[it.format]; *from != '\0'; ++from) {
        if (*from == '%') {
            put_operand(&line, *++from, pc, &it);
        } else {
            put(&line, "%c", *from);
        }
    }
    if (line.length == name_length && line.length <= room) {
        text[line.length - 1] = '\0'; /* no operands */
    }
    return it.bytes;
}
