"""Time of all-pairs tables: `python benchmarks/pairwise.py [--models 8] [--samples 5000]`.

Each metric's table is set against two figures of the same run: the floor (the multiply-adds that
cannot be avoided, at the median rate of this machine's own float32 matrix product, taken before,
between and after the repeats) and a plain loop that
does for every pair what published peers do for every pair (six Gram matrices, each tried for
symmetry, for CKA; both RDMs and their ranks for RSA; a full sort of every row for neighbours, a
matrix product for CKNNA's trace, interpreted loops for LCS and edit distance). The loop is timed on
one pair and counted for all. `one more` is the time that the last model takes once the table of all
others is there. Medians of `--repeats`; wall seconds; peak memory, which counts the features as far
as they are held (they lie in files, as in a study).

Peers that are installed (`pip install pytorch-cka rsatoolbox`) are run on the same features, whole
tables where they make them. `--growth` fits time against the number of models and of samples.
"""

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from consilience.features import write_features
from consilience.metrics import Metric, get_metric
from consilience.similarity import Engine, Task, pairwise, pairwise_many

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


def files(folder: str, x: Mapping[str, np.ndarray]) -> dict[str, Path]:
    """Features files, as a study has them: with hashes, and layers that are read on demand."""
    ids = [str(i) for i in range(len(next(iter(x.values()))))]
    paths = {name: Path(folder, f"{name}.safetensors") for name in x}
    for name, path in paths.items():
        header = {"model": {"model": name}, "dataset": "made_up", "samples_hash": "s"}
        write_features(path, {"last": x[name]}, header, ids)
    return paths


def gemm_rate() -> float:
    """Multiply-adds per second (counted as two) of a float32 matrix product on all cores."""
    a = np.random.default_rng(0).standard_normal((3000, 3000), dtype=np.float32)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2 * 3000**3 / statistics.median(times)


def hsic(x: np.ndarray, y: np.ndarray, kernel: Callable[[np.ndarray], np.ndarray]) -> float:
    sides = []
    for a in (x, y):
        k = kernel(a)
        if not np.allclose(k, k.T, rtol=1e-3, atol=1e-3):
            raise ValueError("not symmetric")
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


def cknna_loop(x: np.ndarray, y: np.ndarray) -> float:
    sides = []
    for a in (x, y):
        gram = a @ a.T
        mask = np.zeros_like(gram)
        np.put_along_axis(mask, neighbors(a, 10), 1, axis=1)
        sides.append((gram, mask))

    def local(k: np.ndarray, m: np.ndarray) -> float:
        n, both = len(k), sides[0][1] * sides[1][1]
        k, m = k * both, m * both
        trace = np.trace(k @ m.T)
        return trace + k.sum() * m.sum() / (n - 1) / (n - 2) - 2 * (k @ m).sum() / (n - 2)

    (k, _), (m, _) = sides
    return local(k, m) / np.sqrt(abs(local(k, k) * local(m, m)))


def lists_loop(step: Callable[[list, list], float]) -> Callable:
    def pair(x: np.ndarray, y: np.ndarray) -> float:
        lists = [neighbors(a, 10).tolist() for a in (x, y)]
        return float(np.mean([step(a, b) for a, b in zip(*lists, strict=True)]))

    return pair


def lcs(a: list, b: list) -> int:
    row = [0] * (len(b) + 1)
    for p in a:
        before = row[:]
        for j, q in enumerate(b):
            row[j + 1] = before[j] + 1 if p == q else max(before[j + 1], row[j])
    return row[-1]


def edit(a: list, b: list) -> int:
    row = list(range(len(b) + 1))
    for i, p in enumerate(a):
        before, row = row, [i + 1]
        for j, q in enumerate(b):
            row.append(min(before[j + 1] + 1, row[j] + 1, before[j] + (p != q)))
    return row[-1]


