/* SPDX-License-Identifier: Apache-2.0
 *
 * The reported heap and the list of findings, which all readers of field reports fill.
 */
#include "../sim/finding.h"
#include "../sim/image.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(image, .timeout = 60);

static struct image new_image(void) {
    struct image image;
    cr_assert(image_init(&image));
    return image;
}

static void add_live(struct image *image, uint32_t pointer, uint32_t size) {
    const struct image_block block = {.pointer = pointer, .size = size, .state = IMAGE_LIVE};
    cr_assert(image_add(image, &block));
}

static void set_bounds(struct image *image) {
    image->header_size = 24;
    image->regions[0].present = true;
    image->regions[0].start = 0x20004000;
    image->regions[0].end = 0x20005000;
}

Test(image, the_chips_memories_are_told_apart) {
    static const struct {
        uint32_t address;
        int region;
    } rows[] = {{0x1fffffff, -1}, {0x20000000, 0},  {0x20027fff, 0}, {0x20028000, 1},
                {0x20047fff, 1},  {0x20048000, -1}, {0x30000000, 2}, {0x307fffff, 2},
                {0x30800000, -1}, {0x08010400, -1}, {0, -1}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        cr_assert_eq(image_region_of(rows[i].address), rows[i].region, "0x%08" PRIx32,
                     rows[i].address);
    }
}

Test(image, what_no_block_holds_is_free) {
    struct image image = new_image();
    set_bounds(&image);
    add_live(&image, 0x20004818, 0x100); /* any order */
    add_live(&image, 0x20004018, 0x200);
    add_live(&image, 0x20004218, 0x80);
    cr_assert(image_finish(&image));
    cr_assert_eq(image.block_count, 5);
    static const struct {
        uint32_t address, size;
        int state;
    } rows[] = {{0x20004000, 0x200, IMAGE_LIVE},
                {0x20004200, 0x80, IMAGE_LIVE},
                {0x20004280, 0x580, IMAGE_FREE},
                {0x20004800, 0x100, IMAGE_LIVE},
                {0x20004900, 0x700, IMAGE_FREE}};
    for (size_t i = 0; i < 5; ++i) {
        cr_assert_eq(image.blocks[i].address, rows[i].address, "block %zu", i);
        cr_assert_eq(image.blocks[i].size, rows[i].size, "block %zu", i);
        cr_assert_eq(image.blocks[i].state, rows[i].state, "block %zu", i);
    }
    const struct image_region *region = &image.regions[0];
    cr_assert(region->has_blocks);
    cr_assert_eq(region->largest_free, 0x700);
    cr_assert_eq(region->free_bytes, 0xc80);
    cr_assert_eq(region->live_blocks, 3);
    cr_assert_eq(region->live_bytes, 0x380);
    cr_assert(image_finish(&image), "again");
    cr_assert_eq(image.block_count, 5, "again");
    image_free(&image);
}

Test(image, blocks_that_overlap_make_no_hole_and_no_loop) {
    struct image image = new_image();
    set_bounds(&image);
    add_live(&image, 0x20004018, 0x800);
    add_live(&image, 0x20004118, 0x100); /* inside it */
    add_live(&image, 0x20004218, 0xffffffff);
    cr_assert(image_finish(&image));
    cr_assert_eq(image.block_count, 3);
    cr_assert_eq(image.regions[0].largest_free, 0);
    image_free(&image);
}

Test(image, without_bounds_or_header_size_nothing_is_called_free) {
    struct image image = new_image();
    add_live(&image, 0x20004018, 0x80);
    add_live(&image, 0x20005018, 0x80);
    add_live(&image, 0x08010400, 0x80); /* not the chip's memory: left out */
    cr_assert(image_finish(&image));
    cr_assert_eq(image.block_count, 2);
    cr_assert_not(image.regions[0].has_blocks);
    cr_assert_eq(image.regions[0].live_blocks, 2);
    image_free(&image);
}

Test(image, what_the_report_says_is_free_stays) {
    struct image image = new_image();
    set_bounds(&image);
    image.regions[0].has_free = true;
    image.regions[0].free_bytes = 1234;
    cr_assert(image_finish(&image));
    cr_assert_eq(image.regions[0].free_bytes, 1234);
    cr_assert_eq(image.regions[0].largest_free, 0x1000);
    image_free(&image);
}

