"""Published checkpoints of self-supervised models, and repositories of torch.hub.

`name` = `timm:NAME` or `torchvision:NAME` with `weights` = `https://…` or
`hf-hub:OWNER/REPOSITORY/FILE`: the file is fetched once, checked against `sha256`, and put into
that architecture; `keys` says how its names become the library's. No code is fetched or run.

`name` = `OWNER/REPOSITORY/ENTRY` (or a local folder with a hubconf.py, and ENTRY): an entry of a
torch.hub repository, in the branch, tag or commit `revision`. Its code is run, so the row must say
`trust_remote_code` = `yes`. `weights` is blank. `layers` is blank or `last` for `output`, `all` for
the blocks or stages and `output`, or module names and patterns.

Pictures are resized, cropped and coloured as these models were evaluated (`imagenet`: short side to
256/224 of `input_size`, bilinear, centre crop, mean and deviation of ImageNet); a file of which the
library knows that it wants other colours gets its own preprocessing.
"""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from consilience.models import _weights
from consilience.models._architecture import fill, is_architecture
from consilience.models._download import SILENCE_SECONDS
from consilience.models._images import ImageExtractor, read_pooling
from consilience.models._network import Tap, children_of, find_taps
from consilience.models._selftest import tested
from consilience.models._transforms import read_transform

PACKAGES = ("torch", "torchvision", "pillow")
_GITHUB = "https://github.com"
_BLOCKS = ("blocks", "encoder.layers", "features", "stages", "layers")


def load(row: Mapping[str, Any], device: str = "cpu") -> ImageExtractor:
    """Returns the extractor of a row with source `hub`.

    Raises:
        ModelError: unknown name, layer or pool; weights that cannot be had or do not fit; code
            that the row does not allow to run.
    """
    if is_architecture(row):
        return fill(row, device, usual="imagenet")
    row = {**row, "transform": _weights.cell(row, "transform", "imagenet")}
    model, weights = _from_repository(row)
    found = ImageExtractor(
        model,
        find_taps(row, model, {"output": Tap(model)}, lambda: _blocks(model)),
        read_transform(row, lambda: None),
        read_pooling(row, prefix=int(hasattr(model, "cls_token"))),
        _weights.provenance(row, weights, model, PACKAGES),
        device,
    )
    return tested(row, found)


def _from_repository(row: Mapping[str, Any]) -> tuple[nn.Module, _weights.Weights]:
    place, _, entry = _weights.cell(row, "name").rpartition("/")
    if not place or not entry:
        _weights.fail(
            row, f"name {entry!r}: write timm:NAME, torchvision:NAME, or OWNER/REPO/ENTRY"
        )
    if _weights.cell(row, "trust_remote_code") != "yes":
        _weights.fail(
            row,
            f"{place} would run its own code; set trust_remote_code to yes if you trust it, or "
            "write `name` as timm:NAME or torchvision:NAME and its checkpoint into `weights`",
        )
    if _weights.cell(row, "weights"):
        _weights.fail(row, f"{place} brings its own weights; leave the column `weights` blank")
    if (Path(place).expanduser() / "hubconf.py").is_file():
        with _weights.local(row, place), _weights.seeded("0", entry):
            return _call(str(Path(place).expanduser()), entry, "local"), _weights.Weights()
    revision = _weights.cell(row, "revision")
    if not _cached(place, revision) and not _weights.reachable(_GITHUB):
        _weights.fail(row, f"{place} is not in {torch.hub.get_dir()} and {_GITHUB} is not reached")
    with _weights.local(row, place), _weights.seeded("0", entry):
        name = f"{place}:{revision}" if revision else place
        return _call(name, entry, "github"), _weights.Weights()


def _call(place: str, entry: str, source: str) -> nn.Module:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)  # torch.hub would wait for ever
    try:
        model = torch.hub.load(place, entry, source=source, trust_repo=True, skip_validation=True)
    finally:
        socket.setdefaulttimeout(before)
    if not isinstance(model, nn.Module):
        raise TypeError(f"{entry} gives {type(model).__name__}, not a network")
    return model.eval()


def _cached(place: str, revision: str) -> bool:
    repository, _, branch = place.partition(":")
    names = [repository, revision or branch or "*"]
    return any(Path(torch.hub.get_dir()).glob("_".join(names).replace("/", "_")))


def _blocks(model: nn.Module) -> list[str]:
    found = children_of(model, *_BLOCKS)
    return found or [name for name, part in model.named_children() if next(part.children(), None)]
