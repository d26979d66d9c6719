"""Alignment across modalities: against how well language models predict text, and of every two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.features import read_header
from consilience.files import read_table
from consilience.plots import mpl
from consilience.plots.facts import ALIGNED_METRIC, Plan, Source, register
from consilience.plots.inputs import read_axis, read_tables
from consilience.plots.matrices import draw_table
from consilience.plots.sources import LABEL, from_tables
from consilience.plots.style import (
    DARK,
    FONT,
    GREY,
    LETTER,
    LIGHT,
    MARKERS,
    PAGE,
    PALETTE,
    MetricAxis,
    bottom_legend,
    color_bar,
    color_scale,
    shorten,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REDUCTIONS = {"max": "best pair of layers", "mean": "mean", "last": "last layers",
              "heldout": "held-out best pair"}  # fmt: skip
SEARCHED = ("max", "heldout")
NARROW = 2.8
"""Narrowest column with a name, in mm."""
MAX_NAMED = 14
"""Up to so many partner models have a line each with a name; of more the quartiles are drawn."""
MAX_TICKS = 13
RIM = {"markeredgewidth": 0.3, "markeredgecolor": DARK}
"""Markers have a rim, for the pale colours."""
ROW = 3.2
"""Height of a row of a matrix, in mm."""


def read_language(manifests: Iterable[str | Path]) -> dict[tuple[str, str], float]:
    """Returns {(dataset, model): bits per byte} of the features whose headers hold it."""
    found = {}
    for path in map(Path, manifests):
        for file in read_table(path)["file"].unique():
            header = read_header(path.parent / file)
            bits = header.get("language", {}).get("bits_per_byte")
            if bits is not None:
                found[path.parent.name, header["model"]["model"]] = float(bits)
    return found


def _with_alignment(plan: Plan) -> Iterable[str]:
    """Returns the datasets with an alignment."""
    return plan.paired


TABLES = from_tables("alignment", read_tables, _with_alignment)
AXIS = Source(
    lambda m: read_axis(read_tables(m.files["alignment"]), m.said["label"]),
    TABLES.reads,
    LABEL.said,
)


@register(
    per=ALIGNED_METRIC,
    takes={
        "tables": TABLES,
        "axis": AXIS,
        "language": from_tables("manifest", read_language, _with_alignment),
    },
    category="Similarity",
    caption=(
        "Alignment of models across modalities, reduced from all pairs of their layers; where "
        "the features hold it, against how well the language models predict text. The band is "
        "where 95 % of the null lies."
    ),
)
def alignment(
    tables: Mapping[str, pd.DataFrame],
    *,
    axis: MetricAxis,
    language: Mapping[tuple[str, str], float] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the alignment of the models of two groups, a row of panels per dataset.

    On the x axis are language models by the bits that they need per byte of text, the better ones
    to the right, where at least two have that number; otherwise the models of the first group by
    name. Each line is a model of the other group. The band is where 95 % of the null lies, for the
    median pair.

    Args:
        tables: {dataset: table of `results/alignment`} of one metric.
        axis: the metric.
        language: {(dataset, model): bits per byte}.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset, reduction, model, partner, bits_per_byte, value,
        null_mean, null_sd, p`.

    Raises:
        DataError: no pair of models has a value.
    """
    table = _all_sides(tables, language or {})
    parts = [part for _, part in table.groupby("dataset", sort=False)]
    partners = sorted(table["partner"].unique())
    with style():
        margin = max(8.0 if part["scaled"].all() else _margin(part) for part in parts)
        height = len(parts) * (36 + margin) + 24
        figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
        grid = figure.subplots(len(parts), len(REDUCTIONS), sharey="row", squeeze=False)
        for line, part in zip(grid, parts, strict=True):
            for axes, (reduction, name) in zip(line, REDUCTIONS.items(), strict=True):
                _draw(axes, part[part["reduction"] == reduction], partners)
                axes.set_title(name)
            line[0].set_ylabel(f"{part['dataset'].iloc[0]}\n{axis.label}")
        _legend(figure, partners, width)
    return figure, table.drop(columns="scaled")


