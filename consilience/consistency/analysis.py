"""The consistency of one model set over all dataset pairs of a study."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from consilience.consistency.clustering import note_clustering
from consilience.consistency.sheets import Data, Families, SetResult, Settings, Sheet
from consilience.consistency.stimuli import (
    Stimuli,
    half_values,
    joint_variance,
    reliabilities,
    stimulus_part,
)
from consilience.pairs.correlations import Block, Floats, blocks_of
from consilience.pairs.draws import Draws
from consilience.pairs.families import (
    Units,
    between_families,
    estimate_between,
    estimate_set,
    nobody,
    units_of,
)
from consilience.pairs.inference import Estimate, PairSet, interval, mantel, mantel_incomplete
from consilience.pairs.relate import LEAST_PAIRS, NO_SPREAD, further, too_few, varies
from consilience.pairs.remarks import outliers
from consilience.pairs.sets import ANCHOR, ModelSet, pair_positions, pair_values


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
    families = Families.of(chosen, data.clusters)
    b = 0 if data.clusters else settings.bootstrap
    q, m, p = ends.shape[1], sum(map(len, chosen.members)), values.shape[1]
    shape = q, b, m, 0 if halves is None else len(halves), p, len(families.names)
    result = SetResult(
        chosen,
        np.zeros(q, int),
        np.zeros(q, int),
        *np.full((2, q), np.nan),
        [""] * q,
        {name: [""] * q for name in settings.methods},
        {name: Sheet.empty(*shape) for name in settings.methods},
        families,
        np.zeros(q, int),
        *np.full((2, q), np.nan),
    )
    for alike in _alike(data, chosen, values, ends):
        _measure_alike(alike, values, halves, (data, ends), settings, draws, result)
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
    datasets: tuple[Data, np.ndarray],
    settings: Settings,
    draws: Draws,
    result: SetResult,
) -> None:
    data, ends = datasets
    chosen = values[:, alike.pairs]
    result.n_pairs[alike.rows] = len(alike.pairs)
    result.n_models[alike.rows] = len(alike.models)
    first, second = _positions(alike, result.chosen)
    sizes = tuple(map(len, alike.members))
    codes = result.families.codes
    families = None if codes is None else codes[alike.models]
    cells = further(sizes, families, data.clusters, settings.permutations)
    result.n_families[alike.rows] = cells["n_families"]
    result.arrangements[alike.rows] = cells["arrangements"]
    obstacle = too_few(first, second, sizes, settings.min_models, result.chosen.grouping == ANCHOR)
    rows = _measured(alike, chosen, obstacle, (data.names, ends), result)
    if not len(rows):
        return
    used, local = np.unique(ends[:, rows], return_inverse=True)
    left, right = local.reshape(2, -1)
    block = Block(chosen[used], first, second, sizes, left, right, families)
    spread = block.values.std(axis=1, ddof=1)
    result.sd_x[rows], result.sd_y[rows] = spread[left], spread[right]
    counts = draws.counts(alike.members)
    units, place = _units(alike, result)
    on_halves = None if halves is None else halves[:, :, used][..., alike.pairs]
    for method in settings.methods:
        sheet = result.sheets[method]
        found = estimate_set(block, method, counts)
        _note(sheet, found, rows, alike, place)
        if settings.bootstrap:
            names = [result.families.names[k] for k in place]
            _note_interval(sheet, found, rows, alike, (units, names), result.notes[method])
        if on_halves is not None:
            _note_stimuli(sheet, found, stimulus_part(block, on_halves, method), rows, settings)
            reliability = reliabilities(on_halves, method)
            sheet.reliability_x[rows] = reliability[left]
            sheet.reliability_y[rows] = reliability[right]
        if data.others and method == settings.methods[0]:
            models = [model for side in alike.members for model in side]
            note_clustering(result.clustering, block, method, found, models, data.others)
    if families is not None:
        _note_between(block, place, rows, settings, result)
    if settings.permutations:
        _test(alike, block, values, (rows, ends), draws, result)


def _measured(
    alike: _Alike,
    chosen: Floats,
    obstacle: str,
    datasets: tuple[list[str], np.ndarray],
    result: SetResult,
) -> np.ndarray:
    """Notes the status of every dataset pair; returns those that can be measured."""
    names, ends = datasets
    differ = np.array([varies(row) for row in chosen])
    failed, measured = alike.n_all - len(alike.pairs), []
    for row in alike.rows:
        flat = [names[d] for d in ends[:, row] if not differ[d]]
        equal = f"all {len(alike.pairs)} values of {flat[0]} are equal" if flat else ""
        said = f"ok; {failed} failed pairs left out" if failed else "ok"
        result.status[row] = obstacle or equal or said
        if not (obstacle or equal):
            measured.append(row)
    return np.array(measured, dtype=int)


def _positions(alike: _Alike, chosen: ModelSet) -> tuple[np.ndarray, np.ndarray]:
    """Returns the models of every complete pair, numbered among those that count."""
    everywhere = pair_positions(tuple(map(len, chosen.members)))
    first, second = (np.searchsorted(alike.models, side[alike.pairs]) for side in everywhere)
    return first, second


def _note(
    sheet: Sheet, found: Estimate, rows: np.ndarray, alike: _Alike, place: Sequence[int]
) -> None:
    """Notes all but intervals; `place` is where the families are among those of the set."""
    sheet.value[rows], sheet.z[rows] = found.value, found.z
    sheet.variance[rows], sheet.freedom[rows] = found.variance, found.freedom
    sheet.left_out[np.ix_(rows, alike.models)] = found.left_out
    if place:
        sheet.by_family[np.ix_(rows, place)] = found.by_family
    else:
        sheet.drawn[rows] = found.drawn
        scale = len(sheet.influence) / len(alike.pairs)
        sheet.influence[alike.pairs] += scale * found.influence.sum(axis=0)


def _units(alike: _Alike, result: SetResult) -> tuple[Units, list[int]]:
    """Returns what is left out of these models, and where it is among that of the whole set."""
    codes, whole = result.families.codes, result.families.units
    if codes is None:
        return nobody(), []
    units = units_of(codes[alike.models], tuple(map(len, alike.members)))
    known = {pair: k for k, pair in enumerate(zip(whole.side, whole.family, strict=True))}
    return units, [known[pair] for pair in zip(units.side, units.family, strict=True)]


def _note_interval(
    sheet: Sheet,
    found: Estimate,
    rows: np.ndarray,
    alike: _Alike,
    families: tuple[Units, list[str]],
    notes: list[str],
) -> None:
    """Notes intervals, why there is none, and who drives a value."""
    low, high = interval(found.z, found.drawn, found.variance, found.freedom)
    sheet.low[rows], sheet.high[rows] = np.tanh(low), np.tanh(high)
    few = families[0].few if families[1] else ""
    for row in rows[np.isnan(low)]:
        notes[row] = f"; {few or NO_SPREAD}"
    models = [model for side in alike.members for model in side]
    who = outliers(found, models, tuple(map(len, alike.members)), families)
    for row, outlier in zip(rows, who, strict=True):
        sheet.outliers[row] = outlier


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


def _note_between(
    block: Block, place: Sequence[int], rows: np.ndarray, settings: Settings, result: SetResult
) -> None:
    """Notes what is known over pairs of models of different families."""
    part = between_families(block)
    result.n_pairs_between[rows] = len(part.first)
    if len(part.first) < LEAST_PAIRS:
        return
    for method, sheet in result.sheets.items():
        found, between = estimate_between(part, method), sheet.between
        between.value[rows], between.z[rows] = found.value, found.z
        between.variance[rows], between.freedom[rows] = found.variance, found.freedom
        between.by_family[np.ix_(rows, place)] = found.by_family
        if settings.bootstrap:
            low, high = interval(found.z, found.drawn, found.variance, found.freedom)
            between.low[rows], between.high[rows] = np.tanh(low), np.tanh(high)


def _test(
    alike: _Alike,
    block: Block,
    values: Floats,
    where: tuple[np.ndarray, np.ndarray],
    draws: Draws,
    result: SetResult,
) -> None:
    """Notes the p-values; where pairs failed, a relabelling may meet them on either side."""
    rows, ends = where
    labels = draws.labels(alike.members)
    wanted = [(block, lambda sheet: sheet)]
    if block.families is not None and len(between_families(block).first) >= LEAST_PAIRS:
        wanted.append((between_families(block), lambda sheet: sheet.between))
    everywhere = pair_positions(tuple(map(len, result.chosen.members)))
    inside = np.isin(everywhere[0], alike.models) & np.isin(everywhere[1], alike.models)
    first, second = (np.searchsorted(alike.models, side[inside]) for side in everywhere)
    for part, place in wanted:
        keep = np.ones(len(first), dtype=bool)
        if part is not block:
            keep = block.families[first] != block.families[second]
        for method, sheet in result.sheets.items():
            if keep.sum() == len(part.first):
                place(sheet).p[rows] = mantel(part, method, labels)
                continue
            for row in rows:
                x, y = (values[ends[side, row], inside][keep] for side in (0, 1))
                pairs = PairSet(x, y, first[keep], second[keep], block.sizes)
                place(sheet).p[row] = mantel_incomplete(pairs, method, labels)
    for sheet in result.sheets.values():
        sheet.between.p[np.isnan(sheet.between.value)] = np.nan
