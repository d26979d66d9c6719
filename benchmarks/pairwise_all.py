"""Every metric, per model, pair and table of 64 models: `python benchmarks/pairwise.py --all`.

Two models of 768 and 1,024 units over `--samples` samples (as of `features`; logits of 100 classes)
are prepared and compared, CPU seconds (user and system), one thread, median of `--repeats`. A table
of 64 models, half of either width, is 64 preparations and 2,016 pairs, or 4,032 where the order of
sides counts (both orders at once, as tables do it, where the metric can): it is computed from those
of this one pair, whose shapes are those of all, and holds where all forms fit into the memory.
Metrics of the tiled pass are measured as that pass, from a table of 16 models: what a model and a
pair cost in it follows from tables of 4 and 16.

The floor is the multiply-adds that cannot be avoided, at the rate of this machine's float32 matrix
product in the same run: of metrics of units or directions the cross product, 2 n d d' per pair; of
metrics of pairs of samples one triangle of the Gram matrix, n² d per model, and one product of
triangles, n² per pair; of neighbours n² d per model. Metrics of logits and of single samples have
none: they read each entry once.

`--json FILE` keeps the seconds; `--before FILE` sets them beside those of another build, which
runs the same command with its package first in PYTHONPATH, as a rule at the same time.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pairwise import files
from threadpoolctl import threadpool_limits

from consilience.metrics import InnerProductMetric, Metric, get_metric, list_metrics
from consilience.similarity import Engine, Task, pairwise

REPORT = Path(__file__).with_name("pairwise_all.md")
WIDTHS = (768, 1024)
CLASSES = 100
MODELS = 64
SLOW = 5.0
"""Seconds of a pair from which on it is measured once."""
VARIANTS = {
    "rsm_norm_difference_spectral": ("rsm_norm_difference", {"norm": "spectral"}),
    "shape_whitened": ("shape", {"alpha": 0.0}),
    "rsa_pearson": ("rsa", {"compare": "pearson"}),
}
ROTATED = {
    "aligned_cosine", "bures", "cca", "eigenspace_overlap", "gulp", "hard_correlation_match",
    "linear_regression", "nbs", "permutation_procrustes", "pls_svd", "procrustes", "pwcca",
    "riemannian", "shape", "soft_correlation_match", "soft_matching", "svcca",
}  # fmt: skip
"""Metrics of units or directions."""
NEIGHBORS = {
    "cknna", "cycle_knn", "edit_knn", "jaccard_knn", "lcs_knn", "mutual_knn", "rank_knn",
    "second_order_cosine",
}  # fmt: skip
SAMPLES = {"cka", "distance_correlation", "hsic", "rsa", "rsm_norm_difference", "rv"}
"""Metrics of pairs of samples."""


def inputs_of(metric: Metric) -> tuple[str, ...]:
    """What `prepare` takes; builds before 0.9 name it in another way."""
    facts = metric.facts
    if hasattr(facts, "inputs"):
        return facts.inputs
    return (facts.input, "labels") if facts.needs_labels else (facts.input,)


def metrics() -> dict[str, Metric]:
    """All metrics of features or logits with their defaults, and some variants."""
    found = {name: get_metric(name) for name in list_metrics()}
    found |= {name: get_metric(of, **given) for name, (of, given) in VARIANTS.items()}
    return {
        name: metric
        for name, metric in sorted(found.items())
        if set(inputs_of(metric)) <= {"features", "logits", "labels"}
    }


def sides(n: int, count: int = 2) -> list[np.ndarray]:
    """Float32 rows of unit norm that share 32 dimensions."""
    rng = np.random.default_rng(0)
    shared, made = rng.standard_normal((n, 32), dtype=np.float32), []
    for m in range(count):
        d = WIDTHS[m % 2]
        x = shared @ rng.standard_normal((32, d), dtype=np.float32)
        x += 2 * rng.standard_normal((n, d), dtype=np.float32)
        made.append(x / np.linalg.norm(x, axis=1, keepdims=True))
    return made


def spent(work: Callable, *given: object) -> tuple[float, object]:
    began = time.process_time()
    result = work(*given)
    return time.process_time() - began, result


def floor(metric: Metric, n: int) -> tuple[float, float]:
    """Operations per model and per pair that cannot be avoided."""
    name, width = metric.facts.name, statistics.mean(WIDTHS)
    if name in ROTATED:
        return 0.0, 2.0 * n * WIDTHS[0] * WIDTHS[1]
    if name in NEIGHBORS:
        return n * n * width, 0.0
    return (n * n * width, float(n * n)) if name in SAMPLES else (0.0, 0.0)


def by_pair(metric: Metric, n: int, repeats: int) -> tuple[float, float]:
    """CPU seconds per model and per pair."""
    x = sides(n)
    rng = np.random.default_rng(1)
    inputs = {
        "features": [a.astype(float) for a in x],
        "logits": [4.0 * rng.standard_normal((n, CLASSES)) for _ in x],
        "labels": [rng.integers(0, CLASSES, n)] * 2,
    }
    given = list(zip(*(inputs[name] for name in inputs_of(metric)), strict=True))
    small = [tuple(a[:600] for a in side) for side in given]
    metric.compare(*(metric.prepare(*side) for side in small))  # what is loaded on first use
    prepared = [spent(metric.prepare, *side) for side in given]
    forms = [form for _, form in prepared]
    work, orders = metric.compare, 1
    if getattr(metric, "shares_orders", False):  # builds before 0.9 have no such thing
        work, orders = metric.compare_both, 2
    times = [spent(work, *forms)[0] / orders]
    while len(times) < repeats and times[0] < SLOW:
        times.append(spent(work, *forms)[0] / orders)
    return statistics.mean(s for s, _ in prepared), statistics.median(times)


def tiled(metric: Metric, n: int, repeats: int) -> tuple[float, float]:
    """CPU seconds per model and per pair of the tiled pass."""
    times = {}
    for count in (4, 16):
        with tempfile.TemporaryDirectory() as folder:
            paths = files(folder, {f"m{i}": x for i, x in enumerate(sides(n, count))})
            engine = Engine(threads=1, max_memory=2**31)
            runs = [spent(lambda: pairwise(metric, paths, engine=engine))[0]  # noqa: B023
                    for _ in range(repeats)]  # fmt: skip
            times[count] = statistics.median(runs)
    pair = max(0.0, (times[16] - 4 * times[4]) / (136 - 4 * 10))  # pairs, own ones too
    return (times[16] - 136 * pair) / 16, pair


def rate() -> float:
    """Multiply-adds per CPU second (counted as two) of a float32 product."""
    a = np.random.default_rng(0).standard_normal((3000, 3000), dtype=np.float32)
    return 2 * 3000**3 / statistics.median(spent(lambda: a @ a)[0] for _ in range(3))


def measured(options: argparse.Namespace) -> dict[str, list[float]]:
    """For each metric CPU seconds per model and per pair, and the rate at that time."""
    found = {}
    names = sorted(metrics().items(), key=lambda item: item[1].facts.name not in ROTATED)
    with threadpool_limits(1):
        for name, metric in names:
            if options.only_metrics and name not in options.only_metrics:
                continue
            way = tiled if Task(metric).is_tiled(options.samples) else by_pair
            try:
                found[name] = [*way(metric, options.samples, options.repeats), rate()]
            except Exception as error:  # such as a package that is not installed
                print(f"{name}: {type(error).__name__}: {error}", flush=True)
                continue
            print(name, *(f"{s:.3g}" for s in found[name]), flush=True)
            if options.json:
                options.json.write_text(json.dumps(found))
    return found


def every_metric(options: argparse.Namespace) -> list[str]:
    """The page: one row per metric."""
    before = json.loads(options.before.read_text()) if options.before else {}
    now = json.loads(options.seconds.read_text()) if options.seconds else measured(options)
    rates = [one[2] for one in now.values()]
    middle = statistics.median(rates)
    known = metrics()
    lines = [row(name, known[name], options.samples, now[name], middle, before)
             for name in sorted(now)]  # fmt: skip
    head = [
        f"\n{options.samples:,} samples, widths {WIDTHS}; float32 products {middle / 1e9:.0f} "
        f"GFLOP/s (median; {min(rates) / 1e9:.0f} to {max(rates) / 1e9:.0f} in the run); medians "
        f"of {options.repeats}.\n",
        "| metric | model s | pair s | floor: model s | pair s | 64 models s | × floor "
        "| before: model s | pair s | 64 models: now / before |",
        "| --- " * 10 + "|",
    ]
    return [*head, *lines]


def whole(metric: Metric, model: float, pair: float) -> float:
    """What a table of 64 models takes of these seconds."""
    pairs = MODELS * (MODELS - 1) // (2 if metric.facts.symmetric else 1)
    return MODELS * model + pairs * pair


def row(name: str, metric: Metric, n: int, now: list[float], speed: float, before: dict) -> str:
    now = now[:2]
    least = [operations / speed for operations in floor(metric, n)]
    table, bottom = whole(metric, *now), whole(metric, *least)
    cells = [name + (" (tiled)" if isinstance(metric, InnerProductMetric)
                     and Task(metric).is_tiled(n) else "")]  # fmt: skip
    cells += [f"{s:.3g}" for s in now]
    cells += [f"{s:.3g}" if s else "–" for s in least]
    cells += [f"{table:.3g}", f"{table / bottom:.1f}" if bottom else "–"]
    if name in before:
        cells += [f"{s:.3g}" for s in before[name][:2]]
        cells += [f"{table / whole(metric, *before[name][:2]):.2f}"]
    else:
        cells += ["–"] * 3
    return f"| {' | '.join(cells)} |"
