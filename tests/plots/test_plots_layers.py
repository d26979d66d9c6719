"""The figure of all layers of two models: its cells, its scale, and where it stands in a study."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import AxesImage
from test_plots import check_texts

import consilience as cs
from consilience.config import load_study
from consilience.config.plan import Plan
from consilience.errors import ConfigError, DataError
from consilience.plots.layer_heatmaps import layer_heatmaps
from consilience.plots.style import MetricAxis, color_scale
from consilience.results import Results

AXIS = MetricAxis("CKA", (0.0, 1.0))
STUDY = {
    "models": ["lite0", "squeezenet", "pixels"],
    "datasets": ["digits", "photo_crops"],
    "metrics": ["cka_debiased", "mutual_knn_k10"],
}


def network(depth, d, seed=0, n=40):
    """Layers that are the less alike the further they are apart."""
    rng = np.random.default_rng(seed)
    h = np.random.default_rng(9).normal(size=(n, d))
    found = {}
    for k in range(depth):
        h = h + 0.8 * rng.normal(size=h.shape)
        found[f"block.{k}"] = h
    return found


@pytest.fixture(scope="module")
def tables():
    one, other = (cs.Features(f"net{k}", network(depth, 6, k)) for k, depth in enumerate((5, 3)))
    return {"data": cs.pairwise([one, other])}


def cells(axes):
    """Colours of an image of panels, cell by cell."""
    (image,) = [child for child in axes.get_children() if isinstance(child, AxesImage)]
    return np.asarray(image.get_array())


@pytest.mark.figure("layer_heatmaps")
def test_cells_are_the_values_of_the_table_in_order_of_depth(tables):
    figure, shown = layer_heatmaps(tables, [("net1", "net0"), ("net0", "net0")], axis=AXIS)
    table = tables["data"]
    across, own = figure.axes[:2]
    low, high = figure.axes[-1].get_ylim()
    scale = color_scale(low, high)
    assert low == min(0.0, np.floor(shown["calibrated"].min() / 0.05) * 0.05), "chance or below it"
    for row in shown.itertuples():
        both = table[
            ((table["model_x"] == row.model_x) & (table["layer_x"] == row.layer_x)
             & (table["model_y"] == row.model_y) & (table["layer_y"] == row.layer_y))
            | ((table["model_y"] == row.model_x) & (table["layer_y"] == row.layer_x)
               & (table["model_x"] == row.model_y) & (table["layer_x"] == row.layer_y))
        ]  # fmt: skip
        assert len(both) == 1 and both["calibrated"].iloc[0] == row.calibrated
        axes = own if row.model_x == row.model_y else across
        color = cells(axes)[row.position_x, row.position_y]
        if row.model_x == row.model_y and row.position_x == row.position_y:
            assert np.allclose(color[:3], color[0]), "a layer with itself is grey"
        else:
            assert np.allclose(color, scale.to_rgba(row.calibrated))
    assert cells(across).shape[:2] == (3, 5) and cells(own).shape[:2] == (5, 5)
    assert [t.get_text() for t in across.get_xticklabels()] == [f"block.{k}" for k in range(5)]
    assert (across.get_ylabel(), across.get_xlabel()) == ("← net1", "net0 →")
    chance = [t.get_text() for t in figure.axes[-1].get_yticklabels() if "chance" in t.get_text()]
    assert chance == ["0 chance"]


def sides(figure, axes):
    """Height and width of a cell, in inches."""
    box, (rows, columns) = axes.get_position(), cells(axes).shape[:2]
    wide, high = figure.get_size_inches()
    return box.height * high / rows, box.width * wide / columns


def test_all_cells_are_squares_of_one_size_and_rows_share_their_axis(tables):
    twice = {**tables, "more": tables["data"]}
    figure, _ = layer_heatmaps(twice, [("net0", "net1"), ("net1", "net1")], axis=AXIS)
    panels = figure.axes[:-1]
    assert len(panels) == 4
    for axes in panels:
        assert sides(figure, axes) == pytest.approx(sides(figure, panels[0])[:1] * 2)
    for first, second in (panels[:2], panels[2:]):
        assert first.get_yticklabels() and not second.get_yticklabels()
        assert first.get_position().y0 == second.get_position().y0
    assert [axes.get_title() for axes in panels] == ["data", "more"] * 2


def test_hundreds_of_layers_fit_a_page_and_few_are_small():
    for depth, most in ((120, 175.5), (2, 110.0)):
        own = cs.layers(cs.Features("deep", network(depth, 4, n=12)))
        figure = cs.plot.layers(own)
        assert figure.get_size_inches()[0] * 25.4 <= most
        names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert names[0] == "block.0" and len(names) <= 60


def test_values_without_a_null_are_shown_as_they_are():
    bare = cs.layers(network(3, 5), metric="bures")
    figure = cs.plot.layers(bare)
    assert "without a null" in figure.get_suptitle()
    assert "smaller = more similar" in figure.axes[-1].get_ylabel()


def test_what_cannot_be_drawn_says_why(tables):
    with pytest.raises(DataError, match="no dataset has similarities of layers of the pairs"):
        layer_heatmaps(tables, [("net0", "net7")], axis=AXIS)
    table = pd.DataFrame(tables["data"]).assign(value=np.nan, calibrated=np.nan)
    table.attrs = dict(tables["data"].attrs)
    with pytest.raises(DataError, match="no two layers have a similarity"):
        layer_heatmaps({"data": table}, [("net0", "net1")], axis=AXIS)


def test_a_study_has_it_for_the_pairs_that_it_names():
    def drawn(**plots):
        study = load_study(STUDY | {"plots": plots, "similarity": {"layers": layers}})
        return [name for name in Plan(study, Results()).drawn if "layer_heatmaps" in name]

    layers = "all"
    assert drawn() == []
    assert drawn(layers=[["lite0", "squeezenet"], ["lite0", "lite0"]]) == [
        f"results/figures/layer_heatmaps_{metric}.png" for metric in STUDY["metrics"]
    ]
    layers = "last"
    assert drawn(layers=[["lite0", "squeezenet"]]) == []
    with pytest.raises(ConfigError, match=r"plots.layers\[0\]: 'squeezent' is not in the study; d"):
        drawn(layers=[["lite0", "squeezent"]])
    with pytest.raises(ConfigError, match=r"plots.layers"):
        drawn(layers=[["lite0"]])


@pytest.mark.parametrize(("depth", "datasets"), [(1, 3), (3, 1), (12, 2), (40, 1)])
def test_texts_can_be_read(depth, datasets):
    own = cs.layers(cs.Features("a network with a name", network(depth, 4, n=12)))
    figure = cs.plot.layers({f"dataset {k}": own for k in range(datasets)})
    check_texts(figure)
