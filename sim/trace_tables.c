/* SPDX-License-Identifier: Apache-2.0
 *
 * The text trace as tables: what each event's line looks like, and the words of the
 * format. A new event is a row in trace.h and a row here; reader and writer follow.
 */
#include "trace_internal.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

static_assert(sizeof(struct trace_event) == 36, "a trace may have millions of events");

const struct trace_number_field trace_number_fields[TRACE_FIELD_NUMBERS] = {
#define TRACE_ROW(name, label, member, max, style)                                                 \
    [TRACE_FIELD_##name] = {label, max, offsetof(struct trace_event, member), TRACE_STYLE_##style},
    TRACE_NUMBER_FIELDS(TRACE_ROW)
#undef TRACE_ROW
};

#define F(name) TRACE_FIELD_##name
const struct trace_shape trace_shapes[TRACE_EVENT_KINDS] = {
    [TRACE_APPEND] = {.fields = {F(NAME)}},
    [TRACE_ALLOC] = {.fields = {F(ID), F(SIZE), F(CAPS)}, .result = true},
    [TRACE_REALLOC] = {.fields = {F(ID), F(SIZE), F(CAPS)}, .result = true},
    [TRACE_FREE] = {.fields = {F(ID)}},
    [TRACE_FREEADDR] = {.fields = {F(ADDRESS)}},
    [TRACE_EXPECT] = {.fields = {F(KEYS)}},
    [TRACE_CALLOC] = {.fields = {F(ID), F(COUNT), F(SIZE), F(CAPS)}, .result = true},
    [TRACE_ALIGNED] = {.fields = {F(ID), F(ALIGNMENT), F(SIZE), F(CAPS)}, .result = true},
    [TRACE_INIT] = {.result = false},
    [TRACE_WRITE] = {.fields = {F(ID), F(OFFSET), F(LENGTH), F(BYTE)}},
    [TRACE_WRITEADDR] = {.fields = {F(ADDRESS), F(LENGTH), F(BYTE)}},
    [TRACE_READADDR] = {.fields = {F(ADDRESS), F(LENGTH)}},
    [TRACE_FLIP] = {.fields = {F(ADDRESS), F(BIT)}},
    [TRACE_FAIL] = {.fields = {F(NTH), F(ON)}},
    [TRACE_DMA] = {.fields = {F(MASTER), F(TRANSFER)}},
    [TRACE_CHECK] = {.fields = {F(REGION)}},
    [TRACE_STATS] = {.result = false},
    [TRACE_TRACING] = {.result = false},
};
#undef F

const struct trace_word trace_keywords[TRACE_EVENT_KINDS] = {
#define TRACE_ROW(name, keyword) [TRACE_##name] = {keyword, sizeof(keyword) - 1},
    TRACE_EVENTS(TRACE_ROW)
#undef TRACE_ROW
};

/* The bits are part of the SDK's interface. */
#define CAP(name, bit)                                                                             \
    { {name, sizeof(name) - 1}, 1u << (bit) }
const struct trace_cap trace_caps[TRACE_CAPS_NAMED] = {
    CAP("DEFAULT", 0), CAP("INTERNAL", 1), CAP("SPIRAM", 2),
    CAP("EXEC", 3),    CAP("SHARED", 4),   CAP("INVALID", 20),
};
#undef CAP

/* SRAM is 160 KiB and DRAM, which follows it, 128 KiB; of PSRAM at most 8 MiB are fitted,
 * and it alone is found at run time and joins the heap late. */
const struct trace_memory trace_memories[TRACE_REGIONS_MAX] = {
    {"SRAM", 0x20000000u, 0x20028000u, false},
    {"DRAM", 0x20028000u, 0x20048000u, false},
    {"PSRAM", 0x30000000u, 0x30800000u, true},
};

const char *const trace_dma_names[TRACE_DMA_MASTERS] = {"ch0", "ch1", "ch2",  "ch3",  "ch4", "ch5",
                                                        "ch6", "ch7", "sdio", "hspi", "wifi"};

/* The order of the values is that of the members' values. */
const struct trace_config_key trace_config_keys[TRACE_CONFIG_KEYS] = {
    {"tracing", {"n", "y"}},
    {"poisoning", {"none", "light", "comprehensive"}},
    {"realloc", {"move", "inplace"}},
};

/* As the SDK is delivered. */
const struct trace_config trace_config_default = {
    .tracing = true, .poisoning = TRACE_POISONING_NONE, .realloc_in_place = false};

unsigned trace_config_get(const struct trace_config *config, unsigned key) {
    switch (key) {
    case 0:
        return config->tracing;
    case 1:
        return config->poisoning;
    default:
        return config->realloc_in_place;
    }
}

static void config_put(struct trace_config *config, unsigned key, unsigned value) {
    switch (key) {
    case 0:
        config->tracing = value != 0;
        break;
    case 1:
        config->poisoning = (enum trace_poisoning)value;
        break;
    default:
        config->realloc_in_place = value != 0;
        break;
    }
}

int trace_config_parse(struct trace_config *config, const char *setting, size_t length) {
    const char *equals = memchr(setting, '=', length);
    const size_t name_length = equals != NULL ? (size_t)(equals - setting) : length;
    for (unsigned key = 0; key < TRACE_CONFIG_KEYS; ++key) {
        const struct trace_config_key *row = &trace_config_keys[key];
        if (!trace_word_is(setting, name_length, row->name, strlen(row->name)))
            continue;
        if (equals == NULL)
            return TRACE_CONFIG_UNKNOWN_VALUE;
        const size_t value_length = length - name_length - 1;
        for (unsigned i = 0; i < TRACE_CONFIG_VALUES_MAX && row->values[i] != NULL; ++i) {
            if (trace_word_is(equals + 1, value_length, row->values[i], strlen(row->values[i]))) {
                config_put(config, key, i);
                return (int)key;
            }
        }
        return TRACE_CONFIG_UNKNOWN_VALUE;
    }
    return TRACE_CONFIG_UNKNOWN_KEY;
}

bool trace_config_set(struct trace_config *config, const char *setting) {
    return trace_config_parse(config, setting, strlen(setting)) >= 0;
}

#define BLANK (TRACE_CLASS_BLANK | TRACE_CLASS_DELIMITER)
#define RETURN (TRACE_CLASS_CONTROL | TRACE_CLASS_DELIMITER)
#define CONTROL TRACE_CLASS_CONTROL
#define HEX(value) (TRACE_CLASS_HEX | (value))
const uint8_t trace_classes[256] = {
    [0x00] = CONTROL,
    [0x01] = CONTROL,
    [0x02] = CONTROL,
    [0x03] = CONTROL,
    [0x04] = CONTROL,
    [0x05] = CONTROL,
    [0x06] = CONTROL,
    [0x07] = CONTROL,
    [0x08] = CONTROL,
    ['\t'] = BLANK,
    ['\n'] = RETURN,
    [0x0b] = CONTROL,
    [0x0c] = CONTROL,
    ['\r'] = RETURN,
    [0x0e] = CONTROL,
    [0x0f] = CONTROL,
    [0x10] = CONTROL,
    [0x11] = CONTROL,
    [0x12] = CONTROL,
    [0x13] = CONTROL,
    [0x14] = CONTROL,
    [0x15] = CONTROL,
    [0x16] = CONTROL,
    [0x17] = CONTROL,
    [0x18] = CONTROL,
    [0x19] = CONTROL,
    [0x1a] = CONTROL,
    [0x1b] = CONTROL,
    [0x1c] = CONTROL,
    [0x1d] = CONTROL,
    [0x1e] = CONTROL,
    [0x1f] = CONTROL,
    [0x7f] = CONTROL,
    [' '] = BLANK,
    ['#'] = TRACE_CLASS_DELIMITER,
    ['0'] = HEX(0),
    ['1'] = HEX(1),
    ['2'] = HEX(2),
    ['3'] = HEX(3),
    ['4'] = HEX(4),
    ['5'] = HEX(5),
    ['6'] = HEX(6),
    ['7'] = HEX(7),
    ['8'] = HEX(8),
    ['9'] = HEX(9),
    ['a'] = HEX(10),
    ['b'] = HEX(11),
    ['c'] = HEX(12),
    ['d'] = HEX(13),
    ['e'] = HEX(14),
    ['f'] = HEX(15),
    ['A'] = HEX(10),
    ['B'] = HEX(11),
    ['C'] = HEX(12),
    ['D'] = HEX(13),
    ['E'] = HEX(14),
    ['F'] = HEX(15),
};
