"""docs/statistics.md: its tables are those of the pages in benchmarks/, and it is linked."""

import re

import pytest
from clones import ROOT

from consilience import docs
from consilience.docs import quoted
from consilience.docs.quoted import Quote

PAGE = docs.STATISTICS.read_text(encoding="utf8")


def test_tables_are_up_to_date():
    assert docs.fill_statistics(PAGE) == PAGE, "run `make docs`"


@pytest.mark.parametrize("name", quoted.QUOTES)
def test_numbers_stand_on_the_page_that_is_named(name):
    block = re.search(rf"<!-- generated: {name} -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)[1]
    page = ROOT / "benchmarks" / quoted.QUOTES[name].page
    if not page.is_file():
        assert block == f"(`{quoted.QUOTES[name].command}` writes this table.)\n"
        return
    text = page.read_text(encoding="utf8")
    rows = [line for line in block.splitlines() if line.startswith("|")]
    assert len(rows) > 2
    assert all(row in text for row in rows)


def test_no_share_is_typed_by_hand():
    """Measured numbers stand in quoted tables alone; 0.05 and the like are levels."""
    typed = re.sub(r"`[^`]*`|```.*?```", "", docs.outside(PAGE), flags=re.DOTALL)
    typed = re.sub(r"\]\(.*?\)", "", typed)
    assert set(re.findall(r"\d+\.\d+", typed)) <= {"0.05", "0.01", "0.001", "0.6"}


def test_page_is_linked():
    for name in ("README.md", "docs/design.md"):
        assert "statistics.md)" in (ROOT / name).read_text(encoding="utf8"), name


@pytest.fixture
def pages(tmp_path, monkeypatch):
    (tmp_path / "a.md").write_text(
        "# A\n\n| x | y |\n| --- | --- |\n| cka | 1 |\n| rsa | 2 |\n\n## B\n\ntext\n\n| z |\n"
        "| --- |\n| 3 |\n", encoding="utf8"
    )  # fmt: skip
    monkeypatch.setattr(quoted, "FOLDER", tmp_path)


@pytest.mark.usefixtures("pages")
def test_tables_are_found_by_heading_and_rows():
    source = "From [benchmarks/a.md](../benchmarks/a.md)."
    first = quoted.quoted(Quote("a.md", rows=("rsa |",)))
    assert first == f"| x | y |\n| --- | --- |\n| rsa | 2 |\n\n{source}"
    assert quoted.quoted(Quote("a.md", "B")) == f"| z |\n| --- |\n| 3 |\n\n{source}"
    assert quoted.quoted(Quote("b.md", command="make b")) == "(`make b` writes this table.)"
    with pytest.raises(ValueError, match=r"benchmarks/a.md has no table under 'C'"):
        quoted.quoted(Quote("a.md", "C"))


def test_places_and_tables_are_the_same():
    with pytest.raises(ValueError, match="has places for"):
        docs.fill_statistics(PAGE.replace("<!-- generated: ties -->", "<!-- generated: knots -->"))
