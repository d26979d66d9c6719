"""Neighbour metrics against published code, brute force and closed forms."""

import re
from functools import cache

import numpy as np
import pytest
from golden import GOLDEN, RESI, golden_pair, resi_pair
from scipy.spatial.distance import cdist

from consilience.errors import ConfigError, MetricError
from consilience.forms import nearness as _nearness
from consilience.forms import neighbors as _neighbors
from consilience.forms import settle as _settle
from consilience.forms import ties as _ties
from consilience.forms.sequences import SHORT, _by_pairs, _strings, common_lengths, edits
from consilience.metrics import get_metric

LISTED = ["cycle_knn", "lcs_knn", "edit_knn", "jaccard_knn", "rank_knn"]
ALL = [*LISTED, "mutual_knn", "second_order_cosine", "cknna"]

PUBLISHED = {
    "cycle_knn_XY": "cycle_knn",
    "cycle_knn_YX": "cycle_knn",
    "lcs_knn": "lcs_knn",
    "edit_distance_knn": "edit_knn",
    "cknna": "cknna",
    "cknna_biased": "cknna",
}
GOLDEN_KEYS = [
    (case, key, value)
    for case, entry in GOLDEN["cases"].items()
    for key, value in entry["values"].items()
    if re.fullmatch(rf"platonic/({'|'.join(PUBLISHED)})\[k=.+\]/\w+/f64", key)
]


@cache
def view_of(case, view):
    x, y = golden_pair(case)
    if view == "l2":
        x, y = (a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12) for a in (x, y))
    return x, y


@cache
def lists_of(case, view, k):
    """The prepared forms that all metrics on lists share."""
    metric = get_metric("jaccard_knn", k=k, distance="inner_product")
    return [metric.prepare(side) for side in view_of(case, view)]


@pytest.mark.reference("cycle_knn", "lcs_knn", "edit_knn", "cknna", by="platonic-rep")
@pytest.mark.parametrize(("case", "key", "value"), GOLDEN_KEYS, ids=lambda v: str(v)[:50])
def test_golden(case, key, value):
    _, name, view, _ = key.split("/")
    base, k = re.fullmatch(r"(\w+)\[k=(.+)\]", name).groups()
    x, y = view_of(case, view)
    k = len(x) - 1 if k == "n-1" else int(k)
    if base.startswith("cknna"):
        estimator = "biased" if "biased" in base else "debiased"
        metric = get_metric("cknna", k=k, estimator=estimator, order="xy", epsilon=1e-6)
        assert metric(x, y) == pytest.approx(value, abs=1e-9)
        return
    a, b = lists_of(case, view, k)
    if base == "cycle_knn_YX":
        a, b = b, a
    form = {"form": "length"} if base == "lcs_knn" else {}
    metric = get_metric(PUBLISHED[base], k=k, distance="inner_product", **form)
    # the published means are float32, so lengths above 1 are rounded in proportion
    assert metric.compare(a, b) == pytest.approx(value, abs=3e-7 * max(1, value))


def test_golden_cases_are_found():
    assert len(GOLDEN_KEYS) > 250
    assert {key.split("/")[1].split("[")[0] for _, key, _ in GOLDEN_KEYS} == set(PUBLISHED)


@pytest.mark.reference("jaccard_knn", "rank_knn", "second_order_cosine", by="ReSi")
@pytest.mark.parametrize("case", RESI["cases"])
@pytest.mark.parametrize(
    ("measure", "name", "parameters"),
    [
        ("JaccardSimilarity", "jaccard_knn", {}),
        ("RankSimilarity", "rank_knn", {}),
        ("SecondOrderCosineSimilarity", "second_order_cosine", {"form": "distance"}),
    ],
)
def test_resi(case, measure, name, parameters):
    x, y = resi_pair(case)
    expected = RESI["cases"][case]["measures"][measure]
    metric = get_metric(name, **parameters)
    assert metric(x, y) == pytest.approx(expected["value"], rel=1e-6, abs=1e-8)
    assert metric(y, x) == pytest.approx(expected["value_swapped"], rel=1e-6, abs=1e-8)


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    latent = rng.normal(size=(40, 4))
    x = latent @ rng.normal(size=(4, 9)) + 0.5 * rng.normal(size=(40, 9)) + 0.3
    return x, latent @ rng.normal(size=(4, 50)) + 0.5 * rng.normal(size=(40, 50))


