/* SPDX-License-Identifier: Apache-2.0
 *
 * The core on the host against the same core compiled for C-SKY: one program of calls
 * (program.h) is made on both, and after each call the results and the reported faults are equal,
 * at the end every byte of the heaps and the core's state. No model judges: memory may be
 * smashed, and both then have to do the same.
 *
 * The programs are those of the cross-check (tests/csky/crosscheck.c), one a build, called
 * function by function on the interpreter. Their folder is $CSKY_PROGRAMS, else that of the build.
 */
#include <stdlib.h>
#include <string.h>

#include "../sim/crosscheck_run.h"
#include "../sim/csky.h"
#include "arena.h"
#include "fuzz.h"

const char fuzz_name[] = "csky_heap";

#define CALL_LIMIT 10000000u /* instructions of one call; a print of both lists takes 100,000 */
#define STATE_BYTES 0x200u   /* more than the guest's state has */
/* The program's place for names' texts has other uses: a region's name, the call site's, a fault.
 */
#define NAME_BYTES 16u
#define FAULT_AT 32u
#define REPORTS_MAX 8u
#define TEXT_MAX 1024u
#define ONCHIP_BYTES (ARENA_ONCHIP_END - ARENA_ONCHIP_START)
#define PSRAM_BYTES (ARENA_PSRAM_END - ARENA_PSRAM_START)

#define FUNCTIONS(X)                                                                               \
    X(PREPARE, "crosscheck_prepare")                                                               \
    X(INIT, "wm_heap_init")                                                                        \
    X(IN_PLACE, "wm_heap_set_realloc_in_place")                                                    \
    X(APPEND, "wm_heap_append_to_heap")                                                            \
    X(ALLOC, "wm_heap_caps_alloc_tracing")                                                         \
    X(FREE, "wm_heap_caps_free")                                                                   \
    X(REALLOC, "crosscheck_realloc")                                                               \
    X(CALLOC, "crosscheck_calloc")                                                                 \
    X(ALIGNED, "crosscheck_aligned")                                                               \
    X(LARGEST, "wm_heap_caps_get_largest_free_block")                                              \
    X(FREE_SIZE, "wm_heap_caps_get_free_size")                                                     \
    X(MINIMUM, "wm_heap_caps_get_minimum_free_size")                                               \
    X(TOTAL, "wm_heap_get_free_size")                                                              \
    X(USABLE, "wm_heap_get_usable_size")                                                           \
    X(CHECK, "wm_heap_check")                                                                      \
    X(STATS, "wm_heap_print_stats")                                                                \
    X(TRACING, "wm_heap_print_tracing")                                                            \
    X(PORT_FAULT, "wm_heap_port_fault")                                                            \
    X(PORT_PRINT, "wm_heap_port_print")                                                            \
    X(HEADER, "crosscheck_header")                                                                 \
    X(STATE, "wm_heap_state")                                                                      \
    X(NAMES, "names")                                                                              \
    X(SCRATCH, "name_text")

enum symbol {
#define SYMBOL_ENUMERATOR(name, text) SYMBOL_##name,
    FUNCTIONS(SYMBOL_ENUMERATOR)
#undef SYMBOL_ENUMERATOR
        SYMBOLS
};

static const char *const symbol_names[SYMBOLS] = {
#define SYMBOL_NAME(name, text) text,
    FUNCTIONS(SYMBOL_NAME)
#undef SYMBOL_NAME
};

/* What a core told in one call. */
struct reports {
    uint32_t faults;
    uint32_t text_length;
    uint32_t text_digest;
    char text[TEXT_MAX]; /* its beginning */
    struct wm_heap_fault list[REPORTS_MAX];
};

struct guest {
    struct csky_machine *machine;
    uint32_t symbols[SYMBOLS];
    uint32_t state_bytes;
    uint32_t layout; /* that the program has taken over; PROGRAM_LAYOUTS: none yet */
    uint8_t *onchip, *psram, *state;
    uint8_t *scratch;
    struct {
        uint8_t memory[ARENA_BYTES];
        uint8_t state[STATE_BYTES];
    } images[PROGRAM_LAYOUTS]; /* after init */
};

