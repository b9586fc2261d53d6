/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of the six builds. The tables themselves come from build_table.c, which is
 * compiled once per build with that build's definitions.
 */
#include "builds.h"

extern const struct heap_build heap_build_none;
extern const struct heap_build heap_build_trace;
extern const struct heap_build heap_build_light;
extern const struct heap_build heap_build_comp;
extern const struct heap_build heap_build_tlight;
extern const struct heap_build heap_build_tcomp;

const struct heap_build *const heap_builds[HEAP_BUILDS] = {
    &heap_build_none, &heap_build_trace,  &heap_build_light,
    &heap_build_comp, &heap_build_tlight, &heap_build_tcomp,
};

const struct heap_build *heap_build_find(bool tracing, unsigned poisoning) {
    static const struct heap_build *const by_option[2][3] = {
        {&heap_build_none, &heap_build_light, &heap_build_comp},
        {&heap_build_trace, &heap_build_tlight, &heap_build_tcomp},
    };
    return poisoning < 3 ? by_option[tracing][poisoning] : NULL;
}
