"""Derived datasets: another one's stimuli under an alteration, by the column `alteration`."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from PIL import Image

from consilience.alterations.graphs import append_classes, drop_edges, node_keys, show_nodes
from consilience.alterations.pictures import augment_picture, picture_generator
from consilience.alterations.shortcuts import add_token, disc_places, draw_disc, show_classes
from consilience.alterations.spec import Derived, check_modality, parse_cell
from consilience.alterations.synonyms import read_synonyms
from consilience.alterations.texts import edit_text
from consilience.datasets import Dataset, Sample
from consilience.datasets._graph import Graph, Nodes, dense_row
from consilience.errors import ConfigError


class Altered:
    """A dataset whose pictures, texts or nodes are altered; ids, labels and splits are not.

    Shares hold for each split of the source, or for its one pool. Every sample is altered once and
    for all: noise does not change with the pass.

    Args:
        dataset: the data as they are.
        derived: the alteration, and the seed of its draw.
        modality: of the row.
        place: the cell, for messages.

    Raises:
        ConfigError: the modality cannot be altered so, or a shortcut has no labels to show.
    """

    def __init__(self, dataset: Dataset, derived: Derived, modality: str, place: str) -> None:
        check_modality(derived.alteration, modality, place)
        self._dataset, self._derived, self._place = dataset, derived, place
        self.classes, self.verified = dataset.classes, dataset.verified
        self.pin = dict(getattr(dataset, "pin", {}))

    def __iter__(self) -> Iterator[Sample]:
        return map(self._altered, self._dataset)

    def only(self, ids: Collection[str]) -> Iterator[Sample]:
        """Yields the samples of some ids: no other one is altered, which takes its time."""
        return (self._altered(sample) for sample in self._dataset if sample.id in ids)

    def _altered(self, sample: Sample) -> Sample:
        how, seed = self._derived.alteration, self._derived.seed
        altered = sample
        if sample.image is not None:
            altered = replace(altered, image=partial(self._picture, sample))
        if sample.text is not None:
            text = sample.text
            if how.augmentation:
                text = edit_text(text, sample.id, how.augmentation, seed, self._synonyms)
            if how.shortcut:
                text = add_token(text, self._shown[sample.id])
            altered = replace(altered, text=text)
        if sample.node is not None:
            altered = replace(altered, vector=dense_row(self.graph.x, sample.node))
        return altered

    def _picture(self, sample: Sample) -> Image.Image:
        """Returns a sample's picture with its disc, and then with its noise."""
        how, seed = self._derived.alteration, self._derived.seed
        pixels = np.asarray(sample.image())
        if how.shortcut:
            shown, place = self._shown[sample.id], self._places([sample.id])[0]
            pixels = draw_disc(pixels, shown, len(self.classes), place)
        if how.augmentation:
            rng = picture_generator(sample.id, 0, seed)
            pixels = augment_picture(pixels, how.augmentation, rng)
        return Image.fromarray(pixels)

    def _places(self, ids: Sequence[str]) -> np.ndarray:
        derived = self._derived
        return disc_places(ids, derived.alteration.shortcut, derived.seed)

    @cached_property
    def _shown(self) -> dict[str, int]:
        """{id: class that the stimulus shows}."""
        by_split: dict[str, list[Sample]] = {}
        for sample in self._dataset:
            if sample.label is None:
                raise ConfigError(
                    f"{self._place}: a shortcut shows the class, and {sample.id!r} has no label"
                )
            by_split.setdefault(sample.split, []).append(sample)
        found: dict[str, int] = {}
        for samples in by_split.values():
            ids = [sample.id for sample in samples]
            labels = np.array([sample.label for sample in samples])
            shown = self._show(show_classes, ids, labels)
            found |= dict(zip(ids, shown.tolist(), strict=True))
        return found

    def _show(
        self,
        show: Callable[..., np.ndarray],
        ids: Sequence[str],
        labels: np.ndarray,
        *more: Any,  # noqa: ANN401
    ) -> np.ndarray:
        derived = self._derived
        shortcut = derived.alteration.shortcut
        return show(ids, labels, len(self.classes), *more, shortcut, derived.seed)

    @cached_property
    def _synonyms(self) -> dict[str, tuple[str, ...]]:
        folder = self._derived.alteration.augmentation.synonyms
        return read_synonyms(folder) if folder else {}

    @cached_property
    def graph(self) -> Graph:
        """The graph with the classes that nodes show, and without the edges that are dropped.

        All nodes that are drawn for something, be it for training or for the test, show their class
        by the rate of the shortcut.
        """
        nodes: Nodes = self._dataset
        x, edges = nodes.graph.x, nodes.graph.edges
        how, seed = self._derived.alteration, self._derived.seed
        if how.shortcut:
            drawn = [rows for part, rows in nodes.parts.items() if part != "rest"]
            parts = [(rows, how.shortcut.rate) for rows in drawn]
            shown = self._show(show_nodes, nodes.ids, nodes.labels, parts)
            x = append_classes(x, shown, len(self.classes))
        if how.augmentation:
            names = node_keys(nodes.ids)
            share = how.augmentation.drop_edges
            edges = drop_edges(edges, names, share, seed, "", 0)
        return Graph(x, edges)


def alter(row: Mapping[str, Any], dataset: Dataset) -> Altered:
    """Returns the dataset of a row as its column `alteration` says."""
    place = f"dataset {row.get('dataset')!r}, column alteration ({row['alteration']!r})"
    derived = parse_cell(str(row["alteration"]), place)
    return Altered(dataset, derived, str(row.get("modality", "")), place)
