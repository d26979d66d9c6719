"""How far apart two classifiers' predicted distributions are: log likelihoods and logits.

Both sides are logits (n, K) over the same classes in the same order; adding a number to all logits
of a sample changes none of these values. Models with equal distributions have the same features up
to an invertible linear map; small values of `kl` say little about that, small ones of `d_llv` and
`logit_distance` bound how unlike features can be.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from consilience.errors import MetricError
from consilience.forms.likelihoods import (
    InputTerms,
    Kind,
    LabelTerms,
    Likelihoods,
    draw_sets,
    input_terms,
    kl_divergence,
    label_terms,
    likelihoods,
    log_probabilities,
    numerical_rank,
)
from consilience.metrics import Facts, Metric, metric
from consilience.metrics._checks import check_counts, check_number
from consilience.metrics.outputs import check_classes, check_logits


class Ranked(NamedTuple):
    """What `d_llv` keeps of a model."""

    likelihoods: Likelihoods
    rank: int
    """Dimension of the features that its logits are made of."""


def combined(
    labels: LabelTerms, inputs: InputTerms, combine: str, kind: Kind, weight: float
) -> float:
    """Returns d_LLV from its terms; the arguments are those of the metric `d_llv`."""
    of = np.mean if kind == "mean" else np.max
    t1, t2 = float(of(labels.t1)), float(np.max(inputs.t2))  # t2: always the maximum, as published
    t3, t4 = weight * float(of(labels.t3)), weight * float(of(inputs.t4))
    return max(t1, t2, t3, t4) if combine == "max" else t1 + t2 + t3 + t4


def check_dimension(name: str, classes: int, rank: int) -> None:
    """Raises MetricError unless K classes are at least M + 2 for features of M dimensions."""
    if classes < rank + 2:
        raise MetricError(
            f"{name} needs at least M + 2 = {rank + 2} classes for features of M = {rank} "
            f"dimensions, not {classes}: one is the pivot and one is left out"
        )


def check_samples(name: str, n: int) -> None:
    """Raises MetricError for a single sample."""
    if n < 2:
        raise MetricError(f"{name} needs at least 2 samples, not {n}")


@metric(
    "d_llv",
    symmetric=True,
    bounds=(0.0, np.inf),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=False,
    invariant_to=set(),
    citation="nielsen2025",
    inputs=("logits",),
)
@dataclass(frozen=True)
class DLLV(Metric):
    """Distance of log-likelihood variances, max(T₁, T₂, w T₃, w T₄) (Nielsen et al. 2025).

    L and L' are the log probabilities of the two sides. T₁ is the largest, over labels k, of
    std(L[k]/s - L'[k]/s') and std(L[a]/s - L'[a]/s') over the samples, with a pivot label a,
    s = std(L[k] - L[a]), and one label left out: a and that label are those that make T₁ smallest.
    T₂ is the same with samples and labels in each other's place, for a pivot sample and M others:
    the set of smallest T₂ among some disjoint random ones. T₃ and T₄ are the largest
    differences |s - s'|. Standard deviations divide by one less than their number.

    For models softmax(f(x)·g(y)) without biases and M dimensions, the dissimilarity
    `identifiable_svd` is at most 2 M d_LLV where that is below 1. Pivots of equal value (to 1e-6)
    are common: the first in order is taken, which changes d_LLV by no more than 1e-6 of itself.

    The random sets depend on seed, n and M alone, not on what the samples are, so that a pair has
    one value wherever it stands; in another order of the samples other sets are drawn. (The step
    `identifiability` draws by the ids of the samples instead, so there order changes nothing.)

    Cost: n K² per model, n K + K² per pair for K classes; memory 8 (n + K) K bytes per model.

    Args:
        rank: dimension M of the features behind the logits; by default the numerical rank of the
            logits without their means over samples and classes, at most K - 2, of the side where
            it is larger.
        weight: of T₃ and T₄, which have the scale of logits.
        combine: `max`, or `sum` for T₁ + T₂ + w (T₃ + T₄).
        type: `max`, or `mean` for means over labels in T₁, T₃ and T₄.
        sets: number of random sets of M + 1 samples; fewer if there are not so many samples.
        seed: of the sets.
        draw: `seeded`; or `legacy`, the sets that NumPy's legacy generator draws, as published.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(DLLV()(x, x + np.roll(x, 1, axis=0)), 4)
        0.435
    """

    rank: int | None = None
    weight: float = 1e-5
    combine: Literal["max", "sum"] = "max"
    type: Literal["max", "mean"] = "max"
    sets: int = 200
    seed: int = 0
    draw: Literal["seeded", "legacy"] = "seeded"

    def check(self) -> None:
        """Raises ConfigError unless counts are whole numbers and the weight a number from 0."""
        check_counts(self, "sets")
        check_counts(self, "seed", least=0)
        if self.rank is not None:
            check_counts(self, "rank")
        check_number(self, "weight")

    def prepare(self, x: np.ndarray) -> Ranked:
        """Returns the log probabilities of logits x: (n, K), their spreads, and M."""
        check_logits(x)
        check_samples("d_llv", len(x))
        classes = x.shape[1]
        check_dimension("d_llv", classes, self.rank or 1)
        rank = self.rank or min(max(numerical_rank(x), 1), classes - 2)
        return Ranked(likelihoods(x), rank)

    def compare(self, a: Ranked, b: Ranked) -> float:
        """Returns the distance."""
        check_classes(*(side.likelihoods.log_p.shape[1] for side in (a, b)))
        n, rank = len(a.likelihoods.log_p), max(a.rank, b.rank)
        sets = draw_sets(n, rank, self.sets, self.seed, self.draw)
        sides = a.likelihoods, b.likelihoods
        labels, inputs = label_terms(*sides, self.type), input_terms(*sides, sets)
        return combined(labels, inputs, self.combine, self.type, self.weight)

    def permuted(self, a: Ranked, order: np.ndarray) -> Ranked:
        """Returns the form of the permuted samples."""
        return Ranked(a.likelihoods.permuted(order), a.rank)

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of log probabilities and spreads of d classes."""
        return 8 * d * (n + d + 1)


