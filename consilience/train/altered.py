"""Training data under the alterations of a recipe.

Everything is drawn from the ids of samples: see `consilience.alterations`. What is drawn once
(labels, shortcuts, operations on texts) is done to the samples; what is new in every epoch (noise,
flips, shifts, edges left out) is done to each batch, by `Vary`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from consilience.alterations.graphs import append_classes, drop_edges, node_keys, show_nodes
from consilience.alterations.labels import alter_labels, count_classes
from consilience.alterations.pictures import augment_pictures
from consilience.alterations.shortcuts import add_token, disc_places, draw_disc, show_classes
from consilience.alterations.spec import Alteration, Augmentation, check_modality, read_alteration
from consilience.alterations.synonyms import read_synonyms
from consilience.alterations.texts import edit_text
from consilience.datasets import Sample
from consilience.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

TRAIN, TEST = "train", "test"
"""What samples are for."""


@dataclass(frozen=True)
class Draw:
    """Whose draws they are."""

    study: int
    model: int


@dataclass(frozen=True)
class Vary:
    """What is new in every epoch."""

    how: Augmentation
    draw: Draw
    ids: Sequence[str]
    """Of the samples, or of all nodes of the graph."""

    def pictures(self, pixels: Tensor, rows: Tensor, epoch: int) -> Tensor:
        """Returns pictures (b, channels, h, w), bytes, of rows as an epoch sees them."""
        ids = [self.ids[row] for row in rows.tolist()]
        array = pixels.cpu().permute(0, 2, 3, 1).numpy()
        grey = array.shape[3] == 1
        array = array[..., 0] if grey else array
        found = augment_pictures(array, ids, self.how, epoch, self.draw.study, self.draw.model)
        made = torch.from_numpy(found[..., None] if grey else found)
        return made.permute(0, 3, 1, 2).contiguous().to(pixels.device)

    def edges(self, edges: Tensor, epoch: int) -> Tensor:
        """Returns the edges (2, m') of a graph in an epoch."""
        given, keys = edges.cpu().numpy(), node_keys(self.ids)
        draw, share = self.draw, self.how.drop_edges
        kept = drop_edges(given, keys, share, draw.study, draw.model, epoch)
        return torch.from_numpy(kept).to(edges.device)


@dataclass(frozen=True)
class Stimuli:
    """Samples as a network learns them, or is scored on them."""

    samples: Sequence[Sample]
    classes: int
    graph: Any = None
    """That they are nodes of."""
    vary: Vary | None = None
    names: tuple[str, ...] = ()
    """Of the classes, where they are learnt as texts."""
    pictures: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    """Those of the samples by size and channels, as far as they were read."""


def alter(
    given: Stimuli,
    dataset: Any,  # noqa: ANN401
    spec: Mapping[str, Any],
    role: str,
) -> Stimuli:
    """Returns samples under the alterations of a spec.

    Labels are replaced and stimuli varied in training only. Shortcuts are written onto what is
    learnt; what is scored is clean, but for nodes of graphs, which show a class by the rule for
    those that miss, as the network takes columns for it.

    Args:
        given: the samples.
        dataset: that they are of; of graphs it knows the ids and labels of all nodes.
        spec: with `alterations` and `seeds`.
        role: `train` or `test`.

    Raises:
        ConfigError: the modality cannot be altered so.
        DataError: there is no graph, or no folder of synonyms.
    """
    place = f"recipe of {spec['dataset']!r}"
    how = read_alteration(spec["alterations"], place)
    if how == Alteration():
        return given
    check_modality(how, spec["modality"], place)
    draw = Draw(spec["seeds"]["study"], spec["seeds"]["draw"])
    samples, ids = list(given.samples), [sample.id for sample in given.samples]
    graph = given.graph
    if how.shortcut and spec["modality"] == "graph":
        graph = _shown_graph(given, dataset, how, draw, role)
    elif how.shortcut and role == TRAIN:
        samples = _shown(samples, given.classes, spec["modality"], how, draw)
    if how.augmentation and how.augmentation.eda and role == TRAIN:
        words = read_synonyms(how.augmentation.synonyms) if how.augmentation.synonyms else None
        samples = [
            replace(s, text=edit_text(s.text or "", s.id, how.augmentation, draw.study, words))
            for s in samples
        ]
    if how.labels and role == TRAIN:
        labels = np.array([sample.label for sample in samples])
        new = alter_labels(ids, labels, given.classes, how.labels, draw.study, draw.model)
        samples = [replace(s, label=int(label)) for s, label in zip(samples, new, strict=True)]
    vary = None
    if how.augmentation and role == TRAIN and set(how.augmentation.used) - {"eda"}:
        vary = Vary(how.augmentation, draw, dataset.ids if graph is not None else ids)
    return Stimuli(samples, count_classes(how.labels, given.classes), graph, vary)


def _shown(
    samples: Sequence[Sample], classes: int, modality: str, how: Alteration, draw: Draw
) -> list[Sample]:
    """Returns pictures with discs, or texts with tokens."""
    ids = [sample.id for sample in samples]
    labels = np.array([sample.label for sample in samples])
    shown = show_classes(ids, labels, classes, how.shortcut, draw.study, draw.model)
    if modality == "text":
        texts = (add_token(s.text or "", int(k)) for s, k in zip(samples, shown, strict=True))
        return [replace(s, text=text) for s, text in zip(samples, texts, strict=True)]
    places = disc_places(ids, how.shortcut, draw.study, draw.model)
    return [
        replace(sample, image=partial(_with_disc, sample, int(k), classes, place))
        for sample, k, place in zip(samples, shown, places, strict=True)
    ]


def _with_disc(sample: Sample, shown: int, classes: int, place: np.ndarray) -> Image.Image:
    if sample.image is None:
        raise DataError(f"{sample.origin}: sample {sample.id!r} holds no picture")
    pixels = np.asarray(sample.image().convert("RGB"))
    return Image.fromarray(draw_disc(pixels, shown, classes, place))


def _shown_graph(given: Stimuli, dataset: Any, how: Alteration, draw: Draw, role: str) -> Any:  # noqa: ANN401
    """Returns the graph whose nodes show a class: those that are scored miss."""
    if given.graph is None:
        raise DataError("there is no graph that the samples are nodes of")
    parts = dataset.parts
    rate = how.shortcut.rate
    drawn = [(parts["train"], rate), (parts["validation"], rate), (parts["test"], 0.0)]
    shown = show_nodes(
        dataset.ids, dataset.labels, given.classes, drawn, how.shortcut, draw.study, draw.model
    )
    return replace(given.graph, x=append_classes(given.graph.x, shown, given.classes))


def one_side(given: Stimuli, table: "pd.DataFrame", side: str, role: str) -> Stimuli:
    """Returns the samples of one side of a split, with the labels that they have there.

    What is learnt are the samples of the side. What is scored are all samples of classes that the
    side has, with its labels.

    Args:
        given: the samples.
        table: of the split: `id`, `label`, `new_label`, `side_x`, `side_y`.
        side: `x` or `y`.
        role: `train` or `test`.

    Raises:
        DataError: a sample that is learnt is not in the table.
    """
    own = table[table[f"side_{side}"]]
    labels = dict(zip(own["label"], own["new_label"], strict=True))
    if role == TRAIN:
        new = dict(zip(own["id"], own["new_label"], strict=True))
        if missing := set(new) - {sample.id for sample in given.samples}:
            raise DataError(f"the split has samples that the dataset has not: {min(missing)!r}")
        found = [replace(s, label=int(new[s.id])) for s in given.samples if s.id in new]
    else:
        found = [replace(s, label=int(labels[s.label])) for s in given.samples if s.label in labels]
    return Stimuli(found, int(max(labels.values())) + 1, given.graph, given.vary)
