/* SPDX-License-Identifier: Apache-2.0
 *
 * The glance at a line that comes before any parsing. A set of 65,536 bits says of two bytes
 * whether they occur together in anything worth parsing; which thing that is, is asked only of
 * the few pairs that are in the set.
 */
#include <string.h>

#include "console_internal.h"

static const struct {
    char pair[3];
    unsigned trigger;
} pairs[] = {
    {"KB", CONSOLE_TRIGGER_ROW},        {"MB", CONSOLE_TRIGGER_ROW},
    {"ai", CONSOLE_TRIGGER_COMPLAINT}, /* fail; remain, of SDK v2.2's stats */
    {"AI", CONSOLE_TRIGGER_COMPLAINT},  {"em", CONSOLE_TRIGGER_COMPLAINT}, /* memory */
    {"EM", CONSOLE_TRIGGER_COMPLAINT},  {"OO", CONSOLE_TRIGGER_COMPLAINT}, /* OOM */
    {"oc", CONSOLE_TRIGGER_COMPLAINT},                                     /* alloc */
    {"OC", CONSOLE_TRIGGER_COMPLAINT},  {"ea", CONSOLE_TRIGGER_COMPLAINT}, /* heap */
    {"DM", CONSOLE_TRIGGER_COMPLAINT},                                     /* DMA */
    {"@w", CONSOLE_TRIGGER_RECORDER},   {"mm", CONSOLE_TRIGGER_SUMMARY},
    {"pt", CONSOLE_TRIGGER_CORRUPTION}, {" \"", CONSOLE_TRIGGER_ASSERTION},
    {"Ex", CONSOLE_TRIGGER_EXCEPTION},  {"pc", CONSOLE_TRIGGER_ADDR2LINE},
    {"Cu", CONSOLE_TRIGGER_STATS},      {"ze", CONSOLE_TRIGGER_HEAP_SIZE},
    {"wm", CONSOLE_TRIGGER_BOOT},       {"k[", CONSOLE_TRIGGER_TASK},
};

static uint32_t pair_of(const char *text) {
    return (uint32_t)((uint8_t)text[0] << 8 | (uint8_t)text[1]);
}

void console_triggers_init(struct console_triggers *triggers) {
    memset(triggers, 0, sizeof *triggers);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        uint32_t pair = pair_of(pairs[i].pair);
        triggers->pairs[pair / 8] |= (uint8_t)(1u << pair % 8);
    }
    memset(&triggers->pairs[('\t' << 8) / 8], 0xff, 256 / 8); /* whatever follows a tab */
}

static unsigned trigger_of(const char *text) {
    if (text[0] == '\t') {
        return CONSOLE_TRIGGER_TAB;
    }
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (text[0] == pairs[i].pair[0] && text[1] == pairs[i].pair[1]) {
            return pairs[i].trigger;
        }
    }
    return 0;
}

unsigned console_triggers_of(const struct console_triggers *triggers, const char *text,
                             size_t length) {
    unsigned found = 0;
    for (size_t i = 0; i + 1 < length; i++) {
        uint32_t pair = pair_of(text + i);
        if ((triggers->pairs[pair / 8] >> pair % 8 & 1) != 0) {
            found |= trigger_of(text + i);
        }
    }
    return found;
}
