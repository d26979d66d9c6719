"""What a study can show: how often planted studies of a size find a difference, or a consistency.

Studies are made up with a known truth and go through the estimators of the tables. Shares are kept
in the user's cache, and found again as long as the code that makes them is the same.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np

from consilience.code import code_of
from consilience.consistency.analysis import measure_set
from consilience.consistency.differences import shrinkage
from consilience.consistency.sheets import Data, Settings
from consilience.consistency.tables import Mean
from consilience.errors import ConfigError, DataError, StorageError
from consilience.files import cache_folder, derive_seed, digest
from consilience.notes import keep, kept
from consilience.pairs.correlations import Floats, Ints
from consilience.pairs.draws import Draws
from consilience.pairs.families import MIN_FAMILIES, Clusters
from consilience.pairs.inference import LEVEL
from consilience.pairs.matrix import Similarity
from consilience.pairs.relate import MIN_MODELS
from consilience.pairs.sets import ALL, ModelSet

STUDIES = 200
"""Planted studies of each group."""
RESAMPLES = 200
SHARE = 0.9
"""Share of the variance of similarities that is the models', not single pairs'."""
LARGEST = 128
"""Most models of a planted study: more take minutes."""
QUESTIONS = {
    "difference": "a difference between two groups of models is told from none",
    "consistency": "a consistency is told from none",
    "half_width": "an interval reaches at most so far to each side of a consistency",
}


@dataclass(frozen=True)
class Design:
    """A planted study.

    Attributes:
        models: how many, in all.
        families: how many, in all, of sizes as equal as can be; as many as there are models where
            no two of them are of one family.
        datasets: how many.
        icc: share of the models' variance that is their family's.
        consistency: of every two datasets; between two groups, the mean of both groups.
    """

    models: int
    families: int
    datasets: int = 6
    icc: float = 0.6
    consistency: float = 0.6

    @property
    def single(self) -> bool:
        """Whether no two models are of one family."""
        return self.families == self.models

    def groups(self) -> tuple["Design", "Design"]:
        """Returns both groups, as halves of the models and of the families."""
        m, f = self.models // 2, self.families // 2
        larger = replace(self, models=self.models - m, families=self.families - f)
        return larger, replace(self, models=m, families=f)


class Share(NamedTuple):
    """A share of studies, and its standard error: what simulating so few of them leaves open."""

    value: float
    error: float


@dataclass(frozen=True)
class Planted:
    """What planted studies give of the mean over all pairs of datasets, on Fisher's scale."""

    z: Floats
    """(n,) what the interval is centred at."""
    variance: Floats
    freedom: Floats
    low: Floats
    """(n,) lower ends of the intervals, as correlations."""
    high: Floats


def check(question: str, size: float, design: Design) -> None:
    """Raises ConfigError where no study of this design can answer, with the reason.

    Args:
        question: one of `QUESTIONS`.
        size: of the difference, the consistency, or half the width of the interval.
        design: of the study.
    """
    m, f = design.models, design.families
    if not 1 <= f <= m:
        raise ConfigError(f"power: {f} families of {m} models: between 1 and {m} are possible")
    if design.datasets < 2:
        raise ConfigError(f"power: {_count(design.datasets, 'dataset')}: at least 2 are needed")
    if m > LARGEST:
        raise ConfigError(f"power: {m} models: studies of up to {LARGEST} are simulated")
    if not 0 <= design.icc <= 1:
        raise ConfigError(f"power: an ICC of {design.icc:g}: it is a share, between 0 and 1")
    between = question == "difference"
    smaller = design.groups()[1] if between else design
    each = " in each of two groups" if between else ""
    if smaller.models < MIN_MODELS:
        found = f"{m} models" if m != 1 else "1 model"
        raise ConfigError(
            f"power: {found}: an interval takes at least {MIN_MODELS}{each}, so "
            f"{MIN_MODELS * (1 + between)} in all"
        )
    if smaller.families < MIN_FAMILIES:
        raise ConfigError(
            f"power: {_count(f, 'family')}: an interval takes at least {MIN_FAMILIES}{each}, so "
            f"{MIN_FAMILIES * (1 + between)} in all"
        )
    _check_size(question, size, design.consistency)


