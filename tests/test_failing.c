/* SPDX-License-Identifier: Apache-2.0
 *
 * What the programs do when the system lets them down: each command is run again and again, and
 * each time another call to the system fails, once, or from there on all of them: the first TIMES
 * from each place in the program, a place being the DEPTH functions that led there. It must then
 * say so in a line and end with status 2, or do as if nothing had happened, with the same output;
 * never crash, never leave half a file or a temporary one. Allocations, files, mappings, pipes:
 * whatever the linker can put a hand on (--wrap).
 *
 * Commands share places, and each counts once, for the first row of the table that comes by. Should
 * no run notice, nothing is shown, and the test fails.
 *
 * test_failing [ROW [CALL]]: one row of the table, one call.
 */
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <glob.h>
#include <libelf.h>
#include <sanitizer/lsan_interface.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../sim/command.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define ARGUMENTS_MAX 8
#define OUTPUT_MAX (1u << 20)
#define RESULT "result" /* stands for the file that a command is told to write */
#define CALLS_MAX (1u << 13)
#define PLACES_MAX (1u << 12)
#ifdef __SANITIZE_ADDRESS__ /* under which a run takes three times as long */
#define TIMES 1u
#else
#define TIMES 2u
#endif
#define DEPTH 3

/* --- calls that fail ----------------------------------------------------------------------------
 */

static struct {
    long calls;   /* made since it was armed */
    long failing; /* the number of the one that fails, 0: none */
    bool for_ever;
    bool armed;
    char function[32]; /* the one that failed first */
    uint64_t places[CALLS_MAX];
} * plan; /* shared with the child */

/* The place of a call that returns to `caller`. */
static uint64_t place_of(const void *caller) {
    void *frames[DEPTH + 3]; /* this function's and those between */
    int count = backtrace(frames, DEPTH + 3);
    int i = 0;
    while (i < count && frames[i] != caller) {
        i++;
    }
    uint64_t place = (uintptr_t)caller;
    for (int end = i + DEPTH; ++i < end && i < count;) {
        place = place * 0x9e3779b97f4a7c15u + (uintptr_t)frames[i];
    }
    return place;
}

static bool fails(const char *function, int cause, const void *caller) {
    if (plan == NULL || !plan->armed) {
        return false;
    }
    if (plan->failing == 0 && plan->calls < (long)CALLS_MAX) {
        plan->places[plan->calls] = place_of(caller);
    }
    plan->calls++;
    if (plan->failing == 0 || plan->calls < plan->failing ||
        (plan->calls > plan->failing && !plan->for_ever)) {
        return false;
    }
    if (plan->calls == plan->failing) {
        snprintf(plan->function, sizeof plan->function, "%s", function);
    }
    errno = cause;
    return true;
}

#define CALLER __builtin_return_address(0)

/* REPLACE(type, name, parameters, arguments, cause, result) */
#define REPLACE(type, name, parameters, arguments, cause, result)                                  \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters {                                                                \
        return fails(#name, cause, CALLER) ? (result) : __real_##name arguments;                   \
    }

REPLACE(void *, malloc, (size_t size), (size), ENOMEM, NULL)
REPLACE(void *, calloc, (size_t count, size_t size), (count, size), ENOMEM, NULL)
REPLACE(void *, realloc, (void *old, size_t size), (old, size), ENOMEM, NULL)
REPLACE(char *, strdup, (const char *text), (text), ENOMEM, NULL)
REPLACE(char *, strndup, (const char *text, size_t size), (text, size), ENOMEM, NULL)
REPLACE(FILE *, open_memstream, (char **text, size_t *size), (text, size), ENOMEM, NULL)
REPLACE(FILE *, fopen, (const char *path, const char *mode), (path, mode), EMFILE, NULL)
REPLACE(FILE *, fdopen, (int descriptor, const char *mode), (descriptor, mode), ENOMEM, NULL)
REPLACE(int, mkstemp, (char *path), (path), EACCES, -1)
REPLACE(int, memfd_create, (const char *name, unsigned flags), (name, flags), EMFILE, -1)
REPLACE(int, rename, (const char *from, const char *to), (from, to), EACCES, -1)
REPLACE(ssize_t, getline, (char **line, size_t *size, FILE *file), (line, size, file), ENOMEM, -1)
REPLACE(int, pipe2, (int ends[2], int flags), (ends, flags), EMFILE, -1)
REPLACE(Elf *, elf_begin, (int file, Elf_Cmd command, Elf *from), (file, command, from), EIO, NULL)
REPLACE(void *, mmap, (void *at, size_t size, int rights, int flags, int descriptor, off_t offset),
        (at, size, rights, flags, descriptor, offset), ENOMEM, MAP_FAILED)

