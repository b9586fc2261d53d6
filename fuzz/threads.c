/* SPDX-License-Identifier: Apache-2.0
 *
 * The target `threads`: two tasks make the calls of one program, and either may lose the
 * processor wherever the core talks to its port outside the critical section: before a lock,
 * after an unlock, at a fault, at console text, at a call site. Which task goes on is in the
 * input, a bit for each such moment, so a schedule is as reproducible as a call.
 *
 * The tasks are two stacks on one host thread (ucontext): nothing else runs between two
 * bits. Each task owns half of the pointer variables. No model here: an order of the calls is
 * not decided until they are over. What must hold in any order: no block handed out while it
 * is somebody's, contents kept, through a realloc too; counters and free bytes that add up;
 * no fault, but exactly one if both tasks free the same block; a heap in one piece.
 */
#include <setjmp.h>
#include <string.h>
#include <ucontext.h>

#include "arena.h"
#include "fuzz.h"

#define TASKS 2u
#define SCHEDULE_BYTES 16u /* used again and again */
#define STACK_BYTES (256u << 10)
#define TASK_SLOTS (PROGRAM_SLOTS / TASKS)

const char fuzz_name[] = "threads";
const size_t fuzz_head_bytes = PROGRAM_HEAD_BYTES + SCHEDULE_BYTES;

struct live {
    uint32_t pointer; /* 0: none, or a call that may free it is at work */
    uint32_t size;
    uint8_t fill;
};

/* A stack to go on with. */
struct place {
    ucontext_t context;
    jmp_buf registers;
    bool begun; /* `registers` are known */
};

struct task {
    struct place place;
    bool done;
    uint32_t freeing; /* pointer, while a free of it is at work */
    uint32_t takes;   /* scene.takes when it began */
};

struct scene {
    struct program program;
    struct program_head head;
    const uint8_t *schedule;
    uint32_t moment;
    struct place home;
    struct task tasks[TASKS];
    uint32_t current; /* task, TASKS: none */
    uint32_t depth;   /* of the lock */
    struct live live[PROGRAM_SLOTS];
    struct wm_heap_counters expected;
    uint32_t failures; /* told to the callback */
    uint32_t forgiven; /* double frees that both tasks were made to commit */
    uint32_t calls;
    bool racing; /* both tasks free one block: neither does anything else before they have */
    bool appended;
    uint32_t takes; /* beginnings and ends of calls that take memory */
};

/* File scope: the port's functions have no argument to carry it. */
static struct scene scene;
static uint8_t stacks[TASKS][STACK_BYTES] __attribute__((aligned(16)));

#define CHECK(condition, format, ...)                                                              \
    FUZZ_CHECK(condition, "build %s, layout %u, call %u, task %u, moment %u: " format,             \
               heap_builds[scene.head.build]->name, scene.head.layout, scene.calls, scene.current, \
               scene.moment, __VA_ARGS__)

static const char site[] = "threads.c";

static wm_heap_cap_type_t caps_of(uint32_t bits) { return (wm_heap_cap_type_t)bits; }

/* ---- preemption ---- */

#if defined(__SANITIZE_ADDRESS__)
#define KNOWS_STACKS true
#elif defined(__has_feature)
#define KNOWS_STACKS __has_feature(address_sanitizer)
#else
#define KNOWS_STACKS false
#endif

/* swapcontext makes a system call, for signals that nobody sends, and a run switches a hundred
 * times: _longjmp goes back to a stack without one. The address sanitizer must see where it goes.
 */
static void jump(struct place *from, struct place *to) {
    if (KNOWS_STACKS) {
        swapcontext(&from->context, &to->context);
    } else if (_setjmp(from->registers) == 0) {
        from->begun = true;
        if (to->begun) {
            _longjmp(to->registers, 1);
        }
        setcontext(&to->context);
    }
}

static void switch_task(void) {
    uint32_t from = scene.current;
    uint32_t to = 1u - from;
    if (!scene.tasks[to].done) {
        scene.current = to;
        jump(&scene.tasks[from].place, &scene.tasks[to].place);
    }
}

static void preempt(void) {
    if (scene.current < TASKS && scene.depth == 0) {
        uint32_t bit = scene.moment++ % (8u * SCHEDULE_BYTES);
        if (((uint32_t)scene.schedule[bit / 8u] >> bit % 8u & 1u) != 0) {
            switch_task();
        }
    }
}

uint32_t __real_wm_heap_port_lock(void);
uint32_t __wrap_wm_heap_port_lock(void);
uint32_t __wrap_wm_heap_port_lock(void) {
    preempt();
    scene.depth++;
    return __real_wm_heap_port_lock();
}

