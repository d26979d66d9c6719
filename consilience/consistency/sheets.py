"""What is measured, and the numbers of one model set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from consilience.pairs.correlations import Floats, Ints
from consilience.pairs.families import Clusters, Units, nobody, units_of
from consilience.pairs.matrix import Similarity
from consilience.pairs.relate import LEAST, check_settings
from consilience.pairs.remarks import Outlier
from consilience.pairs.sets import ModelSet


@dataclass(frozen=True)
class Settings:
    """How consistency is measured."""

    methods: tuple[str, ...]
    bootstrap: int
    permutations: int
    seed: int
    min_models: int

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in LEAST}
        check_settings("consistency", self.methods, **counts)


@dataclass(frozen=True)
class Data:
    """The similarities of one metric on all datasets."""

    metric: str
    similarities: Mapping[str, Similarity]
    """By dataset, in alphabetical order."""
    halves: Mapping[str, Sequence[tuple[Similarity, Similarity]]] = field(default_factory=dict)
    """By dataset, similarities on both halves of the stimuli of every split."""
    clusters: Clusters = field(default_factory=Clusters)
    """Which models are of one family."""
    others: Sequence[Clusters] = ()
    """By which other columns models may cluster, for a warning."""

    @property
    def names(self) -> list[str]:
        """The datasets."""
        return list(self.similarities)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The dataset pairs."""
        return list(combinations(self.names, 2))


@dataclass
class Between:
    """What is known over pairs of models of different families: one entry per dataset pair."""

    value: Floats
    low: Floats
    high: Floats
    p: Floats
    z: Floats
    variance: Floats
    freedom: Floats
    by_family: Floats
    """(q, k) z without each family of the set."""

    @classmethod
    def empty(cls, q: int, k: int) -> "Between":
        """Returns one without a number."""
        return cls(*(np.full(q, np.nan) for _ in range(7)), np.full((q, k), np.nan))


@dataclass
class Sheet:
    """The numbers of one model set by one method: one entry per dataset pair, NaN for none."""

    value: Floats
    low: Floats
    high: Floats
    p: Floats
    low_joint: Floats
    high_joint: Floats
    reliability_x: Floats
    reliability_y: Floats
    z: Floats
    variance: Floats
    freedom: Floats
    drawn: Floats
    """(q, b) z of resampled models."""
    left_out: Floats
    """(q, m) z without each model of the set."""
    change: Floats
    """(s, q) z on one half of the stimuli less that on the other."""
    influence: Floats
    """(p,) sum over the dataset pairs of the derivatives of P z by each pair's weight."""
    by_family: Floats
    """(q, k) z without each family of the set."""
    between: Between
    outliers: list[Outlier]

    @classmethod
    def empty(cls, q: int, b: int, m: int, s: int, p: int, k: int) -> "Sheet":
        """Returns a sheet without a number."""
        single = [np.full(q, np.nan) for _ in range(11)]
        tables = [np.full(shape, np.nan) for shape in ((q, b), (q, m), (s, q))]
        of_families = np.full((q, k), np.nan), Between.empty(q, k), [Outlier()] * q
        return cls(*single, *tables, np.zeros(p), *of_families)


@dataclass(frozen=True)
class Families:
    """The families of a model set.

    Attributes:
        codes: (m,) number of each model's family; None if models are the sample.
        units: what is left out in turn.
        names: (k,) what it is called.
    """

    codes: Ints | None
    units: Units
    names: tuple[str, ...]

    @classmethod
    def of(cls, chosen: ModelSet, clusters: Clusters) -> "Families":
        """Returns the families of a set."""
        models = [model for side in chosen.members for model in side]
        codes = clusters.codes(models)
        if codes is None:
            return cls(None, nobody(), ())
        units = units_of(codes, tuple(map(len, chosen.members)))
        names = np.unique(clusters.names(models)) if models else []
        return cls(codes, units, tuple(str(names[k]) for k in units.family))


@dataclass
class SetResult:
    """All numbers of one model set; one entry per dataset pair."""

    chosen: ModelSet
    n_pairs: np.ndarray
    n_models: np.ndarray
    sd_x: Floats
    sd_y: Floats
    status: list[str]
    notes: dict[str, list[str]]
    """By method, what is added to the status."""
    sheets: dict[str, Sheet]
    families: Families
    n_families: np.ndarray
    n_pairs_between: Floats
    arrangements: Floats
    clustering: dict[str, Floats] = field(default_factory=dict)
    """By column, sums over the dataset pairs (see `clustering.note_clustering`)."""

    def forget_draws(self) -> None:
        """Frees the resampled values."""
        for sheet in self.sheets.values():
            sheet.drawn = sheet.drawn[:, :0].copy()
