#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The job "coverage": scripts/coverage, with its options, once there is a C-SKY compiler.
# Results: build/coverage.
set -euo pipefail
# shellcheck source=ci/summary.sh
source "$(dirname "${BASH_SOURCE[0]}")/summary.sh"

"$root/scripts/setup-csky"
job coverage build/coverage/summary.md scripts/coverage "$@"
