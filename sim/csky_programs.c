/* SPDX-License-Identifier: Apache-2.0 */
#include "csky_programs.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *csky_programs_find(const char *given) {
    const char *named = given != NULL ? given : getenv("WMHEAP_CSKY_PROGRAMS");
    char self[PATH_MAX];
    char *folder = NULL;
    if (named != NULL && *named != '\0') {
        folder = strdup(named);
    } else {
        ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
        self[length > 0 ? length : 0] = '\0';
        for (int i = 0; i < 2; i++) { /* PROGRAM, then bin */
            char *slash = strrchr(self, '/');
            if (slash != NULL) {
                *slash = '\0';
            }
        }
        if (asprintf(&folder, "%s/csky", self) < 0) {
            folder = NULL;
        }
    }
    if (folder == NULL) {
        fprintf(stderr, "wmheap: out of memory\n");
    }
    return folder;
}

const struct heap_build *option_build(struct argp_state *state, const char *name) {
    for (size_t i = 0; i < HEAP_BUILDS; i++) {
        if (strcmp(heap_builds[i]->name, name) == 0) {
            return heap_builds[i];
        }
    }
    argp_error(state, "--build=%s: one of none, trace, light, comp, tlight, tcomp is needed", name);
    return NULL;
}
