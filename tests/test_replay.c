/* SPDX-License-Identifier: Apache-2.0
 *
 * The replay as a function: small traces and what must come of them, as literal text. One row
 * for each kind of event and each thing that can go wrong; the program around it, wmheap, has
 * a suite of its own.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "../sim/replay.h"
#include "../sim/trace.h"
#include "machine.h"

TestSuite(replay, .timeout = 60);

#define CONFIG(options)                                                                            \
    "wmtrace 1\nconfig " options "\n"                                                              \
    "region SRAM 0x20004120 0x20028000 DEFAULT|INTERNAL|EXEC\n"                                    \
    "region DRAM 0x20028c00 0x20047ffc DEFAULT|INTERNAL|SHARED\n"                                  \
    "region PSRAM 0x30000000 0x30200000 SPIRAM deferred\n"
#define NONE CONFIG("tracing=n poisoning=none")
#define TRACED CONFIG("tracing=y poisoning=none")
#define IN_PLACE CONFIG("tracing=n poisoning=none realloc=inplace")
#define LIGHT CONFIG("tracing=y poisoning=light")
#define COMPREHENSIVE CONFIG("tracing=y poisoning=comprehensive")

struct row {
    const char *name;
    const char *trace;
    const char *outcome; /* as outcome_write puts it */
    struct replay_options options;
};

#define AS_TRACED REPLAY_PSRAM_AS_TRACED
#define ROW_WITH(name_, trace_, outcome_, check_, psram_, stop_at_)                                \
    {                                                                                              \
        .name = (name_), .trace = (trace_), .outcome = (outcome_), .options = {                    \
            .check = (check_),                                                                     \
            .psram_bytes = (psram_),                                                               \
            .stop_at = (stop_at_)                                                                  \
        }                                                                                          \
    }
#define ROW(name_, trace_, outcome_)                                                               \
    ROW_WITH(name_, trace_, outcome_, REPLAY_CHECK_FULL, AS_TRACED, 0)

static struct replay_result run(const char *name, const char *text,
                                const struct replay_options *options) {
    struct trace trace;
    struct trace_error error;
    struct replay_result result;
    cr_assert(trace_read_memory(&trace, text, strlen(text), name, &error), "%s", error.text);
    cr_assert(replay_run(&trace, options, &result, &error), "%s: %s", name, error.text);
    cr_assert(!w800_running(), "%s: the machine still runs", name);
    trace_free(&trace);
    return result;
}

/* "STATUS, EVENTS events[, MISMATCH][, N moved][, stopped][; FAULT]...": a mismatch as
 * what@event judge expected/got, a fault as kind@event address [site][ by check][ expected]. */
static void outcome_write(const struct replay_result *result, char *text, size_t size) {
    FILE *out = fmemopen(text, size, "w");
    cr_assert_not_null(out);
    fprintf(out, "%d, %zu events", replay_status(result), result->events);
    if (result->mismatches > 0) {
        const struct replay_mismatch *first = &result->first;
        fprintf(out, ", %s@%zu %s 0x%" PRIx32 "/0x%" PRIx32, first->what, first->event,
                first->judge, first->expected, first->got);
        if (result->mismatches > 1) {
            fprintf(out, " and %zu more", result->mismatches - 1);
        }
    }
    if (result->moved > 0) {
        fprintf(out, ", %zu moved first@%zu", result->moved, result->first_moved);
    }
    fputs(result->stopped ? ", stopped" : "", out);
    for (size_t i = 0; i < result->fault_count; i++) {
        const struct replay_fault *fault = &result->faults[i];
        fprintf(out, "; %s@%zu 0x%08" PRIx32 "%s%s%s%s", fault->kind, fault->event, fault->address,
                fault->site[0] != '\0' ? " " : "", fault->site, fault->by_check ? " by check" : "",
                fault->expected ? " expected" : "");
    }
    fclose(out);
}

