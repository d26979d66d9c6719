"""Features and unembeddings of two classifiers that predict alike and look unlike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.features import read_listed
from consilience.files import read_table
from consilience.layers import last_layers
from consilience.plots import mpl
from consilience.plots.classifiers import (
    CCA,
    IDENTIFIED,
    MIN_ACCURACY,
    PAIRS,
    Kind,
    accurate,
    class_colors,
    identified,
    kinds,
    mark,
)
from consilience.plots.facts import STUDY, Material, Source, register
from consilience.plots.sources import from_tables
from consilience.plots.style import (
    DARK,
    GREY,
    LIGHT,
    PAGE,
    bottom_legend,
    shorten,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

NEAR = 0.5
"""Share of pairs, those with the smallest divergences, of which the least similar one is drawn."""
PLANE = 2


class Parts(NamedTuple):
    """What a classifier made of the samples of a dataset."""

    f: np.ndarray
    """(n, M) features."""
    g: np.ndarray
    """(K, M) unembeddings."""
    predicted: np.ndarray
    """(n,) predicted classes."""


Reader = Callable[[str, str], Parts]


def read_parts(manifests: Iterable[str | Path]) -> Reader:
    """Returns what reads the parts of a model on a dataset, from the files beside its manifest."""
    paths = {Path(path).parent.name: Path(path) for path in manifests}

    def read(dataset: str, model: str) -> Parts:
        table = read_table(paths[dataset])
        read = partial(read_listed, paths[dataset], table, model)
        features, logits = read(last_layers(table)[model]), read("logits")
        return Parts(features, read("unembedding"), logits.argmax(axis=1))

    return read


def _reader(material: Material) -> Reader:
    return read_parts(material.files["manifest"])


@register(
    per=STUDY,
    takes={
        "pairs": PAIRS,
        "read": Source(_reader, from_tables("manifest", datasets=identified).reads),
        "min_accuracy": MIN_ACCURACY,
    },
    category="Identifiability",
    caption=(
        "Two classifiers that predict alike and whose features are unlike: the features f of all "
        "stimuli, coloured by the predicted class (number), and the unembedding g of every class. "
        "On every dataset the pair with the smallest mean canonical correlation among the half of "
        "all pairs with the smaller Kullback-Leibler divergence (the larger of both directions), "
        "of models of one width that reach `min_accuracy`. Only what lies in the plane (M = 2) is "
        "drawn."
    ),
    when=IDENTIFIED,
)
def identifiability_features(
    pairs: pd.DataFrame,
    read: Reader,
    *,
    min_accuracy: float = 0.9,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws f and g of two models that predict alike with unlike features, for every dataset.

    Args:
        pairs: rows of results/identifiability.
        read: gives the parts of a model by dataset and model.
        min_accuracy: that both models of a pair reach.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset, model, part` (`f` or `g`)`, row` (of the dataset's
        samples, or the class)`, class, x1, x2`; the class of a sample is the predicted one.

    Raises:
        DataError: no pair of accurate models has two dimensions.
    """
    every = list(kinds(pairs))
    chosen = [(kind, choose(kind.pairs, min_accuracy)) for kind in every]
    shown = [(kind, row) for kind, row in chosen if row is not None and kind.dimension == PLANE]
    if not shown:
        raise DataError(
            f"no two classifiers with features in the plane (M = 2) and an accuracy from "
            f"{min_accuracy:g} on; pairs are of {'; '.join(kind.name for kind in every)}"
        )
    parts = [[read(row["dataset"], row[f"model_{side}"]) for side in "xy"] for _, row in shown]
    classes = max(len(part.g) for both in parts for part in both)
    colors = class_colors(classes)
    with style():
        figure = mpl.Figure(
            figsize=(width / 25.4, (len(shown) * 51 + 12) / 25.4), layout="constrained"
        )
        blocks = np.ravel([figure.subfigures(len(shown), 1)])
        for block, (kind, row), both in zip(blocks, shown, parts, strict=True):
            _block(block, kind, row, both, colors)
        handles = [mark(color, str(k)) for k, color in enumerate(colors)]
        bottom_legend(figure, handles, "\n".join(["class", *_absent(chosen)]), width)
    rows = (
        _table(row["dataset"], row[f"model_{side}"], part)
        for (_, row), both in zip(shown, parts, strict=True)
        for side, part in zip("xy", both, strict=True)
    )
    return figure, pd.concat(rows, ignore_index=True)


