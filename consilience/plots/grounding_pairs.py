"""Similarities of models within groups and across them, in every test of groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.grounding.cases import DESIGNED, Case
from consilience.grounding.closeness import Closeness
from consilience.grounding.overview import NOT_GROUNDED, OK
from consilience.plots import mpl
from consilience.plots.facts import register
from consilience.plots.grounded import (
    CASES,
    DESIGNED_METRIC,
    GROUNDED,
    SCORED,
    TABLES,
    interval,
    ordered,
    short,
)
from consilience.plots.inputs import read_axis
from consilience.plots.sources import LABEL
from consilience.plots.style import (
    DARK,
    GREY,
    LETTER,
    LIGHT,
    PAGE,
    PALETTE,
    MetricAxis,
    bottom_legend,
    shorten,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

KEPT, DROPPED = "keep", "drop"
INSIDE, ACROSS = -0.21, 0.21
"""Places of the pairs inside a group and across it, from the middle of its row."""
OUT = -0.3
"""Where titles begin, left of a panel, as a share of its width."""
SHADES = (PALETTE[0], PALETTE[1], PALETTE[2], PALETTE[3], PALETTE[5], PALETTE[4])
"""Of the groups of a test, in their order."""


@register(
    per=DESIGNED_METRIC,
    takes={"tables": TABLES, "scored": SCORED, "cases": CASES, "label": LABEL},
    category="Grounding",
    caption=(
        "Similarity of models in every test of groups that are trained differently: for every "
        "group the pairs inside it (above, filled) and those across it (below, hollow, in the "
        "colour of the other group), further right is more similar. A metric that finds the "
        "groups has the filled ones to the right of the hollow ones. Crosses are pairs that "
        "started from the same weights."
    ),
    when=GROUNDED,
)
def grounding_pairs(
    tables: Mapping[str, pd.DataFrame],
    scored: pd.DataFrame,
    cases: Sequence[Mapping],
    *,
    label: str,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the similarities within and across the groups of every test, with its scores.

    A row of panels per recipe, a panel per test. Each pair across two groups stands in the rows of
    both.

    Args:
        tables: {dataset: similarity table} of one metric, with their metadata.
        scored: rows of results/grounding of this metric.
        cases: fields of `consilience.grounding.cases.Case`.
        label: the metric's name for the reader.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `recipe, test, dataset, group_x, group_y, model_x, model_y,
        same_start, value`; failed pairs have no value.

    Raises:
        DataError: no test is of groups.
    """
    found = [Case(**case) for case in ordered(cases) if case["test"] in DESIGNED]
    if not found:
        raise DataError("no test is of groups that are trained differently")
    axis = read_axis(tables, label)
    sign = 1.0 if axis.larger_is_more_similar else -1.0
    close = {dataset: Closeness(table, dataset) for dataset, table in tables.items()}
    parts = [_pairs(case, sign * close[case.dataset].models(case.models)) for case in found]
    recipes = list(dict.fromkeys(case.recipe for case in found))
    tests = [test for test in DESIGNED if any(case.test == test for case in found)]
    high = [max(len(c.groups) for c in found if c.recipe == recipe) for recipe in recipes]
    with style():
        height = sum(7.0 * count + 18 for count in high) + 18
        figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
        grid = figure.subplots(
            len(recipes), len(tests), squeeze=False, height_ratios=[7.0 * k + 11 for k in high]
        )
        for axes in grid.flat:
            axes.set_visible(False)
        for case, pairs in zip(found, parts, strict=True):
            axes = grid[recipes.index(case.recipe), tests.index(case.test)]
            axes.set_visible(True)
            _panel(axes, case, pairs, axis, width / len(tests))
            _tell(axes, case, _scores(scored, case))
        figure.suptitle(f"{label} ({axis.direction}): pairs within groups and across them")
        bottom_legend(figure, _legend(parts), "chance of conformity: .50", width)
    return figure, pd.concat(parts, ignore_index=True)


def _pairs(case: Case, values: np.ndarray) -> pd.DataFrame:
    """Returns the pairs of a case's models."""
    i, j = np.triu_indices(len(values), 1)
    models = np.array(case.models, dtype=object)
    groups = np.array(list(case.groups), dtype=object)[case.side]
    across = groups[i] != groups[j]
    return pd.DataFrame(
        {
            "recipe": case.recipe,
            "test": case.test,
            "dataset": case.dataset,
            "group_x": groups[i],
            "group_y": groups[j],
            "model_x": models[i],
            "model_y": models[j],
            "same_start": across & (case.start[i] == case.start[j]),
            "value": values[i, j],
        }
    )


