/* SPDX-License-Identifier: Apache-2.0
 *
 * What GCC's execution tests need of a C library and of a system: an entry that calls main
 * and exits with its result, abort, the string functions that tests declare or GCC calls by
 * itself, memory that is never given back, and printing that prints nothing. Weak, because
 * some tests bring their own.
 *
 * To be compiled with -ffreestanding -fno-builtin and without loop patterns: these loops must
 * not become calls of the functions that they are.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "system.h"

#define WEAK __attribute__((weak))
#define ABORTED 134 /* as a shell reports SIGABRT */
#define ARENA_BYTES (1u << 20)

int main(int argc, char **argv, char **environment);
void _start(void);

WEAK void exit(int status) { system_exit(status); }
WEAK void _exit(int status) { system_exit(status); }
WEAK void abort(void) { system_exit(ABORTED); }

void _start(void) {
    static char name[] = "test";
    static char *arguments[] = {name, NULL, NULL}; /* the environment is empty, too */

    system_exit(main(1, arguments, arguments + 2));
}

/* --- Bytes ------------------------------------------------------------------------------ */

WEAK void *memcpy(void *to, const void *from, size_t count) {
    unsigned char *out = to;
    const unsigned char *in = from;

    for (size_t i = 0; i < count; i++) {
        out[i] = in[i];
    }
    return to;
}

WEAK void *memmove(void *to, const void *from, size_t count) {
    unsigned char *out = to;
    const unsigned char *in = from;

    if ((uintptr_t)out <= (uintptr_t)in) {
        return memcpy(to, from, count);
    }
    for (size_t i = count; i > 0; i--) {
        out[i - 1] = in[i - 1];
    }
    return to;
}

WEAK void *memset(void *to, int value, size_t count) {
    unsigned char *out = to;

    for (size_t i = 0; i < count; i++) {
        out[i] = (unsigned char)value;
    }
    return to;
}

WEAK int memcmp(const void *left, const void *right, size_t count) {
    const unsigned char *a = left, *b = right;

    for (size_t i = 0; i < count; i++) {
        if (a[i] != b[i]) {
            return a[i] < b[i] ? -1 : 1;
        }
    }
    return 0;
}

/* --- Strings ---------------------------------------------------------------------------- */

WEAK size_t strlen(const char *text) {
    size_t length = 0;

    while (text[length] != '\0') {
        length++;
    }
    return length;
}

WEAK char *strcpy(char *to, const char *from) {
    size_t i = 0;

    do {
        to[i] = from[i];
    } while (from[i++] != '\0');
    return to;
}

WEAK char *strncpy(char *to, const char *from, size_t count) {
    bool ended = false;

    for (size_t i = 0; i < count; i++) {
        ended = ended || from[i] == '\0';
        to[i] = ended ? '\0' : from[i];
    }
    return to;
}

WEAK char *strcat(char *to, const char *from) {
    strcpy(to + strlen(to), from);
    return to;
}

WEAK int strncmp(const char *left, const char *right, size_t count) {
    for (size_t i = 0; i < count; i++) {
        unsigned char a = (unsigned char)left[i], b = (unsigned char)right[i];
        if (a != b) {
            return a < b ? -1 : 1;
        }
        if (a == '\0') {
            break;
        }
    }
    return 0;
}

WEAK int strcmp(const char *left, const char *right) { return strncmp(left, right, SIZE_MAX); }

WEAK char *strchr(const char *text, int wanted) {
    for (;; text++) {
        if (*text == (char)wanted) {
            return (char *)(uintptr_t)text;
        }
        if (*text == '\0') {
            return NULL;
        }
    }
}

WEAK char *strrchr(const char *text, int wanted) {
    char *last = NULL;

    do {
        if (*text == (char)wanted) {
            last = (char *)(uintptr_t)text;
        }
    } while (*text++ != '\0');
    return last;
}

/* --- Output: none ----------------------------------------------------------------------- */

WEAK int printf(const char *format, ...) {
    (void)format;
    return 0;
}

WEAK int puts(const char *text) {
    (void)text;
    return 0;
}

WEAK int putchar(int byte) { return byte; }

/* --- Memory ----------------------------------------------------------------------------- */

WEAK void *malloc(size_t size) {
    static _Alignas(16) unsigned char arena[ARENA_BYTES];
    static size_t used;
    size_t rounded = (size + 15) & ~(size_t)15, start = used;

    if (rounded < size || rounded > ARENA_BYTES - used) {
        return NULL;
    }
    used += rounded;
    return arena + start;
}

/* Sizes of tests' own making: the product needs no check. (GCC would make one of it by mulu,
 * which a CK804 has not.) */
WEAK void *calloc(size_t count, size_t size) {
    void *memory = malloc(count * size);

    return memory == NULL ? NULL : memset(memory, 0, count * size);
}

WEAK void free(void *memory) { (void)memory; }
