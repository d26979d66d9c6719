"""Checks of how a metric computes: forms, shapes, types. Each yields what does not hold."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from consilience.checking.data import call, labels_of, prepare, sides
from consilience.checking.facts import other_self_value, outside
from consilience.metrics import Metric


def all_pairs_at_once(metric: Metric) -> Iterator[str]:
    """`compare_all` gives what `compare` gives pair by pair, to 1e-12."""
    rng = np.random.default_rng(11)
    x, y = sides(metric, rng, n=40)
    labels = labels_of(y)
    forms = [prepare(metric, side, labels) for side in (x, y, np.roll(y, 3, axis=0))]
    together = metric.compare_all(forms[:2], forms)
    single = [[metric.compare(a, b) for b in forms] for a in forms[:2]]
    if not np.allclose(together, single, rtol=1e-12, atol=1e-12):
        apart = np.abs(np.subtract(together, single)).max()
        yield f"values of all pairs at once differ from those of single pairs by {apart:.3g}"


def same_value_again(metric: Metric) -> Iterator[str]:
    """The same features have the same value again, to the last digit, and stay as they are."""
    x, y = sides(metric, np.random.default_rng(19), n=40)
    kept = x.copy(), y.copy()
    first = call(metric, x, y)
    if not all(np.array_equal(a, b) for a, b in zip((x, y), kept, strict=True)):
        yield "the features that it was given are changed"
    if (again := call(metric, *kept)) != first:
        yield f"the same features have the value {first!r} and then {again!r}"
    labels = labels_of(kept[1])
    forms = [prepare(metric, side, labels) for side in kept]
    values = [float(metric.compare(*forms)) for _ in range(2)]
    if values[0] != values[1]:
        yield f"the same prepared forms have the value {values[0]!r} and then {values[1]!r}"


def prepared_bytes_are_enough(metric: Metric) -> Iterator[str]:
    """`prepared_bytes` is what a prepared form takes, or more; by a quarter less at the most."""
    n, d = 60, 12
    x, y = sides(metric, np.random.default_rng(20), n=n, d=d)
    held, said = _bytes(prepare(metric, x, labels_of(y))), metric.prepared_bytes(n, d)
    if held > 1.25 * said:  # the memory is planned by it
        yield f"prepared_bytes({n}, {d}) is {said}, and a form takes {held}"


def _bytes(form: Any) -> int:  # noqa: ANN401 - whatever a metric prepares
    """Returns the bytes of all arrays in a form: in tuples, lists, mappings and objects."""
    if isinstance(form, np.ndarray):
        return form.nbytes
    if isinstance(form, dict):
        return sum(_bytes(part) for part in form.values())
    if isinstance(form, list | tuple):
        return sum(_bytes(part) for part in form)
    return _bytes(vars(form)) if hasattr(form, "__dict__") else 0


def packed_forms_are_whole(metric: Metric) -> Iterator[str]:
    """Forms that are kept between runs give the same value when they are read again."""
    if not metric.keeps_forms:
        return
    x, y = sides(metric, np.random.default_rng(21), n=40)
    a, b = (prepare(metric, side, labels_of(y)) for side in (x, y))
    value, again = metric.compare(a, b), metric.compare(metric.unpack(metric.pack(a)), b)
    if again != value:
        yield f"forms have the value {value!r}, and {again!r} after `pack` and `unpack`"


def shapes(metric: Metric, n: int, d: int) -> Iterator[str]:
    """There is a finite value where samples are fewer than units, as many or more."""
    x, y = sides(metric, np.random.default_rng(3), n=n, d=d, units=17)
    call(metric, x, y)  # which refuses what is not finite
    yield from other_self_value(metric, x)


def any_shape(metric: Metric, n: int, d: int, seed: int) -> Iterator[str]:
    """Values of features of any shape are within the bounds to 1e-12, or refused with a reason."""
    x, y = sides(metric, np.random.default_rng(seed), n=n, d=d)
    yield from outside(metric, call(metric, x, y), 1e-12)


def float32_and_torch_agree_with_float64(metric: Metric) -> Iterator[str]:
    """Arrays and tensors of float32 have the value of the same numbers in float64, exactly."""
    import torch  # noqa: PLC0415 - it loads slowly

    x, y = sides(metric, np.random.default_rng(4), n=60)
    x32, y32 = x.astype(np.float32), y.astype(np.float32)
    exact = call(metric, x32.astype(float), y32.astype(float))
    if (value := call(metric, x32, y32)) != exact:
        yield f"float32 has the value {value!r}, the same numbers in float64 {exact!r}"
    value = call(metric, torch.from_numpy(x32), torch.from_numpy(y32), truth=y)
    if value != exact:
        yield f"tensors have the value {value!r}, arrays of the same numbers {exact!r}"
    value = call(metric, x, y)
    if not abs(value - exact) <= 1e-3 * max(1, abs(exact)):
        yield f"rounded to float32 the value is {exact!r}, and before {value!r}"


def duplicated_rows_and_dead_units(metric: Metric) -> Iterator[str]:
    """Equal samples, and a unit that is zero everywhere, give a finite value or a reason."""
    x, y = sides(metric, np.random.default_rng(7))
    x[1], y[1], x[:, 3] = x[0], y[0], 0
    yield from outside(metric, call(metric, x, y), 1e-12)


def copies_of_samples(metric: Metric) -> Iterator[str]:
    """Many copies of samples, which tie as neighbours, give a value in the bounds or a reason."""
    rng = np.random.default_rng(23)
    x, y = (side[rng.integers(15, size=40)] for side in sides(metric, rng, n=40))
    yield from outside(metric, call(metric, x, y), 1e-12)


def samples_in_any_order(metric: Metric) -> Iterator[str]:
    """The same samples in another order on both sides have the same value, to 1e-9."""
    rng = np.random.default_rng(22)
    x, y = sides(metric, rng, n=40)
    order, labels = rng.permutation(40), labels_of(y)
    value = metric.compare(*(prepare(metric, side, labels) for side in (x, y)))
    moved = metric.compare(*(prepare(metric, side[order], labels[order]) for side in (x, y)))
    if not abs(moved - value) <= 1e-9:
        yield f"the value is {value!r}, and in another order {moved!r}"
