"""Whether p-values are right where stimuli come in copies: `python benchmarks/groups.py`.

Unrelated models see independent stimuli, each shown as 1, 2 or 5 rows with noise of a tenth of the
spread: such as captions of one picture, frames of a video, augmentations. Values should be at
chance and p-values uniform; without a word about groups neither is. Results go to
benchmarks/groups.md.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from consilience.alignment import REDUCTIONS, align
from consilience.calibration import Permutations
from consilience.metrics import get_metric
from consilience.similarity import pairwise

PAGE = Path(__file__).with_suffix(".md")
COPIES = (1, 2, 5)
ROWS, ALIGNED_ROWS, LAYERS = 60, 40, 4
UNITS, NOISE = 16, 0.1
DRAWS, ALIGNED_DRAWS, PERMUTATIONS = 600, 300, 99
METRICS: dict[str, dict[str, Any]] = {
    "cka": {},
    "distance_correlation": {},
    "rsa": {},
    "mutual_knn": {"k": 5},
    "cknna": {"k": 5},
}


class Found(NamedTuple):
    """What draws gave: p-values, values, and values less the mean of their null."""

    p: np.ndarray
    value: np.ndarray
    excess: np.ndarray

    def cells(self) -> list[str]:
        """Returns type-I error with its exact 95 % interval, mean value and mean excess."""
        rejected = int(np.count_nonzero(self.p <= 0.05))
        low, high = stats.binomtest(rejected, len(self.p)).proportion_ci(0.95, method="exact")
        return [
            f"{rejected / len(self.p):.3f} ({low:.3f} – {high:.3f})",
            f"{self.value.mean():+.3f}",
            f"{self.excess.mean():+.3f} ± {self.excess.std() / np.sqrt(len(self.p)):.3f}",
        ]


def layers(rng: np.random.Generator, groups: np.ndarray, count: int) -> list[np.ndarray]:
    """Returns features (n, UNITS) of `count` layers: stimuli by groups, and noise of rows."""
    stimuli = int(groups.max()) + 1
    return [
        rng.normal(size=(stimuli, UNITS))[groups] + NOISE * rng.normal(size=(len(groups), UNITS))
        for _ in range(count)
    ]


def pairs(name: str, copies: int, draws: int, *, told: bool) -> Found:
    """Returns p-values and values of single pairs.

    Args:
        name: of the metric.
        copies: rows of a stimulus.
        draws: how many pairs.
        told: whether the groups are given; else all rows are taken to be independent.
    """
    metric, groups = get_metric(name, **METRICS[name]), np.repeat(np.arange(ROWS // copies), copies)
    rows = []
    for draw in range(draws):
        rng = np.random.default_rng([copies, draw, *name.encode()])
        x, y = layers(rng, groups, 2)
        given = {"null": "monte_carlo", "permutations": Permutations(PERMUTATIONS, draw)}
        found = pairwise(metric, {"x": x, "y": y}, groups=groups if told else None, **given)
        pair = found[found["model_x"] != found["model_y"]].iloc[0]
        rows.append((pair["p"], pair["value"], pair["value"] - pair["null_mean"]))
    return Found(*np.array(rows).T)


def searches(copies: int, draws: int, *, told: bool) -> dict[str, Found]:
    """Returns for each reduction over all pairs of layers the p-values and values."""
    metric, groups = get_metric("cka"), np.repeat(np.arange(ALIGNED_ROWS // copies), copies)
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in REDUCTIONS}
    for draw in range(draws):
        rng = np.random.default_rng([copies, draw, LAYERS])
        x, y = ({str(k): v for k, v in enumerate(layers(rng, groups, LAYERS))} for _ in range(2))
        given = {"permutations": PERMUTATIONS, "seed": draw}
        for found in align(metric, x, y, groups=groups if told else None, **given):
            row = found.null.p, found.value, found.value - found.null.mean
            rows[found.reduction].append(row)
    return {name: Found(*np.array(found).T) for name, found in rows.items()}


def table() -> Iterator[list[str]]:
    """Yields the rows of the table."""
    for copies in COPIES:
        for told in (False, True) if copies > 1 else (True,):
            word = "yes" if told else "no"
            for name in METRICS:
                yield [name, str(copies), word, *pairs(name, copies, DRAWS, told=told).cells()]
            for name, found in searches(copies, ALIGNED_DRAWS, told=told).items():
                yield [f"alignment by cka, {name}", str(copies), word, *found.cells()]


def page(rows: list[list[str]]) -> str:
    """Returns the table with what it shows."""
    header = ["what", "rows of a stimulus", "groups given", "type-I error at 5 %", "mean value"]
    header.append("mean less that of the null")
    order = list(dict.fromkeys(row[0] for row in rows))
    rows = sorted(rows, key=lambda row: order.index(row[0]))
    lines = [header, ["---"] * len(header), *rows]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"""# Copies of stimuli, with and without groups

Written by `python benchmarks/groups.py`. Two unrelated models see independent stimuli, each shown
as some rows: {UNITS} normal units, and noise of {NOISE} standard deviations by row, in both models.
Single pairs: {ROWS} rows, {DRAWS} draws. Alignment: {ALIGNED_ROWS} rows, {LAYERS} × {LAYERS}
layers, {ALIGNED_DRAWS} draws. {PERMUTATIONS} permutations each: of rows where no groups are given,
of whole groups where they are. Type-I error: share of p-values up to 0.05, with its exact 95 %
interval; 5 % is right. The mean value of `cka`, `distance_correlation` and `rsa` should be 0;
neighbours have a chance of their own, which the null knows.

{text}
"""


def main() -> int:
    """Makes the rows in turn and writes the page."""
    rows, start = [], time.perf_counter()
    for row in table():
        rows.append(row)
        print(*row, f"{time.perf_counter() - start:.0f} s", sep="  ", flush=True)
    PAGE.write_text(page(rows), encoding="utf8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
