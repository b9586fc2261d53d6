/* SPDX-License-Identifier: Apache-2.0
 *
 * What `wmheap diagnose` makes of real console logs and RAM dumps, of the same logs in other
 * dialects and with damage, and of what is none of them. The answers stand beside the files,
 * in tests/field/expected.json.
 */
#include "diagnose_fixture.h"

#include <inttypes.h>
#include <jansson.h>
#include <sys/wait.h>

#include "field_variants.h"

TestSuite(diagnose, .timeout = 120);

/* --- the bundled files ---------------------------------------------------------------------- */

static json_t *answers(void) {
    json_error_t error;
    json_t *all = json_load_file(FIELD "expected.json", 0, &error);
    cr_assert_not_null(all, "%s", error.text);
    return all;
}

static bool is_log(const char *name) { return strstr(name, ".log") != NULL; }

static const char *expected_text(json_t *answer, const char *key) {
    json_t *value = json_object_get(answer, key);
    return value != NULL ? json_string_value(value) : NULL;
}

static uint32_t expected_address(json_t *answer, const char *key) {
    const char *text = expected_text(answer, key);
    return text != NULL ? (uint32_t)strtoul(text, NULL, 16) : 0;
}

/* "" if the diagnosis gives the answer, else what differs. `drive` is what a dialect put in
 * front of the file names. */
static const char *difference(const struct diagnosis *diagnosis, json_t *answer,
                              const char *drive) {
    static char text[2400];
    const struct finding none = {.verdict = VERDICT_CLEAN};
    const struct finding *worst =
        diagnosis->findings.count > 0 ? &diagnosis->findings.list[0] : &none;
    const char *verdict = expected_text(answer, "verdict");
    const char *site = expected_text(answer, "site");
    json_t *exception = json_object_get(answer, "exception");
    char whole[1200];
    snprintf(whole, sizeof whole, "%s%s", drive, site != NULL ? site : "");
    text[0] = '\0';
    if (strcmp(verdict_name(worst->verdict), verdict) != 0) {
        snprintf(text, sizeof text, "verdict %s, not %s", verdict_name(worst->verdict), verdict);
    } else if (site != NULL && strcmp(worst->site, whole) != 0) {
        snprintf(text, sizeof text, "site \"%s\", not \"%s\"", worst->site, whole);
    } else if (json_object_get(answer, "address") != NULL &&
               worst->address != expected_address(answer, "address")) {
        snprintf(text, sizeof text, "address 0x%08" PRIx32, worst->address);
    } else if (json_object_get(answer, "victim") != NULL &&
               worst->victim != expected_address(answer, "victim")) {
        snprintf(text, sizeof text, "victim 0x%08" PRIx32, worst->victim);
    } else if (exception != NULL && diagnosis->exception != json_integer_value(exception)) {
        snprintf(text, sizeof text, "exception %" PRIu32, diagnosis->exception);
    } else if (worst->verdict != VERDICT_CLEAN && worst->evidence == NULL) {
        snprintf(text, sizeof text, "no evidence");
    }
    return text;
}

Test(diagnose, gives_the_answer_for_every_bundled_file) {
    json_t *all = answers();
    const char *name;
    json_t *answer;
    json_object_foreach(all, name, answer) {
        struct diagnosis diagnosis;
        struct diagnose_options options = {0};
        char path[512];
        char error[512] = "";
        const char *elf = expected_text(answer, "elf");
        if (elf != NULL) {
            snprintf(path, sizeof path, FIELD "%s", elf);
            options.firmware = firmware_open(path, error, sizeof error);
            cr_assert_not_null(options.firmware, "%s", error);
        }
        snprintf(path, sizeof path, FIELD "%s", name);
        cr_assert(diagnose_file(path, &options, &diagnosis, error, sizeof error), "%s", error);
        cr_expect_str_empty(difference(&diagnosis, answer, ""), "wmheap diagnose %s: %s", path,
                            difference(&diagnosis, answer, ""));
        cr_expect_eq(diagnosis.lines == 0, !is_log(name));
        diagnosis_free(&diagnosis);
        firmware_close(options.firmware);
    }
    json_decref(all);
}

/* --- dialects ------------------------------------------------------------------------------- */

