/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests that failed: how a log speaks of them, and why the heap refused.
 *
 * The SDK is silent when memory runs out; applications complain in words of their own. So
 * this reads ordinary text, and asks for two words that belong together, near each other: an
 * allocation and its failure. The reason is then a matter of arithmetic: a region serves a
 * request if it has all its capabilities, and it must have that much in one piece.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "diagnose_log.h"
#include "trace.h"

#define CAP_DEFAULT (1u << 0)
#define CAP_INTERNAL (1u << 1)
#define CAP_SPIRAM (1u << 2)
#define CAP_EXEC (1u << 3)
#define CAP_SHARED (1u << 4)

#define TEXT_MAX 256u
#define SIZE_MAX_ASKED (16u << 20) /* a larger number in a log line is something else */
#define NEAR_LINES 400u

/* --- words ---------------------------------------------------------------------------------- */

static bool holds(const char *text, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strstr(text, words[i]) != NULL) {
            return true;
        }
    }
    return false;
}
#define HOLDS(text, words) holds(text, words, sizeof(words) / sizeof *(words))

/* "malloc(4200) failed", "failed to allocate 12 bytes", "calloc returned NULL". */
static const char *find_refused_alloc(const char *text) {
    static const char *const after[] = {"fail",         "error",   "returned null",
                                        "returns null", "== null", "= null"};
    static const char *const before[] = {"fail",      "cannot ",    "can't ", "could not ",
                                         "couldn't ", "unable to ", "not "};
    for (const char *at = text; (at = strstr(at, "alloc")) != NULL; at++) {
        char near[48] = "";
        size_t lead = (size_t)(at - text) < 20 ? (size_t)(at - text) : 20;
        memcpy(near, at - lead, lead);
        near[lead] = '\0';
        bool passed = strncmp(at, "allocated", 9) == 0;
        if (HOLDS(near, before) && strstr(near, "deallocat") == NULL) {
            return at;
        }
        snprintf(near, sizeof near, "%s", at);
        near[strcspn(near, ".;")] = '\0';
        if (!passed && HOLDS(near, after)) {
            return at;
        }
    }
    return NULL;
}

static const char *find_shortage(const char *text) {
    static const char *const words[] = {
        "out of memory",     "no memory",      "not enough memory", "insufficient memory",
        "no mem ",           "out of heap",    "no free memory",    "enomem",
        "memory exhausted",  "oom:",           "not enough heap",   "no more memory",
        "memory not enough", "no heap memory",
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const char *found = strstr(text, words[i]);
        if (found != NULL && strncmp(found, "no memory leak", 14) != 0) {
            return found;
        }
    }
    return NULL;
}

/* A number that may be a size: alone, not a line of a file, not an error code. */
static uint32_t find_size(const char *text) {
    for (const char *at = text; *at != '\0'; at++) {
        if (!isdigit((unsigned char)*at)) {
            continue;
        }
        char *end;
        unsigned long value = strtoul(at, &end, 0);
        const char last = *(at > text ? at - 1 : " ");
        bool line = (at - text >= 5 && strncmp(at - 5, "line ", 5) == 0) ||
                    (at - text >= 3 && last == ':' && at[-3] == '.');
        bool part = isalnum((unsigned char)last) || last == '_' || last == '-' || last == '.' ||
                    isalnum((unsigned char)*end) || *end == '_' ||
                    (*end == '.' && isdigit((unsigned char)end[1]));
        if (!line && !part && value > 0 && value <= SIZE_MAX_ASKED) {
            return (uint32_t)value;
        }
        at = end - 1;
    }
    return 0;
}

