"""Metrics that give both orders of a pair from the same work: no value depends on what is asked."""

import itertools

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from consilience.calibration import Permutations
from consilience.metrics import get_metric
from consilience.similarity import Engine, Task
from consilience.similarity.engine.blocks import ByPairs, fill_by_pairs, fill_store
from consilience.similarity.task import Offer, make_item

METRIC = get_metric("pwcca")
N = 400


def sides():
    """Widths equal and unequal, a rank below the width, and more units than a few samples."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal((N, 30))
    found = [
        base @ rng.standard_normal((30, d)) + rng.standard_normal((N, d)) for d in (70, 90, 90)
    ]
    return [*found, base @ rng.standard_normal((30, 80)), np.hstack([found[0]] * 2)]


@pytest.fixture(scope="module")
def items():
    return [
        make_item(METRIC, f"m{i}", "a", {"features": Offer(x.shape, str(i), lambda x=x: x)})
        for i, x in enumerate(sides())
    ]


@pytest.mark.parametrize("pair", itertools.combinations_with_replacement(range(5), 2))
def test_both_orders_are_to_the_bit_what_each_gives_alone(pair):
    a, b = (METRIC.prepare(sides()[i]) for i in pair)
    alone = METRIC.compare(a, b), METRIC.compare(b, a)
    assert METRIC.compare_both(a, b) == alone
    assert METRIC.compare_both(b, a) == alone[::-1]


@pytest.mark.parametrize("pair", [(0, 1), (1, 0), (1, 2), (3, 0), (0, 3)])
def test_pwcca_is_its_definition(pair):
    x, y = (sides()[i] - sides()[i].mean(axis=0) for i in pair)
    u, v = (np.linalg.svd(side, full_matrices=False) for side in (x, y))
    u, v = (side[0][:, side[1] > 1e-10 * side[1][0]] for side in (u, v))
    turn, sizes, _ = np.linalg.svd(u.T @ v, full_matrices=False)
    weights = np.abs((u @ turn).T @ x).sum(axis=1)
    expected = weights @ sizes / weights.sum()
    assert METRIC(sides()[pair[0]], sides()[pair[1]]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_store_that_knows_one_order_gets_the_same_values(items, threads):
    task = Task(METRIC)
    pairs = list(itertools.product(items, repeat=2))
    whole = task.open_store(None)
    fill_store(whole, task, pairs, Engine(threads=threads))
    some = task.open_store(None)
    fill_store(some, task, pairs[::3], Engine())
    fill_store(some, task, pairs, Engine(max_memory=0))
    assert some.outcomes == whole.outcomes
    assert len(whole.outcomes) == len(pairs)
    assert set(whole.seconds) == set(whole.outcomes)


def test_each_order_is_computed_once(items):
    asked = []
    how = ByPairs(
        lambda item: item.hash,
        lambda a, b: asked.append((a, b)) or (a, b),
        lambda item: 1,
        both=lambda a, b: asked.append((a, b)) or ((a, b), (b, a)),
    )

    class Store:
        outcomes, seconds = {}, {}

        def write(self):
            pass

    store = Store()
    pairs = list(itertools.product(items[:3], repeat=2))[:-2]  # without (2, 1) and (2, 2)
    fill_by_pairs(store, pairs, how, Engine())
    assert store.outcomes == {(x.hash, y.hash): (x.hash, y.hash) for x, y in pairs}
    assert sorted(asked) == [("0", "0"), ("0", "1"), ("0", "2"), ("1", "1"), ("1", "2")]


def test_a_failure_is_that_of_each_order():
    task = Task(get_metric("pwcca"))
    flat = make_item(METRIC, "flat", "a", {"features": Offer((N, 3), "f", lambda: np.ones((N, 3)))})
    other = make_item(METRIC, "other", "a", {"features": Offer((N, 70), "o", lambda: sides()[0])})
    store = task.open_store(None)
    fill_store(store, task, [(flat, other), (other, flat)], Engine())
    assert all("constant" in outcome.failure for outcome in store.outcomes.values())
    assert len(store.outcomes) == 2


def test_nulls_are_those_of_each_order(items):
    task = Task(METRIC, null="monte_carlo", permutations=Permutations(count=9))
    store = task.open_store(None)
    x, y = items[:2]
    fill_store(store, task, [(x, y), (y, x)], Engine())
    with threadpool_limits(1):  # as the engine has it: with more, BLAS adds up in another order
        a, b = task.prepare(x), task.prepare(y)
        assert store.outcomes[x.hash, y.hash] == task.compare(a, b)
        assert store.outcomes[y.hash, x.hash] == task.compare(b, a)
