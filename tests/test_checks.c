/* SPDX-License-Identifier: Apache-2.0
 *
 * What a call looks at before it believes it, one thing at a time: in a sound heap one word is
 * made wrong, and whatever else would give that away is made to match, seals included, as only a
 * forger would. The call that meets it must refuse, with one fault, and from then on leave the
 * region alone.
 *
 *     | L0 | H1 | L2 | H3 | L4 | H5 | L6 | H7 | L8 | free ... | end marker |
 *
 * Live blocks of LIVE bytes and holes of HOLE bytes, freed in an order that leaves H1, the victim,
 * in the tree or fresh (core/hole.h).
 */
#include "heap_fixture.h"

TestSuite(checks, .timeout = 60);

#define LIVE 96u
#define HOLE 192u
#define PART 96u
#define HOLES 4u
#define SEAL 20u /* of a node */
#define ALLOCATED 1u
#define PREVIOUS_FREE 2u
#define BYTES 4096u

struct patient {
    const struct heap_build *build;
    uint32_t start;
    uint32_t live[HOLES + 1]; /* where they begin: L0, L2, ... */
    uint32_t hole[HOLES];     /* H1, H3, ... */
    struct recorder seen;
};

static uint32_t node_of(uint32_t hole) { return hole + HOLE - NODE_BYTES; }
static void *pointer_of(const struct patient *patient, uint32_t block) {
    return w800_pointer(block + patient->build->header_size);
}

/* --- forgery: as core/layout.h seals ---------------------------------------------------------- */

static void seal_node(uint32_t node, uint32_t size) {
    *word_at(node) = size;
    *word_at(node + SEAL) = size - node;
}

/* A hole from `front` to `end`, without links. */
static void forge_hole(uint32_t front, uint32_t end) {
    memset(w800_pointer(end - NODE_BYTES), 0xfe, NODE_BYTES);
    seal_node(end - NODE_BYTES, end - front);
    *word_at(front) = end - front;
}

static void forge_size(uint32_t block, uint32_t size_flags) {
    *word_at(block) = size_flags;
    *word_at(block + 12) = size_flags - block;
}

/* The lower half of the owner word, and the mark that belongs to it. */
static void forge_owner(const struct patient *patient, uint32_t block, uint32_t words) {
    uint32_t mixed = words ^ *word_at(block + 8);
    if (patient->build->tracing) {
        uint32_t line = *word_at(block + 20);
        mixed ^= *word_at(block + 16) ^ (line << 8 | line >> 24);
    }
    *word_at(block + 4) = words | ~(mixed ^ mixed >> 16) << 16;
}

/* The link of the tree that leads to this node. */
static struct wm_heap_link *link_to(const struct patient *patient, uint32_t node) {
    struct wm_heap_region *region = &patient->build->state->regions[0];
    struct wm_heap_link *link = &region->root;
    while (link->node != 0 && link->node != node) {
        struct wm_heap_link *children = w800_pointer(link->node + 4);
        link = &children[node > link->node];
    }
    CHECK_EQ(link->node, node, "a node of the tree");
    return link;
}

/* --- the patient ------------------------------------------------------------------------------ */

/* `shift` moves all addresses: so aligned blocks fall elsewhere. */
static void patient_start(struct patient *patient, const struct heap_build *build, uint32_t shift,
                          bool fresh) {
    struct w800_config config = small_config(build, BYTES);
    *patient = (struct patient){.build = build, .start = SMALL_HEAP + shift};
    config.regions[0].start += shift;
    config.regions[0].end += shift;
    heap_start(&config, &patient->seen);
    build->set_realloc_in_place(true);
    for (uint32_t i = 0; i <= HOLES; i++) {
        patient->live[i] = patient->start + i * (LIVE + HOLE);
        CHECK_EQ(alloc_of(build, LIVE), patient->live[i], "a live block");
        if (i < HOLES) {
            patient->hole[i] = patient->live[i] + LIVE;
            CHECK_EQ(alloc_of(build, HOLE), patient->hole[i], "a hole to be");
        }
    }
    for (uint32_t i = 0; i < HOLES; i++) {
        build->free(pointer_of(patient, patient->hole[fresh ? HOLES - 1 - i : i]));
    }
    check_no_event(&patient->seen, "while it is built");
}

