/* SPDX-License-Identifier: Apache-2.0
 *
 * A heap at one moment as a trace that rebuilds it: every block at its address with its
 * size, in address order (convert_plan.c says why). How old each block is, and what was
 * freed between, is lost: no report says it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "convert_internal.h"

static uint32_t memory_end(int region) {
    static const uint32_t ends[IMAGE_REGIONS_MAX] = {0x20028000u, 0x20048000u, 0x30800000u};
    return ends[region];
}

/* The header's size; the SDK's defaults where the report does not say. */
static uint32_t header_of(const struct image *image, struct trace_config *config) {
    config->tracing = !image->tracing_known || image->tracing;
    config->poisoning =
        image->poisoning_known ? (enum trace_poisoning)image->poisoning : TRACE_POISONING_NONE;
    uint32_t header = image->header_size;
    if (!image->poisoning_known && header == 16u + (config->tracing ? 16u : 8u)) {
        config->poisoning = TRACE_POISONING_LIGHT;
    }
    if (!image->tracing_known && header == 16u) {
        config->tracing = false;
    }
    return 16u + (config->tracing ? 8u : 0u) +
           (config->poisoning != TRACE_POISONING_NONE ? 8u : 0u);
}

/* Where a block's header is. */
static uint32_t block_address(const struct image_block *block, uint32_t header) {
    return block->address != 0 ? block->address : block->pointer - header;
}

/* A region's first byte if the report does not say: what is free and what is live add up to
 * all of it; or else where its lowest block lies. */
static uint32_t guess_start(const struct image *image, int index, uint32_t end, uint32_t header) {
    const struct image_region *region = &image->regions[index];
    uint64_t live = 0;
    uint32_t lowest = end;
    for (size_t i = 0; i < image->block_count; i++) {
        const struct image_block *block = &image->blocks[i];
        if (block->region == index && block->state == IMAGE_LIVE) {
            uint32_t address = block_address(block, header);
            lowest = address < lowest ? address : lowest;
            live += block->size;
        }
    }
    uint64_t all = live + region->free_bytes;
    if (region->has_free && all <= end - (memory_end(index) & 0xf0000000u)) {
        uint32_t start = end - (uint32_t)all;
        if (start <= lowest && image_region_of(start) == index && start % 8u == 0) {
            return start;
        }
    }
    return lowest;
}

static void add_region(const struct image *image, int index, uint32_t header, struct trace *trace) {
    const struct image_region *region = &image->regions[index];
    uint32_t kept = index == 1 ? 4u : 0u; /* DRAM's last word is no heap's */
    uint32_t end = region->end != 0 ? region->end : (memory_end(index) - kept - header) & ~7u;
    uint32_t start = region->start != 0 ? region->start : guess_start(image, index, end, header);
    if (image_region_of(start) != index || image_region_of(end) != index || start >= end) {
        return;
    }
    struct trace_region *row = &trace->regions[trace->region_count++];
    *row = (struct trace_region){
        .start = start, .end = end + header, .caps = region->caps, .deferred = index == 2};
    memcpy(row->name, region->name, sizeof row->name);
    if (row->end > memory_end(index)) {
        row->end = memory_end(index);
    }
}

static bool region_is_used(const struct image *image, int index) {
    if (image->regions[index].present) {
        return true;
    }
    for (size_t i = 0; i < image->block_count; i++) {
        if (image->blocks[i].region == index && image->blocks[i].state == IMAGE_LIVE) {
            return true;
        }
    }
    return false;
}

/* The block as it is wanted. What is smashed has the size up to the next block that is not. */
static struct span span_of(const struct convert *convert, const struct image *image, size_t index,
                           const uint32_t *names) {
    const struct image_block *block = &image->blocks[index];
    struct span span = {
        .address = block_address(block, convert->header),
        .want = block->size,
        .request = block->requested,
        .caps = block->caps,
        .name = names[block->site],
        .line = block->line,
    };
    if (block->state == IMAGE_SMASHED) {
        uint32_t end = index + 1 < image->block_count
                           ? block_address(&image->blocks[index + 1], convert->header)
                           : 0;
        if (index + 1 < image->block_count && image->blocks[index + 1].state == IMAGE_UNKNOWN) {
            end = image->blocks[index + 1].address + image->blocks[index + 1].size;
        }
        if (end > span.address && image_region_of(end - 1) == block->region) {
            span.want = end - span.address;
        }
        span.request = 0;
    }
    return span;
}

