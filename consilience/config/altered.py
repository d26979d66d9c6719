"""What recipes alter in what is learnt: held against the data, before anything is planned."""

from collections.abc import Mapping
from typing import Any

from consilience.alterations.spec import check_modality, read_alteration
from consilience.alterations.splits import read_split
from consilience.config.catalogs import Row
from consilience.errors import ConfigError

INDEX = "index"
"""As a seed, or the draw of a split: the number of the model's seed."""


def check_alterations(place: str, whole: Mapping[str, Any], datasets: Mapping[str, Row]) -> None:
    """Raises ConfigError if what is learnt cannot be altered as a recipe says."""
    how = read_alteration(whole, place)
    if row := datasets.get(whole.get("dataset", "")):
        check_modality(how, whole.get("modality") or row["modality"].split("+")[0], place)
    if how.shortcut and whole.get("input", {}).get("channels") == 1:
        raise ConfigError(f"{place}, shortcut: discs differ in colour, and input.channels is 1")
    if not (split := whole.get("overlap")):
        return
    given = split | ({"draw": 0} if split.get("draw") == INDEX else {})
    rule = read_split({k: v for k, v in given.items() if k != "side"}, f"{place}, overlap")
    if rule.kind == "labels" and "draw" in split:
        raise ConfigError(f"{place}, overlap: sides of kind labels have no draw; leave it out")
    if split.get("side") is None:
        raise ConfigError(f"{place}, overlap: 'side' is missing; write x or y")
    if rule.kind == "corpus":
        raise ConfigError(f"{place}, overlap: no recipe learns one side of a corpus yet")
