"""Similarity of all models, a heat map per dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.plots.facts import METRIC, register
from consilience.plots.matrices import draw_matrix, name_matrix
from consilience.plots.ordering import model_order, read_all, spread_out
from consilience.plots.sources import GROUP, MODELS, from_similarity
from consilience.plots.style import (
    PAGE,
    MetricAxis,
    bottom_legend,
    color_bar,
    color_scale,
    columns_for,
    panels,
    read_groups,
    style,
    title,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@register(
    per=METRIC,
    takes=from_similarity() | {"models": MODELS, "group": GROUP},
    category="Similarity",
    caption=(
        "Similarity of all pairs of models on every dataset. All panels share one order of the "
        "models, from average-linkage clustering of the mean similarity, and one colour scale; "
        "bars show the groups."
    ),
)
def similarity_heatmaps(
    tables: Mapping[str, pd.DataFrame],
    models: pd.DataFrame,
    *,
    axis: MetricAxis,
    group: str | None = None,
    layers: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the similarity of all model pairs, one panel per dataset.

    All panels share one order of the models (average linkage of the mean over the datasets) and
    one colour scale; brighter is more similar whatever the metric's direction. Models that a
    dataset lacks stay blank, as do failed pairs; self pairs are grey.

    Args:
        tables: {dataset: similarity table} of one metric.
        models: metadata indexed by model id.
        axis: the metric.
        group: metadata column for the colour bars.
        layers: {model: layer}; a model with one layer needs no entry.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset, position_x, position_y, model_x, model_y, value`.
    """
    similarities = read_all(tables, layers)
    order, groups = model_order(similarities, axis), read_groups(models, group)
    matrices = {name: spread_out(s, order) for name, s in similarities.items()}
    low, high = axis.limits(np.concatenate([m.ravel() for m in matrices.values()]))
    scale = color_scale(low, high, turned=not axis.larger_is_more_similar)
    columns = columns_for(len(matrices), width)
    panel = (width - 20) / columns
    with style():
        figure = panels(len(matrices), width=width, height=panel + 3, columns=columns, extra=14)
        for position, (dataset, values) in enumerate(matrices.items()):
            axes = figure.axes[position]
            draw_matrix(axes, values, groups.colors(order), scale)
            present = len(similarities[dataset].models)
            note = f"{present} of {len(order)} models" if present < len(order) else ""
            axes.set_title(title(dataset, note, panel))
            if position % columns == 0:
                name_matrix(axes, order, width - 20, columns)
        color_bar(scale, figure.axes, f"{axis.label}\n({axis.direction})", aspect=30)
        heading = f"{len(order)} models, in one order; grey: same model, white: no value"
        heading += f"\n{group}" if group else ""
        bottom_legend(figure, groups.legend(order, "s"), heading, width)
    return figure, _matrix_table(matrices, order)


def _matrix_table(matrices: Mapping[str, np.ndarray], order: Sequence[str]) -> pd.DataFrame:
    i, j = np.triu_indices(len(order), 1)
    names = np.array(order, dtype=object)
    parts = [
        pd.DataFrame(
            {
                "dataset": dataset,
                "position_x": i,
                "position_y": j,
                "model_x": names[i],
                "model_y": names[j],
                "value": values[i, j],
            }
        )
        for dataset, values in matrices.items()
    ]
    return pd.concat(parts, ignore_index=True)
