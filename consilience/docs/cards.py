"""The metric cards, config/metrics.md: one per registered metric."""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from consilience.config import ROOT
from consilience.docs import measured
from consilience.docs.docstrings import allowed, choices, describe, parameter_fields, plain
from consilience.docs.independent import Independent, checked_against, read_independent
from consilience.docs.measured import Measured, measure
from consilience.docs.references import read_bibliography, reference
from consilience.docs.tables import same_after, span, table
from consilience.errors import ConfigError
from consilience.metrics import METRICS, Metric, get_metric, split_variant

CATALOGUE = ROOT / "config" / "metrics.yaml"
INTRODUCTION = """\
# Metrics

Written by `python -m consilience.docs` from the code: docstrings, declared facts (which tests
check), and values that the metrics gave. Facts and values are those of the default parameters;
variants for studies are in [metrics.yaml](metrics.yaml).

- **Range** and **self pair** hold whatever the data; "same after" lists the maps of the units of
  either side that change nothing: a `permutation` of units, an `orthogonal` map, an
  `isotropic scaling`, a `translation` of all samples, and any `invertible linear` map.
- **Least n**: the smallest number of samples for which one of {draws} random pairs of {units} units
  has a value.
- **n ≤ d**: what {draws} random pairs of {few[0]} samples with {few[1]} and {few[2]} units give
  (logits: {few[1]} classes; with an unembedding: so many units and two classes more).
- **Null**: how `similarity.permutations` and `consilience.calibration` tell chance: in closed form,
  or from permutations of the samples.
- **Chance**: mean ± sd over 20 seeded draws of independent Gaussian features of {chance[0]}
  samples with {chance[1]} and {chance[2]} units (logits: {chance[1]} classes, random labels).
- **Units**: `value_units` is what infinitely many units would give on the same stimuli, with its
  95 % interval over units, in columns beside the value. The norms of a linear kernel count each
  unit with itself, which makes similarities of few units too small: those terms are left out, and
  so is the bias of the quotient. It assumes that the units of either side are independent draws
  of what a wider layer would have. It does not hold where the same units stand on both sides
  (layers of one residual stream, a network and its fine-tuned copy: it is too large there, and
  `note` says so above the best value), where a few units hold most of the variance (the interval
  is wide there), and where a layer has all units that there are, such as one for each class.
  Below 32 units on a side there is none, nor where pairs of samples are left out for their
  groups. Distances, correlations of rows, ranks, and rbf and laplace kernels are no sums over
  units: for them there is no such U-statistic, and nothing is said. How far it holds is measured
  in [benchmarks/units.md](../benchmarks/units.md).
- **Checked against**: whose values the metric's tests hold it to.
- **Reference value**: what this code gives for the pair below, to check an installation.

The reference pair is x and y of `reference_pair`; for metrics that compare logits it is that of
`reference_logits`, with its labels, and for those that take an unembedding that of
`reference_heads`.

```python
import numpy as np


{pair}

{logits}

{heads}```
"""


def metric_cards() -> str:
    """Returns the page.

    Raises:
        ConfigError: an optional package is missing, or a citation has no entry.
    """
    entries = read_bibliography()
    try:
        found = {name: measure(cls()) for name, cls in METRICS.items()}
    except (ConfigError, ImportError) as error:
        raise ConfigError(
            f"config/metrics.md describes every metric and so needs every package: {error}"
        ) from error
    sources = _Sources(read_variants(), entries, read_independent())
    parts = [_introduction(), "## All metrics\n", _index(found) + "\n"]
    for module, names in _modules().items():
        parts += [f"## {_heading(module)}\n", f"Module `{module}`.\n"]
        parts += [_card(METRICS[name], found[name], sources) for name in names]
    return "\n".join(parts)


def read_variants() -> dict[str, tuple[str, dict[str, Any]]]:
    """Returns {id: (metric, parameters)} of the catalogue."""
    catalogue = yaml.safe_load(CATALOGUE.read_text(encoding="utf8"))
    found = {name: split_variant(entry) for name, entry in catalogue.items()}
    return {name: (variant.metric, variant.parameters) for name, variant in found.items()}


def _introduction() -> str:
    pair, logits, heads = (
        inspect.getsource(function)
        for function in (
            measured.reference_pair,
            measured.reference_logits,
            measured.reference_heads,
        )
    )
    return INTRODUCTION.format(
        units=measured.UNITS,
        draws=measured.DRAWS,
        few=measured.FEW,
        chance=measured.CHANCE,
        pair=pair,
        logits=logits,
        heads=heads,
    )


def _modules() -> dict[str, list[str]]:
    modules: dict[str, list[str]] = {}
    for name, cls in METRICS.items():
        modules.setdefault(cls.__module__, []).append(name)
    return dict(sorted(modules.items()))


