"""Halves of samples that no view names: one draw for all steps, each with a seed of its own."""

import numpy as np
import pytest

from consilience.alignment.layers import LayerSplit
from consilience.files import derive_seed
from consilience.reliability import halves_of
from consilience.samples.draw import halve


@pytest.mark.parametrize(("n", "equal", "sizes"), [
    (10, False, (5, 5)), (11, False, (5, 6)), (11, True, (5, 5)), (1, False, (0, 1))
])  # fmt: skip
def test_halves_have_no_sample_in_common_and_keep_the_order(n, equal, sizes):
    a, b = halve(n, 3, equal=equal)
    assert (len(a), len(b)) == sizes
    assert len({*a, *b}) == sum(sizes)
    assert (np.diff(a) > 0).all() and (np.diff(b) > 0).all()


def test_draws_are_those_of_earlier_versions():
    assert [half.tolist() for half in halve(9, 7)] == [[0, 1, 7, 8], [2, 3, 4, 5, 6]]
    split = LayerSplit(9, 7).halves
    mine = halve(9, [derive_seed("halves", 7), 9])
    assert all(np.array_equal(x, y) for x, y in zip(split.values(), mine, strict=True))
    (found,) = halves_of(9, 1, seed=2, dataset="d")
    again = halve(9, derive_seed(2, "reliability", "d", 0), equal=True)
    assert all(np.array_equal(x, y) for x, y in zip(found, again, strict=True))
