/* The view of grounding: a table of metrics and tests, one test as a chart, and mean ranks. */

const GROUNDING = VIEWS.grounding;
const SIGNS = { failed: "failed", constant: "constant", too_small: "too few" };
const TOLD = { best: "the best", maybe: "cannot be told from the best", worse: "worse", "": "" };
const VIOLET = "#8073ac";
const numberOf = (x) => (Number.isFinite(x) ?
  x.toFixed(2).replace(/^(-?)0\./, "$1.").replace(/^-\.00$/, ".00").replace("-", "\u2212") : "");
const labelOf = (r) => SIM.metrics[r.metric].label;
const measured = ([, , test, measure]) => `${test}${test === "output" ? ` (${measure})` : ""}`;
const testName = (names) => `${names[1]}, ${measured(names)}`;
let found; // rows of all metrics and tests, with the place of their test

function groundingRows() {
  if (!found) {
    const place = new Map(GROUNDING.cases.map((names, k) => [names.join("\n"), k]));
    found = packed("grounding", GROUNDING, {}).map((r) => ({ ...r,
      test: place.get([r.domain, r.recipe, r.test, r.measure].join("\n")),
      name: labelOf(r), said: TOLD[r.told] }));
  }
  return found;
}

const rankRows = (domain) => packed("ranks", GROUNDING.ranks, { domain });

/** All that is known of a value, in a sentence. */
function valueSaid(r) {
  const names = testName(GROUNDING.cases[r.test]);
  const ends = Number.isFinite(r.low) ? ` [${numberOf(r.low)}, ${numberOf(r.high)}]` : "";
  const p = Number.isFinite(r.p) ? `, p = ${r.p.toPrecision(2)}` : "";
  const behind = Number.isFinite(r.behind_low) ? ` (difference ${numberOf(r.behind)} ` +
    `[${numberOf(r.behind_low)}, ${numberOf(r.behind_high)}])` : "";
  const value = Number.isFinite(r.value) ? `${r.score} ${numberOf(r.value)}${ends}, chance ` +
    `${numberOf(r.chance)}${p}` : "no value";
  const seeds = r.same_seed === "drop" ? "; without pairs across groups that share a start" : "";
  const failed = r.n_failed ? `, ${r.n_failed} of ${r.n_pairs} pairs failed` : "";
  return `${r.name}, ${names}: ${value}${r.said ? `; ${r.said}${behind}` : ""}; ${r.n_models} ` +
    `models${failed}; ${r.status}${r.note ? ` (${r.note})` : ""}${seeds}.`;
}

/** Draws the table of the chosen modality, by place. */
function groundingTable() {
  const domain = value("grounding-domain");
  if ($("grounding-table").dataset.domain === domain) return; // stays sorted as it is
  $("grounding-table").dataset.domain = domain;
  const rows = groundingRows();
  const tests = GROUNDING.cases.map((names, k) => [k, names]).filter(([, names]) =>
    names[0] === domain);
  const ranks = new Map(rankRows(domain).map((r) => [r.metric, r]));
  const at = new Map(rows.map((r) => [`${r.metric} ${r.test}`, r]));
  const metrics = [...new Set(rows.filter((r) => r.domain === domain).map((r) => r.metric))];
  const rank = (m) => ranks.get(m)?.mean_rank ?? Infinity;
  metrics.sort((x, y) => rank(x) - rank(y));
  const table = $("grounding-table");
  const heads = [["metric"], ["place"], ["mean rank"], ...tests.map(([k, names]) => {
    const first = at.get(`${metrics[0]} ${k}`);
    return [measured(names), names[1], `chance ${numberOf(first?.chance)}`,
      first?.status === "not_grounded" ? "does not count" : ""];
  })];
  table.tHead.replaceChildren(row(heads.map(headCell)));
  table.tBodies[0].replaceChildren(...metrics.map((m) => row([metricCell(m),
    numberCell(ranks.get(m)?.place, (x) => String(x)),
    numberCell(ranks.get(m)?.mean_rank, (x) => x.toFixed(1)),
    ...tests.map(([k]) => valueCell(at.get(`${m} ${k}`)))])));
  const columns = [["name", "metric"], "domain", "recipe", "case", "measure", "score", "value",
    "chance", "low", "high", "p", "behind", "behind_low", "behind_high", "told", "status", "note",
    "n_models", "n_pairs", "n_failed"];
  lastRows.set("grounding-table", [columns, rows.filter((r) => r.domain === domain)
    .map((r) => ({ ...r, name: METRICS[r.metric], case: GROUNDING.cases[r.test][2] }))]);
}

function row(cells) {
  const made = document.createElement("tr");
  made.append(...cells);
  return made;
}