def brute_lists(x, k, distance):
    far = -x @ x.T if distance == "inner_product" else cdist(x, x, distance)
    np.fill_diagonal(far, np.inf)
    return np.argsort(far, axis=1, kind="stable")[:, :k].tolist()


def brute_lcs(a, b):
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i, p in enumerate(a):
        for j, q in enumerate(b):
            table[i + 1, j + 1] = (
                table[i, j] + 1 if p == q else max(table[i, j + 1], table[i + 1, j])
            )
    return table[-1, -1]


def brute_edits(a, b):
    table = np.add.outer(np.arange(len(a) + 1), np.arange(len(b) + 1))
    for i, p in enumerate(a, 1):
        for j, q in enumerate(b, 1):
            swap = table[i - 1, j - 1] + (p != q)
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, swap)
    return table[-1, -1]


def brute_rank(a, b):
    ranks = [(a.index(j) + 1, b.index(j) + 1) for j in set(a) & set(b)]
    weight = sum(1 / q for q in range(1, len(ranks) + 1))
    return sum(2 / ((1 + abs(r - s)) * (r + s)) for r, s in ranks) / weight if ranks else 0


@pytest.mark.reference(
    "cycle_knn", "lcs_knn", "edit_knn", "jaccard_knn", "rank_knn", "mutual_knn", by="brute force"
)
@pytest.mark.parametrize("distance", ["cosine", "euclidean", "inner_product"])
@pytest.mark.parametrize("k", [1, 6, 39])
def test_brute_force(pair, k, distance):
    a, b = (brute_lists(side, k, distance) for side in pair)
    rows = list(zip(a, b, strict=True))
    cycle = [any(i in a[j] for j in b[i]) for i in range(len(a))]
    expected = {
        "cycle_knn": np.mean(cycle),
        "lcs_knn": np.mean([brute_lcs(p, q) for p, q in rows]) / k,
        "edit_knn": 1 - np.mean([brute_edits(p, q) for p, q in rows]) / k,
        "jaccard_knn": np.mean([len({*p} & {*q}) / len({*p, *q}) for p, q in rows]),
        "rank_knn": np.mean([brute_rank(p, q) for p, q in rows]),
        "mutual_knn": np.mean([len({*p} & {*q}) / k for p, q in rows]),
    }
    for name, value in expected.items():
        metric = get_metric(name, k=k, distance=distance)
        assert metric(*pair) == pytest.approx(value, abs=1e-12), name
    for name in ("lcs_knn", "edit_knn"):
        length = get_metric(name, k=k, distance=distance, form="length")(*pair)
        share = expected[name] if name == "lcs_knn" else 1 - expected[name]
        assert length == pytest.approx(k * share, abs=1e-12)


