/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs operations on one build of the core and digests what each one did. The digests read
 * the heap as the core lays it out (core/layout.h, core/tree.h) but believe nothing there: a
 * trace may have smashed it, and then both sides must see the same rubbish.
 */
#include "crosscheck_run.h"

#define WM_HEAP_CORE
#include "../core/layout.h" /* nodes and flags, the same in each build */

_Static_assert(sizeof(struct crosscheck_op) == 32, "no padding in the stream");
_Static_assert(sizeof(struct crosscheck_record) == 32, "no padding in the stream");
_Static_assert(sizeof(struct crosscheck_header) == 28 + 3 * 24 + 12, "no padding in the stream");
_Static_assert(CROSSCHECK_EVENT_WORDS <= 6 && CROSSCHECK_CHECKPOINT_WORDS <= 6, "they fit");

uint32_t crosscheck_state_bytes(void) {
    return (uint32_t)(offsetof(struct wm_heap_state, first_fault) + sizeof(struct wm_heap_fault));
}

/* --- memory and digests --------------------------------------------------------------------- */

typedef uint32_t __attribute__((may_alias)) memory_word;

static bool inside(uint32_t address, uint32_t count, uint32_t start, uint32_t bytes) {
    return address >= start && address - start <= bytes && count <= bytes - (address - start);
}

static bool is_memory(const struct crosscheck_run *run, uint32_t address, uint32_t count) {
    return inside(address, count, CROSSCHECK_ONCHIP_START, CROSSCHECK_ONCHIP_BYTES) ||
           inside(address, count, CROSSCHECK_PSRAM_START, run->header->psram_bytes);
}

static bool is_words(const struct crosscheck_run *run, uint32_t address, uint32_t bytes) {
    return (address & 3u) == 0 && is_memory(run, address, bytes);
}

static uint32_t word_at(uint32_t address) { return *(const memory_word *)bytes_at(address); }

/* A rotation and an odd factor: any change of one word changes the digest, and on C-SKY it is
 * four instructions a word. */
static uint32_t digest_add(uint32_t digest, uint32_t word) {
    return ((digest << 5 | digest >> 27) ^ word) * 0x9e3779b1u;
}

static uint32_t digest_words(uint32_t digest, const memory_word *word, uint32_t count) {
    for (; count >= 4u; count -= 4u, word += 4) {
        digest = digest_add(digest, word[0]);
        digest = digest_add(digest, word[1]);
        digest = digest_add(digest, word[2]);
        digest = digest_add(digest, word[3]);
    }
    for (; count > 0; count--) {
        digest = digest_add(digest, *word++);
    }
    return digest;
}

static uint32_t digest_bytes(uint32_t digest, const uint8_t *byte, uint32_t count) {
    for (; count > 0; count--) {
        digest = digest_add(digest, *byte++);
    }
    return digest;
}

/* --- what the core reports ------------------------------------------------------------------ */

void crosscheck_saw_fault(struct crosscheck_run *run, const struct wm_heap_fault *fault) {
    struct crosscheck_reports *reports = &run->reports;
    reports->digest =
        digest_words(reports->digest, (const memory_word *)fault, sizeof *fault / sizeof(uint32_t));
    if (reports->fault_count < CROSSCHECK_FAULTS) {
        reports->faults[reports->fault_count] = *fault;
    }
    reports->fault_count++;
}

void crosscheck_saw_text(struct crosscheck_run *run, const char *text, uint32_t length) {
    struct crosscheck_reports *reports = &run->reports;
    reports->digest = digest_bytes(reports->digest, (const uint8_t *)text, length);
    for (uint32_t i = 0; i < length && reports->text_length + i < CROSSCHECK_TEXT; i++) {
        reports->text[reports->text_length + i] = text[i];
    }
    reports->text_length += length;
}

/* A size that 32 bits cannot hold counts as the largest they can: calloc's product has 64 bits
 * on a host. */
static void saw_failure(void *context, size_t size, wm_heap_cap_type_t caps, const char *file,
                        int line) {
    struct crosscheck_run *run = context;
    struct crosscheck_reports *reports = &run->reports;
    reports->digest = digest_add(reports->digest, size > UINT32_MAX ? UINT32_MAX : (uint32_t)size);
    reports->digest = digest_add(reports->digest, (uint32_t)caps);
    reports->digest = digest_add(reports->digest, file != NULL);
    reports->digest = digest_add(reports->digest, (uint32_t)line);
    reports->failed_count++;
}

