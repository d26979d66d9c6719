"""Random draws of models that all dataset pairs and all model sets of a study share.

Values that are averaged or compared over dataset pairs, or over model sets, depend on each other
through the models (and datasets) they share. Resampling the same models everywhere keeps that.
"""

from collections.abc import Sequence

import numpy as np

from consilience.files import derive_seed
from consilience.pairs.correlations import Floats, Ints
from consilience.pairs.families import Clusters, family_relabellings

ARRIVALS = 16
"""Arrivals drawn per model: that one model fills more places has odds below 1e-13."""


class Draws:
    """Resamples and relabellings of models, from the study seed and the models' ids alone.

    Every model arrives at random times of its own (a Poisson process). The resample of a set of m
    models is its first m arrivals: each of them is any of the m models with equal probability,
    just as in drawing with replacement, and yet sets that share models share their arrivals.
    """

    def __init__(
        self,
        seed: int,
        replicates: int,
        permutations: int,
        clusters: Clusters | None = None,
    ) -> None:
        self.replicates = replicates
        self.permutations = permutations
        self.clusters = clusters or Clusters()
        self._seed = seed
        self._times: dict[str, Floats] = {}
        self._counts: dict[tuple[str, ...], Floats] = {}

    def counts(self, members: Sequence[tuple[str, ...]]) -> Floats:
        """Returns (m, b) how often each model is drawn, each side by itself; by family never."""
        if self.clusters:
            return np.empty((sum(map(len, members)), 0))
        return np.vstack([self._side(tuple(side)) for side in members])

    def labels(self, members: Sequence[tuple[str, ...]]) -> Ints:
        """Returns (m, 1 + permutations) labels, each side by itself; the first are the data.

        Families are swapped and relabelled within, see `families.family_relabellings`.
        """
        names = [model for side in members for model in (*side, "")]
        generator = np.random.default_rng(derive_seed(self._seed, "relabel", *names))
        codes = self.clusters.codes([model for side in members for model in side])
        sizes = tuple(map(len, members))
        return family_relabellings(codes, sizes, self.permutations, generator)

    def _side(self, models: tuple[str, ...]) -> Floats:
        if models not in self._counts:
            times = np.stack([self._arrivals(model) for model in models])
            flat = np.swapaxes(times, 0, 1).reshape(self.replicates, len(models) * ARRIVALS)
            last = np.partition(flat, len(models) - 1, axis=1)[:, len(models) - 1]
            self._counts[models] = (times <= last[None, :, None]).sum(axis=2).astype(float)
        return self._counts[models]

    def _arrivals(self, model: str) -> Floats:
        """Returns (b, ARRIVALS) times at which a model arrives in each replicate."""
        if model not in self._times:
            generator = np.random.default_rng(derive_seed(self._seed, "draw", model))
            gaps = generator.exponential(size=(self.replicates, ARRIVALS))
            self._times[model] = np.cumsum(gaps, axis=1)
        return self._times[model]
