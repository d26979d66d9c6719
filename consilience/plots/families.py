"""What figures show of families of models: values between families, outliers, remarks of rows."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from consilience.pairs.families import MIN_BETWEEN, MIN_FAMILIES, NONE
from consilience.plots.style import LETTER, minus

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUTLIER, REMARK = "†", "‡"
"""What marks a value that one model or family drives, and one whose p and interval disagree."""
ENDS = ("value", "low", "high", "p", "low_simultaneous", "high_simultaneous")
NAMED = 3
"""Most rows that a footnote names, and most footnotes on outliers."""
SAME, NO_INTERVAL = "between families: ", "no interval"
"""Begin what a status says of the value between families, and of a missing interval."""
CLUSTER = "models cluster by"
"""Begins what a status says of intervals that are too narrow."""
WITHIN = ": "
"""Stands in names of rows before the datasets."""

Namer = Callable[[Any], str]


def pair_of_datasets(row: Any) -> str:  # noqa: ANN401
    """Returns the name of a row of consistency where all rows are of one set of models."""
    return f"{row.dataset_x} – {row.dataset_y}"


def families_of(rows: pd.DataFrame) -> str:
    """Returns the metadata column of the families by which there are values; empty for none."""
    if "value_between" not in rows or not rows["value_between"].notna().any():
        return ""
    return str(rows.loc[rows["value_between"].notna(), "clusters"].iloc[0])


def headline(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns rows whose value, interval and p are those between families, where there are any.

    Those over all pairs of models stand in `value_all`, `low_all` and `high_all`. A row without a
    pair between families has no value then.

    Args:
        rows: of consistency, its means or differences, or of behavior's relations.
    """
    if not families_of(rows):
        return rows
    alone = rows["clusters"] == NONE  # no two of its models are of one family
    plain = {f"{name}_all": rows[name].mask(alone) for name in ("value", "low", "high")}
    ends = [name for name in ENDS if name in rows and _between(name) in rows]
    return rows.assign(
        **plain, **{name: rows[_between(name)].mask(alone, rows[name]) for name in ends}
    )


def _between(name: str) -> str:
    first, _, rest = name.partition("_")
    return f"{first}_between{'_' * bool(rest)}{rest}"


def models_in(rows: pd.DataFrame) -> str:
    """Returns how many models rows are of, and how many families where figures show these."""
    text = _count(rows["n_models"], "models")
    if "value_all" in rows or families_of(rows):
        text += f" in {_count(rows['n_families'], 'families')}"
    return text


def _count(numbers: pd.Series, noun: str) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    if high == 1:
        return f"1 {noun.removesuffix('ies')}y" if noun.endswith("ies") else f"1 {noun[:-1]}"
    return f"{low} {noun}" if low == high else f"{low} to {high} {noun}"


def sizes_of(row: Any) -> str:  # noqa: ANN401
    """Returns how many models a row is of, and how many families where it is of families."""
    if np.isnan(getattr(row, "value_all", np.nan)):
        return f"n = {row.n_models}"
    return f"n = {row.n_models}, F = {row.n_families}"


def between(rows: pd.DataFrame, form: str = "between families of `{}`") -> str:
    """Returns what the headline is, for a title; empty without families."""
    column = families_of(rows)
    return form.format(column) if column else ""


def is_open(row: Any) -> bool:  # noqa: ANN401
    """Returns whether the interval of a row holds both signs, or families are too few for one."""
    few = np.isnan(row.low) and not np.isnan(getattr(row, "value_all", np.nan))
    return bool(row.low <= 0 <= row.high or (few and NO_INTERVAL in getattr(row, "status", "")))


def value_beside(row: Any) -> float:  # noqa: ANN401
    """Returns the value over all pairs of models, NaN where all are between families."""
    plain = getattr(row, "value_all", np.nan)
    if np.isnan(getattr(row, "value", np.nan)):
        return float(plain)
    same = getattr(row, "n_pairs_between", np.nan) == getattr(row, "n_pairs", -1)
    return np.nan if same else float(plain)


def driver(outlier: object) -> str:
    """Returns who drives a value, from the cell of a table; empty for nobody or nothing known."""
    return outlier if isinstance(outlier, str) else ""


def marks(row: Any) -> str:  # noqa: ANN401
    """Returns the signs of a row whose outlier or remark a footnote tells."""
    found = OUTLIER if driver(getattr(row, "outlier", "")) else ""
    families = not np.isnan(getattr(row, "value_all", np.nan))
    return found + REMARK * any(_disagrees(part) for part in _said(row, families=families))


