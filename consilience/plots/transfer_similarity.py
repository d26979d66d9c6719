"""Whether attacks carry over further between models that are more alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.causes.selection import SELF
from consilience.causes.statistics import spearman
from consilience.errors import DataError
from consilience.plots import mpl
from consilience.plots.attacks import ATTACK, ATTACKED, GROUP, SUCCESSES, attacks_of, split_title
from consilience.plots.facts import register
from consilience.plots.overlaps import CAUSED, KINDS, LABEL, PAIRS, group_name
from consilience.plots.style import FONT, PAGE, color_bar, color_scale, minus, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

PANEL, EXTRA = 52.0, 14.0
"""Height of a panel, and of the title, in mm."""
LEAST = 3
"""Pairs for a correlation."""


@register(
    per=CAUSED,
    takes={"successes": SUCCESSES, "pairs": PAIRS, "label": LABEL},
    category="Causes",
    caption=(
        "Success of attacks against the similarity of the attacked model and its victim: one dot "
        "per pair of models of known overlap, the mean of both directions; colour is the overlap. "
        "ρ is the rank correlation over all pairs and the mean of those within draws, where no "
        "difference between draws counts. A row per kind of overlap and attack, a column per "
        "dataset on which similarity is measured."
    ),
    when=ATTACKED,
)
def transfer_similarity(
    successes: pd.DataFrame, pairs: pd.DataFrame, *, label: str, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws success against similarity, a dot per pair.

    Args:
        successes: rows of results/transfer/successes.
        pairs: rows of results/causes of one metric.
        label: its name for the reader.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `kind, family, train_set, dataset, eps, steps, momentum, draw,
        overlap, model_x, model_y, similarity_on, similarity, success`.

    Raises:
        DataError: no pair has both.
    """
    groups = [(key, _joined(rows, pairs)) for key, rows in attacks_of(successes)]
    table = pd.concat([rows for _, rows in groups], ignore_index=True)
    if table.empty:
        raise DataError(f"no pair of models has a success and a similarity by {label}")
    datasets = list(dict.fromkeys(table["similarity_on"]))
    with style():
        height = len(groups) * PANEL + EXTRA
        figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
        grid = figure.subplots(len(groups), len(datasets), squeeze=False, sharey="row")
        scale = color_scale(0, 1)
        title, names = split_title(
            "Success of attacks, against similarity", [key for key, _ in groups]
        )
        for line, (key, rows), attack in zip(grid, groups, names, strict=True):
            for axes, dataset in zip(line, datasets, strict=True):
                _panel(axes, rows[rows["similarity_on"] == dataset], scale, f"on {dataset}")
                axes.set_xlabel(label)
            named = dict(zip([*GROUP, *ATTACK], key, strict=True))
            kind, name = KINDS.get(named["kind"], named["kind"]), group_name(pd.Series(named))
            line[0].set_ylabel(f"{kind}\n{name}{attack}\nshare misled")
        color_bar(scale, grid, "overlap")
        figure.suptitle(title)
    return figure, table


def _joined(rows: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Returns the mean success of each pair, whichever is attacked, with its similarities."""
    others = rows[(rows["control"] != SELF) & (rows["control"] == "")]
    keys = [*GROUP, *ATTACK, "draw", "overlap"]
    known = pairs.loc[(pairs["control"] == "") & pairs["value"].notna()]
    named = known[["dataset", "model_x", "model_y", "value"]].rename(
        columns={"dataset": "similarity_on", "value": "similarity"}
    )
    both = named[["model_x", "model_y"]].drop_duplicates()
    there = both.merge(others, on=["model_x", "model_y"])
    back = both.merge(others, left_on=["model_x", "model_y"], right_on=["model_y", "model_x"],
                      suffixes=("", "_victim"))  # fmt: skip
    found = pd.concat([there, back], ignore_index=True)
    found = found[found["success"].notna()]
    means = found.groupby([*keys, "model_x", "model_y"], as_index=False)["success"].mean()
    return means.merge(named, on=["model_x", "model_y"])[
        [*keys, "model_x", "model_y", "similarity_on", "similarity", "success"]
    ]


def _panel(axes: Axes, rows: pd.DataFrame, scale: ScalarMappable, name: str) -> None:
    axes.scatter(
        rows["similarity"], rows["success"], s=12, c=scale.to_rgba(rows["overlap"].to_numpy()),
        linewidths=0.3, edgecolors="white", zorder=2,
    )  # fmt: skip
    axes.set_title(f"{name}\n{_said(rows)}", loc="left", fontsize=FONT)


def _said(rows: pd.DataFrame) -> str:
    """Returns the rank correlations of similarity and success, in a line."""
    if len(rows) < LEAST:
        return f"{len(rows)} pairs"
    inside = [
        spearman(own["similarity"].to_numpy(), own["success"].to_numpy())
        for _, own in rows.groupby("draw")
        if len(own) >= LEAST
    ]
    text = f"ρ {spearman(rows['similarity'].to_numpy(), rows['success'].to_numpy()):.2f}"
    known = [value for value in inside if np.isfinite(value)]
    if known:
        text += f", within draws {np.mean(known):.2f}"
    return minus(f"{text} ({len(rows)} pairs)")
