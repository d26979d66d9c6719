"""Maps and token sequences to matrices, as metrics want them.

`reduce_pair(x, y, "spatial", seed=1)` gives two matrices with the same rows from the activations
of two networks; `describe("spatial", seed=1)` is what a table should record of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from consilience.errors import ConfigError, FeaturesError
from consilience.registry import did_you_mean

MAX_ROWS = 5_000
LAYOUTS = {2: "(samples, units)", 3: "(samples, tokens, units)", 4: "(samples, channels, h, w)"}


@dataclass(frozen=True)
class Reduction:
    """A named way from activations to a matrix."""

    summary: str
    ndims: tuple[int, ...]
    """Numbers of axes that it takes; see LAYOUTS."""
    apply: Callable[[np.ndarray], np.ndarray]
    """From activations to a matrix (rows, units), or to (samples, rows of each, units)."""
    multiplies_rows: bool = False
    """Whether one sample becomes several rows."""
    pools: bool = False
    """Whether two maps are first brought to the smaller height and width of both."""


def _flatten(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def _mean(x: np.ndarray) -> np.ndarray:
    return x.mean(axis=1 if x.ndim == 3 else (2, 3), dtype=np.float64)


def _positions(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x.reshape(*x.shape[:2], -1), 1, 2)


def _tokens(x: np.ndarray) -> np.ndarray:
    return x


REDUCTIONS = {
    "flatten": Reduction("all units of a sample in one row", (2, 3, 4), _flatten),
    "mean": Reduction("mean over positions or tokens", (3, 4), _mean),
    "spatial": Reduction(
        "a row per sample and position; of two maps, after adaptive average pooling to the "
        "smaller height and width of both",
        (4,),
        _positions,
        multiplies_rows=True,
        pools=True,
    ),
    "tokens": Reduction("a row per sample and token", (3,), _tokens, multiplies_rows=True),
}


def reduce(x: Any, name: str, *, max_rows: int | None = MAX_ROWS, seed: int = 0) -> np.ndarray:  # noqa: ANN401
    """Returns the activations x of one network as a matrix (rows, units).

    `flatten` and `mean` give a row per sample. `spatial` and `tokens` give one per sample and
    position or token, sample by sample, and of these a random `max_rows` in unchanged order where
    there are more. Rows of one sample resemble each other: they are not independent samples, and
    tests that permute rows are too sure of themselves.

    Args:
        x: (n, channels, h, w), (n, tokens, units) or (n, units); an array or a torch tensor.
        name: `flatten`, `mean`, `spatial` or `tokens`.
        max_rows: rows to keep of `spatial` and `tokens`; None for all.
        seed: of the choice of rows, which depends on nothing but it, their number and max_rows.

    Raises:
        ConfigError: unknown name or impossible max_rows or seed.
        FeaturesError: x is not numeric, is empty, or has another number of axes.
    """
    reduction = _find(name, max_rows, seed)
    return _rows(reduction.apply(_activations(x, "x", name)), max_rows, seed)


def reduce_pair(
    x: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    name: str,
    *,
    max_rows: int | None = MAX_ROWS,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the activations of two networks as matrices whose rows correspond.

    As `reduce` does, the same rows being kept on both sides. `spatial` first pools both maps to the
    smaller height and the smaller width of the two.

    ReSi (Klabunde et al. 2025) does the same but keeps every ⌊rows / 5000⌋-th row. That stride is
    often a multiple of the number of positions, and then the rows kept are one corner of every
    map (5,000 maps of 7 × 7: stride 49); rows drawn at random cover all positions alike.

    Raises:
        ConfigError: as `reduce`.
        FeaturesError: as `reduce`; or unequal numbers of samples, or of tokens for `tokens`.
    """
    reduction = _find(name, max_rows, seed)
    x, y = _activations(x, "x", name), _activations(y, "y", name)
    if len(x) != len(y):
        raise FeaturesError(
            f"x has {len(x)} samples and y has {len(y)}: both must describe the same stimuli in "
            "the same order"
        )
    if reduction.pools:
        size = (min(x.shape[2], y.shape[2]), min(x.shape[3], y.shape[3]))
        x, y = adaptive_average_pool(x, size), adaptive_average_pool(y, size)
    elif reduction.multiplies_rows and x.shape[1] != y.shape[1]:
        raise FeaturesError(
            f"x has {x.shape[1]} tokens per sample and y has {y.shape[1]}, so tokens do not "
            "correspond; use 'mean' or 'flatten'"
        )
    return tuple(_rows(reduction.apply(side), max_rows, seed) for side in (x, y))


