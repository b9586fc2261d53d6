# SPDX-License-Identifier: Apache-2.0
#
# Worst stack depth of C-SKY functions: objdump -d PROGRAM | awk -v roots="F G" -f this
#
# A frame is what the function's instructions take from the stack pointer (push, subi), as if
# all were executed: an upper bound, exact where there is one prologue. A call adds the deepest
# callee's depth, a jump to another function replaces the frame. A call through a pointer may
# reach any function whose address is a word of the program; "*" marks who makes one, as what
# others pass in comes on top. Prints for each root its depth in bytes, its name, and the
# deepest chain with each frame. Recursion and frames of variable size end it with exit status 1.

# Functions are told apart by address: static ones share names.
/^[0-9a-f]+ <.*>:$/ {
    here = $1
    sub(/^0+/, "", here)
    name[here] = substr($2, 2, length($2) - 3)
    start[name[here]] = here
    frame[here] = 0
    calls[here] = ""
    next
}

/^ *[0-9a-f]+:\t/ {
    split($0, part, "\t")
    operation = part[3]
    operands = part[4]
    sub(/ +$/, "", operation)
    if (operation == "push") {
        frame[here] += 4 * registers(operands)
    } else if (operation == "subi" && operands ~ /^r14, (r14, )?[0-9]+$/) {
        sub(/.*, /, "", operands)
        frame[here] += operands
    } else if (operation ~ /^(subu|subi|mov)$/ && operands ~ /^r14,/ && operands !~ /^r14, r8$/) {
        fail(name[here] ": its frame's size is not constant: " operation " " operands)
    } else if (operation == "jsr" || (operation == "jmp" && operands != "r15")) {
        indirect[here] = "*"
    } else if (operation == ".long") {
        sub(/^0x0*/, "", operands)
        words[operands] = 1
    } else if (match($0, /\/\/ [0-9a-f]+ </)) {
        target = substr($0, RSTART + 3, RLENGTH - 5)
        if (operation == "bsr" || operation == "jsri") {
            calls[here] = calls[here] " +" target
        } else if (operation ~ /^b|^jmpi/) {
            calls[here] = calls[here] " =" target
        }
    }
}

END {
    for (word in words) {
        if (word in frame) {
            pointed = pointed " @" word
        }
    }
    count = split(roots, root, " ")
    for (i = 1; i <= count; i++) {
        if (!(root[i] in start)) {
            fail("there is no function " root[i])
        }
        bytes = depth(start[root[i]])
        printf "%d %s %s\n", bytes, root[i], chain(start[root[i]])
    }
}

# "r4-r6, r15" is 4.
function registers(list, words, ends, n, i, sum) {
    n = split(list, words, /, */)
    for (i = 1; i <= n; i++) {
        gsub(/r/, "", words[i])
        sum += split(words[i], ends, "-") == 2 ? ends[2] - ends[1] + 1 : 1
    }
    return sum
}

function depth(f, list, n, i, way, target, below, bytes) {
    if (f in worst) {
        return worst[f]
    }
    if (f in busy) {
        fail("recursion through " name[f])
    }
    busy[f] = 1
    worst_callee[f] = ""
    bytes = frame[f]
    n = split(calls[f] (indirect[f] ? pointed : ""), list, " ")
    for (i = 1; i <= n; i++) {
        way = substr(list[i], 1, 1)
        target = substr(list[i], 2)
        # a branch within the function, or a pointer that cannot be meant
        if (!(target in frame) || (way == "=" && target == f) || (way == "@" && target in busy)) {
            continue
        }
        below = depth(target) + (way != "=" || name[target] ~ /\.cold/ ? frame[f] : 0)
        if (below > bytes) {
            bytes = below
            worst_callee[f] = target
        }
    }
    delete busy[f]
    worst[f] = bytes
    return bytes
}

function chain(f, text) {
    text = name[f] indirect[f] " " frame[f]
    return worst_callee[f] == "" ? text : text " > " chain(worst_callee[f])
}

function fail(message) {
    print "stack depth: " message | "cat >&2"
    failed = 1
    exit 1
}