Test(image, find_gives_the_block_at_or_below_an_address) {
    struct image image = new_image();
    set_bounds(&image);
    add_live(&image, 0x20004118, 0x100);
    cr_assert(image_finish(&image));
    cr_assert_null(image_find(&image, 0x20003fff));
    cr_assert_eq(image_find(&image, 0x20004000)->state, IMAGE_FREE);
    cr_assert_eq(image_find(&image, 0x20004100)->pointer, 0x20004118);
    cr_assert_eq(image_find(&image, 0x200041ff)->pointer, 0x20004118);
    cr_assert_eq(image_find(&image, 0x20004200)->address, 0x20004200);
    cr_assert_eq(image_find(&image, 0xffffffff)->address, 0x20004200);
    image_free(&image);
}

Test(image, a_name_has_one_index_and_names_are_bounded) {
    struct image image = new_image();
    const uint32_t first = image_site(&image, "a.c/rest", 3);
    cr_assert_neq(first, 0);
    cr_assert_eq(image_site(&image, "", 0), 0);
    for (unsigned i = 0; i < 70000; ++i) {
        char name[32];
        const int length = snprintf(name, sizeof(name), "file%u.c", i);
        const uint32_t index = image_site(&image, name, (size_t)length);
        cr_assert(i >= 60000 || strcmp(image.sites[index], name) == 0, "%s", name);
    }
    cr_assert_eq(image_site(&image, "a.c", 3), first);
    cr_assert_str_eq(image.sites[first], "a.c");
    cr_assert_leq(image.site_count, 65536);
    cr_assert_eq(image_site(&image, "one too many", 12), 0);
    image_free(&image);
}

Test(image, clearing_keeps_regions_and_names) {
    struct image image = new_image();
    set_bounds(&image);
    const uint32_t site = image_site(&image, "a.c", 3);
    add_live(&image, 0x20004018, 0x80);
    cr_assert(image_finish(&image));
    image_clear_blocks(&image);
    cr_assert_eq(image.block_count, 0);
    cr_assert_eq(image.regions[0].live_blocks, 0);
    cr_assert_eq(image.regions[0].start, 0x20004000);
    cr_assert_eq(image_site(&image, "a.c", 3), site);
    image_free(&image);
}

/* --- Findings --------------------------------------------------------------------------- */

Test(image, findings_come_worst_first_certain_first_and_else_in_their_order) {
    static const struct {
        enum verdict verdict;
        bool certain;
        uint32_t address;
    } added[] = {{VERDICT_LEAK, true, 1},      {VERDICT_OVERFLOW, false, 2},
                 {VERDICT_EXCEPTION, true, 3}, {VERDICT_OVERFLOW, true, 4},
                 {VERDICT_LEAK, true, 5},      {VERDICT_OVERFLOW, false, 6}};
    static const uint32_t expected[] = {4, 2, 6, 1, 5, 3};
    struct findings findings = {0};
    for (size_t i = 0; i < 6; ++i) {
        struct finding *finding = findings_add(&findings, added[i].verdict, added[i].certain);
        cr_assert_not_null(finding);
        finding->address = added[i].address;
    }
    findings_sort(&findings);
    for (size_t i = 0; i < 6; ++i) {
        cr_assert_eq(findings.list[i].address, expected[i], "%zu: %" PRIu32, i,
                     findings.list[i].address);
    }
    for (size_t i = 0; i < 100; ++i) { /* the list grows on after it was sorted */
        cr_assert_not_null(findings_add(&findings, VERDICT_CLEAN, true));
    }
    cr_assert_eq(findings.count, 106);
    findings_free(&findings);
}

Test(image, evidence_is_appended_to) {
    struct findings findings = {0};
    struct finding *finding = findings_add(&findings, VERDICT_OVERFLOW, true);
    cr_assert(finding_evidence(finding, "%d%%\n", 5));
    cr_assert(finding_evidence(finding, "%s\n", "more"));
    cr_assert_str_eq(finding->evidence, "5%\nmore\n");
    cr_assert_str_eq(verdict_name(VERDICT_USE_AFTER_FREE), "use-after-free");
    cr_assert_str_eq(verdict_name(VERDICT_COUNT), "unknown");
    findings_free(&findings);
}
