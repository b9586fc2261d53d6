/* SPDX-License-Identifier: Apache-2.0
 *
 * Shrinking: whatever fails, the result fails the same way and fits on a screen. Generated
 * traces: a random program with one mistake in it, of each kind that firmware makes. The
 * kinds of mistake are a table, the seeds are printed.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../sim/shrink.h"
#include "../sim/trace.h"
#include "../sim/workload.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define FEW 20u

TestSuite(shrink, .timeout = 120);

/* --- a random program ----------------------------------------------------------------------- */

#define IDS_MAX 20000u

struct program {
    FILE *out;
    char *text;
    size_t length;
    uint64_t state; /* of the random numbers */
    uint32_t size_of[IDS_MAX];
    uint32_t live[IDS_MAX];
    uint32_t live_count;
    uint32_t ids;
    size_t events;
    uint32_t live_max; /* it keeps no more than these, about */
    bool sites;
};

static uint32_t draw(struct program *program, uint32_t below) {
    program->state = program->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(program->state >> 33) % below;
}

static const char *poisoning_of(enum trace_poisoning poisoning) {
    static const char *const words[] = {"none", "light", "comprehensive"};
    return words[poisoning];
}

static void program_begin(struct program *program, uint64_t seed, enum trace_poisoning poisoning) {
    *program = (struct program){.state = seed, .live_max = 100, .sites = true};
    program->out = open_memstream(&program->text, &program->length);
    fprintf(program->out,
            "wmtrace 1\nconfig tracing=y poisoning=%s\n"
            "region SRAM 0x20010000 0x20028000 DEFAULT|INTERNAL|EXEC\n"
            "region DRAM 0x20028c00 0x20047ffc DEFAULT|INTERNAL|SHARED\n"
            "region PSRAM 0x30000000 0x30200000 SPIRAM deferred\nappend PSRAM\n",
            poisoning_of(poisoning));
    program->events = 1;
}

static uint32_t program_alloc(struct program *program, uint32_t size, const char *caps) {
    uint32_t id = ++program->ids;
    fprintf(program->out, "alloc %" PRIu32 " %" PRIu32 " %s", id, size, caps);
    if (program->sites) {
        fprintf(program->out, " @ src/file%" PRIu32 ".c:%" PRIu32, id % 7, id);
    }
    fputc('\n', program->out);
    program->size_of[id] = size;
    program->live[program->live_count++] = id;
    program->events++;
    return id;
}

static void program_free(struct program *program, uint32_t index) {
    fprintf(program->out, "free %" PRIu32 "\n", program->live[index]);
    program->live[index] = program->live[--program->live_count];
    program->events++;
}

static void program_run(struct program *program, size_t events) {
    static const char *const caps[] = {"DEFAULT", "DEFAULT",        "DEFAULT",
                                       "SPIRAM",  "DEFAULT|SHARED", "INTERNAL"};
    for (events += program->events; program->events < events;) {
        bool full = program->live_count > program->live_max;
        if (program->live_count > 0 && (full || draw(program, 100) < 45)) {
            program_free(program, draw(program, program->live_count));
        } else {
            uint32_t most = draw(program, 4) == 0 ? 1200 : 150;
            uint32_t size = 1 + draw(program, most);
            program_alloc(program, size, caps[draw(program, COUNT(caps))]);
        }
    }
}

static void trace_of(struct program *program, struct trace *trace) {
    struct trace_error error;
    fflush(program->out);
    cr_assert(trace_read_memory(trace, program->text, program->length, "generated", &error), "%s",
              error.text);
}

/* Where the variable's latest block lies when the program stands here. */
struct search {
    const struct trace *trace;
    uint32_t id;
    uint32_t pointer;
};

static bool search_note(void *context, size_t index, uint32_t pointer) {
    struct search *search = context;
    const struct trace_event *event = &search->trace->events[index];
    if (workload_allocates(event) && search->trace->ids[event->slot] == search->id) {
        search->pointer = pointer;
    }
    return true;
}

static uint32_t pointer_of(struct program *program, uint32_t id) {
    struct trace trace;
    struct trace_error error;
    trace_of(program, &trace);
    struct search search = {&trace, id, 0};
    struct workload workload = {.trace = &trace,
                                .psram_bytes = REPLAY_PSRAM_AS_TRACED,
                                .after = search_note,
                                .context = &search};
    cr_assert(workload_run(&workload, &error), "%s", error.text);
    trace_free(&trace);
    return search.pointer;
}

/* --- mistakes --------------------------------------------------------------------------------- */

static void overrun(struct program *program) {
    uint32_t id = program->live[draw(program, program->live_count)];
    fprintf(program->out, "write %" PRIu32 " %" PRIu32 " 24 0x41\n", id, program->size_of[id]);
    program->events++;
}

