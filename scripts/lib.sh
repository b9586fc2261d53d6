# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the scripts share. Sourced, not run. Their habits: they work from any directory,
# say little, say it on standard error when standard output belongs to a program, and
# use colour only on a terminal, never with NO_COLOR set.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
me=scripts/$(basename "$0")

bold='' plain=''
if [[ -t 2 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    bold=$'\e[1m' plain=$'\e[0m'
fi

# A step that takes a while, announced to whoever watches.
say() {
    printf '%s%s%s\n' "$bold" "$*" "$plain" >&2
}

# One clear line, and exit status 2: nothing was tried.
die() {
    printf '%s: %s\n' "$me" "$*" >&2
    exit 2
}

# Prints the comment that opens the calling script, from its third line to the first line
# that is no comment: the help text is the documentation.
print_help() {
    sed -n '3,/^[^#]/{s/^# \{0,1\}//p}' "$0"
}

# number OPTION VALUE...: the value, if it is a number that makes sense.
number() {
    [[ ${2:-} =~ ^[1-9][0-9]{0,6}$ ]] || die "$1 needs a number from 1 to 9999999"
    printf '%s\n' "$2"
}

# run_logged LOG COMMAND...: quiet if it succeeds; on failure the whole log, and its path.
run_logged() {
    local log=$1
    shift
    mkdir -p "$(dirname "$log")"
    if ! "$@" >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        printf '%s: failed: %s\n  (in %s; this log is %s)\n' "$me" "$*" "$PWD" "$log" >&2
        return 1
    fi
}

# build PRESET [TARGET]: configures at the first time, then builds; Ninja configures anew by
# itself when the CMake files change. Made to be called as `build ... || ...`, hence the
# explicit returns.
build() {
    local preset=$1 target=${2:-all} directory=$root/build/$1
    cd "$root" || return
    if [[ ! -e $directory/build.ninja ]]; then
        say "configuring $preset"
        run_logged "$directory/configure.log" cmake --preset "$preset" || return
    fi
    if [[ ! -e $directory/build.log ]]; then
        say "building $preset"
    fi
    run_logged "$directory/build.log" cmake --build --preset "$preset" --target "$target"
}

# The sources of the core, from the list that CMake builds it from.
core_sources() {
    sed -n '/^set(CORE_SOURCES/,/)/p' "${root:?}/CMakeLists.txt" | grep -oE 'core/[a-z_0-9]+\.c'
}