struct pair {
    struct guest *guest;
    const struct heap_build *host;
    uint32_t pointers[PROGRAM_SLOTS];
    uint32_t stale[PROGRAM_SLOTS];
    uint32_t calls;
    struct reports of_host, of_guest;
};

static const char site[] = "fuzz.c";
static uint32_t site_handle; /* the guest's handles are those of the host */
static struct guest *guests; /* one a build */
static struct pair pair;     /* the callbacks' */

/* --- the guest ---------------------------------------------------------------------------- */

/* The way through the core counts, the host's; the interpreter decodes what no run before has
 * needed, which would make the same input take two ways. */
#ifdef __AFL_COMPILER
__AFL_COVERAGE();
#define COVERAGE_OFF() __AFL_COVERAGE_OFF()
#define COVERAGE_ON() __AFL_COVERAGE_ON()
#else
#define COVERAGE_OFF() ((void)0)
#define COVERAGE_ON() ((void)0)
#endif

static uint32_t guest_call(struct guest *guest, enum symbol function, uint32_t a, uint32_t b,
                           uint32_t c, uint32_t d) {
    const uint32_t arguments[4] = {a, b, c, d};
    uint32_t result = 0;
    COVERAGE_OFF();
    const enum csky_end end =
        csky_call(guest->machine, guest->symbols[function], arguments, 4, &result, CALL_LIMIT);
    COVERAGE_ON();
    FUZZ_CHECK(end == CSKY_RETURNED, "call %u: %s does not return: it %s, fault %d at 0x%08x",
               pair.calls, symbol_names[function],
               end == CSKY_EXHAUSTED ? "runs on" : "ends the program",
               (int)csky_fault(guest->machine)->kind, csky_fault(guest->machine)->pc);
    return result;
}

static void reports_print(struct reports *reports, const char *text, size_t length) {
    for (size_t i = 0; i < length; i++, reports->text_length++) {
        reports->text_digest = (reports->text_digest ^ (uint8_t)text[i]) * 0x01000193u;
        if (reports->text_length < TEXT_MAX) {
            reports->text[reports->text_length] = text[i];
        }
    }
}

static void reports_add(struct reports *reports, const struct wm_heap_fault *fault) {
    if (reports->faults < REPORTS_MAX) {
        reports->list[reports->faults] = *fault;
    }
    reports->faults++;
}

static void guest_fault(void *context, struct csky_machine *machine) {
    (void)context;
    struct wm_heap_fault fault;
    const void *bytes = csky_memory(machine, csky_register(machine, 0), sizeof fault);
    FUZZ_CHECK(bytes != NULL, "call %u: a fault that is not in memory", pair.calls);
    memcpy(&fault, bytes, sizeof fault);
    reports_add(&pair.of_guest, &fault);
}

static void guest_print(void *context, struct csky_machine *machine) {
    (void)context;
    const uint32_t length = csky_register(machine, 1);
    const void *text = csky_memory(machine, csky_register(machine, 0), length);
    FUZZ_CHECK(text != NULL, "call %u: a text that is not in memory", pair.calls);
    reports_print(&pair.of_guest, text, length);
}

static void *guest_memory(struct guest *guest, uint32_t address, uint32_t bytes) {
    COVERAGE_OFF();
    void *memory = csky_memory(guest->machine, address, bytes);
    COVERAGE_ON();
    FUZZ_CHECK(memory != NULL, "the C-SKY program has no memory at 0x%08x", address);
    return memory;
}

static void guest_open(struct guest *guest, const char *folder, const char *build) {
    char path[4096];
    char message[256] = "";
    snprintf(path, sizeof path, "%s/crosscheck-%s", folder, build);
    guest->machine = csky_open(path, message, sizeof message);
    if (guest->machine == NULL) {
        fprintf(stderr, "fuzz %s: %s; scripts/setup-csky and a build make it\n", fuzz_name,
                message);
        exit(77); /* skipped */
    }
    for (uint32_t i = 0; i < SYMBOLS; i++) {
        uint32_t size = 0;
        FUZZ_CHECK(csky_symbol(guest->machine, symbol_names[i], &guest->symbols[i], &size),
                   "%s has no %s", path, symbol_names[i]);
        if (i == SYMBOL_STATE) {
            guest->state_bytes = size;
        }
    }
    FUZZ_CHECK(guest->state_bytes <= STATE_BYTES, "%s: %u bytes of state", path,
               guest->state_bytes);
    guest->layout = PROGRAM_LAYOUTS;
    guest->onchip = guest_memory(guest, ARENA_ONCHIP_START, ONCHIP_BYTES);
    guest->psram = guest_memory(guest, ARENA_PSRAM_START, PSRAM_BYTES);
    guest->state = guest_memory(guest, guest->symbols[SYMBOL_STATE], guest->state_bytes);
    guest->scratch = guest_memory(guest, guest->symbols[SYMBOL_SCRATCH], 4096);
    csky_watch(guest->machine, guest->symbols[SYMBOL_PORT_FAULT], guest_fault, NULL);
    csky_watch(guest->machine, guest->symbols[SYMBOL_PORT_PRINT], guest_print, NULL);
}

