"""What metrics take, of models and of samples: one table of inputs, each with its check.

Everything that handles inputs goes by this table: where a study finds them, whether their rows are
samples, what is sound. A new input is one more entry.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from consilience.errors import ConfigError, FeaturesError, MetricError
from consilience.registry import did_you_mean


def as_features(x: Any, name: str, *, widen: bool = True) -> np.ndarray:  # noqa: ANN401
    """Returns x as a finite float64 matrix (n, d); accepts arrays and torch tensors.

    Unless `widen`, float32 stays what it is.

    Raises:
        FeaturesError: x is not numeric, not a matrix, empty, or holds NaN or infinity.
    """
    return _matrix(x, name, "features are (samples, units)", widen=widen)


def as_unembedding(x: Any, name: str) -> np.ndarray:  # noqa: ANN401
    """Returns x as a finite float64 matrix (classes, d), with the errors of `as_features`."""
    return _matrix(x, name, "an unembedding is (classes, units)")


def as_labels(x: Any, name: str) -> np.ndarray:  # noqa: ANN401
    """Returns labels (n,) as int64.

    Raises:
        FeaturesError: not one whole number from 0 each.
    """
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    x = np.asarray(x)
    if x.ndim != 1:
        raise FeaturesError(f"{name} have shape {x.shape}; give one for each sample")
    if x.dtype.kind not in "iu" or (x.size and x.min() < 0):
        raise FeaturesError(f"{name} are whole numbers from 0, the columns of the logits")
    return x.astype(np.int64)


def _matrix(x: Any, name: str, shape: str, *, widen: bool = True) -> np.ndarray:  # noqa: ANN401
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
        raise FeaturesError(f"{name} has shape {x.shape}; {shape}, not empty{hint}")
    if widen or x.dtype != np.float32:
        x = x.astype(np.float64, copy=False)
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise FeaturesError(
            f"{name} holds NaN or infinity, first in row {row}; extract the features again "
            "(half precision overflows at 65,504) or leave the model out"
        )
    return x


@dataclass(frozen=True)
class Input:
    """One kind of thing that a metric can take."""

    article: str
    """The name as it stands in a sentence."""
    source: Literal["layer", "output", "samples"]
    """Where a study has it: the layers of a features file, its output of that name, or a column of
    the samples table, which is the same for all models."""
    check: Callable[[Any, str], np.ndarray]
    """(what was given, its name in messages) -> the array as metrics take it, or FeaturesError."""
    per_sample: bool = True
    """Whether rows are samples: then a part of the samples has a part of the rows."""
    rows: str = "samples"
    """What rows are."""
    column: str = ""
    """Of the samples table."""


INPUTS: dict[str, Input] = {
    "features": Input("features", "layer", as_features),
    "logits": Input("logits", "output", as_features),
    "unembedding": Input(
        "an unembedding", "output", as_unembedding, per_sample=False, rows="classes"
    ),
    "labels": Input("labels", "samples", as_labels, column="label"),
}


def check_names(names: Sequence[str]) -> None:
    """Raises ConfigError unless these are inputs, and one of them is of a model."""
    for name in names:
        if name not in INPUTS:
            raise ConfigError(f"unknown input {name!r}{did_you_mean(name, INPUTS)}")
    if not any(INPUTS[name].source != "samples" for name in names):
        raise ConfigError(f"a metric of {tuple(names)} takes nothing of a model")


def main_input(names: Sequence[str]) -> str:
    """Returns the input that is listed and preprocessed: features, or else the first per sample."""
    of_models = [name for name in names if INPUTS[name].source != "samples"]
    if "features" in of_models:
        return "features"
    return next((name for name in of_models if INPUTS[name].per_sample), of_models[0])


def model_inputs(names: Sequence[str]) -> tuple[str, ...]:
    """Returns those inputs that each model has of its own, the main one first."""
    main = main_input(names)
    others = (name for name in names if INPUTS[name].source != "samples" and name != main)
    return (main, *others)


def shared_inputs(names: Sequence[str]) -> tuple[str, ...]:
    """Returns those inputs that belong to the samples and so are the same for all models."""
    return tuple(name for name in names if INPUTS[name].source == "samples")


def has_sample_rows(output: str) -> bool:
    """Whether the rows of a features file's output are samples: of all but known exceptions."""
    return output not in INPUTS or INPUTS[output].per_sample


