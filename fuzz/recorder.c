/* SPDX-License-Identifier: Apache-2.0
 *
 * The firmware's recorder, both ways. An input that does not begin with a byte of 0 is console
 * text: whatever comes in, what the reader keeps is in order, and becomes a trace or is refused
 * in one line. A random change almost never makes a line whose checksum is right, so the checksum
 * "xxxxxxxx" stands for the right one and is put in before the text is read.
 *
 * An input that begins with 0 is a program of calls, 8 bytes each, that core/recorder.c records
 * and prints, beside a heap with blocks for its snapshots; up to three bits of the print are
 * flipped on the way. What comes back are the events, the blocks and the fault that were recorded,
 * or it is missing and counted: a checksum of 32 bits sees any three.
 */
#include "../core/wm_heap_recorder.h"

#include <stdlib.h>
#include <string.h>

#include "../sim/recorder.h"
#include "../sim/w800.h"
#include "fuzz.h"
#include "outcome.h"

const char fuzz_name[] = "recorder";

/* --- what a recording must be ----------------------------------------------------------------- */

static void check_recording(const struct recording *recording) {
    const struct recorder_boot *boot = &recording->boot;
    FUZZ_CHECK(boot->event_count <= RECORDER_EVENTS_MAX && boot->event_count <= boot->event_room,
               "%zu events", boot->event_count);
    for (size_t i = 1; i < boot->event_count; i++) {
        FUZZ_CHECK(boot->events[i - 1].number < boot->events[i].number, "event %zu is not in order",
                   i);
    }
    FUZZ_CHECK(boot->name_count <= RECORDER_NAMES_MAX, "%zu names", boot->name_count);
    for (size_t i = 0; i < boot->name_count; i++) {
        const struct recorder_name *name = &boot->names[i];
        FUZZ_CHECK(i == 0 || name[-1].handle < name->handle, "name %zu is not in order", i);
        FUZZ_CHECK(name->got <= name->length && strlen(name->text) <= name->length,
                   "name %zu is longer than it is", i);
    }
    FUZZ_CHECK(boot->fault.memory_length <= RECORDER_MEMORY_MAX, "%u bytes of a fault",
               boot->fault.memory_length);
    FUZZ_CHECK(recording->damaged >= boot->damaged, "a boot has more damage than all have");
}

static void read_text(struct recording *recording, const uint8_t *text, size_t size) {
    FILE *console = outcome_open(text, size);
    recording_init(recording);
    FUZZ_CHECK(recording_read(recording, console), "out of memory");
    fclose(console);
    check_recording(recording);
}

/* --- console text ----------------------------------------------------------------------------- */

#define PREFIX "@wmrec1 "
#define PREFIX_BYTES (sizeof PREFIX - 1)
#define OPEN_SUM "*xxxxxxxx"
#define SUM_DIGITS 8u

/* CRC-32, plainly. */
static uint32_t checksum(const uint8_t *text, size_t length) {
    uint32_t sum = 0xffffffffu;
    for (size_t i = 0; i < length; i++) {
        sum ^= text[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            sum = sum >> 1 ^ ((0u - (sum & 1u)) & 0xedb88320u);
        }
    }
    return ~sum;
}

/* The last prefix between the line's begin and `star`; NULL if there is none. */
static const uint8_t *piece_of(const uint8_t *text, const uint8_t *star) {
    const uint8_t *at = star;
    while (at > text && at[-1] != '\n') {
        at--;
        if ((size_t)(star - at) >= PREFIX_BYTES && memcmp(at, PREFIX, PREFIX_BYTES) == 0) {
            return at;
        }
    }
    return NULL;
}

static void put_checksums(uint8_t *text, size_t size) {
    static const char digits[] = "0123456789abcdef";
    uint8_t *star = text;
    while ((star = memmem(star, (size_t)(text + size - star), OPEN_SUM, sizeof OPEN_SUM - 1)) !=
           NULL) {
        const uint8_t *piece = piece_of(text, star);
        uint32_t sum = piece != NULL ? checksum(piece, (size_t)(star - piece)) : 0;
        for (unsigned i = 0; i < SUM_DIGITS && piece != NULL; i++) {
            star[1 + i] = (uint8_t)digits[sum >> (28 - 4 * i) & 15u];
        }
        star += sizeof OPEN_SUM - 1;
    }
}

