/* SPDX-License-Identifier: Apache-2.0
 *
 * The flight recorder. The first half runs at each call of the heap and is short; the
 * second half prints, line by line, each with a sequence number and a checksum, so that a
 * reader can tell what a console lost on the way.
 */
#define WM_HEAP_CORE /* the functions, not the macros */
#include "wm_heap_recorder.h"

#include "wm_heap_port.h"
#include "wm_heap_state.h"

#define FAULT_BYTES 32u

_Static_assert(sizeof(struct wm_heap_record) == 20, "an event's cost, as documented");

/* All of the recorder, but for its ring. The words up to `ring` also serve a reader of RAM
 * dumps, which finds them by the magic. */
static struct {
    uint32_t magic;
    uint32_t version;
    uint32_t mask;    /* records in the ring - 1 */
    uint32_t total;   /* events since the start */
    uint32_t flushed; /* events printed or given up */
    uint32_t options;
    struct wm_heap_record *ring; /* NULL: not recording */
    uint32_t lines;              /* printed since boot */
    uint32_t snapshots;
    uint32_t fault_total;   /* events before the fault */
    uint32_t fault_address; /* of the bytes kept */
    uint32_t fault_length;
    struct wm_heap_fault fault; /* kind 0: none */
    uint8_t fault_bytes[FAULT_BYTES];
} recorder;

/* --- at each call --------------------------------------------------------------------- */

static uint32_t address_word(const void *pointer) { return (uint32_t)(uintptr_t)pointer; }

/* The hooks are one function each for the instructions' sake. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

static ALWAYS_INLINE uint32_t record_what(uint32_t kind, uint32_t caps, int line) {
    uint32_t shown = (uint32_t)line < 0xffffu ? (uint32_t)line : 0xffffu;
    uint32_t bits = caps < 0x20u ? caps : 0x1fu;
    return kind | bits << 3 | (wm_heap_recorder_task() & 0xffu) << 8 | shown << 16;
}

static ALWAYS_INLINE void record(uint32_t what, uint32_t pointer, uint32_t size, uint32_t caller,
                                 uint32_t site) {
    uint32_t key = wm_heap_port_lock();
    struct wm_heap_record *ring = recorder.ring;
    if (ring != NULL) {
        struct wm_heap_record *slot = &ring[recorder.total++ & recorder.mask];
        slot->what = what;
        slot->pointer = pointer;
        slot->size = size;
        slot->caller = caller;
        slot->site = site;
    }
    wm_heap_port_unlock(key);
}

static uint32_t size_word(size_t size) { return size < UINT32_MAX ? (uint32_t)size : UINT32_MAX; }

static uint32_t site_word(const char *file) { return file == NULL ? 0 : wm_heap_port_site(file); }

void wm_heap_record_alloc(const void *result, size_t size, uint32_t caps, const char *file,
                          int line, uint32_t caller) {
    record(record_what(WM_HEAP_RECORD_ALLOC, caps, line), address_word(result), size_word(size),
           caller, site_word(file));
}

void wm_heap_record_free(const void *ptr, uint32_t caller) {
    if (ptr != NULL) {
        record(record_what(WM_HEAP_RECORD_FREE, 0, 0), address_word(ptr),
               wm_heap_recorder_block_size(ptr), caller, 0);
    }
}

uint32_t wm_heap_record_realloc_old(const void *old, uint32_t caps, const char *file, int line,
                                    uint32_t caller) {
    uint32_t old_size = wm_heap_recorder_block_size(old);
    record(record_what(WM_HEAP_RECORD_REALLOC_OLD, caps, line), address_word(old), old_size, caller,
           site_word(file));
    return old_size;
}

void wm_heap_record_realloc_new(const void *result, size_t size, const void *old, uint32_t caps,
                                int line, uint32_t old_size) {
    record(record_what(WM_HEAP_RECORD_REALLOC_NEW, caps, line), address_word(result),
           size_word(size), old_size, address_word(old));
}

void wm_heap_record_append(const char *name, bool joined, uint32_t caller) {
    record(record_what(WM_HEAP_RECORD_APPEND, 0, 0), joined, 0, caller, site_word(name));
}

void wm_heap_recorder_start(struct wm_heap_record *ring, uint32_t count, uint32_t options) {
    uint32_t key = wm_heap_port_lock();
    recorder.magic = WM_HEAP_RECORDER_MAGIC;
    recorder.version = WM_HEAP_RECORDER_VERSION;
    recorder.mask = count - 1u;
    recorder.total = 0;
    recorder.flushed = 0;
    recorder.options = options;
    recorder.ring = ring;
    recorder.lines = 0;
    recorder.snapshots = 0;
    recorder.fault.kind = WM_HEAP_FAULT_NONE;
    wm_heap_port_unlock(key);
}

void wm_heap_recorder_stop(void) {
    uint32_t key = wm_heap_port_lock();
    recorder.ring = NULL;
    wm_heap_port_unlock(key);
}

static uint32_t header_bytes(void) {
    return 16u + ((recorder.options & WM_HEAP_OPTION_TRACING) != 0 ? 8u : 0u) +
           ((recorder.options & (WM_HEAP_OPTION_LIGHT | WM_HEAP_OPTION_COMPREHENSIVE)) != 0 ? 8u
                                                                                            : 0u);
}

/* Which bytes show this damage, and are enough to do it again: a whole header, or else the
 * one byte or word that was found wrong. */
