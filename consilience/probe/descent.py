"""Many multinomial logistic regressions minimised at once, on the CPU or on a device of PyTorch.

NumPy and PyTorch share the names and the indexing that are used here, so there is one solver.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from consilience.errors import ConfigError

MAX_ITERATIONS = 10_000
MEMORY = 10
"""Steps that L-BFGS remembers."""
TRIALS = 40
"""Most points that one line search looks at."""
DECREASE, CURVATURE = 1e-4, 0.9
"""The two conditions of Wolfe."""

ROUNDING = 16
"""Rounding errors of an objective of size 1, in units of the precision."""

Array = Any
"""An array of NumPy, or a tensor."""


@dataclass(frozen=True)
class Arrays:
    """Where arrays live, and in which precision."""

    xp: Any = np
    device: str = "cpu"
    dtype: str = "float64"

    def send(self, x: np.ndarray) -> Array:
        """Returns an array of the device."""
        if self.xp is np:
            return np.asarray(x, dtype=self.dtype if x.dtype.kind == "f" else None)
        dtype = getattr(self.xp, self.dtype) if x.dtype.kind == "f" else None
        return self.xp.asarray(x, dtype=dtype, device=self.device)

    def fetch(self, x: Array) -> np.ndarray:
        """Returns an array of NumPy, float64 if it is of real numbers."""
        x = x if self.xp is np else x.cpu().numpy()
        return x.astype(np.float64) if x.dtype.kind == "f" else x


def arrays_on(device: str, dtype: str = "float64") -> Arrays:
    """Returns where to compute: NumPy on the CPU, PyTorch elsewhere.

    Raises:
        ConfigError: PyTorch is not installed, or cannot use the device.
    """
    return Arrays(dtype=dtype) if device == "cpu" else torch_arrays(device, dtype)


def torch_arrays(device: str, dtype: str = "float64") -> Arrays:
    """Returns arrays of PyTorch on any of its devices, the CPU too."""
    try:
        import torch  # noqa: PLC0415 - slow to import, and only devices need it

        torch.empty(0, device=device)
    except (ImportError, RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {device!r} cannot be used: {reason}; write cpu") from error
    return Arrays(torch, device, dtype)


@dataclass(frozen=True)
class Problems:
    """Mean cross-entropy + λ/2 ‖W‖² for s sets of rows, as functions of θ: (s, C, d + 1).

    The bias is the last column of θ. Classes come before rows in scores: both matrix products then
    read `x` along its rows, which halves their time.
    """

    arrays: Arrays
    x: Array
    """(n, d + 1): features and a column of ones, so that the bias is one more weight."""
    y: Array
    """(n,) class of each row."""
    rows: Array
    """(n,) 0, 1, 2 …, to pick the true class of every row."""
    shares: Array
    """(s, n) weight of each row in the mean of each set; 0 outside the set."""

    @classmethod
    def of(cls, arrays: Arrays, x: np.ndarray, y: np.ndarray, shares: np.ndarray) -> "Problems":
        """Returns the problems of all sets of rows."""
        return cls(arrays, *map(arrays.send, (x, y, np.arange(len(x)), shares)))

    def only(self, kept: Array) -> "Problems":
        """Returns the problems of some sets."""
        return replace(self, shares=self.shares[kept])

    def scores(self, theta: Array) -> Array:
        """Returns θ xᵀ: (s, C, n)."""
        s, classes, width = theta.shape
        return (theta.reshape(s * classes, width) @ self.x.T).reshape(s, classes, len(self.x))

    def predict(self, scores: Array) -> tuple[Array, Array]:
        """Returns the classes' probabilities (s, C, n) and the mean cross-entropies (s,)."""
        xp = self.arrays.xp
        largest = xp.amax(scores, axis=1)
        p = xp.exp(scores - largest[:, None])
        total = p.sum(1)
        p /= total[:, None]
        surprise = xp.log(total) + largest - scores[:, self.y, self.rows]
        return p, (surprise * self.shares).sum(1)

    def gradient(self, theta: Array, p: Array, penalty: float) -> Array:
        """Returns the gradients (s, C, d + 1) at θ, where the probabilities are p."""
        wrong = p * self.shares[:, None]
        wrong[:, self.y, self.rows] -= self.shares
        s, classes, n = wrong.shape
        found = (wrong.reshape(s * classes, n) @ self.x).reshape(theta.shape)
        found[:, :, :-1] += penalty * theta[:, :, :-1]
        return found

    def gap(self, p: Array, gradient: Array, penalty: float, tolerance: float) -> Array:
        """Returns how far the optimum is below, (s,); where that is too much, at least how far.

        At most ‖∇_W‖² / 2λ for the weights, in which the objective is λ-strongly convex, plus
        ½ Σ_c ∇_b² / h for the bias, a Newton estimate with the curvature h there.
        """
        by_weights, by_bias = gradient[:, :, :-1], gradient[:, :, -1]
        gap = (by_weights**2).sum((1, 2)) / penalty / 2
        if not (gap <= tolerance).any():
            return gap
        bends = (p * (1 - p) * self.shares[:, None]).sum(2)
        bends = self.arrays.xp.clip(bends, min=np.finfo(np.float32).tiny)
        return gap + (by_bias**2 / bends).sum(1) / 2

    def curvature(self, p: Array, penalty: float) -> Array:
        """Returns (s, 1, d + 1): the Hessian's diagonal, averaged over the classes, plus λ.

        Principal axes make the Hessian nearly diagonal, so steps measured in these units are
        nearly Newton steps. Along the bias λ only keeps the unit away from zero.
        """
        doubt = (p * (1 - p)).sum(1) * self.shares / max(p.shape[1] - 1, 1)
        return (doubt @ self.x**2 + penalty)[:, None]


