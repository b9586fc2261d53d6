/* SPDX-License-Identifier: Apache-2.0
 *
 * What a crash in a log means.
 *
 * With poisoning the SDK prints the corrupted block before the assertion says which word of
 * it was wrong: the word behind the header, 0xA5A5A5A5, is reached from the payload by
 * writing backwards, the one at the block's end, 0x5A5A5A5A, by writing too far. The words
 * and the lines of the assertions are those of the SDK v2.3 and v2.4.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../core/wm_heap_debug.h"
#include "diagnose_log.h"
#include "trace.h"

enum heap_assert {
    ASSERT_NONE,
    ASSERT_OTHER,
    ASSERT_HEADER_WORD,
    ASSERT_TAIL_WORD,
    ASSERT_DOUBLE_FREE,
    ASSERT_NEXT,
    ASSERT_NO_END,
    ASSERT_REALLOC,
};

/* By its text, which is the same in every version; by its line if the text is damaged. */
static const struct {
    const char *words;
    enum heap_assert kind;
    uint32_t line;
} heap_asserts[] = {
    {"0x5A5A5A5A", ASSERT_TAIL_WORD, 270},
    {"corruption_magic", ASSERT_HEADER_WORD, 262},
    {"0xA5A5A5A5", ASSERT_HEADER_WORD, 262},
    {"next_free_block == NULL", ASSERT_NEXT, 254},
    {"heap.end != NULL", ASSERT_NO_END, 138},
    {"block_allocated_bit) != 0", ASSERT_DOUBLE_FREE, 253},
    {"", ASSERT_REALLOC, 484},
};

static enum heap_assert kind_of(const struct log_crash *crash) {
    size_t count = sizeof heap_asserts / sizeof *heap_asserts;
    if (!crash->assertion) {
        return ASSERT_NONE;
    }
    bool in_realloc = strstr(crash->function, "realloc") != NULL || crash->assert_line == 484;
    for (size_t i = 0; i < count && crash->assert_in_heap; i++) {
        if (*heap_asserts[i].words != '\0' &&
            strstr(crash->expression, heap_asserts[i].words) != NULL) {
            bool allocated = heap_asserts[i].kind == ASSERT_DOUBLE_FREE;
            return allocated && in_realloc ? ASSERT_REALLOC : heap_asserts[i].kind;
        }
    }
    for (size_t i = 0; i < count && crash->assert_in_heap; i++) {
        if (heap_asserts[i].line == crash->assert_line) {
            return heap_asserts[i].kind;
        }
    }
    return ASSERT_OTHER;
}

/* The core's port on the W800 says what it found in an assertion of its own: "heap: KIND of
 * ADDRESS: ..." (core/port/w800_port.c). NONE: it is another's. */
static enum wm_heap_fault_kind own_fault(const struct log_crash *crash, uint32_t *pointer) {
    static const struct {
        const char *name;
        enum wm_heap_fault_kind kind;
    } faults[] = {
#define FAULT_NAME(kind, text) {(text), WM_HEAP_FAULT_##kind},
        WM_HEAP_FAULTS(FAULT_NAME)
#undef FAULT_NAME
    };
    static const char prefix[] = "heap: ";
    static const char between[] = " of 0x";
    if (!crash->assertion || strncmp(crash->expression, prefix, sizeof prefix - 1) != 0) {
        return WM_HEAP_FAULT_NONE;
    }
    const char *name = crash->expression + sizeof prefix - 1;
    for (size_t i = 1; i < sizeof faults / sizeof *faults; i++) {
        size_t length = strlen(faults[i].name);
        if (strncmp(name, faults[i].name, length) == 0 &&
            strncmp(name + length, between, sizeof between - 1) == 0) {
            *pointer = (uint32_t)strtoul(name + length + sizeof between - 1, NULL, 16);
            return faults[i].kind;
        }
    }
    return WM_HEAP_FAULT_NONE;
}

/* --- evidence that several rules give ------------------------------------------------------- */

static bool tell_site(struct finding *finding, const struct image *image, uint32_t site,
                      uint32_t line) {
    if (site != 0) {
        snprintf(finding->site, sizeof finding->site, "%s:%" PRIu32, image->sites[site], line);
    }
    return true;
}

