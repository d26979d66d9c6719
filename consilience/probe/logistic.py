"""Multinomial logistic regression with a ridge penalty, solved to its optimum.

Fits of the same features to several sets of their rows run together, and along the penalties from
strong to weak: one matrix product serves all sets of rows.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from consilience.errors import ConfigError, DataError, FeaturesError
from consilience.probe.descent import Arrays, Problems, arrays_on, minimize


@dataclass(frozen=True)
class LogisticFit:
    """The optimum of a multinomial logistic regression: p(c | x) = softmax(x W + b)_c."""

    weights: np.ndarray
    """W: (d, C); zero for classes without a training row."""
    bias: np.ndarray
    """b: (C,); minus infinity for classes without a training row, which are never predicted."""
    objective: float
    converged: bool
    iterations: int

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Returns x W + b: (n, C)."""
        return x @ self.weights + self.bias


def fit_logistic(
    x: np.ndarray,
    y: np.ndarray,
    n_classes: int,
    penalty: float,
    *,
    start: LogisticFit | None = None,
    tolerance: float = 1e-7,
) -> LogisticFit:
    """Returns the minimum over W, b of  mean cross-entropy + penalty/2 ‖W‖²  (b is free).

    Solved by L-BFGS in the principal axes of the centred `x`, each scaled by the objective's
    curvature along it. Where d > n the axes span its row space: the optimum lies in it, since any
    part of W outside it costs penalty and changes no score. The arithmetic is float64 on one
    thread, so that the bytes of the result do not depend on the number of threads.

    scikit-learn's `LogisticRegression(C=1 / (n * penalty))` has the same optimum for three or more
    classes; for two it keeps one weight vector, the difference, and `C=2 / (n * penalty)` agrees.

    Args:
        x: (n, d) features.
        y: (n,) labels, 0 <= y < n_classes.
        n_classes: C; classes without a row get zero weights and a bias of minus infinity.
        penalty: λ > 0.
        start: a fit to start from, such as the one for the next stronger penalty.
        tolerance: the fit has converged when its objective is known to be this close to the
            optimum, in nats, by strong convexity: ‖∇_W‖² / 2λ + a like term for b <= tolerance.

    Raises:
        ConfigError: the penalty is not a positive number.
        DataError: labels do not fit the rows or the number of classes.
        FeaturesError: `x` is not a finite matrix.
    """
    x, y = check_features(x), check_labels(y, len(x), n_classes)
    check_penalty(penalty)
    mean = x.mean(axis=0)  # only the free bias feels it, but the solver likes centred features
    with threadpool_limits(1):
        axes = principal_axes(x - mean)
        if start is not None:
            bias = start.bias + mean @ start.weights
            start = replace(start, weights=axes.T @ start.weights, bias=bias)
        (fit,) = next(
            solve_path((x - mean) @ axes, y, n_classes, [penalty], tolerance, start=start)
        )
        weights = axes @ fit.weights
        return replace(fit, weights=weights, bias=fit.bias - mean @ weights)


