/* SPDX-License-Identifier: Apache-2.0
 *
 * `wmheap convert` for heaps at one moment: heaps made by random programs on the simulated
 * W800 are walked into an image, converted, replayed, and walked again: every block must be
 * there, at its address, with its size. Then the field's logs and dumps, and the program.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdarg.h>

#include "../sim/convert.h"
#include "../sim/diagnose.h"
#include "../sim/replay.h"
#include "machine.h"

#undef wm_heap_caps_alloc
#undef wm_heap_caps_realloc

TestSuite(convert, .timeout = 120);

static uint32_t random_below(uint64_t *state, uint32_t limit) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % limit;
}

/* --- a heap into an image ------------------------------------------------------------- */

static bool add_block(void *context, const struct wm_heap_block *block) {
    struct image *image = context;
    if (block->live) {
        uint32_t site = image_site(image, "src/a b.c", 9);
        struct image_block row = {.address = block->address,
                                  .pointer = block->pointer,
                                  .size = block->size,
                                  .caps = block->caps,
                                  .order = UINT32_MAX,
                                  .site = site,
                                  .line = 12};
        cr_assert(image_add(image, &row));
    }
    return true;
}

static void image_take(struct image *image, const struct heap_build *build) {
    cr_assert(image_init(image));
    image->tracing_known = image->poisoning_known = true;
    image->tracing = build->tracing;
    image->poisoning = build->comprehensive ? 2 : build->poisoned ? 1 : 0;
    image->header_size = build->header_size;
    for (uint32_t i = 0; i < 3; i++) {
        const struct wm_heap_region *region = &build->state->regions[i];
        struct image_region *row = &image->regions[i];
        row->present = row->has_free = true;
        row->start = region->start;
        row->end = region->end;
        row->free_bytes = wm_heap_level_free(&region->level);
        cr_assert(wm_heap_walk(i, add_block, image));
    }
    cr_assert(image_finish(image));
}

static void random_program(uint64_t seed, uint32_t steps) {
    static const uint32_t caps[] = {1, 1, 2, 17, 4};
    void *variables[200] = {NULL};
    for (uint32_t i = 0; i < steps; i++) {
        void **pointer = &variables[random_below(&seed, COUNT(variables))];
        if (*pointer != NULL) {
            wm_heap_caps_free(*pointer);
            *pointer = NULL;
        } else {
            uint32_t size = 1 + random_below(&seed, random_below(&seed, 6) == 0 ? 30000 : 200);
            *pointer = wm_heap_caps_alloc_tracing(
                size, (wm_heap_cap_type_t)caps[random_below(&seed, COUNT(caps))], NULL, 0);
        }
    }
}

/* --- and back ------------------------------------------------------------------------- */

/* Replays in pieces of this test, to look at the heap before the machine stops. */
struct rebuilt {
    const struct image *image;
    size_t next;
    bool same;
};

static bool compare_block(void *context, const struct wm_heap_block *block) {
    struct rebuilt *rebuilt = context;
    const struct image *image = rebuilt->image;
    while (rebuilt->next < image->block_count && image->blocks[rebuilt->next].state != IMAGE_LIVE) {
        rebuilt->next++;
    }
    if (block->live) {
        const struct image_block *wanted = &image->blocks[rebuilt->next++];
        rebuilt->same &= rebuilt->next <= image->block_count && wanted->address == block->address &&
                         wanted->size == block->size;
    }
    return rebuilt->same;
}

/* Called at each event's progress and at the end's statistics: the last call counts. */
static void compare_all(void *context, const char *text, size_t length) {
    struct rebuilt *rebuilt = context;
    (void)text;
    (void)length;
    rebuilt->next = 0;
    rebuilt->same = true;
    for (uint32_t i = 0; i < 3 && rebuilt->same; i++) {
        wm_heap_walk(i, compare_block, rebuilt);
    }
}