static bool tell_code(struct log_state *state, struct finding *finding, const char *name,
                      uint32_t address) {
    struct firmware_place place;
    struct firmware *firmware = state->options->firmware;
    if (firmware == NULL || !firmware_locate(firmware, address, &place)) {
        return finding_evidence(finding, "%s 0x%08" PRIx32 "\n", name, address);
    }
    bool ok = finding_evidence(finding, "%s 0x%08" PRIx32 ": %s", name, address,
                               place.function[0] != '\0' ? place.function : "(no name)");
    if (ok && place.file[0] != '\0') {
        ok = finding_evidence(finding, " at %s:%" PRIu32, place.file, place.line);
    }
    return ok && finding_evidence(finding, "\n");
}

/* Registers that point into a block: the crashing code worked on it. */
static bool tell_registers(struct log_state *state, struct finding *finding) {
    const struct image *image = &state->diagnosis->image;
    const struct log_crash *crash = &state->crash;
    bool ok = true;
    for (uint32_t i = 0; i < 14 && ok; i++) {
        uint32_t value = crash->registers[i];
        const struct image_block *block =
            (crash->registers_known >> i & 1) != 0 ? image_find(image, value) : NULL;
        if (block != NULL && block->state == IMAGE_LIVE && value >= block->pointer &&
            value - block->address < block->size) {
            ok = finding_evidence(finding,
                                  "r%" PRIu32 " 0x%08" PRIx32 " points into block 0x%08" PRIx32
                                  " of %s:%" PRIu32 "\n",
                                  i, value, block->pointer, image->sites[block->site], block->line);
        }
    }
    return ok;
}

static bool tell_exception(struct log_state *state, struct finding *finding) {
    const struct log_crash *crash = &state->crash;
    bool ok = true;
    if (crash->exception) {
        ok = finding_evidence(finding, "line %" PRIu64 ": exception", crash->exception_line) &&
             (!crash->has_number || finding_evidence(finding, " %" PRIu32, crash->number)) &&
             finding_evidence(finding, "%s%s\n", crash->name[0] != '\0' ? ", " : "", crash->name);
    }
    if (ok && crash->has_pc) {
        ok = tell_code(state, finding, "pc", crash->pc);
    }
    if (ok && crash->has_r15) {
        ok = tell_code(state, finding, "r15", crash->r15);
    }
    return ok;
}

static bool tell_assertion(struct log_state *state, struct finding *finding) {
    const struct log_crash *crash = &state->crash;
    if (!crash->assertion) {
        return true;
    }
    bool ok = finding_evidence(finding, "line %" PRIu64 ": assertion \"%s\"", crash->assertion_line,
                               crash->expression);
    if (ok && crash->assert_file[0] != '\0') {
        ok = finding_evidence(finding, " at %s:%" PRIu32, crash->assert_file, crash->assert_line);
    }
    return ok && finding_evidence(finding, "\n");
}

/* --- the block ------------------------------------------------------------------------------ */

/* The corrupted block has left the list that is printed with it: if its own line is lost, it
 * is the only one that the list before had and this one has not. */
static const struct log_block *find_vanished(const struct log_state *state) {
    const struct log_block *vanished = NULL;
    if (state->previous.count == 0 || !state->list.complete) {
        return NULL;
    }
    for (size_t i = 0; i < state->previous.count; i++) {
        const struct log_block *block = &state->previous.blocks[i];
        if (log_list_find(&state->list, block->pointer) == NULL) {
            if (vanished != NULL) {
                return NULL;
            }
            vanished = block;
        }
    }
    return vanished;
}

static bool tell_block(struct log_state *state, struct finding *finding) {
    const struct log_crash *crash = &state->crash;
    const struct image *image = &state->diagnosis->image;
    if (!crash->corruption || crash->pointer == 0) {
        const struct log_block *vanished = find_vanished(state);
        if (vanished == NULL) {
            return true;
        }
        finding->certain = false;
        finding->address = vanished->pointer;
        finding->size = vanished->size;
        return tell_site(finding, image, vanished->site, vanished->site_line) &&
               finding_evidence(finding,
                                "block 0x%08" PRIx32 " of %" PRIu32 " bytes is the only one that "
                                "left the list, as the corrupted one does\n",
                                vanished->pointer, vanished->size);
    }
    finding->address = crash->pointer;
    finding->size = crash->size;
    bool ok = tell_site(finding, image, crash->site, crash->site_line) &&
              finding_evidence(finding, "line %" PRIu64 ": corruption detected at 0x%08" PRIx32,
                               crash->corruption_line, crash->pointer);
    if (ok && crash->size != 0) {
        ok = finding_evidence(finding, ", a block of %" PRIu32 " bytes", crash->size);
    }
    if (ok && finding->site[0] != '\0') {
        ok = finding_evidence(finding, " allocated at %s", finding->site);
    }
    return ok && finding_evidence(finding, "\n");
}

