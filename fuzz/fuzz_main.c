/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzz target, four ways:
 *
 *   under afl-fuzz       persistent mode, the input in shared memory (forkserver.h)
 *   with libFuzzer       LLVMFuzzerTestOneInput; its main, not ours (FUZZ_LIBFUZZER)
 *   PROGRAM [FILE...]    each file once, standard input if there is none; a folder: its files
 *   PROGRAM --runs N     N inputs made from a seed, of the files given if there are any
 *
 * What ended the process is named by the last line on standard error, with the command that
 * repeats it; an input that does not end is ended. The same arguments do the same work.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "forkserver.h"
#include "fuzz.h"

#define INPUT_BYTES_MAX (1u << 20) /* afl-fuzz's own limit */
#define MADE_BYTES_MAX 4096u       /* longest input that a seed makes of nothing */
#define HANG_SECONDS 5             /* of the processor's time for one input */

/* ---- failures ---- */

void fuzz_fail(const char *file, int line, const char *format, ...) {
    char text[1024];
    const char *base = strrchr(file, '/');
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "fuzz %s: %s:%d: %s\n", fuzz_name, base != NULL ? base + 1 : file, line, text);
    abort();
}

/* ---- libFuzzer ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    if (fuzz_open != NULL) {
        fuzz_open();
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return fuzz_one(data, size); }

#ifndef FUZZ_LIBFUZZER

/* ---- inputs ---- */

struct input {
    char *path;
    uint8_t *data;
    size_t size;
};

struct inputs {
    struct input *list;
    size_t count;
};

_Noreturn static void refuse(const char *what, const char *reason) {
    fprintf(stderr, "fuzz %s: %s: %s\n", fuzz_name, what, reason);
    exit(2);
}

static void *must(void *memory) {
    if (memory == NULL) {
        refuse("memory", "there is not enough");
    }
    return memory;
}

/* Exactly as much memory as there are bytes, so that a sanitizer sees a step beyond. */
static void read_stream(FILE *in, const char *path, struct input *input) {
    uint8_t *buffer = must(malloc(INPUT_BYTES_MAX + 1u));
    size_t size = fread(buffer, 1, INPUT_BYTES_MAX + 1u, in);
    if (ferror(in)) {
        refuse(path, "cannot be read");
    }
    if (size > INPUT_BYTES_MAX) {
        refuse(path, "is larger than 1 MiB");
    }
    input->data = must(malloc(size > 0 ? size : 1));
    input->size = size;
    memcpy(input->data, buffer, size);
    free(buffer);
}

static void add_file(struct inputs *inputs, const char *path) {
    inputs->list = must(realloc(inputs->list, (inputs->count + 1) * sizeof *inputs->list));
    struct input *input = &inputs->list[inputs->count++];
    FILE *in = fopen(path, "rb");
    if (in == NULL) {
        refuse(path, strerror(errno));
    }
    input->path = must(strdup(path));
    read_stream(in, path, input);
    fclose(in);
}

static int is_visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }

/* Files of a folder in the order of their names, or the file itself. */
static void add_path(struct inputs *inputs, const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) {
        refuse(path, strerror(errno));
    }
    if (!S_ISDIR(status.st_mode)) {
        add_file(inputs, path);
        return;
    }
    struct dirent **entries;
    int count = scandir(path, &entries, is_visible, alphasort);
    if (count < 0) {
        refuse(path, strerror(errno));
    }
    for (int i = 0; i < count; i++) {
        char *inner = NULL;
        if (asprintf(&inner, "%s/%s", path, entries[i]->d_name) < 0) {
            refuse(path, "there is not enough memory");
        }
        if (stat(inner, &status) == 0 && S_ISREG(status.st_mode)) {
            add_file(inputs, inner);
        }
        free(inner);
        free(entries[i]);
    }
    free(entries);
}

static void inputs_free(struct inputs *inputs) {
    for (size_t i = 0; i < inputs->count; i++) {
        free(inputs->list[i].path);
        free(inputs->list[i].data);
    }
    free(inputs->list);
}

/* ---- the last words ---- */

/* What is being run, for the handlers of signals, which have no argument of ours. */
static char last_words[4096];

static void say(const char *text) {
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written;
}

static void say_last_words(void) { say(last_words); }

static void on_signal(int number) {
    if (number == SIGPROF) {
        say("this input does not end\n");
    }
    say_last_words();
    signal(number, SIG_DFL);
    raise(number);
}

