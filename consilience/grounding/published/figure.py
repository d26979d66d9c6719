"""The box plot of ranks of ReSi's paper, digitised, in the columns of our ranks."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from consilience.grounding.published.names import DOMAINS, metric_of

BOX = {
    "domain", "order_in_figure", "measure_abbrev", "whisker_low", "q1", "median", "q3",
    "whisker_high",
}  # fmt: skip
QUANTILES = ["whisker_low", "q1", "median", "q3", "whisker_high"]
FIGURE = "figure"
"""In place of a test: quantiles of ranks over all cases of a domain."""
DIGITISED = "digitised"
"""Status of a rank that is read off a figure."""
NOTE = (
    "read off a figure (to about 0.1); layer ranks in it are the same for all measures (a fault of "
    "its source), so a sixth of each box says nothing"
)


def read_boxes(table: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per measure and domain, with our names.

    Returns:
        `name, metric, same, domain, place, median_rank`, and the `QUANTILES`.
    """
    named = [metric_of(str(label)) for label in table["measure_abbrev"]]
    return table.assign(
        name=[name for name, _ in named],
        metric=[metric for _, metric in named],
        same=[name != metric for name, metric in named],
        domain=[DOMAINS.get(str(domain).lower(), domain) for domain in table["domain"]],
        place=table["order_in_figure"].astype("Int64"),
        median_rank=table["median"].astype(float),
    )[["name", "metric", "same", "domain", "place", "median_rank", *QUANTILES]]


def cases_of_boxes(boxes: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yields five rows per measure and domain, whose quartiles and ends are those of its box.

    They are no cases: the test is `figure` and the recipe names the quantile. With five numbers
    the quartiles by linear interpolation are the second to the fourth, so that what draws boxes of
    ranks draws the published one.
    """
    most = boxes.groupby("domain")["metric"].transform("size")
    for row, k in zip(boxes.to_dict("records"), most, strict=True):
        for quantile in QUANTILES:
            yield {
                **{key: row[key] for key in ("metric", "name", "same", "domain")},
                "recipe": quantile,
                "test": FIGURE,
                "rank": float(row[quantile]),
                "rank01": (float(row[quantile]) - 1) / max(k - 1, 1),
                "status": DIGITISED,
                "note": NOTE,
            }
