"""Tables of scores that ReSi writes, row by row in the columns of a table of grounding.

Nothing is computed again but what follows from a score alone: conformity from the violation rate,
chance and lift from the number of groups and models, and means over models.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from consilience.errors import DataError, check_reached
from consilience.grounding.cases import ACCURACY, ACCURACY_DIFFERENCE, LAYERS, OUTPUT
from consilience.grounding.published import figure, pairs
from consilience.grounding.published.names import (
    ANSWERS,
    CORRELATIONS,
    DOMAINS,
    dataset_of,
    metric_of,
    test_of,
    words,
)
from consilience.grounding.scores import FAILED, KEEP, OK, mean_over_models
from consilience.grounding.separation import chance_precision, lift
from consilience.grounding.tables import COLUMNS, SAMPLES
from consilience.limits.reading import DAMAGED
from consilience.limits.tables import read_data_frame

COUNTS = ("n_models", "n_groups", "n_pairs", "n_failed")
VALUES = {"source": "str", "file": "str", "name": "str", "same": "bool"} | {
    column: "Int64" if column in COUNTS else kind for column, kind in COLUMNS.items()
}
"""Of a table of published values: those of grounding, after where they are from."""
UNSIGNED = "unsigned"
"""Status of a correlation without its sign: it is in no rank."""
KEY = ["name", "recipe", "test", "measure", "score", "n_groups", "group_x", "group_y", "same_seed"]
NO_INTERVAL = "no interval: similarities of pairs are not in the table"
MODELS = 5
"""Models of a group in ReSi, where a table does not show how many there were."""
ROUNDED = 6e-7
"""How far a published rate of six decimals lies off the true one."""
MOST = 0.8
"""Share of the measures whose rates lie on the grid of a design."""
DESCRIBED = ("name", "metric", "same", "domain", "recipe", "dataset", "test")
LEAST = 4
"""Rates that tell a design."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """What one published file says.

    Attributes:
        scores: with the columns of `VALUES` but `source`.
        samples: what ranks are made of, with the columns of `SAMPLES`; `drawn` is empty where the
            file holds no pairs.
        boxes: quantiles of ranks of a figure, or None.
    """

    scores: pd.DataFrame
    samples: pd.DataFrame
    boxes: pd.DataFrame | None = None


def read_published(path: str | Path, draws: int = 1000, seed: int = 0) -> Published:
    """Returns what a table of ReSi says, whichever of its forms it has.

    Args:
        path: a long table of group separation, output correlation or layer monotonicity (.csv or
            .parquet), the store of pairs (results.parquet), a table of its notebooks, or the
            digitised box plot of ranks.
        draws: resamples of models, for a store of pairs.
        seed: of the resamples.

    Raises:
        DataError: the columns are those of no such table, or a row names no test.
    """
    path = Path(path)
    table = _read(path)
    columns = set(table.columns)
    if columns >= figure.BOX:
        return Published(_empty(VALUES), _empty(SAMPLES), figure.read_boxes(table))
    if columns >= pairs.STORE:
        rows, samples = pairs.score_pairs(table, path.stem, draws, seed)
        values = _finish(rows, path)
        return Published(values, samples)
    for wanted, read in LAYOUTS:
        if wanted <= columns:
            values = _finish(list(read(table, path)), path)
            return Published(values, _samples(values))
    known = [*(wanted for wanted, _ in LAYOUTS), pairs.STORE, figure.BOX]
    listed = "; ".join(", ".join(sorted(wanted)) for wanted in known)
    raise DataError(
        f"{path} has the columns {', '.join(map(str, table.columns))}, which are those of no table "
        f"of ReSi; known: {listed}"
    )


def _read(path: Path) -> pd.DataFrame:
    try:
        return read_data_frame(path)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except (*DAMAGED, pa.ArrowException) as error:
        check_reached(error, path)
        raise DataError(f"{path} is no readable table ({error})") from error


def _empty(columns: Any) -> pd.DataFrame:  # noqa: ANN401 - a list or a mapping
    return pd.DataFrame(columns=[c for c in columns if c != "source"])


# Of single rows


def _where(row: Row, path: Path) -> Row:
    """Returns domain, recipe and data set of a row, from its cells and else from the file's name.

    Pooled and first-token features of language models are recipes of their own, as file names
    tell: ReSi's tables tell them apart by nothing else.
    """
    on = str(row.get("representation_dataset") or row.get("table") or "")
    dataset, domain = dataset_of(on, path.stem, str(row.get("identifier", "")))
    given = str(row.get("domain", "")).lower()
    pooled = [word for word in words(path.stem) if word in ("cls", "mean")]
    architecture = _text(row.get("architecture"))
    runs = on if "table" in row else dataset or on  # notebooks: several runs of one data set
    parts = [architecture, runs, *pooled[-1:]]
    return {
        "domain": DOMAINS.get(given, domain),
        "recipe": " ".join(filter(None, parts)),
        "dataset": on or dataset,
    }


def _text(value: Any) -> str:  # noqa: ANN401 - a cell
    return "" if value is None or (isinstance(value, float) and np.isnan(value)) else str(value)


def _named(row: Row) -> Row:
    name, metric = metric_of(str(row["similarity_measure"]))
    return {"name": name, "metric": metric, "same": name != metric}


def _value(value: Any, chance: float | None) -> Row:  # noqa: ANN401 - a cell
    """Returns what follows from a published value; none at all is a failure."""
    number = float(value)
    if not np.isfinite(number):
        return {"status": FAILED, "note": "no value is published", "chance": chance}
    above = np.nan if chance is None else lift(number, chance)
    return {
        "value": number, "chance": chance, "lift": above, "status": OK, "note": NO_INTERVAL,
    }  # fmt: skip


# Groups that are trained differently


def _separations(table: pd.DataFrame, path: Path) -> Iterator[Row]:
    rows = [
        row | _named(row) | _where(row, path) | {"test": _test(row, path)}
        for row in table.to_dict("records")
    ]
    rates: dict[tuple[Any, ...], dict[str, float]] = {}
    for row in rows:
        if _is_rate(row):
            rates.setdefault(_design_key(row), {})[row["name"]] = float(row["value"])
    for row in rows:
        known = rates.get(_design_key(row), {})
        groups, models, seen = _design(list(known.values()), row.get("groups"))
        base = {key: row[key] for key in DESCRIBED}
        base |= {"measure": "", "n_groups": groups, "n_models": groups and groups * models}
        rate = known.get(row["name"], np.nan)
        if groups and np.isfinite(rate) and not on_grid(rate, groups, models):
            seen += "; failed pairs were dropped from it: its rate is none of all pairs"
        if _is_rate(row):
            found = {"score": "conformity"} | _value(1 - float(row["value"]), 0.5)
            found["note"] += "; ties counted against it"
        else:
            found = {"score": "auprc"} | _value(row["value"], groups and _chance(groups, models))
        found["note"] += seen
        yield base | found


def _is_rate(row: Row) -> bool:
    return str(row["quality_measure"]).lower().replace(" ", "_") == "violation_rate"


def _design_key(row: Row) -> tuple[Any, ...]:
    return row["recipe"], row["test"], row["dataset"], row.get("groups")


def _test(row: Row, path: Path) -> str:
    named = [path.stem, str(row.get("representation_dataset", "")), str(row.get("identifier", ""))]
    if test := test_of(*named):
        return test
    raise DataError(
        f"{path}: neither the file's name nor {named[1]!r} says which test it is of; rename the "
        "file so that its name holds one of label, shortcut or aug (as ReSi's do)"
    )


def _chance(groups: int, models: int) -> float:
    inside = comb(models, 2)
    return chance_precision(inside, inside + models**2 * (groups - 1))


def grid_of(groups: int, models: int) -> int:
    """Returns of how many parts a violation rate of G groups of k models is a whole number.

    A mean over G groups of shares of k (k - 1) / 2 · k² (G - 1) comparisons.
    """
    return groups * comb(models, 2) * models**2 * (groups - 1)


def infer_design(rates: list[float], groups: int | None = None) -> tuple[int, int] | None:
    """Returns groups and models of each, of which violation rates of several metrics are made.

    The coarsest grid that holds most of them: a rate from which failed pairs were dropped lies on
    none.

    Args:
        rates: published violation rates of one test.
        groups: if it is known how many there are.

    Returns:
        None if no design of 2 to 5 groups of 3 to 10 models fits, or rates are too few to tell.
    """
    known = np.array([rate for rate in rates if np.isfinite(rate)])
    inner = known[(known > 0) & (known < 1)]
    if len(inner) < LEAST:
        return None
    designs = [(g, k) for g in ([groups] if groups else range(2, 6)) for k in range(3, 11)]
    for g, k in sorted(designs, key=lambda design: grid_of(*design)):
        if np.mean(on_grid(inner, g, k)) >= MOST:
            return g, k
    return None


def on_grid(rates: Any, groups: int, models: int) -> np.ndarray:  # noqa: ANN401 - array-like
    """Returns which violation rates, of six decimals or more, a design allows."""
    parts = np.asarray(rates, dtype=float) * grid_of(groups, models)
    return np.abs(parts - np.round(parts)) <= ROUNDED * grid_of(groups, models)


def _design(rates: list[float], given: Any) -> tuple[int | None, int, str]:  # noqa: ANN401
    """Returns groups (None: not known), models of each, and what is to be said of them."""
    groups = int(given) if given is not None and not pd.isna(given) else None
    if found := infer_design(rates, groups):
        return *found, ""
    if groups:
        return groups, MODELS, f"; {MODELS} models of each group, as ReSi has"
    return None, MODELS, "; no chance: how many groups there were is not in the table"


def _early(table: pd.DataFrame, path: Path) -> Iterator[Row]:
    """Yields the rows of the notebook's first table, whose setting and data set are columns."""
    known = table.rename(columns={"quality_metric": "quality_measure", "mean": "value"})
    known["representation_dataset"] = known["dataset"] + "_" + known["setting"]
    return _separations(known.drop(columns=["dataset", "setting"]), path)


