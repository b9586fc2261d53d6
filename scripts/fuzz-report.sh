# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What scripts/fuzz makes of a campaign: findings told apart, minimised and written down, and
# a summary for people (Markdown), for test reports (JUnit) and for code scanners (SARIF).
# Sourced after lib.sh by a script that has set $work, and $jobs before report_end.

# One line a finding: target, tab, key, tab, kind, tab, file, tab, command.
findings=''
rows='' cases='' found=0

report_begin() {
    mkdir -p "${work:?}"
    findings=$work/findings.tsv
    : >"$findings"
}

# stat_of TARGET JOB KEY: a value of afl-fuzz's own statistics.
stat_of() {
    sed -n "s/^$3 *: //p" "$work/$1/sync/$2/fuzzer_stats" 2>/dev/null | head -n 1
}

# ---- telling findings apart ----

# run_input VARIANT TARGET FILE: what the target says of an input, on standard output.
run_input() {
    local program=$work/variants/$1/fuzz/fuzz_$2
    [[ $1 != release ]] || program=${root:?}/build/release/fuzz/fuzz_$2
    ASAN_OPTIONS=abort_on_error=1:detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
        timeout -s KILL 10 "$program" "$3" 2>&1 >/dev/null </dev/null
}

# fault_of VARIANT TARGET FILE: the line that failed, as a key; nothing if none does. A target's
# own word, or a sanitizer's, or the signal.
fault_of() {
    local text status=0 key
    text=$(run_input "$@") || status=$?
    if [[ $status -eq 0 ]]; then
        return
    fi
    key=$(sed -n 's/^fuzz [^:]*: \([^ :]*:[0-9]*\): .*/\1/p' <<<"$text" | head -n 1)
    if [[ -z $key ]]; then
        key=$(sed -nE 's/^SUMMARY: [A-Za-z]+: ([a-z-]+) .*\/([^/ ]+:[0-9]+).*/\1 \2/p' <<<"$text" |
            head -n 1)
    fi
    if [[ -z $key ]]; then
        key=$(sed -nE 's/^.*\/([^/]+:[0-9]+):[0-9]+: runtime error: .*/\1/p' <<<"$text" | head -n 1)
    fi
    if [[ -z $key ]]; then
        [[ $status -eq 137 ]] && key=hang || key="status $status"
    fi
    printf '%s\n' "$key"
}

# smallest FILE...: by size.
smallest() {
    local file
    for file in "$@"; do
        printf '%d %s\n' "$(wc -c <"$file")" "$file"
    done | sort -n | cut -d ' ' -f 2-
}

# shrink VARIANT TARGET KEY FROM TO: afl-tmin, unless what it leaves fails elsewhere.
shrink() {
    cp "$4" "$5"
    if AFL_TMIN_EXACT=1 ASAN_OPTIONS=abort_on_error=1:symbolize=0:detect_leaks=0 \
        timeout 60 afl-tmin -i "$4" -o "$5.min" -t 2000 -m none -- "$work/variants/$1/fuzz/fuzz_$2" \
        >/dev/null 2>&1 </dev/null &&
        [[ $(fault_of "$1" "$2" "$5.min") == "$3" ]]; then
        mv "$5.min" "$5"
    fi
    rm -f "$5.min"
}

# command_for VARIANT TARGET FILE: what reproduces it. A text trace, where the target can write
# one and a replay of it fails too; else the input itself.
command_for() {
    local program=build/release/fuzz/fuzz_$2 trace=$3.trace status=0
    [[ $1 == release || $1 == plain ]] || program=build/fuzz/variants/$1/fuzz/fuzz_$2
    timeout 10 "$root/build/release/fuzz/fuzz_$2" --explain "$3" >"$trace" 2>/dev/null </dev/null ||
        true
    timeout 10 "$root/build/release/bin/wmheap" replay "$trace" >/dev/null 2>&1 || status=$?
    if [[ -s $trace && $status -eq 1 ]] && grep -q mismatch <(
        "$root/build/release/bin/wmheap" replay "$trace" 2>&1 | grep -v ' 0 mismatches'
    ); then
        printf 'build/release/bin/wmheap replay %s\n' "${trace#"$root/"}"
    else
        [[ -s $trace ]] || rm -f "$trace"
        printf '%s %s\n' "$program" "${3#"$root/"}"
    fi
}

