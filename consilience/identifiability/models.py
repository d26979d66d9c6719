"""The classifiers of one dataset: features before the head, unembedding, logits, and how good."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from consilience.errors import MetricError
from consilience.features import read_header, read_listed, read_manifest
from consilience.forms.inputs import INPUTS
from consilience.forms.likelihoods import log_probabilities, singular_values
from consilience.layers import last_layers
from consilience.limits.reading import parse_json
from consilience.metrics.identifiable import Classifier, classifier
from consilience.metrics.likelihood import LogitDistance
from consilience.probe import parse_columns, restrict
from consilience.samples import Samples

logger = logging.getLogger(__name__)

BIASED = 1e-3
"""What logits are beyond features times unembedding is a bias if it exceeds this share of them."""
FOREIGN = 1e-2
"""If it varies over the samples by more than this share, the logits are of another head."""


class Quality(NamedTuple):
    """How well a model does on a dataset; missing where that is not known."""

    accuracy: float = float("nan")
    loss: float = float("nan")
    """Mean negative log likelihood of the true classes, in nats."""


@dataclass(frozen=True)
class Model:
    """One classifier on the samples of a dataset."""

    id: str
    facts: Mapping[str, Any]
    """`architecture` and `width`, as the model catalogue has them."""
    parts: Classifier
    centred: np.ndarray
    """(n, K) logits without their mean over the classes."""
    spectrum: np.ndarray
    """Singular values of the doubly centred logits."""
    head: str
    """`plain` for logits f(x)·g(y), `biased` with a bias of each class more, or `other`."""
    quality: Quality
    names: tuple[str, ...] = ()
    """Of the classes that the logits are of; empty if nobody knows them."""

    @property
    def classes(self) -> int:
        """K."""
        return len(self.parts.unembedding)

    @property
    def dimension(self) -> int:
        """M."""
        return self.parts.features.shape[1]

    @property
    def kind(self) -> tuple[str, int, int]:
        """What pairs have in common: architecture, K and M."""
        return str(self.facts.get("architecture", "")), self.classes, self.dimension

    def is_comparable(self, other: "Model") -> bool:
        """Returns whether both are of one kind, and tell the same classes as far as is known."""
        one_task = not (self.names and other.names) or self.names == other.names
        return self.kind == other.kind and one_task


def make_model(
    name: str,
    facts: Mapping[str, Any],
    given: Mapping[str, np.ndarray],
    quality: Quality,
    names: Sequence[str] = (),
) -> Model:
    """Returns a classifier from its `features` (n, M), `unembedding` (K, M) and `logits` (n, K).

    Raises:
        FeaturesError: one of them is not sound.
        MetricError: they do not belong together.
    """
    parts = {key: INPUTS[key].check(x, f"{key} of model {name!r}") for key, x in given.items()}
    logits = parts["logits"]
    whole = classifier(parts["features"], parts["unembedding"], logits, "identifiability")
    return Model(
        name,
        facts,
        whole,
        LogitDistance().prepare(logits),
        singular_values(logits),
        head_kind(whole, logits),
        quality,
        tuple(names),
    )


def head_kind(parts: Classifier, logits: np.ndarray) -> str:
    """Returns whether logits (n, K) are features times unembedding: `plain`, `biased` or `other`.

    A number added to all logits of a sample counts for nothing.
    """
    size = np.abs(logits - logits.mean(axis=1, keepdims=True)).max()
    gap = logits - parts.features @ parts.unembedding.T
    gap -= gap.mean(axis=1, keepdims=True)
    bias = gap.mean(axis=0)
    if np.abs(gap - bias).max() > FOREIGN * size:
        return "other"
    return "biased" if np.abs(bias).max() > BIASED * size else "plain"


def read_quality(logits: np.ndarray, samples: Samples, logit_columns: str = "") -> Quality:
    """Returns accuracy and loss over all samples, missing unless logits are of their classes.

    Args:
        logits: (n, K).
        samples: of the dataset, with one label each.
        logit_columns: which logits are the classes, see `consilience.probe.parse_columns`; by
            default all, if there are as many as classes.
    """
    labels = samples.table["label"]
    columns = parse_columns(logit_columns)
    of_classes = logits.shape[1] == (columns.outputs if columns else len(samples.classes))
    if not of_classes or labels.isna().any():
        return Quality()
    chosen = restrict(logits, columns, len(samples.classes)) if columns else logits
    given = chosen.astype(float)
    truth = labels.to_numpy(int)
    of_truth = log_probabilities(given)[np.arange(len(truth)), truth]
    return Quality(float(np.mean(given.argmax(axis=1) == truth)), float(-of_truth.mean()))


def read_models(
    manifest: Path,
    samples: Samples,
    facts: Mapping[str, Mapping[str, Any]],
    logit_columns: str = "",
) -> Iterator[Model]:
    """Yields the models of a dataset that have logits and an unembedding, by id.

    Models without are left out, and those whose head reads another layer than the last; the log
    says which.

    Args:
        manifest: the dataset's features manifest; features files lie beside it.
        samples: of the dataset.
        facts: for each model `architecture` and `width`.
        logit_columns: see `read_quality`.

    Raises:
        DataError: the manifest is of other samples.
    """
    table = read_manifest(manifest, samples)
    outputs: dict[str, set[str]] = {}
    for line in table.attrs.get("outputs", ()):
        outputs.setdefault(line["model"], set()).add(line["output"])
    files = dict(zip(table["model"], table["file"], strict=True))
    for model, layer in sorted(last_layers(table).items()):
        missing = [name for name in ("logits", "unembedding") if name not in outputs.get(model, ())]
        if missing:
            logger.info("model %r has no %s: left out", model, " and no ".join(missing))
            continue
        tensors = {"features": layer, "unembedding": "unembedding", "logits": "logits"}
        given = {what: read_listed(manifest, table, model, name) for what, name in tensors.items()}
        names = class_names(manifest.parent / files[model])
        quality = Quality()
        if not names or logit_columns or names == list(samples.classes):
            quality = read_quality(given["logits"], samples, logit_columns)
        try:
            yield make_model(model, facts.get(model, {}), given, quality, names)
        except MetricError as error:
            logger.warning("model %r is left out: %s", model, error)


def class_names(path: Path) -> list[str]:
    """Returns the classes that the logits of a features file are of; [] if it does not say."""
    text = read_header(path).get("provenance", {}).get("classes") or "[]"
    return parse_json(text, f"{path}, the classes of its header")