def solve_path(
    x: np.ndarray,
    y: np.ndarray,
    n_classes: int,
    penalties: Sequence[float],
    tolerance: float,
    *,
    rows: np.ndarray | None = None,
    start: LogisticFit | None = None,
    arrays: Arrays | None = None,
) -> Iterator[list[LogisticFit]]:
    """Yields for each penalty, in their order, the fits to every set of rows; give strong first.

    Each fit starts where the two before point to, as the optimum moves smoothly with log λ. Works
    in the axes of `x`: (n, d) as they are (see `principal_axes`), without checks and without
    limiting the threads: `fit_logistic` does both. Only the classes that occur take part.

    Args:
        x: (n, d) features.
        y: (n,) labels.
        n_classes: C.
        penalties: λ > 0, one after the other.
        tolerance: see `fit_logistic`.
        rows: (sets, n) booleans, every set with rows of all classes that occur; all rows if None.
        start: a fit to start all sets from.
        arrays: device and precision; float64 on the CPU if None.
    """
    arrays = arrays or arrays_on("cpu")
    rows = np.ones((1, len(x)), dtype=bool) if rows is None else rows
    present, codes = np.unique(y, return_inverse=True)
    design = np.hstack([x, np.ones((len(x), 1))])
    theta = np.zeros((len(rows), len(present), design.shape[1]))
    if start is not None:
        theta[:] = np.nan_to_num(np.column_stack([start.weights.T, start.bias])[present], neginf=0)
    problems = Problems.of(arrays, design, codes, rows / rows.sum(axis=1, keepdims=True))
    path: list[tuple[float, np.ndarray]] = []
    for penalty in penalties:
        first = arrays.send(_extrapolate(path, penalty, theta))
        found = minimize(problems, first, penalty, tolerance)
        theta = arrays.fetch(found.theta)
        path = [*path[-1:], (math.log(penalty), theta)]
        yield [
            LogisticFit(*_all_classes(theta[s], present, n_classes), *found.outcome(s, tolerance))
            for s in range(len(rows))
        ]


def _extrapolate(
    path: Sequence[tuple[float, np.ndarray]], penalty: float, theta: np.ndarray
) -> np.ndarray:
    """Returns θ at `penalty` on the line in log λ through the last two fits, or the last θ."""
    if len(path) < 2 or path[0][0] == path[1][0]:
        return theta
    (before, theta_before), (last, theta_last) = path
    step = (math.log(penalty) - last) / (last - before)
    return theta_last + step * (theta_last - theta_before)


def _all_classes(
    theta: np.ndarray, present: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns θ of the classes that occur as the weights and biases of all classes."""
    weights, bias = np.zeros((theta.shape[1] - 1, n_classes)), np.full(n_classes, -np.inf)
    weights[:, present], bias[present] = theta[:, :-1].T, theta[:, -1]
    return weights, bias


def principal_axes(x: np.ndarray) -> np.ndarray:
    """Returns (d, min(n, d)): orthonormal axes that hold every row of `x`, by falling variance.

    Built from a QR decomposition and a symmetric eigenproblem, both of which give orthonormal
    columns whatever the rank: the change of axes is exact.
    """
    n, d = x.shape
    if d > n:
        basis, triangle = np.linalg.qr(x.T)
        return basis @ principal_axes(triangle.T)
    _, vectors = np.linalg.eigh(x.T @ x)
    return vectors[:, ::-1]


def check_features(x: np.ndarray) -> np.ndarray:
    """Returns x: (n, d) as finite float64."""
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or 0 in x.shape:
        raise FeaturesError(f"features have the shape {x.shape}; (samples, dimensions) is needed")
    broken = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(broken):
        raise FeaturesError(
            f"{len(broken)} of {len(x)} rows of the features are not finite, the first is row "
            f"{broken[0]}; extract the features again, in float32 if they overflowed"
        )
    return x


def check_labels(labels: np.ndarray, n: int, n_classes: int | None = None) -> np.ndarray:
    """Returns labels: (n,) as int64, all of them 0 <= label < n_classes."""
    labels = np.asarray(labels)
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"labels are {labels.dtype} {labels.shape}; one integer is needed per row of {n}"
        )
    if labels.min() < 0 or (n_classes is not None and labels.max() >= n_classes):
        raise DataError(
            f"labels run from {labels.min()} to {labels.max()}; they must start at 0 and stay "
            f"below the number of classes{'' if n_classes is None else f', {n_classes}'}"
        )
    return labels.astype(np.int64)


def check_penalty(penalty: float) -> None:
    """Raises ConfigError unless λ is a positive number: without it there may be no optimum."""
    if not 0 < penalty < np.inf:
        raise ConfigError(
            f"the penalty is {penalty}; give a number above 0 (without a penalty, classes that can "
            "be separated have no optimum)"
        )
