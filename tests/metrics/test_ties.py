"""Ties of neighbours: expectations over random orders, independent of how samples are ordered."""

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from consilience.forms import neighbors as neighbors_module
from consilience.forms import ties as ties_module
from consilience.forms.moments import Moments, null_moments
from consilience.forms.neighbors import local_neighbors, ordered_neighbors
from consilience.forms.tied_moments import moments_with_ties
from consilience.metrics import get_metric
from consilience.similarity import Engine, pairwise, pairwise_many
from consilience.similarity.shelf import Shelf

MEANS = ["mutual_knn", "jaccard_knn", "cycle_knn"]
"""Metrics whose value is the mean over random orders of tied samples."""
DRAWN = ["lcs_knn", "edit_knn", "rank_knn", "second_order_cosine"]
"""Metrics for which an order is drawn."""
ALL = [*MEANS, *DRAWN, "cknna"]


def levels(rng, n=30, d=3, count=3):
    return rng.integers(1, count + 1, size=(n, d)).astype(float)


def one_hot(rng, n=30, classes=5):
    return np.eye(classes)[rng.integers(0, classes, n)]


def blank(rng, n=30):
    x = rng.normal(size=(n, 8))
    x[rng.random(n) < 0.4] = x[0]
    return x


def one_unit(rng, n=30):
    return rng.permutation(n)[:, None] + 1.0


KINDS = {"levels": levels, "one-hot": one_hot, "blank": blank, "one unit": one_unit}
every_kind = pytest.mark.parametrize("kind", KINDS)


def random_lists(x, k, rng, distance="cosine"):
    """Lists of k nearest rows, those equally near up to 1e-9 in random order."""
    far = -x @ x.T if distance == "inner_product" else cdist(x, x, distance)
    far = np.round(far, 9)
    np.fill_diagonal(far, np.inf)
    return np.array([np.lexsort((rng.random(len(x)), row))[:k] for row in far])


def value_of(name, a, b):
    n, k = a.shape
    both = np.array([len({*p} & {*q}) for p, q in zip(a, b, strict=True)])
    if name == "mutual_knn":
        return both.mean() / k
    if name == "jaccard_knn":
        return (both / (2 * k - both)).mean()
    return np.mean([any(i in a[j] for j in b[i]) for i in range(n)])


@every_kind
@pytest.mark.parametrize("name", MEANS)
@pytest.mark.parametrize("k", [1, 5, 12])
def test_values_are_means_over_random_orders(kind, name, k):
    """Within 4 standard errors of 400 draws; the other side has no ties, ties of its own kind."""
    rng = np.random.default_rng(1)
    x, metric = KINDS[kind](rng), get_metric(name, k=k)
    for y in (KINDS[kind](rng), levels(rng), rng.normal(size=(30, 4))):
        draws = [
            value_of(name, random_lists(x, k, rng), random_lists(y, k, rng)) for _ in range(400)
        ]
        error = np.std(draws) / 20 + 1e-4
        assert metric(x, y) == pytest.approx(np.mean(draws), abs=4 * error)


def test_jaccard_of_many_neighbors_is_close_to_the_mean():
    """Above 24 neighbours three values stand for each random number; exact by brute force."""
    rng = np.random.default_rng(2)
    for k in (25, 60):
        x, y = levels(rng, n=90, d=2), levels(rng, n=90, d=2)
        draws = [
            value_of("jaccard_knn", random_lists(x, k, rng), random_lists(y, k, rng))
            for _ in range(300)
        ]
        metric = get_metric("jaccard_knn", k=k)
        assert metric(x, y) == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / 300**0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_jaccard_of_three_values_is_near_that_of_all(kind, monkeypatch):
    rng = np.random.default_rng(3)
    x, y = KINDS[kind](rng, n=80), levels(rng, n=80)
    metric = get_metric("jaccard_knn", k=24)
    exact = metric(x, y)
    monkeypatch.setattr("consilience.metrics._tied.EXACT_K", 1)
    assert metric(x, y) == pytest.approx(exact, abs=5e-4)


