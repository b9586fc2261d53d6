#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The job "size": scripts/size, once there is a C-SKY compiler. Results: build/ci/size.md.
set -euo pipefail
# shellcheck source=ci/summary.sh
source "$(dirname "${BASH_SOURCE[0]}")/summary.sh"

"$root/scripts/setup-csky"
mkdir -p "$root/build/ci"
status=0
"$root/scripts/size" >"$root/build/ci/functions.txt" || status=$?
cat "$root/build/ci/functions.txt"
awk 'BEGIN { print "### Size\n\n| bytes | |\n|---:|---|" }
    $2 ~ /^(code|constants|text)$/ { print "| " $1 " | " $2 " " $3 " |" }' "$root/build/ci/functions.txt" \
    >"$root/build/ci/size.md"
job size "$root/build/ci/size.md" true
exit "$status"
