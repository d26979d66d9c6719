"""Whether the effect of what two models share depends on their size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from consilience.causes.published import type_of
from consilience.errors import DataError
from consilience.plots import mpl
from consilience.plots.facts import register
from consilience.plots.overlaps import (
    EFFECT,
    EFFECTS,
    HAS_EFFECTS,
    KINDS,
    LABEL,
    METRIC,
    effects_of,
    kinds_of,
)
from consilience.plots.style import (
    GREY,
    MARKERS,
    PAGE,
    PALETTE,
    bottom_legend,
    columns_for,
    log_scale,
    panels,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@register(
    per=EFFECT,
    takes={"effects": EFFECTS, "metric": METRIC, "label": LABEL},
    category="Causes",
    caption=(
        "Slope of similarity on overlap against the number of weights of a network, with the 95 % "
        "t interval over draws; a panel per kind of overlap and training set with networks of two "
        "sizes, a line per type of network."
    ),
    when=HAS_EFFECTS,
)
def causes_sizes(
    effects: pd.DataFrame, *, metric: str, label: str, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws slopes against numbers of weights.

    Args:
        effects: rows of results/causes/effects.
        metric: the variant, or `published`.
        label: its name for the reader.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the effects that it shows.

    Raises:
        DataError: no kind and training set has networks of two sizes.
    """
    known = effects_of(effects, metric)
    known = known[known["slope"].notna() & (known["parameters"] > 0)]
    keys = ["kind", "train_set", "dataset"]
    groups = [
        (key, rows.sort_values("parameters"))
        for kind in kinds_of(known)
        for key, rows in known[known["kind"] == kind].groupby(keys)
        if len(set(rows["parameters"])) > 1
    ]
    if not groups:
        raise DataError("no kind of overlap and training set has networks of two known sizes")
    several = len({key[:2] for key, _ in groups}) < len(groups)
    types = sorted({type_of(family) for _, rows in groups for family in rows["family"]})
    with style():
        columns = columns_for(len(groups), width)
        figure = panels(len(groups), width=width, height=50, columns=columns, extra=16)
        for axes, ((kind, train_set, dataset), rows) in zip(figure.axes, groups, strict=True):
            _panel(axes, rows, types)
            on = f", on {dataset.replace('_', ' ')}" if several else ""
            axes.set_title(f"{KINDS.get(kind, kind)}\n{train_set}{on}", loc="left")
        handles = [
            mpl.Line2D(
                [], [], color=_color(t, types), marker=_marker(t, types), markersize=4, label=t
            )
            for t in types
        ]
        bottom_legend(figure, handles, "", width)
        figure.suptitle(f"Effect and size: {label}")
    return figure, pd.concat([rows for _, rows in groups], ignore_index=True)


def _panel(axes: Axes, rows: pd.DataFrame, types: list[str]) -> None:
    rows = rows.assign(millions=rows["parameters"] / 1e6)
    for name, own in rows.groupby(rows["family"].map(type_of)):
        color = _color(str(name), types)
        axes.vlines(own["millions"], own["slope_low"], own["slope_high"], color=color, linewidth=1)
        axes.plot(own["millions"], own["slope"], color=color, linewidth=0.7, markersize=4,
                  marker=_marker(str(name), types), markeredgecolor="white",
                  markeredgewidth=0.4)  # fmt: skip
    axes.axhline(0, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
    log_scale(axes, rows["millions"], "x")
    axes.set(xlabel="weights, millions", ylabel="slope")


def _color(name: str, types: list[str]) -> str:
    return PALETTE[types.index(name) % len(PALETTE)]


def _marker(name: str, types: list[str]) -> str:
    return MARKERS[types.index(name) % len(MARKERS)]
