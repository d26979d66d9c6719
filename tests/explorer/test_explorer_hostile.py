"""The page of a stranger's bundle whose every text is hostile: it shows text, and nothing runs."""

import json

import pytest
from explorer_page import DRAWN, browser  # noqa: F401 - a fixture
from test_bundle import MODELS, lab

from consilience.bundle import write_bundle
from consilience.cli import main
from consilience.files import read_table, write_table

TEXTS = (
    "</script><script>window.hurt = 1</script>",
    "<img src=x onerror='window.hurt = 1'>",
    "javascript:window.hurt=1",
    "' onmouseover=window.hurt=1 x='",
    '"><svg onload=window.hurt=1>',
    "${window.hurt=1} {{window.hurt=1}} `window.hurt=1`",
    "datum['constructor']['constructor']('window.hurt=1')()",
    "]]><!--", "\u2028window.hurt=1\u2028", "__proto__", "constructor",
)  # fmt: skip
NAMED = {"dataset", "metric", "model", "model_x", "model_y", "side", "status", "hash_x", "hash_y"}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A bundle with such texts wherever a text of one's own may stand, and its page."""
    folder = tmp_path_factory.mktemp("hostile")
    results = lab(folder / "lab", MODELS)
    spoilt = 0
    for path in sorted(results.rglob("*.parquet")):
        table = read_table(path)
        for column in set(table.select_dtypes("object")) - NAMED:
            values = sorted(table[column].dropna().unique())
            names = {value: f"{TEXTS[k % len(TEXTS)]}{k}" for k, value in enumerate(values)}
            table[column] = table[column].map(names, na_action="ignore")
            spoilt += len(names)
        attrs = table.attrs
        if "layers" in attrs:
            named = {
                m: [f"{TEXTS[k]}{k}" for k in range(len(n))] for m, n in attrs["layers"].items()
            }
            attrs = attrs | {"layers": named}
        write_table(table, path, attrs)
    assert spoilt
    study_file = results / "explorer" / "study.json"
    study = json.loads(study_file.read_text())
    for number, row in enumerate([*study["models"].values(), *study["datasets"].values()]):
        row |= {f"note {text}": text for text in TEXTS}
        row["objective"] = TEXTS[number % len(TEXTS)]
    study["labels"] = dict(zip(study["labels"], TEXTS, strict=False))
    study["settings"] |= {text: text for text in TEXTS}
    study_file.write_text(json.dumps(study))
    write_bundle(results, folder / TEXTS[3].replace("/", "_").replace(" ", "_"))
    (bundle,) = [path for path in folder.iterdir() if path.name != "lab"]
    assert main(["merge", str(bundle), "-o", str(folder / "merged"), "--page"]) == 0
    return folder / "merged"


def test_nothing_of_a_hostile_bundle_runs(hostile, browser):  # noqa: F811
    (path,) = hostile.rglob("index.html")
    browser.problems.clear()
    browser.requests.clear()
    browser.size(1400, 6000)
    browser.open(path)
    browser.until(DRAWN)
    for control in browser.run("[...document.querySelectorAll('select')].map(s => s.id)"):
        options = browser.run(
            f"[...document.getElementById({json.dumps(control)}).options].map(o => o.value)"
        )
        for value in options[:4]:
            browser.run(
                f"(s => {{ s.value = {json.dumps(value)}; s.dispatchEvent(new Event('change')) }})"
                f"(document.getElementById({json.dumps(control)}))"
            )
            browser.until(DRAWN)
    said = browser.run("document.body.innerText")
    assert sum(text.strip() in said for text in TEXTS) >= 5  # shown as they are
    assert browser.run("window.hurt === undefined")
    assert browser.run("document.querySelectorAll('img, svg[onload], [onmouseover]').length") == 0
    assert browser.run("({}).hurt === undefined && Object.prototype.note === undefined")
    assert browser.problems == []
    assert {url.split(":")[0] for url in browser.requests} <= {"file", "data", "blob"}
