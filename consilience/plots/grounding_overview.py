"""What every metric finds in every test: the table of a modality."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.grounding.overview import KEY, LOWEST, NOT_GROUNDED, OK, from_best, headline
from consilience.plots import mpl
from consilience.plots.facts import register
from consilience.plots.grounded import (
    DIFFERENCES,
    DOMAIN,
    GROUNDED,
    SCORED,
    SUMMARY,
    named,
    short,
)
from consilience.plots.grounding_latex import latex_overview
from consilience.plots.sources import LABELS, from_plan
from consilience.plots.style import FONT, GREY, LETTER, LIGHT, PAGE, ink, shorten, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, WIDEST, RANK = 5.0, 24.0, 9.0
"""Height of a row, largest width of a column, and width of the column of mean ranks, in mm."""
MANY = 14
"""With more columns, names of metrics are cut more, and what is told is counted in short."""
SHOWN = [
    "domain", *KEY, "score", "same_seed", "metric", "value", "chance", "lift", "low", "high", "p",
    "n_models", "n_groups", "n_failed", "status", "note", "mean_rank", "place", "best", "behind",
    "behind_low", "behind_high", "told",
]  # fmt: skip
SIGNS = {"failed": ("×", "× failed"), "constant": ("=", "= all pairs equally close"),
         "too_small": ("–", "– too few models or layers")}  # fmt: skip
"""What stands for a value where there is none, and in words."""
NAMES = {"auprc": "AUPRC", "spearman": "Spearman's ρ"}
TITLES = {"jsd": "output: JSD", "disagreement": "output: disagreement", "accuracy_difference": ""}


class Column(NamedTuple):
    """A test of a recipe, or one measure of it."""

    title: str
    recipe: str
    rows: pd.DataFrame
    """One per metric, in the order of the table."""

    @property
    def counts(self) -> bool:
        """Whether the groups behave differently, as far as it is seen."""
        return not (self.rows["status"] == NOT_GROUNDED).any()


@register(
    per=DOMAIN,
    takes={
        "scored": SCORED,
        "differences": DIFFERENCES,
        "summary": SUMMARY,
        "labels": LABELS,
        "domain": from_plan("domain", lambda plan, domain: domain),
    },
    category="Grounding",
    caption=(
        "What every metric (row) finds in every test of every recipe of a modality: the value, its "
        "95 % interval over models (line) and chance (tick). Colours are lift over chance. The "
        "best value of a test is bold; filled dots are metrics that cannot be told from it by "
        "their difference on the same models, hollow ones are worse."
    ),
    when=GROUNDED,
    latex=latex_overview,
)
def grounding_overview(
    scored: pd.DataFrame,
    differences: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    domain: str,
    labels: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws a table of metrics by tests and recipes of a modality, metrics by their mean rank.

    Columns whose groups do not behave differently are grey and have no best. Signs stand for
    values that there are not.

    Args:
        scored: rows of results/grounding, of several metrics.
        differences: rows of results/grounding/ranks/differences.
        summary: rows of results/grounding/ranks/domains.
        domain: the modality.
        labels: {metric: name for the reader}.
        width: of the figure, in mm, if all columns are as wide as they may be.

    Returns:
        the figure, and its table: the rows of `scored` that it shows, with the mean rank of each
        metric and what tells it from the best (`best, behind, behind_low, behind_high, told`).

    Raises:
        DataError: the modality has no test.
    """
    rows = headline(scored[scored["domain"] == domain])
    if rows.empty:
        raise DataError(f"no recipe of the modality {domain!r} has a test")
    ranks = summary[summary["domain"] == domain].set_index("metric")[["mean_rank", "place"]]
    metrics = [*ranks.index, *sorted(set(rows["metric"]) - set(ranks.index))]
    rows = from_best(rows, differences)
    rows = rows.assign(**{name: rows["metric"].map(ranks[name]) for name in ranks})
    columns = list(_columns(rows, metrics))
    table = pd.concat([column.rows for column in columns], ignore_index=True)
    with style():
        sheet = Sheet.of(columns, named(metrics, labels), width)
        _draw(sheet, columns, ranks.reindex(metrics), domain)
    return sheet.axes.figure, table.reindex(columns=SHOWN)


def _columns(rows: pd.DataFrame, metrics: Sequence[str]) -> Iterator[Column]:
    """Yields the columns test by test, recipes in alphabetical order."""
    titles = rows["measure"].map(TITLES).replace("", np.nan).fillna(rows["test"])
    places = {title: k for k, title in enumerate(titles.unique())}
    keys = rows.assign(title=titles).groupby(["title", "recipe"], sort=True)
    for (title, recipe), part in sorted(keys, key=lambda found: (places[found[0][0]], found[0][1])):
        own = part.drop(columns="title").set_index("metric").reindex(metrics)
        given = own["recipe"].notna()
        yield Column(title, recipe, own[given].reset_index())


