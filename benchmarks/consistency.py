"""Speed and truth of consistency on made-up studies: `python benchmarks/consistency.py [part …]`.

Parts: `speed` (64 models x 24 datasets x 4 metrics), `coverage` (intervals over models), `joint`
(intervals over models and stimuli), `null` (p-values), `power` (differences of groups). Without a
part, all of them (about ten minutes on one core). Results: benchmarks/consistency.md.
`families [WORD …]`: the cells of consistency_families.py that have the words.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from scipy import stats
from threadpoolctl import threadpool_limits

from consilience.consistency import consistency_tables
from consilience.consistency.stimuli import joint_variance, stimulus_part
from consilience.pairs.correlations import Block
from consilience.pairs.inference import (
    estimate,
    interval,
    mantel,
    relabellings,
    resample_counts,
)

SIZES = (8, 16, 32, 64)
STUDIES = 500
MANY = 2000
"""Studies for the intervals over models: 500 leave a standard error of 1 %."""
REPLICATES = 300
BATCH = 25
RANK_TRUTH = {
    "pearson": lambda r: r,
    "spearman": lambda r: 6 / np.pi * np.arcsin(r / 2),
    "kendall": lambda r: 2 / np.pi * np.arcsin(r),
}


def twins(shape: tuple[int, ...], rho: float, rng: np.random.Generator) -> np.ndarray:
    """Returns (2, *shape) normal numbers that correlate by rho."""
    first, second = rng.normal(size=(2, *shape))
    return np.stack([first, rho * first + np.sqrt(1 - rho**2) * second])


def additive(m: int, rng: np.random.Generator, share: float, models: float, pairs: float):  # noqa: ANN201
    """Returns (2, p) similarities a_i + a_j + e_ij; `share` of the variance is the models'."""
    i, j = np.triu_indices(m, 1)
    a, e = twins((m,), models, rng), twins((len(i),), pairs, rng)
    return np.sqrt(share / 2) * (a[:, i] + a[:, j]) + np.sqrt(1 - share) * e


def geometric(m: int, rng: np.random.Generator) -> np.ndarray:
    """Returns (2, p) negative squared distances of models whose places correlate."""
    i, j = np.triu_indices(m, 1)
    places = twins((m, 5), 0.8, rng)
    return -((places[:, i] - places[:, j]) ** 2).sum(axis=2)


SCENARIOS: dict[str, tuple[Callable, float]] = {
    "models 90 %": (lambda m, rng: additive(m, rng, 0.9, 0.6, 0.3), 0.57),
    "models 50 %": (lambda m, rng: additive(m, rng, 0.5, 0.6, 0.6), 0.6),
    "pairs only": (lambda m, rng: additive(m, rng, 0.0, 0.0, 0.6), 0.6),
    "geometric": (geometric, 0.64),
}


