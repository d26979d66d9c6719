"""Which models an attack is made on, and which others are to be misled by it."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from consilience.config.origins import Origins
from consilience.config.shape import Problems
from consilience.networks import CLASSES

if TYPE_CHECKING:
    from consilience.config import Study

KINDS = ("data", "task")
"""Of splits whose models may know a class both."""
ALIKE = ("kind", "family", "train_set", "draw")
"""What models of one job have in common."""
CONTROLS = ("", "twin", "same_init")
"""Of pairs whose models are both trained."""

Victims = dict[str, dict[str, dict[str, Any]]]
"""For each model that is attacked its victims, with what is said of the pair."""


def find_victims(study: "Study", pairs: Iterable[Mapping[str, Any]]) -> Victims:
    """Returns who is attacked and who is to be misled: both models of a pair, either way.

    Args:
        study: with the block `causes.transfer`.
        pairs: with a known overlap, as `consilience.causes.selection.Pair`.
    """
    found: Victims = {}
    for pair in pairs:
        both = pair["model_x"], pair["model_y"]
        if pair["kind"] not in KINDS or pair["control"] not in CONTROLS:
            continue
        if not all(is_attacked(study, model) for model in both):
            continue
        if attacked_on(study, both[0]) != attacked_on(study, both[1]):
            continue
        kept = {key: pair[key] for key in (*ALIKE, "overlap", "control")}
        for x, y in (both, both[::-1]):
            sides = {"side_x": study.models[x]["side"], "side_y": study.models[y]["side"]}
            found.setdefault(x, {})[y] = {**kept, **sides}
    return dict(sorted(found.items()))


def is_attacked(study: "Study", model: str) -> bool:
    """Returns whether a model is trained here to tell classes of pictures."""
    if model not in study.trainings:
        return False
    spec = study.trainings[model].spec
    learns = spec["training"].get("steps") or spec["training"].get("epochs") or spec["weights"]
    return bool(learns) and (spec["modality"], spec["objective"]) == ("image", CLASSES)


def attacked_on(study: "Study", model: str) -> str:
    """Returns the dataset that a trained model is scored on; the study need not select it."""
    spec = study.trainings[model].spec
    return spec["test"] or spec["dataset"]


def check_transfer(
    study: "Study", pairs: Iterable[Mapping[str, Any]], where: Origins, problems: Problems
) -> None:
    """Notes attacks that are asked for where no two models can be a victim of each other."""
    if (study.settings["causes"] or {}).get("transfer") is None or find_victims(study, pairs):
        return
    problems.add(
        where.place("causes"),
        "`transfer` is asked for, and no two models of one split of kind data or task are trained "
        "to tell classes of pictures; select some, or leave `transfer` out",
    )
