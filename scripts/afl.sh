# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# AFL++, for the scripts that use it: how targets are built for it, and how one afl-fuzz is
# started. Sourced after lib.sh and packages.sh.

# shellcheck disable=SC2034 # install_missing's
readonly afl_dependencies='
afl++   command afl-fuzz    drives the campaigns
clang   command clang       compiles the instrumented variants
jq      command jq          writes the machine-readable summaries
'

# What every afl-fuzz here is told. The calibration of each new input has three rounds: with
# targets that are deterministic to the byte, more would tell nothing.
readonly afl_settings=(AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1
    AFL_NO_AFFINITY=1 AFL_NO_UI=1 AFL_CMPLOG_ONLY_NEW=1 AFL_TESTCACHE_SIZE=100 AFL_FAST_CAL=1
    AFL_IGNORE_UNKNOWN_ENVS=1 AFL_IGNORE_SEED_PROBLEMS=1
    ASAN_OPTIONS=abort_on_error=1:symbolize=0:detect_leaks=0
    UBSAN_OPTIONS=abort_on_error=1:symbolize=0:halt_on_error=1)

# One number for what decides how code is instrumented, besides the code.
instrumentation_of() {
    cksum <"$1/fuzz/uninstrumented.txt"
}

# afl_build SOURCE BUILD TARGET SETTING=VALUE... -- CMAKE_OPTION...: a target of the project in
# SOURCE as afl-clang-fast makes it with these settings, in the folder BUILD. Configures anew if
# the options have changed, compiles anew if the list of what is not instrumented has.
afl_build() {
    local source=$1 directory=$2 target=$3 settings=() options
    shift 3
    while [[ $1 != -- ]]; do
        settings+=("$1")
        shift
    done
    shift
    settings+=(AFL_QUIET=1 "AFL_LLVM_DENYLIST=$source/fuzz/uninstrumented.txt" CC=afl-clang-fast)
    options="$(instrumentation_of "$source") $*"
    if [[ ! -e $directory/build.ninja || $(cat "$directory/afl-options" 2>/dev/null) != "$options" ]]; then
        run_logged "$directory/configure.log" env "${settings[@]}" cmake -S "$source" \
            -B "$directory" -G Ninja -DCMAKE_BUILD_TYPE=Release \
            '-DCMAKE_C_FLAGS_RELEASE=-O2 -g' -DW800_WERROR=OFF "$@" || return
        run_logged "$directory/build.log" cmake --build "$directory" --target clean || return
        printf '%s\n' "$options" >"$directory/afl-options"
    fi
    run_logged "$directory/build.log" env "${settings[@]}" cmake --build "$directory" \
        --target "$target"
}

# The library that mutates a target's programs call by call; nothing for the other targets.
mutator_of() {
    case $1 in
    heap | smash | csky_heap) printf '%s\n' "${root:?}/build/release/fuzz/mutator_program.so" ;;
    threads) printf '%s\n' "$root/build/release/fuzz/mutator_threads.so" ;;
    esac
}

# The processors that this process may use, as numbers.
processors() {
    local part
    for part in $(taskset -cp $$ | sed 's/.*: //; s/,/ /g'); do
        seq "${part%-*}" "${part#*-}"
    done
}

# afl_start PROCESSOR TARGET SYNC LOG SETTING=VALUE... -- ARGUMENT...: an afl-fuzz in the
# background, its number in $afl_pid. It stays on one processor together with its target, which
# saves half of a run's price, and ends with this script, however that ends.
afl_start() {
    local processor=$1 target=$2 sync=$3 log=$4 settings=() mutator options=()
    shift 4
    while [[ $1 != -- ]]; do
        settings+=("$1")
        shift
    done
    shift
    mutator=$(mutator_of "$target")
    if [[ -n $mutator ]]; then
        settings+=("AFL_CUSTOM_MUTATOR_LIBRARY=$mutator")
        options+=(-G 384) # 64 calls on average: more of them cost more than they find
    fi
    if [[ -f $root/fuzz/dictionaries/$target.dict ]]; then
        options+=(-x "$root/fuzz/dictionaries/$target.dict")
    fi
    setsid setpriv --pdeathsig INT taskset -c "$processor" env "${afl_settings[@]}" \
        ${settings[@]+"${settings[@]}"} afl-fuzz -o "$sync" -t 1000 -m none \
        ${options[@]+"${options[@]}"} "$@" >>"$log" 2>&1 </dev/null &
    afl_pid=$!
}

# stat_of FOLDER KEY: a value of the statistics that afl-fuzz keeps in its folder; nothing if it is
# not there.
stat_of() {
    sed -n "s/^$2 *: //p" "$1/fuzzer_stats" 2>/dev/null | head -n 1 || true
}