static bool tell_neighbours(struct log_state *state, struct finding *finding) {
    const struct image *image = &state->diagnosis->image;
    const struct image_block *block = image_find(image, finding->address);
    if (finding->address == 0 || block == NULL || block->pointer != finding->address) {
        return true;
    }
    size_t index = (size_t)(block - image->blocks);
    const struct image_block *before = index > 0 ? block - 1 : NULL;
    const struct image_block *after = index + 1 < image->block_count ? block + 1 : NULL;
    const struct image_block *both[] = {before, after};
    bool ok = true;
    for (int i = 0; i < 2 && ok; i++) {
        if (both[i] == NULL || both[i]->region != block->region) {
            continue;
        }
        const char *side = i == 0 ? "before" : "after";
        ok = both[i]->state == IMAGE_FREE
                 ? finding_evidence(finding, "%s it: %" PRIu32 " free bytes\n", side, both[i]->size)
                 : finding_evidence(
                       finding, "%s it: 0x%08" PRIx32 ", %" PRIu32 " bytes, %s:%" PRIu32 "\n", side,
                       both[i]->pointer, both[i]->size, image->sites[both[i]->site], both[i]->line);
    }
    return ok;
}

/* The tail word is written behind the requested bytes but looked for at the block's end. They
 * are the same place only if the block has no slack, so a block that was not split from a
 * larger one fails the check unharmed. What slack is possible follows from other blocks of
 * the site: those are as long as their requests. */
static bool tell_defect(struct log_state *state, struct finding *finding) {
    const struct log_crash *crash = &state->crash;
    bool ok = finding_evidence(
        finding, "the SDK writes the tail word behind the requested bytes, but looks for it at the "
                 "block's end (a known defect): a block that was not split reports a corruption "
                 "that never happened. Rule that out before looking for a stray write\n");
    uint32_t same = 0;
    uint32_t shorter = 0;
    for (size_t i = 0; i < state->list.count && crash->site != 0; i++) {
        const struct log_block *block = &state->list.blocks[i];
        if (block->site == crash->site && block->site_line == crash->site_line) {
            same++;
            shorter += block->size < crash->size && crash->size - block->size <= 64;
        }
    }
    if (ok && shorter != 0) {
        ok =
            finding_evidence(finding,
                             "%" PRIu32 " of the site's %" PRIu32 " other blocks are shorter by 64 "
                             "bytes or less: this one may hold slack\n",
                             shorter, same);
    }
    return ok;
}

/* --- the verdicts --------------------------------------------------------------------------- */

struct judgement {
    enum verdict verdict;
    bool certain;
    const char *why;
};

/* A corruption without an assertion: asserts are off, or its line is lost. */
static struct judgement judge_unasserted(const struct image *image) {
    bool known = image->tracing_known && image->poisoning_known;
    if (known && image->poisoning == TRACE_POISONING_LIGHT) {
        return (struct judgement){VERDICT_UNDERFLOW, false,
                                  "with light poisoning only the word before the payload is "
                                  "checked, so that one was overwritten\n"};
    }
    return (struct judgement){VERDICT_SMASHED_HEADER, false,
                              "no assertion says which word was overwritten: the one before the "
                              "payload (an underflow) or the one behind it (an overflow)\n"};
}

static struct judgement judge(const struct log_state *state, enum heap_assert kind) {
    const struct log_crash *crash = &state->crash;
    switch (kind) {
    case ASSERT_HEADER_WORD:
        return (struct judgement){VERDICT_UNDERFLOW, crash->corruption,
                                  "the word before the payload, 0xa5a5a5a5, was overwritten: "
                                  "something wrote before the start of this block\n"};
    case ASSERT_TAIL_WORD:
        return (struct judgement){VERDICT_OVERFLOW, false,
                                  "the word at the block's end, 0x5a5a5a5a, is not there: "
                                  "something may have written past the end of this block\n"};
    case ASSERT_DOUBLE_FREE:
        return (struct judgement){VERDICT_DOUBLE_FREE, true,
                                  "free was called with a block that is not allocated\n"};
    case ASSERT_REALLOC:
        return (struct judgement){VERDICT_DOUBLE_FREE, false,
                                  "realloc, which frees, was called with a block that is not "
                                  "allocated\n"};
    case ASSERT_NEXT:
        return (struct judgement){VERDICT_SMASHED_HEADER, false,
                                  "the first word of an allocated block's header is not 0: the "
                                  "block before it may have been written past its end\n"};
    case ASSERT_NO_END:
        return (struct judgement){VERDICT_ASSERT, true,
                                  "a region that is valid has no end: so it is after a second "
                                  "wm_heap_append_to_heap(\"PSRAM\"), a known defect\n"};
    case ASSERT_NONE:
        return judge_unasserted(&state->diagnosis->image);
    case ASSERT_OTHER:
    default:
        break;
    }
    return crash->corruption ? judge_unasserted(&state->diagnosis->image)
                             : (struct judgement){VERDICT_ASSERT, true, ""};
}

