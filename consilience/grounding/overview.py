"""What metrics find at a glance: one row per metric and test, and what tells it from the best."""

import numpy as np
import pandas as pd

from consilience.grounding.cases import DESIGNED, TESTS

OK, NOT_GROUNDED = "ok", "not_grounded"
"""Statuses of a value that counts, and of one whose groups do not behave differently."""
SCORES = {test: "auprc" if test in DESIGNED else "spearman" for test in TESTS}
"""By which metrics are ranked in a test."""
LOWEST = {"auprc": 0.0, "conformity": 0.0}
"""Smallest value of a score; of correlations -1. The largest is 1."""
KEY = ["recipe", "test", "measure"]


def headline(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows that metrics are ranked by: one per metric, recipe, test and measure.

    Those of all groups together, and where models of different groups share starts, those without
    the pairs that do.

    Args:
        rows: of results/grounding.
    """
    whole = rows[(rows["score"] == rows["test"].map(SCORES)) & (rows["group_x"] == "")]
    last = whole.sort_values("same_seed", key=lambda names: names == "drop", kind="stable")
    kept = last.drop_duplicates(["metric", *KEY], keep="last").sort_index()
    order = kept["test"].map(TESTS.index)
    return kept.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(drop=True)


def from_best(rows: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of `headline` with what tells each from the best of its test.

    Args:
        rows: of `headline`.
        differences: rows of results/grounding/ranks/differences.

    Returns:
        `rows` with `best` (the first metric with the largest value that counts; empty where none
        does), `behind, behind_low, behind_high` (value - that of the best, and its interval) and
        `told` (`best`, also of equal values; `worse`: the interval leaves out 0; `maybe`: it holds
        0; or empty: not known).
    """
    counted = rows[(rows["status"] == OK) & rows["value"].notna()]
    first = counted.loc[counted.groupby(KEY, sort=False)["value"].idxmax()]
    found = rows.merge(
        first[[*KEY, "metric", "value"]].rename(columns={"metric": "best", "value": "top"}),
        how="left", on=KEY,
    )  # fmt: skip
    found["best"] = found["best"].fillna("")
    equal = found["value"] == found["top"]
    found["behind"] = found["value"] - found.pop("top")
    ends = ["behind_low", "behind_high"]
    found = found.merge(_both_ways(differences), how="left", on=[*KEY, "metric", "best"])
    counts = (found["status"] == OK) & found["value"].notna() & (found["best"] != "")
    told = np.where(found["behind_high"] < 0, "worse", np.where(found[ends[1]].isna(), "", "maybe"))
    found["told"] = np.where(equal, "best", told)
    found.loc[~counts, "told"] = ""
    found.loc[~counts | (found["told"] == "best"), ["behind", *ends]] = np.nan
    return found


def _both_ways(differences: pd.DataFrame) -> pd.DataFrame:
    """Returns {metric, best, behind_low, behind_high} for either metric of a pair as the best."""
    kept = differences[differences["score"] == differences["test"].map(SCORES)]
    one = kept.rename(columns={"metric_x": "metric", "metric_y": "best", "low": "behind_low",
                               "high": "behind_high"})  # fmt: skip
    other = kept.rename(columns={"metric_y": "metric", "metric_x": "best"})
    other = other.assign(behind_low=-other["high"], behind_high=-other["low"])
    columns = [*KEY, "metric", "best", "behind_low", "behind_high"]
    return pd.concat([one[columns], other[columns]], ignore_index=True)
