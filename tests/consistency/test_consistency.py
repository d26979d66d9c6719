"""Consistency: values, intervals and p-values against independent computation and planted truth."""

from itertools import pairwise, permutations, product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from consilience.consistency import make_consistency, measure_consistency
from consilience.errors import ConfigError, DataError
from consilience.files import file_digest, read_table, table_digest, write_table
from consilience.pairs import correlations
from consilience.pairs.correlations import influences
from consilience.pairs.inference import (
    PairSet,
    estimate,
    interval,
    mantel,
    mantel_incomplete,
    relabellings,
    resample_counts,
)
from consilience.pairs.relate import correlate_pairs

SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}
METHODS = tuple(SCIPY)
DEFAULTS = ("pearson", "spearman")


def correlate(pairs, method):
    return weighted_correlation(pairs, np.ones((sum(pairs.sizes), 1)), method)[0]


def weighted_correlation(pairs, counts, method):
    return correlations.correlations(pairs.block(), counts, method)[0]


def table_of(square, dataset, *, metric="cka", symmetric=True, layer="last"):
    """Long similarity table of a square matrix; NaN becomes a failed pair."""
    m = len(square)
    rows = [(i, j) for i in range(m) for j in range(m) if i <= j or not symmetric]
    values = [square[i, j] for i, j in rows]
    return pd.DataFrame(
        {
            "dataset": dataset,
            "metric": metric,
            "model_x": [f"m{i:02d}" for i, _ in rows],
            "layer_x": layer,
            "model_y": [f"m{j:02d}" for _, j in rows],
            "layer_y": layer,
            "value": values,
            "failure": [None if np.isfinite(value) else "did not converge" for value in values],
        }
    )


def random_square(m, rng, decimals=None):
    square = rng.uniform(0.2, 0.9, (m, m))
    square = (square + square.T) / 2
    np.fill_diagonal(square, 1.0)
    return square if decimals is None else square.round(decimals)


def metadata(labels, column="kind"):
    return pd.DataFrame({column: labels}, index=[f"m{i:02d}" for i in range(len(labels))])


def planted(m, rng, *, share=0.5, models=0.6, pairs=0.6):
    """Pair vectors s(i, j) = a_i + a_j + e_ij on two datasets with a known correlation.

    `share` of the variance comes from the models; the model parts correlate by `models` over the
    datasets, the pair parts by `pairs`: population r = share * models + (1 - share) * pairs.
    """
    i, j = np.triu_indices(m, 1)

    def twins(n, rho):
        first = rng.normal(size=n)
        return first, rho * first + np.sqrt(1 - rho**2) * rng.normal(size=n)

    of_models, of_pairs = twins(m, models), twins(len(i), pairs)
    x, y = (
        np.sqrt(share / 2) * (a[i] + a[j]) + np.sqrt(1 - share) * e
        for a, e in zip(of_models, of_pairs, strict=True)
    )
    return PairSet(x, y, i, j, (m,))


def between(pairs, sizes):
    keep = (pairs.first < sizes[0]) & (pairs.second >= sizes[0])
    return PairSet(pairs.x[keep], pairs.y[keep], pairs.first[keep], pairs.second[keep], sizes)


def quick(tables, models, **settings):
    settings = {"groups": ["kind"], "bootstrap": 0, "permutations": 0} | settings
    settings.setdefault("methods", DEFAULTS)
    return measure_consistency(tables, models, **settings)


