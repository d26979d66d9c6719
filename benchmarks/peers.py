"""Tables of what a user would pick instead, beside ours: `python benchmarks/peers.py --write`.

Each peer is called as its documentation shows, on the same features, and its values are compared
with ours pair by pair. Peers lie in a folder of their own with the versions of `PINNED`, made by
pip on the first run; nothing of them enters the environment of this project.

Every table is made in a process of its own with one thread, peer and ours in turns. Seconds are
CPU seconds of this process (user and system) from features in memory to values, after a first call
on small features, so that neither imports nor compilers count. Peers make each unordered pair of
two models once; ours makes self pairs and, where there is one, the null as well (`with null`). A
peer that has not finished after `--limit` CPU seconds is stopped: then its time (≈) is that of what
it prepared and of the pairs it made, counted for all pairs. Peak memory is what the process grew by
over what it had with the features loaded.

Two sizes: 8 models of 5,000 samples and 768 or 1,024 units; 64 models of 2,500 samples and 192 or
256 units, which most peers can still do.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

REPORT = Path(__file__).with_name("peers.md")
ROOT = Path(__file__).parents[1]
PINNED = (
    "pytorch-cka==1.1.3", "rsatoolbox==0.3.2", "POT==0.9.7.post1", "hyppo==0.5.2", "dcor==0.7",
    "numba==0.68.1", "llvmlite==0.50.0", "autograd==1.9.1", "statsmodels==0.15.0",
    "patsy==1.0.3", "future==1.0.0", "array-api-compat==1.16.0",
)  # fmt: skip
"""Peers, and what they need beyond this project's environment."""
SIZES = {8: (5000, (768, 1024)), 64: (2500, (192, 256))}
"""Models: samples and widths."""
Arrays = list[np.ndarray]
Made = Iterator[tuple[int, int, float] | None]
"""Values of pairs; None once what is done for each model is done."""


def torch_cka(x: Arrays) -> Made:
    import torch  # noqa: PLC0415 - in a child only, as all peers
    from cka import cka_from_features  # noqa: PLC0415

    torch.set_num_threads(1)
    sides = [torch.from_numpy(a) for a in x]
    table = cka_from_features(sides, sides).numpy()
    yield None
    for i, j in combinations(range(len(x)), 2):
        yield i, j, float(table[i, j])


def rsatoolbox(method: str) -> Callable[[Arrays], Made]:
    def run(x: Arrays) -> Made:
        from rsatoolbox.data import Dataset  # noqa: PLC0415
        from rsatoolbox.rdm import calc_rdm, compare  # noqa: PLC0415

        rdms = [calc_rdm(Dataset(a), method="correlation") for a in x]
        yield None
        for i, j in combinations(range(len(x)), 2):
            yield i, j, float(compare(rdms[i], rdms[j], method=method)[0, 0])

    return run


def scipy_procrustes(x: Arrays) -> Made:
    """The nuclear norm of centred sides of unit norm; the narrower one padded, as SciPy asks."""
    from scipy.linalg import orthogonal_procrustes  # noqa: PLC0415

    width, sides = max(a.shape[1] for a in x), []
    for a in x:
        centred = a.astype(float) - a.mean(axis=0, dtype=float)
        padding = ((0, 0), (0, width - a.shape[1]))
        sides.append(np.pad(centred / np.linalg.norm(centred), padding))
    yield None
    for i, j in combinations(range(len(x)), 2):
        yield i, j, float(orthogonal_procrustes(sides[i], sides[j])[1])


def pot(x: Arrays) -> Made:
    """Soft matching: the root of the transport cost between units, centred and of unit norm."""
    import ot  # noqa: PLC0415

    sides = []
    for a in x:
        centred = a.astype(float) - a.mean(axis=0, dtype=float)
        sides.append(centred / np.linalg.norm(centred, axis=0))
    yield None
    for i, j in combinations(range(len(x)), 2):
        cost = 2 - 2 * sides[i].T @ sides[j]
        weights = [np.full(d, 1 / d) for d in cost.shape]
        yield i, j, float(np.sqrt(ot.emd2(*weights, cost, numItermax=10_000_000)))