/* --- headers -------------------------------------------------------------------------------- */

/* The places that freeing or handing out a block changes: its own header, and the ends by
 * which the tree knows the free blocks before, in and behind it. 0: no such place. */
struct places {
    uint32_t block;
    uint32_t end;
    uint32_t behind_end;
};

static struct places places_of(const struct crosscheck_run *run, uint32_t pointer) {
    struct places places = {.block = pointer - run->build->header_size};
    if (pointer == 0 || !is_words(run, places.block, 4u)) {
        return (struct places){.block = 0};
    }
    places.end = places.block + (word_at(places.block) & ~FLAGS);
    if (!is_words(run, places.end, 4u)) {
        places.end = 0;
        return places;
    }
    uint32_t behind = word_at(places.end);
    places.behind_end = (behind & ALLOCATED) == 0 ? places.end + (behind & ~FLAGS) : 0;
    return places;
}

static uint32_t digest_header(const struct crosscheck_run *run, uint32_t digest, uint32_t address) {
    uint32_t bytes = run->build->header_size;
    if (bytes < sizeof(struct wm_heap_node)) {
        bytes = sizeof(struct wm_heap_node);
    }
    return is_words(run, address, bytes) ? digest_words(digest, bytes_at(address), bytes / 4u)
                                         : digest_add(digest, address);
}

/* The links and nodes from a region's root down the way of a key. */
static uint32_t digest_path(const struct crosscheck_run *run, uint32_t digest,
                            const struct wm_heap_region *region, uint32_t key) {
    const struct wm_heap_link fresh = region->fresh;
    digest = digest_add(digest_add(digest, fresh.node), fresh.largest);
    if (is_words(run, fresh.node, sizeof(struct wm_heap_node))) {
        digest = digest_words(digest, bytes_at(fresh.node), sizeof(struct wm_heap_node) / 4u);
    }
    struct wm_heap_link link = region->root;
    for (uint32_t left = 32; left > 0; left--) {
        digest = digest_add(digest_add(digest, link.node), link.largest);
        if (link.node == 0 || !is_words(run, link.node, sizeof(struct wm_heap_node))) {
            break;
        }
        const struct wm_heap_node *node = bytes_at(link.node);
        digest = digest_words(digest, (const memory_word *)node, sizeof *node / 4u);
        if (link.node + sizeof *node == key) {
            break;
        }
        link = node->child[link.node + sizeof *node < key];
    }
    return digest;
}

static uint32_t digest_key(const struct crosscheck_run *run, uint32_t digest, uint32_t key) {
    const struct wm_heap_state *state = run->build->state;
    for (uint32_t i = 0; key != 0 && i < WM_HEAP_REGIONS_MAX; i++) {
        const struct wm_heap_region *region = &state->regions[i];
        if (key - region->start <= region->end - region->start) {
            digest = digest_path(run, digest, region, key);
        }
    }
    return digest;
}

static uint32_t digest_places(const struct crosscheck_run *run, uint32_t digest,
                              const struct places *places) {
    if (places->block == 0) {
        return digest;
    }
    digest = digest_header(run, digest, places->block);
    digest = digest_header(run, digest, places->end);
    digest = digest_key(run, digest, places->block);
    digest = digest_key(run, digest, places->end);
    return digest_key(run, digest, places->behind_end);
}

/* --- payload -------------------------------------------------------------------------------- */

/* The program fills its new bytes, so that what realloc copies, and from where, can be told. */
static uint32_t pattern(uint32_t seed, uint32_t index) { return (seed + index) * 0x9e3779b1u; }

static void fill(const struct crosscheck_run *run, uint32_t pointer, uint32_t from, uint32_t size,
                 uint32_t seed) {
    if (pointer == 0 || from >= size || !is_memory(run, pointer, size)) {
        return;
    }
    uint8_t *byte = bytes_at(pointer);
    for (; from < size && (from & 3u) != 0; from++) {
        byte[from] = (uint8_t)(pattern(seed, from / 4u) >> (from & 3u) * 8u);
    }
    for (; size - from >= 4u; from += 4u) {
        *(memory_word *)bytes_at(pointer + from) = pattern(seed, from / 4u);
    }
    for (; from < size; from++) {
        byte[from] = (uint8_t)(pattern(seed, from / 4u) >> (from & 3u) * 8u);
    }
}

