/* SPDX-License-Identifier: Apache-2.0
 *
 * `wmheap convert` for heaps at one moment: heaps made by random programs on the simulated
 * W800 are walked into an image, converted, replayed, and walked again: every block must be
 * there, at its address, with its size. Then the field's logs and dumps, and the program.
 */
#include <criterion/criterion.h>
#include <dirent.h>

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

/* --- a heap into an image -------------------------------------------------------------------- */

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
        row->free_bytes = region->level.free_bytes;
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

/* --- and back -----------------------------------------------------------------------------------
 */

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

/* --- the field's
 * ---------------------------------------------------------------------------------- */

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
