/* Glue between the embedded numbers, the form controls and the charts, which are Vega-Lite. */
"use strict";
const $ = (id) => document.getElementById(id);
const META = JSON.parse($("meta").textContent);
const { models: MODELS, datasets: DATASETS, metrics: METRICS, views: VIEWS, groups: GROUPS } = META;
const SIM = VIEWS.similarity;
const KINDS = { float32: Float32Array, uint32: Uint32Array, uint16: Uint16Array };
const shown = new Map(); // chart -> { view, draw number }
const lastRows = new Map(); // chart -> [header, rows] behind it, for its download
let bytes;

async function unpack() {
  const packed = Uint8Array.from(atob($("pack").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  bytes = await new Response(stream).arrayBuffer();
}

function column(name) {
  const [offset, length, kind] = META.index[name] ?? [0, 0, "float32"];
  return new KINDS[kind](bytes, offset, length);
}

// --- what is chosen -------------------------------------------------------------------------
const value = (id) => $(id)?.value ?? "";
const number = (id) => Number(value(id));
const metric = () => SIM.metrics[number("metric")];
const key = (dataset) => `${number("metric")} ${dataset}`;
const chosen = () => value("highlight");
const grouping = () => GROUPS[number("group")];
const groupOf = (m) => grouping().names[grouping().of[m]];
const colorOf = (m) => grouping().colors[grouping().of[m]];
const shapeOf = (m) => grouping().shapes[grouping().of[m]];
const kind = () => (metric().calibrated && value("values") === "calibrated" ? "calibrated" : "value");

/** Similarity of models x and y on a dataset; NaN where there is none. */
function similarity(which, dataset) {
  const table = SIM.tables[key(dataset)];
  if (!table) return () => NaN;
  return triangle(table.models, column(`${which} ${key(dataset)}`));
}

/** What an upper triangle has for models x and y; NaN where there is nothing. */
function triangle(models, values) {
  const at = new Map(models.map((model, place) => [model, place]));
  const n = at.size;
  return (x, y) => {
    const [i, j] = [at.get(x), at.get(y)].sort((a, b) => a - b);
    if (i === undefined || j === undefined || i === j) return NaN;
    return values[(i * (2 * n - i - 1)) / 2 + j - i - 1];
  };
}

function order(dataset) {
  const table = SIM.tables[key(dataset)];
  if (!table) return [];
  const here = new Set(table.models);
  const common = metric().order.filter((model) => here.has(model));
  const by = value("order");
  if (by === "own") return table.order;
  if (by === "name") return [...table.models].sort((x, y) => x - y);
  if (by === "group") return common.sort((x, y) => grouping().of[x] - grouping().of[y]);
  return common;
}

// --- rows of each chart: { rows, csv: [columns], params, texts, width, height, empty } -------
function pairs() {
  const [a, b] = [number("dataset"), number("other")];
  const [onA, onB] = [similarity(kind(), a), similarity(kind(), b)];
  const why = new Map((SIM.tables[key(a)]?.failures ?? []).flatMap(([x, y, reason]) =>
    [[`${x} ${y}`, reason], [`${y} ${x}`, reason]]));
  const models = order(a);
  return models.flatMap((x, px) => models.map((y, py) => ({ ...pairOf(x, y), px, py, a: onA(x, y),
    b: onB(x, y), why: why.get(`${MODELS[x]} ${MODELS[y]}`) ?? "" })));
}

function pairOf(x, y) {
  const same = groupOf(x) === groupOf(y);
  return { model_x: MODELS[x], model_y: MODELS[y], group_x: groupOf(x), group_y: groupOf(y),
    color: same ? colorOf(x) : "#8c8c8c", shape: same ? shapeOf(x) : "circle" };
}

/** Pairs with both numbers, those within a group on top. */
const drawable = (rows) => rows.filter((r) => Number.isFinite(r.a) && Number.isFinite(r.b))
  .sort((r, s) => (r.group_x === r.group_y) - (s.group_x === s.group_y));

const PAIR = ["model_x", "model_y", "group_x", "group_y"];
const scaleOf = () => metric()[kind()] ?? [0, 1];
const flip = () => kind() === "value" && !metric().larger;
const label = () => `${metric().label}${kind() === "calibrated" ? ", calibrated" : ""}`;

const CHARTS = {
  heat(width) {
    const [low, high] = scaleOf();
    const rows = pairs();
    const [a, b] = [number("dataset"), number("other")].map((d) => DATASETS[d]);
    caption("heat", `${label()} on ${a}; ${metric().larger || kind() === "calibrated" ? "larger" :
      "smaller"} is more similar, brighter is more similar. The diagonal shows the groups.`);
    const csv = [...PAIR, ["a", a], ...(a === b ? [] : [["b", b]]), "why"];
    return { rows, csv, keep: (r) => r.px < r.py, params: { low, high, flip: flip(),
      chosen: chosen(), sel: selection() }, texts: { cx: label() }, ...square(width, 760) };
  },
  scatter(width) {
    const rows = drawable(pairs().filter((r) => r.px < r.py));
    const [a, b] = [number("dataset"), number("other")].map((d) => DATASETS[d]);
    caption("scatter", `One point per pair of models, ${rows.length} pairs. ${correlation()}`);
    return { rows, csv: [...PAIR, ["a", a], ["b", b]], params: { chosen: chosen(),
      sel: selection() }, texts: { ax: `${label()} on ${a}`, bx: `the same on ${b}` },
      empty: "These two datasets have no pair of models in common.", ...square(width, 620) };
  },
  map(width) {
    const where = DATASETS[number("dataset")];
    const table = SIM.tables[key(number("dataset"))];
    const { models, stress } = table?.maps[kind()] ?? { models: [], stress: null };
    const points = column(`map ${kind()} ${key(number("dataset"))}`);
    const rows = stress === null ? [] : models.map((m, k) => ({ model: MODELS[m],
      group: groupOf(m), x: points[2 * k], y: points[2 * k + 1], color: colorOf(m),
      shape: shapeOf(m) }));
    const reach = 1.15 * Math.max(1e-9, ...points.map(Math.abs));
    const distance = kind() === "value" ? metric().distance : `1 − ${label()}`;
    const without = (table?.models ?? []).filter((m) => !models.includes(m)).map((m) => MODELS[m]);
    const left = without.length ? ` Left out, without a ${KIND[kind()]} value on ${where}: ` +
      `${without.join(", ")}.` : "";
    caption("map", rows.length ? `The nearer, the more similar. Stress ${stress.toFixed(2)}: 0.1 is ` +
      `fair, 0.2 poor. Names stand where they fit.${left}` : "");
    if (rows.length) placeNames(rows, (Math.min(width, 620) - 70) / (2 * reach), reach);
    return { rows, csv: ["model", "group", "x", "y"], params: { low: -reach, high: reach,
      chosen: chosen() },
      texts: { ax: `distance: ${distance}`, bx: "distance, the same scale" },
      empty: `A map needs 3 models with a value; on ${where}, ${models.length} of ` +
        `${table?.models.length ?? 0} have a ${KIND[kind()]} one by ${metric().label}.`,
      ...square(width, 620) };
  },
  matrix(width) {
    const measured = consistency(value("interval"));
    const names = [...new Set(measured.flatMap((r) => [r.x, r.y]))].sort();
    const place = new Map(names.map((name, k) => [name, k]));
    const rows = measured.flatMap((r) => [r, { ...r, x: r.y, y: r.x }])
      .map((r) => ({ ...r, px: place.get(r.x), py: place.get(r.y), tint: tint(r) }));
    const cell = width / (names.length + 2);
    const pale = measured.some(isOpen) ? " Pale: the interval holds 0, or there is none." : "";
    caption("matrix", "Correlation over pairs of models of their similarities on two datasets; " +
      `${sizes(measured, "consistency")}.${which("consistency", value("pairs"))}${pale}` +
      notes(measured, (r) => `${r.x} – ${r.y}`, value("pairs")));
    return { rows, keep: (r) => r.px < r.py, csv: consistencyColumns(), params: { names: cell > 62 },
      texts: { cx: methodName("method") },
      ...square(width, Math.min(700, 160 + 140 * names.length)) };
  },
  intervals(width) {
    const rows = consistency(value("interval")).filter((r) => Number.isFinite(r.value))
      .map((r) => ({ ...r, pair: `${r.x} – ${r.y}${r.marks && ` ${r.marks}`}` }));
    caption("intervals", `Bars: 95 % intervals, best pairs of datasets first.${bare(rows)}` +
      `${beside("consistency", value("pairs"))}`);
    const each = familiesOf("consistency") ? 24 : 16;
    return { rows, csv: consistencyColumns(), texts: { ax: methodName("method") },
      ...lines(width, rows, each),
      empty: "No pair of datasets has a value for this set of models." };
  },
  differences(width) {
    const { sets } = VIEWS.differences;
    const [means, mean] = [value("difference").startsWith("mean "), DATASETS.length];
    const found = packed("differences", VIEWS.differences, { metric: number("metric"),
      method: value("difference-method"), ...(means ? {} : { set: number("difference") }) });
    const rows = found.filter((r) => (r.x === mean) === means &&
      (!means || `mean ${sets[r.set][0]}` === value("difference"))).map((r) => {
      const [grouping, group_x, group_y] = sets[r.set];
      const [x, y] = [r.x, r.y].map((d) => DATASETS[d] ?? "*");
      const shown = headline(r, value("difference-pairs"));
      const name = means ? `${group_x} – ${group_y}` : `${x} – ${y}`;
      return { ...shown, x, y, grouping, group_x, group_y, name,
        pair: shown.marks ? `${name} ${shown.marks}` : name };
    });
    const what = means ? "the first group is than the second, mean over pairs of datasets" :
      `${rows[0]?.group_x} is than ${rows[0]?.group_y}, for each pair of datasets`;
    caption("differences", rows.length ? `${metric().label}, ${methodName("difference-method")}: how ` +
      `much more consistent ${what}. Thick: 95 % interval of each row; thin: 95 % for all rows ` +
      `together. Where the thin line leaves out 0, the groups differ.${bare(rows)}` +
      which("differences", value("difference-pairs")) +
      beside("differences", value("difference-pairs")) +
      notes(rows, (r) => r.name, value("difference-pairs")) : "");
    return { rows, csv: ["grouping", "group_x", "group_y", ["x", "dataset_x"], ["y", "dataset_y"],
      ...columnsOf("differences", VIEWS.differences.columns.filter((n) => !CODES.includes(n)))],
      ...lines(width, rows, familiesOf("differences") ? 26 : 18),
      texts: { ax: "difference of Fisher's z" },
      empty: "This metric has no such difference: too few models in a group, or no value." };
  },
  reliability(width) {
    const rows = reliable().flatMap((r) => [[r.x, r.y, r.reliability_x],
      [r.y, r.x, r.reliability_y]]).filter((r) => Number.isFinite(r[2]))
      .map(([dataset, partner, reliability]) => ({ dataset, partner, reliability }));
    return { rows, csv: ["dataset", "partner", "reliability"],
      ...lines(width, [...new Set(rows.map((r) => r.dataset))], 18),
      texts: { ax: `reliability (${methodName("reliability-method")})` },
      empty: "No dataset has a reliability for this set of models and metric." };
  },
  corrected(width) {
    const all = reliable();
    const rows = all.filter((r) => Number.isFinite(r.value) && Number.isFinite(r.corrected));
    const name = methodName("reliability-method");
    caption("corrected", `One point per pair of datasets, ${rows.length} of ${all.length}. Line: 95 % ` +
      "interval of the raw value over models; dashed: no correction. Above 1, the reliabilities came " +
      "out too low.");
    return { rows, csv: consistencyColumns(), texts: { ax: `consistency, raw (${name})`,
      bx: "consistency without the noise of stimuli" },
      empty: "No pair of datasets has a corrected value.", ...square(width, 520) };
  },
  behavior(width) {
    const [d, m] = [number("dataset"), number("behavior-measure")];
    const models = VIEWS.behavior.tables[`${m} ${d}`] ?? [];
    const [like, apart] = [similarity("value", d), triangle(models, column(`behavior ${m} ${d}`))];
    const rows = drawable(models.flatMap((x, k) => models.slice(k + 1).map((y) => ({
      ...pairOf(x, y), a: like(x, y), b: apart(x, y) }))));
    const [id, title] = VIEWS.behavior.measures[m];
    caption("behavior", rows.length ? `One point per pair of models on ${DATASETS[d]}, ` +
      `${rows.length} pairs. Raw values, ${metric().larger ? "larger" : "smaller"} is more ` +
      `similar. ${ofDataset(d)}` : "");
    return { rows, csv: [...PAIR, ["a", META.metrics[number("metric")]], ["b", id]],
      params: { chosen: chosen() }, texts: { ax: metric().label, bx: title },
      empty: `On ${DATASETS[d]}, no two models have both a similarity and this measure.`,
      ...square(width, 520) };
  },
  relation(width) {
    const all = relation();
    const rows = all.filter((r) => Number.isFinite(r.value)).map((r) => ({ ...r,
      pair: r.marks ? `${r.dataset} ${r.marks}` : r.dataset }));
    const without = all.filter((r) => !Number.isFinite(r.value));
    const name = methodName("behavior-method");
    caption("relation", `${name} of ${metric().label} and ${measure()}, over pairs of models. Bars: ` +
      `95 % intervals${familiesOf("behavior") ? "" : " over models"}.${bare(rows)}` +
      `${which("behavior", value("behavior-pairs"))}${beside("behavior", value("behavior-pairs"))}` +
      (familiesOf("behavior") ? ` ${sizes(rows, "behavior")}.` : "") +
      notes(rows, (r) => r.dataset, value("behavior-pairs")) +
      without.map((r) => ` ${r.dataset}: ${r.status}.`).join(""));
    return { rows, csv: columnsOf("behavior", ["dataset", "domain", "value", "low", "high", "p",
      "n_models", "n_pairs", ...(VIEWS.behavior.further ?? []), "status"]),
      ...lines(width, rows, familiesOf("behavior") ? 26 : 22), texts: { ax: name },
      empty: "No dataset has enough models with this measure." };
  },
  curves(width) {
    const { rows, ticks, ax } = curveRows();
    return { rows, csv: ["setting", ...PAIR.slice(0, 2), "value", "median", "low", "high",
      "agreement"], params: { ticks, chosen: chosen() }, texts: { ax, bx: metric().label },
      width, height: 320, empty: "This dataset and metric have no curve along this axis." };
  },
  agreement(width) {
    const { rows, ticks, ax } = curveRows();
    const whole = rows.filter((r) => r.agreement !== undefined);
    return { rows: whole, csv: ["setting", "agreement"], params: { ticks }, texts: { ax }, width,
      height: 320, empty: "This dataset and metric have no curve along this axis." };
  },
  probe(width) {
    const measure = value("measure");
    const [of, model, layer, kinds] = ["dataset", "model", "layer", "kind"]
      .map((name) => column(`probe ${name}`));
    const scores = column(`probe ${measure}`);
    const rows = [...of.keys()].filter((k) => of[k] === number("dataset") && scores[k] >= 0 &&
      kinds[k] === number("kind"))
      .map((k) => ({ model: MODELS[model[k]], layer: VIEWS.probe.layers[layer[k]],
        group: groupOf(model[k]), value: scores[k], color: colorOf(model[k]),
        shape: shapeOf(model[k]) }));
    const many = new Set(rows.map((r) => r.model)).size < rows.length;
    rows.forEach((r) => { r.name = many ? `${r.model} (${r.layer})` : r.model; });
    const made = lines(width, rows, 18);
    return { rows, csv: ["model", "layer", "group", ["value", measure]], ...made, params: {
      ...made.params, chosen: chosen() }, texts: { ax: `${measure.replaceAll("_", " ")} (share)` },
      empty: "This dataset has no such probe." };
  },
  layers(width) {
    const table = VIEWS.layers[key(number("dataset"))];
    const [x, y] = [number("layers-x"), number("layers-y")];
    const rows = table ? layerRows(table, x, y) : [];
    const all = rows.map((r) => r.value).filter(Number.isFinite);
    const names = [...new Set(rows.map((r) => r.layer_x))].length;
    return { rows, csv: ["layer_x", "layer_y", "value"], params: { low: Math.min(...all, 1),
      high: Math.max(...all, -1), flip: !metric().larger }, texts: { ax: `layers of ${MODELS[x]}`,
      bx: `layers of ${MODELS[y]}`, cx: metric().label },
      empty: table ? "A model of the pair is not on this dataset." : "The layers of this dataset " +
        "and metric are not on the page: see results/similarity.",
      ...square(width, Math.max(300, Math.min(620, 60 * names + 200))) };
  },
};

const KIND = { value: "raw", calibrated: "calibrated" };
const methodName = (id) => META.methods[value(id)] ?? value(id);
const measure = () => VIEWS.behavior.measures[number("behavior-measure")][1];

/** Size of a chart of rows with names; narrow ones have each half of a pair on its own line, but
    for so many rows that phones could not draw them. */
function lines(width, rows, each) {
  const cut = width < 500 && rows.length <= 100 && rows.some((r) => r.pair?.includes(" – "));
  return { width, height: 70 + (cut ? 30 : each) * rows.length,
    params: { room: Math.max(90, 0.35 * width), cut: cut ? " – " : "\n" } };
}

/** Finds a place for each name beside its point, clear of points and names; else it has none. */
function placeNames(rows, scale, reach) {
  const box = (x, y, w, h) => [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
  const taken = rows.map((r) => box(r.x * scale, r.y * scale, 10, 10));
  for (const row of rows) {
    const w = 6.4 * row.model.length + 4;
    const most = reach * scale - w / 2; // names stay inside the frame
    const spots = [[0, 12], [0, -12], [w / 2 + 7, 0], [-w / 2 - 7, 0]].map(([dx, dy]) =>
      box(Math.max(-most, Math.min(most, row.x * scale + dx)), row.y * scale + dy, w, 12));
    const spot = spots.find((s) => taken.every((t) => s[0] >= t[2] || t[0] >= s[2] ||
      s[1] >= t[3] || t[1] >= s[3]));
    const [left, low, right, high] = spot ?? spots[0];
    Object.assign(row, { named: Boolean(spot), label_x: (left + right) / 2 / scale,
      label_y: (low + high) / 2 / scale });
    if (spot) taken.push(spot);
  }
}

function bare(rows) {
  const count = rows.filter((r) => !Number.isFinite(r.low)).length;
  const who = count === rows.length ? "No row has" : `${count} of ${rows.length} rows lack`;
  return count ? ` ${who} an interval: too few models, or no resampling.` : "";
}

const beside = (view, pairs) => (familiesOf(view) && pairs === "between" ?
  " Open points: over all pairs of models." : "");

const square = (width, most) => ({ width: Math.min(width, most), height: Math.min(width, most) });

function selection() {
  const [from, to] = ["from", "to"].map((id) => (value(id) === "" ? null : number(id)));
  if (from === null && to === null) return {};
  return { a: [from ?? -Infinity, to ?? Infinity], b: [-Infinity, Infinity] };
}

const CODES = ["metric", "x", "y", "set", "method"];
const consistencyColumns = () => [["x", "dataset_x"], ["y", "dataset_y"],
  ...columnsOf("consistency", ["value", "low", "high", "p", "n_models", "n_pairs", ...(VIEWS.consistency?.further ?? []),
  ...Object.keys(VIEWS.consistency?.texts ?? {}).filter((n) => !["method", "outlier"].includes(n))])];

/** Rows of an embedded table that have what is asked for; texts stand for their codes. */
function packed(table, { columns, texts }, wanted) {
  const c = Object.fromEntries(columns.map((name) => [name, column(`${table} ${name}`)]));
  const codes = Object.entries(wanted).map(([name, of]) => [c[name], texts[name]?.indexOf(of) ?? of]);
  const rows = [];
  for (let k = 0; k < (c[columns[0]]?.length ?? 0); k += 1) {
    if (codes.every(([values, code]) => values[k] === code)) {
      rows.push(Object.fromEntries(columns.map((name) =>
        [name, texts[name] ? texts[name][c[name][k]] : c[name][k]])));
    }
  }
  return rows;
}

function consistency(interval, set = number("set"), method = value("method"), which = value("pairs")) {
  const ends = interval === "joint" ? ["low_joint", "high_joint"] : ["low", "high"];
  return packed("consistency", VIEWS.consistency, { metric: number("metric"), set, method })
    .map((r) => headline({ ...r, x: DATASETS[r.x], y: DATASETS[r.y], low: r[ends[0]],
      high: r[ends[1]] }, which));
}

const reliable = () => consistency("models", number("reliability-set"), value("reliability-method"),
  "all");

const relation = () => packed("relation", VIEWS.behavior, { metric: number("metric"),
  measure: number("behavior-measure"), method: value("behavior-method") })
  .map((r) => headline({ ...r, dataset: DATASETS[r.dataset] }, value("behavior-pairs")));

/** The study's own number for the two chosen datasets: raw values, all models. */
function correlation() {
  if (!VIEWS.consistency) return "";
  const all = VIEWS.consistency.sets.findIndex(([grouping]) => grouping === "all");
  const ends = [number("dataset"), number("other")].map((d) => DATASETS[d]);
  const method = VIEWS.consistency.texts.method[0];
  const [row, plain] = ["between", "all"].map((pairs) => consistency("models", all, method, pairs)
    .find((r) => ends.includes(r.x) && ends.includes(r.y) && r.x !== r.y));
  if (!row || ends[0] === ends[1] || !Number.isFinite(row.value)) return "";
  const others = familiesOf("consistency") ? `; all pairs: ${told(method, plain)}` : "";
  return `Consistency of raw values, ${sizes([row], "consistency")}${others && ", between families"}: ` +
    `${told(method, row)}${others}.`;
}

/** How similarity and behavior go together on a dataset, or why that is not known. */
function ofDataset(d) {
  const row = VIEWS.behavior.columns.length && relation().find((r) => r.dataset === DATASETS[d]);
  if (!row) return "";
  return Number.isFinite(row.value) ? `${told(row.method, row)}.` : `No correlation: ${row.status}.`;
}

function told(method, row) {
  const interval = Number.isFinite(row.low) ? ` [${two(row.low)}, ${two(row.high)}]` : "";
  const p = Number.isFinite(row.p) ? `, p = ${row.p.toPrecision(2)}` : "";
  return `${META.methods[method] ?? method} ${two(row.value)}${interval}${p}`;
}

function curveRows() {
  const axis = value("axis");
  const found = VIEWS.curves[axis]?.[key(number("dataset"))];
  const ax = { n: "samples", k: "neighbours", k_share: "neighbours, share of samples" }[axis] ?? axis;
  if (!found) return { rows: [], ticks: [], ax };
  const name = `${axis} ${key(number("dataset"))}`;
  const [summary, values, n] = [column(`summary ${name}`), column(`curves ${name}`),
    found.settings.length];
  const rows = found.settings.map((setting, k) => ({ setting, median: summary[k],
    low: summary[n + k], high: summary[2 * n + k], agreement: summary[3 * n + k] }));
  found.pairs.forEach(([x, y], p) => found.settings.forEach((setting, k) => rows.push({ setting,
    pair: p, model_x: MODELS[x], model_y: MODELS[y], value: values[p * n + k],
    color: groupOf(x) === groupOf(y) ? colorOf(x) : "#8c8c8c" })));
  return { rows, ticks: found.settings, ax };
}

function layerRows(table, x, y) {
  const start = new Map();
  let total = 0;
  for (const [model, names] of table.layers) { start.set(model, [total, names]); total += names.length; }
  if (!start.has(x) || !start.has(y)) return [];
  const values = column(`layers ${key(number("dataset"))}`);
  const at = (i, j) => {
    if (!table.symmetric) return values[i * total + j];
    const [low, high] = i < j ? [i, j] : [j, i];
    return values[(low * (2 * total - low + 1)) / 2 + high - low];
  };
  const [[i0, ofX], [j0, ofY]] = [start.get(x), start.get(y)];
  return ofX.flatMap((layer_x, i) => ofY.map((layer_y, j) => ({ layer_x, layer_y,
    value: at(i0 + i, j0 + j) })));
}

// --- drawing ---------------------------------------------------------------------------------
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = () => css("--scheme") === "dark";

function config() {
  const [ink, line] = [css("--ink"), css("--line")];
  const text = { labelColor: ink, titleColor: ink, labelFontSize: 11, titleFontSize: 12,
    titleFontWeight: "normal" };
  return { background: "transparent", font: "system-ui, sans-serif", view: { stroke: line },
    axis: { ...text, labelSeparation: 8, gridColor: line, domainColor: line, tickColor: line }, legend: text,
    text: { color: ink }, point: { color: css("--focus") }, mark: { invalid: "filter" } };
}

function caption(id, text) { $(`${id}-caption`).textContent = text; }

async function draw(id) {
  const place = $(id);
  const turn = (shown.get(id)?.turn ?? 0) + 1;
  shown.get(id)?.view?.finalize();
  shown.set(id, { turn });
  const made = CHARTS[id](Math.max(240, place.clientWidth));
  lastRows.set(id, [made.csv, made.rows.filter(made.keep ?? (() => true))]);
  if (!made.rows.length) {
    place.textContent = made.empty ?? "Nothing to show.";
    shown.set(id, { turn, empty: true });
    return;
  }
  let text = JSON.stringify(META.specs[id]);
  for (const [name, words] of Object.entries(made.texts ?? {})) {
    text = text.replaceAll(`"{${name}}"`, () => JSON.stringify(words));
  }
  const spec = { ...JSON.parse(text), datasets: { rows: made.rows }, width: made.width,
    height: made.height, autosize: { type: "fit", contains: "padding" },
    description: `${$(`${id}-title`).textContent}: chart of ${made.rows.length} values` };
  for (const param of spec.params ?? []) param.value = made.params?.[param.name] ?? param.value;
  const { view } = await window.vegaEmbed(place, spec, { config: config(), renderer: "canvas",
    actions: { export: true, source: false, compiled: false, editor: false },
    downloadFileName: id, tooltip: { theme: dark() ? "dark" : "light" } });
  if (shown.get(id).turn !== turn) { view.finalize(); return; }
  shown.set(id, { turn, view });
  view.addEventListener("click", (event, item) => pick(id, item?.datum));
  if (id === "scatter") view.addSignalListener("brush", (name, area) => select(area));
}

/** Brushed intervals go to the heat map and the scatter plot. */
function select(area) {
  for (const id of ["heat", "scatter"]) shown.get(id)?.view?.signal("sel", area).runAsync();
}

/** A click on a model highlights it; on a pair, it is what the layers are shown of. */
function pick(id, datum) {
  const model = MODELS.indexOf(datum?.model);
  if (model >= 0) set("highlight", chosen() === datum.model ? "" : datum.model);
  if (id === "heat" && datum?.model_x && $("layers-x")) {
    set("layers-x", MODELS.indexOf(datum.model_x));
    set("layers-y", MODELS.indexOf(datum.model_y));
  }
}

function set(id, to) {
  $(id).value = String(to);
  $(id).dispatchEvent(new Event("change", { bubbles: true }));
}

function legend() {
  const { names, colors, shapes, of, title } = grouping();
  const paths = META.paths;
  $("legend").replaceChildren(...names.map((name, k) => {
    const item = document.createElement("li");
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    mark.setAttribute("viewBox", "-1.2 -1.2 2.4 2.4");
    mark.setAttribute("aria-hidden", "true");
    path.setAttribute("d", paths[shapes[k]] ?? shapes[k]);
    path.setAttribute("fill", colors[k]);
    mark.append(path);
    item.append(mark, `${name} (n = ${of.filter((group) => group === k).length})`);
    return item;
  }));
  $("legend").setAttribute("aria-label", `Groups: ${title}`);
}

// --- downloads -------------------------------------------------------------------------------
function download(id) {
  const [columns, rows] = lastRows.get(id) ?? [[], []];
  const cell = (v) => {
    if (typeof v === "number") return Number.isFinite(v) ? String(Number(v.toPrecision(7))) : "";
    return /[",\n]/.test(v ?? "") ? `"${v.replaceAll('"', '""')}"` : (v ?? "");
  };
  const names = columns.map((c) => (Array.isArray(c) ? c : [c, c]));
  const lines = [names.map(([, name]) => cell(name)), ...rows.map((r) => names.map(([f]) => cell(r[f])))];
  const parts = [id, DATASETS[number("dataset")], META.metrics[number("metric")]];
  save(`${parts.join("_")}.csv`, `${lines.map((line) => line.join(",")).join("\n")}\n`);
}

function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function saveTable(id) {
  const quoted = (cell) => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  const lines = [...$(id).rows].map((row) => [...row.cells].map((c) => quoted(c.textContent.trim())));
  save(`${id}.csv`, `${lines.map((line) => line.join(",")).join("\n")}\n`);
}

function sortTable(button) {
  const table = button.closest("table");
  const heads = [...table.tHead.rows[0].cells];
  const [head, place] = [button.parentElement, heads.indexOf(button.parentElement)];
  const up = head.getAttribute("aria-sort") !== "ascending";
  heads.forEach((h) => h.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const cell = (row) => row.cells[place];
  const known = (row) => !("number" in cell(row).dataset) || cell(row).dataset.number !== "";
  const compared = (x, y) => ("number" in cell(x).dataset ?
    Number(cell(x).dataset.number) - Number(cell(y).dataset.number) :
    cell(x).textContent.localeCompare(cell(y).textContent, "en", { numeric: true }));
  const rows = [...table.tBodies[0].rows];
  const sorted = rows.filter(known).sort(compared);
  if (!up) sorted.reverse();
  table.tBodies[0].append(...sorted, ...rows.filter((row) => !known(row))); // nothing stands last
}

// --- start -----------------------------------------------------------------------------------
/** Draws again what a control decides: all charts, or those of its section. */
function refresh(control) {
  const section = control?.closest?.("section")?.id;
  const near = new Set([...document.querySelectorAll(`#${section} [data-chart]`)]
    .map((figure) => figure.dataset.chart));
  if (near.has("heat") || near.has("scatter")) near.add("heat").add("scatter"); // one selection
  if (control?.id === "values") near.add("map");
  legend();
  const option = $("values")?.querySelector("[value=calibrated]");
  if (option) option.disabled = !metric().calibrated;
  if (option?.disabled) $("values").value = "value";
  if (VIEWS.grounding && (!near.size || near.has("grounded"))) groundingTable();
  for (const id of shown.keys()) if (!near.size || near.has(id)) draw(id);
}

function theme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}

async function start() {
  await unpack();
  refresh();
  document.addEventListener("change", (event) => {
    if (event.target.id === "theme") theme(event.target.value);
    refresh(event.target);
  });
  document.addEventListener("click", (event) => {
    const { csv, table, sort } = event.target.dataset ?? {};
    if (csv) download(csv);
    if (table) saveTable(table);
    if (sort !== undefined) sortTable(event.target);
    groundingClick(event.target);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => refresh());
  let width = document.documentElement.clientWidth;
  window.addEventListener("resize", () => {
    if (document.documentElement.clientWidth === width) return;
    width = document.documentElement.clientWidth;
    refresh();
  });
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
    const id = entry.target.dataset.chart;
    if (entry.isIntersecting && !shown.has(id)) draw(id);
  }), { rootMargin: "400px" });
  document.querySelectorAll("[data-chart]").forEach((figure) => seen.observe(figure));
}

start();
