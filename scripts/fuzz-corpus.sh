# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The instrumented targets and their corpora, which outlive campaigns: build/fuzz/variants/ and
# build/fuzz/TARGET/corpus. Sourced after lib.sh and afl.sh by a script that has set $work to
# build/fuzz.

# ---- building ----

# variant NAME SETTING=VALUE...: the targets as afl-clang-fast makes them with these settings; C-SKY
# programs, if there are any, are the ordinary build's.
variant() {
    local name=$1
    shift
    [[ -e ${work:?}/variants/$name/fuzz/fuzz_empty ]] || say "building the $name variant"
    afl_build "${root:?}" "$work/variants/$name" fuzz_targets "$@" -- -DW800_TESTS=OFF \
        "-DW800_CSKY_PROGRAMS=$root/build/release/csky"
}

# The ordinary build reproduces findings without any fuzzer, and holds the mutators.
build_all() {
    build release fuzz_targets && build release fuzz_mutators && build release wmheap &&
        variant plain && variant cmplog AFL_LLVM_CMPLOG=1 &&
        variant asan AFL_USE_ASAN=1 AFL_USE_UBSAN=1
}

# ---- corpora ----

# What every campaign begins with: seeds, old findings.
first_inputs() {
    local file
    for file in "$root/fuzz/seeds/$1"/* "$root/fuzz/regressions/$1"-*; do
        [[ ! -f $file ]] || printf '%s\0' "$file"
    done
}

# All that is known for a target, into a folder: the corpus, too, and what a campaign has left.
gather() {
    local target=$1 into=$2 file
    mkdir -p "$into"
    {
        first_inputs "$target"
        for file in "$work/$target/corpus"{,.old}/* "$work/$target/sync"/*/queue/id*; do
            [[ ! -f $file ]] || printf '%s\0' "$file"
        done
    } | xargs -0 -r cp --backup=numbered -t "$into"
    if [[ -z $(ls -A "$into") ]]; then
        printf 'seed' >"$into/seed"
    fi
}

# Names are contents: what is found twice is one file.
name_by_content() {
    local sum file
    rm -rf "$1.named"
    mkdir "$1.named"
    (cd "$1" && sha1sum -- *) | while read -r sum file; do
        mv "$1/$file" "$1.named/${sum:0:16}"
    done
    rmdir "$1"
    mv "$1.named" "$1"
}

# fewest TARGET FROM TO [OPTION]: the fewest inputs of a folder that cover what all cover; with -e
# for afl-cmin, how often does not count. False: afl-cmin refuses them (a crash is among them, say).
# A trap ends it too: that is why it runs in the background.
fewest() {
    local target=$1 from=$2 to=$3 pid
    shift 3
    rm -rf "$to"
    AFL_ALLOW_TMP=1 setpriv --pdeathsig TERM timeout 600 afl-cmin "$@" -i "$from" -o "$to" -t 2000 \
        -m none -- "$work/variants/plain/fuzz/fuzz_$target" >"$work/$target/cmin.log" 2>&1 \
        </dev/null &
    pid=$!
    if ! wait "$pid"; then
        kill "$pid" 2>/dev/null || true
        return 1
    fi
    [[ -n $(ls -A "$to") ]]
}

# minimise TARGET: its corpus, with what a campaign has left. What cannot be minimised stays as it
# is.
minimise() {
    local target=$1 all=$work/$1/gathered new=$work/$1/corpus.new
    rm -rf "$all"
    gather "$target" "$all"
    if ! fewest "$target" "$all" "$new"; then
        rm -rf "$new"
        mv "$all" "$new"
    fi
    name_by_content "$new"
    if [[ -d $work/$target/corpus ]]; then # at each moment one of both is there
        rm -rf "$work/$target/corpus.old"
        mv "$work/$target/corpus" "$work/$target/corpus.old"
    fi
    mv "$new" "$work/$target/corpus"
    rm -rf "$all" "$work/$target/corpus.old"
    [[ ! -d $work/$target/sync ]] || touch "$work/$target/sync/in-corpus"
}

# The corpus to begin with. What a campaign that was killed has left goes into it first.
prepare() {
    local target=$1 sync=$work/$1/sync
    if [[ ! -d $work/$target/corpus || (-d $sync && ! -e $sync/in-corpus) ]]; then
        minimise "$target"
    else
        first_inputs "$target" | xargs -0 -r cp -n -t "$work/$target/corpus"
    fi
    rm -rf "$sync"
}
