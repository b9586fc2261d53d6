/* SPDX-License-Identifier: Apache-2.0
 *
 * What the recorder keeps and prints, word for word: each event as it stands in the ring, each
 * line as sim/recorder-format.md says it. test_recorder shows that a host can read it back.
 */
#include "../core/wm_heap_recorder.h"
#include "heap_fixture.h"

#include <stdlib.h>

#undef wm_heap_caps_alloc
#undef wm_heap_caps_realloc

TestSuite(recorder_lines, .timeout = 60);

#define RING 8u
#define FILE_NAME "src/main.c"

/* --- a board ---------------------------------------------------------------------------------- */

static struct {
    struct wm_heap_record ring[RING];
    char printed[1 << 16];
    size_t length;
    char expected[1 << 16];
    size_t wanted;
    uint32_t line; /* the next one's number */
    uint32_t options;
    bool stops; /* at the first line that is printed */
} board;

static uint32_t task;
uint32_t wm_heap_recorder_task(void) { return task; }

static void take_text(void *context, const char *text, size_t length) {
    (void)context;
    cr_assert_lt(board.length + length, sizeof board.printed);
    memcpy(board.printed + board.length, text, length);
    board.length += length;
    if (board.stops) {
        wm_heap_recorder_stop();
    }
}

static void ignore_event(void *context, const struct w800_event *event) {
    (void)context;
    (void)event;
}

static void board_start(const struct heap_build *build, uint32_t options) {
    memset(&board, 0, sizeof board);
    task = 0;
    machine_start_heap(build, 2 * MIB);
    w800_on_print(take_text, NULL);
    w800_on_event(ignore_event, NULL);
    board.options = options;
    wm_heap_recorder_start(board.ring, RING, options);
}

/* --- the lines that are expected ----------------------------------------------------------------
 */

static uint32_t crc(const char *text, size_t length) {
    uint32_t sum = ~0u;
    while (length-- > 0) {
        sum ^= (uint8_t)*text++;
        for (int bit = 0; bit < 8; bit++) {
            sum = (sum & 1u) != 0 ? (sum >> 1) ^ 0xedb88320u : sum >> 1;
        }
    }
    return ~sum;
}

/* The next line: what stands between its number and its checksum. */
__attribute__((format(printf, 1, 2))) static void expect(const char *format, ...) {
    char *line = board.expected + board.wanted;
    va_list arguments;
    va_start(arguments, format);
    int length = sprintf(line, "@wmrec1 %08x ", board.line++);
    length += vsprintf(line + length, format, arguments);
    va_end(arguments);
    line[length++] = ' ';
    length += sprintf(line + length, "*%08x\r\n", crc(line, (size_t)length));
    board.wanted += (size_t)length;
}

static void expect_header(uint32_t total) {
    uint32_t bytes =
        16u + ((board.options & 1) != 0 ? 8u : 0u) + ((board.options & 6) != 0 ? 8u : 0u);
    expect("H %x %x %x %x", board.options, bytes, RING, total);
    for (uint32_t i = 0; i < w800_config()->region_count; i++) {
        const struct wm_heap_region_config *row = &w800_config()->regions[i];
        expect("R %x %x %x %x %x %s", i, row->start, row->end, row->caps, row->deferred, row->name);
    }
}

/* What was printed since is what was expected. */
static void check_lines(const char *when) {
    CHECK(board.length == board.wanted && memcmp(board.printed, board.expected, board.wanted) == 0,
          "%s: printed\n%.*s\nexpected\n%.*s", when, (int)board.length, board.printed,
          (int)board.wanted, board.expected);
    board.length = board.wanted = 0;
}

/* What was printed before the test's own lines. */
static void learn_line_number(void) {
    wm_heap_recorder_flush(false);
    board.line = (uint32_t)strtoul(board.printed + strlen("@wmrec1 "), NULL, 16);
    board.length = 0;
    board.line += 1 + w800_config()->region_count;
}

