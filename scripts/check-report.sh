# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What scripts/check leaves for machines and for a pull request: junit.xml, check.sarif (each line
# FILE:LINE: of the logs) and summary.md, in $work. Sourced after lib.sh.

report_begin() {
    : >"${work:?}/cases.txt"
}

# report_step NAME STATUS
report_step() {
    printf '%s %d\n' "$1" "$2" >>"$work/cases.txt"
}

# A log's text within XML.
xml_text() {
    tr -d '\000-\010\013\014\016-\037' <"$1" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'
}

write_junit() {
    local name status
    printf '<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="check" tests="%d" failures="%d">\n' \
        "$(grep -c '' "$work/cases.txt")" "$(grep -cv ' 0$' "$work/cases.txt")"
    while read -r name status; do
        if [[ $status -eq 0 ]]; then
            printf '<testcase classname="check" name="%s"/>\n' "$name"
        else
            printf '<testcase classname="check" name="%s"><failure>%s</failure></testcase>\n' "$name" \
                "$(xml_text "$work/$name.log")"
        fi
    done <"$work/cases.txt"
    printf '</testsuite>\n'
}

# Findings as "NAME <tab> FILE <tab> LINE <tab> TEXT", files named from the root.
list_findings() {
    local name status
    while read -r name status; do
        [[ $status -eq 0 ]] ||
            sed -nE "s|^(${root:?}/)?([^ :]+):([0-9]+):([0-9]+:)? *(.*)|$name\t\2\t\3\t\5|p" "$work/$name.log"
    done <"$work/cases.txt"
}

write_sarif() {
    list_findings | jq -R -s '{
        version: "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        runs: [{
            tool: {driver: {name: "scripts/check"}},
            results: [split("\n")[] | select(. != "") | split("\t") | {
                ruleId: .[0],
                level: "error",
                message: {text: .[3]},
                locations: [{physicalLocation: {
                    artifactLocation: {uri: .[1]},
                    region: {startLine: ([(.[2] | tonumber), 1] | max)}}}]}]}]}'
}

write_markdown() {
    local name status
    printf '### Checks\n\n| | |\n|---|---|\n'
    while read -r name status; do
        printf '| %s | %s |\n' "$name" "$([[ $status -eq 0 ]] && echo passed || echo '**failed**')"
    done <"$work/cases.txt"
}

report_end() {
    write_junit >"$work/junit.xml"
    write_sarif >"$work/check.sarif"
    write_markdown >"$work/summary.md"
}
