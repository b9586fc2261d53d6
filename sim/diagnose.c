/* SPDX-License-Identifier: Apache-2.0
 *
 * Which kind of report a file is, told from its first bytes.
 *
 * A console log is text with the odd bit of line noise, memory is not: of a RAM dump's bytes
 * most are zero or anything. A log is streamed, however long; memory is read whole, and more
 * than the chip's largest PSRAM is refused. Standard input can be read only once, so what was
 * looked at is put in front of the rest again.
 */
#include "diagnose.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PEEK_BYTES 65536u
#define MEMORY_BYTES_MAX (8u << 20) /* the largest PSRAM */

struct peeked {
    FILE *file;
    char *bytes;
    size_t length;
    size_t given;
};

static ssize_t peeked_read(void *cookie, char *buffer, size_t size) {
    struct peeked *peeked = cookie;
    size_t left = peeked->length - peeked->given;
    if (left > 0) {
        size_t count = left < size ? left : size;
        memcpy(buffer, peeked->bytes + peeked->given, count);
        peeked->given += count;
        return (ssize_t)count;
    }
    size_t got = fread(buffer, 1, size, peeked->file);
    return got == 0 && ferror(peeked->file) ? -1 : (ssize_t)got;
}

/* Reads the rest, and one byte more than there may be. False: out of memory. */
static bool peeked_complete(struct peeked *peeked) {
    size_t room = PEEK_BYTES;
    while (peeked->length == room && room <= MEMORY_BYTES_MAX) {
        room *= 8;
        room = room < MEMORY_BYTES_MAX ? room : MEMORY_BYTES_MAX + 1;
        char *bytes = realloc(peeked->bytes, room);
        if (bytes == NULL) {
            return false;
        }
        peeked->bytes = bytes;
        peeked->length += fread(bytes + peeked->length, 1, room - peeked->length, peeked->file);
    }
    return true;
}

/* Text: at most one byte in eight is none that a terminal shows. */
static bool is_text(const char *bytes, size_t length) {
    size_t other = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        bool control = byte < 0x20 && (byte < '\a' || byte > '\r') && byte != 0x1b;
        other += control || byte == 0x7f || byte == 0xff;
    }
    return other <= length / 8;
}

static bool diagnose_as_log(struct peeked *peeked, const char *name,
                            const struct diagnose_options *options, struct diagnosis *diagnosis,
                            char *error, size_t error_size) {
    FILE *log = fopencookie(peeked, "r", (cookie_io_functions_t){.read = peeked_read});
    if (log == NULL) {
        snprintf(error, error_size, "%s: %s", name, strerror(errno));
        return false;
    }
    bool ok = diagnose_log(log, name, options, diagnosis, error, error_size);
    fclose(log);
    return ok;
}

static bool diagnose_as_memory(struct peeked *peeked, const char *name,
                               const struct diagnose_options *options, struct diagnosis *diagnosis,
                               char *error, size_t error_size) {
    bool ok = false;
    if (!peeked_complete(peeked)) {
        snprintf(error, error_size, "%s: out of memory", name);
    } else if (ferror(peeked->file)) {
        snprintf(error, error_size, "%s: %s", name, strerror(errno));
    } else if (peeked->length > MEMORY_BYTES_MAX) {
        snprintf(error, error_size, "%s: longer than 8 MiB, and no console log", name);
    } else {
        ok = diagnose_memory((const uint8_t *)peeked->bytes, peeked->length, name, options,
                             diagnosis, error, error_size);
    }
    return ok;
}

static bool diagnose_stream(struct peeked *peeked, const char *name,
                            const struct diagnose_options *options, struct diagnosis *diagnosis,
                            char *error, size_t error_size) {
    errno = 0;
    peeked->length = fread(peeked->bytes, 1, PEEK_BYTES, peeked->file);
    if (ferror(peeked->file)) {
        snprintf(error, error_size, "%s: %s", name, strerror(errno));
        return false;
    }
    if (peeked->length == 0) {
        snprintf(error, error_size, "%s: empty", name);
        return false;
    }
    return !options->has_base && is_text(peeked->bytes, peeked->length)
               ? diagnose_as_log(peeked, name, options, diagnosis, error, error_size)
               : diagnose_as_memory(peeked, name, options, diagnosis, error, error_size);
}

bool diagnose_file(const char *path, const struct diagnose_options *options,
                   struct diagnosis *diagnosis, char *error, size_t error_size) {
    bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "<stdin>" : path;
    struct peeked peeked = {.file = standard ? stdin : fopen(path, "rb")};
    *diagnosis = (struct diagnosis){.exception = DIAGNOSE_NO_EXCEPTION};
    bool ok = false;
    if (peeked.file == NULL) {
        snprintf(error, error_size, "%s: %s", name, strerror(errno));
    } else {
        peeked.bytes = malloc(PEEK_BYTES);
        if (peeked.bytes == NULL || !image_init(&diagnosis->image)) {
            snprintf(error, error_size, "%s: out of memory", name);
        } else {
            ok = diagnose_stream(&peeked, name, options, diagnosis, error, error_size);
        }
    }
    if (peeked.file != NULL && !standard) {
        fclose(peeked.file);
    }
    free(peeked.bytes);
    if (!ok) {
        diagnosis_free(diagnosis);
    }
    return ok;
}

void diagnosis_free(struct diagnosis *diagnosis) {
    findings_free(&diagnosis->findings);
    image_free(&diagnosis->image);
}

enum verdict diagnosis_verdict(const struct diagnosis *diagnosis) {
    return diagnosis->findings.count > 0 ? diagnosis->findings.list[0].verdict : VERDICT_CLEAN;
}
