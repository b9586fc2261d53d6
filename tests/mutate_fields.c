/* SPDX-License-Identifier: Apache-2.0
 *
 * Field reports come damaged in ways nobody thought of: this program damages them at random,
 * as often as it is told, and diagnoses each result. scripts/mutate builds it with
 * AddressSanitizer and UndefinedBehaviorSanitizer and runs it over all bundled reports; a
 * sample of it is an ordinary test.
 *
 * A child does the work in batches and notes the number of each case in shared memory, so
 * that a crash is reported with the one command that repeats it.
 */
#include <argp.h> /* argument parsing: in glibc, so nothing to install */
#include <inttypes.h>
#include <sanitizer/asan_interface.h> /* says nothing where there is no AddressSanitizer */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "diagnose.h"

#define BATCH 2000u
#define DUMP_FILE_CASES 16u /* of so many dumps one is read from its file */
#define CASE_SECONDS 20     /* no report takes this long: an endless loop */

struct arguments {
    uint64_t seed;
    uint64_t from;
    uint64_t count;
    bool truncate;
    char **files;
    int file_count;
};

/* One report and its damaged copy: a file in memory, mapped, so that a case costs the bytes
 * that it changes and not all of a dump's 288 KiB. */
struct report {
    const char *name;
    uint8_t *bytes;
    size_t size;
    uint8_t *copy;
    size_t room;
    size_t spoilt; /* the copy may differ from here on */
    int file;
    char path[32]; /* reports are opened by name: the copy's */
};

