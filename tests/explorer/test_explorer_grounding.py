"""The explorer's view of grounding: values, what is told, ranks, in a browser."""

import json

import numpy as np
import pandas as pd
import pytest
from explorer_page import DRAWN, choose, shown

from consilience.explorer import grounding, make_explorer
from consilience.files import read_table
from consilience.grounding.overview import from_best, headline

METRICS = ("cka", "linear_regression", "mutual_knn_k5", "procrustes")
CELLS = """[...$('grounding-table').tBodies[0].rows].map(r => [...r.cells].map(c => ({
    text: c.textContent, number: c.dataset.number, title: c.querySelector('button')?.title,
    bold: c.querySelector('button')?.classList.contains('best') ?? false })))"""


@pytest.fixture(scope="module")
def found(made):
    """What the tables say: one row per metric, recipe, test and measure."""
    rows = pd.concat(map(read_table, made[1]["grounding"]), ignore_index=True)
    return from_best(headline(rows), read_table(made[1]["grounding_differences"][0]))


def heads(page):
    return page.run("[...$('grounding-table').tHead.rows[0].cells].map(c => c.textContent)")


def of_domain(found, domain):
    return found[found["domain"] == domain].set_index(["metric", "recipe", "test", "measure"])


@pytest.mark.parametrize("domain", ["graph", "image"])
def test_the_table_holds_every_value_with_its_interval_chance_and_status(page, found, domain):
    choose(page, "grounding-domain", domain)
    own = of_domain(found, domain)
    labels = {f"{metric} (label)": metric for metric in METRICS}
    listed = json.loads(page.run("JSON.stringify(GROUNDING.cases)"))
    cases = [case[1:] for case in listed if case[0] == domain]
    assert {*map(tuple, cases)} == {index[1:] for index in own.index}
    cells = page.run(CELLS)
    assert len(cells) == len(METRICS)
    for row in cells:
        assert len(row) == 3 + len(cases)
        metric = labels[row[0]["text"]]
        for case, cell in zip(cases, row[3:], strict=True):
            value = own.loc[(metric, *case)]
            assert cell["bold"] == (value["told"] == "best"), (metric, case)
            assert value["status"] in cell["title"]
            if np.isnan(value["value"]):
                assert cell["text"] == "constant" and cell["number"] == ""
                continue
            assert float(cell["number"]) == pytest.approx(value["value"], rel=1e-6)
            two = f"{value['value']:.2f}".replace("0.", ".", 1) if abs(value["value"]) < 1 else "1"
            assert two.removeprefix("-").rstrip("0") in cell["title"]
            assert ("●" in cell["text"]) == (value["told"] == "maybe")
            assert ("○" in cell["text"]) == (value["told"] == "worse")
            assert "chance" in cell["title"] and ("[" in cell["title"]) == (value["low"] > -9)
    told = heads(page)
    assert sum("does not count" in text for text in told) == (domain == "graph")
    assert len(told) == len(cells[0])
    assert "chance .26" in told[7] if domain == "graph" else "chance .22" in told[7]


def test_columns_are_sorted_by_their_numbers_and_what_there_is_not_stands_last(page):
    choose(page, "grounding-domain", "image")
    for column in (2, 3, 6):
        for _ in range(2):
            head = f"$('grounding-table').tHead.rows[0].cells[{column}]"
            page.run(f"{head}.querySelector('button').click()")
            up = page.run(f"{head}.getAttribute('aria-sort')") == "ascending"
            texts = [row[column]["number"] for row in page.run(CELLS)]
            known = [float(text) for text in texts if text]
            assert known == sorted(known, reverse=not up) and len(known) >= 3
            assert "" not in texts[: len(known)]
    choose(page, "dataset", "1")
    texts = [row[6]["number"] for row in page.run(CELLS)]
    known = [float(text) for text in texts if text]
    assert known == sorted(known) or known == sorted(known, reverse=True), "it stays sorted"


