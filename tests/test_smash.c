/* SPDX-License-Identifier: Apache-2.0
 *
 * Damage: an application may write anything anywhere in the heap. Whatever it was, the
 * integrity check must notice it where the core keeps something, and the calls that follow
 * must stay harmless: at most one report for a region, no step outside it, no endless loop,
 * no memory handed out twice, no byte of anybody's payload changed.
 *
 * A small heap is set up once for a build; each case restores it, smashes it, checks it, and
 * then lets several bursts of ordinary calls loose on copies of it. The heap lies in SRAM;
 * a second one in DRAM must not notice anything.
 *
 * W800_SEED=N repeats a random run, W800_CASES=N makes it longer.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "machine.h"

TestSuite(smash, .timeout = 120);

#define ARENA_BYTES 2048u
#define WINDOW_BYTES 4096u /* kept an eye on, before and behind each arena */
#define SRAM_ARENA 0x20020000u
#define DRAM_ARENA 0x20030000u
#define NODE_BYTES 24u
#define PAGE_OF(arena) ((arena)-WINDOW_BYTES)
#define SPAN (2u * WINDOW_BYTES + ARENA_BYTES)
#define LIVE_MAX 192u
#define SMASHED (WM_HEAP_FAULT_SMASHED_HEADER)

struct live {
    uint32_t pointer;
    uint32_t size;
    uint8_t fill;
};

struct scene {
    const struct heap_build *build;
    struct live live[LIVE_MAX]; /* of the SRAM arena */
    uint32_t live_count;
    struct wm_heap_block blocks[LIVE_MAX]; /* as the walk sees them before the damage */
    uint32_t block_count;
    uint8_t sram[SPAN];
    uint8_t dram[SPAN];
    struct wm_heap_state state;
};

#define RAM (WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_INTERNAL)
static const struct w800_config two_arenas = {
    .regions = {{"SRAM", SRAM_ARENA, SRAM_ARENA + ARENA_BYTES, RAM | WM_HEAP_CAP_EXEC, false},
                {"DRAM", DRAM_ARENA, DRAM_ARENA + ARENA_BYTES, RAM | WM_HEAP_CAP_SHARED, false}},
    .region_count = 2,
};

static uint32_t arena_alloc(const struct heap_build *build, uint32_t size, wm_heap_cap_type_t caps,
                            uint8_t fill) {
    void *memory = build->alloc(size, caps, "scene.c", (int)size);
    cr_assert_not_null(memory);
    memset(memory, fill, size);
    return w800_address(memory);
}

static bool keep_block(void *context, const struct wm_heap_block *block) {
    struct scene *scene = context;
    scene->blocks[scene->block_count++] = *block;
    return true;
}

/* Live blocks and holes of many sizes in turn, some holes next to a large block, so that
 * the tree has nodes with no, one and two children, and free memory behind all. */
static void scene_fill(struct scene *scene) {
    static const uint16_t sizes[] = {40, 9,  72, 1,  24, 33,  100, 8,  16, 50, 64,
                                     21, 90, 12, 48, 3,  120, 30,  56, 17, 44};
    const struct heap_build *build = scene->build;
    uint32_t all[COUNT(sizes)];
    uint32_t other[6];
    for (uint32_t i = 0; i < COUNT(sizes); i++) {
        all[i] = arena_alloc(build, sizes[i], WM_HEAP_CAP_EXEC, (uint8_t)(0x11 + i));
    }
    for (uint32_t i = 0; i < COUNT(sizes); i++) {
        if (i % 2 == 0 && i + 1 < COUNT(sizes)) {
            build->free(w800_pointer(all[i]));
        } else {
            scene->live[scene->live_count++] = (struct live){all[i], sizes[i], (uint8_t)(0x11 + i)};
        }
    }
    for (uint32_t i = 0; i < COUNT(other); i++) {
        other[i] = arena_alloc(build, 20u + 16u * i, WM_HEAP_CAP_SHARED, 0xd0);
    }
    build->free(w800_pointer(other[1]));
    build->free(w800_pointer(other[3]));
}

