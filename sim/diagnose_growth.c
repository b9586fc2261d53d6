/* SPDX-License-Identifier: Apache-2.0
 *
 * Leaks: what grows from list to list of one boot.
 *
 * A program's blocks come and go, so any call site may hold more in one list than in the one
 * before. A leak is told from that by three things together: the site grows by far more than
 * the others vary, it grows all the way and not in one step, and its old blocks stay. The
 * last is the strongest: churn replaces its blocks, a leak never gives one back.
 *
 * However many lists a log has, each site keeps 64 samples: when they are full, every other
 * one is dropped, and from then on only half as many lists are sampled.
 */
#include <stdlib.h>
#include <string.h>

#include "diagnose_log.h"

#define SITES_MAX 16384u

/* --- collecting ----------------------------------------------------------------------------- */

static uint32_t hash_site(uint32_t site, uint32_t line) {
    uint64_t mixed = (site * UINT64_C(0x9e3779b97f4a7c15)) ^ (line * UINT64_C(0xc2b2ae3d27d4eb4f));
    return (uint32_t)(mixed >> 32);
}

static uint32_t *site_slot(const struct growth *growth, uint32_t site, uint32_t line) {
    size_t mask = growth->table_size - 1;
    for (size_t at = hash_site(site, line) & mask;; at = (at + 1) & mask) {
        uint32_t *slot = &growth->table[at];
        if (*slot == 0 ||
            (growth->sites[*slot - 1].site == site && growth->sites[*slot - 1].site_line == line)) {
            return slot;
        }
    }
}

static bool make_room(struct growth *growth) {
    if (growth->site_count < growth->site_room) {
        return true;
    }
    size_t room = growth->site_room != 0 ? 2 * growth->site_room : 64;
    struct growth_site *sites = realloc(growth->sites, room * sizeof *sites);
    if (sites == NULL) {
        return false;
    }
    growth->sites = sites;
    uint32_t *table = calloc(4 * room, sizeof *table); /* at most a quarter full */
    if (table == NULL) {
        return false;
    }
    free(growth->table);
    growth->table = table;
    growth->table_size = 4 * room;
    growth->site_room = room;
    for (uint32_t i = 0; i < growth->site_count; i++) {
        *site_slot(growth, sites[i].site, sites[i].site_line) = i + 1;
    }
    return true;
}

/* The site's record; *full if there is no room for more sites: garbled names. */
static struct growth_site *site_get(struct growth *growth, uint32_t site, uint32_t line,
                                    bool *full) {
    *full = growth->site_count >= SITES_MAX;
    if (!*full && !make_room(growth)) {
        return NULL;
    }
    uint32_t *slot = site_slot(growth, site, line);
    if (*slot == 0) {
        if (*full) {
            return NULL;
        }
        struct growth_site *added = &growth->sites[growth->site_count];
        memset(added, 0, sizeof *added);
        added->site = site;
        added->site_line = line;
        *slot = (uint32_t)++growth->site_count;
    }
    return &growth->sites[*slot - 1];
}

static void thin_out(struct growth *growth) {
    for (size_t i = 0; i < growth->site_count; i++) {
        for (uint32_t k = 0; k < GROWTH_SAMPLES / 2; k++) {
            growth->sites[i].count[k] = growth->sites[i].count[(size_t)2 * k];
        }
    }
    growth->samples /= 2;
    growth->stride *= 2;
}

static bool is_same(const struct log_block *one, const struct log_block *other) {
    return one->pointer == other->pointer && one->size == other->size && one->site == other->site &&
           one->site_line == other->site_line;
}

/* Both lists are in address order. */
static void count_stayers(struct growth *growth, const struct log_list *list,
                          const struct log_list *previous) {
    size_t at = 0;
    for (size_t i = 0; i < previous->count; i++) {
        const struct log_block *block = &previous->blocks[i];
        bool full;
        struct growth_site *site = site_get(growth, block->site, block->site_line, &full);
        while (at < list->count && list->blocks[at].pointer < block->pointer) {
            at++;
        }
        if (site != NULL) {
            site->before++;
            site->stayed += at < list->count && is_same(&list->blocks[at], block);
        }
    }
}

