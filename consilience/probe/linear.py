"""Linear probes: how well a linear classifier reads the labels off frozen features.

The classifier is multinomial logistic regression, solved to its unique optimum instead of trained
for some epochs, so that a probe has no learning rate and no luck: a seed only says which training
rows choose the penalty.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from consilience.errors import ConfigError, DataError
from consilience.files import derive_seed
from consilience.probe.descent import arrays_on
from consilience.probe.logistic import (
    LogisticFit,
    check_features,
    check_labels,
    check_penalty,
    principal_axes,
    solve_path,
)
from consilience.probe.scores import measure, top_accuracy

log = logging.getLogger(__name__)

FLOAT32_TOLERANCE = 2e-5
"""What float32 can promise about the objective, in nats."""
ROUNDING = 1e-12
"""Features whose spread is below this share of their size are constant but for rounding."""


@dataclass(frozen=True)
class ProbeSettings:
    """How a probe is fitted.

    The penalty grid is meant for the scale that `normalize_features` gives: at 1 the classifier is
    little better than the class frequencies, at 1e-7 it nearly maximises the margin.
    """

    penalties: tuple[float, ...] = tuple(10.0**exponent for exponent in range(-7, 1))
    """Strengths λ of which the validation rows choose one."""
    validation_share: float = 0.2
    """Share of each class's training rows that is held out to choose the penalty."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One validation split, and one row of results, per seed."""
    unit_rows: bool = True
    """Whether every row is first scaled to length 1, as is usual for pretrained features."""
    tolerance: float = 1e-6
    """Accepted distance from the optimal objective, in nats; see `fit_logistic`."""
    device: str = "cpu"
    """Where the fits are made: `cpu`, or a name that PyTorch knows, such as `cuda`."""
    dtype: str = "float64"
    """Precision of the fits, `float64` or `float32`; the latter reaches 2e-5 nats at best."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "penalties", tuple(sorted({float(p) for p in self.penalties})))
        object.__setattr__(self, "seeds", tuple(int(s) for s in self.seeds))
        if not self.penalties:
            raise ConfigError("probe: no penalties; give one or more numbers above 0")
        for penalty in self.penalties:
            check_penalty(penalty)
        if not 0 < self.validation_share < 1:
            raise ConfigError(
                f"probe: validation_share is {self.validation_share}; give a number between 0 and 1"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(
                f"probe: seeds are {list(self.seeds)}; give one or more, none of them twice"
            )
        if self.dtype not in ("float32", "float64"):
            raise ConfigError(f"probe: dtype is {self.dtype!r}; write float32 or float64")

    @property
    def reachable(self) -> float:
        """The tolerance, or what the precision can promise if that is more."""
        return max(self.tolerance, FLOAT32_TOLERANCE if self.dtype == "float32" else 0)


def normalize_features(
    features: np.ndarray, train: np.ndarray, *, unit_rows: bool = True
) -> np.ndarray:
    """Returns features (n, d) on a scale on which one penalty means the same for every model.

    Rows to length 1 (if `unit_rows`; rows of zeros stay), minus the mean of the training rows,
    divided by one number, the root mean square length of the centred training rows. Directions
    keep their relative variance: a probe that stretched the small ones would judge another
    representation. The mean only moves the free bias. Nothing is learnt from the test rows.
    """
    x = check_features(features)
    if unit_rows:
        lengths = np.linalg.norm(x, axis=1, keepdims=True)
        x = np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0)
    size = _root_mean_square_length(x[train])
    x = x - x[train].mean(axis=0)
    spread = _root_mean_square_length(x[train])
    if spread <= ROUNDING * size:
        log.warning("the features do not vary over the training rows: the probe can only guess")
        return np.zeros_like(x)
    return x / spread


def _root_mean_square_length(x: np.ndarray) -> float:
    return float(np.linalg.norm(x) / np.sqrt(len(x)))


def probe(
    features: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    settings: ProbeSettings | None = None,
    *,
    n_classes: int | None = None,
    salt: Sequence[str | int] = (),
    groups: np.ndarray | None = None,
) -> pd.DataFrame:
    """Returns the accuracy of a linear classifier of features, one row per seed.

    For each seed a stratified share of the training rows is held out; the penalty with the best
    top-1 accuracy on it is chosen (of equals the strongest), the classifier refitted on all
    training rows and measured on the test rows, which play no other part. The fit is exact, so
    seeds that choose the same penalty agree in everything but `val_top1`.

    Args:
        features: (n, d), one row per sample.
        labels: (n,) integers, 0 <= label < n_classes.
        train: (n,) booleans; the other rows are the test split.
        settings: penalties, seeds and so on.
        n_classes: number of classes; by default one more than the largest label.
        salt: what else the validation splits depend on, such as the study seed and the dataset.
        groups: (n,) see `consilience.forms.groups`; validation rows are whole groups then.

    Returns:
        Columns `seed, penalty, val_top1, top1, top5, balanced_accuracy, train_top1, objective,
        converged, iterations, n_train, n_test, n_classes, n_absent`. `top5` is missing unless
        there are more than 5 classes. `balanced_accuracy` is the mean recall of the classes that
        occur in the test split. `n_absent` counts classes without a training row: they are never
        predicted, and their test rows count as errors.

    Raises:
        ConfigError: the settings cannot be used.
        DataError: labels are missing or out of range, or a split is too small.
        FeaturesError: features are not a finite matrix.
    """
    settings = settings or ProbeSettings()
    features, train = check_features(features), np.asarray(train, dtype=bool)
    labels = check_labels(labels, len(features), n_classes)
    _check_split(labels, train)
    n_classes = n_classes or int(labels.max()) + 1
    if absent := sorted(set(labels[~train].tolist()) - set(labels[train].tolist())):
        log.warning("classes %s are tested but have no training rows: all errors", absent)
    return _fit_and_test(features, labels, train, ~train, settings, n_classes, salt, groups)


def few_shot(  # noqa: PLR0913 - as `probe`, and what is drawn
    features: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    shots: Sequence[int],
    draws: int = 5,
    settings: ProbeSettings | None = None,
    *,
    n_classes: int | None = None,
    salt: Sequence[str | int] = (),
    groups: np.ndarray | None = None,
) -> pd.DataFrame:
    """Returns the accuracy of a linear classifier that sees k training rows of each class.

    Several times, k rows of each class are drawn, and the classifier of `probe` is fitted to them
    as if the other training rows did not exist: they neither scale the features nor choose the
    penalty, which the share of the drawn rows that is held out does. With k = 1 nothing can be held
    out; the strongest penalty is taken, which comes close to the nearest class mean. Rows drawn for
    a smaller k are among those for a larger one.

    Args:
        features: (n, d), one row per sample.
        labels: (n,) integers, 0 <= label < n_classes.
        train: (n,) booleans; the other rows are the test split.
        shots: numbers k.
        draws: how often rows are drawn.
        settings: as for `probe`; its seeds are not used.
        n_classes: number of classes; by default one more than the largest label.
        salt: what else the draws depend on, such as the study seed and the dataset.
        groups: (n,) see `consilience.forms.groups`; the k rows of a class are of k groups then.

    Returns:
        The columns of `probe` after `k`, one row per k and draw; `seed` numbers the draws. A class
        with fewer than k training rows gives all it has.
    """
    settings = settings or ProbeSettings()
    features, train = check_features(features), np.asarray(train, dtype=bool)
    labels = check_labels(labels, len(features), n_classes)
    _check_split(labels, train, least=1)
    counts = np.bincount(labels[draw_shots(labels, train, len(labels), 0, groups)])
    tables = []
    for k in shots:
        if (counts[counts > 0] < k).any():
            what = "rows" if groups is None else "groups"
            log.warning("%d-shot: the smallest class has %d %s", k, counts[counts > 0].min(), what)
        for draw in range(draws):
            shot_seed = derive_seed(*salt, "few_shot", draw)
            drawn = draw_shots(labels, train, k, shot_seed, groups)
            table = _fit_and_test(
                features, labels, drawn, ~train, replace(settings, seeds=(draw,)),
                n_classes or int(labels.max()) + 1, (*salt, "few_shot", k),
            )  # fmt: skip
            tables.append(table.assign(k=k))
    return pd.concat(tables, ignore_index=True)[["k", *tables[0].columns[:-1]]]


def draw_shots(
    labels: np.ndarray, train: np.ndarray, k: int, seed: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """Returns booleans (n,): k training rows of each class, or all of a smaller class.

    Of groups (n,) one row each at most, since others would be no further shot.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[train[order]]
    if groups is not None:
        order = order[np.sort(np.unique(groups[order], return_index=True)[1])]
    drawn = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels[train]):
        drawn[order[labels[order] == label][:k]] = True
    return drawn


