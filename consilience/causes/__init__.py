"""Causes: how much of the similarity of two models comes from shared data, tasks or labels?

Models are trained in pairs whose training data, classes or labels overlap by a known share. `pairs`
selects them from any similarity table by the columns of models, `effects` says how a value follows
the overlap, over draws of the split (`statistics`), and `published` reads the result tables of
Li et al. (2025), so that their effects stand beside one's own.
"""

from consilience.causes.effects import EFFECTS, PAIRS, as_lines, effect, effects
from consilience.causes.published import (
    as_pairs,
    headline,
    read_published,
    read_sources,
    two_levels,
)

__all__ = [
    "EFFECTS",
    "PAIRS",
    "as_lines",
    "as_pairs",
    "effect",
    "effects",
    "headline",
    "read_published",
    "read_sources",
    "two_levels",
]
