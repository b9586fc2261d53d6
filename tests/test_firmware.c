/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader of firmware ELF files: the bundled ones, which have symbols and strings, and one
 * written here word by word, which has code symbols and DWARF, so that no C-SKY compiler is
 * needed. W800_SEED=N in the environment garbles them otherwise.
 */
#include "../sim/firmware.h"
#include "trace_text.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(firmware, .timeout = 60);

#define FIELD W800_SOURCE_DIR "/tests/field/"

struct bytes {
    uint8_t data[4096];
    size_t size;
};

static void put(struct bytes *to, const void *from, size_t size) {
    cr_assert_leq(to->size + size, sizeof(to->data));
    memcpy(to->data + to->size, from, size);
    to->size += size;
}

static void save(const struct bytes *bytes, char path[64]) {
    strcpy(path, "/tmp/test_firmware_XXXXXX");
    const int descriptor = mkstemp(path);
    cr_assert_geq(descriptor, 0);
    cr_assert_eq(write(descriptor, bytes->data, bytes->size), (ssize_t)bytes->size);
    close(descriptor);
}

static struct firmware *open_bytes(const struct bytes *bytes, char error[256]) {
    char path[64];
    save(bytes, path);
    struct firmware *firmware = firmware_open(path, error, 256);
    unlink(path);
    return firmware;
}

static void load(const char *name, struct bytes *bytes) {
    char path[512];
    snprintf(path, sizeof(path), FIELD "%s", name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    bytes->size = fread(bytes->data, 1, sizeof(bytes->data), file);
    fclose(file);
}

/* --- An ELF file with debug information ------------------------------------------------- */

#define CODE 0x08010400u
#define STRING 0x08010420u
#define MACHINE 18 /* offset of the machine in the ELF header */

static void put_text(struct bytes *to, const char *text) { put(to, text, strlen(text) + 1); }

static void put_word(struct bytes *to, uint32_t word) { put(to, &word, 4); }

#define PUT(to, ...) put(to, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* The length at `at` counts what follows it. */
static void close_length(struct bytes *to, size_t at) {
    const uint32_t length = (uint32_t)(to->size - at - 4);
    memcpy(to->data + at, &length, 4);
}

/* Two kinds of entries: a unit (name, directory, lines, from, bytes), a function (name, from,
 * bytes). */
static void put_abbreviations(struct bytes *to) {
    PUT(to, 1, 0x11, 1, 0x03, 0x08, 0x1b, 0x08, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0);
    PUT(to, 2, 0x2e, 0, 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0, 0);
}

static void put_entries(struct bytes *to) {
    put_word(to, 0);
    PUT(to, 4, 0, 0, 0, 0, 0, 4, 1); /* version, abbreviations at 0, 4-byte addresses; unit */
    put_text(to, "app.c");
    put_text(to, "/fw");
    put_word(to, 0);
    put_word(to, CODE);
    put_word(to, 32);
    PUT(to, 2);
    put_text(to, "main_loop");
    put_word(to, CODE);
    put_word(to, 16);
    PUT(to, 2);
    put_text(to, "publish");
    put_word(to, CODE + 16);
    put_word(to, 16);
    PUT(to, 0);
    close_length(to, 0);
}

/* Line 10 at the first address, 11 eight bytes on, 20 at the second function. */
static void put_lines(struct bytes *to) {
    put_word(to, 0);
    PUT(to, 4, 0);
    put_word(to, 0);
    PUT(to, 1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0);
    put_text(to, "app.c");
    PUT(to, 0, 0, 0, 0);
    close_length(to, 6);
    PUT(to, 0, 5, 2);
    put_word(to, CODE);
    PUT(to, 3, 9, 1, 2, 8, 3, 1, 1, 2, 8, 3, 9, 1, 2, 16, 0, 1, 1);
    close_length(to, 0);
}

static void put_symbols(struct bytes *symbols, struct bytes *names) {
    static const struct {
        const char *name;
        uint32_t value, size;
        uint8_t info;
        uint16_t section;
    } rows[] = {
        {"", 0, 0, 0, 0},
        {"same", 1, 0, ELF32_ST_INFO(STB_LOCAL, STT_NOTYPE), SHN_ABS},
        {"main_loop", CODE, 16, ELF32_ST_INFO(STB_GLOBAL, STT_FUNC), 1},
        {"publish", CODE + 16, 16, ELF32_ST_INFO(STB_GLOBAL, STT_FUNC), 1},
        {"same", 2, 0, ELF32_ST_INFO(STB_GLOBAL, STT_NOTYPE), SHN_ABS},
        {"elsewhere", 3, 0, ELF32_ST_INFO(STB_GLOBAL, STT_NOTYPE), SHN_UNDEF},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        const Elf32_Sym symbol = {.st_name = (uint32_t)names->size,
                                  .st_value = rows[i].value,
                                  .st_size = rows[i].size,
                                  .st_info = rows[i].info,
                                  .st_shndx = rows[i].section};
        put(symbols, &symbol, sizeof(symbol));
        put_text(names, rows[i].name);
    }
}

enum { TEXT = 1, ABBREV, INFO, LINE, SYMTAB, STRTAB, SHSTRTAB, SECTIONS };

static void make_elf(struct bytes *elf, bool with_debug) {
    static struct bytes sections[SECTIONS];
    static const char *const names[SECTIONS] = {
        "",        ".text",   ".debug_abbrev", ".debug_info", ".debug_line",
        ".symtab", ".strtab", ".shstrtab"};
    Elf32_Shdr headers[SECTIONS] = {{0}};
    Elf32_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
                         .e_type = ET_EXEC,
                         .e_machine = 252,
                         .e_version = EV_CURRENT,
                         .e_ehsize = sizeof(Elf32_Ehdr),
                         .e_shentsize = sizeof(Elf32_Shdr),
                         .e_shnum = SECTIONS,
                         .e_shstrndx = SHSTRTAB};
    memset(sections, 0, sizeof(sections));
    sections[TEXT].size = 32;
    put_text(&sections[TEXT], "app/main.c");
    put(&sections[TEXT], "\x01no text", 9);
    put(&sections[TEXT], "cut off", 7);
    if (with_debug) {
        put_abbreviations(&sections[ABBREV]);
        put_entries(&sections[INFO]);
        put_lines(&sections[LINE]);
    }
    put_symbols(&sections[SYMTAB], &sections[STRTAB]);
    *elf = (struct bytes){.size = sizeof(header)};
    for (unsigned i = 1; i < SECTIONS; ++i) {
        headers[i] = (Elf32_Shdr){.sh_name = (uint32_t)sections[SHSTRTAB].size,
                                  .sh_type = i == SYMTAB   ? SHT_SYMTAB
                                             : i >= STRTAB ? SHT_STRTAB
                                                           : SHT_PROGBITS,
                                  .sh_addralign = 1};
        put_text(&sections[SHSTRTAB], names[i]);
    }
    headers[TEXT].sh_flags = SHF_ALLOC | SHF_EXECINSTR;
    headers[TEXT].sh_addr = CODE;
    headers[SYMTAB].sh_link = STRTAB;
    headers[SYMTAB].sh_info = 2;
    headers[SYMTAB].sh_entsize = sizeof(Elf32_Sym);
    for (unsigned i = 1; i < SECTIONS; ++i) {
        elf->size = (elf->size + 3u) & ~3u;
        headers[i].sh_offset = (uint32_t)elf->size;
        headers[i].sh_size = (uint32_t)sections[i].size;
        put(elf, sections[i].data, sections[i].size);
    }
    elf->size = (elf->size + 3u) & ~3u;
    header.e_shoff = (uint32_t)elf->size;
    put(elf, headers, sizeof(headers));
    memcpy(elf->data, &header, sizeof(header));
}