# --- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("decimals", [None, 1])
def test_values_equal_scipy_for_all_within_and_between(method, decimals):
    rng = np.random.default_rng(0)
    squares = [random_square(11, rng, decimals) for _ in range(2)]
    labels = np.array(list("aaaaabbbbcc"))
    table = quick(
        {f"d{k}": table_of(s, f"d{k}") for k, s in enumerate(squares)},
        metadata(labels),
        methods=[method],
    )
    i, j = np.triu_indices(11, 1)
    for x, y in [("all", "all"), ("a", "a"), ("b", "b"), ("a", "b")]:
        kinds = np.sort(np.stack([labels[i], labels[j]]), axis=0)
        keep = np.ones(len(i), bool) if x == "all" else (kinds[0] == x) & (kinds[1] == y)
        expected = SCIPY[method](squares[0][i, j][keep], squares[1][i, j][keep])[0]
        row = table.query("group_x == @x and group_y == @y and method == @method").iloc[0]
        assert row["value"] == pytest.approx(expected, abs=1e-12)
        assert row["n_pairs"] == keep.sum()
        assert row["n_models"] == (11 if x == "all" else np.isin(labels, [x, y]).sum())


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_value_survives_a_large_common_offset(offset):
    rng = np.random.default_rng(1)
    squares = [random_square(9, rng) for _ in range(2)]
    i, j = np.triu_indices(9, 1)
    shifted = [s + offset for s in squares]
    table = quick(
        {"d": table_of(shifted[0], "d"), "e": table_of(shifted[1], "e")}, metadata(["a"] * 9)
    )
    expected = stats.pearsonr(*[s[i, j] - offset for s in shifted])[0]
    assert table["value"][0] == pytest.approx(expected, abs=1e-12)


def test_asymmetric_values_are_the_mean_of_both_directions():
    rng = np.random.default_rng(2)
    squares = [rng.uniform(size=(7, 7)) for _ in range(2)]
    table = quick(
        {f"d{k}": table_of(s, f"d{k}", symmetric=False) for k, s in enumerate(squares)},
        metadata(["a"] * 7),
    )
    i, j = np.triu_indices(7, 1)
    expected = stats.pearsonr(*[(s[i, j] + s[j, i]) / 2 for s in squares])[0]
    assert table["value"][0] == pytest.approx(expected, abs=1e-12)


def test_failed_pairs_are_left_out_and_counted():
    rng = np.random.default_rng(3)
    squares = [random_square(8, rng) for _ in range(2)]
    squares[0][1, 4] = squares[0][4, 1] = np.nan
    squares[1][0, 2] = squares[1][2, 0] = np.nan
    row = quick({f"d{k}": table_of(s, f"d{k}") for k, s in enumerate(squares)}, metadata(["a"] * 8))
    i, j = np.triu_indices(8, 1)
    x, y = (s[i, j] for s in squares)
    keep = np.isfinite(x) & np.isfinite(y)
    assert row["value"][1] == pytest.approx(stats.spearmanr(x[keep], y[keep])[0], abs=1e-12)
    assert row["n_pairs"][0] == 26
    assert row["status"][0] == "ok; 2 failed pairs left out"


def test_one_failed_direction_fails_the_pair():
    rng = np.random.default_rng(4)
    squares = [rng.uniform(size=(6, 6)) for _ in range(2)]
    squares[0][3, 1] = np.nan
    table = quick(
        {f"d{k}": table_of(s, f"d{k}", symmetric=False) for k, s in enumerate(squares)},
        metadata(["a"] * 6),
    )
    assert table["n_pairs"][0] == 14


def test_only_models_common_to_both_datasets_count():
    rng = np.random.default_rng(5)
    big, small = random_square(9, rng), random_square(6, rng)
    table = quick({"d": table_of(big, "d"), "e": table_of(small, "e")}, metadata(list("aaaaabbbb")))
    i, j = np.triu_indices(6, 1)
    assert table["value"][0] == pytest.approx(stats.pearsonr(big[i, j], small[i, j])[0], abs=1e-12)
    assert table["n_models"][0] == 6
    only_b = table.query("group_x == 'b'").iloc[0]
    assert only_b["status"] == "1 model, 0 pairs: at least 4 models are needed"


def test_layers_choose_the_rows():
    rng = np.random.default_rng(6)
    squares = {name: random_square(5, rng) for name in ("first", "last", "other")}
    deep = pd.concat([table_of(squares[n], "d", layer=n) for n in ("first", "last")])
    other = table_of(squares["other"], "e", layer="only")
    models = metadata(["a"] * 5)
    i, j = np.triu_indices(5, 1)
    for layer in ("first", "last"):
        table = quick({"d": deep, "e": other}, models, layers=dict.fromkeys(models.index, layer))
        expected = stats.pearsonr(squares[layer][i, j], squares["other"][i, j])[0]
        assert table["value"][0] == pytest.approx(expected, abs=1e-12)
    with pytest.raises(DataError, match=r"'m00' has 2 layers on dataset 'd'.*first, last"):
        quick({"d": deep, "e": other}, models)
    with pytest.raises(DataError, match=r"no layer 'lasst' on dataset 'd'; did you mean 'last'"):
        quick({"d": deep, "e": other}, models, layers=dict.fromkeys(models.index, "lasst"))


