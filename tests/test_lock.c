/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated machine's port: the lock that stands for disabled interrupts, and the
 * numbers that stand for call sites.
 */
#include "machine.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

static void sleep_ms(long ms) {
    struct timespec time = {.tv_nsec = ms * 1000000};
    nanosleep(&time, NULL);
}

Test(lock, sections_nest_and_the_deepest_is_reported) {
    machine_start_heap(heap_builds[0], 0);
    uint64_t holds = w800_lock_report().holds;
    for (uint32_t depth = 1; depth <= 5; depth++) {
        for (uint32_t d = 0; d < depth; d++) {
            cr_expect_eq(w800_lock_report().depth_now, d);
            cr_expect_eq(wm_heap_port_lock(), d);
        }
        /* the heap's own section nests in ours */
        wm_heap_caps_free(wm_heap_caps_alloc(8, WM_HEAP_CAP_DEFAULT));
        for (uint32_t d = depth; d-- > 0;) {
            wm_heap_port_unlock(d);
            cr_expect_eq(w800_lock_report().depth_now, d);
        }
        cr_expect_geq(w800_lock_report().depth_max, depth + 1);
        cr_expect_leq(w800_lock_report().depth_max, depth + 2);
        cr_expect_eq(w800_lock_report().holds, holds + depth, "only outermost holds count");
    }
}

Test(lock, every_call_leaves_the_lock) {
    for (size_t b = 0; b < HEAP_BUILDS; b++) {
        machine_start_heap(heap_builds[b], 0);
        void *ptr = wm_heap_caps_alloc(100, WM_HEAP_CAP_DEFAULT);
        ptr = wm_heap_caps_realloc(ptr, 200, 0);
        struct wm_heap_fault fault;
        wm_heap_check(WM_HEAP_NO_REGION, &fault);
        wm_heap_print_stats();
        wm_heap_print_tracing(NULL);
        wm_heap_caps_free(ptr);
        w800_fail_allocation(1, false);
        cr_expect_null(wm_heap_caps_alloc(100, WM_HEAP_CAP_DEFAULT));
        cr_expect_eq(w800_lock_report().depth_now, 0, "%s", heap_builds[b]->name);
    }
}

static void unlock_without_lock(void) { wm_heap_port_unlock(0); }

static void unlock_outer_first(void) {
    uint32_t outer = wm_heap_port_lock();
    wm_heap_port_lock();
    wm_heap_port_unlock(outer);
}

static void unlock_twice(void) {
    uint32_t key = wm_heap_port_lock();
    wm_heap_port_unlock(key);
    wm_heap_port_unlock(key);
}

static void unlock_with_a_wild_key(void) {
    wm_heap_port_lock();
    wm_heap_port_unlock(0xffffffff);
}

Test(lock, leaving_sections_out_of_order_aborts) {
    static void (*const bodies[])(void) = {unlock_without_lock, unlock_outer_first, unlock_twice,
                                           unlock_with_a_wild_key};
    for (size_t i = 0; i < COUNT(bodies); i++) {
        char text[256];
        int status = run_child(bodies[i], text, sizeof text);
        cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "row %zu: 0x%x", i, status);
        cr_expect(strstr(text, "left out of order\n"), "row %zu: \"%s\"", i, text);
    }
}

static _Atomic bool entered;

static void *enter(void *context) {
    (void)context;
    uint32_t key = wm_heap_port_lock();
    atomic_store(&entered, true);
    wm_heap_port_unlock(key);
    return NULL;
}

Test(lock, other_threads_wait_for_the_outermost_unlock) {
    pthread_t thread;
    machine_start_heap(heap_builds[0], 0);
    uint32_t outer = wm_heap_port_lock();
    uint32_t inner = wm_heap_port_lock();
    cr_assert_eq(pthread_create(&thread, NULL, enter, NULL), 0);
    sleep_ms(20);
    cr_expect_not(atomic_load(&entered));
    wm_heap_port_unlock(inner);
    sleep_ms(20);
    cr_expect_not(atomic_load(&entered));
    wm_heap_port_unlock(outer);
    pthread_join(thread, NULL);
    cr_expect(atomic_load(&entered));
}

Test(lock, holds_are_timed_if_asked_for) {
    for (int measured = 0; measured <= 1; measured++) {
        struct w800_config config = machine_config(heap_builds[0], 0);
        config.measure_lock = measured != 0;
        machine_start(&config);
        uint32_t key = wm_heap_port_lock();
        sleep_ms(5);
        wm_heap_port_unlock(key);
        uint64_t longest = w800_lock_report().longest_ns;
        wm_heap_port_unlock(wm_heap_port_lock());
        cr_expect(measured ? longest >= 5000000 : longest == 0);
        cr_expect_eq(w800_lock_report().longest_ns, longest, "the longest stays");
    }
}

