"""The charts of the page, as Vega-Lite without data: the page's script gives rows and parameters.

Rows lie under the name `rows`. Parameters: `low` and `high` end the scales, `flip` is whether
smaller is more similar, `chosen` the highlighted model ("" for none), `sel` the brushed
intervals, `names` whether marks carry their names. Titles of axes and legends that depend on what
is chosen stand as `{ax}`, `{bx}` and `{cx}`.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt

ROWS = alt.NamedData(name="rows")
FADED = 0.2
NEAR = "chosen == '' || datum.model_x == chosen || datum.model_y == chosen"
BRUSHED = "!isValid(sel.a) || (inrange(datum.a, sel.a) && inrange(datum.b, sel.b))"
FURTHER = {
    "corrected": "corrected for reliability",
    "reliability_x": "reliability",
    "reliability_y": "reliability of the other",
    "overlap": "shared stimuli",
}
MUTED = "#8c8c8c"
NUMBER, COUNT = ".4~g", ",d"


def specs(further: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Returns the chart of each view as a checked Vega-Lite specification.

    Args:
        further: columns that the consistency tables of the study have beyond the usual ones.
    """
    told = _tooltip(
        ("x:N", "dataset"), ("y:N", "dataset"), ("value:Q", "correlation"), ("low:Q", "from"),
        *SIZES, *[(f"{name}:Q", text) for name, text in FURTHER.items() if name in further],
        ("status:N", "status"),
    )  # fmt: skip
    charts = {
        "heat": _heat(),
        "scatter": _scatter(),
        "map": _map(),
        "matrix": _matrix(told),
        "intervals": _forest(told),
        "differences": _forest(_DIFFERENCE, wide=True, zero=True),
        "reliability": _reliability(),
        "corrected": _corrected(told),
        "behavior": _behavior(),
        "relation": _forest(_RELATION, zero=True),
        "curves": _curves(),
        "agreement": _agreement(),
        "probe": _probe(),
        "layers": _layers(),
    }
    return {name: chart.to_dict() for name, chart in charts.items()}


def _params(**defaults: Any) -> list[alt.Parameter]:  # noqa: ANN401
    return [alt.param(name=name, value=value) for name, value in defaults.items()]


def _color(field: str) -> alt.Color:
    """Returns viridis, brighter for more similar, over the range that the script gives."""
    domain = [alt.ExprRef("low"), alt.ExprRef("high")]
    scale = alt.Scale(domain=domain, scheme="viridis", reverse=alt.ExprRef("flip"), clamp=True)
    return alt.Color(f"{field}:Q", scale=scale, legend=_legend())


def _legend() -> alt.Legend:
    return alt.Legend(
        title="{cx}", titleLimit=320, orient="top", gradientLength=160, gradientThickness=10
    )


def _literal(channel: type, field: str) -> Any:  # noqa: ANN401
    return channel(f"{field}:N", scale=None, legend=None)


def _names_axis(title: str, angle: int = 0) -> alt.Axis:
    return alt.Axis(
        title=title, labelAngle=angle, labelLimit=110, labelOverlap=True, ticks=False, domain=False
    )


def _tooltip(*fields: tuple[str, str]) -> list[alt.Tooltip]:
    """Returns a tooltip of (field, title); numbers are `field:Q`."""
    return [
        alt.Tooltip(field, title=title, format=COUNT if field.startswith("n_") else NUMBER)
        if field.endswith(":Q")
        else alt.Tooltip(field, title=title)
        for field, title in fields
    ]


def _cells(x: str, y: str, what: str) -> alt.Chart:
    order_x, order_y = (alt.EncodingSortField(field, op="min") for field in ("px", "py"))
    return alt.Chart(ROWS).encode(
        x=alt.X(f"{x}:N", sort=order_x, axis=_names_axis(what, -90)),
        y=alt.Y(f"{y}:N", sort=order_y, axis=_names_axis(what)),
    )


def _opacity(*tests: str) -> alt.OpacityValue:
    test = " && ".join(f"({test})" for test in tests)
    return alt.OpacityValue(FADED, condition={"test": test, "value": 1})