def _heading(module: str) -> str:
    return inspect.getdoc(sys.modules[module]).splitlines()[0].removesuffix(".")


def _index(found: Mapping[str, Measured]) -> str:
    header = ["metric", "what it is", "range", "more similar", "least n", "null", "chance"]
    rows = []
    for name, cls in METRICS.items():
        metric, values = cls(), found[name]
        rows.append(
            (
                f"[`{name}`](#{name})",
                describe(cls).summary,
                span(metric.facts),
                "larger" if metric.facts.larger_is_more_similar else "smaller",
                values.least_samples,
                _null(metric).partition(":")[0],
                values.chance,
            )
        )
    return table(header, rows)


class _Sources(NamedTuple):
    """What cards say that stands elsewhere."""

    variants: Mapping[str, tuple[str, dict[str, Any]]]
    entries: dict[str, str]
    independent: Sequence[Independent]


def _card(cls: type[Metric], found: Measured, sources: _Sources) -> str:
    metric, description = cls(), describe(cls)
    name = metric.facts.name
    title, entry = reference(metric.facts.citation, sources.entries, name)
    own = {key: parameters for key, (of, parameters) in sources.variants.items() if of == name}
    rows = [(label, tell(metric)) for label, tell in FACTS.items()]
    rows += [
        ("least n", f"{found.least_samples} (d = {measured.UNITS})"),
        ("n ≤ d", found.few_samples),
        ("chance", found.chance),
        ("checked against", checked_against(name, sources.independent)),
        ("reference value", f"`{found.reference}`"),
        ("variants", ", ".join(f"`{key}`" for key in own) or "none in the catalogue"),
        ("paper", title),
    ]
    parts = [f"### `{name}`", description.summary, description.prose]
    parts += [_parameters(cls, description.arguments), table(["fact", "value"], rows)]
    parts += [_example(metric, description.example)]
    parts += [_changes(metric, own), f"```bibtex\n{entry}\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _example(metric: Metric, example: str) -> str:
    module = type(metric).__module__
    start = f">>> import numpy as np\n>>> from {module} import {type(metric).__name__}"
    return f"```pycon\n{start}\n{example}\n```" if example else ""


def _parameters(cls: type[Metric], meanings: Mapping[str, str]) -> str:
    default = cls().parameters
    rows = [
        (
            f"`{name}`",
            f"`{plain(default[name])}`",
            allowed(item.type),
            meanings.get(item.name, meanings.get(name, "")),
        )
        for name, item in parameter_fields(cls).items()
    ]
    return table(["parameter", "default", "values", "meaning"], rows) if rows else "No parameters."


def _changes(metric: Metric, variants: Mapping[str, dict[str, Any]]) -> str:
    """Returns which parameters change the facts: each listed choice, and the variants."""
    lines = []
    for parameters in [*_single_choices(type(metric)), *variants.values()]:
        try:
            other = get_metric(metric.facts.name, **parameters)
        except ConfigError:  # not together with the other defaults
            continue
        differing = [
            f"{label}: {tell(other)}"
            for label, tell in FACTS.items()
            if tell(other) != tell(metric)
        ]
        changed = {k: v for k, v in parameters.items() if v != metric.parameters[k]}
        setting = ", ".join(f"`{key}: {plain(value)}`" for key, value in changed.items())
        line = f"- {setting}: {'; '.join(differing)}"
        if differing and line not in lines:
            lines.append(line)
    return "\n".join(["Other parameters, other facts:\n", *lines]) if lines else ""


def _single_choices(cls: type[Metric]) -> Iterator[dict[str, Any]]:
    for name, item in parameter_fields(cls).items():
        for value in choices(item.type):
            yield {name: value}


def _self_pair(metric: Metric) -> str:
    value = metric.facts.self_value
    return "depends on the data" if value is None else f"{value:g}"


def _input(metric: Metric) -> str:
    *others, last = metric.facts.inputs
    return f"{', '.join(others)} and {last}" if others else last


def _null(metric: Metric) -> str:
    if not metric.facts.paired:
        return "none: the value ignores which sample meets which"
    if metric.has_closed_form:
        return (
            "closed form: exact mean and variance, p-value by skewness; not below 1/n where one "
            "sample of each side decides; no permutations"
        )
    return "permutations: of the samples of one side (Monte Carlo)"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


FACTS: dict[str, Callable[[Metric], str]] = {
    "compares": _input,
    "more similar": lambda m: "larger" if m.facts.larger_is_more_similar else "smaller",
    "range": lambda m: span(m.facts),
    "self pair": _self_pair,
    "symmetric": lambda m: _yes(m.facts.symmetric),
    "metric distance": lambda m: _yes(m.facts.is_metric),
    "same after": lambda m: same_after(m.facts) or "none of these maps",
    "null": _null,
    "units": lambda m: "`value_units`" if m.facts.of_units else "no `value_units`",
}
