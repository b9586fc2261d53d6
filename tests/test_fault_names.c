/* SPDX-License-Identifier: Apache-2.0
 *
 * The name that damage and bad calls are given: a table of what is done to a small heap, which
 * call meets it, and the fault that the core must report, with its block and its call site.
 * Without poisoning an overrun shows only where the next header is hit, and only a check
 * that looks there sees it; that is in the table too.
 */
#include "machine.h"

TestSuite(fault_names, .timeout = 30);

#define ARENA 0x20020000u
#define NODE_BYTES 24u /* of a free block: size, two links, seal */

/* Three live blocks, a hole between the second and the third, free memory behind:
 *
 *     | first | second | hole | third | free ... | end marker |
 */
struct patient {
    const struct heap_build *build;
    uint32_t first;
    uint32_t second;
    uint32_t hole; /* the pointer it had */
    uint32_t third;
    uint32_t tail; /* behind it */
    uint32_t end;
};

enum place { FIRST, SECOND, HOLE, TAIL, MARKER, NOWHERE };

struct diagnosis {
    const char *name;
    void (*hurt)(const struct patient *patient);
    void (*notice)(const struct patient *patient);
    enum wm_heap_fault_kind kind[3]; /* no, light, comprehensive poisoning */
    enum place block[3];             /* whose header the fault names */
    bool site[3];                    /* with tracing: and whose call site */
};

static void store(uint32_t address, uint32_t bytes, uint8_t value) {
    memset(w800_pointer(address), value, bytes);
}

static void hurt_nothing(const struct patient *patient) { (void)patient; }
static void hurt_behind(const struct patient *patient) {
    w800_write_past(w800_pointer(patient->first), 4, 0x41);
}
static void hurt_far_behind(const struct patient *patient) {
    w800_write_past(w800_pointer(patient->first), 24, 0x41);
}
static void hurt_before(const struct patient *patient) { store(patient->first - 1, 1, 0x41); }
static void hurt_far_before(const struct patient *patient) { store(patient->first - 8, 8, 0x41); }
static void hurt_header(const struct patient *patient) {
    store(patient->first - patient->build->header_size, 4, 0x41);
}
static void hurt_freed_payload(const struct patient *patient) {
    store(patient->hole - patient->build->header_size + NODE_BYTES, 8, 0x41);
}
/* A size that reaches beyond the region, with its seal. */
static void hurt_size(const struct patient *patient) {
    uint32_t header = patient->first - patient->build->header_size;
    uint32_t words[] = {0x00100001u, 0x00100001u - header};
    memcpy(w800_pointer(header), &words[0], sizeof words[0]);
    memcpy(w800_pointer(header + 12u), &words[1], sizeof words[1]);
}
static void hurt_tail(const struct patient *patient) { store(patient->tail + 64, 1, 0x41); }
static void hurt_node(const struct patient *patient) {
    store(patient->hole - patient->build->header_size, 4, 0x41);
}
static void hurt_seal(const struct patient *patient) {
    uint32_t third = patient->third - patient->build->header_size;
    store(third - 4u, 4, 0x41);
}
static void hurt_marker(const struct patient *patient) { store(patient->end, 1, 0x41); }

static void free_first(const struct patient *patient) {
    patient->build->free(w800_pointer(patient->first));
}
static void free_second(const struct patient *patient) {
    patient->build->free(w800_pointer(patient->second));
}
static void free_hole(const struct patient *patient) {
    patient->build->free(w800_pointer(patient->hole));
}
static void free_inside(const struct patient *patient) {
    patient->build->free(w800_pointer(patient->first + 8));
}
static void free_header(const struct patient *patient) {
    patient->build->free(w800_pointer(patient->second - 8));
}
static void free_odd(const struct patient *patient) {
    patient->build->free(w800_pointer(patient->first + 4));
}
static void free_stack(const struct patient *patient) {
    int local;
    patient->build->free(&local);
}
static void resize_first(const struct patient *patient) {
    patient->build->realloc(w800_pointer(patient->first), 90, WM_HEAP_CAP_EXEC, "resize.c", 9);
}
static void fill_hole(const struct patient *patient) {
    patient->build->alloc(60, WM_HEAP_CAP_EXEC, "fill.c", 8);
}
static void cut_hole(const struct patient *patient) {
    patient->build->alloc(1, WM_HEAP_CAP_EXEC, "cut.c", 8);
}
static void cut_tail(const struct patient *patient) {
    patient->build->alloc(200, WM_HEAP_CAP_EXEC, "tail.c", 8);
}
static void check(const struct patient *patient) {
    struct wm_heap_fault fault;
    if (!patient->build->check(0, &fault)) {
        wm_heap_port_fault(&fault);
    }
}

