"""Probe accuracies of all models on all datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.plots import mpl
from consilience.plots.facts import STUDY, register
from consilience.plots.matrices import draw_table
from consilience.plots.sources import ACCURACY, GROUP, MODELS, PROBED
from consilience.plots.style import (
    LETTER,
    PAGE,
    bottom_legend,
    color_bar,
    color_scale,
    read_groups,
    shorten,
    style,
)
from consilience.probe.scores import LINEAR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

ROW = 3.2
"""Height of a model's row, in mm: a line of text."""


@register(
    per=STUDY,
    takes={"accuracy": ACCURACY, "models": MODELS, "group": GROUP},
    category="Probe",
    caption=(
        "Accuracy of linear probes on held-out samples, mean over seeds. Models stand by group, "
        "best mean first."
    ),
    when=PROBED,
)
def probe_accuracy(
    accuracy: pd.DataFrame,
    models: pd.DataFrame,
    *,
    group: str | None = None,
    layers: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the accuracy of the linear probes as a heat map, models by datasets.

    Models of a group stand together, best mean first; where there is room, cells hold the number.

    Args:
        accuracy: rows of `results/probe/accuracy`.
        models: metadata indexed by model id.
        group: metadata column for the order and the colour bar.
        layers: {model: layer}; of other models the best layer counts.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset, model, layer, accuracy, sd, group`.

    Raises:
        DataError: there is no linear probe.
    """
    table = _chosen(accuracy, layers or {})
    if table.empty:
        raise DataError("no model has a linear probe on any dataset")
    groups = read_groups(models, group)
    table = table.assign(group=table["model"].map(groups.of))
    wide = table.pivot_table("accuracy", "model", "dataset") * 100
    rank = {name: position for position, name in enumerate(groups.names)}
    names = sorted(wide.index, key=lambda m: (rank[groups.of[m]], -float(wide.loc[m].mean()), m))
    wide = wide.loc[names]
    scale = color_scale(0, 100)
    with style():
        margin = LETTER * max(len(name) for name in shorten(list(wide.columns), 18))
        height = ROW * len(names) + margin + 26
        cell = min((width - 55) / wide.shape[1], 16.0)
        figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
        axes = figure.subplots()
        _draw(axes, wide, groups.colors(names), scale, cell)
        color_bar(scale, axes, "accuracy of the linear probe (%)")
        heading = f"{group} (white: no value)" if group else "white: no value"
        bottom_legend(figure, groups.legend(names, "s") if group else [], heading, width)
    return figure, table.reset_index(drop=True)


def _chosen(accuracy: pd.DataFrame, layers: Mapping[str, str]) -> pd.DataFrame:
    """Returns one row per dataset and model: the given layer, or the best."""
    rows = accuracy[accuracy["kind"] == LINEAR] if "kind" in accuracy else accuracy
    if "layer" not in rows:
        rows = rows.assign(layer="")
    wanted = rows["model"].map(layers).fillna(rows["layer"])
    here = rows[(rows["layer"] == wanted) & rows["accuracy"].notna()]
    best = here.sort_values("accuracy", ascending=False, kind="stable")
    best = best.drop_duplicates(["dataset", "model"]).sort_values(["dataset", "model"])
    kept = [c for c in ("dataset", "model", "layer", "accuracy", "sd") if c in best]
    return best[kept]


def _draw(
    axes: Axes, wide: pd.DataFrame, strip: list[str], scale: ScalarMappable, cell: float
) -> None:
    m, d = wide.shape
    draw_table(axes, wide.to_numpy(), scale, "{:.0f}" if cell >= 4.0 else None)
    bar = np.array([mpl.to_rgba(color) for color in strip])[:, None]
    end = -0.03 * d
    axes.imshow(bar, extent=(end, 0.3 * end, m, 0), interpolation="nearest", aspect="auto")
    axes.set(xlim=(end, d), ylim=(m, 0))
    axes.set_yticks(np.arange(m) + 0.5, shorten(list(wide.index), 28))
    short = shorten(list(wide.columns), 18)
    turned = max(map(len, short)) * LETTER > cell
    axes.set_xticks(np.arange(d) + 0.5, short, rotation=90 if turned else 0)
