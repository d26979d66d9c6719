"""The explorer's views of consistency by group, of reliability, behavior and maps, in a browser."""

import shutil

import numpy as np
import pandas as pd
import pytest
from explorer_page import DRAWN, SIZES, choose, shown

from consilience.explorer import make_explorer, remake_explorer
from consilience.files import read_table, write_table
from consilience.plots.ordering import embed

METRICS = ("cka", "linear_regression", "mutual_knn_k5", "procrustes")


def texts(page, chart):
    """Returns all that a chart writes."""
    return page.run(f"""(() => {{
        const all = (part) => (part.items ?? []).flatMap((i) => [i.text ?? [], all(i)].flat(2));
        return all(shown.get({chart!r}).view.scenegraph().root);
    }})()""")


def table_of(tables, step, stem):
    return read_table(next(path for path in tables[step] if path.stem == stem))


def matched(found, table, keys, values):
    """Asserts that two tables have the same rows, and in them the same numbers."""
    found = pd.DataFrame(found)
    assert len(found) == len(table) > 0
    both = found.merge(table, on=keys, suffixes=("", "_table"), validate="one_to_one")
    assert len(both) == len(table)
    for name in values:
        ours, theirs = both[name].astype(float), both[f"{name}_table"]
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("place", range(len(METRICS)))
def test_differences_are_those_of_the_table(page, made, place):
    choose(page, "metric", place)
    table = table_of(made[1], "differences", METRICS[place])
    table = table[(table["grouping"] == "family") & (table["method"] == "pearson")]
    numbers = ["value", "low", "high", "low_simultaneous", "high_simultaneous", "value_x"]
    keys = ["dataset_x", "dataset_y", "group_x", "group_y"]
    means = table["dataset_x"] == "*"
    choose(page, "difference", "mean family")
    matched(shown(page, "differences"), table[means], keys, numbers)
    options = page.run("[...$('difference').options].map(o => [o.value, o.text])")
    (pairs,) = [value for value, text in options if text.startswith("family: convolutional –")]
    choose(page, "difference", pairs)
    found = shown(page, "differences")
    assert all(row["low"] is not None for row in found), "intervals are drawn"
    matched(found, table[~means], keys, [*numbers, "value_y", "matched_x", "matched_y"])
    assert "convolutional is than transformer" in page.run("$('differences-caption').textContent")


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_reliabilities_and_corrected_values_are_those_of_the_table(page, made, method):
    choose(page, "reliability-method", method)
    table = table_of(made[1], "consistency", "cka")
    table = table[(table["grouping"] == "all") & (table["method"] == method)]
    sides = [
        table[[f"dataset_{a}", f"dataset_{b}", f"reliability_{a}"]].set_axis(
            ["dataset", "partner", "reliability"], axis=1
        )
        for a, b in ("xy", "yx")
    ]
    matched(shown(page, "reliability"), pd.concat(sides), ["dataset", "partner"], ["reliability"])
    known = table[table["corrected"].notna()]
    matched(
        shown(page, "corrected"), known, ["dataset_x", "dataset_y", "corrected_status"],
        ["value", "low", "high", "corrected", "reliability_x", "reliability_y"],
    )  # fmt: skip
    own, ours = (shown(page, chart) for chart in ("intervals", "corrected"))
    choose(page, "set", page.run("[...$('set').options].find(o => o.text.includes(':')).value"))
    assert shown(page, "intervals") != own
    assert shown(page, "corrected") == ours, "this view has its own choice of models"


