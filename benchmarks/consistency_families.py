"""Families of models: coverage, p, differences, power on made-up zoos, cell by cell.

`python benchmarks/consistency.py families [CELL …]` runs the cells that are not yet in
benchmarks/consistency_families.json and writes benchmarks/consistency_families.md. A cell is
`PART KIND ICC LAYOUT`, such as `coverage additive 0.6 8x8`; words choose the cells that have them.
A cell beyond the bounds is made again, with `AGAIN` times the studies and other draws: these count.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from zoos import (
    KINDS,
    LAYOUTS,
    RHO,
    blocks,
    families_of,
    joint_truth,
    several,
    square,
    truths,
    with_stimuli,
)

from consilience.consistency.analysis import measure_set
from consilience.consistency.differences import differences_table
from consilience.consistency.sheets import Data, Settings
from consilience.consistency.stimuli import joint_variance, stimulus_part
from consilience.consistency.tables import Mean
from consilience.pairs.correlations import Block, correlations
from consilience.pairs.draws import Draws
from consilience.pairs.families import (
    Clusters,
    between_families,
    estimate_between,
    family_relabellings,
)
from consilience.pairs.inference import Estimate, interval, mantel
from consilience.pairs.matrix import Similarity
from consilience.pairs.sets import ModelSet

Rng = np.random.Generator
ICC = (0.0, 0.3, 0.6, 0.9)
STUDIES = {"coverage": 600, "null": 1000, "power": 200, "differences": 600, "joint": 200,
           "means": 500}  # fmt: skip
FEW = {"coverage": 600, "null": 600, "power": 100}
"""Of CKA values, which take real features, and of Kendall's p, which is slow."""
FEWER = ("8x8", "5x8", "4x8")
"""Layouts of the means."""
AGAIN = 4
RELABELLED = 99
SHAPED = (
    ("additive", 0.0, "8x8"), ("additive", 0.6, "8x8"), ("additive", 0.9, "8x8"),
    ("additive", 0.6, "unequal"), ("geometric", 0.9, "8x8"), ("additive", 0.6, "4x8"),
)  # fmt: skip
REPEATED = "again"
"""Ends the key of a cell that was made again."""
STORE = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).with_suffix(".md")
BOUNDS = {"coverage": (93, 98), "null": (3.5, 6.5), "differences": (3.5, 6.5), "joint": (93, 98),
          "means": (93, 98),
          "spearman": (93, 98), "kendall": (93, 98), "kendall_null": (3.5, 6.5)}  # fmt: skip
ORDER = ("null", "means", "joint", "coverage", "kendall", "kendall_null", "spearman", "power")
"""Parts that are run first; `features` before `geometric` before `additive` within them."""


def holds(found: Estimate, truth: float) -> int:
    """Returns how many intervals hold the truth."""
    low, high = np.tanh(interval(found.z, found.drawn, found.variance, found.freedom))
    return int(((low <= truth) & (truth <= high)).sum())


def coverage(
    kind: str, icc: float, layout: str, rng: Rng, times: int = 1, method: str = "pearson"
) -> dict:
    """Shares of intervals that hold the truth: of all pairs, and of those between families."""
    truth, hits, width = truths(kind, icc, layout, method), np.zeros(2), []
    studies = studies_of("coverage", kind) * times
    for block in blocks(kind, icc, layout, RHO, studies, rng):
        found = estimate_between(block, method)  # as `estimate_set`, but for left-out models
        far = estimate_between(between_families(block), method)
        hits += [holds(found, truth[0]), holds(far, truth[1])]
        width.append(np.subtract(*interval(found.z, found.drawn, found.variance, found.freedom)))
    share, between = 100 * hits / studies
    return {"all": share, "between": between, "width": -float(np.mean(width)), "studies": studies}


def of_spearman(kind: str, icc: float, layout: str, rng: Rng, times: int = 1) -> dict:
    """As `coverage`, of Spearman's."""
    return coverage(kind, icc, layout, rng, times, "spearman")


