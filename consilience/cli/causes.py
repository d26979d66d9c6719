"""`consilience causes`: published tables of pairs as effects, beside those of a study."""

import argparse
from pathlib import Path

from consilience.cli.grounding import read_sources
from consilience.errors import DataError
from consilience.files import read_table
from consilience.results import RESULT_FILES, list_tables

PUBLISHED, EFFECTS = "causes_published", "causes_effects"


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the parser's commands."""
    command = commands.add_parser(
        "causes",
        help="how similarity follows overlap, in published tables of pairs",
        description="Reads tables of ReprSimCauses (Li et al. 2025), or of their form: long tables "
        "with `seed`, `frac_overlap` or `partition`, `metric` and columns of values. Writes their "
        "pairs in one form and their effects: slopes with intervals over draws, p by permutation "
        "within draws, and information, as `all_causes` does.",
    )
    command.set_defaults(run=_causes)
    command.add_argument(
        "tables", nargs="+", metavar="[NAME=]TABLE",
        help=".csv or .parquet; tables of one NAME are one source (default: the file's name)",
    )  # fmt: skip
    command.add_argument("-o", "--out", required=True, help="the folder of results to write into")
    command.add_argument(
        "--beside", metavar="RESULTS", help="results of a study with `causes`: its effects first"
    )
    command.add_argument(
        "--metric", action="append", default=[], help="print effects of this metric (repeatable); "
        "default: those of the publication's own table, or all if there are none of it",
    )  # fmt: skip
    command.add_argument("--permutations", type=int, default=999, help="of overlaps within draws")
    command.add_argument("--seed", type=int, default=0, help="of permutations")


def _causes(arguments: argparse.Namespace) -> int:
    from consilience.causes import as_lines, headline  # noqa: PLC0415 - not for --help
    from consilience.causes.tables import make_effects, make_published  # noqa: PLC0415 - as above

    published, effects = (
        Path(arguments.out, RESULT_FILES[kind].pattern) for kind in (PUBLISHED, EFFECTS)
    )
    own = _own(Path(arguments.beside)) if arguments.beside else []
    make_published(read_sources(arguments.tables), published)
    make_effects(
        own, [published], effects, permutations=arguments.permutations, seed=arguments.seed
    )
    table = read_table(effects)
    if arguments.metric:
        shown = table[table["metric"].isin(arguments.metric)]
        if shown.empty:
            known = ", ".join(sorted(set(table["metric"])))
            raise DataError(f"no table has the metric {arguments.metric[0]!r}; there are: {known}")
    else:
        shown = table[headline(table) | (table["source"] == "this study")]
        shown = table if shown.empty else shown
    print("\n".join(as_lines(shown)))
    for path in (published, effects):
        print(f"{path}: {len(read_table(path))} rows")
    return 0


def _own(results: Path) -> list[Path]:
    paths = [path for _, path in list_tables(results, name="causes")]
    if not paths:
        raise DataError(
            f"--beside {results}: there is no table of pairs in {results / 'causes'}; run "
            "`snakemake all_causes` on a study with `causes`, and name the folder of its results"
        )
    return paths
