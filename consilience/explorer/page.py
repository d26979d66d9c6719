"""The page as text: controls, sections, tables, and everything that its script reads."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from consilience import __version__
from consilience.explorer.charts import specs
from consilience.explorer.contents import Contents, nearest_datasets
from consilience.plots.style import PALETTE, Groups, read_groups

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


@cache
def _library() -> str:
    """Returns Vega, Vega-Lite and Vega-Embed as one script, from the package vl-convert."""
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    return vl_convert.javascript_bundle(vl_version=version).replace("</script", "<\\/script")


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
    charts = specs(contents.views.get("consistency", {}).get("further", ()))
    meta = {
        "models": contents.models,
        "datasets": contents.datasets,
        "metrics": contents.metrics,
        "views": contents.views,
        "groups": groups,
        "specs": {name: spec for name, spec in charts.items() if name in _charts(contents)},
        "paths": _PATHS,
        "index": contents.pack.index,
    }
    sections = [*_views(contents), _models(models.loc[contents.models])]
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
        library=_library(),
        script=asset("page.js"),
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


def _select(id_: str, label: str, options: Iterable[tuple[Any, str]]) -> str:
    chosen = "".join(
        f'<option value="{html.escape(str(value))}">{html.escape(text)}</option>'
        for value, text in options
    )
    return f'<label for="{id_}">{label}<select id="{id_}">{chosen}</select></label>'


def _study_controls(contents: Contents, groups: Sequence[Mapping[str, Any]]) -> str:
    described = contents.views["similarity"]["metrics"]
    themes = [("system", "as the system"), ("light", "light"), ("dark", "dark")]
    controls = [
        _select("dataset", "Dataset", enumerate(contents.datasets)),
        _select("metric", "Metric", enumerate(metric["label"] for metric in described)),
        _select("group", "Colour by", enumerate(group["title"] for group in groups)),
        _select("highlight", "Highlight", [("", "no model"), *((m, m) for m in contents.models)]),
        _select("theme", "Theme", themes),
    ]
    return "\n".join(controls)


def _charts(contents: Contents) -> list[str]:
    wanted = {
        "similarity": ["heat", "scatter", "map"],
        "consistency": ["matrix", "intervals"],
        "curves": ["curves", "agreement"],
        "probe": ["probe"],
        "layers": ["layers"],
    }
    return [chart for view in contents.views for chart in wanted[view]]


Section = tuple[str, str, str]


def _figure(id_: str, title: str, caption: str = "", *, tall: bool = False) -> str:
    chart = f'<div id="{id_}"></div>'
    if tall:  # scrolls, by keyboard too
        chart = f'<div class="tall" tabindex="0" role="region" aria-label="{title}">{chart}</div>'
    return (
        f'<h3 id="{id_}-title">{title}</h3><figure data-chart="{id_}">'
        f'{chart}<figcaption id="{id_}-caption">{caption}</figcaption></figure>'
        f'<button type="button" data-csv="{id_}">Download CSV: {title.lower()}</button>'
    )


def _section(id_: str, title: str, controls: Sequence[str], body: str, css: str = "") -> Section:
    bar = f'<div class="controls" role="group" aria-label="{title}">{"".join(controls)}</div>'
    text = (
        f'<section id="{id_}" class="{css}" aria-labelledby="{id_}-head">'
        f'<h2 id="{id_}-head">{title}</h2>{bar if controls else ""}{body}</section>'
    )
    return id_, title, text


def _views(contents: Contents) -> list[Section]:
    makers = {
        "similarity": _similarity,
        "probe": _probe,
        "layers": _layers,
        "consistency": _consistency,
        "curves": _curves,
    }
    return [part for view in makers if view in contents.views for part in makers[view](contents)]


def _similarity(contents: Contents) -> list[Section]:
    orders = [
        ("all", "cluster, all datasets"), ("own", "cluster, this dataset"), ("group", "group"),
        ("name", "name"),
    ]  # fmt: skip
    heat = [
        _select("order", "Order", orders),
        _select("values", "Values", [("value", "raw"), ("calibrated", "calibrated")]),
    ]
    other = [(place, contents.datasets[place]) for place in nearest_datasets(contents)]
    bounds = [
        f'<label for="{id_}">{text}<input id="{id_}" type="number" step="any"></label>'
        for id_, text in (("from", "Mark pairs from"), ("to", "up to"))
    ]
    hint = '<p class="soft">Drag over points to mark pairs here and in the heat map.</p>'
    return [
        _section("similarity", "Similarity", heat, _figure("heat", "Heat map")),
        _section(
            "datasets",
            "Two datasets",
            [_select("other", "Against dataset", other), *bounds],
            hint + _figure("scatter", "Scatter plot"),
        ),
        _section("map-of-models", "Map of models", [], _figure("map", "Map")),
    ]


def _consistency(contents: Contents) -> list[Section]:
    view = contents.views["consistency"]
    sets = [(k, _set_name(*found)) for k, found in enumerate(view["sets"])]
    controls = [
        _select("set", "Models", sets),
        _select("method", "Correlation", enumerate(view["methods"])),
    ]
    if "low_joint" in view["further"]:
        controls.append(_select("interval", "Interval over", INTERVALS))
    caption = "Correlation over pairs of models of their similarities on two datasets."
    lines = "Bars: 95 % intervals, best pairs of datasets first."
    body = (
        f'<div class="two"><div>{_figure("matrix", "Matrix", caption)}</div>'
        f"<div>{_figure('intervals', 'Intervals', lines, tall=True)}</div></div>"
    )
    return [_section("consistency", "Consistency", controls, body, "wide")]


INTERVALS = [("joint", "models and stimuli"), ("models", "models")]


def _set_name(grouping: str, x: str, y: str) -> str:
    if grouping == x == y:
        return "all models"
    return f"{grouping}: {x}" if x == y else f"{grouping}: {x} with {y}"


def _curves(contents: Contents) -> list[Section]:
    names = {"n": "samples", "k": "neighbours", "k_share": "share of neighbours"}
    axes = [(axis, names.get(axis, axis)) for axis in contents.views["curves"]]
    caption = (
        "Thick: median over pairs of models; band: 10 to 90 %; thin: single pairs, evenly over "
        "the ranks. Highlight a model to see its pairs."
    )
    order = "Rank correlation over pairs of models with the values at the largest setting."
    body = (
        f'<div class="two"><div>{_figure("curves", "Curves", caption)}</div>'
        f"<div>{_figure('agreement', 'Agreement of ranks', order)}</div></div>"
    )
    return [_section("sensitivity", "Sensitivity", [_select("axis", "Along", axes)], body, "wide")]


def _probe(contents: Contents) -> list[Section]:
    measures = [(m, m.replace("_", " ")) for m in contents.views["probe"]["measures"]]
    controls = [_select("measure", "Measure", measures)]
    kinds = contents.views["probe"]["kinds"]
    if len(kinds) > 1:
        controls.append(_select("kind", "Kind", enumerate(kinds)))
    caption = "Probes on the test split, mean over seeds."
    figure = _figure("probe", "Accuracies", caption, tall=True)
    return [_section("probes", "Probes", controls, figure)]


def _layers(contents: Contents) -> list[Section]:
    tables = contents.views["layers"].values()
    several = {model for table in tables for model, names in table["layers"] if len(names) > 1}
    shown = contents.views["similarity"]["tables"].get("0 0", {"models": ()})["models"]
    models = enumerate(contents.models)
    first = sorted(models, key=lambda m: (m[0] not in shown, m[0] not in several))
    controls = [
        _select("layers-x", "Model x", first),
        _select("layers-y", "Model y", first[1:] + first[:1]),
    ]
    caption = "Raw values between all layers of two models, first layers first."
    return [_section("layer-maps", "Layers", controls, _figure("layers", "Layer map", caption))]


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
    return _section("models-table", "Models", [], body, "wide")


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
    return _section("provenance-table", "Provenance", [], body, "wide")
