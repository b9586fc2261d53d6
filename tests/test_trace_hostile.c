/* SPDX-License-Identifier: Apache-2.0
 *
 * The trace reader on text that nobody wrote on purpose, or somebody did: random, cut,
 * garbled, dripping out of a pipe, unreadable, or made to be slow. W800_SEED=N in the
 * environment runs the random ones with another seed.
 */
#include "../sim/trace.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "trace_text.h"

/* The first event stands on line 3. */
#define HEAD "wmtrace 1\nregion SRAM 0x20004000 0x20028000 DEFAULT\n"
#define EVERY_LENGTH strlen(trace_text_every_event)

static char *load(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s: %s", path, strerror(errno));
    enum { ROOM = 1 << 20 };
    char *text = calloc(1, ROOM);
    *length = fread(text, 1, ROOM - 1, file);
    fclose(file);
    return text;
}

static char *load_golden(const char *name, size_t *length) {
    char path[512];
    snprintf(path, sizeof(path), W800_SOURCE_DIR "/tests/golden/%s.trace", name);
    return load(path, length);
}

static void assert_cuts_are_noticed(const char *text, size_t length, const char *what) {
    const char *regions_end = strstr(text, "\nregion PSRAM");
    regions_end = strchr(regions_end + 1, '\n') + 1;
    for (size_t cut = 0; cut < length; ++cut) {
        char label[128];
        snprintf(label, sizeof(label), "%s cut to %zu bytes", what, cut);
        char *part = malloc(cut + 1); /* so that a sanitizer sees reading beyond it */
        memcpy(part, text, cut);
        char *exact = realloc(part, cut != 0 ? cut : 1);
        const bool accepted = trace_text_assert_judged(exact, cut, label);
        const bool whole_lines = cut != 0 && text[cut - 1] == '\n';
        cr_assert(whole_lines || !accepted, "%s: accepted", label);
        cr_assert(!whole_lines || text + cut < regions_end || accepted, "%s: refused", label);
        free(exact);
    }
}

Test(trace_hostile, every_cut_inside_a_line_is_refused, .timeout = 120) {
    static const char *const names[] = {"nopsram-none", "edge_sizes-tcomp"};
    assert_cuts_are_noticed(trace_text_every_event, EVERY_LENGTH, "every_event");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); ++i) {
        size_t length = 0;
        char *text = load_golden(names[i], &length);
        text[3000] = '\0'; /* the head and a hundred events */
        assert_cuts_are_noticed(text, 3000, names[i]);
        free(text);
    }
}

Test(trace_hostile, garbled_text_is_refused_or_well_formed, .timeout = 120) {
    const uint64_t seed = trace_text_seed();
    size_t golden_length = 0;
    char *golden = load_golden("mixed_caps-comp", &golden_length);
    golden_length = 1500;
    unsigned accepted = 0;
    for (uint64_t round = 0; round < 20000; ++round) {
        struct trace_text_random random = {seed * 1000003 + round};
        char what[64];
        snprintf(what, sizeof(what), "W800_SEED=%" PRIu64 " round %" PRIu64, seed, round);
        size_t length = 0;
        char *text = round % 2 == 0 ? trace_text_garble(&random, golden, golden_length, &length)
                                    : trace_text_garble(&random, trace_text_every_event,
                                                        EVERY_LENGTH, &length);
        accepted += trace_text_assert_judged(text, length, what);
        free(text);
    }
    free(golden);
    /* Some changes are harmless and most are not: else the garbling proves nothing. */
    cr_assert(accepted > 500 && accepted < 15000, "%u of 20000 accepted", accepted);
}

Test(trace_hostile, random_traces_come_back_and_other_spellings_become_them, .timeout = 120) {
    const uint64_t seed = trace_text_seed();
    for (uint64_t round = 0; round < 400; ++round) {
        struct trace_text_pair pair = trace_text_generate(seed * 1000003 + round, 1 + round % 300);
        char what[64];
        snprintf(what, sizeof(what), "W800_SEED=%" PRIu64 " round %" PRIu64, seed, round);
        trace_text_assert_reads_as(pair.clean, pair.clean_length, pair.clean, pair.clean_length,
                                   what);
        trace_text_assert_reads_as(pair.messy, pair.messy_length, pair.clean, pair.clean_length,
                                   what);
        trace_text_free(&pair);
    }
}