def _heat() -> alt.LayerChart:
    pairs = _tooltip(
        ("model_x:N", "model"), ("model_y:N", "model"), ("a:Q", "this dataset"),
        ("b:Q", "other dataset"), ("why:N", "note"),
    )  # fmt: skip
    base = _cells("model_x", "model_y", "model")
    cells = (
        base.transform_filter("datum.px != datum.py && isValid(datum.a)")
        .mark_rect()
        .encode(color=_color("a"), tooltip=pairs, opacity=_opacity(NEAR, BRUSHED))
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
            color=_literal(alt.Color, "color"),
            tooltip=_tooltip(("model_x:N", "model"), ("group_x:N", "group")),
            opacity=_opacity(NEAR),
        )
    )
    layers = alt.layer(cells, failed, own).resolve_scale(color="independent")
    return layers.add_params(*_params(low=0, high=1, flip=False, chosen="", sel={}))


def _pair_points(*tests: str) -> alt.Chart:
    """Returns a point per pair of models, with two numbers; `tests` say which are not faded."""
    fit = {"zero": False, "nice": True}
    points = alt.Chart(ROWS).mark_point(filled=True, size=34)
    return points.encode(
        x=alt.X("a:Q", scale=alt.Scale(**fit), axis=alt.Axis(title="{ax}")),
        y=alt.Y("b:Q", scale=alt.Scale(**fit), axis=alt.Axis(title="{bx}")),
        color=_literal(alt.Color, "color"),
        shape=_literal(alt.Shape, "shape"),
        opacity=_opacity(*tests),
        tooltip=_tooltip(
            ("model_x:N", "model"), ("model_y:N", "model"), ("group_x:N", "group"),
            ("group_y:N", "group"), ("a:Q", "x"), ("b:Q", "y"),
        ),
    )  # fmt: skip


def _scatter() -> alt.LayerChart:
    brush = alt.selection_interval(name="brush", encodings=["x", "y"])
    points = _pair_points(NEAR, BRUSHED).add_params(brush)
    return alt.layer(points).add_params(*_params(chosen="", sel={}))


def _behavior() -> alt.LayerChart:
    return alt.layer(_pair_points(NEAR)).add_params(*_params(chosen=""))


def _map() -> alt.LayerChart:
    square = alt.Scale(domain=[alt.ExprRef("low"), alt.ExprRef("high")], nice=False, zero=False)
    axis = {"grid": False, "tickCount": 5}

    def at(x: str, y: str) -> alt.Chart:
        return alt.Chart(ROWS).encode(
            x=alt.X(f"{x}:Q", scale=square, axis=alt.Axis(title="{ax}", **axis)),
            y=alt.Y(f"{y}:Q", scale=square, axis=alt.Axis(title="{bx}", **axis)),
            opacity=_opacity("chosen == '' || datum.model == chosen"),
        )

    points = (
        at("x", "y")
        .mark_point(filled=True, size=70)
        .encode(
            color=_literal(alt.Color, "color"),
            shape=_literal(alt.Shape, "shape"),
            tooltip=_tooltip(("model:N", "model"), ("group:N", "group")),
        )
    )
    named = at("label_x", "label_y").transform_filter("datum.named || datum.model == chosen")
    text = named.mark_text(fontSize=11).encode(text="model:N")
    return alt.layer(points, text).add_params(*_params(low=-1, high=1, chosen=""))