static void underrun(struct program *program) {
    uint32_t id = program->live[draw(program, program->live_count)];
    fprintf(program->out, "write %" PRIu32 " -16 12 0x41\n", id);
    program->events++;
}

static void double_free(struct program *program) {
    uint32_t index = draw(program, program->live_count);
    uint32_t pointer = pointer_of(program, program->live[index]);
    program_free(program, index);
    fprintf(program->out, "freeaddr 0x%08" PRIx32 "\n", pointer);
    program->events++;
}

static void interior_free(struct program *program) {
    uint32_t id = program_alloc(program, 400, "DEFAULT");
    fprintf(program->out, "freeaddr 0x%08" PRIx32 "\n", pointer_of(program, id) + 128);
    program->events++;
}

static void use_after_free(struct program *program) {
    uint32_t id = program_alloc(program, 200, "DEFAULT");
    uint32_t pointer = pointer_of(program, id);
    program_free(program, program->live_count - 1);
    fprintf(program->out, "writeaddr 0x%08" PRIx32 " 8 0x41\n", pointer + 100);
    program->events++;
}

static void bus_conflict(struct program *program) {
    uint32_t id = program_alloc(program, 2000, "SPIRAM");
    fprintf(program->out, "dma ch3 0x%08" PRIx32 " 1024\nwrite %" PRIu32 " 1500 4 0x41\n",
            pointer_of(program, id), id);
    program->events += 2;
}

static void flip(struct program *program) {
    uint32_t id = program->live[draw(program, program->live_count)];
    fprintf(program->out, "flip 0x%08" PRIx32 " 4\n", pointer_of(program, id) - 20);
    program->events++;
}

/* A leak fills memory, a request fails, and the program stores through the null pointer. */
static void exhaustion(struct program *program) {
    program->live_max = IDS_MAX;
    uint32_t id;
    do {
        program_run(program, 50);
        id = program_alloc(program, 4000, "DEFAULT");
    } while (pointer_of(program, id) != 0);
    fprintf(program->out, "write %" PRIu32 " 0 100 0x41\n", id);
    program->events++;
}

static void unreachable(struct program *program) {
    uint32_t id = program_alloc(program, 256, "INTERNAL|EXEC");
    fprintf(program->out, "dma wifi 0x%08" PRIx32 " 256\n", pointer_of(program, id));
    program->events++;
}

/* The board returned another address, or a block where here there is no room. */
static void other_address(struct program *program) {
    program_alloc(program, 100, "DEFAULT");
    long at = ftell(program->out);
    uint32_t pointer = pointer_of(program, program->ids);
    fseek(program->out, at - 1, SEEK_SET);
    if (program->sites) { /* the result stands before the call site */
        char *text = strrchr(program->text, '@');
        fseek(program->out, text - program->text, SEEK_SET);
    }
    fprintf(program->out, "= 0x%08" PRIx32 "\n", pointer + 64);
}

static void no_room(struct program *program) {
    program->live_max = IDS_MAX;
    do {
        program_run(program, 50);
        program_alloc(program, 4000, "DEFAULT");
    } while (pointer_of(program, program->ids) != 0);
    char *text = strrchr(program->text, '@');
    fseek(program->out, text - program->text, SEEK_SET);
    fputs("= 0x20012340\n", program->out);
}

static void other_free(struct program *program) {
    fprintf(program->out, "expect free=123456\n");
    program->events++;
}

static void other_minimum(struct program *program) {
    fprintf(program->out, "expect min_free=123456\n");
    program->events++;
}

static void no_such_fault(struct program *program) {
    program_free(program, draw(program, program->live_count));
    fprintf(program->out, "expect fault=double-free\n");
    program->events++;
}

static const struct mistake {
    const char *name;
    void (*make)(struct program *program);
    enum trace_poisoning poisoning;
    const char *what;
} mistakes[] = {
    {"overrun", overrun, TRACE_POISONING_NONE, NULL},
    {"overrun, guarded", overrun, TRACE_POISONING_COMPREHENSIVE, "overflow"},
    {"underrun", underrun, TRACE_POISONING_LIGHT, NULL},
    {"double free", double_free, TRACE_POISONING_NONE, "double-free"},
    {"interior free", interior_free, TRACE_POISONING_LIGHT, "interior-pointer"},
    {"use after free", use_after_free, TRACE_POISONING_COMPREHENSIVE, "use-after-free"},
    {"bus conflict", bus_conflict, TRACE_POISONING_NONE, "bus-conflict"},
    {"flip", flip, TRACE_POISONING_NONE, NULL},
    {"exhaustion", exhaustion, TRACE_POISONING_NONE, "stray-access"},
    {"unreachable", unreachable, TRACE_POISONING_NONE, "dma-unreachable"},
    {"other address", other_address, TRACE_POISONING_NONE, "address"},
    {"no room", no_room, TRACE_POISONING_LIGHT, "address"},
    {"other free", other_free, TRACE_POISONING_NONE, "free"},
    {"other minimum", other_minimum, TRACE_POISONING_NONE, "min_free"},
    {"no such fault", no_such_fault, TRACE_POISONING_NONE, "fault"},
};

