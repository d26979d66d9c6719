"""Whether models cluster by more than the families in use: then intervals are too narrow."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.special import fdtri

from consilience.pairs.correlations import Block, Floats, blocks_of, correlations
from consilience.pairs.families import Clusters, family_variance, units_of
from consilience.pairs.inference import LEVEL, Estimate, fisher, spread_of_left_out

TIMES_WIDER = 1.5
"""A column is named where the variance by its groups is more than this times the one in use."""


def note_clustering(
    sums: dict[str, Floats],
    block: Block,
    method: str,
    found: Estimate,
    models: Sequence[str],
    others: Sequence[Clusters],
) -> None:
    """Adds, by column, the variance by its groups and the one in use, over all dataset pairs.

    Both are jackknives: of z without each group, and without each model or family. Then their
    degrees of freedom, and the number of dataset pairs.

    Args:
        sums: what to add to.
        block: the pairs.
        method: `pearson`, `spearman` or `kendall`.
        found: what is known of the block.
        models: (m,) ids of the models.
        others: the columns; one with too few groups says nothing.
    """
    sides = [side for side in blocks_of(block.sizes) if len(side) > 1]
    base = found.variance
    if block.families is None:
        base = sum(spread_of_left_out(found.left_out[:, side]) for side in sides)
    for other in others:
        units = units_of(other.codes(models), block.sizes)
        if units.few or units.counts.shape[1] == sum(map(len, sides)):
            continue
        part = replace(block, families=None)
        z = fisher(correlations(part, units.counts, method), len(block.first), method)
        variance, freedom = family_variance(z, units)
        known = np.isfinite(variance) & np.isfinite(base)
        numbers = np.stack([variance, base, freedom, found.freedom, known])
        sums[other.column] = sums.get(other.column, 0) + numbers[:, known].sum(axis=1)


def warning(sums: Mapping[str, Floats], used: str) -> str:
    """Returns what to say of the column by which models cluster most, or "".

    A column of few groups has a ratio above `TIMES_WIDER` by chance (in a fifth of the cases with
    4 groups), so the ratio must also be beyond the 95 % quantile of F.

    Args:
        sums: by column, of `note_clustering`.
        used: the column in use, or `none`.
    """
    ratios = {}
    for name, (variance, base, *freedom, count) in sums.items():
        if count and base > 0:
            beyond = fdtri(*(np.array(freedom) / count), LEVEL)
            if variance / base > max(TIMES_WIDER, beyond):
                ratios[name] = variance / base
    if not ratios:
        return ""
    column = max(ratios, key=ratios.__getitem__)
    unit = "model" if used == "none" else f"`{used}`"
    return (
        f"; models cluster by `{column}`, so intervals by {unit} are too narrow: set "
        f"consistency.clusters: {column}"
    )