def describe(name: str, *, max_rows: int | None = MAX_ROWS, seed: int = 0) -> dict[str, Any]:
    """Returns what decides the result of a reduction, in plain JSON types.

    Raises:
        ConfigError: as `reduce`.
    """
    reduction = _find(name, max_rows, seed)
    drawn = {"max_rows": max_rows, "seed": seed} if reduction.multiplies_rows else {}
    return {"reduction": name, **drawn}


def adaptive_average_pool(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns maps x: (n, c, H, W) averaged over a grid of (h, w) windows, in float64.

    Window i of h covers rows ⌊iH/h⌋ to ⌈(i+1)H/h⌉ - 1, and likewise columns, as in torch; windows
    overlap where h does not divide H.

    Raises:
        FeaturesError: x is not a stack of maps, or the grid is empty.
    """
    if x.ndim != 4 or min(size) < 1:
        raise FeaturesError(f"cannot pool shape {x.shape} to {size}; maps are {LAYOUTS[4]}")
    x = np.asarray(x, dtype=np.float64)
    if x.shape[2:] == tuple(size):
        return x
    return _windows(x.shape[2], size[0]) @ (x @ _windows(x.shape[3], size[1]).T)


def _windows(length: int, count: int) -> np.ndarray:
    """Returns the (count, length) matrix that averages over `count` windows."""
    place, window = np.arange(length), np.arange(count)[:, None]
    first, last = window * length // count, -(-(window + 1) * length // count)
    inside = (first <= place) & (place < last)
    return inside / inside.sum(axis=1, keepdims=True)


def _rows(x: np.ndarray, max_rows: int | None, seed: int) -> np.ndarray:
    """Returns (samples, rows of each, units) as a matrix of at most max_rows; matrices as is."""
    if x.ndim == 2:
        return x
    n, each, units = x.shape
    if max_rows is None or n * each <= max_rows:
        return x.reshape(n * each, units)
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.choice(n * each, max_rows, replace=False, shuffle=False))
    return x[kept // each, kept % each]


def _activations(x: Any, side: str, name: str) -> np.ndarray:  # noqa: ANN401
    if hasattr(x, "detach"):  # a torch tensor, without importing torch
        x = x.detach().cpu().double().numpy()
    x = np.asarray(x)
    if x.dtype.kind not in "fiub":
        raise FeaturesError(f"{side} has dtype {x.dtype}; activations are real numbers")
    wanted = REDUCTIONS[name].ndims
    if x.ndim not in wanted or 0 in x.shape:
        layouts = " or ".join(LAYOUTS[ndim] for ndim in wanted)
        raise FeaturesError(
            f"{side} has shape {x.shape}; reduction {name!r} takes {layouts}, not empty"
        )
    return x


def _find(name: str, max_rows: int | None, seed: int) -> Reduction:
    if name not in REDUCTIONS:
        raise ConfigError(f"unknown reduction {name!r}{did_you_mean(str(name), REDUCTIONS)}")
    for parameter, value, least in (("max_rows", max_rows, 1), ("seed", seed, 0)):
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
        if not whole and not (parameter == "max_rows" and value is None):
            raise ConfigError(
                f"reduction {name!r}: {parameter} cannot be {value!r}; "
                f"use a whole number from {least}"
            )
    return REDUCTIONS[name]


__all__ = [
    "MAX_ROWS",
    "REDUCTIONS",
    "Reduction",
    "adaptive_average_pool",
    "describe",
    "reduce",
    "reduce_pair",
]
