"""Transport by candidates: as good as that by copies, proven, and the whole problem else."""

import math

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from consilience.forms import transport


def best(profit):
    """The largest profit, by a match of copies."""
    d, width = profit.shape
    copies = math.lcm(d, width)
    big = np.repeat(np.repeat(profit, copies // d, 0), copies // width, 1)
    return big[linear_sum_assignment(big, maximize=True)].mean()


def profits(kind, d, width):
    rng = np.random.default_rng(d)
    x, y = rng.standard_normal((50, d)), rng.standard_normal((50, width))
    common = rng.standard_normal((50, 4))
    if kind == "shared":
        x, y = (base + 2 * (common @ rng.standard_normal((4, base.shape[1]))) for base in (x, y))
    if kind == "repeated":
        x[:, 1::2], y[:, 2::3] = x[:, :1], y[:, :1]
    if kind == "dead":
        x[:, ::2], y[:, ::2] = 0, 0
    if kind == "sizes":
        x, y = x * np.geomspace(1, 1e6, d), y * np.geomspace(1e6, 1, width)
    if kind == "line":
        x, y = x[:, :1] * np.arange(d), x[:, :1] * np.arange(width)
    if kind == "whole":
        x, y = np.rint(x), np.rint(y)
    if kind == "copies":
        y = np.tile(x, width)[:, :width]
    return 2 * x.T @ y - np.sum(x * x, 0)[:, None] - np.sum(y * y, 0)


KINDS = ["noise", "shared", "repeated", "dead", "sizes", "line", "whole", "copies"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("widths", [(48, 64), (64, 48), (30, 75), (7, 61), (1, 9)])
def test_plans_of_candidates_are_the_best(kind, widths, monkeypatch):
    monkeypatch.setattr(transport, "MANY", 0)
    profit = profits(kind, *widths)
    rows, columns, shares = transport.transport_plan(profit)
    assert np.bincount(rows, shares) == pytest.approx(np.full(widths[0], 1 / widths[0]))
    assert np.bincount(columns, shares) == pytest.approx(np.full(widths[1], 1 / widths[1]))
    assert shares @ profit[rows, columns] == pytest.approx(best(profit), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("kind", ["noise", "shared", "repeated", "dead", "whole"])
def test_candidates_are_enough_as_a_rule(kind):
    profit = profits(kind, 96, 128)
    plan = transport._plan_of_candidates(profit, 4, 3, lambda _: 1e-9)
    assert plan is not None
    assert plan[2] @ profit[plan[0], plan[1]] == pytest.approx(best(profit), rel=1e-10)


def test_candidates_that_were_forgotten_are_found(monkeypatch):
    """With rough prices of nothing and one candidate for each unit, rounds bring the others."""
    profit = profits("shared", 48, 64)
    monkeypatch.setattr(transport, "_rough_prices", lambda cost: np.zeros(cost.shape[1]))
    monkeypatch.setattr(transport, "CANDIDATES", 1)
    solved = []
    plain = transport._linear_programme
    monkeypatch.setattr(
        transport, "_linear_programme", lambda *given: solved.append(1) or plain(*given)
    )
    plan = transport._plan_of_candidates(profit, 4, 3, lambda _: 1e-9)
    assert len(solved) > 1
    assert plan[2] @ profit[plan[0], plan[1]] == pytest.approx(best(profit), rel=1e-10)
    monkeypatch.setattr(transport, "ROUNDS", 1)
    assert transport._plan_of_candidates(profit, 4, 3, lambda _: 1e-9) is None


def test_what_is_allowed_is_of_the_plan_and_not_exceeded():
    profit = profits("noise", 48, 64)
    seen = []
    assert transport._plan_of_candidates(profit, 4, 3, lambda v: seen.append(v) or -1.0) is None
    assert seen[-1] == pytest.approx(best(profit), rel=1e-10)


def test_rough_prices_of_anything_are_finite():
    for profit in (np.zeros((5, 8)), np.eye(5, 8) * 1e300, -np.full((5, 8), 1e-300)):
        assert np.isfinite(transport._rough_prices(-profit)).all()
