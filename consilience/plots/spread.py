"""What the datasets of a study make of the same model pairs, and what its metrics make of them."""

from collections.abc import Mapping
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from consilience.errors import DataError
from consilience.plots.heatmaps import draw_matrix, model_order, name_matrix, read_all, spread_out
from consilience.plots.style import (
    DARK,
    GREY,
    METHODS,
    PAGE,
    MetricAxis,
    bottom_legend,
    minus,
    panels,
    read_groups,
    style,
)

KEYS = ["dataset_x", "dataset_y", "grouping", "group_x", "group_y"]


def similarity_spread(
    tables: Mapping[str, pd.DataFrame],
    models: pd.DataFrame,
    *,
    axis: MetricAxis,
    group: str | None = None,
    layers: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws mean and standard deviation over the datasets of every model pair's similarity.

    Two heat maps in the order of `similarity_heatmaps`, and one against the other.

    Args:
        tables: {dataset: similarity table} of one metric.
        models: metadata indexed by model id.
        axis: the metric.
        group: metadata column for the colour bars.
        layers: {model: layer}; a model with one layer needs no entry.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `model_x, model_y, mean, sd` (over datasets, n - 1)`,
        n_datasets`.

    Raises:
        DataError: no model pair has a value on two datasets.
    """
    similarities = read_all(tables, layers)
    order, groups = model_order(similarities, axis), read_groups(models, group)
    stack = np.array([spread_out(s, order) for s in similarities.values()])
    i, j = np.triu_indices(len(order), 1)
    pairs = pd.DataFrame(stack[:, i, j])
    names = np.array(order, dtype=object)
    table = pd.DataFrame(
        {
            "model_x": names[i],
            "model_y": names[j],
            "mean": pairs.mean(),
            "sd": pairs.std(),
            "n_datasets": pairs.notna().sum(),
        }
    )
    if table["sd"].isna().all():
        raise DataError("no pair of models has a similarity on two datasets")
    with style():
        figure = panels(3, width=width, height=width / 3 + 8, columns=3, extra=14)
        for axes, column in zip(figure.axes[:2], ("mean", "sd"), strict=True):
            values = np.full((len(order), len(order)), np.nan)
            values[i, j] = values[j, i] = table[column]
            reverse = column == "mean" and not axis.larger_is_more_similar
            low, high = axis.limits(values) if column == "mean" else (0.0, np.nanmax(values))
            scale = ScalarMappable(
                Normalize(low, high), mpl.colormaps["viridis_r" if reverse else "viridis"]
            )
            draw_matrix(axes, values, groups.colors(order), scale)
            axes.set_title(f"{column} over {len(stack)} datasets")
            bar = figure.colorbar(scale, ax=axes, location="bottom", shrink=0.8, pad=0.03)
            bar.outline.set_visible(False)
            bar.ax.locator_params(nbins=4)
        name_matrix(figure.axes[0], order, width - 20, 3)
        _scatter(figure, table)
        figure.suptitle(f"{axis.label} ({axis.direction})")
        heading = f"{group} (grey: same model, white: no value)" if group else ""
        bottom_legend(figure, groups.legend(order, "s"), heading, width)
    return figure, table


def _scatter(figure: Figure, table: pd.DataFrame) -> None:
    axes = figure.axes[2]
    size = float(np.clip(1500 / len(table), 2.0, 12))
    axes.scatter(
        table["mean"], table["sd"], s=size, color=DARK, alpha=0.5, linewidths=0,
        rasterized=len(table) > 500,
    )  # fmt: skip
    axes.set(xlabel="mean", ylabel="standard deviation", box_aspect=1)
    axes.set_title(f"{table['sd'].notna().sum()} model pairs")
    axes.locator_params(nbins=4)


def metric_agreement(
    consistency: pd.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    method: str = "pearson",
    max_panels: int = 12,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws consistency by one metric against that by another, a panel per two metrics.

    Points are dataset pairs and groups of models together; r describes them and is no test, since
    they share datasets and models. Of more than `max_panels` pairs of metrics the first are shown.

    Args:
        consistency: rows of `results/consistency`, of several metrics.
        labels: {metric: name for the reader}.
        method: `pearson` or `spearman`.
        max_panels: most panels.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `metric_x, metric_y`, datasets, groups, `value_x, value_y, r`.

    Raises:
        DataError: fewer than two metrics have values.
    """
    rows = consistency[(consistency["method"] == method) & consistency["value"].notna()]
    wide = rows.pivot_table("value", KEYS, "metric", sort=True)
    wide = wide[[metric for metric in rows["metric"].unique() if metric in wide]]
    every = list(combinations(wide.columns, 2))
    if not every:
        raise DataError("fewer than two metrics have a consistency: nothing to compare")
    shown = every[:max_panels]
    limits = (min(-0.02, float(wide.min().min()) - 0.02), 1.02)
    parts = []
    with style():
        columns = min(len(shown), 3)
        panel = width / max(columns, 2)
        figure = panels(
            len(shown), width=panel * columns, height=panel * 0.95, columns=columns, extra=12
        )
        for axes, (x, y) in zip(figure.axes, shown, strict=True):
            both = wide[[x, y]].dropna()
            r = both[x].corr(both[y]) if len(both) > 2 else np.nan
            points = both.set_axis(["value_x", "value_y"], axis=1).reset_index()
            parts.append(points.assign(metric_x=x, metric_y=y, r=r))
            axes.plot(limits, limits, color=GREY, linewidth=0.5, linestyle=":", zorder=0)
            axes.scatter(
                both[x], both[y], s=float(np.clip(1500 / max(len(both), 1), 2.5, 12)), color=DARK,
                alpha=0.5, linewidths=0, rasterized=len(both) > 500,
            )  # fmt: skip
            axes.set(xlim=limits, ylim=limits, aspect="equal")
            axes.locator_params(nbins=4)
            axes.set(xlabel=(labels or {}).get(x, x), ylabel=(labels or {}).get(y, y))
            axes.set_title(minus(f"r = {r:.2f}, {len(both)} points"))
        note = f" ({len(shown)} of {len(every)} pairs of metrics)" if shown != every else ""
        figure.suptitle(f"Consistency ({METHODS[method]})\nby one metric and another{note}")
    table = pd.concat(parts, ignore_index=True)
    return figure, table[["metric_x", "metric_y", *KEYS, "value_x", "value_y", "r"]]
