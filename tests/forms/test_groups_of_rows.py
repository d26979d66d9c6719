"""Groups of rows: additive terms between them, against dense least squares; orders of blocks."""

import math

import numpy as np
import pytest

from consilience.errors import FeaturesError, MetricError
from consilience.forms.groups import (
    Between,
    arrangements,
    block_order,
    describe,
    group_codes,
    subset,
    whole_groups,
)
from consilience.forms.kernels import pair_vector, upper_triangle
from consilience.metrics import get_metric

LAYOUTS = {
    "single": [0, 1, 2, 3, 4],
    "pairs": [0, 0, 1, 1, 2, 2],
    "uneven": [0, 0, 1, 1, 2, 3, 3, 3, 4],
    "mixed up": [2, 0, 1, 2, 1, 0, 3, 2],
    "half of all rows": [0, 0, 0, 1, 2, 2],
    "more than half": [0] * 7 + [1, 2, 3],
}


def residual(kernel, groups):
    """What additive terms leave of a kernel over pairs of different groups, by least squares."""
    n = len(groups)
    i, j = np.nonzero(groups[:, None] != groups)
    design = np.zeros((len(i), n))
    design[np.arange(len(i)), i] += 1
    design[np.arange(len(i)), j] += 1
    left = np.zeros((n, n))
    fit = np.linalg.lstsq(design, kernel[i, j], rcond=None)[0]
    left[i, j] = kernel[i, j] - design @ fit
    return left


@pytest.mark.parametrize("layout", LAYOUTS)
def test_centred_kernels_are_what_additive_terms_leave(layout):
    groups = np.array(LAYOUTS[layout])
    kernel = np.random.default_rng(1).normal(size=(len(groups),) * 2)
    kernel += kernel.T
    left = residual(kernel, groups)
    found = pair_vector(kernel.copy(), "debiased", groups)
    np.testing.assert_allclose(found, np.sqrt(2) * upper_triangle(left), atol=1e-12)


def test_single_groups_give_the_estimator_without_groups():
    kernel = np.random.default_rng(2).normal(size=(9, 9))
    kernel += kernel.T
    found = pair_vector(kernel.copy(), "debiased", np.arange(9))
    np.testing.assert_allclose(found, pair_vector(kernel, "debiased"), atol=1e-12)
    assert Between(np.arange(9)).freedom == 9 * 6


def test_half_of_all_rows_in_one_group_has_its_own_equation():
    groups = np.array(LAYOUTS["half of all rows"])
    additive = np.arange(6.0)
    kernel = additive[:, None] + additive
    kernel[groups[:, None] == groups] = 0
    np.testing.assert_allclose(Between(groups).fit(kernel.sum(axis=1)), additive, atol=1e-12)


def test_codes_follow_first_appearance_and_missing_ones_are_alone():
    assert group_codes(["b", "a", "b", None, float("nan")]).tolist() == [0, 1, 0, 2, 3]
    assert group_codes([7, 7]).tolist() == [0, 0]
    assert group_codes(["a", "b", None]) is None
    assert group_codes(None) is None
    assert subset(np.array([0, 0, 1]), np.array([1, 2])) is None
    with pytest.raises(FeaturesError, match=r"groups have shape \(2,\) for 3 samples"):
        group_codes([1, 2], 3)


def test_groups_change_places_with_groups_of_their_size_only():
    groups = group_codes(np.random.default_rng(3).permutation([0, 0, 1, 1, 2, 2, 3, 4, 5, 5, 5]))
    sizes = np.bincount(groups)
    seen = set()
    for seed in range(200):
        order = block_order(groups, np.random.default_rng(seed))
        assert sorted(order) == list(range(11))
        for group, size in enumerate(sizes):
            came = order[groups == group]
            assert len(set(groups[came])) == 1 and sizes[groups[came[0]]] == size
            assert (np.diff(came) > 0).all()  # in the order that they had
        seen.add(tuple(order))
    assert arrangements(groups) == math.factorial(3) * math.factorial(2) == len(seen)


def test_groups_in_words_and_rows_of_groups():
    groups = group_codes(list("aabbbc"))
    assert describe(groups) == "3 groups of 1 to 3 samples"
    assert describe(group_codes(list("aabb"))) == "2 groups of 2 samples"
    assert whole_groups(groups, [2, 0]).tolist() == [0, 1, 5]
    assert arrangements(group_codes([0] * 400 + list(range(1, 400)))) == math.inf