def of_kendall(kind: str, icc: float, layout: str, rng: Rng, times: int = 1) -> dict:
    """As `coverage`, of Kendall's."""
    return coverage(kind, icc, layout, rng, times, "kendall")


class Resampled(Block):
    """Pairs of resampled families: a pair within a family that is drawn k times counts k times."""

    def weights(self, counts: np.ndarray) -> np.ndarray:
        """Returns how often each pair counts."""
        first, second = (counts.T[:, side] for side in (self.first, self.second))
        return np.where(
            self.families[self.first] == self.families[self.second], first, first * second
        )


def shapes(kind: str, icc: float, layout: str, rng: Rng, times: int = 1) -> dict:
    """Shares that hold the truth: t alone, t shaped by a bootstrap of families, its percentiles."""
    truth, hits = truths(kind, icc, layout, "pearson")[0], np.zeros(3)
    families = families_of(layout)
    count, replicates, studies = families.max() + 1, 200, STUDIES["coverage"] * times
    for block in blocks(kind, icc, layout, RHO, studies, rng):
        found = estimate_between(block, "pearson")
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=replicates).T[families]
        again = Resampled(**vars(block))
        z = np.arctanh(
            np.clip(correlations(again, drawn.astype(float), "pearson"), -0.999999, 0.999999)
        )
        low, high = interval(found.z, found.drawn, found.variance, found.freedom)
        ends = np.nanquantile(z, [0.025, 0.975], axis=1)
        below, above = ends - np.nanmean(z, axis=1)
        factor = (high - low) / (above - below)
        for place, (left, right) in enumerate(
            [(low, high), (found.z + factor * below, found.z + factor * above), ends]
        ):
            hits[place] += ((np.tanh(left) <= truth) & (truth <= np.tanh(right))).sum()
    alone, shaped, percentiles = 100 * hits / studies
    return {"t": alone, "shape": shaped, "percentiles": percentiles, "studies": studies}


def one_by_one(block: Block) -> Iterator[Block]:
    """Yields each study of a block."""
    ends = np.array([0]), np.array([1])
    for left, right in zip(block.left, block.right, strict=True):
        values = block.values[[left, right]]
        yield replace(block, values=values, left=ends[0], right=ends[1])


def reached(
    kind: str, icc: float, layout: str, rho: float, studies: int, rng: Rng, method: str = "pearson"
) -> dict:
    """Shares of p <= 0.05 over all pairs, and over those between families.

    Each study has relabellings of its own: studies that share them err together. With 99, chance
    gives p <= 0.05 in 5 of 100, as with any other number that is 1 below a multiple of 20.
    """
    hits = np.zeros(2)
    families = families_of(layout)
    for block in blocks(kind, icc, layout, rho, studies, rng):
        for study in one_by_one(block):
            labels = family_relabellings(families, (len(families),), RELABELLED, rng)
            for place, part in enumerate((study, between_families(study))):
                hits[place] += (mantel(part, method, labels) <= 0.05).sum()
    share, between = 100 * hits / studies
    return {"all": share, "between": between, "studies": studies}


def null(kind: str, icc: float, layout: str, rng: Rng, times: int = 1) -> dict:
    """Shares of p <= 0.05 where both datasets order families and models independently."""
    return reached(kind, icc, layout, 0.0, studies_of("null", kind) * times, rng)


def kendall_null(kind: str, icc: float, layout: str, rng: Rng, times: int = 1) -> dict:
    """As `null`, of Kendall's."""
    return reached(kind, icc, layout, 0.0, FEW["null"] * times, rng, "kendall")


def power(kind: str, icc: float, layout: str, rng: Rng, times: int = 1) -> dict:
    """Shares of p <= 0.05 where effects correlate by 0.6."""
    return reached(kind, icc, layout, RHO, studies_of("power", kind) * times, rng)


