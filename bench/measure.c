/* SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "counter.h"
#include "statistics.h"
#include "ticks.h"

#define REPETITIONS_MIN 5u
#define REPETITIONS_MAX 2000u
#define NOTHING_SECONDS 0.05 /* at most for each measurement of the loop alone */

/* When to stop repeating. */
struct budget {
    uint64_t began_ns;
    double seconds;
    unsigned done;
};

static struct budget budget_begin(double seconds) {
    return (struct budget){.began_ns = ticks_ns(), .seconds = seconds};
}

static bool budget_left(struct budget *budget) {
    double spent = (double)(ticks_ns() - budget->began_ns) / 1e9;
    double limit = budget->done < REPETITIONS_MIN ? 4.0 * budget->seconds : budget->seconds;
    bool left = budget->done == 0 || (spent < limit && budget->done < REPETITIONS_MAX);
    budget->done += left;
    return left;
}

/* The heap as the measured calls find it. */
static void prepare(struct calls *calls, const struct allocator *allocator) {
    calls_begin(allocator);
    calls_make(calls, allocator, 0, calls->first);
}

/* Ticks of all measured calls together, the fastest repetition. */
static uint64_t fastest_pass(struct calls *calls, const struct allocator *allocator, double seconds,
                             unsigned *repetitions) {
    uint64_t best = UINT64_MAX;
    struct budget budget = budget_begin(seconds);
    while (budget_left(&budget)) {
        prepare(calls, allocator);
        uint64_t before = ticks_now();
        calls_make_measured(calls, allocator);
        uint64_t took = ticks_now() - before;
        calls_end(calls, allocator);
        best = took < best ? took : best;
    }
    *repetitions = budget.done;
    return best;
}

/* What one call took, over the repetitions. */
struct samples {
    uint64_t least;
    uint64_t sum; /* of those that came near the least */
    uint64_t count;
};

/* The counter may move in steps of 10 ns, so the least alone is too coarse for calls that take
 * no longer: all that took at most a quarter and two steps more are averaged. */
static void samples_add(struct samples *samples, uint64_t took, uint64_t step) {
    if (samples->count == 0 || took < samples->least) {
        uint64_t known = samples->count != 0 ? samples->sum / samples->count : 0;
        samples->least = took;
        if (known > took + took / 4u + 2u * step) {
            samples->count = 0; /* what came near the old least is far from this one */
            samples->sum = 0;
        }
    }
    if (took <= samples->least + samples->least / 4u + 2u * step) {
        samples->sum += took;
        samples->count++;
    }
}

/* The ticks of each call by itself. Returns the repetitions. */
static unsigned time_calls(struct calls *calls, const struct allocator *allocator, double seconds,
                           uint64_t step, struct samples *samples) {
    struct budget budget = budget_begin(seconds);
    memset(samples, 0, (calls->count - calls->first) * sizeof *samples);
    while (budget_left(&budget)) {
        prepare(calls, allocator);
        for (size_t i = calls->first; i < calls->count; i++) {
            uint64_t before = ticks_now();
            call_make(allocator, &calls->list[i], calls);
            samples_add(&samples[i - calls->first], ticks_now() - before, step);
        }
        calls_end(calls, allocator);
    }
    return budget.done;
}

static bool count_pass(struct calls *calls, const struct allocator *allocator, uint64_t *count) {
    struct counter counter;
    bool counted = counter_open(&counter);
    if (counted) {
        prepare(calls, allocator);
        counter_start(&counter);
        calls_make_measured(calls, allocator);
        counted = counter_stop(&counter, count);
        calls_end(calls, allocator);
    }
    counter_close(&counter);
    return counted;
}

static void count_instructions(struct calls *calls, const struct allocator *allocator,
                               struct measurement *measurement) {
    uint64_t with = 0;
    uint64_t without = 0;
    measurement->counted =
        count_pass(calls, allocator, &with) && count_pass(calls, &allocator_nothing, &without);
    measurement->instructions = ((double)with - (double)without) / (double)measurement->calls;
}

/* Times each call, into latencies_ns; what a call of nothing seems to take is taken off: the
 * clock, the loop, the switch and the indirect call. */
static void measure_latencies(struct calls *calls, const struct allocator *allocator,
                              double seconds, double tick_ns, struct samples *samples,
                              struct measurement *measurement) {
    uint64_t step = (uint64_t)(10.0 / tick_ns);
    const struct allocator *both[] = {&allocator_nothing, allocator};
    double nothing = 0.0;
    for (int i = 0; i < 2; i++) {
        unsigned repetitions = time_calls(
            calls, both[i], i == 0 ? fmin(seconds, NOTHING_SECONDS) : seconds, step, samples);
        for (size_t call = 0; call < measurement->calls; call++) {
            double ticks = (double)samples[call].sum / (double)samples[call].count;
            measurement->latencies_ns[call] = fmax(ticks - nothing, 0.0) * tick_ns;
        }
        figures_sort(measurement->latencies_ns, measurement->calls);
        if (i == 0) {
            nothing =
                figures_percentile(measurement->latencies_ns, measurement->calls, 0.5) / tick_ns;
        } else if (repetitions < measurement->repetitions) {
            measurement->repetitions = repetitions;
        }
    }
}

bool measure(struct calls *calls, const struct allocator *allocator, double seconds,
             struct measurement *measurement, struct trace_error *error) {
    size_t count = calls->count - calls->first;
    struct samples *samples = calloc(count, sizeof *samples);
    *measurement = (struct measurement){.calls = count};
    measurement->latencies_ns = calloc(count, sizeof *measurement->latencies_ns);
    if (samples == NULL || measurement->latencies_ns == NULL) {
        snprintf(error->text, sizeof error->text, "out of memory");
        free(samples);
        measurement_free(measurement);
        return false;
    }
    unsigned ignored;
    double tick_ns = ticks_length_ns();
    double quick = fmin(seconds, NOTHING_SECONDS);
    double loop = (double)fastest_pass(calls, &allocator_nothing, quick, &ignored);
    double all = (double)fastest_pass(calls, allocator, seconds, &measurement->repetitions);
    measurement->mean_ns = fmax(all - loop, 0.0) * tick_ns / (double)count;
    measure_latencies(calls, allocator, seconds, tick_ns, samples, measurement);
    count_instructions(calls, allocator, measurement);
    free(samples);
    return true;
}

void measurement_free(struct measurement *measurement) {
    free(measurement->latencies_ns);
    measurement->latencies_ns = NULL;
}
