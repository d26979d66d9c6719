"""Models made to show what closeness in distribution says of features, and what it does not.

Features and unembeddings lie in the plane: labels evenly on a circle, features of a class near the
direction of its label. `kl_table`: two models whose classes stand in another order on the circle
have the less KL divergence the longer the unembedding is, and are as unlike as ever. `perturbed`: a
model against itself with ever more noise on its features, for the bound on d_{f,g} by d_LLV.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from consilience.errors import ConfigError
from consilience.files import write_table
from consilience.forms.likelihoods import (
    Draw,
    InputTerms,
    LabelTerms,
    draw_sets,
    input_terms,
    label_terms,
)
from consilience.metrics.cca import CCA
from consilience.metrics.identifiable import (
    Classifier,
    classifier,
    features_svd,
    label_subsets,
    unembedding_svd,
)
from consilience.metrics.likelihood import KL, combined

DIMENSION = 2
WEIGHT = 1e-5
PER_CLASS = 500
SPREAD = np.pi / 64
"""Largest angle between features and the direction of their class."""
ORDER = (5, 0, 2, 4, 6, 1, 3)
"""Places of the classes of the second model of the KL table on the circle."""
UNITS: Mapping[int, float] = {4: 0.005, 5: 0.005, 6: 0.004, 10: 0.0025, 18: 0.002}
"""Standard deviation of the noise that every step adds to, by number of classes."""
KL_TABLE = {
    "length": "int64",
    "kl": "float64",
    "d_llv": "float64",
    "m_cca_f": "float64",
    "d_svd_f": "float64",
}
"""Columns of the KL table."""
PERTURBED = {
    "classes": "int64",
    "step": "int64",
    "noise": "float64",
    "d_llv": "float64",
    "t1": "float64",
    "t2": "float64",
    "d_svd_f": "float64",
    "d_svd_g": "float64",
    "d_fg": "float64",
    "bound": "float64",
    "bound_applies": "bool",
}
"""Columns of the table of perturbed models."""


class Circle(NamedTuple):
    """Features near the directions of classes that lie evenly on a circle."""

    angles: np.ndarray
    """(K, PER_CLASS) of the features, beyond that of their class."""
    lengths: np.ndarray
    """(K, PER_CLASS) of the features."""

    @classmethod
    def drawn(cls, rng: np.random.Generator, classes: int, length: float) -> "Circle":
        """Returns features a little longer than `length`: angles first, then lengths."""
        angles = rng.uniform(-SPREAD, SPREAD, (classes, PER_CLASS))
        return cls(angles, length + np.abs(0.01 * rng.normal(size=(classes, PER_CLASS))))

    def parts(self, length: float, places: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns features (n, 2) and unembedding (K, 2) of that length.

        Args:
            length: of the unembedding.
            places: for each class its place on the circle; angles go with the places.
        """
        order = np.asarray(places)
        of_classes = 2 * np.pi * order / len(order)
        angles = (of_classes[:, None] + self.angles[order]).ravel()
        features = self.lengths.ravel()[:, None] * _directions(angles)
        return features, length * _directions(of_classes)