class State(NamedTuple):
    """Where the minimisation of some problems stands."""

    theta: Array
    scores: Array
    p: Array
    loss: Array
    """(s,) mean cross-entropies."""
    gradient: Array

    def only(self, kept: Array) -> "State":
        """Returns the state of some problems."""
        return State(*(part[kept] for part in self))


@dataclass
class Found:
    """The optima of all problems."""

    theta: Array
    objective: np.ndarray
    gap: np.ndarray
    iterations: np.ndarray

    def outcome(self, s: int, tolerance: float) -> tuple[float, bool, int]:
        """Returns the objective, whether it converged, and the iterations of one problem."""
        close = bool(self.gap[s] <= tolerance)
        return float(self.objective[s]), close, int(self.iterations[s])


def minimize(problems: Problems, theta: Array, penalty: float, tolerance: float) -> Found:
    """Returns the optima from θ: (s, C, d + 1) on, by L-BFGS in the units of the curvature.

    A problem whose gap is within `tolerance` leaves the batch. A problem also leaves it when no
    step lowers its objective any more: rounding allows no better.
    """
    at, fetch = _state(problems, theta, penalty), problems.arrays.fetch
    found = Found(theta + 0, *(np.zeros(len(theta)) for _ in range(3)))
    active, stuck = np.arange(len(theta)), np.zeros(len(theta), dtype=bool)
    memory = _Memory(problems.curvature(at.p, penalty), [])
    for iteration in range(MAX_ITERATIONS + 1):
        gap = fetch(problems.gap(at.p, at.gradient, penalty, tolerance))
        done = (gap <= tolerance) | stuck | (iteration == MAX_ITERATIONS)
        if done.any():
            which = active[done]
            found.theta[which] = at.theta[done]
            found.objective[which] = fetch(_objective(at, penalty))[done]
            found.gap[which], found.iterations[which] = gap[done], iteration
            if done.all():
                break
            active, kept = active[~done], np.flatnonzero(~done)
            at, problems, memory = at.only(kept), problems.only(kept), memory.only(kept)
        at, stuck = _advance(problems, at, memory, penalty)
    return found


def _state(problems: Problems, theta: Array, penalty: float) -> State:
    scores = problems.scores(theta)
    p, loss = problems.predict(scores)
    return State(theta, scores, p, loss, problems.gradient(theta, p, penalty))


def _objective(at: State, penalty: float) -> Array:
    return at.loss + penalty / 2 * (at.theta[:, :, :-1] ** 2).sum((1, 2))


def _advance(
    problems: Problems, at: State, memory: "_Memory", penalty: float
) -> tuple[State, np.ndarray]:
    """Returns the state after one step of every problem, and which could not be lowered."""
    direction = memory.direction(at.gradient)
    line = _Line.along(problems, at, direction, penalty)
    length, scores, p, loss = line.search()
    step = length[:, None, None] * direction
    theta = at.theta + step
    gradient = problems.gradient(theta, p, penalty)
    memory.add(step, gradient - at.gradient)
    return State(theta, scores, p, loss, gradient), problems.arrays.fetch(length) == 0


