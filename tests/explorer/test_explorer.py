"""The explorer's page: what it embeds, and a real browser that uses every control, offline."""

import base64
import csv
import gzip
import html
import json
import re
import shlex

import numpy as np
import pytest
from explorer_page import DRAWN, NASTY, SIZES, choose, shown
from snakemake.cli import get_argument_parser

from consilience.errors import DataError
from consilience.explorer import answers, make_explorer
from consilience.explorer.charts import specs
from consilience.files import read_table

CHARTS = ("heat", "scatter", "map", "probe", "layers", "matrix", "intervals", "curves", "agreement",
          "differences", "reliability", "corrected", "behavior", "relation", "grounded",
          "ranks")  # fmt: skip


def embedded(page):
    """Returns what the page's script reads: (meta, {name: numbers})."""
    text = page.read_text(encoding="utf8")
    meta = json.loads(re.search(r'id="meta">(.*?)</script>', text, re.DOTALL)[1])
    packed = re.search(r'id="pack">(.*?)</script>', text, re.DOTALL)[1]
    raw = gzip.decompress(base64.b64decode(packed))
    kinds = {"float32": "<f4", "uint32": "<u4", "uint16": "<u2"}
    return meta, {
        name: np.frombuffer(raw, kinds[kind], length, offset)
        for name, (offset, length, kind) in meta["index"].items()
    }


def test_embedded_values_are_those_of_the_tables(made):
    folder, tables, _ = made
    meta, columns = embedded(folder / "index.html")
    for path in tables["similarity"]:
        table = read_table(path)
        key = f"{meta['metrics'].index(path.stem)} {meta['datasets'].index(path.parent.name)}"
        last = table[(table["layer_x"] == "layer_1") & (table["layer_y"] == "layer_1")]
        values = last.pivot_table("value", "model_x", "model_y", sort=True, dropna=False)
        square = values.to_numpy()
        if not table.attrs["facts"]["symmetric"]:
            square = (square + square.T) / 2
        upper = square[np.triu_indices(len(square), k=1)]
        np.testing.assert_allclose(columns[f"value {key}"], upper, rtol=1e-6, atol=1e-7)


def test_layers_keep_both_directions_of_an_asymmetric_metric(made):
    folder, tables, _ = made
    meta, columns = embedded(folder / "index.html")
    path = next(path for path in tables["similarity"] if path.stem == "linear_regression")
    key = f"{meta['metrics'].index(path.stem)} {meta['datasets'].index(path.parent.name)}"
    table = read_table(path).set_index(["model_x", "layer_x", "model_y", "layer_y"])["value"]
    square = columns[f"layers {key}"].reshape(20, 20)
    assert square[0, 3] == pytest.approx(table["model_00", "layer_0", "model_01", "layer_1"])
    assert square[3, 0] == pytest.approx(table["model_01", "layer_1", "model_00", "layer_0"])


@pytest.mark.parametrize("names", [[], ["one.yaml"], ["one.yaml", "of two.yaml"]])
def test_commands_on_the_page_are_read_by_snakemake_as_meant(made, tmp_path, names):
    """A target behind a study's file would be taken for one more such file."""
    _, tables, study = made
    only = {"similarity": tables["similarity"]}
    make_explorer(tmp_path / "p", tmp_path / "s", only, study=study, configfiles=names)
    text = html.unescape((tmp_path / "p").read_text(encoding="utf8"))
    for path in only["similarity"]:
        command = re.search(rf"snakemake [^<>]*{re.escape(str(path))}", text)[0]
        asked = get_argument_parser().parse_args(shlex.split(command)[1:])
        assert list(map(str, asked.configfile)) == names
        assert list(asked.targets) == [str(path)]


