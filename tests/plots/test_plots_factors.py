"""The figure of consistency matched for accuracy: each mean and interval at its place."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from test_plots import check_texts

from consilience.errors import DataError
from consilience.plots.consistency_matched import consistency_matched

MODELS = pd.DataFrame({"objective": ["masked", "rotation"] * 5}, index=[f"m{k}" for k in range(10)])


def means(shift):
    """Returns means of all models, within two groups, and between them, by families of seeds."""
    rows = [
        ("all", "all", "all", 0.6),
        ("objective", "masked", "masked", 0.3),
        ("objective", "rotation", "rotation", 0.8),
        ("objective", "masked", "rotation", 0.1),
    ]
    found = pd.DataFrame(rows, columns=["grouping", "group_x", "group_y", "value"])
    found["value_between"] = found["value"] + shift
    for end, by in (("low", -0.1), ("high", 0.15)):
        found[end], found[f"{end}_between"] = found["value"] + by, found["value_between"] + by
    return pd.concat([
        found.assign(metric="cka", method=method, clusters="seed", n_families=5, n_models=10)
        for method in ("pearson", "spearman")
    ])  # fmt: skip


@pytest.mark.figure("consistency_matched")
def test_rows_have_both_means_with_their_intervals():
    figure, table = consistency_matched(means(0.02), means(-0.25), MODELS, label="CKA")
    check_texts(figure)
    everything, groups = figure.axes
    names = [text.get_text() for text in groups.get_yticklabels()]
    assert [name.partition(" ")[0] for name in names] == ["rotation", "masked"]
    for axes, plain in ((everything, [0.6]), (groups, [0.3, 0.8])):
        dots = [c.get_offsets() for c in axes.collections if len(c.get_offsets()) == len(plain)]
        first, second = (d for d in dots if d[:, 0].max() > 0)
        np.testing.assert_allclose(sorted(first[:, 0]), np.array(plain) + 0.02)
        np.testing.assert_allclose(sorted(second[:, 0]), np.array(plain) - 0.25)
        assert (first[:, 1] < second[:, 1]).all()  # as they are above, matched below
    lines = [p for c in groups.collections for p in c.get_paths() if len(p.vertices) == 2]
    spans = sorted(tuple(np.round(p.vertices[:, 0], 6)) for p in lines)
    assert spans == [(-0.05, 0.2), (0.22, 0.47), (0.45, 0.7), (0.72, 0.97)]
    text = " ".join(" ".join(t.get_text().split()) for t in figure.findobj(Text))
    assert "over pairs of models of different families (`seed`)" in text
    assert set(table["similarities"]) == {"as they are", "matched"}
    assert len(table) == 6


def test_without_a_mean_there_is_no_figure():
    empty = means(0.0).assign(value=np.nan, value_between=np.nan)
    with pytest.raises(DataError, match="no group of models has a mean consistency by CKA"):
        consistency_matched(empty, empty, MODELS, label="CKA")
