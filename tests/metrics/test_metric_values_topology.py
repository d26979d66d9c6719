"""IMD, RTD and geometry score: ReSi's numbers, brute force, closed forms and nasty shapes."""

import functools
import itertools
import sys

import numpy as np
import pytest
from golden import RESI, resi_pair
from scipy import special
from scipy.linalg import expm
from scipy.spatial.distance import cdist, squareform
from sklearn.neighbors import kneighbors_graph

from consilience.errors import ConfigError, MetricError
from consilience.metrics import get_metric, imd, topology
from consilience.metrics.topology import _living_times, _loops

CASES = list(RESI["cases"])
EVERY = [("imd", {}), ("imd", {"method": "lanczos", "probes": 50})]
EVERY += [("rtd", {}), ("geometry_score", {"trials": 5})]
every = pytest.mark.parametrize(("name", "parameters"), EVERY)


def golden(case, measure):
    return RESI["cases"][case]["measures"][measure]


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 7))
    return x, x @ rng.normal(size=(7, 12)) + rng.normal(size=(40, 12))


# ---- intrinsic multi-scale distance


@pytest.mark.reference("imd", by="ReSi")
@pytest.mark.parametrize("case", CASES)
def test_imd_golden(case):
    exact = golden(case, "IMDScore")["exact_heat_trace"]
    x, y = resi_pair(case)
    assert get_metric("imd")(x, y) == pytest.approx(exact, rel=1e-6)
    total = get_metric("imd", scale="total")(x, y)
    assert total == pytest.approx(exact * len(x) / 1e6, rel=1e-6)


def test_imd_by_lanczos_is_near_the_exact_value():
    x, y = resi_pair(CASES[0])
    values = [get_metric("imd", method="lanczos", seed=seed)(x, y) for seed in (0, 1)]
    assert values[0] != values[1]
    for value in values:
        assert abs(value - golden(CASES[0], "IMDScore")["exact_heat_trace"]) <= 2.5


def heat_trace(x, k):
    """By the definition: matrix exponentials of the Laplacian of scikit-learn's graph."""
    graph = kneighbors_graph(x, k).toarray()
    graph = np.maximum(graph, graph.T)
    roots = 1 / np.sqrt(graph.sum(axis=0))
    laplacian = np.eye(len(x)) - roots[:, None] * graph * roots
    return np.array([np.trace(expm(-t * laplacian)) for t in np.logspace(-1, 1, 256)])


@pytest.mark.reference("imd", by="its definition by matrix exponentials")
@pytest.mark.parametrize("k", [1, 5])
def test_imd_by_definition(pair, k):
    times = np.logspace(-1, 1, 256)
    gap = np.abs(heat_trace(pair[0], k) - heat_trace(pair[1], k))
    expected = np.max(np.exp(-2 * (times + 1 / times)) * gap)
    assert get_metric("imd", k=k, scale="total")(*pair) == pytest.approx(expected, rel=1e-9)


def test_imd_of_a_complete_graph():
    """K₆ has eigenvalues 0 and, five times, 6/5; every set of six points gives it with k = 5."""
    metric = get_metric("imd", scale="total")
    x = np.random.default_rng(0).normal(size=(6, 3))
    expected = 1 + 5 * np.exp(-np.logspace(-1, 1, 256) * 6 / 5)
    np.testing.assert_allclose(metric.prepare(x), expected, rtol=1e-12)
    # Lanczos ends after two steps here, and is exact but for the control variate
    lanczos = get_metric("imd", scale="total", method="lanczos", probes=4000)
    np.testing.assert_allclose(lanczos.prepare(x), expected, atol=0.05)


def test_lanczos_is_the_exact_quadratic_form_with_all_steps(pair):
    """With n steps the quadrature is exact, so the estimate is that of the probes alone."""
    x = pair[0][:12]
    metric = get_metric("imd", method="lanczos", k=3, steps=12, probes=20_000, scale="total")
    np.testing.assert_allclose(metric.prepare(x), heat_trace(x, 3), atol=0.05)


