"""Statistics of overlap and value: closed forms, other implementations, and planted truths."""

import itertools

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import NearestNeighbors

from consilience.causes import statistics as st

LEVELS = np.linspace(0, 1, 6)


def planted(steep, draws=4, seed=0, noise=1.0, offset=0.0):
    """Returns draw, overlap and value = offset of the draw + steep · overlap + noise."""
    rng = np.random.default_rng(seed)
    draw = np.repeat(np.arange(draws), len(LEVELS))
    overlap = np.tile(LEVELS, draws)
    value = steep * overlap + noise * rng.normal(size=len(draw))
    return draw, overlap, value + offset * rng.normal(size=draws)[draw]


def test_slope_is_the_mean_of_lines_with_a_t_interval():
    draw, overlap, value = planted(0.3, draws=5)
    lines = [
        LinearRegression().fit(overlap[draw == d][:, None], value[draw == d]).coef_[0]
        for d in range(5)
    ]
    found = st.slope(draw, overlap, value)
    assert found.per_draw == pytest.approx(lines, abs=1e-12)
    known = stats.ttest_1samp(lines, 0).confidence_interval(0.95)
    assert found[:3] == pytest.approx((np.mean(lines), *known), abs=1e-12)
    order = np.random.default_rng(1).permutation(len(draw))
    assert st.slope(draw[order], overlap[order], value[order])[:3] == pytest.approx(found[:3])


def test_one_draw_has_no_interval_and_one_overlap_no_slope():
    draw, overlap, value = planted(0.3, draws=1)
    found = st.slope(draw, overlap, value)
    assert np.isfinite(found.value) and np.isnan([found.low, found.high]).all()
    none = st.slope(np.arange(4), np.full(4, 1 / 3), np.arange(4.0))
    assert np.isnan(none[:3]).all() and len(none.per_draw) == 0
    two = st.slope(np.array([0, 0, 1]), np.array([0.1, 0.3, 0.2]), np.array([0, 1, 5.0]))
    assert two.per_draw == pytest.approx([5]) and np.isnan(two.low)
    assert np.isnan(st.slope(np.array([]), np.array([]), np.array([])).value)


def by_hand(draw, overlap, value):
    """All arrangements of overlaps within draws, as permutations that repeat equal ones."""
    parts = [
        [np.array(p) for p in itertools.permutations(overlap[draw == d])] for d in np.unique(draw)
    ]
    found = []
    for chosen in itertools.product(*parts):
        x = np.empty(len(overlap))
        for d, own in zip(np.unique(draw), chosen, strict=True):
            x[draw == d] = own
        found.append(abs(np.mean([np.polyfit(x[draw == d], value[draw == d], 1)[0]
                                  for d in np.unique(draw)])))  # fmt: skip
    return np.array(found)


def test_few_arrangements_are_all_taken():
    rng = np.random.default_rng(3)
    draw = np.repeat([0, 1], 3)
    overlap = np.array([0, 0.5, 1, 0, 0.5, 0.5])
    value = rng.normal(size=6)
    assert st.arrangements(draw, overlap) == 6 * 3
    found = st.permute(draw, overlap, value)
    known = by_hand(draw, overlap, value)
    actual = abs(st.slope(draw, overlap, value).value)
    assert found.p == pytest.approx((known >= actual - 1e-12).mean())
    assert found.least == pytest.approx((known >= known.max() - 1e-12).mean()) and found.drawn == 0


def test_a_perfect_order_has_the_least_p():
    draw, overlap, value = np.repeat([0, 1], 3), np.tile([0, 0.5, 1], 2), np.tile([0, 1, 2.0], 2)
    found = st.permute(draw, overlap, value)
    assert found.p == found.least == 2 / 36
    drawn = st.permute(*planted(100.0), permutations=199)
    assert drawn.p == drawn.least == 1 / 200 and drawn.drawn == 199
    assert drawn.arrangements == 720.0**4


def test_equal_values_are_never_significant():
    draw, overlap, _ = planted(0)
    assert st.permute(draw, overlap, np.full(len(draw), 0.7)).p == 1


def test_no_relabelling_without_two_overlaps():
    found = st.permute(np.arange(4), np.full(4, 0.5), np.arange(4.0))
    assert np.isnan(found.p) and np.isnan(found.least) and found.arrangements == 1
    assert np.isnan(st.permute(*planted(1), permutations=0).p)


def test_p_is_uniform_under_independence_also_with_offsets_of_draws():
    """1,500 studies of 4 draws: p of Kolmogorov and Smirnov above 0.01, 5 ± 1.5 % below 0.05."""
    for offset in (0.0, 5.0):
        p = np.array([st.permute(*planted(0, seed=s, offset=offset), permutations=199, seed=s).p
                      for s in range(1500)])  # fmt: skip
        even = p - np.random.default_rng(0).uniform(0, 1 / 200, len(p))
        assert stats.kstest(even, "uniform").pvalue > 0.01
        assert 0.035 < (p <= 0.05).mean() < 0.065