CASES: dict[str, tuple] = {
    "linear CKA": (get_metric("cka"), cka_loop(linear), 2),
    "RBF CKA (0.4)": (get_metric("cka", kernel="rbf", sigma=0.4), cka_loop(rbf), 2),
    "RSA Pearson": (get_metric("rsa", compare="pearson"), rsa_loop(False), 2),
    "RSA Spearman": (get_metric("rsa"), rsa_loop(True), 2),
    "mutual kNN (10)": (get_metric("mutual_knn"), mutual_loop, 1),
    "CKNNA (10)": (get_metric("cknna", k=10), cknna_loop, 1),
    "LCS (10)": (get_metric("lcs_knn"), lists_loop(lcs), 1),
    "edit (10)": (get_metric("edit_knn"), lists_loop(edit), 1),
}


TOGETHER: dict[str, tuple[dict[str, Metric], Callable, int]] = {
    "RBF CKA, four widths": (
        {f"rbf {w}": get_metric("cka", kernel="rbf", sigma=w) for w in (0.2, 0.4, 0.6, 0.8)},
        cka_loop(rbf),
        4,
    ),
    "LCS and edit": (
        {"lcs": get_metric("lcs_knn"), "edit": get_metric("edit_knn")},
        lambda x, y: (lists_loop(lcs)(x, y), lists_loop(edit)(x, y)),
        1,
    ),
}
"""Metrics that share what is made of each model; the loop, and how often a pair takes it."""


def torch_cka(x: dict[str, np.ndarray]) -> None:
    import torch  # noqa: PLC0415 - not every run needs it
    from cka import cka_from_features  # noqa: PLC0415 - a peer

    sides = [torch.from_numpy(a) for a in x.values()]
    cka_from_features(sides, sides)


def rsatoolbox_table(method: str) -> Callable:
    def run(x: dict[str, np.ndarray]) -> None:
        from rsatoolbox.data import Dataset  # noqa: PLC0415 - a peer
        from rsatoolbox.rdm import calc_rdm, compare  # noqa: PLC0415

        rdms = [calc_rdm(Dataset(a), method="correlation") for a in x.values()]
        for i, one in enumerate(rdms):
            for other in rdms[i:]:
                compare(one, other, method=method)

    return run


PEERS = {
    "linear CKA": ("pytorch-cka", torch_cka),
    "RSA Pearson": ("rsatoolbox", rsatoolbox_table("corr")),
    "RSA Spearman": ("rsatoolbox", rsatoolbox_table("spearman")),
}


def peers(options: argparse.Namespace) -> list[str]:
    """Whole tables of peers and ours on the same features."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(options.threads)
    x = features(options.models, options.samples)
    lines = [
        f"\n{options.models} models, {options.samples} samples: peers as they are installed.\n",
        "| metric | peer | peer's table s | ours s | peer / ours |",
        "| --- " * 5 + "|",
    ]
    for name, (peer, run) in PEERS.items():
        try:
            theirs = timed(run, x)
        except ImportError:
            continue
        engine = Engine(threads=options.threads, max_memory=options.memory * 2**20)
        ours = timed(pairwise, CASES[name][0], x, engine=engine)
        lines.append(f"| {name} | {peer} | {theirs:.1f} | {ours:.2f} | {theirs / ours:.0f} |")
        print(lines[-1], flush=True)
    return lines


def growth(options: argparse.Namespace) -> list[str]:
    """Exponents of time against models (at 2,500 samples) and samples (of 4 models)."""
    lines = [
        "\nTime ~ Mᵃ over 8 to 64 models of 2,500 samples, and ~ nᵇ over 2,500 to 20,000 samples "
        f"of 4 models; {options.threads} threads.\n",
        "| metric | seconds at M = 8, 16, 32, 64 | a | seconds at n = 2,500, 5,000, 10,000, 20,000 "
        "| b | peak MB at n = 20,000 |",
        "| --- " * 6 + "|",
    ]
    print("\n".join(lines), flush=True)
    for name in options.only:
        engine = Engine(threads=options.threads, max_memory=options.memory * 2**20)
        cells, before = [], 0.0
        for axis in ([(m, 2500) for m in MODELS], [(4, n) for n in SAMPLES]):
            times = []
            for m, n in axis:
                with tempfile.TemporaryDirectory() as folder:
                    x = files(folder, features(m, n))
                    before = forget_peak()
                    times.append(timed(pairwise, CASES[name][0], x, engine=engine))
            sizes = [m if axis[0][1] == axis[1][1] else n for m, n in axis]
            slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
            cells += [", ".join(f"{t:.2f}" for t in times), f"{slope:.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {memory('VmHWM') - before:.0f} |")
        print(lines[-1], flush=True)
    return lines


MODELS, SAMPLES = (8, 16, 32, 64), (2500, 5000, 10_000, 20_000)


def timed(work: Callable[..., object], *given: object, **options: object) -> float:
    start = time.perf_counter()
    work(*given, **options)
    return time.perf_counter() - start


def one_more(metric: Metric, x: Mapping[str, Path], engine: Engine) -> float:
    """Seconds for the last model once all others are compared."""
    task = Task(metric)
    some = dict(list(x.items())[:-1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pairs.parquet")
        pairwise(metric, some, engine=engine, store=task.open_store(path))
        return timed(pairwise, metric, x, engine=engine, store=task.open_store(path))


def memory(what: str) -> float:
    """Resident MB: now (`VmRSS`), or the most since `forget_peak` (`VmHWM`)."""
    text = Path("/proc/self/status").read_text(encoding="utf8")
    return int(re.search(rf"{what}:\s+(\d+)", text)[1]) / 1024


def forget_peak() -> float:
    """Starts the count of the most resident memory anew; returns what is resident now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf8")
    return memory("VmRSS")


