"""Figures of trained models and of pairs of classifiers: that they can be read, and are true."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.text import Text
from test_plots import check_texts

from consilience.errors import DataError
from consilience.features import write_features, write_manifest
from consilience.files import read_table, write_table
from consilience.identifiability import (
    COLUMNS,
    kl_table,
    make_identifiability,
    make_trend,
    perturbed,
    trend,
)
from consilience.plots import Material
from consilience.plots.classifiers import Widths
from consilience.plots.drawing import save_latex
from consilience.plots.identifiability_bound import (
    identifiability_bound,
    identifiability_constructed,
)
from consilience.plots.identifiability_data import identifiability_data, read_points
from consilience.plots.identifiability_features import (
    Parts,
    choose,
    identifiability_features,
    read_parts,
)
from consilience.plots.identifiability_kl import identifiability_kl
from consilience.plots.identifiability_loss import identifiability_divergence, identifiability_loss
from consilience.plots.identifiability_width import identifiability_width
from consilience.plots.style import PALETTE
from consilience.plots.training_accuracy import training_accuracy
from consilience.plots.training_curves import training_curves
from consilience.results import RESULT_FILES, Results
from consilience.samples import iterate, make_samples, read_samples

CLASSES = 4
UNFIT = "did not fit: its loss 2 on what it was trained on is no less than that of chance, 1.386"


def radial(dataset, n=60):
    """A row of the dataset catalogue: points whose class is a direction."""
    return {"dataset": dataset, "source": "synthetic", "name": f"radial n={n} classes={CLASSES}",
            "modality": "vector"}  # fmt: skip


def plant(points, generator, noise):
    """Features (n, 2) and unembedding (K, 2) that solve the task, up to any linear map.

    Twice the angle takes a point and its mirror image to one place.
    """
    angles = 2 * np.arctan2(points[:, 1], points[:, 0])
    middle = (2 * np.arange(CLASSES) + 1) * np.pi / CLASSES
    f = np.hypot(*points.T)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    g = 4 * np.stack([np.cos(middle), np.sin(middle)], axis=1)
    turn = np.eye(2) + 0.3 * generator.normal(size=(2, 2))
    f = f + noise * generator.normal(size=f.shape)
    return (f @ turn).astype(np.float32), (g @ np.linalg.inv(turn).T).astype(np.float32)


def learned_rows(recipes=("radial",), variants=("w8", "w16"), seeds=3, unfit=()):
    """The table of trained models, and that of their losses."""
    generator, rows, curves = np.random.default_rng(0), [], []
    for recipe in recipes:
        for variant in variants:
            for seed in range(seeds):
                model = f"{recipe}.{variant}.{seed}"
                accuracy = generator.uniform(0.8, 0.99)
                named = {"model": model, "recipe": recipe, "variant": variant, "seed": seed}
                rows.append(
                    named
                    | {"architecture": "mlp", "dataset": "d", "test": "t", "steps": 40,
                       "status": UNFIT if model in unfit else "trained", "parameters": 99,
                       "loss_train": 0.1, "accuracy_train": accuracy, "loss_test": 0.2,
                       "accuracy_test": accuracy - 0.05, "chance_loss": np.log(4),
                       "n_train": 100, "n_test": 50}
                )  # fmt: skip
                loss = 1.4 * np.exp(-np.arange(5) * generator.uniform(0.3, 0.6))
                curves += [named | {"step": 10 * k, "loss": x} for k, x in enumerate(loss)]
    tables = {"learned": rows, "learned_curves": curves}
    return [pd.DataFrame(tables[k], columns=list(RESULT_FILES[k].columns)) for k in tables]


def write_trained(results: Results, dataset: str) -> None:
    """Writes all that figures of trained classifiers read, of eight models on one dataset."""
    path = Path(results["samples"].format(dataset=dataset))
    make_samples(radial(dataset), 0, path)
    samples = read_samples(path)
    points = np.array([s.vector for _, s in iterate(_opened(dataset), samples)])
    manifest = Path(results["manifest"].format(dataset=dataset))
    models, paths = {}, []
    for k in range(8):
        generator, width = np.random.default_rng(k), (8, 16)[k % 2]
        f, g = plant(points, generator, noise=1 / width)
        name = f"radial.w{width}.{k // 2}"
        models[name] = {"architecture": "mlp", "width": str(width)}
        paths.append(manifest.with_name(f"{name}.safetensors"))
        header = {"model": {"model": name}, "dataset": dataset, "samples_hash": samples.hash}
        write_features(paths[-1], {"f": f}, header, list(samples.table["id"]),
                       outputs={"logits": f @ g.T}, unembedding=g)  # fmt: skip
    write_manifest(paths, manifest)
    pairs = results["identifiability"].format(dataset=dataset)
    make_identifiability(manifest, path, pairs, dataset=dataset, models=models, sets=10)
    make_trend([pairs], results["identifiability_trend"], bootstrap=100)
    write_table(kl_table(lengths=(1, 2, 4, 8)), results["constructed_kl"], {})
    noisy = perturbed(units={4: 0.005}, steps=4)
    write_table(noisy, results["constructed_perturbed"], {})
    for kind, table in zip(("learned", "learned_curves"), learned_rows(), strict=True):
        write_table(table, results[kind], {})


def _opened(dataset):
    from consilience.datasets import open_dataset  # noqa: PLC0415

    return open_dataset(radial(dataset))


def pairs_of(datasets=("one",), widths=(16, 32), seeds=4, dimension=2, **changes):
    """The table of pairs, with planted numbers: the wider, the closer."""
    generator, rows = np.random.default_rng(1), []
    for dataset in datasets:
        models = [(f"m.w{width}.{seed}", width) for width in widths for seed in range(seeds)]
        for k, (x, width_x) in enumerate(models):
            for y, width_y in models[k + 1 :]:
                d = generator.uniform(0.5, 4) / (width_x + width_y) ** 0.5
                of_f, of_g = generator.uniform(0, 0.3, 2) * d
                rows.append(
                    {
                        "dataset": dataset, "model_x": x, "model_y": y, "architecture": "mlp",
                        "classes": 6, "dimension": dimension, "width_x": width_x,
                        "width_y": width_y, "draw": "ids", "d_llv": d, "t1": d, "t2": 0.4 * d,
                        "kl_xy": d**2 / 10, "kl_yx": d**2 / 12, "d_svd_f": of_f, "d_svd_g": of_g,
                        "d_fg": max(of_f, of_g), "bound": 2 * dimension * d,
                        "bound_applies": 2 * dimension * d < 1, "m_cca_f": 1 - of_f,
                        "accuracy_x": 0.95, "accuracy_y": 0.97,
                        "loss_x": 0.1 + 0.01 * k, "loss_y": 0.1, "input_ids": [], "m_svd_f": [],
                    }
                    | changes
                )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


# --- training -------------------------------------------------------------------------------------


@pytest.mark.figure("training_curves")
def test_every_model_has_a_curve_and_every_recipe_a_panel():
    learned, curves = learned_rows(("a", "b"), unfit=["a.w8.1"])
    figure, table = training_curves(curves, learned)
    check_texts(figure)
    pd.testing.assert_frame_equal(table, curves)
    for axes, recipe in zip(figure.axes, "ab", strict=True):
        lines = [line for line in axes.lines if len(line.get_xdata()) == 5]
        assert len(lines) == 6
        assert recipe in axes.get_title()
        chance = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert [line.get_ydata()[0] for line in chance] == pytest.approx([np.log(4)])
        dotted = [line for line in lines if line.get_linestyle() == ":"]
        assert len(dotted) == (recipe == "a")
    shown = figure.axes[0].lines[0]
    first = curves[curves["model"] == "a.w8.0"]
    colors = {line.get_color() for line in figure.axes[0].lines[:6]}
    assert colors == {PALETTE[0], PALETTE[1]}
    assert shown.get_ydata().tolist() in [
        part["loss"].tolist() for _, part in curves.groupby("model")
    ]
    assert first["loss"].is_monotonic_decreasing


def test_models_without_a_curve_are_counted_and_none_at_all_is_a_reason():
    learned, curves = learned_rows(("a", "b"))
    figure, _ = training_curves(curves[curves["recipe"] == "a"], learned)
    assert "6 models have no curve" in texts(figure)
    assert "w8 (n = 3)" in texts(figure)
    with pytest.raises(DataError, match="none took a step"):
        training_curves(curves.iloc[:0], learned)


@pytest.mark.parametrize(("recipes", "variants", "seeds"), [(1, 1, 1), (2, 9, 10), (7, 3, 2)])
def test_training_can_be_read_in_small_and_large_studies(recipes, variants, seeds):
    names = [f"recipe_{k}" for k in range(recipes)]
    varied = [f"labels_random_{10 * k}" for k in range(variants)]
    learned, curves = learned_rows(names, varied, seeds)
    check_texts(training_curves(curves, learned)[0])
    check_texts(training_accuracy(learned)[0])


@pytest.mark.figure("training_accuracy")
def test_accuracies_are_dots_and_models_that_did_not_fit_are_crosses_with_a_reason():
    learned, _ = learned_rows(variants=("w128", "w8"), unfit=["radial.w8.2"])
    learned.loc[0, ["accuracy_test", "loss_test"]] = np.nan
    figure, table = training_accuracy(learned)
    check_texts(figure)
    pd.testing.assert_frame_equal(table, learned)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["w8 (n = 3)", "w128 (n = 3)"]
    parts = [np.asarray(c.get_offsets()) for c in axes.collections if isinstance(c, PathCollection)]
    found = np.vstack([part for part in parts if len(part)])
    dots = sorted(x for x, y in found if round(y) == 1 and not np.isnan(x))
    wide = learned[learned["variant"] == "w128"]
    expected = wide[["accuracy_train", "accuracy_test"]].to_numpy().ravel()
    assert dots == pytest.approx(sorted(expected[~np.isnan(expected)]))
    assert "radial.w8.2: did not fit" in texts(figure).replace("\n", " ")
    assert "did not fit (n = 1)" in texts(figure)
    with pytest.raises(DataError, match="none of 6 trained models has an accuracy"):
        training_accuracy(learned.assign(accuracy_train=np.nan, accuracy_test=np.nan))


def test_models_without_a_test_set_and_with_losses_of_zero_are_drawn():
    """A column that holds nothing has no numbers' type."""
    learned, curves = learned_rows(seeds=2)
    learned = learned.assign(accuracy_test=None, loss_test=None, chance_loss=None)
    figure, _ = training_accuracy(learned)
    check_texts(figure)
    assert "train: learnt from" in texts(figure) and "test: " not in texts(figure)
    curves = curves.assign(loss=curves["loss"].where(curves["step"] < 40, 0.0).astype(object))
    figure, _ = training_curves(curves, learned)
    check_texts(figure)
    assert figure.axes[0].get_yscale() == "linear" and figure.axes[0].get_ylim()[0] == 0


