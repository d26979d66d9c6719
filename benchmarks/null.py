"""Whether p-values are right for every metric: `python benchmarks/null.py [METRIC …]`.

Draws of independent features must give p-values that are uniform. For every registered metric
whose value depends on how samples are paired, 1,000 draws (fewer for slow metrics) are tested by
99 permutations each, for narrow features (n > d + d') and wide ones (n < d). One side has heavy
tails. Results go to benchmarks/null.md, unless only some metrics are asked for.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from consilience.calibration import ROUNDING, Permutations, monte_carlo
from consilience.metrics import METRICS, Facts, Metric, get_metric

PAGE = Path(__file__).with_suffix(".md")
SAMPLES = 24
CLASSES = 5
WIDTHS = {"n > d": (4, 8), "n < d": (40, 8)}
DRAWS = 1000
FEWER_DRAWS = {"rtd": 100, "soft_matching": 400}
"""The metrics that take longest per comparison."""


class PValues(NamedTuple):
    """What draws of independent features gave."""

    p: np.ndarray
    """(draws,) p-values as the library states them."""
    uniform: np.ndarray
    """(draws,) the same with the place among ties and within a step drawn at random; these are
    uniform between 0 and 1 if the p-values are right, and so can be tested."""
    ties: float
    """Mean share of permutations that give the same value as no permutation."""


class Recorded:
    """A metric that notes the values it gives."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.values: list[float] = []

    @property
    def facts(self) -> Facts:
        """The facts of the metric."""
        return self.metric.facts

    def permuted(self, a: Any, order: np.ndarray) -> Any:  # noqa: ANN401
        """Returns the prepared form of the permuted samples."""
        return self.metric.permuted(a, order)

    def compare(self, a: Any, b: Any) -> float:  # noqa: ANN401
        """Returns the value and notes it."""
        self.values.append(self.metric.compare(a, b))
        return self.values[-1]


def metrics() -> Iterator[tuple[str, Metric]]:
    """Yields the metrics that have a null, with as many neighbours as few samples allow."""
    for name, cls in METRICS.items():
        fewer = {"k": 5} if isinstance(cls().parameters.get("k"), int) else {}
        metric = get_metric(name, **fewer)
        if metric.facts.paired:
            yield name, metric


def independent(rng: np.random.Generator, metric: Metric, widths: tuple[int, int]) -> list[Any]:
    """Returns prepared forms of two sides that have nothing to do with each other."""
    if metric.facts.main == "logits":
        widths = (CLASSES, CLASSES)
    labels = rng.integers(CLASSES, size=SAMPLES)
    extra = [labels] if metric.facts.shared else []
    sides = (rng.standard_t(3, size=(SAMPLES, widths[0])), rng.normal(size=(SAMPLES, widths[1])))
    if "unembedding" in metric.facts.inputs:
        heads = [rng.normal(size=(min(widths) + 2, width)) for width in widths]
        return [metric.prepare(x, g, x @ g.T) for x, g in zip(sides, heads, strict=True)]
    return [metric.prepare(x, *extra) for x in sides]


def p_values(metric: Metric, widths: tuple[int, int], draws: int, count: int) -> PValues:
    """Returns the p-values of seeded draws by `count` permutations, the same for all draws."""
    rng = np.random.default_rng([draws, count, *widths, *metric.facts.name.encode()])
    orders = Permutations(count, seed=1).orders(SAMPLES)
    p, ties = np.empty(draws), np.empty(draws)
    for i in range(draws):
        a, b = independent(rng, metric, widths)
        value = metric.compare(a, b)
        recorded = Recorded(metric)
        p[i] = monte_carlo(recorded, value, a, b, orders).p
        values = np.array(recorded.values)
        slack = ROUNDING * max(abs(value), np.abs(values).max())
        ties[i] = np.count_nonzero(np.abs(values - value) <= slack)
    uniform = p - (ties + 1) / (count + 1) * rng.random(draws)
    return PValues(p, uniform, float(np.mean(ties) / count))


def row(metric: Metric, draws: int, count: int = 99) -> list[str]:
    """Returns the cells of one metric: for each case KS p, type-I error, ties."""
    cells = []
    for widths in WIDTHS.values():
        found = p_values(metric, widths, draws, count)
        rejected = int(np.count_nonzero(found.p <= 0.05))
        low, high = stats.binomtest(rejected, draws).proportion_ci(0.95, method="exact")
        ks = stats.kstest(found.uniform, "uniform").pvalue
        cells += [
            "–" if found.ties == 1 else f"{ks:.3f}",
            f"{rejected / draws:.3f} ({low:.3f} – {high:.3f})",
            f"{found.ties:.1%}",
        ]
    return cells


def page(rows: list[list[str]]) -> str:
    """Returns the table with what it shows."""
    header = ["metric", "draws"]
    for case in WIDTHS:
        header += [f"KS p, {case}", "type-I error at 5 %", "ties"]
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    (d, width), (wide, _) = WIDTHS.values()
    return f"""# p-values of independent features

Written by `python benchmarks/null.py`. Each draw compares independent features of {SAMPLES}
samples: {d} and {width} units, or {wide} and {width} where n < d; those of the first side from
Student's t with 3 degrees of freedom, those of the second normal; logits: {CLASSES} classes and
random labels. Parameters are the defaults (k = 5 neighbours). The 99 seeded permutations are the
same for all draws and metrics, as in a study; every metric has draws of its own.

KS p: Kolmogorov-Smirnov test of the p-values against the uniform distribution, the place within
steps and ties drawn at random. Over so many tests some lie below 0.05 by chance, and some
intervals miss 0.05. Type-I error: share of p-values up to 0.05 as the library states them, with its
exact 95 % interval. Ties: mean share of permutations that give the very same value. They count
against the similarity, so metrics whose values come in steps reject less often; at 100 % (metrics
by which all features agree fully once a side has n - 1 independent units) the p-value is always 1.

{table}
"""


def main(names: list[str]) -> int:
    """Runs the metrics in turn and writes the page."""
    rows = []
    for name, metric in metrics():
        if names and name not in names:
            continue
        start = time.perf_counter()
        draws = FEWER_DRAWS.get(name, DRAWS)
        rows.append([f"`{name}`", f"{draws:,}", *row(metric, draws)])
        print(*rows[-1], f"{time.perf_counter() - start:.0f} s", sep="  ", flush=True)
    if not names:
        PAGE.write_text(page(rows), encoding="utf8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
