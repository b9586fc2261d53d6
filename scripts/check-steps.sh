# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What scripts/check checks: check_NAME prints what it finds, as FILE:LINE: text where it can, and
# fails if that is anything. Sourced after lib.sh; they run in the root folder.

# shellcheck disable=SC2034 # of the scripts that source this
work=${root:?}/build/check
jobs=$(nproc)

# --- what they need ---------------------------------------------------------------------------

# Each clang that this release packages; where there is no apt, those that are here.
list_clangs() {
    if command -v apt-cache >/dev/null; then
        apt-cache pkgnames clang- | grep -xE 'clang-[0-9]+' | sort -V
    else
        compgen -c clang- | grep -xE 'clang-[0-9]+' | sort -uV
    fi
}

check_dependencies() {
    local clang
    cat <<'END'
git             command git            lists the project's files
clang-tidy-14   command clang-tidy-14  finds mistakes in C
cppcheck        command cppcheck       finds others
shellcheck      command shellcheck     finds mistakes in scripts
shfmt           command shfmt          formats scripts
cmake-format    command cmake-lint     finds mistakes in CMake files
yamllint        command yamllint       finds mistakes in YAML files
codespell       command codespell      finds misspelt words
jq              command jq             reads JSON, writes SARIF
g++             command g++            compiles the headers as C++
END
    if [[ $(uname -m) == x86_64 ]]; then
        echo 'gcc-12-multilib file /usr/lib/gcc/x86_64-linux-gnu/12/32/libgcc.a compiles the core for 32 bits (gcc-multilib would exclude cross compilers)'
    fi
    for clang in $(list_clangs); do
        echo "$clang command $clang compiles the core"
    done
}

# --- text -------------------------------------------------------------------------------------

# Files of the project, those to be added included; without evidence, which is as it was found.
list_files() {
    git ls-files --cached --others --exclude-standard -- "$@" ':!tests/golden' ':!tests/field' \
        ':!bench/traces' ':!fuzz/seeds' ':!fuzz/regressions' | while read -r file; do
        [[ ! -f $file ]] || printf '%s\n' "$file"
    done
}

list_scripts() {
    list_files | xargs -d '\n' grep -lE -m 1 '^#!.*(bash|sh)$|^# shellcheck shell=bash'
}

check_format() { scripts/check-format; }

check_spelling() {
    list_files ':!LICENSE' ':!tests/csky/torture-*' | xargs -d '\n' codespell
}

check_shell() {
    local scripts status=0
    mapfile -t scripts < <(list_scripts)
    shellcheck --external-sources --format=gcc "${scripts[@]}" || status=1
    shfmt --indent 4 --diff "${scripts[@]}" || status=1
    return "$status"
}

check_cmake() {
    list_files '*CMakeLists.txt' '*.cmake' | xargs -d '\n' cmake-lint --suppress-decorations --
}

check_data() {
    local file status=0
    list_files '*.yml' '*.yaml' .clang-format .clang-tidy |
        xargs -d '\n' yamllint --strict --format=parsable || status=1
    while read -r file; do
        jq empty "$file" || {
            echo "$file:1: is not JSON"
            status=1
        }
    done < <(list_files '*.json')
    return "$status"
}

check_rules() { tests/test_rules; }

# --- compiling --------------------------------------------------------------------------------

# What a user of the core or the simulator includes.
list_public_headers() {
    printf '%s\n' core/wm_heap*.h core/port/w800_port.h
    list_files 'sim/*.h' ':!sim/*_internal.h' ':!sim/model_state.h'
}

# compile_header LANGUAGE COMPILER HEADER
compile_header() {
    printf '#include "%s"\n' "$3" |
        "$2" -x "$1" -D_GNU_SOURCE -I. -Icore -Isim -Wall -Wextra -Werror -fsyntax-only - || {
        echo "$3:1: does not compile alone: $2 -x $1"
        return 1
    }
}

check_headers() {
    local header status=0
    while read -r header; do
        compile_header c gcc "$header" || status=1
    done < <(list_files 'core/*.h' 'sim/*.h' ':!core/port/w800_sdk/*')
    while read -r header; do
        compile_header c++ g++ "$header" || status=1
    done < <(list_public_headers)
    return "$status"
}

readonly core_builds=(
    ''
    '-DCONFIG_HEAP_USE_TRACING'
    '-DCONFIG_HEAP_POISONING_LIGHT'
    '-DCONFIG_HEAP_POISONING_COMPREHENSIVE'
    '-DCONFIG_HEAP_USE_TRACING -DCONFIG_HEAP_POISONING_LIGHT'
    '-DCONFIG_HEAP_USE_TRACING -DCONFIG_HEAP_POISONING_COMPREHENSIVE'
)

