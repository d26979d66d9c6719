"""Similarity of features that classifiers with equal distributions share: sums of singular values.

Classifiers softmax(f(x)·g(y)) that say the same have features that are linear maps of one another,
and unembeddings likewise up to a shift. `identifiable_svd` compares them so that such maps do not
count.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from consilience.errors import MetricError
from consilience.forms.likelihoods import (
    Likelihoods,
    draw_sets,
    input_terms,
    label_terms,
    likelihoods,
)
from consilience.forms.rows import unit_rounding
from consilience.metrics import Facts, Metric, metric
from consilience.metrics._checks import check_counts
from consilience.metrics.likelihood import check_dimension, check_samples
from consilience.metrics.outputs import check_classes, check_logits


def standardised(
    x: np.ndarray, least: np.ndarray | None = None, what: Sequence[str] | None = None
) -> np.ndarray:
    """Returns x: (n, d) with columns of mean 0 and length 1, so that products are correlations.

    Args:
        x: the columns.
        least: (d,) ranges up to which a column is constant; by default the rounding of its values.
        what: for messages, what each column is; by default a unit.

    Raises:
        MetricError: a column is constant, up to rounding.
    """
    largest = np.abs(x).max(axis=0)
    least = unit_rounding(x) * largest if least is None else least
    constant = np.flatnonzero(np.ptp(x, axis=0) <= least)
    if len(constant):
        place = int(constant[0])
        name = what[place] if what else f"unit {place}"
        raise MetricError(f"{name} is constant, up to rounding, so it has no correlation")
    x = x / largest  # first, so that squares neither overflow nor vanish
    x = x - x.mean(axis=0)
    x = x / np.abs(x).max(axis=0)
    x = x - x.mean(axis=0)
    return x / np.linalg.norm(x, axis=0)


def _products(x: np.ndarray, y: np.ndarray, base: np.ndarray, what: Sequence[str]) -> np.ndarray:
    """Returns the standardised products (n, m) of rows x: (n, d) and y: (m, d) less base: (d,)."""
    rounding = max(unit_rounding(x), unit_rounding(y))
    sizes = (np.abs(x) @ (np.abs(y) + np.abs(base)).T).max(axis=0)
    return standardised(x @ (y - base).T, rounding * sizes, what)


def in_order(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both in an order that depends on their contents, so that values are symmetric."""
    if a.shape != b.shape:
        return (a, b) if a.shape < b.shape else (b, a)
    apart = np.flatnonzero(a.ravel() != b.ravel())
    if len(apart) and a.flat[apart[0]] > b.flat[apart[0]]:
        return b, a
    return a, b


def m_svd(a: np.ndarray, b: np.ndarray) -> float:
    """Returns Σ singular values of the correlations of standardised a: (n, d) and b: (n, d').

    Divided by the smaller of d and d', and at most 1; symmetric to the last bit.
    """
    a, b = in_order(a, b)
    s = np.linalg.svd(a.T @ b, compute_uv=False)
    return min(1.0, float(s.sum()) / min(a.shape[1], b.shape[1]))


def label_subsets(count: int, size: int, most: int = 1000, seed: int = 0) -> np.ndarray:
    """Returns (s, size) places, increasing, of all subsets of `count` labels of that size.

    Beyond `most`, so many different ones that are drawn with the seed, in order.
    """
    return _subsets(count, size, most, seed)


@lru_cache(maxsize=16)
def _subsets(count: int, size: int, most: int, seed: int) -> np.ndarray:
    if math.comb(count, size) <= most:
        found = np.array(list(itertools.combinations(range(count), size)))
    else:
        rng, drawn = np.random.default_rng([seed, count, size]), set()
        while len(drawn) < most:
            drawn.add(tuple(sorted(rng.choice(count, size, replace=False).tolist())))
        found = np.array(sorted(drawn))
    found.flags.writeable = False
    return found


class Classifier(NamedTuple):
    """One model: features, unembedding, and what they say."""

    features: np.ndarray
    """(n, d)."""
    unembedding: np.ndarray
    """(K, d)."""
    likelihoods: Likelihoods