@metric(
    "kl",
    symmetric=False,
    bounds=(0.0, np.inf),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=False,
    invariant_to=set(),
    citation="kullback1951",
    inputs=("logits",),
)
@dataclass(frozen=True)
class KL(Metric):
    """Mean Kullback-Leibler divergence, in nats, of the predictions of y from those of x.

    (1/n) Σᵢ Σ_k pᵢₖ (ln pᵢₖ - ln qᵢₖ) with p and q the softmax of the logits of x and y (Kullback
    and Leibler 1951). It has no upper bound: one sample that y holds for impossible decides it.
    Small divergences are not lost to rounding, and equal logits give exactly 0. However small, it
    does not bound how unlike the features behind the logits are (Nielsen et al. 2025).

    Cost: n K per pair for K classes; memory 8 n K bytes per model.

    Args:
        form: `forward`, of y from x, or `jeffreys`, the mean of both directions.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(KL()(x, x + np.roll(x, 1, axis=0)), 4)
        0.1754
    """

    form: Literal["forward", "jeffreys"] = "forward"

    @property
    def facts(self) -> Facts:
        """The facts: the mean of both directions is symmetric."""
        return replace(self.class_facts, symmetric=self.form == "jeffreys")

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Returns the log probabilities of logits x: (n, K)."""
        check_logits(x)
        return log_probabilities(x)

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Returns the divergence."""
        check_classes(a.shape[1], b.shape[1])
        if self.form == "forward":
            return kl_divergence(a, b)
        return (kl_divergence(a, b) + kl_divergence(b, a)) / 2


@metric(
    "logit_distance",
    symmetric=True,
    bounds=(0.0, np.inf),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=True,
    invariant_to=set(),
    citation="nielsen2026",
    inputs=("logits",),
)
@dataclass(frozen=True)
class LogitDistance(Metric):
    r"""Root mean square difference of logits without their mean over the classes of each sample.

    δ = (Σᵢₖ (zᵢₖ - z'ᵢₖ)² / (n K))^½ with zᵢₖ = xᵢₖ - meanₖ xᵢₖ: what is left of logits says the
    same as the predicted distribution, and on these δ is a metric. Nielsen et al. (2026) show that
    such a distance, unlike the KL divergence, bounds how unlike representations are.

    A bound that can be computed: let logits be f(x)·g(y), with or without a bias for each class, Z
    the matrix z without its means over samples, and σ its M-th singular value, for features of M
    dimensions. Then the squared canonical correlations ρ² of the features of both sides obey
    Σ (1 - ρ²) ≤ ‖Z - Z'‖² / σ² ≤ n K δ² / σ², as the features of the other side span the columns
    of Z', and so 1 - m_CCA ≤ n K δ² / (M σ²). σ may be that of either side.
    `consilience.forms.likelihoods.least_cca` gives it.

    Cost: n K per pair for K classes; memory 8 n K bytes per model.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(LogitDistance()(x, x + np.roll(x, 1, axis=0)), 4)
        0.6306
    """

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Returns logits x: (n, K) without their means over the classes."""
        check_logits(x)
        return x - x.mean(axis=1, keepdims=True)

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Returns the root mean square difference."""
        check_classes(a.shape[1], b.shape[1])
        apart = np.abs(a - b)
        largest = apart.max()
        if largest == 0:
            return 0.0
        return float(largest * np.sqrt(np.mean((apart / largest) ** 2)))
