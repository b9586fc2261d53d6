/* SPDX-License-Identifier: Apache-2.0 */
#include "emit.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "emit_internal.h"
#include "workload.h"

#define COLUMNS 100
#define EVENTS_PER_FUNCTION 100u /* compilers are slow on endless functions */

void emit_name(const char *path, char name[EMIT_NAME_MAX]) {
    const char *base = strrchr(path, '/');
    base = base != NULL ? base + 1 : path;
    size_t length = 0;
    if (isalpha((unsigned char)*base) == 0 && *base != '_') {
        memcpy(name, "trace_", 6);
        length = 6;
    }
    for (; *base != '\0' && *base != '.' && length + 1 < EMIT_NAME_MAX; base++) {
        name[length++] =
            isalnum((unsigned char)*base) != 0 && (unsigned char)*base < 0x80 ? *base : '_';
    }
    name[length] = '\0';
}

/* --- pieces of C ------------------------------------------------------------------------- */

/* A string literal: no bytes that end it, none that a terminal minds, no trigraphs. */
static void put_literal(FILE *out, const char *text) {
    fputc('"', out);
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\' || byte == '?') {
            fprintf(out, "\\%c", byte);
        } else if (byte < 0x20 || byte >= 0x7f) {
            fprintf(out, "\\%03o", byte);
        } else {
            fputc(byte, out);
        }
    }
    fputc('"', out);
}

/* Words inside a comment must not end it. */
static void put_comment(FILE *out, const char *text) {
    for (; *text != '\0'; text++) {
        fputc(*text, out);
        if ((*text == '*' && text[1] == '/') || (*text == '/' && text[1] == '*')) {
            fputc(' ', out);
        }
    }
}

static void put_caps(FILE *out, uint32_t caps) {
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {{WM_HEAP_CAP_DEFAULT, "DEFAULT"}, {WM_HEAP_CAP_INTERNAL, "INTERNAL"},
                 {WM_HEAP_CAP_SPIRAM, "SPIRAM"},   {WM_HEAP_CAP_EXEC, "EXEC"},
                 {WM_HEAP_CAP_SHARED, "SHARED"},   {WM_HEAP_CAP_INVALID, "INVALID"}};
    const char *between = "";
    uint32_t rest = caps;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((caps & names[i].bit) != 0) {
            fprintf(out, "%sWM_HEAP_CAP_%s", between, names[i].name);
            between = " | ";
            rest &= ~names[i].bit;
        }
    }
    if (rest != 0 || caps == 0) {
        fprintf(out, "%s(wm_heap_cap_type_t)0x%" PRIx32, between, rest);
    }
}

/* --- the calls ------------------------------------------------------------------------------ */

static const char *const allocators[TRACE_EVENT_KINDS] = {
    [TRACE_ALLOC] = "wm_heap_caps_alloc_tracing",
    [TRACE_CALLOC] = "wm_heap_caps_calloc_tracing",
    [TRACE_ALIGNED] = "wm_heap_caps_aligned_alloc_tracing",
    [TRACE_REALLOC] = "wm_heap_caps_realloc_tracing",
};