def test_lanczos_does_not_see_the_order_of_samples(pair):
    metric = get_metric("imd", method="lanczos", probes=50)
    order = np.random.default_rng(0).permutation(40)
    a, b = metric.prepare(pair[0]), metric.prepare(pair[0][order])
    np.testing.assert_allclose(a, b, rtol=1e-12)
    assert metric.compare(a, metric.permuted(a, order)) == 0


# ---- representation topology divergence


@pytest.mark.reference("rtd", by="ReSi")
@pytest.mark.parametrize("case", CASES)
def test_rtd_golden(case):
    """Far within the tolerance of 1e-3: only float32 rounding on their side is left."""
    x, y = resi_pair(case)
    assert get_metric("rtd")(x, y) == pytest.approx(golden(case, "RTD")["value"], rel=1e-6)


def scaled(x):
    distances = cdist(x, x)
    return distances / np.quantile(distances, 0.9)


def rank(rows):
    """The rank over two elements of rows of bits given as whole numbers."""
    basis = []
    for row in rows:
        rest = functools.reduce(lambda rest, pivot: min(rest, rest ^ pivot), basis, row)
        basis += [rest] if rest else []
    return len(basis)


def relative_loops(d, e):
    """The integral of the number of loops, from boundary matrices at each scale by themselves."""
    m = len(d)
    zero = np.zeros((m, m))
    joint = np.block([[zero, d], [d, np.minimum(d, e)]])
    points = range(2 * m)
    edges = list(itertools.combinations(points, 2))
    triangles = list(itertools.combinations(points, 3))
    scales = np.unique(joint)
    total = 0.0
    for low, high in itertools.pairwise(scales):
        alive = {edge: i for i, edge in enumerate(edges) if joint[edge] <= low}
        sides = [list(itertools.combinations(t, 2)) for t in triangles]
        filled = [s for s in sides if all(edge in alive for edge in s)]
        boundary = rank([(1 << a) | (1 << b) for a, b in alive])
        killed = rank([sum(1 << alive[edge] for edge in s) for s in filled])
        total += (len(alive) - boundary - killed) * (high - low)
    return total


@pytest.mark.reference("rtd", by="its definition by boundary matrices")
def test_rtd_by_definition():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, 2)), rng.normal(size=(6, 3))
    d, e = scaled(x), scaled(y)
    expected = (relative_loops(d, e) + relative_loops(e, d)) / 2
    assert expected > 0.1
    assert get_metric("rtd")(x, y) == pytest.approx(expected, rel=1e-12)


def test_rtd_draws_the_same_rows_of_both_sides(pair):
    x, y = pair
    metric = get_metric("rtd", batch=15, trials=3, seed=4)
    rng = np.random.default_rng(4)
    draws = [rng.choice(40, 15, replace=False) for _ in range(3)]
    expected = np.mean([get_metric("rtd")(x[rows], y[rows]) for rows in draws])
    assert metric(x, y) == pytest.approx(expected, rel=1e-13)
    assert metric(x, x) == 0
    assert metric(y, x) == metric(x, y)
    assert get_metric("rtd", batch=15, trials=3, seed=5)(x, y) != metric(x, y)
    assert get_metric("rtd", batch=40)(x, y) == get_metric("rtd", batch=40, trials=1, seed=9)(x, y)


def test_rtd_permuted_draws(pair):
    """With fewer rows than samples, a permutation brings other samples to the drawn places."""
    metric = get_metric("rtd", batch=15, trials=2)
    a, b = (metric.prepare(side) for side in pair)
    rng = np.random.default_rng(6)
    first, second = rng.permutation(40), rng.permutation(40)
    once = metric.permuted(a, first)
    assert metric.compare(once, b) == metric(pair[0][first], pair[1])
    twice = metric.permuted(once, second)
    assert metric.compare(twice, b) == metric(pair[0][first][second], pair[1])
    both = metric.compare(once, metric.permuted(b, first))
    assert both != metric.compare(a, b)  # the pairs are the same, but others are drawn


