"""Agreement of what two classifiers say: predictions, probabilities and errors from logits.

Both sides are logits (n, classes) over the same classes in the same order. Adding a number to all
logits of a sample changes none of these values; adding a vector over the classes does.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from consilience.errors import MetricError
from consilience.metrics import Facts, Metric, metric


def check_logits(x: np.ndarray) -> None:
    """Raises MetricError unless x: (n, classes) has two classes or more."""
    if x.shape[1] < 2:
        raise MetricError("logits of one class decide nothing; at least 2 classes are needed")


def check_classes(a: int, b: int) -> None:
    """Raises MetricError unless both sides have the same number of classes."""
    if a != b:
        raise MetricError(
            f"one side has {a} classes and the other {b}: both must be logits over the same "
            "classes, in the same order"
        )


class Answers(NamedTuple):
    """What is kept of each sample."""

    values: np.ndarray
    """(n,) the predicted class, or whether it is the true one."""
    classes: int


class AnswersMetric(Metric):
    """A metric on one answer per sample."""

    def permuted(self, a: Answers, order: np.ndarray) -> Answers:
        """Returns the answers of the permuted samples."""
        return Answers(a.values[order], a.classes)

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns at most 8 bytes per sample."""
        return 8 * n


@metric(
    "disagreement",
    symmetric=True,
    bounds=(0.0, 1.0),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=True,
    invariant_to={"isotropic_scaling"},
    citation="madani2004",
    inputs=("logits",),
)
@dataclass(frozen=True)
class Disagreement(AnswersMetric):
    """Share of samples for which the two sides predict different classes (Madani et al. 2004).

    The prediction is the class of the largest logit, ties to the lower class. It is a metric on
    predictions. Two classifiers with error rates e and f disagree on at least |e - f| and at most
    e + f of the samples.

    Cost: n per pair; memory 8 n bytes per model.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(Disagreement()(x, x + np.roll(x, 1, axis=0)), 4)
        0.375
    """

    def prepare(self, x: np.ndarray) -> Answers:
        """Returns the predictions of logits x: (n, classes)."""
        check_logits(x)
        return Answers(x.argmax(axis=1), x.shape[1])

    def compare(self, a: Answers, b: Answers) -> float:
        """Returns the share of different predictions."""
        check_classes(a.classes, b.classes)
        return float(np.mean(a.values != b.values))


@metric(
    "jsd",
    symmetric=True,
    bounds=(0.0, 1.0),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=False,
    invariant_to=set(),
    citation="lin1991",
    inputs=("logits",),
)
@dataclass(frozen=True)
class JSD(Metric):
    """Mean Jensen-Shannon divergence, in bits, of the predicted distributions (Lin 1991).

    (1/n) Σᵢ [KL(pᵢ‖mᵢ) + KL(qᵢ‖mᵢ)] / 2 with m = (p + q) / 2, and p and q the softmax of the logits
    of each side. Its square root (`distance`) is a metric on predicted distributions (Endres and
    Schindelin 2003). With δ = (p - q) / (p + q) a class adds
    (p + q) (2δ atanh δ + ln(1 - δ²)) / 4 nats, which is never negative and exactly 0 where p = q,
    so that small divergences are not lost to rounding.

    Cost: n c per pair for c classes; memory 8 n c bytes per model.

    Args:
        form: `divergence`, in bits, or `distance`, the square root of the mean divergence.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(JSD()(x, x + np.roll(x, 1, axis=0)), 4)
        0.0576
    """

    form: Literal["divergence", "distance"] = "divergence"

    @property
    def facts(self) -> Facts:
        """The facts: the square root obeys the triangle inequality."""
        return replace(self.class_facts, is_metric=self.form == "distance")

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Returns the softmax of logits x: (n, classes)."""
        check_logits(x)
        with np.errstate(over="ignore"):  # beyond the range of float64 apart: probability 0
            p = np.exp(x - x.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Returns the mean divergence, or its square root."""
        check_classes(a.shape[1], b.shape[1])
        total = a + b
        ratio = np.divide(a - b, total, out=np.zeros_like(total), where=total > 0)
        apart = np.abs(ratio) == 1
        ratio[apart] = 0
        terms = 2 * ratio * np.arctanh(ratio) + np.log1p(-(ratio**2))
        terms[apart] = 2 * np.log(2)
        bits = np.einsum("ij,ij->", total, terms) / (4 * np.log(2) * len(a))
        bits = min(float(bits), 1.0)  # rounding only
        return float(np.sqrt(bits)) if self.form == "distance" else bits