/* `call(arguments, caps, "file", line);`, in two lines if one would be too long. */
static void put_allocation(const struct emit *emit, const struct trace_event *event) {
    char *head = NULL;
    char *site = NULL;
    size_t size;
    FILE *out = open_memstream(&head, &size);
    if (out == NULL) {
        *emit->starved = true;
        return;
    }
    bool moves = event->kind == TRACE_REALLOC;
    if (moves) {
        fprintf(out, "    moved = ");
    } else {
        fprintf(out, "    %s_p[%" PRIu32 "] = ", emit->name, event->slot);
    }
    fprintf(out, "%s(", allocators[event->kind]);
    long open = ftell(out);
    if (event->kind == TRACE_CALLOC || event->kind == TRACE_ALIGNED) {
        fprintf(out, "%" PRIu32 ", ", event->extra);
    } else if (moves) {
        fprintf(out, "%s_p[%" PRIu32 "], ", emit->name, event->slot);
    }
    fprintf(out, "%" PRIu32 ", ", event->size);
    put_caps(out, event->caps);
    fputc(',', out);
    fclose(out);
    out = open_memstream(&site, &size);
    if (out != NULL) {
        if ((event->has & TRACE_HAS_SITE) != 0) {
            put_literal(out, emit->trace->names[event->site]);
        } else {
            fputs("NULL", out);
        }
        fprintf(out, ", %d);\n", (int)event->site_line);
        fclose(out);
        bool fits = strlen(head) + strlen(site) <= COLUMNS;
        fprintf(emit->out, "%s%s%*s%s", head, fits ? " " : "\n", fits ? 0 : (int)open, "", site);
    } else {
        *emit->starved = true;
    }
    free(head);
    free(site);
}

/* What the program's variable holds after a realloc, and what the recording says of it. */
static void put_result(const struct emit *emit, size_t index) {
    const struct trace_event *event = &emit->trace->events[index];
    bool moves = event->kind == TRACE_REALLOC;
    bool predicted = emit->failure.mismatch && emit->failure.event == index + 1 &&
                     strcmp(emit->failure.what, "address") == 0;
    char value[EMIT_NAME_MAX + 32];
    if (moves) {
        snprintf(value, sizeof value, "moved");
    } else {
        snprintf(value, sizeof value, "%s_p[%" PRIu32 "]", emit->name, event->slot);
    }
    if ((event->has & TRACE_HAS_ADDRESS) != 0 || predicted) {
        fprintf(emit->out, "    %s_returned(%s, 0x%08" PRIx32 ");\n", emit->name, value,
                predicted ? emit->failure.expected : event->address);
    }
    if (moves && event->size == 0) {
        fprintf(emit->out, "    %s_p[%" PRIu32 "] = moved;\n", emit->name, event->slot);
    } else if (moves) {
        fprintf(emit->out, "    %s_p[%" PRIu32 "] = moved != NULL ? moved : %s_p[%" PRIu32 "];\n",
                emit->name, event->slot, emit->name, event->slot);
    }
}

static void put_expect(const struct emit *emit, const struct trace_event *event) {
    if ((event->has & TRACE_HAS_FREE) != 0) {
        fprintf(emit->out, "    cr_expect_eq(wm_heap_get_free_size(), %" PRIu32 "u);\n",
                event->size);
    }
    if ((event->has & TRACE_HAS_MIN_FREE) != 0) {
        fprintf(emit->out,
                "    cr_expect_eq(wm_heap_get_minimum_ever_free_size(), %" PRIu32 "u);\n",
                event->caps);
    }
}

static void put_check(const struct emit *emit, const char *region) {
    uint32_t first = 0;
    uint32_t end = emit->trace->region_count;
    for (uint32_t i = 0; region != NULL && i < emit->trace->region_count; i++) {
        if (strcmp(region, emit->trace->regions[i].name) == 0) {
            first = i;
            end = i + 1;
        }
    }
    fprintf(emit->out, "    %s_check(%" PRIu32 ", %" PRIu32 ");\n", emit->name, first, end);
}

static void put_dma(const struct emit *emit, const struct trace_event *event) {
    if ((event->has & TRACE_HAS_STOP) != 0) {
        fprintf(emit->out, "    w800_dma_stop(%" PRIu32 ");\n", event->extra);
    } else {
        fprintf(emit->out, "    w800_dma_start(%" PRIu32 ", 0x%08" PRIx32 ", %" PRIu32 ");\n",
                event->extra, event->caps, event->size);
    }
}

