"""The probe against scikit-learn, closed forms and planted problems."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.special import log_softmax, softmax
from scipy.stats import norm, ortho_group
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score
from threadpoolctl import threadpool_limits

from consilience.errors import ConfigError, DataError, FeaturesError
from consilience.features import write_features
from consilience.files import read_table
from consilience.probe import (
    ProbeSettings,
    make_probe,
    normalize_features,
    probe,
    split_validation,
    top_accuracy,
)
from consilience.probe.logistic import fit_logistic, principal_axes, solve_path
from consilience.samples import make_samples, read_samples


def gaussians(n, d, classes, seed=0, gap=1.0):
    """Returns x: (n, d) around one random centre per class, and y: (n,) with every class."""
    generator = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), generator.integers(0, classes, n - classes)])
    return generator.normal(size=(n, d)) + gap * generator.normal(size=(classes, d))[y], y


def objective(weights, bias, x, y, penalty):
    """Mean cross-entropy + penalty / 2 ‖W‖², written anew."""
    log_p = log_softmax(x @ weights + bias, axis=1)[np.arange(len(y)), y]
    return -log_p.mean() + penalty / 2 * (weights**2).sum()


def gradient_norm(fit, x, y, penalty):
    residuals = softmax(x @ fit.weights + fit.bias, axis=1) - np.eye(len(fit.bias))[y]
    by_weights = x.T @ residuals / len(y) + penalty * fit.weights
    return np.hypot(np.linalg.norm(by_weights), np.linalg.norm(residuals.mean(axis=0)))


def sklearn_optimum(x, y, classes, penalty, solver="newton-cholesky"):
    """Returns scikit-learn's W, b as one column per class."""
    strength = (2 if classes == 2 else 1) / (len(y) * penalty)
    model = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000, solver=solver).fit(x, y)
    weights, bias = model.coef_.T, model.intercept_
    if classes == 2:  # one vector, the difference of ours
        weights, bias = np.hstack([-weights, weights]) / 2, np.array([-bias[0], bias[0]]) / 2
    return weights, bias


def duplicated(x):
    return np.hstack([x, x, np.zeros((len(x), 1))])


