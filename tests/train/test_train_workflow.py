"""Models that a recipe trains, in the workflow: what is planned and what is trained again."""

import re
import shutil

import pytest
from clones import clone_to
from flow import planned, replace, snakemake

from consilience.features import read_header
from consilience.files import file_digest, read_table

pytestmark = pytest.mark.workflow

DATASETS = """\
dataset\tsource\tname\tmodality\tsplits
points\tsynthetic\tradial classes=4 n=200\tvector\ttrain
held_out\tsynthetic\tradial classes=4 n=200 test=40\tvector\ttest
"""
RECIPES = """\
tiny:
  dataset: points
  test: held_out
  runs_on: [held_out]
  architecture: small:mlp
  training: {steps: 30, lr: 0.01}
  seeds: 2
  columns: {kind: coarse}
  variants:
    narrow: {options: {width: 4, dimension: 2, labels: 4}}
    wide: {options: {width: 8, dimension: 2, labels: 8}}
    start: {options: {width: 8, dimension: 2, labels: 8}, training: {steps: 0}}
"""
STUDY = """\
models: "recipe == 'tiny'"
datasets: [held_out]
metrics: [cka_debiased]
catalogs: {datasets: [datasets.tsv], recipes: [recipes.yaml]}
probe: {seeds: [0]}
"""
GOAL = ("all_train", "all_similarity")
ALL = {"narrow", "wide", "start"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A clone in which a study of three variants has run."""
    folder = tmp_path_factory.mktemp("trained")
    clone_to(folder)
    for name, text in {
        "datasets.tsv": DATASETS, "recipes.yaml": RECIPES, "study.yaml": STUDY
    }.items():  # fmt: skip
        (folder / name).write_text(text, encoding="utf8")
    snakemake(folder, "--cores", "2", *GOAL)
    return folder


@pytest.fixture
def work(trained, tmp_path):
    """A copy that a test may change."""
    folder = tmp_path / "work"
    shutil.copytree(trained, folder, symlinks=True)
    return folder


def counted(folder):
    """Returns {variant: (trained, kept)} of the last run of each job."""
    found = {}
    for path in (folder / "logs" / "train").glob("*.log"):
        said = re.search(r"trained (\d+), kept (\d+)", path.read_text())
        found[path.stem.partition(".")[2]] = tuple(map(int, said.groups()))
    return found


def names_of(jobs):
    return {job[0] for job in jobs if not job[0].startswith("all_")}


def test_trained_models_are_models_like_any_other(trained):
    assert planned(trained, *GOAL) == set()
    assert counted(trained) == dict.fromkeys(ALL, (2, 0))
    table = read_table(trained / "results/study/similarity/held_out/cka_debiased.parquet")
    assert len(table) == 6 * 5 / 2 + 6
    header = read_header(trained / "results/features/held_out/tiny.wide.1.safetensors")
    assert header["shapes"]["logits"] == [40, 4]
    assert header["shapes"]["unembedding"] == [4, 2]
    assert header["provenance"]["status"] == "trained"
    learned = read_table(trained / "results/study/train/learned.parquet").set_index("model")
    assert learned.loc["tiny.start.0", "status"] == "untrained"
    assert learned.loc["tiny.wide.0", "steps"] == 30


def test_metadata_train_nothing(work):
    replace(work / "recipes.yaml", "kind: coarse", "kind: fine")
    assert planned(work, *GOAL) == set()


def test_only_what_changed_is_trained(work):
    """A seed more is one training; other steps are those of their variant, and no other's."""
    replace(work / "recipes.yaml", "wide: {", "wide: {seeds: 3, ")
    replace(work / "recipes.yaml", "narrow: {", "narrow: {training: {steps: 31}, ")
    files = {v: work / f"results/train/tiny.{v}.0.safetensors" for v in ALL}
    before = {variant: file_digest(path) for variant, path in files.items()}
    jobs = names_of(planned(work, *GOAL))
    assert jobs == {
        "train_tiny_wide", "train_tiny_narrow", "features_tiny", "learned", "manifest",
        "similarity",
    }  # fmt: skip
    snakemake(work, "--cores", "2", *GOAL)
    assert counted(work) == {"wide": (1, 2), "narrow": (2, 0), "start": (2, 0)}  # the last: before
    same = {variant for variant, path in files.items() if file_digest(path) == before[variant]}
    assert same == {"wide", "start"}
    log = (work / "logs/study/similarity/held_out/cka_debiased.log").read_text()
    # Of 7 models and 28 pairs those of 2 new narrow ones and of the new wide one.
    assert f"{28 - 4 * 5 // 2} to compute" in log


def test_a_deleted_file_comes_back_without_training_others(work):
    path = work / "results/train/tiny.narrow.1.safetensors"
    before = file_digest(path)
    path.unlink()
    assert names_of(planned(work, "all_train")) == {"train_tiny_narrow", "learned"}
    snakemake(work, "--cores", "2", "all_train")
    assert counted(work)["narrow"] == (0, 2)  # the store has it
    path.unlink()
    for kept in (work / "results/train/.store").glob("*.safetensors"):
        if file_digest(kept) == before:
            kept.unlink()
    snakemake(work, "--cores", "2", "all_train")
    assert counted(work)["narrow"] == (1, 1)


def test_weights_of_another_seed_are_not_taken(work):
    """Neither for features nor for what was learnt: a file knows what it was to learn."""
    one, other = (work / f"results/train/tiny.wide.{seed}.safetensors" for seed in range(2))
    aside = one.rename(work / "aside")
    other.rename(one)
    aside.rename(other)
    for path in (work / "results").rglob("*tiny.wide.0.safetensors"):
        path.touch()
    said = snakemake(work, "--cores", "1", "--keep-going", *GOAL, ok=False)
    for rule in ("features_tiny", "learned"):
        assert f"Error in rule {rule}" in said
    logs = [*(work / "logs/features").rglob("*.log"), *(work / "logs").rglob("learned.log")]
    told = [path for path in logs if "is not of the model that its name says" in path.read_text()]
    assert len(told) == 2, logs


def test_a_job_for_each_model(trained):
    jobs = names_of(planned(trained, "all_train", "--config", "train={together: false}"))
    assert jobs == {f"train_tiny_{v}_{s}" for v in ALL for s in range(2)} | {"learned"}


def test_settings_of_a_profile_hold_for_all_jobs(trained):
    text = snakemake(
        trained, "-n", "--forceall", *GOAL, "--set-resources", "train:gpu=1", "features:mem_mb=777"
    )
    blocks = [b for b in re.split(r"\n(?=\[)", text) if re.search(r"^rule train_", b, re.M)]
    assert len(blocks) == 3
    assert all("gpu=1" in block for block in blocks)
    blocks = [b for b in re.split(r"\n(?=\[)", text) if re.search(r"^rule features_", b, re.M)]
    assert len(blocks) == 1  # all of the recipe
    assert all("mem_mb=777" in block for block in blocks)


def test_a_job_for_each_recipe(work):
    """It trains one variant after the other, each to the same bytes as in a job of its own."""
    together = ("--config", "train={together: recipe}")
    assert names_of(planned(work, "all_train", *together)) == {"train_tiny", "learned"}
    weights = sorted((work / "results/train").glob("*.safetensors"))
    before = [file_digest(path) for path in weights]
    shutil.rmtree(work / "results/train")
    snakemake(work, "--cores", "1", "all_train", *together)
    assert [file_digest(path) for path in weights] == before
    log = (work / "logs/train/tiny.log").read_text()
    assert re.findall(r"trained (\d+), kept (\d+)", log) == [("2", "0")] * 3
    weights[0].unlink()
    snakemake(work, "--cores", "1", "all_train", *together)
    assert file_digest(weights[0]) == before[0]
    log = (work / "logs/train/tiny.log").read_text()
    assert re.findall(r"trained (\d+), kept (\d+)", log) == [("0", "2")] * 3
