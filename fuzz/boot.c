/* SPDX-License-Identifier: Apache-2.0
 *
 * The target `boot`: any table of regions, and calls before and after init. A row that cannot be
 * (too small, inside out, over another, out of order) is refused with one fault and the others
 * serve; before init every call fails with a fault; a region joins by append once, if it can.
 *
 *     1 byte   build, and whether the names are those of the chip
 *     1        rows, 0 to 4
 *     5 each   area, capabilities, deferred; first byte and end within the area
 *     then, as often as there is more:
 *     1        operation and slot
 *     2        size and capabilities, or what else it takes
 */
#include <string.h>

#include "arena.h"
#include "fuzz.h"

const char fuzz_name[] = "boot";

#define ROWS_MAX 4u
#define SLOTS 16u
#define CALLS_MAX 256u
#define PRINT_MAX (1u << 16)

struct slot {
    uint32_t pointer; /* 0: none */
    uint32_t size;
};

struct scene {
    const struct heap_build *build;
    const uint8_t *data;
    size_t size;
    size_t at;
    uint32_t calls;
    struct wm_heap_region_config rows[ROWS_MAX];
    uint32_t row_count;
    bool initialized;
    bool open[WM_HEAP_REGIONS_MAX];
    struct slot slots[SLOTS];
    struct wm_heap_counters expected;
    uint32_t faults; /* in this call */
    struct wm_heap_fault last;
    uint32_t printed; /* bytes */
    char end;         /* the last one */
};

/* File scope: the port's functions have no argument to carry it. */
static struct scene scene;

#define CHECK(condition, format, ...)                                                              \
    FUZZ_CHECK(condition, "build %s, call %u: " format, scene.build->name, scene.calls, __VA_ARGS__)

static wm_heap_cap_type_t caps_of(uint32_t bits) { return (wm_heap_cap_type_t)bits; }

const struct wm_heap_region_config *__wrap_wm_heap_port_regions(uint32_t *count);
const struct wm_heap_region_config *__wrap_wm_heap_port_regions(uint32_t *count) {
    *count = scene.row_count;
    return scene.rows;
}

static void on_event(void *context, const struct w800_event *event) {
    (void)context;
    CHECK(event->kind == W800_EVENT_HEAP_FAULT, "%s at 0x%08x", w800_event_name(event->kind),
          event->address);
    scene.faults++;
    scene.last = event->fault;
}

static void on_print(void *context, const char *text, size_t length) {
    (void)context;
    CHECK(length > 0 && scene.printed < PRINT_MAX, "the print does not end%s", "");
    scene.printed += (uint32_t)length;
    scene.end = text[length - 1];
}

/* Exactly this fault, or none. */
static void expect(enum wm_heap_fault_kind kind, uint32_t region) {
    bool none = kind == WM_HEAP_FAULT_NONE;
    CHECK(scene.faults == (none ? 0u : 1u) &&
              (none || (scene.last.kind == (uint32_t)kind && scene.last.region == region)),
          "%u faults, the last %s in region %d; expected %s, %d", scene.faults,
          wm_heap_fault_name(scene.last.kind), (int)scene.last.region, wm_heap_fault_name(kind),
          (int)region);
    scene.expected.faults += scene.faults;
    scene.faults = 0;
}

/* ---- the table, and what is right of it ---- */

static uint32_t take(void) { return scene.at < scene.size ? scene.data[scene.at++] : 0; }

static void rows_take(bool chip_names) {
    static const char *const names[2][ROWS_MAX] = {{"SRAM", "DRAM", "PSRAM", "MORE"},
                                                   {"A", "EXTERNAL", "AB", ""}};
    static const uint32_t caps[8] = {0x0b, 0x13, 0x04, 0x05, 0, 0x100001, UINT32_MAX, 0x08};
    for (uint32_t i = 0; i < scene.row_count; i++) {
        uint32_t flags = take();
        uint32_t start = take();
        start |= take() << 8;
        uint32_t end = take();
        end |= take() << 8;
        struct wm_heap_region_config *row = &scene.rows[i];
        *row = (struct wm_heap_region_config){.name = names[chip_names ? 0 : 1][i],
                                              .caps = caps[flags & 7u],
                                              .deferred = (flags & 8u) != 0};
        if (flags >> 4 == 15u) { /* where no memory is: nothing of it may be believed */
            row->start = start % 64u;
            row->end = end % 32u;
        } else if ((flags & 16u) != 0) {
            row->start = ARENA_PSRAM_START + start % (ARENA_PSRAM_END - ARENA_PSRAM_START);
            row->end = ARENA_PSRAM_START + end % (ARENA_PSRAM_END - ARENA_PSRAM_START + 1u);
        } else {
            row->start = ARENA_ONCHIP_START + start % (ARENA_ONCHIP_END - ARENA_ONCHIP_START);
            row->end = ARENA_ONCHIP_START + end % (ARENA_ONCHIP_END - ARENA_ONCHIP_START + 1u);
        }
    }
}