PROBLEMS = {
    "more rows than columns": (gaussians(300, 12, 4), 1e-3),
    "more columns than rows": (gaussians(40, 90, 3), 1e-2),
    "two classes": (gaussians(200, 10, 2, gap=0.3), 1e-4),
    "two classes, wide": (gaussians(30, 60, 2), 1e-1),
    "ten classes": (gaussians(400, 20, 10), 1e-5),
    "separable": (gaussians(60, 80, 5, gap=5.0), 1e-6),
    "repeated columns": ((duplicated(gaussians(120, 6, 3)[0]), gaussians(120, 6, 3)[1]), 1e-3),
    "far from the origin": ((gaussians(120, 6, 3)[0] + 30.0, gaussians(120, 6, 3)[1]), 1e-2),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_optimum_is_that_of_scikit_learn(name):
    (x, y), penalty = PROBLEMS[name]
    classes = y.max() + 1
    fit = fit_logistic(x, y, classes, penalty)
    theirs = objective(*sklearn_optimum(x, y, classes, penalty), x, y, penalty)
    assert fit.converged
    assert fit.objective == pytest.approx(
        objective(fit.weights, fit.bias, x, y, penalty), abs=1e-12
    )
    assert fit.objective == pytest.approx(theirs, abs=1e-6)
    # The tolerance is a promise about the distance to the optimum, which is below scikit-learn's.
    assert fit.objective <= theirs + 1e-7


@pytest.mark.parametrize("name", PROBLEMS)
def test_gradient_vanishes_at_the_optimum(name):
    (x, y), penalty = PROBLEMS[name]
    fit = fit_logistic(x, y, y.max() + 1, penalty, tolerance=1e-10)
    assert fit.converged
    assert gradient_norm(fit, x, y, penalty) < 1e-5 * np.linalg.norm(x, axis=1).max()


def test_constant_features_leave_the_class_frequencies():
    y = np.array([0] * 5 + [1] * 3 + [2] * 2)
    fit = fit_logistic(np.zeros((10, 4)), y, 3, 1e-3, tolerance=1e-16)
    np.testing.assert_allclose(softmax(fit.bias), [0.5, 0.3, 0.2], atol=1e-9)
    assert fit.objective == pytest.approx(
        -(0.5 * np.log(0.5) + 0.3 * np.log(0.3) + 0.2 * np.log(0.2))
    )


def test_one_dimension_against_a_root_of_the_gradient():
    # Two points at ±1: the margin m = w_1 − w_0 solves m λ/2 = sigmoid(−m), the bias is zero.
    fit = fit_logistic(np.array([[-1.0], [1.0]]), np.array([0, 1]), 2, 0.1, tolerance=1e-14)
    margin = fit.weights[0, 1] - fit.weights[0, 0]
    assert margin * 0.1 / 2 == pytest.approx(1 / (1 + np.exp(margin)), abs=1e-7)
    assert fit.bias[0] == pytest.approx(fit.bias[1], abs=1e-9)


def test_warm_start_reaches_the_same_optimum_sooner():
    x, y = gaussians(200, 30, 5)
    near = fit_logistic(x, y, 5, 2e-3)
    cold, warm = fit_logistic(x, y, 5, 1e-3), fit_logistic(x, y, 5, 1e-3, start=near)
    assert warm.objective == pytest.approx(cold.objective, abs=1e-7)
    assert warm.iterations < cold.iterations


def test_path_ends_where_single_fits_do():
    x, y = gaussians(80, 120, 4)
    axes = principal_axes(x)
    penalties = [1.0, 0.1, 1e-2, 1e-4, 1e-5]
    for penalty, (fit,) in zip(penalties, solve_path(x @ axes, y, 4, penalties, 1e-9), strict=True):
        single = fit_logistic(x, y, 4, penalty, tolerance=1e-9)
        assert fit.converged
        assert fit.objective == pytest.approx(single.objective, abs=2e-9)
        # Both lie within sqrt(2 tolerance / λ) of the only optimum.
        apart = 2 * np.sqrt(2e-9 / penalty)
        assert np.linalg.norm(axes @ fit.weights - single.weights) < apart


@pytest.mark.parametrize(("n", "d", "rank"), [(50, 8, 8), (20, 70, 20), (20, 70, 5), (30, 30, 4)])
def test_principal_axes_are_an_exact_change_of_axes(n, d, rank):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, rank)) @ generator.normal(size=(rank, d))
    axes = principal_axes(x)
    assert axes.shape == (d, min(n, d))
    np.testing.assert_allclose(axes.T @ axes, np.eye(min(n, d)), atol=1e-12)
    np.testing.assert_allclose(x @ axes @ axes.T, x, atol=1e-11)
    assert np.linalg.norm((x @ axes)[:, rank:]) < 1e-10


def test_a_class_without_training_rows_is_never_predicted():
    x, y = gaussians(60, 5, 3)
    fit = fit_logistic(x, y * 2, 6, 1e-2)  # classes 1, 3 and 5 do not occur
    assert fit.objective == pytest.approx(fit_logistic(x, y, 3, 1e-2).objective, abs=1e-12)
    assert np.isneginf(fit.bias[[1, 3, 5]]).all()
    assert set(fit.scores(x).argmax(axis=1)) <= {0, 2, 4}


# --- the probe ------------------------------------------------------------------------------------


def test_planted_problem_reaches_bayes_accuracy():
    generator = np.random.default_rng(1)
    n, d, distance = 6000, 20, 2.0
    y = generator.integers(0, 2, n)
    direction = generator.normal(size=d)
    direction *= distance / np.linalg.norm(direction)
    x = generator.normal(size=(n, d)) + (y - 0.5)[:, None] * direction
    train = np.arange(n) < 3000
    row = probe(x, y, train, ProbeSettings(seeds=(0,), unit_rows=False)).iloc[0]
    bayes = norm.cdf(distance / 2)
    assert abs(row["top1"] - bayes) < 3 * np.sqrt(bayes * (1 - bayes) / 3000)
    bayes_rule = ((x @ direction > 0) == y)[~train].mean()
    assert row["top1"] > bayes_rule - 0.01


def test_labels_unrelated_to_the_features_are_not_predicted():
    x, _ = gaussians(900, 30, 4)
    y = np.random.default_rng(5).integers(0, 4, 900)
    table = probe(x, y, np.arange(900) < 500)
    assert (abs(table["top1"] - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 400)).all()