# Correlations with predictions


def _correlations(table: pd.DataFrame, path: Path) -> Iterator[Row]:
    column = "corr" if "corr" in table.columns else "value"
    rows = table[table["quality_measure"].isin(CORRELATIONS)]
    rows = rows[rows.get("table", pd.Series("", index=rows.index)) != "Average rank"]
    unsigned = column == "value" and not (rows[column] < 0).any()
    for row in rows.to_dict("records"):
        measure = ANSWERS.get(str(row["functional_similarity_measure"]), "")
        if not measure:
            raise DataError(
                f"{path}: {row['functional_similarity_measure']!r} is no measure of answers; "
                f"known: {', '.join(ANSWERS)}"
            )
        found = _value(row[column], 0.0)
        if unsigned and found["status"] == OK:
            found |= {"status": UNSIGNED, "note": "only its absolute value is published"}
        yield (
            _named(row) | _where(row, path)
            | {"test": ACCURACY if measure == ACCURACY_DIFFERENCE else OUTPUT, "measure": measure,
               "score": CORRELATIONS[str(row["quality_measure"])], "n_groups": 1}
            | found
        )  # fmt: skip


# Layers of single models


def _monotonicities(table: pd.DataFrame, path: Path) -> Iterator[Row]:
    """Yields means over models; ReSi's files hold one value of each model."""
    rows = pd.DataFrame(row | _named(row) | _where(row, path) for row in table.to_dict("records"))
    for key, part in rows.groupby(["name", "recipe", "dataset", "quality_measure"], sort=False):
        first, rate = part.iloc[0], key[3] == "violation_rate"
        score, chance = ("conformity", 0.5) if rate else ("spearman", 0.0)
        values = part["value"].to_numpy(float)
        values = 1 - values if rate else values
        base = {name: first[name] for name in DESCRIBED if name != "test"}
        base |= {"test": LAYERS, "measure": "", "score": score, "n_groups": 1,
                 "n_models": len(values), "chance": chance}  # fmt: skip
        missing = int((~np.isfinite(values)).sum())
        note = "ties counted for it" if rate else ""
        if missing:
            note = f"{missing} of {len(values)} models have no value"
            yield base | {"status": FAILED, "note": note}
            continue
        found = mean_over_models(values, chance)
        yield base | found | {"status": OK, "note": note}


