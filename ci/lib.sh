# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the campaigns of a CI server share. Sourced, not run.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
# shellcheck disable=SC2034 # die's and print_help's
me=ci/$(basename "$0")

# Where scripts/fuzz works: TARGET/corpus, and findings.tsv with a line a finding.
work=${root:?}/build/fuzz

# A corpus that outlives the machine: $FUZZ_CORPUS/TARGET/FILE, and TARGET.new if corpus_out was
# killed. Nothing if it is not set.
corpus_in() {
    local target into
    for target in "${FUZZ_CORPUS:-/nowhere}"/*/; do
        if [[ -d $target ]]; then
            into=$work/$(basename "$target" .new)/corpus
            mkdir -p "$into"
            cp -r "$target/." "$into/"
        fi
    done
}

# Back again, as scripts/fuzz has minimised it: what no longer adds coverage goes.
corpus_out() {
    local target into name before
    [[ -n ${FUZZ_CORPUS:-} ]] || return 0
    for target in "$work"/*/corpus/; do
        name=$(basename "$(dirname "$target")")
        into=$FUZZ_CORPUS/$name
        if [[ ! -d $target ]]; then
            continue
        fi
        rm -rf "$into.new"
        mkdir -p "$into" "$into.new"
        before=$(find "$into" -type f | wc -l)
        cp -r "$target/." "$into.new/"
        rm -rf "$into"
        mv "$into.new" "$into"
        printf '%s: %d inputs, pruned to %d\n' "$name" "$before" "$(find "$into" -type f | wc -l)"
    done
}