def test_digits_against_scikit_learn():
    x, y = load_digits(return_X_y=True)
    train = np.arange(len(x)) < 800
    table = probe(x, y, train, n_classes=10)
    scaled = normalize_features(x, train)
    for row in table.itertuples():
        weights, bias = sklearn_optimum(scaled[train], y[train], 10, row.penalty, "lbfgs")
        scores = scaled[~train] @ weights + bias
        assert row.objective == pytest.approx(
            objective(weights, bias, scaled[train], y[train], row.penalty), abs=1e-6
        )
        assert row.top1 == pytest.approx((scores.argmax(axis=1) == y[~train]).mean(), abs=0.002)
        assert row.top5 == pytest.approx(top_k_accuracy_score(y[~train], scores, k=5), abs=0.002)
    assert table["top1"].min() > 0.88
    assert table["converged"].all()
    assert table["val_top1"].between(0.9, 1).all()


def test_columns_and_counts():
    x, y = gaussians(100, 5, 4)
    table = probe(x, y, np.arange(100) < 70, ProbeSettings(seeds=(3, 1)), n_classes=6)
    assert list(table["seed"]) == [3, 1]
    assert (table["n_train"] == 70).all() and (table["n_test"] == 30).all()
    assert (table["n_classes"] == 6).all() and (table["n_absent"] == 2).all()
    assert table["top5"].notna().all()
    assert probe(x, y, np.arange(100) < 70)["top5"].isna().all()  # 4 classes: always in the top 5


def test_the_test_rows_choose_nothing():
    x, y = gaussians(150, 20, 3, gap=0.4)
    train = np.arange(150) < 100
    other = x.copy()
    other[100:] = np.random.default_rng(0).normal(size=(50, 20)) * 9
    chosen = ["penalty", "val_top1", "train_top1", "objective", "iterations"]
    pd.testing.assert_frame_equal(probe(x, y, train)[chosen], probe(other, y, train)[chosen])


def test_no_row_depends_on_other_seeds_or_the_order_of_penalties():
    x, y = gaussians(150, 40, 3, gap=0.3)
    train = np.arange(150) < 100
    settings = ProbeSettings(penalties=(1e-4, 1, 1e-2), seeds=(0, 1, 2, 3, 4))
    table = probe(x, y, train, settings)
    assert len(set(table["penalty"])) > 1
    for position, seed in enumerate(settings.seeds):
        alone = probe(x, y, train, ProbeSettings(penalties=(1, 1e-2, 1e-4), seeds=(seed,)))
        pd.testing.assert_series_equal(alone.iloc[0], table.iloc[position], check_names=False)


def test_of_equal_penalties_the_strongest_is_chosen():
    x, y = gaussians(80, 6, 2, gap=20.0)  # every penalty below some strength is perfect
    table = probe(x, y, np.arange(80) < 60, ProbeSettings(penalties=(1e-6, 1e-4, 1e-3)))
    assert (table["val_top1"] == 1).all()
    assert (table["penalty"] == 1e-3).all()


def test_salt_changes_the_validation_rows_only():
    x, y = gaussians(150, 20, 3, gap=0.2)
    train = np.arange(150) < 100
    settings = ProbeSettings(penalties=(1e-3,))
    first, second = (probe(x, y, train, settings, salt=(0, d)) for d in ("cats", "dogs"))
    assert (first["val_top1"] != second["val_top1"]).any()
    pd.testing.assert_frame_equal(first.drop(columns="val_top1"), second.drop(columns="val_top1"))


def test_bytes_do_not_depend_on_the_number_of_threads():
    x, y = gaussians(300, 400, 3, gap=0.2)
    train = np.arange(300) < 220
    tables = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            tables.append(probe(x, y, train))
    pd.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
def test_result_is_invariant_to_the_scale_of_the_features(factor):
    x, y = gaussians(120, 10, 3, gap=0.5)
    train = np.arange(120) < 80
    settings = ProbeSettings(unit_rows=False)
    pd.testing.assert_frame_equal(
        probe(x, y, train, settings), probe(x * factor, y, train, settings), check_exact=True
    )


def test_result_is_invariant_to_rotation_but_not_to_stretching():
    x, y = gaussians(200, 8, 3, gap=0.5)
    train = np.arange(200) < 120
    rotated = x @ ortho_group.rvs(8, random_state=0)
    stretched = x * 30.0 ** np.arange(8)
    first, second, third = (probe(z, y, train)["objective"] for z in (x, rotated, stretched))
    np.testing.assert_allclose(first, second, atol=2e-7)
    assert (abs(first - third) > 1e-3).all()