def _matrix(told: list[alt.Tooltip]) -> alt.LayerChart:
    scale = alt.Scale(domain=[-1, 1], scheme="redblue", reverse=True)
    base = _cells("x", "y", "dataset").transform_filter("datum.x != datum.y")
    with_value = base.transform_filter("isValid(datum.value)")
    cells = with_value.mark_rect().encode(
        color=alt.Color("value:Q", scale=scale, legend=_legend()), tooltip=told
    )
    without = base.transform_filter("!isValid(datum.value)").mark_text(text="–", color=MUTED)
    on_dark = "abs(datum.value) > 0.65"
    text = with_value.transform_filter("names").encode(
        color=alt.ColorValue("#1a1a1a", condition={"test": on_dark, "value": "#ffffff"})
    )
    value = text.mark_text(dy=-5, fontSize=11).encode(text=alt.Text("value:Q", format=".2f"))
    interval = text.transform_calculate(
        interval="isValid(datum.low) ? format(datum.low, '.2f') + '…' + format(datum.high, '.2f')"
        " : ''"
    )
    interval = interval.mark_text(dy=7, fontSize=9).encode(text="interval:N")
    layers = alt.layer(cells, without.encode(tooltip=told), value, interval)
    return layers.add_params(*_params(names=True))


SIZES = (("p:Q", "p"), ("n_models:Q", "models"), ("n_pairs:Q", "pairs"))
_RELATION = _tooltip(
    ("dataset:N", "dataset"), ("domain:N", "domain"), ("value:Q", "correlation"), ("low:Q", "from"),
    ("high:Q", "to"), *SIZES, ("status:N", "status"),
)  # fmt: skip
_DIFFERENCE = _tooltip(
    ("pair:N", "what"), ("value:Q", "difference of z"), ("low:Q", "from"), ("high:Q", "to"),
    ("low_simultaneous:Q", "from, all rows together"),
    ("high_simultaneous:Q", "to, all rows together"), ("value_x:Q", "correlation in the first"),
    ("value_y:Q", "correlation in the second"),
)  # fmt: skip


def _across(field: str) -> alt.X:
    scale = alt.Scale(zero=False, nice=False, padding=10)
    return alt.X(f"{field}:Q", scale=scale, axis=alt.Axis(title="{ax}", orient="top", tickCount=6))


def _rows_axis(*, grid: bool = False) -> alt.Axis:
    """Returns names of rows, cut where there is no `room`, on several lines where `cut` stands."""
    return alt.Axis(
        title=None, labelLimit=alt.ExprRef("room"), labelExpr="split(datum.label, cut)",
        ticks=False, domain=False, grid=grid,
    )  # fmt: skip


def _drawn(*fields: str) -> dict[str, str]:
    """Returns ends of lines; without an end they have no length, since scales need numbers."""
    return {
        f"{name}_drawn": f"isValid(datum.{name}) ? datum.{name} : datum.value" for name in fields
    }


def _forest(told: list[alt.Tooltip], *, wide: bool = False, zero: bool = False) -> alt.LayerChart:
    """Returns a row per `pair`: its value with the interval from `low` to `high`.

    Args:
        told: tooltip of a row.
        wide: whether a thinner line shows the simultaneous interval.
        zero: whether a line marks zero.
    """
    order = alt.EncodingSortField("value", order="descending")
    ends = [("low_simultaneous", "high_simultaneous", 1)] if wide else []
    ends.append(("low", "high", 3 if wide else 2))
    drawn = _drawn(*(name for low, high, _ in ends for name in (low, high)))
    base = alt.Chart(ROWS).transform_calculate(**drawn)
    base = base.encode(y=alt.Y("pair:N", sort=order, axis=_rows_axis()), tooltip=told)
    parts: list[alt.Chart] = []
    if zero:
        one = alt.Chart(ROWS).transform_aggregate(n="count()").transform_calculate(zero="0")
        parts.append(one.mark_rule(strokeDash=[3, 3], color=MUTED).encode(x=_across("zero")))
    for low, high, thickness in ends:
        rule = base.mark_rule(strokeWidth=thickness, color=MUTED)
        parts.append(rule.encode(x=_across(f"{low}_drawn"), x2=f"{high}_drawn:Q"))
    points = base.mark_point(filled=True, size=50, opacity=1)
    return _rows(*parts, points.encode(x=_across("value")))


def _rows(*parts: alt.Chart) -> alt.LayerChart:
    return alt.layer(*parts).add_params(*_params(room=150, cut="\n"))