/* The text with its checksums; for the caller to free. */
static uint8_t *text_of(const uint8_t *data, size_t size) {
    uint8_t *text = malloc(size);
    FUZZ_CHECK(text != NULL, "out of memory");
    memcpy(text, data, size);
    put_checksums(text, size);
    return text;
}

static void try_text(const uint8_t *data, size_t size) {
    struct recording recording;
    uint8_t *text = text_of(data, size);
    read_text(&recording, text, size);
    outcome_check_boot(&recording.boot);
    recording_free(&recording);
    free(text);
}

/* --- a program that is recorded --------------------------------------------------------------- */

#define HEAP_START 0x20004120u
#define HEAP_SEEN 0xa000u /* of it blocks lie here, and faults */
#define RING 32u
#define CALL_BYTES 8u
#define CALLS_MAX 64u
#define EVENTS_MAX (2u * CALLS_MAX)
#define FLIPS_MAX 3u
#define PRINT_MAX (1u << 19)
#define BLOCKS_MAX 24u
#define SEEN_MAX (BLOCKS_MAX * (CALLS_MAX + 1u))

static const char *const files[] = {"src/main.c", "a b\tc.c", "",
                                    "/home/dev/wm_iot_sdk/components/http_client/src/client.c"};

/* What the recorder asks of its surroundings (else core/port/recorder_wrap.c answers). */
static uint32_t task_now;
static uint32_t block_size_now;
uint32_t wm_heap_recorder_task(void) { return task_now; }
uint32_t wm_heap_recorder_block_size(const void *ptr) { return ptr != NULL ? block_size_now : 0; }

struct session {
    struct wm_heap_record ring[RING];
    struct recorder_event events[EVENTS_MAX]; /* as they must come back, by number */
    uint32_t event_count;
    uint32_t flushed; /* events that were printed, or overwritten before */
    uint32_t options;
    struct recorder_block blocks[BLOCKS_MAX]; /* live in the heap, in the order of addresses */
    uint32_t block_count;
    struct recorder_block seen[SEEN_MAX]; /* in all snapshots */
    uint32_t seen_count;
    bool faulted;
    struct recorder_fault fault; /* the first one */
    uint32_t lines;              /* printed */
    size_t length;
    char print[PRINT_MAX];
};

/* Large, and what is used of it is always written first. */
static struct session session;
static struct wm_heap_state fresh; /* the heap's state after init */

static void take_print(void *context, const char *text, size_t length) {
    struct session *to = context;
    FUZZ_CHECK(length <= PRINT_MAX - to->length, "the recorder does not stop printing");
    memcpy(to->print + to->length, text, length);
    to->length += length;
    if (length > PREFIX_BYTES &&
        memcmp(text, PREFIX, PREFIX_BYTES) == 0) { /* no list of the heap's */
        to->lines++;
    }
}

static void expect(uint32_t kind, uint32_t caps, uint32_t line, uint32_t pointer, uint32_t size,
                   uint32_t caller, uint32_t site) {
    session.events[session.event_count] = (struct recorder_event){
        .number = session.event_count,
        .kind = kind,
        .caps = caps < 0x20u ? caps : 0x1fu,
        .task = task_now & 0xffu,
        .line = line < 0xffffu ? line : 0xffffu,
        .pointer = pointer,
        .size = size,
        .caller = caller,
        .site = site,
    };
    session.event_count++;
}

static uint32_t half(const uint8_t *bytes) { return bytes[0] | (uint32_t)bytes[1] << 8; }

/* A real block, for snapshots; when there are enough, the oldest goes. */
static void block_make(uint32_t size, uint32_t caps, const char *file, uint32_t line) {
    if (session.block_count == BLOCKS_MAX) {
        wm_heap_caps_free(w800_pointer(session.blocks[0].pointer));
        memmove(session.blocks, session.blocks + 1, (BLOCKS_MAX - 1) * sizeof session.blocks[0]);
        session.block_count--;
    }
    void *memory = wm_heap_caps_alloc_tracing(size % 1000u, (wm_heap_cap_type_t)(caps & 3u), file,
                                              (int)(line & 0xffffu));
    struct wm_heap_block block;
    if (memory != NULL) {
        FUZZ_CHECK(wm_heap_get_block(memory, &block), "a new block is none");
        uint32_t at = session.block_count++;
        for (; at > 0 && session.blocks[at - 1].pointer > block.pointer; at--) {
            session.blocks[at] = session.blocks[at - 1];
        }
        session.blocks[at] = (struct recorder_block){.pointer = block.pointer,
                                                     .size = block.size,
                                                     .caps = block.caps,
                                                     .site = block.site,
                                                     .line = block.line};
    }
}

