"""The workflow as users run it: what is planned, what is computed again, what a fault leaves."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from clones import ROOT, STUDIES, clone_to

from consilience.features import read_header
from consilience.files import read_table
from consilience.results import list_tables

pytestmark = pytest.mark.workflow

MODELS = """\
model\tsource\tname\tmodality\tinput_size\tweights\tkind
p4\traw\tpixels\timage\t4\t\tcoarse
p6\traw\tpixels\timage\t6\t\tcoarse
p8\traw\tpixels\timage\t8\t\tfine
vit\ttimm\ttest_vit\timage\t\trandom:0\tnet
"""
NEW_MODEL = "p10\traw\tpixels\timage\t10\t\tfine\n"
DATASETS = """\
dataset\tsource\tname\tmodality
one\tpackaged\tshapes:48\timage
two\tpackaged\tshapes:60\timage
"""
NEW_DATASET = "three\tpackaged\tshapes:72\timage\n"
METRICS = """\
knn: {metric: mutual_knn, k: 4}
cka: {metric: cka}
"""
STUDY = """\
models: "modality == 'image'"
datasets: "modality == 'image'"
metrics: [knn, cka]
catalogs: {models: [models.tsv], datasets: [datasets.tsv], metrics: [metrics.yaml]}
consistency: {groups: [kind], models: null, bootstrap: 100, permutations: 99}
probe: {penalties: [0.01], seeds: [0], knn: [3]}
sensitivity: {n: [12, 24], draws: 2, datasets: [one], metrics: [knn]}
behavior: {bootstrap: 100, permutations: 99}
"""
FIGURES = ["plot_similarity_heatmaps", "plot_similarity_scatter", "plot_model_map"]
FIGURES += ["plot_similarity_accuracy", "plot_similarity_spread", "plot_consistency_groups"]
FIGURES += ["plot_consistency_heatmap_groups"]
WHOLE = {("plot_consistency_heatmap",), ("plot_consistency_distribution", "kind"), ("explorer",)}
WHOLE |= {("plot_group_differences",), ("plot_metric_agreement",), ("plot_similarity_agreement",)}
CURVE_FIGURES = {("plot_sensitivity", "knn"), ("plot_stimuli_steps", "knn")}
ACCURACY = {("accuracy",), ("plot_probe_accuracy",)}
DATA = ["one", "two"]


def snakemake(folder, *arguments, ok=True, study="study.yaml"):
    """Runs the literal command and returns what it says."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": programs, "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    command = ["snakemake", *arguments, *(["--configfile", study] if study else [])]
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, text=True, timeout=600,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if ok:
        assert done.returncode == 0, done.stdout
    else:
        assert done.returncode != 0, done.stdout
    return done.stdout


def planned(folder, *arguments):
    """Returns the jobs that a dry run names, as (rule, wildcard values)."""
    text = snakemake(folder, "-n", *arguments)
    jobs = set()
    for block in re.split(r"\n(?=\[)", text):
        rule = re.search(r"^(?:local)?rule (\w+):", block, re.MULTILINE)
        if rule and rule[1] != "all":
            wildcards = re.search(r"^    wildcards: (.*)$", block, re.MULTILINE)
            values = wildcards[1].split(", ") if wildcards else []
            jobs.add((rule[1], *(value.split("=")[1] for value in values)))
    assert jobs or "Nothing to be done" in text, text
    return jobs


def figures(metrics):
    return {(rule, metric) for rule in FIGURES for metric in metrics} | WHOLE


def similarity(datasets, metrics):
    return {("similarity", d, m) for d in datasets for m in metrics}


def downstream(datasets, metrics):
    """What follows when similarities of these datasets and metrics are made again."""
    made = similarity(datasets, metrics) | {("consistency", m) for m in metrics}
    related = {(rule, m) for m in metrics for rule in ("relation", "plot_similarity_behavior")}
    return made | related | figures(metrics)


def curves(datasets):
    """What follows for the one sensitivity table when features of these datasets are new."""
    made = {("sensitivity", "one", "knn"), ("stability",)} | CURVE_FIGURES
    return made if "one" in datasets else set()


def behavior(datasets):
    return {("behavior", d) for d in datasets}


def per_model(rule, datasets, models):
    return {(rule, d, m) for d in datasets for m in models}


