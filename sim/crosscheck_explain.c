/* SPDX-License-Identifier: Apache-2.0
 *
 * What differs, in words: both sides' results and reports, the first word of memory that is
 * not the same, the block it belongs to, and that block's header on both sides.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crosscheck_internal.h"

struct explanation {
    const struct crosscheck_input *input;
    const struct heap_build *build;
    const struct crosscheck_output *host;
    const struct crosscheck_output *csky;
    struct crosscheck_parts parts;
    struct crosscheck_result *result;
    FILE *out;
};

/* The first thing found names the difference, the others are only told. */
static void name_difference(struct explanation *e, const char *what, uint32_t address,
                            uint32_t host, uint32_t csky) {
    if (e->result->what == NULL) {
        e->result->what = what;
        e->result->address = address;
        e->result->host = host;
        e->result->csky = csky;
    }
}

/* --- the last event's record ------------------------------------------------------------------ */

static const struct crosscheck_record *last_event(const struct crosscheck_output *output) {
    const struct crosscheck_record *record = (const void *)output->bytes;
    const struct crosscheck_record *last = NULL;
    for (size_t i = 0; (i + 1) * sizeof *record <= output->count; i++) {
        if (record[i].tag == CROSSCHECK_END) {
            break;
        }
        last = record[i].tag == CROSSCHECK_EVENT ? &record[i] : last;
    }
    return last;
}

static void explain_record(struct explanation *e) {
    static const struct {
        enum crosscheck_event_word word;
        const char *what;
        const char *text;
    } rows[] = {{CROSSCHECK_RESULT, "result", "result"},
                {CROSSCHECK_PAYLOAD, "payload", "digest of what was copied or cleared"},
                {CROSSCHECK_REPORTS, "reports", "digest of faults, failures and console text"},
                {CROSSCHECK_HEADERS, "headers", "digest of the headers concerned"},
                {CROSSCHECK_STATE, "state", "digest of the state"}};
    const struct crosscheck_record *host = last_event(e->host);
    const struct crosscheck_record *csky = last_event(e->csky);
    if (host == NULL || csky == NULL || host->event != csky->event) {
        return;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t left = host->word[rows[i].word];
        uint32_t right = csky->word[rows[i].word];
        if (left != right) {
            fprintf(e->out, "  %s: host 0x%08" PRIx32 ", C-SKY 0x%08" PRIx32 "\n", rows[i].text,
                    left, right);
            name_difference(e, rows[i].what, 0, left, right);
        }
    }
}

/* --- memory ----------------------------------------------------------------------------------- */

static uint32_t word_of(const struct crosscheck_output *output, size_t offset) {
    uint32_t word;
    memcpy(&word, output->bytes + offset, sizeof word);
    return word;
}

/* Where an address stands in the outputs. False if it is no memory. */
static bool offset_of(const struct explanation *e, uint32_t address, size_t *offset) {
    if (address - CROSSCHECK_ONCHIP_START < CROSSCHECK_ONCHIP_BYTES) {
        *offset = e->parts.onchip + (address - CROSSCHECK_ONCHIP_START);
        return true;
    }
    *offset = e->parts.psram + (address - CROSSCHECK_PSRAM_START);
    return address - CROSSCHECK_PSRAM_START < e->input->header->psram_bytes;
}

/* The first word of memory that differs; 0 if none does. */
static uint32_t first_difference(const struct explanation *e) {
    for (size_t at = e->parts.onchip; at < e->parts.state; at += 4u) {
        if (word_of(e->host, at) != word_of(e->csky, at)) {
            return at < e->parts.psram ? CROSSCHECK_ONCHIP_START + (uint32_t)(at - e->parts.onchip)
                                       : CROSSCHECK_PSRAM_START + (uint32_t)(at - e->parts.psram);
        }
    }
    return 0;
}

struct search {
    uint32_t address;
    bool found;
    struct wm_heap_block block;
};

static bool find_block(void *context, const struct wm_heap_block *block) {
    struct search *search = context;
    search->found = search->address - block->address < block->size;
    if (search->found) {
        search->block = *block;
    }
    return !search->found;
}

