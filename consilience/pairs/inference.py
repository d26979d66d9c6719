"""How sure a correlation over model pairs is, the models being the sample.

Pairs that share a model are not independent, so neither the usual interval nor the usual p-value
of a correlation holds. Here the unit that is resampled and relabelled is the model.
"""

from dataclasses import dataclass, field

import numpy as np

from consilience.pairs.correlations import (
    ROUNDING,
    Block,
    Floats,
    Ints,
    blocks_of,
    chunks,
    correlations,
    influences,
    scores,
)

LEVEL = 0.95
RELABELLED = 2**19
"""Numbers that are relabelled at once: as many as stay near the processor."""


@dataclass(frozen=True)
class PairSet:
    """The model pairs of one model set, with their similarity on two datasets.

    Attributes:
        x: (p,) similarity on the first dataset, NaN where a pair failed.
        y: (p,) similarity on the second dataset, NaN where a pair failed.
        first: (p,) position of each pair's first model.
        second: (p,) position of each pair's second model.
        sizes: numbers of models: (m,) for pairs within one set of models, (m, k) for pairs
            between two disjoint sets, whose models are numbered 0 .. m-1 and m .. m+k-1.
        families: (m,) number of each model's family; None if models are the sample.
    """

    x: Floats
    y: Floats
    first: Ints
    second: Ints
    sizes: tuple[int, ...]
    families: Ints | None = None

    @property
    def valid(self) -> np.ndarray:
        """(p,) whether the pair has a similarity on both datasets."""
        return np.isfinite(self.x) & np.isfinite(self.y)

    def block(self) -> Block:
        """Returns the pairs that have a similarity on both datasets."""
        keep = self.valid
        values = np.stack([self.x[keep], self.y[keep]])
        ends = np.array([0]), np.array([1])
        pairs = self.first[keep], self.second[keep]
        return Block(values, *pairs, self.sizes, *ends, self.families)


@dataclass(frozen=True)
class Estimate:
    """What is known of the correlations of a block by one method, on the scale of Fisher's z.

    Attributes:
        value: (q,) correlations.
        z: (q,) Fisher's z of them.
        left_out: (q, m) z without each of the models in turn; NaN where it is not defined.
        drawn: (q, b) z of resampled models; NaN where a replicate carries too little.
        variance: (q,) variance of z over models.
        freedom: (q,) its degrees of freedom.
        influence: (q, p) derivatives of p z with respect to each pair's weight; none by family.
        by_family: (q, k) z without each family in turn; none where models are the sample.
    """

    value: Floats
    z: Floats
    left_out: Floats
    drawn: Floats
    variance: Floats
    freedom: Floats
    influence: Floats
    by_family: Floats = field(default_factory=lambda: np.empty((0, 0)))


def estimate(block: Block, method: str, draws: Floats) -> Estimate:
    """Returns values, leave-one-out values, resampled values and variances of a block.

    Args:
        block: finite numbers.
        method: `pearson`, `spearman` or `kendall`.
        draws: (m, b) how often each model was drawn in each replicate. A pair of models drawn w_i
            and w_j times counts w_i w_j times; a pair of two copies of the same model is dropped,
            for its similarity is 1 by construction (Snijders and Borgatti 1999).
    """
    m = sum(block.sizes)
    counts = np.hstack([np.ones((m, 1)), 1 - np.eye(m), draws])
    r = correlations(block, counts, method)
    n_pairs = len(block.first)
    value, left_out, drawn = r[:, 0], r[:, 1 : m + 1], r[:, m + 1 :]
    left_out = fisher(left_out, n_pairs, method)
    h = influences(block, method)
    variance, freedom = model_variance(block, left_out, h)
    variance = np.where(np.abs(value) > 1 - ROUNDING, 0.0, variance)  # all resamples agree too
    distinct = _distinct_pairs(block.sizes, draws)
    drawn = np.where(distinct > 0, fisher(drawn, np.maximum(distinct, 2), method), np.nan)
    return Estimate(value, fisher(value, n_pairs, method), left_out, drawn, variance, freedom, h)


