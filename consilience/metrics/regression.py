"""How well a linear map of one side predicts the other."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from consilience.errors import ConfigError, MetricError
from consilience.forms.kernels import check_varies, ranked_svd, twice_centered
from consilience.metrics import Facts, Metric, metric

Side = tuple[np.ndarray, np.ndarray, np.ndarray]


@metric(
    "linear_regression",
    symmetric=False,
    bounds=(0.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling", "translation"},
    citation="kornblith2019",
)
@dataclass(frozen=True)
class LinearRegression(Metric):
    r"""R² of the least-squares prediction of all units of one side from the other's, in sample.

    R² = ‖U'ᵀX‖² / ‖X‖² for centred X and the left singular vectors U' of the centred predictor,
    at its numerical rank (Kornblith et al. 2019, ReSi). Dead or repeated units of the predictor
    change nothing; nor does any invertible linear map of it. With ridge weight α the fitted
    values are Σⱼ gⱼ u'ⱼ u'ⱼᵀX, gⱼ = pⱼ / (pⱼ + α), where pⱼ is the share of the predictor's
    variance along its j-th principal component; so α does not depend on the scale of the
    features, and a predictor of r equal components is shrunk by half at α = 1 / r.

    Without ridge, independent features score r' / (n - 1) on average for a predictor of rank r',
    and all score 1 at r' = n - 1, as with n ≤ d'.

    Cost: n d min(n, d) per model, n r r' per pair; memory 8 n r bytes per model.

    Args:
        direction: `y_to_x` predicts the first side from the second, as ReSi does; `x_to_y` the
            second from the first; `mean` is the mean of both.
        alpha: ridge weight in units of the total variance of the predictor, from 0.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(LinearRegression()(x, x + np.roll(x, 1, axis=0)), 4)
        0.5225
    """

    direction: Literal["y_to_x", "x_to_y", "mean"] = "y_to_x"
    alpha: float = 0.0

    def check(self) -> None:
        """Raises ConfigError if alpha is not a number from 0."""
        number = isinstance(self.alpha, int | float) and not isinstance(self.alpha, bool)
        if not number or not 0 <= self.alpha < np.inf:
            raise ConfigError(
                f"metric 'linear_regression': alpha cannot be {self.alpha!r}; use a number from 0"
            )

    @property
    def facts(self) -> Facts:
        """The facts: the mean of both directions is symmetric, ridge leaves a self error."""
        facts = self.class_facts
        if self.alpha > 0:
            facts = replace(facts, self_value=None)
        return replace(facts, symmetric=self.direction == "mean")

    def prepare(self, x: np.ndarray) -> Side:
        """Returns of x: (n, d) its left singular vectors (n, r), the shares (r,) of variance.

        Third come the weights (r,) of the squared projections that it explains as a predictor.
        """
        u, s = _centered_svd(x)
        shares = (s / np.linalg.norm(s)) ** 2
        shrunk = shares / (shares + self.alpha)
        return u, shares, shrunk * (2 - shrunk)  # 1 - (1 - g)²: what a shrunk fit explains

    def compare(self, a: Side, b: Side) -> float:
        """Returns the share of variance explained."""
        squares = np.square(a[0].T @ b[0])
        explained = []
        if self.direction != "x_to_y":
            explained.append(a[1] @ squares @ b[2])
        if self.direction != "y_to_x":
            explained.append(a[2] @ squares @ b[1])
        return min(1.0, float(np.mean(explained)))  # at most 1, so that anything above is rounding

    def permuted(self, a: Side, order: np.ndarray) -> Side:
        """Returns the form of the permuted samples; the variances stay."""
        return a[0][order], a[1], a[2]

    def work_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of the features and of what a singular value decomposition takes."""
        return 60 * n * d

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of the left singular vectors and two weights each."""
        return 8 * (n + 2) * min(n, d)


def _centered_svd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns U: (n, r) and s: (r,) of the centred x: (n, d) at its numerical rank."""
    if len(x) < 3:
        raise MetricError(f"a regression needs at least 3 samples, not {len(x)}")
    check_varies(x)
    return ranked_svd(twice_centered(x), "predict", x)[:2]
