"""What figures use of matplotlib, imported when the first of them is drawn.

A plan reads the facts of all figures, which stand beside the functions that draw them, and must not
wait for a drawing library.
"""

import importlib
from typing import Any

_HOMES = {
    "Bbox": "matplotlib.transforms",
    "Figure": "matplotlib.figure",
    "FigureCanvasAgg": "matplotlib.backends.backend_agg",
    "FigureCanvasPdf": "matplotlib.backends.backend_pdf",
    "FigureCanvasSVG": "matplotlib.backends.backend_svg",
    "Line2D": "matplotlib.lines",
    "LogLocator": "matplotlib.ticker",
    "MaxNLocator": "matplotlib.ticker",
    "Normalize": "matplotlib.colors",
    "NullFormatter": "matplotlib.ticker",
    "Patch": "matplotlib.patches",
    "Rectangle": "matplotlib.patches",
    "ScalarMappable": "matplotlib.cm",
    "Text": "matplotlib.text",
    "cbook": "matplotlib",
    "colormaps": "matplotlib",
    "get_backend": "matplotlib",
    "rcParamsDefault": "matplotlib",
    "rc_context": "matplotlib",
    "to_rgb": "matplotlib.colors",
    "to_rgba": "matplotlib.colors",
    "withStroke": "matplotlib.patheffects",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _HOMES:
        raise AttributeError(f"consilience.plots.mpl has no {name!r}; add it to the table there")
    return getattr(importlib.import_module(_HOMES[name]), name)