def tables(options: argparse.Namespace) -> list[str]:
    """Tables of all cases."""
    with tempfile.TemporaryDirectory() as folder:
        x = features(options.models, options.samples)
        paths, pair = files(folder, x), list(x.values())[:2]
        width = sum(a.shape[1] for a in x.values())
        del x
        return _tables(options, paths, pair, width)


def _tables(
    options: argparse.Namespace, x: Mapping[str, Path], pair: list[np.ndarray], width: int
) -> list[str]:
    n, count = options.samples, options.models
    pairs = count * (count + 1) // 2
    engine = Engine(threads=options.threads, max_memory=options.memory * 2**20)
    lines = [
        f"\n{count} models, {n} samples, {width} units in all, {options.threads} threads, "
        f"`max_memory` {options.memory} MB; medians of {options.repeats}.\n",
        "| metric | table s | with null s | GFLOP/s | floor s | × floor | loop s | loop / table "
        "| one more s | peak MB |",
        "| --- " * 10 + "|",
    ]
    print("\n".join(lines), flush=True)
    for name in options.only:
        metric, loop, kernels = CASES[name]
        operations = n * n * width + (count**2 * n * n if kernels == 2 else 0)
        before = forget_peak()
        seconds, calibrated, rates = [], [], [gemm_rate()]
        for _ in range(options.repeats):
            seconds.append(timed(pairwise, metric, x, engine=engine))
            if metric.has_closed_form:
                calibrated.append(timed(pairwise, metric, x, null="closed_form", engine=engine))
            rates.append(gemm_rate())
        grown = memory("VmHWM") - before
        table, rate = statistics.median(seconds), statistics.median(rates)
        floor = operations / rate
        with_null = f"{statistics.median(calibrated):.2f}" if calibrated else "–"
        with threadpool_limits(options.threads):
            whole = timed(loop, *pair) * pairs
        more = one_more(metric, x, engine)
        lines.append(
            f"| {name} | {table:.2f} | {with_null} | {rate / 1e9:.0f} | {floor:.2f} "
            f"| {table / floor:.1f} | {whole:.0f} | {whole / table:.0f} | {more:.2f} "
            f"| {grown:.0f} |"
        )
        print(lines[-1], flush=True)
    return lines


