"""What the choice of the stimuli adds: its variance, and the reliability of similarities.

Both come from similarities on halves of the stimuli (`results/reliability`): S splits of every
dataset at random into two halves without a common stimulus. Drawing with replacement would put
copies into the sample, which break metrics of neighbours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.pairs.correlations import Block, Floats, correlations, influences, scores
from consilience.pairs.families import units_of, variance_of
from consilience.pairs.inference import fisher
from consilience.pairs.matrix import Similarity, read_similarity
from consilience.pairs.sets import ModelSet, pair_values

HALVES = ("a", "b")
"""As reliability tables name them."""
LEAST_SPLITS = 2


@dataclass(frozen=True)
class Stimuli:
    """What halves of the stimuli tell of a block by one method.

    Attributes:
        change: (s, q) Fisher's z on half a less that on half b; NaN where a half has no value.
        variance: (q,) variance of z over stimuli, at their full number; NaN where unknown.
        shared: (q,) the part of it that also shows in the variance over models.
        splits: (q,) numbers of splits that carry a value.
    """

    change: Floats
    variance: Floats
    shared: Floats
    splits: Floats


def read_halves(
    table: pd.DataFrame, dataset: str, layers: Mapping[str, str] | None
) -> list[tuple[Similarity, Similarity]]:
    """Returns the similarities on both halves of every split of a reliability table.

    Raises:
        DataError: a column is missing, or a split has no two halves.
    """
    if missing := [column for column in ("split", "half") if column not in table.columns]:
        raise DataError(
            f"the reliability table of dataset {dataset!r} has no column {', '.join(missing)}; "
            "delete the file and run snakemake again"
        )
    found = []
    for split, rows in table.groupby("split", sort=True):
        halves = {half: part for half, part in rows.groupby("half")}
        if set(halves) != set(HALVES):
            raise DataError(
                f"split {split} of dataset {dataset!r} has the halves {', '.join(halves)}; "
                "expected a and b; delete the file and run snakemake again"
            )
        a, b = (read_similarity(halves[half], dataset, layers) for half in HALVES)
        found.append((a, b))
    return found


def half_values(
    halves: Mapping[str, Sequence[tuple[Similarity, Similarity]]],
    datasets: Sequence[str],
    chosen: ModelSet,
) -> Floats:
    """Returns (s, 2, d, p) values of all pairs of a model set; NaN where there is none."""
    splits = max((len(found) for found in halves.values()), default=0)
    nothing = Similarity((), np.empty((0, 0)))
    listed = [halves.get(name, ()) for name in datasets]
    return np.array(
        [
            [
                pair_values([f[s][h] if s < len(f) else nothing for f in listed], chosen)
                for h in range(len(HALVES))
            ]
            for s in range(splits)
        ]
    )


def stimulus_part(block: Block, halves: Floats, method: str) -> Stimuli:
    """Returns the variance of z over stimuli, and how much of it the models' variance holds.

    A half has n / 2 stimuli. Where the stimuli are independent draws, and their noise is
    small enough for z to be linear in it, the variance of z falls as 1 / n, and z on two halves
    without a common stimulus has errors that are independent, of variance 2 V each, if V is the
    variance with all n. So V = mean over splits of (z_a - z_b)^2 / 4; a bias that both halves
    share drops out. Noise flattens z on halves: with reliabilities of 0.94 V was found to be right
    within its own error, with 0.7 it was 40 % too small.

    The variance over models at fixed stimuli holds the interaction of models and stimuli too; its
    part is the variance over models of z_a - z_b, divided by 4. It must count once in the sum.

    Args:
        block: the pairs, with similarities on all stimuli.
        halves: (s, 2, d, p) similarities on halves.
        method: `pearson`, `spearman` or `kendall`.
    """
    change, shared = [], []
    for both in halves:
        (z_a, slope_a), (z_b, slope_b) = (_on_half(block, values, method) for values in both)
        difference = z_a - z_b
        change.append(difference[:, 0])
        shared.append(variance_of(block, difference[:, 1:], slope_a - slope_b)[0] / 4)
    known = np.isfinite(change)
    splits = known.sum(axis=0)
    enough = splits >= LEAST_SPLITS
    variance, common = (
        np.where(enough, np.where(known, part, 0).sum(axis=0) / np.maximum(splits, 1), np.nan)
        for part in (np.square(change) / 4, np.array(shared))
    )
    return Stimuli(np.array(change), variance, common, splits.astype(float))


def _on_half(block: Block, values: Floats, method: str) -> tuple[Floats, Floats]:
    """Returns z of all models and without each, or each family, NaN where undefined; influences.

    (q, 1 + m) or (q, 1 + k), and (q, p), which families do not need.
    """
    m, by_model = sum(block.sizes), block.families is None
    without = 1 - np.eye(m) if by_model else units_of(block.families, block.sizes).counts
    counts = np.hstack([np.ones((m, 1)), without])
    usable = _usable(values)
    part = replace(block, values=np.where(usable[:, None], values, 0.0))
    z = fisher(correlations(part, counts, method), len(block.first), method)
    both = usable[block.left] & usable[block.right]
    slopes = influences(part, method) if by_model else np.zeros((len(z), 0))
    return np.where(both[:, None], z, np.nan), slopes


def joint_variance(
    models: Floats, freedom: Floats, stimuli: Floats, shared: Floats | float, splits: Floats
) -> tuple[Floats, Floats]:
    """Returns the variance of z over models and stimuli, and its degrees of freedom.

    Models + stimuli - what both hold, and never less than either. The degrees of freedom are those
    of Welch and Satterthwaite, and never more than the models': a joint interval is not narrower.
    """
    total = np.maximum(np.maximum(models, stimuli), models + stimuli - shared)
    each = models**2 / freedom + stimuli**2 / np.maximum(splits, 1)
    known = np.isfinite(each) & (each > 0)
    combined = np.where(known, total**2 / np.where(known, each, 1), 1.0)
    return total, np.maximum(np.minimum(combined, freedom), 1.0)


def reliabilities(halves: Floats, method: str) -> Floats:
    """Returns (d,) split-half reliabilities of the similarities over model pairs.

    The correlation of the values on both halves, averaged over the splits and raised to the full
    number of stimuli by Spearman and Brown: 2 r / (1 + r). It holds where the noise of both halves
    is independent and its variance falls as 1 / n. Not defined for Kendall's tau.

    Args:
        halves: (s, 2, d, p) similarities on halves.
        method: `pearson`, `spearman` or `kendall`.
    """
    found = np.full((len(halves), halves.shape[2]), np.nan)
    if method == "kendall":
        return found.sum(axis=0) if len(found) else np.full(halves.shape[2], np.nan)
    for row, (a, b) in zip(found, halves, strict=True):
        usable = _usable(a) & _usable(b)
        if usable.any():
            u, v = (scores(side[usable], method) for side in (a, b))
            row[usable] = (u * v).mean(axis=1)
    known = np.isfinite(found)
    count = known.sum(axis=0)
    r = np.where(known, found, 0).sum(axis=0) / np.maximum(count, 1)
    return np.where((count > 0) & (r > -1), 2 * r / np.where(r > -1, 1 + r, 1), np.nan)


def corrected(
    value: Floats, reliability_x: Floats, reliability_y: Floats
) -> tuple[Floats, list[str]]:
    """Returns the consistency without the noise of the stimuli, r / sqrt(rel_x rel_y), and notes.

    The note is `ok`, `above 1` (then noise or dependence of the halves made the reliabilities too
    low: nothing is clipped), `undefined` (a reliability is not positive) or empty (no halves).
    """
    defined = (reliability_x > 0) & (reliability_y > 0) & np.isfinite(value)
    product = np.where(defined, reliability_x * reliability_y, 1)
    result = np.where(defined, value / np.sqrt(product), np.nan)
    known = np.isfinite(reliability_x) & np.isfinite(reliability_y) & np.isfinite(value)
    notes = np.where(known, "undefined", "")
    notes = np.where(defined, "ok", notes)
    return result, np.where(np.abs(result) > 1, "above 1", notes).tolist()


def _usable(values: Floats) -> np.ndarray:
    """Returns which datasets (d, p) have finite numbers that vary."""
    return np.isfinite(values).all(axis=1) & (np.ptp(values, axis=1) > 0)
