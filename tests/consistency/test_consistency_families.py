"""Families of models: without them nothing changes; with them, intervals and p of planted truth."""

import hashlib
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from consilience.consistency import consistency_tables
from consilience.consistency.differences import level_of_all
from consilience.consistency.tables import intraclass, of_intraclass
from consilience.errors import ConfigError
from consilience.pairs.correlations import Block
from consilience.pairs.families import estimate_set, family_relabellings
from consilience.pairs.inference import interval, mantel

NAMES = [f"m{k:02d}" for k in range(14)]
SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}
FAMILIES = pd.DataFrame(
    {"family": ["f0"] * 3 + ["f1"] * 3 + ["f2"] * 3 + ["f3"] * 3 + ["", None]}, index=NAMES
)


def table_of(values, dataset, names=NAMES):
    i, j = np.triu_indices(len(names), 1)
    columns = {"model_x": np.array(names)[i], "model_y": np.array(names)[j], "value": values}
    extra = {"dataset": dataset, "metric": "cka", "layer_x": "last", "layer_y": "last"}
    return pd.DataFrame(columns).assign(**extra)


def zoo(families, icc, rho, rng, datasets=2):
    """Similarities a_i + a_j + e_ij; a share `icc` of the models' effects is their family's."""
    m = len(families)
    i, j = np.triu_indices(m, 1)

    def effects(n):
        common = rng.normal(size=n)
        return [np.sqrt(rho) * common + np.sqrt(1 - rho) * rng.normal(size=n)
                for _ in range(datasets)]  # fmt: skip

    of_families, own = effects(max(families) + 1), effects(m)
    for f, o in zip(of_families, own, strict=True):
        a = np.sqrt(icc) * f[families] + np.sqrt(1 - icc) * o
        yield a[i] + a[j] + 0.4 * rng.normal(size=len(i))


def measure(values, models, names=NAMES, **settings):
    tables = {f"d{k}": table_of(row, f"d{k}", names) for k, row in enumerate(values)}
    defaults = {"groups": [], "bootstrap": 50, "permutations": 99, "methods": ["pearson"]}
    return consistency_tables(tables, models, **defaults | settings)


def frozen_study():
    rng = np.random.default_rng(20)
    i, j = np.triu_indices(14, 1)

    def additive():
        a = rng.normal(size=14)
        return a[i] + a[j] + rng.normal(size=len(i))

    common, tables, halves = additive(), {}, {}
    for k in range(4):
        values = 0.8 * common + 0.6 * additive()
        values[5] = np.nan if k == 3 else values[5]
        table = table_of(values, f"d{k}")
        table = table[(i < 12) & (j < 12)] if k == 2 else table
        tables[f"d{k}"] = table
        halves[f"d{k}"] = pd.concat(
            [
                table.assign(
                    value=table["value"] + 0.5 * rng.normal(size=len(table)), split=s, half=h
                )
                for s in range(3)
                for h in "ab"
            ],
            ignore_index=True,
        )
    kinds = {"kind": list("aaaaaaabbbbbbb"), "size": list("xxxyyyxxyyxyxy")}
    return tables, pd.DataFrame(kinds, index=NAMES), halves


FROZEN = {
    "table": ("63df5df86d618b4d", 25),
    "means": ("7bf70bdca5f33829", 15),
    "differences": ("05efbcf5f3072f61", 16),
    "influence": ("94486b2f7bb88104", 7),
}
"""Digests of the first columns as the version before families made them, to ten digits."""


def digest_of(frame):
    numbers = frame.drop(columns="status", errors="ignore")
    text = numbers.to_csv(index=False, float_format="%.10e", na_rep="-")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("clusters", [None, "none", "alone"])
def test_without_families_all_numbers_are_as_before(clusters):
    """No column, none asked for, or one in which no two models agree."""
    tables, models, halves = frozen_study()
    models["alone"] = NAMES
    found = consistency_tables(
        tables, models, groups=["kind", "size"], sets={"early": NAMES[:9], "late": NAMES[4:]},
        anchors=["m03"], methods=["pearson", "spearman"], bootstrap=60,
        permutations=49, seed=3, halves=halves, clusters=clusters,
    )  # fmt: skip
    for name, (expected, columns) in FROZEN.items():
        frame = getattr(found, name)
        assert digest_of(frame.iloc[:, :columns]) == expected, name
    assert set(found.table["clusters"]) == {"none"}
    assert found.table[["value_between", "low_between", "p_between"]].isna().all(axis=None)


