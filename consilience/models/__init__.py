"""Model sources: one module per value of the column `source` in models.tsv."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from consilience.datasets import Dataset, Sample
from consilience.errors import ConfigError, ConsilienceError, ModelError, is_out_of_memory
from consilience.registry import did_you_mean, submodules

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

READ_ANY = ("imported", "raw", "trained")
"""Sources whose models can be of any modality; networks of all others read pictures or texts."""


class Extractor(Protocol):
    """A model ready to turn samples into features.

    What `FullExtractor` adds may be absent. A source whose features exist already has, instead of
    `preprocess` and `extract`, `read(dataset, samples, aligned)`, which returns {layer: (n, d)} and
    the provenance, and `reader`, which names the module of `aligned` (see
    `consilience.models.imported`).
    """

    layers: tuple[str, ...]
    """Names of the layers that `extract` returns, from the input side to the output side."""
    provenance: Mapping[str, str]
    """What produced the features: weights and their SHA-256, transform, pooling, versions. An
    entry `truncated` counts the texts that were cut, as `extract` meets them."""

    def preprocess(self, sample: Sample) -> Any:  # noqa: ANN401
        """Returns the model's own input for one sample; runs in worker processes."""
        ...

    def extract(self, batch: Sequence[Any]) -> "Mapping[str, Tensor]":
        """Returns {layer: (b, d)}, then {output: (b, c)}, for b inputs, in their order."""
        ...


class FullExtractor(Extractor, Protocol):
    """An extractor with all that is optional."""

    outputs: tuple[str, ...]
    """Further results per sample: `logits` (b, classes); `loss` (b, 2), the sum of negative
    log-likelihoods of the predicted tokens in nats and their number. Absent: none."""
    unembedding: "np.ndarray | None"
    """(classes, d) weights of the classifier or of the output embedding. Absent or None: none."""

    same_inputs: str | None
    """Models of which it is the same make the same inputs of a sample. Absent: nobody knows."""

    def begin(self, dataset: Dataset) -> None:
        """Takes what samples come out of, once, before any of them. Absent: samples are enough.

        A network of a graph needs all nodes and edges (`dataset.graph`) for the features of one.
        """
        ...

    def size(self, value: Any) -> int:  # noqa: ANN401
        """Returns what one preprocessed input costs, in tokens. Absent: all cost the same."""
        ...


def list_sources() -> list[str]:
    """Returns the known values of the column `source`, without importing any source."""
    return submodules(__name__)


def load_model(row: Mapping[str, Any], device: str = "cpu") -> Extractor:
    """Returns the extractor that a row of models.tsv describes; imports its source only now."""
    source = row["source"]
    if source not in list_sources():
        raise ConfigError(f"unknown model source {source!r}{did_you_mean(source, list_sources())}")
    check_modality(row)
    return importlib.import_module(f"{__name__}.{source}").load(row, device)


def check_modality(row: Mapping[str, Any]) -> None:
    """Raises ConfigError if models of a row's source cannot read what the row says."""
    source, modality = row["source"], str(row.get("modality") or "text")
    if source not in READ_ANY and modality not in ("image", "text"):
        raise ConfigError(
            f"source {source!r} has networks that read pictures or texts, and the column modality "
            f"says {modality!r}; models of that are trained here, imported or raw"
        )


@contextmanager
def reading(what: str, remedy: str) -> Iterator[None]:
    """Turns any failure of a network with its inputs into one ModelError, but a lack of memory.

    Args:
        what: the inputs, such as `a text of 700 tokens`.
        remedy: what to do, such as `set max_length`.

    Raises:
        ModelError: says what was read and what PyTorch said.
    """
    try:
        yield
    except ConsilienceError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        said = (str(error).strip().splitlines() or [""])[0]
        raise ModelError(
            f"the network cannot read {what} ({type(error).__name__}: {said}); {remedy}"
        ) from error