/* Sanitizers end a process in their own way, and tell whoever asks for it. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

static void listen_to_the_end(void) {
    static const int signals[] = {SIGABRT, SIGILL, SIGFPE, SIGTERM, SIGXCPU, SIGPROF};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        signal(signals[i], on_signal);
    }
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(say_last_words);
        return;
    }
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
}

/* Before each input. */
static void watch_for_hang(void) {
    const struct itimerval limit = {.it_value.tv_sec = HANG_SECONDS};
    (void)setitimer(ITIMER_PROF, &limit, NULL);
}

/* The target gets a copy of the exact size, so that sanitizers see a step beyond its end. */
static int run_copy(const uint8_t *data, size_t size) {
    uint8_t *copy = must(malloc(size > 0 ? size : 1));
    memcpy(copy, data, size);
    int result = fuzz_one(copy, size);
    free(copy);
    return result;
}

/* ---- seeded runs ---- */

struct options {
    const char *program;
    uint64_t seed;
    uint64_t runs;       /* 0: the files as they are */
    const char *explain; /* write what this file means, and end */
    const char *save;    /* folder for the inputs that are made */
    struct inputs inputs;
    char *paths; /* as given, for the last words */
};

static size_t random_bytes(uint8_t *data, uint64_t *random) {
    size_t size = 1u + fuzz_random_below(random, 1u + fuzz_random_below(random, MADE_BYTES_MAX));
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)fuzz_random(random);
    }
    return size;
}

/* For targets without a mutator of their own: bytes change, come, go, and move. */
static size_t mutate_bytes(uint8_t *data, size_t size, size_t room, uint64_t *random) {
    static const uint8_t favourites[] = {0, 1, 0x7f, 0x80, 0xff, ' ', '\n', '0', '-', ','};
    uint32_t at = size > 0 ? fuzz_random_below(random, (uint32_t)size) : 0;
    uint32_t rest = (uint32_t)size - at;
    uint32_t length = 1u + fuzz_random_below(random, rest < 32u ? rest + 1u : 32u);
    switch (size > 0 ? fuzz_random_below(random, 6) : 3u) {
    case 0:
        data[at] ^= (uint8_t)(1u << fuzz_random_below(random, 8));
        return size;
    case 1:
        data[at] = favourites[fuzz_random_below(random, sizeof favourites)];
        return size;
    case 2:
        data[at] = (uint8_t)fuzz_random(random);
        return size;
    case 3: /* twice the same, or anything where nothing is */
        if (size + length > room) {
            return size;
        }
        memmove(data + at + length, data + at, rest);
        for (uint32_t i = rest; i < length; i++) {
            data[at + i] = (uint8_t)fuzz_random(random);
        }
        return size + length;
    case 4:
        length = length < rest ? length : rest;
        memmove(data + at, data + at + length, rest - length);
        return size - length;
    default:
        length = length < rest ? length : rest;
        memmove(data + fuzz_random_below(random, (uint32_t)size - length + 1u), data + at, length);
        return size;
    }
}

/* Input number `seed`: another seed, another input, so that one of many runs alone. */
static size_t make_input(const struct options *options, uint64_t seed, uint8_t *data) {
    uint64_t random = seed;
    const struct input *from = NULL;
    const struct input *other = NULL;
    size_t size;
    if (options->inputs.count > 0) {
        uint32_t count = (uint32_t)options->inputs.count;
        from = &options->inputs.list[fuzz_random_below(&random, count)];
        other = &options->inputs.list[fuzz_random_below(&random, count)];
        size = from->size;
        memcpy(data, from->data, size);
    } else {
        size = random_bytes(data, &random);
    }
    for (uint32_t left = 1u << fuzz_random_below(&random, 5); left > 0; left--) {
        size = fuzz_mutate != NULL
                   ? fuzz_mutate(data, size, INPUT_BYTES_MAX, other != NULL ? other->data : NULL,
                                 other != NULL ? other->size : 0, fuzz_random(&random))
                   : mutate_bytes(data, size, INPUT_BYTES_MAX, &random);
    }
    return size;
}

static void save_input(const char *folder, uint64_t seed, const uint8_t *data, size_t size) {
    char path[4096];
    snprintf(path, sizeof path, "%s/seed-%" PRIu64, folder, seed);
    FILE *out = fopen(path, "wb");
    if (out == NULL || fwrite(data, 1, size, out) != size || fclose(out) != 0) {
        refuse(path, "cannot be written");
    }
}

