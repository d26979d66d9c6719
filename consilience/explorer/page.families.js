/* Families of models: which of two values stands first, and what rows say of themselves. */

const OPEN = 0.4; // of its colour, what a cell keeps whose interval holds 0
const SAME = "between families: ";
const PLAIN = ["value", "low", "high", "p", "low_simultaneous", "high_simultaneous"];
const between = (name) => name.replace(/^([a-z]+)/, "$1_between");
const familiesOf = (view) => VIEWS[view]?.families ?? "";

/** A row whose numbers are those between families if `pairs` says so; `beside` is the other value,
    and `value_all` and the like are always those over all pairs. */
function headline(row, pairs) {
  if (row.value_between === undefined) return { ...row, plain: "", marks: marks(row, "all") };
  const alone = row.n_families === row.n_models && !Number.isFinite(row.value_between);
  const shown = { ...row };
  for (const name of PLAIN.filter((n) => row[n] !== undefined)) {
    shown[`${name}_all`] = row[name];
    if (pairs === "between" && !alone && row[between(name)] !== undefined) shown[name] = row[between(name)];
  }
  const first = pairs === "between" && !alone;
  shown.beside = first ? row.value : null;
  shown.plain = first && Number.isFinite(row.value) ? `all ${two(row.value)}` : "";
  return { ...shown, marks: marks(row, pairs) };
}

const two = (number) => number.toFixed(2).replace("-", "−");

/** Columns of a download: what the table calls value stays value, whatever is shown. */
const columnsOf = (view, names) => (familiesOf(view) ?
  [...names.map((n) => (PLAIN.includes(n) ? [`${n}_all`, n] : n)),
    ...VIEWS[view].columns.filter((n) => n.includes("_between") && !names.includes(n)),
    ...VIEWS[view].columns.filter((n) => n === "n_families" && !names.includes(n))] : names);

/** Whether an interval holds both signs, or families are too few for one. */
const isOpen = (row) => (row.low <= 0 && row.high >= 0) ||
  (row.beside !== undefined && !Number.isFinite(row.low) && row.status?.includes("no interval"));

const tint = (row) => (isOpen(row) ? OPEN * row.value : row.value);

/** What a status says beyond "ok": of the value that is shown, and of all. */
function said(row, pairs) {
  return (row.status ?? "").split("; ").slice(1).filter((part) =>
    !part.endsWith("failed pairs left out") && (row.value_between === undefined ||
    !disagrees(part) || part.startsWith(SAME) === (pairs === "between")));
}

const disagrees = (part) => part.includes("the interval") && !part.startsWith("models cluster");

const marks = (row, pairs) => (row.outlier ? "†" : "") + (said(row, pairs).some(disagrees) ? "‡" : "");

/** How many models and families, for captions. */
function sizes(rows, view) {
  const span = (name, one, many) => {
    const all = rows.map((r) => r[name]);
    const [low, high] = [Math.min(...all), Math.max(...all)];
    return low === high ? `${high} ${high === 1 ? one : many}` : `${low} to ${high} ${many}`;
  };
  if (!rows.length) return "";
  const models = span("n_models", "model", "models");
  return familiesOf(view) ? `${models} in ${span("n_families", "family", "families")}` : models;
}

/** What is shown, in words; empty without families. */
function which(view, pairs) {
  if (!familiesOf(view)) return "";
  return pairs === "between" ? ` Between families of ${familiesOf(view)}: over pairs of models of ` +
    "different families, intervals over families." : " Over all pairs of models, those within " +
    `families of ${familiesOf(view)} too; intervals over families.`;
}

/** Footnotes: who drives a value, where p and interval disagree, why intervals lack or mislead. */
function notes(rows, name, pairs) {
  const driven = rows.filter((r) => r.outlier && Number.isFinite(r.value_without));
  const words = driven.slice(0, 3).map((r) =>
    `${name(r)} ${two(r.value_all ?? r.value)}, without ${r.outlier} ${two(r.value_without)}`);
  const more = driven.length > 3 ? `; ${driven.length - 3} more` : "";
  const found = new Map();
  for (const row of rows) {
    for (const part of said(row, pairs)) {
      const text = (disagrees(part) ? "‡ " : "") +
        part.split(": without ")[0].replace(SAME, "").replace("<=", "≤");
      found.set(text, [...(found.get(text) ?? []), name(row)]);
    }
  }
  const remarks = [...found].map(([text, of]) => ` ${text[0].toUpperCase()}${text.slice(1)} (${
    of.length === rows.length ? "all" : of.slice(0, 3).join("; ") +
    (of.length > 3 ? ` and ${of.length - 3} more` : "")}).`);
  return (words.length ? ` † Driven by one model or family, over all pairs: ${words.join("; ")}${more}.` :
    "") + remarks.join("");
}
