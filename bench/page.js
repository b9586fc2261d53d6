/* SPDX-License-Identifier: Apache-2.0
 *
 * Draws the results of scripts/bench; they stand in `results`, and Chart.js is there.
 */
"use strict";

const allocators = ["core", "list", "list-plain", "glibc", "mimalloc"];
const colours = {
  core: "#d1495b", list: "#8d6a9f", "list-plain": "#3d7ea6", glibc: "#e0a030", mimalloc: "#4f9d69",
  miss: "#3d7ea6", steady: "#d1495b",
};
const element = (id) => document.getElementById(id);
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isNumber = (value) => typeof value === "number";

// Three digits say enough.
function figure(value) {
  if (!isNumber(value)) return "–";
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}
const times = (value) => (isNumber(value) ? figure(value) + "×" : "–");
const exponent = (value) => (isNumber(value) ? (Math.round(value * 100) / 100 || 0).toFixed(2) : "–");

/* ---- tables ---- */

// rows: arrays of texts, or of [text, class].
function fillTable(id, heads, rows) {
  const table = element(id);
  const head = table.createTHead();
  for (const cells of heads) {
    const row = head.insertRow();
    for (const [text, span] of cells) {
      const cell = document.createElement("th");
      cell.textContent = text;
      cell.colSpan = span ?? 1;
      cell.className = span > 1 ? "group" : "";
      row.append(cell);
    }
  }
  const body = table.createTBody();
  for (const cells of rows) {
    const row = body.insertRow();
    for (const content of cells) {
      const [text, kind] = Array.isArray(content) ? content : [content];
      const cell = row.insertCell();
      cell.textContent = text;
      cell.className = kind ?? "";
    }
  }
}

function fillBars() {
  fillTable("bars", [[["bar"], ["wanted"], ["measured"], [""]]], results.bars.map((bar) => {
    const judgement = bar.kept ? ["kept", "kept"] : bar.judged ? ["missed", "missed"] : ["not judged"];
    return [bar.name, figure(bar.bar), figure(bar.value), judgement];
  }));
}

function fillRatios() {
  const others = allocators.slice(1);
  const heads = [
    [[""], [""], ["core", 2], ["time, core = 1", 4], ["instructions, core = 1", 4]],
    [["workload"], ["calls"], ["ns"], ["instr."], ...others.map((name) => [name]), ...others.map((name) => [name])],
  ];
  fillTable("ratios", heads, results.workloads.map((workload) => {
    const all = workload.allocators;
    return [
      workload.name, workload.calls.toLocaleString("en"), figure(all.core.ns.mean),
      figure(all.core.instructions),
      ...others.map((name) => times(all[name]?.time_ratio)),
      ...others.map((name) => times(all[name]?.instruction_ratio)),
    ];
  }));
}

function fillLatencies() {
  const columns = ["p50", "p99", "p99.9", "max"];
  const heads = [
    [["ns"], ...allocators.map((name) => [name, 4])],
    [["workload"], ...allocators.flatMap(() => columns.map((column) => [column]))],
  ];
  fillTable("latencies", heads, results.workloads.map((workload) => [
    workload.name,
    ...allocators.flatMap((name) => columns.map((column) => figure(workload.allocators[name]?.ns[column]))),
  ]));
}

function fillMemory() {
  const shown = ["core", "glibc", "mimalloc"]; // the lists place as the core does
  const heads = [
    [[""], ["program's own", 2], ["overhead of a block, bytes", 3], ["fragmentation, %", 3], ["umm, %"]],
    [["workload"], ["blocks"], ["bytes"], ...shown.map((name) => [name]), ...shown.map((name) => [name]), ["core"]],
  ];
  fillTable("memory", heads, results.workloads.map((workload) => {
    const peak = (name) => workload.allocators[name]?.peak;
    return [
      workload.name, peak("core").live_blocks.toLocaleString("en"),
      peak("core").live_bytes.toLocaleString("en"),
      ...shown.map((name) => figure(peak(name)?.overhead_per_block)),
      ...shown.map((name) => figure(peak(name)?.fragmentation)),
      figure(peak("core").umm),
    ];
  }));
}

function fillCsky() {
  fillTable("csky-table", [[["workload"], ["mean"], ["99%"], ["maximum"], ["longest lock hold"]]],
    results.workloads.filter((workload) => workload.csky).map((workload) => [
      workload.name, figure(workload.csky.mean), figure(workload.csky.p99), figure(workload.csky.max),
      figure(workload.csky.lock_max),
    ]));
}

/* ---- charts ---- */

function axis(title, type = "linear", more = {}) {
  const powers = (value) => {
    const log = Math.log10(value);
    return Math.abs(log - Math.round(log)) < 1e-9 ? value.toLocaleString("en", { maximumFractionDigits: 9 }) : "";
  };
  return {
    type, title: { display: true, text: title }, grid: { color: style("--line") },
    ...(type === "logarithmic" ? { ticks: { callback: powers, autoSkip: false, maxRotation: 0 } } : {}),
    ...more,
  };
}

function line(label, colour, points, more = {}) {
  return {
    label, data: points, borderColor: colour, backgroundColor: colour, borderWidth: 2, pointRadius: 2.5,
    tension: 0, ...more,
  };
}

