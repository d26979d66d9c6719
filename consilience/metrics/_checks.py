"""Checks that several metrics make; none of them decides a value."""

import importlib
from types import ModuleType

import numpy as np

from consilience.errors import ConfigError, MetricError
from consilience.forms.kernels import check_varies
from consilience.metrics import Metric


def import_package(name: str, metric: str) -> ModuleType:
    """Imports an optional package; an error that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"metric {metric!r} needs the package {name!r}, which cannot be imported ({error}); "
            'run `pip install "consilience[topology]"`'
        ) from error


def check_counts(metric: Metric, *names: str, least: int = 1) -> None:
    """Raises ConfigError unless the named parameters are whole numbers from `least`."""
    for name in names:
        value = getattr(metric, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(
                f"metric {metric.class_facts.name!r}: {name} cannot be {value!r}; "
                f"use a whole number from {least}"
            )


def check_number(metric: Metric, name: str) -> None:
    """Raises ConfigError unless the named parameter is a finite number from 0."""
    value = getattr(metric, name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < np.inf:
        raise ConfigError(
            f"metric {metric.class_facts.name!r}: {name} cannot be {value!r}; use a number from 0"
        )


def check_least(metric: Metric, x: np.ndarray, least: int) -> None:
    """Raises MetricError for fewer than `least` samples, or constant features."""
    if len(x) < least:
        name = metric.class_facts.name
        raise MetricError(f"{name} needs at least {least} samples, not {len(x)}")
    check_varies(x)