/* As the C library does, a file that could not be written remembers it. */
#define ERROR_SEEN 0x20
int __real_fflush(FILE *file);
int __wrap_fflush(FILE *file);
int __wrap_fflush(FILE *file) {
    if (!fails("fflush", ENOSPC, CALLER)) {
        return __real_fflush(file);
    }
    file->_flags |= ERROR_SEEN;
    return EOF;
}

int __real_fclose(FILE *file);
int __wrap_fclose(FILE *file);
int __wrap_fclose(FILE *file) {
    bool failed = fails("fclose", ENOSPC, CALLER);
    int result = __real_fclose(file);
    return failed ? EOF : result;
}

int __wrap_vasprintf(char **text, const char *format, va_list arguments);
int __real_vasprintf(char **text, const char *format, va_list arguments);
int __wrap_vasprintf(char **text, const char *format, va_list arguments) {
    return fails("vasprintf", ENOMEM, CALLER) ? -1 : __real_vasprintf(text, format, arguments);
}

int __wrap_asprintf(char **text, const char *format, ...);
int __wrap_asprintf(char **text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = fails("asprintf", ENOMEM, CALLER) ? -1 : __real_vasprintf(text, format, arguments);
    va_end(arguments);
    return length;
}

static void disarm(void) { plan->armed = false; }

/* Where one searches for leaks: not after each of a thousand runs, which takes longer than they do,
 * and a command that ends early leaves its memory to the system. */
int __lsan_is_turned_off(void) { return 1; }

/* --- a run --------------------------------------------------------------------------------------
 */

static char folder[] = "/tmp/test_failing_XXXXXX";

static const char *in_folder(const char *name) {
    static char path[4][sizeof folder + 32];
    static unsigned next;
    char *text = path[next++ % 4];
    snprintf(text, sizeof path[0], "%s/%s", folder, name);
    return text;
}

/* Removes what a run has left; returns how many files. */
static size_t clear_folder(const char *pattern) {
    glob_t found;
    size_t count = 0;
    if (glob(in_folder(pattern), 0, NULL, &found) == 0) {
        for (; count < found.gl_pathc; count++) {
            unlink(found.gl_pathv[count]);
        }
        globfree(&found);
    }
    return count;
}

typedef int command_fn(int argc, char **argv);

struct row {
    command_fn *command;
    int status;        /* if nothing fails */
    const char *input; /* a file for standard input, or NULL */
    const char *arguments[ARGUMENTS_MAX];
};

#define LOG "tests/field/underflow-11.log"
#define GOLDEN "tests/golden/boot_iot-none.trace"
#define FLAWED "tests/golden/mixed_caps-trace.trace"
#define TRACE "tests/replay/overrun.trace"

