/* SPDX-License-Identifier: Apache-2.0
 *
 * The recorder from end to end: programs run on the simulated W800 with the recorder hooked
 * in by the linker, as in a firmware; what it prints is damaged as consoles damage it; the
 * reader, the converter and the replay then have to show what the board had. Every run is
 * made from a seed that the failure message prints.
 */
#include <criterion/criterion.h>

#include "../core/wm_heap_recorder.h"
#include "../sim/convert.h"
#include "../sim/replay.h"
#include "diagnose_fixture.h"
#include "machine.h"
#include "sdk_dump.h"

#undef wm_heap_caps_alloc
#undef wm_heap_caps_realloc

#define RING 256u
#define VARIABLES 48u

/* --- chance --------------------------------------------------------------------------- */

static uint32_t random_next(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static uint32_t random_below(uint64_t *state, uint32_t limit) { return random_next(state) % limit; }

/* --- a console ------------------------------------------------------------------------ */

struct console {
    char *text;
    size_t length;
    FILE *stream;
};

static void console_open(struct console *console) {
    console->stream = open_memstream(&console->text, &console->length);
    cr_assert_not_null(console->stream);
}

static void console_take(void *context, const char *text, size_t length) {
    struct console *console = context;
    fwrite(text, 1, length, console->stream);
}

/* What a console does to lines, per hundred. */
struct damage {
    uint32_t lost;
    uint32_t garbled;
    uint32_t between; /* log lines in between */
};

static void garble(char *line, size_t length, uint64_t *seed) {
    char *at = line + random_below(seed, (uint32_t)length - 2); /* not the line's end */
    if (random_below(seed, 2) == 0) {
        *at = (char)(' ' + random_below(seed, 95));
    } else {
        memset(at, '~', (size_t)(line + length - 2 - at)); /* the rest of it */
    }
}

static char *console_damage(const char *text, const struct damage *damage, uint64_t *seed) {
    char *out;
    size_t length;
    FILE *stream = open_memstream(&out, &length);
    cr_assert_not_null(stream);
    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        char line[256];
        size_t bytes = (size_t)(end + 1 - text);
        cr_assert_leq(bytes, 120, "a console line of %zu bytes: %.*s", bytes, (int)bytes, text);
        memcpy(line, text, bytes);
        if (random_below(seed, 100) < damage->between) {
            fprintf(stream, "\033[0;32m[I] (%u) wifi: rssi -61\033[0m\r\n", random_next(seed));
        }
        if (random_below(seed, 100) < damage->between) {
            fprintf(stream, "[12:00:01.123] ");
        }
        if (random_below(seed, 100) < damage->garbled) {
            garble(line, bytes, seed);
        }
        if (random_below(seed, 100) >= damage->lost) {
            fwrite(line, 1, bytes, stream);
        }
    }
    fclose(stream);
    return out;
}

/* --- a board -------------------------------------------------------------------------- */

enum scenario {
    SCENARIO_CLEAN,
    SCENARIO_DOUBLE_FREE,
    SCENARIO_INTERIOR,
    SCENARIO_FOREIGN,
    SCENARIO_OVERRUN,
    SCENARIO_UNDERRUN,
    SCENARIOS
};
static const char *const scenario_names[SCENARIOS] = {"clean",   "double free", "interior free",
                                                      "foreign", "overrun",     "underrun"};

struct board {
    const struct heap_build *build;
    uint64_t seed;
    struct console console;
    struct wm_heap_record ring[RING];
    uint8_t *variables[VARIABLES];
    uint32_t sizes[VARIABLES];
    struct wm_heap_fault fault; /* the first; kind 0: none */
    uint32_t live;              /* blocks at the end */
    uint32_t free_bytes;
};

static void board_event(void *context, const struct w800_event *event) {
    struct board *board = context;
    if (event->kind == W800_EVENT_HEAP_FAULT && board->fault.kind == WM_HEAP_FAULT_NONE) {
        board->fault = event->fault;
    }
}

static uint32_t recorder_options(const struct heap_build *build) {
    return (build->tracing ? WM_HEAP_OPTION_TRACING : 0) |
           (build->comprehensive ? WM_HEAP_OPTION_COMPREHENSIVE
            : build->poisoned    ? WM_HEAP_OPTION_LIGHT
                                 : 0);
}

