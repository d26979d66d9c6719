"""Metrics ranked by what they find, across tests and domains, and differences between any two.

A case is a test of a recipe. Metrics are ranked in each case by the same value; intervals of mean
ranks come from resampled models, the same for all metrics and all tests of a recipe.
"""

import logging
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.files import read_table, table_digest, write_table
from consilience.grounding.intervals import plain_interval
from consilience.grounding.scores import CONSTANT, FAILED, NOT_GROUNDED, OK, TOO_SMALL
from consilience.pairs.correlations import Floats

logger = logging.getLogger(__name__)

ALL = "all"
COVERED = 0.9
"""Share of the cases in which a metric has a value, below which it has no place."""
WIDEST = {"auprc": 1.0, "spearman": 2.0}
"""Largest difference of two values of a score."""
CASE = ["domain", "recipe", "test"]
RANKS = ["metric", *CASE, "value", "rank", "rank01", "p", "p_holm", "status"]
SUMMARY = [
    "metric", "domain", "place", "mean_rank", "median_rank", "low", "high", "mean_rank01",
    "coverage", "n_cases", "best_share", "critical_difference",
]  # fmt: skip
DIFFERENCES = [
    "recipe", "test", "measure", "score", "metric_x", "metric_y", "difference", "low", "high",
]  # fmt: skip


def average_ranks(values: Floats) -> Floats:
    """Returns ranks (k, b) down each column: the largest is 1, ties average, missing come last."""
    filled = np.where(np.isfinite(values), values, -np.inf)
    above = (filled[None] > filled[:, None]).sum(axis=1)
    equal = (filled[None] == filled[:, None]).sum(axis=1)
    return above + (equal + 1) / 2


def rank_cases(samples: pd.DataFrame) -> tuple[pd.DataFrame, dict[tuple[str, ...], pd.DataFrame]]:
    """Returns the ranks of metrics in every case that counts, and those for resampled models.

    A case with several measures has the mean of their ranks. Failed and constant metrics rank
    behind all others; metrics without a score for want of models are not ranked, and cases whose
    groups do not behave differently are left out for all.

    Args:
        samples: rows of the samples of all metrics.

    Returns:
        A table with the columns of `RANKS`, and for each case a table (metrics, draws) of ranks.
    """
    rows, drawn = [], {}
    for key, case in samples.groupby(CASE, sort=True):
        names = dict(zip(CASE, map(str, key), strict=True))
        if (case["status"] == NOT_GROUNDED).any():
            rows += [
                {**names, "metric": metric, "status": NOT_GROUNDED, "value": np.nan}
                for metric in sorted(case["metric"].unique())
            ]
            continue
        counted = case[case["status"] != TOO_SMALL]
        if counted.empty:
            continue
        ranks, replicates = _rank_measures(counted)
        n, ranks["p_holm"] = len(ranks), holm(ranks["p"].to_numpy(float))
        found = ranks.assign(rank01=(ranks["rank"] - 1) / max(n - 1, 1), **names)
        rows += found.reset_index(names="metric").to_dict("records")
        drawn[tuple(names.values())] = replicates
    return pd.DataFrame(rows, columns=RANKS), drawn


