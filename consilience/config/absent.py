"""What a row names that is not there, told without loading a deep-learning library.

A plan must not take seconds to import one, and its jobs fail late and one by one. So names are
looked up in the sources of the installed libraries, and paths on the disk. What cannot be told so
(hub repositories, addresses, code of others) is left to the job.
"""

import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from consilience import files
from consilience.errors import DataError, ModelError
from consilience.models.imported import fill_path
from consilience.registry import did_you_mean

_REGISTERED = re.compile(
    r"^@register_model\b[^\n]*\n(?:(?:@| |\))[^\n]*\n)*def (\w+)", re.MULTILINE
)
_OF_PACKAGES = ("package:", "sdist:")
_TAG = re.compile(r"[A-Za-z0-9_-]+")
_ELSEWHERE = ("hf-hub:", "local-dir:", "http://", "https://")


def find_absent(row: Mapping[str, Any], dataset: str, *, installed: bool = True) -> str:
    """Returns what a row of models.tsv names that is not there, or "" if nothing is seen to lack.

    Args:
        row: of the model.
        dataset: an id, which the paths of imported features may name.
        installed: whether jobs run in this Python environment; otherwise what lies in packages is
            not looked for.
    """
    cells = {key: str(value or "").strip() for key, value in row.items()}
    source = cells.get("source", "")
    if source == "imported":
        return _absent_features(cells, dataset)
    weights = cells.get("weights", "")
    local = cells.get("name", "").removeprefix("local-dir:")
    paths = [weights] if _is_path(weights) else []
    named = local.startswith(("/", ".", "~", *_OF_PACKAGES))
    paths += [local] if named or local != cells.get("name") else []
    for path in paths:
        if path.startswith(_OF_PACKAGES) and not installed:
            continue
        try:
            files.locate(path)
        except DataError as error:
            return str(error)
    return _unknown_name(source, cells)


def _absent_features(cells: Mapping[str, str], dataset: str) -> str:
    pattern = cells.get("weights") or cells.get("name", "")
    try:
        path = Path(fill_path(pattern, dataset, cells.get("model", "")))
    except ModelError:
        return ""  # said by the source in its own words
    return "" if path.exists() else f"{path}: no such file or folder of features"


def _is_path(weights: str) -> bool:
    """Returns whether the column `weights` can only be a path: see `_weights.read_weights`."""
    if not weights or weights.startswith(("random", *_ELSEWHERE)):
        return False
    return not (_TAG.fullmatch(weights) and not Path(weights).exists())


def _unknown_name(source: str, cells: Mapping[str, str]) -> str:
    """Returns what is wrong with the name of an architecture, or "" if it is known or elsewhere."""
    name, weights = cells.get("name", ""), cells.get("weights", "")
    if source in ("checkpoint", "hub", "trained"):
        source, _, name = name.partition(":")
    if name.startswith(_ELSEWHERE) or source not in _JUDGES:
        return ""
    return _JUDGES[source](name, weights)


def _judge_timm(name: str, _weights: str) -> str:
    text, known = _registered("timm")
    architecture, _, tag = name.partition(".")
    if not known:
        return ""
    if architecture not in known and f"'{architecture}'" not in text:  # a former name is quoted
        return f"timm has no model {architecture!r}{did_you_mean(architecture, known)}"
    if tag and f".{tag}'" not in text and f'.{tag}"' not in text:
        return f"timm has no weights {tag!r} of any model; correct the name {name!r}"
    return ""


def _judge_torchvision(name: str, weights: str) -> str:
    text, known = _registered("torchvision")
    if not known:
        return ""
    name, _, tag = name.partition("/")
    if name not in known:
        return f"torchvision has no image classifier {name!r}{did_you_mean(name, known)}"
    is_tag = bool(weights) and not weights.startswith("random") and not _is_path(weights)
    tags = [tag, weights if is_tag and not weights.startswith(_ELSEWHERE) else ""]
    for one in filter(None, tags):
        if not re.search(rf"\b{re.escape(one)}\b", text):
            return f"torchvision has no weights {one!r} of any model, nor is there such a file"
    return ""


def _judge_open_clip(name: str, _weights: str) -> str:
    folder = _folder("open_clip")
    if folder is None:
        return ""
    architecture, _, tag = name.partition("/")
    known = [path.stem for path in (folder / "model_configs").glob("*.json")]
    if architecture.replace("/", "-") not in known:
        return f"open_clip has no model {architecture!r}{did_you_mean(architecture, known)}"
    if tag and not re.search(rf"\b{re.escape(tag)}\b", _text(folder / "pretrained.py")):
        return f"open_clip has no weights {tag!r} of any model; correct the name {name!r}"
    return ""


_JUDGES = {"timm": _judge_timm, "torchvision": _judge_torchvision, "open_clip": _judge_open_clip}


@cache
def _registered(library: str) -> tuple[str, frozenset[str]]:
    """Returns the sources of a library's models as one text, and the names that they register."""
    folder = _folder(library)
    paths = sorted((folder / "models").glob("*.py")) if folder else []
    text = "\n".join(map(_text, paths))
    return text, frozenset(_REGISTERED.findall(text))


def _folder(library: str) -> Path | None:
    spec = importlib.util.find_spec(library)  # of a top level, so that nothing is imported
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf8", errors="replace") if path.is_file() else ""
