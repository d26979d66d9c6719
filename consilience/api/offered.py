"""The names that the package hands over to this room, imported together when one is used."""

from consilience.api import plot
from consilience.api.comparing import compare, layers, pairwise
from consilience.api.extracting import extract
from consilience.api.loading import Model, load_model
from consilience.api.reading import ResultTables, consistency, read_results
from consilience.api.shown import Comparison, SimilarityTable
from consilience.api.values import Features
from consilience.errors import ConsilienceError

__all__ = [
    "Comparison",
    "ConsilienceError",
    "Features",
    "Model",
    "ResultTables",
    "SimilarityTable",
    "compare",
    "consistency",
    "extract",
    "layers",
    "load_model",
    "pairwise",
    "plot",
    "read_results",
]