static const struct row rows[] = {
    /* allocation and its results */
    ROW("addresses match",
        TRACED "alloc 1 100 DEFAULT = 0x20004138\nrealloc 1 300 0 = 0x200041b8\n"
               "free 1\nexpect free=275112\n",
        "0, 4 events"),
    ROW("a wrong address", TRACED "alloc 1 100 DEFAULT\nalloc 2 100 DEFAULT = 0x20004138\n",
        "1, 2 events, address@2 trace 0x20004138/0x200041b8"),
    ROW("a wrong free=", NONE "alloc 1 100 DEFAULT\nexpect free=1\n",
        "1, 2 events, free@2 trace 0x1/0x43240"),
    ROW("a wrong min_free=", NONE "alloc 1 100 DEFAULT\nexpect min_free=1\n",
        "1, 2 events, min_free@2 trace 0x1/0x43240"),
    ROW("a NULL that is none", NONE "alloc 1 100 DEFAULT = 0\n",
        "1, 1 events, address@1 trace 0x0/0x20004130"),
    ROW("a NULL as expected",
        NONE "alloc 1 100 EXEC|SHARED = 0\nalloc 2 0 DEFAULT = 0\n"
             "alloc 3 0xffffffff DEFAULT = 0\nfree 1\nfree 2\n",
        "0, 5 events"),
    ROW("SPIRAM before append",
        NONE "alloc 1 100 SPIRAM = 0\nappend PSRAM\n"
             "alloc 1 100 SPIRAM = 0x30000010\n",
        "0, 3 events"),
    ROW("an alloc over a live block leaks it",
        NONE "alloc 1 100 DEFAULT\nalloc 1 100 DEFAULT\nfree 1\n"
             "free 1\nexpect free=275008\n",
        "0, 5 events"),
    ROW("calloc",
        NONE "calloc 1 10 10 DEFAULT = 0x20004130\ncalloc 2 0x10000 0x10000 DEFAULT = 0\n"
             "calloc 3 0 5 DEFAULT = 0\nfree 1\n",
        "0, 4 events"),
    ROW("aligned",
        NONE "aligned 1 64 10 DEFAULT = 0x20004180\naligned 2 4096 10 SHARED\n"
             "aligned 3 24 10 DEFAULT = 0\naligned 4 8192 10 DEFAULT = 0\nfree 1\nfree 2\n",
        "0, 6 events"),
    ROW("realloc fails and keeps the block",
        NONE "alloc 1 100 SHARED\nrealloc 1 200000 0 = 0\nfree 1\n", "0, 3 events"),
    ROW("realloc in place",
        IN_PLACE "alloc 1 100 DEFAULT = 0x20004130\nrealloc 1 300 0 = 0x20004130\n"
                 "realloc 1 50 0 = 0x20004130\nfree 1\n",
        "0, 4 events"),
    ROW("realloc out of DMA's reach",
        NONE "alloc 1 100 SHARED\nalloc 2 100 DEFAULT\n"
             "realloc 1 200 DEFAULT\nrealloc 2 200 DEFAULT\n",
        "0, 4 events, 1 moved first@3"),
    /* failures that are wanted */
    ROW("fail once",
        NONE "fail 2\nalloc 1 8 DEFAULT\nalloc 2 8 DEFAULT = 0\nalloc 3 8 DEFAULT\n"
             "free 1\nfree 3\n",
        "0, 6 events"),
    ROW("fail from then on",
        NONE "fail 2 on\nalloc 1 8 DEFAULT\ncalloc 2 1 8 DEFAULT = 0\n"
             "realloc 1 90 0 = 0\naligned 3 16 8 DEFAULT = 0\nfail 0\n"
             "alloc 4 8 DEFAULT\nfree 1\n",
        "0, 8 events"),
    /* bad calls */
    ROW("double free",
        TRACED "alloc 1 8 DEFAULT = 0x20004138 @ a.c:1\nfree 1\nfreeaddr 0x20004138\n"
               "alloc 2 8 DEFAULT\n",
        "1, 4 events; double-free@3 0x20004138"),
    ROW("double free, expected",
        NONE "alloc 1 8 DEFAULT\nfree 1\nfreeaddr 0x20004130\n"
             "expect fault=double-free\n",
        "0, 4 events; double-free@3 0x20004130 expected"),
    ROW("another fault was expected", NONE "freeaddr 0x20004130\nexpect fault=overflow\n",
        "1, 2 events, fault@2 trace 0x1/0x0; double-free@1 0x20004130"),
    ROW("an expected fault that was earlier",
        NONE "freeaddr 0x20004130\ncheck\n"
             "expect fault=double-free\n",
        "1, 3 events, fault@3 trace 0x1/0x0; double-free@1 0x20004130"),
    ROW("interior pointer", TRACED "alloc 1 80 DEFAULT @ a.c:1\nfreeaddr 0x20004148\nfree 1\n",
        "1, 3 events; interior-pointer@2 0x20004148 a.c:1"),
    ROW("foreign pointers",
        NONE "freeaddr 0x08010400\nfreeaddr 0\nfreeaddr 0xffffffff\n"
             "freeaddr 0x20004131\n",
        "1, 4 events; foreign-pointer@1 0x08010400; foreign-pointer@3 0xffffffff; "
        "foreign-pointer@4 0x20004131"),
    ROW("bad appends", NONE "append PSRAM\nappend PSRAM\nappend SRAM\nappend flash\n",
        "1, 4 events; bad-append@2 0x00000000; bad-append@3 0x00000000; bad-append@4 0x00000000"),
    ROW("a second init", NONE "alloc 1 8 DEFAULT\ninit\nexpect fault=initialized-twice\nfree 1\n",
        "0, 4 events; initialized-twice@2 0x00000000 expected"),
    /* damage */
    ROW("overflow, met by its free",
        COMPREHENSIVE "alloc 1 33 DEFAULT @ a.c:1\nalloc 2 33 DEFAULT @ "
                      "b.c:2\nwrite 1 30 4 0x41\nfree 2\nfree 1\nstats\n",
        "1, 5 events, stopped; overflow@5 0x20004140 a.c:1"),
    ROW("overflow into the next header",
        TRACED "alloc 1 32 DEFAULT @ a.c:1\nalloc 2 32 DEFAULT @ "
               "b.c:2\nwrite 1 30 4 0x41\nfree 2\n",
        "1, 4 events, stopped; smashed-header@4 0x20004170 b.c:2"),
    ROW("underflow", LIGHT "alloc 1 32 DEFAULT @ a.c:1\nwrite 1 -1 1 0x41\nfree 1\n",
        "1, 3 events, stopped; underflow@3 0x20004140 a.c:1"),
    ROW("use after free, met by the next alloc",
        COMPREHENSIVE
        "alloc 1 64 DEFAULT = 0x20004140\nalloc 2 8 DEFAULT\nfree 1\nwriteaddr 0x20004160 1 0\n"
        "alloc 3 64 DEFAULT\n",
        "1, 5 events, stopped; use-after-free@5 0x20004140"),
    ROW("use after free, expected",
        COMPREHENSIVE "alloc 1 64 DEFAULT = 0x20004140\nalloc 2 8 DEFAULT\nfree 1\n"
                      "writeaddr 0x20004158 1 0\nrealloc 3 64 DEFAULT\n"
                      "expect fault=use-after-free\n",
        "0, 6 events, stopped; use-after-free@5 0x20004140 expected"),
    ROW("damage that no call meets",
        COMPREHENSIVE "alloc 1 33 DEFAULT @ a.c:1\nwrite 1 33 1 0x41\n",
        "1, 2 events, stopped; overflow@3 0x20004140 a.c:1 by check"),
    ROW_WITH("damage that nobody looks for",
             COMPREHENSIVE "alloc 1 33 DEFAULT @ a.c:1\nwrite 1 33 1 0x41\n", "0, 2 events",
             REPLAY_CHECK_MODEL, AS_TRACED, 0),
    ROW("damage, expected",
        LIGHT "alloc 1 32 DEFAULT\nwrite 1 -8 8 0\nfree 1\n"
              "expect fault=underflow\nalloc 2 8 DEFAULT\n",
        "0, 4 events, stopped; underflow@3 0x20004140 expected"),
    ROW("a flipped bit in a header",
        TRACED "alloc 1 32 DEFAULT @ a.c:1\nflip 0x20004124 3\nfree 1\n",
        "1, 3 events, stopped; smashed-header@3 0x20004138 a.c:1"),
    ROW("a flipped bit in a payload",
        TRACED "alloc 1 32 DEFAULT @ a.c:1\nflip 0x20004140 3\nfree 1\n",
        "1, 3 events, contents@3 model 0xc3/0xcb"),
    ROW("another block's payload overwritten",
        TRACED "alloc 1 32 DEFAULT @ a.c:1\nalloc 2 32 DEFAULT @ b.c:2\nwrite 1 56 4 0x41\nfree "
               "1\nfree 2\n",
        "1, 5 events, contents@5 model 0x4b/0x41"),
    ROW("check finds",
        TRACED "alloc 1 32 DEFAULT @ a.c:1\nalloc 2 32 SHARED @ b.c:2\n"
               "flip 0x20028c04 1\ncheck SRAM\ncheck DRAM\nfree 2\n",
        "1, 5 events, stopped; smashed-header@5 0x20028c18 b.c:2 by check"),
    /* the machine */
    ROW("a stray store", TRACED "alloc 1 8 DEFAULT @ a.c:1\nwriteaddr 0x1fffff00 1 0\nfree 1\n",
        "1, 2 events, stopped; stray-access@2 0x1fffff00"),
    ROW("a stray load", NONE "readaddr 0x20048000 1\n",
        "1, 1 events, stopped; stray-access@1 0x20048000"),
    ROW("a stray load, expected", NONE "readaddr 0x10000000 4\nexpect fault=stray-access\n",
        "0, 2 events, stopped; stray-access@1 0x10000000 expected"),
    ROW("a store through null", NONE "write 1 0 1 0\n",
        "1, 1 events, stopped; stray-access@1 0x00000000"),
    ROW("memory that is not heap", NONE "writeaddr 0x20000000 16 1\nreadaddr 0x20000000 16\n",
        "0, 2 events"),
    ROW_WITH("PSRAM that is not fitted",
             NONE "append PSRAM\nalloc 1 8 SPIRAM = 0\nreadaddr 0x30000000 1\n",
             "1, 3 events, stopped; bad-append@1 0x00000000; stray-access@3 0x30000000",
             REPLAY_CHECK_FULL, 0, 0),
    ROW("a store while DMA works",
        NONE "append PSRAM\nalloc 1 8 SPIRAM\nalloc 2 8 DEFAULT\n"
             "dma ch0 0x30001000 64\nwrite 2 0 8 1\nfree 2\n"
             "write 1 0 1 0\n",
        "1, 7 events, stopped; bus-conflict@7 0x30000010"),
    ROW("a free while DMA works",
        NONE "append PSRAM\nalloc 1 8 SPIRAM\ndma ch3 0x30001000 64\nfree 1\n"
             "expect fault=bus-conflict\n",
        "0, 5 events, stopped; bus-conflict@4 0x30000000 expected"),
    ROW("DMA that ends in time",
        NONE "append PSRAM\nalloc 1 8 SPIRAM\ndma ch0 0x30001000 64\n"
             "dma ch0 stop\nfree 1\n",
        "0, 5 events"),
    ROW("DMA that cannot",
        NONE "append PSRAM\ndma wifi 0x20004000 4\ndma sdio 0x30000000 4\n"
             "dma ch1 0x20047ffc 8\ndma ch1 0x30000000 6\ndma ch2 0x20028000 0\n"
             "dma hspi 0x20028000 6\ndma hspi 0x20028000 6\ndma ch7 stop\n",
        "1, 9 events; dma-unreachable@2 0x20004000; dma-unreachable@3 0x30000000; "
        "dma-unreachable@4 0x20047ffc; dma-length@5 0x30000000; dma-length@6 0x20028000; "
        "dma-busy@8 0x20028000; dma-busy@9 0x00000000"),
    /* how far it goes */
    ROW_WITH("stop at", NONE "alloc 1 8 DEFAULT\nalloc 2 8 DEFAULT\nfreeaddr 0\nfreeaddr 1\n",
             "0, 2 events", REPLAY_CHECK_FULL, AS_TRACED, 2),
    ROW_WITH("stop behind the end", NONE "alloc 1 8 DEFAULT\n", "0, 1 events", REPLAY_CHECK_FULL,
             AS_TRACED, 200),
    ROW("no events", NONE, "0, 0 events"),
    ROW_WITH("nothing is compared",
             NONE "alloc 1 8 DEFAULT = 0x20000000\nexpect free=1\nfreeaddr 1\n",
             "1, 3 events; foreign-pointer@3 0x00000001", REPLAY_CHECK_OFF, AS_TRACED, 0),
    ROW_WITH("addresses and expectations are compared",
             NONE "alloc 1 8 DEFAULT = 0x20000000\nexpect free=1\nfreeaddr 1\n"
                  "expect fault=foreign-pointer\n",
             "1, 4 events, address@1 trace 0x20000000/0x20004130 and 1 more; foreign-pointer@3 "
             "0x00000001 expected",
             REPLAY_CHECK_ADDRESSES, AS_TRACED, 0),
};