def test_p_ignores_offsets_and_units():
    draw, overlap, value = planted(0.5)
    p = st.permute(draw, overlap, value).p
    moved = 1e-3 * (value + np.array([5, -3, 100, 0])[draw])
    assert st.permute(draw, overlap, moved).p == p
    assert st.permute(draw, overlap, -value).p == p


def test_blocks_exchange_within_alone():
    """Two references in a draw, of which one is closer to all: exchange would hide the slope."""
    draw, block = np.zeros(8, int), np.repeat([0, 1], 4)
    overlap = np.tile([0, 0.4, 0.6, 1], 2)
    value = overlap + 100 * block
    assert st.permute(draw, overlap, value, block=block).p == 2 / 24**2
    assert st.permute(draw, overlap, value).p > 0.5


def test_spearman_entropy_r2():
    _, overlap, value = planted(1)
    assert st.spearman(overlap, value) == pytest.approx(stats.spearmanr(overlap, value)[0])
    assert st.entropy(overlap) == pytest.approx(np.log(6)) and st.entropy(np.zeros(3)) == 0
    assert st.published_r2(overlap, value) == pytest.approx(
        stats.linregress(overlap, value)[2] ** 2
    )
    assert np.isnan(st.spearman(overlap, np.zeros(24)))
    assert np.isnan(st.published_r2(overlap, np.zeros(24)))


def test_omega2_by_the_f_ratio():
    _, overlap, value = planted(3)
    f = stats.f_oneway(*(value[overlap == level] for level in LEVELS)).statistic
    n, levels = len(value), len(LEVELS)
    assert st.omega2(overlap, value) == pytest.approx(
        (levels - 1) * (f - 1) / ((levels - 1) * (f - 1) + n)
    )
    assert np.isnan(st.omega2(overlap, np.zeros(n)))
    assert np.isnan(st.omega2(np.zeros(4), np.arange(4.0)))
    assert np.isnan(st.omega2(np.arange(4.0) / 4, np.arange(4.0)))