static void flush(bool snapshot) {
    snapshot = snapshot || session.event_count - session.flushed > RING;
    session.flushed = session.event_count;
    wm_heap_recorder_flush(snapshot);
    for (uint32_t i = 0; snapshot && i < session.block_count; i++) {
        session.seen[session.seen_count] = session.blocks[i];
        session.seen[session.seen_count++].as_of = session.event_count;
    }
}

/* Bytes that show the damage, as the recorder's comments say. */
static uint32_t fault_bytes(uint32_t kind) {
    switch (kind) {
    case WM_HEAP_FAULT_SMASHED_HEADER:
    case WM_HEAP_FAULT_SMASHED_END_MARKER:
        return (session.options & WM_HEAP_OPTION_LIGHT) != 0 ? 32u : 24u;
    case WM_HEAP_FAULT_SMASHED_FREE_BLOCK:
        return 24u;
    case WM_HEAP_FAULT_OVERFLOW:
        return 1u;
    case WM_HEAP_FAULT_UNDERFLOW:
    case WM_HEAP_FAULT_USE_AFTER_FREE:
        return 4u;
    default:
        return 0;
    }
}

static void record_fault(const uint8_t *call, uint32_t pointer) {
    const uint32_t block = pointer != 0 ? HEAP_START + pointer % (HEAP_SEEN - 64u) : 0;
    const struct wm_heap_fault fault = {.kind = 1u + call[1] % (WM_HEAP_FAULT_KINDS - 1u),
                                        .check = call[2] % WM_HEAP_CHECK_KINDS,
                                        .region = (call[3] & 1u) != 0 ? WM_HEAP_NO_REGION : 0,
                                        .block = block,
                                        .pointer = pointer,
                                        .address = block != 0 ? block + 4u : 0,
                                        .expected = half(call + 4),
                                        .actual = half(call + 6)};
    struct recorder_fault *expected = &session.fault;
    wm_heap_record_fault(&fault);
    if (session.faulted) {
        return;
    }
    session.faulted = true;
    *expected = (struct recorder_fault){.known = true,
                                        .total = session.event_count,
                                        .kind = fault.kind,
                                        .check = fault.check,
                                        .block = fault.block,
                                        .pointer = fault.pointer,
                                        .address = fault.address,
                                        .expected = fault.expected,
                                        .actual = fault.actual};
    if (block != 0 && fault.region != WM_HEAP_NO_REGION && fault_bytes(fault.kind) != 0) {
        const bool word = fault_bytes(fault.kind) <= 4u;
        expected->memory_address = word ? fault.address : block;
        expected->memory_length = fault_bytes(fault.kind);
        memcpy(expected->memory, w800_pointer(expected->memory_address), expected->memory_length);
    }
}

static void record_realloc(const uint8_t *call, const void *address, const char *file,
                           uint32_t caller) {
    const uint32_t size = block_size_now;
    const uint32_t line = half(call + 6) << (call[1] >> 2 & 3u);
    const uint32_t caps = call[1] >> 2;
    const uint32_t pointer = w800_address(address);
    uint32_t old = wm_heap_record_realloc_old(address, caps, file, (int)line, caller);
    expect(WM_HEAP_RECORD_REALLOC_OLD, caps, line, pointer, pointer != 0 ? size : 0, caller,
           file != NULL ? wm_heap_port_site(file) : 0);
    wm_heap_record_realloc_new(address, line, address, caps, (int)line, old);
    expect(WM_HEAP_RECORD_REALLOC_NEW, caps, line, pointer, line, old, pointer);
}

