"""A page of the explorer for the tests: a small study with every table, in a real browser."""

import json
import os
import warnings

import pytest
from browser import Browser, find_browser, install_browser

SIZES = {"models": 10, "datasets": 3, "metrics": 4, "layers": 2, "n": 24}
NASTY = "</script><img src=x onerror=alert(1)>"
DRAWN = """[...document.querySelectorAll('[data-chart]')].map(f => shown.get(f.dataset.chart))
    .every(chart => chart?.view || chart?.empty)"""


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A small study with every table, and its page."""
    from grounded_study import write_grounding  # noqa: PLC0415 - other tests need none of it
    from synthetic import write_study  # noqa: PLC0415

    from consilience.explorer import make_explorer  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("study")
    tables, study = write_study(folder, **SIZES)
    study["models"]["model_00"]["note"] = NASTY
    _, found = write_grounding(
        folder, study["metrics"], {"cora_gcn": "graph", "fashion_vgg": "image"},
        matched=["cora_gcn"], shut=[("cora_gcn", "labels")], constant=["cka"],
    )  # fmt: skip
    tables |= {"grounding": found["grounding"], "grounding_ranks": found["grounding_summary"],
               "grounding_differences": found["grounding_differences"]}  # fmt: skip
    make_explorer(
        folder / "index.html", folder / "study.json", tables, study=study, group="objective",
        configfiles=["config/studies/mini.yaml"],
    )  # fmt: skip
    return folder, tables, study


@pytest.fixture(scope="session")
def browser():
    path = find_browser() or install_browser()
    if path is None:
        assert not os.environ.get("CI"), "no Chromium: install it, or set CHROMIUM to its path"
        message = "no Chromium found, so the page is not opened; install it or set CHROMIUM"
        warnings.warn(message, stacklevel=1)
        pytest.skip(message)
    chromium = Browser(path)
    yield chromium
    chromium.close()


@pytest.fixture
def page(browser, made):
    """The page in a tall window, so that all charts are drawn."""
    browser.problems.clear()
    browser.requests.clear()
    browser.size(1400, 6000)
    browser.scheme("light")
    browser.open(made[0] / "index.html")
    browser.until(DRAWN)
    yield browser
    assert browser.problems == []
    assert {url.split(":")[0] for url in browser.requests} <= {"file", "data", "blob"}


def choose(page, control, value):
    page.run(f"set({json.dumps(control)}, {json.dumps(value)})")
    page.until(DRAWN)


def shown(page, chart):
    """Returns the rows behind a chart, as its download has them."""
    columns, rows = page.run(f"(([columns, rows]) => [columns, rows])(lastRows.get({chart!r}))")
    names = [column if isinstance(column, list) else [column, column] for column in columns]
    return [{name: row.get(field) for field, name in names} for row in rows]
