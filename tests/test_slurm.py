"""The SLURM profile: read by Snakemake anywhere, and at work on a real cluster on this machine.

The cluster needs root and Debian's packages; where it cannot be had, its tests are skipped with the
reason, and a warning, so that nobody takes a skip for a pass.
"""

import os
import re
import shutil
import subprocess
import sys
import warnings
from collections import defaultdict
from itertools import product
from logging import getLogger
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from clones import ROOT, clone_to

from consilience.files import read_table
from consilience.similarity import make_similarity

CLUSTER = ROOT / "tests" / "slurm_local.sh"
PROFILE = ROOT / "profiles" / "slurm"
MINUTES_FOR_THE_STUDY = 20

MODELS = {"resnet": "test_resnet", "vit": "test_vit"}
DATASETS = ["shapes_a", "shapes_b"]
METRIC = "cka_debiased"
DEALT, SHARDS = "procrustes", 3
TRAINED = ["tiny.standard.0", "tiny.standard.1"]
RECIPE = {
    "dataset": DATASETS[0],
    "architecture": "small:cnn",
    "input": {"size": 8, "channels": 1},
    "options": {"width": 4, "depth": 1},
    "training": {"steps": 5, "batch_size": 16},
    "seeds": len(TRAINED),
}


def run(command, folder, minutes=5):
    """Runs a command as a user would in a shell of this Python environment."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": programs, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60 * minutes,
        check=False,
    )


def skip(reason):
    warnings.warn(f"SLURM was NOT tested: {reason}", stacklevel=2)
    pytest.skip(f"SLURM was NOT tested: {reason}")


@pytest.fixture(scope="session")
def cluster():
    """Starts a SLURM of three virtual nodes; leaves the machine as it found it.

    Programs that stay without their daemons would make every later `snakemake` wait 9 s: the SLURM
    plugin asks them at its start.
    """
    if os.geteuid() != 0:
        skip("its daemons need root; run this test as root, for instance in a container")
    if shutil.which("sbatch") is None and shutil.which("apt-get") is None:
        skip("sbatch is not installed, and there is no apt-get to install it")
    installed = shutil.which("sbatch") is not None
    running = run(f"{CLUSTER} status", ROOT).returncode == 0
    for step in ("install", "start"):
        result = run(f"{CLUSTER} {step}", ROOT)
        if result.returncode:
            why = " | ".join(result.stdout.splitlines()[-6:])
            skip(f"`tests/slurm_local.sh {step}` failed: {why}")
    yield
    if not running:
        run(f"{CLUSTER} {'stop' if installed else 'purge'}", ROOT)


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    """Returns a folder with what a fresh clone would hold, and a study of two untrained models."""
    folder = tmp_path_factory.mktemp("clone")
    clone_to(folder)
    write_study(folder / "tiny")
    return folder


def write_study(folder):
    folder.mkdir()
    models = [f"{m}\ttimm\t{name}\timage\trandom:0\n" for m, name in MODELS.items()]
    datasets = [f"{d}\tpackaged\tshapes:60\timage\n" for d in DATASETS]
    header = "model\tsource\tname\tmodality\tweights\n"
    (folder / "models.tsv").write_text("".join([header, *models]))
    (folder / "datasets.tsv").write_text("".join(["dataset\tsource\tname\tmodality\n", *datasets]))
    study = {
        "seed": 0,
        "models": [*MODELS, *TRAINED],
        "datasets": DATASETS,
        "metrics": [METRIC, DEALT],
        "similarity": {"shards": SHARDS},
        "catalogs": {
            "models": ["tiny/models.tsv"],
            "datasets": ["tiny/datasets.tsv"],
            "recipes": ["tiny/recipes.yaml"],
        },
        "consistency": {"models": None, "groups": [], "bootstrap": 100, "permutations": 99},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    (folder / "recipes.yaml").write_text(yaml.safe_dump({"tiny": RECIPE}))


SNAKEMAKE = (
    "snakemake --profile slurm --configfile tiny/study.yaml"
    " --slurm-init-seconds-before-status-checks 1"
)


def records(folder):
    """Returns SLURM's own records of the jobs sent from a folder, by rule."""
    jobs = defaultdict(list)
    for line in run("scontrol show job --oneliner", folder).stdout.splitlines():
        record = dict(re.findall(r"(\S+?)=(\S*)", line))
        rule = re.match(r"rule_(.+?)(_wildcards_.*)?$", record.get("Comment", ""))
        if rule and record["WorkDir"] == str(folder):
            jobs[rule[1]].append(record)
    return jobs


# --- anywhere -------------------------------------------------------------------------------------


def read(name):
    return yaml.safe_load((ROOT / "profiles" / name).read_text())


def test_link_makes_the_literal_command_work():
    assert (ROOT / "slurm").is_symlink()
    assert (ROOT / "slurm").resolve() == PROFILE


def test_no_key_stands_in_both_profiles():
    # The default profile would win, key by key, over --profile slurm.
    assert not set(read("default/config.yaml")) & set(read("slurm/config.yaml"))


