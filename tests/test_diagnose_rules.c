/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules that turn what a log shows into findings, each on the smallest log that shows it:
 * leaks and churn, crashes, boots, failed requests.
 */
#include "diagnose_fixture.h"

#include <inttypes.h>
#include <stdio.h>

#include "field_variants.h"

TestSuite(diagnose_rules, .timeout = 60);

static struct diagnosis diagnose_log_text(const char *text) {
    struct diagnosis diagnosis;
    char error[256] = "";
    cr_assert(diagnose_text(text, strlen(text), &diagnosis, error, sizeof error), "%s", error);
    return diagnosis;
}

static void expect_verdict(const char *text, const char *verdict) {
    struct diagnosis diagnosis = diagnose_log_text(text);
    const char *got = verdict_name(diagnosis_verdict(&diagnosis));
    cr_expect_str_eq(got, verdict, "%s, not %s, of:\n%s", got, verdict, text);
    diagnosis_free(&diagnosis);
}

/* --- leaks ---------------------------------------------------------------------------------- */

/* A boot with lists: each site's number of blocks in each list, and whether its blocks stay
 * or are others each time. */
struct site_plan {
    const char *site;
    bool stays;
    unsigned blocks[8];
};

static char *make_lists(const struct site_plan *plan, size_t sites, size_t lists) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    fputs("[I] (138) main: wm iot sdk v2.4\r\n", out);
    for (size_t k = 0; k < lists; k++) {
        unsigned index = 0;
        for (size_t i = 0; i < sites; i++) {
            for (unsigned b = 0; b < plan[i].blocks[k]; b++, index++) {
                /* Blocks that come and go lie elsewhere in each list. */
                size_t at = i * 512 + (plan[i].stays ? b : (b + k * 64) % 512);
                fprintf(out, "%u\t0x%08zx\t%s\t32\r\n", index, 0x20008000 + at * 32, plan[i].site);
            }
        }
        fprintf(out, "summary: malloc size %u, malloc count %u\r\n", 32 * index, index);
        fprintf(out, "[I] (%zu) app: poll\r\n", 1000 * (k + 1));
    }
    fclose(out);
    return text;
}

#define CHURN                                                                                      \
    {"/a.c:1", false, {2, 5, 3, 4, 2, 6, 1, 3}}, {"/a.c:2", false, {4, 1, 6, 2, 5, 3, 4, 2}},      \
        {"/a.c:3", true, {5, 5, 5, 5, 5, 5, 5, 5}}, {"/a.c:4", false, {0, 3, 1, 2, 4, 0, 2, 1}}, { \
        "/a.c:5", false, { 3, 3, 2, 5, 1, 2, 3, 4 }                                                \
    }

