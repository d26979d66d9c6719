"""Differences of consistency between groups of models, sure of all of them at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from consilience.consistency.drivers import (
    LeftOut,
    clustered,
    outliers_of,
    reasons,
    statuses,
)
from consilience.consistency.sheets import Data, SetResult, Settings
from consilience.consistency.tables import Mean, range_matched
from consilience.files import derive_seed
from consilience.pairs.correlations import Floats
from consilience.pairs.families import Clusters
from consilience.pairs.inference import LEVEL
from consilience.pairs.remarks import Outlier
from consilience.pairs.sets import ALL, ANCHOR, ModelSet

COLUMNS = {
    "metric": "str",
    "dataset_x": "str",
    "dataset_y": "str",
    "grouping": "str",
    "group_x": "str",
    "group_y": "str",
    "method": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "low_simultaneous": "float64",
    "high_simultaneous": "float64",
    "value_x": "float64",
    "value_y": "float64",
    "matched_x": "float64",
    "matched_y": "float64",
    "clusters": "str",
    "value_between": "float64",
    "low_between": "float64",
    "high_between": "float64",
    "low_between_simultaneous": "float64",
    "high_between_simultaneous": "float64",
    "outlier": "str",
    "value_without": "float64",
    "status": "str",
}
MEAN = "*"
"""In the columns of the datasets: the mean over all dataset pairs. No id has this character."""
SIMULATED = 4000
SIMULATED_ERRORS = 2000
"""Draws where errors are drawn too."""
MOST_FREEDOM = 12
"""Errors of more degrees of freedom are drawn with these."""


@dataclass(frozen=True)
class _Side:
    """What a difference takes of one group: one entry per dataset pair."""

    z: Floats
    variance: Floats
    freedom: Floats
    drawn: Floats
    units: LeftOut
    """Without each model or family: what is the sample."""
    known: np.ndarray
    """Whether there is a value over all pairs of models."""
    models: LeftOut
    """Without each model."""
    notes: Sequence[str]
    """Why there is no interval, or nothing."""


def is_compared(chosen: ModelSet) -> bool:
    """Returns whether a set takes part in differences: one group, or one named set."""
    return len(chosen.members) == 1 and chosen.grouping not in (ALL, ANCHOR)


def differences_table(data: Data, results: Sequence[SetResult], settings: Settings) -> pd.DataFrame:
    """Compares the consistency within every two groups of a grouping, and every two named sets.

    For groups A and B and each dataset pair, and for the mean over all dataset pairs (`*`): the
    difference of Fisher's z within A and within B. Both groups are resampled together, so models
    that they share move both; with families, these are left out of both together. `low, high` hold
    for one row; `low_simultaneous, high_simultaneous` for all rows of one grouping and method
    together (the dataset pairs, and apart from them the means): the largest deviation of all of
    them is within it in 95 % of the resamples. The columns `…_between` compare the consistency
    over pairs of models of different families. `outlier` is the model, or family, without which the
    difference moves by more than half the width of the interval that all others give.
    """
    within: dict[str, list[SetResult]] = {}
    for result in results:
        if is_compared(result.chosen):
            within.setdefault(result.chosen.grouping, []).append(result)
    parts = [
        part
        for grouping, members in within.items()
        for method in settings.methods
        for part in _family(data, results[0], members, (grouping, method), settings)
    ]
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)
    table = pd.concat(parts, ignore_index=True).reindex(columns=list(COLUMNS))
    return table.astype(COLUMNS)


def _family(
    data: Data,
    whole: SetResult,
    members: Sequence[SetResult],
    names: tuple[str, str],
    settings: Settings,
) -> Iterator[pd.DataFrame]:
    """Yields the differences of one grouping by one method: dataset pairs, then means."""
    grouping, method = names
    columns = sorted({name for result in members for name in result.families.names})
    columns = columns if settings.bootstrap else []  # no intervals are asked for
    generator = np.random.default_rng(
        derive_seed(settings.seed, "simultaneous", data.metric, grouping, method)
    )
    for datasets, side_of in (
        (data.pairs, _each_pair),
        ([(MEAN, MEAN)], _mean),
    ):
        sides = [side_of(result, method) for result in members]
        rows, scores = [], []
        for a, b in combinations(range(len(members)), 2):
            frame, deviations = _compare(sides[a], sides[b], columns)
            frame = frame.assign(
                dataset_x=[x for x, _ in datasets],
                dataset_y=[y for _, y in datasets],
                group_x=members[a].chosen.group_x,
                group_y=members[b].chosen.group_x,
            )
            if method == "pearson" and side_of is _each_pair:
                frame = _with_matched(frame, members[a], members[b], whole)
            pair = members[a], members[b]
            frame = _with_remarks(frame, (sides[a], sides[b]), pair, data.clusters, settings)
            known = frame["value"].notna().to_numpy()
            rows.append(frame[known])
            scores.append(deviations[known])
        if rows and sum(map(len, rows)):
            table = pd.concat(rows, ignore_index=True)
            table = _with_ends(table, np.concatenate(scores), generator, by_family=bool(columns))
            if columns:
                far = [side_of(result, method, between=True) for result in members]
                table = _with_between(table, far, columns, generator)
            yield table.assign(
                metric=data.metric,
                grouping=grouping,
                method=method,
                clusters=data.clusters.column,
                status=statuses(table, intervals=settings.bootstrap > 0),
            )


def _with_remarks(
    frame: pd.DataFrame,
    sides: tuple[_Side, _Side],
    members: tuple[SetResult, SetResult],
    clusters: Clusters,
    settings: Settings,
) -> pd.DataFrame:
    """Adds who drives each difference, and of what its status is made."""
    who = [Outlier()] * len(frame)
    if settings.bootstrap and frame["value"].notna().any():
        a, b = sides
        models = a.models, b.models
        if clusters:
            names = [name for side in models for name in side.names]
            family = dict(zip(names, clusters.names(names), strict=True))
            scale = shrinkage(len(a.units.names), len(b.units.names))
            who = outliers_of(models, (a.units, b.units), family, scale)
        else:
            who = outliers_of(models)
    return frame.assign(
        outlier=[outlier.name for outlier in who],
        value_without=[outlier.value for outlier in who],
        why=[reasons(members, notes) for notes in zip(*(s.notes for s in sides), strict=True)],
        clustered=clustered(members, clusters.column),
    )


def _with_between(
    table: pd.DataFrame,
    sides: Sequence[_Side],
    columns: Sequence[str],
    generator: np.random.Generator,
) -> pd.DataFrame:
    """Adds the differences over pairs of models of different families, for the same rows."""
    frames, scores = [], []
    for a, b in combinations(sides, 2):
        frame, deviations = _compare(a, b, columns)
        frames.append(frame[known := a.known & b.known])
        scores.append(deviations[known])
    frame = pd.concat(frames, ignore_index=True)
    frame = _with_ends(frame, np.concatenate(scores), generator, by_family=True)
    for end in ("", "_simultaneous"):
        for name in ("low", "high"):
            table[f"{name}_between{end}"] = frame[f"{name}{end}"]
    return table.assign(value_between=frame["value"])


def _each_pair(result: SetResult, method: str, *, between: bool = False) -> _Side:
    s, families = result.sheets[method], result.families
    models, known = LeftOut(s.z, s.left_out, result.chosen.members[0]), np.isfinite(s.z)
    part = s.between if between else s
    units = (
        LeftOut(part.z, part.by_family, families.names) if families.codes is not None else models
    )
    rest = known, models, result.notes[method]
    return _Side(part.z, part.variance, part.freedom, s.drawn, units, *rest)


def _mean(result: SetResult, method: str, *, between: bool = False) -> _Side:
    sheet, families = result.sheets[method], result.families
    single, models = families.codes is None, result.chosen.members[0]
    names = models if single else families.names
    mean, known = Mean(result, sheet, between=between), np.array([Mean(result, sheet).count > 0])
    few = ["" if single else families.units.few]
    if not mean.count:
        nothing, drawn = np.full(1, np.nan), np.full((1, sheet.drawn.shape[1]), np.nan)
        units, alone = (LeftOut(nothing, np.full((1, len(n)), np.nan), n) for n in (names, models))
        return _Side(nothing, nothing, nothing, drawn, units, known, alone, few)
    z = np.array([mean.z])
    units = LeftOut(z, mean.left_out[None], names)
    alone = LeftOut(z, mean.by_model[None], models)
    return _Side(z, mean.variance, mean.freedom, mean.drawn[None], units, known, alone, few)


def _compare(a: _Side, b: _Side, columns: Sequence[str]) -> tuple[pd.DataFrame, Floats]:
    """Returns differences with centre, variance and freedom, and their deviations.

    Those are of resamples, or by family: what leaving out each of `columns` does.
    """
    drawn = a.drawn - b.drawn
    known = np.isfinite(drawn)
    mean = np.where(known, drawn, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    value = a.z - b.z
    spread = (np.sqrt(a.variance) - np.sqrt(b.variance)) ** 2
    variance = np.maximum(a.variance + b.variance - 2 * _covariance(a, b), spread)
    if columns:
        variance = variance * shrinkage(len(a.units.names), len(b.units.names))
    each = a.variance**2 / a.freedom + b.variance**2 / b.freedom
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = (a.variance + b.variance) ** 2 / each
    enough = (known.sum(axis=1) * 2 >= drawn.shape[1]) & (variance > 0)
    enough &= bool(columns) or drawn.shape[1] > 1
    frame = pd.DataFrame(
        {
            "value": value,
            "value_x": np.tanh(a.z),
            "value_y": np.tanh(b.z),
            "centre": value if columns else 2 * value - mean,
            "error": np.where(enough, np.sqrt(np.maximum(variance, 0)), np.nan),
            "freedom": freedom,
        }
    )
    if columns:
        return frame, _among(a, columns) - _among(b, columns)
    return frame, np.where(known, drawn - mean[:, None], 0.0)


def shrinkage(families_x: int, families_y: int) -> float:
    """Returns 1 - 1 / 2F of the smaller group, by which the variance of a difference is too large.

    With few families the jackknife takes the curvature of z for noise. One interval is the better
    for it, since z and its error go together; a difference of two such z is not. Without the factor
    equal groups of 4 families differ in 1 to 5 % of studies, depending on how strong families are;
    with 1 - 1 / F in 2 to 8 (benchmarks/consistency_families.md).
    """
    return 1 - 1 / max(2 * min(families_x, families_y), 2)


def _covariance(a: _Side, b: _Side) -> Floats | float:
    """Returns the jackknife covariance of both z over what both groups have."""
    if not (shared := sorted(set(a.units.names) & set(b.units.names))):
        return 0.0
    parts = [s.units.deviations()[:, [s.units.names.index(n) for n in shared]] for s in (a, b)]
    return (parts[0] * parts[1]).sum(axis=1)


def _among(side: _Side, columns: Sequence[str]) -> Floats:
    """Returns the deviations by family, one column for each of these; 0 where it has none."""
    numbers = np.nan_to_num(side.units.deviations())
    return side.units.spread_over(columns, numbers, np.zeros(len(side.z)))


def _with_matched(
    frame: pd.DataFrame, a: SetResult, b: SetResult, whole: SetResult
) -> pd.DataFrame:
    """Adds the differences that remain when both groups have the spread of all models."""
    for side in "xy":
        reference = getattr(whole, f"sd_{side}")
        x, y = (
            np.arctanh(
                range_matched(s.sheets["pearson"].value, getattr(s, f"sd_{side}"), reference)
            )
            for s in (a, b)
        )
        frame[f"matched_{side}"] = x - y
    return frame


def _with_ends(
    table: pd.DataFrame, deviations: Floats, generator: np.random.Generator, *, by_family: bool
) -> pd.DataFrame:
    """Adds the ends of each row's interval, for itself and for all rows together."""
    error, freedom, centre = (table[name].to_numpy() for name in ("error", "freedom", "centre"))
    known = np.isfinite(error)
    levels = {"": (1 + LEVEL) / 2, "_simultaneous": np.nan}
    if known.any():
        levels["_simultaneous"] = (
            level_of_all(deviations[known], freedom[known], generator)
            if by_family
            else ndtr(largest_of_all(deviations[known], generator))
        )
    for name, level in levels.items():
        half = error * stdtrit(freedom, level)
        table[f"low{name}"], table[f"high{name}"] = centre - half, centre + half
    return table


