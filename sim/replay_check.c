/* SPDX-License-Identifier: Apache-2.0
 *
 * The replay's judgements about states: counters, a block and its neighbours, contents,
 * the whole heap. Each compares the core's memory with the model's idea of it.
 */
#include <string.h>

#include "replay_internal.h"

static void mismatch(struct replay *replay, const char *what, uint32_t expected, uint32_t got,
                     uint32_t place) {
    struct replay_mismatch found = {replay->index + 1, what, "model", expected, got, place};
    replay_mismatch_add(replay, &found);
}

bool replay_can_look(uint32_t address) {
    return address < W800_PSRAM_START || !w800_dma_on_psram();
}

void replay_check_counters(struct replay *replay) {
    if (replay->model == NULL) {
        return;
    }
    uint32_t expected = model_free_size(replay->model);
    uint32_t got = wm_heap_level_free(&replay->build->state->total);
    if (expected != got) {
        mismatch(replay, "free", expected, got, 0);
    }
    expected = model_minimum_free_size(replay->model);
    got = wm_heap_level_minimum(&replay->build->state->total);
    if (expected != got) {
        mismatch(replay, "min_free", expected, got, 0);
    }
}

/* Does the core say of a block what the model says? */
static bool blocks_agree(const struct wm_heap_block *core, const struct model_block *model) {
    return core->address == model->address && core->size == model->size &&
           core->live == model->live &&
           (!core->live || (core->pointer == model->pointer &&
                            core->requested == model->requested && core->caps == model->caps));
}

void replay_check_block(struct replay *replay, uint32_t pointer) {
    struct wm_heap_fault fault;
    struct wm_heap_block block = {0};
    struct model_block expected = {0};
    if (!replay->full || pointer == 0 || !replay_can_look(pointer)) {
        return;
    }
    const void *memory = w800_pointer(pointer);
    if (!replay->build->check_block(memory, &fault)) {
        replay_fault_found(replay, &fault);
    } else if (!replay->build->get_block(memory, &block) ||
               !model_find(replay->model, pointer, &expected) || !blocks_agree(&block, &expected)) {
        mismatch(replay, "block", expected.size, block.size, pointer);
    }
}

/* What was freed is now part of a hole: the block behind it knows, and finds it. */
void replay_check_freed(struct replay *replay, uint32_t pointer) {
    struct model_block hole;
    struct model_block behind;
    if (!replay->full || !replay_can_look(pointer) || !model_find(replay->model, pointer, &hole) ||
        hole.live) {
        return;
    }
    if (model_find(replay->model, hole.address + hole.size, &behind)) {
        replay_check_block(replay, behind.pointer);
    }
}

void replay_check_contents(struct replay *replay, uint32_t pointer) {
    uint32_t length;
    if (!replay->full || !replay_can_look(pointer)) {
        return;
    }
    const uint8_t *expected = model_contents(replay->model, pointer, &length);
    if (expected == NULL) {
        return;
    }
    const uint8_t *got = w800_pointer(pointer);
    if (memcmp(got, expected, length) != 0) {
        uint32_t at = 0;
        while (got[at] == expected[at]) {
            at++;
        }
        mismatch(replay, "contents", expected[at], got[at], pointer + at);
    }
}

/* One step of the walk over all blocks. */
struct walk {
    struct replay *replay;
    uint64_t bytes;
    bool agree;
};

static bool visit(void *context, const struct wm_heap_block *block) {
    struct walk *walk = context;
    struct model_block expected = {0};
    walk->bytes += block->size;
    if (!model_find(walk->replay->model, block->address, &expected) ||
        !blocks_agree(block, &expected)) {
        mismatch(walk->replay, "block", expected.size, block->size, block->address);
        walk->agree = false;
        return false;
    }
    if (block->live) {
        replay_check_contents(walk->replay, block->pointer);
    }
    return true;
}

void replay_check_all(struct replay *replay) {
    struct wm_heap_fault fault;
    for (uint32_t i = 0; i < replay->trace->region_count; i++) {
        const struct wm_heap_region *region = &replay->build->state->regions[i];
        if (region->state != WM_HEAP_REGION_OPEN || !replay_can_look(region->start)) {
            continue;
        }
        if (!replay->build->check(i, &fault)) {
            replay_fault_found(replay, &fault);
            return;
        }
        struct walk walk = {replay, 0, true};
        if (!replay->build->walk(i, visit, &walk)) {
            mismatch(replay, "walk", 1, 0, region->start);
        } else if (walk.agree && walk.bytes != region->end - region->start) {
            mismatch(replay, "bytes of all blocks", region->end - region->start,
                     (uint32_t)walk.bytes, region->start);
        }
    }
}