static void put_call(const struct emit *emit, const struct trace_event *event) {
    const struct trace *trace = emit->trace;
    FILE *out = emit->out;
    const char *name = emit->name;
    switch (event->kind) {
    case TRACE_APPEND:
        fprintf(out, "    wm_heap_append_to_heap(");
        put_literal(out, trace->names[event->extra]);
        fprintf(out, ");\n");
        break;
    case TRACE_FREE:
        fprintf(out, "    wm_heap_caps_free(%s_p[%" PRIu32 "]);\n", name, event->slot);
        fprintf(out, "    %s_p[%" PRIu32 "] = NULL;\n", name, event->slot);
        break;
    case TRACE_FREEADDR:
        fprintf(out, "    wm_heap_caps_free(w800_pointer(0x%08" PRIx32 "));\n", event->caps);
        break;
    case TRACE_INIT:
        fprintf(out, "    wm_heap_init();\n");
        break;
    case TRACE_WRITE:
        fprintf(out,
                "    %s_store(w800_address(%s_p[%" PRIu32 "]) + 0x%" PRIx32 "u, %" PRIu32
                ", 0x%02" PRIx32 ");\n",
                name, name, event->slot, event->caps, event->size, event->extra);
        break;
    case TRACE_WRITEADDR:
        fprintf(out, "    %s_store(0x%08" PRIx32 ", %" PRIu32 ", 0x%02" PRIx32 ");\n", name,
                event->caps, event->size, event->extra);
        break;
    case TRACE_READADDR:
        fprintf(out, "    %s_load(0x%08" PRIx32 ", %" PRIu32 ");\n", name, event->caps,
                event->size);
        break;
    case TRACE_FLIP:
        fprintf(out, "    w800_flip_bit(0x%08" PRIx32 ", %" PRIu32 ");\n", event->caps,
                event->extra);
        break;
    case TRACE_FAIL:
        fprintf(out, "    w800_fail_allocation(%" PRIu32 ", %s);\n", event->size,
                (event->has & TRACE_HAS_ON) != 0 ? "true" : "false");
        break;
    case TRACE_DMA:
        put_dma(emit, event);
        break;
    case TRACE_EXPECT:
        put_expect(emit, event);
        break;
    case TRACE_CHECK:
        put_check(emit, event->extra == TRACE_NO_SLOT ? NULL : trace->names[event->extra]);
        break;
    default: /* stats and tracing only print */
        break;
    }
}

static bool contents_fail(const struct emit *emit) {
    return emit->fails && emit->failure.mismatch && strcmp(emit->failure.what, "contents") == 0;
}

/* A block whose contents somebody destroys is filled when it comes, unless it comes zeroed,
 * and compared before the event at which the replay saw the difference. */
static void put_filling(const struct emit *emit, const struct trace_event *event) {
    if (event->kind != TRACE_CALLOC) {
        fprintf(emit->out, "    if (%s_p[%" PRIu32 "] != NULL) {\n", emit->name, emit->slot);
        fprintf(emit->out, "        memset(%s_p[%" PRIu32 "], 0x%02x, %" PRIu32 ");\n    }\n",
                emit->name, emit->slot, STAND_IN_BYTE, event->size);
    }
}

static void put_comparison(const struct emit *emit) {
    fprintf(emit->out,
            "    cr_expect_eq(((uint8_t *)%s_p[%" PRIu32 "])[%" PRIu32 "], 0x%02" PRIx32
            ", \"the block's contents have changed\");\n",
            emit->name, emit->slot, emit->offset, emit->failure.expected);
}