def correct(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns whether the largest of the logits x: (n, classes) is that of the label (n,).

    Raises:
        MetricError: a label has no column in x.
    """
    check_logits(x)
    if labels.max() >= x.shape[1]:
        row = int(np.argmax(labels))
        raise MetricError(
            f"label {labels[row]} of row {row} has no column among {x.shape[1]} logits: labels "
            "must be the classes that the logits are for, counted from 0"
        )
    return x.argmax(axis=1) == labels


class Accuracy(NamedTuple):
    """The share of right predictions over so many classes."""

    value: float
    classes: int


@metric(
    "accuracy_difference",
    symmetric=True,
    bounds=(0.0, 1.0),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=False,
    invariant_to={"isotropic_scaling"},
    citation="klabunde2025",
    inputs=("logits", "labels"),
    paired=False,
)
@dataclass(frozen=True)
class AccuracyDifference(Metric):
    """Absolute difference of the accuracies of the two sides: |acc(x) - acc(y)|.

    Accuracies are shares of samples whose largest logit, ties to the lower class, is that of the
    true class. `AbsoluteAccDiff` of ReSi (Klabunde et al. 2025).

    Cost: 1 per pair; memory 16 bytes per model.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(AccuracyDifference()(x, x + np.roll(x, 1, axis=0), labels=np.arange(16) % 3), 4)
        0.1875
    """

    def prepare(self, x: np.ndarray, labels: np.ndarray) -> Accuracy:
        """Returns the accuracy of logits x: (n, classes) for labels (n,)."""
        return Accuracy(float(correct(x, labels).mean()), x.shape[1])

    def permuted(self, a: Accuracy, order: np.ndarray) -> Accuracy:
        """Returns a: samples and their labels move together."""
        return a

    def compare(self, a: Accuracy, b: Accuracy) -> float:
        """Returns the absolute difference."""
        check_classes(a.classes, b.classes)
        return abs(a.value - b.value)

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of two numbers."""
        return 16


@metric(
    "error_consistency",
    symmetric=True,
    bounds=(-1.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"isotropic_scaling"},
    citation="geirhos2020",
    inputs=("logits", "labels"),
)
@dataclass(frozen=True)
class ErrorConsistency(AnswersMetric):
    """Cohen's kappa of being right: (o - e) / (1 - e) (Geirhos et al. 2020).

    o is the share of samples that both sides get right or both get wrong, and
    e = a b + (1 - a)(1 - b) its expectation for independent errors at accuracies a and b. It is 0
    for independent errors whatever the accuracies, and undefined where both sides are always right
    or both always wrong, as e is 1 then. Counts are whole numbers, so nothing is rounded before the
    final division.

    Cost: n per pair; memory 8 n bytes per model.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(ErrorConsistency()(x, x + np.roll(x, 1, axis=0), labels=np.arange(16) % 3), 4)
        0.375
    """

    def prepare(self, x: np.ndarray, labels: np.ndarray) -> Answers:
        """Returns which predictions of logits x: (n, classes) are right for labels (n,)."""
        return Answers(correct(x, labels), x.shape[1])

    def compare(self, a: Answers, b: Answers) -> float:
        """Returns kappa."""
        check_classes(a.classes, b.classes)
        n = len(a.values)
        x, y = int(a.values.sum()), int(b.values.sum())
        same = int(np.count_nonzero(a.values == b.values))
        expected = x * y + (n - x) * (n - y)
        if expected == n * n:
            raise MetricError(
                f"both sides are {'right' if x else 'wrong'} on all {n} samples, so there is "
                "nothing in which their errors could agree beyond chance"
            )
        return (n * same - expected) / (n * n - expected)
