"""A grounding study run to its end: only the pairs of its tests, the same tables as of all pairs,
and one metric more runs nothing but what is its own.
"""

import re
import shutil

import pytest
from clones import clone_to
from flow import pairs_computed, planned, replace, snakemake

from consilience.files import read_table

DATASETS = """\
dataset\tsource\tname\tmodality\tcap\ttest_share\tparent\tview\talteration
whole\tpackaged\tdigits\timage\t240\t0.5\t\t\t
part\t\t\timage\t\t\twhole\tsplit=test\t
dots\tpackaged\tdigits\timage\t240\t0.5\t\t\tof=whole split=test shortcut=1
odd\tpackaged\tdigits\timage\t240\t0.5\t\t\tof=whole split=test shortcut=0 miss=uniform
"""
RECIPES = """\
tiny:
  dataset: whole
  runs_on: [part]
  architecture: small:mlp
  options: {depth: 3, width: 8}
  input: {size: 6, channels: 3}
  layers: all
  training: {steps: 6, batch_size: 20}
  seeds: 2
  variants:
    standard: {seeds: 4}
    labels_100: {labels: {rate: 1}}
    clear: {shortcut: {rate: 1}, runs_on: [dots, odd]}
    blind: {shortcut: {rate: 0}, runs_on: [dots, odd]}
  tests:
    output: {models: standard}
    labels: {groups: [standard, labels_100]}
    shortcuts: {groups: [blind, clear], on: odd, informative: dots, uninformative: odd}
    layers: {models: standard}
"""
STUDY = """\
models: "recipe == 'tiny'"
datasets: [part, dots, odd]
metrics: [cka, procrustes]
catalogs: {datasets: [datasets.tsv], recipes: [recipes.yaml], metrics: [metrics.yaml]}
similarity: {pairs: grounding}
grounding: {bootstrap: 100, permutations: 99}
probe: {datasets: []}
"""
METRICS = "cka: {metric: cka}\nprocrustes: {metric: procrustes}\nrsa: {metric: rsa}\n"
OVER_ALL = {("grounding_ranks",), ("grounding_costs",)}


@pytest.fixture(scope="session")
def grounded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grounded")
    clone_to(folder)
    for name, text in [("datasets.tsv", DATASETS), ("recipes.yaml", RECIPES),
                       ("metrics.yaml", METRICS), ("study.yaml", STUDY)]:  # fmt: skip
        (folder / name).write_text(text, encoding="utf8")
    snakemake(folder, "--cores", "2", "all_grounding", "all_similarity")
    return folder


@pytest.fixture
def copy(grounded, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(grounded, folder, symlinks=True)
    return folder


def tables(folder):
    root = folder / "results" / "study" / "grounding"
    return {p.relative_to(root): read_table(p) for p in root.rglob("*.parquet")
            if p.name != "costs.parquet"}  # fmt: skip


def test_pairs_and_costs(grounded):
    """Six models of `part` make 15 pairs and four of them 4 x L (L - 1) / 2; `odd` 6."""
    root = grounded / "results" / "study"
    table = read_table(root / "similarity" / "part" / "cka.parquet")
    layers = len(table.attrs["layers"]["tiny.standard.0"])
    assert layers >= 3 and len(table) == 15 + 4 * layers * (layers - 1) // 2
    assert len(read_table(root / "similarity" / "odd" / "cka.parquet")) == 6
    assert not (root / "similarity" / "dots").exists()
    costs = read_table(root / "grounding" / "ranks" / "costs.parquet")
    assert set(costs["metric"]) == {"cka", "procrustes"} and set(costs["domain"]) == {
        "all",
        "image",
    }
    assert (costs["n_timed"] == costs["n_pairs"]).all() and (costs["seconds"] > 0).all()
    assert (costs["n_pairs"] == len(table) + 6).all()
    assert planned(grounded, "all_grounding", "all_similarity") == set()


def test_a_metric_more_runs_its_own_jobs(copy):
    replace(copy / "study.yaml", "[cka, procrustes]", "[cka, procrustes, rsa]")
    own = {("similarity", "part", "rsa"), ("similarity", "odd", "rsa"), ("grounding", "rsa")}
    jobs = planned(copy, "all_grounding", "all_similarity")
    assert {job for job in jobs if not job[0].startswith("all_")} == own | OVER_ALL
    before = tables(copy)
    snakemake(copy, "--cores", "2", "all_grounding", "all_similarity")
    after = tables(copy)
    for path, table in before.items():
        if path.parts[0] != "ranks":
            assert table.equals(after[path]), path
    assert set(read_table(copy / "results/study/grounding/ranks/costs.parquet")["metric"]) == {
        "cka", "procrustes", "rsa",
    }  # fmt: skip
    figures = {job for job in planned(copy) if job[0].startswith("plot_")}
    assert not any(job[0].startswith("plot_similarity") for job in figures)


def test_all_pairs_ground_the_same(copy):
    """The rest alone is computed, and no number of grounding changes."""
    before, root = tables(copy), copy / "results" / "study"
    costs = read_table(root / "grounding" / "ranks" / "costs.parquet")
    some = len(read_table(root / "similarity" / "part" / "cka.parquet"))
    replace(copy / "study.yaml", "{pairs: grounding}", "{pairs: all}")
    text = snakemake(copy, "--cores", "2", "all_grounding", "all_similarity")
    assert "rule train" not in text and "rule features" not in text
    every = len(read_table(root / "similarity" / "part" / "cka.parquet"))
    assert pairs_computed(copy, "part", "cka") == every - some > 0
    assert pairs_computed(copy, "dots", "cka") > 0
    after = tables(copy)
    assert before.keys() == after.keys()
    for path, table in before.items():
        assert table.equals(after[path]), path
    later = read_table(root / "grounding" / "ranks" / "costs.parquet")
    assert (later["n_pairs"] > costs["n_pairs"]).all()


def test_what_needs_all_pairs_is_refused_in_words(grounded):
    for target in ("consistency/cka.parquet", "figures/similarity_heatmaps_cka.png",
                   "similarity/dots/cka.parquet"):  # fmt: skip
        text = snakemake(grounded, "-n", f"results/study/{target}", ok=False)
        assert re.search(r"similarity\.pairs: all`", text), text