@dataclass
class Sheet:
    """Where things stand, in mm from the top left corner.

    Attributes:
        axes: the whole figure.
        names: metrics for the reader, shortened.
        left: where the columns begin.
        cell: width of a column.
        top: where the rows of metrics begin.
        several: whether recipes are named.
        width: of the sheet.
    """

    axes: Axes
    names: list[str]
    left: float
    cell: float
    top: float
    several: bool
    width: float

    @classmethod
    def of(cls, columns: Sequence[Column], names: Sequence[str], width: float) -> Sheet:
        """Returns an empty sheet for some columns and metrics."""
        short_names = shorten(names, 34 if len(columns) <= MANY else 28)
        left = max(max(map(len, short_names)) * LETTER + 2, 22) + RANK
        cell = min((width - left - 2) / len(columns), WIDEST)
        wide = max(left + cell * len(columns) + 2, 0.75 * width)
        recipes = list(dict.fromkeys(column.recipe for column in columns))
        several = len(recipes) > 1
        room = max(map(len, recipes)) * LETTER + 3 if several else 0
        top = 12 + 8 + room + 2 * ROW
        height = top + ROW * (len(names) + 1) + 5 + 3.2 * (_LEGEND_LINES + 150 / wide)
        figure = mpl.Figure(figsize=(wide / 25.4, height / 25.4))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, wide), ylim=(height, 0))
        axes.axis("off")
        return cls(axes, short_names, left, cell, top, several, wide)

    def write(self, x: float, y: float, text: str, **options: object) -> None:
        """Writes text; it is centred, if nothing else is said."""
        self.axes.text(x, y, text, **{"ha": "center", "va": "center", "size": FONT} | options)

    def middle(self, column: int) -> float:
        """Returns the middle of a column."""
        return self.left + self.cell * (column + 0.5)

    def line(self, row: float) -> float:
        """Returns the upper end of a row of metrics; those above have negative numbers."""
        return self.top + ROW * row


_LEGEND_LINES = 7
"""Lines of text below a table of a page's width, about."""


def _draw(sheet: Sheet, columns: Sequence[Column], ranks: pd.DataFrame, domain: str) -> None:
    recipes = list(dict.fromkeys(column.recipe for column in columns))
    of = recipes[0] if len(recipes) == 1 else f"{len(recipes)} recipes"
    sheet.write(2, 5, f"{domain} ({of}): what metrics find", ha="left", size=FONT + 1.5)
    _heads(sheet, columns)
    for k, name in enumerate(sheet.names):
        y = sheet.line(k) + ROW / 2
        sheet.write(2, y, name, ha="left")
        rank, place = ranks.iloc[k]
        text = "–" if pd.isna(rank) else f"{rank:.1f}" if pd.notna(place) else f"({rank:.1f})"
        sheet.write(sheet.left - RANK / 2, y, text)
    places = {metric: k for k, metric in enumerate(ranks.index)}
    for j, column in enumerate(columns):
        for row in column.rows.to_dict("records"):
            _cell(sheet, j, places[row["metric"]], row, column.counts)
    _feet(sheet, columns, len(sheet.names))


def _heads(sheet: Sheet, columns: Sequence[Column]) -> None:
    """Writes what the columns are, how many models they have, and chance."""
    start = 0
    for title, found in groupby(columns, key=lambda column: column.title):
        count = len(list(found))
        x = sheet.left + sheet.cell * start
        lines = textwrap.wrap(title, max(int(sheet.cell * count / LETTER), 6))
        sheet.write(x + sheet.cell * count / 2, 15.5, "\n".join(lines))
        if start:
            sheet.axes.plot([x, x], [12, sheet.line(len(sheet.names))], color=LIGHT, linewidth=0.8)
        start += count
    for k, text in ((-2, "groups × models"), (-1, "chance")):
        sheet.write(2, sheet.line(k) + ROW / 2, text, ha="left", color=GREY)
    sheet.write(sheet.left - RANK / 2, sheet.line(-1), "mean\nrank", color=GREY)
    for j, column in enumerate(columns):
        x, first = sheet.middle(j), column.rows.iloc[0]
        if sheet.several:
            sheet.write(x, sheet.line(-2) - 1, column.recipe, rotation=90, va="bottom")
        groups = int(first["n_groups"])
        size = int(first["n_models"]) // max(groups, 1)
        sheet.write(x, sheet.line(-1.5), f"{groups}×{size}", color=GREY)
        sheet.write(x, sheet.line(-0.5), short(first["chance"]), color=GREY)