/* The one call site's name, by the handle that it has on the host. */
static void guest_take_name(struct guest *guest) {
    const uint32_t address = guest->symbols[SYMBOL_SCRATCH] + NAME_BYTES;
    const uint32_t entry = guest->symbols[SYMBOL_NAMES] + (site_handle - 1u) * 4u;
    memcpy(guest->scratch + NAME_BYTES, site, sizeof site);
    memcpy(guest_memory(guest, entry, 4), &address, 4);
}

/* The program's table of regions is that of a layout. */
static void guest_take_layout(struct guest *guest, uint32_t layout) {
    const struct wm_heap_region_config *regions = arena_regions(layout);
    struct crosscheck_header header = {.magic = CROSSCHECK_MAGIC,
                                       .version = CROSSCHECK_VERSION,
                                       .interval = 1,
                                       .psram_bytes = 2u << 20,
                                       .region_count = WM_HEAP_REGIONS_MAX,
                                       .name_count = site_handle};
    if (guest->layout == layout) {
        return;
    }
    for (uint32_t i = 0; i < WM_HEAP_REGIONS_MAX; i++) {
        header.regions[i] = (struct crosscheck_region){.start = regions[i].start,
                                                       .end = regions[i].end,
                                                       .caps = regions[i].caps,
                                                       .deferred = regions[i].deferred};
        memcpy(header.regions[i].name, regions[i].name, strlen(regions[i].name));
    }
    memcpy(guest_memory(guest, guest->symbols[SYMBOL_HEADER], sizeof header), &header,
           sizeof header);
    guest_call(guest, SYMBOL_PREPARE, 0, 0, 0, 0);
    guest->layout = layout;
}

static void guest_make_image(struct guest *guest, uint32_t layout) {
    guest_take_layout(guest, layout);
    memset(guest->onchip, ARENA_OUTSIDE, ONCHIP_BYTES);
    memset(guest->psram, ARENA_OUTSIDE, PSRAM_BYTES);
    memset(guest->state, 0, guest->state_bytes);
    guest_call(guest, SYMBOL_INIT, 0, 0, 0, 0);
    memcpy(guest->images[layout].memory, guest->onchip, ONCHIP_BYTES);
    memcpy(guest->images[layout].memory + ONCHIP_BYTES, guest->psram, PSRAM_BYTES);
    memcpy(guest->images[layout].state, guest->state, guest->state_bytes);
}

static void guest_reset(struct guest *guest, uint32_t layout) {
    guest_take_layout(guest, layout);
    memcpy(guest->onchip, guest->images[layout].memory, ONCHIP_BYTES);
    memcpy(guest->psram, guest->images[layout].memory + ONCHIP_BYTES, PSRAM_BYTES);
    memcpy(guest->state, guest->images[layout].state, guest->state_bytes);
}

/* --- the host ----------------------------------------------------------------------------- */

static void host_event(void *context, const struct w800_event *event) {
    (void)context;
    if (event->kind == W800_EVENT_HEAP_FAULT) {
        reports_add(&pair.of_host, &event->fault);
    }
}

static void host_print(void *context, const char *text, size_t length) {
    (void)context;
    reports_print(&pair.of_host, text, length);
}

