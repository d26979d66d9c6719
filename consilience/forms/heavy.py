"""The rows of a matrix in tiles that may hold most of it, whole: for `forms.dominance`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from consilience.forms.tiles import TileForm, TileSums


@dataclass(frozen=True)
class Heavy:
    """Some whole rows of a matrix, for the null."""

    rows: np.ndarray
    """(m,) which."""
    entries: np.ndarray
    """(m, n) float32, not centred."""


HEAVY_COLUMNS, HEAVY_ROWS = 16, 8
"""Entries of each row by which it is chosen, and how many rows are."""


def heavy_rows(form: "TileForm", *, centred: bool) -> Heavy:
    """Returns the rows whose squared entries are the largest, as some columns tell it.

    Args:
        form: the n samples.
        centred: whether rows and columns will be centred, or the entries as a whole.

    Cost: so many columns and rows of the matrix.
    """
    n = len(form.rows)
    some = np.linspace(0, n - 1, min(n, HEAVY_COLUMNS)).round().astype(int)
    block, own = form.entries(slice(0, n), some), (some, np.arange(len(some)))
    block[own] = 0  # of samples with themselves: they have the mean of the others
    block[own] = block.sum(axis=0) / (n - 1)
    if centred:
        block -= block.mean(axis=1, keepdims=True)
        block -= block.mean(axis=0)
    else:
        block -= block.mean()
    # a heavy row is large throughout; a heavy column makes one entry of each row large
    energy = np.median(np.abs(block), axis=1)
    rows = np.sort(np.argsort(-energy, kind="stable")[:HEAVY_ROWS])
    return Heavy(rows, form.entries(rows, slice(0, n)))


def heavy_energy(
    sums: "TileSums", length: float, less: np.ndarray, back: float
) -> tuple[np.ndarray, float]:
    """Returns Σⱼ aᵢⱼ² (n,) of centred entries off the diagonal for the heavy rows, and the largest.

    Args:
        sums: of the model; without heavy rows, as of ranks, none of which stands out, all is 0.
        length: of the centred entries, which are divided by it.
        less: (n,) what is subtracted from rows and from columns.
        back: what is added to all.
    """
    energy = np.zeros(len(less))
    if sums.heavy is None:
        return energy, 0.0
    rows = sums.heavy.rows
    entries = (sums.heavy.entries - less[rows, None] - less + back) / length
    entries[np.arange(len(rows)), rows] = 0
    energy[rows] = np.einsum("ij,ij->i", entries, entries)
    return energy, float(np.abs(entries).max())