static void put_event(const struct emit *emit, size_t index) {
    const struct trace_event *event = &emit->trace->events[index];
    bool here = emit->fails && emit->failure.event == index + 1;
    char text[TRACE_LINE_MAX];
    trace_format_event(emit->trace, event, text, sizeof text);
    text[strcspn(text, "@=")] = '\0'; /* the rest is in the call */
    fprintf(emit->out, "    %s_event = %zu; /* ", emit->name, index + 1);
    put_comment(emit->out, text);
    fprintf(emit->out, "%s*/\n", text[0] != '\0' && text[strlen(text) - 1] == ' ' ? "" : " ");
    if (contents_fail(emit) && here) {
        put_comparison(emit);
    }
    if (workload_allocates(event)) {
        put_allocation(emit, event);
        put_result(emit, index);
    } else {
        put_call(emit, event);
    }
    if (contents_fail(emit) && index == emit->origin) {
        put_filling(emit, event);
    }
    if (here && emit->failure.mismatch && strcmp(emit->failure.judge, "model") == 0 &&
        strstr(emit->failure.what, "free") != NULL) {
        struct trace_event counted = {
            .has = strcmp(emit->failure.what, "free") == 0 ? TRACE_HAS_FREE : TRACE_HAS_MIN_FREE,
            .size = emit->failure.expected,
            .caps = emit->failure.expected};
        put_expect(emit, &counted);
    }
    if (here && emit->failure.by_check) {
        put_check(emit, NULL);
    }
}

/* --- the file ------------------------------------------------------------------------------- */

static bool has_kind(const struct emit *emit, const bool *wanted) {
    for (size_t i = 0; i < emit->ends_at; i++) {
        if (wanted[emit->trace->events[i].kind]) {
            return true;
        }
    }
    return false;
}

static void put_head(const struct emit *emit, const char *shown) {
    const struct shrink_failure *failure = &emit->failure;
    fprintf(emit->out, "/* The trace ");
    put_comment(emit->out, shown);
    fprintf(emit->out, ", %zu events, as a test.", emit->ends_at);
    if (!emit->fails) {
        fprintf(emit->out, " It replays as expected, so this passes.");
    } else if (!failure->mismatch) {
        fprintf(emit->out, "\n * A replay says at event %zu: %s,\n * block 0x%08" PRIx32,
                failure->event, failure->what, failure->address);
        if (failure->site[0] != '\0') {
            fprintf(emit->out, "\n * from ");
            put_comment(emit->out, failure->site);
        }
        if (failure->before_site[0] != '\0') {
            fprintf(emit->out, ",\n * right behind the one from ");
            put_comment(emit->out, failure->before_site);
        }
        fprintf(emit->out, ".\n * Fails until that is fixed.");
    } else {
        fprintf(emit->out,
                "\n * A replay says at event %zu: %s\n * expected 0x%" PRIx32
                " (%s), got 0x%" PRIx32 ". Fails until that is fixed.",
                failure->event, failure->what, failure->expected, failure->judge, failure->got);
    }
    fprintf(emit->out, "\n * Links with w800::sim and Criterion. */\n"
                       "#include <criterion/criterion.h>\n#include <inttypes.h>\n"
                       "#include <string.h>\n\n#include \"w800.h\"\n\n");
}

/* Which faults are expected where, and what to do about others. */
static size_t put_faults(const struct emit *emit) {
    const struct trace *trace = emit->trace;
    const char *name = emit->name;
    FILE *out = emit->out;
    size_t expected = 0;
    fprintf(out, "static unsigned %s_event; /* of the trace, that runs */\n", name);
    fprintf(out, "static unsigned %s_faults; /* that came as expected */\n", name);
    fprintf(out,
            "static const struct {\n    unsigned event;\n    const char *kind;\n} "
            "%s_expected[] = {",
            name);
    for (size_t i = 0; i < emit->ends_at; i++) {
        const struct trace_event *event = &trace->events[i];
        if (event->kind == TRACE_EXPECT && (event->has & TRACE_HAS_FAULT) != 0) {
            fprintf(out, "{%zu, ", i);
            put_literal(out, trace->names[event->extra]);
            fputs("}, ", out);
            expected++;
        }
    }
    fprintf(out, "{0, NULL}};\n\n");
    fprintf(out,
            "static void %s_on_event(void *context, const struct w800_event *event) {\n"
            "    const char *kind = event->kind == W800_EVENT_HEAP_FAULT\n"
            "                           ? wm_heap_fault_name(event->fault.kind)\n"
            "                           : w800_event_name(event->kind);\n"
            "    (void)context;\n"
            "    if (event->kind == W800_EVENT_REALLOC_MOVED) {\n        return;\n    }\n"
            "    if (%s_expected[%s_faults].event == %s_event &&\n"
            "        strcmp(%s_expected[%s_faults].kind, kind) == 0) {\n"
            "        %s_faults++;\n        return;\n    }\n",
            name, name, name, name, name, name, name);
    fprintf(out,
            "    cr_expect(false, \"event %%u: %%s at 0x%%08\" PRIx32, %s_event, kind,\n"
            "              event->kind == W800_EVENT_HEAP_FAULT ? event->fault.address : "
            "event->address);\n}\n\n",
            name);
    return expected;
}