def differences(kind: str, icc: float, layout: str, rng: Rng, times: int = 1) -> dict:
    """Shares of studies with a difference between two halves of the families that have none."""
    families, hits = families_of(layout), np.zeros(3)
    names = [f"m{k:02d}" for k in range(len(families))]
    half = families < families.max() / 2
    clusters = Clusters("family", {n: f"f{k:02d}" for n, k in zip(names, families, strict=True)})
    sets = [
        ModelSet("kind", name, name, (tuple(n for n, k in zip(names, keep, strict=True) if k),))
        for name, keep in (("a", half), ("b", ~half))
    ]
    studies = STUDIES["differences"] * times
    for number in range(studies):
        settings = Settings(("pearson",), 1, 0, number + 1000 * times, 4)
        values = several(kind, families, icc, rng)
        similarities = {
            f"d{k}": Similarity(tuple(names), square(row)) for k, row in enumerate(values)
        }
        data = Data("k", similarities, clusters=clusters)
        draws = Draws(number, 1, 0, clusters)
        found = [measure_set(data, chosen, settings, draws) for chosen in sets]
        table = differences_table(data, found, settings)
        mean = table["dataset_x"] == "*"
        each = (table["low"] > 0) | (table["high"] < 0)
        together = (table["low_simultaneous"] > 0) | (table["high_simultaneous"] < 0)
        hits += [each[~mean].iloc[0], together[~mean].any(), each[mean].iloc[0]]
    one, together, mean = 100 * hits / studies
    return {"one": one, "any": together, "mean": mean, "studies": studies}


def means(kind: str, icc: float, layout: str, rng: Rng, times: int = 1) -> dict:
    """Shares of intervals of the mean over 6 datasets that hold the truth: 0, and 0.6."""
    families, studies, hits = families_of(layout), STUDIES["means"] * times, {}
    names = tuple(f"m{k:02d}" for k in range(len(families)))
    clusters = Clusters("family", {n: f"f{k:02d}" for n, k in zip(names, families, strict=True)})
    settings, draws = Settings(("pearson",), 1, 0, 0, 4), Draws(0, 1, 0, clusters)
    for number in range(2 * studies):
        rho = (0.0, RHO)[number % 2]
        rows = several(kind, families, icc, rng, 6, rho)
        similarities = {f"d{k}": Similarity(names, square(row)) for k, row in enumerate(rows)}
        data = Data("k", similarities, clusters=clusters)
        result = measure_set(data, ModelSet("all", "all", "all", (names,)), settings, draws)
        for between in (False, True):
            low, high = Mean(result, result.sheets["pearson"], between=between).ends()
            key = f"{'between' if between else 'all'}, {'none' if number % 2 == 0 else RHO}"
            hits[key] = hits.get(key, 0) + 100 / studies * (low <= rho <= high)
    return hits | {"studies": studies}


def joint(kind: str, icc: float, layout: str, rng: Rng, times: int = 1) -> dict:
    """Shares of intervals over families, and over families and stimuli, that hold the truth."""
    families, truth, hits = families_of(layout), joint_truth(icc, layout), np.zeros(2)
    i, j = np.triu_indices(len(families), 1)
    ends, studies = (np.array([0]), np.array([1])), STUDIES["joint"] * times
    for _ in range(studies):
        values, halves = with_stimuli(families, icc, rng)
        block = Block(values, i, j, (len(families),), *ends, families)
        found = estimate_between(block, "pearson")
        part = stimulus_part(block, halves, "pearson")
        spread = found.variance, found.freedom
        both = joint_variance(*spread, part.variance, part.shared, part.splits)
        for place, one in enumerate((spread, both)):
            low, high = np.tanh(interval(found.z, found.drawn, *one))
            hits[place] += float(low[0] <= truth <= high[0])
    families_only, all_of = 100 * hits / studies
    return {"families": families_only, "both": all_of, "studies": studies}


