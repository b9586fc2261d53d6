#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The job "check": scripts/check, with its names. Results: build/check.
set -euo pipefail
# shellcheck source=ci/summary.sh
source "$(dirname "${BASH_SOURCE[0]}")/summary.sh"
job check build/check/summary.md scripts/check "$@"
