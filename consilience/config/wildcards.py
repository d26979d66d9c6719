"""What Snakemake needs of rules beyond their directives: signatures, and settings by name."""

from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, Signature
from typing import Any


def looked_up(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns a function of the wildcards with its signature written down.

    Snakemake asks for it three times per job.
    """
    function.__signature__ = Signature([Parameter("wildcards", Parameter.POSITIONAL_OR_KEYWORD)])
    return function


def share_settings(settings: Any, alike: Mapping[str, Iterable[str]]) -> None:  # noqa: ANN401
    """Lets what is set for one name of a rule (`set-resources`, `set-threads`) hold for others.

    Args:
        settings: Snakemake's, of resources; it has no other way to set them for rules by pattern.
        alike: for each name, as profiles and the command line use it, the rules that it stands for;
            what is set for one of them itself stays.
    """
    for given in (settings._parsed_overwrite_resources, settings._parsed_overwrite_threads):
        for name, rules in alike.items():
            for rule in rules if name in given else ():
                given.setdefault(rule, given[name])
