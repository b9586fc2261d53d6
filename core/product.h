/* SPDX-License-Identifier: Apache-2.0
 *
 * calloc's multiplication. By division: the compiler's overflow check is a 64-bit product, for
 * which it uses an instruction (mulu) that a CK804 has not.
 */
#ifndef PRODUCT_H
#define PRODUCT_H

#include <stddef.h>
#include <stdint.h>

/* count * size, or SIZE_MAX, which no region has, if that is more than a block can have. */
static inline size_t calloc_bytes(size_t count, size_t size) {
    return size == 0 || count <= 0x7fffffffu / size ? count * size : SIZE_MAX;
}

#endif
