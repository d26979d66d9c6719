"""Features in memory, and from what is given to what is compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from consilience.errors import FeaturesError
from consilience.features import content_hash, read_header, read_layer
from consilience.forms.inputs import model_inputs
from consilience.metrics import Metric
from consilience.registry import did_you_mean
from consilience.similarity import Item
from consilience.similarity.items import items_of
from consilience.similarity.task import Offer, make_item


@dataclass(frozen=True, eq=False)
class Features(Mapping[str, np.ndarray]):
    """What the layers of a model make of n samples: {layer: (n, d) array}, in order of depth.

    Attributes:
        model: its name.
        arrays: {layer: (n, d)} float32, in order of depth.
        outputs: further results such as `logits` (n, classes), by name.
        dataset: id of the dataset; empty for stimuli that were given one by one.
        samples_hash: of the dataset's samples; features of two hashes do not compare. Empty:
            unknown, and rows are taken to correspond.
        ids: names of the samples, if they have any.
    """

    model: str
    arrays: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    dataset: str = ""
    samples_hash: str = ""
    ids: Sequence[str] = ()

    @classmethod
    def read(cls, path: str | Path) -> "Features":
        """Returns the features that a file of the workflow holds, all of its layers.

        Raises:
            FeaturesError: the file is missing, damaged or no features file.
        """
        header = read_header(path)
        return cls(
            str(header["model"]["model"]),
            {layer: read_layer(path, layer) for layer in header["layers"]},
            {name: read_layer(path, name) for name in header.get("outputs", ())},
            str(header.get("dataset", "")),
            str(header.get("samples_hash", "")),
        )

    def __getitem__(self, layer: str) -> np.ndarray:
        if layer not in self.arrays:
            raise FeaturesError(
                f"{self.model} has no layer {layer!r}{did_you_mean(str(layer), self.arrays)}"
            )
        return self.arrays[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __contains__(self, layer: object) -> bool:
        return layer in self.arrays

    def __repr__(self) -> str:
        n = len(next(iter(self.arrays.values())))
        of = f" of {self.dataset}" if self.dataset else ""
        shapes = {**self.arrays, **self.outputs}
        wide = max(map(len, shapes))
        lines = [f"  {name:<{wide}}  {x.shape}  {x.dtype}" for name, x in shapes.items()]
        return "\n".join([f"{self.model} on {n} samples{of}", *lines])


def items_for(metric: Metric, model: str, source: Any) -> list[Item]:  # noqa: ANN401
    """Returns what is compared of one model, a list of layers in order of depth.

    Args:
        metric: decides what of the source is taken.
        model: its name in the table.
        source: `Features`, an array or torch tensor (n, d), the path of a features file,
            {input: array} for a metric of several inputs.

    Raises:
        FeaturesError: not sound, or without what the metric takes.
    """
    if not isinstance(source, Features):
        return items_of(metric, model, source)
    names, main = model_inputs(metric.facts.inputs), metric.facts.main
    layers = source.arrays if main == "features" else {main: source.outputs.get(main)}
    origin = {"dataset": source.dataset, "samples_hash": source.samples_hash}
    found = []
    for layer, x in layers.items():
        own = {**source.outputs, main: x}
        lacking = [name for name in names if own.get(name) is None]
        if lacking:
            raise FeaturesError(
                f"{source.model} gave no {lacking[0]}, which the metric {metric.facts.name!r} takes"
            )
        offers = {name: _offer(np.asarray(own[name])) for name in names}
        found.append(replace(make_item(metric, model, layer, offers), origin=origin))
    return found


def _offer(x: np.ndarray) -> Offer:
    """Returns an input as a features file has it: pairs are known by the same hashes."""
    return Offer(x.shape, content_hash(x), lambda: x)