static uint32_t block_bytes(uint64_t size) {
    uint32_t guard = scene.build->comprehensive ? 4u : 0u;
    return ((uint32_t)size + scene.build->header_size + guard + 7u) & ~7u;
}

static uint32_t first_of(uint32_t r) { return (scene.rows[r].start + 7u) & ~7u; }
static uint32_t marker_of(uint32_t r) {
    return (scene.rows[r].end - scene.build->header_size) & ~7u;
}

/* Has the row a place for one block and the end marker, behind the regions before it and before
 * those behind it? */
static bool can_open(uint32_t r) {
    const struct wm_heap_region_config *row = &scene.rows[r];
    if (row->start == 0 ||
        (uint64_t)first_of(r) + block_bytes(1) + scene.build->header_size > row->end) {
        return false;
    }
    for (uint32_t other = 0; other < WM_HEAP_REGIONS_MAX; other++) {
        bool meets = other < r ? first_of(r) < marker_of(other) + scene.build->header_size
                               : first_of(other) < row->end;
        if (meets && scene.open[other]) {
            return false;
        }
    }
    return true;
}

/* PSRAM is for those who ask for it, whatever the table says. */
static uint32_t caps_of_row(uint32_t r) {
    uint32_t caps = scene.rows[r].caps;
    return (caps & WM_HEAP_CAP_SPIRAM) != 0 ? (uint32_t)WM_HEAP_CAP_SPIRAM : caps & 0x1fu;
}

/* ---- calls ---- */

static void call_init(void) {
    enum wm_heap_fault_kind kind = WM_HEAP_FAULT_NONE;
    uint32_t bad = WM_HEAP_NO_REGION;
    if (scene.row_count > WM_HEAP_REGIONS_MAX) {
        kind = WM_HEAP_FAULT_BAD_REGION;
    }
    for (uint32_t r = 0; r < scene.row_count && r < WM_HEAP_REGIONS_MAX && !scene.initialized;
         r++) {
        if (!scene.rows[r].deferred) {
            scene.open[r] = can_open(r);
            bad = scene.open[r] ? bad : r;
            kind = scene.open[r] ? kind : WM_HEAP_FAULT_BAD_REGION;
        }
    }
    wm_heap_init();
    if (!scene.initialized) {
        scene.expected = (struct wm_heap_counters){0};
        expect(kind, bad);
        scene.initialized = scene.row_count > 0; /* a table without rows is none */
    } else {
        expect(WM_HEAP_FAULT_INITIALIZED_TWICE, WM_HEAP_NO_REGION);
    }
}

static void call_append(uint32_t which) {
    static const char *const others[] = {"", "SRA", "MORE", NULL};
    uint32_t rows = scene.row_count < WM_HEAP_REGIONS_MAX ? scene.row_count : WM_HEAP_REGIONS_MAX;
    const char *name = which % 8u < rows ? scene.rows[which % 8u].name : others[which % 4u];
    uint32_t r = 0;
    while (r < rows && (name == NULL || strcmp(scene.rows[r].name, name) != 0)) {
        r++;
    }
    bool possible = scene.initialized && r < rows && scene.rows[r].deferred;
    bool joins = possible && !scene.open[r] && can_open(r);
    int wanted = joins                            ? WM_ERR_SUCCESS
                 : possible || !scene.initialized ? WM_ERR_FAILED
                                                  : WM_ERR_INVALID_PARAM;
    int got = wm_heap_append_to_heap(name);
    CHECK(got == wanted, "append of %s: %d, expected %d", name != NULL ? name : "NULL", got,
          wanted);
    if (joins) {
        scene.open[r] = true;
        expect(WM_HEAP_FAULT_NONE, 0);
    } else if (scene.initialized) {
        expect(WM_HEAP_FAULT_BAD_APPEND, r < rows ? r : WM_HEAP_NO_REGION);
    } else {
        expect(WM_HEAP_FAULT_NOT_INITIALIZED, WM_HEAP_NO_REGION);
    }
}

static void slot_check(const struct slot *slot, uint8_t fill) {
    const uint8_t *bytes = w800_pointer(slot->pointer);
    for (uint32_t i = 0; i < slot->size; i++) {
        CHECK(bytes[i] == fill, "byte %u of 0x%08x has changed", i, slot->pointer);
    }
}