static void make_file(char *path, const char *text, size_t length) {
    stpcpy(path, "/tmp/test_trace_XXXXXX");
    const int descriptor = mkstemp(path);
    cr_assert_geq(descriptor, 0);
    cr_assert_eq(write(descriptor, text, length), (ssize_t)length);
    close(descriptor);
}

Test(trace_hostile, files_of_many_chunks_read_as_from_memory) {
    struct trace_text_pair pair = trace_text_generate(trace_text_seed(), 30000);
    char path[64];
    cr_assert_gt(pair.messy_length, 4u << 18, "not enough for several chunks");
    make_file(path, pair.messy, pair.messy_length);
    struct trace trace;
    struct trace_error error;
    cr_assert(trace_read_file(&trace, path, &error), "%s", error.text);
    unlink(path);
    size_t length = 0;
    char *got = trace_text_of(&trace, &length);
    trace_text_assert_same(got, length, pair.clean, pair.clean_length, "file");
    free(got);
    trace_free(&trace);
    trace_text_free(&pair);
}

Test(trace_hostile, standard_input_may_arrive_a_few_bytes_at_a_time) {
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    const pid_t writer = fork();
    if (writer == 0) {
        for (size_t at = 0; at < EVERY_LENGTH; ++at) {
            if (write(ends[1], trace_text_every_event + at, 1) != 1)
                _exit(1);
        }
        _exit(0);
    }
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    struct trace trace;
    struct trace_error error;
    cr_assert(trace_read_file(&trace, "-", &error), "%s", error.text);
    size_t length = 0;
    char *got = trace_text_of(&trace, &length);
    trace_text_assert_same(got, length, trace_text_every_event, EVERY_LENGTH, "stdin");
    free(got);
    trace_free(&trace);
    cr_assert_not(trace_read_file(&trace, "-", &error));
    cr_assert_str_eq(error.text, "<stdin>:1: the file is empty: expected `wmtrace 1`");
}

Test(trace_hostile, files_that_cannot_be_read_say_why) {
    struct trace trace;
    struct trace_error error;
    cr_assert_not(trace_read_file(&trace, "/nowhere/x.trace", &error));
    cr_expect_str_eq(error.text, "/nowhere/x.trace: No such file or directory");
    cr_assert_not(trace_read_file(&trace, "/tmp", &error));
    cr_expect_str_eq(error.text, "/tmp: Is a directory");
    cr_assert_not(trace_read_file(&trace, "/nowhere/\x1b[31m\n", &error));
    cr_expect_str_eq(error.text, "/nowhere/\\x1b[31m\\x0a: No such file or directory");
    cr_assert_not(trace_read_file(&trace, "/dev/zero", &error));
    cr_expect_eq(strncmp(error.text, "/dev/zero:1: not a trace: ", 26), 0, "%s", error.text);
    cr_assert_not(trace_read_file(&trace, "/dev/null", &error));
    cr_expect_str_eq(error.text, "/dev/null:1: the file is empty: expected `wmtrace 1`");
    char path[64];
    make_file(path, "", 0);
    if (geteuid() != 0) { /* root reads everything */
        chmod(path, 0);
        cr_assert_not(trace_read_file(&trace, path, &error));
        cr_expect_not_null(strstr(error.text, ": Permission denied"), "%s", error.text);
    }
    cr_assert_eq(truncate(path, (off_t)TRACE_BYTES_MAX + 1), 0);
    chmod(path, 0600);
    cr_assert_not(trace_read_file(&trace, path, &error));
    cr_expect_not_null(strstr(error.text, ": larger than 1 GiB"), "%s", error.text);
    unlink(path);
}

