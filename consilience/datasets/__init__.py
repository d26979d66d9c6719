"""Dataset sources: one module per value of the column `source` in datasets.tsv."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from consilience.errors import ConfigError
from consilience.registry import did_you_mean, submodules

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


GROUP_COLUMN = "column"
"""How the column `group` of a row begins where the source has a column that names groups."""


@dataclass(frozen=True)
class Sample:
    """One stimulus. `image` is a function, so that nothing is decoded before it is needed."""

    id: str
    """Stable name of the stimulus (shard key, file name), never a position."""
    origin: str
    """Where it lies, for messages: `train/0.tar:000012.png`."""
    split: str = ""
    """`train` or `test`; empty where the source has one pool."""
    label: int | None = None
    text: str | None = None
    labels: tuple[int, ...] | None = None
    """Of a multilabel dataset, whose samples have no single `label`; may be empty."""
    group: str | None = None
    """What the sample is one of, such as the picture that a caption is of; None: it is alone."""
    image: "Callable[[], Image] | None" = None
    """Opens and fully decodes the picture as RGB; raises DataError naming `origin` if it cannot."""
    vector: "np.ndarray | None" = None
    """(d,) float32, where a sample is some numbers; all samples have the same d."""
    node: int | None = None
    """Its row in the dataset's `graph`, where a sample is a node."""


class Dataset(Protocol):
    """What a source returns: samples in a fixed order, the same at every pass."""

    classes: tuple[str, ...]
    """Class names by label; empty where there are no labels."""
    verified: bool
    """Whether the content was proven by a hash, so that no picture needs to be tried first."""
    # Optional, `pin: dict[str, str]`: cells that open the very same content again (`revision`).

    def __iter__(self) -> Iterator[Sample]: ...


def list_sources() -> list[str]:
    """Returns the known values of the column `source`, without importing any source."""
    return submodules(__name__)


def open_dataset(row: Mapping[str, Any]) -> Dataset:
    """Returns the dataset that a row of datasets.tsv describes; imports its source only now.

    Where the row has an `alteration`, the stimuli are altered.
    """
    source = row["source"]
    if source not in list_sources():
        raise ConfigError(
            f"unknown dataset source {source!r}{did_you_mean(source, list_sources())}"
        )
    dataset = importlib.import_module(f"{__name__}.{source}").open(row)
    if not row.get("alteration"):
        return dataset
    return importlib.import_module(f"{__name__}._altered").alter(row, dataset)


def look_for(row: Mapping[str, Any]) -> None:
    """Raises an error if what a row of datasets.tsv names is seen not to be there.

    Only what can be told at once, without opening samples and without a network: by `look_for` of
    its source, if it has one.
    """
    if row["source"] in list_sources():
        source = importlib.import_module(f"{__name__}.{row['source']}")
        if hasattr(source, "look_for"):
            source.look_for(row)
