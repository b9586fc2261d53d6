/* SPDX-License-Identifier: Apache-2.0
 *
 * Two ways to run a C-SKY program over an input: the interpreter in this process, and QEMU as
 * a process of its own behind two pipes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crosscheck_internal.h"
#include "csky.h"

/* A program that says nothing for so long has lost its way: QEMU's are counted in time, and
 * hardly on any machine in fewer a second. */
#define MILLION 1000000u
#define QEMU_MILLIONS_A_SECOND 50u

/* What goes in: the header with this run's numbers, then the rest of the piece. */
struct feed {
    struct crosscheck_header header;
    const uint8_t *piece;
    size_t bytes;
    size_t given;
};

static struct feed feed_make(const struct crosscheck_input *input, uint32_t op_count,
                             uint32_t interval) {
    struct feed feed = {
        .header = *input->header,
        .piece = (const uint8_t *)input->header,
        .bytes = input->bytes,
    };
    feed.header.op_count = op_count;
    feed.header.interval = interval;
    return feed;
}

/* The next bytes, as many as are wanted or stand together. */
static size_t feed_next(const struct feed *feed, const void **bytes) {
    if (feed->given < sizeof feed->header) {
        *bytes = (const uint8_t *)&feed->header + feed->given;
        return sizeof feed->header - feed->given;
    }
    *bytes = feed->piece + feed->given;
    return feed->bytes - feed->given;
}

/* False if it is more than a run can have to say. */
static bool output_take(struct crosscheck_output *output, const void *bytes, size_t count) {
    if (count > output->room - output->count) {
        snprintf(output->end, sizeof output->end, "it writes more than there is to say");
        return false;
    }
    memcpy(output->bytes + output->count, bytes, count);
    output->count += count;
    return true;
}

/* --- the interpreter -------------------------------------------------------------------------- */

struct console {
    struct feed feed;
    uint32_t patience;
    struct crosscheck_output *output;
};

static long console_read(void *context, int descriptor, void *bytes, size_t count) {
    struct console *console = context;
    const void *next;
    (void)descriptor;
    size_t room = feed_next(&console->feed, &next);
    if (count > room) {
        count = room;
    }
    memcpy(bytes, next, count);
    console->feed.given += count;
    return (long)count;
}

static long console_write(void *context, int descriptor, const void *bytes, size_t count) {
    struct console *console = context;
    return descriptor == 1 && output_take(console->output, bytes, count) ? (long)count : -EPIPE;
}

static const char *function_of(const struct csky_machine *machine) {
    const char *function = csky_function_at(machine, csky_pc(machine));
    return function != NULL ? function : "no function";
}

static void describe_fault(const struct csky_machine *machine, struct crosscheck_output *output) {
    static const char *const names[] = {
        [CSKY_FAULT_ACCESS] = "access to no memory",
        [CSKY_FAULT_MISALIGNED] = "misaligned access",
        [CSKY_FAULT_ENCODING] = "no instruction of this CPU",
        [CSKY_FAULT_DIVIDE] = "division by zero",
        [CSKY_FAULT_TRAP] = "trap",
        [CSKY_FAULT_SYSTEM_CALL] = "unknown system call",
    };
    const struct csky_fault *fault = csky_fault(machine);
    char access[64] = "";
    if (fault->access != 0) {
        snprintf(access, sizeof access, ", %s of %" PRIu32 " bytes at 0x%08" PRIx32,
                 fault->write ? "a store" : "a load", fault->access, fault->address);
    }
    snprintf(output->end, sizeof output->end, "it crashes: %s at pc 0x%08" PRIx32 " in %.64s%s",
             names[fault->kind], fault->pc, function_of(machine), access);
}

static bool run_interpreter(const char *program, struct console *console,
                            struct trace_error *error) {
    struct csky_machine *machine = csky_open(program, error->text, sizeof error->text);
    if (machine == NULL) {
        return false;
    }
    struct crosscheck_output *output = console->output;
    struct csky_console served = {console, console_read, console_write};
    csky_set_console(machine, &served);
    enum csky_end end;
    size_t said;
    do {
        said = output->count;
        end = csky_run(machine, (uint64_t)console->patience * MILLION);
    } while (end == CSKY_EXHAUSTED && output->count != said);
    if (end == CSKY_EXHAUSTED) {
        snprintf(output->end, sizeof output->end,
                 "it hangs: %" PRIu32 " million instructions without a word, at pc 0x%08" PRIx32
                 " in %.64s",
                 console->patience, csky_pc(machine), function_of(machine));
    } else if (end == CSKY_FAULTED) {
        describe_fault(machine, output);
    } else if (csky_status(machine) != 0 && output->end[0] == '\0') {
        snprintf(output->end, sizeof output->end, "it exits with status %d", csky_status(machine));
    }
    csky_close(machine);
    return true;
}

/* --- QEMU ------------------------------------------------------------------------------------- */

char *crosscheck_find_qemu(void) {
    const char *named = getenv("QEMU_CSKY");
    const char *path = getenv("PATH");
    if (named != NULL && *named != '\0') {
        return strdup(named);
    }
    char *folders = path != NULL ? strdup(path) : NULL;
    char *rest = folders;
    char *found = NULL;
    for (char *folder; found == NULL && (folder = strsep(&rest, ":")) != NULL;) {
        if (asprintf(&found, "%s/qemu-cskyv2", *folder != '\0' ? folder : ".") < 0) {
            found = NULL;
        } else if (access(found, X_OK) != 0) {
            free(found);
            found = NULL;
        }
    }
    free(folders);
    return found;
}