LAYOUTS: list[tuple[set[str], Callable[[pd.DataFrame, Path], Iterator[Row]]]] = [
    ({"similarity_measure", "functional_similarity_measure", "quality_measure", "corr"},
     _correlations),
    ({"similarity_measure", "functional_similarity_measure", "quality_measure", "value", "table"},
     _correlations),
    ({"similarity_measure", "quality_measure", "model", "value"}, _monotonicities),
    ({"similarity_measure", "quality_measure", "value", "representation_dataset"}, _separations),
    ({"similarity_measure", "quality_metric", "setting", "dataset", "mean"}, _early),
]  # fmt: skip
"""Columns of the tables of scores, and what reads them; the first that fits counts."""


# All rows


def _finish(rows: list[Row], path: Path) -> pd.DataFrame:
    """Returns rows as a table, refusing two values of one thing."""
    empty = {"file": path.name, "group_x": "", "group_y": "", "same_seed": KEEP}
    columns = [column for column in VALUES if column != "source"]
    table = pd.DataFrame([empty | row for row in rows], columns=columns)
    table = table.astype({column: VALUES[column] for column in columns}).drop_duplicates()
    if (twice := table[table.duplicated(KEY)]).size:
        row = twice.iloc[0]
        raise DataError(
            f"{path} holds two values of {row['name']!r} for {row['recipe']!r}, test "
            f"{row['test']!r}, such as of two poolings, or on two data sets, in one file; part the "
            "file"
        )
    return table.reset_index(drop=True)


def _samples(values: pd.DataFrame) -> pd.DataFrame:
    """Returns what metrics are ranked by: of each test the score, and the groups, of ReSi's paper.

    Where a test stands with several numbers of groups it is ranked with the fewest.
    """
    score = np.where(values["test"].isin([ACCURACY, OUTPUT, LAYERS]), "spearman", "auprc")
    rows = values[(values["score"] == score) & (values["status"] != UNSIGNED)]
    fewest = rows.groupby(["recipe", "test"])["n_groups"].transform("min")
    rows = rows[(rows["n_groups"] == fewest) | fewest.isna()]
    empty = pd.Series([[] for _ in range(len(rows))], index=rows.index)
    lists = {column: empty for column in ("models", "side", "left_out", "drawn")}
    return rows.assign(**lists, p=np.nan)[SAMPLES].reset_index(drop=True)
