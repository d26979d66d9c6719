"""Similarity of model pairs against their gap in probe accuracy."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.files import derive_seed
from consilience.pairs.families import read_clusters
from consilience.pairs.matrix import Similarity
from consilience.plots.facts import METRIC, register
from consilience.plots.families import add_notes, between, footnotes
from consilience.plots.ordering import read_all
from consilience.plots.points import (
    SYMBOL,
    common_pairs,
    draw_points,
    driven,
    pair_columns,
    pair_legend,
    result,
)
from consilience.plots.sources import (
    ACCURACY,
    CLUSTERS,
    FAMILIES,
    GROUP,
    MODELS,
    PROBED,
    from_plan,
    from_similarity,
)
from consilience.plots.style import (
    FONT,
    LETTER,
    PAGE,
    Groups,
    MetricAxis,
    color_bar,
    color_scale,
    columns_for,
    panels,
    read_groups,
    style,
)
from consilience.probe.scores import LINEAR

if TYPE_CHECKING:
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    from consilience.pairs.families import Clusters

FURTHER = ("value_between", "low_between", "high_between", "n_families", "outlier",
           "value_without")  # fmt: skip
"""What the figure's table has of each dataset where models are of families."""


@register(
    per=METRIC,
    takes=from_similarity()
    | {
        "accuracy": ACCURACY,
        "models": MODELS,
        "group": GROUP,
        "families": FAMILIES,
        "clusters": CLUSTERS,
        "color": from_plan("color", lambda plan, _: plan.settings["plots"]["gap_color"]),
    },
    category="Probe",
    caption=(
        "Each point is a pair of models: its similarity on a dataset against the difference of "
        "their probe accuracies there. The interval of r resamples models; where models are of "
        "families, r is also that over pairs of models of different families, with an interval "
        "over families."
    ),
    when=PROBED,
)
def similarity_accuracy(  # noqa: PLR0913
    tables: Mapping[str, pd.DataFrame],
    accuracy: pd.DataFrame,
    models: pd.DataFrame,
    *,
    axis: MetricAxis,
    group: str | None = None,
    families: pd.DataFrame | None = None,
    clusters: str | None = None,
    color: str = "group",
    method: str = "pearson",
    layers: Mapping[str, str] | None = None,
    seed: int = 0,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the gap in accuracy of model pairs against their similarity, one panel per dataset.

    r comes with an interval that resamples models. Where models are of families, r comes first
    over pairs of models of different families, with an interval over families, as in
    `results/behavior/relation`.

    Args:
        tables: {dataset: similarity table} of one metric.
        accuracy: columns `dataset, model, accuracy` (a share from 0 to 1); several rows of a
            model, such as seeds, are averaged. Of several kinds of probes the linear one counts.
        models: metadata indexed by model id.
        axis: the metric.
        group: metadata column for the colours.
        families: metadata with the column `clusters`, indexed by model id.
        clusters: the column that says which models are of one family; None or `none` to take
            models one by one.
        color: `group`, or `accuracy`: that of the better model of a pair.
        method: `pearson` or `spearman`.
        layers: {model: layer}; a model with one layer needs no entry.
        seed: study seed of the intervals.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset, model_x, model_y, group_x, group_y, similarity,
        accuracy_gap` (percentage points)`, better` (accuracy of the better model, %)`, r, low,
        high`; with families also `r_between` and the others of `FURTHER`.

    Raises:
        DataError: no dataset has both similarities and accuracies.
    """
    similarities, groups = read_all(tables, layers), read_groups(models, group)
    if "kind" in accuracy:
        accuracy = accuracy[accuracy["kind"] == LINEAR]
    mean = accuracy.groupby(["dataset", "model"])["accuracy"].mean()
    shown = [name for name in similarities if name in mean.index.get_level_values("dataset")]
    if not shown:
        raise DataError(
            f"no dataset has both similarities ({', '.join(similarities)}) and accuracies "
            f"({', '.join(sorted(set(accuracy['dataset'])))})"
        )
    known, found = models if families is None else families, []
    for name in shown:
        of = read_clusters(known, clusters, similarities[name].models)
        found.append(_gaps(similarities[name], mean[name], name, groups, method, seed, of))
    empty = dict.fromkeys(("value", "low", "high"), np.nan)  # of rows of too few models
    rows = pd.DataFrame([empty | row for _, row in found]).assign(dataset=shown)
    columns = min(columns_for(len(shown), width), 4)
    titles = [_title(row, method, width / columns) for row in rows.to_dict("records")]
    lines = max(text.count("\n") for text in titles)
    with style():
        figure = panels(
            len(shown), width=width, height=width / columns + 1 + 3 * lines, columns=columns,
            extra=22 if color == "group" else 8,
        )  # fmt: skip
        scale = _scale([points["better"] for points, _ in found]) if color == "accuracy" else None
        parts = []
        for axes, text, (points, row) in zip(figure.axes, titles, found, strict=True):
            draw_points(axes, points, groups, scale)
            axes.set_title(text, pad=6 if lines > 1 else None)  # clear of the axis' top label
            kept = ("value", "low", "high") + FURTHER * bool(between(rows))
            parts.append(points.assign(**{key: row.get(key, np.nan) for key in kept}))
        table = pd.concat(parts, ignore_index=True)
        _label_gaps(figure, table, axis, columns, between(rows))
        notes = footnotes(rows.assign(outlier=""), lambda row: row.dataset, width)
        if scale is None:
            pair_legend(figure, table, groups, width, notes)
        else:
            color_bar(scale, figure.axes, "accuracy of the better model (%)", aspect=30)
            add_notes(figure, notes, FONT)
    names = {"value_x": "similarity", "value_y": "accuracy_gap", "value": SYMBOL[method],
             "value_between": f"{SYMBOL[method]}_between"}  # fmt: skip
    return figure, table.drop(columns="colored").rename(columns=names)


def _gaps(
    similarity: Similarity,
    accuracy: pd.Series,
    dataset: str,
    groups: Groups,
    method: str,
    seed: int,
    clusters: Clusters,
) -> tuple[pd.DataFrame, dict]:
    """Returns the pairs with both numbers, and their correlation."""
    from consilience.pairs.relate import correlate_pairs  # noqa: PLC0415 - as slow as SciPy

    models = [model for model in similarity.models if model in accuracy.index]
    value = accuracy[models].to_numpy(dtype=float) * 100
    gaps = Similarity(tuple(models), np.abs(value[:, None] - value[None]))
    pairs, models = common_pairs(similarity, gaps)
    row = correlate_pairs(
        pairs, ("the similarity", "the accuracy gap"), methods=[method], permutations=0,
        seed=derive_seed(seed, "similarity_accuracy", dataset), models=models, clusters=clusters,
    )[method]  # fmt: skip
    keep = pairs.valid
    columns = pair_columns(models, pairs.first[keep], pairs.second[keep], groups)
    points = {"dataset": dataset, **columns, "value_x": pairs.x[keep], "value_y": pairs.y[keep]}
    better = np.maximum(
        *(accuracy[columns[f"model_{side}"]].to_numpy(dtype=float) for side in "xy")
    )
    return pd.DataFrame(points).assign(better=better * 100), row


def _title(row: dict, method: str, width: float) -> str:
    """Returns dataset, pairs and families (F), correlation, and who drives it."""
    count, said = f"{row['n_pairs']} pairs", result(row, SYMBOL[method])
    if said.startswith(families := f"{row['n_families']} families: "):
        count, said = f"{count}, F = {row['n_families']}", said.removeprefix(families)
    letters = int((width - 2) / LETTER)
    said = "\n".join(line for part in said.splitlines() for line in textwrap.wrap(part, letters))
    return f"{row['dataset']} ({count})\n{said}{driven(row, width - 6)}"


def _scale(values: Sequence[pd.Series]) -> ScalarMappable:
    """Returns one colour scale for the accuracies (%) of all panels."""
    every = pd.concat(values)
    low, high = (every.min(), every.max()) if len(every) else (0.0, 100.0)
    return color_scale(low, high)


def _label_gaps(
    figure: Figure, table: pd.DataFrame, axis: MetricAxis, columns: int, families: str
) -> None:
    limits = axis.limits(table["value_x"].to_numpy(), 0.02)
    top = float(table["value_y"].max()) * 1.05 or 1.0
    for position, axes in enumerate(figure.axes):
        axes.set(xlim=limits, ylim=(-0.02 * top, top))
        axes.locator_params(nbins=4)
        axes.set_box_aspect(1)
        if position + columns >= len(figure.axes):
            axes.set_xlabel("similarity")
        if position % columns:
            axes.set_yticklabels([])
        else:
            axes.set_ylabel("accuracy gap (% points)")
    figure.suptitle(
        f"{axis.label} of model pairs ({axis.direction}) and their gap in accuracy"
        f"{f', {families}' * bool(families)}"
    )
