#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The job "fuzz-smoke": scripts/fuzz for two minutes, or $FUZZ_SECONDS, once there is a C-SKY
# compiler. Results: build/fuzz.
set -euo pipefail
# shellcheck source=ci/summary.sh
source "$(dirname "${BASH_SOURCE[0]}")/summary.sh"

"$root/scripts/setup-csky"
job fuzz-smoke build/fuzz/summary.md scripts/fuzz --seconds "${FUZZ_SECONDS:-120}" "$@"
