"""A small study in a clone of the project, and what tests of the workflow ask of it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clones import clone_to

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
