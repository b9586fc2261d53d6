/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of a recording whose allocation nobody saw: they are in a snapshot, or were freed
 * or reallocated later. When did they come? In a gap between the events that survived, or
 * before the first of them; and not while something else lay there.
 */
#ifndef CONVERT_BIRTHS_H
#define CONVERT_BIRTHS_H

#include "convert_internal.h"

struct birth {
    size_t at; /* before the event of this index */
    struct span span;
    uint32_t site; /* handle */
};

struct births {
    struct birth *list; /* by time, then by address */
    size_t count;
    size_t room;
};

/* False: memory is short. */
bool births_find(struct births *births, const struct convert *convert,
                 const struct recorder_boot *boot);

#endif
