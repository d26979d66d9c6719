"""Figures of causes: what they show is what the tables say, and that they can be read."""

import numpy as np
import pandas as pd
import pytest
from test_plots import check_texts

from consilience.causes import PAIRS, as_pairs, effects
from consilience.causes.published import PARAMETERS, VALUES
from consilience.errors import DataError
from consilience.files import write_table
from consilience.plots.causes_accuracy import causes_accuracy, causes_published_accuracy
from consilience.plots.causes_effects import causes_effects
from consilience.plots.causes_fixed_sets import causes_fixed_sets
from consilience.plots.causes_information import causes_information
from consilience.plots.causes_labels import causes_labels
from consilience.plots.causes_overlap import causes_overlap
from consilience.plots.causes_published import causes_published
from consilience.plots.causes_sizes import causes_sizes

LEVELS = {"data": (0, 0.2, 0.4, 0.6, 0.8, 1), "task": (0, 0.5, 1), "labels": (0, 0.5, 1)}
STEEP = {"data": 0.1, "task": 0.3, "labels": 0.6}
DASHED = (":", "--")
FAMILIES = {"small_cnn": 20_000, "small_cnn_wide": 80_000}


def pairs_of(
    datasets=("fashion_test", "digits"), metric="cka_debiased", draws=4, kinds=tuple(STEEP)
):
    """Planted pairs: value = 0.3 + slope · overlap + noise, and controls."""
    rng, rows = np.random.default_rng(0), []
    for dataset in datasets:
        for kind in kinds:
            for family, size in FAMILIES.items():
                cells = {"dataset": dataset, "metric": metric, "kind": kind, "family": family,
                         "train_set": "fashion", "parameters": size}  # fmt: skip
                for draw in range(draws):
                    for a in LEVELS[kind]:
                        value = 0.3 + STEEP[kind] * a + rng.normal(0, 0.02)
                        rows.append(cells | _pair(f"{kind}.{family}", draw, a, value))
                control = (
                    [("untrained", 0.1, np.nan), ("twin", 0.8, 1.0)] if kind != "labels" else []
                )
                for name, value, a in control:
                    row = _pair(f"{kind}.{family}.{name}", 0, a, value)
                    rows.append(cells | row | {"control": name})
    return pd.DataFrame(rows).reindex(columns=list(PAIRS)).astype(PAIRS)


def _pair(name, draw, a, value):
    return {
        "draw": str(draw), "block": "0", "overlap": a, "overlap_reached": a, "control": "",
        "model_x": f"{name}.x.{draw}", "layer_x": "features", "model_y": f"{name}.y{a}.{draw}",
        "layer_y": "features", "value": value, "null_mean": 0.0, "z": 9.0,
        "calibrated": 1.2 * value, "n_train": 600, "accuracy_x": 0.8,
        "accuracy_y": 0.7 + draw / 100, "train_loss_x": 0.01,
        "train_loss_y": 0.02, "failure": "",
    }  # fmt: skip


