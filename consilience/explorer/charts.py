"""The charts of the page, as Vega-Lite without data: the page's script gives rows and parameters.

Rows lie under the name `rows`. Parameters: `low` and `high` end the scales, `flip` is whether
smaller is more similar, `chosen` the highlighted model ("" for none), `sel` the brushed
intervals, `names` whether marks carry their names. Titles of axes and legends that depend on what
is chosen stand as `{ax}`, `{bx}` and `{cx}`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from consilience.explorer.marks import FADED, MUTED, ROWS, SIZES, literal, opacity, params, tooltip
from consilience.explorer.rows import (
    BESIDE,
    DIFFERENCE,
    RANK,
    drawn,
    forest,
    grounded,
    probe,
    reliability,
)

NEAR = "chosen == '' || datum.model_x == chosen || datum.model_y == chosen"
BRUSHED = "!isValid(sel.a) || (inrange(datum.a, sel.a) && inrange(datum.b, sel.b))"
FURTHER = {
    "corrected": "corrected for reliability",
    "reliability_x": "reliability",
    "reliability_y": "reliability of the other",
    "overlap": "shared stimuli",
}
DRIVEN = {"outlier:N": "driven by", "value_without:Q": "all pairs without it"}
"""Who drives a value, where that is told."""


def specs(
    further: Mapping[str, Sequence[str]] | None = None, families: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """Returns the chart of each view as a checked Vega-Lite specification.

    Args:
        further: {view: columns that its tables have beyond the usual ones}.
        families: the views whose tables hold values between families of models.
    """
    more = further or {}
    found = [(f"{k}:Q", v) for k, v in FURTHER.items() if k in more.get("consistency", ())]
    told = tooltip(
        ("x:N", "dataset"), ("y:N", "dataset"), *_values("consistency" in families), *SIZES, *found,
        *_drivers(more.get("consistency", ())), ("status:N", "status"),
    )  # fmt: skip
    related = tooltip(
        ("dataset:N", "dataset"), ("domain:N", "domain"), *_values("behavior" in families), *SIZES,
        *_drivers(more.get("behavior", ())), ("status:N", "status"),
    )  # fmt: skip
    says = more.get("differences", ())
    differ = [
        *DIFFERENCE, *(tooltip(*BESIDE) if "differences" in families else []),
        *tooltip(*_drivers(says), *([("status:N", "status")] if "status" in says else [])),
    ]  # fmt: skip
    beside = {view: view in families for view in ("consistency", "differences", "behavior")}
    charts = {
        "heat": _heat(),
        "scatter": _scatter(),
        "map": _map(),
        "matrix": _matrix(told),
        "intervals": forest(told, beside=beside["consistency"]),
        "differences": forest(differ, wide=True, zero=True, beside=beside["differences"]),
        "reliability": reliability(),
        "corrected": _corrected(told),
        "behavior": _behavior(),
        "relation": forest(related, zero=True, beside=beside["behavior"]),
        "curves": _curves(),
        "agreement": _agreement(),
        "probe": probe(),
        "layers": _layers(),
        "grounded": grounded(),
        "ranks": forest(RANK, rising=True),
    }
    return {name: chart.to_dict() for name, chart in charts.items()}


def _values(families: bool) -> list[tuple[str, str]]:
    """Returns what is told of a correlation: with families also the one that is not shown."""
    if not families:
        return [("value:Q", "correlation"), ("low:Q", "from"), ("high:Q", "to")]
    both = [("value_between", "between families"), ("low_between", "from (families)"),
            ("high_between", "to (families)"), ("p_between", "p (families)"),
            ("value_all", "all pairs"), ("low_all", "from (all)"),
            ("high_all", "to (all)")]  # fmt: skip
    return [*((f"{name}:Q", text) for name, text in both), ("n_families:Q", "families")]


def _drivers(further: Sequence[str]) -> list[tuple[str, str]]:
    return list(DRIVEN.items()) if "outlier" in further else []


def _color(field: str) -> alt.Color:
    """Returns viridis, brighter for more similar, over the range that the script gives."""
    domain = [alt.ExprRef("low"), alt.ExprRef("high")]
    scale = alt.Scale(domain=domain, scheme="viridis", reverse=alt.ExprRef("flip"), clamp=True)
    return alt.Color(f"{field}:Q", scale=scale, legend=_legend())


def _legend() -> alt.Legend:
    return alt.Legend(
        title="{cx}", titleLimit=320, orient="top", gradientLength=160, gradientThickness=10
    )


def _names_axis(title: str, angle: int = 0) -> alt.Axis:
    return alt.Axis(
        title=title, labelAngle=angle, labelLimit=110, labelOverlap=True, ticks=False, domain=False
    )


def _cells(x: str, y: str, what: str) -> alt.Chart:
    order_x, order_y = (alt.EncodingSortField(field, op="min") for field in ("px", "py"))
    return alt.Chart(ROWS).encode(
        x=alt.X(f"{x}:N", sort=order_x, axis=_names_axis(what, -90)),
        y=alt.Y(f"{y}:N", sort=order_y, axis=_names_axis(what)),
    )


def _heat() -> alt.LayerChart:
    pairs = tooltip(
        ("model_x:N", "model"), ("model_y:N", "model"), ("a:Q", "this dataset"),
        ("b:Q", "other dataset"), ("why:N", "note"),
    )  # fmt: skip
    base = _cells("model_x", "model_y", "model")
    cells = (
        base.transform_filter("datum.px != datum.py && isValid(datum.a)")
        .mark_rect()
        .encode(color=_color("a"), tooltip=pairs, opacity=opacity(NEAR, BRUSHED))
    )
    failed = (
        base.transform_filter("datum.px != datum.py && !isValid(datum.a)")
        .mark_text(text="×", color=MUTED, fontSize=9)
        .encode(tooltip=pairs)
    )
    own = (
        base.transform_filter("datum.px == datum.py")
        .mark_rect()
        .encode(
            color=literal(alt.Color, "color"),
            tooltip=tooltip(("model_x:N", "model"), ("group_x:N", "group")),
            opacity=opacity(NEAR),
        )
    )
    layers = alt.layer(cells, failed, own).resolve_scale(color="independent")
    return layers.add_params(*params(low=0, high=1, flip=False, chosen="", sel={}))


def _pair_points(*tests: str) -> alt.Chart:
    """Returns a point per pair of models, with two numbers; `tests` say which are not faded."""
    fit = {"zero": False, "nice": True}
    points = alt.Chart(ROWS).mark_point(filled=True, size=34)
    return points.encode(
        x=alt.X("a:Q", scale=alt.Scale(**fit), axis=alt.Axis(title="{ax}")),
        y=alt.Y("b:Q", scale=alt.Scale(**fit), axis=alt.Axis(title="{bx}")),
        color=literal(alt.Color, "color"),
        shape=literal(alt.Shape, "shape"),
        opacity=opacity(*tests),
        tooltip=tooltip(
            ("model_x:N", "model"), ("model_y:N", "model"), ("group_x:N", "group"),
            ("group_y:N", "group"), ("a:Q", "x"), ("b:Q", "y"),
        ),
    )  # fmt: skip


def _scatter() -> alt.LayerChart:
    brush = alt.selection_interval(name="brush", encodings=["x", "y"])
    points = _pair_points(NEAR, BRUSHED).add_params(brush)
    return alt.layer(points).add_params(*params(chosen="", sel={}))


def _behavior() -> alt.LayerChart:
    return alt.layer(_pair_points(NEAR)).add_params(*params(chosen=""))


def _map() -> alt.LayerChart:
    square = alt.Scale(domain=[alt.ExprRef("low"), alt.ExprRef("high")], nice=False, zero=False)
    axis = {"grid": False, "tickCount": 5}

    def at(x: str, y: str) -> alt.Chart:
        return alt.Chart(ROWS).encode(
            x=alt.X(f"{x}:Q", scale=square, axis=alt.Axis(title="{ax}", **axis)),
            y=alt.Y(f"{y}:Q", scale=square, axis=alt.Axis(title="{bx}", **axis)),
            opacity=opacity("chosen == '' || datum.model == chosen"),
        )

    points = (
        at("x", "y")
        .mark_point(filled=True, size=70)
        .encode(
            color=literal(alt.Color, "color"),
            shape=literal(alt.Shape, "shape"),
            tooltip=tooltip(("model:N", "model"), ("group:N", "group")),
        )
    )
    named = at("label_x", "label_y").transform_filter("datum.named || datum.model == chosen")
    text = named.mark_text(fontSize=11).encode(text="model:N")
    return alt.layer(points, text).add_params(*params(low=-1, high=1, chosen=""))


def _matrix(told: list[alt.Tooltip]) -> alt.LayerChart:
    scale = alt.Scale(domain=[-1, 1], scheme="redblue", reverse=True)
    base = _cells("x", "y", "dataset").transform_filter("datum.x != datum.y")
    with_value = base.transform_filter("isValid(datum.value)")
    cells = with_value.mark_rect().encode(
        color=alt.Color("tint:Q", scale=scale, legend=_legend()), tooltip=told
    )
    without = base.transform_filter("!isValid(datum.value)").mark_text(text="–", color=MUTED)
    on_dark = "abs(datum.tint) > 0.65"
    text = with_value.transform_filter("names").encode(
        color=alt.ColorValue("#1a1a1a", condition={"test": on_dark, "value": "#ffffff"})
    )
    value = text.transform_calculate(told="format(datum.value, '.2f') + datum.marks")
    value = value.mark_text(dy=-5, fontSize=11).encode(text="told:N")
    plain = text.mark_text(dy=18, fontSize=9).encode(text="plain:N")
    interval = text.transform_calculate(
        interval="isValid(datum.low) ? format(datum.low, '.2f') + '…' + format(datum.high, '.2f')"
        " : ''"
    )
    interval = interval.mark_text(dy=7, fontSize=9).encode(text="interval:N")
    layers = alt.layer(cells, without.encode(tooltip=told), value, interval, plain)
    return layers.add_params(*params(names=True))


def _corrected(told: list[alt.Tooltip]) -> alt.LayerChart:
    """Returns raw against corrected consistency, a point per pair of datasets."""

    def at(x: str, y: str) -> dict[str, Any]:
        fit = alt.Scale(zero=False, nice=False, padding=10)
        return {
            "x": alt.X(f"{x}:Q", scale=fit, axis=alt.Axis(title="{ax}")),
            "y": alt.Y(f"{y}:Q", scale=fit, axis=alt.Axis(title="{bx}")),
        }

    ends = alt.Chart(ROWS).transform_aggregate(least="min(value)", most="max(corrected)")
    same = ends.mark_rule(strokeDash=[3, 3], color=MUTED).encode(
        **at("least", "least"), x2="most:Q", y2="most:Q"
    )
    base = alt.Chart(ROWS).transform_calculate(**drawn("low", "high"))
    base = base.encode(tooltip=[*told, *tooltip(("corrected_status:N", "correction"))])
    line = base.mark_rule(color=MUTED).encode(**at("low_drawn", "corrected"), x2="high_drawn:Q")
    points = base.mark_point(filled=True, size=50, opacity=1)
    return alt.layer(same, line, points.encode(**at("value", "corrected")))


def _setting_axis() -> alt.X:
    scale = alt.Scale(type="log", nice=False)
    axis = alt.Axis(title="{ax}", values=alt.ExprRef("ticks"), format="~s")
    return alt.X("setting:Q", scale=scale, axis=axis)


def _curves() -> alt.LayerChart:
    fit = alt.Scale(zero=False)
    pairs = (
        alt.Chart(ROWS)
        .transform_filter("isValid(datum.model_x)")
        .mark_line(strokeWidth=1)
        .encode(
            x=_setting_axis(),
            y=alt.Y("value:Q", scale=fit, axis=alt.Axis(title="{bx}")),
            detail="pair:N",
            color=literal(alt.Color, "color"),
            opacity=alt.OpacityValue(
                FADED, condition={"test": NEAR, "value": alt.ExprRef("chosen == '' ? 0.35 : 1")}
            ),
            tooltip=tooltip(("model_x:N", "model"), ("model_y:N", "model"), ("value:Q", "value")),
        )
    )
    whole = alt.Chart(ROWS).transform_filter("!isValid(datum.model_x)").encode(x=_setting_axis())
    band = whole.mark_area(opacity=0.25, color="#56B4E9").encode(y="low:Q", y2="high:Q")
    shown = tooltip(("median:Q", "median"), ("low:Q", "10 %"), ("high:Q", "90 %"))
    line = whole.mark_line(point=True, color="#0072B2", strokeWidth=2.5).encode(
        y="median:Q", tooltip=[alt.Tooltip("setting:Q"), *shown]
    )
    return alt.layer(band, pairs, line).add_params(*params(ticks=[], chosen=""))


def _agreement() -> alt.Chart:
    axis = alt.Axis(title="rank correlation with the largest")
    chart = alt.Chart(ROWS).mark_line(point=True, color="#D55E00", strokeWidth=2.5)
    chart = chart.encode(
        x=_setting_axis(),
        y=alt.Y("agreement:Q", scale=alt.Scale(zero=False), axis=axis),
        tooltip=[alt.Tooltip("setting:Q"), *tooltip(("agreement:Q", "rank correlation"))],
    )
    return chart.add_params(*params(ticks=[]))


def _layers() -> alt.Chart:
    base = alt.Chart(ROWS).encode(
        x=alt.X("layer_x:N", sort=None, axis=_axis_titled("ax", -90)),
        y=alt.Y("layer_y:N", sort=None, axis=_axis_titled("bx", 0)),
        color=_color("value"),
        tooltip=tooltip(
            ("layer_x:N", "layer of x"), ("layer_y:N", "layer of y"), ("value:Q", "similarity")
        ),
    )
    return base.mark_rect().add_params(*params(low=0, high=1, flip=False))


def _axis_titled(name: str, angle: int) -> alt.Axis:
    return alt.Axis(
        title=f"{{{name}}}", labelAngle=angle, labelLimit=110, ticks=False, domain=False
    )