def _scores(scored: pd.DataFrame, case: Case) -> pd.DataFrame:
    """Returns the scores of all groups of a case together."""
    return scored[
        (scored["recipe"] == case.recipe)
        & (scored["test"] == case.test)
        & (scored["group_x"] == "")
    ]


def _panel(axes: Axes, case: Case, pairs: pd.DataFrame, axis: MetricAxis, width: float) -> None:
    names = list(case.groups)
    colors = dict(zip(names, SHADES * len(names), strict=False))
    for k, name in enumerate(names):
        x, y = (pairs[f"group_{side}"] == name for side in "xy")
        _strip(axes, pairs[x & y], k + INSIDE, [colors[name]] * int((x & y).sum()))
        cross = pairs[x ^ y]
        other = cross["group_x"].where(cross["group_x"] != name, cross["group_y"])
        _strip(axes, cross, k + ACROSS, other.map(colors).tolist(), hollow=True)
        if k:
            axes.axhline(k - 0.5, color=LIGHT, linewidth=0.5, zorder=0)
    values = pairs["value"].to_numpy(float)
    low, high = axis.limits(values, margin=0.04)
    if low == high:
        low, high = low - 0.5, high + 0.5
    axes.set(ylim=(len(names) - 0.5, -0.5))
    axes.set_xlim((low, high) if axis.larger_is_more_similar else (high, low))
    short_names = shorten(names, max(int(0.34 * width / LETTER), 8))
    axes.set_yticks(range(len(names)), short_names)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=4)


def _strip(
    axes: Axes, pairs: pd.DataFrame, place: float, colors: Sequence[str], *, hollow: bool = False
) -> None:
    """Draws pairs along x, spread a little over y by their order, with their median."""
    count = len(pairs)
    if not count or pairs["value"].isna().all():
        return
    spread = 0.11 * np.linspace(-1, 1, 5)[np.arange(count) % 5] if count > 2 else np.zeros(count)
    size = float(np.clip(900 / count, 3, 12))
    same = pairs["same_start"].to_numpy()
    values, colors = pairs["value"].to_numpy(float), np.array(colors, dtype=object)
    for chosen, marker in ((~same, "o"), (same, "x")):
        faces = "none" if hollow and marker == "o" else colors[chosen]
        rim = {"edgecolors": colors[chosen]} if hollow and marker == "o" else {}
        axes.scatter(
            values[chosen], place + spread[chosen], s=size, marker=marker, c=faces if not rim else
            None, facecolors=faces if rim else None, linewidths=0.6 if hollow else 0, zorder=3,
            clip_on=False, **rim,
        )  # fmt: skip
    middle = float(np.nanmedian(values))
    axes.plot([middle] * 2, [place - 0.17, place + 0.17], color=DARK, linewidth=1.0, zorder=4)


def _tell(axes: Axes, case: Case, scores: pd.DataFrame) -> None:
    """Writes what the test gives above the panel."""
    lines = [f"{case.recipe}: {case.test}"]
    for same in (KEPT, DROPPED):
        own = scores[scores["same_seed"] == same].set_index("score")
        if own.empty:
            continue
        without = "without ×: " if same == DROPPED else ""
        main = own.loc["auprc"]
        if main["status"] not in (OK, NOT_GROUNDED):
            lines.append(f"{without}no AUPRC: {str(main['status']).replace('_', ' ')}")
            continue
        lines.append(
            f"{without}AUPRC {interval(main['value'], main['low'], main['high'])}, "
            f"chance {short(main['chance'])}"
        )
        if same == DROPPED or (scores["same_seed"] == DROPPED).any():
            continue
        conformity = own.loc["conformity"]
        text = interval(conformity["value"], conformity["low"], conformity["high"])
        lines.append(f"conformity {text}")
    if (scores["status"] == NOT_GROUNDED).any():
        lines[0] += " (not grounded)"
    failed = int(scores["n_failed"].max()) if len(scores) else 0
    if failed:
        lines[0] += f", {failed} failed"
    axes.set_title("\n".join(lines), loc="left", x=OUT)


def _legend(parts: Sequence[pd.DataFrame]) -> list[Line2D]:
    options = {"linestyle": "", "markersize": 3.5}
    marks = [
        mpl.Line2D([], [], marker="o", color=GREY, label="pair within the group", **options),
        mpl.Line2D(
            [], [], marker="o", markerfacecolor="none", color=GREY,
            label="pair across it, in the colour of the other group", **options,
        ),
        mpl.Line2D([], [], marker="|", color=DARK, label="median", **options),
    ]  # fmt: skip
    if any(part["same_start"].any() for part in parts):
        marks.append(
            mpl.Line2D([], [], marker="x", color=GREY, label="across, from the same start",
                       **options)
        )  # fmt: skip
    return marks