@pytest.mark.reference("second_order_cosine", by="its definition")
@pytest.mark.parametrize("form", ["similarity", "distance"])
@pytest.mark.parametrize("k", [1, 6, 39])
def test_second_order_cosine_by_definition(pair, k, form):
    lists = [brute_lists(side, k, "cosine") for side in pair]
    spaces = [cdist(side, side, "cosine") for side in pair]
    if form == "similarity":
        spaces = [1 - space for space in spaces]
    values = []
    for i in range(len(pair[0])):
        union = sorted({*lists[0][i], *lists[1][i]})
        u, v = (space[i, union] for space in spaces)
        values.append(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
    metric = get_metric("second_order_cosine", k=k, form=form)
    assert metric(*pair) == pytest.approx(np.mean(values), abs=1e-12)


def dense_cknna(x, y, k, kernel, estimator, order="both"):
    """CKNNA by dense masked matrices; x, y are kernel matrices."""
    n = len(x)
    masks = []
    for matrix in (x, y):
        ranked = matrix.copy()
        if estimator == "debiased":
            np.fill_diagonal(ranked, -np.inf)
        mask = np.zeros((n, n))
        np.put_along_axis(mask, np.argsort(-ranked, axis=1, kind="stable")[:, :k], 1, axis=1)
        masks.append(mask)

    def hsic(a, b):
        if estimator == "biased":
            centre = np.eye(n) - 1 / n
            return np.trace(a @ centre @ b @ centre)
        total = np.trace(a @ b) + a.sum() * b.sum() / ((n - 1) * (n - 2))
        return (total - 2 / (n - 2) * (a @ b).sum()) / (n * (n - 3))

    a, b = masks[0] * masks[1] * x, masks[0] * masks[1] * y
    shared = hsic(a, b) if order == "xy" else (hsic(a, b) + hsic(b, a)) / 2
    return shared / np.sqrt(hsic(masks[0] * x, masks[0] * x) * hsic(masks[1] * y, masks[1] * y))


@pytest.mark.reference("cknna", by="its definition")
@pytest.mark.parametrize("estimator", ["debiased", "biased"])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("k", [3, 10, 39])
def test_cknna_by_definition(pair, k, kernel, estimator):
    def matrix(a):
        return a @ a.T if kernel == "linear" else np.exp(-cdist(a, a, "sqeuclidean") / (2 * 9))

    kernels = [matrix(side) for side in pair]
    for order in ("both", "xy"):
        metric = get_metric(
            "cknna", k=k, kernel=kernel, sigma=3.0, estimator=estimator, order=order
        )
        expected = dense_cknna(*kernels, k, kernel, estimator, order)
        assert metric(*pair) == pytest.approx(expected, abs=1e-12)


def test_cknna_orders(pair):
    """The symmetric value is the mean of the published one in both orders."""
    shipped = get_metric("cknna", k=5, order="xy")
    forth, back = shipped(*pair), shipped(*pair[::-1])
    assert forth != pytest.approx(back, abs=1e-7)
    assert get_metric("cknna", k=5)(*pair) == pytest.approx((forth + back) / 2, abs=1e-12)
    assert not shipped.facts.symmetric
    assert get_metric("cknna", estimator="biased", order="xy").facts.symmetric


@pytest.mark.parametrize("kernel", [{}, {"kernel": "rbf"}, {"kernel": "rbf", "sigma": 4.0}])
def test_cknna_of_all_neighbors_is_cka(pair, kernel):
    n = len(pair[0])
    centred = [side - side.mean(axis=0) for side in pair]
    for k, estimator in [(n - 1, "debiased"), (n, "biased")]:
        cka = get_metric("cka", estimator=estimator, **kernel)(*pair)
        cknna = get_metric("cknna", k=k, estimator=estimator, **kernel)
        assert cknna(*pair) == pytest.approx(cka, abs=1e-10)
        assert cknna(*centred) == pytest.approx(cka, abs=1e-12)


def test_published_epsilon_breaks_the_scale(pair):
    published = get_metric("cknna", k=5, order="xy", epsilon=1e-6)
    assert published(pair[0] * 1e-3, pair[0] * 1e-3) < 0.01
    assert "isotropic_scaling" not in published.facts.invariant_to
    assert get_metric("cknna", k=5)(pair[0] * 1e-3, pair[0]) == pytest.approx(1, abs=1e-12)


def test_forms_are_shared(pair):
    forms = [get_metric(name, k=4).prepare(pair[0]) for name in LISTED]
    forms.append(get_metric("second_order_cosine", k=4).prepare(pair[0]))
    for form in [form.lists for form in forms]:
        assert form.dtype == np.int32
        assert form.shape == (40, 4)
        np.testing.assert_array_equal(form, forms[0].lists)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("k", [3, 0.2])
def test_permuted_samples(pair, name, k):
    order = np.random.default_rng(0).permutation(40)
    metric = get_metric(name, k=k)
    a, b = (metric.prepare(side) for side in pair)
    direct = metric.compare(metric.prepare(pair[0][order]), b)
    assert metric.compare(metric.permuted(a, order), b) == pytest.approx(direct, abs=1e-12)
    twice = metric.permuted(metric.permuted(a, order), np.argsort(order))
    assert metric.compare(twice, b) == pytest.approx(metric.compare(a, b), abs=1e-12)


def test_blocks_do_not_matter(pair, monkeypatch):
    values = [get_metric(name, k=4)(*pair) for name in ALL]
    for module in (_nearness, _neighbors):
        monkeypatch.setattr(module, "BLOCK_ENTRIES", 3 * 40)
    assert [get_metric(name, k=4)(*pair) for name in ALL] == pytest.approx(values, abs=1e-12)


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "inner_product"])
@pytest.mark.parametrize(("k", "crowd"), [(3, 8), (7, 1.5), (7, 1.0), (399, 8)])
def test_lists_searched_in_float32_are_those_of_float64(distance, k, crowd, monkeypatch):
    """Also where candidates are thinned out on the way, or where there are too many of them."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 6))
    x[200:260] = x[140:200] + 1e-9 * rng.normal(size=(60, 6))  # float32 cannot tell them apart
    monkeypatch.setattr(_neighbors, "BLOCK_ENTRIES", 400 * 25)
    monkeypatch.setattr(_neighbors, "CROWD", crowd)
    rounds = []
    original = _neighbors.FastSearch._nearest

    def counted(self, found, k):
        rounds.append(sum(len(part[0]) for part in found))
        return original(self, found, k)

    monkeypatch.setattr(_neighbors.FastSearch, "_nearest", counted)
    near = _nearness.Nearness.of(x, distance, dtype=np.float32)
    found = _neighbors.FastSearch(near).candidates(k)
    if crowd == 1.0:
        assert found is None  # more candidates than neighbours: float64 does it all
    else:
        assert (len(rounds) > 1) == (crowd == 1.5)
        settling = _settle.Settling(x, near, k)
        settling.take(found)
        exact = _neighbors.ordered_neighbors(x, k, distance)
        np.testing.assert_array_equal(settling.neighbors().lists, exact.lists)


def test_ranks_in():
    lists = np.array([[1, 2], [0, 2], [0, 1]])
    others = np.array([[2, 1], [2, 0], [1, 0]])
    assert _neighbors.ranks_in(lists, others).tolist() == [[2, 1], [2, 1], [2, 1]]
    assert _neighbors.ranks_in(lists, others[:, :1]).tolist() == [[0, 1], [0, 1], [0, 1]]


def test_many_samples_have_sequences():
    """Above the number of characters, rows are lists; both kinds give the same distances."""
    lists = np.array([[0xD7FF, 0, 0x10FFFE], [5, 4, 3]], dtype=np.int32)
    assert [[ord(c) - 1 for c in row] for row in _strings(lists)] == lists.tolist()
    many = np.broadcast_to(np.int32([[1, 2]]), (0x110000, 2))
    assert _strings(many)[-1] == [1, 2]


@pytest.mark.parametrize("k", [1, 2, 3, 10, SHORT, SHORT + 1])
@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_short_sequences_have_the_distances_of_a_library(k, shared):
    """Of rows that have all, some and no entries in common, in the same order and in others."""
    from rapidfuzz.distance import LCSseq, Levenshtein  # noqa: PLC0415 - as in the package

    rng = np.random.default_rng(k)
    rows = np.array([rng.choice(10**6, 2 * k, replace=False) for _ in range(400)])
    a, b = rows[:, :k].astype(np.int32), rows[:, :k].astype(np.int32)
    for i, row in enumerate(b):
        some = rng.random(k) >= shared
        row[some] = rows[i, k:][some]
        if i % 3:
            rng.shuffle(row)
    np.testing.assert_array_equal(common_lengths(a, b), _by_pairs(a, b, LCSseq.similarity))
    np.testing.assert_array_equal(edits(a, b), _by_pairs(a, b, Levenshtein.distance))


def test_repeated_entries_are_told_apart_by_their_places():
    a, b = np.array([[1, 1, 2, 1]]), np.array([[1, 2, 1, 1]])
    assert common_lengths(a, b).tolist() == [3] and edits(a, b).tolist() == [2]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("n", "d"), [(12, 40), (12, 11), (12, 12), (12, 2)])
def test_shapes(name, n, d):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(n, 3))
    metric = get_metric(name, k=n - 1)
    assert np.isfinite(metric(x, y))
    if metric.facts.self_value is not None:
        assert metric(x, x) == pytest.approx(metric.facts.self_value, abs=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_duplicates_constant_columns_and_one_unit(pair, name):
    x, y = (side.copy() for side in pair)
    x[1] = x[2] = x[0]
    x[:, 3], y[:, :5] = 7, 0
    metric = get_metric(name, k=6)
    assert np.isfinite(metric(x, y))
    if metric.facts.symmetric:
        assert metric(x, y) == pytest.approx(metric(y, x), abs=1e-12)
    narrow = np.abs(x[3:, :1])
    if name in ("cknna", "second_order_cosine"):
        assert np.isfinite(get_metric(name, k=6)(narrow, y[3:]))
    else:
        assert np.isfinite(get_metric(name, k=6, distance="euclidean")(narrow, y[3:]))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("scale", [1e-150, 1e150, 2.0**-60])
def test_scales(pair, name, scale):
    metric = get_metric(name, k=6)
    assert metric(pair[0] * scale, pair[1]) == pytest.approx(metric(*pair), abs=1e-12)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_float32(pair, name, scale):
    metric = get_metric(name, k=6)
    small = (pair[0] * scale).astype(np.float32)
    assert metric(small, pair[1]) == pytest.approx(metric(*pair), abs=1e-6)


@pytest.mark.parametrize("name", [name for name in ALL if name != "cknna"])
def test_zero_rows_are_named(pair, name):
    x = pair[0].copy()
    x[7] = 0
    with pytest.raises(MetricError, match="row 7 is zero"):
        get_metric(name, k=3)(x, pair[1])


def test_rows_without_similar_neighbors_are_named(pair):
    x = np.eye(40)
    x[:, 0] = 1
    x[5] = np.eye(40)[5]
    x[5, 5], x[0, 0] = 1, 1
    x[5, 0] = 0  # row 5 is orthogonal to all others
    with pytest.raises(MetricError, match="all neighbours of row 5 have similarity 0"):
        get_metric("second_order_cosine", k=3)(x, x)
    twins = np.repeat(np.random.default_rng(0).normal(size=(20, 5)), 2, axis=0)
    with pytest.raises(MetricError, match="all neighbours of row 0 have distance 0"):
        get_metric("second_order_cosine", k=1, form="distance")(twins, twins[:, ::-1] * 1)


def test_cknna_without_variance_is_refused(pair):
    with pytest.raises(MetricError, match="no variance left"):
        get_metric("cknna", k=5, kernel="rbf", sigma=1e-3)(*pair)
    with pytest.raises(MetricError, match="overflow"):
        get_metric("cknna", k=5, epsilon=1e-6)(pair[0] * 1e150, pair[1])


@pytest.mark.parametrize("name", ALL)
def test_too_few_samples(pair, name):
    x, y = (side[:10] for side in pair)
    with pytest.raises(MetricError, match="k = 10 neighbours need at least 11 samples, not 10"):
        get_metric(name)(x, y)
    with pytest.raises(MetricError, match="need at least"):
        get_metric(name, k=1)(x[:1], y[:1])


def test_cknna_needs_samples(pair):
    x, y = (side[:3] for side in pair)
    with pytest.raises(MetricError, match="at least 4 samples, not 3"):
        get_metric("cknna", k=1)(x, y)
    with pytest.raises(MetricError, match="k = 11 neighbours need at least 11 samples, not 10"):
        get_metric("cknna", k=11, estimator="biased")(*(side[:10] for side in pair))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("k", [0, -3, 2.5, True, "10", float("inf"), float("nan")])
def test_bad_k(name, k):
    with pytest.raises(ConfigError, match=f"metric '{name}': k cannot be"):
        get_metric(name, k=k)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("lcs_knn", {"form": "lenght"}, "form cannot be 'lenght'; did you mean 'length'?"),
        ("edit_knn", {"distance": "l2"}, "distance cannot be 'l2'"),
        ("second_order_cosine", {"form": "cosine"}, "form cannot be 'cosine'"),
        ("cknna", {"sigma": 0}, "sigma cannot be 0"),
        ("cknna", {"epsilon": -1e-6}, "epsilon cannot be -1e-06"),
        ("cknna", {"epsilon": "small"}, "epsilon cannot be 'small'"),
        ("cknna", {"order": "yx"}, "order cannot be 'yx'"),
    ],
)
def test_parameter_errors(name, parameters, message):
    with pytest.raises(ConfigError) as error:
        get_metric(name, **parameters)
    assert message in str(error.value)


def test_chance():
    rng = np.random.default_rng(0)
    n, k = 200, 5
    draws = [(rng.normal(size=(n, 30)), rng.normal(size=(n, 20))) for _ in range(10)]
    mean = {name: np.mean([get_metric(name, k=k)(x, y) for x, y in draws]) for name in ALL}
    assert mean["mutual_knn"] == pytest.approx(k / (n - 1), abs=0.005)
    assert mean["jaccard_knn"] == pytest.approx(k / (2 * n - k), abs=0.005)
    assert mean["cycle_knn"] == pytest.approx(1 - (1 - 1 / n) ** k**2, abs=0.03)
    assert abs(mean["cknna"]) < k / (n - 1)
    assert mean["edit_knn"] < mean["lcs_knn"] < mean["mutual_knn"]


def test_facts_of_lengths():
    length = get_metric("edit_knn", form="length").facts
    assert (length.bounds, length.self_value, length.is_metric) == ((0, 10), 0, True)
    assert not length.larger_is_more_similar
    share = get_metric("lcs_knn", k=0.1, form="length").facts
    assert share.self_value is None
    assert share.as_dict()["bounds"] == [0, None]
    assert get_metric("lcs_knn", form="length").facts.self_value == 10


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "inner_product"])
@pytest.mark.parametrize("kind", ["normal", "offset", "duplicates", "grid", "outliers"])
def test_fast_search_finds_the_same_lists(monkeypatch, distance, kind):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 24))
    if kind == "offset":
        x += 1000
    elif kind == "duplicates":
        x = np.concatenate([x, x])
    elif kind == "grid":
        x = rng.integers(1, 4, size=(300, 5)).astype(float)
    elif kind == "outliers":
        x *= np.exp(3 * rng.normal(size=(300, 1)))
    for k in (1, 10, 299):
        monkeypatch.setattr(_neighbors, "FAST_SAMPLES", 10**9)
        plain = _neighbors.ordered_neighbors(x, k, distance)
        monkeypatch.setattr(_neighbors, "FAST_SAMPLES", 1)
        fast = _neighbors.ordered_neighbors(x, k, distance)
        # of two copies each has one row at no distance: it is alone
        alone = kind == "duplicates" and k == 1 and distance != "inner_product"
        assert (plain.ties is None) == (alone or kind not in ("duplicates", "grid"))
        assert_same(plain, fast)


def assert_same(a, b):
    """Asserts that lists and their ties are the same."""
    one, other = (_ties.arrays_of(side) for side in (a, b))
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "inner_product"])
@pytest.mark.parametrize("fast", [1, 10**9])
def test_rows_of_a_group_are_no_neighbors(monkeypatch, distance, fast):
    monkeypatch.setattr(_neighbors, "FAST_SAMPLES", fast)
    for module in (_nearness, _neighbors):
        monkeypatch.setattr(module, "BLOCK_ENTRIES", 300 * 25)
    rng = np.random.default_rng(5)
    groups = rng.integers(0, 40, size=300)
    x = rng.normal(size=(40, 6))[groups] + 0.01 * rng.normal(size=(300, 6))
    far = -x @ x.T if distance == "inner_product" else cdist(x, x, distance)
    far[groups[:, None] == groups] = np.inf
    for k in (1, 12, 270):
        expected = np.argsort(far, axis=1, kind="stable")[:, :k]
        found = _neighbors.ordered_neighbors(x, k, distance, groups=groups)
        np.testing.assert_array_equal(found.lists, expected)
        assert found.ties is None
        found, _ = _neighbors.local_neighbors(x, k, distance, groups=groups)
        np.testing.assert_array_equal(found.lists, expected)


def test_groups_that_leave_too_few_rows_are_refused():
    x = np.random.default_rng(6).normal(size=(12, 3))
    groups = np.repeat([7, 3, 5], [2, 6, 4])
    with pytest.raises(MetricError, match=r"row 2 has 6 rows of other groups than its own \(3\)"):
        _neighbors.ordered_neighbors(x, 7, groups=groups)
    with pytest.raises(MetricError, match=r"groups have shape \(3,\), and there are 12 rows"):
        _neighbors.ordered_neighbors(x, 2, groups=groups[:3])
    assert _neighbors.ordered_neighbors(x, 6, groups=groups).lists.shape == (12, 6)
