"""Figures of a study of 64 models in 8 families: what a reader must find in each of them."""

import numpy as np
import pandas as pd
import pytest
from families_study import write_families
from matplotlib.text import Text
from test_plots import check_texts

from consilience.files import read_table
from consilience.plots import read_axis
from consilience.plots.consistency_distribution import consistency_distribution
from consilience.plots.consistency_groups import consistency_groups
from consilience.plots.consistency_heatmap import consistency_heatmap, consistency_heatmap_groups
from consilience.plots.families import few_families, footnotes, headline, marks
from consilience.plots.group_differences import group_differences
from consilience.plots.metric_agreement import metric_agreement
from consilience.plots.similarity_accuracy import similarity_accuracy
from consilience.plots.similarity_behavior import similarity_behavior
from consilience.plots.similarity_scatter import similarity_scatter
from consilience.plots.style import minus


class Study:
    """The tables of the planted study, rows of all metrics together."""

    def __init__(self, folder, **settings):
        self.tables, study = write_families(folder, **settings)
        self.models = pd.DataFrame.from_dict(study["models"], orient="index")
        for step in ("consistency", "means", "differences", "relation"):
            parts = [read_table(path) for path in self.tables[step]]
            setattr(self, step, pd.concat(parts, ignore_index=True))

    def of(self, step, metric="far"):
        table = getattr(self, step)
        return table[table["metric"] == metric].reset_index(drop=True)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return Study(tmp_path_factory.mktemp("zoo"))


def written(figure):
    """All texts of a figure, with spaces for ends of lines."""
    check_texts(figure)
    return " | ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))


def base_of(rows):
    return rows[(rows["grouping"] == "all") & (rows["method"] == "pearson")]


def test_heatmaps_show_the_value_between_families_and_that_over_all_pairs(zoo):
    figure, table = consistency_heatmap(zoo.consistency)
    text = written(figure)
    assert "Consistency between families of `family`" in text
    assert "far, 64 models in 8 families" in text
    cells = [t.get_text() for axes in figure.axes[:2] for t in axes.texts]
    for row, cell in zip(base_of(zoo.consistency).itertuples(), cells, strict=True):
        first, interval, plain = cell.split("\n")
        assert first.rstrip("†‡") == minus(f"{row.value_between:.2f}")
        assert interval == minus(f"[{row.low_between:.2f}, {row.high_between:.2f}]")
        assert plain == minus(f"all {row.value:.2f}")
    pd.testing.assert_frame_equal(table, base_of(zoo.consistency).reset_index(drop=True))


def test_a_heatmap_tells_who_drives_a_value_and_what_it_is_without(zoo):
    row = base_of(zoo.of("consistency")).iloc[0]
    assert row["outlier"] == "family=f7"
    text = written(consistency_heatmap(zoo.of("consistency"))[0])
    assert (
        "† driven by one model or family (over all pairs of models): birds – digits: "
        f"{row['value']:.2f}, without family=f7 {row['value_without']:.2f}"
    ) in text
    assert f"{row['value_between']:.2f}†‡ [" in text
    assert "‡ p ≤ 0.05 but the interval holds 0: they agree, others like them need not" in text
    other = written(consistency_heatmap(zoo.of("consistency", "cka"))[0])
    assert "†" not in other
    assert "‡ the interval leaves out 0 but p > 0.05" in other


def test_cells_whose_interval_holds_zero_are_pale(zoo):
    rows = base_of(zoo.consistency)
    figure, _ = consistency_heatmap(rows)
    open_ = (rows["low_between"] <= 0) & (rows["high_between"] >= 0)
    assert 0 < open_.sum() < len(rows)
    images = [axes.images[0].get_array() for axes in figure.axes[:2]]
    found = np.concatenate([image[np.tril_indices(3)].min(axis=1) for image in images])
    strong = rows["value_between"].abs() > 0.5
    order = rows.assign(at=[(r.metric, r.dataset_y, r.dataset_x) for r in rows.itertuples()])
    place = order["at"].rank().astype(int).to_numpy() - 1
    assert found[place][(open_ & strong).to_numpy()].min() > 0.55
    assert found[place][(~open_ & strong).to_numpy()].max() < 0.4
    assert "(pale: the interval holds 0)" in written(figure)
    sure = rows.assign(low_between=0.01)
    assert "pale" not in written(consistency_heatmap(sure)[0])


def test_groups_of_too_few_families_have_no_interval_and_the_figure_says_why(zoo):
    text = written(consistency_heatmap_groups(zoo.of("consistency"), group="maker", label="far")[0])
    assert "maker 0, 16 models in 2 families" in text
    assert "no interval: 2 families, at least 4 are needed (maker 0; maker 1; maker 2" in text
    assert "no interval: 2 and 2 families, at least 3 are needed in each group" in text
    assert "(pale: the interval holds 0, or there is none)" in text


