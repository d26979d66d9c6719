"""How accurate the models of pairs are, by what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.causes.effects import OWN
from consilience.errors import DataError
from consilience.plots.facts import STUDY, Condition, register
from consilience.plots.overlaps import KINDS, PAIRS, PUBLISHED_PAIRS, color_of, legend_of
from consilience.plots.style import LIGHT, PAGE, bottom_legend, columns_for, panels, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KEYS = ["source", "kind", "family", "train_set", "overlap"]
PAIRED = Condition("pairs with a known overlap (`causes`)", lambda plan: plan.caused)
PUBLISHED_ACCURACIES = Condition(
    "published tables of accuracies (`causes.published`)",
    lambda plan: any(form == "accuracy" for form, *_ in plan.published_forms),
)


@register(
    per=STUDY,
    takes={"pairs": PAIRS},
    category="Causes",
    caption=(
        "Accuracy of the models of pairs with a known overlap, on samples that they did not learn "
        "from: mean and sample standard deviation over models, in percent, by overlap. A side that "
        "is the same at all overlaps counts once, at none."
    ),
    when=PAIRED,
    latex=1,
)
def causes_accuracy(pairs: pd.DataFrame, *, width: float = PAGE) -> tuple[Figure, pd.DataFrame]:
    """Draws accuracies of models by overlap.

    Args:
        pairs: rows of results/causes.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: mean, standard deviation and number of models by overlap.

    Raises:
        DataError: no model of a pair has an accuracy.
    """
    plain = pairs[pairs["control"] == ""].assign(source=OWN)
    sides = []
    for side in "xy":
        found = plain.rename(columns={f"model_{side}": "model", f"accuracy_{side}": "accuracy"})
        sides.append(found[[*KEYS, "model", "accuracy"]])
    models = pd.concat(sides).drop_duplicates()
    fixed = (
        models.groupby(["kind", "family", "train_set", "model"])["overlap"].transform("nunique") > 1
    )
    models = models.assign(overlap=models["overlap"].mask(fixed)).drop_duplicates()
    return _draw(models, "Accuracy of models with a known overlap", width)


@register(
    per=STUDY,
    takes={"pairs": PUBLISHED_PAIRS},
    category="Causes",
    caption=(
        "Accuracies that ReprSimCauses (Li et al. 2025) published: mean and sample standard "
        "deviation over models, in percent, by overlap, or by the parts of labels (0, ½ and 1: "
        "one, two and all). Where classes are split, on those that both models know."
    ),
    when=PUBLISHED_ACCURACIES,
    latex=1,
)
def causes_published_accuracy(
    pairs: pd.DataFrame, *, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws published accuracies by overlap.

    Args:
        pairs: rows of results/causes/published.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: mean, standard deviation and number of models by overlap.

    Raises:
        DataError: no row is an accuracy.
    """
    models = pairs[pairs["metric"] == "accuracy"].rename(columns={"value": "accuracy"})
    return _draw(models, "Published accuracies", width)


def _draw(models: pd.DataFrame, title: str, width: float) -> tuple[Figure, pd.DataFrame]:
    known = models[models["accuracy"].notna()]
    if known.empty:
        raise DataError("no model of a pair has an accuracy")
    parts = known.groupby(KEYS, dropna=False)["accuracy"]
    table = parts.agg(["mean", "std", "count"]).reset_index()
    table = table.rename(columns={"mean": "accuracy_percent", "std": "sd_percent", "count": "n"})
    table[["accuracy_percent", "sd_percent"]] *= 100
    sets = [k for k, _ in table.groupby(["kind", "train_set"])]
    sets.sort(key=lambda key: (list(KINDS).index(key[0]) if key[0] in KINDS else 9, key[1]))
    with style():
        figure = panels(
            len(sets), width=width, height=52, columns=columns_for(len(sets), width), extra=16
        )
        for axes, (kind, train_set) in zip(figure.axes, sets, strict=True):
            _panel(axes, table[(table["kind"] == kind) & (table["train_set"] == train_set)])
            axes.set_title(train_set, loc="left")
        bottom_legend(figure, legend_of([k for k in KINDS if k in set(table["kind"])]), "", width)
        figure.suptitle(f"{title}: mean ± sd; the overlap grows downwards")
    return figure, table


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    families = sorted(rows["family"].unique())
    for k, family in enumerate(families):
        own = rows[rows["family"] == family].sort_values("overlap", na_position="first")
        places = k + np.linspace(-0.3, 0.3, len(own)) if len(own) > 1 else np.array([k])
        axes.errorbar(
            own["accuracy_percent"], places, xerr=own["sd_percent"].fillna(0), fmt="o",
            markersize=2, linewidth=0.6, color=color_of(rows["kind"].iloc[0]),
        )  # fmt: skip
        if k:
            axes.axhline(k - 0.5, color=LIGHT, linewidth=0.5)
    axes.set_yticks(range(len(families)), [f.replace("_", " ") for f in families])
    axes.set_ylim(len(families) - 0.5, -0.5)
    axes.set_xlabel("accuracy, %")
