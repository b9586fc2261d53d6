/* SPDX-License-Identifier: Apache-2.0
 *
 * A console log, record by record: which boot it is, which list, which crash.
 *
 * Nothing is judged before it is complete: a crash when its last line has come or something
 * else begins, growth when the boot ends, a failed request when there is a heap to judge it
 * by. Findings of all boots are kept, up to a number no person reads beyond.
 */
#include "diagnose_log.h"
#include "diagnose_recorder.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RESET_MS 1000u   /* log times of tasks overtake each other by less */
#define CRASH_LINES 200u /* from a corruption to the exception that it led to */

/* --- the same again -------------------------------------------------------------------------- */

/* Equal but for the line numbers that follow "line ". */
static bool is_same_text(const char *one, const char *other) {
    const char *from = one;
    while (*one != '\0' && *one == *other) {
        bool number = one - from >= 4 && strncmp(one - 4, "line ", 5) == 0;
        one++;
        other++;
        if (number) {
            one += strspn(one, "0123456789");
            other += strspn(other, "0123456789");
        }
    }
    return *one == *other;
}

static bool is_same_finding(const struct finding *one, const struct finding *other) {
    if (one->verdict != other->verdict || one->address != other->address ||
        one->victim != other->victim || strcmp(one->site, other->site) != 0) {
        return false;
    }
    return one->address != 0 || one->site[0] != '\0' ||
           (one->evidence != NULL && other->evidence != NULL &&
            is_same_text(one->evidence, other->evidence));
}

/* Folds what was found since there were `before` findings into those. */
static void fold_findings(struct log_state *state, size_t before) {
    struct findings *findings = &state->diagnosis->findings;
    struct log_repeats *repeats = &state->repeats;
    size_t kept = before;
    for (size_t i = before; i < findings->count; i++) {
        struct finding *finding = &findings->list[i];
        size_t same = 0;
        while (same < kept && !is_same_finding(&findings->list[same], finding)) {
            same++;
        }
        if (same == kept && kept < LOG_FINDINGS_MAX) {
            struct finding moved = *finding;
            findings->list[kept] = moved;
            repeats->count[kept++] = 0;
            continue;
        }
        if (same < kept) {
            repeats->count[same]++;
            repeats->last_line[same] = state->line;
        } else {
            repeats->dropped++;
        }
        free(finding->evidence);
        finding->evidence = NULL;
    }
    findings->count = kept;
    if (state->boot_findings > kept) {
        state->boot_findings = kept; /* the boot that has just ended had nothing new */
    }
}

static void tell_repeats(struct log_state *state) {
    struct findings *findings = &state->diagnosis->findings;
    for (size_t i = 0; i < findings->count && i < LOG_FINDINGS_MAX; i++) {
        uint32_t count = state->repeats.count[i];
        if (count != 0 &&
            !finding_evidence(&findings->list[i],
                              "the same %" PRIu32 " times more, up to line %" PRIu64 "\n", count,
                              state->repeats.last_line[i])) {
            state->out_of_memory = true;
        }
    }
    if (state->repeats.dropped != 0 &&
        !finding_evidence(&findings->list[0], "%" PRIu64 " findings of other kinds are not shown\n",
                          state->repeats.dropped)) {
        state->out_of_memory = true;
    }
}

/* --- boots ---------------------------------------------------------------------------------- */

static void boot_end(struct log_state *state) {
    struct diagnosis *diagnosis = state->diagnosis;
    log_list_close(state);
    log_crash_flush(state);
    log_request_judge(state, true);
    if (!growth_judge(&state->growth, &diagnosis->image, &diagnosis->findings)) {
        state->out_of_memory = true;
    }
    if (diagnosis->findings.count > state->boot_findings &&
        !log_balance_tell(&state->balance, &diagnosis->findings.list[state->boot_findings])) {
        state->out_of_memory = true;
    }
}