def _fit_and_test(
    features: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    settings: ProbeSettings,
    n_classes: int,
    salt: Sequence[str | int],
    groups: np.ndarray | None = None,
) -> pd.DataFrame:
    with threadpool_limits(1):
        x = normalize_features(features, train, unit_rows=settings.unit_rows)
        x = x @ principal_axes(x[train])
        own = None if groups is None else groups[train]
        trial = _Trial(x[train], labels[train], x[test], labels[test], n_classes, settings, own)
        return trial.run(salt)


@dataclass(frozen=True)
class _Trial:
    """Normalised features in their principal axes, parted into training and test rows."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    n_classes: int
    settings: ProbeSettings
    groups: np.ndarray | None = None
    """Of the training rows."""

    def run(self, salt: Sequence[str | int]) -> pd.DataFrame:
        """Returns one row per seed, from one pass over all penalties, seeds and the refit."""
        seeds = self.settings.seeds
        chosen = np.stack([self._held_out(derive_seed(*salt, "probe", seed)) for seed in seeds])
        rows = np.vstack([~chosen, np.ones((1, len(self.y_train)), dtype=bool)])
        best: list[tuple[float, float, LogisticFit] | None] = [None] * len(seeds)
        for penalty, (*fits, refit) in self._path(rows):
            for place, (held_out, fit) in enumerate(zip(chosen, fits, strict=True)):
                accuracy = self._accuracy(fit, held_out)
                so_far = best[place]
                # of equals the strongest penalty, which comes first
                if so_far is None or accuracy > so_far[1]:
                    best[place] = (penalty, accuracy, refit)
        measured: dict[float, dict[str, Any]] = {}
        table = []
        for seed, (penalty, accuracy, refit) in zip(seeds, best, strict=True):
            if penalty not in measured:
                measured[penalty] = self._scores(refit)
            row = {"seed": seed, "penalty": penalty, "val_top1": accuracy}
            table.append(row | measured[penalty])
        return pd.DataFrame(table)

    def _path(self, rows: np.ndarray) -> Iterator[tuple[float, list[LogisticFit]]]:
        """Yields (penalty, fits to all sets of rows) from the strongest penalty to the weakest."""
        penalties = sorted(self.settings.penalties, reverse=True)
        fits = solve_path(
            self.x_train, self.y_train, self.n_classes, penalties, self.settings.reachable,
            rows=rows, arrays=arrays_on(self.settings.device, self.settings.dtype),
        )  # fmt: skip
        return zip(penalties, fits, strict=True)

    def _held_out(self, seed: int) -> np.ndarray:
        share = self.settings.validation_share
        return split_validation(self.y_train, share, seed, self.groups)

    def _accuracy(self, fit: LogisticFit, held_out: np.ndarray) -> float:
        """Returns the accuracy on the validation rows; without any, nothing is better."""
        if not held_out.any():
            return np.nan
        return top_accuracy(fit.scores(self.x_train[held_out]), self.y_train[held_out], 1)

    def _scores(self, fit: LogisticFit) -> dict[str, Any]:
        """Returns the columns of a result that do not depend on the seed."""
        if not fit.converged:
            log.warning("a fit did not converge in %d iterations", fit.iterations)
        scores = fit.scores(self.x_test)
        return {
            **measure(scores, self.y_test),
            "train_top1": top_accuracy(fit.scores(self.x_train), self.y_train, 1),
            "objective": fit.objective,
            "converged": fit.converged,
            "iterations": fit.iterations,
            "n_train": len(self.y_train),
            "n_test": len(self.y_test),
            "n_classes": self.n_classes,
            "n_absent": self.n_classes - len(np.unique(self.y_train)),
        }


def split_validation(
    labels: np.ndarray, share: float, seed: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """Returns booleans (n,): the given share of each class, drawn at random, is True.

    Rounded per class, but at least one row and never all of a class; a class with a single row
    has none. Nothing but labels and seed matters: all models are tuned on the same rows.

    With groups (n,) the share is of each class's groups, which have the label of their first row.
    """
    if groups is not None:
        names, first = np.unique(groups, return_index=True)
        held_out = split_validation(labels[first], share, seed)
        return np.isin(groups, names[held_out])
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        held_out[rows[:count]] = True
    return held_out


def _check_split(labels: np.ndarray, train: np.ndarray, least: int = 2) -> None:
    """Raises DataError unless a classifier can be fitted, tuned and tested."""
    if train.shape != labels.shape or train.all():
        raise DataError(
            f"{int(train.sum())} of {len(labels)} rows are for training, so none is left to test "
            "on; give the dataset a test split or a `test_share`"
        )
    counts = np.bincount(labels[train])
    if (counts > 0).sum() < 2:
        raise DataError("the training rows are of fewer than two classes; a probe needs two")
    if counts.max() < least:
        raise DataError(
            "no class has two training rows, so none can be held out to choose the penalty; "
            "raise the dataset's cap"
        )