/* --- calls that meet the victim, H1 ------------------------------------------------------------
 */

enum call {
    ALLOC_PART,
    ALLOC_WHOLE,
    ALIGN_PART,
    ALIGN_WHOLE,
    GROW_PART,
    GROW_WHOLE,
    FREE_BEFORE, /* L0 */
    FREE_BEHIND, /* L2 */
    CALLS
};
static const char *const call_names[CALLS] = {
    "alloc of a part",          "alloc of all",
    "aligned alloc of a part",  "aligned alloc of all",
    "realloc into a part",      "realloc into all",
    "free of the block before", "free of the block behind"};

/* Bits of calls. */
#define PARTS (1u << ALLOC_PART | 1u << ALIGN_PART | 1u << GROW_PART)
#define WHOLES (1u << ALLOC_WHOLE | 1u << ALIGN_WHOLE | 1u << GROW_WHOLE)
#define TAKES (PARTS | WHOLES)
#define GROWS (1u << GROW_PART | 1u << GROW_WHOLE)
#define FREES (1u << FREE_BEFORE | 1u << FREE_BEHIND)
#define EVERY (TAKES | FREES)
#define BEHIND (1u << FREE_BEHIND)
#define BEFORE (1u << FREE_BEFORE)

static void *make_call(const struct patient *patient, enum call call) {
    const struct heap_build *build = patient->build;
    void *before = pointer_of(patient, patient->live[0]);
    const uint32_t least = block_bytes(build, 1);
    switch (call) {
    case ALLOC_PART:
        return build->alloc(payload_bytes(build, PART), EXEC, NULL, 0);
    case ALLOC_WHOLE:
        return build->alloc(payload_bytes(build, HOLE), EXEC, NULL, 0);
    case ALIGN_PART:
        return build->aligned_alloc(16, payload_bytes(build, PART), EXEC, NULL, 0);
    case ALIGN_WHOLE:
        return build->aligned_alloc(16, payload_bytes(build, HOLE - 16 - least), EXEC, NULL, 0);
    case GROW_PART:
        return build->realloc(before, payload_bytes(build, LIVE + PART), EXEC, NULL, 0);
    case GROW_WHOLE:
        return build->realloc(before, payload_bytes(build, LIVE + HOLE), EXEC, NULL, 0);
    case FREE_BEFORE:
        build->free(before);
        return NULL;
    default:
        build->free(pointer_of(patient, patient->live[1]));
        return NULL;
    }
}

/* One fault of that kind at that block; and the region then neither serves nor frees. */
static void check_refused(struct patient *patient, const void *got, enum wm_heap_fault_kind kind,
                          uint32_t block, const char *when) {
    const struct heap_build *build = patient->build;
    struct wm_heap_fault fault = patient->seen.last.fault;
    CHECK(got == NULL, "%s: %p is handed out", when, got);
    check_one_fault(&patient->seen, kind, when);
    CHECK_EQ(fault.block, block, when);
    CHECK_EQ(build->state->regions[0].state, WM_HEAP_REGION_CLOSED, when);
    CHECK(build->alloc(1, EXEC, NULL, 0) == NULL, "%s: a closed region serves", when);
    build->free(pointer_of(patient, patient->live[HOLES]));
    check_no_event(&patient->seen, when);
    CHECK_EQ(build->state->counters.faults, 1, when);
}

/* --- what is wrong with the victim, or behind it ------------------------------------------------
 */