def _distinct_pairs(sizes: tuple[int, ...], draws: Floats) -> Floats:
    """Returns (b,) numbers of different model pairs drawn; 0 where there are too few models."""
    distinct = np.stack([(draws[block] > 0).sum(axis=0) for block in blocks_of(sizes)])
    if len(sizes) == 1:
        return np.where(distinct[0] >= 3, distinct[0] * (distinct[0] - 1) / 2, 0)
    least = (1, 3) if sizes[0] == 1 else (2, 2)  # an anchor is alone on its side
    enough = (distinct >= np.array(least)[:, None]).all(axis=0)
    return np.where(enough, distinct.prod(axis=0), 0)


def fisher(r: Floats | float, n_pairs: Floats | int, method: str) -> Floats:
    """Returns artanh(r), finite also at 1.

    A rank correlation of 1 counts as half a step below it, as seen from the number of pairs: a
    finer sample would hardly have reached 1. Steps near 1 are 12 / (p^3 - p) for Spearman's, and
    4 / (p^2 - p) for Kendall's.
    """
    n_pairs = np.maximum(np.asarray(n_pairs, dtype=float), 2)
    largest = {"spearman": 1 - 6 / n_pairs**3, "kendall": 1 - 2 / (n_pairs * (n_pairs - 1))}
    limit = np.minimum(largest.get(method, 1), 1 - ROUNDING)
    limit = np.maximum(limit, 0.0)
    return np.arctanh(np.clip(r, -limit, limit))


def resample_counts(
    sizes: tuple[int, ...], replicates: int, generator: np.random.Generator
) -> Floats:
    """Draws models with replacement (between two groups, in each by itself): counts (m, b)."""
    parts = [
        generator.multinomial(size, np.full(size, 1 / size), size=replicates).T for size in sizes
    ]
    return np.vstack(parts).astype(float)


def model_variance(block: Block, left_out: Floats, h: Floats) -> tuple[Floats, Floats]:
    """Returns (q,) variances of z over models and their degrees of freedom.

    The jackknife over models counts the part of the variance that belongs to single pairs twice
    (Efron and Stein 1981). The surplus is estimated from what additive model effects leave of
    the pairs' influences, and subtracted to the degree that the pairs dominate (weight
    (mean square of pairs / mean square of models)^4, at most 1): where models dominate it is
    small, and subtracting its noise would only cost coverage. Never less than the pairs' own
    part.

    Args:
        block: the model pairs.
        left_out: (q, m) z without each model.
        h: (q, p) influences.
    """
    sides = [side for side in blocks_of(block.sizes) if len(side) > 1]
    jackknife = np.stack([spread_of_left_out(left_out[:, side]) for side in sides])
    of_models, of_pairs = _mean_squares(block, h)
    single = of_pairs / len(block.first)
    models = block.sizes[0]
    surplus = single * (models / (models - 2) if len(block.sizes) == 1 else 1.0)
    ratio = of_pairs / np.where(of_models > 0, of_models, 1)
    weight = np.where(of_models > 0, np.minimum(1.0, ratio) ** 4, 1.0)
    total = jackknife.sum(axis=0)
    each = sum(part**2 / (len(side) - 1) for part, side in zip(jackknife, sides, strict=True))
    # Welch and Satterthwaite. Fisher's z of n independent points has variance 1 / (n - 3): two
    # fewer than n - 1.
    freedom = np.where(each > 0, total**2 / np.where(each > 0, each, 1) - 2 / len(sides), 1.0)
    return np.maximum(total - weight * surplus, single), np.maximum(freedom, 1.0)


def spread_of_left_out(left_out: Floats) -> Floats:
    """Returns (q,) jackknife variances from values (q, m) without each model; NaN is left out."""
    present = np.isfinite(left_out)
    n = present.sum(axis=1)
    values = np.where(present, left_out, 0)
    mean = values.sum(axis=1) / np.maximum(n, 1)
    squares = (np.where(present, left_out - mean[:, None], 0) ** 2).sum(axis=1)
    return (n - 1) * squares / np.maximum(n, 1)


