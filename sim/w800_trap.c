/* SPDX-License-Identifier: Apache-2.0
 *
 * CPU traps: what the host reports as SIGSEGV or SIGBUS, the W800 would have reported as
 * an exception. The handler decides only whose fault it is. Inside w800_guard it leaves by
 * a jump, and the event is built out there, in ordinary context, where taking the lock and
 * walking the heap are allowed. Everything else is the host's: one line if the address is
 * the machine's, then the disposition that was there before (the default, or a sanitizer's
 * handler) gets the fault, because the faulting instruction runs again.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "w800_internal.h"

#define ALTERNATE_STACK_BYTES (64u << 10)

/* A signal handler has no argument either. A guard belongs to its thread: a trap in another
 * thread must not jump onto this one's stack. */
struct guard {
    sigjmp_buf jump;
    volatile sig_atomic_t active;
    uint32_t lock_depth;
    uint32_t address;
    bool fetch;
    bool write;
};
static _Thread_local struct guard guard;

static const int trap_signals[] = {SIGSEGV, SIGBUS};
#define TRAP_SIGNALS (sizeof trap_signals / sizeof *trap_signals)
static struct sigaction previous[TRAP_SIGNALS];
static void *alternate_stack; /* ours, NULL if the thread had one */
static pthread_t alternate_stack_owner;

/* ---- what the processor says -------------------------------------------------- */

struct access {
    bool fetch;
    bool write;
};

#if defined(__x86_64__)

/* The page fault's error code: bit 1 a write, bit 4 an instruction fetch. */
static struct access read_access(const ucontext_t *context, uint64_t address) {
    (void)address;
    uint64_t code = (uint64_t)context->uc_mcontext.gregs[REG_ERR];
    return (struct access){.fetch = (code & 0x10u) != 0, .write = (code & 2u) != 0};
}

#elif defined(__aarch64__)

#define RECORD_ESR 0x45535201u /* the signal frame's record of the syndrome register */

/* The syndrome register's class in bits 26 to 31: 0x20 is an instruction abort from user
 * space, 0x24 a data abort, whose bit 6 says write. Kernels that leave the record out
 * still tell a fetch by the program counter. */
static struct access read_access(const ucontext_t *context, uint64_t address) {
    struct access access = {.fetch = context->uc_mcontext.pc == address};
    const uint8_t *record = context->uc_mcontext.__reserved;
    const uint8_t *end = record + sizeof context->uc_mcontext.__reserved;
    struct {
        uint32_t magic;
        uint32_t size;
        uint64_t esr;
    } head;
    while ((size_t)(end - record) >= sizeof head) {
        memcpy(&head, record, sizeof head);
        if (head.magic == 0 || head.size == 0 || head.size > (size_t)(end - record))
            break;
        if (head.magic == RECORD_ESR) {
            uint32_t class = (uint32_t)(head.esr >> 26) & 0x3fu;
            access.fetch = class == 0x20u;
            access.write = class == 0x24u && (head.esr & 0x40u) != 0;
            break;
        }
        record += head.size;
    }
    return access;
}

#else
#error "the simulated machine runs on x86-64 and arm64 hosts"
#endif

/* ---- the handler --------------------------------------------------------------- */

static char *append(char *at, const char *text) {
    while (*text)
        *at++ = *text++;
    return at;
}

