# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What scripts/fuzz makes of a campaign's crashes and hangs: told apart by what failed, minimised,
# and written down with the command that reproduces them. Sourced after lib.sh by a script that
# has set $work, and $findings: a file with one line a finding,
# target, tab, key, tab, kind, tab, file, tab, command.

readonly hang_seconds=1     # AFL++'s limit
readonly folder_seconds=600 # for a whole corpus

# The sanitizers' shadow has a fixed place, which kernels that scatter widely may have taken.
launcher=()
if setarch -R true 2>/dev/null; then
    launcher=(setarch -R)
fi

# run_input VARIANT TARGET FILE [SECONDS]: what the target says of an input, or of a folder, on
# standard output. The seconds are the processor's time at most.
run_input() {
    local program=${work:?}/variants/$1/fuzz/fuzz_$2 limit=10
    [[ $1 != release ]] || program=${root:?}/build/release/fuzz/fuzz_$2
    [[ ! -d $3 ]] || limit=$folder_seconds
    (
        ulimit -St "${4:-unlimited}"
        ASAN_OPTIONS=abort_on_error=1:detect_leaks=0 \
            UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
            timeout -s KILL "$limit" ${launcher[@]+"${launcher[@]}"} "$program" "$3" 2>&1 >/dev/null </dev/null
    )
}

# fault_of VARIANT TARGET FILE [SECONDS]: the line that failed, as a key; nothing if none does. A
# target's own word, or a sanitizer's, or the signal. More of the processor's time is a hang.
fault_of() {
    local text status=0 key
    text=$(run_input "$@") || status=$?
    if [[ $status -eq 0 ]]; then
        return
    fi
    key=$(sed -n 's/^fuzz [^:]*: \([^ :]*:[0-9]*\): .*/\1/p' <<<"$text" | head -n 1)
    if [[ -z $key ]]; then
        key=$(sed -nE 's/^.*\/([^/]+:[0-9]+):[0-9]+: runtime error: .*/\1/p' <<<"$text" | head -n 1)
    fi
    if [[ -z $key ]]; then
        key=$(sed -nE 's/^SUMMARY: [A-Za-z]+: ([A-Za-z-]+) .*\/([^/: ]+:[0-9]+).*/\1 \2/p' \
            <<<"$text" | head -n 1)
    fi
    if [[ -z $key ]]; then
        key="status $status"
        # KILL of timeout's, or XCPU
        if [[ $status -eq 137 || $status -eq 152 || $text == *'this input does not end'* ]]; then
            key=hang
        fi
    fi
    printf '%s\n' "$key"
}

# judge TARGET FILE [SECONDS]: into $key and $variant, the line that failed; a signal only where
# nobody knows the line.
judge() {
    local tried said
    key='' variant=asan
    for tried in release plain asan; do
        said=$(fault_of "$tried" "$@")
        if [[ -n $said && (-z $key || $said != 'status '*) ]]; then
            key=$said variant=$tried
        fi
        [[ -z $key || $key == 'status '* ]] || break
    done
}

# smallest FILE...: by size.
smallest() {
    local file
    for file in "$@"; do
        printf '%d %s\n' "$(wc -c <"$file")" "$file"
    done | sort -n | cut -d ' ' -f 2-
}

# shrink VARIANT TARGET KEY FROM TO: afl-tmin, unless what it leaves fails elsewhere. A hang is
# shrunk by what it leaves undone in time.
shrink() {
    local variant=$1 mode=() limit=''
    [[ $variant != release ]] || variant=plain
    [[ $3 != hang ]] || mode=(-H) limit=$hang_seconds
    cp "$4" "$5"
    if AFL_TMIN_EXACT=1 ASAN_OPTIONS=abort_on_error=1:symbolize=0:detect_leaks=0 \
        timeout 120 afl-tmin ${mode[@]+"${mode[@]}"} -i "$4" -o "$5.min" -t ${hang_seconds}000 \
        -m none -- "$work/variants/$variant/fuzz/fuzz_$2" >/dev/null 2>&1 </dev/null &&
        [[ $(fault_of "$1" "$2" "$5.min" "$limit") == "$3" ]]; then
        mv "$5.min" "$5"
    fi
    rm -f "$5.min"
}

