# SPDX-License-Identifier: Apache-2.0
#
# The results of bench/results.jq as text. `-r`.

def right($width): tostring | (" " * ($width - length) // "") + .;
def left($width): . + (" " * ($width - length) // "");

# Three digits say enough.
def figure:
    if . == null then "-"
    elif . >= 100 then round
    elif . >= 10 then (. * 10 | round) / 10
    else (. * 100 | round) / 100
    end;
def times: if . == null then "-" else (figure | tostring) + "x" end;

def others: ["list", "list-plain", "glibc", "mimalloc"];

def head:
    ("" | left(15)) + ("core" | right(14)) + ("time, core = 1" | right(44))
        + ("instructions, core = 1" | right(36)) + ("C-SKY" | right(21)),
    ("workload" | left(15)) + ("ns" | right(7)) + ("instr" | right(7))
        + (others + others | map(right(11)) | add)
        + (["mean", "max", "lock"] | map(right(7)) | add);

def row:
    .allocators as $all
    | (.name | left(15))
      + ($all.core.ns.mean | figure | right(7)) + ($all.core.instructions | figure | right(7))
      + (others | map($all[.].time_ratio | times | right(11)) | add)
      + (others | map($all[.].instruction_ratio | times | right(11)) | add)
      + ([.csky.mean, .csky.max, .csky.lock_max] | map(figure | right(7)) | add);

def growth_lines:
    .family as $family
    | "growth, \(.family): " + ([.allocators | to_entries[]
        | "\(.key) \(.value.ns.exponent | figure) (\(.value.instructions.exponent | figure))"]
        | join(", "))
      + ", C-SKY mean \(.csky.mean.exponent | figure), max \(.csky.max.exponent | figure)";

def bar_line:
    "  " + (if .kept then "kept    " elif .judged then "MISSED  " else "below   " end)
    + "\(.name): \(.value // "not measured") (bar \(.bar))";

head, (.workloads[] | row), "",
"exponents of the growth with the number of holes, in ns (in instructions):",
(.growth[] | growth_lines), "",
"bars" + (if .quick then " (those on time are not judged with --quick)" else "" end) + ":",
(.bars[] | bar_line)