static uint32_t digest_payload(const struct crosscheck_run *run, uint32_t pointer, uint32_t size) {
    if (pointer == 0 || !is_words(run, pointer, size)) {
        return 0;
    }
    uint32_t whole = size & ~3u;
    uint32_t digest = digest_words(1u, bytes_at(pointer), whole / 4u);
    return digest_bytes(digest, bytes_at(pointer + whole), size - whole);
}

static void reach(struct crosscheck_run *run, uint32_t end) {
    if (end > run->psram_reached && end - CROSSCHECK_PSRAM_START <= run->header->psram_bytes) {
        run->psram_reached = end;
    }
}

/* --- operations ----------------------------------------------------------------------------- */

/* One event as it goes. */
struct event {
    const struct crosscheck_op *op;
    struct places before; /* of the block that the call may free */
    uint32_t pointer;     /* of the block that it made */
    uint32_t result;
    uint32_t payload;
};

static uint32_t address_from(const void *pointer) { return (uint32_t)(uintptr_t)pointer; }

static const char *file_of(const struct crosscheck_run *run, const struct crosscheck_op *op) {
    return op->site != 0 ? run->site(run->context, op->site) : NULL;
}

static void new_block(struct crosscheck_run *run, struct event *event, const void *memory,
                      uint32_t bytes) {
    event->pointer = address_from(memory);
    event->result = event->pointer;
    run->slots[event->op->slot] =
        (struct crosscheck_slot){event->pointer, event->pointer != 0 ? bytes : 0};
}

static void run_nothing(struct crosscheck_run *run, struct event *event) {
    (void)run;
    (void)event;
}

static void run_append(struct crosscheck_run *run, struct event *event) {
    event->result = (uint32_t)run->build->append(run->text(run->context, event->op->site));
}

static void run_alloc(struct crosscheck_run *run, struct event *event) {
    const struct crosscheck_op *op = event->op;
    new_block(
        run, event,
        run->build->alloc(op->size, (wm_heap_cap_type_t)op->caps, file_of(run, op), (int)op->line),
        op->size);
    fill(run, event->pointer, 0, op->size, op->event);
}

static void run_calloc(struct crosscheck_run *run, struct event *event) {
    const struct crosscheck_op *op = event->op;
    new_block(run, event,
              run->build->calloc(op->extra, op->size, (wm_heap_cap_type_t)op->caps,
                                 file_of(run, op), (int)op->line),
              op->extra * op->size);
    event->payload = digest_payload(run, event->pointer, op->extra * op->size);
}

static void run_aligned(struct crosscheck_run *run, struct event *event) {
    const struct crosscheck_op *op = event->op;
    new_block(run, event,
              run->build->aligned_alloc(op->extra, op->size, (wm_heap_cap_type_t)op->caps,
                                        file_of(run, op), (int)op->line),
              op->size);
    fill(run, event->pointer, 0, op->size, op->event);
}

static void run_realloc(struct crosscheck_run *run, struct event *event) {
    const struct crosscheck_op *op = event->op;
    struct crosscheck_slot old = run->slots[op->slot];
    event->before = places_of(run, old.pointer);
    void *memory =
        run->build->realloc(bytes_at(old.pointer), op->size, (wm_heap_cap_type_t)op->caps,
                            file_of(run, op), (int)op->line);
    if (memory == NULL && op->size != 0) {
        return; /* the old block stays */
    }
    new_block(run, event, memory, op->size);
    uint32_t kept = old.bytes < op->size ? old.bytes : op->size;
    event->payload = digest_payload(run, event->pointer, kept);
    fill(run, event->pointer, kept, op->size, op->event);
}

static void free_pointer(struct crosscheck_run *run, struct event *event, uint32_t pointer) {
    event->before = places_of(run, pointer);
    run->build->free(bytes_at(pointer));
}

static void run_free(struct crosscheck_run *run, struct event *event) {
    struct crosscheck_slot *slot = &run->slots[event->op->slot];
    free_pointer(run, event, slot->pointer);
    *slot = (struct crosscheck_slot){0, 0};
}

static void run_freeaddr(struct crosscheck_run *run, struct event *event) {
    free_pointer(run, event, event->op->caps);
}