static uint64_t mix(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* One change in place; the size may shrink or grow up to the room. */
static size_t damage(struct report *report, size_t size, uint64_t *random) {
    uint8_t *bytes = report->copy;
    size_t at = size == 0 ? 0 : mix(random) % size;
    size_t length = 1 + mix(random) % 64;
    report->spoilt = at < report->spoilt ? at : report->spoilt;
    switch (mix(random) % 6) {
    case 0:
        if (size != 0) {
            bytes[at] = (uint8_t)mix(random);
        }
        break;
    case 1:
        if (size != 0) {
            bytes[at] ^= (uint8_t)(1u << mix(random) % 8);
        }
        break;
    case 2: /* cut out */
        length = length < size - at ? length : size - at;
        memmove(bytes + at, bytes + at + length, size - at - length);
        return size - length;
    case 3: /* say twice */
        length = length < size - at ? length : size - at;
        length = length < report->room - size ? length : report->room - size;
        memmove(bytes + at + length, bytes + at, size - at);
        return size + length;
    case 4: /* a run of one byte */
        length = length < size - at ? length : size - at;
        memset(bytes + at, (int)(mix(random) & 0xff), length);
        break;
    default: /* cut short, now and then */
        return mix(random) % 16 == 0 ? at : size;
    }
    return size;
}

static void try_firmware(const char *path) {
    char error[512];
    struct firmware_place place;
    uint32_t value;
    struct firmware *firmware = firmware_open(path, error, sizeof error);
    if (firmware != NULL) {
        firmware_symbol(firmware, "wm_soc_memory", &value);
        firmware_string(firmware, 0x0807a200u);
        firmware_locate(firmware, 0x08010400u, &place);
        firmware_close(firmware);
    }
}

/* A dump as if it were read already: a copy of that size, whose pages AddressSanitizer fetches
 * anew each time, would cost more than what is tested. */
static bool diagnose_copy(const struct report *report, size_t size, struct diagnosis *diagnosis,
                          char *error, size_t error_size) {
    const struct diagnose_options options = {0};
    uint8_t *behind = report->copy + size;
    *diagnosis = (struct diagnosis){0};
    ASAN_POISON_MEMORY_REGION(behind, report->room - size);
    bool ok =
        image_init(&diagnosis->image) &&
        diagnose_memory(report->copy, size, report->name, &options, diagnosis, error, error_size);
    ASAN_UNPOISON_MEMORY_REGION(behind, report->room - size);
    if (!ok) {
        diagnosis_free(diagnosis);
    }
    return ok;
}

static void try_diagnosis(const struct report *report, size_t size, bool from_file) {
    const struct diagnose_options options = {0};
    struct diagnosis diagnosis;
    char error[1024] = "";
    bool ok = from_file ? diagnose_file(report->path, &options, &diagnosis, error, sizeof error)
                        : diagnose_copy(report, size, &diagnosis, error, sizeof error);
    if (ok) {
        if (diagnosis_verdict(&diagnosis) >= VERDICT_COUNT) {
            abort();
        }
        diagnosis_free(&diagnosis);
    } else if (error[0] == '\0' || strchr(error, '\n') != NULL) {
        abort(); /* one line is promised */
    }
}

static void set_size(const struct report *report, size_t size) {
    if (ftruncate(report->file, (off_t)size) != 0) {
        abort();
    }
}

static bool has_ending(const struct report *report, const char *ending) {
    const char *dot = strrchr(report->name, '.');
    return dot != NULL && strcmp(dot, ending) == 0;
}

static void try_case(const struct arguments *arguments, struct report *report, uint64_t number) {
    size_t size = report->size;
    uint64_t random = arguments->seed * 0x2545f4914f6cdd1du + number;
    report->spoilt = size;
    if (arguments->truncate) {
        size = report->spoilt = number;
    } else {
        for (uint64_t i = 1 + mix(&random) % 8; i > 0; i--) {
            size = damage(report, size, &random);
        }
    }
    set_size(report, size);
    report->spoilt = size < report->spoilt ? size : report->spoilt;
    alarm(CASE_SECONDS);
    if (has_ending(report, ".elf")) {
        try_firmware(report->path);
    } else {
        bool from_file = !has_ending(report, ".ram") || number % DUMP_FILE_CASES == 0;
        try_diagnosis(report, size, from_file);
    }
    set_size(report, report->room); /* what was cut off is 0 now */
    memcpy(report->copy + report->spoilt, report->bytes + report->spoilt,
           report->size - report->spoilt);
}

/* The cases of one report, in children. Returns false after a crash. */
static bool run_report(const struct arguments *arguments, struct report *report) {
    volatile uint64_t *at =
        mmap(NULL, sizeof *at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t end = arguments->from + arguments->count;
    if (at == MAP_FAILED) {
        fprintf(stderr, "mutate_fields: out of memory\n");
        exit(2);
    }
    if (arguments->truncate && end > report->size) {
        end = report->size;
    }
    int status = 0;
    for (uint64_t from = arguments->from; from < end && status == 0; from += BATCH) {
        fflush(NULL); /* once: the child ends by exit, which looks for leaks */
        pid_t child = fork();
        if (child == 0) {
            for (uint64_t i = from; i < end && i < from + BATCH; i++) {
                *at = i;
                try_case(arguments, report, i);
            }
            exit(0);
        }
        waitpid(child, &status, 0);
        if (isatty(STDERR_FILENO)) {
            fprintf(stderr, "\r%s: %" PRIu64 " of %" PRIu64 "\033[K", report->name, *at + 1, end);
        }
    }
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K");
    }
    if (status != 0) {
        printf("%s: case %" PRIu64 " ends the program; again:\n"
               "  scripts/mutate%s --seed %" PRIu64 " --from %" PRIu64 " --count 1 %s\n",
               report->name, *at, arguments->truncate ? " --truncate" : "", arguments->seed, *at,
               report->name);
    }
    munmap((void *)(uintptr_t)at, sizeof *at);
    return status == 0;
}

static bool report_read(struct report *report, const char *path) {
    FILE *file = fopen(path, "rb");
    *report = (struct report){.name = path, .file = -1};
    if (file == NULL || fseek(file, 0, SEEK_END) != 0 || ftell(file) < 0) {
        perror(path);
        return false;
    }
    report->size = (size_t)ftell(file);
    rewind(file);
    report->bytes = malloc(report->size + 1);
    bool good =
        report->bytes != NULL && fread(report->bytes, 1, report->size, file) == report->size;
    fclose(file);
    return good;
}

static bool report_copy(struct report *report) {
    report->room = report->size + 1024;
    report->file = memfd_create("report", 0);
    if (report->file < 0) {
        perror("memfd_create");
        return false;
    }
    set_size(report, report->room);
    report->copy = mmap(NULL, report->room, PROT_READ | PROT_WRITE, MAP_SHARED, report->file, 0);
    if (report->copy == MAP_FAILED) {
        perror(report->name);
        return false;
    }
    memcpy(report->copy, report->bytes, report->size);
    snprintf(report->path, sizeof report->path, "/proc/self/fd/%d", report->file);
    return true;
}

static void report_free(struct report *report) {
    munmap(report->copy, report->room);
    close(report->file);
    free(report->bytes);
}

static const struct argp_option option_table[] = {
    {"seed", 's', "N", 0, "Another series of damages (default 1)", 0},
    {"from", 'f', "N", 0, "Begin at case N (default 0)", 0},
    {"count", 'n', "N", 0, "This many cases of each file (default 1000000)", 0},
    {"truncate", 't', NULL, 0, "Instead cut each file after 0, 1, 2, ... bytes", 0},
    {0}};

static error_t parse_option(int key, char *value, struct argp_state *state) {
    struct arguments *arguments = state->input;
    switch (key) {
    case 's':
        arguments->seed = strtoull(value, NULL, 0);
        return 0;
    case 'f':
        arguments->from = strtoull(value, NULL, 0);
        return 0;
    case 'n':
        arguments->count = strtoull(value, NULL, 0);
        return 0;
    case 't':
        arguments->truncate = true;
        return 0;
    case ARGP_KEY_ARGS:
        arguments->files = state->argv + state->next;
        arguments->file_count = state->argc - state->next;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv) {
    static const struct argp parser = {
        option_table,
        parse_option,
        "FILE...",
        "Damages field reports at random and diagnoses them; exit status 1 if that ends the "
        "program.\v"
        "Example:\n  scripts/mutate --count 1000 tests/field/leak-11.log",
        NULL,
        NULL,
        NULL};
    struct arguments arguments = {.seed = 1, .count = 1000000};
    argp_err_exit_status = 2;
    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    int status = 0;
    for (int i = 0; i < arguments.file_count; i++) {
        struct report report;
        if (!report_read(&report, arguments.files[i]) || !report_copy(&report)) {
            return 2;
        }
        status |= !run_report(&arguments, &report);
        report_free(&report);
    }
    printf("seed %" PRIu64 ", %d reports, %s\n", arguments.seed, arguments.file_count,
           status == 0 ? "none ends the program" : "see above");
    return status;
}