static void call_free(struct slot *slot) {
    wm_heap_caps_free(w800_pointer(slot->pointer));
    if (slot->pointer != 0) {
        scene.expected.frees++;
    }
    slot->pointer = 0;
    expect(WM_HEAP_FAULT_NONE, 0);
}

/* What was handed out lies in an open region that serves, and over no other block. */
static void slot_take(struct slot *slot, uint32_t pointer, uint32_t size, uint32_t caps) {
    uint32_t r = 0;
    while (r < WM_HEAP_REGIONS_MAX &&
           (!scene.open[r] || pointer < first_of(r) || pointer + size > marker_of(r))) {
        r++;
    }
    CHECK(pointer % 8u == 0 && r < WM_HEAP_REGIONS_MAX && (caps_of_row(r) & caps) == caps,
          "0x%08x does not serve %u bytes, caps 0x%x", pointer, size, caps);
    for (uint32_t i = 0; i < SLOTS; i++) {
        const struct slot *other = &scene.slots[i];
        CHECK(other->pointer == 0 || pointer >= other->pointer + other->size ||
                  other->pointer >= pointer + size,
              "0x%08x lies over 0x%08x", pointer, other->pointer);
    }
    *slot = (struct slot){pointer, size};
    memset(w800_pointer(pointer), (int)(slot - scene.slots) + 1, size);
}

static const char *const files[] = {
    "boot.c", NULL,
    "a/folder/whose/name/is/so/long/that/the/line/which/tells/of/it/has/more/characters/than/are/"
    "printed/in/one/call/of/the/port/boot.c"};

/* A request succeeds if and only if the largest free block holds it. */
static void call_alloc(struct slot *slot, uint32_t argument) {
    static const uint32_t all_caps[] = {0, 0x02, 0x04, 0x08, 0x10, 0x01, 0x100000, 0x20};
    uint32_t caps = all_caps[argument >> 10 & 7u];
    uint32_t size = argument & 0x3ffu;
    const char *file = files[argument >> 13 & 1u ? 2u : size & 1u];
    size_t largest = wm_heap_caps_get_largest_free_block(caps_of(caps));
    if (slot->pointer != 0) {
        return;
    }
    uint32_t got =
        w800_address(wm_heap_caps_alloc_tracing(size, caps_of(caps), file, (int)scene.calls));
    CHECK((got != 0) == (size > 0 && block_bytes(size) <= largest),
          "%u bytes, caps 0x%x: 0x%08x, and the largest free block has %zu", size, caps, got,
          largest);
    if (got != 0) {
        scene.expected.allocs++;
        slot_take(slot, got, size, caps != 0 ? caps : (uint32_t)WM_HEAP_CAP_DEFAULT);
    } else if (size > 0 && scene.initialized) {
        scene.expected.failed++;
        scene.expected.largest_failed =
            size > scene.expected.largest_failed ? size : scene.expected.largest_failed;
    }
    expect(size > 0 && !scene.initialized ? WM_HEAP_FAULT_NOT_INITIALIZED : WM_HEAP_FAULT_NONE,
           WM_HEAP_NO_REGION);
}

/* A pointer that nobody has, in the three calls that take one. */
static void call_bad(uint32_t argument) {
    uint64_t address = ARENA_ONCHIP_START + (argument & 0x1ff0u) + 4u; /* misaligned */
    void *pointer = w800_pointer((uint32_t)address);
    if ((argument & 4u) != 0) { /* not even of the chip */
        pointer = (void *)(uintptr_t)(address | UINT64_C(1) << 32);
    }
    switch (argument & 3u) {
    case 0:
        wm_heap_caps_free(pointer);
        break;
    case 1:
        CHECK((wm_heap_caps_realloc)(pointer, 8, caps_of(0)) == NULL, "realloc of %p", pointer);
        break;
    case 2:
        CHECK(wm_heap_get_usable_size(pointer) == 0, "a usable size of %p", pointer);
        break;
    default: {
        struct wm_heap_block block;
        struct wm_heap_fault fault;
        CHECK(!wm_heap_get_block(pointer, &block) && !wm_heap_check_block(pointer, &fault),
              "%p passes for a block", pointer);
        return;
    }
    }
    expect(scene.initialized ? WM_HEAP_FAULT_FOREIGN_POINTER : WM_HEAP_FAULT_NOT_INITIALIZED,
           WM_HEAP_NO_REGION);
}

/* All builds have the same names, and a word for what has none. */
static void call_name(uint32_t number) {
    const char *fault = scene.build->fault_name(number);
    const char *check = scene.build->check_name(number);
    CHECK(strcmp(fault, heap_builds[0]->fault_name(number)) == 0 &&
              strcmp(check, heap_builds[0]->check_name(number)) == 0 &&
              (strcmp(fault, "unknown") == 0) == (number >= WM_HEAP_FAULT_KINDS) &&
              (strcmp(check, "unknown") == 0) == (number >= WM_HEAP_CHECK_KINDS),
          "names of %u: %s, %s", number, fault, check);
}