/* calloc(COUNT, SIZE) asks for the product. */
static uint32_t find_product(const char *found, const char *text) {
    char *comma;
    if (found == text || found[-1] != 'c' || strncmp(found, "alloc(", 6) != 0) {
        return 0;
    }
    unsigned long count = strtoul(found + 6, &comma, 10);
    unsigned long size = *comma == ',' ? strtoul(comma + 1, NULL, 10) : 0;
    bool sound = count > 0 && size > 0 && count <= SIZE_MAX_ASKED && size <= SIZE_MAX_ASKED / count;
    return sound ? (uint32_t)(count * size) : 0;
}

static uint32_t find_caps(const char *text, size_t length) {
    static const struct {
        const char *word;
        uint32_t caps;
    } words[] = {{"SPIRAM", CAP_SPIRAM},
                 {"PSRAM", CAP_SPIRAM},
                 {"SHARED", CAP_DEFAULT | CAP_SHARED},
                 {"_EXEC", CAP_INTERNAL | CAP_EXEC}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (memmem(text, length, words[i].word, strlen(words[i].word)) != NULL) {
            return words[i].caps;
        }
    }
    return CAP_DEFAULT;
}

bool request_parse(const char *text, size_t length, uint32_t *size, uint32_t *caps) {
    char lower[TEXT_MAX + 1];
    length = length < TEXT_MAX ? length : TEXT_MAX;
    for (size_t i = 0; i < length; i++) {
        int byte = text[i] != '\0' ? tolower((unsigned char)text[i]) : ' ';
        lower[i] = (char)byte;
    }
    lower[length] = '\0';
    const char *found = find_refused_alloc(lower);
    if (found == NULL) {
        found = find_shortage(lower);
    }
    if (found == NULL) {
        return false;
    }
    *size = find_product(found, lower);
    if (*size == 0) {
        *size = find_size(found);
    }
    if (*size == 0) {
        *size = find_size(lower);
    }
    *caps = find_caps(text, length);
    return true;
}

/* --- why ------------------------------------------------------------------------------------ */

struct supply {
    uint64_t free_bytes;
    uint64_t span;      /* bytes of the regions whose bounds are known */
    uint32_t most_free; /* of one region */
    uint32_t largest;
    bool any, blocks_known;
    bool serves[IMAGE_REGIONS_MAX];
};

static struct supply supply_of(const struct image *image, uint32_t caps) {
    struct supply supply = {.blocks_known = true};
    for (int i = 0; i < IMAGE_REGIONS_MAX; i++) {
        const struct image_region *region = &image->regions[i];
        if (!region->present || (region->caps & caps) != caps) {
            continue;
        }
        supply.any = supply.serves[i] = true;
        supply.blocks_known = supply.blocks_known && region->has_blocks;
        supply.free_bytes += region->free_bytes;
        supply.span +=
            region->end > region->start && region->start != 0 ? region->end - region->start : 0;
        supply.most_free =
            region->free_bytes > supply.most_free ? region->free_bytes : supply.most_free;
        supply.largest =
            region->largest_free > supply.largest ? region->largest_free : supply.largest;
    }
    return supply;
}

/* What a site holds, and the free bytes that its blocks keep apart. */
struct holder {
    uint32_t site, line;
    uint64_t bytes, pinned;
    uint32_t blocks, pins;
};

static int by_site(const void *left, const void *right) {
    const struct holder *a = left;
    const struct holder *b = right;
    if (a->site != b->site) {
        return a->site < b->site ? -1 : 1;
    }
    return (a->line > b->line) - (a->line < b->line);
}

static int by_pinned(const void *left, const void *right) {
    const struct holder *a = left;
    const struct holder *b = right;
    return a->pinned != b->pinned ? (a->pinned < b->pinned ? 1 : -1) : by_site(a, b);
}

static int by_bytes(const void *left, const void *right) {
    const struct holder *a = left;
    const struct holder *b = right;
    return a->bytes != b->bytes ? (a->bytes < b->bytes ? 1 : -1) : by_site(a, b);
}

