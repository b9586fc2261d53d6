/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated W800's memory is where the chip's is, can what the chip's can, and
 * nothing else. Rights are tried, not read back: by loads, stores and calls.
 */
#include "machine.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

/* A function that returns at once. */
#if defined(__x86_64__)
static const uint8_t code_return[] = {0xc3};
#else
static const uint8_t code_return[] = {0xc0, 0x03, 0x5f, 0xd6};
#endif

/* With 64 KiB pages the borders at 0x20028000 and 0x20048000 lie inside a page, and the
 * page has the rights of both sides (sim/w800.c). */
static bool pages_are_fine(void) { return sysconf(_SC_PAGESIZE) <= 16 << 10; }

static void place_code(uint32_t address) {
    char *place = w800_pointer(address);
    memcpy(place, code_return, sizeof code_return);
    __builtin___clear_cache(place, place + sizeof code_return);
}

#define STRAY W800_EVENT_STRAY_ACCESS
#define DENIED W800_EVENT_EXEC_DENIED

Test(machine, memory_has_the_chips_rights) {
    static const struct {
        uint32_t address;
        enum w800_event_kind expected[ACCESS_KINDS];
        bool at_border;
    } rows[] = {
        {0x08000000, {STRAY, STRAY, DENIED}, false}, /* flash is not simulated */
        {0x1ff00000, {STRAY, STRAY, DENIED}, false},
        {0x1ffffff8, {STRAY, STRAY, DENIED}, false},
        {0x20000000, {NO_EVENT, NO_EVENT, NO_EVENT}, false},
        {0x20004120, {NO_EVENT, NO_EVENT, NO_EVENT}, false},
        {0x20027ff8, {NO_EVENT, NO_EVENT, NO_EVENT}, false},
        {0x20028000, {NO_EVENT, NO_EVENT, DENIED}, true},
        {0x20030000, {NO_EVENT, NO_EVENT, DENIED}, false},
        {0x20047ff8, {NO_EVENT, NO_EVENT, DENIED}, false},
        {0x20048000, {STRAY, STRAY, DENIED}, true},
        {0x20050000, {STRAY, STRAY, DENIED}, false},
        {0x20147ff8, {STRAY, STRAY, DENIED}, false},
        {0x2ffffff8, {STRAY, STRAY, DENIED}, false},
        {0x30000000, {NO_EVENT, NO_EVENT, DENIED}, false},
        {0x301ffff8, {NO_EVENT, NO_EVENT, DENIED}, false},
        {0x30200000, {STRAY, STRAY, DENIED}, false},
        {0x308ffff8, {STRAY, STRAY, DENIED}, false},
    };
    machine_start_heap(heap_builds[0], 2 * MIB);
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].at_border && !pages_are_fine()) {
            continue;
        }
        for (enum access access = 0; access < ACCESS_KINDS; access++) {
            struct recorder seen;
            if (w800_is_memory(rows[i].address, sizeof code_return)) {
                place_code(rows[i].address);
            }
            enum w800_event_kind kind = try_access(access, rows[i].address, &seen);
            cr_expect_eq(kind, rows[i].expected[access], "%s at 0x%08x: %s, expected %s",
                         access_names[access], rows[i].address, kind_name(kind),
                         kind_name(rows[i].expected[access]));
            if (kind != NO_EVENT) {
                cr_expect_eq(seen.last.address, rows[i].address);
                cr_expect_eq(seen.last.write, access == ACCESS_WRITE, "%s at 0x%08x",
                             access_names[access], rows[i].address);
            }
        }
    }
}

Test(machine, psram_is_there_as_far_as_it_is_fitted) {
    static const uint32_t sizes[] = {0, 2 * MIB, 4 * MIB, 8 * MIB};
    static const uint32_t offsets[] = {0,       2 * MIB - 1, 2 * MIB, 4 * MIB - 1,
                                       4 * MIB, 8 * MIB - 1, 8 * MIB, 9 * MIB - 1};
    for (size_t s = 0; s < COUNT(sizes); s++) {
        machine_start_heap(heap_builds[0], sizes[s]);
        for (size_t o = 0; o < COUNT(offsets); o++) {
            uint32_t address = W800_PSRAM_START + offsets[o];
            enum w800_event_kind expected = offsets[o] < sizes[s] ? NO_EVENT : STRAY;
            for (enum access access = ACCESS_READ; access <= ACCESS_WRITE; access++) {
                struct recorder seen;
                enum w800_event_kind kind = try_access(access, address, &seen);
                cr_expect_eq(kind, expected, "%u MiB, %s at 0x%08x: %s", sizes[s] / MIB,
                             access_names[access], address, kind_name(kind));
            }
            cr_expect_eq(w800_is_memory(address, 1), expected == NO_EVENT);
        }
    }
}

