/* SPDX-License-Identifier: Apache-2.0
 *
 * What the suites of the diagnosis share: a text as a log.
 */
#ifndef DIAGNOSE_FIXTURE_H
#define DIAGNOSE_FIXTURE_H

#include "../sim/diagnose.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define FIELD W800_SOURCE_DIR "/tests/field/"

/* As diagnose_log; the diagnosis is to be freed in either case. */
static inline bool diagnose_text(const char *text, size_t length, struct diagnosis *diagnosis,
                                 char *error, size_t error_size) {
    struct diagnose_options options = {0};
    char *copy = malloc(length + 1);
    cr_assert_not_null(copy);
    memcpy(copy, text, length);
    FILE *file = length > 0 ? fmemopen(copy, length, "r") : fopen("/dev/null", "r");
    cr_assert_not_null(file);
    *diagnosis = (struct diagnosis){.exception = DIAGNOSE_NO_EXCEPTION};
    cr_assert(image_init(&diagnosis->image));
    bool ok = diagnose_log(file, "text", &options, diagnosis, error, error_size);
    fclose(file);
    free(copy);
    return ok;
}

#endif
