"""`consilience power`: how many models, families and datasets a finding takes."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.errors import ConfigError, DataError
from consilience.files import read_table
from consilience.layers import last_layers
from consilience.pairs.families import MIN_FAMILIES, NONE, arrangements, read_clusters
from consilience.pairs.matrix import read_similarity
from consilience.pairs.relate import MIN_MODELS
from consilience.pairs.sets import ALL
from consilience.results import list_tables, read_study

USUAL = 0.6
"""Consistency, and share of the families, where nobody says."""
FIRST = 16
"""Models that are tried first where none are named."""
PLANTED = (0.1, 0.9)
"""Consistencies that studies are planted with where their tables say less, or more."""
PERMUTATIONS = 1000
"""Relabellings of a study that sets nothing else."""
MEMBERS = 4
"""Models of a family where only families are named."""


def add(commands: Any) -> None:  # noqa: ANN401
    """Adds the command to the parser's commands."""
    command = commands.add_parser(
        "power",
        help="how many models, families and datasets a finding takes",
        description="Plants studies with a known truth, lets the estimators of the consistency "
        "tables loose on them, and says which share of them finds what is asked for, and how many "
        "models it takes. All values are means over all pairs of datasets. It takes seconds, for "
        "large studies up to a minute; answers are kept in the cache of the user.",
    )
    command.set_defaults(run=_power)
    asked = command.add_mutually_exclusive_group(required=True)
    asked.add_argument(
        "--difference", type=float, metavar="D",
        help="the difference of consistency between two groups, each half of the models",
    )  # fmt: skip
    asked.add_argument("--consistency", type=float, metavar="R", help="a consistency, against 0")
    asked.add_argument(
        "--half-width", type=float, metavar="W",
        help="half of the width of an interval of consistency",
    )  # fmt: skip
    asked.add_argument(
        "--results", metavar="FOLDER", help="a study's results: what it can show, and what not"
    )
    command.add_argument("--models", type=int, help=f"in all (default: {FIRST}, or more)")
    command.add_argument(
        "--families", type=int,
        help="in all; models of one are no independent examples (default: each model its own)",
    )  # fmt: skip
    command.add_argument("--datasets", type=int, default=6, help="(default: 6)")
    command.add_argument(
        "--icc", type=float,
        help="share of the differences between models that is their family's "
        f"(default: {USUAL}, or what the results say)",
    )  # fmt: skip
    command.add_argument(
        "--around", type=float, metavar="R",
        help="the consistency, or that of both groups on average "
        f"(default: {USUAL}, or what the results say)",
    )  # fmt: skip
    command.add_argument(
        "--power", type=float, default=0.8, metavar="SHARE",
        help="share of studies that is to find it (default: 0.8)",
    )  # fmt: skip


def _power(arguments: argparse.Namespace) -> int:
    if not 0 < arguments.power < 1:
        raise ConfigError(
            f"--power {arguments.power:g}: it is a share of studies, above 0, below 1"
        )
    if arguments.results:
        print("\n".join(tell_results(Path(arguments.results), arguments)))
        return 0
    from consilience.consistency.power import QUESTIONS, enough  # noqa: PLC0415 - not for --help

    question = next(name for name in QUESTIONS if getattr(arguments, name) is not None)
    size, design = getattr(arguments, question), _design(arguments)
    found = list(enough(question, size, design, arguments.power))
    print("\n".join([*_table(found), "", tell(question, size, found, arguments.power)]))
    return 0


def _design(arguments: argparse.Namespace) -> Any:  # noqa: ANN401
    """Returns the first design to try."""
    from consilience.consistency.power import Design  # noqa: PLC0415 - as above

    models, families = arguments.models, arguments.families
    if models is None:
        models = FIRST if families is None else MEMBERS * families
    return Design(
        models,
        models if families is None else families,
        arguments.datasets,
        USUAL if arguments.icc is None else arguments.icc,
        USUAL if arguments.around is None else arguments.around,
    )


