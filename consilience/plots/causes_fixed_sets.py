"""One effect on several evaluation sets: fixed ones, and those that follow the overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from consilience.causes.effects import OWN
from consilience.causes.published import headline
from consilience.errors import DataError
from consilience.plots.effect_rows import names_of, row_blocks
from consilience.plots.facts import register
from consilience.plots.overlaps import (
    EFFECT,
    EFFECTS,
    HAS_EFFECTS,
    LABEL,
    METRIC,
    PUBLISHED,
    kinds_of,
)
from consilience.plots.style import PAGE, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUP = ["source", "kind", "family", "train_set"]


@register(
    per=EFFECT,
    takes={"effects": EFFECTS, "metric": METRIC, "label": LABEL},
    category="Causes",
    caption=(
        "The same effect on every evaluation set: slope of similarity on overlap with its 95 % t "
        "interval over draws, and the same of calibrated similarity (0: chance, 1: the best "
        "possible value), where the metric has a null. Sets that hold the classes that one or both "
        "models know change in size and classes with the overlap, and so does what chance gives on "
        "them; fixed ones do not."
    ),
    when=HAS_EFFECTS,
)
def causes_fixed_sets(
    effects: pd.DataFrame, *, metric: str, label: str, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws slopes of each network and training set on all evaluation sets, with intervals.

    Args:
        effects: rows of results/causes/effects.
        metric: the variant, or `published`: the same metrics on all published sets, of networks
            that were compared on several.
        label: its name for the reader.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the effects that it shows.

    Raises:
        DataError: no network was compared on two sets.
    """
    rows = _chosen(effects, metric)
    sets = (
        rows.groupby(GROUP)["dataset"].transform("nunique") if len(rows) else pd.Series(dtype=int)
    )
    rows = rows[sets > 1]
    if rows.empty:
        raise DataError("no two models with a known overlap are compared on two datasets")
    places = {kind: k for k, kind in enumerate(kinds_of(rows))}
    rows = rows.assign(place=rows["kind"].map(places)).sort_values(["place", *GROUP, "dataset"])
    table = rows.drop(columns="place").reset_index(drop=True)
    table = table.assign(name=names_of(table))
    columns = {"slope": ("slope", "slope_low", "slope_high")}
    words = {"slope": "slope", "calibrated": "slope of the calibrated value"}
    if table["slope_calibrated"].notna().any():
        columns["calibrated"] = tuple(f"slope_calibrated{end}" for end in ("", "_low", "_high"))
    with style():
        figure = row_blocks(table, columns, width, words)
        figure.suptitle(f"One effect on several evaluation sets: {label}")
    return figure, table


def _chosen(effects: pd.DataFrame, metric: str) -> pd.DataFrame:
    own = effects["source"] == OWN
    if metric != PUBLISHED:
        return effects[own & (effects["metric"] == metric)]
    counted = effects.loc[headline(effects), ["family", "metric"]].drop_duplicates()
    scratch = effects["family"].str.endswith("_from_scratch") & (effects["metric"] == "cka")
    of_table = pd.MultiIndex.from_frame(effects[["family", "metric"]]).isin(
        pd.MultiIndex.from_frame(counted)
    )
    tuned = effects["family"].str.match("resnet|vit") & ~scratch
    return effects[~own & ((of_table & ~tuned) | scratch)]