def test_an_unknown_column_is_named():
    with pytest.raises(ConfigError, match="clusters: the models table has no column 'famly'; did"):
        measure(zoo([0] * 14, 0, 0.5, np.random.default_rng(0)), FAMILIES, clusters="famly")


@pytest.mark.parametrize("method", SCIPY)
def test_intervals_are_those_of_the_jackknife_over_families(method):
    """By hand: pairs without each family in turn, SciPy's correlation, Fisher's z, t with F - 1."""
    codes = np.array([0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [4, 5])
    x, y = zoo(codes[:14] % 6, 0.5, 0.6, np.random.default_rng(1))
    found = measure([x, y], FAMILIES, clusters="family", methods=[method]).table.iloc[0]
    i, j = np.triu_indices(14, 1)
    everything, apart = np.ones(len(i), bool), codes[i] != codes[j]
    for keep, names in ((everything, ""), (apart, "_between")):
        z = np.arctanh(SCIPY[method](x[keep], y[keep])[0])
        left = [keep & (codes[i] != f) & (codes[j] != f) for f in range(6)]
        left = np.arctanh([SCIPY[method](x[k], y[k])[0] for k in left])
        half = stats.t(5).ppf(0.975) * np.sqrt(5 / 6 * ((left - left.mean()) ** 2).sum())
        ends = [found[f"{name}{names}"] for name in ("value", "low", "high")]
        np.testing.assert_allclose(ends, np.tanh([z, z - half, z + half]), atol=1e-10)
    assert (found["n_families"], found["clusters"]) == (6, "family")
    assert found["n_pairs_between"] == apart.sum()


@pytest.mark.parametrize("method", SCIPY)
def test_p_is_that_of_all_arrangements_of_families_and_models(method):
    """Three families of two models: 3! 2!^3 = 48 arrangements, one by one."""
    draws = 8000 if method != "kendall" else 1000  # SciPy's is slow
    codes = np.array([0, 0, 1, 1, 2, 2])
    names = NAMES[:6]
    models = pd.DataFrame({"family": [f"f{k}" for k in codes]}, index=names)
    x, y = zoo(codes, 0.5, 0.5, np.random.default_rng(3))
    how = {"clusters": "family", "permutations": draws, "methods": [method]}
    row = measure([x, y], models, names, **how).table.iloc[0]
    i, j = np.triu_indices(6, 1)
    square = np.zeros((6, 6))
    square[i, j] = square[j, i] = y
    whole = {"": np.ones(len(i), bool), "_between": codes[i] != codes[j]}
    reached = {name: [] for name in whole}
    for label in permutations(range(6)):
        images = codes[list(label)]
        if all(len(set(images[codes == f])) == 1 for f in range(3)):
            relabelled = square[np.array(label)[i], np.array(label)[j]]
            for name, keep in whole.items():
                r = SCIPY[method](x[keep], relabelled[keep])[0]
                observed = SCIPY[method](x[keep], y[keep])[0]
                reached[name].append(abs(r) >= abs(observed) - 1e-12)
    for name, exact in reached.items():
        assert len(exact) == row["arrangements"] == 48
        share = np.mean(exact)
        error = np.sqrt(share * (1 - share) / draws)
        assert row[f"p{name}"] == pytest.approx(share, abs=4 * error + 1 / draws)
    assert row["p_least"] == pytest.approx(1 / 48)
    assert row["status"].startswith("ok; no interval: 3 families, at least 4 are needed")
    assert np.isnan(row["low"])


def test_rows_and_columns_of_a_set_between_groups_are_families_of_each_side():
    names = [f"m{k:02d}" for k in range(16)]
    codes = np.repeat(np.arange(8), 2)
    models = pd.DataFrame(
        {"family": [f"f{k}" for k in codes], "kind": ["a"] * 8 + ["b"] * 8}, index=names
    )
    x, y = zoo(codes, 0.5, 0.6, np.random.default_rng(4))
    found = measure([x, y], models, names, clusters="family", groups=["kind"]).table
    row = found.set_index(["group_x", "group_y"]).loc[("a", "b")]
    i, j = np.triu_indices(16, 1)
    keep = (i < 8) & (j >= 8)
    z = np.arctanh(stats.pearsonr(x[keep], y[keep])[0])
    parts = []
    for side in (range(4), range(4, 8)):
        left = [keep & (codes[i] != f) & (codes[j] != f) for f in side]
        left = np.arctanh([stats.pearsonr(x[k], y[k])[0] for k in left])
        parts.append(3 / 4 * ((left - left.mean()) ** 2).sum())
    freedom = sum(parts) ** 2 / sum(part**2 / 3 for part in parts)
    half = stats.t(freedom).ppf(0.975) * np.sqrt(sum(parts))
    np.testing.assert_allclose([row["low"], row["high"]], np.tanh([z - half, z + half]), atol=1e-10)
    assert row["arrangements"] == (24 * 2**4) ** 2
    assert row["value_between"] == pytest.approx(row["value"], abs=1e-12)


def test_a_zoo_in_families_is_covered_by_family_and_not_by_model():
    codes = np.repeat(np.arange(8), 5)
    names = [f"m{k:02d}" for k in range(40)]
    models = pd.DataFrame({"family": [f"f{k}" for k in codes]}, index=names)
    rng, hits = np.random.default_rng(5), np.zeros((60, 3))
    for study in range(60):
        values = list(zoo(codes, 0.8, 0.0, rng))
        rows = [
            measure(values, models, names, clusters=c, permutations=59, seed=study).table.iloc[0]
            for c in ("family", None)
        ]
        found = rows[0]
        hits[study] = [found["low"] <= 0 <= found["high"], found["p"] <= 0.05,
                       rows[1]["p"] <= 0.05]  # fmt: skip
    covered, by_family, by_model = hits.mean(axis=0)
    assert 0.86 <= covered <= 1.0  # 60 studies: three standard errors are 8 %
    assert by_family <= 0.14
    assert by_model >= 0.25


@pytest.mark.parametrize("method", ["spearman", "kendall"])
def test_ranks_of_a_zoo_in_families_are_covered_and_not_found_falsely(method):
    """Unrelated datasets, 8 families of 3 models; 39 relabellings give p <= 0.05 in 2 of 40."""
    codes, rng, hits = np.repeat(np.arange(8), 3), np.random.default_rng(15), 0
    studies = 200 if method != "kendall" else 100
    i, j = np.triu_indices(24, 1)
    ends = np.arange(0, 20, 2)
    for _ in range(studies // 10):
        values = np.array([row for _ in range(10) for row in zoo(codes, 0.8, 0.0, rng)])
        block = Block(values, i, j, (24,), ends, ends + 1, codes)
        labels = family_relabellings(codes, (24,), 39, rng)
        found = estimate_set(block, method, np.empty((24, 0)))
        low, high = interval(found.z, found.drawn, found.variance, found.freedom)
        p = mantel(block, method, labels)
        hits += np.array([((low > 0) | (high < 0)).sum(), (p <= 0.05).sum()])
    left_out, rejected = hits / studies
    error = np.sqrt(0.05 * 0.95 / studies)
    assert left_out <= 0.05 + 3 * error
    assert 0.01 <= rejected <= 0.05 + 4 * error  # ten studies share their labels


def test_models_that_cluster_are_told_if_no_families_are_given():
    codes = np.repeat(np.arange(8), 5)
    names = [f"m{k:02d}" for k in range(40)]
    models = pd.DataFrame(
        {"maker": [f"f{k}" for k in codes], "other": [f"o{k % 8}" for k in range(40)]}, index=names
    )
    values = list(zoo(codes, 0.9, 0.5, np.random.default_rng(6), datasets=3))
    found = measure(values, models, names, warn=["other", "maker"]).table
    said = "models cluster by `maker`, so intervals by model are too narrow: set " \
           "consistency.clusters: maker"  # fmt: skip
    assert found["status"].str.contains(said, regex=False).all()
    found = measure(values, models, names, warn=["other", "maker"], clusters="maker").table
    assert not found["status"].str.contains("cluster").any()


@pytest.mark.parametrize("m", [8, 16, 32])
def test_one_model_far_away_is_named_with_the_value_without_it(m):
    """One model + 6 sd on both datasets, all others unrelated."""
    rng = np.random.default_rng(7)
    i, j = np.triu_indices(m, 1)
    names, values = [f"m{k:02d}" for k in range(m)], []
    for _ in range(2):
        a = rng.normal(size=m)
        a[5] += 6
        values.append(a[i] + a[j] + 0.4 * rng.normal(size=len(i)))
    row = measure(values, pd.DataFrame(index=names), names).table.iloc[0]
    keep = (i != 5) & (j != 5)
    expected = stats.pearsonr(values[0][keep], values[1][keep])[0]
    assert row["outlier"] == "m05"
    assert row["value_without"] == pytest.approx(expected, abs=1e-10)
    assert row["value_without"] < 0.35 < row["value"]
    if row["p"] <= 0.05 and row["low"] <= 0:
        assert f"but the interval holds 0: without m05 the value is {expected:.2f}" in row["status"]


def test_a_family_far_away_is_named_and_p_does_not_contradict_the_interval_silently():
    codes = np.repeat(np.arange(8), 3)
    names = [f"m{k:02d}" for k in range(24)]
    models = pd.DataFrame({"family": [f"f{k}" for k in codes]}, index=names)
    rng = np.random.default_rng(8)
    i, j = np.triu_indices(24, 1)
    values = []
    for _ in range(2):
        a = 0.5 * rng.normal(size=8)[codes] + 0.2 * rng.normal(size=24) + 5 * (codes == 2)
        values.append(a[i] + a[j] + 0.3 * rng.normal(size=len(i)))
    row = measure(values, models, names, clusters="family").table.iloc[0]
    assert row["outlier"] == "family=f2"
    keep = (codes[i] != 2) & (codes[j] != 2)
    expected = stats.pearsonr(values[0][keep], values[1][keep])[0]
    assert row["value_without"] == pytest.approx(expected, abs=1e-10)
    contradicts = (row["p"] <= 0.05) == (row["low"] <= 0 <= row["high"])
    assert contradicts == ("the interval" in row["status"])


def test_models_without_an_outlier_name_nobody():
    rng, named = np.random.default_rng(9), 0
    for study in range(40):
        values = list(zoo(np.arange(14), 0.0, 0.6, rng))
        row = measure(values, FAMILIES, permutations=0, seed=study).table.iloc[0]
        named += row["outlier"] != ""
    assert named <= 2


def test_means_and_differences_leave_out_families_of_all_datasets_together():
    names = [f"m{k:02d}" for k in range(32)]
    codes = np.repeat(np.arange(16), 2)
    models = pd.DataFrame(
        {"family": [f"f{k:02d}" for k in codes], "kind": ["a"] * 16 + ["b"] * 16}, index=names
    )
    values = list(zoo(codes, 0.7, 0.6, np.random.default_rng(10), datasets=3))
    found = measure(values, models, names, clusters="family", groups=["kind"])
    i, j = np.triu_indices(32, 1)
    z = {}
    for kind, side in (("a", codes < 8), ("b", codes >= 8)):
        inside = side[i] & side[j]
        for left in (-1, *np.unique(codes[side])):
            keep = inside & (codes[i] != left) & (codes[j] != left)
            r = [stats.pearsonr(values[x][keep], values[y][keep])[0]
                 for x, y in ((0, 1), (0, 2), (1, 2))]  # fmt: skip
            z.setdefault(kind, []).append(np.arctanh(r).mean())
    (a, *left_a), (b, *left_b) = z["a"], z["b"]
    parts = [7 / 8 * ((np.array(left) - np.mean(left)) ** 2).sum() for left in (left_a, left_b)]
    mean = found.means.set_index(["group_x", "group_y"]).loc[("a", "a")]
    r, left = np.tanh(a), np.tanh(left_a)  # of three datasets: the scale of intraclass correlations
    scaled, left = (0.5 * np.log((1 + 2 * x) / (1 - x)) for x in (r, left))
    half = stats.t(7).ppf(0.975) * np.sqrt(7 / 8 * ((left - left.mean()) ** 2).sum())
    odds = np.exp(2 * np.array([scaled - half, scaled + half]))
    ends = (odds - 1) / (odds + 2)
    np.testing.assert_allclose([mean["value"], mean["low"], mean["high"]], [r, *ends], atol=1e-10)
    freedom = sum(parts) ** 2 / sum(part**2 / 7 for part in parts)
    half = stats.t(freedom).ppf(0.975) * np.sqrt(15 / 16 * sum(parts))
    row = found.differences.query("dataset_x == '*'").iloc[0]
    np.testing.assert_allclose(
        [row["value"], row["low"], row["high"]], [a - b, a - b - half, a - b + half], atol=1e-10
    )
    assert row["low_simultaneous"] <= row["low"]
    assert found.differences["low_between_simultaneous"].notna().all()
    bare = measure(values, models, names, clusters="family", groups=["kind"], bootstrap=0)
    for frame in (bare.table, bare.means, bare.differences):
        assert frame["value"].notna().all() and frame["low"].isna().all()


def test_a_mean_of_two_datasets_is_on_fishers_scale_and_its_scale_can_be_undone():
    z = np.linspace(-0.15, 3, 30)
    np.testing.assert_array_equal(intraclass(z, 2.0), z)
    for datasets in (3.0, 6.0, 24.0):
        inside = z[np.tanh(z) > -0.9 / (datasets - 1)]
        scaled = intraclass(inside, datasets)
        r = np.tanh(inside)
        np.testing.assert_allclose(scaled, 0.5 * np.log((1 + (datasets - 1) * r) / (1 - r)))
        np.testing.assert_allclose(of_intraclass(scaled, datasets), r)


def test_the_level_of_one_row_is_its_own_and_that_of_two_is_larger():
    rng = np.random.default_rng(11)
    rows = np.eye(8)[:2]
    one = level_of_all(rows[:1], np.array([7.0]), rng)
    both = level_of_all(rows, np.array([7.0, 7.0]), rng)
    assert one == pytest.approx(0.975, abs=0.008)
    assert both == pytest.approx((1 + np.sqrt(0.95)) / 2, abs=0.005)


def test_joint_intervals_hold_families_and_stimuli():
    """Without noise of the stimuli they are those over families; with it they are wider."""
    codes = np.repeat(np.arange(8), 3)
    names = [f"m{k:02d}" for k in range(24)]
    models = pd.DataFrame({"family": [f"f{k}" for k in codes]}, index=names)
    rng = np.random.default_rng(12)
    values = list(zoo(codes, 0.5, 0.6, rng))
    rows = []
    for noise in (0.0, 1.5):
        halves = {
            f"d{k}": pd.concat(
                [
                    table_of(
                        row
                        + noise
                        * sign
                        * np.outer(*[rng.normal(size=24)] * 2)[np.triu_indices(24, 1)],
                        f"d{k}",
                        names,
                    ).assign(split=s, half=h)
                    for s in range(4)
                    for h, sign in (("a", 1), ("b", -1))
                ]
            )
            for k, row in enumerate(values)
        }
        rows.append(measure(values, models, names, clusters="family", halves=halves).table.iloc[0])
    still, moved = rows
    np.testing.assert_allclose(
        still[["low_joint", "high_joint"]].astype(float), still[["low", "high"]].astype(float)
    )
    assert moved["low_joint"] < moved["low"] and moved["high_joint"] > moved["high"]


def test_a_column_without_a_meaning_is_hardly_ever_named():
    names, rng = [f"m{k:02d}" for k in range(20)], np.random.default_rng(13)
    said = 0
    for study in range(40):
        models = pd.DataFrame({"any": rng.permutation(20) % 4}, index=names)
        values = list(zoo(np.arange(20), 0.0, 0.6, rng))
        row = measure(values, models, names, warn=["any"], permutations=0, seed=study).table.iloc[0]
        said += "cluster" in row["status"]
    assert said <= 6  # 5 % of 40, and three standard errors
