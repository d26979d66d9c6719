"""Labels that are replaced: by wrong ones, any, or new ones."""

from collections.abc import Sequence

import numpy as np

from consilience.alterations.draws import choose_share, drawer, pick, pick_other, uniforms
from consilience.alterations.spec import Labels
from consilience.errors import ConfigError


def count_classes(rule: Labels | None, classes: int) -> int:
    """Returns how many classes there are once labels are replaced."""
    return classes + (rule.new if rule else 0)


def alter_labels(
    ids: Sequence[str],
    labels: np.ndarray,
    classes: int,
    rule: Labels,
    seed: int,
    model: str | int = "",
) -> np.ndarray:
    """Returns the (n,) int64 labels after ⌊rate · n⌋ of them were replaced.

    Who is altered depends on the ids, seed and model alone, not on the rule; what an altered label
    becomes not on the rate.

    Args:
        ids: of the n samples: those that are trained on. Others keep their labels.
        labels: (n,) their labels, 0 to classes − 1.
        classes: how many there are, C.
        rule: rate, rule and draw.
        seed: the study seed.
        model: the model's seed, for `draw: own`. The same number in two variants gives nested
            draws in them.

    Raises:
        ConfigError: a wrong label of a single class.
    """
    purpose = drawer(rule.draw, seed, model)
    if rule.rule == "wrong" and classes < 2:
        raise ConfigError("labels: a wrong label needs two classes or more; there is one")
    altered = choose_share(ids, rule.rate, "labels", *purpose)
    numbers = uniforms(ids, "label", rule.rule.partition(":")[0], *purpose)
    labels = np.asarray(labels, np.int64)
    if rule.rule == "wrong":
        others = pick_other(numbers, labels, classes)
    elif rule.rule == "uniform":
        others = pick(numbers, classes)
    else:
        others = classes + pick(numbers, rule.new)
    return np.where(altered, others, labels)