def predicted(draw, overlap, value, *, linear):
    """Held-out information draw by draw, row by row, with scipy's Student t."""
    n, found = len(value), []
    shares = {level: np.mean(overlap == level) for level in np.unique(overlap)}
    for i in range(n):
        rest = draw != draw[i]
        x, y = overlap[rest], value[rest]
        q = {}
        if linear:
            line = stats.linregress(x, y)
            s = np.sqrt(((y - line.intercept - line.slope * x) ** 2).sum() / (len(y) - 2))
        else:
            means = {level: y[x == level].mean() for level in shares}
            s = np.sqrt(
                sum((yi - means[xi]) ** 2 for xi, yi in zip(x, y, strict=True))
                / (len(y) - len(shares))
            )
        for level, share in shares.items():
            if linear:
                off = 1 + 1 / len(y) + (level - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
                law = stats.t(len(y) - 2, line.intercept + line.slope * level, s * np.sqrt(off))
            else:
                law = stats.t(
                    len(y) - len(shares), means[level], s * np.sqrt(1 + 1 / (x == level).sum())
                )
            q[level] = share * law.pdf(value[i])
        found.append(np.log(q[overlap[i]] / sum(q.values())))
    return st.entropy(overlap) + np.mean(found)


@pytest.mark.parametrize("linear", [False, True])
def test_held_out_information_row_by_row(linear):
    given = planted(2, seed=5, offset=0.3)
    given = [part[:-1] for part in given]  # uneven draws and levels
    known = predicted(*given, linear=linear)
    assert st.held_out_information(*given, linear=linear) == pytest.approx(known, abs=1e-12)


def test_held_out_information_needs_what_it_predicts_from():
    draw, overlap, value = planted(1)
    assert np.isnan(st.held_out_information(np.zeros(24, int), overlap, value))
    assert np.isnan(st.held_out_information(draw, np.zeros(24), value))
    assert np.isnan(st.held_out_information(draw, overlap, np.full(24, 0.1)))
    lonely = overlap.copy()
    lonely[0] = 0.123  # no other draw has this level
    assert np.isnan(st.held_out_information(draw, lonely, value))
    assert np.isfinite(st.held_out_information(draw, lonely, value, linear=True))


@pytest.mark.parametrize("steep", [0, 1, 1e3, 1e9])
def test_held_out_information_is_below_the_entropy(steep):
    for seed in range(20):
        given = planted(steep, seed=seed)
        for linear in (False, True):
            assert st.held_out_information(*given, linear=linear) <= np.log(6) + 1e-12
    assert st.held_out_information(*planted(1e9)) == pytest.approx(np.log(6), abs=1e-6)


def true_information(steep):
    """Of y = steep · x + N(0, 1) over six levels: H(y) − H(y | x), by integration."""

    def density(y):
        return stats.norm.pdf(y - steep * LEVELS).mean()

    at = np.linspace(-9, steep + 9, 4001)
    p = np.array([density(y) for y in at])
    total = -integrate.simpson(p * np.log(p), x=at)
    return total - 0.5 * np.log(2 * np.pi * np.e)


# Of the specification's table of bias: slope, draws, truth, published, held out, linear, omega²,
# true omega². Means over 80 studies there, over 160 here.
BIAS = [
    (0, 4, 0.0, 0.042, -0.082, -0.018, 0.013, 0.0),
    (3, 4, 0.356, 0.348, 0.227, 0.315, 0.501, 0.512),
    (6, 4, 0.791, 0.793, 0.672, 0.757, 0.812, 0.808),
    (30, 4, 1.785, 1.878, 1.775, 1.782, 0.991, 0.991),
    (0, 10, 0.0, 0.042, -0.040, -0.009, -0.005, 0.0),
    (3, 10, 0.356, 0.395, 0.319, 0.350, 0.520, 0.512),
    (6, 10, 0.791, 0.854, 0.759, 0.789, 0.812, 0.808),
    (30, 10, 1.785, 1.825, 1.781, 1.782, 0.990, 0.991),
]


@pytest.mark.parametrize(
    ("steep", "draws", "true", "ksg", "level", "line", "omega", "omega_true"), BIAS
)
def test_bias_against_the_truth(steep, draws, true, ksg, level, line, omega, omega_true):
    assert true_information(steep) == pytest.approx(true, abs=2e-3)
    studies = [planted(steep, draws, seed=1000 + s) for s in range(160)]
    held = np.array([st.held_out_information(*s) for s in studies])
    linear = np.array([st.held_out_information(*s, linear=True) for s in studies])
    explained = np.array([st.omega2(*s[1:]) for s in studies])
    published = np.array([st.published_information(*s[1:]) for s in studies[:30]])
    for found, known in [(held, level), (linear, line), (explained, omega), (published, ksg)]:
        error = found.std(ddof=1) * np.sqrt(1 / len(found) + 1 / 80)
        assert found.mean() == pytest.approx(known, abs=4 * error + 1e-3)
    for bound in (held, linear):  # at or below the truth
        assert bound.mean() - 3 * bound.std(ddof=1) / np.sqrt(160) <= true + 1e-3
    assert explained.mean() == pytest.approx(
        omega_true, abs=4 * explained.std(ddof=1) / np.sqrt(160) + 2e-3
    )


def test_published_information_is_the_estimator_of_kraskov_with_its_noise():
    """Coded anew from its formula; the overlap is scaled, not centred."""
    _, overlap, value = planted(1.5, seed=2)
    rng = np.random.RandomState(42)
    sides = []
    for side in (overlap, value):
        scaled = side / side.std()
        noise = 1e-10 * max(1, np.abs(scaled).mean()) * rng.standard_normal(len(side))
        sides.append((scaled + noise)[:, None])
    both = np.hstack(sides)
    radius = NearestNeighbors(n_neighbors=3, metric="chebyshev").fit(both).kneighbors()[0][:, -1]
    radius = np.nextafter(radius, 0)
    counts = [(np.abs(side - side.T) <= radius[:, None]).sum(axis=1) for side in sides]
    from scipy.special import digamma  # noqa: PLC0415

    n = len(value)
    known = digamma(n) + digamma(3) - sum(digamma(c).mean() for c in counts)
    assert st.published_information(overlap, value) == pytest.approx(max(0, known), abs=1e-12)
    assert np.isnan(st.published_information(overlap[:3], value[:3]))


def test_published_information_exceeds_the_entropy_and_ours_does_not():
    given = planted(1e6)
    assert st.published_information(*given[1:]) > np.log(6) + 0.05
    assert st.held_out_information(*given) <= np.log(6)


def test_intervals_cover():
    """400 studies of 5 draws with slopes N(0.3, 1): 95 ± 3 %."""
    rng, hits = np.random.default_rng(7), 0
    for s in range(400):
        draw, overlap, value = planted(0, 5, seed=s)
        value = value + (0.3 + rng.normal(size=5))[draw] * overlap
        found = st.slope(draw, overlap, value)
        hits += found.low <= 0.3 <= found.high
    assert 0.92 < hits / 400 < 0.98
