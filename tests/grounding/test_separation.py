"""Scores of groups, of layers, chance, intervals and p-values, against independent values."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from consilience.grounding.intervals import logit_interval, plain_interval
from consilience.grounding.layers import order_conformity, order_correlation
from consilience.grounding.separation import (
    Groups,
    Ordered,
    average_precision,
    chance_precision,
    conformity,
    relabelled_p,
    relabellings,
)


def symmetric(matrix):
    upper = np.triu(matrix, 1)
    return upper + upper.T


def groups_of(closeness, sizes, start=None, *, drop=False):
    side = np.repeat(np.arange(len(sizes)), sizes)
    start = np.arange(len(side)) if start is None else np.asarray(start)
    return Groups(closeness, side, start, drop)


def planted(generator, sizes, effect, models=1.0):
    """Closeness that is larger inside groups by `effect`, with noise of models and of pairs."""
    m = sum(sizes)
    side = np.repeat(np.arange(len(sizes)), sizes)
    own = generator.normal(size=m) * models
    noise = symmetric(generator.normal(size=(m, m)))
    return symmetric(effect * (side[:, None] == side) + own[:, None] + own + noise)


def one(score, values, labels, weights=None):
    labels = np.asarray(labels, bool)
    weights = np.ones(len(labels)) if weights is None else weights
    sides = (labels * weights)[None], (~labels * weights)[None]
    return float(score(Ordered.of(np.asarray(values, float)), *sides)[0])


@pytest.mark.parametrize("seed", range(20))
def test_scores_equal_those_of_scikit_learn(seed):
    """Without and with ties: scikit-learn lets equal scores enter together too."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(40) < generator.integers(1, 39))
    values = generator.normal(size=40)
    if seed % 2:
        values = np.round(values)
    known = average_precision_score(labels, values)
    assert one(average_precision, values, labels) == pytest.approx(known, abs=1e-12)
    assert one(conformity, values, labels) == pytest.approx(
        roc_auc_score(labels, values), abs=1e-12
    )


def test_whole_weights_are_repeated_pairs():
    generator = np.random.default_rng(1)
    values, labels = np.round(generator.normal(size=30), 1), np.arange(30) < 12
    weights = generator.integers(0, 4, 30)
    for score in (average_precision, conformity):
        repeated = one(score, np.repeat(values, weights), np.repeat(labels, weights))
        assert one(score, values, labels, weights) == pytest.approx(repeated, abs=1e-12)


@pytest.mark.parametrize(("positives", "total"), [(10, 60), (10, 35), (3, 9), (1, 1), (2, 2)])
def test_chance_of_average_precision(positives, total):
    """By simulation, within 3 standard errors; two values of the specification."""
    generator = np.random.default_rng(0)
    labels = np.tile(np.arange(total) < positives, (20_000, 1))
    labels = generator.permuted(labels, axis=1)
    drawn = average_precision(Ordered.of(-np.arange(total, dtype=float)), labels, ~labels)
    error = 3 * drawn.std() / math.sqrt(len(drawn)) + 1e-12
    assert chance_precision(positives, total) == pytest.approx(drawn.mean(), abs=error)
    known = {(10, 60): 0.219, (10, 35): 0.352}
    if (positives, total) in known:
        assert round(chance_precision(positives, total), 3) == known[positives, total]


def test_means_over_groups_written_out():
    generator = np.random.default_rng(3)
    closeness = np.round(planted(generator, (4, 3, 5), 0.7), 1)
    groups = groups_of(closeness, (4, 3, 5))
    side = groups.group
    each = []
    for g in range(3):
        inside = [closeness[i, j] for i, j in itertools.combinations(range(12), 2)
                  if side[i] == side[j] == g]  # fmt: skip
        cross = [closeness[i, j] for i in range(12) for j in range(12)
                 if side[i] == g and side[j] != g]  # fmt: skip
        labels = [1] * len(inside) + [0] * len(cross)
        each.append((average_precision_score(labels, inside + cross),
                     np.mean([(a > b) + (a == b) / 2 for a in inside for b in cross])))  # fmt: skip
    expected = np.mean(each, axis=0)
    assert groups.score("auprc")[0] == pytest.approx(expected[0], abs=1e-12)
    assert groups.score("conformity")[0] == pytest.approx(expected[1], abs=1e-12)


