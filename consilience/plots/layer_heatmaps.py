"""Similarity of every layer of one model with every layer of another, in order of depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.plots import mpl
from consilience.plots.facts import METRIC, Condition, register
from consilience.plots.sources import from_plan, from_similarity
from consilience.plots.style import (
    DARK,
    FONT,
    LETTER,
    LIGHT,
    PAGE,
    MetricAxis,
    color_scale,
    ink,
    minus,
    shorten,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

LARGEST, LEAST = 7.0, 0.6
"""Sides of a cell, in mm."""
NUMBERED = 5.6
"""Least side of a cell with its number in it."""
LONGEST = 22
"""Letters of a layer's name."""
BAR, GAP, TITLE, HEADING = 24.0, 4.0, 5.0, 6.0
"""Room in mm for the scale, between panels, for the title of a panel and that of the figure."""
LEAST_HEIGHT = 48.0
"""Of a figure, in mm, for its scale."""
COLUMNS = [
    "dataset", "model_x", "model_y", "position_x", "position_y", "layer_x", "layer_y", "value",
    "null_mean", "null_sd", "calibrated",
]  # fmt: skip


class Panel(NamedTuple):
    """Two models on a dataset: layers of x downwards, of y to the right, both in order of depth."""

    dataset: str
    model_x: str
    model_y: str
    layers_x: Sequence[str]
    layers_y: Sequence[str]
    rows: pd.DataFrame

    def matrix(self, column: str) -> np.ndarray:
        """Returns a column of the rows as (layers of x, layers of y)."""
        found = np.full((len(self.layers_x), len(self.layers_y)), np.nan)
        found[self.rows["position_x"], self.rows["position_y"]] = self.rows[column]
        return found