def _cell(sheet: Sheet, column: int, row: int, found: Mapping, counts: bool) -> None:
    """Draws one value: the number, its colour, its interval and whether it may be the best."""
    x, y = sheet.left + sheet.cell * column, sheet.line(row)
    if found["status"] not in (OK, NOT_GROUNDED) or np.isnan(found["value"]):
        sign = SIGNS.get(found["status"], (found["status"],))[0]
        sheet.write(x + sheet.cell / 2, y + ROW / 2, sign, color=GREY)
        return
    color = _color(found["lift"]) if counts else (1.0, 1.0, 1.0, 1.0)
    patch = mpl.Rectangle((x + 0.15, y + 0.15), sheet.cell - 0.3, ROW - 0.3, color=color, lw=0)
    sheet.axes.add_patch(patch)
    dark = ink(color) if counts else GREY
    weight = "bold" if found["told"] == "best" else "normal"
    sheet.write(x + sheet.cell / 2, y + 1.75, short(found["value"]), color=dark, weight=weight)
    low = LOWEST.get(found["score"], -1.0)
    span = min(sheet.cell - 1.4, 16.0)
    begin = x + (sheet.cell - span) / 2

    def place(value: float) -> float:
        return begin + span * (value - low) / (1 - low)

    y += ROW - 1.15
    if np.isfinite(found["low"]):
        ends = [place(found["low"]), place(found["high"])]
        sheet.axes.plot(ends, [y, y], color=dark, linewidth=0.7, solid_capstyle="butt")
    chance = place(found["chance"])
    sheet.axes.plot([chance] * 2, [y - 0.6, y + 0.6], color=dark, linewidth=0.6)
    sheet.axes.plot(
        place(found["value"]), y, "o", markersize=2.4, markeredgewidth=0.5, markeredgecolor=dark,
        markerfacecolor=color if found["told"] == "worse" else dark,
    )  # fmt: skip


def _color(lift: float) -> tuple[float, float, float, float]:
    """Returns blue above chance, orange below it, and white at it."""
    shade = mpl.colormaps["PuOr"](0.5 + 0.42 * float(np.clip(lift, -1, 1)))
    return tuple(shade)


def _feet(sheet: Sheet, columns: Sequence[Column], rows: int) -> None:
    """Writes how many metrics are told from the best, and what signs mean."""
    y = sheet.line(rows) + 0.6
    sheet.axes.plot([2, sheet.left + sheet.cell * len(columns)], [y, y], color=GREY, linewidth=0.5)
    sheet.write(2, y + ROW / 2, "told worse than the best", ha="left", color=GREY)
    for j, column in enumerate(columns):
        count = told(column)
        text = "–" if count is None else f"{count[0]}/{count[1]}"
        if len(columns) > MANY:
            text = text.partition("/")[0]
        sheet.write(sheet.middle(j), y + ROW / 2, text, color=GREY)
    text = "\n".join(
        line
        for note in _notes(columns)
        for line in textwrap.wrap(note, int(sheet.width / LETTER * 1.02))
    )
    sheet.write(2, y + ROW + 1.5, text, ha="left", va="top", linespacing=1.3)


def told(column: Column) -> tuple[int, int] | None:
    """Returns how many metrics are told to be worse than the best, and of how many; None: no best.

    Ones whose difference is not known do not count; if it is known of none, there is no number.
    """
    known = column.rows["told"].isin(["worse", "maybe"])
    if not known.any():
        return None
    return int((column.rows["told"] == "worse").sum()), int(known.sum())


def _notes(columns: Sequence[Column]) -> Iterator[str]:
    """Yields what a reader must know to read the table."""
    counts = [found for found in map(told, columns) if found]
    if counts:
        worse, of = (sum(numbers) for numbers in zip(*counts, strict=True))
        yield (
            f"Best of a test: bold. ● cannot be told from the best by its difference on the same "
            f"models (95 %), ○ is worse: of all metrics that are not the best, {of - worse} of "
            f"{of} cannot be told from it."
        )
    rows = pd.concat([column.rows for column in columns])
    if rows["low"].notna().any():
        widths = (rows["high"] - rows["low"]).groupby(rows["score"]).median().dropna()
        wide = ", ".join(f"{NAMES.get(score, score)} {short(w)}" for score, w in widths.items())
        yield (
            f"Lines: 95 % intervals over models, in the range of the score (median width: {wide}); "
            "tick: chance. One test of so few models tells few metrics apart: see the ranks over "
            "all tests."
        )
    yield (
        "Violet: above chance, orange: below, the fuller the further. Tests of groups: AUPRC; "
        "others: Spearman's ρ."
    )
    if not all(column.counts for column in columns):
        yield "Without colour: the groups do not behave differently, and the test does not count."
    if rows["place"].isna().any():
        yield "Mean rank in brackets: values in too few tests for a place."
    signs = [text for status, (_, text) in SIGNS.items() if (rows["status"] == status).any()]
    if signs:
        yield f"No value: {'; '.join(signs)}."
    if (rows["same_seed"] == "drop").any():
        dropped = sorted(rows.loc[rows["same_seed"] == "drop", "recipe"].unique())
        yield f"Without pairs across groups that share a start: {', '.join(dropped)}."
