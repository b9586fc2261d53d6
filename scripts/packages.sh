# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Installing what is missing, with apt, for the scripts that need it. Sourced after lib.sh.
#
# A list has a line a thing: package, how to see that it is there, what it is for. The probe
# looks for the thing, not for the package: a CMake from elsewhere is a CMake, and asking
# costs no time. `a|b` is the first of these packages that this release has.

# present KIND WHAT: true if it is there.
present() {
    case $1 in
    command) command -v "$2" >/dev/null ;;
    header) gcc -E -include "$2" -x c /dev/null >/dev/null 2>&1 ;;
    library) pkg-config --exists "$2" >/dev/null 2>&1 ;;
    format) command -v clang-format-14 >/dev/null || command -v clang-format >/dev/null ;;
    file) compgen -G "$2" >/dev/null ;;
    esac
}

# missing_packages LIST: a line "PACKAGE REASON" for each that is not there.
missing_packages() {
    local package kind what reason
    while read -r package kind what reason; do
        if [[ -n $package ]] && ! present "$kind" "$what"; then
            printf '%s %s\n' "$package" "$reason"
        fi
    done <<<"$1"
}

# list_packages LIST: the same for all, for people.
list_packages() {
    local package reason
    while read -r package _ _ reason; do
        [[ -z $package ]] || printf '%-28s  %s\n' "$package" "$reason"
    done <<<"$1"
}

# The first of the packages `a|b|...` that this release has.
choose() {
    local candidates candidate
    IFS='|' read -ra candidates <<<"$1"
    for candidate in "${candidates[@]}"; do
        if apt-cache show "$candidate" >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die "this release has no package ${candidates[*]}: install its contents by other means"
}

# install "PACKAGE REASON"...
install_packages() {
    local as_root=() line package packages=() report='' log=${root:?}/build/install-deps.log
    command -v apt-get >/dev/null ||
        die "apt-get is not here; install by other means: $(printf '%s ' "${@%% *}")"
    if [[ $(id -u) -ne 0 ]]; then
        command -v sudo >/dev/null ||
            die "needs root or sudo to install: $(printf '%s ' "${@%% *}")"
        as_root=(sudo)
    fi
    as_root+=(env DEBIAN_FRONTEND=noninteractive)

    run_logged "$log" "${as_root[@]}" apt-get update -qq || exit 2
    for line in "$@"; do
        package=$(choose "${line%% *}") || exit 2
        packages+=("$package")
        report+=$(printf '\n  %-18s %s' "$package" "${line#* }")
    done
    say "installing:${plain:-}$report"
    run_logged "$log" \
        "${as_root[@]}" apt-get install -qq -y -o DPkg::Lock::Timeout=600 --no-install-recommends "${packages[@]}" || exit 2
}

# install_missing LIST: leaves with exit status 2 and a clear line if it cannot.
install_missing() {
    local missing
    mapfile -t missing < <(missing_packages "$1")
    if [[ ${#missing[@]} -eq 0 ]]; then
        return
    fi
    install_packages "${missing[@]}"
    mapfile -t missing < <(missing_packages "$1")
    [[ ${#missing[@]} -eq 0 ]] ||
        die "still missing after the installation: ${missing[*]%% *}"
}
