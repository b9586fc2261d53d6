# SPDX-License-Identifier: Apache-2.0
#
# The report of scripts/coverage: awk -v root=FOLDER -v output=FOLDER -f coverage-report.awk
# BARS COVERAGE.info CONDITIONS.tsv
#
# Reads the bars, lcov's tracefile and the conditions that mcdc-conditions.awk wrote. Prints a
# table and what is below its bar; writes uncovered.txt (every gap with its source text),
# coverage.json and summary.md to `output`. Exit status 1 if an area is below a bar, or a source
# was measured by nothing.

BEGIN {
    kinds = split("lines functions branches conditions", kind)
    title["lines"] = "lines"
    title["functions"] = "functions"
    title["branches"] = "branches"
    title["conditions"] = "MC/DC"
}

# --- what comes in ---

FILENAME == ARGV[1] {
    if ($1 == "unmeasured") {
        excused[$2] = 1
    } else if (NF > 0 && $1 !~ /^#/) {
        area[++areas] = $1
        for (i = 1; i <= kinds; i++) {
            bar[$1, kind[i]] = $(i + 1)
        }
    }
    next
}

FILENAME == ARGV[3] {
    split($0, field, "\t")
    file = field[1]
    note_file(file)
    if (field[4] != "folded" && !is_excluded(file, field[2])) {
        add(file, "conditions", field[4] == "shown")
        if (field[4] == "missing") {
            gap(file, field[2], "condition at column " field[3] " not shown to matter")
        } else if (field[4] == "unsupported") {
            gap(file, field[2], "decision at column " field[3] " cannot be measured")
        }
    }
    next
}

/^SF:/ {
    file = substr($0, 4)
    sub("^" root "/", "", file)
    note_file(file)
    split("", name_line)
    next
}

/^FN:/ {
    split(substr($0, 4), field, ",")
    name_line[field[2]] = field[1]
    next
}

/^FNDA:/ {
    split(substr($0, 6), field, ",")
    add(file, "functions", field[1] > 0)
    if (field[1] == 0) {
        gap(file, name_line[field[2]], "function " field[2] " never called")
    }
    next
}

/^DA:/ {
    split(substr($0, 4), field, ",")
    add(file, "lines", field[2] > 0)
    if (field[2] == 0) {
        gap(file, field[1], "line not run")
    }
    next
}

# Of a line that did not run, the branches say nothing new.
/^BRDA:/ {
    split(substr($0, 6), field, ",")
    add(file, "branches", field[4] > 0)
    if (field[4] != "-") {
        branches_of[file, field[1]]++
        if (field[4] == 0) {
            branches_missed[file, field[1]]++
        }
    }
    next
}

/^end_of_record/ {
    for (key in branches_missed) {
        split(key, field, SUBSEP)
        gap(field[1], field[2], branches_missed[key] " of " branches_of[key] " branches never taken")
    }
    split("", branches_missed)
}

# --- sums ---

function note_file(file) {
    if (!(file in seen)) {
        seen[file] = 1
        files[++file_count] = file
    }
}

function area_of(file) {
    return substr(file, 1, index(file, "/") - 1)
}

function add(file, what, is_hit) {
    found[file, what]++
    hit[file, what] += is_hit
    found[area_of(file), what]++
    hit[area_of(file), what] += is_hit
}

function gap(file, line, what) {
    gaps_at[file, line] = gaps_at[file, line] (gaps_at[file, line] == "" ? "" : "; ") what
    if (line > last_gap[file]) {
        last_gap[file] = line
    }
}

function load(file,    line, number) {
    if (!(file in loaded)) {
        loaded[file] = 1
        while ((getline line < (root "/" file)) > 0) {
            text[file, ++number] = line
        }
        close(root "/" file)
    }
}

function is_excluded(file, line) {
    load(file)
    return text[file, line] ~ /LCOV_EXCL(_BR)?_LINE/
}

# "97.3%", cut, not rounded: 100.0 is all of them.
function percent(name, what) {
    if (found[name, what] == 0) {
        return "-"
    }
    return sprintf("%.1f%%", int(hit[name, what] * 1000 / found[name, what]) / 10)
}

function is_below(name, what) {
    return bar[name, what] ~ /[0-9]/ && found[name, what] > 0 &&
        hit[name, what] * 100 < bar[name, what] * found[name, what]
}

