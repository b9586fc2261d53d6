# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What runs C-SKY programs, and how to ask it for the instructions it executed. Sourced.
# csky-run is $CSKY_RUN, else on the PATH; QEMU is $QEMU_CSKY, else qemu-cskyv2; its
# instruction counter $QEMU_CSKY_PLUGIN, else found beside QEMU.

qemu=${QEMU_CSKY:-qemu-cskyv2}
csky_run=${CSKY_RUN:-csky-run}

skip() {
    echo "skipped: $*"
    exit 77
}

need_qemu() {
    command -v "$qemu" >/dev/null ||
        skip 'no qemu-cskyv2 here: put the chip vendor'"'"'s QEMU on the PATH, or name it by QEMU_CSKY'
}

# run ENGINE PROGRAM INPUT: prints what it prints; fails as it does.
run() {
    case $1 in
    csky-run) "$csky_run" "$2" <<<"$3" ;;
    qemu) "$qemu" -cpu ck804ef "$2" <<<"$3" ;;
    esac
}

# Prints where QEMU's instruction counter is, or fails.
plugin() {
    local program directory candidate
    program=$(readlink -f "$(command -v "$qemu")") || return
    directory=${program%/*}
    for candidate in "${QEMU_CSKY_PLUGIN:-}" \
        "$directory"/{,plugins/,tests/plugin/,tests/tcg/plugins/}libinsn.so \
        "$directory"/../lib/qemu/{,plugins/}libinsn.so; do
        if [[ -f $candidate ]]; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# count ENGINE PROGRAM INPUT: the instructions executed, or nothing.
count() {
    case $1 in
    csky-run)
        "$csky_run" --stats "$2" <<<"$3" 2>&1 >/dev/null |
            sed -nE 's/^ *([0-9]+) .* in all$/\1/p'
        ;;
    qemu)
        "$qemu" -cpu ck804ef -d plugin -plugin "$(plugin)" "$2" <<<"$3" 2>&1 >/dev/null |
            sed -nE 's/.*insns: *([0-9]+).*/\1/p'
        ;;
    esac
}
