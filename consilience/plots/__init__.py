"""Figures from tables: each function returns a figure and the table that it shows.

A figure is a function in a module of this folder, registered with its facts (`facts.py`).
"""

from consilience.plots.asked import targets
from consilience.plots.drawing import draw, draw_figure, save_figure
from consilience.plots.facts import FIGURES, Facts, Material, Plan, register
from consilience.plots.inputs import (
    Inputs,
    read_axis,
    read_inputs,
    read_metrics,
    read_models,
    read_rows,
    read_tables,
)
from consilience.plots.ordering import model_order
from consilience.plots.style import COLUMN, PAGE, MetricAxis

__all__ = [
    "COLUMN",
    "FIGURES",
    "PAGE",
    "Facts",
    "Inputs",
    "Material",
    "MetricAxis",
    "Plan",
    "draw",
    "draw_figure",
    "model_order",
    "read_axis",
    "read_inputs",
    "read_metrics",
    "read_models",
    "read_rows",
    "read_tables",
    "register",
    "save_figure",
    "targets",
]
