"""A look for copies: samples that are each other's nearest neighbour in most models.

Copies, frames and augmentations are not independent stimuli. Where no column says which samples are
of one thing, nulls and neighbour lists are wrong without a word; so a table's log tells.
"""

import itertools
import logging
from collections.abc import Sequence

import numpy as np

from consilience.errors import FeaturesError, MetricError
from consilience.forms.kernels import near_center
from consilience.similarity.task import Item

logger = logging.getLogger(__name__)

MODELS = 8
"""Models looked at, evenly spread over those of the table."""
ROWS = 256
"""Samples whose near neighbours are sought, evenly spread."""
LEAST_MODELS = 2
LEAST_ROWS = 4
NEAR = 0.15
"""Nearly at distance 0 is below this share of the median distance: noise of a tenth of the spread
is, and classes that a classifier has drawn together are not."""
SHARE = 0.05
"""From this share of samples on it is told."""
_SHOWN = 3
MESSAGE = (
    "dataset %s: %d of %d samples looked at have the same neighbour, nearly at distance 0, in most "
    "models (rows %s, …): copies, frames or captions of one thing are not independent, and "
    "p-values and neighbours count them as if they were; say which belong together in the column "
    "group of the datasets catalogue (id=PATTERN, file=PATH, column=NAME or content)"
)


def warn_of_copies(items: Sequence[Item], dataset: str) -> None:
    """Logs a warning if more than a few per cent of the samples look like copies of others.

    Of some samples the neighbours at distance 0, or nearly so beside the median distance, are
    sought in some models, by the last layer of each. A sample counts if it has the same such
    neighbour in more than half of these models, two at least. Layers of so few units that samples
    lie this near each other anyhow tell nothing.

    Args:
        items: the layers of the table, each model's in order.
        dataset: for the message.

    Cost: 256 n d multiply-adds for each of eight models: beside a table of all pairs of samples,
    which takes n² d for each of all models, next to nothing.
    """
    last = [item for item in {item.model: item for item in items}.values() if _is_wide(item)]
    if len(last) < LEAST_MODELS or last[0].main != "features" or last[0].shape[0] < LEAST_ROWS:
        return
    places = np.linspace(0, len(last) - 1, min(MODELS, len(last))).round().astype(int)
    rows = np.unique(np.linspace(0, last[0].shape[0] - 1, ROWS).round().astype(int))
    near = []
    for place in np.unique(places):
        try:
            near.append(near_rows(last[place].features(), rows))
        except (FeaturesError, MetricError):  # said where the table fails
            continue
    if len(near) < LEAST_MODELS:
        return
    counts = np.sum(near, axis=0, dtype=np.int8)
    found = np.flatnonzero(counts.max(axis=1) > len(near) / 2)
    if len(found) <= SHARE * len(rows):
        return
    pairs = zip(rows[found], counts[found].argmax(axis=1), strict=True)
    shown = ", ".join(f"{i} and {j}" for i, j in itertools.islice(pairs, _SHOWN))
    logger.warning(MESSAGE, dataset, len(found), len(rows), shown)


def _is_wide(item: Item) -> bool:
    """Returns whether n points in d dimensions, nearest ones about n^(-1/d) apart, are not near."""
    n, d = item.shape
    return d > 1 + np.log(n) / np.log(1 / NEAR)


def near_rows(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns (m, n) whether a row of x: (n, d) lies nearly at distance 0 of some rows (m,)."""
    x = near_center(x)
    squares = np.einsum("ij,ij->i", x, x)
    distances = squares[rows, None] + squares - 2 * x[rows] @ x.T
    distances[np.arange(len(rows)), rows] = np.inf
    return distances < NEAR**2 * np.median(distances)
