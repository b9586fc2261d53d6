/* SPDX-License-Identifier: Apache-2.0
 *
 * What a call looks at on its way through the tree of free blocks (core/tree.h): a node without a
 * seal, links that lead round in a circle or out of the region. The call must end, with at most one
 * fault, and turn no link in a node without a seal.
 */
#include "heap_fixture.h"

TestSuite(checks_tree, .timeout = 60);

#define BYTES 8192u
#define LIVE 96u
#define SEAL 20u /* of a node */

#define ORDERS 24u
#define GROVE 28u /* holes of different sizes, each with a live block behind it */
#define GROVE_BYTES(i) (64u + 8u * ((i)*5u % GROVE))

struct grove {
    const struct heap_build *build;
    struct recorder seen;
    uint32_t node[GROVE];
    uint32_t behind[GROVE]; /* pointers */
    uint8_t image[BYTES];
    struct wm_heap_state state;
};

/* The same holes each time; `order` tells in which order they come, so which trees there are before
 * the last one, and which hole is fresh. */
static void grove_start(struct grove *grove, const struct heap_build *build, uint32_t order) {
    static const uint32_t steps[] = {1, 3, 5, 9, 11, 13};
    const uint32_t step = steps[order % COUNT(steps)];
    uint32_t holes[GROVE];
    struct w800_config config = small_config(build, BYTES);
    *grove = (struct grove){.build = build};
    heap_start(&config, &grove->seen);
    build->set_realloc_in_place(true);
    for (uint32_t i = 0; i < GROVE; i++) {
        holes[i] = alloc_of(build, GROVE_BYTES(i));
        grove->node[i] = holes[i] + GROVE_BYTES(i) - NODE_BYTES;
        grove->behind[i] = alloc_of(build, LIVE) + build->header_size;
    }
    for (uint32_t i = 0; i < GROVE; i++) {
        build->free(w800_pointer(holes[(i * step + order) % GROVE] + build->header_size));
    }
    memcpy(grove->image, w800_pointer(SMALL_HEAP), BYTES);
    grove->state = *build->state;
}

static void grove_restore(struct grove *grove) {
    memcpy(w800_pointer(SMALL_HEAP), grove->image, BYTES);
    *grove->build->state = grove->state;
    grove->seen.count = 0;
}

/* Calls that change the tree: sizes are taken, aligned or not, blocks behind holes freed or grown.
 */
#define GROVE_CALLS (4u * GROVE)
static void grove_call(const struct grove *grove, uint32_t call) {
    const struct heap_build *build = grove->build;
    uint32_t i = call / 4;
    void *behind = w800_pointer(grove->behind[i]);
    if (call % 4 == 0) {
        build->alloc(payload_bytes(build, GROVE_BYTES(i)), EXEC, NULL, 0);
    } else if (call % 4 == 1) {
        build->aligned_alloc(64, 8 * i + 1, EXEC, NULL, 0);
    } else if (call % 4 == 2) {
        build->free(behind);
    } else {
        build->realloc(behind, payload_bytes(build, LIVE + 40), EXEC, NULL, 0);
    }
}

/* Of a node without a seal, a call may write but what a link says of the sealed node to which it
 * led: the largest size there. Where it would have written more, it is refused. */
static void break_seals(const struct heap_build *build) {
    uint32_t refused = 0;
    for (uint32_t order = 0; order < ORDERS; order++) {
        struct grove grove;
        grove_start(&grove, build, order);
        for (uint32_t broken = 0; broken < GROVE; broken++) {
            for (uint32_t call = 0; call < GROVE_CALLS; call++) {
                uint32_t before[NODE_BYTES / 4];
                grove_restore(&grove);
                uint32_t node = grove.node[broken];
                if (node == build->state->regions[0].fresh.node) { /* the state knows it is one */
                    continue;
                }
                *word_at(node + SEAL) ^= 0x80;
                memcpy(before, w800_pointer(node), NODE_BYTES);
                grove_call(&grove, call);
                for (uint32_t word = 0; word < COUNT(before); word++) {
                    CHECK(before[word] == *word_at(node + 4 * word) || word == 2 || word == 4,
                          "order %u: call %u writes word %u of node %u, which has no seal", order,
                          call, word, broken);
                }
                CHECK(grove.seen.count <= 1, "order %u, call %u: several faults", order, call);
                refused += grove.seen.count;
                if (grove.seen.count == 0) { /* then it did not depend on that seal */
                    *word_at(node + SEAL) ^= 0x80;
                    check_intact("with its seal again");
                }
            }
        }
    }
    CHECK(refused > ORDERS * GROVE, "only %u calls were refused", refused);
}

Test(checks_tree, no_link_is_turned_in_a_node_without_a_seal) { in_every_build(break_seals); }

/* The nodes at the ends of a right link: whoever takes the upper one out looks for the next one
 * there, to the left; and so does who puts one in between. Where that link says of it what was so
 * (`plain`), it may be repaired after a call that was not refused, and all is well. */
static bool loop_link(struct grove *grove, uint32_t upper, uint32_t call, uint32_t leads,
                      bool plain) {
    uint32_t right = *word_at(upper + 12);
    uint32_t before[NODE_BYTES / 4];
    memcpy(before, w800_pointer(right), NODE_BYTES);
    *word_at(right + 4) = leads;
    *word_at(right + 8) = plain ? before[2] : 64;
    grove_call(grove, call);
    CHECK(grove->seen.count <= 1, "call %u: several faults", call);
    if (grove->seen.count == 0 && plain && *word_at(right + SEAL) == before[SEAL / 4] &&
        *word_at(right) == before[0] && *word_at(right + 4) == leads) {
        *word_at(right + 4) = before[1];
        check_intact("with its link again");
    }
    return grove->seen.count != 0;
}

static void loop_links(const struct heap_build *build) {
    uint32_t refused = 0;
    for (uint32_t order = 0; order < ORDERS; order++) {
        struct grove grove;
        grove_start(&grove, build, order);
        for (uint32_t i = 0; i < 4 * GROVE; i++) {
            uint32_t upper = grove.node[i / 4];
            uint32_t right = *word_at(upper + 12);
            if (upper == build->state->regions[0].fresh.node || right == 0) {
                continue;
            }
            for (uint32_t call = 0; call < GROVE_CALLS; call++) {
                grove_restore(&grove);
                refused +=
                    loop_link(&grove, upper, call, i % 2 == 0 ? right : 0x40000000, i % 4 < 2);
            }
        }
    }
    CHECK(refused >= 8, "only %u calls were refused", refused);
}

Test(checks_tree, links_that_lead_round_or_out_end) { in_every_build(loop_links); }