@pytest.mark.parametrize("empty", [None, np.nan, ""])
def test_models_without_a_group_are_in_no_group(empty):
    rng = np.random.default_rng(7)
    tables = {name: table_of(random_square(6, rng), name) for name in "de"}
    table = quick(tables, metadata([*"aaaa", empty, empty]))
    assert table.query("group_x == 'a'")["n_models"].tolist() == [4, 4]
    assert set(table["group_x"]) == {"all", "a"}


# --- weights, influences, resampling --------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ties", [False, True])
def test_weighted_correlation_equals_repetition_of_the_models(method, ties):
    rng = np.random.default_rng(8)
    pairs = planted(9, rng)
    x, y = (v.round(0) if ties else v for v in (pairs.x, pairs.y))
    counts = resample_counts((9,), 40, rng)
    found = weighted_correlation(PairSet(x, y, pairs.first, pairs.second, (9,)), counts, method)
    for column, value in enumerate(found):
        drawn = np.repeat(np.arange(9), counts[:, column].astype(int))
        i, j = np.triu_indices(9, 1)
        both = [
            k for a, b in zip(drawn[i], drawn[j], strict=True) if a != b
            for k in np.flatnonzero((pairs.first == min(a, b)) & (pairs.second == max(a, b)))
        ]  # fmt: skip
        assert value == pytest.approx(SCIPY[method](x[both], y[both])[0], abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_resamples_do_not_depend_on_the_block_size(monkeypatch, method):
    pairs = planted(10, np.random.default_rng(9))
    counts = resample_counts((10,), 50, np.random.default_rng(1))
    whole = weighted_correlation(pairs, counts, method)
    monkeypatch.setattr(correlations, "CHUNK", 300)
    np.testing.assert_allclose(whole, weighted_correlation(pairs, counts, method), atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ties", [False, True])
def test_influences_are_the_derivative_with_respect_to_the_weights(monkeypatch, method, ties):
    pairs = planted(8, np.random.default_rng(10))
    x, y = (v.round(0) if ties else v for v in (pairs.x, pairs.y))
    p, step = len(x), 1e-5 if method != "kendall" else 1e-3  # float32 holds whole weights only
    weights = 1 + step * np.vstack([np.eye(p), -np.eye(p)])
    monkeypatch.setattr(correlations.Block, "weights", lambda _block, counts: counts.T)
    block = PairSet(x, y, pairs.first, pairs.second, (8,)).block()
    z = np.arctanh(correlations.correlations(block, weights.T, method)[0])
    slopes = p * (z[:p] - z[p:]) / (2 * step)
    tolerance = 1e-6 if method != "kendall" else 1e-2
    np.testing.assert_allclose(influences(block, method)[0], slopes, atol=tolerance)


@pytest.mark.parametrize("sizes", [(9,), (4, 5)])
@pytest.mark.parametrize("method", METHODS)
def test_leave_one_out_is_the_correlation_without_the_model(sizes, method):
    pairs = planted(9, np.random.default_rng(11))
    pairs = pairs if len(sizes) == 1 else between(pairs, sizes)
    found = estimate(pairs.block(), method, np.zeros((9, 0))).left_out[0]
    for model in range(9):
        keep = (pairs.first != model) & (pairs.second != model)
        expected = SCIPY[method](pairs.x[keep], pairs.y[keep])[0]
        assert np.tanh(found[model]) == pytest.approx(expected, abs=1e-12)


# --- intervals ----------------------------------------------------------------------------------


def ends(pairs, method, replicates, rng):
    """The interval of a correlation."""
    found = estimate(pairs.block(), method, resample_counts(pairs.sizes, replicates, rng))
    low, high = interval(found.z, found.drawn, found.variance, found.freedom)
    return np.tanh([low[0], high[0]])


def coverage(draw, truth, studies, replicates=300, method="pearson"):
    """Share of studies whose interval, and whose plain Fisher interval, holds the truth."""
    rng = np.random.default_rng(12)
    hits = np.zeros(2)
    for _ in range(studies):
        pairs = draw(rng)
        low, high = ends(pairs, method, replicates, rng)
        half = 1.96 / np.sqrt(len(pairs.x) - 3)
        z = np.arctanh(correlate(pairs, method))
        hits += [low <= truth <= high, abs(z - np.arctanh(truth)) <= half]
    return hits / studies


@pytest.mark.parametrize(("models", "studies"), [(8, 500), (16, 400), (32, 200)])
def test_intervals_cover_the_planted_truth(models, studies):
    ours, plain = coverage(
        lambda rng: planted(models, rng, share=0.8, models=0.6, pairs=0.3), 0.54, studies, 200
    )
    assert 0.925 <= ours <= 0.975
    assert plain < 0.85  # what taking pairs for the sample would give


def test_intervals_between_groups_cover_the_planted_truth():
    ours, _ = coverage(lambda rng: between(planted(16, rng), (6, 10)), 0.6, 300, 200)
    assert 0.92 <= ours <= 0.98


RANK_TRUTH = {  # of a bivariate normal with correlation 0.6
    "spearman": 6 / np.pi * np.arcsin(0.6 / 2),
    "kendall": 2 / np.pi * np.arcsin(0.6),
}


@pytest.mark.parametrize("method", RANK_TRUTH)
def test_rank_intervals_cover_the_planted_truth(method):
    ours, _ = coverage(lambda rng: planted(12, rng), RANK_TRUTH[method], 300, 200, method)
    assert 0.92 <= ours <= 0.98


def test_intervals_narrow_as_models_are_added():
    widths = []
    for models in (8, 24, 72):
        pairs = planted(models, np.random.default_rng(13))
        low, high = ends(pairs, "pearson", 300, np.random.default_rng(14))
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2]


# --- p-values -----------------------------------------------------------------------------------


def enumerated_p(pairs, method):
    """Every relabelling of every group, one by one."""
    m = sum(pairs.sizes)
    square = np.full((m, m), np.nan)
    square[pairs.first, pairs.second] = square[pairs.second, pairs.first] = pairs.y
    edges = np.cumsum([0, *pairs.sizes])
    blocks = [range(a, b) for a, b in pairwise(edges)]
    observed = abs(SCIPY[method](pairs.x, pairs.y)[0])
    reached = []
    for orders in product(*map(permutations, blocks)):
        label = np.concatenate(orders)
        y = square[label[pairs.first], label[pairs.second]]
        reached.append(abs(SCIPY[method](pairs.x, y)[0]) >= observed - 1e-12)
    return np.mean(reached)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sizes", [(5,), (3, 4)])
def test_p_approaches_the_enumeration_of_all_relabellings(method, sizes):
    pairs = planted(sum(sizes), np.random.default_rng(15), models=0.3, pairs=0.3)
    pairs = pairs if len(sizes) == 1 else between(pairs, sizes)
    exact = enumerated_p(pairs, method)
    draws = 20_000 if method != "kendall" else 1_500
    labels = relabellings(pairs.sizes, draws, np.random.default_rng(16))
    found = mantel(pairs.block(), method, labels)[0]
    assert 0.02 < exact < 0.98
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / draws))


