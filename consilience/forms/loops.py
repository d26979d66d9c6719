"""The diagonal's part of the third moment: how edges aᵢⱼ and loops pᵢ of a statistic can meet.

The third moment of S + D, S = Σ aᵢⱼ b_π(i)π(j) and D = Σ pᵢ q_π(i), holds 3 S²D, 3 SD² and D³. Each
is a sum over the ways in which its edges and loops share samples: for each the sum of a over
distinct samples, times that of b, over the number of such samples.
"""

import numpy as np

LOOP_WAYS = (6, 6, 12, 3, 3, 1, 3, 1, 12, 6, 12, 24, 12, 12, 3)
"""How often each sum of `loop_meetings` occurs in the third moment."""
LOOP_VERTICES = (2, 2, 3, 3, 4, 1, 2, 3, 2, 3, 3, 3, 4, 4, 5)
"""How many distinct samples it runs over."""


def loop_meetings(a: np.ndarray, r: np.ndarray, q: np.ndarray, p: np.ndarray) -> tuple[float, ...]:
    """Returns the sums over distinct samples of the ways in which loops p meet each other and a.

    In order. One edge, two loops: both on one end; on both ends; on one end and elsewhere; both on
    one sample elsewhere; on two elsewhere. Three loops: on one sample, on two, on three. Two edges,
    one loop: double edge with the loop on it; elsewhere; path of two with the loop in its middle;
    on an end; elsewhere; two edges apart with the loop on one of them; elsewhere.

    Args:
        a: (n, n) symmetric and hollow, with sum 0.
        r: its row sums (n,).
        q: its row sums of squares (n,).
        p: (n,) with sum 0.

    Cost: two products of a with a vector.
    """
    ap = a @ p
    end, both, cube = float(r @ p**2), float(p @ ap), float((p**3).sum())
    double, middle, path = float(q @ p), float(p @ r**2), float(ap @ r)
    middle -= double
    path -= double
    apart = -2 * (middle + path + double)
    return (
        *(end, both, -end - both, -2 * end, 4 * end + 2 * both),
        *(cube, -cube, 2 * cube),
        *(double, -2 * double, middle, path, -middle - 2 * path, apart, -4 * apart),
    )
