/* SPDX-License-Identifier: Apache-2.0
 *
 * Dumps of our own core, recognised by the magic and the version in its state.
 */
#include "ramdump.h"

uint32_t ramdump_find_own(const struct ramdump_memory *memory) {
    (void)memory;
    return 0;
}

bool ramdump_read_own(const struct ramdump_memory *memory, uint32_t state,
                      const struct diagnose_options *options, struct diagnosis *diagnosis) {
    (void)memory;
    (void)state;
    (void)options;
    (void)diagnosis;
    return false;
}
