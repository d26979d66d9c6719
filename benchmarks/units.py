"""Whether `value_units` is what more units would give: `python benchmarks/units.py [FOLDER …]`.

Populations of units that respond linearly to latents, with a known similarity of infinitely many:
the kernel of the latents. 500 draws a cell, of both the stimuli and the units; a value is held
against that of infinitely many units on its own stimuli. With folders of features
(results/features/DATASET), the models of these are cut to 128 of their units as well, and results
go to benchmarks/units.md.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from consilience.features import read_layer
from consilience.features.reading import read_header
from consilience.forms.units import UnitSample, over_units, units_of
from consilience.metrics import get_metric

PAGE = Path(__file__).with_suffix(".md")
DRAWS, CUT, CUTS, STIMULI = 500, 128, 50, 2000
LATENTS = 100
SPECTRA = {
    "flat": np.ones(60),
    "power": 1 / np.arange(1, LATENTS + 1),
    "steep": 1 / np.arange(1, LATENTS + 1) ** 2,
}
"""Variances of the latents: 60 alike, 1/i, 1/i²."""
SHARED = {"0.67": np.sqrt(2 / 3), "1.00": 1.0}
"""Share of the variance of latents that both sides have, by the value that it gives, about."""
SEED = 0.0
GRID = {
    "0.67": {64: (200, 500, 2000), 256: (200, 500), 1024: (200, 500)},
    "1.00": {64: (500,)},
}
"""By value and number of units the numbers of stimuli."""


class Cell(NamedTuple):
    """What is drawn."""

    spectrum: str
    value: str
    n: int
    d: int


class Found(NamedTuple):
    """What draws gave."""

    truth: float
    plain: float
    units: float
    covered: float
    below: float
    width: float


def inner(a: np.ndarray, b: np.ndarray, p: np.ndarray, q: np.ndarray) -> float:
    """Returns ⟨K, L⟩ of debiased centred kernels, from products over latents.

    Args:
        a: (k, l) products of the latents of both over stimuli, mixed by the units of one side.
        b: (k, l) the same, mixed by those of the other.
        p: (n,) squared norms of the rows of one side.
        q: (n,) those of the other.
    """
    n = len(p)
    product_ = float(np.vdot(a, b))
    return product_ - n / (n - 2) * float(p @ q) + p.sum() * q.sum() / ((n - 1) * (n - 2))


class Side(NamedTuple):
    """Latents (n, k) of one side, and what its units make of products of them."""

    latents: np.ndarray
    mixed: np.ndarray
    """(k, k) W Wᵀ, of the weights (k, d) of the units."""
    rows: np.ndarray
    """(n,) squared norms of the features."""

    @classmethod
    def of(cls, latents: np.ndarray, weights: np.ndarray | None) -> "Side":
        """Returns the side with these units; None: infinitely many."""
        k = latents.shape[1]
        mixed = np.eye(k) if weights is None else weights @ weights.T
        return cls(latents, mixed, np.einsum("ij,ij->i", latents @ mixed, latents))

    def met(self, other: "Side") -> float:
        """Returns the inner product of the centred kernels of both."""
        crossed = self.latents.T @ other.latents
        return inner(self.mixed @ crossed, crossed @ other.mixed, self.rows, other.rows)


def quotient(x: Side, y: Side) -> float:
    """Returns debiased CKA with a linear kernel."""
    return x.met(y) / np.sqrt(x.met(x) * y.met(y))


def drawn(rng: np.random.Generator, cell: Cell) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the latents (n, k) of both sides, centred, with the weights (k, d) of their units."""
    variances, shared = SPECTRA[cell.spectrum], SHARED[cell.value]
    common = rng.normal(size=(cell.n, len(variances)))
    for _ in range(2):
        own = np.sqrt(1 - shared) * rng.normal(size=common.shape) if shared < 1 else 0
        latents = (np.sqrt(shared) * common + own) * np.sqrt(variances)
        weights = rng.normal(size=(len(variances), cell.d))
        yield latents - latents.mean(axis=0), weights


def draws(cell: Cell, count: int = DRAWS) -> Found:
    """Returns what `count` draws of a cell gave."""
    rng = np.random.default_rng([ord(c) for c in "".join(map(str, (*cell, SEED)))])
    found = []
    with threadpool_limits(1):
        for _ in range(count):
            both = list(drawn(rng, cell))
            truth = quotient(*(Side.of(latents, None) for latents, _ in both))
            x, y = (Side.of(*side) for side in both)
            lengths = [np.sqrt(side.met(side)) for side in (x, y)]
            plain = x.met(y) / np.prod(lengths)
            samples = []
            for (latents, weights), length in zip(both, lengths, strict=True):
                features = latents.astype(np.float32) @ weights.astype(np.float32)
                samples.append(units_of(features, diagonal=False).over(float(length)))
            over = over_units(float(plain), *samples, normalised=True)
            if over is not None:
                found.append((truth, plain, *over))
    truth, plain, units, low, high = np.array(found).T
    return Found(
        *(float(part.mean()) for part in (truth, plain, units)),
        float(np.mean((low <= truth) & (truth <= high))),
        float(np.mean(truth < low)),
        float(np.mean(high - low)),
    )


class Pair(NamedTuple):
    """What cutting both models of a pair to some of their units does, on average."""

    dataset: str
    models: str
    plain: float
    plain_cut: float
    units: float
    units_cut: float
    moved: float
    """The larger mean change of `value_units` where one model alone is cut."""
    inside: float
    """Share of cuts whose interval holds the value of all units."""