static uint32_t fault_extent(const struct wm_heap_fault *fault, uint32_t *address) {
    *address = fault->address;
    switch (fault->kind) {
    case WM_HEAP_FAULT_SMASHED_HEADER:
    case WM_HEAP_FAULT_SMASHED_END_MARKER:
        *address = fault->block;
        return header_bytes();
    case WM_HEAP_FAULT_SMASHED_FREE_BLOCK:
        *address = fault->block;
        return 24u; /* a free block's header */
    case WM_HEAP_FAULT_OVERFLOW:
        return 1u; /* a second byte may be the next block's */
    case WM_HEAP_FAULT_UNDERFLOW:
    case WM_HEAP_FAULT_USE_AFTER_FREE:
        return 4u;
    default:
        return 0; /* a bad call */
    }
}

void wm_heap_record_fault(const struct wm_heap_fault *fault) {
    uint32_t key = wm_heap_port_lock();
    if (recorder.ring != NULL && recorder.fault.kind == WM_HEAP_FAULT_NONE) {
        uint32_t address;
        uint32_t length = fault_extent(fault, &address);
        length = address == 0 || fault->region == WM_HEAP_NO_REGION ? 0 : length;
        for (uint32_t i = 0; i < length; i++) {
            recorder.fault_bytes[i] =
                *(const volatile uint8_t *)(uintptr_t)(address + i); /* NOLINT: an address */
        }
        recorder.fault = *fault;
        recorder.fault_total = recorder.total;
        recorder.fault_address = address;
        recorder.fault_length = length;
    }
    wm_heap_port_unlock(key);
}

/* --- lines ---------------------------------------------------------------------------- */

/* The longest: an N line of `@wmrec1 `, 9, 2, three numbers, 48 of text, ` *`, 8, CR LF. */
#define LINE_BYTES 112u
#define NAME_CHUNK 48u
#define HEADER_EVERY 32u /* lines */
#define NAMES_KEPT 16u
#define SNAPSHOT_CHUNK 12u

#define END_BYTES 12u /* the part behind its contents */

struct line {
    uint32_t length;
    uint32_t room; /* the contents are cut here */
    char text[LINE_BYTES];
};

/* What one flush remembers. */
struct flush {
    uint32_t until_header;
    uint32_t names[NAMES_KEPT]; /* handles whose names were printed lately */
    uint32_t name_next;
};

static void put_char(struct line *line, char character) {
    if (line->length < line->room) {
        line->text[line->length++] = character;
    }
}

static void put_text(struct line *line, const char *text) {
    for (; *text != '\0'; text++) {
        put_char(line, *text);
    }
}

static void put_digits(struct line *line, uint32_t value, uint32_t digits) {
    while (digits > 0) {
        digits--;
        put_char(line, "0123456789abcdef"[value >> 4u * digits & 15u]);
    }
}