static void scene_open(struct scene *scene, const struct heap_build *build) {
    struct w800_config config = two_arenas;
    config.build = build;
    *scene = (struct scene){.build = build};
    machine_start(&config);
    memset(w800_pointer(PAGE_OF(SRAM_ARENA)), 0x3c, SPAN);
    memset(w800_pointer(PAGE_OF(DRAM_ARENA)), 0xc3, SPAN);
    wm_heap_init();
    scene_fill(scene);
    struct wm_heap_fault fault;
    cr_assert(build->check(WM_HEAP_NO_REGION, &fault));
    cr_assert(build->walk(0, keep_block, scene));
    memcpy(scene->sram, w800_pointer(PAGE_OF(SRAM_ARENA)), SPAN);
    memcpy(scene->dram, w800_pointer(PAGE_OF(DRAM_ARENA)), SPAN);
    memcpy(&scene->state, build->state, sizeof scene->state);
}

static void scene_restore(const struct scene *scene) {
    memcpy(w800_pointer(PAGE_OF(SRAM_ARENA)), scene->sram, SPAN);
    memcpy(w800_pointer(PAGE_OF(DRAM_ARENA)), scene->dram, SPAN);
    memcpy(scene->build->state, &scene->state, sizeof scene->state);
}

/* --- bursts of ordinary calls on a smashed heap ----------------------------------------- */

enum burst { FREE_UP, FREE_DOWN, FREE_ODD_FIRST, ALLOC_FIRST, REALLOC_ALL, BURSTS };
static const char *const burst_names[BURSTS] = {
    "free upwards", "free downwards", "free every other first", "allocate first", "reallocate all"};

/* What is wrong with the core's behaviour; "" if nothing. */
struct verdict {
    char text[200];
};

struct run {
    const struct scene *scene;
    enum burst burst;
    struct live live[LIVE_MAX];
    uint32_t live_count;
    uint32_t calls, faults;
    struct verdict verdict;
};

__attribute__((format(printf, 2, 3))) static void blame(struct run *run, const char *format, ...) {
    if (run->verdict.text[0] == '\0') {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(run->verdict.text, sizeof run->verdict.text, format, arguments);
        va_end(arguments);
    }
}

static void on_fault(void *context, const struct w800_event *event) {
    struct run *run = context;
    run->faults++;
    if (event->kind != W800_EVENT_HEAP_FAULT) {
        blame(run, "%s at 0x%08x", w800_event_name(event->kind), event->address);
    } else if (event->fault.kind < SMASHED) {
        blame(run, "a good call was called %s", run->scene->build->fault_name(event->fault.kind));
    }
}

static void run_keep(struct run *run, void *memory, uint32_t size) {
    uint32_t pointer = w800_address(memory);
    uint8_t fill = (uint8_t)(0x80 + run->calls);
    if (pointer < SRAM_ARENA || pointer + size > SRAM_ARENA + ARENA_BYTES) {
        blame(run, "0x%08x with %" PRIu32 " bytes lies outside the region", pointer, size);
        return;
    }
    for (uint32_t i = 0; i < run->live_count; i++) {
        const struct live *other = &run->live[i];
        if (pointer < other->pointer + other->size && other->pointer < pointer + size) {
            blame(run, "0x%08x was handed out over the live block of 0x%08x", pointer,
                  other->pointer);
        }
    }
    memset(memory, fill, size);
    run->live[run->live_count++] = (struct live){pointer, size, fill};
}

static uint32_t freed_or_faulted(const struct run *run) {
    const struct wm_heap_counters *counters = &run->scene->build->state->counters;
    return counters->frees + counters->faults;
}

/* Frees the i-th block; what a closed region refuses to free stays live. The block whose own
 * free meets the damage is the program's no more, nor is it anybody's else. */
