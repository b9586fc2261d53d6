/* SPDX-License-Identifier: Apache-2.0
 *
 * Out of memory at every allocation. A scenario that goes through an application's day
 * runs again and again; the first time its first allocation fails, then its second, and
 * so on until none was hit any more; once with just that one failing, once with it and
 * all after it. And in heaps from far too small to ample, where memory really is short.
 *
 * Each run has to leave a sound heap, no block changed that is still owned, and all bytes
 * free once everything is freed. A loop that never hit, or that never came through, fails:
 * it would have shown nothing.
 */
#include "heap_fixture.h"

/* ---- the scenario ---------------------------------------------------------------------- */

enum act { ALLOC, CALLOC, ALIGNED, REALLOC, FREE };

#define SLOTS 24

/* A Wi-Fi application: tasks and queues, a TLS session with its buffers, a log line that
 * grows, packets that come and go, DMA buffers, and the end of it all. */
static const struct {
    enum act act;
    uint32_t slot;
    uint32_t size; /* of calloc: bytes in all, four each; of aligned: aligned to 64 */
    uint32_t caps;
} scenario[] = {
    {ALLOC, 0, 2048, INTERNAL}, /* a task's stack, its control block, its queue */
    {ALLOC, 1, 168, INTERNAL},
    {CALLOC, 2, 480, INTERNAL},
    {ALLOC, 3, 4096, INTERNAL}, /* another */
    {ALLOC, 4, 168, INTERNAL},
    {CALLOC, 5, 80, DEFAULT}, /* settings, read as strings that grow */
    {ALLOC, 6, 16, DEFAULT},
    {REALLOC, 6, 32, DEFAULT},
    {REALLOC, 6, 64, DEFAULT},
    {ALIGNED, 7, 1600, SHARED}, /* buffers for the radio */
    {ALIGNED, 8, 1600, SHARED},
    {ALLOC, 9, 512, SHARED},
    {CALLOC, 10, 3400, DEFAULT}, /* TLS: context, input, output, certificate */
    {ALLOC, 11, 4429, DEFAULT},
    {ALLOC, 12, 2381, DEFAULT},
    {ALLOC, 13, 1100, DEFAULT},
    {REALLOC, 13, 1500, 0},
    {ALLOC, 14, 64, DEFAULT}, /* big numbers of a handshake */
    {ALLOC, 15, 128, DEFAULT},
    {REALLOC, 14, 136, DEFAULT},
    {CALLOC, 16, 256, DEFAULT},
    {REALLOC, 15, 264, DEFAULT},
    {FREE, 14, 0, 0},
    {ALLOC, 14, 40, DEFAULT},
    {FREE, 16, 0, 0},
    {REALLOC, 14, 24, 0},
    {FREE, 15, 0, 0},
    {FREE, 13, 0, 0},
    {ALLOC, 17, 8192, SPIRAM}, /* a picture */
    {REALLOC, 17, 20000, 0},
    {CALLOC, 18, 4000, SPIRAM},
    {ALLOC, 13, 60, DEFAULT}, /* packets */
    {ALLOC, 15, 1514, DEFAULT},
    {ALLOC, 16, 590, DEFAULT},
    {FREE, 15, 0, 0},
    {ALLOC, 19, 340, DEFAULT},
    {FREE, 13, 0, 0},
    {ALLOC, 15, 60, DEFAULT},
    {REALLOC, 16, 0, 0},
    {ALLOC, 16, 1514, SHARED},
    {REALLOC, 16, 300, SHARED},
    {REALLOC, 6, 128, DEFAULT}, /* the log line again */
    {REALLOC, 6, 256, DEFAULT},
    {REALLOC, 6, 100, 0},
    {ALIGNED, 20, 4000, INTERNAL}, /* code that is loaded */
    {ALIGNED, 21, 900, EXEC},
    {CALLOC, 22, 1000, EXEC},
    {REALLOC, 9, 1024, SHARED},
    {FREE, 7, 0, 0},
    {ALIGNED, 7, 2304, SHARED},
    {FREE, 10, 0, 0},
    {FREE, 11, 0, 0},
    {FREE, 12, 0, 0},
    {REALLOC, 18, 100, SPIRAM},
    {ALLOC, 11, 6000, DEFAULT},
    {REALLOC, 23, 77, INTERNAL}, /* of NULL */
    {REALLOC, 23, 770, 0},
    {FREE, 3, 0, 0},
    {ALLOC, 3, 3000, INTERNAL},
    {REALLOC, 11, 0, 0},
    {CALLOC, 12, 20, DEFAULT},
    {ALIGNED, 10, 12, DEFAULT},
};

