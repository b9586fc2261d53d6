/* SPDX-License-Identifier: Apache-2.0
 *
 * A log's own check: the bytes of a tracing list (its summary) and the free bytes of the stats
 * (Total) add up to the same sum at each moment of a boot, but for an append, which adds a
 * region of megabytes. So a list and stats that stand together and give another sum than
 * before show that lines were lost, and how many bytes those had; and a list whose summary is
 * lost is known to be whole if its sum is right.
 *
 * A list that is whole and still gives another sum shows that the heap changed between the two
 * prints, or that its counters are wrong (the SDK adds the size of a corrupted block to them
 * unchecked). Which of the two, a log does not say: it is told beside other findings, and is
 * none itself.
 */
#include <inttypes.h>

#include "diagnose_log.h"

#define TOGETHER_LINES 8u      /* a prompt and blank lines lie between */
#define APPEND_BYTES 0x100000u /* PSRAM has 2 MiB at least */

static bool are_together(const struct log_state *state) {
    const struct log_stats *stats = &state->stats;
    const struct log_list *list = &state->list;
    return stats->has_total && stats->line < list->begin_line &&
           list->begin_line - stats->line <= TOGETHER_LINES && stats->log_lines == list->log_lines;
}

/* A sum that nothing is wrong with, as far as the list itself shows. */
static void take_sum(struct log_balance *balance, uint64_t sum, uint64_t line) {
    uint64_t apart = sum > balance->sum ? sum - balance->sum : balance->sum - sum;
    if (balance->line == 0 || apart >= APPEND_BYTES) {
        *balance = (struct log_balance){.sum = sum, .line = line};
    } else if (apart != 0 && balance->other_line != 0 && sum == balance->other) {
        *balance = (struct log_balance){.sum = sum,
                                        .line = line, /* the first was the odd one */
                                        .other = balance->sum,
                                        .other_line = balance->line};
    } else if (apart != 0 && balance->other_line == 0) {
        balance->other = sum;
        balance->other_line = line;
    }
}

/* A list that is not whole, by its summary or for want of one. */
static void weigh_rest(struct log_state *state, uint64_t sum) {
    struct log_balance *balance = &state->balance;
    struct log_list *list = &state->list;
    if (balance->line == 0 || balance->sum - sum >= APPEND_BYTES) {
        return; /* more than it should be: wrong digits, which are counted elsewhere */
    }
    if (sum == balance->sum) {
        list->complete = list->expected == 0;
        return;
    }
    if (list->missing_bytes == 0) {
        list->missing_bytes = balance->sum - sum;
        state->missing += list->expected == 0 && list->missing_lines == 0;
    }
    balance->lost += balance->sum - sum;
    balance->lost_line = list->end_line;
}

void log_balance_list(struct log_state *state) {
    struct log_list *list = &state->list;
    if (list->count == 0 || !are_together(state)) {
        return;
    }
    uint64_t sum = list->bytes + state->stats.total;
    if (list->complete) {
        take_sum(&state->balance, sum, list->end_line);
    } else {
        weigh_rest(state, sum);
    }
}

/* A corruption prints the list, which the block has left, then the stats, which do not count
 * it as free yet. */
void log_balance_corruption(struct log_state *state) {
    const struct log_crash *crash = &state->crash;
    const struct log_list *list = &state->list;
    const struct log_stats *stats = &state->stats;
    if (crash->corruption && crash->size != 0 && list->complete && list->count != 0 &&
        crash->corruption_line > list->end_line &&
        crash->corruption_line - list->end_line <= TOGETHER_LINES && stats->has_total &&
        stats->line > crash->corruption_line &&
        stats->line - crash->corruption_line <= TOGETHER_LINES) {
        take_sum(&state->balance, list->bytes + crash->size + stats->total, stats->line);
    }
}

bool log_balance_tell(const struct log_balance *balance, struct finding *finding) {
    bool ok = true;
    if (balance->lost != 0) {
        ok = finding_evidence(finding,
                              "lists up to line %" PRIu64 " lack %" PRIu64 " bytes of the %" PRIu64
                              " that live and free blocks had on line %" PRIu64
                              ": lines of theirs are lost\n",
                              balance->lost_line, balance->lost, balance->sum, balance->line);
    }
    if (ok && balance->other_line != 0) {
        ok = finding_evidence(finding,
                              "live and free blocks add up to %" PRIu64 " bytes on line %" PRIu64
                              ", but to %" PRIu64 " on line %" PRIu64
                              ": the heap changed between two prints, or its counters are wrong\n",
                              balance->sum, balance->line, balance->other, balance->other_line);
    }
    return ok;
}
