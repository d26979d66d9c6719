"""CPU time and memory that planning a study takes: `python benchmarks/planning.py [M D K …]`.

Catalogues of M models, D unlabelled datasets (so no probes) and K metrics are made up, and
`snakemake -n -q`, Snakemake's way to plan without listing every job, plans them with nothing built
yet. Floor: in the same run, a bare Snakefile with the same features, manifests and similarities
that has no code, parameters, logs or benchmarks. `--shards N` deals the pairs of every table to N
jobs.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BARE = """
rule all:
    input: expand("s/{{d}}/{{k}}", d=range({datasets}), k=range({metrics}))
rule features:
    output: "f/{{d}}/{{m}}"
    shell: "touch {{output}}"
rule manifest:
    input: lambda wc: expand("f/{{d}}/{{m}}", d=wc.d, m=range({models}))
    output: "m/{{d}}"
    shell: "touch {{output}}"
rule similarity:
    input: "m/{{d}}"
    output: "s/{{d}}/{{k}}"
    shell: "touch {{output}}"
"""
CASES = [(10, 6, 4), (64, 24, 20), (256, 50, 20), (1000, 100, 20)]


def make_study(folder: Path, models: int, datasets: int, metrics: int, shards: int = 1) -> Path:
    rows = [f"m{i}\traw\tpixels\timage\tg{i % 5}" for i in range(models)]
    header = "model\tsource\tname\tmodality\tgroup"
    (folder / "models.tsv").write_text("\n".join([header, *rows]) + "\n")
    rows = [f"d{i}\tpackaged\tshapes:100\timage\tno" for i in range(datasets)]
    header = "dataset\tsource\tname\tmodality\tlabels"
    (folder / "datasets.tsv").write_text("\n".join([header, *rows]) + "\n")
    rows = [f"k{i}: {{metric: mutual_knn, k: {i + 1}}}" for i in range(metrics)]
    (folder / "metrics.yaml").write_text("\n".join(rows) + "\n")
    names = ", ".join(f"k{i}" for i in range(metrics))
    dealt = f"{{together: false, shards: {shards}, sharded: [{names}]}}" if shards > 1 else "{}"
    study = f"""seed: 0
models: "modality == 'image'"
datasets: "modality == 'image'"
metrics: [{names}]
catalogs: {{models: [models.tsv], datasets: [datasets.tsv], metrics: [metrics.yaml]}}
consistency: {{groups: [group], models: null}}
similarity: {dealt}
"""
    (folder / "study.yaml").write_text(study)
    return folder / "study.yaml"


def measure(command: list[str], folder: Path) -> tuple[float, float, int]:
    """Returns CPU seconds, peak MB and exit status of one child process."""
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, done.returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, megabytes, status = done.stdout.split()
    return float(seconds), float(megabytes), int(status)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*")
    parser.add_argument("--shards", type=int, default=1)
    options = parser.parse_args(arguments)
    sizes = options.sizes
    cases = [tuple(sizes[i : i + 3]) for i in range(0, len(sizes), 3)] or CASES
    snakemake = [sys.executable, "-m", "snakemake"]
    plan = [*snakemake, "-n", "-q", "--snakefile"]
    with tempfile.TemporaryDirectory() as name:
        start, _, _ = measure([*snakemake, "--version"], Path(name))
    print(f"start of Snakemake alone: {start:.1f} s of CPU")
    print("models datasets metrics    jobs   CPU s   peak MB   ms per job   bare CPU s   ratio")
    for models, datasets, metrics in cases:
        dealt = options.shards if options.shards > 1 else 0
        jobs = datasets * (2 + models + metrics * (1 + dealt)) + 4 * metrics + 3
        with tempfile.TemporaryDirectory() as name:
            study = make_study(Path(name), models, datasets, metrics, options.shards)
            command = [*plan, str(ROOT / "Snakefile"), "--configfile", str(study)]
            seconds, megabytes, status = measure(command, Path(name))
            bare_file = Path(name, "Snakefile")
            bare_file.write_text(BARE.format(models=models, datasets=datasets, metrics=metrics))
            bare, _, bare_status = measure([*plan, str(bare_file)], Path(name))
        if status or bare_status:
            print(
                f"{models} x {datasets} x {metrics}: snakemake -n failed: {status}, {bare_status}"
            )
            return 1
        each = 1000 * (seconds - start) / jobs
        sizes = f"{models:6} {datasets:8} {metrics:7} {jobs:7}"
        print(f"{sizes} {seconds:7.1f} {megabytes:9.0f} {each:12.2f}", end="", flush=True)
        print(f" {bare:12.1f} {seconds / bare:7.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
