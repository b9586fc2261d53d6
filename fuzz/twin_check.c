/* SPDX-License-Identifier: Apache-2.0
 *
 * What core and model say, compared.
 */
#include "twin_check.h"

#include <string.h>

#define CHECK TWIN_CHECK
#define NODE_BYTES 24u /* core/layout.h */
#define FREE_BYTE 0xfeu
#define COUNT(array) ((uint32_t)(sizeof(array) / sizeof *(array)))

void twin_check_contents(const struct twin *twin, uint32_t pointer) {
    uint32_t length;
    const uint8_t *expected = model_contents(twin->model, pointer, &length);
    CHECK(twin, expected != NULL, "0x%08x is no block of the model's", pointer);
    CHECK(twin, memcmp(w800_pointer(pointer), expected, length) == 0,
          "the contents of 0x%08x, %u bytes, have changed", pointer, length);
}

bool twin_is_fresh(const struct twin *twin, uint32_t pointer, uint64_t size) {
    const uint8_t *bytes = w800_pointer(pointer);
    return !twin->build->comprehensive || pointer == 0 || size <= NODE_BYTES ||
           (bytes[0] == FREE_BYTE && memcmp(bytes, bytes + 1, size - NODE_BYTES - 1u) == 0);
}

void twin_check_caps(const struct twin *twin, uint32_t caps) {
    const struct model *model = twin->model;
    size_t now = wm_heap_caps_get_free_size(caps_of(caps));
    size_t minimum = wm_heap_caps_get_minimum_free_size(caps_of(caps));
    size_t largest = wm_heap_caps_get_largest_free_block(caps_of(caps));
    CHECK(twin,
          now == model_caps_free_size(model, caps) &&
              minimum == model_caps_minimum_free_size(model, caps) &&
              largest == model_caps_largest_free_block(model, caps),
          "caps 0x%x: free %zu, minimum %zu, largest %zu; the model says %u, %u, %u", caps, now,
          minimum, largest, model_caps_free_size(model, caps),
          model_caps_minimum_free_size(model, caps), model_caps_largest_free_block(model, caps));
}

/* What the core says of a live block. */
void twin_check_block(const struct twin *twin, uint32_t pointer) {
    struct wm_heap_block block = {0};
    struct wm_heap_fault fault;
    struct model_block expected;
    void *memory = w800_pointer(pointer);
    size_t usable = wm_heap_get_usable_size(memory);
    CHECK(twin,
          wm_heap_get_block(memory, &block) && model_find(twin->model, pointer, &expected) &&
              block.address == expected.address && block.size == expected.size &&
              block.pointer == pointer && block.requested == expected.requested &&
              block.caps == expected.caps && block.live,
          "block 0x%08x is not as the model says", pointer);
    CHECK(twin, wm_heap_check_block(memory, &fault), "a good block does not pass: 0x%08x", pointer);
    CHECK(twin,
          usable == (twin->build->comprehensive ? block.requested
                                                : block.size - twin->build->header_size),
          "0x%08x: %zu usable bytes of a block of %u", pointer, usable, block.size);
    if (twin->build->tracing) {
        const char *file = wm_heap_port_site_name(block.site);
        CHECK(twin, file == twin_file(twin) && (int)block.line <= twin_line(twin),
              "0x%08x comes from %s:%u", pointer, file != NULL ? file : "(null)", block.line);
    }
    memset(w800_pointer(pointer + block.requested), 0xee, usable - block.requested);
}

static bool visit_some(void *context, const struct wm_heap_block *block) {
    uint32_t *left = context;
    (void)block;
    return --*left > 0;
}

/* A walk that stops somewhere, perhaps of no region at all. */
void twin_check_walk(const struct twin *twin, uint32_t region, uint32_t blocks) {
    bool good = region < WM_HEAP_REGIONS_MAX &&
                twin->build->state->regions[region].state >= WM_HEAP_REGION_OPEN;
    CHECK(twin, wm_heap_walk(region, visit_some, &blocks) == good, "a walk of region %u", region);
}

/* ---- counters ---- */

