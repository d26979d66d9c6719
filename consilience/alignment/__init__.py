"""Alignment: how similar two models are as a whole, from all pairs of their layers.

A reduction makes one value of a layers × layers matrix. The best of many pairs is high by chance
too, so every reduction stands beside the null of the same reduction: the samples of one model are
permuted, all layers together, and everything is done again, the choice of layers included.
"""

from consilience.alignment.across import alignment_problems, pairs_across
from consilience.alignment.layers import REDUCTIONS, Reduced, align
from consilience.alignment.table import COLUMNS, make_alignment

__all__ = [
    "COLUMNS",
    "REDUCTIONS",
    "Reduced",
    "align",
    "alignment_problems",
    "make_alignment",
    "pairs_across",
]