static void record_call(const uint8_t *call) {
    const char *file = (call[0] >> 4 & 1u) != 0 ? files[call[1] & 3u] : NULL;
    const uint32_t site = file != NULL ? wm_heap_port_site(file) : 0;
    const uint32_t pointer = half(call + 2) != 0 ? 0x20000000u + half(call + 2) * 8u : 0;
    const uint32_t size = half(call + 4) << (call[1] >> 4);
    const uint32_t line = half(call + 6) << (call[1] >> 2 & 3u);
    const uint32_t caps = call[1] >> 2;
    const uint32_t caller = 0x08010000u + half(call + 6);
    const void *address = w800_pointer(pointer);
    task_now = call[0] >> 5;
    block_size_now = size;
    switch (call[0] & 15u) {
    case 0:
    case 1:
    case 8:
        wm_heap_record_alloc(address, size, caps, file, (int)line, caller);
        expect(WM_HEAP_RECORD_ALLOC, caps, line, pointer, size, caller, site);
        break;
    case 2:
    case 3:
    case 10:
        wm_heap_record_free(address, caller);
        if (pointer != 0) {
            expect(WM_HEAP_RECORD_FREE, 0, 0, pointer, size, caller, 0);
        }
        break;
    case 4:
    case 12:
        record_realloc(call, address, file, caller);
        break;
    case 5:
        wm_heap_record_append(file, (call[1] & 1u) != 0, caller);
        expect(WM_HEAP_RECORD_APPEND, 0, 0, call[1] & 1u, 0, caller, site);
        break;
    case 9:
    case 11:
        block_make(size, caps, file, line);
        break;
    case 13:
        record_fault(call, pointer);
        break;
    default:
        flush((call[1] & 15u) == 0);
    }
}

static bool same_event(const struct recorder_event *one, const struct recorder_event *other) {
    return one->kind == other->kind && one->caps == other->caps && one->task == other->task &&
           one->line == other->line && one->pointer == other->pointer && one->size == other->size &&
           one->caller == other->caller && one->site == other->site;
}

static void check_names(const struct recorder_boot *boot) {
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *got = recorder_name(boot, wm_heap_port_site(files[i]));
        for (size_t at = 0; got != NULL && at <= strlen(files[i]); at++) {
            const char want = files[i][at];
            const bool shown = want == '\0' || (want > ' ' && want < 0x7f);
            FUZZ_CHECK(got[at] == (shown ? want : '_'), "\"%s\" came back as \"%s\"", files[i],
                       got);
        }
    }
}

static bool same_block(const struct recorder_block *one, const struct recorder_block *other) {
    return one->as_of == other->as_of && one->pointer == other->pointer &&
           one->size == other->size && one->caps == other->caps && one->site == other->site &&
           one->line == other->line;
}

/* What came back of snapshots, in their order. The SDK's list has other words. */
static void check_blocks(const struct recorder_boot *boot, unsigned flips) {
    uint32_t at = 0;
    if ((session.options & WM_HEAP_RECORDER_SDK) != 0) {
        return;
    }
    for (size_t i = 0; i < boot->block_count; i++, at++) {
        while (at < session.seen_count && !same_block(&boot->blocks[i], &session.seen[at])) {
            FUZZ_CHECK(flips > 0, "block %zu, 0x%08x, came back otherwise", i,
                       boot->blocks[i].pointer);
            at++;
        }
        FUZZ_CHECK(at < session.seen_count, "block %zu, 0x%08x, was in no snapshot", i,
                   boot->blocks[i].pointer);
    }
    FUZZ_CHECK(flips > 0 || boot->block_count == session.seen_count, "of %u blocks %zu came back",
               session.seen_count, boot->block_count);
}

static void check_fault(const struct recorder_fault *fault, unsigned flips) {
    const struct recorder_fault *expected = &session.fault;
    if (!fault->known) {
        FUZZ_CHECK(flips > 0 || !session.faulted, "the fault did not come back");
        return;
    }
    FUZZ_CHECK(session.faulted && fault->total == expected->total &&
                   fault->kind == expected->kind && fault->check == expected->check &&
                   fault->block == expected->block && fault->pointer == expected->pointer &&
                   fault->address == expected->address && fault->expected == expected->expected &&
                   fault->actual == expected->actual,
               "the fault came back otherwise, as kind %u", fault->kind);
    FUZZ_CHECK((flips > 0 && fault->memory_length == 0) ||
                   (fault->memory_length == expected->memory_length &&
                    memcmp(fault->memory, expected->memory, fault->memory_length) == 0),
               "the fault's %u bytes came back otherwise", expected->memory_length);
}