#define NODE_BYTES 24u

/* The words of a live block's header, or of a free block's node; NULL behind them. */
static const char *word_name(const struct heap_build *build, bool live, uint32_t offset) {
    static const char *const node[] = {"size",       "left node",     "left largest",
                                       "right node", "right largest", "seal"};
    static const char *const common[] = {"size and flags", "owner", "sequence", "seal"};
    static const char *const site[] = {"site", "line"};
    uint32_t index = offset / 4u;
    if (!live) {
        return index < 6u ? node[index] : NULL;
    }
    if (index >= build->header_size / 4u) {
        return NULL;
    }
    if (index < 4u) {
        return common[index];
    }
    return build->tracing && index < 6u ? site[index - 4u] : "canary";
}

/* Where the words stand that say what the block is: a free block's at its end. */
static uint32_t words_at(const struct wm_heap_block *block) {
    return block->live ? block->address : block->address + block->size - NODE_BYTES;
}

static void show_header(const struct explanation *e, const struct wm_heap_block *block) {
    const char *name;
    fprintf(e->out, "    %-16s %-10s  %s\n", "word", "host", "C-SKY");
    for (uint32_t at = 0; (name = word_name(e->build, block->live, at)) != NULL; at += 4u) {
        size_t offset;
        if (!offset_of(e, words_at(block) + at, &offset)) {
            return;
        }
        uint32_t host = word_of(e->host, offset);
        uint32_t csky = word_of(e->csky, offset);
        fprintf(e->out, "    %-16s 0x%08" PRIx32 "  0x%08" PRIx32 "%s\n", name, host, csky,
                host != csky ? "  <-" : "");
    }
}

/* Says what stands at an address, seen by the host's core. */
static void show_place(const struct explanation *e, uint32_t address) {
    const struct wm_heap_state *state = e->build->state;
    struct search search = {.address = address};
    bool in_region = false;
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX && !search.found; i++) {
        const struct wm_heap_region *region = &state->regions[i];
        if (address - region->start < region->tail - region->start) {
            in_region = true;
            (void)e->build->walk(i, find_block, &search);
        } else if (address - region->tail < region->end - region->tail) {
            fprintf(e->out, "    in %s's free memory behind the last block\n",
                    e->input->header->regions[i].name);
            return;
        } else if (region->end != 0 && address - region->end < e->build->header_size) {
            fprintf(e->out, "    in %s's end marker, its %s\n", e->input->header->regions[i].name,
                    word_name(e->build, true, address - region->end));
            return;
        }
    }
    if (!search.found) {
        fprintf(e->out, "    in no block%s\n", in_region ? "" : ", outside the heap's regions");
        return;
    }
    const struct wm_heap_block *block = &search.block;
    const char *name = word_name(e->build, block->live, address - words_at(block));
    fprintf(e->out, "    in the %s block 0x%08" PRIx32 " of %" PRIu32 " bytes, ",
            block->live ? "live" : "free", block->address, block->size);
    if (name != NULL) {
        fprintf(e->out, "the %s of its %s\n", name, block->live ? "header" : "node");
    } else if (address - block->address < sizeof(uint32_t)) {
        fprintf(e->out, "its first word, the size\n");
    } else {
        fprintf(e->out, "%" PRIu32 " bytes behind its %s\n",
                address - block->address -
                    (block->live ? e->build->header_size : (uint32_t)sizeof(uint32_t)),
                block->live ? "header" : "first word");
    }
    show_header(e, block);
}

static void explain_memory(struct explanation *e) {
    uint32_t address = first_difference(e);
    size_t offset;
    if (address == 0 || !offset_of(e, address, &offset)) {
        fprintf(e->out, "  memory: equal\n");
        return;
    }
    uint32_t host = word_of(e->host, offset);
    uint32_t csky = word_of(e->csky, offset);
    uint32_t byte = 0;
    while (((host ^ csky) >> 8u * byte & 0xffu) == 0) {
        byte++;
    }
    fprintf(e->out,
            "  memory: the first byte that differs is at 0x%08" PRIx32 "; the word there: host "
            "0x%08" PRIx32 ", C-SKY 0x%08" PRIx32 "\n",
            address + byte, host, csky);
    name_difference(e, "memory", address, host, csky);
    if (e->result->address == 0) {
        e->result->address = address;
    }
    show_place(e, address);
}