def footnotes(
    rows: pd.DataFrame, name: Namer, width: float, *, intervals: bool = True
) -> list[str]:
    """Returns lines on outliers, on p against interval, on missing intervals and on clustering.

    Args:
        rows: what is shown, as the table has it.
        name: names a row.
        width: of the figure, in mm.
        intervals: whether it shows any; without, only outliers and clustering are told.
    """
    rows = rows[rows["value"].notna()] if len(rows) else rows
    notes = [*_outliers(rows, name), *_remarks(rows, name, intervals=intervals)]
    return [line for note in notes for line in textwrap.wrap(note, int(width / LETTER))]


def add_notes(figure: Figure, lines: Sequence[str], size: float) -> None:
    """Puts lines below all panels, and makes room for them."""
    if lines:
        above = figure.get_supxlabel()
        figure.supxlabel("\n".join([above, *lines] if above else lines), size=size)
        figure.set_figheight(figure.get_figheight() + (3.0 * len(lines) + 1) / 25.4)


def _outliers(rows: pd.DataFrame, name: Namer) -> list[str]:
    """Returns who drives which values, and what these are without."""
    if "outlier" not in rows:
        return []
    driven = rows[rows["outlier"].fillna("") != ""]
    if driven.empty:
        return []
    plain = " (over all pairs of models)" if families_of(rows) else ""
    driven = driven.reset_index(drop=True)
    moved = driven["value_without"].sub(driven["value"]).abs()
    shown = driven.loc[moved.nlargest(NAMED).index.sort_values()]
    words = [
        minus(f"{name(row)}: {row.value:.2f}, without {row.outlier} {row.value_without:.2f}")
        for row in shown.itertuples()
    ]
    rest = f"; {len(driven) - len(shown)} more in the table" if len(driven) > len(shown) else ""
    return [f"{OUTLIER} driven by one model or family{plain}: {'; '.join(words)}{rest}"]


def _remarks(rows: pd.DataFrame, name: Namer, *, intervals: bool) -> list[str]:
    """Returns each remark once, with the rows that make it."""
    found: dict[str, list[str]] = {}
    families = bool(families_of(rows))
    for row in rows.itertuples():
        for part in _said(row, families=families):
            if not intervals and CLUSTER not in part:
                continue
            text = part.partition(": without ")[0].removeprefix(SAME).replace("<=", "≤")
            text = f"{REMARK} {text}" if _disagrees(part) else text
            of_set = part.startswith(NO_INTERVAL)  # and so of all its pairs of datasets
            who = name(row).rpartition(WITHIN)[0] if of_set else ""
            found.setdefault(text, []).append(who or name(row))
    return [f"{text} ({_who(names, len(rows))})" for text, names in found.items()]


def _who(names: Sequence[str], rows: int) -> str:
    if len(names) == rows > 1:
        return "all values"
    names = list(dict.fromkeys(names))
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return "; ".join(names[:NAMED]) + rest


def _said(row: Any, *, families: bool) -> list[str]:  # noqa: ANN401
    """Returns the parts of a status that readers of a figure must know.

    With families, of p and interval only what is said of the value between families, which is
    shown; without, nothing of missing intervals, which are no news.
    """
    parts = str(getattr(row, "status", "")).split("; ")[1:]
    kept = [part for part in parts if not part.endswith("failed pairs left out")]
    if families:
        return [part for part in kept if part.startswith(SAME) or not _disagrees(part)]
    return [part for part in kept if not part.startswith(NO_INTERVAL)]


def _disagrees(part: str) -> bool:
    return "the interval" in part and CLUSTER not in part


def few_families(rows: pd.DataFrame, labels: Iterable[str]) -> str:
    """Returns why rows of means have no interval, and which; empty if all have one.

    Args:
        rows: with the values of `headline`, for tables without a status.
        labels: their names.
    """
    if "value_all" not in rows:
        return ""
    lacking = rows["value"].notna() & rows["low"].isna()
    none_asked = lacking.all() and (rows["n_families"] >= MIN_FAMILIES).all()
    if not lacking.any() or none_asked:
        return ""
    names = [label for label, lacks in zip(labels, lacking, strict=True) if lacks]
    return (
        f"no interval: it takes {MIN_FAMILIES} families, {MIN_BETWEEN} in each of two groups "
        f"({_who(names, len(rows))})"
    )
