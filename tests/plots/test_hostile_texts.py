"""Texts of catalogues in figures: drawn as they are, whatever they hold (K12)."""

from xml.etree import ElementTree

import matplotlib.cbook
import pandas as pd
import pytest
from matplotlib.figure import Figure

from consilience.plots import save_figure
from consilience.plots.style import is_formula, style

ODD = [
    "a$\\x", "b^{$", "$\\frac{$", "100 % {0} {x.__class__}", "<b>&amp;</b>", "x" * 300,
    "one\ntwo", "\u202eright to left", "$\\mathdefault{{$", "-->", "\x0bcut\x1f", "", "\\$", "$$$$",
]  # fmt: skip
"""What somebody may call a group or a metric; figures of a whole study are in test_figures.py."""


@pytest.mark.filterwarnings("ignore:Glyph")
def test_odd_texts_make_sound_files(tmp_path):
    with style():
        figure = Figure()
        axes = figure.add_subplot()
        axes.set_xticks(range(len(ODD)), ODD)
        axes.set(title=" / ".join(ODD), yscale="log", ylim=(1e-3, 1e3), label=ODD[10])
    paths = save_figure(figure, pd.DataFrame({"x": ODD}), tmp_path / "odd")
    assert all(path.stat().st_size > 0 for path in paths)
    ElementTree.parse(paths[0])


@pytest.mark.parametrize(
    ("text", "math"),
    [
        (r"$d_\mathrm{LLV}$", True),
        (r"$2 M\,$$d_\mathrm{LLV}$", True),
        (r"1 − $m_\mathrm{CCA}$ of f", True),
        (r"$T_1$ (of labels)", True),
        (r"$\mathdefault{10^{-2}}$", True),
        (r"$\mathdefault{-2\times10^{3}}$", True),
        (r"$\mathdefault{0}$", True),
        ("$†$", True),
        ("no dollar", False),
        ("5 $", False),
        ("$x$", False),
        (r"$\frac{$", False),
        (r"$d_\mathrm{LLV}$ of a$b", False),
        (r"$\mathdefault{{$", False),
        (r"$\mathdefault{10^{$", False),
    ],
)
def test_formulas_are_ours(text, math):
    assert is_formula(text) is math


def test_the_library_is_as_it_was_behind_the_block():
    before = matplotlib.cbook.is_math_text
    with style():
        with style():
            assert matplotlib.cbook.is_math_text is is_formula
        assert matplotlib.cbook.is_math_text is is_formula
    assert matplotlib.cbook.is_math_text is before and before("$x$")
