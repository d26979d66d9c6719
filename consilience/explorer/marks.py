"""What charts of the page are made of: data, parameters, tooltips, channels."""

from typing import Any

import altair as alt

ROWS = alt.NamedData(name="rows")
FADED = 0.2
MUTED = "#8c8c8c"
NUMBER, COUNT = ".4~g", ",d"
SIZES = (("p:Q", "p"), ("n_models:Q", "models"), ("n_pairs:Q", "pairs"))


def params(**defaults: Any) -> list[alt.Parameter]:  # noqa: ANN401
    """Returns parameters of a chart with the values that they have at first."""
    return [alt.param(name=name, value=value) for name, value in defaults.items()]


def literal(channel: type, field: str) -> Any:  # noqa: ANN401
    """Returns a channel whose values are colours or shapes themselves."""
    return channel(f"{field}:N", scale=None, legend=None)


def tooltip(*fields: tuple[str, str]) -> list[alt.Tooltip]:
    """Returns a tooltip of (field, title); numbers are `field:Q`."""
    return [
        alt.Tooltip(field, title=title, format=COUNT if field.startswith("n_") else NUMBER)
        if field.endswith(":Q")
        else alt.Tooltip(field, title=title)
        for field, title in fields
    ]


def opacity(*tests: str) -> alt.OpacityValue:
    """Returns full opacity where all tests hold, and little elsewhere."""
    test = " && ".join(f"({test})" for test in tests)
    return alt.OpacityValue(FADED, condition={"test": test, "value": 1})