PARTS: dict[str, Callable[..., dict]] = {
    "coverage": coverage,
    "spearman": of_spearman,
    "kendall": of_kendall,
    "shapes": shapes,
    "null": null,
    "kendall_null": kendall_null,
    "power": power,
    "differences": differences,
    "means": means,
    "joint": joint,
}


def studies_of(part: str, kind: str) -> int:
    """Returns how many studies a cell has."""
    return (FEW if kind == "features" else STUDIES)[part]


def cells() -> list[tuple[str, str, float, str]]:
    """Returns all cells: part, kind, ICC, layout."""
    wanted = [("coverage", k, i, n) for k, i, n in product(KINDS, ICC, LAYOUTS)]
    wanted += [("null", k, i, n) for k, i, n in product(KINDS, ICC, LAYOUTS)]
    wanted += [("power", k, 0.6, n) for k, n in product(KINDS, LAYOUTS)]
    wanted += [("spearman", k, 0.6, "8x8") for k in KINDS]
    wanted += [("kendall", k, 0.6, "5x8") for k in KINDS]  # its time goes by models^4
    wanted += [("kendall_null", k, 0.6, "4x8") for k in KINDS]
    wanted += [("shapes", k, i, n) for k, i, n in SHAPED]
    wanted += [("differences", "additive", i, n) for i, n in product(ICC, ("8x8", "16x4"))]
    wanted += [
        ("means", "additive", i, n) for i, n in product((0.0, 0.6, 0.9), ("8x8", "5x8", "4x8"))
    ]
    wanted += [("joint", "additive", i, n) for i, n in product(ICC, LAYOUTS)]
    return wanted


def rank(cell: tuple[str, str, float, str]) -> tuple:
    """Returns what cells are sorted by: those that tell most first."""
    part, kind, icc, layout = cell
    place = ORDER.index(part) if part in ORDER else len(ORDER)
    middling = layout not in ("8x8", "16x4") or icc not in (0.6, 0.9)
    return middling, place, -list(KINDS).index(kind), -icc


def run(words: list[str]) -> None:
    """Runs the cells that have all the words and are not yet stored; writes the page."""
    done = json.loads(STORE.read_text(encoding="utf8")) if STORE.exists() else {}
    chosen = [" ".join(map(str, cell)) for cell in sorted(cells(), key=rank)]
    chosen = [name for name in chosen if all(word in name for word in words)]
    for times in (1, AGAIN):
        for name in chosen:
            key = name if times == 1 else f"{name} {REPEATED}"
            if key in done or (times > 1 and not beyond(name, done[name])):
                continue
            started = time.process_time()
            part, kind, icc, layout = name.split(maxsplit=3)
            rng = np.random.default_rng([ord(sign) for sign in key])
            found = PARTS[part](kind, float(icc), layout, rng, times)
            found["seconds"] = time.process_time() - started
            done[key] = {name: round(number, 3) for name, number in found.items()}
            STORE.write_text(json.dumps(done, indent=1) + "\n", encoding="utf8")
            print(key, done[key], file=sys.stderr, flush=True)
    PAGE.write_text(page(done), encoding="utf8")


def beyond(key: str, numbers: dict) -> list[str]:
    """Returns the numbers of a cell that are beyond the bounds."""
    low, high = BOUNDS.get(key.split(maxsplit=1)[0], (-np.inf, np.inf))
    beside = ("studies", "seconds", "width", "families")
    names = [n for n in numbers if n not in beside]
    return [f"{n} {numbers[n]:.1f}" for n in names if not low <= numbers[n] <= high]


def latest(done: dict[str, dict]) -> dict[str, dict]:
    """Returns the numbers that count, by cell: those with more studies, where there are any."""
    return {
        key: done.get(f"{key} {REPEATED}", numbers)
        for key, numbers in done.items()
        if not key.endswith(REPEATED)
    }