def _reliability() -> alt.LayerChart:
    """Returns a row per dataset: median and range of its reliabilities beside other datasets."""
    told = _tooltip(
        ("dataset:N", "dataset"), ("median:Q", "median"), ("low:Q", "lowest"),
        ("high:Q", "highest"), ("n_others:Q", "other datasets"),
    )  # fmt: skip
    order = alt.EncodingSortField("median", order="descending")
    base = (
        alt.Chart(ROWS)
        .transform_aggregate(
            median="median(reliability)", low="min(reliability)", high="max(reliability)",
            n_others="count()", groupby=["dataset"],
        )
        .encode(y=alt.Y("dataset:N", sort=order, axis=_rows_axis()), tooltip=told)
    )  # fmt: skip
    rule = base.mark_rule(strokeWidth=2, color=MUTED).encode(x=_across("low"), x2="high:Q")
    points = base.mark_point(filled=True, size=50, opacity=1)
    return _rows(rule, points.encode(x=_across("median")))


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
    base = alt.Chart(ROWS).transform_calculate(**_drawn("low", "high"))
    base = base.encode(tooltip=[*told, *_tooltip(("corrected_status:N", "correction"))])
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
            color=_literal(alt.Color, "color"),
            opacity=alt.OpacityValue(
                FADED, condition={"test": NEAR, "value": alt.ExprRef("chosen == '' ? 0.35 : 1")}
            ),
            tooltip=_tooltip(("model_x:N", "model"), ("model_y:N", "model"), ("value:Q", "value")),
        )
    )
    whole = alt.Chart(ROWS).transform_filter("!isValid(datum.model_x)").encode(x=_setting_axis())
    band = whole.mark_area(opacity=0.25, color="#56B4E9").encode(y="low:Q", y2="high:Q")
    shown = _tooltip(("median:Q", "median"), ("low:Q", "10 %"), ("high:Q", "90 %"))
    line = whole.mark_line(point=True, color="#0072B2", strokeWidth=2.5).encode(
        y="median:Q", tooltip=[alt.Tooltip("setting:Q"), *shown]
    )
    return alt.layer(band, pairs, line).add_params(*_params(ticks=[], chosen=""))


def _agreement() -> alt.Chart:
    axis = alt.Axis(title="rank correlation with the largest")
    chart = alt.Chart(ROWS).mark_line(point=True, color="#D55E00", strokeWidth=2.5)
    chart = chart.encode(
        x=_setting_axis(),
        y=alt.Y("agreement:Q", scale=alt.Scale(zero=False), axis=axis),
        tooltip=[alt.Tooltip("setting:Q"), *_tooltip(("agreement:Q", "rank correlation"))],
    )
    return chart.add_params(*_params(ticks=[]))


def _probe() -> alt.LayerChart:
    base = alt.Chart(ROWS).encode(
        y=alt.Y(
            "name:N",
            sort=alt.EncodingSortField("value", order="descending"),
            axis=_rows_axis(grid=True),
        ),
        x=_across("value"),
        opacity=_opacity("chosen == '' || datum.model == chosen"),
        tooltip=_tooltip(
            ("model:N", "model"), ("layer:N", "layer"), ("group:N", "group"), ("value:Q", "value")
        ),
    )
    points = base.mark_point(filled=True, size=70).encode(
        color=_literal(alt.Color, "color"), shape=_literal(alt.Shape, "shape")
    )
    return _rows(points).add_params(*_params(chosen=""))


def _layers() -> alt.Chart:
    base = alt.Chart(ROWS).encode(
        x=alt.X("layer_x:N", sort=None, axis=_axis_titled("ax", -90)),
        y=alt.Y("layer_y:N", sort=None, axis=_axis_titled("bx", 0)),
        color=_color("value"),
        tooltip=_tooltip(
            ("layer_x:N", "layer of x"), ("layer_y:N", "layer of y"), ("value:Q", "similarity")
        ),
    )
    return base.mark_rect().add_params(*_params(low=0, high=1, flip=False))


def _axis_titled(name: str, angle: int) -> alt.Axis:
    return alt.Axis(
        title=f"{{{name}}}", labelAngle=angle, labelLimit=110, ticks=False, domain=False
    )
