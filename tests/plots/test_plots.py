"""Figures: what they show, that it can be read, and that their bytes repeat."""

from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from consilience.consistency import measure_consistency
from consilience.errors import ConfigError, DataError
from consilience.files import file_digest
from consilience.plots import FIGURES, MetricAxis, model_order, save_figure
from consilience.plots.consistency_distribution import consistency_distribution
from consilience.plots.consistency_heatmap import consistency_heatmap
from consilience.plots.model_map import model_map
from consilience.plots.ordering import embed, read_all
from consilience.plots.similarity_accuracy import similarity_accuracy
from consilience.plots.similarity_heatmaps import similarity_heatmaps
from consilience.plots.similarity_scatter import similarity_scatter
from consilience.plots.style import FONT, PALETTE, ink, minus, plain_dollars, read_groups, shorten

AXIS = MetricAxis("CKA (linear, debiased)", (-1.0, 1.0))
KINDS = ("image-text", "self-supervised", "supervised", "untrained")


def study(m, *, datasets=3, kinds=3, seed=0):
    """Models in clusters by kind, seen by several datasets; the last dataset lacks one model."""
    rng = np.random.default_rng(seed)
    ids = [
        f"vit_base_patch16_224.augreg_{k:02d}" if k % 4 == 0 else f"net{k:02d}" for k in range(m)
    ]
    kind = np.arange(m) % kinds
    base = rng.normal(size=(kinds, 4))[kind] + 0.5 * rng.normal(size=(m, 4))
    tables, accuracy = {}, []
    for d in range(datasets):
        x = base + 0.3 * rng.normal(size=(m, 4))
        here = m - 1 if d == datasets - 1 else m
        i, j = np.triu_indices(here)
        value = np.exp(-((x[i] - x[j]) ** 2).sum(axis=1) / 6)
        value[2] = np.nan if d == 0 else value[2]
        names = np.array(ids)
        tables[f"dataset_{d}"] = pd.DataFrame(
            {
                "dataset": f"dataset_{d}",
                "metric": "cka",
                "model_x": names[i],
                "layer_x": "last",
                "model_y": names[j],
                "layer_y": "last",
                "value": value,
            }
        )
        share = 1 / (1 + np.exp(-x[:, 0]))
        accuracy += [(f"dataset_{d}", *row) for row in zip(ids, share, strict=True)]
    models = pd.DataFrame({"kind": np.array(KINDS)[kind]}, index=ids)
    return tables, models, pd.DataFrame(accuracy, columns=["dataset", "model", "accuracy"])


def consistency_of(tables, models):
    return measure_consistency(tables, models, groups=["kind"], bootstrap=30, permutations=0)


def all_figures(m, **options):
    tables, models, accuracy = study(m, **options)
    rows = consistency_of(tables, models)
    both = pd.concat([rows, rows.assign(metric="rsa_spearman")])
    common = {"axis": AXIS, "group": "kind"}
    return {
        "similarity_heatmaps": similarity_heatmaps(tables, models, **common),
        "consistency_heatmap": consistency_heatmap(both),
        "consistency_heatmap_column": consistency_heatmap(rows, width=85),
        "similarity_scatter": similarity_scatter(tables, rows, models, **common),
        "consistency_distribution": consistency_distribution(rows, models, group="kind"),
        "model_map": model_map(tables, models, **common),
        "similarity_accuracy": similarity_accuracy(tables, accuracy, models, **common),
    }


@pytest.fixture(scope="module")
def small():
    return all_figures(8, kinds=2)


@pytest.fixture(scope="module")
def medium():
    return all_figures(10)


@pytest.fixture(scope="module")
def large():
    return all_figures(64, kinds=4)


DRAWN = (
    "similarity_heatmaps",
    "consistency_heatmap",
    "consistency_heatmap_column",
    "similarity_scatter",
    "consistency_distribution",
    "model_map",
    "similarity_accuracy",
)
SIZES = ("small", "medium", "large")


def drawn_texts(figure):
    """Texts inside the figure's own clipping: matplotlib keeps some tick labels out of view."""
    hidden = set()
    for axes in figure.axes:
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            slack = 1e-9 * abs(high - low)
            for tick, place in zip(axis.get_major_ticks(), axis.get_majorticklocs(), strict=False):
                if not min(low, high) - slack <= place <= max(low, high) + slack:
                    hidden.add(id(tick.label1))
            hidden |= {id(tick.label2) for tick in axis.get_major_ticks()}
    FigureCanvasAgg(figure)
    return [
        (text.get_text(), text.get_fontsize(), Text.get_window_extent(text))
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and id(text) not in hidden
    ]