static void boot_begin(struct log_state *state) {
    boot_end(state);
    if (state->list.count != 0 || state->stats.has_total) {
        if (!log_image_build(state)) {
            state->out_of_memory = true;
        }
    }
    log_list_forget(state);
    growth_restart(&state->growth);
    state->stats = (struct log_stats){0};
    state->balance = (struct log_balance){0};
    state->log_lines = 0;
    state->boot_findings = state->diagnosis->findings.count;
    state->crash = (struct log_crash){0};
    state->request = (struct log_request){0};
    state->boot_has_size = state->boot_has_banner = false;
    memset(state->recent_ms, 0, sizeof state->recent_ms);
    state->boots++;
}

/* Log times restart at 0: two lines running that are earlier than two lines running before. A
 * single wrong digit cannot make that. */
static void follow_ms(struct log_state *state, uint64_t ms) {
    uint64_t *recent = state->recent_ms;
    if (recent[2] <= ms && recent[0] > ms + RESET_MS && recent[1] > ms + RESET_MS) {
        boot_begin(state);
        recent[2] = 0;
    }
    recent[0] = recent[1];
    recent[1] = recent[2];
    recent[2] = ms;
}

static void see_banner(struct log_state *state, bool *seen) {
    if (*seen) {
        boot_begin(state);
    }
    *seen = true;
}

/* --- prints of the heap --------------------------------------------------------------------- */

static void see_stats_row(struct log_state *state, const struct console_record *record) {
    static const char *const names[] = {"SRAM", "DRAM", "PSRAM"};
    struct log_stats *stats = &state->stats;
    if (record->text.length == 5 && memcmp(record->text.at, "Total", 5) == 0) {
        *stats = (struct log_stats){.has_total = true,
                                    .total = record->size,
                                    .line = state->line,
                                    .log_lines = state->log_lines};
        growth_add_total(&state->growth, record->size);
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (record->text.length == strlen(names[i]) &&
            memcmp(record->text.at, names[i], record->text.length) == 0) {
            stats->has_region[i] = true;
            stats->free_bytes[i] = record->size;
            stats->minimum[i] = record->minimum;
            stats->line = state->line;
            stats->log_lines = state->log_lines;
        }
    }
}

static void copy_text(char *to, size_t room, struct console_text text) {
    size_t length = text.length < room - 1 ? text.length : room - 1;
    for (size_t i = 0; i < length; i++) {
        bool plain = text.at[i] >= 0x20 && text.at[i] < 0x7f;
        to[i] = text.at[i];
        if (!plain) {
            to[i] = '?';
        }
    }
    to[length] = '\0';
}

static void see_corruption(struct log_state *state, const struct console_record *record) {
    struct log_crash *crash = &state->crash;
    if (crash->corruption || crash->assertion || crash->exception) {
        log_crash_flush(state);
    }
    log_list_close(state);
    state->poisoning_seen = true;
    crash->corruption = true;
    crash->corruption_line = record->line;
    crash->pointer = record->has_pointer ? record->pointer : 0;
    crash->size = record->size;
    crash->site_line = record->site_line;
    if (record->text.length != 0) {
        uint32_t site = image_site(&state->diagnosis->image, record->text.at, record->text.length);
        state->out_of_memory = state->out_of_memory || site == UINT32_MAX;
        crash->site = site != UINT32_MAX ? site : 0;
    }
    const struct log_block *block = log_list_find(&state->previous, crash->pointer);
    if (block != NULL && crash->site == 0) {
        crash->size = block->size; /* its line is damaged behind the address */
        crash->site = block->site;
        crash->site_line = block->site_line;
    }
    if (crash->size > 0x00800000u) {
        crash->size = 0; /* the size in the header is smashed */
    }
}