def test_rtd_is_continuous(pair):
    """Ranks stand for distances in ripser; tiny moves swap ranks but hardly move the value."""
    x, y = pair
    moved = x + 1e-12 * np.random.default_rng(0).normal(size=x.shape)
    metric = get_metric("rtd")
    assert metric(moved, y) == pytest.approx(metric(x, y), abs=1e-9)


def test_rtd_without_a_scale():
    x = np.zeros((60, 3))
    x[0] = 1
    with pytest.raises(MetricError, match=r"0\.9 quantile of the distances between 60 samples"):
        get_metric("rtd")(x, x)


# ---- geometry score


@pytest.mark.reference("geometry_score", by="ReSi, within a factor of 3, for it is random")
@pytest.mark.parametrize(
    ("case", "replacement"), [*((case, True) for case in CASES), (CASES[0], False)]
)
def test_geometry_score_golden(case, replacement):
    """Within a factor of 3; 300 draws instead of 1,000 add about 0.002 of noise."""
    x, y = resi_pair(case)
    value = get_metric("geometry_score", trials=300, replacement=replacement)(x, y)
    for expected in golden(case, "GeometryScore")["values_two_seeds"]:
        assert expected / 3 < value < 3 * expected


def test_short_landmark_tables_change_nothing(pair):
    gudhi = pytest.importorskip("gudhi")
    distances = cdist(pair[0], pair[0][::2])
    for largest in (0.001, 0.1, 0.5, 1.0):
        order = np.argsort(distances, axis=1)
        table = [[(int(i), row[i]) for i in o] for o, row in zip(order, distances, strict=True)]
        tree = gudhi.WitnessComplex(nearest_landmark_table=table).create_simplex_tree(
            max_alpha_square=largest, limit_dimension=2
        )
        tree.compute_persistence(homology_coeff_field=2)
        expected = np.asarray(tree.persistence_intervals_in_dimension(1)).reshape(-1, 2)
        found = _loops(distances, largest)
        assert sorted(map(tuple, found)) == sorted(map(tuple, expected))


def test_living_times_by_counting():
    intervals = np.array([[0.0, 0.5], [0.25, np.inf], [0.25, 0.3], [0.9, 1.0]])
    moments = (np.arange(100_000) + 0.5) / 100_000
    alive = ((intervals[:, :1] <= moments) & (moments < intervals[:, 1:])).sum(axis=0)
    expected = [np.mean(alive == i) for i in range(5)]
    np.testing.assert_allclose(_living_times(intervals, 1.0, 5), expected, atol=1e-4)
    assert (
        _living_times(intervals, 1.0, 2).tolist() == _living_times(intervals, 1.0, 5)[:2].tolist()
    )
    assert _living_times(np.zeros((0, 2)), 2.0, 3).tolist() == [1, 0, 0]


def test_one_loop_is_seen():
    """Around a circle there is one hole, in a blob none, once landmarks join their neighbours."""
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    metric = get_metric("geometry_score", landmarks=20, trials=10, gamma=0.1)
    times = metric.prepare(circle)
    assert times.argmax() == 1
    assert times.sum() == pytest.approx(1, abs=1e-12)
    assert metric.prepare(np.random.default_rng(0).normal(size=(200, 2)))[0] > times[0]


def test_geometry_score_takes_all_of_few_samples(pair):
    first = get_metric("geometry_score", gamma=0.2, trials=1)(*pair)
    assert first > 0
    assert get_metric("geometry_score", gamma=0.2, trials=3, seed=8)(*pair) == first
    assert get_metric("geometry_score", gamma=0.2, trials=3, replacement=True)(*pair) != first