/* --- the core's state ------------------------------------------------------------------------- */

#define STATE_WORD(member)                                                                         \
    { offsetof(struct wm_heap_state, member), #member }
#define REGION_WORD(member)                                                                        \
    { offsetof(struct wm_heap_region, member), #member }
#define FAULT_WORD(member)                                                                         \
    { offsetof(struct wm_heap_fault, member), #member }
struct word {
    size_t offset;
    const char *name;
};

static const struct word state_words[] = {
    STATE_WORD(magic),
    STATE_WORD(version),
    STATE_WORD(region_count),
    STATE_WORD(latest.caps),
    STATE_WORD(latest.region),
    STATE_WORD(total.above),
    STATE_WORD(total.lowest),
    STATE_WORD(counters.allocs),
    STATE_WORD(counters.frees),
    STATE_WORD(counters.failed),
    STATE_WORD(counters.largest_failed),
    STATE_WORD(counters.faults),
    STATE_WORD(counters.refused),
};
static const struct word region_words[] = {
    REGION_WORD(state),         REGION_WORD(lacks),        REGION_WORD(eighths),
    REGION_WORD(start),         REGION_WORD(tail),         REGION_WORD(end),
    REGION_WORD(root.node),     REGION_WORD(root.largest), REGION_WORD(fresh.node),
    REGION_WORD(fresh.largest), REGION_WORD(level.lowest), REGION_WORD(level.above),
    REGION_WORD(table_caps),
};
static const struct word fault_words[] = {
    FAULT_WORD(kind),    FAULT_WORD(check),   FAULT_WORD(region),   FAULT_WORD(block),
    FAULT_WORD(pointer), FAULT_WORD(address), FAULT_WORD(expected), FAULT_WORD(actual),
    FAULT_WORD(site),    FAULT_WORD(line),
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char *name_in(const struct word *words, size_t count, size_t offset) {
    for (size_t i = 0; i < count; i++) {
        if (words[i].offset == offset) {
            return words[i].name;
        }
    }
    return "a word without a name here";
}

static void explain_state(struct explanation *e) {
    size_t regions = offsetof(struct wm_heap_state, regions);
    size_t fault = offsetof(struct wm_heap_state, first_fault);
    for (size_t at = 0; at < crosscheck_state_bytes(); at += 4u) {
        uint32_t host = word_of(e->host, e->parts.state + at);
        uint32_t csky = word_of(e->csky, e->parts.state + at);
        if (host == csky) {
            continue;
        }
        fprintf(e->out, "  state, ");
        if (at >= fault) {
            fprintf(e->out, "first_fault.%s", name_in(fault_words, COUNT(fault_words), at - fault));
        } else if (at >= regions) {
            size_t inside = (at - regions) % sizeof(struct wm_heap_region);
            fprintf(e->out, "regions[%zu].%s", (at - regions) / sizeof(struct wm_heap_region),
                    name_in(region_words, COUNT(region_words), inside));
        } else {
            fprintf(e->out, "%s", name_in(state_words, COUNT(state_words), at));
        }
        fprintf(e->out, ": host 0x%08" PRIx32 ", C-SKY 0x%08" PRIx32 "\n", host, csky);
        name_difference(e, "state", 0, host, csky);
    }
}

/* --- reports ---------------------------------------------------------------------------------- */

static void show_fault(const struct explanation *e, const char *side,
                       const struct wm_heap_fault *fault) {
    fprintf(e->out,
            "  %s fault: %s, check \"%s\", region %" PRIu32 ", block 0x%08" PRIx32
            ", pointer 0x%08" PRIx32 ", address 0x%08" PRIx32 ", expected 0x%08" PRIx32
            ", actual 0x%08" PRIx32 ", site %" PRIu32 ", line %" PRIu32 "\n",
            side, e->build->fault_name(fault->kind), e->build->check_name(fault->check),
            fault->region, fault->block, fault->pointer, fault->address, fault->expected,
            fault->actual, fault->site, fault->line);
}

static void show_reports(const struct explanation *e, const char *side,
                         const struct crosscheck_reports *reports) {
    fprintf(e->out,
            "  %s reports %" PRIu32 " faults, %" PRIu32 " failed allocations, %" PRIu32
            " characters of text\n",
            side, reports->fault_count, reports->failed_count, reports->text_length);
    for (uint32_t i = 0; i < reports->fault_count && i < CROSSCHECK_FAULTS; i++) {
        show_fault(e, side, &reports->faults[i]);
    }
}

static void show_text(const struct explanation *e, const char *side, const char *text,
                      uint32_t length) {
    fprintf(e->out, "  %s text, there: \"", side);
    for (uint32_t i = 0; i < length && i < 60u; i++) {
        unsigned char byte = (unsigned char)text[i];
        fprintf(e->out, byte >= 0x20 && byte < 0x7f ? "%c" : "\\x%02x", byte);
    }
    fprintf(e->out, "\"\n");
}

static void explain_reports(struct explanation *e) {
    struct crosscheck_reports host;
    struct crosscheck_reports csky;
    memcpy(&host, e->host->bytes + e->parts.reports, sizeof host);
    memcpy(&csky, e->csky->bytes + e->parts.reports, sizeof csky);
    if (memcmp(&host, &csky, offsetof(struct crosscheck_reports, faults)) == 0) {
        return;
    }
    name_difference(e, "reports", 0, host.digest, csky.digest);
    show_reports(e, "host", &host);
    show_reports(e, "C-SKY", &csky);
    uint32_t at = 0;
    while (at < CROSSCHECK_TEXT && at < host.text_length && at < csky.text_length &&
           host.text[at] == csky.text[at]) {
        at++;
    }
    if (at < CROSSCHECK_TEXT && (at < host.text_length || at < csky.text_length)) {
        uint32_t room = CROSSCHECK_TEXT - at;
        uint32_t left = host.text_length - at;
        uint32_t right = csky.text_length - at;
        fprintf(e->out, "  text: the first character that differs is number %" PRIu32 "\n",
                at + 1u);
        show_text(e, "host", host.text + at, left < room ? left : room);
        show_text(e, "C-SKY", csky.text + at, right < room ? right : room);
    }
}

/* ---------------------------------------------------------------------------------------------- */

static void explain_end(struct explanation *e, const char *side,
                        const struct crosscheck_output *output) {
    if (output->end[0] != '\0') {
        fprintf(e->out, "  %s does not come to the end: %s\n", side, output->end);
        name_difference(e, "end", 0, e->host->end[0] != '\0', e->csky->end[0] != '\0');
    }
}

void crosscheck_explain(const struct crosscheck_input *input, const struct heap_build *build,
                        const struct crosscheck_output *host, const struct crosscheck_output *csky,
                        struct crosscheck_result *result) {
    size_t length;
    struct explanation e = {
        .input = input,
        .build = build,
        .host = host,
        .csky = csky,
        .parts = crosscheck_parts(input, host->count),
        .result = result,
        .out = open_memstream(&result->text, &length),
    };
    result->what = NULL;
    if (e.out == NULL) {
        result->what = "end";
        return;
    }
    explain_end(&e, "host", host);
    explain_end(&e, "C-SKY", csky);
    explain_record(&e);
    if (host->end[0] == '\0' && csky->end[0] == '\0' && host->count == csky->count) {
        explain_memory(&e);
        explain_state(&e);
        explain_reports(&e);
    } else {
        fprintf(e.out, "  memory: not to be seen, as one side did not come to the end\n");
    }
    if (result->what == NULL) {
        name_difference(&e, "end", 0, 0, 0);
        fprintf(e.out, "  the difference does not show again: one side is not deterministic\n");
    }
    fclose(e.out);
}