Test(machine, is_memory_knows_where_memory_ends) {
    static const struct {
        uint32_t address;
        uint32_t length;
        bool expected;
    } rows[] = {
        {0x20000000, 0x48000, true},
        {0x20000000, 0x48001, false},
        {0x1fffffff, 2, false},
        {0x20027fff, 2, true},
        {0x20047fff, 1, true},
        {0x20047fff, 2, false},
        {0x20048000, 1, false},
        {0x30000000, 2 * MIB, true},
        {0x30000000, 2 * MIB + 1, false},
        {0x2fffffff, 1, false},
        {0x30200000, 1, false},
        {0x20000000, 0xffffffff, false},
        {0x301ffff0, 0xffffffff, false},
        {0xffffffff, 2, false},
    };
    machine_start_heap(heap_builds[0], 2 * MIB);
    for (size_t i = 0; i < COUNT(rows); i++) {
        cr_expect_eq(w800_is_memory(rows[i].address, rows[i].length), rows[i].expected,
                     "0x%08x, %u bytes", rows[i].address, rows[i].length);
    }
    w800_stop();
    cr_expect_not(w800_is_memory(W800_PSRAM_START, 1), "PSRAM of a stopped machine");
}

/* ---- blocks near a trap ------------------------------------------------------------ */

static uint32_t fill_region(wm_heap_cap_type_t caps) {
    const struct heap_build *build = w800_config()->build;
    size_t room = wm_heap_caps_get_largest_free_block(caps);
    void *ptr = wm_heap_caps_alloc(room - build->header_size - 8, caps);
    cr_assert_not_null(ptr);
    return w800_address(ptr) - build->header_size;
}

Test(machine, a_trap_names_the_block_at_or_before_it) {
    for (size_t b = 0; b < HEAP_BUILDS; b++) {
        const struct heap_build *build = heap_builds[b];
        machine_start_heap(build, 2 * MIB);
        uint32_t first = w800_address(wm_heap_caps_alloc(100, WM_HEAP_CAP_DEFAULT));
        uint32_t dram = fill_region(WM_HEAP_CAP_SHARED);
        uint32_t psram = fill_region(WM_HEAP_CAP_SPIRAM);
        const struct {
            enum access access;
            uint32_t address;
            uint32_t block;
        } rows[] = {
            {ACCESS_WRITE, 0x1ffffff0, 0},
            {ACCESS_READ, 0x20100000, dram},
            {ACCESS_WRITE, 0x2fffffff, dram},
            {ACCESS_EXECUTE, dram + build->header_size + 0x10000, dram},
            {ACCESS_WRITE, 0x30200000, psram},
            {ACCESS_EXECUTE, psram + build->header_size, psram},
            {ACCESS_READ, 0x30800000, psram},
        };
        for (size_t i = 0; i < COUNT(rows); i++) {
            struct recorder seen;
            cr_assert_neq(try_access(rows[i].access, rows[i].address, &seen), NO_EVENT);
            cr_expect_eq(seen.last.near_block, rows[i].block,
                         "%s, 0x%08x: block 0x%08x, not 0x%08x", build->name, rows[i].address,
                         seen.last.near_block, rows[i].block);
            struct wm_heap_block block = {0};
            if (rows[i].block != 0) {
                cr_assert(
                    wm_heap_get_block(w800_pointer(rows[i].block + build->header_size), &block));
            }
            cr_expect_eq(seen.last.near_size, block.size);
        }
        cr_expect_neq(first, 0);
    }
}

Test(machine, a_trap_before_the_heap_is_initialised_names_no_block) {
    struct w800_config config = machine_config(heap_builds[0], 0);
    struct recorder seen;
    machine_start(&config);
    cr_expect_eq(try_access(ACCESS_READ, 0x20100000, &seen), STRAY);
    cr_expect_eq(seen.last.near_block, 0);
}

Test(machine, a_guard_can_be_used_again_after_a_trap) {
    machine_start_heap(heap_builds[0], 0);
    for (int i = 0; i < 1000; i++) {
        struct recorder seen;
        cr_assert_eq(try_access(ACCESS_WRITE, 0x20100000, &seen), STRAY, "round %d", i);
        cr_assert_eq(try_access(ACCESS_WRITE, 0x20000000, &seen), NO_EVENT, "round %d", i);
    }
}

/* ---- start and stop ------------------------------------------------------------------ */