def test_behavior_stands_against_raw_similarity(page, made):
    tables = made[1]
    choose(page, "metric", METRICS.index("mutual_knn_k5"))
    choose(page, "values", "calibrated")
    choose(page, "dataset", 1)
    apart, like = read_table(tables["behavior"][1]), read_table(tables["similarity"][6])
    assert {*apart["dataset"], *like["dataset"], *like["metric"]} == {"data_01", "mutual_knn_k5"}
    like = like[(like["layer_x"] == "layer_1") & (like["layer_y"] == "layer_1")]
    measures = apart["measure"].unique().tolist()
    assert measures == ["accuracy_gap", "disagreement", "jsd", "error_consistency"]
    titles = page.run("[...$('behavior-measure').options].map(o => o.text)")
    for place, measure in enumerate(measures):
        choose(page, "behavior-measure", place)
        part = apart[apart["measure"] == measure].rename(columns={"value": measure})
        wanted = part.merge(
            like.rename(columns={"value": "mutual_knn_k5"}), on=["model_x", "model_y"]
        ).dropna(subset=[measure, "mutual_knn_k5"])
        values = ["mutual_knn_k5", measure]
        matched(shown(page, "behavior"), wanted, ["model_x", "model_y"], values)
        assert titles[place] in texts(page, "behavior"), "the axis has a title with its unit"


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_relations_are_those_of_the_table(page, made, method):
    choose(page, "behavior-method", method)
    table = table_of(made[1], "relation", "cka")
    for place, measure in enumerate(table["measure"].unique()):
        choose(page, "behavior-measure", place)
        part = table[(table["measure"] == measure) & (table["method"] == method)]
        part = part[part["value"].notna()]
        numbers = ["value", "low", "high", "p", "n_models", "n_pairs"]
        matched(shown(page, "relation"), part, ["dataset", "domain", "status"], numbers)
    first = part.set_index("dataset")["value"]["data_00"]
    assert f"{first:.2f}".replace("-", "−") in page.run("$('behavior-caption').textContent")


def test_map_follows_the_choice_of_values(page, made):
    table = read_table(made[1]["similarity"][0])  # each pair has a chance level of its own
    table = table[(table["layer_x"] == "layer_1") & (table["layer_y"] == "layer_1")]
    names, titles = sorted(made[2]["models"]), []
    for kind, column in (("value", "value"), ("calibrated", "calibrated")):
        choose(page, "values", kind)
        square = table.pivot_table(column, "model_x", "model_y").loc[names, names].to_numpy()
        upper = np.triu(square, k=1)
        expected, stress = embed(np.maximum(1 - upper - upper.T, 0) * (1 - np.eye(len(names))))
        found = pd.DataFrame(shown(page, "map")).set_index("model").loc[names, ["x", "y"]]
        found, expected = (points - points.mean(axis=0) for points in (found.to_numpy(), expected))
        np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-4)
        assert f"Stress {stress:.2f}" in page.run("$('map-caption').textContent")
        titles += [text for text in texts(page, "map") if text.startswith("distance:")]
    label = "distance: 1 − cka (label)"
    assert titles == [label, f"{label}, calibrated"]
    choose(page, "order", "name")  # draws the heat map again, and the map stays
    assert page.run("$('values').value") == "calibrated"


@pytest.fixture(scope="module")
def gaps(made, tmp_path_factory):
    """A page where models have no value, raw or calibrated, and a dataset has only two models."""
    folder = tmp_path_factory.mktemp("gaps") / "results"
    shutil.copytree(made[0], folder)
    (folder / "explorer").mkdir()
    shutil.copy(made[0] / "study.json", folder / "explorer")
    path = folder / "similarity" / "data_00" / "cka.parquet"
    table = read_table(path)
    hit = (table["model_x"] == "model_03") | (table["model_y"] == "model_03")
    table.loc[hit, ["value", "calibrated"]] = np.nan
    table.loc[hit, "failure"] = "all samples are equal"
    hit = (table["model_x"] == "model_05") | (table["model_y"] == "model_05")
    table.loc[hit, "calibrated"] = np.inf  # no room between chance and the best value
    write_table(table, path, table.attrs)
    path = folder / "similarity" / "data_01" / "cka.parquet"
    table, two = read_table(path), ["model_00", "model_01"]
    kept = table[table["model_x"].isin(two) & table["model_y"].isin(two)]
    layers = {model: table.attrs["layers"][model] for model in two}
    write_table(kept, path, table.attrs | {"layers": layers})
    return remake_explorer(folder, "objective")