def misses(done: dict[str, dict]) -> tuple[list[str], list[str]]:
    """Returns the cells beyond the bounds, and those that were only so by chance, with few."""
    found, chance = [], []
    for key, numbers in latest(done).items():
        first, out = beyond(key, done[key]), beyond(key, numbers)
        line = f"{key}: {', '.join(out or first)}"
        if out:
            found.append(f"{line} ({numbers['studies']:.0f} studies)")
        elif first:
            chance.append(f"{line} of {done[key]['studies']:.0f}")
    return found, chance


def page(done: dict[str, dict]) -> str:
    """Returns the page of all cells."""
    rows: dict[tuple[str, ...], dict] = {}
    for key, numbers in latest(done).items():
        part, kind, icc, layout = key.split(maxsplit=3)
        for name in set(numbers) - {"studies", "seconds"}:
            rows.setdefault((part, name, kind, icc), {})[layout] = numbers[name]
    text = [HEAD]
    for part in PARTS:
        known = {key[1:]: cells for key, cells in rows.items() if key[0] == part}
        if not known:
            continue
        text.append(f"\n## {part}\n\n{PARTS[part].__doc__.splitlines()[0]}\n")
        layouts = [name for name in LAYOUTS if any(name in cells for cells in known.values())]
        text.append("| what | similarities | ICC | " + " | ".join(layouts) + " |")
        text.append("| --- " * (3 + len(layouts)) + "|")
        for (name, kind, icc), found in sorted(known.items()):
            digits = 2 if name == "width" else 1
            shown = [f"{found[n]:.{digits}f}" if n in found else "" for n in layouts]
            text.append(f"| {name} | {kind} | {icc} | " + " | ".join(shown) + " |")
    count = len(latest(done))
    missed, chance = misses(done)
    text.append(f"\n## Cells beyond the bounds: {len(missed)} of {count}\n")
    text += [f"- {line}" for line in missed]
    text.append(f"\nWithin them once made again with {AGAIN} times the studies: {len(chance)}\n")
    text += [f"- {line}" for line in chance]
    lacking: dict[str, list[str]] = {}
    for part, kind, icc, layout in cells():
        if f"{part} {kind} {icc} {layout}" not in done:
            lacking.setdefault(f"{part} {kind} {icc}", []).append(layout)
    text.append(f"\n## Cells not run: {sum(map(len, lacking.values()))}\n")
    text += [f"- {key}: {', '.join(layouts)}" for key, layouts in lacking.items()]
    seconds = sum(numbers["seconds"] for numbers in done.values())
    text.append(f"\nCells run: {count} of {len(cells())}; {seconds / 60:.0f} minutes of one core.")
    return "\n".join(text) + "\n"


HEAD = """# Consistency with families of models: truth, measured

Made by `python benchmarks/consistency.py families`; its docstrings say how zoos are made. Percent
of studies; a share of 95 % has a standard error of 0.9 with 600 studies, one of 5 % of 0.7 with
1,000 and of 0.9 with 600. `between`: over pairs of models of different families. Bounds: coverage
93 to 98, shares of p and of differences 3.5 to 6.5.

Intervals are t with F - 1 degrees of freedom on the jackknife over families, equally far from z
on both sides: the shape of a bootstrap of families brings coverage on the whole no nearer to 95
(`shapes`), and takes most of the time. Percentiles of that bootstrap are too narrow. The truth of
a cell is the correlation over many zoos. Relabelling by family is exact where families are
exchangeable. Widths are of Fisher's z. Where a cell beyond the bounds was made again, with four
times the studies and other draws, the tables show these numbers alone; the list says of how many
studies it is. By chance 1 % of right cells of coverage are beyond the bounds, of p 3 % with 1,000
studies and 10 % with 600, of joint coverage 10 % with 200.

Speed: 64 models in 8 families x 24 datasets, groups of 3 columns, Pearson and Spearman, 10 splits
of the stimuli, 1,000 relabellings: 7.6 s of one core and 0.22 GB for a metric, with joint
intervals and columns between families; in 32 families 9.1 s. Without both and without families
the version before took 9.5 s and 0.3 GB on the same machine."""