def test_one_direction_scores_chance():
    x, y = np.arange(30.0)[:, None] + 1, np.random.default_rng(0).permutation(30)[:, None] + 1.0
    metric = get_metric("mutual_knn", k=5)
    assert metric(x, y) == pytest.approx(5 / 29, abs=1e-15)
    for d in (3, 64, 1000):
        rng = np.random.default_rng(d)
        directions = rng.normal(size=(2, d))
        for dtype in (np.float64, np.float32):
            sides = [(s * v).astype(dtype) for s, v in zip((x, y), directions, strict=True)]
            assert metric(*sides) == pytest.approx(5 / 29, abs=1e-15)
            assert metric.ties(metric.prepare(sides[0].astype(float))) == 1


def test_one_direction_among_many_samples():
    """Where candidates are found in float32: all rows tie, so any other side scores chance."""
    rng = np.random.default_rng(1)
    x = ((rng.random((2100, 1)) + 0.5) * rng.normal(size=(1, 8))).astype(np.float32)
    metric = get_metric("mutual_knn", k=10)
    assert metric(x, rng.normal(size=(2100, 4))) == pytest.approx(10 / 2099, abs=1e-15)
    assert metric(x, x.copy()) == 1


@every_kind
@pytest.mark.parametrize("name", ALL)
def test_a_self_pair_is_the_same_features(kind, name):
    """Not merely equal places: features that tie alike are no self pair."""
    x = KINDS[kind](np.random.default_rng(4))
    if kind == "one-hot" and name in ("cknna", "second_order_cosine"):
        x = x + 0.5
    metric = get_metric(name, k=4)
    if metric.facts.self_value is not None:
        for copy in (x, x.copy(), np.asfortranarray(x), 4 * x):
            assert metric(x, copy) == pytest.approx(metric.facts.self_value, abs=1e-12)
    table = pairwise(metric, {"a": x, "b": x.copy(), "c": 2.5 * x})
    self_value = metric(x, x)
    values = table.set_index(["model_x", "model_y"])["value"]
    assert values["a", "a"] == values["a", "b"] == values["b", "b"] == self_value
    if name in MEANS[:2] and kind.startswith("one"):
        assert values["a", "c"] < 0.9


@every_kind
@pytest.mark.parametrize("name", ALL)
def test_symmetry(kind, name):
    rng = np.random.default_rng(5)
    x, y = (KINDS[kind](rng) + 0.5 for _ in range(2))
    metric = get_metric(name, k=4)
    if metric.facts.symmetric:
        assert metric(x, y) == pytest.approx(metric(y, x), abs=1e-12)


@every_kind
@pytest.mark.parametrize("name", [*MEANS, "cknna"])
def test_the_order_of_samples_does_not_matter(kind, name):
    rng = np.random.default_rng(6)
    x, y = KINDS[kind](rng) + 0.5, levels(rng)
    metric = get_metric(name, k=4)
    value = metric(x, y)
    for _ in range(5):
        order = rng.permutation(len(x))
        assert metric(x[order], y[order]) == pytest.approx(value, abs=1e-12)


@every_kind
@pytest.mark.parametrize("name", DRAWN)
def test_orders_are_drawn_for_each_side(kind, name):
    """Without it, tied rows of both sides would stand in one order."""
    rng = np.random.default_rng(7)
    metric = get_metric(name, k=4)
    found, wanted = [], []
    for _ in range(60):
        x, y = KINDS[kind](rng) + 0.5, KINDS[kind](rng) + 0.5
        found.append(metric(x, y))
        lists = [random_lists(side, 4, rng) for side in (x, y)]
        side = [metric.prepare(side) for side in (x, y)]
        if name == "second_order_cosine":
            form = [a._replace(lists=b.astype(np.int32)) for a, b in zip(side, lists, strict=True)]
        else:
            form = [ties_module.Neighbors(b.astype(np.int32)) for b in lists]
        wanted.append(metric.compare(*form))
    difference = np.array(found) - wanted
    assert abs(difference.mean()) < 4 * difference.std() / 60**0.5 + 1e-9