def test_page_is_the_same_twice_and_leaves_out_what_the_study_lacks(made, tmp_path):
    _, tables, study = made
    only = {"similarity": tables["similarity"]}
    for name in ("one", "two"):
        make_explorer(tmp_path / name, tmp_path / "s", only, study=study, layer_pairs=100)
    text = (tmp_path / "one").read_text(encoding="utf8")
    assert text == (tmp_path / "two").read_text(encoding="utf8")
    assert not [name for name in CHARTS[3:] if f'id="{name}"' in text]
    assert not json.loads(re.search(r'id="meta">(.*?)</script>', text)[1])["specs"].keys() - {
        "heat", "scatter", "map",
    }  # fmt: skip
    assert "raise explorer: layer_pairs" in text
    with pytest.raises(DataError, match="needs a similarity table"):
        make_explorer(tmp_path / "x", tmp_path / "s", {}, study=study)


def test_groupings_that_do_not_fit_are_named(made, tmp_path, monkeypatch):
    _, tables, study = made
    rows = sum((read_table(path)["grouping"] == "all").sum() for path in tables["consistency"])
    monkeypatch.setattr(answers, "CONSISTENCY_ROWS", rows)
    make_explorer(tmp_path / "page", tmp_path / "s", tables, study=study)
    text = (tmp_path / "page").read_text("utf8")
    assert "Consistency by family, objective, to keep the page small" in text
    assert len(embedded(tmp_path / "page")[1]["consistency value"]) == rows


def test_page_loads_nothing_and_executes_no_text_of_the_study(made):
    text = (made[0] / "index.html").read_text(encoding="utf8")
    assert NASTY not in text
    assert "default-src 'none'" in text
    assert not re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="?http', text)


def test_every_chart_is_named_and_checked():
    assert set(specs()) == set(CHARTS)


CONTROLS = """[...document.querySelectorAll('select, input')].map(c => [c.id, c.labels.length,
    [...(c.options ?? [])].filter(o => !o.disabled).map(o => o.value)])"""


def test_browser_is_offline(page):
    assert page.run("navigator.onLine") is False


def test_every_control_works_without_a_console_error(page, made):
    controls = page.run(CONTROLS)
    assert {name for name, _, _ in controls} == {
        "dataset", "metric", "group", "highlight", "theme", "order", "values", "other", "from",
        "to", "set", "method", "axis", "measure", "kind", "interval", "layers-x", "layers-y",
        "difference", "difference-method", "reliability-set", "reliability-method",
        "behavior-measure", "behavior-method", "grounding-domain", "grounding-test",
    }  # fmt: skip
    for name, labels, options in controls:
        assert labels == 1, f"{name} has no label"
        before = page.run(f"$({name!r}).value")
        for option in options[:2] + options[-1:] if options else ["0.05"]:
            choose(page, name, option)
            assert page.run(f"$({name!r}).value") == option
        choose(page, name, before)
    for button in range(page.run("document.querySelectorAll('[data-sort]').length")):
        page.run(f"document.querySelectorAll('[data-sort]')[{button}].click()")
    page.run("[...document.querySelectorAll('nav a, .skip')].forEach(a => a.click())")


def test_order_and_values_move_the_heat_map(page):
    first = page.run("lastRows.get('heat')[1].map(r => r.model_x).join()")
    choose(page, "order", "name")
    assert page.run("lastRows.get('heat')[1].map(r => r.model_x).join()") != first
    choose(page, "metric", "2")  # mutual kNN, whose chance level is not 0
    raw = page.run("lastRows.get('heat')[1][0].a")
    choose(page, "values", "calibrated")
    assert page.run("lastRows.get('heat')[1][0].a") != raw
    choose(page, "metric", "3")  # no closed-form null
    assert page.run("$('values').value") == "value"


@pytest.mark.parametrize("half", [0, 1])  # a browser stops the eleventh download of a page
def test_downloads_hold_the_data_behind_each_view(page, half):
    buttons = page.run("[...document.querySelectorAll('[data-csv]')].map(b => b.dataset.csv)")
    assert set(buttons) == {*CHARTS, "grounding-table"}
    for button in buttons[half::2]:
        page.run(f"document.querySelector('[data-csv={button}]').focus()")
        page.press("Enter", 13, "\r")
        found = page.wait_for_download(f"{button}_data_00_cka.csv")
        rows = list(csv.DictReader(found.read_text(encoding="utf8").splitlines()))
        wanted = shown(page, button)
        assert len(rows) == len(wanted) > 0, button
        for row, values in zip(rows, wanted, strict=True):
            assert list(row) == list(values)
            assert all(is_cell(row[name], value) for name, value in values.items()), (row, values)


