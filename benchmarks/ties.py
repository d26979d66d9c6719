"""Whether p-values are right where neighbours tie: `python benchmarks/ties.py [KIND …]`.

Two sides of independent features that have nothing to do with each other, of kinds whose distances
tie: few levels, few units, codes. For every metric of neighbours, 1,000 draws of 30 samples with
k = 5 are tested by 19 permutations each, and 2,000 draws of mutual_knn by its closed form. Results
go to benchmarks/ties.md, unless only some kinds are asked for.
"""

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from consilience.calibration import ROUNDING, Permutations, closed_form
from consilience.errors import MetricError
from consilience.metrics import Metric, get_metric

PAGE = Path(__file__).with_suffix(".md")
SAMPLES, K = 30, 5
DRAWS, COUNT, CLOSED_DRAWS = 1000, 19, 2000
LISTED = ("mutual_knn", "jaccard_knn", "cycle_knn", "lcs_knn", "edit_knn", "rank_knn")
METRICS = (*LISTED, "second_order_cosine", "cknna")
Rng = np.random.Generator


def relu(rng: Rng) -> np.ndarray:
    """Returns features of which 84 % are zero."""
    return np.maximum(rng.normal(size=(SAMPLES, 4)) - 1, 0)


def blank(rng: Rng) -> np.ndarray:
    """Returns features in which a fifth of the samples, other ones on each side, is one row."""
    x = rng.normal(size=(SAMPLES, 16))
    chosen = rng.permutation(SAMPLES)[: SAMPLES // 5]
    x[chosen] = x[chosen[0]]
    return x


KINDS: dict[str, Callable[[Rng], np.ndarray]] = {
    "continuous": lambda rng: rng.normal(size=(SAMPLES, 8)),
    "5 levels, 8 units": lambda rng: rng.integers(0, 5, size=(SAMPLES, 8)).astype(float),
    "binary, 6 units": lambda rng: rng.integers(0, 2, size=(SAMPLES, 6)).astype(float),
    "3 levels, 2 units": lambda rng: rng.integers(0, 3, size=(SAMPLES, 2)).astype(float),
    "ReLU, 84 % zeros, 4 units": relu,
    "one unit, cosine": lambda rng: rng.permutation(SAMPLES)[:, None] + 1.0,
    "one-hot, 5 classes": lambda rng: np.eye(5)[rng.integers(0, 5, SAMPLES)],
    "20 % equal rows": blank,
}


def metric_for(name: str, kind: str) -> Metric:
    """Returns the metric; lists are by Euclidean distance but for one unit, by which it ranks."""
    if name not in LISTED:
        return get_metric(name, k=K)
    distance = "cosine" if "cosine" in kind else "euclidean"
    return get_metric(name, k=K, distance=distance)


class Found(NamedTuple):
    """What draws of one kind and metric gave; empty where the metric refuses the features."""

    p: np.ndarray
    """(draws,) p-values as the library states them."""
    uniform: np.ndarray
    """(draws,) the same with the place among equal values drawn at random: uniform if right."""
    excess: np.ndarray
    """(draws,) value less the mean of the permutations."""
    moved: np.ndarray
    """(draws,) change of the value when the samples of both sides are reordered alike."""


def drawn(name: str, kind: str, draws: int = DRAWS, count: int = COUNT) -> Found:
    """Returns p-values of seeded draws by `count` permutations, the same for all draws."""
    metric, make = metric_for(name, kind), KINDS[kind]
    rng = np.random.default_rng([draws, count, *f"{name} {kind}".encode()])
    orders = Permutations(count, seed=1).orders(SAMPLES)
    rows = []
    for _ in range(draws):
        x, y, order = make(rng), make(rng), rng.permutation(SAMPLES)
        if name == "second_order_cosine":  # rows of zeros have no cosine
            x, y = x + 1, y + 1
        try:
            a, b = metric.prepare(x), metric.prepare(y)
            value, moved = metric.compare(a, b), metric(x[order], y[order])
            values = np.array([metric.compare(a, metric.permuted(b, order)) for order in orders])
        except MetricError:
            continue
        slack = ROUNDING * max(abs(value), np.abs(values).max())
        p = (1 + np.count_nonzero(values >= value - slack)) / (count + 1)
        equal = 1 + np.count_nonzero(np.abs(values - value) <= slack)
        rows.append(
            (p, p - equal / (count + 1) * rng.random(), value - values.mean(), moved - value)
        )
    return Found(*np.array(rows).reshape(-1, 4).T)


def closed_draws(kind: str, draws: int = CLOSED_DRAWS) -> np.ndarray:
    """Returns the p-values (draws,) of the closed form of mutual_knn."""
    metric, make = metric_for("mutual_knn", kind), KINDS[kind]
    rng = np.random.default_rng([draws, *kind.encode()])
    p = np.empty(draws)
    for i in range(draws):
        a, b = metric.prepare(make(rng)), metric.prepare(make(rng))
        p[i] = closed_form(metric, metric.compare(a, b), metric.moments(a), metric.moments(b)).p
    return p


def cells(name: str, kind: str) -> tuple[str, str, str, float]:
    """Returns the type-I error, with places among equal values at random, excess; how far moved."""
    found = drawn(name, kind)
    if len(found.p) < DRAWS / 2:
        return "refused", "refused", "refused", 0.0
    stated, exact = (np.mean(side <= 0.05) for side in (found.p, found.uniform))
    return f"{stated:.3f}", f"{exact:.3f}", f"{found.excess.mean():+.4f}", np.abs(found.moved).max()


def table(header: list[str], rows: Iterator[list[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(found: dict[tuple[str, str], tuple], closed: dict[str, np.ndarray]) -> str:
    """Returns the tables with what they show."""
    tables = [
        table(
            ["features", *METRICS],
            ([kind, *(found[name, kind][part] for name in METRICS)] for kind in KINDS),
        )
        for part in range(3)
    ]
    levels = table(
        ["features", "5 %", "1 %", "0.1 %", "KS p"],
        (
            [
                kind,
                *(f"{np.mean(p <= level):.4f}" for level in (0.05, 0.01, 0.001)),
                "–" if np.ptp(p) < 1e-9 else f"{stats.kstest(p, 'uniform').pvalue:.3f}",
            ]
            for kind, p in closed.items()
        ),
    )
    moved = [f"`{n}` {max(found[n, kind][3] for kind in KINDS):.1g}" for n in METRICS]
    return f"""# p-values where neighbours tie

Written by `python benchmarks/ties.py`. Each draw compares independent features of {SAMPLES} samples
of one kind, k = {K}; neighbours are by Euclidean distance, for "one unit" by cosine (then all
samples tie), in `second_order_cosine` by cosine (of features plus 1) and in `cknna` by inner
product. {DRAWS:,} draws a cell, tested by {COUNT} permutations, so the standard error of a share of
0.05 is {(0.05 * 0.95 / DRAWS) ** 0.5:.3f}. "refused": the kernel has no variance.

Share of p-values up to 0.05, as the library states them. Values that come in steps reject less
often, since equal values count against the similarity; where no permutation changes the value,
never.

{tables[0]}

The same with the place among equal values drawn at random, which must be 0.05.

{tables[1]}

Mean of the value less its own mean over permutations, which must be 0.

{tables[2]}

Largest change of a value when the samples of both sides are reordered alike:
{", ".join(moved)}.

`mutual_knn`, `jaccard_knn`, `cycle_knn` and `cknna` are means over random orders of tied samples;
for the others an order is drawn, with the content of the features as seed.

Closed form of `mutual_knn`, {CLOSED_DRAWS:,} draws: share of p-values up to a level (a mid-p, see
`consilience.calibration`), and the Kolmogorov-Smirnov test against the uniform distribution, which
the steps of values without ties disturb.

{levels}
"""


def main(kinds: list[str]) -> int:
    """Runs the cells and writes the page."""
    chosen = [kind for kind in KINDS if not kinds or kind in kinds]
    start, found = time.perf_counter(), {}
    with ProcessPoolExecutor() as pool:
        closed = dict(zip(chosen, pool.map(closed_draws, chosen), strict=True))
        each = [(name, kind) for name in METRICS for kind in chosen]
        for cell, row in zip(each, pool.map(cells, *zip(*each, strict=True)), strict=True):
            found[cell] = row
            print(*cell, *row, f"{time.perf_counter() - start:.0f} s", sep="  ", flush=True)
    for kind, p in closed.items():
        print(kind, *(np.mean(p <= level) for level in (0.05, 0.01, 0.001)))
    if not kinds:
        PAGE.write_text(page(found, closed), encoding="utf8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