# ---- all


@every
@pytest.mark.parametrize(("n", "d"), [(8, 1), (8, 7), (8, 40)])
def test_small_and_wide(name, parameters, n, d):
    rng = np.random.default_rng(5)
    value = get_metric(name, **parameters)(rng.normal(size=(n, d)), rng.normal(size=(n, d + 2)))
    assert 0 <= value < np.inf


@every
def test_scales(name, parameters, pair):
    metric = get_metric(name, **parameters)
    x, y = pair
    assert metric(x * 2.0**-500, y * 2.0**500) == metric(x, y)
    assert metric(x * 1e-150, y * 1e150) == pytest.approx(metric(x, y), abs=1e-9)
    x32, y32 = (x * 1e15).astype(np.float32), (y * 1e-15).astype(np.float32)
    same = metric(x32.astype(float) / 2.0**50, y32.astype(float) * 2.0**50)
    assert metric(x32, y32) == same


@every
def test_duplicated_zero_and_constant(name, parameters, pair):
    metric = get_metric(name, **parameters)
    x, y = (a.copy() for a in pair)
    x[1], x[:, 2], y[3], y[20:30] = x[0], 4.0, 0.0, y[20]
    assert np.isfinite(metric(x, y))
    assert metric(x, x) == 0
    order = np.random.default_rng(0).permutation(40)
    assert metric(x[order], y[order]) == pytest.approx(metric(x, y), abs=1e-9)


@every
def test_tied_distances(name, parameters):
    rng = np.random.default_rng(2)
    x, y = (rng.integers(-2, 3, size=(40, 4)).astype(float) for _ in range(2))
    metric = get_metric(name, **parameters)
    assert np.isfinite(metric(x, y))
    if parameters.get("method") != "lanczos":  # tied radii may be dealt other probes
        assert metric(x + 5, 3 * y) == pytest.approx(metric(x, y), abs=1e-9)


def test_too_few_samples_are_refused(pair):
    for name, n in [("imd", 5), ("rtd", 2), ("geometry_score", 3)]:
        with pytest.raises(MetricError, match=rf"{name} needs at least {n + 1} samples, not {n}"):
            get_metric(name)(*(a[:n] for a in pair))


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("imd", {"k": 0}, "k cannot be 0; use a whole number from 1"),
        ("imd", {"k": 2.5}, "k cannot be 2.5"),
        ("imd", {"method": "lanzcos"}, "method cannot be 'lanzcos'; did you mean 'lanczos'?"),
        ("imd", {"seed": -1}, "seed cannot be -1"),
        ("rtd", {"batch": 2}, "batch cannot be 2; use a whole number from 3"),
        ("rtd", {"batch": 5000}, "batch cannot be 5000; use at most 4096"),
        ("rtd", {"trials": True}, "trials cannot be True"),
        ("geometry_score", {"landmarks": 2}, "landmarks cannot be 2"),
        ("geometry_score", {"gamma": 0}, "gamma cannot be 0; use a number above 0 or 'auto'"),
        ("geometry_score", {"gamma": "Auto"}, "gamma cannot be 'Auto'"),
        ("geometry_score", {"i_max": 0}, "i_max cannot be 0"),
    ],
)
def test_parameter_errors(name, parameters, message):
    with pytest.raises(ConfigError) as error:
        get_metric(name, **parameters)
    assert message in str(error.value)


@pytest.mark.parametrize(("name", "package"), [("rtd", "ripser"), ("geometry_score", "gudhi")])
def test_missing_packages_are_named(name, package, pair, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError) as error:
        get_metric(name).prepare(pair[0])
    assert f"metric {name!r} needs the package {package!r}" in str(error.value)
    assert 'pip install "consilience[topology]"' in str(error.value)