/* Sizes of each kind of memory, too: they are the debugger's business and cost nothing. */
static void run_query(struct crosscheck_run *run, struct event *event) {
    static const uint32_t asked[] = {WM_HEAP_CAP_DEFAULT, WM_HEAP_CAP_EXEC, WM_HEAP_CAP_SHARED,
                                     WM_HEAP_CAP_SPIRAM};
    const struct heap_build *build = run->build;
    event->result = (uint32_t)build->free_size();
    uint32_t digest = digest_add(0, (uint32_t)build->minimum_free_size());
    for (uint32_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        wm_heap_cap_type_t caps = (wm_heap_cap_type_t)asked[i];
        digest = digest_add(digest, (uint32_t)build->caps_free_size(caps));
        digest = digest_add(digest, (uint32_t)build->caps_minimum_free_size(caps));
        digest = digest_add(digest, (uint32_t)build->caps_largest_free_block(caps));
    }
    event->payload = digest;
}

static void run_init(struct crosscheck_run *run, struct event *event) {
    (void)event;
    run->build->init();
}

/* A stray access ends both sides before it happens: what it does there is the simulator's
 * and the emulator's business, not the core's. */
static bool may_access(struct crosscheck_run *run, uint32_t address, uint32_t count) {
    if (count != 0 && !is_memory(run, address, count)) {
        run->stopped = true;
    }
    return count != 0 && !run->stopped;
}

static void store(struct crosscheck_run *run, uint32_t address, uint32_t count, uint32_t byte) {
    if (may_access(run, address, count)) {
        __builtin_memset(bytes_at(address), (int)byte, count);
        reach(run, address + count);
    }
}

static void run_write(struct crosscheck_run *run, struct event *event) {
    const struct crosscheck_op *op = event->op;
    store(run, run->slots[op->slot].pointer + op->caps, op->size, op->extra);
}

static void run_writeaddr(struct crosscheck_run *run, struct event *event) {
    store(run, event->op->caps, event->op->size, event->op->extra);
}

static void run_readaddr(struct crosscheck_run *run, struct event *event) {
    if (may_access(run, event->op->caps, event->op->size)) {
        event->payload = digest_bytes(0, bytes_at(event->op->caps), event->op->size);
    }
}

static void run_flip(struct crosscheck_run *run, struct event *event) {
    uint32_t address = event->op->caps;
    if (is_memory(run, address, 1u)) {
        uint8_t *byte = bytes_at(address);
        *byte = (uint8_t)(*byte ^ 1u << (event->op->extra & 7u));
        reach(run, address + 1u);
    }
}

static void run_check(struct crosscheck_run *run, struct event *event) {
    struct wm_heap_fault fault;
    event->result = run->build->check(event->op->extra, &fault);
    if (event->result == 0) {
        crosscheck_saw_fault(run, &fault);
    }
}

static void run_stats(struct crosscheck_run *run, struct event *event) {
    (void)event;
    run->build->print_stats();
}

static void run_tracing(struct crosscheck_run *run, struct event *event) {
    (void)event;
    run->build->print_tracing(NULL);
}

typedef void run_fn(struct crosscheck_run *run, struct event *event);
static run_fn *const run_op[CROSSCHECK_OP_KINDS] = {
    [CROSSCHECK_NOTHING] = run_nothing,   [CROSSCHECK_APPEND] = run_append,
    [CROSSCHECK_ALLOC] = run_alloc,       [CROSSCHECK_REALLOC] = run_realloc,
    [CROSSCHECK_CALLOC] = run_calloc,     [CROSSCHECK_ALIGNED] = run_aligned,
    [CROSSCHECK_FREE] = run_free,         [CROSSCHECK_FREEADDR] = run_freeaddr,
    [CROSSCHECK_QUERY] = run_query,       [CROSSCHECK_INIT] = run_init,
    [CROSSCHECK_WRITE] = run_write,       [CROSSCHECK_WRITEADDR] = run_writeaddr,
    [CROSSCHECK_READADDR] = run_readaddr, [CROSSCHECK_FLIP] = run_flip,
    [CROSSCHECK_CHECK] = run_check,       [CROSSCHECK_STATS] = run_stats,
    [CROSSCHECK_TRACING] = run_tracing,
};

/* --- the stream ----------------------------------------------------------------------------- */

static void emit(struct crosscheck_run *run, const struct crosscheck_record *record) {
    run->emit(run->context, record, sizeof *record);
}