def _rank_measures(case: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns value, rank and status of each metric, and its rank (metrics, draws) by resample."""
    metrics = sorted(case["metric"].unique())
    values, ranks, replicates, chances = [], [], [], []
    for _, part in case.groupby("measure", sort=True):
        part = part.set_index("metric").reindex(metrics)  # noqa: PLW2901
        ok = (part["status"] == OK).to_numpy()
        value = np.where(ok, part["value"].to_numpy(float), np.nan)
        values.append(value)
        chances.append(np.where(ok, part["p"].to_numpy(float), np.nan))
        ranks.append(average_ranks(value[:, None])[:, 0])
        longest = max(
            (len(d) for d, kept in zip(part["drawn"], ok, strict=True) if kept), default=0
        )
        drawn = np.full((len(metrics), longest), np.nan)
        for i in np.flatnonzero(ok):
            drawn[i] = part["drawn"].iloc[i]
        replicates.append(average_ranks(drawn))
    status = case.groupby("metric")["status"].agg(_worst).reindex(metrics)
    table = pd.DataFrame(
        {
            "value": np.mean(values, axis=0),
            "rank": np.mean(ranks, axis=0),
            "p": np.max(chances, axis=0),
            "status": status,
        },
        index=metrics,
    )
    return table, pd.DataFrame(np.mean(replicates, axis=0), index=metrics)


def holm(p: Floats) -> Floats:
    """Returns p-values adjusted for their number (Holm 1979); missing ones do not count."""
    found, known = np.full(len(p), np.nan), np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1)
    return found


def _worst(statuses: pd.Series) -> str:
    return next(s for s in (FAILED, CONSTANT, OK) if (statuses == s).any())


def summarize(ranks: pd.DataFrame, drawn: dict[tuple[str, ...], pd.DataFrame]) -> pd.DataFrame:
    """Returns the ranks of metrics by domain, and over all domains.

    Each test weighs the same within a domain, each domain the same in `all`. Intervals are 95 %
    percentile intervals over resampled models. `critical_difference` is that of Nemenyi's test for
    independent cases, which these are not: a difference of mean ranks below it means nothing.
    """
    counted = ranks[ranks["rank"].notna()]
    domains = sorted(counted["domain"].unique())
    parts = [_of_domain(counted, drawn, domains, ALL)]
    parts += [_of_domain(counted, drawn, [domain], domain) for domain in domains]
    return pd.concat(parts, ignore_index=True)[SUMMARY]


def _of_domain(
    ranks: pd.DataFrame,
    drawn: dict[tuple[str, ...], pd.DataFrame],
    domains: Sequence[str],
    name: str,
) -> pd.DataFrame:
    keys = [key for key in drawn if key[0] in domains]
    metrics = sorted(ranks.loc[ranks["domain"].isin(domains), "metric"].unique())
    if not keys:
        return pd.DataFrame(columns=SUMMARY)
    weights = case_weights(keys)
    by_case = ranks.set_index([*CASE, "metric"])
    full = pd.MultiIndex.from_product([metrics, keys])
    flat = pd.MultiIndex.from_tuples([(*key, metric) for metric, key in full])
    table = by_case.reindex(flat)
    shape = len(metrics), len(keys)
    rank, rank01 = (table[c].to_numpy(float).reshape(shape) for c in ("rank", "rank01"))
    has = (table["status"] == OK).to_numpy().reshape(shape)
    replicates = np.stack([drawn[key].reindex(metrics).to_numpy() for key in keys], axis=1)
    means = weighted_mean(replicates, weights[None, :, None])
    low, high, best = _over_draws(means)
    found = pd.DataFrame(
        {
            "metric": metrics,
            "domain": name,
            "mean_rank": weighted_mean(rank, weights[None]),
            "median_rank": np.nanmedian(rank, axis=1),
            "low": low,
            "high": high,
            "mean_rank01": weighted_mean(rank01, weights[None]),
            "coverage": has.mean(axis=1),
            "n_cases": np.isfinite(rank).sum(axis=1),
            "best_share": best,
            "critical_difference": critical_difference(len(metrics), len(keys)),
        }
    )
    placed = found["coverage"] >= COVERED
    place = found.loc[placed, "mean_rank01"].rank(method="min").astype("Int64")
    found["place"] = pd.array([pd.NA] * len(found), dtype="Int64")
    found.loc[placed, "place"] = place
    order = ["place", "mean_rank01", "median_rank", "metric"]
    return found.sort_values(order, na_position="last", ignore_index=True)


def _over_draws(means: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns both ends of 95 % intervals, and shares of draws in which a metric is the best.

    Args:
        means: (metrics, draws) mean ranks; without draws nothing is known.
    """
    if not means.shape[1]:
        missing = np.full(len(means), np.nan)
        return missing, missing, missing
    best = (means == np.nanmin(means, axis=0)).astype(float)
    low, high = np.nanpercentile(means, [2.5, 97.5], axis=1)
    return low, high, (best / best.sum(axis=0)).mean(axis=1)


def case_weights(keys: Sequence[tuple[str, ...]]) -> Floats:
    """Returns the weight of each case (domain, recipe, test), summing to 1.

    Each domain weighs the same; in it each test that it has; in that each recipe.
    """
    domains = sorted({key[0] for key in keys})
    weights = []
    for domain, _, test in keys:
        tests = {key[2] for key in keys if key[0] == domain}
        recipes = [key for key in keys if key[0] == domain and key[2] == test]
        weights.append(1 / (len(domains) * len(tests) * len(recipes)))
    return np.array(weights)


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Returns means over axis 1 of what is known; missing where nothing is."""
    known = np.isfinite(values)
    total = (known * weights).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return (np.where(known, values, 0) * weights).sum(axis=1) / np.where(total, total, np.nan)


def critical_difference(metrics: int, cases: int) -> float:
    """Returns Nemenyi's critical difference of mean ranks at 5 %: q √(k (k + 1) / (6 N)).

    Source: Demšar (2006); q is the studentised range over infinitely many degrees of freedom,
    divided by √2.
    """
    from scipy.stats import studentized_range  # noqa: PLC0415 - slow to import

    if metrics < 2:
        return float("nan")
    q = float(studentized_range.ppf(0.95, metrics, np.inf)) / np.sqrt(2)
    return q * float(np.sqrt(metrics * (metrics + 1) / (6 * cases)))


def differences(samples: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yields the difference of every two metrics in each case, with an interval over models.

    Both are of the same models, so leaving one out changes both alike: intervals are far narrower
    than those of the values. They are of the jackknife on the plain scale, cut to what is possible.
    """
    keys = ["recipe", "test", "measure", "score"]
    for key, case in samples[samples["status"].isin([OK, NOT_GROUNDED])].groupby(keys, sort=True):
        rows = case.dropna(subset=["value"]).sort_values("metric").to_dict("records")
        for x, y in combinations(rows, 2):
            left_out = np.asarray(x["left_out"], dtype=float) - np.asarray(y["left_out"])
            value = float(x["value"] - y["value"])
            ends = plain_interval(value, left_out, np.asarray(x["side"]))
            low, high = np.clip(ends, -WIDEST[x["score"]], WIDEST[x["score"]]).tolist()
            named = dict(zip(keys, key, strict=True))
            named |= {"metric_x": x["metric"], "metric_y": y["metric"], "difference": value}
            yield named | {"low": low, "high": high}


def make_ranks(
    paths: Sequence[str | Path], ranks: str | Path, summary: str | Path, between: str | Path
) -> None:
    """Writes grounding/ranks/cases.parquet, domains.parquet and differences.parquet.

    Args:
        paths: samples of all metrics, of `make_grounding`.
        ranks: the first table: of each metric in each case.
        summary: the second: by domain.
        between: the third: differences between metrics.
    """
    samples = pd.concat([read_table(path) for path in paths], ignore_index=True)
    metadata = {"samples": {Path(path).stem: table_digest(path) for path in paths}}
    table, drawn = rank_cases(samples)
    write_table(table, ranks, metadata)
    if not drawn:
        logger.warning("no test counts: see the column `note` of results/grounding")
    write_table(summarize(table, drawn), summary, metadata)
    write_table(pd.DataFrame(differences(samples), columns=DIFFERENCES), between, metadata)
