"""Which metric is meant by a name, and what is done to features before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consilience.api.catalogue import variants
from consilience.config.selection import resolve
from consilience.config.shape import read_schema, with_defaults
from consilience.errors import ConfigError
from consilience.forms.groups import GroupRows
from consilience.metrics import METRICS, Metric, Preprocessing, get_metric
from consilience.registry import did_you_mean
from consilience.renames import present

DEFAULT = "cka_debiased"
Given = str | Mapping[str, Any] | Metric
"""A variant's id, a metric's name, an entry as in config/metrics.yaml, or a metric."""
BEFORE = ("row_normalize", "center", "clip")
AS_THEY_ARE = {"row_normalize": False, "center": False, "clip": None, "group_rows": "apart"}
"""What is done before a metric that is no variant of the catalogue."""


@dataclass(frozen=True)
class Measure:
    """A metric, with what is done to features before it."""

    name: str
    """Id of the variant, or the metric's name."""
    label: str
    """Its name for the reader."""
    metric: Metric
    parameters: Mapping[str, Any]
    """Those that were given; all others are the metric's defaults."""
    preprocessing: Preprocessing
    group_rows: GroupRows = "apart"

    def __str__(self) -> str:
        return f"{self.title}; {self.before}"

    @property
    def title(self) -> str:
        """Its name for the reader, and the metric with those parameters that were given."""
        given = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        text = f"{self.metric.facts.name}({given})"
        return f"{self.label}: {text}" if self.label != self.metric.facts.name else text

    @property
    def before(self) -> str:
        """What is done to features before the metric, in words."""
        done = [
            words
            for words, on in (
                (f"values clipped at quantile {self.preprocessing.clip}", self.preprocessing.clip),
                ("units centred", self.preprocessing.center),
                ("rows divided by their norms", self.preprocessing.row_normalize),
            )
            if on
        ]
        return ", ".join(done) if done else f"{self.metric.facts.main} as they are"

    @property
    def way(self) -> str:
        """Which way values point, in words."""
        larger = self.metric.facts.larger_is_more_similar
        return f"{'larger' if larger else 'smaller'} is more similar"

    def spec(self) -> dict[str, Any]:
        """Returns what tables say of it."""
        return {
            "metric": self.metric.facts.name,
            "parameters": dict(self.parameters),
            "preprocessing": {
                key: value
                for key, value in vars(self.preprocessing).items()
                if key != "clip" or value is not None
            },
        }


def find_measure(given: Given, settings: Mapping[str, Any] = {}) -> Measure:
    """Returns the metric that is meant.

    Args:
        given: id of a variant of config/metrics.yaml, with what a study does before it unless its
            entry says otherwise (rows are divided by their norms); name of a registered metric, of
            features as they are; an entry as in that catalogue; or a metric.
        settings: further keys of such an entry, over those that it has: parameters of the metric,
            `row_normalize`, `center`, `clip`, `group_rows`.

    Raises:
        ConfigError: an unknown name, parameter or value, with the nearest known one.
    """
    if isinstance(given, Metric):
        return _of_metric(given, settings)
    entry, name, before = _entry(given)
    entry = {**entry, **settings}
    spec = resolve(entry, {"layers": "all", "permutations": 0, **before}, {})
    metric = get_metric(spec["metric"], **spec["parameters"])
    if metric.facts.main != "features":  # logits and the like are compared as they are
        spec["preprocessing"] = {key: settings[key] for key in BEFORE if key in settings}
    return Measure(
        name,
        entry.get("label", name) if not settings else entry["metric"],
        metric,
        spec["parameters"],
        Preprocessing(**spec["preprocessing"]),
        spec.get("group_rows", "apart"),
    )


def _of_metric(metric: Metric, settings: Mapping[str, Any]) -> Measure:
    name = metric.facts.name
    if others := sorted(set(settings) - set(AS_THEY_ARE)):
        raise ConfigError(
            f"{others[0]!r} cannot be set of a metric that is made already; give the name {name!r} "
            "and its parameters instead"
        )
    before = {**AS_THEY_ARE, **settings}
    group_rows = before.pop("group_rows")
    return Measure(name, name, metric, metric.parameters, Preprocessing(**before), group_rows)


def _entry(given: str | Mapping[str, Any]) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Returns the entry of a variant, its name, and what is done before it if it does not say."""
    if isinstance(given, Mapping):
        if "metric" not in given:
            raise ConfigError("a metric's entry has the key 'metric', as in config/metrics.yaml")
        return dict(given), str(given.get("label", given["metric"])), _of_studies()
    if not isinstance(given, str):
        kind = type(given).__name__
        raise ConfigError(
            f"a metric is a name, an entry as in config/metrics.yaml or a Metric, not a {kind}"
        )
    name = present("metrics", given)
    if name in variants():
        return dict(variants()[name]), name, _of_studies()
    if name not in METRICS:
        raise ConfigError(f"unknown metric {given!r}{did_you_mean(given, {*variants(), *METRICS})}")
    return {"metric": name}, name, AS_THEY_ARE


def _of_studies() -> dict[str, Any]:
    """Returns what studies do before metrics if they do not say."""
    return with_defaults({"similarity": {}}, read_schema("study"))["similarity"]
