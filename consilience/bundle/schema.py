"""What a table of results must be before anybody believes it: columns, types, values, metadata.

The columns, and what they hold, stand in `consilience/results.toml`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from consilience.results import ResultFile, id_problem, kind_of

TEXTS = {"id", "name", "text", "SHA-256", "path"}
LISTS = {"ids", "counts", "0 … 1 each"}
FLAGS = {"yes or no"}
RANGES = {
    "0 … 1": (0.0, 1.0),
    "−1 … 1": (-1.0, 1.0),
    "count": (0.0, np.inf),
    "from 0": (0.0, np.inf),
    "seconds": (0.0, np.inf),
}
"""What numbers of a unit may be; estimates over a set of models may lie beyond."""
ENDLESS = {"calibrated"}
"""Columns that may be infinite: they follow from others, and are shown as missing then."""
WORDS = ("failure", "status", "note")
"""Columns that say why a row has no value."""
ROUNDING = 1e-6
SHOWN = 3
_STUDY = {"models": Mapping, "datasets": Mapping, "metrics": Mapping, "labels": str}
"""What a study says of each model, dataset and metric."""


def problems_of(name: str, table: pd.DataFrame) -> Iterator[str]:
    """Yields what is wrong with a table, as one sentence each.

    Args:
        name: its path below the results folder.
        table: in present names.
    """
    kind, ids = kind_of(name)
    odd = [f"{name} {said}" for said in _columns(kind, table)]
    yield from odd
    held = [column for column in table if column in kind.columns]
    wrong = {c: said for c in held if (said := _type(kind.columns[c][0], table[c]))}
    yield from (f"{name}: the column {column} {said}" for column, said in wrong.items())
    key = [column for column in kind.key if column in table]
    if not (odd or wrong):
        yield from (f"{name}: {said}" for said in _values(kind, table))
        if table.duplicated(key).any():
            yield f"{name} has a row twice"
    for column, value in ids.items():
        if column in table and column not in wrong and set(table[column]) - {value}:
            yield f"{name} holds another {column} than its name says"
    if not (odd or wrong):
        yield from (f"{name} {said}" for said in _metadata(kind, table))


def _columns(kind: ResultFile, table: pd.DataFrame) -> Iterator[str]:
    if table.columns.duplicated().any():
        yield "has a column twice"
    if kind.of_a_set and table.empty:
        return
    needed = kind.key if kind.of_a_set else kind.columns
    absent = [c for c in needed if c not in table and c not in (*kind.optional_key, *kind.optional)]
    if absent:
        yield f"has no column {', '.join(absent)}"
    if other := [str(column) for column in table if column not in kind.columns]:
        yield f"has the column {', '.join(other)}, which no table of its kind has"


def _type(unit: str, column: pd.Series) -> str:
    """Returns what is wrong with the cells of a column; "" if nothing is."""
    known = column.dropna()
    if known.empty:
        return ""
    is_flag = pd.api.types.is_bool_dtype(known)
    is_number = pd.api.types.is_numeric_dtype(known) and not is_flag
    is_number = is_number and not pd.api.types.is_complex_dtype(known)
    texts = all(isinstance(cell, str) for cell in known)
    wrong = {
        "lists": unit in LISTS and not all(isinstance(c, list | np.ndarray) for c in known),
        "flags": unit in FLAGS and not is_flag,
        "texts": unit in TEXTS and not texts,
        "classes": unit == "class" and not (is_number or texts),
        "numbers": unit not in {*LISTS, *FLAGS, *TEXTS, "class"} and not is_number,
    }
    return next((f"holds cells that are no {what}" for what, found in wrong.items() if found), "")


def _values(kind: ResultFile, table: pd.DataFrame) -> Iterator[str]:
    """Yields the columns whose numbers cannot be, or are missing without a reason."""
    words = [column for column in WORDS if column in table]
    reason = np.zeros(len(table), bool)
    for column in words:
        said = table[column].fillna("").astype(str)
        reason |= ((said != "") & (said != "ok")).to_numpy()
    for column, (unit, _) in kind.columns.items():
        if column not in table or not pd.api.types.is_numeric_dtype(table[column]):
            continue
        x = table[column].to_numpy(float, na_value=np.nan)
        if (endless := np.isinf(x) & ~reason).any() and column not in ENDLESS:
            yield f"the column {column} is infinite in {_rows(endless, table, kind)}"
        low, high = _range(column, unit, table)
        room = ROUNDING * max([1.0, *(abs(end) for end in (low, high) if np.isfinite(end))])
        out = np.isfinite(x) & ((x < low - room) | (x > high + room))
        if out.any() and not kind.of_a_set:
            yield f"the column {column} is not {_said(low, high)} in {_rows(out, table, kind)}"
        if (
            column == "value"
            and "failure" in kind.columns
            and (lost := np.isnan(x) & ~reason).any()
        ):
            yield f"no value, and no reason for it, in {_rows(lost, table, kind)}"


def _range(column: str, unit: str, table: pd.DataFrame) -> tuple[float, float]:
    """Returns what a column may be: of values of a metric, the bounds that its facts say."""
    bounds = table.attrs.get("facts")
    bounds = bounds.get("bounds") if isinstance(bounds, Mapping) and column == "value" else None
    if unit == "the metric's" and isinstance(bounds, list | tuple) and len(bounds) == 2:
        low, high = (end if isinstance(end, int | float) else None for end in bounds)
        return -np.inf if low is None else low, np.inf if high is None else high
    return RANGES.get(unit, (-np.inf, np.inf))


def _said(low: float, high: float) -> str:
    if np.isinf(low):
        return f"at most {high:g}"
    return f"from {low:g} on" if np.isinf(high) else f"from {low:g} to {high:g}"


def _rows(wrong: np.ndarray, table: pd.DataFrame, kind: ResultFile) -> str:
    places = np.flatnonzero(wrong)
    key = [column for column in kind.key if column in table]
    named = [" ".join(map(str, table[key].iloc[place])) for place in places[:SHOWN]]
    more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    return f"{len(places)} rows ({'; '.join(named)}{more})" if len(places) > 1 else named[0]


def _metadata(kind: ResultFile, table: pd.DataFrame) -> Iterator[str]:
    attrs = table.attrs
    for key in ("spec", "facts", "groups"):
        if attrs.get(key) is not None and not isinstance(attrs[key], Mapping):
            yield f"has metadata whose {key} are no names with values"
    if "layers" not in attrs and kind.name != "similarity":
        return
    layers = attrs.get("layers")
    if not isinstance(layers, dict) or not all(map(_is_layers, layers.values())):
        yield "does not say which layers its models have"
        return
    sides = [side for side in "xy" if f"model_{side}" in table]
    models = {model for side in sides for model in table[f"model_{side}"].dropna()}
    if lost := sorted(models - set(layers)):
        yield f"does not say which layers these models have: {_short(lost)}"
    if kind.name == "similarity" and not lost:
        ends = {
            end for s in "xy" for end in zip(table[f"model_{s}"], table[f"layer_{s}"], strict=True)
        }
        if other := sorted(f"{m} ({layer})" for m, layer in ends if layer not in layers[m]):
            yield f"has layers that it does not list: {_short(other)}"


def _is_layers(names: Any) -> bool:  # noqa: ANN401
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        return False
    return len(set(names)) == len(names)


def study_problems(study: Mapping[str, Any]) -> Iterator[str]:
    """Yields what is wrong with the form of what a bundle says of its study, as one sentence each.

    Args:
        study: `settings`, and the rows of `models`, `datasets`, `metrics` and `labels`.
    """
    for what, kind in _STUDY.items():
        rows = study.get(what)
        found = list(rows.values()) if isinstance(rows, Mapping) else [None]
        if not all(isinstance(row, kind) for row in found):
            yield f"the study's {what} are not what they should be"
        elif odd := [said for name in rows if what != "labels" and (said := id_problem(name))]:
            yield f"the study's {what}: {odd[0]}"
        elif what in ("models", "datasets"):
            cells = {type(cell) for row in found for cell in row.values()}
            if other := cells - {str, int, float, bool, type(None)}:
                named = min(kind.__name__ for kind in other)
                yield f"the study's {what} have cells that are of the type {named}"
        elif what == "metrics" and not all(
            isinstance(row.get("metric"), str) for row in rows.values()
        ):
            yield "the study's metrics do not say which metric they are"
    if not isinstance(study.get("settings"), Mapping):
        yield "the study's settings are not what they should be"


def strangers(name: str, table: pd.DataFrame, study: Mapping[str, Any]) -> Iterator[str]:
    """Yields of which datasets, metrics and models a table is that the study does not name."""
    kind, ids = kind_of(name)
    meant = {what: {ids[what]} for what in ("dataset", "metric") if what in ids}
    columns = [c for c in ("model", "model_x", "model_y") if c in table and kind.on_page]
    meant["model"] = {model for c in columns for model in table[c].dropna()}
    for what, found in meant.items():
        if lost := sorted(found - set(study[f"{what}s"])):
            yield f"{name} is of a {what} that the study does not name: {_short(lost)}"


def _short(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
