"""What the page shows, from the tables of a study: read once, reduced, packed."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from consilience.errors import DataError
from consilience.explorer.checked import check_known
from consilience.explorer.pack import Pack
from consilience.files import read_table
from consilience.layers import last_layers
from consilience.pairs.matrix import Similarity, read_similarity
from consilience.plots.ordering import LEAST, align, embed, model_order
from consilience.plots.style import MetricAxis

logger = logging.getLogger(__name__)

CURVES = 60
"""Most single pairs per n-curve."""


@dataclass
class Contents:
    """Everything that the page's script reads.

    Attributes:
        models: all models of the study, in alphabetical order.
        datasets: in alphabetical order.
        metrics: in alphabetical order.
        pack: the numbers.
        views: {view: what the script must know of it}; views without data are absent.
        left_out: sentences on what the study has and the page has not.
    """

    models: list[str]
    datasets: list[str]
    metrics: list[str]
    pack: Pack = field(default_factory=Pack)
    views: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Table:
    """One similarity table as the page needs it."""

    dataset: str
    metric: str
    rows: pd.DataFrame
    value: Similarity
    calibrated: Similarity
    layers: Mapping[str, Sequence[str]]
    facts: Mapping[str, Any]


def add_similarity(
    contents: Contents, paths: Iterable[str | Path], labels: Mapping[str, str], layer_pairs: int
) -> None:
    """Adds heat maps, orders, maps and layers of similarity tables.

    Args:
        contents: where to.
        paths: results/similarity/{dataset}/{metric}.parquet.
        labels: {metric: its name for the reader}.
        layer_pairs: most pairs of layers to put on the page.
    """
    by_metric: dict[str, list[_Table]] = {}
    for path in paths:
        table = _read(path)
        found = {"datasets": {table.dataset}, "metrics": {table.metric}}
        check_known(found | {"models": set(table.value.models)}, vars(contents), str(path))
        by_metric.setdefault(table.metric, []).append(table)
    described, tables, layers = [], {}, _Layers(layer_pairs)
    for metric in contents.metrics:
        found = sorted(by_metric.get(metric, []), key=lambda table: table.dataset)
        described.append(_add_metric(contents, metric, found, labels.get(metric, metric), tables))
        for table in found:
            layers.add(contents, table)
    contents.views["similarity"] = {"metrics": described, "tables": tables}
    layers.finish(contents)


def _read(path: str | Path) -> _Table:
    rows = read_table(path)
    ids = [rows[column].unique().tolist() if column in rows else [] for column in _IDS]
    if any(len(found) != 1 for found in ids):
        raise DataError(
            f"{path} is not the similarity of one dataset by one metric; delete it and run "
            "snakemake again"
        )
    (dataset,), (metric,) = ids
    names = rows.attrs["layers"]
    last = last_layers(rows)
    calibrated = rows.assign(value=rows["calibrated"].replace([np.inf, -np.inf], np.nan))
    return _Table(
        dataset, metric, rows, read_similarity(rows, dataset, last),
        read_similarity(calibrated, dataset, last), names, rows.attrs["facts"],
    )  # fmt: skip


_IDS = ("dataset", "metric")


def _add_metric(
    contents: Contents, metric: str, found: Sequence[_Table], label: str, tables: dict[str, Any]
) -> dict[str, Any]:
    """Packs one metric's tables; returns what the script must know of the metric."""
    if not found:
        return {"label": label, "value": None, "calibrated": None, "larger": True, "order": []}
    axis = _axis(found[0].facts, label)
    values = {table.dataset: table.value for table in found}
    maps = _Maps({"value": axis, "calibrated": _CALIBRATED})
    for table in found:
        key = _key(contents, table)
        places = pd.Index(contents.models).get_indexer(list(table.value.models))
        upper = np.triu_indices(len(places), k=1)
        for kind in ("value", "calibrated"):
            contents.pack.add(f"{kind} {key}", getattr(table, kind).matrix[upper])
        tables[key] = {
            "models": places.tolist(),
            "order": _places(contents, model_order({table.dataset: table.value}, axis)),
            "maps": {kind: maps.add(contents, table, kind) for kind in maps.axes},
            "failures": _failures(table),
        }
    return {
        "label": label,
        "larger": axis.larger_is_more_similar,
        "distance": _distance(axis),
        "value": _range([table.value for table in found], axis),
        "calibrated": _range([table.calibrated for table in found], _CALIBRATED),
        "order": _places(contents, model_order(values, axis)),
    }