static void board_start(struct board *board) {
    machine_start_heap(board->build, 2 * MIB);
    console_open(&board->console);
    w800_on_print(console_take, &board->console);
    w800_on_event(board_event, board);
    wm_heap_recorder_start(board->ring, RING,
                           recorder_options(board->build) | WM_HEAP_RECORDER_FROM_START);
    wm_heap_record_append("PSRAM", true, 0);
}

static void board_stop(struct board *board) {
    wm_heap_recorder_stop();
    w800_on_print(NULL, NULL);
    w800_on_event(NULL, NULL);
    w800_stop();
    fclose(board->console.stream);
}

static void board_alloc(struct board *board, uint32_t variable) {
    static const wm_heap_cap_type_t caps[] = {
        WM_HEAP_CAP_DEFAULT, WM_HEAP_CAP_DEFAULT,
        WM_HEAP_CAP_DEFAULT, (wm_heap_cap_type_t)(WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_SHARED),
        WM_HEAP_CAP_SPIRAM,  WM_HEAP_CAP_INTERNAL};
    static const char *const sites[] = {
        "src/main.c", "/home/dev/wm_iot_sdk/components/http_client/src/wm_http_client.c",
        "components/mqtt/src/mqtt_client.c"};
    uint32_t size = 1 + random_below(&board->seed, random_below(&board->seed, 8) == 0 ? 9000 : 300);
    uint32_t which = random_below(&board->seed, COUNT(sites));
    board->variables[variable] = wm_heap_caps_alloc_tracing(
        size, caps[random_below(&board->seed, COUNT(caps))], sites[which], 10 + (int)which);
    board->sizes[variable] = board->variables[variable] != NULL ? size : 0;
}

/* One call of the program. */
static void board_step(struct board *board) {
    uint32_t variable = random_below(&board->seed, VARIABLES);
    uint8_t **pointer = &board->variables[variable];
    if (*pointer == NULL) {
        board_alloc(board, variable);
    } else if (random_below(&board->seed, 4) == 0) {
        uint32_t size = 1 + random_below(&board->seed, 400);
        uint8_t *moved =
            wm_heap_caps_realloc_tracing(*pointer, size, (wm_heap_cap_type_t)0, "src/main.c", 99);
        if (moved != NULL) {
            *pointer = moved;
            board->sizes[variable] = size;
        }
    } else {
        wm_heap_caps_free(*pointer);
        *pointer = NULL;
    }
}

/* A live block that lies right behind another live one, by the walker. */
struct neighbours {
    uint32_t before, behind;
    uint32_t last;
    uint32_t last_end;
};

static bool find_neighbours(void *context, const struct wm_heap_block *block) {
    struct neighbours *found = context;
    if (block->live && found->last != 0 && found->last_end == block->address) {
        found->before = found->last;
        found->behind = block->pointer;
    }
    found->last = block->live ? block->pointer : 0;
    found->last_end = block->address + block->size;
    return true;
}

static void board_misbehave(struct board *board, enum scenario scenario) {
    struct neighbours pair = {0};
    cr_assert(wm_heap_walk(0, find_neighbours, &pair));
    cr_assert_neq(pair.behind, 0, "the scenario has no two neighbours");
    uint8_t *block = w800_pointer(pair.before);
    uint32_t usable = (uint32_t)wm_heap_get_usable_size(block);
    switch (scenario) {
    case SCENARIO_DOUBLE_FREE:
        wm_heap_caps_free(block);
        wm_heap_caps_free(block);
        break;
    case SCENARIO_INTERIOR:
        wm_heap_caps_free(block + 8);
        break;
    case SCENARIO_FOREIGN:
        wm_heap_caps_free(w800_pointer(0x08010400u));
        break;
    case SCENARIO_OVERRUN:
        memset(block + usable, 0x41, 8);
        wm_heap_caps_free(board->build->comprehensive ? block : w800_pointer(pair.behind));
        break;
    case SCENARIO_UNDERRUN:
        memset(block - 6, 0x42, 6);
        wm_heap_caps_free(block);
        break;
    default:
        break;
    }
}

static bool count_live(void *context, const struct wm_heap_block *block) {
    *(uint32_t *)context += block->live;
    return true;
}

