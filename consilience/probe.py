"""Linear probes: how well a linear classifier reads the labels off frozen features.

The classifier is multinomial logistic regression, solved to its unique optimum instead of trained
for some epochs, so that a probe has no learning rate and no luck: a seed only says which training
rows choose the penalty.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from consilience.errors import ConfigError, DataError
from consilience.features import check_samples, read_header
from consilience.features.views import read_rows
from consilience.files import derive_seed, read_table, write_table
from consilience.logistic import (
    LogisticFit,
    check_features,
    check_labels,
    check_penalty,
    principal_axes,
    solve_path,
)
from consilience.samples import Samples, read_chain

log = logging.getLogger(__name__)

TOP = 5
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
    with threadpool_limits(1):
        x = normalize_features(features, train, unit_rows=settings.unit_rows)
        x = x @ principal_axes(x[train])
        trial = _Trial(x[train], labels[train], x[~train], labels[~train], n_classes, settings)
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

    def run(self, salt: Sequence[str | int]) -> pd.DataFrame:
        """Returns one row per seed."""
        seeds = self.settings.seeds
        choices = {seed: self._choose(derive_seed(*salt, "probe", seed)) for seed in seeds}
        measured = self._measure(min(penalty for penalty, _ in choices.values()))
        rows = [
            {"seed": seed, "penalty": penalty, "val_top1": accuracy, **measured[penalty]}
            for seed, (penalty, accuracy) in choices.items()
        ]
        return pd.DataFrame(rows)

    def _fits(self, x: np.ndarray, y: np.ndarray) -> Iterator[tuple[float, LogisticFit]]:
        """Yields (penalty, fit) from the strongest penalty to the weakest."""
        penalties = sorted(self.settings.penalties, reverse=True)
        fits = solve_path(x, y, self.n_classes, penalties, self.settings.tolerance)
        return zip(penalties, fits, strict=True)

    def _choose(self, seed: int) -> tuple[float, float]:
        """Returns the penalty that does best on the validation rows of a seed, and its accuracy."""
        held_out = split_validation(self.y_train, self.settings.validation_share, seed)
        x, y = self.x_train[held_out], self.y_train[held_out]
        best = 0.0, -1.0
        for penalty, fit in self._fits(self.x_train[~held_out], self.y_train[~held_out]):
            accuracy = top_accuracy(fit.scores(x), y, 1)
            if accuracy > best[1]:  # of equals the strongest penalty, which comes first
                best = penalty, accuracy
        return best

    def _measure(self, weakest: float) -> dict[float, dict[str, Any]]:
        """Returns what the fits on all training rows reach, by penalty, down to the weakest.

        The stronger ones are fitted on the way whether or not a seed chose them, so that no row
        depends on which other seeds are asked for.
        """
        measured = {}
        for penalty, fit in self._fits(self.x_train, self.y_train):
            measured[penalty] = self._scores(fit)
            if penalty == weakest:
                break
        return measured

    def _scores(self, fit: LogisticFit) -> dict[str, Any]:
        """Returns the columns of a result that do not depend on the seed."""
        if not fit.converged:
            log.warning("a fit did not converge in %d iterations", fit.iterations)
        scores = fit.scores(self.x_test)
        return {
            "top1": top_accuracy(scores, self.y_test, 1),
            "top5": top_accuracy(scores, self.y_test, TOP) if self.n_classes > TOP else np.nan,
            "balanced_accuracy": _balanced_accuracy(scores, self.y_test),
            "train_top1": top_accuracy(fit.scores(self.x_train), self.y_train, 1),
            "objective": fit.objective,
            "converged": fit.converged,
            "iterations": fit.iterations,
            "n_train": len(self.y_train),
            "n_test": len(self.y_test),
            "n_classes": self.n_classes,
            "n_absent": self.n_classes - len(np.unique(self.y_train)),
        }


def split_validation(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Returns booleans (n,): the given share of each class, drawn at random, is True.

    Rounded per class, but at least one row and never all of a class; a class with a single row
    has none. Nothing but labels and seed matters: all models are tuned on the same rows.
    """
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        held_out[rows[:count]] = True
    return held_out


