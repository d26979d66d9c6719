"""What users give: features as finite matrices, labels as whole numbers."""

from typing import Any

import numpy as np

from consilience.errors import FeaturesError


def as_features(x: Any, name: str, *, widen: bool = True) -> np.ndarray:  # noqa: ANN401
    """Returns x as a finite float64 matrix (n, d); accepts arrays and torch tensors.

    Unless `widen`, float32 stays what it is.

    Raises:
        FeaturesError: x is not numeric, not a matrix, empty, or holds NaN or infinity.
    """
    if hasattr(x, "detach"):  # a torch tensor, without importing torch
        x = x.detach().cpu()
        x = (x if x.element_size() == 4 else x.double()).numpy()
    x = np.asarray(x)
    if x.dtype.kind not in "fiub":
        raise FeaturesError(f"{name} has dtype {x.dtype}; features are real numbers")
    if x.ndim != 2 or 0 in x.shape:
        hint = (
            "; consilience.features.activations makes a matrix of maps and tokens"
            if x.ndim > 2
            else ""
        )
        raise FeaturesError(
            f"{name} has shape {x.shape}; features are (samples, units), not empty{hint}"
        )
    if widen or x.dtype != np.float32:
        x = x.astype(np.float64, copy=False)
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise FeaturesError(
            f"{name} holds NaN or infinity, first in row {row}; extract the features again "
            "(half precision overflows at 65,504) or leave the model out"
        )
    return x


def as_labels(labels: Any, n: int, metric: str) -> np.ndarray:  # noqa: ANN401
    """Returns labels as n whole numbers.

    Raises:
        FeaturesError: no labels, another number of them, or not whole numbers from 0.
    """
    if labels is None:
        raise FeaturesError(f"metric {metric!r} compares with the true classes; pass labels=")
    if hasattr(labels, "detach"):
        labels = labels.detach().cpu().numpy()
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise FeaturesError(f"labels have shape {labels.shape} for {n} samples; give one each")
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise FeaturesError("labels are whole numbers from 0, the columns of the logits")
    return labels.astype(np.int64)