bool growth_add_list(struct growth *growth, const struct log_list *list,
                     const struct log_list *previous) {
    if (growth->lists == 0) {
        growth->stride = 1;
        growth->first_line = list->begin_line;
    }
    if (growth->samples == GROWTH_SAMPLES) {
        thin_out(growth);
    }
    for (size_t i = 0; i < growth->site_count; i++) {
        growth->sites[i].count[growth->samples] = 0;
        growth->sites[i].bytes_last = 0;
    }
    for (size_t i = 0; i < list->count; i++) {
        bool full;
        struct growth_site *site =
            site_get(growth, list->blocks[i].site, list->blocks[i].site_line, &full);
        if (site == NULL) {
            if (full) {
                continue;
            }
            return false;
        }
        site->count[growth->samples]++;
        site->bytes_last += list->blocks[i].size;
        site->bytes_first += growth->lists == 0 ? list->blocks[i].size : 0;
    }
    if (previous != NULL) {
        count_stayers(growth, list, previous);
    }
    growth->last_line = list->end_line;
    /* The newest list always stands in [samples]; it becomes a sample if its turn has come. */
    growth->samples += growth->lists % growth->stride == 0;
    growth->lists++;
    return true;
}

void growth_add_total(struct growth *growth, uint32_t total) {
    if (growth->total_prints == 0) {
        growth->total_stride = 1;
    }
    if (growth->total_samples == GROWTH_SAMPLES) {
        for (uint32_t k = 0; k < GROWTH_SAMPLES / 2; k++) {
            growth->totals[k] = growth->totals[(size_t)2 * k];
        }
        growth->total_samples /= 2;
        growth->total_stride *= 2;
    }
    growth->totals[growth->total_samples] = total;
    growth->total_samples += growth->total_prints % growth->total_stride == 0;
    growth->total_prints++;
}

void growth_restart(struct growth *growth) {
    growth->site_count = 0;
    if (growth->table != NULL) {
        memset(growth->table, 0, growth->table_size * sizeof *growth->table);
    }
    growth->samples = growth->lists = 0;
    growth->total_samples = growth->total_prints = 0;
}

void growth_free(struct growth *growth) {
    free(growth->sites);
    free(growth->table);
    *growth = (struct growth){0};
}

/* --- judging -------------------------------------------------------------------------------- */

struct course {
    int64_t growth;
    int64_t fall; /* the deepest from any peak */
    int64_t to_half;
};

static struct course course_of(const uint32_t *values, uint32_t count) {
    struct course course = {.growth = (int64_t)values[count - 1] - values[0],
                            .to_half = (int64_t)values[count / 2] - values[0]};
    int64_t peak = values[0];
    for (uint32_t i = 0; i < count; i++) {
        peak = values[i] > peak ? values[i] : peak;
        course.fall = peak - values[i] > course.fall ? peak - values[i] : course.fall;
    }
    return course;
}