static void emit_event(struct crosscheck_run *run, const struct event *event) {
    struct crosscheck_record record = {.tag = CROSSCHECK_EVENT, .event = event->op->event};
    struct places after = places_of(run, event->pointer);
    reach(run, after.end);
    record.word[CROSSCHECK_RESULT] = event->result;
    record.word[CROSSCHECK_REPORTS] = run->reports.digest;
    record.word[CROSSCHECK_HEADERS] =
        digest_places(run, digest_places(run, 0, &event->before), &after);
    record.word[CROSSCHECK_STATE] =
        digest_words(0, (const memory_word *)run->build->state, crosscheck_state_bytes() / 4u);
    record.word[CROSSCHECK_PAYLOAD] = event->payload;
    emit(run, &record);
}

/* On-chip memory whole, PSRAM as far as it has been in use: nothing has written behind, or the
 * image at the end shows it. */
static void emit_checkpoint(struct crosscheck_run *run) {
    struct crosscheck_record record = {.tag = CROSSCHECK_CHECKPOINT, .event = run->done};
    record.word[CROSSCHECK_ONCHIP] =
        digest_words(0, bytes_at(CROSSCHECK_ONCHIP_START), CROSSCHECK_ONCHIP_BYTES / 4u);
    if (run->header->psram_bytes != 0) {
        uint32_t used = (run->psram_reached - CROSSCHECK_PSRAM_START + 3u) & ~3u;
        uint32_t digest = digest_words(0, bytes_at(CROSSCHECK_PSRAM_START), used / 4u);
        for (uint32_t i = 0; i < run->header->region_count && i < WM_HEAP_REGIONS_MAX; i++) {
            uint32_t marker = run->build->state->regions[i].end;
            digest = marker > run->psram_reached ? digest_header(run, digest, marker) : digest;
        }
        record.word[CROSSCHECK_PSRAM] = digest;
        record.word[CROSSCHECK_REACHED] = run->psram_reached;
    }
    emit(run, &record);
}

static void run_one(struct crosscheck_run *run, const struct crosscheck_op *op) {
    struct event event = {.op = op};
    run->reports.digest = 0; /* what lies behind the counts is old and not looked at */
    run->reports.fault_count = 0;
    run->reports.failed_count = 0;
    run->reports.text_length = 0;
    run_op[op->kind](run, &event);
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        reach(run, run->build->state->regions[i].tail);
    }
    emit_event(run, &event);
}

void crosscheck_begin(struct crosscheck_run *run) {
    const struct heap_build *build = run->build;
    struct crosscheck_record hello = {.tag = CROSSCHECK_HELLO};
    hello.word[0] = CROSSCHECK_VERSION;
    hello.word[1] = build->header_size;
    hello.word[2] = (build->tracing ? WM_HEAP_OPTION_TRACING : 0u) |
                    (build->comprehensive ? WM_HEAP_OPTION_COMPREHENSIVE
                     : build->poisoned    ? WM_HEAP_OPTION_LIGHT
                                          : 0u);
    hello.word[3] = crosscheck_state_bytes();
    emit(run, &hello);
    run->psram_reached = CROSSCHECK_PSRAM_START;
    build->set_failed_callback(saw_failure, run);
    run_one(run, &(struct crosscheck_op){.kind = CROSSCHECK_INIT});
    build->set_realloc_in_place(run->header->realloc_in_place != 0);
}

void crosscheck_step(struct crosscheck_run *run, const struct crosscheck_op *op) {
    if (run->stopped || op->kind >= CROSSCHECK_OP_KINDS || op->slot >= run->header->slot_count) {
        return;
    }
    run_one(run, op);
    run->done++;
    if (!run->stopped && run->done % run->header->interval == 0) {
        emit_checkpoint(run);
    }
}

void crosscheck_end(struct crosscheck_run *run) {
    struct crosscheck_record end = {.tag = CROSSCHECK_END, .event = run->done};
    emit_checkpoint(run);
    end.word[0] = run->stopped;
    emit(run, &end);
    run->emit(run->context, bytes_at(CROSSCHECK_ONCHIP_START), CROSSCHECK_ONCHIP_BYTES);
    run->emit(run->context, bytes_at(CROSSCHECK_PSRAM_START), run->header->psram_bytes);
    run->emit(run->context, run->build->state, crosscheck_state_bytes());
    run->emit(run->context, &run->reports, sizeof run->reports);
}
