/* SPDX-License-Identifier: Apache-2.0
 *
 * Free blocks merge with both neighbours: shown as pictures. A picture is a region, a
 * character for each 128 bytes: a block begins with its letter if it is live, with a dot
 * if it is free, and dashes continue it.
 *
 *     "A-.-B"   A, then a free block, both of 256 bytes, then B
 *     "..B"     two free blocks side by side: what must never be seen
 *
 * The region ends where its picture ends; a free block there is the memory behind all
 * blocks, which the core keeps without a header.
 */
#include "heap_fixture.h"

#define UNIT 128u
#define PICTURE_MAX 32

struct canvas {
    const struct heap_build *build;
    void *blocks[128]; /* by letter */
    struct recorder seen;
};

static uint32_t units_at(const char *at) {
    uint32_t units = 1;
    while (at[units] == '-') {
        units++;
    }
    return units;
}

static void *take_units(const struct canvas *canvas, uint32_t units) {
    return wm_heap_caps_alloc(payload_bytes(canvas->build, units * UNIT), DEFAULT);
}

/* Makes the heap of a picture: everything is allocated from left to right, then the dots
 * are freed. */
static void canvas_paint(struct canvas *canvas, const struct heap_build *build,
                         const char *picture) {
    void *holes[PICTURE_MAX];
    size_t hole_count = 0;
    struct w800_config config = small_config(build, (uint32_t)strlen(picture) * UNIT);
    memset(canvas->blocks, 0, sizeof canvas->blocks);
    canvas->build = build;
    heap_start(&config, &canvas->seen);
    for (const char *at = picture; *at; at += units_at(at)) {
        void *block = take_units(canvas, units_at(at));
        CHECK(block != NULL, "%s: no room at %s", picture, at);
        if (*at == '.') {
            holes[hole_count++] = block;
        } else {
            canvas->blocks[(unsigned char)*at] = block;
        }
    }
    while (hole_count > 0) {
        wm_heap_caps_free(holes[--hole_count]);
    }
}

struct drawing {
    const struct canvas *canvas;
    char text[PICTURE_MAX + 1];
    size_t length;
};

static char letter_of(const struct canvas *canvas, uint32_t pointer) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (const char *letter = letters; *letter; letter++) {
        const void *block = canvas->blocks[(unsigned char)*letter];
        if (block && w800_address(block) == pointer) {
            return *letter;
        }
    }
    return '?';
}

static bool draw_block(void *context, const struct wm_heap_block *block) {
    struct drawing *drawing = context;
    char *picture = &drawing->text[drawing->length];
    size_t units = block->size / UNIT;
    if (units > PICTURE_MAX - drawing->length) {
        return false;
    }
    memset(picture, '-', units);
    *picture = '.';
    if (block->live) {
        *picture = letter_of(drawing->canvas, block->pointer);
    }
    drawing->length += units;
    return block->size % UNIT == 0;
}

static void check_picture(const struct canvas *canvas, const char *expected, const char *before,
                          const char *step) {
    struct drawing drawing = {.canvas = canvas};
    CHECK(wm_heap_walk(0, draw_block, &drawing), "%s, %s: the walk fails", before, step);
    CHECK(strcmp(drawing.text, expected) == 0, "%s, %s: the heap is %s, expected %s", before, step,
          drawing.text, expected);
    size_t free_bytes = 0;
    for (const char *at = expected; *at; at += units_at(at)) {
        free_bytes += *at == '.' ? units_at(at) * UNIT : 0;
    }
    CHECK_EQ(wm_heap_get_free_size(), free_bytes, step);
    check_intact(step);
    check_no_event(&canvas->seen, step);
}

/* "-A" frees A, "+B3" allocates B of three units; "+B9" must fail if nothing becomes B. */
static void canvas_step(struct canvas *canvas, const char *step) {
    unsigned char letter = (unsigned char)step[1];
    if (step[0] == '-') {
        CHECK(canvas->blocks[letter] != NULL, "step %s: there is no such block", step);
        wm_heap_caps_free(canvas->blocks[letter]);
        canvas->blocks[letter] = NULL;
    } else {
        canvas->blocks[letter] = take_units(canvas, (uint32_t)(step[2] - '0'));
    }
}

/* ---- one free --------------------------------------------------------------------- */

/* Eight states: before A a live block or a free one, behind A a live block, a free one,
 * the region's end, or the free memory that reaches to it. And the region's start in the
 * place of a live block before. A is freed. */
