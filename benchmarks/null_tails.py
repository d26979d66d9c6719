"""How far the closed-form p-values hold: `python benchmarks/null_tails.py`.

Two tables for the metrics that have a closed form. Type-I error: the share of p-values up to 0.05,
0.01 and 0.001 over 2,000 draws of independent features of nine kinds. Tail: p at the value that
0.01 … 0.00001 of 1,000,000 permutations reach. Results go to benchmarks/null_tails.md.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from consilience.calibration import closed_form
from consilience.errors import MetricError
from consilience.metrics import InnerProductMetric, Metric, get_metric

PAGE = Path(__file__).with_suffix(".md")
DRAWS = 2000
PERMUTATIONS = 1_000_000
LEVELS = (0.05, 0.01, 0.001)
TAIL = (1e-2, 1e-3, 1e-4, 1e-5)
TAIL_SAMPLES = 30

METRICS: dict[str, Metric] = {
    "cka (debiased linear)": get_metric("cka"),
    "cka biased, rv": get_metric("rv"),
    "cka rbf": get_metric("cka", kernel="rbf"),
    "cka laplace": get_metric("cka", kernel="laplace"),
    "distance_correlation": get_metric("distance_correlation"),
    "rsa (correlation, Spearman)": get_metric("rsa"),
    "rsa euclidean Pearson": get_metric("rsa", rdm="euclidean", compare="pearson"),
    "rsa cosine Spearman": get_metric("rsa", rdm="cosine"),
    "mutual_knn cosine k5": get_metric("mutual_knn", k=5),
}

Make = Callable[[np.random.Generator], np.ndarray]


def normal(n: int, d: int = 8) -> Make:
    """Returns what draws normal features."""
    return lambda rng: rng.normal(size=(n, d))


def heavy(n: int, df: float, d: int = 8) -> Make:
    """Returns what draws features from Student's t."""
    return lambda rng: rng.standard_t(df, size=(n, d))


def one_row(n: int, factor: float, d: int = 8) -> Make:
    """Returns what draws normal features with one row, a random one, that is larger."""

    def make(rng: np.random.Generator) -> np.ndarray:
        x = rng.normal(size=(n, d))
        x[rng.integers(n)] *= factor
        return x

    return make


def clusters(n: int, count: int, share: float = 1.0, d: int = 8) -> Make:
    """Returns what draws rows around one of so many far points; the others around the origin."""

    def make(rng: np.random.Generator) -> np.ndarray:
        x, rows = rng.normal(size=(n, d)), rng.permutation(n)[: round(share * n)]
        x[rows] += 10 * rng.normal(size=(count, d))[rng.integers(count, size=len(rows))]
        return x

    return make


KINDS: dict[str, Make] = {
    "n=20": normal(20),
    "n=50": normal(50),
    "n=20, d=400": normal(20, 400),
    "t with 1.5 df, n=40": heavy(40, 1.5),
    "4 clusters": clusters(40, 4),
    "10 % cluster": clusters(40, 1, 0.1),
    "3 levels": lambda rng: rng.integers(3, size=(40, 8)).astype(float),
    "1 row × 50": one_row(40, 50),
    "one unit": normal(40, 1),
}
TAIL_KINDS: dict[str, Make] = {
    "normal": normal(TAIL_SAMPLES),
    "low rank": lambda rng: rng.standard_t(4, size=(TAIL_SAMPLES, 4)) * (3.0, 1.0, 0.3, 0.1),
    "t with 3 df": heavy(TAIL_SAMPLES, 3),
    "one row × 10": one_row(TAIL_SAMPLES, 10),
    "one row × 50": one_row(TAIL_SAMPLES, 50),
}


def p_values(metric: Metric, make: Make, draws: int, seed: int = 0) -> np.ndarray:
    """Returns p (draws,) of independent features; NaN where the metric is not defined."""
    found, rng = np.full(draws, np.nan), np.random.default_rng(seed)
    for i in range(draws):
        x, y = make(rng), make(rng)
        try:
            a, b = metric.prepare(x), metric.prepare(y)
        except MetricError:
            continue
        value = metric.compare(a, b)
        found[i] = closed_form(metric, value, metric.moments(a), metric.moments(b)).p
    return found


