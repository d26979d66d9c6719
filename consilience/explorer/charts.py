"""The charts of the page, as Vega-Lite without data: the page's script gives rows and parameters.

Rows lie under the name `rows`. Parameters: `low` and `high` end the scales, `flip` is whether
smaller is more similar, `chosen` the highlighted model ("" for none), `sel` the brushed
intervals, `names` whether marks carry their names. Axis titles that depend on what is chosen stand
as `{ax}` and `{bx}`.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt

ROWS = alt.NamedData(name="rows")
FADED = 0.2
NEAR = "chosen == '' || datum.model_x == chosen || datum.model_y == chosen"
BRUSHED = "!isValid(sel.a) || (inrange(datum.a, sel.a) && inrange(datum.b, sel.b))"
FURTHER = {"corrected": "corrected for reliability", "overlap": "shared stimuli"}
NUMBER, COUNT = ".4~g", ",d"


def specs(further: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Returns the chart of each view as a checked Vega-Lite specification.

    Args:
        further: columns that the consistency tables of the study have beyond the usual ones.
    """
    told = _tooltip(
        ("x:N", "dataset"), ("y:N", "dataset"), ("value:Q", "correlation"), ("low:Q", "from"),
        ("high:Q", "to"), ("p:Q", "p"), ("n_models:Q", "models"), ("n_pairs:Q", "pairs"),
        *[(f"{name}:Q", text) for name, text in FURTHER.items() if name in further],
        ("status:N", "status"),
    )  # fmt: skip
    charts = {
        "heat": _heat(),
        "scatter": _scatter(),
        "map": _map(),
        "matrix": _matrix(told),
        "intervals": _intervals(told),
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
    legend = alt.Legend(title=None, orient="top", gradientLength=160, gradientThickness=10)
    return alt.Color(f"{field}:Q", scale=scale, legend=legend)


def _literal(channel: type, field: str) -> Any:  # noqa: ANN401
    return channel(f"{field}:N", scale=None, legend=None)


def _names_axis(angle: int = 0) -> alt.Axis:
    return alt.Axis(
        title=None, labelAngle=angle, labelLimit=110, labelOverlap=True, ticks=False, domain=False
    )


def _tooltip(*fields: tuple[str, str]) -> list[alt.Tooltip]:
    """Returns a tooltip of (field, title); numbers are `field:Q`."""
    return [
        alt.Tooltip(field, title=title, format=COUNT if field.startswith("n_") else NUMBER)
        if field.endswith(":Q")
        else alt.Tooltip(field, title=title)
        for field, title in fields
    ]


def _cells(sort_x: str, sort_y: str, x: str, y: str) -> alt.Chart:
    return alt.Chart(ROWS).encode(
        x=alt.X(f"{x}:N", sort=alt.EncodingSortField(sort_x, op="min"), axis=_names_axis(-90)),
        y=alt.Y(f"{y}:N", sort=alt.EncodingSortField(sort_y, op="min"), axis=_names_axis()),
    )


def _opacity(*tests: str) -> alt.OpacityValue:
    test = " && ".join(f"({test})" for test in tests)
    return alt.OpacityValue(FADED, condition={"test": test, "value": 1})


def _heat() -> alt.LayerChart:
    pairs = _tooltip(
        ("model_x:N", "model"), ("model_y:N", "model"), ("a:Q", "this dataset"),
        ("b:Q", "other dataset"), ("why:N", "note"),
    )  # fmt: skip
    base = _cells("px", "py", "model_x", "model_y")
    cells = (
        base.transform_filter("datum.px != datum.py && isValid(datum.a)")
        .mark_rect()
        .encode(color=_color("a"), tooltip=pairs, opacity=_opacity(NEAR, BRUSHED))
    )
    failed = (
        base.transform_filter("datum.px != datum.py && !isValid(datum.a)")
        .mark_text(text="×", color="#8c8c8c", fontSize=9)
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


def _scatter() -> alt.LayerChart:
    brush = alt.selection_interval(name="brush", encodings=["x", "y"])
    fit = {"zero": False, "nice": True}
    points = (
        alt.Chart(ROWS)
        .mark_point(filled=True, size=34)
        .encode(
            x=alt.X("a:Q", scale=alt.Scale(**fit), axis=alt.Axis(title="{ax}")),
            y=alt.Y("b:Q", scale=alt.Scale(**fit), axis=alt.Axis(title="{bx}")),
            color=_literal(alt.Color, "color"),
            shape=_literal(alt.Shape, "shape"),
            opacity=_opacity(NEAR, BRUSHED),
            tooltip=_tooltip(
                ("model_x:N", "model"), ("model_y:N", "model"), ("group_x:N", "group"),
                ("group_y:N", "group"), ("a:Q", "x"), ("b:Q", "y"),
            ),
        )
        .add_params(brush)
    )  # fmt: skip
    return alt.layer(points).add_params(*_params(chosen="", sel={}))


def _map() -> alt.LayerChart:
    square = alt.Scale(domain=[alt.ExprRef("low"), alt.ExprRef("high")], nice=False, zero=False)
    axis = alt.Axis(title=None, labels=False, ticks=False, grid=False, domain=False)
    base = alt.Chart(ROWS).encode(
        x=alt.X("x:Q", scale=square, axis=axis),
        y=alt.Y("y:Q", scale=square, axis=axis),
        opacity=_opacity("chosen == '' || datum.model == chosen"),
    )
    points = base.mark_point(filled=True, size=70).encode(
        color=_literal(alt.Color, "color"),
        shape=_literal(alt.Shape, "shape"),
        tooltip=_tooltip(("model:N", "model"), ("group:N", "group")),
    )
    named = base.transform_filter("names || datum.model == chosen")
    text = named.mark_text(dy=-10, fontSize=11).encode(text="model:N")
    return alt.layer(points, text).add_params(*_params(low=-1, high=1, chosen="", names=True))


def _matrix(told: list[alt.Tooltip]) -> alt.LayerChart:
    scale = alt.Scale(domain=[-1, 1], scheme="redblue", reverse=True)
    legend = alt.Legend(title=None, orient="top", gradientLength=160, gradientThickness=10)
    base = _cells("px", "py", "x", "y").transform_filter("datum.x != datum.y")
    with_value = base.transform_filter("isValid(datum.value)")
    cells = with_value.mark_rect().encode(
        color=alt.Color("value:Q", scale=scale, legend=legend), tooltip=told
    )
    without = base.transform_filter("!isValid(datum.value)").mark_text(text="–", color="#8c8c8c")
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


def _intervals(told: list[alt.Tooltip]) -> alt.LayerChart:
    axis = alt.Axis(title=None, labelLimit=150, ticks=False, domain=False)
    base = alt.Chart(ROWS).encode(
        y=alt.Y("pair:N", sort=alt.EncodingSortField("value", order="descending"), axis=axis),
        tooltip=told,
    )
    across = alt.Scale(zero=False, nice=True)
    axis = alt.Axis(title="correlation", orient="top")
    lines = base.mark_rule(strokeWidth=2, color="#8c8c8c").encode(
        x=alt.X("low:Q", scale=across, axis=axis), x2="high:Q"
    )
    points = base.mark_point(filled=True, size=50, color="#0072B2", opacity=1)
    return alt.layer(lines, points.encode(x=alt.X("value:Q", scale=across, axis=axis)))


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
    axis = alt.Axis(title=None, labelLimit=150, ticks=False, domain=False, grid=True)
    base = alt.Chart(ROWS).encode(
        y=alt.Y("name:N", sort=alt.EncodingSortField("value", order="descending"), axis=axis),
        x=alt.X(
            "value:Q",
            scale=alt.Scale(zero=False, nice=True),
            axis=alt.Axis(title="{ax}", orient="top"),
        ),
        opacity=_opacity("chosen == '' || datum.model == chosen"),
        tooltip=_tooltip(
            ("model:N", "model"), ("layer:N", "layer"), ("group:N", "group"), ("value:Q", "value")
        ),
    )
    points = base.mark_point(filled=True, size=70).encode(
        color=_literal(alt.Color, "color"), shape=_literal(alt.Shape, "shape")
    )
    return alt.layer(points).add_params(*_params(chosen=""))


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
