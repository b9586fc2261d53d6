/* SPDX-License-Identifier: Apache-2.0
 *
 * A plain linear first fit: free blocks in one list a region, in the order of their addresses,
 * searched from its start at every allocation and at every free. That is how FreeRTOS's heap_4
 * works, and how the SDK's heap does, which with tracing also keeps the live blocks in a list;
 * placement, headers' sizes and the order of work in realloc
 * are the SDK's, so it returns the SDK's addresses. It is the baseline: what those addresses cost
 * without a tree. Checks are heap_4's: a handful of comparisons that end the process.
 *
 * The functions mean what those of core/wm_heap.h mean. One heap a process, as in firmware.
 */
#ifndef BENCH_FIRST_FIT_H
#define BENCH_FIRST_FIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "w800.h"

/* An empty heap in the regions of the machine, with the header of its build. `live_list`, in a
 * build with tracing: live blocks hang together, newest first, and a free looks for its block
 * from the newest on, as the SDK's does. */
void first_fit_init(const struct w800_config *machine, bool live_list);
void first_fit_append(const char *name);

/* Cost: O(holes of the regions tried). */
void *first_fit_alloc(size_t size, uint32_t caps, const char *file, int line);
void *first_fit_realloc(void *old, size_t size, uint32_t caps, const char *file, int line);
/* Cost: O(holes before it), with a list of live blocks also O(those that are newer). */
void first_fit_free(void *pointer);

size_t first_fit_block_bytes(const void *pointer);
void first_fit_holes(allocator_hole_fn *visit, void *context);

#endif
