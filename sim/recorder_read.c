/* SPDX-License-Identifier: Apache-2.0
 *
 * Console text in, events out. Nothing is taken from a line whose checksum is wrong, and
 * nothing is believed even of an intact one beyond its ranges: firmware can be wrong too.
 */
#include "recorder.h"

#include <stdlib.h>
#include <string.h>

#include "../core/wm_heap_recorder.h"

static const char prefix[] = "@wmrec1 ";
#define PREFIX_BYTES (sizeof prefix - 1)
#define SUM_BYTES 9u /* `*` and eight digits */
#define FIELDS_MAX 8

/* --- an intact line ------------------------------------------------------------------- */

static uint32_t checksum(const char *text, size_t length) {
    static const uint32_t nibble[16] = {0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu,
                                        0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
                                        0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
                                        0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
    uint32_t sum = 0xffffffffu;
    for (size_t i = 0; i < length; i++) {
        sum ^= (uint8_t)text[i];
        sum = sum >> 4 ^ nibble[sum & 15u];
        sum = sum >> 4 ^ nibble[sum & 15u];
    }
    return ~sum;
}

static int digit_value(char character) {
    if (character >= '0' && character <= '9')
        return character - '0';
    if (character >= 'a' && character <= 'f')
        return character - 'a' + 10;
    return -1;
}

/* One to eight lower-case hexadecimal digits; moves *at behind them. */
static bool take_hex(const char **at, const char *end, uint32_t *value) {
    const char *from = *at;
    *value = 0;
    while (*at < end && *at - from < 8 && digit_value(**at) >= 0)
        *value = *value << 4 | (uint32_t)digit_value(*(*at)++);
    return *at > from;
}

/* A blank and a number, as often as `count` says. */
static bool take_fields(const char **at, const char *end, uint32_t *fields, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        if (*at == end || **at != ' ')
            return false;
        ++*at;
        if (!take_hex(at, end, &fields[i]))
            return false;
    }
    return true;
}

/* --- growing -------------------------------------------------------------------------- */

static void *grown(void *array, size_t *room, size_t count, size_t item) {
    if (count < *room)
        return array;
    size_t more = *room == 0 ? 64 : *room * 2;
    void *bigger = realloc(array, more * item);
    if (bigger != NULL)
        *room = more;
    return bigger;
}

static void boot_free(struct recorder_boot *boot) {
    for (size_t i = 0; i < boot->name_count; i++)
        free(boot->names[i].text);
    free(boot->names);
    free(boot->events);
    free(boot->blocks);
    *boot = (struct recorder_boot){0};
}

void recording_init(struct recording *recording) { *recording = (struct recording){0}; }

void recording_free(struct recording *recording) {
    boot_free(&recording->boot);
    boot_free(&recording->current);
    recording_init(recording);
}

/* --- what the lines say --------------------------------------------------------------- */

static bool add_event(struct recording *recording, const uint32_t *field) {
    struct recorder_boot *boot = &recording->current;
    uint32_t number = field[0];
    if (boot->event_count > 0 && number <= boot->events[boot->event_count - 1].number)
        return false;
    boot->total = number >= boot->total ? number + 1 : boot->total;
    if (boot->event_count >= RECORDER_EVENTS_MAX)
        return true;
    struct recorder_event *events =
        grown(boot->events, &boot->event_room, boot->event_count, sizeof *events);
    if (events == NULL) {
        recording->out_of_memory = true;
        return false;
    }
    boot->events = events;
    events[boot->event_count++] = (struct recorder_event){
        .number = number,
        .kind = field[1] & 7u,
        .caps = field[1] >> 3 & 31u,
        .task = field[1] >> 8 & 0xffu,
        .line = field[1] >> 16,
        .pointer = field[2],
        .size = field[3],
        .caller = field[4],
        .site = field[5],
    };
    return true;
}