class _Maps:
    """Maps of the models of one metric's datasets, each turned onto the first of its kind."""

    def __init__(self, axes: Mapping[str, MetricAxis]) -> None:
        self.axes = axes
        self.first: dict[str, pd.DataFrame] = {}

    def add(self, contents: Contents, table: _Table, kind: str) -> dict[str, Any]:
        """Packs the map of a table; returns whom it shows, and its stress (None: too few)."""
        similarity: Similarity = getattr(table, kind)
        apart = similarity.matrix.copy()
        np.fill_diagonal(apart, np.nan)
        known = np.isfinite(apart).any(axis=1)
        names = [model for model, has in zip(similarity.models, known, strict=True) if has]
        shown = {"models": _places(contents, names), "stress": None}
        if len(names) < LEAST:
            return shown
        points, stress = embed(self.axes[kind].distances(similarity.matrix[np.ix_(known, known)]))
        part = pd.DataFrame(points, index=names)
        if kind in self.first:
            part = align(part, self.first[kind])
        self.first.setdefault(kind, part)
        contents.pack.add(f"map {kind} {_key(contents, table)}", part.to_numpy())
        return shown | {"stress": stress}


def _distance(axis: MetricAxis) -> str:
    """Returns what distances on the map of raw values follow."""
    if not axis.larger_is_more_similar:
        return axis.label
    return f"{'1' if axis.bounds[1] == 1 else 'largest value'} − {axis.label}"


def _axis(facts: Mapping[str, Any], label: str) -> MetricAxis:
    low, high = facts["bounds"]
    bounds = (-np.inf if low is None else low, np.inf if high is None else high)
    return MetricAxis(label, bounds, facts["larger_is_more_similar"])


_CALIBRATED = MetricAxis("calibrated", (-np.inf, 1.0))
"""0 is chance, 1 full agreement."""


def _range(similarities: Sequence[Similarity], axis: MetricAxis) -> list[float] | None:
    values = np.concatenate([s.matrix.ravel() for s in similarities])
    return [*map(float, axis.limits(values))] if np.isfinite(values).any() else None


def _failures(table: _Table) -> list[list[str]]:
    """Returns [model, model, reason] for pairs of last layers without a value."""
    failed = table.rows[table.rows["value"].isna()]
    last = last_layers(table.rows)
    kept = (failed["layer_x"] == failed["model_x"].map(last)) & (
        failed["layer_y"] == failed["model_y"].map(last)
    )
    columns = ["model_x", "model_y", "failure"]
    return failed.loc[kept, columns].fillna("").astype(str).to_numpy().tolist()


def nearest_datasets(contents: Contents) -> list[int]:
    """Returns places of datasets, those first that share most models with the first one."""
    met: dict[int, set[int]] = {place: set() for place in range(len(contents.datasets))}
    for key, table in contents.views["similarity"]["tables"].items():
        met[int(key.split()[1])].update(table["models"])
    others = sorted(range(1, len(met)), key=lambda place: -len(met[0] & met[place]))
    return [*others, 0]


def _key(contents: Contents, table: _Table) -> str:
    return f"{contents.metrics.index(table.metric)} {contents.datasets.index(table.dataset)}"


def _places(contents: Contents, models: Sequence[str]) -> list[int]:
    return pd.Index(contents.models).get_indexer(list(models)).tolist()


