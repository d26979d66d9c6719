"""What the page shows of consistency, its differences between groups, reliability and behavior."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.consistency.differences import MEAN
from consilience.explorer.contents import Contents
from consilience.files import read_table
from consilience.pairs.sets import ALL
from consilience.plots.families import families_of

CONSISTENCY_ROWS = 100_000
"""Most rows of consistency tables on a page; the rest stays in the tables."""
FURTHER = ("low_joint", "high_joint", "corrected", "overlap", "reliability_x", "reliability_y")
"""Columns of consistency tables that are shown where they are there."""
SETS = ["grouping", "group_x", "group_y"]
BETWEEN = ("value_between", "low_between", "high_between", "p_between")
"""Columns of what pairs of models of different families say alone."""
SIMULTANEOUS = ("low_between_simultaneous", "high_between_simultaneous")
MEASURES = {
    "accuracy_gap": "gap in accuracy (share of samples)",
    "disagreement": "disagreement (share of samples)",
    "jsd": "Jensen–Shannon divergence (bits)",
    "error_consistency": "error consistency (Cohen's κ, larger is more alike)",
}
"""Measures of behavior with their units."""


def add_consistency(contents: Contents, paths: Iterable[str | Path]) -> None:
    """Adds the values and intervals of consistency tables, and reliabilities where they are."""
    rows = _as_many_as_fit(contents, all_rows(paths), "Consistency", "results/consistency")
    if rows.empty:
        return
    sets, place = _sets(rows)
    more = [name for name in FURTHER if name in rows and rows[name].notna().any()]
    families, counts, further = _families(rows)
    driven = _drivers(rows)
    numbers = ["value", "low", "high", "p", *more, *further, *driven[1:]]
    texts = ["status", *(["corrected_status"] if "corrected" in more else []), *driven[:1]]
    coded = {
        "metric": pd.Index(contents.metrics).get_indexer(rows["metric"]),
        "x": pd.Index(contents.datasets).get_indexer(rows["dataset_x"]),
        "y": pd.Index(contents.datasets).get_indexer(rows["dataset_y"]),
        "set": place,
        "n_models": rows["n_models"],
        "n_pairs": rows["n_pairs"],
    }
    view = pack_rows(contents, "consistency", rows, coded | counts, ["method", *texts], numbers)
    view |= {"sets": sets, "further": [*more, *driven], "families": families}
    contents.views["consistency"] = view
    if {"reliability_x", "reliability_y"} <= set(more):
        known = rows["reliability_x"].notna() | rows["reliability_y"].notna()
        contents.views["reliability"] = {
            "sets": sorted(set(place[known].tolist())),
            "methods": [
                name for name in view["texts"]["method"] if name in set(rows.method[known])
            ],
        }


def add_differences(contents: Contents, paths: Iterable[str | Path]) -> None:
    """Adds differences of consistency between groups, with intervals for one and for all."""
    found = all_rows(paths)
    rows = _as_many_as_fit(contents, found, "Differences between groups",
                           "results/consistency/differences")  # fmt: skip
    if rows.empty:
        return
    sets, place = _sets(rows)
    coded = {
        "metric": pd.Index(contents.metrics).get_indexer(rows["metric"]),
        # the place behind the last dataset: the mean over all pairs
        "x": pd.Index([*contents.datasets, MEAN]).get_indexer(rows["dataset_x"]),
        "y": pd.Index([*contents.datasets, MEAN]).get_indexer(rows["dataset_y"]),
        "set": place,
    }
    families, _, further = _families(rows)
    driven = _drivers(rows)
    numbers = ["value", "low", "high", "low_simultaneous", "high_simultaneous", "value_x",
               "value_y", "matched_x", "matched_y", *further, *driven[1:]]  # fmt: skip
    texts = ["method", *(["status"] if "status" in rows else []), *driven[:1]]
    view = pack_rows(contents, "differences", rows, coded, texts, numbers)
    view |= {"sets": sets, "families": families, "further": [*texts[1:], *driven[1:]]}
    contents.views["differences"] = view


def add_behavior(
    contents: Contents, pairs: Iterable[str | Path], relations: Iterable[str | Path]
) -> None:
    """Adds how far models differ in what they do, and how that goes with their similarity.

    Args:
        contents: where to.
        pairs: results/behavior/{dataset}.parquet.
        relations: results/behavior/relation/{metric}.parquet.
    """
    apart, rows = all_rows(pairs), all_rows(relations)
    known = [table["measure"] for table in (apart, rows) if len(table)]
    if not known:
        return
    measures = pd.concat(known).unique().tolist()
    view: dict[str, Any] = {"columns": [], "texts": {"method": []}}
    if len(rows):
        coded = {
            "metric": pd.Index(contents.metrics).get_indexer(rows["metric"]),
            "dataset": pd.Index(contents.datasets).get_indexer(rows["dataset"]),
            "measure": pd.Index(measures).get_indexer(rows["measure"]),
            "n_models": rows["n_models"],
            "n_pairs": rows["n_pairs"],
        }
        families, counts, further = _families(rows)
        driven = _drivers(rows)
        texts = ["method", "domain", "status", *driven[:1]]
        numbers = ["value", "low", "high", "p", *further, *driven[1:]]
        view = pack_rows(contents, "relation", rows, coded | counts, texts, numbers)
        view |= {"further": driven, "families": families}
    contents.views["behavior"] = view | {
        "measures": [[name, MEASURES.get(name, name.replace("_", " "))] for name in measures],
        "tables": _pack_pairs(contents, apart, measures) if len(apart) else {},
    }


def _families(rows: pd.DataFrame) -> tuple[str, dict[str, Any], list[str]]:
    """Returns the column of the families, how many there are, and the columns of their values.

    Nothing of all that where models stand alone, as in tables of earlier versions.
    """
    if not (column := families_of(rows)):
        return "", {}, []
    counts = {"n_families": rows["n_families"]} if "n_families" in rows else {}
    known = [name for name in (*BETWEEN, *SIMULTANEOUS) if name in rows]
    return column, counts, known


def _drivers(rows: pd.DataFrame) -> list[str]:
    """Returns the columns on who drives a value, if anybody does anywhere."""
    driven = "outlier" in rows and rows["outlier"].fillna("").ne("").any()
    return ["outlier", "value_without"] if driven else []


def _pack_pairs(
    contents: Contents, apart: pd.DataFrame, measures: Sequence[str]
) -> dict[str, list[int]]:
    """Packs the upper triangle of every measure and dataset; returns {key: places of models}."""
    tables = {}
    for (dataset, measure), part in apart.groupby(["dataset", "measure"], sort=True):
        ends = [pd.Index(contents.models).get_indexer(part[f"model_{side}"]) for side in "xy"]
        shown = np.unique(ends)
        i, j = np.sort(np.searchsorted(shown, ends), axis=0)
        matrix = np.full((len(shown), len(shown)), np.nan)
        matrix[i, j] = part["value"]
        key = f"{measures.index(measure)} {contents.datasets.index(dataset)}"
        contents.pack.add(f"behavior {key}", matrix[np.triu_indices(len(shown), k=1)])
        tables[key] = shown.tolist()
    return tables


def all_rows(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Returns the rows of all tables that have any; an empty table if none has."""
    tables = [table for table in map(read_table, paths) if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _sets(rows: pd.DataFrame) -> tuple[list[list[str]], np.ndarray]:
    """Returns [grouping, group, group] of each set of models, and the place of each row's set."""
    sets = rows[SETS].drop_duplicates()
    place = pd.MultiIndex.from_frame(sets).get_indexer(pd.MultiIndex.from_frame(rows[SETS]))
    return sets.astype(str).to_numpy().tolist(), place


def pack_rows(
    contents: Contents,
    table: str,
    rows: pd.DataFrame,
    coded: dict[str, Any],
    texts: Sequence[str],
    numbers: Sequence[str],
) -> dict[str, Any]:
    """Packs columns of a table; returns their names, and the values of those that hold texts."""
    values = {}
    for name in texts:
        coded[name], known = pd.factorize(rows[name].fillna("").astype(str), sort=name == "method")
        values[name] = known.tolist()
    for name, column in coded.items():
        contents.pack.add(f"{table} {name}", column, "uint32" if name == "n_pairs" else "uint16")
    for name in numbers:
        contents.pack.add(f"{table} {name}", rows[name])
    return {"columns": [*coded, *numbers], "texts": values}


def _as_many_as_fit(contents: Contents, rows: pd.DataFrame, what: str, where: str) -> pd.DataFrame:
    """Keeps whole groupings: that of all models, then the smaller ones first."""
    if rows.empty:
        return rows
    sizes = rows["grouping"].value_counts(ascending=True)
    sizes = pd.concat([sizes[sizes.index == ALL], sizes[sizes.index != ALL]]).cumsum()
    if left := sizes.index[sizes > CONSISTENCY_ROWS].tolist():
        contents.left_out.append(
            f"{what} by {', '.join(left)}, to keep the page small: see {where}."
        )
    return rows[~rows["grouping"].isin(left)]
