/* SPDX-License-Identifier: Apache-2.0
 *
 * The target `heap`: a program of calls (program.h) on the core and on the model, which must
 * agree after every call (twin.h). At the end everything is compared, then every block is
 * freed, and everything is compared again.
 */
#include "fuzz.h"
#include "twin.h"
#include "twin_trace.h"

const char fuzz_name[] = "heap";

void fuzz_open(void) { twin_open(); }

static void run(const uint8_t *data, size_t size, FILE *trace) {
    struct program program;
    struct program_call call;
    struct twin twin;
    struct program_head head = program_begin(&program, data, size);
    twin_start(&twin, &head, trace);
    while (program_next(&program, &call)) {
        twin_call(&twin, &call);
    }
    twin_finish(&twin);
}

int fuzz_one(const uint8_t *data, size_t size) {
    run(data, size, NULL);
    return 0;
}

bool fuzz_explain(const uint8_t *data, size_t size, FILE *out) {
    run(data, size, out);
    return true;
}