class _Layers:
    """Similarities of all layers, as many tables as fit."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.tables: dict[str, Any] = {}
        self.left_out = 0

    def add(self, contents: Contents, table: _Table) -> None:
        """Packs a table in which a model has several layers, if there is room."""
        if all(len(layers) < 2 for layers in table.layers.values()):
            return
        flat = [(model, layer) for model, names in table.layers.items() for layer in names]
        square = len(flat) ** 2
        symmetric = bool(table.facts["symmetric"])
        cost = (square + len(flat)) // 2 if symmetric else square
        if cost > self.room:
            self.left_out += 1
            return
        self.room -= cost
        key = _key(contents, table)
        matrix = _layer_matrix(table.rows, flat, symmetric)
        chosen = np.triu_indices(len(flat)) if symmetric else (slice(None), slice(None))
        contents.pack.add(f"layers {key}", matrix[chosen])
        names = [[_places(contents, [model])[0], list(own)] for model, own in table.layers.items()]
        self.tables[key] = {"symmetric": symmetric, "layers": names}

    def finish(self, contents: Contents) -> None:
        """Says what there is and what is left out."""
        if self.tables:
            contents.views["layers"] = self.tables
        if self.left_out:
            contents.left_out.append(
                f"Layer by layer similarities of {self.left_out} tables, to keep the page small: "
                "they are in results/similarity; raise explorer: layer_pairs to see more."
            )


def _layer_matrix(
    rows: pd.DataFrame, flat: Sequence[tuple[str, str]], symmetric: bool
) -> np.ndarray:
    index = pd.MultiIndex.from_tuples(flat)
    x, y = (
        index.get_indexer(pd.MultiIndex.from_frame(rows[[f"model_{side}", f"layer_{side}"]]))
        for side in "xy"
    )
    matrix = np.full((len(flat), len(flat)), np.nan)
    matrix[x, y] = rows["value"].to_numpy(float, na_value=np.nan)
    return np.fmax(matrix, matrix.T) if symmetric else matrix


def add_accuracy(contents: Contents, path: str | Path) -> None:
    """Adds probe accuracies: every measure between 0 and 1 of the table."""
    rows = read_table(path)
    measures = [
        column
        for column in rows.select_dtypes("floating").columns.difference(["k", "sd"], sort=False)
        if rows[column].dropna().between(0, 1).all() and rows[column].notna().any()
    ]
    if rows.empty or not measures:
        return
    contents.pack.add("probe dataset", _indexed(contents.datasets, rows["dataset"]), "uint16")
    contents.pack.add("probe model", _indexed(contents.models, rows["model"]), "uint16")
    layers, names = pd.factorize(rows["layer"].astype(str))
    contents.pack.add("probe layer", layers, "uint16")
    kinds, kind_names = pd.factorize(_kinds(rows))
    contents.pack.add("probe kind", kinds, "uint16")
    for measure in measures:
        contents.pack.add(f"probe {measure}", rows[measure])
    contents.views["probe"] = {
        "measures": measures,
        "layers": names.tolist(),
        "kinds": kind_names.tolist(),
    }


def _kinds(rows: pd.DataFrame) -> pd.Series:
    """Returns the kind of probe of each row, such as `linear` or `few_shot, k = 5`."""
    if "kind" not in rows:
        return pd.Series("linear", index=rows.index)
    with_k = rows["k"].notna() if "k" in rows else pd.Series(data=False, index=rows.index)
    k = rows["k"].where(with_k, 0).astype(int).astype(str) if "k" in rows else ""
    return rows["kind"].astype(str).where(~with_k, rows["kind"].astype(str) + ", k = " + k)


def _indexed(known: Sequence[str], column: pd.Series) -> np.ndarray:
    return pd.Index(known).get_indexer(column)


def add_curves(contents: Contents, paths: Iterable[str | Path]) -> None:
    """Adds how similarities move with the number of samples or neighbours.

    Per setting: median and 10 and 90 % quantiles over the pairs of models (each pair's mean over
    draws), and the rank correlation over pairs with the largest setting. Of single pairs at most
    `CURVES`, evenly over the ranks at the largest setting.
    """
    curves: dict[str, Any] = {}
    for path in paths:
        rows = read_table(path)
        if rows.empty or not {*_IDS, "axis", "setting"} <= set(rows.columns):
            continue
        metric, dataset = str(rows["metric"].iloc[0]), str(rows["dataset"].iloc[0])
        key = f"{contents.metrics.index(metric)} {contents.datasets.index(dataset)}"
        for axis, part in _last_layers(rows).groupby("axis", sort=True):
            ends = ["model_x", "layer_x", "model_y", "layer_y"]
            means = part.pivot_table("value", ends, "setting", aggfunc="mean").dropna()
            if len(means):
                found = _add_curve(contents, means, f"{axis} {key}")
                curves.setdefault(str(axis), {})[key] = found
    if curves:
        contents.views["curves"] = curves


def _last_layers(rows: pd.DataFrame) -> pd.DataFrame:
    """Keeps pairs of different models, of the last layers where the table says which these are."""
    rows = rows[(rows["model_x"] != rows["model_y"]) & rows["value"].notna()]
    names = last_layers(rows)
    for side in "xy":
        last = rows[f"model_{side}"].map(names)
        rows = rows[last.isna() | (rows[f"layer_{side}"] == last)]
    return rows


def _add_curve(contents: Contents, means: pd.DataFrame, key: str) -> dict[str, Any]:
    """Packs (pairs, settings) values; returns what the script must know of them."""
    settings = [float(setting) for setting in means.columns]
    values = means.to_numpy()
    low, median, high = np.quantile(values, [0.1, 0.5, 0.9], axis=0)
    agreement = [_spearman(values[:, k], values[:, -1]) for k in range(len(settings))]
    contents.pack.add(f"summary {key}", np.array([median, low, high, agreement]))
    ranked = np.argsort(values[:, -1], kind="stable")
    steps = np.linspace(0, len(ranked) - 1, min(CURVES, len(ranked))).round().astype(int)
    shown = ranked[np.unique(steps)]
    contents.pack.add(f"curves {key}", values[shown])
    pairs = [[means.index[k][0], means.index[k][2]] for k in shown]
    return {
        "settings": settings,
        "pairs": [_places(contents, pair) for pair in pairs],
        "n_pairs": len(values),
    }


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])