/* Runs a program of `steps` calls and what goes wrong in the end; the console's text. */
static void board_run(struct board *board, enum scenario scenario, uint32_t steps,
                      uint32_t flush_every) {
    board_start(board);
    for (uint32_t i = 0; i < steps; i++) {
        board_step(board);
        if (flush_every != 0 && i % flush_every == flush_every - 1) {
            wm_heap_recorder_flush(i % 300 < 100);
        }
    }
    for (uint32_t i = 0; i < 3; i++) {
        board->live = 0;
        wm_heap_walk(i, count_live, &board->live);
    }
    board_misbehave(board, scenario);
    wm_heap_recorder_flush(true);
    board->free_bytes = (uint32_t)wm_heap_get_free_size();
    board_stop(board);
}

/* --- back ----------------------------------------------------------------------------- */

struct outcome {
    struct recording recording;
    struct convert_report report;
    struct trace trace;
    struct replay_result result;
};

static bool outcome_of(struct outcome *outcome, const char *text, const char *label) {
    char error[512];
    struct trace_error trace_error;
    struct replay_options options = {.check = REPLAY_CHECK_FULL,
                                     .psram_bytes = REPLAY_PSRAM_AS_TRACED};
    *outcome = (struct outcome){0};
    recording_init(&outcome->recording);
    FILE *file = fmemopen((char *)(uintptr_t)text, strlen(text), "r");
    cr_assert_not_null(file);
    cr_assert(recording_read(&outcome->recording, file));
    fclose(file);
    if (!convert_recording(&outcome->recording.boot, NULL, &outcome->trace, &outcome->report, error,
                           sizeof error)) {
        return false;
    }
    cr_assert(replay_run(&outcome->trace, &options, &outcome->result, &trace_error), "%s: %s",
              label, trace_error.text);
    return true;
}

static void outcome_free(struct outcome *outcome) {
    replay_result_free(&outcome->result);
    trace_free(&outcome->trace);
    recording_free(&outcome->recording);
}

static void board_free(struct board *board) {
    free(board->console.text);
    board->console.text = NULL;
}

static uint32_t fault_pointer(const struct board *board) {
    const struct wm_heap_fault *fault = &board->fault;
    return fault->pointer != 0 ? fault->pointer : fault->block + board->build->header_size;
}

static void check_same_fault(const struct board *board, const struct outcome *outcome,
                             const char *label) {
    const char *kind = board->build->fault_name(board->fault.kind);
    const struct replay_result *result = &outcome->result;
    cr_assert_eq(result->mismatches, 0, "%s: event %zu: %s: expected 0x%08x, got 0x%08x\n%s", label,
                 result->first.event, result->first.what, result->first.expected, result->first.got,
                 result->picture != NULL ? result->picture : "");
    cr_assert_eq(result->fault_count > 0, board->fault.kind != 0, "%s: %zu faults", label,
                 result->fault_count);
    if (board->fault.kind != 0) {
        const struct replay_fault *fault = &result->faults[0];
        cr_assert_str_eq(fault->kind, kind, "%s: %s, not %s", label, fault->kind, kind);
        cr_assert_eq(fault->address, fault_pointer(board), "%s: %s at 0x%08x, not 0x%08x", label,
                     kind, fault->address, fault_pointer(board));
    }
}

static void label_make(char *label, size_t size, const struct board *board, enum scenario scenario,
                       uint64_t seed) {
    snprintf(label, size, "build %s, %s, seed %llu", board->build->name, scenario_names[scenario],
             (unsigned long long)seed);
}

/* --- tests ---------------------------------------------------------------------------- */

TestSuite(recorder, .timeout = 120);

Test(recorder, every_fault_of_an_intact_recording_comes_back_in_every_build) {
    for (unsigned build = 0; build < HEAP_BUILDS; build++) {
        for (enum scenario scenario = 0; scenario < SCENARIOS; scenario++) {
            struct board board = {.build = heap_builds[build], .seed = build * 10 + scenario};
            struct outcome outcome;
            char label[96];
            label_make(label, sizeof label, &board, scenario, board.seed);
            board_run(&board, scenario, 600, 100);
            cr_assert(outcome_of(&outcome, board.console.text, label), "%s", label);
            cr_assert_eq(outcome.report.lost, 0, "%s: %llu lost", label,
                         (unsigned long long)outcome.report.lost);
            cr_assert_eq(outcome.report.supposed + outcome.report.stale + outcome.report.forced, 0,
                         "%s: nothing is to be supposed", label);
            check_same_fault(&board, &outcome, label);
            if (scenario == SCENARIO_CLEAN) {
                cr_assert_eq(outcome.result.free_bytes, board.free_bytes, "%s", label);
            }
            outcome_free(&outcome);
            board_free(&board);
        }
    }
}

