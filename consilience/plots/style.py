"""What all figures share: sizes, one palette, one colour per group, axes from a metric's facts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from consilience.errors import ConfigError
from consilience.plots import mpl
from consilience.registry import did_you_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

COLUMN, PAGE = 85.0, 175.0
"""Widths of one and of two columns of a paper, in mm."""

FONT = 6.5
"""Smallest font size, in points."""

LETTER = 1.3
"""Mean width of a letter of that size, in mm."""

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
"""Okabe and Ito's colours, told apart with any colour vision."""
MARKERS = "osD^vPX"
METHODS = {"pearson": "Pearson's r", "spearman": "Spearman's ρ", "kendall": "Kendall's τ"}
NO_GROUP = "none"
GREY, PALE, LIGHT, DARK = "#8c8c8c", "#b8b8b8", "#e4e4e4", "#333333"

RC = {
    "font.size": FONT + 0.5,
    "axes.titlesize": FONT + 0.5,
    "axes.labelsize": FONT + 0.5,
    "xtick.labelsize": FONT,
    "ytick.labelsize": FONT,
    "legend.fontsize": FONT,
    "figure.titlesize": FONT + 1.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlepad": 3.0,
    "axes.labelpad": 3.0,
    "legend.frameon": False,
    "legend.handletextpad": 0.3,
    "legend.columnspacing": 1.2,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "pdf.fonttype": 42,
    "svg.hashsalt": "consilience",
}
_FORMULA = re.compile(
    r"\$(?:[dm]_\\mathrm\{(?:LLV|SVD|CCA)\}|d_\{f,g\}|[Tx]_[12]|2 M\\,|†"
    r"|\\mathdefault\{-?[0-9.]*(?:\\times)?(?:(?:10|2|e)\^\{-?[0-9]+\})?\})\$"
)
"""Formulas of figures, and numbers as axes write them."""


@dataclass(frozen=True)
class MetricAxis:
    """What a figure must know of a metric.

    Attributes:
        label: name for the reader, such as `CKA (linear, debiased)`.
        bounds: smallest and largest possible value; infinite where there is none.
        larger_is_more_similar: direction.
    """

    label: str
    bounds: tuple[float, float]
    larger_is_more_similar: bool = True

    @property
    def direction(self) -> str:
        """Which way the values point, in words."""
        return f"{'larger' if self.larger_is_more_similar else 'smaller'} = more similar"

    def limits(self, values: np.ndarray, margin: float = 0.0) -> tuple[float, float]:
        """Returns round axis limits around the finite values, inside the bounds."""
        values = np.asarray(values, dtype=float)
        values = values[np.isfinite(values)]
        if not len(values):
            return tuple(b if np.isfinite(b) else float(k) for k, b in enumerate(self.bounds))
        low, high = float(values.min()), float(values.max())
        pad = margin * (high - low) if high > low else 1e-3 * max(abs(low), 1e-300)
        step = _round_step(high - low + 2 * pad)
        low = step * np.floor(round((low - pad) / step, 9))
        high = step * np.ceil(round((high + pad) / step, 9))
        return max(low, self.bounds[0]), min(high, self.bounds[1])

    def distances(self, values: np.ndarray) -> np.ndarray:
        """Returns dissimilarities, never negative: 1 - similarity for bounds that end at 1."""
        if not self.larger_is_more_similar:
            return np.maximum(values - max(self.bounds[0], 0.0), 0.0)
        top = self.bounds[1] if np.isfinite(self.bounds[1]) else np.nanmax(values)
        return np.maximum(top - values, 0.0)


