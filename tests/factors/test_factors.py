"""Shares of variance, consistency matched for accuracy, universality: against planted truths."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from consilience.errors import DataError
from consilience.factors import (
    make_dimension_shares,
    make_matched,
    make_shares,
    match_accuracy,
    omega_squared,
    shares_of,
    unique_shares,
    universality,
)
from consilience.factors.dimensions import directions, predicted
from consilience.factors.matching import mean_accuracy, residual_table
from consilience.files import read_table, write_table
from consilience.pairs.matrix import Similarity

OBJECTIVES, SEEDS = "abc", range(4)
MODELS = pd.DataFrame(
    [
        {"model": f"{k}{arch}{seed}", "objective": k, "architecture": arch, "seed": str(seed)}
        for k in OBJECTIVES for arch in "xy" for seed in SEEDS
    ]
).set_index("model")  # fmt: skip
NAMES = tuple(MODELS.index)
M = len(NAMES)


def symmetric(rng, scale=1.0):
    found = np.triu(rng.normal(0, scale, (M, M)), 1)
    return found + found.T


def bare(matrix):
    found = matrix.copy()
    np.fill_diagonal(found, np.nan)
    return Similarity(NAMES, found)


def accuracies(rng):
    """Returns accuracies that objectives tell apart."""
    level = {"a": 0.9, "b": 0.7, "c": 0.4}
    return {m: level[MODELS["objective"][m]] + rng.normal(0, 0.02) for m in NAMES}


def consistency(given):
    """Returns the mean correlation over pairs of datasets."""
    rows = [one.matrix[np.triu_indices(M, 1)] for one in given.values()]
    return np.corrcoef(rows)[np.triu_indices(len(rows), 1)].mean()


def omega(values, levels):
    return omega_squared(values, {"f": np.asarray(levels)})["f"]


# Shares


def test_omega_squared_is_that_of_analysis_of_variance():
    rng = np.random.default_rng(0)
    levels = np.repeat([0, 1, 2], [4, 5, 6])
    values = rng.normal(size=15) + levels
    groups = [values[levels == k] for k in range(3)]
    f = stats.f_oneway(*groups).statistic
    assert omega(values, levels) == pytest.approx(2 * (f - 1) / (2 * (f - 1) + 15))
    assert omega(values, 7 - 3 * levels) == pytest.approx(omega(values, levels))
    assert omega(levels.astype(float), levels) == pytest.approx(1)


def test_omega_squared_of_nothing_is_nought_on_average_and_finds_what_was_planted():
    rng = np.random.default_rng(1)
    levels = np.repeat(np.arange(5), 12)
    nothing = [omega(rng.normal(size=60), levels) for _ in range(400)]
    assert abs(np.mean(nothing)) < 4 * np.std(nothing) / 20
    # variance 1 of levels (their own mean square 10 / 4 · …) against 3 of noise
    effect = np.array([-2.0, -1, 0, 1, 2]) / np.sqrt(2)
    found = [omega(effect[levels] + rng.normal(0, 3**0.5, 60), levels) for _ in range(400)]
    assert np.mean(found) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    ("values", "levels"), [(np.ones(6), [0, 0, 0, 1, 1, 1]), (np.arange(6.0), [0] * 6),
                           (np.arange(3.0), [0, 1, 2])],
)  # fmt: skip
def test_without_spread_levels_or_rest_there_is_no_share(values, levels):
    assert np.isnan(omega(values, levels))


def test_what_others_explain_is_no_noise_of_a_factor():
    rng = np.random.default_rng(20)
    strong, idle = np.repeat(np.arange(4), 15), np.tile(np.arange(5), 12)
    found = []
    for _ in range(300):
        values = 3.0 * strong + rng.normal(size=60)
        found.append(omega_squared(values, {"strong": strong, "idle": idle})["idle"])
    assert abs(np.mean(found)) < 4 * np.std(found) / 300**0.5
    means = [values[strong == k].mean() for k in range(4)]
    rest = values - np.array(means)[strong]
    by_idle = np.array([rest[idle == k].mean() for k in range(5)])
    noise = ((rest - by_idle[idle]) ** 2).sum() / (60 - 8)
    by_hand = (12 * (by_idle**2).sum() - 4 * noise) / (
        ((values - values.mean()) ** 2).sum() + noise
    )
    assert found[-1] == pytest.approx(by_hand)
    same = omega_squared(values, {"strong": strong, "again": strong})
    assert np.isnan(list(same.values())).all()


def test_unique_shares_of_a_balanced_design_are_those_alone():
    rng = np.random.default_rng(2)
    one, two = (x.ravel() for x in np.meshgrid(range(3), range(4), indexing="ij"))
    one, two = np.tile(one, 5), np.tile(two, 5)
    values = one + 0.5 * two + rng.normal(size=60)
    found = unique_shares(values, {"one": one, "two": two})
    total = ((values - values.mean()) ** 2).sum()
    for name, levels in (("one", one), ("two", two)):
        means = [values[levels == k].mean() for k in range(levels.max() + 1)]
        between = 60 / len(means) * ((np.array(means) - values.mean()) ** 2).sum()
        assert found[name] == pytest.approx(between / total)
    twice = unique_shares(values, {"one": one, "again": one})
    assert twice["one"] == pytest.approx(0, abs=1e-12)


def test_intervals_leave_families_out():
    rng = np.random.default_rng(3)
    levels, family = np.tile([0, 1], 30), np.repeat(list("pqrst"), 12)
    values = levels + rng.normal(size=60)
    (share,) = shares_of([(values, {"f": levels}, family[:, None])]).values()
    left = np.array([omega(values[family != k], levels[family != k]) for k in "pqrst"])
    half = stats.t.ppf(0.975, 4) * np.sqrt(4 / 5 * ((left - left.mean()) ** 2).sum())
    assert (share.value - share.low, share.high - share.value) == pytest.approx((half, half))
    few = shares_of([(values[:36], {"f": levels[:36]}, family[:36, None])])["f"]
    assert np.isnan([few.low, few.high]).all()
    assert np.isfinite(few.value)


def test_intervals_of_a_share_hold_the_truth():
    rng, held = np.random.default_rng(4), 0
    objective = np.repeat(range(6), 20)
    family = np.tile(np.repeat(list("pqrst"), 4), 6)
    effect = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    effect /= effect.std()
    for _ in range(200):
        own = dict(zip("pqrst", rng.normal(0, 0.5, 5), strict=True))
        noise = rng.normal(0, 0.75**0.5, 120) + [own[f] for f in family]
        share = shares_of([(effect[objective] + noise, {"f": objective}, family[:, None])])["f"]
        held += share.low <= 0.5 <= share.high
    assert held / 200 > 0.85  # 0.95 but for the rest of the skew


# Matched for accuracy


def test_residuals_are_those_of_normal_equations():
    rng = np.random.default_rng(5)
    accuracy, given = accuracies(rng), bare(symmetric(rng))
    found, share = match_accuracy(given, accuracy)
    pairs = list(itertools.combinations(range(M), 2))
    a = [accuracy[m] for m in NAMES]
    x = np.array([[1, (a[i] + a[j]) / 2, abs(a[i] - a[j])] for i, j in pairs])
    y = np.array([given.matrix[pair] for pair in pairs])
    rest = y - x @ np.linalg.solve(x.T @ x, x.T @ y)
    assert np.array([found[pair] for pair in pairs]) == pytest.approx(rest, abs=1e-12)
    assert share == pytest.approx(1 - rest.var() / y.var())
    assert np.isnan(np.diag(found)).all()
    assert np.array_equal(found, found.T, equal_nan=True)


def planted(rng, own, by_accuracy, count=4):
    """Returns similarities on datasets: of pairs themselves, of accuracy, and noise."""
    accuracy = accuracies(rng)
    a = np.array([accuracy[m] for m in NAMES])
    good, gap = (a[:, None] + a) / 2, np.abs(a[:, None] - a)
    pairs = symmetric(rng)
    return accuracy, {
        f"d{k}": bare(own * pairs + by_accuracy * (8 * good - 6 * gap) + symmetric(rng))
        for k in range(count)
    }


def matched(accuracy, given):
    return {
        name: Similarity(NAMES, match_accuracy(one, accuracy)[0]) for name, one in given.items()
    }


def test_what_accuracy_alone_made_consistent_is_no_more_so():
    rng = np.random.default_rng(6)
    accuracy, given = planted(rng, own=0.0, by_accuracy=2.0)
    before, after = consistency(given), consistency(matched(accuracy, given))
    assert before > 0.9
    assert abs(after) < 4 / (M * (M - 1) / 2) ** 0.5


def test_what_pairs_have_of_their_own_stays():
    rng = np.random.default_rng(7)
    accuracy, given = planted(rng, own=2.0, by_accuracy=2.0)
    after = consistency(matched(accuracy, given))
    assert after == pytest.approx(4 / 5, abs=0.05)  # variance 4 of pairs, 1 of noise
    plain = consistency(given)
    assert plain > 0.9


def test_equal_accuracies_change_nothing():
    rng = np.random.default_rng(8)
    _, given = planted(rng, own=1.0, by_accuracy=0.0)
    same = dict.fromkeys(NAMES, 0.5)
    before, after = consistency(given), consistency(matched(same, given))
    assert after == pytest.approx(before, abs=1e-9)


def test_nothing_can_be_matched():
    equal = bare(np.ones((M, M)))
    with pytest.raises(DataError, match="pairs of models, of which no two differ"):
        match_accuracy(equal, dict.fromkeys(NAMES, 0.5))


def probes(skip=()):
    rows = [(d, m, "linear", {"p": 0.2, "q": 0.6}[d]) for d in "pq" for m in NAMES
            if (d, m) not in skip]  # fmt: skip
    rows.append(("p", NAMES[0], "knn", 0.9))
    return pd.DataFrame(rows, columns=["dataset", "model", "kind", "accuracy"])


def test_accuracy_is_the_mean_of_linear_probes():
    assert mean_accuracy(probes(), NAMES) == pytest.approx(dict.fromkeys(NAMES, 0.4))
    with pytest.raises(DataError, match="model 'ax1' has no linear probe on a dataset on which"):
        mean_accuracy(probes({("q", "ax1")}), NAMES)
    with pytest.raises(DataError, match="model 'new' has no linear probe"):
        mean_accuracy(probes(), ["new"])


# Dimensions


def test_directions_are_orthogonal_and_share_the_variance():
    rng = np.random.default_rng(9)
    x = rng.normal(size=(50, 4)) * [4, 3, 2, 0] + 7
    vectors, share = directions(x, 9)
    assert vectors.T @ vectors == pytest.approx(np.eye(3), abs=1e-12)
    assert share == pytest.approx(
        np.sort(np.linalg.eigvalsh(np.cov(x.T)))[:0:-1] / np.cov(x.T).trace()
    )
    assert directions(np.ones((50, 4)), 9)[0].shape == (50, 0)


def test_predictions_are_of_samples_that_the_fit_did_not_see():
    rng = np.random.default_rng(10)
    half = np.arange(200) % 2 == 0
    x = rng.normal(size=(200, 5))
    told, noise = x @ rng.normal(size=5) + 3, rng.normal(size=200)
    both = np.column_stack([told, noise, told + told.std() * noise / noise.std()])
    found = predicted(both, x, half)
    assert found[0] == pytest.approx(1)
    assert -0.2 < found[1] < 0  # nothing is predicted, and the fit costs
    assert found[2] == pytest.approx(0.5, abs=0.12)


def test_what_all_models_have_is_universal_and_what_cells_have_is_theirs():
    rng = np.random.default_rng(11)
    everyone, n = rng.normal(size=400), 400
    own = {cell: rng.normal(size=n) for cell in ("a", "b", "c")}
    features, cells = {}, {}
    for cell, seed in itertools.product(own, range(3)):
        name = f"{cell}{seed}"
        parts = [6 * everyone, 3 * own[cell], 1.5 * rng.normal(size=n)]
        features[name] = np.column_stack(parts) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
        cells[name] = cell
    half = np.arange(n) % 2 == 0
    table = universality(features, cells, half, dimensions=3, predictors=3)
    means = table.groupby("dimension")[["value", "value_within"]].mean()
    assert means["value"][1] > 0.95
    assert means["value"][2] < 0.05
    assert (means["value_within"][[1, 2]] > 0.9).all()
    assert (means.loc[3] < 0.05).all()
    assert (table["n_models"] == 6).all()
    turned = {m: x @ np.diag([1, -1, 1]) + 5 for m, x in features.items()}
    other = universality(turned, cells, half, dimensions=3, predictors=3)
    assert other["value"].to_numpy() == pytest.approx(table["value"].to_numpy(), abs=1e-9)


def test_what_dimensions_cannot_be_told_of():
    rng = np.random.default_rng(12)
    given = {m: rng.normal(size=(30, 4)) for m in "ab"}
    half = np.arange(30) < 15
    with pytest.raises(DataError, match="15 samples in a half are too few to predict from 20"):
        universality(given, {"a": "x", "b": "y"}, half)
    with pytest.raises(DataError, match="all models have the same levels of all factors"):
        universality(given, {"a": "x", "b": "x"}, half, predictors=2)


# Files


@pytest.fixture
def similarities(tmp_path):
    """Returns similarity files of two datasets on which objectives tell pairs apart."""
    rng = np.random.default_rng(13)
    accuracy, given = planted(rng, own=1.0, by_accuracy=1.0, count=2)
    paths = []
    for name, one in given.items():
        same = MODELS["objective"].to_numpy()[:, None] == MODELS["objective"].to_numpy()
        matrix = one.matrix + 5 * same
        table = residual_table(Similarity(NAMES, matrix), matrix, "made").assign(dataset=name)
        write_table(table, tmp_path / f"{name}.parquet", {})
        paths.append(tmp_path / f"{name}.parquet")
    rows = [("p", m, "linear", accuracy[m]) for m in NAMES]
    write_table(pd.DataFrame(rows, columns=["dataset", "model", "kind", "accuracy"]),
                tmp_path / "accuracy.parquet", {})  # fmt: skip
    return paths


def test_matched_consistency_is_a_file_like_any_other(similarities, tmp_path):
    outs = {"means": tmp_path / "means.parquet", "differences": tmp_path / "differences.parquet"}
    make_matched(similarities, tmp_path / "accuracy.parquet", MODELS, outs, groups=["objective"],
                 methods=["pearson"], bootstrap=100, seed=0, clusters="seed")  # fmt: skip
    means = read_table(outs["means"])
    assert set(means["group_x"]) == {"all", "a", "b", "c"}
    assert means["n_families"].eq(4).all()
    assert means[["low", "high"]].notna().all(axis=None)
    assert len(read_table(outs["differences"])) > 0


def test_shares_of_similarity_find_the_factor_that_was_planted(similarities, tmp_path):
    out = tmp_path / "shares.parquet"
    make_shares(similarities, MODELS, out, columns=["objective", "architecture"], clusters="seed")
    table = read_table(out)
    assert table["metric"].eq("made").all()
    means = table[table["dataset"] == "*"].set_index("factor")
    assert list(means.index) == ["objective", "architecture", "seed"]
    assert means["value"]["objective"] > 0.5
    assert means["value"][["architecture", "seed"]].abs().max() < 0.03
    assert (means["low"] <= means["value"]).all()
    assert means["status"].eq("ok").all()
    alone = tmp_path / "alone.parquet"
    make_shares(similarities, MODELS, alone, columns=["objective"], clusters="none")
    assert set(read_table(alone)["factor"]) == {"objective"}


@pytest.mark.parametrize("by_objective", [0.0, 1.0])
def test_shares_of_dimensions_find_the_factor_that_was_planted(tmp_path, by_objective):
    rng = np.random.default_rng(14)
    rows = [
        {"dataset": "d", "model": m, "dimension": k, "share": 0.1, "value_within": 1.0,
         "n_models": 20, "value": by_objective * "abc".index(MODELS["objective"][m]) - 0.5 * k
         + rng.normal(0, 0.3)}
        for m in NAMES for k in (1, 2, 3)
    ]  # fmt: skip
    write_table(pd.DataFrame(rows), tmp_path / "d.parquet", {})
    out = tmp_path / "shares.parquet"
    make_dimension_shares([tmp_path / "d.parquet"], MODELS, out,
                          columns=["objective", "architecture"], clusters="seed")  # fmt: skip
    table = read_table(out).query("dataset == 'd'").set_index("factor")
    assert list(table.index) == ["objective", "architecture", "seed", "dimension"]
    spread = np.array([2 / 3 * by_objective**2, 0, 0, 2 / 3 * 0.25])
    truth = spread / (spread.sum() + 0.09)
    assert table["unique"].to_numpy() == pytest.approx(truth, abs=0.08)
    assert table["value"].to_numpy() == pytest.approx(truth, abs=0.08)