Test(diagnose_rules, tells_leaks_from_churn) {
    static const struct {
        struct site_plan site;
        size_t lists;
        bool leak;
        const char *why;
    } cases[] = {
        {{"/x.c:9", true, {5, 20, 40, 62}}, 4, true, "grows and stays"},
        {{"/x.c:9", true, {1, 9, 18}}, 3, true, "grows slowly, for three lists"},
        {{"/x.c:9", true, {3, 30}}, 2, true, "grows strongly between two lists"},
        {{"/x.c:9", true, {3, 8}}, 2, false, "two lists, hardly more"},
        {{"/x.c:9", false, {5, 20, 40, 62}}, 4, false, "other blocks each time"},
        {{"/x.c:9", true, {5, 60, 4, 50, 6, 61, 5}}, 7, false, "comes and goes"},
        {{"/x.c:9", true, {5, 40, 40, 40, 40, 40}}, 6, false, "grows once, then holds"},
        {{"/x.c:9", true, {40, 40, 40, 40, 40, 45}}, 6, false, "grows a little at the end"},
        {{"/x.c:9", true, {60, 40, 20, 5}}, 4, false, "shrinks"},
        {{"/x.c:9", true, {8, 9, 10, 8, 9, 10, 11, 9}}, 8, false, "wanders"},
        {{"/x.c:9", true, {90, 90, 90}}, 3, false, "is just large"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct site_plan plan[] = {CHURN, cases[i].site};
        char *text = make_lists(plan, COUNT(plan), cases[i].lists);
        struct diagnosis diagnosis = diagnose_log_text(text);
        bool leak = diagnosis_verdict(&diagnosis) == VERDICT_LEAK;
        cr_expect_eq(leak, cases[i].leak, "%s: %s", cases[i].why,
                     verdict_name(diagnosis_verdict(&diagnosis)));
        cr_expect(!leak || (diagnosis.findings.count == 1 &&
                            strcmp(diagnosis.findings.list[0].site, "/x.c:9") == 0),
                  "%s: %s", cases[i].why, diagnosis.findings.list[0].site);
        diagnosis_free(&diagnosis);
        free(text);
    }
}

Test(diagnose_rules, a_leak_starts_anew_at_each_boot) {
    struct site_plan plan[] = {CHURN, {"/x.c:9", true, {60, 1, 30}}};
    char *boot = make_lists(plan, COUNT(plan), 1);
    char *text = NULL;
    cr_assert_geq(asprintf(&text, "%s%s%s", boot, boot, boot), 0);
    expect_verdict(text, "clean");
    free(text);
    free(boot);
}

/* A day of lists: the samples thin out, the leak stays. */
Test(diagnose_rules, sees_a_leak_over_a_thousand_lists) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    for (unsigned k = 0; k < 1000; k++) {
        unsigned leaked = 2 + k / 10;
        unsigned index = 0;
        for (; index < leaked; index++) {
            fprintf(out, "%u\t0x%08x\t/x.c:9\t32\r\n", index, 0x20008000 + 32 * index);
        }
        for (unsigned i = 0; i < 3 + k % 5; i++, index++) {
            fprintf(out, "%u\t0x%08x\t/a.c:%u\t32\r\n", index, 0x20018000 + 32 * (k * 7 + i), i);
        }
        fprintf(out, "summary: malloc size %u, malloc count %u\r\n", 32 * index, index);
    }
    fclose(out);
    struct diagnosis diagnosis = diagnose_log_text(text);
    cr_expect_eq(diagnosis_verdict(&diagnosis), VERDICT_LEAK);
    cr_expect_str_eq(diagnosis.findings.list[0].site, "/x.c:9");
    diagnosis_free(&diagnosis);
    free(text);
}

