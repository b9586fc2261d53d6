/* SPDX-License-Identifier: Apache-2.0
 *
 * The four functions that a freestanding compiler takes for granted. By words where both sides
 * are aligned: the heap fills and copies whole blocks, and an emulator runs every instruction.
 *
 * Compiled with -fno-builtin -fno-tree-loop-distribute-patterns, or the compiler would
 * recognise the loops and call the very functions that they are.
 */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *left, const void *right, size_t count);

typedef uint32_t __attribute__((may_alias)) word;

static int is_aligned(const void *a, const void *b) {
    return (((uintptr_t)a | (uintptr_t)b) & 3u) == 0;
}

void *memcpy(void *to, const void *from, size_t count) {
    unsigned char *at = to;
    const unsigned char *source = from;
    if (is_aligned(to, from)) {
        word *words = to;
        const word *source_words = from;
        for (; count >= 16; count -= 16, words += 4, source_words += 4) {
            words[0] = source_words[0];
            words[1] = source_words[1];
            words[2] = source_words[2];
            words[3] = source_words[3];
        }
        for (; count >= 4; count -= 4) {
            *words++ = *source_words++;
        }
        at = (unsigned char *)words;
        source = (const unsigned char *)source_words;
    }
    for (; count > 0; count--) {
        *at++ = *source++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t count) {
    unsigned char *at = to;
    const unsigned char *source = from;
    if ((uintptr_t)to - (uintptr_t)from >= count) {
        return memcpy(to, from, count); /* upwards, nothing is read after it was written */
    }
    while (count > 0) {
        count--;
        at[count] = source[count];
    }
    return to;
}

void *memset(void *to, int value, size_t count) {
    unsigned char *at = to;
    for (; count > 0 && ((uintptr_t)at & 3u) != 0; count--) {
        *at++ = (unsigned char)value;
    }
    word *words = (word *)(void *)at;
    uint32_t filled = (unsigned char)value * 0x01010101u;
    for (; count >= 32; count -= 32, words += 8) {
        words[0] = filled;
        words[1] = filled;
        words[2] = filled;
        words[3] = filled;
        words[4] = filled;
        words[5] = filled;
        words[6] = filled;
        words[7] = filled;
    }
    for (; count >= 4; count -= 4) {
        *words++ = filled;
    }
    for (at = (unsigned char *)words; count > 0; count--) {
        *at++ = (unsigned char)value;
    }
    return to;
}

int memcmp(const void *left, const void *right, size_t count) {
    const unsigned char *a = left;
    const unsigned char *b = right;
    for (; count > 0; count--, a++, b++) {
        if (*a != *b) {
            return *a - *b;
        }
    }
    return 0;
}