# command_for VARIANT TARGET FILE: what reproduces it. A text trace, where the target can write
# one and a replay of it fails too; else the input itself.
command_for() {
    local program=build/release/fuzz/fuzz_$2 trace=$3.trace status=0 text
    [[ $1 == release || $1 == plain ]] || program=build/fuzz/variants/$1/fuzz/fuzz_$2
    timeout 10 "$root/build/release/fuzz/fuzz_$2" --explain "$3" >"$trace" 2>/dev/null </dev/null ||
        true
    text=$(timeout 10 "$root/build/release/bin/wmheap" replay "$trace" 2>&1) || status=$?
    if [[ -s $trace && $status -eq 1 ]] && grep -v ' 0 mismatches' <<<"$text" | grep -q mismatch; then
        printf 'build/release/bin/wmheap replay %s\n' "${trace#"$root/"}"
    else
        [[ -s $trace ]] || rm -f "$trace"
        printf '%s %s\n' "$program" "${3#"$root/"}"
    fi
}

# sanitize TARGET: the corpus once through the sanitizers, for a campaign of one job has none. What
# fails is put where afl-fuzz would have put it.
sanitize() {
    local target=$1 corpus=$work/$1/corpus into=$work/$1/sync/sanitized/crashes text file count=0
    mkdir -p "$into"
    while ! text=$(run_input asan "$target" "$corpus"); do
        file=$(sed -n "s|^to repeat: .* \($corpus/[^ ]*\)\$|\1|p" <<<"$text" | tail -n 1)
        if [[ ! -f $file || $count -eq 20 ]]; then
            say "$target: not all of the corpus went through the sanitizers"
            break
        fi
        count=$((count + 1))
        mv "$file" "$into/id:$count"
    done
}

# set_aside TARGET: what all jobs have found, and the findings of the run before, to where they
# outlive both until they are judged. AFL++ renames the folders of a campaign that goes on.
set_aside() {
    local kind pending=$work/$1/pending
    mkdir -p "$pending"/{crashes,hangs,findings}
    for kind in crashes hangs; do
        find "$work/$1" -path "*/sync/*/$kind*/id*" \
            -exec mv --backup=numbered -t "$pending/$kind" {} +
    done
    find "$work/$1" -path "$work/$1/findings/*" ! -name '*.trace' \
        -exec mv --backup=numbered -t "$pending/findings" {} +
    rm -rf "$work/$1/findings"
}

# triage TARGET: one finding for each key, from all that is set aside.
triage() {
    local target=$1 file key variant kind name seen=$'\n' into=$work/$1/findings command files limit
    set_aside "$target"
    mapfile -t files < <(find "$work/$target/pending" -type f)
    [[ ${#files[@]} -eq 0 ]] || mapfile -t files < <(smallest "${files[@]}")
    for file in ${files[@]+"${files[@]}"}; do
        limit=''
        [[ $file != */hangs/* && $file != */findings/hang* ]] || limit=$hang_seconds
        judge "$target" "$file" "$limit"
        if [[ -z $key && $file != */crashes/* ]]; then
            continue # the machine was busy, or it is mended
        fi
        key=${key:-does not repeat alone}
        [[ $seen != *$'\n'$key$'\n'* ]] || continue
        seen+=$key$'\n'
        kind=crash
        [[ $key != hang ]] || kind=hang
        mkdir -p "$into"
        name=$into/$(tr -c 'a-zA-Z0-9.\n' '-' <<<"$key")
        if [[ $key != 'does not repeat alone' ]]; then
            shrink "$variant" "$target" "$key" "$file" "$name"
        else
            cp "$file" "$name"
        fi
        command=$(command_for "$variant" "$target" "$name")
        [[ $kind != hang || -z $limit ]] || command="timeout $limit $command"
        printf '%s\t%s\t%s\t%s\t%s\n' "$target" "$key" "$kind" "${name#"$root/"}" "$command" \
            >>"${findings:?}"
        say "$target: $kind, $key"
        printf '  %s\n' "$command" >&2
    done
    rm -rf "$work/$target/pending"
}
