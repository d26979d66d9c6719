"""Whether the groups of a test behave differently: else it says nothing of a metric."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from consilience.grounding.cases import AUGMENTATION, DESIGNED, LABELS, Case


class Gate(NamedTuple):
    """Whether a test counts, and what was seen."""

    passed: bool
    note: str


@dataclass(frozen=True)
class Thresholds:
    """Least differences of accuracies, means over the models of a group."""

    min_labels: float = 0.03
    """By which the test accuracy falls with every rate of altered labels."""
    min_shortcuts: float = 0.05
    """By which accuracy on informative minus on uninformative stimuli rises in all."""
    min_augmentation: float = 0.03
    """By which the most augmented models are better than the first group on altered stimuli."""


Accuracies = Mapping[tuple[str, str], float]
"""{(dataset, model): accuracy}."""


def check_gate(case: Case, accuracy: Accuracies, least: Thresholds) -> Gate:
    """Returns whether the groups of a designed test behave as they are meant to.

    Labels: accuracy on the test's own stimuli falls from each group to the next. Shortcuts: what
    informative stimuli add to it rises from each group to the next, and by enough in all.
    Augmentation: on altered stimuli the last group is better than the first.
    """
    if case.test not in DESIGNED:
        return Gate(True, "")
    if case.test == LABELS:
        means = _means(case, accuracy, case.dataset)
        steps = -np.diff(means)
        passed = bool((steps >= least.min_labels).all())
        return Gate(passed, _say("accuracy", means, least.min_labels, "to fall at every step by"))
    if case.test == AUGMENTATION:
        means = _means(case, accuracy, case.gate["altered"])
        passed = bool(means[-1] - means[0] >= least.min_augmentation)
        text = "the last to be above the first by"
        return Gate(
            passed, _say("accuracy on altered stimuli", means, least.min_augmentation, text)
        )
    informative, not_so = (
        _means(case, accuracy, case.gate[key]) for key in ("informative", "uninformative")
    )
    gains = informative - not_so
    passed = bool((np.diff(gains) > 0).all() and gains[-1] - gains[0] >= least.min_shortcuts)
    what = "accuracy gained by informative stimuli"
    return Gate(passed, _say(what, gains, least.min_shortcuts, "to rise at every step, in all by"))


def _means(case: Case, accuracy: Accuracies, dataset: str) -> np.ndarray:
    """Returns (G,) mean accuracies; missing if a model's is not known, which passes no gate."""
    return np.array(
        [np.mean([accuracy.get((dataset, m), np.nan) for m in ms]) for ms in case.groups.values()]
    )


def _say(what: str, means: np.ndarray, least: float, wanted: str) -> str:
    listed = ", ".join(f"{value:.3f}" for value in means)
    if np.isnan(means).any():
        return f"{what} is not known of all models (logits of the dataset's classes): {listed}"
    return f"{what}: {listed} ({wanted} {least:g})"
