"""Families of models in one set of pairs: labels, arrangements, units, and what rows say."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from consilience.pairs.families import (
    Clusters,
    arrangements,
    family_relabellings,
    family_variance,
    read_clusters,
    units_of,
)
from consilience.pairs.inference import PairSet
from consilience.pairs.relate import FURTHER, correlate_pairs
from consilience.pairs.remarks import Outlier, allowances, disagreement

CODES = np.array([0, 0, 1, 1, 2, 2, 3, 4, 4, 4])


def test_families_are_read_with_empty_cells_as_families_of_their_own():
    table = pd.DataFrame({"maker": ["x", "x", "", None, "y"]}, index=list("abcde"))
    found = read_clusters(table, "maker", list("abcde"))
    assert found.names(list("abcde")) == ["maker=x", "maker=x", "c", "d", "maker=y"]
    assert found.codes(list("bad")).tolist() == [1, 1, 0]
    assert found.column == "maker"
    assert not read_clusters(table, "maker", list("acde"))  # no two of one family are left
    assert not read_clusters(table, None, list("abcde"))
    assert read_clusters(table, "none", list("abcde")) == Clusters()


def test_relabelling_swaps_families_of_equal_size_and_models_within():
    labels = family_relabellings(CODES, (10,), 4000, np.random.default_rng(0))
    assert (labels[:, 0] == np.arange(10)).all()
    assert (np.sort(labels, axis=0) == np.arange(10)[:, None]).all()
    images = CODES[labels]
    assert (images[0] == images[1]).all() and (images[2] == images[3]).all()
    assert (labels[6] == 6).all() and (images[7:] == 4).all()  # no other family has their size
    different = np.unique(labels[:, 1:], axis=1).shape[1]
    assert different == arrangements(CODES, (10,)) == 6 * 2**3 * 6
    shares = np.bincount(labels[0, 1:], minlength=6)[:6] / 4000
    np.testing.assert_allclose(shares, 1 / 6, atol=0.025)
    assert family_relabellings(CODES, (10,), 0, np.random.default_rng(0)).shape == (10, 1)


def test_rows_and_columns_are_relabelled_apart_unless_a_family_is_on_both():
    apart = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    assert arrangements(apart, (4, 4)) == (2 * 2**2) ** 2
    labels = family_relabellings(apart, (4, 4), 500, np.random.default_rng(1))
    assert (labels[:4] < 4).all() and (labels[4:] >= 4).all()
    swapped = [(labels[side] // 2 % 2 == 1).astype(int) for side in (0, 4)]
    assert abs(np.corrcoef(swapped)[0, 1]) < 0.2
    both = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    assert arrangements(both, (4, 4)) == 2 * 2**4
    labels = family_relabellings(both, (4, 4), 500, np.random.default_rng(1))
    assert (both[labels[0]] == both[labels[4]]).all()
    assert arrangements(None, (5,)) == 120 and arrangements(None, (200,)) == np.inf


def test_the_variance_of_what_both_sides_share_moves_together():
    codes, values = np.array([0, 1, 2, 3, 0, 1, 2, 3]), np.array([1.0, 2.0, 4.0, 9.0])
    units = units_of(codes, (4, 4))
    one = family_variance(values[None], units_of(codes[:4], (4,)))
    assert one[0][0] == pytest.approx(3 / 4 * ((values - 4) ** 2).sum()) and one[1][0] == 3
    both = family_variance(np.concatenate([values, values])[None], units)
    assert both[0][0] == pytest.approx(4 * one[0][0]) and both[1][0] == 3
    apart = family_variance(np.concatenate([values, values])[None], units_of(np.arange(8), (4, 4)))
    assert apart[0][0] == pytest.approx(2 * one[0][0]) and apart[1][0] == pytest.approx(6)


@pytest.mark.parametrize(
    ("codes", "sizes", "message"),
    [
        ([0, 0, 1, 1, 2, 2], (6,), "no interval: 3 families, at least 4 are needed"),
        ([0] * 5, (5,), "no interval: 1 family, at least 4 are needed"),
        (
            [0, 0, 1, 1, 2, 3, 4, 5],
            (4, 4),
            "no interval: 2 and 4 families, at least 3 are needed in each group",
        ),
        ([0, 1, 2, 3, 4], (1, 4), ""),
    ],
)
def test_too_few_families_say_so(codes, sizes, message):
    assert units_of(np.array(codes), sizes).few == message


def test_the_allowance_is_what_all_others_give():
    values = np.random.default_rng(2).normal(size=(1, 9))
    found = allowances(values, np.zeros(9, int))[0]
    for k in range(9):
        others = np.delete(values[0], k)
        variance = 7 / 8 * ((others - others.mean()) ** 2).sum()
        assert found[k] == pytest.approx(stats.t(7).ppf(0.975) * np.sqrt(variance))
    assert np.isnan(allowances(values[:, :5], np.zeros(5, int))).all()


def test_p_and_interval_that_disagree_say_why():
    assert disagreement(0.01, 0.1, 0.5) == disagreement(0.5, -0.1, 0.5) == ""
    assert disagreement(0.01, np.nan, np.nan) == ""
    assert "they agree, others like them need not" in disagreement(0.01, -0.1, 0.5)
    outlier = Outlier("m3", 0.031)
    assert disagreement(0.01, -0.1, 0.5, outlier=outlier).endswith("without m3 the value is 0.03")
    assert "p cannot be below 0.17" in disagreement(0.3, 0.1, 0.5, 1 / 6)
    assert "p > 0.05" in disagreement(0.3, 0.1, 0.5, 0.001)


def test_one_set_of_pairs_has_the_columns_of_families():
    rng = np.random.default_rng(3)
    i, j = np.triu_indices(10, 1)
    common = rng.normal(size=5)[CODES]
    x, y = ((a := common + 0.5 * rng.normal(size=10))[i] + a[j] for _ in range(2))
    pairs, models = PairSet(x, y, i, j, (10,)), [f"m{k}" for k in range(10)]
    clusters = Clusters("family", {m: f"family={k}" for m, k in zip(models, CODES, strict=True)})
    how = {"methods": ["pearson"], "bootstrap": 10, "permutations": 99}
    row = correlate_pairs(pairs, ("x", "y"), models=models, clusters=clusters, **how)["pearson"]
    assert set(FURTHER) <= set(row)
    keep = CODES[i] != CODES[j]
    assert row["value_between"] == pytest.approx(stats.pearsonr(x[keep], y[keep])[0], abs=1e-12)
    assert row["arrangements"] == 288 and row["p_least"] == 0.01
    assert row["low"] < row["value"] < row["high"] and row["n_families"] == 5
    y[3] = np.nan  # a failed pair is left out of both
    row = correlate_pairs(pairs, ("x", "y"), models=models, clusters=clusters, **how)["pearson"]
    keep &= np.isfinite(y)
    assert row["value_between"] == pytest.approx(stats.pearsonr(x[keep], y[keep])[0], abs=1e-12)
    assert 0 < row["p_between"] <= 1 and row["status"].startswith("ok; 1 failed pairs left out")
    plain = correlate_pairs(pairs, ("x", "y"), **how)["pearson"]
    alone = correlate_pairs(pairs, ("x", "y"), models=models, **how)["pearson"]
    assert not set(FURTHER) & set(plain)
    assert {key: alone[key] for key in ("value", "low", "high", "p")} == {
        key: plain[key] for key in ("value", "low", "high", "p")
    }