def test_a_panel_without_values_between_families_shows_none(zoo):
    rows = zoo.of("consistency")
    lone = (rows["group_x"] == "maker 0") & (rows["group_y"] == "maker 0")
    columns = ["value_between", "low_between", "high_between", "p_between"]
    rows.loc[lone, columns] = np.nan
    figure, _ = consistency_heatmap_groups(rows, group="maker", label="far")
    (panel,) = (a for a in figure.axes if a.get_title().startswith("maker 0, 16 models"))
    cells = [" ".join(text.get_text().split()) for text in panel.texts]
    plain = rows[lone & (rows["method"] == "pearson")]["value"]
    assert cells == [minus(f"– all {value:.2f}") for value in plain]
    assert panel.get_title() == "maker 0, 16 models in 2 families"


def test_groups_have_both_means_and_their_numbers_of_models_and_families(zoo):
    means = zoo.of("means")
    figure, table = consistency_groups(means, zoo.models, label="far")
    text = written(figure)
    for said in ("Consistency of far between families of `family`", "(n = 16, F = 2)",
                 "supervised (n = 32, F = 4)", "open: over all pairs of models",
                 "no interval: it takes 4 families, 3 in each of two groups"):  # fmt: skip
        assert said in text
    shown = means[(means["grouping"] == "objective") & (means["method"] == "pearson")]
    plain, between = (c.get_offsets()[:, 0] for c in figure.axes[0].collections[-3::2])
    np.testing.assert_allclose(sorted(between), sorted(shown["value_between"]))
    np.testing.assert_allclose(sorted(plain), sorted(shown["value"]))
    assert set(table.columns) == set(means.columns)
    assert table["value"].isin(means["value"]).all()


def test_distributions_are_of_values_between_families(zoo):
    figure, table = consistency_distribution(zoo.of("consistency"), zoo.models, group="objective")
    text = written(figure)
    assert "Consistency between families of `family`" in text
    assert "supervised (n = 6, F = 4)" in text
    assert "circle: median over all pairs of models" in text
    rows = zoo.of("consistency").query("grouping == 'objective' and method == 'pearson'")
    kept = rows.query("group_x == group_y == 'supervised'")
    lines = [line.get_xdata() for line in figure.axes[0].lines]
    assert any(np.array_equal(line, kept["value_between"]) for line in lines)
    assert len(table) == len(rows) + 6
    own = zoo.of("consistency").query("grouping != 'maker'").replace("objective", "family")
    lost = own["grouping"] == "family"
    own.loc[lost, [c for c in own if c.endswith("_between")]] = np.nan
    models = zoo.models.assign(family=zoo.models["objective"])
    figure, _ = consistency_distribution(own, models, group="family")
    written(figure)  # groups that are families have no box, and still their values over all pairs
    assert not figure.axes[0].patches[1:]


def test_differences_and_behavior_show_both_values(zoo):
    figure, table = group_differences(zoo.differences, zoo.models)
    text = written(figure)
    assert "Differences of consistency between families of `family`" in text
    assert "open: over all pairs of models" in text
    assert "no interval: it takes 4 families in each group (6 of 7 differences)" in text
    first = zoo.of("differences", "cka").query("dataset_x == '*' and method == 'pearson'").iloc[0]
    ends = [c.get_offsets()[0, 0] for c in figure.axes[0].collections if len(c.get_offsets())]
    assert {round(float(x), 9) for x in ends} >= {
        round(first["value"], 9), round(first["value_between"], 9),
    }  # fmt: skip
    assert table["value"].isin(zoo.differences["value"]).all()
    assert "†" not in text and "‡" not in text
    text = written(similarity_behavior(zoo.of("relation"), label="far")[0])
    assert "far and behavior, between families of `family`" in text
    assert "birds (n = 24, F = 3)" in text
    assert "no interval: 3 families, at least 4 are needed (birds)" in text
    assert "† driven by one model or family" in text


def test_differences_tell_who_drives_them_and_what_near_duplicates_do(zoo):
    rows = zoo.differences.copy()
    first = (rows["dataset_x"] == "*") & (rows["method"] == "pearson")
    first &= (rows["metric"] == "far") & (rows["grouping"] == "objective")
    said = "ok; between families: the interval holds 0, that over all pairs does not: " \
           "near-duplicates can make such a difference"  # fmt: skip
    rows.loc[first, ["outlier", "value_without", "status"]] = ["family=f7", 0.12, said]
    text = written(group_differences(rows, zoo.models)[0])
    value = minus(f"{rows.loc[first, 'value'].item():.2f}")
    assert "image-text − supervised †‡" in text
    assert (
        "† driven by one model or family (over all pairs of models): far, image-text − supervised: "
        f"{value}, without family=f7 0.12"
    ) in text
    assert "‡ the interval holds 0, that over all pairs does not: near-duplicates" in text
    assert "no interval: 2 families" not in text  # the line on all of them says it


