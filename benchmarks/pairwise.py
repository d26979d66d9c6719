"""Time of all-pairs tables: `python benchmarks/pairwise.py [--models 8] [--samples 5000]`.

Each metric's table is set against two figures of the same run: the floor (the multiply-adds that
cannot be avoided, at the rate of this machine's own float32 matrix product) and a plain loop that
does for every pair what published peers do for every pair (six Gram matrices for CKA, both RDMs and
their ranks for RSA, a full sort of every row for neighbours). The loop is timed on one pair and
counted for all. Medians of `--repeats`; wall seconds; peak memory beyond the features.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from consilience.metrics import get_metric
from consilience.similarity import Engine, pairwise

WIDTHS = [384, 512, 768, 1024, 2048, 384, 768, 1024]
REPORT = Path(__file__).with_name("pairwise.md")


def features(models: int, n: int) -> dict[str, np.ndarray]:
    """Float32 rows of unit norm that share 32 dimensions."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((n, 32), dtype=np.float32)
    made = {}
    for m in range(models):
        d = WIDTHS[m % len(WIDTHS)]
        x = shared @ rng.standard_normal((32, d), dtype=np.float32)
        x += 2 * rng.standard_normal((n, d), dtype=np.float32)
        made[f"m{m:03}"] = x / np.linalg.norm(x, axis=1, keepdims=True)
    return made


def gemm_rate() -> float:
    """Multiply-adds per second (counted as two) of a float32 matrix product on all cores."""
    a = np.random.default_rng(0).standard_normal((3000, 3000), dtype=np.float32)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2 * 3000**3 / statistics.median(times)


def hsic(x: np.ndarray, y: np.ndarray, kernel: Callable[[np.ndarray], np.ndarray]) -> float:
    sides = []
    for a in (x, y):
        k = kernel(a)
        n = len(k)
        np.fill_diagonal(k, 0)
        rows = k.sum(axis=1) / (n - 2)
        rows -= rows.sum() / (2 * (n - 1))
        k -= rows[:, None]
        k -= rows
        np.fill_diagonal(k, 0)
        sides.append(k)
    return float((sides[0] * sides[1]).sum())


def cka_loop(kernel: Callable[[np.ndarray], np.ndarray]) -> Callable:
    def pair(x: np.ndarray, y: np.ndarray) -> float:
        return hsic(x, y, kernel) / np.sqrt(hsic(x, x, kernel) * hsic(y, y, kernel))

    return pair


def linear(a: np.ndarray) -> np.ndarray:
    return a @ a.T


def rbf(a: np.ndarray) -> np.ndarray:
    gram = a @ a.T
    norms = np.diag(gram)
    return np.exp(-(norms[:, None] + norms - 2 * gram) / (2 * 0.4**2))


def rsa_loop(ranks: bool) -> Callable:
    def pair(x: np.ndarray, y: np.ndarray) -> float:
        sides = []
        for a in (x, y):
            rdm = 1 - np.corrcoef(a)
            triangle = rdm[np.triu_indices(len(a), 1)]
            sides.append(rankdata(triangle) if ranks else triangle)
        return float(np.corrcoef(*sides)[0, 1])

    return pair


def neighbors(a: np.ndarray, k: int) -> np.ndarray:
    gram = a @ a.T
    np.fill_diagonal(gram, -np.inf)
    return np.argsort(-gram, axis=1)[:, :k]


def mutual_loop(x: np.ndarray, y: np.ndarray) -> float:
    lists = neighbors(x, 10), neighbors(y, 10)
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*lists, strict=True)]))


CASES: dict[str, tuple] = {
    "linear CKA": (get_metric("cka"), cka_loop(linear), 2),
    "RBF CKA (0.4)": (get_metric("cka", kernel="rbf", sigma=0.4), cka_loop(rbf), 2),
    "RSA Pearson": (get_metric("rsa", compare="pearson"), rsa_loop(False), 2),
    "RSA Spearman": (get_metric("rsa"), rsa_loop(True), 2),
    "mutual kNN (10)": (get_metric("mutual_knn"), mutual_loop, 1),
    "CKNNA (10)": (get_metric("cknna", k=10), None, 1),
    "LCS (10)": (get_metric("lcs_knn"), None, 1),
    "edit (10)": (get_metric("edit_knn"), None, 1),
}


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=int, default=2000, help="max_memory in MB")
    parser.add_argument("--only", nargs="*", default=list(CASES))
    parser.add_argument("--write", action="store_true", help=f"add the table to {REPORT.name}")
    options = parser.parse_args()
    x = features(options.models, options.samples)
    rate, n, count = gemm_rate(), options.samples, options.models
    width = sum(a.shape[1] for a in x.values())
    pairs = count * (count + 1) // 2
    engine = Engine(threads=options.threads, max_memory=options.memory * 2**20)
    lines = [
        f"\n{count} models, {n} samples, {width} units in all, {options.threads} threads; float32 "
        f"matrix product {rate / 1e9:.0f} GFLOP/s; medians of {options.repeats}.\n",
        "| metric | table s | with null s | floor s | × floor | loop s | loop / table | peak MB |",
        "| --- " * 8 + "|",
    ]
    print("\n".join(lines), flush=True)
    for name in options.only:
        metric, loop, kernels = CASES[name]
        floor = (n * n * width + (count**2 * n * n if kernels == 2 else 0)) / rate
        before = peak()
        seconds, calibrated = [], []
        for _ in range(options.repeats):
            for null, times in ((None, seconds), ("closed_form", calibrated)):
                if null and not metric.has_closed_form:
                    continue
                start = time.perf_counter()
                pairwise(metric, x, null=null, engine=engine)
                times.append(time.perf_counter() - start)
        grown = peak() - before
        table = statistics.median(seconds)
        with_null = f"{statistics.median(calibrated):.2f}" if calibrated else "–"
        row = f"| {name} | {table:.2f} | {with_null} | {floor:.2f} | {table / floor:.1f} |"
        if loop is None:
            row += " – | – |"
        else:
            first, second = list(x.values())[:2]
            with threadpool_limits(options.threads):
                start = time.perf_counter()
                loop(first, second)
                whole = (time.perf_counter() - start) * pairs
            row += f" {whole:.0f} | {whole / table:.0f} |"
        lines.append(f"{row} {grown:.0f} |")
        print(lines[-1], flush=True)
    if options.write:
        with REPORT.open("a", encoding="utf8") as report:
            report.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
