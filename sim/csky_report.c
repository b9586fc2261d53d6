/* SPDX-License-Identifier: Apache-2.0 */
#include "csky_report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "csky_internal.h"
#include "json.h"

/* A name may hold any bytes, a terminal shall not. */
static void name_print(const char *name, FILE *out) {
    for (; *name != '\0'; ++name) {
        fputc((unsigned char)*name < ' ' || *name == 0x7f ? '?' : *name, out);
    }
}

/* "function+0x12", or nothing if no function is there */
static void place_print(const struct csky_machine *machine, uint32_t address, FILE *out) {
    const struct csky_function *function = csky_function_find(machine, address);
    if (function->name != NULL) {
        name_print(function->name, out);
        fprintf(out, "+0x%" PRIx32, address - function->start);
    }
}

static void instruction_text(const struct csky_fault *fault, char *text, size_t room) {
    const bool wide = fault->bytes == 4;
    csky_disassemble(fault->pc, (uint16_t)(wide ? fault->instruction >> 16 : fault->instruction),
                     (uint16_t)fault->instruction, text, room);
}

static void what_print(const struct csky_fault *fault, const uint32_t *r, FILE *out) {
    const char *access = fault->write ? "a store" : "a load";
    switch (fault->kind) {
    case CSKY_FAULT_ACCESS:
        if (fault->bytes == 0) {
            fprintf(out, "nothing to execute at 0x%08" PRIx32, fault->address);
        } else {
            fprintf(out, "%s of %" PRIu32 " bytes at 0x%08" PRIx32 ", where it may not", access,
                    fault->access, fault->address);
        }
        break;
    case CSKY_FAULT_MISALIGNED:
        fprintf(out, "%s of %" PRIu32 " bytes at 0x%08" PRIx32 ", misaligned", access,
                fault->access, fault->address);
        break;
    case CSKY_FAULT_ENCODING:
        fprintf(out, "no instruction of this CPU");
        break;
    case CSKY_FAULT_DIVIDE:
        fprintf(out, "division by zero");
        break;
    case CSKY_FAULT_TRAP:
        fprintf(out, "a trap that is no system call");
        break;
    case CSKY_FAULT_SYSTEM_CALL:
        fprintf(out, "system call %" PRIu32 ", which is not served", r[7]);
        break;
    }
}

void csky_report_fault(const struct csky_machine *machine, const char *program, FILE *out) {
    const struct csky_fault *fault = csky_fault(machine);
    char text[96] = "";
    fputs("csky-run: ", out);
    name_print(program, out);
    fputs(": fault: ", out);
    what_print(fault, machine->r, out);
    fprintf(out, "\n  pc  0x%08" PRIx32 "  ", fault->pc);
    place_print(machine, fault->pc, out);
    if (fault->bytes != 0) {
        instruction_text(fault, text, sizeof(text));
        fprintf(out, "  %0*" PRIx32 "  %s", (int)fault->bytes * 2, fault->instruction, text);
    }
    fprintf(out, "\n  after %" PRIu64 " instructions, with C %" PRIu32 " and\n",
            csky_instructions(machine), machine->carry);
    for (unsigned i = 0; i < CSKY_REGISTERS; ++i) {
        fprintf(out, "%s%*sr%u 0x%08" PRIx32, i % 4 == 0 ? " " : "", i < 10 ? 2 : 1, "", i,
                machine->r[i]);
        fputs(i % 4 == 3 ? "\n" : " ", out);
    }
}

/* --- Counts -------------------------------------------------------------------------------- */

struct count {
    const char *name;
    uint64_t instructions;
    uint64_t entries;
};

struct counts {
    struct count *rows;
    size_t count;
    bool failed;
};

static void add_count(void *context, const char *name, uint64_t instructions, uint64_t entries) {
    struct counts *counts = context;
    struct count *rows = realloc(counts->rows, (counts->count + 1) * sizeof(*rows));
    if (rows == NULL) {
        counts->failed = true;
        return;
    }
    counts->rows = rows;
    rows[counts->count++] =
        (struct count){name != NULL ? name : "(no function)", instructions, entries};
}

static int compare_counts(const void *left, const void *right) {
    const struct count *a = left;
    const struct count *b = right;
    if (a->instructions != b->instructions) {
        return a->instructions > b->instructions ? -1 : 1;
    }
    return strcmp(a->name, b->name);
}

static struct counts counts_of(struct csky_machine *machine) {
    struct counts counts = {0};
    csky_counts(machine, add_count, &counts);
    if (counts.count > 0) {
        qsort(counts.rows, counts.count, sizeof(*counts.rows), compare_counts);
    }
    if (counts.failed) {
        fprintf(stderr, "csky-run: out of memory: not all functions are listed\n");
    }
    return counts;
}

void csky_report_stats(struct csky_machine *machine, FILE *out) {
    struct counts counts = counts_of(machine);
    const uint64_t all = csky_instructions(machine);
    fprintf(out, "%15s %7s %12s  function\n", "instructions", "share", "entries");
    for (size_t i = 0; i < counts.count; ++i) {
        const struct count *row = &counts.rows[i];
        fprintf(out, "%15" PRIu64 " %6.2f%% %12" PRIu64 "  ", row->instructions,
                100.0 * (double)row->instructions / (double)all, row->entries);
        name_print(row->name, out);
        fputc('\n', out);
    }
    fprintf(out, "%15" PRIu64 " %6.2f%% %12s  in all\n", all, 100.0, "");
    free(counts.rows);
}

void csky_report_json(struct csky_machine *machine, FILE *out) {
    struct counts counts = counts_of(machine);
    json_t *functions = json_array();
    for (size_t i = 0; i < counts.count; ++i) {
        const struct count *row = &counts.rows[i];
        json_array_append_new(functions, json_pack("{s:o, s:I, s:I}", "name", json_text(row->name),
                                                   "instructions", (json_int_t)row->instructions,
                                                   "entries", (json_int_t)row->entries));
    }
    json_print(json_pack("{s:I, s:o}", "instructions", (json_int_t)csky_instructions(machine),
                         "functions", functions),
               out);
    free(counts.rows);
}

/* --- Trace --------------------------------------------------------------------------------- */

enum csky_end csky_trace_step(struct csky_machine *machine, FILE *out) {
    uint32_t before[CSKY_REGISTERS];
    char text[96] = "";
    uint16_t first = 0;
    uint16_t second = 0;
    const uint32_t pc = machine->pc;
    const uint32_t carry = machine->carry;
    memcpy(before, machine->r, sizeof(before));
    if (csky_fetch(machine, pc, &first)) {
        csky_fetch(machine, pc + 2, &second);
        csky_disassemble(pc, first, second, text, sizeof(text));
    }
    const enum csky_end end = csky_run(machine, 1);
    if (end == CSKY_FAULTED) {
        return end;
    }
    fprintf(out, "%08" PRIx32 "  ", pc);
    place_print(machine, pc, out);
    fprintf(out, "  %s", text);
    for (unsigned i = 0; i < CSKY_REGISTERS; ++i) {
        if (before[i] != machine->r[i]) {
            fprintf(out, "  r%u=0x%" PRIx32, i, machine->r[i]);
        }
    }
    fprintf(out, carry != machine->carry ? "  c=%" PRIu32 "\n" : "\n", machine->carry);
    return end;
}