def check_texts(figure):
    with plain_dollars():
        for _ in range(2):
            figure.draw_without_rendering()
        texts = drawn_texts(figure)
    assert len(texts) > 5
    assert min(font for _, font, _ in texts) >= FONT
    width, height = figure.bbox.width, figure.bbox.height
    for text, _, box in texts:
        assert box.x0 > -1, text
        assert box.y0 > -1, text
        assert box.x1 < width + 1, text
        assert box.y1 < height + 1, text
    for (a, _, box), (b, _, other) in combinations(texts, 2):
        if a == b == "●":  # the two dots of a pair of groups touch
            continue
        overlap_x = min(box.x1, other.x1) - max(box.x0, other.x0)
        overlap_y = min(box.y1, other.y1) - max(box.y0, other.y0)
        assert min(overlap_x, overlap_y) < 1.5, f"{a!r} overlaps {b!r}"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", DRAWN)
def test_texts_are_large_enough_inside_and_apart(name, size, request):
    figure, _ = request.getfixturevalue(size)[name]
    check_texts(figure)


@pytest.mark.parametrize("name", DRAWN)
def test_files_repeat_byte_for_byte(name, tmp_path):
    tables, models, accuracy = study(8, datasets=2, kinds=2)
    rows = consistency_of(tables, models)
    common = {"axis": AXIS, "group": "kind"}
    draw = {
        "similarity_heatmaps": lambda: similarity_heatmaps(tables, models, **common),
        "consistency_heatmap": lambda: consistency_heatmap(rows),
        "consistency_heatmap_column": lambda: consistency_heatmap(rows, width=85),
        "similarity_scatter": lambda: similarity_scatter(tables, rows, models, **common),
        "consistency_distribution": lambda: consistency_distribution(rows, models, group="kind"),
        "model_map": lambda: model_map(tables, models, **common),
        "similarity_accuracy": lambda: similarity_accuracy(tables, accuracy, models, **common),
    }[name]
    first = save_figure(*draw(), tmp_path / "one" / "cka_rbf_0.4")
    second = save_figure(*draw(), tmp_path / "two" / "cka_rbf_0.4")
    assert [path.name for path in first] == [
        f"cka_rbf_0.4.{k}" for k in ("svg", "pdf", "png", "csv")
    ]
    assert list(map(file_digest, first)) == list(map(file_digest, second))
    assert len(list((tmp_path / "one").iterdir())) == 4
    assert Image.open(first[2]).info["dpi"][0] >= 200
    assert b"<dc:date>" not in first[0].read_bytes()
    assert b"CreationDate" not in first[1].read_bytes()


# --- what the figures show ------------------------------------------------------------------------


@pytest.mark.figure("similarity_heatmaps")
def test_heatmap_table_holds_every_pair_in_one_common_order():
    tables, models, _ = study(8, kinds=2)
    _, table = similarity_heatmaps(tables, models, axis=AXIS)
    assert len(table) == 3 * 28
    order = model_order(read_all(tables, None), AXIS)
    assert (table["model_x"] == table["position_x"].map(dict(enumerate(order)))).all()
    source = tables["dataset_1"].set_index(["model_x", "model_y"])["value"]
    chosen = table[table["dataset"] == "dataset_1"]
    for row in chosen.itertuples():
        pair = (row.model_x, row.model_y)
        assert row.value == source[pair if pair in source.index else pair[::-1]]
    lacking = models.index[-1]
    absent = table["value"].isna() & (table["dataset"] == "dataset_2")
    assert (table.loc[absent, ["model_x", "model_y"]] == lacking).any(axis=1).all()
    assert absent.sum() == 7


def test_model_order_puts_planted_clusters_side_by_side():
    names = [f"m{k}" for k in range(6)]
    i, j = np.triu_indices(6)
    value = np.where(i % 2 == j % 2, 0.9, 0.1)
    table = pd.DataFrame(
        {
            "metric": "cka", "model_x": np.array(names)[i], "layer_x": "l",
            "model_y": np.array(names)[j], "layer_y": "l", "value": value,
        }
    )  # fmt: skip
    for larger in (True, False):
        shown = table if larger else table.assign(value=1 - table["value"])
        axis = MetricAxis("a", (0.0, 1.0), larger)
        order = model_order(read_all({"d": shown}, None), axis)
        assert len({int(name[1]) % 2 for name in order[:3]}) == 1


