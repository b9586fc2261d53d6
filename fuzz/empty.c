/* SPDX-License-Identifier: Apache-2.0
 *
 * The target that does nothing: what it reaches in a second is the ceiling for all others,
 * and scripts/fuzz says how far below it they are.
 */
#include "fuzz.h"

const char fuzz_name[] = "empty";

int fuzz_one(const uint8_t *data, size_t size) {
    (void)data;
    (void)size;
    return 0;
}