@dataclass
class _Memory:
    """The last steps of L-BFGS with what they did to the gradient, for every problem."""

    units: Array
    """(s, 1, d + 1) curvature along each axis at the start."""
    steps: list[tuple[Array, Array, Array]]
    """Step, change of the gradient, and 1 / their product, or 0 if that is not positive."""

    def only(self, kept: Array) -> "_Memory":
        """Returns the memory of some problems."""
        steps = [tuple(part[kept] for part in step) for step in self.steps]
        return _Memory(self.units[kept], steps)

    def add(self, step: Array, change: Array) -> None:
        """Remembers a step and forgets the oldest."""
        product = (step * change).sum((1, 2))
        inverse = (product > 0) / (product + (product <= 0))
        self.steps = [*self.steps[1 - MEMORY :], (step, change, inverse)]

    def direction(self, gradient: Array) -> Array:
        """Returns minus the inverse Hessian, as far as it is known, times the gradient."""
        q, parts = gradient + 0, []
        for step, change, inverse in reversed(self.steps):
            part = inverse * (step * q).sum((1, 2))
            parts.append(part)
            q -= part[:, None, None] * change
        q /= self.units
        if self.steps:
            step, change, _ = self.steps[-1]
            along, across = (step * change).sum((1, 2)), (change**2 / self.units).sum((1, 2))
            known = (along > 0) & (across > 0)
            q *= (known * along / (across + ~known) + ~known)[:, None, None]
        for (step, change, inverse), part in zip(self.steps, reversed(parts), strict=True):
            q += (part - inverse * (change * q).sum((1, 2)))[:, None, None] * step
        return -q


@dataclass(frozen=True)
class _Line:
    """The objectives along one direction each: scores are linear in the step, so trials are cheap.

    The objectives are convex, so the slope says on which side the minimum lies.
    """

    problems: Problems
    at: State
    slopes: Array
    """(s, C, n) scores of the direction."""
    penalty: float
    norms: Array
    """(3, s) ‖W‖², ⟨W, dW⟩, ‖dW‖²."""
    descent: Array
    """(s,) derivatives by the length at the start."""

    @classmethod
    def along(cls, problems: Problems, at: State, direction: Array, penalty: float) -> "_Line":
        """Returns the line through a state."""
        w, dw = at.theta[:, :, :-1], direction[:, :, :-1]
        products = [(a * b).sum((1, 2)) for a, b in ((w, w), (w, dw), (dw, dw))]
        norms = problems.arrays.xp.stack(products)
        descent = (at.gradient * direction).sum((1, 2))
        return cls(problems, at, problems.scores(direction), penalty, norms, descent)

    def search(self) -> tuple[Array, Array, Array, Array]:
        """Returns (s,) lengths by the conditions of Wolfe, and scores, p and loss there.

        A length of 0 stands where nothing lower was found.
        """
        xp = self.problems.arrays.xp
        nothing = 0 * self.at.loss
        value, slope = self._value(nothing, self.at.loss), self.descent
        rounding = ROUNDING * xp.finfo(value.dtype).eps * (1 + abs(value))
        length, low, high = nothing + 1, nothing, nothing + np.inf
        for _ in range(TRIALS):
            scores = self.at.scores + length[:, None, None] * self.slopes
            p, loss = self.problems.predict(scores)
            mean = xp.einsum("scn,scn->sn", p, self.slopes)
            rise = self._rise(length, mean)
            lower = self._value(length, loss) <= value + DECREASE * length * slope + rounding
            fine = lower & (abs(rise) <= CURVATURE * abs(slope))
            if fine.all():
                break
            beyond = (rise > 0) | ~lower
            high = xp.where(~fine & beyond, length, high)
            low = xp.where(~fine & ~beyond, length, low)
            newton = length - rise / self._bend(p, mean)
            middle = xp.where(xp.isfinite(high), (low + high) / 2, 2 * length)
            inside = (newton > low) & (newton < high) & (newton < 10 * length)
            tested, tried = length, xp.where(inside, newton, middle)
            length = xp.where(fine, length, tried)
        else:
            length = xp.where(lower, tested, nothing)
            scores = self.at.scores + length[:, None, None] * self.slopes
            p, loss = self.problems.predict(scores)
        return length, scores, p, loss

    def _value(self, length: Array, loss: Array) -> Array:
        own, mixed, squared = self.norms
        return loss + self.penalty / 2 * (own + 2 * length * mixed + length**2 * squared)

    def _rise(self, length: Array, mean: Array) -> Array:
        """Returns the derivatives by the length; mean: (s, n) is that of the slopes under p."""
        problems, (_, mixed, squared) = self.problems, self.norms
        true = self.slopes[:, problems.y, problems.rows]
        return ((mean - true) * problems.shares).sum(1) + self.penalty * (mixed + length * squared)

    def _bend(self, p: Array, mean: Array) -> Array:
        """Returns the second derivatives."""
        spread = self.problems.arrays.xp.einsum("scn,scn,scn->sn", p, self.slopes, self.slopes)
        return ((spread - mean**2) * self.problems.shares).sum(1) + self.penalty * self.norms[2]
