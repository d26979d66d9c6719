"""Files of trained weights: safetensors whose header says what was trained, how, and how well.

Equal content gives equal bytes: the library keeps neither the order of tensors nor that of its
metadata, so the whole header is one JSON text under one key.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from consilience.errors import ModelError, RefusedError, check_reached
from consilience.files import METADATA_KEY, atomic, canonical_json, digest
from consilience.limits.reading import parse_json, regular
from consilience.networks import Task, build

_KEY = METADATA_KEY.decode()
SEAL = "sha256"
"""Key of the header: the hash of the rest of it and of the tensors."""


@dataclass(frozen=True)
class Trained:
    """What a file of trained weights holds."""

    header: dict[str, Any]
    """`spec` (what was asked), `task`, `status`, `history`, accuracies, hashes, versions."""
    state: dict[str, Tensor]

    def network(self) -> nn.Module:
        """Returns the network with its weights, in evaluation mode.

        Raises:
            ConfigError: its library cannot build it.
            ModelError: the weights are those of another network.
        """
        spec = self.header["spec"]
        network = build(spec["architecture"], spec["options"], Task.of(self.header["task"]))
        try:
            network.load_state_dict(self.state)
        except RuntimeError as error:
            said = " ".join(str(error).split())
            raise ModelError(
                f"weights of {spec['architecture']!r} do not fit the network ({said}); delete the "
                "file and run snakemake again"
            ) from error
        return network.eval()


def write_trained(out: str | Path, state: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Writes a file of weights, whole or not at all.

    Args:
        out: the file.
        state: tensors by the names of the network; they are stored as they are, on the CPU.
        header: anything JSON-like.
    """
    tensors = {name: x.detach().cpu().contiguous().clone() for name, x in sorted(state.items())}
    whole = {**header, SEAL: _seal(tensors, header)}
    with atomic(out) as temporary:
        save_file(tensors, temporary, {_KEY: canonical_json(whole)})


def _seal(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of all that a file says and holds."""
    found = hashlib.sha256(canonical_json({k: header[k] for k in header if k != SEAL}).encode())
    for name, x in sorted(tensors.items()):
        found.update(f"{name} {x.dtype} {tuple(x.shape)}".encode())
        found.update(x.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def read_header(path: str | Path, learnt: str = "") -> dict[str, Any]:
    """Returns the header of a file of trained weights.

    Args:
        path: the file.
        learnt: hash of what was to be trained; "": whatever it was.

    Raises:
        ModelError: it is not one, or damaged, or of another model than it should be.
    """
    return _read(path, learnt, tensors=False).header


def read_trained(path: str | Path, learnt: str = "") -> Trained:
    """Returns the content of a file of trained weights.

    Args:
        path: the file.
        learnt: hash of what was to be trained; "": whatever it was.

    Raises:
        ModelError: it is not one, or damaged or edited, or holds what is not finite, or is of
            another model than it should be.
    """
    return _read(path, learnt, tensors=True)


def _read(path: str | Path, learnt: str, *, tensors: bool) -> Trained:
    remedy = "delete it and run snakemake again"
    try:
        with safe_open(regular(path), "pt") as file:
            header = parse_json((file.metadata() or {})[_KEY], path)
            header["spec"], header["task"], header[SEAL]
            state = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; run snakemake {path}") from None
    except (SafetensorError, KeyError, TypeError, RefusedError, OSError) as error:
        check_reached(error, path)
        raise ModelError(
            f"{path} is no readable file of trained weights ({error!r}); {remedy}"
        ) from error
    for name, x in state.items():
        if x.is_floating_point() and not bool(torch.isfinite(x).all()):
            raise ModelError(f"{path}: the tensor {name!r} holds NaN or infinity; {remedy}")
    if tensors and header[SEAL] != _seal(state, header):
        raise ModelError(f"{path} is not as it was written: it is damaged, or was edited; {remedy}")
    if learnt and digest(header["spec"]) != learnt:
        raise ModelError(
            f"{path} is not of the model that its name says: another file was put there by other "
            f"means; {remedy}"
        )
    return Trained(header, state)
