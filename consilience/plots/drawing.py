"""From a figure to its files: vector and raster formats, and the table that it shows.

Only matplotlib's Figure is used, never its global state, so nothing needs a screen.
"""

from __future__ import annotations

import logging
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from consilience.errors import DataError
from consilience.files import atomic
from consilience.plots import mpl
from consilience.plots.facts import FIGURES, Material
from consilience.plots.style import COLUMN, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

DPI = 300
REASON = "reason"
"""Column of the table beside a figure that is not drawn."""
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
NO_DATES = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


def draw_figure(
    name: str, stem: str | Path, files: Mapping[str, Sequence[str | Path]], said: Mapping[str, Any]
) -> None:
    """Draws a registered figure from the files of a study.

    Args:
        name: of the figure.
        stem: path of the figure's files without their endings.
        files: {name: paths} of the result tables that the figure's facts ask for.
        said: {name: value} that the facts take from the study's plan.

    Raises:
        ConfigError: there is no such figure.
    """
    facts = FIGURES[name]
    shown = draw(stem, facts.function, **facts.arguments(Material(files, said)))
    if facts.latex is not None:
        save_latex(shown, f"{stem}.tex", facts.latex)


def save_figure(figure: Figure, table: pd.DataFrame, stem: str | Path) -> list[Path]:
    """Writes `stem`.svg, .pdf, .png (300 dpi) and .csv, each whole or not at all.

    The bytes depend on figure and table alone: no date, no random ids.

    Returns:
        the four paths.
    """
    stem = Path(stem)
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in (*NO_DATES, "csv")]
    with style():
        _settle(figure)
        for path, (kind, metadata) in zip(paths, NO_DATES.items(), strict=False):
            with atomic(path) as temporary:
                _print(figure, temporary, kind, metadata)
                if kind == "svg":
                    _without_odd_signs(temporary)
    with atomic(paths[-1]) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    return paths


def _settle(figure: Figure) -> None:
    """Lays a figure out once for all formats; the layout settles at the second pass."""
    engine = figure.get_layout_engine()
    if engine is not None:
        for _ in range(2):
            engine.execute(figure)
        figure.set_layout_engine("none")


def _print(figure: Figure, path: Path, kind: str, metadata: Mapping[str, Any]) -> None:
    """Draws a figure once, as it is laid out, which `savefig` does twice."""
    figure.set_dpi(DPI)  # of what is no vector; a format leaves its own behind
    if kind == "svg":
        mpl.FigureCanvasSVG(figure).print_svg(path, metadata=metadata)
    elif kind == "pdf":
        mpl.FigureCanvasPdf(figure).print_pdf(path, metadata=metadata)
    else:
        mpl.FigureCanvasAgg(figure).print_png(path, metadata=metadata)


def _without_odd_signs(path: Path) -> None:
    """Puts a mark in place of signs that a label may hold and XML may not."""
    text = path.read_bytes().decode("utf8")
    if _NO_XML.search(text):
        path.write_bytes(_NO_XML.sub("\ufffd", text).encode("utf8"))


def save_latex(
    table: pd.DataFrame, path: str | Path, latex: int | Callable[[pd.DataFrame], str]
) -> None:
    """Writes a table as a LaTeX `tabular`, which needs no package, or as a figure's own function.

    Args:
        table: what to write; missing values are empty cells. One that says why there is no figure
            is written as it is.
        path: of the file.
        latex: decimals of numbers that are no counts, or what makes the text of the table.
    """
    if callable(latex) and REASON not in table:
        text = latex(table)
    else:
        text = _tabular(table, 0 if callable(latex) else latex)
    with atomic(Path(path)) as temporary:
        Path(temporary).write_text(text, encoding="utf8")


def _tabular(table: pd.DataFrame, decimals: int) -> str:
    lines = [table.columns, *table.itertuples(index=False)]
    rows = [" & ".join(_cell(value, decimals) for value in line) + r" \\" for line in lines]
    head = rf"\begin{{tabular}}{{{'r' * table.shape[1]}}}"
    text = [head, r"\hline", rows[0], r"\hline", *rows[1:], r"\hline", r"\end{tabular}", ""]
    return "\n".join(text)


def _cell(value: Any, decimals: int) -> str:  # noqa: ANN401
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.{decimals}f}"
    return re.sub(r"([&%$#_{}])", r"\\\1", str(value))


def draw(
    stem: str | Path,
    function: Callable[..., tuple[Figure, pd.DataFrame]],
    *tables: Any,  # noqa: ANN401
    **settings: Any,  # noqa: ANN401
) -> pd.DataFrame:
    """Writes the figure that a function makes of tables, or one that says why there is none.

    A study too small for a figure is no failure of the study, but nobody should wonder where the
    figure is.

    Returns:
        the table beside the figure.
    """
    try:
        figure, table = function(*tables, **settings)
    except DataError as error:
        logger.warning("%s: %s", stem, error)
        figure, table = _say(str(error)), pd.DataFrame({REASON: [str(error)]})
    save_figure(figure, table, stem)
    return table


def _say(reason: str) -> Figure:
    with style():
        figure = mpl.Figure(figsize=(COLUMN / 25.4, 1))
        text = textwrap.fill(f"Not drawn: {reason}", 55)
        figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure
