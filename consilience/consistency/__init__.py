"""Consistency: does the similarity of models on one dataset carry over to another?

Take the similarity of every pair of models on dataset x and on dataset y: their correlation over
the pairs is the consistency of the two datasets, for all models and for groups of models. It comes
with an interval and a p-value that treat the models, not the pairs, as the sample.
"""

from consilience.consistency.measure import (
    Consistency,
    consistency_tables,
    make_consistency,
    measure_consistency,
)
from consilience.consistency.tables import COLUMNS
from consilience.pairs.relate import METHODS

__all__ = [
    "COLUMNS",
    "METHODS",
    "Consistency",
    "consistency_tables",
    "make_consistency",
    "measure_consistency",
]
