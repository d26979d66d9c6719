"""Best transport between units of equal weight.

The whole problem has d d' unknowns, of which d + d' - 1 at most are not zero. Rough prices, by the
iteration of Sinkhorn, tell a few candidates for each unit; the linear programme over these gives
exact prices, by which all other pairs of units are checked. What does not pass is a candidate in
the next round. So what is returned is proven by prices of the whole problem.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from consilience.errors import MetricError

MANY = 2**14
"""Pairs of units from which on candidates are taken first."""
CANDIDATES = 6
"""For each unit of the wider side, on average."""
ROUNDS = 6
"""After so many the whole problem is solved."""
STEPS = (0.3, 0.1, 0.03)
"""Widths of the iteration of Sinkhorn, over the standard deviation of costs."""
TURNS = 20
"""Of it for each width."""
VANISHING = 1e-30
"""Below it a float32 is set to 0, before its squares are slow."""

Plan = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows, columns and shares."""


def best_match(profit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows and columns of the one-to-one match of profit: (d, d') with the largest sum."""
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - slow to import

    return linear_sum_assignment(profit, maximize=True)


def transport_plan(profit: np.ndarray, allowed: Callable[[float], float] | None = None) -> Plan:
    """Returns rows, columns and shares of the best transport between uniform weights.

    Weights are 1/d on the rows and 1/d' on the columns of profit: (d, d'). The vertices of the
    polytope are whole multiples of 1 / lcm(d, d'), so the plan is exact: by candidates that are
    proven where there are many pairs and the widths differ; else, or where the proof fails, by a
    one-to-one match of copies where few are needed, or by linear programming.

    Args:
        profit: of each pair.
        allowed: takes the profit of a plan and returns what it may lack of the largest one; by
            default 10⁻¹² of the largest entry.

    Raises:
        MetricError: the solver of the linear programme gave up.
    """
    d, width = profit.shape
    copies = math.lcm(d, width)
    per_row, per_column = copies // d, copies // width
    if d != width and profit.size >= MANY:
        if allowed is None:
            rounding = 1e-12 * float(np.abs(profit).max())
            allowed = lambda _: rounding  # noqa: E731
        plan = _plan_of_candidates(profit, per_row, per_column, allowed)
        if plan is not None:
            return plan
    if copies <= 4 * max(d, width):
        rows, columns = best_match(np.repeat(np.repeat(profit, per_row, 0), per_column, 1))
        return rows // per_row, columns // per_column, np.full(copies, 1 / copies)
    largest = float(np.abs(profit).max()) or 1.0
    rows, columns = (place.ravel() for place in np.indices(profit.shape))
    found = _linear_programme(-profit.ravel() / largest, rows, columns, (per_row, per_column))
    if found.counts is None:
        raise MetricError(f"the transport between {d} and {width} units failed: {found.message}")
    return _shares(found.counts, rows, columns)


def _plan_of_candidates(
    profit: np.ndarray, per_row: int, per_column: int, allowed: Callable[[float], float]
) -> Plan | None:
    """Returns a plan that lacks no more than is allowed, or None."""
    cost = _reduced(-profit)
    largest = float(cost.max())
    if not largest > 0 or not np.isfinite(largest):
        return None
    cost /= largest
    wanted = CANDIDATES * max(cost.shape)
    chosen = _lowest(cost, wanted)
    chosen[_staircase(*cost.shape, per_row, per_column)] = True  # so that there is a plan
    for _ in range(ROUNDS):
        rows, columns = np.nonzero(chosen)
        found = _linear_programme(cost[rows, columns], rows, columns, (per_row, per_column))
        if found.counts is None:
            return None
        left = cost - found.prices[1]
        row_prices = left.min(axis=1)  # no price of a pair is above its cost with these
        copies = per_row * len(cost)
        least = per_row * row_prices.sum() + per_column * found.prices[1].sum()
        gap = largest * (found.counts @ cost[rows, columns] - least) / copies
        plan = _shares(found.counts, rows, columns)
        if gap <= allowed(float(plan[2] @ profit[plan[0], plan[1]])):
            return plan
        left -= found.prices[0][:, None]
        left[chosen] = 0
        if not (left < 0).any():
            return None
        left[chosen] = np.inf
        chosen |= _lowest(left, wanted)
    return None


def _lowest(values: np.ndarray, count: int) -> np.ndarray:
    """Returns where the lowest values are, about so many; of equal ones some at random."""
    if count >= values.size:
        return np.ones(values.shape, dtype=bool)
    last = np.partition(values.ravel(), count)[count]
    found = values <= last
    if np.count_nonzero(found) > 2 * count:  # many are equal to the last one
        places = np.flatnonzero(values == last)
        found = values < last
        found.ravel()[np.random.default_rng(0).choice(places, count, replace=False)] = True
    return found


def _staircase(d: int, width: int, per_row: int, per_column: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pairs of a plan that fills rows and columns in their order."""
    ends = np.union1d(per_row * np.arange(d), per_column * np.arange(width))
    return ends // per_row, ends // per_column


def _reduced(cost: np.ndarray) -> np.ndarray:
    """Returns cost: (d, d') less rough prices: at least 0, and 0 somewhere in each row and column.

    Prices of rows and columns change the cost of every plan by the same.
    """
    cost = cost - cost.min(axis=1, keepdims=True)
    cost -= cost.min(axis=0)
    prices = _rough_prices(cost)
    cost -= prices
    cost -= cost.min(axis=1, keepdims=True)
    cost -= cost.min(axis=0)
    return cost


def _rough_prices(cost: np.ndarray) -> np.ndarray:
    """Returns prices (d',) of the columns by the iteration of Sinkhorn, in float32 (Cuturi 2013).

    They need not be good: what is made of them is proven.
    """
    with np.errstate(over="ignore"):
        spread = float(cost.std())
    if not 0 < spread < np.inf:
        return np.zeros(cost.shape[1])
    single = (cost / spread).astype(np.float32)
    d, width = cost.shape
    u, v = np.zeros((d, 1), np.float32), np.zeros(width, np.float32)
    with np.errstate(all="ignore"):
        for step in map(np.float32, STEPS):
            kernel = np.exp((u + v - single) / step)
            kernel[kernel < VANISHING] = 0
            b = np.ones(width, np.float32)
            for _ in range(TURNS):
                a = np.float32(1 / d) / (kernel @ b)
                b = np.float32(1 / width) / (a @ kernel)
            u, v = u + step * np.log(a)[:, None], v + step * np.log(b)
    return spread * v.astype(float) if np.isfinite(v).all() else np.zeros(width)


class Solved(NamedTuple):
    """What a linear programme gave."""

    counts: np.ndarray | None
    """(k,) whole numbers; None: it failed."""
    prices: tuple[np.ndarray, np.ndarray]
    """Of rows and columns."""
    message: str


def _linear_programme(
    cost: np.ndarray, rows: np.ndarray, columns: np.ndarray, sums: tuple[int, int]
) -> Solved:
    """Returns the whole-number plan with the given row and column sums and the least cost.

    Args:
        cost: (k,) of the pairs that there are.
        rows: (k,) of each.
        columns: (k,) of each.
        sums: of each row, and of each column.
    """
    from scipy import sparse  # noqa: PLC0415 - slow to import
    from scipy.optimize import linprog  # noqa: PLC0415 - as above

    d, width, count = rows.max() + 1, columns.max() + 1, len(cost)
    places = np.concatenate([rows, d + columns]), np.tile(np.arange(count), 2)
    matrix = sparse.csr_array((np.ones(2 * count), places), shape=(d + width, count))
    wanted = np.repeat(sums, [d, width])
    options = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    # one of the d + d' sums follows from the others
    done = linprog(cost, A_eq=matrix[:-1], b_eq=wanted[:-1], method="highs-ds", options=options)
    counts = np.zeros(count) if done.x is None else np.rint(done.x)
    prices = np.zeros(d + width)
    if done.status != 0 or (matrix @ counts != wanted).any():
        return Solved(None, (prices[:d], prices[d:]), done.message)
    prices[:-1] = done.eqlin.marginals
    return Solved(counts, (prices[:d], prices[d:]), done.message)


def _shares(counts: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Plan:
    kept = counts > 0
    return rows[kept], columns[kept], counts[kept] / counts.sum()