static void *occupy(uint32_t address, size_t bytes) {
    void *page = mmap(w800_pointer(address), bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    cr_assert_eq(page, w800_pointer(address), "the test cannot map at 0x%08x", address);
    memset(page, 0x77, bytes);
    mprotect(page, bytes, PROT_READ);
    return page;
}

Test(machine, start_names_what_occupies_its_memory_and_leaves_it_alone) {
    static const uint32_t addresses[] = {0x20000000, 0x20010000, 0x20040000, 0x30000000,
                                         0x301f0000};
    size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    struct w800_config config = machine_config(heap_builds[0], 2 * MIB);
    for (size_t i = 0; i < COUNT(addresses); i++) {
        char expected[64];
        struct w800_error error = {""};
        const uint8_t *page = occupy(addresses[i], bytes);
        snprintf(expected, sizeof expected, "0x%08x-0x%08zx r--p (anonymous)", addresses[i],
                 addresses[i] + bytes - 1);
        cr_assert_not(w800_start(&config, &error));
        cr_expect(strstr(error.text, expected), "\"%s\" lacks \"%s\"", error.text, expected);
        cr_expect_null(strchr(error.text, '\n'));
        cr_expect_eq(page[0], 0x77);
        cr_expect_eq(page[bytes - 1], 0x77);
        cr_expect_not(w800_running());
        munmap(w800_pointer(addresses[i]), bytes);
        /* nothing is left behind that would be in the way now */
        cr_assert(w800_start(&config, &error), "%s", error.text);
        w800_stop();
    }
}

Test(machine, start_refuses_what_the_chip_cannot_be) {
    struct w800_config good = machine_config(heap_builds[0], 2 * MIB);
    struct w800_config bad[8];
    const char *const reasons[COUNT(bad)] = {
        "no build",        "3145728 bytes",    "4 regions",        "region 0 (SRAM)",
        "region 1 (DRAM)", "region 2 (PSRAM)", "region 2 (PSRAM)", "region 0 (SRAM)"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        bad[i] = good;
    }
    bad[0].build = NULL;
    bad[1].psram_bytes = 3 * MIB;
    bad[2].region_count = 4;
    bad[3].regions[0].start = 0x1ffffff8;
    bad[4].regions[1].end = 0x20048008;
    bad[5].regions[2].end = 0x30200008;
    bad[6].psram_bytes = 0;
    bad[7].regions[0].end = 0x30000008;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct w800_error error = {""};
        cr_expect_not(w800_start(&bad[i], &error), "row %zu is accepted", i);
        cr_expect(strstr(error.text, reasons[i]), "\"%s\" lacks \"%s\"", error.text, reasons[i]);
        cr_expect_null(strchr(error.text, '\n'));
    }
}

Test(machine, tables_that_the_core_must_judge_are_accepted) {
    struct w800_config config = machine_config(heap_builds[0], 0);
    config.regions[1] = config.regions[0];
    machine_start(&config);
    config.regions[1].end = config.regions[1].start;
    machine_start(&config);
}

static bool all_zero(const void *memory, size_t bytes) {
    const uint8_t *byte = memory;
    return byte[0] == 0 && memcmp(byte, byte + 1, bytes - 1) == 0;
}

Test(machine, starting_again_gives_a_fresh_machine) {
    struct recorder seen = {0};
    w800_on_event(record_event, &seen);
    for (int round = 0; round < 3; round++) {
        struct w800_config config = machine_config(heap_builds[5], 2 * MIB);
        machine_start(&config);
        cr_expect(all_zero(w800_pointer(0x20000000), 0x48000));
        cr_expect(all_zero(w800_pointer(0x30000000), 2 << 20));
        cr_expect(all_zero(config.build->state, sizeof *config.build->state));
        cr_expect_eq(w800_failed_allocations(), 0);
        cr_expect_not(w800_dma_on_psram());
        cr_expect_eq(w800_lock_report().holds, 0);
        wm_heap_init();
        cr_expect_eq(wm_heap_append_to_heap("PSRAM"), 0);
        cr_expect_not_null(wm_heap_caps_alloc(10, WM_HEAP_CAP_DEFAULT));
        w800_fail_allocation(1, true);
        cr_expect_null(wm_heap_caps_alloc(10, WM_HEAP_CAP_DEFAULT));
        memset(w800_pointer(0x20000000), 0xff, 0x48000);
        memset(w800_pointer(0x30000000), 0xff, 2 << 20);
        cr_expect(w800_dma_start(0, 0x30000000, 4));
    }
    cr_expect_eq(seen.count, 0);
}

