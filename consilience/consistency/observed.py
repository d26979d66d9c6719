"""What a study's own tables say of the numbers that planning one takes."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from consilience.pairs.families import Clusters
from consilience.pairs.matrix import Similarity
from consilience.pairs.sets import ALL


def mean_consistency(table: pd.DataFrame) -> float:
    """Returns tanh of the mean of Fisher's z of all models over dataset pairs and metrics.

    Args:
        table: rows of `consistency/{metric}.parquet`; NaN if none has a value by Pearson.
    """
    rows = table[(table["grouping"] == ALL) & (table["method"] == "pearson")]
    values = np.clip(rows["value"].dropna().to_numpy(), -0.999999, 0.999999)
    return float(np.tanh(np.arctanh(values).mean())) if len(values) else np.nan


def share_of_families(similarities: Iterable[Similarity], clusters: Clusters) -> float:
    """Returns the share of the differences between models that is their family's (the ICC).

    A model's effect is its mean similarity with the models of other families. Its variance is split
    by the one-way analysis of variance: (B - W) / (B + (n - 1) W) with the mean squares B between
    and W within families, and n = (M - sum of squared sizes / M) / (F - 1) for their size; not
    below 0. The mean over all tables. NaN without two families and one of two models.

    Args:
        similarities: of the metrics and datasets at hand.
        clusters: which models are of one family.
    """
    found = []
    for similarity in similarities:
        codes = clusters.codes(similarity.models)
        if codes is None:
            continue
        apart = codes[:, None] != codes[None]
        values = np.where(apart, similarity.matrix, np.nan)
        known = np.isfinite(values).any(axis=1)
        codes, values = np.unique(codes[known], return_inverse=True)[1], values[known]
        effects, sizes = np.nanmean(values, axis=1), np.bincount(codes)
        m, f = len(codes), len(sizes)
        if f < 2 or m == f:
            continue
        means = np.bincount(codes, effects) / sizes
        between = (sizes * (means - effects.mean()) ** 2).sum() / (f - 1)
        within = ((effects - means[codes]) ** 2).sum() / (m - f)
        size = (m - (sizes**2).sum() / m) / (f - 1)
        if (total := between + (size - 1) * within) > 0:
            found.append(max((between - within) / total, 0.0))
    return float(np.mean(found)) if found else np.nan
