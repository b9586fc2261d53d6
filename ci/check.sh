#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The job "check": scripts/check, with its names, once there is a C-SKY compiler.
# Results: build/check.
set -euo pipefail
# shellcheck source=ci/summary.sh
source "$(dirname "${BASH_SOURCE[0]}")/summary.sh"

"$root/scripts/setup-csky"
job check build/check/summary.md scripts/check "$@"
