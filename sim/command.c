/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool is_control(char byte) { return (unsigned char)byte < 0x20 || byte == 0x7f; }

char *name_printable(const char *name) {
    char *text = malloc(4 * strlen(name) + 1);
    char *end = text;
    if (text == NULL) {
        return NULL;
    }
    for (; *name != '\0'; name++) {
        if (is_control(*name)) {
            end += sprintf(end, "\\x%02x", (unsigned char)*name);
        } else {
            *end++ = *name;
        }
    }
    *end = '\0';
    return text;
}

void shell_word_print(const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_./+-=,:@%";
    if (*word != '\0' && word[strspn(word, plain)] == '\0') {
        fputs(word, stdout);
        return;
    }
    fputs("$'", stdout);
    for (; *word != '\0'; word++) {
        if (is_control(*word)) {
            printf("\\%03o", (unsigned)*word); /* three digits, whatever follows */
        } else {
            printf(*word == '\'' || *word == '\\' ? "\\%c" : "%c", *word);
        }
    }
    fputs("'", stdout);
}

/* One progress line per process, as there is one terminal. */
static struct {
    const char *name;
    struct timespec began;
    double next_seconds; /* since then: when to show it next */
    bool on_terminal;
    bool shown;
} progress;

void progress_begin(const char *name) {
    progress.name = name;
    progress.on_terminal = isatty(STDERR_FILENO) == 1;
    progress.shown = false;
    progress.next_seconds = 1.0;
    clock_gettime(CLOCK_MONOTONIC, &progress.began);
}

void progress_show(size_t done, size_t all) {
    struct timespec now;
    if (!progress.on_terminal || all == 0) {
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    double seconds = (double)(now.tv_sec - progress.began.tv_sec) +
                     (double)(now.tv_nsec - progress.began.tv_nsec) / 1e9;
    if (seconds > progress.next_seconds) {
        progress.next_seconds = seconds + 0.1;
        fprintf(stderr, "\r%s: %zu of %zu events, %.0f%%\033[K", progress.name, done, all,
                100.0 * (double)done / (double)all);
        progress.shown = true;
    }
}

void progress_end(void) {
    if (progress.shown) {
        fputs("\r\033[K", stderr);
        progress.shown = false;
    }
}

bool output_finish(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return true;
    }
    fprintf(stderr, "wmheap: standard output: %s\n", strerror(errno));
    return false;
}