def test_scatter_and_agreement_name_the_families(zoo):
    paths = [path for path in zoo.tables["similarity"] if path.stem == "far"]
    tables = {path.parent.name: read_table(path) for path in paths}
    axis = read_axis(tables, "far")
    text = written(
        similarity_scatter(tables, zoo.of("consistency"), zoo.models, axis=axis, group="maker")[0]
    )
    row = base_of(zoo.of("consistency")).iloc[0]
    assert f"8 families: r = {row['value_between']:.2f} [" in text
    assert f"all pairs: {row['value']:.2f} [" in text
    assert f"† {row['value_without']:.2f} without family=f7" in text
    figure, table = metric_agreement(zoo.consistency)
    assert "Consistency between families of `family`" in written(figure)
    assert table["value_x"].isin(zoo.consistency["value_between"]).all()


def test_gaps_of_accuracy_are_related_by_family_as_in_the_table_of_behavior(zoo):
    paths = [path for path in zoo.tables["similarity"] if path.stem == "far"]
    tables = {path.parent.name: read_table(path) for path in paths}
    accuracy = pd.concat([accuracies(path) for path in zoo.tables["behavior"]])
    families, axis = zoo.models[["family"]], read_axis(tables, "far")
    how = {"axis": axis, "group": "maker", "families": families, "clusters": "family"}
    figure, table = similarity_accuracy(tables, accuracy, zoo.models, **how)
    text = written(figure)
    assert "their gap in accuracy, between families of `family`" in text
    assert "no interval: 3 families, at least 4 are needed (birds)" in text
    rows = zoo.of("relation").query("measure == 'accuracy_gap' and method == 'pearson'")
    shown = table.groupby("dataset").first()
    for row in rows.set_index("dataset").itertuples():
        shortly = minus(f"pairs, F = {row.n_families}) r = {row.value_between:.2f}")
        assert f"{row.Index} ({row.n_pairs} {shortly}" in text
        found = shown.loc[row.Index]
        for ours, theirs in (("r", "value"), ("r_between", "value_between"),
                             ("low_between", "low_between"), ("low", "low")):  # fmt: skip
            np.testing.assert_allclose(found[ours], getattr(row, theirs), rtol=1e-9)
    written(similarity_accuracy(tables, accuracy, zoo.models, color="accuracy", **how)[0])
    few = accuracy[accuracy["dataset"] == "birds"]
    few = pd.concat([accuracy[accuracy["dataset"] != "birds"], few.iloc[[0, -1]]])
    text = written(similarity_accuracy(tables, few, zoo.models, **how)[0])
    assert "2 models, 1 pairs: at least 4 models are needed" in text
    assert "nan" not in text
    plain, _ = similarity_accuracy(tables, accuracy, zoo.models, axis=axis, group="maker")
    assert "families" not in written(plain)


def accuracies(path):
    """Accuracies whose gaps are those of a table of behavior."""
    gaps = read_table(path)
    names = sorted({*gaps["model_x"], *gaps["model_y"]})
    square = pd.DataFrame(0.0, index=names, columns=names)
    for row in gaps.itertuples():
        square.loc[row.model_x, row.model_y] = square.loc[row.model_y, row.model_x] = row.value
    lowest = square.max().idxmax()
    share = square[lowest].to_numpy()
    return pd.DataFrame({"dataset": path.stem, "model": names, "accuracy": share})


def test_without_families_nothing_of_them_is_shown_but_a_warning_reaches_the_reader(tmp_path):
    plain = Study(tmp_path, clusters=None, warn=["family"])
    figure, _ = consistency_heatmap(plain.of("consistency", "cka"))
    text = written(figure)
    assert "64 models | " in text.replace("cka, ", "")
    assert "families" not in text
    assert figure.get_suptitle() == ""
    warning = "models cluster by `family`, so intervals by model are too narrow: set " \
              "consistency.clusters: family (all values)"  # fmt: skip
    assert warning in text
    quiet = plain.of("consistency", "cka").assign(status="ok", outlier="")
    assert consistency_heatmap(quiet)[0].get_supxlabel() == ""
    old = quiet.loc[:, :"status"]  # a table of an earlier version
    assert consistency_heatmap(old)[0].get_supxlabel() == ""
    assert headline(old) is old
    assert few_families(old, []) == ""


def test_footnotes_are_few_however_many_rows_say_something():
    rows = pd.DataFrame(
        {"name": [f"row {k}" for k in range(9)], "value": 0.5, "value_without": np.arange(9) / 10,
         "outlier": [*"abcdefgh", ""], "low": -0.1, "high": 0.9,
         "status": "ok; 2 failed pairs left out; p <= 0.05 but the interval holds 0: without a "
                   "the value is 0.12"}
    )  # fmt: skip
    rows.loc[8, "status"] = "ok"
    first, second = footnotes(rows, lambda row: row.name, 500)
    assert first.endswith("row 2: 0.50, without c 0.20; 5 more in the table")
    assert second == "‡ p ≤ 0.05 but the interval holds 0 (row 0; row 1; row 2 and 5 more)"
    assert [marks(row) for row in rows.itertuples()] == ["†‡"] * 8 + [""]
