"""What figures of grounding share: their tables, the kinds of metrics, how numbers are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from consilience.grounding.cases import DESIGNED, LAYERS, TESTS
from consilience.plots import mpl
from consilience.plots.facts import Condition, Files, Plan, Scope, Source
from consilience.plots.inputs import read_tables
from consilience.plots.sources import from_plan, from_tables
from consilience.plots.style import GREY, PALETTE, minus

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

OTHER = "other"
KINDS = {
    "matrices of similarities": ("cka", "dependence", "bures", "rsa", "rsm", "spectral"),
    "alignment": ("aligned", "procrustes", "matching", "regression"),
    "neighbours": ("neighbors", "neighbor_lists", "cknna"),
    "canonical correlations": ("cca", "identifiable"),
    "topology": ("topology", "imd"),
    "predictions": ("outputs", "likelihood"),
    "statistics of one model": ("statistics",),
}
"""Modules of metrics by what they compare, after the types of Klabunde et al. (2025)."""


def domains(plan: Plan) -> Iterable[str]:
    """Returns the modalities of the models that tests are about."""
    return sorted({case["domain"] for case in plan.cases})


def designed(plan: Plan) -> Iterable[str]:
    """Returns the metrics, if any test is of groups that are trained differently."""
    return plan.study.metrics if any(case["test"] in DESIGNED for case in plan.cases) else ()


def layered(plan: Plan) -> Iterable[str]:
    """Returns the metrics, if any test is of layers."""
    return plan.study.metrics if any(case["test"] == LAYERS for case in plan.cases) else ()


DOMAIN = Scope("domain", domains, "modality with tests")
GROUNDED = Condition("tests of recipes (`grounding`)", lambda plan: plan.cases)
DESIGNED_METRIC = Scope("metric", designed, "metric")
LAYERED_METRIC = Scope("metric", layered, "metric")
TABLES = Source(
    lambda m: read_tables(m.files["similarity"]),
    (Files("similarity", lambda plan: plan.grounded_on, of_tests=True),),
)
CASES = from_plan("cases", lambda plan, _: list(plan.cases))
MODULES = from_plan("modules", lambda plan, _: dict(plan.metric_modules))
SCORED = from_tables("grounding")
RANKS = from_tables("grounding_ranks")
SUMMARY = from_tables("grounding_summary")
DIFFERENCES = from_tables("grounding_differences")


def kind_of(modules: Mapping[str, str]) -> dict[str, str]:
    """Returns {metric: what it compares} from {metric: module}."""
    kinds = {module: kind for kind, of in KINDS.items() for module in of}
    return {metric: kinds.get(module, OTHER) for metric, module in modules.items()}


def kind_color(kind: str) -> str:
    """Returns the colour of a kind of metrics."""
    names = list(KINDS)
    return PALETTE[names.index(kind)] if kind in names else GREY


def kind_legend(kinds: Iterable[str], marker: str = "s") -> list[Line2D]:
    """Returns a legend entry for each kind among those given."""
    found = set(kinds)
    return [
        mpl.Line2D(
            [], [], linestyle="", marker=marker, markersize=4.5, label=kind,
            color=kind_color(kind), markeredgecolor=GREY, markeredgewidth=0.4,
        )
        for kind in (*KINDS, OTHER)
        if kind in found
    ]  # fmt: skip


def short(value: float, decimals: int = 2) -> str:
    """Returns a number between -1 and 1 without the 0 before its point: `.43`, `−.07`, `1.00`."""
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return minus(text.replace("0.", ".", 1) if abs(float(text)) < 1 else text)


def interval(value: float, low: float, high: float) -> str:
    """Returns a value with its interval, if it has one, in brackets."""
    if np.isnan(value):
        return "no value"
    ends = f" [{short(low)}, {short(high)}]" if np.isfinite(low) else ""
    return short(value) + ends


def named(metrics: Sequence[str], labels: Mapping[str, str] | None) -> list[str]:
    """Returns the names of metrics for the reader."""
    return [(labels or {}).get(metric, metric) for metric in metrics]


def ordered(cases: Iterable[Mapping]) -> list[Mapping]:
    """Returns the tests of recipes, modality by modality, recipe by recipe."""
    return sorted(cases, key=lambda c: (c["domain"], c["recipe"], TESTS.index(c["test"])))
