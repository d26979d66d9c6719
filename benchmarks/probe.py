"""Times all fits of a probe against scikit-learn fitting the same grid; writes probe.md.

Both get the same normalised features, validation rows and penalties, on one thread, one after the
other in every round. Run as `python benchmarks/probe.py [results]`, the results of a study with the
models lite0 and squeezenet.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.special import log_softmax
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from consilience.features import read_header, read_layer
from consilience.probe import ProbeSettings, normalize_features, split_validation
from consilience.probe.descent import arrays_on
from consilience.probe.logistic import LogisticFit, principal_axes, solve_path
from consilience.samples import read_samples

ROUNDS = 3
MODELS = ("lite0", "squeezenet")
SETTINGS = ProbeSettings()
PENALTIES = sorted(SETTINGS.penalties, reverse=True)
PAGE = Path(__file__).with_suffix(".md")
HEAD = """\
# All fits of a probe, against scikit-learn

Written by `python benchmarks/probe.py results` after a study. One probe is {fits} fits:
{penalties} penalties for each of {seeds} validation splits and for the refit on all training rows.
scikit-learn's `LogisticRegression` (lbfgs) fits the same rows with the same penalties, one fit
after the other, at its own default tolerance (1e-4 in the gradient) and at 1e-6. Times are medians
of {rounds} rounds in which the contenders take turns, in seconds on one thread of a shared machine,
after the same normalisation; ours include the change to principal axes. "above" is the largest
distance of an objective (mean cross-entropy + penalty, in nats) above the lowest that any contender
found for that fit. Ratios are to ours in float64.

| features | training rows, d, classes | ours, float64 | above | ours, float32 | above | \
scikit-learn | above | ratio | scikit-learn, 1e-6 | above | ratio |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def planted(n: int, d: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns overlapping classes in features of falling variance."""
    generator = np.random.default_rng(0)
    y = np.concatenate([np.arange(classes), generator.integers(0, classes, n - classes)])
    spread = np.arange(1, d + 1) ** -0.5
    x = generator.normal(size=(n, d)) * 3 + 0.7 * generator.normal(size=(classes, d))[y]
    return x * spread, y


def problems(results: Path | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns training features and labels by name."""
    found = {"digits of scikit-learn, pixels": load_digits(return_X_y=True)}
    paths = sorted(results.glob("features/*/*.safetensors")) if results else []
    for path in (path for path in paths if path.stem in MODELS):
        samples = read_samples(results / "samples" / f"{path.parent.name}.parquet").table
        train = (samples["split"] == "train").to_numpy()
        x = read_layer(path, read_header(path)["layers"][-1])[train]
        found[f"{path.parent.name}, {path.stem}"] = x, samples["label"].to_numpy(np.int64)[train]
    found["planted"] = planted(2000, 256, 20)
    return found


def ours(dtype: str) -> Callable[..., list[LogisticFit]]:
    """Returns the fits of all sets of rows and penalties, in one pass."""
    tolerance = ProbeSettings(dtype=dtype).reachable

    def fit(x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> list[LogisticFit]:
        with threadpool_limits(1):
            axes = principal_axes(x)
            arrays = arrays_on("cpu", dtype)
            path = solve_path(
                x @ axes, y, y.max() + 1, PENALTIES, tolerance, rows=rows, arrays=arrays
            )
            return [
                LogisticFit(axes @ f.weights, f.bias, f.objective, f.converged, f.iterations)
                for fits in path
                for f in fits
            ]

    return fit


def theirs(tolerance: float) -> Callable[..., list[LogisticFit]]:
    """Returns the fits of scikit-learn."""

    def fit(x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> list[LogisticFit]:
        fits = []
        for penalty in PENALTIES:
            for chosen in rows:
                model = LogisticRegression(
                    C=1 / (chosen.sum() * penalty), tol=tolerance, max_iter=10_000
                )
                model.fit(x[chosen], y[chosen])
                fits.append(LogisticFit(model.coef_.T, model.intercept_, 0, True, 0))
        return fits

    return fit


CONTENDERS = {
    "float64": ours("float64"),
    "float32": ours("float32"),
    "sklearn": theirs(1e-4),
    "sklearn 1e-6": theirs(1e-6),
}


def objectives(
    fits: list[LogisticFit], x: np.ndarray, y: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Returns the objective of every fit, written anew."""
    values = []
    for number, fit in enumerate(fits):
        penalty, chosen = PENALTIES[number // len(rows)], rows[number % len(rows)]
        log_p = log_softmax(x[chosen] @ fit.weights + fit.bias, axis=1)
        surprise = -log_p[np.arange(chosen.sum()), y[chosen]].mean()
        values.append(surprise + penalty / 2 * (fit.weights**2).sum())
    return np.array(values)


def measure(x: np.ndarray, y: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """Returns seconds, and largest distance above the lowest objective, by contender."""
    everything = np.ones(len(y), dtype=bool)
    held_out = [split_validation(y, SETTINGS.validation_share, s) for s in SETTINGS.seeds]
    rows = np.stack([*(~chosen for chosen in held_out), everything])
    x = normalize_features(x, everything)
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    values = {}
    for _ in range(ROUNDS):
        for name, fit in CONTENDERS.items():
            start = time.perf_counter()
            fits = fit(x, y, rows)
            seconds[name].append(time.perf_counter() - start)
            values[name] = objectives(fits, x, y, rows)
    lowest = np.min(list(values.values()), axis=0)
    above = {name: float((value - lowest).max()) for name, value in values.items()}
    return {name: statistics.median(times) for name, times in seconds.items()}, above


def main() -> None:
    """Writes the page."""
    warnings.simplefilter("ignore")
    head = HEAD.format(
        fits=len(PENALTIES) * (len(SETTINGS.seeds) + 1),
        penalties=len(PENALTIES),
        seeds=len(SETTINGS.seeds),
        rounds=ROUNDS,
    )
    lines = []
    for name, (x, y) in problems(Path(sys.argv[1]) if sys.argv[1:] else None).items():
        seconds, above = measure(x, y)
        cells = [name, f"{len(y):,}, {x.shape[1]:,}, {y.max() + 1}"]
        for contender, value in seconds.items():
            cells += [f"{value:.2f}", f"{above[contender]:.0e}"]
            if contender.startswith("sklearn"):
                cells.append(f"{value / seconds['float64']:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
        PAGE.write_text(head + "\n".join(lines) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
