"""The consistency of one model set over all dataset pairs of a study."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from consilience.consistency.stimuli import (
    Stimuli,
    half_values,
    joint_variance,
    reliabilities,
    stimulus_part,
)
from consilience.pairs.correlations import Block, Floats, blocks_of
from consilience.pairs.draws import Draws
from consilience.pairs.inference import (
    Estimate,
    PairSet,
    estimate,
    interval,
    mantel,
    mantel_incomplete,
)
from consilience.pairs.matrix import Similarity
from consilience.pairs.relate import LEAST, NO_SPREAD, check_settings, too_few, varies
from consilience.pairs.sets import ANCHOR, ModelSet, pair_positions, pair_values


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

    @property
    def names(self) -> list[str]:
        """The datasets."""
        return list(self.similarities)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The dataset pairs."""
        return list(combinations(self.names, 2))


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

    @classmethod
    def empty(cls, q: int, b: int, m: int, s: int, p: int) -> "Sheet":
        """Returns a sheet without a number."""
        single = [np.full(q, np.nan) for _ in range(11)]
        tables = [np.full(shape, np.nan) for shape in ((q, b), (q, m), (s, q))]
        return cls(*single, *tables, np.zeros(p))


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

    def forget_draws(self) -> None:
        """Frees the resampled values."""
        for sheet in self.sheets.values():
            sheet.drawn = sheet.drawn[:, :0].copy()


@dataclass(frozen=True)
class _Alike:
    """Dataset pairs that have the same models and the same pairs of them."""

    rows: np.ndarray
    """(q,) which dataset pairs."""
    models: np.ndarray
    """(m,) positions of the models in the set."""
    members: tuple[tuple[str, ...], ...]
    pairs: np.ndarray
    """(p,) positions of the complete pairs in the set."""
    n_all: int
    """Number of pairs of the models, failed ones too."""


def measure_set(data: Data, chosen: ModelSet, settings: Settings, draws: Draws) -> SetResult:
    """Measures one model set on every dataset pair.

    Dataset pairs that have the same models and pairs are measured together.
    """
    values = pair_values(list(data.similarities.values()), chosen)
    halves = half_values(data.halves, data.names, chosen) if data.halves else None
    ends = _ends_of_pairs(len(data.names))
    q, m, p = ends.shape[1], sum(map(len, chosen.members)), values.shape[1]
    s = 0 if halves is None else len(halves)
    sheets = {name: Sheet.empty(q, settings.bootstrap, m, s, p) for name in settings.methods}
    result = SetResult(
        chosen,
        np.zeros(q, int),
        np.zeros(q, int),
        *np.full((2, q), np.nan),
        [""] * q,
        {name: [""] * q for name in settings.methods},
        sheets,
    )
    for alike in _alike(data, chosen, values, ends):
        _measure_alike(alike, values, halves, (data.names, ends), settings, draws, result)
    return result


def _ends_of_pairs(datasets: int) -> np.ndarray:
    return np.array(list(combinations(range(datasets), 2)), dtype=np.intp).reshape(-1, 2).T


def _alike(data: Data, chosen: ModelSet, values: Floats, ends: np.ndarray) -> Iterator[_Alike]:
    """Yields the dataset pairs that go together."""
    models = [model for side in chosen.members for model in side]
    sizes = tuple(map(len, chosen.members))
    first, second = pair_positions(sizes)
    here = np.array([np.isin(models, s.models) for s in data.similarities.values()], dtype=bool)
    finite = np.isfinite(values)
    common = here[ends[0]] & here[ends[1]]
    complete = finite[ends[0]] & finite[ends[1]]
    keys: dict[bytes, list[int]] = {}
    for row, (a, b) in enumerate(zip(common, complete, strict=True)):
        keys.setdefault(a.tobytes() + b.tobytes(), []).append(row)
    for rows in keys.values():
        kept = common[rows[0]]
        members = tuple(tuple(models[k] for k in side if kept[k]) for side in blocks_of(sizes))
        n_all = int((kept[first] & kept[second]).sum())
        pairs = np.flatnonzero(complete[rows[0]])
        yield _Alike(np.array(rows), np.flatnonzero(kept), members, pairs, n_all)