/* --- events in the ring -------------------------------------------------------------------------
 */

static void check_record(uint32_t index, uint32_t what, const void *pointer, uint64_t size,
                         uint32_t site) {
    const struct wm_heap_record *record = &board.ring[index];
    CHECK_EQ(record->what, what, "what");
    CHECK_EQ(record->pointer, (uint32_t)(uintptr_t)pointer, "pointer");
    CHECK_EQ(record->size, size, "size");
    CHECK_EQ(record->site, site, "site");
}

#define WHAT(kind, caps, line) ((kind) | (uint32_t)(caps) << 3 | task << 8 | (uint32_t)(line) << 16)

static void record_hooks(const struct heap_build *build) {
    board_start(build, 1);
    task = 5;
    uint32_t site = wm_heap_port_site(FILE_NAME);
    uint32_t block = block_bytes(build, 100);
    void *a = wm_heap_caps_alloc_tracing(100, SRAM_CAPS, FILE_NAME, 31);
    check_record(0, WHAT(WM_HEAP_RECORD_ALLOC, SRAM_CAPS, 31), a, 100, site);
    CHECK(board.ring[0].caller != 0, "nobody called");
    void *b = wm_heap_caps_alloc(50, EXEC);
    check_record(1, WHAT(WM_HEAP_RECORD_ALLOC, EXEC, 0), b, 50, 0);
    void *c = wm_heap_caps_realloc_tracing(a, 200, EXEC, FILE_NAME, 32);
    check_record(2, WHAT(WM_HEAP_RECORD_REALLOC_OLD, EXEC, 32), a, block, site);
    check_record(3, WHAT(WM_HEAP_RECORD_REALLOC_NEW, EXEC, 32), c, 200, (uint32_t)(uintptr_t)a);
    CHECK_EQ(board.ring[3].caller, block, "the old size");
    void *d = wm_heap_caps_realloc(NULL, 10, EXEC);
    check_record(4, WHAT(WM_HEAP_RECORD_ALLOC, EXEC, 0), d, 10, 0);
    void *e = wm_heap_caps_realloc(d, 0, EXEC);
    check_record(5, WHAT(WM_HEAP_RECORD_REALLOC_OLD, EXEC, 0), d, block_bytes(build, 10), 0);
    check_record(6, WHAT(WM_HEAP_RECORD_REALLOC_NEW, EXEC, 0), e, 0, (uint32_t)(uintptr_t)d);
    wm_heap_caps_free(NULL);
    wm_heap_caps_free(c);
    check_record(7, WHAT(WM_HEAP_RECORD_FREE, 0, 0), c, block_bytes(build, 200), 0);
    CHECK(wm_heap_append_to_heap("PSRAM") != WM_ERR_SUCCESS, "it joins twice");
    check_record(0, WHAT(WM_HEAP_RECORD_APPEND, 0, 0), NULL, 0, wm_heap_port_site("PSRAM"));
    CHECK(wm_heap_caps_alloc((size_t)UINT32_MAX + 9, EXEC) == NULL, "4 GiB");
    check_record(1, WHAT(WM_HEAP_RECORD_ALLOC, EXEC, 0), NULL, UINT32_MAX, 0);
    wm_heap_record_alloc(b, UINT32_MAX, 0x20, FILE_NAME, 65535, 7);
    check_record(2, WHAT(WM_HEAP_RECORD_ALLOC, 0x1f, 0xffff), b, UINT32_MAX, site);
    wm_heap_record_alloc(b, 1, 0x1f, FILE_NAME, 65536, 7);
    check_record(3, WHAT(WM_HEAP_RECORD_ALLOC, 0x1f, 0xffff), b, 1, site);
    wm_heap_record_alloc(b, 1, 0x1e, FILE_NAME, 65534, 7);
    check_record(4, WHAT(WM_HEAP_RECORD_ALLOC, 0x1e, 0xfffe), b, 1, site);
    task = 0x1ff;
    wm_heap_record_free(b, 9);
    task = 0xff;
    check_record(5, WHAT(WM_HEAP_RECORD_FREE, 0, 0), b, block_bytes(build, 50), 0);
    CHECK_EQ(board.ring[5].caller, 9, "the caller");
    wm_heap_record_append("PSRAM", true, 0);
    CHECK_EQ(board.ring[6].pointer, 1, "joined");
    wm_heap_recorder_stop();
    wm_heap_record_free(b, 9);
    CHECK_EQ(board.ring[7].pointer, (uint32_t)(uintptr_t)c, "an event after the stop");
}