# triage TARGET: one finding for each key, from all jobs' crashes and hangs.
triage() {
    local target=$1 file key variant kind name seen=$'\n' into=$work/$1/findings command files
    mapfile -t files < <(compgen -G "$work/$target/sync/*/crashes/id*" || true
        compgen -G "$work/$target/sync/*/hangs/id*" || true)
    [[ ${#files[@]} -eq 0 ]] || mapfile -t files < <(smallest "${files[@]}")
    rm -rf "$into"
    for file in ${files[@]+"${files[@]}"}; do
        for variant in release plain asan; do
            key=$(fault_of "$variant" "$target" "$file")
            [[ -z $key ]] || break
        done
        key=${key:-does not repeat alone}
        [[ $seen != *$'\n'$key$'\n'* ]] || continue
        seen+=$key$'\n'
        kind=crash
        [[ $key != hang ]] || kind=hang
        mkdir -p "$into"
        name=$into/$(tr -c 'a-zA-Z0-9.\n' '-' <<<"$key")
        if [[ $kind == crash && $key != 'does not repeat alone' ]]; then
            shrink "$([[ $variant == asan ]] && echo asan || echo plain)" "$target" "$key" "$file" "$name"
        else
            cp "$file" "$name"
        fi
        command=$(command_for "$variant" "$target" "$name")
        printf '%s\t%s\t%s\t%s\t%s\n' "$target" "$key" "$kind" "${name#"$root/"}" "$command" \
            >>"$findings"
        say "$target: $kind, $key"
        printf '  %s\n' "$command" >&2
    done
}

# ---- the summary ----

xml() { jq -Rrs '@html' <<<"$1" | sed '/^$/d'; }

report_target() {
    local target=$1 job execs=0 speed ceiling corpus failures='' line=0 key kind file command
    for job in "$work/$target/sync"/*/; do
        execs=$((execs + $(stat_of "$target" "$(basename "$job")" execs_done || echo 0)))
    done
    speed=$(stat_of "$target" job0 execs_per_sec)
    ceiling=$(stat_of empty job0 execs_per_sec)
    corpus=$(find "$work/$target/corpus" -type f | wc -l)
    while IFS=$'\t' read -r _ key kind file command; do
        line=$((line + 1))
        failures+="<failure message=\"$(xml "$kind: $key")\">$(xml "$command")</failure>"
    done < <(grep -P "^$target\t" "$findings" || true)
    found=$((found + line))
    rows+="| $target | $execs | ${speed%.*} | $(ratio "$speed" "$ceiling") | "
    rows+="$(stat_of "$target" job0 stability) | $(stat_of "$target" job0 edges_found) | "
    rows+="$corpus | $line |"$'\n'
    cases+="  <testcase classname=\"fuzz\" name=\"$target\" "
    cases+="time=\"$(stat_of "$target" job0 run_time)\">$failures</testcase>"$'\n'
}

# ratio A B: A as a share of B.
ratio() {
    awk -v a="${1:-0}" -v b="${2:-0}" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }'
}

summary_markdown() {
    local target key kind file command ceiling
    ceiling=$(stat_of empty job0 execs_per_sec)
    printf '# Fuzzing\n\n%d jobs. Executions a second are those of the first job, on one processor;\n' \
        "${jobs:?}"
    printf 'a target that does nothing reaches %s there, and "share" is the part of it.\n\n' \
        "${ceiling%.*}"
    printf '| target | executions | a second | share | stability | edges | corpus | findings |\n'
    printf '|---|---|---|---|---|---|---|---|\n%s' "$rows"
    if [[ -s $findings ]]; then
        printf '\n## Findings\n'
        while IFS=$'\t' read -r target key kind file command; do
            printf '\n%s: %s, %s (%s)\n\n    %s\n' "$target" "$kind" "$key" "$file" "$command"
        done <"$findings"
        printf '\nWhat is fixed is kept: copy its file to fuzz/regressions/TARGET-WHAT.\n'
    fi
}

summary_sarif() {
    jq -Rn '[inputs | split("\t") | {
        ruleId: (.[0] + "/" + .[2]), level: "error",
        message: {text: (.[1] + "; to reproduce: " + .[4])},
        locations: [{physicalLocation: {artifactLocation: {uri: .[3]}}}]}] |
      {version: "2.1.0", "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
       runs: [{tool: {driver: {name: "scripts/fuzz", rules: (map({id: .ruleId}) | unique)}},
               results: .}]}' "$findings"
}

# Writes the three summaries, shows the first, and ends with status 1 if there is a finding.
report_end() {
    summary_markdown >"$work/summary.md"
    summary_sarif >"$work/fuzz.sarif"
    printf '<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="fuzz" tests="%d" failures="%d">\n%s</testsuite>\n' \
        "$(grep -c . <<<"$cases" || true)" "$(cut -f 1 "$findings" | sort -u | grep -c . || true)" \
        "$cases" >"$work/junit.xml"
    cat "$work/summary.md"
    [[ $found -eq 0 ]]
}