Test(replay, each_event_comes_out_as_the_table_says) {
    for (size_t i = 0; i < COUNT(rows); i++) {
        char outcome[1024] = "";
        struct replay_result result = run(rows[i].name, rows[i].trace, &rows[i].options);
        outcome_write(&result, outcome, sizeof outcome);
        cr_expect_str_eq(outcome, rows[i].outcome, "%s:\n  %s, not\n  %s", rows[i].name, outcome,
                         rows[i].outcome);
        replay_result_free(&result);
    }
}

/* --- findings in words -------------------------------------------------------------------- */

static const struct replay_options full = {.check = REPLAY_CHECK_FULL, .psram_bytes = AS_TRACED};

/* Around the address that was expected and the one that was got, two blocks on each side. */
Test(replay, a_mismatch_shows_the_blocks_around_both_addresses) {
    struct replay_result result = run("picture",
                                      TRACED "alloc 1 100 DEFAULT @ a.c:1\nalloc 2 50 DEFAULT\n"
                                             "alloc 3 30 DEFAULT @ c.c:3\nfree 2\n"
                                             "alloc 4 200 DEFAULT = 0x200041b8\n",
                                      &full);
    cr_assert_not_null(result.picture);
    cr_expect_str_eq(result.picture,
                     "  SRAM\n"
                     "    0x20004120      128  live  0x20004138, 100 asked for, a.c:1\n"
                     "  > 0x200041a0       80  free   <- expected 0x200041b8\n"
                     "    0x200041f0       56  live  0x20004208, 30 asked for, c.c:3\n"
                     "    0x20004228      224  live  0x20004240, 200 asked for\n"
                     "  SRAM\n"
                     "    0x200041a0       80  free\n"
                     "    0x200041f0       56  live  0x20004208, 30 asked for, c.c:3\n"
                     "  > 0x20004228      224  live  0x20004240, 200 asked for   <- got "
                     "0x20004240\n"
                     "    0x20004308   146656  free\n");
    replay_result_free(&result);
}