static struct holder holder_of(const struct image *image, size_t index) {
    const struct image_block *block = &image->blocks[index];
    const struct image_block *before = index > 0 ? block - 1 : NULL;
    const struct image_block *after = index + 1 < image->block_count ? block + 1 : NULL;
    struct holder holder = {.site = block->site, .line = block->line, .bytes = block->size};
    holder.blocks = 1;
    if (before != NULL && before->state == IMAGE_FREE && before->region == block->region) {
        holder.pinned += before->size;
    }
    if (after != NULL && after->state == IMAGE_FREE && after->region == block->region) {
        holder.pinned += after->size;
    }
    holder.pins = holder.pinned != 0;
    return holder;
}

/* The live blocks of the serving regions by call site; the number of sites. */
static bool holders_of(const struct image *image, const struct supply *supply, struct holder **list,
                       size_t *count) {
    *count = 0;
    *list = calloc(image->block_count + 1, sizeof **list);
    if (*list == NULL) {
        return false;
    }
    for (size_t i = 0; i < image->block_count; i++) {
        if (image->blocks[i].state == IMAGE_LIVE && supply->serves[image->blocks[i].region]) {
            (*list)[(*count)++] = holder_of(image, i);
        }
    }
    qsort(*list, *count, sizeof **list, by_site);
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        const struct holder *one = &(*list)[i];
        struct holder *last = kept > 0 ? &(*list)[kept - 1] : NULL;
        if (last == NULL || last->site != one->site || last->line != one->line) {
            (*list)[kept++] = *one;
            continue;
        }
        last->bytes += one->bytes;
        last->pinned += one->pinned;
        last->blocks += one->blocks;
        last->pins += one->pins;
    }
    *count = kept;
    return true;
}

static bool name_holders(const struct image *image, const struct supply *supply, bool fragmented,
                         struct finding *finding) {
    struct holder *list;
    size_t count;
    if (!holders_of(image, supply, &list, &count)) {
        return false;
    }
    qsort(list, count, sizeof *list, fragmented ? by_pinned : by_bytes);
    bool ok = true;
    bool sites = image->tracing_known && image->tracing;
    for (size_t i = 0; i < count && i < 3 && ok && sites; i++) {
        const char *file = image->sites[list[i].site];
        if (i == 0 && list[i].site != 0) {
            snprintf(finding->site, sizeof finding->site, "%s:%u", file, list[i].line);
        }
        ok =
            finding_evidence(finding, "%s:%u holds %u blocks, %llu bytes",
                             *file != '\0' ? file : "(unknown)", list[i].line, list[i].blocks,
                             (unsigned long long)list[i].bytes) &&
            (!fragmented || finding_evidence(finding, "; %u of them border on holes, of %llu bytes",
                                             list[i].pins, (unsigned long long)list[i].pinned)) &&
            finding_evidence(finding, "\n");
    }
    free(list);
    return ok;
}

static bool report(const struct image *image, const struct supply *supply, bool fragmented,
                   bool certain, uint32_t size, struct findings *findings) {
    struct finding *finding =
        findings_add(findings, fragmented ? VERDICT_FRAGMENTATION : VERDICT_EXHAUSTION, certain);
    if (finding == NULL) {
        return false;
    }
    finding->request = size;
    bool ok = size == 0 || finding_evidence(finding, "a request of %u bytes; ", size);
    ok = ok && finding_evidence(finding, "the regions that serve it have %llu bytes free",
                                (unsigned long long)supply->free_bytes);
    if (ok && supply->blocks_known) {
        ok = finding_evidence(finding, ", the largest hole has %u", supply->largest);
    } else if (ok && supply->any) {
        ok = finding_evidence(finding, ", at most %u in one region", supply->most_free);
    }
    return ok && finding_evidence(finding, "\n") &&
           name_holders(image, supply, fragmented, finding);
}

