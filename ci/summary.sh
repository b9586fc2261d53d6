# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the jobs of ci/*.sh share: each runs the script that a person runs, and shows its summary
# where a server wants it. Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# job NAME SUMMARY COMMAND...: its exit status. SUMMARY, Markdown that can stand as a comment, comes
# from the command; without, it is made of the last line that the command prints. It goes to
# $GITHUB_STEP_SUMMARY, too.
job() {
    local name=$1 summary=$2 status=0 output=$root/build/ci/$1.txt
    shift 2
    mkdir -p "$root/build/ci"
    cd "$root" || return 2
    "$@" </dev/null | tee "$output" || status=$?
    if [[ -z $summary ]]; then
        summary=$root/build/ci/$name.md
        printf '### %s\n\n%s\n' "${name^}" "$(tail -n 1 "$output")" >"$summary"
    fi
    if [[ -n ${GITHUB_STEP_SUMMARY:-} && -e $summary ]]; then
        cat "$summary" >>"$GITHUB_STEP_SUMMARY"
    fi
    return "$status"
}