def test_a_value_tells_all_and_shows_its_test_and_a_metric_is_shown_everywhere(page, found):
    choose(page, "grounding-domain", "image")
    page.run("$('grounding-table').querySelectorAll('[data-found]')[4].focus()")
    title = page.run("document.activeElement.title")
    page.press("Enter", 13, "\r")
    page.until(DRAWN)
    assert page.run("$('grounding-detail').textContent") == title
    chosen = page.run("$('grounding-test').selectedOptions[0].text")
    recipe, test = "fashion_vgg", chosen.rpartition(", ")[2]
    assert chosen.startswith("image: fashion_vgg") and f"{recipe}, {test}" in title
    page.run("$('grounding-table').querySelector('tbody tr:last-child [data-metric]').click()")
    page.until(DRAWN)
    last = page.run(CELLS)[-1][0]["text"]
    assert page.run("$('metric').selectedOptions[0].text") == last


def test_a_test_is_drawn_with_chance_and_says_what_cannot_be_told(page, found):
    options = page.run("[...$('grounding-test').options].map(o => [o.value, o.text])")
    assert len(options) == len(found[["recipe", "test", "measure"]].drop_duplicates())
    for place, text in options:
        domain, _, name = text.partition(": ")
        recipe, _, test = name.partition(", ")
        test, _, measure = test.removesuffix(")").partition(" (")
        own = found[(found["recipe"] == recipe) & (found["test"] == test)]
        own = own[own["measure"] == measure] if measure else own
        assert set(own["domain"]) == {domain}
        choose(page, "grounding-test", place)
        rows = {row["metric"]: row for row in shown(page, "grounded")}
        known = own[own["value"].notna()]
        assert set(rows) == {f"{m} (label)" for m in known["metric"]}
        for row in known.to_dict("records"):
            drawn = rows[f"{row['metric']} (label)"]
            for key in ("value", "chance", "behind_low"):
                if np.isfinite(row[key]):
                    assert drawn[key] == pytest.approx(row[key], rel=1e-6, abs=1e-7)
            assert drawn["told"] == row["told"]
        caption = page.run("$('grounded-caption').textContent")
        maybe, of = (known["told"] == "maybe").sum(), known["told"].isin(["maybe", "worse"]).sum()
        assert f"{maybe} of {of} other metrics cannot" in caption or not of
        assert ("does not count" in caption) == (own["status"] == "not_grounded").any()


def test_ranks_are_those_of_the_table(page, made):
    table = read_table(made[1]["grounding_ranks"][0])
    for domain in ("image", "graph"):
        choose(page, "grounding-domain", domain)
        own = table[table["domain"] == domain].set_index("metric")
        rows = shown(page, "ranks")
        assert len(rows) == len(own)
        for row in rows:
            expected = own.loc[row["metric"].removesuffix(" (label)")]
            for key in ("mean_rank", "low", "high", "coverage", "n_cases"):
                assert row[key] == pytest.approx(expected[key], rel=1e-6), key
        caption = page.run("$('ranks-caption').textContent")
        assert f"{own['critical_difference'].iloc[0]:.1f}, which is optimistic" in caption
        assert "for want of values: cka" in caption


def test_a_page_of_grounding_alone_stands(page, made, tmp_path):
    """As of a study that has only the pairs that its tests need."""
    _, tables, study = made
    only = {kind: paths for kind, paths in tables.items() if kind.startswith("grounding")}
    make_explorer(tmp_path / "index.html", tmp_path / "s.json", only, study=study)
    page.open(tmp_path / "index.html")
    page.until(DRAWN)
    sections = page.run("[...document.querySelectorAll('section')].map(s => s.id)")
    assert sections == ["grounding-view", "models-table", "provenance-table"]
    assert len(page.run(CELLS)) == len(METRICS)
    choose(page, "metric", 2)
    choose(page, "theme", "dark")
    assert len(shown(page, "grounded")) and len(shown(page, "ranks"))


def test_a_study_without_grounding_has_no_such_view(made, tmp_path, monkeypatch):
    _, tables, study = made
    only = {"similarity": tables["similarity"]}
    make_explorer(tmp_path / "none", tmp_path / "s", only, study=study)
    assert 'id="grounding-view"' not in (tmp_path / "none").read_text("utf8")
    monkeypatch.setattr(grounding, "ROWS", 40)
    make_explorer(tmp_path / "few", tmp_path / "s", tables, study=study)
    text = (tmp_path / "few").read_text("utf8")
    assert "Grounding on fashion_vgg, to keep the page small" in text
    meta = json.loads(text.partition('id="meta">')[2].partition("</script>")[0])
    assert {case[1] for case in meta["views"]["grounding"]["cases"]} == {"cora_gcn"}