def sklearn_cca(x: Arrays, components: int = 10, **options: Any) -> Made:  # noqa: ANN401
    """The mean correlation of the first canonical variates, `components` of them."""
    from sklearn.cross_decomposition import CCA  # noqa: PLC0415

    yield None
    for i, j in combinations(range(len(x)), 2):
        a, b = CCA(n_components=components, **options).fit_transform(x[i], x[j])
        yield i, j, float(np.mean([np.corrcoef(*two)[0, 1] for two in zip(a.T, b.T, strict=True)]))


def hyppo_dcorr(x: Arrays) -> Made:
    from hyppo.independence import Dcorr  # noqa: PLC0415

    sides = [a.astype(float) for a in x]
    yield None
    for i, j in combinations(range(len(x)), 2):
        yield i, j, float(Dcorr().statistic(sides[i], sides[j]))


def dcor_squared(x: Arrays) -> Made:
    import dcor  # noqa: PLC0415

    sides = [a.astype(float) for a in x]
    yield None
    for i, j in combinations(range(len(x)), 2):
        yield i, j, float(dcor.u_distance_correlation_sqr(sides[i], sides[j]))


class Peer(NamedTuple):
    """What a peer is asked, and what of ours gives the same number."""

    package: str
    call: str
    metric: str
    given: dict[str, Any]
    run: Callable[[Arrays], Made]
    theirs: Callable[[float], float] | None
    """Takes our value and returns what the peer then gives; None: its number is another one."""
    lacks: str


NOTHING = "null, interval, calibration"
PEERS = {
    "cka": Peer(
        "pytorch-cka", "cka_from_features", "cka", {}, torch_cka, lambda v: min(max(v, 0.0), 1.0),
        NOTHING + "; values below 0, which it cuts",
    ),
    "rsa_pearson": Peer(
        "rsatoolbox", "compare(…, 'corr')", "rsa", {"compare": "pearson"}, rsatoolbox("corr"),
        float, "null and calibration of a pair; its bootstrap is of models against data",
    ),
    "rsa_spearman": Peer(
        "rsatoolbox", "compare(…, 'spearman')", "rsa", {}, rsatoolbox("spearman"), float,
        "as above",
    ),
    "procrustes": Peer(
        "scipy", "orthogonal_procrustes", "procrustes", {}, scipy_procrustes,
        lambda v: 1 - v * v / 2, NOTHING + "; centring, scaling and unlike widths are the user's",
    ),
    "soft_matching": Peer(
        "POT", "emd2", "soft_matching", {}, pot, float,
        NOTHING + "; the costs are the user's",
    ),
    "cca": Peer(
        "scikit-learn", "CCA(n_components=10)", "cca", {}, sklearn_cca, None,
        NOTHING + "; all but the first 10 correlations, as each takes an iteration of its own",
    ),
    "dcor_hyppo": Peer(
        "hyppo", "Dcorr().statistic", "distance_correlation", {}, hyppo_dcorr, float,
        "interval, calibration; a p-value costs another call (`test`)",
    ),
    "dcor_dcor": Peer(
        "dcor", "u_distance_correlation_sqr", "distance_correlation", {}, dcor_squared, float,
        "interval, calibration; a p-value costs another call (`independence`)",
    ),
}  # fmt: skip


def features(models: int, n: int, widths: Sequence[int]) -> Arrays:
    """Float32 rows of unit norm that share 32 dimensions."""
    rng = np.random.default_rng(0)
    shared, made = rng.standard_normal((n, 32), dtype=np.float32), []
    for m in range(models):
        d = widths[m % len(widths)]
        x = shared @ rng.standard_normal((32, d), dtype=np.float32)
        x += 2 * rng.standard_normal((n, d), dtype=np.float32)
        made.append(x / np.linalg.norm(x, axis=1, keepdims=True))
    return made


def peak(what: str) -> float:
    """Resident MB of this process: now (`VmRSS`) or the most so far (`VmHWM`)."""
    text = Path("/proc/self/status").read_text(encoding="utf8")
    return int(re.search(rf"{what}:\s+(\d+)", text)[1]) / 1024