@register(
    per=METRIC,
    takes={
        "tables": from_similarity()["tables"],
        "axis": from_similarity()["axis"],
        "pairs": from_plan("pairs", lambda plan, _: plan.layer_pairs),
    },
    category="Similarity",
    caption=(
        "Similarity of every layer of one model with every layer of another, or of its own, in "
        "order of depth from the top left. Where the metric has a null, values are calibrated: 0 "
        "is what chance gives, 1 what a layer has with itself, so that layers of different widths "
        "compare. Grey: a layer with itself."
    ),
    when=Condition(
        "`plots.layers`, with all layers compared (`similarity.layers: all`)",
        lambda plan: plan.layer_pairs,
    ),
)
def layer_heatmaps(
    tables: Mapping[str, pd.DataFrame],
    pairs: Sequence[Sequence[str]],
    *,
    axis: MetricAxis,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the similarity of all layers of pairs of models, a row of panels per pair.

    All panels have cells of one size and share one scale of colours, on which chance and its place
    are marked. Colours are `calibrated` = (value - null_mean) / (best - null_mean) if any row of
    the tables has it, otherwise the values themselves. Layers stand in the order of the model.

    Args:
        tables: {dataset: similarity table} of one metric, whose metadata `layers` say the order.
        pairs: of models; one with itself compares its own layers. A dataset that lacks one of them
            has no panel of the pair.
        axis: the metric.
        width: of the figure, in mm; one with few layers is narrower.

    Returns:
        the figure, and its table: `dataset, model_x, model_y, position_x, position_y, layer_x,
        layer_y, value, null_mean, null_sd, calibrated`; positions count from the input side.

    Raises:
        DataError: no dataset has a value of any of the pairs.
    """
    found = [
        [panel for name, table in tables.items() if (panel := _panel(name, table, *pair))]
        for pair in pairs
    ]
    lines = [line for line in found if line]
    if not lines:
        raise DataError("no dataset has similarities of layers of the pairs of models asked for")
    table = pd.concat([panel.rows for line in lines for panel in line], ignore_index=True)
    if table["value"].isna().all():
        raise DataError("no two layers have a similarity; the column failure says why")
    column = "calibrated" if table["calibrated"].notna().any() else "value"
    scale = _scale(table, column, axis)
    with style():
        figure, right = _draw(lines, column, scale, width, _heading(column, axis))
        _bar(figure, scale, right, column, axis)
    return figure, table


def _heading(column: str, axis: MetricAxis) -> str:
    calibrated = "calibrated" if column == "calibrated" else "without a null"
    return f"{axis.label}, {calibrated}: layers by depth"


def _panel(dataset: str, table: pd.DataFrame, x: str, y: str) -> Panel | None:
    """Returns the layers of two models on a dataset; None if the table has no such pair."""
    places = {
        side: {layer: k for k, layer in enumerate(_order(table, model))}
        for side, model in (("x", x), ("y", y))
    }
    if not all(places.values()):
        return None
    forth = table[(table["model_x"] == x) & (table["model_y"] == y)]
    back = table[(table["model_x"] == y) & (table["model_y"] == x)]
    sides = {"model_x": "model_y", "model_y": "model_x", "layer_x": "layer_y", "layer_y": "layer_x"}
    both = pd.concat([forth, back.rename(columns=sides)])  # of a metric with two orders the first
    both = both.drop_duplicates(["layer_x", "layer_y"])
    if both.empty:
        return None
    for side in "xy":
        both = both[both[f"layer_{side}"].isin(places[side])]
        both[f"position_{side}"] = both[f"layer_{side}"].map(places[side]).astype(int)
    for name in ("null_mean", "null_sd", "calibrated"):
        both[name] = both[name].astype(float) if name in both else np.nan
    rows = both.assign(dataset=dataset, value=both["value"].astype(float))[COLUMNS]
    rows = rows.sort_values(["position_x", "position_y"], ignore_index=True)
    return Panel(dataset, x, y, list(places["x"]), list(places["y"]), rows)


def _order(table: pd.DataFrame, model: str) -> Sequence[str]:
    """Returns the layers of a model in order of depth, as the metadata or else the rows give it."""
    if "layers" in table.attrs:
        return table.attrs["layers"].get(model, ())
    sides = [table.loc[table[f"model_{s}"] == model, f"layer_{s}"] for s in "xy"]
    return list(dict.fromkeys(pd.concat(sides)))


def _scale(table: pd.DataFrame, column: str, axis: MetricAxis) -> ScalarMappable:
    """Returns the colours of all panels: calibrated values from 0, or below if any is, to 1."""
    own = (table["model_x"] == table["model_y"]) & (table["layer_x"] == table["layer_y"])
    values = table.loc[~own, column].to_numpy(float)
    if column == "value":
        return color_scale(*axis.limits(values), turned=not axis.larger_is_more_similar)
    low, high = MetricAxis("", (-np.inf, 1.0)).limits(np.append(values, 0.0))
    return color_scale(low, high)


def _draw(
    lines: Sequence[Sequence[Panel]], column: str, scale: ScalarMappable, width: float, heading: str
) -> tuple[Figure, float]:
    """Places panels line by line so that all cells have one size.

    Returns:
        the figure, and where the panels end, in mm from the left.
    """
    panels = [panel for line in lines for panel in line]
    left = max(_letters(panel.layers_x) for panel in panels) * LETTER + 6
    below = max(_letters(panel.layers_y) for panel in panels) * LETTER + 6
    named = LETTER * max(max(len(p.dataset), len(p.model_y) + 3) for p in panels)
    widest = max(len(panel.layers_y) for panel in panels)
    room = width - left - BAR
    columns = max(1, int(room / (max(30.0, named, 2.2 * widest) + GAP)))
    columns = min(columns, max(map(len, lines)))
    cell = min(LARGEST, max(LEAST, (room / columns - GAP) / widest))
    pitch = max(widest * cell, named) + GAP
    parts = [line[k : k + columns] for line in lines for k in range(0, len(line), columns)]
    label = 1.1 * LETTER * (2 + max(len(panel.model_x) for panel in panels))
    least = min(len(panel.layers_x) for panel in panels) * cell
    below = max(below, label - least)
    high = HEADING + sum(len(part[0].layers_x) * cell + TITLE + below for part in parts)
    high, right = max(high, LEAST_HEIGHT), left + columns * pitch
    wide = max(right + BAR, 1.2 * LETTER * len(heading) + 4)
    figure = mpl.Figure(figsize=(wide / 25.4, high / 25.4))
    mpl.FigureCanvasAgg(figure)
    figure.suptitle(heading, y=1 - 1.0 / high, va="top")
    top = high - HEADING
    for part in parts:
        tall = len(part[0].layers_x) * cell
        top -= TITLE + tall
        for k, panel in enumerate(part):
            across = len(panel.layers_y) * cell
            box = (left + k * pitch, top, across, tall)
            axes = figure.add_axes(tuple(np.divide(box, (wide, high, wide, high))))
            _fill(axes, panel, column, scale, cell)
            _name(axes, panel, cell, first=k == 0)
        top -= below
    return figure, right


def _fill(axes: Axes, panel: Panel, column: str, scale: ScalarMappable, cell: float) -> None:
    """Draws the cells, with their numbers where these have room."""
    values = panel.matrix(column)
    m, d = values.shape
    image = scale.to_rgba(np.ma.masked_invalid(values))
    image[~np.isfinite(values)] = mpl.to_rgba("white")
    if panel.model_x == panel.model_y:
        image[np.arange(m), np.arange(m)] = mpl.to_rgba(LIGHT)
    axes.imshow(image, extent=(0, d, m, 0), interpolation="nearest", aspect="equal")
    axes.spines[:].set_visible(False)
    texts = {
        (i, j): minus(f"{values[i, j]:.2f}".replace("0.", ".", 1))
        for i, j in np.argwhere(np.isfinite(values))
        if panel.model_x != panel.model_y or i != j
    }
    if cell >= max([NUMBERED, *(LETTER * len(text) for text in texts.values())]):
        for (i, j), text in texts.items():
            color = ink(image[i, j, :3])
            axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", size=FONT, color=color)


def _name(axes: Axes, panel: Panel, cell: float, *, first: bool) -> None:
    """Names the layers, all that have room, and the networks beside them."""
    step = max(1, int(np.ceil(FONT * 25.4 / 72 / cell)))
    sides = (("y", panel.layers_x, panel.model_x), ("x", panel.layers_y, panel.model_y))
    for side, layers, model in sides:
        ticks = np.arange(0, len(layers), step)
        names = [shorten(layers, LONGEST)[k] for k in ticks]
        getattr(axes, f"set_{side}ticks")(ticks + 0.5, names)
        axes.tick_params(axis=side, length=0, pad=1, rotation=90 if side == "x" else 0)
        long = 1.1 * LETTER * (len(model) + 2) > len(layers) * cell  # then it begins at the corner
        text, corner = (f"{model} →", "left") if side == "x" else (f"← {model}", "top")
        getattr(axes, f"set_{side}label")(text, loc=corner if long else "center")
    if not first:
        axes.set_yticks([])
        axes.set_ylabel("")
    axes.set_title(panel.dataset)


def _letters(layers: Sequence[str]) -> int:
    return max(map(len, shorten(layers, LONGEST)))


def _bar(
    figure: Figure, scale: ScalarMappable, right: float, column: str, axis: MetricAxis
) -> None:
    """Puts the scale beside the panels; on one of calibrated values 0 is named."""
    wide, high = figure.get_size_inches() * 25.4
    top = high - HEADING - TITLE
    tall = min(60.0, top - 4)
    place = (right / wide, (top - tall) / high, 2.5 / wide, tall / high)
    bar = figure.colorbar(scale, cax=figure.add_axes(place))
    bar.outline.set_visible(False)
    if column == "value":
        bar.set_label(axis.direction)
        return
    ticks = [tick for tick in bar.get_ticks() if scale.norm.vmin <= tick <= scale.norm.vmax]
    ticks = sorted({0.0, *(round(float(tick), 6) for tick in ticks)})
    bar.set_ticks(ticks, labels=["0 chance" if t == 0 else minus(f"{t:g}") for t in ticks])
    bar.ax.axhline(0.0, color=DARK, linewidth=1.0)
