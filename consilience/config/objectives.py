"""What networks learn from pictures instead of classes, as recipes say it: options and limits."""

from collections.abc import Mapping
from typing import Any

from consilience.errors import ConfigError
from consilience.networks import CONTRASTIVE, IMAGE_TEXT, MASKED, OF_PICTURES, ROTATION
from consilience.registry import did_you_mean

Row = Mapping[str, str]

OPTIONS: dict[str, dict[str, Any]] = {
    CONTRASTIVE: {"temperature": 0.5, "crop": 0.5, "flip": 0.5, "jitter": 0.4},
    MASKED: {"ratio": 0.6, "patch": 4},
    ROTATION: {},
    IMAGE_TEXT: {"temperature": 0.1, "texts": "names", "template": "a photo of a {name}"},
}
"""Options of each objective and their defaults; the schema of recipes says their ranges."""
PAIRED = (CONTRASTIVE, IMAGE_TEXT)
"""Objectives that compare the samples of a batch."""


def objective_options(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a recipe's spec says of its objective: nothing where it has no options."""
    objective = whole.get("objective")
    if objective not in OPTIONS:
        return {}
    return {"objective_options": {**OPTIONS[objective], **whole.get("objective_options", {})}}


def check_objective(whole: Mapping[str, Any], datasets: Mapping[str, Row]) -> None:
    """Raises ConfigError if a recipe cannot have its objective, or the options of it."""
    objective, given = whole.get("objective"), whole.get("objective_options") or {}
    known = OPTIONS.get(objective or "", {})
    for option in given:
        if option not in known:
            hint = did_you_mean(option, known) if known else "; it has none"
            name = objective or "classes"
            raise ConfigError(f"objective_options: {name} has no option {option!r}{hint}")
    if objective not in OF_PICTURES:
        return
    row = datasets.get(whole.get("dataset", ""), {})
    held = row.get("modality", "image").split("+")
    if (modality := whole.get("modality", held[0])) != "image":
        raise ConfigError(f"{objective} is learnt from pictures, and the recipe learns {modality}")
    if not whole.get("architecture", "small:").startswith("small:"):
        raise ConfigError(
            f"{objective} is learnt by networks of ours, such as small:cnn, not by "
            f"{whole['architecture']}; name one of them"
        )
    _check_training(objective, whole)
    options = objective_options(whole)["objective_options"]
    if objective == MASKED:
        _check_patches(options, whole.get("input", {}).get("size", 32))
    if objective == IMAGE_TEXT:
        _check_texts(options, row, whole.get("dataset", ""))


def _check_training(objective: str, whole: Mapping[str, Any]) -> None:
    training = whole.get("training", {})
    for key in ("labels", "augmentation"):
        if whole.get(key):
            raise ConfigError(
                f"{key}: {objective} learns other things of pictures, in its own way; leave it out"
            )
    for key in ("label_smoothing", "min_accuracy"):
        if training.get(key):
            raise ConfigError(f"training.{key} is of classes, and {objective} learns none")
    if objective in PAIRED and training.get("batch_size") == 1:
        raise ConfigError(
            f"training.batch_size is 1, and {objective} compares the samples of a batch; the least "
            "is 2"
        )


def _check_patches(options: Mapping[str, Any], size: int) -> None:
    if size % options["patch"]:
        raise ConfigError(
            f"objective_options: pictures of {size} pixels have no patches of {options['patch']}; "
            "set patch, or input.size"
        )
    if size == options["patch"]:
        raise ConfigError(
            f"objective_options: a patch of {size} pixels hides all of the picture; set patch"
        )


def _check_texts(options: Mapping[str, Any], row: Row, dataset: str) -> None:
    if options["texts"] == "captions":
        if row and "text" not in row.get("modality", "").split("+"):
            raise ConfigError(
                f"objective_options: dataset {dataset!r} holds no texts of its pictures; set texts "
                "to names, or name another one"
            )
        return
    if "{name}" not in options["template"]:
        raise ConfigError(
            f"objective_options: template {options['template']!r} has no place for a class; write "
            "{name} where it is to stand"
        )
    if row.get("labels") == "no":
        raise ConfigError(
            f"dataset {dataset!r} has no classes whose names could be learnt; name another one"
        )
