"""Stimuli that are points in the plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.datasets import open_dataset
from consilience.errors import DataError
from consilience.plots.classifiers import class_colors, mark
from consilience.plots.facts import STUDY, Condition, Files, Material, Source, register
from consilience.plots.style import GREY, PAGE, bottom_legend, columns_for, panels, style
from consilience.samples import iterate, read_samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLANE = 2


def read_points(material: Material) -> dict[str, pd.DataFrame]:
    """Returns {dataset: table of `id`, `label` and its numbers `x1`, `x2`, …}, opened anew."""
    found = {}
    for path in material.files["samples"]:
        samples = read_samples(path)
        dataset = samples.row["dataset"]
        opened = open_dataset({**material.said["vectors"][dataset]["row"], **samples.pin})
        vectors = np.stack([sample.vector for _, sample in iterate(opened, samples)])
        names = [f"x{k + 1}" for k in range(vectors.shape[1])]
        table = pd.DataFrame(vectors, columns=names)
        for k, column in enumerate(("id", "label")):
            table.insert(k, column, samples.table[column].to_numpy())
        found[dataset] = table
    return found


@register(
    per=STUDY,
    takes={
        "points": Source(
            read_points,
            (Files("samples", lambda plan: plan.vectors),),
            {"vectors": lambda plan, _: dict(plan.vectors)},
        )
    },
    category="Identifiability",
    caption=(
        "The stimuli that are points in the plane, coloured by class: those that models learn "
        "from, and those that they are compared on."
    ),
    when=Condition("stimuli that are vectors", lambda plan: plan.vectors),
)
def identifiability_data(
    points: Mapping[str, pd.DataFrame], *, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws the stimuli of all datasets in the plane, a panel each, coloured by class.

    Args:
        points: {dataset: table of `id`, `label`, `x1`, `x2`}; datasets of other than two numbers
            are named and not drawn.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset, id, label, x1, x2`.

    Raises:
        DataError: no dataset has two numbers per stimulus.
    """
    flat = {name: table for name, table in points.items() if _count(table) == PLANE}
    others = [f"{name} ({_count(points[name])} numbers)" for name in points if name not in flat]
    if not flat:
        raise DataError(f"no stimuli of two numbers: {', '.join(others)}")
    with style():
        columns = min(columns_for(len(flat), width), 4)
        size = min(width / columns, 75)
        figure = panels(
            len(flat), width=size * columns, height=size + 4, columns=columns, extra=13
        )  # fmt: skip
        count = max(int(table["label"].max(skipna=True) + 1) for table in flat.values())
        colors = class_colors(count)
        for axes, (name, table) in zip(figure.axes, flat.items(), strict=True):
            _panel(axes, table, colors)
            classes = table["label"].nunique()
            axes.set_title(f"{name}\n{len(table)} stimuli of {classes} classes")
        for axes in figure.axes[::columns]:
            axes.set_ylabel("$x_2$")
        handles = [mark(color, str(k)) for k, color in enumerate(colors)]
        heading = f"class (not drawn: {', '.join(others)})" if others else "class"
        bottom_legend(figure, handles, heading, size * columns)
    return figure, pd.concat(
        [table.assign(dataset=name) for name, table in flat.items()], ignore_index=True
    )[["dataset", "id", "label", "x1", "x2"]]


def _count(table: pd.DataFrame) -> int:
    return table.shape[1] - 2


def _panel(axes: Axes, table: pd.DataFrame, colors: list[object]) -> None:
    fill = [GREY if pd.isna(k) else colors[int(k)] for k in table["label"]]
    size = float(np.clip(4000 / len(table), 0.6, 8))
    axes.scatter(table["x1"], table["x2"], s=size, c=fill, linewidths=0, rasterized=True)
    reach = 1.05 * float(table[["x1", "x2"]].abs().max().max())
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="$x_1$", box_aspect=1)
    axes.locator_params(nbins=5)
