"""Mean consistency within and between groups of models."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pandas as pd

from consilience.errors import DataError
from consilience.pairs.sets import ALL
from consilience.plots.facts import METRIC, register
from consilience.plots.families import between, families_of, few_families, headline, sizes_of
from consilience.plots.rows import MAX_ROWS, add_dots, draw_rows, row_figure
from consilience.plots.sources import GROUPED, LABEL, MODELS, from_tables
from consilience.plots.style import (
    FONT,
    GREY,
    LETTER,
    LIGHT,
    METHODS,
    PAGE,
    pair_name,
    read_groups,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@register(
    per=METRIC,
    takes={
        "means": from_tables("consistency_means"),
        "models": MODELS,
        "label": LABEL,
    },
    category="Consistency",
    caption=(
        "Consistency within and between groups of models: the mean over all pairs of datasets. "
        "Thick lines are 95 % intervals over models, thin ones over models and stimuli; the band "
        "is all models. Where models are of families, filled points are over pairs of models of "
        "different families, with intervals over families; open ones are over all pairs."
    ),
    when=GROUPED,
)
def consistency_groups(
    means: pd.DataFrame,
    models: pd.DataFrame,
    *,
    label: str,
    method: str = "pearson",
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the mean consistency over all dataset pairs, within and between groups of models.

    A block per grouping, named sets and anchors included. The thick line is the 95 % interval over
    models, the thin one that over models and stimuli; behind them are the mean of all models and
    its interval. Where models are of families, filled points with thick lines are over pairs of
    models of different families, open ones with thin lines over all pairs.

    Args:
        means: rows of `results/consistency/means` of one metric.
        models: metadata indexed by model id, for the colours.
        label: the metric's name for the reader.
        method: `pearson` or `spearman`.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows of `means` that it shows.

    Raises:
        DataError: no groups, or none has a mean.
    """
    means = means.reset_index(drop=True)
    chosen = headline(means[means["method"] == method])
    column = families_of(chosen)
    base, rest = chosen[chosen["grouping"] == ALL], chosen[chosen["grouping"] != ALL]
    blocks = {name: _pairs_of(part) for name, part in rest.groupby("grouping", sort=False)}
    blocks = {name: part for name, part in blocks.items() if len(part)}
    if not blocks:
        raise DataError(f"no group of models has a mean consistency by {label}")
    with style():
        figure = row_figure([len(part) for part in blocks.values()], 1, width=width, extra=16)
        for axes, (name, part) in zip(figure.axes, blocks.items(), strict=True):
            joint = {"low_wide": part["low_joint"], "high_wide": part["high_joint"]}
            rows = part.assign(**{} if column else joint)
            for row in base.itertuples():
                axes.axvspan(row.low, row.high, color=LIGHT, linewidth=0, zorder=0)
                axes.axvline(row.value, color=GREY, linewidth=0.8, zorder=0)
            draw_rows(axes, rows, part["label"].tolist())
            _name(axes, rows, name, models)
            axes.set_title(_heading(name, len(part), len(rest[rest["grouping"] == name])))
        every = pd.concat([base, *blocks.values()])
        lines = _below(METHODS[method], column, every, width)
        figure.supxlabel("\n".join(lines), size=FONT)
        figure.set_figheight(figure.get_figheight() + 3.0 * (len(lines) - 2) / 25.4)
        figure.suptitle(f"Consistency of {label}{between(every, ' between families of `{}`')}")
    return figure, means.loc[every.index].reset_index(drop=True)


def _below(name: str, column: str, rows: pd.DataFrame, width: float) -> list[str]:
    """Returns what numbers and lines mean."""
    first = f"{name} of two datasets, mean of Fisher's z over dataset pairs"
    if not column:
        lines = "thick: 95 % interval over models; thin: over models and stimuli; band: all models"
        return [f"{first} (n = models)", f"({lines})"]
    lines = (
        "filled: over pairs of models of different families, 95 % interval over families; open: "
        "over all pairs of models; band: all models"
    )
    lacking = few_families(rows, rows["label"].fillna("all models"))
    notes = [f"{first} (n = models, F = families)", f"({lines})", *filter(None, [lacking])]
    return [line for note in notes for line in textwrap.wrap(note, int(width / LETTER))]


def _pairs_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with a value, highest first, with labels; those within groups if many."""
    plain = rows.get("value_all", rows["value"])
    known = rows.assign(_size=rows["value"].fillna(plain))
    known = known[known["_size"].notna()]
    if len(known) > MAX_ROWS:
        known = known[known["group_x"] == known["group_y"]]
    known = known.sort_values("_size", ascending=False, kind="stable")
    return known.assign(label=list(map(pair_name, known["group_x"], known["group_y"])))


def _heading(grouping: str, shown: int, all_of_them: int) -> str:
    return f"{grouping} ({shown} of {all_of_them})" if shown < all_of_them else grouping


def _name(axes: Axes, rows: pd.DataFrame, grouping: str, models: pd.DataFrame) -> None:
    names = [f"{r.label} ({sizes_of(r)})" for r in rows.itertuples()]
    axes.set_yticks(range(len(rows)), names)
    if grouping in models.columns:
        add_dots(axes, rows, read_groups(models, grouping))