void fuzz_open(void) {
    const char *folder = getenv("CSKY_PROGRAMS");
    arena_open();
    guests = calloc(PROGRAM_BUILDS, sizeof *guests);
    FUZZ_CHECK(guests != NULL, "out of memory");
    site_handle = wm_heap_port_site(site);
    for (uint32_t i = 0; i < PROGRAM_BUILDS; i++) {
        guest_open(&guests[i], folder != NULL ? folder : FUZZ_CSKY_PROGRAMS, heap_builds[i]->name);
        guest_take_name(&guests[i]);
        for (uint32_t layout = 0; layout < PROGRAM_LAYOUTS; layout++) {
            guest_make_image(&guests[i], layout);
        }
    }
}

/* --- both --------------------------------------------------------------------------------- */

static void check_equal(const char *what, uint32_t host, uint32_t guest) {
    FUZZ_CHECK(host == guest, "%s, call %u: %s is 0x%x on the host, 0x%x on C-SKY", pair.host->name,
               pair.calls, what, host, guest);
}

/* The free bytes of the largest hole, less what a block has around its payload. */
static uint32_t border_of(uint32_t caps) {
    const uint32_t largest = (uint32_t)pair.host->caps_largest_free_block((wm_heap_cap_type_t)caps);
    const uint32_t around = pair.host->header_size + (pair.host->comprehensive ? 4u : 0u);
    check_equal("the largest hole", largest, guest_call(pair.guest, SYMBOL_LARGEST, caps, 0, 0, 0));
    return largest > around ? largest - around : 0;
}

static void got_pointer(uint32_t slot, uint32_t pointer) {
    if (pair.pointers[slot] != 0) {
        pair.stale[slot] = pair.pointers[slot];
    }
    pair.pointers[slot] = pointer;
}

/* ALLOC, REALLOC, CALLOC, ALIGNED. Sizes are what the chip can say. */
static void call_for_memory(const struct program_call *call) {
    const uint32_t size = (uint32_t)program_size(call, border_of(call->caps));
    const wm_heap_cap_type_t caps = (wm_heap_cap_type_t)call->caps;
    const uint32_t old = pair.pointers[call->slot];
    const uint32_t count = (uint32_t)program_count(call);
    const uint32_t alignment = program_alignment(call);
    const void *host;
    uint32_t guest;
    switch (call->kind) {
    case PROGRAM_REALLOC:
        host = pair.host->realloc(w800_pointer(old), size, caps, site, 0);
        guest = guest_call(pair.guest, SYMBOL_REALLOC, old, size, call->caps, site_handle);
        break;
    case PROGRAM_CALLOC:
        host = pair.host->calloc(count, size, caps, site, 0);
        guest = guest_call(pair.guest, SYMBOL_CALLOC, count, size, call->caps, site_handle);
        break;
    case PROGRAM_ALIGNED:
        host = pair.host->aligned_alloc(alignment, size, caps, site, 0);
        guest = guest_call(pair.guest, SYMBOL_ALIGNED, alignment, size, call->caps, site_handle);
        break;
    default:
        host = pair.host->alloc(size, caps, site, (int)pair.calls);
        guest = guest_call(pair.guest, SYMBOL_ALLOC, size, call->caps, site_handle, pair.calls);
    }
    check_equal("the pointer", w800_address(host), guest);
    if (call->kind != PROGRAM_REALLOC || guest != 0 || size == 0) {
        got_pointer(call->slot, guest);
    }
}

static void call_free(uint32_t pointer) {
    pair.host->free(w800_pointer(pointer));
    guest_call(pair.guest, SYMBOL_FREE, pointer, 0, 0, 0);
}

/* The low `bits` of an argument as a number with a sign, two's complement. */
static uint32_t offset_of(uint32_t argument, uint32_t bits) {
    const uint32_t sign = 1u << (bits - 1);
    argument &= 2 * sign - 1;
    return (argument ^ sign) - sign;
}

/* A pointer that is stale, inside a block, anywhere in the arenas, or anywhere. */
static uint32_t bad_pointer(const struct program_call *call) {
    switch (call->mode) {
    case 0:
        return pair.stale[call->slot];
    case 1:
        return pair.pointers[call->slot] + offset_of(call->argument, 16);
    case 2:
        return ARENA_ONCHIP_START + call->argument % ONCHIP_BYTES;
    default:
        return call->argument << 16 | call->argument;
    }
}

