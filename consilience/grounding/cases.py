"""One test of one recipe: which models in which groups, on which stimuli."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from consilience.pairs.correlations import Ints

ACCURACY, OUTPUT, LAYERS = "accuracy", "output", "layers"
LABELS, SHORTCUTS, AUGMENTATION = "labels", "shortcuts", "augmentation"
PREDICTED = (ACCURACY, OUTPUT)
"""Tests of a correlation with predictions."""
DESIGNED = (LABELS, SHORTCUTS, AUGMENTATION)
"""Tests of groups that are trained differently."""
TESTS = (*PREDICTED, *DESIGNED, LAYERS)
ACCURACY_DIFFERENCE = "accuracy_difference"
OUTPUTS = ("jsd", "disagreement")
"""Measures of how far answers differ."""


@dataclass(frozen=True)
class Case:
    """A test of a recipe, as the plan hands it over."""

    recipe: str
    test: str
    dataset: str
    """On which models are compared."""
    domain: str
    groups: Mapping[str, Sequence[str]]
    """For each variant its models; designed groups stand in the order of their alteration."""
    starts: Mapping[str, str] = field(default_factory=dict)
    """What the training of each model started from: equal texts are equal weights."""
    measures: Sequence[str] = ()
    """Of the test `output`."""
    gate: Mapping[str, str] = field(default_factory=dict)
    """Datasets on which it is seen whether the groups behave differently."""

    @property
    def models(self) -> list[str]:
        """The models, group by group."""
        return [model for models in self.groups.values() for model in models]

    @property
    def side(self) -> Ints:
        """The group of each model."""
        return np.repeat(np.arange(len(self.groups)), [len(m) for m in self.groups.values()])

    @property
    def start(self) -> Ints:
        """A number for what each model started from."""
        names = [self.starts.get(model, model) for model in self.models]
        place = {name: i for i, name in enumerate(dict.fromkeys(names))}
        return np.array([place[name] for name in names])

    @property
    def members(self) -> list[tuple[str, ...]]:
        """The models of each group."""
        return [tuple(models) for models in self.groups.values()]