# --- metrics --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(4)
    return rng.normal(size=(2, 30, 6)), group_codes(rng.permutation(np.repeat(range(10), 3)))


@pytest.mark.parametrize(("name", "parameters"), [
    ("cka", {}), ("cka", {"kernel": "rbf"}), ("hsic", {}), ("distance_correlation", {}),
])  # fmt: skip
def test_debiased_values_are_products_of_residuals(features, name, parameters):
    from consilience.forms.kernels import (  # noqa: PLC0415 - for this alone
        kernel_matrix,
        power_of_two_scale,
        squared_distances,
    )

    (x, y), groups = features
    metric = get_metric(name, **parameters)

    def left(side):
        if name == "distance_correlation":
            kernel = np.sqrt(squared_distances(power_of_two_scale(side)))
        else:
            kernel = kernel_matrix(side, metric.kernel, "median")
        return residual(kernel, groups)

    a, b = left(x), left(y)
    size = 30 * 27 - 60 if name == "hsic" else np.linalg.norm(a) * np.linalg.norm(b)
    assert metric(x, y, groups=groups) == pytest.approx(np.vdot(a, b) / size, abs=1e-12)


@pytest.mark.parametrize("compare", ["pearson", "spearman", "kendall", "cosine"])
def test_rdms_are_compared_over_pairs_of_different_groups(features, compare):
    from scipy import stats  # noqa: PLC0415 - for this alone
    from scipy.spatial.distance import pdist  # noqa: PLC0415

    (x, y), groups = features
    i, j = np.triu_indices(30, 1)
    a, b = (pdist(side)[groups[i] != groups[j]] for side in (x, y))
    right = {
        "pearson": lambda: stats.pearsonr(a, b)[0],
        "spearman": lambda: stats.spearmanr(a, b)[0],
        "kendall": lambda: stats.kendalltau(a, b)[0],
        "cosine": lambda: a @ b / np.linalg.norm(a) / np.linalg.norm(b),
    }[compare]()
    metric = get_metric("rsa", rdm="euclidean", compare=compare)
    assert metric(x, y, groups=groups) == pytest.approx(right, abs=1e-12)


def test_all_neighbours_of_other_groups_make_cknna_debiased_cka(features):
    (x, y), groups = features
    whole = get_metric("cka")(x, y, groups=groups)
    assert get_metric("cknna", k=27)(x, y, groups=groups) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("name", ["mutual_knn", "jaccard_knn", "rank_knn", "second_order_cosine"])
def test_copies_are_no_neighbours(features, name):
    (x, y), _ = features
    groups = np.tile(np.arange(30), 2)
    jitter = 1e-6 * np.random.default_rng(5).normal(size=(2, 60, 6))
    both = [np.concatenate([side, side]) + j for side, j in zip((x, y), jitter, strict=True)]
    with_copies = get_metric(name, k=1)(*both)
    apart = get_metric(name, k=2)(*both, groups=groups)
    alone = get_metric(name, k=1)(x, y)
    assert apart == pytest.approx(alone, abs=0.12) and with_copies > alone + 0.2


def test_uniformity_is_of_pairs_of_different_groups(features):
    (x, y), groups = features
    apart = groups[:, None] != groups

    def uniformity(side):
        squares = ((side[:, None] - side) ** 2).sum(axis=2)
        return np.log(np.exp(-2 * squares[apart]).mean())

    found = get_metric("uniformity_difference")(x, y, groups=groups)
    assert found == pytest.approx(abs(uniformity(x) - uniformity(y)), rel=1e-9)


def test_what_is_biased_by_definition_keeps_all_pairs(features):
    (x, y), groups = features
    for metric in (get_metric("rv"), get_metric("cka", estimator="biased"), get_metric("cca")):
        assert metric(x, y, groups=groups) == metric(x, y)


def test_too_few_groups_are_refused(features):
    (x, y), _ = features
    groups = np.repeat([0, 1, 2], 10)
    with pytest.raises(MetricError, match="debiased CKA needs at least 4 groups of samples, not 3"):
        get_metric("cka")(x, y, groups=groups)
    with pytest.raises(MetricError, match="rows of other groups"):
        get_metric("mutual_knn", k=25)(x, y, groups=groups)
