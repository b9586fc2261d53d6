/* SPDX-License-Identifier: Apache-2.0
 *
 * A trace from a file, from standard input or from memory. Files are read a chunk at a
 * time rather than mapped: a chunk stays in the cache, a pipe takes the same way, and a
 * file that somebody cuts while it is read gives an error instead of SIGBUS.
 */
#include "trace_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES ((size_t)1 << 18)

struct chunk_reader {
    int descriptor;
    uint64_t total; /* bytes read so far */
    size_t kept;    /* bytes in buffer: of the line that has not ended */
    char *buffer;   /* CHUNK_BYTES */
};

static void begin(struct trace_parser *parser, struct trace *trace, const char *name,
                  struct trace_error *error) {
    *trace = (struct trace){.config = trace_config_default};
    *parser = (struct trace_parser){.trace = trace, .error = error, .name = name, .line_number = 1};
    error->text[0] = '\0';
}

/* Gives back what only the reading needed, and all of it after a refusal. */
static bool finish(struct trace_parser *parser, bool good) {
    free(parser->id_table.entries);
    free(parser->name_table.entries);
    if (!good)
        trace_free(parser->trace);
    return good;
}

static const char *reason_of(int error) {
    const char *reason = strerrordesc_np(error);
    return reason != NULL ? reason : "unknown error";
}

static const char too_large[] = "larger than 1 GiB"; /* TRACE_BYTES_MAX */

/* The lines that ended are parsed, the rest moves to the buffer's front. */
static bool parse_chunk(struct trace_parser *parser, struct chunk_reader *reader, size_t got) {
    const char *text = reader->buffer;
    const size_t length = reader->kept + got;
    const char *newline = memrchr(text + reader->kept, '\n', got);
    size_t parsed = 0;
    if (newline != NULL) {
        parsed = (size_t)(newline + 1 - text);
        if (!trace_parse_lines(parser, text, newline + 1))
            return false;
    }
    reader->kept = length - parsed;
    /* A line that is too long without an end need not be waited for. */
    if (reader->kept > TRACE_LINE_MAX + 1)
        return trace_parse_end(parser, text + parsed, reader->kept);
    memmove(reader->buffer, text + parsed, reader->kept);
    return true;
}

static bool read_all(struct trace_parser *parser, struct chunk_reader *reader) {
    for (;;) {
        const ssize_t got =
            read(reader->descriptor, reader->buffer + reader->kept, CHUNK_BYTES - reader->kept);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return trace_refuse_file(parser->error, parser->name, reason_of(errno));
        if (got == 0)
            return trace_parse_end(parser, reader->buffer, reader->kept);
        reader->total += (uint64_t)got;
        if (reader->total > TRACE_BYTES_MAX)
            return trace_refuse_file(parser->error, parser->name, too_large);
        if (!parse_chunk(parser, reader, (size_t)got))
            return false;
    }
}

static bool read_descriptor(struct trace_parser *parser, int descriptor) {
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return trace_refuse_file(parser->error, parser->name, reason_of(errno));
    if (S_ISREG(status.st_mode) && status.st_size > (off_t)TRACE_BYTES_MAX)
        return trace_refuse_file(parser->error, parser->name, too_large);
    struct chunk_reader reader = {.descriptor = descriptor, .buffer = malloc(CHUNK_BYTES)};
    if (reader.buffer == NULL)
        return trace_refuse_file(parser->error, parser->name, "out of memory");
    const bool good = read_all(parser, &reader);
    free(reader.buffer);
    return good;
}

bool trace_read_file(struct trace *trace, const char *path, struct trace_error *error) {
    const bool standard_input = strcmp(path, "-") == 0;
    struct trace_parser parser;
    begin(&parser, trace, standard_input ? "<stdin>" : path, error);
    const int descriptor = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return finish(&parser, trace_refuse_file(error, parser.name, reason_of(errno)));
    const bool good = read_descriptor(&parser, descriptor);
    if (!standard_input)
        close(descriptor);
    return finish(&parser, good);
}

bool trace_read_memory(struct trace *trace, const char *text, size_t length, const char *name,
                       struct trace_error *error) {
    struct trace_parser parser;
    begin(&parser, trace, name, error);
    if (length > TRACE_BYTES_MAX)
        return finish(&parser, trace_refuse_file(error, name, too_large));
    const char *newline = length != 0 ? memrchr(text, '\n', length) : NULL;
    const size_t parsed = newline != NULL ? (size_t)(newline + 1 - text) : 0;
    const bool good = (parsed == 0 || trace_parse_lines(&parser, text, text + parsed)) &&
                      trace_parse_end(&parser, length != 0 ? text + parsed : "", length - parsed);
    return finish(&parser, good);
}

void trace_free(struct trace *trace) {
    for (uint32_t i = 0; i < trace->name_count; ++i)
        free(trace->names[i]);
    free(trace->names);
    free(trace->events);
    free(trace->ids);
    free(trace->comments);
    free(trace->comment_text);
    *trace = (struct trace){.config = trace_config_default};
}
