"""How similarity follows the overlap of two models' data or tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from consilience.causes.selection import LABELS
from consilience.plots.facts import register
from consilience.plots.overlaps import CAUSED, EFFECTS, LABEL, METRIC, PAIRS, draw_overlaps
from consilience.plots.style import PAGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@register(
    per=CAUSED,
    takes={"pairs": PAIRS, "effects": EFFECTS, "metric": METRIC, "label": LABEL},
    category="Causes",
    caption=(
        "Similarity of two models against the share of their data, or of their classes with these "
        "data, that both have: one line per draw of the split, quartiles over draws, and the line "
        "with the mean slope, with its 95 % t interval over draws and p by permuting overlaps "
        "within draws. Dotted: pairs of untrained models; dashed: models of the same data from "
        "another start. A row per kind of overlap and network, a column per dataset."
    ),
)
def causes_overlap(
    pairs: pd.DataFrame, effects: pd.DataFrame, *, metric: str, label: str, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws value against overlap, a row of panels per kind, network and training set.

    Args:
        pairs: rows of results/causes of one metric.
        effects: rows of results/causes/effects.
        metric: the variant.
        label: its name for the reader.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the pairs that it shows, with the statistics of their effects.

    Raises:
        DataError: no pair with an overlap has a value.
    """
    return draw_overlaps(
        pairs[pairs["kind"] != LABELS], effects, metric, width,
        title=f"{label}, against what two models share", x="overlap",
    )  # fmt: skip
