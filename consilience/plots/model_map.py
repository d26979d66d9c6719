"""Maps of the models: distances on paper follow dissimilarities, one map per dataset."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.pairs.matrix import Similarity
from consilience.plots.facts import METRIC, register
from consilience.plots.naming import name_points
from consilience.plots.ordering import LEAST, align, embed, model_order, read_all
from consilience.plots.sources import GROUP, MODELS, from_similarity
from consilience.plots.style import (
    DARK,
    FONT,
    LETTER,
    PAGE,
    Groups,
    MetricAxis,
    bottom_legend,
    columns_for,
    panels,
    read_groups,
    style,
    title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_NAMED = 24
"""Above so many models, the map shows groups only."""


@register(
    per=METRIC,
    takes=from_similarity() | {"models": MODELS, "group": GROUP},
    category="Similarity",
    caption=(
        "Metric multidimensional scaling of the dissimilarities of the models. Panels are turned "
        "and mirrored, never stretched, to lie as the first one does."
    ),
)
def model_map(
    tables: Mapping[str, pd.DataFrame],
    models: pd.DataFrame,
    *,
    axis: MetricAxis,
    group: str | None = None,
    layers: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws every dataset's models as points whose distances follow 1 - similarity.

    Metric multidimensional scaling in two dimensions, started from classical scaling, so that it
    needs no random numbers; every panel is turned, mirrored and shifted (not stretched) to lie as
    close as possible to the first (Procrustes). Stress (Kruskal's stress-1) says how much of the
    distances the plane cannot show: 0.1 is fair, 0.2 poor. A model without any value has no
    place; the title counts such models. A dataset with fewer than three models with a value is
    left out, and named below the panels.

    Args:
        tables: {dataset: similarity table} of one metric.
        models: metadata indexed by model id.
        axis: the metric.
        group: metadata column for colours and markers.
        layers: {model: layer}; a model with one layer needs no entry.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset, model, group, x, y, stress`.

    Raises:
        DataError: no dataset has three models with a value.
    """
    similarities, groups = read_all(tables, layers), read_groups(models, group)
    parts: list[pd.DataFrame] = []
    without: list[str] = []
    for dataset, similarity in similarities.items():
        chosen = _with_values(similarity)
        if chosen.sum() < LEAST:
            without.append(f"{dataset} ({chosen.sum()} models with a value)")
            continue
        part, stress = _map(similarity, chosen, axis)
        parts.append(align(part, parts[0]) if parts else part)
        lost = len(similarity.models) - len(part)
        parts[-1].attrs = {"dataset": dataset, "stress": stress, "lost": lost}
    if not parts:
        raise DataError(f"a map needs {LEAST} models with a value; too few: {', '.join(without)}")
    order = model_order(similarities, axis)
    with style():
        named = max(map(len, parts)) <= MAX_NAMED
        columns = min(columns_for(len(parts), width), 2 if len(parts) == 4 else 3 if named else 6)
        panel = width / columns
        figure = panels(len(parts), width=width, height=panel + 4, columns=columns, extra=12)
        _draw(figure, parts, groups, panel)
        note = f"{axis.label}: distance on paper ≈ {_distance_name(axis)}"
        note += "; names where they fit" if named else ""
        if without:
            left_out = f"too few for a map: {', '.join(without)}"
            note += "\n" + textwrap.fill(left_out, int(width / LETTER))
        bottom_legend(figure, groups.legend(order), note, width)
        if named:
            name_points(figure, dict(zip(figure.axes, parts, strict=True)))
    table = pd.concat(
        [part.rename_axis("model").reset_index().assign(**part.attrs) for part in parts]
    )
    table["group"] = table["model"].map(groups.of)
    return figure, table[["dataset", "model", "group", "x", "y", "stress"]].reset_index(drop=True)


def _with_values(similarity: Similarity) -> np.ndarray:
    """Returns which models (m,) have a value with another one."""
    apart = similarity.matrix.copy()
    np.fill_diagonal(apart, np.nan)
    return np.isfinite(apart).any(axis=1)


def _map(
    similarity: Similarity, chosen: np.ndarray, axis: MetricAxis
) -> tuple[pd.DataFrame, float]:
    """Returns the points of the chosen models, and the stress."""
    points, stress = embed(axis.distances(similarity.matrix[np.ix_(chosen, chosen)]))
    names = [model for model, has in zip(similarity.models, chosen, strict=True) if has]
    return pd.DataFrame(points, columns=["x", "y"], index=names), stress


def _distance_name(axis: MetricAxis) -> str:
    if not axis.larger_is_more_similar:
        return "value"
    return "1 − value" if axis.bounds[1] == 1 else "largest value − value"


def _draw(figure: Figure, parts: Sequence[pd.DataFrame], groups: Groups, panel: float) -> None:
    everything = np.concatenate([part.to_numpy() for part in parts])
    middle = (everything.max(axis=0) + everything.min(axis=0)) / 2
    half = 0.62 * max(np.ptp(everything, axis=0).max(), 1e-300)
    for axes, part in zip(figure.axes, parts, strict=True):
        for name in groups.names:
            chosen = part[[groups.of[model] == name for model in part.index]]
            axes.scatter(
                chosen["x"], chosen["y"], s=14, color=groups.color(name),
                marker=groups.marker(name), linewidths=0.3, edgecolors="white", zorder=3,
            )  # fmt: skip
        lost = part.attrs["lost"]
        note = f"{len(part)} models, stress {part.attrs['stress']:.2f}"
        note = f"{lost} without values left out; {note}" if lost else note
        axes.set_title(title(part.attrs["dataset"], note, panel))
        axes.set(
            xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half)
        )
        axes.set(xticks=[], yticks=[], aspect="equal")
        axes.spines[:].set(visible=True, color="#cccccc")
    _scale_bar(figure.axes[0], half)


def _scale_bar(axes: Axes, half: float) -> None:
    """Marks a round distance in the lower left corner."""
    length = 10 ** np.floor(np.log10(half))
    length *= 5 if half / length > 5 else 2 if half / length > 2 else 1
    length /= 2
    left, bottom = axes.get_xlim()[0] + 0.06 * half, axes.get_ylim()[0] + 0.06 * half
    axes.plot([left, left + length], [bottom, bottom], color=DARK, linewidth=1.0)
    axes.annotate(
        f"{length:g}", (left + length, bottom), (2, 0), textcoords="offset points",
        va="center", size=FONT, color=DARK,
    )  # fmt: skip
