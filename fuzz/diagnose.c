/* SPDX-License-Identifier: Apache-2.0
 *
 * Console logs: any text gets a verdict, with findings that a person can check, and the last heap
 * in it becomes a trace. The input is the log.
 */
#include "../sim/diagnose.h"

#include "fuzz.h"
#include "outcome.h"

const char fuzz_name[] = "diagnose";

int fuzz_one(const uint8_t *data, size_t size) {
    const struct diagnose_options options = {0};
    struct diagnosis diagnosis = {.exception = DIAGNOSE_NO_EXCEPTION};
    char reason[1024] = "";
    if (size == 0) {
        return -1; /* diagnose_file refuses an empty file */
    }
    FUZZ_CHECK(image_init(&diagnosis.image), "out of memory");
    FILE *log = outcome_open(data, size);
    bool ok = diagnose_log(log, "input", &options, &diagnosis, reason, sizeof reason);
    fclose(log);
    if (!ok) {
        outcome_check_reason(reason);
        diagnosis_free(&diagnosis);
        return 0;
    }
    outcome_check_diagnosis(&diagnosis);
    return 0;
}
