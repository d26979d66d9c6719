"""What a pass tries one by one: items that may fail, and work in batches."""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from consilience.errors import MetricError
from consilience.similarity.task import Item

logger = logging.getLogger(__name__)


def attempt(item: Item, make: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Returns what `make` gives, or the error that all pairs of the item then have."""
    try:
        return make()
    except MetricError as error:
        logger.warning("model %s, layer %s: %s", item.model, item.layer, error)
        return error


def batched(things: Iterable, size: int) -> Iterator[list]:
    """Yields lists of `size` things, the last one shorter."""
    iterator = iter(things)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