static void call_append(const struct program_call *call) {
    const char *name = program_region_name(call);
    const uint32_t address = name != NULL ? pair.guest->symbols[SYMBOL_SCRATCH] : 0;
    memset(pair.guest->scratch, 0, NAME_BYTES);
    if (name != NULL) {
        memcpy(pair.guest->scratch, name, strlen(name));
    }
    check_equal("append's result", (uint32_t)pair.host->append(name),
                guest_call(pair.guest, SYMBOL_APPEND, address, 0, 0, 0));
}

static void call_query(const struct program_call *call) {
    const struct heap_build *host = pair.host;
    const wm_heap_cap_type_t caps = (wm_heap_cap_type_t)call->caps;
    const uint32_t pointer = pair.pointers[call->slot];
    check_equal("the free size", (uint32_t)host->caps_free_size(caps),
                guest_call(pair.guest, SYMBOL_FREE_SIZE, call->caps, 0, 0, 0));
    check_equal("the minimum", (uint32_t)host->caps_minimum_free_size(caps),
                guest_call(pair.guest, SYMBOL_MINIMUM, call->caps, 0, 0, 0));
    check_equal("all free bytes", (uint32_t)host->free_size(),
                guest_call(pair.guest, SYMBOL_TOTAL, 0, 0, 0, 0));
    check_equal("the usable size", (uint32_t)host->usable_size(w800_pointer(pointer)),
                guest_call(pair.guest, SYMBOL_USABLE, pointer, 0, 0, 0));
}

static void check_fault(const char *what, const struct wm_heap_fault *host,
                        const struct wm_heap_fault *guest) {
    static const char *const words[] = {"kind",    "check",    "region", "block", "pointer",
                                        "address", "expected", "actual", "site",  "line"};
    uint32_t of_host[sizeof words / sizeof *words];
    uint32_t of_guest[sizeof words / sizeof *words];
    _Static_assert(sizeof of_host == sizeof *host, "each word has its name");
    memcpy(of_host, host, sizeof of_host);
    memcpy(of_guest, guest, sizeof of_guest);
    for (uint32_t i = 0; i < sizeof words / sizeof *words; i++) {
        FUZZ_CHECK(of_host[i] == of_guest[i],
                   "%s, call %u: %s (%s) has %s 0x%x on the host, 0x%x on C-SKY", pair.host->name,
                   pair.calls, what, pair.host->fault_name(host->kind), words[i], of_host[i],
                   of_guest[i]);
    }
}

static void call_check(void) {
    struct wm_heap_fault host = {0};
    struct wm_heap_fault guest;
    const bool good = pair.host->check(WM_HEAP_NO_REGION, &host);
    const uint32_t answer = guest_call(pair.guest, SYMBOL_CHECK, WM_HEAP_NO_REGION,
                                       pair.guest->symbols[SYMBOL_SCRATCH] + FAULT_AT, 0, 0);
    check_equal("the check's answer", good, answer & 0xffu); /* a bool is a byte */
    memcpy(&guest, pair.guest->scratch + FAULT_AT, sizeof guest);
    if (!good) { /* else it says nothing */
        check_fault("the check's fault", &host, &guest);
    }
}

static void call_other(const struct program_call *call) {
    switch (program_other_of(call)) {
    case PROGRAM_IN_PLACE:
        pair.host->set_realloc_in_place((call->extra & 1u) != 0);
        guest_call(pair.guest, SYMBOL_IN_PLACE, call->extra & 1u, 0, 0, 0);
        break;
    case PROGRAM_STATS:
        pair.host->print_stats();
        guest_call(pair.guest, SYMBOL_STATS, 0, 0, 0, 0);
        break;
    case PROGRAM_TRACING:
        pair.host->print_tracing(NULL);
        guest_call(pair.guest, SYMBOL_TRACING, 0, 0, 0, 0);
        break;
    case PROGRAM_INIT:
        pair.host->init();
        guest_call(pair.guest, SYMBOL_INIT, 0, 0, 0, 0);
        break;
    default:
        call_check();
    }
}