@dataclass(frozen=True)
class Groups:
    """One colour and one marker per group, the same in every figure of a study.

    Attributes:
        column: the grouping.
        of: {model: group}; models with an empty cell are in `NO_GROUP`.
        names: groups in alphabetical order, `NO_GROUP` last.
    """

    column: str
    of: Mapping[str, str]
    names: tuple[str, ...]

    def color(self, group: str) -> str:
        """Returns the group's colour; from the eighth group on, grey."""
        position = self.names.index(group)
        known = group != NO_GROUP and position < len(PALETTE)
        return PALETTE[position] if known else GREY

    def marker(self, group: str) -> str:
        """Returns the group's marker."""
        return MARKERS[self.names.index(group) % len(MARKERS)]

    def colors(self, models: Sequence[str]) -> list[str]:
        """Returns the colour of each model."""
        return [self.color(self.of[model]) for model in models]

    def legend(self, models: Sequence[str], marker: str | None = None) -> list[Line2D]:
        """Returns one legend entry per group among the models, with its size."""
        counts = pd.Series([self.of[model] for model in models]).value_counts()
        return [
            mpl.Line2D(
                [], [], linestyle="", marker=marker or self.marker(name), markersize=4.5,
                color=self.color(name), label=f"{name} (n = {counts[name]})",
            )
            for name in self.names
            if name in counts
        ]  # fmt: skip


def _round_step(span: float) -> float:
    """Returns 1, 2 or 5 times a power of ten, a tenth to a fifth of the span at most."""
    power = 10.0 ** np.floor(np.log10(span))
    return power / 10 * (1 if span < 2 * power else 2 if span < 5 * power else 5)


def read_groups(models: pd.DataFrame, column: str | None) -> Groups:
    """Returns the groups of all models of the study.

    Args:
        models: metadata indexed by model id.
        column: metadata column; None puts all models into one group.

    Raises:
        ConfigError: no such column.
    """
    if column is None:
        return Groups("", dict.fromkeys(models.index, "all models"), ("all models",))
    if column not in models.columns:
        raise ConfigError(
            f"plots: the models table has no column {column!r}"
            f"{did_you_mean(column, map(str, models.columns))}"
        )
    of = {
        model: NO_GROUP if pd.isna(value) or not str(value) else str(value)
        for model, value in models[column].items()
    }
    names = sorted(set(of.values()) - {NO_GROUP})
    return Groups(column, of, (*names, *({NO_GROUP} & set(of.values()))))


@contextmanager
def style() -> Iterator[None]:
    """Applies the common settings, and only within the block."""
    settings = {**mpl.rcParamsDefault, **RC, "backend": mpl.get_backend()}
    with mpl.rc_context(settings), plain_dollars():
        yield


@contextmanager
def plain_dollars() -> Iterator[None]:
    """Draws a text within the block as a formula only if it is one of ours: see `is_formula`.

    Names come from catalogues, may hold dollars, and mean them.
    """
    before = mpl.cbook.is_math_text
    mpl.cbook.is_math_text = is_formula
    try:
        yield
    finally:
        mpl.cbook.is_math_text = before


def is_formula(text: object) -> bool:
    """Returns whether a text has formulas, and all between its dollars is ours or an axis's."""
    rest = _FORMULA.sub("", str(text))
    return rest != str(text) and "$" not in rest


def panels(count: int, *, width: float, height: float, columns: int, extra: float) -> Figure:
    """Returns a figure with `count` axes in rows, top left first.

    Args:
        count: number of axes.
        width: of the figure, in mm.
        height: of a panel with its title and labels, in mm.
        columns: most panels in a row.
        extra: height for legend and title, in mm.
    """
    columns = min(count, columns)
    rows = -(-count // columns)
    figure = mpl.Figure(
        figsize=(width / 25.4, (rows * height + extra) / 25.4), layout="constrained"
    )
    mpl.FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows, columns)
    for position in range(count):
        figure.add_subplot(grid[divmod(position, columns)])
    return figure


def columns_for(count: int, width: float) -> int:
    """Returns how many square panels stand side by side, so that 24 still fit on a page."""
    if width < 120:
        return min(count, 2)
    return min(count, 3 if count <= 6 and count != 4 else 4 if count <= 12 else 6)


def title(name: str, note: str, panel: float) -> str:
    """Returns name and note on one line, or on two if the panel's width in mm demands it."""
    line = f"{name} ({note})" if note else name
    return line if len(line) * LETTER <= panel else f"{name}\n({note})" if note else name


