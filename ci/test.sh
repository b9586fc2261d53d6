#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The job "test": scripts/test, with its options. Results: build/*/ctest.xml.
set -euo pipefail
# shellcheck source=ci/summary.sh
source "$(dirname "${BASH_SOURCE[0]}")/summary.sh"
job test "" scripts/test "$@"
