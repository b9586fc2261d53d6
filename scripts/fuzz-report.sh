# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The summary of scripts/fuzz, for people (Markdown), for test reports (JUnit) and for code
# scanners (SARIF). Sourced after lib.sh, afl.sh and fuzz-triage.sh by a script that has set $work,
# $findings and $jobs.

rows='' cases='' found=0 failed=0

xml() { jq -Rrs '@html' <<<"$1" | sed '/^$/d'; }

# ratio A B: A as a share of B.
ratio() {
    awk -v a="${1:-0}" -v b="${2:-0}" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }'
}

# speed_cells FOLDER CEILING: executions a second of a job, and their share of what a target that
# does nothing reaches.
speed_cells() {
    local speed ceiling
    speed=$(stat_of "$1" execs_per_sec)
    ceiling=$(stat_of "$2" execs_per_sec)
    if [[ -n $speed ]]; then
        printf '%s | %s' "${speed%.*}" "$(ratio "$speed" "$ceiling")"
    else
        printf -- '- | -'
    fi
}

# calls_of TARGET: calls of an input of the corpus, on average; nothing for targets without calls.
calls_of() {
    "${root:?}/build/release/fuzz/fuzz_$1" "${work:?}/$1/corpus" 2>/dev/null |
        awk '/ inputs, / { printf "%d", $5 / $3 + 0.5 }'
}

report_target() {
    local target=$1 sync=$work/$1/sync job ran execs=0 corpus failures='' line=0 key kind command calls
    for job in "$sync"/job*/; do
        ran=$(stat_of "$job" execs_done)
        execs=$((execs + ${ran:-0}))
    done
    corpus=$(find "$work/$target/corpus" -type f | wc -l)
    calls=$(calls_of "$target") || true
    while IFS=$'\t' read -r _ key kind _ command; do
        line=$((line + 1))
        failures+="<failure message=\"$(xml "$kind: $key")\">$(xml "$command")</failure>"
    done < <(grep -P "^$target\t" "${findings:?}" || true)
    found=$((found + line))
    rows+="| $target | $execs | $(speed_cells "$sync/job0" "$work/empty/sync/plain") | "
    rows+="$(speed_cells "$sync/job1" "$work/empty/sync/asan") | "
    rows+="$(stat_of "$sync/job0" stability) | $(stat_of "$sync/job0" edges_found) | "
    rows+="$corpus | ${calls:--} | $line |"$'\n'
    cases+="  <testcase classname=\"fuzz\" name=\"$target\" "
    cases+="time=\"$(stat_of "$sync/job0" run_time)\">$failures</testcase>"$'\n'
}

# report_failed TARGET: it was not fuzzed.
report_failed() {
    failed=$((failed + 1))
    rows+="| $1 | **did not start** | | | | | | | | | |"$'\n'
    cases+="  <testcase classname=\"fuzz\" name=\"$1\"><error message=\"did not start\"/></testcase>"$'\n'
}

summary_markdown() {
    local target key kind file command plain asan
    plain=$(stat_of "$work/empty/sync/plain" execs_per_sec)
    asan=$(stat_of "$work/empty/sync/asan" execs_per_sec)
    printf '# Fuzzing\n\n%d jobs. Executions a second are those of one job on one processor; a target\n' \
        "${jobs:?}"
    printf 'that does nothing reaches %s there, %s with sanitizers, and "share" is the part of\n' \
        "${plain%.*}" "${asan%.*}"
    printf 'it. "Calls" are those of an input of the corpus on average.\n\n'
    printf '| target | executions | a second | share | sanitized | share | stability | edges | '
    printf 'corpus | calls | findings |\n'
    printf '|---|---|---|---|---|---|---|---|---|---|---|\n%s' "$rows"
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

# Writes the three summaries, and shows the first.
report_end() {
    summary_markdown >"$work/summary.md"
    summary_sarif >"$work/fuzz.sarif"
    printf '<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="fuzz" tests="%d" errors="%d" failures="%d">\n%s</testsuite>\n' \
        "$(grep -c . <<<"$cases" || true)" "$failed" "$(cut -f 1 "$findings" | sort -u | grep -c . || true)" \
        "$cases" >"$work/junit.xml"
    cat "$work/summary.md"
}
