/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

json_t *json_text(const char *text) { return json_text_part(text, strlen(text)); }

json_t *json_text_part(const char *text, size_t length) {
    json_t *value = json_stringn(text, length);
    if (value != NULL) {
        return value;
    }
    char *clean = strndup(text, length);
    for (char *at = clean; clean != NULL && *at != '\0'; at++) {
        if ((unsigned char)*at >= 0x80) {
            *at = '?';
        }
    }
    value = clean != NULL ? json_string(clean) : json_null();
    free(clean);
    return value;
}

json_t *json_address(uint32_t address) {
    char text[16];
    snprintf(text, sizeof text, "0x%08" PRIx32, address);
    return json_string(text);
}

void json_print(json_t *object, FILE *out) {
    json_dumpf(object, out, JSON_COMPACT | JSON_REAL_PRECISION(12));
    fputc('\n', out);
    json_decref(object);
}