static void check_image(const struct image *image, const char *label) {
    struct trace trace;
    struct convert_report report = {0};
    char error[512];
    struct trace_error trace_error;
    struct rebuilt rebuilt = {.image = image};
    struct replay_result result;
    cr_assert(convert_image(image, NULL, &trace, &report, error, sizeof error), "%s: %s", label,
              error);
    cr_assert_eq(report.unplaced + report.inexact, 0, "%s: %llu unplaced, %llu inexact", label,
                 (unsigned long long)report.unplaced, (unsigned long long)report.inexact);
    struct replay_options options = {.check = REPLAY_CHECK_FULL,
                                     .print = REPLAY_PRINT_STATS,
                                     .psram_bytes = REPLAY_PSRAM_AS_TRACED,
                                     .on_print = compare_all,
                                     .context = &rebuilt};
    cr_assert(replay_run(&trace, &options, &result, &trace_error), "%s: %s", label,
              trace_error.text);
    cr_assert_eq(result.mismatches + result.fault_count, 0, "%s: event %zu: %s", label,
                 result.first.event, result.first.what);
    cr_assert(rebuilt.same, "%s: block %zu is not as it was", label, rebuilt.next);
    replay_result_free(&result);
    trace_free(&trace);
}

Test(convert, a_heap_of_any_build_is_rebuilt_block_by_block) {
    for (uint64_t seed = 0; seed < 60; seed++) {
        const struct heap_build *build = heap_builds[seed % HEAP_BUILDS];
        struct image image;
        char label[64];
        snprintf(label, sizeof label, "build %s, seed %llu", build->name, (unsigned long long)seed);
        machine_start_heap(build, 2 * MIB);
        random_program(seed, 50 + 60 * (uint32_t)seed);
        image_take(&image, build);
        w800_stop();
        check_image(&image, label);
        image_free(&image);
    }
}

/* The smallest blocks, the last byte of a region, borders close to the end marker. */
Test(convert, borders_near_the_end_of_a_region_are_kept) {
    for (unsigned which = 0; which < HEAP_BUILDS; which++) {
        for (uint32_t left = 0; left < 200; left += 8) {
            const struct heap_build *build = heap_builds[which];
            struct image image;
            char label[64];
            snprintf(label, sizeof label, "build %s, %u left", build->name, left);
            machine_start_heap(build, 2 * MIB);
            uint32_t room = (uint32_t)wm_heap_caps_get_largest_free_block(WM_HEAP_CAP_SHARED);
            void *first = wm_heap_caps_alloc_tracing(room - left - 2 * build->header_size,
                                                     WM_HEAP_CAP_SHARED, NULL, 0);
            void *last = wm_heap_caps_alloc_tracing(1, WM_HEAP_CAP_SHARED, NULL, 0);
            cr_assert_not_null(first);
            if (left % 16 == 0) {
                wm_heap_caps_free(first);
            }
            if (left % 24 == 0 && last != NULL) {
                wm_heap_caps_free(last);
            }
            image_take(&image, build);
            w800_stop();
            check_image(&image, label);
            image_free(&image);
        }
    }
}

Test(convert, what_no_calls_lead_to_is_counted_not_invented) {
    struct image image;
    struct trace trace;
    struct convert_report report = {0};
    char error[512];
    static const struct image_block blocks[] = {
        {.address = 0x20004120, .pointer = 0x20004138, .size = 64},
        {.address = 0x20004150, .pointer = 0x20004168, .size = 64},  /* overlaps the first */
        {.address = 0x20004190, .pointer = 0x200041a8, .size = 60},  /* no multiple of 8 */
        {.address = 0x20004204, .pointer = 0x2000421c, .size = 64},  /* not aligned */
        {.address = 0x20004300, .pointer = 0x20004318, .size = 8},   /* no header fits */
        {.address = 0x20027fc8, .pointer = 0x20027fe0, .size = 4096} /* past the end */
    };
    cr_assert(image_init(&image));
    image.regions[0].present = true;
    image.regions[0].start = 0x20004120;
    image.regions[0].end = 0x20027fe8;
    image.header_size = 24;
    for (size_t i = 0; i < COUNT(blocks); i++) {
        cr_assert(image_add(&image, &blocks[i]));
    }
    cr_assert(convert_image(&image, NULL, &trace, &report, error, sizeof error), "%s", error);
    cr_assert_eq(report.unplaced, 5, "%llu", (unsigned long long)report.unplaced);
    cr_assert_eq(report.blocks, 1);
    trace_free(&trace);
    image_free(&image);
}