/* A program of about `events` events with a mistake at three quarters. */
static void program_make(struct program *program, const struct mistake *mistake, uint64_t seed,
                         size_t events, struct trace *trace) {
    program_begin(program, seed, mistake->poisoning);
    program_run(program, events / 4 * 3);
    mistake->make(program);
    program_run(program, events / 4);
    trace_of(program, trace);
    fclose(program->out);
    free(program->text);
}

/* --- the properties ------------------------------------------------------------------------- */

static const struct shrink_options quiet = {NULL, NULL};

static char *text_of(const struct trace *trace) {
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    cr_assert(out != NULL && trace_write(trace, out));
    fclose(out);
    return text;
}

/* What a replay of the text shows first. */
static bool failure_of(const char *text, struct shrink_failure *failure) {
    struct trace trace;
    struct trace_error error;
    struct replay_result result;
    struct replay_options options = {.check = REPLAY_CHECK_FULL,
                                     .psram_bytes = REPLAY_PSRAM_AS_TRACED};
    cr_assert(trace_read_memory(&trace, text, strlen(text), "shrunk", &error), "%s\n%s", error.text,
              text);
    cr_assert(replay_run(&trace, &options, &result, &error), "%s\n%s", error.text, text);
    bool fails = shrink_failure_find(&result, failure);
    replay_result_free(&result);
    trace_free(&trace);
    return fails;
}

static void check_alike(const char *name, uint64_t seed, const struct shrink_report *report,
                        const char *text) {
    const struct shrink_failure *was = &report->failure;
    struct shrink_failure is;
    cr_assert(failure_of(text, &is), "%s, seed %" PRIu64 ": the result does not fail:\n%s", name,
              seed, text);
    cr_expect(
        is.mismatch == was->mismatch && strcmp(is.what, was->what) == 0 &&
            strcmp(is.site, was->site) == 0 && strcmp(is.before_site, was->before_site) == 0,
        "%s, seed %" PRIu64 ": %s at \"%s\" behind \"%s\" became %s at \"%s\" behind \"%s\"\n%s",
        name, seed, was->what, was->site, was->before_site, is.what, is.site, is.before_site, text);
    cr_expect(!was->mismatch || (is.expected == was->expected && is.got == was->got),
              "%s, seed %" PRIu64 ": %" PRIu32 ", %" PRIu32 " became %" PRIu32 ", %" PRIu32 "\n%s",
              name, seed, was->expected, was->got, is.expected, is.got, text);
}

/* Returns the replays that it took. */
static size_t check_mistake(const struct mistake *mistake, uint64_t seed, size_t events) {
    static struct program program;
    struct trace trace;
    struct trace_error error;
    struct shrink_report report;
    program_make(&program, mistake, seed, events, &trace);
    enum shrink_outcome outcome = shrink_trace(&trace, &quiet, &report, &error);
    for (int i = 0; i < 5 && outcome == SHRINK_NOTHING; i++) { /* it hit memory that nobody owns */
        trace_free(&trace);
        seed += 1000;
        program_make(&program, mistake, seed, events, &trace);
        outcome = shrink_trace(&trace, &quiet, &report, &error);
    }
    cr_assert_eq(outcome, SHRINK_DONE, "%s, seed %" PRIu64 ", %zu events", mistake->name, seed,
                 events);
    char *text = text_of(&trace);
    cr_expect(mistake->what == NULL || strcmp(report.failure.what, mistake->what) == 0,
              "%s, seed %" PRIu64 ": %s", mistake->name, seed, report.failure.what);
    cr_expect(report.events_after == trace.event_count && trace.event_count <= FEW,
              "%s, seed %" PRIu64 ": %zu events are left of %zu:\n%.2000s", mistake->name, seed,
              trace.event_count, report.events_before, text);
    check_alike(mistake->name, seed, &report, text);
    free(text);
    trace_free(&trace);
    return report.replays;
}

Test(shrink, every_kind_of_mistake_fails_alike_in_a_few_events) {
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        (void)check_mistake(&mistakes[i], 1, 1000);
    }
}

/* A bound on the work, not on the time, which is the machine's: a few replays for each halving of
 * the trace, and some for each event that stays. */
