"""`consilience grounding`: published tables of ReSi as grounding results, ranked by our rules."""

import argparse
from pathlib import Path

from consilience.errors import DataError
from consilience.files import read_table
from consilience.results import RESULT_FILES

KINDS = ("grounding_published", "grounding_published_cases", "grounding_published_domains")
OWN_KINDS = ("grounding_ranks", "grounding_summary")


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the parser's commands."""
    command = commands.add_parser(
        "grounding",
        help="published tables of ReSi, ranked by the rules of grounding",
        description="Reads tables of the ReSi benchmark (Klabunde et al. 2025): long tables of "
        "scores, the store of pairs (results.parquet), the tables of its notebooks. Ranks metrics "
        "by the rules of `all_grounding`, each source by itself, and writes values and ranks.",
    )
    command.set_defaults(run=_grounding)
    command.add_argument(
        "tables", nargs="+", metavar="[NAME=]TABLE",
        help=".csv or .parquet; tables of one NAME are one source and are ranked together "
        "(default: the file's name, so that each table is a source of its own)",
    )  # fmt: skip
    command.add_argument("-o", "--out", required=True, help="the folder of results to write into")
    command.add_argument(
        "--beside", metavar="RESULTS", help="results of a study with `grounding`: its ranks first"
    )
    command.add_argument("--seed", type=int, default=0, help="of resamples of models")


def _grounding(arguments: argparse.Namespace) -> int:
    from consilience.grounding.published import as_lines, make_published  # noqa: PLC0415 - not for --help

    outs = [Path(arguments.out, RESULT_FILES[kind].pattern) for kind in KINDS]
    own = _own(Path(arguments.beside)) if arguments.beside else []
    for path in outs:
        path.parent.mkdir(parents=True, exist_ok=True)
    make_published(read_sources(arguments.tables), *outs, own=own, seed=arguments.seed)
    print("\n".join(as_lines(read_table(outs[2]))))
    for path in outs:
        print(f"{path}: {len(read_table(path))} rows")
    return 0


def _own(results: Path) -> list[Path]:
    paths = [results / RESULT_FILES[kind].pattern for kind in OWN_KINDS]
    for path in paths:
        if not path.is_file():
            raise DataError(
                f"--beside {results}: there is no {path}; run `snakemake all_grounding` on a study "
                "with `grounding`, and name the folder of its results"
            )
    return paths


def read_sources(tables: list[str]) -> dict[str, list[str]]:
    """Returns {name: files} of arguments `NAME=FILE` or `FILE`."""
    found: dict[str, list[str]] = {}
    for given in tables:
        name, equals, path = given.partition("=")
        if not equals or Path(given).is_file():
            name, path = Path(given).stem, given
        found.setdefault(name, []).append(path)
    return found