static void assert_place(struct firmware *firmware, uint32_t address, const char *expected) {
    struct firmware_place place;
    char got[700] = "nowhere";
    if (firmware_locate(firmware, address, &place)) {
        snprintf(got, sizeof(got), "%s %s:%" PRIu32, place.function, place.file, place.line);
    }
    cr_assert_str_eq(got, expected, "0x%08" PRIx32 ": %s, expected %s", address, got, expected);
}

Test(firmware, debug_information_gives_function_file_and_line) {
    static struct bytes elf;
    char error[256];
    make_elf(&elf, true);
    struct firmware *firmware = open_bytes(&elf, error);
    cr_assert_not_null(firmware, "%s", error);
    assert_place(firmware, CODE, "main_loop /fw/app.c:10");
    assert_place(firmware, CODE + 8, "main_loop /fw/app.c:11");
    assert_place(firmware, CODE + 15, "main_loop /fw/app.c:11");
    assert_place(firmware, CODE + 16, "publish /fw/app.c:20");
    assert_place(firmware, CODE + 32, "nowhere");
    assert_place(firmware, 0, "nowhere");
    firmware_close(firmware);
}

Test(firmware, without_debug_information_symbols_give_the_function) {
    static struct bytes elf;
    char error[256];
    make_elf(&elf, false);
    elf.data[MACHINE] = 39; /* as older tool chains number C-SKY */
    struct firmware *firmware = open_bytes(&elf, error);
    cr_assert_not_null(firmware, "%s", error);
    assert_place(firmware, CODE + 15, "main_loop :0");
    assert_place(firmware, CODE + 16, "publish :0");
    assert_place(firmware, CODE + 32, "nowhere");
    firmware_close(firmware);
}