static const struct row rows[] = {
    {command_replay, 1, NULL, {"replay", TRACE}},
    {command_replay, 1, TRACE, {"replay", "--json", "--check=full", "-"}},
    {command_replay, 0, NULL, {"replay", "--print=tracing", TRACE, "--stop-at=3"}},
    {command_replay,
     0,
     NULL,
     {"replay", "--print=stats", "--psram=2M", "--set=poisoning=comprehensive",
      "tests/golden/mixed_caps-tcomp.trace"}},
    {command_shrink, 0, NULL, {"shrink", TRACE, RESULT}},
    {command_shrink, 0, NULL, {"shrink", "--json", TRACE, RESULT}},
    {command_emit, 0, NULL, {"emit", TRACE, RESULT}},
    {command_whatif, 0, NULL, {"whatif", TRACE}},
    {command_whatif, 0, NULL, {"whatif", "--json", TRACE}},
    {command_diagnose,
     1,
     NULL,
     {"diagnose", "--elf=tests/field/firmware-tlight.elf", "tests/field/underflow-11.log"}},
    {command_diagnose,
     1,
     NULL,
     {"diagnose", "--elf=tests/field/firmware-tlight.elf", "tests/field/double-free-11.log"}},
    {command_diagnose,
     1,
     NULL,
     {"diagnose", "--elf=tests/field/firmware-tlight.elf", "tests/field/exhaustion-11.log"}},
    {command_diagnose,
     1,
     NULL,
     {"diagnose", "--elf=tests/field/firmware-tlight.elf", "tests/field/fragmentation-11.log"}},
    {command_diagnose,
     1,
     NULL,
     {"diagnose", "--elf=tests/field/firmware-tlight.elf", "tests/field/leak-11.log"}},
    {command_diagnose,
     1,
     NULL,
     {"diagnose", "--elf=tests/field/firmware-tlight.elf", "tests/field/overrun-11.log"}},
    {command_diagnose,
     1,
     NULL,
     {"diagnose", "--elf=tests/field/firmware-tlight.elf", "tests/field/overrun-11-untraced.log"}},
    {command_diagnose,
     1,
     NULL,
     {"diagnose", "--elf=tests/field/firmware-tlight.elf", "tests/field/tail-11.log"}},
    {command_diagnose, 0, NULL, {"diagnose", "tests/field/clean-11.log"}},
    {command_diagnose, 1, LOG, {"diagnose", "--json", "-"}},
    {command_diagnose,
     1,
     NULL,
     {"diagnose", "--json", "--elf=tests/field/firmware-trace.elf", "tests/field/overrun-11.ram"}},
    {command_diagnose,
     0,
     NULL,
     {"diagnose", "--json", "--elf=tests/field/firmware-trace.elf", "tests/field/clean-11.ram"}},
    {command_diagnose,
     1,
     NULL,
     {"diagnose", "--json", "--elf=tests/field/firmware-trace.elf",
      "tests/field/overrun-11-untraced.ram"}},
    {command_convert, 0, NULL, {"convert", LOG, RESULT}},
    {command_convert, 0, NULL, {"convert", "--json", "tests/field/leak-11.log", RESULT}},
    {command_convert,
     0,
     NULL,
     {"convert", "--elf=tests/field/firmware-trace.elf", "tests/field/overrun-11.ram", RESULT}},
#ifdef CSKY_PROGRAMS
    {command_crosscheck, 0, NULL, {"crosscheck", "--build=none", "--stop-at=20", GOLDEN}},
    {command_crosscheck, 0, NULL, {"crosscheck", "--build=none", "--stop-at=20", "--json", GOLDEN}},
    {command_crosscheck,
     1,
     NULL,
     {"crosscheck", "--program-dir=" CSKY_PROGRAMS "/flaw-below", "--build=trace", FLAWED}},
    {command_cost, 0, NULL, {"cost", "--build=none", "--json", GOLDEN}},
    {command_cost, 0, NULL, {"cost", "--build=none", GOLDEN}},
#endif
};

struct outcome {
    int status; /* 256 and more: a signal */
    char out[OUTPUT_MAX];
    char err[OUTPUT_MAX];
    char result[OUTPUT_MAX];
};

static void read_file(const char *path, char text[OUTPUT_MAX]) {
    int file = open(path, O_RDONLY);
    ssize_t got = file >= 0 ? read(file, text, OUTPUT_MAX - 1) : 0;
    text[got > 0 ? got : 0] = '\0';
    if (file >= 0) {
        close(file);
    }
}

static void redirect(int descriptor, const char *path, int flags) {
    int file = open(path, flags, 0600);
    if (file < 0 || dup2(file, descriptor) < 0) {
        _exit(99);
    }
    close(file);
}

static void run_child(const struct row *row) {
    char *argv[ARGUMENTS_MAX + 1] = {NULL};
    int argc = 0;
    for (; argc < ARGUMENTS_MAX && row->arguments[argc] != NULL; argc++) {
        bool is_result = strcmp(row->arguments[argc], RESULT) == 0;
        argv[argc] = strdup(is_result ? in_folder(RESULT) : row->arguments[argc]);
    }
    redirect(0, row->input != NULL ? row->input : "/dev/null", O_RDONLY);
    redirect(1, in_folder("stdout"), O_WRONLY | O_CREAT | O_TRUNC);
    redirect(2, in_folder("stderr"), O_WRONLY | O_CREAT | O_TRUNC);
    atexit(disarm);
    plan->armed = true;
    int status = row->command(argc, argv);
    disarm();
    for (int i = 0; i < argc; i++) {
        free(argv[i]);
    }
    exit(status);
}

static void run(const struct row *row, long failing, bool for_ever, struct outcome *outcome) {
    int status = 0;
    plan->calls = 0;
    plan->failing = failing;
    plan->for_ever = for_ever;
    clear_folder(RESULT "*");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        run_child(row);
    }
    waitpid(child, &status, 0);
    outcome->status = WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
    read_file(in_folder("stdout"), outcome->out);
    read_file(in_folder("stderr"), outcome->err);
    read_file(in_folder(RESULT), outcome->result);
}

/* --- judging it ----------------------------------------------------------------------------------
 */

/* Is this what is usual, but for words that could not be had? Those are "?" or "(null)", each in
 * place of the rest of a word or of a line. */