def batches(
    draw: Callable, m: int, rng: np.random.Generator, studies: int = STUDIES
) -> Iterator[Block]:
    """Yields blocks of independent studies of two datasets each."""
    i, j = np.triu_indices(m, 1)
    for _ in range(studies // BATCH):
        values = np.concatenate([draw(m, rng) for _ in range(BATCH)])
        left = np.arange(0, 2 * BATCH, 2)
        yield Block(values, i, j, (m,), left, left + 1)


def coverage() -> None:
    """Prints the share of intervals over models that hold the truth, MANY studies each."""
    rng = np.random.default_rng(0)
    print("| similarities | method | " + " | ".join(f"{m} models" for m in SIZES) + " |")
    print("| --- " * (len(SIZES) + 2) + "|")
    for name, (draw, truth) in SCENARIOS.items():
        for method in ("pearson", "spearman"):
            if method == "spearman" and draw is geometric:
                continue  # no closed form of its truth
            shares = [_covered(draw, m, RANK_TRUTH[method](truth), method, rng) for m in SIZES]
            print(f"| {name} | {method} | " + " | ".join(shares) + " |", flush=True)


def _covered(draw: Callable, m: int, truth: float, method: str, rng: np.random.Generator) -> str:
    hits = 0
    for block in batches(draw, m, rng, MANY):
        found = estimate(block, method, resample_counts((m,), REPLICATES, rng))
        low, high = np.tanh(interval(found.z, found.drawn, found.variance, found.freedom))
        hits += int(((low <= truth) & (truth <= high)).sum())
    return f"{100 * hits / MANY:.1f}"


# With stimuli: s(i, j) = a_i + a_j + e_ij + mean over stimuli of h_t (b_i + b_j) + noise. The trait
# b is common to both datasets, so a sample of stimuli moves the consistency of all models alike.
STIMULI, SPLITS = 60, 10
TRAIT, TRAIT_SD = 0.5, 1.5
MODEL_NOISE, PAIR_NOISE = 1.5, 2.0
SHARE, MODELS, PAIRS = 0.6, 0.6, 0.5


def with_stimuli(m: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns (2, p) similarities and (s, 2, 2, p) similarities on halves of the stimuli."""
    i, j = np.triu_indices(m, 1)
    base, b = additive(m, rng, SHARE, MODELS, PAIRS), rng.normal(size=m)
    whole, halves = [], np.empty((SPLITS, 2, 2, len(i)))
    for dataset in range(2):
        h = rng.normal(TRAIT, TRAIT_SD, size=STIMULI)
        own = rng.normal(scale=MODEL_NOISE, size=(STIMULI, m))
        each = h[:, None] * (b[i] + b[j]) + own[:, i] + own[:, j]
        each += rng.normal(scale=PAIR_NOISE, size=each.shape)
        whole.append(base[dataset] + each.mean(axis=0))
        for split in range(SPLITS):
            order = rng.permutation(STIMULI).reshape(2, -1)
            halves[split, :, dataset] = base[dataset] + each[order].mean(axis=1)
    return np.stack(whole), halves


def truth_with_stimuli() -> float:
    """Returns the consistency of infinitely many models, averaged over samples of stimuli."""
    rng = np.random.default_rng(1)
    h = rng.normal(TRAIT, TRAIT_SD / np.sqrt(STIMULI), size=(2, 1_000_000))
    covariance = SHARE * MODELS + (1 - SHARE) * PAIRS + 2 * h[0] * h[1]
    variance = 1 + 2 * h**2 + (2 * MODEL_NOISE**2 + PAIR_NOISE**2) / STIMULI
    return float(np.tanh(np.arctanh(covariance / np.sqrt(variance.prod(axis=0))).mean()))


def joint(studies: int = STUDIES, sizes: tuple[int, ...] = SIZES) -> dict[int, np.ndarray]:
    """Prints the share of intervals over models alone, and over both, that hold the truth."""
    rng, truth, shares = np.random.default_rng(2), truth_with_stimuli(), {}
    print("| models | over models | over models and stimuli | sum without the common part |")
    print("| --- " * 4 + "|")
    for m in sizes:
        hits = np.zeros(3)
        i, j = np.triu_indices(m, 1)
        for _ in range(studies):
            values, halves = with_stimuli(m, rng)
            block = Block(values, i, j, (m,), np.array([0]), np.array([1]))
            found = estimate(block, "pearson", resample_counts((m,), REPLICATES, rng))
            part = stimulus_part(block, halves, "pearson")
            spread = found.variance, found.freedom
            both = joint_variance(*spread, part.variance, part.shared, part.splits)
            double = joint_variance(*spread, part.variance, 0.0, part.splits)
            for place, one in enumerate((spread, both, double)):
                low, high = np.tanh(interval(found.z, found.drawn, *one))
                hits[place] += float(low[0] <= truth <= high[0])
        shares[m] = hits / studies
        print(f"| {m} | " + " | ".join(f"{100 * s:.1f}" for s in shares[m]) + " |", flush=True)
    return shares


def null() -> None:
    """Prints whether p-values are uniform where both datasets order their models independently."""
    rng = np.random.default_rng(3)
    print("| models | method | p of Kolmogorov and Smirnov | share below 0.05 |")
    print("| --- " * 4 + "|")
    for m in SIZES[:3]:
        for method in ("pearson", "spearman"):
            found = []
            for block in batches(lambda m, rng: additive(m, rng, 0.7, 0.0, 0.0), m, rng):
                labels = relabellings((m,), 199, rng)
                found.append(mantel(block, method, labels))
            p = np.concatenate(found)
            uniform = stats.kstest(p - rng.uniform(0, 1 / 200, len(p)), "uniform").pvalue
            print(f"| {m} | {method} | {uniform:.2f} | {np.mean(p <= 0.05):.3f} |", flush=True)


def table_of(values: np.ndarray, dataset: str, metric: str = "cka") -> pd.DataFrame:
    """Returns the similarity table of all pairs of models, and of models with themselves."""
    m = int((1 + np.sqrt(1 + 8 * len(values))) / 2)
    i, j = np.triu_indices(m, 1)
    names = np.array([f"m{k:02d}" for k in range(m)])
    columns = {"model_x": names[i], "model_y": names[j], "value": values}
    return pd.DataFrame(columns).assign(dataset=dataset, metric=metric, layer_x="l", layer_y="l")


def groups_of_studies(
    consistencies: tuple[float, float], m: int, datasets: int, rng: np.random.Generator
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Returns a study with two groups of m / 2 models whose consistencies differ."""
    i, j = np.triu_indices(m, 1)
    half, values = m // 2, np.empty((datasets, len(i)))
    side = np.where((i < half) & (j < half), 0, 1)
    rho = np.array(consistencies)[side]
    common = additive(m, rng, 0.5, 0.0, 0.0)[0]
    for row in values:
        row[:] = np.sqrt(rho) * common + np.sqrt(1 - rho) * additive(m, rng, 0.5, 0.0, 0.0)[0]
    tables = {f"d{k}": table_of(row, f"d{k}") for k, row in enumerate(values)}
    kinds = ["a"] * half + ["b"] * (m - half)
    return tables, pd.DataFrame({"kind": kinds}, index=[f"m{k:02d}" for k in range(m)])


def power(studies: int = 200) -> None:
    """Prints how often a difference of groups is found, with and without one."""
    print("| models | consistency of the groups | one pair | any of 6 pairs, simultaneous | mean |")
    print("| --- " * 5 + "|")
    rng = np.random.default_rng(4)
    for m, pair in [(16, (0.6, 0.6)), (16, (0.9, 0.4)), (32, (0.6, 0.6)), (32, (0.9, 0.6))]:
        hits = np.zeros(3)
        for number in range(studies):
            tables, models = groups_of_studies(pair, m, 4, rng)
            found = consistency_tables(
                tables, models, groups=["kind"], methods=["pearson"], bootstrap=REPLICATES,
                permutations=0, seed=number,
            ).differences  # fmt: skip
            mean = found["dataset_x"] == "*"
            each = (found["low"] > 0) | (found["high"] < 0)
            together = (found["low_simultaneous"] > 0) | (found["high_simultaneous"] < 0)
            hits += [each[~mean].iloc[0], together[~mean].any(), each[mean].iloc[0]]
        text = " | ".join(f"{100 * share:.1f}" for share in hits / studies)
        print(f"| {m} | {pair[0]} and {pair[1]} | {text} |", flush=True)


def speed(m: int = 64, datasets: int = 24, metrics: int = 4) -> None:
    """Prints time and memory of a whole study on one core."""
    rng = np.random.default_rng(5)
    models = pd.DataFrame(
        {f"g{k}": rng.choice(list("abcd")[:k], m) for k in (2, 3, 4)},
        index=[f"m{k:02d}" for k in range(m)],
    )
    wall, cpu = time.perf_counter(), time.process_time()
    for metric in range(metrics):
        values = [additive(m, rng, 0.5, 0.6, 0.5)[0] for _ in range(datasets)]
        tables = {f"d{k}": table_of(v, f"d{k}", f"k{metric}") for k, v in enumerate(values)}
        found = consistency_tables(tables, models, groups=list(models))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{m} models x {datasets} datasets x {metrics} metrics, groups of {len(models.columns)} "
        f"columns, Pearson and Spearman, 1,000 joint resamples and 1,000 relabellings: {cpu:.0f} s "
        f"of one core ({wall:.0f} s on the clock), peak memory {memory:.1f} GB, "
        f"{len(found.table)} rows per metric"
    )


PARTS = {"speed": speed, "coverage": coverage, "joint": joint, "null": null, "power": power}

if __name__ == "__main__":
    if sys.argv[1:2] == ["families"]:
        import consistency_families

        with threadpool_limits(1):
            sys.exit(consistency_families.run(sys.argv[2:]))
    for part in sys.argv[1:] or PARTS:
        print(f"\n## {part}\n")
        with threadpool_limits(1):
            PARTS[part]()