@pytest.mark.parametrize("kind", ["noise", "clusters", "repeated", "line"])
def test_heat_traces_are_those_of_all_eigenvalues(kind):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((333, 8))
    if kind == "clusters":
        x += 100 * rng.integers(0, 20, (333, 1))
    if kind == "repeated":
        x[100:] = x[:1]
    if kind == "line":
        x = np.arange(333.0)[:, None] ** 2
    laplacian, times = imd._laplacian(x, 5), imd._times()
    eigenvalues = np.linalg.eigvalsh(laplacian.toarray())
    expected = np.exp(-np.outer(times, eigenvalues)).sum(axis=1)
    np.testing.assert_allclose(imd._exact_trace(laplacian, times), expected, rtol=0, atol=1e-12)
    left = 2 * special.ive(np.arange(2 * imd.STEPS + 2, 80), times[:, None]).sum(axis=1)
    assert left.max() < 1e-15


def clouds(kind, rows=40):
    """Two sides of one cloud."""
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((rows, 8)), rng.standard_normal((rows, 6))
    angles = 2 * np.pi * np.arange(rows) / rows
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return {
        "noise": (x, y),
        "near": (x, x + 0.1 * rng.standard_normal(x.shape)),
        "circle": (circle, x),
        "circles": (circle, circle[rng.permutation(rows)]),
        "ties": (np.rint(x[:, :2]), np.rint(y[:, :2])),
        "clusters": (x + 50 * rng.integers(0, 3, (rows, 1)), y),
        "repeated": (x[np.arange(rows) // 4], y),
        "line": (np.arange(rows)[:, None] * 1.0, circle),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["noise", "near", "circle", "circles", "ties", "clusters", "repeated", "line"]
)
@pytest.mark.parametrize("reach", [0.0, 0.05, 0.2, 0.4, 0.8])
def test_bars_up_to_a_limit_are_all_bars(kind, reach):
    x, y = (topology._scaled_distances(side) for side in clouds(kind))
    for d, e in ((x, y), (y, x)):
        total, last = topology._bars(d, e, reach)
        assert (total, last) == topology._bars(d, e)
        assert 0 <= last <= 1


def test_a_loop_that_begins_late_is_seen():
    """A square of sides 4 of one side, drawn together by the other at its ends only."""
    corners = np.array([[0, 0], [4, 0], [4, 4.1], [0, 4]])
    x = np.repeat(corners, 6, axis=0) + 1e-3 * np.random.default_rng(0).standard_normal((24, 2))
    y = np.random.default_rng(1).standard_normal((24, 40))
    d, e = topology._scaled_distances(y), topology._scaled_distances(x)
    seen = []
    for reach in (0.01, 0.3, 0.6):
        values, ranks = np.unique(np.concatenate([[0.0], d, np.minimum(d, e)]), return_inverse=True)
        first, second = (squareform(part.astype(float)) for part in np.split(ranks[1:], 2))
        seen.append(topology._may_begin(first, second, int(reach * len(values))))
        births = topology._diagram(np.block([[0 * first, first], [first, second]]), np.inf)[:, 0]
        assert seen[-1] or not (births > int(reach * len(values))).any()
        assert topology._bars(d, e, reach) == topology._bars(d, e)
    assert seen[0]
    assert not seen[-1]


def test_rtd_looks_no_farther_than_it_must(monkeypatch):
    limits = []
    plain = topology._diagram
    monkeypatch.setattr(
        topology, "_diagram", lambda joint, limit: limits.append(limit) or plain(joint, limit)
    )
    x, y = (np.random.default_rng(d).standard_normal((150, d)) for d in (30, 40))
    value = get_metric("rtd", batch=50, trials=4)(x, y)
    assert np.isfinite(limits).sum() > 6
    monkeypatch.setattr(topology, "FIRST", 1.0)
    monkeypatch.setattr(topology, "FARTHER", np.inf)
    assert get_metric("rtd", batch=50, trials=4)(x, y) == value
    assert np.isinf(limits[-8:]).all()