static void check_variant(const char *name, json_t *answer, const char *clean, unsigned dialects,
                          uint64_t seed) {
    char path[512];
    char what[512] = "";
    char error[256] = "";
    size_t length;
    struct diagnosis diagnosis;
    snprintf(path, sizeof path, FIELD "%s", name);
    char *log = field_read(path, &length);
    char *variant = field_variant(log, clean, dialects, seed, &length);
    for (size_t i = 0; i < FIELD_DIALECT_COUNT; i++) {
        if ((dialects >> i & 1) != 0) {
            snprintf(what + strlen(what), sizeof what - strlen(what), "%s; ",
                     field_dialect_names[i]);
        }
    }
    cr_assert(diagnose_text(variant, length, &diagnosis, error, sizeof error),
              "%s, seed %" PRIu64 ": %s%s", name, seed, what, error);
    const char *wrong =
        difference(&diagnosis, answer, (dialects >> FIELD_WINDOWS & 1) != 0 ? "C:" : "");
    if (*wrong != '\0') {
        FILE *file = fopen("/tmp/wmheap-variant.log", "wb");
        if (file != NULL) {
            fwrite(variant, 1, length, file);
            fclose(file);
        }
    }
    cr_expect_str_empty(wrong, "%s, seed %" PRIu64 ": %s%s (/tmp/wmheap-variant.log)", name, seed,
                        what, wrong);
    diagnosis_free(&diagnosis);
    free(variant);
    free(log);
}

Test(diagnose, gives_the_same_answer_in_every_dialect) {
    json_t *all = answers();
    size_t length;
    char *clean = field_read(FIELD "clean-11.log", &length);
    const char *name;
    json_t *answer;
    json_object_foreach(all, name, answer) {
        for (unsigned i = 0; is_log(name) && i < FIELD_DIALECT_COUNT; i++) {
            uint64_t times = i == FIELD_STAMP ? FIELD_STAMPS : 3;
            for (uint64_t seed = 1; seed <= times; seed++) {
                check_variant(name, answer, clean, 1u << i, seed);
            }
        }
    }
    free(clean);
    json_decref(all);
}

Test(diagnose, gives_the_same_answer_in_dialects_mixed) {
    json_t *all = answers();
    size_t length;
    char *clean = field_read(FIELD "clean-11.log", &length);
    const char *name;
    json_t *answer;
    uint64_t seed = 11;
    json_object_foreach(all, name, answer) {
        for (unsigned round = 0; is_log(name) && round < 40; round++) {
            /* Any forms, and one kind of damage. */
            unsigned damage = FIELD_DROP + (unsigned)(field_random(&seed) % 6);
            unsigned forms = 1u << FIELD_NO_0X | 1u << FIELD_V22 | 1u << FIELD_WINDOWS |
                             1u << FIELD_BOOT_BEFORE | 1u << FIELD_BOOT_AFTER | 1u << FIELD_COLOUR |
                             1u << FIELD_STAMP | 1u << FIELD_LF;
            unsigned dialects = ((unsigned)field_random(&seed) & forms) | 1u << damage;
            check_variant(name, answer, clean, dialects, field_random(&seed));
        }
    }
    free(clean);
    json_decref(all);
}

/* --- what a log is not ---------------------------------------------------------------------- */

Test(diagnose, text_of_other_origin_is_unusable) {
    static const char *const texts[] = {"", "\n\n\n", "hello\nworld\n", "int main(void) {}\n"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct diagnosis diagnosis;
        char error[256] = "";
        cr_expect_not(diagnose_text(texts[i], strlen(texts[i]), &diagnosis, error, sizeof error));
        cr_expect(strlen(error) > 0 && strchr(error, '\n') == NULL, "text %zu: \"%s\"", i, error);
        diagnosis_free(&diagnosis);
    }
}

/* Cut anywhere, a log is judged or refused, and what it says before the cut still counts: the
 * crash line that is whole gives the crash. */
