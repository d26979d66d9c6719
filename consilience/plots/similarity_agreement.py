"""Similarity of model pairs by one metric against that by another."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.plots.facts import STUDY, Source, register
from consilience.plots.inputs import Inputs, read_metrics
from consilience.plots.metric_pairs import draw_pairs, share
from consilience.plots.ordering import read_all
from consilience.plots.sources import LABELS, MODELS, SEVERAL_METRICS, similarity_files
from consilience.plots.style import PAGE, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_METRICS = Source(
    lambda m: read_metrics(m.files["similarity"], m.said["models"], m.said["labels"]),
    (similarity_files(),),
    MODELS.said | LABELS.said,
)


@register(
    per=STUDY,
    takes={"metrics": _METRICS},
    category="Similarity",
    caption=(
        "Similarity, mean over datasets, by one metric against that by another. Each point is a "
        "pair of models; pairs share models, so r describes the points and is no test."
    ),
    when=SEVERAL_METRICS,
)
def similarity_agreement(
    metrics: Mapping[str, Inputs],
    *,
    max_panels: int = 12,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the mean similarity of model pairs by one metric against that by another.

    The mean is over the datasets on which both metrics have a value of the pair. r (Pearson)
    describes the points and is no test, since pairs share models. Of more than `max_panels` pairs
    of metrics the first are shown.

    Args:
        metrics: {metric: its similarity tables}.
        max_panels: most panels.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `metric_x, metric_y, model_x, model_y, value_x, value_y,
        n_datasets, r`.

    Raises:
        DataError: no two metrics have a value of the same pair of models.
    """
    wide = pd.DataFrame({name: _values(inputs) for name, inputs in metrics.items()})
    every = list(combinations(wide.columns, 2))
    pairs = {(x, y): _means(wide[[x, y]]) for x, y in every[:max_panels]}
    pairs = {pair: means for pair, means in pairs.items() if len(means)}
    if not pairs:
        raise DataError("no two metrics have a similarity of the same pair of models")

    def finish(axes: Axes, x: str, y: str) -> None:
        names = []
        for metric in (x, y):
            axis = metrics[metric].axis
            note = "" if axis.larger_is_more_similar else f"\n({axis.direction})"
            names.append(textwrap.fill(axis.label, 36) + note)
        values = pairs[x, y]
        axes.set(xlim=metrics[x].axis.limits(values[x].to_numpy(), 0.05))
        axes.set(ylim=metrics[y].axis.limits(values[y].to_numpy(), 0.05))
        axes.set(box_aspect=1, xlabel=names[0], ylabel=names[1])

    figure, table = draw_pairs(pairs, finish, "model pairs", width)
    with style():
        note = share(pairs, every, " ({})")
        figure.suptitle(f"Similarity, mean over datasets,\nby one metric and another{note}")
    names = ["metric_x", "metric_y", "model_x", "model_y", "value_x", "value_y", "n_datasets", "r"]
    return figure, table[names]


def _values(inputs: Inputs) -> pd.Series:
    """Returns the similarity of every two models on every dataset."""
    parts = {}
    for dataset, similarity in read_all(inputs.tables, inputs.layers).items():
        i, j = np.triu_indices(len(similarity.models), 1)
        names = np.array(similarity.models, dtype=object)
        index = pd.MultiIndex.from_arrays([names[i], names[j]], names=["model_x", "model_y"])
        parts[dataset] = pd.Series(similarity.matrix[i, j], index)
    return pd.concat(parts, names=["dataset"])


def _means(both: pd.DataFrame) -> pd.DataFrame:
    by = both.dropna().groupby(level=["model_x", "model_y"])
    return by.mean().assign(n_datasets=by.size())
