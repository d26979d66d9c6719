"""`consilience verify`: every hash of a folder of results, computed again."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from consilience.config import load_study
from consilience.config.paths import Paths
from consilience.errors import ConfigError
from consilience.features.verification import verify_results
from consilience.files import ROOT


def add(commands: Any) -> None:  # noqa: ANN401
    """Adds the command to the parser's commands."""
    command = commands.add_parser(
        "verify",
        help="check every hash of a folder of results",
        description="Computes every hash of a folder of results again and lists all problems; the "
        "exit status is 1 if there is any. A study file also says which features must be there.",
    )
    command.set_defaults(run=_verify)
    command.add_argument("what", help="a folder of results, or a study (.yaml)")
    command.add_argument(
        "--results", default="results", help="the folder of a study's results (default: results)"
    )


def _verify(arguments: argparse.Namespace) -> int:
    what = Path(arguments.what)
    folder = what if what.is_dir() else Path(arguments.results)
    if not what.exists() or not folder.is_dir():
        raise ConfigError(f"{folder if what.exists() else what}: no such folder or study")
    counts, problems = verify_results(folder, [] if what.is_dir() else _expected(what))
    for problem in problems:
        print(f"{problem.file}: {problem.text}", file=sys.stderr)
    seen = ", ".join(f"{count} of {step}" for step, count in counts.items()) or "nothing there"
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    verdict = count if problems else "all hashes agree"
    print(f"{folder}: {verdict} (files looked at: {seen})")
    return 1 if problems else 0


def _expected(path: Path) -> list[str]:
    """Returns the features files of a study, laid over the default one as Snakemake does."""
    config: dict[str, Any] = {}
    for file in (ROOT / "config" / "config.yaml", path):
        try:
            config = _over(config, yaml.safe_load(file.read_text(encoding="utf8")) or {})
        except yaml.YAMLError as error:
            raise ConfigError(f"{file}: not valid YAML ({' '.join(str(error).split())})") from None
    study = load_study(config, str(path))
    paths = Paths(study)
    files = {file for dataset in study.datasets for file in paths.all_features(dataset)}
    return sorted(file.removeprefix("results/") for file in files)


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _over(old, value) if both else value
    return merged