Test(diagnose, survives_truncation_anywhere) {
    json_t *all = answers();
    const char *name;
    json_t *answer;
    json_object_foreach(all, name, answer) {
        char path[512];
        size_t length;
        snprintf(path, sizeof path, FIELD "%s", name);
        char *log = is_log(name) ? field_read(path, &length) : NULL;
        for (size_t cut = 0; log != NULL && cut <= length; cut += 1 + length / 300) {
            struct diagnosis diagnosis;
            char error[256] = "";
            bool ok = diagnose_text(log, cut, &diagnosis, error, sizeof error);
            cr_expect(ok || *error != '\0', "%s cut at %zu", name, cut);
            bool clean = diagnosis.findings.count == 0;
            cr_expect(clean || strcmp(expected_text(answer, "verdict"), "clean") != 0,
                      "head -c %zu %s: %s", cut, path, verdict_name(diagnosis_verdict(&diagnosis)));
            diagnosis_free(&diagnosis);
        }
        free(log);
    }
    json_decref(all);
}

static void mutate(char *text, size_t length, uint64_t *seed) {
    size_t count = 1 + field_random(seed) % 40;
    for (size_t i = 0; i < count; i++) {
        size_t at = field_random(seed) % length;
        size_t span = 1 + field_random(seed) % 64;
        span = span < length - at ? span : length - at;
        size_t from = field_random(seed) % (length - span + 1);
        switch (field_random(seed) % 4) {
        case 0:
            text[at] = (char)field_random(seed);
            break;
        case 1:
            text[at] = "\r\n\t\033[0:x\"9"[field_random(seed) % 11];
            break;
        case 2:
            memmove(text + at, text + from, span);
            break;
        default:
            memset(text + at, text[at], span);
            break;
        }
    }
}

/* W800_CASES=N makes it longer, W800_SEED=N starts elsewhere:
 *   W800_CASES=10000 build/asan/tests/test_diagnose --filter 'diagnose/survives_random*'
 * Millions of cases are what scripts/mutate is for. */
Test(diagnose, survives_random_mutations) {
    const char *chosen = getenv("W800_SEED");
    const char *longer = getenv("W800_CASES");
    uint64_t first = chosen != NULL ? strtoull(chosen, NULL, 0) : 1;
    uint64_t cases = longer != NULL ? strtoull(longer, NULL, 0) : 200;
    json_t *all = answers();
    const char *name;
    json_t *answer;
    json_object_foreach(all, name, answer) {
        char path[512];
        size_t length;
        snprintf(path, sizeof path, FIELD "%s", name);
        char *log = is_log(name) ? field_read(path, &length) : NULL;
        char *copy = log != NULL ? malloc(length) : NULL;
        for (uint64_t round = first; copy != NULL && round < first + cases; round++) {
            struct diagnosis diagnosis;
            char error[256] = "";
            uint64_t seed = round;
            memcpy(copy, log, length);
            mutate(copy, length, &seed);
            bool ok = diagnose_text(copy, length, &diagnosis, error, sizeof error);
            cr_expect(ok || *error != '\0', "W800_SEED=%" PRIu64 " W800_CASES=1: %s", round, name);
            diagnosis_free(&diagnosis);
        }
        free(copy);
        free(log);
    }
    json_decref(all);
}

/* --- the command ---------------------------------------------------------------------------- */

static int run_command(const char *name, const char *arguments, char *out, size_t room) {
    char command[1024];
    const char *program = getenv("WMHEAP");
    cr_assert_not_null(program, "WMHEAP=PATH/bin/wmheap must say which program is meant");
    snprintf(command, sizeof command, "'%s' %s %s 2>&1", program, name, arguments);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    size_t length = fread(out, 1, room - 1, pipe);
    out[length] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + status;
}

static int run(const char *arguments, char *out, size_t room) {
    return run_command("diagnose", arguments, out, room);
}

struct command_case {
    const char *arguments;
    int status;
    const char *says;
};

static void check_cases(const char *command, const struct command_case *cases, size_t count) {
    static char out[1 << 20];
    for (size_t i = 0; i < count; i++) {
        int status = run_command(command, cases[i].arguments, out, sizeof out);
        cr_expect(status == cases[i].status && strstr(out, cases[i].says) != NULL,
                  "wmheap %s %s: status %d, not %d, or not \"%s\" in:\n%.2000s", command,
                  cases[i].arguments, status, cases[i].status, cases[i].says, out);
    }
}