struct child {
    pid_t process;
    int to;
    int from;
};

static bool child_start(struct child *child, const char *qemu, const char *program) {
    int in[2];
    int out[2];
    if (pipe2(in, O_CLOEXEC) != 0) {
        return false;
    }
    if (pipe2(out, O_CLOEXEC) != 0) {
        close(in[0]);
        close(in[1]);
        return false;
    }
    char *const argv[] = {strdup(qemu), strdup("-cpu"), strdup("ck804ef"), strdup(program), NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int cause = posix_spawn(&child->process, qemu, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    for (int i = 0; i < 4; i++) {
        free(argv[i]);
    }
    close(in[0]);
    close(out[1]);
    child->to = in[1];
    child->from = out[0];
    if (cause != 0) {
        close(child->to);
        close(child->from);
        errno = cause;
        return false;
    }
    (void)fcntl(child->to, F_SETFL, O_NONBLOCK);
    return true;
}

/* Moves what can be moved in either direction. False when all was read, or nothing will come. */
static bool child_serve(struct child *child, struct console *console) {
    static uint8_t bytes[1u << 16];
    struct feed *feed = &console->feed;
    struct crosscheck_output *output = console->output;
    uint32_t seconds = 1u + console->patience / QEMU_MILLIONS_A_SECOND;
    struct pollfd ends[2] = {{child->from, POLLIN, 0}, {child->to, POLLOUT, 0}};
    int ready =
        poll(ends, child->to >= 0 ? 2 : 1, (int)(seconds < 2000000u ? seconds : 2000000u) * 1000);
    if (ready == 0) {
        snprintf(output->end, sizeof output->end, "it hangs: %" PRIu32 " seconds without a word",
                 seconds);
    }
    if (ready <= 0) {
        return ready < 0 && errno == EINTR;
    }
    if (child->to >= 0 && ends[1].revents != 0) {
        const void *next;
        size_t room = feed_next(feed, &next);
        ssize_t written = room != 0 ? write(child->to, next, room) : 0;
        feed->given += written > 0 ? (size_t)written : 0;
        if (room == 0 || (written < 0 && errno != EAGAIN && errno != EINTR)) {
            close(child->to);
            child->to = -1;
        }
    }
    if (ends[0].revents == 0) {
        return true;
    }
    ssize_t got = read(child->from, bytes, sizeof bytes);
    return got > 0 ? output_take(output, bytes, (size_t)got) : got < 0 && errno == EINTR;
}

static void child_end(struct child *child, struct crosscheck_output *output) {
    int status = 0;
    if (child->to >= 0) {
        close(child->to);
    }
    close(child->from);
    if (output->end[0] != '\0') {
        kill(child->process, SIGKILL);
    }
    while (waitpid(child->process, &status, 0) < 0 && errno == EINTR) {
    }
    if (output->end[0] != '\0') {
        return;
    }
    if (WIFSIGNALED(status)) {
        snprintf(output->end, sizeof output->end, "it crashes: %s", strsignal(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) != 0) {
        snprintf(output->end, sizeof output->end, "it exits with status %d", WEXITSTATUS(status));
    }
}

static bool run_qemu(const char *program, struct console *console, struct trace_error *error) {
    char *qemu = crosscheck_find_qemu();
    struct child child;
    if (qemu == NULL) {
        snprintf(error->text, sizeof error->text,
                 "there is no qemu-cskyv2 on the PATH, and QEMU_CSKY names none");
        return false;
    }
    if (!child_start(&child, qemu, program)) {
        snprintf(error->text, sizeof error->text, "%.200s: %s", qemu, strerror(errno));
        free(qemu);
        return false;
    }
    /* a program that ends early takes no more input */
    struct sigaction ignored = {.sa_handler = SIG_IGN};
    struct sigaction before;
    sigaction(SIGPIPE, &ignored, &before);
    while (child_serve(&child, console)) {
    }
    sigaction(SIGPIPE, &before, NULL);
    child_end(&child, console->output);
    free(qemu);
    return true;
}

/* ---------------------------------------------------------------------------------------------- */

bool crosscheck_program_there(const char *program, struct trace_error *error) {
    if (access(program, R_OK) == 0) {
        return true;
    }
    snprintf(error->text, sizeof error->text,
             "%.200s: %s; scripts/setup-csky sees to the C-SKY compiler, and building with it "
             "makes the programs",
             program, strerror(errno));
    return false;
}

bool crosscheck_run_csky(const struct crosscheck_input *input, uint32_t op_count, uint32_t interval,
                         const struct crosscheck_options *options, const char *program,
                         struct crosscheck_output *output, struct trace_error *error) {
    struct console console = {feed_make(input, op_count, interval), options->patience, output};
    output->count = 0;
    output->end[0] = '\0';
    if (!crosscheck_program_there(program, error)) {
        return false;
    }
    return options->engine == CROSSCHECK_QEMU ? run_qemu(program, &console, error)
                                              : run_interpreter(program, &console, error);
}
