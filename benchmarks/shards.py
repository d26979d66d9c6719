"""Time of a table whose pairs are dealt to jobs: `python benchmarks/shards.py [--shards 1 4]`.

Makes random features of `--models` models on `--datasets` datasets and compares them by Procrustes
in a copy of the project, with each number of shards in turn: everything before the similarities is
there, pair stores are not. `--profile slurm` runs on a cluster (`tests/slurm_local.sh start`), one
thread a job; without it on the cores of this machine. Seconds from the command to its end, CPU
seconds of the jobs (Snakemake's benchmark files), and whether the tables are the same to the byte.
"""

import argparse
import csv
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
STEPS = ("similarity", "similarity_shard")


def make_study(folder: Path, options: argparse.Namespace) -> None:
    from clones import clone_to  # noqa: PLC0415 - of the tests

    clone_to(folder)
    datasets = [f"d{i}" for i in range(options.datasets)]
    models = [f"m{i:03}" for i in range(options.models)]
    rng = np.random.default_rng(0)
    for dataset in datasets:
        (folder / "made" / dataset).mkdir(parents=True)
        for model in models:
            x = rng.standard_normal((options.samples, options.units), dtype=np.float32)
            np.save(folder / "made" / dataset / f"{model}.npy", x)
    rows = [f"{m}\timported\tmade/{{dataset}}/{m}.npy\timage\tsamples" for m in models]
    (folder / "models.tsv").write_text(
        "\n".join(["model\tsource\tname\tmodality\torder", *rows, ""]), encoding="utf8"
    )
    rows = [f"{d}\tpackaged\tshapes:{options.samples}\timage\tno" for d in datasets]
    (folder / "datasets.tsv").write_text(
        "\n".join(["dataset\tsource\tname\tmodality\tlabels", *rows, ""]), encoding="utf8"
    )
    study = {
        "models": models,
        "datasets": datasets,
        "metrics": ["procrustes"],
        "catalogs": {"models": ["models.tsv"], "datasets": ["datasets.tsv"]},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf8")


def snakemake(folder: Path, *arguments: str) -> float:
    """Runs a command and returns its seconds."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": programs, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    began = time.monotonic()
    command = ["snakemake", "all_similarity", "--configfile", "study.yaml", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, text=True, capture_output=True
    )
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    return time.monotonic() - began


def jobs(folder: Path) -> list[tuple[float, float]]:
    """Returns wall and CPU seconds of every job that compared models."""
    found = []
    for step in STEPS:
        for path in sorted(folder.glob(f"benchmarks/**/{step}/**/*.tsv")):
            with path.open(encoding="utf8") as stream:
                row = next(csv.DictReader(stream, delimiter="\t"))
            found.append((float(row["s"]), float(row["cpu_time"].replace("NA", "nan"))))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("models", 200), ("datasets", 1), ("samples", 1000), ("units", 128)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--shards", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--profile", default="", help="`slurm`: on a cluster")
    options = parser.parse_args()
    where = ["--profile", options.profile] if options.profile else ["--cores", "2"]
    if options.profile == "slurm":
        where += ["--set-threads", "similarity=1"]
        where += ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name, "clone")
        make_study(folder, options)
        snakemake(folder, "--cores", "2", "--until", "manifest")
        hashes = set()
        print("shards   seconds   jobs   CPU s of jobs   jobs at a time", flush=True)
        for _ in range(options.repeats):
            for shards in options.shards:
                for place in ("results/similarity", "results/study/similarity", "benchmarks"):
                    shutil.rmtree(folder / place, ignore_errors=True)
                took = snakemake(folder, *where, "--config", f"similarity={{shards: {shards}}}")
                made = jobs(folder)
                wall, cpu = (sum(column) for column in zip(*made, strict=True))
                tables = sorted(folder.glob("results/study/similarity/*/procrustes.parquet"))
                if len(tables) != options.datasets:
                    raise SystemExit(f"{len(tables)} tables of {options.datasets} were made")
                hashes.add(hashlib.sha256(b"".join(p.read_bytes() for p in tables)).hexdigest())
                print(f"{shards:6} {took:9.1f} {len(made):6} {cpu:15.1f} {wall / took:16.1f}",
                      flush=True)  # fmt: skip
        print("same bytes" if len(hashes) == 1 else "NOT the same bytes")


if __name__ == "__main__":
    main()
