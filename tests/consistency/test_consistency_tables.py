"""Sets, anchors, means, differences, influence, range and overlap of consistency."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from consilience.config import load_study
from consilience.consistency import consistency_tables, make_consistency
from consilience.consistency.differences import largest_of_all
from consilience.consistency.overlap import overlaps, read_overlaps
from consilience.consistency.tables import range_matched
from consilience.errors import ConfigError
from consilience.files import read_table, write_table
from consilience.pairs.correlations import Block
from consilience.pairs.draws import Draws
from consilience.pairs.inference import estimate, fisher, interval, resample_counts

M = 12
NAMES = [f"m{k:02d}" for k in range(M)]
FIRST, SECOND = np.triu_indices(M, 1)
KINDS = pd.DataFrame({"kind": list("aaaaaabbbbbb")}, index=NAMES)


def table_of(values, dataset, names=NAMES):
    i, j = np.triu_indices(len(names), 1)
    columns = {"model_x": np.array(names)[i], "model_y": np.array(names)[j], "value": values}
    extra = {"dataset": dataset, "metric": "cka", "layer_x": "last", "layer_y": "last"}
    return pd.DataFrame(columns).assign(**extra)


def additive(m, rng):
    """Similarities s(i, j) = a_i + a_j + e_ij."""
    i, j = np.triu_indices(m, 1)
    a = rng.normal(size=m)
    return a[i] + a[j] + rng.normal(size=len(i))


def values_of(datasets, seed=0, rho=0.6):
    rng = np.random.default_rng(seed)
    common = additive(M, rng)
    return {
        f"d{k}": np.sqrt(rho) * common + np.sqrt(1 - rho) * additive(M, rng)
        for k in range(datasets)
    }


def measure(values, models=KINDS, **settings):
    tables = {name: table_of(row, name) for name, row in values.items()}
    defaults = {"groups": ["kind"], "bootstrap": 100, "permutations": 0, "methods": ["pearson"]}
    return consistency_tables(tables, models, **defaults | settings)


# --- the definition without intervals ---------------------------------------------------------


def test_values_of_a_study_equal_pandas_to_the_last_digits():
    """Ciernik et al.: r over the pairs {a, b}, a in one category, b in the other, a != b."""
    values = values_of(5)
    found = measure(values, bootstrap=0, methods=["pearson", "spearman", "kendall"]).table
    wide = pd.DataFrame(values)
    kinds = KINDS["kind"].to_numpy()
    sides = [set(pair) for pair in zip(kinds[FIRST], kinds[SECOND], strict=True)]
    assert len(found) == 10 * 4 * 3
    for row in found.itertuples():
        everything = row.grouping == "all"
        keep = [everything or side == {row.group_x, row.group_y} for side in sides]
        expected = wide.loc[keep].corr(row.method).loc[row.dataset_x, row.dataset_y]
        assert row.value == pytest.approx(expected, abs=1e-12)


# --- model sets -------------------------------------------------------------------------------


def test_named_sets_are_measured_within_and_between_those_without_a_common_model():
    values = values_of(2)
    sets = {"early": NAMES[:6], "late": NAMES[6:], "some": NAMES[3:9]}
    found = measure(values, groups=[], sets=sets).table.set_index(["group_x", "group_y"])
    x, y = values.values()
    for name, members in sets.items():
        keep = np.isin(FIRST, [NAMES.index(m) for m in members])
        keep &= np.isin(SECOND, [NAMES.index(m) for m in members])
        expected = stats.pearsonr(x[keep], y[keep])[0]
        assert found.loc[(name, name), "value"] == pytest.approx(expected, abs=1e-12)
    across = (FIRST < 6) & (SECOND >= 6)
    expected = stats.pearsonr(x[across], y[across])[0]
    assert found.loc[("early", "late"), "value"] == pytest.approx(expected, abs=1e-12)
    assert set(found.index) == {
        ("all", "all"), ("early", "early"), ("early", "late"), ("late", "late"), ("some", "some")
    }  # fmt: skip


def test_an_anchor_is_compared_with_all_others_and_with_each_group():
    values = values_of(2)
    found = measure(values, anchors=["m03"], permutations=99).table.query("grouping == 'anchor'")
    x, y = values.values()
    for group, others in [("all", range(M)), ("kind=a", range(6)), ("kind=b", range(6, M))]:
        with_anchor = (FIRST == 3) & np.isin(SECOND, others) | (SECOND == 3) & np.isin(
            FIRST, others
        )
        row = found[found["group_y"] == group].iloc[0]
        expected = stats.pearsonr(x[with_anchor], y[with_anchor])[0]
        assert row["value"] == pytest.approx(expected, abs=1e-12)
        assert row["n_pairs"] == with_anchor.sum()
        assert row["low"] < row["value"] < row["high"]
        assert 0 < row["p"] <= 1


def test_intervals_of_an_anchor_cover_as_fishers_do():
    """One pair per model: the models are independent points, where Fisher's interval is right."""
    rng, studies, others = np.random.default_rng(1), 400, 11
    values = rng.normal(size=(2 * studies, others))
    values[1::2] = 0.6 * values[::2] + 0.8 * values[1::2]
    ends = np.zeros(others, dtype=int), np.arange(1, others + 1)
    hits = []
    for start in range(0, studies, 20):
        left = np.arange(0, 40, 2)
        part = values[2 * start : 2 * start + 40]
        block = Block(part, *ends, (1, others), left, left + 1)
        found = estimate(block, "pearson", resample_counts((1, others), 200, rng))
        low, high = np.tanh(interval(found.z, found.drawn, found.variance, found.freedom))
        hits += list((low <= 0.6) & (high >= 0.6))
    assert len(hits) == studies
    assert 0.92 <= np.mean(hits) <= 0.98