static int compare_spread(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* How much the sites vary from first to last: 1.5 times the median of the amounts, which a
 * few leaking sites cannot move, and at least 1. */
static int64_t spread_of(const struct growth *growth, uint32_t count) {
    int64_t *amounts = calloc(growth->site_count, sizeof *amounts);
    if (amounts == NULL) {
        return -1;
    }
    for (size_t i = 0; i < growth->site_count; i++) {
        int64_t grown = course_of(growth->sites[i].count, count).growth;
        amounts[i] = grown < 0 ? -grown : grown;
    }
    qsort(amounts, growth->site_count, sizeof *amounts, compare_spread);
    int64_t spread = (3 * amounts[growth->site_count / 2] + 1) / 2;
    free(amounts);
    return spread > 1 ? spread : 1;
}

static bool is_leak(const struct growth_site *site, uint32_t count, int64_t spread, bool *certain) {
    struct course course = course_of(site->count, count);
    uint64_t stay_percent = site->before != 0 ? 100 * site->stayed / site->before : 0;
    if (count == 2) {
        *certain = false;
        return course.growth >= 16 && course.growth >= 5 * spread && site->before >= 3 &&
               stay_percent >= 80;
    }
    *certain = course.growth >= 12 * spread && stay_percent >= 80;
    return course.growth >= 6 && course.growth >= 5 * spread && 5 * course.fall <= course.growth &&
           10 * course.to_half >= course.growth &&
           10 * (course.growth - course.to_half) >= course.growth && stay_percent >= 60;
}

static bool report_site(const struct growth *growth, const struct growth_site *site,
                        const struct image *image, uint32_t count, int64_t spread, bool certain,
                        struct findings *findings) {
    struct finding *finding = findings_add(findings, VERDICT_LEAK, certain);
    if (finding == NULL) {
        return false;
    }
    if (site->site != 0) {
        snprintf(finding->site, sizeof finding->site, "%s:%u", image->sites[site->site],
                 site->site_line);
    }
    bool ok = finding_evidence(
        finding, "live blocks in %u lists of one boot (lines %llu to %llu):", growth->lists,
        (unsigned long long)growth->first_line, (unsigned long long)growth->last_line);
    for (uint32_t i = 0; i < count && ok; i++) {
        if (i < 8 || i + 8 >= count) {
            ok = finding_evidence(finding, " %u", site->count[i]);
        } else if (i == 8) {
            ok = finding_evidence(finding, " ...");
        }
    }
    return ok &&
           finding_evidence(finding, "\nlive bytes: %u at first, %u at last\n", site->bytes_first,
                            site->bytes_last) &&
           finding_evidence(finding,
                            "of its blocks, %llu of %llu were still there one list later; the "
                            "other sites vary by about %lld blocks\n",
                            (unsigned long long)site->stayed, (unsigned long long)site->before,
                            (long long)spread);
}

/* Without lists there are only the totals, which wander. Only a long and steady fall counts:
 * at least 6 prints, half of all free memory or a twentieth in steps that never turn back. */
static bool judge_totals(const struct growth *growth, struct findings *findings) {
    uint32_t count = growth->total_samples;
    if (growth->total_prints > 0 && (growth->total_prints - 1) % growth->total_stride != 0) {
        count++; /* the newest is not a sample */
    }
    if (growth->lists != 0 || count < 6) {
        return true;
    }
    uint32_t first = growth->totals[0];
    uint32_t last = growth->totals[count - 1];
    uint32_t rises = 0;
    uint32_t least_step = UINT32_MAX;
    uint32_t most_step = 0;
    for (uint32_t i = 1; i < count; i++) {
        if (growth->totals[i] >= growth->totals[i - 1]) {
            rises++;
            continue;
        }
        uint32_t step = growth->totals[i - 1] - growth->totals[i];
        least_step = step < least_step ? step : least_step;
        most_step = step > most_step ? step : most_step;
    }
    /* Steps of like size: churn adds and takes, a leak under a steady load does not. */
    if (rises != 0 || first - last < first / 20 || most_step / 4 > least_step) {
        return true;
    }
    struct finding *finding = findings_add(findings, VERDICT_LEAK, false);
    return finding != NULL &&
           finding_evidence(finding,
                            "the free total falls with every one of %u prints, from %u to %u "
                            "bytes; without tracing lists the site cannot be told\n",
                            growth->total_prints, first, last);
}

bool growth_judge(const struct growth *growth, const struct image *image,
                  struct findings *findings) {
    uint32_t count = growth->samples;
    if (growth->lists > 0 && (growth->lists - 1) % growth->stride != 0) {
        count++;
    }
    if (growth->lists < 2 || growth->site_count == 0) {
        return judge_totals(growth, findings);
    }
    int64_t spread = spread_of(growth, count);
    for (size_t i = 0; i < growth->site_count && spread > 0; i++) {
        bool certain;
        if (is_leak(&growth->sites[i], count, spread, &certain) &&
            !report_site(growth, &growth->sites[i], image, count, spread, certain, findings)) {
            return false;
        }
    }
    return spread > 0;
}
