"""The sections of the page: what each view is called, its controls, its charts and downloads."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from consilience.explorer.contents import Contents, nearest_datasets
from consilience.plots.style import METHODS

Section = tuple[str, str, str]
"""Id, title and HTML."""
CHARTS = {
    "similarity": ["heat", "scatter", "map"],
    "consistency": ["matrix", "intervals"],
    "differences": ["differences"],
    "reliability": ["reliability", "corrected"],
    "behavior": ["behavior", "relation"],
    "curves": ["curves", "agreement"],
    "probe": ["probe"],
    "layers": ["layers"],
    "grounding": ["grounded", "ranks"],
}
"""The charts of each view of `Contents`."""


def shown_charts(contents: Contents) -> list[str]:
    """Returns the charts of the views that the study has."""
    shown = [view for view in contents.views if has_view(contents, view)]
    charts = [chart for view in shown for chart in CHARTS[view]]
    has_relation = bool(contents.views.get("behavior", {}).get("columns"))
    lacking = set() if has_relation else {"relation"}
    if not contents.views.get("grounding", {}).get("ranks", {}).get("columns"):
        lacking.add("ranks")
    return [chart for chart in charts if chart not in lacking]


def has_view(contents: Contents, view: str) -> bool:
    """Returns whether a view shows anything: that of similarities also says what metrics are."""
    if view == "similarity":
        return bool(contents.views[view]["tables"])
    return view in contents.views


def select(id_: str, label: str, options: Iterable[tuple[Any, str]]) -> str:
    """Returns a labelled control to choose one of (value, text)."""
    chosen = "".join(
        f'<option value="{html.escape(str(value))}">{html.escape(text)}</option>'
        for value, text in options
    )
    return f'<label for="{id_}">{label}<select id="{id_}">{chosen}</select></label>'


def _figure(id_: str, title: str, caption: str = "", *, tall: bool = False) -> str:
    chart = f'<div id="{id_}"></div>'
    if tall:  # scrolls, by keyboard too
        chart = f'<div class="tall" tabindex="0" role="region" aria-label="{title}">{chart}</div>'
    return (
        f'<h3 id="{id_}-title">{title}</h3><figure data-chart="{id_}">'
        f'{chart}<figcaption id="{id_}-caption">{caption}</figcaption></figure>'
        f'<button type="button" data-csv="{id_}">Download CSV: {title.lower()}</button>'
    )


def section(id_: str, title: str, controls: Sequence[str], body: str, css: str = "") -> Section:
    """Returns a part of the page with its controls."""
    bar = f'<div class="controls" role="group" aria-label="{title}">{"".join(controls)}</div>'
    text = (
        f'<section id="{id_}" class="{css}" aria-labelledby="{id_}-head">'
        f'<h2 id="{id_}-head">{title}</h2>{bar if controls else ""}{body}</section>'
    )
    return id_, title, text


def views(contents: Contents) -> list[Section]:
    """Returns the sections of all views that the study has."""
    makers = {
        "similarity": _similarity,
        "probe": _probe,
        "layers": _layers,
        "consistency": _consistency,
        "differences": _differences,
        "reliability": _reliability,
        "behavior": _behavior,
        "curves": _curves,
        "grounding": _grounding,
    }
    shown = [view for view in makers if has_view(contents, view)]
    return [part for view in shown for part in makers[view](contents)]


def _similarity(contents: Contents) -> list[Section]:
    orders = [
        ("all", "cluster, all datasets"), ("own", "cluster, this dataset"), ("group", "group"),
        ("name", "name"),
    ]  # fmt: skip
    heat = [
        select("order", "Order", orders),
        select("values", "Values", [("value", "raw"), ("calibrated", "calibrated")]),
    ]
    other = [(place, contents.datasets[place]) for place in nearest_datasets(contents)]
    bounds = [
        f'<label for="{id_}">{text}<input id="{id_}" type="number" step="any"></label>'
        for id_, text in (("from", "Mark pairs from"), ("to", "up to"))
    ]
    hint = '<p class="soft">Drag over points to mark pairs here and in the heat map.</p>'
    return [
        section("similarity", "Similarity", heat, _figure("heat", "Heat map")),
        section(
            "datasets",
            "Two datasets",
            [select("other", "Against dataset", other), *bounds],
            hint + _figure("scatter", "Scatter plot"),
        ),
        section("map-of-models", "Map of models", [], _figure("map", "Map")),
    ]


def _consistency(contents: Contents) -> list[Section]:
    view = contents.views["consistency"]
    controls = [
        select("set", "Models", _sets(view["sets"])),
        select("method", "Correlation", _methods(view["texts"]["method"])),
    ]
    if "low_joint" in view["further"]:
        controls.append(select("interval", "Interval over", INTERVALS))
    controls += _pairs("pairs", view)
    caption = "Correlation over pairs of models of their similarities on two datasets."
    lines = "Bars: 95 % intervals, best pairs of datasets first."
    body = (
        f'<div class="two"><div>{_figure("matrix", "Matrix", caption)}</div>'
        f"<div>{_figure('intervals', 'Intervals', lines, tall=True)}</div></div>"
    )
    return [section("consistency", "Consistency", controls, body, "wide")]


def _pairs(id_: str, view: Mapping[str, Any]) -> list[str]:
    """Returns the control of which pairs of models count, where models are of families."""
    if not view.get("families"):
        return []
    choices = [("between", f"between families ({view['families']})"), ("all", "all pairs")]
    return [select(id_, "Pairs of models", choices)]


INTERVALS = [("joint", "models and stimuli"), ("models", "models")]


def _methods(names: Sequence[str]) -> list[tuple[Any, str]]:
    return [(name, METHODS.get(name, name)) for name in names]


def _sets(sets: Sequence[Sequence[str]]) -> list[tuple[Any, str]]:
    return [(place, _set_name(*found)) for place, found in enumerate(sets)]


def _set_name(grouping: str, x: str, y: str) -> str:
    if grouping == x == y:
        return "all models"
    return f"{grouping}: {x}" if x == y else f"{grouping}: {x} with {y}"


def _differences(contents: Contents) -> list[Section]:
    view = contents.views["differences"]
    groupings = dict.fromkeys(grouping for grouping, _, _ in view["sets"])
    choices = [(f"mean {name}", f"{name}: all groups, mean") for name in groupings]
    for place, (grouping, x, y) in enumerate(view["sets"]):
        choices.append((place, f"{grouping}: {x} – {y}, each pair of datasets"))
    controls = [
        select("difference", "Compare", choices),
        select("difference-method", "Correlation", _methods(view["texts"]["method"])),
        *_pairs("difference-pairs", view),
    ]
    figure = _figure("differences", "Differences between groups", " ", tall=True)
    title = "Differences of consistency"
    return [section("differences-view", title, controls, figure, "wide")]


def _reliability(contents: Contents) -> list[Section]:
    view, sets = contents.views["reliability"], _sets(contents.views["consistency"]["sets"])
    controls = [
        select("reliability-set", "Models", [sets[place] for place in view["sets"]]),
        select("reliability-method", "Correlation", _methods(view["methods"])),
    ]
    halves = (
        "Split-half reliability of the similarities over the stimuli, raised to all stimuli. "
        "Point: median over the other datasets; bar: their range."
    )
    figure = _figure("reliability", "Reliability of each dataset", halves, tall=True)
    right = _figure("corrected", "Raw and corrected consistency", " ")
    body = f'<div class="two"><div>{figure}</div><div>{right}</div></div>'
    return [section("reliability-view", "Reliability", controls, body, "wide")]


def _behavior(contents: Contents) -> list[Section]:
    view = contents.views["behavior"]
    controls = [select("behavior-measure", "Measure", enumerate(t for _, t in view["measures"]))]
    body = f"<div>{_figure('behavior', 'Pairs of models', ' ')}</div>"
    if view["columns"]:
        controls.append(select("behavior-method", "Correlation", _methods(view["texts"]["method"])))
        controls += _pairs("behavior-pairs", view)
        body += f"<div>{_figure('relation', 'Every dataset', ' ', tall=True)}</div>"
    body = f'<div class="two">{body}</div>'
    return [section("behavior-view", "Behavior", controls, body, "wide")]


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
    return [section("sensitivity", "Sensitivity", [select("axis", "Along", axes)], body, "wide")]


def _probe(contents: Contents) -> list[Section]:
    measures = [(m, m.replace("_", " ")) for m in contents.views["probe"]["measures"]]
    controls = [select("measure", "Measure", measures)]
    kinds = contents.views["probe"]["kinds"]
    if len(kinds) > 1:
        controls.append(select("kind", "Kind", enumerate(kinds)))
    caption = "Probes on the test split, mean over seeds."
    figure = _figure("probe", "Accuracies", caption, tall=True)
    return [section("probes", "Probes", controls, figure)]


def _layers(contents: Contents) -> list[Section]:
    tables = contents.views["layers"].values()
    several = {model for table in tables for model, names in table["layers"] if len(names) > 1}
    shown = contents.views["similarity"]["tables"].get("0 0", {"models": ()})["models"]
    models = enumerate(contents.models)
    first = sorted(models, key=lambda m: (m[0] not in shown, m[0] not in several))
    controls = [
        select("layers-x", "Model x", first),
        select("layers-y", "Model y", first[1:] + first[:1]),
    ]
    caption = "Raw values between all layers of two models, first layers first."
    return [section("layer-maps", "Layers", controls, _figure("layers", "Layer map", caption))]


def _grounding(contents: Contents) -> list[Section]:
    view = contents.views["grounding"]
    domains = dict.fromkeys(domain for domain, *_ in view["cases"])
    tests = [
        (place, f"{domain}: {recipe}, {test}{f' ({measure})' if test == 'output' else ''}")
        for place, (domain, recipe, test, measure) in enumerate(view["cases"])
    ]
    controls = [
        select("grounding-domain", "Modality", ((name, name) for name in domains)),
        select("grounding-test", "Test", tests),
    ]
    hint = (
        "What every metric finds in every test. Violet: above chance, orange: below. The best of a "
        "test is bold; ● cannot be told from it by its difference on the same models, ○ is worse. "
        "Grey columns do not count: their groups do not behave differently. Choose a value to see "
        "its interval, and the whole test below; choose a metric to see it in all views."
    )
    name = "What metrics find"
    table = (
        f'<p class="soft">{hint}</p><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{name}"><table id="grounding-table"><thead></thead><tbody></tbody></table>'
        '</div><p id="grounding-detail" aria-live="polite"></p>'
        '<button type="button" data-csv="grounding-table">Download CSV: what metrics find</button>'
    )
    charts = [_figure("grounded", "One test", " ", tall=True)]
    if view["ranks"]["columns"]:
        charts.append(_figure("ranks", "Mean ranks", " ", tall=True))
    both = "".join(f"<div>{chart}</div>" for chart in charts)
    body = f'{table}<div class="two">{both}</div>'
    return [section("grounding-view", "Grounding", controls, body, "wide")]