def test_planted_truth_noise_and_reverse():
    generator = np.random.default_rng(0)
    side = np.repeat([0, 1, 2], 5)
    truth = (side[:, None] == side).astype(float)
    good, bad = groups_of(truth, (5, 5, 5)), groups_of(-truth, (5, 5, 5))
    assert good.score("auprc")[0] == good.score("conformity")[0] == 1
    assert bad.score("conformity")[0] == 0 and bad.score("auprc")[0] < bad.chance("auprc")
    drawn = [
        groups_of(symmetric(generator.normal(size=(15, 15))), (5, 5, 5)).score("auprc")[0]
        for _ in range(2000)
    ]
    error = 3 * np.std(drawn) / math.sqrt(2000)
    assert np.mean(drawn) == pytest.approx(good.chance("auprc"), abs=error)
    assert np.quantile(drawn, 0.95) == pytest.approx(0.29, abs=0.02)  # of other random models


def test_leaving_a_model_out_is_the_score_of_the_others():
    generator = np.random.default_rng(5)
    closeness = planted(generator, (4, 4), 1)
    whole = groups_of(closeness, (4, 4))
    left_out = whole.score("auprc", 1 - np.eye(8))
    kept = np.array([0, 1, 3, 4, 5, 6, 7])
    alone = groups_of(closeness[np.ix_(kept, kept)], (3, 4)).score("auprc")[0]
    assert left_out[2] == pytest.approx(alone, abs=1e-12)


def test_resampled_models_are_copies_that_are_not_paired_with_themselves():
    generator = np.random.default_rng(6)
    closeness = planted(generator, (4, 4), 1)
    counts = np.array([2, 1, 1, 0, 1, 1, 1, 1])
    copies = np.repeat(np.arange(8), counts)
    matrix = closeness[np.ix_(copies, copies)]
    matrix[0, 1] = matrix[1, 0] = np.nan  # both copies of one model
    repeated = groups_of(matrix, (4, 4)).score("auprc")[0]
    found = groups_of(closeness, (4, 4)).score("auprc", np.stack([counts, counts], 1))
    assert found == pytest.approx(repeated, abs=1e-12)


def test_failed_pairs_are_left_out_and_counted():
    closeness = planted(np.random.default_rng(7), (5, 5), 1)
    closeness[0, 1] = closeness[1, 0] = np.nan
    groups = groups_of(closeness, (5, 5))
    assert (~groups.valid).sum() == 1
    assert groups.failed_share() == pytest.approx(1 / 10)
    expected = (chance_precision(9, 34) + chance_precision(10, 35)) / 2
    assert groups.chance("auprc") == pytest.approx(expected)


def test_shared_starts_can_be_left_out():
    """3 x 5 with matched seeds: 40 instead of 50 pairs across, chance .257 instead of .219."""
    closeness = planted(np.random.default_rng(8), (5, 5, 5), 1)
    start = np.tile(np.arange(5), 3)
    keep, drop = (groups_of(closeness, (5, 5, 5), start, drop=d) for d in (False, True))
    assert keep.matched and not groups_of(closeness, (5, 5, 5)).matched
    assert (len(keep.values), len(drop.values)) == (105, 90)
    assert round(keep.chance("auprc"), 3) == 0.219 and round(drop.chance("auprc"), 3) == 0.257
    close_starts = closeness + 10 * (start[:, None] == start)  # a start says more than a group
    keep, drop = (groups_of(close_starts, (5, 5, 5), start, drop=d) for d in (False, True))
    assert keep.score("auprc")[0] < drop.score("auprc")[0]


def test_a_start_that_all_models_share_is_no_confound():
    groups = groups_of(planted(np.random.default_rng(8), (3, 3), 1), (3, 3), [7] * 6)
    assert not groups.matched


@pytest.mark.parametrize(("sizes", "number"), [((5, 5), 126), ((2, 2, 2), 15), ((2, 3), 10)])
def test_few_relabellings_are_all_listed(sizes, number):
    groups = groups_of(planted(np.random.default_rng(1), sizes, 1), sizes)
    labels = relabellings(groups, 999, np.random.default_rng(0))
    assert len(labels) == number and (labels[0] == groups.group).all()
    partitions = {
        frozenset(frozenset(np.flatnonzero(row == g)) for g in range(len(sizes))) for row in labels
    }
    assert len(partitions) == number