function drawLines(id, datasets, x, y) {
  return new Chart(element(id), {
    type: "line",
    data: { datasets },
    options: {
      animation: false, responsive: true, maintainAspectRatio: false, parsing: false, normalized: true,
      interaction: { mode: "nearest", intersect: false },
      scales: { x, y },
      plugins: {
        legend: { labels: { boxWidth: 18, boxHeight: 1 } },
        tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${figure(item.parsed.y)}` } },
      },
    },
  });
}

function pointsOf(curve) {
  return curve.holes
    .map((holes, i) => ({ x: holes, y: curve.values[i] }))
    .filter((point) => isNumber(point.y) && point.y > 0);
}

function drawGrowth(id, family, key, unit) {
  const growth = results.growth.find((one) => one.family === family);
  const datasets = allocators
    .filter((name) => growth?.allocators[name])
    .map((name) => [name, growth.allocators[name][key]])
    .filter(([, curve]) => pointsOf(curve).length > 0)
    .map(([name, curve]) => line(`${name}, n^${exponent(curve.exponent)}`, colours[name], pointsOf(curve)));
  if (datasets.length === 0) {
    element(id).parentElement.textContent = "Not counted in this run.";
    return;
  }
  drawLines(id, datasets, axis("holes", "logarithmic"), axis(unit, "logarithmic"));
}

function drawGrowthCsky() {
  const datasets = results.growth.flatMap(({ family, csky }) => [
    line(`${family}, mean, n^${exponent(csky.mean.exponent)}`, colours[family], pointsOf(csky.mean)),
    line(`${family}, maximum, n^${exponent(csky.max.exponent)}`, colours[family], pointsOf(csky.max),
      { borderDash: [5, 4] }),
  ]);
  drawLines("growth-csky", datasets, axis("holes", "logarithmic"),
    axis("instructions", "logarithmic", { min: 10, max: 10000 }));
}

function drawCsky() {
  const names = Object.keys(results.others.allocators);
  const labels = Object.keys(results.others.allocators[names[0]]);
  const core = Object.fromEntries(results.workloads.map(({ name, csky }) => [name, csky?.mean]));
  const greys = ["#7d8597", "#9aa1b0", "#b6bcc8", "#5f9ea0", "#88b8b9"];
  const datasets = [{ label: "core", data: labels.map((label) => core[label]), backgroundColor: colours.core }];
  names.forEach((name, i) => datasets.push({
    label: name, data: labels.map((label) => results.others.allocators[name][label]), backgroundColor: greys[i],
  }));
  new Chart(element("csky"), {
    type: "bar",
    data: { labels, datasets },
    options: {
      animation: false, responsive: true, maintainAspectRatio: false,
      scales: { x: { grid: { display: false } }, y: axis("instructions of a call, mean", "logarithmic", { min: 10 }) },
      plugins: { legend: { labels: { boxWidth: 12, boxHeight: 12 } } },
    },
  });
  element("others").textContent = results.others.what;
}

let latency = null;
let fragmentation = null;

function drawWorkload(name) {
  latency?.destroy();
  fragmentation?.destroy();
  const all = results.workloads.find((workload) => workload.name === name).allocators;
  const present = allocators.filter((allocator) => all[allocator]);
  // No logarithm shows 0: the dearest call stands at a share of one in all.
  const rest = (share, i, points) => (share < 1 ? 1 - share : (1 - points[i - 1][0]) / 1.33);
  latency = drawLines("latency", present.map((allocator) => line(allocator, colours[allocator],
    all[allocator].ns.distribution.map(([share, ns], i, points) => ({ x: rest(share, i, points), y: Math.max(ns, 1) })),
    { stepped: "after", pointRadius: 0 })),
  axis("part of the calls that take longer", "logarithmic", { reverse: true }), axis("ns", "logarithmic"));

  const drawn = present.filter((allocator) => !allocator.startsWith("list"));
  const lost = (live, pages) => (pages > 0 ? 100 * (1 - live / pages) : 0);
  const lines = drawn.map((allocator) => line(allocator, colours[allocator],
    all[allocator].over_time.map(([call, live, pages]) => ({ x: call, y: lost(live, pages) })), { pointRadius: 0 }));
  lines.push(line("core, umm", colours.core,
    all.core.over_time.map(([call, , , umm]) => ({ x: call, y: umm })), { pointRadius: 0, borderDash: [5, 4] }));
  fragmentation = drawLines("fragmentation", lines, axis("calls"), axis("%", "linear", { min: 0 }));
}

function main() {
  Chart.defaults.color = style("--quiet");
  Chart.defaults.font.family = "system-ui, sans-serif";
  const { host, compiler, csky_compiler, counts, versions } = results.machine;
  element("machine").textContent =
    `${host}; ${compiler}; glibc ${versions.glibc}; mimalloc ${versions.mimalloc}; ` +
    `C-SKY: ${csky_compiler}. Instructions on this machine are counted by ` +
    (counts === "counter" ? "the processor." : results.quick ? "callgrind, which --quick leaves out." : "callgrind.");
  fillBars();
  fillRatios();
  fillLatencies();
  fillMemory();
  fillCsky();
  drawGrowth("growth-miss", "miss", "ns", "ns");
  drawGrowth("growth-steady", "steady", "ns", "ns");
  drawGrowth("growth-instructions", "steady", "instructions", "instructions");
  drawGrowthCsky();
  drawCsky();
  const select = element("workload");
  for (const { name } of results.workloads) select.add(new Option(name));
  select.addEventListener("change", () => drawWorkload(select.value));
  drawWorkload(select.value);
}

main();