static void put_checker(const struct emit *emit) {
    fprintf(emit->out,
            "static void %s_check(uint32_t first, uint32_t end) {\n"
            "    struct wm_heap_fault fault = {0};\n"
            "    for (uint32_t i = first; i < end; i++) {\n"
            "        bool seen = w800_config()->regions[i].start < W800_PSRAM_START || "
            "!w800_dma_on_psram();\n"
            "        cr_expect(!seen || wm_heap_check(i, &fault),\n"
            "                  \"after event %%u: %%s: at 0x%%08\" PRIx32 \" expected 0x%%08\" "
            "PRIx32\n                  \", found 0x%%08\" PRIx32,\n"
            "                  %s_event, wm_heap_fault_name(fault.kind), fault.address, "
            "fault.expected,\n                  fault.actual);\n    }\n}\n\n",
            emit->name, emit->name);
}

static void put_helpers(const struct emit *emit) {
    static const bool stores[TRACE_EVENT_KINDS] = {[TRACE_WRITE] = true, [TRACE_WRITEADDR] = true};
    static const bool loads[TRACE_EVENT_KINDS] = {[TRACE_READADDR] = true};
    const char *name = emit->name;
    FILE *out = emit->out;
    bool addresses = emit->failure.mismatch && strcmp(emit->failure.what, "address") == 0;
    for (size_t i = 0; i < emit->ends_at; i++) {
        addresses |= (emit->trace->events[i].has & TRACE_HAS_ADDRESS) != 0;
    }
    static const bool checks[TRACE_EVENT_KINDS] = {[TRACE_CHECK] = true};
    if (!emit->ends_damaged || has_kind(emit, checks)) {
        put_checker(emit);
    }
    if (addresses) {
        fprintf(out,
                "static void %s_returned(const void *pointer, uint32_t address) {\n"
                "    cr_expect_eq(w800_address(pointer), address,\n"
                "                 \"event %%u: 0x%%08\" PRIx32 \", not 0x%%08\" PRIx32, %s_event,\n"
                "                 w800_address(pointer), address);\n}\n\n",
                name, name);
    }
    if (has_kind(emit, stores)) {
        fprintf(out,
                "__attribute__((no_sanitize(\"undefined\"))) /* null may be meant */\n"
                "static void %s_store(uint32_t address, uint32_t length, uint8_t byte) {\n"
                "    for (uint32_t i = 0; i < length; i++) {\n"
                "        *(volatile uint8_t *)w800_pointer(address + i) = byte;\n    }\n}\n\n",
                name);
    }
    if (has_kind(emit, loads)) {
        fprintf(out,
                "__attribute__((no_sanitize(\"undefined\"))) /* null may be meant */\n"
                "static void %s_load(uint32_t address, uint32_t length) {\n"
                "    for (uint32_t i = 0; i < length; i++) {\n"
                "        (void)*(volatile uint8_t *)w800_pointer(address + i);\n    }\n}\n\n",
                name);
    }
}