static void run_free(struct run *run, uint32_t i) {
    uint32_t before = freed_or_faulted(run);
    run->calls++;
    run->scene->build->free(w800_pointer(run->live[i].pointer));
    if (freed_or_faulted(run) != before) {
        run->live[i] = run->live[--run->live_count];
    }
}

static void run_free_all(struct run *run, bool downwards, uint32_t stride) {
    struct live wanted[LIVE_MAX];
    uint32_t count = run->live_count;
    memcpy(wanted, run->live, sizeof wanted);
    for (uint32_t phase = 0; phase < stride; phase++) {
        for (uint32_t i = phase; i < count; i += stride) {
            uint32_t pointer = wanted[downwards ? count - 1u - i : i].pointer;
            for (uint32_t j = 0; j < run->live_count; j++) {
                if (run->live[j].pointer == pointer) {
                    run_free(run, j);
                    break;
                }
            }
        }
    }
}

static void run_alloc_all(struct run *run) {
    static const uint16_t sizes[] = {100, 40, 17, 1};
    for (uint32_t s = 0; s < COUNT(sizes); s++) {
        while (run->live_count < LIVE_MAX) {
            run->calls++;
            void *memory = run->scene->build->alloc(sizes[s], WM_HEAP_CAP_EXEC, "burst.c", 1);
            if (memory == NULL) {
                break;
            }
            run_keep(run, memory, sizes[s]);
        }
    }
}

static void run_realloc_all(struct run *run) {
    for (uint32_t i = 0; i < run->live_count; i++) {
        struct live old = run->live[i];
        uint32_t size = old.size * 3u / 2u + 1u;
        run->calls++;
        uint32_t before = freed_or_faulted(run);
        void *memory = run->scene->build->realloc(w800_pointer(old.pointer), size, WM_HEAP_CAP_EXEC,
                                                  "burst.c", 2);
        if (memory == NULL) {
            continue;
        }
        if (freed_or_faulted(run) != before) {
            run->live[i] = run->live[--run->live_count];
            i--;
        }
        run_keep(run, memory, size);
        if (run->calls > 2u * LIVE_MAX) {
            break; /* each realloc puts its block behind the others again */
        }
    }
}

static void run_burst(void *context) {
    struct run *run = context;
    switch (run->burst) {
    case FREE_UP:
        run_free_all(run, false, 1);
        run_alloc_all(run);
        break;
    case FREE_DOWN:
        run_free_all(run, true, 1);
        run_alloc_all(run);
        break;
    case FREE_ODD_FIRST:
        run_free_all(run, false, 2);
        run_realloc_all(run);
        break;
    case ALLOC_FIRST:
        run_alloc_all(run);
        run_free_all(run, false, 3);
        break;
    default: /* REALLOC_ALL */
        run_realloc_all(run);
        run_free_all(run, true, 2);
    }
    run->scene->build->print_stats();
    run->scene->build->print_tracing(NULL);
}

/* The DRAM heap must not have noticed, and works. */
static void other_works(void *context) {
    struct run *run = context;
    const struct heap_build *build = run->scene->build;
    void *memory = build->alloc(60, WM_HEAP_CAP_SHARED, "other.c", 1);
    if (memory == NULL) {
        blame(run, "the undamaged region serves nothing any more");
        return;
    }
    build->free(memory);
    struct wm_heap_fault fault;
    if (!build->check(1, &fault)) {
        blame(run, "the undamaged region is damaged: %s", build->fault_name(fault.kind));
    }
}

static void check_outside(struct run *run) {
    const struct scene *scene = run->scene;
    const uint8_t *sram = w800_pointer(PAGE_OF(SRAM_ARENA));
    if (memcmp(sram, scene->sram, WINDOW_BYTES) != 0 ||
        memcmp(sram + WINDOW_BYTES + ARENA_BYTES, scene->sram + WINDOW_BYTES + ARENA_BYTES,
               WINDOW_BYTES) != 0) {
        blame(run, "memory outside the region was written");
    }
    if (memcmp(w800_pointer(PAGE_OF(DRAM_ARENA)), scene->dram, SPAN) != 0) {
        blame(run, "another region's memory was written");
    }
}