def pairs_computed(folder, dataset, metric):
    text = (folder / "logs" / "study" / "similarity" / dataset / f"{metric}.log").read_text()
    return int(re.search(r"(\d+) to compute", text)[1])


def replace(path, old, new):
    text = path.read_text(encoding="utf8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf8")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A clone in which a small study has run to its end."""
    folder = tmp_path_factory.mktemp("finished")
    clone_to(folder)
    for name, text in [
        ("models.tsv", MODELS), ("datasets.tsv", DATASETS),
        ("metrics.yaml", METRICS), ("study.yaml", STUDY),
    ]:  # fmt: skip
        (folder / name).write_text(text, encoding="utf8")
    snakemake(folder, "--cores", "2")
    return folder


@pytest.fixture
def study(finished, tmp_path):
    """A copy of the finished study that a test may change."""
    folder = tmp_path / "study"
    shutil.copytree(finished, folder, symlinks=True)
    return folder


def test_everything_is_there(finished):
    expected = [f"results/study/similarity/{d}/{m}.parquet" for d in DATA for m in ("knn", "cka")]
    expected += ["results/study/consistency/knn.parquet", "results/study/probe/accuracy.parquet"]
    expected += [
        "results/study/sensitivity/stability.parquet",
        "results/study/behavior/relation/knn.parquet",
    ]
    for kind in ("svg", "pdf", "png", "csv"):
        expected += [f"results/study/figures/consistency_heatmap.{kind}"]
        expected += [f"results/study/figures/model_map_cka.{kind}"]
    for name in expected:
        assert (finished / name).stat().st_size > 0, name
    assert not list(finished.glob("results/**/.*.parquet.*")), "left-over temporary files"


def test_a_second_run_does_nothing(finished):
    assert planned(finished) == set()


def test_results_need_no_gather_step(finished):
    """A folder of similarity tables is one table; the pair stores beside them do not show."""
    table = pd.read_parquet(finished / "results" / "study" / "similarity" / "one")
    assert set(table["metric"]) == {"knn", "cka"}
    assert len(table) == 2 * 10


# The rerun table: for each change exactly the jobs, and for similarities exactly the pairs.


def test_touching_files_reruns_nothing(study):
    for path in [*study.glob("consilience/**/*.py"), *study.glob("workflow/scripts/*.py")]:
        path.touch()
    for name in ("models.tsv", "study.yaml", "results/features/one/p4.safetensors"):
        (study / name).touch()
    assert planned(study) == set()


LARGE = {
    "models.tsv": "model\tsource\tname\tmodality\tinput_size\n"
    "big\traw\tpixels\timage\t80\nletters\traw\tcharacters\ttext\t\n",
    "datasets.tsv": "dataset\tsource\tname\tmodality\n"
    "two\tpackaged\tshapes:60\timage\ntexts\tsynthetic\tblobs n=32000\ttext\n",
    "metrics.yaml": METRICS,
    "study.yaml": STUDY.replace("\"modality == 'image'\"", "\"modality != ''\"", 2)
    .replace("[kind]", "[]")
    .replace("datasets: [one]", "datasets: [two]"),
}
LARGE_FILES = ["features/two/big.safetensors", "samples/texts.parquet"]
LARGE_TARGETS = ["all_features", "results/study/similarity/two/cka.parquet"]
LARGE_TARGETS += ["results/study/probe/two/big.parquet"]


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """A finished study with features and texts of more than a megabyte a file."""
    folder = tmp_path_factory.mktemp("large")
    clone_to(folder)
    for name, text in LARGE.items():
        (folder / name).write_text(text, encoding="utf8")
    snakemake(folder, *LARGE_TARGETS, "--cores", "2")
    for name in LARGE_FILES:
        assert (folder / "results" / name).stat().st_size > 1_000_000, name
    return folder


def shuffle_stamps(folder):
    """Gives all results other times than they were made in: the last made are the oldest."""
    paths = [path for path in (folder / "results").rglob("*") if path.is_file()]
    paths.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for position, path in enumerate(paths):
        os.utime(path, (1.7e9 + position, 1.7e9 + position))


@pytest.mark.parametrize("profile", [(), ("--profile", "slurm")], ids=["default", "slurm"])
def test_touching_large_files_reruns_nothing(large, profile):
    for name in LARGE_FILES:
        (large / "results" / name).touch()
    assert planned(large, *LARGE_TARGETS, *profile) == set()
    small_only = planned(large, *LARGE_TARGETS, "--max-checksum-file-size", "1MB", *profile)
    assert {("manifest", "two"), ("features", "texts", "letters")} <= small_only


def test_results_copied_without_time_stamps_are_no_new_results(large, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(large, folder, symlinks=True, copy_function=shutil.copy)
    shuffle_stamps(folder)
    assert planned(folder, *LARGE_TARGETS) == set()
    path = folder / "results" / LARGE_FILES[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)  # other content, on the other hand, is
    assert {("manifest", "two"), ("probe", "two", "big")} <= planned(folder, *LARGE_TARGETS)


def test_results_copied_without_records(large, tmp_path):
    """As the README says: time stamps alone decide, and `--touch` makes new records."""
    folder = tmp_path / "copy"
    shutil.copytree(large, folder, symlinks=True)
    shutil.rmtree(folder / ".snakemake")
    shuffle_stamps(folder)
    assert {("features", "two", "big"), ("manifest", "two")} <= planned(folder, *LARGE_TARGETS)
    snakemake(folder, *LARGE_TARGETS, "--touch", "--cores", "1")
    assert planned(folder, *LARGE_TARGETS) == set()
    replace(folder / "metrics.yaml", "cka: {metric: cka}", "cka: {metric: cka, kernel: rbf}")
    assert planned(folder, *LARGE_TARGETS) == {("similarity", "two", "cka")}


def test_adding_a_model(study):
    with (study / "models.tsv").open("a") as stream:
        stream.write(NEW_MODEL)
    expected = per_model("features", DATA, ["p10"]) | per_model("probe", DATA, ["p10"])
    expected |= {("manifest", d) for d in DATA} | ACCURACY | curves(DATA) | behavior(DATA)
    assert planned(study) == expected | downstream(DATA, ["knn", "cka"])
    snakemake(study, "--cores", "2", "all_similarity")
    for metric in ("knn", "cka"):
        assert pairs_computed(study, "one", metric) == 5  # with four others and with itself


def test_removing_a_model(study):
    replace(study / "models.tsv", "p8\traw\tpixels\timage\t8\t\tfine\n", "")
    expected = {("manifest", d) for d in DATA} | ACCURACY | curves(DATA) | behavior(DATA)
    assert planned(study) == expected | downstream(DATA, ["knn", "cka"])
    snakemake(study, "--cores", "2", "all_similarity")
    assert pairs_computed(study, "two", "knn") == 0
    assert len(read_table(study / "results/study/similarity/two/knn.parquet")) == 6


def test_adding_a_dataset(study):
    with (study / "datasets.tsv").open("a") as stream:
        stream.write(NEW_DATASET)
    models = ["p4", "p6", "p8", "vit"]
    expected = {("samples", "three"), ("manifest", "three"), *ACCURACY} | behavior(["three"])
    expected |= per_model("features", ["three"], models) | per_model("probe", ["three"], models)
    assert planned(study) == expected | downstream(["three"], ["knn", "cka"])


VIEW = """\
dataset\tsource\tname\tmodality\tparent\tview\tcap
one\tpackaged\tshapes:48\timage
two\tpackaged\tshapes:60\timage
half\t\t\timage\ttwo\thalf=a
few\t\t\timage\thalf\tclasses=round.tsv\t20
"""


def test_adding_views_extracts_nothing(study):
    """Two views, one of the other, whose parent is not selected by the study any more."""
    (study / "datasets.tsv").write_text(VIEW)
    (study / "round.tsv").write_text("class\tto\nsquare\tedged\ntriangle\tedged\ncircle\tround\n")
    replace(study / "study.yaml", "datasets: \"modality == 'image'\"", "datasets: [one, few]")
    models = ["p4", "p6", "p8", "vit"]
    expected = {("samples", "half"), ("samples", "few"), ("manifest", "few"), *ACCURACY}
    expected |= per_model("probe", ["few"], models) | {("behavior", "few")}
    assert planned(study) == expected | downstream(["few"], ["knn", "cka"])
    snakemake(study, "--cores", "2", "all_similarity", "all_probe")
    assert planned(study, "all_similarity", "all_probe") == set()
    table = read_table(study / "results/study/similarity/few/cka.parquet")
    assert table.attrs["n"] == len(read_table(study / "results/samples/few.parquet")) <= 20
    text = snakemake(study, "-n", "results/features/few/p4.safetensors", ok=False)
    assert "'few' is a view and has no features of its own: they are those of 'two'" in text
    replace(study / "round.tsv", "square\tedged", "square\t")
    changed = {job for job in planned(study) if job[0] != "probe"}
    assert {("samples", "few"), ("manifest", "few")} <= changed
    assert ("samples", "half") not in changed
    assert not [job for job in changed if job[0] == "features"]


def test_changing_a_models_row(study):
    replace(study / "models.tsv", "image\t8\t", "image\t9\t")
    expected = per_model("features", DATA, ["p8"]) | per_model("probe", DATA, ["p8"])
    expected |= {("manifest", d) for d in DATA} | ACCURACY | curves(DATA) | behavior(DATA)
    assert planned(study) == expected | downstream(DATA, ["knn", "cka"])
    snakemake(study, "--cores", "2", "all_similarity")
    assert pairs_computed(study, "one", "cka") == 4


def test_changing_metadata_extracts_nothing(study):
    replace(study / "models.tsv", "\tcoarse\n", "\trough\n")
    expected = {("consistency", m) for m in ("knn", "cka")}
    expected |= {("plot_probe_accuracy",)} | CURVE_FIGURES
    assert planned(study) == expected | figures(["knn", "cka"])


def test_reordering_models_reruns_nothing(study):
    header, *rows = MODELS.splitlines(keepends=True)
    (study / "models.tsv").write_text("".join([header, *reversed(rows)]))
    assert planned(study) == set()


def test_changing_a_metrics_parameter(study):
    replace(study / "metrics.yaml", "k: 4", "k: 5")
    assert planned(study) == downstream(DATA, ["knn"]) | curves(DATA)
    snakemake(study, "--cores", "2", "all_similarity")
    assert pairs_computed(study, "one", "knn") == 10
    replace(study / "metrics.yaml", "k: 5", "k: 4")
    snakemake(study, "--cores", "2", "all_similarity")
    assert pairs_computed(study, "one", "knn") == 0  # known from before


def test_renaming_a_metric_keeps_its_pairs(study):
    """The study still says the former name; its pairs are known by the present one."""
    replace(study / "metrics.yaml", "knn:", "neighbors:")
    with (study / "config" / "renames.yaml").open("a") as stream:
        stream.write("metrics:\n  knn: {now: neighbors, since: 9.9}\n")
    text = snakemake(study, "--cores", "2", "all_similarity")
    assert "the metric 'knn' is called 'neighbors' since 9.9" in text
    assert pairs_computed(study, "one", "neighbors") == 0
    former, present = (read_table(study / f"results/study/similarity/one/{metric}.parquet")
                       for metric in ("knn", "neighbors"))  # fmt: skip
    assert present["value"].equals(former["value"])


def test_metrics_that_share_lists_are_computed_together(study):
    with (study / "metrics.yaml").open("a") as stream:
        stream.write("lcs: {metric: lcs_knn, k: 6}\n")
    replace(study / "study.yaml", "[knn, cka]", "[knn, lcs, cka]")
    jobs = planned(study)
    shared = {job for job in jobs if job[0] == "shared"}
    assert [d for _, d, _ in sorted(shared)] == DATA
    # a first companion: the tables of knn are written again, from what is known
    assert jobs == shared | downstream(DATA, ["knn", "lcs"]) | CURVE_FIGURES
    alone = planned(study, "--config", "similarity={together: false}")
    assert alone == downstream(DATA, ["lcs"])
    snakemake(study, "--cores", "2", "all_similarity")
    assert pairs_computed(study, "one", "knn") == pairs_computed(study, "one", "lcs") == 0
    table = next((study / "results" / "study" / "similarity" / "one" / ".shared").glob("*.parquet"))
    assert read_table(table).set_index("metric")["computed"].to_dict() == {"knn": 0, "lcs": 10}
    replace(study / "metrics.yaml", "k: 6", "k: 5")
    again = shared | similarity(DATA, ["knn", "lcs"]) | {("all_similarity",)}
    assert planned(study, "all_similarity") == again


def test_editing_a_metrics_source(study):
    with (study / "consilience" / "metrics" / "cka.py").open("a") as stream:
        stream.write("# edited\n")
    assert planned(study) == downstream(DATA, ["cka"])
    snakemake(study, "--cores", "2", "all_similarity")
    assert pairs_computed(study, "one", "cka") == 10


def edit(study, *modules):
    """Appends a statement that changes nothing to modules of the package."""
    for module in modules:
        with (study / "consilience" / module).open("a") as stream:
            stream.write("_EDITED = True\n")


def test_editing_the_engine(study):
    edit(study, "similarity/task.py")
    found = planned(study)
    assert downstream(DATA, ["knn", "cka"]) | curves(DATA) | behavior(DATA) <= found
    assert not {job for job in found if job[0] in ("samples", "features", "manifest", "probe")}
    path = study / "results" / "study" / "similarity" / "one" / "cka.parquet"
    before = read_table(path)
    snakemake(study, "--cores", "2", "all_similarity")
    assert {pairs_computed(study, d, m) for d in DATA for m in ("knn", "cka")} == {10}
    assert read_table(path).equals(before)
    assert read_table(path).attrs["code"] != before.attrs["code"]


def test_halving_every_value_in_the_engine(study):
    """Known to have been wrong: the rule ran again, and took the old values from its store."""
    path = study / "results" / "study" / "similarity" / "one" / "cka.parquet"
    before = read_table(path)["value"]
    replace(study / "consilience/similarity/task.py",
            "value = float(self.metric.compare(a.prepared, b.prepared))",
            "value = float(self.metric.compare(a.prepared, b.prepared)) / 2")  # fmt: skip
    snakemake(study, "--cores", "1", "results/study/similarity/one/cka.parquet")
    assert read_table(path)["value"].equals(before / 2)


def test_editing_a_reader_of_features(study):
    edit(study, "features/reading.py")
    found = planned(study)
    expected = similarity(DATA, ["knn", "cka"]) | curves(DATA) | behavior(DATA)
    expected |= {("manifest", d) for d in DATA} | per_model("probe", DATA, ["p4", "vit"])
    assert expected <= found
    assert not {job for job in found if job[0] in ("samples", "features")}


def test_editing_a_message(study):
    """Modules that no result comes from: logging, checks of a study, commands, documents."""
    edit(study, "logs.py", "config/checks.py", "cli/summary.py", "docs/tables.py")
    assert planned(study) == set()


def test_editing_a_dataset_source(study):
    """It may show other pictures under the same ids."""
    edit(study, "datasets/packaged/shapes.py")
    found = planned(study)
    assert {("samples", d) for d in DATA} <= found
    assert per_model("features", DATA, ["p4", "p6", "p8", "vit"]) <= found


def test_editing_a_model_source(study):
    with (study / "consilience" / "models" / "timm.py").open("a") as stream:
        stream.write("# edited\n")
    assert per_model("features", DATA, ["vit"]) <= planned(study)
    assert not per_model("features", DATA, ["p4", "p6", "p8"]) & planned(study)


def test_editing_a_figure(study):
    with (study / "consilience" / "plots" / "model_map.py").open("a") as stream:
        stream.write("# edited\n")
    assert planned(study) == {("plot_model_map", "knn"), ("plot_model_map", "cka")}


def test_asking_for_fresh_similarities(study):
    """It starts nothing by itself and says so; what runs takes no known pair."""
    text = snakemake(study, "-n", "--config", "fresh=true")
    assert "Nothing to be done" in text and "add `--forcerun similarity alignment`" in text
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


@pytest.mark.parametrize("path", ["config/config.yaml", *(
    f"config/studies/{p.name}" for p in STUDIES)])  # fmt: skip
def test_every_study_plans(tmp_path, path):
    text = snakemake(ROOT, "-n", "--quiet", "rules", "--directory", str(tmp_path), study=path)
    assert "total" in text


def test_lint():
    text = snakemake(ROOT, "--lint", study=None)
    assert "Congratulations" in text