def features_svd(
    a: Classifier, b: Classifier, pivot: int, left_out: int, subsets: np.ndarray
) -> np.ndarray:
    """Returns m_SVD of F (G[c] - G[a])ᵀ of both sides for each subset c of labels, (s,).

    Args:
        a: one model, with features F and unembedding G.
        b: the other.
        pivot: the label a.
        left_out: the label that is in no subset.
        subsets: (s, m) places among the remaining labels.

    Raises:
        MetricError: the log-odds of a label are constant over the samples.
    """
    rest = np.setdiff1d(np.arange(len(a.unembedding)), [pivot, left_out])
    names = [f"the log-odds of class {label} against class {pivot}" for label in rest]
    x, y = in_order(
        *(
            _products(side.features, side.unembedding[rest], side.unembedding[pivot], names)
            for side in (a, b)
        )
    )
    correlations = x.T @ y
    step = max(1, 2**22 // subsets.shape[1] ** 2)
    found = []
    for first in range(0, len(subsets), step):
        places = subsets[first : first + step]
        part = correlations[places[:, :, None], places[:, None, :]]
        found.append(np.linalg.svd(part, compute_uv=False).mean(axis=1))
    return np.minimum(1.0, np.concatenate(found))


def unembedding_svd(a: Classifier, b: Classifier, inputs: np.ndarray) -> float:
    """Returns m_SVD of G (F[x₁ … x_M] - F[x₀])ᵀ of both sides for the set of samples `inputs`.

    Raises:
        MetricError: two of the samples have the same log-odds of all labels.
    """
    first, rest = inputs[0], inputs[1:]
    names = [f"the log-odds of sample {row} against sample {first}" for row in rest]
    sides = (
        _products(side.unembedding, side.features[rest], side.features[first], names)
        for side in (a, b)
    )
    return m_svd(*sides)


@metric(
    "pls_svd",
    symmetric=True,
    bounds=(0.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "isotropic_scaling", "translation"},
    citation="nielsen2025",
)
@dataclass(frozen=True)
class PLSSVD(Metric):
    """Mean covariance of partial-least-squares scores of standardised units: Σ σᵢ / min(d, d').

    The σᵢ are the singular values of the correlations (d, d') between the units of both sides:
    m_SVD of Nielsen et al. (2025). Each unit may be scaled and shifted by itself, but an orthogonal
    map of the units changes the value. A constant unit has no correlation, so that there is no
    value then. With as many units on both sides the sum is at most d. With other numbers it can
    reach √(d d') where units of the wider side repeat one another; what exceeds 1 is cut.

    Cost: n d per model; n d d' + d d' min(d, d') per pair; memory 8 n d bytes per model.

    Args:
        form: `similarity`, or `distance`, 1 minus it.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(PLSSVD()(x, x + np.roll(x, 1, axis=0)), 4)
        0.703
    """

    form: Literal["similarity", "distance"] = "similarity"

    @property
    def facts(self) -> Facts:
        """The facts, turned for the distance."""
        if self.form == "similarity":
            return self.class_facts
        return replace(self.class_facts, self_value=0.0, larger_is_more_similar=False)

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Returns the standardised x: (n, d)."""
        check_samples("pls_svd", len(x))
        return standardised(x)

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Returns the similarity or the distance."""
        value = m_svd(a, b)
        return value if self.form == "similarity" else 1 - value


@metric(
    "identifiable_svd",
    symmetric=True,
    bounds=(0.0, 1.0),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=False,
    invariant_to={"isotropic_scaling", "translation"},
    citation="nielsen2025",
    inputs=("features", "unembedding", "logits"),
)
@dataclass(frozen=True)
class IdentifiableSVD(Metric):
    """Dissimilarity d_{f,g} of features and unembeddings up to what equal predictions leave open.

    With the pivot a and the label left out of `d_llv`, and its set x₀ … x_M of samples (both from
    the logits), d_SVD of features is 1 minus the smallest m_SVD (`pls_svd`) of F (G[c] - G[a])ᵀ
    over all sets c of M of the other labels, and d_SVD of unembeddings 1 - m_SVD of
    G (F[x₁ … x_M] - F[x₀])ᵀ; d_{f,g} is the larger (Nielsen et al. 2025). F: (n, M) are the
    features before the head, G: (K, M) the unembedding. An invertible map of the features whose
    inverse is applied to the unembedding changes nothing, nor does a shift of the unembedding.

    It is at most 2 M d_LLV where that is below 1, for heads without biases. Labels that tie for the
    pivot have values of their own; the first is taken, as in `d_llv`. If the sides have other
    numbers of units, M is the smaller.

    Cost: n K² per model, n K (K + M) + s M³ per pair for s subsets; memory 8 (n + K) (M + K) bytes
    per model.

    Args:
        form: `max`, d_{f,g}; or `features` or `unembedding`, its parts.
        type: of `d_llv`, for the choice of the pivot: `max` or `mean`.
        sets: number of random sets of samples, as in `d_llv`.
        seed: of these sets, and of subsets of labels.
        draw: of these sets, `seeded` or `legacy`, as in `d_llv`.
        subsets: most subsets of labels; if there are more, so many are drawn.

    Example:
        >>> x, g = np.sin(np.arange(64) ** 2).reshape(2, 16, 2), np.sin(np.arange(10)).reshape(5, 2)
        >>> round((m := IdentifiableSVD()).compare(*(m.prepare(f, g, f @ g.T) for f in x)), 4)
        0.7431
    """

    form: Literal["max", "features", "unembedding"] = "max"
    type: Literal["max", "mean"] = "max"
    sets: int = 200
    seed: int = 0
    draw: Literal["seeded", "legacy"] = "seeded"
    subsets: int = 1000

    def check(self) -> None:
        """Raises ConfigError unless counts are whole numbers."""
        check_counts(self, "sets", "subsets")
        check_counts(self, "seed", least=0)

    def prepare(
        self, features: np.ndarray, unembedding: np.ndarray, logits: np.ndarray
    ) -> Classifier:
        """Returns the form of features (n, d), unembedding (K, d) and logits (n, K)."""
        return classifier(features, unembedding, logits, "identifiable_svd")

    def compare(self, a: Classifier, b: Classifier) -> float:
        """Returns d_{f,g}, or a part of it."""
        classes, units = len(a.unembedding), min(a.features.shape[1], b.features.shape[1])
        check_classes(classes, len(b.unembedding))
        check_dimension("identifiable_svd", classes, units)
        sides, found = (a.likelihoods, b.likelihoods), []
        if self.form != "unembedding":
            labels = label_terms(*sides, self.type)
            subsets = label_subsets(classes - 2, units, self.subsets, self.seed)
            found.append(features_svd(a, b, labels.pivot, labels.left_out, subsets).min())
        if self.form != "features":
            sets = draw_sets(len(a.features), units, self.sets, self.seed, self.draw)
            found.append(unembedding_svd(a, b, input_terms(*sides, sets).inputs))
        return 1 - float(min(found))

    def permuted(self, a: Classifier, order: np.ndarray) -> Classifier:
        """Returns the form of the permuted samples."""
        return Classifier(a.features[order], a.unembedding, a.likelihoods.permuted(order))

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes for the fewest classes that d units can have, d + 2."""
        return 8 * ((n + d + 2) * (2 * d + 2) + d)


def classifier(
    features: np.ndarray, unembedding: np.ndarray, logits: np.ndarray, name: str
) -> Classifier:
    """Returns one model, checked.

    Args:
        features: (n, d).
        unembedding: (K, d).
        logits: (n, K).
        name: of what is computed, for messages.

    Raises:
        MetricError: they are not of one head, or of a single sample.
    """
    check_logits(logits)
    check_samples(name, len(logits))
    if features.shape[1] != unembedding.shape[1]:
        raise MetricError(
            f"the features have {features.shape[1]} units and the unembedding "
            f"{unembedding.shape[1]}: {name} compares the layer that the head reads"
        )
    if logits.shape[1] != len(unembedding):
        raise MetricError(
            f"there are logits of {logits.shape[1]} classes and an unembedding of "
            f"{len(unembedding)}: {name} takes both of one head"
        )
    return Classifier(features, unembedding, likelihoods(logits))