def mantel_p(pairs, method, labels):
    if pairs.valid.all():
        return mantel(pairs.block(), method, labels)[0]
    return mantel_incomplete(pairs, method, labels)


def null_p_values(failed):
    rng = np.random.default_rng(17)
    ours, plain = [], []
    for _ in range(200):
        pairs = planted(10, rng, share=0.7, models=0.0, pairs=0.0)
        plain.append(stats.pearsonr(pairs.x, pairs.y)[1])
        pairs.x[rng.choice(45, failed, replace=False)] = np.nan
        pairs.y[rng.choice(45, failed, replace=False)] = np.nan
        labels = relabellings(pairs.sizes, 199, rng)
        ours.append([mantel_p(pairs, method, labels) for method in DEFAULTS])
    return np.array(ours) - rng.uniform(0, 1 / 200, (200, 1)), plain


@pytest.mark.parametrize("failed", [0, 4])
def test_p_is_uniform_under_the_null(failed):
    ours, plain = null_p_values(failed)
    for p in ours.T:
        assert stats.kstest(p, "uniform").pvalue > 0.01
    assert stats.kstest(plain, "uniform").pvalue < 1e-6  # pairs are not independent


def test_p_finds_a_planted_relation():
    pairs = planted(16, np.random.default_rng(18), models=0.9, pairs=0.9)
    rows = correlate_pairs(pairs, ("x", "y"), methods=METHODS, bootstrap=0, permutations=999)
    assert {method: row["p"] for method, row in rows.items()} == dict.fromkeys(METHODS, 0.001)


