"""Planning a study: planted studies against what is known of them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, t

from consilience.cli.power import crossing
from consilience.consistency import power
from consilience.consistency.analysis import measure_set
from consilience.consistency.differences import differences_table
from consilience.consistency.power import Design, answer, enough, least, simulate
from consilience.consistency.sheets import Data, Settings
from consilience.errors import ConfigError
from consilience.files import derive_seed
from consilience.pairs.draws import Draws
from consilience.pairs.families import Clusters
from consilience.pairs.matrix import Similarity
from consilience.pairs.sets import ModelSet


def test_planted_similarities_correlate_as_planted():
    design = Design(30, 6, 3, icc=0.7, consistency=0.5)
    generator = np.random.default_rng(0)
    i, j = np.triu_indices(30, 1)
    found = []
    for _ in range(300):
        values, families = power.planted_study(design, generator)
        assert (np.bincount(families) == 5).all()
        found.append(values[:, i, j])
    pooled = np.corrcoef(np.concatenate(found, axis=1))
    # One study has some 6 independent families: a correlation of 300 of them is known to 0.03.
    assert pooled[np.triu_indices(3, 1)] == pytest.approx([0.5] * 3, abs=0.06)
    assert np.var(found) == pytest.approx(1, abs=0.08)  # + the families' own share of pairs


def test_share_of_variance_is_the_families():
    design = Design(40, 10, 2, icc=0.8, consistency=0.0)
    generator, within, between = np.random.default_rng(1), [], []
    for _ in range(100):
        values, families = power.planted_study(design, generator)
        means = np.nanmean(values[0], axis=1)
        grouped = means.reshape(10, 4)
        assert (families.reshape(10, 4) == families[::4, None]).all()
        within.append(grouped.var(axis=1, ddof=1).mean())
        between.append(grouped.mean(axis=1).var(ddof=1))
    family = np.mean(between) - np.mean(within) / 4
    assert family / (family + np.mean(within)) == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("families", [8, 16])
def test_ends_of_differences_are_those_of_the_table(families):
    """One planted study of two groups, by the table of differences."""
    design, size = Design(16, families, 3, 0.6, 0.5), 0.4
    low, high = power._differences(design, size, 2, 0)
    names, parts, by_group, clusters = [], [], [], {}
    for side, (group, sign) in enumerate(zip(design.groups(), (1, -1), strict=True)):
        sizes = map(str, (group.models, group.families, group.datasets, side))
        generator = np.random.default_rng(derive_seed(0, "power", *sizes))
        own = replace(group, consistency=0.5 + sign * size / 2)
        values, codes = power.planted_study(own, generator)
        parts.append(values)
        by_group.append(tuple(f"m{side}_{k:03d}" for k in range(group.models)))
        names += by_group[-1]
        clusters |= {n: f"{side} {code}" for n, code in zip(by_group[-1], codes, strict=True)}
    whole = np.full((3, 16, 16), np.nan)
    whole[:, :8, :8], whole[:, 8:, 8:] = parts
    known = Clusters("family", clusters) if families < 16 else Clusters()
    settings = Settings(("pearson",), power.RESAMPLES, 0, 0, 4)
    similarities = {f"d{k}": Similarity(tuple(names), row) for k, row in enumerate(whole)}
    data, draws = Data("k", similarities, clusters=known), Draws(0, power.RESAMPLES, 0, known)
    sets = [ModelSet("kind", n, n, (m,)) for n, m in zip("ab", by_group, strict=True)]
    table = differences_table(data, [measure_set(data, s, settings, draws) for s in sets], settings)
    (row,) = table[table["dataset_x"] == "*"].itertuples()
    assert row.low == pytest.approx(low[0, 0], abs=2e-3 if families == 16 else 1e-9)
    assert row.high == pytest.approx(high[0, 0], abs=2e-3 if families == 16 else 1e-9)


@pytest.mark.parametrize(
    "design", [Design(24, 24, 2), Design(32, 8, 3, 0.6), Design(24, 12, 2, 0.9)]
)
def test_nothing_is_found_falsely_more_often_than_the_level(design):
    found = simulate("difference", 0.0, design, studies=80, seed=3)
    assert found.value == pytest.approx(0.05, abs=0.015 + 2.5 * found.error)
    one = simulate("consistency", 0.0, design, studies=80, seed=3)
    assert one.value == pytest.approx(0.05, abs=0.015 + 2.5 * 0.025)


@pytest.mark.parametrize(("models", "families"), [(16, 4), (32, 8)])
def test_means_of_unrelated_datasets_are_rarely_told_from_none(models, families):
    """The mean of 6 datasets is skewed: on Fisher's scale 9 and 12 % leave out 0, all below it."""
    found = power.plant(Design(models, families, 6, icc=0.9, consistency=0.0), 0, 500, 0)
    share = np.mean((found.low > 0) | (found.high < 0))
    assert share <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 500)
    z, half = found.z, np.sqrt(found.variance) * t(families - 1).ppf(0.975)
    assert np.mean(np.abs(z) > half) > share + 0.02


