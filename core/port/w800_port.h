/* SPDX-License-Identifier: Apache-2.0
 *
 * The core in a W800's firmware: what its port offers there, and the few things of the SDK
 * and of the link map that it needs. Nothing else of the SDK is called.
 */
#ifndef W800_PORT_H
#define W800_PORT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- offered ---------------------------------------------------------------------------- */

/* How much PSRAM is fitted, in bytes: before it is appended. 0: none. Without this call the
 * driver is asked. */
void w800_port_set_psram(uint32_t bytes);

/* wm_heap_append_to_heap as the SDK's start-up code means it: it appends PSRAM whether there
 * is any or not, so none is no fault but WM_ERR_FAILED. */
int w800_port_append(const char *name);

/* Called after a fault's line is printed, if CONFIG_HEAP_USE_ASSERT is on. Weak: traps, so
 * that the SDK prints its registers and offers its RAM dump. */
void w800_port_stop(void);

/* --- wanted: of the SDK ----------------------------------------------------------------- */

/* Prints at once, interrupts on or off, where the log is buffered. */
int wm_printf_direct(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* With CONFIG_HEAP_USE_PSRAM. */
struct wm_device;
struct wm_device *wm_drv_psram_init(const char *name);
int wm_drv_psram_get_size(struct wm_device *device, uint32_t *bytes);

/* --- wanted: of the link map ------------------------------------------------------------ */

extern uint8_t __bss_end__[]; /* behind all that lies in SRAM */
extern uint8_t _eshram[];     /* behind what is placed in DRAM */
extern uint8_t _epsram[];     /* with CONFIG_HEAP_USE_PSRAM: behind what is placed in PSRAM */

#ifdef __cplusplus
}
#endif

#endif