bool diagnose_failed_request(const struct image *image, uint32_t size, uint32_t caps,
                             struct findings *findings) {
    struct supply supply = supply_of(image, caps != 0 ? caps : CAP_DEFAULT);
    uint32_t header = image->header_size != 0 ? image->header_size : 16;
    uint32_t tail = image->poisoning == TRACE_POISONING_COMPREHENSIVE ? 4 : 0;
    uint64_t need = ((uint64_t)size + header + tail + 7) & ~UINT64_C(7);
    if (!supply.any) {
        return true; /* nothing is known of the regions */
    }
    bool nearly_full = supply.span != 0 && supply.free_bytes < supply.span / 32;
    if (size == 0) {
        bool scattered = supply.blocks_known && supply.largest < supply.free_bytes / 8;
        return nearly_full || scattered
                   ? report(image, &supply, !nearly_full, false, size, findings)
                   : true;
    }
    if (supply.blocks_known && supply.largest >= need) {
        return true; /* it would be served */
    }
    /* No region has that much: no order of the blocks would help. A few bytes more than that
     * are no reserve either, but the remains of a full heap. */
    if (supply.most_free < need || (nearly_full && supply.free_bytes < 4 * need)) {
        return report(image, &supply, false, true, size, findings);
    }
    return report(image, &supply, true, supply.blocks_known, size, findings);
}

/* --- in a log ------------------------------------------------------------------------------- */

void log_request_seen(struct log_state *state, const struct console_record *record) {
    struct log_request *request = &state->request;
    uint32_t size;
    uint32_t caps;
    if (!request_parse(record->text.at, record->text.length, &size, &caps)) {
        return;
    }
    request->count++;
    if (request->waiting || request->judged) {
        return;
    }
    request->waiting = true;
    request->size = size;
    request->caps = caps;
    request->line = record->line;
    size_t length = record->text.length < sizeof request->text - 1 ? record->text.length
                                                                   : sizeof request->text - 1;
    for (size_t i = 0; i < length; i++) {
        bool plain = record->text.at[i] >= 0x20 && record->text.at[i] < 0x7f;
        request->text[i] = record->text.at[i];
        if (!plain) {
            request->text[i] = '?';
        }
    }
    request->text[length] = '\0';
    uint64_t seen =
        state->list.end_line > state->stats.line ? state->list.end_line : state->stats.line;
    if (seen != 0 && request->line - seen <= NEAR_LINES) {
        log_request_judge(state, false);
    }
}

/* Nothing in the log explains it: the heap that is known would serve it. */
static bool report_unexplained(struct log_state *state) {
    struct diagnosis *diagnosis = state->diagnosis;
    struct supply supply = supply_of(&diagnosis->image, state->request.caps);
    bool scattered = supply.any && supply.blocks_known && supply.largest < supply.free_bytes / 4;
    if (supply.any) {
        return report(&diagnosis->image, &supply, scattered, false, state->request.size,
                      &diagnosis->findings) &&
               finding_evidence(&diagnosis->findings.list[diagnosis->findings.count - 1],
                                "the nearest list or stats would serve it, so memory has been "
                                "freed in between\n");
    }
    struct finding *finding = findings_add(&diagnosis->findings, VERDICT_EXHAUSTION, false);
    return finding != NULL && finding_evidence(finding, "no list or stats says how the heap was\n");
}

void log_request_judge(struct log_state *state, bool last) {
    struct log_request *request = &state->request;
    struct findings *findings = &state->diagnosis->findings;
    size_t before = findings->count;
    if (!request->waiting) {
        return;
    }
    log_list_close(state);
    bool ok =
        log_image_build(state) &&
        diagnose_failed_request(&state->diagnosis->image, request->size, request->caps, findings);
    if (ok && last && findings->count == before) {
        ok = report_unexplained(state);
    }
    if (ok && findings->count > before) {
        ok = finding_evidence(&findings->list[findings->count - 1], "line %llu: %s\n",
                              (unsigned long long)request->line, request->text);
        request->waiting = false;
        request->judged = true;
    }
    state->out_of_memory = state->out_of_memory || !ok;
}
