/* SPDX-License-Identifier: Apache-2.0
 *
 * For the tests of the interpreter: C-SKY programs written word by word, so that no C-SKY
 * compiler is needed.
 */
#ifndef CSKY_PROGRAM_H
#define CSKY_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "../sim/csky.h"

#define PROGRAM_CODE 0x08010400u /* where code lies */
#define PROGRAM_DATA 0x20000000u /* and data, read and written */

enum { PROGRAM_EXECUTE = 1, PROGRAM_WRITE = 2, PROGRAM_READ = 4 };

struct program_segment {
    uint32_t address;
    uint32_t flags;
    uint32_t memory_bytes;
    const void *bytes;
    uint32_t file_bytes;
};

struct program_symbol {
    const char *name;
    uint32_t value;
    uint32_t size;
};

struct program {
    struct program_segment segments[8];
    size_t segment_count;
    struct program_symbol symbols[8];
    size_t symbol_count;
    uint16_t code[1024]; /* at PROGRAM_CODE */
    size_t code_count;
    uint32_t data[64]; /* at PROGRAM_DATA, within 4096 bytes */
};

/* Appends an instruction: of 32 bits if it begins with two ones, else of 16. */
void program_put(struct program *program, uint32_t instruction);
#define PROGRAM(...) program_of((const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}))
/* A program of these instructions, with data. The caller frees it. */
struct program *program_of(const uint32_t *instructions, size_t bytes);

/* Writes the ELF file; returns its size. */
#define PROGRAM_FILE_MAX 16384u
size_t program_file(const struct program *program, uint8_t bytes[PROGRAM_FILE_MAX]);

/* Saves bytes as a file of a name that mkstemp makes of the template. */
void program_save(const void *bytes, size_t size, char *path_template);

/* csky_open on bytes in a file. */
struct csky_machine *program_open_bytes(const void *bytes, size_t size, char message[256]);
/* Opens it, which must succeed, and frees it. */
struct csky_machine *program_open(struct program *program);

/* Some instructions. */
#define MOVI(z, value) (0x3000u | (uint32_t)(z) << 8 | (value)) /* r0 to r7, one byte */
#define MOVI16(z, value) (0xea000000u | (uint32_t)(z) << 16 | (value))
#define MOVIH(z, value) (0xea200000u | (uint32_t)(z) << 16 | (value))
#define ORI(z, x, value) (0xec000000u | (uint32_t)(z) << 21 | (uint32_t)(x) << 16 | (value))
#define ADDI(z, value) (0x2000u | (uint32_t)(z) << 8 | ((value)-1u))  /* 1 to 256 */
#define MOV(z, x) (0x6c03u | (uint32_t)(z) << 6 | (uint32_t)(x) << 2) /* r0 to r15 */
#define LD_W(z, x, offset) (0xd8002000u | (uint32_t)(z) << 21 | (uint32_t)(x) << 16 | (offset) / 4u)
#define ST_W(z, x, offset) (0xdc002000u | (uint32_t)(z) << 21 | (uint32_t)(x) << 16 | (offset) / 4u)
#define BR(halfwords) (0x0400u | ((uint32_t)(halfwords)&1023u))
#define BNEZ(x, halfwords) (0xe9200000u | (uint32_t)(x) << 16 | ((uint32_t)(halfwords)&65535u))
#define BSR(halfwords) (0xe0000000u | ((uint32_t)(halfwords)&0x3ffffffu))
#define RTS 0x783cu
#define TRAP0 0xc0002020u
#define NOP 0x6c03u
/* a call of the system, with the number in r7 */
#define SYSTEM(number) MOVI(7, number), TRAP0
#define EXIT(status) MOVI(0, status), SYSTEM(93)

#endif