Test(machine, a_machine_can_be_started_from_its_own_configuration) {
    struct w800_config config = machine_config(heap_builds[1], 4 * MIB);
    struct w800_error error;
    machine_start(&config);
    cr_assert(w800_start(w800_config(), &error));
    cr_expect_eq(w800_config()->psram_bytes, 4 * MIB);
    w800_stop();
    w800_stop();
    cr_expect_null(w800_config());
}

/* ---- the host's own faults ------------------------------------------------------------ */

/* What counts the lines that run learns of those of this process, too. */
#ifdef W800_COUNTED
void __gcov_dump(void);
#else
static void __gcov_dump(void) {}
#endif

static void exit_77(int number) {
    (void)number;
    __gcov_dump();
    _exit(77);
}

static void install_exit_77(void) {
    struct sigaction action = {.sa_handler = exit_77};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

static void touch(void *context) { *(volatile uint8_t *)context = 1; }

/* Where the host places things by itself: far above 4 GiB. */
static void *host_page(void) {
    return mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void fault_of_the_host(void) {
    install_exit_77();
    machine_start_heap(heap_builds[0], 0);
    w800_guard(touch, host_page());
}

static void trap_without_a_guard(void) {
    install_exit_77();
    machine_start_heap(heap_builds[0], 0);
    touch(w800_pointer(0x20100010));
}

static void signal_that_was_sent(void) {
    install_exit_77();
    machine_start_heap(heap_builds[0], 0);
    raise(SIGSEGV);
}

static void trap_of_a_stopped_machine(void) {
    install_exit_77();
    machine_start_heap(heap_builds[0], 0);
    w800_stop();
    touch(w800_pointer(0x20000000));
}

Test(machine, faults_that_no_guard_catches_go_where_they_went_before) {
    static const struct {
        void (*body)(void);
        const char *text;
    } rows[] = {
        {fault_of_the_host, ""},
        {trap_without_a_guard, "w800: write at 0x20100010, where the chip does not allow it, "
                               "outside w800_guard\n"},
        {signal_that_was_sent, ""},
        {trap_of_a_stopped_machine, ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[512];
        int status = run_child(rows[i].body, text, sizeof text);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 77, "row %zu: status 0x%x", i,
                  status);
        cr_expect_str_eq(text, rows[i].text, "row %zu: \"%s\"", i, text);
    }
}

static void exit_78(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    _exit(78);
}

Test(machine, stop_gives_back_its_own_handler_and_nobody_elses) {
    struct sigaction before;
    struct sigaction after;
    struct sigaction later = {.sa_sigaction = exit_78, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, NULL, &before);
    machine_start_heap(heap_builds[0], 0);
    w800_stop();
    sigaction(SIGSEGV, NULL, &after);
    cr_expect_eq(before.sa_handler, after.sa_handler, "start and stop changed the handler");
    machine_start_heap(heap_builds[0], 0);
    sigaction(SIGSEGV, &later, NULL);
    w800_stop();
    sigaction(SIGSEGV, NULL, &after);
    cr_expect_eq(after.sa_sigaction, exit_78, "stop removed somebody else's handler");
}

static void use_no_machine(void) { wm_heap_caps_free(wm_heap_caps_alloc(1, WM_HEAP_CAP_DEFAULT)); }

static void nest_guards(void *context) {
    (void)context;
    w800_guard(nest_guards, NULL);
}

static void use_nested_guards(void) {
    machine_start_heap(heap_builds[0], 0);
    nest_guards(NULL);
}

Test(machine, wrong_use_of_the_simulator_aborts_with_a_reason) {
    static const struct {
        void (*body)(void);
        const char *text;
    } rows[] = {
        {use_no_machine,
         "w800: wm_heap_caps_alloc_tracing: no machine runs, call w800_start first\n"},
        {use_nested_guards, "w800: w800_guard: guards do not nest\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[512];
        int status = run_child(rows[i].body, text, sizeof text);
        cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "row %zu: 0x%x", i, status);
        cr_expect_str_eq(text, rows[i].text, "row %zu: \"%s\"", i, text);
    }
}

static void trap_without_a_callback(void) {
    struct access_at at = {ACCESS_READ, 0x20100000};
    machine_start_heap(heap_builds[0], 0);
    w800_guard(make_access, &at);
    wm_heap_caps_free(w800_pointer(0x20000004));
}

Test(machine, events_that_nobody_listens_to_are_printed) {
    char text[512];
    int status = run_child(trap_without_a_callback, text, sizeof text);
    cr_expect_eq(status, 0);
    cr_expect(strstr(text, "w800: stray-access at 0x20100000, nearest block 0x2002"), "%s", text);
    cr_expect(strstr(text, "w800: heap-fault foreign-pointer"), "%s", text);
}
