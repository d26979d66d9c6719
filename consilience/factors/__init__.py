"""Factors: what of the similarity of models do columns such as their objective explain?

Where all but some factors is held fixed, as in models that one study trains, three things are told:
consistency within groups with what follows from accuracy taken out (`matching`), the share of the
variance of similarities that a factor explains, and that of how universal single dimensions are
(`shares`, `dimensions`).
"""

from consilience.factors.dimensions import DIMENSIONS, make_dimensions, universality
from consilience.factors.matching import make_matched, match_accuracy
from consilience.factors.measure import SHARES, make_dimension_shares, make_shares
from consilience.factors.shares import omega_squared, shares_of, unique_shares

__all__ = [
    "DIMENSIONS",
    "SHARES",
    "make_dimension_shares",
    "make_dimensions",
    "make_matched",
    "make_shares",
    "match_accuracy",
    "omega_squared",
    "shares_of",
    "unique_shares",
    "universality",
]
