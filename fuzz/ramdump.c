/* SPDX-License-Identifier: Apache-2.0
 *
 * RAM dumps: any memory gets a verdict or one line that says why not, and what is found in it, a
 * heap or a recorder's ring, becomes a trace.
 *
 * The input is the dump. As those of a board are 288 KiB of hardly anything, an input that begins
 * with "WRAM" is a dump in short, all little-endian:
 *
 *     4 bytes  "WRAM"
 *     4        the memory's first address (as with --base); 0: a board's dump
 *     4        bytes of the dump, at most 295,936
 *     then, as often as there is more:
 *     2        words of 0 to leave out
 *     2        words that follow; with 0x8000 added: how often the one word stands there
 *     4 each   those words, or that word
 */
#include <stdlib.h>
#include <string.h>

#include "../sim/ramdump.h"
#include "../sim/recorder.h"
#include "fuzz.h"
#include "outcome.h"

const char fuzz_name[] = "ramdump";

#define SHORT_HEADER 12u
#define DUMP_WORDS 73984u /* 295,936 bytes: a board's 294,984, and some */

/* All zero between two inputs. The dump lies at its end, so that a step beyond it is a step out
 * of the array, which sanitizers see; a dump of an odd length gets its words misaligned, as in
 * the program. */
static uint8_t memory[DUMP_WORDS * 4u];

static uint32_t word_at(const uint8_t *data) {
    uint32_t word;
    memcpy(&word, data, sizeof word);
    return le32toh(word);
}

/* One run of words, onto the dump from *end on; returns its bytes in the input. */
static size_t lay_run(const uint8_t *data, size_t size, uint8_t *dump, size_t dump_size,
                      size_t *end) {
    const uint32_t head = word_at(data);
    const bool repeated = head >> 31 != 0;
    const size_t given = size - 4u < 4u ? size - 4u : 4u;
    size_t count = (size_t)4 * (head >> 16 & 0x7fffu);
    *end += (size_t)4 * (head & 0xffffu);
    if (*end >= dump_size) {
        return size;
    }
    const size_t room = dump_size - *end;
    uint8_t *to = dump + *end;
    count = count < room ? count : room;
    if (repeated) {
        for (size_t i = 0; i < count; i += 4u) {
            memcpy(to + i, data + 4, count - i < given ? count - i : given);
        }
    } else {
        count = count < size - 4u ? count : size - 4u;
        memcpy(to, data + 4, count);
    }
    *end += count;
    return 4u + (repeated ? given : count);
}

static void diagnose(const uint8_t *bytes, size_t size, uint32_t base) {
    struct recording recording;
    struct diagnose_options options = {
        .recording = &recording, .has_base = base != 0, .base = base};
    struct diagnosis diagnosis = {.exception = DIAGNOSE_NO_EXCEPTION};
    char reason[1024] = "";
    recording_init(&recording);
    FUZZ_CHECK(image_init(&diagnosis.image), "out of memory");
    if (diagnose_memory(bytes, size, "input", &options, &diagnosis, reason, sizeof reason)) {
        if (recording.boot.event_count > 0) {
            outcome_check_boot(&recording.boot);
        }
        outcome_check_diagnosis(&diagnosis);
    } else {
        outcome_check_reason(reason);
        diagnosis_free(&diagnosis);
    }
    recording_free(&recording);
}

/* A dump, laid out in `memory`. */
struct dump {
    uint8_t *bytes;
    uint32_t size;
    uint32_t used; /* what lies behind is zero */
};

static struct dump lay_out(const uint8_t *data, size_t size) {
    const uint32_t wanted = word_at(data + 8);
    const uint32_t dump_size = wanted < sizeof memory ? wanted : sizeof memory;
    uint8_t *bytes = memory + sizeof memory - dump_size;
    size_t end = 0;
    for (size_t at = SHORT_HEADER; size - at >= 4u;) {
        at += lay_run(data + at, size - at, bytes, dump_size, &end);
    }
    return (struct dump){bytes, dump_size, end < dump_size ? (uint32_t)end : dump_size};
}

static bool is_short(const uint8_t *data, size_t size) {
    return size >= SHORT_HEADER && memcmp(data, "WRAM", 4) == 0;
}

/* The dump as `wmheap diagnose` takes it. */
bool fuzz_explain(const uint8_t *data, size_t size, FILE *out) {
    if (!is_short(data, size)) {
        return fwrite(data, 1, size, out) == size;
    }
    const struct dump dump = lay_out(data, size);
    return fwrite(dump.bytes, 1, dump.size, out) == dump.size;
}

int fuzz_one(const uint8_t *data, size_t size) {
    if (size == 0) {
        return -1;
    }
    if (is_short(data, size)) {
        const struct dump dump = lay_out(data, size);
        diagnose(dump.bytes, dump.size, word_at(data + 4));
        memset(dump.bytes, 0, dump.used);
    } else {
        diagnose(data, size, 0);
    }
    return 0;
}
