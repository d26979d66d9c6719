"""What every metric is: facts on the class, parameters as fields, `prepare` and `compare`."""

import dataclasses
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from consilience.code import code_of_class
from consilience.errors import ConfigError, FeaturesError, MetricError
from consilience.forms.groups import group_codes
from consilience.forms.inputs import (
    as_shared,
    check_names,
    check_rows,
    main_input,
    own_rows,
    read_given,
    shared_inputs,
)
from consilience.forms.moments import Moments
from consilience.forms.units import UnitSample
from consilience.registry import Registry, did_you_mean
from consilience.renames import of_metric

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
    inputs: tuple[str, ...] = ("features",)
    """What `prepare` takes, in its order: names of `consilience.forms.inputs.INPUTS`."""
    paired: bool = True
    """Whether the value depends on which sample of one side meets which of the other. Where not,
    permuting the samples changes nothing and there is no null to compare with."""
    of_units: bool = False
    """Whether tables also say what infinitely many units would give, see `forms.units`."""
    name: str = ""

    def __post_init__(self) -> None:
        check_names(self.inputs)

    @property
    def main(self) -> str:
        """The input that is listed and preprocessed: features, or else the first per sample."""
        return main_input(self.inputs)

    @property
    def shared(self) -> tuple[str, ...]:
        """Those inputs that belong to the samples and so are the same for all models."""
        return shared_inputs(self.inputs)

    def as_dict(self) -> dict[str, Any]:
        """Returns the facts in plain JSON types."""
        facts = dataclasses.asdict(self)
        facts["invariant_to"] = sorted(self.invariant_to)
        facts["inputs"] = list(self.inputs)
        facts["bounds"] = [None if np.isinf(bound) else bound for bound in self.bounds]
        return facts


METRICS: "Registry[type[Metric]]" = Registry("metric", __package__)


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

        A metric of other or more inputs takes them as arguments, in the order of its fact `inputs`.

        Raises:
            MetricError: the metric is not defined for x.
        """
        raise NotImplementedError

    @property
    def leaves_out(self) -> bool:
        """Whether pairs of samples of one group are left out: then `prepare` takes `groups`."""
        return False

    def prepare_in_groups(self, *inputs: np.ndarray, groups: np.ndarray | None) -> Any:  # noqa: ANN401
        """Returns `prepare` of the inputs, without pairs within a group if the metric can.

        Args:
            *inputs: as `prepare` takes them.
            groups: (n,) whole numbers, see `consilience.forms.groups`; None: none are left out.
        """
        if groups is None or not self.leaves_out:
            return self.prepare(*inputs)
        return self.prepare(*inputs, groups=groups)

    def permuted(self, a: Any, order: np.ndarray) -> Any:  # noqa: ANN401
        """Returns the prepared form of x[order] from a, that of x, without preparing it again.

        As it stands, for forms that are arrays whose first axis is the samples.
        """
        return a[order]

    def compare(self, a: Any, b: Any) -> float:  # noqa: ANN401
        """Returns the value for two prepared forms over the same n samples."""
        raise NotImplementedError

    @property
    def shares_orders(self) -> bool:
        """Whether `compare_both` takes less than `compare` of either order, of asymmetric ones."""
        return False

    def compare_both(self, a: Any, b: Any) -> tuple[float, float]:  # noqa: ANN401
        """Returns `compare` of a and b, and of b and a: to the bit what each gives alone."""
        return self.compare(a, b), self.compare(b, a)

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
    def on_device(self) -> str:
        """What a device makes of two forms for `compare`; empty: nothing.

        A name that `consilience.similarity.engine.device_pairs` has; `compare` then takes it too.
        """
        return ""

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

    def units(self, x: np.ndarray, a: Any) -> UnitSample | None:  # noqa: ANN401
        """Returns the units of x: (n, d) as a sample; None: they are too few, or it has no way.

        Args:
            x: the features.
            a: their prepared form.
        """
        return None

    def ties(self, a: Any) -> float | None:  # noqa: ANN401
        """Returns the share of samples whose k-th neighbour ties; None: it has no neighbours.

        Args:
            a: a prepared form.
        """
        return None

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the memory that one prepared form takes, in bytes."""
        return 8 * n * d

    def work_bytes(self, n: int, d: int) -> int:
        """Returns the memory that `prepare`, features included, takes beside its form, in bytes.

        As it stands, that of some copies of the features; `compare` is not to take more.
        """
        return 40 * n * d

    def __call__(self, x: Any, y: Any, *, groups: Any = None, **shared: Any) -> float:  # noqa: ANN401
        """Returns the similarity of x: (n, d) and y: (n, d'), arrays or torch tensors.

        Args:
            x: features of one model, or logits for a metric of logits; {input: array} for a metric
                of several inputs.
            y: the same of the other, of the same samples in the same order.
            groups: (n,) what each sample is one of, such as the picture that a caption is of:
                pairs within a group are left out, as far as the metric leaves out pairs at all.
            **shared: what belongs to the samples, for metrics whose facts ask for it: `labels`,
                (n,) true classes as whole numbers.

        Raises:
            FeaturesError: not finite matrices over the same number of samples, or an input missing
                or of another length.
            MetricError: the value is not defined for them.
        """
        names, main = self.facts.inputs, self.facts.main
        a, b = read_given(names, x, "x"), read_given(names, y, "y")
        check_rows(own_rows(a), own_rows(b))
        if len(a[main]) != len(b[main]):
            raise FeaturesError(
                f"x has {len(a[main])} samples and y has {len(b[main])}: both must describe the "
                "same stimuli, one per row, in the same order"
            )
        given = as_shared(names, shared, len(a[main]), self.class_facts.name)
        codes = group_codes(groups, len(a[main]))
        forms = [
            self.prepare_in_groups(*({**side, **given}[name] for name in names), groups=codes)
            for side in (a, b)
        ]
        return finite(float(self.compare(*forms)))


def finite(value: float) -> float:
    """Returns the value that a metric gave.

    Raises:
        MetricError: it is NaN or infinite.
    """
    if not np.isfinite(value):
        raise MetricError(f"the metric gave {value}")
    return value


def get_metric(name: str, **parameters: Any) -> Metric:  # noqa: ANN401
    """Returns the metric registered under `name`, or a former name, with the given parameters.

    Raises:
        ConfigError: unknown name, parameter or value, with the nearest known one.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(get_metric("cka", kernel="rbf", sigma=0.8)(x, x + np.roll(x, 1, axis=0)), 4)
        0.2989
    """
    name, parameters = of_metric(name, parameters)
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
    """Returns the SHA-256 of the source that decides the metric's values, all that it imports."""
    return code_of_class(type(metric))


def _fields(cls: type[Metric]) -> dict[str, str]:
    """Returns {parameter: field}; they differ where a parameter is called like a method."""
    return {f.metadata.get("parameter", f.name): f.name for f in dataclasses.fields(cls)}


def _check_choices(metric: Metric) -> None:
    name = metric.class_facts.name
    for item in dataclasses.fields(metric):
        choices = typing.get_args(item.type) if typing.get_origin(item.type) is Literal else ()
        value = getattr(metric, item.name)
        if choices and value not in choices:
            parameter = item.metadata.get("parameter", item.name)
            hint = did_you_mean(str(value), map(str, choices))
            raise ConfigError(f"metric {name!r}: {parameter} cannot be {value!r}{hint}")