def _measure_alike(
    alike: _Alike,
    values: Floats,
    halves: Floats | None,
    datasets: tuple[list[str], np.ndarray],
    settings: Settings,
    draws: Draws,
    result: SetResult,
) -> None:
    names, ends = datasets
    chosen = values[:, alike.pairs]
    result.n_pairs[alike.rows] = len(alike.pairs)
    result.n_models[alike.rows] = len(alike.models)
    differ = np.array([varies(row) for row in chosen])
    first, second = _positions(alike, result.chosen)
    sizes = tuple(map(len, alike.members))
    obstacle = too_few(first, second, sizes, settings.min_models, result.chosen.grouping == ANCHOR)
    failed = alike.n_all - len(alike.pairs)
    measured = []
    for row in alike.rows:
        flat = [names[d] for d in ends[:, row] if not differ[d]]
        equal = f"all {len(alike.pairs)} values of {flat[0]} are equal" if flat else ""
        said = f"ok; {failed} failed pairs left out" if failed else "ok"
        result.status[row] = obstacle or equal or said
        if not (obstacle or equal):
            measured.append(row)
    if not measured:
        return
    rows = np.array(measured)
    used, local = np.unique(ends[:, rows], return_inverse=True)
    left, right = local.reshape(2, -1)
    block = Block(chosen[used], first, second, sizes, left, right)
    spread = block.values.std(axis=1, ddof=1)
    result.sd_x[rows], result.sd_y[rows] = spread[left], spread[right]
    counts = draws.counts(alike.members)
    on_halves = None if halves is None else halves[:, :, used][..., alike.pairs]
    for method in settings.methods:
        sheet = result.sheets[method]
        found = estimate(block, method, counts)
        _note(sheet, found, rows, alike)
        if settings.bootstrap:
            low, high = interval(found.z, found.drawn, found.variance, found.freedom)
            sheet.low[rows], sheet.high[rows] = np.tanh(low), np.tanh(high)
            for row in rows[np.isnan(low)]:
                result.notes[method][row] = f"; {NO_SPREAD}"
        if on_halves is not None:
            _note_stimuli(sheet, found, stimulus_part(block, on_halves, method), rows, settings)
            reliability = reliabilities(on_halves, method)
            sheet.reliability_x[rows] = reliability[left]
            sheet.reliability_y[rows] = reliability[right]
    if settings.permutations:
        _test(alike, block, failed, values, (rows, ends), draws, result)


def _positions(alike: _Alike, chosen: ModelSet) -> tuple[np.ndarray, np.ndarray]:
    """Returns the models of every complete pair, numbered among those that count."""
    everywhere = pair_positions(tuple(map(len, chosen.members)))
    first, second = (np.searchsorted(alike.models, side[alike.pairs]) for side in everywhere)
    return first, second


def _note(sheet: Sheet, found: Estimate, rows: np.ndarray, alike: _Alike) -> None:
    sheet.value[rows], sheet.z[rows] = found.value, found.z
    sheet.variance[rows], sheet.freedom[rows] = found.variance, found.freedom
    sheet.drawn[rows] = found.drawn
    sheet.left_out[np.ix_(rows, alike.models)] = found.left_out
    scale = len(sheet.influence) / len(alike.pairs)
    sheet.influence[alike.pairs] += scale * found.influence.sum(axis=0)


def _note_stimuli(
    sheet: Sheet, found: Estimate, stimuli: Stimuli, rows: np.ndarray, settings: Settings
) -> None:
    sheet.change[:, rows] = stimuli.change
    if settings.bootstrap:
        total = joint_variance(
            found.variance, found.freedom, stimuli.variance, stimuli.shared, stimuli.splits
        )
        low, high = interval(found.z, found.drawn, *total)
        sheet.low_joint[rows], sheet.high_joint[rows] = np.tanh(low), np.tanh(high)


def _test(
    alike: _Alike,
    block: Block,
    failed: int,
    values: Floats,
    where: tuple[np.ndarray, np.ndarray],
    draws: Draws,
    result: SetResult,
) -> None:
    """Notes the p-values; where pairs failed, a relabelling may meet them on either side."""
    rows, ends = where
    labels = draws.labels(alike.members)
    if not failed:
        for method, sheet in result.sheets.items():
            sheet.p[rows] = mantel(block, method, labels)
        return
    everywhere = pair_positions(tuple(map(len, result.chosen.members)))
    inside = np.isin(everywhere[0], alike.models) & np.isin(everywhere[1], alike.models)
    first, second = (np.searchsorted(alike.models, side[inside]) for side in everywhere)
    for row in rows:
        x, y = values[ends[0, row], inside], values[ends[1, row], inside]
        pairs = PairSet(x, y, first, second, block.sizes)
        for method, sheet in result.sheets.items():
            sheet.p[row] = mantel_incomplete(pairs, method, labels)