def test_brighter_is_more_similar_in_either_direction():
    tables, models, _ = study(6, kinds=2)
    flipped = {name: t.assign(value=1 - t["value"]) for name, t in tables.items()}
    images = []
    for shown, larger in ((tables, True), (flipped, False)):
        figure, table = similarity_heatmaps(shown, models, axis=MetricAxis("a", (0.0, 1.0), larger))
        image = np.asarray(figure.axes[1].images[0].get_array())[..., :3].sum(axis=-1)
        chosen = table[table["dataset"] == "dataset_1"]
        value = chosen["value"] if larger else 1 - chosen["value"]
        images.append(np.corrcoef(image[chosen["position_x"], chosen["position_y"]], value)[0, 1])
    assert min(images) > 0.8


@pytest.mark.figure("similarity_scatter")
def test_scatter_of_many_dataset_pairs_shows_the_extremes_and_says_so():
    tables, models, _ = study(8, datasets=5, kinds=2)
    rows = consistency_of(tables, models)
    figure, table = similarity_scatter(tables, rows, models, axis=AXIS, group="kind", max_panels=4)
    shown = table[["dataset_x", "dataset_y"]].drop_duplicates()
    assert len(shown) == len(figure.axes) == 4
    assert "4 of 10 dataset pairs" in figure.get_suptitle()
    base = rows[(rows["grouping"] == "all") & (rows["method"] == "pearson")]
    value = base.set_index(["dataset_x", "dataset_y"])["value"]
    picked = [value[tuple(pair)] for pair in shown.itertuples(index=False)]
    assert picked == sorted(picked)
    assert (picked[0], picked[-1]) == (value.min(), value.max())


@pytest.mark.figure("similarity_scatter")
def test_scatter_titles_carry_r_its_interval_and_n():
    tables, models, _ = study(8, kinds=2)
    rows = consistency_of(tables, models)
    figure, table = similarity_scatter(tables, rows, models, axis=AXIS)
    for axes in figure.axes:
        pair = table[
            (table["dataset_x"] == axes.get_xlabel()) & (table["dataset_y"] == axes.get_ylabel())
        ]
        r = np.corrcoef(pair["value_x"], pair["value_y"])[0, 1]
        assert minus(f"r = {r:.2f} [") in axes.get_title()
        assert f"{len(pair)} model pairs" in axes.get_title()
        x, y = axes.lines[0].get_data()
        line = np.polyfit(pair["value_x"], pair["value_y"], 1)
        np.testing.assert_allclose(y, np.polyval(line, x), atol=1e-9)


@pytest.mark.figure("consistency_heatmap")
def test_cells_of_dataset_pairs_hold_the_numbers_of_all_models():
    tables, models, _ = study(8, kinds=2)
    rows = consistency_of(tables, models)
    both = pd.concat([rows, rows.assign(metric="other", value=-rows["value"])])
    figure, table = consistency_heatmap(both, labels={"other": "another metric"})
    base = rows[(rows["grouping"] == "all") & (rows["method"] == "pearson")]
    assert table["value"].tolist() == [*base["value"], *-base["value"]]
    assert figure.axes[1].get_title().startswith("another metric")
    known = base.set_index(["dataset_x", "dataset_y"])["value"]
    for axes, sign in zip(figure.axes[:2], (1, -1), strict=True):
        at = {text.get_position(): text.get_text() for text in axes.texts}
        for (x, y), value in known.items():
            place = int(x[-1]) + 0.5, int(y[-1]) + 0.5
            assert at[place].startswith(minus(f"{sign * value:.2f}"))


@pytest.mark.figure("consistency_distribution")
def test_distribution_lists_what_is_too_small():
    tables, models, _ = study(8, kinds=2)
    models["kind"] = ["few", "few", *["many"] * 6]
    rows = consistency_of(tables, models)
    figure, table = consistency_distribution(rows, models, group="kind")
    assert "few (n = 2)" in figure.get_supxlabel()
    assert "few – many" in figure.get_supxlabel()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["many (n = 3)"]
    assert set(table["grouping"]) == {"all", "kind"}


@pytest.mark.figure("similarity_accuracy")
def test_accuracy_gap_table_and_r():
    tables, models, accuracy = study(9, kinds=2)
    _, table = similarity_accuracy(tables, accuracy, models, axis=AXIS, group="kind")
    share = accuracy.set_index(["dataset", "model"])["accuracy"]
    for dataset, part in table.groupby("dataset"):
        gap = [
            100 * abs(share[dataset, a] - share[dataset, b])
            for a, b in zip(part["model_x"], part["model_y"], strict=True)
        ]
        np.testing.assert_allclose(part["accuracy_gap"], gap, atol=1e-12)
        r = np.corrcoef(part["similarity"], part["accuracy_gap"])[0, 1]
        assert part["r"].iloc[0] == pytest.approx(r, abs=1e-12)
        assert part["low"].iloc[0] < part["high"].iloc[0]