static void run_seeds(const struct options *options) {
    uint8_t *data = must(malloc(INPUT_BYTES_MAX));
    for (uint64_t i = 0; i < options->runs; i++) {
        uint64_t seed = options->seed + i;
        snprintf(last_words, sizeof last_words, "to repeat: %s --seed %" PRIu64 " --runs 1%s\n",
                 options->program, seed, options->paths);
        size_t size = make_input(options, seed, data);
        if (options->save != NULL) {
            save_input(options->save, seed, data, size);
        }
        watch_for_hang();
        (void)run_copy(data, size);
    }
    free(data);
    printf("fuzz %s: %" PRIu64 " runs from seed %" PRIu64 ": no finding\n", fuzz_name,
           options->runs, options->seed);
}

static void run_files(const struct options *options) {
    size_t calls = 0;
    for (size_t i = 0; i < options->inputs.count; i++) {
        const struct input *input = &options->inputs.list[i];
        snprintf(last_words, sizeof last_words, "to repeat: %s %s\n", options->program,
                 input->path);
        watch_for_hang();
        fuzz_one(input->data, input->size);
        calls += fuzz_calls != NULL ? fuzz_calls(input->data, input->size) : 0;
    }
    printf("fuzz %s: %zu inputs", fuzz_name, options->inputs.count);
    if (fuzz_calls != NULL) {
        printf(", %zu calls", calls);
    }
    printf(": no finding\n");
}

static void run_standard_input(void) {
    struct input input = {0};
    read_stream(stdin, "standard input", &input);
    watch_for_hang();
    fuzz_one(input.data, input.size);
    free(input.data);
}

/* ---- arguments ---- */

static const char help[] =
    "Usage: %s [FILE|FOLDER...]               runs each file; standard input if there is none\n"
    "       %s --runs N [--seed N] [FILE...]  runs N inputs made from the seed (1) and the files\n"
    "       %s --explain FILE                 prints what the file means\n"
    "With --runs, --save FOLDER keeps the inputs. Exit status 0: no finding; 2: it was not tried;\n"
    "anything else: the last lines on standard error say what was found.\n";

static uint64_t number_of(const char *option, const char *text) {
    char *end = NULL;
    errno = 0;
    uint64_t value = text != NULL && *text >= '0' && *text <= '9' ? strtoull(text, &end, 0) : 0;
    if (end == NULL || *end != 0 || errno != 0) {
        refuse(option, "wants a number");
    }
    return value;
}

static void add_argument(struct options *options, const char *path) {
    char *longer = NULL;
    add_path(&options->inputs, path);
    if (asprintf(&longer, "%s %s", options->paths, path) < 0) {
        refuse("memory", "there is not enough");
    }
    free(options->paths);
    options->paths = longer;
}

/* argv ends with a null pointer, which number_of and refuse take. */
static void read_arguments(struct options *options, char **argv) {
    for (argv++; *argv != NULL; argv++) {
        if (strcmp(*argv, "--help") == 0 || strcmp(*argv, "-h") == 0) {
            printf(help, options->program, options->program, options->program);
            exit(0);
        }
        if (strncmp(*argv, "--", 2) != 0) {
            add_argument(options, *argv);
            continue;
        }
        const char *option = *argv;
        const char *value = *++argv;
        if (value == NULL) {
            refuse(option, "wants a value, or is unknown: try --help");
        }
        if (strcmp(option, "--seed") == 0) {
            options->seed = number_of(option, value);
        } else if (strcmp(option, "--runs") == 0) {
            options->runs = number_of(option, value);
        } else if (strcmp(option, "--explain") == 0) {
            options->explain = value;
        } else if (strcmp(option, "--save") == 0) {
            options->save = value;
        } else {
            refuse(option, "is no option: try --help");
        }
    }
}

static int explain(const char *path) {
    struct inputs inputs = {0};
    if (fuzz_explain == NULL) {
        refuse(path, "this target has no other form of its inputs");
    }
    add_file(&inputs, path);
    bool good = fuzz_explain(inputs.list[0].data, inputs.list[0].size, stdout);
    inputs_free(&inputs);
    return good ? 0 : 2;
}

static int run_alone(char **argv) {
    struct options options = {.program = argv[0], .seed = 1, .paths = must(strdup(""))};
    read_arguments(&options, argv);
    listen_to_the_end();
    int status = 0;
    if (options.explain != NULL) {
        status = explain(options.explain);
    } else if (options.runs > 0) {
        run_seeds(&options);
    } else if (options.inputs.count > 0) {
        run_files(&options);
    } else {
        run_standard_input();
    }
    inputs_free(&options.inputs);
    free(options.paths);
    return status;
}

int main(int argc, char **argv) {
    (void)LLVMFuzzerInitialize(&argc, &argv);
    if (argc <= 1) {
        (void)forkserver_serve(run_copy);
    }
    return run_alone(argv);
}

#endif
