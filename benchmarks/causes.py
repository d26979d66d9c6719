"""Truth of effects of overlap on made-up studies: `python benchmarks/causes.py [part …]`.

Parts: `null` (how often p is at or below 0.05 where nothing follows the overlap), `coverage` (how
often the interval of a slope holds the truth), `information` (estimates of information against the
truth). Without a part, all of them. Results: benchmarks/causes.md.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
from scipy import stats
from threadpoolctl import threadpool_limits

from consilience.causes import statistics

DRAWS = (4, 5, 10)
LEVELS = {"6 overlaps": np.linspace(0, 1, 6), "3 overlaps": np.array([0, 0.5, 1])}
STUDIES = 2000
"""For each cell: a standard error of 0.5 %."""
PERMUTATIONS = 199
SLOPE = 0.3

Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Returns normal numbers."""
    return rng.normal(size=shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Returns exponential numbers, less their mean."""
    return rng.exponential(size=shape) - 1


def growing(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Returns normal numbers whose deviation triples from the first level to the last."""
    return rng.normal(size=shape) * np.linspace(1, 3, shape[-1])


NOISES: dict[str, Noise] = {"normal": normal, "skewed": skewed, "growing with the overlap": growing}


def studies(
    draws: int, levels: np.ndarray, noise: Noise, rng: np.random.Generator, *, steep: float = 0.0,
    spread: float = 0.0, offset: float = 2.0, skew: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Returns draw and overlap of pairs, and (studies, pairs) values: all studies of a cell.

    Value = offset of the draw + slope of the draw · overlap + noise; slopes vary by `spread` about
    `steep`.
    """
    shape = (STUDIES, draws, len(levels))
    own = rng.exponential(size=shape[:2]) - 1 if skew else rng.normal(size=shape[:2])
    slopes = steep + spread * own
    values = slopes[..., None] * levels + 0.3 * noise(rng, shape)
    values = values + offset * rng.normal(size=shape[:2])[..., None]
    draw = np.repeat(np.arange(draws), len(levels))
    return draw, np.tile(levels, draws), values.reshape(STUDIES, -1)


def null() -> None:
    """Prints how often p is at or below 0.05 without any effect, in %."""
    rng = np.random.default_rng(0)
    print("| noise | levels | " + " | ".join(f"{d} draws" for d in DRAWS) + " |")
    print("| --- " * (len(DRAWS) + 2) + "|")
    for name, noise in NOISES.items():
        for words, levels in LEVELS.items():
            cells = []
            for draws in DRAWS:
                draw, overlap, values = studies(draws, levels, noise, rng)
                p = [
                    statistics.permute(draw, overlap, y, permutations=PERMUTATIONS, seed=k).p
                    for k, y in enumerate(values)
                ]
                cells.append(f"{100 * np.mean(np.array(p) <= 0.05 + 1e-12):.1f}")
            print(f"| {name} | {words} | " + " | ".join(cells) + " |", flush=True)


def coverage() -> None:
    """Prints the share of intervals of a slope that hold the truth, in %."""
    rng = np.random.default_rng(1)
    print("| slopes of draws | noise | " + " | ".join(f"{d} draws" for d in DRAWS) + " |")
    print("| --- " * (len(DRAWS) + 2) + "|")
    levels = LEVELS["6 overlaps"]
    cases = [("all the same", normal, 0.0, False), ("normal", normal, 0.5, False),
             ("normal", growing, 0.5, False), ("all the same", skewed, 0.0, False),
             ("exponential", normal, 1.0, True)]  # fmt: skip
    names = {noise: name for name, noise in NOISES.items()}
    for words, noise, spread, skew in cases:
        cells = []
        for draws in DRAWS:
            draw, overlap, values = studies(
                draws, levels, noise, rng, steep=SLOPE, spread=spread, skew=skew
            )
            found = np.array([statistics.slope(draw, overlap, y)[1:3] for y in values])
            cells.append(f"{100 * np.mean((found[:, 0] <= SLOPE) & (found[:, 1] >= SLOPE)):.1f}")
        print(f"| {words} | {names[noise]} | " + " | ".join(cells) + " |", flush=True)


def true_information(steep: float, levels: np.ndarray) -> float:
    """Returns the information of steep · x + N(0, 1) about x, uniform over levels, in nats."""
    at = np.linspace(-9, steep + 9, 4001)
    p = stats.norm.pdf(at[:, None] - steep * levels).mean(axis=1)
    return float(-np.trapezoid(p * np.log(p), at) - 0.5 * np.log(2 * np.pi * np.e))


def information(count: int = 200) -> None:
    """Prints means of estimates of information over made-up studies, beside the truth, in nats."""
    levels = LEVELS["6 overlaps"]
    head = ["draws", "slope", "true", "held out, level", "held out, line", "published", "omega²"]
    print("| " + " | ".join(head) + " |\n" + "| --- " * len(head) + "|")
    rng = np.random.default_rng(2)
    for draws in (4, 10):
        draw, overlap = np.repeat(np.arange(draws), len(levels)), np.tile(levels, draws)
        for steep in (0, 3, 6, 30):
            rows = []
            for _ in range(count):
                y = steep * overlap + rng.normal(size=len(overlap))
                rows.append([
                    statistics.held_out_information(draw, overlap, y),
                    statistics.held_out_information(draw, overlap, y, linear=True),
                    statistics.published_information(overlap, y),
                    statistics.omega2(overlap, y),
                ])  # fmt: skip
            means = " | ".join(f"{m:.3f}" for m in np.mean(rows, axis=0))
            print(f"| {draws} | {steep} | {true_information(steep, levels):.3f} | {means} |",
                  flush=True)  # fmt: skip


PARTS = {"null": null, "coverage": coverage, "information": information}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        print(f"\n## {part}\n")
        start = time.process_time()
        with threadpool_limits(1):
            PARTS[part]()
        print(f"\n{time.process_time() - start:.0f} s of one core")
