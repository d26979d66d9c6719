"""Pages written by hand: no leftover of a merge, and no name of what does not exist."""

import re

import pytest
from clones import ROOT, project_files
from names_on_pages import stale

from consilience import docs

TEXTS = {".md", ".rst", ".py", ".yaml", ".yml", ".smk", ".tsv", ".toml", ".txt", ".bib", ".js", ""}
PAGES = ["README.md", "config/README.md", *sorted(
    path.as_posix() for path in project_files() if path.parts[0] in ("docs", "benchmarks")
    and path.suffix == ".md")]  # fmt: skip
MERGE_MARK = re.compile(r"(?m)^(?:<{7}|={7}|>{7}|\|{7})(?: .*)?$")


def test_no_file_holds_marks_of_a_merge():
    found = []
    for path in project_files():
        if path.suffix in TEXTS and (ROOT / path).is_file():
            text = (ROOT / path).read_text(encoding="utf8")
            found += [f"{path}: {mark}" for mark in MERGE_MARK.findall(text)]
    assert not found


@pytest.mark.parametrize("mark", ["<<<<<<< HEAD", "=======", ">>>>>>> other", "||||||| base"])
def test_marks_of_a_merge_are_found(mark):
    assert MERGE_MARK.findall(f"one\n{mark}\ntwo\n")
    assert not MERGE_MARK.findall(f"Heading\n{mark[:1] * 8}\n| a |\n| --- |\n")


@pytest.mark.parametrize("path", PAGES)
def test_pages_name_nothing_that_does_not_exist(path):
    assert stale((ROOT / path).read_text(encoding="utf8")) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Cells of the column `moddality` say so.", "word: moddality"),
        ("The table has a column `null_avg`.", "word: null_avg"),
        ("A model of the source `taught` is", "source: taught"),
        ("Sources: `timm`, `pickled` and `raw`", "source: pickled"),
        ("see `similarity.layer`", "key of the study: similarity.layer"),
        ("with `similarity: {permutation: 3}`", "key: permutation"),
        ("with `halves=a`", "key: halves"),
        ("the metric `cka_unbiased_linear`", "word: cka_unbiased_linear"),
        ("run `make demos`", "target of make: demos"),
        ("run `snakemake all_fetch`", "target of Snakemake: all_fetch"),
        ("run `snakemake --configfile config/studies/none.yaml`", "path: config/studies/none.yaml"),
        ("see `config/classes/none.tsv`", "path: config/classes/none.tsv"),
        ("in `results/groundings/cka.parquet`", "path: results/groundings/cka.parquet"),
        ("in `groundings/{metric}.parquet`", "path: groundings/{metric}.parquet"),
        ("by `consilience.similarity.engine.pass_one`", "name of the library: consilience."),
        ("`--growths`", "option: --growths"),
        ("```bash\nconsilience check results\n```\n", "command: consilience check results"),
        ("```sh\nconsilience bundle results --zip x\n```\n", "command: consilience bundle"),
        ("```tsv\nmodel\tsource\tlayer\n```\n", "column: layer"),
        ("```tsv\nmodel\tsource\na\ttaught\n```\n", "source: taught"),
    ],
)
def test_what_does_not_exist_is_found(text, kind):
    assert [found for found in stale(text) if found.startswith(kind)], stale(text)
    generated = f"<!-- generated: x -->\n{text}\n<!-- end -->\n"
    assert stale(generated) == [], "what is generated is held by the test that it is up to date"


def test_names_that_exist_are_left_alone():
    for text in ("`z` and `null_mean`", "the source `timm`", "`half=a`", "`hf://datasets/a/b`",
                 "`similarity: {permutations: 10}`", "`results/consistency/means/`",
                 "`CLASS/file`", "`consilience.calibration`", "`make demo`"):  # fmt: skip
        assert stale(text) == []


@pytest.mark.parametrize(
    "text",
    ["<!-- end -->\n", "<!-- generated: a -->\n", "<!-- generated: a -->\n<!-- generated: b -->\n",
     "<!-- generated: a -->\n<!-- end -->\nleft over\n<!-- end -->\n"],
)  # fmt: skip
def test_generated_blocks_begin_and_end_once(text):
    with pytest.raises(ValueError, match=r"begins or ends no block|has no <"):
        docs.outside(text)
    with pytest.raises(ValueError, match=r"begins or ends no block|has no <"):
        docs.fill(text)


def test_every_source_is_explained():
    page = docs.PAGE.read_text(encoding="utf8")
    for source in ("torchvision", "imported", "packaged", "webdataset"):
        assert re.search(rf"\n- \*\*`{source}`\*\*: [a-z].+\n\n  \S", page), source
