"""docs/python.md: every block runs as it stands, and prints what the page says."""

import contextlib
import io
import re

import pytest
from clones import ROOT

PAGE = ROOT / "docs" / "python.md"
BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)


def run(page):
    """Yields (line, what was printed, what the page says or None) of each block of a page."""
    names = {}
    for found in BLOCK.finditer(page):
        code, said = found.groups()
        printed, line = io.StringIO(), page[: found.start()].count("\n") + 1
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * line + code, str(PAGE), "exec"), names)
        yield line, printed.getvalue(), said


def test_every_block_runs_and_prints_what_stands_below(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    page = PAGE.read_text(encoding="utf8")
    blocks = list(run(page))
    assert len(blocks) == page.count("```python") >= 8
    for line, printed, said in blocks:
        if said is not None:
            assert printed == said, f"line {line}"
    assert (tmp_path / "layers.png").stat().st_size > 10_000


@pytest.mark.real
def test_the_block_of_the_readme_runs(tmp_path, monkeypatch):
    """Two pretrained networks on photo crops; the values are those that the picture there shows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    section = (ROOT / "README.md").read_text(encoding="utf8").partition("## From Python\n")[2]
    _, printed, _ = next(run(section))
    value = float(printed.split()[1])
    assert value == pytest.approx(0.71, abs=0.005) and "rows divided by their norms" in printed
    assert (tmp_path / "layers.png").stat().st_size > 50_000


def test_a_block_that_lies_is_found():
    ((_, printed, said),) = run("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n")
    assert (printed, said) == ("2\n", "3\n")
    with pytest.raises(NameError):
        list(run("```python\nnothing\n```\n"))