def _check_size(question: str, size: float, middle: float) -> None:
    if question == "difference":
        if not 0 <= size <= 2:
            raise ConfigError(f"power: a difference of {size:g}: two correlations differ by 0 to 2")
        ends = [middle - size / 2, middle + size / 2]
        if ends[0] < 0 or ends[1] >= 1:
            raise ConfigError(
                f"power: a difference of {size:g} around {middle:g} is one of {ends[0]:g} and "
                f"{ends[1]:g}; studies are planted with consistencies from 0 to below 1: choose "
                "another --around, or a smaller difference"
            )
        return
    if not 0 <= size < 1 or not 0 <= middle < 1:
        name = "half of a width" if question == "half_width" else "a consistency"
        raise ConfigError(
            f"power: {name} of {size:g} around {middle:g}: both are from 0 to below 1"
        )


def _count(number: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number} {noun if number == 1 else plural}"


def planted_study(design: Design, generator: np.random.Generator) -> tuple[Floats, Ints]:
    """Returns (d, m, m) similarities on each dataset, and (m,) the family of each model.

    s_d(i, j) = sqrt(SHARE / 2) (a_di + a_dj) + sqrt(1 - SHARE) e_dij with a_di = sqrt(ICC)
    f_d(family of i) + sqrt(1 - ICC) o_di. Every f, o and e is normal with variance 1, and
    correlates by `consistency` between any two datasets; so do all similarities.

    Args:
        design: of one group of models.
        generator: for the draws. Studies that differ in consistency alone take the same ones.
    """
    families = np.arange(design.models) * design.families // design.models
    i, j = np.triu_indices(design.models, 1)
    rho = design.consistency

    def effects(n: int) -> Floats:
        common, own = generator.normal(size=n), generator.normal(size=(design.datasets, n))
        return math.sqrt(rho) * common + math.sqrt(1 - rho) * own

    a = math.sqrt(design.icc) * effects(design.families)[:, families]
    a = a + math.sqrt(1 - design.icc) * effects(design.models)
    values = math.sqrt(SHARE / 2) * (a[:, i] + a[:, j]) + math.sqrt(1 - SHARE) * effects(len(i))
    square = np.full((design.datasets, design.models, design.models), np.nan)
    square[:, i, j] = square[:, j, i] = values
    return square, families


@cache
def plant(design: Design, side: int, studies: int, seed: int) -> Planted:
    """Returns what the estimators of the tables give for planted studies of one group of models.

    Args:
        design: of the group.
        side: which of two groups: these are independent.
        studies: how many.
        seed: of the draws.
    """
    names = tuple(f"m{side}_{k:03d}" for k in range(design.models))
    chosen = ModelSet(ALL, ALL, ALL, (names,))
    settings = Settings(("pearson",), RESAMPLES, 0, seed, MIN_MODELS)
    sizes = design.models, design.families, design.datasets
    seed = derive_seed(seed, "power", *map(str, (*sizes, side)))
    generator, rows = np.random.default_rng(seed), []
    for number in range(studies):
        values, families = planted_study(design, generator)
        clusters = Clusters()
        if not design.single:
            known = zip(names, map(str, families), strict=True)
            clusters = Clusters("family", dict(known))
        similarities = {f"d{k}": Similarity(names, row) for k, row in enumerate(values)}
        data = Data("planted", similarities, clusters=clusters)
        result = measure_set(data, chosen, settings, Draws(number, RESAMPLES, 0, clusters))
        mean = Mean(result, result.sheets["pearson"])
        drawn = mean.drawn[np.isfinite(mean.drawn)]
        centre = 2 * mean.z - drawn.mean() if len(drawn) else mean.z
        rows.append([centre, mean.variance[0], mean.freedom[0], *mean.ends()])
    return Planted(*np.array(rows).T)