# --- what goes out ---

function cell(name, what, mark) {
    if (found[name, what] == 0) {
        return sprintf("  %18s", "-")
    }
    return sprintf("  %7s %10s", percent(name, what) mark, hit[name, what] "/" found[name, what])
}

function print_row(name,    i, row) {
    row = sprintf("%-24s", name)
    for (i = 1; i <= kinds; i++) {
        row = row cell(name, kind[i], is_below(name, kind[i]) ? "!" : "")
    }
    print row
}

function print_table(    i, row) {
    row = sprintf("%-24s", "")
    for (i = 1; i <= kinds; i++) {
        row = row sprintf("  %18s", title[kind[i]])
    }
    print row
    for (i = 1; i <= file_count; i++) {
        print_row(files[i])
    }
    print ""
    for (i = 1; i <= areas; i++) {
        print_row(area[i])
    }
}

# gaps(NAME): those of a file; an area's are its files'.
function write_gaps(file, to,    line) {
    load(file)
    for (line = 1; line <= last_gap[file]; line++) {
        if ((file, line) in gaps_at) {
            gap_count++
            printf "%s:%d: %s\n    %s\n", file, line, gaps_at[file, line], trim(text[file, line]) > to
        }
    }
}

function trim(line) {
    gsub(/^[ \t]+|[ \t]+$/, "", line)
    return line
}

function write_uncovered(    i) {
    printf "" > uncovered
    for (i = 1; i <= file_count; i++) {
        write_gaps(files[i], uncovered)
    }
    close(uncovered)
}

# Gaps of an area below its bar are printed, too.
function print_failures(    i, j, failed) {
    for (i = 1; i <= areas; i++) {
        for (j = 1; j <= kinds; j++) {
            if (is_below(area[i], kind[j])) {
                printf "%s: %s %s of %s, below the bar of %s%%\n", area[i], percent(area[i], kind[j]),
                    title[kind[j]], found[area[i], kind[j]], bar[area[i], kind[j]]
                failed = 1
                short[area[i]] = 1
            }
        }
    }
    for (i = 1; i <= file_count; i++) {
        if (area_of(files[i]) in short) {
            write_gaps(files[i], "/dev/stdout")
        }
    }
    return failed
}

# `sources`: what there is, one file a line.
function print_unmeasured(    line, failed) {
    while ((getline line < sources) > 0) {
        if (!(line in seen) && !(line in excused)) {
            print line ": no measured program has it, and " ARGV[1] " gives no reason"
            failed = 1
        }
    }
    return failed
}

function json_object(name,    i, object) {
    for (i = 1; i <= kinds; i++) {
        object = object sprintf("%s\"%s\":{\"found\":%d,\"hit\":%d}", i == 1 ? "" : ",", kind[i],
            found[name, kind[i]], hit[name, kind[i]])
    }
    return sprintf("\"%s\":{%s}", name, object)
}

function write_json(to,    i) {
    printf "{\"areas\":{" > to
    for (i = 1; i <= areas; i++) {
        printf "%s%s", i == 1 ? "" : ",", json_object(area[i]) > to
    }
    printf "},\"files\":{" > to
    for (i = 1; i <= file_count; i++) {
        printf "%s\n%s", i == 1 ? "" : ",", json_object(files[i]) > to
    }
    printf "}}\n" > to
    close(to)
}

function write_markdown(to,    i, j) {
    print "### Coverage\n\n| | lines | functions | branches | MC/DC |\n|---|---:|---:|---:|---:|" > to
    for (i = 1; i <= areas; i++) {
        printf "| %s", area[i] > to
        for (j = 1; j <= kinds; j++) {
            printf " | %s%s", percent(area[i], kind[j]),
                is_below(area[i], kind[j]) ? " (bar " bar[area[i], kind[j]] "%)" : "" > to
        }
        print " |" > to
    }
    close(to)
}

END {
    uncovered = output "/uncovered.txt"
    print_table()
    print ""
    failed = print_failures()
    failed = print_unmeasured() || failed
    gap_count = 0
    write_uncovered()
    write_json(output "/coverage.json")
    write_markdown(output "/summary.md")
    printf "%d places with gaps, with their source text, in %s/uncovered.txt\n", gap_count,
        substr(output, length(root) + 2)
    exit failed
}
