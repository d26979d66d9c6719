"""Pairs of rotations on a device of PyTorch: what metrics need of two forms, for many at once.

A metric says in `Metric.on_device` what that is, and its `compare` takes it as a third argument:

- `nuclear_norm`: a function like `forms.nuclear.nuclear_norm`, which gives the norm that the
  device has proven (`polar.nuclear_norms`) if that is as near as the metric allows.
- `aligned`: the mean cosine of samples after the best rotation, if proven (`polar.rotations`).
- `left_vectors`: a function like `forms.nuclear.left_vectors` of the product of two bases.

What is not proven is computed on the CPU as ever. Products are of float64, as a value is decided
by them: on cards for computing they cost what those of float32 do, on others some tens of times as
much, which is still a small part of what the singular values take on a CPU. Values agree with
those of the CPU within what either is known to, 1e-6.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from consilience.errors import MetricError
from consilience.forms.nuclear import NARROW, Scaled, left_vectors, nuclear_norm
from consilience.similarity.engine import device as devices
from consilience.similarity.engine.permuted import compared
from consilience.similarity.engine.polar import nuclear_norms, rotations, work_bytes
from consilience.similarity.store import Outcome
from consilience.similarity.task import Form, Task

PRECISION = 1e-7
"""To which a mean cosine is proven, or else computed on the CPU."""
MOST = 256
"""Pairs at once: more gain nothing."""
WEAK = 1e-8
"""Squared singular values below this share of the largest have no vectors from a Gram matrix."""

Pair = tuple[Form | MetricError, Form | MetricError]


class ProvenNorm(NamedTuple):
    """A nuclear norm from a device, for metrics that take it in the place of `nuclear_norm`."""

    value: float
    loss: float

    def __call__(self, a: Scaled, b: Scaled, allowed: Callable[[float], float]) -> float:
        """Returns the norm, or that of the CPU if this is not known as well as is allowed."""
        if math.isfinite(self.loss) and self.loss <= allowed(self.value):
            return self.value
        return nuclear_norm(a, b, allowed)


class ProvenVectors(NamedTuple):
    """Left singular vectors (d, r) and singular values (r,) from a device."""

    turn: np.ndarray
    sizes: np.ndarray

    def __call__(self, _x: np.ndarray, _y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns both."""
        return self.turn, self.sizes