def choose(pairs: pd.DataFrame, min_accuracy: float) -> pd.Series | None:
    """Returns the least similar pair among the half with the smaller divergences, if any.

    Of pairs of one width (or without any) whose models are accurate; divergence is the larger one
    of both directions, similarity m_CCA of the features. Of equal ones the first counts.
    """
    apart = pairs["width_x"].notna() & pairs["width_y"].notna()
    same = ~apart | (pairs["width_x"] == pairs["width_y"])
    kept = pairs[accurate(pairs, min_accuracy) & same & pairs["m_cca_f"].notna()]
    if kept.empty:
        return None
    divergence = kept[["kl_xy", "kl_yx"]].max(axis=1)
    near = kept[divergence.rank(method="min") <= max(1, np.ceil(NEAR * len(kept)))]
    return near.loc[near["m_cca_f"].idxmin()]


def _absent(chosen: Sequence[tuple[Kind, pd.Series | None]]) -> Iterator[str]:
    for kind, row in chosen:
        if kind.dimension != PLANE:
            yield f"not drawn: {kind.name}, whose features do not lie in a plane"
        elif row is None:
            yield f"not drawn: {kind.name}, without two accurate models of one width"


def _block(
    block: SubFigure, kind: Kind, row: pd.Series, both: Sequence[Parts], colors: Sequence[object]
) -> None:
    axes = block.subplots(1, 4)
    names = shorten([row["model_x"], row["model_y"]], 28)
    for k, (side, name, part) in enumerate(zip("xy", names, both, strict=True)):
        _features(axes[2 * k], part, colors)
        _unembedding(axes[2 * k + 1], part.g, colors)
        axes[2 * k].set_title(f"{name}\nf, loss {row[f'loss_{side}']:.3g}", loc="left")
        axes[2 * k + 1].set_title("g")
    both_ways = f"KL {row['kl_xy']:.3g} and {row['kl_yx']:.3g} nats"
    block.suptitle(f"{kind.name}: {CCA} {row['m_cca_f']:.3f}, {both_ways}")


def _features(axes: Axes, part: Parts, colors: Sequence[object]) -> None:
    order = np.random.default_rng(0).permutation(len(part.f))  # no class lies above the others
    axes.scatter(
        *part.f[order].T, s=2, c=[colors[k] for k in part.predicted[order]], linewidths=0,
        rasterized=True,
    )  # fmt: skip
    _square(axes, part.f)
    _name_classes(axes, part)


def _name_classes(axes: Axes, part: Parts) -> None:
    """Puts the number of each predicted class at the outer end of its features, if there is room.

    That is, in the direction of their median from that of all, as far as nine tenths of them reach.
    """
    placed: list[np.ndarray] = []
    nearest, centre = 0.085 * np.ptp(axes.get_xlim()), np.median(part.f, axis=0)
    for k in np.unique(part.predicted):
        points = part.f[part.predicted == k] - centre
        way = np.median(points, axis=0)
        way = way / max(float(np.linalg.norm(way)), 1e-12)
        place = centre + way * np.quantile(points @ way, 0.9)
        if all(np.abs(place - other).max() > nearest for other in placed):
            placed.append(place)
            axes.text(
                *place, str(k), ha="center", va="center", zorder=4,
                bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.75,
                      "linewidth": 0},
            )  # fmt: skip


def _unembedding(axes: Axes, g: np.ndarray, colors: Sequence[object]) -> None:
    _square(axes, np.vstack([g, np.zeros((1, 2))]), 0.22)
    reach = np.ptp(axes.get_xlim())
    for k, point in enumerate(g):
        axes.plot([0, point[0]], [0, point[1]], color=colors[k], linewidth=1.0, zorder=2)
        axes.plot(*point, "o", color=colors[k], markersize=3.5, zorder=3)
        away = point / max(np.linalg.norm(point), 1e-12)
        axes.text(*(point + 0.055 * reach * away), str(k), ha="center", va="center", color=DARK)


def _square(axes: Axes, points: np.ndarray, margin: float = 0.06) -> None:
    """Sets limits of equal scale around all points, with lines through zero."""
    low, high = points.min(axis=0), points.max(axis=0)
    half = (0.5 + margin) * max(float((high - low).max()), 1e-9)
    middle = (low + high) / 2
    axes.set(
        xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half),
        box_aspect=1,
    )  # fmt: skip
    for line in (axes.axhline, axes.axvline):
        line(0, color=LIGHT, linewidth=0.5, zorder=0)
    axes.locator_params(nbins=4)
    axes.tick_params(colors=GREY, labelcolor=DARK)
    axes.ticklabel_format(useOffset=False)


def _table(dataset: str, model: str, part: Parts) -> pd.DataFrame:
    named = (("f", part.f, part.predicted), ("g", part.g, np.arange(len(part.g))))
    return pd.concat(
        [
            pd.DataFrame(
                {"dataset": dataset, "model": model, "part": name, "row": np.arange(len(points)),
                 "class": labels, "x1": points[:, 0], "x2": points[:, 1]}
            )
            for name, points, labels in named
        ],
        ignore_index=True,
    )  # fmt: skip