struct program {
    uint8_t *slots[SLOTS];
    uint32_t sizes[SLOTS];
    uint32_t failures; /* that the program saw */
    uint32_t told;     /* that the callback was told of */
    size_t told_size;
    int told_line;
};

static uint8_t content(uint32_t slot, uint32_t i) { return (uint8_t)(slot * 37u + i * 11u + 1u); }

static void own(struct program *program, uint32_t slot, uint8_t *ptr, uint32_t size) {
    program->slots[slot] = ptr;
    program->sizes[slot] = ptr ? size : 0;
    for (uint32_t i = 0; i < program->sizes[slot]; i++) {
        ptr[i] = content(slot, i);
    }
}

static void check_content(const struct program *program, uint32_t slot, uint32_t length) {
    const uint8_t *ptr = program->slots[slot];
    for (uint32_t i = 0; i < length; i++) {
        CHECK(ptr[i] == content(slot, i), "slot %u, byte %u of %u: 0x%02x, expected 0x%02x", slot,
              i, program->sizes[slot], ptr[i], content(slot, i));
    }
}

static void *call(enum act act, void *old, uint32_t size, wm_heap_cap_type_t caps, int line) {
    static const char file[] = "app/day.c";
    switch (act) {
    case ALLOC:
        return wm_heap_caps_alloc_tracing(size, caps, file, line);
    case CALLOC:
        return wm_heap_caps_calloc_tracing(size / 4, 4, caps, file, line);
    case ALIGNED:
        return wm_heap_caps_aligned_alloc_tracing(64, size, caps, file, line);
    case REALLOC:
        return wm_heap_caps_realloc_tracing(old, size, caps, file, line);
    default:
        wm_heap_caps_free(old);
        return NULL;
    }
}

/* A failed alloc leaves the slot empty, a failed realloc leaves it as it was; the program
 * goes on without. Every failure was told, with its size and its line. */
static void program_step(struct program *program, uint32_t step) {
    enum act act = scenario[step].act;
    uint32_t slot = scenario[step].slot;
    uint32_t size = scenario[step].size;
    uint8_t *old = program->slots[slot];
    uint32_t told = program->told;
    check_content(program, slot, program->sizes[slot]);
    CHECK(!old || act == REALLOC || act == FREE, "step %u: slot %u is taken", step, slot);
    uint8_t *ptr = call(act, old, size, caps_of(scenario[step].caps), (int)step + 1000);
    if (size == 0 || ptr) {
        uint32_t kept = program->sizes[slot] < size ? program->sizes[slot] : size;
        program->slots[slot] = ptr;
        if (act == REALLOC) {
            check_content(program, slot, kept);
        }
        for (uint32_t i = 0; act == CALLOC && i < size; i++) {
            CHECK(ptr[i] == 0, "step %u: byte %u of a calloc is 0x%02x", step, i, ptr[i]);
        }
        own(program, slot, ptr, size);
        CHECK(program->told == told, "step %u: told of a failure that was none", step);
    } else {
        program->failures++;
        CHECK(program->told == told + 1 && program->told_size == size &&
                  program->told_line == (int)step + 1000,
              "step %u: told %u times; of %zu bytes in line %d", step, program->told - told,
              program->told_size, program->told_line);
        if (act == REALLOC) {
            check_content(program, slot, program->sizes[slot]);
        }
    }
}

static void hear(void *context, size_t size, wm_heap_cap_type_t caps, const char *file, int line) {
    struct program *program = context;
    (void)caps;
    CHECK(w800_lock_report().depth_now == 0, "told under the lock");
    CHECK(file && strcmp(file, "app/day.c") == 0, "told of %s", file ? file : "no file");
    program->told++;
    program->told_size = size;
    program->told_line = line;
}