static bool add_block(struct recording *recording, const struct recorder_block *block) {
    struct recorder_boot *boot = &recording->current;
    if (boot->block_count >= RECORDER_EVENTS_MAX)
        return true;
    struct recorder_block *blocks =
        grown(boot->blocks, &boot->block_room, boot->block_count, sizeof *blocks);
    if (blocks == NULL) {
        recording->out_of_memory = true;
        return false;
    }
    boot->blocks = blocks;
    blocks[boot->block_count++] = *block;
    return true;
}

/* Where a handle's name is or belongs: names stand in the order of their handles. */
static size_t name_place(const struct recorder_boot *boot, uint32_t handle) {
    size_t low = 0;
    for (size_t high = boot->name_count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (boot->names[middle].handle < handle)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct recorder_name *name_find(const struct recorder_boot *boot, uint32_t handle) {
    size_t place = name_place(boot, handle);
    bool found = place < boot->name_count && boot->names[place].handle == handle;
    return found ? &boot->names[place] : NULL;
}

const char *recorder_name(const struct recorder_boot *boot, uint32_t handle) {
    const struct recorder_name *name = handle != 0 ? name_find(boot, handle) : NULL;
    return name != NULL && name->got == name->length ? name->text : NULL;
}

static struct recorder_name *name_new(struct recording *recording, uint32_t handle,
                                      uint32_t length) {
    struct recorder_boot *boot = &recording->current;
    if (boot->name_count >= RECORDER_NAMES_MAX)
        return NULL;
    struct recorder_name *names =
        grown(boot->names, &boot->name_room, boot->name_count, sizeof *names);
    char *text = calloc(1, (size_t)length + 1);
    if (names != NULL)
        boot->names = names;
    if (names == NULL || text == NULL) {
        free(text);
        recording->out_of_memory = true;
        return NULL;
    }
    size_t place = name_place(boot, handle);
    memmove(&names[place + 1], &names[place], (boot->name_count++ - place) * sizeof *names);
    names[place] = (struct recorder_name){handle, length, 0, text};
    return &names[place];
}

/* Pieces of a name may come out of order and more than once. */
static bool add_name(struct recording *recording, const uint32_t *field, const char *text,
                     size_t bytes) {
    uint32_t length = field[1];
    if (length > TRACE_FILE_MAX || field[2] > length || bytes == 0 || bytes > length - field[2] ||
        memchr(text, 0, bytes) != NULL)
        return false;
    struct recorder_name *name = name_find(&recording->current, field[0]);
    if (name == NULL)
        name = name_new(recording, field[0], length);
    if (name == NULL || name->length != length)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        char *at = &name->text[field[2] + i];
        name->got += *at == '\0';
        *at = text[i];
    }
    return true;
}

static bool add_region(struct recorder_boot *boot, const uint32_t *field, const char *name,
                       size_t bytes) {
    struct trace_region *region = &boot->regions[field[0] % TRACE_REGIONS_MAX];
    if (field[0] >= TRACE_REGIONS_MAX || bytes == 0 || bytes >= sizeof region->name)
        return false;
    *region = (struct trace_region){
        .start = field[1], .end = field[2], .caps = field[3], .deferred = field[4] != 0};
    memcpy(region->name, name, bytes);
    boot->region_known[field[0]] = true;
    return true;
}

static bool add_memory(struct recorder_fault *fault, uint32_t address, const char *at,
                       const char *end) {
    size_t digits = (size_t)(end - at);
    if (digits == 0 || digits % 2 != 0 || digits / 2 > RECORDER_MEMORY_MAX)
        return false;
    fault->memory_address = address;
    fault->memory_length = (uint32_t)(digits / 2);
    for (size_t i = 0; i < digits; i += 2) {
        int high = digit_value(at[i]);
        int low = digit_value(at[i + 1]);
        if (high < 0 || low < 0) {
            fault->memory_length = 0;
            return false;
        }
        fault->memory[i / 2] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static void add_fault(struct recorder_fault *fault, const uint32_t *field) {
    fault->known = true;
    fault->total = field[0];
    fault->kind = field[1];
    fault->check = field[2];
    fault->block = field[3];
    fault->pointer = field[4];
    fault->address = field[5];
    fault->expected = field[6];
    fault->actual = field[7];
}

/* How many numbers each kind of line has, and whether text follows. */
static const struct {
    unsigned fields;
    char kind;
    bool text;
} kinds[] = {{4, 'H', false}, {5, 'R', true},  {6, 'E', false}, {3, 'N', true}, {8, 'F', false},
             {1, 'M', true},  {7, 'B', false}, {2, 'S', false}, {2, 'T', false}};

static bool body_read(struct recording *recording, char kind, const uint32_t *field,
                      const char *text, const char *end) {
    struct recorder_boot *boot = &recording->current;
    size_t bytes = (size_t)(end - text);
    switch (kind) {
    case 'H':
        boot->has_header = true;
        boot->options = field[0];
        boot->header_size = field[1];
        boot->total = field[3] > boot->total ? field[3] : boot->total;
        return true;
    case 'R':
        return add_region(boot, field, text, bytes);
    case 'E':
        return add_event(recording, field);
    case 'N':
        return add_name(recording, field, text, bytes);
    case 'F':
        add_fault(&boot->fault, field);
        return true;
    case 'M':
        return add_memory(&boot->fault, field[0], text, end);
    case 'B':
        return add_block(recording, &(struct recorder_block){field[1], field[2], field[3], field[4],
                                                             field[5], field[6]});
    case 'S':
        boot->snapshots++;
        return true;
    default: /* T */
        recording->in_list = true;
        recording->list_as_of = field[1];
        return true;
    }
}

/* `at` stands behind the sequence number. */
static bool contents_read(struct recording *recording, const char *at, const char *end) {
    uint32_t field[FIELDS_MAX] = {0};
    if (end - at < 3 || at[0] != ' ')
        return false;
    char kind = at[1];
    at += 2;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].kind != kind)
            continue;
        if (!take_fields(&at, end, field, kinds[i].fields))
            return false;
        if (kinds[i].text && (at == end || *at++ != ' '))
            return false;
        return (kinds[i].text || at == end) && body_read(recording, kind, field, at, end);
    }
    return false; /* a kind of a later version: its sequence number counts nevertheless */
}