/* No byte of a live block changes, but those that the damage itself has changed. */
static void check_payloads(struct run *run, const bool *dirty) {
    for (uint32_t i = 0; i < run->live_count; i++) {
        const struct live *live = &run->live[i];
        const uint8_t *bytes = w800_pointer(live->pointer);
        for (uint32_t at = 0; at < live->size; at++) {
            if (bytes[at] != live->fill && !dirty[live->pointer + at - SRAM_ARENA]) {
                blame(run, "byte %" PRIu32 " of the live block of 0x%08x was changed", at,
                      live->pointer);
                return;
            }
        }
    }
}

/* One burst on the heap as it is now. */
static struct verdict burst_judge(const struct scene *scene, enum burst burst, const bool *dirty) {
    struct run run = {.scene = scene, .burst = burst, .live_count = scene->live_count};
    memcpy(run.live, scene->live, sizeof run.live);
    w800_on_event(on_fault, &run);
    bool ended = w800_guard(run_burst, &run);
    if (!ended) {
        blame(&run, "a trap ended the burst");
    }
    if (run.faults > 1) {
        blame(&run, "%" PRIu32 " faults were reported for one damage", run.faults);
    }
    check_outside(&run);
    check_payloads(&run, dirty);
    w800_guard(other_works, &run);
    if (w800_lock_report().depth_now != 0) {
        blame(&run, "the lock is held");
    }
    return run.verdict;
}

/* --- every protected byte ----------------------------------------------------------------- */

/* Is this byte one of those that the core keeps something in? */
static bool is_protected(const struct scene *scene, const struct wm_heap_block *block,
                         uint32_t address) {
    const struct wm_heap_region *region = &scene->state.regions[0];
    if (block->live) {
        return address < block->pointer ||
               (scene->build->comprehensive && address >= block->pointer + block->requested);
    }
    if (block->address == region->tail) {
        return scene->build->comprehensive;
    }
    uint32_t node = block->address + block->size - NODE_BYTES;
    bool links = address - node - 4u < 16u; /* a node that is not in the tree yet has none */
    return scene->build->comprehensive || address - block->address < 4 ||
           (address >= node && (node != region->fresh.node || !links));
}

/* Eight flipped bits, all zeros, all ones, one more, and what poisoning itself writes. */
static const struct {
    uint8_t flip;
    uint8_t add;
    int16_t set; /* -1: no */
} changes[] = {{1, 0, -1},   {2, 0, -1},   {4, 0, -1},   {8, 0, -1},   {16, 0, -1},
               {32, 0, -1},  {64, 0, -1},  {128, 0, -1}, {0, 1, -1},   {0, 0, 0},
               {0, 0, 0xff}, {0, 0, 0xa5}, {0, 0, 0xfe}, {0, 0, 0x5a}, {0, 8, -1}};

static uint8_t changed(uint8_t byte, size_t change) {
    if (changes[change].set >= 0) {
        return (uint8_t)changes[change].set;
    }
    return (uint8_t)((byte ^ changes[change].flip) + changes[change].add);
}

/* A fault has what stands at its address, and what stood there; or, of a seal or a mark, what would
 * fit the other words now. */
static bool words_told(const struct scene *scene, const struct wm_heap_fault *fault,
                       uint32_t smashed) {
    uint32_t bytes = fault->check == WM_HEAP_CHECK_GUARD ? 1 : 4;
    uint32_t stands = 0;
    uint32_t stood = 0;
    memcpy(&stands, w800_pointer(fault->address), bytes);
    memcpy(&stood, &scene->sram[fault->address - PAGE_OF(SRAM_ARENA)], bytes);
    bool other = fault->check == WM_HEAP_CHECK_SEAL &&
                 (fault->address == fault->block + 4u || smashed - fault->address >= bytes);
    return fault->actual == stands &&
           (other || (fault->expected == stood && fault->expected != stands));
}

