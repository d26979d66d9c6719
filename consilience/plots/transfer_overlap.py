"""How far attacks on one model mislead another one, by what both share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.causes import statistics
from consilience.causes.selection import SELF
from consilience.plots import mpl
from consilience.plots.attacks import ATTACK, ATTACKED, GROUP, SUCCESSES, attacks_of, split_title
from consilience.plots.facts import STUDY, register
from consilience.plots.overlaps import CEILING, KINDS, color_of, group_name, marks, overlap_panel
from consilience.plots.style import GREY, PAGE, bottom_legend, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 46.0
"""Height of a panel, in mm."""
MEASURES = (
    ("success", "x", "attack on x, success on y"),
    ("success", "y", "attack on y, success on x"),
    ("success_published", "x", "the same as published"),
)
"""Columns of panels: what is measured, the side that is attacked, and words."""


@register(
    per=STUDY,
    takes={"successes": SUCCESSES},
    category="Causes",
    caption=(
        "Share of pictures that one model is misled by, if they were made to mislead the other "
        "one, against what both share; of pictures that both find right as they are and whose "
        "class both know. One line per draw of the split, quartiles over draws, and the line with "
        "the mean slope and its 95 % t interval over draws. Dotted: random signs of the same size; "
        "dashed: a model of the same data from another start; dash-dotted: the model that was "
        "attacked. On the right the definition as published, the error of the victim on these "
        "pictures, which counts what it had wrong before."
    ),
    when=ATTACKED,
)
def transfer_overlap(
    successes: pd.DataFrame, *, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws success against overlap in both directions, and by the published definition.

    Args:
        successes: rows of results/transfer/successes.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: one row per pair and panel, `kind, family, train_set, dataset,
        eps, steps, momentum, measure, side_x, draw, overlap, control, n, value, slope, slope_low,
        slope_high`.

    Raises:
        DataError: no attack on another model has a value.
    """
    groups = list(attacks_of(successes))
    tables = []
    with style():
        height = len(groups) * PANEL + 18
        figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
        grid = figure.subplots(len(groups), len(MEASURES), squeeze=False, sharey="row")
        title, names = split_title(
            "Success of attacks, against what two models share", [key for key, _ in groups]
        )
        for line, (key, rows), attack in zip(grid, groups, names, strict=True):
            named = dict(zip([*GROUP, *ATTACK], key, strict=True))
            for axes, (measure, side, words) in zip(line, MEASURES, strict=True):
                tables.append(_panel(axes, rows, measure, side, words))
            name = group_name(rows.iloc[0])
            kind = KINDS.get(named["kind"], named["kind"])
            line[0].set_ylabel(f"{kind}\n{name}{attack}\nshare misled")
            line[0].set_ylim(bottom=0)
        bottom_legend(figure, list(_handles(successes)), "", width)
        figure.suptitle(title)
    return figure, pd.concat(tables, ignore_index=True)


def _panel(
    axes: Axes, rows: pd.DataFrame, measure: str, side: str, words: str
) -> pd.DataFrame:  # fmt: skip
    """Draws one panel; returns its rows."""
    own = rows[rows["side_x"] == side].assign(measure=measure)
    own = own.assign(value=own[measure])
    shown = own[(own["control"] == "") & own["value"].notna()]
    effect = slope_of(shown)
    overlap_panel(axes, own, effect, color=color_of(rows["kind"].iloc[0]), name=words)
    axes.set_xlabel("overlap")
    if measure == "success":
        noise = shown.groupby("overlap")["success_noise"].mean()
        axes.plot(noise.index, noise, color=GREY, linestyle=":", linewidth=1.1, zorder=2)
        white = own.loc[own["control"] == SELF, "value"].dropna()
        if len(white):
            axes.axhline(white.mean(), color=GREY, linestyle="-.", linewidth=0.9, zorder=0)
    kept = [*GROUP, *ATTACK, "measure", "side_x", "draw", "overlap", "control", "n", "value"]
    return own[kept].assign(**{k: effect[k] for k in ("slope", "slope_low", "slope_high")})


def slope_of(shown: pd.DataFrame) -> pd.Series:
    """Returns the slope of value on overlap over draws, with its interval, as an effect."""
    found = {"slope": np.nan, "slope_low": np.nan, "slope_high": np.nan, "p": np.nan}
    if len(shown):
        arrays = (shown[key].to_numpy() for key in ("draw", "overlap", "value"))
        slope = statistics.slope(*arrays)
        found |= {"slope": slope.value, "slope_low": slope.low, "slope_high": slope.high}
    return pd.Series(found | {"status": "no slope: fewer than two overlaps with a value"})


def _handles(successes: pd.DataFrame) -> Iterator[mpl.Line2D]:
    yield from marks()
    controls = set(successes["control"])
    for line, words, there in (
        (":", "random signs", True),
        ("--", "same data, another start", CEILING in controls),
        ("-.", "the attacked model itself", SELF in controls),
    ):
        if there:
            yield mpl.Line2D([], [], color=GREY, linestyle=line, linewidth=1.0, label=words)