class DevicePairs:
    """Compares many pairs of a task on a device.

    Batches are as large as a quarter of the memory that is free lets them be; half of it holds
    features, the last used ones where it does not hold all.

    Args:
        task: of a metric that says what a device may make; without a null.
        device: a name that PyTorch knows.

    Raises:
        ConfigError: PyTorch does not know the device, or this machine does not have it.
    """

    def __init__(self, task: Task, device: str) -> None:
        free = devices.free_memory(device)
        self._task, self._device = task, device
        self._room, self._work = free // 2, free // 4
        self._sides: OrderedDict[int, tuple[Any, Tensor]] = OrderedDict()
        self.batches: list[int] = []
        """How many pairs each batch had."""

    def ahead(self, pairs: Sequence[Pair]) -> list[Any]:
        """Returns for each pair what `compare` takes as its third argument; None: nothing."""
        found: list[Any] = [None] * len(pairs)
        shapes: dict[tuple[int, int], list[int]] = {}
        for place, (a, b) in enumerate(pairs):
            if a is not b and not isinstance(a, MetricError) and not isinstance(b, MetricError):
                low, high = sorted(_rows(form).shape[1] for form in (a, b))
                shapes.setdefault((low, high), []).append(place)
        make = getattr(self, f"_{self._task.metric.on_device}")
        with devices.exact_products(), torch.inference_mode():
            for shape, places in shapes.items():
                size = min(MOST, max(1, self._work // work_bytes(*shape)))
                for start in range(0, len(places), size):
                    part = places[start : start + size]
                    self.batches.append(len(part))
                    for place, known in zip(part, make([pairs[p] for p in part]), strict=True):
                        found[place] = known
            self._keep({id(form) for pair in pairs for form in pair})
        return found

    def compare(self, a: Form | MetricError, b: Form | MetricError, known: Any) -> Outcome:  # noqa: ANN401
        """Returns the outcome of two forms, given what the device made of them."""
        itself = self._task.metric.facts.self_value
        if a is b and itself is not None and not isinstance(a, MetricError):
            return Outcome(itself)
        return compared(self._task, a, b, *(() if known is None else (known,)))

    def _nuclear_norm(self, pairs: Sequence[Pair]) -> list[ProvenNorm]:
        norms = nuclear_norms(torch.stack([self._cross(a, b) for a, b in pairs]))
        return [ProvenNorm(*one) for one in torch.stack(norms, 1).tolist()]

    def _aligned(self, pairs: Sequence[Pair]) -> list[float | None]:
        turns = rotations(torch.stack([self._cross(a, b) for a, b in pairs]))
        return [
            self._cosine(a, b, turn, loss)
            for (a, b), turn, loss in zip(pairs, turns.factor, turns.loss.tolist(), strict=True)
        ]

    def _cosine(self, a: Form, b: Form, turn: Tensor, loss: float) -> float | None:
        x, y = self._both(a, b)
        weights = _over_length(x) * _over_length(y)
        count = int(torch.count_nonzero(weights))
        inner = x.mT @ (y * weights[:, None])
        if not count or not loss * float(inner.norm()) <= PRECISION * count:
            return None
        return float(torch.sum(inner * turn)) / count

    def _left_vectors(self, pairs: Sequence[Pair]) -> list[ProvenVectors | None]:
        return [self._vectors(*self._both(a, b, turn=False)) for a, b in pairs]

    def _vectors(self, x: Tensor, y: Tensor) -> ProvenVectors | None:
        """Returns what `forms.nuclear.left_vectors` does; one by one, as batches are slow."""
        cross = x.mT @ y
        if min(cross.shape) <= NARROW:
            return ProvenVectors(*left_vectors(cross.cpu().numpy()))
        wide = cross.shape[0] <= cross.shape[1]
        squares, vectors = torch.linalg.eigh(cross @ cross.mT if wide else cross.mT @ cross)
        squares, vectors = squares.flip(0), vectors.flip(1)
        if not squares[-1] > WEAK * squares[0]:
            return None
        sizes = squares.sqrt()
        turn = vectors if wide else cross @ (vectors / sizes)
        return ProvenVectors(turn.cpu().numpy(), sizes.cpu().numpy())

    def _cross(self, a: Form, b: Form) -> Tensor:
        x, y = self._both(a, b)
        return x.mT @ y

    def _both(self, a: Form, b: Form, *, turn: bool = True) -> tuple[Tensor, Tensor]:
        """Returns the rows of both sides on the device, the narrower first if they may `turn`."""
        x, y = self._side(a), self._side(b)
        return (y, x) if turn and x.shape[1] > y.shape[1] else (x, y)

    def _side(self, form: Form) -> Tensor:
        if id(form) not in self._sides:
            rows = np.ascontiguousarray(_rows(form))
            while self._sides and self._held + rows.nbytes > self._room:
                self._sides.popitem(last=False)
            self._sides[id(form)] = form, torch.from_numpy(rows).to(self._device)
        self._sides.move_to_end(id(form))
        return self._sides[id(form)][1]

    @property
    def _held(self) -> int:
        return sum(x.nbytes for _, x in self._sides.values())

    def _keep(self, wanted: set[int]) -> None:
        """Forgets all sides but these, which would hold the memory of forms that are gone."""
        for key in self._sides.keys() - wanted:
            del self._sides[key]


def _rows(form: Form) -> np.ndarray:
    """Returns the matrix (n, d) that a form is, or is first of all."""
    prepared = form.prepared
    return prepared if isinstance(prepared, np.ndarray) else prepared[0]


def _over_length(x: Tensor) -> Tensor:
    """Returns 1 over the norm of each row of x: (n, d); 0 for rows of zeros."""
    largest = x.abs().amax(1)
    safe = torch.where(largest > 0, largest, 1.0)
    return torch.where(largest > 0, 1 / (safe * (x / safe[:, None]).norm(dim=1)), 0.0)