Test(diagnose, exit_statuses_tell_clean_from_found_from_unusable) {
    static const struct command_case cases[] = {
        {FIELD "clean-11.log", 0, "clean-11.log: clean\n"},
        {FIELD "leak-11.log", 1, "leak: /home/dev/wm_iot_sdk/components/lwip/src/core/pbuf.c:234"},
        {FIELD "leak-11.log " FIELD "clean-11.log", 1, "clean-11.log: clean\n"},
        {"- < " FIELD "double-free-11.log", 1, "<stdin>: double-free\n"},
        {"- < " FIELD "clean-11.ram", 0, "<stdin>: clean\n"},
        {"/dev/null", 2, "wmheap: /dev/null: empty\n"},
        {"/nowhere", 2, "wmheap: /nowhere: No such file or directory\n"},
        {"/nowhere " FIELD "leak-11.log", 2, "leak: "},
        {FIELD, 2, "Is a directory\n"},
        {"--elf /nowhere " FIELD "leak-11.log", 2, "/nowhere"},
        {FIELD "expected.json", 2, "is of a W800's console\n"},
        {"", 2, "a console log or a RAM dump is needed"},
        {"--base=x " FIELD "clean-11.ram", 2, "--base=x"},
        {"--help", 0, "Example:"},
    };
    check_cases("diagnose", cases, COUNT(cases));
}

Test(diagnose, what_is_diagnosed_is_converted_too) {
    static const struct command_case cases[] = {
        {FIELD "leak-11.log", 0, "wmtrace 1\n"},
        {"- - < " FIELD "leak-11.log", 0, "wmtrace 1\n"},
        {"- < " FIELD "overrun-11.ram", 0, "wmtrace 1\n"},
        {"--base=0x20000000 " FIELD "overrun-11.ram", 0, "wmtrace 1\n"},
        {"--elf " FIELD "firmware-trace.elf " FIELD "overrun-11.ram", 0, "wm_http_client.c:481"},
        {"--json " FIELD "leak-11.log", 0, "wmtrace 1\n"},
        {"--base=x " FIELD "clean-11.ram", 2, "--base=x: an address"},
        {"--elf /nowhere " FIELD "leak-11.log", 2, "wmheap: /nowhere: No such file"},
        {"/nowhere", 2, "wmheap: /nowhere: No such file"},
        {"/dev/null", 2, "wmheap: /dev/null: empty\n"},
        {FIELD, 2, ": a directory\n"},
        {FIELD "expected.json", 2, "is of a W800's console\n"},
        {FIELD "leak-11.log /nowhere/x.trace", 2, "/nowhere/x.trace"},
        {"", 2, "a file is needed"},
        {"a b c", 2, "are all that is taken"},
        {"--help", 0, "Example:"},
    };
    check_cases("convert", cases, COUNT(cases));
}

Test(diagnose, json_has_a_value_for_each_of_its_keys) {
    char out[65536];
    json_error_t error;
    cr_assert_eq(run("--json " FIELD "underflow-11.log", out, sizeof out), 1);
    json_t *object = json_loads(out, 0, &error);
    cr_assert_not_null(object, "%s: %s", error.text, out);
    static const struct {
        const char *key;
        const char *value;
    } texts[] = {
        {"schema", "wmheap-diagnosis/1"},
        {"verdict", "underflow"},
        {"confidence", "certain"},
        {"site", "/home/dev/wm_iot_sdk/components/mqtt/src/mqtt_client.c:332"},
        {"address", "0x2000ad70"},
        {"pc", "0x0801a2c4"},
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        const char *value = expected_text(object, texts[i].key);
        cr_expect(value != NULL && strcmp(value, texts[i].value) == 0, "%s: %s", texts[i].key,
                  value);
    }
    cr_expect_null(json_object_get(object, "victim"));
    cr_expect_eq(json_integer_value(json_object_get(object, "exception")), 16);
    cr_expect_eq(json_integer_value(json_object_get(object, "lines")), 130);
    cr_expect_eq(json_integer_value(json_object_get(object, "damaged")), 0);
    json_t *region = json_array_get(json_object_get(object, "regions"), 1);
    cr_expect_str_eq(expected_text(region, "name"), "DRAM");
    cr_expect_str_eq(expected_text(region, "start"), "0x20028000");
    cr_expect_eq(json_integer_value(json_object_get(region, "free")), 117464);
    cr_expect_eq(json_integer_value(json_object_get(region, "live_blocks")), 8);
    json_t *finding = json_array_get(json_object_get(object, "findings"), 0);
    cr_expect_gt(json_array_size(json_object_get(finding, "evidence")), 2);
    json_decref(object);
}