Test(recorder_lines, each_call_of_the_heap_is_an_event_of_the_ring) {
    in_every_build(record_hooks);
}

/* --- lines ---------------------------------------------------------------------------------------
 */

#define POINTER ((void *)0x20004568)

static void print_events(const struct heap_build *build) {
    board_start(build, (build->tracing ? 1 : 0) | (build->comprehensive ? 4
                                                   : build->poisoned    ? 2
                                                                        : 0));
    learn_line_number();
    uint32_t site = wm_heap_port_site(FILE_NAME);
    uint32_t other = wm_heap_port_site("a name of 49 characters, !blanks~ and \x7f or \x1f ....");
    wm_heap_record_alloc(POINTER, 0x64, EXEC, FILE_NAME, 0x1f, 0x8012345);
    wm_heap_record_alloc(POINTER, 1, EXEC, NULL, 0, 0);
    wm_heap_record_realloc_new(POINTER, 0, POINTER, 0, 0, 0x80);
    wm_heap_record_alloc(NULL, 0x10, EXEC, wm_heap_port_site_name(other), 1, 2);
    wm_heap_record_alloc(NULL, 0xabcdef0, EXEC, FILE_NAME, 0, 0);
    wm_heap_recorder_flush(false);
    expect_header(5);
    expect("N %x a 0 src/main.c", site);
    expect("E 0 1f0041 20004568 64 8012345 %x", site);
    expect("E 1 41 20004568 1 0 0");
    expect("E 2 4 20004568 0 80 20004568");
    expect("N %x 31 0 a_name_of_49_characters,_!blanks~_and___or___...", other);
    expect("N %x 31 30 .", other);
    expect("E 3 10041 0 10 2 %x", other);
    expect("E 4 41 0 abcdef0 0 %x", site);
    expect_header(5);
    check_lines("five events");
    wm_heap_recorder_flush(false);
    expect_header(5);
    check_lines("none since");
    wm_heap_record_free(NULL, 1);
    wm_heap_record_append(FILE_NAME, true, 3);
    wm_heap_recorder_flush(false);
    expect_header(6);
    expect("N %x a 0 src/main.c", site);
    expect("E 5 5 1 0 3 %x", site);
    expect_header(6);
    check_lines("one since");
    wm_heap_recorder_stop();
    wm_heap_recorder_flush(true);
    check_lines("after the stop");
}

Test(recorder_lines, events_are_printed_once_each_with_their_names) {
    in_every_build(print_events);
}

/* A ring of 8 keeps the last 8 of 9; a snapshot says what is live. */
static void print_overrun(const struct heap_build *build) {
    board_start(build, 1);
    learn_line_number();
    for (uint32_t i = 0; i <= RING; i++) {
        wm_heap_record_alloc(NULL, i, EXEC, NULL, 0, 0);
    }
    wm_heap_recorder_flush(false);
    expect_header(9);
    for (uint32_t i = 1; i <= RING; i++) {
        expect("E %x 41 0 %x 0 0", i, i);
    }
    expect("S 1 0");
    expect_header(9);
    check_lines("nine events in a ring of eight");
    for (uint32_t i = 0; i < RING; i++) {
        wm_heap_record_alloc(NULL, i, EXEC, NULL, 0, 0);
    }
    wm_heap_recorder_flush(false);
    expect_header(17);
    for (uint32_t i = 0; i < RING; i++) {
        expect("E %x 41 0 %x 0 0", 9 + i, i);
    }
    expect_header(17);
    check_lines("eight events");
}

