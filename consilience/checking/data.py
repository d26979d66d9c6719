"""Random inputs of any metric: features of two models that have something in common."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from consilience.forms.inputs import model_inputs
from consilience.metrics import Metric

TELLING: dict[str, dict[str, Any]] = {"d_llv": {"rank": 1}}
"""Parameters with which few samples tell of all parts of a value: here, of those over labels."""


def features(
    rng: np.random.Generator, n: int = 80, d: int = 12, units: int | None = None
) -> list[np.ndarray]:
    """Returns related features (n, d) and (n, units): a shared latent part, own noise and offset.

    Args:
        rng: draws them.
        n: samples.
        d: units of one model.
        units: of the other (default: three more).
    """
    latent = rng.normal(size=(n, 5))
    found = []
    for width in (d, units or d + 3):
        noise = 0.5 * rng.normal(size=(n, width))
        found.append(latent @ rng.normal(size=(5, width)) / 3 + noise + rng.normal(size=width))
    return [0.3 * side for side in found]  # within reach of the fixed rbf widths


def sides(
    metric: Metric, rng: np.random.Generator, n: int = 80, d: int = 12, units: int | None = None
) -> list[np.ndarray]:
    """Returns `features` for the metric: logits are over the same classes."""
    return features(rng, n, d, d if metric.facts.main == "logits" else units)


def labels_of(x: np.ndarray) -> np.ndarray:
    """Returns classes of which x: (n, classes) gets about half right."""
    best = x.argmax(axis=1)
    return np.where(np.arange(len(x)) % 2, best, (best + 1) % x.shape[1])


def inputs_of(metric: Metric, x: Any, classes: int) -> dict[str, Any]:  # noqa: ANN401 - as given
    """Returns what a model with features x has of the metric's inputs.

    Args:
        metric: takes x: (n, d) as its main input, whatever that is.
        x: an array or a torch tensor.
        classes: so many rows has the unembedding, and columns the logits beside features. These
            are the same for features that are shifted or scaled.
    """
    names = model_inputs(metric.facts.inputs)
    if len(names) == 1:
        return {names[0]: x}
    values, width = np.asarray(x), x.shape[-1]
    g = np.random.default_rng([classes, width]).normal(size=(classes, width))
    with np.errstate(invalid="ignore"):
        moved = values - values.mean(axis=0)
        spread = moved.std(axis=0)
        z = np.divide(moved, spread, out=np.zeros_like(moved), where=spread > 1e-160)
    logits = z @ g.T if values.ndim == 2 else np.zeros((len(values), classes))
    found = {"logits": np.nan_to_num(logits).real, "unembedding": g, names[0]: x}
    return {name: found[name] for name in names}


def call(metric: Metric, x: Any, y: Any, truth: np.ndarray | None = None) -> float:  # noqa: ANN401
    """Returns the value of x and y, with labels from `truth` (default y) if the metric needs them.

    Args:
        metric: what to compute.
        x: (n, d) features, an array or a torch tensor.
        y: (n, d') of the other model.
        truth: (n, classes) what labels are made of.
    """
    classes = min(x.shape[-1], y.shape[-1]) + 2
    given = [inputs_of(metric, side, classes) for side in (x, y)]
    a, b = given if len(given[0]) > 1 else (x, y)
    if not metric.facts.shared:
        return metric(a, b)
    return metric(a, b, labels=labels_of(y if truth is None else truth))


def prepare(metric: Metric, x: np.ndarray, labels: np.ndarray) -> Any:  # noqa: ANN401
    """Returns the prepared form of x: (n, d), with labels: (n,) if the metric needs them."""
    found = {"labels": labels, **inputs_of(metric, x, 17)}
    return metric.prepare(*(found[name] for name in metric.facts.inputs))


def changes(rng: np.random.Generator, x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yields x: (n, d) under one random member of each group of maps of the units."""
    d = x.shape[1]
    yield "permutation", x[:, rng.permutation(d)]
    yield "orthogonal", x @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    yield "isotropic_scaling", x * 7.3
    yield "translation", x + 2 * rng.normal(size=d)
    yield "invertible_linear", x @ (rng.normal(size=(d, d)) + np.diag(np.linspace(1, 9, d)))
