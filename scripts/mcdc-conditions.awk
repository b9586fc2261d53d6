# SPDX-License-Identifier: Apache-2.0
#
# Reads what `llvm-cov show -show-mcdc` prints of programs that hold a source several times, and
# writes a line for each condition of each decision:
#
#     FILE <tab> LINE <tab> COLUMN of the condition <tab> shown, missing or folded
#
# A decision is compiled once for each build of the core, and an inline function's once more for
# each file that uses it. Here it is one decision, and its test vectors are all that were executed
# anywhere: a condition is shown to matter by two of them that differ in it and in the result, and
# in no other condition that was evaluated in both. Folded: constant wherever it is compiled.
#
# -v links=FOLDER: the core is FOLDER/core_BUILD there, and becomes core/ again.

/^\// { # "/path/file.c:" begins a file
    file = $0
    sub(/:$/, "", file)
    if (substr(file, 1, length(links) + 1) == links "/") {
        file = substr(file, length(links) + 2)
        sub(/^[^\/]*/, "core", file)
    }
    next
}

{ sub(/^[ |]*/, "") }

/^---> MC\/DC Decision Region/ {
    decision = file SUBSEP $5 $7
    if (!(decision in conditions)) {
        order[++decisions] = decision
        file_of[decision] = file
        conditions[decision] = 0
    }
    next
}

/^Condition C[0-9]+ --> \(/ {
    number = substr($2, 2) + 0
    split(substr($4, 2), place, /[:)]/)
    line[decision, number] = place[1]
    column[decision, number] = place[2]
    if (number > conditions[decision]) {
        conditions[decision] = number
    }
    next
}

# "1 { T,  F, -  = F      }"
/^[0-9]+ \{ / {
    vector = $0
    gsub(/^[0-9]+ \{|[ ,}]/, "", vector)
    if (!((decision, vector) in known)) {
        known[decision, vector] = 1
        vectors[decision, ++count[decision]] = vector
    }
    next
}

/^C[0-9]+-Pair: / && !/constant folded/ {
    split($1, part, /[C-]/)
    varies[decision, part[2] + 0] = 1
}

# Do two vectors, "TF-=F", show that this condition matters?
function is_pair(a, b, condition, all,    i, x, y) {
    if (substr(a, all + 2) == substr(b, all + 2)) {
        return 0
    }
    for (i = 1; i <= all; i++) {
        x = substr(a, i, 1)
        y = substr(b, i, 1)
        if ((x y) ~ /[-C]/) {
            if (i == condition) {
                return 0
            }
        } else if ((x != y) != (i == condition)) {
            return 0
        }
    }
    return 1
}

function is_shown(decision, condition,    i, j) {
    for (i = 1; i <= count[decision]; i++) {
        for (j = i + 1; j <= count[decision]; j++) {
            if (is_pair(vectors[decision, i], vectors[decision, j], condition, conditions[decision])) {
                return 1
            }
        }
    }
    return 0
}

END {
    for (i = 1; i <= decisions; i++) {
        decision = order[i]
        for (c = 1; c <= conditions[decision]; c++) {
            state = !((decision, c) in varies) ? "folded" : is_shown(decision, c) ? "shown" : "missing"
            printf "%s\t%d\t%d\t%s\n", file_of[decision], line[decision, c], column[decision, c], state
        }
    }
}