Test(recorder_lines, what_was_overwritten_is_skipped_for_a_snapshot) {
    in_every_build(print_overrun);
}

/* 25 live blocks take three walks, and more than 32 lines of contents. */
static void print_snapshot(const struct heap_build *build) {
    uint32_t pointers[25];
    board_start(build, 1);
    for (uint32_t i = 0; i < COUNT(pointers); i++) {
        pointers[i] = w800_address(build->alloc(100 + i, EXEC, FILE_NAME, (int)i));
    }
    uint32_t dram = w800_address(build->alloc(9, SHARED, FILE_NAME, 77));
    build->free(w800_pointer(pointers[3]));
    pointers[3] = 0;
    learn_line_number();
    for (uint32_t i = 0; i < RING; i++) {
        wm_heap_record_alloc(NULL, i, EXEC, NULL, 0, 0);
    }
    wm_heap_recorder_flush(true);
    uint32_t site = build->tracing ? wm_heap_port_site(FILE_NAME) : 0;
    expect_header(8);
    for (uint32_t i = 0; i < RING; i++) {
        expect("E %x 41 0 %x 0 0", i, i);
    }
    uint32_t contents = RING;
    for (uint32_t i = 0; i < COUNT(pointers); i++) {
        if (pointers[i] != 0) {
            if (contents++ == 32) {
                expect_header(8);
            }
            if (contents == RING + 1 && build->tracing) {
                expect("N %x a 0 src/main.c", site);
            }
            expect("B 1 8 %x %x 8 %x %x", pointers[i], block_bytes(build, 100 + i), site,
                   build->tracing ? i : 0);
        }
    }
    CHECK_EQ(contents, 32, "lines of contents");
    expect_header(8);
    expect("B 1 8 %x %x 10 %x %x", dram, block_bytes(build, 9), site, build->tracing ? 77 : 0);
    expect("S 1 19");
    expect_header(8);
    check_lines("a snapshot");
}

Test(recorder_lines, a_snapshot_lists_all_live_blocks) { in_every_build(print_snapshot); }

Test(recorder_lines, beside_the_sdk_its_own_list_is_the_snapshot) {
    board_start(heap_build_find(true, 0), 0x20 | 1);
    learn_line_number();
    wm_heap_recorder_flush(true);
    expect("T 1 0");
    size_t length = board.wanted;
    CHECK(strncmp(board.printed, board.expected, length) == 0, "%s", board.printed);
    CHECK(strstr(board.printed, "summary: malloc size 0, malloc count 0\r\n@wmrec1 ") != NULL, "%s",
          board.printed);
    w800_stop();
}

Test(recorder_lines, a_recorder_stopped_in_between_prints_no_more_events) {
    board_start(heap_build_find(true, 0), 1);
    learn_line_number();
    wm_heap_record_alloc(NULL, 1, EXEC, NULL, 0, 0);
    wm_heap_record_alloc(NULL, 2, EXEC, NULL, 0, 0);
    board.stops = true;
    wm_heap_recorder_flush(false);
    expect_header(2);
    expect("E 0 41 0 1 0 0");
    expect_header(2);
    check_lines("stopped by its console");
    w800_stop();
}

/* --- names
 * ----------------------------------------------------------------------------------------- */