def _mean_squares(block: Block, h: Floats) -> tuple[Floats, Floats]:
    """Splits influences h_ij = a_i + a_j + e_ij by least squares: mean squares of a and of e.

    Works for complete and for incomplete sets, within one group and between two.
    """
    m, p = sum(block.sizes), len(block.first)
    design = np.zeros((p, m))
    design[np.arange(p), block.first] = design[np.arange(p), block.second] = 1
    values, vectors = np.linalg.eigh(design.T @ design)
    kept = values > max(m, p) * np.finfo(float).eps * values.max()
    rank = int(kept.sum())
    explained = ((h @ design @ vectors[:, kept]) ** 2 / values[kept]).sum(axis=1)
    left = np.maximum((h**2).sum(axis=1) - explained, 0.0)
    return explained / max(rank - 1, 1), left / max(p - rank, 1)


def interval(z: Floats, drawn: Floats, variance: Floats, freedom: Floats) -> tuple[Floats, Floats]:
    """Returns the ends of 95 % intervals of Fisher's z, models being the sample.

    1. The bootstrap over models gives bias and shape: the interval is centred at
       z - (mean(z*) - z), and the distances of its ends from the centre are in the proportion of
       those of the 2.5 % and 97.5 % quantiles of z* from mean(z*).
    2. Its width is not the bootstrap's: weights w_i w_j count the noise that belongs to single
       pairs three times, so plain bootstrap intervals are too wide (coverage up to 100 %), and
       with few models a handful of resamples near r = 1 distorts their spread. The width is twice
       the t-quantile times the standard error, by default that of `model_variance`.

    Chosen among percentile, basic, bias-corrected percentile, normal and t intervals with the
    bootstrap's, the jackknife's and the linearised standard error, and rescaled quantiles with
    each, as the one nearest to 95 % over planted similarities driven by models, by both, by pairs
    alone, and geometric ones. Measured coverage: benchmarks/consistency.md.

    Args:
        z: (q,) Fisher's z.
        drawn: (q, b) z of resampled models, NaN where not defined. With b = 0 (by family) both ends
            are equally far from z.
        variance: (q,) of z.
        freedom: (q,) its degrees of freedom.

    Returns:
        (q,) low and high z; NaN where resampling carries no information: fewer than half of the
        replicates defined, or no spread at all (as for identical similarities).
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - slow to import, and plans need no interval

    if not drawn.shape[1]:
        known = variance > ROUNDING
        half = np.sqrt(np.where(known, variance, np.nan)) * stdtrit(freedom, (1 + LEVEL) / 2)
        return z - half, z + half
    low, high = np.full((2, len(z)), np.nan)
    defined = np.isfinite(drawn).sum(axis=1)
    known = (defined * 2 >= drawn.shape[1]) & (defined >= 2) & (variance > ROUNDING)
    for q in np.flatnonzero(known):
        row = drawn[q][np.isfinite(drawn[q])]
        mean = row.mean()
        below, above = np.quantile(row, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - mean
        if above > below:
            half = np.sqrt(variance[q]) * stdtrit(freedom[q], (1 + LEVEL) / 2)
            factor, centre = 2 * half / (above - below), 2 * z[q] - mean
            low[q], high[q] = centre + factor * below, centre + factor * above
    return low, high


def relabellings(sizes: tuple[int, ...], permutations: int, generator: np.random.Generator) -> Ints:
    """Returns (m, 1 + permutations) labels of the models; the first column is the data."""
    parts = [
        generator.permuted(np.tile(block, (permutations, 1)), axis=1).T
        for block in blocks_of(sizes)
    ]
    return np.hstack([np.arange(sum(sizes))[:, None], np.vstack(parts)])


def mantel(block: Block, method: str, labels: Ints) -> Floats:
    """Returns (q,) two-sided p-values of the correlations over model pairs (Mantel 1967).

    The models of the second dataset are relabelled at random (in a set between two groups, each
    group by itself): p = (1 + #{|r*| >= |r|}) / (permutations + 1). Relabelling keeps what pairs
    share, so p is uniform when the two datasets order their models independently.

    Args:
        block: similarities of all pairs of the set.
        method: `pearson`, `spearman` or `kendall`.
        labels: from `relabellings`.
    """
    m = sum(block.sizes)
    values = block.values if method == "kendall" else scores(block.values, method)
    seconds, right = np.unique(block.right, return_inverse=True)
    squares = np.zeros((len(seconds), m, m))
    squares[:, block.first, block.second] = values[seconds]
    squares[:, block.second, block.first] = values[seconds]
    squares = squares.reshape(len(seconds), m * m)
    reached, observed = np.zeros(len(block.left)), None
    for chunk in chunks(values.size, labels.shape[1], RELABELLED):
        cells = labels[block.first, chunk].T * m + labels[block.second, chunk].T
        relabelled = np.take(squares, cells.ravel(), axis=1).reshape(len(seconds), *cells.shape)
        r = np.abs(_relabelled(block.left, right, values, relabelled, method))
        observed = r[:, :1] if observed is None else observed
        reached += (r >= observed - ROUNDING).sum(axis=1)
    return reached / labels.shape[1]


def _relabelled(left: Ints, right: Ints, x: Floats, y: Floats, method: str) -> Floats:
    """Returns (q, b) correlations of x (d, p) with relabelled y (k, b, p), both standardised."""
    if method == "kendall":
        from scipy.stats import kendalltau  # noqa: PLC0415 - as above

        pairs = zip(left, right, strict=True)
        return np.array([[kendalltau(x[a], row).statistic for row in y[b]] for a, b in pairs])
    k, b, p = y.shape  # relabelling keeps mean and variance
    return (x @ y.reshape(k * b, p).T / p).reshape(len(x), k, b)[left, right]


def mantel_incomplete(pairs: PairSet, method: str, labels: Ints) -> float:
    """Returns the p-value of `mantel` where pairs failed.

    Ranks are taken once, on each dataset; a pair that failed on either side of a relabelling is
    left out of it.
    """
    m = sum(pairs.sizes)
    x, y = (_scores_of_present(side, method) for side in (pairs.x, pairs.y))
    square = np.full((m, m), np.nan)
    square[pairs.first, pairs.second] = square[pairs.second, pairs.first] = y
    found = []
    for chunk in chunks(len(x), labels.shape[1], 2**18):
        cells = labels[pairs.first, chunk] * m + labels[pairs.second, chunk]
        relabelled = square.ravel()[cells]
        if method == "kendall":
            from scipy.stats import kendalltau  # noqa: PLC0415 - as above

            columns = relabelled.T
            found.append([kendalltau(x, c, nan_policy="omit").statistic for c in columns])
        else:
            found.append(_correlation_of_present(x, relabelled))
    r = np.abs(np.concatenate(found))
    return float(np.mean(r >= r[0] - ROUNDING))


def _scores_of_present(values: Floats, method: str) -> Floats:
    """Standardises what is present; failed pairs stay NaN."""
    present = np.isfinite(values)
    result = np.full(len(values), np.nan)
    result[present] = scores(values[present][None], method)[0]
    return result


def _correlation_of_present(x: Floats, y: Floats) -> Floats:
    """Returns (b,) Pearson correlations of x: (p,) with y: (p, b) over what both have."""
    present = np.isfinite(x)[:, None] & np.isfinite(y)
    n = present.sum(axis=0)
    u, v = np.where(present, x[:, None], 0), np.where(present, y, 0)
    u, v = (np.where(present, side - side.sum(axis=0) / n, 0) for side in (u, v))
    size = np.sqrt((u**2).sum(axis=0) * (v**2).sum(axis=0))
    return np.divide((u * v).sum(axis=0), size, out=np.zeros(len(n)), where=size > ROUNDING)
