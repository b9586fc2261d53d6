# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# How scripts/defects tries one defect: a copy of the project with its own build, in which only the
# core and what links it is made anew. Sourced after lib.sh by a script that has set $work, $none
# and $seconds.

# Suites that run the core, likely and fast ones first.
readonly suites=(test_fault_names test_routing test_preempt test_lock test_print test_sizes test_core
    test_defects test_coalescing test_debug test_oom test_smash test_random test_golden
    lock_threads test_inject test_dma test_machine test_replay test_recorder test_bounds test_checks
    test_checks_tree)
# Targets that run the core, and how their time is shared out: a short round each, so that what only
# the last one finds need not wait for the others' whole time.
readonly defect_targets=(heap smash threads boot)
readonly rounds=(2 10) # the third ends after all the seconds

# ---- the copy ----

# differing NAME COPY: where a file or folder of the project and its copy differ.
differing() {
    local word from to rest
    LC_ALL=C diff -rq "$1" "$2/$1" | while read -r word from to rest; do
        [[ $word == Files ]] || from=${to%:}/$rest # Only in FOLDER: NAME
        printf '%s\n' "${from#"$2/"}"
    done
}

# copy_sources TREE NAME...: files and folders as they are. Only what differs is written: whenever a
# run ends, that alone is newer than what was made of it.
copy_sources() {
    local copy=${1#"${root:?}/"}/source name file
    shift
    cd "$root" || return
    mkdir -p "$copy"
    for name in "$@"; do
        [[ -e $copy/$name ]] || cp -R "$name" "$copy/"
        for file in $(differing "$name" "$copy"); do
            rm -rf "${copy:?}/$file"
            [[ ! -e $file ]] || cp -R "$file" "$copy/$file"
        done
    done
}

# build_in TREE TARGET...: with little optimisation, which is what most of the time goes into.
build_in() {
    local tree=$1
    shift
    if [[ ! -e $tree/build/build.ninja ]]; then
        run_logged "$tree/configure.log" cmake -S "$tree/source" -B "$tree/build" -G Ninja \
            -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O1 -DW800_WERROR=OFF \
            -DW800_CSKY_CC=/nowhere || return
    fi
    run_logged "$tree/build.log" cmake --build "$tree/build" -j 1 --target "$@"
}

prepare_tree() {
    local entries
    mapfile -t entries < <(cd "$root" && printf '%s\n' * | grep -vx build)
    copy_sources "$1" "${entries[@]}" && build_in "$1" w800sim test_support "${suites[@]}" \
        "${defect_targets[@]/#/fuzz_}"
}

# apply TREE NAME: the core with this defect and no other. False: it does not apply.
apply() {
    local tree=$1 patch=$root/fuzz/defects/$2.patch
    copy_sources "$tree" core
    [[ $2 != "${none:?}" ]] || return 0
    patch -s -p1 -F0 --no-backup-if-mismatch -d "$tree/source" <"$patch"
}

# ---- suites ----

# The test that failed, as Criterion says: "[FAIL] SUITE::TEST: ..." or "[CRASH] ...".
failed_test() {
    sed -nE 's/^\[[^]]*(FAIL|CRASH|TIME)[^]]*\] *([a-z0-9_]+::[a-z0-9_]+).*/\2/p' "$1" | head -n 1
}

# try_suites TREE LOG: prints "SUITE TEST" for the first suite that notices.
try_suites() {
    local tree=$1 log=$2 suite options
    for suite in "${suites[@]}"; do
        options=()
        [[ $suite != test_* ]] || options=(--jobs 1 --fail-fast)
        build_in "$tree" "$suite" || return
        if ! (cd "$tree/source" && NO_COLOR=1 timeout -s KILL 120 "$tree/build/tests/$suite" \
            "${options[@]}" >"$log" 2>&1 </dev/null); then
            printf '%s %s\n' "$suite" "$(failed_test "$log")"
            return
        fi
    done
}

# ---- targets ----

# run_target TREE TARGET SECONDS ARGUMENT...: at most so much of the processor's time. Leaves what
# failed, and how it is repeated, in TREE/run.log, and the seconds in $used. Status 0: it came to its
# end; 1: a finding, or it waits for ever; 2: the time was over.
run_target() {
    local tree=$1 target=$2 limit=$3 status=0
    shift 3
    (
        ulimit -c 0
        ulimit -St "$limit"
        timeout --foreground $((limit * 5 + 30)) "$tree/build/fuzz/fuzz_$target" "$@" \
            >"$tree/run.log" 2>&1 </dev/null || status=$?
        times >"$tree/run.time" # of this shell, then of what it has run: 0m1.234s 0m0.056s
        exit "$status"
    ) 2>/dev/null || status=$?
    used=$(awk -F '[ms ]+' 'NR == 2 { printf "%.2f", $1 * 60 + $2 + $3 * 60 + $4 }' "$tree/run.time")
    [[ $status -eq 0 ]] || status=$((status == 128 + 24 ? 2 : 1)) # SIGXCPU
    return "$status"
}

# number_of FILE: which of the inputs it is, in the order in which they are run.
number_of() {
    {
        find "${inputs[0]}" -type f | LC_ALL=C sort
        printf '%s\n' "${inputs[@]:1}"
    } | grep -nxF "$1" | cut -d : -f 1
}

# try_inputs TREE TARGET: prints "SECONDS EXECUTIONS" if one of the seeds and old findings notices.
try_inputs() {
    local tree=$1 target=$2 file status=0 used=0
    run_target "$tree" "$target" "${seconds:?}" "${inputs[@]}" || status=$?
    if [[ $status -eq 1 ]]; then
        file=$(sed -n 's/^to repeat: [^ ]* //p' "$tree/run.log" | tail -n 1)
        printf '%s %d\n' "$used" "$(number_of "$file")"
    fi
}

# try_seeded TREE TARGET FIRST LIMIT: runs of seeds from FIRST on. Prints "found SECONDS SEED" of the
# one that notices, or "over SECONDS SEED" of the last one when the time is over.
try_seeded() {
    local tree=$1 target=$2 first=$3 limit=$4 used=0 word=found seed status=0
    run_target "$tree" "$target" "$limit" --seed "$first" --runs 1000000000 "${inputs[@]}" ||
        status=$?
    [[ $status -eq 1 ]] || word=over
    seed=$(sed -nE 's/^to repeat: .*--seed ([0-9]+) .*/\1/p' "$tree/run.log" | tail -n 1)
    printf '%s %s %d\n' "$word" "$used" "${seed:-$first}"
}

# inputs_of TARGET: into $inputs: the seeds' folder, and the old findings.
inputs_of() {
    mapfile -t inputs < <(
        printf '%s\n' "${root:?}/fuzz/seeds/$1"
        compgen -G "$root/fuzz/regressions/$1-*" || true
    )
}

# sum A B: of decimal numbers.
sum() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f\n", a + b }'; }

# try_targets TREE NAME: prints "TARGET SECONDS EXECUTIONS" for the first that notices: with an input
# as it is, else with what the target's own mutator makes of them.
try_targets() {
    local tree=$1 target found end begin=0 limit inputs word used seed
    local -A spent=() runs=()
    for target in "${defect_targets[@]}"; do
        build_in "$tree" "fuzz_$target" || return
        inputs_of "$target"
        found=$(try_inputs "$tree" "$target") || return
        if [[ -n $found ]]; then
            printf '%s %s\n' "$target" "$found"
            return
        fi
        spent[$target]=0 runs[$target]=0
    done
    for end in "${rounds[@]}" "$seconds"; do
        limit=$(((end < seconds ? end : seconds) - begin))
        begin=$((begin + limit))
        [[ $limit -gt 0 ]] || continue
        for target in "${defect_targets[@]}"; do
            inputs_of "$target"
            read -r word used seed < <(try_seeded "$tree" "$target" "$((runs[$target] + 1))" "$limit")
            spent[$target]=$(sum "${spent[$target]}" "$used")
            runs[$target]=$seed
            if [[ $word == found ]]; then
                printf '%s %s %d\n' "$target" "${spent[$target]}" "$seed"
                return
            fi
        done
        [[ $2 != "$none" ]] || return 0
    done
}

# ---- one defect ----

# result NAME APPLIES WHY SUITE TEST TARGET SECONDS EXECUTIONS
result() {
    local description='' file=${work:?}/results/$1.json
    [[ $1 == "$none" ]] || description=$(head -n 1 "$root/fuzz/defects/$1.patch")
    jq -n --arg name "$1" --arg description "$description" --argjson applies "$2" \
        --arg why "$3" --arg suite "$4" --arg test "$5" --arg target "$6" --arg seconds "$7" \
        --arg executions "$8" '
      def word: if . == "" then null else . end;
      {$name, $description, $applies, why: ($why | word), suite: ($suite | word),
       test: ($test | word), target: ($target | word), seconds: ($seconds | word | tonumber? // null),
       executions: ($executions | word | tonumber? // null)}' >"$file.new" && mv "$file.new" "$file"
}

# try_defect TREE NAME: leaves results/NAME.json, and in NAME.log what the suite says.
try_defect() {
    local tree=$1 name=$2 log=${work:?}/results/$2.log caught
    local suite='' test='' target='' time='' executions=''
    if ! apply "$tree" "$name" >"$log" 2>&1; then
        result "$name" false 'no longer applies' '' '' '' '' ''
    elif ! build_in "$tree" "${suites[0]}" "fuzz_${defect_targets[0]}" >"$log" 2>&1; then
        result "$name" false 'does not compile' '' '' '' '' ''
    else
        caught=$(try_suites "$tree" "$log") || return
        read -r suite test <<<"$caught"
        caught=$(try_targets "$tree" "$name") || return
        read -r target time executions <<<"$caught"
        result "$name" true '' "$suite" "$test" "$target" "$time" "$executions"
    fi
}
