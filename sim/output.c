/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"

static bool complain(const char *path) {
    int cause = errno;
    char *shown = name_printable(path);
    fprintf(stderr, "wmheap: %s: %s\n", shown != NULL ? shown : "?", strerror(cause));
    free(shown);
    return false;
}

/* mkstemp's files are the owner's alone; an ordinary file has the rights that umask leaves. */
static void rights_usual(int descriptor) {
    mode_t mask = umask(0);
    umask(mask);
    (void)fchmod(descriptor, 0666 & ~mask);
}

bool output_begin(struct output *output, const char *path) {
    struct stat status;
    *output = (struct output){.file = stdout};
    if (path == NULL || strcmp(path, "-") == 0) {
        return true;
    }
    output->path = path;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) {
        output->file = fopen(path, "we");
        return output->file != NULL || complain(path);
    }
    if (asprintf(&output->temporary, "%s.XXXXXX", path) < 0) {
        output->temporary = NULL;
        return complain(path);
    }
    int descriptor = mkstemp(output->temporary);
    if (descriptor >= 0) {
        rights_usual(descriptor);
        output->file = fdopen(descriptor, "w");
        if (output->file != NULL) {
            return true;
        }
        int cause = errno;
        close(descriptor);
        unlink(output->temporary);
        errno = cause;
    }
    complain(path);
    free(output->temporary);
    return false;
}

bool output_end(struct output *output, bool good) {
    if (output->path == NULL) {
        return output_finish() && good;
    }
    bool written = fflush(output->file) == 0 && !ferror(output->file);
    bool complete = written;
    complete = fclose(output->file) == 0 && complete;
    if (output->temporary != NULL) {
        complete = complete && (!good || rename(output->temporary, output->path) == 0);
    }
    if (!complete) {
        complain(output->path);
    }
    if (output->temporary != NULL && !(good && complete)) {
        unlink(output->temporary);
    }
    free(output->temporary);
    return complete && good;
}