static void see_assertion(struct log_state *state, const struct console_record *record) {
    struct log_crash *crash = &state->crash;
    if (crash->assertion || crash->exception) {
        log_crash_flush(state);
    }
    log_list_close(state);
    crash->assertion = true;
    crash->assertion_line = record->line;
    crash->assert_line = record->site_line;
    copy_text(crash->expression, sizeof crash->expression, record->expression);
    copy_text(crash->assert_file, sizeof crash->assert_file, record->text);
    copy_text(crash->function, sizeof crash->function, record->function);
    const char *slash = strrchr(crash->assert_file, '/');
    const char *back = strrchr(crash->assert_file, '\\');
    const char *name = slash > back ? slash + 1 : back != NULL ? back + 1 : crash->assert_file;
    crash->assert_in_heap = strstr(name, "heap") != NULL ||
                            strstr(crash->expression, "block_") != NULL ||
                            strstr(crash->expression, "corruption_magic") != NULL ||
                            strstr(crash->expression, "5A5A5A") != NULL;
    state->poisoning_seen =
        state->poisoning_seen || strstr(crash->expression, "corruption_magic") != NULL;
    if (strstr(crash->expression, "0x5A5A5A5A") != NULL) {
        state->poisoning_seen = state->tail_seen = true;
    }
}

/* --- exceptions ----------------------------------------------------------------------------- */

static void see_exception(struct log_state *state, const struct console_record *record) {
    struct log_crash *crash = &state->crash;
    bool old = crash->corruption && !crash->assertion &&
               record->line > crash->corruption_line + CRASH_LINES;
    if (crash->exception || old) {
        log_crash_flush(state);
    }
    log_list_close(state);
    crash->exception = true;
    crash->exception_line = record->line;
    crash->has_number = record->kind == CONSOLE_EXCEPTION;
    crash->number = record->number;
}

/* The line with the number may be lost: the name says it too, but for traps, of which there
 * are four; the SDK's own is 16. */
static void see_exception_name(struct log_state *state, const struct console_record *record) {
    static const struct {
        const char *word;
        uint32_t number;
    } names[] = {{"naligned", 1},  {"ccess", 2},        {"zero", 3}, {"llegal", 4}, {"rivilege", 5},
                 {"reakpoint", 7}, {"nrecoverable", 8}, {"rap", 16}, {"loat", 30}};
    struct log_crash *crash = &state->crash;
    if (!crash->exception || crash->name[0] != '\0') {
        see_exception(state, record);
    }
    copy_text(crash->name, sizeof crash->name, record->text);
    for (size_t i = 0; i < sizeof names / sizeof *names && !crash->has_number; i++) {
        if (strstr(crash->name, names[i].word) != NULL) {
            crash->has_number = true;
            crash->number = names[i].number;
        }
    }
}

static void see_registers(struct log_state *state, const struct console_record *record) {
    struct log_crash *crash = &state->crash;
    if (!crash->exception) {
        see_exception(state, record); /* its first lines are lost */
    }
    for (uint32_t i = 0; i < record->count; i++) {
        uint32_t index = record->registers[i].index;
        uint32_t value = record->registers[i].value;
        if (index == CONSOLE_REGISTER_PC) {
            crash->pc = value;
            crash->has_pc = true;
        } else if (index == CONSOLE_REGISTER_PSR) {
            crash->psr = value;
        } else if (index < 16) {
            crash->registers[index] = value;
            crash->registers_known |= 1u << index;
        }
        if (index == 15) {
            crash->r15 = value;
            crash->has_r15 = true;
        }
    }
}

/* --- ordinary lines ------------------------------------------------------------------------- */

static void see_text(struct log_state *state, const struct console_record *record) {
    if (record->ms != CONSOLE_NO_MS) {
        follow_ms(state, record->ms);
    }
    if (!record->worth_a_look) {
        return;
    }
    log_request_seen(state, record);
    const struct console_text *text = &record->text;
    if (memmem(text->at, text->length, "DMA", 3) != NULL &&
        (memmem(text->at, text->length, "PSRAM", 5) != NULL ||
         memmem(text->at, text->length, "psram", 5) != NULL)) {
        state->crash.mentions_dma = true;
    }
}

static void see_stack_overflow(struct log_state *state, const struct console_record *record) {
    if (state->crash.exception) {
        log_crash_flush(state);
    }
    state->crash.stack_overflow = true;
    copy_text(state->crash.task, sizeof state->crash.task, record->text);
}