def _directions(angles: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _model(features: np.ndarray, unembedding: np.ndarray) -> Classifier:
    return classifier(features, unembedding, features @ unembedding.T, "the construction")


def _measured(
    a: Classifier, b: Classifier, labels: LabelTerms, inputs: InputTerms
) -> dict[str, float]:
    """Returns d_LLV and both parts of d_{f,g}, for the first of tied pivots."""
    subsets = label_subsets(len(a.unembedding) - 2, DIMENSION)
    of_f = features_svd(a, b, labels.pivot, labels.left_out, subsets).min()
    return {
        "d_llv": combined(labels, inputs, "max", "max", WEIGHT),
        "t1": float(labels.t1.max()),
        "t2": float(inputs.t2.max()),
        "d_svd_f": 1 - float(of_f),
        "d_svd_g": 1 - unembedding_svd(a, b, inputs.inputs),
    }


def kl_table(
    seed: int = 0, lengths: Sequence[int] = tuple(range(1, 21)), draw: Draw = "seeded"
) -> pd.DataFrame:
    """Returns KL divergence and dissimilarity of two models of 7 classes in another order.

    Features of both have lengths from 2 on; classes of the second stand at the places `ORDER`, the
    features and labels alike. The same random numbers are drawn for every row.

    Args:
        seed: of angles, lengths, and sets of samples.
        lengths: of the unembedding, a row each.
        draw: how the 100 sets of samples are drawn, see the metric `d_llv`.

    Returns:
        The columns of `KL_TABLE`.
    """
    rows = []
    for length in lengths:
        circle = Circle.drawn(np.random.default_rng(seed), len(ORDER), 2.0)
        sides = [circle.parts(length, places) for places in (range(len(ORDER)), ORDER)]
        a, b = (_model(*side) for side in sides)
        terms = a.likelihoods, b.likelihoods
        sets = draw_sets(len(a.features), DIMENSION, 100, seed, draw)
        measured = _measured(a, b, label_terms(*terms), input_terms(*terms, sets))
        divergence = KL()(*(f @ g.T for f, g in sides))
        m_cca = CCA()(a.features, b.features)
        rows.append({"length": length, "kl": divergence, "m_cca_f": m_cca, **measured})
    return pd.DataFrame(rows, columns=list(KL_TABLE)).astype(KL_TABLE)


def perturbed(
    seed: int = 0,
    units: Mapping[int, float] = UNITS,
    steps: int = 250,
    draw: Draw = "seeded",
) -> pd.DataFrame:
    """Returns how models with noise on their features differ from those without.

    Features have lengths from 5 on and the unembedding 20; in step i the noise has the standard
    deviation (i + 1) u. The set of samples is chosen in the first step and kept; the pivot is
    chosen in every step.

    Args:
        seed: of angles and lengths, of the noise (drawn by a generator of its own), and of sets.
        units: {number of classes: u}.
        steps: how many.
        draw: how the 300 sets of samples are drawn, see the metric `d_llv`.

    Returns:
        The columns of `PERTURBED`.
    """
    rows = [
        row
        for classes, unit in units.items()
        for row in _perturbed(seed, classes, unit, steps, draw)
    ]
    return pd.DataFrame(rows, columns=list(PERTURBED)).astype(PERTURBED)


def _perturbed(
    seed: int, classes: int, unit: float, steps: int, draw: Draw
) -> Iterator[dict[str, Any]]:
    circle, noise = (
        Circle.drawn(np.random.default_rng(seed), classes, 5.0),
        np.random.default_rng(seed),
    )
    features, unembedding = circle.parts(20.0, range(classes))
    a = _model(features, unembedding)
    sets = draw_sets(len(features), DIMENSION, 300, seed, draw)
    for step in range(steps):
        moved = features + (step + 1) * unit * noise.normal(size=features.shape)
        b = _model(moved, unembedding)
        inputs = input_terms(a.likelihoods, b.likelihoods, sets)
        sets = inputs.inputs[None]
        found = _measured(a, b, label_terms(a.likelihoods, b.likelihoods), inputs)
        bound = 2 * DIMENSION * found["d_llv"]
        of_step = {"classes": classes, "step": step, "noise": (step + 1) * unit}
        d_fg = max(found["d_svd_f"], found["d_svd_g"])
        yield of_step | found | {"d_fg": d_fg, "bound": bound, "bound_applies": bound < 1}


MAKE = {"kl": kl_table, "perturbed": perturbed}
"""The constructions by name."""


def make_constructed(out: str | Path, *, construction: str, seed: int) -> None:
    """Writes results/identifiability/constructed/{construction}.parquet.

    Args:
        out: the table to write.
        construction: `kl` or `perturbed`.
        seed: of all that is drawn.

    Raises:
        ConfigError: there is no such construction.
    """
    if construction not in MAKE:
        raise ConfigError(f"no construction {construction!r}; there are {', '.join(MAKE)}")
    write_table(MAKE[construction](seed), out, {"construction": construction, "seed": seed})
