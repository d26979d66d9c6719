"""The workflow as users run it: single files, several studies, and what a fault leaves."""

import re
import shutil

import pytest
from clones import ROOT, STUDIES
from flow import (
    ACCURACY,
    DATA,
    STUDY,
    behavior,
    pairs_computed,
    per_model,
    planned,
    replace,
    similarity,
    snakemake,
)

from consilience.features import read_header
from consilience.files import read_table
from consilience.results import list_tables

pytestmark = pytest.mark.workflow


def test_asking_for_fresh_similarities(study):
    """It starts nothing by itself and says so; what runs takes no known pair."""
    text = snakemake(study, "-n", "--config", "fresh=true")
    assert (
        "Nothing to be done" in text
        and "add `--forcerun similarity similarity_shard alignment`" in text
    )
    again = ["--forcerun", "similarity", "--config", "fresh=true"]
    assert similarity(DATA, ["knn", "cka"]) <= planned(study, *again)
    snakemake(study, "--cores", "2", "all_similarity", *again)
    assert pairs_computed(study, "two", "cka") == 10
    assert planned(study) == set()  # every byte is what it was


def test_one_number_again(study):
    """README's command: nothing known is trusted, every byte is the same, and all is up to date."""
    path = "results/study/similarity/two/cka.parquet"
    before = (study / path).read_bytes()
    again = [path, "--forcerun", "samples", "--config", "fresh=true"]
    assert ("features", "two", "vit") in planned(study, *again)
    snakemake(study, "--cores", "2", *again)
    assert pairs_computed(study, "two", "cka") == 10
    assert (study / path).read_bytes() == before
    assert planned(study) == set()


def test_changing_the_device_reruns_nothing(study):
    with (study / "study.yaml").open("a") as stream:
        stream.write("features: {device: cpu, batch_size: 3}\n")
    replace(study / "study.yaml", "knn: [3]", "knn: [3], device: cuda")
    assert planned(study) == set()


def test_a_text_tower_adds_its_prompts(study):
    """A model that names a text model of the study meets the class names; others are left alone."""
    replace(study / "models.tsv", "\tkind\n", "\tkind\ttext_tower\n")
    replace(study / "models.tsv", "random:0\tnet\n", "random:0\tnet\tletters\n")
    with (study / "models.tsv").open("a") as stream:
        stream.write("letters\traw\tcharacters\ttext\t\t\tcontrol\n")
    lines = (study / "models.tsv").read_text().splitlines()  # blank cells are written, too
    full = [line + "\t" * (7 - line.count("\t")) for line in lines]
    (study / "models.tsv").write_text("\n".join(full) + "\n")
    assert planned(study) == {("explorer",)}  # the text model is not selected
    replace(study / "study.yaml", "models: \"modality == 'image'\"", "models: \"kind != ''\"")
    expected = per_model("prompts", DATA, ["letters"]) | per_model("probe", DATA, ["vit"])
    expected |= ACCURACY | behavior(DATA) | {("relation", m) for m in ("knn", "cka")}
    expected |= {("plot_similarity_accuracy", m) for m in ("knn", "cka")}
    found = planned(study)
    assert expected <= found
    assert not {job for job in found if job[0] in ("features", "similarity", "sensitivity")}
    snakemake(study, "--cores", "1", "results/study/probe/prompts/one/letters.safetensors")
    header = read_header(study / "results/study/probe/prompts/one/letters.safetensors")
    assert header["shapes"] == {"characters": [4, 512]}
    assert header["prompts"] == ["a photo of a {}."]


# One file, and nothing but what it needs.


def test_one_features_file(study):
    shutil.rmtree(study / "results")
    target = "results/features/one/p6.safetensors"
    assert planned(study, target) == {("samples", "one"), ("features", "one", "p6")}


def test_one_similarity_table(study):
    shutil.rmtree(study / "results")
    expected = {("samples", "two"), ("manifest", "two"), ("similarity", "two", "knn")}
    expected |= per_model("features", ["two"], ["p4", "p6", "p8", "vit"])
    assert planned(study, "results/study/similarity/two/knn.parquet") == expected


# Reproducible to the byte.


def test_bytes_do_not_depend_on_cores_or_history(study):
    def tables():
        kinds = ("similarity", "consistency", "probe", "sensitivity", "behavior")
        paths = [
            p for kind in kinds for p in (study / "results" / "study" / kind).rglob("*.parquet")
        ]
        return {p: p.read_bytes() for p in paths if ".pairs" not in p.parts}

    before = tables()
    shutil.rmtree(study / "results")
    shutil.rmtree(study / ".snakemake")
    snakemake(study, "--cores", "1", "all_consistency", "all_sensitivity", "all_behavior",
              "all_probe")  # fmt: skip
    assert len(before) == 4 + 4 * 2 + 9 + 2 + 6
    assert tables() == before


# Studies do not mix.


def test_a_second_study_shares_features_and_nothing_else(study):
    """Its tables, figures and page lie apart; what both need is made once."""

    def own():
        root = study / "results" / "study"
        return {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}

    before = own()
    other = STUDY.replace("metrics: [knn, cka]", "metrics: [cka]").replace(
        "models: \"modality == 'image'\"", "models: [p4, p6, p8]", 1
    )
    (study / "mine.yaml").write_text(other.replace("metrics: [knn]}", "metrics: [cka]}"))
    text = snakemake(study, "--cores", "2", study="mine.yaml")
    assert "rule features:" not in text and "rule samples:" not in text
    log = (study / "logs/mine/similarity/one/cka.log").read_text()
    assert "6 reused, 0 to compute" in log  # pairs that the first study knows
    assert own() == before
    assert planned(study) == set()
    mine = read_table(study / "results/mine/similarity/one/cka.parquet")
    assert set(mine["model_x"]) == {"p4", "p6", "p8"}
    assert not (study / "results/mine/similarity/one/knn.parquet").exists()
    page = (study / "results/mine/explorer/index.html").read_text(encoding="utf8")
    assert "snakemake --configfile mine.yaml" in page and "config/config.yaml" not in page


