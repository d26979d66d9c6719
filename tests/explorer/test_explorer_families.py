"""The page of a study of 64 models in 8 families: both values, who drives them, what rows say."""

import pandas as pd
import pytest
from explorer_page import DRAWN, choose, shown
from families_study import DATASETS, METRICS, write_families
from test_explorer_answers import matched, texts

from consilience.explorer import make_explorer
from consilience.explorer.charts import specs
from consilience.files import read_table, write_table
from consilience.plots.style import minus

STEPS = ("similarity", "consistency", "differences", "behavior", "relation")
VIEWS = ("consistency", "differences", "behavior")
ENDS = ["value", "low", "high", "p", "value_between", "low_between", "high_between", "p_between"]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Where the page lies, and the tables by step of the metric whose family f7 is far away."""
    folder = tmp_path_factory.mktemp("zoo")
    tables, study = write_families(folder)
    drive(next(path for path in tables["differences"] if path.stem == "far"))
    make_explorer(
        folder / "index.html", folder / "study.json", {step: tables[step] for step in STEPS},
        study=study, group="objective",
    )  # fmt: skip
    return folder / "index.html", {
        step: read_table(next(path for path in tables[step] if path.stem == "far"))
        for step in ("consistency", "differences", "relation")
    }


def drive(path):
    """Has family f7 drive the means of the differences between objectives."""
    table = read_table(path)
    metadata = dict(table.attrs)
    mean = (table["dataset_x"] == "*") & (table["grouping"] == "objective")
    table.loc[mean, "outlier"], table.loc[mean, "value_without"] = "family=f7", -0.25
    table.loc[mean, "status"] = "ok; between families: the interval holds 0, that over all does not"
    write_table(table, path, metadata)


def test_both_values_are_on_the_page_and_the_one_between_families_stands_first(browser, zoo):
    page, tables = browser, zoo[1]
    page.problems.clear()
    page.size(1400, 4000)
    page.open(zoo[0])
    page.until(DRAWN)
    choose(page, "metric", METRICS.index("far"))
    said = page.run("$('matrix-caption').textContent")
    row = tables["consistency"].query("grouping == 'all' and method == 'pearson'").iloc[0]
    assert row["outlier"] == "family=f7"
    for words in (
        "64 models in 8 families", "Between families of family", "Pale: the interval holds 0",
        f"birds – digits {row['value']:.2f}, without family=f7 {row['value_without']:.2f}",
        "‡ p ≤ 0.05 but the interval holds 0",
    ):  # fmt: skip
        assert words in said
    written = texts(page, "matrix")
    assert f"{row['value_between']:.2f}†‡" in written
    assert f"all {row['value']:.2f}" in written
    assert "birds – digits †‡" in texts(page, "intervals")
    assert "Open points: over all pairs" in page.run("$('intervals-caption').textContent")

    keys, part = ["dataset_x", "dataset_y"], tables["consistency"].query("grouping == 'all'")
    part = part[part["method"] == "pearson"]
    numbers = [*ENDS, "n_models", "n_families"]
    matched(shown(page, "matrix"), part, keys, numbers)
    first = page.run("lastRows.get('intervals')[1].map(r => [r.x, r.y, r.value, r.beside])")
    wanted = part.set_index(keys)[["value_between", "value"]]
    for x, y, value, beside in first:
        assert [value, beside] == pytest.approx(list(wanted.loc[(x, y)]), rel=1e-6)

    choose(page, "pairs", "all")
    assert f"{row['value']:.2f}†‡" in texts(page, "matrix")
    assert "those within families of family too" in page.run("$('matrix-caption').textContent")
    matched(shown(page, "matrix"), part, keys, numbers)  # a download has both, whatever is shown

    told = page.run("$('differences-caption').textContent")
    assert "Between families of family" in told
    means = tables["differences"].query("dataset_x == '*' and method == 'pearson'")
    choose(page, "difference", "mean objective")
    matched(
        shown(page, "differences"), means[means["grouping"] == "objective"],
        [*keys, "group_x", "group_y"],
        ["value", "low", "high_simultaneous", "value_between", "low_between",
         "high_between_simultaneous"],
    )  # fmt: skip
    said = page.run("$('differences-caption').textContent")
    value = minus(f"{means[means['grouping'] == 'objective']['value'].item():.2f}")
    assert f"image-text – supervised {value}, without family=f7 −0.25" in said
    assert "‡ the interval holds 0, that over all does not" in said
    assert "image-text – supervised †‡" in texts(page, "differences")
    assert set(pd.DataFrame(shown(page, "differences"))["outlier"]) == {"family=f7"}
    told = page.run("$('relation-caption').textContent")
    assert "No interval: 3 families, at least 4 are needed (birds)" in told
    part = tables["relation"].query("method == 'pearson'")
    matched(shown(page, "relation"), part, ["dataset"], [*ENDS, "n_families"])
    found = pd.DataFrame(shown(page, "relation")).set_index("dataset")["outlier"]
    assert found.to_dict() == part.set_index("dataset")["outlier"].to_dict()
    assert set(found.index) == set(DATASETS)
    assert page.problems == []


def test_what_hovering_tells_of_families_and_outliers():
    everything = specs(
        {view: ["status", "outlier", "value_without"] for view in VIEWS}, list(VIEWS)
    )
    bare = specs()
    for chart in ("matrix", "intervals", "relation", "differences"):
        told, without = (titles(found[chart]) for found in (everything, bare))
        assert {"between families", "all pairs", "from (families)", "to (all)"} <= told
        assert not {"between families", "all pairs"} & without
        assert {"driven by", "all pairs without it", "status"} <= told
        assert chart == "differences" or "families" in told


def titles(spec):
    """Returns what the tooltips of a chart name."""
    layers = [spec, *spec.get("layer", [])]
    told = [layer.get("encoding", {}).get("tooltip", []) for layer in layers]
    return {entry["title"] for entries in told for entry in entries}