def test_map_says_whom_it_leaves_out_and_why_there_is_none(page, gaps):
    page.open(gaps)
    page.until(DRAWN)
    assert "without a raw value on data_00: model_03." in page.run("$('map-caption').textContent")
    assert len(shown(page, "map")) == SIZES["models"] - 1
    choose(page, "values", "calibrated")
    left_out = "without a calibrated value on data_00: model_03, model_05."
    assert left_out in page.run("$('map-caption').textContent")
    assert len(shown(page, "map")) == SIZES["models"] - 2
    choose(page, "values", "value")
    choose(page, "dataset", 1)
    text = page.run("$('map').textContent")
    assert "A map needs 3 models with a value; on data_01, 2 of 2 have a raw one" in text
    assert page.run("$('map-caption').textContent") == ""
    choose(page, "values", "calibrated")
    assert "have a calibrated one" in page.run("$('map').textContent")
    assert len(shown(page, "differences")), "the other views stand"


def test_every_axis_has_its_title(page):
    for chart in page.run("[...shown.keys()]"):
        written = texts(page, chart)
        assert not [text for text in written if "{" in text or "undefined" in text], chart
        assert [text for text in written if " " in text], f"{chart}: {written}"
    assert {"difference of Fisher's z"} <= set(texts(page, "differences"))
    assert {"reliability (Pearson's r)"} <= set(texts(page, "reliability"))
    assert {"consistency, raw (Pearson's r)"} <= set(texts(page, "corrected"))
    assert {"Pearson's r"} <= set(texts(page, "relation"))


def test_narrow_rows_have_a_line_for_each_dataset(page):
    assert "data_00 – data_01" in texts(page, "intervals")
    page.size(400, 6000)
    page.until("shown.get('intervals')?.view?.width() < 400")
    page.until(DRAWN)
    assert not [text for text in texts(page, "intervals") if "–" in text]
    assert texts(page, "intervals").count("data_01") == 2


def test_names_on_the_map_never_overlap(page):
    boxes = page.run("""(() => {
        const rows = Array.from({length: 24}, (_, k) => ({model: `model_${k}`,
            x: Math.cos(k * k) * (k % 5) / 4, y: Math.sin(k * k) * (k % 3) / 3}));
        placeNames(rows, 150, 1);
        return rows.filter(r => r.named).map(r => [r.label_x * 150, r.label_y * 150,
            6 * r.model.length]);
    })()""")
    assert 3 < len(boxes) < 24
    for k, (x, y, w) in enumerate(boxes):
        assert abs(x) + w / 2 <= 150
        for other_x, other_y, other_w in boxes[:k]:
            assert abs(x - other_x) >= (w + other_w) / 2 or abs(y - other_y) >= 11


def test_study_without_intervals_or_halves_has_the_rest(page, made, tmp_path):
    """As the default study: no split halves; here also no bootstrap, so no interval anywhere."""
    _, tables, study = made
    tables = {step: list(paths) for step, paths in tables.items()}
    for step in ("consistency", "differences", "relation"):
        for place, path in enumerate(tables[step]):
            table = read_table(path)
            for name in table.columns.intersection(
                ["low", "high", "low_joint", "high_joint", "low_simultaneous", "high_simultaneous",
                 "reliability_x", "reliability_y", "corrected"]
            ):  # fmt: skip
                table[name] = np.nan
            tables[step][place] = tmp_path / step / path.name
            write_table(table, tables[step][place], table.attrs)
    make_explorer(tmp_path / "index.html", tmp_path / "study.json", tables, study=study)
    page.open(tmp_path / "index.html")
    page.until(DRAWN)
    assert page.run("$('reliability')") is None and page.run("$('interval')") is None
    for chart in ("intervals", "differences", "relation"):
        assert "No row has an interval" in page.run(f"$('{chart}-caption').textContent")
        assert len(shown(page, chart)) > 0
