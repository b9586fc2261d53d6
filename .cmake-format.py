# SPDX-License-Identifier: Apache-2.0
#
# What cmake-lint 0.6.13 (Debian 12) asks of CMake files. Not asked: upper-case names of variables
# that live for a few lines (C0103), a comment that names its function first (C0111), a COMMENT for
# targets without a command (C0113).
with section("format"):
    line_width = 100

with section("lint"):
    disabled_codes = ["C0103", "C0111", "C0113"]
