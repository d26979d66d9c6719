"""The command `consilience power`, and what the demo's summary says of its models."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from families_study import write_families

from consilience.cli import main
from consilience.cli.power import can_show, design_of, name
from consilience.config import ROOT
from consilience.consistency import power
from consilience.consistency.observed import share_of_families
from consilience.consistency.power import Design
from consilience.files import read_table, write_table
from consilience.pairs.families import Clusters
from consilience.pairs.matrix import Similarity
from consilience.results import STUDY_FILE


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def few(monkeypatch):
    """Few studies: what they find is not the point."""
    monkeypatch.setattr(power, "STUDIES", 40)


def run(capsys, *arguments):
    status = main(["power", *map(str, arguments)])
    return status, capsys.readouterr()


@pytest.mark.usefixtures("few")
def test_table_and_sentence_of_a_difference(capsys):
    status, shown = run(capsys, "--difference", 0.4, "--models", 32, "--families", 8)
    assert status == 0
    head, *rows, blank, sentence = shown.out.splitlines()
    assert head.split()[:3] == ["models", "families", "datasets"]
    assert not blank
    assert [row.split()[:3] for row in rows][:2] == [["32", "8", "6"], ["64", "16", "6"]]
    assert re.match(
        r"\d+ ± \d+ % of studies with 32 models in 8 families on 6 datasets find a difference of "
        r"0.4 between two groups \(consistencies of 0.8 and 0.4\)[.;]", sentence
    ), sentence  # fmt: skip


@pytest.mark.usefixtures("few")
def test_enough_models_take_one_row(capsys):
    _, shown = run(capsys, "--consistency", 0.6, "--models", 32, "--datasets", 2)
    assert len(shown.out.splitlines()) == 4
    assert "take about" not in shown.out


@pytest.mark.usefixtures("few")
def test_number_that_it_takes_lies_between_the_last_rows(capsys):
    _, shown = run(capsys, "--consistency", 0.4, "--models", 8, "--datasets", 2)
    rows = [line.split() for line in shown.out.splitlines()[1:-2]]
    needed = int(re.search(r"80 % take about (\d+) models", shown.out)[1])
    assert int(rows[-2][0]) < needed <= int(rows[-1][0])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--difference", 0.2, "--models", 2], "2 models: an interval takes at least 4 in each"),
        (["--consistency", 0.2, "--models", 8, "--families", 1], "1 family: an interval takes"),
        (["--difference", 3], "a difference of 3: two correlations differ by 0 to 2"),
        (["--difference", 0.2, "--power", 1], "--power 1: it is a share of studies"),
        (["--results", "nowhere"], "nowhere: no consistency of all models"),
    ],
)
def test_impossible_questions_are_one_sentence(capsys, arguments, said):
    status, shown = run(capsys, *arguments)
    assert status == 1
    assert said in shown.err
    assert len(shown.err.splitlines()) == 1


def rows(models, families, datasets, column="family"):
    """The rows of all models in a consistency table."""
    names = [f"d{k}" for k in range(datasets)]
    pairs = [(x, y) for x in names for y in names if x < y]
    table = pd.DataFrame(pairs, columns=["dataset_x", "dataset_y"])
    return table.assign(grouping="all", group_x="all", group_y="all", method="pearson", value=0.5,
                        metric="cka", n_models=models, n_families=families,
                        clusters=column)  # fmt: skip


@pytest.mark.usefixtures("few")
def test_design_of_a_study_is_read_off_its_tables(tmp_path, capsys):
    assert design_of(rows(7, 5, 4)) == Design(7, 5, 4)
    assert design_of(rows(7, 7, 4, "none")) == Design(7, 7, 4)
    assert design_of(rows(7, 5, 4).assign(value=float("nan"))) is None
    folder = tmp_path / "consistency"
    folder.mkdir()
    write_table(rows(8, 8, 3, "none"), folder / "cka.parquet", {})
    status, shown = run(capsys, "--results", tmp_path)
    assert status == 0
    first, second = shown.out.splitlines()
    assert first == "Its tables say: a mean consistency of 0.50."
    assert second.startswith("8 models on 3 datasets can show that a consistency is above 0 if")
    assert run(capsys, "--results", tmp_path, "--around", 0.6)[1].out.startswith("8 models on 3")


@pytest.mark.usefixtures("few")
def test_consistency_and_share_of_families_are_read_off_the_tables(tmp_path, capsys):
    tables, study = write_families(tmp_path, families=6, each=3, bootstrap=1)
    (tmp_path / STUDY_FILE).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / STUDY_FILE).write_text(json.dumps(study), encoding="utf8")
    values = pd.concat(map(read_table, tables["consistency"]))
    values = values[(values["grouping"] == "all") & (values["method"] == "pearson")]["value"]
    status, shown = run(capsys, "--results", tmp_path)
    assert status == 0
    said = re.fullmatch(
        r"Its tables say: a mean consistency of (\S+) and families that are (\d+) % of what tells "
        r"models apart.", shown.out.splitlines()[0]
    )  # fmt: skip
    assert float(said[1]) == pytest.approx(np.tanh(np.arctanh(values).mean()), abs=0.006)
    assert 70 <= int(said[2]) <= 99  # planted: 0.44 to 1 of sd are the family's, 0.4 the model's


def test_share_of_families_is_the_planted_one():
    codes, rng = np.repeat(np.arange(40), 5), np.random.default_rng(0)
    names = [f"m{k:03d}" for k in range(200)]
    clusters = Clusters("family", dict(zip(names, map(str, codes), strict=True)))
    for icc in (0.0, 0.3, 0.8):
        found = []
        for _ in range(4):
            a = np.sqrt(icc) * rng.normal(size=40)[codes] + np.sqrt(1 - icc) * rng.normal(size=200)
            matrix = a[:, None] + a[None] + 0.3 * rng.normal(size=(200, 200))
            matrix += 5 * (codes[:, None] == codes[None])  # near-duplicates tell nothing of it
            found.append(Similarity(tuple(names), np.where(np.eye(200), np.nan, matrix)))
        assert share_of_families(found, clusters) == pytest.approx(icc, abs=0.06)
    alone = Clusters("family", {name: name for name in names})
    assert np.isnan(share_of_families(found, alone))
    assert np.isnan(share_of_families(found, Clusters()))


def test_too_few_families_have_no_interval_and_a_p():
    said = can_show(Design(12, 3))
    assert said.startswith("12 models in 3 families on 6 datasets have no interval: it takes at")
    assert "cannot be below 0.001," in said
    assert "cannot be below 0.042," in can_show(Design(4, 1))  # 4! arrangements
    assert can_show(Design(3, 3)).startswith(
        "3 models on 6 datasets can show nothing: a value with"
    )


def test_readme_says_what_the_demo_can_show():
    """The sentence under "What came out" is that of the summary, for the demo's own models."""
    chosen = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf8"))
    assert chosen["models"] == chosen["datasets"] == "collection == 'demo'"
    assert chosen["consistency"]["models"] == "modality == 'image'"
    models, datasets = (
        table[(table["collection"] == "demo") & table["modality"].str.contains("image")]
        for table in (pd.read_csv(ROOT / "config" / f"{name}.tsv", sep="\t", dtype=str)
                      for name in ("models", "datasets"))
    )  # fmt: skip
    families = models["family"].fillna(models["model"]).unique()
    design = Design(len(models), len(families), len(datasets))
    page = " ".join((ROOT / "README.md").read_text(encoding="utf8").split())
    assert name(design) in page
    assert can_show(design) in page
