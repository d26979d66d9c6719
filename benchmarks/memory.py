"""Peak memory of every metric's table against `max_memory`: `python benchmarks/memory.py --write`.

Each table is made in a process of its own with two threads, from features files, as in a study.
Its peak is the most resident memory (`VmHWM`) less what the process had after all imports and a
first small table; the imports are given too. The table has so many models that their prepared
forms exceed the budget (four at least), each of them compared with the next one; metrics of the
tiled pass compare all with all. `one pair` is the peak of a table of two models on one thread: what
no budget can save. A table keeps to its budget if it grows by at most 1.2 times `max_memory`, or,
where that is more, by a fifth more than one pair takes.
"""

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pairwise import files
from pairwise_all import CLASSES, WIDTHS, inputs_of, metrics, sides

from consilience.metrics import Metric
from consilience.similarity import Engine, Task
from consilience.similarity.all_pairs import similarity_table
from consilience.similarity.engine.tiles import rank_bytes, tile_bytes
from consilience.similarity.engine.wanted import Wanted
from consilience.similarity.items import items_of

REPORT = Path(__file__).with_name("memory.md")
SIZES = {"200": (3000, 200), "default": (10_000, 2048)}
"""Samples, and `max_memory` in MB."""
MOST = 1.2
SLOW = 240
"""Seconds after which a table is given up."""


def resident(what: str) -> float:
    """MB of this process: now (`VmRSS`) or the most so far (`VmHWM`)."""
    text = Path("/proc/self/status").read_text(encoding="utf8")
    return int(re.search(rf"{what}:\s+(\d+)", text)[1]) / 1024


def count_of(metric: Metric, n: int, budget: int) -> int:
    """So many models that the budget does not hold what is kept of them."""
    d = max(WIDTHS)
    if Task(metric).is_tiled(n):
        kept = tile_bytes(1) + (rank_bytes(n) if metric.ranked else 4 * n * d)
        return int(1.2 * budget / kept) + 3
    return max(4, min(32, budget // metric.prepared_bytes(n, d) + 3))


def given(metric: Metric, x: dict[str, Any], n: int) -> tuple[list, dict[str, np.ndarray]]:
    """Items of a metric, of features files or of made-up logits, and labels."""
    rng, names = np.random.default_rng(1), inputs_of(metric)
    labels = {"labels": rng.integers(0, CLASSES, n)} if "labels" in names else {}
    if "logits" in names:
        x = {name: 4.0 * rng.standard_normal((n, CLASSES)) for name in x}
    return [item for name in x for item in items_of(metric, name, x[name])], labels


def grown(metric: Metric, x: dict[str, Any], n: int, engine: Engine) -> float:
    """MB by which this process grew at most in making a table."""
    items, shared = given(metric, x, n)
    task = Task(metric, shared=shared)
    steps = [(a.model, b.model) for a, b in itertools.pairwise(items)]
    wanted = None if task.is_tiled(n) else Wanted(sets=steps)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf8")
    before = resident("VmRSS")
    similarity_table(task, items, engine, wanted=wanted)
    return resident("VmHWM") - before


def child(options: argparse.Namespace) -> None:
    warnings.simplefilter("ignore")
    metric = metrics()[options.child]
    small = {f"m{i}": np.asarray(x[:, :24]) for i, x in enumerate(sides(300))}
    grown(metric, small, 300, Engine(threads=2))
    imports = resident("VmRSS")
    paths = {path.stem: path for path in sorted(options.data.glob("*.safetensors"))}
    chosen = {name: paths[name] for name in list(paths)[: options.models]}
    engine = Engine(threads=options.threads, max_memory=options.budget * 2**20)
    peak = grown(metric, chosen, options.samples, engine)
    print(json.dumps({"imports": imports, "peak": peak}))


def measured(name: str, n: int, count: int, budget: int, data: Path, threads: int) -> dict | None:
    """What a child found; None: it took too long."""
    command = ["--child", name, "--samples", n, "--models", count, "--budget", budget]
    command += ["--data", data, "--threads", threads]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, *map(str, command)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SLOW, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def tables(options: argparse.Namespace) -> list[str]:
    lines = []
    for size in options.sizes:
        n, budget = SIZES[size]
        lines += [
            f"\n`max_memory` {budget} MB, {n:,} samples, widths {WIDTHS}, 2 threads:\n",
            "| metric | models | imports MB | one pair MB | peak MB | / max_memory | keeps to it |",
            "| --- " * 7 + "|",
        ]
        print("\n".join(lines[-3:]), flush=True)
        chosen = {k: m for k, m in metrics().items() if not options.only or k in options.only}
        counts = {k: count_of(m, n, budget * 2**20) for k, m in chosen.items()}
        with tempfile.TemporaryDirectory() as folder:
            for i in range(max(counts.values())):  # one at a time: all of them are gigabytes
                files(folder, {f"m{i:03}": np.roll(sides(n, 2)[i % 2], i, axis=1)})
            for name, count in counts.items():
                began = time.monotonic()
                two = measured(name, n, 2, budget, Path(folder), 1)
                all_ = two and measured(name, n, count, budget, Path(folder), 2)
                lines.append(row(name, count, budget, two, all_))
                print(lines[-1], f"{time.monotonic() - began:.0f} s", flush=True)
    return lines


def row(name: str, count: int, budget: int, two: dict | None, all_: dict | None) -> str:
    if two is None or all_ is None:
        return f"| {name} | {count} | – | – | not within {SLOW} s | – | – |"
    least, peak = two["peak"], all_["peak"]
    kept = peak <= MOST * max(budget, least)
    cells = [name, str(count), f"{all_['imports']:.0f}", f"{least:.0f}", f"{peak:.0f}"]
    cells += [f"{peak / budget:.2f}", "yes" if kept else "no"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--only", nargs="*", help="these metrics")
    parser.add_argument("--write", action="store_true", help=f"add the tables to {REPORT.name}")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    for name in ("samples", "models", "budget", "threads"):
        parser.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    lines = tables(options)
    if options.write:
        with REPORT.open("a", encoding="utf8") as report:
            report.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
