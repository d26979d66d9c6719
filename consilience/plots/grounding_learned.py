"""Whether groups of models behave differently, so that a test of them says anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.grounding.cases import AUGMENTATION, DESIGNED, SHORTCUTS, Case
from consilience.grounding.gate import Gate, Thresholds, check_gate
from consilience.plots import mpl
from consilience.plots.facts import STUDY, Condition, register
from consilience.plots.grounded import CASES, ordered
from consilience.plots.sources import from_plan, from_tables
from consilience.plots.style import (
    DARK,
    LETTER,
    LIGHT,
    PAGE,
    PALETTE,
    bottom_legend,
    shorten,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

STIMULI = {
    "compared": ("the test's own stimuli", PALETTE[0]),
    "informative": ("informative shortcuts", PALETTE[1]),
    "uninformative": ("uninformative shortcuts", PALETTE[4]),
    "altered": ("altered stimuli", PALETTE[2]),
}
"""On which a group is seen, in words, and its colour."""
NOT = PALETTE[5]
"""Colour of what does not count."""
OUT = -0.3
"""Where titles begin, left of a panel, as a share of its width."""


class Gated(NamedTuple):
    """A test of groups, and how right its models are."""

    case: Case
    accuracies: pd.DataFrame
    gate: Gate


@register(
    per=STUDY,
    takes={
        "accuracies": from_tables("grounding_accuracies", datasets=lambda plan: plan.answered),
        "cases": CASES,
        "thresholds": from_plan("thresholds", lambda plan, _: dict(plan.thresholds)),
    },
    category="Grounding",
    caption=(
        "Whether the groups of every test behave differently, without which it says nothing of a "
        "metric: accuracy of every model (dots) and mean of each group (line) on the stimuli that "
        "decide, and whether the test counts. With more altered labels the accuracy is to fall; "
        "with more informative shortcuts the gap between informative and uninformative stimuli "
        "is to grow; on altered stimuli the last group is to be better than the first."
    ),
    when=Condition(
        "tests of groups (`grounding`)",
        lambda plan: any(case["test"] in DESIGNED for case in plan.cases),
    ),
)
def grounding_learned(
    accuracies: pd.DataFrame,
    cases: Sequence[Mapping],
    thresholds: Mapping[str, float],
    *,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the accuracies by which a test counts or does not, a panel per test and recipe.

    Args:
        accuracies: rows of results/grounding/accuracies.
        cases: fields of `consilience.grounding.cases.Case`.
        thresholds: fields of `consilience.grounding.gate.Thresholds`.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `recipe, test, group, model, stimuli, dataset, accuracy, passed,
        note`.

    Raises:
        DataError: no test is of groups.
    """
    found = [
        _read(Case(**case), accuracies, Thresholds(**thresholds))
        for case in ordered(cases)
        if case["test"] in DESIGNED
    ]
    if not found:
        raise DataError("no test is of groups that are trained differently")
    recipes = list(dict.fromkeys(part.case.recipe for part in found))
    tests = [test for test in DESIGNED if any(part.case.test == test for part in found)]
    high = [max(len(p.case.groups) for p in found if p.case.recipe == r) for r in recipes]
    with style():
        height = sum(5.5 * count + 22 for count in high) + 18
        figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
        grid = figure.subplots(
            len(recipes), len(tests), squeeze=False, height_ratios=[5.5 * k + 15 for k in high]
        )
        for axes in grid.flat:
            axes.set_visible(False)
        for part in found:
            axes = grid[recipes.index(part.case.recipe), tests.index(part.case.test)]
            axes.set_visible(True)
            _panel(axes, part, width / len(tests))
        failed = sum(not part.gate.passed for part in found)
        count = f"{len(found) - failed} of {len(found)} tests count"
        figure.suptitle(f"What the groups have learnt: {count}")
        bottom_legend(figure, list(_legend(found)), "accuracy on", width)
    return figure, pd.concat(
        [part.accuracies.assign(passed=part.gate.passed, note=part.gate.note) for part in found],
        ignore_index=True,
    )


def _read(case: Case, accuracies: pd.DataFrame, least: Thresholds) -> Gated:
    """Returns the accuracies of a case's models where its gate looks, and what that says."""
    known = dict(
        zip(
            zip(accuracies["dataset"], accuracies["model"], strict=True),
            accuracies["accuracy"].astype(float),
            strict=True,
        )
    )
    rows = [
        {"recipe": case.recipe, "test": case.test, "group": group, "model": model,
         "stimuli": stimuli, "dataset": dataset, "accuracy": known.get((dataset, model), np.nan)}
        for stimuli, dataset in _looks(case).items()
        for group, models in case.groups.items()
        for model in models
    ]  # fmt: skip
    return Gated(case, pd.DataFrame(rows), check_gate(case, known, least))


def _looks(case: Case) -> dict[str, str]:
    """Returns the datasets at which the gate of a case looks, by what they are."""
    if case.test == SHORTCUTS:
        return {key: case.gate[key] for key in ("uninformative", "informative")}
    if case.test == AUGMENTATION:
        return {"altered": case.gate["altered"]}
    return {"compared": case.dataset}


def _panel(axes: Axes, part: Gated, width: float) -> None:
    names, rows = list(part.case.groups), part.accuracies
    sides = list(dict.fromkeys(rows["stimuli"]))
    shifts = dict(zip(sides, (-0.17, 0.17) if len(sides) > 1 else (0.0,), strict=True))
    for (group, stimuli), own in rows.groupby(["group", "stimuli"], sort=False):
        y, (_, color) = names.index(group) + shifts[stimuli], STIMULI[stimuli]
        axes.scatter(
            own["accuracy"], [y] * len(own), s=8, color=color, alpha=0.7, linewidths=0, zorder=3
        )
        mean = own["accuracy"].mean()
        if np.isfinite(mean):
            axes.vlines(mean, y - 0.16, y + 0.16, color=DARK, linewidth=1.0, zorder=4)
    for k in range(1, len(names)):
        axes.axhline(k - 0.5, color=LIGHT, linewidth=0.5, zorder=0)
    room = max(int(0.36 * width / LETTER), 8)
    axes.set_yticks(range(len(names)), shorten(names, room))
    axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(-0.03, 1.03))
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=4)
    axes.set_title(f"{part.case.recipe}: {part.case.test}", loc="left", x=OUT)
    verdict = "counts" if part.gate.passed else "does not count"
    note = "\n".join(wrap(f"{verdict}; {part.gate.note}", int(0.92 * width / LETTER)))
    axes.set_xlabel(note, x=OUT, ha="left", color=DARK if part.gate.passed else NOT)


def _legend(found: Sequence[Gated]) -> Iterator[Line2D]:
    seen = {stimuli for part in found for stimuli in part.accuracies["stimuli"]}
    options = {"linestyle": "", "markersize": 3.5}
    shown = [key for key in STIMULI if key in seen]
    for key in shown:
        text, color = STIMULI[key]
        yield mpl.Line2D([], [], marker="o", color=color, label=text, **options)
    yield mpl.Line2D([], [], marker="|", color=DARK, label="mean of a group", **options)