static void trap_two_deep(void *context) {
    struct access_at at = {ACCESS_WRITE, 0x20100000};
    (void)context;
    wm_heap_port_lock();
    wm_heap_port_lock();
    make_access(&at);
}

Test(lock, a_trap_lets_the_lock_go_as_deep_as_the_guard_found_it) {
    struct recorder seen = {0};
    machine_start_heap(heap_builds[0], 0);
    w800_on_event(record_event, &seen);
    cr_expect_not(w800_guard(trap_two_deep, NULL));
    cr_expect_eq(w800_lock_report().depth_now, 0);
    uint32_t key = wm_heap_port_lock();
    cr_expect_not(w800_guard(trap_two_deep, NULL));
    cr_expect_eq(w800_lock_report().depth_now, 1);
    wm_heap_port_unlock(key);
    cr_expect_eq(seen.count, 2);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, enter, NULL), 0);
    pthread_join(thread, NULL);
    cr_expect(atomic_load(&entered));
}

/* ---- call sites ------------------------------------------------------------------------ */

Test(sites, equal_texts_share_a_number_in_the_order_of_first_use) {
    char copy[] = "main.c";
    struct w800_config config = machine_config(heap_builds[0], 0);
    for (int round = 0; round < 2; round++) { /* start forgets */
        machine_start(&config);
        cr_expect_eq(wm_heap_port_site(NULL), 0);
        cr_expect_null(wm_heap_port_site_name(1));
        cr_expect_eq(wm_heap_port_site("wm_osal.c"), 1);
        cr_expect_eq(wm_heap_port_site("main.c"), 2);
        cr_expect_eq(wm_heap_port_site(copy), 2);
        cr_expect_eq(wm_heap_port_site(""), 3);
        cr_expect_eq(wm_heap_port_site("wm_osal.c"), 1);
        cr_expect_str_eq(wm_heap_port_site_name(1), "wm_osal.c");
        cr_expect_str_eq(wm_heap_port_site_name(2), "main.c");
        cr_expect_str_eq(wm_heap_port_site_name(3), "");
    }
    static const uint32_t unknown[] = {0, 4, 0x7fffffff, 0x80000000, 0xffffffff};
    for (size_t i = 0; i < COUNT(unknown); i++) {
        cr_expect_null(wm_heap_port_site_name(unknown[i]), "0x%x", unknown[i]);
    }
}

#define MANY 20000
static char many_names[2][MANY][24];

static void make_many_names(void) {
    for (int i = 0; i < MANY; i++) {
        snprintf(many_names[0][i], sizeof many_names[0][i], "file%d.c", i);
        memcpy(many_names[1][i], many_names[0][i], sizeof many_names[0][i]);
    }
}

Test(sites, many_names_keep_their_numbers) {
    struct w800_config config = machine_config(heap_builds[0], 0);
    make_many_names();
    machine_start(&config);
    for (int pass = 0; pass < 4; pass++) {
        for (uint32_t i = 0; i < MANY; i++) {
            cr_assert_eq(wm_heap_port_site(many_names[pass & 1][i]), i + 1, "name %u", i);
            cr_assert_str_eq(wm_heap_port_site_name(i + 1), many_names[0][i]);
        }
    }
}

static void *intern_all(void *context) {
    char(*names)[24] = context;
    uint32_t *numbers = malloc(MANY * sizeof *numbers);
    for (uint32_t i = 0; i < MANY; i++) {
        numbers[i] = wm_heap_port_site(names[i]);
    }
    return numbers;
}

Test(sites, threads_agree_on_the_numbers) {
    struct w800_config config = machine_config(heap_builds[0], 0);
    pthread_t thread;
    void *theirs;
    make_many_names();
    machine_start(&config);
    cr_assert_eq(pthread_create(&thread, NULL, intern_all, many_names[1]), 0);
    uint32_t *ours = intern_all(many_names[0]);
    pthread_join(thread, &theirs);
    cr_expect_eq(memcmp(ours, theirs, MANY * sizeof *ours), 0);
    for (uint32_t i = 0; i < MANY; i++) {
        cr_assert_str_eq(wm_heap_port_site_name(ours[i]), many_names[0][i]);
    }
    free(ours);
    free(theirs);
}

/* Through the whole way: the macro, the core's header, the walker. */
Test(sites, a_block_knows_the_line_that_allocated_it) {
    machine_start_heap(heap_build_find(true, 0), 0);
    void *ptr = wm_heap_caps_alloc(10, WM_HEAP_CAP_DEFAULT);
    uint32_t line = __LINE__ - 1;
    struct wm_heap_block block;
    cr_assert(wm_heap_get_block(ptr, &block));
    cr_expect_str_eq(wm_heap_port_site_name(block.site), __FILE__);
    cr_expect_eq(block.line, line);
}
