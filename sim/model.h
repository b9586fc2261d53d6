/* SPDX-License-Identifier: Apache-2.0
 *
 * The independent reference model: predicts every address of the SDK's allocator by a
 * plain first fit over a sorted array of free blocks, and knows every live block and
 * its bytes. It rests on the placement rules alone (sim/README.md cites the facts) and
 * shares no code and no header with the core: a mistake would have to be made twice.
 * It never touches the arenas. Linear in the number of holes, by intent.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_REGIONS_MAX 3

struct model_config {
    bool tracing;
    bool poisoned;         /* light or comprehensive */
    bool comprehensive;    /* tail word */
    bool realloc_in_place; /* the core's option */
};

struct model_region {
    const char *name;
    uint32_t start;
    uint32_t end;
    uint32_t caps;
    bool deferred;
};

struct model; /* created and destroyed below */

/* NULL if memory is short, if there is no region or more than MODEL_REGIONS_MAX, if two
 * overlap, if a name is NULL or longer than 15 bytes, or if a region cannot hold its end
 * marker and one smallest block or is larger than 2 GiB. All memory is reserved here: no
 * later call fails for want of it. */
struct model *model_create(const struct model_config *config, const struct model_region *regions,
                           uint32_t region_count);
void model_destroy(struct model *model);
/* As it was after model_create, at a fraction of the cost. */
void model_reset(struct model *model);
/* The core's switch, from the next call on. */
void model_set_realloc_in_place(struct model *model, bool on);

/* Header bytes and bytes behind the payload of this configuration. */
uint32_t model_header_size(const struct model_config *config);

/* The calls. Addresses are user pointers, 0 is NULL. Each returns what the allocator
 * must return and changes the model accordingly. caps 0 as in the SDK: DEFAULT, for
 * realloc those of the block. realloc of what is no live block's pointer: 0, unchanged. */
uint32_t model_alloc(struct model *model, uint64_t size, uint32_t caps);
uint32_t model_aligned_alloc(struct model *model, uint32_t alignment, uint64_t size, uint32_t caps);
uint32_t model_realloc(struct model *model, uint32_t pointer, uint64_t size, uint32_t caps);
bool model_append(struct model *model, const char *name); /* true: it joined */

/* What freeing this pointer value must do. */
enum model_free_result {
    MODEL_FREED,
    MODEL_NOTHING,  /* NULL */
    MODEL_DOUBLE,   /* points into free memory of the heap */
    MODEL_INTERIOR, /* inside a live block, header included, but not its pointer */
    MODEL_FOREIGN,  /* outside the joined regions' blocks, or not 8-aligned */
};
enum model_free_result model_free(struct model *model, uint32_t pointer);

/* The same without doing it; MODEL_FREED means: is a live block's pointer. */
enum model_free_result model_classify(const struct model *model, uint32_t pointer);

/* Sums as wm_heap_get_free_size, wm_heap_get_minimum_ever_free_size and the
 * per-capability queries must return them: whole blocks, headers included. caps 0 means
 * DEFAULT; 0 if no region serves them. The total's minimum is since the creation or the latest
 * append; a capability's is that, or the sum of its regions' (core/wm_heap_debug.h). */
uint32_t model_free_size(const struct model *model);
uint32_t model_minimum_free_size(const struct model *model);
uint32_t model_caps_free_size(const struct model *model, uint32_t caps);
uint32_t model_caps_minimum_free_size(const struct model *model, uint32_t caps);
uint32_t model_caps_largest_free_block(const struct model *model, uint32_t caps);

struct model_block {
    uint32_t address; /* of the header */
    uint32_t size;    /* whole block */
    uint32_t pointer; /* live: the user's, free: 0 */
    uint32_t requested;
    uint32_t caps;
    bool live;
};

/* The block that contains `address`; false outside the joined regions' blocks. */
bool model_find(const struct model *model, uint32_t address, struct model_block *block);

/* Calls visit for each block, live and free, in address order, of one region, until it
 * returns false. None if the region has not joined. visit must not change the model. */
typedef bool model_visit_fn(void *context, const struct model_block *block);
void model_walk(const struct model *model, uint32_t region, model_visit_fn *visit, void *context);

/* Contents. The model keeps a shadow of every live block's requested bytes. After an
 * alloc the program fills its block: model_fill decides the bytes (from the pointer
 * and a running number, so that two blocks never look alike), keeps them, and returns
 * them for the caller to store. After a realloc the shadow of the new block is the
 * common part of the old one; the bytes after it are undefined until filled. NULL if
 * `pointer` is no live block's or the bytes are not all requested ones. */
const uint8_t *model_fill(struct model *model, uint32_t pointer, uint32_t offset, uint32_t length);

/* The program stores `length` times `byte` at `address`; only bytes inside live
 * blocks' requested parts change in the shadow. A calloc is an alloc and a store. */
void model_store(struct model *model, uint32_t address, uint32_t length, uint8_t byte);

/* What the bytes at `pointer` must be: *length is the number of defined bytes, that is
 * of those from the first on that were filled or stored without a gap, in whatever
 * number of steps, as long as each begins where bytes are defined or right behind.
 * NULL and 0 if `pointer` is no live block's. */
const uint8_t *model_contents(const struct model *model, uint32_t pointer, uint32_t *length);

#endif
