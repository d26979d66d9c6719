"""How good scores (n, classes) are at naming the true classes."""

import numpy as np

TOP = 5
LINEAR = "linear"
"""The kind of probe that figures show."""


def measure(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns `top1`, `top5` (missing unless there are more than 5 classes), `balanced_accuracy`.

    Args:
        scores: (n, C), larger for the likelier class.
        labels: (n,) true classes.
    """
    return {
        "top1": top_accuracy(scores, labels, 1),
        "top5": top_accuracy(scores, labels, TOP) if scores.shape[1] > TOP else np.nan,
        "balanced_accuracy": balanced_accuracy(scores, labels),
    }


def top_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Returns the share of rows whose true class is among the k highest of `scores`: (n, C).

    Of equal scores the lower class counts as higher; a class with minus infinity never counts.
    """
    true_scores = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    ahead = (scores > true_scores) | ((scores == true_scores) & earlier)
    return float(np.mean((ahead.sum(axis=1) < k) & np.isfinite(true_scores[:, 0])))


def balanced_accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean recall of the classes that occur."""
    recalls = [top_accuracy(scores[labels == c], labels[labels == c], 1) for c in np.unique(labels)]
    return float(np.mean(recalls))