# The warnings that the build asks of every compiler.
list_warnings() {
    sed -n '/^  w800_warnings$/,/)/p' CMakeLists.txt | grep -oE -- '^ +(INTERFACE )?-W[^ ]+' | grep -oE -- '-W.*'
}

# A line for each compiler: the command, and what it needs to make the code wanted.
list_compilers() {
    local csky
    echo gcc
    [[ $(uname -m) != x86_64 ]] || echo gcc-12 -m32
    compgen -c clang- | grep -xE 'clang-[0-9]+' | sort -uV
    if csky=$(scripts/setup-csky --print); then
        echo "$csky" -mcpu=ck803ef
    else
        echo 'no C-SKY compiler is here: scripts/setup-csky builds one' >&2
    fi
}

# compile COMPILER OPTION...: into objects of no use.
compile() {
    local folder status=0
    folder=$(mktemp -d "$work/objects.XXXXXX")
    (cd "$folder" && "$@") || {
        printf 'core/heap.c:1: with %s\n' "${*%% -W*}"
        status=1
    }
    rm -rf "$folder"
    return "$status"
}

# compile_core COMPILER...: at both levels; gcc, which warns of what optimising shows, in all six
# builds, clang in that with no option and in that with all; the recorder, the same in each, once.
compile_core() {
    local level build builds sources status=0 warnings
    mapfile -t warnings < <(list_warnings)
    mapfile -t sources < <(core_sources)
    for level in -Os -O3; do
        builds=("${core_builds[@]}")
        if [[ $1 == clang-* ]]; then
            [[ $level == -Os ]] && builds=('') || builds=("${core_builds[-1]}")
        fi
        for build in "${builds[@]}"; do
            # shellcheck disable=SC2086 # several options
            compile "$@" -std=c11 -ffreestanding "$level" $build "${warnings[@]}" -Werror \
                -c "${sources[@]/#/$root/}" || status=1
        done
        compile "$@" -std=c11 -ffreestanding "$level" "${warnings[@]}" -Werror \
            -c "$root"/core/recorder.c "$root"/core/port/recorder_wrap.c || status=1
    done
    return "$status"
}

check_compilers() {
    local compiler
    export -f compile compile_core core_sources list_warnings
    export root work
    list_compilers >"$work/compilers.txt"
    # shellcheck disable=SC2016 # the shell within expands them
    xargs -P "$jobs" -I '{}' bash -c "$(declare -p core_builds); compile_core {}" <"$work/compilers.txt"
}

# --- analysis ---------------------------------------------------------------------------------

# The compilations of the debug build, in the form that clang-tidy and cppcheck read: each source
# once, the core's with all options.
compilation_database() {
    build dev build.ninja && jq '
        map(select((.file | test("/core/") | not) or (.command | test("/(core_tcomp|recorder)[.]dir/"))))
        | unique_by([.file, if .file | test("/core/") then .command else "" end])' \
        build/dev/compile_commands.json >"$work/compile_commands.json"
}

# Tests and fuzz targets go without the analysis of paths, which takes most of the time.
check_tidy() {
    local status=0 tidy=(xargs -d '\n' -P "$jobs" -n 1 clang-tidy-14 -p "$work" --quiet)
    compilation_database || return
    jq -r '.[].file' "$work/compile_commands.json" | sort -u >"$work/files.txt"
    grep -E '/(core|sim)/' "$work/files.txt" | "${tidy[@]}" || status=1
    grep -vE '/(core|sim)/' "$work/files.txt" | "${tidy[@]}" --checks='-clang-analyzer-*' || status=1
    return "$status"
}

check_cppcheck() {
    compilation_database || return
    cppcheck --quiet -j "$jobs" --project="$work/compile_commands.json" --file-filter='*/core/*' \
        --file-filter='*/sim/*' --file-filter='*/fuzz/*' --enable=warning,performance,portability \
        --suppressions-list=.cppcheck-suppressions --error-exitcode=1
}

# Leaks are LeakSanitizer's matter: what is stored in an array's element, gcc 12 takes for lost.
check_analyzer() {
    local source
    for source in core/*.c core/port/recorder_wrap.c sim/*.c; do
        printf '%s\n' "$source"
    done | xargs -P "$jobs" -I '{}' gcc -std=gnu11 -D_GNU_SOURCE -DCONFIG_HEAP_USE_TRACING \
        -DCONFIG_HEAP_POISONING_COMPREHENSIVE -Icore -Isim -O0 -fanalyzer -Wno-analyzer-malloc-leak \
        -Werror -c -o /dev/null '{}'
}

check_readme() { tests/test_readme; }