Test(trace_hostile, long_names_of_files_leave_room_for_the_reason) {
    char name[5000];
    memset(name, '\n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    struct trace trace;
    struct trace_error error;
    const char text[] = HEAD "bad\n";
    cr_assert_not(trace_read_memory(&trace, text, sizeof(text) - 1, name, &error));
    cr_expect_eq(strncmp(error.text, "...\\x0a\\x0a", 11), 0, "%s", error.text);
    cr_expect_not_null(strstr(error.text, ":3: unknown event \"bad\""), "%s", error.text);
}

/* Reads `text` and returns the CPU seconds it took. */
static double seconds_to_read(struct trace *trace, const char *text, size_t length) {
    struct trace_error error;
    const clock_t begin = clock();
    cr_assert(trace_read_memory(trace, text, length, "t", &error), "%s", error.text);
    return (double)(clock() - begin) / CLOCKS_PER_SEC;
}

/* The ID table starts with the multiplier 0x9e3779b1 over id / 8: products of its inverse
 * with small numbers crowd into few places. Unbounded probing takes minutes for these. */
Test(trace_hostile, ids_made_to_collide_are_read_in_no_time, .timeout = 120) {
    enum { COUNT = 200000, PASSES = 2 };
    uint32_t *ids = malloc(COUNT * sizeof(*ids));
    size_t length = 0;
    char *text = NULL;
    FILE *out = open_memstream(&text, &length);
    fputs(HEAD, out);
    uint32_t inverse = 1;
    for (int i = 0; i < 5; ++i) /* Newton: each step doubles the number of right bits */
        inverse *= 2u - 0x9e3779b1u * inverse;
    uint32_t found = 0;
    for (uint32_t i = 0; found < COUNT; ++i) {
        if (inverse * i < 1u << 29)
            ids[found++] = inverse * i << 3;
    }
    for (int i = 0; i < COUNT * PASSES; ++i)
        fprintf(out, "free %u\n", ids[i % COUNT]);
    fclose(out);
    struct trace trace;
    const double seconds = seconds_to_read(&trace, text, length);
    cr_expect_lt(seconds, 5.0, "%.1f s", seconds);
    cr_assert_eq(trace.id_count, COUNT);
    for (uint32_t i = 0; i < COUNT * PASSES; ++i)
        cr_assert_eq(trace.events[i].slot, i % COUNT);
    trace_free(&trace);
    free(text);
    free(ids);
}

/* Flipping bit 63 of one word and bits 63 and 34 of the next cancels out in the hash of
 * names: 2^15 names of one hash. Without a bound on probes this takes a minute. */
Test(trace_hostile, files_made_to_collide_are_read_in_no_time, .timeout = 120) {
    size_t length = 0;
    char *text = NULL;
    FILE *out = open_memstream(&text, &length);
    fputs("wmtrace 1\nconfig tracing=y poisoning=none\n", out);
    fputs("region SRAM 0x20004000 0x20028000 DEFAULT\n", out);
    for (uint32_t i = 0; i < 1u << 15; ++i) {
        fputs("free 1 @ ", out);
        for (uint32_t bit = 0; bit < 15; ++bit)
            fputs((i >> bit & 1) != 0 ? "aaaaaaa\xe1"
                                        "aaaaeaa\xe1"
                                      : "aaaaaaaaaaaaaaaa",
                  out);
        fputs(":1\n", out);
    }
    fclose(out);
    struct trace trace;
    const double seconds = seconds_to_read(&trace, text, length);
    cr_expect_lt(seconds, 5.0, "%.1f s", seconds);
    size_t got_length = 0;
    char *got = trace_text_of(&trace, &got_length);
    trace_text_assert_same(got, got_length, text, length, "colliding names");
    trace_free(&trace);
    free(got);
    free(text);
}

/* Two FILEs of one hash, one the beginning of the other (found by search). */
Test(trace_hostile, a_file_is_not_taken_for_its_beginning) {
    enum { SHORT = 590, LONG = 830 };
    char name[LONG + 1] = "";
    uint32_t x = 8279;
    for (int i = 0; i < LONG; ++i) {
        x = x * 1664525u + 1013904223u;
        name[i] = (char)('a' + (x >> 24) % 26);
    }
    char text[2048];
    const int length =
        snprintf(text, sizeof(text), HEAD "free 1 @ %s:1\nfree 1 @ %.*s:1\n", name, SHORT, name);
    struct trace trace;
    seconds_to_read(&trace, text, (size_t)length);
    cr_assert_eq(trace.name_count, 2);
    cr_expect_eq(strlen(trace.names[0]), LONG);
    cr_expect_eq(strlen(trace.names[1]), SHORT);
    trace_free(&trace);
}

/* The writer keeps the pipe open: whoever waits for the line's end waits for ever. */
Test(trace_hostile, a_line_without_end_is_refused_at_once, .timeout = 20) {
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    char blanks[8000];
    memset(blanks, ' ', sizeof(blanks));
    cr_assert_eq(write(ends[1], HEAD, strlen(HEAD)), (ssize_t)strlen(HEAD));
    cr_assert_eq(write(ends[1], blanks, sizeof(blanks)), (ssize_t)sizeof(blanks));
    dup2(ends[0], STDIN_FILENO);
    struct trace trace;
    struct trace_error error;
    cr_assert_not(trace_read_file(&trace, "-", &error));
    cr_expect_str_eq(error.text, "<stdin>:3: line is longer than 4096 bytes");
}
