"""Identifiability: do classifiers with close predictions have similar representations?

Classifiers softmax(f(x)·g(y)) with equal predictions have features f that are invertible linear
maps of one another. How far that carries when predictions are only close is measured on pairs of
models of one architecture (`pairs`), over their widths (`trend`), and on models made for it
(`constructed`): Nielsen et al. (2025).
"""

from consilience.identifiability.constructed import (
    KL_TABLE,
    PERTURBED,
    kl_table,
    make_constructed,
    perturbed,
)
from consilience.identifiability.pairs import COLUMNS, make_identifiability
from consilience.identifiability.trend import TREND, make_trend, trend

__all__ = [
    "COLUMNS",
    "KL_TABLE",
    "PERTURBED",
    "TREND",
    "kl_table",
    "make_constructed",
    "make_identifiability",
    "make_trend",
    "perturbed",
    "trend",
]