/* 16 names are remembered; the 17th sends the first away. */
Test(recorder_lines, a_name_is_repeated_when_sixteen_others_were_printed_since) {
    static const char *const names[] = {"a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8",
                                        "a9", "aa", "ab", "ac", "ad", "ae", "af", "b0"};
    board_start(heap_build_find(true, 0), 1);
    uint32_t blocks[COUNT(names) + 2];
    uint32_t lines = 0;
    for (uint32_t i = 0; i < COUNT(blocks); i++) {
        const char *name = names[i < COUNT(names) ? i : i == COUNT(names) ? COUNT(names) - 1 : 0];
        blocks[i] = w800_address(heap_build_find(true, 0)->alloc(1, EXEC, name, 0));
    }
    wm_heap_recorder_flush(true);
    for (const char *at = board.printed; (at = strstr(at, " N ")) != NULL; at++) {
        lines++;
    }
    CHECK_EQ(lines, COUNT(names) + 1, "names printed");
    CHECK(blocks[0] != 0, "no memory");
    w800_stop();
}

Test(recorder_lines, a_name_is_cut_after_1023_characters) {
    static char name[1100];
    memset(name, 'n', sizeof name - 1);
    board_start(heap_build_find(true, 0), 1);
    wm_heap_record_alloc(NULL, 1, EXEC, name, 0, 0);
    wm_heap_recorder_flush(false);
    uint32_t handle = wm_heap_port_site(name);
    char expected[64];
    snprintf(expected, sizeof expected, " N %x 3ff 3f0 nnnnnnnnnnnnnnn *", handle);
    CHECK(strstr(board.printed, expected) != NULL, "no %s in %s", expected, board.printed);
    w800_stop();
}

/* A handle that is nobody's has no name, and the event is printed all the same. */
Test(recorder_lines, a_handle_without_a_name_is_only_a_number) {
    board_start(heap_build_find(true, 0), 1);
    learn_line_number();
    wm_heap_record_alloc(NULL, 1, EXEC, FILE_NAME, 0, 0);
    board.ring[0].site = 0x7777;
    wm_heap_recorder_flush(false);
    expect_header(1);
    expect("E 0 41 0 1 0 7777");
    expect_header(1);
    check_lines("a handle without a name");
    w800_stop();
}

/* --- the port's table
 * -------------------------------------------------------------------------------- */

static struct w800_config *config_of_machine(void) {
    struct w800_config *config;
    const struct w800_config *running = w800_config();
    memcpy(&config, &running, sizeof config);
    return config;
}

Test(recorder_lines, a_row_too_many_is_not_printed) {
    board_start(heap_build_find(true, 0), 1);
    learn_line_number();
    expect_header(0);
    config_of_machine()->region_count = WM_HEAP_REGIONS_MAX + 1;
    wm_heap_recorder_flush(false);
    check_lines("four rows");
    wm_heap_recorder_flush(true);
    config_of_machine()->region_count = WM_HEAP_REGIONS_MAX;
    expect("S 1 0");
    expect_header(0);
    check_lines("a snapshot of four rows");
    w800_stop();
}

/* A line has 112 characters and an end, whatever is to stand there. */
Test(recorder_lines, a_region_with_a_long_name_has_a_whole_line) {
    static char name[200];
    memset(name, 'r', sizeof name - 1);
    board_start(heap_build_find(true, 0), 1);
    learn_line_number();
    config_of_machine()->regions[0].name = name;
    wm_heap_recorder_flush(false);
    const char *line = strchr(board.printed, '\n') + 1;
    const char *end = strstr(line, "\r\n");
    CHECK_EQ(end - line, 110, "its length");
    CHECK(strncmp(end - 11, "r *", 2) == 0 || end[-9] == '*', "%.112s", line);
    char sum[16];
    snprintf(sum, sizeof sum, "*%08x", crc(line, (size_t)(end - line) - 9));
    CHECK(strncmp(end - 9, sum, 9) == 0, "%.112s", line);
    w800_stop();
}

/* --- faults
 * -------------------------------------------------------------------------------------------- */