/* --- recordings of anything ----------------------------------------------------------- */

static uint32_t checksum(const char *text, size_t length) {
    uint32_t sum = 0xffffffffu;
    for (size_t i = 0; i < length; i++) {
        sum ^= (uint8_t)text[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            sum = sum >> 1 ^ ((sum & 1u) != 0 ? 0xedb88320u : 0u);
        }
    }
    return ~sum;
}

/* A line as the recorder would print it, whatever it says. */
static void line_put(FILE *out, uint32_t *sequence, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void line_put(FILE *out, uint32_t *sequence, const char *format, ...) {
    char line[256];
    va_list arguments;
    int length = snprintf(line, sizeof line, "@wmrec1 %08x ", (*sequence)++);
    va_start(arguments, format);
    length += vsnprintf(line + length, sizeof line - (size_t)length, format, arguments);
    va_end(arguments);
    strcat(line, " ");
    fprintf(out, "%s*%08x\r\n", line, checksum(line, (size_t)length + 1));
}

/* Numbers that are now and then plausible. */
static uint32_t odd_pointer(uint64_t *seed) {
    static const uint32_t places[] = {0x20004138, 0x20004138, 0x20027f00, 0x20028c18,
                                      0x30000018, 0x301fff00, 0xfffffff8, 0};
    uint32_t place = places[random_below(seed, COUNT(places))];
    uint32_t step = random_below(seed, 40) == 0 ? 1 : 8;
    return place + random_below(seed, random_below(seed, 2) ? 20 : 4000) * step;
}

static uint32_t odd_size(uint64_t *seed) {
    static const uint32_t limits[] = {100, 100, 100, 3000, 200000, 0x7fffffff};
    return random_below(seed, limits[random_below(seed, COUNT(limits))]) &
           (random_below(seed, 2) ? ~7u : ~0u);
}

static void odd_event(FILE *out, uint32_t *sequence, uint32_t number, uint64_t *seed) {
    uint32_t kind = 1 + random_below(seed, 5);
    uint32_t caps = random_below(seed, 4) == 0 ? random_below(seed, 32) : 1;
    uint32_t site = kind == 4 ? odd_pointer(seed) : random_below(seed, 3);
    line_put(out, sequence, "E %x %x %x %x %x %x", number, kind | caps << 3 | 17u << 16,
             odd_pointer(seed), odd_size(seed), kind == 4 ? odd_size(seed) : 0, site);
}

static char *odd_recording(uint64_t seed) {
    char *text;
    size_t length;
    uint32_t sequence = 0;
    uint32_t number = 0;
    FILE *out = open_memstream(&text, &length);
    line_put(out, &sequence, "H %x 18 100 %x", random_below(&seed, 64), random_below(&seed, 300));
    line_put(out, &sequence, "R 0 20004120 20028000 b 0 SRAM");
    line_put(out, &sequence, "R 1 20028c00 20047ffc 13 0 DRAM");
    line_put(out, &sequence, "R 2 30000000 30200000 4 1 PSRAM");
    line_put(out, &sequence, "N 1 5 0 a#b.c");
    for (uint32_t i = 0; i < 150; i++) {
        number += 1 + (random_below(&seed, 20) == 0 ? random_below(&seed, 9) : 0);
        odd_event(out, &sequence, number, &seed);
        if (random_below(&seed, 5) == 0) {
            line_put(out, &sequence, "B 1 %x %x %x 1 1 5", random_below(&seed, 200),
                     odd_pointer(&seed), odd_size(&seed));
        }
    }
    if (random_below(&seed, 2) == 0) {
        uint32_t at = odd_pointer(&seed);
        line_put(out, &sequence, "F %x %x 3 %x %x %x 0 %x", random_below(&seed, 200),
                 random_below(&seed, 20), at, random_below(&seed, 2) ? at + 24 : 0,
                 random_below(&seed, 2) ? at + 12 : odd_pointer(&seed), odd_pointer(&seed));
        if (random_below(&seed, 2) == 0) {
            line_put(out, &sequence, "M %x 4142434441424344", at);
        }
    }
    fclose(out);
    return text;
}

static void read_text(struct recording *recording, const char *text, size_t length) {
    recording_init(recording);
    for (const char *end = text + length; text < end;) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline != NULL ? newline : end;
        recording_line(recording, text, (size_t)(stop - text));
        text = newline != NULL ? newline + 1 : end;
    }
    recording_end(recording);
}