Test(firmware, strings_are_whole_printable_and_loaded) {
    static struct bytes elf;
    char error[256];
    uint32_t word = 0;
    make_elf(&elf, false);
    struct firmware *firmware = open_bytes(&elf, error);
    cr_assert_str_eq(firmware_string(firmware, STRING), "app/main.c");
    cr_assert_str_eq(firmware_string(firmware, STRING + 4), "main.c");
    cr_assert_null(firmware_string(firmware, STRING + 10), "empty");
    cr_assert_null(firmware_string(firmware, STRING + 11), "not printable");
    cr_assert_null(firmware_string(firmware, STRING + 20), "no end");
    cr_assert_null(firmware_string(firmware, STRING + 1000), "not loaded");
    cr_assert(firmware_read(firmware, STRING, &word, 4));
    cr_assert_eq(word, 0x2f707061u);
    cr_assert_not(firmware_read(firmware, STRING + 25, &word, 4), "beyond the end");
    firmware_close(firmware);
}

Test(firmware, a_global_symbol_wins_and_an_undefined_one_is_none) {
    static struct bytes elf;
    char error[256];
    uint32_t value = 0;
    make_elf(&elf, false);
    struct firmware *firmware = open_bytes(&elf, error);
    cr_assert(firmware_symbol(firmware, "same", &value));
    cr_assert_eq(value, 2);
    cr_assert_not(firmware_symbol(firmware, "elsewhere", &value));
    cr_assert_not(firmware_symbol(firmware, "zzz", &value));
    firmware_close(firmware);
}

/* --- The bundled ones ------------------------------------------------------------------- */

static const char *const field[] = {"firmware-none.elf", "firmware-trace.elf",
                                    "firmware-tlight.elf", "firmware-tcomp.elf"};

Test(firmware, field_files_have_the_heaps_symbols_and_call_sites) {
    for (size_t i = 0; i < 4; ++i) {
        struct bytes bytes;
        char error[256];
        uint32_t value = 0;
        bool found = false;
        load(field[i], &bytes);
        struct firmware *firmware = open_bytes(&bytes, error);
        cr_assert_not_null(firmware, "%s", error);
        cr_assert(firmware_symbol(firmware, "wm_soc_memory", &value), "%s", field[i]);
        cr_assert_eq(value, 0x20001020u, "%s", field[i]);
        cr_assert(firmware_symbol(firmware, "__bss_end__", &value), "%s", field[i]);
        cr_assert_eq(value, 0x20004120u, "%s", field[i]);
        for (uint32_t at = 0x0807a000u; at < 0x0807b000u && !found; ++at) {
            const char *text = firmware_string(firmware, at);
            found = text != NULL && strcmp(text, "E:/work/fw/app/ble_gatt.c") == 0;
        }
        cr_assert(found, "%s: no call site", field[i]);
        firmware_close(firmware);
    }
}

/* --- What is none ----------------------------------------------------------------------- */

Test(firmware, other_files_are_refused_with_a_reason) {
    static const struct {
        size_t offset;
        uint8_t value;
        const char *reason;
    } rows[] = {{0, 'x', "no ELF file"},
                {4, ELFCLASS64, "64-bit"},
                {5, ELFDATA2MSB, "big-endian"},
                {MACHINE, EM_ARM, "another processor"}};
    char error[256];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        static struct bytes elf;
        make_elf(&elf, false);
        elf.data[rows[i].offset] = rows[i].value;
        cr_assert_null(open_bytes(&elf, error), "%s", rows[i].reason);
        cr_assert_not_null(strstr(error, rows[i].reason), "%s", error);
    }
    cr_assert_null(firmware_open("/nowhere/fw.elf", error, sizeof(error)));
    cr_assert_str_eq(error, "/nowhere/fw.elf: No such file or directory");
}

static void use(const struct bytes *bytes) {
    char error[256] = "";
    struct firmware_place place;
    uint32_t value = 0;
    struct firmware *firmware = open_bytes(bytes, error);
    cr_assert(firmware != NULL || error[0] != '\0');
    for (uint32_t at = CODE; firmware != NULL && at < CODE + 40; at += 4) {
        firmware_locate(firmware, at, &place);
        firmware_string(firmware, at);
        firmware_symbol(firmware, "same", &value);
    }
    firmware_close(firmware);
}

Test(firmware, cut_and_garbled_files_do_no_harm) {
    const uint64_t seed = trace_text_seed();
    static struct bytes elf;
    make_elf(&elf, true);
    const struct bytes whole = elf;
    for (elf.size = 0; elf.size < whole.size; elf.size += 7) {
        use(&elf);
    }
    for (uint64_t round = 0; round < 1000; ++round) {
        uint64_t random = (seed * 1000 + round) * 0x9e3779b97f4a7c15u;
        elf = whole;
        for (unsigned i = 0; i < 3; ++i) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            elf.data[(random >> 20) % elf.size] = (uint8_t)(random >> 56);
        }
        use(&elf);
    }
}
