"""The command `consilience`: what can be done with features files and results without Snakemake."""

import argparse
import sys
from collections.abc import Sequence

from consilience.cli import (
    bundle,
    causes,
    check_metric,
    compare,
    features,
    grounding,
    layers,
    power,
    summary,
    verify,
)
from consilience.errors import explain


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; a mistake of the user's is one line."""
    parsed = _parser().parse_args(arguments)
    try:
        return parsed.run(parsed)
    except Exception as error:
        remedy = "take fewer samples, or a machine with more memory"
        said = explain(error, "this command", remedy)
        if not said:
            raise
        print(f"consilience: {said}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="consilience", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (
        compare,
        layers,
        check_metric,
        features,
        summary,
        power,
        verify,
        grounding,
        causes,
        bundle,
    ):
        command.add(commands)
    return parser