/* The check must object and name the damaged block or the one before or behind it. */
static void expect_named(const struct scene *scene, uint32_t index, uint32_t address,
                         const char *how) {
    struct wm_heap_fault fault = {0};
    bool good = scene->build->check(WM_HEAP_NO_REGION, &fault);
    cr_assert(!good, "%s: %s: the check notices nothing", scene->build->name, how);
    uint32_t first = scene->blocks[index > 0 ? index - 1 : 0].address;
    uint32_t last = index + 1 < scene->block_count ? scene->blocks[index + 1].address
                                                   : scene->state.regions[0].end;
    cr_assert(
        fault.kind >= SMASHED && fault.region == 0 && fault.block >= first && fault.block <= last,
        "%s: %s: the check names %s (%s, at 0x%08x), region %" PRIu32
        ", block 0x%08x, not one near 0x%08x",
        scene->build->name, how, scene->build->fault_name(fault.kind),
        scene->build->check_name(fault.check), fault.address, fault.region, fault.block, address);
    cr_assert(words_told(scene, &fault, address), "%s: %s: %s at 0x%08x: 0x%08x, expected 0x%08x",
              scene->build->name, how, scene->build->check_name(fault.check), fault.address,
              fault.actual, fault.expected);
}

/* Overwrites `bytes` bytes: noticed, and then the bursts, or one of them, change nothing
 * they should not. */
static void smash_with(const struct scene *scene, uint32_t index, uint32_t address,
                       const void *value, uint32_t bytes, enum burst only) {
    static const bool clean[ARENA_BYTES]; /* no payload byte is smashed here */
    void *memory = w800_pointer(address);
    uint32_t before = 0;
    uint32_t after = 0;
    scene_restore(scene);
    memcpy(&before, memory, bytes);
    memcpy(&after, value, bytes);
    if (before == after) {
        return;
    }
    char how[96];
    snprintf(how, sizeof how, "%u bytes at 0x%08x of block 0x%08x from 0x%02x to 0x%02x", bytes,
             address, scene->blocks[index].address, before, after);
    memcpy(memory, value, bytes);
    expect_named(scene, index, address, how);
    for (enum burst burst = 0; burst < BURSTS; burst++) {
        if (only == BURSTS || only == burst) {
            scene_restore(scene);
            memcpy(memory, value, bytes);
            struct verdict verdict = burst_judge(scene, burst, clean);
            cr_assert(verdict.text[0] == '\0', "%s: %s, then %s: %s", scene->build->name, how,
                      burst_names[burst], verdict.text);
        }
    }
}

static void smash_byte(const struct scene *scene, uint32_t index, uint32_t address,
                       enum burst only) {
    uint8_t before = scene->sram[address - PAGE_OF(SRAM_ARENA)];
    for (size_t c = 0; c < COUNT(changes); c++) {
        uint8_t after = changed(before, c);
        enum burst burst = only == BURSTS ? BURSTS : (enum burst)((only + c) % BURSTS);
        smash_with(scene, index, address, &after, 1, burst);
    }
}

/* Headers and nodes with every burst; the many bytes of free payload with one burst each. */
static void smash_all(const struct heap_build *build) {
    static struct scene scene; /* too large for the stack of a test */
    uint32_t smashed = 0;
    scene_open(&scene, build);
    const struct wm_heap_region *region = &scene.state.regions[0];
    scene.blocks[scene.block_count++] = (struct wm_heap_block){
        .address = region->end,
        .size = build->header_size,
        .pointer = region->end + build->header_size,
        .live = true,
    };
    for (uint32_t i = 0; i < scene.block_count; i++) {
        const struct wm_heap_block *block = &scene.blocks[i];
        for (uint32_t at = block->address; at < block->address + block->size; at++) {
            if (is_protected(&scene, block, at)) {
                uint32_t offset = at - block->address;
                bool inner = block->live ? offset >= build->header_size
                                         : offset >= 4 && block->size - offset > NODE_BYTES;
                inner = inner || block->address == region->tail;
                smash_byte(&scene, i, at, inner ? (enum burst)(at % BURSTS) : BURSTS);
                smashed++;
            }
        }
    }
    cr_log_info("%s: %" PRIu32 " bytes smashed", build->name, smashed);
    cr_assert_gt(smashed, 10 * build->header_size + 10 * NODE_BYTES);
    w800_stop();
}