/* Runs the scenario in a fresh heap, frees all, and returns how many calls failed. */
static uint32_t program_run(const struct w800_config *config, uint32_t nth, bool from_then_on) {
    struct recorder seen;
    struct program program = {0};
    struct wm_heap_counters counters;
    char when[80];
    snprintf(when, sizeof when, "allocation %u fails%s", nth,
             from_then_on ? ", and all after" : "");
    heap_start(config, &seen);
    if (config->psram_bytes > 0) {
        CHECK_EQ(wm_heap_append_to_heap("PSRAM"), WM_ERR_SUCCESS, "append");
    }
    size_t all = wm_heap_get_free_size();
    wm_heap_set_failed_callback(hear, &program);
    w800_fail_allocation(nth, from_then_on);
    for (uint32_t step = 0; step < COUNT(scenario); step++) {
        program_step(&program, step);
    }
    check_intact(when);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        check_content(&program, slot, program.sizes[slot]);
        wm_heap_caps_free(program.slots[slot]);
    }
    check_intact(when);
    CHECK_EQ(wm_heap_get_free_size(), all, "free bytes at the end");
    wm_heap_get_counters(&counters);
    CHECK_EQ(counters.failed, program.failures, "failures counted");
    CHECK_EQ(counters.allocs, counters.frees, "blocks allocated and freed");
    check_no_event(&seen, when);
    return program.failures;
}

/* ---- injected failures ------------------------------------------------------------------- */

#define ALLOCATIONS_LEAST 45u

static void fail_each(const struct heap_build *build, bool from_then_on, bool in_place) {
    struct w800_config config = machine_config(build, 2 * MIB);
    config.realloc_in_place = in_place;
    uint32_t hits = 0;
    uint32_t nth = 1;
    for (; nth <= 2 * COUNT(scenario); nth++) {
        uint32_t failures = program_run(&config, nth, from_then_on);
        CHECK_EQ(failures, w800_failed_allocations(), "failures seen and injected");
        if (failures == 0) {
            break;
        }
        CHECK(from_then_on || failures == 1, "allocation %u fails: %u failures", nth, failures);
        hits++;
    }
    CHECK(hits >= ALLOCATIONS_LEAST, "hit %u allocations only", hits);
    CHECK(nth <= 2 * COUNT(scenario), "never came through");
    CHECK_EQ(nth, hits + 1, "first run without a failure");
}

static void fail_each_once(const struct heap_build *build) {
    fail_each(build, false, false);
    fail_each(build, false, true);
}

static void fail_each_and_all_after(const struct heap_build *build) {
    fail_each(build, true, false);
    fail_each(build, true, true);
}

Test(oom, a_program_survives_any_one_allocation_failing) { in_every_build(fail_each_once); }

Test(oom, a_program_survives_all_allocations_failing_from_any_one_on) {
    in_every_build(fail_each_and_all_after);
}

/* ---- memory that is short ------------------------------------------------------------------ */

/* Heaps that grow in small steps: each allocation becomes the one that no longer fits. */
static void run_in_growing_heaps(const struct heap_build *build) {
    uint32_t failed_runs = 0;
    bool failed = true;
    uint32_t bytes = 256;
    for (; failed && bytes <= 96u << 10; bytes += 312) {
        struct w800_config config = machine_config(build, 2 * MIB);
        config.regions[0].end = SRAM_HEAP + bytes;
        config.regions[1].end = DRAM_HEAP + bytes;
        config.regions[2].end = W800_PSRAM_START + bytes;
        failed = program_run(&config, 0, false) > 0;
        failed_runs += failed;
    }
    CHECK(failed_runs >= 50, "%u heaps were too small only", failed_runs);
    CHECK(!failed, "never came through, with %u bytes a region", bytes);
}

Test(oom, a_program_survives_a_heap_of_any_size) { in_every_build(run_in_growing_heaps); }

/* ---- the callback ---------------------------------------------------------------------------- */

struct heard {
    uint32_t count;
    size_t size;
    uint32_t caps;
    const char *file;
    int line;
};

static void note(void *context, size_t size, wm_heap_cap_type_t caps, const char *file, int line) {
    struct heard *heard = context;
    *heard = (struct heard){heard->count + 1, size, (uint32_t)caps, file, line};
}

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Told once, and just that. */
static void check_heard(struct heard *heard, size_t size, uint32_t caps, const char *file,
                        int line) {
    CHECK(heard->count == 1 && heard->size == size && heard->caps == caps && heard->line == line &&
              same_text(heard->file, file),
          "told %u times, size %zu, caps 0x%x, %s:%d; expected size %zu, caps 0x%x, %s:%d",
          heard->count, heard->size, heard->caps, heard->file ? heard->file : "(null)", heard->line,
          size, caps, file ? file : "(null)", line);
    *heard = (struct heard){0};
}