static void hurt_node_seal(const struct patient *patient) {
    *word_at(node_of(patient->hole[0]) + SEAL) ^= 8;
}
static void hurt_node_size(const struct patient *patient) {
    *word_at(node_of(patient->hole[0])) += 8;
}
static void hurt_size_beyond(const struct patient *patient) {
    seal_node(node_of(patient->hole[0]), 0x40000000);
}
static void hurt_size_small(const struct patient *patient) {
    seal_node(node_of(patient->hole[0]), 8);
}
/* Nothing at the hole's start, as its node has it, says the same. */
static void hurt_size_less(const struct patient *patient) {
    seal_node(node_of(patient->hole[0]), PART);
}
static void hurt_front(const struct patient *patient) { *word_at(patient->hole[0]) += 8; }
static void hurt_front_beyond(const struct patient *patient) {
    *word_at(patient->hole[0]) = 0x40000000;
}
static void hurt_front_to_small(const struct patient *patient) {
    *word_at(patient->hole[0]) = 8;
    seal_node(patient->hole[0] + 8 - NODE_BYTES, 8);
}
/* A hole within the hole: both say the same, but the outer one says so only at its start. */
static void hurt_inner_hole(const struct patient *patient) {
    forge_hole(patient->hole[0] + HOLE - PART, patient->hole[0] + HOLE);
}
static void hurt_first_free_word(const struct patient *patient) {
    *word_at(patient->hole[0] + 4) = 0;
}
static void hurt_last_free_word(const struct patient *patient) {
    *word_at(node_of(patient->hole[0]) - 4) = 0;
}
static void hurt_first_link(const struct patient *patient) {
    *word_at(node_of(patient->hole[0]) + 4) = 0;
}
static void hurt_last_link(const struct patient *patient) {
    *word_at(node_of(patient->hole[0]) + 16) = 0;
}
static void hurt_flag_behind(const struct patient *patient) {
    forge_size(patient->live[1], LIVE | ALLOCATED);
}
static void hurt_seal_behind(const struct patient *patient) {
    *word_at(patient->live[1] + 12) ^= 8;
}
/* The victim is sound, but nobody's child. */
static void hurt_way(const struct patient *patient) {
    struct wm_heap_link *link = link_to(patient, node_of(patient->hole[0]));
    *link = (struct wm_heap_link){0, 0};
}

enum where { VICTIM, NEXT_LIVE, ELSEWHERE };

static const struct {
    const char *name;
    void (*hurt)(const struct patient *patient);
    uint32_t refused_in_tree; /* calls that must be refused when the victim is in the tree */
    uint32_t refused_fresh;   /* and when it is fresh */
    bool comprehensive;       /* there alone */
    enum wm_heap_fault_kind kind;
    enum where block;
} damages[] = {
    {"the node's seal", hurt_node_seal, EVERY, TAKES | BEFORE, false,
     WM_HEAP_FAULT_SMASHED_FREE_BLOCK, VICTIM},
    {"the node's size", hurt_node_size, EVERY, TAKES | BEFORE, false,
     WM_HEAP_FAULT_SMASHED_FREE_BLOCK, VICTIM},
    {"a sealed size that leaves the region", hurt_size_beyond, EVERY, TAKES | BEFORE, false,
     WM_HEAP_FAULT_SMASHED_FREE_BLOCK, VICTIM},
    {"a sealed size that is none", hurt_size_small, GROWS | FREES, TAKES | BEFORE, false,
     WM_HEAP_FAULT_SMASHED_FREE_BLOCK, VICTIM},
    {"a sealed size that is less", hurt_size_less, 1u << ALLOC_PART | GROWS | FREES, TAKES | BEFORE,
     false, WM_HEAP_FAULT_SMASHED_FREE_BLOCK, VICTIM},
    {"the first word", hurt_front, EVERY, TAKES | BEFORE, false, WM_HEAP_FAULT_SMASHED_FREE_BLOCK,
     VICTIM},
    {"a first word that leads out of the region", hurt_front_beyond, EVERY, TAKES | BEFORE, false,
     WM_HEAP_FAULT_SMASHED_FREE_BLOCK, VICTIM},
    {"a first word that leads to a node of no block", hurt_front_to_small, EVERY, TAKES | BEFORE,
     false, WM_HEAP_FAULT_SMASHED_FREE_BLOCK, VICTIM},
    {"a hole within it", hurt_inner_hole, GROWS | BEFORE,
     1u << ALLOC_WHOLE | 1u << ALIGN_WHOLE | GROWS | BEFORE, false,
     WM_HEAP_FAULT_SMASHED_FREE_BLOCK, VICTIM},
    {"its first free word", hurt_first_free_word, TAKES, TAKES, true, WM_HEAP_FAULT_USE_AFTER_FREE,
     VICTIM},
    {"its last free word", hurt_last_free_word, WHOLES, WHOLES, true, WM_HEAP_FAULT_USE_AFTER_FREE,
     VICTIM},
    {"the first word of links it has not", hurt_first_link, 0, WHOLES, true,
     WM_HEAP_FAULT_USE_AFTER_FREE, VICTIM},
    {"the last word of links it has not", hurt_last_link, 0, WHOLES, true,
     WM_HEAP_FAULT_USE_AFTER_FREE, VICTIM},
    {"a block behind that knows of no hole", hurt_flag_behind, WHOLES, WHOLES, false,
     WM_HEAP_FAULT_SMASHED_HEADER, NEXT_LIVE},
    {"a block behind without seal", hurt_seal_behind, WHOLES | BEHIND, WHOLES | BEHIND, false,
     WM_HEAP_FAULT_SMASHED_HEADER, NEXT_LIVE},
    {"the link to it", hurt_way, GROWS | FREES, 0, false, WM_HEAP_FAULT_SMASHED_FREE_BLOCK,
     ELSEWHERE},
};

