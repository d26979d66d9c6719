"""Figures of data frames: those of the workflow, as matplotlib figures.

Each function returns a `matplotlib.figure.Figure`, which `figure.savefig("name.pdf")` writes and a
notebook shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from consilience.api.measures import find_measure
from consilience.api.reading import by_dataset, order_of
from consilience.errors import ConfigError
from consilience.metrics import METRICS
from consilience.plots.inputs import read_axis
from consilience.plots.style import PAGE, MetricAxis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from consilience.consistency import Consistency

__all__ = ["consistency", "heatmap", "layers", "map"]


def heatmap(
    table: Any,  # noqa: ANN401
    *,
    metric: str | None = None,
    models: pd.DataFrame | None = None,
    group: str | None = None,
    width: float = PAGE,
) -> Figure:
    """Draws the similarity of all pairs of models, a panel per dataset, in one common order.

    Args:
        table: of `pairwise` or `read_results(…)["similarity"]`, or {dataset: table}; each model
            counts with its last layer.
        metric: its id, if the table has several.
        models: metadata by model id, such as `read_results(…).models`.
        group: its column that colours the models.
        width: of the figure, in mm.

    Raises:
        DataError: no such metric or column, or nothing to draw.
    """
    from consilience.plots.similarity_heatmaps import similarity_heatmaps  # noqa: PLC0415 - slow

    tables = by_dataset(table, metric)
    settings = {"axis": _axis(tables), "group": group, "layers": _last(tables), "width": width}
    return _drawn(similarity_heatmaps(tables, _models(tables, models), **settings))


def map(
    table: Any,  # noqa: ANN401
    *,
    metric: str | None = None,
    models: pd.DataFrame | None = None,
    group: str | None = None,
    width: float = PAGE,
) -> Figure:
    """Draws models as points whose distances follow their dissimilarities, a map per dataset.

    Args:
        table: as in `heatmap`; at least three models.
        metric: as in `heatmap`.
        models: as in `heatmap`.
        group: as in `heatmap`.
        width: of the figure, in mm.

    Raises:
        DataError: no dataset has three models with a value.
    """
    from consilience.plots.model_map import model_map  # noqa: PLC0415 - slow

    tables = by_dataset(table, metric)
    settings = {"axis": _axis(tables), "group": group, "layers": _last(tables), "width": width}
    return _drawn(model_map(tables, _models(tables, models), **settings))


def layers(
    table: Any,  # noqa: ANN401
    pairs: Sequence[Sequence[str]] | None = None,
    *,
    metric: str | None = None,
    width: float = PAGE,
) -> Figure:
    """Draws the similarity of every layer of one model with every layer of another, by depth.

    Args:
        table: of `layers`, or of `pairwise` or `read_results` with all layers, or {dataset: table}.
        pairs: of models; by default that of `layers`, or else every two models and each with
            itself, as far as they have several layers.
        metric: its id, if the table has several.
        width: of the figure, in mm.

    Raises:
        DataError: no such metric, or no pair has a value.
    """
    from consilience.plots.layer_heatmaps import layer_heatmaps  # noqa: PLC0415 - slow

    tables = by_dataset(table, metric)
    first = next(iter(tables.values()))
    if pairs is None and "pair" in first.attrs:
        pairs = [first.attrs["pair"]]
    if pairs is None:
        counts = first.attrs.get("layers", {})
        names = [model for model in sorted(counts) if len(counts[model]) > 1]
        pairs = [(x, y) for k, x in enumerate(names) for y in names[k:]]
    return _drawn(layer_heatmaps(tables, pairs, axis=_axis(tables), width=width))


def consistency(
    table: pd.DataFrame | Consistency,
    *,
    method: str = "pearson",
    labels: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> Figure:
    """Draws how similarities carry over between every two datasets, a panel per metric.

    Args:
        table: what `cs.consistency` gives, its `table`, or `read_results(…)["consistency"]`.
        method: `pearson`, `spearman` or `kendall`.
        labels: {metric: name for the reader}.
        width: of the figure, in mm.

    Raises:
        DataError: the table has no row of all models with this method.
    """
    from consilience.plots.consistency_heatmap import consistency_heatmap  # noqa: PLC0415 - slow

    rows = table if isinstance(table, pd.DataFrame) else table.table
    known = {name: _label(name) for name in map_names(rows)}
    named = {**known, **(labels or {})}
    return _drawn(consistency_heatmap(rows, method=method, labels=named, width=width))


def map_names(rows: pd.DataFrame) -> list[str]:
    """Returns the metrics of a table, in order."""
    return [str(name) for name in rows["metric"].unique()]


def _drawn(found: tuple[Figure, pd.DataFrame]) -> Figure:
    return found[0]


def _last(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    return {m: layer for table in tables.values() for m, layer in order_of(table).items()}


def _models(tables: Mapping[str, pd.DataFrame], models: pd.DataFrame | None) -> pd.DataFrame:
    """Returns the metadata, or of every model nothing but its id."""
    if models is not None:
        return models
    names = {m for t in tables.values() for side in "xy" for m in t[f"model_{side}"]}
    return pd.DataFrame(index=sorted(names))


def _label(metric: str) -> str:
    try:
        return find_measure(metric).label
    except ConfigError:  # of a study with metrics of its own
        return metric


def _axis(tables: Mapping[str, pd.DataFrame]) -> MetricAxis:
    """Returns the metric's name, bounds and direction."""
    first = next(iter(tables.values()))
    name = str(first["metric"].iloc[0])
    if "facts" in first.attrs:
        return read_axis(tables, first.attrs.get("label", _label(name)))
    facts = find_measure(name).metric.facts if name not in METRICS else METRICS[name]().facts
    return MetricAxis(_label(name), facts.bounds, facts.larger_is_more_similar)