def simulate(
    question: str, size: float, design: Design, *, studies: int = STUDIES, seed: int = 0
) -> Share:
    """Returns the share of planted studies that find what is asked for.

    A difference: those whose interval of the difference of both means (over all pairs of datasets,
    of Fisher's z) leaves out 0 on the right side, or on any if there is none. All studies of one
    group meet all of the other. A consistency: those whose interval leaves out 0 likewise. Half of
    a width: those whose interval is no wider than twice that.

    Args:
        question: one of `QUESTIONS`.
        size: see there.
        design: of the study.
        studies: how many are planted.
        seed: of the draws.

    Raises:
        ConfigError: no study of this design can answer.
    """
    check(question, size, design)
    if question == "difference":
        low, high = _differences(design, size, studies, seed)
        found = (low > 0) | ((high < 0) & (size == 0))
        sides = [found.mean(axis=k) for k in (0, 1)]
        error = math.sqrt(sum(side.var(ddof=1) / studies for side in sides))
        return Share(float(found.mean()), max(error, 0.5 / studies))
    if question == "consistency":
        group = plant(replace(design, consistency=size), 0, studies, seed)
        found = (group.low > 0) | ((group.high < 0) & (size == 0))
    else:
        group = plant(design, 0, studies, seed)
        found = group.high - group.low <= 2 * size
    value = float(found.mean())
    error = math.sqrt(value * (1 - value) / studies)
    return Share(value, max(error, 0.5 / studies))


def _differences(design: Design, size: float, studies: int, seed: int) -> tuple[Floats, Floats]:
    """Returns (n, n) ends of the intervals of differences, as the table of differences has them."""
    from scipy.special import stdtrit  # noqa: PLC0415 - slow to import, and plans need none of it

    groups = design.groups()
    a, b = (
        plant(replace(group, consistency=design.consistency + sign * size / 2), k, studies, seed)
        for k, (group, sign) in enumerate(zip(groups, (1, -1), strict=True))
    )
    first, second = a.variance[:, None], b.variance[None]
    each = first**2 / a.freedom[:, None] + second**2 / b.freedom[None]
    freedom = (first + second) ** 2 / each
    kept = 1.0 if design.single else shrinkage(groups[0].families, groups[1].families)
    half = np.sqrt((first + second) * kept) * stdtrit(freedom, (1 + LEVEL) / 2)
    centre = a.z[:, None] - b.z[None]
    return centre - half, centre + half


def answer(question: str, size: float, design: Design) -> Share:
    """Returns what `simulate` gives, from the user's cache if it is there.

    Args:
        question: one of `QUESTIONS`.
        size: see there.
        design: of the study.

    Raises:
        ConfigError: no study of this design can answer.
    """
    check(question, size, design)
    key = digest([code_of(__name__), STUDIES, question, float(size), asdict(design)])
    path = cache_folder() / "power" / f"{key}.json"
    if (known := kept(path, key)) is not None:
        return Share(*known)
    found = simulate(question, size, design, studies=STUDIES)
    with suppress(StorageError, DataError, ValueError):  # a cache that is not written costs time
        keep(path, key, found)
    return found


def enough(
    question: str, size: float, design: Design, power: float
) -> Iterator[tuple[Design, Share]]:
    """Yields designs with ever more models, families of the same size, until one has the power.

    Args:
        question: one of `QUESTIONS`.
        size: see there.
        design: the first that is tried; the others have 2, 4, … times its models and families.
        power: share of studies that are to find it.
    """
    while design.models <= LARGEST:
        found = answer(question, size, design)
        yield design, found
        if found.value >= power:
            return
        design = replace(design, models=2 * design.models, families=2 * design.families)


def least(question: str, design: Design, power: float) -> float:
    """Returns the least size, in steps of 0.05, that this share of studies finds; NaN for none.

    Args:
        question: `difference` or `consistency`.
        design: of the study.
        power: share of studies that are to find it.
    """
    middle = design.consistency
    most = 2 * min(middle, 1 - middle) - 0.01 if question == "difference" else 0.99
    sizes = [round(0.05 * k, 2) for k in range(1, 20) if 0.05 * k <= most]
    low, high = 0, len(sizes)
    while low < high:
        half = (low + high) // 2
        if answer(question, sizes[half], design).value >= power:
            high = half
        else:
            low = half + 1
    return sizes[low] if low < len(sizes) else math.nan
