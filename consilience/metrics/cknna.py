"""Centred kernel alignment over nearest neighbours."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from consilience.errors import ConfigError, MetricError
from consilience.forms.groups import Between
from consilience.forms.kernels import (
    check_sigma,
    check_units,
    check_varies,
    lower_median,
    power_of_two_scale,
    squared_distances,
)
from consilience.forms.nearness import row_products
from consilience.forms.neighbors import (
    FAST_SAMPLES,
    check_k,
    checked_count,
    count_of,
    fast_neighbors,
    local_neighbors,
    ranks_in,
)
from consilience.forms.rows import Rows
from consilience.forms.ties import (
    Neighbors,
    arrays_of,
    bordered,
    of_arrays,
    permuted,
    places_of,
    same_features,
    tied_pairs,
    tied_share,
    weights_of,
)
from consilience.metrics import Facts, Metric, metric


class LocalKernel(NamedTuple):
    """A kernel matrix where one sample is among the nearest neighbours of another, else zero."""

    neighbors: Neighbors
    """The k neighbours of each sample."""
    values: np.ndarray
    """(n, k) kernel values of the sample with them; all that tie at the k-th have its value."""
    mutual: np.ndarray
    """(n, k) whether the sample is among their neighbours too."""
    hsic: float
    """The dependence of the matrix on itself."""
    groups: np.ndarray | None = None
    """(n,) of the samples; those of one are no neighbours of each other."""


@metric(
    "cknna",
    symmetric=True,
    bounds=(-np.inf, np.inf),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling"},
    citation="huh2024",
)
@dataclass(frozen=True)
class CKNNA(Metric):
    r"""Centred kernel nearest-neighbour alignment: CKA on common nearest neighbours only.

    HSIC(A, B) / sqrt(HSIC(K', K') HSIC(L', L')), with K'ᵢⱼ = k(xᵢ, xⱼ) if j is among the k
    nearest neighbours of i in x and else 0, L' likewise in y, and A and B the kernels where j is a
    neighbour of i in both. Nearest is the largest inner product (`linear`) or the smallest
    Euclidean distance (`rbf`), exp(-‖x - x'‖² / 2σ²). The masked matrices A and B are not
    symmetric. With row sums r, column sums c, totals s and t = Σᵢⱼ Aᵢⱼ Bⱼᵢ (only pairs that are
    neighbours both ways add to it), HSIC is
    (t + s s'/((n-1)(n-2)) - (c·r' + c'·r)/(n-2)) / (n(n-3)) for `debiased`, as of Song et al.
    (2012), and t - (c·r' + c'·r)/n + s s'/n² = tr(AHBH) for `biased`.

    The code of Huh et al. (2024) takes 2 c·r' for c·r' + c'·r in the debiased estimator, so that
    its value depends on the order of x and y (by about 1e-5), and adds 1e-6 to the denominator, so
    that it depends on the scale of the features. `order: xy` with `epsilon: 1.0e-6` gives its
    values. As there, `biased` lets a sample be its own neighbour if it is among the k nearest, and
    `debiased` does not. So debiased CKNNA with k = n - 1 is debiased CKA, and biased CKNNA with
    k = n is biased CKA. Values have no fixed bounds: HSIC(A, B) is not an inner product of what the
    denominator norms. Independent features score about k / n (`debiased`), but 0.5 to 0.8 with
    `biased`, where most of what is compared is the diagonal.
    Where samples tie for the last places, each of them is a neighbour with the weight (places left)
    / (number tied): K' and L' are multiplied by the weights of their side, A and B by those of
    both; the same features score 1 with themselves.
    Inner products are not centred, as there, so that large means decide which rows are near and
    leave little of the value (means of 10 times the spread take 0.445 to 0.028): centre first.

    Cost: n²d per model, n k per pair; memory 13 n k bytes per model.

    Args:
        k: number of neighbours, or a share of the samples if it lies between 0 and 1.
        kernel: `linear` or `rbf`.
        sigma: absolute width of the rbf kernel, or `median`: σ² is the lower median of the
            non-zero squared distances of each side on its own.
        estimator: `debiased` (needs n ≥ 4) or `biased`.
        order: `both` (symmetric) or `xy`: c·r' with the columns of x and the rows of y.
        epsilon: constant added to the denominator, in units of the HSIC.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(CKNNA(k=3)(x, x + np.roll(x, 1, axis=0)), 4)
        0.5575
    """

    k: int | float = 10
    kernel: Literal["linear", "rbf"] = "linear"
    sigma: float | Literal["median"] = "median"
    estimator: Literal["biased", "debiased"] = "debiased"
    order: Literal["both", "xy"] = "both"
    epsilon: float = 0.0

    def check(self) -> None:
        """Raises ConfigError if k, sigma or epsilon make no sense."""
        check_k(self.k, "cknna")
        check_sigma(self.sigma, "cknna")
        if not (_is_number(self.epsilon) and 0 <= self.epsilon < np.inf):
            raise ConfigError(
                f"metric 'cknna': epsilon cannot be {self.epsilon!r}; use 0, or a small number "
                "above it to repeat published values"
            )

    @property
    def facts(self) -> Facts:
        """The facts: distances ignore translations; absolute widths and constants see the scale."""
        facts = self.class_facts
        invariant_to = set(facts.invariant_to)
        if self.kernel == "rbf":
            invariant_to.add("translation")
        if not self._scale_free:
            invariant_to.remove("isotropic_scaling")
        return replace(
            facts,
            invariant_to=frozenset(invariant_to),
            symmetric=self.order == "both" or self.estimator == "biased",
            self_value=None if self.epsilon else 1.0,
        )

    @property
    def _scale_free(self) -> bool:
        if self.kernel == "rbf":
            return self.sigma == "median"
        return self.epsilon == 0

    @property
    def _own(self) -> bool:
        """Whether a sample may be its own neighbour."""
        return self.estimator == "biased"

    @property
    def leaves_out(self) -> bool:
        """Whether pairs within a group are left out: as pairs of a sample with itself are."""
        return not self._own

    def prepare(self, x: np.ndarray, groups: np.ndarray | None = None) -> LocalKernel:
        """Returns the kernel of x: (n, d) at the nearest neighbours."""
        n, k = len(x), checked_count(self.k, len(x), own=self._own)
        if self.estimator == "debiased":
            check_units("debiased CKNNA", 4, n, groups)
        check_varies(x)
        found, values = self._local(power_of_two_scale(x) if self._scale_free else x, k, groups)
        codes = found.lists + n * np.arange(n)[:, None]
        mutual = np.isin(found.lists.astype(np.int64) * n + np.arange(n)[:, None], codes)
        local = LocalKernel(found, values, mutual, 0.0, groups)
        with np.errstate(over="ignore", invalid="ignore"):
            hsic, size = self._hsic_of_pair(local, local)
        if not np.isfinite(hsic):
            raise MetricError("kernel values overflow; scale the features to moderate size")
        if not hsic > 1e-13 * size:
            raise MetricError(
                f"the kernel over k = {k} neighbours has no variance left (HSIC {hsic:.3g}); "
                "use more neighbours, or a wider kernel where it is rbf"
            )
        return local._replace(hsic=hsic)

    def _local(
        self, x: np.ndarray, k: int, groups: np.ndarray | None
    ) -> tuple[Neighbors, np.ndarray]:
        """Returns the neighbours of x: (n, d) and the kernel values (n, k) there."""
        if self.kernel == "linear" and len(x) >= FAST_SAMPLES and not self._own:
            found = fast_neighbors(x, k, "inner_product", groups=groups)
            rows = np.repeat(np.arange(len(x)), k)
            values = row_products(Rows(x), rows, found.lists.ravel())
            return found, values.reshape(found.lists.shape)
        if self.kernel == "linear":
            return local_neighbors(x, k, "inner_product", own=self._own, groups=groups)
        distances = squared_distances(x)
        variance = lower_median(distances) if self.sigma == "median" else float(self.sigma) ** 2
        # by distance, not by kernel value, which may be 0 for all that are far
        given = {"own": self._own, "groups": groups}
        found, _ = local_neighbors(x, k, "euclidean", squared=distances, **given)
        near = np.take_along_axis(distances, found.lists, axis=1)
        return found, np.exp(near * (-0.5 / variance))

    def compare(self, a: LocalKernel, b: LocalKernel) -> float:
        """Returns the alignment on the neighbours that both sides have."""
        if same_features(a.neighbors, b.neighbors):
            hsic = a.hsic
        else:
            hsic, _ = self._hsic_of_pair(a, b)
        return float(hsic / (np.sqrt(a.hsic) * np.sqrt(b.hsic) + self.epsilon))

    def _hsic_of_pair(self, a: LocalKernel, b: LocalKernel) -> tuple[float, float]:
        """Returns the HSIC of both kernels on common neighbours, and its largest term."""
        if bordered(a.neighbors) or bordered(b.neighbors):
            return self._hsic(len(a.values), *_common_entries(a, b), groups=a.groups)
        lists = a.neighbors.lists
        places = ranks_in(lists, b.neighbors.lists)
        common, places = places > 0, np.maximum(places - 1, 0)
        values = np.take_along_axis(b.values, places, axis=1) * common
        mutual = common & a.mutual & np.take_along_axis(b.mutual, places, axis=1)
        own = a.values * common
        trace = np.sum(own * values, where=mutual)
        sums = _sums(lists, own), _sums(lists, values)
        return self._hsic(len(lists), trace, *sums, groups=a.groups)

    def _hsic(
        self,
        n: int,
        trace: float,
        sums_a: tuple[np.ndarray, np.ndarray],
        sums_b: tuple[np.ndarray, np.ndarray],
        groups: np.ndarray | None,
    ) -> tuple[float, float]:
        """Returns the HSIC of two matrices (n, n) from t and their row and column sums (n,).

        The second number is the size of its largest term, which rounding goes with.
        """
        (rows_a, columns_a), (rows_b, columns_b) = sums_a, sums_b
        totals = rows_a.sum() * rows_b.sum()
        cross = columns_a @ rows_b
        if self.estimator == "biased":
            terms = trace, -(cross + columns_b @ rows_a) / n, totals / n**2
            return float(sum(terms)), float(np.abs(terms).max())
        if groups is not None:
            between = Between(groups)
            fit_a, fit_b = between.fit(rows_a), between.fit(rows_b)
            other = columns_b @ fit_a if self.order == "both" else columns_a @ fit_b
            terms = np.array([trace, -(columns_a @ fit_b) - other]) / between.freedom
            return float(terms.sum()), float(np.abs(terms).max())
        if self.order == "both":
            cross = (cross + columns_b @ rows_a) / 2
        terms = np.array([trace, -2 * cross / (n - 2), totals / ((n - 1) * (n - 2))])
        terms /= n * (n - 3)
        return float(terms.sum()), float(np.abs(terms).max())

    @property
    def keeps_forms(self) -> bool:
        """Whether local kernels are kept between runs: they are small and cost all products."""
        return True

    def pack(self, a: LocalKernel) -> dict[str, np.ndarray]:
        """Returns lists, values, which are mutual, the HSIC with itself, and groups if any."""
        own = {"values": a.values, "mutual": a.mutual, "hsic": np.array([a.hsic])}
        own |= {} if a.groups is None else {"groups": a.groups}
        return {**arrays_of(a.neighbors), **own}

    def unpack(self, arrays: dict[str, np.ndarray]) -> LocalKernel:
        """Returns the local kernel."""
        own = arrays["values"], arrays["mutual"], float(arrays["hsic"][0])
        return LocalKernel(of_arrays(arrays), *own, arrays.get("groups"))

    def permuted(self, a: LocalKernel, order: np.ndarray) -> LocalKernel:
        """Returns the kernel of the permuted samples."""
        found = permuted(a.neighbors, order)
        return a._replace(neighbors=found, values=a.values[order], mutual=a.mutual[order])

    def ties(self, a: LocalKernel) -> float:
        """Returns the share of samples with others as near as the k-th neighbour, beyond the k."""
        return tied_share(a.neighbors)

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns 13 bytes per neighbour: index, kernel value and whether it is mutual."""
        return 13 * n * count_of(self.k, n)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sums(lists: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the row and column sums (n,) of the matrix with values (n, k) in listed columns."""
    columns = np.bincount(lists.ravel(), weights=values.ravel(), minlength=len(lists))
    return values.sum(axis=1), columns


def _common_entries(
    a: LocalKernel, b: LocalKernel
) -> tuple[float, tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Returns t and the row and column sums of both kernels, weighted, on common neighbours.

    A kernel on its own has its weights once, two kernels have the products of both sides'.
    """
    n, (codes, weights, own) = len(a.values), _entries(a)
    values = own
    if a is not b:
        others, other_weights, values = _entries(b)
        codes, at, of = np.intersect1d(codes, others, assume_unique=True, return_indices=True)
        weights, own, values = weights[at] * other_weights[of], own[at], values[of]
    own, values = own * weights, values * weights
    i, j = np.divmod(codes, n)
    back = np.minimum(np.searchsorted(codes, j * n + i), max(len(codes) - 1, 0))
    mutual = codes[back] == j * n + i
    trace = float(own[mutual] @ values[back[mutual]])
    sums_a, sums_b = (
        tuple(np.bincount(place, weights=entries, minlength=n) for place in (i, j))
        for entries in (own, values)
    )
    return trace, sums_a, sums_b


def _entries(a: LocalKernel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns sorted codes (row · n + neighbour) of all neighbours, their weights and kernel."""
    n, k = a.values.shape
    near, _ = places_of(a.neighbors)
    nearer = np.arange(k) < near[:, None]
    codes = [(a.neighbors.lists + n * np.arange(n)[:, None])[nearer]]
    weights, values = [np.ones(len(codes[0]))], [a.values[nearer]]
    shares = weights_of(a.neighbors)
    for i, j in tied_pairs(a.neighbors):
        codes.append(i * n + j)
        weights.append(shares[i])
        values.append(a.values[i, -1])
    order = np.argsort(joined := np.concatenate(codes))
    return joined[order], np.concatenate(weights)[order], np.concatenate(values)[order]
