"""What models learn from and are scored on: samples of a dataset, as training takes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consilience.alterations.labels import count_classes
from consilience.alterations.spec import read_alteration
from consilience.datasets import open_dataset
from consilience.errors import ModelError
from consilience.files import digest, read_table
from consilience.networks import IMAGE_TEXT, Task
from consilience.samples import Samples, iterate, read_samples
from consilience.train.altered import TEST, TRAIN, Stimuli, alter, one_side
from consilience.train.inputs import open_data
from consilience.train.labelled import Data

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Sources:
    """A dataset to learn from or to be scored on."""

    row: Mapping[str, Any]
    """Of datasets.tsv."""
    samples: Samples
    split: "pd.DataFrame | None" = None
    """Which samples are on which side, if models learn from one side of a split."""

    parted: "Mapping[str, Sources]" = field(default_factory=dict)
    """For each model the same with the split of which it learns a side, if there are any."""
    pictures: dict[str, Any] = field(default_factory=dict)
    """Of samples as they are, by their split: variants learn the same ones."""

    @classmethod
    def read(
        cls,
        row: Mapping[str, Any],
        path: str | Path,
        splits: Mapping[str, str | Path] | None = None,
    ) -> "Sources":
        """Returns the samples of a dataset, and for each model the split in its file."""
        whole, splits = cls(row, read_samples(path)), splits or {}
        paths = dict.fromkeys(splits.values())
        known = {path: replace(whole, split=read_table(path)) for path in paths}
        return replace(whole, parted={model: known[path] for model, path in splits.items()})

    def of(self, model: str) -> "Sources":
        """Returns the dataset as one model has it."""
        return self.parted.get(model, self)

    @cached_property
    def told(self) -> dict[str, Any]:
        """What decides the data besides the code: row, samples, and the split."""
        split = (
            [] if self.split is None else [list(map(str, line)) for line in self.split.to_numpy()]
        )
        return {
            "row": dict(self.row),
            "pin": self.samples.pin,
            "samples": self.samples.hash,
            "split": digest(split) if split else "",
        }

    def data(
        self, split: str, spec: Mapping[str, Any], device: str, like: Task | None = None
    ) -> Data:
        """Returns the samples of a split (`all`: of both) as training takes them.

        With `like`, the task of training data, they are those that a network of it is scored on.
        """
        wanted = self.samples.table["split"].to_numpy(object)
        opened = open_dataset({**self.row, **self.samples.pin})
        found = [
            sample for row, sample in iterate(opened, self.samples) if split in ("all", wanted[row])
        ]
        role = TEST if like else TRAIN
        given = Stimuli(found, len(self.samples.classes), getattr(opened, "graph", None))
        if self.split is not None:
            given = one_side(given, self.split, spec["overlap"]["side"], role)
        if not given.samples:
            raise ModelError(
                f"dataset {spec['dataset']!r} has no samples of the split {split!r} to learn from; "
                "set `split` of the recipe to all, or draw a test share"
            )
        if self.split is None and not spec["alterations"]:
            given = replace(given, pictures=self.pictures.setdefault(split, {}))
        given = alter(given, opened, spec, role)
        if spec["objective"] == IMAGE_TEXT:
            given = replace(given, names=tuple(class_names(self, spec)))
        return open_data(given, spec, device, like)


def class_names(learnt: Sources, spec: Mapping[str, Any]) -> list[str]:
    """Returns what the classes are that a network of a spec tells, in the order of its scores.

    Those of the dataset; of one side of a split those that the side has, where classes that are one
    there have one name of all of theirs; and `new 0`, … where labels are replaced by new ones.
    """
    names = list(learnt.samples.classes)
    if learnt.split is not None:
        own = learnt.split[learnt.split[f"side_{spec['overlap']['side']}"]]
        both: dict[int, set[str]] = {}
        for new, old in zip(own["new_label"], own["label"], strict=True):
            both.setdefault(int(new), set()).add(names[int(old)])
        names = ["|".join(sorted(both.get(k, ()))) for k in range(max(both) + 1)]
    labels = read_alteration(spec["alterations"], f"recipe of {spec['dataset']!r}").labels
    more = count_classes(labels, len(names)) - len(names)
    return [*names, *(f"new {k}" for k in range(more))]
