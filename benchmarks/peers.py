"""Tables of what a user would pick instead, beside ours: `python benchmarks/peers.py --write`.

Each peer is called as its documentation shows, on the same features, and its values are compared
with ours pair by pair. Peers lie in a folder of their own with the versions of `PINNED`, made by
pip on the first run; nothing of them enters the environment of this project.

Every table is made in a process of its own with one thread, peer and ours in turns. Seconds are
CPU seconds of this process (user and system) from features in memory to values; imports and
compilers ran before it, on small features. Peers make each unordered pair of
two models once; ours makes self pairs and, where there is one, the null as well (`with null`).
Peers that loop over pairs are given 8 models at most, and are stopped `--limit` CPU seconds after
the first pair: then their time (≈) is that of what they prepared, counted for all models, and of
the pairs they made, counted for all pairs. Peak memory is what the process grew by
over what it had with the features loaded.

Two sizes, both of 2,100 samples: 8 models of 512 or 768 units; 64 models of 128 or 192 units,
which most peers can still do.
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
from threadpoolctl import threadpool_limits

REPORT = Path(__file__).with_name("peers.md")
PINNED = (
    "pytorch-cka==1.1.3", "rsatoolbox==0.3.2", "POT==0.9.7.post1", "hyppo==0.5.2", "dcor==0.7",
    "numba==0.68.1", "llvmlite==0.50.0", "autograd==1.9.1", "statsmodels==0.15.0",
    "patsy==1.0.3", "future==1.0.0", "array-api-compat==1.16.0",
)  # fmt: skip
"""Peers, and what they need beyond this project's environment."""
SIZES = {8: (2100, (512, 768)), 64: (2100, (128, 192))}
"""Models: samples and widths."""
FIRST = 8
"""Models that a peer is given which takes pair by pair."""
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
        "interval, calibration; a p-value costs another call (independence)",
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
    some = x if peer.run is torch_cka else x[:FIRST]
    before, began, ready = start_over(), time.process_time(), 0.0
    values: dict[str, float] = {}
    for made in peer.run(some):
        spent = time.process_time() - began
        if made is None:
            ready = spent
        else:
            values[f"{made[0]} {made[1]}"] = made[2]
        if values and spent - ready > limit:
            break
    pairs = len(x) * (len(x) - 1) // 2
    return {
        "seconds": ready * len(x) / len(some) + (spent - ready) * pairs / len(values),
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


def table_of(
    name: str, x: Arrays, options: argparse.Namespace, *, own: bool = False
) -> dict[str, Any]:
    """What a process of its own, which begins with all imports done, finds of a table."""
    import resource  # noqa: PLC0415 - not on every system

    there, here = os.pipe()
    if not (child := os.fork()):
        size, found = options.memory * 2**20, {}
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))
        try:
            found = ours(PEERS[name], x) if own else theirs(PEERS[name], x, options.limit)
        except (MemoryError, RuntimeError) as error:  # PyTorch says the latter where memory ends
            if isinstance(error, MemoryError) or "memory" in str(error):
                found = {"failed": f"needs more than {options.memory / 1024:.0f} GB"}
        finally:
            with os.fdopen(here, "w") as stream:
                stream.write(json.dumps(found))
            os._exit(0)
    os.close(here)
    with os.fdopen(there) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    if not (found := json.loads(text or "{}")):
        raise SystemExit(f"{name}: the process of its table ended without one")
    return found


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


def row(name: str, x: Arrays, options: argparse.Namespace) -> str:
    """One line of the table: medians of the turns that the budget allows."""
    peer, models, turns, began = PEERS[name], len(x), [], os.times()
    while len(turns) < options.repeats:
        turns.append([table_of(name, x, options, own=own) for own in (False, True)])
        now = os.times()
        spent = now.children_user + now.children_system
        if spent - began.children_user - began.children_system > options.budget:
            break
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
        cells += [first["failed"], f"{seconds:.3g}"]
        cells += [f"{statistics.median(null):.3g}" if own["with_null"] else "–", "–"]
    memory = [f"{side['peak']:.0f}" if "peak" in side else "–" for side in (first, own)]
    cells += [gap(peer, first, own), " / ".join(memory), str(len(turns)), peer.lacks]
    return f"| {' | '.join(cells)} |"


def small_cca() -> str:
    """How far scikit-learn's mean over all correlations of a small pair is from ours."""
    from consilience.metrics import get_metric  # noqa: PLC0415 - as above

    x = features(2, 500, (8, 12))
    found = [made for made in sklearn_cca(x, 8, max_iter=100_000, tol=1e-14) if made]
    return f"{abs(found[0][2] - get_metric('cca')(*x)):.0e}"


def tables(options: argparse.Namespace) -> list[str]:
    lines = [
        f"\nOne thread; at most {options.repeats} turns, no new one after {options.budget:.0f} CPU "
        f"seconds; peers made pairs for {options.limit:.0f} CPU seconds and had "
        f"{options.memory / 1024:.0f} GB. Load of the machine at the start "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n",
        "| metric | peer | models | peer s | ours s | with null s | peer / ours "
        "| values differ by at most | peak MB: peer / ours | turns | what the peer does not give |",
        "| --- " * 11 + "|",
    ]
    print("\n".join(lines), flush=True)
    for models in options.models:
        n, widths = SIZES[models]
        x = features(models, n, widths)
        for name in options.only:
            lines.append(row(name, x, options))
            print(lines[-1], flush=True)
    lines.append(
        f"\nscikit-learn's mean of all 8 correlations of a pair of 8 and 12 units differs from "
        f"ours by {small_cca()}. Load at the end {os.getloadavg()[0]:.1f}."
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
    options = parser.parse_args()
    install(options.folder)
    os.environ |= dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    sys.path.append(str(options.folder))  # last: what the environment has comes first
    warnings.simplefilter("ignore")
    small = features(2, 100, (16, 24))
    with threadpool_limits(1):
        for name in options.only:  # imports and compilers, before any process is forked
            list(PEERS[name].run(small))
            ours(PEERS[name], small)
        lines = tables(options)
    if options.write:
        with REPORT.open("a", encoding="utf8") as report:
            report.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