def _table(found: Sequence[Any]) -> list[str]:
    """Returns the lines of a table of designs."""
    head = f"{'models':>7} {'families':>9} {'datasets':>9}   share of studies, %"
    lines = [head]
    for design, share in found:
        families = "each" if design.single else f"{design.families}"
        lines.append(f"{design.models:>7} {families:>9} {design.datasets:>9}   {_percent(share)}")
    return lines


def _percent(share: Any) -> str:  # noqa: ANN401
    """Returns a share with two standard errors."""
    return f"{100 * share.value:.0f} ± {max(200 * share.error, 1):.0f}"


def tell(question: str, size: float, found: Sequence[Any], power: float) -> str:
    """Returns one sentence on what a design finds, and on how many models it takes.

    Args:
        question: of `consistency.power.QUESTIONS`.
        size: that is asked for.
        found: designs with ever more models, and their shares.
        power: share of studies that are to find it.
    """
    design, share = found[0]
    middle = design.consistency
    what = {
        "difference": f"a difference of {size:g} between two groups (consistencies of "
        f"{middle + size / 2:g} and {middle - size / 2:g})",
        "consistency": f"a consistency of {size:g}",
        "half_width": f"an interval of ± {size:g} or less around a consistency of {middle:g}",
    }[question]
    verb = "have" if question == "half_width" else "find"
    text = f"{_percent(share)} % of studies with {name(design)} {verb} {what}"
    if size == 0 and question != "half_width":
        return f"{text}: falsely, for there is none."
    if share.value >= power:
        return f"{text}."
    if found[-1][1].value < power:
        most = name(found[-1][0])
        return f"{text}; {most} are not enough for {100 * power:g} % ({_percent(found[-1][1])})."
    models = crossing(found, power)
    families = math.ceil(models * design.families / design.models)
    more = "" if design.single else f" in {families} families"
    return f"{text}; {100 * power:g} % take about {models} models{more}."


def name(design: Any) -> str:  # noqa: ANN401
    """Returns a design in words."""
    families = "" if design.single else f" in {design.families} families"
    return f"{design.models} models{families} on {design.datasets} datasets"


def crossing(found: Sequence[Any], power: float) -> int:
    """Returns at how many models the share reaches the power, between the last two designs.

    There the probit of the share is taken to be linear in the logarithm of the number.

    Args:
        found: designs and their shares; the last one reaches the power, that before does not.
        power: share of studies.
    """
    from scipy.special import ndtri  # noqa: PLC0415 - slow to import

    (low, below), (high, above) = found[-2:]
    probits = ndtri(np.clip([below.value, above.value, power], 0.001, 0.999))
    part = (probits[2] - probits[0]) / (probits[1] - probits[0])
    return math.ceil(low.models * (high.models / low.models) ** part)


def can_show(design: Any, power: float = 0.8) -> str:  # noqa: ANN401
    """Returns one sentence on what a study can show, and what not.

    Args:
        design: of the study.
        power: share of studies that find it.
    """
    from consilience.consistency.power import LARGEST, least  # noqa: PLC0415 - as above

    head = f"{name(design)} can show"
    if design.models < MIN_MODELS:
        return f"{head} nothing: a value with an interval takes at least {MIN_MODELS} models."
    if design.families < MIN_FAMILIES:
        families = np.arange(design.models) * design.families // design.models
        ways = arrangements(families, (design.models,))
        return (
            f"{name(design)} have no interval: it takes at least {MIN_FAMILIES} families. The p of "
            f"their tables cannot be below {max(1 / ways, 1 / (PERMUTATIONS + 1)):.2g}, and says "
            "whether there is any relation, not how strong it is."
        )
    if design.models > LARGEST:
        return f"{name(design)} are more than are simulated ({LARGEST})."
    smallest = least("consistency", design, power)
    most = f"{100 * power:g} % of such studies"
    if math.isnan(smallest):
        first = f"no consistency short of 1 in {most}"
    else:
        first = f"that a consistency is above 0 if it is {smallest:g} or more ({most} find it)"
    smaller = design.groups()[1]
    if smaller.models < MIN_MODELS or smaller.families < MIN_FAMILIES:
        parts = [f"{MIN_MODELS} models"] + ([] if design.single else [f"{MIN_FAMILIES} families"])
        return (
            f"{head} {first}, but no difference between two groups: each needs at least "
            f"{' in '.join(parts)}."
        )
    gap = least("difference", design, power)
    if math.isnan(gap):
        return f"{head} {first}, but no difference between two halves of them as surely."
    return f"{head} {first}, and a difference between two halves of them if it is {gap:g} or more."