def is_cell(text, value):
    """Returns whether a cell of a CSV file holds a value of the page, to seven digits."""
    if isinstance(value, float | int):
        return float(text) == pytest.approx(value, rel=1e-6, abs=1e-12)
    return text == (value or "")


def test_downloads_hold_the_values_of_the_tables(page, made):
    _, tables, _ = made
    choose(page, "order", "name")
    page.run("document.querySelector('[data-table=models]').click()")
    names = [row["model"] for row in csv.DictReader(page.wait_for_download("models.csv").open())]
    assert names == [f"model_{k:02}" for k in range(SIZES["models"])]
    page.run("set('dataset', 1)")
    page.until(DRAWN)
    page.run("document.querySelector('[data-csv=heat]').click()")
    heat = list(csv.DictReader(page.wait_for_download("heat_data_01_cka.csv").open()))
    assert len(heat) == SIZES["models"] * (SIZES["models"] - 1) / 2
    table = read_table(
        next(p for p in tables["similarity"] if p.parts[-2:] == ("data_01", "cka.parquet"))
    )
    value = table.set_index(["model_x", "layer_x", "model_y", "layer_y"])["value"]
    for row in heat:
        expected = value[row["model_x"], "layer_1", row["model_y"], "layer_1"]
        assert float(row["data_01"]) == pytest.approx(expected, rel=1e-6)


def test_brushing_the_scatter_plot_marks_the_heat_map(page):
    box = page.run("(({x, y, width, height}) => [x, y, width, height])"
                   "($('scatter').querySelector('canvas').getBoundingClientRect())")  # fmt: skip
    x, y, width, height = box
    page.mouse("mouseMoved", x + 0.3 * width, y + 0.3 * height)
    page.mouse("mousePressed", x + 0.3 * width, y + 0.3 * height, buttons=1)
    for step in (0.4, 0.6, 0.8):
        page.mouse("mouseMoved", x + step * width, y + step * height, buttons=1)
    page.mouse("mouseReleased", x + 0.8 * width, y + 0.8 * height)
    low, high = page.until("shown.get('heat').view.signal('sel').a")
    assert low < high
    marked = page.run("shown.get('scatter').view.signal('sel').a")
    assert marked == [low, high]


def test_clicks_choose_models(page):
    page.run("pick('map', {model: 'model_03'})")
    assert page.run("$('highlight').value") == "model_03"
    page.run("pick('heat', {model_x: 'model_02', model_y: 'model_05'})")
    assert page.run("[$('layers-x').value, $('layers-y').value]") == ["2", "5"]
    page.until(DRAWN)


def test_keyboard_reaches_and_changes_every_control(page):
    page.run("document.activeElement.blur()")
    reached = []
    for _ in range(page.run("document.querySelectorAll('select, input, button, a').length") + 30):
        page.press("Tab", 9)
        reached.append(page.run("document.activeElement.id"))
    assert {name for name, _, _ in page.run(CONTROLS)} <= set(reached)
    page.run("$('order').focus()")
    before = page.run("$('order').value")
    page.press("ArrowDown", 40)
    assert page.until("$('order').value !== 'all' && $('order').value") != before
    page.until(DRAWN)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_follows_the_system_and_the_switch(page, scheme):
    page.scheme(scheme)
    paper = "getComputedStyle(document.body).backgroundColor"
    colors = {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 22, 22)"}
    assert page.run(paper) == colors[scheme]
    for chosen, color in colors.items():
        choose(page, "theme", chosen)
        assert page.run(paper) == color
    choose(page, "theme", "system")


def test_page_fits_a_phone(page):
    page.size(400, 6000)
    page.until("document.documentElement.clientWidth === 400")
    page.until(DRAWN)
    page.until("document.documentElement.scrollWidth <= 400")
    widest = "Math.max(...[...document.querySelectorAll('canvas')].map(c => c.clientWidth))"
    page.until(f"{widest} <= 380")