def minus(text: str) -> str:
    """Returns text whose negative numbers have a real minus sign."""
    return re.sub(r"-(?=[.\d])", "−", text)


def shorten(names: Sequence[str], length: int) -> list[str]:
    """Returns names of at most `length` characters, cut in the middle, all different."""
    head, tail = length // 2, length - 1 - length // 2
    cut = [n if len(n) <= length else f"{n[:head]}…{n[len(n) - tail :]}" for n in names]
    twice = {name for name in cut if cut.count(name) > 1}
    return [
        f"{name[: length - 3]}…{position + 1}" if name in twice else name
        for position, name in enumerate(cut)
    ]


def bottom_legend(figure: Figure, handles: Sequence[Line2D], heading: str, width: float) -> None:
    """Puts a legend below the panels, in as many columns as fit the width in mm."""
    longest = max((len(str(handle.get_label())) for handle in handles), default=1)
    columns = max(1, min(len(handles), int(width / (longest * LETTER + 6))))
    legend = figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, title=heading or None,
        title_fontsize=FONT, borderaxespad=0.2,
    )  # fmt: skip
    legend.get_title().set_multialignment("center")


def color_scale(
    low: float, high: float, *, colors: str = "viridis", turned: bool = False
) -> ScalarMappable:
    """Returns a scale of colours, from its other end if turned."""
    return mpl.ScalarMappable(mpl.Normalize(low, high), mpl.colormaps[colors + "_r" * turned])


def ink(color: Sequence[float] | str) -> str:
    """Returns black or white, whichever is easier to read on a colour (at least 4.5 : 1, WCAG)."""
    rgb = np.array(mpl.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"


def color_bar(
    scale: ScalarMappable,
    axes: Axes | Sequence[Axes],
    label: str,
    **options: Any,  # noqa: ANN401
) -> Colorbar:
    """Puts a bar with the scale beside the axes, without a frame."""
    figure = np.ravel(axes)[0].figure
    bar = figure.colorbar(scale, ax=axes, **{"shrink": 0.8, "aspect": 25, "pad": 0.02} | options)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return bar


def pair_name(x: str, y: str) -> str:
    """Returns the name of a pair of groups, or of one group with itself."""
    return x if x == y else f"{x} – {y}"


def log_scale(axes: Axes, values: pd.Series, side: str = "y") -> None:
    """Makes an axis logarithmic for values that are all above 0; else it stays, and begins at 0.

    Ticks stand at powers of ten, and of few decades at 2 and 5 times these, too.

    Args:
        axes: where.
        values: along the axis; missing ones say nothing.
        side: `x` or `y`.
    """
    known = values.astype(float)
    known = known[np.isfinite(known)]
    if not len(known) or known.min() <= 0:
        low = min(0.0, float(known.min())) if len(known) else 0.0
        axes.set_xlim(left=low) if side == "x" else axes.set_ylim(bottom=low)
        return
    few = known.max() / known.min() < 100
    axes.set_xscale("log") if side == "x" else axes.set_yscale("log")
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_major_locator(mpl.LogLocator(subs=(1, 2, 5) if few else (1,), numticks=12))
    axis.set_minor_formatter(mpl.NullFormatter())
    if known.min() > 1e-4:
        axis.set_major_formatter("{x:g}")


def blank(axes: Axes) -> None:
    """Removes ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def name_pairs(axes: Axes, colors: Sequence[tuple[str, str]]) -> None:
    """Puts a dot in the colour of either group beside the name of each row."""
    axes.tick_params(axis="y", length=0, pad=11)
    for k, sides in enumerate(colors):
        for color, offset in zip(sides, (-8.0, -3.5), strict=True):
            axes.annotate(
                "●", (0, k), (offset, 0), xycoords=axes.get_yaxis_transform(),
                textcoords="offset points", ha="center", va="center", size=FONT,
                color=color, annotation_clip=False,
            )  # fmt: skip
