"""Grounding: does a metric find relations between models that are known?

Known by design are groups of models that are trained differently, and the order of the layers of a
model; known by prediction, how far accuracies and answers differ. Six tests of Klabunde et al.
(ReSi, 2025), with ties and failures counted alike everywhere, chance by formula, and models, not
pairs, as the sample.
"""

from consilience.grounding.answers import ACCURACIES, PAIRS, make_answers
from consilience.grounding.costs import COSTS, make_costs
from consilience.grounding.ranks import DIFFERENCES, RANKS, SUMMARY, make_ranks
from consilience.grounding.tables import COLUMNS, MODELS, SAMPLES, make_grounding

__all__ = [
    "ACCURACIES",
    "COLUMNS",
    "COSTS",
    "DIFFERENCES",
    "MODELS",
    "PAIRS",
    "RANKS",
    "SAMPLES",
    "SUMMARY",
    "make_answers",
    "make_costs",
    "make_grounding",
    "make_ranks",
]
