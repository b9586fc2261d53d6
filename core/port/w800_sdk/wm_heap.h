/* SPDX-License-Identifier: Apache-2.0
 *
 * In place of the SDK's wm_heap.h: the core's, and what sources of the SDK expect beside the
 * functions. Its folder stands before the core's among the include folders.
 */
#ifndef W800_SDK_WM_HEAP_H
#define W800_SDK_WM_HEAP_H

#include <stdint.h>

#include "wm_error.h"
#include "wmsdk_config.h"

/* The SDK spells them without parentheses. */
#undef WM_ERR_SUCCESS
#undef WM_ERR_FAILED
#undef WM_ERR_INVALID_PARAM
#include "../../wm_heap.h"
#include "../w800_port.h"

#define WM_HEAP_SRAM_NAME "SRAM"
#define WM_HEAP_DRAM_NAME "DRAM"
#define WM_HEAP_PSRAM_NAME "PSRAM"

#ifndef WM_HEAP_CORE
#define wm_heap_append_to_heap(name) w800_port_append(name)
#endif

/* The chip's table, which the SDK's heap completes at run time, and which the port does
 * without: it is compiled all the same. */
typedef struct {
    const char *mem_name;
    uint32_t start_address;
    size_t size_in_bytes;
    wm_heap_cap_type_t caps;
} wm_memory_layout_t;

#ifdef __cplusplus
extern "C" {
#endif
extern size_t wm_soc_memory_count;
extern wm_memory_layout_t wm_soc_memory[];
#ifdef __cplusplus
}
#endif

#endif