/* Converts, writes, reads back, replays. Addresses hold whatever the recording says. */
static void check_recording(const struct recording *recording, const char *label) {
    struct trace trace;
    struct trace again;
    struct convert_report report = {0};
    struct replay_result result;
    struct trace_error error;
    char reason[512] = "";
    char *text;
    size_t length;
    if (!convert_recording(&recording->boot, NULL, &trace, &report, reason, sizeof reason)) {
        cr_assert_neq(reason[0], '\0', "%s", label);
        return;
    }
    FILE *out = open_memstream(&text, &length);
    cr_assert(trace_write(&trace, out));
    fclose(out);
    cr_assert(trace_read_memory(&again, text, length, label, &error), "%s", error.text);
    struct replay_options options = {.check = REPLAY_CHECK_ADDRESSES,
                                     .psram_bytes = REPLAY_PSRAM_AS_TRACED};
    cr_assert(replay_run(&again, &options, &result, &error), "%s: %s", label, error.text);
    /* of the call that meets damage nobody knows the result */
    bool damaged =
        result.stopped && result.first.event == result.faults[result.fault_count - 1].event;
    cr_assert_eq(result.mismatches, damaged, "%s: event %zu: %s: expected 0x%08x, got 0x%08x\n%s",
                 label, result.first.event, result.first.what, result.first.expected,
                 result.first.got, result.picture != NULL ? result.picture : "");
    replay_result_free(&result);
    trace_free(&trace);
    trace_free(&again);
    free(text);
}

Test(convert, a_recording_may_say_anything_and_every_address_in_its_trace_holds) {
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct recording recording;
        char label[32];
        char *text = odd_recording(seed);
        snprintf(label, sizeof label, "seed %llu", (unsigned long long)seed);
        read_text(&recording, text, strlen(text));
        cr_assert_geq(recording.boot.event_count, 150, "%s", label);
        check_recording(&recording, label);
        recording_free(&recording);
        free(text);
    }
}

Test(convert, a_recording_cut_anywhere_is_read_up_to_there) {
    char *text = odd_recording(3);
    size_t length = strlen(text);
    for (size_t cut = 0; cut < length; cut += 7) {
        struct recording recording;
        char label[32];
        snprintf(label, sizeof label, "cut at %zu", cut);
        read_text(&recording, text, cut);
        uint64_t whole = 0;
        for (size_t i = 0; i < cut; i++) {
            whole += text[i] == '\n';
        }
        cr_assert(recording.boot.lines == whole || recording.boot.lines == whole + 1, "%s", label);
        cr_assert_eq(recording.boot.lines_lost, 0, "%s", label);
        if (cut % 49 == 0) {
            check_recording(&recording, label);
        }
        recording_free(&recording);
    }
    free(text);
}

Test(convert, changed_bytes_cost_their_lines_and_are_counted) {
    char *text = odd_recording(4);
    size_t length = strlen(text);
    struct recording intact;
    read_text(&intact, text, length);
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct recording recording;
        uint64_t chance = seed;
        size_t at = random_below(&chance, (uint32_t)length);
        char was = text[at];
        text[at] = (char)(was ^ (1 << random_below(&chance, 7)));
        if (was != '\r' && was != '\n' && text[at] != '\n') {
            read_text(&recording, text, length);
            bool last = memchr(text + at, '\n', length - at) == text + length - 1;
            cr_assert_eq(recording.boot.lines + 1, intact.boot.lines, "seed %llu, byte %zu",
                         (unsigned long long)seed, at);
            cr_assert_eq(recording.boot.lines_lost, !last, "seed %llu", (unsigned long long)seed);
            recording_free(&recording);
        }
        text[at] = was;
    }
    recording_free(&intact);
    free(text);
}

