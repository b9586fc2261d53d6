/* SPDX-License-Identifier: Apache-2.0
 *
 * The text trace of a program.
 */
#include "twin_trace.h"

#include <stdarg.h>

void twin_trace_head(const struct twin *twin) {
    if (twin->trace == NULL) {
        return;
    }
    const struct heap_build *build = twin->build;
    fprintf(twin->trace, "wmtrace 1\nconfig tracing=%c poisoning=%s%s\n",
            build->tracing ? 'y' : 'n',
            build->comprehensive ? "comprehensive"
            : build->poisoned    ? "light"
                                 : "none",
            twin->head.in_place ? " realloc=inplace" : "");
    for (uint32_t r = 0; r < WM_HEAP_REGIONS_MAX; r++) {
        const struct wm_heap_region_config *row = &twin->regions[r];
        fprintf(twin->trace, "region %s 0x%08x 0x%08x 0x%x%s\n", row->name, row->start, row->end,
                row->caps, row->deferred ? " deferred" : "");
    }
    fflush(twin->trace);
}

void twin_trace_line(const struct twin *twin, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(twin->trace, format, arguments);
    va_end(arguments);
    fputc('\n', twin->trace);
    fflush(twin->trace);
}
