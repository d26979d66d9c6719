"""`consilience check-metric`: whether a metric of one's own keeps its declared facts."""

import argparse
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from consilience.cli.compare import read_settings
from consilience.errors import ConfigError
from consilience.metrics import Metric, get_metric, load_metrics
from consilience.registry import did_you_mean

if TYPE_CHECKING:
    from consilience.checking import Result


def add(commands: Any) -> None:  # noqa: ANN401
    """Adds the command to the parser's commands."""
    command = commands.add_parser(
        "check-metric",
        help="check a metric of one's own against its facts",
        description="Runs a Python file with metrics and checks each against its declared facts, "
        "on random data that are the same every time. The exit status is 1 if anything fails. A "
        "check that ends with a reason why there is no value (MetricError), where there need not "
        "be one, counts as refused and does not fail.",
    )
    command.set_defaults(run=_check)
    command.add_argument("file", help="the Python file, as in a study's catalogs.metric_modules")
    command.add_argument("name", nargs="?", help="one of its metrics (default: all)")
    command.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters of the metric"
    )
    command.add_argument(
        "--except",
        nargs="*",
        default=[],
        dest="excepted",
        metavar="CHECK",
        help="checks that are meant to fail, such as constant_features_are_refused for a metric "
        "that constant features have a value of; they are shown, and do not count",
    )


def _check(arguments: argparse.Namespace) -> int:
    from consilience.checking import CHECKS, check_metric  # noqa: PLC0415 - not for a mere --help

    for name in arguments.excepted:
        if name not in CHECKS:
            raise ConfigError(f"--except: there is no check {name!r}{did_you_mean(name, CHECKS)}")
    failed = 0
    for metric in _metrics(arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of divisions by zero: what comes of them is checked
            results = check_metric(metric)
        told = [tell(results, name, excepted=name in arguments.excepted) for name in CHECKS]
        failed += sum(line.startswith("FAILED") for line in told)
        print(f"{arguments.file}: {_describe(metric)}", *told, sep="\n  ")
    checks = "1 check" if failed == 1 else f"{failed} checks"
    print(f"{checks} failed" if failed else "no check failed")
    return 1 if failed else 0


def _metrics(arguments: argparse.Namespace) -> list[Metric]:
    names = load_metrics(arguments.file)
    if arguments.name and arguments.name not in names:
        hint = did_you_mean(arguments.name, names)
        raise ConfigError(f"{arguments.file}: it registers no metric {arguments.name!r}{hint}")
    chosen = [arguments.name] if arguments.name else names
    return [get_metric(name, **read_settings(arguments.set)) for name in chosen]


def _describe(metric: Metric) -> str:
    parameters = ", ".join(f"{key}={value}" for key, value in metric.parameters.items())
    return f"{metric.facts.name} ({parameters})" if parameters else metric.facts.name


def tell(results: Iterable["Result"], name: str, *, excepted: bool = False) -> str:
    """Returns the lines on one check: whether it held, and what did not in which case.

    Args:
        results: of one metric.
        name: of the check.
        excepted: it may fail.
    """
    mine = [result for result in results if result.check.name == name]
    bad = "excepted" if excepted else "FAILED"
    words = {"failed": bad, "refused": "refused", "held": "held"}
    status = next(s for s in words if any(result.status == s for result in mine))
    lines = [f"{words[status]:<9} {name}: {mine[0].check.says}"]
    for result in mine:
        case = f"{result.where}: " if result.case else ""
        said = result.problems or ([result.refusal] if result.refusal else [])
        lines += [f"            {case}{text}" for text in dict.fromkeys(said)]
    return "\n  ".join(lines)