def test_more_is_never_found_less_often():
    """On a coarse grid of models, families, datasets and sizes."""
    base, more = Design(16, 8, 2, 0.6), []
    more = [replace(base, models=32), replace(base, models=32, families=16),
            replace(base, datasets=4)]  # fmt: skip
    found = simulate("difference", 0.4, base, studies=60)
    for design in more:
        above = simulate("difference", 0.4, design, studies=60)
        assert above.value >= found.value - 2.5 * np.hypot(found.error, above.error), design
    sizes = [simulate("difference", size, base, studies=60).value for size in (0.1, 0.4, 0.7)]
    assert sizes == sorted(sizes)


def test_interpolated_number_of_models_has_the_power():
    """Between two designs that were simulated, against a simulation of that design."""
    first = Design(8, 8, 2, consistency=0.6)
    found = [(d, simulate("consistency", 0.6, d)) for d in (first, Design(32, 32, 2))]
    models = crossing(found, 0.7)
    assert 8 < models < 32
    anew = simulate("consistency", 0.6, Design(models, models, 2), seed=5)
    errors = [share.error for _, share in found]
    assert anew.value == pytest.approx(0.7, abs=2.5 * np.hypot(max(errors), anew.error) + 0.04)


def test_answers_are_kept_and_found_again(monkeypatch, tmp_path):
    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path))
    monkeypatch.setattr(power, "STUDIES", 10)
    calls = []
    monkeypatch.setattr(power, "simulate", lambda *a, **k: calls.append(a) or power.Share(0.5, 0.1))
    design = Design(8, 8, 2)
    assert answer("consistency", 0.4, design) == answer("consistency", 0.4, design) == (0.5, 0.1)
    assert len(calls) == 1
    answer("consistency", 0.4, replace(design, icc=0.5))
    answer("consistency", 0.3, design)
    assert len(calls) == 3
    (tmp_path / "power").rename(tmp_path / "gone")
    (tmp_path / "power").touch()  # no folder can be made there: the answer is the same
    assert answer("consistency", 0.4, design) == (0.5, 0.1)
    assert len(calls) == 4


def test_same_seed_gives_the_same_share():
    one = simulate("half_width", 0.3, Design(8, 4, 2), studies=5)
    power.plant.cache_clear()
    assert simulate("half_width", 0.3, Design(8, 4, 2), studies=5) == one


def test_power_of_one_group_is_that_of_a_correlation():
    """With (nearly) all variance the models', r is that of m normal pairs, z of error (m - 3)^-1/2.

    The interval's t has m - 3 degrees of freedom: 2.11 for 20 models. Power P(z / error > t).
    """
    found = simulate("consistency", 0.6, Design(20, 20, 2), studies=150)
    expected = norm.sf(2.11 - np.arctanh(0.6) * np.sqrt(17))
    assert found.value == pytest.approx(expected, abs=0.05 + 2.5 * found.error)


@pytest.fixture
def by_models(monkeypatch):
    """Shares without simulation: 0.1 for each 16 models, and size."""

    def told(question, size, design):
        return power.Share(min(size * design.models / 16, 1), 0.01)

    monkeypatch.setattr(power, "answer", told)


@pytest.mark.usefixtures("by_models")
def test_designs_grow_until_one_is_enough():
    found = list(enough("difference", 0.3, Design(16, 8), 0.8))
    assert [(d.models, d.families) for d, _ in found] == [(16, 8), (32, 16), (64, 32)]
    assert [d.models for d, _ in enough("difference", 0.01, Design(16, 8), 0.8)] == [
        16,
        32,
        64,
        128,
    ]
    assert len(list(enough("difference", 0.9, Design(16, 8), 0.8))) == 1


@pytest.mark.usefixtures("by_models")
def test_least_size_is_found():
    assert least("consistency", Design(16, 16), 0.72) == 0.75
    assert least("consistency", Design(32, 32), 0.72) == 0.4
    assert least("difference", Design(32, 32), 0.72) == 0.4
    assert np.isnan(least("difference", Design(8, 8), 0.72))


@pytest.mark.parametrize(
    ("question", "size", "design", "said"),
    [
        ("difference", 0.2, Design(2, 2), "2 models: .* at least 4 in each of two groups, so 8"),
        ("consistency", 0.2, Design(2, 2), "2 models: .* at least 4, so 4 in all"),
        ("difference", 0.2, Design(32, 1), "1 family: .* at least 4 in each of two groups, so 8"),
        ("consistency", 0.2, Design(32, 3), "3 families: .* at least 4, so 4 in all"),
        ("difference", 2.5, Design(32, 32), "difference of 2.5: two correlations differ by 0 to 2"),
        ("difference", 1.2, Design(32, 32), "around 0.6 is one of 0 and 1.2; .* --around"),
        ("consistency", 1.0, Design(32, 32), "a consistency of 1 .* below 1"),
        ("half_width", -0.1, Design(32, 32), "half of a width of -0.1"),
        ("consistency", 0.2, Design(8, 9), "9 families of 8 models: between 1 and 8"),
        ("consistency", 0.2, Design(8, 8, 1), "1 dataset: at least 2"),
        ("consistency", 0.2, Design(999, 999), "999 models: .* up to 128"),
        ("consistency", 0.2, Design(8, 4, 2, 1.5), "ICC of 1.5: it is a share"),
    ],
)
def test_impossible_studies_are_refused_with_the_reason(question, size, design, said):
    with pytest.raises(ConfigError, match=said):
        answer(question, size, design)
