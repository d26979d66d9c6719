"""How strongly similarity follows what two models share: all effects, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from consilience.plots.effect_rows import ordered, row_blocks
from consilience.plots.facts import register
from consilience.plots.overlaps import EFFECT, EFFECTS, HAS_EFFECTS, LABEL, METRIC, effects_of
from consilience.plots.style import PAGE, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@register(
    per=EFFECT,
    takes={"effects": EFFECTS, "metric": METRIC, "label": LABEL},
    category="Causes",
    caption=(
        "Slope of similarity on the share of data, of tasks with their data, or of labels that two "
        "models have in common: mean over draws of the split with its 95 % t interval, a row per "
        "network, training set and evaluation set. Rows without an interval have one draw; a star "
        "marks models that did not fit their data. Of published tables, the values of the "
        "publication's own table."
    ),
    when=HAS_EFFECTS,
)
def causes_effects(
    effects: pd.DataFrame, *, metric: str, label: str, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws slopes with intervals, a block of rows per kind of overlap with its own axis.

    Args:
        effects: rows of results/causes/effects.
        metric: the variant, or `published`.
        label: its name for the reader.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the effects that it shows, in their order.

    Raises:
        DataError: no effect has a slope.
    """
    table = ordered(effects_of(effects, metric))
    with style():
        figure = row_blocks(
            table, {"slope": ("slope", "slope_low", "slope_high")}, width,
            {"slope": "slope: similarity per unit of overlap"},
        )  # fmt: skip
        figure.suptitle(f"Effects of what two models share: {label}")
    return figure, table
