"""`consilience verify`: every hash of a folder of results, computed again."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from consilience.config import load_study
from consilience.config.origins import Origins, place_results
from consilience.config.plan import Plan
from consilience.errors import ConfigError
from consilience.features.verification import verify_results
from consilience.results import FOLDER, Results


def add(commands: Any) -> None:  # noqa: ANN401
    """Adds the command to the parser's commands."""
    command = commands.add_parser(
        "verify",
        help="check every hash of a folder of results",
        description="Computes every hash of a folder of results again and lists all problems; the "
        "exit status is 1 if there is any. Notes (models whose pixels or tokens other versions of "
        "a library made) do not change it. A study file also says which features must be there.",
    )
    command.set_defaults(run=_verify)
    command.add_argument("what", help="a folder of results, or a study (.yaml)")
    command.add_argument(
        "--results",
        help="the folder `results`, if it lies elsewhere than in the working folder",
    )


def _verify(arguments: argparse.Namespace) -> int:
    what = Path(arguments.what)
    if not what.exists():
        raise ConfigError(f"{what}: no such folder or study")
    if what.is_dir():
        folder, (counts, problems, notes) = what, verify_results(what)
        if not counts and not problems:
            raise ConfigError(f"{what} holds no results; name a folder `results`, or a study")
    else:
        results, expected = _of_study(what, arguments.results)
        if not Path(results.common).is_dir():
            raise ConfigError(f"{results.common}: no such folder of results")
        folder = Path(results.folder)
        counts, problems, notes = verify_results(folder, expected, [results.common])
    for problem in problems:
        print(f"{problem.file}: {problem.text}", file=sys.stderr)
    for note in notes:
        print(f"{note.file}: note: {note.text}", file=sys.stderr)
    seen = ", ".join(f"{count} of {step}" for step, count in counts.items()) or "nothing there"
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    verdict = count if problems else "all hashes agree"
    print(f"{folder}: {verdict} (files looked at: {seen})")
    return 1 if problems else 0


def _of_study(path: Path, elsewhere: str | None) -> tuple[Results, list[str]]:
    """Returns where a study's results lie, and the features files that must be there."""
    origins = Origins.read([path])
    study = load_study(origins.config, origins)
    results = place_results(study.settings, origins)
    if elsewhere:
        results = Results(_moved(results.folder, elsewhere), _moved(results.common, elsewhere))
    plan = Plan(study, results, origins)
    files = {file for dataset in study.datasets for file in plan.all_features(dataset)}
    return results, sorted(files)


def _moved(folder: str, elsewhere: str) -> str:
    """Returns where a folder lies if `results` is `elsewhere`: below it, or else beside it."""
    inside = Path(folder).parts[0] == FOLDER
    below = Path(*Path(folder).parts[1:]) if inside else Path("..", folder)
    return os.path.normpath(Path(elsewhere, below))