Test(recorder, a_damaged_console_shows_the_same_fault_and_counts_what_was_lost) {
    static const struct damage damage = {.lost = 10, .garbled = 5, .between = 20};
    uint32_t shown = 0;
    uint32_t runs = 0;
    for (uint64_t seed = 0; seed < 120; seed++) {
        enum scenario scenario = (enum scenario)(seed % SCENARIOS);
        struct board board = {.build = heap_builds[seed / SCENARIOS % HEAP_BUILDS], .seed = seed};
        struct outcome outcome;
        char label[96];
        uint64_t chance = seed * 7919;
        label_make(label, sizeof label, &board, scenario, seed);
        board_run(&board, scenario, 600, 100);
        char *text = console_damage(board.console.text, &damage, &chance);
        runs++;
        if (!outcome_of(&outcome, text, label)) {
            cr_assert_fail("%s: not converted", label);
        }
        const struct recorder_boot *boot = &outcome.recording.boot;
        cr_assert_gt(outcome.report.lost, 0, "%s: nothing seems lost", label);
        cr_assert_eq(outcome.report.lost + boot->event_count, boot->total, "%s", label);
        if (board.fault.kind == 0 || boot->fault.known) {
            check_same_fault(&board, &outcome, label);
            shown++;
        }
        outcome_free(&outcome);
        board_free(&board);
        free(text);
    }
    cr_assert_gt(shown * 10, runs * 9, "the fault survived in %u runs of %u only", shown, runs);
}

Test(recorder, overwritten_events_are_made_up_for_by_a_snapshot) {
    for (unsigned build = 0; build < HEAP_BUILDS; build++) {
        struct board board = {.build = heap_builds[build], .seed = 77 + build};
        struct outcome outcome;
        char label[96];
        label_make(label, sizeof label, &board, SCENARIO_CLEAN, board.seed);
        board_run(&board, SCENARIO_CLEAN, 3000, 0);
        cr_assert(outcome_of(&outcome, board.console.text, label), "%s", label);
        cr_assert_gt(outcome.report.lost, 2000, "%s", label);
        cr_assert_eq(outcome.report.events, RING, "%s", label);
        check_same_fault(&board, &outcome, label);
        cr_assert_eq(outcome.report.supposed + outcome.report.stale, 0,
                     "%s: supposed %llu, stale %llu", label,
                     (unsigned long long)outcome.report.supposed,
                     (unsigned long long)outcome.report.stale);
        cr_assert_eq(outcome.result.free_bytes, board.free_bytes, "%s", label);
        outcome_free(&outcome);
        board_free(&board);
    }
}

/* --- blocks that realloc takes out of DMA's reach --------------------------------------- */

#define SHARED ((wm_heap_cap_type_t)(WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_SHARED))

struct move_case {
    const char *what;
    wm_heap_cap_type_t caps, realloc_caps;
    bool sram_is_full; /* when the block is allocated */
    uint32_t lose;     /* the line of this event is lost; 0: none, the append's */
    const char *expected;
    bool certain;
};

/* Event 1 fills SRAM or allocates a byte of it, 2 is the block, 3 frees the first, 4 and 5 are
 * the realloc. Returns the console's text. */
static char *move_text(const struct move_case *row, struct board *board, uint32_t *old) {
    char line[32];
    board->build = heap_build_find(true, TRACE_POISONING_NONE);
    board_start(board);
    void *first = wm_heap_caps_alloc_tracing(row->sram_is_full ? 146300 : 8, WM_HEAP_CAP_EXEC,
                                             "src/boot.c", 3);
    void *block = wm_heap_caps_alloc_tracing(64, row->caps, "src/spi.c", 41);
    cr_assert(first != NULL && block != NULL, "%s", row->what);
    *old = w800_address(block);
    wm_heap_caps_free(first);
    cr_assert_not_null(
        wm_heap_caps_realloc_tracing(block, 128, row->realloc_caps, "src/wm_osal.c", 2262));
    wm_heap_recorder_flush(false);
    board_stop(board);
    snprintf(line, sizeof line, " E %x ", row->lose);
    char *at = row->lose != 0 ? strstr(board->console.text, line) : NULL;
    cr_assert(row->lose == 0 || at != NULL, "%s: no line with%s", row->what, line);
    if (at != NULL) {
        at[1] = '~';
    }
    return board->console.text;
}