static void put_number(struct line *line, uint32_t value) {
    uint32_t digits = 1;
    while (digits < 8u && value >> 4u * digits != 0) {
        digits++;
    }
    put_char(line, ' ');
    put_digits(line, value, digits);
}

/* CRC-32, the common one, bit by bit: the console is slower. */
static uint32_t checksum(const char *text, uint32_t length) {
    uint32_t sum = 0xffffffffu;
    for (uint32_t i = 0; i < length; i++) {
        sum ^= (uint8_t)text[i];
        for (uint32_t bit = 0; bit < 8u; bit++) {
            sum = sum >> 1 ^ ((sum & 1u) != 0 ? 0xedb88320u : 0u);
        }
    }
    return ~sum;
}

static void line_begin(struct line *line, char kind) {
    line->length = 0;
    line->room = LINE_BYTES - END_BYTES;
    put_text(line, "@wmrec1 ");
    put_digits(line, recorder.lines++, 8u);
    put_char(line, ' ');
    put_char(line, kind);
}

static void line_end(struct line *line) {
    line->room = LINE_BYTES;
    put_char(line, ' ');
    uint32_t sum = checksum(line->text, line->length);
    put_char(line, '*');
    put_digits(line, sum, 8u);
    put_text(line, "\r\n");
    wm_heap_port_print(line->text, line->length);
}

static void line_numbers(char kind, const uint32_t *numbers, uint32_t count) {
    struct line line;
    line_begin(&line, kind);
    for (uint32_t i = 0; i < count; i++) {
        put_number(&line, numbers[i]);
    }
    line_end(&line);
}
#define LINE(kind, ...)                                                                            \
    line_numbers(kind, (const uint32_t[]){__VA_ARGS__},                                            \
                 (uint32_t)(sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)))

static void print_fault(void) {
    const struct wm_heap_fault *fault = &recorder.fault;
    if (fault->kind == WM_HEAP_FAULT_NONE) {
        return;
    }
    LINE('F', recorder.fault_total, fault->kind, fault->check, fault->block, fault->pointer,
         fault->address, fault->expected, fault->actual);
    if (recorder.fault_length != 0) {
        struct line line;
        line_begin(&line, 'M');
        put_number(&line, recorder.fault_address);
        put_char(&line, ' ');
        for (uint32_t i = 0; i < recorder.fault_length; i++) {
            put_digits(&line, recorder.fault_bytes[i], 2u);
        }
        line_end(&line);
    }
}

/* What every other line is to be read by. */
static void print_header(void) {
    uint32_t count;
    const struct wm_heap_region_config *regions = wm_heap_port_regions(&count);
    LINE('H', recorder.options, header_bytes(), recorder.mask + 1u, recorder.total);
    for (uint32_t i = 0; i < count && i < WM_HEAP_REGIONS_MAX; i++) {
        struct line line;
        line_begin(&line, 'R');
        put_number(&line, i);
        put_number(&line, regions[i].start);
        put_number(&line, regions[i].end);
        put_number(&line, regions[i].caps);
        put_number(&line, regions[i].deferred);
        put_char(&line, ' ');
        put_text(&line, regions[i].name);
        line_end(&line);
    }
    print_fault();
}

/* Before a line of contents: is it time to repeat the header? */
static void header_repeat(struct flush *flush) {
    if (flush->until_header == 0) {
        print_header();
        flush->until_header = HEADER_EVERY;
    }
    flush->until_header--;
}

/* The text of a handle, in pieces, unless it was printed lately. */
static void print_name(struct flush *flush, uint32_t handle) {
    for (uint32_t i = 0; i < NAMES_KEPT; i++) {
        if (flush->names[i] == handle) {
            return;
        }
    }
    const char *name = wm_heap_port_site_name(handle);
    uint32_t length = 0;
    while (name != NULL && name[length] != '\0' && length < 1023u) {
        length++;
    }
    for (uint32_t at = 0; at < length; at += NAME_CHUNK) {
        struct line line;
        line_begin(&line, 'N');
        put_number(&line, handle);
        put_number(&line, length);
        put_number(&line, at);
        put_char(&line, ' ');
        for (uint32_t i = at; i < length && i < at + NAME_CHUNK; i++) {
            char shown = '_';
            if (name[i] > ' ' && name[i] < 0x7f) {
                shown = name[i];
            }
            put_char(&line, shown);
        }
        line_end(&line);
    }
    flush->names[flush->name_next++ % NAMES_KEPT] = handle;
}

