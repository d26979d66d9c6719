"""Consistency within groups of models, with and without what follows from accuracy."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pandas as pd

from consilience.errors import DataError
from consilience.pairs.sets import ALL
from consilience.plots.facts import METRIC, Condition, register
from consilience.plots.families import families_of, few_families, headline, sizes_of
from consilience.plots.rows import add_dots, row_figure
from consilience.plots.sources import LABEL, MODELS, from_tables
from consilience.plots.style import (
    DARK,
    FONT,
    GREY,
    LETTER,
    METHODS,
    PAGE,
    PALETTE,
    read_groups,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDES = {"as they are": (DARK, -0.17), "matched": (PALETTE[1], 0.17)}
"""Colour and place in the row, unmatched first."""


@register(
    per=METRIC,
    takes={
        "means": from_tables("consistency_means"),
        "matched": from_tables("matched"),
        "models": MODELS,
        "label": LABEL,
    },
    category="Factors",
    caption=(
        "Consistency within groups of models: the mean over all pairs of datasets, of similarities "
        "as they are and of what is left of them without what follows from mean and difference of "
        "the accuracy of a pair. Lines are 95 % intervals over models, or over families where they "
        "have any, and then of pairs of different families alone."
    ),
    when=Condition("the block `factors`, and probes", lambda plan: plan.matched),
)
def consistency_matched(
    means: pd.DataFrame,
    matched: pd.DataFrame,
    models: pd.DataFrame,
    *,
    label: str,
    method: str = "pearson",
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws consistency within groups, as it is and matched for accuracy, a row per group.

    A block per grouping; the first one is of all models.

    Args:
        means: rows of `results/consistency/means` of one metric.
        matched: rows of `results/factors/matched` of the same metric.
        models: metadata indexed by model id, for the colours.
        label: the metric's name for the reader.
        method: `pearson` or `spearman`.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows that it shows, with a column `similarities` that says
        which they are of.

    Raises:
        DataError: no group has a mean.
    """
    parts = [_within(one, method).assign(similarities=name)
             for name, one in zip(SIDES, (means, matched), strict=True)]  # fmt: skip
    shown = pd.concat(parts, ignore_index=True)
    if shown.empty or shown["value"].isna().all():
        raise DataError(f"no group of models has a mean consistency by {label}")
    blocks = {name: part for name, part in shown.groupby("grouping", sort=False)}
    orders = {name: _order(part) for name, part in blocks.items()}
    with style():
        figure = row_figure([len(o) for o in orders.values()], 1, width=width, extra=18)
        for axes, (name, part) in zip(figure.axes, blocks.items(), strict=True):
            _draw(axes, part, orders[name])
            first = part[part["similarities"] == next(iter(SIDES))].set_index("group_x")
            axes.set_yticks(
                range(len(orders[name])), [f"{g} ({sizes_of(first.loc[g])})" for g in orders[name]]
            )
            if name in models.columns:
                ordered = first.loc[orders[name]].reset_index()
                add_dots(axes, ordered, read_groups(models, name))
            axes.set_title("all models" if name == ALL else name)
        lines = _below(METHODS[method], shown, width)
        figure.supxlabel("\n".join(lines), size=FONT)
        figure.set_figheight(figure.get_figheight() + 3.0 * (len(lines) - 2) / 25.4)
        figure.suptitle(f"Consistency of {label}, as it is and matched for accuracy")
    return figure, shown


def _within(means: pd.DataFrame, method: str) -> pd.DataFrame:
    """Returns the rows within groups, of all models first."""
    chosen = headline(means[means["method"] == method].reset_index(drop=True))
    inside = chosen[chosen["group_x"] == chosen["group_y"]]
    return inside.sort_values("grouping", key=lambda x: x != ALL, kind="stable")


def _order(part: pd.DataFrame) -> list[str]:
    """Returns the groups that have a value, the most consistent as they are first."""
    first = part[part["similarities"] == next(iter(SIDES))].sort_values("value", ascending=False)
    return first["group_x"].tolist()


def _draw(axes: Axes, part: pd.DataFrame, order: list[str]) -> None:
    for name, (color, offset) in SIDES.items():
        rows = part[part["similarities"] == name]
        places = pd.Index(order).get_indexer(rows["group_x"]) + offset
        axes.hlines(places, rows["low"], rows["high"], colors=color, linewidth=1.4)
        axes.scatter(
            rows["value"], places, s=13, c=color, zorder=3, edgecolors="white", linewidths=0.5,
            label=name,
        )  # fmt: skip
    axes.axvline(0, color=GREY, linewidth=0.5, linestyle=":", zorder=0)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.tick_params(axis="x", labelbottom=True)


def _below(name: str, shown: pd.DataFrame, width: float) -> list[str]:
    """Returns what numbers and colours mean."""
    column = families_of(shown)
    over = "families" if column else "models"
    notes = [
        f"{name} of two datasets, mean of Fisher's z over their pairs; 95 % intervals over {over}",
        f"over pairs of models of different families (`{column}`)" if column else "",
        "dark: as they are; orange: less what follows from mean and gap of a pair's accuracy",
        few_families(shown, shown["group_x"]),
    ]
    return [
        line for note in filter(None, notes) for line in textwrap.wrap(note, int(width / LETTER))
    ]
