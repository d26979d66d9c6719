"""Peak memory of every metric's table against `max_memory`: `python benchmarks/memory.py --write`.

Each table is made in a process of its own with two threads, from features files, as in a study.
Its peak is the most resident memory (`VmHWM`) less what the process had after all imports and a
first small table; the imports are given too. The table has so many models that their prepared
forms exceed the budget, each of them compared with the next one; metrics of the tiled pass compare
all with all. Where forms are so small that the budget hardly feels them, there are four models.
`two models` is the peak of a table of two on one thread, which no budget can save. A table keeps to
its budget if it grows by at most 1.2 times `max_memory`, or, where two models alone take more, by
at most 1.2 times that.
"""

import argparse
import itertools
import json
import os
import re
import tempfile
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
FEW = 40
"""Forms: if the budget holds more, they are not what it is for."""


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
    fit = budget // metric.prepared_bytes(n, d)
    return 4 if fit > FEW else max(4, fit + 3)


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


def child(metric: Metric, x: dict[str, Any], n: int, engine: Engine) -> dict[str, float]:
    """What a process of its own finds, which begins with all imports done."""
    ours, theirs = os.pipe()
    if not (child := os.fork()):
        found: dict[str, Any] = {}
        try:
            found = {"peak": grown(metric, x, n, engine)}
        except Exception as error:  # shown in the table
            found = {"failed": f"{type(error).__name__}: {error}"}
        finally:
            os.write(theirs, json.dumps(found).encode())
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as stream:
        found = json.loads(stream.read())
    os.waitpid(child, 0)
    return found


def tables(options: argparse.Namespace) -> list[str]:
    chosen = {k: m for k, m in metrics().items() if not options.only or k in options.only}
    small = {f"m{i}": np.asarray(x[:, :24]) for i, x in enumerate(sides(300))}
    for metric in chosen.values():  # what is imported on first use
        grown(metric, small, 300, Engine())
    lines = []
    for size in options.sizes:
        n, budget = SIZES[size]
        lines += [
            f"\n`max_memory` {budget} MB, {n:,} samples, widths {WIDTHS}, 2 threads; imports and a "
            f"first small table take {resident('VmRSS'):.0f} MB:\n",
            "| metric | models | peak MB | / max_memory | two models MB | keeps to it |",
            "| --- " * 6 + "|",
        ]
        print("\n".join(lines[-3:]), flush=True)
        counts = {k: count_of(m, n, budget * 2**20) for k, m in chosen.items()}
        with tempfile.TemporaryDirectory() as folder:
            paths = {}
            for i in range(max(counts.values())):  # one at a time: all of them are gigabytes
                paths |= files(folder, {f"m{i:03}": np.roll(sides(n, 2)[i % 2], i, axis=1)})
            for name, count in counts.items():
                given = dict(list(paths.items())[:count])
                lines.append(row(name, chosen[name], given, n, budget))
                print(lines[-1], flush=True)
    return lines


def row(name: str, metric: Metric, x: dict[str, Any], n: int, budget: int) -> str:
    """One line; what two models take alone is looked up where that decides."""
    found = child(metric, x, n, Engine(threads=2, max_memory=budget * 2**20))
    if "failed" in found:
        return f"| {name} | {len(x)} | {found['failed']} | – | – | – |"
    peak, least = found["peak"], 0.0
    if peak > MOST * budget:
        least = child(metric, dict(list(x.items())[:2]), n, Engine())["peak"]
    kept = "yes" if peak <= MOST * max(budget, least) else "no"
    alone = f"{least:.0f}" if least else "–"
    return f"| {name} | {len(x)} | {peak:.0f} | {peak / budget:.2f} | {alone} | {kept} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--only", nargs="*", help="these metrics")
    parser.add_argument("--write", action="store_true", help=f"add the tables to {REPORT.name}")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = tables(options)
    if options.write:
        with REPORT.open("a", encoding="utf8") as report:
            report.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