Test(smash, every_byte_is_noticed_and_harmless_none) { smash_all(heap_builds[0]); }
Test(smash, every_byte_is_noticed_and_harmless_trace) { smash_all(heap_builds[1]); }
Test(smash, every_byte_is_noticed_and_harmless_light) { smash_all(heap_builds[2]); }
Test(smash, every_byte_is_noticed_and_harmless_comp) { smash_all(heap_builds[3]); }
Test(smash, every_byte_is_noticed_and_harmless_tlight) { smash_all(heap_builds[4]); }
Test(smash, every_byte_is_noticed_and_harmless_tcomp) { smash_all(heap_builds[5]); }

/* --- every link to everywhere ------------------------------------------------------------- */

/* Links that lead to any other block, live or free, back up, to themselves, or nowhere; and
 * sizes, so that a hole ends where any other block begins or ends. */
Test(smash, links_and_sizes_that_look_sound_are_noticed_and_harmless) {
    static struct scene scene;
    for (uint32_t b = 0; b < HEAP_BUILDS; b++) {
        scene_open(&scene, heap_builds[b]);
        for (uint32_t i = 0; i + 1u < scene.block_count; i++) {
            const struct wm_heap_block *block = &scene.blocks[i];
            for (uint32_t j = 0; j < scene.block_count; j++) {
                uint32_t other = scene.blocks[j].address;
                uint32_t distance = other - block->address;
                smash_with(&scene, i, block->address, &distance, 4, BURSTS);
                uint32_t node = block->address + block->size - NODE_BYTES;
                uint32_t other_node = other + scene.blocks[j].size - NODE_BYTES;
                bool in_tree = !block->live && node != scene.state.regions[0].fresh.node;
                for (uint32_t link = 4; in_tree && link <= 12; link += 8) {
                    smash_with(&scene, i, node + link, &other, 4, BURSTS);
                    smash_with(&scene, i, node + link, &other_node, 4, BURSTS);
                }
            }
        }
        w800_stop();
    }
}

/* A node says that its block begins far before the region, and has the seal for it. */
Test(smash, forged_nodes_are_held_to_their_region) {
    static const bool clean[ARENA_BYTES];
    static struct scene scene;
    for (uint32_t b = 0; b < HEAP_BUILDS; b++) {
        scene_open(&scene, heap_builds[b]);
        for (uint32_t i = 0; i + 1u < scene.block_count; i++) {
            const struct wm_heap_block *block = &scene.blocks[i];
            uint32_t node = block->address + block->size - NODE_BYTES;
            const uint32_t size = node + NODE_BYTES - 0x10000000u;
            const uint32_t seal = size - node;
            for (enum burst burst = 0; burst < BURSTS && !block->live; burst++) {
                scene_restore(&scene);
                memcpy(w800_pointer(node), &size, sizeof size);
                memcpy(w800_pointer(node + NODE_BYTES - 4u), &seal, sizeof seal);
                struct verdict verdict = burst_judge(&scene, burst, clean);
                cr_assert(verdict.text[0] == '\0', "%s: forged 0x%08x, then %s: %s",
                          scene.build->name, node, burst_names[burst], verdict.text);
            }
        }
        w800_stop();
    }
}

/* --- random damage ------------------------------------------------------------------------ */