static void put_runs(const struct emit *emit) {
    const char *name = emit->name;
    FILE *out = emit->out;
    size_t functions = (emit->ends_at + EVENTS_PER_FUNCTION - 1) / EVENTS_PER_FUNCTION;
    bool variables = false;
    for (size_t i = 0; i < emit->ends_at; i++) {
        variables |= emit->trace->events[i].slot != TRACE_NO_SLOT;
    }
    if (variables) {
        fprintf(out, "static void *%s_p[%" PRIu32 "]; /* the program's variables */\n\n", name,
                emit->trace->id_count);
    }
    for (size_t i = 0; i < functions; i++) {
        size_t first = i * EVENTS_PER_FUNCTION;
        size_t end = first + EVENTS_PER_FUNCTION;
        end = end < emit->ends_at ? end : emit->ends_at;
        bool moves = false;
        for (size_t j = first; j < end; j++) {
            moves |= emit->trace->events[j].kind == TRACE_REALLOC;
        }
        fprintf(out, "static void %s_run_%zu(void) {\n%s", name, i + 1,
                moves ? "    void *moved;\n" : "");
        for (size_t j = first; j < end; j++) {
            put_event(emit, j);
        }
        if (end == emit->ends_at && contents_fail(emit) && emit->failure.event > end) {
            put_comparison(emit);
        }
        fprintf(out, "}\n\n");
    }
    fprintf(out, "static void %s_run(void *context) {\n    (void)context;\n", name);
    for (size_t i = 0; i < functions; i++) {
        fprintf(out, "    %s_run_%zu();\n", name, i + 1);
    }
    fprintf(out, "}\n\n");
}

static void put_test(const struct emit *emit, size_t expected) {
    const struct trace *trace = emit->trace;
    const char *name = emit->name;
    FILE *out = emit->out;
    struct w800_config machine = workload_machine(trace, REPLAY_PSRAM_AS_TRACED);
    fprintf(out,
            "Test(trace, %s) {\n    const struct w800_config config = {\n"
            "        .build = heap_build_find(%s, %u), /* %s */\n        .regions = {\n",
            name, trace->config.tracing ? "true" : "false", (unsigned)trace->config.poisoning,
            machine.build->name);
    for (uint32_t i = 0; i < trace->region_count; i++) {
        const struct trace_region *region = &trace->regions[i];
        fprintf(out, "            {\"%s\", 0x%08" PRIx32 ", 0x%08" PRIx32 ",\n             ",
                region->name, region->start, region->end);
        put_caps(out, region->caps);
        fprintf(out, ", %s},\n", region->deferred ? "true" : "false");
    }
    fprintf(out,
            "        },\n        .region_count = %" PRIu32 ",\n        .psram_bytes = %" PRIu32
            ",\n        .realloc_in_place = %s,\n    };\n",
            trace->region_count, machine.psram_bytes, machine.realloc_in_place ? "true" : "false");
    fprintf(out,
            "    struct w800_error error;\n"
            "    cr_assert(w800_start(&config, &error), \"%%s\", error.text);\n"
            "    w800_on_event(%s_on_event, NULL);\n    wm_heap_init();\n"
            "    w800_guard(%s_run, NULL);\n",
            name, name);
    if (!emit->ends_damaged) {
        fprintf(out, "    %s_check(0, config.region_count);\n", name);
    }
    fprintf(out,
            "    cr_expect_eq(%s_faults, %zu, \"%%u of %zu expected faults came\", %s_faults);\n"
            "    w800_stop();\n    w800_on_event(NULL, NULL);\n}\n",
            name, expected, expected, name);
}

bool emit_test(const struct trace *trace, const char *name, const char *shown, FILE *out,
               struct trace_error *error) {
    bool starved = false;
    struct emit emit = {.trace = trace, .name = name, .out = out, .starved = &starved};
    if (!emit_judge(&emit, error)) {
        return false;
    }
    put_head(&emit, shown);
    size_t expected = put_faults(&emit);
    put_helpers(&emit);
    put_runs(&emit);
    put_test(&emit, expected);
    if (starved) {
        snprintf(error->text, sizeof error->text, "out of memory");
    }
    return !starved;
}