Test(replay, an_overrun_into_a_header_names_the_block_before_it) {
    struct replay_result result = run("overrun",
                                      TRACED "alloc 1 32 DEFAULT @ a.c:1\nalloc 2 32 DEFAULT\n"
                                             "write 1 32 4 0x41\nfree 2\n",
                                      &full);
    cr_assert_eq(result.fault_count, 1);
    const struct replay_fault *fault = &result.faults[0];
    cr_expect_eq(fault->before, 0x20004138u, "0x%08x", fault->before);
    cr_expect_str_eq(fault->before_site, "a.c:1");
    cr_expect_str_eq(fault->reason, "failed: header's seal matches its words");
    replay_result_free(&result);
}

/* A trace may have a fault an event: the first thousands are kept, all are counted, each can
 * be expected, and the first that nothing expected is known wherever it comes. */
Test(replay, more_faults_than_are_kept_are_counted_and_can_be_expected) {
    enum { FAULTS = 3 * REPLAY_FAULTS_KEPT, ODD = 2 * REPLAY_FAULTS_KEPT };
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    fputs(NONE, out);
    for (uint32_t i = 1; i <= FAULTS; i++) {
        fprintf(out, "freeaddr 0x%08" PRIx32 "\n", 0x10000000 + 8 * i);
        if (i != ODD && i != ODD + 7) {
            fputs("expect fault=foreign-pointer\n", out);
        }
    }
    fclose(out);
    struct replay_result result = run("many faults", text, &full);
    cr_expect_eq(result.fault_count, FAULTS, "%zu", result.fault_count);
    cr_expect_eq(result.faults_kept, REPLAY_FAULTS_KEPT, "%zu", result.faults_kept);
    cr_expect(result.faults[REPLAY_FAULTS_KEPT - 1].expected);
    cr_expect_eq(result.mismatches, 0, "%zu", result.mismatches);
    cr_expect_eq(result.unexpected_faults, 2, "%zu", result.unexpected_faults);
    cr_expect_eq(result.unexpected.address, 0x10000000 + 8 * ODD, "0x%08" PRIx32,
                 result.unexpected.address);
    cr_expect_eq(replay_status(&result), 1);
    replay_result_free(&result);
    free(text);
}

