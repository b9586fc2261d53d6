# SPDX-License-Identifier: Apache-2.0
#
# The rules of tests/test_rules: awk -f rules.awk SOURCE... prints FILE:LINE: what breaks one. The
# sources are all there are, named from the top folder.

BEGIN {
    screen = 70
    head = 650
    # What C11 promises without a library (4.6), and no more.
    split("float.h iso646.h limits.h stdalign.h stdarg.h stdbool.h stddef.h stdint.h stdnoreturn.h", list)
    for (i in list) {
        freestanding["<" list[i] ">"] = 1
    }
    # The port's header, which takes the place of the SDK's, needs these of its.
    of_the_sdk["wm_error.h"] = of_the_sdk["wmsdk_config.h"] = 1
    for (i = 1; i < ARGC; i++) {
        exists[ARGV[i]] = 1
    }
}

FNR == 1 {
    end_file()
    file = FILENAME
    folder = substr(file, 1, index(file, "/") - 1)
    is_c = file ~ /\.([ch]|def)$/
    licensed = 0
    start = 0
}

FNR <= 3 && /SPDX-License-Identifier: Apache-2.0/ { licensed = 1 }

{ last = FNR }

# --- layers ---

is_c && /^ *# *include *[<"]/ {
    name = $0
    sub(/^ *# *include */, "", name)
    name = substr(name, 1, 1 + index(substr(name, 2), substr(name, 1, 1) == "<" ? ">" : "\""))
    if (name ~ /^</) {
        if (folder == "core" && !(name in freestanding)) {
            complain(FNR, "the core includes " name ", which no chip has")
        }
    } else {
        check_own(substr(name, 2, length(name) - 2))
    }
}

function check_own(name,    target) {
    target = resolve(name)
    if (target == "") {
        if (folder != "tests" && !(file ~ /^core\/port\// && name in of_the_sdk)) {
            complain(FNR, "includes \"" name "\", which is nowhere")
        }
    } else if (!may_include(substr(target, 1, index(target, "/") - 1))) {
        complain(FNR, folder " includes " target ": includes point to sim and core")
    }
}

function resolve(name,    own) {
    own = normal(substr(file, 1, match(file, /[^\/]*$/) - 1) name)
    if (own in exists) {
        return own
    }
    if (("core/" name) in exists) {
        return "core/" name
    }
    return ("sim/" name) in exists ? "sim/" name : ""
}

# "sim/../core/a.h" is "core/a.h".
function normal(path) {
    while (match(path, /[^\/.]+\/\.\.\//)) {
        path = substr(path, 1, RSTART - 1) substr(path, RSTART + RLENGTH)
    }
    return path
}

function may_include(to) {
    return to == "core" || (folder != "core" && (to == folder || to == "sim" || \
        (folder == "tests" && to == "bench")))
}

# --- sizes ---

# A function's first line begins in the first column, its last line is a brace there; what has "="
# before its brace is a table. A reason is asked of who wants to be let off.
/NOLINTNEXTLINE\(readability-function-size\): [a-z]/ { let_off = FNR + 1 }

/^[A-Za-z_]/ && start == 0 { start = FNR }

start > 0 && !opened {
    if (/[{]$/) {
        opened = 1
    } else if (/[;=}]$/ || /^#/ || /^$/) {
        start = 0
    }
    if (/=/) {
        start = opened = 0
    }
}

/^}/ {
    if (opened && FNR - start + 1 > screen && start != let_off) {
        complain(start, "a function of " FNR - start + 1 " lines: " screen " fit a screen")
    }
    start = opened = 0
}

function end_file() {
    if (file == "") {
        return
    }
    if (last > head) {
        complain(last, "a file of " last " lines: " head " fit a head")
    }
    if (!licensed) {
        complain(1, "does not name its licence")
    }
    opened = 0
}

function complain(line, what) {
    printf "%s:%d: %s\n", file, line, what
}

END { end_file() }