/* Free bytes and the least there were, of everything together: by the state after each call, by
 * the getters, which take the lock, in each check. */
static void compare_total(const struct twin *twin, size_t bytes, size_t minimum) {
    CHECK(twin,
          bytes == model_free_size(twin->model) && minimum == model_minimum_free_size(twin->model),
          "free %zu, minimum %zu; the model says %u, %u", bytes, minimum,
          model_free_size(twin->model), model_minimum_free_size(twin->model));
}

void twin_check_counters(const struct twin *twin) {
    const struct wm_heap_counters *now = &twin->build->state->counters;
    CHECK(twin, memcmp(now, &twin->expected, sizeof *now) == 0,
          "counters: %u allocs, %u frees, %u failed, largest %u, %u faults, %u refused; expected "
          "%u, %u, %u, %u, %u, %u",
          now->allocs, now->frees, now->failed, now->largest_failed, now->faults, now->refused,
          twin->expected.allocs, twin->expected.frees, twin->expected.failed,
          twin->expected.largest_failed, twin->expected.faults, twin->expected.refused);
    const struct wm_heap_level *total = &twin->build->state->total;
    compare_total(twin, wm_heap_level_free(total), wm_heap_level_minimum(total));
}

/* ---- everything ---- */

struct walk {
    struct twin *twin;
    uint32_t next; /* where the next block must begin */
};

static bool walk_visit(void *context, const struct wm_heap_block *block) {
    struct walk *walk = context;
    struct model_block expected = {0};
    CHECK(walk->twin,
          model_find(walk->twin->model, block->address, &expected) &&
              block->address == walk->next && block->address == expected.address &&
              block->size == expected.size && block->live == expected.live &&
              block->pointer == expected.pointer && block->requested == expected.requested &&
              block->caps == expected.caps,
          "block 0x%08x, %u bytes, %s, %u requested, caps 0x%x; the model has 0x%08x, %u bytes, "
          "%s, %u requested, caps 0x%x; the block before ends at 0x%08x",
          block->address, block->size, block->live ? "live" : "free", block->requested, block->caps,
          expected.address, expected.size, expected.live ? "live" : "free", expected.requested,
          expected.caps, walk->next);
    walk->next += block->size;
    if (block->live) {
        twin_check_contents(walk->twin, block->pointer);
    }
    return true;
}

static void compare_blocks(struct twin *twin) {
    for (uint32_t r = 0; r < WM_HEAP_REGIONS_MAX; r++) {
        const struct wm_heap_region_config *row = &twin->regions[r];
        struct walk walk = {twin, (row->start + 7u) & ~7u};
        struct model_block first;
        bool joined = model_find(twin->model, walk.next, &first);
        CHECK(twin, wm_heap_walk(r, walk_visit, &walk) == joined, "the walk of region %u fails", r);
        CHECK(twin, !joined || walk.next == ((row->end - twin->build->header_size) & ~7u),
              "region %u: the walk ends at 0x%08x", r, walk.next);
    }
}

void twin_check(struct twin *twin) {
    static const uint32_t caps[] = {WM_HEAP_CAP_DEFAULT, WM_HEAP_CAP_SPIRAM, WM_HEAP_CAP_EXEC,
                                    WM_HEAP_CAP_SHARED};
    struct wm_heap_counters counters;
    struct wm_heap_fault fault;
    wm_heap_get_counters(&counters);
    CHECK(twin, memcmp(&counters, &twin->expected, sizeof counters) == 0, "the getter lies%s", "");
    compare_total(twin, twin->build->free_size(), twin->build->minimum_free_size());
    for (uint32_t i = 0; i < COUNT(caps); i++) {
        twin_check_caps(twin, caps[i]);
    }
    compare_blocks(twin);
    CHECK(twin, wm_heap_check(WM_HEAP_NO_REGION, &fault),
          "%s (%s), block 0x%08x, at 0x%08x: 0x%08x, expected 0x%08x",
          wm_heap_fault_name(fault.kind), wm_heap_check_name(fault.check), fault.block,
          fault.address, fault.actual, fault.expected);
    CHECK(twin, arena_lock_depth() == 0, "the lock is held %s", "");
}