def test_of_many_models_that_did_not_fit_some_are_named():
    learned, _ = learned_rows(seeds=6, unfit=[f"radial.w8.{k}" for k in range(6)]
                              + [f"radial.w16.{k}" for k in range(6)])  # fmt: skip
    figure, _ = training_accuracy(learned)
    check_texts(figure)
    assert "and 4 more" in texts(figure)


@pytest.mark.parametrize(
    "draw",
    [
        identifiability_bound,
        lambda pairs: identifiability_width(pairs, trend(pairs)),
        lambda pairs: identifiability_features(pairs, lambda *_: None),
    ],
)
def test_where_there_is_no_pair_figures_say_why(draw):
    with pytest.raises(DataError, match="no two models have logits, an unembedding, and one"):
        draw(pairs_of().iloc[:0])


# --- closeness ------------------------------------------------------------------------------------


@pytest.mark.figure("identifiability_bound")
def test_pairs_that_the_bound_holds_for_stand_against_it():
    pairs = pairs_of(("one", "two"))
    pairs.loc[0, ["d_llv", "d_fg", "bound", "bound_applies"]] = [0.1, 0.9, 0.4, True]
    pairs = pairs.astype({"bound_applies": bool})
    figure, table = identifiability_bound(pairs)
    check_texts(figure)
    kept = pairs[pairs["bound_applies"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(table, kept[list(table.columns)])
    assert 0 < len(table) < len(pairs)
    rows = table[table["dataset"] == "one"]
    first, second, third = figure.axes[:3]
    (dots,) = first.collections
    drawn = sorted(map(tuple, dots.get_offsets()))
    assert drawn == sorted(zip(rows["d_llv"], rows["d_fg"], strict=True))
    line = first.lines[0]
    assert line.get_xdata()[1] == 0.25 and line.get_ydata()[1] == 1
    assert f"{len(rows)} of 28 pairs, 1 above the line" in first.get_title("left")
    assert "none above the line" in figure.axes[3].get_title("left")
    for axes, x, own, other in ((second, "t1", "f", "g"), (third, "t2", "g", "f")):
        hollow, filled = axes.collections
        for drawn, side in ((filled, own), (hollow, other)):
            expected = sorted(zip(rows[x], rows[f"d_svd_{side}"], strict=True))
            assert sorted(map(tuple, drawn.get_offsets())) == expected
    with pytest.raises(DataError, match="the bound applies to none of 56 pairs"):
        identifiability_bound(pairs.assign(bound_applies=False))


def test_one_pair_without_widths_is_drawn():
    pairs = pairs_of(widths=(16,), seeds=2, width_x=np.nan, width_y=np.nan, d_llv=0.1,
                     bound=0.4, bound_applies=True)  # fmt: skip
    check_texts(identifiability_bound(pairs)[0])
    figure, table = identifiability_loss(pairs)
    check_texts(figure)
    assert len(table) == 1
    assert Widths.of(pairs).legend(pairs) == []
    with pytest.raises(DataError, match="no width has enough models"):
        identifiability_width(pairs, trend(pairs))


@pytest.mark.figure("identifiability_constructed")
def test_constructed_models_stand_against_the_bound():
    rows = perturbed(units={4: 0.04, 6: 0.04}, steps=25)
    figure, table = identifiability_constructed(rows)
    check_texts(figure)
    assert 0 < len(table) < len(rows)
    kept = rows[rows["bound_applies"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(table, kept)
    (dots,) = figure.axes[0].collections
    assert len(dots.get_offsets()) == (kept["classes"] == 4).sum()
    five = pd.concat([rows.assign(classes=k) for k in range(4, 9)])
    check_texts(identifiability_constructed(five)[0])
    with pytest.raises(DataError, match="none of the constructed"):
        identifiability_constructed(rows.assign(bound_applies=False))


@pytest.mark.figure("identifiability_width")
def test_widths_have_means_medians_intervals_and_every_accurate_pair():
    pairs = pairs_of(("one", "two"), widths=(16, 64, 256))
    for side in "xy":
        poor = (pairs[f"model_{side}"] == "m.w16.0") & (pairs["dataset"] == "one")
        pairs.loc[poor, f"accuracy_{side}"] = 0.5
    found = trend(pairs, bootstrap=100)
    figure, table = identifiability_width(pairs, found)
    check_texts(figure)
    pd.testing.assert_frame_equal(table, found)
    left = figure.axes[0]
    assert "3 of 18 pairs of one width left out" in left.get_title("left")
    assert "all pairs" in figure.axes[3].get_title("left")
    labels = [label.get_text() for label in left.get_xticklabels()]
    assert labels == ["16\n(n = 3)", "64\n(n = 4)", "256\n(n = 4)"]
    here = found[(found["dataset"] == "one") & (found["measure"] == "d_llv")]
    for line, statistic in zip(left.lines, ("mean", "median"), strict=True):
        rows = here[here["statistic"] == statistic].sort_values("width")
        assert line.get_ydata() == pytest.approx(rows["value"])
    dots = max(left.collections, key=lambda c: len(c.get_offsets()))
    assert len(dots.get_offsets()) == 15
    slope = here.loc[here["statistic"] == "slope", "value"].item()
    assert f"slope: {slope:.3f}".replace("-", "−") in left.get_xlabel()


def test_a_single_width_has_no_slope_and_says_so():
    pairs = pairs_of(widths=(16,))
    figure, _ = identifiability_width(pairs, trend(pairs, bootstrap=100))
    check_texts(figure)
    assert "no slope: fewer than 2 widths" in figure.axes[0].get_xlabel()


@pytest.mark.figure("identifiability_loss")
def test_differences_of_losses_stand_against_similarity():
    pairs = pairs_of(("one", "two"))
    pairs.loc[3, "accuracy_y"] = 0.2
    pairs.loc[4, "loss_x"] = np.nan
    pairs.loc[5, "m_cca_f"] = np.nan
    figure, table = identifiability_loss(pairs)
    check_texts(figure)
    assert len(table) == len(pairs) - 2
    assert table["accurate"].sum() == len(pairs) - 3
    row = table.iloc[1]
    source = pairs.set_index(["dataset", "model_x", "model_y"]).loc[
        (row["dataset"], row["model_x"], row["model_y"])
    ]
    assert row["loss_difference"] == abs(source["loss_x"] - source["loss_y"])
    drawn = np.vstack([c.get_offsets() for axes in figure.axes for c in axes.collections])
    expected = table[["m_cca_f", "loss_difference"]].to_numpy()
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, expected))
    assert "accuracy below 0.9 (n = 1)" in texts(figure)
    with pytest.raises(DataError, match="none of 56 pairs"):
        identifiability_loss(pairs.assign(loss_x=np.nan))


@pytest.mark.figure("identifiability_divergence")
def test_divergences_stand_against_dissimilarity():
    pairs = pairs_of(("one", "two"))
    pairs.loc[0, "accuracy_x"] = 0.2
    pairs.loc[1, "d_fg"] = np.nan
    figure, table = identifiability_divergence(pairs)
    check_texts(figure)
    kept = pairs[pairs["d_fg"].notna()]
    assert table["kl"].tolist() == kept["kl_xy"].tolist()  # the larger one
    assert table["d_fg"].tolist() == kept["d_fg"].tolist()
    drawn = np.vstack([c.get_offsets() for axes in figure.axes for c in axes.collections])
    assert sorted(map(tuple, drawn)) == sorted(zip(table["kl"], table["d_fg"], strict=True))
    assert figure.axes[0].get_xscale() == "log"
    same = identifiability_divergence(pairs.assign(kl_xy=0.0, kl_yx=0.0))[0]
    assert same.axes[0].get_xscale() == "linear"
    with pytest.raises(DataError, match="none of 56 pairs has a divergence"):
        identifiability_divergence(pairs.assign(d_fg=np.nan))


def test_the_pair_that_is_drawn_predicts_alike_and_looks_unlike():
    pairs = pairs_of(widths=(16,), seeds=3).assign(kl_xy=0.0)
    pairs["kl_yx"] = [0.1, 0.2, 0.9]
    pairs["m_cca_f"] = [0.9, 0.7, 0.2]
    assert choose(pairs, 0.9)["m_cca_f"] == 0.7
    pairs["accuracy_x"] = [0.95, 0.5, 0.95]
    assert choose(pairs, 0.9)["m_cca_f"] == 0.9
    pairs["width_x"] = 32.0
    assert choose(pairs, 0.9) is None
    assert choose(pairs.assign(width_x=np.nan), 0.9)["m_cca_f"] == 0.9


@pytest.mark.figure("identifiability_features")
def test_features_are_coloured_by_the_predicted_class(tmp_path):
    results = Results(str(tmp_path))
    write_trained(results, "points")
    pairs = read_table(results["identifiability"].format(dataset="points"))
    manifest = Path(results["manifest"].format(dataset="points"))
    other = pairs.assign(dataset="solid", dimension=3)
    read = read_parts([manifest])
    figure, table = identifiability_features(pd.concat([pairs, other]), read)
    check_texts(figure)
    assert "not drawn: solid, K = 4, M = 3" in texts(figure)
    row = choose(pairs, 0.9)
    models = [row["model_x"], row["model_y"]]
    assert table["model"].unique().tolist() == models
    for k, model in enumerate(models):
        f, g, predicted = read("points", model)
        part = table[table["model"] == model]
        np.testing.assert_array_equal(part.loc[part["part"] == "f", ["x1", "x2"]], f)
        np.testing.assert_array_equal(part.loc[part["part"] == "g", ["x1", "x2"]], g)
        np.testing.assert_array_equal(part.loc[part["part"] == "f", "class"], predicted)
        dots = figure.axes[2 * k].collections[0]
        place = {tuple(point): PALETTE[c] for point, c in zip(f, predicted, strict=True)}
        assert {tuple(np.float32(p)) for p in dots.get_offsets()} == set(place)
    with pytest.raises(DataError, match=r"pairs are of solid, K = 4, M = 3"):
        identifiability_features(other, read)


def test_ten_classes_and_one_of_them_without_a_length():
    g = np.vstack([[np.cos(a), np.sin(a)] for a in np.linspace(0, 5.6, 9)] + [[0.0, 0.0]])
    f = np.random.default_rng(0).normal(size=(200, 2))
    parts = Parts(f, g, (f @ g.T).argmax(axis=1))
    figure, table = identifiability_features(pairs_of(seeds=2), lambda *_: parts)
    check_texts(figure)
    assert len(table) == 2 * 210


@pytest.mark.figure("identifiability_data")
def test_stimuli_lie_where_the_source_puts_them(tmp_path):
    path = tmp_path / "points.parquet"
    make_samples(radial("points", 50), 0, path)
    said = {"vectors": {"points": {"row": radial("points", 50), "code": ""}}}
    points = read_points(Material({"samples": [path]}, said))
    figure, table = identifiability_data(points)
    assert "50 stimuli of 4 classes" in figure.axes[0].get_title()
    assert list(table.columns) == ["dataset", "id", "label", "x1", "x2"]
    angle = np.arctan2(table["x2"], table["x1"]) % np.pi
    assert (np.minimum(angle // (np.pi / 4), 3) == table["label"]).all()
    expected = np.random.default_rng(0).normal(0, 3, (50, 2)).astype(np.float32)
    np.testing.assert_array_equal(table[["x1", "x2"]], expected)
    cube = points["points"].assign(x3=0.0)
    figure, table = identifiability_data({**points, "cube": cube})
    check_texts(figure)
    assert set(table["dataset"]) == {"points"}
    assert "not drawn: cube (3 numbers)" in texts(figure)
    with pytest.raises(DataError, match=r"no stimuli of two numbers: cube \(3 numbers\)"):
        identifiability_data({"cube": cube})


@pytest.mark.figure("identifiability_kl")
def test_the_divergence_falls_and_the_table_is_also_latex(tmp_path):
    rows = kl_table(lengths=(1, 2, 4, 8, 16))
    figure, table = identifiability_kl(rows)
    check_texts(figure)
    pd.testing.assert_frame_equal(table, rows)
    left, right = figure.axes
    assert left.lines[0].get_ydata().tolist() == rows["kl"].tolist()
    assert left.get_yscale() == "log"
    assert [line.get_ydata()[0] for line in right.lines] == pytest.approx(
        [rows["d_llv"][0], 1 - rows["m_cca_f"][0], rows["d_svd_f"][0]]
    )
    save_latex(pd.DataFrame({"a_b": [1, 20], "kl": [0.12345, np.nan]}), tmp_path / "t.tex", 4)
    assert (tmp_path / "t.tex").read_text().splitlines() == [
        r"\begin{tabular}{rr}", r"\hline", r"a\_b & kl \\", r"\hline", r"1 & 0.1235 \\",
        r"20 &  \\", r"\hline", r"\end{tabular}",
    ]  # fmt: skip