static void try_damage(const struct heap_build *build, size_t row, bool fresh) {
    uint32_t refused = fresh ? damages[row].refused_fresh : damages[row].refused_in_tree;
    for (enum call call = 0; call < CALLS; call++) {
        struct patient patient;
        char when[120];
        if ((refused >> call & 1u) == 0) {
            continue;
        }
        patient_start(&patient, build, 8, fresh);
        damages[row].hurt(&patient);
        void *got = make_call(&patient, call);
        snprintf(when, sizeof when, "%s (%s), %s", damages[row].name,
                 fresh ? "fresh" : "in the tree", call_names[call]);
        uint32_t block = damages[row].block == VICTIM      ? patient.hole[0]
                         : damages[row].block == NEXT_LIVE ? patient.live[1]
                                                           : patient.seen.last.fault.block;
        check_refused(&patient, got, damages[row].kind, block, when);
    }
}

static void try_damages(const struct heap_build *build) {
    for (size_t row = 0; row < COUNT(damages); row++) {
        if (build->comprehensive || !damages[row].comprehensive) {
            try_damage(build, row, false);
            try_damage(build, row, true);
        }
    }
}

Test(checks, each_of_a_hole_is_made_by_each_call_that_meets_it) { in_every_build(try_damages); }

static void try_sound(const struct heap_build *build) {
    for (uint32_t shift = 0; shift <= 8; shift += 8) {
        for (enum call call = 0; call < CALLS; call++) {
            for (int fresh = 0; fresh < 2; fresh++) {
                struct patient patient;
                patient_start(&patient, build, shift, fresh != 0);
                void *got = make_call(&patient, call);
                CHECK((got != NULL) == (call < FREE_BEFORE), "%s", call_names[call]);
                check_no_event(&patient.seen, call_names[call]);
                check_intact(call_names[call]);
            }
        }
    }
}

Test(checks, a_sound_hole_passes_all_of_them) { in_every_build(try_sound); }

