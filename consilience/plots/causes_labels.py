"""How similarity follows what two models were asked of the same pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from consilience.causes.selection import LABELS
from consilience.plots.facts import Condition, register
from consilience.plots.overlaps import CAUSED, EFFECTS, LABEL, METRIC, PAIRS, draw_overlaps
from consilience.plots.style import PAGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ASKED = Condition(
    "models of the same samples with other labels (`overlap.kind: labels`)",
    lambda plan: any(pair["kind"] == LABELS for pair in plan.overlapping),
)


@register(
    per=CAUSED,
    takes={"pairs": PAIRS, "effects": EFFECTS, "metric": METRIC, "label": LABEL},
    category="Causes",
    caption=(
        "Similarity of two models of the same samples against the share of the parts of their "
        "labels that both were asked for: 0, no common part; 1, the same labels. Marks as in "
        "causes_overlap."
    ),
    when=ASKED,
)
def causes_labels(
    pairs: pd.DataFrame, effects: pd.DataFrame, *, metric: str, label: str, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws value against the common parts of labels, as `causes_overlap` does.

    Args:
        pairs: rows of results/causes of one metric.
        effects: rows of results/causes/effects.
        metric: the variant.
        label: its name for the reader.
        width: of the figure, in mm.

    Returns:
        the figure, and its table.

    Raises:
        DataError: no pair has a value.
    """
    return draw_overlaps(
        pairs[pairs["kind"] == LABELS], effects, metric, width,
        title=f"{label}, against common labels of the same samples", x="common parts of labels",
    )  # fmt: skip
