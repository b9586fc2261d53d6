# SPDX-License-Identifier: Apache-2.0
#
# What scripts/bench makes of its measurements: one object. Its arguments, each a list:
#   $host        objects of bench-measure
#   $callgrind   {workload, allocator, instructions: of the whole run}; empty with a counter
#   $csky        objects of `wmheap cost --json`, with .workload
#   $replay      {check, events, seconds}
#   $machine     {host, compiler, csky_compiler}
#   $recorded    bench/reference.json, or nothing
#   $limits      the text of bench/csky-bars
#   $others      bench/others.json
#   $quick       true: bars on time are shown, not judged
# The workloads of growth are called FAMILY-HOLES.

def growth_families: ["miss", "steady"];

# Least squares in the logarithms of [[x, y], ...]: the exponent of y = c * x^exponent, 0 for what
# does not grow and 1 for what grows as x does. null without two different x, or without
# positive numbers.
def exponent:
    map(select(.[0] > 0 and .[1] > 0) | map(log)) as $points
    | ($points | length) as $count
    | if $count != length or $count < 2 then null
      else
        ($points | map(.[0]) | add / $count) as $x
        | ($points | map(.[1]) | add / $count) as $y
        | ($points | map((.[0] - $x) * (.[0] - $x)) | add) as $variance
        | if $variance < 1e-12 then null
          else ($points | map((.[0] - $x) * (.[1] - $y)) | add) / $variance
          end
      end;

# Without -0.
def rounded: if . == null then null else (. * 100 | round) / 100 + 0 end;

# a / b where both are there and b is more than noise.
def ratio($a; $b): if $a == null or $b == null or $b < 0.01 then null else $a / $b end;

# Instructions a call: the counter's if it counted everywhere, else callgrind's less what the loop
# itself takes.
def instructions($callgrind; $cell):
    def of($allocator):
        first($callgrind[]
              | select(.workload == $cell.workload and .allocator == $allocator).instructions) // null;
    if ($callgrind | length) == 0 then $cell.instructions
    elif of($cell.allocator) == null or of("nothing") == null then null
    else (of($cell.allocator) - of("nothing")) / $cell.calls | rounded
    end;

def is_growth: .workload | test("^(" + (growth_families | join("|")) + ")-[0-9]+$");
def holes: .workload | split("-")[-1] | tonumber;
def family: .workload | split("-")[0];

# ---- sections ----

def figures: {mean, p99, max, lock_max};

def allocator_of($core):
    {ns, instructions, failures, peak, over_time}
    + if .allocator == "core" then {}
      else {time_ratio: ratio(.ns.mean; $core.ns.mean),
            instruction_ratio: ratio(.instructions; $core.instructions)}
      end;

# The names of the workloads, as they were measured.
def in_order: reduce .[].workload as $name ([]; if index([$name]) then . else . + [$name] end);