def together(options: argparse.Namespace) -> list[str]:
    """Tables of several metrics at once (`pairwise_many`)."""
    n, count = options.samples, options.models
    pairs = count * (count + 1) // 2
    engine = Engine(threads=options.threads, max_memory=options.memory * 2**20)
    lines = [
        f"\n{count} models, {n} samples: metrics that share products or lists.\n",
        "| metrics | tables s | CPU s | GFLOP/s | × floor | loop s | loop / tables | by CPU |",
        "| --- " * 8 + "|",
    ]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        x = features(count, n)
        paths, pair = files(folder, x), list(x.values())[:2]
        width = sum(a.shape[1] for a in x.values())
        del x
        chosen = [name for name in TOGETHER if name in options.only] or list(TOGETHER)
        for name, (metrics, loop, times) in ((name, TOGETHER[name]) for name in chosen):
            rates = [gemm_rate()]
            seconds, spent = [], []
            for _ in range(options.repeats):
                began = time.process_time()
                seconds.append(timed(pairwise_many, metrics, paths, engine=engine))
                spent.append(time.process_time() - began)
                rates.append(gemm_rate())
            kernels = times if times > 1 else 0
            table, rate = statistics.median(seconds), statistics.median(rates)
            floor = (n * n * width + kernels * count**2 * n * n) / rate
            began, used = time.process_time(), statistics.median(spent)
            with threadpool_limits(options.threads):
                whole = timed(loop, *pair) * pairs * times
            cpu = (time.process_time() - began) * pairs * times
            lines.append(
                f"| {name} | {table:.2f} | {used:.2f} | {rate / 1e9:.0f} | {table / floor:.1f} "
                f"| {whole:.0f} | {whole / table:.0f} | {cpu / used:.0f} |"
            )
            print(lines[-1], flush=True)
    return lines


def later(options: argparse.Namespace) -> list[str]:
    """CPU seconds of the last model, with a shelf of `--shelf` MB, against those of all others."""
    n, count = options.samples, options.models
    room = {"threads": options.threads, "max_memory": options.memory * 2**20}
    engine = Engine(**room, shelf=options.shelf * 2**20)
    lines = [
        f"\n{count} models, {n} samples, {options.threads} threads, `shelf_mb` {options.shelf}; "
        f"medians of {options.repeats}, CPU seconds.\n",
        "| metric | all but the last s | the last s | table / one more | shelf MB |",
        "| --- " * 5 + "|",
    ]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        paths = files(folder, features(count, n))
        for name in options.only:
            task, runs = Task(CASES[name][0]), []
            for _ in range(options.repeats):
                with tempfile.TemporaryDirectory(dir=folder) as kept:
                    spent = []
                    for some in (dict(list(paths.items())[:-1]), paths):
                        store = task.open_store(Path(kept, "pairs.parquet"))
                        began = time.process_time()
                        pairwise(CASES[name][0], some, engine=engine, store=store)
                        spent.append(time.process_time() - began)
                    held = sum(path.stat().st_size for path in Path(kept, "pairs").rglob("*.*"))
                    runs.append((*spent, spent[0] / spent[1] * count / (count - 1), held / 2**20))
            first, last, ratio, held = (
                statistics.median(column) for column in zip(*runs, strict=True)
            )
            lines.append(f"| {name} | {first:.1f} | {last:.2f} | {ratio:.1f} | {held:.0f} |")
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=int, default=2000, help="max_memory in MB")
    parser.add_argument("--only", nargs="*", default=list(CASES))
    parser.add_argument("--peers", action="store_true", help="run the peers that are installed")
    parser.add_argument("--together", action="store_true", help="metrics that share a pass")
    parser.add_argument("--later", action="store_true", help="one more model: CPU seconds")
    parser.add_argument("--shelf", type=int, default=2000, help="with --later: shelf_mb")
    parser.add_argument("--growth", action="store_true", help="fit exponents (takes long)")
    parser.add_argument("--write", action="store_true", help=f"add the table to {REPORT.name}")
    parser.add_argument("--all", action="store_true", help="every metric: see pairwise_all.py")
    parser.add_argument("--only-metrics", nargs="*", help="with --all: these only")
    parser.add_argument("--json", type=Path, help="with --all: keep the seconds")
    parser.add_argument("--seconds", type=Path, help="with --all: take these, measure nothing")
    parser.add_argument("--before", type=Path, help="with --all: seconds of another build")
    options = parser.parse_args()
    if options.all:
        from pairwise_all import REPORT as PAGE  # noqa: PLC0415 - which imports this module
        from pairwise_all import every_metric  # noqa: PLC0415

        lines = every_metric(options)
        if options.write:
            with PAGE.open("a", encoding="utf8") as page:
                page.write("\n".join(lines) + "\n")
        return
    chosen = [make for make in (peers, growth, together, later) if getattr(options, make.__name__)]
    lines = [line for make in chosen or [tables] for line in make(options)]
    if options.write:
        with REPORT.open("a", encoding="utf8") as report:
            report.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