void __real_wm_heap_port_unlock(uint32_t key);
void __wrap_wm_heap_port_unlock(uint32_t key);
void __wrap_wm_heap_port_unlock(uint32_t key) {
    __real_wm_heap_port_unlock(key);
    scene.depth--;
    preempt();
}

void __real_wm_heap_port_fault(const struct wm_heap_fault *fault);
void __wrap_wm_heap_port_fault(const struct wm_heap_fault *fault);
void __wrap_wm_heap_port_fault(const struct wm_heap_fault *fault) {
    preempt();
    __real_wm_heap_port_fault(fault);
}

void __real_wm_heap_port_print(const char *text, uint32_t length);
void __wrap_wm_heap_port_print(const char *text, uint32_t length);
void __wrap_wm_heap_port_print(const char *text, uint32_t length) {
    preempt();
    __real_wm_heap_port_print(text, length);
}

uint32_t __real_wm_heap_port_site(const char *file);
uint32_t __wrap_wm_heap_port_site(const char *file);
uint32_t __wrap_wm_heap_port_site(const char *file) {
    preempt();
    return __real_wm_heap_port_site(file);
}

/* ---- events ---- */

static void on_event(void *context, const struct w800_event *event) {
    (void)context;
    if (event->kind == W800_EVENT_REALLOC_MOVED) {
        return;
    }
    CHECK(event->kind == W800_EVENT_HEAP_FAULT && event->fault.kind == WM_HEAP_FAULT_DOUBLE_FREE &&
              scene.forgiven > 0,
          "%s %s, block 0x%08x", w800_event_name(event->kind),
          wm_heap_fault_name(event->fault.kind), event->fault.block);
    scene.forgiven--;
    scene.expected.faults++;
}

static void on_failure(void *context, size_t size, wm_heap_cap_type_t caps, const char *file,
                       int line) {
    (void)context;
    (void)caps;
    (void)line;
    scene.failures++;
    scene.expected.failed++;
    uint32_t shown = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
    if (shown > scene.expected.largest_failed) {
        scene.expected.largest_failed = shown;
    }
    CHECK(file == site && scene.depth == 0, "a failure comes from %s, the lock held %u times",
          file != NULL ? file : "(null)", scene.depth);
}

static void on_print(void *context, const char *text, size_t length) {
    (void)context;
    CHECK(scene.depth == 0, "printed with the lock held: %.*s", (int)length, text);
}

/* ---- blocks ---- */

static void live_check(const struct live *live) {
    const uint8_t *bytes = w800_pointer(live->pointer);
    for (uint32_t i = 0; i < live->size; i++) {
        CHECK(bytes[i] == live->fill, "byte %u of 0x%08x has changed", i, live->pointer);
    }
}

/* A block that a call has just returned. */
static void live_add(struct live *slot, uint32_t pointer, uint32_t size, uint32_t caps) {
    const struct wm_heap_region_config *rows = arena_regions(scene.head.layout);
    uint32_t r = 0;
    while (r < WM_HEAP_REGIONS_MAX && (pointer < rows[r].start || pointer + size > rows[r].end)) {
        r++;
    }
    CHECK(pointer % 8u == 0 && r < WM_HEAP_REGIONS_MAX && (rows[r].caps & caps) == caps,
          "0x%08x does not serve %u bytes, caps 0x%x", pointer, size, caps);
    for (uint32_t i = 0; i < PROGRAM_SLOTS; i++) {
        const struct live *other = &scene.live[i];
        CHECK(other->pointer == 0 || pointer >= other->pointer + other->size ||
                  other->pointer >= pointer + size,
              "0x%08x, %u bytes, lies over 0x%08x, %u bytes", pointer, size, other->pointer,
              other->size);
    }
    *slot = (struct live){pointer, size, (uint8_t)(1u + scene.calls % 255u)};
    memset(w800_pointer(pointer), slot->fill, size);
}

/* ---- calls; the current task may change in each call of the core ---- */

static void task_free(struct live *slot) {
    struct task *task = &scene.tasks[scene.current];
    struct live old = *slot;
    if (old.pointer == 0) {
        return;
    }
    live_check(&old);
    slot->pointer = 0; /* from now on the other task may get it */
    scene.expected.frees++;
    task->freeing = old.pointer;
    task->takes = scene.takes;
    wm_heap_caps_free(w800_pointer(old.pointer));
    task->freeing = 0;
    while (scene.racing) {
        switch_task();
    }
}

/* Both tasks free one block. Whoever is second must be told; nobody may take it meanwhile,
 * for then the second free would be as good as any. */