static void keep_text(void *context, const char *text, size_t length) {
    fwrite(text, 1, length, context);
}

/* Console text comes at its events and at the end, if it is wanted. */
Test(replay, stats_and_tracing_print_if_they_are_wanted) {
    static const struct {
        unsigned print;
        unsigned stats;
        unsigned summaries;
    } wanted[] = {{0, 0, 0},
                  {REPLAY_PRINT_STATS, 2, 0},
                  {REPLAY_PRINT_TRACING, 0, 2},
                  {REPLAY_PRINT_STATS | REPLAY_PRINT_TRACING, 2, 2}};
    for (size_t i = 0; i < COUNT(wanted); i++) {
        char *text = NULL;
        size_t length = 0;
        FILE *out = open_memstream(&text, &length);
        struct replay_options options = full;
        options.print = wanted[i].print;
        options.on_print = keep_text;
        options.context = out;
        struct replay_result result =
            run("print", TRACED "alloc 1 9 DEFAULT @ a.c:1\nstats\ntracing\n", &options);
        fclose(out);
        unsigned stats = 0;
        unsigned summaries = 0;
        for (const char *at = text; (at = strstr(at, "Total ")) != NULL; at++) {
            stats++;
        }
        for (const char *at = text; (at = strstr(at, "summary: ")) != NULL; at++) {
            summaries++;
        }
        cr_expect(stats == wanted[i].stats && summaries == wanted[i].summaries,
                  "print %u: %u tables and %u lists in\n%s", wanted[i].print, stats, summaries,
                  text);
        replay_result_free(&result);
        free(text);
    }
}

