/* SPDX-License-Identifier: Apache-2.0
 *
 * What the suites of the simulated machine share: a usual machine, a recorder of events,
 * accesses that may trap, and a child process for what ends a process.
 */
#ifndef TESTS_MACHINE_H
#define TESTS_MACHINE_H

#include "../sim/w800.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define MIB (1u << 20)
#define NO_EVENT W800_EVENT_KINDS

#define SRAM_HEAP 0x20004120u
#define DRAM_HEAP 0x20028c00u
#define DRAM_HEAP_END 0x20047ffcu /* the last word is kept for a reboot reason */

static inline struct w800_config machine_config(const struct heap_build *build,
                                                uint32_t psram_bytes) {
    struct w800_config config = {
        .build = build,
        .regions =
            {
                {"SRAM", SRAM_HEAP, W800_DRAM_START,
                 WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_INTERNAL | WM_HEAP_CAP_EXEC, false},
                {"DRAM", DRAM_HEAP, DRAM_HEAP_END,
                 WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_INTERNAL | WM_HEAP_CAP_SHARED, false},
                {"PSRAM", W800_PSRAM_START, W800_PSRAM_START + psram_bytes, WM_HEAP_CAP_SPIRAM,
                 true},
            },
        .region_count = 3,
        .psram_bytes = psram_bytes,
    };
    return config;
}

static inline void machine_start(const struct w800_config *config) {
    struct w800_error error;
    cr_assert(w800_start(config, &error), "%s", error.text);
}

/* A machine with an initialised heap, PSRAM joined if there is any. */
static inline void machine_start_heap(const struct heap_build *build, uint32_t psram_bytes) {
    struct w800_config config = machine_config(build, psram_bytes);
    machine_start(&config);
    wm_heap_init();
    if (psram_bytes > 0) {
        cr_assert_eq(wm_heap_append_to_heap("PSRAM"), WM_ERR_SUCCESS);
    }
}

struct recorder {
    uint32_t count;
    struct w800_event last;
};

static inline void record_event(void *context, const struct w800_event *event) {
    struct recorder *recorder = context;
    recorder->count++;
    recorder->last = *event;
}

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_EXECUTE, ACCESS_KINDS };
static const char *const access_names[ACCESS_KINDS] = {"read", "write", "execute"};

struct access_at {
    enum access access;
    uint32_t address;
};

static inline void make_access(void *context) {
    const struct access_at *at = context;
    volatile uint8_t *byte = w800_pointer(at->address);
    if (at->access == ACCESS_READ) {
        (void)*byte;
    } else if (at->access == ACCESS_WRITE) {
        *byte = 0x5a;
    } else {
        void *code = w800_pointer(at->address);
        void (*function)(void);
        memcpy(&function, &code, sizeof function);
        function();
    }
}

/* The kind of event an access makes, NO_EVENT if none. The recorder is reset. */
static inline enum w800_event_kind try_access(enum access access, uint32_t address,
                                              struct recorder *recorder) {
    struct access_at at = {access, address};
    *recorder = (struct recorder){0};
    w800_on_event(record_event, recorder);
    bool ended = w800_guard(make_access, &at);
    cr_assert_eq(ended, recorder->count == 0, "%s at 0x%08x: guard says %s, %u events",
                 access_names[access], address, ended ? "ended" : "trapped", recorder->count);
    return ended ? NO_EVENT : recorder->last.kind;
}

static inline const char *kind_name(enum w800_event_kind kind) {
    return kind == NO_EVENT ? "no event" : w800_event_name(kind);
}

/* Runs `body` in a child; returns its wait status and what it wrote to standard error. */
static inline int run_child(void (*body)(void), char *text, size_t size) {
    int channel[2];
    cr_assert_eq(pipe(channel), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        dup2(channel[1], STDERR_FILENO);
        close(channel[0]);
        close(channel[1]);
        body();
        _exit(0);
    }
    close(channel[1]);
    size_t length = 0;
    ssize_t got;
    while (length + 1 < size && (got = read(channel[0], text + length, size - 1 - length)) > 0) {
        length += (size_t)got;
    }
    text[length] = 0;
    close(channel[0]);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    return status;
}

#endif