def matrix(metric: InnerProductMetric, a: np.ndarray) -> np.ndarray:
    """Returns the symmetric matrix (n, n) of a prepared form, its diagonal where it counts."""
    n = round(np.sqrt(2 * len(a)) + (0 if metric.has_diagonal else 0.5))
    pairs = n * (n - 1) // 2
    found = np.zeros((n, n))
    found[~np.tri(n, dtype=bool)] = a[:pairs] / np.sqrt(2)
    found += found.T
    if metric.has_diagonal:
        np.fill_diagonal(found, a[pairs:])
    return found


def null_draws(a: np.ndarray, b: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Returns values (count,) under random permutations of b, the largest first."""
    rng, n, step, found = np.random.default_rng(seed), len(a), 4000, []
    for start in range(0, count, step):
        orders = rng.random((min(step, count - start), n)).argsort(axis=1)
        places = orders[:, :, None] * n + orders[:, None, :]
        found.append(b.ravel()[places.reshape(len(orders), -1)] @ a.ravel())
    return -np.sort(-np.concatenate(found))


def tail(metric: InnerProductMetric, make: Make, count: int, seed: int = 0) -> list[float]:
    """Returns p at the values that the shares `TAIL` of `count` permutations reach."""
    rng = np.random.default_rng(seed)
    a, b = metric.prepare(make(rng)), metric.prepare(make(rng))
    draws = null_draws(matrix(metric, a), matrix(metric, b), count, seed)
    moments = metric.moments(a), metric.moments(b)
    return [closed_form(metric, float(draws[int(level * count)]), *moments).p for level in TAIL]


def errors_row(metric: Metric, kinds: Mapping[str, Make], draws: int) -> list[str]:
    """Returns the cells of one metric: for each kind the shares of p up to each level."""
    cells = []
    for make in kinds.values():
        p = p_values(metric, make, draws)
        p = p[np.isfinite(p)]
        if len(p) < draws / 2:
            cells.append("not defined")
            continue
        shares = [f"{np.mean(p <= level):.3f}".lstrip("0") for level in LEVELS]
        cells.append(" / ".join(shares))
    return cells


def table(rows: list[list[str]]) -> str:
    """Returns a Markdown table; the first row is its head."""
    rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def page(errors: list[list[str]], tails: list[list[str]]) -> str:
    """Returns the page with what the tables show."""
    return f"""# Tails of the closed-form null

Written by `python benchmarks/null_tails.py`. p of the closed form is a Pearson type III tail of the
exact mean, variance and skewness. Where one sample of each side decides the value (a row of large
norm in both), the tail of no such curve is right, and p is not below 1/n, or 1 / (n (n - 1)) where
two of each side do (`consilience/forms/dominance.py`); the column `note` of a table says so.

## Type-I error

Share of p-values up to 0.05 / 0.01 / 0.001 over {DRAWS:,} draws of independent features; standard
errors are 0.005, 0.002 and 0.001. 8 units unless said. 4 clusters, 10 % cluster: all, or 4 of 40,
rows are far away around common points. `mutual_knn` of ties (3 levels, one unit) is not a matter of
the tail.

{table(errors)}

Right is a share of the level or less: with a floor of 1/n = 0.025 no p is below it in the columns
where one row decides, which is why 0.01 and 0.001 are never reached there (permutations would reach
them).

## Far tail

p of the closed form where that of {PERMUTATIONS:,} permutations is as in the head; {TAIL_SAMPLES}
samples, two independent matrices. The last two entries of a row rest on {PERMUTATIONS // 10_000}
and {PERMUTATIONS // 100_000} permutations.

{table(tails)}

Larger than the head is the safe side. With one row × 10 and × 50 the floor is 1/{TAIL_SAMPLES} =
{1 / TAIL_SAMPLES:.3f}: true p-values below it are told as {1 / TAIL_SAMPLES:.3f}, and nothing is
told to be more certain than it is.
"""


def main() -> int:
    """Computes both tables and writes the page."""
    errors, tails = [["metric", *KINDS]], [["metric, features", *map(str, TAIL)]]
    for name, metric in METRICS.items():
        errors.append([name, *errors_row(metric, KINDS, DRAWS)])
        print(*errors[-1], sep="  ", flush=True)
    inner = {name: m for name, m in METRICS.items() if isinstance(m, InnerProductMetric)}
    for name, metric in inner.items():
        for kind, make in TAIL_KINDS.items():
            found = tail(metric, make, PERMUTATIONS)
            tails.append([f"{name}, {kind}", *(f"{p:.1e}" for p in found)])
            print(*tails[-1], sep="  ", flush=True)
    PAGE.write_text(page(errors, tails), encoding="utf8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