/* Names, each used one once; TRACE_NO_SLOT for those that nobody uses. */
static uint32_t *names_make(struct convert *convert, const struct image *image) {
    uint32_t *names = malloc((image->site_count + 1u) * sizeof *names);
    for (uint32_t i = 0; names != NULL && i <= image->site_count; i++) {
        names[i] = TRACE_NO_SLOT;
    }
    for (size_t i = 0; names != NULL && i < image->block_count; i++) {
        uint32_t site = image->blocks[i].site;
        if (site != 0 && site < image->site_count && names[site] == TRACE_NO_SLOT) {
            names[site] = build_name(convert, image->sites[site]);
        }
    }
    return names;
}

static void blocks_build(struct convert *convert, const struct image *image) {
    uint32_t *names = names_make(convert, image);
    struct span *wanted = malloc((image->block_count + 1) * sizeof *wanted);
    if (names == NULL || wanted == NULL) {
        convert->failed = true;
    }
    for (uint32_t i = 0; !convert->failed && i < convert->area_count; i++) {
        struct area *area = &convert->areas[i];
        size_t count = 0;
        for (size_t k = 0; k < image->block_count; k++) {
            const struct image_block *block = &image->blocks[k];
            bool is_block = block->state == IMAGE_LIVE || block->state == IMAGE_SMASHED;
            if (is_block && plan_area(convert, block_address(block, convert->header)) == area) {
                wanted[count++] = span_of(convert, image, k, names);
            }
        }
        plan_build(convert, area, wanted, count);
        convert->report->blocks += area->count;
    }
    free(wanted);
    free(names);
}

/* The store that smashed a header, as far as it can be done again: from the end of the block
 * that is to blame through the victim's first word. */
static void act_overflow(struct convert *convert, const struct finding *finding) {
    const struct span *culprit = plan_find(convert, finding->address - convert->header);
    if (culprit == NULL || finding->victim == 0) {
        return;
    }
    uint32_t victim = finding->victim - convert->header;
    if (plan_find(convert, victim) == NULL || culprit->address + culprit->size != victim) {
        return;
    }
    build_comment(convert,
                  "the block before 0x%08" PRIx32 " writes past its end, as it did on the "
                  "board; the bytes are not the board's",
                  finding->victim);
    build_event(convert, &(struct trace_event){
                             .kind = TRACE_WRITE,
                             .slot = culprit->slot,
                             .caps = culprit->size - convert->header,
                             .size = 4,
                             .extra = 0x41,
                         });
    build_event(convert, &(struct trace_event){
                             .kind = TRACE_CHECK, .slot = TRACE_NO_SLOT, .extra = TRACE_NO_SLOT});
}

static void build_store(struct convert *convert, uint32_t slot, uint32_t offset) {
    build_event(convert,
                &(struct trace_event){
                    .kind = TRACE_WRITE, .slot = slot, .caps = offset, .size = 4, .extra = 0x41});
}

/* The store that a poisoned build met when it freed the block, and that free. */
static void act_corruption(struct convert *convert, const struct finding *finding) {
    const struct span *block = plan_find(convert, finding->address - convert->header);
    if (block == NULL) {
        return;
    }
    bool before = finding->verdict == VERDICT_UNDERFLOW;
    build_comment(convert,
                  "something writes %s 0x%08" PRIx32 ", as on the board; the bytes are not the "
                  "board's",
                  before ? "before" : "past the end of", finding->address);
    build_store(convert, block->slot, before ? (uint32_t)-4 : block->size - convert->header - 4u);
    build_event(convert, &(struct trace_event){.kind = TRACE_FREE, .slot = block->slot});
}

/* The request that the board could not serve. */
static void act_request(struct convert *convert, const struct finding *finding) {
    build_comment(convert, "the request that failed on the board");
    build_event(convert, &(struct trace_event){.kind = TRACE_ALLOC,
                                               .has = TRACE_HAS_ADDRESS,
                                               .slot = build_slot(convert),
                                               .size = finding->request,
                                               .caps = 1u});
}