def test_normalized_features_have_the_stated_scale():
    x, _ = gaussians(50, 7, 2)
    train = np.arange(50) < 30
    for unit_rows in (False, True):
        scaled = normalize_features(x, train, unit_rows=unit_rows)
        np.testing.assert_allclose(scaled[train].mean(axis=0), 0, atol=1e-12)
        assert (scaled[train] ** 2).sum(axis=1).mean() == pytest.approx(1)
    x[3] = 0
    assert np.isfinite(normalize_features(x, train)).all()


def test_constant_features_guess_the_largest_class(caplog):
    y = np.array([0, 1, 1, 0, 1, 1] * 5)
    table = probe(np.full((30, 4), 0.1), y, np.arange(30) < 18)
    assert "do not vary" in caplog.text
    np.testing.assert_allclose(table["top1"], 2 / 3)
    np.testing.assert_allclose(table["balanced_accuracy"], 1 / 2)


def test_rows_of_an_absent_class_count_as_errors(caplog):
    x, y = gaussians(90, 6, 3, gap=20.0)
    train = (y != 2) & (np.arange(90) < 60)
    row = probe(x, y, train, ProbeSettings(seeds=(0,)), n_classes=3).iloc[0]
    assert row["n_absent"] == 1
    assert "classes [2] are tested but have no training rows" in caplog.text
    assert row["top1"] == pytest.approx((y[~train] != 2).mean())
    assert row["balanced_accuracy"] == pytest.approx(2 / 3)


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.integers(0, 9))
def test_validation_split_is_stratified(sizes, seed):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    held_out = split_validation(labels, 0.2, seed)
    np.testing.assert_array_equal(held_out, split_validation(labels, 0.2, seed))
    for label, size in enumerate(sizes):
        count = held_out[labels == label].sum()
        assert count == min(max(1, round(0.2 * size)), size - 1)


def test_every_training_row_is_sometimes_held_out():
    labels = np.repeat([0, 1, 2], 10)
    shares = np.mean([split_validation(labels, 0.2, seed) for seed in range(400)], axis=0)
    assert abs(shares - 0.2).max() < 4 * np.sqrt(0.2 * 0.8 / 400)


def test_accuracies_against_scikit_learn():
    generator = np.random.default_rng(0)
    scores, y = generator.normal(size=(300, 8)), generator.integers(0, 8, 300)
    for k in (1, 3, 5):
        expected = top_k_accuracy_score(y, scores, k=k)
        assert top_accuracy(scores, y, k) == pytest.approx(expected)
    x, labels = gaussians(200, 5, 7, gap=0.5)
    train = np.arange(200) < 120
    row = probe(x, labels, train, ProbeSettings(seeds=(0,), penalties=(1e-2,))).iloc[0]
    scaled = normalize_features(x, train)
    fit = fit_logistic(scaled[train], labels[train], 7, 1e-2)
    expected = balanced_accuracy_score(labels[~train], fit.scores(scaled[~train]).argmax(axis=1))
    assert row["balanced_accuracy"] == pytest.approx(expected)


def test_ties_and_impossible_classes_in_the_top_k():
    scores = np.array([[0.0, 0.0, 0.0], [1.0, -np.inf, -np.inf]])
    assert top_accuracy(scores, np.array([0, 0]), 1) == 1
    assert top_accuracy(scores, np.array([2, 2]), 2) == 0
    assert top_accuracy(scores, np.array([1, 1]), 2) == 0.5  # −∞ never counts


# --- files ----------------------------------------------------------------------------------------