def largest_of_all(deviations: Floats, generator: np.random.Generator) -> float:
    """Returns the 95 % quantile of the largest of |normal scores| that depend as the rows do.

    Args:
        deviations: (k, b) resampled deviations; only the correlations of their ranks count, so a
            few resamples near r = 1 do not decide.
        generator: for `SIMULATED` draws of normal numbers with these correlations.
    """
    b = deviations.shape[1]
    ranks = deviations.argsort(axis=1, kind="stable").argsort(axis=1)
    scores = ndtri((ranks + 0.5) / b)
    scores /= np.sqrt((scores**2).sum(axis=1, keepdims=True))
    largest = np.zeros(SIMULATED)
    for start in range(0, SIMULATED, 500):
        normal = generator.standard_normal((b, 500))
        largest[start : start + 500] = np.abs(scores @ normal).max(axis=0)
    return max(float(np.quantile(largest, LEVEL)), float(ndtri((1 + LEVEL) / 2)))


def level_of_all(deviations: Floats, freedom: Floats, generator: np.random.Generator) -> float:
    """Returns the level of t at which the largest of all rows' |t| has its 95 % quantile.

    Few families make the standard errors of all rows too small, or too large, together. So the
    rows' errors are drawn too, by as many degrees of freedom as they have (their median), and with
    the correlations that the rows have.

    Args:
        deviations: (k, f) deviations by family, whose squares sum to the variance.
        freedom: (k,) degrees of freedom.
        generator: for the draws.
    """
    scores = deviations / np.sqrt((deviations**2).sum(axis=1, keepdims=True))
    scores = scores.astype(np.float32)
    shared = float(np.clip(np.median(freedom), 1, MOST_FREEDOM))
    n = int(np.ceil(shared))
    largest = np.zeros(SIMULATED_ERRORS)
    for start in range(0, SIMULATED_ERRORS, 100):
        normal = generator.standard_normal((scores.shape[1], 100 * (1 + n)), dtype=np.float32)
        drawn = scores @ normal
        drawn = drawn.reshape(len(scores), 1 + n, 100)
        error = np.sqrt((drawn[:, 1:] ** 2).mean(axis=1))
        largest[start : start + 100] = (np.abs(drawn[:, 0]) / error).max(axis=0)
    return max(float(stdtr(n, np.quantile(largest, LEVEL))), (1 + LEVEL) / 2)
