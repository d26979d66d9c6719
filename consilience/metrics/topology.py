"""Persistent homology of the point cloud."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from consilience.errors import ConfigError, MetricError
from consilience.forms.kernels import power_of_two_scale
from consilience.metrics import Metric, metric
from consilience.metrics._checks import check_counts, check_least, import_package
from consilience.metrics._radius import by_radius

FIRST = 0.4
"""Share of the ranks of distances up to which the filtration of a first trial is looked at."""
FARTHER = 1.1
"""Times where the last bar of a trial ended: as far as the next one is looked at first."""


class Subsamples(NamedTuple):
    """What RTD needs of one side."""

    distances: tuple[np.ndarray, ...]
    """For each trial the scaled distances of its rows, one per pair of rows."""
    x: np.ndarray | None
    """The features, where there are more rows than a trial takes."""
    order: np.ndarray | None
    """Where the rows of x stand, then."""


@metric(
    "rtd",
    symmetric=True,
    bounds=(0.0, np.inf),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=False,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling", "translation"},
    citation="barannikov2022",
)
@dataclass(frozen=True)
class RTD(Metric):
    """Representation topology divergence: how long clusters and loops of the sides differ.

    D and D' are the Euclidean distances within each side over their 0.9 quantile (of all m²
    entries). One direction is the total length of the H₁ bars of the Vietoris-Rips filtration of
    2m points with distances [[0, D], [D, min(D, D')]]; the value is the mean of both directions
    and of all trials (Barannikov et al. 2022). Each trial takes `batch` rows at random, the same
    of both sides; with n ≤ batch it takes all, so that one trial is all and the value is exact.

    As in the ReSi benchmark but for three points: rows are drawn from a seed; distances below
    10⁻⁶ of their mean are not set to 0; and `ripser`, whose arithmetic is float32, sees the ranks
    of the distances, which decide all bars, so that the value has float64 precision.

    The value grows with the number of rows in a trial: compare only values of equal n or batch.
    Independent Gaussian features of 64 units score about 9 at 200 rows.

    Cost: trials · batch² d per model; per pair trials · m³ at least, about 0.2 s for 200 rows and
    4 s for 500, most of it in `ripser`, which sees 2m points up to where the bars of the trial
    before ended, or all of the filtration where bars go on or may begin beyond. Memory: 4 batch²
    bytes per trial and model, and the features if n > batch.

    Args:
        batch: rows of a trial, at most 4,096.
        trials: draws of rows; one if n ≤ batch.
        seed: of the draws.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(RTD()(x, x + np.roll(x, 1, axis=0)), 4)
        1.7608
    """

    batch: int = 500
    trials: int = 10
    seed: int = 0

    def check(self) -> None:
        """Raises ConfigError if a count is not a whole number or too large."""
        check_counts(self, "batch", least=3)
        check_counts(self, "trials")
        check_counts(self, "seed", least=0)
        if self.batch > 4096:  # ripser's float32 counts no further than 2²⁴ ranks
            raise ConfigError(f"metric 'rtd': batch cannot be {self.batch!r}; use at most 4096")

    def prepare(self, x: np.ndarray) -> Subsamples:
        """Returns the scaled distances of all trials for x: (n, d)."""
        import_package("ripser", "rtd")
        check_least(self, x, 3)
        return self._draw(power_of_two_scale(x), np.arange(len(x)))

    def _draw(self, x: np.ndarray, order: np.ndarray) -> Subsamples:
        n = len(x)
        if n <= self.batch:
            return Subsamples((_scaled_distances(x[order]),), None, None)
        rng = np.random.default_rng(self.seed)
        rows = [rng.choice(n, self.batch, replace=False) for _ in range(self.trials)]
        return Subsamples(tuple(_scaled_distances(x[order[drawn]]) for drawn in rows), x, order)

    def compare(self, a: Subsamples, b: Subsamples) -> float:
        """Returns the mean total length of bars over trials and directions."""
        forth, back, totals = FIRST, FIRST, []
        for d, e in zip(a.distances, b.distances, strict=True):
            there, last = _bars(d, e, forth)
            forth = min(1.0, FARTHER * last)
            again, last = _bars(e, d, back)
            back = min(1.0, FARTHER * last)
            totals.append((there + again) / 2)
        return float(np.mean(totals))

    def permuted(self, a: Subsamples, order: np.ndarray) -> Subsamples:
        """Returns the trials of the permuted samples.

        Trials take the same places, where other samples stand now; these need new distances.
        """
        if a.x is not None:
            return self._draw(a.x, a.order[order])
        from scipy.spatial.distance import squareform  # noqa: PLC0415 - slow to import

        square = squareform(a.distances[0])[np.ix_(order, order)]
        return Subsamples((squareform(square, checks=False),), None, None)

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of the distances, and of the features where trials are drawn."""
        if n <= self.batch:
            return 4 * n * n
        return 4 * self.trials * self.batch**2 + 8 * n * (d + 1)


def _scaled_distances(x: np.ndarray) -> np.ndarray:
    """Returns the distances of all pairs of rows of x: (m, d) over their 0.9 quantile."""
    from scipy.spatial.distance import pdist  # noqa: PLC0415 - slow to import

    distances = pdist(x)  # by differences, so that equal rows are exactly 0 apart
    full = np.concatenate([distances, distances, np.zeros(len(x))])
    quantile = np.quantile(full, 0.9)
    if quantile == 0:
        raise MetricError(
            f"the 0.9 quantile of the distances between {len(x)} samples is 0, so they have no "
            "scale: too many samples have the same vector"
        )
    return distances / quantile


def _bars(distances: np.ndarray, others: np.ndarray, reach: float = 1.0) -> tuple[float, float]:
    """Returns the total length of bars of one direction, and where the last one ends.

    Args:
        distances: (m (m - 1) / 2,) of all pairs of rows.
        others: of the other side.
        reach: share of the ranks of all distances up to which the filtration is looked at first,
            which is enough if all bars have ended there and none begins later.
    """
    from scipy.spatial.distance import squareform  # noqa: PLC0415 - slow to import

    lower = np.minimum(distances, others)
    values, ranks = np.unique(np.concatenate([[0.0], distances, lower]), return_inverse=True)
    first, second = (squareform(half.astype(np.float32)) for half in np.split(ranks[1:], 2))
    joint = np.block([[np.zeros_like(first), first], [first, second]])
    limit = int(reach * len(values))
    found = None
    if limit < len(values) - 1 and not _may_begin(first, second, limit):
        found = _diagram(joint, float(limit))
    if found is None or not np.isfinite(found).all():
        found = _diagram(joint, np.inf)
    born, died = found.T.astype(np.int64)
    return float(np.sum(values[died] - values[born])), float(died.max(initial=0) / len(values))


def _diagram(joint: np.ndarray, limit: float) -> np.ndarray:
    """Returns where the loops of distances (2m, 2m) begin and end, (bars, 2), up to a limit."""
    ripser = import_package("ripser", "rtd").ripser
    return ripser(joint, maxdim=1, distance_matrix=True, thresh=limit)["dgms"][1]


def _may_begin(first: np.ndarray, second: np.ndarray, limit: int) -> bool:
    """Whether a loop may begin beyond a limit, of ranks D: (m, m) and min(D, D'): (m, m).

    An edge makes a loop only if its ends have no common neighbour when it comes. With a copy p of
    each point q, at 0 from each other, edges between the two have one, and so have those of two q
    that are as long as D says. For the others it is looked for among the q.
    """
    late = (second > limit) & (second < first)
    near = (second <= limit).astype(np.float32)
    late &= near @ near == 0
    for i in np.flatnonzero(late.any(axis=1)):
        ends = np.flatnonzero(late[i])
        nearest = np.maximum(second[i], second[ends]).min(axis=1)
        if not (nearest < second[i, ends]).all():
            return True
    return False


@metric(
    "geometry_score",
    symmetric=True,
    bounds=(0.0, np.inf),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=False,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling", "translation"},
    citation="khrulkov2018",
    paired=False,
)
@dataclass(frozen=True)
class GeometryScore(Metric):
    """Geometry score: Σᵢ (r(i) - r'(i))² of the mean relative living times r(i) of i loops.

    A trial draws landmarks among the samples and builds their witness complex, up to triangles,
    all samples being witnesses, for relaxations up to α = gamma · (largest distance between a
    sample and a landmark); r(i) is the share of [0, α] with exactly i loops (H₁), over all trials
    (Khrulkov and Oseledets 2018). Independent features of equal distribution score near 0: the
    value compares the two clouds, not their samples. Noise of the draws adds about 1 / trials.

    As in the authors' code, distances enter unsquared; unlike there, draws are seeded, both sides
    draw the same places in an order of the samples that depends on the features only, and a
    landmark is drawn once (set `replacement` for theirs; all samples are landmarks if n is not
    above their number). Few loops form, and values are near 0, unless there are several samples
    per landmark. The ReSi benchmark takes 1,000 trials.

    Cost: n²d, and about 2 ms (n = 200) to 15 ms (n = 1,000) per trial, per model; nothing per
    pair. Memory: 12n² bytes while preparing, 8 i_max per model.

    Args:
        landmarks: of each trial.
        trials: draws of landmarks.
        gamma: largest relaxation; `auto` is n / (128 · 5000), the authors' rule.
        i_max: numbers of loops told apart; i_max or more are left out.
        replacement: whether a sample may be drawn twice in a trial.
        seed: of the draws.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(GeometryScore(landmarks=8, gamma=0.2)(x, x + np.roll(x, 1, axis=0)), 4)
        0.0311
    """

    landmarks: int = 64
    trials: int = 100
    gamma: float | Literal["auto"] = "auto"
    i_max: int = 100
    replacement: bool = False
    seed: int = 0

    def check(self) -> None:
        """Raises ConfigError if a count is not a whole number or gamma not positive."""
        check_counts(self, "landmarks", least=3)
        check_counts(self, "trials", "i_max")
        check_counts(self, "seed", least=0)
        number = isinstance(self.gamma, int | float) and not isinstance(self.gamma, bool)
        if self.gamma != "auto" and not (number and 0 < self.gamma < np.inf):
            raise ConfigError(
                f"metric 'geometry_score': gamma cannot be {self.gamma!r}; "
                "use a number above 0 or 'auto'"
            )

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Returns the mean relative living times (i_max,) of x: (n, d)."""
        from scipy.spatial.distance import pdist, squareform  # noqa: PLC0415 - slow to import

        import_package("gudhi", "geometry_score")
        check_least(self, x, 4)
        distances = squareform(pdist(by_radius(x)))
        n, rng = len(x), np.random.default_rng(self.seed)
        count = self.landmarks if self.replacement else min(self.landmarks, n)
        gamma = n / (128 * 5000) if self.gamma == "auto" else self.gamma
        trials = self.trials if self.replacement or count < n else 1
        total = np.zeros(self.i_max)
        for _ in range(trials):
            to_landmarks = distances[:, rng.choice(n, count, replace=self.replacement)]
            largest = gamma * to_landmarks.max()
            total += _living_times(_loops(to_landmarks, largest), largest, self.i_max)
        return total / trials

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Returns the squared distance of two vectors of living times."""
        return float(np.sum((a - b) ** 2))

    def permuted(self, a: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Returns a: the order of the samples plays no part."""
        return a

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of a vector of living times."""
        return 8 * self.i_max


def _loops(distances: np.ndarray, largest: float) -> np.ndarray:
    """Returns the H₁ intervals (bars, 2) of the witness complex of distances: (n, landmarks)."""
    gudhi = import_package("gudhi", "geometry_score")
    complex_ = gudhi.WitnessComplex(nearest_landmark_table=_landmark_table(distances, largest))
    tree = complex_.create_simplex_tree(max_alpha_square=largest, limit_dimension=2)
    tree.compute_persistence(homology_coeff_field=2)
    return np.asarray(tree.persistence_intervals_in_dimension(1)).reshape(-1, 2)


def _landmark_table(distances: np.ndarray, largest: float) -> list[list[tuple[int, float]]]:
    """Returns for each witness the landmarks that matter and their distances, nearest first.

    A simplex of up to three landmarks that omits one of the nearest three holds none farther than
    the third plus the largest relaxation; one landmark more tells where to stop.
    """
    third = np.partition(distances, 2, axis=1)[:, 2, None]
    width = int((distances <= third + largest).sum(axis=1).max()) + 1
    order = np.argsort(distances, axis=1, kind="stable")[:, :width]
    sorted_ = np.take_along_axis(distances, order, axis=1)
    return [
        list(zip(places, values, strict=True))
        for places, values in zip(order.tolist(), sorted_.tolist(), strict=True)
    ]


def _living_times(intervals: np.ndarray, largest: float, i_max: int) -> np.ndarray:
    """Returns the share of [0, largest] during which exactly i intervals live, i < i_max."""
    born, died = np.minimum(intervals, largest).T  # loops that never close live to the end
    ends = np.unique(np.concatenate([[0.0, largest], born, died]))
    starts, lengths = ends[:-1], np.diff(ends) / largest
    alive = np.searchsorted(np.sort(born), starts, "right")
    alive -= np.searchsorted(np.sort(died), starts, "right")
    return np.bincount(alive, lengths, minlength=i_max)[:i_max]
