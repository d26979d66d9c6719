"""An order of samples that depends on their features alone."""

import numpy as np

from consilience.forms.kernels import centered, power_of_two_scale

DIGITS = 12
"""Radii that agree in so many digits of the largest one are equal: their means are rounded."""


def by_radius(x: np.ndarray) -> np.ndarray:
    """Returns the rows of x: (n, d), scaled, from the one nearest to their mean to the farthest.

    Random numbers, and places among equally near rows, are dealt to rows. In this order a row gets
    the same ones wherever it stood and however the units were rotated, so that a value is a
    statistic of the set of rows. Rows at the same radius are ordered by their values.
    """
    radius = np.linalg.norm(centered(x), axis=1)
    x = power_of_two_scale(x)
    rounded = np.round(radius / (radius.max() or 1.0), DIGITS)
    if len(np.unique(rounded)) == len(x):
        return x[np.argsort(radius, kind="stable")]
    return x[np.lexsort((*x.T[::-1], rounded))]
