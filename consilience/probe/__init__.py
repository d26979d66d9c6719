"""Probes: how well labels can be read off frozen features.

Each way is a `kind` of row: `linear` (a linear classifier fitted to its optimum), `few_shot` (the
same from k rows per class), `knn` (a vote of neighbours), `zero_shot` (class names through a text
tower), and `logits` (the model's own classifier, restricted to the classes of the dataset).
"""

from consilience.probe.accuracy import make_accuracy
from consilience.probe.labels import read_labels
from consilience.probe.linear import (
    ProbeSettings,
    draw_shots,
    few_shot,
    normalize_features,
    probe,
    split_validation,
)
from consilience.probe.logits import (
    LOGITS,
    has_logits,
    parse_columns,
    restrict,
    restricted_accuracy,
)
from consilience.probe.measure import Extras, make_probe
from consilience.probe.neighbors import knn
from consilience.probe.scores import LINEAR, top_accuracy
from consilience.probe.zero_shot import embed_classes, make_prompts, zero_shot

__all__ = [
    "LINEAR",
    "LOGITS",
    "Extras",
    "ProbeSettings",
    "draw_shots",
    "embed_classes",
    "few_shot",
    "has_logits",
    "knn",
    "make_accuracy",
    "make_probe",
    "make_prompts",
    "normalize_features",
    "parse_columns",
    "probe",
    "read_labels",
    "restrict",
    "restricted_accuracy",
    "split_validation",
    "top_accuracy",
    "zero_shot",
]