@register(
    per=ALIGNED_METRIC,
    takes={"tables": TABLES, "axis": AXIS},
    category="Similarity",
    caption=(
        "Alignment of every two models across modalities: of their best pair of layers, and of "
        "the pair of layers that is best on one half of the stimuli, compared on the other half."
    ),
)
def aligned_models(
    tables: Mapping[str, pd.DataFrame],
    *,
    axis: MetricAxis,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the alignment of every two models as heat maps, per dataset and per way of search.

    One heat map is of the best pair of layers, the other of the pair of layers that is best on one
    half of the stimuli, compared on the other half. The smaller group of models stands below.

    Args:
        tables: {dataset: table of `results/alignment`} of one metric.
        axis: the metric.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset, reduction, model, partner, value, null_mean, null_sd,
        p`.

    Raises:
        DataError: no pair of models has a value.
    """
    table = _all_sides(tables, {})
    table = table[table["reduction"].isin(SEARCHED)]
    by = dict(list(table.groupby(["dataset", "reduction"])))
    keys = sorted(by, key=lambda key: (key[0], SEARCHED.index(key[1])))
    found = {key: _matrix(by[key]) for key in keys}
    left = LETTER * min(28, max(len(name) for matrix in found.values() for name in matrix.index))
    room = width - left - 26
    heights = [len(matrix) * ROW + _below(matrix, room) for matrix in found.values()]
    low, high = axis.limits(table["value"].to_numpy())
    scale = color_scale(low, high, turned=not axis.larger_is_more_similar)
    with style():
        figure = mpl.Figure(figsize=(width / 25.4, (sum(heights) + 8) / 25.4), layout="constrained")
        grid = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, ((dataset, reduction), matrix) in zip(grid, found.items(), strict=True):
            cell = room / matrix.shape[1]
            draw_table(axes, matrix.to_numpy(), scale, "{:.2f}" if cell > 6 else None)
            axes.set_title(f"{dataset}, {REDUCTIONS[reduction]}")
            axes.set_yticks(np.arange(len(matrix)) + 0.5, shorten(list(matrix.index), 28))
            if cell >= NARROW:
                below = shorten(list(matrix.columns), 20)
                axes.set_xticks(np.arange(len(below)) + 0.5, below, rotation=90)
            else:
                axes.set_xlabel(f"{matrix.shape[1]} models by name", size=FONT)
        label = f"{axis.label}\n({axis.direction})"
        color_bar(scale, grid, label, aspect=30, shrink=min(1, 70 / sum(heights)))
    return figure, table.drop(columns=["scaled", "bits_per_byte"]).reset_index(drop=True)


def _matrix(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the values of both groups, the larger group downwards."""
    wide = rows.pivot_table("value", "model", "partner")
    return wide if wide.shape[0] >= wide.shape[1] else wide.T


def _below(matrix: pd.DataFrame, room: float) -> float:
    """Returns the height of title and names of the columns, in mm."""
    named = room / matrix.shape[1] >= NARROW
    return 6 + (LETTER * min(20, max(map(len, matrix.columns))) if named else 4)


def _all_sides(
    tables: Mapping[str, pd.DataFrame], language: Mapping[tuple[str, str], float]
) -> pd.DataFrame:
    parts = [_sides(table, name, language) for name, table in tables.items()]
    parts = [part for part in parts if len(part)]
    if not parts:
        raise DataError("no pair of models has an alignment; the column failure says why")
    return pd.concat(parts, ignore_index=True)


def _sides(
    table: pd.DataFrame, dataset: str, language: Mapping[tuple[str, str], float]
) -> pd.DataFrame:
    """Returns the rows with the model of the x axis first: the one whose bits are known.

    Of a metric with a direction, both orders are averaged, and the larger p counts.
    """
    rows = table[table["value"].notna()]
    bits = {model: value for (d, model), value in language.items() if d == dataset}
    known = [rows[f"model_{side}"].isin(bits) for side in "xy"]
    later = rows["group_x"] > rows["group_y"]  # the other order of a metric with two of them
    swap = (known[1] & ~known[0]) | ((known[0] == known[1]) & later)
    found = pd.DataFrame(
        {
            "dataset": dataset,
            "reduction": rows["reduction"],
            "model": rows["model_x"].where(~swap, rows["model_y"]),
            "partner": rows["model_y"].where(~swap, rows["model_x"]),
            **{name: rows[name] for name in ("value", "null_mean", "null_sd", "p")},
        }
    )
    keys = ["dataset", "reduction", "model", "partner"]
    how = {"value": "mean", "null_mean": "mean", "null_sd": "mean", "p": "max"}
    found = found.groupby(keys, sort=True).agg(how).reset_index()
    found["bits_per_byte"] = found["model"].map(bits).astype("float64")
    scaled = found.loc[found["bits_per_byte"].notna(), "model"].nunique() >= 2
    found = found[found["bits_per_byte"].notna()] if scaled else found
    return found.assign(scaled=scaled)


def _margin(part: pd.DataFrame) -> float:
    return LETTER * min(18, int(part["model"].str.len().max())) + 6


def _draw(axes: Axes, rows: pd.DataFrame, partners: list[str]) -> None:
    scaled = bool(rows["scaled"].all())
    names = sorted(rows["model"].unique())
    x = rows["bits_per_byte"] if scaled else rows["model"].map(names.index).astype(float)
    rows = rows.assign(x=x).sort_values(["partner", "x"], kind="stable")
    null = rows.groupby("x")[["null_mean", "null_sd"]].median()
    ends = [null["null_mean"] + k * 1.96 * null["null_sd"] for k in (-1, 1)]
    if len(null) > 1:
        axes.fill_between(null.index, *ends, color=LIGHT, linewidth=0, zorder=0)
    else:
        axes.errorbar(null.index, null["null_mean"], 1.96 * null["null_sd"], color=LIGHT, lw=6)
    if len(partners) <= MAX_NAMED:
        for name, part in rows.groupby("partner"):
            color, marker = _look(partners.index(name))
            axes.plot(
                part["x"], part["value"], color=color, marker=marker, markersize=3.0,
                linewidth=0.8 if scaled else 0.0, **RIM,
            )  # fmt: skip
    else:
        axes.plot(rows["x"], rows["value"], ".", color=GREY, markersize=1.5, rasterized=True)
        middle = rows.groupby("x")["value"].median()
        axes.plot(
            middle.index,
            middle,
            color=PALETTE[0],
            marker="o",
            markersize=2.5,
            linewidth=float(scaled),
        )
    _name_x(axes, names, scaled)


def _name_x(axes: Axes, names: list[str], scaled: bool) -> None:
    if scaled:
        axes.invert_xaxis()
        axes.set_xlabel("bits per byte of text\n(lower = better)")
        axes.locator_params(axis="x", nbins=4)
    elif len(names) <= MAX_TICKS:
        axes.set_xticks(range(len(names)), shorten(names, 18), rotation=90)
        axes.set_xlim(-0.6, len(names) - 0.4)
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(names)} models by name", size=FONT)


def _look(position: int) -> tuple[str, str]:
    """Returns colour and marker of a partner: colours first, then other markers."""
    return PALETTE[position % len(PALETTE)], MARKERS[position // len(PALETTE) % len(MARKERS)]


def _legend(figure: Figure, partners: list[str], width: float) -> None:
    null = mpl.Patch(color=LIGHT, label="95 % of the null")
    if len(partners) <= MAX_NAMED:
        looks = map(_look, range(len(partners)))
        entries = [
            mpl.Line2D([], [], color=c, marker=m, markersize=3.5, linewidth=0.8, label=name, **RIM)
            for name, (c, m) in zip(shorten(partners, 28), looks, strict=True)
        ]
    else:
        entries = [
            mpl.Line2D([], [], color=GREY, marker=".", linestyle="", label="a pair of models"),
            mpl.Line2D(
                [], [], color=PALETTE[0], marker="o", markersize=2.5,
                label=f"median over {len(partners)} partners",
            ),
        ]  # fmt: skip
    bottom_legend(figure, [*entries, null], "aligned with", width)