static bool is_usual(const char *text, const char *usual) {
    for (; *text != '\0' || *usual != '\0'; text++, usual++) {
        size_t gap = *text == '?' && *usual != '?' ? 1 : strncmp(text, "(null)", 6) == 0 ? 6 : 0;
        if (gap != 0) {
            text += gap;
            while (*usual != '\0' && *usual != '\n' &&
                   strncmp(usual, text, strcspn(text, "\n") + 1) != 0) {
                usual++;
            }
        }
        if (*text != *usual) {
            return false;
        }
        if (*text == '\0') {
            break;
        }
    }
    return true;
}

/* Why a run was wrong; NULL if it was not. */
static const char *judge(const struct outcome *outcome, const struct outcome *usual) {
    size_t length = strlen(outcome->err);
    if (outcome->status > 255) {
        return "a signal";
    }
    if (clear_folder(RESULT ".*") > 0) {
        return "a temporary file is left";
    }
    bool good_file = is_usual(outcome->result, usual->result);
    if (outcome->status == STATUS_UNUSABLE) {
        return length == 0 || outcome->err[length - 1] != '\n' ? "no line says why"
               : outcome->result[0] != '\0' && !good_file      ? "half a file is written"
                                                               : NULL;
    }
    return outcome->status != usual->status ? "another status"
           : !is_usual(outcome->out, usual->out) && strstr(outcome->out, "out of memory") == NULL
               ? "another output"
           : !good_file ? "another file"
                        : NULL;
}

static unsigned failed;
static unsigned noticed;

static void try_call(size_t number, long call, bool for_ever, const struct outcome *usual,
                     unsigned *ended, unsigned *went_on) {
    static struct outcome outcome;
    run(&rows[number], call, for_ever, &outcome);
    const char *wrong = judge(&outcome, usual);
    *ended += outcome.status == STATUS_UNUSABLE;
    *went_on += outcome.status == usual->status;
    if (wrong != NULL) {
        printf("[FAIL] row %zu, %s, call %ld%s, of %s: %s (status %d)\n%.300s", number,
               rows[number].arguments[0], call, for_ever ? " and all behind it" : "",
               plan->function, wrong, outcome.status, outcome.err);
        failed++;
    }
}

/* How often was a call from this place tried before? It counts as tried now. */
static unsigned times_tried(uint64_t place) {
    static struct {
        uint64_t place;
        unsigned times;
    } tried[PLACES_MAX];
    size_t i = 0;
    while (i < PLACES_MAX - 1 && tried[i].times != 0 && tried[i].place != place) {
        i++;
    }
    tried[i].place = place;
    return tried[i].times++;
}

static void try_row(size_t number, long only) {
    static struct outcome usual;
    const struct row *row = &rows[number];
    unsigned ended = 0;
    unsigned went_on = 0;
    run(row, 0, false, &usual);
    long calls = plan->calls;
    if (usual.status != row->status) {
        printf("[FAIL] row %zu, %s: status %d, not %d\n%s", number, row->arguments[0], usual.status,
               row->status, usual.err);
        failed++;
        return;
    }
    if (only > 0) {
        try_call(number, only, false, &usual, &ended, &went_on);
        try_call(number, only, true, &usual, &ended, &went_on);
        return;
    }
    for (long call = 1; call <= calls && call <= (long)CALLS_MAX; call++) {
        unsigned times = times_tried(plan->places[call - 1]);
        if (times < TIMES) {
            try_call(number, call, false, &usual, &ended, &went_on);
        }
        if (times == 0) {
            try_call(number, call, true, &usual, &ended, &went_on);
        }
    }
    printf("row %zu, %s: %ld calls; %u runs ended with a line, %u went on\n", number,
           row->arguments[0], calls, ended, went_on);
    noticed += ended;
}

int main(int argc, char **argv) {
    plan = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mkdtemp(folder) == NULL) {
        perror(folder);
        return 2;
    }
#ifdef CSKY_PROGRAMS
    setenv("WMHEAP_CSKY_PROGRAMS", CSKY_PROGRAMS, 1);
#endif
    size_t first = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    size_t last = argc > 1 ? first : COUNT(rows) - 1;
    for (size_t i = first; i <= last && i < COUNT(rows); i++) {
        try_row(i, argc > 2 ? strtol(argv[2], NULL, 10) : 0);
    }
    if (argc <= 2 && noticed == 0) {
        printf("[FAIL] no failure was noticed\n");
        failed++;
    }
    clear_folder("*");
    rmdir(folder);
    printf("%s\n", failed == 0 ? "[PASS] every failure is told or overcome" : "");
    return failed != 0;
}