static void follow(struct log_state *state, const struct console_record *record) {
    size_t before = state->diagnosis->findings.count;
    state->line = record->line;
    state->recognized += record->kind != CONSOLE_OTHER;
    state->log_lines += record->kind == CONSOLE_LOG && record->ms != CONSOLE_NO_MS;
    switch (record->kind) {
    case CONSOLE_OTHER:
    case CONSOLE_LOG:
        see_text(state, record);
        break;
    case CONSOLE_BOOT:
        see_banner(state, &state->boot_has_banner);
        break;
    case CONSOLE_HEAP_SIZE:
        see_banner(state, &state->boot_has_size);
        break;
    case CONSOLE_STATS:
        log_list_close(state);
        break;
    case CONSOLE_STATS_ROW:
        see_stats_row(state, record);
        break;
    case CONSOLE_BLOCK:
        log_list_block(state, record);
        break;
    case CONSOLE_SUMMARY:
        log_list_summary(state, record);
        log_request_judge(state, false);
        break;
    case CONSOLE_CORRUPTION:
        see_corruption(state, record);
        break;
    case CONSOLE_ASSERTION:
        see_assertion(state, record);
        break;
    case CONSOLE_EXCEPTION:
        see_exception(state, record);
        break;
    case CONSOLE_EXCEPTION_NAME:
        see_exception_name(state, record);
        break;
    case CONSOLE_REGISTERS:
    case CONSOLE_ADDR2LINE:
        see_registers(state, record);
        break;
    case CONSOLE_STACK_OVERFLOW:
        see_stack_overflow(state, record);
        break;
    case CONSOLE_RECORDER:
        recording_line(&state->recording, record->text.at, record->text.length);
        break;
    default:
        break;
    }
    fold_findings(state, before);
}

/* --- the file ------------------------------------------------------------------------------- */

static void judge_recording(struct log_state *state) {
    const struct recorder_case judged = {.boot = &state->recording.boot,
                                         .firmware = state->options->firmware,
                                         .findings = &state->diagnosis->findings};
    recording_end(&state->recording);
    state->diagnosis->recorded = state->recording.boot.event_count > 0;
    if (state->recording.out_of_memory || !recorder_judge(&judged)) {
        state->out_of_memory = true;
    }
}

static void finish(struct log_state *state) {
    struct diagnosis *diagnosis = state->diagnosis;
    size_t before = diagnosis->findings.count;
    boot_end(state);
    judge_recording(state);
    fold_findings(state, before);
    tell_repeats(state);
    if ((state->list.count != 0 || state->stats.has_total) && !log_image_build(state)) {
        state->out_of_memory = true;
    }
    diagnosis->lines = console_lines(state->console);
    diagnosis->damaged = console_damaged(state->console) + state->implausible + state->missing +
                         state->recording.damaged;
    findings_sort(&diagnosis->findings);
}

bool diagnose_log(FILE *log, const char *name, const struct diagnose_options *options,
                  struct diagnosis *diagnosis, char *error, size_t error_size) {
    struct log_state state = {.diagnosis = diagnosis, .options = options};
    struct console_record record;
    recording_init(&state.recording);
    state.console = console_open(log);
    state.out_of_memory = state.console == NULL;
    while (!state.out_of_memory && console_next(state.console, &record)) {
        follow(&state, &record);
    }
    if (!state.out_of_memory) {
        finish(&state);
    }
    bool ok = false;
    if (state.out_of_memory) {
        snprintf(error, error_size, "%s: out of memory", name);
    } else if (ferror(log)) {
        snprintf(error, error_size, "%s:%" PRIu64 ": cannot be read further", name,
                 diagnosis->lines);
    } else if (state.recognized == 0) {
        snprintf(error, error_size, "%s: none of its %" PRIu64 " lines is of a W800's console",
                 name, diagnosis->lines);
    } else {
        ok = true;
    }
    console_close(state.console);
    recording_free(&state.recording);
    growth_free(&state.growth);
    free(state.list.blocks);
    free(state.previous.blocks);
    return ok;
}