/* --- events and snapshots ------------------------------------------------------------- */

/* The next event that is not printed, copied under the lock. *number: which one. False: none
 * before `end`. Sets *skipped if some were overwritten. */
static bool event_take(uint32_t end, struct wm_heap_record *event, uint32_t *number,
                       bool *skipped) {
    uint32_t key = wm_heap_port_lock();
    uint32_t kept = recorder.mask + 1u;
    if (recorder.total - recorder.flushed > kept) {
        recorder.flushed = recorder.total - kept;
        *skipped = true;
    }
    bool taken = recorder.ring != NULL && (int32_t)(end - recorder.flushed) > 0;
    if (taken) {
        *number = recorder.flushed++;
        *event = recorder.ring[*number & recorder.mask];
    }
    wm_heap_port_unlock(key);
    return taken;
}

/* Some live blocks of a region, from an address on. */
struct chunk {
    uint32_t from;
    uint32_t as_of; /* events before it */
    uint32_t count;
    struct {
        uint32_t pointer, size, caps, site, line;
    } blocks[SNAPSHOT_CHUNK];
};

static bool chunk_visit(void *context, const struct wm_heap_block *block) {
    struct chunk *chunk = context;
    if (!block->live || block->address < chunk->from) {
        return true;
    }
    chunk->as_of = recorder.total; /* the walk holds the lock */
    chunk->blocks[chunk->count].pointer = block->pointer;
    chunk->blocks[chunk->count].size = block->size;
    chunk->blocks[chunk->count].caps = block->caps;
    chunk->blocks[chunk->count].site = block->site;
    chunk->blocks[chunk->count].line = block->line;
    chunk->from = block->address + 1u;
    return ++chunk->count < SNAPSHOT_CHUNK;
}

static uint32_t snapshot_region(struct flush *flush, uint32_t region) {
    struct chunk chunk = {.from = 0};
    uint32_t blocks = 0;
    do {
        chunk.count = 0;
        wm_heap_walk(region, chunk_visit, &chunk);
        for (uint32_t i = 0; i < chunk.count; i++) {
            header_repeat(flush);
            print_name(flush, chunk.blocks[i].site);
            LINE('B', recorder.snapshots, chunk.as_of, chunk.blocks[i].pointer,
                 chunk.blocks[i].size, chunk.blocks[i].caps, chunk.blocks[i].site,
                 chunk.blocks[i].line);
        }
        blocks += chunk.count;
    } while (chunk.count == SNAPSHOT_CHUNK);
    return blocks;
}

/* Beside the SDK's heap, whose blocks nobody can walk safely, its own list stands here: the
 * S line before it says which events it follows. */
static void snapshot_print(struct flush *flush) {
    uint32_t count;
    uint32_t blocks = 0;
    recorder.snapshots++;
    if ((recorder.options & WM_HEAP_RECORDER_SDK) != 0) {
        LINE('T', recorder.snapshots, recorder.total);
        wm_heap_print_tracing(NULL);
        return;
    }
    wm_heap_port_regions(&count);
    for (uint32_t i = 0; i < count; i++) {
        blocks += snapshot_region(flush, i);
    }
    LINE('S', recorder.snapshots, blocks);
}

void wm_heap_recorder_flush(bool snapshot) {
    if (recorder.ring == NULL) {
        return;
    }
    struct flush flush = {.until_header = 0};
    struct wm_heap_record event;
    uint32_t number;
    uint32_t end = recorder.total; /* what comes while this prints is the next flush's */
    while (event_take(end, &event, &number, &snapshot)) {
        header_repeat(&flush);
        if (event.site != 0 && (event.what & 7u) != WM_HEAP_RECORD_REALLOC_NEW) {
            print_name(&flush, event.site);
        }
        LINE('E', number, event.what, event.pointer, event.size, event.caller, event.site);
    }
    if (snapshot) {
        snapshot_print(&flush);
    }
    print_header();
}