def top_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Returns the share of rows whose true class is among the k highest of `scores`: (n, C).

    Of equal scores the lower class counts as higher; a class with minus infinity never counts.
    """
    true_scores = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    ahead = (scores > true_scores) | ((scores == true_scores) & earlier)
    return float(np.mean((ahead.sum(axis=1) < k) & np.isfinite(true_scores[:, 0])))


def _balanced_accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    recalls = [top_accuracy(scores[labels == c], labels[labels == c], 1) for c in np.unique(labels)]
    return float(np.mean(recalls))


def make_probe(
    features_path: str | Path,
    samples_path: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    layer: str = "last",
    seed: int = 0,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Writes `probe/{dataset}/{model}.parquet`: the rows of `probe` for one or all layers.

    Args:
        features_path: `features/{dataset}/{model}.safetensors`.
        samples_path: `samples/{dataset}.parquet`; for a view a list: its own, its parent's, …
            to those that the features are of.
        out: the Parquet file to write; its metadata holds the settings and the samples hash.
        layer: the name of a layer, `last`, or `all`.
        seed: the study seed.
        **settings: fields of `ProbeSettings`.

    Raises:
        ConfigError: the settings cannot be used.
        DataError: the dataset has no labels, or too few rows in a split.
        FeaturesError: the features are damaged, lack the layer, or belong to other samples.
    """
    chosen = ProbeSettings(**settings)
    samples, rows, source = read_chain(samples_path)
    header = read_header(features_path)
    check_samples(header, source.hash, features_path)
    labels, train = _read_labels(samples)
    dataset, model = samples.row["dataset"], header["model"]["model"]
    table = pd.concat(
        {
            name: probe(
                read_rows(features_path, name, rows),
                labels,
                train,
                chosen,
                n_classes=len(samples.classes),
                salt=(seed, dataset),
            )
            for name in _choose_layers(layer, header["layers"])
        },
        names=["layer"],
    )
    table = table.reset_index("layer").assign(dataset=dataset, model=model)
    table = table[["dataset", "model", *table.columns[:-2]]]
    metadata = {"settings": asdict(chosen), "seed": seed, "samples_hash": samples.hash}
    write_table(table, out, metadata)


def make_accuracy(probe_paths: Sequence[str | Path], out: str | Path) -> None:
    """Writes probe/accuracy.parquet: one row per dataset, model, layer, averaged over seeds.

    Args:
        probe_paths: probe tables of several models and datasets.
        out: the Parquet file to write, with the columns `dataset, model, layer, accuracy` (top-1 on
            the test split), `balanced_accuracy, top5, seeds`.
    """
    table = pd.concat([read_table(path) for path in probe_paths], ignore_index=True)
    by = table.groupby(["dataset", "model", "layer"], sort=True)
    means = by[["top1", "balanced_accuracy", "top5"]].mean()
    means = means.rename(columns={"top1": "accuracy"}).assign(seeds=by.size())
    write_table(means.reset_index(), out, {"probes": len(probe_paths)})


def _read_labels(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels (n,) and whether each row is for training (n,)."""
    dataset, table = samples.row["dataset"], samples.table
    missing = int(table["label"].isna().sum())
    if table["labels"].notna().any():
        raise DataError(
            f"dataset {dataset!r} has several labels per sample, and a probe predicts one; write "
            "`no` into its column labels, or take it out of the study"
        )
    if missing:
        raise DataError(
            f"dataset {dataset!r}: {missing} of {len(table)} samples have no label, so there is "
            "nothing to probe; take it out of the datasets that the study probes"
        )
    other = sorted(set(table["split"]) - {"train", "test"})
    if other:
        raise DataError(
            f"dataset {dataset!r}: unknown splits {other}; a probe needs train and test"
        )
    return table["label"].to_numpy(np.int64), (table["split"] == "train").to_numpy()


def _choose_layers(layer: str, layers: Sequence[str]) -> list[str]:
    return {"all": list(layers), "last": [layers[-1]]}.get(layer, [layer])


def _check_split(labels: np.ndarray, train: np.ndarray) -> None:
    """Raises DataError unless a classifier can be fitted, tuned and tested."""
    if train.shape != labels.shape or train.all():
        raise DataError(
            f"{int(train.sum())} of {len(labels)} rows are for training, so none is left to test "
            "on; give the dataset a test split or a `test_share`"
        )
    counts = np.bincount(labels[train])
    if (counts > 0).sum() < 2:
        raise DataError("the training rows are of fewer than two classes; a probe needs two")
    if counts.max() < 2:
        raise DataError(
            "no class has two training rows, so none can be held out to choose the penalty; "
            "raise the dataset's cap"
        )