def test_a_study_of_the_same_name_is_refused(study):
    (study / "other").mkdir()
    shutil.copy(study / "study.yaml", study / "other" / "study.yaml")
    text = snakemake(study, "-n", ok=False, study="other/study.yaml")
    assert "results/study holds the results of study.yaml" in text and "Traceback" not in text


def test_another_seed_draws_apart(study):
    """Samples of another seed are others, so they and their features have a folder of their own."""
    text = snakemake(study, "-n", "--config", "seed=1")
    assert "results/seed1/samples/one.parquet" in text
    assert planned(study) == set()


def test_a_study_cannot_lie_where_others_have_files(study):
    shutil.copy(study / "study.yaml", study / "features.yaml")
    text = snakemake(study, "-n", ok=False, study="features.yaml")
    assert "features.yaml: results: the study would lie in results/features" in text


def test_the_order_of_rule_files_means_nothing(study):
    text = (study / "Snakefile").read_text(encoding="utf8")
    lines = re.findall(r'^include: "rules/(?!common).*$', text, re.MULTILINE)
    block = "\n".join(lines)
    assert block in text
    (study / "Snakefile").write_text(text.replace(block, "\n".join(reversed(lines))))
    assert planned(study) == set()


def test_every_column_of_every_table_is_explained(finished):
    for name, folder in (("study", "results/study"), ("common", "results")):
        tables = list(list_tables(finished / folder))
        assert len(tables) >= 2, name
        for kind, path in tables:
            columns = [name for name in kind.columns if (kind.name, name) != ("samples", "group")]
            assert list(read_table(path)) == columns, path  # no samples of this study have groups
            assert not read_table(path).duplicated(list(kind.key)).any(), path


# Faults: one clear error, nothing half-written.


def test_unknown_ids_stop_before_anything_runs(study):
    replace(study / "study.yaml", "[knn, cka]", "[knm, cka]")
    text = snakemake(study, "-n", ok=False)
    assert "metrics[0]: 'knm' is not in the catalogue; did you mean 'knn'?" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("study/similarity/one/knm.parquet", "the study has no metric 'knm'; did you mean 'knn'?"),
        ("features/one/vitt.safetensors", "the study has no model 'vitt'; did you mean 'vit'?"),
        ("samples/on.parquet", "the study has no dataset 'on'; did you mean 'one'?"),
    ],
)
def test_a_target_with_a_typing_error_is_explained(finished, target, message):
    assert message in snakemake(finished, "-n", f"results/{target}", ok=False)


def test_what_is_not_there_is_told_while_planning(study):
    replace(study / "models.tsv", "random:0", "nowhere.safetensors")
    (study / "models.tsv").open("a").write("cnn\ttimm\tresnet81\timage\t\t\tnet\n")
    shutil.rmtree(study / "results" / "features")
    text = snakemake(study, "-n", ok=False)
    assert "2 things are not there" in text
    assert "model 'vit': nowhere.safetensors: no such file or folder" in text
    assert "model 'cnn': timm has no model 'resnet81'; did you mean 'resnet18'?" in text


@pytest.mark.parametrize("quiet", [(), ("--quiet", "rules"), ("--quiet", "all")])
def test_a_failing_step_says_why_in_its_log(study, quiet):
    (study / "damaged.safetensors").write_bytes(b"-" * 20)
    replace(study / "models.tsv", "random:0", "damaged.safetensors")
    text = snakemake(study, "--cores", "1", *quiet, ok=False)
    assert "damaged.safetensors" in text and "error: " in text
    assert "Traceback" not in (study / "logs/features/one/vit.log").read_text()
    if quiet:
        return
    # what is left is absent or the whole file of before, and never passes for the new one
    failed = per_model("features", DATA, ["vit"])
    assert failed <= planned(study)
    assert failed & planned(study, "results/study/similarity/one/knn.parquet")
    assert failed & planned(study, "results/study/similarity/two/knn.parquet")


def test_features_of_other_samples_are_refused(study):
    """A features file that was copied from another dataset is an error, never a wrong number."""
    folder = study / "results" / "features"
    shutil.copy(folder / "two" / "p4.safetensors", folder / "one" / "p4.safetensors")
    text = snakemake(study, "--cores", "1", "results/study/features/one/manifest.parquet",
                     "--forcerun", "manifest", ok=False)  # fmt: skip
    assert "other samples" in text or "samples" in text
    assert "p4.safetensors" in text


NEED_PACKAGES = tuple(
    f"config/studies/{name}.yaml"
    for name in ("resi_cpu", "objective", "causes", "causes_noise", "causes_text")
)
"""Studies of data that come as packages which are no part of the environment."""


@pytest.mark.parametrize("path", ["config/config.yaml", *(
    f"config/studies/{p.name}" for p in STUDIES)])  # fmt: skip
def test_every_study_plans(tmp_path, path):
    asked = ("-n", "--quiet", "rules", "--directory", str(tmp_path))
    try:
        text = snakemake(ROOT, *asked, study=path)
    except AssertionError as error:
        if path not in NEED_PACKAGES:
            raise
        missing = re.findall("^  dataset .*", str(error), re.MULTILINE)
        assert missing, error
        assert all("nstall" in line for line in missing), "each line names the package"
        pytest.skip(f"{len(missing)} datasets of packages are not installed")
    assert "total" in text


def test_lint():
    text = snakemake(ROOT, "--lint", study=None)
    assert "Congratulations" in text