static uint64_t random_next(uint64_t *state) { /* xorshift64 */
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint32_t random_below(uint64_t *state, uint32_t limit) {
    return (uint32_t)((random_next(state) >> 16) % limit);
}

static uint64_t environment_number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

/* A value that a stray write could well leave: another word of the arena, a block's address,
 * a size, a little more or less, anything. */
static uint32_t random_word(const struct scene *scene, uint64_t *state, uint32_t old) {
    const struct wm_heap_block *block = &scene->blocks[random_below(state, scene->block_count)];
    switch (random_below(state, 9)) {
    case 0:
        return (uint32_t)random_next(state);
    case 1:
        return 0;
    case 2:
        return UINT32_MAX;
    case 3:
        return block->address;
    case 4:
        return block->size | random_below(state, 4);
    case 5:
        return old + 8u * (random_below(state, 33) - 16u);
    case 6:
        return old ^ 1u << random_below(state, 32);
    case 7:
        return 0xfefefefeu;
    default:
        memcpy(&old, &scene->sram[WINDOW_BYTES + 4u * random_below(state, ARENA_BYTES / 4u)], 4);
        return old;
    }
}

/* Up to eight words, or one long run of equal bytes, anywhere in the arena. */
static void random_smash(const struct scene *scene, uint64_t *state) {
    if (random_below(state, 8) == 0) {
        uint32_t from = random_below(state, ARENA_BYTES - 64u);
        memset(w800_pointer(SRAM_ARENA + from), (int)random_below(state, 256),
               1u + random_below(state, 64));
        return;
    }
    for (uint32_t words = 1u + random_below(state, 8); words > 0; words--) {
        const struct wm_heap_block *block = &scene->blocks[random_below(state, scene->block_count)];
        bool head = random_below(state, 2) == 0;
        uint32_t offset = head ? 4u * random_below(state, scene->build->header_size / 4u)
                               : 4u * random_below(state, block->size / 4u);
        uint32_t *word = w800_pointer(block->address + offset);
        *word = random_word(scene, state, *word);
    }
}

static bool protected_changed(const struct scene *scene, const bool *dirty) {
    for (uint32_t i = 0; i < scene->block_count; i++) {
        const struct wm_heap_block *block = &scene->blocks[i];
        for (uint32_t at = block->address; at < block->address + block->size; at++) {
            if (dirty[at - SRAM_ARENA] && is_protected(scene, block, at)) {
                return true;
            }
        }
    }
    return false;
}

static void random_case(const struct scene *scene, uint64_t seed) {
    uint64_t state = seed * 0x9e3779b97f4a7c15u | 1u;
    uint8_t image[ARENA_BYTES];
    bool dirty[ARENA_BYTES];
    uint8_t *arena = w800_pointer(SRAM_ARENA);
    scene_restore(scene);
    random_smash(scene, &state);
    memcpy(image, arena, sizeof image);
    for (uint32_t i = 0; i < ARENA_BYTES; i++) {
        dirty[i] = image[i] != scene->sram[WINDOW_BYTES + i];
    }
    struct wm_heap_fault fault;
    bool good = scene->build->check(WM_HEAP_NO_REGION, &fault);
    bool noticed = !good || !protected_changed(scene, dirty);
    cr_assert(noticed, "%s: the check notices nothing; W800_SEED=%" PRIu64 " W800_CASES=1",
              scene->build->name, seed);
    for (enum burst burst = 0; burst < BURSTS; burst++) {
        scene_restore(scene);
        memcpy(arena, image, sizeof image);
        struct verdict verdict = burst_judge(scene, burst, dirty);
        cr_assert(verdict.text[0] == '\0', "%s: %s: %s; W800_SEED=%" PRIu64 " W800_CASES=1",
                  scene->build->name, burst_names[burst], verdict.text, seed);
    }
}

Test(smash, random_damage_is_noticed_and_harmless) {
    static struct scene scene;
    uint64_t seed = environment_number("W800_SEED", 1);
    uint64_t cases = environment_number("W800_CASES", 8000);
    cr_log_info("W800_SEED=%" PRIu64 " W800_CASES=%" PRIu64, seed, cases);
    for (uint32_t b = 0; b < HEAP_BUILDS; b++) {
        scene_open(&scene, heap_builds[b]);
        for (uint64_t i = 0; i < cases; i++) {
            random_case(&scene, seed + i);
        }
        w800_stop();
    }
}