@every_kind
@pytest.mark.parametrize("distance", ["cosine", "euclidean", "inner_product"])
@pytest.mark.parametrize("k", [1, 6])
def test_places_are_those_of_rounded_distances(kind, distance, k):
    """Weights by a plain count over distances rounded to nine digits."""
    x = KINDS[kind](np.random.default_rng(8)) / 3
    far = -x @ x.T if distance == "inner_product" else cdist(x, x, distance)
    far = np.round(far, 9)
    np.fill_diagonal(far, np.inf)
    limit = np.sort(far, axis=1)[:, k - 1, None]
    near, tied = far < limit, far == limit
    weights = near + tied * (k - near.sum(axis=1, keepdims=True)) / tied.sum(axis=1, keepdims=True)
    for fast in (1, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(neighbors_module, "FAST_SAMPLES", fast)
            found = ordered_neighbors(x, k, distance)
        rows = np.arange(len(x))
        np.testing.assert_allclose(
            ties_module.Lookup(found)(rows[:, None], rows), weights, atol=1e-15
        )
        share = np.mean(tied.sum(axis=1) > k - near.sum(axis=1))
        assert ties_module.tied_share(found) == share


@every_kind
@pytest.mark.parametrize("fast", [1, 10**9])
def test_ties_leave_out_rows_of_a_group(kind, fast, monkeypatch):
    monkeypatch.setattr(neighbors_module, "FAST_SAMPLES", fast)
    rng, k = np.random.default_rng(22), 5
    x, groups = KINDS[kind](rng), rng.integers(0, 12, 30)
    far = np.round(cdist(x, x), 9)
    far[groups[:, None] == groups] = np.inf
    limit = np.sort(far, axis=1)[:, k - 1, None]
    near, tied = far < limit, far == limit
    weights = near + tied * (k - near.sum(axis=1, keepdims=True)) / tied.sum(axis=1, keepdims=True)
    found = ordered_neighbors(x, k, "euclidean", groups=groups)
    rows = np.arange(30)
    np.testing.assert_allclose(ties_module.Lookup(found)(rows[:, None], rows), weights, atol=1e-15)


@every_kind
def test_lists_of_fewer_neighbors_are_those_looked_for(kind):
    x = KINDS[kind](np.random.default_rng(9)) + 0.5
    for k, more in itertools.combinations((1, 2, 5, 9, 29), 2):
        short = ties_module.shortened(ordered_neighbors(x, more), k)
        direct = ordered_neighbors(x, k)
        np.testing.assert_array_equal(short.lists, direct.lists)
        assert ties_module.tied_share(short) == ties_module.tied_share(direct)
        rows = np.arange(len(x))
        lookups = [ties_module.Lookup(side)(rows[:, None], rows) for side in (short, direct)]
        np.testing.assert_array_equal(*lookups)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", KINDS)
def test_permuted_and_kept_forms_are_those_of_the_samples(name, kind, tmp_path):
    rng = np.random.default_rng(10)
    x, y = KINDS[kind](rng) + 0.5, levels(rng)
    metric, order = get_metric(name, k=4), rng.permutation(30)
    a, b = metric.prepare(x), metric.prepare(y)
    moved = metric.permuted(a, order)
    back = metric.permuted(moved, np.argsort(order))
    assert metric.compare(back, b) == pytest.approx(metric.compare(a, b), abs=1e-12)
    if name in (*MEANS, "cknna"):
        direct = metric.compare(metric.prepare(x[order]), b)
        assert metric.compare(moved, b) == pytest.approx(direct, abs=1e-12)
    kept = a
    if metric.keeps_forms:
        shelf = Shelf(tmp_path / "forms" / "one", 10**6)
        shelf.put("a", metric.pack(a), {})
        kept = metric.unpack(shelf.get("a")[0])
    assert metric.compare(kept, b) == metric.compare(a, b)
    assert metric.compare(kept, a) == metric.compare(a, a)


@every_kind
def test_sums_of_weights(kind):
    """Against the sums of the dense matrix of weights."""
    rng = np.random.default_rng(11)
    for k in (1, 6):
        found = ordered_neighbors(KINDS[kind](rng), k)
        rows = np.arange(30)
        weights = ties_module.Lookup(found)(rows[:, None], rows)
        centred = weights - k / 29
        np.fill_diagonal(centred, 0)
        sums = moments_with_ties(found)
        assert sums.squares == pytest.approx((centred**2).sum(), abs=1e-9)
        assert sums.transposed == pytest.approx((centred * centred.T).sum(), abs=1e-9)
        assert sums.columns == pytest.approx((centred.sum(axis=0) ** 2).sum(), abs=1e-9)
        half = Moments.of_symmetric((weights + weights.T) / 2)
        # all pairs tie for one unit: then there is no spread, and no sums of it
        np.testing.assert_allclose(sums.cubes or np.zeros(8), half.cubes, atol=1e-8)


def test_sums_of_few_ties_among_many_samples_use_all_of_them(monkeypatch):
    rng = np.random.default_rng(12)
    x = rng.normal(size=(120, 5))
    x[:8] = x[0]
    found = ordered_neighbors(x, 4)
    whole = moments_with_ties(found)
    monkeypatch.setattr("consilience.forms.moments.MATRIX_CUBE_SAMPLES", 60)
    np.testing.assert_allclose(moments_with_ties(found).cubes, whole.cubes, rtol=1e-9)
    monkeypatch.setattr("consilience.forms.tied_moments.SPARSE", 1)
    assert moments_with_ties(ordered_neighbors(one_hot(rng, 120), 4)).cubes


@every_kind
def test_closed_form_is_the_mean_and_variance_over_permutations(kind):
    rng = np.random.default_rng(13)
    metric = get_metric("mutual_knn", k=4)
    a, b = metric.prepare(KINDS[kind](rng)), metric.prepare(levels(rng))
    mean, variance, _ = null_moments(metric.moments(a), metric.moments(b))
    draws = np.array(
        [metric.compare(a, metric.permuted(b, rng.permutation(30))) for _ in range(3000)]
    )
    assert mean == pytest.approx(4 / 29, abs=1e-12)
    assert draws.mean() == pytest.approx(mean, abs=4 * draws.std() / 3000**0.5 + 1e-12)
    assert draws.var() == pytest.approx(variance, rel=0.2, abs=1e-12)


@pytest.mark.parametrize("d", [2, 16, 512])
@pytest.mark.parametrize("offset", [0, 1e3, 1e5])
def test_continuous_features_have_no_ties(d, offset):
    """Neither alone nor with large means, in float64 and as float32 holds them."""
    x = np.random.default_rng(14).normal(size=(1500, d)) + offset
    for side in (x, x.astype(np.float32).astype(float)) if offset < 1e4 else (x,):
        for distance in ("cosine", "euclidean", "inner_product"):
            if d == 2 and offset and distance == "cosine":
                continue  # two units and a large mean leave a sample one number: float32 ends
            found = ordered_neighbors(side, 10, distance)
            assert ties_module.tied_share(found) == 0, distance


@pytest.mark.parametrize("fast", [1, 10**9])
def test_large_means_leave_cosines_their_order(fast, monkeypatch):
    """100,000 times the spread: exact neighbours by differences of unit rows."""
    monkeypatch.setattr(neighbors_module, "FAST_SAMPLES", fast)
    x = np.random.default_rng(15).normal(size=(300, 20)) + 1e5
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    far = cdist(unit, unit, "sqeuclidean")
    np.fill_diagonal(far, np.inf)
    np.testing.assert_array_equal(
        ordered_neighbors(x, 5).lists, np.argsort(far, axis=1)[:, :5].astype(np.int32)
    )


def test_outlying_rows_make_no_ties():
    """The rounding of one large row is no measure of the others."""
    x = np.random.default_rng(16).normal(size=(400, 8))
    x[0] *= 1e6
    for distance in ("euclidean", "inner_product"):
        found = ordered_neighbors(x, 5, distance)
        assert ties_module.tied_share(found) < 0.01


def test_biased_cknna_counts_copies_of_a_sample_like_itself():
    x = np.repeat(np.random.default_rng(17).normal(size=(10, 4)), 3, axis=0)
    found, _ = local_neighbors(x, 2, "euclidean", own=True)
    rows = np.arange(30)
    weights = ties_module.Lookup(found)(rows[:, None], rows)
    np.testing.assert_allclose(weights, np.kron(np.eye(10), np.ones((3, 3))) * 2 / 3)


def dense_cknna(x, y, weights, others):
    """Debiased CKNNA of kernel matrices with weights of neighbours."""
    n = len(x)

    def hsic(a, b):
        total = np.trace(a @ b) + a.sum() * b.sum() / ((n - 1) * (n - 2))
        return (total - ((a @ b).sum() + (b @ a).sum()) / (n - 2)) / (n * (n - 3))

    both = weights * others
    own = hsic(weights * x, weights * x) * hsic(others * y, others * y)
    return hsic(both * x, both * y) / np.sqrt(own)


@every_kind
def test_cknna_by_weighted_matrices(kind):
    rng = np.random.default_rng(18)
    x, y = KINDS[kind](rng) + 0.5, levels(rng)
    rows = np.arange(30)
    for k in (3, 8):
        weights = [
            ties_module.Lookup(local_neighbors(side, k, "inner_product")[0])(rows[:, None], rows)
            for side in (x, y)
        ]
        expected = dense_cknna(x @ x.T, y @ y.T, *weights)
        assert get_metric("cknna", k=k)(x, y) == pytest.approx(expected, abs=1e-10)


def test_lists_whose_ties_find_places_are_kept(tmp_path):
    """Two copies of some rows tie within the list, and no set of rows ties beyond it."""
    x = np.random.default_rng(23).normal(size=(20, 3))
    x[1], x[2] = x[0], x[0]
    found = ordered_neighbors(x, 19, "euclidean")
    assert found.ties is not None and not ties_module.bordered(found)
    shelf = Shelf(tmp_path / "forms" / "one", 10**6)
    shelf.put("a", ties_module.arrays_of(found), {})
    again = ties_module.of_arrays(shelf.get("a")[0])
    np.testing.assert_array_equal(again.ties.first, found.ties.first)
    assert again.ties.content == found.ties.content


def test_tables_tell_the_share_of_ties():
    rng = np.random.default_rng(19)
    x = {"plain": rng.normal(size=(60, 5)), "blank": blank(rng, 60), "flat": np.ones((60, 2))}
    x["blank"][:20] = x["blank"][0]
    table = pairwise(get_metric("mutual_knn", k=5), x).set_index(["model_x", "model_y"])
    share = table.loc[("blank", "blank"), "ties"]
    assert 0.3 < share < 0.8
    assert table.loc[("blank", "plain"), "ties"] == share
    assert table.loc[("plain", "plain"), "ties"] == 0
    assert np.isnan(table.loc[("flat", "plain"), "ties"])
    metrics = {name: get_metric(name, k=k) for name, k in (("lcs_knn", 5), ("cknna", 7))}
    tables = pairwise_many(metrics, {name: x[name] for name in ("plain", "blank")})
    assert tables["lcs_knn"].loc[0, "ties"] == share
    assert pairwise(get_metric("cka"), {"plain": x["plain"]})["ties"].isna().all()


@pytest.mark.parametrize("n", [200, 2100])
def test_metrics_that_share_lists_with_ties_have_the_values_they_have_alone(n):
    rng = np.random.default_rng(20)
    x = {"levels": levels(rng, n, d=4), "hot": one_hot(rng, n, n // 8)}
    metrics = {f"{name} {k}": get_metric(name, k=k) for name in MEANS[:2] for k in (3, 11)}
    metrics |= {f"{name} {k}": get_metric(name, k=k) for name in DRAWN[:3] for k in (4, 8)}
    tables = pairwise_many(metrics, x, engine=Engine(threads=2))
    for id_, metric in metrics.items():
        assert tables[id_].equals(pairwise(metric, x)), id_


@pytest.mark.parametrize("name", ["imd", "geometry_score"])
@pytest.mark.parametrize("kind", KINDS)
def test_clouds_with_ties_have_no_order(name, kind):
    if name == "geometry_score":
        pytest.importorskip("gudhi")
    rng = np.random.default_rng(21)
    x, y = KINDS[kind](rng, 40), levels(rng, 40)
    given = {"landmarks": 8, "trials": 5} if name == "geometry_score" else {"k": 4}
    metric = get_metric(name, **given)
    value = metric(x, y)
    for _ in range(3):
        assert metric(x[rng.permutation(40)], y[rng.permutation(40)]) == pytest.approx(
            value, abs=1e-9
        )