Test(convert, of_several_boots_the_one_with_the_fault_is_taken) {
    char *text;
    size_t length;
    struct recording recording;
    FILE *out = open_memstream(&text, &length);
    for (uint32_t boot = 0; boot < 3; boot++) {
        uint32_t sequence = 0;
        line_put(out, &sequence, "H 11 18 100 1");
        line_put(out, &sequence, "R 0 20004120 20028000 b 0 SRAM");
        line_put(out, &sequence, "E 0 9 20004138 %x 0 0", 10 + boot);
        if (boot == 1) {
            line_put(out, &sequence, "F 1 1 1 20004120 20004138 20004138 0 0");
        }
    }
    fclose(out);
    read_text(&recording, text, length);
    cr_assert_eq(recording.boots, 3);
    cr_assert_eq(recording.boot.events[0].size, 11);
    cr_assert(recording.boot.fault.known);
    recording_free(&recording);
    free(text);
}

/* Beside the SDK's heap its own list is the snapshot. */
Test(convert, a_tracing_list_stands_for_a_snapshot) {
    char *text;
    size_t length;
    uint32_t sequence = 0;
    struct recording recording;
    FILE *out = open_memstream(&text, &length);
    line_put(out, &sequence, "H 21 18 100 9");
    line_put(out, &sequence, "R 0 20004120 20028000 b 0 SRAM");
    line_put(out, &sequence, "E 8 2 20004198 28 0 0");
    line_put(out, &sequence, "T 1 9");
    fputs("0\t0x20004138\tC:\\my src\\a.c:12\t64\r\n[I] (5) wifi: up\r\n"
          "1\t20004200\tb.c:7\t48\r\nsummary: malloc size 112, malloc count 2\r\n"
          "2\t0x20005000\tnot in it.c:1\t48\r\n",
          out);
    fclose(out);
    read_text(&recording, text, length);
    cr_assert_eq(recording.boot.block_count, 2);
    cr_assert_eq(recording.boot.blocks[1].pointer, 0x20004200);
    cr_assert_str_eq(recorder_name(&recording.boot, recording.boot.blocks[0].site),
                     "C:\\my src\\a.c");
    check_recording(&recording, "beside the SDK");
    recording_free(&recording);
    free(text);
}

/* --- the field's ---------------------------------------------------------------------- */

static const char *const firmwares[] = {NULL, "tests/field/firmware-trace.elf",
                                        "tests/field/firmware-none.elf"};

static void check_file(const char *path, const char *firmware_path) {
    struct diagnose_options options = {0};
    struct diagnosis diagnosis;
    struct trace trace;
    struct convert_report report = {0};
    struct replay_result result;
    struct trace_error trace_error;
    char error[512];
    if (firmware_path != NULL) {
        options.firmware = firmware_open(firmware_path, error, sizeof error);
        cr_assert_not_null(options.firmware, "%s", error);
    }
    cr_assert(diagnose_file(path, &options, &diagnosis, error, sizeof error), "%s", error);
    bool converted =
        convert_image(&diagnosis.image, &diagnosis.findings, &trace, &report, error, sizeof error);
    if (converted) {
        struct replay_options replay = {.check = REPLAY_CHECK_FULL,
                                        .psram_bytes = REPLAY_PSRAM_AS_TRACED};
        cr_assert(replay_run(&trace, &replay, &result, &trace_error), "%s: %s", path,
                  trace_error.text);
        cr_assert_eq(result.mismatches, 0, "%s: event %zu: %s", path, result.first.event,
                     result.first.what);
        bool overrun = strstr(path, "overrun") != NULL && strstr(path, ".ram") != NULL;
        cr_assert_eq(result.fault_count, overrun, "%s: %zu faults", path, result.fault_count);
        if (overrun) {
            cr_assert_eq(result.faults[0].before, diagnosis.findings.list[0].address,
                         "%s: 0x%08x is not to blame", path, result.faults[0].before);
        }
        replay_result_free(&result);
        trace_free(&trace);
    }
    cr_assert(converted || diagnosis.image.block_count == 0, "%s: %s", path, error);
    diagnosis_free(&diagnosis);
    if (options.firmware != NULL) {
        firmware_close(options.firmware);
    }
}

