/* SPDX-License-Identifier: Apache-2.0
 *
 * What a log is to the rules: not its text, but the state that one boot of the board has
 * shown so far. Everything in here is bounded, however long the log is.
 *
 * diagnose_log.c follows the records, diagnose_list.c collects tracing lists and turns the
 * last one into an image, diagnose_balance.c adds them up with the stats,
 * diagnose_growth.c compares the lists of a boot, diagnose_rules.c
 * judges crashes, diagnose_request.c failed requests, diagnose_recorder.c the recording.
 */
#ifndef DIAGNOSE_LOG_H
#define DIAGNOSE_LOG_H

#include "console.h"
#include "diagnose.h"
#include "recorder.h"

/* --- tracing lists -------------------------------------------------------------------------- */

struct log_block {
    uint32_t pointer;
    uint32_t size;
    uint32_t site; /* index into the image's sites */
    uint32_t site_line;
    uint32_t order; /* as printed; 0 the newest */
};

struct log_list {
    struct log_block *blocks; /* as printed; in address order when it is closed */
    size_t count;
    size_t room;
    uint64_t bytes;
    uint32_t next_index;
    uint32_t doubt_index; /* of the last line, if it was not the next one */
    bool doubtful;
    bool doubt_appended;    /* that line's block is the last of the list */
    uint32_t expected;      /* number of blocks by the summary; 0 if there was none */
    uint64_t missing_bytes; /* by the summary, or by the stats */
    uint64_t missing_lines; /* by the index or the summary */
    uint64_t log_lines;     /* of the boot, before the list */
    uint64_t begin_line;
    uint64_t end_line;
    uint64_t damaged_before; /* the reader's count when the list began */
    bool open;
    bool complete; /* every line was read, and the summary agrees */
};

/* --- stats ---------------------------------------------------------------------------------- */

struct log_stats {
    bool has_total;
    bool has_region[IMAGE_REGIONS_MAX];
    uint32_t total;
    uint32_t free_bytes[IMAGE_REGIONS_MAX];
    uint32_t minimum[IMAGE_REGIONS_MAX];
    uint64_t line;
    uint64_t log_lines; /* of the boot, before its last row */
};

/* Live and free bytes of a boot, which are constant. */
struct log_balance {
    uint64_t sum;
    uint64_t line;  /* that says so; 0: none yet */
    uint64_t other; /* a sum that differs */
    uint64_t other_line;
    uint64_t lost; /* bytes that lists lack */
    uint64_t lost_line;
};

/* --- growth --------------------------------------------------------------------------------- */

#define GROWTH_SAMPLES 64u /* when they are full, every other one is dropped */

struct growth_site {
    uint32_t site;
    uint32_t site_line;
    uint32_t count[GROWTH_SAMPLES + 1]; /* live blocks; the last list's are in [samples] */
    uint32_t bytes_first, bytes_last;
    uint64_t stayed; /* blocks that were in the list before and are still there */
    uint64_t before; /* blocks that were in the list before */
};

struct growth {
    struct growth_site *sites;
    size_t site_count, site_room;
    uint32_t *table; /* hash of site and line to index + 1 */
    size_t table_size;
    uint32_t samples; /* in use, without the last */
    uint32_t stride;  /* lists a sample */
    uint32_t lists;
    uint64_t first_line, last_line;
    uint32_t totals[GROWTH_SAMPLES + 1]; /* free bytes, one a stats print */
    uint32_t total_samples, total_stride, total_prints;
};

/* --- crashes and failed requests ------------------------------------------------------------ */

struct log_crash {
    bool corruption, assertion, exception, stack_overflow;
    bool has_number, has_pc, has_r15;
    bool traced_corruption; /* its line names site and size */
    bool mentions_dma;      /* PSRAM and DMA were spoken of in one log line of this boot */
    uint64_t corruption_line, assertion_line, exception_line;
    uint32_t pointer, size, site, site_line;
    uint32_t assert_line;
    bool assert_in_heap;
    char expression[160], assert_file[256], function[64];
    uint32_t number, pc, r15, psr;
    uint32_t registers[16];
    uint32_t registers_known; /* bit mask */
    char name[64], task[32];
};

struct log_request {
    bool waiting;  /* for a heap to judge it by */
    bool judged;   /* a finding says why */
    uint32_t size; /* 0: the log does not say */
    uint32_t caps;
    uint64_t line;
    uint64_t count; /* in this boot */
    char text[128];
};

#define LOG_FINDINGS_MAX 256u

/* A board that crashes at each boot gives the same finding each time. */
struct log_repeats {
    uint32_t count[LOG_FINDINGS_MAX]; /* of each finding, after the first time */
    uint64_t last_line[LOG_FINDINGS_MAX];
    uint64_t dropped; /* findings beyond the limit */
};

struct log_state {
    struct diagnosis *diagnosis;
    const struct diagnose_options *options;
    struct console *console;
    bool out_of_memory;
    uint64_t line;        /* at work */
    uint64_t recognized;  /* records that only a W800 prints */
    uint64_t implausible; /* lines of lists that no heap could have printed */
    uint64_t missing;     /* lines of lists that never came */
    uint32_t boots;
    bool boot_has_size, boot_has_banner;
    uint64_t recent_ms[3]; /* oldest first */
    uint64_t log_lines;    /* of this boot */
    size_t boot_findings;  /* there were so many when it began */
    struct log_balance balance;
    struct log_list list;     /* the last one, perhaps still open */
    struct log_list previous; /* the one before, of the same boot */
    struct log_stats stats;
    uint32_t last_site;  /* of the list line before */
    bool poisoning_seen; /* a corruption line or an assertion says that there is some */
    bool tail_seen;      /* ... and that it is comprehensive */
    struct growth growth;
    struct log_crash crash;
    struct log_request request;
    struct log_repeats repeats;
    struct recording recording;
};

/* diagnose_list.c */
void log_list_block(struct log_state *state, const struct console_record *record);
void log_list_summary(struct log_state *state, const struct console_record *record);
void log_list_close(struct log_state *state);
void log_list_forget(struct log_state *state); /* a boot begins */
/* Brings diagnosis->image up to the last list and the last stats. */
bool log_image_build(struct log_state *state);
const struct log_block *log_list_find(const struct log_list *list, uint32_t pointer);

/* diagnose_balance.c */
/* The list has been closed, a corruption with its stats has come. */
void log_balance_list(struct log_state *state);
void log_balance_corruption(struct log_state *state);
/* What deviates in a boot, beside one of its findings. */
bool log_balance_tell(const struct log_balance *balance, struct finding *finding);

/* diagnose_growth.c */
bool growth_add_list(struct growth *growth, const struct log_list *list,
                     const struct log_list *previous);
void growth_add_total(struct growth *growth, uint32_t total);
/* Adds the leaks that the boot's lists and stats show. */
bool growth_judge(const struct growth *growth, const struct image *image,
                  struct findings *findings);
void growth_restart(struct growth *growth);
void growth_free(struct growth *growth);

/* diagnose_rules.c */
/* Turns what is known of the crash into findings, and forgets it. */
void log_crash_flush(struct log_state *state);

/* diagnose_request.c */
/* If the text of a log line says that memory was refused: true, with the size (0 if it does
 * not say) and the capabilities. */
bool request_parse(const char *text, size_t length, uint32_t *size, uint32_t *caps);
void log_request_seen(struct log_state *state, const struct console_record *record);
/* Judges the waiting request by the heap as it is known now; `last`: nothing better comes. */
void log_request_judge(struct log_state *state, bool last);

#endif