def test_an_unknown_anchor_is_named():
    with pytest.raises(ConfigError, match="anchors: 'm3' is not a model that counts; did you mean"):
        measure(values_of(2), anchors=["m3"])


def test_a_study_names_queries_and_anchors_that_select_nothing():
    study = {
        "seed": 0, "models": "collection == 'demo'", "datasets": ["digits"],
        "metrics": ["cka_debiased"],
        "consistency": {"sets": {"none": "objective == 'magic'"}, "anchors": ["lite00"]},
    }  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        load_study(study)
    assert "consistency.sets.none: the query" in str(caught.value)
    assert "consistency.anchors: no model 'lite00' in the study; did you mean 'lite0'" in str(
        caught.value
    )


def test_influence_is_what_leaving_out_a_model_changes():
    values = values_of(3)
    found = measure(values, methods=["spearman"]).influence
    assert len(found) == 3 * M
    for row in found.itertuples():
        keep = (NAMES.index(row.model) != FIRST) & (NAMES.index(row.model) != SECOND)
        x, y = values[row.dataset_x], values[row.dataset_y]
        expected = stats.spearmanr(x[keep], y[keep])[0]
        assert row.value == pytest.approx(expected, abs=1e-12)
        assert row.change == pytest.approx(expected - stats.spearmanr(x, y)[0], abs=1e-12)


# --- shared draws -----------------------------------------------------------------------------


def test_draws_are_with_replacement_and_shared_by_all_sets():
    draws = Draws(0, 20_000, 0)
    counts = draws.counts([tuple("abcdef")])
    assert (counts.sum(axis=0) == 6).all()
    expected = stats.binom(6, 1 / 6).pmf(np.arange(5))
    for row in counts:
        shares = np.bincount(row.astype(int), minlength=7)[:5] / 20_000
        np.testing.assert_allclose(shares, expected, atol=0.015)
    assert np.corrcoef(counts)[0, 1] == pytest.approx(-1 / 5, abs=0.03)
    half = draws.counts([tuple("abc")])
    assert np.corrcoef(counts[0], half[0])[0, 1] > 0.5
    assert np.array_equal(half, Draws(0, 20_000, 0).counts([tuple("abc")]))


def test_dataset_pairs_with_fewer_models_go_along():
    values = values_of(3)
    tables = {name: table_of(row, name) for name, row in values.items()}
    keep = (FIRST < 10) & (SECOND < 10)
    tables["d2"] = table_of(values["d2"][keep], "d2", NAMES[:10])
    found = consistency_tables(tables, KINDS, groups=[], bootstrap=100, permutations=19)
    rows = found.table.query("method == 'pearson'").set_index(["dataset_x", "dataset_y"])
    assert rows["n_models"].to_dict() == {("d0", "d1"): 12, ("d0", "d2"): 10, ("d1", "d2"): 10}
    expected = stats.pearsonr(values["d0"][keep], values["d2"][keep])[0]
    assert rows.loc[("d0", "d2"), "value"] == pytest.approx(expected, abs=1e-12)
    assert rows[["low", "high", "p"]].notna().all(axis=None)
    mean = found.means.query("method == 'pearson'").iloc[0]
    assert mean["value"] == pytest.approx(np.tanh(np.arctanh(rows["value"]).mean()), abs=1e-12)
    assert mean["low"] < mean["value"] < mean["high"]


