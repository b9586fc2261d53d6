/* SPDX-License-Identifier: Apache-2.0
 *
 * What crosscheck and cost have in common: they run the same C-SKY programs, one a build.
 */
#ifndef CSKY_PROGRAMS_H
#define CSKY_PROGRAMS_H

#include "builds.h"
#include "options.h"

#define CSKY_BUILD_HELP "One build instead of all six: none, trace, light, comp, tlight or tcomp"

#define CSKY_PROGRAMS_HELP                                                                         \
    "Where the C-SKY programs crosscheck-none ... crosscheck-tcomp are (default: "                 \
    "$WMHEAP_CSKY_PROGRAMS, or the folder csky of the build that this program is of)"

/* The folder: `given`, or else the environment's, or else ../csky beside this program's own;
 * the caller frees it. NULL after a message. */
char *csky_programs_find(const char *given);

/* --build NAME. */
const struct heap_build *option_build(struct argp_state *state, const char *name);

#endif
