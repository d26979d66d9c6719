"""Similarity measures: one family per module, looked up by name.

`get_metric("cka", kernel="rbf", sigma=0.4)(x, y)` is the value for two feature matrices.
For many models, `prepare` each once and `compare` the prepared forms.
"""

import dataclasses
import hashlib
import inspect
import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from consilience.errors import ConfigError, FeaturesError, MetricError
from consilience.metrics._moments import Moments
from consilience.metrics._rows import Preprocessing, Rows, clip_outliers, unit_rows
from consilience.metrics._tiles import TileForm, part, scaled_cubes
from consilience.registry import Registry, did_you_mean

Invariance = Literal[
    "permutation", "orthogonal", "isotropic_scaling", "translation", "invertible_linear"
]
INVARIANCES: tuple[Invariance, ...] = typing.get_args(Invariance)


@dataclass(frozen=True)
class Facts:
    """What holds for a metric whatever the data; tests, plots and documents read it here."""

    symmetric: bool
    bounds: tuple[float, float]
    self_value: float | None
    """The value of features compared with themselves."""
    larger_is_more_similar: bool
    is_metric: bool
    """Whether the value obeys the axioms of a metric distance."""
    invariant_to: frozenset[Invariance]
    """Maps of the units of one side that never change the value."""
    citation: str
    """BibTeX key in config/citations.bib."""
    input: Literal["features", "logits", "unembedding"] = "features"
    paired: bool = True
    """Whether the value depends on which sample of one side meets which of the other. Where not,
    permuting the samples changes nothing and there is no null to compare with."""
    needs_labels: bool = False
    """Whether `prepare` also takes the true classes of the samples."""
    name: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Returns the facts in plain JSON types."""
        facts = dataclasses.asdict(self)
        facts["invariant_to"] = sorted(self.invariant_to)
        facts["bounds"] = [None if np.isinf(bound) else bound for bound in self.bounds]
        return facts


IMPORT = r"(?m)^from consilience\.metrics\.(\w+) import"
METRICS: "Registry[type[Metric]]" = Registry("metric", __name__)


def metric(name: str, **facts: Any) -> Callable[[type["Metric"]], type["Metric"]]:  # noqa: ANN401
    """Returns a class decorator that registers a metric under `name` with its facts."""

    def enter(cls: type["Metric"]) -> type["Metric"]:
        facts["invariant_to"] = frozenset(facts["invariant_to"])
        cls.class_facts = Facts(name=name, **facts)
        return METRICS.register(name)(cls)

    return enter


@dataclass(frozen=True)
class Metric:
    """A similarity measure; the fields of a subclass are its parameters.

    A subclass writes `prepare`, done once per model and layer, and `compare`, done once per pair.
    """

    class_facts: ClassVar[Facts]

    def __post_init__(self) -> None:
        _check_choices(self)
        self.check()

    def check(self) -> None:
        """Raises ConfigError if parameter values make no sense."""

    @property
    def facts(self) -> Facts:
        """The facts, as they are for these parameters."""
        return self.class_facts

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters by the names that `get_metric` takes."""
        return {name: getattr(self, field) for name, field in _fields(type(self)).items()}

    def prepare(self, x: np.ndarray) -> Any:  # noqa: ANN401
        """Returns what `compare` needs of features x: (n, d), float64 and finite.

        A metric whose fact `needs_labels` is true takes the labels (n,) as a second argument.

        Raises:
            MetricError: the metric is not defined for x.
        """
        raise NotImplementedError

    def permuted(self, a: Any, order: np.ndarray) -> Any:  # noqa: ANN401
        """Returns the prepared form of x[order] from a, that of x, without preparing it again.

        As it stands, for forms that are arrays whose first axis is the samples.
        """
        return a[order]

    def compare(self, a: Any, b: Any) -> float:  # noqa: ANN401
        """Returns the value for two prepared forms over the same n samples."""
        raise NotImplementedError

    def compare_all(self, forms_x: Sequence[Any], forms_y: Sequence[Any]) -> np.ndarray:
        """Returns the values (|x|, |y|) of all pairs of prepared forms."""
        return np.array([[self.compare(a, b) for b in forms_y] for a in forms_x])

    @property
    def base(self) -> str:
        """A name that metrics share that work on the same products or lists; empty: its own."""
        return ""

    @property
    def keeps_forms(self) -> bool:
        """Whether prepared forms are small beside what they cost, and so kept between runs."""
        return False

    def pack(self, a: Any) -> dict[str, np.ndarray]:  # noqa: ANN401
        """Returns the arrays that a prepared form consists of: by default, it is one."""
        return {"form": a}

    def unpack(self, arrays: dict[str, np.ndarray]) -> Any:  # noqa: ANN401
        """Returns the prepared form that consists of these arrays."""
        return arrays["form"]

    @property
    def ranked(self) -> bool:
        """Whether the tiled pass takes ranks of all entries, which are kept between runs."""
        return False

    @property
    def has_closed_form(self) -> bool:
        """Whether `moments` gives the null of the value."""
        return False

    def moments(self, a: Any) -> Moments:  # noqa: ANN401
        """Returns the sums over a prepared form that give its null, if `has_closed_form`."""
        raise NotImplementedError

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the memory that one prepared form takes, in bytes."""
        return 8 * n * d

    def __call__(self, x: Any, y: Any, *, labels: Any = None) -> float:  # noqa: ANN401
        """Returns the similarity of x: (n, d) and y: (n, d'), arrays or torch tensors.

        Args:
            x: features of one model.
            y: features of the other, of the same samples in the same order.
            labels: (n,) true classes as whole numbers, for metrics whose facts ask for them.

        Raises:
            FeaturesError: not two finite matrices over the same number of samples, or labels
                missing or of another length.
            MetricError: the value is not defined for them.
        """
        x, y = as_features(x, "x"), as_features(y, "y")
        if len(x) != len(y):
            raise FeaturesError(
                f"x has {len(x)} samples and y has {len(y)}: both must describe the same stimuli, "
                "one per row, in the same order"
            )
        extra = (
            (as_labels(labels, len(x), self.class_facts.name),) if self.facts.needs_labels else ()
        )
        return float(self.compare(self.prepare(x, *extra), self.prepare(y, *extra)))


class InnerProductMetric(Metric):
    """A metric that is the inner product of two unit vectors over pairs of samples.

    The vectors hold the entries above the diagonal of a symmetric matrix, row by row, and then,
    where `has_diagonal` is true, the diagonal.
    """

    @property
    def has_diagonal(self) -> bool:
        """Whether the vectors end with the diagonal."""
        return False

    @property
    def has_closed_form(self) -> bool:
        """Whether `moments` gives the null of the value: always."""
        return True

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Returns the inner product of two unit vectors."""
        return float(np.dot(a, b))

    def moments(self, a: np.ndarray) -> Moments:
        """Returns the sums over the matrix that holds each pair of the vector twice."""
        n = round(np.sqrt(2 * len(a)))  # n(n+1)/2 entries with the diagonal, n(n-1)/2 without
        diagonal = None
        if n * (n + 1) // 2 == len(a) and self.has_diagonal:
            diagonal = a[n * (n - 1) // 2 :]
        else:
            n = round(np.sqrt(2 * len(a)) + 0.5)
        matrix = np.zeros((n, n))
        matrix[~np.tri(n, dtype=bool)] = a[: n * (n - 1) // 2] / np.sqrt(2)
        return Moments.of_symmetric(matrix + matrix.T, diagonal)

    @property
    def centring(self) -> str:
        """How the tiled pass centres entries: a key of `_tiles.CENTRINGS`; empty: not at all."""
        return ""

    def tile_form(self, x: Rows) -> TileForm:
        """Returns what the tiled pass needs of x: (n, d), if `centring` names a way."""
        raise NotImplementedError

    def tile_cubes(self, x: Rows) -> tuple[float, ...]:
        """Returns the third-order sums of the null of x: (n, d), from a part of the samples."""
        return scaled_cubes(self.moments(self.prepare(x.take(part(len(x))))), len(x))

    def compare_all(self, forms_x: Sequence[Any], forms_y: Sequence[Any]) -> np.ndarray:
        """Returns the inner products of all pairs of vectors."""
        return np.asarray(forms_x) @ np.asarray(forms_y).T

    def permuted(self, a: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Returns the vector over pairs of the permuted samples."""
        n = len(order)
        rows, columns = np.triu_indices(n, 1)
        x, y = order[rows], order[columns]
        low, high = np.minimum(x, y), np.maximum(x, y)
        moved = a[low * (2 * n - low - 1) // 2 + high - low - 1]
        return (
            np.concatenate([moved, a[n * (n - 1) // 2 :][order]]) if len(a) > len(moved) else moved
        )

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of one float64 per unordered pair of samples."""
        return 4 * n * (n + 1)


def get_metric(name: str, **parameters: Any) -> Metric:  # noqa: ANN401
    """Returns the metric registered under `name` with the given parameters.

    Raises:
        ConfigError: unknown name, parameter or value, with the nearest known one.
    """
    cls = METRICS[name]
    fields = _fields(cls)
    for parameter in parameters:
        if parameter not in fields:
            raise ConfigError(
                f"metric {name!r} has no parameter {parameter!r}{did_you_mean(parameter, fields)}"
            )
    return cls(**{fields[parameter]: value for parameter, value in parameters.items()})


def list_metrics() -> list[str]:
    """Returns the names of all registered metrics."""
    return list(METRICS)


def metric_code(metric: Metric) -> str:
    """Returns the SHA-256 of the source that decides the metric's values.

    That is the metric's module, the modules of other metrics that it imports from, and what all
    metrics share.
    """
    folder = Path(__file__).parent
    sources = {Path(__file__), *folder.glob("_*.py")}
    new = {Path(inspect.getfile(type(metric)))}
    while new:
        sources |= new
        names = {n for path in new for n in re.findall(IMPORT, path.read_text(encoding="utf8"))}
        new = {folder / f"{name}.py" for name in names} - sources
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources))).hexdigest()


def _fields(cls: type[Metric]) -> dict[str, str]:
    """Returns {parameter: field}; they differ where a parameter is called like a method."""
    return {f.metadata.get("parameter", f.name): f.name for f in dataclasses.fields(cls)}


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
        hint = "; consilience.reductions makes a matrix of maps and tokens" if x.ndim > 2 else ""
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


def _check_choices(metric: Metric) -> None:
    name = metric.class_facts.name
    for item in dataclasses.fields(metric):
        choices = typing.get_args(item.type) if typing.get_origin(item.type) is Literal else ()
        value = getattr(metric, item.name)
        if choices and value not in choices:
            parameter = item.metadata.get("parameter", item.name)
            hint = did_you_mean(str(value), map(str, choices))
            raise ConfigError(f"metric {name!r}: {parameter} cannot be {value!r}{hint}")


__all__ = [
    "INVARIANCES",
    "METRICS",
    "Facts",
    "InnerProductMetric",
    "Metric",
    "MetricError",
    "Preprocessing",
    "as_features",
    "as_labels",
    "clip_outliers",
    "get_metric",
    "list_metrics",
    "metric",
    "metric_code",
    "unit_rows",
]