@pytest.mark.parametrize("method", METHODS)
def test_p_of_complete_pairs_is_the_same_either_way(method):
    pairs = planted(9, np.random.default_rng(21), models=0.2, pairs=0.2)
    labels = relabellings((9,), 199, np.random.default_rng(22))
    assert mantel(pairs.block(), method, labels)[0] == mantel_incomplete(pairs, method, labels)


# --- sets too small, similarities without variance ------------------------------------------------


def test_sets_too_small_have_no_number_but_a_reason():
    rng = np.random.default_rng(19)
    tables = {name: table_of(random_square(9, rng), name) for name in "de"}
    table = measure_consistency(
        tables, metadata(list("aaabbbbcc")), groups=["kind"], bootstrap=20, permutations=20
    )
    reasons = table.query("method == 'pearson'").set_index(["group_x", "group_y"])["status"]
    assert reasons["a", "a"] == "3 models, 3 pairs: at least 4 models are needed"
    assert (
        reasons["a", "c"] == "3 and 2 models, 6 pairs: at least 3 models are needed in each group"
    )
    assert reasons["a", "b"] == reasons["b", "b"] == reasons["all", "all"] == "ok"
    refused = ~table["status"].str.startswith("ok")
    assert table.loc[refused, ["value", "low", "high", "p"]].isna().all(axis=None)
    assert table.loc[~refused, ["value", "low", "high", "p"]].notna().all(axis=None)


def test_equal_similarities_have_no_correlation():
    flat = np.full((6, 6), 0.1 + 0.2)
    flat[0, 1] = flat[1, 0] = 0.3
    tables = {
        "d": table_of(flat, "d"),
        "e": table_of(random_square(6, np.random.default_rng()), "e"),
    }
    table = measure_consistency(tables, metadata(["a"] * 6), groups=[], bootstrap=9, permutations=9)
    assert table["status"].tolist() == ["all 15 values of d are equal"] * 2
    assert table[["value", "low", "high", "p"]].isna().all(axis=None)


def test_identical_datasets_agree_perfectly_without_a_false_interval():
    square = random_square(8, np.random.default_rng(20))
    tables = {name: table_of(square, name) for name in "de"}
    table = measure_consistency(
        tables, metadata(["a"] * 8), groups=[], bootstrap=50, permutations=99
    )
    assert table["value"].to_numpy() == pytest.approx(1.0)
    assert table[["low", "high"]].isna().all(axis=None)
    assert table["status"].str.startswith("ok; no interval").all()
    assert (table["p"] <= 0.02).all()


@pytest.mark.parametrize("seed", range(5))
def test_smallest_sets_give_finite_intervals_that_hold_the_value(seed):
    rng = np.random.default_rng(seed)
    tables = {name: table_of(random_square(7, rng), name) for name in "de"}
    table = measure_consistency(
        tables, metadata(list("aaaabbb")), groups=["kind"], bootstrap=200, permutations=9
    )
    rows = table[table["low"].notna()]
    assert {("a", "a"), ("a", "b")} <= set(zip(rows["group_x"], rows["group_y"], strict=True))
    assert (rows["low"] < rows["high"]).all()
    assert rows[["low", "high"]].abs().le(1).all(axis=None)


# --- reproducibility and files --------------------------------------------------------------------