def workloads($cells; $csky):
    ($cells | map(select(is_growth | not))) as $cells
    | [$cells | in_order[] as $name | map(select(.workload == $name))]
    | map((.[] | select(.allocator == "core")) as $core
          | {name: .[0].workload, calls: .[0].calls,
             csky: (first($csky[] | select(.workload == $core.workload) | figures) // null),
             allocators: (map({key: .allocator, value: allocator_of($core)}) | from_entries)});

# Of cells with different numbers of holes: {holes, values, exponent}.
def curve(value):
    sort_by(holes)
    | {holes: map(holes), values: map(value)}
    | . + {exponent: ([.holes, .values] | transpose | exponent | rounded)};

def growth($cells; $csky):
    growth_families
    | map(. as $family
          | {family: .,
             allocators: ($cells | map(select(is_growth and family == $family)) | group_by(.allocator)
                          | map({key: .[0].allocator,
                                 value: {ns: curve(.ns.mean), p99: curve(.ns.p99), max: curve(.ns.max),
                                         instructions: curve(.instructions)}})
                          | from_entries),
             csky: ($csky | map(select(is_growth and family == $family))
                    | {mean: curve(.mean), max: curve(.max), lock_max: curve(.lock_max)})});

def comparable($reference; $machine):
    $reference != null and $reference.compiler == $machine.csky_compiler;

# Workloads that nothing can be compared with.
def unknown($csky; $reference; $machine):
    if comparable($reference; $machine)
    then [$csky[].workload | select(in($reference.workloads) | not)] else [] end;

# What the reference has and this run has, where it rose by more than 2 of 100.
def regressions($csky; $reference; $machine):
    if comparable($reference; $machine) | not then []
    else
      [$csky[] | . as $now | $reference.workloads[.workload] // empty | . as $before
       | ("mean", "max", "lock_max")
       | select($now[.] > $before[.] * 1.02)
       | {workload: $now.workload, figure: ., before: $before[.], now: $now[.]}]
    end;

# ---- bars ----

def bar($name; $value; $least; $judged):
    {name: $name, value: ($value | rounded), bar: $least, kept: ($value != null and $value >= $least),
     judged: $judged};
def limit($name; $value; $most; $judged):
    {name: $name, value: ($value | rounded), bar: $most, kept: ($value != null and $value <= $most),
     judged: $judged};

def named($name): first(.[] | select(.name == $name)) // null;

def last_to_first: if (.values | length) < 2 then null else ratio(.values[-1]; .values[0]) end;

def host_bars($workloads; $judged):
    ($workloads | named("holes-40k").allocators) as $holes
    | ($workloads | named("boot").allocators) as $boot
    | bar("holes-40k: core faster than the linear list, times"; $holes["list-plain"].time_ratio; 50;
          $judged),
      bar("boot: core faster than the list with the SDK\u0027s list of live blocks, times";
          $boot.list.time_ratio; 1; $judged);

# The lines of bench/csky-bars: workload, mean, max, lock_max.
def csky_bars($csky; $limits):
    $limits | split("\n")[] | select(test("^[a-z]")) | [splits(" +")] as [$workload, $mean, $max, $lock]
    | (first($csky[] | select(.workload == $workload)) // null) as $found
    | (["mean", $mean], ["max", $max], ["lock_max", $lock]) as [$figure, $most]
    | select($most != "-")
    | limit("\($workload): C-SKY instructions, \($figure)"; $found[$figure]; $most | tonumber; true);

def growth_bars($growth; $quick):
    $growth[] | .family as $family | .csky
    | (.mean.holes // []) as $holes
    | "\($family): C-SKY, \($holes[-1]) holes against \($holes[0])" as $what
    | limit($what + ", mean, times"; .mean | last_to_first; 3; true),
      limit($what + ", maximum, times"; .max | last_to_first; 3; true);

def replay_bars($replay; $judged):
    $replay[]
    | (.events / .seconds / 1000000) as $speed
    | bar("replay --check=\(.check), million events a second"; $speed;
          if .check == "full" then 1 else 5 end; $judged);

# ---- all of it ----

# The exact allocators must have returned the same addresses, and the trace's if it has any.
def address_faults($cells):
    [$cells | group_by(.workload)[]
     | (first(.[] | select(.allocator == "core").addresses)) as $core
     | .[] | select(.addresses != null and (.addresses != $core or .mismatches != 0))
     | {workload, allocator, mismatches}];

($recorded[0] // null) as $reference
| ($host | map(. + {instructions: instructions($callgrind; .)})) as $cells
| workloads($cells; $csky) as $workloads
| growth($cells; $csky) as $growth
| {machine: ($machine + {versions: ($host | map(select(.version)) | map({key: .allocator, value: .version})
                                   | from_entries)}),
   quick: $quick,
   workloads: $workloads,
   growth: $growth,
   replay: $replay,
   others: $others[0],
   reference_compiler: ($reference.compiler // null),
   regressions: regressions($csky; $reference; $machine),
   unknown: unknown($csky; $reference; $machine),
   address_faults: address_faults($cells),
   bars: [host_bars($workloads; $quick | not), csky_bars($csky; $limits), growth_bars($growth; $quick),
          replay_bars($replay; $quick | not)]}