def start_over() -> float:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf8")
    return peak("VmRSS")


def theirs(peer: Peer, x: Arrays, limit: float) -> dict[str, Any]:
    """Seconds, values and pairs of a peer's table, as far as the limit lets it come."""
    list(peer.run(features(2, 100, (16, 24))))
    before, began, ready = start_over(), time.process_time(), 0.0
    values: dict[str, float] = {}
    for made in peer.run(x):
        spent = time.process_time() - began
        if made is None:
            ready = spent
        else:
            values[f"{made[0]} {made[1]}"] = made[2]
        if spent > limit:
            break
    pairs = len(x) * (len(x) - 1) // 2
    if not values:
        return {"stopped": spent, "peak": peak("VmHWM") - before}
    whole = ready + (spent - ready) * pairs / len(values)
    return {
        "seconds": whole,
        "made": len(values),
        "values": values,
        "peak": peak("VmHWM") - before,
    }


def ours(peer: Peer, x: Arrays) -> dict[str, Any]:
    """Seconds and values of our table, and seconds with the null where it has a closed form."""
    from consilience.metrics import get_metric  # noqa: PLC0415 - as above
    from consilience.similarity import Engine, pairwise  # noqa: PLC0415

    metric, engine = get_metric(peer.metric, **peer.given), Engine(threads=1)
    names = {f"m{i:03}": a for i, a in enumerate(x)}

    def table(null: str | None) -> tuple[float, Any]:
        began = time.process_time()
        found = pairwise(metric, names, null=null, engine=engine)
        return time.process_time() - began, found

    small = {f"m{i:03}": a for i, a in enumerate(features(2, 100, (16, 24)))}
    pairwise(metric, small, engine=engine)
    before = start_over()
    seconds, found = table(None)
    grown = peak("VmHWM") - before
    place = {name: str(i) for i, name in enumerate(names)}
    ends = zip(found["model_x"], found["model_y"], found["value"], strict=True)
    values = {f"{place[a]} {place[b]}": float(v) for a, b, v in ends}
    return {
        "seconds": seconds,
        "with_null": table("closed_form")[0] if metric.has_closed_form else None,
        "values": values,
        "peak": grown,
    }


def child(options: argparse.Namespace) -> None:
    """Makes one table and prints what is known of it."""
    import resource  # noqa: PLC0415 - not on every system

    size = options.memory * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    warnings.simplefilter("ignore")
    peer, x = PEERS[options.child], [np.load(path) for path in sorted(options.data.glob("*.npy"))]
    try:
        found = ours(peer, x) if options.ours else theirs(peer, x, options.limit)
    except (MemoryError, RuntimeError) as error:  # PyTorch says the latter where memory ends
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        found = {"failed": f"needs more than {options.memory / 1024:.0f} GB"}
    print(json.dumps(found))


def made(name: str, data: Path, options: argparse.Namespace, *, ours: bool) -> dict[str, Any]:
    """Runs a child and returns what it printed."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")]), str(options.folder)]
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
    )
    command = [sys.executable, __file__, "--child", name, "--data", data, "--limit", options.limit]
    command += ["--memory", options.memory, *(["--ours"] if ours else [])]
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def install(folder: Path) -> None:
    """Puts the pinned peers into a folder, without what the environment has already."""
    mark, text = folder / "pinned.txt", "\n".join(PINNED)
    if mark.is_file() and mark.read_text(encoding="utf8") == text:
        return
    command = ["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(folder)]
    subprocess.run([sys.executable, *command, *PINNED], check=True)
    mark.write_text(text, encoding="utf8")


def gap(peer: Peer, one: dict[str, Any], own: dict[str, Any]) -> str:
    """How far the peer's values are from what ours say they should be."""
    if peer.theirs is None or "values" not in one:
        return "–"
    return f"{max(abs(peer.theirs(own['values'][k]) - v) for k, v in one['values'].items()):.0e}"