def study(seed=0):
    rng = np.random.default_rng(seed)
    tables = {name: table_of(random_square(8, rng), name) for name in ("wheat", "barley", "oats")}
    return tables, metadata(list("aaaabbbb")).assign(size=list("ssllssll"))


def test_rows_do_not_depend_on_order_company_or_threads():
    tables, models = study()
    settings = {"bootstrap": 40, "permutations": 40, "seed": 3}
    whole = measure_consistency(tables, models, groups=["kind", "size"], **settings)
    shuffled = {
        name: tables[name].sample(frac=1, random_state=1) for name in ("oats", "barley", "wheat")
    }
    with threadpool_limits(1):
        again = measure_consistency(shuffled, models[::-1], groups=["kind", "size"], **settings)
    pd.testing.assert_frame_equal(whole, again, check_exact=True)
    del shuffled["oats"]
    alone = measure_consistency(shuffled, models, groups=["size"], **settings)
    expected = whole.query("dataset_x == 'barley' and dataset_y == 'wheat' and grouping != 'kind'")
    pd.testing.assert_frame_equal(alone, expected.reset_index(drop=True), rtol=1e-9)


def test_another_seed_draws_other_models():
    tables, models = study()
    first, second = (
        measure_consistency(tables, models, groups=[], bootstrap=40, permutations=40, seed=seed)
        for seed in (0, 1)
    )
    assert first["value"].equals(second["value"])
    assert not first["low"].equals(second["low"])
    assert not first["p"].equals(second["p"])


def test_file_holds_the_table_its_settings_and_its_inputs(tmp_path):
    tables, models = study()
    paths = []
    for name, table in tables.items():
        paths.append(tmp_path / f"{name}.parquet")
        write_table(table, paths[-1], {})
    settings = {"groups": ["kind"], "bootstrap": 20, "permutations": 20, "seed": 5}
    for out in ("one.parquet", "two.parquet"):
        make_consistency(paths, models, {"table": tmp_path / out}, **settings)
    assert file_digest(tmp_path / "one.parquet") == file_digest(tmp_path / "two.parquet")
    found = read_table(tmp_path / "one.parquet")
    expected = measure_consistency(tables, models, **settings)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)
    assert found.attrs["settings"] == settings
    assert found.attrs["similarity"] == {path.stem: table_digest(path) for path in paths}


def test_a_single_dataset_gives_an_empty_table():
    tables, models = study()
    assert quick({"oats": tables["oats"]}, models).empty


# --- what users get wrong -------------------------------------------------------------------------


def test_two_files_of_one_dataset_are_refused(tmp_path):
    tables, models = study()
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path in paths:
        write_table(tables["oats"], path, {})
    with pytest.raises(DataError, match=r"b\.parquet holds the datasets \['oats'\]"):
        make_consistency(paths, models, {"table": tmp_path / "out.parquet"}, groups=[])
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": ["kid"]}, "no column 'kid'; did you mean 'kind'"),
        ({"methods": ["pearsn"]}, "unknown method 'pearsn'; did you mean 'pearson'"),
        ({"bootstrap": -1}, "bootstrap is -1; it must be at least 0"),
        ({"min_models": 2}, "min_models is 2; it must be at least 4"),
    ],
)
def test_wrong_settings_are_named(change, message):
    tables, models = study()
    with pytest.raises(ConfigError, match=message):
        quick(tables, models, **change)


def damage_twice(table):
    return pd.concat([table, table.iloc[[1]]])


def damage_infinite(table):
    return table.assign(value=table["value"].where(table.index != 1, np.inf))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_twice, "more than one row for the models 'm00' and 'm01'"),
        (damage_infinite, "similarity of 'm00' and 'm01' is infinite"),
        (lambda table: table.drop(columns="value"), "has no column value"),
        (lambda table: table.assign(metric="rsa"), "one metric, found cka, rsa"),
        (lambda table: table.replace("m03", "m99"), "models table lacks: m99"),
    ],
)
def test_damaged_tables_are_named(damage, message):
    tables, models = study()
    tables["oats"] = damage(tables["oats"])
    with pytest.raises(DataError, match=message):
        quick(tables, models)