static const struct {
    const char *before;
    const char *after;
} frees[] = {
    {"B-A-C-", "B-.-C-"},     /* live, live */
    {".-A-C-", ".---C-"},     /* free, live */
    {"B-A-.-C-", "B-.---C-"}, /* live, free */
    {".-A-.-C-", ".-----C-"}, /* free, free */
    {"B-A-", "B-.-"},         /* live, end */
    {".-A-", ".---"},         /* free, end */
    {"B-A-.-", "B-.---"},     /* live, rest */
    {".-A-.-", ".-----"},     /* free, rest */
    {"A-C-", ".-C-"},         /* start, live */
    {"A-.-C-", ".---C-"},     /* start, free */
    {"A-", ".-"},             /* start, end */
    {"A-.-", ".---"},         /* start, rest */
    /* the same with more around: other free blocks stay as they are */
    {".-D-B-A-C-.-E-", ".-D-B-.-C-.-E-"},
    {".D.A.C.E.", ".D.--C.E."},
    {".D-.A.C-.E.", ".D-.--C-.E."},
    {"D.--B.A--.-C.-E.---", "D.--B.-----C.-E.---"},
    {"D.B.A", "D.B.-"},
    {"D.B.A.--", "D.B.----"},
    {"D.B.CA.--", "D.B.C.---"},
    {"A.D.E.F", ".-D.E.F"},
};

static void free_into_neighbourhoods(const struct heap_build *build) {
    struct canvas canvas;
    for (size_t i = 0; i < COUNT(frees); i++) {
        canvas_paint(&canvas, build, frees[i].before);
        check_picture(&canvas, frees[i].before, frees[i].before, "painted");
        canvas_step(&canvas, "-A");
        check_picture(&canvas, frees[i].after, frees[i].before, "A freed");
    }
}

Test(coalescing, a_freed_block_merges_with_both_neighbours) {
    in_every_build(free_into_neighbourhoods);
}

/* ---- several steps ------------------------------------------------------------------ */

#define STEPS_MAX 8

static const struct {
    const char *before;
    struct {
        const char *step;
        const char *after;
    } steps[STEPS_MAX];
} stories[] = {
    /* outwards from the middle, and inwards from both ends */
    {"ABCDE",
     {{"-C", "AB.DE"}, {"-B", "A.-DE"}, {"-D", "A.--E"}, {"-A", ".---E"}, {"-E", ".----"}}},
    {"ABCDE",
     {{"-A", ".BCDE"}, {"-E", ".BCD."}, {"-B", ".-CD."}, {"-D", ".-C.-"}, {"-C", ".----"}}},
    /* every second one, then the walls between */
    {"ABCDEFG",
     {{"-B", "A.CDEFG"},
      {"-F", "A.CDE.G"},
      {"-D", "A.C.E.G"},
      {"-E", "A.C.--G"},
      {"-C", "A.----G"},
      {"-G", "A.-----"},
      {"-A", ".------"}}},
    /* a split leaves its remainder where it is; the next free heals it */
    {"A.---B",
     {{"+C1", "AC.--B"},
      {"+D1", "ACD.-B"},
      {"-C", "A.D.-B"},
      {"+E2", "A.DE-B"},
      {"+F1", "AFDE-B"},
      {"-D", "AF.E-B"},
      {"-E", "AF.--B"}}},
    /* first fit: the lowest hole that is large enough, not the best */
    {".-A.---B.-C",
     {{"+D3", ".-AD--.B.-C"},
      {"+E1", "E.AD--.B.-C"},
      {"+F2", "E.AD--.BF-C"},
      {"+G1", "EGAD--.BF-C"},
      {"+H1", "EGAD--HBF-C"}}},
    /* what does not fit changes nothing; two holes are not one */
    {".A.", {{"+B2", ".A."}, {"-A", ".--"}, {"+B3", "B--"}, {"+C1", "B--"}, {"-B", ".--"}}},
    /* the memory behind all blocks: taken to the end, given back, met by a hole */
    {"A.----",
     {{"+B2", "AB-.--"},
      {"+C3", "AB-C--"},
      {"-B", "A.-C--"},
      {"-C", "A.----"},
      {"+D5", "AD----"},
      {"-A", ".D----"},
      {"-D", ".-----"}}},
};