def test_retries_ask_for_more():
    profile = read("slurm/config.yaml")
    assert profile["retries"] >= 1
    for resources in [profile["default-resources"], *profile["set-resources"].values()]:
        assert all("attempt" in str(resources[name]) for name in ("mem_mb", "runtime"))
    smallest = eval(profile["default-resources"]["mem_mb"], {"attempt": 1})
    assert smallest >= 1000  # Snakemake alone takes 350 MB of every job


def test_partitions_are_chosen_by_need():
    """Whatever a CPU step asks for, the executor's own choice is never the GPU partition."""
    partitions = pytest.importorskip("snakemake_executor_plugin_slurm.partitions")
    offered = partitions.read_partition_file(PROFILE / "partitions.yaml")
    amounts = product([1, 2, 8, 64], [1000, 48_000, 500_000], [1, 60, 720, 1440], [0, 1, 4])
    for threads, mem_mb, runtime, gpu in amounts:
        needs = {"mem_mb": mem_mb, "runtime": runtime} | ({"gpu": gpu} if gpu else {})
        job = SimpleNamespace(name="job", threads=threads, resources=needs)
        best = partitions.get_best_partition(offered, job, getLogger("test"))
        assert best == ("gpu" if gpu else "cpu"), needs


@pytest.mark.workflow
def test_profile_plans_without_a_cluster(clone):
    result = run(f"{SNAKEMAKE} -n", clone)
    assert result.returncode == 0, result.stdout
    for rule, time in {
        "features": 240,
        "features_tiny": 240,
        "train_tiny_standard": 480,
    }.items():
        job = re.search(rf"rule {rule}:(.*?)\n[\n[]", result.stdout, re.DOTALL)[1]
        for need in ("gpu=1", "mem_mb=16000", f"runtime={time}"):
            assert need in job, rule
    probe = re.search(r"rule probe:(.*?)\n[\n[]", result.stdout, re.DOTALL)[1]
    assert "gpu" not in probe


# --- on the cluster -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def study(cluster, clone):
    """Runs the study on the cluster with the literal command; returns its folder."""
    result = run(SNAKEMAKE, clone, MINUTES_FOR_THE_STUDY)
    assert result.returncode == 0, result.stdout[-5000:]
    return clone


@pytest.mark.slurm
@pytest.mark.workflow
def test_study_is_complete(study):
    expected = [
        *(f"samples/{d}.parquet" for d in DATASETS),
        *(f"features/{d}/{m}.safetensors" for d in DATASETS for m in MODELS),
        *(
            f"{step}/{m}.safetensors"
            for step in ("train", f"features/{DATASETS[0]}")
            for m in TRAINED
        ),
        *(f"study/features/{d}/manifest.parquet" for d in DATASETS),
        *(f"study/similarity/{d}/{m}.parquet" for d in DATASETS for m in (METRIC, DEALT)),
        *(f"study/probe/{d}/{m}.parquet" for d in DATASETS for m in MODELS),
        f"study/consistency/{METRIC}.parquet",
    ]
    assert [name for name in expected if not (study / "results" / name).is_file()] == []


@pytest.mark.slurm
@pytest.mark.workflow
def test_steps_ran_where_they_should(study):
    jobs = records(study)
    assert {"samples", "features", "similarity", "consistency", "probe"} <= set(jobs)
    assert "manifest" not in jobs  # too small to be sent
    assert len(jobs["features"]) == len(MODELS) * len(DATASETS)
    assert len(jobs["train_tiny_standard"]) == len(jobs["features_tiny"]) == 1
    assert len(jobs["similarity_shard"]) == SHARDS * len(DATASETS)
    assert len(jobs["similarity"]) == 2 * len(DATASETS)
    for rule, sent in jobs.items():
        for job in sent:
            assert job["JobState"] == "COMPLETED", (rule, job)
            assert job["JobName"].startswith("consilience_")
            on_gpu = rule.startswith(("features", "train"))
            assert job["Partition"] == ("gpu" if on_gpu else "cpu"), (rule, job)
            assert job.get("TresPerJob", "") == ("gres:gpu:1" if on_gpu else ""), (rule, job)
    assert {job["MinMemoryNode"] for job in jobs["features"]} == {"16000M"}
    assert {job["TimeLimit"] for job in jobs["features"]} == {"04:00:00"}


@pytest.mark.slurm
@pytest.mark.workflow
def test_tables_of_jobs_that_share_the_pairs_are_those_of_one(study, tmp_path):
    tables = study / "results" / "study" / "similarity"
    for dataset in DATASETS:
        made = tables / dataset / f"{DEALT}.parquet"
        spec = read_table(made).attrs["spec"] | {"permutations": 0}
        manifest = study / "results" / "study" / "features" / dataset / "manifest.parquet"
        alone = tmp_path / "similarity" / dataset / f"{DEALT}.parquet"
        make_similarity(manifest, alone, dataset=dataset, metric_id=DEALT, spec=spec)
        assert alone.read_bytes() == made.read_bytes()


@pytest.mark.slurm
@pytest.mark.workflow
def test_second_run_plans_nothing(study):
    before = sum(map(len, records(study).values()))
    result = run(SNAKEMAKE, study)
    assert result.returncode == 0, result.stdout
    assert "Nothing to be done" in result.stdout
    assert sum(map(len, records(study).values())) == before