/* The state says that a hole is larger than any that is there. */
static void try_largest(const struct heap_build *build) {
    for (uint32_t call = 0; call < 4; call++) {
        struct patient patient;
        patient_start(&patient, build, 0, call < 2);
        build->state->regions[0].root.largest = BYTES;
        void *got = call % 2 == 0 ? build->alloc(HOLE + LIVE, EXEC, NULL, 0)
                                  : build->aligned_alloc(16, HOLE + LIVE, EXEC, NULL, 0);
        check_refused(&patient, got, WM_HEAP_FAULT_SMASHED_HEADER, 0, "a largest size of no hole");
    }
}

Test(checks, a_hole_that_is_not_there_is_not_taken) { in_every_build(try_largest); }

/* --- the tail, and a hole that reaches it --------------------------------------------------------
 */

static void try_tail(const struct heap_build *build) {
    for (uint32_t call = 0; call < 3; call++) {
        struct patient patient;
        patient_start(&patient, build, 0, false);
        const struct wm_heap_region *region = &build->state->regions[0];
        *word_at(region->tail + 8) = 0;
        uint32_t tail = region->tail;
        uint32_t request = payload_bytes(build, HOLE + LIVE);
        void *last = pointer_of(&patient, patient.live[HOLES]);
        void *got = call == 0   ? build->alloc(request, EXEC, NULL, 0)
                    : call == 1 ? build->aligned_alloc(64, request, EXEC, NULL, 0)
                                : build->realloc(last, request, EXEC, NULL, 0);
        if (build->comprehensive) {
            CHECK(got == NULL && region->tail == tail, "call %u takes written memory", call);
            check_one_fault(&patient.seen, WM_HEAP_FAULT_USE_AFTER_FREE, "the tail's pattern");
        } else {
            CHECK(got != NULL && region->tail > tail, "call %u is refused", call);
        }
    }
}

Test(checks, written_memory_behind_all_blocks_is_not_handed_out) { in_every_build(try_tail); }

/* The last live block becomes a hole that the tree leads to: none may end at the tail. */
static void try_hole_at_tail(const struct heap_build *build) {
    static const enum call calls[] = {ALLOC_WHOLE, ALIGN_WHOLE, GROW_WHOLE};
    for (size_t i = 0; i < COUNT(calls); i++) {
        struct patient patient;
        patient_start(&patient, build, 8, false);
        struct wm_heap_region *region = &build->state->regions[0];
        uint32_t tail = patient.live[1];
        /* what lies behind is cut off: H1 is the last, and the only one */
        region->level = (struct wm_heap_level){region->end - tail + HOLE, 0};
        region->eighths -= (region->tail - tail) >> 3;
        region->tail = tail;
        region->root = (struct wm_heap_link){node_of(patient.hole[0]), HOLE};
        region->fresh = (struct wm_heap_link){0, 0};
        memset(w800_pointer(node_of(patient.hole[0]) + 4), 0, 16);
        memset(w800_pointer(tail), build->comprehensive ? 0xfe : 0, region->end - tail);
        void *got = make_call(&patient, calls[i]);
        CHECK(got == NULL, "%s takes it", call_names[calls[i]]);
        check_one_fault(&patient.seen, WM_HEAP_FAULT_SMASHED_FREE_BLOCK, call_names[calls[i]]);
    }
}

Test(checks, a_hole_before_the_tail_is_none) { in_every_build(try_hole_at_tail); }

/* --- headers ------------------------------------------------------------------------------------
 */

static void forge_too_large(const struct patient *patient) {
    forge_size(patient->live[HOLES], (LIVE + 8) | ALLOCATED | PREVIOUS_FREE);
}
static void forge_too_small(const struct patient *patient) {
    forge_size(patient->live[HOLES], 8 | ALLOCATED | PREVIOUS_FREE);
}
static void forge_no_payload(const struct patient *patient) {
    forge_owner(patient, patient->live[HOLES], (uint32_t)EXEC << 8 | LIVE);
}
static void forge_mark(const struct patient *patient) {
    *word_at(patient->live[HOLES] + 4) ^= 0x10000;
}
static void forge_sequence(const struct patient *patient) {
    *word_at(patient->live[HOLES] + 8) += 1;
}
static void forge_seal(const struct patient *patient) { *word_at(patient->live[HOLES] + 12) ^= 8; }
static void forge_first_canary(const struct patient *patient) {
    *word_at(patient->live[HOLES] + patient->build->header_size - 8) ^= 1;
}
static void forge_second_canary(const struct patient *patient) {
    *word_at(patient->live[HOLES] + patient->build->header_size - 4) ^= 1;
}
static void forge_first_guard(const struct patient *patient) {
    *(uint8_t *)w800_pointer(patient->live[HOLES] + LIVE - 4) ^= 1;
}
static void forge_last_guard(const struct patient *patient) {
    *(uint8_t *)w800_pointer(patient->live[HOLES] + LIVE - 1) ^= 1;
}