Test(shrink, twenty_thousand_events_take_few_replays) {
    for (size_t i = 0; i < COUNT(mistakes); i += 3) {
        size_t replays = check_mistake(&mistakes[i], 7, 20000);
        cr_expect_leq(replays, 2000u, "%s: %zu replays", mistakes[i].name, replays);
    }
}

Test(shrink, the_same_input_gives_the_same_output_and_that_shrinks_no_further) {
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        static struct program program;
        struct trace trace[2];
        struct trace_error error;
        struct shrink_report report;
        char *text[3];
        for (size_t j = 0; j < 2; j++) {
            program_make(&program, &mistakes[i], 5, 600, &trace[j]);
            cr_assert_eq(shrink_trace(&trace[j], &quiet, &report, &error), SHRINK_DONE);
            text[j] = text_of(&trace[j]);
        }
        cr_expect_str_eq(text[0], text[1], "%s", mistakes[i].name);
        size_t events = trace[0].event_count;
        cr_assert_eq(shrink_trace(&trace[0], &quiet, &report, &error), SHRINK_DONE);
        text[2] = text_of(&trace[0]);
        cr_expect_eq(trace[0].event_count, events, "%s:\n%s\nbecame\n%s", mistakes[i].name, text[0],
                     text[2]);
        for (size_t j = 0; j < 3; j++) {
            free(text[j]);
        }
        trace_free(&trace[0]);
        trace_free(&trace[1]);
    }
}

#define HEAD                                                                                       \
    "wmtrace 1\nconfig tracing=y poisoning=none\n"                                                 \
    "region SRAM 0x20004120 0x20028000 DEFAULT|INTERNAL|EXEC\n"                                    \
    "region DRAM 0x20028c00 0x20047ffc DEFAULT|INTERNAL|SHARED\n"

static enum shrink_outcome shrink_text(const char *text, char **shrunk) {
    struct trace trace;
    struct trace_error error;
    struct shrink_report report;
    cr_assert(trace_read_memory(&trace, text, strlen(text), "text", &error), "%s", error.text);
    enum shrink_outcome outcome = shrink_trace(&trace, &quiet, &report, &error);
    *shrunk = text_of(&trace);
    trace_free(&trace);
    return outcome;
}

Test(shrink, what_becomes_of_whole_traces) {
    static const struct {
        const char *in, *out;
    } rows[] = {
        /* comments stay with what they stand at; sizes shrink together with the store */
        {HEAD "# first\nalloc 7 100 DEFAULT @ a.c:1\n# the victim\nalloc 9 50 DEFAULT @ b.c:2 # b\n"
              "# gone\nalloc 11 8 DEFAULT\nwrite 7 100 8 0x41 # too far\nfree 9\nfree 7\n# end\n",
         HEAD "# first\nalloc 1 1 DEFAULT @ a.c:1\n# the victim\nalloc 2 1 DEFAULT @ b.c:2 # b\n"
              "write 1 4 5 0x41 # too far\n"},
        /* a fault that is expected is not what fails, and its `expect` goes only with it */
        {HEAD "alloc 1 64 DEFAULT\nfreeaddr 0x20004140\nexpect fault=interior-pointer\n"
              "alloc 2 64 DEFAULT\nfreeaddr 0x30\n",
         HEAD "freeaddr 0x00000030\n"},
        {HEAD "alloc 1 64 DEFAULT\nfreeaddr 0x20004140\nexpect fault=interior-pointer\n"
              "alloc 2 64 DEFAULT\nfreeaddr 0x200041a0\n",
         HEAD "alloc 1 9 DEFAULT\nfreeaddr 0x20004140\n"},
        /* an address outside all blocks stays as it is */
        {HEAD "alloc 1 64 DEFAULT\nreadaddr 0x10 4\n", HEAD "readaddr 0x00000010 1\n"},
        /* what was never given a value is not stored through */
        {HEAD "alloc 1 200000 DEFAULT\nwrite 1 4 8 0x00\n",
         HEAD "alloc 1 147121 DEFAULT\nwrite 1 0 1 0x00\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *shrunk;
        cr_expect_eq(shrink_text(rows[i].in, &shrunk), SHRINK_DONE);
        cr_expect_str_eq(shrunk, rows[i].out, "row %zu:\n%s\nnot\n%s", i, shrunk, rows[i].out);
        free(shrunk);
    }
}

Test(shrink, a_trace_that_replays_as_expected_stays_as_it_is) {
    static const char text[] = HEAD "alloc 3 64 DEFAULT = 0x20004138 # a\nfree 3\n";
    char *shrunk;
    cr_expect_eq(shrink_text(text, &shrunk), SHRINK_NOTHING);
    cr_expect_str_eq(shrunk, text);
    free(shrunk);
}