def as_shared(
    names: Sequence[str], given: Mapping[str, Any], n: int, metric: str
) -> dict[str, np.ndarray]:
    """Returns those of the inputs that belong to the samples, n of each.

    Args:
        names: the inputs of the metric.
        given: {input: array, or None}; what the metric does not take is left out.
        n: number of samples.
        metric: its name, for messages.

    Raises:
        FeaturesError: one is missing, not sound, or of another number of samples.
        ConfigError: something is given that is no input of samples.
    """
    for name in given:
        if name not in shared_inputs(INPUTS):
            raise ConfigError(
                f"{name!r} is nothing that samples have{did_you_mean(name, shared_inputs(INPUTS))}"
            )
    found = {}
    for name in shared_inputs(names):
        if given.get(name) is None:
            raise FeaturesError(f"metric {metric!r} takes {INPUTS[name].article}; pass {name}=")
        found[name] = INPUTS[name].check(given[name], name)
        if len(found[name]) != n:
            shape = found[name].shape
            raise FeaturesError(f"{name} have shape {shape} for {n} samples; give one each")
    return found


def given_inputs(names: Sequence[str], given: Any, place: str) -> dict[str, Any]:  # noqa: ANN401
    """Returns {input: what was given} of one model, of all inputs that are not of the samples.

    Args:
        names: the inputs of the metric.
        given: an array, which is the main input, or a mapping of inputs to arrays.
        place: whose they are, for messages.

    Raises:
        FeaturesError: an input is missing, or the mapping holds what the metric does not take.
    """
    wanted = model_inputs(names)
    sides = given if isinstance(given, Mapping) else {main_input(names): given}
    missing = [name for name in wanted if name not in sides]
    others = [name for name in sides if name not in wanted]
    if missing or others:
        wrong = f"is without {' and '.join(missing)}" if missing else f"holds {others[0]!r} as well"
        raise FeaturesError(
            f"{place} {wrong}: the metric takes {{{', '.join(f'{name!r}: …' for name in wanted)}}}"
        )
    return {name: sides[name] for name in wanted}


def read_given(names: Sequence[str], given: Any, place: str) -> dict[str, np.ndarray]:  # noqa: ANN401
    """Returns the checked arrays of `given_inputs`, all of the same samples.

    Raises:
        FeaturesError: an input is missing, not sound, or of other samples than the main one.
    """
    main = main_input(names)
    alone = not isinstance(given, Mapping)
    found = {
        name: INPUTS[name].check(x, place if alone else f"{name} of {place}")
        for name, x in given_inputs(names, given, place).items()
    }
    for name, x in found.items():
        if INPUTS[name].per_sample and INPUTS[main].per_sample and len(x) != len(found[main]):
            raise FeaturesError(
                f"{place} has {main} of {len(found[main])} samples and {name} of {len(x)}; give "
                "both of the same samples"
            )
    return found


def own_rows(inputs: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Returns how many rows those inputs have whose rows are no samples."""
    return {name: len(x) for name, x in inputs.items() if not INPUTS[name].per_sample}


def check_rows(a: Mapping[str, int], b: Mapping[str, int]) -> None:
    """Raises MetricError unless two models have as many of `own_rows` as one another."""
    for name, count in a.items():
        if count != b.get(name, count):
            known = INPUTS[name]
            raise MetricError(
                f"one side has {known.article} of {count} {known.rows} and the other of "
                f"{b[name]}: both must be over the same {known.rows}, in the same order"
            )