/* --- hostile input -------------------------------------------------------------------------- */

/* What is left of a trace is refused with one line that names it, or it runs. */
static bool run_or_refuse(const char *text, size_t length, const char *how) {
    struct trace trace;
    struct trace_error error = {""};
    struct replay_result result;
    bool ran = false;
    if (trace_read_memory(&trace, text, length, "the-trace", &error)) {
        ran = replay_run(&trace, &full, &result, &error);
        if (ran) {
            cr_assert_leq(result.events, trace.event_count, "%s", how);
            replay_result_free(&result);
        }
        trace_free(&trace);
    } else {
        cr_assert_eq(strncmp(error.text, "the-trace:", 10), 0, "%s: %s", how, error.text);
    }
    cr_assert(ran || (error.text[0] != '\0' && strchr(error.text, '\n') == NULL),
              "%s: refused by "
              "\"%s\", not by one line",
              how, error.text);
    cr_assert(!w800_running(), "%s", how);
    return ran;
}

static char *file_read(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    char *text = malloc(1u << 18);
    cr_assert_not_null(text);
    *length = fread(text, 1, 1u << 18, file);
    fclose(file);
    return text;
}

/* Every event kind, optional part and option of the format. */
static const char everything[] =
    "wmtrace 1\n# a comment\nconfig tracing=y poisoning=light realloc=inplace\n"
    "region SRAM 0x20004120 0x20028000 DEFAULT|INTERNAL|EXEC\n"
    "region DRAM 0x20028c00 0x20047ffc DEFAULT|INTERNAL|SHARED # another\n"
    "region PSRAM 0x30000000 0x30200000 SPIRAM deferred\n\n"
    "append PSRAM\nalloc 1 100 DEFAULT = 0x20004140 @ C:\\src\\a b.c:12\n"
    "alloc 4294967295 0x10 INTERNAL|0x100 = 0\nrealloc 1 300 0 = 0x20004140\n"
    "calloc 2 10 10 SHARED\naligned 3 64 100 SPIRAM @ b.c:7\nexpect free=2365000 min_free=1\n"
    "write 2 -1 1 0x41\nfree 2\nexpect fault=underflow\nwriteaddr 0x20000000 4 255\n"
    "readaddr 0x20000000 4\nflip 0x20000000 7\nfail 1 on\nfail 0\ndma ch0 0x30001000 64\n"
    "dma ch0 stop\ncheck\ncheck SRAM\nstats\ntracing\ninit\nfreeaddr 0x20004140\nfree 1\n";

