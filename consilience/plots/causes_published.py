"""The published figures of value against overlap, from the published tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.causes.effects import OWN
from consilience.causes.published import as_pairs, figure_of, headline, read_name
from consilience.errors import DataError
from consilience.plots.facts import Scope, register
from consilience.plots.overlaps import (
    EFFECTS,
    PUBLISHED_PAIRS,
    color_of,
    marks,
    overlap_panel,
)
from consilience.plots.sources import from_plan
from consilience.plots.style import PAGE, bottom_legend, panels, shorten, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE = Scope("panel", lambda plan: plan.published_figures, "published figure of causes")
COLUMNS = 3
NAME = 30
"""Most letters of a panel's name."""
SHOWN = ("cka", "transfer_asr")
"""Metrics that the publication draws; of diffusion CKNNA."""
_WORDS = {"cka": "CKA", "cknna": "CKNNA", "transfer_asr": "success of transferred attacks"}


@register(
    per=FIGURE,
    takes={
        "pairs": PUBLISHED_PAIRS,
        "effects": EFFECTS,
        "panel": from_plan("panel", lambda plan, panel: panel),
    },
    category="Causes",
    caption=(
        "A published figure of ReprSimCauses (Li et al. 2025), drawn from its published tables: "
        "value of a pair of models against what both share, a panel per network or evaluation set. "
        "Beside the published R² the mean slope of the draws with its 95 % t interval, and p by "
        "permuting overlaps within draws; values of empty evaluation sets (published as −1) are "
        "left out. docs/published_causes.md says which figure is which."
    ),
)
def causes_published(
    pairs: pd.DataFrame, effects: pd.DataFrame, *, panel: str, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws published values against overlap.

    Args:
        pairs: rows of results/causes/published.
        effects: rows of results/causes/effects.
        panel: name of the figure, of `consilience.causes.published.figure_of`.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the pairs that it shows.

    Raises:
        DataError: no pair of it has a value.
    """
    of = {file: figure_of(read_name(file)) for file in pairs["file"].unique()}
    rows = pairs[pairs["file"].map(of) == panel]
    shown = _drawn(as_pairs(rows)) if len(rows) else rows
    if not shown["value"].notna().any():
        raise DataError(f"no published pair of {panel} has a value")
    keys = ["source", "file", "dataset", "metric"]
    groups = [
        (key, own) for key, own in shown.groupby(keys, sort=False) if own["value"].notna().any()
    ]
    names = _names(groups)
    known = effects[effects["source"] != OWN].set_index(keys)
    kind = str(shown["kind"].iloc[0])
    with style():
        columns = min(COLUMNS, len(groups))
        figure = panels(len(groups), width=width, height=48, columns=columns, extra=16)
        for axes, (key, own), name in zip(figure.axes, groups, names, strict=True):
            effect = known.loc[[key]].iloc[0] if key in known.index else None
            overlap_panel(axes, own, effect, color=color_of(kind), name=name, r2=True)
            axes.set(xlabel="common parts of labels" if kind == "labels" else "overlap",
                     ylabel=_WORDS.get(key[3], key[3]))  # fmt: skip
        bottom_legend(figure, marks(), "", width)
        figure.suptitle(f"As published: {panel.replace('_', ' ')}")
    return figure, shown.reset_index(drop=True)


def _drawn(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the metric that the publication draws, on the sets that it draws."""
    wanted = np.where(
        rows["family"] == "unet", rows["metric"] == "cknna", rows["metric"].isin(SHOWN)
    )
    rows = rows[wanted.astype(bool)]
    tuned = rows["family"].str.match("resnet|vit") & ~rows["family"].str.endswith("_from_scratch")
    similar = rows["metric"].isin(["cka", "cknna"])
    return rows[~(tuned & similar) | headline(rows)]


def _names(groups: list) -> list[str]:
    """Returns for each panel what tells it from the others: network, evaluation set, source."""
    found = [
        {"family": re.sub("(-Vision)?-Instruct$", "", str(own["family"].iloc[0])).replace("_", " "),
         "dataset": key[2].replace("_", " "), "source": key[0]}
        for key, own in groups
    ]  # fmt: skip
    several = [c for c in ("source", "family", "dataset") if len({row[c] for row in found}) > 1]
    return shorten([", ".join(row[c] for c in several or ["family"]) for row in found], NAME)