/* Four bytes of the arenas: around a block's begin, or anywhere. */
static void call_smash(const struct program_call *call) {
    const uint32_t pointer = pair.pointers[call->slot];
    uint32_t address = ARENA_ONCHIP_START + call->argument % ONCHIP_BYTES;
    if (pointer != 0 && call->mode < 2) {
        address = pointer + offset_of(call->argument, call->mode == 0 ? 8 : 16);
    } else if (call->mode == 3) {
        address = ARENA_PSRAM_START + call->argument % PSRAM_BYTES;
    }
    for (uint32_t i = 0; i < sizeof call->bytes; i++, address++) {
        if (arena_index(address) == ARENA_BYTES) {
            continue;
        }
        uint8_t *guest = address < ARENA_PSRAM_START
                             ? pair.guest->onchip + (address - ARENA_ONCHIP_START)
                             : pair.guest->psram + (address - ARENA_PSRAM_START);
        *(uint8_t *)w800_pointer(address) = call->bytes[i];
        *guest = call->bytes[i];
    }
}

static void make_call(const struct program_call *call) {
    switch (call->kind) {
    case PROGRAM_FREE:
        call_free(pair.pointers[call->slot]);
        got_pointer(call->slot, 0);
        break;
    case PROGRAM_BAD:
        call_free(bad_pointer(call));
        break;
    case PROGRAM_APPEND:
        call_append(call);
        break;
    case PROGRAM_QUERY:
        call_query(call);
        break;
    case PROGRAM_OTHER:
        call_other(call);
        break;
    case PROGRAM_SMASH:
        call_smash(call);
        break;
    case PROGRAM_FAIL: /* of the simulator */
    case PROGRAM_KIND_COUNT:
        break;
    default:
        call_for_memory(call);
    }
}

static int shown(const struct reports *reports) {
    return (int)(reports->text_length < 400 ? reports->text_length : 400);
}

static void check_reports(void) {
    const struct reports *host = &pair.of_host;
    const struct reports *guest = &pair.of_guest;
    check_equal("the number of faults", host->faults, guest->faults);
    FUZZ_CHECK(host->text_length == guest->text_length && host->text_digest == guest->text_digest,
               "%s, call %u: printed on the host:\n%.*s\non C-SKY:\n%.*s", pair.host->name,
               pair.calls, shown(host), host->text, shown(guest), guest->text);
    for (uint32_t i = 0; i < host->faults && i < REPORTS_MAX; i++) {
        check_fault("a fault", &host->list[i], &guest->list[i]);
    }
    pair.of_host.faults = pair.of_guest.faults = 0;
    pair.of_host.text_length = pair.of_guest.text_length = 0;
    pair.of_host.text_digest = pair.of_guest.text_digest = 0;
}

static void check_bytes(const char *what, const uint8_t *host, const uint8_t *guest, uint32_t bytes,
                        uint32_t base) {
    if (memcmp(host, guest, bytes) == 0) {
        return;
    }
    uint32_t at = 0;
    while (host[at] == guest[at]) {
        at++;
    }
    fuzz_fail(__FILE__, __LINE__,
              "%s, after %u calls: %s at 0x%08x: %02x on the host, %02x on C-SKY", pair.host->name,
              pair.calls, what, base + at, host[at], guest[at]);
}

static void begin(const struct program_head *head) {
    pair = (struct pair){.guest = &guests[head->build], .host = heap_builds[head->build]};
    arena_reset(head);
    guest_reset(pair.guest, head->layout);
    w800_on_event(host_event, NULL);
    w800_on_print(host_print, NULL);
    if (head->in_place) {
        pair.host->set_realloc_in_place(true);
        guest_call(pair.guest, SYMBOL_IN_PLACE, 1, 0, 0, 0);
    }
}

int fuzz_one(const uint8_t *data, size_t size) {
    struct program program;
    struct program_call call;
    const struct program_head head = program_begin(&program, data, size);
    begin(&head);
    while (program_next(&program, &call)) {
        pair.calls++;
        make_call(&call);
        check_reports();
    }
    check_bytes("memory", w800_pointer(ARENA_ONCHIP_START), pair.guest->onchip, ONCHIP_BYTES,
                ARENA_ONCHIP_START);
    check_bytes("memory", w800_pointer(ARENA_PSRAM_START), pair.guest->psram, PSRAM_BYTES,
                ARENA_PSRAM_START);
    check_bytes("the state", (const uint8_t *)pair.host->state, pair.guest->state,
                crosscheck_state_bytes(), 0);
    return 0;
}
