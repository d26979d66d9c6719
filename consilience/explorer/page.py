"""The page as text: controls, sections, tables, and everything that its script reads."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

import pandas as pd

from consilience import __version__
from consilience.explorer.charts import specs
from consilience.explorer.contents import Contents
from consilience.explorer.library import script_library
from consilience.explorer.sections import Section, section, select, shown_charts, views
from consilience.plots.style import METHODS, PALETTE, Groups, read_groups

_SHAPES = {
    "o": "circle",
    "s": "square",
    "D": "diamond",
    "^": "triangle-up",
    "v": "triangle-down",
    "P": "cross",
    "X": "M-1,-.6L-.6,-1L0,-.4L.6,-1L1,-.6L.4,0L1,.6L.6,1L0,.4L-.6,1L-1,.6L-.4,0Z",
}
"""Matplotlib's markers as Vega names them; the last it does not have, so as a path."""
_PATHS = {
    "circle": "M-1,0A1,1 0 1 0 1,0A1,1 0 1 0 -1,0Z",
    "square": "M-.9,-.9H.9V.9H-.9Z",
    "diamond": "M0,-1.1L1.1,0L0,1.1L-1.1,0Z",
    "triangle-up": "M0,-1L1,.9H-1Z",
    "triangle-down": "M0,1L1,-.9H-1Z",
    "cross": "M-.35,-1H.35V-.35H1V.35H.35V1H-.35V.35H-1V-.35H-.35Z",
}
"""The same shapes for the page's own legend."""


def asset(name: str) -> str:
    """Returns the text of a file beside this module."""
    return files("consilience.explorer").joinpath(name).read_text(encoding="utf8")


def render(
    contents: Contents, models: pd.DataFrame, group: str | None, provenance: Mapping[str, Any]
) -> str:
    """Returns the whole page.

    Args:
        contents: numbers and views.
        models: metadata indexed by model id.
        group: metadata column that colours the models at first.
        provenance: see `_provenance`.
    """
    groups = _groups(models.loc[contents.models], group)
    shown = {
        view: contents.views.get(view, {}) for view in ("consistency", "differences", "behavior")
    }
    charts = specs(
        {view: found.get("further", ()) for view, found in shown.items()},
        [view for view, found in shown.items() if found.get("families")],
    )
    meta = {
        "models": contents.models,
        "datasets": contents.datasets,
        "metrics": contents.metrics,
        "views": contents.views,
        "groups": groups,
        "specs": {name: spec for name, spec in charts.items() if name in shown_charts(contents)},
        "methods": METHODS,
        "paths": _PATHS,
        "index": contents.pack.index,
    }
    sections = [*views(contents), _models(models.loc[contents.models])]
    sections.append(_provenance(contents, provenance))
    counts = ((contents.models, "models"), (contents.datasets, "datasets"))
    summary = [f"{len(ids)} {what}" for ids, what in (*counts, (contents.metrics, "metrics"))]
    return Template(asset("page.html")).substitute(
        css=asset("page.css"),
        summary=" · ".join(summary),
        links="\n".join(f'<li><a href="#{id_}">{title}</a></li>' for id_, title, _ in sections),
        controls=_study_controls(contents, groups),
        sections="\n".join(text for _, _, text in sections),
        version=__version__,
        meta=_json(meta),
        pack=contents.pack.text(),
        library=script_library(),
        script="".join(asset(f"page.{part}js") for part in ("", "families.", "grounding.")),
    )


def _json(value: Any) -> str:  # noqa: ANN401
    """Returns JSON that cannot end the element that holds it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c")


def _groups(models: pd.DataFrame, first: str | None) -> list[dict[str, Any]]:
    """Returns the groupings to colour by: columns that tell models apart, the study's own first."""
    columns = [column for column in models.columns if 1 < models[column].nunique() <= len(PALETTE)]
    columns = list(dict.fromkeys([*([first] if first in models.columns else []), *columns]))
    return [_group(read_groups(models, column)) for column in columns or [None]]


def _group(groups: Groups) -> dict[str, Any]:
    return {
        "title": groups.column or "all models",
        "names": list(groups.names),
        "colors": [groups.color(name) for name in groups.names],
        "shapes": [_SHAPES[groups.marker(name)] for name in groups.names],
        "of": [groups.names.index(name) for name in groups.of.values()],
    }


def _study_controls(contents: Contents, groups: Sequence[Mapping[str, Any]]) -> str:
    described = contents.views["similarity"]["metrics"]
    themes = [("system", "as the system"), ("light", "light"), ("dark", "dark")]
    controls = [
        select("dataset", "Dataset", enumerate(contents.datasets)),
        select("metric", "Metric", enumerate(metric["label"] for metric in described)),
        select("group", "Colour by", enumerate(group["title"] for group in groups)),
        select("highlight", "Highlight", [("", "no model"), *((m, m) for m in contents.models)]),
        select("theme", "Theme", themes),
    ]
    return "\n".join(controls)


def _table(id_: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    heads = "".join(
        f'<th scope="col"><button type="button" data-sort>{html.escape(name)}</button></th>'
        for name in header
    )
    cells = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{id_}"><table id="{id_}">'
        f"<thead><tr>{heads}</tr></thead><tbody>{cells}</tbody></table></div>"
        f'<p><button type="button" data-table="{id_}">Download CSV: {id_}</button></p>'
    )


def _models(models: pd.DataFrame) -> Section:
    filled = models.loc[:, models.ne("").any()]
    rows = ([str(row[0]), *map(str, row[1:])] for row in filled.itertuples())
    body = _table("models", ["model", *map(str, filled.columns)], rows)
    return section("models-table", "Models", [], body, "wide")


def _provenance(contents: Contents, found: Mapping[str, Any]) -> Section:
    """Returns the section on study, versions, files, hashes and commands.

    `found` has `facts` ({name: text}), `study` (the settings as JSON), and `files`, rows of file,
    SHA-256 and command.
    """
    facts = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>"
        for name, text in found["facts"].items()
    )
    notes = "".join(f"<p>Not on this page: {html.escape(note)}</p>" for note in contents.left_out)
    study = (
        f"<details><summary>The study</summary><pre>{html.escape(found['study'])}</pre></details>"
    )
    header = ["file", "SHA-256", "command that makes it again"]
    body = f"<dl>{facts}</dl>{notes}{study}{_table('provenance', header, found['files'])}"
    return section("provenance-table", "Provenance", [], body, "wide")