static void call_print(bool stats) {
    scene.printed = 0;
    if (stats) {
        wm_heap_print_stats();
    } else {
        wm_heap_print_tracing(NULL);
    }
    CHECK(scene.printed > 0 ? scene.end == '\n' : !stats && !scene.build->tracing,
          "%u bytes are printed", scene.printed);
}

static bool visit(void *context, const struct wm_heap_block *block) {
    uint32_t *next = context;
    CHECK(block->address == *next, "a block at 0x%08x, not 0x%08x", block->address, *next);
    *next += block->size;
    return true;
}

static void check_all(void) {
    struct wm_heap_fault fault;
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (scene.slots[i].pointer != 0) {
            slot_check(&scene.slots[i], (uint8_t)(i + 1u));
        }
    }
    for (uint32_t r = 0; r < WM_HEAP_REGIONS_MAX; r++) {
        uint32_t next = scene.open[r] ? first_of(r) : 0;
        CHECK(wm_heap_walk(r, visit, &next) == scene.open[r], "the walk of region %u", r);
        CHECK(!scene.open[r] || next == marker_of(r), "region %u ends at 0x%08x", r, next);
        bytes += scene.open[r] ? marker_of(r) - first_of(r) : 0;
    }
    CHECK(wm_heap_check(WM_HEAP_NO_REGION, &fault), "%s (%s)", wm_heap_fault_name(fault.kind),
          wm_heap_check_name(fault.check));
    for (uint32_t i = 0; i < SLOTS; i++) {
        struct wm_heap_block block = {0};
        if (scene.slots[i].pointer != 0) {
            CHECK(wm_heap_get_block(w800_pointer(scene.slots[i].pointer), &block), "0x%08x is none",
                  scene.slots[i].pointer);
            bytes -= block.size;
        }
    }
    CHECK(wm_heap_get_free_size() == bytes, "%zu bytes are free, not %u", wm_heap_get_free_size(),
          bytes);
}

static void call(uint32_t operation, uint32_t argument) {
    struct slot *slot = &scene.slots[operation >> 4];
    switch (operation & 7u) {
    case 0:
    case 1:
        call_alloc(slot, argument);
        break;
    case 2:
        call_free(slot);
        break;
    case 3:
        call_append(argument);
        break;
    case 4:
        call_init();
        break;
    case 5:
        call_bad(argument);
        break;
    case 6:
        call_name(argument & 0xffu);
        call_print((argument & 0x100u) != 0);
        break;
    default:
        check_all();
        break;
    }
}

static void check_outside(uint32_t start, uint32_t end) {
    for (uint32_t address = start; address < end; address++) {
        bool inside = false;
        for (uint32_t r = 0; r < WM_HEAP_REGIONS_MAX; r++) {
            inside |=
                scene.open[r] && address >= scene.rows[r].start && address < scene.rows[r].end;
        }
        CHECK(inside || *(const uint8_t *)w800_pointer(address) == ARENA_OUTSIDE,
              "0x%08x, outside the regions, was written", address);
    }
}

void fuzz_open(void) {
    arena_open();
    (void)wm_heap_port_site(files[0]); /* so that no number depends on an input */
    (void)wm_heap_port_site(files[2]);
}

int fuzz_one(const uint8_t *data, size_t size) {
    uint32_t head;
    memset(&scene, 0, sizeof scene);
    scene.data = data;
    scene.size = size;
    head = take();
    scene.build = heap_builds[head % PROGRAM_BUILDS];
    scene.row_count = take() % (ROWS_MAX + 1u);
    rows_take(head / PROGRAM_BUILDS % 2u == 0);
    arena_clear(head % PROGRAM_BUILDS);
    w800_on_event(on_event, NULL);
    w800_on_print(on_print, NULL);
    while (scene.at < size && scene.calls < CALLS_MAX) {
        uint32_t operation = take();
        uint32_t argument = take();
        argument |= take() << 8;
        scene.calls++;
        call(operation, argument);
        CHECK(scene.faults == 0, "%s that nobody caused", wm_heap_fault_name(scene.last.kind));
        CHECK(memcmp(&scene.build->state->counters, &scene.expected, sizeof scene.expected) == 0,
              "the counters are wrong%s", "");
    }
    check_all();
    check_outside(ARENA_ONCHIP_START, ARENA_ONCHIP_END);
    check_outside(ARENA_PSRAM_START, ARENA_PSRAM_END);
    return 0;
}