static void tell_stories(const struct heap_build *build) {
    struct canvas canvas;
    for (size_t i = 0; i < COUNT(stories); i++) {
        canvas_paint(&canvas, build, stories[i].before);
        for (size_t s = 0; s < STEPS_MAX && stories[i].steps[s].step; s++) {
            canvas_step(&canvas, stories[i].steps[s].step);
            check_picture(&canvas, stories[i].steps[s].after, stories[i].before,
                          stories[i].steps[s].step);
        }
    }
}

Test(coalescing, several_steps_leave_the_pictured_heaps) { in_every_build(tell_stories); }

/* ---- all pictures and all orders ------------------------------------------------------ */

/* What freeing a block of one unit makes of a picture of such blocks. */
static void free_in_picture(const char *before, size_t at, char *after) {
    strcpy(after, before);
    after[at] = '.';
    for (size_t i = 1; after[i]; i++) {
        if (after[i] == '.' && (after[i - 1] == '.' || after[i - 1] == '-')) {
            after[i] = '-';
        }
    }
}

#define ROW 8u

/* Every row of eight units that are live or free, and each of the live ones freed. */
static void free_in_all_rows(const struct heap_build *build) {
    for (uint32_t pattern = 1; pattern < 1u << ROW; pattern++) {
        for (uint32_t freed = 0; freed < ROW; freed++) {
            if ((pattern >> freed & 1u) == 0) {
                continue;
            }
            char before[ROW + 1] = {0};
            char after[ROW + 1];
            char step[3] = {'-', (char)('A' + freed), 0};
            for (uint32_t i = 0; i < ROW; i++) {
                bool live = (pattern >> i & 1u) != 0;
                bool more = !live && i > 0 && (pattern >> (i - 1) & 1u) == 0;
                before[i] = (char)(live ? (int)('A' + i) : more ? '-' : '.');
            }
            struct canvas canvas;
            canvas_paint(&canvas, build, before);
            canvas_step(&canvas, step);
            free_in_picture(before, freed, after);
            check_picture(&canvas, after, before, step);
        }
    }
}

Test(coalescing, every_row_of_eight_blocks_heals_wherever_one_is_freed) {
    in_every_build(free_in_all_rows);
}

#define ORDER 6u

/* All 720 orders of freeing six blocks, each step a picture. A wall behind them keeps them
 * from the memory behind all blocks. */
static void free_in_order(struct canvas *canvas, const struct heap_build *build, uint32_t number,
                          bool wall) {
    char left[] = "ABCDEF";
    char picture[ORDER + 2] = "ABCDEF";
    if (wall) {
        strcat(picture, "W");
    }
    canvas_paint(canvas, build, picture);
    for (uint32_t n = ORDER; n > 0; n--) {
        uint32_t pick = number % n;
        number /= n;
        char step[3] = {'-', left[pick], 0};
        char after[ORDER + 2];
        free_in_picture(picture, (size_t)(left[pick] - 'A'), after);
        memmove(&left[pick], &left[pick + 1], n - pick);
        canvas_step(canvas, step);
        check_picture(canvas, after, picture, step);
        strcpy(picture, after);
    }
    CHECK(strcmp(picture, wall ? ".-----W" : ".-----") == 0, "it ends as %s", picture);
}

static void free_in_all_orders(const struct heap_build *build) {
    struct canvas canvas;
    for (uint32_t number = 0; number < 720; number++) {
        free_in_order(&canvas, build, number, false);
        free_in_order(&canvas, build, number, true);
    }
}

Test(coalescing, six_blocks_heal_in_every_order) { in_every_build(free_in_all_orders); }

/* Then one block takes the place of all six and writes nothing: what stood there before
 * must not be taken for blocks any more. */
static void forget_in_all_orders(const struct heap_build *build) {
    struct canvas canvas;
    for (uint32_t number = 0; number < 720; number++) {
        free_in_order(&canvas, build, number, number % 2 != 0);
        void *all = take_units(&canvas, ORDER);
        CHECK_EQ(w800_address(all), SMALL_HEAP + build->header_size, "block in place of six");
        for (uint32_t i = 1; i < ORDER; i++) {
            wm_heap_caps_free(w800_pointer(w800_address(all) + i * UNIT));
            check_one_fault(&canvas.seen, WM_HEAP_FAULT_INTERIOR_POINTER, "an old pointer");
        }
        wm_heap_caps_free(all);
        check_no_event(&canvas.seen, "free of the block");
    }
}

Test(coalescing, merged_blocks_are_forgotten) { in_every_build(forget_in_all_orders); }