def test_accuracy_gaps_of_too_few_models_are_shown_without_r():
    tables, models, accuracy = study(3, kinds=2)
    for families in (None, models.assign(family=["a", "a", "b"])):
        figure, table = similarity_accuracy(
            tables, accuracy, models, axis=AXIS, group="kind", families=families,
            clusters=None if families is None else "family",
        )  # fmt: skip
        assert len(table) and table["r"].isna().all()
        titles = [" ".join(axes.get_title().split()) for axes in figure.axes]
        assert all("models are needed" in title for title in titles)
        check_texts(figure)


@pytest.mark.parametrize("m", [8, 64])
def test_accuracy_of_the_better_model_colours_the_pairs(m):
    tables, models, accuracy = study(m, kinds=2)
    common = {"axis": AXIS, "group": "kind"}
    figure, table = similarity_accuracy(tables, accuracy, models, color="accuracy", **common)
    share = accuracy.set_index(["dataset", "model"])["accuracy"] * 100
    better = [
        max(share[row.dataset, row.model_x], share[row.dataset, row.model_y])
        for row in table.itertuples()
    ]
    np.testing.assert_allclose(table["better"], better, atol=1e-12)
    bar = figure.axes[-1]
    assert bar.get_ylabel() == "accuracy of the better model (%)"
    assert bar.get_ylim() == pytest.approx((min(better), max(better)))
    brightness = figure.axes[1].collections[-1].get_facecolors()[:, :3].sum(axis=1)
    shown = table.loc[table["dataset"] == "dataset_1", "better"]
    assert np.corrcoef(brightness, shown)[0, 1] > 0.9
    check_texts(figure)
    _, same = similarity_accuracy(tables, accuracy, models, **common)
    pd.testing.assert_frame_equal(table, same)


# --- maps -----------------------------------------------------------------------------------------


def apart(points):
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def test_embedding_recovers_a_plane_exactly():
    points = np.random.default_rng(0).normal(size=(12, 2))
    found, stress = embed(apart(points))
    np.testing.assert_allclose(apart(found), apart(points), atol=1e-6)
    assert stress < 1e-7


def test_embedding_leaves_out_failed_pairs():
    points = np.random.default_rng(1).normal(size=(10, 2))
    distances = apart(points)
    distances[2, 5] = distances[5, 2] = np.nan
    found, stress = embed(distances)
    np.testing.assert_allclose(apart(found), apart(points), atol=1e-3)
    assert stress < 1e-4


def test_a_model_without_values_has_no_place_on_the_map():
    tables, models, _ = study(8, datasets=2, kinds=2)
    lost = models.index[3]
    first = tables["dataset_0"]
    first.loc[(first["model_x"] == lost) | (first["model_y"] == lost), "value"] = np.nan
    figure, table = model_map(tables, models, axis=AXIS, group="kind")
    assert lost not in set(table.loc[table["dataset"] == "dataset_0", "model"])
    assert lost in set(table.loc[table["dataset"] == "dataset_1", "model"])
    assert "1 without values left out" in figure.axes[0].get_title()
    check_texts(figure)


def test_a_dataset_with_too_few_models_is_left_out_of_the_map_and_named():
    tables, models, _ = study(8, datasets=3, kinds=2)
    few = tables["dataset_1"]
    few.loc[~few["model_x"].isin(models.index[:1]) | (few.index > 1), "value"] = np.nan
    figure, table = model_map(tables, models, axis=AXIS, group="kind")
    assert list(table["dataset"].unique()) == ["dataset_0", "dataset_2"]
    heading = figure.legends[0].get_title().get_text()
    assert "too few for a map: dataset_1 (2 models with a value)" in heading
    check_texts(figure)
    with pytest.raises(DataError, match=r"needs 3 models with a value; too few: dataset_1 \(2"):
        model_map({"dataset_1": few}, models, axis=AXIS, group="kind")