enum builds { ANY, POISONED, COMPREHENSIVE };

static const struct {
    const char *name;
    void (*hurt)(const struct patient *patient);
    enum builds builds; /* that see it */
    bool seen_by_get;   /* wm_heap_get_block does not look at what is around a payload */
    enum wm_heap_fault_kind kind;
    uint32_t check;
} headers[] = {
    {"a size that goes on behind the tail", forge_too_large, ANY, true,
     WM_HEAP_FAULT_SMASHED_HEADER, WM_HEAP_CHECK_SIZE},
    {"a size that holds no header", forge_too_small, ANY, true, WM_HEAP_FAULT_SMASHED_HEADER,
     WM_HEAP_CHECK_SIZE},
    {"more slack than block", forge_no_payload, COMPREHENSIVE, true, WM_HEAP_FAULT_SMASHED_HEADER,
     WM_HEAP_CHECK_SIZE},
    {"another mark", forge_mark, ANY, true, WM_HEAP_FAULT_SMASHED_HEADER, WM_HEAP_CHECK_SEAL},
    {"another sequence number", forge_sequence, ANY, true, WM_HEAP_FAULT_SMASHED_HEADER,
     WM_HEAP_CHECK_SEAL},
    {"another seal", forge_seal, ANY, true, WM_HEAP_FAULT_SMASHED_HEADER, WM_HEAP_CHECK_SEAL},
    {"the first canary", forge_first_canary, POISONED, false, WM_HEAP_FAULT_UNDERFLOW,
     WM_HEAP_CHECK_CANARY},
    {"the second canary", forge_second_canary, POISONED, false, WM_HEAP_FAULT_UNDERFLOW,
     WM_HEAP_CHECK_CANARY},
    {"the first guard byte", forge_first_guard, COMPREHENSIVE, false, WM_HEAP_FAULT_OVERFLOW,
     WM_HEAP_CHECK_GUARD},
    {"the last guard byte", forge_last_guard, COMPREHENSIVE, false, WM_HEAP_FAULT_OVERFLOW,
     WM_HEAP_CHECK_GUARD},
};

static bool is_seen(const struct heap_build *build, enum builds builds) {
    return builds == ANY || (builds == POISONED && build->poisoned) || build->comprehensive;
}

/* The last block: behind it lies the tail. */
static void try_header(const struct heap_build *build, size_t row, uint32_t call) {
    struct patient patient;
    struct wm_heap_fault fault;
    struct wm_heap_block described;
    void *got = NULL;
    patient_start(&patient, build, 0, false);
    void *last = pointer_of(&patient, patient.live[HOLES]);
    headers[row].hurt(&patient);
    CHECK(build->get_block(last, &described) != headers[row].seen_by_get, "%s: get_block",
          headers[row].name);
    CHECK(!build->check_block(last, &fault) && fault.kind == (uint32_t)headers[row].kind,
          "%s: check_block says %s", headers[row].name, wm_heap_fault_name(fault.kind));
    CHECK(!build->check(0, &fault) && fault.check == headers[row].check, "%s: the check says %s",
          headers[row].name, wm_heap_check_name(fault.check));
    if (fault.check == WM_HEAP_CHECK_SIZE) {
        uint32_t block = patient.live[HOLES];
        CHECK(fault.address == block && fault.actual == *word_at(block) && fault.expected == 0,
              "%s at 0x%08x: 0x%08x, expected 0x%08x", headers[row].name, fault.address,
              fault.actual, fault.expected);
    } else { /* what it expects heals it */
        memcpy(word_at(fault.address), &fault.expected, fault.check == WM_HEAP_CHECK_GUARD ? 1 : 4);
        check_intact(headers[row].name);
        headers[row].hurt(&patient);
    }
    if (call == 0) {
        build->free(last);
    } else if (call == 1) {
        got = build->realloc(last, payload_bytes(build, LIVE) + 1, EXEC, NULL, 0);
    } else {
        build->set_realloc_in_place(false);
        got = build->realloc(last, 1, EXEC, NULL, 0);
    }
    check_refused(&patient, got, headers[row].kind, patient.live[HOLES], headers[row].name);
}