def design_of(table: pd.DataFrame, icc: float = USUAL, middle: float = USUAL) -> Any | None:  # noqa: ANN401
    """Returns the design of a study by its consistency tables; None without any value.

    Args:
        table: rows of `consistency/{metric}.parquet`.
        icc: see `Design`, as `observed.share_of_families` finds it.
        middle: the consistency that a study like it would have.
    """
    from consilience.consistency.power import Design  # noqa: PLC0415 - as above

    rows = table[(table["grouping"] == ALL) & table["value"].notna()] if len(table) else table
    if not len(rows):
        return None
    models = int(rows["n_models"].max())
    rows = rows[rows["n_models"] == models]
    by_family = "clusters" in rows and (rows["clusters"] != NONE).any()
    families = int(rows["n_families"].max()) if by_family else models
    datasets = len({*rows["dataset_x"], *rows["dataset_y"]})
    return Design(models, families, datasets, icc, middle)


def tell_results(results: Path, arguments: argparse.Namespace) -> list[str]:
    """Returns what a study's results can show, as lines.

    Consistency, and the share of the families, are those of its tables unless they are given.

    Raises:
        DataError: there are no consistency tables.
    """
    from consilience.consistency.observed import mean_consistency  # noqa: PLC0415 - as above

    study = read_study(results)
    files = [path for _, path in list_tables(results, study, name="consistency")]
    found = pd.concat([read_table(path) for path in files]) if files else pd.DataFrame()
    design = design_of(found)
    if design is None:
        raise DataError(f"{results}: no consistency of all models; run `snakemake` first")
    said, icc, middle = [], arguments.icc, arguments.around
    if middle is None and not math.isnan(seen := mean_consistency(found)):
        middle = float(np.clip(round(seen, 2), *PLANTED))
        said.append(f"a mean consistency of {seen:.2f}")
    if icc is None and not design.single:
        icc = _share_of_families(results, study, found)
        said += (
            []
            if icc is None
            else [f"families that are {100 * icc:.0f} % of what tells models apart"]
        )
    icc, middle = (USUAL if number is None else number for number in (icc, middle))
    design = replace(design, icc=icc, consistency=middle)
    lines = [f"Its tables say: {' and '.join(said)}."] if said else []
    lines.append(can_show(design, arguments.power))
    if not design.single:
        alone = can_show(replace(design, families=design.models), arguments.power)
        lines.append(f"If no two of them were of one family: {alone}")
    return lines


def _share_of_families(results: Path, study: Any, table: pd.DataFrame) -> float | None:  # noqa: ANN401
    """Returns what `observed.share_of_families` finds in a study's similarities, if anything."""
    from consilience.consistency.observed import share_of_families  # noqa: PLC0415 - as above

    column = next(iter(set(table["clusters"]) - {NONE}), NONE)
    models = pd.DataFrame.from_dict((study or {}).get("models", {}), orient="index")
    if column not in models:
        return None
    similarities = []
    for _, path in list_tables(results, study, name="similarity"):
        rows = read_table(path)
        layers = last_layers(rows)
        similarities.append(read_similarity(rows, path.parent.name, layers))
    clusters = read_clusters(models, column, list(models.index))
    share = share_of_families(similarities, clusters)
    return None if math.isnan(share) else round(share, 2)