static void task_free_too(void) {
    const struct task *other = &scene.tasks[1u - scene.current];
    if (other->freeing == 0 || other->takes != scene.takes) {
        return;
    }
    scene.forgiven++;
    scene.racing = true;
    wm_heap_caps_free(w800_pointer(other->freeing));
    while (other->freeing != 0) {
        switch_task();
    }
    scene.racing = false;
    CHECK(scene.forgiven == 0, "two frees of one block, and %s is told", "neither");
}

static void task_alloc(const struct program_call *call, struct live *slot) {
    size_t border = wm_heap_caps_get_largest_free_block(caps_of(call->caps));
    uint64_t size = program_size(call, (uint32_t)border);
    uint32_t caps = call->caps != 0 ? call->caps : (uint32_t)WM_HEAP_CAP_DEFAULT;
    int line = (int)scene.calls;
    void *result;
    task_free(slot);
    if (call->kind == PROGRAM_CALLOC) {
        result = wm_heap_caps_calloc_tracing(1, size, caps_of(caps), site, line);
    } else if (call->kind == PROGRAM_ALIGNED) {
        result = wm_heap_caps_aligned_alloc_tracing(program_alignment(call), size, caps_of(caps),
                                                    site, line);
    } else {
        result = wm_heap_caps_alloc_tracing(size, caps_of(caps), site, line);
    }
    if (result != NULL) {
        scene.expected.allocs++;
        live_add(slot, w800_address(result), (uint32_t)size, caps);
    }
}

static void task_realloc(const struct program_call *call, struct live *slot) {
    size_t border = wm_heap_caps_get_largest_free_block(caps_of(call->caps));
    uint64_t size = program_size(call, (uint32_t)border);
    struct live old = *slot;
    uint32_t caps = call->caps;
    if (old.pointer == 0 || size == 0) {
        task_alloc(call, slot);
        return;
    }
    live_check(&old);
    slot->pointer = 0;
    uint8_t *result = wm_heap_caps_realloc_tracing(w800_pointer(old.pointer), size, caps_of(caps),
                                                   site, (int)scene.calls);
    if (result == NULL) {
        *slot = old;
        live_check(&old);
        return;
    }
    if (w800_address(result) != old.pointer) {
        scene.expected.allocs++;
        scene.expected.frees++;
    }
    for (uint32_t i = 0; i < old.size && i < size; i++) {
        CHECK(result[i] == old.fill, "realloc of 0x%08x to %p loses byte %u", old.pointer,
              (void *)result, i);
    }
    live_add(slot, w800_address(result), (uint32_t)size, caps);
}

static bool visit_sound(void *context, const struct wm_heap_block *block) {
    uint32_t *bytes = context;
    *bytes += block->size;
    return true;
}

static void task_other(const struct program_call *call, struct live *slot) {
    struct wm_heap_block block;
    struct wm_heap_fault fault;
    uint32_t bytes = 0;
    switch (call->kind == PROGRAM_OTHER ? program_other_of(call) : PROGRAM_CHECK) {
    case PROGRAM_IN_PLACE:
        wm_heap_set_realloc_in_place(call->slot % 2u != 0);
        break;
    case PROGRAM_STATS:
        wm_heap_print_stats();
        break;
    case PROGRAM_TRACING:
        wm_heap_print_tracing(NULL);
        break;
    default:
        CHECK(wm_heap_check(WM_HEAP_NO_REGION, &fault), "%s (%s), block 0x%08x",
              wm_heap_fault_name(fault.kind), wm_heap_check_name(fault.check), fault.block);
        CHECK(wm_heap_walk(0, visit_sound, &bytes), "the walk fails after %u bytes", bytes);
        if (slot->pointer != 0) {
            void *pointer = w800_pointer(slot->pointer);
            CHECK(wm_heap_get_block(pointer, &block) && block.requested == slot->size &&
                      wm_heap_get_usable_size(pointer) >= slot->size &&
                      wm_heap_check_block(pointer, &fault),
                  "block 0x%08x is not what it was", slot->pointer);
        }
        break;
    }
}

static void task_call(const struct program_call *call) {
    struct live *slot = &scene.live[scene.current * TASK_SLOTS + call->slot % TASK_SLOTS];
    switch (call->kind) {
    case PROGRAM_ALLOC:
    case PROGRAM_CALLOC:
    case PROGRAM_ALIGNED:
        scene.takes++;
        task_alloc(call, slot);
        scene.takes++;
        break;
    case PROGRAM_FREE:
        task_free(slot);
        break;
    case PROGRAM_REALLOC:
        scene.takes++;
        task_realloc(call, slot);
        scene.takes++;
        break;
    case PROGRAM_BAD:
    case PROGRAM_SMASH:
    case PROGRAM_FAIL:
        task_free_too();
        break;
    case PROGRAM_APPEND:
        if (!scene.appended) {
            scene.appended = true;
            CHECK(wm_heap_append_to_heap("PSRAM") == WM_ERR_SUCCESS, "append%s", "");
        }
        break;
    default:
        task_other(call, slot);
        break;
    }
}