static void try_headers(const struct heap_build *build) {
    for (size_t row = 0; row < COUNT(headers); row++) {
        for (uint32_t call = 0; call < 3 && is_seen(build, headers[row].builds); call++) {
            try_header(build, row, call);
        }
    }
}

Test(checks, each_of_a_header_is_made_by_free_and_realloc) { in_every_build(try_headers); }

/* A block's own check looks at it and its neighbours. What is wrong elsewhere is not its affair. */
static const struct {
    const char *name;
    void (*hurt)(const struct patient *patient);
    uint32_t seen_by; /* bits of live blocks */
} neighbours[] = {
    {"a node's seal", hurt_node_seal, 1u << 0},
    {"a hole's first word", hurt_front, 1u << 0},
    {"the link to a hole", hurt_way, 1u << 1},
    {"a header's seal", forge_seal, 1u << HOLES},
};

static void try_neighbours(const struct heap_build *build) {
    for (size_t row = 0; row < COUNT(neighbours); row++) {
        struct patient patient;
        struct wm_heap_fault fault;
        patient_start(&patient, build, 0, false);
        neighbours[row].hurt(&patient);
        for (uint32_t i = 0; i <= HOLES; i++) {
            bool seen = !build->check_block(pointer_of(&patient, patient.live[i]), &fault);
            CHECK(seen == ((neighbours[row].seen_by >> i & 1u) != 0), "%s, block %u: %s",
                  neighbours[row].name, i, seen ? wm_heap_fault_name(fault.kind) : "nothing");
        }
    }
}

Test(checks, a_block_is_checked_with_its_neighbours_and_no_others) {
    in_every_build(try_neighbours);
}

/* The first block has none before it, whatever its header says. */
static void try_first_block(const struct heap_build *build) {
    struct patient patient;
    patient_start(&patient, build, 0, false);
    forge_size(patient.live[0], LIVE | ALLOCATED | PREVIOUS_FREE);
    build->free(pointer_of(&patient, patient.live[0]));
    check_refused(&patient, NULL, WM_HEAP_FAULT_SMASHED_HEADER, patient.live[0],
                  "a hole before the first block");
}

Test(checks, nothing_lies_before_the_first_block) { in_every_build(try_first_block); }

/* --- what only the check of everything sees ------------------------------------------------------
 */

/* The fresh hole becomes two, of which the state knows the first. */
static void hurt_adjacent(const struct patient *patient) {
    struct wm_heap_link *fresh = &patient->build->state->regions[0].fresh;
    uint32_t hole = fresh->node + NODE_BYTES - HOLE;
    *fresh = (struct wm_heap_link){hole + PART - NODE_BYTES, PART};
    forge_hole(hole, hole + PART);
    forge_hole(hole + PART, hole + HOLE);
}
static void hurt_last_block(const struct patient *patient) {
    uint32_t block = patient->live[HOLES];
    forge_hole(block, block + LIVE);
}
static void hurt_root(const struct patient *patient) {
    patient->build->state->regions[0].root.largest += 8;
}
static void hurt_total(const struct patient *patient) {
    patient->build->state->regions[0].level.lowest += 8;
}

