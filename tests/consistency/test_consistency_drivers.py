"""What differences say of themselves: who drives them, missing intervals, both kinds of pairs."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_consistency_families import measure

M = 24
NAMES = [f"m{k:02d}" for k in range(M)]
FIRST, SECOND = np.triu_indices(M, 1)
CODES = np.repeat(np.arange(12), 2)
MODELS = pd.DataFrame(
    {"kind": ["a"] * 12 + ["b"] * 12, "family": [f"f{k:02d}" for k in CODES],
     "maker": [f"k{k}" for k in CODES // 3]}, index=NAMES,
)  # fmt: skip


def planted(far, size, rng, datasets=3):
    """Unrelated similarities, but for models that are far from all others on every dataset."""
    values = []
    for _ in range(datasets):
        a = rng.normal(size=M) + size * np.isin(np.arange(M), far)
        values.append(a[FIRST] + a[SECOND] + 0.4 * rng.normal(size=len(FIRST)))
    return values


def z_within(values, inside, without=()):
    """Fisher's z of every pair of datasets, by SciPy, over the pairs of models inside."""
    keep = np.isin(np.arange(M), list(inside)) & ~np.isin(np.arange(M), list(without))
    keep = keep[FIRST] & keep[SECOND]
    r = [stats.pearsonr(x[keep], y[keep])[0] for x, y in combinations(values, 2)]
    return np.arctanh(r)


def rows_of(found, grouping="kind"):
    return found.differences.query(f"grouping == '{grouping}' and method == 'pearson'")


@pytest.mark.parametrize("methods", [["pearson"], ["pearson", "spearman"]])
def test_a_model_that_drives_a_difference_is_named_with_the_difference_without_it(methods):
    values = planted([3], 8, np.random.default_rng(0))
    rows = rows_of(measure(values, MODELS, NAMES, groups=["kind"], methods=methods))
    assert len(rows) == 4
    a, b = range(12), range(12, 24)
    without = z_within(values, a, [3]) - z_within(values, b)
    plain = z_within(values, a) - z_within(values, b)
    assert (rows["outlier"] == "m03").all()
    np.testing.assert_allclose(rows["value"], [*plain, plain.mean()], atol=1e-10)
    np.testing.assert_allclose(rows["value_without"], [*without, without.mean()], atol=1e-10)
    assert (rows["value_without"] < rows["value"]).all()
    assert abs(rows["value_without"].iloc[-1]) < rows["value"].iloc[-1] / 4
    assert (rows["status"] == "ok").all()


def test_a_family_that_drives_a_difference_is_named():
    values = planted([6, 7], 8, np.random.default_rng(1))
    rows = rows_of(measure(values, MODELS, NAMES, groups=["kind"], clusters="family"))
    without = z_within(values, range(12), [6, 7]) - z_within(values, range(12, 24))
    assert (rows["outlier"] == "family=f03").all()
    np.testing.assert_allclose(rows["value_without"], [*without, without.mean()], atol=1e-10)


def test_what_two_sets_share_is_left_out_of_both():
    """Without m10, which is far away, both sets are without it: their difference hardly moves."""
    values = planted([10], 8, np.random.default_rng(2))
    sets = {"early": NAMES[:16], "late": NAMES[8:]}
    found = measure(values, MODELS, NAMES, sets=sets)
    assert (rows_of(found, "set")["outlier"] == "").all()
    assert (found.table.query("grouping == 'set' and group_x == group_y")["outlier"] == "m10").all()


def test_differences_without_an_outlier_name_nobody():
    rng, named, rows = np.random.default_rng(3), 0, 0
    for clusters in (None, "family"):
        for study in range(15):
            values = planted([], 0, rng)
            how = {"groups": ["kind"], "permutations": 0, "seed": study, "clusters": clusters}
            found = rows_of(measure(values, MODELS, NAMES, **how))
            named, rows = named + (found["outlier"] != "").sum(), rows + len(found)
    assert named <= 0.05 * rows


def test_a_difference_says_why_it_has_no_interval_and_which_group_lacks_families():
    values = planted([], 0, np.random.default_rng(4))
    rows = rows_of(measure(values, MODELS, NAMES, groups=["kind"], clusters="maker"))
    assert rows["low"].isna().all()
    said = "ok; no interval: 2 families, at least 4 are needed (a and b)"
    assert (rows["status"] == said).all()
    uneven = MODELS.assign(maker=[*MODELS["family"][:12], *["k8", "k9"] * 6])
    rows = rows_of(measure(values, uneven, NAMES, groups=["kind"], clusters="maker"))
    said = "ok; no interval: 2 families, at least 4 are needed (b)"
    assert (rows["status"] == said).all()
    bare = rows_of(measure(values, MODELS, NAMES, groups=["kind"], bootstrap=0))
    assert (bare["status"] == "ok").all() and (bare["outlier"] == "").all()


def test_near_duplicates_that_make_a_difference_are_told():
    """Pairs within the families of kind `a` are alike on all datasets; nothing else is related."""
    rng = np.random.default_rng(5)
    near = (CODES[FIRST] == CODES[SECOND]) & (FIRST < 12)
    values = [rng.normal(size=len(FIRST)) + 6 * near for _ in range(3)]
    rows = rows_of(measure(values, MODELS, NAMES, groups=["kind"], clusters="family"))
    told = rows["status"].str.contains("between families: the interval holds 0, that over all")
    plain, between = ((rows[f"low{of}"] <= 0) & (rows[f"high{of}"] >= 0) for of in ("", "_between"))
    assert told.iloc[-1] and told.equals(between & ~plain)


def test_models_that_cluster_make_differences_too_sure():
    rng, codes = np.random.default_rng(6), np.arange(M) // 3
    models = MODELS.assign(maker=[f"k{k}" for k in codes])
    values = []
    for _ in range(3):
        a = rng.normal(size=8)[codes] + 0.2 * rng.normal(size=M)
        values.append(a[FIRST] + a[SECOND] + 0.3 * rng.normal(size=len(FIRST)))
    rows = rows_of(measure(values, models, NAMES, groups=["kind"], warn=["maker"]))
    assert rows["status"].str.contains("set consistency.clusters: maker").all()