Test(replay, a_trace_cut_off_anywhere_runs_or_is_refused_with_one_line) {
    for (size_t length = 0; length < sizeof everything; length++) {
        char how[64];
        snprintf(how, sizeof how, "the first %zu bytes of `everything`", length);
        run_or_refuse(everything, length, how);
    }
    cr_assert(run_or_refuse(everything, sizeof everything - 1, "all of it"));
    size_t bytes;
    char *golden = file_read(W800_SOURCE_DIR "/tests/golden/mixed_caps-tcomp.trace", &bytes);
    for (size_t length = 0; length < bytes; length += 97) {
        char how[64];
        snprintf(how, sizeof how, "the first %zu bytes of mixed_caps-tcomp.trace", length);
        run_or_refuse(golden, length, how);
    }
    free(golden);
}

static uint64_t random_next(uint64_t *state) { /* xorshift64 */
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Changes a few bytes, most of them into bytes that mean something here. */
static void garble(char *text, size_t length, uint64_t *state) {
    static const char likely[] = "0123456789xabcdef -=@#|:.\n\t_PSRAMDEFAULT\0\xff\x7f";
    for (uint64_t changes = 1 + random_next(state) % 4; changes > 0; changes--) {
        size_t at = (size_t)(random_next(state) % length);
        if (random_next(state) % 4 == 0) { /* a field takes another one's place */
            size_t from = (size_t)(random_next(state) % length);
            size_t most = length - (at > from ? at : from);
            memmove(text + at, text + from, most < 12 ? most : 12);
        } else {
            text[at] = likely[random_next(state) % (sizeof likely - 1)];
        }
    }
}

/* W800_SEED=N repeats, W800_CASES=N makes it longer. */
Test(replay, a_garbled_trace_runs_or_is_refused_with_one_line) {
    const char *chosen = getenv("W800_SEED");
    const char *longer = getenv("W800_CASES");
    uint64_t seed = chosen != NULL ? strtoull(chosen, NULL, 0) : 1;
    uint64_t cases = longer != NULL ? strtoull(longer, NULL, 0) : 20000;
    for (uint64_t i = 0; i < cases; i++) {
        char text[sizeof everything];
        char how[64];
        uint64_t state = (seed + i) * 0x9e3779b97f4a7c15u | 1u;
        memcpy(text, everything, sizeof text);
        garble(text, sizeof text - 1, &state);
        snprintf(how, sizeof how, "W800_SEED=%" PRIu64 " W800_CASES=1", seed + i);
        run_or_refuse(text, sizeof text - 1, how);
    }
}