def published_pairs(missing=()):
    """Pairs of two networks of one published figure, accuracies, and a network from scratch."""
    rng, rows = np.random.default_rng(1), []
    for family in ("resnet18", "resnet50"):
        for name, metric, sets in (
            ("platonic_ffcv", "cka", ("cifar100",)),
            ("acc", "accuracy", ("cifar100",)),
        ):
            file = f"ds_{name}_{family}_cifar100.csv"
            rows += [
                _published((file, "data", family, s, metric, k), d, a, rng)
                for s in sets for d in range(4) for a in LEVELS["data"]
                for k in (("model 1", "model 2") if name == "acc" else ("",))
            ]  # fmt: skip
    file = "resnet_cifar100_task_platonic.csv"
    rows += [
        _published((file, "task", "resnet18_from_scratch", s, "cka", ""), d, a, rng)
        for s in ("ood_one", "overlap", "ood_all_svhn") for d in range(4) for a in LEVELS["data"]
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    table.loc[table["dataset"].isin(missing), "value"] = np.nan
    return table[list(VALUES)].astype(VALUES)


def _published(of, draw, a, rng):
    file, kind, family, dataset, metric, pair = of
    value = 0.7 + 0.1 * a + rng.normal(0, 0.01)
    return {
        "source": "li2025", "file": file, "kind": kind, "family": family, "train_set": "cifar100",
        "dataset": dataset, "metric": metric, "draw": str(draw), "overlap": a, "pair": pair,
        "value": value, "as_published": value, "published": True,
        "parameters": PARAMETERS.get(family, np.nan), "note": "",
    }  # fmt: skip


def effects_of(pairs=None, published=None):
    parts = [] if pairs is None else [pairs.assign(source="this study", file="", note="")]
    if published is not None:
        parts.append(as_pairs(published).assign(control="", block=""))
    return pd.concat([effects(part, permutations=99) for part in parts], ignore_index=True)


def write_causes(results, datasets, metrics):
    """Writes what figures of causes read."""
    parts = []
    for metric in metrics:
        pairs = pairs_of(datasets, metric)
        parts.append(pairs)
        for dataset in datasets:
            path = results["causes"].format(dataset=dataset, metric=metric)
            write_table(pairs[pairs["dataset"] == dataset], path, {})
    published = published_pairs()
    write_table(published, results["causes_published"], {})
    write_table(effects_of(pd.concat(parts), published), results["causes_effects"], {})


@pytest.fixture(scope="module")
def own():
    pairs = pairs_of()
    return pairs, effects_of(pairs)


@pytest.fixture(scope="module")
def theirs():
    published = published_pairs()
    return published, effects_of(published=published)


@pytest.mark.figure("causes_overlap")
def test_boxes_draws_and_lines_of_pairs(own):
    pairs, found = own
    figure, table = causes_overlap(pairs, found, metric="cka_debiased", label="CKA")
    check_texts(figure)
    assert len(figure.axes) == 2 * 2 * 2  # data and task, two networks, two datasets
    axes = figure.axes[0]
    row = found[(found["kind"] == "data") & (found["family"] == "small_cnn")
                & (found["dataset"] == "fashion_test")].iloc[0]  # fmt: skip
    words = axes.get_title(loc="left")
    assert f"slope {row['slope']:.3f} [{row['slope_low']:.3f}, {row['slope_high']:.3f}]" in words
    steep = [
        line for line in axes.lines if line.get_color() == "#333333" and len(line.get_xdata()) == 2
    ]
    x, y = steep[-1].get_data()
    assert (y[1] - y[0]) / (x[1] - x[0]) == pytest.approx(row["slope"])
    flat = {round(float(line.get_ydata()[0]), 6) for line in axes.lines
            if list(line.get_xdata()) == [0, 1] and line.get_linestyle() in DASHED}  # fmt: skip
    assert flat == {0.1, 0.8}
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words[-2:] == ["untrained", "same data, another start"]
    assert set(table["kind"]) == {"data", "task"} and table["slope"].notna().all()
    alone, _ = causes_overlap(
        pairs[pairs["control"] == ""], found, metric="cka_debiased", label="CKA"
    )
    assert len(alone.legends[0].get_texts()) == 3
    with pytest.raises(DataError, match="no pair with a known overlap has a value"):
        causes_overlap(pairs.assign(value=np.nan), found, metric="cka_debiased", label="CKA")


@pytest.mark.figure("causes_labels")
def test_labels_are_by_themselves(own):
    pairs, found = own
    figure, table = causes_labels(pairs, found, metric="cka_debiased", label="CKA")
    check_texts(figure)
    assert set(table["kind"]) == {"labels"} and len(figure.axes) == 4
    assert figure.axes[-1].get_xlabel() == "common parts of labels"


@pytest.mark.figure("causes_effects")
def test_slopes_and_intervals_in_rows(own, theirs):
    figure, table = causes_effects(own[1], metric="cka_debiased", label="CKA")
    check_texts(figure)
    assert len(table) == 3 * 2 * 2 and list(dict.fromkeys(table["kind"])) == list(STEEP)
    axes = figure.axes[0]
    data = table[table["kind"] == "data"]
    assert np.array(axes.collections[1].get_offsets()[:, 0]) == pytest.approx(
        data["slope"].to_numpy()
    )
    ends = np.array([path.vertices[:, 0] for path in axes.collections[0].get_paths()])
    assert ends == pytest.approx(data[["slope_low", "slope_high"]].to_numpy())
    assert "small cnn, fashion: digits" in [t.get_text() for t in axes.get_yticklabels()]
    figure, table = causes_effects(theirs[1], metric="published", label="as published")
    check_texts(figure)
    assert sorted(table["family"]) == ["resnet18", "resnet50"]
    loose = own[1].assign(status="not fitted")
    assert all(
        name.endswith(" *")
        for name in causes_effects(loose, metric="cka_debiased", label="")[1]["name"]
    )
    with pytest.raises(DataError, match="have a slope by rsa"):
        causes_effects(own[1], metric="rsa", label="RSA")


@pytest.mark.figure("causes_information")
def test_information_is_a_share_of_the_entropy(own):
    figure, table = causes_information(own[1], metric="cka_debiased", label="CKA")
    check_texts(figure)
    rows = table[table["kind"] == "data"]
    points = [np.array(c.get_offsets()[:, 0]) for c in figure.axes[0].collections[-3:]]
    for found, column in zip(points, ("share", "share_linear", "share_published"), strict=True):
        assert found == pytest.approx(rows[column].to_numpy())
    assert rows["share_published"].to_numpy() == pytest.approx(rows["mi_published"] / np.log(6))


@pytest.mark.figure("causes_sizes")
def test_slopes_by_weights(own, theirs):
    figure, table = causes_sizes(own[1], metric="cka_debiased", label="CKA")
    check_texts(figure)
    assert len(figure.axes) == 6 and set(table["parameters"]) == set(FAMILIES.values())
    figure, table = causes_sizes(theirs[1], metric="published", label="as published")
    check_texts(figure)
    assert figure.axes[0].lines[0].get_xdata() == pytest.approx([11.176512, 23.508032])
    one = own[1][own[1]["family"] == "small_cnn"]
    with pytest.raises(DataError, match="networks of two known sizes"):
        causes_sizes(one, metric="cka_debiased", label="CKA")


@pytest.mark.figure("causes_fixed_sets")
def test_one_effect_on_several_sets(own, theirs):
    figure, table = causes_fixed_sets(own[1], metric="cka_debiased", label="CKA")
    check_texts(figure)
    assert len(figure.axes) == 6  # slopes and calibrated slopes of three kinds
    shown = np.array(figure.axes[1].collections[1].get_offsets()[:, 0])
    data = table[table["kind"] == "data"]
    assert shown == pytest.approx(data["slope_calibrated"].to_numpy())
    assert shown == pytest.approx(1.2 * data["slope"].to_numpy())
    figure, table = causes_fixed_sets(theirs[1], metric="published", label="as published")
    assert set(table["family"]) == {"resnet18_from_scratch"} and len(table) == 3
    single = own[1][own[1]["dataset"] == "digits"]
    with pytest.raises(DataError, match="compared on two datasets"):
        causes_fixed_sets(single, metric="cka_debiased", label="CKA")


@pytest.mark.figure("causes_published")
def test_a_published_figure_again(theirs):
    published, found = theirs
    figure, table = causes_published(published, found, panel="resnet_cifar100_data")
    check_texts(figure)
    assert [axes.get_title(loc="left").partition(" (R²")[0] for axes in figure.axes] == [
        "resnet18",
        "resnet50",
    ]
    row = found[(found["family"] == "resnet18") & (found["metric"] == "cka")].iloc[0]
    title = figure.axes[0].get_title(loc="left")
    assert f"(R² {row['r2_published']:.2f})" in title and "slope 0." in title
    assert len(table) == 48 and set(table["metric"]) == {"cka"}
    figure, table = causes_published(published, found, panel="scratch_cifar100_task")
    check_texts(figure)
    assert len(figure.axes) == 3
    with pytest.raises(DataError, match="no published pair of labels has a value"):
        causes_published(published, found, panel="labels")


@pytest.mark.figure("causes_accuracy")
def test_accuracies_of_single_models(own):
    pairs, _ = own
    figure, table = causes_accuracy(pairs)
    check_texts(figure)
    row = table[
        (table["kind"] == "data") & (table["family"] == "small_cnn") & (table["overlap"] == 0.2)
    ]
    known = 70 + np.arange(4)
    assert row["accuracy_percent"].item() == pytest.approx(known.mean())
    assert row["sd_percent"].item() == pytest.approx(known.std(ddof=1)) and row["n"].item() == 4
    fixed = table[(table["kind"] == "data") & table["overlap"].isna()]
    assert (fixed["accuracy_percent"] == 80).all() and (fixed["n"] == 4).all()  # x, once
    with pytest.raises(DataError, match="no model of a pair has an accuracy"):
        causes_accuracy(pairs.assign(accuracy_x=np.nan, accuracy_y=np.nan))


@pytest.mark.figure("causes_published_accuracy")
def test_published_accuracies(theirs):
    published, _ = theirs
    figure, table = causes_published_accuracy(published)
    check_texts(figure)
    rows = published[(published["metric"] == "accuracy") & (published["family"] == "resnet18")
                     & (published["overlap"] == 0)]  # fmt: skip
    row = table[(table["family"] == "resnet18") & (table["overlap"] == 0)].iloc[0]
    assert row["n"] == 8 and row["accuracy_percent"] == pytest.approx(100 * rows["value"].mean())
    assert row["sd_percent"] == pytest.approx(100 * rows["value"].std())