/* Does again what the worst finding says, as far as it can be done again. */
static void act_finding(struct convert *convert, const struct finding *finding) {
    if (finding->verdict == VERDICT_OVERFLOW && finding->victim != 0) {
        act_overflow(convert, finding);
    } else if (finding->verdict == VERDICT_OVERFLOW || finding->verdict == VERDICT_UNDERFLOW) {
        act_corruption(convert, finding);
    } else if (finding->request != 0) {
        act_request(convert, finding);
    }
}

bool convert_restore_block(struct image *image, const struct findings *findings) {
    const struct finding *worst = findings->count != 0 ? &findings->list[0] : NULL;
    if (worst == NULL || worst->address == 0 || worst->size == 0 || image->header_size == 0) {
        return true;
    }
    const struct image_block *there = image_find(image, worst->address);
    if (there != NULL && there->state == IMAGE_LIVE && there->pointer == worst->address) {
        return true;
    }
    const char *colon = strrchr(worst->site, ':');
    uint32_t site =
        colon != NULL ? image_site(image, worst->site, (size_t)(colon - worst->site)) : 0;
    struct image_block block = {
        .pointer = worst->address,
        .size = worst->size,
        .order = UINT32_MAX,
        .site = site,
        .line = colon != NULL ? (uint32_t)strtoul(colon + 1, NULL, 10) : 0,
        .state = IMAGE_LIVE,
    };
    size_t kept = 0; /* holes are filled anew */
    for (size_t i = 0; i < image->block_count; i++) {
        if (image->blocks[i].state != IMAGE_FREE) {
            image->blocks[kept++] = image->blocks[i];
        }
    }
    image->block_count = kept;
    return site != UINT32_MAX && image_add(image, &block) && image_finish(image);
}

static void expect_free(struct convert *convert, const struct image *image) {
    uint64_t reported = 0;
    uint64_t rebuilt = 0;
    for (uint32_t i = 0; i < convert->area_count; i++) {
        const struct area *area = &convert->areas[i];
        const struct image_region *region = &image->regions[image_region_of(area->start)];
        if (!region->has_free) {
            return;
        }
        reported += region->free_bytes;
        rebuilt += area->end - area->start;
        for (size_t k = 0; k < area->count; k++) {
            rebuilt -= area->spans[k].size;
        }
    }
    if (reported == rebuilt) {
        build_event(convert, &(struct trace_event){.kind = TRACE_EXPECT,
                                                   .has = TRACE_HAS_FREE,
                                                   .slot = TRACE_NO_SLOT,
                                                   .size = (uint32_t)reported});
    } else {
        build_comment(convert, "the board said %" PRIu64 " bytes free, these blocks leave %" PRIu64,
                      reported, rebuilt);
    }
}

static void say_losses(struct convert *convert, const struct image *image) {
    const struct convert_report *report = convert->report;
    build_comment(convert, "%" PRIu64 " blocks of a heap at one moment, rebuilt at their addresses",
                  report->blocks);
    if (!image->poisoning_known) {
        build_comment(convert, "the build is not known; the SDK's default is assumed");
    }
    if (report->unplaced != 0) {
        build_comment(convert, "left out, as no calls lead to them: %" PRIu64 " blocks",
                      report->unplaced);
    }
    if (report->inexact != 0) {
        build_comment(convert, "at their address but larger than reported: %" PRIu64 " blocks",
                      report->inexact);
    }
}

bool convert_image(const struct image *image, const struct findings *findings, struct trace *trace,
                   struct convert_report *report, char *error, size_t error_size) {
    struct convert convert = {.trace = trace, .report = report};
    *trace = (struct trace){0};
    uint32_t header = header_of(image, &trace->config);
    for (int i = 0; i < IMAGE_REGIONS_MAX; i++) {
        if (region_is_used(image, i)) {
            add_region(image, i, header, trace);
        }
    }
    if (trace->region_count == 0) {
        snprintf(error, error_size, "it shows no heap: neither blocks nor regions");
        return false;
    }
    plan_begin(&convert);
    blocks_build(&convert, image);
    for (uint32_t i = 0; i < convert.area_count; i++) {
        plan_open(&convert, &convert.areas[i]);
    }
    expect_free(&convert, image);
    if (findings != NULL && findings->count != 0) {
        act_finding(&convert, &findings->list[0]);
    }
    say_losses(&convert, image);
    plan_end(&convert);
    if (convert.failed) {
        snprintf(error, error_size, "out of memory");
        trace_free(trace);
    }
    return !convert.failed;
}