#define KIND(a, b, c)                                                                              \
    { WM_HEAP_FAULT_##a, WM_HEAP_FAULT_##b, WM_HEAP_FAULT_##c }
#define ALL(kind) KIND(kind, kind, kind)
#define BLOCK(place)                                                                               \
    { place, place, place }

static const struct diagnosis diagnoses[] = {
    {"overflow, met by free",
     hurt_behind,
     free_first,
     KIND(SMASHED_HEADER, SMASHED_HEADER, OVERFLOW),
     {SECOND, SECOND, FIRST},
     {0, 0, 1}},
    {"overflow, met by realloc",
     hurt_behind,
     resize_first,
     KIND(SMASHED_HEADER, SMASHED_HEADER, OVERFLOW),
     {SECOND, SECOND, FIRST},
     {0, 0, 1}},
    {"overflow, met by the neighbour's free",
     hurt_behind,
     free_second,
     KIND(SMASHED_HEADER, SMASHED_HEADER, NONE),
     {SECOND, SECOND, NOWHERE},
     {0, 0, 0}},
    {"long overflow, met by the neighbour's free",
     hurt_far_behind,
     free_second,
     KIND(SMASHED_HEADER, SMASHED_HEADER, OVERFLOW),
     {SECOND, SECOND, FIRST},
     {0, 0, 1}},
    {"overflow, met by the check",
     hurt_behind,
     check,
     KIND(SMASHED_HEADER, SMASHED_HEADER, OVERFLOW),
     {SECOND, SECOND, FIRST},
     {0, 0, 1}},
    {"underflow of a byte",
     hurt_before,
     free_first,
     KIND(SMASHED_HEADER, UNDERFLOW, UNDERFLOW),
     BLOCK(FIRST),
     {0, 1, 1}},
    {"underflow of eight bytes",
     hurt_far_before,
     free_first,
     KIND(SMASHED_HEADER, UNDERFLOW, UNDERFLOW),
     BLOCK(FIRST),
     {0, 1, 1}},
    {"underflow, met by the check",
     hurt_before,
     check,
     KIND(SMASHED_HEADER, UNDERFLOW, UNDERFLOW),
     BLOCK(FIRST),
     {0, 1, 1}},
    {"use after free, met by alloc",
     hurt_freed_payload,
     fill_hole,
     KIND(NONE, NONE, USE_AFTER_FREE),
     {NOWHERE, NOWHERE, HOLE},
     {0, 0, 0}},
    {"use after free, met by an alloc of a part",
     hurt_freed_payload,
     cut_hole,
     KIND(NONE, NONE, USE_AFTER_FREE),
     {NOWHERE, NOWHERE, HOLE},
     {0, 0, 0}},
    {"use after free behind all blocks, met by alloc",
     hurt_tail,
     cut_tail,
     KIND(NONE, NONE, USE_AFTER_FREE),
     {NOWHERE, NOWHERE, TAIL},
     {0, 0, 0}},
    {"use after free, met by the check",
     hurt_freed_payload,
     check,
     KIND(NONE, NONE, USE_AFTER_FREE),
     {NOWHERE, NOWHERE, HOLE},
     {0, 0, 0}},
    {"double free", hurt_nothing, free_hole, ALL(DOUBLE_FREE), BLOCK(HOLE), {0, 0, 0}},
    {"interior pointer", hurt_nothing, free_inside, ALL(INTERIOR_POINTER), BLOCK(FIRST), {1, 1, 1}},
    {"pointer into a header",
     hurt_nothing,
     free_header,
     ALL(INTERIOR_POINTER),
     BLOCK(SECOND),
     {1, 1, 1}},
    {"misaligned pointer", hurt_nothing, free_odd, ALL(FOREIGN_POINTER), BLOCK(NOWHERE), {0, 0, 0}},
    {"pointer to a stack",
     hurt_nothing,
     free_stack,
     ALL(FOREIGN_POINTER),
     BLOCK(NOWHERE),
     {0, 0, 0}},
    {"smashed header, met by free",
     hurt_header,
     free_first,
     ALL(SMASHED_HEADER),
     BLOCK(FIRST),
     {0, 0, 0}},
    {"smashed header, met by realloc",
     hurt_header,
     resize_first,
     ALL(SMASHED_HEADER),
     BLOCK(FIRST),
     {0, 0, 0}},
    {"forged size, met by free",
     hurt_size,
     free_first,
     ALL(SMASHED_HEADER),
     BLOCK(FIRST),
     {0, 0, 0}},
    {"forged size, met by realloc",
     hurt_size,
     resize_first,
     ALL(SMASHED_HEADER),
     BLOCK(FIRST),
     {0, 0, 0}},
    {"smashed free block, met by alloc",
     hurt_node,
     fill_hole,
     ALL(SMASHED_FREE_BLOCK),
     BLOCK(HOLE),
     {0, 0, 0}},
    {"smashed free block, met by free",
     hurt_node,
     free_second,
     ALL(SMASHED_FREE_BLOCK),
     BLOCK(HOLE),
     {0, 0, 0}},
    {"smashed node, met by free",
     hurt_seal,
     free_second,
     ALL(SMASHED_FREE_BLOCK),
     BLOCK(HOLE),
     {0, 0, 0}},
    {"smashed end marker", hurt_marker, check, ALL(SMASHED_END_MARKER), BLOCK(MARKER), {0, 0, 0}},
};

static const struct patient *patient_open(struct patient *patient, const struct heap_build *build) {
    struct w800_config config = {
        .build = build,
        .regions = {{"SRAM", ARENA, ARENA + 1024u,
                     WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_INTERNAL | WM_HEAP_CAP_EXEC, false}},
        .region_count = 1,
    };
    machine_start(&config);
    wm_heap_init();
    *patient = (struct patient){
        .build = build,
        .first = w800_address(build->alloc(40, WM_HEAP_CAP_EXEC, "first.c", 1)),
        .second = w800_address(build->alloc(40, WM_HEAP_CAP_EXEC, "second.c", 2)),
        .hole = w800_address(build->alloc(60, WM_HEAP_CAP_EXEC, "hole.c", 3)),
        .third = w800_address(build->alloc(40, WM_HEAP_CAP_EXEC, "third.c", 4)),
        .tail = build->state->regions[0].tail,
        .end = build->state->regions[0].end,
    };
    build->free(w800_pointer(patient->hole));
    return patient;
}

/* A wrong pointer stands where the word that is wrong would; an interior one has its block's right
 * one beside it. */
static void check_pointer(const struct patient *patient, const struct wm_heap_fault *fault,
                          const char *name) {
    bool foreign = fault->kind == WM_HEAP_FAULT_FOREIGN_POINTER;
    bool interior = fault->kind == WM_HEAP_FAULT_INTERIOR_POINTER;
    cr_expect(fault->pointer != 0 && fault->address == fault->pointer &&
                  fault->actual == (foreign ? 0 : fault->pointer) &&
                  fault->expected == (interior ? fault->block + patient->build->header_size : 0) &&
                  fault->check == WM_HEAP_CHECK_POINTER &&
                  fault->region == (foreign ? WM_HEAP_NO_REGION : 0),
              "%s: %s: region %u, pointer 0x%08x, %s, at 0x%08x 0x%08x, expected 0x%08x",
              patient->build->name, name, fault->region, fault->pointer,
              patient->build->check_name(fault->check), fault->address, fault->actual,
              fault->expected);
}

/* Of what calls report the state keeps the first fault, and the number. */
static void check_kept(const struct patient *patient, const struct wm_heap_fault *reported,
                       const char *name) {
    const struct wm_heap_state *state = patient->build->state;
    const struct wm_heap_fault first = *reported;
    free_stack(patient);
    cr_expect(state->counters.faults == 2 && memcmp(&state->first_fault, &first, sizeof first) == 0,
              "%s: %s: %u faults, the first is %s", patient->build->name, name,
              state->counters.faults, patient->build->fault_name(state->first_fault.kind));
}

static void diagnose(const struct diagnosis *row, const struct heap_build *build) {
    struct patient patient;
    uint32_t poisoning = build->comprehensive ? 2 : build->poisoned ? 1 : 0;
    patient_open(&patient, build);
    const uint32_t pointers[] = {patient.first,
                                 patient.second,
                                 patient.hole,
                                 patient.tail + build->header_size,
                                 patient.end + build->header_size,
                                 build->header_size};
    static const char *const files[] = {"first.c", "second.c", "hole.c", "", "", ""};
    struct recorder seen = {0};
    w800_on_event(record_event, &seen);
    row->hurt(&patient);
    uint32_t frees = build->state->counters.frees;
    row->notice(&patient);
    enum wm_heap_fault_kind wanted = row->kind[poisoning];
    enum place place = row->block[poisoning];
    const struct wm_heap_fault *fault = &seen.last.fault;
    const char *got = seen.count == 0 ? "none" : build->fault_name(fault->kind);
    cr_expect(seen.count == (wanted != WM_HEAP_FAULT_NONE) &&
                  strcmp(got, build->fault_name(wanted)) == 0,
              "%s: %s: expected one %s, got %u, the last %s", build->name, row->name,
              build->fault_name(wanted), seen.count, got);
    if (seen.count == 0) {
        return;
    }
    cr_expect_eq(build->state->counters.frees, frees, "%s: %s: counted as a free that was done",
                 build->name, row->name);
    cr_expect_eq(fault->block, pointers[place] - build->header_size,
                 "%s: %s: block 0x%08x is named, not 0x%08x", build->name, row->name, fault->block,
                 pointers[place] - build->header_size);
    if (wanted < WM_HEAP_FAULT_SMASHED_HEADER) {
        check_pointer(&patient, fault, row->name);
    }
    const char *site = wm_heap_port_site_name(fault->site);
    bool wants_site = row->site[poisoning] && build->tracing;
    const char *file = wants_site ? files[place] : "";
    uint32_t line = wants_site ? (uint32_t)place + 1u : 0;
    site = site != NULL ? site : "";
    cr_expect(strcmp(site, file) == 0 && fault->line == line,
              "%s: %s: call site \"%s\":%u, not \"%s\":%u", build->name, row->name, site,
              fault->line, file, line);
    if (row->notice != check) {
        check_kept(&patient, fault, row->name);
    }
}

Test(fault_names, tell_what_was_done_and_to_whose_block) {
    for (uint32_t b = 0; b < HEAP_BUILDS; b++) {
        for (size_t i = 0; i < COUNT(diagnoses); i++) {
            diagnose(&diagnoses[i], heap_builds[b]);
        }
    }
}

/* --- what only an operation meets ----------------------------------------------------------- */

/* The core's own, whose names at the linker have the build's suffix. */
typedef void fault_find_fn(const struct wm_heap_region *region, uint32_t pointer, uint32_t key);
#define FAULT_FIND(build) fault_find_fn fault_find_##build __asm__("wm_heap_fault_find_" #build)
FAULT_FIND(none);
FAULT_FIND(trace);
FAULT_FIND(light);
FAULT_FIND(comp);
FAULT_FIND(tlight);
FAULT_FIND(tcomp);

/* Memory that an operation read wrong and the check reads right: a bus that fails now and then. The
 * region is closed all the same. */
Test(fault_names, what_the_check_does_not_find_again_is_a_smashed_free_block) {
    static const struct {
        const char *build;
        fault_find_fn *find;
    } builds[] = {{"none", fault_find_none},     {"trace", fault_find_trace},
                  {"light", fault_find_light},   {"comp", fault_find_comp},
                  {"tlight", fault_find_tlight}, {"tcomp", fault_find_tcomp}};
    for (uint32_t b = 0; b < 2 * HEAP_BUILDS; b++) {
        const struct heap_build *build = heap_builds[b / 2];
        struct patient patient;
        struct recorder seen = {0};
        patient_open(&patient, build);
        w800_on_event(record_event, &seen);
        for (size_t i = 0; i < COUNT(builds); i++) {
            if (strcmp(builds[i].build, build->name) == 0) {
                const struct wm_heap_region *region = &build->state->regions[0];
                uint32_t pointer = b % 2 == 0 ? 0 : patient.second;
                builds[i].find(pointer == 0 ? region : NULL, pointer, wm_heap_port_lock());
            }
        }
        cr_assert_eq(seen.count, 1, "%s: %u faults", build->name, seen.count);
        cr_assert_eq(seen.last.fault.kind, WM_HEAP_FAULT_SMASHED_FREE_BLOCK);
        cr_assert_eq(seen.last.fault.check, WM_HEAP_CHECK_LINK);
        cr_assert_eq(seen.last.fault.region, 0);
        cr_assert_eq(build->state->regions[0].state, WM_HEAP_REGION_CLOSED);
    }
}
