"""Similarity measures: one group per module, looked up by name.

`get_metric("cka", kernel="rbf", sigma=0.4)(x, y)` is the value for two feature matrices.
For many models, `prepare` each once and `compare` the prepared forms.
"""

from consilience.errors import MetricError
from consilience.forms.inputs import as_features, as_labels
from consilience.forms.rows import Preprocessing, clip_outliers, rounding, unit_rows
from consilience.metrics._base import (
    INVARIANCES,
    METRICS,
    Facts,
    Metric,
    finite,
    get_metric,
    list_metrics,
    metric,
    metric_code,
)
from consilience.metrics._files import keep_metrics, load_metrics, metric_of, without_file
from consilience.metrics._inner import InnerProductMetric
from consilience.metrics._listed import NeighborMetric
from consilience.metrics._variants import Variant, split_variant

__all__ = [
    "INVARIANCES",
    "METRICS",
    "Facts",
    "InnerProductMetric",
    "Metric",
    "MetricError",
    "NeighborMetric",
    "Preprocessing",
    "Variant",
    "as_features",
    "as_labels",
    "clip_outliers",
    "finite",
    "get_metric",
    "keep_metrics",
    "list_metrics",
    "load_metrics",
    "metric",
    "metric_code",
    "metric_of",
    "rounding",
    "split_variant",
    "unit_rows",
    "without_file",
]