Test(diagnose_rules, totals_alone_leak_only_if_they_fall_steadily) {
    static const struct {
        unsigned totals[10];
        size_t count;
        const char *verdict;
    } cases[] = {
        {{239928, 238984, 237424}, 3, "clean"},
        {{240000, 236000, 232100, 228000, 224200, 220000, 216100, 212000}, 8, "leak"},
        {{240000, 236000, 236100, 228000, 224200, 226000, 216100, 212000}, 8, "clean"},
        {{240000, 239900, 239800, 239700, 239600, 239500, 239400, 239300}, 8, "clean"},
        {{240000, 180000, 179900, 179800, 179000, 178900, 178800, 178000}, 8, "clean"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[2048] = "[I] (138) main: wm iot sdk v2.4\r\n";
        for (size_t k = 0; k < cases[i].count; k++) {
            size_t length = strlen(text);
            unsigned total = cases[i].totals[k];
            snprintf(text + length, sizeof text - length, "heap remain %u (%.2fKB):\r\n", total,
                     total / 1024.0);
        }
        expect_verdict(text, cases[i].verdict);
    }
}

/* --- crashes -------------------------------------------------------------------------------- */

#define BOOT "[I] (138) main: wm iot sdk v2.4\r\n[I] (200) app: poll\r\n"
#define HEAP_ASSERT(expression, line, function)                                                    \
    "assertion \"" expression "\" failed: file \"/sdk/wm_heap.c\", line " line                     \
    ", function: " function "\r\n"
#define TRAP "\r\nCPU Exception : 16\r\nException name: Trap instruction exception\r\n"

Test(diagnose_rules, tells_what_each_assertion_means) {
    static const struct {
        const char *text;
        const char *verdict;
    } cases[] = {
        {HEAP_ASSERT("(link->block_size & heap->block_allocated_bit) != 0", "253", "heap_free"),
         "double-free"},
        {HEAP_ASSERT("(link->block_size & heap->block_allocated_bit) != 0", "484", "heap_realloc"),
         "double-free"},
        {HEAP_ASSERT("link->next_free_block == NULL", "254", "heap_free"), "smashed-header"},
        {HEAP_ASSERT("link->corruption_magic == 0xA5A5A5A5", "262", "heap_free"), "underflow"},
        {HEAP_ASSERT("*(uint32_t *)(puc) == 0x5A5A5A5A", "270", "heap_free"), "overflow"},
        {HEAP_ASSERT("memory->heap.end != NULL", "138", "heap_malloc"), "assert"},
        {HEAP_ASSERT("(li~~->bl~~k_si~e", "253", "heap_free"), "double-free"},
        {"assertion \"rc == 0\" failed: file \"/app/main.c\", line 253, function: app\r\n",
         "assert"},
        {"", "exception"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[1024];
        snprintf(text, sizeof text, BOOT "%s" TRAP, cases[i].text);
        expect_verdict(text, cases[i].verdict);
    }
}

/* The line of core/port/w800_port.c; its file and line are the block's. */
Test(diagnose_rules, reads_what_our_own_core_says_on_the_board) {
    static const struct {
        const char *kind, *file, *verdict, *site;
    } cases[] = {
        {"double-free", "/app/x.c", "double-free", "/app/x.c:253"},
        {"interior-pointer", "", "invalid-free", ""},
        {"smashed-header", "heap_user.c", "smashed-header", "heap_user.c:253"},
        {"overflow", "/app/x.c", "overflow", "/app/x.c:253"},
        {"use-after-free", "", "use-after-free", ""},
        {"bad-append", "", "assert", ""},
        {"what", "/app/heap.c", "double-free", ""}, /* not ours: by the line */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[512];
        snprintf(text, sizeof text,
                 BOOT "assertion \"heap: %s of 0x20004138: header's seal matches its words, at "
                      "0x20004120 expected 0x00000000, found 0x41414141\" failed: file \"%s\", "
                      "line 253, function: wm_heap\r\n",
                 cases[i].kind, cases[i].file);
        struct diagnosis diagnosis = diagnose_log_text(text);
        cr_assert_eq(diagnosis.findings.count, 1, "%s: %zu", cases[i].kind,
                     diagnosis.findings.count);
        const struct finding *finding = &diagnosis.findings.list[0];
        cr_expect_str_eq(verdict_name(finding->verdict), cases[i].verdict, "%s: %s", cases[i].kind,
                         verdict_name(finding->verdict));
        cr_expect_str_eq(finding->site, cases[i].site, "%s: %s", cases[i].kind, finding->site);
        cr_expect_eq(finding->address, strcmp(cases[i].kind, "what") == 0 ? 0 : 0x20004138u);
        cr_expect_eq(finding->certain, true);
        diagnosis_free(&diagnosis);
    }
}

Test(diagnose_rules, a_corruption_without_an_assertion_leaves_the_word_open) {
    expect_verdict(BOOT "corruption detected in 0x2000ad70\r\n", "smashed-header");
    expect_verdict(BOOT "task[wifi] stack over flow\r\n" TRAP, "exception");
}

/* The corrupted block is missing in the list that is printed with it. */
Test(diagnose_rules, finds_the_block_whose_corruption_line_is_lost) {
    size_t length;
    char *log = field_read(FIELD "underflow-11.log", &length);
    char *line = strstr(log, "corruption detected");
    memset(line, '~', strcspn(line, "\r"));
    struct diagnosis diagnosis = diagnose_log_text(log);
    cr_assert_eq(diagnosis_verdict(&diagnosis), VERDICT_UNDERFLOW);
    cr_expect_eq(diagnosis.findings.list[0].address, 0x2000ad70);
    cr_expect_not(diagnosis.findings.list[0].certain);
    diagnosis_free(&diagnosis);
    free(log);
}

Test(diagnose_rules, an_exception_is_one_whatever_of_its_lines_is_lost) {
    static const char *const lines[] = {
        "CPU Exception : 2\r\n", "Exception name: Access error exception\r\n",
        "r0 : 0x20ad28a0\tr1 : 0x20f5e740\t\r\n", "pc : 0x08019f3a\r\n"};
    for (unsigned lost = 0; lost < 15; lost++) {
        char text[512] = BOOT;
        for (unsigned i = 0; i < COUNT(lines); i++) {
            if ((lost >> i & 1) == 0) {
                strcat(text, lines[i]);
            }
        }
        struct diagnosis diagnosis = diagnose_log_text(text);
        cr_assert_eq(diagnosis.findings.count, 1, "%s", text);
        cr_expect_eq(diagnosis.findings.list[0].verdict, VERDICT_EXCEPTION);
        cr_expect_eq(diagnosis.exception, (lost & 3) == 3 ? DIAGNOSE_NO_EXCEPTION : 2, "%s", text);
        diagnosis_free(&diagnosis);
    }
}

Test(diagnose_rules, a_crash_at_every_boot_is_one_finding) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    for (int i = 0; i < 1000; i++) {
        fputs(BOOT TRAP "pc : 0x08019f3a\r\n\r\n", out);
    }
    fclose(out);
    struct diagnosis diagnosis = diagnose_log_text(text);
    cr_assert_eq(diagnosis.findings.count, 1);
    cr_expect_not_null(strstr(diagnosis.findings.list[0].evidence, "the same 999 times more"));
    cr_expect_eq(diagnosis.pc, 0x08019f3a);
    diagnosis_free(&diagnosis);
    free(text);
}

/* Boots without a banner: the log time restarts. A garbled time is no boot. */
Test(diagnose_rules, log_time_that_restarts_is_a_boot) {
    static const char crash[] = "corruption detected in 0x2000ad70\r\n";
    char text[512];
    snprintf(text, sizeof text,
             "[I] (8000) a: b\r\n[I] (9000) a: b\r\n%s[I] (120) a: b\r\n[I] (180) a: b\r\n" TRAP,
             crash);
    struct diagnosis diagnosis = diagnose_log_text(text);
    cr_expect_eq(diagnosis.findings.count, 2, "the exception is of another boot");
    diagnosis_free(&diagnosis);
    snprintf(text, sizeof text,
             "[I] (8000) a: b\r\n[I] (9000) a: b\r\n%s[I] (120) a: b\r\n[I] (9050) a: b\r\n" TRAP,
             crash);
    diagnosis = diagnose_log_text(text);
    cr_expect_eq(diagnosis.findings.count, 1, "the exception follows from the corruption");
    diagnosis_free(&diagnosis);
}

/* --- failed requests ------------------------------------------------------------------------ */

#define STATS(total, sram, dram)                                                                   \
    "heap remain " total ":\r\n    SRAM remain " sram "\r\n    DRAM remain " dram "\r\n"
#define FULL STATS("1600 (1.56KB)", "400 (0.39KB)", "1200 (1.17KB)")
#define PLENTY STATS("120000 (117.19KB)", "60000 (58.59KB)", "60000 (58.59KB)")
#define PSRAM "    PSRAM remain 2097128 (2047.98KB)\r\n"

Test(diagnose_rules, reads_how_applications_say_that_memory_ran_out) {
    static const char *const refusals[] = {
        "malloc(2048) failed",       "alloc 2048 bytes failed",  "failed to allocate 2048 bytes",
        "no memory for 2048 bytes",  "Out of memory (2048)",     "calloc(1, 2048) failed!",
        "malloc returned NULL 2048", "cannot alloc size=2048",   "mem alloc fail, size: 2048",
        "pvPortMalloc 2048 failed",  "unable to allocate 2048B", "not enough memory: 2048",
    };
    static const char *const others[] = {
        "connect failed",       "memory check ok",           "allocated ip 192.168.1.45",
        "no memory leak found", "auth failed, 2048 retries", "dhcp alloc ok; dns failed",
    };
    char text[512];
    for (size_t i = 0; i < COUNT(refusals); i++) {
        snprintf(text, sizeof text, BOOT FULL "[E] (300) app: %s\r\n", refusals[i]);
        expect_verdict(text, "exhaustion");
    }
    for (size_t i = 0; i < COUNT(others); i++) {
        snprintf(text, sizeof text, BOOT FULL "[E] (300) app: %s\r\n", others[i]);
        expect_verdict(text, "clean");
    }
}

Test(diagnose_rules, full_regions_are_exhausted_and_scattered_ones_fragmented) {
    expect_verdict(BOOT PLENTY "[E] (300) app: malloc(4200) failed\r\n", "fragmentation");
    expect_verdict(BOOT PLENTY "[E] (300) app: malloc(70000) failed\r\n", "exhaustion");
    /* Free PSRAM does not help malloc. */
    expect_verdict(BOOT FULL PSRAM "[E] (300) app: malloc(2048) failed\r\n", "exhaustion");
    expect_verdict(BOOT FULL PSRAM "[E] (300) app: alloc(2048, SPIRAM) failed\r\n",
                   "fragmentation");
    /* The heap is printed after the complaint. */
    expect_verdict(BOOT "[E] (300) app: malloc(2048) failed\r\n" FULL, "exhaustion");
    expect_verdict(BOOT "[E] (300) app: malloc(2048) failed\r\n", "exhaustion");
}

Test(diagnose_rules, a_failed_request_is_judged_by_the_holes_of_an_image) {
    static const struct {
        uint32_t free_sram, hole_sram, free_dram, hole_dram;
        uint32_t size, caps;
        int verdict; /* -1: it would be served */
    } cases[] = {
        {60000, 300, 60000, 300, 4200, 1, VERDICT_FRAGMENTATION},
        {60000, 300, 60000, 4224, 4200, 1, -1},
        {60000, 300, 60000, 4216, 4200, 1, VERDICT_FRAGMENTATION},
        {400, 400, 1200, 1200, 2048, 1, VERDICT_EXHAUSTION},
        {1300, 1300, 1200, 1200, 2048, 1, VERDICT_EXHAUSTION},    /* two regions are not one */
        {60000, 60000, 400, 400, 2048, 0x11, VERDICT_EXHAUSTION}, /* only DRAM is SHARED */
        {400, 400, 60000, 60000, 2048, 0x0a, VERDICT_EXHAUSTION}, /* only SRAM is EXEC */
        {60000, 60000, 60000, 60000, 2048, 4, -1}, /* no PSRAM is known: nothing to say */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct image image;
        struct findings findings = {0};
        cr_assert(image_init(&image));
        image.header_size = 24;
        for (int k = 0; k < 2; k++) {
            struct image_region *region = &image.regions[k];
            region->present = region->has_free = region->has_blocks = true;
            region->start = k == 0 ? 0x20004120 : 0x20028000;
            region->end = region->start + 147144;
            region->free_bytes = k == 0 ? cases[i].free_sram : cases[i].free_dram;
            region->largest_free = k == 0 ? cases[i].hole_sram : cases[i].hole_dram;
        }
        cr_assert(diagnose_failed_request(&image, cases[i].size, cases[i].caps, &findings));
        int got = findings.count > 0 ? (int)findings.list[0].verdict : -1;
        cr_expect_eq(got, cases[i].verdict, "case %zu: %d", i, got);
        findings_free(&findings);
        image_free(&image);
    }
}

/* --- live and free bytes --------------------------------------------------------------------- */

/* Stats and a list that stand together, made of letters: each block has 64 bytes, 't' is the
 * Total's 4096 for no block, 'b' a block, 'x' one whose line is lost, 's' the summary, 'l' a
 * log line, 'p' 2 MiB more, 'w' 24 bytes fewer in Total. */
static void print_moment(FILE *out, const char *moment, unsigned *ms) {
    unsigned blocks = 0;
    unsigned total = 4096;
    for (const char *at = moment; *at != '\0'; at++) {
        blocks += *at == 'b' || *at == 'x';
        total += *at == 'p' ? 2u << 20 : 0;
        total -= *at == 'w' ? 24 : 0;
    }
    unsigned index = 0;
    total -= 64 * blocks;
    for (const char *at = moment; *at != '\0'; at++) {
        if (*at == 't') {
            fprintf(out,
                    "    Type     Current Size       \tMinimum Size\r\n"
                    "    Total    %-7u (%.2fKB)\t\t%-7u (%.2fKB)\r\n\r\nw800: heap\r\n",
                    total, total / 1024.0, total, total / 1024.0);
        } else if (*at == 'b') {
            fprintf(out, "%u\t0x%08x\t/a.c:7\t64\r\n", index, 0x20008018 + 64 * index);
        } else if (*at == 's') {
            fprintf(out, "summary: malloc size %u, malloc count %u\r\n", 64 * blocks, blocks);
        } else if (*at == 'l') {
            fprintf(out, "[I] (%u) app: poll\r\n", *ms += 10);
        }
        index += *at == 'b' || *at == 'x';
    }
    fprintf(out, "[I] (%u) app: poll\r\n", *ms += 10);
}

Test(diagnose_rules, live_and_free_bytes_that_do_not_add_up_are_told_beside_a_finding) {
    static const struct {
        const char *moments[4];
        const char *expected; /* in the evidence; NULL: neither of both */
        unsigned damaged;
    } cases[] = {
        {{"tbbbbs", "tbbbbbbs", "tbbs"}, NULL, 0},
        {{"tbbbbs", "tbbbbb"}, NULL, 0}, /* whole, though its summary is lost */
        {{"tbbbbs", "tbbbbbx"}, "lack 64 bytes of the 4096", 1},
        {{"tbbbbs", "tbbbbbxx", "tbbbs"}, "lack 128 bytes of the 4096", 1},
        {{"tbbbbs", "tbbbbbxs"}, "lack 64 bytes of the 4096", 1}, /* counted once */
        {{"tbbbbbx"}, NULL, 0},                                   /* nothing to compare it with */
        {{"tbbbbs", "twbbbbs"}, "4096 bytes on line 9, but to 4072 on line 19", 0},
        {{"twbbbbs", "tbbbbs", "tbbbs"}, "to 4096 bytes on line 28, but to 4072 on line 9", 0},
        {{"tbbbbs", "tpbbbbs", "tpbbs"}, NULL, 0},   /* PSRAM joined */
        {{"tbbbbs", "twlbbbbs", "tlbbbb"}, NULL, 0}, /* of two moments */
        {{"tbbbbs", "tpbbbs", "tpbbx"}, "lack 64 bytes of the 2101248", 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *text = NULL;
        size_t size = 0;
        unsigned ms = 100;
        FILE *out = open_memstream(&text, &size);
        cr_assert_not_null(out);
        for (size_t k = 0; cases[i].moments[k] != NULL; k++) {
            print_moment(out, cases[i].moments[k], &ms);
        }
        fputs("assertion \"0\" failed: file \"m.c\", line 3, function: f\r\n", out);
        fclose(out);
        struct diagnosis diagnosis = diagnose_log_text(text);
        cr_assert_eq(diagnosis.findings.count, 1, "case %zu: %zu", i, diagnosis.findings.count);
        const char *evidence = diagnosis.findings.list[0].evidence;
        bool told = strstr(evidence, " lack ") != NULL || strstr(evidence, "add up") != NULL;
        cr_expect_eq(told, cases[i].expected != NULL, "case %zu: %s", i, evidence);
        cr_expect(cases[i].expected == NULL || strstr(evidence, cases[i].expected) != NULL,
                  "case %zu: no \"%s\" in: %s\n%s", i, cases[i].expected, evidence, text);
        cr_expect_eq(diagnosis.damaged, cases[i].damaged, "case %zu: %" PRIu64 " damaged", i,
                     diagnosis.damaged);
        diagnosis_free(&diagnosis);
        free(text);
    }
}

/* --- the recorder --------------------------------------------------------------------------- */

/* Appends one of the recorder's lines, with its checksum: CRC-32. */
static void add_recorder_line(char *text, size_t room, unsigned sequence, const char *contents) {
    char line[160];
    uint32_t sum = UINT32_MAX;
    int length = snprintf(line, sizeof line, "@wmrec1 %08x %s ", sequence, contents);
    for (int i = 0; i < length; i++) {
        sum ^= (uint8_t)line[i];
        for (int bit = 0; bit < 8; bit++) {
            sum = sum >> 1 ^ ((sum & 1) != 0 ? UINT32_C(0xedb88320) : 0);
        }
    }
    size_t used = strlen(text);
    snprintf(text + used, room - used, "[09:00:00.618] %s*%08x\r\n", line, ~sum);
}

/* An allocation of 64 bytes at /app/x.c:7, its free, and one line more. */
static struct diagnosis diagnose_recording(const char *last) {
    char text[2048] = BOOT;
    add_recorder_line(text, sizeof text, 0, "N 8010500 8 0 /app/x.c");
    add_recorder_line(text, sizeof text, 1, "E 1 70101 20004138 40 8010999 8010500");
    add_recorder_line(text, sizeof text, 2, "E 2 2 20004138 58 8010aaa 0");
    add_recorder_line(text, sizeof text, 3, last);
    return diagnose_log_text(text);
}

Test(diagnose_rules, a_recording_tells_the_fault_and_the_block_s_history) {
    struct diagnosis diagnosis = diagnose_recording("F 2 1 1 0 20004138 0 0 0");
    cr_assert_eq(diagnosis.findings.count, 1);
    cr_expect_eq(diagnosis.findings.list[0].verdict, VERDICT_DOUBLE_FREE);
    cr_expect_eq(diagnosis.findings.list[0].address, 0x20004138);
    cr_expect_str_eq(diagnosis.findings.list[0].site, "/app/x.c:7");
    cr_expect_not_null(strstr(diagnosis.findings.list[0].evidence, "0x08010aaa"));
    diagnosis_free(&diagnosis);
}

Test(diagnose_rules, the_last_event_of_a_recording_is_the_call_that_crashed) {
    struct diagnosis diagnosis = diagnose_recording("E 3 2 20004138 0 8010bbb 0");
    cr_assert_eq(diagnosis.findings.count, 1);
    cr_expect_eq(diagnosis.findings.list[0].verdict, VERDICT_DOUBLE_FREE);
    diagnosis_free(&diagnosis);
    diagnosis = diagnose_recording("E 3 2 20004140 0 8010bbb 0");
    cr_assert_eq(diagnosis.findings.count, 1);
    cr_expect_eq(diagnosis.findings.list[0].verdict, VERDICT_INVALID_FREE);
    diagnosis_free(&diagnosis);
    diagnosis = diagnose_recording("E 3 70101 20004138 40 8010999 8010500");
    cr_expect_eq(diagnosis.findings.count, 0, "an allocation is no fault");
    diagnosis_free(&diagnosis);
}