/* --- boots ---------------------------------------------------------------------------- */

/* The more a boot tells of a fault, the better. */
static int boot_worth(const struct recorder_boot *boot) {
    return boot->fault.known                                ? 3
           : boot->event_count > 0 || boot->block_count > 0 ? 2
                                                            : boot->lines > 0;
}

static void boot_ends(struct recording *recording) {
    if (recording->current.lines > 0)
        recording->boots++;
    if (boot_worth(&recording->current) >= boot_worth(&recording->boot)) {
        boot_free(&recording->boot);
        recording->boot = recording->current;
    } else {
        boot_free(&recording->current);
    }
    recording->current = (struct recorder_boot){0};
}

/* The firmware counts its lines from 0: a smaller number is a later boot's. */
static void sequence_take(struct recording *recording, uint32_t sequence) {
    if (sequence < recording->current.next_sequence)
        boot_ends(recording);
    struct recorder_boot *boot = &recording->current;
    boot->lines_lost += sequence - boot->next_sequence;
    boot->next_sequence = sequence + 1;
    boot->lines++;
}

/* --- finding lines -------------------------------------------------------------------- */

static const char *find_prefix(const char *from, const char *end) {
    while (from < end) {
        const char *at = memchr(from, prefix[0], (size_t)(end - from));
        if (at == NULL || (size_t)(end - at) < PREFIX_BYTES)
            return NULL;
        if (memcmp(at, prefix, PREFIX_BYTES) == 0)
            return at;
        from = at + 1;
    }
    return NULL;
}