/* Whoever has the processor takes the program's next call. */
static void task_run(void) {
    struct program_call call;
    while (program_next(&scene.program, &call)) {
        scene.calls++;
        task_call(&call);
    }
    scene.tasks[scene.current].done = true;
    jump(&scene.tasks[scene.current].place, &scene.home);
}

/* ---- a run ---- */

static void task_prepare(struct task *task, uint8_t *stack) {
    getcontext(&task->place.context);
    task->place.context.uc_stack.ss_sp = stack;
    task->place.context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&task->place.context, task_run, 0);
}

static void run_tasks(void) {
    task_prepare(&scene.tasks[0], stacks[0]);
    task_prepare(&scene.tasks[1], stacks[1]);
    for (uint32_t t = 0; t < TASKS; t++) {
        while (!scene.tasks[t].done) {
            scene.current = t;
            jump(&scene.home, &scene.tasks[t].place);
        }
    }
    scene.current = TASKS;
}

struct sum {
    uint32_t live;
    uint32_t bytes;
};

static bool visit_live(void *context, const struct wm_heap_block *block) {
    struct sum *sum = context;
    sum->live += block->live;
    sum->bytes += block->live ? 0 : block->size;
    return true;
}

/* Everything adds up. */
static void scene_check(void) {
    struct wm_heap_fault fault;
    struct sum sum = {0, 0};
    uint32_t live = 0;
    for (uint32_t i = 0; i < PROGRAM_SLOTS; i++) {
        if (scene.live[i].pointer != 0) {
            live_check(&scene.live[i]);
            live++;
        }
    }
    for (uint32_t r = 0; r < WM_HEAP_REGIONS_MAX; r++) {
        (void)wm_heap_walk(r, visit_live, &sum);
    }
    struct wm_heap_counters now;
    wm_heap_get_counters(&now);
    CHECK(sum.live == live && sum.bytes == wm_heap_get_free_size(),
          "%u live blocks, %u free bytes; expected %u, %zu", sum.live, sum.bytes, live,
          wm_heap_get_free_size());
    CHECK(memcmp(&now, &scene.expected, sizeof now) == 0,
          "counters: %u allocs, %u frees, %u failed, %u faults; expected %u, %u, %u, %u",
          now.allocs, now.frees, now.failed, now.faults, scene.expected.allocs,
          scene.expected.frees, scene.expected.failed, scene.expected.faults);
    CHECK(wm_heap_check(WM_HEAP_NO_REGION, &fault), "%s (%s), block 0x%08x",
          wm_heap_fault_name(fault.kind), wm_heap_check_name(fault.check), fault.block);
    CHECK(scene.depth == 0, "the lock is held, %u deep", scene.depth);
}

static void scene_finish(void) {
    scene_check();
    for (uint32_t i = 0; i < PROGRAM_SLOTS; i++) {
        if (scene.live[i].pointer != 0) {
            wm_heap_caps_free(w800_pointer(scene.live[i].pointer));
            scene.live[i].pointer = 0;
            scene.expected.frees++;
        }
    }
    scene_check();
    for (uint32_t caps = WM_HEAP_CAP_SPIRAM; caps <= WM_HEAP_CAP_SHARED; caps <<= 1) {
        CHECK(wm_heap_caps_get_free_size(caps_of(caps)) ==
                  wm_heap_caps_get_largest_free_block(caps_of(caps)),
              "caps 0x%x: what is free is not in one piece", caps);
    }
    uint32_t outside = 0;
    CHECK(arena_outside_is_intact(scene.head.layout, &outside), "0x%08x was written", outside);
}

void fuzz_open(void) {
    scene.current = TASKS;
    arena_open();
    (void)wm_heap_port_site(site);
}

int fuzz_one(const uint8_t *data, size_t size) {
    if (size < fuzz_head_bytes) {
        return -1;
    }
    memset(&scene, 0, sizeof scene);
    scene.current = TASKS;
    scene.head = program_begin(&scene.program, data, size);
    scene.schedule = data + PROGRAM_HEAD_BYTES;
    scene.program.at = fuzz_head_bytes;
    arena_reset(&scene.head);
    w800_on_event(on_event, NULL);
    w800_on_print(on_print, NULL);
    wm_heap_set_failed_callback(on_failure, NULL);
    if (scene.head.in_place) {
        wm_heap_set_realloc_in_place(true);
    }
    run_tasks();
    scene_finish();
    return 0;
}
