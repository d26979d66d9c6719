"""Correlations of numbers per model pair: values by hand, refusals, and who may use them."""

import numpy as np
import pytest

from consilience.code import closure
from consilience.errors import ConfigError
from consilience.pairs.inference import PairSet
from consilience.pairs.relate import correlate_pairs, too_few, varies


def pairs_of(x, y):
    m = len(x)
    first, second = np.triu_indices(m, k=1)
    return PairSet(x[first, second], y[first, second], first, second, (m,))


def test_value_is_the_correlation_over_pairs_that_have_both_numbers():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 7, 7))
    y[0, 1] = np.nan
    pairs = pairs_of(x, y)
    row = correlate_pairs(pairs, ("x", "y"), bootstrap=0, permutations=19)["pearson"]
    assert row["value"] == pytest.approx(np.corrcoef(pairs.x[1:], pairs.y[1:])[0, 1], rel=1e-12)
    assert (row["n_pairs"], row["n_models"]) == (20, 7)
    assert row["status"] == "ok; 1 failed pairs left out"
    assert 0 < row["p"] <= 1 and "low" not in row


def test_what_cannot_be_correlated_says_why():
    rng = np.random.default_rng(1)
    flat, few = np.ones((6, 6)), rng.normal(size=(3, 3))
    (row,) = correlate_pairs(
        pairs_of(flat, rng.normal(size=(6, 6))), ("x", "y"), methods=["pearson"]
    ).values()
    assert row["status"] == "all 15 values of x are equal" and "value" not in row
    (row,) = correlate_pairs(pairs_of(few, few), ("x", "y"), methods=["pearson"]).values()
    assert row["status"] == "3 models, 3 pairs: at least 4 models are needed"
    one, two = np.zeros(3, int), np.arange(1, 4)
    assert too_few(one, two, (1, 3), 4, anchor=True).endswith(
        "4 models are needed beside the anchor"
    )
    assert too_few(one, two, (1, 3), 3, anchor=True) == ""
    assert not varies(np.array([])) and not varies(1 + 1e-15 * np.arange(3.0))
    assert varies(np.array([1.0, 1.1]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ["kendal"]}, "correlation: unknown method 'kendal'; did you mean 'kendall'"),
        ({"permutations": -1}, "correlation: permutations is -1; it must be at least 0"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    x = np.random.default_rng(2).normal(size=(6, 6))
    with pytest.raises(ConfigError, match=message):
        correlate_pairs(pairs_of(x, x), ("x", "y"), **settings)


def test_numbers_per_pair_need_nothing_of_the_steps_that_use_them():
    pairs = closure("consilience.pairs.relate", "consilience.pairs.sets", "consilience.pairs.draws")
    above = ("consilience.consistency", "consilience.behavior", "consilience.similarity")
    assert not [module for module in pairs if module.startswith(above)]
    users = closure("consilience.behavior", "consilience.sensitivity")
    assert not [module for module in users if module.startswith("consilience.consistency")]