static void check_session(const struct recording *recording, unsigned flips) {
    const struct recorder_boot *boot = &recording->boot;
    for (size_t i = 0; i < boot->event_count; i++) {
        const struct recorder_event *event = &boot->events[i];
        FUZZ_CHECK(event->number < session.event_count &&
                       same_event(event, &session.events[event->number]),
                   "event %u came back otherwise", event->number);
    }
    check_names(boot);
    check_blocks(boot, flips);
    check_fault(&boot->fault, flips);
    FUZZ_CHECK(boot->lines <= session.lines, "%llu lines of %u", (unsigned long long)boot->lines,
               session.lines);
    if (flips > 0) {
        return;
    }
    FUZZ_CHECK(recording->damaged == 0 && boot->lines_lost == 0 && boot->lines == session.lines,
               "of %u lines %llu came back, %llu damaged", session.lines,
               (unsigned long long)boot->lines, (unsigned long long)recording->damaged);
    FUZZ_CHECK(boot->total == session.event_count, "%u events are counted as %u",
               session.event_count, boot->total);
    FUZZ_CHECK(boot->event_count >= (session.event_count < RING ? session.event_count : RING),
               "of %u events %zu came back", session.event_count, boot->event_count);
}

/* The 8 bytes before the calls: 0, how many flips and which bit, three places in the print. */
static unsigned flip_bits(const uint8_t *data, size_t size) {
    unsigned flips = size > 1 ? data[1] & FLIPS_MAX : 0;
    for (unsigned i = 0; i < flips && size >= 4 + 2 * i; i++) {
        const size_t at = half(data + 2 + (size_t)2 * i) * (session.length - 1) / 65535u;
        session.print[at] = (char)(session.print[at] ^ 1 << (data[1] >> 2 & 7u));
    }
    return flips;
}

/* Runs the calls; returns how many bits of the print were flipped. */
static unsigned print_calls(const uint8_t *data, size_t size) {
    memset(w800_pointer(HEAP_START), 0, HEAP_SEEN);
    *w800_config()->build->state = fresh;
    session.event_count = 0;
    session.flushed = 0;
    session.block_count = 0;
    session.seen_count = 0;
    session.faulted = false;
    session.lines = 0;
    session.length = 0;
    session.options = WM_HEAP_OPTION_TRACING | WM_HEAP_RECORDER_FROM_START |
                      (size > 1 && (data[1] & 32u) != 0 ? WM_HEAP_OPTION_LIGHT : 0u) |
                      (size > 1 && (data[1] & 64u) != 0 ? WM_HEAP_RECORDER_SDK : 0u);
    wm_heap_recorder_start(session.ring, RING, session.options);
    for (size_t at = CALL_BYTES; at + CALL_BYTES <= size && at <= (size_t)CALL_BYTES * CALLS_MAX;
         at += CALL_BYTES) {
        record_call(data + at);
    }
    flush(false);
    wm_heap_recorder_stop();
    const size_t length = session.length;
    wm_heap_recorder_flush(true);
    FUZZ_CHECK(session.length == length, "printed after the stop");
    return flip_bits(data, size);
}

static void try_calls(const uint8_t *data, size_t size) {
    struct recording recording;
    const unsigned flips = print_calls(data, size);
    read_text(&recording, (const uint8_t *)session.print, session.length);
    check_session(&recording, flips);
    outcome_check_boot(&recording.boot);
    recording_free(&recording);
}

/* The console's text as `wmheap convert` takes it. */
bool fuzz_explain(const uint8_t *data, size_t size, FILE *out) {
    if (size > 0 && data[0] == 0) {
        print_calls(data, size);
        return fwrite(session.print, 1, session.length, out) == session.length;
    }
    uint8_t *text = text_of(data, size);
    const bool done = fwrite(text, 1, size, out) == size;
    free(text);
    return done;
}

/* A machine for its lock, its console, its regions and its names. */
void fuzz_open(void) {
    const struct w800_config config = {
        .build = heap_build_find(true, 0),
        .regions = {{"SRAM", HEAP_START, W800_DRAM_START,
                     WM_HEAP_CAP_DEFAULT | WM_HEAP_CAP_INTERNAL | WM_HEAP_CAP_EXEC, false}},
        .region_count = 1,
    };
    struct w800_error error = {""};
    FUZZ_CHECK(w800_start(&config, &error), "%s", error.text);
    wm_heap_init();
    fresh = *config.build->state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        (void)wm_heap_port_site(files[i]); /* so that no number depends on an input */
    }
    w800_on_print(take_print, &session);
}

int fuzz_one(const uint8_t *data, size_t size) {
    if (size == 0) {
        return -1;
    }
    if (data[0] == 0) {
        try_calls(data, size);
    } else {
        try_text(data, size);
    }
    return 0;
}