@pytest.mark.figure("model_map")
def test_maps_of_turned_datasets_coincide():
    rng = np.random.default_rng(2)
    points = rng.uniform(0, 0.4, size=(8, 2))
    names = np.array([f"m{k}" for k in range(8)])
    i, j = np.triu_indices(8)
    value = 1 - apart(points)[i, j]
    table = pd.DataFrame(
        {
            "metric": "cka", "model_x": names[i], "layer_x": "l",
            "model_y": names[j], "layer_y": "l", "value": value,
        }
    )  # fmt: skip
    keep = (i != 7) & (j != 7)
    models = pd.DataFrame({"kind": ["a"] * 8}, index=names)
    _, found = model_map(
        {"d": table, "e": table[keep]}, models, axis=MetricAxis("a", (0.0, 1.0)), group="kind"
    )
    d, e = (part.set_index("model")[["x", "y"]] for _, part in found.groupby("dataset"))
    assert len(e) == 7
    np.testing.assert_allclose(d.loc[e.index], e, atol=1e-6)


# --- colours, names, errors -----------------------------------------------------------------------


def test_a_group_keeps_its_colour_in_every_figure():
    _, models, _ = study(8, kinds=3)
    groups = read_groups(models, "kind")
    assert [groups.color(name) for name in groups.names] == list(PALETTE[:3])
    models.loc[models.index[0], "kind"] = None
    assert read_groups(models, "kind").names == (*KINDS[:3], "none")


def test_more_groups_than_colours_are_grey_not_wrong():
    models = pd.DataFrame({"kind": list("abcdefghi")}, index=[f"m{k}" for k in range(9)])
    groups = read_groups(models, "kind")
    colors = [groups.color(name) for name in groups.names]
    assert len(set(colors[:7])) == 7
    assert colors[7] == colors[8] not in colors[:7]


def test_short_names_stay_different():
    names = ["vit_base_patch16_a_224", "vit_base_patch16_b_224", "short"]
    short = shorten(names, 12)
    assert len(set(short)) == 3
    assert max(map(len, short)) <= 12
    assert short[2] == "short"


@pytest.mark.parametrize(
    ("values", "bounds", "expected"),
    [
        ([0.52, 0.94], (0, 1), (0.52, 0.94)),
        ([0.521, 0.94], (0, 1), (0.52, 0.94)),
        ([0.7, 0.7], (0, 1), (0.6993, 0.7007)),
        ([0.001, 0.999], (0, 1), (0.0, 1.0)),
        ([-3.0, 41.0], (-np.inf, np.inf), (-4.0, 42.0)),
        ([np.nan, np.nan], (0, 1), (0.0, 1.0)),
    ],
)
def test_axis_limits_are_round_and_inside_the_bounds(values, bounds, expected):
    assert MetricAxis("a", bounds).limits(np.array(values)) == pytest.approx(expected)


def test_an_unknown_group_is_named():
    tables, models, _ = study(6)
    with pytest.raises(ConfigError, match="no column 'kid'; did you mean 'kind'"):
        similarity_heatmaps(tables, models, axis=AXIS, group="kid")


def test_nothing_to_draw_is_an_error():
    tables, models, accuracy = study(6)
    rows = consistency_of(tables, models)
    with pytest.raises(DataError, match="no similarity table"):
        similarity_heatmaps({}, models, axis=AXIS)
    with pytest.raises(DataError, match="similarity tables missing: dataset_1, dataset_2"):
        similarity_scatter({"dataset_0": tables["dataset_0"]}, rows, models, axis=AXIS)
    with pytest.raises(DataError, match="no dataset has both"):
        similarity_accuracy(tables, accuracy.assign(dataset="other"), models, axis=AXIS)
    with pytest.raises(DataError, match="no row of all models"):
        consistency_heatmap(rows[rows["grouping"] == "kind"])
    with pytest.raises(DataError, match="status says why"):
        consistency_distribution(rows.assign(value=np.nan), models, group="kind")


# --- the report -----------------------------------------------------------------------------------


def test_every_figure_has_a_caption_and_a_name_of_its_own_in_the_report():
    assert len(FIGURES) > 20
    assert len({facts.labels["figure"] for facts in FIGURES.values()}) == len(FIGURES)
    for name, facts in FIGURES.items():
        assert facts.caption.endswith("."), name
        assert facts.summary.endswith("."), name
        assert facts.category[0].isupper(), name


@pytest.mark.parametrize("colors", ["viridis", "RdBu_r", "Blues"])
def test_numbers_in_cells_can_be_read(colors):
    """Contrast by WCAG 2: (lighter + 0.05) / (darker + 0.05) of relative luminances."""
    for rgb in mpl.colormaps[colors](np.linspace(0, 1, 101))[:, :3]:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        own = {"white": 1.0, "black": 0.0}[ink(rgb)]
        assert (max(own, light) + 0.05) / (min(own, light) + 0.05) >= 4.5