def test_matched_models_exchange_groups_within_their_start():
    start = np.tile(np.arange(3), 2)
    groups = groups_of(planted(np.random.default_rng(1), (3, 3), 1), (3, 3), start)
    labels = relabellings(groups, 999, np.random.default_rng(0))
    assert len(labels) == 2**3 / 2
    assert all(set(row[start == s]) == {0, 1} for row in labels for s in range(3))
    drawn = relabellings(groups, 2, np.random.default_rng(0))
    assert len(drawn) == 3 and all(
        set(row[start == s]) == {0, 1} for row in drawn for s in range(3)
    )


def test_p_is_the_share_of_relabellings_that_separate_as_well():
    side = np.repeat([0, 1], 5)
    groups = groups_of((side[:, None] == side).astype(float), (5, 5))
    labels = relabellings(groups, 999, np.random.default_rng(0))
    assert relabelled_p(groups, "auprc", labels) == pytest.approx(1 / 126)


def test_p_is_uniform_where_groups_say_nothing():
    generator = np.random.default_rng(4)
    found = []
    for _ in range(300):
        groups = groups_of(planted(generator, (4, 4, 4), 0), (4, 4, 4))
        labels = relabellings(groups, 99, generator)
        found.append(relabelled_p(groups, "auprc", labels))
    assert len(labels) == 100
    for level in (0.1, 0.5):
        share = np.mean(np.array(found) <= level)
        assert share == pytest.approx(level, abs=3 * math.sqrt(level * (1 - level) / 300))


def test_intervals_cover():
    """Planted truth, 3 x 5 models: nominal 95 %, found between 91 % and 99.5 % of 250 studies."""
    generator = np.random.default_rng(2)
    large = [groups_of(planted(generator, (5, 5, 5), 1.5), (5, 5, 5)) for _ in range(2000)]
    truth = np.mean([groups.score("auprc")[0] for groups in large])
    inside = []
    for groups in large[:250]:
        found = groups.score("auprc", np.hstack([np.ones((15, 1)), 1 - np.eye(15)]))
        low, high = logit_interval(found[0], found[1:], groups.group, 1 / 210)
        inside.append(low <= truth <= high)
    assert 0.91 <= np.mean(inside) <= 0.995


def test_the_interval_of_a_mean_is_that_of_students_t():
    values = np.array([0.2, 0.5, 0.4, 0.9])
    left_out = (values.sum() - values) / 3
    low, high = plain_interval(values.mean(), left_out, np.zeros(4, int))
    half = 3.182446305284263 * values.std(ddof=1) / 2
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half))


def test_no_interval_without_spread_or_models():
    assert np.isnan(logit_interval(1.0, np.ones(6), np.repeat([0, 1], 3), 0.01)).all()
    assert np.isnan(logit_interval(0.5, np.array([0.5, np.nan]), np.array([0, 1]), 0.01)).all()


# Layers


def test_layers_written_out():
    generator = np.random.default_rng(0)
    n = 6
    closeness = np.round(symmetric(generator.normal(size=(n, n))), 1)
    rhos, won = [], []
    for i in range(n):
        for side in (range(i + 1, n), range(i - 1, -1, -1)):
            if len(side) > 1:
                values = [-closeness[i, j] for j in side]
                rhos.append(spearmanr(values, [abs(i - j) for j in side]).statistic)
                pairs = itertools.combinations(side, 2)
                gaps = [closeness[i, j] - closeness[i, k] for j, k in pairs]
                won += [(gap > 0) + (gap == 0) / 2 for gap in gaps]
    assert len(rhos) == 2 * (n - 2) and len(won) == n * (n - 1) * (n - 2) // 3
    assert order_correlation(closeness) == pytest.approx(np.mean(rhos))
    assert order_conformity(closeness) == pytest.approx(np.mean(won))


def test_layers_planted():
    place = np.arange(5)
    truth = -np.abs(place[:, None] - place).astype(float)
    assert order_correlation(truth) == order_conformity(truth) == 1
    assert order_correlation(-truth) == -1 and order_conformity(-truth) == 0
    assert np.isnan(order_correlation(np.ones((5, 5))))
    assert order_conformity(np.ones((5, 5))) == 0.5
    generator = np.random.default_rng(1)
    drawn = [order_correlation(symmetric(generator.normal(size=(5, 5)))) for _ in range(2000)]
    assert np.mean(drawn) == pytest.approx(0, abs=3 * np.std(drawn) / math.sqrt(2000))


def test_layers_with_failed_pairs():
    place = np.arange(5)
    truth = -np.abs(place[:, None] - place).astype(float)
    truth[0, 3] = truth[3, 0] = np.nan
    assert order_correlation(truth) == order_conformity(truth) == 1