bool recorder_line_is(const char *line, size_t length) {
    return find_prefix(line, line + length) != NULL;
}

/* One line from its prefix on, up to where the next could begin. */
static bool piece_read(struct recording *recording, const char *piece, const char *end) {
    const char *at = piece + PREFIX_BYTES;
    uint32_t sequence;
    if (!take_hex(&at, end, &sequence) || at - piece != (ptrdiff_t)PREFIX_BYTES + 8)
        return false;
    for (const char *star = at; (star = memchr(star, '*', (size_t)(end - star))) != NULL; star++) {
        const char *digits = star + 1;
        uint32_t sum;
        if (take_hex(&digits, end, &sum) && digits - star == SUM_BYTES &&
            sum == checksum(piece, (size_t)(star - piece))) {
            sequence_take(recording, sequence);
            return contents_read(recording, at, star - 1); /* without the blank before it */
        }
    }
    return false;
}

/* A line of the SDK's list: INDEX, POINTER, FILE:LINE, SIZE, with tabs between. */
static bool list_line(struct recording *recording, const char *line, size_t length) {
    char text[RECORDER_LINE_MAX];
    if (length >= sizeof text || memchr(line, '\t', length) == NULL ||
        memchr(line, '\0', length) != NULL)
        return false;
    memcpy(text, line, length);
    text[length] = '\0';
    char *pointer = strchr(text, '\t') + 1;
    char *file = strchr(pointer, '\t');
    char *size = file != NULL ? strrchr(file + 1, '\t') : NULL;
    char *colon = NULL;
    if (size != NULL) {
        *size++ = '\0';
        *file++ = '\0';
        colon = strrchr(file, ':');
    }
    if (colon == NULL)
        return false;
    *colon = '\0';
    struct recorder_block block = {
        .as_of = recording->list_as_of,
        .pointer = (uint32_t)strtoul(pointer, NULL, 16),
        .size = (uint32_t)strtoul(size, NULL, 10),
        .line = (uint32_t)strtoul(colon + 1, NULL, 10),
    };
    /* The list has the name, not the handle: a number of our own, from the text. */
    size_t bytes = strlen(file);
    block.site = checksum(file, bytes) | 1u;
    if (bytes > 0)
        add_name(recording, (const uint32_t[]){block.site, (uint32_t)bytes, 0}, file, bytes);
    return block.pointer != 0 && block.size != 0 && add_block(recording, &block);
}

bool recording_line(struct recording *recording, const char *line, size_t length) {
    const char *end = line + length;
    const char *piece = find_prefix(line, end);
    bool any = false;
    recording->lines++;
    if (piece == NULL && recording->in_list) {
        list_line(recording, line, length);
        if (length >= 8 && memcmp(line, "summary:", 8) == 0)
            recording->in_list = false;
        return false;
    }
    while (piece != NULL) {
        const char *next = find_prefix(piece + 1, end);
        if (piece_read(recording, piece, next != NULL ? next : end)) {
            any = true;
        } else {
            recording->current.damaged++;
            recording->damaged++;
        }
        piece = next;
    }
    return any;
}

void recording_end(struct recording *recording) {
    if (recording->current.lines > 0 || recording->current.damaged > 0)
        boot_ends(recording);
}

bool recording_read(struct recording *recording, FILE *console) {
    char line[RECORDER_LINE_MAX];
    size_t length = 0;
    for (int byte; (byte = getc_unlocked(console)) != EOF;) {
        if (byte == '\n' || length == sizeof line) {
            recording_line(recording, line, length);
            length = 0;
        }
        if (byte != '\n')
            line[length++] = (char)byte;
        if (recording->out_of_memory)
            return false;
    }
    if (length > 0)
        recording_line(recording, line, length);
    recording_end(recording);
    return !ferror(console) && !recording->out_of_memory;
}
