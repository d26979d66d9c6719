"""What may run of what a study names: nothing of its own, unless the user says so beside it.

A study and its catalogues are data, which labs hand to each other. Two things in them are programs:
files of metrics (`catalogs.metric_modules`), and models whose hub or folder brings code of its own
(`trust_remote_code`). Each is named once more by whoever runs the study: on the command line,
`--config trust=mine.py` or `--config 'trust=[mine.py, OWNER/REPOSITORY]'`, which Snakemake hands
to its jobs, or in the environment, `CONSILIENCE_TRUST`, parted like `PATH`. What a study's own file
says of it is refused. See docs/trust.md.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consilience.config.origins import STUDY, Origins
from consilience.config.shape import Problems
from consilience.files import find

Row = Mapping[str, str]
TRUST = "trust"
"""The key of the command line that names what may run."""
ENVIRONMENT = "CONSILIENCE_TRUST"


def without_consent(
    config: Mapping[str, Any], origins: Origins, problems: Problems
) -> dict[str, Any]:
    """Returns a configuration without the keys of the command line that are no part of a study.

    A study's file that has one of them is a problem: who writes a study is not who runs it.
    """
    for key in (TRUST, STUDY):
        for name, content in origins.files:
            if key in content:
                problems.add(
                    f"{name}: {key}",
                    "a study cannot say this itself; remove it and, if you mean it, give "
                    f"`--config {key}=…` on the command line",
                )
    return {key: value for key, value in config.items() if key not in (TRUST, STUDY)}


def allow(name: str, place: str, what: str, origins: Origins, problems: Problems) -> bool:
    """Returns whether the user lets something run; notes what to do if not.

    Args:
        name: a path, or `OWNER/REPOSITORY`.
        place: where it is named.
        what: it is or brings, as the end of a sentence.
        origins: of the configuration; what the command line sets is the user's.
        problems: to add to.
    """
    if any(_covers(entry, name) for entry in _trusted(origins)):
        return True
    problems.add(
        place,
        f"{name} {what}, which would run on this machine; if you trust it, say so: "
        f"`--config trust={name}`, or {ENVIRONMENT}={name} in the environment (docs/trust.md)",
    )
    return False


def check_models(models: Mapping[str, Row], origins: Origins, problems: Problems) -> None:
    """Notes models that would bring code of their own, which the user does not let run."""
    for model, row in models.items():
        if place := _place_of_code(row):
            allow(place, f"model {model!r}", "brings code of its own", origins, problems)


def _place_of_code(row: Row) -> str:
    """Returns the folder or repository whose code a row of models.tsv lets run; "" if none."""
    name, weights = row["name"], row.get("weights", "")
    if row.get("trust_remote_code") != "yes":
        return ""
    if row["source"] == "hub":
        return "" if name.startswith(("timm:", "torchvision:")) else name.rpartition("/")[0]
    if row["source"] == "transformers":
        return name if not weights or weights.startswith("random") else weights
    return ""


def _trusted(origins: Origins) -> list[str]:
    given = origins.overrides.get(TRUST) or []
    named = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    catalogs = origins.overrides.get("catalogs")
    modules = catalogs.get("metric_modules") if isinstance(catalogs, Mapping) else None
    named = [*named, *(modules if isinstance(modules, list) else [])]
    return [*map(str, named), *filter(None, os.environ.get(ENVIRONMENT, "").split(os.pathsep))]


def _covers(entry: str, name: str) -> bool:
    """Returns whether an entry is a thing itself, or a folder that it lies in."""
    if entry == name:
        return True
    path, place = Path(entry).expanduser(), find(name).expanduser()
    if not place.exists() or not path.exists():
        return False
    return place.resolve().is_relative_to(path.resolve())
