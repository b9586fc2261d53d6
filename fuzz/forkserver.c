/* SPDX-License-Identifier: Apache-2.0
 *
 * See forkserver.h. One round, as afl-fuzz sees it: it writes four bytes, reads the number of
 * the process that it may kill if it takes too long, and reads that process's wait status.
 */
#include "forkserver.h"

#ifdef __AFL_COMPILER

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define FROM_AFL 198
#define TO_AFL 199
#define OPTIONS_ENABLED 0x80000001u
#define OPTION_MAP_SIZE 0x40000000u /* the size less one stands from bit 1 on */
#define OPTION_SHARED_INPUT 0x01000000u
#define OPTION_CMPLOG 0x02000000u /* of this version */
#define MAP_SIZE_MAX (1u << 23)
#define DOUBT_MS 1000

/* What afl-fuzz and its kin look for in a program before they start it. */
static const char signatures[] __attribute__((used)) =
    "##SIG_AFL_PERSISTENT##\0##SIG_AFL_DEFER_FORKSRV##";

extern uint32_t __afl_map_size; /* of AFL++'s runtime */

/* How far the worker is: whether afl-fuzz has its answer is known, or not, if it is killed. */
enum phase { IDLE, AT_WORK, ANSWERING };

static bool is_started_by_afl(void) {
    return fcntl(FROM_AFL, F_GETFD) != -1 && fcntl(TO_AFL, F_GETFD) != -1 &&
           getenv("__AFL_SHM_FUZZ_ID") != NULL;
}

static bool take(uint32_t *word) { return read(FROM_AFL, word, sizeof *word) == sizeof *word; }

static bool tell(uint32_t word) { return write(TO_AFL, &word, sizeof word) == sizeof word; }

/* Agrees with afl-fuzz on what is spoken. Returns the input's place: its size, 4 bytes, then the
 * input. */
static const uint8_t *shake_hands(void) {
    uint32_t answer = 0;
    uint32_t options = OPTIONS_ENABLED | OPTION_SHARED_INPUT | OPTION_CMPLOG;
    if (__afl_map_size > 1 && __afl_map_size <= MAP_SIZE_MAX) {
        options |= OPTION_MAP_SIZE | (__afl_map_size - 1u) << 1;
    }
    if (!tell(options) || !take(&answer) || (answer & OPTION_SHARED_INPUT) == 0) {
        return NULL;
    }
    const void *input = shmat(atoi(getenv("__AFL_SHM_FUZZ_ID")), NULL, SHM_RDONLY);
    return input != (const void *)-1 ? input : NULL;
}

/* The process that runs the inputs; nobody outlives afl-fuzz. */
_Noreturn static void work(int (*run)(const uint8_t *data, size_t size), const uint8_t *input,
                           volatile uint32_t *phase) {
    const uint32_t self = (uint32_t)getpid();
    const uint8_t *data = input + sizeof(uint32_t);
    const volatile uint32_t *size = (const volatile uint32_t *)(const void *)input;
    uint32_t word;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (take(&word)) {
        *phase = AT_WORK;
        if (!tell(self)) {
            break;
        }
        run(data, *size);
        *phase = ANSWERING;
        if (!tell(0)) {
            break;
        }
        *phase = IDLE;
    }
    _exit(0);
}

/* Has afl-fuzz had the dead worker's answer? It kills a worker that takes too long, and that may
 * just have answered. Whoever has an answer goes on with the next input. */
static bool is_answered(uint32_t phase) {
    struct pollfd from_afl = {.fd = FROM_AFL, .events = POLLIN};
    return phase == IDLE || (phase == ANSWERING && poll(&from_afl, 1, DOUBT_MS) > 0);
}

bool forkserver_serve(int (*run)(const uint8_t *data, size_t size)) {
    if (!is_started_by_afl()) {
        return false;
    }
    const uint8_t *input = shake_hands();
    volatile uint32_t *phase =
        mmap(NULL, sizeof *phase, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (input == NULL || phase == MAP_FAILED) {
        exit(2);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int status = 0;
        *phase = IDLE;
        pid_t worker = fork();
        if (worker == 0) {
            work(run, input, phase);
        }
        if (worker < 0 || waitpid(worker, &status, 0) != worker) {
            exit(2);
        }
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            exit(0); /* afl-fuzz is gone */
        }
        if (!is_answered(*phase) && !tell((uint32_t)status)) {
            exit(0);
        }
    }
}

#else

/* Not compiled by AFL++: afl-fuzz cannot use it. */
bool forkserver_serve(int (*run)(const uint8_t *data, size_t size)) {
    (void)run;
    return false;
}

#endif