static bool report_own(struct log_state *state, enum wm_heap_fault_kind kind, uint32_t pointer) {
    const struct log_crash *crash = &state->crash;
    enum verdict verdict = verdict_of_fault(kind);
    struct finding *finding = findings_add(&state->diagnosis->findings, verdict, true);
    if (finding == NULL) {
        return false;
    }
    finding->address = pointer;
    if (verdict == VERDICT_SMASHED_HEADER) {
        finding->victim = pointer;
    }
    if (crash->assert_file[0] != '\0') {
        snprintf(finding->site, sizeof finding->site, "%s:%" PRIu32, crash->assert_file,
                 crash->assert_line);
    }
    if (crash->corruption && crash->pointer == pointer) {
        finding->size = crash->size;
    }
    return tell_assertion(state, finding) && tell_neighbours(state, finding) &&
           tell_exception(state, finding);
}

static bool report_heap(struct log_state *state) {
    uint32_t pointer = 0;
    enum wm_heap_fault_kind own = own_fault(&state->crash, &pointer);
    if (own != WM_HEAP_FAULT_NONE) {
        return report_own(state, own, pointer);
    }
    enum heap_assert kind = kind_of(&state->crash);
    struct judgement judgement = judge(state, kind);
    bool is_block =
        state->crash.corruption || kind == ASSERT_HEADER_WORD || kind == ASSERT_TAIL_WORD;
    struct finding *finding =
        findings_add(&state->diagnosis->findings, judgement.verdict, judgement.certain);
    return finding != NULL && (!is_block || tell_block(state, finding)) &&
           finding_evidence(finding, "%s", judgement.why) && tell_assertion(state, finding) &&
           (judgement.verdict != VERDICT_OVERFLOW || tell_defect(state, finding)) &&
           tell_neighbours(state, finding) && tell_exception(state, finding);
}

/* Access errors while the log speaks of DMA on PSRAM and a register points there. */
static bool is_bus_conflict(const struct log_state *state) {
    const struct log_crash *crash = &state->crash;
    bool points = false;
    for (uint32_t i = 0; i < 14; i++) {
        points = points || ((crash->registers_known >> i & 1) != 0 &&
                            image_region_of(crash->registers[i]) == 2);
    }
    return points && crash->mentions_dma && state->diagnosis->image.regions[2].present &&
           (crash->number == 2 || crash->number == 8);
}

static bool report_exception(struct log_state *state) {
    const struct log_crash *crash = &state->crash;
    bool conflict = crash->exception && is_bus_conflict(state);
    struct finding *finding =
        findings_add(&state->diagnosis->findings,
                     conflict ? VERDICT_BUS_CONFLICT : VERDICT_EXCEPTION, !conflict);
    bool ok = finding != NULL;
    if (ok && crash->stack_overflow) {
        ok = finding_evidence(finding, "task %s overran its stack\n", crash->task);
    }
    if (ok && conflict) {
        ok = finding_evidence(finding, "a register points into PSRAM while the log speaks of DMA "
                                       "there; the processor must keep off meanwhile\n");
    }
    return ok && tell_exception(state, finding) && tell_registers(state, finding);
}

void log_crash_flush(struct log_state *state) {
    struct log_crash *crash = &state->crash;
    struct diagnosis *diagnosis = state->diagnosis;
    if (crash->has_number) {
        diagnosis->exception = crash->number;
    }
    if (crash->has_pc) {
        diagnosis->pc = crash->pc;
    }
    if (crash->has_r15) {
        diagnosis->r15 = crash->r15;
    }
    bool ok = true;
    if (crash->corruption || crash->assertion || crash->exception || crash->stack_overflow) {
        log_list_close(state);
        log_balance_corruption(state);
        ok = log_image_build(state);
    }
    if (ok && (crash->corruption || crash->assertion)) {
        ok = report_heap(state);
    } else if (ok && (crash->exception || crash->stack_overflow)) {
        ok = report_exception(state);
    }
    state->out_of_memory = state->out_of_memory || !ok;
    bool mentions_dma = crash->mentions_dma;
    *crash = (struct log_crash){.mentions_dma = mentions_dma};
}