Test(convert, every_heap_of_the_field_is_rebuilt) {
    DIR *folder = opendir("tests/field");
    unsigned files = 0;
    cr_assert_not_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[300];
        const char *kind = strrchr(entry->d_name, '.');
        bool dump = kind != NULL && strcmp(kind, ".ram") == 0;
        if (kind != NULL && (dump || strcmp(kind, ".log") == 0)) {
            snprintf(path, sizeof path, "tests/field/%s", entry->d_name);
            check_file(path, firmwares[!dump ? 0 : strstr(path, "untraced") != NULL ? 2 : 1]);
            files++;
        }
    }
    closedir(folder);
    cr_assert_geq(files, 14);
}

/* --- the program ---------------------------------------------------------------------- */

/* Runs a shell command with the program as $WMHEAP; what it prints, and its exit status. */
static int shell(const char *command, char *out, size_t size) {
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    size_t length = fread(out, 1, size - 1, pipe);
    out[length] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256;
}

static const struct {
    const char *command;
    int status;
    const char *says;
} runs[] = {
    {"\"$WMHEAP\" convert tests/field/clean-11.log 2>/dev/null | \"$WMHEAP\" replay -", 0,
     "<stdin>: 63 events, 0 mismatches, 0 faults"},
    {"\"$WMHEAP\" convert - - <tests/field/clean-11.ram 2>/dev/null | head -1", 0, "wmtrace 1\n"},
    {"\"$WMHEAP\" convert --json tests/field/leak-11.log 2>&1 >/dev/null", 0,
     "{\"schema\":\"wmheap-convert/1\",\"file\":\"tests/field/leak-11.log\",\"kind\":\"log\""},
    {"\"$WMHEAP\" convert tests/field/no-such-file 2>&1", 2,
     "wmheap: tests/field/no-such-file: No such file or directory\n"},
    {"\"$WMHEAP\" convert tests/field 2>&1", 2, "wmheap: tests/field: a directory\n"},
    {"\"$WMHEAP\" convert tests/field/overrun-11.log 2>&1", 2,
     "wmheap: tests/field/overrun-11.log: it shows no heap"},
    {"\"$WMHEAP\" convert /dev/null 2>&1", 2, "wmheap: /dev/null: empty\n"},
    {"printf '@wmrec1 00000000 H 11 18 100 0 *00000000\\n' | \"$WMHEAP\" convert - 2>&1", 2,
     "wmheap: <stdin>: "},
    {"\"$WMHEAP\" convert tests/field/clean-11.log /no/such/folder/x 2>&1", 2,
     "wmheap: /no/such/folder/x: No such file or directory\n"},
    {"\"$WMHEAP\" convert 2>&1 | head -1", 0, "wmheap convert: a file is needed"},
    {"\"$WMHEAP\" convert --help | grep -c 'wmheap convert tests/field'", 0, "1\n"},
};

Test(convert, the_program_says_what_it_did_and_why_not) {
    for (size_t i = 0; i < COUNT(runs); i++) {
        char out[4096];
        int status = shell(runs[i].command, out, sizeof out);
        cr_assert_eq(status, runs[i].status, "%s: status %d, %s", runs[i].command, status, out);
        cr_assert_eq(strncmp(out, runs[i].says, strlen(runs[i].says)), 0, "%s: %s", runs[i].command,
                     out);
    }
}
