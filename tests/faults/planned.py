"""Dry runs of Snakemake in a folder that holds a study and its catalogues alone."""

import os
import re
import subprocess
import sys

from clones import ROOT


def dry_run(folder, *arguments, ok=True):
    """Returns what a dry run says."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("CONSILIENCE_TRUST", None)
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, text=True, timeout=300,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert (done.returncode == 0) is ok, done.stdout[-3000:]
    return done.stdout


def wildcards_of(text, rule):
    """Returns the wildcards of all jobs of a rule that a dry run names."""
    found = []
    for block in re.split(r"\n(?=\[)", text):
        if re.search(rf"^(?:local)?rule {rule}:", block, re.MULTILINE):
            named = re.search(r"^    wildcards: (.*)$", block, re.MULTILINE)
            found.append(dict(part.split("=", 1) for part in named[1].split(", ")))
    return found
