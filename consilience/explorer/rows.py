"""The charts of the page that are rows: a number with its interval each, the best first."""

import altair as alt

from consilience.explorer.marks import MUTED, ROWS, literal, opacity, params, tooltip

_FOUND = tooltip(
    ("name:N", "metric"), ("value:Q", "value"), ("low:Q", "from"), ("high:Q", "to"),
    ("chance:Q", "chance"), ("p:Q", "p"), ("behind:Q", "difference from the best"),
    ("behind_low:Q", "from"), ("behind_high:Q", "to"), ("said:N", "against the best"),
    ("status:N", "status"),
)  # fmt: skip
RANK = tooltip(
    ("name:N", "metric"), ("value:Q", "mean rank"), ("low:Q", "from"), ("high:Q", "to"),
    ("median_rank:Q", "median rank"), ("place:Q", "place"), ("n_cases:Q", "tests"),
    ("coverage:Q", "share of tests with a value"), ("best_share:Q", "share of draws as the best"),
)  # fmt: skip
DIFFERENCE = tooltip(
    ("pair:N", "what"), ("value:Q", "difference of z"), ("low:Q", "from"), ("high:Q", "to"),
    ("low_simultaneous:Q", "from, all rows together"),
    ("high_simultaneous:Q", "to, all rows together"), ("value_x:Q", "correlation in the first"),
    ("value_y:Q", "correlation in the second"),
)  # fmt: skip


BESIDE = (
    ("value_between:Q", "between families"), ("low_between:Q", "from (families)"),
    ("high_between:Q", "to (families)"), ("value_all:Q", "all pairs"),
    ("low_all:Q", "from (all)"), ("high_all:Q", "to (all)"),
)  # fmt: skip
"""What is told of a difference both between families and over all pairs of models."""
LOWER = 6
"""How far below its row the value over all pairs of models stands, in pixels."""


def across(field: str) -> alt.X:
    """Returns the numbers of rows, along the top."""
    scale = alt.Scale(zero=False, nice=False, padding=10)
    return alt.X(f"{field}:Q", scale=scale, axis=alt.Axis(title="{ax}", orient="top", tickCount=6))


def _rows_axis(*, grid: bool = False) -> alt.Axis:
    """Returns names of rows, cut where there is no `room`, on several lines where `cut` stands."""
    return alt.Axis(
        title=None, labelLimit=alt.ExprRef("room"), labelExpr="split(datum.label, cut)",
        ticks=False, domain=False, grid=grid,
    )  # fmt: skip


def drawn(*fields: str) -> dict[str, str]:
    """Returns ends of lines; without an end they have no length, since scales need numbers."""
    return {
        f"{name}_drawn": f"isValid(datum.{name}) ? datum.{name} : datum.value" for name in fields
    }


def forest(
    told: list[alt.Tooltip],
    *,
    wide: bool = False,
    zero: bool = False,
    rising: bool = False,
    beside: bool = False,
) -> alt.LayerChart:
    """Returns a row per `pair`: its value with the interval from `low` to `high`.

    Args:
        told: tooltip of a row.
        wide: whether a thinner line shows the simultaneous interval.
        zero: whether a line marks zero.
        rising: whether the smallest value stands first.
        beside: whether an open point below shows the value over all pairs of models, where the row
            has one between families.
    """
    order = alt.EncodingSortField("value", order="ascending" if rising else "descending")
    ends = [("low_simultaneous", "high_simultaneous", 1)] if wide else []
    ends.append(("low", "high", 3 if wide else 2))
    further = drawn(*(name for low, high, _ in ends for name in (low, high)))
    base = alt.Chart(ROWS).transform_calculate(**further)
    base = base.encode(y=alt.Y("pair:N", sort=order, axis=_rows_axis()), tooltip=told)
    parts: list[alt.Chart] = []
    if zero:
        one = alt.Chart(ROWS).transform_aggregate(n="count()").transform_calculate(zero="0")
        parts.append(one.mark_rule(strokeDash=[3, 3], color=MUTED).encode(x=across("zero")))
    for low, high, thickness in ends:
        rule = base.mark_rule(strokeWidth=thickness, color=MUTED)
        parts.append(rule.encode(x=across(f"{low}_drawn"), x2=f"{high}_drawn:Q"))
    if beside:
        parts += _beside(base)
    points = base.mark_point(filled=True, size=50, opacity=1)
    return _rows(*parts, points.encode(x=across("value")))


def _beside(base: alt.Chart) -> list[alt.Chart]:
    """Returns the value over all pairs of models with its interval, a little lower."""
    known = "isValid(datum.beside)"  # rows without one are drawn unseen, since scales need numbers
    ends = {
        f"{name}_beside": f"{known} && isValid(datum.{name}_all) ? datum.{name}_all : datum.drawn"
        for name in ("low", "high")
    }
    base = base.transform_calculate(drawn=f"{known} ? datum.beside : datum.value")
    base = base.transform_calculate(**ends).encode(
        opacity=alt.OpacityValue(0, condition={"test": known, "value": 1})
    )
    rule = base.mark_rule(strokeWidth=1, color=MUTED, yOffset=LOWER)
    points = base.mark_point(filled=False, size=25, color=MUTED, yOffset=LOWER)
    return [
        rule.encode(x=across("low_beside"), x2="high_beside:Q"),
        points.encode(x=across("drawn")),
    ]


def grounded() -> alt.LayerChart:
    """Returns a row per metric: its value in a test and the interval, chance, and the best."""
    order = alt.EncodingSortField("value", order="descending")
    base = alt.Chart(ROWS).transform_calculate(**drawn("low", "high"))
    base = base.encode(y=alt.Y("pair:N", sort=order, axis=_rows_axis()), tooltip=_FOUND)
    chance = alt.Chart(ROWS).transform_aggregate(level="min(chance)")
    chance = chance.mark_rule(strokeDash=[3, 3], color=MUTED).encode(x=across("level"))
    rule = base.mark_rule(strokeWidth=2, color=MUTED).encode(
        x=across("low_drawn"), x2="high_drawn:Q"
    )
    points = base.mark_point(filled=True, size=55, opacity=1).encode(
        x=across("value"), color=literal(alt.Color, "color"), shape=literal(alt.Shape, "shape")
    )
    return _rows(chance, rule, points)


def _rows(*parts: alt.Chart) -> alt.LayerChart:
    return alt.layer(*parts).add_params(*params(room=150, cut="\n"))


def reliability() -> alt.LayerChart:
    """Returns a row per dataset: median and range of its reliabilities beside other datasets."""
    told = tooltip(
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
    rule = base.mark_rule(strokeWidth=2, color=MUTED).encode(x=across("low"), x2="high:Q")
    points = base.mark_point(filled=True, size=50, opacity=1)
    return _rows(rule, points.encode(x=across("median")))


def probe() -> alt.LayerChart:
    """Returns a row per probed layer: its score, in the colour of its model's group."""
    base = alt.Chart(ROWS).encode(
        y=alt.Y(
            "name:N",
            sort=alt.EncodingSortField("value", order="descending"),
            axis=_rows_axis(grid=True),
        ),
        x=across("value"),
        opacity=opacity("chosen == '' || datum.model == chosen"),
        tooltip=tooltip(
            ("model:N", "model"), ("layer:N", "layer"), ("group:N", "group"), ("value:Q", "value")
        ),
    )
    points = base.mark_point(filled=True, size=70).encode(
        color=literal(alt.Color, "color"), shape=literal(alt.Shape, "shape")
    )
    return _rows(points).add_params(*params(chosen=""))