function headCell([title, ...notes]) {
  const head = document.createElement("th");
  head.scope = "col";
  const button = Object.assign(document.createElement("button"), { type: "button",
    textContent: title });
  button.dataset.sort = "";
  head.append(button);
  for (const note of notes.filter(Boolean)) {
    head.append(Object.assign(document.createElement("div"), { textContent: note,
      className: "soft" }));
  }
  return head;
}

function metricCell(m) {
  const cell = document.createElement("td");
  const button = Object.assign(document.createElement("button"), { type: "button",
    className: "plain", textContent: SIM.metrics[m].label, title: "Show this metric in all views" });
  button.dataset.metric = m;
  cell.append(button);
  return cell;
}

function numberCell(x, said) {
  const cell = document.createElement("td");
  cell.dataset.number = Number.isFinite(x) ? x : "";
  cell.textContent = Number.isFinite(x) ? said(x) : "\u2013";
  return cell;
}

function valueCell(r) {
  if (!r) return numberCell(NaN);
  const cell = numberCell(r.value, numberOf);
  const counts = r.status !== "not_grounded";
  const mark = { maybe: " \u25cf", worse: " \u25cb" }[r.told] ?? "";
  const button = Object.assign(document.createElement("button"), { type: "button",
    className: `plain${r.told === "best" ? " best" : ""}${counts ? "" : " soft"}`,
    title: valueSaid(r), textContent: Number.isFinite(r.value) ? `${numberOf(r.value)}${mark}` :
      SIGNS[r.status] ?? r.status });
  button.dataset.found = `${r.metric} ${r.test}`;
  if (counts && Number.isFinite(r.lift)) {
    const share = Math.round(55 * Math.min(1, Math.abs(r.lift)));
    cell.style.background = `color-mix(in srgb, ${r.lift > 0 ? "#8073ac" : "#e08214"} ${share}%, ` +
      "transparent)";
  }
  cell.replaceChildren(button);
  return cell;
}

/** A click on a value says all of it and shows its test; one on a metric shows it everywhere. */
function groundingClick(target) {
  const { metric: m, found: key } = target.dataset ?? {};
  if (m !== undefined) set("metric", m);
  if (key === undefined) return;
  const r = groundingRows().find((one) => `${one.metric} ${one.test}` === key);
  $("grounding-detail").textContent = valueSaid(r);
  set("grounding-test", r.test);
}

if (GROUNDING) Object.assign(CHARTS, {
  grounded(width) {
    const all = groundingRows().filter((r) => r.test === number("grounding-test"));
    const rows = all.filter((r) => Number.isFinite(r.value)).map((r) => ({ ...r, pair: r.name,
      color: r.told === "worse" || !r.told ? "#8c8c8c" : VIOLET,
      shape: r.told === "best" ? "diamond" : "circle" }));
    const lost = all.filter((r) => !Number.isFinite(r.value));
    const told = rows.filter((r) => r.told === "maybe" || r.told === "worse");
    const maybe = told.filter((r) => r.told === "maybe").length;
    const counts = told.length ? ` ${maybe} of ${told.length} other metrics cannot be told from ` +
      "the best (violet), the others are worse (grey)." : "";
    const shut = all.some((r) => r.status === "not_grounded") ?
      ` The test does not count: ${all[0].note}.` : "";
    caption("grounded", `${testName(GROUNDING.cases[number("grounding-test")])}. Bars: 95 % ` +
      `intervals over models; dashed: chance.${counts}${shut}` +
      lost.map((r) => ` ${r.name}: ${r.status}.`).join(""));
    return { rows, csv: [["name", "metric"], "value", "low", "high", "chance", "p", "behind",
      "behind_low", "behind_high", "told", "status"], ...lines(width, rows, 18),
      texts: { ax: rows[0]?.score === "auprc" ? "AUPRC" : "Spearman's \u03c1" },
      empty: "No metric has a value in this test." };
  },
  ranks(width) {
    const domain = value("grounding-domain");
    const rows = rankRows(domain).map((r) => ({ ...r, value: r.mean_rank, name: labelOf(r),
      pair: labelOf(r) }));
    const apart = rows[0]?.critical_difference;
    const without = rows.filter((r) => !Number.isFinite(r.place)).map((r) => r.name);
    caption("ranks", `Mean rank over the tests of ${domain}, 1 is best. Bars: 95 % intervals over ` +
      `models.${Number.isFinite(apart) ? ` Critical difference (Nemenyi) ${apart.toFixed(1)}, which ` +
      "is optimistic: tests share models." : ""}${without.length ? " Without a place, for want of " +
      `values: ${without.join(", ")}.` : ""}`);
    return { rows, csv: [["name", "metric"], "place", ["value", "mean_rank"], "low", "high",
      "median_rank", "coverage", "n_cases", "best_share"], ...lines(width, rows, 18),
      texts: { ax: "mean rank" }, empty: "No test of this modality counts." };
  },
});