Test(recorder, a_block_that_realloc_took_out_of_dma_s_reach_is_told) {
    static const struct move_case rows[] = {
        {"SHARED to SRAM", SHARED, WM_HEAP_CAP_DEFAULT, false, 0, "unreachable-for-dma", true},
        {"PSRAM to SRAM", WM_HEAP_CAP_SPIRAM, WM_HEAP_CAP_DEFAULT, false, 0, "unreachable-for-dma",
         true},
        {"SHARED to PSRAM", SHARED, WM_HEAP_CAP_SPIRAM, false, 0, "unreachable-for-dma", true},
        {"keeps its own", SHARED, (wm_heap_cap_type_t)0, false, 0, "clean", false},
        {"SHARED stays", SHARED, SHARED, false, 0, "clean", false},
        {"PSRAM stays", WM_HEAP_CAP_SPIRAM, WM_HEAP_CAP_SPIRAM, false, 0, "clean", false},
        {"DEFAULT in DRAM", WM_HEAP_CAP_DEFAULT, WM_HEAP_CAP_DEFAULT, true, 0, "clean", false},
        {"PSRAM, its allocation lost", WM_HEAP_CAP_SPIRAM, WM_HEAP_CAP_DEFAULT, false, 2,
         "unreachable-for-dma", true},
        {"DRAM, its allocation lost", SHARED, WM_HEAP_CAP_DEFAULT, false, 2, "clean", false},
        {"SHARED, an event between lost", SHARED, WM_HEAP_CAP_DEFAULT, false, 3,
         "unreachable-for-dma", false},
        {"SHARED, the call lost", SHARED, WM_HEAP_CAP_DEFAULT, false, 4, "unreachable-for-dma",
         false},
        {"SHARED, its result lost", SHARED, WM_HEAP_CAP_DEFAULT, false, 5, "clean", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct move_case *row = &rows[i];
        struct board board = {.seed = 1};
        struct diagnosis diagnosis;
        struct outcome outcome;
        char error[256] = "";
        uint32_t old = 0;
        char *text = move_text(row, &board, &old);
        cr_assert(diagnose_text(text, strlen(text), &diagnosis, error, sizeof error), "%s: %s",
                  row->what, error);
        cr_expect_str_eq(verdict_name(diagnosis_verdict(&diagnosis)), row->expected, "%s: %s",
                         row->what, verdict_name(diagnosis_verdict(&diagnosis)));
        bool found = diagnosis_verdict(&diagnosis) == VERDICT_UNREACHABLE_FOR_DMA;
        if (found) {
            const struct finding *finding = &diagnosis.findings.list[0];
            cr_expect_eq(diagnosis.findings.count, 1, "%s", row->what);
            cr_expect_eq(finding->address, old, "%s: 0x%08x", row->what, finding->address);
            cr_expect_eq(finding->certain, row->certain, "%s", row->what);
            cr_expect_str_eq(finding->site, row->lose == 2 ? "" : "src/spi.c:41", "%s: %s",
                             row->what, finding->site);
            cr_expect_eq(strstr(finding->evidence, "known defect 10") != NULL,
                         row->realloc_caps == WM_HEAP_CAP_DEFAULT, "%s: %s", row->what,
                         finding->evidence);
        }
        cr_assert(outcome_of(&outcome, text, row->what), "%s: not converted", row->what);
        if (row->lose == 0) {
            cr_expect_eq(outcome.result.moved, found, "%s: the replay says otherwise: %zu moved",
                         row->what, outcome.result.moved);
        }
        outcome_free(&outcome);
        diagnosis_free(&diagnosis);
        board_free(&board);
    }
}

Test(recorder, moves_of_one_site_are_one_finding) {
    struct board board = {.build = heap_build_find(true, TRACE_POISONING_NONE), .seed = 1};
    struct diagnosis diagnosis;
    char error[256] = "";
    board_start(&board);
    for (uint32_t i = 0; i < 20; i++) {
        void *block = wm_heap_caps_alloc_tracing(64, SHARED, "src/spi.c", 41);
        wm_heap_caps_free(wm_heap_caps_realloc_tracing(block, 128, WM_HEAP_CAP_DEFAULT, "r.c", 9));
    }
    wm_heap_recorder_flush(false);
    board_stop(&board);
    cr_assert(
        diagnose_text(board.console.text, board.console.length, &diagnosis, error, sizeof error));
    cr_assert_eq(diagnosis.findings.count, 1, "%zu", diagnosis.findings.count);
    cr_expect_not_null(strstr(diagnosis.findings.list[0].evidence, "19 more blocks of that site"),
                       "%s", diagnosis.findings.list[0].evidence);
    diagnosis_free(&diagnosis);
    board_free(&board);
}

/* --- the recorder's ring in a dump ------------------------------------------------------ */

struct last_calls {
    const char *fault; /* of the replay's last call */
    uint32_t offset;   /* from the pointer */
    bool of_free;      /* the pointer is a free block's */
};

/* A dump whose ring ends in a bad free, a call before it a good one: the heap around them is
 * the dump's. */
static void check_ring(const struct sdk_build *build, const struct last_calls *calls) {
    struct sdk_dump *dump = sdk_dump_make(build, 11);
    struct recording recording;
    struct diagnose_options options = {.recording = &recording};
    struct diagnosis diagnosis = {0};
    struct convert_report report = {0};
    struct trace trace;
    struct trace_error trace_error;
    struct replay_result result;
    const struct replay_options full = {.check = REPLAY_CHECK_FULL,
                                        .psram_bytes = REPLAY_PSRAM_AS_TRACED};
    char error[512] = "";
    size_t at = 10;
    while (dump->blocks[at].live == calls->of_free) {
        at++;
    }
    const struct sdk_block *block = &dump->blocks[at];
    uint32_t pointer = sdk_pointer(dump, block);
    /* of a live block its allocation is recorded, of a free one its free */
    const uint32_t events[][5] = {{calls->of_free ? 2u : 0x00070009u, pointer,
                                   calls->of_free ? block->size : block->requested, 0x08012346u, 0},
                                  {2, pointer + calls->offset, 0, 0x08012abeu, 0}};
    sdk_put_recorder(dump, 4, events, 2);
    recording_init(&recording);
    cr_assert(image_init(&diagnosis.image));
    cr_assert(diagnose_memory(dump->bytes, SDK_DUMP_BYTES, "dump", &options, &diagnosis, error,
                              sizeof error),
              "%s", error);
    cr_assert_eq(recording.boot.event_count, 2, "%s: no ring", build->name);
    cr_assert(convert_recording(&recording.boot, NULL, &trace, &report, error, sizeof error),
              "%s: %s", build->name, error);
    cr_assert(replay_run(&trace, &full, &result, &trace_error), "%s", trace_error.text);
    cr_expect_eq(result.mismatches, 0, "%s, %s", build->name, calls->fault);
    cr_assert_eq(result.fault_count, 1, "%s, %s: %zu", build->name, calls->fault,
                 result.fault_count);
    cr_expect_str_eq(result.faults[0].kind, calls->fault);
    cr_expect_eq(result.faults[0].address, pointer + calls->offset, "%s: 0x%08x", calls->fault,
                 result.faults[0].address);
    /* No calls lead to a heap that chance laid out, but for a block or two. */
    cr_expect_geq(report.blocks + 2, dump->live[0] + dump->live[1], "%s, %s: %llu blocks",
                  build->name, calls->fault, (unsigned long long)report.blocks);
    cr_expect_leq(report.unplaced + report.inexact + report.supposed, 2);
    replay_result_free(&result);
    trace_free(&trace);
    recording_free(&recording);
    diagnosis_free(&diagnosis);
    sdk_dump_free(dump);
}

Test(recorder, the_ring_in_a_dump_leads_to_its_heap_and_to_the_call_that_crashed) {
    static const struct last_calls calls[] = {{"interior-pointer", 8, false},
                                              {"double-free", 0, true}};
    for (size_t build = 0; build < 6; build++) {
        for (size_t i = 0; i < COUNT(calls); i++) {
            check_ring(&sdk_builds[build], &calls[i]);
        }
    }
}