def test_the_mean_over_dataset_pairs_knows_that_they_depend_on_each_other():
    """Its interval covers; one that takes the dataset pairs for independent does not."""
    rng = np.random.default_rng(2)
    truth, ours, naive = 0.6, [], []
    for study in range(80):
        values = values_of(5, seed=int(rng.integers(2**31)), rho=truth)
        found = measure(values, groups=[], bootstrap=200, seed=study)
        row = found.means.iloc[0]
        ours.append(row["low"] <= truth <= row["high"])
        z = fisher(found.table["value"].to_numpy(), len(FIRST), "pearson")
        half = stats.t(9).ppf(0.975) * z.std(ddof=1) / np.sqrt(10)
        naive.append(abs(z.mean() - np.arctanh(truth)) <= half)
    assert np.mean(ours) >= 0.86  # more than three standard errors below 95 %
    assert np.mean(naive) < 0.75


# --- differences ------------------------------------------------------------------------------


def two_groups(rho, m, datasets, rng):
    """A study whose groups of m / 2 models have these consistencies."""
    i, j = np.triu_indices(m, 1)
    names = [f"m{k:02d}" for k in range(m)]
    share = np.where((i < m // 2) & (j < m // 2), rho[0], rho[1])
    common = additive(m, rng)
    tables = {
        f"d{k}": table_of(
            np.sqrt(share) * common + np.sqrt(1 - share) * additive(m, rng), f"d{k}", names
        )
        for k in range(datasets)
    }
    kinds = pd.DataFrame({"kind": ["a"] * (m // 2) + ["b"] * (m // 2)}, index=names)
    return tables, kinds


def found_differences(rho, studies, m=20):
    rng, rates = np.random.default_rng(3), np.zeros(3)
    for study in range(studies):
        table = consistency_tables(
            *two_groups(rho, m, 3, rng), groups=["kind"], methods=["pearson"],
            bootstrap=100, permutations=0, seed=study,
        ).differences  # fmt: skip
        mean = table["dataset_x"] == "*"
        assert mean.sum() == 1
        assert len(table) == 4
        each = (table["low"] > 0) | (table["high"] < 0)
        joint = (table["low_simultaneous"] > 0) | (table["high_simultaneous"] < 0)
        assert (table["low_simultaneous"] <= table["low"]).all()
        rates += [each[~mean].mean(), joint[~mean].any(), each[mean].iloc[0]]
    return rates / studies


def test_no_difference_is_found_where_there_is_none():
    each, any_of_all, mean = found_differences((0.6, 0.6), 60)
    assert each <= 0.1
    assert any_of_all <= 0.12  # of all dataset pairs together
    assert mean <= 0.12


def test_a_planted_difference_is_found():
    each, any_of_all, mean = found_differences((0.9, 0.4), 20)
    assert each > 0.5
    assert any_of_all > 0.6
    assert mean > 0.8


def test_differences_are_those_of_fishers_z():
    found = measure(values_of(3))
    rows = found.table.query("group_x == group_y and grouping == 'kind'")
    wide = np.arctanh(rows.pivot_table("value", ["dataset_x", "dataset_y"], "group_x"))
    table = found.differences.query("dataset_x != '*'")
    expected = (wide["a"] - wide["b"]).to_numpy()
    np.testing.assert_allclose(table["value"], expected, atol=1e-12)
    mean = found.differences.query("dataset_x == '*'").iloc[0]
    assert mean["value"] == pytest.approx(expected.mean(), abs=1e-12)


def test_a_difference_of_nested_sets_is_surer_than_of_strangers():
    """Models that both sets have move both, and drop out of the difference."""
    values = values_of(2)
    sets = {"all_but_one": NAMES[:11], "whole": NAMES}
    nested = measure(values, groups=[], sets=sets).differences.iloc[0]
    apart = measure(values).differences.iloc[0]
    assert nested["high"] - nested["low"] < 0.5 * (apart["high"] - apart["low"])


def test_the_largest_of_independent_rows_is_sidaks():
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(6, 5000))
    expected = stats.norm.ppf((1 + 0.95 ** (1 / 6)) / 2)
    assert largest_of_all(rows, rng) == pytest.approx(expected, abs=0.1)
    same = np.repeat(rows[:1], 6, axis=0)
    assert largest_of_all(same, rng) == pytest.approx(1.96, abs=0.08)


# --- range ------------------------------------------------------------------------------------


def test_matching_the_range_restores_a_selected_correlation():
    rng = np.random.default_rng(5)
    x, noise = rng.normal(size=(2, 200_000))
    y = 0.7 * x + np.sqrt(1 - 0.49) * noise
    kept = np.abs(x) < 0.8
    restricted = np.corrcoef(x[kept], y[kept])[0, 1]
    assert restricted < 0.5
    found = range_matched(np.array([restricted]), x[kept].std(), x.std())
    assert found[0] == pytest.approx(0.7, abs=0.01)


def test_the_spread_stands_beside_r_and_all_models_match_themselves():
    values = values_of(2)
    found = measure(values).table.set_index(["grouping", "group_x", "group_y"])
    whole = found.loc[("all", "all", "all")]
    assert whole["sd_x"] == pytest.approx(values["d0"].std(ddof=1), abs=1e-12)
    assert whole["matched_x"] == pytest.approx(whole["value"], abs=1e-12)
    row = found.loc[("kind", "a", "a")]
    u = whole["sd_y"] / row["sd_y"]
    expected = row["value"] * u / np.sqrt(1 + row["value"] ** 2 * (u**2 - 1))
    assert row["matched_y"] == pytest.approx(expected, abs=1e-12)


# --- overlap ----------------------------------------------------------------------------------

IDS = {
    "base": [f"{k:05d}" for k in range(100)],
    "view": [f"{k:05d}" for k in range(0, 100, 5)],
    "view_of_view": [f"{k:05d}" for k in range(10)],
    "stranger": [f"{k:05d}" for k in range(100)],
    "named": ["cat_on_mat", "dog_in_fog", "00001"],
    "named_too": ["cat_on_mat", "00001", "00002", "00003"],
}
ROWS = {
    "base": {"source": "folder", "name": "here"},
    "view": {"parent": "base"},
    "view_of_view": {"parent": "view"},
    "stranger": {"source": "folder", "name": "there"},
    "named": {"source": "folder", "name": "pets"},
    "named_too": {"source": "folder", "name": "animals"},
}


def test_overlap_is_of_one_origin_or_of_ids_that_say_something():
    found = overlaps({name: frozenset(ids) for name, ids in IDS.items()}, ROWS)
    assert set(found) == set(combinations(sorted(IDS), 2))
    assert found["base", "view"] == 1.0
    assert found["base", "view_of_view"] == 1.0
    assert found["view", "view_of_view"] == 0.2
    assert found["base", "stranger"] == 0.0  # numbers of two collections
    assert found["named", "named_too"] == pytest.approx(1 / 3)


def test_overlap_is_read_from_samples_and_stands_in_the_table(tmp_path):
    values = values_of(2)
    similarity, samples = [], []
    for name, ids in (("d0", ["x_a", "x_b"]), ("d1", ["x_b", "x_c", "x_d"])):
        similarity.append(tmp_path / f"similarity_{name}.parquet")
        write_table(table_of(values[name], name), similarity[-1], {})
        samples.append(tmp_path / f"{name}.parquet")
        write_table(pd.DataFrame({"id": ids}), samples[-1], {"row": {"source": "folder"}})
    assert read_overlaps(samples) == {("d0", "d1"): 0.5}
    names = ("table", "means", "differences", "influence")
    outs = {name: tmp_path / "out" / f"{name}.parquet" for name in names}
    make_consistency(
        similarity, KINDS, outs, samples_paths=samples, groups=["kind"], bootstrap=20,
        permutations=9,
    )  # fmt: skip
    assert (read_table(outs["table"])["overlap"] == 0.5).all()
    assert all(path.exists() for path in outs.values())