/* What shows the damage: at the block or at the address, so many bytes. */
static const struct {
    enum wm_heap_fault_kind kind;
    bool at_block;
    uint32_t bytes; /* 0: none; HEADER: a header */
} extents[] = {
#define HEADER 1000u
    {WM_HEAP_FAULT_NOT_INITIALIZED, false, 0},
    {WM_HEAP_FAULT_BAD_REGION, false, 0},
    {WM_HEAP_FAULT_FOREIGN_POINTER, false, 0},
    {WM_HEAP_FAULT_INTERIOR_POINTER, false, 0},
    {WM_HEAP_FAULT_DOUBLE_FREE, false, 0},
    {WM_HEAP_FAULT_SMASHED_HEADER, true, HEADER},
    {WM_HEAP_FAULT_SMASHED_END_MARKER, true, HEADER},
    {WM_HEAP_FAULT_SMASHED_FREE_BLOCK, true, 24},
    {WM_HEAP_FAULT_UNDERFLOW, false, 4},
    {WM_HEAP_FAULT_OVERFLOW, false, 1},
    {WM_HEAP_FAULT_USE_AFTER_FREE, false, 4},
};

static void expect_fault(const struct wm_heap_fault *fault, uint32_t address, uint32_t bytes) {
    expect("F 1 %x %x %x %x %x %x %x", fault->kind, fault->check, fault->block, fault->pointer,
           fault->address, fault->expected, fault->actual);
    char text[80] = "";
    for (uint32_t i = 0; i < bytes; i++) {
        sprintf(text + (size_t)2 * i, "%02x", 0x80 + address % 64 + i);
    }
    if (bytes != 0) {
        expect("M %x %s", address, text);
    }
}

static void print_fault(const struct heap_build *build, size_t row, uint32_t region,
                        uint32_t address) {
    struct wm_heap_fault fault = {.kind = extents[row].kind,
                                  .check = 3,
                                  .region = region,
                                  .block = 0x20005000,
                                  .pointer = 0x20005018,
                                  .address = address,
                                  .expected = 0x5a,
                                  .actual = 0x41};
    uint32_t header = build->header_size;
    board_start(build, (build->tracing ? 1 : 0) | (build->comprehensive ? 4
                                                   : build->poisoned    ? 2
                                                                        : 0));
    learn_line_number();
    for (uint32_t i = 0; i < 64; i++) {
        *(uint8_t *)w800_pointer(0x20005000 + i) = (uint8_t)(0x80 + i);
    }
    wm_heap_record_alloc(NULL, 1, EXEC, NULL, 0, 0);
    wm_heap_record_fault(&fault);
    struct wm_heap_fault later = {
        .kind = WM_HEAP_FAULT_OVERFLOW, .region = 0, .address = 0x20005001};
    wm_heap_record_fault(&later); /* only the first counts */
    wm_heap_recorder_flush(false);
    uint32_t where = extents[row].at_block ? fault.block : address;
    uint32_t bytes = extents[row].bytes == HEADER ? header : extents[row].bytes;
    bool kept = region != WM_HEAP_NO_REGION && where != 0;
    expect_header(1);
    expect_fault(&fault, where, kept ? bytes : 0);
    expect("E 0 41 0 1 0 0");
    expect_header(1);
    expect_fault(&fault, where, kept ? bytes : 0);
    check_lines(wm_heap_fault_name(fault.kind));
    wm_heap_recorder_start(board.ring, RING, board.options);
    board.line = 0;
    wm_heap_recorder_flush(false);
    expect_header(0);
    check_lines("a fault of before");
    wm_heap_recorder_stop();
    wm_heap_record_fault(&later);
    wm_heap_recorder_start(board.ring, RING, board.options);
    board.line = 0;
    wm_heap_recorder_flush(false);
    expect_header(0);
    check_lines("a fault while it was stopped");
}

static void print_faults(const struct heap_build *build) {
    for (size_t row = 0; row < COUNT(extents); row++) {
        print_fault(build, row, 0, 0x20005010);
        print_fault(build, row, 0, 0);
        print_fault(build, row, WM_HEAP_NO_REGION, 0x20005010);
    }
}

Test(recorder_lines, the_first_fault_is_shown_with_the_bytes_that_were_there) {
    in_every_build(print_faults);
}