def read_models(folder: str) -> dict[str, np.ndarray]:
    """Returns {model: features of its last layer} of up to `STIMULI` stimuli, if wide enough."""
    found = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        x = read_layer(path, read_header(path)["layers"][-1])
        if x.shape[1] >= 2 * CUT:
            found[path.stem] = x[:STIMULI]
    return found


Prepared = dict[str, tuple[np.ndarray, UnitSample]]


def prepared(models: Mapping[str, np.ndarray]) -> Prepared:
    """Returns for each model its prepared form and its units as a sample."""
    metric, found = get_metric("cka"), {}
    for name, x in models.items():
        form = metric.prepare(x.astype(np.float64))
        found[name] = form, metric.units(x.astype(np.float64), form)
    return found


def compared(xs: Prepared, ys: Prepared) -> np.ndarray:
    """Returns for each pair of models value, value_units and its interval: (pairs, 4)."""
    rows = []
    for a, b in combinations(xs, 2):
        (form_x, x), (form_y, y) = xs[a], ys[b]
        value = float(form_x @ form_y)
        rows.append((value, *over_units(value, x, y, normalised=True)))
    return np.array(rows)


def cut_pairs(folder: str) -> list[Pair]:
    """Returns what cutting does to every pair of models of a dataset."""
    models, rng = read_models(folder), np.random.default_rng(0)
    whole = prepared(models)
    before, both, one, other = compared(whole, whole), [], [], []
    for _ in range(CUTS):
        chosen = {m: rng.choice(x.shape[1], CUT, replace=False) for m, x in models.items()}
        cut = prepared({m: x[:, chosen[m]] for m, x in models.items()})
        both.append(compared(cut, cut))
        one.append(compared(cut, whole)[:, 1])
        other.append(compared(whole, cut)[:, 1])
    plain, units, low, high = np.moveaxis(np.array(both), 2, 0)
    inside = np.mean((low <= before[:, 1]) & (before[:, 1] <= high), axis=0)
    moved = np.max([np.abs(np.mean(cut, axis=0) - before[:, 1]) for cut in (one, other)], axis=0)
    columns = (before[:, 0], plain.mean(axis=0), before[:, 1], units.mean(axis=0), moved, inside)
    names = [", ".join(pair) for pair in combinations(models, 2)]
    rows = zip(names, *(column.tolist() for column in columns), strict=True)
    return [Pair(Path(folder).name, *row) for row in rows]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(found: dict[Cell, Found], cut: Sequence[Pair]) -> str:
    """Returns benchmarks/units.md."""
    parts = []
    for value in SHARED:
        rows = [
            [
                *(c.spectrum, str(c.n), str(c.d), f"{f.truth:.3f}", f"{f.plain:.3f}"),
                *(f"{f.units:.3f}", f"{100 * f.covered:.1f}", f"{f.width:.3f}"),
            ]
            for c, f in found.items()
            if c.value == value
        ]
        header = ["spectrum", "stimuli", "units", "truth", "value", "value_units"]
        parts.append(table([*header, "coverage, %", "width"], rows))
    bias = max(abs(f.units - f.truth) for c, f in found.items())
    rows = [
        [p.dataset, p.models, *(f"{v:.3f}" for v in p[2:7]), f"{100 * p.inside:.0f}"] for p in cut
    ]
    header = ["dataset", "models", "value", f"of {CUT}", "value_units", f"of {CUT}"]
    header += ["one cut", "inside, %"]
    moved = max(abs(p.units_cut - p.units) for p in cut)
    one = max(p.moved for p in cut)
    plain = max(abs(p.plain_cut - p.plain) for p in cut)
    return f"""# Units as a sample

Written by `python benchmarks/units.py FOLDER …`. Both sides have so many units, which respond
linearly, with random weights, to latents with variances that are all alike (60 of them, "flat"),
1/i ("power") or 1/i² ("steep", of {LATENTS}). The truth is debiased linear CKA of the latents on
the same stimuli: what infinitely many units would give. {DRAWS} draws a cell of stimuli and units,
so the standard error of a coverage of 95 % is {100 * (0.95 * 0.05 / DRAWS) ** 0.5:.1f} %.
The largest difference of mean `value_units` and truth is {bias:.4f}.

## Two populations that share two thirds

{parts[0]}

## The same population twice

Here one unit more or less changes nothing to the first order: what pairs of units do decides, and
an interval is rather too wide than too narrow.

{parts[1]}

## Models cut to {CUT} units

Both models of a pair cut to {CUT} random units, {CUTS} times, up to {STIMULI:,} stimuli; "inside":
intervals that hold the value of all units; "one cut": how far `value_units` moves on average where
one model alone is cut, of the two the larger. The largest mean change is {moved:.3f} of
`value_units`, {one:.3f} where one model is cut, and {plain:.3f} of the plain value.

{table(header, rows)}
"""


def all_cells() -> list[Cell]:
    """Returns what is drawn."""
    return [
        Cell(spectrum, value, n, d)
        for value, widths in GRID.items()
        for spectrum, (d, samples) in product(SPECTRA, widths.items())
        for n in samples
    ]


def main(folders: Sequence[str]) -> int:
    """Runs the cells, and the cuts of the datasets that are given, and writes the page."""
    start, found = time.perf_counter(), {}
    cells = all_cells()
    with ProcessPoolExecutor() as pool:
        for cell, row in zip(cells, pool.map(draws, cells), strict=True):
            found[cell] = row
            numbers = (f"{value:.4f}" for value in row)
            print(*cell, *numbers, f"{time.perf_counter() - start:.0f} s", sep="  ", flush=True)
    if folders:
        cut = [pair for folder in folders for pair in cut_pairs(folder)]
        PAGE.write_text(page(found, cut), encoding="utf8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
