"""The inputs for which independent implementations gave tests/data/{golden,resi}.json."""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

Rng = np.random.Generator
Pair = tuple[np.ndarray, np.ndarray]
DATA = Path(__file__).parent / "data"
GOLDEN = json.loads((DATA / "golden.json").read_text(encoding="utf8"))
RESI = json.loads((DATA / "resi.json").read_text(encoding="utf8"))


def _indep(rng: Rng, n: int, d1: int, d2: int) -> Pair:
    return rng.standard_normal((n, d1)), rng.standard_normal((n, d2))


def _latent(rng: Rng, n: int, d1: int, d2: int, k: int, s: float) -> Pair:
    latent = rng.standard_normal((n, k))
    a = rng.standard_normal((k, d1)) / np.sqrt(k)
    b = rng.standard_normal((k, d2)) / np.sqrt(k)
    x = latent @ a + s * rng.standard_normal((n, d1))
    return x, latent @ b + s * rng.standard_normal((n, d2))


def _relu(rng: Rng, *, thr: float, dead: int, **latent: Any) -> Pair:
    x, y = (np.maximum(side - thr, 0) for side in _latent(rng, **latent))
    x[:, :dead] = y[:, :dead] = 0
    return x, y


def _cone(rng: Rng, *, mu: float, **latent: Any) -> Pair:
    x, y = _latent(rng, **latent)
    x = x + mu * rng.standard_normal((1, x.shape[1]))
    y = y + mu * rng.standard_normal((1, y.shape[1]))
    return tuple(side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))


def _orthogonal(rng: Rng, d: int) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    return q * np.sign(np.diag(r))


def _rotation(rng: Rng, n: int, d1: int, d2: int, scale: float, shift: float) -> Pair:
    x = rng.standard_normal((n, d1)) * np.arange(1, d1 + 1) ** -0.5
    return x, scale * (x @ _orthogonal(rng, d1)) + shift


def _powerlaw(rng: Rng, n: int, d1: int, d2: int, a: float, s: float) -> Pair:
    d = max(d1, d2)
    weights = np.arange(1, d + 1) ** (-a / 2)
    shared, own = (rng.standard_normal((n, d)) * weights for _ in range(2))
    q1, q2 = _orthogonal(rng, d), _orthogonal(rng, d)
    return (shared @ q1)[:, :d1], ((shared + s * own) @ q2)[:, :d2]


def _ties(rng: Rng, n: int, d1: int, d2: int) -> Pair:
    x = rng.integers(-2, 3, size=(n, d1)).astype(float)
    y = np.clip(x[:, :d2] + rng.integers(-1, 2, size=(n, d2)), -2, 2)
    x[n // 2], y[n // 2], x[n // 2 + 1] = x[0], y[0], x[1]
    return x, y


GENERATORS: dict[str, Callable[..., Pair]] = {
    "indep": _indep,
    "latent": _latent,
    "relu": _relu,
    "cone": _cone,
    "rotation": _rotation,
    "powerlaw": _powerlaw,
    "ties": _ties,
}


@cache
def golden_pair(name: str) -> Pair:
    """Returns X, Y of a case, proven to be the inputs that the values belong to."""
    case = GOLDEN["cases"][name]
    params = dict(case["params"])
    rng = np.random.default_rng(params.pop("seed"))
    grid = 2.0 ** case["grid_bits"]
    x, y = (np.round(a * grid) / grid for a in GENERATORS[case["generator"]](rng, **params))
    for side, a in (("X", x), ("Y", y)):
        found = hashlib.sha256(np.ascontiguousarray(a, dtype="<f8").tobytes()).hexdigest()
        assert found == case["sha256"][side], f"{name}: {side} differs from the golden input"
    return x, y


def _resi_random_independent(rng: Rng) -> Pair:
    return rng.standard_normal((200, 64)), rng.standard_normal((200, 64))


def _resi_linear_noise(rng: Rng) -> Pair:
    x = rng.standard_normal((200, 64))
    weights = rng.standard_normal((64, 64))
    noise, offset = rng.standard_normal((200, 64)), rng.standard_normal(64)
    return x, x @ weights / 8.0 + 0.5 * noise + offset


def _resi_relu_sparse(rng: Rng) -> Pair:
    x = np.maximum(rng.standard_normal((200, 64)) - 0.5, 0.0)
    weights, noise = rng.standard_normal((64, 64)), rng.standard_normal((200, 64))
    return x, np.maximum(x @ weights / 4.0 + 0.3 * noise - 0.2, 0.0)


RESI_INPUTS: dict[str, Callable[[Rng], Pair]] = {
    "random_independent": _resi_random_independent,
    "linear_noise": _resi_linear_noise,
    "relu_sparse": _resi_relu_sparse,
}


@cache
def resi_pair(name: str) -> Pair:
    """Returns R, Rp of a case of resi.json; equal to its inputs, bit for bit or up to rounding."""
    case = RESI["cases"][name]
    x, y = RESI_INPUTS[name](np.random.default_rng(case["seed"]))
    assert (
        hashlib.sha256(np.ascontiguousarray(x, "<f8").tobytes()).hexdigest() == case["sha256"]["R"]
    )
    return x, y  # y holds a matrix product, whose last bits depend on the machine