/* write(2) and no stdio: all that a signal handler may use. */
static void say_unguarded(uint32_t address, struct access access) {
    char line[128]; /* the longest line has 83 characters */
    char *at = append(line, "w800: ");
    at = append(at, access.fetch ? "execution" : access.write ? "write" : "read");
    at = append(at, " at 0x");
    for (int shift = 28; shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[address >> shift & 0xfu];
    bool conflict = w800_dma_on_psram() && address >= W800_PSRAM_START;
    at = append(at, conflict ? " while DMA works on PSRAM, outside w800_guard\n"
                             : ", where the chip does not allow it, outside w800_guard\n");
    ssize_t written = write(STDERR_FILENO, line, (size_t)(at - line));
    (void)written;
}

static void give_back(void) {
    for (size_t i = 0; i < TRAP_SIGNALS; i++)
        sigaction(trap_signals[i], &previous[i], NULL);
}

/* A page's fault carries its address; a signal that somebody sent, or a fault without an
 * address (a non-canonical one on x86-64), carries none. */
static bool has_address(int number, const siginfo_t *info) {
    return number == SIGSEGV ? info->si_code == SEGV_MAPERR || info->si_code == SEGV_ACCERR
                             : info->si_code == BUS_ADRERR || info->si_code == BUS_ADRALN;
}

static void handle_trap(int number, siginfo_t *info, void *context) {
    int saved_errno = errno;
    uint64_t address = (uint64_t)(uintptr_t)info->si_addr;
    bool known = has_address(number, info);
    struct access access = {0};
    if (known)
        access = read_access(context, address);

    /* In a guard all of the chip's 32-bit address space is the program's doing. */
    if (known && guard.active && address <= UINT32_MAX) {
        guard.active = 0;
        guard.address = (uint32_t)address;
        guard.fetch = access.fetch;
        guard.write = access.write;
        siglongjmp(guard.jump, 1);
    }
    if (known && address >= W800_GUARDED_START && address < W800_GUARDED_END)
        say_unguarded((uint32_t)address, access);
    give_back();
    if (info->si_code <= 0) /* sent, not made by an instruction: it will not come again */
        raise(number);
    errno = saved_errno;
}

/* ---- installing ------------------------------------------------------------------ */

/* The handler must run even where the thread's own stack is what overflowed. A thread that
 * has an alternate stack (a sanitizer gives it one) keeps it. */
static bool install_stack(void) {
    stack_t present;
    if (sigaltstack(NULL, &present) != 0)
        return false;
    if (!(present.ss_flags & SS_DISABLE))
        return true;
    alternate_stack = malloc(ALTERNATE_STACK_BYTES);
    if (!alternate_stack)
        return false;
    alternate_stack_owner = pthread_self();
    stack_t wanted = {.ss_sp = alternate_stack, .ss_size = ALTERNATE_STACK_BYTES};
    return sigaltstack(&wanted, NULL) == 0;
}

/* Only the thread that has the stack can lay it down. Should another one stop the machine,
 * the stack stays for its owner. */
static void remove_stack(void) {
    stack_t present;
    if (!alternate_stack || !pthread_equal(alternate_stack_owner, pthread_self()))
        return;
    if (sigaltstack(NULL, &present) == 0 && present.ss_sp == alternate_stack) {
        stack_t none = {.ss_flags = SS_DISABLE};
        sigaltstack(&none, NULL);
    }
    free(alternate_stack);
    alternate_stack = NULL;
}

bool w800_trap_install(struct w800_error *error) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    action.sa_sigaction = handle_trap;
    sigemptyset(&action.sa_mask);
    bool good = install_stack();
    size_t done = 0;
    while (good && done < TRAP_SIGNALS) {
        good = sigaction(trap_signals[done], &action, &previous[done]) == 0;
        done += good;
    }
    if (good)
        return true;
    snprintf(error->text, sizeof error->text, "cannot install the handler of CPU traps: %s",
             strerror(errno));
    while (done-- > 0)
        sigaction(trap_signals[done], &previous[done], NULL);
    remove_stack();
    return false;
}

/* Whoever installed a handler after us keeps it. */
void w800_trap_remove(void) {
    for (size_t i = 0; i < TRAP_SIGNALS; i++) {
        struct sigaction present;
        if (sigaction(trap_signals[i], NULL, &present) == 0 && (present.sa_flags & SA_SIGINFO) &&
            present.sa_sigaction == handle_trap)
            sigaction(trap_signals[i], &previous[i], NULL);
    }
    remove_stack();
}

/* ---- the guard --------------------------------------------------------------------- */

static enum w800_event_kind kind_of_trap(void) {
    bool psram = guard.address >= W800_PSRAM_START &&
                 guard.address - W800_PSRAM_START < w800_machine.config.psram_bytes;
    if (psram && w800_dma_on_psram())
        return W800_EVENT_BUS_CONFLICT;
    return guard.fetch ? W800_EVENT_EXEC_DENIED : W800_EVENT_STRAY_ACCESS;
}

/* The trap may have struck inside the core with the lock held. The walk nests in it; then
 * it is let go, since the section that held it will never end. */
static void deliver_trap(void) {
    struct w800_event event = {
        .kind = kind_of_trap(), .address = guard.address, .write = guard.write};
    w800_event_locate(&event);
    w800_lock_release(guard.lock_depth);
    w800_event_deliver(&event);
}

bool w800_guard(void (*body)(void *context), void *context) {
    if (!w800_machine.running)
        w800_abort("w800_guard: no machine runs, call w800_start first");
    if (guard.active)
        w800_abort("w800_guard: guards do not nest");
    guard.lock_depth = w800_lock_depth();
    if (sigsetjmp(guard.jump, 1) != 0) {
        deliver_trap();
        return false;
    }
    guard.active = 1;
    body(context);
    guard.active = 0;
    return true;
}
