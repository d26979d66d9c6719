"""Which files a study's keys come from, and under which name its results lie."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from consilience.config.once import load_once
from consilience.config.shape import read_schema
from consilience.errors import ConfigError
from consilience.files import ROOT, text_of
from consilience.results import FOLDER, STEPS, STUDY_FILE, Results, file_problem, read_study

DEFAULT = "config/config.yaml"
"""The study that a bare `snakemake` makes; taken only where no other file is given."""
STUDY = "study"
"""The key of the command line that names studies which Snakemake is not to read."""


@dataclass(frozen=True)
class Origins:
    """The files of a configuration, later ones laid over earlier ones; messages name them."""

    files: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """(name, content) of each."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """What the command line sets besides (`--config`)."""
    is_default: bool = True
    """Whether there is no file but the default study's."""

    @classmethod
    def read(cls, paths: Iterable[str | Path], overrides: Mapping[str, Any] = {}) -> "Origins":
        """Returns the origins of YAML files, named as seen from the working folder.

        Args:
            paths: of the files, as Snakemake read them.
            overrides: what the command line sets; files under the key `study` are laid over the
                others, and nothing but this function reads them: Snakemake runs some as programs.

        Raises:
            ConfigError: a file is not there, is no YAML mapping, or is a program to Snakemake.
        """
        named = overrides.get(STUDY) or []
        paths = [*paths, *([named] if isinstance(named, str) else named)]
        paths = list(dict.fromkeys(Path(path).absolute() for path in paths))
        files = tuple((os.path.relpath(path), read_config(path)) for path in paths)
        default = (ROOT / DEFAULT).resolve()
        return cls(files, overrides, all(path.resolve() == default for path in paths))

    @property
    def config(self) -> dict[str, Any]:
        """The files laid over each other, key by key, and the command line over them."""
        merged: dict[str, Any] = {}
        for _, content in self.files:
            merged = lay_over(merged, content)
        return lay_over(merged, self.overrides)

    @property
    def name(self) -> str:
        """The name of the study: its file's, or its files' joined by `+`; empty for the default."""
        return "" if self.is_default else "+".join(Path(name).stem for name, _ in self.files)

    def place(self, key: str) -> str:
        """Returns where a key such as `consistency.models` stands: `FILE: KEY`."""
        parts = key.split("[", maxsplit=1)[0].split(".")
        for length in range(len(parts), 0, -1):
            for name, content in reversed([*self.files, ("--config", self.overrides)]):
                if _holds(content, parts[:length]):
                    return f"{name}: {key}"
        return f"{self.files[-1][0] if self.files else '--config'}: {key}"

    def __str__(self) -> str:
        """Returns the names of the files."""
        return ", ".join(name for name, _ in self.files) or "--config"


def place_results(settings: Mapping[str, Any], origins: Origins) -> Results:
    """Returns where the files of a study lie: its own folder, and the one that it shares.

    What is drawn and extracted does not depend on the study's choice of models, datasets and
    metrics, and so lies in one folder for all; but for those that draw or store it otherwise.

    Raises:
        ConfigError: the folder would be that of a step or of the default study, or has braces.
    """
    schema = read_schema("study")["properties"]
    features = settings["features"]
    defaults = schema["features"]["properties"]
    other = [f"seed{settings['seed']}"] if settings["seed"] != schema["seed"]["default"] else []
    other += [features[k] for k in ("dtype", "autocast") if features[k] != defaults[k]["default"]]
    common = "/".join([FOLDER, "-".join(other)] if other else [FOLDER])
    folder = settings["results"] or "/".join(filter(None, [FOLDER, origins.name]))
    if set(folder) & set("{}"):
        raise ConfigError(
            f"{origins.files[-1][0]}: a folder of results cannot be called {folder!r}, as braces "
            "stand for ids in paths; give the file another name, or set `results`"
        )
    for part in folder.split("/"):
        bare = part.startswith((".", "-")) or part.endswith(".")
        problem = "it begins with a dot or a hyphen, or ends in a dot" if bare else ""
        if problem := problem or file_problem(part):
            raise ConfigError(
                f"{origins.place('results')}: a folder of results cannot be called {part[:80]!r}, "
                f"as {problem}; give the file another name, or set `results`"
            )
    if folder == FOLDER and not origins.is_default:
        raise ConfigError(
            f"{origins.place('results')}: {FOLDER} is the folder of the default study; give this "
            f"one a folder of its own, such as {FOLDER}/{origins.name}"
        )
    below = folder.removeprefix(f"{FOLDER}/") if folder.startswith(f"{FOLDER}/") else ""
    if below.partition("/")[0] in STEPS or re.match(r"seed\d", below):
        raise ConfigError(
            f"{origins.place('results')}: the study would lie in {folder}, where files of other "
            "studies are; give its file another name, or set `results` to another folder"
        )
    _check_owner(folder, origins)
    return Results(folder, common)


def _check_owner(folder: str, origins: Origins) -> None:
    """Refuses a folder that holds the results of another study of the same name."""
    known = (read_study(folder) or {}).get("files")
    mine = [] if origins.is_default else [name for name, _ in origins.files]
    if known is not None and known != mine:
        raise ConfigError(
            f"{origins.place('results')}: {folder} holds the results of "
            f"{', '.join(known) or DEFAULT}; give this study's file another name, or set `results` "
            f"to another folder (if only the file was moved, delete {folder}/{STUDY_FILE})"
        )


def read_config(path: Path) -> Mapping[str, Any]:
    """Returns the mapping of a study's file.

    Raises:
        ConfigError: it is not there, or no YAML mapping, or has a key twice.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such study")
    try:
        content = load_once(text_of(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content or {}, Mapping):
        raise ConfigError(f"{path}: a study is a mapping of keys, not a {type(content).__name__}")
    if "__use_yte__" in (content or {}):
        raise ConfigError(
            f"{path}: `__use_yte__` makes Snakemake run a study as a program, and a study is data; "
            "remove it, and write what the program makes (docs/trust.md)"
        )
    return content or {}


def lay_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Returns two configurations merged as by Snakemake: mappings key by key, all else whole."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = lay_over(old, value) if both else value
    return merged


def _holds(content: Mapping[str, Any], parts: Sequence[str]) -> bool:
    for part in parts:
        if not isinstance(content, Mapping) or part not in content:
            return False
        content = content[part]
    return True