def row(name: str, models: int, data: Path, options: argparse.Namespace) -> str:
    """One line of the table: medians of the turns that the budget allows."""
    peer, turns, spent = PEERS[name], [], 0.0
    while len(turns) < options.repeats and (not turns or spent < options.budget):
        began = os.times()
        turns.append([made(name, data, options, ours=own) for own in (False, True)])
        ended = os.times()
        spent += ended.children_user + ended.children_system
        spent -= began.children_user + began.children_system
    first, own = turns[0]
    seconds = statistics.median(two[1]["seconds"] for two in turns)
    null = [two[1]["with_null"] for two in turns]
    cells = [peer.metric, f"{peer.package} `{peer.call}`", str(models)]
    if "seconds" in first:
        whole = statistics.median(two[0]["seconds"] for two in turns)
        ratio = statistics.median(two[0]["seconds"] / two[1]["seconds"] for two in turns)
        part = first["made"] < models * (models - 1) // 2
        cells += [f"{'≈ ' if part else ''}{whole:.3g}", f"{seconds:.3g}"]
        cells += [f"{statistics.median(null):.3g}" if own["with_null"] else "–", f"{ratio:.3g}"]
        if part:
            cells[3] += f" ({first['made']} pairs made)"
    else:
        said = first.get("failed") or f"no pair within {first['stopped']:.0f} s"
        cells += [said, f"{seconds:.3g}"]
        cells += [f"{statistics.median(null):.3g}" if own["with_null"] else "–", "–"]
    memory = [f"{side['peak']:.0f}" if "peak" in side else "–" for side in (first, own)]
    cells += [gap(peer, first, own), " / ".join(memory), str(len(turns)), peer.lacks]
    return f"| {' | '.join(cells)} |"


def small_cca(folder: Path) -> str:
    """Whether scikit-learn's mean over all correlations of a small pair is ours."""
    code = (
        "import numpy as np, peers\n"
        "from consilience.metrics import get_metric\n"
        "x = peers.features(2, 500, (8, 12))\n"
        "a = [v for v in peers.sklearn_cca(x, 8, max_iter=100_000, tol=1e-14) if v][0][2]\n"
        "print(abs(a - get_metric('cca')(*x)))\n"
    )
    paths = [str(ROOT), str(ROOT / "benchmarks"), str(folder)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
    )
    return f"{float(done.stdout):.0e}"


def tables(options: argparse.Namespace) -> list[str]:
    lines = [
        f"\nOne thread; at most {options.repeats} turns, no new one after {options.budget:.0f} CPU "
        f"seconds; peers were stopped after {options.limit:.0f} CPU seconds and had "
        f"{options.memory / 1024:.0f} GB. Load of the machine at the start "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n",
        "| metric | peer | models | peer s | ours s | with null s | peer / ours "
        "| values differ by at most | peak MB: peer / ours | turns | what the peer does not give |",
        "| --- " * 11 + "|",
    ]
    print("\n".join(lines), flush=True)
    for models in options.models:
        n, widths = SIZES[models]
        with tempfile.TemporaryDirectory() as folder:
            for i, x in enumerate(features(models, n, widths)):
                np.save(Path(folder, f"{i:03}.npy"), x)
            for name in options.only:
                lines.append(row(name, models, Path(folder), options))
                print(lines[-1], flush=True)
    lines.append(
        f"\nscikit-learn's mean of all 8 correlations of a pair of 8 and 12 units differs from "
        f"ours by {small_cca(options.folder)}. Load at the end {os.getloadavg()[0]:.1f}."
    )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--only", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=float, default=60, help="CPU seconds of a peer's table")
    parser.add_argument("--budget", type=float, default=120, help="CPU seconds of a row's turns")
    parser.add_argument("--memory", type=int, default=8192, help="MB that a table may take")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir(), "consilience-peers"),
        help="where peers are installed",
    )  # fmt: skip
    parser.add_argument("--write", action="store_true", help=f"add the table to {REPORT.name}")
    parser.add_argument("--child", choices=list(PEERS), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ours", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    install(options.folder)
    lines = tables(options)
    if options.write:
        with REPORT.open("a", encoding="utf8") as report:
            report.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