SHAPES = {"dataset": "toys", "source": "packaged", "name": "shapes:80", "modality": "image"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Returns the paths of samples and of features whose last layer shows the label."""
    folder = tmp_path_factory.mktemp("probe")
    make_samples(SHAPES, 0, folder / "toys.parquet")
    samples = read_samples(folder / "toys.parquet")
    noise = np.random.default_rng(0).normal(size=(80, 10)).astype("float32")
    told = noise + 3 * np.eye(4, 10, dtype="float32")[samples.table["label"].astype(int)]
    header = {"model": {"model": "net"}, "dataset": "toys", "samples_hash": samples.hash}
    features = {"early": noise, "late": told}
    write_features(folder / "net.safetensors", features, header, list(samples.table["id"]))
    return folder / "net.safetensors", folder / "toys.parquet"


def test_file_holds_one_row_per_layer_and_seed(files, tmp_path):
    make_probe(*files, tmp_path / "a.parquet", layer="all", seeds=(0, 1), penalties=[0.1, 1e-2])
    table = read_table(tmp_path / "a.parquet")
    assert list(table.columns[:4]) == ["dataset", "model", "layer", "seed"]
    assert list(table["layer"]) == ["early", "early", "late", "late"]
    assert set(table["dataset"]) == {"toys"} and set(table["model"]) == {"net"}
    accuracy = table.groupby("layer")["top1"].mean()
    assert accuracy["late"] > 0.85 and accuracy["early"] < 0.6
    assert table.attrs["settings"]["penalties"] == [0.01, 0.1]
    assert table.attrs["samples_hash"] == read_samples(files[1]).hash


def test_last_layer_is_the_default_and_bytes_repeat(files, tmp_path):
    for out, layer in (("a", {}), ("b", {"layer": "late"})):
        make_probe(*files, tmp_path / out, seeds=(0,), penalties=[1e-2], **layer)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_features_of_other_samples_are_refused(files, tmp_path):
    make_samples(SHAPES, 1, tmp_path / "other.parquet")  # parted otherwise
    with pytest.raises(FeaturesError, match="other samples"):
        make_probe(files[0], tmp_path / "other.parquet", tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_unknown_layer_is_refused(files, tmp_path):
    with pytest.raises(FeaturesError, match="did you mean 'late'"):
        make_probe(*files, tmp_path / "out.parquet", layer="lat")


def test_dataset_without_labels_is_refused(tmp_path):
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i}.png")
    row = {"dataset": "plain", "source": "folder", "modality": "image"}
    make_samples(row | {"name": str(tmp_path / "pictures")}, 0, tmp_path / "plain.parquet")
    samples = read_samples(tmp_path / "plain.parquet")
    header = {"model": {"model": "net"}, "dataset": "plain", "samples_hash": samples.hash}
    ids = list(samples.table["id"])
    write_features(tmp_path / "net.safetensors", {"last": np.eye(8, 3)}, header, ids)
    with pytest.raises(DataError, match=r"'plain': 8 of 8 samples have no label.*take it out"):
        make_probe(tmp_path / "net.safetensors", tmp_path / "plain.parquet", tmp_path / "out")


# --- errors ---------------------------------------------------------------------------------------

X, Y = gaussians(40, 5, 2)
TRAIN = np.arange(40) < 30
NANS = np.where(np.eye(40, 5) > 0, np.nan, X)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            {"features": NANS},
            FeaturesError,
            "5 of 40 .*row 0",
        ),
        ({"features": X[:, 0]}, FeaturesError, r"shape \(40,\)"),
        ({"features": X[:, :0]}, FeaturesError, r"shape \(40, 0\)"),
        ({"labels": Y[:-1]}, DataError, r"int64 \(39,\); one integer .* 40"),
        ({"labels": Y.astype(float)}, DataError, "float64"),
        ({"labels": Y - 1}, DataError, "from -1 to 0"),
        ({"n_classes": 1}, DataError, "from 0 to 1"),
        ({"train": np.ones(40, bool)}, DataError, "(?s)40 of 40 .*test_share"),
        ({"train": TRAIN & (Y == 0)}, DataError, "fewer than two classes"),
        ({"train": np.isin(np.arange(40), [0, 1])}, DataError, "no class has two training rows"),
        ({"train": TRAIN[:20]}, DataError, "train"),
    ],
)
def test_unusable_input_is_refused(change, error, words):
    given_ = {"features": X, "labels": Y, "train": TRAIN} | change
    with pytest.raises(error, match=words):
        probe(**given_)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"penalties": ()}, "no penalties"),
        ({"penalties": (1.0, 0.0)}, "penalty is 0.0"),
        ({"penalties": (float("nan"),)}, "penalty is nan"),
        ({"validation_share": 0}, "validation_share is 0"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "none of them twice"),
    ],
)
def test_unusable_settings_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        ProbeSettings(**change)


def test_penalty_zero_is_refused():
    with pytest.raises(ConfigError, match="penalty is 0"):
        fit_logistic(X, Y, 2, 0)