/* All are smashed headers; a canary that is missing where a header should be says it first. */
static const struct {
    const char *name;
    void (*hurt)(const struct patient *patient);
    uint32_t check;
    bool no_canary;
} wholes[] = {
    {"two holes side by side", hurt_adjacent, WM_HEAP_CHECK_SEAL, true},
    {"a hole before the tail", hurt_last_block, WM_HEAP_CHECK_SEAL, false},
    {"the root's largest size", hurt_root, WM_HEAP_CHECK_TOTAL, false},
    {"the sum of free bytes", hurt_total, WM_HEAP_CHECK_TOTAL, false},
};

static void try_wholes(const struct heap_build *build) {
    for (size_t row = 0; row < COUNT(wholes); row++) {
        for (int fresh = 0; fresh < 2; fresh++) {
            struct patient patient;
            struct wm_heap_fault fault;
            patient_start(&patient, build, 0, fresh != 0);
            wholes[row].hurt(&patient);
            CHECK(!build->check(0, &fault), "%s passes", wholes[row].name);
            bool canary = build->poisoned && wholes[row].no_canary;
            CHECK(fault.kind == (canary ? WM_HEAP_FAULT_UNDERFLOW : WM_HEAP_FAULT_SMASHED_HEADER) &&
                      fault.check == (canary ? WM_HEAP_CHECK_CANARY : wholes[row].check),
                  "%s (%s): %s, %s", wholes[row].name, fresh ? "fresh" : "in the tree",
                  wm_heap_fault_name(fault.kind), wm_heap_check_name(fault.check));
            CHECK(wholes[row].check != WM_HEAP_CHECK_TOTAL ||
                      (fault.actual == BYTES - (HOLES + 1) * LIVE &&
                       fault.expected == wm_heap_level_free(&build->state->regions[0].level)),
                  "%s: %u free bytes, the state says %u", wholes[row].name, fault.actual,
                  fault.expected);
        }
    }
}

Test(checks, the_check_sees_what_no_block_says_by_itself) { in_every_build(try_wholes); }

/* A block is freed, and the one before it, in either order; the memory of both is handed out as one
 * block, so that its header now lies in the middle. Whatever byte is written there, its pointer is
 * none any more. */
static void revive(const struct heap_build *build, bool first) {
    struct recorder seen;
    struct w800_config config = machine_config(build, 0);
    heap_start(&config, &seen);
    const uint32_t header = build->header_size;
    void *before = wm_heap_caps_alloc(LIVE, (wm_heap_cap_type_t)DEFAULT);
    void *freed = wm_heap_caps_alloc(LIVE, (wm_heap_cap_type_t)DEFAULT);
    wm_heap_caps_alloc(LIVE, (wm_heap_cap_type_t)DEFAULT);
    wm_heap_caps_free(first ? freed : before);
    wm_heap_caps_free(first ? before : freed);
    uint32_t both = 2u * block_bytes(build, LIVE);
    CHECK(wm_heap_caps_alloc(both - block_bytes(build, 1) + 1u, (wm_heap_cap_type_t)DEFAULT) ==
              before,
          "build %s: one block of both", build->name);
    uint32_t frees = build->state->counters.frees;
    for (uint32_t at = 0; at < header * 255u; at++) {
        uint8_t *byte = (uint8_t *)freed - header + at / 255u;
        uint8_t was = *byte;
        *byte = (uint8_t)(was + 1u + at % 255u);
        wm_heap_caps_free(freed);
        CHECK(build->state->counters.frees == frees,
              "build %s, freed %s: 0x%02x as byte %u makes it live", build->name,
              first ? "first" : "second", *byte, at / 255u);
        *byte = was;
    }
    check_intact("stale headers");
}

static void try_revival(const struct heap_build *build) {
    revive(build, true);
    revive(build, false);
}

Test(checks, no_byte_makes_a_freed_header_live) { in_every_build(try_revival); }