static void tell_each_kind(const struct heap_build *build) {
    static const char site[] = "C:\\sdk\\app.c";
    struct recorder seen;
    struct heard heard = {0};
    struct w800_config config = machine_config(build, 0);
    heap_start(&config, &seen);
    wm_heap_set_failed_callback(note, &heard);
    void *block = wm_heap_caps_alloc(100, SHARED);
    (void)!wm_heap_caps_alloc_tracing(300000, DEFAULT, site, 1);
    check_heard(&heard, 300000, DEFAULT, site, 1);
    (void)!wm_heap_caps_alloc_tracing(300000, caps_of(0), site, 2);
    check_heard(&heard, 300000, DEFAULT, site, 2);
    (void)!wm_heap_caps_alloc_tracing(SIZE_MAX, INVALID, site, 3);
    check_heard(&heard, SIZE_MAX, INVALID, site, 3);
    (void)!wm_heap_caps_calloc_tracing(3000, 100, EXEC, site, 4);
    check_heard(&heard, 300000, EXEC, site, 4);
    (void)!wm_heap_caps_calloc_tracing(SIZE_MAX, 3, caps_of(0), site, 5); /* no such number */
    check_heard(&heard, SIZE_MAX, DEFAULT, site, 5);
    (void)!wm_heap_caps_aligned_alloc_tracing(4096, 300000, INTERNAL, site, 6);
    check_heard(&heard, 300000, INTERNAL, site, 6);
    (void)!wm_heap_caps_aligned_alloc_tracing(3, 10, caps_of(0), site, 7);
    check_heard(&heard, 10, DEFAULT, site, 7);
    (void)!wm_heap_caps_realloc_tracing(NULL, 300000, SHARED, site, 8);
    check_heard(&heard, 300000, SHARED, site, 8);
    (void)!wm_heap_caps_realloc_tracing(block, 300000, caps_of(0), site, 9);
    check_heard(&heard, 300000, SHARED, site, 9);
    (void)!wm_heap_caps_realloc_tracing(block, 10, SPIRAM, NULL, 0);
    check_heard(&heard, 10, SPIRAM, NULL, 0);
    (void)!(wm_heap_caps_alloc)(10, SPIRAM); /* the function, not the macro */
    check_heard(&heard, 10, SPIRAM, NULL, 0);
    int line = __LINE__ + 1;
    (void)!wm_heap_caps_alloc(10, SPIRAM);
    check_heard(&heard, 10, SPIRAM, __FILE__, line);
    wm_heap_set_failed_callback(NULL, NULL);
    (void)!wm_heap_caps_alloc(10, SPIRAM);
    CHECK_EQ(heard.count, 0, "calls of a callback that was removed");
    check_no_event(&seen, "failures");
}

Test(oom, the_callback_gets_size_caps_and_call_site) { in_every_build(tell_each_kind); }

/* It runs outside the lock, so it may free what it keeps for such a day, and allocate. */
static void free_reserve(void *context, size_t size, wm_heap_cap_type_t caps, const char *file,
                         int line) {
    void **reserve = context;
    (void)size, (void)caps, (void)file, (void)line;
    wm_heap_caps_free(*reserve);
    *reserve = wm_heap_caps_alloc(8, DEFAULT);
}

static void use_heap_in_callback(const struct heap_build *build) {
    struct recorder seen;
    struct w800_config config = small_config(build, 4096);
    heap_start(&config, &seen);
    void *reserve = wm_heap_caps_alloc(3000, DEFAULT);
    wm_heap_set_failed_callback(free_reserve, &reserve);
    CHECK(!wm_heap_caps_alloc(2000, DEFAULT), "2,000 bytes beside the reserve");
    CHECK(reserve != NULL, "the callback could not allocate");
    CHECK(wm_heap_caps_alloc(2000, DEFAULT), "2,000 bytes in place of the reserve");
    check_intact("after the callback");
    check_no_event(&seen, "callback");
}

Test(oom, the_callback_may_use_the_heap) { in_every_build(use_heap_in_callback); }
